-- The embedded ledger. Amounts are RAO, times are block numbers, keys are 32 bytes.

CREATE TABLE subnet (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    genesis_id       BLOB    NOT NULL CHECK (length(genesis_id) = 32),
    hyperparameters  TEXT    NOT NULL,
    block            INTEGER NOT NULL CHECK (block >= 0),
    last_epoch_block INTEGER NOT NULL CHECK (last_epoch_block BETWEEN 0 AND block),
    epoch_index      INTEGER NOT NULL CHECK (epoch_index >= 0),
    pending_emission INTEGER NOT NULL CHECK (pending_emission >= 0)
) STRICT;

CREATE TABLE neurons (
    uid              INTEGER PRIMARY KEY CHECK (uid BETWEEN 0 AND 65535),
    hotkey           BLOB    NOT NULL UNIQUE CHECK (length(hotkey) = 32),
    stake            INTEGER NOT NULL CHECK (stake >= 0),
    validator_permit INTEGER NOT NULL CHECK (validator_permit IN (0, 1)),
    registered_at    INTEGER NOT NULL CHECK (registered_at >= 0),
    last_update      INTEGER NOT NULL CHECK (last_update >= registered_at),
    incentive        INTEGER NOT NULL CHECK (incentive BETWEEN 0 AND 65535),
    dividends        INTEGER NOT NULL CHECK (dividends BETWEEN 0 AND 65535),
    incentive_share  REAL    NOT NULL CHECK (incentive_share BETWEEN 0 AND 1),
    emission         INTEGER NOT NULL CHECK (emission >= 0),
    earned           INTEGER NOT NULL CHECK (earned >= emission),
    -- JSON, null until an axon is served
    axon             TEXT
) STRICT;

CREATE TABLE weights (
    uid INTEGER PRIMARY KEY REFERENCES neurons (uid),
    -- JSON: [[uid, value], ...] in the order in which they were set
    row TEXT    NOT NULL
) STRICT;

CREATE TABLE purses (
    account BLOB    PRIMARY KEY CHECK (length(account) = 32),
    balance INTEGER NOT NULL CHECK (balance >= 0),
    drawn   INTEGER NOT NULL CHECK (drawn >= 0)
) STRICT;

-- Nonces of operations that were accepted, so that a restart does not let a request in twice.
CREATE TABLE nonces (
    hotkey   BLOB    NOT NULL CHECK (length(hotkey) = 32),
    nonce_ns INTEGER NOT NULL CHECK (nonce_ns >= 0),
    PRIMARY KEY (hotkey, nonce_ns)
) STRICT, WITHOUT ROWID;

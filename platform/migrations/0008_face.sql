-- What people wrote, beside what the network judges: the expression that an invariant was made of, and what is said of it.
CREATE TABLE sources (
    invariant   INTEGER NOT NULL REFERENCES invariants (id),
    expression  TEXT NOT NULL,
    severity    TEXT,
    description TEXT,
    PRIMARY KEY (invariant)
) STRICT;

-- What expressions may call a contract, and how its storage and its functions are laid out (JSON, as it was given).
CREATE TABLE descriptions (
    contract INTEGER NOT NULL,
    name     TEXT NOT NULL,
    layout   TEXT,
    abi      TEXT,
    PRIMARY KEY (contract)
) STRICT;
CREATE UNIQUE INDEX descriptions_names ON descriptions (name);

-- The metagraph as it was last seen in each of the newest epochs.
CREATE TABLE neurons (
    epoch_block     INTEGER NOT NULL,
    uid             INTEGER NOT NULL,
    seen_at_ms      INTEGER NOT NULL,
    hotkey          BLOB NOT NULL CHECK (length(hotkey) = 32),
    axon            TEXT,
    stake           INTEGER NOT NULL,
    permit          INTEGER NOT NULL,
    active          INTEGER NOT NULL,
    incentive       INTEGER NOT NULL,
    dividends       INTEGER NOT NULL,
    consensus       INTEGER NOT NULL,
    validator_trust INTEGER NOT NULL,
    emission        INTEGER NOT NULL,
    PRIMARY KEY (epoch_block, uid)
) STRICT, WITHOUT ROWID;

-- What a validator told last of its miners, since its beginning (an encoded ReportRequest with its miners alone).
CREATE TABLE standings (
    validator  INTEGER NOT NULL REFERENCES validators (id),
    told_at_ms INTEGER NOT NULL,
    payload    BLOB NOT NULL,
    PRIMARY KEY (validator)
) STRICT;

-- What each validator saw of each miner between two such tellings. Scores are in millionths.
CREATE TABLE miner_windows (
    validator  INTEGER NOT NULL REFERENCES validators (id),
    told_at_ms INTEGER NOT NULL,
    miner      BLOB NOT NULL CHECK (length(miner) = 32),
    asked      INTEGER NOT NULL,
    answered   INTEGER NOT NULL,
    correct    INTEGER NOT NULL,
    p50_us     INTEGER,
    p99_us     INTEGER,
    score      INTEGER NOT NULL,
    weight     INTEGER NOT NULL,
    PRIMARY KEY (validator, told_at_ms, miner)
) STRICT, WITHOUT ROWID;
CREATE INDEX miner_windows_by_miner ON miner_windows (miner, told_at_ms);

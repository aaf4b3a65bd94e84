-- Exact Yuma: bonds, commits, history, and what moves with the clock.

ALTER TABLE subnet ADD COLUMN pending_owner INTEGER NOT NULL DEFAULT 0 CHECK (pending_owner >= 0);
ALTER TABLE subnet ADD COLUMN pending_server INTEGER NOT NULL DEFAULT 0 CHECK (pending_server >= 0);
ALTER TABLE subnet ADD COLUMN issued INTEGER NOT NULL DEFAULT 0 CHECK (issued >= 0);
ALTER TABLE subnet ADD COLUMN recycled INTEGER NOT NULL DEFAULT 0 CHECK (recycled >= 0);
ALTER TABLE subnet ADD COLUMN burn INTEGER NOT NULL DEFAULT 0 CHECK (burn >= 0);
-- 32 bytes from which the ledger's own beacon is made; null until the first start after this migration.
ALTER TABLE subnet ADD COLUMN beacon_seed BLOB CHECK (length(beacon_seed) = 32);

-- What was pending is what validators and miners wait for; `pending_emission` holds the validators' half from now on.
UPDATE subnet SET pending_server = pending_emission / 2, pending_emission = pending_emission - pending_emission / 2;
UPDATE subnet SET issued = pending_server + pending_emission + (SELECT coalesce(sum(earned), 0) FROM neurons);
-- The price of a registration was fixed until now, and free where there was a faucet.
UPDATE subnet SET burn = coalesce(json_extract(hyperparameters, '$.registration_burn'), 0);
UPDATE subnet SET hyperparameters = json_set(hyperparameters, '$.min_burn', min(burn, 500000));

-- The emission by which Yuma measures a neuron can be more than the neuron ever got, so that check goes.
CREATE TABLE kept_weights (uid INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
INSERT INTO kept_weights SELECT uid, row FROM weights;
DROP TABLE weights;
CREATE TABLE kept_neurons (
    uid              INTEGER PRIMARY KEY CHECK (uid BETWEEN 0 AND 65535),
    hotkey           BLOB    NOT NULL UNIQUE CHECK (length(hotkey) = 32),
    stake            INTEGER NOT NULL CHECK (stake >= 0),
    validator_permit INTEGER NOT NULL CHECK (validator_permit IN (0, 1)),
    registered_at    INTEGER NOT NULL CHECK (registered_at >= 0),
    last_update      INTEGER NOT NULL CHECK (last_update >= registered_at),
    incentive        INTEGER NOT NULL CHECK (incentive BETWEEN 0 AND 65535),
    dividends        INTEGER NOT NULL CHECK (dividends BETWEEN 0 AND 65535),
    incentive_share  REAL    NOT NULL CHECK (incentive_share BETWEEN 0 AND 1),
    consensus        INTEGER NOT NULL DEFAULT 0 CHECK (consensus BETWEEN 0 AND 65535),
    validator_trust  INTEGER NOT NULL DEFAULT 0 CHECK (validator_trust BETWEEN 0 AND 65535),
    emission         INTEGER NOT NULL CHECK (emission >= 0),
    earned           INTEGER NOT NULL CHECK (earned >= 0),
    -- JSON, null until an axon is served
    axon             TEXT
) STRICT;
INSERT INTO kept_neurons (uid, hotkey, stake, validator_permit, registered_at, last_update, incentive, dividends,
    incentive_share, emission, earned, axon)
SELECT uid, hotkey, stake, validator_permit, registered_at, last_update, incentive, dividends, incentive_share, emission,
    earned, axon FROM neurons;
DROP TABLE neurons;
ALTER TABLE kept_neurons RENAME TO neurons;

CREATE TABLE weights (
    uid INTEGER PRIMARY KEY REFERENCES neurons (uid),
    -- JSON: [[uid, value], ...] in the order in which they were set
    row TEXT    NOT NULL
) STRICT;
INSERT INTO weights SELECT uid, row FROM kept_weights;
DROP TABLE kept_weights;

CREATE TABLE bonds (
    uid INTEGER PRIMARY KEY REFERENCES neurons (uid),
    -- JSON: [[uid, value], ...]
    row TEXT    NOT NULL
) STRICT;

-- Open commits by hash, in the order in which they were made.
CREATE TABLE commits (
    hotkey BLOB    NOT NULL CHECK (length(hotkey) = 32),
    place  INTEGER NOT NULL,
    hash   BLOB    NOT NULL CHECK (length(hash) = 32),
    epoch  INTEGER NOT NULL CHECK (epoch >= 0),
    block  INTEGER NOT NULL CHECK (block >= 0),
    PRIMARY KEY (hotkey, place)
) STRICT, WITHOUT ROWID;

-- Sealed commits by the epoch in which they were made, in order.
CREATE TABLE sealed (
    epoch        INTEGER NOT NULL CHECK (epoch >= 0),
    place        INTEGER NOT NULL,
    hotkey       BLOB    NOT NULL CHECK (length(hotkey) = 32),
    block        INTEGER NOT NULL CHECK (block >= 0),
    reveal_round INTEGER NOT NULL CHECK (reveal_round >= 0),
    ciphertext   BLOB    NOT NULL CHECK (length(ciphertext) <= 5000),
    PRIMARY KEY (epoch, place)
) STRICT;

-- What each uid set and got, epoch by epoch; old epochs are dropped.
CREATE TABLE history (
    epoch                     INTEGER NOT NULL,
    uid                       INTEGER NOT NULL,
    block                     INTEGER NOT NULL,
    hotkey                    BLOB    NOT NULL CHECK (length(hotkey) = 32),
    stake                     INTEGER NOT NULL,
    registered_at             INTEGER NOT NULL,
    last_update               INTEGER NOT NULL,
    validator_permit          INTEGER NOT NULL,
    new_validator_permit      INTEGER NOT NULL,
    weights                   TEXT    NOT NULL,
    bonds                     TEXT    NOT NULL,
    consensus                 INTEGER NOT NULL,
    incentive                 INTEGER NOT NULL,
    dividends                 INTEGER NOT NULL,
    validator_trust           INTEGER NOT NULL,
    emission                  INTEGER NOT NULL,
    paid                      INTEGER NOT NULL,
    shared                    INTEGER NOT NULL,
    last_mechanism_step_block INTEGER NOT NULL,
    commit_block              INTEGER,
    PRIMARY KEY (uid, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX history_by_epoch ON history (epoch);

-- Where this validator stands. One row.
CREATE TABLE progress (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    low_water    INTEGER NOT NULL DEFAULT 0, -- every item of the stream at or before it is judged
    judged       INTEGER NOT NULL DEFAULT 0, -- items judged since the beginning
    arbitrated   INTEGER NOT NULL DEFAULT 0, -- of those, by the validator's own engine
    repeated     INTEGER NOT NULL DEFAULT 0, -- items that came again after a restart and were known
    weights_set  INTEGER NOT NULL DEFAULT 0, -- epochs whose weights the ledger took
    window       INTEGER NOT NULL DEFAULT 0, -- the window that samples go into
    scored       INTEGER NOT NULL DEFAULT -1,-- the last window that was scored
    closed_epoch INTEGER                     -- the ledger's epoch at which the window was opened
);
INSERT INTO progress (id) VALUES (1);

-- Items after the low-water mark that are judged already. Emptied as the mark passes them.
CREATE TABLE judged (
    cursor INTEGER PRIMARY KEY
);

-- What each miner did in each window: from one tempo epoch that this validator saw to the next. Window -1 holds the sum of all
-- that are no longer kept apart.
CREATE TABLE sample (
    window   INTEGER NOT NULL,
    hotkey   BLOB NOT NULL,
    asked    INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    correct  INTEGER NOT NULL,
    PRIMARY KEY (window, hotkey)
) WITHOUT ROWID;

-- Latencies of the answers, as buckets of two significant digits.
CREATE TABLE latency (
    window INTEGER NOT NULL,
    hotkey BLOB NOT NULL,
    micros INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (window, hotkey, micros)
) WITHOUT ROWID;

-- The moving average of each miner's score, and the weight that was last reported for it.
CREATE TABLE score (
    hotkey  BLOB PRIMARY KEY,
    average REAL NOT NULL,
    weight  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Reports that the platform has not confirmed yet.
CREATE TABLE outbox (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    INTEGER NOT NULL, -- 0: TransactionReport, 1: IncidentReport
    payload BLOB NOT NULL
);

-- Incidents confirmed by this validator: one for an invariant and a transaction.
CREATE TABLE incident (
    tx_hash      BLOB NOT NULL,
    invariant_id INTEGER NOT NULL,
    PRIMARY KEY (tx_hash, invariant_id)
) WITHOUT ROWID;

-- Bytecode by its hash: a stream carries each only once.
CREATE TABLE code (
    hash     BLOB PRIMARY KEY,
    bytecode BLOB NOT NULL
) WITHOUT ROWID;

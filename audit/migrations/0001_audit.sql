-- What an auditor has measured, reported and earned. Times of the chain are Unix seconds of its blocks; `wall_ms` is for people.
CREATE TABLE place (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    chain_id INTEGER NOT NULL,
    contract TEXT   NOT NULL,
    node     INTEGER NOT NULL,
    -- The contract's events are read up to this block.
    block    INTEGER NOT NULL,
    -- Number of the newest transaction with verdicts: none is given twice.
    last_batch INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One probe of one peer.
CREATE TABLE sample (
    tick       INTEGER NOT NULL,
    subject    INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    wall_ms    INTEGER NOT NULL,
    -- 0 up, 1 down, 2 not known
    outcome    INTEGER NOT NULL,
    -- Microseconds; -1: none.
    latency_us INTEGER NOT NULL,
    -- What was wrong, and where; empty: nothing.
    step       TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    PRIMARY KEY (tick, subject)
) STRICT;
CREATE INDEX sample_by_subject ON sample (subject, at);

-- One verdict on one peer for one epoch of its.
CREATE TABLE report (
    subject    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    known      INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    -- Block time at which the contract takes no more verdicts on this epoch.
    closes     INTEGER NOT NULL,
    -- 0 open, 1 sent, 2 counted, 3 not counted
    state      INTEGER NOT NULL,
    -- The transaction that carries it; 0: none yet.
    batch      INTEGER NOT NULL,
    tx_hash    TEXT   NOT NULL,
    block      INTEGER NOT NULL,
    reason     TEXT   NOT NULL,
    wall_ms    INTEGER NOT NULL,
    PRIMARY KEY (subject, epoch)
) STRICT;
CREATE INDEX report_by_state ON report (state, batch);

-- One claim of this node's own bounty.
CREATE TABLE claim (
    epoch   INTEGER PRIMARY KEY,
    attempt INTEGER NOT NULL,
    -- 0 open, 1 sent, 2 done
    state   INTEGER NOT NULL,
    tx_hash TEXT   NOT NULL,
    block   INTEGER NOT NULL,
    reason  TEXT   NOT NULL,
    wall_ms INTEGER NOT NULL
) STRICT;

-- Bounties of this node, by the contract's events.
CREATE TABLE bounty (
    tx_hash    TEXT   NOT NULL,
    log_index  INTEGER NOT NULL,
    block      INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    -- Wei, in decimal.
    amount     TEXT   NOT NULL,
    downtime   INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    PRIMARY KEY (tx_hash, log_index)
) STRICT;

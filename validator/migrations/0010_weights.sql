-- What was sent to the ledger as weights, and what became of it. A row is written before the call leaves, so that a crash loses
-- neither a salt nor the knowledge that something may be on its way.
CREATE TABLE weights_report (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    window        INTEGER NOT NULL, -- the window whose scores it holds
    epoch         INTEGER NOT NULL, -- the ledger's epoch: when it was sent, then that of the block in which it was taken
    block         INTEGER NOT NULL, -- the newest block when it was sent
    form          TEXT NOT NULL,    -- plain, hash, timelock
    stage         TEXT NOT NULL,    -- sending, committed, sealed, set, refused, expired, lost
    reason        TEXT,             -- why it was refused, expired or lost
    before_update INTEGER NOT NULL, -- the neuron's last update when it was sent: a later one means that it was taken
    taken_block   INTEGER,          -- block in which the ledger took it; of a commit, the commit
    ended_block   INTEGER,          -- block at which it came to its last stage
    reveal_round  INTEGER,          -- of a sealed commit: the beacon's round that opens it
    version_key   INTEGER NOT NULL,
    salt          TEXT,             -- of a commit by hash, until it is revealed: a JSON array
    weights       TEXT NOT NULL     -- a JSON array of uid, value, hotkey
);
CREATE INDEX weights_report_stage ON weights_report (stage);

-- Why no weights are being sent. One row.
CREATE TABLE weights_waiting (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    why   TEXT NOT NULL,    -- '' when nothing stands in the way
    said  TEXT NOT NULL,    -- what the ledger said, where it said something
    since INTEGER NOT NULL, -- block at which it began
    until INTEGER NOT NULL  -- first block at which it may be otherwise
);

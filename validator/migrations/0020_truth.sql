-- Where the truth was that something is violated: how often a miner was asked, and how often it said so.
ALTER TABLE sample ADD COLUMN violating INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sample ADD COLUMN found     INTEGER NOT NULL DEFAULT 0;

-- Violations in a row that each miner found, of those that the validator's own engine knew of. A lie or a miss sets it back to 0.
CREATE TABLE proof (
    hotkey BLOB PRIMARY KEY,
    streak INTEGER NOT NULL
) WITHOUT ROWID;

-- Canaries, since the beginning. One row.
CREATE TABLE canary (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    sent      INTEGER NOT NULL DEFAULT 0, -- asked of miners
    violating INTEGER NOT NULL DEFAULT 0  -- of those, with a violation
);
INSERT INTO canary (id) VALUES (1);

-- Where answers were not taken as they are and somebody was wrong, or a violation was confirmed: what the validator's own engine
-- said. The oldest are forgotten.
CREATE TABLE dispute (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    cursor  INTEGER NOT NULL, -- of the item; 0: a canary
    tx_hash BLOB NOT NULL,
    reason  TEXT NOT NULL,    -- why answers were not taken as they are
    at_ms   INTEGER NOT NULL, -- Unix time
    verdict BLOB NOT NULL     -- the own engine's: portcullis.v1.Verdicts
);
CREATE INDEX dispute_tx_hash ON dispute (tx_hash);

-- What each miner that was asked had said.
CREATE TABLE vote (
    dispute INTEGER NOT NULL REFERENCES dispute (id) ON DELETE CASCADE,
    hotkey  BLOB NOT NULL,
    correct INTEGER NOT NULL, -- 1: as the own engine
    verdict BLOB,             -- portcullis.v1.Verdicts; NULL: no answer that counts
    missed  TEXT NOT NULL,    -- why there is none; '' when there is one
    PRIMARY KEY (dispute, hotkey)
) WITHOUT ROWID;

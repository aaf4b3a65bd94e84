-- Reports that the platform refused for good, with its reason. The oldest are forgotten.
CREATE TABLE refused (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    INTEGER NOT NULL, -- as in the outbox
    payload BLOB NOT NULL,
    reason  TEXT NOT NULL,    -- the platform's words
    at_ms   INTEGER NOT NULL  -- Unix time
);

-- How many there were since the beginning.
ALTER TABLE progress ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;

-- What a keeper remembers across restarts. The chain is the truth of everything else.
CREATE TABLE place (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    chain_id   INTEGER NOT NULL,
    agent      BLOB    NOT NULL,
    -- Every job announced up to this block is in `job`.
    block      INTEGER NOT NULL,
    block_hash BLOB    NOT NULL
) STRICT;

CREATE TABLE job (
    key   BLOB    PRIMARY KEY,
    -- The block that announced it.
    block INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE failure (
    key    BLOB PRIMARY KEY,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;

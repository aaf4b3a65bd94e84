-- The sender's journal: what was promised, and every transaction that may be in somebody's mempool.
-- Fees are decimal text (wei, 128 bits), hashes 32 bytes, addresses 20.

CREATE TABLE origin (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    chain_id INTEGER NOT NULL,
    genesis  BLOB    NOT NULL CHECK (length(genesis) = 32)
) STRICT;

-- One above the highest nonce that is final.
CREATE TABLE accounts (
    address BLOB    PRIMARY KEY CHECK (length(address) = 20),
    settled INTEGER NOT NULL CHECK (settled >= 0)
) STRICT;

CREATE TABLE jobs (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    key       TEXT    NOT NULL UNIQUE,
    account   BLOB    NOT NULL CHECK (length(account) = 20),
    digest    BLOB    NOT NULL CHECK (length(digest) = 32),
    -- JSON
    request   TEXT    NOT NULL,
    -- JSON
    state     TEXT    NOT NULL,
    -- JSON: why it is to be withdrawn; null while it is wanted
    withdrawn TEXT,
    gas       INTEGER,
    bumps     INTEGER NOT NULL DEFAULT 0,
    -- unix seconds; null while it is unfinished
    ended_at  INTEGER
) STRICT;

CREATE INDEX unfinished ON jobs (account) WHERE ended_at IS NULL;
CREATE INDEX finished ON jobs (ended_at) WHERE ended_at IS NOT NULL;

-- Signed transactions of nonces that are not final.
CREATE TABLE attempts (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      BLOB    NOT NULL CHECK (length(account) = 20),
    nonce        INTEGER NOT NULL CHECK (nonce >= 0),
    -- null: a transfer of nothing to ourselves
    job          INTEGER REFERENCES jobs (id),
    hash         BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    raw          BLOB    NOT NULL,
    max_fee      TEXT    NOT NULL,
    priority_fee TEXT    NOT NULL,
    -- the newest block when it was signed
    block        INTEGER NOT NULL
) STRICT;

CREATE INDEX in_flight ON attempts (account, nonce);

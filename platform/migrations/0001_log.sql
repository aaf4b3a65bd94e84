-- The one ordered log, who has to judge what, and what they found.

-- Hotkeys that were ever assigned something or ever reported, by a small number.
CREATE TABLE validators (
    id     INTEGER PRIMARY KEY,
    hotkey BLOB NOT NULL UNIQUE CHECK (length(hotkey) = 32)
) STRICT;

-- kind: 1 head, 2 pending, 3 replaced, 4 invariant set, 5 feed ended. payload: an encoded StreamItem without cursor and codes.
CREATE TABLE items (
    cursor       INTEGER PRIMARY KEY,
    kind         INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 5),
    logged_at_ms INTEGER NOT NULL,
    -- Of a pending transaction only.
    tx_hash      BLOB CHECK ((kind = 2) = (tx_hash IS NOT NULL)),
    payload      BLOB NOT NULL
) STRICT;
-- The head and the set in force at a cursor are found without walking over the transactions between.
CREATE INDEX items_for_all ON items (kind, cursor) WHERE kind <> 2;

CREATE TABLE codes (
    hash     BLOB PRIMARY KEY CHECK (length(hash) = 32),
    bytecode BLOB NOT NULL
) STRICT;

CREATE TABLE assignments (
    validator INTEGER NOT NULL REFERENCES validators (id),
    cursor    INTEGER NOT NULL REFERENCES items (cursor),
    PRIMARY KEY (validator, cursor)
) STRICT, WITHOUT ROWID;

-- A transaction by its hash, however often it was logged (it is logged again to be judged on another head).
CREATE TABLE transactions (
    hash           BLOB PRIMARY KEY CHECK (length(hash) = 32),
    sender         BLOB NOT NULL CHECK (length(sender) = 20),
    first_cursor   INTEGER NOT NULL,
    included_at_ms INTEGER,
    judged         INTEGER NOT NULL DEFAULT 0,
    executed       INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Where each feed goes on. Written in the same transaction as the items that brought it there.
CREATE TABLE feeds (
    name     TEXT PRIMARY KEY,
    position TEXT NOT NULL,
    ended    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE reports (
    cursor         INTEGER NOT NULL REFERENCES items (cursor),
    validator      INTEGER NOT NULL REFERENCES validators (id),
    reported_at_ms INTEGER NOT NULL,
    payload        BLOB NOT NULL,
    PRIMARY KEY (cursor, validator)
) STRICT, WITHOUT ROWID;

-- What the reports on one item come to: the first execution that was reported, and whether another one contradicts it.
CREATE TABLE executions (
    cursor    INTEGER PRIMARY KEY REFERENCES items (cursor),
    execution BLOB,
    disputed  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE incidents (
    id                   INTEGER PRIMARY KEY AUTOINCREMENT,
    invariant_id         INTEGER NOT NULL,
    invariant_name       TEXT NOT NULL,
    contract             BLOB NOT NULL,
    tx_hash              BLOB NOT NULL,
    cursor               INTEGER NOT NULL REFERENCES items (cursor),
    witness              BLOB NOT NULL,
    seen_to_confirmed_us INTEGER NOT NULL,
    reported_at_ms       INTEGER NOT NULL,
    UNIQUE (invariant_id, tx_hash)
) STRICT;

CREATE TABLE confirmations (
    incident  INTEGER NOT NULL REFERENCES incidents (id),
    validator INTEGER NOT NULL REFERENCES validators (id),
    PRIMARY KEY (incident, validator)
) STRICT, WITHOUT ROWID;

-- Sums over everything, kept with each change: a status must not walk over months of reports.
CREATE TABLE totals (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    transactions INTEGER NOT NULL DEFAULT 0,
    assigned     INTEGER NOT NULL DEFAULT 0,
    reported     INTEGER NOT NULL DEFAULT 0,
    executed     INTEGER NOT NULL DEFAULT 0,
    judged       INTEGER NOT NULL DEFAULT 0,
    holds        INTEGER NOT NULL DEFAULT 0,
    violated     INTEGER NOT NULL DEFAULT 0,
    undecided    INTEGER NOT NULL DEFAULT 0,
    challenges   INTEGER NOT NULL DEFAULT 0,
    answers      INTEGER NOT NULL DEFAULT 0,
    agreed       INTEGER NOT NULL DEFAULT 0,
    arbitrated   INTEGER NOT NULL DEFAULT 0,
    incidents    INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO totals (one) VALUES (1);

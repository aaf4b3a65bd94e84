-- What must hold. A removed invariant stays, so that its id is never used again and an old incident still has its contract.
CREATE TABLE invariants (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL,
    contract      BLOB NOT NULL CHECK (length(contract) = 20),
    slot          BLOB NOT NULL CHECK (length(slot) = 32),
    value_type    TEXT NOT NULL,
    byte_offset   INTEGER NOT NULL,
    comparison    TEXT NOT NULL,
    target        BLOB NOT NULL CHECK (length(target) = 32),
    network       TEXT NOT NULL,
    variable      TEXT,
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER
) STRICT;
CREATE INDEX invariants_active ON invariants (id) WHERE removed_at_ms IS NULL;

CREATE TABLE registry (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO registry (one, version) VALUES (1, 0);

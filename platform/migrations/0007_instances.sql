-- Several platforms on one database.

-- Which log this is, by a name that no other has: so that a broker never gives the items of another one.
CREATE TABLE log_identity (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL
) STRICT;

-- The processes that serve. A beat rises while its process lives; the others see by that that it does.
CREATE TABLE instances (
    name TEXT PRIMARY KEY,
    beat INTEGER NOT NULL
) STRICT;

-- Which validators have a stream open where.
CREATE TABLE presences (
    instance  TEXT NOT NULL REFERENCES instances (name),
    validator INTEGER NOT NULL REFERENCES validators (id),
    PRIMARY KEY (instance, validator)
) STRICT, WITHOUT ROWID;

-- Which instance feeds the log; empty: none.
CREATE TABLE feeder (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    instance TEXT NOT NULL
) STRICT;
INSERT INTO feeder (one, instance) VALUES (1, '');

-- Protected protocols that pay for their protection, each into a payment contract of its own. What was last known for certain of
-- the payment decides whether its invariants are streamed, also while nobody can say.
CREATE TABLE services (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL,
    payment       BLOB NOT NULL CHECK (length(payment) = 20),
    served        INTEGER NOT NULL DEFAULT 1,
    -- The newest conclusion as JSON, and when it was come to.
    conclusion    TEXT,
    checked_at_ms INTEGER,
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX services_names ON services (name) WHERE removed_at_ms IS NULL;

-- An invariant of no service is streamed always.
ALTER TABLE invariants ADD COLUMN service INTEGER REFERENCES services (id);

-- Incidents: one for an invariant and an attack. Times are milliseconds since 1970, UTC.
CREATE TABLE incident (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    chain_id     INTEGER NOT NULL,
    invariant_id INTEGER NOT NULL,
    state        INTEGER NOT NULL,           -- incident::State
    severity     INTEGER NOT NULL,           -- violation::Severity
    opened_ms    INTEGER NOT NULL,           -- when the first suspect was confirmed
    last_ms      INTEGER NOT NULL,           -- when the newest suspect was seen
    contained_ms INTEGER,                    -- when the pause was included
    ended_ms     INTEGER,                    -- when it became contained, escalated or closed
    suspects     INTEGER NOT NULL,           -- how many there were, also those that are not kept
    violation    TEXT NOT NULL,              -- the first violation: JSON
    view         TEXT NOT NULL               -- the network's view of it: JSON
);
CREATE INDEX incident_by_invariant ON incident (chain_id, invariant_id, last_ms);
CREATE INDEX incident_by_state ON incident (state, last_ms);

-- The transactions of each incident.
CREATE TABLE suspect (
    chain_id     INTEGER NOT NULL,
    invariant_id INTEGER NOT NULL,
    tx_hash      BLOB NOT NULL,
    incident_id  INTEGER NOT NULL REFERENCES incident (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,           -- within the incident, from 0
    sender       BLOB NOT NULL,
    path         BLOB NOT NULL,              -- digest of the call path into the contract
    body         TEXT NOT NULL,              -- violation::Suspect: JSON
    PRIMARY KEY (chain_id, invariant_id, tx_hash)
) WITHOUT ROWID;
CREATE INDEX suspect_by_incident ON suspect (incident_id);

-- What happened when.
CREATE TABLE timeline (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    incident_id INTEGER NOT NULL REFERENCES incident (id) ON DELETE CASCADE,
    at_ms       INTEGER NOT NULL,
    moment      TEXT NOT NULL,               -- incident::Moment
    action      TEXT,
    detail      TEXT NOT NULL
);
CREATE INDEX timeline_by_incident ON timeline (incident_id);

-- The outbox: what is to be done about an incident, by whom, and how far it is. A summary of suppressed alerts has no incident.
CREATE TABLE delivery (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    incident_id INTEGER REFERENCES incident (id) ON DELETE CASCADE,
    action      TEXT NOT NULL,
    key         TEXT NOT NULL UNIQUE,        -- idempotency key
    state       INTEGER NOT NULL,            -- store::DeliveryState
    attempts    INTEGER NOT NULL DEFAULT 0,
    unknown     INTEGER NOT NULL DEFAULT 0,  -- the fate of an attempt is unknown
    created_ms  INTEGER NOT NULL,
    first_ms    INTEGER,                     -- of its first attempt
    next_ms     INTEGER NOT NULL,            -- not before
    done_ms     INTEGER,                     -- when it was sent, failed or was suppressed
    payload     TEXT,                        -- what is said, fixed by the first attempt
    reference   TEXT,                        -- what the other side calls it
    reason      TEXT,                        -- why the last attempt did not succeed
    summary     INTEGER,                     -- of a suppressed alert: the delivery that tells of it
    UNIQUE (incident_id, action)
);
CREATE INDEX delivery_due ON delivery (action, state, next_ms);

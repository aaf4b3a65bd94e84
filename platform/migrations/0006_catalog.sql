-- What people register beside invariants: contracts, defence actions, dashboards, and what belongs to what.
CREATE TABLE contracts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    address       TEXT NOT NULL,
    network       TEXT NOT NULL,
    -- A JSON object, as it was given.
    variables     TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE defense_actions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    type          TEXT NOT NULL,
    network       TEXT NOT NULL,
    -- Encrypted: it is never read back by anyone but the platform.
    tg_api_key    BLOB,
    tg_chat_id    TEXT,
    role_id       TEXT,
    function_sig  TEXT,
    calldata      TEXT,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE dashboards (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;

-- relation: contract_invariant, invariant_action, dashboard_contract, dashboard_invariant, dashboard_action.
CREATE TABLE links (
    relation TEXT NOT NULL,
    owner    INTEGER NOT NULL,
    member   INTEGER NOT NULL,
    PRIMARY KEY (relation, owner, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_member ON links (relation, member);

-- Keys of the HTTP interface. The key itself is shown once; stored is its argon2 hash, found by its public prefix.
CREATE TABLE api_keys (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('read', 'write', 'admin')),
    prefix        TEXT NOT NULL UNIQUE,
    hash          TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT;

-- Every change over HTTP: who, what, with which answer.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms  INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    method TEXT NOT NULL,
    path   TEXT NOT NULL,
    status INTEGER NOT NULL
) STRICT;

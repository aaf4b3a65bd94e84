-- What was last told to the platform of each of the defence's incidents.
CREATE TABLE timeline (
    incident INTEGER PRIMARY KEY, -- the defence's number
    revision INTEGER NOT NULL,
    digest   BLOB NOT NULL        -- keccak-256 of the report with revision 0
);

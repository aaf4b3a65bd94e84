-- What each validator did about an incident that it confirmed; the newest revision only. payload: an encoded IncidentTimeline.
CREATE TABLE timelines (
    incident  INTEGER NOT NULL REFERENCES incidents (id),
    validator INTEGER NOT NULL REFERENCES validators (id),
    revision  INTEGER NOT NULL,
    payload   BLOB NOT NULL,
    PRIMARY KEY (incident, validator)
) STRICT, WITHOUT ROWID;

-- One community. `generation` counts its changes: who writes names the one that they read.
CREATE TABLE community (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    network TEXT NOT NULL,
    seed BLOB NOT NULL,
    spec TEXT NOT NULL,
    mix TEXT NOT NULL,
    phase TEXT NOT NULL,
    faucet INTEGER NOT NULL,
    now TEXT NOT NULL,
    past TEXT,
    generation INTEGER NOT NULL
);

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
);

CREATE TABLE purse (
    address TEXT PRIMARY KEY,
    balance INTEGER NOT NULL,
    drawn INTEGER NOT NULL
);

-- What is written down of each ceremony.
CREATE TABLE ceremony (
    number INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);

-- Who is at work on the phase.
CREATE TABLE worker (
    name TEXT PRIMARY KEY,
    ceremony INTEGER NOT NULL,
    phase TEXT NOT NULL,
    beats INTEGER NOT NULL,
    done INTEGER NOT NULL
);

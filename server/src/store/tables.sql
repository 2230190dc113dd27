-- Times are nanoseconds since 1970. Identities and seeds are 64 bits, kept in SQLite's signed integers.
CREATE TABLE runs (
    name TEXT PRIMARY KEY,
    config TEXT NOT NULL,               -- as TOML, every key spelled out
    started INTEGER NOT NULL,
    ended INTEGER,                      -- NULL while it goes on
    initial_model BLOB NOT NULL         -- SHA-256 of the parameters
) STRICT;

CREATE TABLE rounds (
    run TEXT NOT NULL REFERENCES runs,
    round INTEGER NOT NULL,
    state TEXT NOT NULL,                -- selecting, collecting, closing, committed, abandoned
    model BLOB NOT NULL,                -- the model that clients start from
    opened INTEGER NOT NULL,
    assigned INTEGER,                   -- when the first client was assigned
    closed INTEGER,                     -- when the counted set was fixed, or the round abandoned
    why TEXT,                           -- why it closed
    new_model BLOB,                     -- the model it made
    memories BLOB,                      -- what the optimiser remembers after it: SHA-256 of the file
    committed INTEGER,
    accuracy REAL,                      -- of the new model, where a held-out set is configured
    loss REAL,
    PRIMARY KEY (run, round)
) STRICT;

-- Delta frames of the global model, where its changes are compressed. Version 0 is the run's first model.
CREATE TABLE frames (
    run TEXT NOT NULL REFERENCES runs,
    version INTEGER NOT NULL,           -- that it leads to, from 1
    digest BLOB NOT NULL,               -- SHA-256 of the frame
    bytes INTEGER NOT NULL,
    model BLOB NOT NULL,                -- SHA-256 of the parameters that it leads to
    PRIMARY KEY (run, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE cohort (
    run TEXT NOT NULL,
    round INTEGER NOT NULL,
    place INTEGER NOT NULL,             -- in the order they were drawn
    client INTEGER NOT NULL,
    scheme TEXT NOT NULL,               -- of its update
    since INTEGER NOT NULL,             -- when it was assigned
    PRIMARY KEY (run, round, client),
    FOREIGN KEY (run, round) REFERENCES rounds
) STRICT, WITHOUT ROWID;

-- What cohort members reported, in order; with the cohort, it is all that a round can be resumed from.
CREATE TABLE reports (
    sequence INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    round INTEGER NOT NULL,
    client INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,                 -- update, refused, lost, given up
    samples INTEGER NOT NULL,
    digest BLOB,                        -- SHA-256 of the payload
    bytes INTEGER NOT NULL,
    train_loss REAL,
    start_loss REAL,                    -- before training, where it was asked for
    nmse REAL,
    outcome TEXT,                       -- accepted, rejected, discarded; NULL until it is known
    reason TEXT,
    counted INTEGER,                    -- the round that decided on it; where rounds do not wait it may be a later one
    detail TEXT,
    FOREIGN KEY (run, round, client) REFERENCES cohort (run, round, client)
) STRICT;
CREATE UNIQUE INDEX one_report_each ON reports (run, round, client);

CREATE TABLE clients (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    enrolled INTEGER NOT NULL,
    revoked INTEGER,
    seen INTEGER,
    may_send INTEGER,                   -- bytes that it said it has left, for a round; NULL for any number
    may_receive INTEGER,
    may_send_in_run INTEGER,            -- for the rest of the run
    may_receive_in_run INTEGER
) STRICT;

CREATE TABLE certificates (
    fingerprint BLOB PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES clients,
    public_key BLOB NOT NULL,
    not_after INTEGER NOT NULL          -- seconds since 1970
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    digest BLOB PRIMARY KEY,            -- SHA-256 of the secret
    client INTEGER NOT NULL,
    name TEXT NOT NULL,
    expires INTEGER NOT NULL,           -- seconds since 1970
    used INTEGER,
    public_key BLOB                     -- whose certificate it gave: an answer that was lost is given again to the same key
) STRICT, WITHOUT ROWID;

-- Bytes really moved, by client and round.
CREATE TABLE ledger (
    run TEXT NOT NULL,
    round INTEGER NOT NULL,
    client INTEGER NOT NULL,            -- -1 for peers that never said who they were
    payload_up INTEGER NOT NULL DEFAULT 0,
    payload_down INTEGER NOT NULL DEFAULT 0,
    message_up INTEGER NOT NULL DEFAULT 0,
    message_down INTEGER NOT NULL DEFAULT 0,
    wire_up INTEGER NOT NULL DEFAULT 0,
    wire_down INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, round, client)
) STRICT, WITHOUT ROWID;

-- The next request of a check-in: frozen, so that what is shown is what is sent.
CREATE TABLE license_request (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    bytes      BLOB NOT NULL,                   -- exactly what is sent; holds the licence key
    salt       BLOB NOT NULL,                   -- opens the commitment to it
    frozen_ms  INTEGER NOT NULL,
    entry      BLOB NOT NULL,                   -- the log entry that says it may leave; empty until it is about to be appended
    log_from   INTEGER NOT NULL,                -- where to look for that entry after a crash
    log_index  INTEGER,                         -- where it is; not sent before
    failed     INTEGER NOT NULL DEFAULT 0,      -- attempts that failed
    told       INTEGER NOT NULL DEFAULT 0       -- what has an entry: 1 unreachable, 2 rejected, 4 that it may leave, in a log before this one
);

-- Verified replies: one counts once its entry is under a checkpoint.
CREATE TABLE license_replies (
    key         BLOB NOT NULL,                  -- SHA-256 of the licence key it was given to
    sequence    INTEGER NOT NULL,
    bytes       BLOB NOT NULL,
    salt        BLOB NOT NULL,
    by_hand     INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    entry       BLOB NOT NULL,
    log_from    INTEGER NOT NULL,
    log_index   INTEGER,
    PRIMARY KEY (key, sequence)
) WITHOUT ROWID;

-- What an admin sees of check-ins that are over.
CREATE TABLE check_ins (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms        INTEGER NOT NULL,
    request      BLOB NOT NULL,
    request_salt BLOB NOT NULL,
    request_index INTEGER,
    reply        BLOB,
    reply_salt   BLOB,
    reply_index  INTEGER,
    result       TEXT NOT NULL
);

-- Previews of telemetry that were served: what may be consented to.
CREATE TABLE telemetry_previews (
    digest    BLOB PRIMARY KEY,                 -- SHA-256 of the bytes
    bytes     BLOB NOT NULL,                    -- a whole request; holds the licence key
    schema    INTEGER NOT NULL,
    served_ms INTEGER NOT NULL,
    sent      INTEGER NOT NULL DEFAULT 0        -- it was a request already, and will not be one again
);

-- The switch: what the admin wants, what the last entry about it says, and the preview to be sent first.
CREATE TABLE telemetry (
    one              INTEGER PRIMARY KEY CHECK (one = 1),
    wished_schema    INTEGER,
    wished_preview   BLOB,
    recorded_schema  INTEGER,
    recorded_preview BLOB,
    send_preview     BLOB
);
INSERT INTO telemetry (one) VALUES (1);

-- Keys that were revoked by a signed 410: not asked about again.
CREATE TABLE license_tombstones (key BLOB PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;

-- The instant that has certainly passed.
CREATE TABLE license_clock (one INTEGER PRIMARY KEY CHECK (one = 1), floor_ms INTEGER NOT NULL);

-- Calls that the log has no entry of yet, summed per destination and hour.
CREATE TABLE license_calls (
    destination TEXT NOT NULL,
    hour        INTEGER NOT NULL,
    calls       TEXT NOT NULL,                  -- JSON
    PRIMARY KEY (destination, hour)
) WITHOUT ROWID;

-- What a vendor asked of this relay, verified. One row for each request, whatever became of it.
CREATE TABLE vendor_requests (
    hash        BLOB PRIMARY KEY,               -- SHA-256 of its bytes
    seq         INTEGER UNIQUE,                 -- its place in the chain; absent if it took none
    id          TEXT NOT NULL,
    kind        TEXT NOT NULL,
    bytes       BLOB NOT NULL,
    salt        BLOB NOT NULL,                  -- opens the commitment to it in a refusal, and to the id of a support key
    received_ms INTEGER NOT NULL,               -- by the clock that licences are judged by
    refusal     TEXT,                           -- why it is refused without asking: a word of the log
    state       TEXT NOT NULL,                  -- new, waiting, accepted, denied, lapsed, refused
    said        TEXT,                           -- what an admin said on this relay: approve, deny
    decision    TEXT,                           -- what was decided; from here on it is carried out, whatever changes
    decided_ms  INTEGER,
    covered     INTEGER,                        -- entries under the checkpoint that covered its entry before any effect
    log_index   INTEGER                         -- that entry
) WITHOUT ROWID;

-- Entries that are to be appended once, however often the process dies on the way.
CREATE TABLE vendor_entries (
    hash      BLOB NOT NULL,                    -- of the request or statement it is about
    step      INTEGER NOT NULL,                 -- 0 that it came, 1 what was decided, 2 its effect, 3 the end of that
    entry     BLOB NOT NULL,
    log_from  INTEGER NOT NULL,                 -- where to look for it after a crash
    log_index INTEGER,
    PRIMARY KEY (hash, step)
) WITHOUT ROWID;

-- Silence statements, verified: the newest few.
CREATE TABLE vendor_silences (
    hash        BLOB PRIMARY KEY,
    bytes       BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    placed      INTEGER NOT NULL DEFAULT 0      -- its entry is written
) WITHOUT ROWID;

-- Support keys that were ever in force. An ended one stays, so that it never works again.
CREATE TABLE support_keys (
    id         TEXT PRIMARY KEY,                -- of its request
    request    BLOB NOT NULL,                   -- hash of that
    key_sha256 BLOB NOT NULL UNIQUE,
    role       TEXT NOT NULL,
    salt       BLOB NOT NULL,                   -- opens the commitment to the id
    since_ms   INTEGER NOT NULL,
    until_ms   INTEGER NOT NULL,
    ended      TEXT,                            -- revoked, expired
    told       INTEGER NOT NULL DEFAULT 0,      -- the end has its entry
    uses       INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Uses that the log has no entry of yet, summed per key and hour.
CREATE TABLE support_uses (
    destination TEXT NOT NULL,                  -- the id
    hour        INTEGER NOT NULL,
    calls       TEXT NOT NULL,                  -- JSON
    PRIMARY KEY (destination, hour)
) WITHOUT ROWID;

-- What the last set that counted grants, as a hash: another one needs a request of its own.
CREATE TABLE license_terms (key BLOB PRIMARY KEY, terms BLOB NOT NULL) WITHOUT ROWID;

-- Sets whose change of capabilities waits for an admin: in a table of their own, where an older release does not take them for sets
-- that count.
CREATE TABLE license_waiting (
    key         BLOB NOT NULL,
    sequence    INTEGER NOT NULL,
    bytes       BLOB NOT NULL,
    salt        BLOB NOT NULL,
    by_hand     INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    entry       BLOB NOT NULL,
    log_index   INTEGER NOT NULL,
    awaits      BLOB NOT NULL,                  -- the request that must be accepted
    PRIMARY KEY (key, sequence)
) WITHOUT ROWID;

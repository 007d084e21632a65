-- Times are Unix milliseconds. Ids and hashes are raw bytes. No payload key and no API key is ever stored here.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    id         BLOB PRIMARY KEY,            -- 16 random bytes
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE api_keys (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    kid        TEXT NOT NULL UNIQUE,
    sha256     BLOB NOT NULL UNIQUE,        -- of the key; the key itself is shown once and forgotten
    account    BLOB NOT NULL REFERENCES accounts(id),
    masked     TEXT NOT NULL,
    plan       TEXT NOT NULL,
    label      TEXT NOT NULL,
    email      TEXT,
    scope      TEXT NOT NULL,
    is_primary INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER                      -- NULL: active
);
CREATE INDEX api_keys_by_account ON api_keys(account);

CREATE TABLE blobs (
    id         BLOB PRIMARY KEY,            -- 16 random bytes; also the file's name
    account    BLOB NOT NULL,
    space      INTEGER NOT NULL,            -- 0 content (lookup = hash), 1 drop (lookup = the sender's lookup id)
    lookup     BLOB NOT NULL,
    hash       BLOB NOT NULL,               -- SHA-256 of the payload, always computed here
    size       INTEGER NOT NULL,
    ttl_ms     INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    views      INTEGER NOT NULL,
    views_left INTEGER NOT NULL,
    state      INTEGER NOT NULL,            -- 0 pending, 1 live, 2 claimed (no view left), 3 burned (its entry not yet known to be logged)
    slot       INTEGER NOT NULL,
    sig_valid  INTEGER NOT NULL,
    device     TEXT,
    sector     TEXT NOT NULL,               -- as in the leaf, whatever the setting says later
    ts         TEXT NOT NULL,               -- exact, with 39 random digits after the millisecond; never leaves except in receipts
    leaf       BLOB NOT NULL,
    log_from   INTEGER NOT NULL,            -- the log's size when the row was written: its leaf is at or after this index
    log_index  INTEGER,
    burn_entry BLOB,                        -- the transfer_burned entry, kept until it is in the log
    burn_leaf  BLOB,
    burn_from  INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX blobs_unread ON blobs(account, space, lookup) WHERE state < 3;
CREATE INDEX blobs_by_lookup ON blobs(lookup, space) WHERE state < 3;
CREATE INDEX blobs_by_expiry ON blobs(expires_ms) WHERE state < 3;
CREATE INDEX blobs_unfinished ON blobs(state) WHERE state IN (0, 3);

CREATE TABLE claims (
    id         BLOB PRIMARY KEY,            -- 16 random bytes
    blob       BLOB NOT NULL REFERENCES blobs(id) ON DELETE CASCADE,
    account    BLOB NOT NULL,               -- who may lease it again
    generation INTEGER NOT NULL,            -- 1 for the first lease, one more for each re-lease
    state      INTEGER NOT NULL,            -- 0 running, 1 cut (may be leased again)
    leased_ms  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_by_blob ON claims(blob);

CREATE TABLE devices (
    account       BLOB NOT NULL,
    device        TEXT NOT NULL,
    kem           BLOB NOT NULL,
    sig           BLOB NOT NULL,            -- empty: unsigned
    ecdh          TEXT NOT NULL,            -- exactly as registered; empty: none
    registered_ms INTEGER NOT NULL,
    salt          BLOB NOT NULL,            -- opens the commitment in the log
    entry         BLOB NOT NULL,            -- the key_registered entry
    leaf          BLOB NOT NULL,
    log_from      INTEGER NOT NULL,
    log_index     INTEGER,                  -- NULL: not yet known to be logged
    PRIMARY KEY (account, device)
) WITHOUT ROWID;

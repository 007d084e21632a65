-- DIDs, each under the API key that it acts for. A revoked one stays, so that its key never comes back.
CREATE TABLE dids (
    did          TEXT PRIMARY KEY,          -- did:paramant:…
    account      BLOB NOT NULL,
    kid          TEXT NOT NULL,
    device       TEXT NOT NULL,
    public_key   TEXT NOT NULL,             -- hex, exactly as registered: the DID is made of this text
    created_ms   INTEGER NOT NULL,
    salt         BLOB NOT NULL,             -- opens the commitment in the log
    entry        BLOB NOT NULL,             -- the key_registered entry
    leaf         BLOB NOT NULL,
    log_from     INTEGER NOT NULL,
    log_index    INTEGER,                   -- NULL: not yet known to be logged
    revoked_ms   INTEGER,                   -- NULL: it is in force
    revoke_entry BLOB,                      -- the did_revoked entry
    revoke_leaf  BLOB,
    revoke_from  INTEGER,
    revoke_index INTEGER
) WITHOUT ROWID;
CREATE INDEX dids_by_account ON dids(account);

-- Uploads in chunks. An open upload has a slot of `keys.slots` and a file for each chunk that was acknowledged.
CREATE TABLE uploads (
    id         BLOB PRIMARY KEY,            -- 16 random bytes; the blob's id once it is complete
    account    BLOB NOT NULL,
    state      INTEGER NOT NULL,            -- 0 open, 1 done (kept so that a repeat of `complete` is answered), 2 given up
    size       INTEGER NOT NULL,
    chunk_size INTEGER NOT NULL,
    hash       BLOB,                        -- as announced; once done, as computed
    ttl_ms     INTEGER NOT NULL,
    views      INTEGER NOT NULL,
    device     TEXT,
    strict     INTEGER NOT NULL,
    slot       INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    touched_ms INTEGER NOT NULL,            -- when the last chunk was acknowledged; when it was done
    blob_size  INTEGER,                     -- once done: what the answer says
    blob_ttl   INTEGER,
    sig_valid  INTEGER,
    leaf       BLOB,
    log_index  INTEGER
) WITHOUT ROWID;
CREATE INDEX uploads_open ON uploads(account) WHERE state = 0;
CREATE INDEX uploads_by_touch ON uploads(state, touched_ms);

CREATE TABLE chunks (
    upload BLOB NOT NULL,                   -- also the id of the blob it became
    number INTEGER NOT NULL,
    file   BLOB NOT NULL,                   -- its file's name: random, so that no two writes share a key
    hash   BLOB NOT NULL,                   -- SHA-256, computed here
    size   INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;

ALTER TABLE blobs ADD COLUMN chunk_size INTEGER;                 -- NULL: one file, named by the id
ALTER TABLE blobs ADD COLUMN strict INTEGER NOT NULL DEFAULT 0;  -- 1: at most one disclosure of a view

-- How far bytes of this view have gone out: a read that goes on from there discloses nothing twice.
ALTER TABLE claims ADD COLUMN sent_to INTEGER NOT NULL DEFAULT 0;

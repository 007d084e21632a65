-- Who may read a blob besides its account's keys, and with what.
ALTER TABLE blobs ADD COLUMN password TEXT;  -- Argon2id as a PHC string; NULL: none is asked for
ALTER TABLE blobs ADD COLUMN enc_meta TEXT;  -- the file's name, encrypted by the sender

CREATE TABLE links (
    token BLOB PRIMARY KEY,                 -- SHA-256 of the token; the token itself is shown once and forgotten
    blob  BLOB NOT NULL REFERENCES blobs(id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX links_by_blob ON links(blob);

-- Which entry a log receipt is for. The id itself is shown once and forgotten; rows stay as long as the log does.
CREATE TABLE receipts (
    id        BLOB PRIMARY KEY,             -- SHA-256 of the id
    log_index INTEGER NOT NULL,
    leaf      BLOB NOT NULL                 -- the entry's legacy leaf: an entry of another log at this index is not meant
) WITHOUT ROWID;

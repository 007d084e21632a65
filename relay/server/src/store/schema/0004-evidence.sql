-- Heads that this log's keys signed and its entries contradict, as strangers sent them: evidence of a second history.
CREATE TABLE evidence (
    sha256      BLOB PRIMARY KEY,           -- of the document
    received_ms INTEGER NOT NULL,
    document    BLOB NOT NULL
) WITHOUT ROWID;

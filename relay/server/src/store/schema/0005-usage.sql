-- Uploads of each account by calendar month (UTC), whether or not a quota is on.
CREATE TABLE usage (
    account   BLOB NOT NULL,
    month     TEXT NOT NULL,                -- such as 2026-11
    transfers INTEGER NOT NULL,
    PRIMARY KEY (account, month)
) WITHOUT ROWID;
-- What was counted while a quota was on: the same again within a day is not counted twice.
CREATE TABLE counted (
    account    BLOB NOT NULL,
    what       BLOB NOT NULL,               -- SHA-256 of the payload, or of the sender's file id
    counted_ms INTEGER NOT NULL,
    PRIMARY KEY (account, what)
) WITHOUT ROWID;
CREATE INDEX counted_by_time ON counted(counted_ms);

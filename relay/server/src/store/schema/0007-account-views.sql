-- What each account did, chained. A ring of the newest 1000 rows of each account (slot = number modulo 1000), so that the
-- oldest is overwritten and nothing needs to be swept.
CREATE TABLE audit (
    account BLOB NOT NULL,
    slot    INTEGER NOT NULL,
    number  INTEGER NOT NULL,               -- from 0, without a gap
    prev    BLOB NOT NULL,                  -- chain hash of the row before, also when that is overwritten by now
    fields  TEXT NOT NULL,                  -- the entry as JSON, without prev_hash and chain_hash
    chain   BLOB NOT NULL,                  -- SHA3-256 of the canonical entry with prev_hash
    PRIMARY KEY (account, slot)
) WITHOUT ROWID;

-- The end of each account's chain, and what it did in numbers.
CREATE TABLE activity (
    account   BLOB PRIMARY KEY,
    audited   INTEGER NOT NULL DEFAULT 0,   -- audit rows ever written; the newest is number audited - 1
    chain     BLOB NOT NULL,                -- chain hash of the newest; 32 zero bytes: none yet
    inbound   INTEGER NOT NULL DEFAULT 0,   -- uploads acknowledged
    burned    INTEGER NOT NULL DEFAULT 0,   -- of its uploads, destroyed for whatever reason
    read      INTEGER NOT NULL DEFAULT 0,   -- downloads that came to their end
    waited_ms INTEGER NOT NULL DEFAULT 0,   -- from each upload to the end of each of those downloads, summed
    acked     INTEGER NOT NULL DEFAULT 0,
    hooked    INTEGER NOT NULL DEFAULT 0    -- webhook calls that were answered with 2xx
) WITHOUT ROWID;

-- Uploads that wait for the listener of a device.
CREATE TABLE device_queue (
    position  INTEGER PRIMARY KEY AUTOINCREMENT,
    account   BLOB NOT NULL,
    device    TEXT NOT NULL,
    lookup    BLOB NOT NULL,
    blob      BLOB NOT NULL REFERENCES blobs(id) ON DELETE CASCADE,
    queued_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX device_queue_once ON device_queue(account, device, lookup);
CREATE INDEX device_queue_in_order ON device_queue(account, device, position);
CREATE INDEX device_queue_by_lookup ON device_queue(account, lookup);
CREATE INDEX device_queue_by_blob ON device_queue(blob);

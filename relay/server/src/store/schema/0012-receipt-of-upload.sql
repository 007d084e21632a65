-- What the receipt of an upload is found by, from its first row on: it gets its row in `receipts` when the entry's place is known, also
-- by the pass at start after a crash.
ALTER TABLE blobs ADD COLUMN receipt BLOB;

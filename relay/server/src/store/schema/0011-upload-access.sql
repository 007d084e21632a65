-- What an upload in chunks asks of its readers, and how it counts; its blob's row takes it over when it is complete.
ALTER TABLE uploads ADD COLUMN password TEXT;  -- Argon2id as a PHC string; NULL: none will be asked for
ALTER TABLE uploads ADD COLUMN enc_meta TEXT;  -- the file's name, encrypted by the sender
ALTER TABLE uploads ADD COLUMN file_id BLOB;   -- SHA-256 of the sender's own id of the file

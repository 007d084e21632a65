-- Where users want to be told of uploads, and what waits to be told. The counts are kept by triggers, so that a bound costs the
-- same however much waits.
CREATE TABLE webhooks (
    id          BLOB PRIMARY KEY,               -- 16 random bytes
    account     BLOB NOT NULL,
    device      TEXT NOT NULL,
    destination TEXT NOT NULL,                  -- host:port of the url
    url         TEXT NOT NULL,
    secret      BLOB NOT NULL,                  -- key of the signature; empty: none
    created_ms  INTEGER NOT NULL,
    waiting     INTEGER NOT NULL DEFAULT 0,     -- its rows in webhook_outbox
    dropped     INTEGER NOT NULL DEFAULT 0,     -- events that were not kept, or not delivered in time
    failures    INTEGER NOT NULL DEFAULT 0,     -- calls that failed since the last that did not
    next_ms     INTEGER NOT NULL DEFAULT 0,     -- not called before
    last_ms     INTEGER,                        -- when the last call ended
    last        TEXT                            -- and how: a word
) WITHOUT ROWID;
CREATE UNIQUE INDEX webhooks_once ON webhooks(account, device, url);
CREATE INDEX webhooks_due ON webhooks(destination, next_ms) WHERE waiting > 0;

CREATE TABLE webhook_outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook  BLOB NOT NULL REFERENCES webhooks(id) ON DELETE CASCADE,
    body     BLOB NOT NULL,                     -- exactly what is sent and signed
    ends_ms  INTEGER NOT NULL                   -- not delivered after
);
CREATE INDEX webhook_outbox_in_order ON webhook_outbox(webhook, position);
CREATE INDEX webhook_outbox_by_end ON webhook_outbox(ends_ms);

CREATE TABLE webhook_outbox_size (one INTEGER PRIMARY KEY CHECK (one = 1), rows INTEGER NOT NULL);
INSERT INTO webhook_outbox_size VALUES (1, 0);
CREATE TRIGGER webhook_outbox_more AFTER INSERT ON webhook_outbox BEGIN
    UPDATE webhooks SET waiting = waiting + 1 WHERE id = NEW.webhook;
    UPDATE webhook_outbox_size SET rows = rows + 1;
END;
CREATE TRIGGER webhook_outbox_fewer AFTER DELETE ON webhook_outbox BEGIN
    UPDATE webhooks SET waiting = waiting - 1 WHERE id = OLD.webhook;
    UPDATE webhook_outbox_size SET rows = rows - 1;
END;

-- Calls that the log has no entry of yet, summed per destination and hour.
CREATE TABLE webhook_calls (
    destination TEXT NOT NULL,
    hour        INTEGER NOT NULL,
    calls       TEXT NOT NULL,                  -- JSON
    PRIMARY KEY (destination, hour)
) WITHOUT ROWID;

-- What authenticates every row: a MAC for each under a key that the vault holds, and the state of all
-- of them after each change. Both are made by whoever opens the vault: data of an earlier layout is
-- sealed when it is first opened with the root key.

-- `kind` is the table's name, or `description` for a provider's description and overlay.
-- Retention: as long as its row.
CREATE TABLE row_seal (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    seal BYTEA NOT NULL,
    PRIMARY KEY (kind, id)
);

-- One row for each change: `sequence` is that of its last event in the outbox.
-- Retention: for ever; about 150 bytes a change. A log of any age finds its own state here, or the
-- store was put back.
CREATE TABLE state_head (
    sequence BIGINT PRIMARY KEY,
    event BYTEA NOT NULL,
    row_count BIGINT NOT NULL,
    root BYTEA NOT NULL,
    seal BYTEA NOT NULL
);

-- Authenticates an event that waits for the log. Without one only in data of an earlier layout.
ALTER TABLE outbox ADD COLUMN seal BYTEA;

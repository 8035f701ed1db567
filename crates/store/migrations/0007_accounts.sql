-- What became of each event, so that one that somebody removed is missed however many nodes move
-- events into logs of their own: as a row of the outbox goes, a row comes here, in one transaction.
-- `log` names the log that has the event; null stands for all events up to this one, and rows before
-- such a one are deleted. Each has a seal: only who opens the vault says that a log has an event.
-- Retention: until a row without `log` stands for it.
CREATE TABLE outbox_moved (
    sequence BIGINT PRIMARY KEY,
    log TEXT,
    seal BYTEA NOT NULL
);

-- When a node was last at work, by its own clock. Retention: one row for each node.
CREATE TABLE node_seen (
    log TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL
);

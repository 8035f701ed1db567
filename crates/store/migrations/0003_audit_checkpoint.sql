-- The last signed checkpoint that was told of each audit log, by the log's origin: a node each. It
-- follows the log and is never ahead of it; a log that is shorter, missing or another one is found
-- by it. `checkpoint` is the signed note, `size` the entries that it signs.
-- Retention: one row per log, replaced by newer checkpoints, kept as long as the log.

CREATE TABLE audit_checkpoint (
    origin TEXT PRIMARY KEY,
    size BIGINT NOT NULL CHECK (size >= 0),
    checkpoint TEXT NOT NULL
);

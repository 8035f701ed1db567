-- What each audit log asks the other nodes of the installation to cosign, by the log's origin and that
-- of the witness's own log, and what they say (C2SP tlog-witness; the database is only the way between
-- them: each keeps what it saw in its own folder). `request` is the body of the newest `add-checkpoint`;
-- `status` is null until the witness has answered it; `size` is what the witness saw last, `witness_key`
-- its public key, and `cosigned` the newest checkpoint with its cosignature.
-- Retention: one row per log and witness, replaced by newer ones, kept as long as the log.

CREATE TABLE audit_witness (
    origin TEXT NOT NULL,
    witness TEXT NOT NULL,
    request TEXT NOT NULL,
    status BIGINT,
    size BIGINT NOT NULL CHECK (size >= 0),
    witness_key TEXT,
    cosigned TEXT,
    PRIMARY KEY (origin, witness)
);

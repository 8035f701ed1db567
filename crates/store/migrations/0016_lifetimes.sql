-- Rules about how long keys and credentials live, as JSON.
CREATE TABLE lifetime (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Who answers for a client, and the roles that whoever it is had then, as JSON.
CREATE TABLE client_owner (
    client TEXT PRIMARY KEY REFERENCES client (id),
    owner TEXT NOT NULL,
    roles TEXT NOT NULL,
    set_at BIGINT NOT NULL
);

-- What rules did to a key or a connection (`subject`, its id): of which end (`warned_for`) it was warned
-- how many days ahead (`warned_days`), and why (`rule`, `condition`) and when it was suspended, until when
-- (`final_at`) that can be taken back, and when it was; when a connection's secret was replaced last, and how
-- often it had been used by then.
-- Retention: as long as the key or the connection.
CREATE TABLE lifetime_state (
    subject TEXT PRIMARY KEY,
    warned_days BIGINT NOT NULL,
    warned_for BIGINT,
    rule TEXT,
    condition TEXT,
    suspended_at BIGINT,
    final_at BIGINT,
    ended_at BIGINT,
    restored_at BIGINT,
    renewed_at BIGINT,
    uses_before BIGINT NOT NULL
);

-- How often a node's log has calls of a key or on a connection, and the time of the last one. Written
-- aside of changes, from the log, which is what counts.
CREATE TABLE used_by_node (
    log TEXT NOT NULL,
    subject TEXT NOT NULL,
    uses BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (subject, log)
);

-- Networks, as tags under a key of the installation's own, from which a key was used first, and when.
CREATE TABLE key_network (
    subject TEXT NOT NULL,
    network BYTEA NOT NULL,
    first_at BIGINT NOT NULL,
    PRIMARY KEY (subject, network)
);

-- Fields that grants let through and that were there: in answers (`action` read), or in what was written.
-- Written aside of changes, about once an hour each; `field_use_begun`: since when.
CREATE TABLE field_use (
    client TEXT NOT NULL,
    provider TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    field TEXT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (client, provider, action, object, field)
);

CREATE TABLE field_use_begun (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    begun_at BIGINT NOT NULL
);

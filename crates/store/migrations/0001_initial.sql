-- One text for SQLite and PostgreSQL. Ids are their printed form; times are microseconds since 1970
-- in UTC; lists and maps are JSON text. Retention: rows stay until an operator removes what they
-- belong to, but for `outbox`, whose rows are deleted once the audit log holds them.

CREATE TABLE instance (
    id TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL
);

-- One row: the number moves with each committed change, `outbox` counts audit events for ever.
CREATE TABLE generation (
    only_row BIGINT PRIMARY KEY,
    number BIGINT NOT NULL,
    outbox BIGINT NOT NULL
);
INSERT INTO generation (only_row, number, outbox) VALUES (1, 1, 0);

CREATE TABLE vault_generation (
    number BIGINT PRIMARY KEY,
    wrapped_key BYTEA NOT NULL
);

CREATE TABLE customer (
    id TEXT PRIMARY KEY,
    lookup BYTEA NOT NULL UNIQUE,
    vault_generation BIGINT NOT NULL REFERENCES vault_generation (number),
    wrapped_key BYTEA NOT NULL,
    commitment BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE sealed (
    table_name TEXT NOT NULL,
    record BYTEA NOT NULL,
    column_name TEXT NOT NULL,
    customer TEXT NOT NULL REFERENCES customer (id),
    version BIGINT NOT NULL,
    vault_generation BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (record, table_name, column_name)
);

CREATE TABLE provider (
    id TEXT PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    description BYTEA NOT NULL,
    overlay BYTEA,
    server TEXT,
    allow_private TEXT NOT NULL,
    imported_at BIGINT NOT NULL
);

CREATE TABLE connection (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL REFERENCES provider (id),
    customer TEXT NOT NULL REFERENCES customer (id),
    environment TEXT NOT NULL,
    scheme TEXT NOT NULL,
    variables TEXT NOT NULL,
    headers TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE client (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL REFERENCES client (id),
    environment TEXT NOT NULL,
    digest BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE access_grant (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE outbox (
    sequence BIGINT PRIMARY KEY,
    record BYTEA NOT NULL
);

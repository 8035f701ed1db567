-- One text for SQLite and PostgreSQL: SQLite keeps the bytes of a BYTEA column as they are.
-- Ids are their printed form; times are microseconds since 1970 in UTC; lists and maps are JSON text.
-- Retention: rows stay until an operator removes what they belong to, but for `outbox`, whose rows
-- are deleted once the audit log holds them.

CREATE TABLE instance (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    id TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- One row: `number` moves with each committed change, `outbox` counts audit events for ever.
CREATE TABLE generation (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    number BIGINT NOT NULL,
    outbox BIGINT NOT NULL
);
INSERT INTO generation (only_row, number, outbox) VALUES (1, 1, 0);

CREATE TABLE vault_generation (
    number BIGINT PRIMARY KEY,
    wrapped_key BYTEA NOT NULL
);

-- A name is found by its keyed digest and stands sealed in `sealed`, with the commitment's salt.
CREATE TABLE customer (
    id TEXT PRIMARY KEY,
    lookup BYTEA NOT NULL UNIQUE,
    vault_generation BIGINT NOT NULL REFERENCES vault_generation (number),
    wrapped_key BYTEA NOT NULL,
    commitment BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

-- Every sealed value, whichever table's row it belongs to.
CREATE TABLE sealed (
    record BYTEA NOT NULL,
    table_name TEXT NOT NULL,
    column_name TEXT NOT NULL,
    customer TEXT NOT NULL REFERENCES customer (id),
    version BIGINT NOT NULL CHECK (version >= 1),
    vault_generation BIGINT NOT NULL REFERENCES vault_generation (number),
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
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
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
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    digest BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- For a client on a provider or on one connection of it; with the purpose that is its identity.
CREATE TABLE access_grant (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL REFERENCES client (id),
    provider TEXT REFERENCES provider (id),
    connection TEXT REFERENCES connection (id),
    purpose TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CHECK ((provider IS NULL) <> (connection IS NULL))
);
-- The printed ids of providers and connections differ in their prefix.
CREATE UNIQUE INDEX access_grant_identity
    ON access_grant (client, COALESCE(provider, connection), purpose);

CREATE TABLE outbox (
    sequence BIGINT PRIMARY KEY,
    event BYTEA NOT NULL UNIQUE,
    record BYTEA NOT NULL
);

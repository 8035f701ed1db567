-- Vaults elsewhere, from which connections' secrets come: where, as JSON. What Weirgate signs in there with
-- lies sealed (`sealed`, table_name 'secret_store').
CREATE TABLE secret_store (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Where a connection's secret comes from. What is sealed beside the connection is a copy of it, from
-- `fetched_at`; `closed`: why the store gives it no more.
CREATE TABLE secret_source (
    connection TEXT PRIMARY KEY REFERENCES connection (id),
    store TEXT NOT NULL REFERENCES secret_store (name),
    path TEXT NOT NULL,
    member TEXT,
    version BIGINT NOT NULL,
    fetched_at BIGINT NOT NULL,
    closed TEXT
);

-- Sign-in by identity providers (OpenID Connect).

-- `customer` is a row of `customer` for this provider alone: under its key lies the client's secret.
-- Retention: until an administrator removes the provider.
CREATE TABLE identity_provider (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    customer TEXT NOT NULL REFERENCES customer (id),
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Whom a provider knows a person as. `subject` is a keyed digest of issuer and subject. `managed` is 1
-- where the provider made the account, and decides its roles. `provider` is null once it was removed:
-- whoever was kept out stays so if it is added again. Retention: as its person.
CREATE TABLE user_identity (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES user_account (id),
    provider TEXT REFERENCES identity_provider (id),
    subject BYTEA NOT NULL UNIQUE,
    managed BIGINT NOT NULL CHECK (managed IN (0, 1)),
    created_at BIGINT NOT NULL
);

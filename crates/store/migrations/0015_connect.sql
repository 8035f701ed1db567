-- Connections that somebody is about to consent to. What is secret or personal of one lies sealed under
-- its customer's key (`sealed`, table_name 'connect_session'): the exact redirect URI, what is asked for,
-- and from the callback to the confirmation the tokens.
-- `token` and `trip` are keyed digests: of what opens the session once, and of what the browser keeps from
-- which `state` and the PKCE verifier are made. `request` is one of an idempotency key.
-- Retention: what is sealed goes when the session ends, the row a day after it expires.
CREATE TABLE connect_session (
    id TEXT PRIMARY KEY,
    token BYTEA NOT NULL UNIQUE,
    trip BYTEA UNIQUE,
    request BYTEA UNIQUE,
    provider TEXT NOT NULL REFERENCES provider (id),
    customer TEXT NOT NULL REFERENCES customer (id),
    environment TEXT NOT NULL,
    connection TEXT REFERENCES connection (id),
    progress TEXT NOT NULL,
    failure TEXT,
    begun_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

-- What customers agreed to. `reach`: the objects and fields that the grants let through then, as JSON; no
-- grant that is widened later lets more through. The text that was shown, with the scopes, lies sealed
-- under the customer's key (`sealed`, table_name 'consent'); `digest` is its SHA-256.
-- Retention: as long as its connection's customer.
CREATE TABLE consent (
    id TEXT PRIMARY KEY,
    connection TEXT NOT NULL REFERENCES connection (id),
    digest BYTEA NOT NULL,
    reach TEXT NOT NULL,
    given_by TEXT NOT NULL,
    given_at BIGINT NOT NULL,
    ended_at BIGINT,
    ended_as TEXT
);

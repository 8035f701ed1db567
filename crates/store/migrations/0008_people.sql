-- Who administers: people, how they prove who they are, and what they may do.

-- `customer` is a row of `customer` for this person alone: what is personal (address, name, password's
-- hash, seeds) stands in `sealed` under its key, and goes when that key does. `lookup` is a keyed digest
-- of the address. Sessions and tokens that began before `valid_from` count for nothing.
-- Retention: until an administrator removes the person.
CREATE TABLE user_account (
    id TEXT PRIMARY KEY,
    customer TEXT NOT NULL REFERENCES customer (id),
    lookup BYTEA NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('invited', 'active', 'disabled')),
    roles TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    valid_from BIGINT NOT NULL
);

-- `body`: of a passkey its public credential, of a recovery code its keyed digest. `used`: the last
-- step of a code by time, or when a recovery code was used. Retention: as its person.
CREATE TABLE user_factor (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES user_account (id),
    kind TEXT NOT NULL CHECK (kind IN ('totp', 'passkey', 'recovery')),
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used BIGINT
);

-- Retention: as its person.
CREATE TABLE one_time_link (
    id TEXT PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE,
    purpose TEXT NOT NULL CHECK (purpose IN ('setup', 'invite', 'reset')),
    user_id TEXT NOT NULL REFERENCES user_account (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

-- Personal access tokens. Retention: as its person.
CREATE TABLE personal_token (
    id TEXT PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES user_account (id),
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Custom roles, and policies. Retention: until somebody removes them.
CREATE TABLE role (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE policy (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Written aside of changes: each row has a seal of its own, and one whose seal does not fit is no
-- session. Retention: a job deletes those that have expired.
CREATE TABLE user_session (
    id TEXT PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES user_account (id),
    level TEXT NOT NULL CHECK (level IN ('password', 'enrol', 'full')),
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    stepped_up_at BIGINT,
    seal BYTEA NOT NULL
);
CREATE INDEX user_session_of ON user_session (user_id);

-- Failed attempts to sign in, by keyed digest of the address or of where they came from. They decide
-- only to refuse more. Retention: a job deletes those that are a day old.
CREATE TABLE sign_in_failure (
    lookup BYTEA PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);

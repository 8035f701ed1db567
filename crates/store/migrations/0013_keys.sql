-- What keys of the vault are changed with.

-- Names of root keys that another one replaced: a start with such a key is told so. They say nothing of
-- the key and decide nothing. Retention: for ever; one row for each rotation.
CREATE TABLE former_root_key (
    name TEXT PRIMARY KEY,
    replaced_at BIGINT NOT NULL
);

-- Work that one of several nodes does at a time: who does it, and a number that moves while they do. It
-- decides nothing but who works. Retention: one row for each kind of work.
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    beat BIGINT NOT NULL
);

-- A customer's values are sealed anew, or destroyed, together.
CREATE INDEX sealed_customer ON sealed (customer);

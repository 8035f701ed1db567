-- Who renews a connection's tokens: a lease, so that of many nodes one asks the provider. Written aside
-- of changes and without a seal: it decides only who asks and when, never what is believed.
-- `version` is that of the tokens that are renewed. `begun_at` is when the provider was about to be
-- asked; it stays where the node died before it could say how that ended.
-- Retention: as long as its connection; the row is written anew with each renewal.
CREATE TABLE renewal (
    connection TEXT PRIMARY KEY REFERENCES connection (id),
    version BIGINT NOT NULL,
    node TEXT NOT NULL,
    begun_at BIGINT,
    until_at BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    next_at BIGINT NOT NULL
);

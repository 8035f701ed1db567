-- One row of each kind as layout 0005 holds them: every later migration is run on these.
-- Bytes are spelled as SQLite has them; the test spells them anew for PostgreSQL.
INSERT INTO instance (only_row, id, created_at) VALUES (1, 'inst_06ewk4g000e0g0000000000001', 5);
UPDATE generation SET number = 7, outbox = 3;
INSERT INTO vault_generation (number, wrapped_key) VALUES (1, x'77726170706564');
INSERT INTO customer (id, lookup, vault_generation, wrapped_key, commitment, created_at)
VALUES ('cust_06ewk4g000e0g0000000000002', x'6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c', 1,
    x'77726170706564', x'6363636363636363636363636363636363636363636363636363636363636363', 6);
INSERT INTO sealed (record, table_name, column_name, customer, version, vault_generation, sealed)
VALUES (x'30313233343536373839616263646566', 'connection', 'credential',
    'cust_06ewk4g000e0g0000000000002', 2, 1, x'7365616c6564');
INSERT INTO provider (id, slug, description, overlay, server, allow_private, imported_at)
VALUES ('prov_06ewk4g000e0g0000000000003', 'hr', x'7b7d', NULL, NULL, '["h:1"]', 7);
INSERT INTO connection
    (id, provider, customer, environment, scheme, variables, headers, created_at, revoked_at)
VALUES ('conn_06ewk4g000e0g0000000000004', 'prov_06ewk4g000e0g0000000000003',
    'cust_06ewk4g000e0g0000000000002', 'live', 'bearer', '{"a":"b"}', '{}', 8, NULL);
INSERT INTO client (id, name, created_at) VALUES ('clnt_06ewk4g000e0g0000000000005', 'reader', 9);
INSERT INTO api_key (id, client, environment, digest, created_at, expires_at, revoked_at)
VALUES ('key_06ewk4g000e0g0000000000006', 'clnt_06ewk4g000e0g0000000000005', 'test',
    x'6464646464646464646464646464646464646464646464646464646464646464', 10, 11, 12);
INSERT INTO access_grant (id, client, provider, connection, purpose, body, created_at)
VALUES ('grnt_06ewk4g000e0g0000000000007', 'clnt_06ewk4g000e0g0000000000005', NULL,
    'conn_06ewk4g000e0g0000000000004', 'payroll', '{}', 13);
INSERT INTO outbox (sequence, event, record, seal, claimed_by)
VALUES (3, x'66656463626139383736353433323130', x'656e747279',
    x'7373737373737373737373737373737373737373737373737373737373737373',
    'weirgate/inst_06ewk4g000e0g0000000000001');
INSERT INTO row_seal (kind, id, seal) VALUES ('client', 'clnt_06ewk4g000e0g0000000000005',
    x'7373737373737373737373737373737373737373737373737373737373737373');
INSERT INTO state_head (sequence, event, row_count, root, seal)
VALUES (3, x'66656463626139383736353433323130', 1,
    x'7272727272727272727272727272727272727272727272727272727272727272',
    x'7373737373737373737373737373737373737373737373737373737373737373');
INSERT INTO audit_checkpoint VALUES ('weirgate/inst_06ewk4g000e0g0000000000001', 40, 'note');
INSERT INTO audit_witness VALUES ('weirgate/inst_06ewk4g000e0g0000000000001',
    'weirgate/inst_06ewk4g000e0g0000000000001/node_06ewk4g000e0g0000000000002', 'request', 200, 40,
    'key', 'note');
INSERT INTO outbox_moved VALUES (2, NULL, x'7373737373737373737373737373737373737373737373737373737373737373');
INSERT INTO node_seen VALUES ('weirgate/inst_06ewk4g000e0g0000000000001', 13);

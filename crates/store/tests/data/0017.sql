-- One row of each kind as layout 0017 holds them: every later migration is run on these.
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
INSERT INTO user_account (id, customer, lookup, state, roles, created_at, valid_from)
VALUES ('user_06ewk4g000e0g0000000000008', 'cust_06ewk4g000e0g0000000000002', x'7575757575757575757575757575757575757575757575757575757575757575', 'active',
    '["administrator"]', 14, 15);
INSERT INTO user_factor (id, user_id, kind, name, body, created_at, used)
VALUES ('fact_06ewk4g000e0g0000000000009', 'user_06ewk4g000e0g0000000000008', 'totp', 'phone', '', 16, 17);
INSERT INTO one_time_link (id, digest, purpose, user_id, created_at, expires_at, used_at)
VALUES ('link_06ewk4g000e0g000000000000a', x'6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c', 'setup', 'user_06ewk4g000e0g0000000000008', 18, 19, 20);
INSERT INTO personal_token (id, digest, user_id, name, roles, created_at, expires_at, revoked_at)
VALUES ('tokn_06ewk4g000e0g000000000000b', x'7474747474747474747474747474747474747474747474747474747474747474', 'user_06ewk4g000e0g0000000000008', 'cron',
    '["auditor"]', 21, 22, NULL);
INSERT INTO role (name, body, created_at) VALUES ('watcher', '{}', 23);
INSERT INTO policy (name, body, created_at) VALUES ('nights', 'forbid', 24);
INSERT INTO user_session
    (id, digest, user_id, level, created_at, seen_at, expires_at, stepped_up_at, seal)
VALUES ('sess_06ewk4g000e0g000000000000c', x'6464646464646464646464646464646464646464646464646464646464646464', 'user_06ewk4g000e0g0000000000008', 'full', 25, 26, 27,
    NULL, x'7373737373737373737373737373737373737373737373737373737373737373');
INSERT INTO sign_in_failure (lookup, failures, last_at) VALUES (x'6666666666666666666666666666666666666666666666666666666666666666', 3, 28);
INSERT INTO identity_provider (id, name, customer, body, created_at)
VALUES ('idp_06ewk4g000e0g000000000000d', 'corp', 'cust_06ewk4g000e0g0000000000002', '{}', 30);
INSERT INTO user_identity (id, user_id, provider, subject, managed, created_at)
VALUES ('iden_06ewk4g000e0g000000000000e', 'user_06ewk4g000e0g0000000000008',
    'idp_06ewk4g000e0g000000000000d',
    x'7373737373737373737373737373737373737373737373737373737373737373', 1, 31);
INSERT INTO proposal (id, author, body, created_at, expires_at)
VALUES ('prop_06ewk4g000e0g000000000000f', 'user_06ewk4g000e0g0000000000008', '{}', 32, 33);
INSERT INTO saved_view (id, owner, name, body, created_at)
VALUES ('view_06ewk4g000e0g000000000000g', 'user_06ewk4g000e0g0000000000008', 'refusals', '{}', 34);
INSERT INTO review (id, body, created_at, due_at, closed_at)
VALUES ('revw_06ewk4g000e0g000000000000h', '{}', 35, 36, NULL);
INSERT INTO renewal (connection, version, node, begun_at, until_at, failures, next_at)
VALUES ('conn_06ewk4g000e0g0000000000004', 2, 'weirgate/inst_06ewk4g000e0g0000000000001', 37, 38, 1, 39);
INSERT INTO connect_session (id, token, trip, request, provider, customer, environment, connection,
    progress, failure, begun_by, created_at, expires_at, used_at)
VALUES ('csn_06ewk4g000e0g000000000000j',
    x'7474747474747474747474747474747474747474747474747474747474747474',
    x'7373737373737373737373737373737373737373737373737373737373737373', NULL,
    'prov_06ewk4g000e0g0000000000003', 'cust_06ewk4g000e0g0000000000002', 'live',
    'conn_06ewk4g000e0g0000000000004', 'ended', 'access_denied', 'local:0', 40, 41, 42);
INSERT INTO consent (id, connection, digest, reach, given_by, given_at, ended_at, ended_as)
VALUES ('cons_06ewk4g000e0g000000000000k', 'conn_06ewk4g000e0g0000000000004',
    x'6464646464646464646464646464646464646464646464646464646464646464', '[]', 'local:0', 43, NULL, NULL);
INSERT INTO lifetime (name, body, created_at) VALUES ('client-keys', '{}', 44);
INSERT INTO client_owner (client, owner, roles, set_at)
VALUES ('clnt_06ewk4g000e0g0000000000005', 'user_06ewk4g000e0g0000000000008', '["auditor"]', 45);
INSERT INTO lifetime_state (subject, warned_days, warned_for, rule, condition, suspended_at, final_at,
    ended_at, restored_at, renewed_at, uses_before)
VALUES ('key_06ewk4g000e0g0000000000006', 7, 46, 'client-keys', 'idle', 47, 48, NULL, 49, NULL, 0);
INSERT INTO used_by_node (log, subject, uses, last_at)
VALUES ('weirgate/inst_06ewk4g000e0g0000000000001', 'key_06ewk4g000e0g0000000000006', 3, 50);
INSERT INTO key_network (subject, network, first_at)
VALUES ('key_06ewk4g000e0g0000000000006', x'6e6e6e6e6e6e6e6e', 51);
INSERT INTO field_use (client, provider, action, object, field, last_at)
VALUES ('clnt_06ewk4g000e0g0000000000005', 'prov_06ewk4g000e0g0000000000003', 'read', 'Employee', 'id', 52);
INSERT INTO field_use_begun (only_row, begun_at) VALUES (1, 53);
INSERT INTO secret_store (name, body, created_at) VALUES ('bao', '{}', 54);
INSERT INTO secret_source (connection, store, path, member, version, fetched_at, closed)
VALUES ('conn_06ewk4g000e0g0000000000004', 'bao', 'team/hr', NULL, 3, 55, NULL);

//! What every database must keep.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use store::{
    Claimed, ClientRow, ConnectionRow, CustomerRow, GrantChanges, GrantRow, GrantTarget, KeyRow,
    LeftLease, MovedRow, OutboxRow, ProviderRow, Renewal, RenewalClaim, RowSeal, SealedRow,
    StateHead, Store, StoreError, WitnessAnswer,
};
use types::{Actor, Clock, Environment, Id, OpContext, SystemClock, SystemRandom, Timestamp};

pub fn ctx() -> OpContext {
    let now = SystemClock.now();
    OpContext { actor: Actor::System, request: Id::generate(now, &SystemRandom).unwrap(), now }
}

/// Ids in the order in which they are made.
pub fn id<K>() -> Id<K> {
    static MILLIS: AtomicU64 = AtomicU64::new(0);
    let later = Duration::from_millis(MILLIS.fetch_add(1, Ordering::SeqCst));
    Id::generate(SystemClock.now() + later, &SystemRandom).unwrap()
}

pub fn event() -> [u8; 16] {
    id::<types::Request>().to_bytes()
}

fn sealed(customer: &CustomerRow, record: [u8; 16], version: u64) -> SealedRow {
    SealedRow {
        table: "connection".into(),
        record,
        column: "credential".into(),
        customer: customer.id,
        version,
        generation: 1,
        sealed: vec![u8::try_from(version).unwrap(); 40],
    }
}

/// A row of each kind, in one change.
pub async fn fill(store: &Store) -> (CustomerRow, ConnectionRow) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    tx.insert_instance(id(), Timestamp::from_micros(5)).await.unwrap();
    tx.insert_vault_generation(1, &[1, 2, 3]).await.unwrap();
    let customer = CustomerRow {
        id: id(),
        lookup: [7; 32],
        generation: 1,
        wrapped_key: vec![9; 60],
        commitment: [8; 32],
        created_at: Timestamp::from_micros(6),
    };
    tx.insert_customer(&customer).await.unwrap();
    let provider = ProviderRow {
        id: id(),
        slug: "hr".parse().unwrap(),
        description: vec![0, 255, 1],
        overlay: None,
        server: Some("https://example.com".into()),
        allow_private: vec!["127.0.0.1:80".into()],
        imported_at: Timestamp::from_micros(7),
    };
    tx.put_provider(&provider).await.unwrap();
    let connection = ConnectionRow {
        id: id(),
        provider: provider.id,
        customer: customer.id,
        environment: Environment::Live,
        scheme: "bearer".into(),
        variables: BTreeMap::from([("a".into(), "b\"c".into())]),
        headers: BTreeMap::new(),
        created_at: Timestamp::from_micros(8),
        revoked_at: None,
    };
    tx.insert_connection(&connection).await.unwrap();
    tx.put_sealed(&sealed(&customer, connection.id.to_bytes(), 1)).await.unwrap();
    tx.append_outbox(event(), b"entry").await.unwrap();
    tx.commit().await.unwrap();
    (customer, connection)
}

pub fn client(name: &str) -> ClientRow {
    ClientRow { id: id(), name: name.parse().unwrap(), created_at: ctx().now }
}

/// Reads before it writes, as most changes do: what it read must still hold when it commits.
pub async fn add_client(store: &Store, name: &str) -> ClientRow {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let before = tx.generation().await.unwrap();
    assert!(tx.client_by_name(&name.parse().unwrap()).await.unwrap().is_none());
    let row = client(name);
    tx.insert_client(&row).await.unwrap();
    tx.append_outbox(event(), name.as_bytes()).await.unwrap();
    assert_eq!(tx.commit().await.unwrap(), before + 1);
    row
}

pub async fn all(store: &Store) {
    let (customer, connection) = fill(store).await;
    reads_what_was_written(store, &customer, &connection).await;
    refuses_a_change_without_event(store).await;
    forgets_an_abandoned_change(store).await;
    keys_and_revocation(store).await;
    sealed_versions_count_up(store, &customer, &connection).await;
    grants(store, &connection).await;
    one_of_many_renews(store, &connection).await;
    connections_end_once(store, &connection).await;
    outbox(store).await;
    audit_checkpoints(store).await;
    witnesses(store).await;
    names_are_unique(store).await;
    seals_and_heads(store).await;
    crate::people::people(store, &customer).await;
}

async fn reads_what_was_written(store: &Store, customer: &CustomerRow, connection: &ConnectionRow) {
    let all = store.load_all().await.unwrap();
    assert_eq!(all.generation, store.generation().await.unwrap());
    assert_eq!(&all.customers, std::slice::from_ref(customer));
    assert_eq!(&all.connections, std::slice::from_ref(connection));
    assert_eq!(all.providers[0].description, [0, 255, 1]);
    assert_eq!(all.vault_generations[0].wrapped_key, [1, 2, 3]);
    let slug = "hr".parse().unwrap();
    let mut provider = store.provider_by_slug(&slug).await.unwrap().unwrap();
    assert_eq!(provider, all.providers[0]);
    assert!(store.provider_by_slug(&"none".parse().unwrap()).await.unwrap().is_none());
    let mut tx = store.begin(&ctx()).await.unwrap();
    assert_eq!(tx.customer_by_lookup(&[7; 32]).await.unwrap().as_ref(), Some(customer));
    assert!(tx.customer_by_lookup(&[0; 32]).await.unwrap().is_none());
    provider.description = b"new".to_vec();
    provider.overlay = Some(b"overlay".to_vec());
    tx.put_provider(&provider).await.unwrap();
    tx.append_outbox(event(), b"e").await.unwrap();
    let before = all.generation;
    assert_eq!(tx.commit().await.unwrap(), before + 1);
    assert_eq!(store.provider_by_slug(&slug).await.unwrap().unwrap(), provider);
}

async fn refuses_a_change_without_event(store: &Store) {
    let before = store.generation().await.unwrap();
    let mut tx = store.begin(&ctx()).await.unwrap();
    let row = ClientRow { id: id(), name: "silent".parse().unwrap(), created_at: ctx().now };
    tx.insert_client(&row).await.unwrap();
    assert!(matches!(tx.commit().await, Err(StoreError::Unaudited)));
    assert_eq!(store.generation().await.unwrap(), before);
    assert!(store.clients().await.unwrap().is_empty());
}

async fn forgets_an_abandoned_change(store: &Store) {
    let before = store.generation().await.unwrap();
    let waiting = store.outbox_len().await.unwrap();
    let mut tx = store.begin(&ctx()).await.unwrap();
    let row = ClientRow { id: id(), name: "gone".parse().unwrap(), created_at: ctx().now };
    tx.insert_client(&row).await.unwrap();
    tx.append_outbox(event(), b"e").await.unwrap();
    drop(tx);
    assert_eq!(store.generation().await.unwrap(), before);
    assert_eq!(store.outbox_len().await.unwrap(), waiting);
    // A reader that commits nothing moves nothing.
    let tx = store.begin(&ctx()).await.unwrap();
    assert_eq!(tx.commit().await.unwrap(), before);
}

async fn keys_and_revocation(store: &Store) {
    let client = add_client(store, "reader").await;
    let key = KeyRow {
        id: id(),
        client: client.id,
        environment: Environment::Test,
        digest: [3; 32],
        created_at: Timestamp::from_micros(1),
        expires_at: Timestamp::from_micros(2),
        revoked_at: None,
    };
    let mut tx = store.begin(&ctx()).await.unwrap();
    tx.insert_key(&key).await.unwrap();
    let twice = KeyRow { id: id(), ..key.clone() };
    assert!(matches!(tx.insert_key(&twice).await, Err(StoreError::Conflict { table: "api_key" })));
    assert_eq!(tx.key(key.id).await.unwrap(), Some(key.clone()));
    assert!(tx.revoke_key(key.id, Timestamp::from_micros(50)).await.unwrap());
    // The first revocation counts.
    assert!(!tx.revoke_key(key.id, Timestamp::from_micros(60)).await.unwrap());
    assert!(!tx.revoke_key(id(), Timestamp::from_micros(60)).await.unwrap());
    let revoked = tx.key(key.id).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(Timestamp::from_micros(50)));
    let stranger = KeyRow { id: id(), client: id(), digest: [4; 32], ..key.clone() };
    let refused = tx.insert_key(&stranger).await;
    assert!(matches!(refused, Err(StoreError::Dangling { table: "api_key" })));
    assert_eq!(tx.keys_of(client.id).await.unwrap(), std::slice::from_ref(&revoked));
    tx.append_outbox(event(), b"e").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.keys_of(client.id).await.unwrap(), std::slice::from_ref(&revoked));
    assert_eq!(store.load_all().await.unwrap().keys, [revoked]);
    assert!(store.keys_of(id()).await.unwrap().is_empty());
}

async fn sealed_versions_count_up(
    store: &Store,
    customer: &CustomerRow,
    connection: &ConnectionRow,
) {
    let record = connection.id.to_bytes();
    let mut tx = store.begin(&ctx()).await.unwrap();
    tx.put_sealed(&sealed(customer, record, 2)).await.unwrap();
    for stale in [1, 2, 4] {
        let again = tx.put_sealed(&sealed(customer, record, stale)).await;
        assert!(matches!(again, Err(StoreError::Conflict { table: "sealed" })), "{stale}");
    }
    let heads = tx.sealed_heads().await.unwrap();
    // The record, the customer's key and the generation.
    assert_eq!(heads.len(), 3);
    let versions: Vec<_> =
        heads.iter().filter(|head| head.record == record).map(|head| head.version).collect();
    assert_eq!(versions, [2]);
    assert!(heads.iter().any(|head| head.record == customer.id.to_bytes()));
    let row = tx.sealed("connection", &record, "credential").await.unwrap().unwrap();
    assert_eq!(row, sealed(customer, record, 2));
    // A first version is 1.
    let other = SealedRow { column: "other".into(), ..sealed(customer, record, 0) };
    assert!(tx.put_sealed(&other).await.is_err());
    // Another customer's key does not take over the place.
    let stranger = CustomerRow { id: id(), lookup: [6; 32], ..customer.clone() };
    tx.insert_customer(&stranger).await.unwrap();
    let taken = tx.put_sealed(&sealed(&stranger, record, 3)).await;
    assert!(matches!(taken, Err(StoreError::Conflict { table: "sealed" })));
    tx.append_outbox(event(), b"e").await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(&ctx()).await.unwrap();
    assert_eq!(tx.sealed_heads().await.unwrap().len(), heads.len() + 1);
    drop(tx);
    let row = store.sealed("connection", &record, "credential").await.unwrap().unwrap();
    assert_eq!(row.version, 2);
    assert!(store.sealed("connection", &record, "none").await.unwrap().is_none());
}

async fn seals_and_heads(store: &Store) {
    let before = store.load_all().await.unwrap();
    assert!(before.seals.is_empty() && before.head.is_none());
    let mut tx = store.begin(&ctx()).await.unwrap();
    let one = RowSeal { kind: "client".into(), id: "a".into(), seal: [1; 32] };
    let two = RowSeal { kind: "client".into(), id: "b".into(), seal: [2; 32] };
    tx.put_seal(&one).await.unwrap();
    tx.put_seal(&two).await.unwrap();
    tx.put_seal(&RowSeal { seal: [3; 32], ..one.clone() }).await.unwrap();
    tx.delete_seal("client", "b").await.unwrap();
    let sequence = tx.next_sequence().await.unwrap();
    let head = StateHead { sequence, event: event(), count: 1, root: [4; 32], seal: [5; 32] };
    tx.insert_head(&head).await.unwrap();
    assert!(matches!(
        tx.insert_head(&head).await,
        Err(StoreError::Conflict { table: "state_head" })
    ));
    let waiting =
        OutboxRow { sequence, event: head.event, record: b"e".to_vec(), seal: Some(vec![6; 32]) };
    tx.put_outbox(waiting.clone()).await.unwrap();
    assert_eq!(tx.head_at(sequence).await.unwrap(), Some(head));
    let seen = tx.everything().await.unwrap();
    assert_eq!(
        (seen.seals.as_slice(), seen.head),
        (&[RowSeal { seal: [3; 32], ..one }][..], Some(head))
    );
    // A change sees providers without what is long in them.
    assert_eq!(seen.providers.len(), before.providers.len());
    assert_eq!(seen.providers[0].slug, before.providers[0].slug);
    assert_eq!(tx.providers().await.unwrap(), before.providers);
    tx.commit().await.unwrap();
    let after = store.load_all().await.unwrap();
    assert_eq!((after.seals, after.head), (seen.seals, Some(head)));
    assert_eq!(store.head_at(sequence).await.unwrap(), Some(head));
    assert_eq!(store.head_at(sequence + 1).await.unwrap(), None);
    assert_eq!(store.outbox_batch(1_000).await.unwrap().last(), Some(&waiting));
    assert_eq!(store.seal("client", "a").await.unwrap().unwrap().seal, [3; 32]);
    assert_eq!(store.seal("client", "b").await.unwrap(), None);
}

async fn one_of_many_renews(store: &Store, connection: &ConnectionRow) {
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    let claim = |node: &'static str, version: u64, now: Timestamp| RenewalClaim {
        connection: connection.id,
        version,
        node,
        now,
        lasts: Duration::from_mins(1),
        takes_over: None,
        is_patient: true,
    };
    let ours = |claimed: Claimed| matches!(claimed, Claimed::Ours(_));
    // Tokens of another version are nobody's to renew.
    assert_eq!(store.claim_renewal(claim("a", 7, at(100))).await.unwrap(), Claimed::NotOurs);
    assert!(ours(store.claim_renewal(claim("a", 0, at(100))).await.unwrap()));
    assert_eq!(store.claim_renewal(claim("b", 0, at(159))).await.unwrap(), Claimed::NotOurs);
    // It ended by its time, and nobody said how: it is watched, and taken over as what it was.
    let left = LeftLease { node: "a".into(), begun_at: at(100) };
    let claimed = store.claim_renewal(claim("b", 0, at(160))).await.unwrap();
    assert_eq!(claimed, Claimed::Left(left.clone()));
    let other = LeftLease { node: "a".into(), begun_at: at(99) };
    let over = |left, now| RenewalClaim { takes_over: Some(left), ..claim("b", 0, now) };
    assert_eq!(
        store.claim_renewal(over(&other, at(161))).await.unwrap(),
        Claimed::Left(left.clone())
    );
    let interrupted = Claimed::Ours(Renewal { failures: 0, was_interrupted: true });
    assert_eq!(store.claim_renewal(over(&left, at(162))).await.unwrap(), interrupted);
    // Who had it before gives nothing back that is another's.
    store.end_renewal(connection.id, "a", (0, at(0))).await.unwrap();
    assert_eq!(store.claim_renewal(claim("c", 0, at(163))).await.unwrap(), Claimed::NotOurs);
    // A failure's pause holds up who is patient.
    store.end_renewal(connection.id, "b", (2, at(300))).await.unwrap();
    assert_eq!(store.failed_renewals().await.unwrap(), [(connection.id, 2, at(300))]);
    assert_eq!(store.claim_renewal(claim("c", 0, at(299))).await.unwrap(), Claimed::NotOurs);
    let hasty = RenewalClaim { is_patient: false, ..claim("c", 0, at(299)) };
    let failed = Claimed::Ours(Renewal { failures: 2, was_interrupted: false });
    assert_eq!(store.claim_renewal(hasty).await.unwrap(), failed);
    // A server that begins ends the leases of its node, and of no other.
    store.forget_leases("b").await.unwrap();
    assert_eq!(store.claim_renewal(claim("c", 0, at(301))).await.unwrap(), Claimed::NotOurs);
    store.forget_leases("c").await.unwrap();
    assert!(ours(store.claim_renewal(claim("c", 0, at(301))).await.unwrap()));
    store.end_renewal(connection.id, "c", (0, at(0))).await.unwrap();
    // Many at once: one gets it.
    let claims = (0..8).map(|_| store.claim_renewal(claim("d", 0, at(400))));
    let claimed = futures_util::future::join_all(claims).await;
    let won = claimed.into_iter().filter(|claimed| matches!(claimed, Ok(Claimed::Ours(_))));
    assert_eq!(won.count(), 1);
    store.end_renewal(connection.id, "d", (0, at(0))).await.unwrap();
}

async fn connections_end_once(store: &Store, connection: &ConnectionRow) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    assert!(tx.revoke_connection(connection.id, Timestamp::from_micros(50)).await.unwrap());
    assert!(!tx.revoke_connection(connection.id, Timestamp::from_micros(60)).await.unwrap());
    let row = tx.connection(connection.id).await.unwrap().unwrap();
    assert_eq!(row.revoked_at, Some(Timestamp::from_micros(50)));
    assert!(tx.connection(id()).await.unwrap().is_none());
    let stranger = ConnectionRow { id: id(), customer: id(), ..row.clone() };
    let refused = tx.insert_connection(&stranger).await;
    assert!(matches!(refused, Err(StoreError::Dangling { table: "connection" })));
    tx.append_outbox(event(), b"e").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.connections().await.unwrap(), [row]);
}

async fn grants(store: &Store, connection: &ConnectionRow) {
    let client = add_client(store, "granted").await;
    let grant = |target, purpose: &str, body: &str| GrantRow {
        id: id(),
        client: client.id,
        target,
        purpose: purpose.into(),
        body: body.into(),
        created_at: ctx().now,
    };
    let provider = GrantTarget::Provider(connection.provider);
    let one = GrantTarget::Connection(connection.id);
    let rows = [grant(provider, "payroll", "1"), grant(one, "payroll", "2"), grant(one, "x", "3")];
    let mut tx = store.begin(&ctx()).await.unwrap();
    let changes = tx.replace_grants(&rows).await.unwrap();
    assert_eq!(changes, GrantChanges { added: 3, ..GrantChanges::default() });
    assert_eq!(tx.grants().await.unwrap(), rows);
    tx.append_outbox(event(), b"e").await.unwrap();
    let generation = tx.commit().await.unwrap();
    assert_eq!(store.load_all().await.unwrap().grants, rows);

    // The same again changes nothing: not the generation either.
    let mut tx = store.begin(&ctx()).await.unwrap();
    let same = rows.clone().map(|row| GrantRow { id: id(), ..row });
    assert_eq!(tx.replace_grants(&same).await.unwrap(), GrantChanges::default());
    assert_eq!(tx.commit().await.unwrap(), generation);

    // One changed, one gone, one new; what stays keeps its id.
    let mut tx = store.begin(&ctx()).await.unwrap();
    let next = [grant(provider, "payroll", "new"), rows[1].clone(), grant(provider, "y", "4")];
    let changes = tx.replace_grants(&next).await.unwrap();
    assert_eq!(changes, GrantChanges { added: 1, changed: 1, removed: 1 });
    let now = tx.grants().await.unwrap();
    assert_eq!(now[0], GrantRow { body: "new".into(), ..rows[0].clone() });
    assert_eq!(now[1..], next[1..]);
    // Two of one identity.
    let twice = [grant(one, "z", "1"), grant(one, "z", "2")];
    let refused = tx.replace_grants(&twice).await;
    assert!(matches!(refused, Err(StoreError::Conflict { table: "access_grant" })));
    drop(tx);

    let mut tx = store.begin(&ctx()).await.unwrap();
    assert!(tx.update_grant(rows[0].id, "5").await.unwrap());
    assert!(tx.delete_grant(rows[1].id).await.unwrap());
    assert!(!tx.delete_grant(rows[1].id).await.unwrap());
    assert!(!tx.update_grant(rows[1].id, "6").await.unwrap());
    let stranger = GrantRow { client: id(), ..grant(one, "z", "1") };
    let refused = tx.insert_grant(&stranger).await;
    assert!(matches!(refused, Err(StoreError::Dangling { table: "access_grant" })));
    drop(tx);
    assert_eq!(store.grants().await.unwrap(), rows);
}

/// Logs are told apart, and none goes back.
async fn audit_checkpoints(store: &Store) {
    let before = store.generation().await.unwrap();
    assert_eq!(store.audit_checkpoint("a").await.unwrap(), None);
    for (origin, size, note) in [("a", 3, "a3"), ("b", 9, "b9"), ("a", 2, "a2"), ("b", 9, "b9v")] {
        store.keep_audit_checkpoint(origin, size, note).await.unwrap();
    }
    assert_eq!(store.audit_checkpoint("a").await.unwrap().as_deref(), Some("a3"));
    // A checkpoint of as many entries may bind a newer state of the vault.
    assert_eq!(store.audit_checkpoint("b").await.unwrap().as_deref(), Some("b9v"));
    assert_eq!(store.generation().await.unwrap(), before);
}

async fn witnesses(store: &Store) {
    let before = store.generation().await.unwrap();
    store.ask_witness("a", "b", "r1").await.unwrap();
    store.ask_witness("a", "c", "r1").await.unwrap();
    let asked = store.witnesses().await.unwrap();
    assert_eq!(asked.iter().map(|row| row.witness.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!((asked[0].status, asked[0].size, &asked[0].cosigned), (None, 0, &None));
    let cosigned =
        WitnessAnswer { status: 200, size: 7, key: "k".into(), cosigned: Some("n7".into()) };
    store.answer_witness(&asked[0], &cosigned).await.unwrap();
    // What was asked since is not answered by it; what was cosigned before stays.
    store.ask_witness("a", "b", "r2").await.unwrap();
    store.answer_witness(&asked[0], &WitnessAnswer { size: 9, ..cosigned }).await.unwrap();
    let row = store.witnesses().await.unwrap().remove(0);
    assert_eq!((row.status, row.size, row.request.as_str()), (None, 7, "r2"));
    let refused = WitnessAnswer { status: 409, size: 8, key: "k".into(), cosigned: None };
    store.answer_witness(&row, &refused).await.unwrap();
    let row = store.witnesses().await.unwrap().remove(0);
    assert_eq!((row.status, row.size, row.cosigned.as_deref()), (Some(409), 8, Some("n7")));
    assert_eq!(store.generation().await.unwrap(), before);
}

async fn outbox(store: &Store) {
    let rows = store.outbox_batch(1_000).await.unwrap();
    assert_eq!(rows.len() as u64, store.outbox_len().await.unwrap());
    let last = rows.last().unwrap().sequence;
    assert!(rows.is_sorted_by(|a, b| a.sequence < b.sequence));
    // Only the oldest.
    assert_eq!(store.outbox_batch(2).await.unwrap(), rows[..2]);
    // Each row is one log's: claimed once, in order, and deleted by none but it.
    assert_eq!(store.take_outbox("one", 1).await.unwrap(), rows[..1]);
    assert_eq!(store.take_outbox("two", 1_000).await.unwrap(), rows[1..]);
    assert_eq!(store.take_outbox("one", 1_000).await.unwrap(), rows[..1]);
    let moved = |sequence, log: Option<&str>| MovedRow {
        sequence,
        log: log.map(ToOwned::to_owned),
        seal: vec![7; 32],
    };
    let first = moved(rows[0].sequence, Some("one"));
    store.settle_outbox("one", last, std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(store.outbox_batch(1_000).await.unwrap(), rows[1..]);
    assert_eq!(store.take_outbox("one", 1_000).await.unwrap(), []);
    let generation = store.generation().await.unwrap();
    // An event stands there once.
    let mut tx = store.begin(&ctx()).await.unwrap();
    let twice = tx.append_outbox(rows[1].event, b"e").await;
    assert!(matches!(twice, Err(StoreError::Conflict { table: "outbox" })));
    drop(tx);
    // What became of each, with what still waits.
    let accounts = store.accounts(0).await.unwrap();
    assert_eq!((accounts.moved, accounts.waiting), (vec![first.clone()], rows[1..].to_vec()));
    let rest: Vec<MovedRow> =
        rows[1..].iter().map(|row| moved(row.sequence, Some("two"))).collect();
    store.settle_outbox("two", last, &rest).await.unwrap();
    assert_eq!(store.outbox_len().await.unwrap(), 0);
    assert_eq!(store.accounts(first.sequence).await.unwrap().moved, rest);
    let all = moved(last, None);
    store.sum_up_moved(&all).await.unwrap();
    // One that stands for all is told whatever is asked for.
    assert_eq!(store.accounts(last).await.unwrap().moved, [all]);
    assert_eq!(store.claims().await.unwrap().len(), 0);
    let seen = [5, 9].map(Timestamp::from_micros);
    for at in seen {
        store.see_node("one", at).await.unwrap();
    }
    assert_eq!(store.nodes_seen().await.unwrap(), [("one".to_owned(), seen[1])].into());
    assert_eq!(store.generation().await.unwrap(), generation);
    // Numbers are never used again, though the table is empty.
    add_client(store, "after").await;
    assert!(store.outbox_batch(1).await.unwrap()[0].sequence > last);
}

async fn names_are_unique(store: &Store) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let row = ClientRow { id: id(), name: "after".parse().unwrap(), created_at: ctx().now };
    let twice = tx.insert_client(&row).await;
    assert!(matches!(twice, Err(StoreError::Conflict { table: "client" })));
    drop(tx);
    let mut tx = store.begin(&ctx()).await.unwrap();
    let known = store.providers().await.unwrap().remove(0);
    let twice = tx.put_provider(&ProviderRow { id: id(), ..known }).await;
    assert!(matches!(twice, Err(StoreError::Conflict { table: "provider" })));
    drop(tx);
    let mut tx = store.begin(&ctx()).await.unwrap();
    let second = tx.insert_instance(id(), ctx().now).await;
    assert!(matches!(second, Err(StoreError::Conflict { table: "instance" })));
    drop(tx);
    let mut tx = store.begin(&ctx()).await.unwrap();
    let known = store.customers().await.unwrap().remove(0);
    let twice = tx.insert_customer(&CustomerRow { id: id(), ..known }).await;
    assert!(matches!(twice, Err(StoreError::Conflict { table: "customer" })));
}

pub async fn is_unfilled(store: &Store) {
    let error = store.load_all().await.unwrap_err();
    assert!(matches!(error, StoreError::Inconsistent { table: "instance", .. }), "{error}");
    assert!(store.generation().await.unwrap() > 0);
}

/// Each change adds a client with a key; no reader may see the one without the other.
pub async fn reads_one_moment(store: &Store) {
    const CHANGES: u64 = 30;
    fill(store).await;
    let first = store.generation().await.unwrap();
    let write = async {
        for number in 0..CHANGES {
            let client = ClientRow {
                id: id(),
                name: format!("c-{number}").parse().unwrap(),
                created_at: ctx().now,
            };
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            let key = KeyRow {
                id: id(),
                client: client.id,
                environment: Environment::Live,
                digest,
                created_at: ctx().now,
                expires_at: ctx().now,
                revoked_at: None,
            };
            let mut tx = store.begin(&ctx()).await.unwrap();
            tx.insert_client(&client).await.unwrap();
            tokio::task::yield_now().await;
            tx.insert_key(&key).await.unwrap();
            tx.append_outbox(event(), b"e").await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    let read = async {
        loop {
            let all = store.load_all().await.unwrap();
            assert_eq!(all.clients.len(), all.keys.len());
            assert_eq!(all.generation, first + all.clients.len() as u64);
            if all.generation == first + CHANGES {
                return;
            }
        }
    };
    tokio::join!(write, read);
}

/// Replaces the connection's sealed value.
pub async fn put(
    store: &Store,
    customer: &CustomerRow,
    connection: &ConnectionRow,
    version: u64,
    bytes: &[u8],
) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let row = sealed(customer, connection.id.to_bytes(), version);
    tx.put_sealed(&SealedRow { sealed: bytes.to_vec(), ..row }).await.unwrap();
    tx.append_outbox(event(), b"e").await.unwrap();
    tx.commit().await.unwrap();
}

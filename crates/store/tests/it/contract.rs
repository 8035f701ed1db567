//! What every database must keep.

use std::collections::BTreeMap;
use store::{
    ClientRow, ConnectionRow, CustomerRow, GrantRow, KeyRow, ProviderRow, SealedRow, Store,
    StoreError,
};
use types::{Actor, Clock, Environment, Id, OpContext, SystemClock, SystemRandom, Timestamp};

fn ctx() -> OpContext {
    let now = SystemClock.now();
    OpContext { actor: Actor::System, request: Id::generate(now, &SystemRandom).unwrap(), now }
}

fn id<K>() -> Id<K> {
    Id::generate(SystemClock.now(), &SystemRandom).unwrap()
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
    let event = tx.next_event().await.unwrap();
    tx.append_outbox(event, b"entry").await.unwrap();
    tx.commit().await.unwrap();
    (customer, connection)
}

pub async fn add_client(store: &Store, name: &str) -> ClientRow {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let row = ClientRow { id: id(), name: name.parse().unwrap(), created_at: ctx().now };
    tx.insert_client(&row).await.unwrap();
    let event = tx.next_event().await.unwrap();
    tx.append_outbox(event, name.as_bytes()).await.unwrap();
    tx.commit().await.unwrap();
    row
}

pub async fn all(store: &Store) {
    let (customer, connection) = fill(store).await;
    reads_what_was_written(store, &customer, &connection).await;
    refuses_a_change_without_event(store).await;
    forgets_an_abandoned_change(store).await;
    keys_and_revocation(store).await;
    sealed_versions_count_up(store, &customer, &connection).await;
    grants(store).await;
    outbox(store).await;
    names_are_unique(store).await;
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
    let event = tx.next_event().await.unwrap();
    tx.append_outbox(event, b"e").await.unwrap();
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
    let event = tx.next_event().await.unwrap();
    tx.append_outbox(event, b"e").await.unwrap();
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
    tx.revoke_key(key.id, Timestamp::from_micros(50)).await.unwrap();
    // The first revocation counts.
    tx.revoke_key(key.id, Timestamp::from_micros(60)).await.unwrap();
    let revoked = tx.key(key.id).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(Timestamp::from_micros(50)));
    drop(tx);
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
    assert_eq!(heads.len(), 1);
    assert_eq!(heads[0].version, 2);
    let event = tx.next_event().await.unwrap();
    tx.append_outbox(event, b"e").await.unwrap();
    tx.commit().await.unwrap();
    let (heads, waiting) = store.vault_state().await.unwrap();
    assert_eq!(heads[0].version, 2);
    assert!(waiting > 0);
    let row = store.sealed("connection", &record, "credential").await.unwrap().unwrap();
    assert_eq!(row.version, 2);
}

async fn grants(store: &Store) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let row = GrantRow { id: id(), body: "{}".into(), created_at: Timestamp::from_micros(1) };
    tx.insert_grant(&row).await.unwrap();
    tx.update_grant(row.id, "{\"a\":1}").await.unwrap();
    assert_eq!(tx.grants().await.unwrap()[0].body, "{\"a\":1}");
    tx.delete_grant(row.id).await.unwrap();
    assert!(tx.grants().await.unwrap().is_empty());
}

async fn outbox(store: &Store) {
    let rows = store.outbox_batch(1_000).await.unwrap();
    assert_eq!(rows.len() as u64, store.outbox_len().await.unwrap());
    let last = rows.last().unwrap().sequence;
    store.delete_outbox(last).await.unwrap();
    assert_eq!(store.outbox_len().await.unwrap(), 0);
    // Numbers are never used again, though the table is empty.
    add_client(store, "after").await;
    assert!(store.outbox_batch(1).await.unwrap()[0].sequence > last);
}

async fn names_are_unique(store: &Store) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let row = ClientRow { id: id(), name: "after".parse().unwrap(), created_at: ctx().now };
    let twice = tx.insert_client(&row).await;
    assert!(matches!(twice, Err(StoreError::Conflict { table: "client" })));
}

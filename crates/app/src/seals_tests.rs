//! Seals through all of an installation's life: stores of earlier layouts, several nodes on one
//! store, many rows.

use crate::{
    Custody, Error, Init, Instance, RootKeyPlace, SELF_CUSTOMER, change,
    change::{Care, Change, Changing},
    clients, customers,
    folder::{DataFolder, make_private_dir},
    instance::InstanceSecrets,
    seals, sequence,
};
use audit::{Changed, Log, LogConfig, Record, VaultHead};
use std::{fs, path::Path, sync::Arc};
use store::{OutboxRow, Store};
use tempfile::TempDir;
use types::{Actor, Clock as _, Id, OpContext, SystemClock, SystemRandom};
use vault::{Keyring, RootKey};

pub(crate) fn ctx() -> OpContext {
    let now = SystemClock.now();
    OpContext { actor: Actor::System, request: Id::generate(now, &SystemRandom).unwrap(), now }
}

pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn key(&self) -> std::path::PathBuf {
        self.0.path().join("root.key")
    }
    fn dir(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
    pub(crate) async fn init(&self) -> Instance {
        let key = self.key();
        let (dir, actor) = (self.dir("data"), ctx());
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let root_key = RootKeyPlace::File(&key);
        Instance::init(Init {
            dir: &dir,
            server: None,
            config: "",
            root_key,
            custody: Custody::default(),
            actor,
            clock,
            random,
        })
        .await
        .unwrap()
        .instance
    }
    pub(crate) async fn open(&self) -> Result<Instance, Error> {
        let folder = DataFolder::open(&self.dir("data"))?;
        let key = self.key();
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        Box::pin(Instance::open(folder, Some(key.as_path()), clock, random)).await
    }
}

pub(crate) async fn add_client(instance: &Instance, name: &str) -> Result<(), Error> {
    clients::create(instance, &ctx(), &name.parse().unwrap()).await.map(drop)
}

/// An installation as the first layout had it: no seals, no heads, and a log that knows of none.
async fn first_layout(home: &Home) -> Instance {
    let random = Arc::new(SystemRandom);
    let root = RootKey::create_file(&home.key(), &SystemRandom).unwrap();
    let dir = home.dir("data");
    make_private_dir(&dir).unwrap();
    let folder = DataFolder::at(dir);
    let (keyring, generation) = Keyring::create(&root, &SystemRandom).unwrap();
    let secrets = InstanceSecrets::generate(&SystemRandom).unwrap();
    let store = Store::create(&folder.database().as_path().into()).await.unwrap();
    let ctx = ctx();
    let id = Id::generate(ctx.now, &SystemRandom).unwrap();
    let instance = Instance::of(folder, id, store, (keyring, secrets), random);
    let mut tx = instance.store.begin(&ctx).await.unwrap();
    tx.insert_instance(id, ctx.now).await.unwrap();
    tx.insert_vault_generation(generation.number, &generation.blob).await.unwrap();
    let own = customers::find_or_create(&instance, &mut tx, &ctx, SELF_CUSTOMER).await.unwrap();
    for (column, secret) in instance.secrets.columns() {
        let row = instance.seal(&own.key, "instance", &id.to_bytes(), column, &secret).unwrap();
        tx.put_sealed(&row).await.unwrap();
    }
    let client =
        store::ClientRow { id: id_of(), name: "old".parse().unwrap(), created_at: ctx.now };
    tx.insert_client(&client).await.unwrap();
    let vault_head = Some(change::first_layout_head(&tx.sealed_heads().await.unwrap()));
    let event = id_of::<types::Request>().to_bytes();
    let record = Record::Changed(Changed {
        event,
        at: ctx.now,
        request: ctx.request,
        actor: "local:0".into(),
        verb: "instance.init".into(),
        what: format!("instance {id}"),
        details: Vec::new(),
        customer: None,
        vault_head,
        previous_head: None,
    });
    tx.append_outbox(event, &record.encode()).await.unwrap();
    tx.commit().await.unwrap();
    let key = instance.signing_key().unwrap();
    Log::create(&instance.folder.audit(), &key, None).unwrap();
    fs::write(instance.folder.audit_key(), key.verifier().to_string()).unwrap();
    instance
}

pub(crate) fn id_of<K>() -> Id<K> {
    Id::generate(SystemClock.now(), &SystemRandom).unwrap()
}

/// Moves what waits into the log, as the first layout's release did.
async fn settle_unsealed(instance: &Instance) {
    close(sequence_unsealed(instance).await).await;
}

async fn close(log: Log) {
    tokio::task::spawn_blocking(move || log.close()).await.unwrap().unwrap();
}

async fn sequence_unsealed(instance: &Instance) -> Log {
    let opened = Log::open(LogConfig {
        lock: instance.folder.lock().unwrap(),
        dir: instance.folder.audit(),
        hint_file: instance.folder.audit_hint(),
        origin: instance.origin.clone(),
        key: instance.signing_key().unwrap(),
        clock: instance.clock.clone(),
        // No log was told of.
        kept: None,
        configuration: None,
        reserve: None,
    });
    let log = opened.unwrap().log;
    let waiting = instance.store.take_outbox(&instance.origin, 10).await.unwrap();
    for OutboxRow { sequence, record, .. } in waiting {
        let record = Record::decode(&record).unwrap();
        log.handle().append(&record, audit::Durability::Synced).unwrap().await.unwrap();
        instance.store.settle_outbox(&instance.origin, sequence, &[]).await.unwrap();
    }
    log
}

#[tokio::test]
async fn a_store_of_the_first_layout_is_sealed_once() {
    let home = Home::new();
    let old = first_layout(&home).await;
    settle_unsealed(&old).await;
    old.close().await.unwrap();
    let instance = home.open().await.unwrap();
    let rows = seals::load_whole(&instance).await.unwrap();
    assert_eq!(rows.seals.len(), 8, "{:?}", rows.seals);
    assert!(rows.clients.iter().any(|client| client.name.as_str() == "old"));
    add_client(&instance, "new").await.unwrap();
    sequence::settle(&instance).await.unwrap();
    instance.close().await.unwrap();
    let instance = home.open().await.unwrap();
    assert_eq!(instance.remembered().unwrap()[0].sequence, 3);
    let entries = audit::verify::list(&instance.folder.audit(), 100).unwrap();
    let sealing = entries.iter().find_map(|(_, record)| match record {
        Record::Changed(changed) if changed.verb == "instance.seal" => Some(changed),
        _ => None,
    });
    let sealing = sealing.unwrap();
    assert_eq!(sealing.previous_head.unwrap().sequence, 0);
    assert_eq!(sealing.vault_head.unwrap().sequence, 2);
}

/// Where the log does not vouch for a store without seals, there never were none.
#[tokio::test]
async fn a_store_without_seals_is_not_sealed_behind_the_logs_back() {
    // No log at all, or one that says nothing: the record still waits.
    let home = Home::new();
    let old = first_layout(&home).await;
    let (audit, hidden) = (old.folder.audit(), home.dir("hidden"));
    old.close().await.unwrap();
    fs::rename(&audit, &hidden).unwrap();
    assert!(matches!(home.open().await, Err(Error::AuditVerify(_))));
    fs::rename(&hidden, &audit).unwrap();
    assert!(matches!(home.open().await, Err(Error::SealsTampered)));

    // A log that ends in what nobody signed.
    let home = Home::new();
    let old = first_layout(&home).await;
    let log = sequence_unsealed(&old).await;
    let files = ["tail", "checkpoint"].map(|name| old.folder.audit().join(name));
    let [killed, closed] = {
        let read = || files.each_ref().map(|file| fs::read(file).unwrap());
        let killed = read();
        close(log).await;
        [killed, read()]
    };
    old.close().await.unwrap();
    let put = |bytes: &[Vec<u8>; 2]| {
        for (file, bytes) in files.iter().zip(bytes) {
            fs::write(file, bytes).unwrap();
        }
    };
    put(&killed);
    assert!(matches!(home.open().await, Err(Error::FirstLayoutUnsigned)));
    put(&closed);
    home.open().await.unwrap().close().await.unwrap();

    // The vault is not what the log says.
    let home = Home::new();
    let old = first_layout(&home).await;
    settle_unsealed(&old).await;
    let mut tx = old.store.begin(&ctx()).await.unwrap();
    tx.insert_vault_generation(9, b"foreign").await.unwrap();
    tx.append_outbox([1; 16], b"x").await.unwrap();
    tx.commit().await.unwrap();
    old.store.take_outbox(&old.origin, 100).await.unwrap();
    old.store.settle_outbox(&old.origin, 100, &[]).await.unwrap();
    old.close().await.unwrap();
    let refused = home.open().await;
    assert!(refused.is_err());

    // The log knows of seals.
    let home = Home::new();
    let instance = home.init().await;
    let lock = instance.folder.lock();
    drop(lock);
    assert!(matches!(sequence::seal_first_layout(&instance).await, Err(Error::SealsTampered)));
}

/// One more node on the store of `home`, whose log begins with `head`.
async fn another_node(home: &Home, name: &str, head: Option<VaultHead>) -> Instance {
    let mut node = home.open().await.unwrap();
    let dir = home.dir(name);
    make_private_dir(&dir).unwrap();
    (node.folder, node.origin) = (DataFolder::at(dir), format!("{}/{name}", node.origin));
    node.begin_log(head).await.unwrap();
    node
}

async fn waiting(instance: &Instance) -> Vec<OutboxRow> {
    instance.store.outbox_batch(1_000).await.unwrap()
}

/// As by hand: rows that this node claimed, or claims now.
async fn remove(instance: &Instance) {
    instance.store.take_outbox(&instance.origin, 1_000).await.unwrap();
    instance.store.settle_outbox(&instance.origin, u64::MAX, &[]).await.unwrap();
}

async fn put_back(instance: &Instance, rows: &[OutboxRow]) {
    let mut tx = instance.store.begin(&ctx()).await.unwrap();
    for row in rows {
        tx.put_outbox(row.clone()).await.unwrap();
    }
    tx.commit().await.unwrap();
}

fn changes(instance: &Instance) -> usize {
    let entries = audit::verify::list(&instance.folder.audit(), 10_000).unwrap();
    entries.iter().filter(|(_, record)| matches!(record, Record::Changed(_))).count()
}

/// Each node misses it, whoever had claimed it; and none misses what another has claimed and has not
/// moved yet.
#[tokio::test]
async fn every_node_misses_an_event_that_somebody_removed() {
    let home = Home::new();
    let one = home.init().await;
    sequence::settle(&one).await.unwrap();
    let two = another_node(&home, "two", None).await;
    let three = another_node(&home, "three", None).await;
    let nodes = [&one, &two, &three];
    for (round, claimer) in nodes.into_iter().enumerate() {
        for name in ["a", "b", "c"] {
            add_client(&one, &format!("{name}{round}")).await.unwrap();
        }
        let rows = waiting(&one).await;
        assert_eq!(claimer.store.take_outbox(&claimer.origin, 1).await.unwrap().len(), 1);
        for node in nodes.iter().filter(|node| node.origin != claimer.origin) {
            // The others move what nobody claimed, and wait in peace for the rest.
            sequence::settle(node).await.unwrap();
            sequence::check(node).await.unwrap();
        }
        assert_eq!(waiting(&one).await, rows[..1]);
        remove(claimer).await;
        for node in nodes {
            for refused in [sequence::settle(node).await, sequence::check(node).await] {
                let sequence = rows[0].sequence;
                let is_missed =
                    matches!(refused, Err(Error::EventMissing { sequence: at }) if at == sequence);
                assert!(is_missed, "{refused:?}");
            }
        }
        // Another in its place is none.
        let forged = OutboxRow { record: rows[1].record.clone(), ..rows[0].clone() };
        put_back(&one, &[forged]).await;
        for node in nodes {
            let refused = sequence::check(node).await;
            assert!(matches!(refused, Err(Error::RowTampered { .. })), "{refused:?}");
        }
        remove(claimer).await;
        put_back(&one, &rows[..1]).await;
        sequence::settle(claimer).await.unwrap();
        for node in nodes {
            sequence::settle(node).await.unwrap();
        }
    }
    assert_eq!(nodes.map(changes).iter().sum::<usize>(), 1 + 9);
}

/// An event that one log has is taken by no other, though its row is put back as it was.
#[tokio::test]
async fn an_event_of_another_log_that_somebody_put_back_is_not_moved() {
    let home = Home::new();
    let one = home.init().await;
    let two = another_node(&home, "two", None).await;
    add_client(&one, "a").await.unwrap();
    let rows = waiting(&one).await;
    sequence::settle(&one).await.unwrap();
    put_back(&one, &rows).await;
    let refused = sequence::settle(&two).await;
    let is_added = matches!(refused, Err(Error::RowTampered { how: seals::Tampering::Added, .. }));
    assert!(is_added, "{refused:?}");
    assert_eq!(changes(&two), 0);
}

/// What is settled is summed up: the account stays short, and as good.
#[tokio::test]
async fn the_account_of_events_stays_short() {
    let home = Home::new();
    let one = home.init().await;
    let two = another_node(&home, "two", None).await;
    for number in 0..100 {
        add_client(&one, &format!("c{number}")).await.unwrap();
        let node = if number % 3 == 0 { &one } else { &two };
        sequence::settle(node).await.unwrap();
    }
    let accounts = one.store.accounts(0).await.unwrap();
    assert!((1..70).contains(&accounts.moved.len()), "{}", accounts.moved.len());
    add_client(&one, "last").await.unwrap();
    remove(&two).await;
    for node in [&one, &two] {
        let refused = sequence::settle(node).await;
        assert!(matches!(refused, Err(Error::EventMissing { .. })), "{refused:?}");
    }
}

/// A change of several events that waits from before a node was made may be the first of its log,
/// and a crash may cut it in two.
#[tokio::test]
async fn a_node_that_joins_begins_with_a_change_of_several_events() {
    for is_cut in [false, true] {
        let home = Home::new();
        let one = home.init().await;
        sequence::settle(&one).await.unwrap();
        let ctx = ctx();
        let mut changing = Changing::begin(&one, &ctx, Care::Whole).await.unwrap();
        for what in ["a", "b", "c"] {
            changing.record(Change { verb: "test", what: what.into(), ..Change::default() });
        }
        changing.commit().await.unwrap();
        let rows = waiting(&one).await;
        assert_eq!(rows.len(), 3);
        add_client(&one, "joined").await.unwrap();
        let head = seals::load(&one).await.unwrap().head.unwrap();
        let head = VaultHead { count: head.count, root: head.root, sequence: head.sequence };
        let two = another_node(&home, "two", Some(head)).await;
        if is_cut {
            let opened = Log::open(LogConfig {
                lock: two.folder.lock().unwrap(),
                dir: two.folder.audit(),
                hint_file: two.folder.audit_hint(),
                origin: two.origin.clone(),
                key: two.signing_key().unwrap(),
                clock: two.clock.clone(),
                kept: None,
                configuration: None,
                reserve: None,
            });
            let log = opened.unwrap().log;
            let record = Record::decode(&rows[0].record).unwrap();
            log.handle().append(&record, audit::Durability::Synced).unwrap().await.unwrap();
            close(log).await;
        }
        sequence::settle(&two).await.unwrap();
        assert_eq!(changes(&two), 4, "cut: {is_cut}");
        add_client(&one, "later").await.unwrap();
        sequence::settle(&two).await.unwrap();
        sequence::settle(&one).await.unwrap();
        assert_eq!((changes(&one), changes(&two)), (1, 5));
    }
}

/// Two nodes sequence the changes of one store into logs of their own, in turns.
#[tokio::test]
async fn two_nodes_judge_one_store_rightly() {
    let home = Home::new();
    let one = home.init().await;
    let mut two = home.open().await.unwrap();
    let second = home.dir("second");
    make_private_dir(&second).unwrap();
    let name = format!("{}/2", one.origin);
    (two.folder, two.origin) = (DataFolder::at(second), name.clone());
    let head = seals::load(&two).await;
    assert!(matches!(head, Err(Error::AuditOpen(_))), "a node without its log reads nothing");
    two.begin_log(None).await.unwrap();
    for round in 0..3 {
        add_client(&one, &format!("a{round}")).await.unwrap();
        sequence::settle(&one).await.unwrap();
        add_client(&two, &format!("b{round}")).await.unwrap();
        add_client(&one, &format!("c{round}")).await.unwrap();
        sequence::settle(&two).await.unwrap();
    }
    // Neither log holds all links, and each is judged by the store's chain.
    sequence::settle(&one).await.unwrap();
    sequence::settle(&two).await.unwrap();

    // The store is put back to before a change that the first node's log holds.
    let database = one.folder.database();
    let (folder, second) = (one.folder.clone(), two.folder.clone());
    one.close().await.unwrap();
    two.close().await.unwrap();
    let before = fs::read(&database).unwrap();
    let one = home.open().await.unwrap();
    add_client(&one, "later").await.unwrap();
    sequence::settle(&one).await.unwrap();
    one.close().await.unwrap();
    put_database_back(&database, &before);
    let refused = add_client(&home.open().await.unwrap(), "no").await;
    assert!(matches!(refused, Err(Error::VaultRolledBack)), "{refused:?}");

    // The second cannot know it. It goes on, and the first finds the fork though the store is
    // further on than its log by now.
    let key = home.key();
    let opened = |folder: DataFolder| {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        Box::pin(Instance::open(folder, Some(key.as_path()), clock, random))
    };
    let mut again = opened(folder.clone()).await.unwrap();
    (again.folder, again.origin) = (second, name);
    for name in ["d", "e", "f"] {
        add_client(&again, name).await.unwrap();
    }
    sequence::settle(&again).await.unwrap();
    again.close().await.unwrap();
    let one = opened(folder).await.unwrap();
    let refused = add_client(&one, "no").await;
    assert!(matches!(refused, Err(Error::VaultRolledBack)), "{refused:?}");
    let refused = sequence::settle(&one).await;
    assert!(matches!(refused, Err(Error::VaultRolledBack)), "{refused:?}");
}

fn put_database_back(database: &Path, bytes: &[u8]) {
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", database.display()));
    }
    fs::write(database, bytes).unwrap();
}

/// A running process does not take an older state for a newer one.
#[tokio::test]
async fn a_process_remembers_the_newest_state_that_it_saw() {
    let home = Home::new();
    let instance = home.init().await;
    let head = seals::load(&instance).await.unwrap().head.unwrap();
    let later = VaultHead { count: 1, root: [1; 32], sequence: head.sequence + 1 };
    instance.remember(later);
    let refused = seals::load(&instance).await;
    assert!(matches!(refused, Err(Error::VaultRolledBack)), "{refused:?}");
    let refused = add_client(&instance, "no").await;
    assert!(matches!(refused, Err(Error::VaultRolledBack)), "{refused:?}");
}

/// An entry that no log takes is refused before the change, and names what is too long.
#[tokio::test]
async fn an_entry_that_is_too_long_is_refused_before_the_change() {
    let home = Home::new();
    let instance = home.init().await;
    for (bytes, fits) in [(60_000, true), (66_000, false)] {
        let ctx = ctx();
        let mut changing = Changing::begin(&instance, &ctx, Care::Whole).await.unwrap();
        let name = format!("c{bytes}").parse().unwrap();
        let row = store::ClientRow { id: id_of(), name, created_at: ctx.now };
        changing.tx.insert_client(&row).await.unwrap();
        changing.record(Change {
            verb: "client.create",
            what: "client".into(),
            details: vec![("name", "a".into()), ("words", "x".repeat(bytes))],
            customer: None,
        });
        match changing.commit().await {
            Ok(_) => assert!(fits),
            Err(Error::RecordTooLong { part, verb, .. }) => {
                assert!(!fits);
                assert_eq!((verb.as_str(), part.as_str()), ("client.create", "words"));
            }
            Err(error) => panic!("{error:?}"),
        }
        sequence::settle(&instance).await.unwrap();
        assert_eq!(instance.store.outbox_len().await.unwrap(), 0);
    }
    let rows = seals::load_whole(&instance).await.unwrap();
    assert_eq!(rows.clients.len(), 1);
}

/// One that an earlier release let through is cut, and blocks nothing.
#[tokio::test]
async fn an_entry_that_was_let_through_too_long_is_cut() {
    let home = Home::new();
    let instance = home.init().await;
    let ctx = ctx();
    let event = id_of::<types::Request>().to_bytes();
    let record = Record::Changed(Changed {
        event,
        at: ctx.now,
        request: ctx.request,
        actor: "local:0".into(),
        verb: "provider.import".into(),
        what: "provider ".repeat(100),
        details: vec![("allow_private".into(), "x".repeat(70_000))],
        customer: None,
        vault_head: None,
        previous_head: None,
    })
    .encode();
    let mut tx = instance.store.begin(&ctx).await.unwrap();
    let sequence = tx.next_sequence().await.unwrap();
    let seal = seals::of_event(&instance.secrets.pepper, sequence, &event, &record).to_vec();
    tx.put_outbox(OutboxRow { sequence, event, record, seal: Some(seal) }).await.unwrap();
    tx.commit().await.unwrap();
    sequence::settle(&instance).await.unwrap();
    assert_eq!(instance.store.outbox_len().await.unwrap(), 0);
    let entries = audit::verify::list(&instance.folder.audit(), 100).unwrap();
    let cut = entries.iter().find_map(|(_, record)| match record {
        Record::Changed(changed) if changed.event == event => Some(changed),
        _ => None,
    });
    let cut = cut.unwrap();
    assert_eq!((cut.verb.as_str(), cut.details[0].0.as_str()), ("provider.import", "cut"));
    assert!(cut.details[0].1.contains("SHA-256"));
}

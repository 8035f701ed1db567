//! Data of each earlier layout is brought forward whole, on both databases. A migration comes with
//! `tests/data/NNNN.sql`: a row of each kind as its layout holds them.

use crate::{FILE, contract, server};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _,
    migrate::{Migration, Migrator},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use std::{fs, path::Path};
use store::{Location, ServerUrl, Store};

static ALL: Migrator = sqlx::migrate!("./migrations");

/// The tables as the release had them whose newest migration is this.
fn up_to(layout: i64) -> Migrator {
    let earlier: Vec<Migration> =
        ALL.iter().filter(|migration| migration.version <= layout).cloned().collect();
    Migrator::with_migrations(earlier)
}

/// Every layout with its sample rows, oldest first.
fn samples() -> Vec<(i64, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut samples: Vec<(i64, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let layout = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            (layout, fs::read_to_string(path).unwrap())
        })
        .collect();
    samples.sort();
    samples
}

#[test]
fn every_layout_has_sample_rows() {
    let layouts: Vec<i64> = ALL.iter().map(|migration| migration.version).collect();
    let sampled: Vec<i64> = samples().into_iter().map(|(layout, _)| layout).collect();
    assert_eq!(sampled, layouts, "add tests/data/NNNN.sql beside the migration");
}

#[tokio::test]
async fn sqlite_brings_each_layout_forward() {
    for (layout, rows) in samples() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .pragma("application_id", 0x5745_4952.to_string());
        let mut raw = options.connect().await.unwrap();
        up_to(layout).run(&mut raw).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut raw).await.unwrap();
        raw.close().await.unwrap();
        is_whole(&path.as_path().into(), layout).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_brings_each_layout_forward() {
    let Some(server) = server() else { return };
    for (layout, rows) in samples() {
        let url = server.database();
        let mut raw = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
        up_to(layout).run(&mut raw).await.unwrap();
        let rows = rows.replace("x'", "'\\x");
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut raw).await.unwrap();
        raw.close().await.unwrap();
        is_whole(&Location::Server(ServerUrl::parse(&url, None).unwrap()), layout).await;
    }
}

/// Everything of the sample is there, and a change can follow it.
async fn is_whole(location: &Location, layout: i64) {
    let store = Store::open(location).await.unwrap();
    let all = store.load_all().await.unwrap();
    assert_eq!(all.generation, 7);
    assert_eq!(all.instance.to_string(), "inst_06ewk4g000e0g0000000000001");
    assert_eq!(all.vault_generations[0].wrapped_key, b"wrapped");
    assert_eq!(all.customers[0].commitment, [b'c'; 32]);
    assert_eq!((all.sealed[0].version, all.sealed[0].sealed.as_slice()), (2, &b"sealed"[..]));
    assert_eq!(all.providers[0].allow_private, ["h:1"]);
    assert_eq!(all.connections[0].variables["a"], "b");
    assert_eq!(all.clients[0].name.as_str(), "reader");
    assert_eq!(all.keys[0].revoked_at.map(types::Timestamp::as_micros), Some(12));
    assert_eq!(all.grants[0].purpose, "payroll");
    let waiting = store.outbox_batch(10).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].sequence), (1, 3));
    assert_eq!(waiting[0].record, b"entry");
    let origin = format!("weirgate/{}", all.instance);
    let kept = store.audit_checkpoint(&origin).await.unwrap();
    assert_eq!(kept, (layout >= 3).then(|| "note".to_owned()));
    contract::add_client(&store, "later").await;
    assert_eq!(store.outbox_batch(10).await.unwrap()[1].sequence, 4);
    store.close().await;
}

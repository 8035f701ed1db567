//! Several processes on one database: a server and verbs of the command line beside it.

use crate::{at, contract, postgres_at, server, sqlite};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};
use store::{Location, ServerUrl, Store, StoreError};

/// Says where the database is to the second process, which is this test program again.
const DATABASE: &str = "WEIRGATE_STORE_TEST_DATABASE";
const CHANGES: &str = "WEIRGATE_STORE_TEST_CHANGES";
const PREFIX: &str = "WEIRGATE_STORE_TEST_PREFIX";

/// Not a test by itself: what the second process does.
#[tokio::test]
async fn second_process() {
    let text = |name| std::env::var_os(name).unwrap().into_string().unwrap();
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let database = database.into_string().unwrap();
    let location = match ServerUrl::parse(&database, None) {
        Ok(url) => Location::Server(url),
        Err(_) => Location::File(database.into()),
    };
    let changes: u32 = text(CHANGES).parse().unwrap();
    let prefix = text(PREFIX);
    let store = Store::open(&location).await.unwrap();
    for number in 0..changes {
        let name = format!("{prefix}-{number}");
        contract::add_client(&store, &name).await;
        // The commit was answered: from here on it must be there.
        println!("committed {name}");
    }
    store.close().await;
}

fn start(database: &str, prefix: &str, changes: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::second_process", "--nocapture"])
        .env(DATABASE, database)
        .env(PREFIX, prefix)
        .env(CHANGES, changes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

const EACH: u32 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_two_processes_lose_no_bump() {
    let (dir, store) = sqlite().await;
    let database = dir.path().join(crate::FILE).display().to_string();
    lose_no_bump(&at(&dir), &database, &store).await;
    let Some((url, location, store)) = postgres_at().await else { return };
    lose_no_bump(&location, &url, &store).await;
}

async fn lose_no_bump(location: &Location, database: &str, store: &Store) {
    contract::fill(store).await;
    let before = store.generation().await.unwrap();
    let mut second = start(database, "second", EACH);
    let third = Store::open(location).await.unwrap();
    let write = async |store: &Store, prefix: &str| {
        for number in 0..EACH {
            contract::add_client(store, &format!("{prefix}-{number}")).await;
        }
    };
    tokio::join!(write(store, "first"), write(&third, "third"));
    assert!(second.wait().unwrap().success());
    assert_eq!(store.generation().await.unwrap(), before + u64::from(3 * EACH));
    assert_eq!(third.generation().await.unwrap(), before + u64::from(3 * EACH));
    let rows = store.outbox_batch(1_000).await.unwrap();
    // One of `fill`, and one for each client; numbered without a gap.
    assert_eq!(rows.len(), 1 + 3 * usize::try_from(EACH).unwrap());
    let first = rows[0].sequence;
    assert!(rows.iter().zip(first..).all(|(row, sequence)| row.sequence == sequence));
}

/// By such a server's default, transactions fail for each other's sake; ours say what they need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_a_serializable_server_lose_no_change() {
    let Some((url, location, store)) = postgres_at().await else { return };
    store.close().await;
    let (server, database) = (server().unwrap(), url.rsplit('/').next().unwrap());
    let default = "default_transaction_isolation TO 'serializable'";
    server.psql("postgres", &format!("ALTER DATABASE {database} SET {default}")).unwrap();
    let store = Store::open(&location).await.unwrap();
    assert_eq!(server.psql(database, "SHOW transaction_isolation").unwrap().trim(), "serializable");
    lose_no_bump(&location, &url, &store).await;
}

/// Somebody else's locks and ours wait for each other, and the server ends our change: it says so, leaves
/// nothing behind, and is made when it is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_server_ends_for_anothers_sake_is_whole_or_not_there() {
    let Some((url, _, store)) = postgres_at().await else { return };
    contract::fill(&store).await;
    let (server, database) = (server().unwrap(), url.rsplit('/').next().unwrap().to_owned());
    let before = (store.generation().await.unwrap(), store.outbox_len().await.unwrap());
    let mut tx = store.begin(&contract::ctx()).await.unwrap();
    let locks = "BEGIN; LOCK TABLE client IN EXCLUSIVE MODE; \
                 SELECT number FROM generation WHERE only_row = 1 FOR UPDATE; COMMIT";
    let other = tokio::task::spawn_blocking(move || server.psql(&database, locks));
    // Whoever waits last is ended: the other has waited for longer than the server looks (1 s).
    tokio::time::sleep(std::time::Duration::from_millis(1_800)).await;
    let refused = tx.insert_client(&contract::client("second")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Serialization), "{refused:?}");
    drop(tx);
    other.await.unwrap().unwrap();
    let after = (store.generation().await.unwrap(), store.outbox_len().await.unwrap());
    assert_eq!(after, before);
    contract::add_client(&store, "second").await;
    assert_eq!(store.generation().await.unwrap(), before.0 + 1);
}

/// Killed in the midst of its changes: what was answered is there, each change whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_writer_loses_nothing_that_was_answered() {
    let (dir, store) = sqlite().await;
    let database = dir.path().join(crate::FILE).display().to_string();
    loses_nothing_answered(&database, &store).await;
    let Some((url, _, store)) = postgres_at().await else { return };
    loses_nothing_answered(&url, &store).await;
}

async fn loses_nothing_answered(database: &str, store: &Store) {
    contract::fill(store).await;
    let first = store.generation().await.unwrap();
    let events = store.outbox_len().await.unwrap();
    for answered in [1, 7, 20] {
        let mut second = start(database, &format!("round-{answered}"), 100_000);
        let lines = BufReader::new(second.stdout.take().unwrap()).lines();
        let committed: Vec<String> = lines
            .map(Result::unwrap)
            .filter_map(|line| line.strip_prefix("committed ").map(ToOwned::to_owned))
            .take(answered)
            .collect();
        second.kill().unwrap();
        second.wait().unwrap();
        assert_eq!(committed.len(), answered);
        let all = store.load_all().await.unwrap();
        for name in &committed {
            assert!(all.clients.iter().any(|client| client.name.as_str() == name), "{name}");
        }
        let clients = all.clients.len() as u64;
        assert_eq!(all.generation, first + clients);
        // No audit, no effect: as many events as changes.
        assert_eq!(store.outbox_len().await.unwrap(), events + clients);
    }
}

//! A backup is taken only if it is whole and as it was made, by another computation too; what is
//! restored of it is what it says.

use crate::input::Dice;
use app::backup::verify;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{cell::RefCell, fs, path::PathBuf};
use store::{Cell, Location, Store, StoreError};
use tempfile::TempDir;

/// Restoring takes a thousand times as long as reading.
const RESTORED: usize = 8;

thread_local! {
    static FOLDER: RefCell<TempDir> = RefCell::new(folder());
}

/// In memory where that exists.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

fn path(name: &str) -> PathBuf {
    FOLDER.with_borrow(|folder| folder.path().join(name))
}

fn written(bytes: &[u8]) -> PathBuf {
    let file = path("backup");
    fs::write(&file, bytes).expect("a file in memory");
    file
}

type Row = (String, Vec<Cell>);

pub(crate) fn hold(data: &[u8]) -> bool {
    if let Ok(summary) = verify(&written(data)) {
        let rows = read(data).expect("what was taken is a backup");
        assert_eq!(summary.rows.values().sum::<u64>(), rows.len() as u64);
        assert_eq!(summary.bytes, data.len() as u64);
    }
    // The same, ended as whoever made it would have.
    let Some(made) = made(data) else { return false };
    let Ok(summary) = verify(&written(&made)) else { return false };
    let rows = read(&made).expect("what was taken is a backup");
    assert_eq!(summary.rows.values().sum::<u64>(), rows.len() as u64);
    let mut dice = Dice::of(data);
    let mut bent = made.clone();
    let place = dice.below(bent.len());
    bent[place] ^= 1 << dice.below(8);
    assert!(verify(&written(&bent)).is_err(), "a changed bit is not found");
    bent = made;
    bent.truncate(place);
    assert!(verify(&written(&bent)).is_err(), "a cut is not found");
    if dice.below(RESTORED) == 0 {
        restored(rows);
    }
    true
}

fn lines(data: &[u8]) -> Option<Vec<&[u8]>> {
    let lines: Vec<&[u8]> = data.split_inclusive(|byte| *byte == b'\n').collect();
    (data.ends_with(b"\n") && lines.len() > 1).then_some(lines)
}

fn sum(lines: &[&[u8]]) -> String {
    let sum = digest(&SHA256, &lines.concat());
    sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All lines but the last, and an end that fits them.
fn made(data: &[u8]) -> Option<Vec<u8>> {
    let mut lines = lines(data)?;
    lines.pop();
    let end = json!({"rows": lines.len() - 1, "sha256": sum(&lines)});
    Some([lines.concat(), format!("{end}\n").into_bytes()].concat())
}

/// The rows of a whole backup.
fn read(data: &[u8]) -> Option<Vec<Row>> {
    let lines = lines(data)?;
    let (last, before) = lines.split_last()?;
    let end: Value = serde_json::from_slice(last).ok()?;
    let (head, rows) = before.split_first()?;
    let head: Value = serde_json::from_slice(head).ok()?;
    let is_right =
        head["weirgate_backup"] == 1 && end["rows"] == rows.len() && end["sha256"] == sum(before);
    is_right.then_some(())?;
    rows.iter().map(|row| read_row(row)).collect()
}

fn read_row(line: &[u8]) -> Option<Row> {
    let (table, cells): (String, Vec<Value>) = serde_json::from_slice(line).ok()?;
    let cell = |value: Value| {
        Some(match value {
            Value::Null => Cell::Null,
            Value::String(text) => Cell::Text(text),
            Value::Number(number) => Cell::Number(number.as_i64()?),
            Value::Object(bytes) => Cell::Bytes(STANDARD.decode(bytes["base64"].as_str()?).ok()?),
            _ => return None,
        })
    };
    Some((table, cells.into_iter().map(cell).collect::<Option<_>>()?))
}

/// What a database is made of is what it hands out again.
fn restored(rows: Vec<Row>) {
    let file = path("database");
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.clone().into_os_string();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let dumped = runtime.expect("a runtime").block_on(async {
        let mut given = rows.clone().into_iter();
        let next = || Ok::<_, StoreError>(given.next());
        let store = Store::restore(&Location::File(file), next).await.ok()?;
        let mut dumped = Vec::new();
        let dumping = store.dump::<StoreError>(|table, row| {
            dumped.push((table.to_owned(), row));
            Ok(())
        });
        dumping.await.expect("it is read");
        store.close().await;
        Some(dumped)
    });
    let Some(mut dumped) = dumped else { return };
    let mut rows = rows;
    let key = |row: &Row| format!("{row:?}");
    rows.sort_by_key(key);
    dumped.sort_by_key(key);
    assert_eq!(dumped, rows);
}

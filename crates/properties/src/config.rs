//! A configuration is taken only if it is TOML of known keys, and means what it says; what is wrong
//! is told with its line.

use crate::input::text;
use std::{cell::RefCell, fs, path::PathBuf};
use tempfile::TempDir;
use toml::{Table, Value};
use weirgate_fuzzing::{keys, load};

thread_local! {
    static FOLDER: RefCell<TempDir> = RefCell::new(crate::backups::folder());
}

/// A file that holds this.
fn written(text: &str) -> PathBuf {
    FOLDER.with_borrow(|folder| {
        let file = folder.path().join("weirgate.toml");
        fs::write(&file, text).expect("a file in memory");
        file
    })
}

pub(crate) fn holds(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    // Whatever it names would be read, devices too.
    let names_files = keys().filter(|(_, is_path)| *is_path).any(|(name, _)| text.contains(name));
    if names_files {
        return false;
    }
    let table = text.parse::<Table>();
    let loaded = load(&written(text));
    let settings = match loaded {
        Ok(settings) => settings,
        Err(problems) => {
            let lines = text.lines().count() + 1;
            let mut before = 0;
            for (line, what) in problems {
                // Of what is missing there is no line; it comes last.
                let line = line.unwrap_or(lines);
                assert!((before..=lines).contains(&line), "line {line} of {lines}");
                assert!(what.contains(". "), "{what}");
                before = line;
            }
            return false;
        }
    };
    let table = table.expect("what is no TOML was taken");
    for (name, value) in &table {
        let (_, taken) =
            settings.iter().find(|(key, _)| key == name).expect("an unknown key was taken");
        let meant = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            other => panic!("{name} was taken as {other}"),
        };
        assert_eq!(*taken, meant, "{name}");
    }
    // What is in force, written down, is the same again.
    let whole: Table =
        settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
    assert_eq!(load(&written(&whole.to_string())).as_ref(), Ok(&settings));
    true
}

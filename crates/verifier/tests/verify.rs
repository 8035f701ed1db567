//! The built binary, given files as a stranger gets them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use audit::{
    Durability, FolderLock, Log, LogConfig, Proof, Record, RefusedCount, SigningKey, VerifierKey,
    export,
};
use std::{path::PathBuf, process::Command, sync::Arc};
use tempfile::TempDir;
use types::{Id, SystemClock, Timestamp};

const ORIGIN: &str = "weirgate/inst_test";

/// A log of 300 entries, its key, and a whole export.
struct World {
    home: TempDir,
    key: VerifierKey,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let signing = SigningKey::from_seed(&[7; 32], ORIGIN).unwrap();
        let key = signing.verifier().clone();
        Log::create(&home.path().join("audit"), &signing, None).unwrap();
        let opened = Log::open(LogConfig {
            lock: FolderLock::take(home.path()).unwrap().unwrap(),
            dir: home.path().join("audit"),
            hint_file: home.path().join("hint"),
            key: signing,
            clock: Arc::new(SystemClock),
            origin: ORIGIN.into(),
            kept: None,
            configuration: None,
            reserve: None,
        })
        .unwrap();
        let handle = opened.log.handle();
        for count in 0..300 {
            let record = Record::RefusedCount(RefusedCount {
                at: Timestamp::from_micros(1),
                key: Id::from_u128(7),
                count,
            });
            drop(handle.append(&record, Durability::NextGroup).unwrap());
        }
        opened.log.close().unwrap();
        let world = Self { home, key };
        let mut out = std::fs::File::create(world.file("export")).unwrap();
        export(&world.file("audit"), &world.key, 0..u64::MAX, &mut out).unwrap();
        let proof = Proof::of(&world.file("audit"), &world.key, 200).unwrap();
        std::fs::write(world.file("proof"), proof.to_string()).unwrap();
        std::fs::write(world.file("key"), format!("{}\n", world.key)).unwrap();
        world
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_weirgate-verify"))
            .current_dir(self.home.path())
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn what_is_true_is_said_to_be() {
    let world = World::new();
    let (code, out, err) = world.run(&["key", "export"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("True: entries 0 to 302 of 302 in weirgate/inst_test."), "{out}");
    let (code, out, _) = world.run(&["--print", &world.key.to_string(), "proof"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("200 refused_count "), "{out}");
    assert!(out.ends_with("True: entry 200 of 302 in weirgate/inst_test.\n"), "{out}");
}

/// Well formed and signed, but of no entry at all.
#[test]
fn nothing_is_not_said_to_be_true() {
    let world = World::new();
    let lines = |range| {
        let mut out = Vec::new();
        export(&world.file("audit"), &world.key, range, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let first = lines(0..1);
    let second = lines(1..2);
    let before = second.lines().find(|line| line.starts_with("before ")).unwrap();
    let mut empty = String::new();
    for line in first.split_inclusive('\n') {
        if line.starts_with("range ") {
            empty.push_str(&line.replacen("0 1 ", "1 1 ", 1));
        } else if line.starts_with("entry ") {
            empty.push_str(&format!("{before}\n"));
        } else {
            empty.push_str(line);
        }
    }
    std::fs::write(world.file("empty"), empty).unwrap();
    let (code, out, err) = world.run(&["key", "empty"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("holds none of the 302 entries"), "{err}");
}

#[test]
fn what_is_not_true_exits_with_one_and_what_cannot_be_checked_with_two() {
    let world = World::new();
    for name in ["export", "proof"] {
        let whole = std::fs::read_to_string(world.file(name)).unwrap();
        std::fs::write(world.file("edited"), whole.replacen("\n\n", "\n", 1)).unwrap();
        let (code, out, err) = world.run(&["key", "edited"]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.starts_with("NOT TRUE: "), "{err}");
        let other = SigningKey::from_seed(&[8; 32], ORIGIN).unwrap().verifier().to_string();
        let (code, _, err) = world.run(&[&other, name]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("signature"), "{err}");
    }
    for arguments in [
        &[][..],
        &["key"],
        &["key", "nowhere"],
        &["export", "export"],
        &["nokey", "export"],
        &["key", "export", "proof"],
    ] {
        let (code, out, err) = world.run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty());
    }
    let (code, out, _) = world.run(&["--help"]);
    assert!(code == 0 && out.starts_with("Usage"));
}

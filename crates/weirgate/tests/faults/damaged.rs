//! A damaged database: whatever byte was changed, it is told or it meant nothing, and a backup is the
//! way out, from end to end.

use crate::world::{World, binary, ok};
use std::fs;
use testkit::{Weirgate, find_canary};

/// What is read of the store; any of it that differed would be somebody's changed rights.
const READERS: [&[&str]; 3] = [
    &["client", "list", "--json"],
    &["connection", "list", "--json"],
    &["provider", "list", "--json"],
];
const DAMAGES: usize = 48;

/// Every reader's answer, or what the first that failed said.
fn read(weirgate: &Weirgate) -> Result<Vec<String>, String> {
    let mut read = Vec::new();
    for args in READERS {
        let output = weirgate.run(args, b"").unwrap();
        match output.status {
            Some(0) => read.push(output.out()),
            Some(code) => {
                // By an error of ours, which says what to do: neither by a signal nor by a panic.
                assert!([1, 5].contains(&code), "{code}: {}", output.err());
                let said = output.out() + &output.err();
                assert!(said.contains("remedy") && !said.contains("panicked"), "{said}");
                return Err(said);
            }
            None => panic!("ended by a signal: {}", output.err()),
        }
    }
    Ok(read)
}

#[test]
fn a_damaged_database_is_told_and_a_backup_brings_everything_back() {
    let mut world = World::prepared_by(binary());
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    let backup = world.weirgate.home().join("backup").display().to_string();
    ok(&world.weirgate, &["backup", "create", &backup, "--json"]);
    world.stop();
    let database = world.weirgate.data_dir().join("weirgate.db");
    let whole = fs::read(&database).unwrap();
    let wanted = read(&world.weirgate).unwrap();

    let put = |bytes: &[u8]| {
        for suffix in ["-wal", "-shm"] {
            // Left by a verb that could not end in order.
            let _ = fs::remove_file(world.weirgate.data_dir().join(format!("weirgate.db{suffix}")));
        }
        fs::write(&database, bytes).unwrap();
    };
    let mut told = 0;
    for number in 0..DAMAGES {
        // All over the file: a bit, a byte, a stretch as of a bad sector, and an end that is missing.
        let place = whole.len() * (2 * number + 1) / (2 * DAMAGES);
        let mut bytes = whole.clone();
        match number % 4 {
            0 => bytes[place] ^= 1 << (number % 8),
            1 => bytes[place] = !bytes[place],
            2 => {
                let begin = place & !511;
                let end = (begin + 512).min(bytes.len());
                bytes[begin..end].fill(0);
            }
            _ => bytes.truncate(place),
        }
        put(&bytes);
        match read(&world.weirgate) {
            Ok(read) => assert_eq!(read, wanted, "damage {number} at {place}"),
            Err(_) => told += 1,
        }
    }
    assert!(told > DAMAGES / 4, "{told}");

    // Beyond mending: no server starts on it, and the log does not need it.
    let mut bytes = whole;
    for byte in bytes.iter_mut().skip(4_096) {
        *byte = 0xA5;
    }
    put(&bytes);
    read(&world.weirgate).unwrap_err();
    let args = ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];
    let output = world.weirgate.run(&args, b"").unwrap();
    assert_eq!(output.status, Some(1), "{}", output.err());
    assert!(output.err().contains("restore the newest backup"), "{}", output.err());
    let key = world.weirgate.data_dir().join("audit.pub").display().to_string();
    ok(&world.weirgate, &["audit", "verify", "--key", &key, "--json"]);

    // A new folder, the root key, and all is served again.
    let place = fs::read_to_string(world.weirgate.data_dir().join("root-key-path")).unwrap();
    let mut into = binary();
    into.set("WEIRGATE_ROOT_KEY_FILE", place.trim_end());
    let damaged = std::mem::replace(&mut world.weirgate, into);
    ok(&damaged, &["backup", "verify", &backup, "--json"]);
    ok(&world.weirgate, &["backup", "restore", &backup, "--json"]);
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    ok(&world.weirgate, &["client", "create", "after", "--json"]);
    world.stop();
    assert_eq!(world.verify()["outbox_rows"], 0);
    assert_eq!(read(&world.weirgate).unwrap()[1..], wanted[1..]);
    let secrets = [crate::world::CREDENTIAL, world.key.as_str()];
    assert!(find_canary(&world.weirgate.data_dir(), &[], &secrets).unwrap().is_empty());
}

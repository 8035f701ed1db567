//! Backups: made and checked without the root key, and worth nothing if a bit is another.

use crate::world::{CREDENTIAL, World, fails, ok};
use std::{fs, os::unix::fs::PermissionsExt};

#[test]
fn a_backup_is_made_beside_a_server_and_without_the_root_key() {
    let mut world = World::prepared();
    world.serve();
    world.weirgate.set("WEIRGATE_ROOT_KEY_FILE", "/nowhere");
    let file = world.weirgate.home().join("backup").display().to_string();
    let made = ok(&world.weirgate, &["backup", "create", &file, "--json"]);
    assert_eq!(made["rows"]["connection"], 1, "{made}");
    assert_eq!(made["rows"]["api_key"], 2);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let checked = ok(&world.weirgate, &["backup", "verify", &file, "--json"]);
    assert_eq!(checked, made);
    let bytes = fs::read(&file).unwrap();
    let found = testkit::find_canary(
        world.weirgate.home(),
        &[("backup", &bytes)],
        &[CREDENTIAL, &world.key],
    );
    let found = found.unwrap();
    assert!(found.iter().all(|one| !format!("{one:?}").contains("backup")), "{found:?}");
    let again = fails(&world.weirgate, 2, &["backup", "create", &file], b"");
    assert!(again.contains("there is a file"), "{again}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert!(!fs::exists(format!("{file}.draft")).unwrap());
}

#[test]
fn a_backup_touches_no_file_that_is_there() {
    let world = World::prepared();
    let home = world.weirgate.home();
    let file = home.join("copy");
    let name = file.display().to_string();
    let mine = home.join("mine");
    fs::write(&mine, "mine").unwrap();
    std::os::unix::fs::symlink(&mine, home.join("copy.draft")).unwrap();
    // Of several at once one makes it, and the others say that it is there.
    let said: Vec<_> = std::thread::scope(|scope| {
        let create = || world.weirgate.run(&["backup", "create", &name], b"").unwrap();
        let made: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
        made.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(said.iter().filter(|one| one.status == Some(0)).count(), 1);
    for refused in said.iter().filter(|one| one.status != Some(0)) {
        assert_eq!(refused.status, Some(2), "{}", refused.err());
        assert!(refused.err().contains("there is a file"), "{}", refused.err());
    }
    ok(&world.weirgate, &["backup", "verify", &name, "--json"]);
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    let left = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".weirgate-");
    assert_eq!(fs::read_dir(home).unwrap().map(Result::unwrap).filter(left).count(), 0);
    // A link that leads nowhere is a file, too.
    let nowhere = home.join("link");
    std::os::unix::fs::symlink(home.join("nothing"), &nowhere).unwrap();
    let link = nowhere.display().to_string();
    let refused = fails(&world.weirgate, 2, &["backup", "create", &link], b"");
    assert!(refused.contains("there is a file"), "{refused}");
    assert!(!home.join("nothing").exists());
}

#[test]
fn a_backup_that_was_changed_or_cut_is_found() {
    let world = World::prepared();
    let file = world.weirgate.home().join("backup");
    let name = file.display().to_string();
    ok(&world.weirgate, &["backup", "create", &name, "--json"]);
    let whole = fs::read(&file).unwrap();
    let step = (whole.len() / 150).max(1);
    for place in (0..whole.len()).step_by(step) {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&file, &changed).unwrap();
        let output = world.weirgate.run(&["backup", "verify", &name], b"").unwrap();
        assert!(matches!(output.status, Some(1 | 2)), "{place}: {}", output.out());
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for left_out in 0..lines.len() {
        let mut rest = lines.clone();
        rest.remove(left_out);
        fs::write(&file, rest.concat()).unwrap();
        let output = world.weirgate.run(&["backup", "verify", &name], b"").unwrap();
        assert!(matches!(output.status, Some(1 | 2)), "{left_out}: {}", output.out());
    }
    fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
    let said = fails(&world.weirgate, 1, &["backup", "verify", &name], b"");
    assert!(said.contains("was changed") && said.contains("remedy"), "{said}");
    fs::write(&file, b"no backup").unwrap();
    fails(&world.weirgate, 2, &["backup", "verify", &name], b"");
    fails(&world.weirgate, 1, &["backup", "verify", "/nowhere"], b"");
}

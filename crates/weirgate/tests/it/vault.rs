//! The vault's own keys: replaced, destroyed, sealed and split, while calls go on.

use crate::{
    nodes,
    world::{CREDENTIAL, World, addr, binary, fails, ok, on_server, text},
};
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use testkit::{Weirgate, client, find_canary, wait_until};

const WORDS: &str = "seven herons wade upstream";

fn recorded(weirgate: &Weirgate) -> String {
    fs::read_to_string(weirgate.data_dir().join("root-key-path")).unwrap().trim_end().to_owned()
}

fn status(world: &World) -> Value {
    ok(&world.weirgate, &["vault", "status", "--json"])
}

fn numbers(world: &World) -> Vec<u64> {
    let listed = status(world)["generations"].clone();
    listed.as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect()
}

fn private(weirgate: &Weirgate, name: &str, text: &str) -> String {
    let file = weirgate.file(name, text).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    file
}

/// Calls on and on; yields how many there were and how many failed.
struct Calling {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Calling {
    fn start(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts: Arc<[AtomicU64; 2]> = Arc::default();
        let threads = (0..2).map(|_| {
            let (addr, key) = (world.addr, world.key.clone());
            let target = world.path("/things/1");
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            thread::spawn(move || {
                let bearer = format!("Bearer {key}");
                while !stop.load(Ordering::SeqCst) {
                    let headers = [("Authorization", bearer.as_str())];
                    let answer = client::get(addr, &target, &headers);
                    let is_good = answer.is_ok_and(|answer| answer.status == 200);
                    counts[usize::from(!is_good)].fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, counts, threads }
    }

    fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let count = |place: usize| self.counts[place].load(Ordering::SeqCst);
        (count(0), count(1))
    }
}

#[test]
fn a_new_root_key_opens_everything_and_the_former_only_backups_from_before() {
    let mut world = World::serving();
    let former = recorded(&world.weirgate);
    let backup = world.weirgate.home().join("backup").display().to_string();
    ok(&world.weirgate, &["backup", "create", &backup, "--json"]);
    let calling = Calling::start(&world);
    let rotated = ok(&world.weirgate, &["vault", "rotate-root", "--json"]);
    ok(&world.weirgate, &["client", "create", "after", "--json"]);
    let (good, failed) = calling.end();
    assert!(good > 0 && failed == 0, "{good} and {failed}");
    let new = recorded(&world.weirgate);
    assert!(new != former && rotated["root_key_file"] == new.as_str(), "{rotated}");
    assert_eq!(rotated["former"]["root_key_file"], former.as_str());
    // A start finds it by itself, and keys, credentials and the log are as they were.
    world.stop();
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    assert_eq!(world.verify()["outbox_rows"], 0);
    let said = fails(&world.weirgate, 5, &["client", "list", "--root-key-file", &former], b"");
    assert!(said.contains("was replaced by another one at") && said.contains("remedy"), "{said}");
    let entries = world.entries();
    let entry = entries.iter().find(|one| one["verb"] == "vault.rotate_root").unwrap();
    assert!(entry.to_string().contains(&text(&rotated, "name")), "{entry}");
    // A backup is as old as its root key.
    for (key, exit) in [(&new, 1), (&former, 0)] {
        let mut other = binary();
        other.set("WEIRGATE_ROOT_KEY_FILE", key);
        let output = other.run(&["backup", "restore", &backup, "--json"], b"").unwrap();
        assert_eq!(output.status, Some(exit), "{}", output.err());
    }
    // The new one is where it is said, and nothing is written over.
    let args = ["vault", "rotate-root", "--new-root-key-file", &former];
    assert!(fails(&world.weirgate, 1, &args, b"").contains("exists already"));
    let inside = world.weirgate.data_dir().join("new.key").display().to_string();
    let args = ["vault", "rotate-root", "--new-root-key-file", &inside];
    assert!(fails(&world.weirgate, 5, &args, b"").contains("inside the data folder"));
    assert_eq!(recorded(&world.weirgate), new);
    let named = world.weirgate.home().join("named.key").display().to_string();
    ok(&world.weirgate, &["vault", "rotate-root", "--new-root-key-file", &named, "--json"]);
    assert_eq!(recorded(&world.weirgate), named);
    ok(&world.weirgate, &["client", "list", "--json"]);
}

/// Between any two steps, the folder opens with one of the two keys, and by itself.
#[test]
fn a_killed_rotation_of_the_root_key_leaves_a_folder_that_opens() {
    let mut world = World::prepared();
    for (step, is_done) in
        [("written", false), ("noted", false), ("committed", true), ("recorded", true)]
    {
        let former = text(&status(&world)["root_key"], "name");
        world.weirgate.set("FAILPOINT", &format!("rotate-root {step}"));
        let output = world.weirgate.run(&["vault", "rotate-root", "--json"], b"").unwrap();
        assert_ne!(output.status, Some(0), "{step}: it was killed");
        world.weirgate.unset("FAILPOINT");
        let name = text(&status(&world)["root_key"], "name");
        assert_eq!(name != former, is_done, "{step}");
        world.serve();
        assert_eq!(world.get("/things/1").status, 200, "{step}");
        world.stop();
        let entries = world.entries();
        let rotations = entries.iter().filter(|one| one["verb"] == "vault.rotate_root");
        assert_eq!(rotations.count(), usize::from(is_done) * (1 + usize::from(step == "recorded")));
        assert_eq!(world.verify()["outbox_rows"], 0, "{step}");
    }
    // And it can be rotated on.
    ok(&world.weirgate, &["vault", "rotate-root", "--json"]);
    ok(&world.weirgate, &["client", "list", "--json"]);
}

#[test]
fn other_nodes_go_on_and_need_the_new_root_key_at_their_next_start() {
    let Some(postgres) = nodes::postgres() else { return };
    let (world, url) = nodes::world(postgres);
    let former = recorded(&world.weirgate);
    let mut other = nodes::another(&world, &url);
    ok(&other, &["init", "--json"]);
    let args =
        ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
    let (server, line) = other.spawn_until_json(&args).unwrap();
    let at = addr(&line, "gateway");
    let answers = || {
        let bearer = format!("Bearer {}", world.key);
        let headers = [("Authorization", bearer.as_str())];
        client::get(at, &world.path("/things/1"), &headers).unwrap().status
    };
    let rotated = ok(&world.weirgate, &["vault", "rotate-root", "--json"]);
    let new = text(&rotated, "root_key_file");
    ok(&world.weirgate, &["client", "create", "after", "--json"]);
    assert_eq!(answers(), 200);
    // A new generation is under a root key that this node does not have: what it had goes on, and it
    // follows as soon as the file is where it looks.
    ok(&world.weirgate, &["client", "create", "later", "--json"]);
    assert_eq!(answers(), 200);
    assert_eq!(server.terminate().unwrap().status, Some(0));
    let said = fails(&other, 5, &["serve"], b"");
    assert!(said.contains(&former) && said.contains("was replaced"), "{said}");
    other.set("WEIRGATE_ROOT_KEY_FILE", &new);
    let (server, line) = other.spawn_until_json(&args).unwrap();
    let at = addr(&line, "gateway");
    let bearer = format!("Bearer {}", world.key);
    let headers = [("Authorization", bearer.as_str())];
    assert_eq!(client::get(at, &world.path("/things/1"), &headers).unwrap().status, 200);
    // One node seals everything anew, and this one serves on.
    ok(&world.weirgate, &["vault", "rotate", "--json"]);
    wait_until(Duration::from_secs(20), || numbers(&world) == [2]);
    assert_eq!(client::get(at, &world.path("/things/1"), &headers).unwrap().status, 200);
    assert_eq!(server.terminate().unwrap().status, Some(0));
    ok(&other, &["audit", "verify", "--json"]);
}

#[test]
fn a_new_generation_is_all_there_is_in_the_end() {
    let mut world = World::administered();
    let before = status(&world);
    assert_eq!(numbers(&world), [1]);
    let rotated = ok(&world.weirgate, &["vault", "rotate", "--json"]);
    assert_eq!(rotated["under_way"], false, "{rotated}");
    assert_eq!((rotated["left"].as_u64(), numbers(&world)), (Some(0), vec![2]), "{rotated}");
    let values = |status: &Value| status["generations"][0]["sealed_values"].as_u64().unwrap();
    // The company's former key is one value more.
    assert_eq!(values(&status(&world)), values(&before) + 1);
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    for args in [&["user", "list", "--json"][..], &["connection", "list", "--json"]] {
        ok(&world.weirgate, args);
    }
    let entries = world.entries();
    let count = |verb: &str| entries.iter().filter(|one| one["verb"] == verb).count();
    let counts = ["vault.rotate", "vault.reencrypt", "vault.destroy"].map(count);
    assert_eq!(counts, [1, 1, 1]);
    assert_eq!(world.verify()["outbox_rows"], 0);
    // Nothing is under way that could be finished, and the next one follows.
    ok(&world.weirgate, &["vault", "rotate", "--finish", "--json"]);
    ok(&world.weirgate, &["vault", "rotate", "--json"]);
    assert_eq!(numbers(&world), [3]);
    let said = world.weirgate.run(&["vault", "status"], b"").unwrap().out();
    assert!(said.contains("generation 3  in force"), "{said}");
    let found = find_canary(world.weirgate.home(), &[], &[CREDENTIAL]).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_server_seals_everything_anew_and_no_call_fails() {
    let mut world = World::serving();
    let secret = serde_json::json!({"token": CREDENTIAL}).to_string();
    for number in 0..20 {
        let customer = format!("customer {number}");
        let args = [
            "connection",
            "create",
            "--provider",
            "things",
            "--customer",
            &customer,
            "--scheme",
            "bearer",
            "--secret-file",
            "-",
            "--json",
        ];
        crate::world::ok_with(&world.weirgate, &args, secret.as_bytes());
    }
    let calling = Calling::start(&world);
    for generation in 2..5 {
        ok(&world.weirgate, &["vault", "rotate", "--json"]);
        wait_until(Duration::from_secs(20), || numbers(&world) == [generation]);
        ok(&world.weirgate, &["client", "create", &format!("c{generation}"), "--json"]);
    }
    let (good, failed) = calling.end();
    assert!(good > 50 && failed == 0, "{good} and {failed}");
    world.stop();
    assert_eq!(world.verify()["outbox_rows"], 0);
}

#[test]
fn a_rotation_that_a_killed_server_began_is_finished_by_whoever_comes() {
    let mut world = World::serving();
    ok(&world.weirgate, &["vault", "rotate", "--json"]);
    world.server.take().unwrap().kill9().unwrap();
    let refused = world.weirgate.run(&["vault", "rotate", "--json"], b"").unwrap();
    if refused.status != Some(0) {
        assert!(refused.err().contains("being replaced already"), "{}", refused.err());
        ok(&world.weirgate, &["vault", "rotate", "--finish", "--json"]);
    }
    assert_eq!(numbers(&world).len(), 1);
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    world.verify();
}

#[test]
fn an_erased_customer_is_gone_and_its_certificate_says_so() {
    let mut world = World::serving();
    assert_eq!(world.get("/things/1").status, 200);
    let export = world.weirgate.home().join("export").display().to_string();
    wait_until(Duration::from_secs(5), || {
        world.weirgate.run(&["audit", "proof", "8"], b"").unwrap().status == Some(0)
    });
    let listed = ok(&world.weirgate, &["customer", "list", "--json"]);
    assert_eq!(listed["customers"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["customers"][0]["name"], "Acme GmbH");
    let id = text(&listed["customers"][0], "id");
    for (args, exit, says) in [
        (&["customer", "erase", "Acme GmbH"][..], 2, "not confirmed"),
        (&["customer", "erase", "self", "--yes"], 5, "company itself"),
        (&["customer", "erase", "Nobody", "--yes"], 3, "there is no"),
        (&["customer", "certificate", &id], 1, "no checkpoint covers"),
    ] {
        assert!(fails(&world.weirgate, exit, args, b"").contains(says), "{args:?}");
    }
    assert_eq!(world.get("/things/1").status, 200);
    let file = world.weirgate.home().join("certificate.json").display().to_string();
    let args = ["customer", "erase", "Acme GmbH", "--yes", "--certificate", &file, "--json"];
    let erased = ok(&world.weirgate, &args);
    assert_eq!(erased["id"], id.as_str());
    let destroyed = &erased["destroyed"];
    assert_eq!(
        (destroyed["connections"].as_u64(), destroyed["sealed_values"].as_u64()),
        (Some(1), Some(2))
    );
    wait_until(Duration::from_secs(5), || world.get("/things/1").status == 404);
    let listed = ok(&world.weirgate, &["customer", "list", "--json"]);
    assert!(listed["customers"].as_array().unwrap().is_empty(), "{listed}");

    // Whoever has the log's key checks it, and it is made again in the same letters.
    let certificate = fs::read_to_string(&file).unwrap();
    let json: Value = serde_json::from_str(&certificate).unwrap();
    assert_eq!(
        (&json["customer"], json["destroyed"]["connections"].as_u64()),
        (&Value::from(id.as_str()), Some(1))
    );
    assert!(!certificate.contains("Acme"), "{certificate}");
    let key: audit::VerifierKey = fs::read_to_string(world.weirgate.data_dir().join("audit.pub"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let (changed, _) = audit::certificate::check(&certificate, &key).unwrap();
    assert_eq!(changed.what, format!("customer {id}"));
    for (from, to) in [
        ("\"connections\": 1", "\"connections\": 2"),
        (&id[..10], "cust_06aaa"),
        ("local:", "local:9"),
    ] {
        let other = certificate.replacen(from, to, 1);
        assert_ne!(other, certificate);
        assert!(audit::certificate::check(&other, &key).is_err(), "{from}");
    }
    let proof = world.weirgate.run(&["audit", "proof", "0"], b"").unwrap().out();
    assert!(audit::certificate::certify(&proof.parse().unwrap(), &key).is_err());

    // The log, and what left it, hold as before.
    world.stop();
    world.verify();
    let output = world.weirgate.run(&["audit", "export", "--out", &export], b"").unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    let export = fs::read(&export).unwrap();
    audit::verify_export(&mut export.as_slice(), &key, &[], |_, _| {}).unwrap();
    ok(&world.weirgate, &["connection", "list", "--json"]);
    // A customer of that name is somebody new.
    let secret = serde_json::json!({"token": CREDENTIAL}).to_string();
    let args = [
        "connection",
        "create",
        "--provider",
        "things",
        "--customer",
        "Acme GmbH",
        "--scheme",
        "bearer",
        "--secret-file",
        "-",
        "--json",
    ];
    crate::world::ok_with(&world.weirgate, &args, secret.as_bytes());
    let listed = ok(&world.weirgate, &["customer", "list", "--json"]);
    assert_ne!(listed["customers"][0]["id"], id.as_str());
}

#[test]
fn a_sealed_root_key_opens_by_its_passphrase_alone() {
    let mut weirgate = binary();
    if std::env::var_os("WEIRGATE_TEST_POSTGRES").is_some() {
        on_server(&mut weirgate, testkit::Postgres::shared().unwrap());
    }
    let words = private(&weirgate, "words", &format!("{WORDS}\n"));
    let other = private(&weirgate, "other", "eight herons wade upstream\n");
    let short = private(&weirgate, "short", "too short\n");
    let said = fails(&weirgate, 1, &["init", "--passphrase-file", &short], b"");
    assert!(said.contains("at least 20 characters") && !said.contains("too short"), "{said}");
    let made = ok(&weirgate, &["init", "--passphrase-file", &words, "--json"]);
    let file = text(&made, "root_key_file");
    assert!(fs::read_to_string(&file).unwrap().starts_with("wgroot2."));
    let list = ["client", "list", "--json"];
    let said = fails(&weirgate, 1, &list, b"");
    assert!(
        said.contains("sealed by a passphrase") && said.contains("WEIRGATE_PASSPHRASE_FILE"),
        "{said}"
    );
    weirgate.set("WEIRGATE_PASSPHRASE_FILE", &other);
    let said = fails(&weirgate, 1, &list, b"");
    assert!(said.contains("does not open") && !said.contains("herons"), "{said}");
    weirgate.set("WEIRGATE_PASSPHRASE_FILE", &words);
    ok(&weirgate, &list);
    fs::set_permissions(&words, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(fails(&weirgate, 5, &list, b"").contains("chmod 600"));
    fs::set_permissions(&words, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // A rotation seals the new one alike; and both ways back.
    let rotated = ok(&weirgate, &["vault", "rotate-root", "--json"]);
    let file = text(&rotated, "root_key_file");
    assert!(fs::read_to_string(&file).unwrap().starts_with("wgroot2."));
    ok(&weirgate, &["vault", "unseal", "--json"]);
    assert!(fs::read_to_string(&file).unwrap().starts_with("wgroot1."));
    weirgate.unset("WEIRGATE_PASSPHRASE_FILE");
    ok(&weirgate, &list);
    let sealed = ok(&weirgate, &["vault", "seal", "--passphrase-file", &words, "--json"]);
    assert_eq!(sealed["sealed"], true, "{sealed}");
    assert!(fails(&weirgate, 1, &list, b"").contains("sealed by a passphrase"));
    weirgate.set("WEIRGATE_PASSPHRASE_FILE", &words);
    let described = ok(&weirgate, &["vault", "status", "--json"]);
    assert_eq!(described["root_key"]["sealed"], true, "{described}");
    let args =
        ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
    let (server, _) = weirgate.spawn_until_json(&args).unwrap();
    let output = server.terminate().unwrap();
    assert_eq!(output.status, Some(0));
    let entries = ok(&weirgate, &["audit", "list", "--limit", "1000", "--json"]).to_string();
    for verb in ["vault.seal", "vault.unseal", "vault.rotate_root"] {
        assert!(entries.contains(verb), "{verb}");
    }
    assert!(!entries.contains("herons") && !output.err().contains("herons"));
}

/// systemd hands a file over whose place is in the environment; it comes before the recorded place.
#[test]
fn a_credential_of_the_service_manager_is_the_root_key() {
    let mut world = World::prepared();
    let key = recorded(&world.weirgate);
    let credentials = world.weirgate.home().join("credentials");
    fs::create_dir(&credentials).unwrap();
    let handed = credentials.join("weirgate-root-key");
    fs::copy(&key, &handed).unwrap();
    fs::set_permissions(&handed, std::os::unix::fs::PermissionsExt::from_mode(0o440)).unwrap();
    fs::rename(&key, format!("{key}.away")).unwrap();
    assert!(fails(&world.weirgate, 1, &["client", "list"], b"").contains("no root key file"));
    world.weirgate.set("CREDENTIALS_DIRECTORY", &credentials.display().to_string());
    let status = status(&world);
    assert_eq!(status["root_key"]["credential"], true, "{status}");
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    ok(&world.weirgate, &["doctor", "--json"]);
    let said = fails(&world.weirgate, 1, &["vault", "rotate-root"], b"");
    assert!(said.contains("--new-root-key-file"), "{said}");
    let new = world.weirgate.home().join("new.key").display().to_string();
    ok(&world.weirgate, &["vault", "rotate-root", "--new-root-key-file", &new, "--json"]);
    assert!(fails(&world.weirgate, 5, &["client", "list"], b"").contains("was replaced"));
    fs::remove_file(&handed).unwrap();
    fs::copy(&new, &handed).unwrap();
    ok(&world.weirgate, &["client", "list", "--json"]);
    // Without one in it the folder says nothing.
    fs::remove_file(&handed).unwrap();
    fs::rename(format!("{key}.away"), &key).unwrap();
    ok(&world.weirgate, &["client", "list", "--json", "--root-key-file", &new]);
}

#[test]
fn shares_bring_a_lost_root_key_back() {
    let mut world = World::prepared();
    let out = world.weirgate.home().join("shares").display().to_string();
    let split = |threshold: &str, out: &str| {
        let args =
            ["vault", "shares", "--threshold", threshold, "--shares", "5", "--out", out, "--json"];
        ok(&world.weirgate, &args)["shares"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let shares = split("3", &out);
    assert_eq!(shares.len(), 5);
    for file in &shares {
        assert!(fs::read_to_string(file).unwrap().starts_with("wgshare1."));
    }
    let key = recorded(&world.weirgate);
    let lost = fs::read_to_string(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let back = world.weirgate.home().join("back.key").display().to_string();
    let recover = |files: &[&str], out: &str| {
        let mut args = vec!["vault", "recover", "--root-key-file", out, "--json"];
        for file in files {
            args.extend(["--share", file]);
        }
        world.weirgate.run(&args, b"").unwrap()
    };
    let damaged = world.weirgate.home().join("damaged").display().to_string();
    let text_of = fs::read_to_string(&shares[2]).unwrap();
    fs::write(&damaged, text_of.replacen("wgshare1.inst_0", "wgshare1.inst_1", 1)).unwrap();
    for (files, says) in [
        (vec![&shares[0], &shares[1]], "3 shares are needed, and 2 given"),
        (vec![&shares[0], &shares[1], &shares[1]], "share 2 is given twice"),
        (vec![&shares[0], &shares[1], &damaged], "share file 3 is damaged"),
        (
            vec![
                &shares[0],
                &shares[1],
                &world.weirgate.data_dir().join("audit.pub").display().to_string(),
            ],
            "share file 3 holds no share",
        ),
    ] {
        let files: Vec<&str> = files.iter().map(|file| file.as_str()).collect();
        let output = recover(&files, &back);
        assert_eq!(output.status, Some(1), "{says}");
        assert!(output.err().contains(says), "{says}: {}", output.err());
    }
    assert!(!Path::new(&back).exists());
    let output = recover(&[&shares[4], &shares[0], &shares[2]], &back);
    assert_eq!(output.status, Some(0), "{}", output.err());
    assert_eq!(fs::read_to_string(&back).unwrap(), lost);
    assert_eq!(recorded(&world.weirgate), back);
    // Never over another file.
    assert_eq!(recover(&[&shares[4], &shares[0], &shares[2]], &back).status, Some(1));
    let entries = world.entries();
    let entry = entries.iter().find(|one| one["verb"] == "vault.recover").unwrap().to_string();
    assert!(entry.contains("5, 1, 3"), "{entry}");

    // After a rotation they are another key's, and open nothing; another installation's neither.
    ok(&world.weirgate, &["vault", "rotate-root", "--json"]);
    let late = world.weirgate.home().join("late.key").display().to_string();
    let output = recover(&[&shares[0], &shares[1], &shares[2]], &late);
    assert_eq!(output.status, Some(5), "{}", output.err());
    assert!(output.err().contains("was replaced"), "{}", output.err());
    assert!(!Path::new(&late).exists());
    let other = World::prepared();
    let mut args = vec!["vault", "recover", "--root-key-file", &late, "--json"];
    for file in &shares[..3] {
        args.extend(["--share", file]);
    }
    let said = fails(&other.weirgate, 1, &args, b"");
    assert!(said.contains("are those of installation"), "{said}");
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
}

/// A terminal of its own (`script` of util-linux), and somebody who types.
#[test]
fn a_passphrase_is_asked_for_where_nobody_sees_it() {
    let weirgate = binary();
    let words = private(&weirgate, "words", &format!("{WORDS}\n"));
    ok(&weirgate, &["init", "--passphrase-file", &words, "--json"]);
    let command = format!(
        "'{}' client list --data-dir '{}'; echo \"ended with $?\"",
        env!("CARGO_BIN_EXE_weirgate"),
        weirgate.data_dir().display()
    );
    for (typed, ends) in [(WORDS, "ended with 0"), ("eight herons wade upstream", "ended with 1")] {
        let spawned = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("HOME", weirgate.home())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut terminal = match spawned {
            Ok(terminal) => terminal,
            Err(error) => {
                eprintln!("skipped: `script` is not there ({error})");
                return;
            }
        };
        let mut seen = Vec::new();
        let mut screen = terminal.stdout.take().unwrap();
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).ends_with("root.key: ")
            && !String::from_utf8_lossy(&seen).ends_with(".key: ")
        {
            assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        let mut keyboard = terminal.stdin.take().unwrap();
        keyboard.write_all(format!("{typed}\n").as_bytes()).unwrap();
        screen.read_to_end(&mut seen).unwrap();
        terminal.wait().unwrap();
        let seen = String::from_utf8_lossy(&seen);
        assert!(seen.contains(ends), "{seen}");
        assert!(!seen.contains("herons"), "what is typed is not shown: {seen}");
    }
}

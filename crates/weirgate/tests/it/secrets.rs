//! A planted credential, key and value appear in no output and no file.

use crate::world::{CREDENTIAL, World};
use serde_json::json;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};
use testkit::{SECRET, find_canary};

/// In a password, in a key's header and in a key's parameter.
const PLANTED: &str = "canary-6ae1d05f93";

#[test]
fn canaries_appear_nowhere() {
    let mut world = World::prepared();
    world.weirgate.set("WEIRGATE_LOG_LEVEL", "trace");
    let others: Vec<(&str, String)> = [
        ("basic", format!(r#"{{"username":"u-{PLANTED}","password":"p-{PLANTED}"}}"#)),
        ("header", format!(r#"{{"api_key":"h-{PLANTED}"}}"#)),
        ("query", format!(r#"{{"api_key":"q-{PLANTED}"}}"#)),
    ]
    .iter()
    .map(|(scheme, secret)| (*scheme, crate::echo::connect(&world, scheme, secret)))
    .collect();
    world.serve();
    let mut answers = Vec::new();
    // After the one that tells to wait, nothing is asked any more.
    let last = ["too-many"];
    let slow = ["silence", "length-too-long", "slow-head", "slow-body"];
    for kind in testkit::FAULTS.iter().filter(|kind| !slow.contains(kind) && !last.contains(kind)) {
        answers.push((format!("/fault/{kind}"), world.get(&format!("/fault/{kind}")).everything()));
    }
    for path in ["/things", "/things/1", "/things?sort=a", "/nowhere"] {
        answers.push((path.to_owned(), world.get(path).everything()));
    }
    let bearer = world.connection.clone();
    for (scheme, id) in &others {
        world.connection.clone_from(id);
        for path in ["/things", "/things/1", "/fault/error", "/fault/redirect", "/nowhere"] {
            answers.push((format!("{scheme} {path}"), world.get(path).everything()));
        }
    }
    world.connection = bearer;
    let write = world.post("/things", &json!({"name": SECRET, "secret": SECRET}));
    answers.push(("write".to_owned(), write.everything()));
    for kind in last {
        answers.push((kind.to_owned(), world.get(&format!("/fault/{kind}")).everything()));
    }
    let metrics = testkit::client::get(world.console, "/metrics", &[]).unwrap();
    answers.push(("metrics".to_owned(), metrics.everything()));
    let output = world.stop();
    answers.push(("stdout".to_owned(), output.stdout));
    answers.push(("stderr".to_owned(), output.stderr));
    for args in [
        &["audit", "list", "--limit", "100000"][..],
        &["audit", "verify"],
        &["connection", "list"],
        &["client", "list"],
        &["provider", "show", "things"],
        &["config", "show", "--origin"],
    ] {
        let output = world.weirgate.run(args, b"").unwrap();
        answers.push((args.join(" "), output.stdout));
        answers.push((args.join(" "), output.stderr));
    }
    let texts: Vec<(&str, &[u8])> =
        answers.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let data_dir = world.weirgate.data_dir();
    let key_body = world.key.trim_start_matches("wg_live_").to_owned();
    let found =
        find_canary(&data_dir, &texts, &[CREDENTIAL, PLANTED, SECRET, &world.key, &key_body])
            .unwrap();
    assert!(found.is_empty(), "{found:#?}");
    // The customer's name is personal: sealed in the store, a commitment in the log.
    let found = find_canary(&data_dir, &[], &["Acme GmbH"]).unwrap();
    assert!(found.is_empty(), "{found:#?}");
}

/// Whether a user may look into a process of his own, started so, once it has said a line.
fn is_open_to_its_user(program: &str, args: &[&str]) -> bool {
    let as_user = |program: &str| {
        if fs::metadata("/proc/self")
            .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0)
        {
            return Command::new(program);
        }
        // Root may look into everything: so both are somebody else's.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
        command
    };
    let mut process = as_user(program).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    // What a debugger and a maker of cores ask for, too.
    let environment = format!("/proc/{}/environ", process.id());
    let looked = as_user("cat").arg(environment).output().unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    looked.status.success()
}

#[test]
fn nobody_but_root_looks_into_the_process() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    fs::copy(env!("CARGO_BIN_EXE_weirgate"), place("weirgate")).unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../sandbox/hr.yaml"), place("hr.yaml")).unwrap();
    let args = ["sandbox", &place("hr.yaml"), "--listen", "127.0.0.1:0", "--json"];
    assert!(!is_open_to_its_user(&place("weirgate"), &args));
    // Which is not the system's doing.
    assert!(is_open_to_its_user("sh", &["-c", "echo ready; exec sleep 60"]));
}

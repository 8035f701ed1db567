//! A planted credential, key and value appear in no output and no file.

use crate::world::{CREDENTIAL, World};
use serde_json::json;
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

//! A configuration that somebody changed is recorded, and told of.

use crate::world::{World, ok, text};
use serde_json::Value;
use std::fs;
use testkit::Authority;

const SERVE: [&str; 6] =
    ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];

/// Serves for a moment: what it said, its lines of log, and its entry.
fn served(world: &World) -> (Value, String, Value) {
    let (server, line) = world.weirgate.spawn_until_json(&SERVE).unwrap();
    let output = server.terminate().unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    let own = |entry: &&Value| entry["kind"] == "started" && entry["configuration"].is_string();
    let entries = world.entries();
    (line["notices"].clone(), output.err(), entries.iter().rfind(own).unwrap().clone())
}

fn warnings(world: &World) -> String {
    let output = world.weirgate.run(&["doctor", "--json"], b"").unwrap();
    let found = output.json().unwrap();
    let found = found["findings"].as_array().unwrap().iter();
    let own = found.filter(|one| one["check"] == "configuration" && one["level"] == "warning");
    own.map(|one| format!("{}\n", one["what"])).collect()
}

#[test]
fn a_changed_configuration_is_recorded_and_told() {
    let world = World::prepared();
    let (said, _, first) = served(&world);
    assert_eq!(said, serde_json::json!([]));
    // The same again, with a verb's start in between.
    ok(&world.weirgate, &["client", "create", "between", "--json"]);
    let (said, log, again) = served(&world);
    assert_eq!(said, serde_json::json!([]));
    assert_eq!(first["configuration"], again["configuration"]);
    assert!(again["changed_since"].is_null() && !log.contains("changed since"), "{again} {log}");
    assert_eq!(warnings(&world), "");

    // Who can write to the folder adds an authority, and makes recovery forget what it knew.
    let authority = Authority::new().unwrap();
    let roots = world.weirgate.file("roots.pem", authority.pem()).unwrap();
    let config = world.weirgate.data_dir().join("weirgate.toml");
    let before = fs::read_to_string(&config).unwrap();
    let more = format!("{before}max_calls = 7531\nextra_roots_file = \"{roots}\"\n");
    fs::write(&config, more).unwrap();
    fs::remove_file(world.weirgate.data_dir().join("audit-hint")).unwrap();
    let since = format!("the configuration changed since {}", text(&again, "at"));
    let found = warnings(&world);
    assert!(found.contains(&since) && found.contains("1 authority is trusted"), "{found}");
    let (said, log, entry) = served(&world);
    let said = said.to_string();
    for told in [&said, &log] {
        for word in
            [&since, "max_calls is set now", "extra_roots_file is set now", "1 authority is"]
        {
            assert!(told.contains(word), "no `{word}`: {told}");
        }
        assert!(!told.contains("7531"), "{told}");
    }
    assert_eq!(entry["changed_since"], again["at"]);
    assert_eq!(entry["keys"], "max_calls, extra_roots_file");
    let root = text(&entry, "extra_roots");
    assert!(root.len() == 64 && said.contains(&root), "{entry} {said}");
    assert!(!entry.to_string().contains("7531"), "{entry}");

    // Another authority in the same file, under the same name.
    fs::write(&roots, Authority::new().unwrap().pem()).unwrap();
    let (said, _, other) = served(&world);
    let said = said.to_string();
    assert!(said.contains(&format!("the authority {root} is gone")), "{said}");
    assert!(
        said.contains(&format!("the authority {} is new", text(&other, "extra_roots"))),
        "{said}"
    );
    // Another value alone.
    let text_now = fs::read_to_string(&config).unwrap().replace("7531", "7532");
    fs::write(&config, text_now).unwrap();
    let (said, ..) = served(&world);
    assert!(said.to_string().contains("the value of a key"), "{said}");
    // Another root key's place.
    let place = world.weirgate.data_dir().join("root-key-path");
    let key = fs::read_to_string(&place).unwrap();
    let moved = world.weirgate.home().join("moved.key");
    fs::copy(key.trim_end(), &moved).unwrap();
    fs::write(&place, format!("{}\n", moved.display())).unwrap();
    let (said, _, last) = served(&world);
    assert!(said.to_string().contains("changed since"), "{said}");
    assert!(last["changed_since"].is_string(), "{last}");
    world.verify();
}

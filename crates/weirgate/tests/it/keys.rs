//! Keys of clients, and of the vault: rotated while calls go on.

use crate::world::{World, code, fails, ok, text};
use std::time::Duration;
use testkit::{client, wait_until};

fn status_by(world: &World, key: &str) -> u16 {
    let bearer = format!("Bearer {key}");
    let headers = [("Authorization", bearer.as_str())];
    client::get(world.addr, &world.path("/things/1"), &headers).unwrap().status
}

fn id_of(world: &World, client: &str) -> String {
    let listed = ok(&world.weirgate, &["client", "list", "--json"]);
    let clients = listed["clients"].as_array().unwrap();
    let client = clients.iter().find(|one| one["name"] == client).unwrap();
    text(&client["keys"][0], "id")
}

fn rotate(world: &World, id: &str, overlap: &str, expires: &str) -> serde_json::Value {
    let args =
        ["client", "key", "rotate", id, "--overlap", overlap, "--expires", expires, "--json"];
    ok(&world.weirgate, &args)
}

#[test]
fn both_keys_work_while_they_overlap_and_then_one() {
    let world = World::serving();
    let id = id_of(&world, "reader");
    let made = rotate(&world, &id, "6h", "90d");
    let new = text(&made, "key");
    assert!(new != world.key && made["client"] == "reader", "{made}");
    wait_until(Duration::from_secs(5), || status_by(&world, &new) == 200);
    assert_eq!(status_by(&world, &world.key), 200, "the former one goes on");
    // A span beyond its own end does not prolong it: it had a day, and has six hours now.
    let ends = text(&made["former"], "expires_at");
    let again = rotate(&world, &id, "30d", "1d");
    assert_eq!(text(&again["former"], "expires_at"), ends);
    // None ends it at once.
    let last = rotate(&world, &id, "0", "1d");
    wait_until(Duration::from_secs(5), || status_by(&world, &world.key) == 401);
    let bearer = format!("Bearer {}", world.key);
    let headers = [("Authorization", bearer.as_str())];
    let refused = client::get(world.addr, &world.path("/things/1"), &headers).unwrap();
    assert_eq!(code(&refused), "key_expired");
    for key in [&new, &text(&again, "key"), &text(&last, "key")] {
        wait_until(Duration::from_secs(5), || status_by(&world, key) == 200);
    }
    // What has ended is followed by nothing.
    let args = ["client", "key", "rotate", &id, "--overlap", "1d", "--expires", "1d"];
    assert!(fails(&world.weirgate, 5, &args, b"").contains("not in force"));
    let entries = world.entries();
    let rotated: Vec<_> = entries.iter().filter(|one| one["verb"] == "key.rotate").collect();
    assert_eq!(rotated.len(), 3);
    let said = rotated[0].to_string();
    assert!(said.contains(&id) && !said.contains("wg_live_"), "{said}");
}

#[test]
fn a_rotation_that_nobody_was_shown_is_taken_back() {
    let world = World::prepared();
    let id = id_of(&world, "reader");
    let before = ok(&world.weirgate, &["client", "list", "--json"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .args(["client", "key", "rotate", &id, "--overlap", "0", "--expires", "1d"])
        .arg("--data-dir")
        .arg(world.weirgate.data_dir())
        .stdout(writer)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("goes on as before"), "{said}");
    let after = ok(&world.weirgate, &["client", "list", "--json"]);
    let key_of = |listed: &serde_json::Value| {
        let clients = listed["clients"].as_array().unwrap();
        let mut keys = clients.iter().flat_map(|one| one["keys"].as_array().unwrap().clone());
        keys.find(|key| key["id"] == id.as_str()).unwrap()
    };
    assert_eq!(key_of(&before), key_of(&after));
    let all = after.to_string();
    assert_eq!(all.matches("\"revoked\"").count(), 1, "{all}");
}

//! `provider diff`: what a new description means for the grants in force, and its exit codes.

use crate::world::{GRANTS, World, binary, fails, text};
use serde_json::Value;
use testkit::{THING_DESCRIPTION, Weirgate};

const MORE_GRANTS: &str = r#"
[[grant]]
client = "stranger"
provider = "things"
purpose = "read everything"
expires = "2999-12-31"
allow = [{ object = "Thing", actions = ["read"], fields = ["*"] }]

[[grant]]
client = "stranger"
provider = "things"
purpose = "read what is nested"
expires = "2999-12-31"
allow = [{ object = "Thing", actions = ["read"], fields = ["nested"], operations = ["get_thing"] }]
"#;

fn world() -> World {
    let world = World::prepared();
    world.apply(&format!("{GRANTS}{MORE_GRANTS}"));
    world
}

/// The description after replacements, each of which must find its text.
fn changed(replacements: &[(&str, &str)]) -> String {
    let mut text = THING_DESCRIPTION.to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "no {from}");
        text = text.replace(from, to);
    }
    text
}

/// Compares, expecting an exit code; yields the report.
fn diff(weirgate: &Weirgate, exit: i32, old: &str, new: &str, more: &[&str]) -> Value {
    let new = weirgate.file("new.yaml", new).unwrap();
    let mut args = vec!["provider", "diff", old, &new, "--json"];
    args.extend_from_slice(more);
    let output = weirgate.run(&args, b"").unwrap();
    assert_eq!(output.status, Some(exit), "{args:?}: {}{}", output.out(), output.err());
    output.json().unwrap_or_else(|error| panic!("{error}: {}", output.out()))
}

/// The words of a grant's effects, by its purpose.
fn effects(report: &Value, purpose: &str) -> Vec<String> {
    let grants = report["grants"].as_array().unwrap();
    let grant = grants.iter().find(|grant| grant["purpose"] == purpose);
    grant.map_or_else(Vec::new, |grant| {
        let all = grant["effects"].as_array().unwrap().iter();
        all.map(|one| format!("{} {}", text(one, "level"), text(one, "words"))).collect()
    })
}

#[test]
fn nothing_new_is_no_finding() {
    let world = world();
    // A folder of the provider's name is not meant.
    std::fs::create_dir(world.weirgate.home().join("things")).unwrap();
    let report = diff(&world.weirgate, 0, "things", THING_DESCRIPTION, &["--fail-on", "info"]);
    assert_eq!(report["changes"].as_array().unwrap().len(), 0, "{report}");
    assert_eq!(report["grants"].as_array().unwrap().len(), 0, "{report}");
    assert!(report["worst"].is_null());
}

#[test]
fn a_grant_is_told_what_it_loses() {
    let world = world();
    let new = changed(&[
        ("        name: { type: string }\n        secret", "        secret"),
        ("/things/{id}:\n    parameters", "/items/{id}:\n    parameters"),
        (
            "        - { name: name, in: query, description: A filter, schema: { type: string } }\n",
            "",
        ),
    ]);
    let report = diff(&world.weirgate, 6, "things", &new, &["--fail-on", "breaking"]);
    assert_eq!(report["worst"], "breaking");
    let told = effects(&report, "read things");
    for wanted in [
        "breaking loses Thing.name",
        "breaking loses Thing.name to write",
        "breaking loses GET /things/{id}",
        "breaking loses the parameter name",
        "attention may call GET /items/{id} once it is applied again",
    ] {
        assert!(told.iter().any(|one| one == wanted), "no {wanted} in {told:#?}");
    }
    // Who was not granted the name loses nothing of it.
    let told = effects(&report, "read what is nested");
    assert!(!told.iter().any(|one| one.contains("Thing.name")), "{told:#?}");
}

#[test]
fn a_grant_is_told_what_it_gains() {
    let world = world();
    let new = changed(&[(
        "            b: { type: string, description: Must not reach a caller }",
        "            b: { type: string, description: Must not reach a caller }\n            \
         email: { type: string }\n            iban: { type: string }",
    )]);
    let report = diff(&world.weirgate, 6, "things", &new, &[]);
    assert_eq!(report["worst"], "attention");
    // What is named whole contains what is declared in it, but for what is sensitive.
    let told = effects(&report, "read what is nested");
    assert_eq!(told, ["attention now yields Thing.nested.email (user.contact.email)"]);
    // What `*` became stands still until it is applied again.
    let told = effects(&report, "read everything");
    assert_eq!(
        told,
        ["attention `*` now yields Thing.nested.email (user.contact.email), if that is what its \
          file says, when it is applied again"]
    );
    // Two fields by name are what they were.
    assert_eq!(effects(&report, "read things"), Vec::<String>::new());
    let kinds: Vec<&str> = report["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["sensitive_field_added", "field_added"]);
    assert_eq!(diff(&world.weirgate, 0, "things", &new, &["--fail-on", "breaking"]), report);
}

#[test]
fn a_field_that_became_anything_is_wider_than_granted() {
    let world = world();
    let new = changed(&[("            a: { type: string }", "            a: { type: object }")]);
    let report = diff(&world.weirgate, 6, "things", &new, &[]);
    let told = effects(&report, "read things");
    let wanted = "attention yields Thing.nested.a whole, wider than granted: it was string, and is \
                  free-form";
    assert!(told.iter().any(|one| one == wanted), "{told:#?}");
}

#[test]
fn a_field_that_writes_need_now_is_told() {
    let world = world();
    let new = changed(&[
        (
            "required: [id, name, secret, nested, list]",
            "required: [id, name, secret, nested, list, unit]",
        ),
        (
            "        id: { type: string }\n        name",
            "        id: { type: string }\n        unit: { type: string }\n        name",
        ),
    ]);
    let report = diff(&world.weirgate, 6, "things", &new, &["--fail-on", "breaking"]);
    let told = effects(&report, "read things");
    let wanted = "breaking Thing.unit to write is required now, and not granted";
    assert!(told.iter().any(|one| one == wanted), "{told:#?}");
}

#[test]
fn what_it_told_is_what_happens() {
    let mut world = world();
    let new = changed(&[(
        "        id: { type: string }\n        name: { type: string }\n",
        "        id: { type: string }\n",
    )]);
    let report = diff(&world.weirgate, 6, "things", &new, &[]);
    assert!(effects(&report, "read things").iter().any(|one| one == "breaking loses Thing.name"));
    world.serve();
    assert!(world.get("/things/1").json().unwrap()["name"].is_string());
    let file = world.weirgate.file("new.yaml", &new).unwrap();
    let (url, host) = (world.provider.url().to_owned(), world.provider.host_port().to_owned());
    let args = [
        "provider",
        "import",
        &file,
        "--name",
        "things",
        "--server",
        &url,
        "--allow-private-network",
        &host,
        "--json",
    ];
    crate::world::ok(&world.weirgate, &args);
    testkit::wait_until(std::time::Duration::from_secs(10), || {
        world.get("/things/1").json().is_ok_and(|thing| thing["name"].is_null())
    });
    // The grant still names the field: a description that has it again revives it.
    let report = diff(&world.weirgate, 6, "things", THING_DESCRIPTION, &[]);
    let told = effects(&report, "read things");
    assert!(told.iter().any(|one| one == "attention now yields Thing.name"), "{told:#?}");
    world.stop();
}

#[test]
fn files_are_compared_without_a_data_folder() {
    let weirgate = binary();
    let old = weirgate.file("old.yaml", THING_DESCRIPTION).unwrap();
    let new = changed(&[("  /things/{id}/photo:", "  /things/{id}/picture:")]);
    let report = diff(&weirgate, 6, &old, &new, &[]);
    assert!(report["grants"].is_null());
    let kinds: Vec<&Value> =
        report["changes"].as_array().unwrap().iter().map(|change| &change["kind"]).collect();
    assert_eq!(kinds, ["operation_gone", "operation_added"]);
    // From standard input, for people, without a finding at this level.
    let args = ["provider", "diff", &old, "-"];
    let output = weirgate.run(&args, new.as_bytes()).unwrap();
    assert_eq!(output.status, Some(6));
    assert!(output.out().contains("breaking   operation_gone"), "{}", output.out());
    assert!(!output.out().contains("Grants"), "{}", output.out());
}

#[test]
fn wrong_input_is_told_apart() {
    let world = world();
    let weirgate = &world.weirgate;
    let new = weirgate.file("new.yaml", THING_DESCRIPTION).unwrap();
    let said = fails(weirgate, 3, &["provider", "diff", "nobody", &new], b"");
    assert!(said.contains("no provider of the name that was given"), "{said}");
    let said = fails(weirgate, 3, &["provider", "diff", "gone.yaml", &new], b"");
    assert!(said.contains("there is no file of the name that OLD gives"), "{said}");
    let said = fails(weirgate, 2, &["provider", "diff", "things", &new, "--fail-on", "all"], b"");
    assert!(said.contains("info, attention or breaking"), "{said}");
    let said = fails(weirgate, 2, &["provider", "diff", "things", "-"], b"<html>");
    assert!(said.contains("cannot be read"), "{said}");
}

//! `provider observe`: from an answer that is not described to one that passes, without a value.

use crate::world::{World, binary, code, fails, ok, ok_with, text};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Answer, THING_DESCRIPTION, wait_until};

const CANARY: &str = "canary-observed-7f21c9";

/// The description without the shape of one answer.
fn undescribed() -> String {
    let (before, after) = THING_DESCRIPTION.split_once("operationId: get_thing").unwrap();
    let schema =
        "application/json:\n              schema: { $ref: \"#/components/schemas/Thing\" }";
    assert!(after.contains(schema));
    format!("{before}operationId: get_thing{}", after.replacen(schema, "application/json: {}", 1))
}

fn import(world: &World, description: &str, overlay: Option<&str>) {
    let file = world.weirgate.file("things.yaml", description).unwrap();
    let (url, host) = (world.provider.url().to_owned(), world.provider.host_port().to_owned());
    let mut args = vec![
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
    args.extend(overlay.iter().flat_map(|overlay| ["--overlay", overlay]));
    ok(&world.weirgate, &args);
}

fn grant(world: &World, object: &str) {
    world.apply(&format!(
        "[[grant]]\nclient = \"reader\"\nprovider = \"things\"\npurpose = \"look\"\n\
         expires = \"2999-12-31\"\nallow = [{{ object = \"{object}\", actions = [\"read\"], \
         fields = [\"id\", \"nested.a\"] }}]\n"
    ));
}

#[test]
fn an_undescribed_answer_passes_after_the_proposal_was_taken() {
    let mut world = World::prepared();
    import(&world, &undescribed(), None);
    grant(&world, "Thing");
    let sample = json!({"id": CANARY, "name": CANARY, "secret": CANARY, "seen": null,
        "nested": {"a": CANARY, "b": CANARY}, "list": [{"label": CANARY, "code": CANARY}]});
    let sample = world.weirgate.file("sample.json", sample.to_string()).unwrap();
    let args = ["provider", "observe", "things", "get_thing", &sample];
    let output = world.weirgate.run(&args, b"").unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    assert!(!output.out().contains(CANARY) && !output.err().contains(CANARY));
    assert!(output.err().contains("only null or emptiness was seen: seen"), "{}", output.err());
    let overlay = world.weirgate.file("overlay.json", output.out()).unwrap();
    let told = ok(&world.weirgate, &[&args[..], &["--json"]].concat());
    assert_eq!(told["overlay"], serde_json::from_str::<Value>(&output.out()).unwrap());
    let object = text(&told, "object");
    let fields: Vec<&str> = told["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["path"].as_str().unwrap())
        .collect();
    assert!(fields.contains(&"nested.a") && fields.contains(&"list[].code"), "{fields:?}");
    // Nothing has changed yet.
    world.serve();
    assert_eq!(code(&world.get("/things/1")), "not_granted");
    import(&world, &undescribed(), Some(&overlay));
    grant(&world, &object);
    let answer = wait_until(Duration::from_secs(10), || {
        let answer = world.get("/things/1");
        (answer.status == 200).then_some(answer)
    });
    let members: Vec<String> =
        answer.json().unwrap().as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["id", "nested"]);
    // What was there stays where more is proposed; the same again is nothing new.
    let more = world.weirgate.file("more.json", r#"{"seen": {"at": "x"}}"#).unwrap();
    let args = ["provider", "observe", "things", "GET /things/{id}", &sample];
    let said = fails(&world.weirgate, 2, &args, b"");
    assert!(said.contains("so already"), "{said}");
    let again = ok(&world.weirgate, &[&args[..], &[&more, "--json"]].concat());
    assert_eq!(again["samples"], 2);
    assert_eq!(again["overlay"]["actions"].as_array().unwrap().len(), 2);
    let paths: Vec<&Value> =
        again["fields"].as_array().unwrap().iter().map(|one| &one["path"]).collect();
    assert!(paths.contains(&&json!("seen.at")) && paths.contains(&&json!("id")), "{paths:?}");
    world.stop();
}

/// What a running server sees of answers that it refuses, and only where the overlay says so.
#[test]
fn a_server_learns_shapes_of_answers_that_it_refuses() {
    let mut world = World::prepared();
    let overlay = |world: &World, extra: &str| {
        let update = format!("{{x-weirgate-object: Raw{extra}}}");
        let target = "$.paths['/things/{id}'].get";
        let text = format!(
            "overlay: 1.0.0\ninfo: {{title: o, version: '1'}}\nactions:\n- target: {target}\n  \
             update: {update}\n"
        );
        world.weirgate.file("overlay.yaml", text).unwrap()
    };
    import(&world, &undescribed(), Some(&overlay(&world, "")));
    world.apply(
        "[[grant]]\nclient = \"reader\"\nprovider = \"things\"\npurpose = \"look\"\n\
         expires = \"2999-12-31\"\nallow = [{ object = \"Raw\", actions = [\"read\"] }]\n",
    );
    world.serve();
    world.provider.on(
        "GET /things/1",
        Answer::json(
            200,
            &json!({
                "id": CANARY, "nested": {"a": 7}, "by": {format!("{CANARY} 1"): true}
            }),
        ),
    );
    let observe = ["provider", "observe", "things", "get_thing"];
    assert_eq!(code(&world.get("/things/1")), "answer_undescribed");
    std::thread::sleep(Duration::from_millis(1_500));
    let said = fails(&world.weirgate, 2, &observe, b"");
    assert!(said.contains("no such answer was seen"), "{said}");

    import(&world, &undescribed(), Some(&overlay(&world, ", x-weirgate-observe: true")));
    let told = wait_until(Duration::from_secs(10), || {
        // While the import is followed, calls are refused in other words.
        assert_ne!(world.get("/things/1").status, 200);
        let output = world.weirgate.run(&[&observe[..], &["--json"]].concat(), b"").unwrap();
        (output.status == Some(0)).then(|| serde_json::from_str::<Value>(&output.out()).unwrap())
    });
    let has = |told: &Value, path: &str| {
        told["fields"].as_array().unwrap().iter().any(|one| one["path"] == path)
    };
    assert!(["by.*", "id", "nested.a"].iter().all(|path| has(&told, path)), "{told}");
    assert!(!told.to_string().contains("7f21c9"), "{told}");
    let shapes = world.weirgate.data_dir().join("observed");
    for file in std::fs::read_dir(&shapes).unwrap() {
        let kept = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!kept.contains("7f21c9"), "{kept}");
    }
    // More is learned from what comes later, also by the next server.
    let output = world.stop();
    assert!(!output.err().contains("7f21c9"), "{}", output.err());
    world.serve();
    world.provider.on("GET /things/1", Answer::json(200, &json!({"more": false})));
    wait_until(Duration::from_secs(10), || {
        // While the import is followed, calls are refused in other words.
        assert_ne!(world.get("/things/1").status, 200);
        let told = ok(&world.weirgate, &[&observe[..], &["--json"]].concat());
        (has(&told, "more") && has(&told, "by.*")).then_some(())
    });
    // The proposal is in force once it is imported.
    let output = world.weirgate.run(&observe, b"").unwrap();
    let proposed = world.weirgate.file("proposed.json", output.out()).unwrap();
    import(&world, &undescribed(), Some(&proposed));
    world.apply(
        "[[grant]]\nclient = \"reader\"\nprovider = \"things\"\npurpose = \"look\"\n\
         expires = \"2999-12-31\"\nallow = [{ object = \"Raw\", actions = [\"read\"], \
         fields = [\"more\"] }]\n",
    );
    wait_until(Duration::from_secs(10), || {
        let answer = world.get("/things/1");
        (answer.status == 200 && answer.json().unwrap() == json!({"more": false})).then_some(())
    });
    world.stop();
}

#[test]
fn wrong_input_is_told_without_a_value() {
    let weirgate = binary();
    let description = weirgate.file("things.yaml", undescribed()).unwrap();
    let told = ok_with(
        &weirgate,
        &["provider", "observe", &description, "get_thing", "-", "--json"],
        br#"{"id": 1}"#,
    );
    assert_eq!(told["fields"][0]["path"], "id");
    for (operation, sample, wanted) in [
        ("get_thing", format!("{{\"{CANARY}\": \"{CANARY}\""), "sample 1 cannot be learned from"),
        ("get_thing", "null".to_owned(), "nothing is in the samples"),
        ("get_things", r#"{"id": 1}"#.to_owned(), "Did you mean `get_thing`?"),
    ] {
        let args = ["provider", "observe", &description, operation, "-"];
        let said = fails(&weirgate, 2, &args, sample.as_bytes());
        assert!(said.contains(wanted) && !said.contains(CANARY), "{said}");
    }
    let args = ["provider", "observe", &description, "get_thing", "-", "--status", "418"];
    let said = fails(&weirgate, 2, &args, br#"{"id": 1}"#);
    assert!(said.contains("GET /things/{id} does not declare the status"), "{said}");
}

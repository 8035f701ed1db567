//! Roles, policies, and what they and grants decide: by the command line on the data folder.

use crate::world::{World, binary, fails, ok, text};
use serde_json::{Value, json};

const ROLE: &str = "[[role]]\nname = \"reviewer\"\nacts = [\"audit.read\", \"user.read\"]\n";
const POLICY: &str = "forbid (principal, action == Action::\"audit.read\", resource)\nunless { \
                      context has source && context.source.isInRange(ip(\"192.0.2.0/24\")) };\n";

#[test]
fn roles_and_policies_come_from_files_and_go() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let built_in = ok(&weirgate, &["role", "list", "--json"]);
    assert_eq!(built_in["roles"].as_array().unwrap().len(), 5);
    let acts = ok(&weirgate, &["role", "list", "--acts", "--json"]);
    assert!(acts["acts"].as_array().unwrap().iter().any(|one| one["act"] == "audit.read"));
    weirgate.file("rules/roles.toml", ROLE).unwrap();
    let policy = weirgate.file("rules/office.cedar", POLICY).unwrap();
    assert_eq!(ok(&weirgate, &["policy", "check", &policy, "--json"])["problems"], json!([]));
    let dir = weirgate.home().join("rules").display().to_string();
    let plan = ok(&weirgate, &["apply", &dir, "--dry-run", "--json"]);
    assert_eq!(plan["rules"][0]["name"], "reviewer");
    assert_eq!(plan["rules"][0]["words"], json!(["permits audit.read, user.read"]));
    assert_eq!(plan["rules"][1]["of"], "policy");
    assert_eq!(ok(&weirgate, &["policy", "list", "--json"])["policies"], json!([]));
    ok(&weirgate, &["apply", &dir, "--json"]);
    assert_eq!(ok(&weirgate, &["apply", &dir, "--json"])["rules"], json!([]), "nothing is left");
    assert_eq!(ok(&weirgate, &["policy", "show", "office", "--json"])["text"], POLICY);

    let grace = "grace@example.com";
    ok(&weirgate, &["user", "invite", grace, "--role", "reviewer", "--json"]);
    let invited = ok(&weirgate, &["explain", "person", grace, "--json"]);
    let decisions = |all: &Value| -> Vec<(String, String)> {
        let all = all["acts"].as_array().unwrap().iter();
        all.map(|one| (text(one, "act"), text(one, "decision"))).collect()
    };
    assert!(
        decisions(&invited).iter().all(|(_, decision)| decision == "denied"),
        "who has not come yet may do nothing"
    );
    let roles = ok(&weirgate, &["role", "list", "--json"]);
    let own = roles["roles"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&own["name"], &own["people"]), (&json!("reviewer"), &json!(1)));

    // What changed, in the log: by whom, with the text.
    let entries = ok(&weirgate, &["audit", "list", "--json"]).to_string();
    for said in ["role.add", "policy.add", "isInRange", "role reviewer", "policy office"] {
        assert!(entries.contains(said), "{said}");
    }
    ok(&weirgate, &["policy", "remove", "office", "--json"]);
    let gone = ok(&weirgate, &["role", "remove", "reviewer", "--json"]);
    assert_eq!(
        gone["words"],
        json!(["no longer permits audit.read, user.read", "1 person has it"])
    );
    assert_eq!(ok(&weirgate, &["policy", "list", "--json"])["policies"], json!([]));
    assert_eq!(ok(&weirgate, &["audit", "verify", "--json"])["open_intents"], 0);
}

#[test]
fn what_makes_no_sense_of_rules_is_refused() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let wrong = weirgate
        .file("wrong.cedar", "forbid (principal,\n  action == Action::\"nope\", resource);")
        .unwrap();
    let missing = weirgate.home().join("none.cedar").display().to_string();
    for (code, args, says) in [
        (6, &["policy", "check", &wrong][..], "2:13: "),
        (3, &["policy", "check", &missing], "cannot be read"),
        (3, &["policy", "show", "none"], "policy list"),
        (3, &["policy", "remove", "none"], "policy list"),
        (3, &["role", "remove", "auditor"], "role list"),
        (3, &["role", "remove", "-"], "role list"),
        (3, &["explain", "person", "nobody@example.com"], "user list"),
        (3, &["explain", "field", "none", "Thing.name"], "provider list"),
    ] {
        let told = fails(&weirgate, code, args, b"");
        assert!(told.contains(says), "{args:?}: {told}");
    }
    ok(&weirgate, &["user", "invite", "a@example.com", "--role", "auditor", "--json"]);
    let told =
        fails(&weirgate, 2, &["explain", "person", "a@example.com", "--act", "audit.raed"], b"");
    assert!(told.contains("audit.read"), "{told}");
    let schema = ok(&weirgate, &["policy", "schema", "--json"]);
    assert!(text(&schema, "schema").contains("action \"audit.read\""));
}

#[test]
fn who_can_see_a_field_is_told() {
    let world = World::prepared();
    let weirgate = &world.weirgate;
    let seen = |field: &str| ok(weirgate, &["explain", "field", "things", field, "--json"]);
    let name = seen("Thing.name");
    assert_eq!(name["seen_by"].as_array().unwrap().len(), 1, "{name}");
    let way = &name["seen_by"][0];
    assert_eq!((&way["client"], &way["keys_in_force"]), (&json!("reader"), &json!(1)));
    let reads = way["reads"].to_string();
    assert!(reads.contains("GET /things") && reads.contains("GET /things/{id}"), "{reads}");
    assert!(way["writes"].to_string().contains("POST /things"), "{way}");
    // Readable, and not to be written.
    let id = seen("Thing.id");
    assert!(!id["seen_by"][0]["reads"].as_array().unwrap().is_empty(), "{id}");
    assert_eq!(id["seen_by"][0]["writes"], json!([]));
    let secret = seen("Thing.secret");
    assert_eq!(secret["seen_by"], json!([]), "{secret}");
    assert_eq!(seen("Thing.list[].label")["seen_by"].as_array().unwrap().len(), 1);
    assert_eq!(seen("Thing.nested.b")["seen_by"], json!([]));
    let told = fails(weirgate, 3, &["explain", "field", "things", "Thing.nmae"], b"");
    assert!(told.contains("Thing.name"), "{told}");
    // A grant that has gone shows nothing any more; without one, nobody sees anything.
    world.apply("");
    assert_eq!(seen("Thing.name")["seen_by"], json!([]));
    let grants = ok(weirgate, &["grant", "list", "--json"]);
    assert_eq!(grants["grants"], json!([]));
    world.apply(crate::world::GRANTS);
    let grants = ok(weirgate, &["grant", "list", "--client", "reader", "--json"]);
    assert_eq!(grants["grants"][0]["allow"][0]["object"], "Thing");
    assert_eq!(
        ok(weirgate, &["grant", "list", "--client", "stranger", "--json"])["grants"],
        json!([])
    );
}

/// What grants allow and a policy forbids: by what a call is, when and from where it comes, and by the
/// category of a field; from the next second on, on calls under way too.
#[test]
fn policies_take_from_calls_what_grants_allow() {
    let mut world = World::prepared();
    world.serve();
    let apply = |world: &World, policies: &[(&str, &str)]| {
        let dir = world.weirgate.home().join("rules");
        let _ = std::fs::remove_dir_all(&dir);
        for (name, text) in policies {
            world.weirgate.file(&format!("rules/{name}.cedar"), text).unwrap();
        }
        ok(&world.weirgate, &["apply", &dir.display().to_string(), "--json"]);
    };
    let wait = |wanted: &dyn Fn() -> bool| {
        testkit::wait_until(std::time::Duration::from_secs(5), wanted);
    };
    let answer = world.get("/things/1");
    assert_eq!(answer.status, 200);
    let name = answer.json().unwrap()["name"].clone();
    assert!(name.is_string());
    // An operation at any moment; others stay.
    apply(
        &world,
        &[(
            "no-lists",
            "forbid (principal, action == Action::\"call.read\", resource) when \
        { resource.operation == \"list_things\" && resource.provider == \"things\" };",
        )],
    );
    wait(&|| world.get("/things").status == 403);
    let refused = world.get("/things");
    assert_eq!(crate::world::code(&refused), "policy_forbids");
    assert_eq!(world.get("/things/1").status, 200);
    let seen = ok(&world.weirgate, &["explain", "field", "things", "Thing.name", "--json"]);
    let reads = seen["seen_by"][0]["reads"].to_string();
    assert!(reads.contains("GET /things/{id}") && !reads.contains("\"GET /things\""), "{reads}");
    // From elsewhere alone, which is not known here to be where this caller is; a client by its name.
    let local = "forbid (principal == Client::\"reader\", action in [Action::\"call.read\", \
        Action::\"call.update\"], resource) unless { context has source && context.source.isInRange(ip(\"RANGE\")) };";
    apply(&world, &[("office", &local.replace("RANGE", "192.0.2.0/24"))]);
    wait(&|| world.get("/things/1").status == 403);
    assert_eq!(
        world.get("/things").status,
        403,
        "the other policy is gone, this one is about all reads"
    );
    apply(&world, &[("office", &local.replace("RANGE", "127.0.0.0/8"))]);
    wait(&|| world.get("/things/1").status == 200);
    assert_eq!(world.get("/things").status, 200);
    // At any hour of any day: what depends on the moment is asked at the call.
    apply(
        &world,
        &[(
            "never",
            "forbid (principal is Client, action in [Action::\"call.read\"], resource) \
        when { context.hour >= 0 };",
        )],
    );
    wait(&|| world.get("/things/1").status == 403);
    // A category of fields: the call passes, without them.
    apply(
        &world,
        &[(
            "no-names",
            "forbid (principal, action == Action::\"field.read\", resource) when \
        { resource.path == \"name\" };",
        )],
    );
    wait(&|| world.get("/things/1").status == 200);
    let answer = world.get("/things/1");
    assert_eq!(answer.json().unwrap()["id"], "1");
    assert!(answer.json().unwrap().get("name").is_none(), "{}", answer.text());
    let withheld = answer.header("weirgate-fields-withheld").unwrap_or_default().to_owned();
    assert!(withheld.split(", ").any(|one| one == "name"), "{withheld}");
    let seen = ok(&world.weirgate, &["explain", "field", "things", "Thing.name", "--json"]);
    assert_eq!(seen["seen_by"][0]["reads"], json!([]), "{seen}");
    ok(&world.weirgate, &["policy", "remove", "no-names", "--json"]);
    wait(&|| world.get("/things/1").json().is_ok_and(|body| body["name"] == name));
    // A call that is under way when a policy takes it away ends unfinished.
    let entries = ok(&world.weirgate, &["audit", "list", "--limit", "500", "--json"]).to_string();
    assert!(entries.contains("policy_forbids"), "refusals are in the log");
}

/// Keys and grants that nobody used are named; what was used is not.
/// Which granted fields are ever there is noted by the gateway, and what never is, is named.
#[test]
fn fields_that_are_never_there_are_named() {
    let mut world = World::prepared();
    world.serve();
    let advise = |world: &World| {
        let found = ok(&world.weirgate, &["advise", "--days", "1", "--json"]);
        let unused = &found["grants"][0]["unused"];
        let texts = unused.as_array().into_iter().flatten();
        let texts: Vec<String> = texts.map(|one| one.as_str().unwrap().to_owned()).collect();
        (texts, found["fields_since"].clone())
    };
    let part = json!({"id": "1", "name": "n", "secret": "s", "list": [{"label": "l"}]});
    world.provider.on("GET /things/1", testkit::Answer::json(200, &part));
    assert_eq!(world.get("/things/1").status, 200);
    testkit::wait_until(std::time::Duration::from_secs(20), || {
        (!advise(&world).1.is_null()).then_some(())
    });
    // It is not known for a day yet: nothing is said of fields.
    assert!(advise(&world).0.iter().all(|one| !one.contains('.')), "{:?}", advise(&world).0);
    let database = world.weirgate.data_dir().join("weirgate.db");
    let earlier = "UPDATE field_use_begun SET begun_at = begun_at - 100000000000";
    testkit::sqlite(&database, &[earlier]).unwrap();
    let is_named =
        |world: &World, field: &str| advise(world).0.contains(&format!("read Thing.{field}"));
    testkit::wait_until(std::time::Duration::from_secs(20), || {
        (!is_named(&world, "name")).then_some(())
    });
    assert!(is_named(&world, "nested.a"), "{:?}", advise(&world));
    assert!(!is_named(&world, "list[].label") && !is_named(&world, "id"));
    assert!(!advise(&world).0.iter().any(|one| one.contains("secret")), "it is not granted");
    // It comes, and is named no more; what is written is told apart from what is read.
    let whole = json!({"id": "1", "name": "n", "nested": {"a": "a", "b": "b"}, "list": []});
    world.provider.on("GET /things/1", testkit::Answer::json(200, &whole));
    assert_eq!(world.get("/things/1").status, 200);
    testkit::wait_until(std::time::Duration::from_secs(20), || {
        (!is_named(&world, "nested.a")).then_some(())
    });
    assert_eq!(world.post("/things", &json!({"name": "Ada"})).status, 201);
    testkit::wait_until(std::time::Duration::from_secs(20), || {
        let named = advise(&world).0;
        let has = |field: &str| named.contains(&format!("create Thing.{field}"));
        (has("nested.a") && !has("name")).then_some(())
    });
    world.stop();
}

#[test]
fn what_nobody_used_is_named() {
    let mut world = World::prepared();
    let advise =
        |world: &World, days: &str| ok(&world.weirgate, &["advise", "--days", days, "--json"]);
    let idle = advise(&world, "1");
    assert_eq!((&idle["calls"], &idle["grants"][0]["whole"]), (&json!(0), &json!(true)), "{idle}");
    assert_eq!(idle["grants"][0]["young"], true);
    assert_eq!(advise(&world, "0")["grants"][0]["young"], false);
    // A key that was just made had no time to be used; looking back over nothing, it had.
    assert_eq!(idle["keys"], json!([]));
    assert_eq!(advise(&world, "0")["keys"].as_array().unwrap().len(), 2);
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    assert_eq!(world.post("/things", &json!({"name": "Ada"})).status, 201);
    testkit::wait_until(std::time::Duration::from_secs(5), || advise(&world, "1")["calls"] == 2);
    let used = advise(&world, "1");
    let grant = &used["grants"][0];
    assert_eq!(grant["whole"], false);
    assert_eq!(grant["unused"], json!(["delete Thing", "update Thing"]), "{used}");
    world.send("DELETE", "/things/1", &[], b"");
    world.send(
        "PATCH",
        "/things/1",
        &[("Content-Type", "application/json")],
        b"{\"name\":\"Bob\"}",
    );
    world.send("PUT", "/things/1", &[("Content-Type", "application/json")], b"{\"name\":\"Bob\"}");
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        advise(&world, "1")["grants"] == json!([])
    });
}

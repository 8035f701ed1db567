//! Descriptions that are imported anew, and overlays that open what would be closed without them.

use crate::world::{World, code, fails, ok};
use serde_json::{Value, json};
use testkit::{FaultyProvider, THING_DESCRIPTION, client};

const NESTED: &str = "        nested:\n          type: object\n          required: [a, b]\n          \
                      properties:\n            a: { type: string }\n            b: { type: string, \
                      description: Must not reach a caller }\n";

fn described(nested: &str) -> String {
    assert!(THING_DESCRIPTION.contains(NESTED));
    THING_DESCRIPTION.replace(NESTED, &format!("        nested: {nested}\n"))
}

fn import(world: &World, description: &str, overlay: Option<&Value>) -> Value {
    let file = world.weirgate.file("new.yaml", description).unwrap();
    let overlay = overlay.map(|one| world.weirgate.file("overlay.json", one.to_string()).unwrap());
    let mut args = vec!["provider", "import", &file, "--name", "things", "--server"];
    args.extend([world.provider.url(), "--allow-private-network", world.provider.host_port()]);
    args.extend(overlay.iter().flat_map(|file| ["--overlay", file.as_str()]));
    args.push("--json");
    ok(&world.weirgate, &args)
}

fn dry_run(world: &World) -> Value {
    let dir = world.weirgate.home().join("grants").display().to_string();
    ok(&world.weirgate, &["apply", &dir, "--dry-run", "--json"])
}

fn grants(fields: &str) -> String {
    format!(
        "[[grant]]\nclient = \"reader\"\nprovider = \"things\"\npurpose = \"p\"\nexpires = \
         \"2999-12-31\"\nallow = [{{ object = \"Thing\", actions = [\"read\"], fields = [{fields}] }}]\n"
    )
}

/// The thing as the running server lets it through, once it has followed.
fn seen(world: &World, wanted: &Value) {
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        let answer: client::Response = world.get("/things/1");
        answer.status == 200 && answer.json().unwrap() == *wanted
    });
}

#[test]
fn a_description_that_is_imported_anew_widens_no_grant() {
    let mut world = World::prepared();
    import(&world, &described("{ type: string }"), None);
    let fields = grants("\"id\", \"name\", \"nested\"");
    world.apply(&fields);
    world.serve();
    // The provider sends an object where a text was declared.
    seen(&world, &json!({"id": "1", "name": world.get("/things/1").json().unwrap()["name"]}));
    let name = world.get("/things/1").json().unwrap()["name"].clone();
    let imported = import(&world, &described("{ type: object }"), None);
    assert_eq!(imported["replaced"], true);
    assert_eq!(
        imported["notices"],
        json!(["reader, to p: Thing.nested leads to more than was granted, which is withheld: \
                nested (free-form object); apply again to accept it"])
    );
    // Once the new description is in force, its other change shows, and nothing else.
    let renamed = described("{ type: object }").replace("        name: { type: string }\n", "");
    let imported = import(&world, &renamed, None);
    assert_eq!(imported["notices"].as_array().unwrap().len(), 2, "{imported}");
    assert_eq!(imported["notices"][0], "reader, to p: Thing.name is gone");
    seen(&world, &json!({"id": "1"}));
    import(&world, &described("{ type: object }"), None);
    seen(&world, &json!({"id": "1", "name": name}));
    let plan = dry_run(&world);
    assert_eq!(
        plan["changes"][0]["words"],
        json!(["accepts that Thing.nested leads to more: nested (free-form object)"])
    );
    world.apply(&fields);
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        world.get("/things/1").json().unwrap()["nested"]["a"] == "open"
    });
    assert_eq!(dry_run(&world)["changes"], json!([]));
}

#[test]
fn an_operation_that_takes_anothers_name_is_not_allowed() {
    let mut world = World::prepared();
    world.apply(&grants("\"id\"").replace("fields =", "operations = [\"get_thing\"], fields ="));
    world.serve();
    let statuses = |world: &World| (world.get("/things/1").status, world.get("/things").status);
    assert_eq!(statuses(&world), (200, 403));
    let swapped = THING_DESCRIPTION
        .replace("operationId: get_thing", "operationId: x")
        .replace("operationId: list_things", "operationId: get_thing");
    let imported = import(&world, &swapped, None);
    assert_eq!(
        imported["notices"],
        json!(["reader, to p: the operation get_thing is another than was granted, and is not \
                allowed: GET /things; apply again to accept it"])
    );
    testkit::wait_until(std::time::Duration::from_secs(5), || statuses(&world) == (403, 403));
    let plan = dry_run(&world);
    assert_eq!(
        plan["changes"][0]["words"],
        json!([
            "accepts that the operation get_thing is GET /things now",
            "lets through beside the object of GET /things: next (a cursor or link) in 200, total (a \
             count) in 200"
        ])
    );
}

#[test]
fn what_an_overlay_opens_is_told() {
    let world = World::prepared();
    let label = |path: &str, label: Value| {
        json!({"target": format!("$.components.schemas.Thing.properties.{path}"),
               "update": {"x-weirgate-label": label}})
    };
    let overlay = json!({"overlay": "1.1.0", "info": {"title": "o", "version": "1"}, "actions": [
        {"target": "$.paths['/things'].post", "update": {"x-weirgate-action": "read"}},
        {"target": "$.paths['/things/{id}'].delete", "update": {"x-weirgate-action": "read"}},
        label("secret", json!({"category": "user.contact", "sensitive": false})),
        label("name", json!("user.finansial")),
    ]});
    import(&world, THING_DESCRIPTION, Some(&overlay));
    let shown = ok(&world.weirgate, &["provider", "show", "things", "--json"]);
    let codes: Vec<&str> = shown["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["unsafe_read", "unknown_label"]);
    let thing = shown["objects"].as_array().unwrap().iter().find(|one| one["name"] == "Thing");
    let fields = thing.unwrap()["fields"].as_array().unwrap();
    let secret = fields.iter().find(|one| one["path"] == "secret").unwrap();
    assert_eq!(
        (secret["label"].as_str(), secret["lowered_from"].as_str()),
        (Some("user.contact"), Some("secret"))
    );
    world.weirgate.file("grants/grants.toml", grants("\"*\"")).unwrap();
    let plan = dry_run(&world);
    let notices: Vec<&str> =
        plan["notices"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(
        notices[0].ends_with(
            "`Thing.secret` is judged secret; the overlay says that it is not sensitive"
        )
    );
    assert!(notices[1].ends_with("`POST /things` counts as read, because the overlay says so"));
    let words = plan["changes"][0]["words"].to_string();
    assert!(!words.contains("Thing.name"), "{words}");
}

#[test]
fn a_vendor_cannot_make_reads_of_writes() {
    let world = World::prepared();
    let hostile = THING_DESCRIPTION.replace(
        "operationId: delete_thing",
        "operationId: delete_thing\n      x-weirgate-action: read",
    );
    import(&world, &hostile, None);
    let mut world = world;
    world.apply(&grants("\"id\""));
    world.serve();
    let answer = world.send("DELETE", "/things/1", &[], b"");
    assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"));
    assert!(world.provider.requests().is_empty());
}

#[test]
fn a_write_empties_no_container_of_which_a_part_is_granted() {
    let world = World::serving();
    for (body, name) in
        [(json!({"nested": null}), "nested"), (json!({"name": "n", "nested": null}), "nested")]
    {
        let answer = world.post("/things", &body);
        assert_eq!((answer.status, code(&answer).as_str()), (403, "field_not_granted"));
        assert_eq!(answer.json().unwrap()["field"], name);
    }
    assert!(world.provider.requests().is_empty());
    assert_eq!(world.post("/things", &json!({"name": "n", "nested": {"a": "x"}})).status, 201);
}

/// A search by POST is a read, and asks by what may be read only.
#[test]
fn a_post_that_is_a_read_sends_granted_fields_only() {
    let mut world = World::prepared();
    let overlay = json!({
        "overlay": "1.0.0", "info": {"title": "o", "version": "1"},
        "actions": [{"target": "$.paths['/things'].post", "update": {"x-weirgate-action": "read"}}],
    });
    import(&world, THING_DESCRIPTION, Some(&overlay));
    world.apply(&grants("\"id\", \"name\""));
    world.serve();
    let answer = world.post("/things", &json!({"name": "Ada"}));
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    assert_eq!(world.provider.last_request().unwrap().json().unwrap(), json!({"name": "Ada"}));
    world.provider.forget();
    let answer = world.post("/things", &json!({"name": "Ada", "secret": "x"}));
    assert_eq!((answer.status, code(&answer).as_str()), (403, "field_not_granted"));
    assert!(world.provider.requests().is_empty());
}

/// Records without a schema's name, read and made below a path.
fn records_below(path: &str, id: &str) -> String {
    let body = "content:\n            application/json:\n              schema:\n                type: \
                object\n                properties: { name: { type: string } }\n";
    format!(
        "  {path}/records:\n    parameters:\n      - {{ name: p, in: path, required: true, schema: {{ \
         type: string }} }}\n    get:\n      operationId: list_{id}\n      responses:\n        \"200\":\n          \
         description: ok\n          {body}    post:\n      operationId: make_{id}\n      requestBody:\n          \
         {body}      responses:\n        \"200\":\n          description: ok\n          {body}"
    )
}

fn with_paths(paths: &[String]) -> String {
    assert!(THING_DESCRIPTION.contains("\npaths:\n"));
    THING_DESCRIPTION.replace("\npaths:\n", &format!("\npaths:\n{}", paths.concat()))
}

/// The first place takes the short name, so that another description gives it to other data.
#[test]
fn a_name_that_moves_to_other_data_takes_no_grant_along() {
    let mut world = World::prepared();
    let buckets = records_below("/buckets/{p}", "b");
    let patients = records_below("/patients/{p}", "p");
    import(&world, &with_paths(std::slice::from_ref(&buckets)), None);
    let fields = grants("\"name\"")
        .replace("\"Thing\"", "\"Record\"")
        .replace("[\"read\"]", "[\"read\", \"create\"]");
    world.apply(&fields);
    world.serve();
    assert_ne!(world.get("/buckets/1/records").status, 403);
    let imported = import(&world, &with_paths(&[patients, buckets]), None);
    assert_eq!(
        imported["notices"],
        json!([
            "reader, to p: Record no longer reaches 2 operations: GET /buckets/{}/records, POST \
             /buckets/{}/records",
            "reader, to p: Record would reach 2 more operations: GET /patients/{}/records, POST \
             /patients/{}/records; withheld until it is applied again",
        ])
    );
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        let answer = world.get("/patients/1/records");
        answer.status == 403 && code(&answer) == "not_granted"
    });
    world.provider.forget();
    let answer = world.post("/patients/1/records", &json!({"name": "x"}));
    assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"));
    assert_eq!(world.get("/buckets/1/records").status, 403);
    assert!(world.provider.requests().is_empty());
    let plan = dry_run(&world);
    assert_eq!(
        plan["changes"][0]["words"],
        json!([
            "Record reaches 1 more operation: GET /patients/{}/records",
            "Record no longer reaches 1 operation: GET /buckets/{}/records",
            "Record reaches 1 more operation: POST /patients/{}/records",
            "Record no longer reaches 1 operation: POST /buckets/{}/records",
        ])
    );
    world.apply(&fields);
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        world.get("/patients/1/records").status != 403
    });
    assert_eq!(dry_run(&world)["changes"], json!([]));
}

/// A new way to an object is withheld too: nobody said yes to it.
#[test]
fn an_operation_that_came_later_is_withheld() {
    let mut world = World::prepared();
    world.apply(&grants("\"id\""));
    world.serve();
    let more = "  /archive/{id}:\n    parameters:\n      - { name: id, in: path, required: true, \
                schema: { type: string } }\n    get:\n      operationId: archived\n      \
                responses:\n        \"200\":\n          description: ok\n          content:\n            \
                application/json:\n              schema: { $ref: \"#/components/schemas/Thing\" }\n";
    let imported = import(&world, &with_paths(&[more.to_owned()]), None);
    assert_eq!(
        imported["notices"],
        json!([
            "reader, to p: Thing would reach 1 more operation: GET /archive/{}; withheld until \
                it is applied again"
        ])
    );
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        code(&world.get("/archive/1")) == "not_granted"
    });
    assert_eq!(world.get("/things/1").status, 200);
}

/// Neither a description nor an option that was forgotten moves credentials to another host.
#[test]
fn a_description_that_is_imported_anew_moves_no_credential() {
    let mut world = World::prepared();
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    let other = FaultyProvider::start().unwrap();
    let url = other.url();
    let described = THING_DESCRIPTION.replace("http://127.0.0.1:9", url);
    let file = world.weirgate.file("new.yaml", described).unwrap();
    let anew = ["provider", "import", &file, "--name", "things", "--json"];
    let imported = ok(&world.weirgate, &anew);
    let (server, host) = (world.provider.url(), world.provider.host_port());
    assert_eq!(
        imported["notices"],
        json!([
            format!("keeps the server that was named before: {server}"),
            format!("keeps the private addresses that were allowed before: {host}"),
        ])
    );
    let private = ["--allow-private-network", other.host_port()];
    let by_description = [&anew[..], &["--server-from-description"], &private].concat();
    let by_name = [&anew[..], &["--server", url], &private].concat();
    for moving in [&by_description, &by_name] {
        let said = fails(&world.weirgate, 5, moving, b"");
        assert!(said.contains(url) && said.contains(server), "{said}");
        assert!(said.contains("--accept-servers"), "{said}");
    }
    // Another path of the same host moves nothing.
    let path = format!("{server}/v2");
    let same_host = [&anew[..], &["--server", &path, "--allow-private-network", host]].concat();
    ok(&world.weirgate, &same_host);
    ok(&world.weirgate, &[&anew[..], &["--server", server]].concat());
    testkit::wait_until(std::time::Duration::from_secs(5), || world.get("/things/1").status == 200);
    assert!(other.requests().is_empty());
    ok(&world.weirgate, &[&by_description[..], &["--accept-servers"]].concat());
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        world.get("/things/1");
        !other.requests().is_empty()
    });
    // A change is in the log within a second, not at once.
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        let entries = world.entries();
        let replaced = entries.iter().rfind(|one| one["verb"] == "provider.replace").unwrap();
        replaced["details"].to_string().contains("other_hosts: accepted")
    });
}

/// While a new description is being read its callers are told to come again, and never that there is
/// no such connection, or no such right; whatever call is under way then.
#[test]
fn a_call_during_an_import_is_served_or_told_to_come_again() {
    let mut world = World::prepared();
    // Long enough to be read for a while.
    let more: String = (0..3_000)
        .map(|number| {
            format!("    More{number}:\n      type: object\n      properties:\n        field: {{ type: string }}\n")
        })
        .collect();
    let long = |round: usize| {
        let titled = THING_DESCRIPTION.replacen("title: ", &format!("title: {round} "), 1);
        assert_ne!(titled, THING_DESCRIPTION);
        assert!(titled.contains("\n  schemas:\n"));
        titled.replace("\n  schemas:\n", &format!("\n  schemas:\n{more}"))
    };
    world.serve();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (addr, path) = (world.addr, world.path("/things/1"));
    let bearer = format!("Bearer {}", world.key);
    let [served, told] = std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut counts = [0, 0];
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                let headers = [("Authorization", bearer.as_str())];
                let answer = client::get(addr, &path, &headers).unwrap();
                if answer.status == 200 {
                    counts[0] += 1;
                } else {
                    assert_eq!(
                        (answer.status, code(&answer).as_str(), answer.header("retry-after")),
                        (503, "provider_updating", Some("1"))
                    );
                    counts[1] += 1;
                }
            }
            counts
        });
        for round in 0..4 {
            import(&world, &long(round), None);
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        calls.join().unwrap()
    });
    assert!(served > 0 && told > 0, "{served} served, {told} told to come again");
    testkit::wait_until(std::time::Duration::from_secs(5), || world.get("/things/1").status == 200);
}

/// An overlay holds what the operator knows better than the vendor: it goes when that is said.
#[test]
fn an_overlay_stays_until_another_is_given_or_none_is_meant() {
    let world = World::prepared();
    let label = |category: &str| {
        json!({"overlay": "1.1.0", "info": {"title": "o", "version": "1"}, "actions": [
            {"target": "$.components.schemas.Thing.properties.name",
             "update": {"x-weirgate-label": category}}]})
    };
    let shown = |world: &World| {
        let shown = ok(&world.weirgate, &["provider", "show", "things", "--json"]);
        let objects = shown["objects"].as_array().unwrap().iter();
        let thing = objects.clone().find(|one| one["name"] == "Thing").unwrap().clone();
        let name = thing["fields"].as_array().unwrap().iter().find(|one| one["path"] == "name");
        name.unwrap()["label"].as_str().unwrap_or_default().to_owned()
    };
    let (health, contact) = ("user.health_and_medical", "user.contact");
    let before = shown(&world);
    assert_ne!(before, health);
    let first = import(&world, THING_DESCRIPTION, Some(&label(health)));
    let sum = first["overlay_sha256"].as_str().unwrap().to_owned();
    assert_eq!(shown(&world), health);
    // Named by neither the import nor the operator: it stays, and its labels with it.
    let anew = import(&world, &described("{ type: string }"), None);
    assert_eq!(anew["overlay_sha256"], sum.as_str());
    let kept = format!("keeps the overlay that is in force (SHA-256 {sum})");
    assert!(anew["notices"].as_array().unwrap().contains(&json!(kept)), "{anew}");
    assert_eq!(shown(&world), health);
    let other = import(&world, THING_DESCRIPTION, Some(&label(contact)));
    assert_ne!(other["overlay_sha256"], sum.as_str());
    assert_eq!(shown(&world), contact);
    // One that does not fit any more is no reason to go on without it.
    let without = THING_DESCRIPTION.replace("        name: { type: string }\n", "");
    let file = world.weirgate.file("without.yaml", &without).unwrap();
    let args = ["provider", "import", &file, "--name", "things"];
    let output = world.weirgate.run(&args, b"").unwrap();
    let said = output.out() + &output.err();
    assert!(said.contains("overlay") && !said.contains("standard input"), "{said}");
    // Dropped by name, with what it says.
    let file = world.weirgate.file("again.yaml", THING_DESCRIPTION).unwrap();
    let args = ["provider", "import", &file, "--name", "things", "--no-overlay", "--json"];
    let dropped = ok(&world.weirgate, &args);
    assert!(dropped["overlay_sha256"].is_null(), "{dropped}");
    assert!(dropped["notices"].to_string().contains("drops the overlay"), "{dropped}");
    assert_eq!(shown(&world), before);
    // So are private addresses that another takes the place of.
    let server = "https://things.example";
    let args = [&args[..5], &["--server", server, "--accept-servers"][..]].concat();
    let args = [&args[..], &["--allow-private-network", "10.0.0.1:443", "--json"]].concat();
    let moved = ok(&world.weirgate, &args);
    let gone = format!("allows these private addresses no longer: {}", world.provider.host_port());
    assert!(moved["notices"].as_array().unwrap().contains(&json!(gone)), "{moved}");
}

/// What a credential's place takes from no caller is not granted to one without a word.
#[test]
fn a_granted_parameter_that_is_a_credentials_place_is_told() {
    let world = World::prepared();
    let moved = THING_DESCRIPTION
        .replace("in: query, name: api_key", "in: query, name: Sort")
        .replace("in: header, name: X-Api-Key", "in: header, name: X-Thing-Key");
    assert!(moved.contains("name: Sort") && moved.contains("name: X-Thing-Key"));
    import(&world, &moved, None);
    let fields = grants("\"id\"").replace("fields =", "params = [\"name\", \"sort\"], fields =");
    world.weirgate.file("grants/grants.toml", fields).unwrap();
    let notices = dry_run(&world)["notices"].clone();
    let notices: Vec<&str> =
        notices.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].contains(
            "the query parameter `sort` is where the description puts the credential of `query`"
        ),
        "{notices:?}"
    );
}

/// A read at `/wages/{id}` with this schema of its answer.
fn wages(schema: &str) -> String {
    let path = format!(
        "  /wages/{{id}}:\n    parameters:\n      - {{ name: id, in: path, required: true, schema: {{ \
         type: string }} }}\n      - {{ name: page, in: query, schema: {{ type: integer }} }}\n    get:\n      \
         operationId: wage\n      responses:\n        \"200\":\n          \
         description: ok\n          content:\n            application/json:\n              schema: \
         {schema}\n"
    );
    with_paths(&[path])
}

fn wage_grants(object: &str, fields: &str) -> String {
    grants("\"id\", \"name\"").replace(
        "allow = [",
        &format!(
            "allow = [{{ object = \"{object}\", actions = [\"read\"], fields = [{fields}] }}, "
        ),
    )
}

/// What a client may read of one object says nothing of an operation that answers with it since.
#[test]
fn an_object_that_joins_another_operation_takes_no_grant_along() {
    const WAGE: &str = "{ type: object, properties: { id: { type: string } } }";
    let mut world = World::prepared();
    import(&world, &wages(WAGE), None);
    let fields = wage_grants("Wage", "\"id\"");
    world.apply(&fields);
    world.serve();
    world.provider.on("/wages/1", testkit::Answer::json(200, &json!({"id": "1", "name": "Ada"})));
    let seen = |world: &World, wanted: Value| {
        testkit::wait_until(std::time::Duration::from_secs(5), || {
            world.get("/wages/1").json().unwrap() == wanted
        });
    };
    seen(&world, json!({"id": "1"}));
    let either = format!("{{ oneOf: [{WAGE}, {{ $ref: \"#/components/schemas/Thing\" }}] }}");
    let imported = import(&world, &wages(&either), None);
    assert_eq!(
        imported["notices"],
        json!([
            "reader, to p: GET /wages/{} would let more through, which is withheld: the object \
                Thing in 200; apply again to accept it",
            "reader, to p: GET /wages/{} would take more, which is refused: pages by page; apply \
                again to accept it"
        ])
    );
    // Once another change of the description is in force, this one would be too.
    let more = wages(&either)
        .replace("  /things:\n", "  /later:\n    get: { responses: {} }\n  /things:\n");
    import(&world, &more, None);
    testkit::wait_until(std::time::Duration::from_secs(5), || world.get("/later").status == 403);
    assert_eq!(world.get("/wages/1").json().unwrap(), json!({"id": "1"}));
    assert_eq!(
        dry_run(&world)["changes"][0]["words"],
        json!([
            "accepts that GET /wages/{} lets more through: the object Thing in 200",
            "accepts that GET /wages/{} takes more: pages by page"
        ])
    );
    world.apply(&fields);
    seen(&world, json!({"id": "1", "name": "Ada"}));
    assert_eq!(dry_run(&world)["changes"], json!([]));
}

/// What a description begins to call paging is withheld until somebody says yes to it.
#[test]
fn members_that_begin_to_look_like_paging_are_withheld() {
    let around = |members: &str| {
        format!(
            "{{ type: object, properties: {{ data: {{ type: array, items: {{ $ref: \
             \"#/components/schemas/Thing\" }} }}{members} }} }}"
        )
    };
    let mut world = World::prepared();
    import(&world, &wages(&around(", next: { type: string }")), None);
    let fields = grants("\"id\"");
    world.apply(&fields);
    world.serve();
    let body = json!({"data": [{"id": "1"}], "next": "abc", "total": 7, "limit": 12000.5});
    world.provider.on("/wages/1", testkit::Answer::json(200, &body));
    let got = |world: &World| world.get("/wages/1").json().unwrap();
    assert_eq!(got(&world), json!({"data": [{"id": "1"}], "next": "abc"}));
    let members = ", next: { type: string }, total: { type: integer }, limit: { type: integer }";
    let more = wages(&around(members))
        .replace("  /things:\n", "  /later:\n    get: { responses: {} }\n  /things:\n");
    let imported = import(&world, &more, None);
    assert_eq!(
        imported["notices"],
        json!(["reader, to p: GET /wages/{} would let more through, which is withheld: limit (a \
                count) in 200, total (a count) in 200; apply again to accept it"])
    );
    testkit::wait_until(std::time::Duration::from_secs(5), || world.get("/later").status == 403);
    assert_eq!(got(&world), json!({"data": [{"id": "1"}], "next": "abc"}));
    world.apply(&fields);
    // An amount is no count, whatever it is called and declared.
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        got(&world) == json!({"data": [{"id": "1"}], "next": "abc", "total": 7})
    });
}

/// Operations on users as they were when they were granted, or as they are later: each can be asked in
/// one more way, passes one more thing unseen, or makes more of one of its fields.
fn users(is_later: bool) -> String {
    let text = json!({"type": "string"});
    let user = json!({"$ref": "#/components/schemas/User"});
    let json_of = |schema: &Value| json!({"application/json": {"schema": schema}});
    let answers = |content: Value| json!({"200": {"description": "ok", "content": content}});
    let query =
        |name: &str, kind: &str| json!({"name": name, "in": "query", "schema": {"type": kind}});
    let header = json!({"name": "X-Tenant", "in": "header", "schema": text});
    let get = |id: &str, params: Value, content: Value| json!({"operationId": id, "parameters": params, "responses": answers(content)});
    let path = |name: &str, schema: &Value| json!({"name": name, "in": "path", "required": true, "schema": schema});
    let list = json!({"type": "array", "items": user});
    let pick = |before: Value, later: Value| if is_later { later } else { before };
    let named = json!({"multipart/form-data": {"schema": {"type": "object"}}});
    let mut mixed = named.clone();
    let call = json!({"method": text, "url": text, "body": {"type": "object"}});
    let mut members = json!({"id": text, "ssn": text});
    if is_later {
        members.as_object_mut().unwrap().append(&mut call.as_object().unwrap().clone());
    }
    mixed["application/json"] = json!({"schema": {"type": "object", "properties": members}});
    let post = |id: &str, content: Value| json!({"operationId": id, "requestBody": {"content": content}, "responses": answers(json_of(&user))});
    let people = pick(list.clone(), json!({"type": "object", "additionalProperties": user}));
    let kind = pick(json!({"type": "string", "enum": ["public"]}), text.clone());
    let narrow = |narrow: Value| pick(narrow, text.clone());
    json!({
        "openapi": "3.0.3", "info": {"title": "T", "version": "1"},
        "paths": {
            "/users/{id}": {"get": get("one",
                json!([path("id", &text), query("q", "string"), header]), json_of(&user))},
            "/users": {"get": get("all", pick(json!([query("limit", "integer")]), json!([
                query("limit", "integer"), query("offset", "integer"), query("q", "string"), header])),
                json_of(&list))},
            "/wrong": {"get": {"operationId": "wrong", "responses": pick(
                answers(json_of(&user)),
                json!({"200": {"description": "", "content": json_of(&user)}, "409": {"description": "",
                    "content": json_of(&json!({"type": "object", "properties": {"detail": text}}))}}))}},
            "/reports/{kind}": {"get": get("report", json!([path("kind", &kind)]), json_of(&user))},
            "/people": {"get": get("people", json!([]), json_of(&json!({"type": "object",
                "properties": {"ok": {"type": "boolean"}, "people": people}})))},
            "/flags": {"get": get("flags", json!([]), json_of(&json!({"type": "object", "properties": {
                "flag": narrow(json!({"type": "boolean"})),
                "count": narrow(json!({"type": "integer"})),
                "choice": narrow(json!({"type": "string", "enum": ["a", "b"]})),
                "day": narrow(json!({"type": "string", "format": "date"})),
                "id": text}})))},
            "/export": {"get": get("export", json!([]), pick(
                json!({"text/csv": {}}), json!({"text/csv": {}, "application/json": {}})))},
            "/sheet": {"get": get("sheet", json!([]), pick(
                json!({"text/csv": {}, "application/json": {"schema": user}}),
                json!({"text/csv": {}, "application/json": {}})))},
            "/scan": {"post": post("scan", pick(named.clone(), json!({
                "multipart/form-data": {"schema": {"type": "object"}}, "application/xml": {}})))},
            "/mixed": {"post": post("mixed", mixed)},
        },
        "components": {"schemas": {"User": {"type": "object", "properties": {"id": text, "ssn": text}}}},
    })
    .to_string()
}

const USER_GRANTS: &str = r#"
[[grant]]
client = "reader"
provider = "things"
purpose = "p"
expires = "2999-12-31"
allow = [
  { object = "User", actions = ["read"], fields = ["id"], params = ["q"], headers = ["X-Tenant"] },
  { object = "Flag", actions = ["read"], fields = ["*"] },
  { object = "User", actions = ["create", "upload"], fields = ["id"], operations = ["scan", "mixed"] },
  { actions = ["download"], operations = ["export", "sheet"] },
]
"#;

/// What a grant was applied to is all that it opens: parameters, values of a path, content that passes
/// unseen, kinds of fields and names of maps that a description declares later are none of it.
#[test]
fn an_operation_takes_and_passes_what_it_did_when_it_was_granted() {
    let mut world = World::prepared();
    world.apply("");
    import(&world, &users(false), None);
    world.apply(USER_GRANTS);
    world.serve();
    let user = json!({"id": "1", "ssn": "2"});
    let flags = json!({"flag": "HIV", "count": "HIV", "choice": "HIV", "day": "HIV", "id": "1"});
    for (path, answer) in [
        ("/users/1", user.clone()),
        ("/users", json!([user])),
        ("/reports/public", user.clone()),
        ("/reports/salaries", user.clone()),
        ("/people", json!({"ok": true, "people": {"jane@example.com": user}})),
        ("/flags", flags.clone()),
        ("/export", user.clone()),
        ("/sheet", user.clone()),
        ("/scan", user.clone()),
        ("/mixed", user.clone()),
    ] {
        world.provider.on(path, testkit::Answer::json(200, &answer));
    }
    world
        .provider
        .on("/wrong", testkit::Answer::json(409, &json!({"detail": "dismissed for theft"})));
    let get = |world: &World, path: &str| {
        let answer = world.get(path);
        (answer.status, answer.json().unwrap_or_default())
    };
    let post = |world: &World, path: &str, media: &str, body: &str| {
        world.send("POST", path, &[("Content-Type", media)], body.as_bytes()).status
    };
    let check = |world: &World| {
        assert_eq!(get(world, "/users/1?q=1"), (200, json!({"id": "1"})));
        assert_eq!(get(world, "/users?limit=1"), (200, json!([{"id": "1"}])));
        assert_eq!(get(world, "/users?q=1").0, 403);
        assert_eq!(get(world, "/users?offset=1").0, 403);
        world.provider.forget();
        world.send("GET", "/users", &[("X-Tenant", "other")], b"");
        assert_eq!(world.provider.last_request().unwrap().header("x-tenant"), None);
        world.send("GET", "/users/1", &[("X-Tenant", "own")], b"");
        assert_eq!(world.provider.last_request().unwrap().header("x-tenant"), Some("own"));
        assert_ne!(get(world, "/reports/salaries").0, 200);
        assert!(!world.get("/wrong").text().contains("theft"), "words of an error");
        // None of it is what it was downloaded as.
        assert_ne!(get(world, "/export").0, 200);
        assert!(!get(world, "/sheet").1.to_string().contains("ssn"));
        world.provider.forget();
        assert_eq!(post(world, "/scan", "application/xml", "<a/>"), 415);
        assert_eq!(post(world, "/mixed", "application/json", r#"{"id":"1","ssn":"3"}"#), 403);
        assert_eq!(
            post(world, "/mixed", "application/json", r#"{"method":"DELETE","url":"/users/1"}"#),
            403
        );
        assert!(world.provider.requests().is_empty());
    };
    check(&world);
    assert_eq!(get(&world, "/reports/public"), (200, json!({"id": "1"})));
    assert_eq!(post(&world, "/mixed", "application/json", r#"{"id":"1"}"#), 200);
    assert_eq!(post(&world, "/scan", "multipart/form-data; boundary=b", "--b--"), 200);

    let imported = import(&world, &users(true), None);
    let notices: Vec<&str> =
        imported["notices"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    for told in [
        "GET /users would take more, which is refused: pages by offset, the header x-tenant, the query \
         parameter q",
        "GET /reports/{} would take more, which is refused: any text as parameter 1 of the path",
        "GET /export would take more, which is refused: application/json as it is in 200",
        "GET /sheet would take more, which is refused: application/json as it is in 200",
        "POST /scan would take more, which is refused: application/xml as it is in requests",
        "GET /wrong would let more through, which is withheld: `detail` of an error in 409",
        "POST /mixed would take more, which is refused: application/json as it is in requests",
        "GET /people would let more through, which is withheld: people.* (any name) in 200",
        "Flag.flag leads to more than was granted, which is withheld: flag (scalar)",
        "Flag.count leads to more than was granted, which is withheld: count (scalar)",
        "Flag.choice leads to more than was granted, which is withheld: choice (scalar)",
        "Flag.day leads to more than was granted, which is withheld: day (scalar)",
    ] {
        assert!(notices.iter().any(|one| one.contains(told)), "{told}\n{notices:#?}");
    }
    // Once the new description is in force, the path takes nothing more.
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        get(&world, "/reports/public").0 == 403
    });
    check(&world);
    assert_eq!(get(&world, "/flags"), (200, json!({"id": "1"})));
    assert_eq!(get(&world, "/people"), (200, json!({"ok": true, "people": {}})));
    assert_eq!(post(&world, "/scan", "multipart/form-data; boundary=b", "--b--"), 200);

    let plan = dry_run(&world);
    let words: Vec<&str> = plan["changes"][0]["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    for told in [
        "accepts that GET /users takes more: pages by offset, the header x-tenant, the query parameter q",
        "accepts that POST /mixed takes more: application/json as it is in requests, multipart/form-data \
         as it is in requests",
        "accepts that GET /people lets more through: people.* (any name) in 200",
        "accepts that Flag.flag leads to more: flag (scalar)",
    ] {
        assert!(words.contains(&told), "{told}\n{words:#?}");
    }
    world.apply(USER_GRANTS);
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        get(&world, "/users?q=1&offset=2").0 == 200
    });
    assert_eq!(get(&world, "/reports/salaries").0, 200);
    assert_eq!(get(&world, "/export"), (200, user));
    assert!(world.get("/wrong").text().contains("theft"), "{}", world.get("/wrong").text());
    assert_eq!(dry_run(&world)["changes"], json!([]));
}

/// Many servers take `/things/ME` for `/things/me`: who may not call that may not call this.
#[test]
fn an_operation_is_not_reached_by_another_spelling() {
    let mut world = World::prepared();
    let me = "  /things/me:\n    get:\n      operationId: me\n      responses:\n        \"200\":\n          \
              description: ok\n          content:\n            application/json:\n              schema: { \
              $ref: \"#/components/schemas/Thing\" }\n        default: { $ref: \
              \"#/components/responses/Error\" }\n    delete:\n      operationId: delete_me\n      \
              responses:\n        \"204\": { description: gone }\n";
    import(&world, &with_paths(&[me.to_owned()]), None);
    let allowed = |operations: &str| {
        let actions = "[\"read\", \"delete\"], operations = [";
        grants("\"id\"").replace("[\"read\"]", &format!("{actions}{operations}]"))
    };
    world.apply(&allowed("\"get_thing\", \"delete_thing\""));
    world.serve();
    for spelling in ["me", "ME", "me.json", "Me.", "me%20"] {
        for method in ["GET", "DELETE"] {
            let answer = world.send(method, &format!("/things/{spelling}"), &[], b"");
            assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"), "{spelling}");
        }
    }
    assert!(world.provider.requests().is_empty());
    assert_eq!(world.get("/things/you").status, 200);
    // Who may call both may spell as he likes.
    world.apply(&allowed("\"get_thing\", \"me\""));
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        world.get("/things/me").status == 200
    });
    assert_eq!(world.get("/things/ME").status, 200);
}

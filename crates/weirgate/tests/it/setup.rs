//! The verbs, their wrong inputs, and their exit codes.

use crate::world::{World, binary, fails, ok, ok_with, text};
use std::{os::unix::fs::PermissionsExt, time::Duration};
use testkit::THING_DESCRIPTION;

#[test]
fn init_makes_a_folder_once_and_keeps_the_key_outside() {
    let weirgate = binary();
    let made = ok(&weirgate, &["init", "--json"]);
    let key = made["root_key_file"].as_str().unwrap();
    assert!(!key.starts_with(weirgate.data_dir().to_str().unwrap()));
    let mode = std::fs::metadata(key).unwrap().permissions().mode() & 0o777;
    assert!(mode == 0o400 || mode == 0o600, "{mode:o}");
    let said = fails(&weirgate, 2, &["init"], b"");
    assert!(said.contains("is a data folder already"), "{said}");
    let inside = weirgate.home().join("other/inside.key").display().to_string();
    let other = weirgate.home().join("other").display().to_string();
    let said =
        fails(&weirgate, 5, &["init", "--data-dir", &other, "--root-key-file", &inside], b"");
    assert!(said.contains("inside the data folder"), "{said}");
}

/// The key's folder may be a link into the data folder, or the data folder a link.
#[test]
fn init_finds_the_folder_behind_links() {
    let weirgate = binary();
    let real = weirgate.home().join("real");
    let init = |data_dir: &std::path::Path, key: &std::path::Path| {
        let (data_dir, key) = (data_dir.to_str().unwrap(), key.to_str().unwrap());
        let args = ["init", "--data-dir", data_dir, "--root-key-file", key];
        let said = fails(&weirgate, 5, &args, b"");
        assert!(said.contains("inside the data folder"), "{said}");
    };
    std::fs::create_dir(&real).unwrap();
    let link = weirgate.home().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    init(&real, &link.join("root.key"));
    init(&real, &link.join("new/../root.key"));
    init(&link, &real.join("root.key"));
    init(&real, &weirgate.home().join("other/../real/root.key"));
    assert!(std::fs::read_dir(&real).unwrap().next().is_none());
    // A folder beside it whose name begins alike is another one.
    let key = weirgate.home().join("real.keys/root.key").display().to_string();
    let real = real.display().to_string();
    ok(&weirgate, &["init", "--data-dir", &real, "--root-key-file", &key, "--json"]);
}

/// What a killed `init` left goes with the next one; what only looks like it stays.
#[test]
fn init_removes_what_a_killed_one_left() {
    let weirgate = binary();
    let dir = weirgate.data_dir();
    let name = dir.file_name().unwrap().to_str().unwrap();
    let beside = |name: String| dir.with_file_name(name);
    let left = beside(format!(".{name}.inst_06ewk4g000e0g0000000000001"));
    let held = beside(format!(".{name}.inst_06ewk4g000e0g0000000000002"));
    let link = beside(format!(".{name}.inst_06ewk4g000e0g0000000000003"));
    let foreign = beside(format!(".{name}.inst_backup"));
    let target = beside("elsewhere".to_owned());
    for place in [&left, &held, &foreign, &target] {
        std::fs::create_dir_all(place.join("audit")).unwrap();
        std::fs::write(place.join("weirgate.db"), "half").unwrap();
    }
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let lock = std::fs::File::open(&held).unwrap();
    lock.lock().unwrap();
    ok(&weirgate, &["init", "--json"]);
    assert!(!left.exists());
    for place in [held, foreign, target.join("weirgate.db"), link] {
        assert!(place.exists(), "{}", place.display());
    }
}

#[test]
fn verbs_without_a_folder_say_so() {
    let weirgate = binary();
    for args in [&["serve"][..], &["provider", "list"], &["audit", "verify"], &["apply", "."]] {
        let said = fails(&weirgate, 3, args, b"");
        assert!(
            said.contains("there is no data folder") && said.contains("weirgate init"),
            "{said}"
        );
    }
}

#[test]
fn root_key_must_be_private() {
    let weirgate = binary();
    let made = ok(&weirgate, &["init", "--json"]);
    let key = made["root_key_file"].as_str().unwrap();
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = fails(&weirgate, 1, &["provider", "list"], b"");
    assert!(said.contains("0644") && said.contains("chmod"), "{said}");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o400)).unwrap();
    ok(&weirgate, &["provider", "list", "--json"]);
    std::fs::rename(key, format!("{key}.away")).unwrap();
    let said = fails(&weirgate, 1, &["serve"], b"");
    assert!(said.contains("no root key file"), "{said}");
    // Another installation's key opens nothing.
    let other = weirgate.home().join("second").display().to_string();
    let second = ok(&weirgate, &["init", "--data-dir", &other, "--json"]);
    let wrong = second["root_key_file"].as_str().unwrap();
    let said = fails(&weirgate, 1, &["provider", "list", "--root-key-file", wrong], b"");
    assert!(said.contains("another root key"), "{said}");
}

#[test]
fn configuration_problems_come_all_at_once() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let config = weirgate
        .file("bad.toml", "gateway_adr = \"x\"\nmax_calls = [1]\nlog_level = \"loud\"\n")
        .unwrap();
    let said = fails(&weirgate, 2, &["serve", "--config", &config], b"");
    for wanted in ["bad.toml:1", "did you mean", "gateway_addr", "bad.toml:2", "max_calls"] {
        assert!(said.to_lowercase().contains(&wanted.to_lowercase()), "no {wanted} in {said}");
    }
    let config =
        weirgate.file("open.toml", "gateway_addr = \"0.0.0.0:0\"\nlog_level = \"loud\"\n").unwrap();
    let said = fails(&weirgate, 2, &["serve", "--config", &config], b"");
    assert!(said.contains("without TLS") && said.contains("log_level"), "{said}");
    let said = fails(&weirgate, 2, &["serve", "--config", "/does/not/exist.toml"], b"");
    assert!(said.contains("there is no such file"), "{said}");
    let broken = weirgate.file("broken.toml", "a = = b\n").unwrap();
    let said = fails(&weirgate, 2, &["config", "show", "--config", &broken], b"");
    assert!(said.contains("broken.toml:1"), "{said}");
}

#[test]
fn config_show_tells_origins() {
    let mut weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    weirgate.set("WEIRGATE_MAX_CALLS", "7");
    let shown = ok(&weirgate, &["config", "show", "--origin", "--json"]);
    assert_eq!(shown["max_calls"]["value"], 7);
    assert_eq!(shown["behind_proxy"]["value"], false);
    assert_eq!(shown["log_level"]["value"], "info");
    assert!(shown["public_url"]["value"].is_null());
    assert_eq!(shown["max_calls"]["origin"], "environment WEIRGATE_MAX_CALLS");
    assert_eq!(shown["cores"]["origin"], "default");
}

#[test]
fn descriptions_that_are_none_are_refused() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    for text in ["", "hello", "{}", "[]", "<html></html>", "openapi: 3.0.0\n", "{\"openapi\":"] {
        let file = weirgate.file("bad", text).unwrap();
        fails(&weirgate, 2, &["provider", "import", &file, "--name", "x"], b"");
    }
    let file = weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let said = fails(&weirgate, 2, &["provider", "import", &file, "--name", "Not A Slug"], b"");
    assert!(said.contains("is no name"), "{said}");
    for server in [
        "http://example.com",
        "https://user:secret-in-url@example.com",
        "ftp://example.com",
        "https://169.254.169.254",
        "https://127.0.0.1",
        "https://[::1]:8443/v1",
        "https://0x7f.1",
        "nonsense",
    ] {
        let args = ["provider", "import", &file, "--name", "x", "--server", server];
        let said = fails(&weirgate, 2, &args, b"");
        assert!(!said.contains("secret-in-url"), "{said}");
    }
    for host_port in ["169.254.169.254:80", "93.184.216.34:80", "[2606:4700::1111]:80"] {
        let server = format!("http://{host_port}");
        let args = [
            "provider",
            "import",
            &file,
            "--name",
            "x",
            "--server",
            &server,
            "--allow-private-network",
            host_port,
        ];
        fails(&weirgate, 2, &args, b"");
    }
    let listed = ok(&weirgate, &["provider", "list", "--json"]);
    assert!(listed["providers"].as_array().unwrap().is_empty());
}

/// Names stand in audit entries: one that is too long for them is refused by name, at once.
#[test]
fn names_that_no_entry_holds_are_refused() {
    let mut world = World::prepared();
    let long = "x".repeat(70_000);
    let description = THING_DESCRIPTION.replacen("list_things", &long, 1);
    let file = world.weirgate.file("long.yaml", description).unwrap();
    let said = fails(&world.weirgate, 2, &["provider", "import", &file, "--name", "long"], b"");
    assert!(said.contains("operation id") && said.contains("at most 512"), "{said}");
    // A long list is told by its digest.
    let file = world.weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let mut args = vec!["provider", "import", &file, "--name", "many", "--json"];
    let hosts: Vec<String> = (0..3_000).map(|n| format!("host{n}.internal:8443")).collect();
    for host in &hosts {
        args.extend(["--allow-private-network", host]);
    }
    args.extend(["--server", "https://example.com"]);
    ok(&world.weirgate, &args);
    let entries = world.entries();
    let details =
        text(entries.iter().rfind(|one| one["verb"] == "provider.import").unwrap(), "details");
    assert!(details.contains("3000 of them, SHA-256"), "{details}");
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    assert_eq!(world.verify()["outbox_rows"], 0);
}

/// The log says where a credential goes and what is sent along, without a value.
#[test]
fn changes_say_where_calls_go() {
    let world = World::prepared();
    let entries = world.entries();
    let details =
        |verb: &str| text(entries.iter().find(|one| one["verb"] == verb).unwrap(), "details");
    let imported = details("provider.import");
    for wanted in [
        format!("server: {}", world.provider.url()),
        format!("allow_private: {}", world.provider.host_port()),
        "description_sha256: ".to_owned(),
    ] {
        assert!(imported.contains(&wanted), "no {wanted} in {imported}");
    }
    assert!(!imported.contains("overlay_sha256"), "{imported}");
    let created = details("connection.create");
    assert!(created.contains(&format!("servers: {}", world.provider.url())), "{created}");

    let described =
        THING_DESCRIPTION.replacen("http://127.0.0.1:9", "'https://{tenant}.example.com/v1'", 1);
    let file = world.weirgate.file("servers.yaml", described).unwrap();
    let overlay = "overlay: 1.1.0\ninfo: {title: t, version: '1'}\nactions: []\n";
    let overlay = world.weirgate.file("overlay.yaml", overlay).unwrap();
    let args = ["provider", "import", &file, "--name", "tenants", "--overlay", &overlay, "--json"];
    ok(&world.weirgate, &args);
    let connect = [
        "connection",
        "create",
        "--provider",
        "tenants",
        "--customer",
        "c",
        "--scheme",
        "bearer",
        "--var",
        "tenant=jane-doe",
        "--header",
        "X-Tenant=jane-doe-7",
        "--secret-file",
        "-",
        "--json",
    ];
    for _ in 0..2 {
        ok_with(&world.weirgate, &connect, br#"{"token":"t"}"#);
    }
    let entries = world.entries();
    let newest = |verb: &str| -> Vec<String> {
        let fits = entries.iter().filter(|one| one["verb"] == verb);
        fits.map(|one| text(one, "details")).filter(|one| !one.contains("127.0.0.1")).collect()
    };
    let imported = newest("provider.import").pop().unwrap();
    assert!(imported.contains("overlay_sha256: "), "{imported}");
    assert!(imported.contains("described_servers: filled per connection: {tenant}"), "{imported}");
    let created = newest("connection.create");
    assert_eq!(created.len(), 2);
    let part = |details: &str, name: &str| -> String {
        let rest = details.split_once(name).unwrap().1;
        rest.split(';').next().unwrap().to_owned()
    };
    for details in &created {
        assert!(details.contains("X-Tenant=") && !details.contains("jane"), "{details}");
        assert_eq!(part(details, "tenant=").len(), 64, "{details}");
    }
    // One customer's equal values can be told to be equal, and differ by what they are for.
    assert_eq!(part(&created[0], "tenant="), part(&created[1], "tenant="));
    assert_ne!(part(&created[0], "tenant="), part(&created[0], "X-Tenant="));
}

#[test]
fn provider_show_has_the_documented_shape() {
    let world = World::prepared();
    let shown = ok(&world.weirgate, &["provider", "show", "things", "--json"]);
    assert_eq!(shown["slug"], "things");
    let operations = shown["operations"].as_array().unwrap();
    let list = operations.iter().find(|one| one["id"] == "list_things").unwrap();
    assert_eq!(list["method"], "GET");
    assert_eq!(list["path"], "/things");
    assert_eq!(list["object"], "Thing");
    assert_eq!(list["action"], "read");
    let objects = shown["objects"].as_array().unwrap();
    let thing = objects.iter().find(|one| one["name"] == "Thing").unwrap();
    let paths: Vec<&str> =
        thing["fields"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    for path in ["id", "name", "secret", "nested.a", "nested.b", "list[].label", "list[].code"] {
        assert!(paths.contains(&path), "no {path} in {paths:?}");
    }
    assert!(shown["diagnostics"].is_array());
    fails(&world.weirgate, 3, &["provider", "show", "nothing"], b"");
    ok(&world.weirgate, &["provider", "check", "things", "--json"]);
}

#[test]
fn provider_check_tells_what_cannot_be_reached() {
    let mut world = World::prepared();
    world.provider.stop();
    let output = world.weirgate.run(&["provider", "check", "things", "--json"], b"").unwrap();
    assert_eq!(output.status, Some(7), "{}", output.err());
    assert_eq!(output.json().unwrap()["servers"][0]["code"], "provider_unreachable");
}

#[test]
fn secrets_that_do_not_fit_are_refused_without_being_shown() {
    let world = World::prepared();
    let create = |secret: &str, scheme: &[&str]| {
        let mut args = vec![
            "connection",
            "create",
            "--provider",
            "things",
            "--customer",
            "c",
            "--secret-file",
            "-",
        ];
        args.extend_from_slice(scheme);
        fails(&world.weirgate, 2, &args, secret.as_bytes())
    };
    for secret in [
        "",
        "hunter2hunter2",
        "[]",
        r#"{"tokem":"hunter2hunter2"}"#,
        r#"{"token":""}"#,
        r#"{"token":"hunter2hunter2\r\nX: y"}"#,
        r#"{"token":"hunter2hunter2","token":"b"}"#,
        r#"{"token":7}"#,
    ] {
        let said = create(secret, &["--scheme", "bearer"]);
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = create(r#"{"api_key":"hunter2hunter2"}"#, &[]);
    assert!(
        said.contains("several") && said.contains("header") && said.contains("query"),
        "{said}"
    );
    let said = create(r#"{"token":"hunter2hunter2"}"#, &["--scheme", "nope"]);
    assert!(said.contains("no security scheme of the name that --scheme gives"), "{said}");
    fails(
        &world.weirgate,
        3,
        &["connection", "create", "--provider", "none", "--customer", "c", "--secret-file", "-"],
        br#"{"token":"t"}"#,
    );
}

#[test]
fn every_kind_of_credential_reaches_the_provider_in_its_place() {
    let mut world = World::prepared();
    let mut made = Vec::new();
    for (scheme, secret) in [
        ("basic", r#"{"username":"u","password":"p:w"}"#),
        ("header", r#"{"api_key":"k1 &=?"}"#),
        ("query", r#"{"api_key":"k2 &=?"}"#),
    ] {
        let args = [
            "connection",
            "create",
            "--provider",
            "things",
            "--customer",
            "c",
            "--scheme",
            scheme,
            "--secret-file",
            "-",
            "--json",
        ];
        made.push(text(&ok_with(&world.weirgate, &args, secret.as_bytes()), "id"));
    }
    world.serve();
    let call = |world: &mut World, connection: &str| {
        world.connection = connection.to_owned();
        let answer = world.get("/things?limit=1");
        assert_eq!(answer.status, 200, "{}", answer.text());
        (world.provider.last_request().unwrap(), answer)
    };
    let (received, _) = call(&mut world, &made[0]);
    assert_eq!(received.header("authorization"), Some("Basic dTpwOnc="));
    let (received, _) = call(&mut world, &made[1]);
    assert_eq!(received.header("x-api-key"), Some("k1 &=?"));
    assert_eq!(received.header("authorization"), None);
    let (received, answer) = call(&mut world, &made[2]);
    assert_eq!(received.query, "limit=1&api_key=k2%20%26%3D%3F");
    let everything = answer.everything();
    let everything = String::from_utf8_lossy(&everything);
    for spelling in ["k2 ", "k2%20", "k2+"] {
        assert!(!everything.contains(spelling), "{everything}");
    }
}

#[test]
fn grant_problems_come_all_at_once_with_file_line_and_remedy() {
    let world = World::prepared();
    let text = r#"
[[grant]]
client = "raeder"
provider = "things"
purpose = "p"
expires = "2999-12-31"
allow = [ { object = "Thing", actions = ["read"], fields = ["id"] } ]

[[grant]]
client = "reader"
provider = "things"
purpose = "q"
expires = "2001-02-30"
allow = [
  { object = "Thign", actions = ["read"], fields = ["id"] },
  { object = "Thing", actions = ["reed"], fields = ["idd"], parms = [] },
]
"#;
    world.weirgate.file("bad/a.toml", text).unwrap();
    world.weirgate.file("bad/b.toml", "[[grant]\n").unwrap();
    world.weirgate.file("bad/c.toml", [0xFF_u8, 0xFE]).unwrap();
    let dir = world.weirgate.home().join("bad").display().to_string();
    for extra in [&["--dry-run"][..], &[]] {
        let mut args = vec!["apply", &dir];
        args.extend_from_slice(extra);
        let said = fails(&world.weirgate, 2, &args, b"");
        for wanted in [
            "a.toml:3",
            "reader",
            "a.toml:13",
            "a.toml:15",
            "Thing",
            "a.toml:16",
            "parms",
            // Its action is wrong too, and hides nothing.
            "declares no field `idd`",
            "b.toml:1",
            "c.toml",
        ] {
            assert!(said.contains(wanted), "no {wanted} in {said}");
        }
    }
    let missing = world.weirgate.home().join("nothing").display().to_string();
    fails(&world.weirgate, 3, &["apply", &missing], b"");
}

#[test]
fn dry_run_says_in_words_and_changes_nothing() {
    let mut world = World::prepared();
    let more = crate::world::GRANTS
        .replace(r#""list[].label"], params"#, r#""list[].label", "secret"], params"#);
    world.weirgate.file("more/grants.toml", &more).unwrap();
    let dir = world.weirgate.home().join("more").display().to_string();
    let output = world.weirgate.run(&["apply", &dir, "--dry-run"], b"").unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    assert!(output.out().contains("adds 1 field"), "{}", output.out());
    world.serve();
    assert!(world.get("/things/1").json().unwrap().get("secret").is_none());
    let changes = ok(&world.weirgate, &["apply", &dir, "--json"]);
    assert!(changes["changes"].as_array().is_some_and(|changes| !changes.is_empty()), "{changes}");
    testkit::wait_until(Duration::from_secs(1), || {
        world.get("/things/1").json().unwrap().get("secret").is_some()
    });
}

#[test]
fn vault_rollback_is_found() {
    let mut world = World::prepared();
    let database = world.weirgate.data_dir().join("weirgate.db");
    let before = std::fs::read(&database).unwrap();
    let args = [
        "connection",
        "create",
        "--provider",
        "things",
        "--customer",
        "c",
        "--scheme",
        "bearer",
        "--secret-file",
        "-",
        "--json",
    ];
    ok_with(&world.weirgate, &args, br#"{"token":"another"}"#);
    std::fs::write(&database, before).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ =
            std::fs::remove_file(world.weirgate.data_dir().join(format!("weirgate.db{suffix}")));
    }
    let said = fails(
        &world.weirgate,
        5,
        &["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"],
        b"",
    );
    assert!(said.contains("vault"), "{said}");
    world.server = None;
}

#[test]
fn an_edited_log_is_found() {
    let mut world = World::serving();
    for id in 0..3 {
        world.get(&format!("/things/{id}"));
    }
    world.stop();
    world.verify();
    let tail = world.weirgate.data_dir().join("audit/tail");
    let mut bytes = std::fs::read(&tail).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&tail, &bytes).unwrap();
    let said = fails(&world.weirgate, 1, &["audit", "verify"], b"");
    assert!(said.contains("entr") || said.contains("hash") || said.contains("tail"), "{said}");
}

#[test]
fn roll_back_is_found_against_a_kept_checkpoint() {
    let mut world = World::serving();
    world.get("/things/1");
    world.stop();
    let audit = world.weirgate.data_dir().join("audit");
    let database = world.weirgate.data_dir().join("weirgate.db");
    let files = [audit.join("tail"), audit.join("checkpoint"), database];
    let old: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    world.serve();
    world.get("/things/2");
    world.stop();
    let kept =
        world.weirgate.file("kept", std::fs::read(audit.join("checkpoint")).unwrap()).unwrap();
    ok(&world.weirgate, &["audit", "verify", "--checkpoint", &kept, "--json"]);
    for (file, bytes) in files.iter().zip(&old).take(2) {
        std::fs::write(file, bytes).unwrap();
    }
    // The database knows better.
    fails(&world.weirgate, 1, &["audit", "verify"], b"");
    std::fs::write(&files[2], &old[2]).unwrap();
    // With the database of that time it looks whole: that is what the documentation says.
    ok(&world.weirgate, &["audit", "verify", "--json"]);
    fails(&world.weirgate, 1, &["audit", "verify", "--checkpoint", &kept], b"");
}

#[test]
fn project_is_the_gateways_projection() {
    let weirgate = binary();
    let input = br#"{"a":1,"b":{"c":[{"d":1,"e":2}]},"x":9}"#;
    let output = weirgate.run(&["project", "--allow", "a,b.c[].d"], input).unwrap();
    assert_eq!(output.out(), r#"{"a":1,"b":{"c":[{"d":1}]}}"#);
    let file = weirgate.file("doc.json", input).unwrap();
    let args = ["project", "--allow", "a", "--allow", "x", &file];
    assert_eq!(weirgate.run(&args, b"").unwrap().out(), r#"{"a":1,"x":9}"#);
    for (paths, document, exit) in [
        ("a..b", &b"{}"[..], 2),
        ("", b"{}", 2),
        ("a", b"", 1),
        ("a", b"{\"a\":1", 1),
        ("a", b"{\"a\":1,\"a\":2}", 1),
        ("a", b"null", 1),
        ("a", b"{\"a\":1}x", 1),
    ] {
        fails(&weirgate, exit, &["project", "--allow", paths], document);
    }
    let said = fails(&weirgate, 1, &["project", "--allow", "a"], b"{\"a\":1,\"a\":2}");
    assert!(said.contains('7'), "the offset of the second name: {said}");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let world = World::prepared();
    let dir = world.weirgate.home().join("pipes");
    std::fs::create_dir(&dir).unwrap();
    let pipe = dir.join("pipe.toml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let said = fails(&world.weirgate, 2, &["apply", &dir.display().to_string()], b"");
    assert!(said.contains("no regular file"), "{said}");
}

#[test]
fn a_lost_note_of_the_root_key_is_told_with_the_flag_that_helps() {
    let world = World::prepared();
    let note = world.weirgate.data_dir().join("root-key-path");
    let key = std::fs::read_to_string(&note).unwrap();
    std::fs::remove_file(note).unwrap();
    let said = fails(&world.weirgate, 1, &["client", "create", "x"], b"");
    assert!(said.contains("--root-key-file"), "{said}");
    ok(&world.weirgate, &["client", "create", "x", "--root-key-file", key.trim(), "--json"]);
}

/// A program of ours under a shell's limits and redirections.
fn under_shell(world: &World, before: &str, args: &str, after: &str) -> std::process::Output {
    let script = format!(
        "{before} exec '{}' {args} --data-dir '{}' {after}",
        env!("CARGO_BIN_EXE_weirgate"),
        world.weirgate.data_dir().display()
    );
    std::process::Command::new("sh").args(["-c", &script]).output().unwrap()
}

#[test]
fn a_key_that_nobody_was_shown_is_revoked_again() {
    let world = World::prepared();
    for flags in ["", " --json"] {
        // A full disk, and a reader that went away.
        let create = format!("client key create reader --expires 1d{flags}");
        let full = under_shell(&world, "", &create, "> /dev/full");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = std::process::Command::new(env!("CARGO_BIN_EXE_weirgate"))
            .args(create.split(' '))
            .arg("--data-dir")
            .arg(world.weirgate.data_dir())
            .stdout(writer)
            .output()
            .unwrap();
        for output in [full, gone] {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("is revoked again") && said.contains("make another"), "{said}");
            let listed = ok(&world.weirgate, &["client", "list", "--json"]);
            let clients = listed["clients"].as_array().unwrap();
            let keys = clients.iter().flat_map(|client| client["keys"].as_array().unwrap());
            let own: Vec<_> = keys.filter(|key| said.contains(&text(key, "id"))).collect();
            assert_eq!(own.len(), 1, "{said}");
            assert_eq!(own[0]["state"], "revoked", "{said}");
        }
    }
    let entries = world.entries();
    let count = |verb: &str| entries.iter().filter(|entry| entry["verb"] == verb).count();
    assert_eq!(count("key.revoke"), 4, "the revocations are recorded");
    assert_eq!(world.verify()["outbox_rows"], 0);
}

#[test]
fn a_database_that_cannot_be_written_asks_for_room() {
    let world = World::prepared();
    // The signal of the limit would end the process.
    let before = "trap '' XFSZ; ulimit -f 1;";
    let output = under_shell(&world, before, "client create x", "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("free some room"), "{said}");
}

/// Of several that make one folder at once one wins; the others say so and leave nothing.
#[test]
fn of_two_inits_at_once_one_wins_and_the_other_leaves_nothing() {
    let mut overtaken = 0;
    // With root keys of their own, and with one that all name.
    for round in 0..8 {
        let mut weirgate = binary();
        if round % 2 == 1 {
            let key = weirgate.home().join("given.key").display().to_string();
            weirgate.set("WEIRGATE_ROOT_KEY_FILE", &key);
        }
        let begun: Vec<_> = (0..4).map(|_| weirgate.spawn(&["init", "--json"]).unwrap()).collect();
        let mut made = Vec::new();
        for mut one in begun {
            let output = one.wait(Duration::from_mins(1)).unwrap();
            let said = output.err();
            match output.status {
                Some(0) => made.push(output.json().unwrap()),
                status => {
                    let is_late = said.contains("is a data folder already");
                    assert!(status == Some(2) && (is_late || said.contains("meanwhile")), "{said}");
                    overtaken += usize::from(!is_late);
                }
            }
        }
        assert_eq!(made.len(), 1, "{made:?}");
        let mut left = Vec::new();
        let mut folders = vec![weirgate.home().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && path != weirgate.data_dir() {
                    folders.push(path.clone());
                }
                left.push(path.display().to_string());
            }
        }
        assert!(!left.iter().any(|path| path.contains("/.data.")), "a draft is left: {left:?}");
        let is_key = |path: &&String| path.strip_suffix(".key").is_some();
        let keys: Vec<&String> = left.iter().filter(is_key).collect();
        assert_eq!(keys, [&text(&made[0], "root_key_file")], "{left:?}");
        ok(&weirgate, &["client", "create", "c", "--json"]);
        ok(&weirgate, &["audit", "verify", "--json"]);
    }
    assert!(overtaken > 0, "none of them came in another's way");
}

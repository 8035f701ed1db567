//! What is said: problems all at once, each with a remedy, nothing that acts on a terminal, and
//! nothing that should stay unsaid.

use crate::world::{GRANTS, World, addr, binary, code, fails, ok, ok_with, text};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt, time::Duration};
use testkit::{Weirgate, client};

#[test]
fn problems_of_file_environment_and_flags_come_in_one_round() {
    let mut weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let config = "log_level = \"loud\"\nmax_cals = 5\ncores = [1]\n";
    std::fs::write(weirgate.data_dir().join("weirgate.toml"), config).unwrap();
    weirgate.set("WEIRGATE_TOTAL_TIMEOUT", "5");
    weirgate.set("WEIRGATE_MAX_CALLS", "0");
    weirgate.set("WEIRGATE_SERVICE_PORT", "8400");
    for verb in [&["serve", "--gateway-addr", "0.0.0.0:0"][..], &["demo"], &["config", "show"]] {
        let said = fails(&weirgate, 2, verb, b"");
        let file = "weirgate.toml";
        for wanted in [
            &format!("{file}:1: `log_level` is unknown. Give error, warn"),
            &format!("{file}:2: `max_cals` is no key. Did you mean `max_calls`?"),
            &format!("{file}:3: `cores` has the wrong kind of value"),
            "WEIRGATE_TOTAL_TIMEOUT: the variable sets no key. Did you mean `WEIRGATE_TOTAL_TIMEOUT_MS`?",
            "environment WEIRGATE_MAX_CALLS: `max_calls` is zero",
        ] {
            assert!(said.contains(wanted), "{verb:?}: no {wanted} in {said}");
        }
        assert_eq!(said.contains("--gateway-addr"), verb[0] == "serve", "{said}");
        assert!(!said.contains("SERVICE_PORT"), "{said}");
    }
    let said = fails(&weirgate, 2, &["serve", "--json"], b"");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["problems"].as_array().unwrap().len(), 5, "{said}");
    // What does not read the configuration is not in its way.
    ok(&weirgate, &["client", "list", "--json"]);
}

/// A title, an operation and a field that would clear the screen, set a title, turn the reading
/// order and begin a line of their own.
const NASTY: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{2066}\nForged: line\r";

fn nasty_description() -> String {
    json!({
        "openapi": "3.0.3",
        "info": {"title": format!("title{NASTY}"), "version": "1"},
        "components": {"schemas": {"Thing": {"type": "object", "properties": {
            "id": {"type": "string"},
            format!("field{NASTY}"): {"type": "boolean"},
        }}}},
        "paths": {
            "/things": {"get": {"operationId": format!("list{NASTY}"), "responses": {"200": {
                "description": "d",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
            }}}},
            "/none": {"get": {"operationId": "none", "responses": {"200": {
                "description": "d",
                "content": {"application/json": {"schema": {"$ref": format!("#/components/{NASTY}")}}},
            }}}},
        },
    })
    .to_string()
}

fn assert_harmless(said: &str) {
    let acts = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!said.chars().any(|c| acts(&c)), "{said:?}");
    assert!(!said.lines().any(|line| line.starts_with("Forged")), "{said}");
}

#[test]
fn nothing_that_is_printed_acts_on_a_terminal() {
    let mut weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let description = nasty_description();
    let file = weirgate.file("nasty.json", &description).unwrap();
    let dead = "127.0.0.1:9";
    let url = format!("http://{dead}");
    let import = ["provider", "import", &file, "--name", "nasty", "--server", &url];
    let mut import = import.to_vec();
    import.extend(["--allow-private-network", dead, "--json"]);
    ok(&weirgate, &import);
    ok(&weirgate, &["client", "create", "reader", "--json"]);
    let args = ["client", "key", "create", "reader", "--expires", "1d", "--json"];
    let key = text(&ok(&weirgate, &args), "key");
    let args = ["connection", "create", "--provider", "nasty", "--customer", "c", "--json"];
    let mut args = args.to_vec();
    args.extend(["--scheme", "bearer", "--secret-file", "-"]);
    let connection = text(&ok_with(&weirgate, &args, br#"{"token":"t"}"#), "id");
    let path = format!("field{NASTY}").replace('[', "\\[").replace(']', "\\]");
    let field = serde_json::to_string(&path).unwrap();
    let grants = format!(
        "[[grant]]\nclient = \"reader\"\nprovider = \"nasty\"\npurpose = \"p\"\nexpires = \"2999-12-31\"\n\
         allow = [{{ object = \"Thing\", actions = [\"read\"], fields = [\"id\", {field}] }}]\n"
    );
    weirgate.file("grants/all.toml", &grants).unwrap();
    let wrong = grants.replace("\"Thing\"", &field);
    weirgate.file("wrong/all.toml", wrong).unwrap();
    let at = |name: &str| weirgate.home().join(name).display().to_string();
    let (grants, wrong) = (at("grants"), at("wrong"));
    for args in [
        &["provider", "show", "nasty"][..],
        &["provider", "check", "nasty"],
        &["apply", &grants, "--dry-run"],
        &["apply", &wrong],
        &["apply", &grants],
        &["audit", "list"],
        &["provider", "show", NASTY],
        &["provider", "import", &file, "--name", "x", "--server", NASTY],
        &["provider", NASTY],
        &["connection", "revoke", NASTY],
        &["apply", NASTY],
        &["project", "--allow", "a", NASTY],
        &["config", "show", "--config", NASTY],
    ] {
        for form in [&[][..], &["--json"]] {
            let args = [args, form].concat();
            let output = weirgate.run(&args, b"").unwrap();
            assert_harmless(&output.out());
            assert_harmless(&output.err());
        }
    }
    let applied = weirgate.run(&["apply", &grants], b"").unwrap();
    assert_eq!(applied.out(), "The grants are what the files say.\n", "{}", applied.err());
    let shown = ok(&weirgate, &["provider", "show", "nasty", "--json"]);
    let operations = shown["operations"].as_array().unwrap();
    let is_same = |one: &Value| one["id"] == format!("list{NASTY}");
    assert!(operations.iter().any(is_same), "the value is another: {shown}");
    let shown = weirgate.run(&["provider", "show", "nasty"], b"").unwrap().out();
    assert!(shown.contains(r"title\u{1b}[2J"), "{shown}");

    for format in ["json", "text"] {
        weirgate.set("WEIRGATE_LOG_FORMAT", format);
        let args =
            ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
        let (server, line) = weirgate.spawn_until_json(&args).unwrap();
        let bearer = format!("Bearer {key}");
        let path = format!("/proxy/{connection}/things");
        let answer =
            client::get(addr(&line, "gateway"), &path, &[("Authorization", &bearer)]).unwrap();
        assert_eq!(code(&answer), "provider_unreachable");
        let output = server.terminate().unwrap();
        let logged = output.err();
        assert!(logged.contains("call failed") && logged.contains("]0;owned"), "{logged}");
        assert_harmless(&logged);
        if format == "json" {
            let failed = logged.lines().find(|line| line.contains("call failed")).unwrap();
            let failed: Value = serde_json::from_str(failed).unwrap();
            assert_eq!(failed["operation"], format!("list{NASTY}"));
            assert!(failed["duration_ms"].is_u64(), "{failed}");
            for line in logged.lines() {
                serde_json::from_str::<EachNameOnce>(line)
                    .unwrap_or_else(|e| panic!("{e}: {line}"));
            }
        }
    }
}

/// JSON in which no object has a name twice.
struct EachNameOnce;

impl<'de> Deserialize<'de> for EachNameOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = EachNameOnce;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_str<E>(self, _: &str) -> Result<EachNameOnce, E> {
                Ok(EachNameOnce)
            }
            fn visit_u64<E>(self, _: u64) -> Result<EachNameOnce, E> {
                Ok(EachNameOnce)
            }
            fn visit_bool<E>(self, _: bool) -> Result<EachNameOnce, E> {
                Ok(EachNameOnce)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<EachNameOnce, A::Error> {
                while seq.next_element::<EachNameOnce>()?.is_some() {}
                Ok(EachNameOnce)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EachNameOnce, A::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, _)) = map.next_entry::<String, EachNameOnce>()? {
                    if names.contains(&name) {
                        return Err(A::Error::custom(format!("`{name}` twice")));
                    }
                    names.insert(name);
                }
                Ok(EachNameOnce)
            }
        }
        deserializer.deserialize_any(Names)
    }
}

#[test]
fn a_folder_without_grants_revokes_nothing_unless_that_is_meant() {
    let world = World::serving();
    let weirgate = &world.weirgate;
    let dir = |name: &str| weirgate.home().join(name).display().to_string();
    weirgate.file("other/README.md", "not here").unwrap();
    weirgate.file("blank/grants.toml", "# none yet\n").unwrap();
    for (folder, why) in [("other", "no `*.toml` file"), ("blank", "holds a grant")] {
        let folder = dir(folder);
        for more in [&[][..], &["--dry-run"]] {
            let args = [&["apply", folder.as_str()], more].concat();
            let said = fails(weirgate, 5, &args, b"");
            assert!(said.contains(why) && said.contains("every grant (1 now)"), "{said}");
            assert!(said.contains("--remove-all"), "{said}");
        }
    }
    assert_eq!(world.get("/things/1").status, 200);
    let args = ["apply", &dir("blank"), "--remove-all", "--dry-run"];
    let output = weirgate.run(&args, b"").unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    let said = output.out();
    for wanted in [
        "revoked: reader on things",
        "Revokes 1 of 1 grant; 0 in force afterwards.",
        "1 client is left without a grant (reader), and 1 key in force",
        "No client and no key is removed.",
        "Nothing was changed (dry run).",
    ] {
        assert!(said.contains(wanted), "no {wanted} in {said}");
    }
    assert_eq!(world.get("/things/1").status, 200);
    let applied = ok(weirgate, &["apply", &dir("blank"), "--remove-all", "--json"]);
    assert_eq!(
        applied["effect"],
        json!({"grants_before": 1, "grants_after": 0, "revoked": 1,
               "clients_left_without": ["reader"], "keys_left_without": 1})
    );
    // Grants that are narrowed to fewer need no flag.
    world.apply(GRANTS);
    let listed = ok(weirgate, &["client", "list", "--json"]);
    assert_eq!(listed["clients"].as_array().unwrap().len(), 2);
}

#[test]
fn expired_keys_are_not_listed_as_in_force() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    ok(&weirgate, &["client", "create", "c", "--json"]);
    let create = |life: &str| {
        text(&ok(&weirgate, &["client", "key", "create", "c", "--expires", life, "--json"]), "id")
    };
    let (short, long, gone) = (create("1s"), create("1d"), create("1d"));
    ok(&weirgate, &["client", "key", "revoke", &gone, "--json"]);
    let state = |id: &str| {
        let listed = ok(&weirgate, &["client", "list", "--json"]);
        let keys = listed["clients"][0]["keys"].as_array().unwrap().clone();
        text(keys.iter().find(|key| key["id"] == id).unwrap(), "state")
    };
    testkit::wait_until(Duration::from_secs(5), || state(&short) == "expired");
    assert_eq!((state(&long), state(&gone)), ("in_force".into(), "revoked".into()));
    let said = weirgate.run(&["client", "list"], b"").unwrap().out();
    let line = said.lines().find(|line| line.contains(&short)).unwrap();
    assert!(line.contains("expired") && !line.contains("in force"), "{line}");
}

#[test]
fn a_secret_given_in_place_of_a_file_is_not_repeated() {
    let mut weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let secret = "hunter2-hunter2";
    let object = format!("{{\"token\":\"{secret}\"}}");
    let long = secret.repeat(40);
    let create = ["connection", "create", "--provider", "p", "--customer", "c", "--secret-file"];
    for (more, exit) in [
        (vec![secret], 3),
        (vec![&object], 3),
        (vec![&long], 3),
        (vec!["{token:", secret, "}"], 2),
        (vec!["/dev/null", secret], 2),
    ] {
        for form in [&[][..], &["--json"]] {
            let args = [&create, more.as_slice(), form].concat();
            let said = fails(&weirgate, exit, &args, b"");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    let args = ["client", "list", "--root-key-file", secret];
    let said = fails(&weirgate, 3, &args, b"");
    assert!(!said.contains("hunter2") && said.contains("--root-key-file"), "{said}");
    weirgate.set("WEIRGATE_ROOT_KEY_FILE", secret);
    let output = weirgate.run(&["serve", "--help"], b"").unwrap();
    assert!(!output.out().contains("hunter2"), "{}", output.out());
    // A file that is there is named.
    let file = weirgate.file("secret.json", "nonsense").unwrap();
    weirgate.set("WEIRGATE_ROOT_KEY_FILE", "");
    let args = [&create[..], &[&file]].concat();
    let output = weirgate.run(&args, b"").unwrap();
    assert_ne!(output.status, Some(0));
    assert!(!output.err().contains("nonsense"), "{}", output.err());
}

#[test]
fn headers_that_differ_in_case_alone_are_refused() {
    let world = World::prepared();
    let mut args = vec!["connection", "create", "--provider", "things", "--customer", "c"];
    args.extend(["--scheme", "bearer", "--secret-file", "-"]);
    args.extend(["--header", "X-Tenant=a", "--header", "x-tenant=b"]);
    let said = fails(&world.weirgate, 2, &args, br#"{"token":"t"}"#);
    assert!(said.contains("given twice"), "{said}");
}

#[test]
fn what_cannot_be_read_is_not_called_missing() {
    let weirgate = binary();
    let path = |name: &str| weirgate.home().join(name);
    // A loop stands for any folder that cannot be entered: permissions do not stop every user.
    std::os::unix::fs::symlink(path("loop"), path("loop")).unwrap();
    let looped = path("loop").display().to_string();
    let said = fails(&weirgate, 1, &["client", "list", "--data-dir", &looped], b"");
    assert!(said.contains("cannot look into") && !said.contains("there is no"), "{said}");
    std::fs::create_dir(path("other")).unwrap();
    std::os::unix::fs::symlink(path("loop"), path("other/weirgate.toml")).unwrap();
    let other = path("other").display().to_string();
    let said = fails(&weirgate, 2, &["config", "show", "--data-dir", &other], b"");
    assert!(said.contains("cannot be read"), "{said}");
    ok(&weirgate, &["init", "--json"]);
    let said = fails(&weirgate, 1, &["apply", &looped], b"");
    assert!(said.contains("cannot read the folder"), "{said}");
    let file = weirgate.file("file", "x").unwrap();
    let said = fails(&weirgate, 1, &["apply", &file], b"");
    assert!(said.contains("Name a folder"), "{said}");
}

#[test]
fn every_failure_says_what_and_the_remedy() {
    let world = World::prepared();
    let weirgate = &world.weirgate;
    let nothing = weirgate.file("nothing.yaml", "").unwrap();
    let bare = weirgate.file("bare.yaml", "openapi: 3.0.0\n").unwrap();
    let broken = weirgate.file("broken.yaml", "a: [\n").unwrap();
    let unplaced = weirgate.file("unplaced.yaml", "a: &x\n  b: *x\n").unwrap();
    let things = weirgate.file("things.yaml", testkit::THING_DESCRIPTION).unwrap();
    let home = weirgate.home().display().to_string();
    let import = |file: &'static str| vec!["provider", "import", file, "--name", "x"];
    let id = "conn_01m8abz38af9889172bjr9xr8d";
    let connect = ["connection", "create", "--provider", "things", "--secret-file", "-"];
    let connect = |more: &[&'static str]| [&connect, more].concat();
    let on = |file: &str, more: &[&str]| {
        let mut args = import("FILE").iter().map(ToString::to_string).collect::<Vec<_>>();
        args[2] = file.to_owned();
        args.extend(more.iter().map(ToString::to_string));
        args
    };
    let plain = |args: &[&str]| args.iter().map(ToString::to_string).collect::<Vec<_>>();
    for args in [
        plain(&["init"]),
        plain(&["init", "--data-dir", &things]),
        on(&nothing, &[]),
        on(&bare, &[]),
        on(&broken, &[]),
        on(&unplaced, &[]),
        on("/does/not/exist", &[]),
        on(&home, &[]),
        on(&things, &["--overlay", &broken]),
        on(&things, &["--overlay", &bare]),
        on(&things, &["--server", "nonsense"]),
        on(&things, &["--server", "https://u:p@a.example"]),
        on(&things, &["--server", "https://a.example/?q"]),
        on(&things, &["--server", "https://10.0.0.1"]),
        on(&things, &["--allow-private-network", "here"]),
        plain(&["provider", "show", "nope"]),
        plain(&["provider", "show", "Nope"]),
        plain(&connect(&["--customer", ""])),
        plain(&connect(&["--customer", "c", "--scheme", "nope"])),
        plain(&connect(&["--customer", "c", "--environment", "prod"])),
        plain(&connect(&["--customer", "c", "--var", "x"])),
        plain(&connect(&["--customer", "c", "--scheme", "bearer", "--var", "x=y"])),
        plain(&connect(&["--customer", "c", "--scheme", "bearer", "--header", "Host=y"])),
        plain(&["connection", "revoke", id]),
        plain(&["connection", "revoke", "nope"]),
        plain(&["client", "create", "reader"]),
        plain(&["client", "create", "-"]),
        plain(&["client", "key", "create", "nope", "--expires", "1d"]),
        plain(&["client", "key", "create", "reader", "--expires", "1w"]),
        plain(&["client", "key", "revoke", "nope"]),
        plain(&["apply", "/does/not/exist"]),
        plain(&["apply", &home, "--dry-run"]),
        plain(&["audit", "verify", "--checkpoint", &things]),
        plain(&["audit", "verify", "--checkpoint", "/does/not/exist"]),
        plain(&["project", "--allow", "a..b"]),
        plain(&["project", "--allow", "a", &home]),
        plain(&["project", "--allow", "a", &nothing]),
        plain(&["serve", "--config", "/does/not/exist"]),
        plain(&["client", "list", "--root-key-file", &things]),
        plain(&["client", "list", "--root-key-file", &home]),
        plain(&["client", "lst"]),
        plain(&["audit", "list", "--limit", "many"]),
    ] {
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.push("--json");
        let output = weirgate.run(&args, br#"{"token":"t"}"#).unwrap();
        assert_ne!(output.status, Some(0), "{args:?}: {}", output.out());
        let said: Value = serde_json::from_str(&output.err())
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", output.err()));
        assert!(!text(&said, "error").is_empty(), "{args:?}");
        assert!(said["remedy"].as_str().is_some_and(|remedy| remedy.len() > 8), "{args:?}: {said}");
        let all = said.to_string();
        assert!(!all.contains("line 0"), "{args:?}: {all}");
        // A file that was given is named where it is at fault.
        if args[..2] == ["provider", "import"] && args.len() <= 6 && args[2].ends_with("yaml") {
            assert!(text(&said, "error").contains(args[2]), "{args:?}: {all}");
        }
    }
}

#[test]
fn what_the_gateway_does_not_serve_is_told_from_an_unknown_path() {
    let world = World::serving();
    let bearer = format!("Bearer {}", world.key);
    for path in ["/", "/proxy", "/healthy", "/favicon.ico"] {
        let answer = client::get(world.addr, path, &[("Authorization", &bearer)]).unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (404, "path_not_served"), "{path}");
    }
    assert_eq!(code(&world.get("/nothing/here")), "path_unknown");
    let page = client::get(world.addr, "/errors/path_not_served", &[]).unwrap();
    assert_eq!(page.status, 200);
}

fn demos(weirgate: &Weirgate) -> Vec<String> {
    let entries = std::fs::read_dir(weirgate.home()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("weirgate-demo-")).collect();
    names.sort();
    names
}

#[test]
fn a_demo_leaves_nothing_behind_unless_told_to() {
    let mut weirgate = binary();
    // Where a folder is named it is kept.
    weirgate.unset("WEIRGATE_DATA_DIR");
    let ports = ["--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];
    let demo = |more: &[&str]| {
        let args = [&["demo"], &ports[..], more].concat();
        let output = weirgate.run_within(Duration::from_secs(30), &args, b"").unwrap();
        assert_eq!(output.status, Some(0), "{}", output.err());
        output.out()
    };
    demo(&["--once"]);
    assert_eq!(demos(&weirgate), [""; 0]);
    // A demo that cannot start neither.
    let args = ["demo", "--gateway-addr", "192.0.2.1:1"];
    assert_ne!(weirgate.run(&args, b"").unwrap().status, Some(0));
    assert_eq!(demos(&weirgate), [""; 0]);
    // One that serves removes its folder when it is told to end.
    let mut server = weirgate.spawn(&[&["demo"], &ports[..]].concat()).unwrap();
    let line = server.wait_for_line(|line| line.contains("Ctrl-C")).unwrap();
    assert!(line.contains("is removed then") && line.contains(&demos(&weirgate)[0]), "{line}");
    let output = server.terminate().unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    assert_eq!(demos(&weirgate), [""; 0]);

    let said = demo(&["--once", "--keep"]);
    assert_eq!(demos(&weirgate).len(), 2, "the folder and its key");
    assert!(said.contains("Kept: the data folder"), "{said}");
    // The command that is shown works as it stands, in a shell without the program on its path.
    let command = said.lines().find(|line| line.contains("audit verify")).unwrap();
    let command = command.trim().trim_start_matches("$ ");
    assert!(command.starts_with(env!("CARGO_BIN_EXE_weirgate")), "{command}");
    let run = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(run.status.success(), "{command}: {}", String::from_utf8_lossy(&run.stderr));

    let named = weirgate.home().join("my demo").display().to_string();
    demo(&["--once", "--data-dir", &named]);
    ok(&weirgate, &["audit", "verify", "--data-dir", &named, "--json"]);
}

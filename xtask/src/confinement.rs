//! Rules over the sources: what only one crate may do, and what nobody may.

use crate::{
    manifests::{dependencies, line_of, members},
    rust::{bodies_of, mentions, views, without_tests},
    tree::{Problem, Tree, crate_of, line_at},
};

/// Something that only some crates may name.
struct Confined {
    paths: &'static [&'static str],
    crates: &'static [&'static str],
    /// Whether tests of other crates may.
    is_free_in_tests: bool,
    why: &'static str,
    remedy: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined {
        paths: &["sqlx"],
        crates: &["store"],
        is_free_in_tests: false,
        why: "every SQL statement is in `store`",
        remedy: "add a method to `store` and call that",
    },
    Confined {
        paths: &[
            "hyper::client",
            "h2::client",
            "ClientConfig",
            "ClientConnection",
            "TlsConnector",
            "TcpSocket",
            "TcpStream::connect",
        ],
        crates: &["outbound", "testkit"],
        is_free_in_tests: true,
        why: "only `outbound` connects, so that every address is judged and pinned",
        remedy: "send the request through `outbound`",
    },
    Confined {
        paths: &["aws_lc_rs"],
        crates: &[
            "vault",
            "audit",
            "identity",
            "gateway",
            "outbound",
            "sandbox",
            "app",
            "testkit",
            "properties",
        ],
        is_free_in_tests: true,
        why: "cryptography stays where it can be reviewed",
        remedy: "use what `vault` or `audit` offers",
    },
    Confined {
        paths: &["argon2"],
        crates: &["identity", "vault"],
        is_free_in_tests: false,
        why: "passwords are hashed in `identity`, and the root key's passphrase in `vault`",
        remedy: "use what they offer",
    },
    Confined {
        paths: &["vsss_rs"],
        crates: &["vault"],
        is_free_in_tests: false,
        why: "the root key is split where it is made",
        remedy: "use what `vault` offers",
    },
    Confined {
        paths: &["totp_rs", "webauthn_rs", "openidconnect"],
        crates: &["identity"],
        is_free_in_tests: false,
        why: "how people prove who they are is decided in `identity`",
        remedy: "use what `identity` offers",
    },
    Confined {
        paths: &["axum", "askama"],
        crates: &["api"],
        is_free_in_tests: false,
        why: "the control plane has one edge",
        remedy: "put the route or page into `api`",
    },
    Confined {
        paths: &["cedar_policy", "miette"],
        crates: &["policy"],
        is_free_in_tests: false,
        why: "there is one decision point, and its engine takes long to build",
        remedy: "use what `policy` offers",
    },
    Confined {
        paths: &["std::env", "env::var", "env::var_os", "env::vars", "env::args"],
        crates: &["weirgate", "xtask"],
        is_free_in_tests: true,
        why: "configuration is read in `weirgate` only",
        remedy: "take the value as an argument",
    },
    Confined {
        paths: &["println!", "print!", "eprintln!", "eprint!", "dbg!"],
        crates: &["weirgate"],
        is_free_in_tests: true,
        why: "a library does not talk; the binary does",
        remedy: "return the text, or log through `tracing`",
    },
];

/// Names after `::` of another crate's re-export, which are not the crate itself.
const REEXPORTS: &[&str] = &["crypto::"];

pub(crate) fn confinement(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, source) in tree.ending(".rs") {
        let Some(name) = crate_of(file) else { continue };
        let all = views(source).code;
        let shipped = if is_test_file(file) { String::new() } else { without_tests(&all) };
        for confined in CONFINED.iter().filter(|confined| !confined.crates.contains(&name)) {
            let code = if confined.is_free_in_tests { &shipped } else { &all };
            let mut lines = Vec::new();
            for path in confined.paths {
                for at in mentions(code, path) {
                    let before = code.get(..at).unwrap_or_default();
                    let line = line_at(code, at);
                    let is_reexport = REEXPORTS.iter().any(|name| before.ends_with(name));
                    // One place may be named by two of the paths.
                    if is_reexport || lines.contains(&line) {
                        continue;
                    }
                    lines.push(line);
                    problems.push(Problem {
                        file: file.to_owned(),
                        line,
                        what: format!("`{path}` in crate `{name}`"),
                        why: confined.why,
                        remedy: confined.remedy.to_owned(),
                    });
                }
            }
        }
    }
    problems
}

/// Dependencies whose client side only one crate may turn on.
const CLIENT_SIDES: &[(&str, &str)] = &[
    ("hyper", "client"),
    ("hyper-util", "client"),
    ("hyper-util", "client-legacy"),
    ("h2", ""),
    ("tokio-rustls", ""),
    ("hickory-resolver", ""),
];

/// Dependencies with a server's side that cannot be had apart; there the client's names are confined.
const SERVER_SIDES: &[(&str, &str)] =
    &[("gateway", "tokio-rustls"), ("testkit", "tokio-rustls"), ("testkit", "h2")];

/// The manifests' side of the confinement: a feature of a dependency, or the dependency as a whole.
pub(crate) fn features(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, text, name, manifest) in members(tree).filter(|(_, _, name, _)| *name != "outbound")
    {
        let found = dependencies(&manifest);
        for (kind, key, package) in found.iter().filter(|(kind, _, _)| kind == "dependencies") {
            let chosen = manifest.get(kind).and_then(|table| table.get(key));
            let chosen = chosen.and_then(|value| value.get("features"));
            let chosen = chosen.and_then(toml::Value::as_array);
            let has = |feature: &str| {
                let mut names = chosen.into_iter().flatten().filter_map(toml::Value::as_str);
                feature.is_empty() || names.any(|name| name == feature || name == "full")
            };
            let is_client =
                |(crate_name, feature): &&(&str, &str)| package == crate_name && has(feature);
            if SERVER_SIDES.contains(&(name, package)) {
                continue;
            }
            if let Some((package, feature)) = CLIENT_SIDES.iter().find(is_client) {
                let what = if feature.is_empty() {
                    format!("crate `{name}` depends on `{package}`")
                } else {
                    format!("crate `{name}` turns on `{feature}` of `{package}`")
                };
                problems.push(Problem {
                    file: file.to_owned(),
                    line: line_of(text, kind, key),
                    what,
                    why: "only `outbound` connects, so that every address is judged and pinned",
                    remedy: "send the request through `outbound`".into(),
                });
            }
        }
    }
    problems
}

pub(crate) fn no_unsafe(tree: &Tree) -> Vec<Problem> {
    const WHY: &str = "there is no unsafe code in this repository";
    let mut problems = Vec::new();
    for (file, source) in tree.ending(".rs").filter(|(file, _)| crate_of(file).is_some()) {
        let code = views(source).code;
        for at in mentions(&code, "unsafe") {
            problems.push(Problem {
                file: file.to_owned(),
                line: line_at(&code, at),
                what: "the keyword `unsafe`".into(),
                why: WHY,
                remedy: "use a safe interface".into(),
            });
        }
        let is_root = file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
        if is_root && !code.contains("#![forbid(unsafe_code)]") {
            problems.push(Problem {
                file: file.to_owned(),
                line: 1,
                what: "the crate does not forbid unsafe code".into(),
                why: WHY,
                remedy: "add `#![forbid(unsafe_code)]` below the crate's documentation".into(),
            });
        }
    }
    problems
}

/// Files outside `types` that read a monotonic clock, each for the reason given. Nobody else reads
/// the wall clock.
const MONOTONIC: &[(&str, &str)] = &[
    ("crates/audit/src/writer.rs", "the age of unsynced entries must not follow the wall clock"),
    ("crates/audit/src/disk_tests.rs", "waits for the writer with a bound"),
    ("crates/outbound/src/body.rs", "time-outs of an answer"),
    ("crates/outbound/src/connect.rs", "time-outs of a connection"),
    ("crates/outbound/src/pool.rs", "the age of idle connections"),
    ("crates/app/src/folder.rs", "how long a server waits for the folder"),
    ("crates/gateway/src/limits.rs", "windows of time must not follow the wall clock"),
    ("crates/gateway/src/snapshot.rs", "a Snapshot must not outlive a clock that is set back"),
    ("crates/gateway/src/renewals.rs", "how long a call has waited for a token"),
    ("crates/gateway/src/recorder.rs", "how long a call has waited for the log"),
    ("crates/gateway/src/crowd.rs", "how long a connection has been idle"),
    ("crates/app/src/folder.rs", "how long the folder's lock was waited for"),
    ("crates/app/src/tokens/renewer.rs", "how long a lease was watched, whatever clocks say"),
    ("crates/app/src/witness.rs", "how long ago a witness was asked"),
    ("crates/weirgate/src/outside/mod.rs", "how old what is kept outside has become"),
    ("crates/weirgate/src/clock_watch.rs", "the wall clock is held against the time that passes"),
    ("crates/app/src/calls/ledger.rs", "the log is read a few times a second, whoever asks"),
    ("crates/api/src/live.rs", "when a stream was last told something"),
    ("crates/api/src/audit/export.rs", "when whoever takes entries was last judged"),
    ("crates/app/src/follow.rs", "when the store was asked, for the age of the Snapshot"),
];

pub(crate) fn clock(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, source) in tree.ending(".rs") {
        let name = crate_of(file);
        if matches!(name, None | Some("testkit" | "xtask"))
            || file == "crates/types/src/clock.rs"
            || is_test_file(file)
        {
            continue;
        }
        let code = without_tests(&views(source).code);
        let is_measured = MONOTONIC.iter().any(|(path, _)| *path == file);
        let paths: &[&str] = if is_measured { &["SystemTime"] } else { &["SystemTime", "Instant"] };
        for path in paths {
            // Telling the first place is enough.
            if let Some(at) = mentions(&code, path).next() {
                problems.push(Problem {
                    file: file.to_owned(),
                    line: line_at(&code, at),
                    what: format!("reads a clock: `{path}`"),
                    why: "time comes from an injected clock, so that tests can move it",
                    remedy: "use `types::Clock`; a measured duration may be listed in MONOTONIC \
                             in xtask, with its reason"
                        .into(),
                });
            }
        }
    }
    problems
}

/// Functions that compare what somebody shows with what is secret. Digests that rows are looked up by
/// are no such: who can choose them knows what they are of.
const JUDGES: &[(&str, &str)] = &[
    ("crates/identity/src/oidc/id_token.rs", "verify"),
    ("crates/identity/src/oidc/request.rs", "has_state"),
    ("crates/identity/src/password.rs", "verify"),
    ("crates/identity/src/token.rs", "matches"),
    ("crates/vault/src/pepper.rs", "digests_match"),
];

pub(crate) fn constant_time(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, name) in JUDGES {
        // Rules are tested with trees of a single file.
        let Some(source) = tree.files.get(*file) else { continue };
        let code = without_tests(&views(source).code);
        let is_told = |(start, length): &(usize, usize)| {
            let body = code.get(*start..start + length).unwrap_or_default();
            body.contains("constant_time::verify_slices_are_equal(")
        };
        let bodies = bodies_of(&code, name);
        if bodies.is_empty() || !bodies.iter().all(is_told) {
            let at = bodies.first().map_or(0, |(start, _)| *start);
            problems.push(Problem {
                file: (*file).to_owned(),
                line: line_at(&code, at),
                what: format!("`{name}` does not compare in constant time"),
                why: "how long a comparison takes would tell how much of a guess is right",
                remedy: "use `constant_time::verify_slices_are_equal`; a function that moved is \
                         named in JUDGES in xtask"
                    .into(),
            });
        }
    }
    problems
}

/// Whether the whole file is for tests.
fn is_test_file(file: &str) -> bool {
    let is_under = |folder: &str| file.split('/').any(|part| part == folder);
    is_under("tests") || is_under("benches") || is_under("examples") || file.ends_with("/tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Tree) -> Vec<Problem>, file: &str, source: &str) -> Vec<usize> {
        rule(&Tree::of(&[(file, source)])).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn confined_names_are_found_where_they_do_not_belong() {
        for (confined, home) in [
            ("use sqlx::query;", "store"),
            ("let a = hyper::client::conn::http1::handshake(io);", "outbound"),
            ("let a = TcpStream::connect(addr).await;", "outbound"),
            ("use aws_lc_rs::hmac;", "vault"),
            ("use webauthn_rs::prelude::*;", "identity"),
            ("use cedar_policy::PolicySet;", "policy"),
            ("use axum::Router;", "api"),
            ("let a = std::env::var(name);", "weirgate"),
            ("use std::{env, fmt}; fn a() { env::args(); }", "weirgate"),
            ("println!();", "weirgate"),
        ] {
            let source = format!("fn first() {{}}\n{confined}\n");
            assert_eq!(lines(confinement, "crates/detect/src/a.rs", &source), [2], "{confined}");
            let at_home = format!("crates/{home}/src/a.rs");
            assert!(lines(confinement, &at_home, &source).is_empty(), "{confined}");
            let hidden = format!("// {confined}\nfn a() {{ b(r#\"{confined}\"#) }}\n");
            assert!(lines(confinement, "crates/detect/src/a.rs", &hidden).is_empty());
        }
    }

    #[test]
    fn tests_may_talk_and_connect_but_not_speak_sql() {
        let test = "#[cfg(test)]\nmod tests { fn a() { println!(); TcpStream::connect(b); } }";
        assert!(lines(confinement, "crates/app/src/a.rs", test).is_empty());
        assert!(
            lines(confinement, "crates/app/tests/it/main.rs", "fn a() { println!() }").is_empty()
        );
        let sql = "#[cfg(test)]\nmod tests { use sqlx::query; }";
        assert_eq!(lines(confinement, "crates/app/src/a.rs", sql), [2]);
    }

    #[test]
    fn secrets_are_compared_in_constant_time() {
        let file = "crates/vault/src/pepper.rs";
        let right = "fn a() {}\nfn digests_match(a: &[u8], b: &[u8]) -> bool {\n    \
                     constant_time::verify_slices_are_equal(a, b).is_ok()\n}\n";
        assert!(lines(constant_time, file, right).is_empty());
        let wrong = right.replace("constant_time::verify_slices_are_equal(a, b).is_ok()", "a == b");
        assert_eq!(lines(constant_time, file, &wrong), [2]);
        let hidden = wrong.replace("a == b", "a == b // constant_time::verify_slices_are_equal(");
        assert_eq!(lines(constant_time, file, &hidden), [2]);
        assert_eq!(lines(constant_time, file, "fn a() {}\n"), [1], "moved");
    }

    #[test]
    fn a_reexport_is_not_the_crate() {
        let source = "fn a() { rustls::crypto::aws_lc_rs::default_provider(); }";
        assert!(lines(confinement, "crates/weirgate/src/main.rs", source).is_empty());
    }

    #[test]
    fn client_features_are_turned_on_by_outbound_alone() {
        let client = "[dependencies]\nhyper = { workspace = true, features = [\"client\"] }\n";
        assert_eq!(lines(features, "crates/app/Cargo.toml", client), [2]);
        assert!(lines(features, "crates/outbound/Cargo.toml", client).is_empty());
        let server = client.replace("client", "server");
        assert!(lines(features, "crates/app/Cargo.toml", &server).is_empty());
        let tls = "[dependencies]\ntokio-rustls.workspace = true\n";
        assert_eq!(lines(features, "crates/app/Cargo.toml", tls), [2]);
        assert!(lines(features, "crates/gateway/Cargo.toml", tls).is_empty());
        let dev = client.replace("dependencies", "dev-dependencies");
        assert!(lines(features, "crates/app/Cargo.toml", &dev).is_empty());
    }

    #[test]
    fn unsafe_code_is_found_and_must_be_forbidden() {
        let forbids = "//! Docs.\n#![forbid(unsafe_code)]\n";
        assert!(lines(no_unsafe, "crates/app/src/lib.rs", forbids).is_empty());
        assert_eq!(lines(no_unsafe, "crates/app/src/lib.rs", "//! Docs.\n"), [1]);
        assert_eq!(lines(no_unsafe, "xtask/src/main.rs", "// #![forbid(unsafe_code)]\n"), [1]);
        let source = "// unsafe\nfn a() {\n    unsafe { b() }\n}";
        assert_eq!(lines(no_unsafe, "crates/app/src/a.rs", source), [3]);
        assert_eq!(lines(no_unsafe, "crates/app/tests/it/a.rs", source), [3]);
    }

    #[test]
    fn clocks_are_read_in_one_place() {
        let source = "use std::time::Instant;\nfn a() { Instant::now(); }";
        assert_eq!(lines(clock, "crates/app/src/a.rs", source), [1]);
        assert!(lines(clock, "crates/types/src/clock.rs", source).is_empty());
        assert!(lines(clock, "crates/app/tests/it/a.rs", source).is_empty());
        let test = format!("#[cfg(test)]\nmod tests {{ {source} }}");
        assert!(lines(clock, "crates/app/src/a.rs", &test).is_empty());
        assert_eq!(lines(clock, "crates/app/src/a.rs", "fn a() { SystemTime::now() }"), [1]);
    }
}

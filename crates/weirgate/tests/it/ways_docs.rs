//! What the pages on ways to authenticate show, and overlays for vendors, are imported and used.

use crate::world::{binary, ok, ok_with, text};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use testkit::{THING_DESCRIPTION, Weirgate};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Keys and certificates in place of the words that stand for them.
fn with_keys(weirgate: &Weirgate, secret: &str) -> Value {
    let mut secret: Value =
        serde_json::from_str(secret).unwrap_or_else(|why| panic!("{secret}: {why}"));
    let run = |args: &[&str]| {
        let output =
            Command::new("openssl").current_dir(weirgate.home()).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let read = |name: &str| fs::read_to_string(weirgate.home().join(name)).unwrap();
    if secret.get("certificate").is_some() {
        run(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "c.key",
            "-out",
            "c.pem",
            "-subj",
            "/CN=weirgate",
            "-days",
            "20",
        ]);
        secret["certificate"] = read("c.pem").into();
        secret["private_key"] = read("c.key").into();
    } else if let Some(kind) = secret.get("private_key").and_then(Value::as_str) {
        let algorithm: &[&str] = match kind {
            "EC" => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            _ => &["-algorithm", "RSA"],
        };
        run(&[&["genpkey", "-out", "p.key"], algorithm].concat());
        secret["private_key"] = read("p.key").into();
    }
    secret
}

/// Imports, and makes a connection of the scheme with the secret.
fn connects(
    weirgate: &Weirgate,
    name: &str,
    import: &[&str],
    (scheme, secret): (&str, &Value),
    vars: &[&str],
) {
    let args = ["provider", "import", import[0], "--name", name, "--json"];
    ok(weirgate, &[&args[..], &import[1..]].concat());
    let shown = ok(weirgate, &["provider", "show", name, "--json"]);
    let bad: Vec<&Value> = shown["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| {
            one["pointer"].as_str().is_some_and(|at| at.contains("x-weirgate-auth"))
                && one["code"] != "pkce_off"
        })
        .collect();
    assert!(bad.is_empty(), "{name}: {bad:?}");
    let mut args = vec![
        "connection",
        "create",
        "--provider",
        name,
        "--customer",
        "c",
        "--scheme",
        scheme,
        "--secret-file",
        "-",
        "--json",
    ];
    args.extend(vars.iter().flat_map(|var| ["--var", *var]));
    let made = ok_with(weirgate, &args, secret.to_string().as_bytes());
    assert_eq!(text(&made, "scheme"), scheme, "{name}");
}

#[test]
fn overlays_for_vendors_are_accepted() {
    let corpus = folder("../../../shared/openapi-corpus");
    if !corpus.is_dir() {
        eprintln!("skipped: the corpus of vendors' descriptions is not beside this clone");
        return;
    }
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let mut count = 0;
    for file in fs::read_dir(folder("tests/auth_overlays")).unwrap() {
        let path = file.unwrap().path();
        let overlay = fs::read_to_string(&path).unwrap();
        let heads = |name: &str| -> Vec<String> {
            let head = format!("# {name}: ");
            overlay
                .lines()
                .filter_map(|line| line.strip_prefix(&head))
                .map(ToOwned::to_owned)
                .collect()
        };
        let one = |name: &str| heads(name).pop();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let description = corpus.join(one("corpus").unwrap()).display().to_string();
        let overlay_path = path.display().to_string();
        let mut import = vec![description.as_str(), "--overlay", &overlay_path];
        let server = one("server");
        if let Some(server) = &server {
            import.extend(["--server", server]);
        }
        let secret = with_keys(&weirgate, &one("secret").unwrap());
        let vars = heads("var");
        let vars: Vec<&str> = vars.iter().map(String::as_str).collect();
        connects(&weirgate, &name, &import, (&one("scheme").unwrap(), &secret), &vars);
        count += 1;
    }
    assert!(count >= 25, "{count}");
}

/// Blocks of a kind, in order.
fn blocks<'t>(page: &'t str, kind: &str) -> Vec<&'t str> {
    let begin = format!("```{kind}\n");
    page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn examples_of_the_pages_are_accepted() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let description = weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let mut count = 0;
    for file in fs::read_dir(folder("../../docs/authentication")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let page = fs::read_to_string(&path).unwrap();
        let (overlays, secrets) = (blocks(&page, "yaml"), blocks(&page, "json"));
        assert!(!overlays.is_empty() && overlays.len() == secrets.len(), "{name}");
        for (number, (overlay, secret)) in overlays.iter().zip(&secrets).enumerate() {
            let overlay_path = weirgate.file(&format!("{name}.yaml"), overlay).unwrap();
            let scheme = overlay
                .lines()
                .skip_while(|line| line.trim() != "securitySchemes:")
                .nth(1)
                .unwrap();
            let scheme = scheme.trim().trim_end_matches(':');
            let secret = with_keys(&weirgate, secret);
            let import = [
                description.as_str(),
                "--overlay",
                &overlay_path,
                "--server",
                "https://api.example.com",
            ];
            connects(&weirgate, &format!("{name}-{number}"), &import, (scheme, &secret), &[]);
            count += 1;
        }
    }
    assert!(count >= 12, "{count}");
}

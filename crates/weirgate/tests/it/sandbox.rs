//! `weirgate sandbox` as a user starts it.

use crate::world::{binary, fails, text};
use std::{net::SocketAddr, path::Path};
use testkit::{client, runner::Server};

const HR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sandbox/hr.yaml");

fn start(args: &[&str]) -> (Server, serde_json::Value, SocketAddr) {
    let weirgate = binary();
    let mut all = vec!["sandbox", "--listen", "127.0.0.1:0", "--json"];
    all.extend(args);
    let (server, line) = weirgate.spawn_until_json(&all).unwrap();
    let url = text(&line, "url");
    let authority = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let addr = authority.parse().unwrap();
    (server, line, addr)
}

#[test]
fn a_description_is_served_with_its_credential_and_faults() {
    let (server, line, addr) =
        start(&[HR, "--records", "12", "--fault", "503 first=1 path=/time-off"]);
    assert_eq!(line["collections"], 3);
    assert!(text(&line, "url").ends_with("/v1"));
    let bearer = format!("Bearer {}", text(&line, "credential"));
    let get = |path: &str, headers: &[(&str, &str)]| client::get(addr, path, headers).unwrap();
    assert_eq!(get("/v1/employees", &[]).status, 401);
    let authorization = ("Authorization", bearer.as_str());
    let page = get("/v1/employees", &[authorization]).json().unwrap();
    assert_eq!((page["total"].as_u64(), page["results"].as_array().unwrap().len()), (Some(12), 10));
    let next = page["next"].as_str().unwrap().split_once(&addr.to_string()).unwrap().1;
    let rest = get(next, &[authorization]).json().unwrap();
    assert_eq!(rest["results"].as_array().unwrap().len(), 2);
    assert!(rest["next"].is_null());
    let failed: Vec<u16> = (0..2).map(|_| get("/v1/time-off", &[authorization]).status).collect();
    assert_eq!(failed, [503, 200]);
    let output = server.terminate().unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
}

#[test]
fn bad_starts_exit_with_their_reason() {
    let weirgate = binary();
    let said = fails(&weirgate, 2, &["sandbox", HR, "--listen", "0.0.0.0:0"], b"");
    assert!(said.contains("plain HTTP"), "{said}");
    let said = fails(&weirgate, 2, &["sandbox", "-"], b"<html>");
    assert!(said.contains("remedy"), "{said}");
    let said = fails(&weirgate, 2, &["sandbox", HR, "--fault", "explode"], b"");
    assert!(said.contains("it begins with no fault") && !said.contains("explode"), "{said}");
    fails(&weirgate, 3, &["sandbox", "no-such-file.yaml"], b"");
}

/// The largest descriptions by bytes, operations and schemas.
#[test]
fn the_largest_descriptions_start_small() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/openapi-corpus");
    if !corpus.join("INDEX.tsv").is_file() {
        eprintln!("skipped: the corpus of real descriptions is not beside the project");
        return;
    }
    for file in ["square.json", "asana.yaml", "okta-management.yaml"] {
        let path = corpus.join(file).display().to_string();
        let (server, ..) = start(&[&path]);
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak_kb < 150 * 1_024, "{file}: {peak_kb} kB");
        drop(server);
    }
}

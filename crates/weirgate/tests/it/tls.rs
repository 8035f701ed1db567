//! TLS on both ports: who is let in, and certificates that change while calls are served.

use crate::world::{World, ok};
use rustls::{
    NamedGroup,
    version::{TLS12, TLS13},
};
use serde_json::Value;
use std::{
    fs::Permissions,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::Duration,
};
use testkit::{
    TlsOptions, client,
    listener::{Certificate, ClientStream, connect},
    wait_until,
};
use types::{Clock as _, SystemClock, Timestamp};

const PATIENCE: Duration = Duration::from_secs(10);

/// Puts both files where the configuration names them, as a tool for certificates does.
fn install(world: &World, certificate: &Certificate) {
    world.weirgate.file("tls/cert.pem.new", &certificate.chain_pem).unwrap();
    let key = world.weirgate.file("tls/key.pem.new", &certificate.key_pem).unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let dir = world.weirgate.home().join("tls");
    for name in ["cert.pem", "key.pem"] {
        std::fs::rename(dir.join(format!("{name}.new")), dir.join(name)).unwrap();
    }
}

pub fn prepared() -> (World, Certificate) {
    let mut world = World::prepared();
    let certificate = Certificate::make(&TlsOptions::default()).unwrap();
    install(&world, &certificate);
    let path = |name: &str| world.weirgate.home().join("tls").join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    world.weirgate.set("WEIRGATE_TLS_CERT", &cert);
    world.weirgate.set("WEIRGATE_TLS_KEY", &key);
    (world, certificate)
}

fn serving() -> (World, Certificate) {
    let (mut world, certificate) = prepared();
    world.serve();
    (world, certificate)
}

fn open(addr: SocketAddr, certificate: &Certificate) -> ClientStream {
    connect(addr, &certificate.root_der, &[&TLS13], &["http/1.1"]).unwrap()
}

/// One request that closes the connection, and all that came back.
fn ask(stream: &mut ClientStream, head: &str) -> String {
    write!(stream, "{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn authorized(world: &World, path: &str) -> String {
    format!("GET {} HTTP/1.1\r\nAuthorization: Bearer {}", world.path(path), world.key)
}

#[test]
fn both_ports_speak_tls_1_3_and_nothing_less() {
    let (mut world, certificate) = serving();
    let answer = ask(&mut open(world.addr, &certificate), &authorized(&world, "/things/1"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut console = open(world.console, &certificate);
    assert!(ask(&mut console, "GET /readyz HTTP/1.1").ends_with("ready\n"));
    for addr in [world.addr, world.console] {
        let offer =
            |versions: &[_], alpn: &[&str]| connect(addr, &certificate.root_der, versions, alpn);
        assert_eq!(
            offer(&[&TLS13], &["http/1.1"]).unwrap().conn.alpn_protocol(),
            Some(&b"http/1.1"[..])
        );
        // What is recorded today is not read once there are quantum computers.
        let stream = offer(&[&TLS13], &["http/1.1"]).unwrap();
        let group = stream.conn.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        // Who names no protocol gets HTTP/1.1; who names only others, nothing.
        assert_eq!(offer(&[&TLS13], &[]).unwrap().conn.alpn_protocol(), None);
        assert!(offer(&[&TLS13], &["ftp"]).is_err());
        assert!(offer(&[&TLS12], &["http/1.1"]).is_err());
        // Plain HTTP gets no HTTP.
        assert!(client::get(addr, "/healthz", &[]).is_err());
    }
    // URLs that lead back do so by TLS.
    let list = ask(&mut open(world.addr, &certificate), &authorized(&world, "/things"));
    let next = format!("https://{}{}", world.addr, world.path("/things"));
    assert!(list.contains(&next), "no {next} in {list}");
    world.stop();
}

/// The raw bytes are judged within TLS as without it.
#[test]
fn a_request_in_doubt_is_refused_within_tls() {
    let (world, certificate) = serving();
    let mut stream = open(world.addr, &certificate);
    let head = authorized(&world, "/things/1");
    let smuggled = "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked";
    let answer = ask(&mut stream, &format!("{head}{smuggled}"));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("request_malformed"), "{answer}");
    assert_eq!(world.provider.requests().len(), 0);
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let (world, first) = serving();
    let mut running = open(world.addr, &first);
    let is_shown = |addr: SocketAddr, certificate: &Certificate| {
        connect(addr, &certificate.root_der, &[&TLS13], &[]).is_ok()
    };
    let second = Certificate::make(&TlsOptions::default()).unwrap();
    assert!(!is_shown(world.addr, &second));
    install(&world, &second);
    wait_until(PATIENCE, || is_shown(world.addr, &second) && is_shown(world.console, &second));
    assert!(!is_shown(world.addr, &first));
    // What was under way goes on.
    let answer = ask(&mut running, &authorized(&world, "/things/1"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    // A bad pair changes nothing, whichever way it is bad, and a good one after it is taken.
    let server = world.server.as_ref().unwrap();
    let kept = |times: usize| {
        wait_until(PATIENCE, || {
            server.err().matches("the new certificate is not used").count() == times
        });
        assert!(is_shown(world.addr, &second) && is_shown(world.console, &second));
    };
    let other = Certificate::make(&TlsOptions::default()).unwrap();
    let mismatched = Certificate { key_pem: other.key_pem.clone(), ..first.clone() };
    install(&world, &mismatched);
    kept(1);
    install(&world, &Certificate { chain_pem: "cut".into(), ..first.clone() });
    kept(2);
    install(&world, &first);
    let key = world.weirgate.home().join("tls/key.pem");
    std::fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    kept(3);
    std::fs::set_permissions(&key, Permissions::from_mode(0o400)).unwrap();
    wait_until(PATIENCE, || is_shown(world.addr, &first) && is_shown(world.console, &first));
    let said = server.err();
    for part in ["is not that of the first certificate", "mode 0640", "chmod 600"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let secret: String = first.key_pem.lines().skip(1).take(1).collect();
    assert!(!said.contains(&secret));
}

#[test]
fn tls_is_configured_whole_and_all_that_is_wrong_is_told_at_once() {
    let (mut world, certificate) = prepared();
    let problems = |world: &World, args: &[&str]| -> String {
        let args = [&["serve", "--json"], args].concat();
        let output = world.weirgate.run(&args, b"").unwrap();
        assert_eq!(output.status, Some(2), "{}", output.err());
        format!("{}{}", output.out(), output.err())
    };
    let everywhere = &["--gateway-addr", "0.0.0.0:0", "--console-addr", "0.0.0.0:0"];
    // With a certificate an address may be any; the URL is still asked for.
    let told = problems(&world, everywhere);
    assert!(told.contains("`public_url` is missing"), "{told}");
    assert!(!told.contains("without TLS"), "{told}");

    let key = world.weirgate.home().join("tls/key.pem");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let told = problems(&world, everywhere);
    assert!(told.contains("`tls_key` cannot be used") && told.contains("mode 0644"), "{told}");
    assert!(told.contains("`public_url` is missing"), "{told}");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();

    let other = Certificate::make(&TlsOptions::default()).unwrap();
    install(&world, &Certificate { key_pem: other.key_pem, ..certificate.clone() });
    assert!(problems(&world, &[]).contains("is not that of the first certificate"));
    install(&world, &Certificate { chain_pem: String::new(), ..certificate });
    assert!(problems(&world, &[]).contains("`tls_cert` cannot be used"));
    std::fs::remove_file(&key).unwrap();
    assert!(problems(&world, &[]).contains("`tls_key` cannot be used"), "a missing file");

    world.weirgate.set("WEIRGATE_TLS_KEY", "");
    let told = problems(&world, everywhere);
    assert!(told.contains("`tls_key` is missing beside `tls_cert`"), "{told}");
    assert!(told.contains("without TLS"), "{told}");
}

#[test]
fn sslyze_finds_mozillas_modern_profile() {
    let Some(programs) = std::env::var_os("WEIRGATE_TEST_SSLYZE") else {
        eprintln!("skipped: WEIRGATE_TEST_SSLYZE does not name the folder with sslyze's program");
        return;
    };
    let (mut world, certificate) = serving();
    let root = world.weirgate.file("tls/root.pem", &certificate.root_pem).unwrap();
    let report = world.weirgate.home().join("sslyze.json");
    for addr in [world.addr, world.console] {
        let output = Command::new(Path::new(&programs).join("sslyze"))
            .args(["--certinfo_ca_file", &root, "--mozilla_config", "modern", "--json_out"])
            .arg(&report)
            .arg(format!("localhost:{}", addr.port()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("Checking results against Mozilla's \"modern\""), "{text}");
        let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        let scanned = &report["server_scan_results"][0]["scan_result"];
        let accepted = |version: &str| {
            let result = &scanned[version]["result"];
            result["accepted_cipher_suites"].as_array().unwrap().len()
        };
        assert_eq!(accepted("tls_1_3_cipher_suites"), 3, "{scanned}");
        for version in ["ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2"] {
            assert_eq!(accepted(&format!("{version}_cipher_suites")), 0, "{version}");
        }
    }
    world.stop();
}

#[test]
fn doctor_knows_a_server_with_tls() {
    let (mut world, _) = serving();
    let (gateway, console) = (world.addr.to_string(), world.console.to_string());
    let mut weirgate = testkit::Weirgate::binary(env!("CARGO_BIN_EXE_weirgate")).unwrap();
    weirgate.set("WEIRGATE_GATEWAY_ADDR", &gateway);
    weirgate.set("WEIRGATE_CONSOLE_ADDR", &console);
    ok(&weirgate, &["init", "--json"]);
    let output = weirgate.run(&["doctor"], b"").unwrap();
    let held = format!("console_addr {console} is held by a server that lives");
    assert!(output.out().contains(&held), "{}", output.out());
    assert!(output.out().contains(&format!("{console} serves calls")), "{}", output.out());
    world.stop();
}

#[test]
fn the_end_of_the_certificate_is_told() {
    let (mut world, first) = prepared();
    world.serve();
    // Those of the server are its own.
    world.weirgate.set("WEIRGATE_GATEWAY_ADDR", "127.0.0.1:0");
    world.weirgate.set("WEIRGATE_CONSOLE_ADDR", "127.0.0.1:0");
    let end = |name: &str| {
        let figures = ask(&mut open(world.console, &first), "GET /metrics HTTP/1.1");
        let line = figures.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        line.parse::<f64>().unwrap()
    };
    let told = end("weirgate_certificate_expires_timestamp_seconds ");
    let now = SystemClock.now().since(Timestamp::EPOCH);
    let days = (told - now.as_secs_f64()) / 86_400.0;
    assert!((59.0..=60.0).contains(&days), "{days}");
    let doctor = |wanted: i32, said: &str| {
        let output = world.weirgate.run(&["doctor"], b"").unwrap();
        let out = output.out();
        let line = out.lines().find(|line| line.contains(" certificate ")).unwrap();
        assert_eq!(output.status, Some(wanted), "{out}");
        assert!(line.contains(said), "{line}");
    };
    doctor(0, "valid until");
    let expired = TlsOptions { is_expired: true, ..TlsOptions::default() };
    install(&world, &Certificate::make(&expired).unwrap());
    doctor(6, "ended at 2001-01-01");
    world.stop();
}

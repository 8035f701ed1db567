//! `weirgate doctor` and what is made for shells and readers of manuals.

use crate::world::{World, binary};
use serde_json::Value;
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    process::Command,
    time::Duration,
};

/// Level and text of each finding of a check.
fn findings(answer: &Value, check: &str) -> Vec<(String, String)> {
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["check"] == check)
        .map(|one| (text(one, "level"), text(one, "what") + &text(one, "remedy")))
        .collect()
}

fn examined(world: &World) -> (i32, Value) {
    let output = world.weirgate.run(&["doctor", "--json"], b"").unwrap();
    (output.status.unwrap(), output.json().unwrap())
}

fn levels(answer: &Value, check: &str) -> Vec<String> {
    findings(answer, check).into_iter().map(|(level, _)| level).collect()
}

#[test]
fn a_sound_installation_is_well_and_each_fault_is_found_alone() {
    let mut world = World::prepared();
    world.weirgate.set("WEIRGATE_GATEWAY_ADDR", "127.0.0.1:0");
    world.weirgate.set("WEIRGATE_CONSOLE_ADDR", "127.0.0.1:0");
    let (exit, well) = examined(&world);
    assert_eq!(exit, 0, "{well:#}");
    for check in ["configuration", "ports", "files", "folder", "root key", "clock"] {
        assert!(levels(&well, check).iter().all(|level| level == "good"), "{check}: {well:#}");
    }
    // How much room there is is the machine's affair.
    assert_eq!(levels(&well, "disk").len(), 1);
    assert_eq!(levels(&well, "audit"), ["good"]);
    assert_eq!(levels(&well, "providers"), ["good"]);

    let data = world.weirgate.data_dir();
    let mode = |mode| fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    let (exit, answer) = examined(&world);
    assert_eq!((exit, levels(&answer, "folder")), (6, vec!["bad".to_owned()]));
    assert!(findings(&answer, "folder")[0].1.contains("chmod 700"));
    assert_eq!(levels(&answer, "audit"), ["good"]);
    mode(0o700);

    world.provider.stop();
    let (exit, answer) = examined(&world);
    assert_eq!((exit, levels(&answer, "providers")), (0, vec!["warning".to_owned()]));

    let tail = data.join("audit/tail");
    let whole = fs::read(&tail).unwrap();
    let mut edited = whole.clone();
    edited[20] ^= 1;
    fs::write(&tail, edited).unwrap();
    let (exit, answer) = examined(&world);
    assert_eq!((exit, levels(&answer, "audit")), (6, vec!["bad".to_owned()]));
    fs::write(&tail, whole).unwrap();

    world.weirgate.set("WEIRGATE_MAX_CALLS", "none");
    world.weirgate.set("WEIRGATE_CORES", "-1");
    let (exit, answer) = examined(&world);
    assert_eq!((exit, levels(&answer, "configuration").len()), (6, 2), "{answer:#}");
}

#[test]
fn a_port_is_free_or_held_by_a_server_that_lives() {
    let mut world = World::prepared();
    world.serve();
    world.weirgate.set("WEIRGATE_GATEWAY_ADDR", &world.addr.to_string());
    world.weirgate.set("WEIRGATE_CONSOLE_ADDR", &world.console.to_string());
    let (exit, answer) = examined(&world);
    assert_eq!((exit, levels(&answer, "ports")), (0, vec!["good".to_owned(); 2]), "{answer:#}");
    // Somebody else there.
    let other = world.provider.host_port().to_owned();
    world.weirgate.set("WEIRGATE_GATEWAY_ADDR", &other);
    world.weirgate.set("WEIRGATE_CONSOLE_ADDR", "127.0.0.1:0");
    let (exit, answer) = examined(&world);
    assert_eq!((exit, levels(&answer, "ports")), (6, vec!["bad".into(), "good".into()]));
}

#[test]
fn a_folder_that_is_not_there_is_said_to_be() {
    let weirgate = binary();
    let output = weirgate.run(&["doctor"], b"").unwrap();
    assert_eq!(output.status, Some(6));
    assert!(output.out().contains("weirgate init"), "{}", output.out());
}

#[test]
fn completions_and_manual_know_every_verb() {
    let weirgate = binary();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = weirgate.run(&["completions", shell], b"").unwrap();
        assert_eq!(output.status, Some(0), "{}", output.err());
        assert!(output.out().contains("doctor") && output.out().contains("audit"), "{shell}");
    }
    let bash = weirgate.run(&["completions", "bash"], b"").unwrap().out();
    let file = weirgate.file("weirgate.bash", &bash).unwrap();
    match Command::new("bash").args(["-n", &file]).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => eprintln!("skipped: bash is not there ({error})"),
    }
    let dir = weirgate.home().join("man");
    ok_text(&weirgate, &["man", &dir.display().to_string()]);
    for page in ["weirgate.1", "weirgate-audit-verify.1", "weirgate-doctor.1"] {
        let text = fs::read_to_string(dir.join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
}

fn ok_text(weirgate: &testkit::Weirgate, args: &[&str]) {
    let output = weirgate.run(args, b"").unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
}

/// What systemd is told, read as systemd does (sd_notify(3)).
#[test]
fn a_server_tells_when_it_serves_and_when_it_ends() {
    let mut world = World::prepared();
    let socket = world.weirgate.home().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    world.weirgate.set("NOTIFY_SOCKET", &socket.display().to_string());
    world.serve();
    let told = || {
        let mut bytes = [0; 100];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    assert_eq!(told(), "STOPPING=1");
    // One that nobody hears serves all the same.
    fs::remove_file(&socket).unwrap();
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
}

/// The unit that ships is one that systemd takes, and that is open to little.
#[test]
fn the_unit_is_well_formed_and_hardened() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/weirgate.service");
    let backup = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/weirgate-backup.service");
    for unit in [unit, backup] {
        let security = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=20", unit])
            .output();
        match security {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(
                    output.status.success(),
                    "{text}{}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            Err(error) => eprintln!("skipped: systemd-analyze is not there ({error})"),
        }
    }
    let text = fs::read_to_string(unit).unwrap();
    let help = ok_help();
    for word in ["serve", "--data-dir"] {
        assert!(text.contains(word) && help.contains(word), "{word}");
    }
}

fn ok_help() -> String {
    binary().run(&["--help"], b"").unwrap().out()
}

//! Somebody with the data folder, the database and the root key cuts the log and signs it anew. It is
//! found against a file that was kept, against a witness over HTTP, and against another node.

use crate::{
    nodes::{another, postgres},
    world::{World, addr, binary, fails, ok, on_server},
};
use audit::{AddCheckpoint, Checkpoint, CosigningKey, VerifierKey, WitnessKey, WitnessRefusal};
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use testkit::{Answer, FaultyProvider, Weirgate, client, wait_until};
use types::{Clock as _, SystemClock};

const PATIENCE: Duration = Duration::from_secs(20);
const SERVE: [&str; 6] =
    ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
const TOKEN: &str = "canary-witness-token-6e1f";

/// What somebody does with a stopped data folder: an older copy takes its place.
struct Copy(PathBuf);

impl Copy {
    fn of(weirgate: &Weirgate) -> Self {
        let to = weirgate.home().join("older-copy");
        copy(&weirgate.data_dir(), &to);
        Self(to)
    }

    fn put_back(&self, weirgate: &Weirgate) {
        fs::remove_dir_all(weirgate.data_dir()).unwrap();
        copy(&self.0, &weirgate.data_dir());
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn calls(world: &World, count: usize) {
    for _ in 0..count {
        assert_eq!(world.get("/things/1").status, 200);
    }
}

fn entries(world: &World) -> u64 {
    world.verify()["entries"].as_u64().unwrap()
}

fn metric(console: SocketAddr, series: &str) -> Option<f64> {
    let text = client::get(console, "/metrics", &[]).unwrap().text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.trim().parse().unwrap())
}

fn log_key(weirgate: &Weirgate) -> VerifierKey {
    fs::read_to_string(weirgate.data_dir().join("audit.pub")).unwrap().trim().parse().unwrap()
}

/// Rolled back, and grown beyond what was there: with the log's own key, so that the log by itself is
/// whole.
fn rewrite(world: &mut World, older: &Copy, beyond: u64) {
    older.put_back(&world.weirgate);
    world.serve();
    while client_entries(world) <= beyond {
        calls(world, 10);
    }
    world.stop();
    assert!(entries(world) > beyond);
}

fn client_entries(world: &World) -> u64 {
    world.entries().len() as u64
}

#[test]
fn a_log_signed_anew_is_found_against_the_file_that_was_kept() {
    let mut world = World::prepared();
    let kept = world.weirgate.home().join("kept-elsewhere").display().to_string();
    let watched = |world: &mut World| {
        world.weirgate.set("WEIRGATE_CHECKPOINT_FILE", &kept);
        world.weirgate.set("WEIRGATE_CHECKPOINT_INTERVAL_MS", "100");
    };
    watched(&mut world);
    world.serve();
    calls(&world, 5);
    world.stop();
    // A crash amid a write; nothing that was written before is ever written again.
    let before = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, format!("{before}\n{}", &before[..before.len() / 3])).unwrap();
    let torn = fs::read_to_string(&kept).unwrap();
    let older = Copy::of(&world.weirgate);
    world.serve();
    calls(&world, 20);
    let place = "weirgate_checkpoint_age_seconds{place=\"file\"}";
    wait_until(PATIENCE, || metric(world.console, place).is_some_and(|age| age < 60.0));
    world.stop();
    let after = fs::read_to_string(&kept).unwrap();
    assert!(after.starts_with(&torn) && after.len() > torn.len());
    let size = entries(&world);
    let verify = ["audit", "verify", "--checkpoint", &kept, "--json"];
    assert_eq!(ok(&world.weirgate, &verify)["entries"], size, "the last one is there too");
    let notes = audit::notes(&after);
    let key = log_key(&world.weirgate);
    let sizes: Vec<u64> = notes.iter().map(|note| key.open(note).unwrap().size).collect();
    assert!(sizes.is_sorted() && sizes.len() > 2, "{sizes:?}");
    assert_eq!(sizes.last(), Some(&size));

    // Cut back to what it was.
    older.put_back(&world.weirgate);
    let said = fails(&world.weirgate, 1, &verify[..4], b"");
    assert!(said.contains("the log ends after"), "{said}");
    let said = fails(&world.weirgate, 5, &["serve"], b"");
    assert!(said.contains("checkpoint_file") && said.contains("not the one"), "{said}");
    // Signed anew, and longer than ever: by itself it is whole.
    world.weirgate.unset("WEIRGATE_CHECKPOINT_FILE");
    rewrite(&mut world, &older, size);
    let said = fails(&world.weirgate, 1, &verify[..4], b"");
    assert!(said.contains("is not the one of which the kept checkpoint signed"), "{said}");
    watched(&mut world);
    let said = fails(&world.weirgate, 5, &["serve"], b"");
    assert!(said.contains("checkpoint_file") && said.contains("not the one"), "{said}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), after, "the evidence stays as it was");
}

#[test]
fn a_file_that_cannot_be_the_place_is_told() {
    let mut world = World::prepared();
    let serve = ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];
    let inside = world.weirgate.data_dir().join("audit/kept").display().to_string();
    world.weirgate.set("WEIRGATE_CHECKPOINT_FILE", &inside);
    let said = fails(&world.weirgate, 2, &serve, b"");
    assert!(said.contains("inside the data folder"), "{said}");
    let other = world.weirgate.file("notes.txt", "Shopping list: bread.\n").unwrap();
    world.weirgate.set("WEIRGATE_CHECKPOINT_FILE", &other);
    let said = fails(&world.weirgate, 5, &serve, b"");
    assert!(said.contains("something else than checkpoints"), "{said}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "Shopping list: bread.\n");
    // A place that is away delays no call, and is told of.
    let away = world.weirgate.home().join("not-mounted/kept");
    world.weirgate.set("WEIRGATE_CHECKPOINT_FILE", &away.display().to_string());
    world.weirgate.set("WEIRGATE_CHECKPOINT_INTERVAL_MS", "100");
    world.weirgate.set("WEIRGATE_CHECKPOINT_MAX_AGE_MS", "1000");
    world.serve();
    calls(&world, 3);
    let too_long = "no checkpoint was kept outside for too long";
    wait_until(PATIENCE, || world.server.as_ref().unwrap().err().contains(too_long));
    fs::create_dir(away.parent().unwrap()).unwrap();
    wait_until(PATIENCE, || away.exists());
    let output = world.stop();
    assert!(output.err().contains("checkpoints are kept outside again"), "{}", output.err());
}

/// A witness as c2sp.org/tlog-witness has it.
struct Witness {
    server: FaultyProvider,
    key: WitnessKey,
    seen: Arc<Mutex<Option<Checkpoint>>>,
}

impl Witness {
    fn of(log: VerifierKey) -> Self {
        let server = FaultyProvider::start().unwrap();
        let signing = CosigningKey::from_seed(&[5; 32], "witness.example/w1").unwrap();
        let (key, seen) = (signing.verifier().clone(), Arc::new(Mutex::new(None)));
        let state = Arc::clone(&seen);
        server.on_each("POST /w/add-checkpoint", move |received| {
            if received.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
                return Answer::status(401);
            }
            let text = String::from_utf8(received.body.clone()).unwrap();
            let Ok(asked) = text.parse::<AddCheckpoint>() else { return Answer::status(400) };
            let mut seen = state.lock().unwrap();
            match audit::witness(&log, seen.as_ref(), &asked, &signing, SystemClock.now()) {
                Ok(cosigned) => {
                    *seen = Some(cosigned.checkpoint);
                    Answer::body(200, "text/plain", cosigned.line)
                }
                // The specification knows one conflict: where the witness stands.
                Err(
                    refusal @ (WitnessRefusal::Elsewhere { .. }
                    | WitnessRefusal::Older { .. }
                    | WitnessRefusal::Forked { .. }),
                ) => {
                    let size = format!("{}\n", refusal.size().unwrap());
                    Answer::body(409, "text/x.tlog.size", size)
                }
                Err(refusal) => Answer::status(refusal.status()),
            }
        });
        Self { server, key, seen }
    }

    fn size(&self) -> u64 {
        self.seen.lock().unwrap().map_or(0, |seen| seen.size)
    }

    fn watch(&self, world: &mut World) {
        let token = world.weirgate.file("token", format!("{TOKEN}\n")).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let weirgate = &mut world.weirgate;
        weirgate.set("WEIRGATE_CHECKPOINT_WEBHOOK", &format!("{}/w", self.server.url()));
        weirgate.set("WEIRGATE_CHECKPOINT_WEBHOOK_TOKEN_FILE", &token);
        weirgate.set("WEIRGATE_CHECKPOINT_WEBHOOK_KEY", &self.key.to_string());
        weirgate.set("WEIRGATE_CHECKPOINT_INTERVAL_MS", "100");
    }

    fn unwatch(world: &mut World) {
        for name in ["", "_TOKEN_FILE", "_KEY"] {
            world.weirgate.unset(&format!("WEIRGATE_CHECKPOINT_WEBHOOK{name}"));
        }
    }
}

#[test]
fn a_log_signed_anew_is_found_by_a_witness_over_http() {
    let mut world = World::prepared();
    let witness = Witness::of(log_key(&world.weirgate));
    witness.watch(&mut world);
    world.serve();
    calls(&world, 5);
    world.stop();
    assert_eq!(witness.size(), entries(&world), "the last checkpoint is cosigned too");
    let older = Copy::of(&world.weirgate);
    world.serve();
    calls(&world, 20);
    world.stop();
    let size = entries(&world);
    assert_eq!(witness.size(), size);

    // What it cosigned is proof by itself.
    let cosigned = world.weirgate.run(&["audit", "checkpoint", "--cosigned"], b"").unwrap().out();
    witness.key.check(&cosigned).unwrap();
    let file = world.weirgate.file("cosigned", &cosigned).unwrap();
    let key = witness.key.to_string();
    let verify = ["audit", "verify", "--checkpoint", &file, "--witness-key", &key];
    ok(&world.weirgate, &[&verify[..], &["--json"]].concat());
    let stranger = CosigningKey::from_seed(&[6; 32], "witness.example/w1").unwrap();
    let stranger = world.weirgate.file("stranger", stranger.verifier().to_string()).unwrap();
    let of_stranger = ["audit", "verify", "--checkpoint", &file, "--witness-key", &stranger];
    let said = fails(&world.weirgate, 2, &of_stranger, b"");
    assert!(said.contains("no checkpoint that witness.example/w1 cosigned"), "{said}");
    let proof = ["audit", "proof", "3", "--checkpoint", &file];
    let proof = world.weirgate.run(&proof, b"").unwrap().out();
    let proof: audit::Proof = proof.parse().unwrap();
    proof.verify(&log_key(&world.weirgate)).unwrap();
    witness.key.check(proof.note()).unwrap();

    // Cut back; then signed anew, and longer than ever.
    let contradictions = "weirgate_checkpoint_contradictions_total{place=\"webhook\"}";
    for beyond in [0, size] {
        Witness::unwatch(&mut world);
        rewrite(&mut world, &older, beyond);
        witness.watch(&mut world);
        world.serve();
        wait_until(PATIENCE, || metric(world.console, contradictions) == Some(1.0));
        calls(&world, 1);
        let output = world.stop();
        assert!(output.err().contains("another history of this audit log"), "{}", output.err());
        assert!(!output.err().contains(TOKEN));
        assert_eq!(witness.size(), size, "nothing of it was cosigned");
        fails(&world.weirgate, 1, &verify, b"");
    }
}

/// A witness that is away, slow or says nonsense delays no call; it is tried again, and told of.
#[test]
fn a_webhook_that_fails_is_tried_again_and_told_of() {
    let mut world = World::prepared();
    let witness = Witness::of(log_key(&world.weirgate));
    witness.watch(&mut world);
    world.weirgate.set("WEIRGATE_CHECKPOINT_MAX_AGE_MS", "1500");
    let place = "POST /w/add-checkpoint";
    let down = FaultyProvider::start().unwrap();
    down.on_sequence(
        place,
        [
            Answer::status(503),
            Answer::body(200, "text/plain", "\u{2014} witness.example/w1 AAAAAAEC\n"),
            Answer::body(409, "text/x.tlog.size", "many\n"),
            Answer::status(503).pause_before_head(Duration::from_secs(30)),
        ],
    );
    world.weirgate.set("WEIRGATE_CHECKPOINT_WEBHOOK", &format!("{}/w", down.url()));
    world.serve();
    let too_long = "no checkpoint was kept outside for too long";
    wait_until(PATIENCE, || {
        calls(&world, 1);
        down.requests().len() >= 4 && world.server.as_ref().unwrap().err().contains(too_long)
    });
    let age = metric(world.console, "weirgate_checkpoint_age_seconds{place=\"webhook\"}");
    assert!(age.is_some_and(|age| age > 1.0), "{age:?}");
    let failed = world.stop();
    assert!(failed.err().contains("webhook_busy"), "{}", failed.err());
    assert!(!failed.err().contains("another history"), "{}", failed.err());
    // The next start finds its witness, from where that one stands.
    witness.watch(&mut world);
    world.serve();
    calls(&world, 1);
    world.stop();
    assert_eq!(witness.size(), entries(&world));
}

/// Two nodes on one database, each of which the other witnesses.
#[test]
fn a_log_signed_anew_is_found_by_another_node() {
    let Some(postgres) = postgres() else { return };
    let mut weirgate = binary();
    let url = on_server(&mut weirgate, postgres);
    weirgate.set("WEIRGATE_CHECKPOINT_INTERVAL_MS", "100");
    let mut world = World::prepared_by(weirgate);
    let mut second = another(&world, &url);
    second.set("WEIRGATE_CHECKPOINT_INTERVAL_MS", "100");
    ok(&second, &["init", "--json"]);
    let database = url.rsplit('/').next().unwrap().to_owned();
    let sql = |statements: &str| postgres.psql(&database, statements).unwrap();
    let (other, line) = second.spawn_until_json(&SERVE).unwrap();
    let console = addr(&line, "console");
    let own = log_key(&world.weirgate).origin().to_owned();
    let seen_file = second.data_dir().join("witness").join(own.replace('/', "+"));
    let seen = |key: &VerifierKey| {
        fs::read_to_string(&seen_file).ok().and_then(|note| Some(key.open(&note).ok()?.size))
    };
    let key = log_key(&world.weirgate);

    world.serve();
    calls(&world, 5);
    let signed = |world: &World| {
        let note = fs::read_to_string(world.weirgate.data_dir().join("audit/checkpoint")).unwrap();
        key.open(&note).unwrap().size
    };
    wait_until(PATIENCE, || seen(&key).is_some_and(|seen| seen >= 10 && seen == signed(&world)));
    world.stop();
    let older = Copy::of(&world.weirgate);
    let told = sql(&format!("SELECT checkpoint FROM audit_checkpoint WHERE origin = '{own}'"));
    let told_size = sql(&format!("SELECT size FROM audit_checkpoint WHERE origin = '{own}'"));
    let before = signed(&world);
    world.serve();
    calls(&world, 20);
    // Each second one is signed.
    wait_until(PATIENCE, || seen(&key).is_some_and(|seen| seen > before + 40));
    world.stop();
    let size = seen(&key).unwrap();

    // What the other node says of it lies in the database and in the folder, and is proof by itself.
    let of_second = fs::read_to_string(second.data_dir().join("witness.pub")).unwrap();
    let witness_key: WitnessKey = of_second.trim().parse().unwrap();
    let cosigned = world.weirgate.run(&["audit", "checkpoint", "--cosigned"], b"").unwrap().out();
    witness_key.check(&cosigned).unwrap();
    let file = world.weirgate.file("cosigned", &cosigned).unwrap();
    let verify = ["audit", "verify", "--checkpoint", &file, "--witness-key", of_second.trim()];
    ok(&world.weirgate, &[&verify[..], &["--json"]].concat());
    // And the other way round.
    let theirs = second.run(&["audit", "checkpoint", "--cosigned"], b"").unwrap().out();
    let of_first = fs::read_to_string(world.weirgate.data_dir().join("witness.pub")).unwrap();
    of_first.trim().parse::<WitnessKey>().unwrap().check(&theirs).unwrap();
    // No key lies in the open, and none in the database.
    let sealed = fs::read_to_string(second.data_dir().join("witness/key")).unwrap();
    assert!(sealed.trim().len() > 80, "{sealed}");

    // With folder, database and root key the log is put back: the other node remembers.
    let forget = format!(
        "UPDATE audit_checkpoint SET size = {}, checkpoint = '{}\n' WHERE origin = '{own}';
         DELETE FROM audit_witness",
        told_size.trim(),
        told.trim_end()
    );
    let refused = "weirgate_checkpoint_contradictions_total{place=\"witness\"}";
    let contradicted = "weirgate_checkpoint_contradictions_total{place=\"nodes\"}";
    older.put_back(&world.weirgate);
    sql(&forget);
    world.serve();
    wait_until(PATIENCE, || metric(console, refused).is_some());
    let is_told = testkit::poll(PATIENCE, || metric(world.console, contradicted).is_some());
    assert!(is_told.is_some(), "{}", world.server.as_ref().unwrap().err());
    // And grows beyond.
    while signed(&world) <= size {
        calls(&world, 10);
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = "is not shown to hold the";
    wait_until(PATIENCE, || other.err().contains(said));
    assert_eq!(seen(&key), Some(size), "nothing of it was taken");
    let output = world.stop();
    assert!(output.err().contains("another history of this audit log"), "{}", output.err());
    // By itself the log is whole; with what was cosigned it is not.
    assert!(entries(&world) > size);
    fails(&world.weirgate, 1, &verify, b"");
    let output = other.terminate().unwrap();
    assert_eq!(output.status, Some(0));
    assert!(output.err().contains("the log was cut back"), "{}", output.err());
    assert!(output.err().contains(&own), "{}", output.err());
}

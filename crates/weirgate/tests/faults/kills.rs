//! kill -9 at random points, under load and amid changes: every answered call is in the log, every
//! acknowledged change is in force, the store opens, and the log verifies.
//!
//! `WEIRGATE_KILLS` says how often (12 of each database if not given), `WEIRGATE_KILLS_SEED` repeats a
//! run's choices:
//!
//! ```sh
//! WEIRGATE_KILLS=1000 cargo test --release -p weirgate --test faults kills:: -- --nocapture --test-threads=1
//! ```

use crate::world::{GRANTS, World, binary, on_server, text};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    env, fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use testkit::{Postgres, Server, client, poll};

/// A start after a crash takes at most 2 s by itself; the rest is for what else runs on the machine.
const START: Duration = Duration::from_secs(10);
/// Longest life of a server that is killed.
const LIFE_MS: u64 = 400;
/// What was answered is compared with the whole log each so many kills.
const COMPARE_EVERY: usize = 20;
const CALLERS: u64 = 3;

fn number(variable: &str, fallback: u64) -> u64 {
    env::var_os(variable).map_or(fallback, |text| text.to_str().unwrap().parse().unwrap())
}

/// Small and repeatable (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What was acknowledged, and must be so after every crash. What was begun and not acknowledged may
/// be either.
#[derive(Default)]
struct Promised {
    clients: BTreeSet<String>,
    /// Keys by id: whether it was revoked.
    keys: BTreeMap<String, bool>,
    connections: BTreeMap<String, bool>,
    /// The purpose that grants were given last, and those that were tried since.
    purpose: Option<String>,
    tried: Vec<String>,
    backups: Vec<String>,
    changes: usize,
}

struct Run {
    world: World,
    postgres: Option<Postgres>,
    promised: Promised,
    answered: Arc<Mutex<Vec<String>>>,
    chance: Chance,
    slowest_start: Duration,
    crashes_of_postgres: usize,
    count: u64,
}

/// Runs a verb that may be killed; its JSON if it was acknowledged.
fn attempt(world: &World, args: &[&str], killed_after: Option<Duration>) -> Option<Value> {
    let mut verb = world.weirgate.spawn(args).unwrap();
    let output = match killed_after {
        None => verb.wait(Duration::from_mins(1)).unwrap(),
        Some(life) => {
            thread::sleep(life);
            verb.kill9().unwrap()
        }
    };
    // Killed after its last word, it has said so all the same.
    let said = output.json().ok();
    if output.status == Some(0) {
        return said;
    }
    let is_killed = output.signal == Some(9);
    assert!(is_killed || is_told(&output.err()), "{args:?}: {}", output.err());
    said.filter(|said| is_killed && said.get("error").is_none())
}

/// A verb that meets the crash of a database says what that is.
fn is_told(said: &str) -> bool {
    ["the database cannot be reached", "the database failed", "in use", "database"]
        .iter()
        .any(|reason| said.contains(reason))
}

impl Run {
    fn of(world: World, postgres: Option<Postgres>) -> Self {
        let seed = number("WEIRGATE_KILLS_SEED", 20_260_701);
        Self {
            world,
            postgres,
            promised: Promised::default(),
            answered: Arc::default(),
            chance: Chance(seed),
            slowest_start: Duration::ZERO,
            crashes_of_postgres: 0,
            count: 0,
        }
    }

    fn serve(&mut self) {
        let begun = Instant::now();
        self.world.serve();
        self.slowest_start = self.slowest_start.max(begun.elapsed());
        assert!(begun.elapsed() < START, "{:?}", begun.elapsed());
    }

    /// Callers that read and write until the server is gone, and keep what was answered.
    fn callers(&self, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
        let (addr, key) = (self.world.addr, self.world.key.clone());
        (0..CALLERS)
            .map(|caller| {
                let target = self.world.path(&format!("/things/{caller}"));
                let (stop, answered) = (Arc::clone(stop), Arc::clone(&self.answered));
                let key = key.clone();
                thread::spawn(move || call_on(addr, &key, &target, &stop, &answered))
            })
            .collect()
    }

    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}-{}", self.count)
    }

    /// One change, a backup or a look, of which some are killed.
    fn change(&mut self) {
        let life =
            (self.chance.below(4) == 0).then(|| Duration::from_millis(self.chance.below(60)));
        match self.chance.below(8) {
            0 => {
                let name = self.name("client");
                let args = ["client", "create", &name, "--json"];
                if attempt(&self.world, &args, life).is_some() {
                    self.promised.clients.insert(name);
                    self.promised.changes += 1;
                }
            }
            1 | 2 => {
                let args = ["client", "key", "create", "reader", "--expires", "1d", "--json"];
                if let Some(made) = attempt(&self.world, &args, life) {
                    self.promised.keys.insert(text(&made, "id"), false);
                    self.promised.changes += 1;
                }
            }
            3 => {
                let living = self.promised.keys.iter().find(|(_, is_revoked)| !**is_revoked);
                let Some((id, _)) = living else { return };
                let id = id.clone();
                // Begun, it may have happened; acknowledged, it has.
                self.promised.keys.remove(&id);
                let args = ["client", "key", "revoke", &id, "--json"];
                if attempt(&self.world, &args, life).is_some() {
                    self.promised.keys.insert(id, true);
                    self.promised.changes += 1;
                }
            }
            4 => {
                let purpose = self.name("purpose");
                self.grant(&purpose, life);
            }
            5 => {
                let secret = self.world.weirgate.file("secret", r#"{"token":"t"}"#).unwrap();
                let customer = self.name("customer");
                let args = ["connection", "create", "--provider", "things", "--customer"];
                let rest = ["--scheme", "bearer", "--secret-file", &secret, "--json"];
                let all = [&args[..], &[customer.as_str()], &rest].concat();
                if let Some(made) = attempt(&self.world, &all, life) {
                    self.promised.connections.insert(text(&made, "id"), false);
                    self.promised.changes += 1;
                }
            }
            6 => {
                let living = self.promised.connections.iter().find(|(_, is_revoked)| !**is_revoked);
                let Some((id, _)) = living else { return };
                let id = id.clone();
                self.promised.connections.remove(&id);
                let args = ["connection", "revoke", &id, "--json"];
                if attempt(&self.world, &args, life).is_some() {
                    self.promised.connections.insert(id, true);
                    self.promised.changes += 1;
                }
            }
            _ => {
                let name = self.name("backup");
                let file = self.world.weirgate.home().join(name).display().to_string();
                let args = ["backup", "create", &file, "--json"];
                if attempt(&self.world, &args, life).is_some() {
                    self.promised.backups.push(file);
                } else if fs::exists(&file).unwrap() {
                    // It is whole under its name, or not there.
                    self.promised.backups.push(file);
                }
            }
        }
    }

    fn grant(&mut self, purpose: &str, life: Option<Duration>) {
        let grants = GRANTS.replace("read things", purpose);
        self.world.weirgate.file("grants/grants.toml", grants).unwrap();
        let dir = self.world.weirgate.home().join("grants").display().to_string();
        self.promised.tried.push(purpose.to_owned());
        if attempt(&self.world, &["apply", &dir, "--json"], life).is_some() {
            self.promised.purpose = Some(purpose.to_owned());
            self.promised.tried.clear();
            self.promised.changes += 1;
        }
    }

    /// A server's life under load, to its end by SIGKILL.
    fn live_and_die(&mut self) {
        if self.chance.below(6) == 0 {
            // Amid its start: of what the last one left, it recovers a part.
            let args = ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];
            let server = self.world.weirgate.spawn(&args).unwrap();
            thread::sleep(Duration::from_millis(self.chance.below(120)));
            server.kill9().unwrap();
            return;
        }
        self.serve();
        let stop = Arc::new(AtomicBool::new(false));
        let callers = self.callers(&stop);
        let life = Duration::from_millis(self.chance.below(LIFE_MS));
        let crashes = self.postgres.is_some() && self.chance.below(5) == 0;
        let server = self.world.server.take().unwrap();
        let end = thread::spawn(move || -> Server {
            thread::sleep(life);
            server
        });
        while !end.is_finished() {
            self.change();
        }
        let server = end.join().unwrap();
        if crashes && let Some(postgres) = &mut self.postgres {
            postgres.crash().unwrap();
            self.crashes_of_postgres += 1;
            thread::sleep(Duration::from_millis(self.chance.below(100)));
        }
        let output = server.kill9().unwrap();
        assert!(!output.err().contains("panicked"), "{}", output.err());
        stop.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.join().unwrap();
        }
        if let Some(postgres) = self.postgres.as_mut().filter(|_| crashes) {
            postgres.restart().unwrap();
        }
    }

    /// What was promised is so.
    fn keeps_its_promises(&mut self) {
        let list = |what: &[&str]| {
            let args = [what, &["--json"]].concat();
            // The one verb that holds the folder is the one before, which was killed.
            poll(Duration::from_secs(20), || attempt(&self.world, &args, None)).unwrap()
        };
        let clients = list(&["client", "list"]);
        let clients = clients["clients"].as_array().unwrap();
        let names: BTreeSet<&str> =
            clients.iter().map(|one| one["name"].as_str().unwrap()).collect();
        for name in &self.promised.clients {
            assert!(names.contains(name.as_str()), "{name} was acknowledged and is gone");
        }
        let keys: BTreeMap<&str, &Value> = clients
            .iter()
            .flat_map(|one| one["keys"].as_array().unwrap())
            .map(|key| (key["id"].as_str().unwrap(), key))
            .collect();
        for (id, is_revoked) in &self.promised.keys {
            let key = keys.get(id.as_str()).unwrap_or_else(|| panic!("{id} is gone"));
            assert_eq!(key["state"] == "revoked", *is_revoked, "{key}");
        }
        let connections = list(&["connection", "list"]);
        let connections = connections["connections"].as_array().unwrap();
        for (id, is_revoked) in &self.promised.connections {
            let found = connections.iter().find(|one| one["id"] == id.as_str());
            let found = found.unwrap_or_else(|| panic!("{id} is gone"));
            assert_eq!(found["state"] == "revoked", *is_revoked, "{found}");
        }
        // The grants in force are those acknowledged last, or some that were tried since.
        if let Some(purpose) = self.promised.purpose.clone() {
            let possible = [&[purpose][..], &self.promised.tried[..]].concat();
            let is_in_force = possible.iter().any(|purpose| {
                let grants = GRANTS.replace("read things", purpose);
                let dir = self.world.weirgate.home().join("compared");
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join("grants.toml"), grants).unwrap();
                let dir = dir.display().to_string();
                let compared =
                    attempt(&self.world, &["apply", &dir, "--dry-run", "--json"], None).unwrap();
                compared["changes"].as_array().unwrap().is_empty()
            });
            assert!(is_in_force, "other grants are in force than {possible:?}");
        }
        for file in std::mem::take(&mut self.promised.backups) {
            attempt(&self.world, &["backup", "verify", &file, "--json"], None).unwrap();
            fs::remove_file(file).unwrap();
        }
    }

    /// What was answered is in the log, which is whole.
    fn is_recorded(&mut self) {
        self.serve();
        self.world.stop();
        let verified = self.world.verify();
        for count in ["open_intents", "outbox_rows", "torn_bytes", "after_checkpoint"] {
            assert_eq!(verified[count], 0, "{verified}");
        }
        let entries = self.world.entries();
        let of = |kind: &str| -> Vec<&str> {
            let of_kind = entries.iter().filter(|entry| entry["kind"] == kind);
            of_kind.map(|entry| entry["request"].as_str().unwrap()).collect()
        };
        let (intents, outcomes) = (of("intent"), of("outcome"));
        let interrupted: HashSet<&str> = of("interrupted").into_iter().collect();
        let begun: HashSet<&str> = intents.iter().copied().collect();
        let ended: HashSet<&str> = outcomes.iter().copied().collect();
        assert_eq!((begun.len(), ended.len()), (intents.len(), outcomes.len()), "one of each");
        assert!(ended.is_disjoint(&interrupted), "what ended was not interrupted");
        for id in self.answered.lock().unwrap().iter() {
            assert!(begun.contains(id.as_str()), "{id} was answered and has no intent");
            let has_end = ended.contains(id.as_str()) || interrupted.contains(id.as_str());
            assert!(has_end, "{id} was answered and has no end");
        }
        let mut events = HashSet::new();
        let changes = entries.iter().filter(|entry| entry["kind"] == "changed");
        for change in changes {
            assert!(events.insert(change["event"].as_str().unwrap()), "twice: {change}");
        }
        assert!(events.len() >= self.promised.changes, "{} changes", events.len());
    }

    fn kill(mut self, what: &str) {
        let kills = usize::try_from(number("WEIRGATE_KILLS", 12)).unwrap();
        for kill in 1..=kills {
            self.live_and_die();
            self.keeps_its_promises();
            if kill.is_multiple_of(COMPARE_EVERY) || kill == kills {
                self.is_recorded();
            }
        }
        let answered = self.answered.lock().unwrap().len();
        eprintln!(
            "{what}: {kills} kills, {} of PostgreSQL, {answered} calls answered, {} changes \
             acknowledged, slowest start {} ms",
            self.crashes_of_postgres,
            self.promised.changes,
            self.slowest_start.as_millis()
        );
        assert!(answered > kills, "{answered}");
        assert!(self.promised.changes > 0);
    }
}

fn call_on(
    addr: SocketAddr,
    key: &str,
    target: &str,
    stop: &AtomicBool,
    answered: &Mutex<Vec<String>>,
) {
    let bearer = format!("Bearer {key}");
    let headers = [("Authorization", bearer.as_str())];
    let json = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let Ok(mut connection) = client::Connection::open(addr) else { return };
    let mut count = 0_u32;
    while !stop.load(Ordering::SeqCst) {
        count += 1;
        let answer = if count.is_multiple_of(3) {
            connection.request("PUT", target, &json, br#"{"name":"n"}"#)
        } else {
            connection.request("GET", target, &headers, b"")
        };
        let Ok(answer) = answer else { return };
        if answer.status != 200 {
            // Grants are replaced meanwhile; a call that began under the former is withdrawn.
            assert_eq!(answer.status, 403, "{}", answer.text());
            continue;
        }
        let id = answer.header("weirgate-request-id").unwrap().to_owned();
        answered.lock().unwrap().push(id);
        // Many kills, not many calls.
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn kills_lose_nothing_on_sqlite() {
    Run::of(World::prepared_by(binary()), None).kill("SQLite");
}

#[test]
fn kills_lose_nothing_on_postgresql() {
    let Some(postgres) = Postgres::start().unwrap() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return;
    };
    let mut weirgate = binary();
    on_server(&mut weirgate, &postgres);
    Run::of(World::prepared_by(weirgate), Some(postgres)).kill("PostgreSQL");
}

/// The tables as the release before had them.
const EARLIER: [&str; 2] =
    ["ALTER TABLE outbox DROP COLUMN claimed_by", "DELETE FROM _sqlx_migrations WHERE version = 5"];

/// A start that brings tables forward may end at any moment: the next one goes on.
#[test]
fn kills_amid_a_migration_leave_a_store_that_opens() {
    let kills = number("WEIRGATE_KILLS", 12);
    let mut chance = Chance(number("WEIRGATE_KILLS_SEED", 20_260_701));
    let mut world = World::prepared_by(binary());
    let database = world.weirgate.data_dir().join("weirgate.db");
    let args = ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];
    for _ in 0..kills {
        if testkit::sqlite(&database, &EARLIER).unwrap().is_none() {
            eprintln!("skipped: python3 is not installed");
            return;
        }
        let server = world.weirgate.spawn(&args).unwrap();
        thread::sleep(Duration::from_millis(chance.below(80)));
        server.kill9().unwrap();
        world.serve();
        assert_eq!(world.get("/things/1").status, 200);
        world.stop();
        assert_eq!(world.verify()["outbox_rows"], json!(0));
    }
}

//! PostgreSQL that is away, silent, slow or contended, under a server that goes on.
//!
//! The outages are shortened together with `max_snapshot_age_ms`. With `WEIRGATE_TEST_FULL_OUTAGE` set
//! they have their full length, a minute and more.

use crate::world::{World, binary, name_database, ok, on_server, text};
use std::{
    env,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use testkit::{FaultProxy, Postgres, client, wait_until};

/// What the configuration says, and outages that are shorter and longer.
struct Lengths {
    max_age: Duration,
    short: Duration,
    long: Duration,
}

fn lengths() -> Lengths {
    let seconds = |max_age, short, long| {
        let [max_age, short, long] = [max_age, short, long].map(Duration::from_secs);
        Lengths { max_age, short, long }
    };
    match env::var_os("WEIRGATE_TEST_FULL_OUTAGE") {
        Some(_) => seconds(60, 45, 75),
        None => seconds(6, 3, 10),
    }
}

/// A database of its own behind a proxy, and a server on it that is called all the time.
struct Outage {
    postgres: Postgres,
    proxy: FaultProxy,
    world: World,
    /// Of the client that calls.
    key: String,
}

fn started() -> Option<Postgres> {
    let started = Postgres::start().unwrap();
    if started.is_none() {
        eprintln!("skipped: PostgreSQL is not installed");
    }
    started
}

/// Set up on a database of its own.
pub fn on_postgres() -> Option<(World, Postgres)> {
    let postgres = started()?;
    let mut weirgate = binary();
    on_server(&mut weirgate, &postgres);
    Some((World::prepared_by(weirgate), postgres))
}

impl Outage {
    fn serving(max_age: Duration) -> Option<Self> {
        let postgres = started()?;
        let proxy = FaultProxy::start(postgres.addr()).unwrap();
        let mut weirgate = binary();
        let url = on_server(&mut weirgate, &postgres);
        let through = url.replace(&postgres.addr().to_string(), &proxy.addr().to_string());
        name_database(&mut weirgate, &through);
        let mut world = World::prepared_by(weirgate);
        world.weirgate.set("WEIRGATE_MAX_SNAPSHOT_AGE_MS", &max_age.as_millis().to_string());
        let listed = ok(&world.weirgate, &["client", "list", "--json"]);
        let clients = listed["clients"].as_array().unwrap();
        let reader = clients.iter().find(|one| one["name"] == "reader").unwrap();
        let key = text(&reader["keys"][0], "id");
        world.serve();
        Some(Self { postgres, proxy, world, key })
    }

    fn age(&self) -> Duration {
        let page = client::get(self.world.console, "/metrics", &[]).unwrap().text();
        let name = "weirgate_snapshot_age_seconds ";
        let age = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        Duration::from_secs_f64(age.trim().parse().unwrap())
    }

    /// Since what is enforced was confirmed the last time, at the outage's beginning.
    fn confirmed(&self) {
        wait_until(Duration::from_secs(20), || self.age() < Duration::from_secs(1));
    }

    /// Away, either way.
    fn go(&mut self, how: How) {
        match how {
            How::Stopped => self.postgres.stop().unwrap(),
            How::Silent => self.proxy.open_hole(),
        }
    }

    fn come_back(&mut self, how: How) {
        match how {
            How::Stopped => self.postgres.restart().unwrap(),
            How::Silent => self.proxy.close_hole(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum How {
    Stopped,
    /// What was sent is lost, and nobody is told.
    Silent,
}

/// One call's answer, and when it came.
struct Call {
    at: Instant,
    status: u16,
    code: String,
}

/// What a call of a world needs.
struct Caller {
    addr: SocketAddr,
    path: String,
    bearer: String,
}

impl Caller {
    fn of(world: &World) -> Self {
        let bearer = format!("Bearer {}", world.key);
        Self { addr: world.addr, path: world.path("/things/1"), bearer }
    }

    fn get(&self) -> client::Response {
        client::get(self.addr, &self.path, &[("Authorization", &self.bearer)]).unwrap()
    }
}

/// Calls, one after the other, until told to stop.
fn calls(caller: &Caller, is_over: &AtomicBool) -> Vec<Call> {
    let mut all = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let answer = caller.get();
        let problem = answer.json().ok().filter(|_| answer.status != 200);
        let code = problem.map_or(String::new(), |problem| text(&problem, "code"));
        all.push(Call { at: Instant::now(), status: answer.status, code });
        thread::sleep(Duration::from_millis(25));
    }
    all
}

fn outages(how: How) {
    let Lengths { max_age, short, long } = lengths();
    let Some(mut all) = Outage::serving(max_age) else { return };
    all.confirmed();
    let is_over = AtomicBool::new(false);
    let caller = Caller::of(&all.world);
    let (made, gone, back, healed) = thread::scope(|scope| {
        let calling = scope.spawn(|| calls(&caller, &is_over));
        // Shorter than what is known may age: nobody notices.
        all.go(how);
        thread::sleep(short);
        all.come_back(how);
        all.confirmed();
        // And longer.
        let gone = Instant::now();
        all.go(how);
        thread::sleep(long.saturating_sub(gone.elapsed()));
        let back = Instant::now();
        all.come_back(how);
        wait_until(Duration::from_secs(20), || caller.get().status == 200);
        let healed = Instant::now();
        is_over.store(true, Ordering::SeqCst);
        let mut made = calling.join().unwrap();
        // The one that was answered last tells that it is healed; it is none of the callers'.
        made.push(Call { at: healed, status: 200, code: String::new() });

        // What is revoked right after that is in force within a second.
        ok(&all.world.weirgate, &["client", "key", "revoke", &all.key, "--json"]);
        let revoked = Instant::now();
        wait_until(Duration::from_secs(20), || caller.get().status == 401);
        let took = revoked.elapsed();
        assert!(took < Duration::from_secs(1), "{how:?}: revoked after {took:?}");
        (made, gone, back, healed)
    });
    let refused: Vec<&Call> = made.iter().filter(|call| call.status != 200).collect();
    let (first, last) = (refused.first().unwrap(), refused.last().unwrap());
    let stale = |call: &&Call| (call.status, call.code.as_str()) == (503, "snapshot_stale");
    assert!(refused.iter().all(stale), "{how:?}");
    // The last confirmation was asked for up to a poll and a quarter of a second before.
    let served = first.at.duration_since(gone);
    assert!(served + Duration::from_secs(1) > max_age, "{how:?}: closed after {served:?}");
    assert!(served < max_age + Duration::from_secs(2), "{how:?}: closed after {served:?}");
    let between = made.iter().filter(|call| call.at > first.at && call.at < last.at);
    assert!(between.into_iter().all(|call| call.status == 503), "{how:?}: open in between");
    eprintln!(
        "{how:?}: {} calls; away {:.1} s, served {:.1} s of it, healed {:.1} s after",
        made.len(),
        back.duration_since(gone).as_secs_f64(),
        served.as_secs_f64(),
        healed.duration_since(back).as_secs_f64()
    );
    let output = all.world.stop();
    assert!(!output.err().contains("panicked"), "{}", output.err());
    // Each answer has its record, and the log is whole.
    let report = all.world.verify();
    assert_eq!((&report["outbox_rows"], &report["open_intents"]), (&0.into(), &0.into()));
    let entries = all.world.entries();
    let outcomes = entries.iter().filter(|entry| entry["kind"] == "outcome");
    let recorded = outcomes.filter(|entry| entry["status"] == 200).count();
    let answered = made.iter().filter(|call| call.status == 200).count();
    assert!(recorded >= answered, "{how:?}: {recorded} of {answered}");
    let is_revocation = |entry: &&serde_json::Value| entry["verb"] == "key.revoke";
    assert_eq!(entries.iter().filter(is_revocation).count(), 1);
}

#[test]
fn a_database_that_stops_is_survived_then_closes_the_gate_then_heals() {
    outages(How::Stopped);
}

#[test]
fn a_database_that_is_silent_is_survived_then_closes_the_gate_then_heals() {
    outages(How::Silent);
}

/// Every answer takes 5 s: the poll gives up, so that calls end when what is known is too old; a verb
/// says what it is; and all heals.
#[test]
fn a_slow_database_closes_the_gate_and_is_told() {
    let max_age = Duration::from_secs(4);
    let Some(mut all) = Outage::serving(max_age) else { return };
    all.confirmed();
    all.proxy.delay(Duration::from_secs(5));
    let slow = Instant::now();
    let get = |all: &Outage| all.world.get("/things/1");
    wait_until(Duration::from_secs(20), || get(&all).status == 503);
    let closed = slow.elapsed();
    assert!(closed > Duration::from_secs(2) && closed < Duration::from_secs(8), "{closed:?}");
    assert_eq!(crate::world::code(&get(&all)), "snapshot_stale");
    let asked = Instant::now();
    let output = all.world.weirgate.run(&["client", "list", "--json"], b"").unwrap();
    assert_eq!(output.status, Some(7), "{}", output.err());
    let said: serde_json::Value = serde_json::from_str(output.err().trim()).unwrap();
    assert!(text(&said, "error").contains("the database cannot be reached"), "{said}");
    assert!(asked.elapsed() < Duration::from_secs(45), "{:?}", asked.elapsed());
    all.proxy.delay(Duration::ZERO);
    wait_until(Duration::from_secs(20), || get(&all).status == 200);
    ok(&all.world.weirgate, &["client", "key", "revoke", &all.key, "--json"]);
    let revoked = Instant::now();
    wait_until(Duration::from_secs(20), || get(&all).status == 401);
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    all.world.stop();
    assert_eq!(all.world.verify()["outbox_rows"], 0);
}

//! The disk of the audit log is full, fails, loses a file or is read-only while a server runs: nothing
//! is answered that is not recorded, nothing hangs, and what can go on by itself does.

use crate::{
    is_inside,
    world::{World, binary, code, ok},
};
use serde_json::Value;
use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};
use testkit::{Answer, Injection, SmallDisk, client, thing, wait_until};

/// No call waits longer for the log (2 s), with what a busy machine adds.
const DEADLINE: Duration = Duration::from_secs(4);
/// A log whose disk works again goes on within this.
const RECOVERY: Duration = Duration::from_secs(5);
const RESERVE: &str = "1048576";

/// An installation with all its files on a disk of its own, serving.
struct OnDisk {
    world: World,
    disk: SmallDisk,
    /// Requests that were answered as asked.
    answered: Vec<String>,
}

impl OnDisk {
    fn of(reserve: &str) -> Self {
        let mut weirgate = binary();
        let disk = SmallDisk::in_memory(weirgate.home(), 16 << 20).unwrap();
        weirgate.set("WEIRGATE_AUDIT_RESERVE_BYTES", reserve);
        Self::serving(World::prepared_by(weirgate), disk)
    }

    fn serving(world: World, disk: SmallDisk) -> Self {
        let mut on = Self { world, disk, answered: Vec::new() };
        on.world.serve();
        assert_eq!(on.call(), 200);
        on
    }

    fn reserve(&self) -> PathBuf {
        self.world.weirgate.data_dir().join("audit-reserve")
    }

    fn audit(&self, name: &str) -> PathBuf {
        self.world.weirgate.data_dir().join("audit").join(name)
    }

    /// A call, in time and either answered as asked or refused for the log.
    fn call(&mut self) -> u16 {
        let begun = Instant::now();
        let answer = self.world.get("/things/1");
        assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
        self.note(&answer);
        answer.status
    }

    fn note(&mut self, answer: &client::Response) {
        if answer.status == 200 {
            self.answered.push(answer.header("weirgate-request-id").unwrap().to_owned());
        } else {
            assert_eq!((answer.status, code(answer).as_str()), (503, "audit_unavailable"));
        }
    }

    fn console(&self, path: &str) -> client::Response {
        client::get(self.world.console, path, &[]).unwrap()
    }

    fn is_ready(&self) -> bool {
        self.console("/readyz").status == 200
    }

    /// Calls until one is refused.
    fn call_until_refused(&mut self) {
        let begun = Instant::now();
        while self.call() == 200 {
            assert!(begun.elapsed() < Duration::from_mins(1), "the log never closes");
        }
    }

    /// What stays as it is while the log takes nothing.
    fn stays(&self) {
        assert_eq!(self.console("/healthz").status, 200);
        assert_eq!(self.console("/metrics").status, 200);
        for args in [
            &["client", "list", "--json"][..],
            &["connection", "list", "--json"],
            &["provider", "list", "--json"],
            &["audit", "list", "--json"],
            &["audit", "verify", "--json"],
        ] {
            ok(&self.world.weirgate, args);
        }
    }

    fn recovers(&mut self) {
        let begun = Instant::now();
        while self.call() != 200 {
            assert!(begun.elapsed() < RECOVERY, "{}", self.world.server.as_ref().unwrap().err());
            thread::sleep(Duration::from_millis(20));
        }
        assert!(self.is_ready());
        assert_eq!(self.call(), 200);
    }

    /// Ends the server, and looks whether the log has all that was answered. Yields what it logged.
    fn ends(mut self) -> String {
        // A change is taken and sequenced as before.
        ok(&self.world.weirgate, &["client", "create", "after", "--json"]);
        let said = self.world.stop().err();
        self.is_recorded();
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    fn is_recorded(&self) {
        let verified = self.world.verify();
        for count in ["open_intents", "outbox_rows", "torn_bytes"] {
            assert_eq!(verified[count], 0, "{verified}");
        }
        let entries = self.world.entries();
        let of = |kind: &str| -> HashSet<&str> {
            let of_kind = entries.iter().filter(|entry| entry["kind"] == kind);
            of_kind.map(|entry| entry["request"].as_str().unwrap()).collect()
        };
        let (intents, outcomes) = (of("intent"), of("outcome"));
        for id in &self.answered {
            assert!(intents.contains(id.as_str()), "{id} was answered and has no intent");
            assert!(outcomes.contains(id.as_str()), "{id} was answered and has no end");
        }
        let count = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).count();
        assert_eq!(count("outcome"), outcomes.len(), "one end each");
        assert_eq!(count("intent"), count("outcome"), "and one for each");
    }
}

fn lines<'t>(text: &'t str, message: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.contains(message)).collect()
}

#[test]
fn a_full_disk_refuses_calls_and_lets_those_under_way_end() {
    if !is_inside("disk::a_full_disk_refuses_calls_and_lets_those_under_way_end") {
        return;
    }
    let mut on = OnDisk::of(RESERVE);
    assert_eq!(fs::metadata(on.reserve()).unwrap().len().to_string(), RESERVE);
    assert!(on.is_ready());

    // Both levels are told, each once, long before it closes.
    let told = |on: &OnDisk| lines(&on.world.server.as_ref().unwrap().err(), "little room").len();
    assert_eq!(told(&on), 0);
    for (free, level) in [((16 << 20) / 100 * 8, 1), ((16 << 20) / 100 * 3, 2)] {
        on.disk.leave(free).unwrap();
        wait_until(Duration::from_secs(15), || told(&on) == level);
        let metrics = on.console("/metrics").text();
        let name = "weirgate_audit_free_bytes ";
        let figure = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert!(figure.parse::<u64>().unwrap() <= free, "{figure}");
        assert!(on.is_ready());
        assert_eq!(on.call(), 200);
    }
    let doctor = on.world.weirgate.run(&["doctor", "--json"], b"").unwrap().json().unwrap();
    let disk = doctor["findings"].as_array().unwrap().iter().find(|one| one["check"] == "disk");
    assert_eq!(disk.unwrap()["level"], "bad", "{doctor}");

    // Under way while the disk fills.
    let slow = Answer::json(200, &thing("7")).pause_before_head(Duration::from_millis(2_500));
    on.world.provider.on("GET /things/7", slow);
    let (addr, key, target) = (on.world.addr, on.world.key.clone(), on.world.path("/things/7"));
    let under_way = thread::spawn(move || {
        client::get(addr, &target, &[("Authorization", &format!("Bearer {key}"))]).unwrap()
    });
    wait_until(Duration::from_secs(5), || {
        on.world.provider.requests().iter().any(|one| one.path == "/things/7")
    });
    on.disk.fill().unwrap();
    on.call_until_refused();
    assert!(!on.is_ready());
    let why = on.console("/readyz").text();
    assert!(why.contains("the audit log takes no entries"), "{why}");
    let answer = under_way.join().unwrap();
    assert_eq!(answer.status, 200, "its end fits into the reserve: {}", answer.text());
    on.note(&answer);
    assert!(!on.reserve().exists(), "it was given back");

    // Somebody takes that, too.
    on.disk.fill().unwrap();
    for _ in 0..50 {
        assert_eq!(on.call(), 503);
    }
    on.stays();
    let refused = on.world.weirgate.run(&["client", "create", "lost"], b"").unwrap();
    assert_ne!(refused.status, Some(0), "{}", refused.out());
    assert!(refused.err().contains("no room left"), "{}", refused.err());
    assert!(!on.is_ready());

    on.disk.make_room().unwrap();
    on.recovers();
    assert_eq!(fs::metadata(on.reserve()).unwrap().len().to_string(), RESERVE);
    let listed = ok(&on.world.weirgate, &["client", "list", "--json"]).to_string();
    assert!(!listed.contains("lost"), "{listed}");
    let said = on.ends();
    assert_eq!(lines(&said, "little room").len(), 2, "{said}");
    assert_eq!(lines(&said, "audit log takes entries again").len(), 1, "{said}");
    // Once for what happened, not for each call.
    assert!(lines(&said, "\"ERROR\"").len() < 12, "{said}");
}

#[test]
fn a_full_disk_without_a_reserve_refuses_and_heals_too() {
    if !is_inside("disk::a_full_disk_without_a_reserve_refuses_and_heals_too") {
        return;
    }
    let mut on = OnDisk::of("0");
    assert!(!on.reserve().exists());
    on.disk.fill().unwrap();
    on.call_until_refused();
    on.stays();
    on.disk.make_room().unwrap();
    on.recovers();
    on.ends();
}

/// A server that finds its disk full begins when there is room, and says so.
#[test]
fn a_server_without_room_for_its_reserve_takes_no_calls_until_there_is() {
    if !is_inside("disk::a_server_without_room_for_its_reserve_takes_no_calls_until_there_is") {
        return;
    }
    let mut on = OnDisk::of(RESERVE);
    on.world.stop();
    fs::remove_file(on.reserve()).unwrap();
    on.disk.leave(512 << 10).unwrap();
    on.world.serve();
    assert!(!on.is_ready());
    assert_eq!(on.call(), 503);
    on.disk.make_room().unwrap();
    on.recovers();
    on.ends();
}

/// Without `strace` there is nothing to test.
fn injected(on: &OnDisk, calls: &str, error: &str, paths: &[PathBuf]) -> Option<Injection> {
    let process = on.world.server.as_ref().unwrap().id();
    let begun = Injection::begin(process, calls, error, paths).unwrap();
    if begun.is_none() {
        eprintln!("skipped: strace is not installed, or may not look at the server");
    }
    begun
}

/// The whole disk, the database's files too: what could not be synced is written anew elsewhere, as a
/// second sync of the same file would say that all is well.
#[test]
fn a_disk_that_cannot_sync_refuses_and_heals() {
    if !is_inside("disk::a_disk_that_cannot_sync_refuses_and_heals") {
        return;
    }
    let mut on = OnDisk::of(RESERVE);
    let inode = |on: &OnDisk| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(on.audit("tail")).unwrap().ino()
    };
    let before = inode(&on);
    let Some(injection) = injected(&on, "fsync,fdatasync", "EIO", &[]) else { return };
    for _ in 0..20 {
        assert_eq!(on.call(), 503);
    }
    assert!(!on.is_ready());
    on.stays();
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(on.call(), 503, "it was tried again, and still fails");
    injection.end().unwrap();
    on.recovers();
    assert_ne!(inode(&on), before);
    let said = on.ends();
    assert!(said.contains("audit log takes entries again"), "{said}");
}

/// As of a file system that was mounted read-only, and read-write again.
#[test]
fn a_log_that_is_read_only_refuses_and_heals() {
    if !is_inside("disk::a_log_that_is_read_only_refuses_and_heals") {
        return;
    }
    let mut on = OnDisk::of(RESERVE);
    let data = on.world.weirgate.data_dir();
    let written = ["audit/tail", "audit.drafts/draft", "audit.drafts/tile", "audit-reserve"];
    let mut paths: Vec<PathBuf> = written.iter().map(|name| data.join(name)).collect();
    paths.push(data.join("audit/checkpoint"));
    let calls = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,fallocate";
    let Some(injection) = injected(&on, calls, "EROFS", &paths) else { return };
    for _ in 0..20 {
        assert_eq!(on.call(), 503);
    }
    on.stays();
    injection.end().unwrap();
    on.recovers();
    on.ends();
}

/// What a kernel does with a damaged file system. It stays so until it is mounted anew, and nobody
/// does that under a server: it waits, answers for its health, and begins again after that.
#[test]
fn a_file_system_that_turned_read_only_is_told_and_survived() {
    if !is_inside("disk::a_file_system_that_turned_read_only_is_told_and_survived") {
        return;
    }
    let mut weirgate = binary();
    let image = tempfile::NamedTempFile::new().unwrap();
    let disk = SmallDisk::in_a_file(weirgate.home(), image.path(), 48 << 20).unwrap();
    let Some(disk) = disk else {
        eprintln!("skipped: no file system in a file can be mounted");
        return;
    };
    weirgate.set("WEIRGATE_AUDIT_RESERVE_BYTES", RESERVE);
    let mut on = OnDisk::serving(World::prepared_by(weirgate), disk);
    on.disk.fail().unwrap();
    for _ in 0..20 {
        assert_eq!(on.call(), 503);
    }
    assert!(!on.is_ready());
    assert_eq!(on.console("/healthz").status, 200);
    ok(&on.world.weirgate, &["audit", "list", "--json"]);
    let output = on.world.server.take().unwrap().terminate().unwrap();
    assert_eq!(output.status, Some(1), "{}", output.err());
    assert!(output.err().contains("the audit log cannot be written"), "{}", output.err());
    on.disk.mount_anew().unwrap();
    on.world.serve();
    assert_eq!(on.call(), 200);
    ok(&on.world.weirgate, &["client", "create", "after", "--json"]);
    on.world.stop();
    let entries = on.world.entries();
    let ids = |kind: &str| -> HashSet<&str> {
        let of_kind = entries.iter().filter(|entry| entry["kind"] == kind);
        of_kind.map(|entry| entry["request"].as_str().unwrap()).collect()
    };
    let (intents, outcomes, interrupted) = (ids("intent"), ids("outcome"), ids("interrupted"));
    assert_eq!(on.world.verify()["open_intents"], 0);
    for id in &on.answered {
        assert!(intents.contains(id.as_str()), "{id} was answered and has no intent");
        let has_end = outcomes.contains(id.as_str()) || interrupted.contains(id.as_str());
        assert!(has_end, "{id} was answered and has no end");
    }
}

#[test]
fn a_tail_that_is_deleted_under_a_server_comes_back() {
    if !is_inside("disk::a_tail_that_is_deleted_under_a_server_comes_back") {
        return;
    }
    let mut on = OnDisk::of(RESERVE);
    for _ in 0..3 {
        for _ in 0..40 {
            assert_eq!(on.call(), 200);
        }
        fs::remove_file(on.audit("tail")).unwrap();
        on.recovers();
        assert!(on.audit("tail").exists());
    }
    let said = on.ends();
    assert!(said.contains("deleted or replaced"), "{said}");
}

/// Nobody can make that good but who did it: it waits, says what is missing, and goes on with it.
#[test]
fn a_log_that_is_moved_away_is_waited_for() {
    if !is_inside("disk::a_log_that_is_moved_away_is_waited_for") {
        return;
    }
    let mut on = OnDisk::of(RESERVE);
    let data = on.world.weirgate.data_dir();
    let (there, away) = (data.join("audit"), data.join("away"));
    fs::rename(&there, &away).unwrap();
    for _ in 0..20 {
        assert_eq!(on.call(), 503);
    }
    let is_told = |on: &OnDisk| {
        let said = on.world.server.as_ref().unwrap().err();
        said.contains("audit log takes no entries; it is tried again each second")
    };
    wait_until(Duration::from_secs(5), || is_told(&on));
    assert!(!on.is_ready());
    // What was made in its place meanwhile is not gone on with.
    let _ = fs::remove_dir_all(&there);
    fs::rename(&away, &there).unwrap();
    on.recovers();
    on.ends();
}

/// Nobody can be told what he may not do without a record of it; strangers are counted meanwhile.
#[test]
fn a_closed_log_counts_strangers_and_answers_nobody_else() {
    if !is_inside("disk::a_closed_log_counts_strangers_and_answers_nobody_else") {
        return;
    }
    let mut on = OnDisk::of("0");
    on.disk.fill().unwrap();
    on.call_until_refused();
    on.disk.fill().unwrap();
    let bearer = format!("Bearer {}", on.world.stranger_key);
    let path = on.world.path("/things/1");
    for _ in 0..30 {
        let answer = client::get(on.world.addr, &path, &[("Authorization", &bearer)]).unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (503, "audit_unavailable"));
        assert_eq!(client::get(on.world.addr, &path, &[]).unwrap().status, 401);
    }
    on.disk.make_room().unwrap();
    on.recovers();
    let world = &mut on.world;
    world.stop();
    let entries = world.entries();
    let strangers = entries.iter().filter(|entry| entry["kind"] == "unauthenticated");
    let count: u64 = strangers.map(|entry: &Value| entry["count"].as_u64().unwrap()).sum();
    assert_eq!(count, 30);
}

//! The writer against a disk that stops, fails or is slow at a chosen step.

use crate::{
    AppendError, Durability, FolderLock, Handle, Log, LogConfig, OpenError, Opened, Record,
    SigningKey, VerifyOptions,
    files::{Paths, Step, Watch},
    record::tests::{changed, intent, outcome},
    verify,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use types::SystemClock;

const ORIGIN: &str = "weirgate/inst_test";

/// In memory where that exists: these tests sync much, and none depends on a real disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(home: &Path, watch: Option<Arc<dyn Watch>>) -> Result<Opened, OpenError> {
    let dir = home.join("audit");
    let paths = match watch {
        Some(watch) => Paths::watched(&dir, watch),
        None => Paths::new(&dir),
    };
    let key = || SigningKey::from_seed(&[7; 32], ORIGIN).unwrap();
    if !paths.checkpoint().exists() {
        Log::create_at(&paths, &key(), None)?;
    }
    let config = LogConfig {
        lock: FolderLock::take(home).unwrap().unwrap(),
        dir,
        hint_file: home.join("hint"),
        origin: ORIGIN.into(),
        key: key(),
        clock: Arc::new(SystemClock),
        kept: None,
        configuration: None,
        reserve: None,
    };
    Log::open_at(paths, config)
}

fn check(home: &Path) -> verify::Report {
    let key = SigningKey::from_seed(&[7; 32], ORIGIN).unwrap();
    verify::verify(&home.join("audit"), key.verifier(), &VerifyOptions::default()).unwrap()
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "waited ten seconds");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One call whose two entries are waited for. One whose intent was not taken ends too, as every call.
fn call(handle: &Handle, number: u128, log: &Acknowledged) -> Result<(), AppendError> {
    if let Err(error) = handle.append(&intent(number), Durability::Synced)?.wait() {
        handle.append_and_forget(&outcome(number));
        return Err(error);
    }
    log.synced.lock().unwrap().insert(number);
    handle.append(&outcome(number), Durability::NextGroup)?.wait()?;
    log.written.lock().unwrap().insert(number);
    Ok(())
}

/// Calls whose intent was acknowledged as synced, and whose outcome as written.
#[derive(Debug, Default)]
struct Acknowledged {
    synced: Mutex<HashSet<u128>>,
    written: Mutex<HashSet<u128>>,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What is on disk if the power goes: of each synced file what it held then, under the names that
/// its folder had when it was synced.
#[derive(Debug, Default)]
struct Durable {
    contents: HashMap<u64, Vec<u8>>,
    names: HashMap<PathBuf, BTreeMap<OsString, Option<u64>>>,
}

impl Durable {
    fn note(&mut self, step: Step, path: &Path) {
        match step {
            Step::SyncDraft | Step::SyncTail => {
                let inode = fs::metadata(path).unwrap().ino();
                self.contents.insert(inode, fs::read(path).unwrap());
            }
            Step::SyncFolder => {
                let mut names = BTreeMap::new();
                for entry in fs::read_dir(path).unwrap() {
                    let entry = entry.unwrap();
                    let is_file = entry.file_type().unwrap().is_file();
                    names.insert(entry.file_name(), is_file.then(|| entry.ino_of()));
                }
                self.names.insert(path.to_owned(), names);
            }
            _ => {}
        }
    }

    fn restore(&self, from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for (name, inode) in self.names.get(from).into_iter().flatten() {
            match inode {
                Some(inode) => {
                    let content = self.contents.get(inode).cloned().unwrap_or_default();
                    fs::write(to.join(name), content).unwrap();
                }
                None => self.restore(&from.join(name), &to.join(name)),
            }
        }
    }
}

trait Inode {
    fn ino_of(&self) -> u64;
}

impl Inode for fs::DirEntry {
    fn ino_of(&self) -> u64 {
        self.metadata().unwrap().ino()
    }
}

/// A state that a crash would have left, with what had been promised by then.
struct Crash {
    what: String,
    home: TempDir,
    /// Calls of which the log must know the intent.
    begun: HashSet<u128>,
    /// Calls of which it must know the outcome.
    ended: HashSet<u128>,
}

/// Keeps two states before each step: the process killed, and the power gone.
struct Camera {
    home: PathBuf,
    acknowledged: Arc<Acknowledged>,
    is_on: Mutex<bool>,
    /// One step at a time: between two steps of one thread lie steps of the other, not halves.
    is_busy: Mutex<bool>,
    idle: Condvar,
    durable: Mutex<Durable>,
    crashes: Mutex<Vec<Crash>>,
}

impl fmt::Debug for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Camera")
    }
}

impl Camera {
    fn new(home: &Path, acknowledged: &Arc<Acknowledged>) -> Arc<Self> {
        Arc::new(Self {
            home: home.to_owned(),
            acknowledged: Arc::clone(acknowledged),
            is_on: Mutex::new(true),
            is_busy: Mutex::default(),
            idle: Condvar::new(),
            durable: Mutex::default(),
            crashes: Mutex::default(),
        })
    }

    fn switch(&self, is_on: bool) {
        *self.is_on.lock().unwrap() = is_on;
    }

    fn keep(&self, what: &str) {
        let audit = self.home.join("audit");
        // First what was promised, then what there is: promises only grow.
        let begun = self.acknowledged.synced.lock().unwrap().clone();
        let ended = self.acknowledged.written.lock().unwrap().clone();
        let killed = folder();
        if audit.exists() {
            copy(&audit, &killed.path().join("audit"));
        }
        if self.home.join("hint").exists() {
            fs::copy(self.home.join("hint"), killed.path().join("hint")).unwrap();
        }
        let dark = folder();
        self.durable.lock().unwrap().restore(&audit, &dark.path().join("audit"));
        let mut crashes = self.crashes.lock().unwrap();
        crashes.push(Crash {
            what: format!("killed {what}"),
            home: killed,
            begun: begun.clone(),
            ended,
        });
        let what = format!("dark {what}");
        crashes.push(Crash { what, home: dark, begun, ended: HashSet::new() });
    }
}

impl Watch for Camera {
    fn before(&self, step: Step, path: &Path) -> io::Result<()> {
        let mut is_busy = self.is_busy.lock().unwrap();
        while *is_busy {
            is_busy = self.idle.wait(is_busy).unwrap();
        }
        *is_busy = true;
        drop(is_busy);
        if *self.is_on.lock().unwrap() {
            self.keep(&format!("before {step:?} {}", path.display()));
        }
        Ok(())
    }

    fn after(&self, step: Step, path: &Path) {
        self.durable.lock().unwrap().note(step, path);
        *self.is_busy.lock().unwrap() = false;
        self.idle.notify_one();
    }
}

impl Crash {
    /// Opens, closes, verifies, and finds all that was promised.
    fn recovers(&self) {
        let home = self.home.path();
        if home.join("audit/checkpoint").exists() {
            // A crash by itself is no tampering.
            let report = check(home);
            assert!(report.torn_bytes == 0, "{}: {report:?}", self.what);
        }
        let opened = open(home, None).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        opened.log.close().unwrap();
        let report = check(home);
        assert_eq!((report.open_intents, report.after_checkpoint), (0, 0), "{}", self.what);
        let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
        for (_, record) in verify::list(&home.join("audit"), usize::MAX).unwrap() {
            match record {
                Record::Intent(one) => begun.insert(one.request.as_u128()),
                Record::Outcome(one) => ended.insert(one.request.as_u128()),
                _ => true,
            };
        }
        assert!(begun.is_superset(&self.begun), "{}", self.what);
        assert!(ended.is_superset(&self.ended), "{}", self.what);
    }
}

#[test]
fn every_step_may_be_the_last_one() {
    let home = folder();
    let acknowledged = Arc::default();
    let camera = Camera::new(home.path(), &acknowledged);
    let opened = open(home.path(), Some(camera.clone())).unwrap();
    let handle = opened.log.handle();
    let mut number = 0;
    for full in [252, 764] {
        camera.switch(false);
        while 1 + 2 * number < full {
            call(&handle, number, &acknowledged).unwrap();
            number += 1;
        }
        camera.switch(true);
        for _ in 0..4 {
            call(&handle, number, &acknowledged).unwrap();
            number += 1;
        }
    }
    handle.append(&intent(99_999), Durability::Synced).unwrap().wait().unwrap();
    opened.log.close().unwrap();
    assert_eq!(check(home.path()).entries, 1 + 2 * u64::try_from(number).unwrap() + 2);
    let crashes = std::mem::take(&mut *camera.crashes.lock().unwrap());
    // How many there are depends on how calls fall into groups.
    assert!(crashes.len() > 60, "{}", crashes.len());
    for crash in crashes {
        crash.recovers();
    }
}

/// The same for the steps of recovery itself, from a state in which it has everything to do: open
/// calls, a torn end, missing hash tiles, a tile that its own entries fill.
#[test]
fn every_step_of_recovery_may_be_the_last_one() {
    for (calls, is_just_full) in [(127, false), (127, true), (125, false)] {
        let home = folder();
        let acknowledged: Arc<Acknowledged> = Arc::default();
        let opened = open(home.path(), None).unwrap();
        let handle = opened.log.handle();
        for number in 0..calls {
            call(&handle, number, &acknowledged).unwrap();
        }
        for number in 900..if is_just_full { 901 } else { 904 } {
            handle.append(&intent(number), Durability::Synced).unwrap().wait().unwrap();
            acknowledged.synced.lock().unwrap().insert(number);
        }
        // The other thread has come to its end as well.
        let hashes = home.path().join("audit/tile/0/000");
        wait_until(|| calls < 127 || hashes.exists());
        let left = folder();
        copy(&home.path().join("audit"), &left.path().join("audit"));
        let tail = left.path().join("audit/tail");
        let hashes = left.path().join("audit/tile/0/000");
        if is_just_full {
            fs::remove_file(hashes).unwrap();
        } else {
            let mut torn = fs::read(&tail).unwrap();
            torn.extend_from_slice(&[1, 0, 0xA5, 0]);
            fs::write(&tail, torn).unwrap();
        }
        let camera = Camera::new(left.path(), &acknowledged);
        // What lies there has been on disk since long ago.
        for path in walk(left.path()) {
            let step = if path.is_dir() { Step::SyncFolder } else { Step::SyncDraft };
            camera.durable.lock().unwrap().note(step, &path);
        }
        let reopened = open(left.path(), Some(camera.clone())).unwrap();
        reopened.log.close().unwrap();
        let crashes = std::mem::take(&mut *camera.crashes.lock().unwrap());
        assert!(crashes.len() > 15, "{}", crashes.len());
        let mut cuts = 0;
        for crash in crashes {
            let home = crash.home.path();
            let was_torn = check(home).torn_bytes > 0;
            open(home, None).unwrap().log.close().unwrap();
            let report = check(home);
            assert_eq!((report.open_intents, report.torn_bytes), (0, 0), "{}", crash.what);
            let records = verify::list(&home.join("audit"), usize::MAX).unwrap();
            let cut = records.iter().filter_map(|(_, record)| match record {
                Record::Recovered { cut_bytes, .. } => Some(*cut_bytes),
                _ => None,
            });
            // Whether before the crash or after it: that the end was torn is said once.
            let cut: Vec<u64> = cut.collect();
            assert_eq!(cut, if is_just_full { vec![] } else { vec![4] }, "{}", crash.what);
            cuts += u32::from(was_torn);
            let begun: HashSet<u128> = records
                .iter()
                .filter_map(|(_, record)| match record {
                    Record::Intent(one) => Some(one.request.as_u128()),
                    _ => None,
                })
                .collect();
            assert!(begun.is_superset(&crash.begun), "{}", crash.what);
        }
        assert!(is_just_full || cuts > 5, "{cuts}");
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Counts steps, and fails or waits at those of one kind.
#[derive(Debug, Default)]
struct Gate {
    counts: Mutex<HashMap<Step, u64>>,
    failing: Mutex<Option<Step>>,
    closed: Mutex<Option<Step>>,
    opened: Condvar,
    waiting: AtomicU64,
}

impl Gate {
    fn count(&self, step: Step) -> u64 {
        self.counts.lock().unwrap().get(&step).copied().unwrap_or(0)
    }

    fn close(&self, step: Step) {
        *self.closed.lock().unwrap() = Some(step);
    }

    fn open(&self) {
        *self.closed.lock().unwrap() = None;
        self.opened.notify_all();
    }

    /// Until the writer stands before the closed step.
    fn wait_for_writer(&self) {
        wait_until(|| self.waiting.load(Ordering::SeqCst) > 0);
    }
}

impl Watch for Gate {
    fn before(&self, step: Step, _: &Path) -> io::Result<()> {
        let mut closed = self.closed.lock().unwrap();
        self.waiting.fetch_add(u64::from(*closed == Some(step)), Ordering::SeqCst);
        while *closed == Some(step) {
            closed = self.opened.wait(closed).unwrap();
        }
        self.waiting.store(0, Ordering::SeqCst);
        *self.counts.lock().unwrap().entry(step).or_default() += 1;
        if *self.failing.lock().unwrap() == Some(step) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn after(&self, _: Step, _: &Path) {}
}

#[test]
fn a_group_is_written_and_synced_once() {
    let home = folder();
    let gate = Arc::new(Gate::default());
    let opened = open(home.path(), Some(gate.clone())).unwrap();
    let handle = opened.log.handle();
    gate.close(Step::SyncTail);
    let first = handle.append(&intent(0), Durability::Synced).unwrap();
    gate.wait_for_writer();
    let waiting: Vec<_> =
        (1..=100).map(|n| handle.append(&intent(n), Durability::Synced).unwrap()).collect();
    let (writes, syncs) = (gate.count(Step::AppendTail), gate.count(Step::SyncTail));
    gate.open();
    first.wait().unwrap();
    for (ticket, index) in waiting.into_iter().zip(2..) {
        assert_eq!(ticket.wait(), Ok(index));
    }
    assert_eq!(gate.count(Step::AppendTail), writes + 1);
    assert_eq!(gate.count(Step::SyncTail), syncs + 2, "one of the first group, one of the second");
    opened.log.close().unwrap();
}

/// Nobody asks for the sync of an outcome; it comes within a tenth of a second.
#[test]
fn an_outcome_is_synced_without_a_further_entry() {
    let home = folder();
    let gate = Arc::new(Gate::default());
    let opened = open(home.path(), Some(gate.clone())).unwrap();
    let handle = opened.log.handle();
    handle.append(&intent(0), Durability::Synced).unwrap().wait().unwrap();
    gate.close(Step::SyncTail);
    // It is acknowledged before it is synced.
    handle.append(&outcome(0), Durability::NextGroup).unwrap().wait().unwrap();
    let syncs = gate.count(Step::SyncTail);
    gate.wait_for_writer();
    gate.open();
    wait_until(|| gate.count(Step::SyncTail) > syncs);
    opened.log.close().unwrap();
}

#[test]
fn a_slow_disk_fills_the_queue_and_then_refuses_at_once() {
    let home = folder();
    let gate = Arc::new(Gate::default());
    let opened = open(home.path(), Some(gate.clone())).unwrap();
    let handle = opened.log.handle();
    gate.close(Step::SyncTail);
    let mut tickets = vec![handle.append(&intent(0), Durability::Synced).unwrap()];
    gate.wait_for_writer();
    let refused = loop {
        let number = tickets.len() as u128;
        match handle.append(&intent(number), Durability::Synced) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Full);
    assert!(handle.is_healthy() && tickets.len() > 10_000);
    gate.open();
    for (index, ticket) in (1..).zip(tickets) {
        assert_eq!(ticket.wait(), Ok(index));
    }
    handle.append(&intent(1 << 80), Durability::Synced).unwrap().wait().unwrap();
    opened.log.close().unwrap();
    check(home.path());
}

/// Until the log takes calls again, by itself.
fn wait_for_calls(handle: &Handle, number: u128, log: &Acknowledged) {
    let mut number = number << 64;
    wait_until(|| {
        number += 1;
        call(handle, number, log).is_ok()
    });
}

#[test]
fn a_disk_that_fails_at_any_step_closes_the_log_until_it_works() {
    let steps = [
        Step::AppendTail,
        Step::SyncTail,
        Step::WriteDraft,
        Step::SyncDraft,
        Step::Rename,
        Step::SyncFolder,
        Step::CreateFolder,
    ];
    for step in steps {
        let home = folder();
        let gate = Arc::new(Gate::default());
        let opened = open(home.path(), Some(gate.clone())).unwrap();
        let handle = opened.log.handle();
        let acknowledged = Acknowledged::default();
        for number in 0..100 {
            call(&handle, number, &acknowledged).unwrap();
        }
        // Under way when the disk fails.
        handle.append(&intent(50_000), Durability::Synced).unwrap().wait().unwrap();
        *gate.failing.lock().unwrap() = Some(step);
        let mut refused = 0;
        for number in 100.. {
            if refused > 100 {
                break;
            }
            // Tiles are written beside: their failure may come some entries later.
            assert!(number < 20_000, "{step:?} fails unnoticed");
            match call(&handle, number, &acknowledged) {
                Ok(()) => assert_eq!(refused, 0, "{step:?}"),
                Err(error) => {
                    let kind = io::ErrorKind::StorageFull;
                    assert_eq!(error, AppendError::Failed { kind }, "{step:?}");
                    refused += 1;
                }
            }
        }
        // It ends meanwhile, and that is not lost.
        let ended = handle.append(&outcome(50_000), Durability::NextGroup).unwrap().wait();
        if let Err(error) = ended {
            assert!(matches!(error, AppendError::Failed { .. }), "{step:?}: {error}");
        }
        *gate.failing.lock().unwrap() = None;
        wait_for_calls(&handle, 1, &acknowledged);
        assert!(handle.is_healthy());
        opened.log.close().unwrap();
        let report = check(home.path());
        assert_eq!((report.open_intents, report.torn_bytes), (0, 0), "{step:?}");
        let mut begun = HashSet::new();
        let mut ended = HashSet::new();
        for (_, record) in verify::list(&home.path().join("audit"), usize::MAX).unwrap() {
            let is_new = match &record {
                Record::Intent(one) => begun.insert(one.request.as_u128()),
                Record::Outcome(one) => ended.insert(one.request.as_u128()),
                Record::Interrupted { .. } => panic!("{step:?}: {record:?}"),
                _ => true,
            };
            assert!(is_new, "{step:?}: {record:?} twice");
        }
        assert_eq!(begun, ended, "{step:?}");
        assert!(begun.contains(&50_000), "{step:?}");
        assert!(begun.is_superset(&acknowledged.synced.lock().unwrap()), "{step:?}");
        assert!(ended.is_superset(&acknowledged.written.lock().unwrap()), "{step:?}");
    }
}

/// Of a change that failed nobody knows whether the log has it, until the log was opened again and
/// somebody asked: until then no other is taken, as changes have an order.
#[test]
fn changes_wait_until_it_is_known_which_the_log_has() {
    let home = folder();
    let gate = Arc::new(Gate::default());
    let opened = open(home.path(), Some(gate.clone())).unwrap();
    let handle = opened.log.handle();
    let change = |event: u8| handle.append(&changed([event; 16]), Durability::Synced);
    change(1).unwrap().wait().unwrap();
    assert!(handle.take_reopened().is_none());
    *gate.failing.lock().unwrap() = Some(Step::SyncTail);
    gate.close(Step::SyncTail);
    let failed = change(2).unwrap();
    gate.wait_for_writer();
    // Handed over before anybody could know.
    let stale = change(3).unwrap();
    gate.open();
    assert!(failed.wait().is_err());
    assert!(stale.wait().is_err());
    *gate.failing.lock().unwrap() = None;
    wait_for_calls(&handle, 1, &Acknowledged::default());
    assert!(matches!(change(3), Err(AppendError::Failed { .. })));
    let found = handle.take_reopened().unwrap();
    assert_eq!(found.recent_events, [[1; 16], [2; 16]], "its sync failed, and it is there");
    change(3).unwrap().wait().unwrap();
    assert!(handle.take_reopened().is_none());
    opened.log.close().unwrap();
    let events = verify::list(&home.path().join("audit"), usize::MAX).unwrap();
    let events = events.into_iter().rev().filter_map(|(_, record)| match record {
        Record::Changed(changed) => Some(changed.event),
        _ => None,
    });
    assert_eq!(events.collect::<Vec<_>>(), [[1; 16], [2; 16], [3; 16]]);
}

#[test]
fn pending_tickets_fail_with_the_disk() {
    let home = folder();
    let gate = Arc::new(Gate::default());
    let opened = open(home.path(), Some(gate.clone())).unwrap();
    let handle = opened.log.handle();
    gate.close(Step::SyncTail);
    let first = handle.append(&intent(0), Durability::Synced).unwrap();
    gate.wait_for_writer();
    let second = handle.append(&intent(1), Durability::Synced).unwrap();
    let third = handle.append(&outcome(0), Durability::NextGroup).unwrap();
    *gate.failing.lock().unwrap() = Some(Step::SyncTail);
    gate.open();
    for ticket in [first, second] {
        assert!(matches!(ticket.wait(), Err(AppendError::Failed { .. })));
    }
    // The log was opened again meanwhile, and this one waits for no sync.
    third.wait().unwrap();
    assert!(opened.log.close().is_err());
}

/// A tail that was deleted, or another file under its name, would take entries that nobody reads:
/// it is put back as it was, by who has it open.
#[test]
fn a_tail_that_somebody_took_away_is_noticed_and_put_back() {
    for is_replaced in [false, true] {
        let home = folder();
        let opened = open(home.path(), None).unwrap();
        let handle = opened.log.handle();
        let acknowledged = Acknowledged::default();
        call(&handle, 0, &acknowledged).unwrap();
        let tail = home.path().join("audit/tail");
        let bytes = fs::read(&tail).unwrap();
        fs::rename(&tail, home.path().join("taken")).unwrap();
        if is_replaced {
            // An older one, as it was.
            fs::write(&tail, &bytes[..bytes.len() / 2]).unwrap();
        }
        let ticket = handle.append(&intent(1), Durability::Synced).unwrap();
        let kind = io::ErrorKind::NotFound;
        assert_eq!(ticket.wait(), Err(AppendError::Failed { kind }));
        handle.append_and_forget(&outcome(1));
        wait_for_calls(&handle, 1, &acknowledged);
        opened.log.close().unwrap();
        assert_eq!(check(home.path()).open_intents, 0);
        let records = verify::list(&home.path().join("audit"), usize::MAX).unwrap();
        let has = |number: u128| {
            records.iter().any(|(_, record)| {
                matches!(record, Record::Intent(one) if one.request.as_u128() == number)
            })
        };
        assert!(acknowledged.synced.lock().unwrap().iter().all(|number| has(*number)));
    }
}

/// Behind a tail that was cut in its place, entries would be lost at the next start; behind one that
/// was lengthened, too.
#[test]
fn a_tail_that_somebody_cut_or_lengthened_is_noticed() {
    for change in [-1, 1, -40] {
        let home = folder();
        let opened = open(home.path(), None).unwrap();
        let handle = opened.log.handle();
        let acknowledged = Acknowledged::default();
        call(&handle, 0, &acknowledged).unwrap();
        handle.append(&intent(1), Durability::Synced).unwrap().wait().unwrap();
        let path = home.path().join("audit/tail");
        let whole = fs::read(&path).unwrap();
        let tail = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let length = tail.metadata().unwrap().len();
        tail.set_len(length.checked_add_signed(change).unwrap()).unwrap();
        let ticket = handle.append(&outcome(1), Durability::NextGroup).unwrap();
        if change > 0 {
            // What was put behind is cut off, and said.
            ticket.wait().unwrap();
            wait_for_calls(&handle, 1, &acknowledged);
        } else {
            // Nor is it acknowledged when nobody asks for the disk.
            let kind = io::ErrorKind::NotFound;
            assert_eq!(ticket.wait(), Err(AppendError::Failed { kind }));
            assert!(!handle.is_healthy());
            assert!(call(&handle, 2, &acknowledged).is_err());
            // What was on disk is missing: nothing goes on without it, and with it all does.
            fs::write(&path, whole).unwrap();
            wait_for_calls(&handle, 1, &acknowledged);
        }
        opened.log.close().unwrap();
        assert_eq!(check(home.path()).open_intents, 0);
        let records = verify::list(&home.path().join("audit"), usize::MAX).unwrap();
        let cut: Vec<u64> = records
            .iter()
            .filter_map(|(_, record)| match record {
                Record::Recovered { cut_bytes, .. } => Some(*cut_bytes),
                _ => None,
            })
            .collect();
        assert_eq!(cut, if change > 0 { vec![1] } else { vec![] });
        // Without what was on disk the writer does not even end.
        if change < 0 {
            let home = folder();
            let opened = open(home.path(), None).unwrap();
            let handle = opened.log.handle();
            handle.append(&intent(0), Durability::Synced).unwrap().wait().unwrap();
            let tail = home.path().join("audit/tail");
            let tail = fs::OpenOptions::new().write(true).open(tail).unwrap();
            tail.set_len(tail.metadata().unwrap().len().checked_add_signed(change).unwrap())
                .unwrap();
            assert!(opened.log.close().is_err());
        }
    }
}

/// Under the name of the folder lies another one, which a second process may have locked.
#[test]
fn a_folder_that_somebody_replaced_is_noticed() {
    let above = folder();
    let home = above.path().join("data");
    fs::create_dir(&home).unwrap();
    let opened = open(&home, None).unwrap();
    let handle = opened.log.handle();
    handle.append(&intent(0), Durability::Synced).unwrap().wait().unwrap();
    // All of its files are the very same.
    fs::rename(&home, above.path().join("moved")).unwrap();
    fs::create_dir(&home).unwrap();
    fs::rename(above.path().join("moved/audit"), home.join("audit")).unwrap();
    let ticket = handle.append(&intent(1), Durability::Synced).unwrap();
    let kind = io::ErrorKind::NotFound;
    assert_eq!(ticket.wait(), Err(AppendError::Failed { kind }));
    assert!(opened.log.close().is_err());
}

//! Checkpoints of the audit log at places that whoever holds this machine does not hold: a file, a
//! witness over HTTP, the other nodes.
//!
//! Without one, somebody with the data folder and the root key can cut the log and sign it anew. What
//! keeps checkpoints never delays a call: it has a thread of its own, and what fails is tried again.

mod file;
mod webhook;

pub(crate) use file::{KeptFile, KeptFileError};
pub(crate) use webhook::{Token, Webhook};

use crate::output::chain;
use app::witness::Peers;
use audit::{Handle, Signed};
use std::{
    io,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// How often ages are told, and the other nodes are looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the last checkpoint may take at shutdown.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// Before what failed is tried again; doubled each time, up to the interval.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

const KEEP_A_COPY: &str = "Keep a copy of the data folder as it is, and find out who changed it.";
const STOP_THAT_NODE: &str =
    "Stop that node, keep a copy of its data folder, and find out who changed it.";
const SEE_WHY: &str =
    "See why the place takes none; until then this machine alone vouches for the log.";

/// How often, and when somebody must look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub every: Duration,
    pub max_age: Duration,
}

/// Why a place did not take a checkpoint.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// May be tried again.
    Failed { code: &'static str, cause: String },
    /// It holds another history of the log.
    Contradicted(String),
}

/// Since when a place lacks the log's newest checkpoint.
struct Place {
    name: &'static str,
    pace: Pace,
    /// The last moment of which it is known that the place had the newest.
    current_at: Instant,
    taken: Option<Signed>,
    failures: u32,
    next: Instant,
    is_late: bool,
    is_contradicted: bool,
}

impl Place {
    fn new(name: &'static str, pace: Pace) -> Self {
        let now = Instant::now();
        Self {
            name,
            pace,
            current_at: now,
            taken: None,
            failures: 0,
            next: now,
            is_late: false,
            is_contradicted: false,
        }
    }

    /// What is to be put there now, if anything is.
    fn due(&self, signed: Option<&Signed>, now: Instant) -> Option<Signed> {
        signed.filter(|signed| now >= self.next && self.taken.as_ref() != Some(signed)).cloned()
    }

    fn tell(&mut self, signed: Signed, at: Instant, result: Result<(), NotTaken>) {
        let now = Instant::now();
        let failed = match result {
            Ok(()) => {
                self.taken = Some(signed);
                self.current_at = at;
                self.next = now + self.pace.every;
                self.is_contradicted = false;
                return self.is_well();
            }
            Err(failed) => failed,
        };
        let wait = AGAIN_AFTER.saturating_mul(1 << self.failures.min(16));
        self.next = now + wait.min(self.pace.every);
        match failed {
            NotTaken::Failed { code, cause } => self.fail(code, &cause),
            NotTaken::Contradicted(what) => {
                self.failures = self.failures.saturating_add(1);
                self.contradict(&what);
            }
        }
    }

    /// The first failure and its end are told, not each.
    fn fail(&mut self, code: &'static str, cause: &str) {
        if self.failures == 0 {
            tracing::warn!(place = self.name, code, cause, "a checkpoint is not kept outside");
        }
        self.failures = self.failures.saturating_add(1);
    }

    fn is_well(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!(place = self.name, "checkpoints are kept outside again");
        }
    }

    fn contradict(&mut self, what: &str) {
        if !std::mem::replace(&mut self.is_contradicted, true) {
            contradicted(self.name);
            tracing::error!(
                place = self.name,
                error = what,
                remedy = KEEP_A_COPY,
                "another history of this audit log is known outside"
            );
        }
    }

    /// Shows how old what is outside has become.
    fn show(&mut self, signed: Option<&Signed>) {
        let now = Instant::now();
        if self.taken.is_some() && self.taken.as_ref() == signed {
            self.current_at = now;
        }
        let age = now.duration_since(self.current_at);
        metrics::gauge!("weirgate_checkpoint_age_seconds", "place" => self.name)
            .set(age.as_secs_f64());
        let is_late = age > self.pace.max_age;
        if is_late && !self.is_late {
            tracing::error!(
                place = self.name,
                age_s = age.as_secs(),
                remedy = SEE_WHY,
                "no checkpoint was kept outside for too long"
            );
        }
        self.is_late = is_late;
    }
}

fn contradicted(place: &'static str) {
    metrics::counter!("weirgate_checkpoint_contradictions_total", "place" => place).increment(1);
}

/// File and webhook, under way.
#[derive(Debug)]
pub(crate) struct Outside {
    hurry: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Outside {
    pub(crate) fn start(
        handle: Handle,
        file: Option<KeptFile>,
        webhook: Option<Webhook>,
        pace: Pace,
    ) -> io::Result<Self> {
        let (hurry, hurried) = watch::channel(false);
        let thread = std::thread::Builder::new().name("checkpoints".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    let local = tokio::task::LocalSet::new();
                    local.block_on(&runtime, run(handle, file, webhook, pace, hurried));
                }
                Err(error) => tracing::error!(%error, "no checkpoint can be kept outside"),
            }
        })?;
        Ok(Self { hurry, thread })
    }

    /// Keeps the last checkpoint, as far as that takes no more than seconds. Blocks.
    pub(crate) fn stop(self) {
        // Nobody listens if the thread has ended.
        let _ = self.hurry.send(true);
        if self.thread.join().is_err() {
            tracing::error!("what keeps checkpoints outside has panicked");
        }
    }
}

async fn run(
    handle: Handle,
    file: Option<KeptFile>,
    webhook: Option<Webhook>,
    pace: Pace,
    mut hurried: watch::Receiver<bool>,
) {
    let mut file = file.map(|file| (file, Place::new("file", pace)));
    let mut webhook = webhook.map(|webhook| (webhook.ready(), Place::new("webhook", pace)));
    let mut ticks = interval(LOOK_EVERY.min(pace.every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Both are cancel-safe. Whoever could hurry us is gone: that is a hurry, too.
        let is_last = tokio::select! {
            biased;
            _ = hurried.wait_for(|hurry| *hurry) => true,
            _ = ticks.tick() => false,
        };
        let signed = handle.checkpoint();
        let signed = signed.as_ref();
        let now = Instant::now();
        if let Some((file, place)) = &mut file {
            if let Some(due) = place.due(signed, if is_last { now.max(place.next) } else { now }) {
                let kept = file.keep(&due);
                place.tell(due, now, kept);
            }
            place.show(signed);
        }
        if let Some((webhook, place)) = &mut webhook {
            if let Some(due) = place.due(signed, if is_last { now.max(place.next) } else { now }) {
                let late = async {
                    if !is_last {
                        // A hurry waits for nothing slow: the last one is posted anew.
                        let _ = hurried.wait_for(|hurry| *hurry).await;
                        return;
                    }
                    tokio::time::sleep(END_PATIENCE).await;
                };
                // Dropping what was posted is no loss: the witness says what it has.
                tokio::select! {
                    posted = webhook.keep(&due) => place.tell(due, now, posted),
                    () = late => if is_last {
                        place.fail("webhook_late", "the last checkpoint was not taken in time");
                    },
                }
            }
            place.show(signed);
        }
        if is_last {
            return;
        }
    }
}

/// Witnesses the other nodes' logs, and has them witness this one's, until told to stop.
pub(crate) async fn among_nodes(
    mut peers: Peers,
    handle: Handle,
    pace: Pace,
    mut stopped: watch::Receiver<bool>,
) {
    let mut place = Place::new("nodes", pace);
    let mut ticks = interval(LOOK_EVERY.min(pace.every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_witnesses = false;
    loop {
        // Both are cancel-safe.
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        match peers.round(&handle).await {
            Err(error) => place.fail("store_or_folder_unusable", &chain(&error)),
            Ok(round) => {
                place.is_well();
                for (log, refusal) in round.refused {
                    contradicted("witness");
                    tracing::error!(
                        log,
                        error = %refusal,
                        remedy = STOP_THAT_NODE,
                        "a node asks to cosign a second history of its audit log: refused"
                    );
                }
                match round.contradicted.first() {
                    Some(witness) => place.contradict(&format!(
                        "{witness} holds other checkpoints, or answers with another key than before"
                    )),
                    None if round.current_at > Some(place.current_at) => {
                        place.is_contradicted = false;
                    }
                    None => {}
                }
                has_witnesses = round.has_witnesses;
                place.current_at =
                    round.current_at.unwrap_or(place.current_at).max(place.current_at);
            }
        }
        if has_witnesses {
            place.show(None);
        }
    }
}

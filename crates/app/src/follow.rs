//! Keeps a running server true to the store: polls the generation, compiles, swaps, and moves the
//! outbox into the log.

use crate::{
    compile::{Compiled, Compiler, read_provider},
    error::Error,
    generations::{self, Done, Turn},
    instance::Instance,
    nodes, seals,
    sequence::OpenLog,
    tokens::TokenDesk,
};
use gateway::{LimitSettings, Recorder, SharedSnapshot};
use std::{
    collections::HashSet,
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use store::{ProviderRow, StoreError};
use tokio::{
    sync::{Mutex, watch},
    time::MissedTickBehavior,
};
use types::{Id, Provider, Timestamp};

/// How often the store is asked whether anything changed.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether anything is to be sealed anew, and the least pause between batches.
const SEAL_EVERY: Duration = Duration::from_secs(1);
const SEAL_PAUSE: Duration = Duration::from_millis(50);
/// How often counts of refusals go to the log.
const FLUSH_EVERY: u32 = 4;

/// The reconciler of one server.
#[derive(Debug)]
pub struct Follower {
    instance: Arc<Instance>,
    compiler: Compiler,
    valid_until: Timestamp,
    desk: TokenDesk,
}

/// Compiles the first Snapshot: a server is ready only with everything read.
pub async fn first(
    instance: Arc<Instance>,
    limits: LimitSettings,
    desk: TokenDesk,
) -> Result<(Follower, SharedSnapshot), Error> {
    let asked_at = Instant::now();
    let compiler = Compiler::new(&instance, limits)?;
    let mut follower = Follower { instance, compiler, valid_until: Timestamp::MAX, desk };
    let mut tried = Tried::new();
    let mut snapshot = loop {
        let Compiled { snapshot, missing, .. } = follower.compile().await?;
        let Some(unread) = untried(missing, &mut tried) else { break snapshot };
        for row in unread {
            follower.read(row).await?;
        }
    };
    snapshot.pending.clear();
    Ok((follower, SharedSnapshot::new(snapshot, asked_at)))
}

/// Imports that were read, or could not be.
type Tried = HashSet<(Id<Provider>, Timestamp)>;

/// Descriptions that are still to be read, if there are any: more may be imported while some are read.
fn untried(missing: Vec<ProviderRow>, tried: &mut Tried) -> Option<Vec<ProviderRow>> {
    let unread: Vec<ProviderRow> =
        missing.into_iter().filter(|row| tried.insert((row.id, row.imported_at))).collect();
    (!unread.is_empty()).then_some(unread)
}

/// What moves entries, and out of which store.
#[derive(Debug)]
struct Work {
    log: OpenLog,
    instance: Arc<Instance>,
}

/// What was said to have failed: said once, until it is something else or over.
#[derive(Debug, Default)]
struct Said(Option<String>);

impl Said {
    fn is_news(&mut self, result: &Result<(), Error>) -> bool {
        let failed = result.as_ref().err().map(ToString::to_string);
        let is_news = failed.is_some() && failed != self.0;
        self.0 = failed;
        is_news
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Whether what waits contradicts the changes that were made, or the log: entries were removed, put
/// there or changed by somebody else.
#[derive(Debug, Default)]
struct Refused(AtomicBool);

impl Refused {
    /// Only what was moved whole is beyond doubt again. A log that cannot be written, or a store that
    /// is away, is no reason to let a revocation wait: then it stays as it was.
    fn judge(&self, moved: &Result<(), Error>) {
        match moved {
            Ok(()) => self.0.store(false, Ordering::Release),
            Err(
                Error::VaultRolledBack
                | Error::RowTampered { .. }
                | Error::EventMissing { .. }
                | Error::SealsTampered
                | Error::NodeRetired { .. },
            ) => self.0.store(true, Ordering::Release),
            Err(_) => {}
        }
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Moves entries into the log, and tells the store of its checkpoints.
async fn sequence(work: &Mutex<Work>, refused: &Refused, mut stopped: watch::Receiver<bool>) {
    let mut ticks = ticks();
    let mut seen: Option<Instant> = None;
    let (mut said, mut said_of_telling) = (Said::default(), Said::default());
    loop {
        // Both are cancel-safe: a tick that was not taken comes again.
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        let Work { log, instance } = &mut *work.lock().await;
        if instance.folder.server().is_some()
            && seen.is_none_or(|seen| seen.elapsed() >= nodes::SEEN_EVERY)
        {
            seen = Some(Instant::now());
            let now = instance.clock.now();
            if let Err(error) = instance.store.see_node(&instance.origin, now).await {
                tracing::warn!(error = %error, "the store cannot be told that this node is at work");
            }
        }
        let moved = log.drain(instance).await;
        refused.judge(&moved);
        let is_news = said.is_news(&moved);
        if let Err(error) = moved
            && is_news
        {
            tracing::error!(error = %error, "the outbox cannot be moved into the audit log");
        }
        let told = log.tell_checkpoint().await;
        let is_news = said_of_telling.is_news(&told);
        if let Err(error) = told
            && is_news
        {
            tracing::error!(error = %error, "the store cannot be told of the audit log");
        }
    }
}

/// Seals everything anew under the newest generation of the vault, while there is an earlier one: one
/// node at a time, a batch at a time, with as long a pause as the batch took, so that others can change
/// something meanwhile.
async fn seal_anew(work: &Mutex<Work>, mut stopped: watch::Receiver<bool>) {
    let (mut said, mut turn) = (Said::default(), Turn::default());
    let mut moved_at = Instant::now();
    let mut pause = SEAL_EVERY;
    loop {
        // Both are cancel-safe.
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let instance = Arc::clone(&work.lock().await.instance);
        pause = SEAL_EVERY;
        if instance.keyring().numbers().count() < 2 {
            continue;
        }
        let begun = Instant::now();
        let advanced = async {
            if turn.look(&instance).await? {
                moved_at = Instant::now();
            }
            if !turn.take(&instance, moved_at.elapsed() < generations::PATIENCE).await? {
                return Ok(());
            }
            let ctx = generations::by_itself(&instance)?;
            let done = generations::advance(&instance, &ctx, generations::BATCH).await?;
            if let Done::Destroyed { generation } = done {
                tracing::info!(generation, "earlier generations of the vault are destroyed");
            }
            Ok(())
        };
        let advanced: Result<(), Error> = Box::pin(advanced).await;
        pause = begun.elapsed().clamp(SEAL_PAUSE, SEAL_EVERY * 10);
        let is_news = said.is_news(&advanced);
        if let Err(error) = advanced
            && is_news
        {
            tracing::error!(error = %error, "what is sealed cannot be sealed anew");
        }
    }
}

impl Follower {
    /// Runs until told to stop. Its errors are logged: while the store is away the Snapshot ages,
    /// and the gateway closes by itself when it is too old.
    pub async fn run(
        self,
        shared: Arc<SharedSnapshot>,
        recorder: Arc<Recorder>,
        log: OpenLog,
        stopped: watch::Receiver<bool>,
    ) -> OpenLog {
        let work = Mutex::new(Work { log, instance: Arc::clone(&self.instance) });
        let refused = Refused::default();
        // Apart from each other: who waits to move entries does not keep a revocation waiting.
        tokio::join!(
            self.follow(&shared, &recorder, &work, &refused, stopped.clone()),
            sequence(&work, &refused, stopped.clone()),
            seal_anew(&work, stopped),
        );
        let Work { mut log, instance } = work.into_inner();
        // What was committed since the last time. If it fails, the next start does it.
        if let Err(error) = log.drain(&instance).await {
            tracing::error!(error = %error, "the outbox cannot be moved into the audit log");
        }
        log
    }

    async fn follow(
        mut self,
        shared: &SharedSnapshot,
        recorder: &Recorder,
        work: &Mutex<Work>,
        refused: &Refused,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut ticks = ticks();
        let mut count = 0_u32;
        loop {
            // Both are cancel-safe: a tick that was not taken comes again.
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                () = self.desk.news.notified() => {}
                _ = ticks.tick() => {}
            }
            count = count.wrapping_add(1);
            if count.is_multiple_of(FLUSH_EVERY) {
                recorder.flush();
            }
            if let Err(error) = self.poll(shared, refused).await {
                tracing::error!(error = %error, "the store cannot be followed");
                // Until it is, the Snapshot is not confirmed, ages, and the gateway closes.
                if matches!(error, Error::Store(StoreError::Replaced { .. }))
                    && let Err(error) = self.reopen(shared, work).await
                {
                    let cause = error.source().map(tracing::field::display);
                    tracing::error!(error = %error, cause, "the database in its place is not taken");
                }
            }
        }
    }

    /// Takes over the database that lies in the old one's place.
    async fn reopen(&mut self, shared: &SharedSnapshot, work: &Mutex<Work>) -> Result<(), Error> {
        // Nothing is moved meanwhile: an async lock, held until the change is whole.
        let mut work = work.lock().await;
        let asked_at = Instant::now();
        let instance = Arc::new(self.instance.reopen().await?);
        let taken = async {
            // Judged before anything is moved out of it, or told to it.
            seals::load(&instance).await?;
            work.log.follow(&instance).await
        };
        if let Err(error) = taken.await {
            instance.close_store().await;
            return Err(error);
        }
        work.instance = Arc::clone(&instance);
        let replaced = std::mem::replace(&mut self.instance, instance);
        replaced.close_store().await;
        // Whatever its generation is: the Snapshot is not confirmed before its rows are in force.
        self.valid_until = Timestamp::EPOCH;
        self.take_over(shared, asked_at).await?;
        tracing::warn!("the database was replaced while the server ran: the new one is followed");
        Ok(())
    }

    /// Confirms or replaces the Snapshot, unless what waits for the log was tampered with: a change
    /// without its entry may be in force already, so the gateway closes at once, until nothing is amiss
    /// any more. Who moves the entries says why.
    async fn poll(&mut self, shared: &SharedSnapshot, refused: &Refused) -> Result<(), Error> {
        let asked_at = Instant::now();
        if refused.is_set() {
            shared.distrust();
        }
        let generation = self.instance.store.generation().await?;
        if refused.is_set() {
            shared.distrust();
            return Ok(());
        }
        if generation == shared.generation() && self.instance.clock.now() < self.valid_until {
            shared.confirm(asked_at);
            return Ok(());
        }
        self.take_over(shared, asked_at).await?;
        tracing::info!(generation, "took over a change");
        Ok(())
    }

    async fn take_over(
        &mut self,
        shared: &SharedSnapshot,
        mut asked_at: Instant,
    ) -> Result<(), Error> {
        let mut tried = Tried::new();
        loop {
            let Compiled { mut snapshot, missing, .. } = self.compile().await?;
            let Some(unread) = untried(missing, &mut tried) else {
                snapshot.pending.clear();
                shared.replace(snapshot, asked_at);
                return Ok(());
            };
            // What was known is in force already: a revocation does not wait for a description. Those
            // that wait for one are told to come again.
            shared.replace(snapshot, asked_at);
            for row in unread {
                self.read(row).await?;
            }
            asked_at = Instant::now();
        }
    }

    async fn compile(&mut self) -> Result<Compiled, Error> {
        let rows = seals::load(&self.instance).await?;
        let now = self.instance.clock.now();
        let mut compiled = self.compiler.compile(&self.instance, &rows, now);
        self.valid_until = compiled.valid_until;
        let renewables = std::mem::take(&mut compiled.renewables);
        self.desk.publish(&self.instance, renewables);
        Ok(compiled)
    }

    /// Reads one description; one that cannot be read keeps its connections closed.
    async fn read(&mut self, row: ProviderRow) -> Result<(), Error> {
        let slug = row.slug.to_string();
        let read = tokio::task::spawn_blocking(move || read_provider(&row));
        match read.await.map_err(|_| Error::Internal { what: "reading a provider panicked" })? {
            Ok(read) => self.compiler.learn(read),
            Err(error) => {
                tracing::error!(provider = slug, error = %error, "a provider stays closed");
            }
        }
        Ok(())
    }
}

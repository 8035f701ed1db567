//! What a process knows of its log's calls, and how it reads on.

use super::{Call, Day, End, Usage, figures::Hours};
use crate::{
    audit_log::{self, Record, reading},
    error::Error,
    folder::DataFolder,
    instance::Instance,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use types::{Id, Request, Timestamp};

/// Entries that are read in one go, while others wait.
const STEP: u64 = 32_768;
/// Calls that ended, the newest, of which streams are told.
const RECENT: usize = 1_024;
/// Calls under way that are remembered; the oldest give way.
const UNDER_WAY: usize = 65_536;
/// How often a server reads on by itself.
const EVERY: Duration = Duration::from_secs(2);
/// What was read so recently is not read again for a stream.
const FRESH: Duration = Duration::from_millis(250);

/// See the module. Read on by one at a time.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Known>);

#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The entry that comes next.
    next: u64,
    /// Of the entry before that: by this the log is known again.
    mark: Option<(Timestamp, &'static str)>,
    /// When the log's first entry was made.
    pub(crate) first_at: Option<Timestamp>,
    pub(crate) usage: Usage,
    pub(crate) hours: Hours,
    under_way: BTreeMap<Id<Request>, Call>,
    /// By the entry that ended them.
    recent: VecDeque<Call>,
    /// The entry that ended the newest call that is not among them any more.
    dropped_to: Option<u64>,
    read_at: Option<Instant>,
}

impl Ledger {
    /// Never across an await.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads on, no more than a step; whether there is more.
    fn read_on(&self, folder: &DataFolder) -> Result<bool, Error> {
        self.lock().read_on(folder)
    }

    /// Looks at what is known once all that is new was read.
    pub(crate) fn look<T>(
        &self,
        folder: &DataFolder,
        look: impl FnOnce(&Known) -> T,
    ) -> Result<T, Error> {
        while self.read_on(folder)? {}
        Ok(look(&self.lock()))
    }
}

impl Known {
    fn read_on(&mut self, folder: &DataFolder) -> Result<bool, Error> {
        let mut left = STEP;
        let mut is_same = self.next == 0;
        let last = self.next.saturating_sub(1);
        audit_log::walk_on(folder, last, |index, record| {
            if !is_same && index == last {
                is_same = self.mark == Some((record.at(), record.kind()));
                return is_same;
            }
            self.take(index, record);
            left -= 1;
            left > 0
        })?;
        if !is_same {
            // Another log, or one that was cut off: nothing of what was known holds.
            *self = Self::default();
            return Ok(true);
        }
        self.read_at = Some(Instant::now());
        Ok(left == 0)
    }

    fn take(&mut self, index: u64, record: Record) {
        self.next = index + 1;
        self.mark = Some((record.at(), record.kind()));
        self.first_at.get_or_insert(record.at());
        if let Some((request, end)) = End::of(index, &record) {
            match &end {
                End::Answered(one) => {
                    self.hours.ended(one.at, one.code.is_some(), Some(one.duration));
                }
                _ => self.hours.ended(record.at(), true, None),
            }
            if let Some(call) = self.under_way.remove(&request) {
                self.ended(Call { end, ..call });
            }
            return;
        }
        match record {
            Record::Intent(intent) => {
                self.usage.note(&intent);
                self.under_way.insert(intent.request, Call::begun(index, intent));
                if self.under_way.len() > UNDER_WAY {
                    // By its id the one that began first.
                    self.under_way.pop_first();
                }
            }
            Record::Refused(refused) => {
                self.hours.refused(refused.at, 1);
                self.ended(Call::refused(index, refused));
            }
            Record::RefusedCount(one) => self.hours.refused(one.at, one.count),
            Record::Unauthenticated(one) => self.hours.refused(one.at, one.count),
            Record::Changed(changed) => self.usage.note_change(&changed),
            _ => {}
        }
    }

    fn ended(&mut self, call: Call) {
        self.recent.push_back(call);
        if self.recent.len() > RECENT {
            let dropped = self.recent.pop_front();
            self.dropped_to = dropped.and_then(|call| call.end_index()).or(self.dropped_to);
        }
    }

    fn newer(&self, after: u64) -> Newer {
        let begin = self.recent.partition_point(|call| call.end_index() <= Some(after));
        Newer {
            calls: self.recent.range(begin..).cloned().collect(),
            has_gap: self.dropped_to.is_some_and(|dropped| dropped > after),
        }
    }
}

/// Calls that ended since.
#[derive(Debug)]
pub struct Newer {
    /// In the order in which they ended.
    pub calls: Vec<Call>,
    /// Others ended too, and are not remembered.
    pub has_gap: bool,
}

/// Calls that ended with an entry after this one. However many ask, files are read a few times a
/// second.
///
/// # Errors
/// Where the log cannot be read.
pub async fn newer(instance: &Arc<Instance>, after: u64) -> Result<Newer, Error> {
    reading(instance, move |instance| {
        let mut known = instance.calls.lock();
        if known.read_at.is_none_or(|at| at.elapsed() >= FRESH) {
            known.read_on(&instance.folder)?;
        }
        Ok(known.newer(after))
    })
    .await
}

/// The newest entry of the log, if it has any.
///
/// # Errors
/// Where the log cannot be read.
pub async fn newest(instance: &Arc<Instance>) -> Result<Option<u64>, Error> {
    reading(instance, |instance| {
        let mut newest = None;
        audit_log::walk_back(&instance.folder, None, |index, _| {
            newest = Some(index);
            false
        })?;
        Ok(newest)
    })
    .await
}

/// The calls of the last 24 hours. Of a long log that is read for the first time, those so far.
///
/// # Errors
/// Where the log cannot be read.
pub async fn day(instance: &Arc<Instance>) -> Result<Day, Error> {
    reading(instance, |instance| {
        let now = instance.clock.now();
        let mut known = instance.calls.lock();
        let is_behind = known.read_on(&instance.folder)?;
        Ok(known.hours.day(now, is_behind))
    })
    .await
}

/// Reads the log on until told to stop, so that no page has to read much of it.
pub async fn keep_up(instance: Arc<Instance>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_told = false;
    loop {
        // Both are cancel-safe.
        tokio::select! {
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        loop {
            match reading(&instance, |instance| instance.calls.read_on(&instance.folder)).await {
                Ok(true) if !*stopped.borrow() => {}
                Ok(_) => {
                    is_told = false;
                    break;
                }
                Err(error) => {
                    if !is_told {
                        tracing::warn!(%error, "calls of the log could not be counted");
                    }
                    is_told = true;
                    break;
                }
            }
        }
    }
}

//! Whether the log is whole, as this process last found it: verified aside, and never by a look.

use crate::{
    audit_log::{Ready, Verified},
    doctor::chain,
    error::{Error, Kind},
    instance::Instance,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use types::{Clock, Timestamp};

/// The least time from one verification's beginning to the next.
pub const PAUSE: Duration = Duration::from_mins(1);
/// A result that is older is not fresh: whoever looks has it verified again.
pub const FRESH: Duration = Duration::from_hours(1);

/// What a verification found.
#[derive(Debug, Clone)]
pub enum Verdict {
    Whole(Arc<Verified>),
    /// It is not what was signed, or not the log that the database knows.
    Broken {
        what: String,
        remedy: String,
        first_bad: Option<u64>,
    },
    /// Something could not be read, which says nothing of the log.
    Unknown {
        what: String,
        remedy: String,
    },
}

/// A verification that ended.
#[derive(Debug, Clone)]
pub struct Checked {
    pub began_at: Timestamp,
    pub ended_at: Timestamp,
    pub verdict: Verdict,
}

/// What is known now.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Since when one is under way.
    pub running_since: Option<Timestamp>,
    /// The newest that ended.
    pub last: Option<Checked>,
    last_began: Option<Timestamp>,
}

/// What became of the wish to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Started,
    Running,
    /// It was verified a moment ago.
    TooSoon,
}

/// Verifies the log, one time after the other.
#[derive(Debug, Default)]
pub struct Checker(Mutex<Known>);

impl Checker {
    fn known_mut(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn known(&self) -> Known {
        self.known_mut().clone()
    }

    /// As [`Self::known`]; begins a verification if there is no fresh result.
    pub async fn look(self: &Arc<Self>, instance: &Instance) -> Result<Known, Error> {
        let now = instance.clock.now();
        let began = self.known_mut().last_began;
        if began.is_none_or(|began| now.since(began) > FRESH) {
            self.begin(instance).await?;
        }
        Ok(self.known())
    }

    /// Begins a verification on a thread of its own, unless one is under way or was a moment ago.
    pub async fn begin(self: &Arc<Self>, instance: &Instance) -> Result<Begun, Error> {
        let now = instance.clock.now();
        {
            let mut known = self.known_mut();
            if known.running_since.is_some() {
                return Ok(Begun::Running);
            }
            if known.last_began.is_some_and(|began| now.since(began) < PAUSE) {
                return Ok(Begun::TooSoon);
            }
            known.running_since = Some(now);
            known.last_began = Some(now);
        }
        let clock = Arc::clone(&instance.clock);
        let running = Running { checker: Arc::clone(self), clock, began_at: now };
        let ready = match Ready::of(instance).await {
            Ok(ready) => ready,
            Err(error) => {
                running.end(verdict_of(&error));
                return Ok(Begun::Started);
            }
        };
        // Not one of the runtime's threads: its end would wait for a long log.
        let thread = thread::Builder::new().name("audit-check".into());
        let begun = thread.spawn(move || {
            let found = ready.verify();
            running.end(match found {
                Ok(found) => Verdict::Whole(Arc::new(found)),
                Err(error) => verdict_of(&error),
            });
        });
        let failed = Error::Internal { what: "no thread could be started to verify the log" };
        begun.map(|_| Begun::Started).map_err(|_| failed)
    }
}

/// A verification under way; dropped before its end, it found nothing out.
struct Running {
    checker: Arc<Checker>,
    clock: Arc<dyn Clock>,
    began_at: Timestamp,
}

impl Running {
    fn end(&self, verdict: Verdict) {
        if let Verdict::Broken { what, .. } = &verdict {
            tracing::error!(error = %what, "the audit log does not verify");
        }
        let (began_at, ended_at) = (self.began_at, self.clock.now());
        self.checker.known_mut().last = Some(Checked { began_at, ended_at, verdict });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.checker.known_mut().running_since = None;
    }
}

fn verdict_of(error: &Error) -> Verdict {
    let (what, remedy) = (chain(error), error.remedy().unwrap_or_default());
    if error.kind() == Kind::Unreachable {
        return Verdict::Unknown { what, remedy };
    }
    let first_bad = match error {
        Error::AuditVerify(error) => error.first_bad_entry(),
        _ => None,
    };
    Verdict::Broken { what, remedy, first_bad }
}

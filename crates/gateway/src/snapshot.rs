//! What the data plane knows: an immutable, compiled picture of keys, connections and rights.
//!
//! `app` compiles it from the store; the gateway only reads it. A call takes one `Arc` of it and
//! decides everything from that.

use crate::{etag::TagKey, limits::Meter, renewals::CredentialEntry};
use arc_swap::ArcSwap;
use audit::Commitment;
use http::{HeaderName, HeaderValue};
use outbound::{GuardPolicy, Target};
use provider::{ErrorInside, PathRouter, StatusRange};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;
use types::{Action, Client, Connection, Customer, Environment, Id, Key, Provider, Timestamp};
use vault::{KeyPepper, MemoryKey};

/// Everything that a call is decided by.
#[derive(Debug)]
pub struct Snapshot {
    /// The store's generation that this was compiled from.
    pub generation: u64,
    /// By digest of the key.
    pub keys: HashMap<[u8; 32], KeyEntry>,
    pub connections: HashMap<Id<Connection>, Arc<ConnectionEntry>>,
    /// Connections that are served again in a moment: their provider's new description is being read.
    pub pending: HashMap<Id<Connection>, Environment>,
    /// What a client may do on a connection. No entry: nothing.
    pub rights: HashMap<(Id<Client>, Id<Connection>), Arc<Rights>>,
    /// Until when rules of lifetimes, or the store that it comes from, let a connection's credential be
    /// used, where any do; one that is suspended: until the beginning of time.
    pub usable_until: HashMap<Id<Connection>, (Timestamp, Closing)>,
    pub secrets: Arc<SnapshotSecrets>,
}

impl Snapshot {
    /// What closes a connection now.
    pub(crate) fn closed(&self, connection: Id<Connection>, now: Timestamp) -> Option<Closing> {
        let (until, closing) = self.usable_until.get(&connection)?;
        (now >= *until).then_some(*closing)
    }
}

/// What closes a connection at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// A rule of lifetimes.
    Rule,
    /// The store that its secret comes from gives it no more, or said nothing for too long.
    Store,
}

/// Keys that live in memory only as long as the process.
pub struct SnapshotSecrets {
    /// Opens [`ConnectionEntry::credential`].
    pub memory_key: MemoryKey,
    /// Digests callers' API keys.
    pub pepper: KeyPepper,
    /// Seals entity tags.
    pub tag_key: TagKey,
}

impl fmt::Debug for SnapshotSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotSecrets(hidden)")
    }
}

/// An API key, without the key.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    pub id: Id<Key>,
    pub client: Id<Client>,
    pub environment: Environment,
    pub expires_at: Timestamp,
    pub is_revoked: bool,
    /// A rule of lifetimes ended it, and may give it back.
    pub is_suspended: bool,
    pub meter: Arc<Meter>,
}

/// One customer's link to one provider, ready for use.
#[derive(Debug)]
pub struct ConnectionEntry {
    pub id: Id<Connection>,
    pub environment: Environment,
    pub customer: Id<Customer>,
    /// Stands for the customer in the audit log.
    pub customer_commitment: Commitment,
    pub provider: Arc<ProviderEntry>,
    /// Servers with their variables filled, the provider's own first.
    pub servers: Vec<Target>,
    /// Which of `servers` an operation uses, where it is not the first.
    pub server_of: HashMap<usize, usize>,
    pub guard: Arc<GuardPolicy>,
    pub credential: CredentialEntry,
    /// Query parameters that carry a credential, by this connection's scheme or another of the
    /// provider: they never come from a caller, in a query or a form, and never reach one in a URL.
    pub credential_params: BTreeSet<String>,
    /// Headers that carry a credential, likewise, in lower case: they never come from a caller.
    pub credential_headers: BTreeSet<String>,
    pub meter: Arc<Meter>,
    /// Headers that the connection fixes.
    pub fixed_headers: Vec<(HeaderName, HeaderValue)>,
}

/// A provider, ready for routing.
#[derive(Debug)]
pub struct ProviderEntry {
    pub id: Id<Provider>,
    /// Of everything that was imported.
    pub digest: [u8; 32],
    pub slug: String,
    pub model: provider::Provider,
    pub router: PathRouter,
    pub meter: Arc<Meter>,
}

/// What one client may do on one connection, by the operation's index.
#[derive(Debug, Default)]
pub struct Rights {
    pub operations: HashMap<usize, Arc<Decision>>,
}

impl Rights {
    /// What decides where these operations fall together, and until when: all must be allowed, and be
    /// one in object, shape and what of it was granted, because a right to one must not let the other's
    /// answer through.
    pub(crate) fn decision(&self, operations: &[usize]) -> Option<(&Arc<Decision>, Timestamp)> {
        let mut decisions = operations.iter().map(|index| self.operations.get(index));
        let decision = decisions.next().flatten()?;
        let mut valid_until = decision.valid_until;
        for other in decisions {
            let other = other
                .filter(|other| other.object == decision.object && other.shape == decision.shape)?;
            valid_until = valid_until.min(other.valid_until);
        }
        Some((decision, valid_until))
    }

    /// Whether policies forbid any of these operations at any moment.
    pub(crate) fn are_closed(&self, operations: &[usize]) -> bool {
        let mut decisions = operations.iter().filter_map(|index| self.operations.get(index));
        decisions.any(|decision| matches!(decision.policies, Policies::Forbid))
    }

    /// Whether policies forbid any of these operations at this moment.
    pub(crate) fn are_forbidden(
        &self,
        operations: &[usize],
        now: Timestamp,
        source: Option<IpAddr>,
    ) -> bool {
        let mut decisions = operations.iter().filter_map(|index| self.operations.get(index));
        decisions.any(|decision| decision.policies.forbid(now, source))
    }
}

/// The compiled answer to "may this client call this operation, and what passes?".
#[derive(Debug)]
pub struct Decision {
    /// Distinguishes decisions whose entity tags must not be exchanged.
    pub fingerprint: [u8; 16],
    /// The first moment at which one of the grants behind this has expired.
    pub valid_until: Timestamp,
    pub action: Action,
    pub object: Option<String>,
    /// Distinguishes bodies of other shapes, and what of them was granted: operations that fall together
    /// must agree in it.
    pub shape: [u8; 16],
    /// Query parameters that the grant names, and recognised paging.
    pub params: BTreeSet<String>,
    /// Lower-case names of headers that the grant names.
    pub headers: BTreeSet<String>,
    pub request: RequestRule,
    pub answers: Vec<(StatusRange, AnswerRule)>,
    /// How this operation tells an error inside a success.
    pub error_inside: Option<ErrorInside>,
    /// Whether the operation declares that it needs no credential.
    pub is_open: bool,
    /// What policies say of it.
    pub policies: Policies,
    /// Members of errors that were seen when it was granted: see [`crate::error_terms`].
    pub errors: BTreeSet<String>,
}

/// What policies take from a call that grants allow.
#[derive(Debug, Clone, Default)]
pub enum Policies {
    /// Nothing.
    #[default]
    Open,
    /// It is forbidden at any moment.
    Forbid,
    /// It depends on the moment.
    Depends(Arc<dyn AtMoment>),
}

/// What is left over of policies, and decided at each call.
pub trait AtMoment: Send + Sync + fmt::Debug {
    /// Whether the call is forbidden now, from this address; `None`: it is not known.
    fn forbids(&self, now: Timestamp, source: Option<IpAddr>) -> bool;
}

impl Policies {
    fn forbid(&self, now: Timestamp, source: Option<IpAddr>) -> bool {
        match self {
            Self::Open => false,
            Self::Forbid => true,
            Self::Depends(moment) => moment.forbids(now, source),
        }
    }
}

/// What may be in a request's body.
#[derive(Debug, Clone)]
pub enum RequestRule {
    /// No body is declared.
    None,
    /// A JSON or form body of one of these media types, member by member.
    Checked { spec: projection::Spec, met: Arc<Met>, media: BTreeSet<String>, is_required: bool },
    /// A body that passes unfiltered by the action `upload`.
    Upload { media: BTreeSet<String> },
}

/// What may be in an answer.
#[derive(Debug, Clone)]
pub enum AnswerRule {
    /// A JSON body that is projected.
    Project(Arc<Projected>),
    /// Declared without content: a body that comes all the same is dropped.
    NoContent,
    /// Content that passes unfiltered by the action `download`.
    Download { media: BTreeSet<String> },
    /// Content without a shape: refused until the overlay declares one, and its shape learned where
    /// the overlay says so.
    Undescribed { is_observed: bool },
}

/// Which of the names that a projection notes were met since somebody asked.
#[derive(Debug, Default)]
pub struct Met(Vec<AtomicU64>);

impl Met {
    pub fn of(spec: &projection::Spec) -> Arc<Self> {
        let words = spec.noted().len().div_ceil(64);
        Arc::new(Self((0..words).map(|_| AtomicU64::new(0)).collect()))
    }

    /// Most of what is met was met before: that costs a look.
    pub(crate) fn note(&self, noted: &[u64]) {
        for (known, new) in self.0.iter().zip(noted) {
            if known.load(Ordering::Relaxed) & new != *new {
                known.fetch_or(*new, Ordering::Relaxed);
            }
        }
    }

    /// The places of those that were met since the last time.
    pub fn take(&self) -> Vec<usize> {
        let mut met = Vec::new();
        for (word, known) in self.0.iter().enumerate() {
            let mut bits = known.swap(0, Ordering::Relaxed);
            while bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                met.push(word * 64 + bit);
                bits &= bits - 1;
            }
        }
        met
    }
}

/// A compiled projection with the names behind its marks.
#[derive(Debug)]
pub struct Projected {
    pub spec: projection::Spec,
    /// Which fields that may pass were there.
    pub met: Arc<Met>,
    /// By the mark in [`projection::Edge::Withhold`].
    pub names: Vec<String>,
    /// The value of `weirgate-fields-withheld`, cut at whole names.
    pub withheld_header: Option<HeaderValue>,
}

/// Declared minus granted as a header value of at most 1 KB, cut at whole names with a final `...`.
pub fn withheld_header(names: &[String]) -> Option<HeaderValue> {
    const MAX_BYTES: usize = 1_024;
    const CUT: &str = "...";
    let mut value = String::new();
    for (index, name) in names.iter().enumerate() {
        let name: String =
            name.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
        let separator = if index == 0 { "" } else { ", " };
        let is_last = index + 1 == names.len();
        let reserve = if is_last { 0 } else { CUT.len() + 2 };
        if value.len() + separator.len() + name.len() + reserve > MAX_BYTES {
            value.push_str(separator);
            value.push_str(CUT);
            break;
        }
        value.push_str(separator);
        value.push_str(&name);
    }
    if value.is_empty() { None } else { HeaderValue::from_str(&value).ok() }
}

impl Decision {
    /// The rule for a status that the provider answered with. A success is never matched by
    /// `default`, which descriptions use for errors, unless no success is declared at all.
    pub fn answer(&self, status: u16) -> Option<&AnswerRule> {
        let rule = |wanted: StatusRange| {
            self.answers.iter().find(|(range, _)| *range == wanted).map(|(_, rule)| rule)
        };
        rule(StatusRange::Exact(status)).or_else(|| rule(StatusRange::Class(status / 100))).or_else(
            || {
                let declares_success = self.answers.iter().any(|(range, _)| {
                    matches!(range, StatusRange::Exact(200..=299) | StatusRange::Class(2))
                });
                if (200..300).contains(&status) && declares_success {
                    None
                } else {
                    rule(StatusRange::Default)
                }
            },
        )
    }
}

impl ConnectionEntry {
    /// The server that an operation is sent to.
    pub fn server(&self, operation: usize) -> Option<&Target> {
        let index = self.server_of.get(&operation).copied().unwrap_or(0);
        self.servers.get(index)
    }
}

/// The Snapshot as all cores share it, with the time of the last successful poll of the store.
///
/// That time is monotonic: a system clock that is set back must not keep an old Snapshot alive.
#[derive(Debug)]
pub struct SharedSnapshot {
    current: ArcSwap<Snapshot>,
    begun: Instant,
    /// Microseconds after `begun`.
    confirmed_at: AtomicU64,
    /// Whether what is in force contradicts the record of changes.
    is_distrusted: AtomicBool,
    /// Moves with each replacement.
    replaced: watch::Sender<u64>,
}

impl SharedSnapshot {
    /// `asked_at` is when the store was asked for what `snapshot` was compiled from.
    pub fn new(snapshot: Snapshot, asked_at: Instant) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
            begun: asked_at,
            confirmed_at: AtomicU64::new(0),
            is_distrusted: AtomicBool::new(false),
            replaced: watch::Sender::new(0),
        }
    }

    /// Tells of each replacement, for those who wait for one.
    pub fn replacements(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The generation now in force: cheap, for long answers that look again.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    pub fn replace(&self, snapshot: Snapshot, asked_at: Instant) {
        let generation = snapshot.generation;
        self.current.store(Arc::new(snapshot));
        self.confirm(asked_at);
        self.replaced.send_replace(generation);
    }

    /// The store, asked at `asked_at`, answered that nothing has changed.
    pub fn confirm(&self, asked_at: Instant) {
        let micros = asked_at.saturating_duration_since(self.begun).as_micros();
        self.confirmed_at.fetch_max(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::SeqCst);
        self.is_distrusted.store(false, Ordering::SeqCst);
    }

    /// Nothing is decided by the Snapshot any more, until it is confirmed or replaced.
    pub fn distrust(&self) {
        self.is_distrusted.store(true, Ordering::SeqCst);
    }

    /// The Snapshot's age, if nothing may be decided by it.
    pub fn stale(&self, max_age: Duration) -> Option<Duration> {
        let age = self.age();
        (age > max_age || self.is_distrusted.load(Ordering::SeqCst)).then_some(age)
    }

    /// How long ago the store last confirmed the Snapshot.
    pub fn age(&self) -> Duration {
        let confirmed = Duration::from_micros(self.confirmed_at.load(Ordering::SeqCst));
        self.begun.elapsed().saturating_sub(confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::SeededRandom;

    #[test]
    fn age_is_counted_from_the_last_confirmation_and_never_goes_back() {
        let random = SeededRandom::new(1);
        let secrets = SnapshotSecrets {
            memory_key: MemoryKey::generate(&random).unwrap(),
            pepper: KeyPepper::generate(&random).unwrap(),
            tag_key: TagKey::new(&[1; 32]).unwrap(),
        };
        let snapshot = Snapshot {
            generation: 1,
            keys: HashMap::new(),
            connections: HashMap::new(),
            pending: HashMap::new(),
            rights: HashMap::new(),
            usable_until: HashMap::new(),
            secrets: Arc::new(secrets),
        };
        let minute = Duration::from_mins(1);
        let begun = Instant::now().checked_sub(10 * minute).unwrap();
        let shared = SharedSnapshot::new(snapshot, begun);
        assert!(shared.age() >= 10 * minute);
        shared.confirm(begun + 9 * minute);
        assert!((minute..2 * minute).contains(&shared.age()));
        shared.confirm(begun);
        assert!(shared.age() < 2 * minute);
        // Distrust closes it whatever its age is, until the store confirms it.
        assert_eq!(shared.stale(Duration::MAX), None);
        shared.distrust();
        assert!(shared.stale(Duration::MAX).is_some());
        shared.confirm(begun);
        assert_eq!(shared.stale(Duration::MAX), None);
        assert!(shared.stale(minute).is_some());
    }

    #[test]
    fn withheld_header_is_cut_at_whole_names() {
        let few = ["ssn".to_owned(), "salary.amount".to_owned()];
        assert_eq!(withheld_header(&few).unwrap(), "ssn, salary.amount");
        let many: Vec<String> = (0..400).map(|n| format!("field{n}")).collect();
        let value = withheld_header(&many).unwrap();
        assert!(value.len() <= 1_024);
        let text = value.to_str().unwrap();
        assert!(text.ends_with(", ..."));
        assert!(
            text.split(", ")
                .filter(|name| *name != "...")
                .all(|name| many.contains(&name.to_owned()))
        );
        assert!(withheld_header(&[]).is_none());
    }
}

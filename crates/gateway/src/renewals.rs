//! Tokens that have to be obtained before a call, as the data plane sees them: it asks for one, waits a
//! bounded time for the Snapshot that has it, and never obtains one itself.

use crate::{
    error::CallError,
    snapshot::{ConnectionEntry, SharedSnapshot},
};
use arc_swap::{ArcSwap, ArcSwapOption};
use http::{HeaderMap, StatusCode, header};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use types::{Clock, Connection, Id, Timestamp};
use vault::SealedInjection;

/// How long a call waits for a token.
const PATIENCE: Duration = Duration::from_secs(10);
/// A request for a token that was not heard is made again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Requests that wait to be heard. More are dropped: whoever waits asks again.
const MAX_ASKED: usize = 1024;

/// What a connection has for its calls.
#[derive(Debug)]
pub enum CredentialEntry {
    /// The provider takes none.
    None,
    Ready(ReadyCredential),
    /// A token has to be obtained first.
    Missing,
    /// What was consented to is over: nothing renews it.
    Ended,
}

/// Ready for use, as long as it lasts.
#[derive(Debug)]
pub struct ReadyCredential {
    pub sealed: SealedInjection,
    /// `None`: what the operator gave, which Weirgate does not renew.
    pub token: Option<TokenFacts>,
    /// Of a token whose possession is proven (RFC 9449).
    pub proof: Option<ProofNonce>,
}

/// What the provider wants proofs of possession to hold (RFC 9449 §9): kept in memory as long as the
/// token is, so that a new token's first call may be asked for it.
#[derive(Debug, Default)]
pub struct ProofNonce(ArcSwapOption<String>);

impl ProofNonce {
    /// The longest that is kept, in bytes.
    const LONGEST: usize = 1024;

    pub(crate) fn current(&self) -> Option<Arc<String>> {
        self.0.load_full()
    }

    /// Takes in what an answer says is wanted from now on.
    pub(crate) fn learn(&self, headers: &HeaderMap) {
        let Some(nonce) = headers.get("dpop-nonce").and_then(|value| value.to_str().ok()) else {
            return;
        };
        let is_new = self.current().is_none_or(|known| *known != nonce);
        if is_new && !nonce.is_empty() && nonce.len() <= Self::LONGEST {
            self.0.store(Some(Arc::new(nonce.to_owned())));
        }
    }

    /// Whether the provider refused a proof for the nonce in it alone: it has not looked at the call.
    pub(crate) fn is_wanted(status: StatusCode, headers: &HeaderMap) -> bool {
        let mut challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
        status == StatusCode::UNAUTHORIZED
            && headers.contains_key("dpop-nonce")
            && challenges.any(|one| one.to_str().is_ok_and(|text| text.contains("use_dpop_nonce")))
    }
}

/// What is known of a token.
#[derive(Debug)]
pub struct TokenFacts {
    /// Counts renewals.
    pub version: u64,
    pub expires_at: Option<Timestamp>,
    pub renew_at: Option<Timestamp>,
    /// Whether it is renewed though nobody calls: what renews it ends else.
    pub is_kept_alive: bool,
    /// Whether a call used it.
    pub was_used: AtomicBool,
}

impl CredentialEntry {
    pub const fn ready(&self) -> Option<&ReadyCredential> {
        match self {
            Self::Ready(ready) => Some(ready),
            Self::None | Self::Missing | Self::Ended => None,
        }
    }

    /// Of the token in use; 0: there is none.
    pub fn version(&self) -> u64 {
        self.ready().and_then(|ready| ready.token.as_ref()).map_or(0, |token| token.version)
    }

    /// Whether it is a token that Weirgate obtained and can obtain again.
    pub fn is_renewable(&self) -> bool {
        self.ready().is_some_and(|ready| ready.token.is_some())
    }

    fn is_usable(&self, now: Timestamp) -> bool {
        match self {
            Self::None => true,
            Self::Ready(ready) => {
                let until = ready.token.as_ref().and_then(|token| token.expires_at);
                until.is_none_or(|until| now < until)
            }
            Self::Missing | Self::Ended => false,
        }
    }
}

/// Somebody needs a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub connection: Id<Connection>,
    /// The version that the provider refused, if one was.
    pub refused: Option<u64>,
}

/// Why the last renewal of a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewalFailure {
    /// A known code: of Weirgate's, or of RFC 6749.
    pub code: &'static str,
    /// Counts failures of this process: a newer one is another.
    pub number: u64,
    pub retry_at: Timestamp,
}

/// Between calls that need tokens and whoever obtains them.
#[derive(Debug)]
pub struct Renewals {
    asked: mpsc::Sender<Wanted>,
    failed: ArcSwap<HashMap<Id<Connection>, RenewalFailure>>,
    numbers: AtomicU64,
    /// Moves with each failure.
    changed: watch::Sender<u64>,
}

impl Renewals {
    /// And what is asked for, for whoever obtains it.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Wanted>) {
        let (asked, heard) = mpsc::channel(MAX_ASKED);
        let changed = watch::Sender::new(0);
        let failed = ArcSwap::default();
        (Arc::new(Self { asked, failed, numbers: AtomicU64::new(0), changed }), heard)
    }

    pub fn ask(&self, wanted: Wanted) {
        // One that finds no room is made again by whoever waits.
        let _ = self.asked.try_send(wanted);
    }

    /// Tells those who wait that it failed.
    pub fn fail(&self, connection: Id<Connection>, code: &'static str, retry_at: Timestamp) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let mut failed = HashMap::clone(&self.failed.load());
        failed.insert(connection, RenewalFailure { code, number, retry_at });
        self.failed.store(Arc::new(failed));
        self.changed.send_replace(number);
    }

    /// It went well.
    pub fn forget(&self, connection: Id<Connection>) {
        if self.failed.load().contains_key(&connection) {
            let mut failed = HashMap::clone(&self.failed.load());
            failed.remove(&connection);
            self.failed.store(Arc::new(failed));
        }
    }

    pub fn failure(&self, connection: Id<Connection>) -> Option<RenewalFailure> {
        self.failed.load().get(&connection).copied()
    }

    /// The connection with a credential that can be used: at once where it has one, else as soon as it
    /// was obtained.
    ///
    /// # Errors
    /// [`CallError::ConsentEnded`] and [`CallError::RenewalFailed`] as soon as that is known,
    /// [`CallError::CredentialRenewing`] if it takes longer than a call waits.
    pub(crate) async fn usable(
        &self,
        shared: &SharedSnapshot,
        clock: &dyn Clock,
        connection: &Arc<ConnectionEntry>,
    ) -> Result<Arc<ConnectionEntry>, CallError> {
        if connection.credential.is_usable(clock.now()) {
            return Ok(Arc::clone(connection));
        }
        self.wait(shared, clock, connection.id, None).await
    }

    /// The connection with another token than the one that the provider refused.
    pub(crate) async fn another(
        &self,
        shared: &SharedSnapshot,
        clock: &dyn Clock,
        connection: Id<Connection>,
        refused: u64,
    ) -> Result<Arc<ConnectionEntry>, CallError> {
        self.wait(shared, clock, connection, Some(refused)).await
    }

    async fn wait(
        &self,
        shared: &SharedSnapshot,
        clock: &dyn Clock,
        connection: Id<Connection>,
        refused: Option<u64>,
    ) -> Result<Arc<ConnectionEntry>, CallError> {
        let begun = Instant::now();
        let mut replaced = shared.replacements();
        let mut changed = self.changed.subscribe();
        let mut known = None;
        loop {
            replaced.borrow_and_update();
            changed.borrow_and_update();
            let snapshot = shared.load();
            let entry =
                snapshot.connections.get(&connection).ok_or(CallError::ConnectionUnknown)?;
            if matches!(entry.credential, CredentialEntry::Ended) {
                return Err(CallError::ConsentEnded);
            }
            let is_other = refused.is_none_or(|refused| entry.credential.version() != refused);
            if is_other && entry.credential.is_usable(clock.now()) {
                return Ok(Arc::clone(entry));
            }
            if let Some(failure) = self.failure(connection) {
                // One from before this call counts as long as nobody tries again.
                let is_news = known.is_some_and(|known| known != failure.number);
                if is_news || clock.now() < failure.retry_at {
                    let wait = failure.retry_at.since(clock.now());
                    return Err(CallError::RenewalFailed { code: failure.code, wait });
                }
                known = Some(failure.number);
            } else {
                known = Some(0);
            }
            let left =
                PATIENCE.checked_sub(begun.elapsed()).ok_or(CallError::CredentialRenewing)?;
            self.ask(Wanted { connection, refused });
            // Both are cancel-safe: what changed meanwhile is seen at the next look.
            let news = async {
                tokio::select! {
                    _ = replaced.changed() => {}
                    _ = changed.changed() => {}
                }
            };
            // A time-out asks again.
            let _ = tokio::time::timeout(left.min(AGAIN_AFTER), news).await;
        }
    }
}

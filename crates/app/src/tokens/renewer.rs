//! Renews tokens: when a call asks, when the clock says so, one connection by one node.

use super::{
    Conversation, Material, Renewable, Renewables, TOKEN_COLUMN,
    conversation::{ConversationError, Conversed},
    converse,
    protocol::{self, Books, Outcome, Said},
    spread_of, values_of,
    watch::Watches,
};
use crate::{
    asking::Asker,
    change::{Care, Change, Changing},
    connections::CREDENTIAL_TABLE,
    customers,
    error::Error,
    instance::Instance,
    seals,
};
use arc_swap::ArcSwap;
use audit::Commitment;
use gateway::{Renewals, SharedSnapshot, Wanted};
use provider::auth::AuthPlan;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use store::{Claimed, Renewal, RenewalClaim};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};
use types::{Actor, Connection, Customer, Id, OpContext, Provider, Timestamp};
use vault::auth::{AcquireError, Goal, TokenSet};

/// How often the clock is asked what is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A lease is longer than the longest conversation.
const LEASE: Duration = Duration::from_secs(75);
const LONGEST_CONVERSATION: Duration = Duration::from_mins(1);
/// Renewals under way with one provider: what is due at once is asked for by turns.
const AT_ONCE: usize = 4;
/// A token that was just obtained and is refused is not the token's fault, unless it is an old one by its
/// own measure.
const TOO_YOUNG: Duration = Duration::from_secs(5);
/// A shorter life is not learned from a refusal.
const LEAST_LEARNED: Duration = Duration::from_mins(5);
/// The longest that one connection's refusal keeps a provider from being asked for others.
const LONGEST_MANNERS: Duration = Duration::from_mins(1);
/// Before a connection that somebody else renews, or nobody may, is looked at again.
const OTHERS_PAUSE: Duration = Duration::from_secs(2);
/// How long renewals under way are waited for at the end.
const END_PATIENCE: Duration = Duration::from_secs(25);
/// One that failed is due again by the clock once its pause is over.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// What the Snapshot in force was compiled from, so far as it is about tokens.
#[derive(Debug)]
pub(crate) struct Published {
    pub instance: Arc<Instance>,
    pub renewables: Renewables,
}

/// Shared by who compiles, who renews, and calls that wait.
#[derive(Debug, Clone)]
pub struct TokenDesk {
    published: Arc<ArcSwap<Option<Published>>>,
    /// Wakes whoever follows the store.
    pub(crate) news: Arc<Notify>,
    pub renewals: Arc<Renewals>,
}

impl TokenDesk {
    /// And what calls ask for.
    pub fn new() -> (Self, mpsc::Receiver<Wanted>) {
        let (renewals, wanted) = Renewals::new();
        (Self { published: Arc::default(), news: Arc::default(), renewals }, wanted)
    }

    pub(crate) fn publish(&self, instance: &Arc<Instance>, renewables: Renewables) {
        let instance = Arc::clone(instance);
        self.published.store(Arc::new(Some(Published { instance, renewables })));
    }
}

/// Where tokens are asked for: at a provider, or at a server that one customer of it has.
type Place = (Id<Provider>, Option<Id<Customer>>);

fn asked_at(renewable: &Renewable) -> Place {
    let schemes = renewable.row.scheme.split('+');
    let mut plans = schemes.filter_map(|scheme| renewable.provider.model.auth.get(scheme));
    let is_own = plans.any(AuthPlan::asks_by_names);
    (renewable.provider.id, is_own.then_some(renewable.row.customer))
}

/// How one provider is asked.
#[derive(Debug)]
struct Manners {
    places: Arc<Semaphore>,
    /// It said that it has no time before.
    not_before: Timestamp,
}

impl Default for Manners {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), not_before: Timestamp::EPOCH }
    }
}

/// The renewer of one server.
#[derive(Debug)]
pub struct Renewer {
    desk: TokenDesk,
    asker: Asker,
    shared: Arc<SharedSnapshot>,
    wanted: mpsc::Receiver<Wanted>,
    under_way: HashSet<Id<Connection>>,
    providers: HashMap<Place, Manners>,
    tasks: JoinSet<(Arc<Renewable>, Outcome)>,
    /// When a connection whose renewal failed is tried again, and what it was tried with.
    paused: HashMap<Id<Connection>, (Timestamp, Arc<Renewable>)>,
    /// Connections whose secret, app or plan changed since: no pause holds them up.
    changed: HashSet<Id<Connection>>,
    watches: Arc<Mutex<Watches>>,
    /// What watches count from.
    begun: Instant,
}

impl Renewer {
    pub fn new(
        desk: TokenDesk,
        wanted: mpsc::Receiver<Wanted>,
        shared: Arc<SharedSnapshot>,
        asker: Asker,
    ) -> Self {
        Self {
            desk,
            asker,
            shared,
            wanted,
            under_way: HashSet::new(),
            providers: HashMap::new(),
            tasks: JoinSet::new(),
            paused: HashMap::new(),
            changed: HashSet::new(),
            watches: Arc::default(),
            begun: Instant::now(),
        }
    }

    /// Runs until told to stop. Renewals under way are finished: what a provider gave is kept.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        // The folder's lock says that no other server of this node renews anything.
        let published = self.desk.published.load_full();
        if let Some(Published { instance, .. }) = published.as_ref()
            && let Err(error) = instance.store.forget_leases(&instance.origin).await
        {
            tracing::warn!(error = %error, "leases of before cannot be ended, and end by themselves");
        }
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // All are cancel-safe: what was not taken comes again.
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                Some(ended) = self.tasks.join_next() => {
                    if let Ok((renewable, outcome)) = ended {
                        self.ended(renewable, &outcome);
                    }
                }
                Some(wanted) = self.wanted.recv() => self.want(wanted),
                _ = ticks.tick() => self.look(),
            }
        }
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END_PATIENCE, rest).await.is_err() {
            tracing::error!("renewals of tokens are broken off: what a provider gave may be lost");
        }
    }

    fn ended(&mut self, renewable: Arc<Renewable>, outcome: &Outcome) {
        let connection = renewable.row.id;
        self.under_way.remove(&connection);
        self.paused.remove(&connection);
        let published = self.desk.published.load_full();
        let clock = published.as_ref().as_ref().map(|one| &one.instance.clock);
        let now = clock.map_or(Timestamp::EPOCH, |clock| clock.now());
        match outcome {
            Outcome::Renewed | Outcome::Over => {
                self.desk.renewals.forget(connection);
                self.desk.news.notify_one();
            }
            // Whoever has it writes it: the store is looked at again.
            Outcome::NotOurs => {
                self.paused.insert(connection, (now + OTHERS_PAUSE, renewable));
                self.desk.news.notify_one();
            }
            Outcome::Failed { code, retry_at } => {
                tracing::warn!(connection.id = %connection, code, "a token could not be obtained");
                if *code == "token_endpoint_busy" {
                    // What it said to one, it would say to all; but how often one failed is its own.
                    let longest = now + LONGEST_MANNERS;
                    let manners = self.providers.entry(asked_at(&renewable)).or_default();
                    manners.not_before = manners.not_before.max((*retry_at).min(longest));
                }
                self.paused.insert(connection, (*retry_at, renewable));
                self.desk.renewals.fail(connection, code, *retry_at);
            }
        }
    }

    /// A call waits for a token.
    fn want(&mut self, wanted: Wanted) {
        let published = self.desk.published.load_full();
        let Some(published) = published.as_ref() else { return };
        let Some(renewable) = published.renewables.get(&wanted.connection) else { return };
        let now = published.instance.clock.now();
        if wanted.refused.is_some_and(|refused| refused != renewable.version()) {
            return;
        }
        self.notice_change(renewable);
        if self.paused.get(&wanted.connection).is_some_and(|(until, _)| now < *until) {
            return;
        }
        self.begin(&published.instance, renewable, wanted.refused.is_some());
    }

    /// Forgets a failure whose cause may be gone: what the token is obtained from is another.
    fn notice_change(&mut self, renewable: &Arc<Renewable>) {
        let id = renewable.row.id;
        let Some((_, tried)) = self.paused.get(&id) else { return };
        // Its tokens are what a renewal changes itself.
        let is_same = tried.rows.credential == renewable.rows.credential
            && tried.rows.app == renewable.rows.app
            && tried.row == renewable.row
            && Arc::ptr_eq(&tried.provider, &renewable.provider);
        if !is_same {
            self.paused.remove(&id);
            self.desk.renewals.forget(id);
            self.changed.insert(id);
        }
    }

    /// What the clock says is due.
    fn look(&mut self) {
        let published = self.desk.published.load_full();
        let Some(published) = published.as_ref() else { return };
        let now = published.instance.clock.now();
        let snapshot = self.shared.load();
        for (id, renewable) in &published.renewables {
            let token = snapshot.connections.get(id).and_then(|entry| entry.credential.ready());
            let was_used = token
                .and_then(|ready| ready.token.as_ref())
                .is_some_and(|token| token.is_kept_alive || token.was_used.load(Ordering::Relaxed));
            let is_due = renewable.renew_at.is_some_and(|at| now >= at) && was_used;
            self.notice_change(renewable);
            let is_paused = self.paused.get(id).is_some_and(|(until, _)| now < *until);
            if (is_due || renewable.is_unplaced) && !is_paused {
                self.begin(&published.instance, renewable, false);
            }
        }
    }

    fn begin(&mut self, instance: &Arc<Instance>, renewable: &Arc<Renewable>, was_refused: bool) {
        let id = renewable.row.id;
        let manners = self.providers.entry(asked_at(renewable)).or_default();
        if instance.clock.now() < manners.not_before || !self.under_way.insert(id) {
            return;
        }
        let (places, asker) = (Arc::clone(&manners.places), self.asker.clone());
        let how = How { was_refused, is_patient: !self.changed.remove(&id) };
        let (desk, renewable) = (self.desk.clone(), Arc::clone(renewable));
        let (watches, begun) = (Arc::clone(&self.watches), self.begun);
        self.tasks.spawn(async move {
            let place = places.acquire_owned().await.ok();
            // It may have waited long: what was revoked or moved meanwhile is not asked for as it was.
            let published = desk.published.load_full();
            let now = published.as_ref().as_ref().map(|one| (&one.instance, &one.renewables));
            let Some((instance, current)) =
                now.and_then(|(instance, all)| Some((instance, all.get(&id)?)))
            else {
                return (renewable, Outcome::NotOurs);
            };
            let by = (watches.as_ref(), begun, instance.origin.as_str());
            let outcome = renew(instance, &asker, current, how, by, place).await;
            (Arc::clone(current), outcome)
        });
    }
}

fn lock(watches: &Mutex<Watches>) -> MutexGuard<'_, Watches> {
    watches.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a renewal begins.
#[derive(Debug, Clone, Copy)]
struct How {
    /// The provider refused the token that there is.
    was_refused: bool,
    /// Whether a pause after a failure counts.
    is_patient: bool,
}

/// Obtains a token for one connection outside of a running renewer, by the same order.
///
/// # Errors
/// [`Error::TokenNotObtained`] with the code of why.
pub(crate) async fn obtain(
    instance: &Arc<Instance>,
    asker: &Asker,
    renewable: &Renewable,
) -> Result<(), Error> {
    let why = |code: &'static str, why: &str| Error::TokenNotObtained { code, why: why.to_owned() };
    let (watches, begun) = (Mutex::default(), Instant::now());
    // Not the name of this node's server, which may renew the same at this moment.
    let node = format!("{}/verb", instance.origin);
    let how = How { was_refused: false, is_patient: false };
    match renew(instance, asker, renewable, how, (&watches, begun, &node), None).await {
        Outcome::Renewed => Ok(()),
        Outcome::NotOurs => Err(why("renewal_under_way", "another node is obtaining one")),
        Outcome::Over => Err(why("consent_ended", "what was consented to is over")),
        Outcome::Failed { code, .. } => Err(why(code, "the provider or its plan gave none")),
    }
}

/// Renews one connection.
async fn renew(
    instance: &Arc<Instance>,
    asker: &Asker,
    renewable: &Renewable,
    how: How,
    (watches, begun, node): (&Mutex<Watches>, Instant, &str),
    place: Option<OwnedSemaphorePermit>,
) -> Outcome {
    let now = instance.clock.now();
    let opened = open(instance, renewable);
    let material = match opened {
        Ok(material) => material,
        Err(error) => {
            tracing::error!(connection.id = %renewable.row.id, error = %error, "a token cannot be renewed");
            return Outcome::Failed {
                code: "credential_unavailable",
                retry_at: now + REFUSED_PAUSE,
            };
        }
    };
    let mut seen_to_last = None;
    if how.was_refused
        && let Some(token) = &material.token
    {
        let lasted = now.since(token.obtained_at);
        let life = token.expires_at.map(|until| until.since(token.obtained_at));
        if lasted < life.map_or(TOO_YOUNG, |life| TOO_YOUNG.min(life / 4)) {
            return Outcome::Failed { code: "token_refused", retry_at: now + REFUSED_PAUSE };
        }
        // One that is refused early is refused for another reason than its age.
        if token.expires_at.is_none() && lasted >= LEAST_LEARNED {
            seen_to_last = Some(lasted);
        }
    }
    let is_patient = how.is_patient;
    let held = material.token.as_ref();
    let books = StoreBooks {
        instance,
        renewable,
        is_patient,
        watches,
        begun,
        node,
        began_with: held.map(|token| seals::sha256(token.to_record_bytes().expose())),
        is_consented: held.is_some_and(|token| token.is_consented),
    };
    let ask = async move {
        let conversation = conversation(instance, asker, renewable, material, seen_to_last);
        let said = match tokio::time::timeout(LONGEST_CONVERSATION, conversation).await {
            Ok(said) => said,
            Err(_) => {
                Said::Failed { code: "token_endpoint_timeout", is_passing: true, retry_after: None }
            }
        };
        // What follows is between Weirgate and its store: it keeps nobody from asking.
        drop(place);
        said
    };
    protocol::renew(&books, ask, spread_of(renewable.row.id, renewable.version())).await
}

fn open(instance: &Instance, renewable: &Renewable) -> Result<Material, Error> {
    let customer = customers::open(instance, &renewable.customer)?;
    let model = &renewable.provider.model;
    Material::open(instance, model, &renewable.row, &customer, &renewable.rows)
}

async fn conversation(
    instance: &Instance,
    asker: &Asker,
    renewable: &Renewable,
    material: Material,
    seen_to_last: Option<Duration>,
) -> Said<TokenSet> {
    let failed = |error: &ConversationError| Said::Failed {
        code: error.code(),
        is_passing: error.is_passing(),
        retry_after: error.retry_after(),
    };
    let unmakable =
        || Said::Failed { code: "token_request_unmakable", is_passing: false, retry_after: None };
    let Some((scheme, plan)) = material.acquiring() else { return unmakable() };
    let Ok(values) = values_of(&material, scheme, &renewable.row.variables) else {
        return unmakable();
    };
    let plan = Arc::clone(plan);
    let may_consent = plan.authorization_code().is_some();
    let mut held = material.token;
    if let Some(held) = &mut held
        && seen_to_last.is_some()
    {
        held.seen_to_last = seen_to_last;
    }
    let conversation = Conversation {
        plan: &plan,
        goal: Goal::Renew,
        values,
        held,
        scopes: renewable.scopes.clone(),
        guard: &renewable.guard,
    };
    match converse(instance, asker, conversation).await {
        Ok(Conversed::Tokens(tokens)) => Said::Tokens(tokens),
        Ok(Conversed::Kept(tokens, error)) => {
            Said::Kept { tokens, code: ConversationError::from(error).code() }
        }
        Err(ConversationError::Acquire(AcquireError::Ended { code })) => Said::Over(code),
        // Without anybody who could consent, it is the company's own registration that is missing.
        Err(ConversationError::Acquire(AcquireError::NeedsConsent)) if may_consent => {
            Said::Over("consent_needed".to_owned())
        }
        Err(error) => failed(&error),
    }
}

/// The books as the store keeps them.
struct StoreBooks<'b> {
    instance: &'b Instance,
    renewable: &'b Renewable,
    is_patient: bool,
    watches: &'b Mutex<Watches>,
    begun: Instant,
    /// Who it is, as leases name it.
    node: &'b str,
    /// SHA-256 of the record of the tokens that there were, and whether somebody consented to them.
    began_with: Option<[u8; 32]>,
    is_consented: bool,
}

impl StoreBooks<'_> {
    async fn put(&self, tokens: &TokenSet, verb: &'static str) -> Result<bool, Error> {
        let (instance, renewable) = (self.instance, self.renewable);
        let ctx = OpContext {
            actor: Actor::System,
            request: Id::generate(instance.clock.now(), instance.random.as_ref())?,
            now: instance.clock.now(),
        };
        // A row that somebody else wrote elsewhere must not cost what the provider gave for this one.
        let mut changing = Changing::begin(instance, &ctx, Care::Ending).await?;
        let known = Known { version: renewable.version(), content: self.began_with };
        let (customer, id) = (renewable.customer.id, &renewable.row.id);
        let kept = put_tokens(instance, &mut changing, customer, id, known, tokens).await?;
        let Some(version) = kept else { return Ok(false) };
        let details = token_details(tokens, version);
        changing.record(Change {
            verb,
            what: format!("connection {}", renewable.row.id),
            details,
            customer: Some(Commitment::from_bytes(renewable.customer.commitment)),
        });
        changing.commit().await?;
        Ok(true)
    }
}

/// What whoever writes tokens knows of those that they replace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub version: u64,
    /// SHA-256 of their record: a new generation of keys seals the same under another version.
    pub content: Option<[u8; 32]>,
}

/// Writes tokens in the place of those that are known, and yields their version; `None` if others stand
/// there.
pub(crate) async fn put_tokens(
    instance: &Instance,
    changing: &mut Changing<'_>,
    customer: Id<Customer>,
    connection: &Id<Connection>,
    known: Known,
    tokens: &TokenSet,
) -> Result<Option<u64>, Error> {
    let record = connection.to_bytes();
    let row = changing.tx.connection(*connection).await?;
    if row.is_none_or(|row| row.revoked_at.is_some()) {
        return Ok(None);
    }
    // As it is now: its key may have been wrapped anew since the Snapshot was compiled.
    let customer = customers::current(instance, &mut changing.tx, customer).await?;
    let current = changing.tx.sealed(CREDENTIAL_TABLE, &record, TOKEN_COLUMN).await?;
    let version = current.as_ref().map_or(0, |row| row.version);
    if version != known.version {
        let (Some(row), Some(content)) = (&current, known.content) else { return Ok(None) };
        let opened = instance.open_sealed(&customer.key, row)?;
        if seals::sha256(opened.expose()) != content {
            return Ok(None);
        }
    }
    let place = (CREDENTIAL_TABLE, &record, TOKEN_COLUMN);
    let sealed =
        instance.seal_version(&customer.key, place, version + 1, &tokens.to_record_bytes())?;
    changing.tx.put_sealed(&sealed).await?;
    Ok(Some(version + 1))
}

/// What an entry says of tokens: nothing of them.
pub(crate) fn token_details(tokens: &TokenSet, version: u64) -> Vec<(&'static str, String)> {
    let mut details = vec![("version", version.to_string())];
    if let Some(until) = tokens.expires_at {
        details.push(("expires_at", until.to_string()));
    }
    if let Some(code) = &tokens.ended {
        details.push(("code", code.clone()));
    }
    // Names of scopes are the provider's: a broader token is told by count, and by name where it is asked.
    let (broader, narrower) = tokens.scope_differences();
    for (name, scopes) in [("scopes_beyond", broader), ("scopes_missing", narrower)] {
        if !scopes.is_empty() {
            details.push((name, scopes.len().to_string()));
        }
    }
    details
}

impl Books for StoreBooks<'_> {
    type Tokens = TokenSet;
    type Fault = Error;

    async fn claim(&self) -> Result<Option<Renewal>, Error> {
        let id = self.renewable.row.id;
        let takes_over = lock(self.watches).over(id);
        let claim = RenewalClaim {
            connection: self.renewable.row.id,
            version: self.renewable.version(),
            node: self.node,
            now: self.now(),
            lasts: LEASE,
            takes_over: takes_over.as_ref(),
            is_patient: self.is_patient,
        };
        match self.instance.store.claim_renewal(claim).await? {
            Claimed::Ours(renewal) => {
                lock(self.watches).forget(id);
                Ok(Some(renewal))
            }
            Claimed::NotOurs => {
                lock(self.watches).forget(id);
                Ok(None)
            }
            Claimed::Left(left) => {
                lock(self.watches).see(id, left, self.begun.elapsed());
                Ok(None)
            }
        }
    }

    async fn keep(&self, tokens: &TokenSet) -> Result<bool, Error> {
        self.put(tokens, "connection.renew").await
    }

    async fn end(&self, code: &str) -> Result<bool, Error> {
        let is_consented = self.is_consented;
        let ended = TokenSet { is_consented, ..TokenSet::empty(self.now()) }.ended_by(code);
        self.put(&ended, "connection.ended").await
    }

    async fn give_back(&self, failures: u32, next_at: Timestamp) -> Result<(), Error> {
        let id = self.renewable.row.id;
        Ok(self.instance.store.end_renewal(id, self.node, (failures, next_at)).await?)
    }

    fn now(&self) -> Timestamp {
        self.instance.clock.now()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

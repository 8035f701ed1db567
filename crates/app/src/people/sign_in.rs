//! Coming in: a password, then a second factor; or enrolment where there is none yet.
//!
//! Whether a person exists cannot be told from an answer, nor from how long it takes. Attempts are
//! counted before they are judged, so that many at once are as few as one after the other.

use super::{FACTOR, PASSWORD, Person, SEED, address_digest, keyed, sessions, text, users};
use crate::{
    change::{Care, Change, Changing},
    error::Error,
    instance::Instance,
    seals,
};
use identity::{
    Digest, EmailAddress, Password, PasswordHash, RecoveryCode, SessionToken, TotpSeed, TotpStep,
    Verdict,
};
use sessions::SignedIn;
use std::{net::IpAddr, time::Duration};
use store::{FactorRow, UserRow};
use types::{FactorKind, Id, OpContext, SecretBytes, SessionLevel, Timestamp, User, UserState};

/// Failures that are older count no more.
pub(crate) const FAILURES_LIFE: Duration = Duration::from_hours(24);
/// Failures of one account, or from one place, that cost nothing.
const FREE_OF_ACCOUNT: u32 = 5;
const FREE_FROM_PLACE: u32 = 20;
/// NIST SP 800-63B-4 §3.2.2: no more than 100 in a row.
pub(crate) const MAX_FAILURES: u32 = 100;
const MAX_DELAY: Duration = Duration::from_mins(15);
/// After the free ones: a code has a million values, and of them three are right.
const FIRST_DELAY_OF_PASSWORD: Duration = Duration::from_secs(1);
const FIRST_DELAY_OF_FACTOR: Duration = Duration::from_mins(5);
/// Passwords that are hashed at once; each takes 64 MiB.
pub(crate) const HASHES_AT_ONCE: usize = 2;
/// How long one may wait for that.
const HASH_PATIENCE: Duration = Duration::from_secs(10);

/// How the log says that somebody came in.
pub(crate) const SIGN_IN: &str = "user.sign_in";
/// How the log says that an identity provider let somebody in.
pub(crate) const BY_PROVIDER: &str = "sso";

/// What a right password leads to.
#[derive(Debug)]
pub enum Begun {
    /// The second factor has to be shown: [`second_factor`].
    SecondFactor(SessionToken),
    /// There is none yet, and nothing else is reached before.
    Enrolment(SessionToken),
}

/// Where a request came from, if that is known.
pub type Source = Option<IpAddr>;

/// The first step.
///
/// # Errors
/// [`Error::SignInRefused`] whatever was not right; [`Error::SignInSlowed`] after too many failures.
pub async fn password(
    instance: &Instance,
    ctx: &OpContext,
    source: Source,
    address: &str,
    password: Password,
) -> Result<Begun, Error> {
    let address = EmailAddress::parse(address).ok();
    let nobody = || instance.secrets.pepper.lookup_digest("user", "");
    let lookup = address.as_ref().map_or_else(nobody, |one| address_digest(instance, one));
    let attempt = Attempt::at(instance, Step::Password, source, &lookup);
    attempt.count(instance, ctx.now).await?;
    let (user, hash) = match &address {
        Some(address) => stored_hash(instance, address).await?.unzip(),
        None => (None, None),
    };
    let verdict = verify(instance, password, hash).await?;
    let (Some(user), Verdict::Right | Verdict::Outdated(_)) = (user, &verdict) else {
        return Err(Error::SignInRefused);
    };
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    // Whoever was disabled, or got another password, while this one was looked at.
    let person = Person::find(instance, &mut changing, user.id).await?;
    if person.row != user || person.row.state != UserState::Active {
        return Err(Error::SignInRefused);
    }
    if let Verdict::Outdated(accepted) = verdict {
        let hash = hashed(instance, accepted).await?;
        person.seal(instance, &mut changing, person.place(PASSWORD), &hash).await?;
    }
    let level =
        if person.has_second_factor() { SessionLevel::Password } else { SessionLevel::Enrol };
    let token = sessions::begin(instance, &mut changing, ctx, user.id, level).await?;
    changing.record(came(&person.row, "password"));
    attempt.forget(instance, &mut changing, person.row.id).await?;
    changing.commit().await?;
    Ok(match level {
        SessionLevel::Password => Begun::SecondFactor(token),
        _ => Begun::Enrolment(token),
    })
}

/// Whether somebody who is in knows the password, as another is to take its place: guesses are counted
/// as those of a sign-in.
///
/// # Errors
/// [`Error::PasswordWrong`]; [`Error::SignInSlowed`] after too many failures.
pub(crate) async fn knows_password(
    instance: &Instance,
    ctx: &OpContext,
    source: Source,
    address: &EmailAddress,
    password: Password,
) -> Result<Attempt, Error> {
    let lookup = address_digest(instance, address);
    let attempt = Attempt::at(instance, Step::Password, source, &lookup);
    attempt.count(instance, ctx.now).await?;
    let hash = stored_hash(instance, address).await?.map(|(_, hash)| hash);
    match verify(instance, password, hash).await? {
        Verdict::Right | Verdict::Outdated(_) => Ok(attempt),
        Verdict::Wrong => Err(Error::PasswordWrong),
    }
}

/// The second step, after a password; or a step-up within a session. The session is exchanged: the
/// token that came is worth nothing any more.
///
/// # Errors
/// [`Error::FactorRefused`] for a code that is wrong, was used, or is none.
pub async fn second_factor(
    instance: &Instance,
    ctx: &OpContext,
    source: Source,
    signed_in: &SignedIn,
    code: &str,
) -> Result<SessionToken, Error> {
    if signed_in.level == SessionLevel::Enrol {
        return Err(Error::FactorRefused);
    }
    let attempt = factor_attempt(instance, source, signed_in.user).await?;
    attempt.count(instance, ctx.now).await?;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = Person::find(instance, &mut changing, signed_in.user).await?;
    if person.row.state != UserState::Active {
        return Err(Error::FactorRefused);
    }
    let used = shown_factor(instance, &mut changing, &person, code, ctx.now).await?;
    changing.tx.put_factor(&used).await?;
    let kind = used.kind.as_str();
    let token = full_session(instance, &mut changing, ctx, &person, signed_in, kind).await?;
    attempt.forget(instance, &mut changing, person.row.id).await?;
    changing.commit().await?;
    Ok(token)
}

/// An attempt to show a factor of this person.
///
/// # Errors
/// [`Error::FactorRefused`] if there is nobody of this id.
pub(crate) async fn factor_attempt(
    instance: &Instance,
    source: Source,
    user: Id<User>,
) -> Result<Attempt, Error> {
    let people = super::now(instance).await?;
    let known = people.users.iter().find(|row| row.id == user);
    let lookup = known.ok_or(Error::FactorRefused)?.lookup;
    Ok(Attempt::at(instance, Step::Factor, source, &lookup))
}

/// An attempt that is counted by where it comes from alone.
pub(crate) fn place_attempt(instance: &Instance, source: Source) -> Attempt {
    Attempt::at(instance, Step::Factor, source, &[0; 32])
}

/// Exchanges a session for one that reaches everything, and is stepped up. Of two that try it with one
/// session, one comes too late.
pub(crate) async fn full_session(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    person: &Person,
    before: &SignedIn,
    by: &'static str,
) -> Result<SessionToken, Error> {
    if !changing.tx.delete_session(before.session).await? {
        return Err(Error::FactorRefused);
    }
    // A factor of here shows that it is still the same person, and nothing of what a provider thinks of
    // them by now: only the provider prolongs the stay of somebody whom it lets in.
    let people = changing.tx.everything().await?.people;
    let is_prolonged = before.level != SessionLevel::Full
        || by == BY_PROVIDER
        || !users::is_managed(&people, person.row.id);
    let ends_by = (!is_prolonged).then_some(before.expires_at);
    let (id, level) = (person.row.id, SessionLevel::Full);
    let shown = (Some(ctx.now), ends_by);
    let token = sessions::begin_shown(instance, changing, ctx, id, level, shown).await?;
    changing.record(came(&person.row, by));
    Ok(token)
}

pub(crate) fn came(row: &UserRow, by: &str) -> Change {
    Change {
        verb: SIGN_IN,
        what: format!("user {}", row.id),
        details: vec![("by", by.to_owned())],
        ..Change::default()
    }
}

/// The factor whose code this is, as it stands once the code was used.
async fn shown_factor(
    instance: &Instance,
    changing: &mut Changing<'_>,
    person: &Person,
    code: &str,
    now: Timestamp,
) -> Result<FactorRow, Error> {
    for factor in person.factors.iter().filter(|one| one.kind == FactorKind::Totp) {
        if !super::is_second(factor) {
            continue;
        }
        let place = (FACTOR, factor.id.to_bytes(), SEED);
        let missing = Error::Internal { what: "a seed is missing" };
        let seed = person.opened(instance, changing, place).await?.ok_or(missing)?;
        let seed = TotpSeed::from_bytes(seed).map_err(|_| Error::FactorRefused)?;
        if let Ok(step) = seed.check(code, now, last_step(factor)) {
            return Ok(FactorRow { used: i64::try_from(step.number()).ok(), ..factor.clone() });
        }
    }
    let code = RecoveryCode::parse(code).map_err(|_| Error::FactorRefused)?;
    let unused: Vec<_> = person
        .factors
        .iter()
        .filter(|one| one.kind == FactorKind::Recovery && one.used.is_none())
        .collect();
    let digests: Vec<Digest> = unused.iter().filter_map(|one| digest(&one.body)).collect();
    if digests.len() != unused.len() {
        return Err(Error::Internal { what: "a recovery code's digest is damaged" });
    }
    let place = code.find(&keyed(instance), &digests).and_then(|place| unused.get(place));
    let found = place.ok_or(Error::FactorRefused)?;
    Ok(FactorRow { used: Some(now.as_micros()), ..(*found).clone() })
}

fn last_step(factor: &FactorRow) -> Option<TotpStep> {
    factor.used.and_then(|step| u64::try_from(step).ok()).map(TotpStep::from_number)
}

fn digest(body: &str) -> Option<Digest> {
    let bytes: Vec<u8> = (0..body.len())
        .step_by(2)
        .map(|at| body.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()))
        .collect::<Option<_>>()?;
    bytes.try_into().ok().map(Digest::from_bytes)
}

/// The person of an address, and the hash of the password, if there is one.
async fn stored_hash(
    instance: &Instance,
    address: &EmailAddress,
) -> Result<Option<(UserRow, PasswordHash)>, Error> {
    let rows = seals::load(instance).await?;
    let lookup = address_digest(instance, address);
    let Some(user) = rows.people.users.iter().find(|row| row.lookup == lookup) else {
        return Ok(None);
    };
    let Some(customer) = rows.customers.iter().find(|one| one.id == user.customer) else {
        return Ok(None);
    };
    let key = crate::customers::open(instance, customer)?.key;
    let sealed = rows.sealed.iter().find(|row| {
        row.table == super::USER && row.record == user.id.to_bytes() && row.column == PASSWORD
    });
    let Some(sealed) = sealed else { return Ok(None) };
    let hash = text(&instance.open_sealed(&key, sealed)?);
    Ok(Some((user.clone(), PasswordHash::parse(hash)?)))
}

/// Looks at a password where it blocks nobody, with as much work where there is no hash.
async fn verify(
    instance: &Instance,
    password: Password,
    hash: Option<PasswordHash>,
) -> Result<Verdict, Error> {
    let _place = hashing(instance).await?;
    let task = tokio::task::spawn_blocking(move || password.verify(hash.as_ref()));
    Ok(task.await.map_err(|_| Error::Internal { what: "a password could not be looked at" })??)
}

/// A password's hash, to be sealed.
pub(crate) async fn hashed(
    instance: &Instance,
    accepted: identity::Accepted,
) -> Result<SecretBytes, Error> {
    let _place = hashing(instance).await?;
    let random = std::sync::Arc::clone(&instance.random);
    let task = tokio::task::spawn_blocking(move || accepted.hash(random.as_ref()));
    let hash = task.await.map_err(|_| Error::Internal { what: "a password was not hashed" })??;
    Ok(SecretBytes::new(hash.expose().as_bytes().to_vec()))
}

async fn hashing(instance: &Instance) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
    let place = tokio::time::timeout(HASH_PATIENCE, instance.desk.hashing.acquire()).await;
    let busy = Error::SignInSlowed { retry_after: HASH_PATIENCE };
    place.map_err(|_| busy)?.map_err(|_| Error::Internal { what: "no place to hash" })
}

/// What is tried; each is counted apart, so that a right password gives no codes to guess.
#[derive(Debug, Clone, Copy)]
enum Step {
    Password,
    Factor,
}

/// What an attempt is counted under.
pub(crate) struct Attempt {
    step: Step,
    account: [u8; 32],
    place: Option<[u8; 32]>,
}

impl Attempt {
    fn at(instance: &Instance, step: Step, source: Source, lookup: &[u8; 32]) -> Self {
        let pepper = &instance.secrets.pepper;
        let kind = match step {
            Step::Password => "sign-in password",
            Step::Factor => "sign-in factor",
        };
        let account = pepper.lookup_digest(kind, &crate::change::hex(lookup));
        let place = source.map(|addr| pepper.lookup_digest("sign-in place", &network(addr)));
        Self { step, account, place }
    }

    /// Counts it, unless it comes too early.
    pub(crate) async fn count(&self, instance: &Instance, now: Timestamp) -> Result<(), Error> {
        self.count_by_place(instance, now).await?;
        self.step.bound().count(instance, &self.account, now).await
    }

    /// Counts what cannot be guessed, and whose account it is for is only claimed: else strangers would
    /// lock others out.
    pub(crate) async fn count_by_place(
        &self,
        instance: &Instance,
        now: Timestamp,
    ) -> Result<(), Error> {
        let place = Bound {
            free: FREE_FROM_PLACE,
            max: u32::MAX,
            first_delay: FIRST_DELAY_OF_PASSWORD,
            stays_locked: false,
        };
        match &self.place {
            Some(lookup) => place.count(instance, lookup, now).await,
            None => Ok(()),
        }
    }

    /// Somebody came in: what was counted is forgotten, and told of in the log; of what was counted by
    /// place, this attempt, and not those of others.
    pub(crate) async fn forget(
        &self,
        instance: &Instance,
        changing: &mut Changing<'_>,
        user: Id<User>,
    ) -> Result<(), Error> {
        self.forget_account(instance, changing, user, 1).await?;
        self.forget_place(changing).await
    }

    pub(crate) async fn forget_place(&self, changing: &mut Changing<'_>) -> Result<(), Error> {
        if let Some(place) = &self.place {
            changing.tx.forget_failure(place).await?;
        }
        Ok(())
    }

    /// `own` of those that were counted came in. An entry at each refusal would let strangers fill the
    /// log, and tell by its time which accounts there are.
    async fn forget_account(
        &self,
        instance: &Instance,
        changing: &mut Changing<'_>,
        user: Id<User>,
        own: u32,
    ) -> Result<(), Error> {
        let known = instance.store.failures(&self.account).await?;
        let refused = known.map_or(0, |known| known.failures).saturating_sub(own);
        if refused > 0 {
            let step = match self.step {
                Step::Password => "password",
                Step::Factor => "factor",
            };
            changing.record(Change {
                verb: "user.refused",
                what: format!("user {user}"),
                details: vec![("step", step.to_owned()), ("attempts", refused.to_string())],
                ..Change::default()
            });
        }
        Ok(changing.tx.forget_failures(&self.account).await?)
    }
}

/// Forgets all failures of an account: a link was used, which is worth more.
pub(crate) async fn forget_failures(
    instance: &Instance,
    changing: &mut Changing<'_>,
    user: &UserRow,
) -> Result<(), Error> {
    for step in [Step::Password, Step::Factor] {
        let attempt = Attempt::at(instance, step, None, &user.lookup);
        attempt.forget_account(instance, changing, user.id, 0).await?;
    }
    Ok(())
}

/// How many attempts cost nothing, and how many there may be.
struct Bound {
    free: u32,
    max: u32,
    first_delay: Duration,
    /// Once there are as many as may be, only a new link helps.
    stays_locked: bool,
}

impl Step {
    /// Anybody can try passwords of somebody whose address they know, and must not lock them out for
    /// ever; whoever tries codes has the password.
    const fn bound(self) -> Bound {
        let (first_delay, stays_locked) = match self {
            Self::Password => (FIRST_DELAY_OF_PASSWORD, false),
            Self::Factor => (FIRST_DELAY_OF_FACTOR, true),
        };
        Bound { free: FREE_OF_ACCOUNT, max: MAX_FAILURES, first_delay, stays_locked }
    }
}

impl Bound {
    async fn count(
        &self,
        instance: &Instance,
        lookup: &[u8; 32],
        now: Timestamp,
    ) -> Result<(), Error> {
        let known = instance.store.failures(lookup).await?;
        let known = known.filter(|known| {
            let is_locked = self.stays_locked && known.failures >= self.max;
            is_locked || now.since(known.last_at) < FAILURES_LIFE
        });
        let before = known.map_or(0, |known| known.failures);
        if let Some(known) = known {
            let delay = self.delay(before);
            let waited = now.since(known.last_at);
            if before >= self.max || waited < delay {
                return Err(Error::SignInSlowed { retry_after: delay.saturating_sub(waited) });
            }
        }
        let since = i64::try_from(FAILURES_LIFE.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp::from_micros(now.as_micros().saturating_sub(since));
        let count = instance.store.count_failure(lookup, since, now).await?;
        // Others came at the same time: of those that may wait, one is judged.
        if count > before + 1 && count > self.free {
            return Err(Error::SignInSlowed { retry_after: self.delay(count) });
        }
        Ok(())
    }

    /// After so many failures: doubled by each.
    fn delay(&self, failures: u32) -> Duration {
        if failures < self.free {
            return Duration::ZERO;
        }
        if failures >= self.max {
            return FAILURES_LIFE;
        }
        let doubled = 2_u32.saturating_pow(failures - self.free);
        self.first_delay.saturating_mul(doubled).min(MAX_DELAY)
    }
}

/// An address, or of IPv6 the network that one subscriber has.
fn network(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => addr.to_string(),
        IpAddr::V6(addr) => {
            if let Some(addr) = addr.to_ipv4_mapped() {
                return addr.to_string();
            }
            let [a, b, c, d, ..] = addr.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_cost_more_each_time_and_end() {
        let bound = Step::Factor.bound();
        let minutes: Vec<u64> = (0..9).map(|count| bound.delay(count).as_secs() / 60).collect();
        assert_eq!(minutes, [0, 0, 0, 0, 0, 5, 10, 15, 15]);
        let bound = Step::Password.bound();
        let seconds: Vec<u64> = (0..10).map(|count| bound.delay(count).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16]);
        assert_eq!(bound.delay(40), MAX_DELAY);
        assert_eq!(bound.delay(99), MAX_DELAY);
        assert_eq!(bound.delay(100), FAILURES_LIFE);
    }

    #[test]
    fn a_subscribers_addresses_are_one_place() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}

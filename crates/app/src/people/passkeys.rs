//! Passkeys: enrolled as one of the factors, and shown instead of a code, or instead of a password and a
//! code together, because the device itself asks who holds it.
//!
//! What was begun is kept by this process alone, for five minutes, and is answered once.

use super::{
    EMAIL, FACTOR, Person,
    factors::{self, Enrolled, MAX_FACTORS},
    is_second, keyed, notices, sessions,
    sessions::SignedIn,
    sign_in::{self, Source},
    text, users,
};
use crate::{
    change::{Care, Change, Changing},
    error::Error,
    instance::Instance,
};
use identity::{
    Authentication, CEREMONY_LIFE, Options, Passkey, PasskeyError, Registration, RelyingParty,
    SessionToken, UserHandle,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};
use store::FactorRow;
use types::{
    FactorKind, Id, OpContext, SecretText, Session, SessionLevel, Timestamp, User, UserState,
};

/// Ceremonies under way at once; of more, the oldest is forgotten.
pub(super) const MAX_CEREMONIES: usize = 10_000;

/// What a browser is asked.
#[derive(Debug)]
pub struct Asked {
    /// For `navigator.credentials`.
    pub options: Options,
    /// Comes back with the answer.
    pub handle: SecretText,
}

enum Ceremony {
    Registration(Registration),
    Authentication(Authentication),
}

/// Who was asked, and alone may answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Session(Id<Session>),
    /// A browser in which nobody is signed in, by a digest of what its forms are bound to.
    Browser([u8; 32]),
}

impl Asker {
    fn browser(instance: &Instance, form: &str) -> Self {
        Self::Browser(instance.secrets.pepper.lookup_digest("passkey browser", form))
    }
}

struct Kept {
    begun_at: Timestamp,
    asker: Asker,
    what: Ceremony,
}

/// What was begun and is not answered yet, by the digest of its handle.
#[derive(Default)]
pub(crate) struct Ceremonies(Mutex<HashMap<[u8; 32], Kept>>);

impl fmt::Debug for Ceremonies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ceremonies").finish_non_exhaustive()
    }
}

impl Ceremonies {
    fn keep(
        &self,
        instance: &Instance,
        now: Timestamp,
        asker: Asker,
        what: Ceremony,
    ) -> Result<SecretText, Error> {
        let handle = SessionToken::generate(instance.random.as_ref())?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_CEREMONIES {
            all.retain(|_, kept| now.since(kept.begun_at) < CEREMONY_LIFE);
        }
        // Strangers, of whom there may be many, push out strangers.
        let first_to_go = |kept: &Kept| (matches!(kept.asker, Asker::Session(_)), kept.begun_at);
        if all.len() >= MAX_CEREMONIES
            && let Some((oldest, _)) = all.iter().min_by_key(|(_, kept)| first_to_go(kept))
        {
            let oldest = *oldest;
            all.remove(&oldest);
        }
        let kept = Kept { begun_at: now, asker, what };
        all.insert(*handle.digest(&keyed(instance)).as_bytes(), kept);
        Ok(SecretText::new(handle.expose().to_owned()))
    }

    /// Takes away what was begun under this handle; it is yielded to whom it was begun for.
    fn take(
        &self,
        instance: &Instance,
        now: Timestamp,
        asker: Asker,
        handle: &str,
    ) -> Option<Ceremony> {
        let handle = SessionToken::parse(handle).ok()?;
        let digest = handle.digest(&keyed(instance));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.remove(digest.as_bytes())?;
        let is_good = kept.asker == asker && now.since(kept.begun_at) < CEREMONY_LIFE;
        is_good.then_some(kept.what)
    }
}

fn handle_of(user: Id<User>) -> UserHandle {
    UserHandle::new(user.to_bytes())
}

fn passkeys(person: &Person) -> Result<Vec<(&FactorRow, Passkey)>, Error> {
    let rows = person.factors.iter().filter(|one| one.kind == FactorKind::Passkey);
    let read = |row| Passkey::from_json(&FactorRow::clone(row).body).map(|passkey| (row, passkey));
    rows.map(read).collect::<Result<_, _>>().map_err(refused)
}

/// What a person is told says nothing of why; the log does.
fn refused(error: PasskeyError) -> Error {
    if error.is_alarm() {
        tracing::warn!(%error, "a passkey was refused");
    } else {
        tracing::info!(%error, "a passkey was refused");
    }
    Error::PasskeyRefused
}

/// Whether somebody has a passkey to show.
pub async fn has_any(instance: &Instance, user: Id<User>) -> Result<bool, Error> {
    let people = super::now(instance).await?;
    Ok(people.factors.iter().any(|one| one.user == user && one.kind == FactorKind::Passkey))
}

/// Asks for a new passkey.
pub async fn begin_registration(
    instance: &Instance,
    ctx: &OpContext,
    party: &RelyingParty,
    signed_in: &SignedIn,
) -> Result<Asked, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = factors::owner(instance, &mut changing, ctx, signed_in).await?;
    if person.factors.iter().filter(|one| is_second(one)).count() >= MAX_FACTORS {
        return Err(Error::TooManyFactors { limit: MAX_FACTORS });
    }
    let address = person.opened(instance, &mut changing, person.place(EMAIL)).await?;
    let address = address.map_or_else(|| person.row.id.to_string(), |address| text(&address));
    let who = identity::Person {
        handle: handle_of(person.row.id),
        account: &address,
        display_name: &address,
    };
    let known: Vec<Passkey> = passkeys(&person)?.into_iter().map(|(_, passkey)| passkey).collect();
    let (options, state) = party.begin_registration(&who, &known, ctx.now).map_err(refused)?;
    let what = Ceremony::Registration(state);
    let asker = Asker::Session(signed_in.session);
    let handle = instance.desk.ceremonies.keep(instance, ctx.now, asker, what)?;
    Ok(Asked { options, handle })
}

/// Takes a passkey that was asked for. The first factor opens everything, and brings codes for recovery.
pub async fn finish_registration(
    instance: &Instance,
    ctx: &OpContext,
    party: &RelyingParty,
    signed_in: &SignedIn,
    (handle, answer): (&str, &str),
    name: &str,
) -> Result<Enrolled, Error> {
    let name = factors::factor_name(name, "passkey")?;
    let asker = Asker::Session(signed_in.session);
    let begun = instance.desk.ceremonies.take(instance, ctx.now, asker, handle);
    let Some(Ceremony::Registration(state)) = begun else { return Err(Error::PasskeyRefused) };
    let passkey = party.finish_registration(answer, state, ctx.now).map_err(refused)?;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = factors::owner(instance, &mut changing, ctx, signed_in).await?;
    if passkey.user() != handle_of(person.row.id) {
        return Err(Error::PasskeyRefused);
    }
    // Each is one person's, and once (Web Authentication §7.1, step 26).
    let everybody = changing.tx.everything().await?.people.factors;
    let stored = everybody.iter().filter(|one| one.kind == FactorKind::Passkey);
    let mut stored = stored.filter_map(|one| Passkey::from_json(&one.body).ok());
    if stored.any(|one| one.id() == passkey.id()) {
        return Err(Error::PasskeyRefused);
    }
    let row = FactorRow {
        id: Id::generate(ctx.now, instance.random.as_ref())?,
        user: person.row.id,
        kind: FactorKind::Passkey,
        name,
        body: passkey.to_json().map_err(refused)?,
        created_at: ctx.now,
        used: None,
    };
    // What was begun with an app is not waited for any more.
    for old in person.factors.iter().filter(|one| one.body == super::PENDING) {
        changing.tx.delete_sealed(FACTOR, &old.id.to_bytes()).await?;
        changing.tx.delete_factor(old.id).await?;
    }
    changing.tx.put_factor(&row).await?;
    let enrolled =
        factors::enrolled(instance, &mut changing, ctx, &person, signed_in, &row).await?;
    changing.commit().await?;
    Ok(enrolled)
}

/// Asks for one of a person's passkeys: after a password, or for a step-up.
pub async fn begin_authentication(
    instance: &Instance,
    ctx: &OpContext,
    party: &RelyingParty,
    signed_in: &SignedIn,
) -> Result<Asked, Error> {
    let people = super::now(instance).await?;
    let own = people.factors.iter().filter(|one| one.user == signed_in.user);
    let own = own.filter(|one| one.kind == FactorKind::Passkey);
    let known: Vec<Passkey> =
        own.map(|one| Passkey::from_json(&one.body)).collect::<Result<_, _>>().map_err(refused)?;
    let (options, state) =
        party.begin_authentication(handle_of(signed_in.user), &known, ctx.now).map_err(refused)?;
    let what = Ceremony::Authentication(state);
    let asker = Asker::Session(signed_in.session);
    let handle = instance.desk.ceremonies.keep(instance, ctx.now, asker, what)?;
    Ok(Asked { options, handle })
}

/// Asks for any passkey: whose it is, it tells. The answer comes from the browser whose forms are bound
/// as `form` says.
pub fn begin_sign_in(
    instance: &Instance,
    ctx: &OpContext,
    party: &RelyingParty,
    form: &str,
) -> Result<Asked, Error> {
    let (options, state) = party.begin_discovery(ctx.now).map_err(refused)?;
    let what = Ceremony::Authentication(state);
    let handle =
        instance.desk.ceremonies.keep(instance, ctx.now, Asker::browser(instance, form), what)?;
    Ok(Asked { options, handle })
}

/// The second step, or a step-up, as [`sign_in::second_factor`] is by a code.
///
/// # Errors
/// [`Error::PasskeyRefused`] whatever was not right.
pub async fn second_factor(
    instance: &Instance,
    ctx: &OpContext,
    party: &RelyingParty,
    source: Source,
    signed_in: &SignedIn,
    (handle, answer): (&str, &str),
) -> Result<SessionToken, Error> {
    if signed_in.level == SessionLevel::Enrol {
        return Err(Error::PasskeyRefused);
    }
    let asker = Asker::Session(signed_in.session);
    let begun = instance.desk.ceremonies.take(instance, ctx.now, asker, handle);
    let Some(Ceremony::Authentication(state)) = begun else { return Err(Error::PasskeyRefused) };
    let attempt = sign_in::factor_attempt(instance, source, signed_in.user).await?;
    attempt.count(instance, ctx.now).await?;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = Person::find(instance, &mut changing, signed_in.user).await?;
    let mut changing = show(instance, changing, ctx, party, &person, answer, state).await?;
    let token =
        sign_in::full_session(instance, &mut changing, ctx, &person, signed_in, "passkey").await?;
    attempt.forget(instance, &mut changing, person.row.id).await?;
    changing.commit().await?;
    Ok(token)
}

/// The only step, where a passkey is all that is shown: it is held, and its device knows its holder.
///
/// What fails is counted by place, and not against the person, whom the answer only claims: a signature
/// cannot be guessed, and whoever knows an id could lock somebody out.
///
/// # Errors
/// [`Error::PasskeyRefused`] whatever was not right.
pub async fn sign_in(
    instance: &Instance,
    ctx: &OpContext,
    party: &RelyingParty,
    source: Source,
    form: &str,
    (handle, answer): (&str, &str),
) -> Result<SessionToken, Error> {
    let asker = Asker::browser(instance, form);
    let begun = instance.desk.ceremonies.take(instance, ctx.now, asker, handle);
    let Some(Ceremony::Authentication(state)) = begun else { return Err(Error::PasskeyRefused) };
    let claim = party.claim(answer).map_err(refused)?;
    let user = Id::from_bytes(claim.user.to_bytes());
    // Nobody waits for the store because of an answer that is nobody's.
    let people = super::now(instance).await?;
    let mut own = people.factors.iter().filter(|one| one.user == user);
    let is_claimed =
        |one: &FactorRow| Passkey::from_json(&one.body).is_ok_and(|key| key.id() == claim.id);
    if !own.any(|one| one.kind == FactorKind::Passkey && is_claimed(one)) {
        return Err(Error::PasskeyRefused);
    }
    // An account that a provider made is entered by that one alone, which may have let go of it.
    if users::is_managed(&people, user) {
        return Err(Error::PasskeyRefused);
    }
    let attempt = sign_in::factor_attempt(instance, source, user).await?;
    attempt.count_by_place(instance, ctx.now).await?;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = Person::find(instance, &mut changing, user).await?;
    let mut changing = show(instance, changing, ctx, party, &person, answer, state).await?;
    let level = SessionLevel::Full;
    let token = sessions::begin(instance, &mut changing, ctx, person.row.id, level).await?;
    changing.record(sign_in::came(&person.row, "passkey alone"));
    attempt.forget(instance, &mut changing, user).await?;
    changing.commit().await?;
    Ok(token)
}

/// Judges an answer by the passkeys that the person has now, and notes what is new of the one shown.
async fn show<'i>(
    instance: &'i Instance,
    mut changing: Changing<'i>,
    ctx: &OpContext,
    party: &RelyingParty,
    person: &Person,
    answer: &str,
    state: Authentication,
) -> Result<Changing<'i>, Error> {
    if person.row.state != UserState::Active {
        return Err(Error::PasskeyRefused);
    }
    let (rows, known): (Vec<&FactorRow>, Vec<Passkey>) = passkeys(person)?.into_iter().unzip();
    let shown = match party.finish_authentication(answer, state, &known, ctx.now) {
        Err(PasskeyError::Cloned) => {
            tell_of_copy(instance, changing, ctx, person).await?;
            return Err(Error::PasskeyRefused);
        }
        judged => judged.map_err(refused)?,
    };
    if shown.user != handle_of(person.row.id) {
        return Err(Error::PasskeyRefused);
    }
    let place = known.iter().position(|one| one.id() == shown.passkey.id());
    let row = place.and_then(|place| rows.get(place)).ok_or(Error::PasskeyRefused)?;
    let body = shown.passkey.to_json().map_err(refused)?;
    let used = Some(ctx.now.as_micros());
    changing.tx.put_factor(&FactorRow { body, used, ..FactorRow::clone(row) }).await?;
    Ok(changing)
}

/// Whoever looks into it needs to know whose passkey there may be a copy of. The signature was right,
/// so that nobody without the key fills the log, or frightens its owner.
async fn tell_of_copy(
    instance: &Instance,
    mut changing: Changing<'_>,
    ctx: &OpContext,
    person: &Person,
) -> Result<(), Error> {
    let user = person.row.id;
    tracing::warn!(user.id = %user, error = %PasskeyError::Cloned, "a passkey was refused");
    changing.record(Change {
        verb: "factor.alarm",
        what: format!("user {user}"),
        details: vec![("reason", "there may be a copy of a passkey".to_owned())],
        ..Change::default()
    });
    let what =
        "a passkey was refused, because there may be a copy of it: remove it, and enrol the \
                device anew"
            .to_owned();
    notices::tell(instance, &mut changing, ctx, user, what).await?;
    changing.commit().await.map(drop)
}

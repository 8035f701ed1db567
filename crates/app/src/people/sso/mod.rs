//! Sign-in by identity providers: which there are, and what becomes of whoever comes back from one.
//!
//! A sign-in that was begun is remembered by the browser alone, in a cookie from which `state`, `nonce`
//! and the PKCE verifier are made under a key of ours: strangers that begin many leave nothing here, and
//! any node can end what another began. Whom an answer is about is the issuer's subject: no account is
//! ever found by an address.

mod web;

pub use web::Web;

use super::{
    ADMINISTRATOR, EMAIL, NAME, Person,
    sessions::{self, SignedIn},
    sign_in::{self, BY_PROVIDER, Source, came, full_session},
    text, users,
};
use crate::{
    change::{Care, Change, Changing, hex},
    customers,
    error::Error,
    instance::Instance,
    seals,
};
use identity::{
    EmailAddress, SessionToken,
    oidc::{
        AuthorizationRequest, Callback, Claims, CodeExchange, Expected, GroupsClaim, Issuer,
        OidcError, SecondFactor,
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use store::{IdentityProviderRow, IdentityRow, People};
use types::{
    Id, Identity, IdentityProvider, OpContext, SecretBytes, SecretText, Session, SessionLevel,
    Slug, Timestamp, User, UserState,
};

/// Where a client's secret is sealed.
const TABLE: &str = "identity_provider";
const SECRET: &str = "client_secret";
/// How long somebody may take at the provider.
pub const TRIP_LIFE: Duration = Duration::from_mins(10);
/// Of one installation.
const MAX_PROVIDERS: usize = 20;
const MAX_TEXT_BYTES: usize = 2_000;

/// How people sign in by a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub issuer: String,
    pub client_id: String,
    /// Beside `openid`.
    pub scopes: Vec<String>,
    pub groups_claim: String,
    /// Which roles a group brings. Whoever has none by it does not come in, unless an account was linked.
    pub roles: BTreeMap<String, Vec<String>>,
    pub second_factor: ShownAt,
}

/// Where a second factor is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ShownAt {
    /// At the provider, which must say so by one of these values.
    Provider { amr: Vec<String>, acr: Vec<String> },
    /// At Weirgate, after the provider.
    Weirgate,
}

impl Settings {
    fn second_factor(&self) -> SecondFactor {
        match &self.second_factor {
            ShownAt::Provider { amr, acr } => {
                SecondFactor::Provider { amr: amr.clone(), acr: acr.clone() }
            }
            ShownAt::Weirgate => SecondFactor::Here,
        }
    }

    fn acr_values(&self) -> &[String] {
        match &self.second_factor {
            ShownAt::Provider { acr, .. } => acr,
            ShownAt::Weirgate => &[],
        }
    }

    fn read(row: &IdentityProviderRow) -> Result<Self, Error> {
        let damaged = Error::Internal { what: "an identity provider's settings are damaged" };
        serde_json::from_str(&row.body).map_err(|_| damaged)
    }

    /// The roles that somebody's groups bring.
    fn roles_of(&self, groups: &[String]) -> Vec<String> {
        let brought = groups.iter().filter_map(|group| self.roles.get(group)).flatten();
        let mut roles: Vec<String> = brought.cloned().collect();
        roles.sort();
        roles.dedup();
        roles
    }
}

/// An identity provider as it is listed; nothing of its client's secret.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: Id<IdentityProvider>,
    pub name: Slug,
    pub settings: Settings,
    /// How many people it knows.
    pub people: usize,
    pub created_at: Timestamp,
}

/// The identity providers, oldest first.
pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let people = super::now(instance).await?;
    let listed = people.providers.iter().map(|row| {
        let known = people.identities.iter().filter(|one| one.provider == Some(row.id));
        Ok(Listed {
            id: row.id,
            name: row.name.clone(),
            settings: Settings::read(row)?,
            people: known.count(),
            created_at: row.created_at,
        })
    });
    listed.collect()
}

/// Lets people sign in by a provider. Whether it can be reached, and is what it says, is looked at
/// first: nothing is kept that cannot work.
///
/// # Errors
/// [`Error::Sso`] if it is no provider that can be trusted with a sign-in; [`Error::Exists`] if the name
/// is taken; [`Error::NotFound`] for a role that there is not.
pub async fn add(
    instance: &Instance,
    ctx: &OpContext,
    web: &Web,
    name: &Slug,
    settings: &Settings,
    secret: SecretBytes,
) -> Result<Id<IdentityProvider>, Error> {
    Issuer::parse(&settings.issuer)?;
    plain(settings)?;
    web.read(settings, ctx.now).await?;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    for roles in settings.roles.values() {
        users::known_roles(&people, roles)?;
    }
    if people.providers.iter().any(|row| row.name == *name) {
        return Err(Error::Exists { kind: "identity provider", name: name.to_string() });
    }
    for row in &people.providers {
        if Settings::read(row)?.issuer == settings.issuer {
            return Err(Error::IssuerTaken { name: row.name.to_string() });
        }
    }
    if people.providers.len() >= MAX_PROVIDERS {
        return Err(Error::TooManyIdentityProviders { limit: MAX_PROVIDERS });
    }
    let id: Id<IdentityProvider> = Id::generate(ctx.now, instance.random.as_ref())?;
    let own = instance.secrets.pepper.lookup_digest("identity provider key", &id.to_string());
    let key = customers::create(instance, &mut changing.tx, ctx, own, &id.to_string()).await?;
    let damaged = Error::Internal { what: "an identity provider's settings cannot be written" };
    let row = IdentityProviderRow {
        id,
        name: name.clone(),
        customer: key.id,
        body: serde_json::to_string(settings).map_err(|_| damaged)?,
        created_at: ctx.now,
    };
    changing.tx.put_identity_provider(&row).await?;
    let sealed = instance.seal(&key.key, TABLE, &id.to_bytes(), SECRET, &secret)?;
    changing.tx.put_sealed(&sealed).await?;
    let roles: Vec<&String> = settings.roles.values().flatten().collect();
    changing.record(Change {
        verb: "sso.add",
        what: format!("identity provider {id}"),
        details: vec![
            ("name", name.to_string()),
            ("issuer", settings.issuer.clone()),
            ("client_id", settings.client_id.clone()),
            ("groups", settings.roles.len().to_string()),
            ("administrates", roles.iter().any(|role| *role == ADMINISTRATOR).to_string()),
            (
                "second_factor",
                match settings.second_factor {
                    ShownAt::Provider { .. } => "provider".to_owned(),
                    ShownAt::Weirgate => "weirgate".to_owned(),
                },
            ),
        ],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(id)
}

/// What was given is text of a reasonable length.
fn plain(settings: &Settings) -> Result<(), Error> {
    let Settings { issuer, client_id, scopes, groups_claim, roles, second_factor } = settings;
    let values = match second_factor {
        ShownAt::Provider { amr, acr } if amr.is_empty() && acr.is_empty() => {
            return Err(Error::SsoSettings {
                what: "no amr and no acr value proves a second factor",
            });
        }
        ShownAt::Provider { amr, acr } => amr.iter().chain(acr).collect(),
        ShownAt::Weirgate => Vec::new(),
    };
    let texts = [issuer, client_id, groups_claim].into_iter().chain(scopes).chain(roles.keys());
    // These have a meaning of their own, and name no groups.
    const OWN: [&str; 13] = [
        "iss",
        "sub",
        "aud",
        "azp",
        "exp",
        "nbf",
        "iat",
        "auth_time",
        "nonce",
        "at_hash",
        "amr",
        "acr",
        "email",
    ];
    if OWN.contains(&groups_claim.as_str())
        || groups_claim.starts_with("email_")
        || groups_claim == "name"
    {
        return Err(Error::SsoSettings { what: "the claim has another meaning than groups" });
    }
    let is_plain = |text: &String| {
        !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control)
    };
    let is_word = |text: &&String| is_plain(text) && !text.contains(' ');
    if !texts.chain(values.iter().copied()).all(is_plain) {
        return Err(Error::SsoSettings { what: "a value is empty, too long, or no text" });
    }
    if !scopes.iter().chain(values).all(|text| is_word(&text)) {
        return Err(Error::SsoSettings { what: "a scope, amr or acr value has a space" });
    }
    Ok(())
}

/// Looks at a provider anew, as a sign-in would.
pub async fn check(instance: &Instance, web: &Web, name: &Slug) -> Result<(), Error> {
    let people = super::now(instance).await?;
    let row = named(&people, name)?;
    web.read(&Settings::read(row)?, instance.clock.now()).await.map(drop)
}

/// Ends sign-in by a provider. Accounts that it made are disabled, and their sessions end; accounts that
/// were linked stay. How many were disabled.
pub async fn remove(instance: &Instance, ctx: &OpContext, name: &Slug) -> Result<u64, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    let row = named(&people, name)?;
    let mut disabled = 0;
    let own = |one: &&IdentityRow| one.provider == Some(row.id) && one.is_managed;
    for identity in people.identities.iter().filter(own) {
        let mut person = Person::find(instance, &mut changing, identity.user).await?;
        changing.tx.delete_sessions_of(identity.user).await?;
        if person.row.state == UserState::Active {
            users::keep_an_administrator(&mut changing, &person.row).await?;
            person.row.state = UserState::Disabled;
            person.row.valid_from = ctx.now;
            changing.tx.put_user(&person.row).await?;
            disabled += 1;
        }
    }
    changing.tx.delete_identity_provider(row.id).await?;
    changing.tx.delete_customer(row.customer).await?;
    changing.record(Change {
        verb: "sso.remove",
        what: format!("identity provider {}", row.id),
        details: vec![("name", name.to_string()), ("disabled", disabled.to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(disabled)
}

fn named<'p>(people: &'p People, name: &Slug) -> Result<&'p IdentityProviderRow, Error> {
    let found = people.providers.iter().find(|row| row.name == *name);
    found.ok_or(Error::NameUnknown { kind: "identity provider" })
}

/// What somebody went to a provider for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    SignIn,
    /// To show a factor again, within this session.
    StepUp(Id<Session>),
    /// To sign in by the provider from now on; within this session.
    Link(Id<Session>),
}

/// A way to a provider, begun.
#[derive(Debug)]
pub struct Begun {
    pub url: String,
    /// What the browser keeps until it is back.
    pub trip: SecretText,
}

/// What is made of a trip's text.
struct Trip {
    provider: Id<IdentityProvider>,
    errand: Errand,
    began_at: Timestamp,
    state: String,
    nonce: String,
    verifier: String,
}

impl Trip {
    fn spell(
        instance: &Instance,
        provider: Id<IdentityProvider>,
        errand: Errand,
        now: Timestamp,
    ) -> Result<SecretText, Error> {
        let token = SessionToken::generate(instance.random.as_ref())?;
        let errand = match errand {
            Errand::SignIn => "sign-in".to_owned(),
            Errand::StepUp(session) => format!("step-up.{session}"),
            Errand::Link(session) => format!("link.{session}"),
        };
        let micros = now.as_micros();
        Ok(SecretText::new(format!("{}.{provider}.{micros}.{errand}", token.expose())))
    }

    /// Nothing of the text is believed before the state that is made of all of it has come back.
    fn read(instance: &Instance, text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        SessionToken::parse(parts.next()?).ok()?;
        let provider = parts.next()?.parse().ok()?;
        let began_at = Timestamp::from_micros(parts.next()?.parse().ok()?);
        let errand = match (parts.next()?, parts.next()) {
            ("sign-in", None) => Errand::SignIn,
            ("step-up", Some(session)) => Errand::StepUp(session.parse().ok()?),
            ("link", Some(session)) => Errand::Link(session.parse().ok()?),
            _ => return None,
        };
        if parts.next().is_some() {
            return None;
        }
        let made = |kind| hex(&instance.secrets.pepper.lookup_digest(kind, text));
        let (state, nonce, verifier) = (made("sso state"), made("sso nonce"), made("sso verifier"));
        Some(Self { provider, errand, began_at, state, nonce, verifier })
    }
}

/// Where a provider sends people back to: one address for each, so that no answer is taken for
/// another's (RFC 9700 §4.4).
pub fn redirect_uri(console_url: &str, name: &Slug) -> String {
    format!("{}/sso/{name}/callback", console_url.trim_end_matches('/'))
}

/// Sends somebody to a provider.
///
/// # Errors
/// [`Error::Sso`] and [`Error::IdentityProviderUnreachable`] if it is not as it should be.
pub async fn begin(
    instance: &Instance,
    web: &Web,
    console_url: &str,
    name: &Slug,
    errand: Errand,
) -> Result<Begun, Error> {
    let now = instance.clock.now();
    let people = super::now(instance).await?;
    let row = named(&people, name)?;
    let settings = Settings::read(row)?;
    let known = web.known(&settings, now).await?;
    let text = Trip::spell(instance, row.id, errand, now)?;
    let malformed = Error::Internal { what: "a trip to a provider has no form" };
    let trip = Trip::read(instance, text.expose()).ok_or(malformed)?;
    let request = AuthorizationRequest {
        client_id: &settings.client_id,
        redirect_uri: &redirect_uri(console_url, name),
        scopes: &settings.scopes,
        acr_values: settings.acr_values(),
        state: &trip.state,
        nonce: &trip.nonce,
        verifier: &trip.verifier,
        is_again: errand != Errand::SignIn,
    };
    Ok(Begun { url: request.url(&known.metadata).into(), trip: text })
}

/// What coming back led to.
#[derive(Debug)]
pub enum Back {
    /// Into the console.
    In(SessionToken),
    /// The second factor has to be shown here.
    SecondFactor(SessionToken),
    /// There is none yet.
    Enrolment(SessionToken),
    /// The session is stepped up, by another token.
    SteppedUp(SessionToken),
    /// The account can be entered by the provider from now on.
    Linked,
}

/// What somebody came back with.
#[derive(Clone, Copy, Debug)]
pub struct Return<'r> {
    pub console_url: &'r str,
    pub name: &'r Slug,
    /// What the browser kept.
    pub trip: &'r str,
    pub query: &'r str,
}

/// Ends a trip to a provider.
///
/// # Errors
/// [`Error::Sso`] for an answer that is not believed, [`Error::SsoNoRole`] for a person whose groups
/// bring no role, [`Error::SignInRefused`] for one that is kept out.
pub async fn end(
    instance: &Instance,
    ctx: &OpContext,
    web: &Web,
    source: Source,
    back: Return<'_>,
) -> Result<Back, Error> {
    let trip = Trip::read(instance, back.trip).ok_or(OidcError::State)?;
    let is_late = ctx.now < trip.began_at || ctx.now.since(trip.began_at) > TRIP_LIFE;
    let people = super::now(instance).await?;
    let row = named(&people, back.name)?.clone();
    if is_late || row.id != trip.provider {
        return Err(OidcError::State.into());
    }
    let settings = Settings::read(&row)?;
    // Before anything is counted or asked: nobody can make a state that fits.
    Callback::of(back.query).has_state(&trip.state)?;
    // What comes back makes us ask the provider: strangers do not decide how often.
    let attempt = sign_in::place_attempt(instance, source);
    attempt.count_by_place(instance, ctx.now).await?;
    let claims = judged(instance, ctx.now, web, &row, &settings, &trip, back).await?;
    let subject = subject_digest(instance, &settings.issuer, &claims.subject);

    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    // Whoever removed or changed the provider meanwhile.
    if people.providers.iter().all(|one| *one != row) {
        return Err(OidcError::State.into());
    }
    // The subject holds its issuer, and of each issuer there is one provider.
    let mut known = people.identities.iter().find(|one| one.subject == subject).cloned();
    if let Some(one) = known.as_mut().filter(|one| one.provider != Some(row.id)) {
        one.provider = Some(row.id);
        changing.tx.put_identity(one).await?;
    }
    let done = match trip.errand {
        Errand::Link(session) => {
            let signed_in = own_session(instance, session).await?;
            if !signed_in.is_stepped_up(ctx.now) {
                return Err(Error::StepUpNeeded);
            }
            link(instance, &mut changing, ctx, &people, &row, &signed_in, subject, known).await?;
            Back::Linked
        }
        Errand::StepUp(session) => {
            let signed_in = own_session(instance, session).await?;
            let one = known.filter(|one| one.user == signed_in.user);
            let is_shown = matches!(settings.second_factor, ShownAt::Provider { .. });
            let (Some(one), true, SessionLevel::Full) = (one, is_shown, signed_in.level) else {
                return Err(Error::FactorRefused);
            };
            let person =
                entering(instance, changing, ctx, &people, &settings, &claims, &one).await?;
            let (mut again, person) = person;
            let token =
                full_session(instance, &mut again, ctx, &person, &signed_in, BY_PROVIDER).await?;
            attempt.forget_place(&mut again).await?;
            again.commit().await?;
            return Ok(Back::SteppedUp(token));
        }
        Errand::SignIn => {
            let person = if let Some(one) = known {
                let (again, person) =
                    entering(instance, changing, ctx, &people, &settings, &claims, &one).await?;
                changing = again;
                person
            } else {
                let roles = roles_now(&people, &settings, &claims);
                if roles.is_empty() {
                    return Err(Error::SsoNoRole);
                }
                new_person(instance, &mut changing, ctx, &row, subject, &claims, roles).await?
            };
            come_in(instance, &mut changing, ctx, &settings, &person).await?
        }
    };
    attempt.forget_place(&mut changing).await?;
    changing.commit().await?;
    Ok(done)
}

/// What the provider says of whoever comes back, if it is believed.
async fn judged(
    instance: &Instance,
    now: Timestamp,
    web: &Web,
    row: &IdentityProviderRow,
    settings: &Settings,
    trip: &Trip,
    back: Return<'_>,
) -> Result<Claims, Error> {
    let known = web.known(settings, now).await?;
    let code = Callback::of(back.query).authorization_code(&known.metadata, &trip.state)?;
    let secret = client_secret(instance, row).await?;
    let exchange = CodeExchange {
        client_id: &settings.client_id,
        client_secret: secret.expose(),
        redirect_uri: &redirect_uri(back.console_url, back.name),
        verifier: &trip.verifier,
    };
    let answer = web.exchange(&known.metadata, &exchange, &code).await?;
    let second_factor = match trip.errand {
        // Whoever links is known by a session already.
        Errand::Link(_) => SecondFactor::Here,
        _ => settings.second_factor(),
    };
    let issuer = Issuer::parse(&settings.issuer)?;
    let expected = Expected {
        issuer: &issuer,
        client_id: &settings.client_id,
        nonce: &trip.nonce,
        second_factor: &second_factor,
        groups: GroupsClaim(&settings.groups_claim),
        now: instance.clock.now(),
        shown_after: (trip.errand != Errand::SignIn).then_some(trip.began_at),
    };
    let verified =
        |keys| Claims::verify(&answer.id_token, answer.access_token.as_ref(), keys, &expected);
    match verified(&known.keys) {
        // The provider may have a new key.
        Err(OidcError::KeyUnknown) => {
            let anew = web.known_anew(settings, now).await?;
            Ok(verified(&anew.keys)?)
        }
        other => Ok(other?),
    }
}

async fn client_secret(
    instance: &Instance,
    row: &IdentityProviderRow,
) -> Result<SecretText, Error> {
    let rows = seals::load(instance).await?;
    let missing = || Error::Internal { what: "an identity provider's secret is missing" };
    let customer = rows.customers.iter().find(|one| one.id == row.customer).ok_or_else(missing)?;
    let key = customers::open(instance, customer)?.key;
    let is_meant = |one: &&store::SealedRow| {
        one.table == TABLE && one.record == row.id.to_bytes() && one.column == SECRET
    };
    let sealed = rows.sealed.iter().find(is_meant).ok_or_else(missing)?;
    Ok(SecretText::new(text(&instance.open_sealed(&key, sealed)?)))
}

fn subject_digest(instance: &Instance, issuer: &str, subject: &str) -> [u8; 32] {
    let text = format!("{}\n{issuer}\n{subject}", issuer.len());
    instance.secrets.pepper.lookup_digest("sso subject", &text)
}

/// A session that is in force still.
async fn own_session(instance: &Instance, id: Id<Session>) -> Result<SignedIn, Error> {
    let listed = sessions::list(instance, None).await?;
    let found = listed.into_iter().find(|one| one.signed_in.session == id);
    found.map(|one| one.signed_in).ok_or(Error::SignInRefused)
}

/// The person of an identity, with what the provider says of them today. Whoever is kept out is refused;
/// and from whom the provider takes all roles, all that began before is taken, too.
async fn entering<'i>(
    instance: &'i Instance,
    mut changing: Changing<'i>,
    ctx: &OpContext,
    people: &People,
    settings: &Settings,
    claims: &Claims,
    identity: &IdentityRow,
) -> Result<(Changing<'i>, Person), Error> {
    let person = Person::find(instance, &mut changing, identity.user).await?;
    // An account that a provider made is entered by that one alone.
    let is_foreign = !identity.is_managed && users::is_managed(people, identity.user);
    if person.row.state != UserState::Active || is_foreign {
        return Err(Error::SignInRefused);
    }
    if !identity.is_managed {
        return Ok((changing, person));
    }
    let roles = roles_now(people, settings, claims);
    let has_role = !roles.is_empty();
    let mut person = with_roles(&mut changing, person, roles).await?;
    if has_role {
        return Ok((changing, person));
    }
    person.row.valid_from = ctx.now;
    changing.tx.put_user(&person.row).await?;
    let ended = changing.tx.delete_sessions_of(person.row.id).await?;
    changing.record(Change {
        verb: "user.refused",
        what: format!("user {}", person.row.id),
        details: vec![
            ("step", BY_PROVIDER.to_owned()),
            ("attempts", "1".to_owned()),
            ("sessions_ended", ended.to_string()),
        ],
        ..Change::default()
    });
    changing.commit().await?;
    Err(Error::SsoNoRole)
}

/// The roles that the person's groups bring, of those that there are.
fn roles_now(people: &People, settings: &Settings, claims: &Claims) -> Vec<String> {
    let mut roles = settings.roles_of(&claims.groups);
    roles.retain(|role| users::known_roles(people, std::slice::from_ref(role)).is_ok());
    roles
}

/// The person with what their groups say today.
async fn with_roles(
    changing: &mut Changing<'_>,
    mut person: Person,
    roles: Vec<String>,
) -> Result<Person, Error> {
    if person.row.roles == roles {
        return Ok(person);
    }
    if !roles.iter().any(|role| role == ADMINISTRATOR) {
        users::keep_an_administrator(changing, &person.row).await?;
    }
    let before = std::mem::replace(&mut person.row.roles, roles);
    changing.tx.put_user(&person.row).await?;
    changing.record(Change {
        verb: "user.roles",
        what: format!("user {}", person.row.id),
        details: vec![
            ("before", before.join(", ")),
            ("roles", person.row.roles.join(", ")),
            ("by", "sso".to_owned()),
        ],
        ..Change::default()
    });
    Ok(person)
}

/// An account for somebody who comes for the first time, and whose groups bring a role.
async fn new_person(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    provider: &IdentityProviderRow,
    subject: [u8; 32],
    claims: &Claims,
    roles: Vec<String>,
) -> Result<Person, Error> {
    // No address leads to it: whoever has one by another way is another account.
    let lookup = instance.secrets.pepper.lookup_digest("sso user", &hex(&subject));
    let mut row = users::new_user(instance, changing, ctx, lookup, roles).await?;
    row.state = UserState::Active;
    changing.tx.put_user(&row).await?;
    let person = Person::find(instance, changing, row.id).await?;
    let address = claims.email.as_deref().and_then(|email| EmailAddress::parse(email).ok());
    let name = claims.name.as_deref().and_then(|name| users::person_name(name).ok());
    for (column, value) in [(EMAIL, address.map(|one| one.as_str().to_owned())), (NAME, name)] {
        if let Some(value) = value {
            let value = SecretBytes::new(value.into_bytes());
            person.seal(instance, changing, person.place(column), &value).await?;
        }
    }
    insert(instance, changing, ctx, provider.id, row.id, subject, true).await?;
    changing.record(Change {
        verb: "user.create",
        what: format!("user {}", row.id),
        details: vec![
            ("roles", row.roles.join(", ")),
            ("identity_provider", provider.name.to_string()),
        ],
        ..Change::default()
    });
    Ok(person)
}

async fn insert(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    provider: Id<IdentityProvider>,
    user: Id<User>,
    subject: [u8; 32],
    is_managed: bool,
) -> Result<(), Error> {
    let id: Id<Identity> = Id::generate(ctx.now, instance.random.as_ref())?;
    let provider = Some(provider);
    let row = IdentityRow { id, user, provider, subject, is_managed, created_at: ctx.now };
    Ok(changing.tx.put_identity(&row).await?)
}

/// Lets somebody who is in sign in by a provider, too.
#[expect(clippy::too_many_arguments, reason = "each is another thing, and it is called once")]
async fn link(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    people: &People,
    provider: &IdentityProviderRow,
    signed_in: &SignedIn,
    subject: [u8; 32],
    known: Option<IdentityRow>,
) -> Result<(), Error> {
    let user = signed_in.user;
    if users::is_managed(people, user) {
        return Err(Error::ManagedElsewhere);
    }
    let is_of_both = |one: &IdentityRow| one.user == user && one.provider == Some(provider.id);
    let has_one = people.identities.iter().any(is_of_both);
    if known.is_some() || has_one {
        return Err(Error::IdentityTaken);
    }
    insert(instance, changing, ctx, provider.id, user, subject, false).await?;
    changing.record(Change {
        verb: "user.link_identity",
        what: format!("user {user}"),
        details: vec![("identity_provider", provider.name.to_string())],
        ..Change::default()
    });
    Ok(())
}

async fn come_in(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    settings: &Settings,
    person: &Person,
) -> Result<Back, Error> {
    let is_shown = matches!(settings.second_factor, ShownAt::Provider { .. });
    let level = match (is_shown, person.has_second_factor()) {
        (true, _) => SessionLevel::Full,
        (false, true) => SessionLevel::Password,
        (false, false) => SessionLevel::Enrol,
    };
    // A provider lets in without a question whoever it knows: nothing was shown just now.
    let token =
        sessions::begin_shown(instance, changing, ctx, person.row.id, level, (None, None)).await?;
    changing.record(came(&person.row, BY_PROVIDER));
    Ok(match level {
        SessionLevel::Full => Back::In(token),
        SessionLevel::Password => Back::SecondFactor(token),
        SessionLevel::Enrol => Back::Enrolment(token),
    })
}

/// By which providers a person signs in, and whether one of them made the account.
#[derive(Clone, Debug)]
pub struct Linked {
    pub id: Id<Identity>,
    pub provider: Slug,
    pub is_managed: bool,
    /// Whether the provider shows a second factor, so that a step-up can be done there.
    pub shows_factor: bool,
    pub created_at: Timestamp,
}

/// Of one person.
pub async fn linked(instance: &Instance, user: Id<User>) -> Result<Vec<Linked>, Error> {
    let people = super::now(instance).await?;
    let own = people.identities.iter().filter(|one| one.user == user);
    let listed = own.filter_map(|one| {
        let provider = people.providers.iter().find(|row| Some(row.id) == one.provider)?;
        let settings = Settings::read(provider);
        Some(settings.map(|settings| Linked {
            id: one.id,
            provider: provider.name.clone(),
            is_managed: one.is_managed,
            shows_factor: matches!(settings.second_factor, ShownAt::Provider { .. }),
            created_at: one.created_at,
        }))
    });
    listed.collect()
}

/// Ends that somebody signs in by a provider; not where it made the account.
pub async fn unlink(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
    id: Id<Identity>,
) -> Result<(), Error> {
    if !signed_in.is_stepped_up(ctx.now) {
        return Err(Error::StepUpNeeded);
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    let found = people.identities.iter().find(|one| one.id == id && one.user == signed_in.user);
    let not_found = || Error::NotFound { kind: "identity", name: id.to_string() };
    if found.ok_or_else(not_found)?.is_managed {
        return Err(Error::ManagedElsewhere);
    }
    changing.tx.delete_identity(id).await?;
    changing.record(Change {
        verb: "user.unlink_identity",
        what: format!("user {}", signed_in.user),
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

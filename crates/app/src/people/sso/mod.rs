//! Sign-in by identity providers: which there are, and what becomes of whoever comes back from one.
//!
//! A sign-in that was begun is remembered by the browser alone, in a cookie from which `state`, `nonce`
//! and the PKCE verifier are made under a key of ours: strangers that begin many leave nothing here, and
//! any node can end what another began. What came back is remembered, and counts once. Whom an answer is
//! about is the issuer's subject: no account is ever found by an address.

mod accounts;
mod providers;
mod web;

pub use accounts::{Linked, linked, unlink};
pub use providers::{Listed, Settings, ShownAt, add, check, list, remove};
pub use web::Web;

use super::sign_in::{self, BY_PROVIDER, Source, full_session};
use crate::{
    change::{Care, Changing, hex},
    error::Error,
    instance::Instance,
};
use accounts::{come_in, entering, link, new_person, own_session, roles_now, subject_digest};
use identity::{
    SessionToken,
    oidc::{
        AuthorizationRequest, Callback, Claims, CodeExchange, Expected, GroupsClaim, Issuer,
        OidcError, SecondFactor,
    },
};
use providers::{client_secret, named};
use std::time::Duration;
use store::IdentityProviderRow;
use types::{Id, IdentityProvider, OpContext, SecretText, Session, SessionLevel, Slug, Timestamp};

/// How long somebody may take at the provider.
pub const TRIP_LIFE: Duration = Duration::from_mins(10);
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
    use_up(instance, &trip, ctx.now).await?;
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

/// An answer counts once, whichever node it comes to, whatever became of it, and whether or not the
/// provider takes its code twice: a copy of the cookie and the answer would lead in again.
async fn use_up(instance: &Instance, trip: &Trip, now: Timestamp) -> Result<(), Error> {
    // Kept among failures, of which a job deletes those that are a day old: by then it is late.
    let lookup = instance.secrets.pepper.lookup_digest("sso answer", &trip.state);
    if instance.store.failures(&lookup).await?.is_some() {
        return Err(OidcError::State.into());
    }
    // Of several at once, the first that is counted goes on.
    match instance.store.count_failure(&lookup, trip.began_at, now).await? {
        1 => Ok(()),
        _ => Err(OidcError::State.into()),
    }
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

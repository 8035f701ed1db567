//! To the provider and back, and the confirmation.

use super::{
    ConnectError, FORGOTTEN_AFTER, Loaded, TABLE, TOKEN, TOKEN_KIND, consent, is_over, reach,
    redirect_uri,
};
use crate::{
    asking::Asker,
    change::{Care, Change, Changing, hex, listed},
    connections::{CREDENTIAL_COLUMN, CREDENTIAL_TABLE},
    customers,
    error::Error,
    instance::Instance,
    lifetimes, providers, seals,
    tokens::{Conversation, Conversed, Known, TOKEN_COLUMN, converse, put_tokens, token_details},
};
use identity::{
    SessionToken,
    oidc::{Callback, OidcError},
};
use std::{sync::Arc, time::Duration};
use store::{ConnectSessionRow, ConnectionRow};
use tokio::sync::watch;
use types::{
    Actor, ConnectProgress, ConnectSession, Connection, Id, OpContext, SecretText, Slug, Timestamp,
};
use vault::auth::{AuthorizationUrl, Goal, Moment, TokenSet};

/// Why a session ended that nobody ended.
pub(super) const EXPIRED: &str = "expired";
/// How often expired sessions are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Which session is opened.
#[derive(Debug, Clone, Copy)]
pub enum Opening<'o> {
    /// One's own.
    Own(Id<ConnectSession>),
    /// By its token, once.
    Token(&'o str),
}

/// Somebody is on the way.
#[derive(Debug)]
pub struct Opened {
    pub id: Id<ConnectSession>,
    /// Where the provider asks.
    pub url: String,
    /// What the browser keeps until it is back.
    pub trip: SecretText,
}

/// What is made of the text that the browser keeps.
struct Trip {
    digest: [u8; 32],
    state: String,
    verifier: String,
}

impl Trip {
    fn of(instance: &Instance, text: &str) -> Self {
        let made = |kind| instance.secrets.pepper.lookup_digest(kind, text);
        Self {
            digest: made("connect trip"),
            state: hex(&made("connect state")),
            verifier: hex(&made("connect verifier")),
        }
    }
}

/// Opens a session: whoever is sent to the URL is asked by the provider.
///
/// # Errors
/// [`ConnectError::Unknown`] for a session that is somebody else's, over, or was opened before.
pub async fn open(
    instance: &Instance,
    ctx: &OpContext,
    opening: Opening<'_>,
) -> Result<Opened, Error> {
    let rows = seals::load_whole(instance).await?;
    let by = ctx.actor.to_string();
    let row = rows.connects.sessions.iter().find(|row| match opening {
        Opening::Own(id) => row.id == id && row.begun_by == by,
        Opening::Token(text) => {
            let digest = instance.secrets.pepper.lookup_digest(TOKEN_KIND, text);
            vault::digests_match(&row.token, &digest)
        }
    });
    let row = row.filter(|row| !is_over(row, ctx.now)).ok_or(ConnectError::Unknown)?;
    let loaded = Loaded::of(instance, &rows, row)?;
    let text = SessionToken::generate(instance.random.as_ref())?;
    let trip = Trip::of(instance, text.expose());
    let (_, plan) = loaded.plan()?;
    let values = loaded.values()?;
    let url = AuthorizationUrl {
        client_id: values.get("client_id").ok_or(ConnectError::NoClientId)?,
        redirect_uri: &loaded.body.redirect_uri,
        scopes: &loaded.body.scopes,
        state: &trip.state,
        verifier: &trip.verifier,
    };
    let moment = Moment { now: ctx.now, random: instance.random.as_ref() };
    let url = url.of(plan, &values, moment).map_err(crate::tokens::ConversationError::from)?;
    let what = |row: &mut ConnectSessionRow| {
        row.trip = Some(trip.digest);
        row.progress = ConnectProgress::Away;
    };
    let (changing, _) =
        forward(instance, ctx, row.id, (&[ConnectProgress::Waiting], "connect.open"), what).await?;
    changing.commit().await?;
    Ok(Opened { id: row.id, url, trip: SecretText::new(text.expose().to_owned()) })
}

/// Moves a session on, if it is still where it was thought to be.
async fn forward<'i>(
    instance: &'i Instance,
    ctx: &'i OpContext,
    id: Id<ConnectSession>,
    (from, verb): (&[ConnectProgress], &'static str),
    what: impl FnOnce(&mut ConnectSessionRow),
) -> Result<(Changing<'i>, ConnectSessionRow), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let sessions = changing.tx.everything().await?.connects.sessions;
    let mut row = sessions.into_iter().find(|row| row.id == id).ok_or(ConnectError::Unknown)?;
    if !from.contains(&row.progress) {
        return Err(ConnectError::State.into());
    }
    what(&mut row);
    changing.tx.put_connect_session(&row).await?;
    let details = row.failure.iter().map(|code| ("code", code.clone())).collect();
    changing.record(Change {
        verb,
        what: format!("connect session {id}"),
        details,
        ..Change::default()
    });
    Ok((changing, row))
}

/// What a browser came back with.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Scheme and authority where it came back to.
    pub base: &'a str,
    pub provider: &'a Slug,
    /// What the browser kept.
    pub trip: &'a str,
    pub query: &'a str,
}

/// Takes in an answer: exchanges the code for tokens, which wait for a confirmation.
///
/// # Errors
/// [`ConnectError`] for an answer that is not believed or says no; [`Error::TokenNotObtained`] if the
/// provider gives no token for the code.
pub async fn answer(
    instance: &Instance,
    ctx: &OpContext,
    asker: &Asker,
    answer: Answer<'_>,
) -> Result<Id<ConnectSession>, Error> {
    let rows = seals::load_whole(instance).await?;
    let trip = Trip::of(instance, answer.trip);
    let row = rows
        .connects
        .sessions
        .iter()
        .find(|row| row.trip.is_some_and(|known| vault::digests_match(&known, &trip.digest)));
    let row = row.filter(|row| !is_over(row, ctx.now)).ok_or(ConnectError::State)?;
    let loaded = Loaded::of(instance, &rows, row)?;
    // Exactly where it was sent to: one address for each provider.
    let is_there = loaded.provider.slug == *answer.provider
        && loaded.body.redirect_uri == redirect_uri(answer.base, answer.provider);
    let callback = Callback::of(answer.query);
    if !is_there || callback.has_state(&trip.state).is_err() {
        return Err(ConnectError::State.into());
    }
    // It counts once, on whichever node, before anything else is done with it.
    let use_up = |row: &mut ConnectSessionRow| {
        row.progress = ConnectProgress::Exchanging;
        row.used_at = Some(ctx.now);
    };
    let (changing, _) =
        forward(instance, ctx, row.id, (&[ConnectProgress::Away], "connect.answer"), use_up)
            .await?;
    changing.commit().await?;
    match exchanged(instance, asker, &loaded, &callback, &trip).await {
        Ok(tokens) => {
            keep(instance, ctx, &loaded, &tokens).await?;
            Ok(row.id)
        }
        Err(error) => {
            let code = match &error {
                Error::Connect(ConnectError::Denied { code }) => code,
                Error::Connect(ConnectError::Issuer) => "wrong_issuer",
                Error::Connect(ConnectError::CodeMissing) => "code_missing",
                Error::TokenNotObtained { code, .. } => code,
                _ => "failed",
            };
            end(instance, ctx, row.id, code).await?;
            Err(error)
        }
    }
}

async fn exchanged(
    instance: &Instance,
    asker: &Asker,
    loaded: &Loaded,
    callback: &Callback<'_>,
    trip: &Trip,
) -> Result<TokenSet, Error> {
    let (_, plan) = loaded.plan()?;
    let issuer = plan.oauth2().and_then(|oauth2| oauth2.issuer.as_deref());
    let code = callback.code_from(issuer, issuer.is_some(), &trip.state).map_err(|error| {
        Error::from(match error {
            OidcError::CallbackIssuer => ConnectError::Issuer,
            OidcError::Denied(code) => ConnectError::Denied { code },
            OidcError::CodeMissing => ConnectError::CodeMissing,
            _ => ConnectError::State,
        })
    })?;
    let guard = providers::guard_policy(&loaded.provider.allow_private)?;
    let conversation = Conversation {
        plan,
        goal: Goal::Code {
            code: code.expose(),
            redirect_uri: &loaded.body.redirect_uri,
            verifier: &trip.verifier,
        },
        values: loaded.values()?,
        held: None,
        scopes: loaded.body.scopes.clone(),
        guard: &guard,
    };
    // Only a renewal keeps what renews without a token.
    let Conversed::Tokens(mut tokens) = converse(instance, asker, conversation).await? else {
        return Err(Error::Internal { what: "a code was exchanged as if it renewed" });
    };
    tokens.ended = None;
    Ok(tokens)
}

/// Keeps tokens until somebody confirms.
async fn keep(
    instance: &Instance,
    ctx: &OpContext,
    loaded: &Loaded,
    tokens: &TokenSet,
) -> Result<(), Error> {
    let back = |row: &mut ConnectSessionRow| row.progress = ConnectProgress::Returned;
    let (mut changing, row) = forward(
        instance,
        ctx,
        loaded.row.id,
        (&[ConnectProgress::Exchanging], "connect.return"),
        back,
    )
    .await?;
    let record = row.id.to_bytes();
    let bytes = tokens.to_record_bytes();
    // As its key is now: it may have been made anew while the provider was asked.
    let customer = customers::current(instance, &mut changing.tx, loaded.customer.id).await?;
    let sealed = instance.seal(&customer.key, TABLE, &record, TOKEN, &bytes)?;
    changing.tx.put_sealed(&sealed).await?;
    changing.commit().await.map(drop)
}

/// Ends a session, and destroys what it holds.
async fn end(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<ConnectSession>,
    code: &str,
) -> Result<(), Error> {
    use ConnectProgress::{Away, Exchanging, Returned, Waiting};
    let over = |row: &mut ConnectSessionRow| {
        row.progress = ConnectProgress::Ended;
        row.failure = Some(code.to_owned());
    };
    let from = (&[Waiting, Away, Exchanging, Returned][..], "connect.end");
    let (mut changing, _) = forward(instance, ctx, id, from, over).await?;
    changing.tx.delete_sealed(TABLE, &id.to_bytes()).await?;
    changing.commit().await.map(drop)
}

/// Gives a session up; what the provider gave is destroyed, and the provider is told where it can be.
///
/// # Errors
/// [`ConnectError::Unknown`] for one that is somebody else's or over.
pub async fn cancel(
    instance: &Instance,
    ctx: &OpContext,
    asker: Option<&Asker>,
    id: Id<ConnectSession>,
) -> Result<(), Error> {
    let rows = seals::load_whole(instance).await?;
    let row = own(&rows.connects.sessions, ctx, id)?;
    let loaded = Loaded::of(instance, &rows, row)?;
    end(instance, ctx, id, "cancelled").await?;
    if let (Some(asker), Some(tokens)) = (asker, &loaded.tokens) {
        let (_, plan) = loaded.plan()?;
        let guard = providers::guard_policy(&loaded.provider.allow_private)?;
        consent::tell(instance, asker, plan, loaded.values()?, tokens, &guard).await;
    }
    Ok(())
}

fn own<'r>(
    sessions: &'r [ConnectSessionRow],
    ctx: &OpContext,
    id: Id<ConnectSession>,
) -> Result<&'r ConnectSessionRow, Error> {
    let by = ctx.actor.to_string();
    let row = sessions.iter().find(|row| row.id == id && row.begun_by == by);
    Ok(row.filter(|row| !is_over(row, ctx.now)).ok_or(ConnectError::Unknown)?)
}

/// What a confirmation made.
#[derive(Debug)]
pub struct Confirmed {
    pub connection: Id<Connection>,
    pub scheme: String,
    /// Of its tokens.
    pub version: u64,
}

/// Confirms what came back, by whoever began: only from here on there is a connection. `shown` is the
/// digest of the text that was confirmed: what changed since must be confirmed anew.
///
/// # Errors
/// [`ConnectError::Unknown`] for a session that is somebody else's or over,
/// [`ConnectError::NotReturned`] before anybody came back, [`Error::PlanStale`] for another text.
pub async fn confirm(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<ConnectSession>,
    shown: &str,
) -> Result<Confirmed, Error> {
    let rows = seals::load_whole(instance).await?;
    let row = own(&rows.connects.sessions, ctx, id)?;
    let loaded = Loaded::of(instance, &rows, row)?;
    let not_returned = ConnectError::NotReturned { progress: row.progress.as_str() };
    let tokens = loaded.tokens.as_ref().ok_or(not_returned)?;
    let words = reach::let_through(&rows, loaded.reach(), ctx.now);
    let consented = consent::of_tokens(&loaded, tokens, words);
    if consented.digest != shown {
        return Err(Error::PlanStale);
    }
    let connection = if let Some(known) = row.connection {
        known
    } else {
        Id::generate(ctx.now, instance.random.as_ref())?
    };
    let done = |row: &mut ConnectSessionRow| {
        row.progress = ConnectProgress::Connected;
        row.connection = Some(connection);
    };
    // Of what a session refers to, the connection is written first.
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let now = changing.tx.everything().await?;
    let mut session =
        now.connects.sessions.into_iter().find(|one| one.id == id).ok_or(ConnectError::Unknown)?;
    if session.progress != ConnectProgress::Returned {
        return Err(ConnectError::State.into());
    }
    let record = connection.to_bytes();
    let version = if row.connection.is_some() {
        let known = changing.tx.sealed(CREDENTIAL_TABLE, &record, TOKEN_COLUMN).await?;
        known.map_or(0, |row| row.version)
    } else {
        insert(instance, &mut changing, ctx, &loaded, connection).await?;
        0
    };
    let (owner, known) = (loaded.customer.id, Known { version, content: None });
    let put = put_tokens(instance, &mut changing, owner, &connection, known, tokens).await?;
    let version = put.ok_or(ConnectError::ConnectionGone)?;
    consent::put(instance, &mut changing, ctx, &loaded.customer, connection, &consented).await?;
    done(&mut session);
    changing.tx.put_connect_session(&session).await?;
    changing.tx.delete_sealed(TABLE, &id.to_bytes()).await?;
    let mut details = token_details(tokens, version);
    details.push(("session", id.to_string()));
    if row.connection.is_some() {
        lifetimes::renewed(instance, &mut changing, connection, ctx.now).await?;
    }
    changing.record(Change {
        verb: if row.connection.is_some() { "connection.reconnect" } else { "connection.connect" },
        what: format!("connection {connection}"),
        details,
        customer: Some(loaded.customer.commitment),
    });
    changing.commit().await?;
    Ok(Confirmed { connection, scheme: loaded.body.scheme, version })
}

/// The rows of a new connection.
async fn insert(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    loaded: &Loaded,
    id: Id<Connection>,
) -> Result<(), Error> {
    let body = &loaded.body;
    changing
        .tx
        .insert_connection(&ConnectionRow {
            id,
            provider: loaded.provider.id,
            customer: loaded.customer.id,
            environment: loaded.row.environment,
            scheme: body.scheme.clone(),
            variables: body.variables.clone(),
            headers: body.headers.clone(),
            created_at: ctx.now,
            revoked_at: None,
        })
        .await?;
    let bytes = loaded.credential.to_record_bytes();
    let record = id.to_bytes();
    let customer = customers::current(instance, &mut changing.tx, loaded.customer.id).await?;
    let sealed =
        instance.seal(&customer.key, CREDENTIAL_TABLE, &record, CREDENTIAL_COLUMN, &bytes)?;
    changing.tx.put_sealed(&sealed).await?;
    let mut details = vec![
        ("provider", loaded.provider.id.to_string()),
        ("environment", loaded.row.environment.to_string()),
        ("scheme", body.scheme.clone()),
    ];
    let salt = customers::salt(instance, &mut changing.tx, &customer).await?;
    for (kind, values) in [("variables", &body.variables), ("headers", &body.headers)] {
        if !values.is_empty() {
            details.push((kind, listed(&customers::committed(&salt, kind, values))));
        }
    }
    changing.record(Change {
        verb: "connection.create",
        what: format!("connection {id}"),
        details,
        customer: Some(loaded.customer.commitment),
    });
    Ok(())
}

/// Destroys what expired sessions hold, and forgets those that are a day old.
pub(super) async fn sweep(
    _: &Instance,
    changing: &mut Changing<'_>,
    sessions: &[ConnectSessionRow],
    now: Timestamp,
) -> Result<(), Error> {
    let (mut expired, mut forgotten) = (0_usize, 0_usize);
    for row in sessions.iter().filter(|row| now >= row.expires_at) {
        if now.since(row.expires_at) >= FORGOTTEN_AFTER {
            changing.tx.delete_sealed(TABLE, &row.id.to_bytes()).await?;
            changing.tx.delete_connect_session(row.id).await?;
            forgotten += 1;
        } else if !is_over(row, row.created_at) {
            changing.tx.delete_sealed(TABLE, &row.id.to_bytes()).await?;
            let over = ConnectSessionRow {
                progress: ConnectProgress::Ended,
                failure: Some(EXPIRED.to_owned()),
                ..row.clone()
            };
            changing.tx.put_connect_session(&over).await?;
            expired += 1;
        }
    }
    if expired + forgotten > 0 {
        changing.record(Change {
            verb: "connect.sweep",
            what: "connect sessions".to_owned(),
            details: vec![("expired", expired.to_string()), ("forgotten", forgotten.to_string())],
            ..Change::default()
        });
    }
    Ok(())
}

/// Destroys what expired sessions hold, while a server runs.
pub async fn keep_up(instance: Arc<Instance>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        // Both are cancel-safe.
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = look(&instance).await {
            tracing::warn!(%error, "expired connect sessions were not swept");
        }
    }
}

async fn look(instance: &Instance) -> Result<(), Error> {
    let now = instance.clock.now();
    let day = i64::try_from(FORGOTTEN_AFTER.as_micros()).unwrap_or(i64::MAX);
    let before = Timestamp::from_micros(now.as_micros().saturating_sub(day));
    if !instance.store.has_connects_due(now, before).await? {
        return Ok(());
    }
    let request = Id::generate(now, instance.random.as_ref())?;
    let ctx = OpContext { actor: Actor::System, request, now };
    let mut changing = Changing::begin(instance, &ctx, Care::Ending).await?;
    let sessions = changing.tx.everything().await?.connects.sessions;
    sweep(instance, &mut changing, &sessions, now).await?;
    changing.commit().await.map(drop)
}

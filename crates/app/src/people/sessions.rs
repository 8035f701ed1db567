//! Sessions: reference tokens of which the store has only keyed digests.
//!
//! A session is looked up in the store at each request, and its person judged as of now: what ended
//! it, and what was withdrawn, counts from the next request on, on every node.

use super::keyed;
use crate::{
    change::{Care, Change, Changing},
    error::Error,
    instance::Instance,
    seals,
};
use identity::SessionToken;
use policy::Decider;
use std::{net::IpAddr, sync::Arc, time::Duration};
use store::{SessionRow, UserRow};
use types::{Id, OpContext, Session, SessionLevel, Timestamp, User, UserState};

/// NIST SP 800-63B-4 §2.2.3: without activity, and at most.
pub const IDLE_LIFE: Duration = Duration::from_mins(30);
pub const LIFE: Duration = Duration::from_hours(12);
/// How long somebody who has shown a password may take to show the second factor.
const HALF_LIFE: Duration = Duration::from_mins(5);
/// How long somebody may take to enrol a second factor.
const ENROL_LIFE: Duration = Duration::from_mins(30);
/// How long acts that need it are open after somebody has shown a factor again.
pub const STEP_UP_LIFE: Duration = Duration::from_mins(5);
/// A session that was seen is not written more often.
const SEEN_EVERY: Duration = Duration::from_mins(1);
/// Sessions of one person at once; the oldest gives way.
const MAX_SESSIONS: usize = 20;

/// Somebody whose session is in force.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub session: Id<Session>,
    pub user: Id<User>,
    pub level: SessionLevel,
    /// The roles of this moment.
    pub roles: Vec<String>,
    /// What they and the policies of this moment decide; where it is only listed, nothing.
    pub decider: Option<Arc<Decider>>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Until when acts that need it are open; in the past if they are not.
    pub stepped_up_until: Option<Timestamp>,
    /// Where the request comes from, if that is known: policies may ask for it.
    pub source: Option<IpAddr>,
}

impl SignedIn {
    /// Whether a factor was shown within the last minutes.
    pub fn is_stepped_up(&self, now: Timestamp) -> bool {
        self.level == SessionLevel::Full && self.stepped_up_until.is_some_and(|until| now < until)
    }
}

/// Begins a session within the change that lets somebody in. What it yields is shown once, after
/// the change.
pub(crate) async fn begin(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    user: Id<User>,
    level: SessionLevel,
) -> Result<SessionToken, Error> {
    let shown_at = (level == SessionLevel::Full).then_some(ctx.now);
    begin_shown(instance, changing, ctx, user, level, (shown_at, None)).await
}

/// The same, for somebody who showed a factor at this moment, or elsewhere and nobody knows when; and
/// whose session ends by a moment, whatever its level.
pub(crate) async fn begin_shown(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    user: Id<User>,
    level: SessionLevel,
    (shown_at, ends_by): (Option<Timestamp>, Option<Timestamp>),
) -> Result<SessionToken, Error> {
    let mut others: Vec<_> = instance.store.sessions().await?;
    others.retain(|one| one.user == user);
    others.sort_by_key(|one| one.created_at);
    for oldest in others.iter().take((others.len() + 1).saturating_sub(MAX_SESSIONS)) {
        changing.tx.delete_session(oldest.id).await?;
    }
    let token = SessionToken::generate(instance.random.as_ref())?;
    let life = match level {
        SessionLevel::Password => HALF_LIFE,
        SessionLevel::Enrol => ENROL_LIFE,
        SessionLevel::Full => LIFE,
    };
    let mut row = SessionRow {
        id: Id::generate(ctx.now, instance.random.as_ref())?,
        digest: *token.digest(&keyed(instance)).as_bytes(),
        user,
        level,
        created_at: ctx.now,
        seen_at: ctx.now,
        expires_at: ends_by.map_or(ctx.now + life, |ends_by| ends_by.min(ctx.now + life)),
        stepped_up_at: shown_at,
        seal: [0; 32],
    };
    row.seal = seals::of_session(&instance.secrets.pepper, &row);
    changing.tx.insert_session(&row).await?;
    Ok(token)
}

/// Who shows this token, if its session is in force; and that they were seen.
pub async fn look_up(instance: &Instance, token: &SessionToken) -> Result<Option<SignedIn>, Error> {
    let Some((mut row, signed_in)) = find(instance, token).await? else { return Ok(None) };
    let now = instance.clock.now();
    if now.since(row.seen_at) >= SEEN_EVERY {
        row.seen_at = now;
        row.seal = seals::of_session(&instance.secrets.pepper, &row);
        // Another look may have been faster, and the session may have ended: both are well.
        instance.store.touch_session(&row).await?;
    }
    Ok(Some(signed_in))
}

/// Who shows this token, if its session is in force. That they were seen is not noted: what a page does
/// by itself keeps nobody in.
pub async fn look_on(instance: &Instance, token: &SessionToken) -> Result<Option<SignedIn>, Error> {
    Ok(find(instance, token).await?.map(|(_, signed_in)| signed_in))
}

async fn find(
    instance: &Instance,
    token: &SessionToken,
) -> Result<Option<(SessionRow, SignedIn)>, Error> {
    let now = instance.clock.now();
    let digest = token.digest(&keyed(instance));
    let Some(row) = instance.store.session(digest.as_bytes()).await? else { return Ok(None) };
    let people = super::now(instance).await?;
    let Some(user) = people.users.iter().find(|one| one.id == row.user) else { return Ok(None) };
    if !is_in_force(instance, &row, user, now) {
        return Ok(None);
    }
    let decider = super::decider(instance).await?;
    let signed_in = SignedIn { decider: Some(decider), ..signed_in(&row, user) };
    Ok(Some((row, signed_in)))
}

fn signed_in(row: &SessionRow, user: &UserRow) -> SignedIn {
    SignedIn {
        session: row.id,
        user: row.user,
        level: row.level,
        roles: user.roles.clone(),
        decider: None,
        created_at: row.created_at,
        expires_at: row.expires_at,
        stepped_up_until: row.stepped_up_at.map(|at| at + STEP_UP_LIFE),
        source: None,
    }
}

/// Whether a row is a session of ours that has not ended, of a person who may come in.
pub(super) fn is_in_force(
    instance: &Instance,
    row: &SessionRow,
    user: &UserRow,
    now: Timestamp,
) -> bool {
    let seal = seals::of_session(&instance.secrets.pepper, row);
    vault::digests_match(&seal, &row.seal)
        && now < row.expires_at
        && now >= row.created_at
        && now.since(row.seen_at) < IDLE_LIFE
        && user.state == UserState::Active
        && row.created_at >= user.valid_from
}

/// A session as it is listed; nothing of its token.
#[derive(Debug, Clone)]
pub struct Listed {
    pub signed_in: SignedIn,
    pub seen_at: Timestamp,
}

/// The sessions that are in force, oldest first; of everybody, or of one.
pub async fn list(instance: &Instance, of: Option<Id<User>>) -> Result<Vec<Listed>, Error> {
    let people = super::now(instance).await?;
    let now = instance.clock.now();
    let mut rows = instance.store.sessions().await?;
    rows.retain(|row| of.is_none_or(|user| row.user == user));
    let listed = rows.iter().filter_map(|row| {
        let user = people.users.iter().find(|one| one.id == row.user)?;
        let is_shown = is_in_force(instance, row, user, now);
        is_shown.then(|| Listed { signed_in: signed_in(row, user), seen_at: row.seen_at })
    });
    Ok(listed.collect())
}

/// Somebody as of now, by any whole session of theirs that is in force: for what goes on longer than a
/// request, through a step-up that exchanges the session that began it.
pub async fn somebody_now(instance: &Instance, user: Id<User>) -> Result<Option<SignedIn>, Error> {
    let listed = list(instance, Some(user)).await?.into_iter();
    let found = listed.map(|one| one.signed_in).find(|one| one.level == SessionLevel::Full);
    let Some(found) = found else { return Ok(None) };
    let decider = Some(super::decider(instance).await?);
    Ok(Some(SignedIn { decider, ..found }))
}

/// Ends a session: its owner's sign-out, or somebody else's act.
pub async fn end(instance: &Instance, ctx: &OpContext, id: Id<Session>) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    if !changing.tx.delete_session(id).await? {
        return Err(Error::NotFound { kind: "session", name: id.to_string() });
    }
    let what = format!("session {id}");
    changing.record(Change { verb: "session.end", what, ..Change::default() });
    changing.commit().await.map(drop)
}

/// Ends all sessions of a person; how many there were.
pub async fn end_all(instance: &Instance, ctx: &OpContext, user: Id<User>) -> Result<u64, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let ended = changing.tx.delete_sessions_of(user).await?;
    changing.record(Change {
        verb: "session.end_all",
        what: format!("user {user}"),
        details: vec![("sessions", ended.to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(ended)
}

/// Ends all sessions of somebody but the one that asks; how many there were.
pub async fn end_others(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
) -> Result<u64, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let ended = delete_others(instance, &mut changing, signed_in).await?;
    changing.record(Change {
        verb: "session.end_others",
        what: format!("user {}", signed_in.user),
        details: vec![("sessions", ended.to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(ended)
}

pub(crate) async fn delete_others(
    instance: &Instance,
    changing: &mut Changing<'_>,
    signed_in: &SignedIn,
) -> Result<u64, Error> {
    let mut ended = 0;
    for other in instance.store.sessions().await? {
        if other.user == signed_in.user && other.id != signed_in.session {
            ended += u64::from(changing.tx.delete_session(other.id).await?);
        }
    }
    Ok(ended)
}

/// Deletes what has ended, and failures that count no more.
pub async fn tidy(instance: &Instance) -> Result<u64, Error> {
    let now = instance.clock.now();
    let life = i64::try_from(super::sign_in::FAILURES_LIFE.as_micros()).unwrap_or(i64::MAX);
    let failures = Timestamp::from_micros(now.as_micros().saturating_sub(life));
    Ok(instance.store.tidy_people(now, failures, super::sign_in::MAX_FAILURES).await?)
}

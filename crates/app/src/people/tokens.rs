//! Personal access tokens: for a person's own programs, never wider than the person, and only for a
//! time.

use super::{Person, keyed, notices, sessions::SignedIn, users};
use crate::{
    change::{Care, Change, Changing},
    error::Error,
    instance::Instance,
};
use identity::PersonalToken;
use policy::Decider;
use std::{sync::Arc, time::Duration};
use store::{People, TokenRow, UserRow};
use types::{Id, OpContext, SessionLevel, Timestamp, Token, User, UserState};

/// No token lives longer.
pub const MAX_LIFE: Duration = Duration::from_hours(365 * 24);
/// Of somebody whose roles an identity provider decides, and who may never come back to be asked.
pub const MAX_MANAGED_LIFE: Duration = Duration::from_hours(30 * 24);
const MAX_NAME_CHARS: usize = 60;
/// Tokens of one person that are in force at once.
const MAX_TOKENS: usize = 50;

/// A token at the only moment when it is known in clear.
#[derive(Debug)]
pub struct NewToken {
    pub id: Id<Token>,
    pub token: PersonalToken,
    pub expires_at: Timestamp,
}

/// How a token is asked for.
#[derive(Debug)]
pub struct Wanted<'w> {
    pub name: &'w str,
    /// Of the roles that its owner has.
    pub roles: &'w [String],
    pub life: Duration,
}

/// Makes a token: within a session that is stepped up, and never by another token.
///
/// # Errors
/// [`Error::StepUpNeeded`]; [`Error::RoleNotHeld`] for a role that its owner has not.
pub async fn create(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
    wanted: &Wanted<'_>,
) -> Result<NewToken, Error> {
    if signed_in.level != SessionLevel::Full || !signed_in.is_stepped_up(ctx.now) {
        return Err(Error::StepUpNeeded);
    }
    let name = wanted.name.trim();
    if name.is_empty()
        || name.chars().count() > MAX_NAME_CHARS
        || name.chars().any(char::is_control)
    {
        return Err(Error::PersonName { limit: MAX_NAME_CHARS });
    }
    if wanted.life.is_zero() || wanted.life > MAX_LIFE {
        return Err(Error::TokenLife { limit: MAX_LIFE });
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = Person::find(instance, &mut changing, signed_in.user).await?;
    let mut roles = wanted.roles.to_vec();
    roles.sort();
    roles.dedup();
    if let Some(role) = roles.iter().find(|role| !person.row.roles.contains(role)) {
        return Err(Error::RoleNotHeld { name: role.clone() });
    }
    if roles.is_empty() {
        return Err(Error::RolesMissing);
    }
    let people = changing.tx.everything().await?.people;
    if users::is_managed(&people, person.row.id) && wanted.life > MAX_MANAGED_LIFE {
        return Err(Error::TokenLife { limit: MAX_MANAGED_LIFE });
    }
    let in_force = people.tokens.iter().filter(|one| {
        one.user == person.row.id && one.revoked_at.is_none() && ctx.now < one.expires_at
    });
    if in_force.count() >= MAX_TOKENS {
        return Err(Error::TooManyTokens { limit: MAX_TOKENS });
    }
    let token = PersonalToken::generate(instance.random.as_ref())?;
    let row = TokenRow {
        id: Id::generate(ctx.now, instance.random.as_ref())?,
        digest: *token.digest(&keyed(instance)).as_bytes(),
        user: person.row.id,
        name: name.to_owned(),
        roles,
        created_at: ctx.now,
        expires_at: ctx.now + wanted.life,
        revoked_at: None,
    };
    changing.tx.put_token(&row).await?;
    changing.record(Change {
        verb: "token.create",
        what: format!("token {}", row.id),
        details: vec![
            ("user", row.user.to_string()),
            ("roles", row.roles.join(", ")),
            ("expires_at", row.expires_at.to_string()),
        ],
        ..Change::default()
    });
    let what = format!("the personal access token \u{201c}{}\u{201d} was made", row.name);
    notices::tell(instance, &mut changing, ctx, row.user, what).await?;
    changing.commit().await?;
    Ok(NewToken { id: row.id, token, expires_at: row.expires_at })
}

/// Who shows a personal token that is in force.
#[derive(Debug, Clone)]
pub struct Bearer {
    pub token: Id<Token>,
    pub user: Id<User>,
    /// Of the token's roles those that its owner has now.
    pub roles: Vec<String>,
    /// What they and the policies of this moment decide.
    pub decider: Arc<Decider>,
}

pub async fn look_up(instance: &Instance, token: &PersonalToken) -> Result<Option<Bearer>, Error> {
    let people = super::now(instance).await?;
    let now = instance.clock.now();
    let digest = token.digest(&keyed(instance));
    let found = people.tokens.iter().find(|row| row.digest == *digest.as_bytes());
    let Some(row) = found else { return Ok(None) };
    let Some(owner) = owner_in_force(&people, row, now) else { return Ok(None) };
    let decider = super::decider(instance).await?;
    Ok(Some(Bearer {
        decider,
        token: row.id,
        user: row.user,
        roles: row.roles.iter().filter(|role| owner.roles.contains(role)).cloned().collect(),
    }))
}

/// Whose token it is, if it counts now: also its owner may have ended, or begun anew.
fn owner_in_force<'p>(people: &'p People, row: &TokenRow, now: Timestamp) -> Option<&'p UserRow> {
    let is_open = row.revoked_at.is_none() && now < row.expires_at;
    let owner = people.users.iter().find(|one| one.id == row.user)?;
    let is_in = owner.state == UserState::Active && row.created_at >= owner.valid_from;
    (is_open && is_in).then_some(owner)
}

/// Ends a token; of a person's own, or of anybody's.
pub async fn revoke(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<Token>,
    of: Option<Id<User>>,
) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let people = changing.tx.everything().await?.people;
    let found = people.tokens.into_iter().find(|row| row.id == id);
    let found = found.filter(|row| of.is_none_or(|user| row.user == user));
    let row = found.ok_or_else(|| Error::NotFound { kind: "token", name: id.to_string() })?;
    if row.revoked_at.is_some() {
        return Ok(());
    }
    changing.tx.put_token(&TokenRow { revoked_at: Some(ctx.now), ..row }).await?;
    changing.record(Change {
        verb: "token.revoke",
        what: format!("token {id}"),
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// A token as it is listed.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: Id<Token>,
    pub user: Id<User>,
    pub name: String,
    pub roles: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub is_in_force: bool,
}

/// The tokens of one person, or of everybody.
pub async fn list(instance: &Instance, of: Option<Id<User>>) -> Result<Vec<Listed>, Error> {
    let people = super::now(instance).await?;
    let now = instance.clock.now();
    let rows = people.tokens.iter().filter(|row| of.is_none_or(|user| row.user == user));
    let listed = rows.map(|row| Listed {
        id: row.id,
        user: row.user,
        name: row.name.clone(),
        roles: row.roles.clone(),
        created_at: row.created_at,
        expires_at: row.expires_at,
        is_in_force: owner_in_force(&people, row, now).is_some(),
    });
    Ok(listed.collect())
}

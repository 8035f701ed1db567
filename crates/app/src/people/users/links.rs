//! Links that work once: the first administrator's, invitations and resets, from making to use.

use super::{erase, hashed, is_managed, known_roles, new_user, opened, person_name, user_change};
use crate::{
    change::{Care, Change, Changing},
    error::Error,
    instance::Instance,
    people::{
        ADMINISTRATOR, EMAIL, FACTOR, NAME, PASSWORD, Person, address_digest, is_administrator,
        keyed, notices, sessions, sign_in,
    },
    seals,
};
use identity::{EmailAddress, LinkToken, Password, SessionToken};
use std::time::Duration;
use store::{LinkRow, People, UserRow};
use types::{Id, LinkPurpose, OpContext, SecretBytes, SessionLevel, Timestamp, User, UserState};

/// How long the first administrator's link may wait.
pub const SETUP_LIFE: Duration = Duration::from_mins(15);
/// How long an invitation or a reset may wait.
pub const INVITE_LIFE: Duration = Duration::from_hours(7 * 24);

/// A link at the only moment when it is known in clear.
#[derive(Debug)]
pub struct NewLink {
    pub user: Id<User>,
    pub purpose: LinkPurpose,
    pub token: LinkToken,
    pub expires_at: Timestamp,
}

/// The link by which the first administrator sets up an account. One that was made before counts no
/// more.
///
/// # Errors
/// [`Error::AdministratorExists`] once there is one.
pub async fn first_administrator(instance: &Instance, ctx: &OpContext) -> Result<NewLink, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    if people.users.iter().any(is_administrator) {
        return Err(Error::AdministratorExists);
    }
    for waiting in setups(&people) {
        erase(&mut changing, &waiting).await?;
    }
    // The address is the person's own to give.
    let mut unknown = [0; 32];
    instance.random.fill(&mut unknown)?;
    let roles = vec![ADMINISTRATOR.to_owned()];
    let row = new_user(instance, &mut changing, ctx, unknown, roles).await?;
    let link = new_link(instance, &mut changing, ctx, row.id, LinkPurpose::Setup).await?;
    changing.record(user_change("user.setup", &row));
    changing.commit().await?;
    Ok(link)
}

/// Those who were begun by a setup link and never came.
fn setups(people: &People) -> Vec<UserRow> {
    let is_waiting = |row: &&UserRow| {
        let mut links = people.links.iter().filter(|link| link.user == row.id);
        row.state == UserState::Invited && links.any(|link| link.purpose == LinkPurpose::Setup)
    };
    people.users.iter().filter(is_waiting).cloned().collect()
}

/// Invites a person.
///
/// # Errors
/// [`Error::Exists`] if the address is somebody's; [`Error::NotFound`] for a role that there is not.
pub async fn invite(
    instance: &Instance,
    ctx: &OpContext,
    address: &EmailAddress,
    roles: &[String],
) -> Result<NewLink, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    let roles = known_roles(&people, roles)?;
    let lookup = address_digest(instance, address);
    if people.users.iter().any(|row| row.lookup == lookup) {
        return Err(Error::Exists { kind: "user", name: address.as_str().to_owned() });
    }
    let row = new_user(instance, &mut changing, ctx, lookup, roles).await?;
    let person = Person::find(instance, &mut changing, row.id).await?;
    let value = SecretBytes::new(address.as_str().as_bytes().to_vec());
    person.seal(instance, &mut changing, person.place(EMAIL), &value).await?;
    let link = new_link(instance, &mut changing, ctx, row.id, LinkPurpose::Invite).await?;
    changing.record(user_change("user.invite", &row));
    changing.commit().await?;
    Ok(link)
}

/// A new link for somebody who was invited, or who lost password or factors. Links before it count no
/// more; a reset takes effect when the link is used.
pub async fn renew_link(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<User>,
) -> Result<NewLink, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = Person::find(instance, &mut changing, id).await?;
    if is_managed(&changing.tx.everything().await?.people, id) {
        return Err(Error::ManagedElsewhere);
    }
    let purpose = match person.row.state {
        UserState::Invited => LinkPurpose::Invite,
        UserState::Active => LinkPurpose::Reset,
        UserState::Disabled => return Err(Error::UserDisabled),
    };
    let link = new_link(instance, &mut changing, ctx, id, purpose).await?;
    changing.record(user_change("user.link", &person.row));
    changing.commit().await?;
    Ok(link)
}

async fn new_link(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    user: Id<User>,
    purpose: LinkPurpose,
) -> Result<NewLink, Error> {
    end_links(changing, ctx, user).await?;
    let token = LinkToken::generate(instance.random.as_ref())?;
    let life = if purpose == LinkPurpose::Setup { SETUP_LIFE } else { INVITE_LIFE };
    let expires_at = ctx.now + life;
    let row = LinkRow {
        id: Id::generate(ctx.now, instance.random.as_ref())?,
        digest: *token.digest(&keyed(instance)).as_bytes(),
        purpose,
        user,
        created_at: ctx.now,
        expires_at,
        used_at: None,
    };
    changing.tx.put_link(&row).await?;
    Ok(NewLink { user, purpose, token, expires_at })
}

pub(super) async fn end_links(
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    user: Id<User>,
) -> Result<(), Error> {
    let people = changing.tx.everything().await?.people;
    let open = people.links.into_iter().filter(|one| one.user == user && one.used_at.is_none());
    for link in open {
        changing.tx.put_link(&LinkRow { used_at: Some(ctx.now), ..link }).await?;
    }
    Ok(())
}

/// What a link is for, if it counts.
#[derive(Debug)]
pub struct OpenLink {
    pub purpose: LinkPurpose,
    /// Whom it was sent to; the first administrator's own to give.
    pub address: Option<String>,
    pub expires_at: Timestamp,
}

/// Looks at a link without using it.
///
/// # Errors
/// [`Error::LinkUnknown`] for one that is unknown, was used, or has expired.
pub async fn link(instance: &Instance, token: &LinkToken) -> Result<OpenLink, Error> {
    let rows = seals::load(instance).await?;
    let found = open_link(instance, &rows.people, token, instance.clock.now())?;
    let user = rows.people.users.iter().find(|row| row.id == found.user);
    let address = match user {
        Some(user) if found.purpose != LinkPurpose::Setup => opened(instance, &rows, user, EMAIL)?,
        _ => None,
    };
    Ok(OpenLink { purpose: found.purpose, address, expires_at: found.expires_at })
}

fn open_link(
    instance: &Instance,
    people: &People,
    token: &LinkToken,
    now: Timestamp,
) -> Result<LinkRow, Error> {
    let digest = token.digest(&keyed(instance));
    let found = people.links.iter().find(|row| row.digest == *digest.as_bytes());
    let is_open = |row: &&LinkRow| row.used_at.is_none() && now < row.expires_at;
    found.filter(is_open).cloned().ok_or(Error::LinkUnknown)
}

/// What a person gives to use a link.
#[derive(Debug)]
pub struct Acceptance {
    /// Of the first administrator alone.
    pub address: Option<EmailAddress>,
    /// How others shall see them; may be empty.
    pub name: String,
    pub password: Password,
}

/// Uses a link: from now on its person comes in by this password, and has to enrol a second factor
/// before anything else. A reset ends all sessions and tokens, and gives up all factors and what is linked.
pub async fn accept(
    instance: &Instance,
    ctx: &OpContext,
    token: &LinkToken,
    given: Acceptance,
) -> Result<SessionToken, Error> {
    let name = person_name(&given.name)?;
    let open = link(instance, token).await?;
    let address = match (open.purpose, given.address) {
        (LinkPurpose::Setup, Some(address)) => address,
        (LinkPurpose::Setup, None) => return Err(Error::AddressMissing),
        _ => EmailAddress::parse(open.address.as_deref().unwrap_or_default())?,
    };
    let hash = hashed(instance, given.password, &name, &address).await?;

    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    // Somebody may have used it while the password was hashed.
    let link = open_link(instance, &people, token, ctx.now)?;
    if link.purpose == LinkPurpose::Setup && people.users.iter().any(is_administrator) {
        return Err(Error::AdministratorExists);
    }
    let mut person = Person::find(instance, &mut changing, link.user).await?;
    if person.row.state == UserState::Disabled {
        return Err(Error::LinkUnknown);
    }
    let lookup = address_digest(instance, &address);
    if people.users.iter().any(|row| row.lookup == lookup && row.id != person.row.id) {
        return Err(Error::Exists { kind: "user", name: address.as_str().to_owned() });
    }
    let own = people.identities.iter().filter(|one| one.user == person.row.id);
    for identity in own {
        changing.tx.delete_identity(identity.id).await?;
    }
    for factor in &person.factors {
        changing.tx.delete_sealed(FACTOR, &factor.id.to_bytes()).await?;
        changing.tx.delete_factor(factor.id).await?;
    }
    let ended = changing.tx.delete_sessions_of(person.row.id).await?;
    person.row.state = UserState::Active;
    person.row.lookup = lookup;
    person.row.valid_from = ctx.now;
    changing.tx.put_user(&person.row).await?;
    for (column, value) in [
        (EMAIL, SecretBytes::new(address.as_str().as_bytes().to_vec())),
        (NAME, SecretBytes::new(name.into_bytes())),
        (PASSWORD, hash),
    ] {
        person.seal(instance, &mut changing, person.place(column), &value).await?;
    }
    end_links(&mut changing, ctx, person.row.id).await?;
    sign_in::forget_failures(instance, &mut changing, &person.row).await?;
    if link.purpose == LinkPurpose::Reset {
        let what = "a link gave you a new password, and gave up your factors".to_owned();
        notices::tell(instance, &mut changing, ctx, person.row.id, what).await?;
    }
    let session =
        sessions::begin(instance, &mut changing, ctx, person.row.id, SessionLevel::Enrol).await?;
    changing.record(Change {
        details: vec![
            ("link", link.id.to_string()),
            ("purpose", link.purpose.to_string()),
            ("sessions_ended", ended.to_string()),
        ],
        ..user_change("user.accept", &person.row)
    });
    changing.commit().await?;
    Ok(session)
}

//! Accounts: the first administrator, invitations, roles, and the end of an account.

use super::{
    ADMINISTRATOR, EMAIL, NAME, PASSWORD, Person, USER, address_digest, is_administrator,
    is_second, keyed, notices, sessions, sign_in, text,
};
use crate::{
    change::{Care, Change, Changing},
    customers,
    error::Error,
    instance::Instance,
    seals,
};
use identity::{Accepted, EmailAddress, LinkToken, Password, SessionToken};
use std::{collections::BTreeMap, time::Duration};
use store::{LinkRow, People, UserRow};
use types::{Id, LinkPurpose, OpContext, SecretBytes, SessionLevel, Timestamp, User, UserState};

/// Roles that every installation has.
pub const BUILT_IN_ROLES: [&str; 5] =
    [ADMINISTRATOR, "security", "integrator", "auditor", "read-only"];
/// How long the first administrator's link may wait.
pub const SETUP_LIFE: Duration = Duration::from_mins(15);
/// How long an invitation or a reset may wait.
pub const INVITE_LIFE: Duration = Duration::from_hours(7 * 24);
const MAX_NAME_CHARS: usize = 100;

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

/// Whether anybody can administer.
pub async fn has_administrator(instance: &Instance) -> Result<bool, Error> {
    Ok(super::now(instance).await?.users.iter().any(is_administrator))
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

pub(crate) async fn new_user(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    lookup: [u8; 32],
    roles: Vec<String>,
) -> Result<UserRow, Error> {
    let id: Id<User> = Id::generate(ctx.now, instance.random.as_ref())?;
    let own = instance.secrets.pepper.lookup_digest("user key", &id.to_string());
    let key = customers::create(instance, &mut changing.tx, ctx, own, &id.to_string()).await?;
    let row = UserRow {
        id,
        customer: key.id,
        lookup,
        state: UserState::Invited,
        roles,
        created_at: ctx.now,
        valid_from: ctx.now,
    };
    changing.tx.put_user(&row).await?;
    Ok(row)
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

async fn end_links(
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

/// Gives oneself another password: by the one before, within a session that is stepped up. All other
/// sessions end.
///
/// # Errors
/// [`Error::StepUpNeeded`]; [`Error::PasswordWrong`] if the one before is another;
/// [`Error::Password`] if the new one is none.
pub async fn change_password(
    instance: &Instance,
    ctx: &OpContext,
    source: sign_in::Source,
    signed_in: &sessions::SignedIn,
    before: Password,
    new: Password,
) -> Result<(), Error> {
    if !signed_in.is_stepped_up(ctx.now) {
        return Err(Error::StepUpNeeded);
    }
    // Whoever has an address at a provider has not this one's password.
    if is_managed(&*super::now(instance).await?, signed_in.user) {
        return Err(Error::ManagedElsewhere);
    }
    let missing = || Error::NotFound { kind: "user", name: signed_in.user.to_string() };
    let listed = list(instance).await?.into_iter().find(|one| one.id == signed_in.user);
    let listed = listed.ok_or_else(missing)?;
    let address = EmailAddress::parse(listed.address.as_deref().unwrap_or_default())?;
    let attempt = sign_in::knows_password(instance, ctx, source, &address, before).await?;
    let name = listed.name.unwrap_or_default();
    let hash = hashed(instance, new, &name, &address).await?;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = Person::find(instance, &mut changing, signed_in.user).await?;
    if person.row.state != UserState::Active {
        return Err(missing());
    }
    person.seal(instance, &mut changing, person.place(PASSWORD), &hash).await?;
    let ended = sessions::delete_others(instance, &mut changing, signed_in).await?;
    changing.record(Change {
        details: vec![("sessions", ended.to_string())],
        ..user_change("user.password", &person.row)
    });
    let what = "your password was changed".to_owned();
    notices::tell(instance, &mut changing, ctx, person.row.id, what).await?;
    attempt.forget(instance, &mut changing, person.row.id).await?;
    changing.commit().await.map(drop)
}

/// The hash of a password that is good enough, and no word of the place or the person.
async fn hashed(
    instance: &Instance,
    password: Password,
    name: &str,
    address: &EmailAddress,
) -> Result<SecretBytes, Error> {
    let context = [instance.id.to_string(), name.to_owned(), address.as_str().to_owned()];
    let context: Vec<&str> =
        ["weirgate"].into_iter().chain(context.iter().map(String::as_str)).collect();
    let accepted: Accepted = password.accept(&context)?;
    sign_in::hashed(instance, accepted).await
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
        changing.tx.delete_sealed(super::FACTOR, &factor.id.to_bytes()).await?;
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

/// Keeps a person out, at once and everywhere, or lets them in again.
pub async fn set_disabled(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<User>,
    is_disabled: bool,
) -> Result<(), Error> {
    let care = if is_disabled { Care::Ending } else { Care::Whole };
    let mut changing = Changing::begin(instance, ctx, care).await?;
    let mut person = Person::find(instance, &mut changing, id).await?;
    let state = match (person.row.state, is_disabled) {
        (UserState::Disabled, false) => UserState::Active,
        (UserState::Active, true) => UserState::Disabled,
        (UserState::Invited, _) => return Err(Error::UserInvited),
        _ => return Ok(()),
    };
    if is_disabled {
        keep_an_administrator(&mut changing, &person.row).await?;
    }
    person.row.state = state;
    person.row.valid_from = ctx.now;
    changing.tx.put_user(&person.row).await?;
    let ended = changing.tx.delete_sessions_of(id).await?;
    end_links(&mut changing, ctx, id).await?;
    let verb = if is_disabled { "user.disable" } else { "user.enable" };
    changing.record(Change {
        details: vec![("sessions_ended", ended.to_string())],
        ..user_change(verb, &person.row)
    });
    changing.commit().await.map(drop)
}

/// Changes what a person may do, from the next request on.
pub async fn set_roles(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<User>,
    roles: &[String],
) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let people = changing.tx.everything().await?.people;
    let roles = known_roles(&people, roles)?;
    let mut person = Person::find(instance, &mut changing, id).await?;
    if is_managed(&people, id) {
        return Err(Error::ManagedElsewhere);
    }
    if !roles.iter().any(|role| role == ADMINISTRATOR) {
        keep_an_administrator(&mut changing, &person.row).await?;
    }
    let before = std::mem::replace(&mut person.row.roles, roles);
    changing.tx.put_user(&person.row).await?;
    changing.record(Change {
        details: vec![("before", before.join(", ")), ("roles", person.row.roles.join(", "))],
        ..user_change("user.roles", &person.row)
    });
    changing.commit().await.map(drop)
}

/// Takes one role away from a person, who may be left with none. As part of a change.
pub(crate) async fn drop_role(
    instance: &Instance,
    changing: &mut Changing<'_>,
    id: Id<User>,
    role: &str,
) -> Result<(), Error> {
    let mut person = Person::find(instance, changing, id).await?;
    if role == ADMINISTRATOR {
        keep_an_administrator(changing, &person.row).await?;
    }
    let before = person.row.roles.join(", ");
    person.row.roles.retain(|one| one != role);
    changing.tx.put_user(&person.row).await?;
    changing.record(Change {
        details: vec![("before", before), ("roles", person.row.roles.join(", "))],
        ..user_change("user.roles", &person.row)
    });
    Ok(())
}

/// Removes a person, with the key that all that is personal of them lies under.
pub async fn remove(instance: &Instance, ctx: &OpContext, id: Id<User>) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = Person::find(instance, &mut changing, id).await?;
    keep_an_administrator(&mut changing, &person.row).await?;
    erase(&mut changing, &person.row).await?;
    changing.record(user_change("user.remove", &person.row));
    changing.commit().await.map(drop)
}

async fn erase(changing: &mut Changing<'_>, row: &UserRow) -> Result<(), Error> {
    changing.tx.delete_user(row.id).await?;
    Ok(changing.tx.delete_customer(row.customer).await?)
}

/// # Errors
/// [`Error::LastAdministrator`] if nobody else could administer.
pub(crate) async fn keep_an_administrator(
    changing: &mut Changing<'_>,
    row: &UserRow,
) -> Result<(), Error> {
    if !is_administrator(row) {
        return Ok(());
    }
    let people = changing.tx.everything().await?.people;
    // Of those who do not count, none is the last that does.
    if is_managed(&people, row.id) {
        return Ok(());
    }
    // Who has no second factor yet cannot act; and who comes in by a provider alone does not once it is
    // out of reach.
    let can_act = |other: &&UserRow| {
        other.id != row.id
            && is_administrator(other)
            && !is_managed(&people, other.id)
            && people.factors.iter().any(|one| one.user == other.id && is_second(one))
    };
    if people.users.iter().any(|other| can_act(&other)) {
        Ok(())
    } else {
        Err(Error::LastAdministrator)
    }
}

/// Whether an identity provider made the account, and decides its roles.
pub(crate) fn is_managed(people: &People, id: Id<User>) -> bool {
    people.identities.iter().any(|one| one.user == id && one.is_managed)
}

fn providers_of(people: &People, id: Id<User>) -> Vec<String> {
    let own = people.identities.iter().filter(|one| one.user == id);
    let named =
        own.filter_map(|one| people.providers.iter().find(|row| Some(row.id) == one.provider));
    named.map(|row| row.name.to_string()).collect()
}

/// A person as an administrator sees them.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: Id<User>,
    /// `None` of a first administrator who has not come yet.
    pub address: Option<String>,
    pub name: Option<String>,
    pub state: UserState,
    pub roles: Vec<String>,
    pub has_second_factor: bool,
    /// The names of the identity providers that they sign in by.
    pub signs_in_by: Vec<String>,
    pub created_at: Timestamp,
}

/// Everybody, in the order in which they were added.
pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let rows = seals::load_whole(instance).await?;
    let listed = rows.people.users.iter().map(|row| {
        Ok(Listed {
            id: row.id,
            address: opened(instance, &rows, row, EMAIL)?,
            name: opened(instance, &rows, row, NAME)?.filter(|name| !name.is_empty()),
            state: row.state,
            roles: row.roles.clone(),
            has_second_factor: rows
                .people
                .factors
                .iter()
                .any(|one| one.user == row.id && is_second(one)),
            signs_in_by: providers_of(&rows.people, row.id),
            created_at: row.created_at,
        })
    });
    listed.collect()
}

/// Everybody's address, with whose it is.
pub async fn addresses(instance: &Instance) -> Result<BTreeMap<String, Id<User>>, Error> {
    let rows = seals::load(instance).await?;
    let mut found = BTreeMap::new();
    for row in &rows.people.users {
        if let Some(address) = opened(instance, &rows, row, EMAIL)? {
            found.insert(address, row.id);
        }
    }
    Ok(found)
}

/// The address of one person; `None` of nobody.
pub async fn address(instance: &Instance, id: Id<User>) -> Result<Option<String>, Error> {
    let rows = seals::load(instance).await?;
    match rows.people.users.iter().find(|row| row.id == id) {
        Some(row) => opened(instance, &rows, row, EMAIL),
        None => Ok(None),
    }
}

/// A person by id, or by address.
pub async fn find(instance: &Instance, given: &str) -> Result<Id<User>, Error> {
    let people = super::now(instance).await?;
    // What was given may be something else that was pasted here.
    let not_found = || Error::NotFound { kind: "user", name: "of that address or id".to_owned() };
    let found = if let Ok(id) = given.parse::<Id<User>>() {
        people.users.iter().find(|row| row.id == id)
    } else {
        let address = EmailAddress::parse(given).map_err(|_| not_found())?;
        let lookup = address_digest(instance, &address);
        people.users.iter().find(|row| row.lookup == lookup)
    };
    found.map(|row| row.id).ok_or_else(not_found)
}

pub(crate) fn opened(
    instance: &Instance,
    rows: &store::Everything,
    row: &UserRow,
    column: &str,
) -> Result<Option<String>, Error> {
    let customer = rows.customers.iter().find(|one| one.id == row.customer);
    let missing = Error::Internal { what: "a person's key is missing" };
    let key = customers::open(instance, customer.ok_or(missing)?)?.key;
    let sealed = rows
        .sealed
        .iter()
        .find(|one| one.table == USER && one.record == row.id.to_bytes() && one.column == column);
    sealed.map(|one| instance.open_sealed(&key, one).map(|value| text(&value))).transpose()
}

pub(crate) fn known_roles(people: &People, given: &[String]) -> Result<Vec<String>, Error> {
    let mut roles: Vec<String> = given.to_vec();
    roles.sort();
    roles.dedup();
    for role in &roles {
        let is_known = BUILT_IN_ROLES.contains(&role.as_str())
            || people.roles.iter().any(|one| one.name.as_str() == role);
        if !is_known {
            return Err(Error::NotFound { kind: "role", name: "of that name".to_owned() });
        }
    }
    if roles.is_empty() {
        return Err(Error::RolesMissing);
    }
    Ok(roles)
}

pub(crate) fn person_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(Error::PersonName { limit: MAX_NAME_CHARS });
    }
    Ok(name.to_owned())
}

fn user_change(verb: &'static str, row: &UserRow) -> Change {
    Change {
        verb,
        what: format!("user {}", row.id),
        details: vec![("roles", row.roles.join(", "))],
        ..Change::default()
    }
}

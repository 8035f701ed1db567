//! Accounts: roles, passwords, and the end of an account; `links` has how they begin.

mod links;

pub use links::{
    Acceptance, INVITE_LIFE, NewLink, OpenLink, SETUP_LIFE, accept, first_administrator, invite,
    link, renew_link,
};

use super::{
    ADMINISTRATOR, EMAIL, NAME, PASSWORD, Person, USER, address_digest, is_administrator,
    is_second, notices, sessions, sign_in, text,
};
use crate::{
    change::{Care, Change, Changing},
    customers,
    error::Error,
    instance::Instance,
    seals,
};
use identity::{Accepted, EmailAddress, Password};
use links::end_links;
use std::collections::BTreeMap;
use store::{People, UserRow};
use types::{Id, OpContext, SecretBytes, Timestamp, User, UserState};

/// Roles that every installation has.
pub const BUILT_IN_ROLES: [&str; 5] =
    [ADMINISTRATOR, "security", "integrator", "auditor", "read-only"];
const MAX_NAME_CHARS: usize = 100;

/// Whether anybody can administer.
pub async fn has_administrator(instance: &Instance) -> Result<bool, Error> {
    Ok(super::now(instance).await?.users.iter().any(is_administrator))
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

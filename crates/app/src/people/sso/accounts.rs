//! Whose account it is that a provider speaks of, and what becomes of it.

use super::{
    Back,
    providers::{Settings, ShownAt},
};
use crate::{
    change::{Care, Change, Changing, hex},
    error::Error,
    instance::Instance,
    people::{
        self, ADMINISTRATOR, EMAIL, NAME, Person, notices,
        sessions::{self, SignedIn},
        sign_in::{BY_PROVIDER, came},
        users,
    },
};
use identity::{EmailAddress, oidc::Claims};
use store::{IdentityProviderRow, IdentityRow, People};
use types::{
    Id, Identity, IdentityProvider, OpContext, SecretBytes, Session, SessionLevel, Slug, Timestamp,
    User, UserState,
};

pub(super) fn subject_digest(instance: &Instance, issuer: &str, subject: &str) -> [u8; 32] {
    let text = format!("{}\n{issuer}\n{subject}", issuer.len());
    instance.secrets.pepper.lookup_digest("sso subject", &text)
}

/// A session that is in force still.
pub(super) async fn own_session(instance: &Instance, id: Id<Session>) -> Result<SignedIn, Error> {
    let listed = sessions::list(instance, None).await?;
    let found = listed.into_iter().find(|one| one.signed_in.session == id);
    found.map(|one| one.signed_in).ok_or(Error::SignInRefused)
}

/// The person of an identity, with what the provider says of them today. Whoever is kept out is refused;
/// and from whom the provider takes all roles, all that began before is taken, too.
pub(super) async fn entering<'i>(
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
pub(super) fn roles_now(people: &People, settings: &Settings, claims: &Claims) -> Vec<String> {
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
pub(super) async fn new_person(
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
pub(super) async fn link(
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
    let what = format!("sign-in by {} was linked", provider.name);
    notices::tell(instance, changing, ctx, user, what).await
}

pub(super) async fn come_in(
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
    let people = people::now(instance).await?;
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
    let what = "sign-in by an identity provider was unlinked".to_owned();
    notices::tell(instance, &mut changing, ctx, signed_in.user, what).await?;
    changing.commit().await.map(drop)
}

//! Which identity providers there are, and what is set of each.

use super::Web;
use crate::{
    change::{Care, Change, Changing},
    customers,
    error::Error,
    instance::Instance,
    people::{self, ADMINISTRATOR, Person, text, users},
    seals,
};
use identity::oidc::{Issuer, SecondFactor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{IdentityProviderRow, IdentityRow, People};
use types::{Id, IdentityProvider, OpContext, SecretBytes, SecretText, Slug, Timestamp, UserState};

/// Where a client's secret is sealed.
const TABLE: &str = "identity_provider";
const SECRET: &str = "client_secret";
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
    pub(super) fn second_factor(&self) -> SecondFactor {
        match &self.second_factor {
            ShownAt::Provider { amr, acr } => {
                SecondFactor::Provider { amr: amr.clone(), acr: acr.clone() }
            }
            ShownAt::Weirgate => SecondFactor::Here,
        }
    }

    pub(super) fn acr_values(&self) -> &[String] {
        match &self.second_factor {
            ShownAt::Provider { acr, .. } => acr,
            ShownAt::Weirgate => &[],
        }
    }

    pub(super) fn read(row: &IdentityProviderRow) -> Result<Self, Error> {
        let damaged = Error::Internal { what: "an identity provider's settings are damaged" };
        serde_json::from_str(&row.body).map_err(|_| damaged)
    }

    /// The roles that somebody's groups bring.
    pub(super) fn roles_of(&self, groups: &[String]) -> Vec<String> {
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
    let people = people::now(instance).await?;
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
    let people = people::now(instance).await?;
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

pub(super) fn named<'p>(people: &'p People, name: &Slug) -> Result<&'p IdentityProviderRow, Error> {
    let found = people.providers.iter().find(|row| row.name == *name);
    found.ok_or(Error::NameUnknown { kind: "identity provider" })
}

pub(super) async fn client_secret(
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

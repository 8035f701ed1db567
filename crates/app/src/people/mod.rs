//! People: who administers, how they come in, and what they hold.
//!
//! What is personal of a person stands sealed under a key of that person's own, and goes with it.

pub mod factors;
pub mod notices;
pub mod passkeys;
pub mod sessions;
pub mod sign_in;
pub mod sso;
pub mod tokens;
pub mod users;

#[cfg(test)]
pub(crate) mod managed_tests;
#[cfg(test)]
mod sso_tests;
#[cfg(test)]
pub(crate) mod tests;

use crate::{change::Changing, customers, error::Error, instance::Instance, rules, seals};
use policy::Decider;
use std::sync::Arc;
use store::{FactorRow, People, SealedRow, UserRow};
use tokio::sync::{Mutex, Semaphore};
use types::{FactorKind, Id, SecretBytes, User, UserState};
use vault::CustomerKey;

/// Where what is personal of a person is sealed.
pub(crate) const USER: &str = "user_account";
pub(crate) const FACTOR: &str = "user_factor";
pub(crate) const EMAIL: &str = "email";
pub(crate) const NAME: &str = "name";
pub(crate) const PASSWORD: &str = "password";
pub(crate) const SEED: &str = "seed";

/// The one role whose last bearer cannot be taken away.
pub const ADMINISTRATOR: &str = "administrator";

/// A factor that was begun, and does not count before its owner has shown that it works.
pub(crate) const PENDING: &str = "pending";

/// What a process keeps of people.
#[derive(Debug)]
pub(crate) struct Desk {
    /// People as they were at a generation of the store.
    people: Mutex<Option<Known>>,
    /// Places for those whose passwords are hashed.
    hashing: Semaphore,
    /// Passkeys that browsers were asked for.
    ceremonies: passkeys::Ceremonies,
}

/// People at a generation, and what their roles and policies decide.
#[derive(Debug, Clone)]
struct Known {
    generation: u64,
    people: Arc<People>,
    /// The name of what is broken, if anything is: then nothing is decided.
    decider: Result<Arc<Decider>, String>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            people: Mutex::default(),
            hashing: Semaphore::new(sign_in::HASHES_AT_ONCE),
            ceremonies: passkeys::Ceremonies::default(),
        }
    }
}

/// People as they are now, judged: read again only after something was changed.
///
/// Where any row of people is not as it was left, there is nobody.
pub(crate) async fn now(instance: &Instance) -> Result<Arc<People>, Error> {
    Ok(known(instance).await?.people)
}

/// What roles and policies decide now.
pub(crate) async fn decider(instance: &Instance) -> Result<Arc<Decider>, Error> {
    known(instance).await?.decider.map_err(|name| Error::RuleBroken { name })
}

async fn known(instance: &Instance) -> Result<Known, Error> {
    let generation = instance.store.generation().await?;
    let mut known = instance.desk.people.lock().await;
    if let Some(known) = known.as_ref().filter(|known| known.generation == generation) {
        return Ok(known.clone());
    }
    let rows = seals::load(instance).await?;
    let decider = match rules::decider_of(&rows.people) {
        Ok(decider) => Ok(Arc::new(decider)),
        Err(Error::RuleBroken { name }) => Err(name),
        Err(other) => return Err(other),
    };
    let found = Known { generation: rows.generation, people: Arc::new(rows.people), decider };
    *known = Some(found.clone());
    Ok(found)
}

/// What a change finds of one person.
#[derive(Debug)]
pub(crate) struct Person {
    pub row: UserRow,
    pub factors: Vec<FactorRow>,
    pub key: CustomerKey,
}

impl Person {
    /// The person of this id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub(crate) async fn find(
        instance: &Instance,
        changing: &mut Changing<'_>,
        id: Id<User>,
    ) -> Result<Self, Error> {
        let found = Self::matching(instance, changing, |row| row.id == id).await?;
        found.ok_or_else(|| Error::NotFound { kind: "user", name: id.to_string() })
    }

    pub(crate) async fn matching(
        instance: &Instance,
        changing: &mut Changing<'_>,
        is_meant: impl Fn(&UserRow) -> bool,
    ) -> Result<Option<Self>, Error> {
        let rows = changing.tx.everything().await?;
        let Some(row) = rows.people.users.into_iter().find(|row| is_meant(row)) else {
            return Ok(None);
        };
        let customer = rows.customers.iter().find(|one| one.id == row.customer);
        let missing = Error::Internal { what: "a person's key is missing" };
        let key = customers::open(instance, customer.ok_or(missing)?)?.key;
        let factors = rows.people.factors.into_iter().filter(|one| one.user == row.id).collect();
        Ok(Some(Self { row, factors, key }))
    }

    /// Whether a factor beside the password is in force; codes for recovery alone are none.
    pub(crate) fn has_second_factor(&self) -> bool {
        self.factors.iter().any(is_second)
    }

    /// What is sealed of the person.
    pub(crate) async fn opened(
        &self,
        instance: &Instance,
        changing: &mut Changing<'_>,
        (table, record, column): (&str, [u8; 16], &str),
    ) -> Result<Option<SecretBytes>, Error> {
        let row = changing.tx.sealed(table, &record, column).await?;
        row.map(|row| instance.open_sealed(&self.key, &row)).transpose()
    }

    /// Seals it anew.
    pub(crate) async fn seal(
        &self,
        instance: &Instance,
        changing: &mut Changing<'_>,
        (table, record, column): (&str, [u8; 16], &str),
        value: &SecretBytes,
    ) -> Result<(), Error> {
        let before = changing.tx.sealed(table, &record, column).await?;
        let version = before.map_or(1, |row: SealedRow| row.version + 1);
        let place = (table, &record, column);
        let row = instance.seal_version(&self.key, place, version, value)?;
        Ok(changing.tx.put_sealed(&row).await?)
    }

    /// Where its own values are sealed.
    pub(crate) fn place(&self, column: &'static str) -> (&'static str, [u8; 16], &'static str) {
        (USER, self.row.id.to_bytes(), column)
    }
}

/// Whether it is a factor beside the password, and its owner has shown that it works.
pub(crate) fn is_second(factor: &FactorRow) -> bool {
    matches!(factor.kind, FactorKind::Totp | FactorKind::Passkey) && factor.body != PENDING
}

pub(crate) fn is_administrator(row: &UserRow) -> bool {
    row.state == UserState::Active && row.roles.iter().any(|role| role == ADMINISTRATOR)
}

/// What finds a person by the address that somebody typed: whatever its case, it is one.
pub(crate) fn address_digest(instance: &Instance, address: &identity::EmailAddress) -> [u8; 32] {
    instance.secrets.pepper.lookup_digest("user", &address.lookup())
}

/// Keyed digests of tokens and codes.
pub(crate) fn keyed(instance: &Instance) -> impl Fn(&str, &str) -> [u8; 32] + '_ {
    |kind, text| instance.secrets.pepper.lookup_digest(kind, text)
}

pub(crate) fn text(bytes: &SecretBytes) -> String {
    String::from_utf8_lossy(bytes.expose()).into_owned()
}

/// What forms carry that were made for whoever has this token: nobody else can make it.
pub fn form_token(instance: &Instance, token: &identity::SessionToken) -> String {
    crate::change::hex(&instance.secrets.pepper.lookup_digest("form", token.expose()))
}

/// Compares in a time that does not depend on where the two differ.
pub fn is_form_token(given: &str, wanted: &str) -> bool {
    vault::digests_match(given.as_bytes(), wanted.as_bytes())
}

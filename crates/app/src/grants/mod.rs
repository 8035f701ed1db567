//! Grants: files, what they resolve to, what changes, and what they permit.

mod changed;
mod diff;
mod elements;
mod file;
mod listed;
pub mod matrix;
mod permit;
mod preview;
mod resolve;

pub use changed::{changed_fields, more_beside, more_terms, stale_fields};
pub use diff::{Change, Words, diff, names};
pub use file::{AllowEntry, Entries, Entry, Placed, Problem, RoleEntry, parse};
pub use listed::{Listed, list};
pub use permit::{
    Permission, Prepared, beside_now, end_in_force, opened, permission, prepare, reach_anew,
    terms_now,
};
pub(crate) use preview::preview;
pub use resolve::{Catalogue, resolve};

use provider::{
    Operation,
    select::{Kinds, scalar},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use types::{Client, Connection, Id, Provider};

/// A grant as it is stored: ids, and names of what the description declares with what they led to, so
/// that a description that is imported anew never widens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedGrant {
    pub client: IdText<Client>,
    /// Exactly one of the two is set.
    pub provider: Option<IdText<Provider>>,
    pub connection: Option<IdText<Connection>>,
    pub purpose: String,
    /// The last day, in UTC.
    pub expires: String,
    pub allow: Vec<Allow>,
}

/// What a grant allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    pub object: Option<String>,
    pub actions: Vec<String>,
    /// As spelled, `*` expanded.
    pub fields: Vec<String>,
    /// By field: what it led to when it was granted, unless that was a scalar.
    #[serde(default)]
    pub kinds: BTreeMap<String, Kinds>,
    pub params: Vec<String>,
    /// Lower case.
    pub headers: Vec<String>,
    /// Operation ids.
    pub operations: Vec<String>,
    /// By operation id: what it was when it was granted, like `GET /things/{id}`.
    #[serde(default)]
    pub places: BTreeMap<String, String>,
    /// The operations that this opened when it was granted, whatever their parameters are called.
    /// Where nobody noted them, none.
    #[serde(default)]
    pub reached: BTreeSet<String>,
    /// By operation that this opened: what passed of it beside its object when it was granted. Where
    /// nobody noted it, nothing.
    #[serde(default)]
    pub beside: BTreeMap<String, BTreeSet<String>>,
    /// By operation that this opened: how it might be asked when it was granted (what its path takes,
    /// named parameters and headers that it declares, paging), and what passed unseen by a download or
    /// upload. Where nobody noted it, nothing.
    #[serde(default)]
    pub terms: BTreeMap<String, BTreeSet<String>>,
}

/// An operation like `GET /things/{id}`.
pub(crate) fn place_of(operation: &Operation) -> String {
    format!("{} {}", operation.method.as_str(), operation.path.text())
}

impl Allow {
    /// Whether its fields are those of requests.
    pub fn is_write(&self) -> bool {
        self.actions.iter().any(|one| matches!(one.as_str(), "create" | "update" | "delete"))
    }

    /// Whether an operation is one of those that it names, and the same as when it was granted.
    pub fn names(&self, operation: &Operation) -> bool {
        self.places.get(&operation.id).is_some_and(|place| *place == place_of(operation))
    }

    /// What a field led to when it was granted; where nobody noted it, a scalar.
    pub fn kinds_of(&self, field: &str) -> Kinds {
        self.kinds.get(field).cloned().unwrap_or_else(scalar)
    }
}

impl ResolvedGrant {
    /// Whether it is about this connection of this provider.
    pub fn reaches(&self, provider: Id<Provider>, connection: Id<Connection>) -> bool {
        match (&self.provider, &self.connection) {
            (Some(own), None) => own.0 == provider,
            (None, Some(own)) => own.0 == connection,
            _ => false,
        }
    }

    /// Two grants with one identity are one grant in two states.
    pub fn identity(&self) -> (u128, u128, u128, &str) {
        let provider = self.provider.map_or(0, |id| id.0.as_u128());
        let connection = self.connection.map_or(0, |id| id.0.as_u128());
        (self.client.0.as_u128(), provider, connection, &self.purpose)
    }
}

/// An id in its printed form.
pub struct IdText<K>(pub Id<K>);

impl<K> Clone for IdText<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for IdText<K> {}
impl<K> PartialEq for IdText<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for IdText<K> {}
impl<K: types::IdKind> std::fmt::Debug for IdText<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}
impl<K: types::IdKind> Serialize for IdText<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
impl<'de, K: types::IdKind> Deserialize<'de> for IdText<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// The declared, sensitive-or-not leaves of an object that these fields do not grant: what the demo
/// says beside its call.
pub fn withheld(provider: &provider::Provider, object: &str, fields: &[&str]) -> Vec<String> {
    let Some((id, _)) = provider.object_by_name(object) else { return Vec::new() };
    let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
    let checked = provider::select::check_fields(provider, id, false, &fields);
    let granted = checked.unwrap_or_default().paths.into_iter().collect();
    provider::select::withheld(provider, id, &granted)
}

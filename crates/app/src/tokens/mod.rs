//! Tokens that Weirgate obtains itself: what they are made of, who renews them, and how a new one
//! becomes durable before it is used.
//!
//! A renewal is asked for by a call or by the clock, claimed in the store so that of many nodes one asks
//! the provider, and written as the next version of the connection's sealed tokens. Only from there
//! does it reach the Snapshot: whatever is used is on disk. A version is replaced by the one after it
//! or not at all, so that nobody who knew less can undo a renewal.

mod conversation;
mod protocol;
mod renewer;
mod scopes;
#[cfg(test)]
mod simulation;
mod watch;

pub(crate) use conversation::{Conversation, ConversationError, Conversed, converse, revoke};
pub(crate) use renewer::obtain;
pub(crate) use renewer::{Known, put_tokens, token_details};
pub use renewer::{Renewer, TokenDesk};

/// The longest answer of a token endpoint that is read.
pub const MAX_TOKEN_ANSWER_BYTES: u64 = vault::auth::MAX_TOKEN_ANSWER_BYTES as u64;

pub(crate) use scopes::{Reach, allowed_operations, needed as needed_scopes, needed_by_grants};

use crate::{
    connections::{CREDENTIAL_COLUMN, CREDENTIAL_TABLE},
    customers::OpenCustomer,
    error::Error,
    instance::Instance,
    placement,
};
use gateway::{CredentialEntry, ProofNonce, ProviderEntry, ReadyCredential, TokenFacts};
use outbound::{ClientIdentity, GuardPolicy};
use provider::auth::AuthPlan;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicBool},
};
use store::{ConnectionRow, CustomerRow, Everything, SealedRow};
use types::{Connection, Id, Timestamp};
use vault::{
    Credential, CredentialError, MemoryKey, SealedInjection, Supply, Way,
    auth::{Moment, TokenSet, Variables},
};

/// Where a connection's tokens lie: beside its credential.
pub(crate) const TOKEN_COLUMN: &str = "token";
/// Where a provider's app lies.
pub(crate) const APP_TABLE: &str = "provider";
pub(crate) const APP_COLUMN: &str = "app";

/// Rows that a connection's credential is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CredentialRows {
    pub credential: SealedRow,
    pub token: Option<SealedRow>,
    /// With the row of the customer whose key opens it.
    pub app: Option<(SealedRow, CustomerRow)>,
}

/// A connection's credential, opened.
#[derive(Debug)]
pub(crate) struct Material {
    pub ways: Vec<(String, Way)>,
    pub credential: Credential,
    pub app: Option<Credential>,
    pub token: Option<TokenSet>,
    /// Of the tokens; 0: there are none.
    pub version: u64,
}

impl Material {
    pub(crate) fn open(
        instance: &Instance,
        model: &provider::Provider,
        row: &ConnectionRow,
        customer: &OpenCustomer,
        rows: &CredentialRows,
    ) -> Result<Self, Error> {
        let missing =
            Error::Internal { what: "the connection's security scheme is no longer described" };
        let opened = instance.open_sealed(&customer.key, &rows.credential)?;
        let token = match &rows.token {
            Some(sealed) => {
                Some(TokenSet::from_record_bytes(&instance.open_sealed(&customer.key, sealed)?)?)
            }
            None => None,
        };
        Ok(Self {
            ways: placement::ways(model, &row.scheme).ok_or(missing)?,
            credential: Credential::from_record_bytes(&opened)?,
            app: rows
                .app
                .as_ref()
                .map(|(app, owner)| open_app(instance, app, owner))
                .transpose()?,
            token,
            version: rows.token.as_ref().map_or(0, |row| row.version),
        })
    }

    /// What connections to the provider show.
    pub(crate) fn identity(
        &self,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<ClientIdentity>, Error> {
        placement::identity(&self.credential, &self.ways, self.supply(variables))
    }

    pub(crate) fn supply<'m>(&'m self, variables: &'m BTreeMap<String, String>) -> Supply<'m> {
        Supply { token: self.token.as_ref(), app: self.app.as_ref(), variables: Some(variables) }
    }

    /// The plan by which a token is obtained, and its scheme; `None` where the secret is all.
    pub(crate) fn acquiring(&self) -> Option<(&str, &Arc<AuthPlan>)> {
        let (scheme, plan) = placement::acquiring(&self.ways)?;
        let is_given = self.credential.is_given_token(scheme, &self.ways, plan);
        (!is_given).then_some((scheme, plan))
    }

    /// What the provider's token endpoint said of the connection.
    pub(crate) fn taken(&self) -> BTreeMap<String, String> {
        let values = self.token.iter().flat_map(|token| token.values.iter());
        values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// What calls use.
    pub(crate) fn entry(
        &self,
        variables: &BTreeMap<String, String>,
        (memory, moment): (&MemoryKey, Moment<'_>),
        spread: u64,
    ) -> Result<CredentialEntry, Error> {
        let injection = match self.credential.inject(&self.ways, self.supply(variables), moment) {
            Ok(injection) => injection,
            Err(CredentialError::TokenMissing { .. }) => {
                let is_ended = self.token.as_ref().is_some_and(|token| token.ended.is_some());
                return Ok(if is_ended {
                    CredentialEntry::Ended
                } else {
                    CredentialEntry::Missing
                });
            }
            Err(error) => return Err(error.into()),
        };
        let facts =
            self.token.as_ref().filter(|_| self.acquiring().is_some()).map(|token| TokenFacts {
                version: self.version,
                expires_at: token.usable_until(),
                renew_at: token.renew_at(spread),
                is_kept_alive: token.refresh_token.is_some(),
                was_used: AtomicBool::new(false),
            });
        Ok(CredentialEntry::Ready(ReadyCredential {
            sealed: SealedInjection::seal(memory, &injection)?,
            token: facts,
            proof: self
                .token
                .as_ref()
                .filter(|token| token.proof_key.is_some())
                .map(|_| ProofNonce::default()),
        }))
    }
}

pub(crate) fn open_app(
    instance: &Instance,
    app: &SealedRow,
    owner: &CustomerRow,
) -> Result<Credential, Error> {
    let owner = crate::customers::open(instance, owner)?;
    Ok(Credential::from_record_bytes(&instance.open_sealed(&owner.key, app)?)?)
}

/// Spreads the renewals of connections that got their tokens at once.
pub(crate) fn spread_of(id: Id<Connection>, version: u64) -> u64 {
    // The second half of an id is random.
    let bytes = id.to_bytes();
    let random = bytes.last_chunk().map_or(0, |last: &[u8; 8]| u64::from_be_bytes(*last));
    random.wrapping_add(version.wrapping_mul(37))
}

/// A connection whose tokens are renewed, as its rows were judged.
#[derive(Debug)]
pub(crate) struct Renewable {
    pub row: ConnectionRow,
    pub customer: CustomerRow,
    pub rows: CredentialRows,
    pub provider: Arc<ProviderEntry>,
    pub guard: Arc<GuardPolicy>,
    /// What the grants in force need.
    pub scopes: Vec<String>,
    /// When it is due, whoever calls; `None`: when somebody does.
    pub renew_at: Option<Timestamp>,
    /// Nothing of it can be called before it has its first tokens.
    pub is_unplaced: bool,
}

impl Renewable {
    pub(crate) fn version(&self) -> u64 {
        self.rows.token.as_ref().map_or(0, |row| row.version)
    }
}

/// The rows that a connection's credential is made of.
pub(crate) fn rows_of(rows: &Everything, row: &ConnectionRow) -> Option<CredentialRows> {
    let sealed = |record: [u8; 16], table: &str, column: &str| {
        let is_it =
            |one: &&SealedRow| one.record == record && one.table == table && one.column == column;
        rows.sealed.iter().find(is_it)
    };
    let own = row.id.to_bytes();
    let app = sealed(row.provider.to_bytes(), APP_TABLE, APP_COLUMN).and_then(|app| {
        let owner = rows.customers.iter().find(|owner| owner.id == app.customer)?;
        Some((app.clone(), owner.clone()))
    });
    Some(CredentialRows {
        credential: sealed(own, CREDENTIAL_TABLE, CREDENTIAL_COLUMN)?.clone(),
        token: sealed(own, CREDENTIAL_TABLE, TOKEN_COLUMN).cloned(),
        app,
    })
}

pub(crate) type Renewables = HashMap<Id<Connection>, Arc<Renewable>>;

/// The values that a token is obtained from.
pub(crate) fn values_of(
    material: &Material,
    scheme: &str,
    variables: &BTreeMap<String, String>,
) -> Result<Variables, Error> {
    Ok(material.credential.values_for(scheme, &material.ways, material.supply(variables))?)
}

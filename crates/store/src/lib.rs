//! Every SQL statement of Weirgate.
//!
//! It promises: a change commits only together with its audit event; each committed change moves
//! the generation by one; a committed change is on disk (SQLite: WAL, `synchronous = FULL`;
//! PostgreSQL: `synchronous_commit = on`).
//! The statements are one text for SQLite and PostgreSQL.
#![forbid(unsafe_code)]

mod backup;
mod connect;
mod dialect;
mod error;
mod keys;
mod lifetimes;
mod location;
mod people;
mod renewals;
mod rows;
mod secret_stores;
mod store;
mod tx;
mod witnesses;

pub use backup::{Cell, is_known};
pub use connect::{ConnectSessionRow, Connects, ConsentRow};
pub use dialect::layout;
pub use error::StoreError;
pub use keys::{Destroyed, Lease};
pub use lifetimes::{FieldUseRow, LifetimeStateRow, Lifetimes, NetworkRow, OwnerRow, UseCount};
pub use location::{Location, Place, ServerUrl, UrlError};
pub use people::{
    FactorRow, FailureRow, IdentityProviderRow, IdentityRow, LinkRow, People, ProposalRow,
    ReviewRow, RuleRow, SessionRow, TokenRow, UserRow, ViewRow,
};
pub use renewals::{Claimed, LeftLease, Renewal, RenewalClaim};
pub use rows::{
    Accounts, ClientRow, ConnectionRow, CustomerRow, Everything, GrantChanges, GrantRow,
    GrantTarget, KeyRow, MovedRow, OutboxRow, ProviderFacts, ProviderRow, RowSeal, SealedHead,
    SealedRow, StateHead, VaultGenerationRow,
};
pub use secret_stores::{SecretSourceRow, SecretStores};
pub use store::Store;
pub use tx::Tx;
pub use witnesses::{WitnessAnswer, WitnessRow};

//! Reviews: every grant and every role that somebody has, confirmed or dropped by a date; and what was
//! decided, as evidence.
//!
//! An item is what it was when the review began. What was changed since was decided by somebody since,
//! and is not reviewed.

mod decide;
mod evidence;
#[cfg(test)]
mod tests;
mod ticked;

pub use decide::{Undecided, Verdict, begin, close, decide, remove};
pub use evidence::evidence;
pub use ticked::{TICKED_LIFE, Ticked};

use crate::{apply, error::Error, grants::ResolvedGrant, instance::Instance, rules, seals};
use serde::{Deserialize, Serialize};
use store::{Everything, ReviewRow};
use types::{Id, Review, Timestamp, User};

/// An item as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    about: About,
    decision: Option<Decision>,
}

/// What a review's row holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    begun_by: String,
    closed_by: Option<String>,
    items: Vec<Kept>,
}

/// What is confirmed or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum About {
    Grant {
        /// Like `payroll-sync on bamboohr, to run payroll`.
        name: String,
        /// What it opens.
        words: Vec<String>,
        grant: Box<ResolvedGrant>,
    },
    Role {
        user: String,
        role: String,
        /// What it permits.
        acts: Vec<String>,
        /// An identity provider gives it, and alone can take it away.
        is_managed: bool,
    },
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Confirmed,
    Dropped,
    /// It was changed or taken away while the review was under way.
    Changed,
    /// A role that its identity provider alone can take away.
    Elsewhere,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Dropped => "dropped",
            Self::Changed => "changed",
            Self::Elsewhere => "left to the identity provider",
        }
    }
}

/// Who decided an item, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub outcome: Outcome,
    /// As the audit log names actors.
    pub by: String,
    pub at: String,
    /// What leads to the entries of the audit log.
    pub request: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Open,
    Decided(Decision),
    /// It is not what it was when the review began, so that nothing is left to decide.
    Changed,
}

#[derive(Debug, Clone)]
pub struct Item {
    /// From 1, within its review.
    pub number: usize,
    pub about: About,
    pub state: State,
}

/// A review, with what became of its items so far.
#[derive(Debug, Clone)]
pub struct Reviewed {
    pub id: Id<Review>,
    pub name: String,
    pub begun_by: String,
    pub created_at: Timestamp,
    pub due_at: Timestamp,
    pub closed_at: Option<Timestamp>,
    pub closed_by: Option<String>,
    pub items: Vec<Item>,
}

impl Reviewed {
    /// How many items nobody decided yet.
    pub fn open_items(&self) -> usize {
        self.items.iter().filter(|item| item.state == State::Open).count()
    }

    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.closed_at.is_none() && self.due_at <= now
    }
}

/// All reviews, oldest first.
pub async fn list(instance: &Instance) -> Result<Vec<Reviewed>, Error> {
    let everything = seals::load_whole(instance).await?;
    let grants = apply::stored(&everything.grants)?;
    everything.people.reviews.iter().map(|row| reviewed(row, &everything, &grants)).collect()
}

/// One review; without an id the one that is under way, or else the newest.
pub async fn show(instance: &Instance, id: Option<Id<Review>>) -> Result<Reviewed, Error> {
    let mut all = list(instance).await?;
    let is_meant = |one: &Reviewed| id.map_or(one.closed_at.is_none(), |id| one.id == id);
    let newest = all.len().checked_sub(1).filter(|_| id.is_none());
    let found = all.iter().position(is_meant).or(newest);
    found.map(|index| all.swap_remove(index)).ok_or(Error::NameUnknown { kind: "review" })
}

fn reviewed(
    row: &ReviewRow,
    everything: &Everything,
    grants: &[ResolvedGrant],
) -> Result<Reviewed, Error> {
    let body = read(row)?;
    let items = body.items.into_iter().enumerate().map(|(index, kept)| Item {
        number: index + 1,
        state: match kept.decision {
            Some(decision) => State::Decided(decision),
            None if is_as_it_was(&kept.about, everything, grants) => State::Open,
            None => State::Changed,
        },
        about: kept.about,
    });
    Ok(Reviewed {
        id: row.id,
        name: body.name,
        begun_by: body.begun_by,
        created_at: row.created_at,
        due_at: row.due_at,
        closed_at: row.closed_at,
        closed_by: body.closed_by,
        items: items.collect(),
    })
}

fn read(row: &ReviewRow) -> Result<Body, Error> {
    let damaged = Error::Internal { what: "a review cannot be read" };
    serde_json::from_str(&row.body).map_err(|_| damaged)
}

fn written(body: &Body) -> Result<String, Error> {
    serde_json::to_string(body).map_err(|_| Error::Internal { what: "a review cannot be written" })
}

/// Whether an item is still what the review began with.
fn is_as_it_was<P>(about: &About, everything: &Everything<P>, grants: &[ResolvedGrant]) -> bool {
    match about {
        About::Grant { grant, .. } => grants.contains(grant),
        About::Role { user, role, acts, .. } => {
            let found = everything.people.users.iter().find(|row| row.id.to_string() == *user);
            found.is_some_and(|row| row.roles.contains(role))
                && rules::permitted_by(&everything.people, role) == *acts
        }
    }
}

impl About {
    /// For people: what is confirmed or dropped.
    pub fn in_words(&self) -> String {
        match self {
            Self::Grant { name, .. } => format!("grant {name}"),
            Self::Role { user, role, .. } => format!("role {role} of {user}"),
        }
    }

    /// What it opens or permits.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Grant { words, .. } => words.clone(),
            Self::Role { acts, .. } => vec![format!("permits {}", acts.join(", "))],
        }
    }

    /// Whose role it is.
    pub fn user(&self) -> Option<Id<User>> {
        match self {
            Self::Grant { .. } => None,
            Self::Role { user, .. } => user.parse().ok(),
        }
    }
}

//! What a grant permits, and which of the two worlds a thing belongs to.

use std::{fmt, str::FromStr};

/// What a caller does with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// GET and HEAD.
    Read,
    /// POST.
    Create,
    /// PUT and PATCH.
    Update,
    /// DELETE.
    Delete,
    /// An answer that is not JSON and passes unfiltered.
    Download,
    /// A request body that is not JSON and passes unfiltered.
    Upload,
}

impl Action {
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Create, Self::Update, Self::Delete, Self::Download, Self::Upload];

    /// The word used in grant files, in JSON and in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no action (or no environment).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of {expected}")]
pub struct ParseActionError {
    pub given: String,
    pub expected: &'static str,
}

impl FromStr for Action {
    type Err = ParseActionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or_else(|| {
            ParseActionError {
                given: text.to_owned(),
                expected: "read, create, update, delete, download, upload",
            }
        })
    }
}

/// Keys, connections and data of one environment never meet the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Environment {
    Live,
    Test,
}

impl Environment {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = ParseActionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "live" => Ok(Self::Live),
            "test" => Ok(Self::Test),
            _ => Err(ParseActionError { given: text.to_owned(), expected: "live, test" }),
        }
    }
}

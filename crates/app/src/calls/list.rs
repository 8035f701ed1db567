//! Calls by what they are about, the newest first.

use super::{Call, End};
use crate::{
    audit_log::{self, Record, reading},
    error::Error,
    folder::DataFolder,
    instance::Instance,
};
use std::{collections::HashMap, sync::Arc};
use types::{Client, Connection, Id, Provider};

/// Calls that a page shows.
const ROWS: usize = 50;
/// Entries among which they are looked for.
const SEARCHED: u64 = 20_000;
/// Entries behind those that are asked for, where calls that began among them may end.
const AHEAD: u64 = 2_048;

/// How a call ended, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As asked.
    Answered,
    /// It was let through, and then not answered as asked.
    Failed,
    Refused,
    UnderWay,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::Refused, Self::UnderWay];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::UnderWay => "under-way",
        }
    }

    /// Of a call whose end was seen, or is known not to be there yet.
    pub fn of(call: &Call) -> Option<Self> {
        match &call.end {
            End::UnderWay => Some(Self::UnderWay),
            End::Unseen => None,
            End::Answered(one) if one.code.is_none() => Some(Self::Answered),
            End::Answered(_) | End::Interrupted { .. } => Some(Self::Failed),
            End::Refused { .. } => Some(Self::Refused),
        }
    }
}

/// Which calls; all that is named must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub provider: Option<Id<Provider>>,
    pub connection: Option<Id<Connection>>,
    pub client: Option<Id<Client>>,
    pub kind: Option<Kind>,
    /// An error's code, or a status.
    pub code: Option<String>,
}

impl Wanted {
    pub fn takes(&self, call: &Call) -> bool {
        let provider = call.granted.as_ref().map(|granted| granted.provider);
        self.provider.is_none_or(|wanted| provider == Some(wanted))
            && self.connection.is_none_or(|wanted| call.connection == Some(wanted))
            && self.client.is_none_or(|wanted| call.client == wanted)
            && self.kind.is_none_or(|wanted| Kind::of(call) == Some(wanted))
            && self.code.as_ref().is_none_or(|wanted| has_code(&call.end, wanted))
    }
}

fn has_code(end: &End, wanted: &str) -> bool {
    match end {
        End::Answered(one) => {
            one.code.as_deref() == Some(wanted) || one.status.to_string() == wanted
        }
        End::Refused { code } => code == wanted,
        End::UnderWay | End::Unseen | End::Interrupted { .. } => false,
    }
}

/// A page of calls.
#[derive(Debug, Default)]
pub struct Listed {
    pub calls: Vec<Call>,
    /// Entries that were looked at.
    pub looked_at: u64,
    /// The newest of them.
    pub newest: Option<u64>,
    /// Where the entries before these are.
    pub older: Option<u64>,
}

/// The newest calls that began before this entry.
///
/// # Errors
/// Where the log cannot be read.
pub async fn list(
    instance: &Arc<Instance>,
    wanted: Wanted,
    before: Option<u64>,
) -> Result<Listed, Error> {
    reading(instance, move |instance| list_in(&instance.folder, &wanted, before)).await
}

fn list_in(folder: &DataFolder, wanted: &Wanted, before: Option<u64>) -> Result<Listed, Error> {
    let begin = before.map(|before| before.saturating_add(AHEAD));
    let mut listed = Listed::default();
    let mut ends = HashMap::new();
    let mut oldest = None;
    audit_log::walk_back(folder, begin, |index, record| {
        let newest = *listed.newest.get_or_insert(index);
        let is_ahead = before.is_some_and(|before| index >= before);
        if !is_ahead {
            listed.looked_at += 1;
            oldest = Some(index);
        }
        if let Some((request, end)) = End::of(index, &record) {
            ends.insert(request, end);
        }
        let call = match record {
            Record::Intent(intent) => {
                let mut call = Call::begun(index, intent);
                if let Some(end) = ends.remove(&call.request) {
                    call.end = end;
                } else if begin.is_some_and(|begin| newest + 1 >= begin) {
                    call.end = End::Unseen;
                }
                Some(call)
            }
            Record::Refused(refused) => Some(Call::refused(index, refused)),
            _ => None,
        };
        listed.calls.extend(call.filter(|call| !is_ahead && wanted.takes(call)));
        listed.calls.len() < ROWS && listed.looked_at < SEARCHED
    })?;
    listed.older = oldest.filter(|oldest| *oldest > 0);
    Ok(listed)
}

//! Calls as people read them.

use super::{moment, took};
use crate::console::Console;
use app::{
    calls::{Answered, Call, End, meaning},
    clients,
    people::sessions::SignedIn,
    providers,
};
use policy::Act;
use serde::Serialize;
use std::collections::BTreeMap;
use types::{Client, Id, Provider};

/// Which names somebody sees; in place of the others they see ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sees {
    clients: bool,
    providers: bool,
}

impl Sees {
    pub(crate) fn of(console: &Console, signed_in: &SignedIn) -> Self {
        let may = |act| console.offers(signed_in, act);
        Self { clients: may(Act::ClientRead), providers: may(Act::ProviderRead) }
    }
}

/// Names as somebody sees them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    clients: BTreeMap<Id<Client>, String>,
    providers: BTreeMap<Id<Provider>, String>,
}

impl Names {
    pub(crate) async fn read(console: &Console, sees: Sees) -> Result<Self, app::Error> {
        let mut names = Self::default();
        if sees.clients {
            let listed = clients::list(&console.instance).await?;
            names.clients = listed.into_iter().map(|one| (one.id, one.name)).collect();
        }
        if sees.providers {
            let listed = providers::list(&console.instance).await?;
            names.providers =
                listed.into_iter().map(|one| (one.id, one.slug.to_string())).collect();
        }
        Ok(names)
    }

    /// Whether all that may have a name for this call has one.
    pub(crate) fn has_all(&self, call: &Call, sees: Sees) -> bool {
        let provider = call.granted.as_ref().map(|granted| granted.provider);
        let is_known = provider.is_none_or(|provider| self.providers.contains_key(&provider));
        (!sees.clients || self.clients.contains_key(&call.client)) && (!sees.providers || is_known)
    }

    pub(super) fn client_names(&self) -> impl Iterator<Item = String> {
        self.clients.values().cloned()
    }

    pub(super) fn provider_names(&self) -> impl Iterator<Item = String> {
        self.providers.values().cloned()
    }

    /// By its name or id.
    pub(super) fn client_of(&self, given: &str) -> Option<Id<Client>> {
        let named = self.clients.iter().find(|(_, name)| *name == given).map(|(id, _)| *id);
        named.or_else(|| given.parse().ok())
    }

    pub(super) fn provider_of(&self, given: &str) -> Option<Id<Provider>> {
        let named = self.providers.iter().find(|(_, name)| *name == given).map(|(id, _)| *id);
        named.or_else(|| given.parse().ok())
    }
}

/// An option of a list.
pub(super) struct Choice {
    pub name: String,
    pub is_chosen: bool,
}

impl Choice {
    /// What was given is among them, also where it is no name.
    pub(super) fn of(names: impl Iterator<Item = String>, given: &str) -> Vec<Self> {
        let mut all: Vec<String> = names.collect();
        if !given.is_empty() && !all.iter().any(|one| one == given) {
            all.push(given.to_owned());
        }
        all.sort();
        all.into_iter().map(|name| Self { is_chosen: name == given, name }).collect()
    }
}

/// A row of the list, on a page or by itself in a stream.
#[derive(Default, Serialize)]
pub(crate) struct RowView {
    pub index: u64,
    pub request: String,
    pub at: String,
    pub client: String,
    pub provider: String,
    pub connection: String,
    pub operation: String,
    pub what: String,
    /// `good`, `bad` or nothing.
    pub tone: &'static str,
    pub status: String,
    pub code: String,
    pub took: String,
    pub withheld: String,
}

impl RowView {
    /// With all of its parts, for the page's script to fill.
    pub(super) fn empty() -> Self {
        Self { code: "code".to_owned(), ..Self::default() }
    }

    pub(crate) fn of(call: &Call, names: &Names) -> Self {
        let client = names.clients.get(&call.client).cloned();
        let provider = call.granted.as_ref().map(|granted| {
            let name = names.providers.get(&granted.provider).cloned();
            name.unwrap_or_else(|| granted.provider.to_string())
        });
        let what = call.granted.as_ref().map(|granted| match &granted.object {
            Some(object) => format!("{} {object}", granted.action),
            None => granted.action.to_string(),
        });
        let (tone, status, code) = match &call.end {
            End::UnderWay => ("", "under way".to_owned(), String::new()),
            End::Unseen => ("", "ended later".to_owned(), String::new()),
            End::Interrupted { .. } => ("bad", "interrupted".to_owned(), String::new()),
            End::Refused { code } => ("bad", "refused".to_owned(), code.clone()),
            End::Answered(one) => {
                let tone = if one.code.is_some() { "bad" } else { "good" };
                (tone, one.status.to_string(), one.code.clone().unwrap_or_default())
            }
        };
        let (took, withheld) = match &call.end {
            End::Answered(one) => (took(one.duration), withheld(one)),
            _ => Default::default(),
        };
        Self {
            index: call.index,
            request: call.request.to_string(),
            at: moment(call.at),
            client: client.unwrap_or_else(|| call.client.to_string()),
            provider: provider.unwrap_or_default(),
            connection: call.connection.map(|id| id.to_string()).unwrap_or_default(),
            operation: call.operation.clone().unwrap_or_default(),
            what: what.unwrap_or_default(),
            tone,
            status,
            code,
            took,
            withheld,
        }
    }
}

/// How much of an answer did not pass.
fn withheld(one: &Answered) -> String {
    let counts = [
        (one.withheld, "not granted"),
        (one.dropped, "not declared"),
        (one.mismatched, "of another kind"),
    ];
    let said = counts.into_iter().filter(|(count, _)| *count > 0);
    said.map(|(count, why)| format!("{count} {why}")).collect::<Vec<_>>().join(", ")
}

/// What a code means: the parts of its page.
pub(super) struct Meaning {
    pub code: String,
    pub parts: Vec<(&'static str, Vec<Paragraph>)>,
}

/// Text, and whether it is code.
type Paragraph = Vec<(bool, &'static str)>;

impl Meaning {
    pub(super) fn of(code: &str) -> Self {
        let text = meaning(code).unwrap_or_default();
        let parts = text.split("\n## ").skip(1).filter_map(|part| part.split_once('\n'));
        let parts = parts.map(|(heading, text)| {
            let lines = text.lines().filter(|line| !line.is_empty());
            (heading, lines.map(paragraph).collect())
        });
        Self { code: code.to_owned(), parts: parts.collect() }
    }
}

/// The text between marks of code alternates with code. Of a link its text is left.
fn paragraph(line: &'static str) -> Paragraph {
    let mut pieces = Vec::new();
    for (place, piece) in line.split('`').enumerate() {
        let is_code = place % 2 == 1;
        let mut rest = piece;
        while !is_code && let Some((before, after)) = rest.split_once("](") {
            let (text, link) = before.rsplit_once('[').unwrap_or(("", before));
            pieces.extend([(false, text), (false, link)]);
            rest = after.split_once(')').map_or("", |(_, rest)| rest);
        }
        pieces.push((is_code, rest));
    }
    pieces.retain(|(_, text)| !text.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_code_is_told_without_its_marks() {
        for code in ["rate_limited", "policy_forbids", "not_granted", "caller_gone"] {
            let meaning = Meaning::of(code);
            let headings: Vec<&str> = meaning.parts.iter().map(|(heading, _)| *heading).collect();
            assert_eq!(headings, ["Meaning", "Likely cause", "What to do"], "{code}");
            let texts = meaning.parts.iter().flat_map(|(_, lines)| lines.iter().flatten());
            for (_, text) in texts {
                assert!(!text.contains(['`', '[', ']', '#']), "{text}");
            }
        }
        assert!(Meaning::of("of a later version").parts.is_empty());
        let said = paragraph("see [limits](../limits.md), or run `weirgate apply`.");
        let words = [(false, "see "), (false, "limits"), (false, ", or run ")];
        assert_eq!(said[..3], words);
        assert_eq!(said[3..], [(true, "weirgate apply"), (false, ".")]);
    }
}

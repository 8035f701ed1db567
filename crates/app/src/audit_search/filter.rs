//! What is looked for: each part by itself, all of them together.

use super::Row;
use crate::audit_log::Record;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    str::FromStr,
    time::Duration,
};
use types::{Client, Connection, Id, Key, Provider, Timestamp, Token, User};

/// The longest text that is looked for, and the longest name of an object or act.
pub const MAX_TEXT_CHARS: usize = 200;
const DAY: Duration = Duration::from_hours(24);

/// The kinds of rows; a call is an intent with its outcome.
pub const KINDS: [&str; 9] = [
    "call",
    "refused",
    "refused_count",
    "unauthenticated",
    "changed",
    "started",
    "recovered",
    "interrupted",
    "closed",
];

/// Who changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    User(Id<User>),
    Token(Id<Token>),
    Local(Option<u32>),
    System,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Token(id) => write!(f, "token:{id}"),
            Self::Local(Some(uid)) => write!(f, "local:{uid}"),
            Self::Local(None) => f.write_str("local:"),
            Self::System => f.write_str("system"),
        }
    }
}

/// How a call ended, or why it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Status(u16),
    /// 2 for 200 to 299.
    Class(u16),
    Code(String),
}

/// See the module. Only what was understood is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    kind: Option<&'static str>,
    actor: Option<Who>,
    key: Option<Id<Key>>,
    client: Option<Id<Client>>,
    provider: Option<Id<Provider>>,
    connection: Option<Id<Connection>>,
    object: Option<String>,
    verb: Option<String>,
    outcome: Option<Ending>,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this one.
    pub to: Option<Timestamp>,
    text: Option<String>,
}

/// What of a filter was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterProblem {
    /// Which part.
    pub name: &'static str,
    pub remedy: &'static str,
}

/// By which names ids are known to whoever looks.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub clients: BTreeMap<String, Id<Client>>,
    pub providers: BTreeMap<String, Id<Provider>>,
    /// By address; empty for those who may not see people.
    pub people: BTreeMap<String, Id<User>>,
}

impl Names {
    pub fn client(&self, id: Id<Client>) -> Option<&str> {
        name_of(&self.clients, id)
    }

    pub fn provider(&self, id: Id<Provider>) -> Option<&str> {
        name_of(&self.providers, id)
    }

    pub fn person(&self, id: Id<User>) -> Option<&str> {
        name_of(&self.people, id)
    }
}

fn name_of<K>(names: &BTreeMap<String, Id<K>>, id: Id<K>) -> Option<&str> {
    names.iter().find(|(_, one)| **one == id).map(|(name, _)| name.as_str())
}

/// The parts, as they are spelled in a URL.
pub const PARTS: [&str; 12] = [
    "kind",
    "actor",
    "key",
    "client",
    "provider",
    "connection",
    "object",
    "verb",
    "outcome",
    "from",
    "to",
    "text",
];

/// How a filter is kept.
#[derive(Serialize, Deserialize)]
struct Kept(BTreeMap<String, String>);

impl Filter {
    /// Reads the parts that were given; empty ones, and what is no part, are left out.
    ///
    /// # Errors
    /// All that was not understood.
    pub fn parse<'g>(
        given: impl IntoIterator<Item = (&'g str, &'g str)>,
        names: &Names,
    ) -> Result<Self, Vec<FilterProblem>> {
        let mut filter = Self::default();
        let mut problems = Vec::new();
        for (name, value) in given {
            let value = value.trim();
            let Some(name) = PARTS.into_iter().find(|part| *part == name && !value.is_empty())
            else {
                continue;
            };
            if filter.take(name, value, names).is_none() {
                problems.push(FilterProblem { name, remedy: remedy(name) });
            }
        }
        if let (Some(from), Some(to)) = (filter.from, filter.to)
            && to <= from
        {
            let remedy = "The end lies before the beginning: give a later one.";
            problems.push(FilterProblem { name: "to", remedy });
        }
        if problems.is_empty() { Ok(filter) } else { Err(problems) }
    }

    fn take(&mut self, name: &str, value: &str, names: &Names) -> Option<()> {
        let short = || {
            let is_short = value.chars().count() <= MAX_TEXT_CHARS;
            (is_short && !value.chars().any(char::is_control)).then(|| value.to_owned())
        };
        match name {
            "kind" => self.kind = Some(KINDS.into_iter().find(|kind| *kind == value)?),
            "actor" => self.actor = Some(who(value, names)?),
            "key" => self.key = Some(value.parse().ok()?),
            "client" => self.client = Some(id_or_name(value, &names.clients)?),
            "provider" => self.provider = Some(id_or_name(value, &names.providers)?),
            "connection" => self.connection = Some(value.parse().ok()?),
            "object" => self.object = Some(short()?),
            "verb" => self.verb = Some(short()?),
            "outcome" => self.outcome = Some(ending(value)?),
            "from" => self.from = Some(moment(value, Duration::ZERO)?),
            "to" => self.to = Some(moment(value, DAY)?),
            _ => self.text = Some(short()?),
        }
        Some(())
    }

    /// The parts that are set, as they are read again.
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        let mut parts: Vec<(&'static str, String)> = Vec::new();
        let mut put = |name, value: Option<String>| {
            parts.extend(value.map(|value| (name, value)));
        };
        put("kind", self.kind.map(ToOwned::to_owned));
        put("actor", self.actor.as_ref().map(ToString::to_string));
        put("key", self.key.map(|id| id.to_string()));
        put("client", self.client.map(|id| id.to_string()));
        put("provider", self.provider.map(|id| id.to_string()));
        put("connection", self.connection.map(|id| id.to_string()));
        put("object", self.object.clone());
        put("verb", self.verb.clone());
        put("outcome", self.outcome.as_ref().map(Ending::spelled));
        put("from", self.from.map(minute));
        put("to", self.to.map(minute));
        put("text", self.text.clone());
        parts
    }

    /// The same in words that people know, where there are any.
    pub fn named(&self, names: &Names) -> Vec<(&'static str, String)> {
        let mut parts = self.parts();
        for (name, value) in &mut parts {
            let known = match (*name, &self.actor) {
                ("client", _) => self.client.and_then(|id| names.client(id)),
                ("provider", _) => self.provider.and_then(|id| names.provider(id)),
                ("actor", Some(Who::User(id))) => names.person(*id),
                _ => None,
            };
            if let Some(known) = known {
                known.clone_into(value);
            }
        }
        parts
    }

    /// How it stands in the store.
    pub(crate) fn to_stored(&self) -> String {
        let parts = self.parts().into_iter().map(|(name, value)| (name.to_owned(), value));
        serde_json::to_string(&Kept(parts.collect())).unwrap_or_default()
    }

    /// Reads what [`Self::to_stored`] gave.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        let Kept(parts) = serde_json::from_str(text).ok()?;
        if parts.keys().any(|name| !PARTS.contains(&name.as_str())) {
            return None;
        }
        let parts = parts.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Self::parse(parts, &Names::default()).ok()
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the row is what is looked for: every part that is set must fit.
    pub fn matches(&self, row: &Row) -> bool {
        let Self {
            kind,
            actor,
            key,
            client,
            provider,
            connection,
            object,
            verb,
            outcome,
            from,
            to,
            text,
        } = self;
        let about = About::of(row);
        let at = row.record.at();
        kind.is_none_or(|kind| kind == kind_of(&row.record))
            && actor.as_ref().is_none_or(|who| about.actor.is_some_and(|actor| is_by(who, actor)))
            && key.is_none_or(|key| about.key == Some(key))
            && client.is_none_or(|client| about.client == Some(client) || about.names(client))
            && provider.is_none_or(|one| about.provider == Some(one) || about.names(one))
            && connection.is_none_or(|one| about.connection == Some(one) || about.names(one))
            && object.as_ref().is_none_or(|object| about.is_on(object))
            && verb.as_ref().is_none_or(|verb| about.does(verb))
            && outcome.as_ref().is_none_or(|ending| ending.is_of(row))
            && from.is_none_or(|from| from <= at)
            && to.is_none_or(|to| at < to)
            && text.as_ref().is_none_or(|text| has(row, &text.to_lowercase()))
    }
}

/// The kind of a row.
pub(super) fn kind_of(record: &Record) -> &'static str {
    match record {
        Record::Intent(_) | Record::Outcome(_) => "call",
        other => other.kind(),
    }
}

fn remedy(name: &str) -> &'static str {
    match name {
        "kind" => "There is no such kind of entry: choose one of the list.",
        "actor" => {
            "Give a person's id or address, user:ID, token:ID, local: with a number or without, or \
             system."
        }
        "key" => "Give the id of a key; it begins with key_.",
        "client" => "There is no client of that name: give one of the page of clients, or an id.",
        "provider" => {
            "There is no provider of that name: give one of the page of providers, or an id."
        }
        "connection" => "Give the id of a connection; it begins with conn_.",
        "outcome" => {
            "Give a status like 404, a class of them like 4xx, or the code of an error like \
             rate_limited."
        }
        "from" | "to" => "Give a day like 2026-11-27, or a minute of one like 2026-11-27T06:30.",
        _ => "Give at most 200 characters, in one line.",
    }
}

fn who(value: &str, names: &Names) -> Option<Who> {
    if let Some(id) = names.people.get(value) {
        return Some(Who::User(*id));
    }
    match value.split_once(':') {
        Some(("user", id)) => id.parse().ok().map(Who::User),
        Some(("token", id)) => id.parse().ok().map(Who::Token),
        Some(("local", "")) => Some(Who::Local(None)),
        Some(("local", uid)) => uid.parse().ok().map(|uid| Who::Local(Some(uid))),
        Some(_) => None,
        None if value == "system" => Some(Who::System),
        None => {
            let user = value.parse().ok().map(Who::User);
            user.or_else(|| value.parse().ok().map(Who::Token))
        }
    }
}

fn is_by(who: &Who, actor: &str) -> bool {
    match who {
        Who::Local(None) => actor.starts_with("local:"),
        who => who.to_string() == actor,
    }
}

fn id_or_name<K>(value: &str, names: &BTreeMap<String, Id<K>>) -> Option<Id<K>>
where
    Id<K>: FromStr + Copy,
{
    names.get(value).copied().or_else(|| value.parse().ok())
}

fn ending(value: &str) -> Option<Ending> {
    let class = value.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
    if let Some(class) = class {
        return (1..=5).contains(&class).then_some(Ending::Class(class));
    }
    if let Ok(status) = value.parse::<u16>() {
        return (100..=599).contains(&status).then_some(Ending::Status(status));
    }
    let is_code = value.len() <= 64 && value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_code.then(|| Ending::Code(value.to_owned()))
}

impl Ending {
    fn spelled(&self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Class(class) => format!("{class}xx"),
            Self::Code(code) => code.clone(),
        }
    }

    fn is_of(&self, row: &Row) -> bool {
        let (status, code) = match (&row.record, row.end.as_ref().map(|end| &end.record)) {
            (Record::Intent(_), Some(Record::Outcome(one))) | (Record::Outcome(one), _) => {
                (Some(one.status), one.code.as_deref())
            }
            (Record::Refused(one), _) => (None, Some(one.code.as_str())),
            (Record::Unauthenticated(one), _) => (None, Some(one.code.as_str())),
            _ => (None, None),
        };
        match self {
            Self::Status(wanted) => status == Some(*wanted),
            Self::Class(class) => status.is_some_and(|status| status / 100 == *class),
            Self::Code(wanted) => code == Some(wanted),
        }
    }
}

/// A moment to the minute; a day alone is `of_day` after its beginning.
fn moment(value: &str, of_day: Duration) -> Option<Timestamp> {
    let value = value.trim_end_matches('Z');
    let is_digit = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'T' | b':');
    if !value.as_bytes().iter().all(is_digit) {
        return None;
    }
    let time = match value.len() {
        10 => Timestamp::parse(&format!("{value}T00:00:00Z"))? + of_day,
        16 => Timestamp::parse(&format!("{value}:00Z"))?,
        _ => return None,
    };
    // What came before the log cannot be in it, nor can what no clock shows.
    (Timestamp::EPOCH <= time && time < Timestamp::MAX).then_some(time)
}

fn minute(at: Timestamp) -> String {
    at.to_string().chars().take(16).collect()
}

/// What the parts of a filter are compared with.
#[derive(Default)]
pub(super) struct About<'r> {
    pub actor: Option<&'r str>,
    pub key: Option<Id<Key>>,
    pub client: Option<Id<Client>>,
    pub provider: Option<Id<Provider>>,
    pub connection: Option<Id<Connection>>,
    pub object: Option<&'r str>,
    pub verb: Option<&'r str>,
    withheld: &'r [String],
    what: Option<&'r str>,
    details: &'r [(String, String)],
}

impl<'r> About<'r> {
    pub(super) fn of(row: &'r Row) -> Self {
        let withheld = match row.end.as_ref().map(|end| &end.record) {
            Some(Record::Outcome(one)) => one.withheld.as_slice(),
            _ => &[],
        };
        match &row.record {
            Record::Intent(one) => Self {
                key: Some(one.key),
                client: Some(one.client),
                provider: Some(one.provider),
                connection: Some(one.connection),
                object: one.object.as_deref(),
                verb: Some(one.action.as_str()),
                withheld,
                ..Self::default()
            },
            Record::Outcome(one) => Self { withheld: &one.withheld, ..Self::default() },
            Record::Refused(one) => Self {
                key: Some(one.key),
                client: Some(one.client),
                connection: one.connection,
                ..Self::default()
            },
            Record::RefusedCount(one) => Self { key: Some(one.key), ..Self::default() },
            Record::Changed(one) => Self {
                actor: Some(&one.actor),
                verb: Some(&one.verb),
                what: Some(&one.what),
                details: &one.details,
                ..Self::default()
            },
            _ => Self::default(),
        }
    }

    /// The fields that were there and were withheld.
    pub(super) fn fields(&self) -> &'r [String] {
        self.withheld
    }

    /// Whether a change is of this thing, or says its id.
    fn names<K>(&self, id: Id<K>) -> bool
    where
        Id<K>: fmt::Display,
    {
        let Some(what) = self.what else { return false };
        let id = id.to_string();
        what.split(' ').any(|word| word == id)
            || self.details.iter().any(|(_, value)| value.contains(&id))
    }

    /// An object by its name, a field by its name or with its object's before it; of a change, a word.
    fn is_on(&self, wanted: &str) -> bool {
        let is_field = |field: &String| {
            field == wanted || field.rsplit('.').next().is_some_and(|last| last == wanted)
        };
        let is_word = |text: &str| {
            let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
            text.split(|c| !is_part(c)).any(|word| {
                let word = word.trim_matches('.');
                word == wanted || word.split('.').any(|part| part == wanted)
            })
        };
        self.object == Some(wanted)
            || self.withheld.iter().any(is_field)
            || self.details.iter().any(|(_, value)| is_word(value))
    }

    /// A verb, an action, or what stands before the dot of verbs.
    fn does(&self, wanted: &str) -> bool {
        self.verb.is_some_and(|verb| {
            let rest = verb.strip_prefix(wanted);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

/// Whether the row holds this text, which is in lower case.
fn has(row: &Row, wanted: &str) -> bool {
    let mut said = String::new();
    let mut holds = |record: &Record| {
        let mut is_held = record.kind().contains(wanted);
        record.each_field(|_, value| {
            if is_held {
                return;
            }
            said.clear();
            // Nothing can be wrong with a string's room.
            let _ = write!(said, "{value}");
            is_held = if said.is_ascii() {
                said.make_ascii_lowercase();
                said.contains(wanted)
            } else {
                said.to_lowercase().contains(wanted)
            };
        });
        is_held
    };
    holds(&row.record) || row.end.as_ref().is_some_and(|end| holds(&end.record))
}

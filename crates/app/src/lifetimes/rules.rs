//! Rules of lifetimes: as files write them, and as they are stored.

use crate::grants::Problem;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};
use toml::Spanned;
use types::{Date, Environment, Slug};

/// How long what a rule ended can be given back, where it does not say.
const GRACE: Duration = Duration::from_hours(7 * 24);
/// How long after it was made a key's networks are learnt, where the rule does not say.
const LEARN: Duration = Duration::from_hours(7 * 24);
const LONGEST_GRACE: Duration = Duration::from_hours(90 * 24);
/// The most rules that a file may hold.
const MAX_RULES: usize = 200;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    ClientKey,
    Credential,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientKey => "client_key",
            Self::Credential => "credential",
        }
    }
}

/// Why something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    MaxAge,
    Expires,
    Idle,
    MaxUses,
    OwnerDisabled,
    OwnerRoleChanged,
    NewNetwork,
    ConsentWithdrawn,
}

impl Condition {
    pub const ALL: [Self; 8] = [
        Self::MaxAge,
        Self::Expires,
        Self::Idle,
        Self::MaxUses,
        Self::OwnerDisabled,
        Self::OwnerRoleChanged,
        Self::NewNetwork,
        Self::ConsentWithdrawn,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxAge => "max_age",
            Self::Expires => "expires",
            Self::Idle => "idle",
            Self::MaxUses => "max_uses",
            Self::OwnerDisabled => "owner_disabled",
            Self::OwnerRoleChanged => "owner_role_changed",
            Self::NewNetwork => "new_network",
            Self::ConsentWithdrawn => "consent_withdrawn",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// Whether it is a word of `on`.
    const fn is_event(self) -> bool {
        !matches!(self, Self::MaxAge | Self::Expires | Self::Idle | Self::MaxUses)
    }

    /// Whether what ended by it may be given back.
    pub(crate) const fn is_reversible(self) -> bool {
        !matches!(self, Self::ConsentWithdrawn)
    }
}

/// A span of time as files write it: a number with `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => f.write_str("0"),
            all if all.is_multiple_of(86_400) => write!(f, "{}d", all / 86_400),
            all if all.is_multiple_of(3_600) => write!(f, "{}h", all / 3_600),
            all if all.is_multiple_of(60) => write!(f, "{}m", all / 60),
            all => write!(f, "{all}s"),
        }
    }
}

impl FromStr for Span {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a span is a number with s, m, h or d, like 90d";
        const LONGEST: u64 = 100 * 366 * 86_400;
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(WRONG)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(WRONG),
        };
        let number: u64 = number.parse().map_err(|_| WRONG)?;
        // Longer than any key lives.
        let all = number.checked_mul(seconds).filter(|all| *all <= LONGEST);
        all.map(|all| Self(Duration::from_secs(all))).ok_or("a span is at most a hundred years")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A rule. Where several reach one thing, whatever ends first counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub applies_to: Kind,
    /// Narrowings; none: all of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
    /// A day, inclusive, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learn: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
}

impl Rule {
    pub(crate) fn grace(&self) -> Duration {
        self.grace.map_or(GRACE, |span| span.0)
    }

    pub(crate) fn learn(&self) -> Duration {
        self.learn.map_or(LEARN, |span| span.0)
    }

    pub(crate) fn expires(&self) -> Option<Date> {
        self.expires.as_ref().and_then(|day| day.parse().ok())
    }

    /// Whether it depends on how something is used.
    pub(crate) fn needs_uses(&self) -> bool {
        self.idle.is_some() || self.max_uses.is_some() || self.on.contains(&Condition::NewNetwork)
    }

    pub(crate) fn to_stored(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn from_stored(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }

    /// In words, for a dry run and the log.
    pub fn in_words(&self) -> String {
        let mut words = vec![match self.applies_to {
            Kind::ClientKey => "keys".to_owned(),
            Kind::Credential => "credentials".to_owned(),
        }];
        let narrowings = [
            ("of client", self.client.clone()),
            ("of provider", self.provider.clone()),
            ("of connection", self.connection.clone()),
            ("in", self.environment.clone()),
        ];
        for (name, value) in narrowings {
            words.extend(value.map(|value| format!("{name} {value}")));
        }
        let mut ends = Vec::new();
        ends.extend(self.max_age.map(|span| format!("{span} after they were made")));
        ends.extend(self.expires.as_ref().map(|day| format!("after {day}")));
        ends.extend(self.idle.map(|span| format!("when nobody used them for {span}")));
        ends.extend(self.max_uses.map(|uses| format!("after {uses} uses")));
        ends.extend(self.on.iter().map(|one| format!("on {}", one.as_str())));
        format!(
            "{} end {}; given back within {}",
            words.join(" "),
            ends.join(", "),
            Span(self.grace())
        )
    }
}

/// A `[[lifetime]]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    applies_to: Kind,
    client: Option<String>,
    provider: Option<String>,
    connection: Option<String>,
    environment: Option<String>,
    max_age: Option<Span>,
    idle: Option<Span>,
    expires: Option<String>,
    max_uses: Option<u64>,
    #[serde(default)]
    on: Vec<String>,
    learn: Option<Span>,
    grace: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    lifetime: Vec<Spanned<toml::Value>>,
}

pub(crate) type Rules = BTreeMap<Slug, Rule>;

/// Reads a file, or says all that is wrong with it.
///
/// # Errors
/// [`Problem`]s, each with its line.
pub fn read(file: &str, text: &str) -> Result<Rules, Vec<Problem>> {
    let line_at = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let problem = |line: usize, what: String, remedy: &str| Problem {
        file: file.to_owned(),
        line,
        what,
        remedy: remedy.to_owned(),
    };
    let parsed: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        vec![problem(line, error.message().to_owned(), "A file consists of [[lifetime]] tables.")]
    })?;
    let mut rules = Rules::new();
    let mut problems = Vec::new();
    if parsed.lifetime.len() > MAX_RULES {
        let what = format!("there are more than {MAX_RULES} rules");
        problems.push(problem(1, what, "Say with fewer what is meant."));
    }
    for value in parsed.lifetime {
        let line = line_at(value.span().start);
        let entry: Entry = match value.into_inner().try_into() {
            Ok(entry) => entry,
            Err(error) => {
                let what = error.message().to_owned();
                problems.push(problem(line, what, "docs/lifetimes.md lists what a rule may say."));
                continue;
            }
        };
        match rule_of(entry) {
            Ok((name, rule)) => {
                if rules.insert(name.clone(), rule).is_some() {
                    let what = format!("there are two rules of the name {name}");
                    problems.push(problem(line, what, "Give each a name of its own."));
                }
            }
            Err(wrong) => {
                problems
                    .extend(wrong.into_iter().map(|(what, remedy)| problem(line, what, remedy)));
            }
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

type Wrong = Vec<(String, &'static str)>;

fn rule_of(entry: Entry) -> Result<(Slug, Rule), Wrong> {
    let mut wrong = Wrong::new();
    let slug = |kind: &str, text: Option<&String>, wrong: &mut Wrong| -> Option<Slug> {
        let text = text?;
        let read = text.parse().ok();
        if read.is_none() {
            wrong.push((format!("`{kind}` is no name"), "Use a-z, 0-9 and dashes."));
        }
        read
    };
    let name = slug("name", Some(&entry.name), &mut wrong);
    slug("client", entry.client.as_ref(), &mut wrong);
    slug("provider", entry.provider.as_ref(), &mut wrong);
    let is_of_key = entry.applies_to == Kind::ClientKey;
    if is_of_key && (entry.provider.is_some() || entry.connection.is_some()) {
        wrong.push((
            "keys are of clients, not of providers or connections".to_owned(),
            "Narrow by `client`, or let the rule apply to \"credential\".",
        ));
    }
    if !is_of_key && entry.client.is_some() {
        wrong.push((
            "credentials are of connections, not of clients".to_owned(),
            "Narrow by `provider` or `connection`, or let the rule apply to \"client_key\".",
        ));
    }
    if let Some(id) = &entry.connection
        && id.parse::<types::Id<types::Connection>>().is_err()
    {
        wrong.push(("`connection` is no id".to_owned(), "`weirgate connection list` shows ids."));
    }
    if let Some(text) = &entry.environment
        && text.parse::<Environment>().is_err()
    {
        wrong.push(("`environment` is no such".to_owned(), "Write \"live\" or \"test\"."));
    }
    if let Some(day) = &entry.expires
        && day.parse::<Date>().is_err()
    {
        wrong.push(("`expires` is no day".to_owned(), "Write a day like \"2027-06-30\"."));
    }
    for (what, span) in [("max_age", entry.max_age), ("idle", entry.idle)] {
        if span.is_some_and(|span| span.0.is_zero()) {
            wrong.push((format!("`{what}` is no time at all"), "Write a span like \"90d\"."));
        }
    }
    if entry.max_uses == Some(0) {
        wrong.push(("`max_uses` allows none".to_owned(), "Revoke what nobody may use."));
    }
    if entry.grace.is_some_and(|span| span.0 > LONGEST_GRACE) {
        wrong.push(("`grace` is longer than 90 days".to_owned(), "Write at most \"90d\"."));
    }
    let on = events(&entry.on, is_of_key, &mut wrong);
    if entry.learn.is_some() && !on.contains(&Condition::NewNetwork) {
        wrong.push(("`learn` is for `new_network` alone".to_owned(), "Leave it out."));
    }
    let has_end = entry.max_age.is_some()
        || entry.idle.is_some()
        || entry.expires.is_some()
        || entry.max_uses.is_some()
        || !entry.on.is_empty();
    if !has_end {
        wrong.push((
            "the rule ends nothing".to_owned(),
            "Say when: by `max_age`, `idle`, `expires`, `max_uses` or `on`.",
        ));
    }
    match (name, wrong.is_empty()) {
        (Some(name), true) => Ok((
            name,
            Rule {
                applies_to: entry.applies_to,
                client: entry.client,
                provider: entry.provider,
                connection: entry.connection,
                environment: entry.environment,
                max_age: entry.max_age,
                idle: entry.idle,
                expires: entry.expires,
                max_uses: entry.max_uses,
                on,
                learn: entry.learn,
                grace: entry.grace,
            },
        )),
        _ => Err(wrong),
    }
}

fn events(words: &[String], is_of_key: bool, wrong: &mut Wrong) -> Vec<Condition> {
    let mut events = Vec::new();
    for word in words {
        match (word.as_str(), Condition::of(word).filter(|one| one.is_event())) {
            ("leak_reported" | "customer_offboarded", _) => wrong.push((
                format!("`{word}` needs no rule: it always ends what it is about, for good"),
                "Leave it out; `weirgate vault leak` and `weirgate customer erase` do it.",
            )),
            ("assessment_failed" | "issue", _) => wrong.push((
                format!("nothing tells of `{word}` yet"),
                "Leave it out until providers are assessed and failures become issues.",
            )),
            (_, Some(Condition::ConsentWithdrawn)) if is_of_key => wrong.push((
                "customers consent to connections, not to keys".to_owned(),
                "Let the rule apply to \"credential\".",
            )),
            (_, Some(event)) if !is_of_key && event != Condition::ConsentWithdrawn => {
                wrong.push((
                    format!("`{word}` is of keys and their clients"),
                    "Let the rule apply to \"client_key\".",
                ));
            }
            (_, Some(event)) if events.contains(&event) => {
                wrong.push((format!("`{word}` is named twice"), "Name it once."));
            }
            (_, Some(event)) => events.push(event),
            (_, None) => wrong.push((
                "there is no such event".to_owned(),
                "For keys: owner_disabled, owner_role_changed, new_network; for credentials: consent_withdrawn.",
            )),
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_written() {
        for (text, seconds) in
            [("90d", 7_776_000), ("12h", 43_200), ("90m", 5_400), ("7s", 7), ("0", 0)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0.as_secs(), seconds);
            assert_eq!(span.to_string(), text);
        }
        for bad in ["", "d", "90", "-1d", "1w", "99999999999999999999d", "40000d", "1.5d", "é"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_reads_back_as_it_was_stored() {
        let text = "[[lifetime]]\nname = \"keys\"\napplies_to = \"client_key\"\nclient = \"payroll\"\n\
                    max_age = \"90d\"\nidle = \"30d\"\nexpires = \"2027-06-30\"\nmax_uses = 5\n\
                    on = [\"owner_disabled\", \"new_network\"]\nlearn = \"1d\"\ngrace = \"3d\"\n";
        let rules = read("f.toml", text).unwrap();
        let rule = &rules[&"keys".parse::<Slug>().unwrap()];
        assert_eq!(Rule::from_stored(&rule.to_stored()).as_ref(), Some(rule));
        let words = "keys of client payroll end 90d after they were made, after 2027-06-30, when \
                     nobody used them for 30d, after 5 uses, on owner_disabled, on new_network; given \
                     back within 3d";
        assert_eq!(rule.in_words(), words);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_with_its_line() {
        let text = "[[lifetime]]\nname = \"A b\"\napplies_to = \"client_key\"\nprovider = \"hr\"\n\n\
                    [[lifetime]]\nname = \"one\"\napplies_to = \"credential\"\nclient = \"c\"\n\
                    max_age = \"0\"\non = [\"leak_reported\", \"issue\", \"new_network\", \"x\"]\n\n\
                    [[lifetime]]\nname = \"two\"\napplies_to = \"client_key\"\nmax_agee = \"1d\"\n\n\
                    [[lifetime]]\nname = \"three\"\napplies_to = \"client_key\"\nexpires = \"soon\"\n\
                    environment = \"prod\"\nmax_uses = 0\ngrace = \"91d\"\nlearn = \"1d\"\n";
        let problems = read("f.toml", text).unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|one| one.line).collect();
        assert_eq!(lines.len(), 3 + 6 + 1 + 5, "{problems:#?}");
        assert!(lines.is_sorted() && lines[0] == 1 && lines.last() == Some(&18), "{lines:?}");
        let broken = read("f.toml", "[[lifetime]]\nname = \"x\nbroken").unwrap_err();
        assert!(broken.len() == 1 && broken[0].line >= 2, "{broken:?}");
        assert!(read("f.toml", "[[grant]]\nx = 1\n").is_err());
        let twice =
            "[[lifetime]]\nname = \"a\"\napplies_to = \"client_key\"\nidle = \"1d\"\n".repeat(2);
        assert_eq!(read("f.toml", &twice).unwrap_err().len(), 1);
    }
}

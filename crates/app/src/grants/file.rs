//! Grant files as written: every problem at once, each with its file, line and remedy.

use std::{collections::BTreeSet, fmt, ops::Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One thing that is wrong in a grant file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// Counts from 1.
    pub line: usize,
    pub what: String,
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}. {}", self.file, self.line, self.what, self.remedy)
    }
}

/// A text with the line it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub text: String,
    pub line: usize,
}

/// A `[[grant]]` as written.
#[derive(Debug, Clone)]
pub struct Entry {
    pub file: String,
    pub line: usize,
    pub client: Option<Placed>,
    pub provider: Option<Placed>,
    pub connection: Option<Placed>,
    pub purpose: Option<Placed>,
    pub expires: Option<Placed>,
    pub allow: Vec<AllowEntry>,
}

/// One element of `allow` as written.
#[derive(Debug, Clone, Default)]
pub struct AllowEntry {
    pub line: usize,
    pub object: Option<Placed>,
    pub actions: Vec<Placed>,
    pub fields: Vec<Placed>,
    pub params: Vec<Placed>,
    pub headers: Vec<Placed>,
    pub operations: Vec<Placed>,
}

/// A `[[role]]` as written.
#[derive(Debug, Clone)]
pub struct RoleEntry {
    pub file: String,
    pub line: usize,
    pub name: Option<Placed>,
    pub acts: Vec<Placed>,
}

/// What files hold.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    pub grants: Vec<Entry>,
    pub roles: Vec<RoleEntry>,
}

const ROLE_KEYS: [&str; 2] = ["name", "acts"];
const GRANT_KEYS: [&str; 6] = ["client", "provider", "connection", "purpose", "expires", "allow"];
const ALLOW_KEYS: [&str; 6] = ["object", "actions", "fields", "params", "headers", "operations"];

/// Reads files; what can be read is read even beside problems, so that all of them are found.
pub fn parse(files: &[(String, Vec<u8>)]) -> (Entries, Vec<Problem>) {
    let mut entries = Entries::default();
    let mut problems = Vec::new();
    for (name, bytes) in files {
        let mut reader =
            Reader { file: name, text: "", broken: BTreeSet::new(), problems: &mut problems };
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                reader.text = text;
                reader.file(&mut entries);
            }
            Err(error) => {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                reader.problems.push(Problem {
                    file: name.clone(),
                    line,
                    what: "the file is not UTF-8 text".into(),
                    remedy: "Save it as UTF-8.".into(),
                });
            }
        }
    }
    (entries, problems)
}

struct Reader<'r> {
    file: &'r str,
    text: &'r str,
    /// Lines that are no TOML.
    broken: BTreeSet<usize>,
    problems: &'r mut Vec<Problem>,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
    }

    fn problem(&mut self, span: &Range<usize>, what: impl Into<String>, remedy: impl Into<String>) {
        let line = self.line(span);
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line,
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    fn file(&mut self, entries: &mut Entries) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            // What the parser makes of the rest of a broken line is no news.
            if self.broken.insert(self.line(&span)) {
                self.problem(&span, error.message(), "Correct the TOML.");
            }
        }
        for (key, value) in table.get_ref() {
            let kind = key.get_ref().as_ref();
            if !matches!(kind, "grant" | "role") {
                let what = format!("`{kind}` is no key of a grant file");
                self.problem(
                    &key.span(),
                    what,
                    "A file consists of [[grant]] and [[role]] tables.",
                );
                continue;
            }
            let form = format!("Write [[{kind}]].");
            let DeValue::Array(items) = value.get_ref() else {
                self.problem(&key.span(), format!("`{kind}` is no list of tables"), form);
                continue;
            };
            for item in items {
                match item.get_ref() {
                    DeValue::Table(table) if kind == "grant" => {
                        entries.grants.push(self.grant(table, &item.span()));
                    }
                    DeValue::Table(table) => entries.roles.push(self.role(table, &item.span())),
                    _ => self.problem(&item.span(), format!("a {kind} is no table"), &*form),
                }
            }
        }
    }

    fn role(&mut self, table: &DeTable<'_>, span: &Range<usize>) -> RoleEntry {
        let (file, line) = (self.file.to_owned(), self.line(span));
        let mut entry = RoleEntry { file, line, name: None, acts: Vec::new() };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => entry.name = self.text_of("name", value),
                "acts" => entry.acts = self.texts_of("acts", value),
                _ => self.unknown(key, &ROLE_KEYS, "a role"),
            }
        }
        let given: BTreeSet<&str> = table.iter().map(|(key, _)| key.get_ref().as_ref()).collect();
        for key in ROLE_KEYS {
            if !given.contains(key) {
                self.problem(span, format!("the role has no `{key}`"), example(key));
            }
        }
        entry
    }

    fn unknown(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, known: &[&str], of: &str) {
        let name = key.get_ref().as_ref();
        if self.broken.contains(&self.line(&key.span())) {
            return;
        }
        let remedy = match types::nearest(name, known.iter().copied()) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("The keys are {}.", known.join(", ")),
        };
        self.problem(&key.span(), format!("`{name}` is no key of {of}"), remedy);
    }

    fn grant(&mut self, table: &DeTable<'_>, span: &Range<usize>) -> Entry {
        let mut entry = Entry {
            file: self.file.to_owned(),
            line: self.line(span),
            client: None,
            provider: None,
            connection: None,
            purpose: None,
            expires: None,
            allow: Vec::new(),
        };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "client" => entry.client = self.text_of("client", value),
                "provider" => entry.provider = self.text_of("provider", value),
                "connection" => entry.connection = self.text_of("connection", value),
                "purpose" => entry.purpose = self.text_of("purpose", value),
                "expires" => entry.expires = self.text_of("expires", value),
                "allow" => entry.allow = self.allow(value),
                _ => self.unknown(key, &GRANT_KEYS, "a grant"),
            }
        }
        let given: BTreeSet<&str> = table.iter().map(|(key, _)| key.get_ref().as_ref()).collect();
        for key in ["client", "purpose", "expires", "allow"] {
            if !given.contains(key) {
                self.problem(span, format!("the grant has no `{key}`"), example(key));
            }
        }
        if given.contains("provider") == given.contains("connection") {
            let what = "the grant names not exactly one of `provider` and `connection`";
            self.problem(span, what, "Name the provider, or one connection of it.");
        }
        entry
    }

    fn text_of(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Placed> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            // A date needs no quotes.
            DeValue::Datetime(date) => date.to_string(),
            _ => {
                self.problem(&value.span(), format!("`{key}` is no text"), example(key));
                return None;
            }
        };
        Some(Placed { text, line: self.line(&value.span()) })
    }

    fn texts_of(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Placed> {
        let DeValue::Array(items) = value.get_ref() else {
            self.problem(&value.span(), format!("`{key}` is no list of texts"), example(key));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.text_of(key, item)).collect()
    }

    fn allow(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<AllowEntry> {
        let DeValue::Array(items) = value.get_ref() else {
            self.problem(&value.span(), "`allow` is no list of tables", example("allow"));
            return Vec::new();
        };
        let mut allow = Vec::new();
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                self.problem(&item.span(), "an element of `allow` is no table", example("allow"));
                continue;
            };
            let mut entry = AllowEntry { line: self.line(&item.span()), ..AllowEntry::default() };
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    "object" => entry.object = self.text_of("object", value),
                    "actions" => entry.actions = self.texts_of("actions", value),
                    "fields" => entry.fields = self.texts_of("fields", value),
                    "params" => entry.params = self.texts_of("params", value),
                    "headers" => entry.headers = self.texts_of("headers", value),
                    "operations" => entry.operations = self.texts_of("operations", value),
                    _ => self.unknown(key, &ALLOW_KEYS, "an element of `allow`"),
                }
            }
            allow.push(entry);
        }
        allow
    }
}

fn example(key: &str) -> String {
    match key {
        "client" => "Write like client = \"payroll-sync\".",
        "provider" => "Write like provider = \"bamboohr\".",
        "connection" => "Write like connection = \"conn_...\".",
        "purpose" => "Say what for, like purpose = \"run payroll\".",
        "expires" => "Write the last day, like expires = \"2027-06-30\".",
        "allow" => "Write like allow = [{ object = \"Employee\", actions = [\"read\"], fields = [\"id\"] }].",
        "name" => "Write like name = \"auditor-abroad\".",
        "acts" => "Write like acts = [\"audit.read\"]; `weirgate role list --acts` names them all.",
        "actions" => "Write like actions = [\"read\"].",
        _ => "Write a list of texts in quotes.",
    }
    .to_owned()
}

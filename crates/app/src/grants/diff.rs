//! What applying would change, in words.

use super::{ResolvedGrant, changed_fields, elements::pairs, resolve::Catalogue};
use provider::Provider;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One grant that is added, changed or revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: &'static str,
    /// `payroll-sync on bamboohr, to run payroll`.
    pub grant: String,
    pub words: Vec<String>,
    /// It opens a field with a sensitive label, something whole, or more behind a field than before.
    pub opens_sensitive: bool,
}

/// Names for people.
pub trait Words {
    fn client(&self, grant: &ResolvedGrant) -> String;
    fn target(&self, grant: &ResolvedGrant) -> String;
}

impl Words for Catalogue {
    fn client(&self, grant: &ResolvedGrant) -> String {
        let found = self.clients.iter().find(|(_, id)| **id == grant.client.0);
        found.map_or_else(|| grant.client.0.to_string(), |(name, _)| name.clone())
    }

    fn target(&self, grant: &ResolvedGrant) -> String {
        match (&grant.provider, &grant.connection) {
            (Some(id), _) => {
                let found = self.providers.iter().find(|(_, (own, _))| *own == id.0);
                found.map_or_else(|| id.0.to_string(), |(slug, _)| slug.clone())
            }
            (None, Some(id)) => id.0.to_string(),
            (None, None) => "nothing".to_owned(),
        }
    }
}

/// The names of a grant's client and target.
pub fn names(grant: &ResolvedGrant, catalogue: &Catalogue) -> (String, String) {
    (catalogue.client(grant), catalogue.target(grant))
}

impl Change {
    pub fn to_json(&self) -> Value {
        json!({"kind": self.kind, "grant": self.grant, "words": self.words})
    }
}

/// Compares what is stored with what the files say.
pub fn diff(
    before: &[ResolvedGrant],
    after: &[ResolvedGrant],
    catalogue: &Catalogue,
) -> Vec<Change> {
    let name = |grant: &ResolvedGrant| {
        format!("{} on {}, to {}", catalogue.client(grant), catalogue.target(grant), grant.purpose)
    };
    let mut changes = Vec::new();
    for grant in after {
        let old = before.iter().find(|one| one.identity() == grant.identity());
        let model = catalogue.model_of(grant);
        match old {
            None => {
                let mut words = compare(&BTreeSet::new(), &facts(grant), model);
                words.extend(beside_in_words(None, grant));
                words.push(format!("expires after {}", grant.expires));
                let opens_sensitive = opens_sensitive(None, grant, model);
                changes.push(Change { kind: "added", grant: name(grant), words, opens_sensitive });
            }
            Some(old) if old != grant => {
                let mut words = compare(&facts(old), &facts(grant), model);
                words.extend(by_element(old, grant, model));
                words.extend(changed_fields(old, grant));
                words.extend(beside_in_words(Some(old), grant));
                if old.expires != grant.expires {
                    words.push(format!(
                        "expires after {} instead of {}",
                        grant.expires, old.expires
                    ));
                }
                let opens_sensitive = opens_sensitive(Some(old), grant, model);
                changes.push(Change {
                    kind: "changed",
                    grant: name(grant),
                    words,
                    opens_sensitive,
                });
            }
            Some(_) => {}
        }
    }
    for grant in before {
        if !after.iter().any(|one| one.identity() == grant.identity()) {
            let words = compare(&facts(grant), &BTreeSet::new(), catalogue.model_of(grant));
            let opens_sensitive = false;
            changes.push(Change { kind: "revoked", grant: name(grant), words, opens_sensitive });
        }
    }
    changes
}

/// Whether a grant lets something through that somebody must look at twice.
fn opens_sensitive(
    before: Option<&ResolvedGrant>,
    after: &ResolvedGrant,
    model: Option<&Provider>,
) -> bool {
    let none = ResolvedGrant { allow: Vec::new(), ..after.clone() };
    let pairs = pairs(before.unwrap_or(&none), after);
    pairs.iter().any(|pair| pair.opens_sensitive(model, after))
}

/// What an element opens or closes where another element of the object has it: by object and field alone
/// it would be no news.
fn by_element(
    before: &ResolvedGrant,
    after: &ResolvedGrant,
    model: Option<&Provider>,
) -> Vec<String> {
    let (known, now) = (facts(before), facts(after));
    let mut words = Vec::new();
    for pair in pairs(before, after) {
        let sides = [
            ("opens", pair.after, pair.opened(), &known),
            ("closes", pair.before, pair.closed(), &now),
        ];
        for (verb, allow, fields, others) in sides {
            let Some(allow) = allow else { continue };
            let object = allow.object.clone().unwrap_or_default();
            let access = if allow.is_write() { "write" } else { "read" };
            let place = if allow.operations.is_empty() {
                allow.actions.join(", ")
            } else {
                format!("{} by {}", allow.actions.join(", "), allow.operations.join(", "))
            };
            let is_elsewhere = |field: &&str| {
                let (object, field) = (object.clone(), (*field).to_owned());
                others.contains(&Fact::Field { object, access, field })
            };
            words.extend(fields.into_iter().filter(is_elsewhere).map(|field| {
                let label = label(model, &object, field);
                let label = label.map_or_else(String::new, |label| format!(" ({label})"));
                format!("{verb} {object}.{field}{label} for {place}")
            }));
        }
    }
    words
}

/// One thing that a grant permits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Action { object: String, action: String },
    Field { object: String, access: &'static str, field: String },
    Param(String),
    Header(String),
    Unfiltered { action: String, operation: String },
    Only { object: String, operation: String },
}

fn facts(grant: &ResolvedGrant) -> BTreeSet<Fact> {
    let mut facts = BTreeSet::new();
    for allow in &grant.allow {
        let object = allow.object.clone().unwrap_or_default();
        for action in &allow.actions {
            if matches!(action.as_str(), "download" | "upload") {
                for operation in &allow.operations {
                    facts.insert(Fact::Unfiltered {
                        action: action.clone(),
                        operation: operation.clone(),
                    });
                }
                continue;
            }
            facts.insert(Fact::Action { object: object.clone(), action: action.clone() });
            let access = if action == "read" { "read" } else { "write" };
            for field in &allow.fields {
                facts.insert(Fact::Field { object: object.clone(), access, field: field.clone() });
            }
            for operation in &allow.operations {
                facts.insert(Fact::Only { object: object.clone(), operation: operation.clone() });
            }
        }
        facts.extend(allow.params.iter().cloned().map(Fact::Param));
        facts.extend(allow.headers.iter().cloned().map(Fact::Header));
    }
    facts
}

fn compare(
    before: &BTreeSet<Fact>,
    after: &BTreeSet<Fact>,
    model: Option<&Provider>,
) -> Vec<String> {
    let mut words = Vec::new();
    for (verb, from, to) in [("adds", before, after), ("removes", after, before)] {
        let changed: Vec<&Fact> = to.difference(from).collect();
        words.extend(fields_in_words(verb, &changed, model));
        for fact in changed {
            match fact {
                Fact::Action { object, action } => {
                    words.push(format!("{verb} {action} on {object}"));
                }
                Fact::Param(name) => words.push(format!("{verb} the query parameter {name}")),
                Fact::Header(name) => words.push(format!("{verb} the header {name}")),
                Fact::Unfiltered { action, operation } => {
                    words.push(format!("{verb} unfiltered {action} by {operation}"));
                }
                Fact::Only { object, operation } => {
                    words.push(format!("{verb} {operation} as a way to {object}"));
                }
                Fact::Field { .. } => {}
            }
        }
    }
    words
}

/// The most operations that are told one by one.
const MAX_BESIDE: usize = 20;

/// What passes beside the objects of operations that a grant opens and did not before.
fn beside_in_words(before: Option<&ResolvedGrant>, after: &ResolvedGrant) -> Vec<String> {
    let known: BTreeSet<&String> =
        before.iter().flat_map(|grant| &grant.allow).flat_map(|allow| &allow.reached).collect();
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (operation, found) in after.allow.iter().flat_map(|allow| &allow.beside) {
        if !known.contains(operation) {
            // That errors have words goes without saying.
            let found = found.iter().map(String::as_str).filter(|one| !gateway::is_error_term(one));
            all.entry(operation).or_default().extend(found);
        }
    }
    all.retain(|_, found| !found.is_empty());
    let more = all.len().saturating_sub(MAX_BESIDE);
    let in_words = |(operation, found): (&str, BTreeSet<&str>)| {
        let found: Vec<&str> = found.into_iter().collect();
        format!("lets through beside the object of {operation}: {}", found.join(", "))
    };
    let mut words: Vec<String> = all.into_iter().take(MAX_BESIDE).map(in_words).collect();
    if more > 0 {
        words.push(format!("lets through more of the kind in {more} other operations"));
    }
    words
}

/// `adds 2 fields, 1 of them personal: Employee.id, Employee.ssn (user.government_id)`.
fn fields_in_words(verb: &str, changed: &[&Fact], model: Option<&Provider>) -> Vec<String> {
    let mut words = Vec::new();
    for wanted in ["read", "write"] {
        let mut named = Vec::new();
        let mut personal = 0;
        for fact in changed {
            let Fact::Field { object, access, field } = fact else { continue };
            if *access != wanted {
                continue;
            }
            match label(model, object, field) {
                Some(category) => {
                    personal += 1;
                    named.push(format!("{object}.{field} ({category})"));
                }
                None => named.push(format!("{object}.{field}")),
            }
        }
        if named.is_empty() {
            continue;
        }
        let count = named.len();
        let plural = if count == 1 { "field" } else { "fields" };
        let of_them =
            if personal == 0 { String::new() } else { format!(", {personal} of them personal") };
        let to_write = if wanted == "write" { " to write" } else { "" };
        words.push(format!("{verb} {count} {plural}{to_write}{of_them}: {}", named.join(", ")));
    }
    words
}

/// The data category of a field, if it is personal or secret.
fn label(model: Option<&Provider>, object: &str, field: &str) -> Option<String> {
    let (_, object) = model?.object_by_name(object)?;
    let found = object.fields.iter().find(|one| {
        one.path == field || one.path.trim_end_matches("[]").trim_end_matches(".*") == field
    })?;
    found.label.as_ref().map(|label| label.category.clone())
}

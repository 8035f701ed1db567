//! What a new description of a provider would mean, for its users and for the grants in force.

use crate::{
    error::Error,
    grants::{
        Allow, ResolvedGrant, end_in_force, more_beside, more_terms, permission, prepare,
        reach_anew,
    },
    instance::Instance,
};
pub use provider::diff::Level;
use provider::{
    Field, FieldKind, LoadLimits, ObjectId, Operation, Provider, Step,
    diff::{
        Change, ChangeKind, diff, is_required_in_requests, operation_key, operation_text, type_text,
    },
    select::{FieldSteps, check_fields, expand_star, normal, parse_steps, spell},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use store::GrantTarget;
use types::{Slug, Timestamp};

/// A description as it came, with its overlay.
#[derive(Debug, Clone)]
pub struct Description {
    pub bytes: Vec<u8>,
    pub overlay: Option<Vec<u8>>,
}

impl Description {
    fn read(&self) -> Result<Provider, Error> {
        Ok(provider::load(&self.bytes, self.overlay.as_deref(), &LoadLimits::default())?)
    }
}

/// What changes, and what that means.
#[derive(Debug)]
pub struct Report {
    pub changes: Vec<Change>,
    /// `None` where two files were compared, which no grant is about.
    pub grants: Option<Vec<GrantReport>>,
}

/// What it means for one grant.
#[derive(Debug)]
pub struct GrantReport {
    /// The client's name.
    pub client: String,
    /// The provider's slug or the connection's id.
    pub target: String,
    pub purpose: String,
    /// What matters most first.
    pub effects: Vec<Effect>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    pub level: Level,
    /// Stable `snake_case`, in JSON.
    pub kind: &'static str,
    pub words: String,
}

/// Compares two files.
pub fn between_files(old: &Description, new: &Description) -> Result<Report, Error> {
    Ok(Report { changes: diff(&old.read()?, &new.read()?), grants: None })
}

/// Compares an imported provider with a description that could take its place. Its stored overlay
/// stays in force unless another is given.
pub async fn with_imported(
    instance: &Instance,
    slug: &Slug,
    mut new: Description,
) -> Result<Report, Error> {
    let everything = instance.store.load_all().await?;
    let row = everything
        .providers
        .iter()
        .find(|row| row.slug == *slug)
        .ok_or_else(|| Error::NameUnknown { kind: "provider" })?;
    new.overlay = new.overlay.or_else(|| row.overlay.clone());
    let old = Description { bytes: row.description.clone(), overlay: row.overlay.clone() };
    let (old, new) = (old.read()?, new.read()?);
    let mut changes = diff(&old, &new);
    if row.server.is_some() {
        // `--server` replaced them all.
        for change in &mut changes {
            if matches!(change.kind, ChangeKind::Servers | ChangeKind::OperationServers) {
                change.level = Level::Info;
            }
        }
    }
    let now = instance.clock.now();
    let mut grants = Vec::new();
    for stored in &everything.grants {
        let target = match stored.target {
            GrantTarget::Provider(id) if id == row.id => slug.to_string(),
            GrantTarget::Connection(id) => {
                let mut connections = everything.connections.iter();
                match connections.find(|one| one.id == id && one.revoked_at.is_none()) {
                    Some(connection) if connection.provider == row.id => id.to_string(),
                    _ => continue,
                }
            }
            GrantTarget::Provider(_) => continue,
        };
        let grant: ResolvedGrant = serde_json::from_str(&stored.body)
            .map_err(|_| Error::Internal { what: "a stored grant cannot be read" })?;
        let client = everything.clients.iter().find(|one| one.id == stored.client);
        let effects = effects(&old, &new, &grant, now);
        if !effects.is_empty() {
            grants.push(GrantReport {
                client: client
                    .map_or_else(|| stored.client.to_string(), |one| one.name.to_string()),
                target,
                purpose: grant.purpose,
                effects,
            });
        }
    }
    grants.sort_by(|a, b| {
        (&a.client, &a.target, &a.purpose).cmp(&(&b.client, &b.target, &b.purpose))
    });
    Ok(Report { changes, grants: Some(grants) })
}

/// What a grant loses, gains and no longer means. An expired grant has no effects.
fn effects(old: &Provider, new: &Provider, grant: &ResolvedGrant, now: Timestamp) -> Vec<Effect> {
    if end_in_force(grant, now).is_none() {
        return Vec::new();
    }
    let mut found = Effects::default();
    let (before, after) = (permitted(old, grant, now), permitted(new, grant, now));
    let mut anew = grant.clone();
    for allow in &mut anew.allow {
        reach_anew(allow, new);
    }
    for (key, text) in &before {
        if !after.contains_key(key) {
            found.add("loses_operation", Level::Breaking, format!("loses {text}"));
        }
    }
    for (key, text) in permitted(new, &anew, now) {
        if after.contains_key(&key) && !before.contains_key(&key) {
            found.add("gains_operation", Level::Attention, format!("may now call {text}"));
        } else if !after.contains_key(&key) {
            let words = format!("may call {text} once it is applied again");
            found.add("gains_operation", Level::Attention, words);
        }
    }
    for allow in &grant.allow {
        let known = more_beside(allow, old);
        for (operation, more) in more_beside(allow, new) {
            let is_new =
                |what: &String| !known.get(&operation).is_some_and(|all| all.contains(what));
            for what in more.iter().filter(|what| is_new(what)) {
                let words = format!("{operation} lets {what} through once it is applied again");
                found.add("gains_beside", Level::Attention, words);
            }
        }
        let known = more_terms(allow, old);
        for (operation, more) in more_terms(allow, new) {
            let is_new =
                |what: &String| !known.get(&operation).is_some_and(|all| all.contains(what));
            for what in more.iter().filter(|what| is_new(what)) {
                let words = format!("{operation} takes {what} once it is applied again");
                found.add("gains_terms", Level::Attention, words);
            }
        }
        names(old, new, allow, &mut found);
        if let Some(name) = &allow.object {
            object(old, new, allow, name, &mut found);
        }
    }
    let mut all: Vec<Effect> = found.all.into_iter().collect();
    all.sort_by(|a, b| (b.level, a.kind, &a.words).cmp(&(a.level, b.kind, &b.words)));
    all
}

#[derive(Default)]
struct Effects {
    all: BTreeSet<Effect>,
}

impl Effects {
    fn add(&mut self, kind: &'static str, level: Level, words: String) {
        self.all.insert(Effect { level, kind, words });
    }
}

/// The operations that a grant opens by itself.
fn permitted(
    provider: &Provider,
    grant: &ResolvedGrant,
    now: Timestamp,
) -> BTreeMap<String, String> {
    let prepared = prepare(&[grant], provider, now);
    let operations = provider.operations.iter().enumerate();
    operations
        .filter(|(place, _)| permission(&prepared, provider, *place).is_some())
        .map(|(_, operation)| (operation_key(operation), operation_text(operation)))
        .collect()
}

/// Parameters, headers and operations that the grant names and that are not declared any more.
fn names(old: &Provider, new: &Provider, allow: &Allow, found: &mut Effects) {
    let declares = |provider: &Provider, name: &str| {
        let params = provider.operations.iter().flat_map(|operation| &operation.params);
        params.clone().any(|param| param.name.eq_ignore_ascii_case(name))
    };
    for name in allow.params.iter().chain(&allow.headers) {
        if declares(old, name) && !declares(new, name) {
            let words = format!("loses the parameter {name}");
            found.add("loses_parameter", Level::Breaking, words);
        }
    }
    let has = |provider: &Provider, id: &str| {
        provider.operations.iter().any(|operation: &Operation| operation.id == id)
    };
    for id in &allow.operations {
        if has(old, id) && !has(new, id) {
            let words = format!("names the operation {id}, which is not declared any more");
            found.add("loses_operation", Level::Breaking, words);
        }
    }
}

fn object(old: &Provider, new: &Provider, allow: &Allow, name: &str, found: &mut Effects) {
    let Some((old_id, _)) = old.object_by_name(name) else { return };
    let Some((new_id, _)) = new.object_by_name(name) else {
        let words = format!("loses {name}, and cannot be applied again");
        found.add("loses_object", Level::Breaking, words);
        return;
    };
    let is_write =
        allow.actions.iter().any(|action| matches!(action.as_str(), "create" | "update"));
    let is_read = allow.actions.iter().any(|action| action == "read");
    for is_write in [false, true].into_iter().filter(|one| if *one { is_write } else { is_read }) {
        let side = |provider, id| Side { provider, id, name, allow, is_write };
        fields(&side(old, old_id), &side(new, new_id), found);
    }
}

/// One description's side of what an element of a grant says of an object.
struct Side<'s> {
    provider: &'s Provider,
    id: ObjectId,
    name: &'s str,
    allow: &'s Allow,
    is_write: bool,
}

impl Side<'_> {
    fn granted(&self) -> BTreeSet<FieldSteps> {
        self.allow.fields.iter().filter_map(|text| parse_steps(text)).collect()
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        let all = self.provider.object(self.id).map(|object| object.fields.as_slice());
        let is_write = self.is_write;
        all.unwrap_or_default()
            .iter()
            .filter(move |field| if is_write { !field.is_read_only } else { !field.is_write_only })
    }

    /// The declared fields that pass: named, or plain leaves of an inline object that is named.
    fn passing(&self) -> BTreeMap<&str, &Field> {
        let granted = self.granted();
        self.fields()
            .filter(|field| field.kind != FieldKind::Inline)
            .filter(|field| {
                let steps = normal(&field.steps);
                let is_leaf = matches!(field.kind, FieldKind::Scalar { .. });
                let is_sensitive = field.label.as_ref().is_some_and(|label| label.is_sensitive);
                granted.iter().any(|path| {
                    *path == steps || is_leaf && !is_sensitive && steps.starts_with(path)
                })
            })
            .map(|field| (field.path.as_str(), field))
            .collect()
    }

    fn is_declared(&self, text: &str) -> bool {
        check_fields(self.provider, self.id, self.is_write, &[text.to_owned()]).is_ok()
    }

    fn text(&self, path: &str) -> String {
        let to_write = if self.is_write { " to write" } else { "" };
        format!("{}.{path}{to_write}", self.name)
    }

    fn star(&self) -> BTreeSet<Vec<Step>> {
        expand_star(self.provider, self.id, self.is_write).into_iter().collect()
    }
}

fn fields(old: &Side<'_>, new: &Side<'_>, found: &mut Effects) {
    for text in &old.allow.fields {
        if old.is_declared(text) && !new.is_declared(text) {
            let words = format!("loses {}", old.text(text));
            found.add("loses_field", Level::Breaking, words);
        }
    }
    let (before, after) = (old.passing(), new.passing());
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        let is_declared = new.fields().any(|field| field.path == **path);
        let why = if is_declared { " (still declared; not granted by this any more)" } else { "" };
        let words = format!("loses {}{why}", old.text(path));
        found.add("loses_field", Level::Breaking, words);
    }
    let was_open = |steps: &[Step]| {
        before.values().any(|field| is_open(field) && steps.starts_with(&normal(&field.steps)))
    };
    for (path, field) in &after {
        let Some(was) = before.get(path) else {
            // Within something that passed whole it is nothing new.
            if !was_open(&field.steps) {
                let words = format!("now yields {}{}", new.text(path), label(field));
                found.add("gains_field", Level::Attention, words);
            }
            continue;
        };
        if is_open(field) && !is_open(was) {
            let words = format!(
                "yields {} whole, wider than granted: it was {}, and is {}",
                new.text(path),
                type_text(old.provider, &was.kind),
                type_text(new.provider, &field.kind)
            );
            found.add("wider_field", Level::Attention, words);
        }
    }
    by_star(old, new, found);
    if new.is_write {
        required(old, new, found);
    }
}

/// Grants hold what `*` became when they were applied. Where one holds all of it, applying its file
/// anew may give more.
fn by_star(old: &Side<'_>, new: &Side<'_>, found: &mut Effects) {
    let (before, after) = (old.star(), new.star());
    let granted = old.granted();
    if before.len() < 2 || !before.iter().all(|steps| granted.contains(steps)) {
        return;
    }
    for steps in after.difference(&before).filter(|steps| !granted.contains(*steps)) {
        let path = spell(steps);
        let field = new.fields().find(|field| normal(&field.steps) == *steps);
        let words = format!(
            "`*` now yields {}{}, if that is what its file says, when it is applied again",
            new.text(&path),
            field.map(label).unwrap_or_default()
        );
        found.add("star_yields", Level::Attention, words);
    }
}

/// Fields that a request must have now and that the grant does not let through.
fn required(old: &Side<'_>, new: &Side<'_>, found: &mut Effects) {
    let passing = new.passing();
    let needs = |side: &Side<'_>| -> BTreeSet<String> {
        let Some(object) = side.provider.object(side.id) else { return BTreeSet::new() };
        side.fields()
            // Only what lies at the top is needed in any case.
            .filter(|field| field.steps.len() == 1)
            .filter(|field| is_required_in_requests(side.provider, object, field))
            .map(|field| field.path.clone())
            .collect()
    };
    let before = needs(old);
    for path in needs(new).difference(&before) {
        let is_granted = passing.contains_key(path.as_str())
            || new.granted().iter().any(|steps| spell(steps) == *path);
        let words = if is_granted {
            format!("{} is required now", new.text(path))
        } else {
            format!("{} is required now, and not granted", new.text(path))
        };
        found.add("requires_field", Level::Breaking, words);
    }
}

/// Whether anything passes that stands there.
fn is_open(field: &Field) -> bool {
    matches!(field.kind, FieldKind::FreeForm | FieldKind::Untyped)
}

fn label(field: &Field) -> String {
    field.label.as_ref().map_or_else(String::new, |label| format!(" ({})", label.category))
}

impl Report {
    /// The highest level of anything in it.
    pub fn worst(&self) -> Option<Level> {
        let changes = self.changes.iter().map(|change| change.level);
        let effects = self.grants.iter().flatten().flat_map(|grant| &grant.effects);
        changes.chain(effects.map(|effect| effect.level)).max()
    }

    pub fn to_json(&self) -> Value {
        let changes: Vec<Value> = self
            .changes
            .iter()
            .map(|change| {
                json!({
                    "kind": change.kind.as_str(),
                    "level": change.level.as_str(),
                    "subject": change.subject,
                    "was": change.was,
                    "now": change.now,
                })
            })
            .collect();
        let grants = self.grants.as_ref().map(|grants| {
            let grants = grants.iter().map(|grant| {
                let effects: Vec<Value> = grant
                    .effects
                    .iter()
                    .map(|effect| {
                        json!({
                            "kind": effect.kind,
                            "level": effect.level.as_str(),
                            "words": effect.words,
                        })
                    })
                    .collect();
                json!({
                    "client": grant.client,
                    "target": grant.target,
                    "purpose": grant.purpose,
                    "effects": effects,
                })
            });
            grants.collect::<Vec<Value>>()
        });
        let worst = self.worst().map(Level::as_str);
        json!({"worst": worst, "changes": changes, "grants": grants})
    }

    pub fn to_text(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for change in &self.changes {
            let what = match (&change.was, &change.now) {
                (Some(was), Some(now)) => format!(": was {was}; is {now}"),
                (None, Some(now)) => format!(": {now}"),
                (Some(was), None) => format!(": was {was}"),
                (None, None) => String::new(),
            };
            lines.push(format!(
                "{:<9}  {:<27}  {}{what}",
                change.level.as_str(),
                change.kind.as_str(),
                change.subject
            ));
        }
        if self.changes.is_empty() {
            lines.push("Nothing changed that Weirgate looks at.".to_owned());
        }
        if let Some(grants) = &self.grants {
            lines.extend([String::new(), "Grants".to_owned()]);
            for grant in grants {
                lines.push(format!("  {} on {}, to {}", grant.client, grant.target, grant.purpose));
                for effect in &grant.effects {
                    lines.push(format!("    {:<9}  {}", effect.level.as_str(), effect.words));
                }
            }
            if grants.is_empty() {
                lines.push("  No grant in force is touched.".to_owned());
            }
        }
        lines
    }
}

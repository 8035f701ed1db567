//! What changed between two descriptions of one provider.
//!
//! Objects and fields are matched by name, operations by method and path (parameter names do not
//! count). What a change means for a grant is not known here.

use crate::model::{
    Additional, Field, FieldKind, Object, Operation, Param, ParamPlace, Provider, ScalarKind,
    SecurityScheme, Server, Shape, ShapeId, StatusRange, Step,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// How much a change matters to who uses the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing that works today is touched.
    Info,
    /// Somebody should look: more, or more sensitive data, another server, another credential.
    Attention,
    /// Something that works today does not work any more.
    Breaking,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Attention => "attention",
            Self::Breaking => "breaking",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Info, Self::Attention, Self::Breaking]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or("give info, attention or breaking")
    }
}

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    OperationAdded,
    OperationGone,
    OperationRenamed,
    OperationObject,
    OperationAction,
    OperationSecurity,
    OperationServers,
    Envelope,
    ParameterAdded,
    ParameterGone,
    ObjectAdded,
    ObjectGone,
    FieldAdded,
    SensitiveFieldAdded,
    FieldGone,
    Type,
    Required,
    Label,
    Servers,
    SecurityScheme,
    Diagnostic,
}

impl ChangeKind {
    /// Stable, in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OperationAdded => "operation_added",
            Self::OperationGone => "operation_gone",
            Self::OperationRenamed => "operation_renamed",
            Self::OperationObject => "operation_object_changed",
            Self::OperationAction => "operation_action_changed",
            Self::OperationSecurity => "operation_security_changed",
            Self::OperationServers => "operation_servers_changed",
            Self::Envelope => "envelope_changed",
            Self::ParameterAdded => "parameter_added",
            Self::ParameterGone => "parameter_gone",
            Self::ObjectAdded => "object_added",
            Self::ObjectGone => "object_gone",
            Self::FieldAdded => "field_added",
            Self::SensitiveFieldAdded => "sensitive_field_added",
            Self::FieldGone => "field_gone",
            Self::Type => "type_changed",
            Self::Required => "requiredness_changed",
            Self::Label => "label_changed",
            Self::Servers => "servers_changed",
            Self::SecurityScheme => "security_changed",
            Self::Diagnostic => "diagnostic_added",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    pub level: Level,
    /// `GET /people`, `Person`, `Person.name`, a scheme's name or a place in the document.
    pub subject: String,
    pub was: Option<String>,
    pub now: Option<String>,
}

/// All changes, ordered by level (what matters most first), kind and subject.
pub fn diff(old: &Provider, new: &Provider) -> Vec<Change> {
    let mut differ = Differ { old, new, changes: Vec::new() };
    differ.security();
    differ.operations();
    differ.objects();
    differ.diagnostics();
    let mut changes = differ.changes;
    changes.sort_by(|a, b| (b.level, a.kind, &a.subject).cmp(&(a.level, b.kind, &b.subject)));
    changes
}

/// An operation as the wire knows it, such as `GET /people/{}`.
pub fn operation_key(operation: &Operation) -> String {
    format!("{} {}", operation.method.as_str(), operation.path.pattern())
}

/// An operation as people write it, such as `GET /people/{id}`.
pub fn operation_text(operation: &Operation) -> String {
    format!("{} {}", operation.method.as_str(), operation.path.text())
}

/// A field's type in a word or two.
pub fn type_text(provider: &Provider, kind: &FieldKind) -> String {
    let name =
        |id| provider.object(id).map_or_else(|| "object".to_owned(), |object| object.name.clone());
    match kind {
        FieldKind::Scalar { kind, is_array } => {
            let word = match kind {
                ScalarKind::String => "string",
                ScalarKind::Integer => "integer",
                ScalarKind::Number => "number",
                ScalarKind::Boolean => "boolean",
                ScalarKind::Date => "date",
                ScalarKind::Enum => "enum",
                ScalarKind::Mixed => "scalar",
            };
            if *is_array { format!("{word}[]") } else { word.to_owned() }
        }
        FieldKind::Inline => "object".to_owned(),
        FieldKind::Named(id) => name(*id),
        FieldKind::OneOfNamed(ids) => {
            let mut names: Vec<String> = ids.iter().map(|id| name(*id)).collect();
            names.sort();
            names.join(" | ")
        }
        FieldKind::FreeForm => "free-form".to_owned(),
        FieldKind::Untyped => "untyped".to_owned(),
    }
}

/// Whether a field has to be there in requests for this object.
pub fn is_required_in_requests(provider: &Provider, object: &Object, field: &Field) -> bool {
    required(provider, &object.write_shapes, &field.steps) == Some(true)
}

struct Differ<'p> {
    old: &'p Provider,
    new: &'p Provider,
    changes: Vec<Change>,
}

impl Differ<'_> {
    fn add(&mut self, kind: ChangeKind, level: Level, subject: impl Into<String>) {
        self.changed(kind, level, subject, None, None);
    }

    fn changed(
        &mut self,
        kind: ChangeKind,
        level: Level,
        subject: impl Into<String>,
        was: impl Into<Option<String>>,
        now: impl Into<Option<String>>,
    ) {
        let (was, now) = (was.into(), now.into());
        self.changes.push(Change { kind, level, subject: subject.into(), was, now });
    }

    fn security(&mut self) {
        let (was, now) = (servers(&self.old.servers), servers(&self.new.servers));
        if was != now {
            self.changed(ChangeKind::Servers, Level::Attention, "servers", was, now);
        }
        let (old, new) = (self.old, self.new);
        let names: BTreeSet<&String> =
            old.security_schemes.keys().chain(new.security_schemes.keys()).collect();
        for name in names {
            let was = old.security_schemes.get(name);
            let now = new.security_schemes.get(name);
            if was == now {
                continue;
            }
            // A connection's credential was made for the old one.
            let level = if was.is_none() { Level::Info } else { Level::Breaking };
            let kind = ChangeKind::SecurityScheme;
            self.changed(kind, level, name, was.map(scheme), now.map(scheme));
        }
    }

    fn operations(&mut self) {
        let (old, new) = (self.old, self.new);
        let by_key = |provider: &'_ Provider| -> BTreeMap<String, usize> {
            let keys = provider.operations.iter().map(operation_key);
            keys.enumerate().map(|(place, key)| (key, place)).collect()
        };
        let (old_keys, new_keys) = (by_key(old), by_key(new));
        for (key, place) in &old_keys {
            let Some(was) = old.operations.get(*place) else { continue };
            let now = new_keys.get(key).and_then(|place| new.operations.get(*place));
            if let Some(now) = now {
                self.operation(was, now);
            } else {
                self.add(ChangeKind::OperationGone, Level::Breaking, operation_text(was));
            }
        }
        for (key, place) in &new_keys {
            if !old_keys.contains_key(key)
                && let Some(now) = new.operations.get(*place)
            {
                let object = object_name(new, now).unwrap_or("no object");
                let text = format!("{} on {object}", now.action);
                let kind = ChangeKind::OperationAdded;
                self.changed(kind, Level::Info, operation_text(now), None, text);
            }
        }
    }

    fn operation(&mut self, was: &Operation, now: &Operation) {
        let subject = operation_text(now);
        // Grants may name operations by their ids.
        if was.id != now.id {
            let (before, after) = (was.id.clone(), now.id.clone());
            let kind = ChangeKind::OperationRenamed;
            self.changed(kind, Level::Attention, &subject, before, after);
        }
        let text = |name: Option<&str>| name.unwrap_or("no object").to_owned();
        let (before, after) = (object_name(self.old, was), object_name(self.new, now));
        if before != after {
            let kind = ChangeKind::OperationObject;
            self.changed(kind, Level::Breaking, &subject, text(before), text(after));
        } else if envelopes(was) != envelopes(now) {
            let kind = ChangeKind::Envelope;
            self.changed(kind, Level::Breaking, &subject, envelopes(was), envelopes(now));
        }
        if was.action != now.action {
            let (before, after) = (was.action.to_string(), now.action.to_string());
            let kind = ChangeKind::OperationAction;
            self.changed(kind, Level::Breaking, &subject, before, after);
        }
        let (before, after) = (requirements(was), requirements(now));
        if before != after {
            let kind = ChangeKind::OperationSecurity;
            self.changed(kind, Level::Attention, &subject, before, after);
        }
        let (before, after) = (servers(&was.servers), servers(&now.servers));
        if before != after {
            let kind = ChangeKind::OperationServers;
            self.changed(kind, Level::Attention, &subject, before, after);
        }
        self.params(&subject, &was.params, &now.params);
    }

    fn params(&mut self, operation: &str, was: &[Param], now: &[Param]) {
        let spell = |param: &Param| {
            let place = match param.place {
                ParamPlace::Query => "query",
                ParamPlace::Header => "header",
                ParamPlace::Cookie => "cookie",
            };
            format!("{operation} {place} {}", param.name)
        };
        let is_in = |all: &[Param], one: &Param| {
            all.iter().any(|param| param.place == one.place && param.name == one.name)
        };
        for param in was.iter().filter(|param| !is_in(now, param)) {
            self.add(ChangeKind::ParameterGone, Level::Breaking, spell(param));
        }
        for param in now.iter().filter(|param| !is_in(was, param)) {
            self.add(ChangeKind::ParameterAdded, Level::Info, spell(param));
        }
    }

    fn objects(&mut self) {
        let (old, new) = (self.old, self.new);
        let by_name = |provider: &'_ Provider| -> BTreeMap<String, usize> {
            let names = provider.objects.iter().map(|object| object.name.clone());
            names.enumerate().map(|(place, name)| (name, place)).collect()
        };
        let (old_names, new_names) = (by_name(old), by_name(new));
        for (name, place) in &old_names {
            let Some(was) = old.objects.get(*place) else { continue };
            match new_names.get(name).and_then(|place| new.objects.get(*place)) {
                Some(now) => self.object(was, now),
                None => self.add(ChangeKind::ObjectGone, Level::Breaking, name),
            }
        }
        for (name, place) in &new_names {
            if !old_names.contains_key(name)
                && let Some(now) = new.objects.get(*place)
            {
                let sensitive = now.fields.iter().filter(|field| is_sensitive(field)).count();
                let text = format!("{} fields, {sensitive} of them sensitive", now.fields.len());
                self.changed(ChangeKind::ObjectAdded, Level::Info, name, None, text);
            }
        }
    }

    fn object(&mut self, was: &Object, now: &Object) {
        let by_path = |object: &'_ Object| -> BTreeMap<String, usize> {
            let paths = object.fields.iter().map(|field| field.path.clone());
            paths.enumerate().map(|(place, path)| (path, place)).collect()
        };
        let (old_paths, new_paths) = (by_path(was), by_path(now));
        for (path, place) in &old_paths {
            let Some(before) = was.fields.get(*place) else { continue };
            if let Some(after) = new_paths.get(path).and_then(|place| now.fields.get(*place)) {
                self.field((was, before), (now, after));
            } else {
                let subject = format!("{}.{path}", was.name);
                self.add(ChangeKind::FieldGone, Level::Breaking, subject);
            }
        }
        for (path, place) in &new_paths {
            if !old_paths.contains_key(path)
                && let Some(after) = now.fields.get(*place)
            {
                self.new_field(now, after);
            }
        }
    }

    fn new_field(&mut self, object: &Object, field: &Field) {
        let subject = format!("{}.{}", object.name, field.path);
        let mut text = type_text(self.new, &field.kind);
        if let Some(label) = &field.label {
            text.push_str(&format!(", {}", label.category));
        }
        let kind = if is_sensitive(field) {
            ChangeKind::SensitiveFieldAdded
        } else {
            ChangeKind::FieldAdded
        };
        let is_required = is_required_in_requests(self.new, object, field);
        // Of a sensitive field that nothing is known of, only the type is news.
        let is_known = field.label.as_ref().is_some_and(|label| label.confidence > 0);
        let level = match (is_required, is_sensitive(field) && is_known) {
            (true, _) => Level::Breaking,
            (false, true) => Level::Attention,
            (false, false) => Level::Info,
        };
        if is_required {
            text.push_str(", required in requests");
        }
        self.changed(kind, level, subject, None, text);
    }

    fn field(&mut self, (old_object, was): (&Object, &Field), (object, now): (&Object, &Field)) {
        let subject = format!("{}.{}", object.name, now.path);
        let (before, after) = (type_text(self.old, &was.kind), type_text(self.new, &now.kind));
        if before != after {
            self.changed(ChangeKind::Type, Level::Breaking, &subject, before, after);
        }
        for (place, old_shapes, new_shapes) in [
            ("answers", &old_object.read_shapes, &object.read_shapes),
            ("requests", &old_object.write_shapes, &object.write_shapes),
        ] {
            let before = required(self.old, old_shapes, &was.steps);
            let after = required(self.new, new_shapes, &now.steps);
            let (Some(before), Some(after)) = (before, after) else { continue };
            if before == after {
                continue;
            }
            let text = |is_required: bool| {
                let word = if is_required { "required" } else { "optional" };
                format!("{word} in {place}")
            };
            let level = match (place, after) {
                ("requests", true) => Level::Breaking,
                ("answers", false) => Level::Attention,
                _ => Level::Info,
            };
            self.changed(ChangeKind::Required, level, &subject, text(before), text(after));
        }
        let label = |field: &Field| {
            field.label.as_ref().map(|label| {
                let word = if label.is_sensitive { "sensitive" } else { "not sensitive" };
                format!("{}, {word}", label.category)
            })
        };
        if label(was) != label(now) {
            let is_turned = is_sensitive(was) != is_sensitive(now);
            let level = if is_turned { Level::Attention } else { Level::Info };
            self.changed(ChangeKind::Label, level, &subject, label(was), label(now));
        }
    }

    /// What was not tolerated silently before, such as an overlay's action that selects nothing.
    fn diagnostics(&mut self) {
        let (old, new) = (self.old, self.new);
        let is_known = |code: &str, pointer: &str| {
            old.diagnostics.iter().any(|one| one.code == code && one.pointer == pointer)
        };
        for one in &new.diagnostics {
            if !is_known(one.code, &one.pointer) {
                let text = format!("{}: {}", one.code, one.message);
                let kind = ChangeKind::Diagnostic;
                self.changed(kind, Level::Attention, &one.pointer, None, text);
            }
        }
    }
}

fn is_sensitive(field: &Field) -> bool {
    field.label.as_ref().is_some_and(|label| label.is_sensitive)
}

fn object_name<'p>(provider: &'p Provider, operation: &Operation) -> Option<&'p str> {
    operation.object.and_then(|id| provider.object(id)).map(|object| object.name.as_str())
}

/// The ways from the successes' roots to the object.
fn envelopes(operation: &Operation) -> String {
    let successes = operation.answers.iter().filter(|answer| {
        matches!(answer.status, StatusRange::Exact(200..=299) | StatusRange::Class(2))
    });
    let ways: BTreeSet<String> = successes
        .filter(|answer| answer.shape.is_some())
        .map(|answer| match crate::fields::spell(&answer.envelope.steps).as_str() {
            "" => "the whole answer".to_owned(),
            way => format!("at `{way}`"),
        })
        .collect();
    ways.into_iter().collect::<Vec<_>>().join(", ")
}

fn servers(all: &[Server]) -> String {
    let urls: Vec<&str> = all.iter().map(|server| server.url.as_str()).collect();
    if urls.is_empty() { "none".to_owned() } else { urls.join(", ") }
}

fn scheme(scheme: &SecurityScheme) -> String {
    match scheme {
        SecurityScheme::ApiKeyHeader { name } => format!("API key in the header {name}"),
        SecurityScheme::ApiKeyQuery { name } => format!("API key in the query parameter {name}"),
        SecurityScheme::ApiKeyCookie { name } => format!("API key in the cookie {name}"),
        SecurityScheme::Basic => "basic".to_owned(),
        SecurityScheme::Bearer => "bearer".to_owned(),
        SecurityScheme::OAuth2 { flows, scopes } => {
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            format!("OAuth 2.0 ({}) with scopes {}", flows.join(", "), scopes.join(" "))
        }
        SecurityScheme::OpenIdConnect { url } => format!("OpenID Connect at {url}"),
        SecurityScheme::MutualTls => "mutual TLS".to_owned(),
        SecurityScheme::Unknown { kind } => format!("unknown ({kind})"),
    }
}

fn requirements(operation: &Operation) -> String {
    let Some(alternatives) = &operation.security else { return "not said".to_owned() };
    let mut texts: Vec<String> = alternatives
        .iter()
        .map(|all| {
            let texts: Vec<String> = all
                .iter()
                .map(|(name, scopes)| match scopes.as_slice() {
                    [] => name.clone(),
                    scopes => {
                        let mut scopes = scopes.to_vec();
                        scopes.sort();
                        format!("{name} ({})", scopes.join(" "))
                    }
                })
                .collect();
            if texts.is_empty() { "nothing".to_owned() } else { texts.join(" and ") }
        })
        .collect();
    texts.sort();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", or ") }
}

/// Whether a member is required wherever these shapes declare it; `None` where none does.
fn required(provider: &Provider, shapes: &[ShapeId], steps: &[Step]) -> Option<bool> {
    let mut found = Vec::new();
    for shape in shapes {
        collect_required(provider, *shape, steps, &mut found, 0);
    }
    if found.is_empty() { None } else { Some(found.into_iter().all(|one| one)) }
}

/// How deep alternatives, arrays and objects are followed.
const MAX_DEPTH: usize = 40;

fn collect_required(
    provider: &Provider,
    at: ShapeId,
    steps: &[Step],
    found: &mut Vec<bool>,
    depth: usize,
) {
    let Some((first, rest)) = steps.split_first() else { return };
    if depth > MAX_DEPTH {
        return;
    }
    match (provider.shape(at), first) {
        (Shape::Union(all), _) => {
            for one in all {
                collect_required(provider, *one, steps, found, depth + 1);
            }
        }
        (Shape::Array { items }, Step::Elements) => {
            collect_required(provider, *items, rest, found, depth + 1);
        }
        (Shape::Object(object), Step::Member(name)) => {
            let Some(member) = object.members.get(name) else { return };
            if rest.iter().all(|step| *step == Step::Elements) {
                found.push(member.is_required);
            } else {
                collect_required(provider, member.shape, rest, found, depth + 1);
            }
        }
        (Shape::Object(object), Step::AnyMember) => {
            if let Additional::Map(values) = object.additional {
                collect_required(provider, values, rest, found, depth + 1);
            }
        }
        _ => {}
    }
}

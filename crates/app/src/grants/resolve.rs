//! From what files say to what the store keeps: names looked up, fields checked, `*` expanded.

use super::{
    Allow, IdText, ResolvedGrant,
    file::{AllowEntry, Entry, Placed, Problem},
    permit::{may_download, may_upload, reach_anew},
    place_of,
};
use provider::{
    ObjectId, Operation, ParamPlace, Provider, SecurityScheme,
    select::{FieldSteps, Kinds, check_fields, kinds, named_kinds, parse_steps, scalar, spell},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use types::{Action, Client, Connection, Date, Id, Provider as ProviderKind, Timestamp};

/// What grants can refer to.
#[derive(Debug, Default)]
pub struct Catalogue {
    pub clients: BTreeMap<String, Id<Client>>,
    /// By slug.
    pub providers: BTreeMap<String, (Id<ProviderKind>, Arc<Provider>)>,
    /// With their provider's slug.
    pub connections: BTreeMap<Id<Connection>, String>,
}

impl Catalogue {
    /// The model that a grant is about.
    pub fn model_of(&self, grant: &ResolvedGrant) -> Option<&Provider> {
        let slug = match (&grant.provider, &grant.connection) {
            (Some(id), _) => {
                return self
                    .providers
                    .values()
                    .find(|(own, _)| *own == id.0)
                    .map(|(_, model)| model.as_ref());
            }
            (None, Some(id)) => self.connections.get(&id.0)?,
            (None, None) => return None,
        };
        self.providers.get(slug).map(|(_, model)| model.as_ref())
    }
}

/// Resolved grants, with what is worth saying of them.
#[derive(Debug, Default)]
pub struct Resolved {
    pub grants: Vec<ResolvedGrant>,
    pub notices: Vec<String>,
}

/// Resolves everything, or yields every problem.
pub fn resolve(
    entries: &[Entry],
    catalogue: &Catalogue,
    now: Timestamp,
) -> (Resolved, Vec<Problem>) {
    let mut resolver =
        Resolver { catalogue, now, resolved: Resolved::default(), problems: Vec::new() };
    let mut seen: BTreeMap<(u128, u128, u128, String), String> = BTreeMap::new();
    for entry in entries {
        let Some(grant) = resolver.grant(entry) else { continue };
        let (client, provider, connection, purpose) = grant.identity();
        let identity = (client, provider, connection, purpose.to_owned());
        let place = format!("{}:{}", entry.file, entry.line);
        if let Some(first) = seen.insert(identity, place) {
            resolver.problem(
                &entry.file,
                entry.line,
                format!("the same client, target and purpose are granted at {first} already"),
                "Join the two, or give them different purposes.",
            );
        }
        resolver.resolved.grants.push(grant);
    }
    (resolver.resolved, resolver.problems)
}

struct Resolver<'c> {
    catalogue: &'c Catalogue,
    now: Timestamp,
    resolved: Resolved,
    problems: Vec<Problem>,
}

/// A grant's purpose and names have a bound, because they stand in the audit log.
const MAX_PURPOSE_CHARS: usize = 200;

impl Resolver<'_> {
    fn problem(&mut self, file: &str, line: usize, what: String, remedy: impl Into<String>) {
        let remedy = remedy.into();
        self.problems.push(Problem { file: file.to_owned(), line, what, remedy });
    }

    fn unknown<'n>(
        &mut self,
        file: &str,
        given: &Placed,
        kind: &str,
        names: impl IntoIterator<Item = &'n str>,
        otherwise: &str,
    ) {
        let remedy = match types::nearest(&given.text, names) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => otherwise.to_owned(),
        };
        let shown: String = given.text.chars().take(100).collect();
        self.problem(file, given.line, format!("there is no {kind} `{shown}`"), remedy);
    }

    fn grant(&mut self, entry: &Entry) -> Option<ResolvedGrant> {
        let file = &entry.file;
        let catalogue = self.catalogue;
        let client = entry.client.as_ref().and_then(|given| {
            let found = catalogue.clients.get(&given.text).copied();
            if found.is_none() {
                let names = catalogue.clients.keys().map(String::as_str);
                self.unknown(
                    file,
                    given,
                    "client",
                    names,
                    "Make it with `weirgate client create`.",
                );
            }
            found
        });
        let mut provider = None;
        let mut connection = None;
        let mut model = None;
        if let Some(given) = &entry.provider {
            if let Some((id, found)) = catalogue.providers.get(&given.text) {
                provider = Some(*id);
                model = Some(Arc::clone(found));
            } else {
                let names = catalogue.providers.keys().map(String::as_str);
                self.unknown(
                    file,
                    given,
                    "provider",
                    names,
                    "Import it with `weirgate provider import`.",
                );
            }
        } else if let Some(given) = &entry.connection {
            let found = given.text.parse::<Id<Connection>>().ok();
            let slug = found.and_then(|id| catalogue.connections.get(&id));
            if let (Some(id), Some(slug)) = (found, slug) {
                connection = Some(id);
                model = catalogue.providers.get(slug).map(|(_, model)| Arc::clone(model));
            } else {
                self.unknown(
                    file,
                    given,
                    "connection",
                    [],
                    "`weirgate connection list` shows those there are.",
                );
            }
        }
        let expires = entry.expires.as_ref().and_then(|given| self.expires(file, given));
        let purpose = entry.purpose.as_ref().and_then(|given| {
            let text = given.text.trim();
            let is_good = !text.is_empty()
                && text.chars().count() <= MAX_PURPOSE_CHARS
                && !text.chars().any(char::is_control);
            if !is_good {
                let what =
                    format!("the purpose is empty or longer than {MAX_PURPOSE_CHARS} characters");
                self.problem(file, given.line, what, "Say in a few words what the data is for.");
            }
            is_good.then(|| text.to_owned())
        });
        let mut allow = Vec::new();
        if let Some(model) = &model {
            for one in &entry.allow {
                allow.extend(self.allow(file, one, model));
            }
        }
        Some(ResolvedGrant {
            client: IdText(client?),
            provider: provider.map(IdText),
            connection: connection.map(IdText),
            purpose: purpose?,
            expires: expires?,
            allow,
        })
    }

    fn expires(&mut self, file: &str, given: &Placed) -> Option<String> {
        let remedy = "Write the last day in UTC, like 2027-06-30.";
        match given.text.parse::<Date>() {
            Ok(day) if day.end_utc() <= self.now => {
                self.problem(file, given.line, format!("the grant has expired on {day}"), remedy);
                None
            }
            Ok(day) => Some(day.to_string()),
            Err(error) => {
                self.problem(file, given.line, error.to_string(), remedy);
                None
            }
        }
    }

    /// One element becomes one for reading and one for writing: `*` differs between the two.
    fn allow(&mut self, file: &str, entry: &AllowEntry, model: &Provider) -> Vec<Allow> {
        let mut actions = Vec::new();
        for given in &entry.actions {
            match given.text.parse::<Action>() {
                Ok(action) => actions.push(action),
                Err(error) => {
                    self.problem(file, given.line, error.to_string(), "Choose from these.");
                }
            }
        }
        if entry.actions.is_empty() {
            self.problem(
                file,
                entry.line,
                "`actions` is missing or empty".into(),
                "Write like actions = [\"read\"].",
            );
        }
        let unfiltered = |action: &Action| matches!(action, Action::Download | Action::Upload);
        if actions.iter().any(unfiltered) && entry.operations.is_empty() {
            self.problem(
                file,
                entry.line,
                "`download` and `upload` pass unfiltered and need `operations`".into(),
                "Name each operation, by its id or like \"GET /files/{id}\".",
            );
        }
        let is_unfiltered = !actions.is_empty() && actions.iter().all(unfiltered);
        let object = self.object(file, entry, model, is_unfiltered);
        if let Some((id, name)) = object {
            self.notice_overlay(file, entry, model, id, name, &actions);
            if actions.is_empty() {
                // No action counts, but the fields' problems are said at once all the same.
                self.fields(file, &entry.fields, model, id, false);
            }
        }
        let operations = self.operations(file, &entry.operations, model);
        if actions.iter().any(unfiltered) {
            self.check_unfiltered(file, entry, model, &actions);
        }
        let params = self.params(file, &entry.params, model, ParamPlace::Query);
        let headers = self.params(file, &entry.headers, model, ParamPlace::Header);
        let mut allow = Vec::new();
        for is_write in [false, true] {
            let is_write_action = |action: &Action| {
                matches!(action, Action::Create | Action::Update | Action::Delete)
            };
            let of_kind: Vec<String> = actions
                .iter()
                .filter(|action| is_write_action(action) == is_write)
                .map(ToString::to_string)
                .collect();
            if of_kind.is_empty() {
                continue;
            }
            let fields = match object {
                Some((id, _)) => self.fields(file, &entry.fields, model, id, is_write),
                None => BTreeMap::new(),
            };
            let mut one = Allow {
                object: object.map(|(_, name)| name.to_owned()),
                actions: of_kind,
                fields: fields.keys().cloned().collect(),
                kinds: fields.into_iter().filter(|(_, kinds)| *kinds != scalar()).collect(),
                params: params.clone(),
                headers: headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
                operations: operations.keys().cloned().collect(),
                places: operations.clone(),
                reached: BTreeSet::new(),
                beside: BTreeMap::new(),
                terms: BTreeMap::new(),
            };
            reach_anew(&mut one, model);
            allow.push(one);
        }
        allow
    }

    fn object<'m>(
        &mut self,
        file: &str,
        entry: &AllowEntry,
        model: &'m Provider,
        may_miss: bool,
    ) -> Option<(ObjectId, &'m str)> {
        let Some(given) = &entry.object else {
            if !may_miss {
                self.problem(
                    file,
                    entry.line,
                    "`object` is missing".into(),
                    "`weirgate provider show` lists the objects.",
                );
            }
            return None;
        };
        let found = model.object_by_name(&given.text);
        if found.is_none() {
            let names = model.objects.iter().map(|object| object.name.as_str());
            self.unknown(
                file,
                given,
                "object",
                names,
                "`weirgate provider show` lists the objects.",
            );
        }
        found.map(|(id, object)| (id, object.name.as_str()))
    }

    fn fields(
        &mut self,
        file: &str,
        given: &[Placed],
        model: &Provider,
        object: ObjectId,
        is_write: bool,
    ) -> BTreeMap<String, Kinds> {
        let mut fields: BTreeMap<String, Kinds> = BTreeMap::new();
        for one in given {
            match check_fields(model, object, is_write, std::slice::from_ref(&one.text)) {
                Ok(checked) => {
                    self.resolved.notices.extend(
                        checked
                            .notices
                            .into_iter()
                            .map(|notice| format!("{file}:{}: {notice}", one.line)),
                    );
                    for steps in &checked.paths {
                        // What `*` takes in, it does for its kind.
                        let kinds = if one.text == "*" { kinds } else { named_kinds };
                        let known: &mut Kinds = fields.entry(spell(steps)).or_default();
                        for (place, kinds) in kinds(model, object, is_write, steps) {
                            known.entry(place).or_default().extend(kinds);
                        }
                    }
                }
                // Said once for reading and writing together.
                Err(problems) if !is_write || !self.is_said(file, one.line, &problems) => {
                    for problem in problems {
                        let remedy = match problem.nearest {
                            Some(near) => format!("Did you mean `{near}`?"),
                            None => "`weirgate provider show` lists the fields.".to_owned(),
                        };
                        self.problem(file, one.line, problem.why, remedy);
                    }
                }
                Err(_) => {}
            }
        }
        fields
    }

    /// Says where the overlay opens what would be closed without it: a sensitive field that it says
    /// is none, and a method that counts as another action than it does by itself.
    fn notice_overlay(
        &mut self,
        file: &str,
        entry: &AllowEntry,
        model: &Provider,
        object: ObjectId,
        name: &str,
        actions: &[Action],
    ) {
        let place = format!("{file}:{}", entry.line);
        let given: Vec<&str> = entry.fields.iter().map(|one| one.text.as_str()).collect();
        let paths: Vec<FieldSteps> = given.iter().filter_map(|text| parse_steps(text)).collect();
        let fields = model.object(object).into_iter().flat_map(|found| &found.fields);
        for field in fields {
            let Some(category) =
                field.label.as_ref().and_then(|label| label.lowered_from.as_deref())
            else {
                continue;
            };
            let is_granted = given.contains(&"*")
                || paths
                    .iter()
                    .any(|path| field.steps.starts_with(path) || path.starts_with(&field.steps));
            if is_granted {
                self.resolved.notices.push(format!(
                    "{place}: `{name}.{}` is judged {category}; the overlay says that it is not \
                     sensitive",
                    field.path
                ));
            }
        }
        let is_corrected = |operation: &&Operation| {
            operation.object == Some(object)
                && actions.contains(&operation.action)
                && operation.action != operation.method.action()
                && (entry.operations.is_empty()
                    || entry.operations.iter().any(|one| names(operation, &one.text)))
        };
        for operation in model.operations.iter().filter(is_corrected) {
            self.resolved.notices.push(format!(
                "{place}: `{}` counts as {}, because the overlay says so",
                place_of(operation),
                operation.action
            ));
        }
        self.notice_opaque(&place, entry, model, object, actions);
    }

    /// Says which operations fields do not judge: that they are refused, or that an overlay opens them.
    fn notice_opaque(
        &mut self,
        place: &str,
        entry: &AllowEntry,
        model: &Provider,
        object: ObjectId,
        actions: &[Action],
    ) {
        let concerned = model.operations.iter().filter(|operation| {
            operation.object == Some(object)
                && actions.contains(&operation.action)
                && (entry.operations.is_empty()
                    || entry.operations.iter().any(|one| names(operation, &one.text)))
        });
        for operation in concerned {
            let shown = place_of(operation);
            if let Some(opaque) = operation.lowered_opaque {
                self.resolved.notices.push(format!(
                    "{place}: of `{shown}` it is judged that {}; the overlay says that fields \
                     judge it",
                    opaque.in_words()
                ));
            }
            let is_asked = entry.operations.is_empty()
                || !actions.iter().any(|one| matches!(one, Action::Download | Action::Upload));
            if let Some(opaque) = operation.opaque.filter(|_| is_asked) {
                let action = if operation.request.is_some() { "upload" } else { "download" };
                self.resolved.notices.push(format!(
                    "{place}: `{shown}` stays refused: {}. It passes only unfiltered, where \
                     `operations` names it with the action `{action}`",
                    opaque.in_words()
                ));
            }
        }
    }

    fn is_said(
        &self,
        file: &str,
        line: usize,
        problems: &[provider::select::FieldProblem],
    ) -> bool {
        problems.iter().all(|problem| {
            self.problems
                .iter()
                .any(|one| one.file == file && one.line == line && one.what == problem.why)
        })
    }

    /// A download reads, an upload sends.
    fn check_unfiltered(
        &mut self,
        file: &str,
        entry: &AllowEntry,
        model: &Provider,
        actions: &[Action],
    ) {
        for one in &entry.operations {
            let Some(operation) =
                model.operations.iter().find(|operation| names(operation, &one.text))
            else {
                continue;
            };
            if operation.opaque.is_some()
                && operation.request.is_some()
                && !actions.contains(&Action::Upload)
            {
                self.problem(
                    file,
                    one.line,
                    format!("`{}` has a body that is sent unfiltered", place_of(operation)),
                    "Name the action `upload` too.",
                );
                continue;
            }
            let fits = |action: &Action| match action {
                Action::Download => may_download(operation),
                Action::Upload => may_upload(operation),
                filtered => *filtered == operation.action,
            };
            if !actions.iter().any(fits) {
                self.problem(
                    file,
                    one.line,
                    format!("none of the actions is one of `{}`", place_of(operation)),
                    "A download reads, an upload is a POST, PUT or PATCH; an overlay says which POST \
                     only reads.",
                );
            }
        }
    }

    /// By id: what the operation is.
    fn operations(
        &mut self,
        file: &str,
        given: &[Placed],
        model: &Provider,
    ) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for one in given {
            if let Some(operation) =
                model.operations.iter().find(|operation| names(operation, &one.text))
            {
                found.insert(operation.id.clone(), place_of(operation));
            } else {
                let names = model.operations.iter().map(|operation| operation.id.as_str());
                self.unknown(
                    file,
                    one,
                    "operation",
                    names,
                    "`weirgate provider show` lists the operations.",
                );
            }
        }
        found
    }

    fn params(
        &mut self,
        file: &str,
        given: &[Placed],
        model: &Provider,
        place: ParamPlace,
    ) -> Vec<String> {
        let kind = if place == ParamPlace::Query { "query parameter" } else { "header" };
        let declared: Vec<&str> = model
            .operations
            .iter()
            .flat_map(|operation| &operation.params)
            .filter(|param| param.place == place)
            .map(|param| param.name.as_str())
            .collect();
        let mut found = Vec::new();
        for one in given {
            if gateway::is_credential_name(&one.text) {
                let what =
                    format!("`{}` carries a credential, which never comes from a caller", one.text);
                self.problem(file, one.line, what, "Leave it out: the connection's own is used.");
                continue;
            }
            let fits = |name: &&&str| match place {
                ParamPlace::Header => name.eq_ignore_ascii_case(&one.text),
                _ => **name == one.text,
            };
            if let Some(scheme) = scheme_at(model, place, &one.text) {
                self.resolved.notices.push(format!(
                    "{file}:{}: the {kind} `{}` is where the description puts the credential of \
                     `{scheme}`: it never comes from a caller, whatever is granted",
                    one.line, one.text
                ));
            }
            match declared.iter().find(fits) {
                Some(name) => found.push((*name).to_owned()),
                None => self.unknown(
                    file,
                    one,
                    kind,
                    declared.iter().copied(),
                    "Only what an operation declares can be named.",
                ),
            }
        }
        found
    }
}

/// The security scheme whose credential goes where this name says.
fn scheme_at<'m>(model: &'m Provider, place: ParamPlace, name: &str) -> Option<&'m str> {
    let is_there = |scheme: &SecurityScheme| match (scheme, place) {
        (SecurityScheme::ApiKeyQuery { name: own }, ParamPlace::Query)
        | (SecurityScheme::ApiKeyHeader { name: own }, ParamPlace::Header) => {
            gateway::is_same_name(own, name)
        }
        _ => false,
    };
    let mut schemes = model.security_schemes.iter();
    schemes.find(|(_, scheme)| is_there(scheme)).map(|(name, _)| name.as_str())
}

/// An operation by its id, or like `GET /things/{id}`.
fn names(operation: &Operation, given: &str) -> bool {
    operation.id == given || place_of(operation) == given
}

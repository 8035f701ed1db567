//! Providers: import, show, list, check.

use crate::{
    apply,
    change::{Care, Change, Changing, hex, listed},
    error::Error,
    grants::{Words, stale_fields},
    instance::Instance,
    seals::{self, Tampering},
    servers,
    tokens::{APP_COLUMN, APP_TABLE},
};
use outbound::{Deadlines, GuardPolicy, OutboundError, Target};
use provider::{Field, FieldKind, LoadError, LoadLimits, Provider, ScalarKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use types::{ConnectProgress, Fault, Id, OpContext, Provider as ProviderKind, Slug, Timestamp};

/// What `provider import` is given.
#[derive(Debug)]
pub struct Import {
    pub slug: Slug,
    /// JSON or YAML, as it came.
    pub description: Vec<u8>,
    /// `None`: the overlay of an earlier import stays.
    pub overlay: Option<Vec<u8>>,
    /// No overlay stays.
    pub is_without_overlay: bool,
    /// Replaces every server that the description names. `None`: what an earlier import named stays.
    pub server: Option<String>,
    /// Nothing that an earlier import named stays: the description's own servers count.
    pub is_server_described: bool,
    /// `HOST:PORT` that may be private, and reached by plain http. Empty: what an earlier import
    /// allowed stays.
    pub allow_private: Vec<String>,
    /// Connections may send their credentials to other hosts than they do.
    pub accepts_servers: bool,
    /// What has to be there, if somebody says so.
    pub expects: Option<Expected>,
}

/// What an import is meant to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Nothing,
    /// A provider with this tag: see [`tag`].
    Tag(String),
}

/// What became of it.
#[derive(Debug)]
pub struct Imported {
    pub id: Id<ProviderKind>,
    pub slug: Slug,
    /// There was one of this name already.
    pub is_replaced: bool,
    /// What stays of an earlier import or goes; what no longer passes by the grants there are, or would
    /// pass if they were applied again.
    pub notices: Vec<String>,
    /// The overlay in force, by its SHA-256.
    pub overlay: Option<String>,
    pub operations: usize,
    pub objects: usize,
    pub diagnostics: usize,
}

/// Reads a description whole, judges its servers, and stores it. An import under a known name
/// replaces the description; connections and grants stay.
pub async fn import(
    instance: &Instance,
    ctx: &OpContext,
    import: Import,
) -> Result<Imported, Error> {
    let everything = seals::load_whole(instance).await?;
    let replaced = everything.providers.iter().find(|row| row.slug == import.slug);
    let is_expected = match (&import.expects, replaced) {
        (None, _) | (Some(Expected::Nothing), None) => true,
        (Some(Expected::Tag(tag)), Some(row)) => *tag == tag_of(row),
        (Some(_), _) => false,
    };
    if !is_expected {
        return Err(Error::PlanStale);
    }
    let mut notices = Vec::new();
    let overlay = overlay(&import, replaced, &mut notices);
    let model = provider::load(&import.description, overlay.as_deref(), &LoadLimits::default());
    let model = model.map_err(|error| match error {
        error @ LoadError::Overlay(_) if import.overlay.is_none() => Error::OverlayKept(error),
        error => Error::Description(error),
    })?;
    check_names(&model)?;
    let (server, allow_private) = named(&import, replaced, &mut notices);
    let policy = guard_policy(&allow_private)?;
    if policy.public_address().is_some() {
        return Err(Error::Malformed {
            kind: "private address",
            why: "it is public: https needs no permission to go there, and plain http gets none"
                .into(),
        });
    }
    let servers = judge_servers(&model, server.as_deref(), &policy);
    let servers = servers.map_err(|error| match error {
        Error::Target { source, .. } if import.server.is_some() => {
            Error::Target { url: None, source }
        }
        error => error,
    })?;
    let mut moved = None;
    if let Some(row) = replaced {
        notices.extend(grants_notices(&everything, row.id, &model)?);
        let after = Sending { model: &model, server: server.as_deref(), policy: &policy };
        moved = moves(&everything, row, &after)?;
    }
    if let Some(error) = moved.take_if(|_| !import.accepts_servers) {
        return Err(error);
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let known = changing.tx.provider_by_slug(&import.slug).await?;
    let is_stale = known.is_some() && changing.tx.generation().await? != everything.generation;
    if is_stale || known.is_some() != replaced.is_some() {
        return Err(Error::PlanStale);
    }
    let id = match &known {
        Some(row) => row.id,
        None => Id::generate(ctx.now, instance.random.as_ref())?,
    };
    let row = store::ProviderRow {
        id,
        slug: import.slug.clone(),
        description: import.description,
        overlay,
        server,
        allow_private,
        imported_at: ctx.now,
    };
    changing.tx.put_provider(&row).await?;
    changing.describe(&row);
    let mut details = vec![
        ("slug", import.slug.to_string()),
        ("operations", model.operations.len().to_string()),
        ("description_sha256", hex(&seals::sha256(&row.description))),
    ];
    let overlay = row.overlay.as_deref().map(|overlay| hex(&seals::sha256(overlay)));
    if let Some(overlay) = &overlay {
        details.push(("overlay_sha256", overlay.clone()));
    }
    if row.server.is_some() {
        details.push(("server", listed(&servers)));
    } else {
        details.push(("described_servers", listed(&servers)));
    }
    details.push(("allow_private", listed(&row.allow_private)));
    if moved.is_some() {
        details.push(("other_hosts", "accepted".to_owned()));
    }
    changing.record(Change {
        verb: if known.is_some() { "provider.replace" } else { "provider.import" },
        what: format!("provider {id}"),
        details,
        ..Change::default()
    });
    changing.commit().await?;
    Ok(Imported {
        id,
        slug: import.slug,
        is_replaced: known.is_some(),
        notices,
        overlay,
        operations: model.operations.len(),
        objects: model.objects.len(),
        diagnostics: model.diagnostics.len(),
    })
}

/// The overlay that counts: one that holds labels and corrections is not dropped in passing.
fn overlay(
    import: &Import,
    replaced: Option<&store::ProviderRow>,
    notices: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let known = replaced.and_then(|row| row.overlay.as_ref());
    match (&import.overlay, known) {
        (None, Some(known)) if import.is_without_overlay => {
            let sum = hex(&seals::sha256(known));
            notices.push(format!("drops the overlay that was in force (SHA-256 {sum})"));
            None
        }
        (None, Some(known)) => {
            let sum = hex(&seals::sha256(known));
            notices.push(format!("keeps the overlay that is in force (SHA-256 {sum})"));
            Some(known.clone())
        }
        (given, _) => given.clone(),
    }
}

/// The server and the private addresses that count: a description that is imported anew must not
/// undo what the operator named.
fn named(
    import: &Import,
    replaced: Option<&store::ProviderRow>,
    notices: &mut Vec<String>,
) -> (Option<String>, Vec<String>) {
    let mut server = import.server.clone();
    let mut allow_private = import.allow_private.clone();
    if let Some(row) = replaced.filter(|_| !import.is_server_described) {
        if server.is_none() && row.server.is_some() {
            server.clone_from(&row.server);
            let kept = server.as_deref().map(shown).unwrap_or_default();
            notices.push(format!("keeps the server that was named before: {kept}"));
        }
        if allow_private.is_empty() && !row.allow_private.is_empty() {
            allow_private.clone_from(&row.allow_private);
            let kept = allow_private.join(", ");
            notices.push(format!("keeps the private addresses that were allowed before: {kept}"));
        }
    }
    let before = replaced.map_or(&[][..], |row| &row.allow_private);
    let gone: Vec<&str> =
        before.iter().filter(|one| !allow_private.contains(one)).map(String::as_str).collect();
    if !gone.is_empty() {
        notices.push(format!("allows these private addresses no longer: {}", gone.join(", ")));
    }
    (server, allow_private)
}

/// What is sent to a host, and the host: one that gets tokens of one scheme is not trusted with another's.
type Places = BTreeSet<(String, String)>;

/// What decides where the calls of a connection go.
struct Sending<'s> {
    model: &'s Provider,
    server: Option<&'s str>,
    policy: &'s GuardPolicy,
}

impl Sending<'_> {
    /// Where tokens for this scheme are asked for, and those sent who consent; of all where none is named.
    fn token_places(&self, scheme: Option<&str>) -> Places {
        let parts: Option<Vec<&str>> = scheme.map(|scheme| scheme.split('+').collect());
        let is_one = |name: &str| parts.as_ref().is_none_or(|parts| parts.contains(&name));
        let plans = self.model.auth.iter().filter(|(name, _)| is_one(name));
        let places = plans.flat_map(|(name, plan)| {
            let sent = plan.sent_to().into_iter().map(|origin| ("token", origin));
            let consent = plan.consented_at().map(|origin| ("consent", origin));
            sent.chain(consent).map(move |(role, origin)| (format!("{name} {role}"), origin))
        });
        places.collect()
    }

    fn server_places(&self, variables: &BTreeMap<String, String>) -> Places {
        self.origins(variables).into_iter().map(|origin| ("server".to_owned(), origin)).collect()
    }

    /// Scheme and host of each server; none where a connection cannot be served at all.
    fn origins(&self, variables: &BTreeMap<String, String>) -> BTreeSet<String> {
        let plan = servers::plan(self.model, self.server, variables);
        let urls = match plan {
            Ok(plan) => plan.urls,
            // A name that the token endpoint says stands below one that is written out.
            Err(servers::ServerError::VariableMissing { name }) if self.is_taken(&name) => {
                let operations = self.model.operations.iter().flat_map(|one| &one.servers);
                let all = self.model.servers.iter().chain(operations);
                all.map(|server| server.url.clone()).collect()
            }
            Err(_) => Vec::new(),
        };
        urls.iter().map(|url| origin(url, self.policy)).collect()
    }

    fn is_taken(&self, name: &str) -> bool {
        self.model.auth.values().any(|plan| plan.taken().contains(name))
    }
}

fn origin(url: &str, policy: &GuardPolicy) -> String {
    let base = Target::parse(url, policy)
        .map_or_else(|_| shown(url), |target| target.base_url().to_owned());
    let host = base.find("://").map_or(0, |at| at + 3);
    let end = base.get(host..).and_then(|rest| rest.find('/')).map_or(base.len(), |at| host + at);
    base.get(..end).unwrap_or(&base).to_owned()
}

/// The refusal if a connection in force would send its credential to a host that it does not send
/// to now.
fn moves(
    everything: &store::Everything,
    row: &store::ProviderRow,
    after: &Sending<'_>,
) -> Result<Option<Error>, Error> {
    let own = |one: &&store::ConnectionRow| one.provider == row.id && one.revoked_at.is_none();
    let mut connections = everything.connections.iter().filter(own).peekable();
    let record = row.id.to_bytes();
    let has_app = everything
        .sealed
        .iter()
        .any(|one| one.table == APP_TABLE && one.column == APP_COLUMN && one.record == record);
    // Whoever is about to consent is sent with a secret, too.
    let is_open = |one: &store::ConnectSessionRow| {
        one.provider == row.id
            && !matches!(one.progress, ConnectProgress::Connected | ConnectProgress::Ended)
    };
    let has_app = has_app || everything.connects.sessions.iter().any(is_open);
    if connections.peek().is_none() && !has_app {
        return Ok(None);
    }
    let model = provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?;
    let policy = guard_policy(&row.allow_private)?;
    let before = Sending { model: &model, server: row.server.as_deref(), policy: &policy };
    let (mut old, mut new) = (Places::new(), Places::new());
    for connection in connections {
        let scheme = Some(connection.scheme.as_str());
        let mut was = before.server_places(&connection.variables);
        was.extend(before.token_places(scheme));
        let mut will = after.server_places(&connection.variables);
        will.extend(after.token_places(scheme));
        let more: Vec<_> = will.difference(&was).cloned().collect();
        if !more.is_empty() {
            new.extend(more);
            old.extend(was);
        }
    }
    // The app's secret goes where any plan asks.
    if has_app {
        let was = before.token_places(None);
        let more: Vec<_> = after.token_places(None).difference(&was).cloned().collect();
        if !more.is_empty() {
            new.extend(more);
            old.extend(was);
        }
    }
    if new.is_empty() {
        return Ok(None);
    }
    let told = |places: Places| {
        let hosts: BTreeSet<String> = places.into_iter().map(|(_, origin)| origin).collect();
        const MAX_TOLD: usize = 10;
        let more = if hosts.len() > MAX_TOLD { ", ..." } else { "" };
        let told: Vec<String> = hosts.into_iter().take(MAX_TOLD).collect();
        if told.is_empty() { "nowhere".to_owned() } else { told.join(", ") + more }
    };
    Ok(Some(Error::ServersMove { slug: row.slug.to_string(), old: told(old), new: told(new) }))
}

/// What a new description changes for the grants that reach the provider.
fn grants_notices(
    everything: &store::Everything,
    id: Id<ProviderKind>,
    model: &Provider,
) -> Result<Vec<String>, Error> {
    let catalogue = apply::catalogue_without_models(everything);
    let mut notices = Vec::new();
    for grant in apply::stored(&everything.grants)? {
        let reaches = grant.provider.is_some_and(|own| own.0 == id)
            || everything
                .connections
                .iter()
                .any(|row| row.provider == id && grant.reaches(id, row.id));
        if !reaches {
            continue;
        }
        let name = format!("{}, to {}", catalogue.client(&grant), grant.purpose);
        notices.extend(
            stale_fields(&grant, model).into_iter().map(|words| format!("{name}: {words}")),
        );
    }
    Ok(notices)
}

/// The policy that an import's `--allow-private-network` stands for.
pub(crate) fn guard_policy(allow_private: &[String]) -> Result<GuardPolicy, Error> {
    GuardPolicy::new(allow_private)
        .map_err(|error| Error::Malformed { kind: "private address", why: error.to_string() })
}

/// Names stand in audit entries, which are no longer than 64 KiB: an entry of a call has one
/// operation, one object and up to a hundred fields.
pub(crate) fn check_names(model: &Provider) -> Result<(), Error> {
    const MAX_NAME_BYTES: usize = 512;
    let operations = model.operations.iter().map(|one| ("operation id", &one.id));
    let objects = model.objects.iter().map(|one| ("object name", &one.name));
    let fields =
        model.objects.iter().flat_map(|one| &one.fields).map(|one| ("field path", &one.path));
    let schemes = model.security_schemes.keys().map(|name| ("security scheme name", name));
    let mut names = operations.chain(objects).chain(fields).chain(schemes);
    match names.find(|(_, name)| name.len() > MAX_NAME_BYTES) {
        None => Ok(()),
        Some((kind, name)) => Err(Error::NameTooLong {
            kind,
            start: name.chars().filter(|c| !c.is_control()).take(60).collect(),
            bytes: name.len(),
            limit: MAX_NAME_BYTES,
        }),
    }
}

/// Every URL that needs no variable must be usable, now and not at the first call. Yields them
/// without what may be secret.
fn judge_servers(
    model: &Provider,
    named: Option<&str>,
    policy: &GuardPolicy,
) -> Result<Vec<String>, Error> {
    match servers::plan(model, named, &BTreeMap::new()) {
        Ok(plan) => {
            for url in &plan.urls {
                target(url, policy)?;
            }
            Ok(plan.urls.iter().map(|url| shown(url)).collect())
        }
        // Filled per connection.
        Err(servers::ServerError::VariableMissing { name }) => {
            Ok(vec![format!("filled per connection: {{{name}}}")])
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn target(url: &str, policy: &GuardPolicy) -> Result<Target, Error> {
    Target::parse(url, policy).map_err(|source| Error::Target { url: Some(shown(url)), source })
}

/// As [`target`], by the protocols that the provider is offered.
pub(crate) fn target_of(
    model: &Provider,
    url: &str,
    policy: &GuardPolicy,
) -> Result<Target, Error> {
    let target = target(url, policy)?;
    Ok(if model.is_http1_only { target.over_http1_only() } else { target })
}

/// A URL without what may be secret in it. Whatever stands before the last `@` may be: a password
/// with a `/`, `?` or `#` in it, too.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.rsplit_once('@').map(|(_, host)| host);
    let shown = host.unwrap_or(rest).split(['?', '#']).next().unwrap_or_default();
    let between = if scheme.is_empty() && !url.contains("://") { "" } else { "://" };
    let hidden = if host.is_some() { "...@" } else { "" };
    format!("{scheme}{between}{hidden}{shown}").chars().take(200).collect()
}

/// A stored provider's model.
pub async fn show(instance: &Instance, slug: &Slug) -> Result<Provider, Error> {
    let row = row(instance, slug).await?;
    Ok(provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?)
}

/// A stored provider's model, and what tells this state of it from others.
pub async fn show_tagged(instance: &Instance, slug: &Slug) -> Result<(Provider, String), Error> {
    let row = row(instance, slug).await?;
    let model = provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?;
    Ok((model, tag_of(&row)))
}

/// What tells this state of a provider from others; `None` where there is none.
pub async fn tag(instance: &Instance, slug: &Slug) -> Result<Option<String>, Error> {
    match row(instance, slug).await {
        Ok(row) => Ok(Some(tag_of(&row))),
        Err(Error::NameUnknown { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn tag_of(row: &store::ProviderRow) -> String {
    hex(&crate::compile::digest_of(row))
}

/// A provider as Weirgate stored it.
///
/// # Errors
/// [`Error::RowTampered`] if somebody else changed it.
pub(crate) async fn row(instance: &Instance, slug: &Slug) -> Result<store::ProviderRow, Error> {
    let row = instance
        .store
        .provider_by_slug(slug)
        .await?
        .ok_or_else(|| Error::NameUnknown { kind: "provider" })?;
    for ((kind, id), seal) in seals::of_provider(&instance.secrets.pepper, &row) {
        let how = match instance.store.seal(&kind, &id).await? {
            Some(stored) if stored.seal == seal => continue,
            Some(_) => Tampering::Changed,
            None => Tampering::Added,
        };
        return Err(Error::RowTampered { kind, id, how });
    }
    Ok(row)
}

/// A line of `provider list`.
#[derive(Debug)]
pub struct Listed {
    pub id: Id<ProviderKind>,
    pub slug: Slug,
    pub server: Option<String>,
    pub imported_at: Timestamp,
}

pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let rows = seals::load_whole(instance).await?.providers;
    Ok(rows
        .into_iter()
        .map(|row| Listed {
            id: row.id,
            slug: row.slug,
            server: row.server,
            imported_at: row.imported_at,
        })
        .collect())
}

/// What a server said when it was reached for.
#[derive(Debug)]
pub struct CheckedServer {
    pub url: String,
    /// `None`: the address was allowed and a connection was made.
    pub problem: Option<String>,
    pub code: Option<&'static str>,
}

/// Resolves, judges and connects to each server as a call would. Sends no request.
pub async fn check(instance: &Instance, slug: &Slug) -> Result<Vec<CheckedServer>, Error> {
    let row = row(instance, slug).await?;
    let model = provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?;
    let policy = guard_policy(&row.allow_private)?;
    let plan = servers::plan(&model, row.server.as_deref(), &BTreeMap::new())?;
    let pool = instance.pool()?;
    let mut checked = Vec::new();
    for url in plan.urls {
        let target = target_of(&model, &url, &policy)?;
        let result = pool.checkout(&target, &policy, &Deadlines::default()).await.map(drop);
        checked.push(CheckedServer {
            problem: result.as_ref().err().map(OutboundError::to_string),
            code: result.as_ref().err().map(Fault::code),
            url: shown(&url),
        });
    }
    Ok(checked)
}

/// The shape of `provider show --json`.
pub fn to_json(slug: &Slug, provider: &Provider) -> Value {
    let operations: Vec<Value> = provider
        .operations
        .iter()
        .map(|operation| {
            json!({
                "id": operation.id,
                "method": operation.method.as_str(),
                "path": operation.path.text(),
                "object": object_name(provider, operation),
                "action": operation.action.as_str(),
            })
        })
        .collect();
    let objects: Vec<Value> = provider
        .objects
        .iter()
        .map(|object| {
            let fields: Vec<Value> = object
                .fields
                .iter()
                .map(|field| {
                    let label = field.label.as_ref();
                    let mut shown = json!({
                        "path": field.path,
                        "type": type_name(provider, field),
                        "label": label.map(|label| label.category.as_str()),
                        "sensitive": label.is_some_and(|label| label.is_sensitive),
                        "confidence": label.map(|label| label.confidence),
                        "reason": label.map(|label| label.reason.as_str()),
                    });
                    if let Some(judged) = label.and_then(|label| label.lowered_from.as_deref())
                        && let Some(members) = shown.as_object_mut()
                    {
                        members.insert("lowered_from".to_owned(), json!(judged));
                    }
                    shown
                })
                .collect();
            json!({"name": object.name, "fields": fields})
        })
        .collect();
    let diagnostics: Vec<Value> = provider
        .diagnostics
        .iter()
        .map(|one| json!({"pointer": one.pointer, "code": one.code, "message": one.message}))
        .collect();
    json!({
        "slug": slug.as_str(),
        "operations": operations,
        "objects": objects,
        "diagnostics": diagnostics,
    })
}

/// The same for people, line by line.
pub fn to_text(slug: &Slug, provider: &Provider) -> Vec<String> {
    let mut lines = vec![
        format!("{slug}: {} {}", provider.title, provider.version),
        String::new(),
        "Operations".to_owned(),
    ];
    for operation in &provider.operations {
        let object = object_name(provider, operation).unwrap_or("-");
        lines.push(format!(
            "  {:<7} {:<50} {:<9} {object}",
            operation.method.as_str(),
            operation.path.text(),
            operation.action.as_str(),
        ));
    }
    lines.extend([String::new(), "Objects".to_owned()]);
    for object in &provider.objects {
        lines.push(format!("  {}", object.name));
        for field in &object.fields {
            let label = field.label.as_ref().map_or_else(String::new, label_text);
            let line = format!("    {:<40} {:<20} {label}", field.path, type_name(provider, field));
            lines.push(line.trim_end().to_owned());
        }
    }
    if !provider.diagnostics.is_empty() {
        lines.extend([String::new(), "Diagnostics".to_owned()]);
        for one in &provider.diagnostics {
            lines.push(format!("  {} {}: {}", one.code, one.pointer, one.message));
        }
    }
    lines
}

/// A category, and what the overlay made of a sensitive one.
fn label_text(label: &provider::Label) -> String {
    let provider::Label { category, confidence, reason, .. } = label;
    match &label.lowered_from {
        Some(judged) => format!("{category} (judged {judged}, lowered by the overlay)"),
        None => format!("{category} ({confidence} %, {reason})"),
    }
}

fn object_name<'a>(provider: &'a Provider, operation: &provider::Operation) -> Option<&'a str> {
    operation.object.and_then(|id| provider.object(id)).map(|object| object.name.as_str())
}

/// What a field holds, in a word.
pub fn type_name(provider: &Provider, field: &Field) -> String {
    let name = |id: &provider::ObjectId| {
        provider.object(*id).map_or_else(|| "object".to_owned(), |object| object.name.clone())
    };
    match &field.kind {
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
        FieldKind::Named(id) => name(id),
        FieldKind::OneOfNamed(ids) => ids.iter().map(name).collect::<Vec<_>>().join(" | "),
        FieldKind::FreeForm => "free-form".to_owned(),
        FieldKind::Untyped => "untyped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The limit on names refuses no description of a vendor.
    #[test]
    fn vendors_names_fit() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/openapi-corpus");
        let Ok(files) = std::fs::read_dir(corpus) else {
            return eprintln!("skipped: the corpus of vendors' descriptions is not there");
        };
        let mut read = 0;
        for file in files {
            let path = file.unwrap().path();
            let Ok(bytes) = std::fs::read(&path) else { continue };
            let Ok(model) = provider::load(&bytes, None, &LoadLimits::default()) else { continue };
            check_names(&model).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            read += 1;
        }
        assert!(read >= 40, "only {read} descriptions could be read");
    }
}

//! Providers: import, show, list, check.

use crate::{
    change::{self, Change},
    error::Error,
    instance::Instance,
    servers,
};
use outbound::{Deadlines, GuardPolicy, OutboundError, Target};
use provider::{Field, FieldKind, LoadLimits, Provider, ScalarKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use types::{Fault, Id, OpContext, Provider as ProviderKind, Slug};

/// What `provider import` is given.
#[derive(Debug)]
pub struct Import {
    pub slug: Slug,
    /// JSON or YAML, as it came.
    pub description: Vec<u8>,
    pub overlay: Option<Vec<u8>>,
    /// Replaces every server that the description names.
    pub server: Option<String>,
    /// `HOST:PORT` that may be private, and reached by plain http.
    pub allow_private: Vec<String>,
}

/// What became of it.
#[derive(Debug)]
pub struct Imported {
    pub id: Id<ProviderKind>,
    pub slug: Slug,
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
    let model =
        provider::load(&import.description, import.overlay.as_deref(), &LoadLimits::default())?;
    let policy = guard_policy(&import.allow_private)?;
    judge_servers(&model, import.server.as_deref(), &policy)?;
    let mut tx = instance.store.begin(ctx).await?;
    let known = tx.provider_by_slug(&import.slug).await?;
    let id = match &known {
        Some(row) => row.id,
        None => Id::generate(ctx.now, instance.random.as_ref())?,
    };
    let row = store::ProviderRow {
        id,
        slug: import.slug.clone(),
        description: import.description,
        overlay: import.overlay,
        server: import.server,
        allow_private: import.allow_private,
        imported_at: ctx.now,
    };
    tx.put_provider(&row).await?;
    let change = Change {
        verb: if known.is_some() { "provider.replace" } else { "provider.import" },
        what: format!("provider {id}"),
        details: vec![
            ("slug", import.slug.to_string()),
            ("operations", model.operations.len().to_string()),
            ("allow_private", row.allow_private.join(",")),
        ],
        ..Change::default()
    };
    change::record(instance, &mut tx, ctx, change).await?;
    tx.commit().await?;
    Ok(Imported {
        id,
        slug: import.slug,
        operations: model.operations.len(),
        objects: model.objects.len(),
        diagnostics: model.diagnostics.len(),
    })
}

/// The policy that an import's `--allow-private-network` stands for.
pub(crate) fn guard_policy(allow_private: &[String]) -> Result<GuardPolicy, Error> {
    GuardPolicy::new(allow_private).map_err(|error| Error::Malformed {
        kind: "private address",
        given: error.given.clone(),
        why: error.to_string(),
    })
}

/// Every URL that needs no variable must be usable, now and not at the first call.
fn judge_servers(model: &Provider, named: Option<&str>, policy: &GuardPolicy) -> Result<(), Error> {
    match servers::plan(model, named, &BTreeMap::new()) {
        Ok(plan) => {
            for url in &plan.urls {
                target(url, policy)?;
            }
            Ok(())
        }
        // Filled per connection.
        Err(servers::ServerError::VariableMissing { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn target(url: &str, policy: &GuardPolicy) -> Result<Target, Error> {
    Target::parse(url, policy).map_err(|source| Error::Target { url: shown(url), source })
}

/// A URL without what may be secret in it.
fn shown(url: &str) -> String {
    let cut = url.find(['?', '#']).map_or(url, |at| url.get(..at).unwrap_or_default());
    match (cut.find("://"), cut.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!(
                "{}://...{}",
                cut.get(..scheme).unwrap_or_default(),
                cut.get(at..).unwrap_or_default()
            )
        }
        _ => cut.chars().take(200).collect(),
    }
}

/// A stored provider's model.
pub async fn show(instance: &Instance, slug: &Slug) -> Result<Provider, Error> {
    let row = row(instance, slug).await?;
    Ok(provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?)
}

async fn row(instance: &Instance, slug: &Slug) -> Result<store::ProviderRow, Error> {
    instance
        .store
        .provider_by_slug(slug)
        .await?
        .ok_or_else(|| Error::NotFound { kind: "provider", name: slug.to_string() })
}

/// A line of `provider list`.
#[derive(Debug)]
pub struct Listed {
    pub id: Id<ProviderKind>,
    pub slug: Slug,
    pub server: Option<String>,
}

pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let rows = instance.store.providers().await?;
    Ok(rows
        .into_iter()
        .map(|row| Listed { id: row.id, slug: row.slug, server: row.server })
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
        let result = match Target::parse(&url, &policy) {
            Ok(target) => pool.checkout(&target, &policy, &Deadlines::default()).await.map(|_| ()),
            Err(source) => return Err(Error::Target { url: shown(&url), source }),
        };
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
                    json!({
                        "path": field.path,
                        "type": type_name(provider, field),
                        "label": field.label.as_ref().map(|label| label.category.as_str()),
                        "sensitive": field.label.as_ref().is_some_and(|label| label.is_sensitive),
                        "confidence": field.label.as_ref().map(|label| label.confidence),
                        "reason": field.label.as_ref().map(|label| label.reason.as_str()),
                    })
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

/// The same for people.
pub fn to_text(slug: &Slug, provider: &Provider) -> String {
    let mut text = format!("{slug}: {} {}\n\nOperations\n", provider.title, provider.version);
    for operation in &provider.operations {
        let object = object_name(provider, operation).unwrap_or("-");
        text.push_str(&format!(
            "  {:<7} {:<50} {:<9} {}\n",
            operation.method.as_str(),
            operation.path.text(),
            operation.action.as_str(),
            object
        ));
    }
    text.push_str("\nObjects\n");
    for object in &provider.objects {
        text.push_str(&format!("  {}\n", object.name));
        for field in &object.fields {
            let label = field.label.as_ref().map_or_else(String::new, |label| {
                format!("{} ({} %, {})", label.category, label.confidence, label.reason)
            });
            text.push_str(&format!(
                "    {:<40} {:<20} {label}\n",
                field.path,
                type_name(provider, field)
            ));
        }
    }
    if !provider.diagnostics.is_empty() {
        text.push_str("\nDiagnostics\n");
        for one in &provider.diagnostics {
            text.push_str(&format!("  {} {}: {}\n", one.code, one.pointer, one.message));
        }
    }
    text
}

fn object_name<'a>(provider: &'a Provider, operation: &provider::Operation) -> Option<&'a str> {
    operation.object.and_then(|id| provider.object(id)).map(|object| object.name.as_str())
}

fn type_name(provider: &Provider, field: &Field) -> String {
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

//! Who can see or write a field, and by which grant: from the same permissions that the gateway compiles.

use crate::{
    error::Error,
    grants::{self, Listed, permission, prepare},
    instance::Instance,
    policies::{InForce, Scope, Taken},
    seals,
};
use gateway::Policies;
use provider::{
    LoadLimits, ObjectId, Provider,
    diff::operation_text,
    select::{FieldSteps, normal, withheld},
};
use std::collections::BTreeSet;
use types::{Slug, nearest};

/// Policies are asked as for calls that matter.
const LIVE: &str = "live";

/// A grant by which a field passes.
#[derive(Debug)]
pub struct Way {
    pub grant: Listed,
    /// Operations that answer with it.
    pub reads: Vec<String>,
    /// Operations that may carry it.
    pub writes: Vec<String>,
    /// Keys in force of the client.
    pub keys: usize,
}

/// What is known of a field, and of who can see it.
#[derive(Debug)]
pub struct Seen {
    /// As the description spells it.
    pub field: String,
    /// The data category, where it is known.
    pub label: Option<String>,
    pub ways: Vec<Way>,
}

/// Who can see `Object.path` of a provider.
///
/// # Errors
/// [`Error::NameUnknown`] for a provider, [`Error::FieldUnknown`] for an object or field that it does
/// not declare.
pub async fn field(instance: &Instance, slug: &Slug, name: &str) -> Result<Seen, Error> {
    let everything = seals::load_whole(instance).await?;
    let row = everything.providers.iter().find(|row| row.slug == *slug);
    let row = row.ok_or_else(|| Error::NameUnknown { kind: "provider" })?;
    let model = provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?;
    let unknown = || {
        let all: Vec<String> = model
            .objects
            .iter()
            .flat_map(|object| {
                object.fields.iter().map(|field| format!("{}.{}", object.name, field.path))
            })
            .collect();
        Error::FieldUnknown {
            near: nearest(name, all.iter().map(String::as_str)).map(str::to_owned),
        }
    };
    // Names of objects can hold dots.
    let found = model.objects.iter().find_map(|object| {
        let path = name.strip_prefix(&object.name)?.strip_prefix('.')?;
        let field = object.fields.iter().find(|field| {
            field.path == path || provider::select::spell(&normal(&field.steps)) == path
        })?;
        Some((object, field))
    });
    let (object, field) = found.ok_or_else(unknown)?;
    let (id, _) = model.object_by_name(&object.name).ok_or_else(unknown)?;
    let now = instance.clock.now();
    let in_force = InForce::of(&everything.people.policies)?;
    let mut ways = Vec::new();
    for grant in grants::list(instance).await? {
        if grant.provider != slug.as_str() || !grant.is_in_force {
            continue;
        }
        let scope = Scope {
            in_force: &in_force,
            client: &grant.client,
            provider: slug.as_str(),
            environment: LIVE,
        };
        let (reads, writes) = operations(&model, id, &field.path, &grant, &scope, now);
        if reads.is_empty() && writes.is_empty() {
            continue;
        }
        let of_client = everything.keys.iter().filter(|key| key.client == grant.grant.client.0);
        let in_force = crate::clients::KeyState::InForce;
        let keys =
            of_client.filter(|key| crate::clients::KeyState::of(key, now) == in_force).count();
        ways.push(Way { grant, reads, writes, keys });
    }
    Ok(Seen {
        field: format!("{}.{}", object.name, field.path),
        label: field.label.as_ref().map(|label| label.category.clone()),
        ways,
    })
}

/// The operations by which a grant lets a field out, and in.
fn operations(
    model: &Provider,
    object: ObjectId,
    path: &str,
    grant: &Listed,
    scope: &Scope<'_>,
    now: types::Timestamp,
) -> (Vec<String>, Vec<String>) {
    let prepared = prepare(&[&grant.grant], model, now);
    let passes = |granted: Option<&BTreeSet<FieldSteps>>| {
        granted.is_some_and(|granted| {
            !granted.is_empty() && !withheld(model, object, granted).iter().any(|one| one == path)
        })
    };
    let mut reads = Vec::new();
    let mut writes = Vec::new();
    let mut taken = Taken::default();
    for (place, operation) in model.operations.iter().enumerate() {
        let Some(mut permission) = permission(&prepared, model, place) else { continue };
        let policies = scope.take(model, operation, &mut permission, &mut taken);
        let text = match policies {
            Policies::Open => operation_text(operation),
            Policies::Forbid => continue,
            Policies::Depends(_) => {
                format!("{} (where a policy does not forbid it)", operation_text(operation))
            }
        };
        let is_about = operation.object == Some(object);
        let is_whole = permission.download || permission.upload;
        if is_about && (passes(permission.granted.read.get(&object)) || permission.download) {
            reads.push(text.clone());
        }
        if is_about && (passes(permission.granted.write.get(&object)) || permission.upload) {
            writes.push(text.clone());
        }
        // What passes unseen may hold anything.
        if operation.object.is_none() && is_whole {
            reads.push(format!("{text} (unfiltered: it may hold anything)"));
        }
    }
    (reads, writes)
}

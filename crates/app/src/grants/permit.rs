//! What grants permit for one operation, at one moment.

use super::{Allow, ResolvedGrant};
use provider::{
    ObjectId, Operation, Provider,
    select::{FieldSteps, Granted, as_granted, parse_steps},
};
use std::collections::BTreeSet;
use types::{Action, Date, Timestamp};

/// The grants' answer for one operation.
#[derive(Debug, Clone)]
pub struct Permission {
    pub granted: Granted,
    pub params: BTreeSet<String>,
    /// Lower case.
    pub headers: BTreeSet<String>,
    /// Content that is not projected may pass.
    pub download: bool,
    pub upload: bool,
    /// The first moment at which one of the grants behind this has expired.
    pub valid_until: Timestamp,
}

/// An element of a grant in force, its fields found in the description.
#[derive(Debug)]
pub struct Prepared<'g> {
    allow: &'g Allow,
    /// The end of the grant's last day.
    end: Timestamp,
    object: Option<ObjectId>,
    /// What the fields lead to, and did when they were granted.
    paths: BTreeSet<FieldSteps>,
}

/// Leaves out what has expired, and fields that lead to more than they did.
pub fn prepare<'g>(
    grants: &[&'g ResolvedGrant],
    provider: &Provider,
    now: Timestamp,
) -> Vec<Prepared<'g>> {
    grants
        .iter()
        .filter_map(|grant| Some((grant, grant.expires.parse::<Date>().ok()?.end_utc())))
        .filter(|(_, end)| now < *end)
        .flat_map(|(grant, end)| grant.allow.iter().map(move |allow| (allow, end)))
        .map(|(allow, end)| {
            let object = allow.object.as_deref().and_then(|name| provider.object_by_name(name));
            let object = object.map(|(id, _)| id);
            let paths = object.map_or_else(BTreeSet::new, |id| paths(provider, allow, id));
            Prepared { allow, end, object, paths }
        })
        .collect()
}

/// A field that the description no longer declares leads nowhere, and grants nothing.
fn paths(provider: &Provider, allow: &Allow, object: ObjectId) -> BTreeSet<FieldSteps> {
    allow
        .fields
        .iter()
        .filter_map(|field| Some((field, parse_steps(field)?)))
        .flat_map(|(field, path)| {
            as_granted(provider, object, allow.is_write(), &path, &allow.kinds_of(field))
        })
        .collect()
}

/// Whether any of these elements, which all reach the connection, names the operation's object and
/// action.
pub fn permission(
    prepared: &[Prepared<'_>],
    provider: &Provider,
    operation: usize,
) -> Option<Permission> {
    let operation = provider.operations.get(operation)?;
    let object = operation.object.and_then(|id| provider.object(id)).map(|one| one.name.as_str());
    let mut permission = Permission {
        granted: Granted::default(),
        params: BTreeSet::new(),
        headers: BTreeSet::new(),
        download: false,
        upload: false,
        valid_until: prepared.iter().map(|one| one.end).min().unwrap_or(Timestamp::MAX),
    };
    let mut is_permitted = false;
    for one in prepared {
        let allow = one.allow;
        if !concerns(allow, operation) {
            continue;
        }
        let names_object = allow.object.is_some() && allow.object.as_deref() == object;
        let is_named = allow.names(operation);
        let fits_object = allow.object.is_none() || names_object;
        let permits = names_object && has(allow, operation.action);
        // Unfiltered content passes only where the operation itself is named.
        let downloads = is_named && fits_object && has(allow, Action::Download);
        let uploads = is_named && fits_object && has(allow, Action::Upload);
        permission.download |= downloads;
        permission.upload |= uploads;
        if permits || downloads || uploads {
            is_permitted = true;
            permission.params.extend(allow.params.iter().cloned());
            permission.headers.extend(allow.headers.iter().cloned());
        }
        let Some(id) = one.object else { continue };
        if has(allow, Action::Read) {
            permission.granted.read.entry(id).or_default().extend(one.paths.iter().cloned());
        }
        if operation.action != Action::Read && has(allow, operation.action) {
            permission.granted.write.entry(id).or_default().extend(one.paths.iter().cloned());
        }
    }
    is_permitted.then_some(permission)
}

/// An element that names operations is about these alone.
fn concerns(allow: &Allow, operation: &Operation) -> bool {
    allow.operations.is_empty() || allow.names(operation)
}

fn has(allow: &Allow, action: Action) -> bool {
    allow.actions.iter().any(|one| one == action.as_str())
}

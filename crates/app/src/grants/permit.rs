//! What grants permit for one operation, at one moment.

use super::{Allow, ResolvedGrant};
use provider::{
    ObjectId, Operation, Provider,
    select::{FieldSteps, Granted, parse_steps},
};
use std::collections::{BTreeMap, BTreeSet};
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

/// Whether any of these grants, which all reach the connection, names the operation's object and
/// action. Expired grants permit nothing.
pub fn permission(
    grants: &[&ResolvedGrant],
    provider: &Provider,
    operation: usize,
    now: Timestamp,
) -> Option<Permission> {
    let operation = provider.operations.get(operation)?;
    let in_force: Vec<(&&ResolvedGrant, Timestamp)> = grants
        .iter()
        .filter_map(|grant| Some((grant, grant.expires.parse::<Date>().ok()?.end_utc())))
        .filter(|(_, end)| now < *end)
        .collect();
    let object = operation.object.and_then(|id| provider.object(id)).map(|one| one.name.as_str());
    let mut permission = Permission {
        granted: Granted::default(),
        params: BTreeSet::new(),
        headers: BTreeSet::new(),
        download: false,
        upload: false,
        valid_until: in_force.iter().map(|(_, end)| *end).min().unwrap_or(Timestamp::MAX),
    };
    let mut is_permitted = false;
    for allow in in_force.iter().flat_map(|(grant, _)| &grant.allow) {
        if !concerns(allow, operation) {
            continue;
        }
        let names_object = allow.object.is_some() && allow.object.as_deref() == object;
        let is_named = allow.operations.contains(&operation.id);
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
        if has(allow, Action::Read) {
            add(provider, allow, &mut permission.granted.read);
        }
        if operation.action != Action::Read && has(allow, operation.action) {
            add(provider, allow, &mut permission.granted.write);
        }
    }
    is_permitted.then_some(permission)
}

/// An element that names operations is about these alone.
fn concerns(allow: &Allow, operation: &Operation) -> bool {
    allow.operations.is_empty() || allow.operations.contains(&operation.id)
}

fn has(allow: &Allow, action: Action) -> bool {
    allow.actions.iter().any(|one| one == action.as_str())
}

/// A field that the description no longer declares leads nowhere, and grants nothing.
fn add(provider: &Provider, allow: &Allow, granted: &mut BTreeMap<ObjectId, BTreeSet<FieldSteps>>) {
    let Some((id, _)) = allow.object.as_deref().and_then(|name| provider.object_by_name(name))
    else {
        return;
    };
    let paths = allow.fields.iter().filter_map(|text| parse_steps(text));
    granted.entry(id).or_default().extend(paths);
}

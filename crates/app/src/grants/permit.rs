//! What grants permit for one operation, at one moment.

use super::{Allow, ResolvedGrant};
use gateway::{error_terms, is_error_term};
use provider::{
    Method, ObjectId, Operation, Param, ParamPlace, Provider,
    diff::operation_key,
    select::{
        FieldSteps, Granted, as_granted, beside, param_term, parse_steps, path_terms,
        whole_answers, whole_requests,
    },
};
use std::collections::{BTreeMap, BTreeSet};
use types::{Action, Date, Timestamp};

/// The grants' answer for one operation.
#[derive(Debug, Clone)]
pub struct Permission {
    pub granted: Granted,
    /// Query parameters that the grants name.
    pub params: BTreeSet<String>,
    /// Lower case.
    pub headers: BTreeSet<String>,
    /// How the operation might be asked when it was granted, and what passed unseen: see
    /// [`Allow::terms`]. Nothing else does.
    pub terms: BTreeSet<String>,
    /// Members of errors that were seen when the operation was granted.
    pub errors: BTreeSet<String>,
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
        .filter_map(|grant| Some((grant, end_in_force(grant, now)?)))
        .flat_map(|(grant, end)| grant.allow.iter().map(move |allow| (allow, end)))
        .map(|(allow, end)| {
            let object = allow.object.as_deref().and_then(|name| provider.object_by_name(name));
            let object = object.map(|(id, _)| id);
            let paths = object.map_or_else(BTreeSet::new, |id| paths(provider, allow, id));
            Prepared { allow, end, object, paths }
        })
        .collect()
}

/// The end of a grant's last day, unless it has passed.
pub fn end_in_force(grant: &ResolvedGrant, now: Timestamp) -> Option<Timestamp> {
    let end = grant.expires.parse::<Date>().ok()?.end_utc();
    (now < end).then_some(end)
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
/// action, and did when it was granted.
pub fn permission(
    prepared: &[Prepared<'_>],
    provider: &Provider,
    operation: usize,
) -> Option<Permission> {
    let operation = provider.operations.get(operation)?;
    let object = object_name(provider, operation);
    let key = operation_key(operation);
    let mut permission = Permission {
        granted: Granted::default(),
        params: BTreeSet::new(),
        headers: BTreeSet::new(),
        terms: BTreeSet::new(),
        errors: BTreeSet::new(),
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
        let opening = Opening::of(allow, operation, object);
        if opening.is_any() {
            // A name can come to mean other data; what it opened then is all that it opens.
            if !allow.reached.contains(&key) {
                continue;
            }
            let none = BTreeSet::new();
            let terms = allow.terms.get(&key).unwrap_or(&none);
            if !path_terms(operation).is_subset(terms) {
                continue;
            }
            // What fields cannot judge has to be what passed unseen then.
            let mut whole = unseen(operation, &opening).into_iter();
            if operation.opaque.is_some() && !whole.any(|term| terms.contains(&term)) {
                continue;
            }
            is_permitted = true;
            permission.terms.extend(terms.iter().cloned());
            for known in allow.beside.get(&key).into_iter().flatten() {
                let is_error = is_error_term(known);
                let granted = &mut permission.granted.beside;
                let kept = if is_error { &mut permission.errors } else { granted };
                kept.insert(known.clone());
            }
            permission.download |= opening.downloads;
            permission.upload |= opening.uploads;
            permission.params.extend(allow.params.iter().cloned());
            permission.headers.extend(allow.headers.iter().cloned());
        }
        let Some(id) = one.object else { continue };
        if has(allow, Action::Read) {
            permission.granted.read.entry(id).or_default().extend(one.paths.iter().cloned());
        }
        // A search by POST sends what may be read: to ask by another field would be an oracle.
        let sends = operation.action != Action::Read || !operation.method.is_safe();
        if sends && has(allow, operation.action) {
            permission.granted.write.entry(id).or_default().extend(one.paths.iter().cloned());
        }
    }
    is_permitted.then_some(permission)
}

/// What an element opens of an operation by the names in the description alone.
struct Opening {
    permits: bool,
    downloads: bool,
    uploads: bool,
}

impl Opening {
    fn of(allow: &Allow, operation: &Operation, object: Option<&str>) -> Self {
        let names_object = allow.object.is_some() && allow.object.as_deref() == object;
        // Unfiltered content passes only where the operation itself is named.
        let is_named = allow.names(operation) && (allow.object.is_none() || names_object);
        let downloads = is_named && has(allow, Action::Download) && may_download(operation);
        let uploads = is_named && has(allow, Action::Upload) && may_upload(operation);
        // What fields cannot judge passes as what it is, unfiltered, or not at all.
        let is_open = match operation.opaque {
            None => true,
            Some(_) if operation.request.is_some() => uploads,
            Some(_) => downloads,
        };
        Self {
            permits: is_open && names_object && has(allow, operation.action),
            downloads: is_open && downloads,
            uploads: is_open && uploads,
        }
    }

    fn is_any(&self) -> bool {
        self.permits || self.downloads || self.uploads
    }
}

/// What changes something is no download, whatever comes back; of what could be either, nobody knows.
pub(super) fn may_download(operation: &Operation) -> bool {
    operation.action == Action::Read || operation.opaque.is_some()
}

pub(super) fn may_upload(operation: &Operation) -> bool {
    matches!(operation.method, Method::Post | Method::Put | Method::Patch)
}

/// Notes what an element opens in this description, as applying it does.
pub fn reach_anew(allow: &mut Allow, provider: &Provider) {
    allow.reached = opened(allow, provider).map(operation_key).collect();
    allow.beside = beside_now(allow, provider);
    allow.terms = terms_now(allow, provider);
}

/// How the operations that an element opens may be asked in this description, and what passes through
/// them unseen.
pub fn terms_now(allow: &Allow, provider: &Provider) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in opened(allow, provider) {
        let opening = Opening::of(allow, operation, object_name(provider, operation));
        let is_named = |param: &&Param| match param.place {
            _ if param.is_paging => true,
            ParamPlace::Query => allow.params.contains(&param.name),
            ParamPlace::Header => allow.headers.contains(&param.name.to_ascii_lowercase()),
            ParamPlace::Cookie => false,
        };
        let terms = all.entry(operation_key(operation)).or_default();
        terms.extend(path_terms(operation));
        terms.extend(operation.params.iter().filter(is_named).map(param_term));
        terms.extend(unseen(operation, &opening));
    }
    all.retain(|_, found| !found.is_empty());
    all
}

/// The content that passes as it is by what an element opens.
fn unseen(operation: &Operation, opening: &Opening) -> BTreeSet<String> {
    let mut terms = BTreeSet::new();
    if opening.downloads {
        terms.extend(whole_answers(operation));
    }
    if opening.uploads {
        terms.extend(whole_requests(operation));
    }
    terms
}

/// What passes in this description beside the objects of the operations that an element opens.
pub fn beside_now(allow: &Allow, provider: &Provider) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in opened(allow, provider) {
        let found = all.entry(operation_key(operation)).or_default();
        found.extend(beside(provider, operation));
        found.extend(error_terms(provider, operation));
    }
    all.retain(|_, found| !found.is_empty());
    all
}

/// The operations that an element would open in this description if it were applied again.
pub fn opened<'p>(allow: &'p Allow, provider: &'p Provider) -> impl Iterator<Item = &'p Operation> {
    provider.operations.iter().filter(|operation| {
        let object = object_name(provider, operation);
        concerns(allow, operation) && Opening::of(allow, operation, object).is_any()
    })
}

fn object_name<'p>(provider: &'p Provider, operation: &Operation) -> Option<&'p str> {
    operation.object.and_then(|id| provider.object(id)).map(|one| one.name.as_str())
}

/// An element that names operations is about these alone.
fn concerns(allow: &Allow, operation: &Operation) -> bool {
    allow.operations.is_empty() || allow.names(operation)
}

fn has(allow: &Allow, action: Action) -> bool {
    allow.actions.iter().any(|one| one == action.as_str())
}

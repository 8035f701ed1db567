//! What policies take from the calls that grants allow.

use crate::{error::Error, grants::Permission, seals};
use gateway::{AtMoment, Policies};
use policy::{Call, CalledField, Calls, Residual, Verdict};
use provider::{
    Field, FieldKind, ObjectId, Operation, Provider,
    select::{FieldSteps, normal},
};
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};
use store::RuleRow;
use types::{Action, Timestamp};

/// The policies in force, as far as they are about calls.
#[derive(Debug)]
pub(crate) struct InForce {
    pub calls: Calls,
    /// Of their texts.
    pub digest: [u8; 32],
}

impl InForce {
    /// # Errors
    /// [`Error::RuleBroken`] where one is not what it was checked to be.
    pub(crate) fn of(rows: &[RuleRow]) -> Result<Self, Error> {
        let texts: Vec<(String, String)> =
            rows.iter().map(|row| (row.name.to_string(), row.body.clone())).collect();
        let calls = Calls::new(&texts).map_err(|error| Error::RuleBroken { name: error.name })?;
        Ok(Self { calls, digest: digest_of(rows) })
    }
}

/// Tells sets of policies apart.
pub(crate) fn digest_of(rows: &[RuleRow]) -> [u8; 32] {
    let mut all = Vec::new();
    for row in rows {
        all.extend_from_slice(&seals::sha256(row.name.as_str().as_bytes()));
        all.extend_from_slice(&seals::sha256(row.body.as_bytes()));
    }
    seals::sha256(&all)
}

/// Whose rights are compiled, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'s> {
    pub in_force: &'s InForce,
    pub client: &'s str,
    pub provider: &'s str,
    pub environment: &'s str,
}

/// Policies on fields are asked once for each.
#[derive(Debug, Default)]
pub(crate) struct Taken(HashMap<(ObjectId, bool), BTreeSet<FieldSteps>>);

impl Scope<'_> {
    /// Takes from a permission what policies forbid at any moment, and yields what is left for each
    /// call to ask.
    pub(crate) fn take(
        &self,
        model: &Provider,
        operation: &Operation,
        permission: &mut Permission,
        taken: &mut Taken,
    ) -> Policies {
        let calls = &self.in_force.calls;
        if calls.is_empty() {
            return Policies::Open;
        }
        if calls.is_about_fields() {
            for (is_write, granted) in
                [(false, &mut permission.granted.read), (true, &mut permission.granted.write)]
            {
                for (id, paths) in granted.iter_mut() {
                    let forbidden = taken
                        .0
                        .entry((*id, is_write))
                        .or_insert_with(|| self.forbidden(model, *id, is_write));
                    *paths = without(model, *id, paths, forbidden);
                }
            }
        }
        let object = operation.object.and_then(|id| model.object(id));
        let is_unfiltered = permission.download || permission.upload;
        let mut actions = vec![operation.action];
        actions.extend(permission.download.then_some(Action::Download));
        actions.extend(permission.upload.then_some(Action::Upload));
        let mut moments = Vec::new();
        for action in actions {
            let call = Call {
                client: self.client,
                provider: self.provider,
                environment: self.environment,
                operation: &operation.id,
                object: object.map_or("", |object| object.name.as_str()),
                action,
                is_unfiltered,
            };
            match calls.call(&call) {
                Verdict::Open => {}
                Verdict::Forbidden(_) => return Policies::Forbid,
                Verdict::Depends(residual) => moments.push(residual),
            }
        }
        if moments.is_empty() { Policies::Open } else { Policies::Depends(Arc::new(All(moments))) }
    }

    /// The fields of an object that policies take away.
    fn forbidden(&self, model: &Provider, id: ObjectId, is_write: bool) -> BTreeSet<FieldSteps> {
        let Some(object) = model.object(id) else { return BTreeSet::new() };
        let fields = object.fields.iter().filter(|field| {
            let label = field.label.as_ref();
            let asked = CalledField {
                client: self.client,
                provider: self.provider,
                object: &object.name,
                path: &field.path,
                category: label.map_or("", |label| label.category.as_str()),
                is_sensitive: label.is_some_and(|label| label.is_sensitive),
                is_write,
            };
            self.in_force.calls.field(&asked).is_some()
        });
        fields.map(|field| normal(&field.steps)).collect()
    }
}

/// Paths without what is forbidden. One that names what holds a forbidden field stands for the other
/// leaves in it from then on.
fn without(
    model: &Provider,
    id: ObjectId,
    paths: &BTreeSet<FieldSteps>,
    forbidden: &BTreeSet<FieldSteps>,
) -> BTreeSet<FieldSteps> {
    let Some(object) = model.object(id) else { return paths.clone() };
    let is_forbidden = |path: &FieldSteps| forbidden.iter().any(|one| path.starts_with(one));
    let mut left = BTreeSet::new();
    for path in paths.iter().filter(|path| !is_forbidden(path)) {
        if !forbidden.iter().any(|one| one.starts_with(path)) {
            left.insert(path.clone());
            continue;
        }
        let is_implied = |field: &&Field| {
            matches!(field.kind, FieldKind::Scalar { .. })
                && !field.label.as_ref().is_some_and(|label| label.is_sensitive)
        };
        let leaves = object.fields.iter().filter(is_implied).map(|field| normal(&field.steps));
        left.extend(leaves.filter(|leaf| leaf.starts_with(path) && !is_forbidden(leaf)));
    }
    left
}

/// All that is left over has to let a call pass.
#[derive(Debug)]
struct All(Vec<Arc<Residual>>);

impl AtMoment for All {
    fn forbids(&self, now: Timestamp, source: Option<IpAddr>) -> bool {
        self.0.iter().any(|one| one.forbids(now, source).is_some())
    }
}

//! What a connection is asked for: the least scopes and why, and what the grants let through.

use crate::{
    error::Error,
    grants::{Allow, ResolvedGrant, end_in_force},
    tokens::{Reach, allowed_operations},
};
use provider::{Operation, Provider, auth::OAuth2};
use std::collections::{BTreeMap, BTreeSet};
use store::{ConsentRow, Everything, GrantTarget};
use types::{Connection, Id, Timestamp};

/// A scope that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedScope {
    pub name: String,
    /// The operations that need it and that grants allow; none: the provider's plan always asks for it.
    pub needed_for: Vec<String>,
}

/// The least scopes: those that the grants need, and those that the plan always asks for.
pub(super) fn scopes(
    rows: &Everything,
    model: &Provider,
    reach: Reach<'_>,
    (scheme, oauth2): (&str, &OAuth2),
    now: Timestamp,
) -> Result<Vec<AskedScope>, Error> {
    let operations: Vec<&Operation> = allowed_operations(rows, model, reach, now)?
        .into_iter()
        .filter_map(|index| model.operations.get(index))
        .collect();
    let needed = crate::tokens::needed_scopes(model, scheme, operations.iter().copied());
    let mut asked: Vec<AskedScope> = needed
        .into_iter()
        .map(|name| {
            let needs = |operation: &&&Operation| {
                crate::tokens::needed_scopes(model, scheme, [**operation]).contains(&name)
            };
            let needed_for =
                operations.iter().filter(needs).map(|operation| operation.id.clone()).collect();
            AskedScope { name, needed_for }
        })
        .collect();
    for name in &oauth2.scopes {
        if asked.iter().all(|one| one.name != *name) {
            asked.push(AskedScope { name: name.clone(), needed_for: Vec::new() });
        }
    }
    Ok(asked)
}

/// What grants let through, in words that stay: `read Employee`, `read Employee.salary`,
/// `download payslip()`.
pub(super) fn let_through(rows: &Everything, reach: Reach<'_>, now: Timestamp) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let reaching = rows.grants.iter().filter(|grant| match grant.target {
        GrantTarget::Provider(id) => id == reach.provider.id,
        GrantTarget::Connection(id) => reach.connection == Some(id),
    });
    for row in reaching {
        let Ok(grant) = serde_json::from_str::<ResolvedGrant>(&row.body) else { continue };
        if end_in_force(&grant, now).is_none() {
            continue;
        }
        words.extend(grant.allow.iter().flat_map(words_of));
    }
    words
}

fn words_of(allow: &Allow) -> Vec<String> {
    let mut words = Vec::new();
    for action in &allow.actions {
        if let Some(object) = &allow.object {
            words.push(format!("{action} {object}"));
            words.extend(allow.fields.iter().map(|field| format!("{action} {object}.{field}")));
        }
        words.extend(allow.operations.iter().map(|id| format!("{action} {id}()")));
    }
    words
}

/// What customers agreed to, by connection: those in force.
#[derive(Debug, Default)]
pub(crate) struct Agreed(BTreeMap<Id<Connection>, BTreeSet<String>>);

impl Agreed {
    pub(crate) fn of(consents: &[ConsentRow]) -> Self {
        let in_force = consents.iter().filter(|row| row.ended_at.is_none());
        Self(in_force.map(|row| (row.connection, reach_of(row))).collect())
    }

    /// A grant as far as it was agreed to: what a grant lets through since waits for the customer. A
    /// connection that nobody consented to by a browser has no such bound. `None`: it is as it was.
    pub(crate) fn clipped(
        &self,
        connection: Id<Connection>,
        grant: &ResolvedGrant,
    ) -> Option<ResolvedGrant> {
        let agreed = self.0.get(&connection)?;
        if grant.allow.iter().flat_map(words_of).all(|word| agreed.contains(&word)) {
            return None;
        }
        let allow = grant.allow.iter().flat_map(|allow| clipped(allow, agreed)).collect();
        Some(ResolvedGrant { allow, ..grant.clone() })
    }
}

/// One element for each action that was agreed to, with its fields.
fn clipped(allow: &Allow, agreed: &BTreeSet<String>) -> Vec<Allow> {
    allow
        .actions
        .iter()
        .filter_map(|action| {
            let has = |what: String| agreed.contains(&format!("{action} {what}"));
            let object = allow.object.as_ref().filter(|object| has((*object).clone())).cloned();
            let fields = match &object {
                Some(object) => {
                    let fields = allow.fields.iter();
                    fields.filter(|field| has(format!("{object}.{field}"))).cloned().collect()
                }
                None => Vec::new(),
            };
            let operations: Vec<String> =
                allow.operations.iter().filter(|id| has(format!("{id}()"))).cloned().collect();
            // An element of an object that was not agreed to is none, whatever operations it names.
            let is_any = match &allow.object {
                Some(_) => object.is_some(),
                None => !operations.is_empty(),
            };
            is_any.then(|| Allow {
                object,
                fields,
                operations,
                actions: vec![action.clone()],
                ..allow.clone()
            })
        })
        .collect()
}

pub(super) fn reach_of(row: &ConsentRow) -> BTreeSet<String> {
    // The row has a seal: it is what was written. Nothing is agreed to by one that cannot be read.
    serde_json::from_str(&row.reach).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(fields: &[&str], actions: &[&str]) -> ResolvedGrant {
        serde_json::from_value(serde_json::json!({
            "client": Id::<types::Client>::from_u128(1).to_string(),
            "provider": Id::<types::Provider>::from_u128(2).to_string(),
            "connection": null, "purpose": "p", "expires": "2999-12-31",
            "allow": [{"object": "Thing", "actions": actions, "fields": fields, "params": [],
                "headers": [], "operations": []}],
        }))
        .unwrap()
    }

    fn agreed(to: &ResolvedGrant) -> (Agreed, Id<Connection>) {
        let id = Id::from_u128(3);
        let words = to.allow.iter().flat_map(words_of).collect();
        (Agreed(BTreeMap::from([(id, words)])), id)
    }

    #[test]
    fn what_was_agreed_to_bounds_what_grants_let_through() {
        let narrow = grant(&["id"], &["read"]);
        let (consent, id) = agreed(&narrow);
        assert_eq!(consent.clipped(id, &narrow), None);
        let wide = grant(&["id", "salary"], &["read", "delete"]);
        assert_eq!(consent.clipped(id, &wide), Some(narrow.clone()));
        // Fields of one action are not those of another.
        let (consent, id) = agreed(&grant(&["id"], &["read", "update"]));
        let clipped = consent.clipped(id, &grant(&["id", "name"], &["read", "update"])).unwrap();
        let left: Vec<_> = clipped.allow.iter().map(|one| (&one.actions[0], &one.fields)).collect();
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|(_, fields)| **fields == ["id"]));
    }

    #[test]
    fn a_connection_without_a_recorded_consent_has_no_such_bound() {
        let (consent, _) = agreed(&grant(&["id"], &["read"]));
        let other = Id::from_u128(4);
        assert_eq!(consent.clipped(other, &grant(&["id", "salary"], &["read"])), None);
    }

    #[test]
    fn a_consent_to_nothing_lets_nothing_through() {
        let id = Id::from_u128(3);
        let nothing = Agreed(BTreeMap::from([(id, BTreeSet::new())]));
        assert!(nothing.clipped(id, &grant(&["id"], &["read"])).unwrap().allow.is_empty());
    }
}

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
/// `download payslip()`; of an element that names operations `read Employee.salary in getEmployee()`,
/// so that neither another operation nor all of them are what was agreed to.
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
        if allow.operations.is_empty() {
            let Some(object) = &allow.object else { continue };
            words.push(format!("{action} {object}"));
            words.extend(allow.fields.iter().map(|field| format!("{action} {object}.{field}")));
        }
        for id in &allow.operations {
            words.push(format!("{action} {id}()"));
            if let Some(object) = &allow.object {
                let fields = allow.fields.iter();
                words.extend(fields.map(|field| format!("{action} {object}.{field} in {id}()")));
            }
        }
    }
    words
}

/// What customers agreed to, by connection that anybody ever consented to.
#[derive(Debug, Default)]
pub(crate) struct Agreed(BTreeMap<Id<Connection>, BTreeSet<String>>);

impl Agreed {
    pub(crate) fn of(consents: &[ConsentRow]) -> Self {
        // Whoever took back all that was agreed to agrees to nothing.
        let mut agreed: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for row in consents {
            let words = agreed.entry(row.connection).or_default();
            if row.ended_at.is_none() {
                words.extend(reach_of(row));
            }
        }
        Self(agreed)
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

/// One element for each action, and each operation where it names some, that was agreed to, with its
/// fields. An element that is left without any operation is none: an empty list would mean all.
fn clipped(allow: &Allow, agreed: &BTreeSet<String>) -> Vec<Allow> {
    let mut clipped = Vec::new();
    for action in &allow.actions {
        let has = |what: &str| agreed.contains(&format!("{action} {what}"));
        let whole = allow.object.as_deref().filter(|object| has(object));
        let fields = |operation: Option<&str>| -> Vec<String> {
            let Some(object) = &allow.object else { return Vec::new() };
            let is_agreed = |field: &&String| {
                let field = format!("{object}.{field}");
                whole.is_some() && has(&field)
                    || operation.is_some_and(|id| has(&format!("{field} in {id}()")))
            };
            allow.fields.iter().filter(is_agreed).cloned().collect()
        };
        if allow.operations.is_empty() && whole.is_some() {
            let actions = vec![action.clone()];
            clipped.push(Allow { actions, fields: fields(None), ..allow.clone() });
        }
        for id in &allow.operations {
            // Whoever agreed to an object agreed to each of its operations that fields judge.
            let is_judged = !matches!(action.as_str(), "download" | "upload");
            let is_agreed = has(&format!("{id}()")) || is_judged && whole.is_some();
            if !is_agreed {
                continue;
            }
            let places = allow.places.iter().filter(|(known, _)| *known == id);
            clipped.push(Allow {
                actions: vec![action.clone()],
                fields: fields(Some(id)),
                operations: vec![id.clone()],
                places: places.map(|(id, place)| (id.clone(), place.clone())).collect(),
                ..allow.clone()
            });
        }
    }
    clipped
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

    fn by_operations(object: Option<&str>, action: &str, operations: &[&str]) -> ResolvedGrant {
        let mut narrowed = grant(&["id"], &[action]);
        let element = narrowed.allow.first_mut().unwrap();
        element.object = object.map(ToOwned::to_owned);
        element.operations = operations.iter().map(|&id| id.to_owned()).collect();
        element.places =
            operations.iter().map(|&id| (id.to_owned(), format!("GET /{id}"))).collect();
        narrowed
    }

    #[test]
    fn operations_are_bound_like_fields() {
        for (object, action) in [(None, "download"), (Some("Thing"), "read")] {
            let (consent, id) = agreed(&by_operations(object, action, &["a"]));
            assert_eq!(consent.clipped(id, &by_operations(object, action, &["a"])), None);
            // Another beside it: it alone is left, by its place too.
            let left = consent.clipped(id, &by_operations(object, action, &["a", "b"])).unwrap();
            let [left] = left.allow.as_slice() else { panic!("{left:?}") };
            assert_eq!((left.operations.as_slice(), left.places.len()), (&["a".to_owned()][..], 1));
            assert!(left.places.contains_key("a"), "{left:?}");
            // Another in its place, and all: nothing is left.
            for other in [&["b"][..], &[]] {
                let left = consent.clipped(id, &by_operations(object, action, other));
                let is_none = left.is_some_and(|left| left.allow.is_empty());
                // An element that names neither object nor operation opens nothing.
                assert!(is_none || object.is_none() && other.is_empty(), "{other:?}");
            }
        }
        // A field that was agreed to in one operation is not in another.
        let mut both = by_operations(Some("Thing"), "read", &["a"]);
        let mut more = by_operations(Some("Thing"), "read", &["b"]).allow.remove(0);
        both.allow.first_mut().unwrap().fields = vec!["id".into(), "salary".into()];
        both.allow.push(more.clone());
        let (consent, id) = agreed(&both);
        more.fields = vec!["id".into(), "salary".into()];
        let left = consent.clipped(id, &ResolvedGrant { allow: vec![more], ..both }).unwrap();
        assert_eq!(left.allow.first().unwrap().fields, ["id"]);
        // What is narrower than what was agreed to passes.
        let (consent, id) = agreed(&grant(&["id"], &["read"]));
        let left = consent.clipped(id, &by_operations(Some("Thing"), "read", &["a"])).unwrap();
        assert_eq!(left.allow.first().map(|one| one.fields.len()), Some(1));
    }

    #[test]
    fn whoever_took_back_everything_agrees_to_nothing() {
        let id = Id::from_u128(3);
        let row = |ended_at| ConsentRow {
            id: Id::from_u128(9),
            connection: id,
            digest: [0; 32],
            reach: serde_json::json!(["read Thing", "read Thing.id"]).to_string(),
            given_by: "local:0".into(),
            given_at: Timestamp::EPOCH,
            ended_at,
            ended_as: None,
        };
        let wanted = grant(&["id"], &["read"]);
        assert_eq!(Agreed::of(&[row(None)]).clipped(id, &wanted), None);
        let ended = Agreed::of(&[row(Some(Timestamp::EPOCH))]);
        assert!(ended.clipped(id, &wanted).unwrap().allow.is_empty());
        let anew = Agreed::of(&[row(Some(Timestamp::EPOCH)), row(None)]);
        assert_eq!(anew.clipped(id, &wanted), None);
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

//! What a description that was imported anew changes for the grants there are.

use super::{Allow, ResolvedGrant, beside_now, opened, place_of, terms_now};
use provider::{
    Provider,
    diff::operation_key,
    select::{Kinds, header_term, kinds, parse_steps, query_term, wider},
};
use std::collections::{BTreeMap, BTreeSet};

/// The most places that are told of one field, and operations of one object.
const MAX_TOLD: usize = 10;

/// What of a grant passes no longer, or only in part, with this description; in words.
pub fn stale_fields(grant: &ResolvedGrant, model: &Provider) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(other_operations(grant, model));
    for allow in &grant.allow {
        words.extend(more_beside(allow, model).into_iter().map(|(operation, more)| {
            format!(
                "{operation} would let more through, which is withheld: {}; apply again to accept it",
                listed(&more)
            )
        }));
        words.extend(more_terms(allow, model).into_iter().map(|(operation, more)| {
            format!(
                "{operation} would take more, which is refused: {}; apply again to accept it",
                listed(&more)
            )
        }));
    }
    for allow in &grant.allow {
        let Some(object) = &allow.object else { continue };
        let Some((id, _)) = model.object_by_name(object) else {
            words.push(format!("the object {object} is gone, and nothing of it passes"));
            continue;
        };
        for field in &allow.fields {
            let Some(path) = parse_steps(field) else { continue };
            let now = kinds(model, id, allow.is_write(), &path);
            let granted = allow.kinds_of(field);
            let more = wider(&granted, &now);
            if now.is_empty() && !granted.is_empty() {
                words.push(format!("{object}.{field} is gone"));
            } else if !more.is_empty() {
                words.push(format!(
                    "{object}.{field} leads to more than was granted, which is withheld: {}; apply \
                     again to accept it",
                    in_words(field, &more)
                ));
            }
        }
        for operation in &allow.operations {
            match model.operations.iter().find(|one| one.id == *operation) {
                None => words.push(format!("the operation {operation} is gone")),
                Some(found) if !allow.names(found) => words.push(format!(
                    "the operation {operation} is another than was granted, and is not allowed: \
                     {}; apply again to accept it",
                    place_of(found)
                )),
                Some(_) => {}
            }
        }
    }
    words.sort();
    words.dedup();
    words
}

/// By operation that a grant opens: what passes beside its object by this description, and did not
/// when it was granted.
pub fn more_beside(allow: &Allow, model: &Provider) -> BTreeMap<String, BTreeSet<String>> {
    more_than(&allow.beside, beside_now(allow, model), &allow.reached)
}

/// The same of how it may be asked, and of what passes unseen.
pub fn more_terms(allow: &Allow, model: &Provider) -> BTreeMap<String, BTreeSet<String>> {
    more_than(&allow.terms, terms_now(allow, model), &allow.reached)
}

fn more_than(
    before: &BTreeMap<String, BTreeSet<String>>,
    now: BTreeMap<String, BTreeSet<String>>,
    reached: &BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let none = BTreeSet::new();
    now.into_iter()
        .filter(|(operation, _)| reached.contains(operation))
        .map(|(operation, now)| {
            let known = before.get(&operation).unwrap_or(&none);
            let more = now.difference(known).cloned().collect();
            (operation, more)
        })
        .filter(|(_, more): &(String, BTreeSet<String>)| !more.is_empty())
        .collect()
}

/// The first of them, with commas.
fn listed(all: &BTreeSet<String>) -> String {
    let mut told: Vec<&str> = all.iter().take(MAX_TOLD).map(String::as_str).collect();
    if all.len() > MAX_TOLD {
        told.push("...");
    }
    told.join(", ")
}

/// Operations that the names in a grant open by this description alone, or did not stop opening.
fn other_operations(grant: &ResolvedGrant, model: &Provider) -> Vec<String> {
    // An operation that is named and became another is told by its id.
    let unnamed = grant.allow.iter().filter(|allow| allow.operations.is_empty());
    let mut more: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut fewer: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for allow in unnamed {
        let object = allow.object.as_deref().unwrap_or_default();
        let now: BTreeSet<String> = opened(allow, model).map(operation_key).collect();
        more.entry(object).or_default().extend(now.difference(&allow.reached).cloned());
        fewer.entry(object).or_default().extend(allow.reached.difference(&now).cloned());
    }
    let is_told = |(_, operations): &(&str, BTreeSet<String>)| !operations.is_empty();
    let more = more.into_iter().filter(is_told).map(|(object, operations)| {
        format!(
            "{object} would reach {}; withheld until it is applied again",
            operations_in_words("more ", &operations)
        )
    });
    let fewer = fewer.into_iter().filter(is_told).map(|(object, operations)| {
        format!("{object} no longer reaches {}", operations_in_words("", &operations))
    });
    more.chain(fewer).collect()
}

/// `2 more operations: GET /things, GET /things/{}`.
fn operations_in_words(more: &str, operations: &BTreeSet<String>) -> String {
    let plural = if operations.len() == 1 { "operation" } else { "operations" };
    format!("{} {more}{plural}: {}", operations.len(), listed(operations))
}

/// By object and access: what it opened by the object's name.
fn reached(grant: &ResolvedGrant) -> BTreeMap<(&str, bool), BTreeSet<String>> {
    let mut all: BTreeMap<(&str, bool), BTreeSet<String>> = BTreeMap::new();
    // What became of an operation that is named is told by its id.
    for allow in grant.allow.iter().filter(|allow| allow.operations.is_empty()) {
        let place = (allow.object.as_deref().unwrap_or_default(), allow.is_write());
        all.entry(place).or_default().extend(allow.reached.iter().cloned());
    }
    all
}

/// Fields and operations that two states of a grant have in common and that are something else now;
/// in words.
pub fn changed_fields(before_grant: &ResolvedGrant, after: &ResolvedGrant) -> Vec<String> {
    let before = by_field(before_grant);
    let mut words = Vec::new();
    for (place @ (object, _, field), now) in by_field(after) {
        let Some(granted) = before.get(&place).filter(|granted| **granted != now) else { continue };
        let more = wider(granted, &now);
        words.push(if more.is_empty() {
            format!("notes that {object}.{field} leads to less than it did")
        } else {
            format!("accepts that {object}.{field} leads to more: {}", in_words(field, &more))
        });
    }
    let places = |grant: &'_ ResolvedGrant| -> BTreeMap<String, String> {
        grant.allow.iter().flat_map(|allow| allow.places.clone()).collect()
    };
    let known = places(before_grant);
    for (operation, place) in places(after) {
        if known.get(&operation).is_some_and(|before| *before != place) {
            words.push(format!("accepts that the operation {operation} is {place} now"));
        }
    }
    let known = reached(before_grant);
    for (place, now) in reached(after) {
        // What is granted anew is told as such.
        let Some(before) = known.get(&place) else { continue };
        let more: BTreeSet<String> = now.difference(before).cloned().collect();
        let fewer: BTreeSet<String> = before.difference(&now).cloned().collect();
        let (object, _) = place;
        if !more.is_empty() {
            words.push(format!("{object} reaches {}", operations_in_words("more ", &more)));
        }
        if !fewer.is_empty() {
            words.push(format!("{object} no longer reaches {}", operations_in_words("", &fewer)));
        }
    }
    words.extend(changed_beside(before_grant, after));
    words.extend(changed_terms(before_grant, after));
    words.dedup();
    words
}

/// By operation, something that a grant remembers of it.
type ByOperation = BTreeMap<String, BTreeSet<String>>;

/// What passes beside the objects of operations that both states of a grant open.
fn changed_beside(before_grant: &ResolvedGrant, after: &ResolvedGrant) -> Vec<String> {
    let (more, fewer) = compared(before_grant, after, |allow| &allow.beside);
    let more = more.into_iter().map(|(operation, more)| {
        format!("accepts that {operation} lets more through: {}", listed(&more))
    });
    let fewer = fewer.into_iter().map(|(operation, fewer)| {
        format!("notes that {operation} no longer lets through: {}", listed(&fewer))
    });
    more.chain(fewer).collect()
}

/// How operations that both states of a grant open may be asked, and what passes through them unseen.
/// What the grant names anew, or no longer, is told as such.
fn changed_terms(before_grant: &ResolvedGrant, after: &ResolvedGrant) -> Vec<String> {
    let named = |grant: &ResolvedGrant| -> BTreeSet<String> {
        let queries =
            grant.allow.iter().flat_map(|allow| &allow.params).map(|name| query_term(name));
        let headers =
            grant.allow.iter().flat_map(|allow| &allow.headers).map(|name| header_term(name));
        queries.chain(headers).collect()
    };
    let (before, now) = (named(before_grant), named(after));
    let in_one: BTreeSet<&String> = before.symmetric_difference(&now).collect();
    let (mut more, mut fewer) = compared(before_grant, after, |allow| &allow.terms);
    for found in [&mut more, &mut fewer] {
        found.retain(|_, terms| {
            terms.retain(|term| !in_one.contains(term));
            !terms.is_empty()
        });
    }
    let more = more
        .into_iter()
        .map(|(operation, more)| format!("accepts that {operation} takes more: {}", listed(&more)));
    let fewer = fewer.into_iter().map(|(operation, fewer)| {
        format!("notes that {operation} no longer takes: {}", listed(&fewer))
    });
    more.chain(fewer).collect()
}

/// What is more and what is less of operations that both states of a grant open.
fn compared(
    before_grant: &ResolvedGrant,
    after: &ResolvedGrant,
    of: impl Fn(&Allow) -> &ByOperation,
) -> (ByOperation, ByOperation) {
    let all = |grant: &ResolvedGrant| {
        let mut all = ByOperation::new();
        for (operation, found) in grant.allow.iter().flat_map(&of) {
            all.entry(operation.clone()).or_default().extend(found.iter().cloned());
        }
        all
    };
    let reached = |grant: &ResolvedGrant| -> BTreeSet<String> {
        grant.allow.iter().flat_map(|allow| &allow.reached).cloned().collect()
    };
    let common = &reached(before_grant) & &reached(after);
    let (before, now) = (all(before_grant), all(after));
    (more_than(&before, now.clone(), &common), more_than(&now, before, &common))
}

/// By object, access and field: what it led to.
fn by_field(grant: &ResolvedGrant) -> BTreeMap<(&str, bool, &str), Kinds> {
    let mut all: BTreeMap<(&str, bool, &str), Kinds> = BTreeMap::new();
    for allow in &grant.allow {
        for field in &allow.fields {
            let place = (allow.object.as_deref().unwrap_or_default(), allow.is_write(), &**field);
            let known = all.entry(place).or_default();
            for (at, kinds) in allow.kinds_of(field) {
                known.entry(at).or_default().extend(kinds);
            }
        }
    }
    all
}

/// `address.phone (scalar), address.geo (object)`.
fn in_words(field: &str, kinds: &Kinds) -> String {
    let mut told: Vec<String> = kinds
        .iter()
        .take(MAX_TOLD)
        .map(|(place, kinds)| {
            let dot = if place.is_empty() || place.starts_with('[') { "" } else { "." };
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            format!("{field}{dot}{place} ({})", kinds.join(", "))
        })
        .collect();
    if kinds.len() > MAX_TOLD {
        told.push("...".to_owned());
    }
    told.join(", ")
}

//! One grant as a table of objects and fields, for those who decide with a finger.

use super::{
    Allow, AllowEntry, Catalogue, Entry, Placed, Problem, ResolvedGrant, Words, elements::pairs,
};
use provider::{Field, FieldKind, Object, Provider};
use std::collections::BTreeSet;
use types::Action;

/// Rows of one object that are shown.
const MAX_ROWS: usize = 1_000;
/// What a problem in what was chosen is said to stand in.
const HERE: &str = "what was chosen";

/// What one element of a grant allows of an object, beside what it could.
#[derive(Debug, Clone)]
pub struct Part {
    pub object: String,
    pub actions: Vec<String>,
    pub rows: Vec<Row>,
    /// Fields that there are beyond those shown.
    pub more: usize,
}

/// A field.
#[derive(Debug, Clone)]
pub struct Row {
    pub field: String,
    pub label: Option<String>,
    pub is_sensitive: bool,
    pub is_granted: bool,
}

/// The parts of a grant that name an object, in its order; and of `more`, an object that it does not
/// name yet, to read.
pub fn parts(grant: &ResolvedGrant, model: &Provider, more: Option<&str>) -> Vec<Part> {
    let mut parts: Vec<Part> = grant
        .allow
        .iter()
        .filter_map(|allow| {
            let name = allow.object.as_ref()?;
            let found = model.object_by_name(name).map(|(_, object)| object);
            let (rows, more) = rows(found, &allow.fields, allow.is_write());
            Some(Part { object: name.clone(), actions: allow.actions.clone(), rows, more })
        })
        .collect();
    let added = more.and_then(|name| model.object_by_name(name)).map(|(_, object)| object);
    if let Some(object) = added {
        let (rows, more) = rows(Some(object), &[], false);
        let actions = vec!["read".to_owned()];
        parts.push(Part { object: object.name.clone(), actions, rows, more });
    }
    parts
}

fn rows(object: Option<&Object>, granted: &[String], is_write: bool) -> (Vec<Row>, usize) {
    let fields = object.map_or(&[][..], |object| &object.fields);
    let is_offered = |field: &&Field| {
        !matches!(field.kind, FieldKind::Inline)
            && !(if is_write { field.is_read_only } else { field.is_write_only })
    };
    let mut rows: Vec<Row> = fields
        .iter()
        .filter(is_offered)
        .map(|field| Row {
            field: field.path.clone(),
            label: field.label.as_ref().map(|label| label.category.clone()),
            is_sensitive: field.label.as_ref().is_some_and(|label| label.is_sensitive),
            is_granted: granted.contains(&field.path),
        })
        .collect();
    let more = rows.len().saturating_sub(MAX_ROWS);
    rows.truncate(MAX_ROWS);
    // What leads into other objects, or stands there no more.
    for field in granted {
        if !rows.iter().any(|row| row.field == *field) {
            let field = field.clone();
            rows.push(Row { field, label: None, is_sensitive: false, is_granted: true });
        }
    }
    (rows, more)
}

/// What of a choice is none: an object that the grant names already, which would be opened by another way
/// beside it.
pub(crate) fn twice(grant: &ResolvedGrant, more: Option<&str>) -> Option<Problem> {
    let named =
        more.filter(|more| grant.allow.iter().any(|allow| allow.object.as_deref() == Some(*more)))?;
    Some(Problem {
        file: HERE.to_owned(),
        line: 1,
        what: format!("the grant names `{named}` already"),
        remedy: "Tick its fields where it stands; other ways to it are written in files."
            .to_owned(),
    })
}

/// The grant with other fields, as a file would say it: `chosen` by the number of the part. A part
/// without any field goes.
pub(crate) fn entry(
    grant: &ResolvedGrant,
    catalogue: &Catalogue,
    chosen: &BTreeSet<(usize, String)>,
    more: Option<&str>,
) -> Entry {
    let placed = |text: &str| Placed { text: text.to_owned(), line: 1 };
    let all = |texts: &[String]| texts.iter().map(|text| placed(text)).collect::<Vec<_>>();
    let of = |number: usize| -> Vec<Placed> {
        let own = chosen.iter().filter(|(part, _)| *part == number);
        own.map(|(_, field)| placed(field)).collect()
    };
    let mut allow = Vec::new();
    let mut number = 0;
    for one in &grant.allow {
        let Allow { object, actions, params, headers, operations, .. } = one;
        let fields = if object.is_some() {
            number += 1;
            of(number - 1)
        } else {
            all(&one.fields)
        };
        if object.is_some() && fields.is_empty() && !one.fields.is_empty() {
            continue;
        }
        allow.push(AllowEntry {
            line: 1,
            object: object.as_deref().map(placed),
            actions: all(actions),
            fields,
            params: all(params),
            headers: all(headers),
            operations: all(operations),
        });
    }
    let added = of(number);
    if let Some(object) = more.filter(|_| !added.is_empty()) {
        allow.push(AllowEntry {
            line: 1,
            object: Some(placed(object)),
            actions: vec![placed("read")],
            fields: added,
            ..AllowEntry::default()
        });
    }
    let client = catalogue.client(grant);
    let is_provider = grant.provider.is_some();
    let target = catalogue.target(grant);
    Entry {
        file: HERE.to_owned(),
        line: 1,
        client: Some(placed(&client)),
        provider: is_provider.then(|| placed(&target)),
        connection: (!is_provider).then(|| placed(&target)),
        purpose: Some(placed(&grant.purpose)),
        expires: Some(placed(&grant.expires)),
        allow,
    }
}

/// What a part that was there before led to stays as it was granted: who ticks a box accepts that box,
/// and nothing that a description says otherwise since.
pub(crate) fn keep(before: &ResolvedGrant, wanted: &mut ResolvedGrant) {
    let now = wanted.clone();
    let kept = pairs(before, &now).into_iter().filter_map(|pair| {
        let after = pair.after?;
        Some(pair.before.map_or_else(|| after.clone(), |old| kept_as(old, after)))
    });
    wanted.allow = kept.collect();
}

fn kept_as(old: &Allow, now: &Allow) -> Allow {
    let mut allow = now.clone();
    for field in now.fields.iter().filter(|field| old.fields.contains(field)) {
        match old.kinds.get(field) {
            Some(kinds) => allow.kinds.insert(field.clone(), kinds.clone()),
            None => allow.kinds.remove(field),
        };
    }
    allow.places.clone_from(&old.places);
    allow.reached.clone_from(&old.reached);
    allow.beside.clone_from(&old.beside);
    allow.terms.clone_from(&old.terms);
    allow
}

/// The grant with fewer fields, if that is all that was chosen: nothing of it has to be declared still.
/// It may have no element left.
pub(crate) fn narrower(
    grant: &ResolvedGrant,
    chosen: &BTreeSet<(usize, String)>,
) -> Option<ResolvedGrant> {
    let parts = || grant.allow.iter().filter(|allow| allow.object.is_some()).enumerate();
    let is_granted = |(part, field): &(usize, String)| {
        parts().any(|(number, allow)| number == *part && allow.fields.contains(field))
    };
    if !chosen.iter().all(is_granted) {
        return None;
    }
    let mut number = 0;
    let mut wanted = grant.clone();
    wanted.allow.retain_mut(|allow| {
        if allow.object.is_none() {
            return true;
        }
        let own = number;
        number += 1;
        let had_fields = !allow.fields.is_empty();
        allow.fields.retain(|field| chosen.contains(&(own, field.clone())));
        allow.kinds.retain(|field, _| chosen.contains(&(own, field.clone())));
        !had_fields || !allow.fields.is_empty()
    });
    Some(wanted)
}

/// The grant without what nobody uses, spelled like `read Employee` and `download export`. It may have
/// no element left.
pub(crate) fn without(grant: &ResolvedGrant, unused: &BTreeSet<String>) -> ResolvedGrant {
    let is_unfiltered =
        |action: &str| [Action::Download, Action::Upload].iter().any(|one| one.as_str() == action);
    let mut wanted = grant.clone();
    wanted.allow.retain_mut(|allow| {
        let Allow { object, actions, operations, fields, kinds, .. } = allow;
        let is_used = |action: &str, what: &str| !unused.contains(&format!("{action} {what}"));
        if actions.iter().all(|action| is_unfiltered(action)) {
            operations.retain(|one| actions.iter().any(|action| is_used(action, one)));
        }
        actions.retain(|action| {
            if is_unfiltered(action) {
                operations.iter().any(|one| is_used(action, one))
            } else {
                object.as_deref().is_none_or(|object| is_used(action, object))
            }
        });
        // A field goes where no action that is left needs it.
        if let Some(object) = object.as_deref() {
            let is_met = |field: &String| {
                let field = format!("{object}.{field}");
                actions.iter().any(|action| is_unfiltered(action) || is_used(action, &field))
            };
            fields.retain(is_met);
            kinds.retain(|field, _| fields.contains(field));
        }
        !actions.is_empty()
    });
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn grant() -> ResolvedGrant {
        let allow = |object: Option<&str>, actions: &[&str], operations: &[&str]| {
            json!({
                "object": object, "actions": actions, "fields": ["id"], "params": [], "headers": [],
                "operations": operations,
            })
        };
        let grant = json!({
            "client": "clnt_06ewk4g000e0g0000000000005",
            "provider": "prov_06ewk4g000e0g0000000000003",
            "connection": null,
            "purpose": "p",
            "expires": "2999-12-31",
            "allow": [
                allow(Some("Employee"), &["read", "update"], &[]),
                allow(Some("Payslip"), &["read"], &[]),
                allow(None, &["download"], &["getScan", "getPhoto"]),
                allow(None, &["upload", "download"], &["putScan"]),
            ],
        });
        serde_json::from_value(grant).unwrap()
    }

    fn left(unused: &[&str]) -> Vec<String> {
        let unused = unused.iter().map(|one| (*one).to_owned()).collect();
        let allow = without(&grant(), &unused).allow.into_iter();
        let words = allow.map(|one| {
            let what = one.object.unwrap_or_else(|| one.operations.join("+"));
            format!("{} {what}", one.actions.join("+"))
        });
        words.collect()
    }

    #[test]
    fn what_is_not_used_goes_and_the_rest_stays() {
        let all = [
            "read+update Employee",
            "read Payslip",
            "download getScan+getPhoto",
            "upload+download putScan",
        ];
        assert_eq!(left(&[]), all);
        assert_eq!(left(&["read Another", "update"]), all);
        assert_eq!(
            left(&["update Employee", "download getPhoto", "upload putScan"]),
            ["read Employee", "read Payslip", "download getScan", "download putScan"]
        );
        assert_eq!(
            left(&["read Payslip", "download getScan", "download getPhoto", "download putScan"]),
            ["read+update Employee", "upload putScan"]
        );
        let every = [
            "read Employee",
            "update Employee",
            "read Payslip",
            "download getScan",
            "download getPhoto",
            "upload putScan",
            "download putScan",
        ];
        assert_eq!(left(&every), [""; 0]);
    }
}

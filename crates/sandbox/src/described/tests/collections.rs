//! Collections of the real descriptions: what is created, changed and deleted agrees everywhere.

use super::{corpus, open_mock, send};
use crate::described::{
    check::{Direction, check, holds},
    mock::{Mock, Reply},
    render::CODE,
    roles::{Collection, ListWay, Role, Verb, element_schemas, json_schema},
    sample::Sample,
    table::Table,
};
use http::header;
use provider::LoadLimits;
use serde_json::Value;
use std::collections::BTreeSet;

/// Lists whose elements cannot be valid (see the proofs in `corpus`): only an empty one is.
const UNSATISFIABLE: [&str; 3] = [
    "zoom-swagger2.json /webhooks",
    "recurly.yaml /plans",
    "okta-management.yaml /api/v1/authenticators",
];

/// Counts of what was tried.
#[derive(Debug, Default)]
struct Tried {
    collections: usize,
    walked: usize,
    read: usize,
    members: usize,
    created: usize,
    changed: usize,
    deleted: usize,
}

fn find(mock: &Mock, wanted: &Role) -> Option<usize> {
    mock.roles.parts.iter().position(|part| part.role == *wanted)
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

fn at<'v>(value: &'v Value, way: &[String]) -> &'v Value {
    way.iter().fold(value, |value, name| &value[name.as_str()])
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The sample of an item's operation, for another record.
fn for_id(mock: &Mock, index: usize, id: &str) -> Option<Sample> {
    let mut sample = mock.sample(index)?;
    let Role::Item(collection, _) = mock.roles.parts[index].role else { return None };
    let depth = mock.roles.collections[collection].depth;
    let mut segments = provider::decode_path(&sample.path).ok()?;
    let old = mock.roles.collections[collection].id_in(&segments[depth]).to_owned();
    segments[depth] = segments[depth].replacen(&old, id, 1);
    sample.path = provider::encode_path(&segments);
    Some(sample)
}

/// A token that an answer gives for the next page, wherever it stands.
fn next_token(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let tokens = text.split(['=', '&', '?']);
            tokens
                .map(str::to_owned)
                .find(|token| crate::described::paging::decode(token).is_some())
        }
        Value::Array(all) => all.iter().find_map(next_token),
        Value::Object(all) => {
            let others = ["self", "prev", "previous", "first", "last"];
            let ahead = all.iter().filter(|(name, _)| !others.contains(&name.as_str()));
            ahead.map(|(_, value)| value).find_map(next_token)
        }
        _ => None,
    }
}

/// All elements of a list, page by page.
fn walk(mock: &Mock, index: usize, way: &ListWay, member: &str) -> Option<Vec<Value>> {
    let first = mock.sample(index)?;
    let paging = &mock.paging[index];
    let mut found: Vec<Value> = Vec::new();
    let mut position: Option<(String, String)> = None;
    let mut page_size = None;
    for page in 0..40 {
        let mut sample = first.clone();
        if let Some((name, value)) = &position {
            let mut query = url::form_urlencoded::Serializer::new(sample.query);
            query.append_pair(name, value);
            sample.query = query.finish();
        }
        let reply = send(mock, &sample);
        assert!(
            !reply.headers.iter().any(|(name, _)| *name == CODE),
            "{sample:?} {:?}",
            reply.body
        );
        let body = body(&reply);
        let elements = at(&body, &way.before).as_array()?.clone();
        let count = elements.len();
        found.extend(elements);
        let link = reply.headers.iter().find(|(name, _)| name == header::LINK);
        let link = link.map(|(_, value)| Value::from(value.to_str().unwrap()));
        let token = next_token(&body).or_else(|| next_token(&link?));
        // A caller without a token goes on behind the last id that it saw.
        let last = found.last().map(|element| text(&at(element, &way.inside)[member]));
        position = paging.next_of(page, found.len(), token.or(last));
        // A page that is shorter than the first is the last.
        let whole = *page_size.get_or_insert(count);
        if position.is_none() || count == 0 || count < whole {
            return Some(found);
        }
    }
    None
}

#[test]
fn collections_of_all_descriptions_agree() {
    let Some(folder) = corpus::corpus() else { return };
    let mut tried = Tried::default();
    for file in corpus::files(&folder) {
        let bytes = std::fs::read(folder.join(&file)).unwrap();
        let mock = open_mock(Table::read(&bytes, &LoadLimits::default()).unwrap());
        for collection in 0..mock.roles.collections.len() {
            if mock.roles.collections[collection].is_closed() {
                try_collection(&mock, &file, collection, &mut tried);
            }
        }
    }
    eprintln!("{tried:?}");
    assert!(tried.collections > 500 && tried.created > 150 && tried.deleted > 150, "{tried:?}");
    assert!(tried.walked > 500 && tried.changed > 150, "{tried:?}");
}

fn try_collection(mock: &Mock, file: &str, collection: usize, tried: &mut Tried) {
    mock.reset();
    let found = &mock.roles.collections[collection];
    let member = found.id_member.clone().unwrap();
    let Some(list) = find(mock, &Role::List(collection)) else { return };
    let part = &mock.roles.parts[list];
    let way = part.list.clone().unwrap();
    let place = format!("{file} {}", mock.table.entries[list].operation.path.text());
    if mock.seeded_count(collection, list) == 0 {
        return;
    }
    tried.collections += 1;
    let ids = |elements: &[Value]| -> Vec<String> {
        elements.iter().map(|element| text(&at(element, &way.inside)[member.as_str()])).collect()
    };
    let Some(elements) = walk(mock, list, &way, &member) else {
        panic!("{place}: no end {:?}", mock.paging[list])
    };
    let all = ids(&elements);
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{place}: {all:?}");
    // A required filter leaves fewer.
    let is_whole = mock.sample(list).is_some_and(|sample| sample.query.is_empty());
    let count = mock.seeded_count(collection, list);
    if all.is_empty() && (!is_whole || UNSATISFIABLE.contains(&place.as_str())) {
        return;
    }
    assert!(all.len() == count || !is_whole && all.len() < count, "{place}: {all:?}");
    tried.walked += 1;

    let reader = find(mock, &Role::Item(collection, Verb::Read));
    let reader = reader.filter(|index| mock.roles.parts[*index].way.is_some());
    let read = |id: &str| -> Option<Value> {
        let index = reader?;
        let reply = send(mock, &for_id(mock, index, id)?);
        let is_refused = reply.headers.iter().any(|(name, _)| *name == CODE);
        let way = mock.roles.parts[index].way.clone().unwrap();
        (!is_refused).then(|| at(&body(&reply), &way).clone())
    };
    let inventor = mock.inventor(Direction::Answer);
    let root = json_schema(&mock.table.entries[list].answers[part.success.unwrap()]).unwrap();
    let (_, shown) = element_schemas(&inventor, root, &way);
    if reader.is_some() {
        for (id, element) in all.iter().zip(&elements).take(3) {
            let record = read(id).unwrap_or_else(|| panic!("{place}: {id} is not found"));
            tried.read += 1;
            for (name, value) in at(element, &way.inside).as_object().unwrap() {
                let same =
                    inventor.below(&shown, Some(name)) == inventor.below(&found.record, Some(name));
                if let Some(other) = record.get(name).filter(|_| same && !value.is_null()) {
                    assert_eq!(other, value, "{place}: {name} of {id}");
                    tried.members += 1;
                }
            }
        }
    }
    let listed = || ids(&walk(mock, list, &way, &member).unwrap());
    let created = find(mock, &Role::Create(collection)).and_then(|index| {
        let sample = mock.sample(index)?;
        let reply = send(mock, &sample);
        assert!(!reply.headers.iter().any(|(name, _)| *name == CODE), "{place}: {:?}", reply.body);
        let now = listed();
        let new: Vec<&String> = now.iter().filter(|id| !all.contains(id)).collect();
        if !is_whole {
            return None;
        }
        assert_eq!((new.len(), now.len()), (1, all.len() + 1), "{place}");
        tried.created += 1;
        if reader.is_some() {
            let record = read(new[0]).unwrap_or_else(|| {
                panic!("{place}: the new {} is not found: {:?}", new[0], reply.body)
            });
            written_is_shown(mock, index, &sample, &record, found, &place);
        }
        Some(new[0].clone())
    });
    let id = created.as_ref().unwrap_or(&all[0]);
    for verb in [Verb::Merge, Verb::Replace] {
        let Some(index) = find(mock, &Role::Item(collection, verb)) else { continue };
        let Some(sample) = for_id(mock, index, id) else { continue };
        let reply = send(mock, &sample);
        assert!(!reply.headers.iter().any(|(name, _)| *name == CODE), "{place}: {:?}", reply.body);
        if let Some(record) = read(id) {
            written_is_shown(mock, index, &sample, &record, found, &place);
            tried.changed += 1;
        }
    }
    if let Some(index) = find(mock, &Role::Item(collection, Verb::Delete)) {
        let Some(sample) = for_id(mock, index, id) else { return };
        let before = listed();
        assert!(send(mock, &sample).status.is_success(), "{place}");
        assert_eq!(send(mock, &sample).status, 404, "{place}: deleted twice");
        assert!(read(id).is_none(), "{place}: {id} is still there");
        let after = listed();
        assert!(!after.contains(id), "{place}");
        assert!(!is_whole || after.len() + 1 == before.len(), "{place}");
        tried.deleted += 1;
    }
}

/// Scalars that were written are read back, where the answer's schema allows them at all.
fn written_is_shown(
    mock: &Mock,
    index: usize,
    sample: &Sample,
    record: &Value,
    found: &Collection,
    place: &str,
) {
    let schemas = &found.record;
    let Some(request) = &mock.table.entries[index].body else { return };
    let Ok(sent) = serde_json::from_slice::<Value>(&sample.body) else { return };
    let inventor = mock.inventor(Direction::Answer);
    let Some(object) = at(&sent, &request.way).as_object() else { return };
    let Some(id) = request.contents.iter().find_map(|content| content.schema) else { return };
    for (name, value) in object {
        let below = inventor.below(schemas, Some(name));
        // An id stays what its path says.
        let is_hidden = below.is_empty()
            || found.id_member.as_ref() == Some(name)
            || below.iter().any(|id| {
                mock.table.schemas.is_write_only(*id) || mock.table.schemas.is_read_only(*id)
            })
            || mock.table.schemas.is_read_only(id);
        let is_possible = holds(&mock.table.schemas, &below, value, Direction::Answer);
        let is_scalar = !value.is_object() && !value.is_array() && !value.is_null();
        if !is_hidden && is_possible && is_scalar && record.get(name) != Some(value) {
            // The whole may not allow what the member does (alternatives).
            let mut whole = record.clone();
            whole[name.as_str()] = value.clone();
            let is_allowed = schemas
                .iter()
                .all(|id| check(&mock.table.schemas, *id, &whole, Direction::Answer).is_ok());
            assert!(
                !is_allowed,
                "{place}: {name} was written {value}, read {:?}",
                record.get(name)
            );
        }
    }
}

#[test]
fn elements_whose_alternatives_cannot_be_told_apart_have_no_value() {
    let Some(folder) = corpus::corpus() else { return };
    let bytes = std::fs::read(folder.join("okta-management.yaml")).unwrap();
    let document = provider::parse_document(&bytes, &LoadLimits::default()).unwrap();
    let place =
        "/paths/~1api~1v1~1authenticators/get/responses/200/content/application~1json/schema/items";
    let schema = document.pointer(place).unwrap();
    assert!(super::judge::proof::all_alternatives_are_subsumed(&document, schema));
}

//! Records of collections: which exist, under which id, and what was written into them.

use super::{
    check::{Direction, holds},
    draw::Key,
    invent::{Extent, Inventor, Spot},
    mock::Mock,
    problem::Problem,
    schema::SchemaId,
    store::{State, Store},
};
use http::StatusCode;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

/// How often another id is drawn where one exists already.
const MAX_DRAWS: u64 = 20;
/// Collections whose ids are remembered.
const MAX_REMEMBERED: usize = 4_096;
/// Longest id that a caller may choose, in bytes.
const MAX_ID_BYTES: usize = 200;

/// A record's identity.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// `None`: a resource without siblings.
    pub(crate) collection: Option<usize>,
    pub(crate) space: String,
    pub(crate) id: String,
    pub(crate) key: Key,
    /// Path parameters before the id, which a record may repeat as members.
    params: Vec<(String, String)>,
}

/// Ids of the records that are there from the beginning.
#[derive(Debug, Default)]
pub(crate) struct SeededIds {
    list: Vec<String>,
    places: HashMap<String, u64>,
}

impl SeededIds {
    pub(super) fn first(&self) -> Option<&str> {
        self.list.first().map(String::as_str)
    }
}

impl Mock {
    pub(super) fn inventor(&self, direction: Direction) -> Inventor<'_> {
        Inventor::new(&self.table.schemas, &self.flavors, direction, Extent::All)
    }

    /// The collection's name among all: its path, as called.
    pub(super) fn space(&self, collection: usize, segments: &[String]) -> Option<String> {
        let found = self.roles.collections.get(collection)?;
        let (last, before) = segments.get(..found.depth)?.split_last()?;
        // The collection's own path carries the tail at its end.
        let own = segments.len() <= found.depth
            || segments.get(found.depth).is_some_and(String::is_empty);
        let last = if own { found.base_in(last) } else { last };
        let mut space = before.join("/");
        space.push('/');
        space.push_str(last);
        Some(space)
    }

    /// The record that a path names.
    pub(super) fn record(&self, collection: usize, segments: &[String]) -> Option<Record> {
        let found = self.roles.collections.get(collection)?;
        let space = self.space(collection, segments)?;
        let segment = segments.get(found.depth)?;
        let is_last = segments.len() == found.depth + 1;
        let id = if is_last { found.id_in(segment) } else { segment };
        // Many providers call the caller's own record so; here it is the first.
        let own = (id == "me" && self.is_closed(collection, &space))
            .then(|| self.seeded(collection, &space))
            .filter(|seeded| !seeded.places.contains_key(id));
        let first = own.as_ref().and_then(|seeded| seeded.first());
        let id = first.unwrap_or(id).to_owned();
        Some(self.named(collection, space, id, segments))
    }

    fn named(&self, collection: usize, space: String, id: String, segments: &[String]) -> Record {
        let key = self.seed.at("records").at(&space).at(&id);
        let params = self.roles.collections.get(collection).map(|found| &found.params);
        let params = params.into_iter().flatten();
        let params = params
            .filter_map(|(name, place)| Some((name.clone(), segments.get(*place)?.clone())))
            .collect();
        Record { collection: Some(collection), space, id, key, params }
    }

    pub(super) fn single(&self, segments: &[String]) -> Record {
        let space = format!("={}", segments.join("/"));
        let key = self.seed.at("records").at(&space);
        Record { collection: None, space, id: String::new(), key, params: Vec::new() }
    }

    pub(super) fn exists(&self, record: &Record) -> bool {
        match self.store().state(&record.space, &record.id) {
            State::Deleted => return false,
            State::Written(_) => return true,
            State::Untouched => {}
        }
        let Some(collection) = record.collection else { return true };
        !self.is_closed(collection, &record.space)
            || self.seeded(collection, &record.space).places.contains_key(&record.id)
    }

    /// Whether a record exists only if the list shows it. Where no id can be invented that the
    /// description allows, any id is taken.
    pub(super) fn is_closed(&self, collection: usize, space: &str) -> bool {
        self.roles.collections.get(collection).is_some_and(|found| {
            found.is_closed()
                && (self.count == 0 || !self.seeded(collection, space).list.is_empty())
        })
    }

    /// What is known of a record: its id, its parents' ids, and what callers wrote.
    pub(super) fn written(&self, record: &Record) -> (Map<String, Value>, Extent) {
        let mut members = Map::new();
        let mut extent = Extent::All;
        let inventor = self.inventor(Direction::Answer);
        let found = record.collection.and_then(|place| self.roles.collections.get(place));
        let mut put = |name: &str, text: &str, schemas: &[SchemaId]| {
            if let Some(value) = self.value_of(schemas, text) {
                members.insert(name.to_owned(), value);
            }
        };
        if let Some(found) = found {
            for (name, text) in &record.params {
                let schemas = inventor.below(&found.record, Some(name));
                if !schemas.is_empty() {
                    put(name, text, &schemas);
                }
            }
            if let Some(name) = &found.id_member {
                put(name, &record.id, &inventor.below(&found.record, Some(name)));
            }
        }
        if let State::Written(written) = self.store().state(&record.space, &record.id) {
            for (name, value) in &written.members {
                members.insert(name.clone(), value.clone());
            }
            if written.is_bare {
                extent = Extent::Needed;
            }
        }
        (members, extent)
    }

    /// A path's text as the member's schemas take it.
    fn value_of(&self, schemas: &[SchemaId], text: &str) -> Option<Value> {
        let mut readings = super::request::scalars(text);
        let fits = |one: &Value| holds(&self.table.schemas, schemas, one, Direction::Answer);
        readings.retain(fits);
        readings.into_iter().next()
    }

    /// The ids of a collection's seeded records.
    pub(super) fn seeded(&self, collection: usize, space: &str) -> Arc<SeededIds> {
        let lock = || self.seeded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(space) {
            return Arc::clone(known);
        }
        let mut ids = SeededIds::default();
        for place in 0..self.count {
            let drawn = (0..MAX_DRAWS).find_map(|draw| {
                let key = self.seed.at("ids").at(space).index(place).index(draw);
                let id = self.draw_id(collection, key)?;
                (!ids.places.contains_key(&id)).then_some(id)
            });
            // An enumeration may have fewer values than records are wanted.
            let Some(id) = drawn else { break };
            ids.places.insert(id.clone(), place);
            ids.list.push(id);
        }
        if !self.are_shown(collection, &ids) {
            ids = SeededIds::default();
        }
        let ids = Arc::new(ids);
        let mut known = lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(space.to_owned(), Arc::clone(&ids));
        ids
    }

    /// Whether the list can show these ids: an alternative without the member may be all there is.
    fn are_shown(&self, collection: usize, ids: &SeededIds) -> bool {
        let (Some(found), Some(id)) = (self.roles.collections.get(collection), ids.list.first())
        else {
            return true;
        };
        let Some(name) = found.id_member.as_ref().filter(|_| found.is_listed) else { return true };
        let value =
            self.value_of(&self.inventor(Direction::Answer).below(&found.listed, Some(name)), id);
        let Some(value) = value else { return false };
        let written = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        let spot = Spot { written: Some(&written), ..Spot::root(self.seed, &found.object_name) };
        let shown = self.inventor(Direction::Answer).invent(&found.listed, spot);
        shown.get(name) == Some(&value)
    }

    /// How many records a collection began with, as its list's sample call names it.
    #[cfg(test)]
    pub(super) fn seeded_count(&self, collection: usize, list: usize) -> usize {
        let path = self.sample(list).map(|sample| sample.path).unwrap_or_default();
        let segments = provider::decode_path(&path).unwrap_or_default();
        let space = self.space(collection, &segments).unwrap_or_default();
        self.seeded(collection, &space).list.len()
    }

    /// An id that the member and the path's parameter allow.
    fn draw_id(&self, collection: usize, key: Key) -> Option<String> {
        let found = self.roles.collections.get(collection)?;
        let mut inventor = self.inventor(Direction::Answer).frugal();
        let own = match &found.id_member {
            Some(name) => inventor.below(&found.record, Some(name)),
            None => Vec::new(),
        };
        let spot = Spot { name: "id", ..Spot::root(key, "") };
        let mut all = own.clone();
        all.extend(found.id_schema);
        let is_text = |value: &Value| id_text(value).is_some();
        let both = inventor.invent(&all, spot);
        let schemas = &self.table.schemas;
        if is_text(&both) && holds(schemas, &all, &both, Direction::Answer) {
            return id_text(&both).filter(|text| self.is_id(collection, text));
        }
        // A number in the path may be a text in the record, and the other way round.
        let alone = [own.as_slice(), found.id_schema.as_slice()];
        alone.into_iter().filter(|ids| !ids.is_empty()).find_map(|ids| {
            let text = id_text(&inventor.invent(ids, spot))?;
            let is_shown = own.is_empty() || self.value_of(&own, &text).is_some();
            (is_shown && self.is_id(collection, &text)).then_some(text)
        })
    }

    /// Whether a text can stand in a path as this collection's id.
    fn is_id(&self, collection: usize, text: &str) -> bool {
        let is_plain = !text.is_empty()
            && text.len() <= MAX_ID_BYTES
            && !text.contains(['/', '\\', '%'])
            && !text.chars().any(char::is_control)
            && !matches!(text.split(';').next(), Some("." | ".."));
        is_plain
            && self.roles.collections.get(collection).is_some_and(|found| {
                let mut readings = super::request::scalars(text).into_iter();
                found.id_schema.is_none_or(|id| {
                    readings.any(|one| {
                        super::check::check(&self.table.schemas, id, &one, Direction::Request)
                            .is_ok()
                    })
                })
            })
    }

    /// All records of a collection that exist, with their places.
    pub(super) fn records(&self, collection: usize, segments: &[String]) -> Vec<(u64, Record)> {
        let Some(space) = self.space(collection, segments) else { return Vec::new() };
        let seeded = self.seeded(collection, &space);
        let store = self.store();
        let mut records: Vec<(u64, Record)> = Vec::new();
        if seeded.list.is_empty() {
            // Without ids that could be shown the list is one of things without paths.
            records = self.loose(segments);
        }
        for (id, place) in seeded.list.iter().zip(0..) {
            if store.state(&space, id) != State::Deleted {
                records.push((place, self.named(collection, space.clone(), id.clone(), segments)));
            }
        }
        for (number, id) in store.created(&space) {
            let record = self.named(collection, space.clone(), id.to_owned(), segments);
            records.push((self.count.saturating_add(number), record));
        }
        records
    }

    /// Elements of a list that has no paths of their own.
    pub(super) fn loose(&self, segments: &[String]) -> Vec<(u64, Record)> {
        let space = format!("~{}", segments.join("/"));
        let key = self.seed.at("loose").at(&space);
        let record = |place: u64| Record {
            collection: None,
            space: space.clone(),
            id: place.to_string(),
            key: key.index(place),
            params: Vec::new(),
        };
        (0..self.count).map(|place| (place, record(place))).collect()
    }

    /// The identity of a record that is to be created: the id that the caller gives, if the
    /// collection lets it, or a new one.
    pub(super) fn new_record(
        &self,
        store: &Store,
        collection: usize,
        space: &str,
        segments: &[String],
        members: &Map<String, Value>,
    ) -> Result<Record, Problem> {
        let found = self.roles.collections.get(collection).ok_or_else(Problem::not_found)?;
        let seeded = self.seeded(collection, space);
        let is_taken = |id: &str| match store.state(space, id) {
            State::Written(_) => true,
            State::Deleted => false,
            State::Untouched => seeded.places.contains_key(id),
        };
        let given = found.id_member.as_ref().and_then(|name| id_text(members.get(name)?));
        if let Some(id) = given.filter(|id| self.is_id(collection, id)) {
            if is_taken(&id) {
                let detail = "there is a record with this id already";
                return Err(Problem::new(StatusCode::CONFLICT, "conflict", detail));
            }
            return Ok(self.named(collection, space.to_owned(), id, segments));
        }
        let next = store.next_number(space);
        let drawn = (0..MAX_DRAWS).find_map(|draw| {
            let key = self.seed.at("created").at(space).index(next).index(draw);
            self.draw_id(collection, key)
                .filter(|id| !is_taken(id) && store.state(space, id) == State::Untouched)
        });
        let id = drawn.ok_or_else(|| {
            let detail = "the collection has no ids left";
            Problem::new(StatusCode::CONFLICT, "conflict", detail)
        })?;
        Ok(self.named(collection, space.to_owned(), id, segments))
    }
}

/// An id as it stands in a path.
fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

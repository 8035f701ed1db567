//! What each operation does to which resource, as its path tells: `/xs` and `/xs/{id}` are one
//! collection, `/me` with a GET and a PATCH is a single resource, `/xs/{id}/close` acts on a record.

use super::{
    check::Direction,
    invent::{Extent, Flavors, Inventor},
    schema::{Kinds, SchemaId},
    table::{Answer, Entry, Place, Table, is_json, members_of},
};
use provider::{Method, StatusRange, Step, path_template::TemplatePart};
use std::collections::{HashMap, HashSet};

/// `/xs` with `/xs/{id}`.
#[derive(Debug)]
pub(crate) struct Collection {
    /// Segments before the id.
    pub(crate) depth: usize,
    /// What follows the id in its segment, such as `.json`, nameless.
    tail: Tail,
    pub(crate) id_schema: Option<SchemaId>,
    /// The member that holds the id. Without one the ids of seeded records cannot be known, and any
    /// id leads to a record.
    pub(crate) id_member: Option<String>,
    /// What a record is: as the operation that reads one shows it, else as the list does.
    pub(crate) record: Vec<SchemaId>,
    /// What the list shows of a record.
    pub(crate) listed: Vec<SchemaId>,
    pub(crate) object_name: String,
    pub(crate) is_listed: bool,
    /// Names of the path parameters before the id, with their segment.
    pub(crate) params: Vec<(String, usize)>,
}

impl Collection {
    /// Whether a record exists only if the list shows it.
    pub(crate) const fn is_closed(&self) -> bool {
        self.is_listed && self.id_member.is_some()
    }
}

/// Parts of a segment behind the id, without the parameters' names.
type Tail = Vec<TemplatePart>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Read,
    Replace,
    Merge,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    List(usize),
    Create(usize),
    Item(usize, Verb),
    /// Something done to a record, which is answered with it.
    Act(usize),
    /// A resource that has no siblings.
    Single(Verb),
    /// Many of something that has no paths of its own.
    Loose,
    Plain,
}

/// Where the elements of a list lie in its answer, and where the object lies in an element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListWay {
    pub(crate) before: Vec<String>,
    pub(crate) inside: Vec<String>,
}

/// An entry's part in the whole.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) role: Role,
    /// The answer of a success: its place in [`Entry::answers`].
    pub(crate) success: Option<usize>,
    pub(crate) list: Option<ListWay>,
    /// The members that lead to the object, where the answer holds one.
    pub(crate) way: Option<Vec<String>>,
    /// Collections that a record of is named in the path, and has to exist: the outermost first.
    pub(crate) parents: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) collections: Vec<Collection>,
    pub(crate) parts: Vec<Part>,
}

/// Segments of a template without names and without the empty one after a slash at the end.
fn segments(entry: &Entry) -> Vec<Vec<TemplatePart>> {
    let segments = entry.operation.path.segments();
    let mut all: Vec<Vec<TemplatePart>> =
        segments.iter().map(|one| nameless(one.parts())).collect();
    if all.last().is_some_and(Vec::is_empty) {
        all.pop();
    }
    all
}

fn nameless(parts: &[TemplatePart]) -> Vec<TemplatePart> {
    let nameless = |part: &TemplatePart| match part {
        TemplatePart::Parameter { choices, .. } => {
            TemplatePart::Parameter { name: String::new(), choices: choices.clone() }
        }
        TemplatePart::Literal(text) => TemplatePart::Literal(text.clone()),
    };
    parts.iter().map(nameless).collect()
}

/// Cuts an item's path into base, id and tail. `None`: the last segment does not begin with a
/// parameter.
fn as_item(segments: &[Vec<TemplatePart>]) -> Option<(Vec<Vec<TemplatePart>>, Tail)> {
    let (last, base) = segments.split_last()?;
    let (TemplatePart::Parameter { choices, .. }, tail) = last.split_first()? else { return None };
    // A parameter with an enumeration names no record.
    (choices.is_empty() && !base.is_empty()).then(|| (base.to_vec(), tail.to_vec()))
}

/// The path of the collection itself: the base with the tail behind its last segment.
fn with_tail(base: &[Vec<TemplatePart>], tail: &[TemplatePart]) -> Vec<Vec<TemplatePart>> {
    let mut path = base.to_vec();
    if let Some(last) = path.last_mut() {
        for part in tail {
            match (last.last_mut(), part) {
                (Some(TemplatePart::Literal(before)), TemplatePart::Literal(text)) => {
                    before.push_str(text);
                }
                _ => last.push(part.clone()),
            }
        }
    }
    path
}

/// The answer that tells success: the lowest 2xx, a creation's 201 before others, then what else is
/// declared.
pub(crate) fn success(entry: &Entry) -> Option<usize> {
    let rank = |answer: &Answer| match answer.status {
        StatusRange::Exact(201) if entry.operation.method == Method::Post => 1,
        StatusRange::Exact(code @ 200..=299) => code,
        StatusRange::Class(2) => 300,
        StatusRange::Default => 400,
        StatusRange::Exact(code @ 300..=399) => 500 + code,
        StatusRange::Exact(code) => 1_000 + code,
        StatusRange::Class(class) => 2_000 + class,
    };
    let ranked = entry.answers.iter().enumerate().min_by_key(|(_, answer)| rank(answer));
    ranked.map(|(place, _)| place)
}

/// The schema of an answer's JSON.
pub(crate) fn json_schema(answer: &Answer) -> Option<SchemaId> {
    answer.contents.iter().find(|content| is_json(&content.essence))?.schema
}

impl Roles {
    pub(crate) fn find(table: &Table, flavors: &Flavors) -> Self {
        let inventor = Inventor::new(&table.schemas, flavors, Direction::Answer, Extent::All);
        let mut parts: Vec<Part> =
            table.entries.iter().map(|entry| first_part(&inventor, entry)).collect();
        let paths: Vec<_> = table.entries.iter().map(segments).collect();
        let collections = find_collections(table, &inventor, &mut parts, &paths);
        mark_singles(table, &mut parts, &paths);
        let mut roles = Self { collections, parts };
        roles.find_parents(table, &paths);
        roles
    }

    /// Records named in a path, and operations that act on one.
    fn find_parents(&mut self, table: &Table, paths: &[Vec<Vec<TemplatePart>>]) {
        let parameter = [TemplatePart::Parameter { name: String::new(), choices: Vec::new() }];
        // By base: nested collections differ in length, so that the shorter is the outer one.
        let mut by_base: HashMap<&[Vec<TemplatePart>], usize> = HashMap::new();
        for (index, path) in paths.iter().enumerate() {
            if let Some(Part { role: Role::Item(collection, _), .. }) = self.parts.get(index) {
                by_base.insert(path.get(..path.len() - 1).unwrap_or_default(), *collection);
            }
        }
        for ((part, path), entry) in self.parts.iter_mut().zip(paths).zip(&table.entries) {
            for depth in 1..path.len().saturating_sub(1) {
                let is_named = path.get(depth).is_some_and(|one| one.as_slice() == parameter);
                let base = path.get(..depth).unwrap_or_default();
                if let Some(collection) = by_base.get(base).filter(|_| is_named) {
                    part.parents.push(*collection);
                }
            }
            let nearest = part.parents.last().copied();
            if let (Role::Plain, Some(nearest), true) = (&part.role, nearest, part.way.is_some())
                && let Some(collection) = self.collections.get(nearest)
                && collection.depth + 2 == path.len()
                && !entry.object_name.is_empty()
                && collection.object_name == entry.object_name
            {
                part.role = Role::Act(nearest);
            }
        }
    }
}

fn first_part(inventor: &Inventor<'_>, entry: &Entry) -> Part {
    let success = success(entry);
    let answer = success.and_then(|place| entry.answers.get(place));
    let schema = answer.and_then(json_schema);
    let mut part = Part { role: Role::Plain, success, list: None, way: None, parents: Vec::new() };
    let (Some(answer), Some(schema)) = (answer, schema) else { return part };
    let elements = answer.steps.iter().position(|step| *step == Step::Elements);
    if let Some(place) = elements {
        let before = answer.steps.get(..place).and_then(members_of);
        let inside = answer.steps.get(place + 1..).and_then(members_of);
        if let (Some(before), Some(inside)) = (before, inside) {
            part.list = Some(ListWay { before, inside });
        }
    } else {
        part.list = (entry.operation.method == Method::Get)
            .then(|| own_list(inventor, entry, schema))
            .flatten();
        part.way = members_of(&answer.steps)
            .filter(|_| inventor.may_be(schema, Kinds::OBJECT) && part.list.is_none());
    }
    if part.list.is_some() && entry.operation.method == Method::Get {
        part.role = Role::Loose;
    }
    part
}

/// A list in an answer that is no plain envelope: the one array of objects that is called like the
/// path, or as lists are.
fn own_list(inventor: &Inventor<'_>, entry: &Entry, schema: SchemaId) -> Option<ListWay> {
    const NAMES: [&str; 8] =
        ["data", "items", "results", "records", "values", "entries", "resources", "list"];
    let last = entry.operation.path.segments().iter().rev().find_map(|one| one.as_literal());
    let last = super::flavor::flat(last.unwrap_or_default().split('.').next().unwrap_or_default());
    let is_list = |name: &&str| {
        let below = inventor.below(&[schema], Some(name));
        let may = |kinds| below.iter().all(|id| inventor.may_be(*id, kinds));
        let elements = inventor.below(&below, None);
        !below.is_empty()
            && may(Kinds::ARRAY)
            && !may(Kinds::OBJECT)
            && elements.iter().any(|id| !inventor.member_names(&[*id]).is_empty())
    };
    let names = inventor.member_names(&[schema]);
    let lists: Vec<&str> = names.into_iter().filter(is_list).collect();
    let is_called = |name: &&str| {
        let flat = super::flavor::flat(name);
        flat == last || NAMES.contains(&flat.as_str())
    };
    let found = lists.iter().copied().find(is_called);
    let found = found.map(|name| ListWay { before: vec![name.to_owned()], inside: Vec::new() });
    // A record that has a list among its members is no list.
    found.filter(|_| {
        entry.operation.path.segments().last().is_none_or(|one| one.as_literal().is_some())
    })
}

type ByBase = HashMap<(Vec<Vec<TemplatePart>>, Tail), Vec<usize>>;

fn find_collections(
    table: &Table,
    inventor: &Inventor<'_>,
    parts: &mut [Part],
    paths: &[Vec<Vec<TemplatePart>>],
) -> Vec<Collection> {
    let mut by_base: ByBase = HashMap::new();
    let mut order = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        if let Some(key) = as_item(path) {
            let items = by_base.entry(key.clone()).or_default();
            if items.is_empty() {
                order.push(key);
            }
            items.push(index);
        }
    }
    let mut by_path: HashMap<&[Vec<TemplatePart>], Vec<usize>> = HashMap::new();
    for (index, path) in paths.iter().enumerate() {
        by_path.entry(path).or_default().push(index);
    }
    let mut collections = Vec::new();
    for (base, tail) in order {
        let items = by_base.get(&(base.clone(), tail.clone())).cloned().unwrap_or_default();
        let whole = with_tail(&base, &tail);
        let roots = by_path.get(whole.as_slice()).cloned().unwrap_or_default();
        let method = |index: &usize| table.entries.get(*index).map(|one| one.operation.method);
        let list = roots.iter().copied().find(|index| {
            method(index) == Some(Method::Get)
                && parts.get(*index).is_some_and(|p| p.list.is_some())
        });
        let create = roots.iter().copied().find(|index| {
            method(index) == Some(Method::Post)
                && parts.get(*index).is_some_and(|part| part.list.is_none())
        });
        // An item that answers with a list is none.
        let mut items = items;
        items.retain(|index| parts.get(*index).is_some_and(|part| part.list.is_none()));
        if items.is_empty() {
            continue;
        }
        let place = collections.len();
        let found = Found { base: &base, tail, items: &items, list, create };
        collections.push(collection(table, inventor, parts, &found));
        let methods: HashSet<Method> = items.iter().filter_map(method).collect();
        for index in &items {
            let verb = match method(index) {
                Some(Method::Get | Method::Head) => Verb::Read,
                Some(Method::Put) => Verb::Replace,
                Some(Method::Patch) => Verb::Merge,
                Some(Method::Delete) => Verb::Delete,
                Some(Method::Post)
                    if !methods.contains(&Method::Put) && !methods.contains(&Method::Patch) =>
                {
                    Verb::Merge
                }
                _ => continue,
            };
            if let Some(part) = parts.get_mut(*index) {
                part.role = Role::Item(place, verb);
            }
        }
        for (index, role) in [(list, Role::List(place)), (create, Role::Create(place))] {
            if let Some(part) = index.and_then(|index| parts.get_mut(index)) {
                part.role = role;
            }
        }
    }
    collections
}

/// The operations of a collection.
struct Found<'f> {
    base: &'f [Vec<TemplatePart>],
    tail: Tail,
    items: &'f [usize],
    list: Option<usize>,
    create: Option<usize>,
}

fn collection(
    table: &Table,
    inventor: &Inventor<'_>,
    parts: &[Part],
    found: &Found<'_>,
) -> Collection {
    let object_of = |index: usize| -> Option<Vec<SchemaId>> {
        let (entry, part) = (table.entries.get(index)?, parts.get(index)?);
        let mut ids = vec![json_schema(entry.answers.get(part.success?)?)?];
        for name in part.way.as_ref()? {
            ids = inventor.below(&ids, Some(name));
        }
        (!inventor.member_names(&ids).is_empty()).then_some(ids)
    };
    let element_of = |index: usize| -> Option<Vec<SchemaId>> {
        let (entry, part) = (table.entries.get(index)?, parts.get(index)?);
        let root = json_schema(entry.answers.get(part.success?)?)?;
        let ids = element_schemas(inventor, root, part.list.as_ref()?).1;
        (!inventor.member_names(&ids).is_empty()).then_some(ids)
    };
    let reader = found.items.iter().copied().find(|index| {
        table.entries.get(*index).is_some_and(|entry| entry.operation.method == Method::Get)
    });
    let listed = found.list.and_then(element_of);
    let record = reader
        .and_then(object_of)
        .or_else(|| listed.clone())
        .or_else(|| found.create.and_then(object_of))
        .or_else(|| found.items.iter().copied().find_map(object_of))
        .unwrap_or_default();
    let entry = found.items.first().and_then(|index| table.entries.get(*index));
    let depth = found.base.len();
    let mut id_param = String::new();
    let mut params = Vec::new();
    for (place, segment) in entry.iter().flat_map(|one| one.operation.path.segments()).enumerate() {
        if let Some(TemplatePart::Parameter { name, .. }) = segment.parts().first() {
            if place == depth {
                id_param.clone_from(name);
            } else if segment.parts().len() == 1 {
                params.push((name.clone(), place));
            }
        }
    }
    let id_schema = entry.and_then(|entry| {
        let mut own = entry.params.iter().filter(|param| param.place == Place::Path);
        own.find(|param| param.name == id_param).map(|param| param.schema)
    });
    let segment = found.base.last().and_then(|parts| match parts.first() {
        Some(TemplatePart::Literal(text)) => Some(text.as_str()),
        _ => None,
    });
    let names = inventor.member_names(&record);
    let shown = listed.as_ref().map(|ids| inventor.member_names(ids));
    let is_id = |name: &str| {
        let ids = inventor.below(&record, Some(name));
        let is_scalar = ids
            .iter()
            .all(|id| inventor.may_be(*id, Kinds::STRING) || inventor.may_be(*id, Kinds::INTEGER));
        is_scalar && shown.as_ref().is_none_or(|shown| shown.contains(&name))
    };
    let id_member = id_names(&id_param, segment.unwrap_or_default())
        .into_iter()
        .find_map(|wanted| {
            names.iter().find(|name| super::flavor::flat(name) == wanted && is_id(name))
        })
        // A list of bare texts shows no records.
        .filter(|_| found.list.is_none() || listed.is_some())
        .map(|name| (*name).to_owned());
    let object_name = reader.or(found.list).or_else(|| found.items.first().copied());
    let object_name = object_name.and_then(|index| table.entries.get(index));
    Collection {
        depth,
        tail: found.tail.clone(),
        id_schema,
        id_member,
        record,
        listed: listed.unwrap_or_default(),
        object_name: object_name.map(|entry| entry.object_name.clone()).unwrap_or_default(),
        is_listed: found.list.is_some(),
        params,
    }
}

/// The schemas of a list's elements, and of the objects in them.
pub(crate) fn element_schemas(
    inventor: &Inventor<'_>,
    root: SchemaId,
    way: &ListWay,
) -> (Vec<SchemaId>, Vec<SchemaId>) {
    let mut ids = vec![root];
    for name in &way.before {
        ids = inventor.below(&ids, Some(name));
    }
    let elements = inventor.below(&ids, None);
    let mut objects = elements.clone();
    for name in &way.inside {
        objects = inventor.below(&objects, Some(name));
    }
    (elements, objects)
}

/// Flat names that the member with the id may have, the likeliest first.
fn id_names(param: &str, segment: &str) -> Vec<String> {
    const ENDINGS: [&str; 12] = [
        "id", "uuid", "gid", "guid", "sid", "key", "slug", "name", "number", "code", "token",
        "email",
    ];
    let param = super::flavor::flat(param);
    let singular = super::flavor::flat(segment);
    let singular = singular.strip_suffix('s').unwrap_or(&singular).to_owned();
    let mut names = vec![param.clone()];
    names.extend(ENDINGS.iter().filter(|end| param.ends_with(*end)).map(|end| (*end).to_owned()));
    names.push("id".to_owned());
    names.push(format!("{singular}id"));
    names.extend(["uuid", "gid", "guid", "sid", "key", "slug"].map(str::to_owned));
    names
}

/// A path with a GET and a PUT, PATCH or POST that is no collection's.
fn mark_singles(table: &Table, parts: &mut [Part], paths: &[Vec<Vec<TemplatePart>>]) {
    let mut by_path: HashMap<&[Vec<TemplatePart>], Vec<usize>> = HashMap::new();
    for (index, path) in paths.iter().enumerate() {
        by_path.entry(path).or_default().push(index);
    }
    for indices in by_path.values() {
        let method = |index: &usize| table.entries.get(*index).map(|one| one.operation.method);
        let is_free = |index: &&usize| parts.get(**index).is_some_and(|p| p.role == Role::Plain);
        let free: Vec<usize> = indices.iter().filter(is_free).copied().collect();
        let has = |wanted: Method| free.iter().any(|index| method(index) == Some(wanted));
        if !has(Method::Get) || !(has(Method::Put) || has(Method::Patch)) {
            continue;
        }
        for index in free {
            let verb = match method(&index) {
                Some(Method::Get) => Verb::Read,
                Some(Method::Put) => Verb::Replace,
                Some(Method::Patch) => Verb::Merge,
                Some(Method::Delete) => Verb::Delete,
                _ => continue,
            };
            if let Some(part) = parts.get_mut(index)
                && (part.way.is_some() || verb != Verb::Read)
            {
                part.role = Role::Single(verb);
            }
        }
    }
}

impl Collection {
    /// The id in the item's segment: the tail behind it is cut.
    pub(crate) fn id_in<'t>(&self, segment: &'t str) -> &'t str {
        match self.tail.first() {
            Some(TemplatePart::Literal(text)) => {
                segment.rfind(text.as_str()).and_then(|at| segment.get(..at)).unwrap_or(segment)
            }
            _ => segment,
        }
    }

    /// The last segment of the collection's own path without the tail.
    pub(crate) fn base_in<'t>(&self, segment: &'t str) -> &'t str {
        self.id_in(segment)
    }
}

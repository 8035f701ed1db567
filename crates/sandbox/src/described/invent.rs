//! Values that a schema allows, invented from a [`Key`]: nothing is kept, and the same place gives the
//! same value whichever operation shows it.
//!
//! What several schemas say together (`allOf`, references with words beside them) is taken together;
//! of alternatives one is chosen and the result checked, the next one tried if it does not hold.

mod alternatives;
mod scalars;

use super::{
    check::{Direction, measure},
    draw::Key,
    flavor::{Flavor, flavor_of},
    schema::{Additional, Kinds, Schema, SchemaId, Schemas},
};
use detect::FieldClass;
use serde_json::{Map, Value};
use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock},
};

/// Values after which only what is required is added.
const MAX_VALUES: usize = 600;
/// Values after which there is nothing but null.
const MAX_ROOM: usize = 50_000;
/// Schemas that are looked at to check what is invented for one body.
const MAX_STEPS: usize = 2_000_000;
/// Objects and arrays within each other, beyond which only what is required is added.
const MAX_DEPTH: usize = 6;
/// Objects and arrays within each other, beyond which there is nothing but null: a schema that
/// requires itself has no value.
const MAX_REQUIRED_DEPTH: usize = 40;
/// Alternatives that are tried for one body.
const MAX_ATTEMPTS: usize = 300;
/// Schemas that are taken together.
const MAX_PARTS: usize = 300;
/// The most elements that are invented because a description asks for so many.
const MAX_ELEMENTS: u64 = 1_000;

/// How much of an object is invented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All that is declared.
    All,
    /// What is required, what the provider alone sets, and what was written.
    Needed,
    /// What is required.
    Least,
}

/// The place of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) key: Key,
    /// The place of the object around it.
    pub(crate) around: Key,
    /// The member's name; empty at the root.
    pub(crate) name: &'a str,
    /// The name of the object or member around it.
    pub(crate) outer: &'a str,
    /// What a caller wrote here: it is shown wherever it is allowed.
    pub(crate) written: Option<&'a Value>,
}

impl<'a> Spot<'a> {
    pub(crate) const fn root(key: Key, outer: &'a str) -> Self {
        Self { key, around: key, name: "", outer, written: None }
    }
}

/// The flavors of members, remembered: they cost more than the values.
#[derive(Debug, Default)]
pub(crate) struct Flavors(RwLock<HashMap<u64, Flavor>>);

impl Flavors {
    fn of(&self, name: &str, outer: &str, class: FieldClass) -> Flavor {
        let seed = match class {
            FieldClass::Text => 1,
            FieldClass::Number => 2,
            _ => 3,
        };
        let place = Key::new(seed).at(outer).at(name).number();
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return *known;
        }
        let flavor = flavor_of(name, outer, class);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(place, flavor);
        flavor
    }
}

/// Which list of alternatives: the schema, and whether it is `oneOf`.
type Group = (SchemaId, bool);

/// What schemas say together, references and `allOf` followed.
#[derive(Debug, Default)]
struct Flat {
    parts: Vec<SchemaId>,
    groups: Vec<Group>,
    /// Members that tell alternatives apart, with the value that says which one this is.
    told: Vec<(String, Value)>,
}

#[derive(Debug)]
pub(crate) struct Inventor<'s> {
    schemas: &'s Schemas,
    flavors: &'s Flavors,
    direction: Direction,
    extent: Extent,
    values: usize,
    /// Values after which there is nothing but null, whatever is required.
    room: Cell<usize>,
    /// Schemas that may still be looked at to check candidates; without any left nothing holds.
    steps: Cell<usize>,
    attempts: usize,
    depth: usize,
    /// Objects that are being invented.
    open: Vec<SchemaId>,
}

impl<'s> Inventor<'s> {
    pub(crate) const fn new(
        schemas: &'s Schemas,
        flavors: &'s Flavors,
        direction: Direction,
        extent: Extent,
    ) -> Self {
        Self {
            schemas,
            flavors,
            direction,
            extent,
            values: MAX_VALUES,
            room: Cell::new(MAX_ROOM),
            steps: Cell::new(MAX_STEPS),
            attempts: MAX_ATTEMPTS,
            depth: 0,
            open: Vec::new(),
        }
    }

    /// With little effort, for what is invented often.
    pub(crate) fn frugal(mut self) -> Self {
        self.steps = Cell::new(MAX_STEPS / 100);
        self
    }

    /// Whether a value is allowed, as far as there is effort left to look.
    fn holds(&self, ids: &[SchemaId], value: &Value) -> bool {
        let left = self.steps.get();
        if left == 0 {
            return false;
        }
        let (holds, used) = measure(self.schemas, ids, value, self.direction, left);
        self.steps.set(left.saturating_sub(used));
        holds
    }

    /// A value that all of the schemas allow, if one was found; else one that comes near.
    pub(crate) fn invent(&mut self, ids: &[SchemaId], spot: Spot<'_>) -> Value {
        self.value(ids, &[], &[], spot)
    }

    /// The schemas that a member or the elements of a value have, alternatives looked through.
    pub(crate) fn below(&self, ids: &[SchemaId], member: Option<&str>) -> Vec<SchemaId> {
        let mut ids = ids.to_vec();
        let mut resolved = Vec::new();
        for _ in 0..8 {
            let flat = self.flatten(&ids, &resolved);
            let found: Vec<SchemaId> = flat
                .parts
                .iter()
                .map(|id| self.schemas.get(*id))
                .flat_map(|schema| match member {
                    Some(name) => schema.schemas_of(name).collect::<Vec<_>>(),
                    None => schema.items.into_iter().collect(),
                })
                .collect();
            if !found.is_empty() {
                return found;
            }
            let Some(group) = flat.groups.first().copied() else { return Vec::new() };
            resolved.push(group);
            let wanted = if member.is_some() { Kinds::OBJECT } else { Kinds::ARRAY };
            let chosen = self.alternatives(group).into_iter().find(|id| self.may_be(*id, wanted));
            ids.extend(chosen);
        }
        Vec::new()
    }

    /// Names of the members that the schemas declare, alternatives looked through as in
    /// [`Self::below`].
    pub(crate) fn member_names(&self, ids: &[SchemaId]) -> Vec<&'s str> {
        let mut ids = ids.to_vec();
        let mut resolved = Vec::new();
        for _ in 0..8 {
            let flat = self.flatten(&ids, &resolved);
            let parts = flat.parts.iter().map(|id| self.schemas.get(*id));
            let found: Vec<&str> =
                parts.flat_map(|one| one.members.iter().map(|member| &*member.name)).collect();
            if !found.is_empty() {
                return found;
            }
            let Some(group) = flat.groups.first().copied() else { break };
            resolved.push(group);
            let chosen =
                self.alternatives(group).into_iter().find(|id| self.may_be(*id, Kinds::OBJECT));
            ids.extend(chosen);
        }
        Vec::new()
    }

    /// Whether one of the schemas requires a member, alternatives aside.
    pub(crate) fn is_required(&self, ids: &[SchemaId], name: &str) -> bool {
        let flat = self.flatten(ids, &[]);
        self.schemas_of(&flat).any(|one| one.required.iter().any(|one| &**one == name))
    }

    /// Whether the schemas alone allow a kind of value; alternatives are looked through once.
    pub(crate) fn may_be(&self, id: SchemaId, kinds: Kinds) -> bool {
        let flat = self.flatten(&[id], &[]);
        self.kinds(&flat).has(kinds)
    }

    fn flatten(&self, ids: &[SchemaId], resolved: &[Group]) -> Flat {
        let mut flat = Flat::default();
        let mut waiting: Vec<SchemaId> = ids.iter().rev().copied().collect();
        let mut seen = HashSet::new();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) || seen.len() > MAX_PARTS {
                continue;
            }
            let schema = self.schemas.get(id);
            flat.parts.push(id);
            // The stack is emptied from its end: the last goes in first, to keep their order.
            waiting.extend(schema.all_of.iter().rev());
            waiting.extend(schema.reference);
            for (list, is_one_of) in [(&schema.one_of, true), (&schema.any_of, false)] {
                if !list.is_empty() && !resolved.contains(&(id, is_one_of)) {
                    flat.groups.push((id, is_one_of));
                }
            }
        }
        flat
    }

    fn kinds(&self, flat: &Flat) -> Kinds {
        flat.parts.iter().fold(Kinds::ALL, |kinds, id| kinds.and(self.schemas.get(*id).kinds))
    }

    fn value(
        &mut self,
        ids: &[SchemaId],
        resolved: &[Group],
        told: &[(String, Value)],
        spot: Spot<'_>,
    ) -> Value {
        let Some(room) = self.room.get().checked_sub(1) else { return Value::Null };
        self.room.set(room);
        let mut flat = self.flatten(ids, resolved);
        flat.told.extend_from_slice(told);
        match flat.groups.first().copied() {
            Some(group) => self.choose(ids, resolved, group, &flat.told, spot),
            None => self.inherit(ids, resolved, flat, spot),
        }
    }

    /// No alternatives are left.
    fn plain(&mut self, ids: &[SchemaId], flat: &Flat, spot: Spot<'_>) -> Value {
        self.values = self.values.saturating_sub(1);
        let kinds = self.kinds(flat);
        if let Some(written) = spot.written.filter(|one| !one.is_object() && !one.is_array())
            && self.holds(ids, written)
        {
            return written.clone();
        }
        if let Some(choice) = self.choice(ids, flat, spot.key) {
            return choice;
        }
        match self.kind(flat, kinds, spot) {
            Kinds::OBJECT => self.object(flat, spot),
            Kinds::ARRAY => self.array(ids, flat, spot),
            Kinds::STRING => self.text(ids, flat, spot),
            Kinds::INTEGER | Kinds::FRACTION => self.number(ids, flat, kinds, spot),
            Kinds::BOOLEAN => {
                let liked = match super::flavor::flat(spot.name).as_str() {
                    "ok" | "success" | "succeeded" | "active" | "enabled" => true,
                    "error" | "deleted" | "archived" | "revoked" | "disabled" => false,
                    _ => spot.key.below(2) == 1,
                };
                Value::Bool(liked)
            }
            _ => Value::Null,
        }
    }

    fn schemas_of<'f>(&'f self, flat: &'f Flat) -> impl Iterator<Item = &'s Schema> + use<'f, 's> {
        flat.parts.iter().map(|id| self.schemas.get(*id))
    }

    /// One of the declared values, if there is an enumeration.
    fn choice(&self, ids: &[SchemaId], flat: &Flat, key: Key) -> Option<Value> {
        let choices = self.schemas_of(flat).find_map(|schema| schema.choices.as_ref())?;
        let holding: Vec<&Value> = choices.iter().filter(|one| self.holds(ids, one)).collect();
        let told: Vec<&Value> = holding.iter().copied().filter(|one| !one.is_null()).collect();
        let chosen = key.one_of(&told).or_else(|| holding.first().copied());
        let first = || {
            // An enumeration beside `type: array` is meant for the elements.
            let first = choices.first()?.clone();
            let is_array = self.kinds(flat) == Kinds::ARRAY && !first.is_array();
            Some(if is_array { Value::Array(vec![first]) } else { first })
        };
        chosen.cloned().or_else(first)
    }

    /// The kind to invent: what was written, what the schema's words are about, the first allowed.
    fn kind(&self, flat: &Flat, kinds: Kinds, spot: Spot<'_>) -> Kinds {
        const ORDER: [Kinds; 6] = [
            Kinds::OBJECT,
            Kinds::ARRAY,
            Kinds::STRING,
            Kinds::INTEGER,
            Kinds::FRACTION,
            Kinds::BOOLEAN,
        ];
        if let Some(written) = spot.written.map(Kinds::of)
            && kinds.has(written)
        {
            return written;
        }
        if kinds != Kinds::ALL {
            return ORDER.into_iter().find(|kind| kinds.has(*kind)).unwrap_or(Kinds::NULL);
        }
        let tells = |what: fn(&Schema) -> bool| self.schemas_of(flat).any(what);
        if tells(|one| {
            !one.members.is_empty()
                || !one.required.is_empty()
                || one.additional != Additional::Open
                || !one.patterns.is_empty()
        }) {
            return Kinds::OBJECT;
        }
        if tells(|one| one.items.is_some() || !one.prefix.is_empty()) {
            return Kinds::ARRAY;
        }
        let has_number = |one: &Schema| {
            one.limits.as_ref().is_some_and(|limits| {
                limits.minimum.is_some() || limits.maximum.is_some() || limits.multiple_of.is_some()
            })
        };
        if tells(has_number) {
            return Kinds::INTEGER;
        }
        if spot.name.is_empty() { Kinds::OBJECT } else { Kinds::STRING }
    }

    fn object(&mut self, flat: &Flat, spot: Spot<'_>) -> Value {
        if self.depth >= MAX_REQUIRED_DEPTH {
            return Value::Null;
        }
        let members = self.members(flat);
        let required: HashSet<&str> =
            self.schemas_of(flat).flat_map(|one| one.required.iter()).map(|name| &**name).collect();
        let most = self
            .schemas_of(flat)
            .filter_map(|one| one.limits.as_ref()?.max_members)
            .min()
            .unwrap_or(u64::MAX);
        let written = spot.written.and_then(Value::as_object);
        let open = self.open.len();
        self.open.extend(&flat.parts);
        self.depth += 1;
        let mut object = Map::new();
        let mut left = most.saturating_sub(u64::try_from(required.len()).unwrap_or(0));
        for (name, ids) in &members {
            let given = written.and_then(|written| written.get(*name));
            let is_required = required.contains(name);
            if !self.is_wanted(ids, is_required, given.is_some()) || !is_required && left == 0 {
                continue;
            }
            let told = flat.told.iter().find(|(member, _)| member == name).map(|(_, value)| value);
            let below = Spot {
                key: spot.key.at(name),
                around: spot.key,
                name,
                outer: if spot.name.is_empty() { spot.outer } else { spot.name },
                written: told.or(given),
            };
            let value = self.value(ids, &[], &[], below);
            // What a caller cleared stays away where null is not allowed.
            let is_cleared = given.is_some_and(Value::is_null) && !value.is_null();
            if !is_required {
                // What cannot be (a pattern that nothing matches) is better left out.
                if is_cleared || !self.holds(ids, &value) {
                    continue;
                }
                left = left.saturating_sub(1);
            }
            object.insert((*name).to_owned(), value);
        }
        self.fill(flat, spot, &mut object);
        self.depth -= 1;
        self.open.truncate(open);
        Value::Object(object)
    }

    /// Whether a member is shown.
    fn is_wanted(&self, ids: &[SchemaId], is_required: bool, is_given: bool) -> bool {
        let is_marked =
            |mark: fn(&Schemas, SchemaId) -> bool| ids.iter().any(|id| mark(self.schemas, *id));
        let is_hidden = match self.direction {
            Direction::Answer => is_marked(Schemas::is_write_only),
            Direction::Request => is_marked(Schemas::is_read_only),
        };
        if is_hidden {
            return false;
        }
        if is_required || is_given {
            return true;
        }
        let has_room = self.values > 0 && self.depth <= MAX_DEPTH && !self.is_open(ids);
        has_room
            && match self.extent {
                Extent::All => true,
                Extent::Needed => self.depth <= 1 && is_marked(Schemas::is_read_only),
                Extent::Least => false,
            }
    }

    /// Whether one of the schemas leads to an object that is being invented.
    fn is_open(&self, ids: &[SchemaId]) -> bool {
        let flat = self.flatten(ids, &[]);
        let is_container = |schema: &Schema| !schema.members.is_empty();
        flat.parts.iter().any(|id| is_container(self.schemas.get(*id)) && self.open.contains(id))
    }

    /// Declared and required members in order, with all that is said about each; what a closed part
    /// forbids is left out.
    fn members<'f>(&'f self, flat: &'f Flat) -> Vec<(&'s str, Vec<SchemaId>)> {
        let mut members: Vec<(&'s str, Vec<SchemaId>)> = Vec::new();
        let mut places: HashMap<&'s str, usize> = HashMap::new();
        for schema in self.schemas_of(flat) {
            let declared = schema.members.iter().map(|member| &*member.name);
            for name in declared.chain(schema.required.iter().map(|name| &**name)) {
                if !places.contains_key(name) {
                    places.insert(name, members.len());
                    members.push((name, Vec::new()));
                }
            }
        }
        for (name, ids) in &mut members {
            for schema in self.schemas_of(flat) {
                let before = ids.len();
                ids.extend(schema.schemas_of(name));
                if ids.len() == before {
                    match schema.additional {
                        Additional::Of(id) => ids.push(id),
                        Additional::Open | Additional::Closed => {}
                    }
                }
            }
        }
        members.retain(|(name, _)| {
            self.schemas_of(flat).all(|schema| {
                schema.additional != Additional::Closed
                    || schema.schemas_of(name).next().is_some()
                    || schema.required.iter().any(|one| &**one == *name)
            })
        });
        members
    }

    /// Members that are not declared: what was written into a free-form object or map, an example of
    /// a map, and as many as are asked for.
    fn fill(&mut self, flat: &Flat, spot: Spot<'_>, object: &mut Map<String, Value>) {
        let is_closed = self.schemas_of(flat).any(|one| one.additional == Additional::Closed);
        let values: Vec<SchemaId> = self
            .schemas_of(flat)
            .filter_map(|one| match one.additional {
                Additional::Of(id) => Some(id),
                _ => None,
            })
            .collect();
        let limits = || self.schemas_of(flat).filter_map(|one| one.limits.as_deref());
        let least = limits().filter_map(|limits| limits.min_members).max().unwrap_or(0);
        let names: Vec<SchemaId> = limits().filter_map(|limits| limits.names).collect();
        let is_declared =
            |name: &str| self.schemas_of(flat).any(|one| one.schemas_of(name).next().is_some());
        if let Some(Value::Object(written)) = spot.written
            && !is_closed
            && names.is_empty()
        {
            let free = written.iter().filter(|(name, _)| !is_declared(name));
            let free: Vec<_> = free
                .filter(|(_, value)| self.holds(&values, value))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            object.extend(free);
            return;
        }
        let wants_example = !values.is_empty()
            && self.schemas_of(flat).all(|one| one.members.is_empty())
            && self.extent == Extent::All
            && self.depth <= MAX_DEPTH
            && self.values > 0
            && !self.is_open(&values);
        let wanted = least.max(u64::from(wants_example)).min(MAX_ELEMENTS);
        let mut index = 0;
        while count_of(object) < wanted && index < wanted.saturating_mul(3) && !is_closed {
            let key = spot.key.at("*").index(index);
            let name = if names.is_empty() {
                format!("key_{}", index + 1)
            } else {
                let spot = Spot { key, around: spot.key, name: "key", outer: "", written: None };
                match self.value(&names, &[], &[], spot) {
                    Value::String(name) => name,
                    _ => format!("key_{}", index + 1),
                }
            };
            let below =
                Spot { key, around: spot.key, name: spot.name, outer: spot.outer, written: None };
            let value = if values.is_empty() {
                Value::String("value".to_owned())
            } else {
                self.value(&values, &[], &[], below)
            };
            object.insert(name, value);
            index += 1;
        }
    }

    fn array(&mut self, ids: &[SchemaId], flat: &Flat, spot: Spot<'_>) -> Value {
        let items: Vec<SchemaId> = self.schemas_of(flat).filter_map(|one| one.items).collect();
        let prefix: Vec<Vec<SchemaId>> = {
            let longest = self.schemas_of(flat).map(|one| one.prefix.len()).max().unwrap_or(0);
            (0..longest)
                .map(|at| {
                    self.schemas_of(flat).filter_map(|one| one.prefix.get(at).copied()).collect()
                })
                .collect()
        };
        self.depth += 1;
        let made = spot.written.and_then(Value::as_array).and_then(|written| {
            let made = written.iter().zip(0..).map(|(element, index)| {
                let below = Self::element(spot, index, Some(element));
                self.value(&items, &[], &[], below)
            });
            let made = Value::Array(made.collect());
            self.holds(ids, &made).then_some(made)
        });
        let made = made.unwrap_or_else(|| self.elements(flat, &items, &prefix, spot));
        self.depth -= 1;
        made
    }

    /// Elements know the name of their array: it says what they are.
    fn element<'a>(spot: Spot<'a>, index: u64, written: Option<&'a Value>) -> Spot<'a> {
        Spot { key: spot.key.index(index), around: spot.key.index(index), written, ..spot }
    }

    fn elements(
        &mut self,
        flat: &Flat,
        items: &[SchemaId],
        prefix: &[Vec<SchemaId>],
        spot: Spot<'_>,
    ) -> Value {
        let limits = || self.schemas_of(flat).filter_map(|one| one.limits.as_deref());
        let least = limits().filter_map(|limits| limits.min_items).max().unwrap_or(0);
        let most = limits().filter_map(|limits| limits.max_items).min().unwrap_or(u64::MAX);
        let is_unique = limits().any(|limits| limits.is_unique);
        let has_room = self.depth <= MAX_DEPTH
            && self.values > 0
            && self.depth < MAX_REQUIRED_DEPTH
            && !self.is_open(items)
            && !items.is_empty();
        let liked = match self.extent {
            Extent::All if has_room && self.depth <= 2 => 2,
            Extent::All if has_room => 1,
            _ => 0,
        };
        let shortest = u64::try_from(prefix.len()).unwrap_or(0);
        let count = liked.max(least).max(shortest).min(most).min(MAX_ELEMENTS);
        if self.depth >= MAX_REQUIRED_DEPTH {
            return Value::Array(Vec::new());
        }
        let mut made: Vec<Value> = Vec::new();
        let mut seen = HashSet::new();
        let mut index = 0;
        let wanted = usize::try_from(count).unwrap_or(0);
        while made.len() < wanted && index < count.saturating_mul(if is_unique { 20 } else { 1 }) {
            let at = prefix.get(made.len()).map_or(items, Vec::as_slice);
            let value = self.value(at, &[], &[], Self::element(spot, index, None));
            index += 1;
            if !is_unique || seen.insert(value.to_string()) {
                made.push(value);
            }
        }
        // What was liked but does not hold is left out.
        let least = usize::try_from(least.max(shortest)).unwrap_or(0);
        while made.len() > least && made.last().is_some_and(|one| !self.holds(items, one)) {
            made.pop();
        }
        Value::Array(made)
    }
}

fn count_of(object: &Map<String, Value>) -> u64 {
    u64::try_from(object.len()).unwrap_or(u64::MAX)
}

//! What a granted path led to when it was granted, so that a description that is imported anew never
//! widens a grant: a text that became an object, or an object that declares more than it did.

use super::{FieldSteps, is_free, is_plain, normal, parse_steps, spell};
use crate::model::{Additional, ObjectId, ObjectShape, Provider, ScalarKind, Shape, ShapeId, Step};
use std::collections::{BTreeMap, BTreeSet};

/// By place, relative to the path and spelled like one: what can stand there. The empty place is the
/// value itself; others are what naming it lets through in it.
pub type Kinds = BTreeMap<String, BTreeSet<String>>;

/// A scalar of any kind: what stands where a text can.
const SCALAR: &str = "scalar";
/// Scalars that hold less than a text can. A description that is imported anew may not make more of
/// them where only their kind let them through.
const NARROW: [&str; 4] = ["number", "boolean", "date", "choice"];
/// An inline object; of a named one the name follows after a space.
const OBJECT: &str = "object";
const FREE_FORM: &str = "free-form object";
const ANY: &str = "any value";
/// There are more places than are looked at: never granted, so that only leaves that were are.
const MORE: &str = "more than is remembered";

/// The most values that are looked at for one path.
const MAX_VALUES: usize = 20_000;
/// How deep inline objects are looked into.
const MAX_DEPTH: usize = 32;

/// What a field leads to that is a scalar.
pub fn scalar() -> Kinds {
    Kinds::from([(String::new(), [SCALAR.to_owned()].into())])
}

/// What a path, relative to an object, leads to. Empty where it leads nowhere.
pub fn kinds(provider: &Provider, object: ObjectId, is_write: bool, path: &[Step]) -> Kinds {
    let mut teller = Teller { provider, kinds: Kinds::new(), left: MAX_VALUES };
    let Some(found) = provider.object(object) else { return teller.kinds };
    let shapes = if is_write { &found.write_shapes } else { &found.read_shapes };
    for shape in follow(provider, shapes, path) {
        teller.tell(shape, &mut Vec::new(), &mut Vec::new());
    }
    if teller.left == 0 {
        teller.kinds.entry(String::new()).or_default().insert(MORE.to_owned());
    }
    teller.kinds
}

/// What a path leads to where a person named it: a scalar may then be of any kind.
pub fn named_kinds(provider: &Provider, object: ObjectId, is_write: bool, path: &[Step]) -> Kinds {
    let mut found = kinds(provider, object, is_write, path);
    for kinds in found.values_mut() {
        if kinds.iter().any(|kind| is_scalar(kind)) {
            kinds.retain(|kind| !is_scalar(kind));
            kinds.insert(SCALAR.to_owned());
        }
    }
    found
}

fn is_scalar(kind: &str) -> bool {
    kind == SCALAR || NARROW.contains(&kind)
}

fn scalar_kind(kind: ScalarKind) -> &'static str {
    let [number, boolean, date, choice] = NARROW;
    match kind {
        ScalarKind::String | ScalarKind::Mixed => SCALAR,
        ScalarKind::Integer | ScalarKind::Number => number,
        ScalarKind::Boolean => boolean,
        ScalarKind::Date => date,
        ScalarKind::Enum => choice,
    }
}

/// What stands now at places where it did not when the path was granted.
pub fn wider(granted: &Kinds, now: &Kinds) -> Kinds {
    let mut wider = Kinds::new();
    for (place, kinds) in now {
        for kind in kinds.iter().filter(|kind| !covers(granted, place, kind)) {
            wider.entry(place.clone()).or_default().insert(kind.clone());
        }
    }
    wider
}

/// The paths that a granted one stands for: itself, or, where it leads to more than it did, those
/// leaves below it that it led to already.
pub fn as_granted(
    provider: &Provider,
    object: ObjectId,
    is_write: bool,
    path: &FieldSteps,
    granted: &Kinds,
) -> Vec<FieldSteps> {
    let now = kinds(provider, object, is_write, path);
    if wider(granted, &now).is_empty() {
        return vec![path.clone()];
    }
    now.iter()
        .filter(|(place, kinds)| {
            !place.is_empty()
                && kinds.iter().all(|kind| is_scalar(kind) && covers(granted, place, kind))
        })
        .filter_map(|(place, _)| {
            let below = parse_steps(place)?;
            Some(normal(&path.iter().chain(&below).cloned().collect::<Vec<_>>()))
        })
        .filter(|leaf| leaf != path)
        .collect()
}

fn covers(granted: &Kinds, place: &str, kind: &str) -> bool {
    kind != MORE && covers_kind(granted, place, kind)
}

fn covers_kind(granted: &Kinds, place: &str, kind: &str) -> bool {
    granted.iter().any(|(known, kinds)| {
        let Some(below) = place.strip_prefix(known.as_str()) else { return false };
        // Anything may stand below any value, and members in a free-form object.
        let is_at = below.is_empty();
        let is_below = known.is_empty() || below.starts_with(['.', '[']);
        let is_member = !below.starts_with('[');
        is_at
            && (kinds.contains(kind)
                || kinds.contains(SCALAR) && is_scalar(kind)
                || kinds.contains(FREE_FORM) && kind.starts_with(OBJECT))
            || (is_at || is_below) && kinds.contains(ANY)
            || !is_at && is_below && is_member && kinds.contains(FREE_FORM)
    })
}

/// The shapes at the end of a path, over all alternatives.
pub(super) fn follow(provider: &Provider, shapes: &[ShapeId], path: &[Step]) -> Vec<ShapeId> {
    let mut at = alternatives(provider, shapes);
    for step in path {
        let mut next = Vec::new();
        for id in at {
            match (provider.shape(id), step) {
                (Shape::Object(object), Step::Member(name)) => {
                    match (object.members.get(name), &object.additional) {
                        (Some(member), _) => next.push(member.shape),
                        (None, Additional::FreeForm) => next.push(ShapeId(0)),
                        (None, _) => {}
                    }
                }
                (
                    Shape::Object(ObjectShape { additional: Additional::Map(values), .. }),
                    Step::AnyMember,
                ) => next.push(*values),
                (Shape::Array { items }, Step::Elements) => next.push(*items),
                (Shape::Untyped, _) => next.push(ShapeId(0)),
                _ => {}
            }
        }
        at = alternatives(provider, &next);
    }
    at
}

/// Unions are alternatives of one place, however they nest.
pub(super) fn alternatives(provider: &Provider, shapes: &[ShapeId]) -> Vec<ShapeId> {
    let mut found: Vec<ShapeId> = Vec::new();
    let mut seen: BTreeSet<ShapeId> = BTreeSet::new();
    let mut waiting: Vec<ShapeId> = shapes.iter().rev().copied().collect();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        match provider.shape(id) {
            Shape::Union(all) => waiting.extend(all.iter().rev()),
            _ => found.push(id),
        }
    }
    found
}

struct Teller<'p> {
    provider: &'p Provider,
    kinds: Kinds,
    /// How many values may still be looked at.
    left: usize,
}

impl Teller<'_> {
    /// Tells of a value what naming it lets through.
    fn tell(&mut self, id: ShapeId, place: &mut Vec<Step>, trail: &mut Vec<ShapeId>) {
        if trail.contains(&id) || self.left == 0 {
            return;
        }
        if trail.len() > MAX_DEPTH {
            self.left = 0;
            return;
        }
        self.left -= 1;
        trail.push(id);
        match self.provider.shape(id) {
            Shape::Untyped => self.note(place, ANY.to_owned()),
            Shape::Scalar { kind, .. } => self.note(place, scalar_kind(*kind).to_owned()),
            Shape::Union(all) => {
                for one in all {
                    self.tell(*one, place, trail);
                }
            }
            Shape::Array { items } => {
                place.push(Step::Elements);
                self.tell(*items, place, trail);
                place.pop();
            }
            Shape::Object(object) if is_free(object) => self.note(place, FREE_FORM.to_owned()),
            Shape::Object(ObjectShape { object: Some(named), .. }) => {
                let name = self.provider.object(*named).map_or("", |one| one.name.as_str());
                self.note(place, format!("{OBJECT} {name}"));
            }
            Shape::Object(object) => {
                self.note(place, OBJECT.to_owned());
                for (name, member) in &object.members {
                    let is_sensitive = member.label.as_ref().is_some_and(|one| one.is_sensitive);
                    if !is_sensitive && is_plain(self.provider, member.shape) {
                        place.push(Step::Member(name.clone()));
                        self.tell(member.shape, place, trail);
                        place.pop();
                    }
                }
                if let Additional::Map(values) = object.additional
                    && is_plain(self.provider, values)
                {
                    place.push(Step::AnyMember);
                    self.tell(values, place, trail);
                    place.pop();
                }
            }
        }
        trail.pop();
    }

    fn note(&mut self, place: &[Step], kind: String) {
        self.kinds.entry(spell(place)).or_default().insert(kind);
    }
}

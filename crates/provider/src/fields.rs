//! The fields of an object: its property paths, as grants spell them.

use crate::model::{
    Additional, Field, FieldKind, Label, ObjectId, Provider, ScalarKind, Shape, ShapeId, Step,
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How deep inline objects are listed.
const MAX_FIELD_DEPTH: usize = 16;
/// The most fields of an object.
const MAX_FIELDS: usize = 5_000;

/// The fields of an object, by its place in [`Provider::objects`].
pub(crate) fn list_fields(provider: &Provider, orders: &Orders, index: usize) -> Listed {
    let mut lister = Lister {
        provider,
        orders,
        fields: Vec::new(),
        places: HashMap::new(),
        is_write: false,
        is_cut: false,
    };
    lister.list(index);
    Listed { fields: lister.fields, is_cut: lister.is_cut }
}

/// See [`list_fields`].
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) fields: Vec<Field>,
    /// There are more than the bounds allow.
    pub(crate) is_cut: bool,
}

/// By shape: the names of its members as declared.
pub(crate) type Orders = HashMap<ShapeId, Vec<String>>;

struct Lister<'p> {
    provider: &'p Provider,
    orders: &'p Orders,
    fields: Vec<Field>,
    places: HashMap<String, usize>,
    is_write: bool,
    is_cut: bool,
}

/// What a value can be, over all alternatives.
#[derive(Debug, Default)]
struct Kinds {
    scalars: BTreeSet<u8>,
    scalar: Option<ScalarKind>,
    is_array: bool,
    named: Vec<ObjectId>,
    inline: Vec<(ShapeId, Vec<Step>)>,
    is_free_form: bool,
    is_untyped: bool,
}

impl Lister<'_> {
    fn list(&mut self, index: usize) {
        let Some(object) = self.provider.objects.get(index) else { return };
        for (is_write, shapes) in [(false, &object.read_shapes), (true, &object.write_shapes)] {
            self.is_write = is_write;
            for shape in shapes {
                self.walk(*shape, &[], None, 0, &mut Vec::new());
            }
        }
    }

    /// Lists the members of a shape that stands at `prefix`.
    fn walk(
        &mut self,
        id: ShapeId,
        prefix: &[Step],
        outer: Option<&Label>,
        depth: usize,
        trail: &mut Vec<ShapeId>,
    ) {
        if depth > MAX_FIELD_DEPTH {
            self.is_cut = true;
            return;
        }
        if trail.contains(&id) {
            return;
        }
        trail.push(id);
        match self.provider.shape(id) {
            Shape::Object(object) => {
                let declared = self.orders.get(&id).into_iter().flatten();
                for name in declared {
                    let Some(member) = object.members.get(name) else { continue };
                    let mut steps = prefix.to_vec();
                    steps.push(Step::Member(name.clone()));
                    let label = member.label.as_ref();
                    let flags = (member.is_read_only, member.is_write_only);
                    self.field(member.shape, &steps, label, flags, depth, trail);
                }
                if let Additional::Map(values) = object.additional {
                    let mut steps = prefix.to_vec();
                    steps.push(Step::AnyMember);
                    self.field(values, &steps, outer, (false, false), depth, trail);
                }
            }
            Shape::Union(all) => {
                for one in all {
                    self.walk(*one, prefix, outer, depth + 1, trail);
                }
            }
            Shape::Array { items } => {
                let mut steps = prefix.to_vec();
                steps.push(Step::Elements);
                self.walk(*items, &steps, outer, depth + 1, trail);
            }
            Shape::Untyped | Shape::Scalar { .. } => {}
        }
        trail.pop();
    }

    fn field(
        &mut self,
        id: ShapeId,
        steps: &[Step],
        label: Option<&Label>,
        (is_read_only, is_write_only): (bool, bool),
        depth: usize,
        trail: &mut Vec<ShapeId>,
    ) {
        let mut kinds = Kinds::default();
        self.classify(id, &mut Vec::new(), &mut kinds, &mut HashSet::new());
        let kind = if let [only] = kinds.named.as_slice() {
            FieldKind::Named(*only)
        } else if !kinds.named.is_empty() {
            FieldKind::OneOfNamed(kinds.named)
        } else if !kinds.inline.is_empty() {
            FieldKind::Inline
        } else if kinds.is_free_form {
            FieldKind::FreeForm
        } else if kinds.is_untyped {
            FieldKind::Untyped
        } else {
            let kind = if kinds.scalars.len() > 1 {
                ScalarKind::Mixed
            } else {
                kinds.scalar.unwrap_or(ScalarKind::Mixed)
            };
            FieldKind::Scalar { kind, is_array: kinds.is_array }
        };
        let path = spell(steps);
        let is_inline = kind == FieldKind::Inline;
        match self.places.get(&path) {
            Some(place) => {
                if let Some(field) = self.fields.get_mut(*place) {
                    field.kind = either(&field.kind, &kind);
                    field.is_write_only &= self.is_write;
                    // The same path again, such as in a request: the stricter judgement counts.
                    let is_stricter = label.is_some_and(|label| label.is_sensitive)
                        && !field.label.as_ref().is_some_and(|known| known.is_sensitive);
                    if field.label.is_none() || is_stricter {
                        field.label = label.cloned();
                    }
                }
            }
            None if self.fields.len() < MAX_FIELDS => {
                self.places.insert(path.clone(), self.fields.len());
                self.fields.push(Field {
                    path,
                    steps: steps.to_vec(),
                    kind,
                    label: label.cloned(),
                    is_write_only: is_write_only || self.is_write,
                    is_read_only,
                });
            }
            None => {
                // What lies within is not looked at either.
                self.is_cut = true;
                return;
            }
        }
        if is_inline {
            let label = label.cloned();
            for (inner, more) in kinds.inline {
                let mut below = steps.to_vec();
                below.extend(more);
                self.walk(inner, &below, label.as_ref(), depth + 1, trail);
            }
        }
    }

    /// Collects what a value can be; arrays and maps on the way are remembered as steps.
    fn classify(
        &self,
        id: ShapeId,
        steps: &mut Vec<Step>,
        kinds: &mut Kinds,
        seen: &mut HashSet<ShapeId>,
    ) {
        if !seen.insert(id) {
            return;
        }
        match self.provider.shape(id) {
            Shape::Untyped => kinds.is_untyped = true,
            Shape::Scalar { kind, .. } => {
                kinds.scalars.insert(*kind as u8);
                kinds.scalar = Some(*kind);
                kinds.is_array |= !steps.is_empty();
            }
            Shape::Array { items } => {
                steps.push(Step::Elements);
                self.classify(*items, steps, kinds, seen);
                steps.pop();
            }
            Shape::Object(object) => match object.object {
                Some(named) => {
                    if !kinds.named.contains(&named) {
                        kinds.named.push(named);
                    }
                }
                None if object.members.is_empty() => match object.additional {
                    Additional::FreeForm => kinds.is_free_form = true,
                    Additional::Map(_) | Additional::Closed => {
                        kinds.inline.push((id, steps.clone()));
                    }
                },
                None => kinds.inline.push((id, steps.clone())),
            },
            Shape::Union(all) => {
                for one in all {
                    self.classify(*one, steps, kinds, seen);
                }
            }
        }
    }
}

/// What a value is that one place declares so and another otherwise: as for the alternatives of one
/// place, what lets most through counts.
fn either(one: &FieldKind, other: &FieldKind) -> FieldKind {
    let named = |kind: &FieldKind| match kind {
        FieldKind::Named(id) => vec![*id],
        FieldKind::OneOfNamed(ids) => ids.clone(),
        _ => Vec::new(),
    };
    let mut ids = named(one);
    ids.extend(named(other));
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(*id));
    match (ids.as_slice(), one, other) {
        ([only], ..) => FieldKind::Named(*only),
        ([_, ..], ..) => FieldKind::OneOfNamed(ids),
        (_, FieldKind::Inline, _) | (_, _, FieldKind::Inline) => FieldKind::Inline,
        (_, FieldKind::FreeForm, _) | (_, _, FieldKind::FreeForm) => FieldKind::FreeForm,
        (
            _,
            FieldKind::Scalar { kind, is_array },
            FieldKind::Scalar { kind: also, is_array: many },
        ) => {
            let kind = if kind == also { *kind } else { ScalarKind::Mixed };
            FieldKind::Scalar { kind, is_array: *is_array || *many }
        }
        _ => FieldKind::Untyped,
    }
}

/// As in grants: `address.city`, `jobs[].title`, `*.id`.
pub fn spell(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Elements => {
                text.push_str("[]");
                continue;
            }
            _ if !text.is_empty() => text.push('.'),
            _ => {}
        }
        match step {
            Step::Member(name) => {
                for c in name.chars() {
                    if ".[]\\*,".contains(c) {
                        text.push('\\');
                    }
                    text.push(c);
                }
            }
            Step::AnyMember => text.push('*'),
            Step::Elements => {}
        }
    }
    text
}

//! A first judgement of every member, by `detect`.

use crate::{
    envelope::shape,
    model::{Additional, Label, Provider, ScalarKind, Shape, ShapeId},
};
use detect::{FieldClass, FieldHint, label_field};
use std::collections::{HashMap, HashSet};

/// The most arrays, maps and alternatives within each other that are looked through.
const MAX_DEPTH: usize = 16;

/// Judges each member by its name, description and what it stands in.
pub(crate) fn label_members(provider: &mut Provider) {
    let around = surroundings(provider);
    let count = u32::try_from(provider.shapes.len()).unwrap_or(u32::MAX);
    let classes: Vec<Class> =
        (0..count).map(|index| classify(&provider.shapes, ShapeId(index))).collect();
    for (index, shape) in (0..count).zip(provider.shapes.iter_mut()) {
        let Shape::Object(object) = shape else { continue };
        let outer = outer_names(&around, ShapeId(index));
        for (name, member) in &mut object.members {
            let class = classes.get(member.shape.0 as usize);
            let hint = FieldHint {
                format: class.and_then(|class| class.format.as_deref()),
                description: &member.description,
                class: class.map_or(FieldClass::Container, |class| class.class),
            };
            let judged = label_field(name, &outer, &hint).map(|label| Label {
                category: label.category.to_owned(),
                is_sensitive: label.is_sensitive,
                confidence: label.confidence,
                reason: label.reason.to_string(),
                lowered_from: None,
                is_told: false,
            });
            match &mut member.label {
                Some(given) => keep_sensitive(given, judged),
                None => member.label = judged,
            }
        }
    }
    hand_down(provider);
}

/// What is judged sensitive stays so unless the overlay says expressly that it is not. What could
/// not be classified was not judged: a category is all that it lacks.
fn keep_sensitive(given: &mut Label, judged: Option<Label>) {
    let judged = judged.filter(|label| label.is_sensitive && label.category != "unclassified");
    let Some(judged) = judged.filter(|_| !given.is_sensitive) else { return };
    if given.is_told {
        given.lowered_from = Some(judged.category);
    } else {
        given.is_sensitive = true;
    }
}

/// The name of the object that a shape is, or of the member that it stands in and where that is.
#[derive(Debug)]
struct Around {
    name: String,
    outer: Option<ShapeId>,
}

/// The most names around a member that are looked at.
const MAX_OUTER: usize = 4;

fn surroundings(provider: &Provider) -> HashMap<ShapeId, Around> {
    let mut around: HashMap<ShapeId, Around> = HashMap::new();
    for (index, shape) in (0..).zip(&provider.shapes) {
        let Shape::Object(object) = shape else { continue };
        for (name, member) in &object.members {
            for inner in inline(&provider.shapes, member.shape) {
                let outer = Some(ShapeId(index));
                around.entry(inner).or_insert_with(|| Around { name: name.clone(), outer });
            }
        }
    }
    for object in &provider.objects {
        for id in object.read_shapes.iter().chain(&object.write_shapes) {
            around.insert(*id, Around { name: object.name.clone(), outer: None });
        }
    }
    around
}

/// The names around a shape's members, outermost first.
fn outer_names(around: &HashMap<ShapeId, Around>, shape: ShapeId) -> Vec<&str> {
    let mut names = Vec::new();
    let mut next = around.get(&shape);
    while let Some(one) = next.filter(|_| names.len() < MAX_OUTER) {
        names.push(one.name.as_str());
        next = one.outer.and_then(|outer| around.get(&outer));
    }
    names.reverse();
    names
}

/// What lies in a sensitive inline object is sensitive, whatever it is itself.
fn hand_down(provider: &mut Provider) {
    let mut waiting: Vec<(ShapeId, Label)> = Vec::new();
    for shape in &provider.shapes {
        let Shape::Object(object) = shape else { continue };
        for (name, member) in &object.members {
            // A text or an object of which nothing is known says nothing of the object's members.
            let is_telling =
                |label: &&Label| label.is_sensitive && label.category != "unclassified";
            if let Some(label) = member.label.as_ref().filter(is_telling) {
                let inner = inline(&provider.shapes, member.shape);
                let label = Label { reason: format!("within `{name}`"), ..label.clone() };
                waiting.extend(inner.into_iter().map(|id| (id, label.clone())));
            }
        }
    }
    let mut seen: HashSet<ShapeId> = HashSet::new();
    while let Some((id, label)) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let mut below = Vec::new();
        if let Some(Shape::Object(object)) = provider.shapes.get_mut(id.0 as usize) {
            for member in object.members.values_mut() {
                if !member.label.as_ref().is_some_and(|own| own.is_sensitive) {
                    member.label = Some(label.clone());
                }
                below.push(member.shape);
            }
        }
        for shape in below {
            let inner = inline(&provider.shapes, shape);
            waiting.extend(inner.into_iter().map(|id| (id, label.clone())));
        }
    }
}

/// The objects without a name of their own that a value can be, within arrays and maps too.
fn inline(shapes: &[Shape], id: ShapeId) -> Vec<ShapeId> {
    let mut found = Vec::new();
    let mut waiting = vec![(id, 0)];
    while let Some((id, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            continue;
        }
        match shape(shapes, id) {
            Shape::Array { items } => waiting.push((*items, depth + 1)),
            Shape::Union(all) => waiting.extend(all.iter().map(|one| (*one, depth + 1))),
            Shape::Object(object) if object.object.is_none() => {
                found.push(id);
                if let Additional::Map(values) = object.additional {
                    waiting.push((values, depth + 1));
                }
            }
            Shape::Object(_) | Shape::Untyped | Shape::Scalar { .. } => {}
        }
    }
    found
}

#[derive(Debug)]
struct Class {
    class: FieldClass,
    format: Option<String>,
}

/// What a value is, arrays and maps of it included.
fn classify(shapes: &[Shape], id: ShapeId) -> Class {
    let mut class: Option<FieldClass> = None;
    let mut format = None;
    let mut waiting = vec![(id, 0)];
    while let Some((id, depth)) = waiting.pop() {
        let one = match shape(shapes, id) {
            _ if depth > MAX_DEPTH => FieldClass::Container,
            Shape::Array { items } => {
                waiting.push((*items, depth + 1));
                continue;
            }
            Shape::Union(all) => {
                waiting.extend(all.iter().map(|one| (*one, depth + 1)));
                continue;
            }
            Shape::Object(object) if object.members.is_empty() => match object.additional {
                Additional::Map(values) => {
                    waiting.push((values, depth + 1));
                    continue;
                }
                _ => FieldClass::Container,
            },
            Shape::Object(_) | Shape::Untyped => FieldClass::Container,
            Shape::Scalar { kind, format: told, .. } => {
                format = format.or_else(|| told.clone());
                match kind {
                    ScalarKind::Boolean | ScalarKind::Enum => FieldClass::Choice,
                    ScalarKind::Date => FieldClass::Date,
                    ScalarKind::Integer | ScalarKind::Number => FieldClass::Number,
                    ScalarKind::String | ScalarKind::Mixed => FieldClass::Text,
                }
            }
        };
        // Of several, the one that can tell most counts: text, then a container.
        class = Some(match class {
            None => one,
            Some(known) if known == one => one,
            Some(FieldClass::Text) => FieldClass::Text,
            Some(_) if one == FieldClass::Text => FieldClass::Text,
            Some(FieldClass::Container) => FieldClass::Container,
            Some(_) if one == FieldClass::Container => FieldClass::Container,
            Some(_) => FieldClass::Number,
        });
    }
    Class { class: class.unwrap_or(FieldClass::Container), format }
}

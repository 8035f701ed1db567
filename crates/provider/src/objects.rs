//! Which object each operation is about, and the fields of each.

use crate::{
    envelope::{is_status_only, shape, unwrap},
    model::{
        Additional, Answer, Envelope, Field, FieldKind, Label, Object, ObjectId, Operation,
        Provider, ScalarKind, Shape, ShapeId, StatusRange, Step,
    },
    naming::{Names, place},
    operations::{Draft, is_json},
    schema::Builder,
};
use detect::{FieldHint, label_field};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How deep inline objects are listed.
const MAX_FIELD_DEPTH: usize = 16;
/// The most fields of an object.
const MAX_FIELDS: usize = 5_000;

/// Gives every operation its object, and every object its fields and labels.
pub(crate) fn assemble(provider: &mut Provider, builder: Builder<'_, '_>, drafts: Vec<Draft>) {
    let Builder { shapes, names, schema_names, .. } = builder;
    provider.shapes = shapes;
    let mut finder = Finder {
        shapes: &provider.shapes,
        names: names.iter().map(|name| name.map(ToOwned::to_owned)).collect(),
        by_name: BTreeMap::new(),
        anonymous: Names::default(),
        objects: Vec::new(),
    };
    for name in &schema_names {
        finder.anonymous.reserve(name);
    }
    let mut operations = Vec::with_capacity(drafts.len());
    // Reads first: writes on the same path take their object.
    let mut of_path: HashMap<String, ObjectId> = HashMap::new();
    let mut found: Vec<Option<ObjectId>> = vec![None; drafts.len()];
    let is_get = |draft: &Draft| draft.operation.method.is_safe();
    for pass in [true, false] {
        for (index, draft) in drafts.iter().enumerate().filter(|(_, one)| is_get(one) == pass) {
            let object = finder.of_operation(draft, &of_path);
            if pass && let Some(object) = object {
                of_path.entry(draft.operation.path.pattern()).or_insert(object);
            }
            if let Some(slot) = found.get_mut(index) {
                *slot = object;
            }
        }
    }
    for (draft, object) in drafts.into_iter().zip(found) {
        let Draft { mut operation, given_kept, .. } = draft;
        operation.object = object;
        set_envelopes(&provider.shapes, &mut operation, &given_kept);
        operations.push(operation);
    }
    finder.nested();
    let Finder { objects, .. } = finder;
    provider.operations = operations;
    name_shapes(provider, objects);
    label_members(provider);
    for index in 0..provider.objects.len() {
        let fields = Lister::new(provider).list(index);
        if let Some(object) = provider.objects.get_mut(index) {
            object.fields = fields;
        }
    }
}

/// An object under construction.
#[derive(Debug)]
struct Found {
    name: String,
    read: Vec<ShapeId>,
    write: Vec<ShapeId>,
}

struct Finder<'s> {
    shapes: &'s [Shape],
    names: Vec<Option<String>>,
    by_name: BTreeMap<String, ObjectId>,
    anonymous: Names,
    objects: Vec<Found>,
}

impl Finder<'_> {
    fn object(&mut self, name: &str) -> ObjectId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = ObjectId(u32::try_from(self.objects.len()).unwrap_or(u32::MAX));
        self.objects.push(Found { name: name.to_owned(), read: Vec::new(), write: Vec::new() });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    fn add(&mut self, id: ObjectId, shape: ShapeId, is_write: bool) {
        if let Some(found) = self.objects.get_mut(id.0 as usize) {
            let list = if is_write { &mut found.write } else { &mut found.read };
            if !list.contains(&shape) {
                list.push(shape);
            }
        }
    }

    fn of_operation(
        &mut self,
        draft: &Draft,
        of_path: &HashMap<String, ObjectId>,
    ) -> Option<ObjectId> {
        let operation = &draft.operation;
        let answer = success(operation)
            .and_then(|answer| answer.shape)
            .map(|root| unwrap(self.shapes, root).shape)
            .filter(|inner| self.is_object(*inner));
        let request = operation
            .request
            .as_ref()
            .and_then(|request| request.shape)
            .map(|root| unwrap(self.shapes, root).shape)
            .filter(|inner| self.is_object(*inner));
        let telling = answer.filter(|inner| !is_status_only(self.shapes, *inner));
        let id = if let Some(name) = &draft.given_object {
            self.object(name)
        } else if operation.method.is_safe() {
            self.of_shape(answer?, operation)
        } else if let Some(known) = of_path.get(&operation.path.pattern()) {
            *known
        } else if let Some(inner) = telling.or(request).or(answer) {
            self.of_shape(inner, operation)
        } else {
            // A DELETE without content is about what stands at its path.
            let name = self.anonymous.of_place(&place(&operation.path));
            self.object(&name)
        };
        if let Some(inner) = answer {
            let is_own = operation.method.is_safe() || telling.is_some();
            if is_own {
                self.add(id, inner, false);
            }
        }
        if let Some(inner) = request {
            self.add(id, inner, true);
        }
        Some(id)
    }

    fn of_shape(&mut self, inner: ShapeId, operation: &Operation) -> ObjectId {
        let name = match self.names.get(inner.0 as usize).cloned().flatten() {
            Some(name) => name,
            None => self.anonymous.of_place(&place(&operation.path)),
        };
        self.object(&name)
    }

    fn is_object(&self, id: ShapeId) -> bool {
        match shape(self.shapes, id) {
            Shape::Object(_) => true,
            Shape::Union(all) => all
                .iter()
                .any(|one| matches!(shape(self.shapes, *one), Shape::Object(_) | Shape::Union(_))),
            _ => false,
        }
    }

    /// Named schemas that are reached through members are objects too.
    fn nested(&mut self) {
        for is_write in [false, true] {
            let roots: Vec<ShapeId> = self
                .objects
                .iter()
                .flat_map(|one| if is_write { &one.write } else { &one.read })
                .copied()
                .collect();
            let mut seen: HashSet<ShapeId> = roots.iter().copied().collect();
            let mut waiting = roots;
            while let Some(id) = waiting.pop() {
                if let Some(Some(name)) = self.names.get(id.0 as usize).cloned()
                    && self.is_object(id)
                {
                    let object = self.object(&name);
                    self.add(object, id, is_write);
                }
                for next in children(self.shapes, id) {
                    if seen.insert(next) {
                        waiting.push(next);
                    }
                }
            }
        }
    }
}

fn children(shapes: &[Shape], id: ShapeId) -> Vec<ShapeId> {
    match shape(shapes, id) {
        Shape::Object(object) => {
            let mut all: Vec<ShapeId> =
                object.members.values().map(|member| member.shape).collect();
            if let Additional::Map(values) = object.additional {
                all.push(values);
            }
            all
        }
        Shape::Array { items } => vec![*items],
        Shape::Union(all) => all.clone(),
        Shape::Untyped | Shape::Scalar { .. } => Vec::new(),
    }
}

/// The lowest declared success with JSON; an object of another status has no name of its own.
pub(crate) fn success(operation: &Operation) -> Option<&Answer> {
    let has_json = |answer: &&Answer| {
        answer.shape.is_some() && answer.media.iter().any(|media| is_json(media))
    };
    let exact = operation
        .answers
        .iter()
        .filter(|answer| matches!(answer.status, StatusRange::Exact(200..=299)))
        .filter(has_json)
        .min_by_key(|answer| answer.status);
    let class = || {
        operation.answers.iter().filter(has_json).find(|one| one.status == StatusRange::Class(2))
    };
    let declares = operation.answers.iter().any(|answer| {
        matches!(answer.status, StatusRange::Exact(200..=299) | StatusRange::Class(2))
    });
    let default = || {
        operation
            .answers
            .iter()
            .filter(has_json)
            .find(|one| !declares && one.status == StatusRange::Default)
    };
    exact.or_else(class).or_else(default)
}

fn set_envelopes(shapes: &[Shape], operation: &mut Operation, given: &[String]) {
    for answer in &mut operation.answers {
        let is_success = matches!(
            answer.status,
            StatusRange::Exact(200..=299) | StatusRange::Class(2) | StatusRange::Default
        );
        if let Some(root) = answer.shape.filter(|_| is_success) {
            answer.envelope = unwrap(shapes, root).envelope;
            for path in given {
                let path: Vec<Step> =
                    path.split('.').map(|name| Step::Member(name.to_owned())).collect();
                answer.envelope.kept.push(crate::model::KeptMember { path, is_url: true });
            }
        }
    }
    if let Some(request) = &mut operation.request
        && let Some(root) = request.shape
    {
        let steps = unwrap(shapes, root).envelope.steps;
        request.envelope = Envelope { steps, kept: Vec::new() };
    }
}

fn name_shapes(provider: &mut Provider, objects: Vec<Found>) {
    for (index, found) in objects.into_iter().enumerate() {
        let id = ObjectId(u32::try_from(index).unwrap_or(u32::MAX));
        for inner in found.read.iter().chain(&found.write) {
            if let Some(Shape::Object(object)) = provider.shapes.get_mut(inner.0 as usize) {
                object.object.get_or_insert(id);
            }
        }
        provider.objects.push(Object {
            name: found.name,
            read_shapes: found.read,
            write_shapes: found.write,
            fields: Vec::new(),
        });
    }
}

/// A first judgement of each member, by its name, description and what it stands in.
fn label_members(provider: &mut Provider) {
    // Inline objects are judged with the name of the member that they are.
    let mut outer: HashMap<ShapeId, String> = HashMap::new();
    for shape in &provider.shapes {
        let Shape::Object(object) = shape else { continue };
        for (name, member) in &object.members {
            let inner = elements(&provider.shapes, member.shape);
            outer.entry(inner).or_insert_with(|| name.clone());
        }
    }
    for object in &provider.objects {
        for id in object.read_shapes.iter().chain(&object.write_shapes) {
            outer.insert(*id, object.name.clone());
        }
    }
    let kinds: Vec<Option<(ScalarKind, Option<String>)>> = provider
        .shapes
        .iter()
        .map(|shape| match shape {
            Shape::Scalar { kind, format, .. } => Some((*kind, format.clone())),
            _ => None,
        })
        .collect();
    let elements: Vec<ShapeId> = (0..provider.shapes.len())
        .map(|index| elements(&provider.shapes, ShapeId(u32::try_from(index).unwrap_or(u32::MAX))))
        .collect();
    for (index, shape) in provider.shapes.iter_mut().enumerate() {
        let Shape::Object(object) = shape else { continue };
        let own = outer.get(&ShapeId(u32::try_from(index).unwrap_or(u32::MAX)));
        let context: Vec<&str> = own.iter().map(|name| name.as_str()).collect();
        for (name, member) in &mut object.members {
            if member.label.is_some() {
                continue;
            }
            let leaf = elements.get(member.shape.0 as usize).copied().unwrap_or(member.shape);
            let (kind, format) = kinds
                .get(leaf.0 as usize)
                .cloned()
                .flatten()
                .map_or((None, None), |(kind, format)| (Some(kind), format));
            let hint = FieldHint {
                format: format.as_deref(),
                description: &member.description,
                is_harmless_kind: matches!(kind, Some(ScalarKind::Boolean | ScalarKind::Enum)),
                is_date: kind == Some(ScalarKind::Date),
                is_container: kind.is_none(),
            };
            member.label = label_field(name, &context, &hint).map(|label| Label {
                category: label.category.to_owned(),
                is_sensitive: label.is_sensitive,
            });
        }
    }
}

/// What an array or a map holds.
fn elements(shapes: &[Shape], mut id: ShapeId) -> ShapeId {
    for _ in 0..MAX_FIELD_DEPTH {
        match shape(shapes, id) {
            Shape::Array { items } => id = *items,
            Shape::Object(object) if object.members.is_empty() => match object.additional {
                Additional::Map(values) => id = values,
                _ => return id,
            },
            _ => return id,
        }
    }
    id
}

/// Lists an object's fields.
struct Lister<'p> {
    provider: &'p Provider,
    fields: Vec<Field>,
    places: HashMap<String, usize>,
    is_write: bool,
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

impl<'p> Lister<'p> {
    fn new(provider: &'p Provider) -> Self {
        Self { provider, fields: Vec::new(), places: HashMap::new(), is_write: false }
    }

    fn list(mut self, index: usize) -> Vec<Field> {
        let Some(object) = self.provider.objects.get(index) else { return Vec::new() };
        let id = ObjectId(u32::try_from(index).unwrap_or(u32::MAX));
        for (is_write, shapes) in [(false, &object.read_shapes), (true, &object.write_shapes)] {
            self.is_write = is_write;
            for shape in shapes {
                self.walk(*shape, &[], id, None, 0, &mut Vec::new());
            }
        }
        self.fields
    }

    /// Lists the members of a shape that stands at `prefix`.
    fn walk(
        &mut self,
        id: ShapeId,
        prefix: &[Step],
        own: ObjectId,
        outer: Option<&Label>,
        depth: usize,
        trail: &mut Vec<ShapeId>,
    ) {
        if depth > MAX_FIELD_DEPTH || trail.contains(&id) {
            return;
        }
        trail.push(id);
        match self.provider.shape(id) {
            Shape::Object(object) => {
                for (name, member) in &object.members {
                    let mut steps = prefix.to_vec();
                    steps.push(Step::Member(name.clone()));
                    // What lies in a sensitive object is sensitive unless it says otherwise.
                    let label = member.label.as_ref().or(outer);
                    let flags = (member.is_read_only, member.is_write_only);
                    self.field(member.shape, steps, own, label, flags, depth, trail);
                }
                if let Additional::Map(values) = object.additional {
                    let mut steps = prefix.to_vec();
                    steps.push(Step::AnyMember);
                    self.field(values, steps, own, outer, (false, false), depth, trail);
                }
            }
            Shape::Union(all) => {
                for one in all {
                    self.walk(*one, prefix, own, outer, depth + 1, trail);
                }
            }
            Shape::Array { items } => {
                let mut steps = prefix.to_vec();
                steps.push(Step::Elements);
                self.walk(*items, &steps, own, outer, depth + 1, trail);
            }
            Shape::Untyped | Shape::Scalar { .. } => {}
        }
        trail.pop();
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one walk, used in one place")]
    fn field(
        &mut self,
        id: ShapeId,
        steps: Vec<Step>,
        own: ObjectId,
        label: Option<&Label>,
        (is_read_only, is_write_only): (bool, bool),
        depth: usize,
        trail: &mut Vec<ShapeId>,
    ) {
        let mut kinds = Kinds::default();
        self.classify(id, &mut Vec::new(), own, &mut kinds, &mut HashSet::new());
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
        let path = spell(&steps);
        let is_inline = kind == FieldKind::Inline;
        match self.places.get(&path) {
            Some(place) => {
                if let Some(field) = self.fields.get_mut(*place) {
                    field.is_write_only &= self.is_write;
                    if field.label.is_none() {
                        field.label = label.cloned();
                    }
                }
            }
            None if self.fields.len() < MAX_FIELDS => {
                self.places.insert(path.clone(), self.fields.len());
                self.fields.push(Field {
                    path,
                    steps: steps.clone(),
                    kind,
                    label: label.cloned(),
                    is_write_only: is_write_only || self.is_write,
                    is_read_only,
                });
            }
            None => {}
        }
        if is_inline {
            let label = label.cloned();
            for (inner, more) in kinds.inline {
                let mut below = steps.clone();
                below.extend(more);
                self.walk(inner, &below, own, label.as_ref(), depth + 1, trail);
            }
        }
    }

    /// Collects what a value can be; arrays and maps on the way are remembered as steps.
    fn classify(
        &self,
        id: ShapeId,
        steps: &mut Vec<Step>,
        own: ObjectId,
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
                self.classify(*items, steps, own, kinds, seen);
                steps.pop();
            }
            Shape::Object(object) => match object.object {
                Some(named) => {
                    if !kinds.named.contains(&named) {
                        kinds.named.push(named);
                    }
                }
                None if object.members.is_empty() => match object.additional {
                    Additional::Map(_) => kinds.inline.push((id, steps.clone())),
                    _ => kinds.is_free_form = true,
                },
                None => kinds.inline.push((id, steps.clone())),
            },
            Shape::Union(all) => {
                for one in all {
                    self.classify(*one, steps, own, kinds, seen);
                }
            }
        }
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

//! Which object each operation is about.

use crate::{
    document::MAX_DIAGNOSTICS,
    envelope::{
        Pages, Way, has_own_state, holds_list, is_error_schema, is_status_only, is_thin,
        keep_links_alone, shape, status_envelope, unwrap, unwrap_request,
    },
    fields::list_fields,
    labels::label_members,
    model::{
        Additional, Answer, Diagnostic, Envelope, KeptMember, Label, Object, ObjectId, Opaque,
        Operation, ParamPlace, Provider, Shape, ShapeId, StatusRange, Step,
    },
    naming::{Names, place},
    opaque,
    operations::{Doubt, Draft, asks_for_pages, is_json},
    schema::Builder,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use types::Action;

pub use crate::fields::spell;

/// Gives every operation its object, and every object its fields and labels.
pub(crate) fn assemble(provider: &mut Provider, builder: Builder<'_, '_>, drafts: Vec<Draft>) {
    let Builder { shapes, names, schema_names, orders, merged, .. } = builder;
    provider.shapes = shapes;
    let mut finder = Finder {
        shapes: &provider.shapes,
        names: names.iter().map(|name| name.map(ToOwned::to_owned)).collect(),
        merged: merged.into_iter().map(|(id, names)| (id, owned(&names))).collect(),
        by_name: BTreeMap::new(),
        anonymous: Names::default(),
        objects: Vec::new(),
        reads: HashMap::new(),
    };
    for name in &schema_names {
        finder.anonymous.reserve(name);
    }
    // Reads first: writes take their objects.
    let mut found: Vec<Option<ObjectId>> = vec![None; drafts.len()];
    for (draft, object) in drafts.iter().zip(&mut found) {
        if draft.operation.method.is_safe() {
            *object = finder.of_read(draft);
        }
    }
    for (draft, object) in drafts.iter().zip(&mut found) {
        if !draft.operation.method.is_safe() {
            *object = Some(finder.of_write(draft));
        }
    }
    for draft in &drafts {
        finder.further(draft);
    }
    finder.nested();
    let Finder { objects, names, .. } = finder;
    let read: HashSet<ShapeId> = objects.iter().flat_map(|one| &one.read).copied().collect();
    let mut given = Vec::new();
    let instructions = opaque::Instructions::of(&provider.shapes);
    for (draft, object) in drafts.into_iter().zip(found) {
        let Draft { mut operation, given_object, given_kept, given_opaque, doubtful, .. } = draft;
        operation.object = object;
        let judged = opaque::judge(&instructions, &operation);
        match given_opaque {
            Some(true) => operation.opaque = judged.or(Some(Opaque::Told)),
            Some(false) => operation.lowered_opaque = judged,
            None => operation.opaque = judged,
        }
        let ways = Ways { shapes: &provider.shapes, names: &names, given: given_object.as_deref() };
        set_envelopes(&ways, &read, &mut operation);
        settle_paging(&provider.shapes, &mut operation, &doubtful);
        if !asks_for_pages(&provider.shapes, &operation) {
            operation.answers.iter_mut().for_each(|answer| keep_links_alone(&mut answer.envelope));
        }
        given.push(given_kept);
        provider.operations.push(operation);
    }
    name_shapes(provider, objects, &names);
    label_members(provider);
    keep_no_sensitive_member(provider, &given);
    mark_data(provider);
    for index in 0..provider.objects.len() {
        let listed = list_fields(provider, &orders, index);
        let Some(object) = provider.objects.get_mut(index) else { continue };
        object.fields = listed.fields;
        if listed.is_cut && provider.diagnostics.len() < MAX_DIAGNOSTICS {
            let name: String = object.name.chars().take(100).collect();
            let message = format!(
                "`{name}` has more fields, or deeper ones, than are listed; none of those can be \
                 granted"
            );
            let pointer = String::new();
            provider.diagnostics.push(Diagnostic { pointer, code: "too_many_fields", message });
        }
    }
}

/// Parameters that page only where the answer tells of pages.
fn settle_paging(shapes: &[Shape], operation: &mut Operation, doubtful: &[(String, Doubt)]) {
    let answer = success(operation);
    let kept: Vec<KeptMember> =
        answer.map(|answer| answer.envelope.kept.clone()).unwrap_or_default();
    // What is not described may be one.
    let is_list = answer.is_none_or(|answer| {
        answer.shape.is_none_or(|root| holds_list(shapes, root, &answer.envelope))
    });
    for param in operation.params.iter_mut().filter(|param| param.place == ParamPlace::Query) {
        let doubt = doubtful.iter().find(|(name, _)| *name == param.name).map(|(_, doubt)| doubt);
        param.is_paging &= doubt.is_none_or(|doubt| doubt.is_settled(&kept, is_list));
    }
}

/// A member that is judged sensitive is no paging, whatever it is called; where the overlay lists what
/// is kept, that is kept and nothing else.
fn keep_no_sensitive_member(provider: &mut Provider, given: &[Option<Vec<KeptMember>>]) {
    let Provider { operations, shapes, .. } = provider;
    for (operation, given) in operations.iter_mut().zip(given) {
        for answer in &mut operation.answers {
            let Some(root) = answer.shape else { continue };
            answer.envelope.kept.retain(|kept| !is_sensitive(shapes, root, &kept.path));
            if answer.status.is_success()
                && let Some(given) = given
            {
                answer.envelope.kept.clone_from(given);
            }
        }
    }
}

fn is_sensitive(shapes: &[Shape], root: ShapeId, path: &[Step]) -> bool {
    let mut at = root;
    for step in path {
        at = match (shape(shapes, at), step) {
            (Shape::Object(object), Step::Member(name)) => {
                let Some(member) = object.members.get(name) else { return false };
                let is_sensitive =
                    |label: &Label| label.is_sensitive && label.category != "unclassified";
                if member.label.as_ref().is_some_and(is_sensitive) {
                    return true;
                }
                member.shape
            }
            (Shape::Array { items }, Step::Elements) => *items,
            _ => return false,
        };
    }
    false
}

/// Marks what lies in the objects that operations are about, in other objects that these hold, and
/// wherever the same member is merged into something else. What describes failures is no data.
fn mark_data(provider: &mut Provider) {
    let mut data: HashSet<(String, ShapeId)> = HashSet::new();
    let mut seen: HashSet<ShapeId> = HashSet::new();
    let own: HashSet<ObjectId> = provider.operations.iter().filter_map(|one| one.object).collect();
    let tells_failures = |id: ObjectId| {
        let name = provider.object(id).map_or("", |object| object.name.as_str());
        !own.contains(&id) && (is_error_schema(name) || name.to_ascii_lowercase().contains("error"))
    };
    let mut waiting: Vec<ShapeId> = own
        .iter()
        .filter_map(|id| provider.object(*id))
        .flat_map(|object| object.read_shapes.iter().chain(&object.write_shapes))
        .copied()
        .collect();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let Shape::Object(object) = provider.shape(id) {
            if object.object.is_some_and(tells_failures) {
                continue;
            }
            data.extend(object.members.iter().map(|(name, member)| (name.clone(), member.shape)));
        }
        waiting.extend(children(&provider.shapes, id));
    }
    for shape in &mut provider.shapes {
        let Shape::Object(object) = shape else { continue };
        for (name, member) in &mut object.members {
            let mut shapes = member.merges.iter().chain([&member.shape]);
            member.is_data = shapes.any(|shape| data.contains(&(name.clone(), *shape)));
        }
    }
}

/// How the bodies of one operation lead to its object.
struct Ways<'s> {
    shapes: &'s [Shape],
    names: &'s [Option<String>],
    /// What the overlay says that the object is: where the description has a schema of that name on
    /// the way, it ends there.
    given: Option<&'s str>,
}

impl Ways<'_> {
    fn answer(&self, operation: &Operation, root: ShapeId) -> Way {
        let is_item = operation.method.is_safe()
            && operation.path.ends_in_parameter()
            && !asks_for_pages(self.shapes, operation);
        let pages = if is_item { Pages::Nowhere } else { Pages::OfMany };
        let name_of = |id: ShapeId| self.names.get(id.0 as usize).and_then(Option::as_deref);
        unwrap(self.shapes, root, pages, |id| {
            let name = name_of(id);
            self.given.is_some() && name == self.given
                || name.is_some_and(|name| has_own_state(self.shapes, id, name, name_of))
        })
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// An object under construction.
#[derive(Debug)]
struct Found {
    name: String,
    /// Named by the description or its overlay, and not after a path.
    is_named: bool,
    read: Vec<ShapeId>,
    write: Vec<ShapeId>,
}

/// Named objects that are read at one place: paths that differ by a trailing parameter only.
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    item: Option<ObjectId>,
    list: Option<ObjectId>,
}

struct Finder<'s> {
    shapes: &'s [Shape],
    names: Vec<Option<String>>,
    /// Names of the schemas that an anonymous one merges.
    merged: HashMap<ShapeId, Vec<String>>,
    by_name: BTreeMap<String, ObjectId>,
    anonymous: Names,
    objects: Vec<Found>,
    /// By place, and by whole path for those that are read there.
    reads: HashMap<String, Reads>,
}

impl Finder<'_> {
    fn object(&mut self, name: &str, is_named: bool) -> ObjectId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = ObjectId(u32::try_from(self.objects.len()).unwrap_or(u32::MAX));
        let name = name.to_owned();
        self.by_name.insert(name.clone(), id);
        self.objects.push(Found { name, is_named, read: Vec::new(), write: Vec::new() });
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

    /// What an answer's body is about.
    fn inner(&self, draft: &Draft, root: ShapeId) -> ShapeId {
        self.ways(draft).answer(&draft.operation, root).shape
    }

    fn ways<'f>(&'f self, draft: &'f Draft) -> Ways<'f> {
        Ways { shapes: self.shapes, names: &self.names, given: draft.given_object.as_deref() }
    }

    fn of_read(&mut self, draft: &Draft) -> Option<ObjectId> {
        let operation = &draft.operation;
        let way = success(operation).and_then(|answer| answer.shape).map(|root| {
            let way = self.ways(draft).answer(operation, root);
            (way.shape, way.envelope.steps.contains(&Step::Elements))
        });
        let inner = way.filter(|(inner, _)| self.is_object(*inner));
        let id = match (&draft.given_object, inner) {
            (Some(name), _) => self.object(name, true),
            (None, Some((inner, _))) => self.of_shape(inner, operation),
            (None, None) => return None,
        };
        let Some((inner, is_list)) = inner else { return Some(id) };
        self.add(id, inner, false);
        self.add_further(id, inner, draft);
        if self.objects.get(id.0 as usize).is_some_and(|found| found.is_named) {
            let is_item = !is_list || operation.path.ends_in_parameter();
            for key in [operation.path.pattern(), place(&operation.path)] {
                let reads = self.reads.entry(key).or_default();
                let slot = if is_item { &mut reads.item } else { &mut reads.list };
                slot.get_or_insert(id);
            }
        }
        Some(id)
    }

    /// The object of a write. What is read at the same path tells best what is written there; an
    /// answer that only says "done" or repeats an id is no object of its own, because granting it
    /// would open every operation that answers so.
    fn of_write(&mut self, draft: &Draft) -> ObjectId {
        let operation = &draft.operation;
        let is_object = |inner: &ShapeId| self.is_object(*inner);
        let answer = success(operation).and_then(|answer| answer.shape);
        let answer = answer.map(|root| self.inner(draft, root)).filter(is_object);
        let answer = answer.filter(|inner| !self.is_no_object(*inner));
        let request = operation.request.as_ref().and_then(|request| request.shape);
        let request = request.map(|root| unwrap_request(self.shapes, root).shape).filter(is_object);
        let is_read = |inner: &ShapeId| {
            self.own_name(*inner).is_some_and(|name| self.by_name.contains_key(name))
        };
        let telling = answer.filter(|inner| is_read(inner) || !is_thin(self.shapes, *inner));
        let same = self.reads.get(&operation.path.pattern()).copied().unwrap_or_default();
        let near = self.reads.get(&place(&operation.path)).copied().unwrap_or_default();
        let is_named = |inner: &ShapeId| self.own_name(*inner).is_some();
        let named_answer = telling.filter(is_named);
        let named_request = request.filter(is_named);
        let id = if let Some(name) = &draft.given_object {
            self.object(name, true)
        } else if let Some(item) = same.item {
            item
        } else if let Some(inner) = named_answer {
            self.of_shape(inner, operation)
        } else if let Some(known) =
            same.list.and(near.item).or(same.list).or(near.item).or(near.list)
        {
            known
        } else if let Some(inner) = named_request.or(telling).or(request) {
            self.of_shape(inner, operation)
        } else {
            let name = self.anonymous.of_place(&place(&operation.path));
            self.object(&name, false)
        };
        if let Some(inner) = answer {
            self.add(id, inner, false);
            self.add_further(id, inner, draft);
        }
        if let Some(inner) = request {
            self.add(id, inner, true);
        }
        id
    }

    /// Where the lowest success has no name of its own, further ones without a name are the same
    /// object: 200 and 201 often repeat a schema. What has another name is another object.
    fn add_further(&mut self, id: ObjectId, first: ShapeId, draft: &Draft) {
        if self.own_name(first).is_some() {
            return;
        }
        let all = successes(&draft.operation);
        for root in all.into_iter().skip(1).filter_map(|answer| answer.shape) {
            let inner = self.inner(draft, root);
            if self.is_object(inner) && self.own_name(inner).is_none() && !self.is_no_object(inner)
            {
                self.add(id, inner, false);
            }
        }
    }

    /// What else the successes of an operation declare by name is an object that a grant can name.
    fn further(&mut self, draft: &Draft) {
        let all = successes(&draft.operation);
        for root in all.into_iter().skip(1).filter_map(|answer| answer.shape) {
            let inner = self.inner(draft, root);
            if let Some(name) = self.own_name(inner).map(str::to_owned)
                && self.is_object(inner)
                && !self.is_no_object(inner)
            {
                let object = self.object(&name, true);
                self.add(object, inner, false);
            }
        }
    }

    /// An answer that tells how the call went.
    fn is_no_object(&self, inner: ShapeId) -> bool {
        is_status_only(self.shapes, inner) || self.own_name(inner).is_some_and(is_error_schema)
    }

    fn own_name(&self, inner: ShapeId) -> Option<&str> {
        self.names.get(inner.0 as usize)?.as_deref()
    }

    fn of_shape(&mut self, inner: ShapeId, operation: &Operation) -> ObjectId {
        if let Some(name) = self.own_name(inner).map(str::to_owned) {
            return self.object(&name, true);
        }
        let place = place(&operation.path);
        // `/users` with `User` and more, merged in place, is about users.
        let plain = Names::plain(&place);
        if let Some(parts) = self.merged.get(&inner)
            && parts.contains(&plain)
        {
            return self.object(&plain, true);
        }
        let name = self.anonymous.of_place(&place);
        self.object(&name, false)
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
                for next in children(self.shapes, id) {
                    if let Some(name) = self.own_name(next).map(str::to_owned)
                        && self.is_object(next)
                    {
                        let object = self.object(&name, true);
                        self.add(object, next, is_write);
                    }
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

/// The declared successes with JSON, the lowest first. `default` is none: it mostly stands for
/// failures.
fn successes(operation: &Operation) -> Vec<&Answer> {
    let mut found: Vec<&Answer> = operation
        .answers
        .iter()
        .filter(|answer| answer.status.is_success() && answer.status != StatusRange::Default)
        .filter(|answer| answer.shape.is_some() && answer.media.iter().any(|kind| is_json(kind)))
        .collect();
    // Exact statuses sort before classes.
    found.sort_by_key(|answer| answer.status);
    found
}

fn success(operation: &Operation) -> Option<&Answer> {
    successes(operation).into_iter().next()
}

fn set_envelopes(ways: &Ways<'_>, read: &HashSet<ShapeId>, operation: &mut Operation) {
    let shapes = ways.shapes;
    // What is read is an object, whatever its members are called, and passes by its fields.
    let is_write = operation.action != Action::Read;
    let is_status =
        |root: ShapeId| is_write && !read.contains(&root) && is_status_only(shapes, root);
    let envelope = |answer: &Answer| {
        let root = answer.shape.filter(|_| answer.status.is_success())?;
        let is_status = is_status(root);
        let way = || ways.answer(operation, root).envelope;
        Some(if is_status { status_envelope(shapes, root) } else { way() })
    };
    let envelopes: Vec<Option<Envelope>> = operation.answers.iter().map(envelope).collect();
    for (answer, envelope) in operation.answers.iter_mut().zip(envelopes) {
        answer.envelope = envelope.unwrap_or_default();
    }
    if let Some(request) = &mut operation.request
        && let Some(root) = request.shape
    {
        let steps = unwrap_request(shapes, root).envelope.steps;
        request.envelope = Envelope { steps, ..Envelope::default() };
    }
}

/// A shape belongs to the object of its schema's name, else to the first that it was found for.
fn name_shapes(provider: &mut Provider, objects: Vec<Found>, names: &[Option<String>]) {
    for is_own in [true, false] {
        for (index, found) in objects.iter().enumerate() {
            let id = ObjectId(u32::try_from(index).unwrap_or(u32::MAX));
            for inner in found.read.iter().chain(&found.write) {
                let name = names.get(inner.0 as usize).and_then(Option::as_ref);
                if is_own == (name == Some(&found.name))
                    && let Some(Shape::Object(object)) = provider.shapes.get_mut(inner.0 as usize)
                {
                    object.object.get_or_insert(id);
                    object.is_own |= is_own;
                }
            }
        }
    }
    provider.objects = objects
        .into_iter()
        .map(|found| Object {
            name: found.name,
            read_shapes: found.read,
            write_shapes: found.write,
            fields: Vec::new(),
        })
        .collect();
}

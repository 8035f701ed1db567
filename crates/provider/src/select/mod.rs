//! From grants to projections: what of an answer passes, and what a request may carry.
//!
//! The rules are those of the grants reference: a member passes only if it is named; inside a named
//! object pass the fields granted for that object itself; naming an inline object grants its leaves
//! without a sensitive label; where a value has alternatives, every one that declares a member must
//! grant it.

mod fields;
mod kinds;
mod terms;

pub use fields::{CheckedFields, FieldProblem, check_fields, expand_star};
use kinds::alternatives;
pub use kinds::{Kinds, as_granted, kinds, named_kinds, scalar, wider};
pub use terms::{
    FORM, header_term, is_whole_answer, is_whole_request, param_term, path_terms, query_term,
    whole_answer_term, whole_answers, whole_request_term, whole_requests,
};

use crate::model::{
    Additional, Answer, Envelope, FieldKind, KeptMember, KeptRule, ObjectId, ObjectShape,
    Operation, Provider, Shape, ShapeId, Step,
};
use projection::{Edge, NodeId, Spec, SpecBuilder};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use types::Action;

/// A path relative to an object, without `[]` at its end.
pub type FieldSteps = Vec<Step>;

/// The fields that are granted of each object, for one kind of access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// For answers.
    pub read: BTreeMap<ObjectId, BTreeSet<FieldSteps>>,
    /// For the request of the operation in question.
    pub write: BTreeMap<ObjectId, BTreeSet<FieldSteps>>,
    /// What passed of the operation in question beside its object when it was granted: see
    /// [`beside()`]. Nothing else does.
    pub beside: BTreeSet<String>,
}

/// A compiled projection of an answer.
#[derive(Debug, Clone)]
pub struct Selection {
    pub spec: Spec,
    /// Declared and not granted, relative to the object, in the order of its fields.
    pub withheld: Vec<String>,
    /// By the mark in [`Edge::Withhold`].
    pub names: Vec<String>,
}

/// What passes of an answer. `None` where no JSON shape is declared.
pub fn select_response(
    provider: &Provider,
    operation: &Operation,
    answer: &Answer,
    granted: &Granted,
) -> Option<Selection> {
    let root = answer.shape?;
    let mut compiler = Compiler::new(provider, &granted.read, &granted.beside);
    let body = answer.status.to_string();
    let spec = compiler.root(&body, root, &answer.envelope, operation.object, Access::Read);
    let none = BTreeSet::new();
    // A status is kept without a grant, also where it is a member of the object itself.
    let kept = answer.envelope.kept.iter();
    let kept = kept.filter(|one| granted.beside.contains(&kept_text(&body, one)));
    let in_object = |one: &KeptMember| {
        one.path.strip_prefix(answer.envelope.steps.as_slice()).map(|path| spell(&normal(path)))
    };
    let kept: BTreeSet<String> = kept.filter_map(in_object).collect();
    let withheld = answered_objects(provider, operation, answer)
        .into_iter()
        .flat_map(|id| withheld(provider, id, granted.read.get(&id).unwrap_or(&none)))
        .filter(|name| !kept.contains(name))
        .collect();
    Some(Selection { spec, withheld, names: compiler.names })
}

/// What a request's body may carry; for [`projection::Mode::Refuse`]. `None` where no shape is
/// declared.
pub fn select_request(
    provider: &Provider,
    operation: &Operation,
    granted: &Granted,
) -> Option<Spec> {
    let request = operation.request.as_ref()?;
    let mut compiler = Compiler::new(provider, &granted.write, &granted.beside);
    compiler.may_replace = may_replace(operation);
    let (root, object) = (request.shape?, operation.object);
    Some(compiler.root(REQUEST, root, &request.envelope, object, Access::Write))
}

/// Whether what is written may take the place of what is there, lists as a whole: all but what is new
/// does. A POST on an item's own path is mostly a change, whatever its action is called.
fn may_replace(operation: &Operation) -> bool {
    match operation.action {
        Action::Read | Action::Download => false,
        Action::Create => {
            operation.path.segments().last().is_some_and(|last| last.as_literal().is_none())
        }
        Action::Update | Action::Delete | Action::Upload => true,
    }
}

/// The objects that an answer is about: the operation's, or what a further success declares instead.
fn answered_objects(
    provider: &Provider,
    operation: &Operation,
    answer: &Answer,
) -> BTreeSet<ObjectId> {
    let granted = Granted::default();
    let compiler = Compiler::new(provider, &granted.read, &granted.beside);
    let Some(root) = answer.shape else { return BTreeSet::new() };
    let inner = compiler.inner(root, &answer.envelope);
    let mut shapes = alternatives(provider, &[inner]);
    shapes.push(inner);
    let own = |id: &ObjectId| {
        let reads = provider.object(*id).map(|object| &object.read_shapes);
        reads.is_some_and(|reads| reads.iter().any(|shape| shapes.contains(shape)))
    };
    if let Some(id) = operation.object.filter(own) {
        return BTreeSet::from([id]);
    }
    shapes.iter().filter_map(|shape| called(provider, *shape)).collect()
}

/// The object that a schema is by its own name, whatever operation it is found in. A shape without
/// one, or that the overlay calls otherwise, belongs to each operation that declares it.
fn called(provider: &Provider, shape: ShapeId) -> Option<ObjectId> {
    match provider.shape(shape) {
        Shape::Object(object) if object.is_own => object.object,
        _ => None,
    }
}

/// What passes of an operation's bodies though none of its own object's fields grants it: other
/// objects, by what is granted of themselves, and members that are kept beside the payload. In words
/// that tell each apart, for a grant to remember.
pub fn beside(provider: &Provider, operation: &Operation) -> BTreeSet<String> {
    let granted = Granted::default();
    let mut found = BTreeSet::new();
    let compiler = Compiler::new(provider, &granted.read, &granted.beside);
    let mut note = |body: &str, root: ShapeId, envelope: &Envelope, access: Access| {
        let inner = compiler.inner(root, envelope);
        let others = compiler.others(inner, operation.object, access);
        found.extend(others.into_iter().map(|(_, id)| compiler.other_text(body, id)));
        found.extend(envelope.kept.iter().map(|kept| kept_text(body, kept)));
        found.extend(maps(envelope).map(|way| names_text(body, way)));
    };
    for answer in operation.answers.iter().filter(|answer| answer.status.is_success()) {
        if let Some(root) = answer.shape {
            note(&answer.status.to_string(), root, &answer.envelope, Access::Read);
        }
    }
    if let Some(request) = &operation.request
        && let Some(root) = request.shape
    {
        note(REQUEST, root, &request.envelope, Access::Write);
    }
    found
}

/// The ways to maps that an envelope leads through.
fn maps(envelope: &Envelope) -> impl Iterator<Item = &[Step]> {
    let steps = envelope.steps.iter().enumerate();
    steps
        .filter(|(_, step)| **step == Step::AnyMember)
        .filter_map(|(depth, _)| envelope.steps.get(..=depth))
}

/// What a grant remembers of a map whose names pass, though they are data.
fn names_text(body: &str, way: &[Step]) -> String {
    format!("{} (any name) in {body}", spell(way))
}

/// What a grant remembers of a kept member: not only where it is, but what may stand there.
fn kept_text(body: &str, kept: &KeptMember) -> String {
    let rule = match kept.rule {
        KeptRule::Any => "any scalar",
        KeptRule::Word => "a cursor or link",
        KeptRule::Link => "a link",
        KeptRule::Count => "a count",
        KeptRule::Choice => "a declared word",
    };
    format!("{} ({rule}) in {body}", spell(&kept.path))
}

/// A request's body among an operation's bodies; answers go by their status.
const REQUEST: &str = "request";

/// The declared leaves that these paths do not grant.
pub fn withheld(
    provider: &Provider,
    object: ObjectId,
    granted: &BTreeSet<FieldSteps>,
) -> Vec<String> {
    let Some(object) = provider.object(object) else { return Vec::new() };
    object
        .fields
        .iter()
        .filter(|field| field.kind != FieldKind::Inline && !field.is_write_only)
        .filter(|field| {
            let steps = normal(&field.steps);
            let is_leaf = matches!(field.kind, FieldKind::Scalar { .. });
            let is_sensitive = field.label.as_ref().is_some_and(|label| label.is_sensitive);
            !granted
                .iter()
                .any(|path| *path == steps || is_leaf && !is_sensitive && steps.starts_with(path))
        })
        .map(|field| field.path.clone())
        .collect()
}

pub use crate::objects::spell;

/// Reads a spelled path; `None` if it is none.
pub fn parse_steps(text: &str) -> Option<FieldSteps> {
    let path = projection::Path::parse(text).ok()?;
    let steps: Vec<Step> = path
        .segments()
        .iter()
        .map(|segment| match segment {
            projection::Segment::Name(name) => Step::Member(name.clone()),
            projection::Segment::AnyMember => Step::AnyMember,
            projection::Segment::Elements => Step::Elements,
        })
        .collect();
    Some(normal(&steps))
}

/// `jobs[]` and `jobs` name the same member; so do `labels.*` and `labels`.
pub fn normal(steps: &[Step]) -> FieldSteps {
    let mut steps = steps.to_vec();
    while steps.len() > 1 && matches!(steps.last(), Some(Step::Elements | Step::AnyMember)) {
        steps.pop();
    }
    steps
}

/// What is granted of a value at one place: paths that are still to go; the empty one is the value.
type Rest = BTreeSet<FieldSteps>;

/// A shape that may stand at a place, with what is granted of it there.
type Alternative = (ShapeId, Rest);

/// How deep inline objects are compiled.
const MAX_DEPTH: usize = 32;
/// The most places that are compiled for one body; nothing passes at the others.
const MAX_PLACES: usize = 100_000;

#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

/// All that a node's content depends on, the names of what it withholds included.
#[derive(PartialEq, Eq, Hash)]
struct Known {
    accepts_scalar: bool,
    /// Objects and arrays, sorted.
    alternatives: Vec<Alternative>,
    /// Where members are named from.
    scope: (FieldSteps, String),
    /// Where elements are named from, if there can be any.
    elements: Option<(FieldSteps, String)>,
}

struct Compiler<'p> {
    provider: &'p Provider,
    granted: &'p BTreeMap<ObjectId, BTreeSet<FieldSteps>>,
    beside: &'p BTreeSet<String>,
    /// The operation's.
    object: Option<ObjectId>,
    builder: SpecBuilder,
    known: HashMap<Known, NodeId>,
    names: Vec<String>,
    marks: HashMap<String, u32>,
    /// How many were compiled.
    places: usize,
    /// Nodes that let all through that is declared in them.
    whole: HashSet<NodeId>,
    /// Lists of whose elements only a part is granted are refused: see [`may_replace`].
    may_replace: bool,
}

impl<'p> Compiler<'p> {
    fn new(
        provider: &'p Provider,
        granted: &'p BTreeMap<ObjectId, BTreeSet<FieldSteps>>,
        beside: &'p BTreeSet<String>,
    ) -> Self {
        Self {
            provider,
            granted,
            beside,
            object: None,
            builder: SpecBuilder::new(),
            known: HashMap::new(),
            names: Vec::new(),
            marks: HashMap::new(),
            places: 0,
            whole: HashSet::new(),
            may_replace: false,
        }
    }

    fn own(&self, object: ObjectId) -> Rest {
        self.granted.get(&object).cloned().unwrap_or_default()
    }

    fn withhold(&mut self, name: String) -> Edge {
        let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let mark = *self.marks.entry(name.clone()).or_insert(next);
        if mark == next {
            self.names.push(name);
        }
        Edge::Withhold(mark)
    }

    /// What stands at the end of an envelope.
    fn inner(&self, root: ShapeId, envelope: &Envelope) -> ShapeId {
        envelope.steps.iter().fold(root, |at, step| self.step(at, step))
    }

    /// Whether a shape is this object, and not another that an answer or request declares: only
    /// then the fields that are granted of the object are meant.
    fn is_of(&self, shape: ShapeId, object: ObjectId, access: Access) -> bool {
        self.provider.object(object).is_some_and(|one| match access {
            Access::Read => one.read_shapes.contains(&shape),
            Access::Write => one.write_shapes.contains(&shape),
        })
    }

    /// What a body can be that is another object than the operation's, by its own name.
    fn others(
        &self,
        inner: ShapeId,
        object: Option<ObjectId>,
        access: Access,
    ) -> Vec<(ShapeId, ObjectId)> {
        let is_found = object.is_some_and(|id| self.is_of(inner, id, access));
        alternatives(self.provider, &[inner])
            .into_iter()
            // What was found to be the operation's object is that one alone, whatever it is called.
            .filter(|shape| !(is_found && *shape == inner))
            .filter_map(|shape| Some((shape, called(self.provider, shape)?)))
            .filter(|(_, id)| Some(*id) != object || !is_found)
            .collect()
    }

    fn other_text(&self, body: &str, id: ObjectId) -> String {
        let name = self.provider.object(id).map_or("", |object| object.name.as_str());
        format!("the object {name} in {body}")
    }

    /// The whole body: the envelope around what passes of the object.
    fn root(
        &mut self,
        body: &str,
        root: ShapeId,
        envelope: &Envelope,
        object: Option<ObjectId>,
        access: Access,
    ) -> Spec {
        self.object = object;
        let inner = self.inner(root, envelope);
        let rest = object.filter(|id| self.is_of(inner, *id, access)).map(|id| self.own(id));
        let mut alternatives = Vec::new();
        self.flatten(inner, &rest.unwrap_or_default(), &mut alternatives);
        // An alternative that is a named object of its own passes what is granted for it, if it was
        // one when the operation was granted.
        for (other, id) in self.others(inner, object, access) {
            if !self.beside.contains(&self.other_text(body, id)) {
                continue;
            }
            for (shape, rest) in &mut alternatives {
                if *shape == other {
                    rest.extend(self.own(id));
                }
            }
        }
        let mut edge = match self.place(alternatives, &[], "", 0) {
            Some(edge @ Edge::Into(_)) if !envelope.is_status => edge,
            // Nothing is granted: the container stays, empty.
            _ => Edge::Into(self.builder.node()),
        };
        let is_whole = self.is_whole(edge);
        let mut nodes: HashMap<Vec<Step>, NodeId> = HashMap::new();
        if let (true, Edge::Into(node)) = (envelope.is_status, edge) {
            nodes.insert(Vec::new(), node);
        }
        for (depth, step) in envelope.steps.iter().enumerate().rev() {
            let node = self.builder.node();
            if is_whole {
                self.builder.may_be_emptied(node);
            } else if self.may_replace && *step == Step::Elements {
                self.builder.refuse_lists(node);
            }
            let is_open = *step != Step::AnyMember
                || envelope
                    .steps
                    .get(..=depth)
                    .is_some_and(|way| self.beside.contains(&names_text(body, way)));
            if is_open {
                self.edge(node, step, edge);
            }
            nodes.insert(envelope.steps.get(..depth).unwrap_or_default().to_vec(), node);
            edge = Edge::Into(node);
        }
        for kept in &envelope.kept {
            if !self.beside.contains(&kept_text(body, kept)) {
                continue;
            }
            let leaf = match kept.rule {
                KeptRule::Any => Edge::Scalar,
                KeptRule::Word => Edge::Rewrite,
                KeptRule::Link => Edge::Link,
                KeptRule::Count => Edge::Count,
                KeptRule::Choice => {
                    let at = kept.path.iter().fold(root, |at, step| self.step(at, step));
                    let Shape::Scalar { choices, .. } = self.provider.shape(at) else { continue };
                    Edge::OneOf(self.builder.words(choices.iter().cloned()))
                }
            };
            self.keep(&kept.path, leaf, &mut nodes);
        }
        std::mem::take(&mut self.builder).build(edge)
    }

    fn step(&self, shape: ShapeId, step: &Step) -> ShapeId {
        match (self.provider.shape(shape), step) {
            (Shape::Array { items }, Step::Elements) => *items,
            (Shape::Object(object), Step::Member(name)) => {
                object.members.get(name).map_or(ShapeId(0), |member| member.shape)
            }
            (
                Shape::Object(ObjectShape { additional: Additional::Map(values), .. }),
                Step::AnyMember,
            ) => *values,
            _ => ShapeId(0),
        }
    }

    /// A paging or status member beside the payload.
    fn keep(&mut self, path: &[Step], leaf: Edge, nodes: &mut HashMap<Vec<Step>, NodeId>) {
        let Some((last, prefix)) = path.split_last() else { return };
        let mut at = 0;
        // What is already there, then what is missing below it.
        for depth in (0..=prefix.len()).rev() {
            if nodes.contains_key(prefix.get(..depth).unwrap_or_default()) {
                at = depth;
                break;
            }
        }
        let Some(mut node) = nodes.get(prefix.get(..at).unwrap_or_default()).copied() else {
            return;
        };
        for depth in at..prefix.len() {
            let next = self.builder.node();
            let Some(step) = prefix.get(depth) else { return };
            self.edge(node, step, Edge::Into(next));
            nodes.insert(prefix.get(..=depth).unwrap_or_default().to_vec(), next);
            node = next;
        }
        self.edge(node, last, leaf);
    }

    fn edge(&mut self, node: NodeId, step: &Step, edge: Edge) {
        match step {
            Step::Member(name) => self.builder.member(node, name, edge),
            Step::AnyMember => self.builder.any_member(node, edge),
            Step::Elements => self.builder.elements(node, edge),
        }
    }

    /// Unions are alternatives of one place, however they nest.
    fn flatten(&self, shape: ShapeId, rest: &Rest, out: &mut Vec<Alternative>) {
        for shape in alternatives(self.provider, &[shape]) {
            let alternative = (shape, rest.clone());
            if !out.contains(&alternative) {
                out.push(alternative);
            }
        }
    }

    /// What passes at a place. `None`: nothing.
    fn place(
        &mut self,
        alternatives: Vec<Alternative>,
        prefix: &[Step],
        owner: &str,
        depth: usize,
    ) -> Option<Edge> {
        self.places += 1;
        if depth > MAX_DEPTH || self.places > MAX_PLACES {
            return None;
        }
        let mut accepts_scalar = true;
        let mut has_scalar = false;
        let mut has_untyped = false;
        // Every alternative that can be an object was named, and nothing is declared of any.
        let mut is_free_object = true;
        let mut objects = Vec::new();
        let mut arrays = Vec::new();
        for (shape, rest) in alternatives {
            let is_named = rest.contains(&Vec::new());
            match self.provider.shape(shape) {
                Shape::Scalar { .. } => {
                    has_scalar = true;
                    accepts_scalar &= is_named;
                }
                Shape::Untyped => {
                    has_scalar |= is_named;
                    has_untyped |= is_named;
                    is_free_object &= is_named;
                    objects.push((shape, rest));
                }
                Shape::Array { .. } => arrays.push((shape, rest)),
                Shape::Object(object) => {
                    is_free_object &= is_named && is_free(object);
                    objects.push((shape, rest));
                }
                Shape::Union(_) => {}
            }
        }
        accepts_scalar &= has_scalar;
        is_free_object &= !objects.is_empty();
        if objects.is_empty() && arrays.is_empty() {
            return accepts_scalar.then_some(Edge::Scalar);
        }
        if is_free_object && has_untyped && accepts_scalar && arrays.is_empty() {
            // Any value, because it was named: nothing is known that could be kept back.
            return Some(Edge::Whole);
        }
        if is_free_object {
            // Any object, but no scalar or array in its place. Beside a typed alternative nothing
            // is known of the value, and only what the typed one declares passes.
            let node = self.builder.node();
            self.builder.any_member(node, Edge::Whole);
            if accepts_scalar {
                self.builder.accept_scalar(node);
            }
            let is_whole = self.elements(node, &arrays, prefix, owner, depth);
            self.finish(node, is_whole);
            return Some(Edge::Into(node));
        }
        // A named object begins with what is granted for itself.
        let mut scope = (prefix.to_vec(), owner.to_owned());
        // Named by the grant, and nothing in it: it passes empty.
        let mut is_kept_empty = false;
        for (shape, rest) in &mut objects {
            if let Shape::Object(ObjectShape { object: Some(named), .. }) =
                self.provider.shape(*shape)
                && rest.remove(&Vec::new())
            {
                rest.extend(self.own(*named));
                is_kept_empty |= rest.is_empty();
                let name = self.provider.object(*named).map(|object| object.name.clone());
                scope = (Vec::new(), name.unwrap_or_default());
            }
        }
        let is_opened = |(_, rest): &Alternative| !rest.is_empty();
        if !is_kept_empty && !objects.iter().chain(&arrays).any(is_opened) {
            return accepts_scalar.then_some(Edge::Scalar);
        }
        let mut alternatives = [objects.as_slice(), &arrays].concat();
        alternatives.sort();
        let key = Known {
            accepts_scalar,
            alternatives,
            scope: scope.clone(),
            elements: (!arrays.is_empty()).then(|| (prefix.to_vec(), owner.to_owned())),
        };
        if let Some(node) = self.known.get(&key) {
            return Some(Edge::Into(*node));
        }
        let node = self.builder.node();
        self.known.insert(key, node);
        if accepts_scalar {
            self.builder.accept_scalar(node);
        }
        let has_all_members = self.members(node, &objects, &scope.0, &scope.1, depth);
        let has_all_elements = self.elements(node, &arrays, prefix, owner, depth);
        self.finish(node, has_all_members && has_all_elements);
        Some(Edge::Into(node))
    }

    /// Remembers whether all that is declared in a node passes.
    fn finish(&mut self, node: NodeId, is_whole: bool) {
        if is_whole {
            self.builder.may_be_emptied(node);
            self.whole.insert(node);
        }
    }

    /// Whether nothing of what stands at this edge is held back. A node that leads back to itself
    /// counts as one that holds back.
    fn is_whole(&self, edge: Edge) -> bool {
        match edge {
            Edge::Whole | Edge::Scalar => true,
            Edge::Into(node) => self.whole.contains(&node),
            Edge::Rewrite | Edge::Link | Edge::OneOf(_) | Edge::Count | Edge::Withhold(_) => false,
        }
    }

    /// Whether all that is declared passes.
    fn members(
        &mut self,
        node: NodeId,
        objects: &[Alternative],
        prefix: &[Step],
        owner: &str,
        depth: usize,
    ) -> bool {
        let mut is_whole = true;
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (shape, rest) in objects {
            if let Shape::Object(object) = self.provider.shape(*shape) {
                names.extend(object.members.keys().cloned());
            }
            // Free-form members are those that the grant names.
            names.extend(rest.iter().filter_map(|path| match path.first() {
                Some(Step::Member(name)) => Some(name.clone()),
                _ => None,
            }));
        }
        for name in names {
            let step = Step::Member(name.clone());
            let mut inner = Vec::new();
            let mut unknown = Vec::new();
            let mut is_granted = true;
            let mut is_declared = false;
            // What callers cannot write, they cannot erase.
            let mut is_written = false;
            for (shape, rest) in objects {
                let below = below(rest, &step);
                match self.provider.shape(*shape) {
                    Shape::Object(object) => match object.members.get(&name) {
                        Some(member) => {
                            is_declared = true;
                            is_written |= !member.is_read_only;
                            let rest =
                                self.implied(below, rest, member.shape, member.label.as_ref());
                            is_granted &= !rest.is_empty();
                            self.flatten(member.shape, &rest, &mut inner);
                        }
                        None => match object.additional {
                            Additional::FreeForm if !below.is_empty() => {
                                unknown.push((ShapeId(0), below));
                            }
                            // Names of a map are data, so that it declares any: `*` grants them, not a
                            // name.
                            Additional::Map(values) => {
                                is_declared = true;
                                is_written = true;
                                let below = self::below(rest, &Step::AnyMember);
                                let rest = self.implied(below, rest, values, None);
                                is_granted &= !rest.is_empty();
                                self.flatten(values, &rest, &mut inner);
                            }
                            _ => {}
                        },
                    },
                    Shape::Untyped if !below.is_empty() => unknown.push((ShapeId(0), below)),
                    _ => {}
                }
            }
            // What one alternative declares is never widened by another that declares nothing.
            if !is_declared {
                inner = unknown;
            }
            let mut path = prefix.to_vec();
            path.push(step);
            let is_named = inner.iter().any(|(_, rest)| rest.contains(&Vec::new()));
            let leaf = if is_declared || !is_named { None } else { self.leaf(owner, &path) };
            let edge = if leaf.is_some() {
                leaf
            } else if is_granted && !inner.is_empty() {
                self.place(inner, &path, owner, depth + 1)
            } else {
                None
            };
            match edge {
                Some(edge) => {
                    is_whole &= self.is_whole(edge);
                    self.builder.member(node, &name, edge);
                    self.builder.note(node, &name, &named(owner, &path));
                }
                None if is_declared => {
                    is_whole &= !is_written;
                    let edge = self.withhold(named(owner, &path));
                    self.builder.member(node, &name, edge);
                }
                None => {}
            }
        }
        self.any_member(node, objects, prefix, owner, depth) && is_whole
    }

    /// What passes of a field that is a leaf wherever it is declared, where nothing is declared of it.
    fn leaf(&mut self, owner: &str, path: &[Step]) -> Option<Edge> {
        let provider = self.provider;
        let object = if owner.is_empty() {
            provider.object(self.object?)
        } else {
            provider.object_by_name(owner).map(|(_, object)| object)
        };
        let path = normal(path);
        let field = object?.fields.iter().find(|field| normal(&field.steps) == path)?;
        match field.kind {
            FieldKind::Scalar { is_array: false, .. } => Some(Edge::Scalar),
            FieldKind::Scalar { is_array: true, .. } => {
                let node = self.builder.node();
                self.builder.accept_scalar(node);
                self.builder.elements(node, Edge::Scalar);
                self.finish(node, true);
                Some(Edge::Into(node))
            }
            _ => None,
        }
    }

    /// Whether all members that are not declared by name pass, or there are none.
    fn any_member(
        &mut self,
        node: NodeId,
        objects: &[Alternative],
        prefix: &[Step],
        owner: &str,
        depth: usize,
    ) -> bool {
        let mut inner = Vec::new();
        let mut is_granted = true;
        let mut is_declared = false;
        let mut is_whole = true;
        for (shape, rest) in objects {
            is_whole &= match self.provider.shape(*shape) {
                Shape::Object(object) => object.additional != Additional::FreeForm,
                _ => false,
            };
            if let Shape::Object(ObjectShape { additional: Additional::Map(values), .. }) =
                self.provider.shape(*shape)
            {
                is_declared = true;
                let below = below(rest, &Step::AnyMember);
                let rest = self.implied(below, rest, *values, None);
                is_granted &= !rest.is_empty();
                self.flatten(*values, &rest, &mut inner);
            }
        }
        if !is_declared {
            return is_whole;
        }
        let mut path = prefix.to_vec();
        path.push(Step::AnyMember);
        let edge = if is_granted { self.place(inner, &path, owner, depth + 1) } else { None };
        let edge = match edge {
            Some(edge) => edge,
            None => self.withhold(named(owner, &path)),
        };
        is_whole &= self.is_whole(edge);
        self.builder.any_member(node, edge);
        is_whole
    }

    /// Whether all elements pass, or there can be none.
    fn elements(
        &mut self,
        node: NodeId,
        arrays: &[Alternative],
        prefix: &[Step],
        owner: &str,
        depth: usize,
    ) -> bool {
        let mut inner = Vec::new();
        let mut is_granted = true;
        for (shape, rest) in arrays {
            if let Shape::Array { items } = self.provider.shape(*shape) {
                let mut rest_of_items = below(rest, &Step::Elements);
                if rest.contains(&Vec::new()) {
                    rest_of_items.insert(Vec::new());
                }
                is_granted &= !rest_of_items.is_empty();
                self.flatten(*items, &rest_of_items, &mut inner);
            }
        }
        if inner.is_empty() {
            return true;
        }
        let mut path = prefix.to_vec();
        path.push(Step::Elements);
        let edge = if is_granted { self.place(inner, &path, owner, depth + 1) } else { None };
        let edge = match edge {
            Some(edge) => edge,
            None => self.withhold(named(owner, prefix)),
        };
        let is_whole = self.is_whole(edge);
        if self.may_replace && !is_whole {
            self.builder.refuse_lists(node);
        }
        self.builder.elements(node, edge);
        is_whole
    }

    /// Naming an inline object names its leaves and inline objects without a sensitive label.
    fn implied(
        &self,
        mut below: Rest,
        rest: &Rest,
        shape: ShapeId,
        label: Option<&crate::model::Label>,
    ) -> Rest {
        let is_sensitive = label.is_some_and(|label| label.is_sensitive);
        if rest.contains(&Vec::new()) && !is_sensitive && is_plain(self.provider, shape) {
            below.insert(Vec::new());
        }
        below
    }
}

/// Scalars and inline objects, also in arrays and maps: no named object, nothing unknown.
fn is_plain(provider: &Provider, shape: ShapeId) -> bool {
    let mut seen = HashSet::new();
    let mut waiting = vec![shape];
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        match provider.shape(id) {
            Shape::Scalar { .. } => {}
            Shape::Untyped => return false,
            Shape::Array { items } => waiting.push(*items),
            Shape::Object(object) if object.object.is_some() || is_free(object) => return false,
            Shape::Object(_) => {}
            Shape::Union(all) => waiting.extend(all),
        }
    }
    true
}

/// An object of which nothing is declared, not even a name: one with a name passes by what is granted
/// for itself.
fn is_free(object: &ObjectShape) -> bool {
    object.object.is_none()
        && object.members.is_empty()
        && object.additional == Additional::FreeForm
}

/// What is left of the paths that begin with this step.
fn below(rest: &Rest, step: &Step) -> Rest {
    rest.iter()
        .filter_map(|path| path.split_first())
        .filter(|(first, _)| *first == step)
        .map(|(_, more)| more.to_vec())
        .collect()
}

fn named(owner: &str, path: &[Step]) -> String {
    if owner.is_empty() { spell(path) } else { format!("{owner}.{}", spell(path)) }
}

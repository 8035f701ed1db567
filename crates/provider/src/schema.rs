//! Schemas to an arena of shapes.
//!
//! Every schema is known by the address of its value, so that each is built once and recursion is
//! a cycle of ids. Children wait in a queue: the depth of a description never becomes the depth of
//! a call stack. `allOf` is merged where it is met, by walking the raw schemas it lists.

use crate::{
    document::{Document, Node, reference},
    fields::Orders,
    load::Dialect,
    model::{Additional, Label, Member, ObjectShape, ScalarKind, Shape, ShapeId},
    security::scalar_text,
};
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque, hash_map::Entry};

/// The most shapes of a provider; what comes after is untyped.
const MAX_SHAPES: usize = 1_000_000;
/// The most members copied into merged objects, all together.
const MAX_MERGED_MEMBERS: usize = 1_000_000;
/// The most schemas followed for one: references to references, single alternatives.
const MAX_HOPS: usize = 64;
/// The most schemas merged into one by `allOf` and alternatives beside members.
const MAX_PARTS: usize = 1_000;
/// The most characters of a description that are kept.
const MAX_DESCRIPTION_CHARS: usize = 300;
/// The most values of an enumeration that are kept.
const MAX_CHOICES: usize = 1_000;

#[derive(Debug)]
pub(crate) struct Builder<'d, 'a> {
    pub(crate) document: &'d mut Document<'a>,
    pub(crate) shapes: Vec<Shape>,
    /// By shape: the name of the schema, and the names around it.
    pub(crate) names: Vec<Option<&'a str>>,
    /// By shape: the names of its members in order.
    pub(crate) orders: Orders,
    /// By shape without a name: the named schemas that it merges.
    pub(crate) merged: HashMap<ShapeId, Vec<&'a str>>,
    /// Names of all schemas that the document names, reached or not.
    pub(crate) schema_names: HashSet<&'a str>,
    by_address: HashMap<usize, ShapeId>,
    named: HashMap<usize, &'a str>,
    waiting: VecDeque<(ShapeId, Node<'a>)>,
    merged_members: usize,
    /// Somebody labels something.
    has_labels: bool,
}

/// The category of a field whose overlay cannot be understood.
const UNKNOWN_CATEGORY: &str = "unknown";

/// Shape 0, what leads nowhere.
const UNTYPED: ShapeId = ShapeId(0);

/// On a property: its data category.
const KEY: &str = "x-weirgate-label";

impl<'d, 'a> Builder<'d, 'a> {
    pub(crate) fn new(document: &'d mut Document<'a>, dialect: Dialect) -> Self {
        let root = document.root;
        let section = match dialect {
            Dialect::Swagger2 => root.get("definitions"),
            Dialect::OpenApi3 => root.get("components").and_then(|parts| parts.get("schemas")),
        };
        let schemas = section.and_then(Value::as_object);
        let mut builder = Self {
            document,
            shapes: Vec::new(),
            names: Vec::new(),
            orders: Orders::new(),
            merged: HashMap::new(),
            schema_names: schemas
                .into_iter()
                .flat_map(|all| all.keys())
                .map(String::as_str)
                .collect(),
            by_address: HashMap::new(),
            named: schemas
                .into_iter()
                .flatten()
                .map(|(name, value)| (address(value), name.as_str()))
                .collect(),
            waiting: VecDeque::new(),
            merged_members: 0,
            has_labels: has_member(root, KEY),
        };
        builder.allocate(Shape::Untyped, None);
        builder
    }

    /// Adds a shape that no schema stands for.
    pub(crate) fn allocate(&mut self, shape: Shape, name: Option<&'a str>) -> ShapeId {
        let Ok(index) = u32::try_from(self.shapes.len()) else { return UNTYPED };
        self.shapes.push(shape);
        self.names.push(name);
        ShapeId(index)
    }

    /// The shape of a schema; it is built by [`Self::run`].
    pub(crate) fn intern(&mut self, node: Node<'a>) -> ShapeId {
        let Some(node) = self.essence(node) else { return UNTYPED };
        if let Some(known) = self.by_address.get(&address(node.value)) {
            return *known;
        }
        if self.shapes.len() >= MAX_SHAPES {
            self.document.report(node, "too_many_schemas", "the schema was left untyped");
            return UNTYPED;
        }
        let name = self.named.get(&address(node.value)).copied();
        let id = self.allocate(Shape::Untyped, name);
        self.by_address.insert(address(node.value), id);
        self.waiting.push_back((id, node));
        id
    }

    /// Builds everything that waits.
    pub(crate) fn run(&mut self) {
        while let Some((id, node)) = self.waiting.pop_front() {
            let shape = self.build(id, node);
            if let Some(slot) = self.shapes.get_mut(id.0 as usize) {
                *slot = shape;
            }
        }
    }

    /// The schema that a schema *is*: references, and `allOf`, `oneOf` or `anyOf` of one schema
    /// beside nothing but null and annotations, are followed.
    fn essence(&mut self, mut node: Node<'a>) -> Option<Node<'a>> {
        let start = node;
        for _ in 0..MAX_HOPS {
            let value = node.value;
            if reference(value).is_some() {
                if is_telling(value, &["$ref"]) {
                    return Some(node);
                }
                node = self.document.target(node)?;
                continue;
            }
            let mut lists = ["allOf", "oneOf", "anyOf"]
                .into_iter()
                .filter(|name| value.get(*name).is_some_and(Value::is_array));
            let (Some(list), None) = (lists.next(), lists.next()) else { return Some(node) };
            if is_telling(value, &[list]) {
                return Some(node);
            }
            let Some(holder) = self.document.member(node, list) else { return Some(node) };
            let mut telling = self.document.elements(holder);
            telling.retain(|part| is_part(part.value, list == "allOf"));
            let [only] = telling.as_slice() else { return Some(node) };
            node = *only;
        }
        self.document.report(start, "ref_cycle", "the schema leads back to itself");
        None
    }

    fn build(&mut self, id: ShapeId, node: Node<'a>) -> Shape {
        self.note_merged(id, node);
        let mut parts = Parts::default();
        self.gather(node, &mut parts);
        let mut variants = Vec::new();
        if parts.is_object() || parts.kinds.contains(&Kind::Object) && parts.alternatives.is_empty()
        {
            variants.push(self.object(&parts));
        }
        if parts.kinds.contains(&Kind::Array) || !parts.items.is_empty() {
            let mut items: Vec<ShapeId> =
                parts.items.iter().map(|item| self.intern(*item)).collect();
            let items = match items.as_slice() {
                [] => UNTYPED,
                [only] => *only,
                _ => {
                    items.dedup();
                    self.allocate(Shape::Union(items), None)
                }
            };
            variants.push(Shape::Array { items });
        }
        if parts.alternatives.is_empty()
            && let Some(scalar) = parts.scalar()
        {
            variants.push(scalar);
        }
        let mut ids: Vec<ShapeId> = Vec::new();
        for alternative in std::mem::take(&mut parts.alternatives) {
            let id = self.intern(alternative);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let order: Vec<String> =
            parts.properties.iter().map(|property| property.name.to_owned()).collect();
        if ids.is_empty() && variants.len() < 2 {
            self.orders.insert(id, order);
            return variants.pop().unwrap_or(Shape::Untyped);
        }
        let mut all: Vec<ShapeId> = Vec::new();
        for shape in variants {
            let is_object = matches!(shape, Shape::Object(_));
            let variant = self.allocate(shape, None);
            if is_object {
                self.orders.insert(variant, order.clone());
            }
            all.push(variant);
        }
        all.extend(ids);
        Shape::Union(all)
    }

    /// Remembers which named schemas an anonymous one is made of.
    fn note_merged(&mut self, id: ShapeId, node: Node<'a>) {
        if self.names.get(id.0 as usize).copied().flatten().is_some() {
            return;
        }
        let mut parts = self.list(node, "allOf");
        if reference(node.value).is_some() {
            parts.push(node);
        }
        let mut names = Vec::new();
        for part in parts {
            if let Some(target) = self.document.resolve(part)
                && let Some(name) = self.named.get(&address(target.value))
            {
                names.push(*name);
            }
        }
        if !names.is_empty() {
            self.merged.insert(id, names);
        }
    }

    fn object(&mut self, parts: &Parts<'a>) -> Shape {
        let mut object = ObjectShape::default();
        for property in &parts.properties {
            if property.nodes.iter().any(|node| node.value == &Value::Bool(false)) {
                continue;
            }
            let mut ids: Vec<ShapeId> = Vec::new();
            for node in &property.nodes {
                let id = self.intern(*node);
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            let shape = match ids.as_slice() {
                [only] => *only,
                _ => self.allocate(Shape::Union(ids), None),
            };
            object.members.insert(
                property.name.to_owned(),
                Member {
                    shape,
                    description: Self::description(&property.nodes),
                    is_required: parts.required.contains(property.name),
                    is_read_only: self.flag(&property.nodes, "readOnly"),
                    is_write_only: self.flag(&property.nodes, "writeOnly"),
                    label: self.given_label(property),
                    is_data: false,
                    merges: property.outweighed.iter().map(|node| self.intern(*node)).collect(),
                },
            );
        }
        object.additional = self.additional(parts);
        Shape::Object(object)
    }

    fn additional(&mut self, parts: &Parts<'a>) -> Additional {
        let mut is_open = parts.properties.is_empty();
        let mut values = Vec::new();
        for node in &parts.additional {
            match node.value {
                Value::Bool(false) => return Additional::Closed,
                Value::Bool(true) => is_open = true,
                value if !value.is_object() => {}
                value if is_telling(value, &[]) || value.get("type").is_some() => {
                    values.push(self.intern(*node));
                }
                _ => is_open = true,
            }
        }
        match values.as_slice() {
            [] if is_open => Additional::FreeForm,
            [] => Additional::Closed,
            [only] => Additional::Map(*only),
            _ => Additional::Map(self.allocate(Shape::Union(values), None)),
        }
    }

    fn description(nodes: &[Node<'a>]) -> String {
        let text = nodes.iter().find_map(|node| node.value.get("description")?.as_str());
        text.unwrap_or_default().chars().take(MAX_DESCRIPTION_CHARS).collect()
    }

    /// `x-weirgate-label` on a property, or on the schemas that its value can be: where it refers to,
    /// what it merges, its alternatives, and what a list or map of it holds. Nearer ones count before
    /// those that they lead to; of several one that says "sensitive" does.
    fn given_label(&mut self, property: &Property<'a>) -> Option<Label> {
        if !self.has_labels {
            return None;
        }
        let mut found: Option<Label> = None;
        let mut seen: HashSet<usize> = HashSet::new();
        let mut waiting: VecDeque<Node<'a>> =
            property.nodes.iter().chain(&property.outweighed).copied().collect();
        while let Some(node) = waiting.pop_front() {
            if !seen.insert(address(node.value)) {
                continue;
            }
            if let Some(given) = self.document.extension(node, KEY) {
                let label = self.label(given);
                if found.as_ref().is_none_or(|known| label.is_sensitive && !known.is_sensitive) {
                    found = Some(label);
                }
                continue;
            }
            if seen.len() > MAX_PARTS {
                self.document.report(
                    node,
                    "too_many_parts",
                    "labels behind it were not looked for",
                );
                break;
            }
            self.value_parts(node, &mut waiting);
        }
        found
    }

    /// The schemas that a value of this one, or what it holds in a list or map, can be.
    fn value_parts(&mut self, node: Node<'a>, parts: &mut VecDeque<Node<'a>>) {
        if reference(node.value).is_some() {
            parts.extend(self.document.target(node));
        }
        for name in ["allOf", "oneOf", "anyOf", "prefixItems"] {
            parts.extend(self.list(node, name));
        }
        match self.document.member(node, "items") {
            Some(items) if items.value.is_array() => parts.extend(self.document.elements(items)),
            items => parts.extend(items),
        }
        parts.extend(self.document.member(node, "additionalProperties"));
        if let Some(patterns) = self.document.member(node, "patternProperties") {
            let patterns = self.document.members(patterns);
            parts.extend(patterns.into_iter().map(|(_, schema)| schema));
        }
    }

    /// A category, or `{category, sensitive}`. One that cannot be read makes the field sensitive:
    /// somebody meant to say something.
    fn label(&mut self, node: Node<'a>) -> Label {
        let label = |category: &str, is_sensitive, is_told| Label {
            category: category.to_owned(),
            is_sensitive,
            confidence: 100,
            reason: KEY.to_owned(),
            is_told,
            lowered_from: None,
        };
        let category = node.value.as_str().or_else(|| node.value.get("category")?.as_str());
        let told = match node.value.get("sensitive") {
            None => Some(None),
            Some(told) => told.as_bool().map(Some),
        };
        let (Some(category), Some(told)) = (category, told) else {
            let message = "x-weirgate-label is neither a category nor {category, sensitive}; the \
                           field counts as sensitive";
            self.document.report(node, "unreadable_label", message);
            return label(UNKNOWN_CATEGORY, true, false);
        };
        if !detect::is_category(category) {
            let nearest = types::nearest(category, detect::categories());
            let hint = nearest.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let shown: String = category.chars().take(100).collect();
            let message =
                format!("`{shown}` is no data category, and the field counts as sensitive{hint}");
            self.document.report(node, "unknown_label", &message);
            return label(UNKNOWN_CATEGORY, true, false);
        }
        let is_sensitive = told.unwrap_or_else(|| detect::is_sensitive_category(category));
        label(category, is_sensitive, told.is_some())
    }

    /// A flag beside a reference, or where the reference leads.
    fn flag(&mut self, nodes: &[Node<'a>], name: &str) -> bool {
        let set = |value: &Value| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        nodes.iter().any(|node| {
            set(node.value)
                || reference(node.value).is_some()
                    && self.document.resolve(*node).is_some_and(|target| set(target.value))
        })
    }

    /// Collects what a schema and everything merged into it say.
    fn gather(&mut self, node: Node<'a>, parts: &mut Parts<'a>) {
        let mut seen = HashSet::new();
        let mut waiting = vec![(node, Role::All)];
        let mut deferred: Vec<Node<'a>> = Vec::new();
        loop {
            let Some((node, role)) = waiting.pop() else {
                // Alternatives beside members are merged into them; alone they stay alternatives.
                if deferred.is_empty() || !parts.is_object() {
                    parts.alternatives = deferred;
                    return;
                }
                waiting.extend(deferred.drain(..).rev().map(|part| (part, Role::Any)));
                continue;
            };
            if !seen.insert(address(node.value)) {
                continue;
            }
            if seen.len() > MAX_PARTS {
                self.document.report(node, "too_many_parts", "the rest of a merged schema is lost");
                return;
            }
            if reference(node.value).is_some()
                && let Some(target) = self.document.target(node)
            {
                waiting.push((target, role));
            }
            self.take(node, role, parts);
            // The stack is emptied from its end: push the last part first, to keep their order.
            let all = self.list(node, "allOf");
            waiting.extend(all.into_iter().rev().map(|part| (part, role)));
            for name in ["oneOf", "anyOf"] {
                deferred
                    .extend(self.list(node, name).into_iter().filter(|p| is_part(p.value, false)));
            }
            // `items` as a list without `type: array` is how some 2.0 documents spell `anyOf`.
            if is_list_form(node.value) {
                deferred.extend(self.list(node, "items"));
            }
        }
    }

    fn list(&mut self, node: Node<'a>, name: &'a str) -> Vec<Node<'a>> {
        match self.document.member(node, name) {
            Some(list) => self.document.elements(list),
            None => Vec::new(),
        }
    }

    /// What one schema says by itself.
    fn take(&mut self, node: Node<'a>, role: Role, parts: &mut Parts<'a>) {
        let Some(schema) = node.value.as_object() else { return };
        for (name, value) in schema {
            match name.as_str() {
                "type" => parts.take_kinds(value),
                "format" => parts.format = parts.format.or(value.as_str()),
                "const" => parts.choices.extend(scalar_text(value)),
                "enum" => {
                    let choices = value.as_array().into_iter().flatten().filter_map(scalar_text);
                    let room = MAX_CHOICES.saturating_sub(parts.choices.len());
                    parts.choices.extend(choices.take(room));
                }
                "required" if role == Role::All => {
                    let names = value.as_array().into_iter().flatten();
                    parts.required.extend(names.filter_map(Value::as_str));
                }
                _ => {}
            }
        }
        if let Some(properties) = self.document.member(node, "properties") {
            parts.has_properties |= properties.value.is_object();
            for (name, property) in self.document.members(properties) {
                self.merged_members += 1;
                if self.merged_members > MAX_MERGED_MEMBERS {
                    self.document.report(node, "too_many_members", "the rest was left out");
                    return;
                }
                parts.add_property(name, property, role);
            }
        }
        if let Some(additional) = self.document.member(node, "additionalProperties") {
            parts.additional.push(additional);
        }
        if let Some(patterns) = self.document.member(node, "patternProperties") {
            let patterns = self.document.members(patterns);
            parts.additional.extend(patterns.into_iter().map(|(_, schema)| schema));
        }
        if !is_list_form(node.value) {
            match self.document.member(node, "items") {
                Some(items) if items.value.is_array() => {
                    parts.items.extend(self.document.elements(items));
                }
                Some(items) => parts.items.push(items),
                None => {}
            }
            parts.items.extend(self.list(node, "prefixItems"));
        }
    }
}

/// How a schema takes part in another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its members are the other's.
    All,
    /// Its members may be there.
    Any,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

struct Property<'a> {
    name: &'a str,
    /// Several where the parts of a merged schema disagree.
    nodes: Vec<Node<'a>>,
    /// What other parts said, and these outweigh.
    outweighed: Vec<Node<'a>>,
}

#[derive(Default)]
struct Parts<'a> {
    kinds: Vec<Kind>,
    has_properties: bool,
    properties: Vec<Property<'a>>,
    places: HashMap<&'a str, usize>,
    required: HashSet<&'a str>,
    additional: Vec<Node<'a>>,
    items: Vec<Node<'a>>,
    alternatives: Vec<Node<'a>>,
    choices: Vec<String>,
    format: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn is_object(&self) -> bool {
        self.has_properties || !self.additional.is_empty()
    }

    fn take_kinds(&mut self, value: &Value) {
        let one = std::slice::from_ref(value);
        for name in value.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str) {
            let kind = match name {
                "object" => Kind::Object,
                "array" => Kind::Array,
                "string" => Kind::String,
                "integer" => Kind::Integer,
                "number" => Kind::Number,
                "boolean" => Kind::Boolean,
                _ => continue,
            };
            if !self.kinds.contains(&kind) {
                self.kinds.push(kind);
            }
        }
    }

    /// The same name again: in `allOf` the later refines the earlier unless both may be objects,
    /// whose members then all count; between alternatives both count.
    fn add_property(&mut self, name: &'a str, node: Node<'a>, role: Role) {
        let place = match self.places.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(self.properties.len());
                let property = Property { name, nodes: vec![node], outweighed: Vec::new() };
                self.properties.push(property);
                return;
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        let Some(property) = self.properties.get_mut(place) else { return };
        let is_simple = |value: &Value| {
            let kind = value.get("type").and_then(Value::as_str);
            kind.is_some_and(|kind| kind != "object" && kind != "array")
        };
        let says_kind =
            |node: &Node<'a>| is_telling(node.value, &[]) || node.value.get("type").is_some();
        if !says_kind(&node) {
            property.outweighed.push(node);
            return;
        }
        if role == Role::All && is_simple(node.value) {
            property.outweighed.append(&mut property.nodes);
            property.nodes.push(node);
        } else if !property.nodes.iter().any(|known| std::ptr::eq(known.value, node.value)) {
            let (kept, rest) = property.nodes.drain(..).partition(says_kind);
            property.nodes = kept;
            property.outweighed.extend::<Vec<_>>(rest);
            property.nodes.push(node);
        }
    }

    fn scalar(&self) -> Option<Shape> {
        let scalars: Vec<Kind> = self
            .kinds
            .iter()
            .copied()
            .filter(|kind| !matches!(kind, Kind::Object | Kind::Array))
            .collect();
        let format = self.format.map(str::to_ascii_lowercase);
        let is_date = matches!(format.as_deref(), Some("date" | "date-time" | "datetime"));
        let kind = match scalars.as_slice() {
            [Kind::Boolean] => ScalarKind::Boolean,
            [] if self.kinds.is_empty() && !self.choices.is_empty() => ScalarKind::Enum,
            [] => return None,
            _ if !self.choices.is_empty() => ScalarKind::Enum,
            [Kind::String] if is_date => ScalarKind::Date,
            [Kind::String] => ScalarKind::String,
            [Kind::Integer] => ScalarKind::Integer,
            [Kind::Number] => ScalarKind::Number,
            [Kind::Integer, Kind::Number] | [Kind::Number, Kind::Integer] => ScalarKind::Number,
            _ => ScalarKind::Mixed,
        };
        Some(Shape::Scalar { kind, format, choices: self.choices.clone() })
    }
}

/// Whether a member of this name is anywhere.
fn has_member(root: &Value, name: &str) -> bool {
    let mut waiting = vec![root];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(members) if members.contains_key(name) => return true,
            Value::Object(members) => waiting.extend(members.values()),
            Value::Array(elements) => waiting.extend(elements),
            _ => {}
        }
    }
    false
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value) as usize
}

/// Words of a schema that say what values look like. `type` counts unless it is `object`, which
/// says nothing beside a reference to an object; `null` in lists of types never counts.
fn is_telling(schema: &Value, besides: &[&str]) -> bool {
    const WORDS: [&str; 11] = [
        "$ref",
        "properties",
        "patternProperties",
        "items",
        "prefixItems",
        "allOf",
        "oneOf",
        "anyOf",
        "enum",
        "const",
        "additionalProperties",
    ];
    let Some(schema) = schema.as_object() else { return false };
    WORDS.iter().any(|word| {
        !besides.contains(word)
            && schema.get(*word).is_some_and(|value| match *word {
                // Beside a reference, "nothing else" and an empty list of members add nothing.
                "additionalProperties" => value.is_object() || value == &Value::Bool(true),
                "properties" => value.as_object().is_some_and(|all| !all.is_empty()),
                "enum" => value.as_array().is_some_and(|all| all.iter().any(|one| !one.is_null())),
                "const" => !value.is_null(),
                _ => true,
            })
    })
}

/// Whether an element of `allOf` (`in_all`), `oneOf` or `anyOf` says more than null or notes.
fn is_part(schema: &Value, in_all: bool) -> bool {
    if is_telling(schema, &[]) {
        return true;
    }
    let kinds = schema.get("type");
    let one = kinds.map(std::slice::from_ref).unwrap_or_default();
    let kinds = kinds.and_then(Value::as_array).map_or(one, Vec::as_slice);
    kinds
        .iter()
        .filter_map(Value::as_str)
        .any(|kind| kind != "null" && !(in_all && kind == "object"))
}

fn is_list_form(schema: &Value) -> bool {
    let is_array = match schema.get("type") {
        Some(Value::String(kind)) => kind == "array",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "array"),
        _ => false,
    };
    !is_array && schema.get("items").is_some_and(Value::is_array)
}

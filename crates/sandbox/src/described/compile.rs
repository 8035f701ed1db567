//! From the raw schemas of a description to [`Schemas`].
//!
//! Each is known by the address of its value and built once; children wait in a queue, so that the
//! depth of a description never becomes the depth of a call stack.

use super::{
    format::Format,
    pattern::Pattern,
    schema::{Additional, Discriminator, Kinds, Limits, Member, Schema, SchemaId, Schemas},
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// The most schemas of a description; what comes after says nothing.
const MAX_SCHEMAS: usize = 1_000_000;
/// The most references that are followed one after another.
const MAX_HOPS: usize = 64;
/// The longest example that is kept, in bytes.
const MAX_EXAMPLE_BYTES: usize = 512;

/// The three families that differ in what a schema means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Swagger2,
    OpenApi30,
    OpenApi31,
}

impl Dialect {
    pub(crate) fn of(document: &Value) -> Self {
        let is = |version: &Value| match version {
            Value::String(text) => text.starts_with("3.0") || text == "3",
            Value::Number(number) => number.as_f64().is_some_and(|number| number < 3.05),
            _ => false,
        };
        match document.get("openapi") {
            None => Self::Swagger2,
            Some(version) if is(version) => Self::OpenApi30,
            Some(_) => Self::OpenApi31,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Compiler<'a> {
    root: &'a Value,
    dialect: Dialect,
    arena: Vec<Schema>,
    by_address: HashMap<usize, SchemaId>,
    waiting: VecDeque<(SchemaId, &'a Value)>,
    patterns: HashMap<&'a str, Arc<Pattern>>,
}

const ANY: SchemaId = SchemaId(0);

impl<'a> Compiler<'a> {
    pub(crate) fn new(root: &'a Value) -> Self {
        Self {
            root,
            dialect: Dialect::of(root),
            arena: vec![Schema::any()],
            by_address: HashMap::new(),
            waiting: VecDeque::new(),
            patterns: HashMap::new(),
        }
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Where a reference leads, if it leads into the document.
    fn target(&self, reference: &str) -> Option<&'a Value> {
        let fragment = reference.strip_prefix('#')?;
        let decoded = percent_decode_str(fragment).decode_utf8_lossy();
        self.root.pointer(&decoded).or_else(|| self.root.pointer(fragment))
    }

    /// Follows references of what is no schema: parameters, bodies, answers, headers.
    pub(crate) fn resolve(&self, mut value: &'a Value) -> Option<&'a Value> {
        for _ in 0..MAX_HOPS {
            match value.get("$ref").and_then(Value::as_str) {
                None => return Some(value),
                Some(reference) => value = self.target(reference)?,
            }
        }
        None
    }

    /// The id of a schema, which [`Self::finish`] builds.
    pub(crate) fn intern(&mut self, value: &'a Value) -> SchemaId {
        let address = std::ptr::from_ref(value) as usize;
        if let Some(known) = self.by_address.get(&address) {
            return *known;
        }
        let (Ok(index), true) = (u32::try_from(self.arena.len()), self.arena.len() < MAX_SCHEMAS)
        else {
            return ANY;
        };
        let id = SchemaId(index);
        self.arena.push(Schema::any());
        self.by_address.insert(address, id);
        self.waiting.push_back((id, value));
        id
    }

    /// Adds a schema that no value of the document stands for.
    pub(crate) fn add(&mut self, schema: Schema) -> SchemaId {
        let Ok(index) = u32::try_from(self.arena.len()) else { return ANY };
        self.arena.push(schema);
        SchemaId(index)
    }

    pub(crate) fn finish(mut self) -> Schemas {
        while let Some((id, value)) = self.waiting.pop_front() {
            let schema = self.build(value);
            if let Some(slot) = self.arena.get_mut(id.0 as usize) {
                *slot = schema;
            }
        }
        self.arena.shrink_to_fit();
        Schemas { arena: self.arena, any: Schema::any() }
    }

    fn build(&mut self, value: &'a Value) -> Schema {
        let mut schema = Schema::any();
        if value == &Value::Bool(false) {
            schema.kinds = Kinds::NONE;
        }
        let Some(object) = value.as_object() else { return schema };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            schema.reference = self.target(reference).map(|target| self.intern(target));
            // Before 3.1 what stands beside a reference is ignored (OpenAPI 3.0.3 §4.7.23).
            if self.dialect != Dialect::OpenApi31 {
                return schema;
            }
        }
        self.kinds(object, &mut schema);
        let flag = |name: &str| object.get(name).and_then(Value::as_bool).unwrap_or(false);
        schema.is_read_only = flag("readOnly");
        schema.is_write_only = flag("writeOnly");
        schema.all_of = self.list(object, "allOf");
        schema.any_of = self.list(object, "anyOf");
        schema.one_of = self.list(object, "oneOf");
        schema.not = object.get("not").filter(|not| is_schema(not)).map(|not| self.intern(not));
        self.containers(object, &mut schema);
        if let Some(choices) = object.get("enum").and_then(Value::as_array) {
            schema.choices = Some(choices.clone().into_boxed_slice());
        }
        if let Some(only) = object.get("const") {
            schema.choices = Some(Box::from([only.clone()]));
        }
        schema.limits = self.limits(object);
        schema.discriminator = self.discriminator(object);
        schema
    }

    fn kinds(&self, object: &Map<String, Value>, schema: &mut Schema) {
        let names = match object.get("type") {
            Some(Value::String(name)) => vec![name.as_str()],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let kinds = names.iter().map(|name| Kinds::named(name)).reduce(Kinds::or);
        schema.kinds = kinds.unwrap_or(Kinds::ALL);
        let is_true = |name: &str| object.get(name) == Some(&Value::Bool(true));
        // OpenAPI 3.0.3 §4.7.24.1: only beside `type`.
        if is_true("nullable") && kinds.is_some() && self.dialect == Dialect::OpenApi30 {
            schema.kinds = schema.kinds.or(Kinds::NULL);
        }
        schema.is_nullable = is_true("nullable") || is_true("x-nullable");
    }

    fn list(&mut self, object: &'a Map<String, Value>, name: &str) -> Box<[SchemaId]> {
        let all = object.get(name).and_then(Value::as_array).into_iter().flatten();
        all.filter(|one| is_schema(one)).map(|one| self.intern(one)).collect()
    }

    fn containers(&mut self, object: &'a Map<String, Value>, schema: &mut Schema) {
        let properties = object.get("properties").and_then(Value::as_object);
        schema.members = properties
            .into_iter()
            .flatten()
            .filter(|(_, value)| is_schema(value))
            .map(|(name, value)| Member { name: name.as_str().into(), schema: self.intern(value) })
            .collect();
        let required = object.get("required").and_then(Value::as_array).into_iter().flatten();
        schema.required = required.filter_map(Value::as_str).map(Into::into).collect();
        schema.additional = match object.get("additionalProperties") {
            Some(Value::Bool(false)) => Additional::Closed,
            Some(value @ Value::Object(_)) => Additional::Of(self.intern(value)),
            _ => Additional::Open,
        };
        let patterns = object.get("patternProperties").and_then(Value::as_object);
        schema.patterns = patterns
            .into_iter()
            .flatten()
            .map(|(name, value)| (self.pattern(name), self.intern(value)))
            .collect();
        schema.prefix = self.list(object, "prefixItems");
        match object.get("items") {
            // A list of items is a tuple in the drafts before 2020-12, and nothing in OpenAPI.
            Some(Value::Array(_)) | None => {}
            Some(items) => schema.items = is_schema(items).then(|| self.intern(items)),
        }
    }

    fn pattern(&mut self, text: &'a str) -> Arc<Pattern> {
        let made = self.patterns.entry(text).or_insert_with(|| Arc::new(Pattern::new(text)));
        Arc::clone(made)
    }

    fn limits(&mut self, object: &'a Map<String, Value>) -> Option<Box<Limits>> {
        let count = |name: &str| {
            let value = object.get(name)?;
            value.as_u64().or_else(|| {
                let float = value.as_f64().filter(|float| *float >= 0.0 && *float < 1e15)?;
                #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
                #[expect(clippy::cast_sign_loss, reason = "the range was checked")]
                Some(float as u64)
            })
        };
        let number = |name: &str| object.get(name).and_then(Value::as_f64);
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let is_true = |name: &str| object.get(name) == Some(&Value::Bool(true));
        let pattern = text("pattern").map(|text| self.pattern(text));
        let mut limits = Limits {
            format: text("format").map(Format::read),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            minimum: number("minimum"),
            maximum: number("maximum"),
            above: number("exclusiveMinimum"),
            below: number("exclusiveMaximum"),
            multiple_of: number("multipleOf").filter(|step| *step > 0.0),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            is_unique: is_true("uniqueItems"),
            min_members: count("minProperties"),
            max_members: count("maxProperties"),
            names: object.get("propertyNames").map(|names| self.intern(names)),
            default: object
                .get("default")
                .filter(|value| Kinds::of(value) != Kinds::OBJECT)
                .cloned(),
            example: None,
            pattern,
        };
        // Before 3.1 these are flags that sharpen the limits beside them.
        if is_true("exclusiveMinimum") {
            limits.above = limits.minimum;
        }
        if is_true("exclusiveMaximum") {
            limits.below = limits.maximum;
        }
        if limits.pattern.is_some() {
            let first = object.get("examples").and_then(|all| all.get(0));
            let given = text("example").or_else(|| first.and_then(Value::as_str));
            limits.example = given.filter(|text| text.len() <= MAX_EXAMPLE_BYTES).map(Into::into);
        }
        const WORDS: [&str; 18] = [
            "format",
            "pattern",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "minItems",
            "maxItems",
            "uniqueItems",
            "minProperties",
            "maxProperties",
            "propertyNames",
            "default",
            "example",
            "examples",
        ];
        WORDS.iter().any(|word| object.contains_key(*word)).then(|| Box::new(limits))
    }

    fn discriminator(&mut self, object: &'a Map<String, Value>) -> Option<Box<Discriminator>> {
        let declared = object.get("discriminator")?;
        // Swagger 2.0 names the member only.
        let member = declared.as_str().or_else(|| declared.get("propertyName")?.as_str())?;
        let mut mapping = Vec::new();
        for (value, target) in
            declared.get("mapping").and_then(Value::as_object).into_iter().flatten()
        {
            let Some(name) = target.as_str() else { continue };
            let found = if name.starts_with('#') {
                self.target(name)
            } else {
                self.root.get("components").and_then(|all| all.get("schemas")?.get(name))
            };
            if let Some(found) = found {
                mapping.push((value.as_str().into(), self.intern(found)));
            }
        }
        if mapping.is_empty() {
            // The schemas' own names are the values (OpenAPI 3.1 §4.8.25.2).
            for list in ["oneOf", "anyOf"] {
                for one in object.get(list).and_then(Value::as_array).into_iter().flatten() {
                    let Some(reference) = one.get("$ref").and_then(Value::as_str) else { continue };
                    let name = reference.rsplit('/').next().unwrap_or_default();
                    if let Some(found) = self.target(reference) {
                        mapping.push((name.into(), self.intern(found)));
                    }
                }
            }
        }
        Some(Box::new(Discriminator { member: member.into(), mapping }))
    }
}

fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

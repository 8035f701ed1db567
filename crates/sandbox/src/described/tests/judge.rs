//! A second opinion on answers: the document's own schemas, read by another validator.
//!
//! OpenAPI 3.0 and Swagger 2.0 schemas are rewritten into JSON Schema 2020-12 where they mean
//! something else: `nullable`, boolean `exclusiveMinimum`, words beside `$ref`. In all versions a
//! member that is only for requests is not required of answers (OpenAPI 3.0.3 §4.7.24.2).

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Map, Value, json};

pub(super) struct Judge {
    document: Value,
    registry: Registry<'static>,
}

impl Judge {
    pub(super) fn new(document: &Value) -> Self {
        let version = document.get("openapi").map(|version| match version {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let rewriter =
            Rewriter { root: document, is_31: version.is_some_and(|v| v.starts_with("3.1")) };
        let rewritten = rewriter.document(document);
        let registry = Registry::new()
            .draft(Draft::Draft202012)
            .add("urn:document", rewritten.clone())
            .unwrap()
            .prepare()
            .unwrap();
        Self { document: rewritten, registry }
    }

    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.document.pointer(pointer)
    }

    /// The validator of the schema at a place of the document.
    pub(super) fn validator(&self, pointer: &str) -> Result<Validator, String> {
        let escaped =
            pointer.replace('%', "%25").replace('{', "%7B").replace('}', "%7D").replace(' ', "%20");
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_registry(&self.registry)
            .should_validate_formats(true)
            .build(&json!({ "$ref": format!("urn:document#{escaped}") }))
            .map_err(|error| error.to_string())
    }
}

struct Rewriter<'d> {
    root: &'d Value,
    is_31: bool,
}

impl Rewriter<'_> {
    /// What is no schema: looked through for schemas.
    fn document(&self, value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                let mut out = Map::new();
                for (name, value) in object {
                    let value = match name.as_str() {
                        "example" | "examples" => continue,
                        name if name.starts_with("x-") => continue,
                        "schema" => self.schema(value),
                        "schemas" | "definitions" => self.map(value),
                        _ => self.document(value),
                    };
                    out.insert(name.clone(), value);
                }
                Value::Object(out)
            }
            Value::Array(all) => all.iter().map(|one| self.document(one)).collect(),
            other => other.clone(),
        }
    }

    fn map(&self, value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                object.iter().map(|(name, value)| (name.clone(), self.schema(value))).collect()
            }
            other => other.clone(),
        }
    }

    fn schema(&self, value: &Value) -> Value {
        const KINDS: [&str; 7] =
            ["null", "boolean", "integer", "number", "string", "array", "object"];
        let Some(object) = value.as_object() else { return value.clone() };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str)
            && (!self.is_31 || !self.leads(reference))
        {
            // What leads to nothing says nothing.
            return if self.leads(reference) { json!({ "$ref": reference }) } else { json!({}) };
        }
        let mut out = Map::new();
        for (name, value) in object {
            let kept = match name.as_str() {
                "properties" | "patternProperties" | "$defs" => self.map(value),
                "items" if value.is_array() => continue,
                "items"
                | "additionalProperties"
                | "not"
                | "propertyNames"
                | "contains"
                | "if"
                | "then"
                | "else" => self.schema(value),
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => match value.as_array() {
                    Some(all) => all.iter().map(|one| self.schema(one)).collect(),
                    None => continue,
                },
                "required" => match value.as_array() {
                    Some(names) => {
                        let properties = object.get("properties");
                        let is_needed = |name: &&Value| {
                            let property = name.as_str().and_then(|name| properties?.get(name));
                            !property.is_some_and(|one| self.is_write_only(one, 0))
                        };
                        let mut needed: Vec<Value> = Vec::new();
                        for name in names.iter().filter(is_needed) {
                            // A name given twice is miscounted by the validator.
                            if !needed.contains(name) {
                                needed.push(name.clone());
                            }
                        }
                        Value::Array(needed)
                    }
                    None => continue,
                },
                "type" => {
                    let is_kind =
                        |one: &Value| one.as_str().is_some_and(|one| KINDS.contains(&one));
                    match value {
                        Value::String(_) if is_kind(value) => {
                            let is_nullable = object.get("nullable") == Some(&Value::Bool(true))
                                && self.root.get("openapi").is_some()
                                && !self.is_31;
                            if is_nullable { json!([value, "null"]) } else { value.clone() }
                        }
                        Value::Array(_) => value.clone(),
                        _ => continue,
                    }
                }
                "exclusiveMinimum" | "exclusiveMaximum" => {
                    let beside = if name == "exclusiveMinimum" { "minimum" } else { "maximum" };
                    match value {
                        Value::Bool(true) => object.get(beside).cloned().unwrap_or(json!(0)),
                        Value::Bool(false) => continue,
                        other => other.clone(),
                    }
                }
                "$ref" | "enum" | "const" | "format" | "pattern" | "minLength" | "maxLength"
                | "minimum" | "maximum" | "multipleOf" | "minItems" | "maxItems"
                | "uniqueItems" | "minProperties" | "maxProperties" | "dependentRequired"
                | "dependentSchemas" => value.clone(),
                _ => continue,
            };
            out.insert(name.clone(), kept);
        }
        Value::Object(out)
    }

    fn leads(&self, reference: &str) -> bool {
        reference.strip_prefix('#').is_some_and(|pointer| self.root.pointer(pointer).is_some())
    }

    fn is_write_only(&self, schema: &Value, depth: usize) -> bool {
        if depth > 20 {
            return false;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            if target.is_some_and(|target| self.is_write_only(target, depth + 1)) {
                return true;
            }
            if !self.is_31 {
                return false;
            }
        }
        schema.get("writeOnly") == Some(&Value::Bool(true))
            || schema
                .get("allOf")
                .and_then(Value::as_array)
                .is_some_and(|all| all.iter().any(|one| self.is_write_only(one, depth + 1)))
    }
}

/// Proofs that no value is valid against a schema.
pub(super) mod proof {
    use serde_json::{Map, Value};

    fn resolve<'d>(root: &'d Value, mut schema: &'d Value) -> &'d Value {
        for _ in 0..20 {
            match schema.get("$ref").and_then(Value::as_str) {
                Some(reference) => {
                    schema = root.pointer(reference.trim_start_matches('#')).unwrap();
                }
                None => break,
            }
        }
        schema
    }

    /// What a schema restricts: annotations gone, `allOf` and references merged.
    fn flatten(root: &Value, schema: &Value, out: &mut Map<String, Value>) {
        const NOTES: [&str; 9] = [
            "description",
            "title",
            "example",
            "examples",
            "default",
            "deprecated",
            "readOnly",
            "externalDocs",
            "discriminator",
        ];
        for (name, value) in resolve(root, schema).as_object().unwrap() {
            match name.as_str() {
                name if NOTES.contains(&name) || name.starts_with("x-") => {}
                "allOf" => {
                    for part in value.as_array().unwrap() {
                        flatten(root, part, out);
                    }
                }
                "properties" => {
                    let all = out.entry("properties").or_insert_with(|| Value::Object(Map::new()));
                    for (name, value) in value.as_object().unwrap() {
                        let mut inner = Map::new();
                        flatten_one(root, value, &mut inner);
                        all.as_object_mut().unwrap().insert(name.clone(), Value::Object(inner));
                    }
                }
                "required" => {
                    let all = out.entry("required").or_insert_with(|| Value::Array(Vec::new()));
                    all.as_array_mut().unwrap().extend(value.as_array().unwrap().clone());
                }
                name => {
                    out.insert(name.to_owned(), value.clone());
                }
            }
        }
    }

    /// Members are compared one level deep; below, by their spelling.
    fn flatten_one(root: &Value, schema: &Value, out: &mut Map<String, Value>) {
        let mut flat = Map::new();
        flatten(root, schema, &mut flat);
        out.extend(flat);
    }

    /// Whether all that `wide` restricts is restricted by `narrow` in the same way.
    fn subsumes(wide: &Map<String, Value>, narrow: &Map<String, Value>) -> bool {
        let empty = Value::Null;
        wide.iter().all(|(name, value)| {
            let other = narrow.get(name).unwrap_or(&empty);
            match name.as_str() {
                "properties" => value
                    .as_object()
                    .unwrap()
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|other| other == value)),
                "required" => value
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|name| other.as_array().is_some_and(|other| other.contains(name))),
                _ => other == value,
            }
        })
    }

    /// `oneOf` whose every alternative is allowed by another one as well.
    pub(crate) fn all_alternatives_are_subsumed(root: &Value, schema: &Value) -> bool {
        let alternatives = resolve(root, schema)["oneOf"].as_array().unwrap();
        let flat: Vec<Map<String, Value>> = alternatives
            .iter()
            .map(|one| {
                let mut out = Map::new();
                flatten(root, one, &mut out);
                out
            })
            .collect();
        (0..flat.len()).all(|narrow| {
            (0..flat.len()).any(|wide| wide != narrow && subsumes(&flat[wide], &flat[narrow]))
        })
    }

    /// An enumeration of texts where an array is asked for.
    pub(crate) fn enumeration_has_no_value_of_the_type(root: &Value, schema: &Value) -> bool {
        let schema = resolve(root, schema);
        schema["type"] == "array" && schema["enum"].as_array().unwrap().iter().all(Value::is_string)
    }

    /// An expression in which a letter stands before the beginning of the text.
    pub(crate) fn pattern_matches_nothing(root: &Value, schema: &Value) -> bool {
        let pattern = resolve(root, schema)["pattern"].as_str().unwrap();
        pattern.starts_with("/^") && !pattern.contains('|')
    }

    /// The schema that required members lead to.
    pub(crate) fn required<'d>(root: &'d Value, schema: &'d Value, way: &[&str]) -> &'d Value {
        way.iter().fold(schema, |schema, name| {
            let mut flat = Map::new();
            flatten(root, schema, &mut flat);
            assert_eq!(flat["type"], "object");
            assert!(flat["required"].as_array().unwrap().iter().any(|one| one == name), "{name}");
            find(root, schema, name).unwrap()
        })
    }

    fn find<'d>(root: &'d Value, schema: &'d Value, name: &str) -> Option<&'d Value> {
        let schema = resolve(root, schema);
        let own = schema.get("properties").and_then(|all| all.get(name));
        own.or_else(|| {
            let parts = schema.get("allOf").and_then(Value::as_array)?;
            parts.iter().find_map(|part| find(root, part, name))
        })
    }
}

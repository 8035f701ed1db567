//! Whether a value is what a schema says. A refusal names the place and the rule, never a value.

use super::{
    format::Format,
    pattern::Pattern,
    schema::{Additional, Kinds, Limits, Schema, SchemaId, Schemas},
};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Which way a body goes: it decides about members that are only for reading or only for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Lenient where descriptions are careless: overlapping `oneOf`, and `nullable` without `type`.
    Request,
    /// Strict: what is answered has to hold for any reader.
    Answer,
}

/// The most schemas that are looked at for one value.
const MAX_STEPS: usize = 300_000;
/// How deep schemas and values may lie within each other.
const MAX_DEPTH: usize = 300;
/// The most characters of a name that are repeated.
const MAX_NAME_CHARS: usize = 60;

/// A value that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{rule}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub(crate) struct Violation {
    /// Such as `address.city` or `jobs[2].title`; empty for the whole.
    pub(crate) path: String,
    pub(crate) rule: String,
}

impl Violation {
    fn new(rule: impl Into<String>) -> Self {
        Self { path: String::new(), rule: rule.into() }
    }

    fn in_member(mut self, name: &str) -> Self {
        let name = shown(name);
        self.path = match self.path.as_str() {
            "" => name,
            rest if rest.starts_with('[') => format!("{name}{rest}"),
            rest => format!("{name}.{rest}"),
        };
        self
    }

    fn in_element(mut self, index: usize) -> Self {
        self.path = match self.path.as_str() {
            "" => format!("[{index}]"),
            rest if rest.starts_with('[') => format!("[{index}]{rest}"),
            rest => format!("[{index}].{rest}"),
        };
        self
    }
}

/// A name as it may be repeated: control characters gone, length cut.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

type Checked = Result<(), Violation>;

/// Checks `value` against a schema.
pub(crate) fn check(
    schemas: &Schemas,
    id: SchemaId,
    value: &Value,
    direction: Direction,
) -> Checked {
    Checker { schemas, direction, steps: 0, open: Vec::new(), frame: 0 }.check(id, value, 0)
}

/// Whether a value holds, and how many schemas were looked at for that; `most` of them at most.
pub(super) fn measure(
    schemas: &Schemas,
    ids: &[SchemaId],
    value: &Value,
    direction: Direction,
    most: usize,
) -> (bool, usize) {
    let steps = MAX_STEPS.saturating_sub(most);
    let mut checker = Checker { schemas, direction, steps, open: Vec::new(), frame: 0 };
    let holds = ids.iter().all(|id| checker.check(*id, value, 0).is_ok());
    (holds, checker.steps.saturating_sub(steps))
}

pub(crate) fn holds(
    schemas: &Schemas,
    ids: &[SchemaId],
    value: &Value,
    direction: Direction,
) -> bool {
    ids.iter().all(|id| check(schemas, *id, value, direction).is_ok())
}

struct Checker<'s> {
    schemas: &'s Schemas,
    direction: Direction,
    steps: usize,
    /// Schemas that are being checked; those from `frame` on for the value at hand.
    open: Vec<SchemaId>,
    frame: usize,
}

impl Checker<'_> {
    /// A schema that leads back to itself without a step into the value (a child that is `allOf` its
    /// parent, which is `oneOf` its children) asks the same question again: it adds nothing.
    fn check(&mut self, id: SchemaId, value: &Value, depth: usize) -> Checked {
        if self.open.get(self.frame..).is_some_and(|open| open.contains(&id)) {
            return Ok(());
        }
        self.open.push(id);
        let checked = self.check_new(id, value, depth);
        self.open.pop();
        checked
    }

    /// Checks a member or an element.
    fn check_below(&mut self, id: SchemaId, value: &Value, depth: usize) -> Checked {
        let frame = std::mem::replace(&mut self.frame, self.open.len());
        let checked = self.check(id, value, depth);
        self.frame = frame;
        checked
    }

    fn check_new(&mut self, id: SchemaId, value: &Value, depth: usize) -> Checked {
        self.steps += 1;
        if self.steps > MAX_STEPS || depth > MAX_DEPTH {
            return Err(Violation::new("is too deep or too large to be checked"));
        }
        let schema = self.schemas.get(id);
        let depth = depth + 1;
        if value.is_null() && schema.is_nullable && self.direction == Direction::Request {
            return Ok(());
        }
        if let Some(target) = schema.reference {
            self.check(target, value, depth)?;
        }
        if !schema.kinds.has(Kinds::of(value)) {
            return Err(Violation::new(kinds_rule(schema.kinds)));
        }
        if let Some(choices) = &schema.choices
            && !choices.iter().any(|choice| equals(choice, value))
            && !(self.direction == Direction::Request && is_meant(choices, value))
        {
            return Err(Violation::new("must be one of the declared values"));
        }
        for part in &schema.all_of {
            self.check(*part, value, depth)?;
        }
        self.alternatives(schema, value, depth)?;
        match value {
            Value::Object(object) => self.object(schema, object, depth)?,
            Value::Array(elements) => self.array(schema, elements, depth)?,
            Value::String(text) => {
                if let Some(limits) = &schema.limits {
                    check_text(limits, text, self.direction)?;
                }
            }
            Value::Number(number) => {
                if let (Some(limits), Some(float)) = (&schema.limits, number.as_f64()) {
                    check_number(limits, float)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alternatives(&mut self, schema: &Schema, value: &Value, depth: usize) -> Checked {
        if let Some(not) = schema.not
            && self.check(not, value, depth).is_ok()
        {
            return Err(Violation::new("is what it must not be"));
        }
        if !schema.any_of.is_empty() {
            let mut first = None;
            let found = schema.any_of.iter().any(|one| match self.check(*one, value, depth) {
                Ok(()) => true,
                Err(violation) => {
                    first.get_or_insert(violation);
                    false
                }
            });
            if !found {
                return Err(among(schema.any_of.len(), first));
            }
        }
        if !schema.one_of.is_empty() {
            let mut first = None;
            let mut count = 0;
            for one in &schema.one_of {
                match self.check(*one, value, depth) {
                    Ok(()) => count += 1,
                    Err(violation) => {
                        first.get_or_insert(violation);
                    }
                }
            }
            if count == 0 {
                return Err(among(schema.one_of.len(), first));
            }
            if count > 1 && self.direction == Direction::Answer {
                return Err(Violation::new("fits several of the declared alternatives"));
            }
        }
        Ok(())
    }

    fn object(&mut self, schema: &Schema, object: &Map<String, Value>, depth: usize) -> Checked {
        for name in &schema.required {
            if !object.contains_key(&**name) && self.is_needed(schema, name) {
                return Err(Violation::new("is missing").in_member(name));
            }
        }
        for (name, value) in object {
            let mut is_declared = false;
            for id in schema.schemas_of(name) {
                is_declared = true;
                // What a caller may only read is not looked at: it is dropped.
                if self.direction == Direction::Request && self.schemas.is_read_only(id) {
                    continue;
                }
                self.check_below(id, value, depth).map_err(|error| error.in_member(name))?;
            }
            if !is_declared {
                match schema.additional {
                    Additional::Open => {}
                    Additional::Closed => {
                        return Err(Violation::new("is not declared").in_member(name));
                    }
                    Additional::Of(id) => {
                        self.check_below(id, value, depth)
                            .map_err(|error| error.in_member(name))?;
                    }
                }
            }
        }
        let Some(limits) = &schema.limits else { return Ok(()) };
        let count = length(object.len());
        if limits.min_members.is_some_and(|min| count < min) {
            return Err(Violation::new("has too few members"));
        }
        if limits.max_members.is_some_and(|max| count > max) {
            return Err(Violation::new("has too many members"));
        }
        if let Some(names) = limits.names {
            for name in object.keys() {
                self.check_below(names, &Value::String(name.clone()), depth)
                    .map_err(|_| Violation::new("is no name that is declared").in_member(name))?;
            }
        }
        Ok(())
    }

    /// OpenAPI 3.0.3 §4.7.24.2: `required` does not count for what the other direction alone has.
    fn is_needed(&self, schema: &Schema, name: &str) -> bool {
        let Some(id) = schema.member(name) else { return true };
        match self.direction {
            Direction::Request => !self.schemas.is_read_only(id),
            Direction::Answer => !self.schemas.is_write_only(id),
        }
    }

    fn array(&mut self, schema: &Schema, elements: &[Value], depth: usize) -> Checked {
        for (index, element) in elements.iter().enumerate() {
            let id = schema.prefix.get(index).copied().or(schema.items);
            if let Some(id) = id {
                self.check_below(id, element, depth).map_err(|error| error.in_element(index))?;
            }
        }
        let Some(limits) = &schema.limits else { return Ok(()) };
        let count = length(elements.len());
        if limits.min_items.is_some_and(|min| count < min) {
            return Err(Violation::new("has too few elements"));
        }
        if limits.max_items.is_some_and(|max| count > max) {
            return Err(Violation::new("has too many elements"));
        }
        if limits.is_unique {
            let mut seen = HashSet::new();
            if !elements.iter().all(|element| seen.insert(element.to_string())) {
                return Err(Violation::new("holds an element twice"));
            }
        }
        Ok(())
    }
}

fn check_text(limits: &Limits, text: &str, direction: Direction) -> Checked {
    if limits.min_length.is_some() || limits.max_length.is_some() {
        let count = length(text.chars().count());
        if limits.min_length.is_some_and(|min| count < min) {
            return Err(Violation::new("is too short"));
        }
        if limits.max_length.is_some_and(|max| count > max) {
            return Err(Violation::new("is too long"));
        }
    }
    // Some ask for a UUID of 24 letters: the length counts.
    let is_possible =
        limits.format != Some(Format::Uuid) || limits.max_length.is_none_or(|max| max >= 36);
    if let Some(rule) =
        limits.format.filter(|_| is_possible).and_then(|format| format.objection(text))
    {
        return Err(Violation::new(rule));
    }
    let is_lenient = direction == Direction::Request;
    let fits = |pattern: &Pattern| pattern.is_in(text) || is_lenient && pattern.is_meant_by(text);
    if limits.pattern.as_ref().is_some_and(|pattern| !fits(pattern)) {
        return Err(Violation::new("does not have the declared pattern"));
    }
    Ok(())
}

fn check_number(limits: &Limits, number: f64) -> Checked {
    let is_low = limits.minimum.is_some_and(|min| number < min)
        || limits.above.is_some_and(|bound| number <= bound);
    if is_low {
        return Err(Violation::new("is too small"));
    }
    let is_high = limits.maximum.is_some_and(|max| number > max)
        || limits.below.is_some_and(|bound| number >= bound);
    if is_high {
        return Err(Violation::new("is too large"));
    }
    if limits.multiple_of.is_some_and(|step| !is_multiple(number, step)) {
        return Err(Violation::new("is not a multiple of the declared step"));
    }
    Ok(())
}

/// Whether the quotient is whole, but for the last digits of binary fractions.
pub(super) fn is_multiple(number: f64, step: f64) -> bool {
    let quotient = number / step;
    (quotient - quotient.round()).abs() < 1e-9
}

/// Equality of JSON Schema: `1` and `1.0` are the same number.
pub(super) fn equals(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// An enumeration of scalars beside `type: array` is meant for the elements.
fn is_meant(choices: &[Value], value: &Value) -> bool {
    let Some(elements) = value.as_array() else { return false };
    let is_choice = |element: &Value| choices.iter().any(|choice| equals(choice, element));
    !choices.iter().any(Value::is_array) && elements.iter().all(is_choice)
}

/// One alternative's objection is worth telling; of several nobody knows which was meant.
fn among(count: usize, first: Option<Violation>) -> Violation {
    match first {
        Some(violation) if count == 1 => violation,
        _ => Violation::new("fits none of the declared alternatives"),
    }
}

fn kinds_rule(kinds: Kinds) -> &'static str {
    const NAMES: [(Kinds, &str); 6] = [
        (Kinds::OBJECT, "must be an object"),
        (Kinds::ARRAY, "must be an array"),
        (Kinds::STRING, "must be a text"),
        (Kinds::FRACTION, "must be a number"),
        (Kinds::INTEGER, "must be a whole number"),
        (Kinds::BOOLEAN, "must be true or false"),
    ];
    let found = NAMES.iter().find(|(kind, _)| kinds.has(*kind));
    found.map_or("must not be there", |(_, rule)| rule)
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

//! Bytes to one JSON value, from JSON or YAML, within limits.
//!
//! Both readers feed one visitor that counts as it goes, so that an alias bomb is refused while it
//! grows and not after. YAML scalars follow YAML 1.2's core schema: no timestamps, `yes` is text.

use crate::load::{Format, LoadError, LoadLimits};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess};
use serde_json::{Map, Number, Value};
use std::{
    cell::{Cell, RefCell},
    fmt,
};

/// Reads a document. What begins with `{` is JSON unless JSON's grammar refuses it; the rest is
/// YAML. A name that occurs twice in one object is refused: such a document has no one meaning.
pub(crate) fn parse(bytes: &[u8], limits: &LoadLimits) -> Result<Value, LoadError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.len() > limits.max_bytes {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit: limits.max_bytes });
    }
    let looks_like_json =
        bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'{');
    if !looks_like_json {
        return parse_yaml(bytes, limits);
    }
    parse_json(bytes, limits).or_else(|error| match error {
        // YAML's flow style begins with a brace too; if it is neither, JSON's message counts.
        LoadError::Syntax { .. } => parse_yaml(bytes, limits).map_err(|_| error),
        other => Err(other),
    })
}

fn parse_json(bytes: &[u8], limits: &LoadLimits) -> Result<Value, LoadError> {
    let budget = Budget::new(limits, Format::Json);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Node { budget: &budget, depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| {
            budget.explain(limits, error.line(), error.column()).unwrap_or_else(|| {
                LoadError::Syntax {
                    format: Format::Json,
                    line: error.line(),
                    column: error.column(),
                    message: without_place(&error.to_string()),
                }
            })
        })
}

fn parse_yaml(bytes: &[u8], limits: &LoadLimits) -> Result<Value, LoadError> {
    refuse_overgrown_yaml(bytes, limits)?;
    let budget = Budget::new(limits, Format::Yaml);
    Node { budget: &budget, depth: 0 }
        .deserialize(serde_yaml_ng::Deserializer::from_slice(bytes))
        .map_err(|error| {
            let (line, column) =
                error.location().map_or((0, 0), |place| (place.line(), place.column()));
            budget.explain(limits, line, column).unwrap_or_else(|| LoadError::Syntax {
                format: Format::Yaml,
                line,
                column,
                message: without_place(&error.to_string()),
            })
        })
}

/// The most brackets that are open at once before the YAML reader sees a document. Brackets in texts
/// count too, so that this is well above any nesting that is accepted.
const MAX_OPEN: usize = 1_000;

/// The YAML reader collects all events before the visitor sees the first one, and looks at every
/// open bracket for each token: both are bounded here, by one pass over the bytes.
fn refuse_overgrown_yaml(bytes: &[u8], limits: &LoadLimits) -> Result<(), LoadError> {
    let mut marks = 0_usize;
    let mut open = 0_usize;
    let mut line = 1_usize;
    let mut column = 0_usize;
    for byte in bytes {
        column += 1;
        match byte {
            b'[' | b'{' => {
                marks += 1;
                open += 1;
                if open > MAX_OPEN {
                    return Err(LoadError::TooDeep { limit: limits.max_depth, line, column });
                }
            }
            b']' | b'}' => open = open.saturating_sub(1),
            b'\n' => {
                marks += 1;
                line += 1;
                column = 0;
            }
            // `- - - -` and `? ? ? ?` nest without brackets.
            b',' | b'-' | b'?' | b':' => marks += 1,
            _ => {}
        }
    }
    if marks > limits.max_nodes.saturating_mul(2) {
        return Err(LoadError::TooManyNodes { limit: limits.max_nodes });
    }
    Ok(())
}

/// serde's errors end in their place, which the typed error carries by itself.
fn without_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text).to_owned()
}

/// What may still be read, and why reading stopped.
struct Budget {
    nodes: Cell<usize>,
    text_bytes: Cell<usize>,
    max_depth: usize,
    is_yaml: bool,
    stop: Cell<Option<Stop>>,
    /// Names on the way to a repeated name, innermost first.
    trail: RefCell<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stop {
    Depth,
    Nodes,
    Text,
    Repeated,
}

impl Budget {
    fn new(limits: &LoadLimits, format: Format) -> Self {
        Self {
            is_yaml: format == Format::Yaml,
            nodes: Cell::new(limits.max_nodes),
            text_bytes: Cell::new(limits.max_text_bytes),
            max_depth: limits.max_depth,
            stop: Cell::new(None),
            trail: RefCell::new(Vec::new()),
        }
    }

    fn stop<E: serde::de::Error>(&self, why: Stop) -> E {
        self.stop.set(Some(why));
        E::custom("stopped")
    }

    fn take_node<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.nodes.get().checked_sub(1) {
            Some(left) => self.nodes.set(left),
            None => return Err(self.stop(Stop::Nodes)),
        }
        Ok(())
    }

    fn take_text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        match self.text_bytes.get().checked_sub(text.len()) {
            Some(left) => self.text_bytes.set(left),
            None => return Err(self.stop(Stop::Text)),
        }
        Ok(())
    }

    fn note(&self, name: impl FnOnce() -> String) {
        if self.stop.get() == Some(Stop::Repeated) {
            self.trail.borrow_mut().push(name());
        }
    }

    fn explain(&self, limits: &LoadLimits, line: usize, column: usize) -> Option<LoadError> {
        Some(match self.stop.get()? {
            Stop::Depth => LoadError::TooDeep { limit: limits.max_depth, line, column },
            Stop::Nodes => LoadError::TooManyNodes { limit: limits.max_nodes },
            Stop::Text => LoadError::TooMuchText { limit: limits.max_text_bytes },
            Stop::Repeated => {
                let mut pointer = String::new();
                for name in self.trail.borrow().iter().rev() {
                    pointer.push('/');
                    pointer.push_str(&crate::document::escape(name));
                }
                LoadError::DuplicateName { pointer, line, column }
            }
        })
    }
}

/// One value, read within the budget.
#[derive(Clone, Copy)]
struct Node<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl Node<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= self.budget.max_depth {
            return Err(self.budget.stop(Stop::Depth));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.budget.take_node()?;
        reader.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::String(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::String(value.to_string()))
    }

    /// YAML's `.nan` and `.inf` are no JSON numbers and stay text.
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.budget.take_text(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        self.budget.take_text(&text)?;
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut elements = Vec::new();
        loop {
            match seq.next_element_seed(inner) {
                Ok(Some(element)) => elements.push(element),
                Ok(None) => return Ok(Value::Array(elements)),
                Err(error) => {
                    self.budget.note(|| elements.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(name) = entries.next_key_seed(Name { budget: self.budget })? {
            if object.contains_key(&name) {
                let error = self.budget.stop(Stop::Repeated);
                self.budget.note(|| name);
                return Err(error);
            }
            match entries.next_value_seed(inner) {
                Ok(value) => object.insert(name, value),
                Err(error) => {
                    self.budget.note(|| name);
                    return Err(error);
                }
            };
        }
        if self.budget.is_yaml {
            merge_defaults(&mut object);
        }
        Ok(Value::Object(object))
    }

    /// A YAML tag says nothing that a description needs.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (_, content) = tagged.variant_seed(Name { budget: self.budget })?;
        content.newtype_variant_seed(self)
    }
}

/// YAML's merge key: members of `<<` that the object does not declare itself.
fn merge_defaults(object: &mut Map<String, Value>) {
    let sources = match object.shift_remove("<<") {
        None => return,
        Some(Value::Array(sources)) => sources,
        Some(source) => vec![source],
    };
    for source in sources {
        if let Value::Object(members) = source {
            for (name, value) in members {
                object.entry(name).or_insert(value);
            }
        }
    }
}

/// A member's name: the scalar as written, so that the status `200` and the year `2024-01-01` are
/// text whatever YAML would make of them.
#[derive(Clone, Copy)]
struct Name<'b> {
    budget: &'b Budget,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<String, D::Error> {
        reader.deserialize_str(self)
    }
}

impl serde::de::Visitor<'_> for Name<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        self.budget.take_text(text)?;
        Ok(text.to_owned())
    }
}

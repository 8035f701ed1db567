//! The shape of answers that a description does not declare, learned from samples.
//!
//! What is kept is names and types. A value is never kept, not even looked into, and neither is a
//! name that is data: the keys of a map are collapsed into one. Memory is bounded by the number of
//! distinct names, whatever the samples are.

use serde::{
    Deserialize, Serialize,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt};

/// The most distinct names of all objects together.
const MAX_NAMES: usize = 5_000;
/// The most names of one object; one with more is a map.
const MAX_NAMES_OF_ONE: usize = 64;
/// The longest name that is no data.
const MAX_NAME_BYTES: usize = 64;
/// How deep shapes are learned; what lies deeper stays unknown.
const MAX_DEPTH: usize = 24;

/// Why a sample was not learned from. Nothing of the sample is told but the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    #[error("the sample is no JSON (line {line}, column {column})")]
    Malformed { line: usize, column: usize },
    #[error("the samples have more than {limit} distinct names")]
    TooManyNames { limit: usize },
}

/// What was seen of one place in an answer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Seen {
    is_string: bool,
    is_integer: bool,
    is_number: bool,
    is_boolean: bool,
    elements: Option<Box<Seen>>,
    object: Option<Box<SeenObject>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SeenObject {
    /// How many objects stood there.
    count: usize,
    members: BTreeMap<String, SeenMember>,
    /// Members whose names are data.
    any: Option<Seen>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SeenMember {
    count: usize,
    seen: Seen,
}

/// Learns from one sample after the other. What it knows can be kept, and taken up again.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    root: Seen,
    names: usize,
    samples: usize,
}

/// A learned shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// A JSON Schema of names and types.
    pub schema: Value,
    /// Places of which nothing but null or emptiness was seen; they are left out.
    pub unknown: Vec<String>,
}

impl Observer {
    /// Learns from a JSON document.
    ///
    /// # Errors
    /// The sample is no JSON, or there are too many names. What was learned before stays.
    pub fn learn(&mut self, sample: &[u8]) -> Result<(), ObserveError> {
        let mut reader = serde_json::Deserializer::from_slice(sample);
        let names = self.names;
        let seed = Learner { seen: &mut self.root, names: &mut self.names, depth: 0 };
        let read = seed.deserialize(&mut reader).and_then(|()| reader.end());
        if self.names > MAX_NAMES {
            return Err(ObserveError::TooManyNames { limit: MAX_NAMES });
        }
        read.map_err(|error| {
            self.names = names.max(self.names);
            ObserveError::Malformed { line: error.line(), column: error.column() }
        })?;
        self.samples += 1;
        Ok(())
    }

    /// Takes over what another has learned.
    ///
    /// # Errors
    /// There would be too many names: nothing was taken over.
    pub fn absorb(&mut self, other: Self) -> Result<(), ObserveError> {
        let names = self.names + self.root.new_names(&other.root);
        if names > MAX_NAMES {
            return Err(ObserveError::TooManyNames { limit: MAX_NAMES });
        }
        self.names = names;
        self.samples += other.samples;
        merge(&mut self.root, other.root);
        Ok(())
    }

    pub const fn samples(&self) -> usize {
        self.samples
    }

    /// What was learned; `None` if that is nothing.
    pub fn finish(mut self) -> Option<Learned> {
        collapse(&mut self.root);
        let mut unknown = Vec::new();
        let schema = schema(&self.root, "", &mut unknown)?;
        Some(Learned { schema, unknown })
    }
}

struct Learner<'s> {
    seen: &'s mut Seen,
    names: &'s mut usize,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Learner<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Learner<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.seen.is_boolean = true;
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.seen.is_integer = true;
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.seen.is_integer = true;
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.seen.is_number = true;
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.seen.is_string = true;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { seen, names, depth } = self;
        let inner = seen.elements.get_or_insert_default();
        loop {
            let seed = Learner { seen: &mut *inner, names: &mut *names, depth: depth + 1 };
            if elements.next_element_seed(seed)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { seen, names, depth } = self;
        let object = seen.object.get_or_insert_default();
        object.count += 1;
        while let Some(name) = members.next_key::<String>()? {
            let inner = object.member(&name, names);
            if *names > MAX_NAMES {
                return Err(A::Error::custom("too many names"));
            }
            // Too deep: read, and nothing kept.
            let mut lost = Seen::default();
            let inner = if depth < MAX_DEPTH { inner } else { &mut lost };
            members.next_value_seed(Learner { seen: inner, names, depth: depth + 1 })?;
        }
        Ok(())
    }
}

impl SeenObject {
    /// Where a member of this name is learned.
    fn member(&mut self, name: &str, names: &mut usize) -> &mut Seen {
        let is_known = self.members.contains_key(name);
        if !is_known && (is_data(name) || self.members.len() >= MAX_NAMES_OF_ONE) {
            return self.any.get_or_insert_default();
        }
        if !is_known {
            *names += 1;
        }
        let member = self.members.entry(name.to_owned()).or_default();
        member.count += 1;
        &mut member.seen
    }
}

/// Whether a name is data rather than a word of the description: an id, a date, an address.
fn is_data(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '.');
    let digits = name.chars().filter(char::is_ascii_digit).count();
    // `7d1f0b`: letters and digits by turns.
    let groups = name.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).count();
    let is_hex = name.len() >= 12 && digits > 0 && name.chars().all(|c| c.is_ascii_hexdigit());
    name.is_empty()
        || name.len() > MAX_NAME_BYTES
        || !name.chars().all(is_word)
        || name.starts_with(|c: char| c.is_ascii_digit())
        || digits >= 4
        || groups >= 3
        || is_hex
}

/// Finds the maps whose keys look like words, innermost first.
fn collapse(seen: &mut Seen) {
    if let Some(inner) = &mut seen.elements {
        collapse(inner);
    }
    let Some(object) = &mut seen.object else { return };
    for member in object.members.values_mut() {
        collapse(&mut member.seen);
    }
    if let Some(any) = &mut object.any {
        collapse(any);
    }
    if !object.is_map() {
        return;
    }
    let mut any = object.any.take().unwrap_or_default();
    for (_, member) in std::mem::take(&mut object.members) {
        merge(&mut any, member.seen);
    }
    collapse(&mut any);
    object.any = Some(any);
}

impl SeenObject {
    fn is_map(&self) -> bool {
        let (names, any) = (self.members.len(), self.any.is_some());
        if names == 0 {
            return false;
        }
        if names >= MAX_NAMES_OF_ONE {
            return true;
        }
        // Words beside data: of a map whose keys are mixed, all are data.
        let all_alike = self.all_alike();
        if any && all_alike {
            return true;
        }
        // Several objects of the same members: keyed by something.
        if names >= 3 && self.members.values().all(|member| member.seen.member_names().len() >= 2) {
            return all_alike;
        }
        // Many objects that hardly share a name.
        let uses: usize = self.members.values().map(|member| member.count).sum();
        self.count >= 3 && names > 8 && uses * 3 < names * self.count && all_alike
    }

    fn all_alike(&self) -> bool {
        let mut all = self.members.values().map(|member| &member.seen).chain(&self.any);
        let first = all.next().map(Seen::signature);
        all.all(|seen| Some(seen.signature()) == first)
    }
}

impl Seen {
    /// How many names the other has that are not here.
    fn new_names(&self, other: &Self) -> usize {
        let none = Self::default();
        let elements = other
            .elements
            .as_deref()
            .map_or(0, |theirs| self.elements.as_deref().unwrap_or(&none).new_names(theirs));
        let Some(theirs) = &other.object else { return elements };
        let known = |name: &str| self.object.as_ref()?.members.get(name);
        let any = theirs.any.as_ref().map_or(0, |theirs| {
            let own = self.object.as_ref().and_then(|own| own.any.as_ref());
            own.unwrap_or(&none).new_names(theirs)
        });
        let members = theirs.members.iter().map(|(name, member)| match known(name) {
            Some(own) => own.seen.new_names(&member.seen),
            None => 1 + none.new_names(&member.seen),
        });
        elements + any + members.sum::<usize>()
    }

    fn member_names(&self) -> Vec<&str> {
        let object = self.object.as_ref();
        object.into_iter().flat_map(|object| object.members.keys()).map(String::as_str).collect()
    }

    fn signature(&self) -> (bool, bool, bool, bool, Vec<&str>) {
        let is_number = self.is_integer || self.is_number;
        let names = self.member_names();
        (self.is_string, is_number, self.is_boolean, self.elements.is_some(), names)
    }
}

fn merge(into: &mut Seen, from: Seen) {
    into.is_string |= from.is_string;
    into.is_integer |= from.is_integer;
    into.is_number |= from.is_number;
    into.is_boolean |= from.is_boolean;
    if let Some(elements) = from.elements {
        merge(into.elements.get_or_insert_default(), *elements);
    }
    let Some(object) = from.object else { return };
    let target = into.object.get_or_insert_default();
    target.count += object.count;
    for (name, member) in object.members {
        let known = target.members.entry(name).or_default();
        known.count += member.count;
        merge(&mut known.seen, member.seen);
    }
    if let Some(any) = object.any {
        merge(target.any.get_or_insert_default(), any);
    }
}

/// The schema of what was seen; `None` of what is not known. Null says nothing: it passes anyway.
fn schema(seen: &Seen, at: &str, unknown: &mut Vec<String>) -> Option<Value> {
    let mut kinds = Vec::new();
    if seen.is_string {
        kinds.push(json!({"type": "string"}));
    }
    if seen.is_number {
        kinds.push(json!({"type": "number"}));
    } else if seen.is_integer {
        kinds.push(json!({"type": "integer"}));
    }
    if seen.is_boolean {
        kinds.push(json!({"type": "boolean"}));
    }
    if let Some(elements) = &seen.elements {
        let items = schema(elements, &format!("{at}[]"), unknown);
        kinds.extend(items.map(|items| json!({"type": "array", "items": items})));
    }
    if let Some(object) = &seen.object {
        kinds.extend(object_schema(object, at, unknown));
    }
    match kinds.len() {
        0 => {
            unknown.push(if at.is_empty() { "the whole".to_owned() } else { at.to_owned() });
            None
        }
        1 => kinds.pop(),
        _ => Some(json!({"anyOf": kinds})),
    }
}

fn object_schema(object: &SeenObject, at: &str, unknown: &mut Vec<String>) -> Option<Value> {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let mut properties = Map::new();
    for (name, member) in &object.members {
        let schema = schema(&member.seen, &below(name), unknown);
        properties.extend(schema.map(|schema| (name.clone(), schema)));
    }
    let any = object.any.as_ref().and_then(|any| schema(any, &below("*"), unknown));
    match (properties.is_empty(), any) {
        (true, None) => None,
        (true, Some(any)) => Some(json!({"type": "object", "additionalProperties": any})),
        (false, None) => Some(json!({"type": "object", "properties": properties})),
        (false, Some(any)) => Some(json!({
            "type": "object", "properties": properties, "additionalProperties": any,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(samples: &[Value]) -> Learned {
        let mut observer = Observer::default();
        for sample in samples {
            observer.learn(sample.to_string().as_bytes()).unwrap();
        }
        observer.finish().unwrap()
    }

    /// `aa` to `zz`.
    fn pairs() -> impl Iterator<Item = String> {
        ('a'..='z').flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}")))
    }

    fn check(samples: &[Value], wanted: Value) {
        assert_eq!(learned(samples).schema, wanted, "{samples:?}");
    }

    #[test]
    fn names_and_types_are_learned() {
        check(
            &[json!({"id": 1, "name": "A", "home": {"city": "B"}, "tags": ["x"], "ok": true})],
            json!({"type": "object", "properties": {
                "home": {"type": "object", "properties": {"city": {"type": "string"}}},
                "id": {"type": "integer"},
                "name": {"type": "string"},
                "ok": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}},
            }}),
        );
    }

    #[test]
    fn samples_and_elements_are_united() {
        check(
            &[json!([{"a": 1}, {"a": 1.5, "b": null}]), json!([{"a": "x", "b": {"c": false}}])],
            json!({"type": "array", "items": {"type": "object", "properties": {
                "a": {"anyOf": [{"type": "string"}, {"type": "number"}]},
                "b": {"type": "object", "properties": {"c": {"type": "boolean"}}},
            }}}),
        );
    }

    #[test]
    fn keys_that_are_data_are_collapsed() {
        let map = json!({"type": "object", "additionalProperties": {"type": "integer"}});
        for names in [
            ["2026-01-02", "2026-01-03"],
            ["ada@example.com", "bob@example.com"],
            ["Ada Lovelace", "Bob"],
            ["8f14e45fceea167a", "c9f0f895fb98ab91"],
            ["cus_19438", "cus_88123"],
        ] {
            let sample: Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), json!(1))).collect();
            check(&[json!(sample)], map.clone());
        }
        let people = json!({
            "ada": {"age": 36, "city": "A"}, "bob": {"age": 41, "city": "B"},
            "eve": {"age": 29, "city": "C"},
        });
        check(
            &[people],
            json!({"type": "object", "additionalProperties": {"type": "object", "properties": {
                "age": {"type": "integer"}, "city": {"type": "string"}}}}),
        );
        let many: Map<String, Value> = pairs().map(|name| (name, json!("x"))).collect();
        check(
            &[json!(many)],
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
        );
    }

    #[test]
    fn words_beside_data_stay_where_they_are_other_things() {
        check(
            &[json!({"total": 2, "1001": {"a": 1}, "1002": {"a": 2}})],
            json!({"type": "object", "properties": {"total": {"type": "integer"}},
                "additionalProperties": {"type": "object", "properties": {"a": {"type": "integer"}}}}),
        );
    }

    #[test]
    fn what_is_not_known_is_left_out_and_told() {
        let learned = learned(&[json!({"a": 1, "b": null, "c": [], "d": {}, "e": [{"f": null}]})]);
        assert_eq!(
            learned.schema,
            json!({"type": "object", "properties": {"a": {"type": "integer"}}})
        );
        assert_eq!(learned.unknown, ["b", "c[]", "c", "d", "e[].f", "e[]", "e"]);
        let mut observer = Observer::default();
        observer.learn(b"null").unwrap();
        assert_eq!(observer.finish(), None);
    }

    #[test]
    fn what_is_kept_and_absorbed_is_as_if_learned_at_once() {
        let samples = [
            json!({"a": 1, "list": [{"x": "y"}], "by": {"2026-01-02": {"z": true}}}),
            json!({"a": "one", "b": {"c": null}, "list": [{"w": 1.5}]}),
            json!({"b": {"c": "d"}, "by": {"2026-01-03": {"q": 1}}}),
        ];
        let mut kept = Observer::default();
        for sample in &samples {
            let mut one = Observer::default();
            one.learn(sample.to_string().as_bytes()).unwrap();
            let mut again: Observer =
                serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
            again.absorb(one).unwrap();
            kept = again;
        }
        assert_eq!(kept.samples(), 3);
        let mut at_once = Observer::default();
        for sample in &samples {
            at_once.learn(sample.to_string().as_bytes()).unwrap();
        }
        assert_eq!(kept.names, at_once.names);
        assert_eq!(kept.finish().unwrap(), at_once.finish().unwrap());
    }

    #[test]
    fn more_names_than_are_kept_are_not_absorbed() {
        let sample = |mark: &str| {
            let inner = |outer: char| {
                let names = pairs().take(64).map(|pair| (format!("{mark}{outer}{pair}"), json!(1)));
                names.collect::<Map<String, Value>>()
            };
            let outer: Map<String, Value> = ('a'..='z')
                .chain('A'..='Z')
                .map(|c| (format!("{mark}{c}"), json!(inner(c))))
                .collect();
            json!(outer).to_string()
        };
        let [mut one, mut other] = [Observer::default(), Observer::default()];
        one.learn(sample("m").as_bytes()).unwrap();
        other.learn(sample("n").as_bytes()).unwrap();
        let before = one.names;
        assert_eq!(one.absorb(other), Err(ObserveError::TooManyNames { limit: MAX_NAMES }));
        assert_eq!((one.names, one.samples), (before, 1));
        let mut same = Observer::default();
        same.learn(sample("m").as_bytes()).unwrap();
        assert_eq!(one.absorb(same), Ok(()));
    }

    /// No value is in anything that comes out, whatever the sample.
    #[test]
    fn no_value_is_kept() {
        const CANARY: &str = "canary-7d1f0b";
        let sample = json!({"name": CANARY, "list": [CANARY], "map": {CANARY: {"a": CANARY}},
            "number": 771_234_567, "deep": {"er": {"text": CANARY, "n": 771_234_567.25}}});
        let mut observer = Observer::default();
        observer.learn(sample.to_string().as_bytes()).unwrap();
        let broken = format!("{{\"{CANARY}\": \"{CANARY}\", ");
        let error = observer.learn(broken.as_bytes()).unwrap_err();
        let mut shown = format!("{observer:?} {error} {error:?}");
        shown.push_str(&format!("{:?}", observer.finish()));
        assert!(!shown.contains("7d1f0b") && !shown.contains("771234567"), "{shown}");
    }

    #[test]
    fn what_is_no_json_or_too_much_is_refused() {
        let mut observer = Observer::default();
        for bad in ["", "{", "{\"a\":1}x", "<html>", "{\"a\": nan}"] {
            let error = observer.learn(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, ObserveError::Malformed { .. }), "{bad}");
        }
        let mut observer = Observer::default();
        let mut failed = None;
        for pair in pairs() {
            let (outer, middle) = pair.split_at(1);
            let (outer, middle) = (format!("o{outer}"), format!("p{middle}"));
            let inner: Map<String, Value> =
                (b'a'..=b'z').map(|c| (format!("q{}", char::from(c)), json!(1))).collect();
            let sample = json!({outer: {middle: inner}}).to_string();
            if let Err(error) = observer.learn(sample.as_bytes()) {
                failed = Some(error);
                break;
            }
        }
        assert_eq!(failed, Some(ObserveError::TooManyNames { limit: MAX_NAMES }));
    }

    #[test]
    fn depth_is_bounded() {
        let mut sample = json!(1);
        for _ in 0..60 {
            sample = json!({"a": sample});
        }
        let learned = learned(&[json!({"b": 1, "c": sample})]);
        assert_eq!(learned.schema["properties"]["b"], json!({"type": "integer"}));
        assert!(learned.schema.to_string().matches("properties").count() <= MAX_DEPTH + 1);
    }
}

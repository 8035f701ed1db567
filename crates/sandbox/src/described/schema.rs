//! The schemas of a description as an arena: what is needed to check a value and to invent one.
//!
//! Recursion in a description is a cycle of ids. Unlike `provider::Shape`, which tells what may
//! leave, nothing that restricts values is lost here.

use super::{format::Format, pattern::Pattern};
use serde_json::Value;
use std::sync::Arc;

/// A schema's place in [`Schemas`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SchemaId(pub(super) u32);

/// The kinds of JSON values, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const NULL: Self = Self(1);
    pub(crate) const BOOLEAN: Self = Self(2);
    pub(crate) const INTEGER: Self = Self(4);
    /// Numbers with a fraction.
    pub(crate) const FRACTION: Self = Self(8);
    pub(crate) const STRING: Self = Self(16);
    pub(crate) const ARRAY: Self = Self(32);
    pub(crate) const OBJECT: Self = Self(64);
    pub(crate) const ALL: Self = Self(127);

    /// What a value is. `1.0` is an integer (JSON Schema 2020-12 §6.1.1).
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) => match number.as_f64() {
                Some(float) if !number.is_i64() && !number.is_u64() && float.fract() != 0.0 => {
                    Self::FRACTION
                }
                _ => Self::INTEGER,
            },
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// The set that a `type` names; an unknown name is no restriction.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::INTEGER.or(Self::FRACTION),
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ALL,
        }
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A member that is declared by name.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Box<str>,
    pub(crate) schema: SchemaId,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Additional {
    #[default]
    Open,
    Closed,
    Of(SchemaId),
}

/// What `discriminator` says: which member tells the alternatives apart, and how.
#[derive(Debug)]
pub(crate) struct Discriminator {
    pub(crate) member: Box<str>,
    pub(crate) mapping: Vec<(Box<str>, SchemaId)>,
}

/// Restrictions that few schemas have.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) format: Option<Format>,
    pub(crate) pattern: Option<Arc<Pattern>>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) above: Option<f64>,
    pub(crate) below: Option<f64>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) is_unique: bool,
    pub(crate) min_members: Option<u64>,
    pub(crate) max_members: Option<u64>,
    pub(crate) names: Option<SchemaId>,
    /// A text that the description gives, kept where it may be hard to invent one.
    pub(crate) example: Option<Box<str>>,
    /// The value that is meant where nothing is given.
    pub(crate) default: Option<Value>,
}

#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) kinds: Kinds,
    /// A null passes although the kinds do not say so: `nullable` where OpenAPI 3.0.3 gives it no
    /// effect. Callers are allowed more than what is answered.
    pub(crate) is_nullable: bool,
    pub(crate) is_read_only: bool,
    pub(crate) is_write_only: bool,
    pub(crate) reference: Option<SchemaId>,
    pub(crate) all_of: Box<[SchemaId]>,
    pub(crate) any_of: Box<[SchemaId]>,
    pub(crate) one_of: Box<[SchemaId]>,
    pub(crate) not: Option<SchemaId>,
    pub(crate) members: Box<[Member]>,
    pub(crate) required: Box<[Box<str>]>,
    pub(crate) additional: Additional,
    pub(crate) patterns: Box<[(Arc<Pattern>, SchemaId)]>,
    pub(crate) items: Option<SchemaId>,
    pub(crate) prefix: Box<[SchemaId]>,
    pub(crate) choices: Option<Box<[Value]>>,
    pub(crate) limits: Option<Box<Limits>>,
    pub(crate) discriminator: Option<Box<Discriminator>>,
}

impl Schema {
    pub(crate) fn any() -> Self {
        Self {
            kinds: Kinds::ALL,
            is_nullable: false,
            is_read_only: false,
            is_write_only: false,
            reference: None,
            all_of: Box::default(),
            any_of: Box::default(),
            one_of: Box::default(),
            not: None,
            members: Box::default(),
            required: Box::default(),
            additional: Additional::Open,
            patterns: Box::default(),
            items: None,
            prefix: Box::default(),
            choices: None,
            limits: None,
            discriminator: None,
        }
    }

    pub(crate) fn member(&self, name: &str) -> Option<SchemaId> {
        self.members.iter().find(|member| &*member.name == name).map(|member| member.schema)
    }

    /// Schemas for a member of this name: its own, and those whose pattern fits.
    pub(crate) fn schemas_of(&self, name: &str) -> impl Iterator<Item = SchemaId> {
        let by_pattern = self.patterns.iter().filter(|(pattern, _)| pattern.is_in(name));
        self.member(name).into_iter().chain(by_pattern.map(|(_, schema)| *schema))
    }
}

/// All schemas of a description. Id 0 is the schema that says nothing.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(super) arena: Vec<Schema>,
    pub(super) any: Schema,
}

/// The most references and `allOf` that are followed for a flag.
const MAX_HOPS: usize = 32;

impl Schemas {
    pub(crate) fn get(&self, id: SchemaId) -> &Schema {
        self.arena.get(id.0 as usize).unwrap_or(&self.any)
    }

    /// Whether a member is only for answers, or only for requests: said on it, where its reference
    /// leads, or in a part of its `allOf`.
    pub(crate) fn is_marked(&self, id: SchemaId, mark: fn(&Schema) -> bool) -> bool {
        let mut waiting = vec![id];
        let mut hops = 0;
        while let Some(id) = waiting.pop() {
            let schema = self.get(id);
            if mark(schema) {
                return true;
            }
            hops += 1;
            if hops > MAX_HOPS {
                return false;
            }
            waiting.extend(schema.reference);
            waiting.extend(schema.all_of.iter());
        }
        false
    }

    pub(crate) fn is_write_only(&self, id: SchemaId) -> bool {
        self.is_marked(id, |schema| schema.is_write_only)
    }

    pub(crate) fn is_read_only(&self, id: SchemaId) -> bool {
        self.is_marked(id, |schema| schema.is_read_only)
    }
}

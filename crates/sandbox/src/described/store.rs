//! What callers changed. Records that nobody touched are invented anew each time and cost nothing.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// Memory for what was written, roughly; more is refused.
pub(crate) const MAX_BYTES: usize = 32 << 20;
/// What a change costs beside its members.
const CHANGE_BYTES: usize = 200;

/// A record as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) members: Map<String, Value>,
    /// Created or replaced: what was not written is not invented beyond what is required.
    pub(crate) is_bare: bool,
}

#[derive(Debug)]
enum Change {
    Written(Written),
    Deleted,
}

/// The changes of one collection, or of one part of it: `/teams/1/members` is not `/teams/2/members`.
#[derive(Debug, Default)]
struct Space {
    changes: HashMap<String, Change>,
    /// Created records by their number, which only grows.
    created: BTreeMap<u64, String>,
    next: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    spaces: HashMap<String, Space>,
    bytes: usize,
    /// Grows with each change: what was answered before may be old.
    version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox holds as much as it keeps")]
pub(crate) struct Full;

/// What is known of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State<'s> {
    Untouched,
    Written(&'s Written),
    Deleted,
}

impl Store {
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn reset(&mut self) {
        *self = Self { version: self.version + 1, ..Self::default() };
    }

    pub(crate) fn state(&self, space: &str, id: &str) -> State<'_> {
        match self.spaces.get(space).and_then(|space| space.changes.get(id)) {
            None => State::Untouched,
            Some(Change::Written(written)) => State::Written(written),
            Some(Change::Deleted) => State::Deleted,
        }
    }

    /// Created records that still exist, by number.
    pub(crate) fn created(&self, space: &str) -> impl Iterator<Item = (u64, &str)> {
        let space = self.spaces.get(space);
        space
            .into_iter()
            .flat_map(|one| one.created.iter().map(|(number, id)| (*number, id.as_str())))
    }

    /// The number of the next created record.
    pub(crate) fn next_number(&self, space: &str) -> u64 {
        self.spaces.get(space).map_or(0, |space| space.next)
    }

    pub(crate) fn create(&mut self, space: &str, id: &str, written: Written) -> Result<(), Full> {
        self.change(space, id, Change::Written(written))?;
        let space = self.spaces.entry(space.to_owned()).or_default();
        space.created.insert(space.next, id.to_owned());
        space.next += 1;
        Ok(())
    }

    pub(crate) fn write(&mut self, space: &str, id: &str, written: Written) -> Result<(), Full> {
        self.change(space, id, Change::Written(written))
    }

    /// A created record goes without trace, its number stays used; a seeded one is remembered as gone.
    pub(crate) fn delete(&mut self, space: &str, id: &str) -> Result<(), Full> {
        let known = self.spaces.get_mut(space);
        let number = known.and_then(|space| {
            let number =
                space.created.iter().find(|(_, one)| *one == id).map(|(number, _)| *number);
            number.inspect(|number| {
                space.created.remove(number);
            })
        });
        if number.is_none() {
            return self.change(space, id, Change::Deleted);
        }
        self.version += 1;
        if let Some(space) = self.spaces.get_mut(space)
            && let Some(old) = space.changes.remove(id)
        {
            self.bytes = self.bytes.saturating_sub(cost(id, &old));
        }
        Ok(())
    }

    fn change(&mut self, space: &str, id: &str, change: Change) -> Result<(), Full> {
        let known = self.spaces.get(space).and_then(|space| space.changes.get(id));
        let old = known.map_or(0, |change| cost(id, change));
        let bytes = self.bytes.saturating_sub(old).saturating_add(cost(id, &change));
        let bytes = if self.spaces.contains_key(space) {
            bytes
        } else {
            bytes + space.len() + CHANGE_BYTES
        };
        if bytes > MAX_BYTES {
            return Err(Full);
        }
        self.bytes = bytes;
        self.version += 1;
        self.spaces.entry(space.to_owned()).or_default().changes.insert(id.to_owned(), change);
        Ok(())
    }
}

fn cost(id: &str, change: &Change) -> usize {
    let members = match change {
        Change::Written(written) => {
            written.members.iter().map(|(name, value)| name.len() + weight(value)).sum()
        }
        Change::Deleted => 0,
    };
    CHANGE_BYTES + 2 * id.len() + members
}

/// Rough memory of a value. Its depth was bounded when it was read.
fn weight(value: &Value) -> usize {
    64 + match value {
        Value::String(text) => text.len(),
        Value::Array(elements) => elements.iter().map(weight).sum(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| 64 + name.len() + weight(value)).sum()
        }
        _ => 0,
    }
}

/// JSON Merge Patch (RFC 7396), but for null, which is kept: it says that a member was cleared.
pub(crate) fn merge(into: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(value: Value) -> Written {
        let Value::Object(members) = value else { panic!() };
        Written { members, is_bare: true }
    }

    #[test]
    fn what_is_deleted_makes_room() {
        let mut store = Store::default();
        let big = json!({ "text": "x".repeat(1 << 20) });
        for round in 0..100 {
            let id = round.to_string();
            store.create("xs", &id, written(big.clone())).unwrap();
            store.delete("xs", &id).unwrap();
            assert_eq!(store.state("xs", &id), State::Untouched);
        }
        let mut count = 0;
        while store.create("xs", &format!("y{count}"), written(big.clone())).is_ok() {
            count += 1;
            assert!(count < 40, "memory is bounded");
        }
        assert!(count >= 30);
        assert_eq!(store.created("xs").count(), count);
        store.reset();
        assert!(store.create("xs", "z", written(big)).is_ok());
    }

    #[test]
    fn a_patch_merges_objects_and_keeps_null() {
        let mut old = written(json!({ "a": { "b": 1, "c": 2 }, "d": [1], "e": 1 })).members;
        merge(&mut old, written(json!({ "a": { "b": 3 }, "d": [2], "e": null })).members);
        assert_eq!(Value::Object(old), json!({ "a": { "b": 3, "c": 2 }, "d": [2], "e": null }));
    }
}

//! One of several: `oneOf`, `anyOf`, and parents that tell their children apart.

use super::{Extent, Flat, Group, Inventor, Spot};
use crate::described::{
    check::{Direction, holds},
    draw::Key,
    schema::{Kinds, SchemaId},
};
use serde_json::{Map, Value};

/// Parents and children of children that are told apart.
const MAX_GENERATIONS: usize = 3;
/// What a child that is tried costs of the attempts: a parent without one is a value too.
const INHERITANCE_COST: usize = 10;
/// Values that fit several alternatives, of which one is tried to be set apart.
const MAX_NEAR: usize = 12;
/// Members that are tried for it.
const MAX_SPOILED: usize = 48;

impl Inventor<'_> {
    pub(super) fn alternatives(&self, (owner, is_one_of): Group) -> Vec<SchemaId> {
        let schema = self.schemas.get(owner);
        let list = if is_one_of { &schema.one_of } else { &schema.any_of };
        let is_null = |id: &SchemaId| self.schemas.get(*id).kinds == Kinds::NULL;
        // Nothing is the last choice.
        let mut all: Vec<SchemaId> = list.iter().copied().filter(|id| !is_null(id)).collect();
        all.extend(list.iter().copied().filter(is_null));
        all
    }

    /// One of the alternatives, with what was written put back where the choice replaced it and the
    /// whole allows it.
    pub(super) fn choose(
        &mut self,
        ids: &[SchemaId],
        resolved: &[Group],
        group: Group,
        told: &[(String, Value)],
        spot: Spot<'_>,
    ) -> Value {
        let mut found = self.choose_one(ids, resolved, group, told, spot);
        let (Some(written), true) = (spot.written.and_then(Value::as_object), found.is_object())
        else {
            return found;
        };
        for (name, value) in written.iter().filter(|(_, value)| !value.is_object()) {
            let is_other = found.get(name).is_some_and(|shown| shown != value);
            if is_other
                && let Some(old) =
                    found.get_mut(name).map(|old| std::mem::replace(old, value.clone()))
                && !self.holds(ids, &found)
                && let Some(new) = found.get_mut(name)
            {
                *new = old;
            }
        }
        found
    }

    /// Tries alternatives until one holds.
    fn choose_one(
        &mut self,
        ids: &[SchemaId],
        resolved: &[Group],
        group: Group,
        told: &[(String, Value)],
        spot: Spot<'_>,
    ) -> Value {
        let mut resolved = resolved.to_vec();
        resolved.push(group);
        let mut alternatives = self.alternatives(group);
        if let Some(written) = spot.written {
            // The one that the caller meant goes first.
            let fits = |id: &SchemaId| holds(self.schemas, &[*id], written, Direction::Request);
            let meant = self.told_by(group.0, written);
            let is_meant = |id: &SchemaId| {
                meant.is_some_and(|meant| {
                    meant == *id || self.schemas.get(*id).reference == Some(meant)
                })
            };
            let at = alternatives.iter().position(is_meant);
            if let Some(at) = at.or_else(|| alternatives.iter().position(fits)) {
                alternatives.rotate_left(at);
            }
        }
        let mut best = Value::Null;
        let extent = self.extent;
        let mut is_first = true;
        for (again, tried) in [(false, extent), (false, Extent::Least), (true, extent)] {
            let mut near: Vec<(SchemaId, Value)> = Vec::new();
            for chosen in &alternatives {
                // One try is always made; without attempts left it is the last.
                if self.attempts == 0 && !is_first {
                    return self.set_apart(ids, &alternatives, near).unwrap_or(best);
                }
                is_first = false;
                self.attempts = self.attempts.saturating_sub(1);
                let mut all = ids.to_vec();
                all.push(*chosen);
                let mut told = told.to_vec();
                told.extend(self.tell(group.0, *chosen));
                let key = if again { spot.key.at("again") } else { spot.key };
                let open = self.open.len();
                self.extent = tried;
                let found = self.value(&all, &resolved, &told, Spot { key, ..spot });
                self.extent = extent;
                self.open.truncate(open);
                if self.holds(ids, &found) {
                    return found;
                }
                if group.1 && self.holds(&[*chosen], &found) {
                    near.push((*chosen, found.clone()));
                }
                if best.is_null() {
                    best = found;
                }
            }
            if let Some(found) = self.set_apart(ids, &alternatives, near) {
                return found;
            }
        }
        best
    }

    /// A value that fits several of `oneOf` is given members that only one of them allows: where
    /// alternatives are open objects, nothing else tells them apart.
    pub(super) fn set_apart(
        &self,
        ids: &[SchemaId],
        alternatives: &[SchemaId],
        near: Vec<(SchemaId, Value)>,
    ) -> Option<Value> {
        let fits = |id: SchemaId, value: &Value| self.holds(&[id], value);
        near.into_iter().take(MAX_NEAR).find_map(|(chosen, mut value)| {
            for other in alternatives.iter().copied().filter(|other| *other != chosen) {
                if fits(other, &value) {
                    let is_kept = |changed: &Value| fits(chosen, changed);
                    value = self.spoil(&[chosen], &[other], &value, 0, &is_kept)?;
                }
            }
            self.holds(ids, &value).then_some(value)
        })
    }

    /// The value with one member, or member of a member, that `other` does not allow.
    pub(super) fn spoil(
        &self,
        chosen: &[SchemaId],
        other: &[SchemaId],
        value: &Value,
        depth: usize,
        is_kept: &dyn Fn(&Value) -> bool,
    ) -> Option<Value> {
        let wrong = [
            Value::from("sandbox"),
            Value::from(0),
            Value::from(true),
            Value::Object(Map::new()),
            Value::from(vec![0]),
        ];
        let names = self.member_names(other);
        // Members that are there already last: their values say more.
        let (there, absent): (Vec<&str>, Vec<&str>) =
            names.into_iter().partition(|name| value.get(name).is_some());
        let names: Vec<&str> = absent.into_iter().chain(there).take(MAX_SPOILED).collect();
        let with = |name: &str, inner: &Value| -> Option<Value> {
            let mut changed = value.clone();
            changed.as_object_mut()?.insert(name.to_owned(), inner.clone());
            Some(changed)
        };
        let direct = names.iter().find_map(|name| {
            wrong.iter().find_map(|wrong| {
                let changed = with(name, wrong)?;
                let is_apart = !self.holds(other, &changed);
                (is_apart && is_kept(&changed)).then_some(changed)
            })
        });
        if direct.is_some() || depth >= 2 {
            return direct;
        }
        names.into_iter().find_map(|name| {
            let (ours, theirs) = (self.below(chosen, Some(name)), self.below(other, Some(name)));
            if ours == theirs || ours.is_empty() {
                return None;
            }
            let mut inventor = Self::new(self.schemas, self.flavors, self.direction, Extent::Least);
            let inner = value.get(name).cloned().unwrap_or_else(|| {
                inventor.invent(&ours, Spot { name, ..Spot::root(Key::new(0), "") })
            });
            let is_kept_inside =
                |inner: &Value| with(name, inner).is_some_and(|changed| is_kept(&changed));
            let inner = self.spoil(&ours, &theirs, &inner, depth + 1, &is_kept_inside)?;
            with(name, &inner)
        })
    }

    /// The alternative that a written member names.
    fn told_by(&self, owner: SchemaId, written: &Value) -> Option<SchemaId> {
        let discriminator = self.schemas.get(owner).discriminator.as_ref()?;
        let told = written.get(&*discriminator.member)?.as_str()?;
        discriminator.mapping.iter().find(|(name, _)| &**name == told).map(|(_, id)| *id)
    }

    /// The member that says which alternative was chosen.
    fn tell(&self, owner: SchemaId, chosen: SchemaId) -> Option<(String, Value)> {
        let discriminator = self.schemas.get(owner).discriminator.as_ref()?;
        let target = self.schemas.get(chosen).reference.unwrap_or(chosen);
        let is_it = |id: SchemaId| id == chosen || id == target;
        let (name, _) = discriminator.mapping.iter().find(|(_, id)| is_it(*id))?;
        Some((discriminator.member.to_string(), Value::String(name.to_string())))
    }

    /// A parent that tells its children apart stands for one of them: the one that is asked for, or
    /// the first.
    pub(super) fn inherit(
        &mut self,
        ids: &[SchemaId],
        resolved: &[Group],
        mut flat: Flat,
        spot: Spot<'_>,
    ) -> Value {
        for id in flat.parts.clone() {
            let schema = self.schemas.get(id);
            let Some(discriminator) = &schema.discriminator else { continue };
            if !schema.one_of.is_empty() || !schema.any_of.is_empty() {
                continue;
            }
            let member = discriminator.member.to_string();
            if flat.told.iter().any(|(name, _)| *name == member) {
                continue;
            }
            let own = discriminator.mapping.iter().find(|(_, id)| flat.parts.contains(id));
            if let Some((name, _)) = own {
                flat.told.push((member, Value::String(name.to_string())));
                continue;
            }
            let is_closed = |id: &SchemaId| self.open.contains(id);
            let meant = spot.written.and_then(|written| self.told_by(id, written));
            let children = discriminator.mapping.iter().filter(|(_, id)| !is_closed(id));
            let chosen = children.clone().find(|(_, id)| Some(*id) == meant);
            if let Some((name, child)) = chosen.or_else(|| children.clone().next())
                && self.attempts > 0
                && flat.told.len() < MAX_GENERATIONS
            {
                self.attempts = self.attempts.saturating_sub(INHERITANCE_COST);
                let mut all = ids.to_vec();
                all.push(*child);
                let mut told = flat.told.clone();
                told.push((member, Value::String(name.to_string())));
                let open = self.open.len();
                let found = self.value(&all, resolved, &told, spot);
                self.open.truncate(open);
                if self.holds(ids, &found) {
                    return found;
                }
            }
        }
        self.plain(ids, &flat, spot)
    }
}

//! Elements of a grant, each in two of its states: what one lets through is its own, whatever another
//! element of the same object has.

use super::{Allow, ResolvedGrant};
use provider::{Field, FieldKind, Provider, select::wider};
use std::collections::BTreeSet;

/// An element as it was, and as it is; one that is new or gone has one state alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'g> {
    pub before: Option<&'g Allow>,
    pub after: Option<&'g Allow>,
}

/// Whether they are about the same calls.
fn is_same_place(one: &Allow, other: &Allow) -> bool {
    one.object == other.object
        && one.actions == other.actions
        && one.params == other.params
        && one.headers == other.headers
        && one.operations == other.operations
}

/// Each element once. Of several about the same calls, those that have the most in common come together.
pub(super) fn pairs<'g>(before: &'g ResolvedGrant, after: &'g ResolvedGrant) -> Vec<Pair<'g>> {
    let mut left: Vec<&Allow> = before.allow.iter().collect();
    let mut pairs = Vec::new();
    for now in &after.allow {
        let in_common =
            |was: &Allow| was.fields.iter().filter(|field| now.fields.contains(field)).count();
        let places = left.iter().enumerate().filter(|(_, was)| is_same_place(was, now));
        // The first of equals.
        let found = places.rev().max_by_key(|(_, was)| in_common(was)).map(|(place, _)| place);
        let before = found.map(|place| left.remove(place));
        pairs.push(Pair { before, after: Some(now) });
    }
    pairs.extend(left.into_iter().map(|was| Pair { before: Some(was), after: None }));
    pairs
}

impl Pair<'_> {
    /// Fields that the first state has and the second has not.
    fn only_in<'f>(one: Option<&'f Allow>, other: Option<&Allow>) -> Vec<&'f str> {
        let other: BTreeSet<&String> = other.iter().flat_map(|allow| &allow.fields).collect();
        let own = one.map(|allow| allow.fields.iter()).into_iter().flatten();
        own.filter(|field| !other.contains(field)).map(String::as_str).collect()
    }

    pub(super) fn opened(&self) -> Vec<&str> {
        Self::only_in(self.after, self.before)
    }

    pub(super) fn closed(&self) -> Vec<&str> {
        Self::only_in(self.before, self.after)
    }

    /// Whether a second person must look at what it opens.
    pub(super) fn opens_sensitive(&self, model: Option<&Provider>, after: &ResolvedGrant) -> bool {
        let Some(now) = self.after else { return false };
        let object = now.object.as_deref().unwrap_or_default();
        let is_new = self.before.is_none();
        let opens = self.opened();
        opens.iter().any(|field| {
            field.ends_with('*') || is_sensitive(model, object, field)
        })
            // What is let through whole, or beside an object by a way that is new.
            || is_new && (now.object.is_none() || holds_others(now))
            || self.before.is_some_and(|was| leads_further(was, now))
            || !opens.is_empty() && is_part_of_sensitive(model, after, object)
    }
}

/// Whether what an element reaches has other objects in it.
fn holds_others(allow: &Allow) -> bool {
    allow.beside.values().flatten().any(|term| term.starts_with("the object "))
}

/// Whether an element that stayed reaches more operations, lets more pass beside its object, or has a
/// field that leads to more.
fn leads_further(was: &Allow, now: &Allow) -> bool {
    let is_wider = |field: &&String| {
        let (before, after) = (was.kinds_of(field), now.kinds_of(field));
        was.fields.contains(field) && before != after && !wider(&before, &after).is_empty()
    };
    let grows = |before: Option<&BTreeSet<String>>, after: &BTreeSet<String>| {
        after.iter().any(|one| before.is_none_or(|before| !before.contains(one)))
    };
    grows(Some(&was.reached), &now.reached)
        || now.beside.iter().any(|(at, terms)| grows(was.beside.get(at), terms))
        || now.terms.iter().any(|(at, terms)| grows(was.terms.get(at), terms))
        || now.fields.iter().any(|field| is_wider(&field))
}

fn is_sensitive(model: Option<&Provider>, object: &str, field: &str) -> bool {
    let Some((_, object)) = model.and_then(|model| model.object_by_name(object)) else {
        return true;
    };
    let found = object.fields.iter().find(|one| one.path == field);
    // What is not declared here, or no scalar, leads to what has labels of its own.
    found
        .is_none_or(|one| !matches!(one.kind, FieldKind::Scalar { .. }) || has_sensitive_label(one))
}

/// Also where an overlay says that it is none: that was one person's word.
fn has_sensitive_label(field: &Field) -> bool {
    let label = field.label.as_ref();
    label.is_some_and(|label| label.is_sensitive || label.lowered_from.is_some())
}

/// Whether an object is part of another by a granted field whose label is sensitive: then all of it is.
fn is_part_of_sensitive(model: Option<&Provider>, grant: &ResolvedGrant, object: &str) -> bool {
    let Some(model) = model else { return true };
    let Some((own, _)) = model.object_by_name(object) else { return true };
    grant.allow.iter().any(|allow| {
        let holder = allow.object.as_deref().and_then(|name| model.object_by_name(name));
        let fields = holder.map_or(&[][..], |(_, object)| &object.fields);
        fields.iter().any(|field| {
            let leads_to_own = match &field.kind {
                FieldKind::Named(id) => *id == own,
                FieldKind::OneOfNamed(ids) => ids.contains(&own),
                _ => false,
            };
            leads_to_own && has_sensitive_label(field) && allow.fields.contains(&field.path)
        })
    })
}

//! Operations whose bodies say what else is to be done: batches of calls, queries, patches. Their
//! members are no fields of an object, so that no grant of fields can judge them.

use crate::{
    envelope::shape,
    model::{Additional, ObjectShape, Opaque, Operation, Shape, ShapeId},
    operations::{flat, is_json},
};
use std::collections::HashSet;

const PATCH: &str = "application/json-patch+json";

/// How deep in a request instructions are looked for.
const MAX_DEPTH: usize = 6;

/// What a caller could say by an operation beside its object's fields.
pub(crate) fn judge(shapes: &[Shape], operation: &Operation) -> Option<Opaque> {
    let last = operation.path.last_literal().unwrap_or_default();
    if last.eq_ignore_ascii_case("$batch") {
        return Some(Opaque::Batch);
    }
    if matches!(flat(last).as_str(), "graphql" | "gql") {
        return Some(Opaque::Query);
    }
    let request = operation.request.as_ref()?;
    let takes = |media: &str| request.media.contains(media);
    match () {
        () if takes("application/graphql") || takes("application/graphql+json") => {
            Some(Opaque::Query)
        }
        () if takes("multipart/mixed") || takes("application/http") => Some(Opaque::Batch),
        // Where it is one of several kinds, the schema is that of another.
        () if takes(PATCH) && !request.media.iter().any(|one| one != PATCH && is_json(one)) => {
            Some(Opaque::Patch)
        }
        () => in_body(shapes, request.shape?, false, 0),
    }
}

/// Looks into lists and objects. What only keeps calls for later (a workflow, a hook) is found too: it
/// lets a caller say where somebody else's credentials go.
fn in_body(shapes: &[Shape], id: ShapeId, is_listed: bool, depth: usize) -> Option<Opaque> {
    if depth > MAX_DEPTH {
        return None;
    }
    let further = |next: ShapeId| in_body(shapes, next, is_listed, depth + 1);
    match shape(shapes, id) {
        Shape::Array { items } => in_body(shapes, *items, true, depth + 1),
        Shape::Union(all) => all.iter().find_map(|one| further(*one)),
        Shape::Object(object) => instruction(shapes, object, is_listed).or_else(|| {
            let mut members = object.members.values().map(|member| member.shape);
            match object.additional {
                Additional::Map(values) => in_body(shapes, values, true, depth + 1),
                Additional::Closed | Additional::FreeForm => None,
            }
            .or_else(|| members.find_map(further))
        }),
        Shape::Untyped | Shape::Scalar { .. } => None,
    }
}

/// Whether these members together tell a server what to do, whatever they are within.
fn instruction(shapes: &[Shape], object: &ObjectShape, is_listed: bool) -> Option<Opaque> {
    const METHODS: [&str; 4] = ["method", "httpmethod", "verb", "httpverb"];
    const PLACES: [&str; 9] = [
        "url",
        "uri",
        "path",
        "relativepath",
        "relativeurl",
        "relativeuri",
        "href",
        "endpoint",
        "requesturl",
    ];
    // What a call has, and somebody's address for call-backs has not.
    const PARTS: [&str; 8] =
        ["body", "data", "headers", "payload", "params", "parameters", "options", "input"];
    let names: HashSet<String> = object
        .members
        .iter()
        .filter(|(_, member)| may_be_scalar(shapes, member.shape))
        .map(|(name, _)| flat(name))
        .collect();
    let has_any = |wanted: &[&str]| wanted.iter().any(|name| names.contains(*name));
    let all: HashSet<String> = object.members.keys().map(|name| flat(name)).collect();
    let is_told = |name: &str| all.contains(name);
    match () {
        () if has_any(&METHODS)
            && has_any(&PLACES)
            && (is_listed || PARTS.iter().any(|name| is_told(name))) =>
        {
            Some(Opaque::Batch)
        }
        () if names.contains("jsonrpc") && names.contains("method") => Some(Opaque::Batch),
        () if names.contains("query") && (is_told("variables") || is_told("operationname")) => {
            Some(Opaque::Query)
        }
        // JSON Patch and SCIM by paths; JSON:API's atomic operations by references and data.
        () if names.contains("op")
            && ["path", "from", "href", "ref", "data"].iter().any(|name| is_told(name)) =>
        {
            Some(Opaque::Patch)
        }
        () => None,
    }
}

fn may_be_scalar(shapes: &[Shape], id: ShapeId) -> bool {
    match shape(shapes, id) {
        Shape::Scalar { .. } | Shape::Untyped => true,
        Shape::Union(all) => all
            .iter()
            .any(|one| matches!(shape(shapes, *one), Shape::Scalar { .. } | Shape::Untyped)),
        Shape::Array { .. } | Shape::Object(_) => false,
    }
}

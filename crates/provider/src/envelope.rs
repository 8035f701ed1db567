//! Envelopes: containers around the object that an operation is about.
//!
//! An envelope has exactly one member that is an object, an array of objects or a map of objects
//! besides errors, warnings, meta, links and paging, and all its scalars are paging or status.

use crate::{
    model::{Additional, Envelope, KeptMember, ObjectShape, ScalarKind, Shape, ShapeId, Step},
    operations::flat,
};

/// The most containers that are stepped through.
const MAX_STEPS: usize = 8;
/// How deep paging is looked for within `meta`, `links` and their like.
const MAX_KEPT_DEPTH: usize = 3;

/// The way from a body to its object.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) envelope: Envelope,
    /// What stands at its end.
    pub(crate) shape: ShapeId,
}

/// Steps in while there is an envelope or an array.
pub(crate) fn unwrap(shapes: &[Shape], root: ShapeId) -> Way {
    let mut way = Way { envelope: Envelope::default(), shape: root };
    while way.envelope.steps.len() < MAX_STEPS {
        match shape(shapes, way.shape) {
            Shape::Array { items } => {
                way.envelope.steps.push(Step::Elements);
                way.shape = *items;
            }
            Shape::Object(object) => {
                let Some((name, inner)) = payload(shapes, object) else { break };
                let prefix = way.envelope.steps.clone();
                keep(shapes, object, &prefix, 0, &mut way.envelope.kept);
                way.envelope.steps.push(Step::Member(name));
                way.shape = inner;
                if let Shape::Object(map) = shape(shapes, inner)
                    && map.members.is_empty()
                    && let Additional::Map(values) = map.additional
                {
                    way.envelope.steps.push(Step::AnyMember);
                    way.shape = values;
                }
            }
            _ => break,
        }
    }
    way
}

pub(crate) fn shape(shapes: &[Shape], id: ShapeId) -> &Shape {
    static UNTYPED: Shape = Shape::Untyped;
    shapes.get(id.0 as usize).unwrap_or(&UNTYPED)
}

/// The one member that an envelope is around.
fn payload(shapes: &[Shape], object: &ObjectShape) -> Option<(String, ShapeId)> {
    if !matches!(object.additional, Additional::Closed) {
        return None;
    }
    let mut found = None;
    for (name, member) in &object.members {
        if is_side_member(name) {
            continue;
        }
        if is_object_like(shapes, member.shape, 0) {
            if found.replace((name.clone(), member.shape)).is_some() {
                return None;
            }
        } else if !is_scalar(shapes, member.shape) || aside(shapes, name, member.shape).is_none() {
            return None;
        }
    }
    found
}

/// An object, an array of objects or a map of objects.
fn is_object_like(shapes: &[Shape], id: ShapeId, depth: usize) -> bool {
    if depth > MAX_STEPS {
        return false;
    }
    match shape(shapes, id) {
        Shape::Object(object) => match object.additional {
            Additional::Map(values) if object.members.is_empty() => {
                is_object_like(shapes, values, depth + 1)
            }
            // An object of which nothing is declared is one all the same.
            Additional::FreeForm => true,
            // An object that declares nothing at all is one too.
            _ => true,
        },
        Shape::Array { items } => is_object_like(shapes, *items, depth + 1),
        Shape::Union(all) => {
            let mut telling =
                all.iter().filter(|one| !matches!(shape(shapes, **one), Shape::Untyped)).peekable();
            telling.peek().is_some() && telling.all(|one| is_object_like(shapes, *one, depth + 1))
        }
        Shape::Untyped | Shape::Scalar { .. } => false,
    }
}

fn is_scalar(shapes: &[Shape], id: ShapeId) -> bool {
    match shape(shapes, id) {
        Shape::Scalar { .. } => true,
        Shape::Union(all) => {
            all.iter().all(|one| matches!(shape(shapes, *one), Shape::Scalar { .. }))
        }
        _ => false,
    }
}

/// Members beside the payload that may be of any shape.
fn is_side_member(name: &str) -> bool {
    const NAMES: [&str; 28] = [
        "error",
        "errors",
        "warning",
        "warnings",
        "meta",
        "metadata",
        "link",
        "links",
        "paging",
        "pagination",
        "pageinfo",
        "pageinformation",
        "responsemetadata",
        "cursors",
        "cursor",
        "nextlink",
        "messages",
        "notices",
        "pagemetadata",
        "listmetadata",
        "paginationinfo",
        "paginationmetadata",
        "resultinfo",
        "listinfo",
        "errorinfo",
        "errordetails",
        "resultset",
        "raw",
    ];
    NAMES.contains(&flat(name).as_str())
}

fn is_error_member(name: &str) -> bool {
    let flat = flat(name);
    ["error", "warning", "message", "notice"].iter().any(|word| flat.starts_with(word))
}

/// Schemas that describe failures, by their names.
pub(crate) fn is_error_schema(name: &str) -> bool {
    let flat = flat(name);
    ["error", "errors", "errorresponse", "fault", "problem", "problemdetails", "exception"]
        .iter()
        .any(|word| flat.ends_with(word))
}

/// A scalar beside the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aside {
    /// Paging or status: kept.
    Kept,
    /// Speaks of the call, but what it holds could be anything: dropped unless the overlay keeps
    /// it.
    Dropped,
}

/// Scalars that speak of the answer and not of the object. `None`: the object's own.
fn aside(shapes: &[Shape], name: &str, id: ShapeId) -> Option<Aside> {
    const KEPT: [&str; 48] = [
        "ok",
        "status",
        "statuscode",
        "success",
        "count",
        "counts",
        "next",
        "previous",
        "prev",
        "page",
        "pages",
        "pagesize",
        "pagenumber",
        "pagecount",
        "pagelimit",
        "pagetoken",
        "perpage",
        "limit",
        "offset",
        "skip",
        "take",
        "startat",
        "startindex",
        "cursor",
        "hasmore",
        "hasnext",
        "hasnextpage",
        "hasprevious",
        "hasprev",
        "haspreviouspage",
        "moreitems",
        "islast",
        "isfirst",
        "islastpage",
        "requestid",
        "resultcount",
        "itemsperpage",
        "numresults",
        "numpages",
        "lastpage",
        "firstpage",
        "currentpage",
        "numberofelements",
        "synctoken",
        "pagecursor",
        "nextpagetoken",
        "currentoffset",
        "resultsperpage",
    ];
    const BEGINNINGS: [&str; 5] = ["total", "nextpage", "previouspage", "firstpage", "lastpage"];
    const ENDINGS: [&str; 9] = [
        "cursor",
        "nextlink",
        "nexttoken",
        "nexturl",
        "nexturi",
        "pagetoken",
        "prevurl",
        "previousurl",
        "previousuri",
    ];
    // Paging where they are numbers; as text they could be people or dates.
    const NUMBERS: [&str; 9] =
        ["from", "to", "start", "end", "first", "last", "size", "more", "empty"];
    const DROPPED: [&str; 12] = [
        "code",
        "message",
        "msg",
        "object",
        "kind",
        "type",
        "uri",
        "url",
        "service",
        "resource",
        "operation",
        "self",
    ];
    let flat = flat(name);
    if is_error_member(name) {
        return Some(Aside::Dropped);
    }
    if KEPT.contains(&flat.as_str())
        || BEGINNINGS.iter().any(|word| flat.starts_with(word))
        || ENDINGS.iter().any(|word| flat.ends_with(word))
    {
        return Some(Aside::Kept);
    }
    if NUMBERS.contains(&flat.as_str()) {
        return if !may_be_text(shapes, id) {
            Some(Aside::Kept)
        } else if matches!(shape(shapes, id), Shape::Scalar { kind: ScalarKind::Date, .. }) {
            // The range that a report was asked for.
            Some(Aside::Dropped)
        } else {
            None
        };
    }
    DROPPED.contains(&flat.as_str()).then_some(Aside::Dropped)
}

/// Recognised paging and status members beside the payload, also within `meta` and `links`.
fn keep(
    shapes: &[Shape],
    object: &ObjectShape,
    prefix: &[Step],
    depth: usize,
    kept: &mut Vec<KeptMember>,
) {
    for (name, member) in &object.members {
        let mut path = prefix.to_vec();
        path.push(Step::Member(name.clone()));
        if is_scalar(shapes, member.shape) {
            let is_link = depth > 0 && is_link_name(name);
            if is_link || aside(shapes, name, member.shape) == Some(Aside::Kept) {
                // Whatever its name: what looks like a cursor with one provider is a URL with
                // another, and carries the credential.
                let is_url = may_be_text(shapes, member.shape);
                kept.push(KeptMember { path, is_url });
            }
        } else if depth < MAX_KEPT_DEPTH
            && (depth == 0 && is_side_member(name)
                || depth > 0 && is_link_name(name)
                || depth > 0 && is_side_member(name))
            && !is_error_member(name)
            && let Shape::Object(inner) = shape(shapes, member.shape)
        {
            keep(shapes, inner, &path, depth + 1, kept);
        }
    }
}

/// Links to other pages: their text is a URL that has to lead to the gateway.
pub(crate) fn is_link_name(name: &str) -> bool {
    const NAMES: [&str; 9] =
        ["next", "previous", "prev", "first", "last", "self", "href", "url", "uri"];
    const ENDINGS: [&str; 4] = ["url", "uri", "link", "href"];
    let flat = flat(name);
    NAMES.contains(&flat.as_str()) || ENDINGS.iter().any(|end| flat.ends_with(end))
}

fn may_be_text(shapes: &[Shape], id: ShapeId) -> bool {
    match shape(shapes, id) {
        Shape::Scalar { kind, .. } => {
            !matches!(kind, ScalarKind::Integer | ScalarKind::Number | ScalarKind::Boolean)
        }
        Shape::Union(all) => all.iter().any(|one| may_be_text(shapes, *one)),
        _ => false,
    }
}

/// Whether an object tells no more than the id or place of something.
pub(crate) fn is_thin(shapes: &[Shape], id: ShapeId) -> bool {
    let Shape::Object(object) = shape(shapes, id) else { return false };
    !object.members.is_empty()
        && object.additional == Additional::Closed
        && object.members.iter().all(|(name, member)| {
            let flat = flat(name);
            let names = ["type", "rev", "version", "etag", "key", "success", "status", "ok"];
            is_scalar(shapes, member.shape)
                && (flat.ends_with("id") || is_link_name(name) || names.contains(&flat.as_str()))
        })
}

/// Whether an object only says how the call went: it is no operation's object.
pub(crate) fn is_status_only(shapes: &[Shape], id: ShapeId) -> bool {
    let Shape::Object(object) = shape(shapes, id) else { return false };
    !object.members.is_empty()
        && object.members.iter().all(|(name, member)| {
            is_error_member(name)
                || is_scalar(shapes, member.shape) && aside(shapes, name, member.shape).is_some()
        })
}

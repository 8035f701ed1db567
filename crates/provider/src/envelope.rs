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
#[derive(Debug, Default)]
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
                    && map.object.is_none()
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
        } else if !is_scalar(shapes, member.shape) || !is_paging_or_status(name) {
            return None;
        }
    }
    found
}

/// An object, an array of objects or a map of objects, that declares something.
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
            _ => !object.members.is_empty(),
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
    const NAMES: [&str; 27] = [
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
    ];
    NAMES.contains(&flat(name).as_str())
}

fn is_error_member(name: &str) -> bool {
    let flat = flat(name);
    ["error", "warning", "message", "notice"].iter().any(|word| flat.starts_with(word))
}

/// Scalars that speak of the answer and not of the object.
pub(crate) fn is_paging_or_status(name: &str) -> bool {
    const NAMES: [&str; 62] = [
        "ok",
        "status",
        "statuscode",
        "success",
        "code",
        "message",
        "msg",
        "count",
        "counts",
        "next",
        "previous",
        "prev",
        "first",
        "last",
        "self",
        "page",
        "pages",
        "pagesize",
        "pagenumber",
        "pagecount",
        "pagelimit",
        "pagetoken",
        "perpage",
        "size",
        "limit",
        "offset",
        "skip",
        "take",
        "start",
        "startat",
        "startindex",
        "end",
        "cursor",
        "hasmore",
        "hasnext",
        "hasnextpage",
        "hasprevious",
        "hasprev",
        "haspreviouspage",
        "more",
        "moreitems",
        "islast",
        "isfirst",
        "islastpage",
        "object",
        "kind",
        "type",
        "uri",
        "url",
        "requestid",
        "resultcount",
        "itemsperpage",
        "numresults",
        "numpages",
        "lastpage",
        "firstpage",
        "currentpage",
        "numberofelements",
        "empty",
        "synctoken",
        "from",
        "to",
    ];
    const BEGINNINGS: [&str; 5] = ["total", "nextpage", "previouspage", "firstpage", "lastpage"];
    const ENDINGS: [&str; 7] =
        ["cursor", "nextlink", "nexttoken", "nexturl", "nexturi", "pagetoken", "prevurl"];
    let flat = flat(name);
    NAMES.contains(&flat.as_str())
        || BEGINNINGS.iter().any(|word| flat.starts_with(word))
        || ENDINGS.iter().any(|word| flat.ends_with(word))
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
            // A message may repeat what it complains about.
            if is_paging_or_status(name) && !is_error_member(name) && flat(name) != "msg" {
                kept.push(KeptMember { path, is_url: may_be_url(shapes, member.shape) });
            }
        } else if depth < MAX_KEPT_DEPTH
            && (depth > 0 || is_side_member(name))
            && !is_error_member(name)
            && let Shape::Object(inner) = shape(shapes, member.shape)
        {
            keep(shapes, inner, &path, depth + 1, kept);
        }
    }
}

/// Any text may be a URL; what is none passes unchanged.
fn may_be_url(shapes: &[Shape], id: ShapeId) -> bool {
    match shape(shapes, id) {
        Shape::Scalar { kind, .. } => matches!(kind, ScalarKind::String | ScalarKind::Mixed),
        Shape::Union(all) => all.iter().any(|one| may_be_url(shapes, *one)),
        _ => false,
    }
}

/// Whether an object only says how the call went: it is no operation's object.
pub(crate) fn is_status_only(shapes: &[Shape], id: ShapeId) -> bool {
    match shape(shapes, id) {
        Shape::Object(object) => {
            !object.members.is_empty()
                && object.members.iter().all(|(name, member)| {
                    is_paging_or_status(name) && is_scalar(shapes, member.shape)
                        || is_error_member(name)
                })
        }
        _ => false,
    }
}

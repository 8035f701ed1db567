//! Envelopes: containers around the object that an operation is about.
//!
//! An envelope has exactly one member that is an object, an array of objects or a map of objects
//! besides errors, warnings, meta, links and paging, and all its scalars are paging or status.
//! Around a single object nothing pages: there what is called so is data. Nor does anything page where
//! callers cannot ask for a page: a payslip has `lines` and a `total` too. Nor within the elements of a
//! list or map: they are many, and what each says of itself is its own.

use crate::{
    model::{
        Additional, Envelope, KeptMember, KeptRule, Member, ObjectShape, ScalarKind, Shape,
        ShapeId, Step,
    },
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

/// Steps into a request's body while there is an envelope or an array: what is called like paging asks
/// for pages of the answer, whatever stands beside it, and nothing of it passes.
pub(crate) fn unwrap_request(shapes: &[Shape], root: ShapeId) -> Way {
    unwrap(shapes, root, Pages::Anywhere, |_| false)
}

/// Where scalars that are called like paging are an envelope's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pages {
    /// Around a list or map.
    OfMany,
    Anywhere,
    /// One thing was asked for, by a path that ends in a parameter: what would be kept beside a list is
    /// the thing's own.
    Nowhere,
}

/// Steps in while there is an envelope or an array, and before what `is_object` knows.
pub(crate) fn unwrap(
    shapes: &[Shape],
    root: ShapeId,
    pages: Pages,
    is_object: impl Fn(ShapeId) -> bool,
) -> Way {
    let mut way = Way { envelope: Envelope::default(), shape: root };
    while way.envelope.steps.len() < MAX_STEPS {
        match shape(shapes, way.shape) {
            _ if is_object(way.shape) => break,
            Shape::Array { items } => {
                way.envelope.steps.push(Step::Elements);
                way.shape = *items;
            }
            Shape::Object(object) => {
                let is_one_of_many = way.envelope.steps.iter().any(is_many);
                let Some((name, inner)) = payload(shapes, object, pages, is_one_of_many, 0) else {
                    break;
                };
                if !is_one_of_many {
                    let prefix = way.envelope.steps.clone();
                    keep(shapes, object, &prefix, 0, &mut way.envelope.kept);
                }
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
    if !way.envelope.steps.iter().any(is_many) {
        keep_no_pages(&mut way.envelope);
    }
    way
}

fn is_many(step: &Step) -> bool {
    matches!(step, Step::Elements | Step::AnyMember)
}

/// Whether a schema is, by its name and members, something with a state of its own and one object in it,
/// such as a check of a person, and no envelope that tells how the call went.
pub(crate) fn has_own_state<'n>(
    shapes: &[Shape],
    id: ShapeId,
    name: &str,
    name_of: impl Fn(ShapeId) -> Option<&'n str>,
) -> bool {
    let Shape::Object(object) = shape(shapes, id) else { return false };
    let is_state = |(name, member): (&String, &Member)| {
        is_scalar(shapes, member.shape)
            && matches!(aside(shapes, name, member.shape), Some(Aside::Kept(_)))
    };
    object.members.iter().any(is_state)
        && payload(shapes, object, Pages::Anywhere, false, 0).is_some_and(|(member, inner)| {
            let held = name_of(inner).map_or_else(String::new, flat);
            !leads_to_many(shapes, inner, 0)
                && !is_envelope_of(&flat(name), &[&flat(&member), &held])
        })
}

/// Whether a schema is called an answer, and one around what it holds: `DrugTestResult` is none around a
/// person.
fn is_envelope_of(name: &str, held: &[&str]) -> bool {
    const WORDS: [&str; 10] = [
        "response",
        "result",
        "reply",
        "output",
        "envelope",
        "wrapper",
        "body",
        "payload",
        "answer",
        "container",
    ];
    // What answers are called that could hold anything.
    const ANY: [&str; 12] = [
        "", "api", "base", "common", "data", "default", "generic", "http", "json", "ok",
        "standard", "success",
    ];
    // What is held is called so where an answer is around anything.
    const HELD: [&str; 5] = ["body", "data", "payload", "response", "result"];
    let name = name.strip_suffix("schema").unwrap_or(name);
    WORDS.iter().filter_map(|word| name.strip_suffix(word)).any(|rest| {
        ANY.contains(&rest)
            || held.iter().any(|held| HELD.contains(held) || held.len() > 2 && rest.contains(held))
    })
}

/// What stays of an answer that only says how the call went: no pages, for there is nothing to page
/// through.
pub(crate) fn status_envelope(shapes: &[Shape], root: ShapeId) -> Envelope {
    let mut envelope = Envelope { is_status: true, ..Envelope::default() };
    if let Shape::Object(object) = shape(shapes, root) {
        keep(shapes, object, &[], 0, &mut envelope.kept);
    }
    keep_no_pages(&mut envelope);
    envelope
}

/// Nor does anything lead to others.
fn keep_no_pages(envelope: &mut Envelope) {
    let pages =
        |one: &KeptMember| matches!(one.path.last(), Some(Step::Member(name)) if is_paging(name));
    envelope.kept.retain(|one| one.rule != KeptRule::Link && !pages(one));
}

/// Where callers cannot ask for pages, counts and cursors are more likely data. A link stays: it leads
/// to the same place, or is dropped.
pub(crate) fn keep_links_alone(envelope: &mut Envelope) {
    let pages =
        |one: &KeptMember| matches!(one.path.last(), Some(Step::Member(name)) if is_paging(name));
    envelope.kept.retain(|one| one.rule == KeptRule::Link || !pages(one));
}

pub(crate) fn shape(shapes: &[Shape], id: ShapeId) -> &Shape {
    static UNTYPED: Shape = Shape::Untyped;
    shapes.get(id.0 as usize).unwrap_or(&UNTYPED)
}

/// The one member that an envelope is around.
fn payload(
    shapes: &[Shape],
    object: &ObjectShape,
    pages: Pages,
    is_one_of_many: bool,
    depth: usize,
) -> Option<(String, ShapeId)> {
    if depth > MAX_STEPS || !matches!(object.additional, Additional::Closed) {
        return None;
    }
    let mut found = None;
    let mut has_kept = false;
    let mut has_paging = false;
    for (name, member) in &object.members {
        if is_side_member(name) {
            continue;
        }
        if is_object_like(shapes, member.shape, 0) {
            if found.replace((name.clone(), member.shape)).is_some() {
                return None;
            }
        } else if is_scalar(shapes, member.shape)
            && let Some(aside) = aside(shapes, name, member.shape)
        {
            has_kept |= aside != Aside::Dropped;
            has_paging |= is_paging(name);
        } else {
            return None;
        }
    }
    found.filter(|(_, inner)| match pages {
        _ if is_one_of_many => !has_kept,
        Pages::Anywhere => true,
        Pages::OfMany => !has_paging || leads_to_many(shapes, *inner, depth + 1),
        Pages::Nowhere => !has_paging && (!has_kept || !leads_to_many(shapes, *inner, depth + 1)),
    })
}

/// Whether there can be a list or map on the way to an answer's object, or in it.
pub(crate) fn holds_list(shapes: &[Shape], root: ShapeId, envelope: &Envelope) -> bool {
    let inner = |id: ShapeId| match shape(shapes, id) {
        Shape::Object(object) => object.members.values().map(|member| member.shape).collect(),
        Shape::Union(all) => all.clone(),
        Shape::Array { .. } | Shape::Untyped | Shape::Scalar { .. } => Vec::new(),
    };
    let is_list = |id: ShapeId| match shape(shapes, id) {
        Shape::Array { .. } | Shape::Untyped => true,
        // What is not declared can be one.
        Shape::Object(object) => object.additional != Additional::Closed,
        Shape::Union(_) | Shape::Scalar { .. } => false,
    };
    if envelope.steps.iter().any(is_many) {
        return true;
    }
    let mut seen = vec![root];
    let mut at = 0;
    // As far as envelopes and unions lead, and one object further.
    for _ in 0..=envelope.steps.len() + 2 {
        let level: Vec<ShapeId> = seen.get(at..).unwrap_or_default().to_vec();
        if level.iter().any(|id| is_list(*id)) {
            return true;
        }
        at = seen.len();
        for id in level.into_iter().flat_map(inner) {
            if !seen.contains(&id) {
                seen.push(id);
            }
        }
    }
    false
}

/// Whether there is a list or map where an envelope's payload leads to.
fn leads_to_many(shapes: &[Shape], id: ShapeId, depth: usize) -> bool {
    match shape(shapes, id) {
        _ if depth > MAX_STEPS => false,
        Shape::Array { .. } => true,
        Shape::Object(object) if object.members.is_empty() => {
            matches!(object.additional, Additional::Map(_))
        }
        Shape::Object(object) => payload(shapes, object, Pages::OfMany, false, depth + 1)
            .is_some_and(|(_, inner)| leads_to_many(shapes, inner, depth + 1)),
        Shape::Union(all) => all.iter().any(|one| leads_to_many(shapes, *one, depth + 1)),
        Shape::Untyped | Shape::Scalar { .. } => false,
    }
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
    /// Paging or status: kept by this rule.
    Kept(KeptRule),
    /// Speaks of the call, but what it holds could be anything: dropped unless the overlay keeps
    /// it.
    Dropped,
}

/// By which answers tell how the call went. Kept where they are booleans; a number could be any state
/// of the object.
const FLAGS: [&str; 4] = ["ok", "status", "statuscode", "success"];

/// Words by which a status tells how the call went; any other could be the object's own state.
const OUTCOMES: [&str; 12] = [
    "ok",
    "success",
    "successful",
    "succeeded",
    "error",
    "fail",
    "failed",
    "failure",
    "done",
    "true",
    "false",
    "accepted",
];

/// Counts and flags by which answers tell of pages. A closed list: `totalSalary` is none. Kept are
/// integers and booleans: any other number in such a place could be an amount, a text anything.
const COUNTS: [&str; 62] = [
    "count",
    "counts",
    "page",
    "pages",
    "pagesize",
    "pagenumber",
    "pagecount",
    "pagelimit",
    "perpage",
    "limit",
    "offset",
    "skip",
    "take",
    "startat",
    "startindex",
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
    "resultcount",
    "itemsperpage",
    "numresults",
    "numpages",
    "lastpage",
    "firstpage",
    "currentpage",
    "numberofelements",
    "currentoffset",
    "resultsperpage",
    "total",
    "totals",
    "totalcount",
    "totalcounts",
    "totalelements",
    "totalentries",
    "totalhits",
    "totalitems",
    "totalitemscount",
    "totalmatches",
    "totalnumber",
    "totalnumberofitems",
    "totalnumberofpages",
    "totalnumberofresults",
    "totalobjects",
    "totalpage",
    "totalpages",
    "totalrecordcount",
    "totalrecords",
    "totalresultcount",
    "totalresults",
    "totalresultscount",
    "totalrows",
    "totalsize",
    "nextoffset",
    "nextstart",
    "nextpagenumber",
];

/// Cursors: one word, or a URL.
const CURSORS: [&str; 25] = [
    "next",
    "previous",
    "prev",
    "nextpage",
    "previouspage",
    "prevpage",
    "cursor",
    "cursors",
    "nextcursor",
    "previouscursor",
    "prevcursor",
    "startcursor",
    "endcursor",
    "aftercursor",
    "beforecursor",
    "pagecursor",
    "nextpagecursor",
    "pagetoken",
    "nextpagetoken",
    "previouspagetoken",
    "prevpagetoken",
    "nexttoken",
    "continuationtoken",
    "paginationtoken",
    "synctoken",
];

/// URLs of other pages.
const LINKS: [&str; 14] = [
    "nexturl",
    "nexturi",
    "nextlink",
    "nexthref",
    "nextpageurl",
    "nextpageuri",
    "nextpagelink",
    "prevurl",
    "previousurl",
    "previousuri",
    "previouslink",
    "previouspageurl",
    "firstpageurl",
    "lastpageurl",
];

/// What `meta` and `links` hold besides.
const INNER_LINKS: [&str; 6] = ["first", "last", "self", "href", "url", "uri"];

/// Paging where they are numbers; as text they could be people or dates.
const NUMBERS: [&str; 9] = ["from", "to", "start", "end", "first", "last", "size", "more", "empty"];

/// Whether a scalar of this name speaks of pages.
fn is_paging(name: &str) -> bool {
    let flat = flat(name);
    let flat = flat.as_str();
    [&COUNTS[..], &CURSORS, &LINKS, &NUMBERS].iter().any(|names| names.contains(&flat))
}

/// Scalars that speak of the answer and not of the object. `None`: the object's own.
fn aside(shapes: &[Shape], name: &str, id: ShapeId) -> Option<Aside> {
    // So named, a scalar speaks of the answer; whether it is kept, the lists above say.
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
    const DROPPED: [&str; 13] = [
        "requestid",
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
    let flat = flat.as_str();
    if is_error_member(name) {
        return Some(Aside::Dropped);
    }
    if flat == "status"
        && let Shape::Scalar { kind: ScalarKind::Enum, choices, .. } = shape(shapes, id)
    {
        let is_outcome = |word: &String| OUTCOMES.contains(&word.to_ascii_lowercase().as_str());
        let is_told = !choices.is_empty() && choices.iter().all(is_outcome);
        return is_told.then_some(Aside::Kept(KeptRule::Choice));
    }
    let counted = || {
        if is_count(shapes, id) { Aside::Kept(KeptRule::Count) } else { Aside::Dropped }
    };
    if FLAGS.contains(&flat) {
        return Some(if is_flag(shapes, id) { counted() } else { Aside::Dropped });
    }
    if COUNTS.contains(&flat) {
        return Some(counted());
    }
    if LINKS.contains(&flat) {
        return Some(Aside::Kept(KeptRule::Link));
    }
    if CURSORS.contains(&flat) {
        return Some(Aside::Kept(KeptRule::Word));
    }
    if BEGINNINGS.iter().any(|word| flat.starts_with(word))
        || ENDINGS.iter().any(|word| flat.ends_with(word))
    {
        return Some(Aside::Dropped);
    }
    if NUMBERS.contains(&flat) {
        return if !may_be_text(shapes, id) {
            Some(counted())
        } else if matches!(shape(shapes, id), Shape::Scalar { kind: ScalarKind::Date, .. }) {
            // The range that a report was asked for.
            Some(Aside::Dropped)
        } else {
            None
        };
    }
    DROPPED.contains(&flat).then_some(Aside::Dropped)
}

fn is_flag(shapes: &[Shape], id: ShapeId) -> bool {
    matches!(shape(shapes, id), Shape::Scalar { kind: ScalarKind::Boolean, .. })
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
        let flat = flat(name);
        if is_scalar(shapes, member.shape) {
            let is_inner_link = depth > 0 && INNER_LINKS.contains(&flat.as_str());
            let rule = match aside(shapes, name, member.shape) {
                Some(Aside::Kept(rule)) => rule,
                _ if is_inner_link => KeptRule::Link,
                _ => continue,
            };
            kept.push(KeptMember { path, rule });
        } else if depth < MAX_KEPT_DEPTH
            && (is_side_member(name) || depth > 0 && is_link_name(name))
            && !is_error_member(name)
            && flat != "raw"
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

/// Integers and booleans, and nothing else.
fn is_count(shapes: &[Shape], id: ShapeId) -> bool {
    match shape(shapes, id) {
        Shape::Scalar { kind, .. } => matches!(kind, ScalarKind::Integer | ScalarKind::Boolean),
        Shape::Union(all) => !all.is_empty() && all.iter().all(|one| is_count(shapes, *one)),
        _ => false,
    }
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

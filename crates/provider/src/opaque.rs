//! Operations whose bodies say what else is to be done: batches of calls, queries, patches. Their
//! members are no fields of an object, so that no grant of fields can judge them.

use crate::{
    envelope::shape,
    model::{Additional, ObjectShape, Opaque, Operation, Shape, ShapeId},
    operations::{flat, is_json},
    path_template::TemplateSegment,
};
use std::collections::{HashMap, HashSet};

const PATCH: &str = "application/json-patch+json";

/// What a caller could say by an operation beside its object's fields.
pub(crate) fn judge(instructions: &Instructions, operation: &Operation) -> Option<Opaque> {
    let literals = || operation.path.segments().iter().filter_map(TemplateSegment::as_literal);
    if literals().any(|name| stem(name).eq_ignore_ascii_case("$batch")) {
        return Some(Opaque::Batch);
    }
    if literals().any(|name| matches!(flat(stem(name)).as_str(), "graphql" | "gql")) {
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
        () => instructions.within(request.shape?),
    }
}

/// A segment without an extension.
fn stem(name: &str) -> &str {
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

/// Which shapes hold instructions, however deep they lie. What only keeps calls for later (a workflow, a
/// hook) is found too: it lets a caller say where somebody else's credentials go.
#[derive(Debug, Default)]
pub(crate) struct Instructions {
    /// By shape, and whether it lies in a list.
    found: HashMap<(ShapeId, bool), Opaque>,
}

impl Instructions {
    /// Finds them once for all operations: from each that is an instruction back to what holds it.
    pub(crate) fn of(shapes: &[Shape]) -> Self {
        type Place = (ShapeId, bool);
        let mut holders: HashMap<Place, Vec<Place>> = HashMap::new();
        let mut waiting: Vec<(Place, Opaque)> = Vec::new();
        for (index, one) in shapes.iter().enumerate() {
            let id = ShapeId(u32::try_from(index).unwrap_or(u32::MAX));
            for is_listed in [false, true] {
                let place = (id, is_listed);
                let mut holds = |inner: ShapeId, is_listed: bool| {
                    holders.entry((inner, is_listed)).or_default().push(place);
                };
                match one {
                    Shape::Array { items } => holds(*items, true),
                    Shape::Union(all) => all.iter().for_each(|one| holds(*one, is_listed)),
                    Shape::Object(object) => {
                        object.members.values().for_each(|one| holds(one.shape, is_listed));
                        if let Additional::Map(values) = object.additional {
                            holds(values, true);
                        }
                        let told = instruction(shapes, object, is_listed);
                        waiting.extend(told.map(|opaque| (place, opaque)));
                    }
                    Shape::Untyped | Shape::Scalar { .. } => {}
                }
            }
        }
        let mut found = HashMap::new();
        while let Some((place, opaque)) = waiting.pop() {
            if found.contains_key(&place) {
                continue;
            }
            found.insert(place, opaque);
            waiting.extend(holders.get(&place).into_iter().flatten().map(|one| (*one, opaque)));
        }
        Self { found }
    }

    fn within(&self, root: ShapeId) -> Option<Opaque> {
        self.found.get(&(root, false)).copied()
    }
}

/// Whether these members together tell a server what to do, whatever they are within.
fn instruction(shapes: &[Shape], object: &ObjectShape, is_listed: bool) -> Option<Opaque> {
    const METHODS: [&str; 4] = ["method", "httpmethod", "verb", "httpverb"];
    const PLACES: [&str; 10] = [
        "url",
        "uri",
        "path",
        "relativepath",
        "relativeurl",
        "relativeuri",
        "href",
        "endpoint",
        "requesturl",
        "resource",
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
            && PLACES.iter().any(|name| is_told(name))
            && (is_listed || PARTS.iter().any(|name| is_told(name))) =>
        {
            Some(Opaque::Batch)
        }
        () if names.contains("jsonrpc") && names.contains("method") => Some(Opaque::Batch),
        () if names.contains("query")
            && ["variables", "operationname", "extensions"].iter().any(|name| is_told(name)) =>
        {
            Some(Opaque::Query)
        }
        // JSON Patch and SCIM by paths; JSON:API's atomic operations by references and data.
        () if names.contains("op")
            && ["path", "from", "href", "ref", "data"].iter().any(|name| is_told(name)) =>
        {
            Some(Opaque::Patch)
        }
        () if names.contains("operation") && names.contains("path") && is_told("value") => {
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

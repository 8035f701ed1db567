//! The fields that a grant names, checked against what the description declares.

use super::{FieldSteps, kinds::follow, normal, spell};
use crate::model::{Additional, Field, FieldKind, ObjectId, ObjectShape, Provider, Shape, Step};
use projection::{Path, Segment};

/// A field that a grant names and that is not declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    pub field: String,
    pub why: String,
    pub nearest: Option<String>,
}

/// What the fields of a grant resolve to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckedFields {
    pub paths: Vec<FieldSteps>,
    /// Accepted, but worth saying.
    pub notices: Vec<String>,
}

/// `fields = ["*"]`: every declared typed leaf without a sensitive label. It never yields a path
/// that ends in `*`.
pub fn expand_star(provider: &Provider, object: ObjectId, is_write: bool) -> Vec<FieldSteps> {
    let Some(object) = provider.object(object) else { return Vec::new() };
    object
        .fields
        .iter()
        .filter(|field| matches!(field.kind, FieldKind::Scalar { .. }))
        .filter(|field| !field.label.as_ref().is_some_and(|label| label.is_sensitive))
        .filter(|field| if is_write { !field.is_read_only } else { !field.is_write_only })
        // The values of a map have names that are data: they are named with intent or not at all.
        .filter(|field| field.steps.last() != Some(&Step::AnyMember))
        .map(|field| normal(&field.steps))
        .collect()
}

/// Resolves the fields of one grant on one object, all problems at once.
pub fn check_fields(
    provider: &Provider,
    object: ObjectId,
    is_write: bool,
    fields: &[String],
) -> Result<CheckedFields, Vec<FieldProblem>> {
    let mut checked = CheckedFields::default();
    let mut problems = Vec::new();
    for text in fields {
        if text == "*" {
            checked.paths.extend(expand_star(provider, object, is_write));
            continue;
        }
        match check(provider, object, text, &mut checked.notices) {
            Ok(steps) => checked.paths.push(steps),
            Err(problem) => problems.push(problem),
        }
    }
    checked.paths.sort();
    checked.paths.dedup();
    if problems.is_empty() { Ok(checked) } else { Err(problems) }
}

fn check(
    provider: &Provider,
    object: ObjectId,
    text: &str,
    notices: &mut Vec<String>,
) -> Result<FieldSteps, FieldProblem> {
    let wrong = |why: String, nearest| FieldProblem { field: text.to_owned(), why, nearest };
    let path = Path::parse(text).map_err(|error| wrong(error.to_string(), None))?;
    let steps: Vec<Step> = path
        .segments()
        .iter()
        .map(|segment| match segment {
            Segment::Name(name) => Step::Member(name.clone()),
            Segment::AnyMember => Step::AnyMember,
            Segment::Elements => Step::Elements,
        })
        .collect();
    if steps.last() == Some(&Step::AnyMember) && !is_declared(provider, object, &steps) {
        return Err(wrong("a path never ends in `*`; name what is below it".to_owned(), None));
    }
    let given = steps;
    let steps = normal(&given);
    if given != steps && !leads_on(provider, object, &given) {
        let why = format!("`{}` is no list or map", spell(&steps));
        return Err(wrong(why, Some(spell(&steps))));
    }
    let mut at = object;
    let mut rest = steps.as_slice();
    // A path may lead on through named objects.
    for _ in 0..64 {
        let Some(found) = provider.object(at) else { break };
        if found.fields.iter().any(|field| normal(&field.steps) == rest) {
            return Ok(steps);
        }
        let longest = |field: &&Field| {
            let steps = normal(&field.steps);
            rest.starts_with(&steps) && steps.len() < rest.len()
        };
        let Some(through) =
            found.fields.iter().filter(longest).max_by_key(|field| field.steps.len())
        else {
            break;
        };
        let mut after = rest.get(normal(&through.steps).len()..).unwrap_or_default();
        while let Some((Step::Elements | Step::AnyMember, more)) = after.split_first() {
            if matches!(through.kind, FieldKind::FreeForm | FieldKind::Untyped) {
                break;
            }
            after = more;
        }
        match &through.kind {
            FieldKind::Named(next) => {
                if after.is_empty() {
                    return Ok(steps);
                }
                at = *next;
                rest = after;
            }
            FieldKind::OneOfNamed(all) => {
                let declares = |id: &&ObjectId| is_declared(provider, **id, after);
                let Some(next) = all.iter().find(declares) else { break };
                at = *next;
                rest = after;
            }
            FieldKind::FreeForm | FieldKind::Untyped => {
                notices.push(format!("`{text}` lies in a free-form object and cannot be checked"));
                return Ok(steps);
            }
            FieldKind::Scalar { .. } | FieldKind::Inline => break,
        }
    }
    // Members of a free-form object are named, and cannot be checked.
    if matches!(rest.first(), Some(Step::Member(_))) && is_free_form(provider, at) {
        notices.push(format!("`{text}` lies in a free-form object and cannot be checked"));
        return Ok(steps);
    }
    let found = provider.object(object);
    let name = found.map_or("", |found| found.name.as_str());
    let declared = found.iter().flat_map(|found| &found.fields).map(|field| field.path.as_str());
    let nearest = types::nearest(text, declared).map(str::to_owned);
    Err(wrong(format!("`{name}` declares no field `{text}`"), nearest))
}

/// Whether the object itself may have members that are not declared.
fn is_free_form(provider: &Provider, object: ObjectId) -> bool {
    provider.object(object).is_some_and(|found| {
        found.read_shapes.iter().chain(&found.write_shapes).any(|id| {
            matches!(
                provider.shape(*id),
                Shape::Object(ObjectShape { additional: Additional::FreeForm, .. })
            )
        })
    })
}

/// Whether something can stand at the end of this path, `[]` and `*` at its end included.
fn leads_on(provider: &Provider, object: ObjectId, steps: &[Step]) -> bool {
    provider.object(object).is_some_and(|found| {
        let shapes = [found.read_shapes.as_slice(), &found.write_shapes].concat();
        !follow(provider, &shapes, steps).is_empty()
    })
}

fn is_declared(provider: &Provider, object: ObjectId, steps: &[Step]) -> bool {
    provider.object(object).is_some_and(|found| {
        found.fields.iter().any(|field| field.steps == steps || normal(&field.steps) == steps)
    })
}

//! Whether a request is what its operation declares.

use super::{
    check::{Direction, check},
    problem::Problem,
    schema::{Kinds, SchemaId, Schemas},
    table::{Body, Entry, FORM, Param, Place, Style, essence, is_json},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

/// Longest name of a form's member, in brackets.
const MAX_BRACKETS: usize = 8;
/// How deep JSON may nest.
const MAX_JSON_DEPTH: usize = 100;
/// Most members of a form.
const MAX_FORM_MEMBERS: usize = 2_000;

/// The query's parameters in order, decoded.
pub(crate) fn read_query(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Path parameters and the query. The segments in `named` hold ids of records that exist: what
/// another operation says of the same id does not count.
pub(crate) fn check_target(
    schemas: &Schemas,
    entry: &Entry,
    segments: &[String],
    query: &[(String, String)],
    named: &[usize],
) -> Result<(), Problem> {
    let path = path_values(entry, segments, named);
    for param in &entry.params {
        let given: Vec<&str> = match param.place {
            Place::Path => {
                let given = pick(path.iter().map(|(name, value)| (*name, *value)), &param.name);
                // Declared, but not in the path: nobody can send it.
                if given.is_empty() {
                    continue;
                }
                given
            }
            Place::Query => {
                pick(query.iter().map(|(name, value)| (name.as_str(), value.as_str())), &param.name)
            }
            Place::Header | Place::Cookie => continue,
        };
        let has_members = || {
            let open = format!("{}[", param.name);
            param.place == Place::Query && query.iter().any(|(name, _)| name.starts_with(&open))
        };
        // What cannot be told apart on the way in (objects in exploded form) is not asked for.
        if given.is_empty() && (has_members() || is_object(schemas, param.schema)) {
            continue;
        }
        check_param(schemas, param, &given)?;
    }
    Ok(())
}

/// Headers and cookies.
pub(crate) fn check_headers(
    schemas: &Schemas,
    entry: &Entry,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    /// What HTTP itself or the sandbox's authentication looks at (OpenAPI 3.1 §4.8.12.2).
    const OTHERS: [&str; 3] = ["accept", "content-type", "authorization"];
    for param in &entry.params {
        match param.place {
            Place::Header if !OTHERS.contains(&param.name.to_ascii_lowercase().as_str()) => {
                let given = headers.get_all(param.name.as_str()).iter();
                let given: Vec<&str> = given.filter_map(|value| value.to_str().ok()).collect();
                check_param(schemas, param, &given)?;
            }
            Place::Cookie => {
                let cookies = headers.get_all(header::COOKIE).iter();
                let cookies = cookies.filter_map(|value| value.to_str().ok());
                let pairs = cookies.flat_map(|text| text.split(';'));
                let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
                check_param(schemas, param, &pick(pairs, &param.name))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn pick<'v>(pairs: impl Iterator<Item = (&'v str, &'v str)>, name: &str) -> Vec<&'v str> {
    // `ids[]` is how some write a repeated `ids`.
    let list = format!("{name}[]");
    pairs.filter(|(one, _)| *one == name || *one == list).map(|(_, value)| value).collect()
}

/// Values of the path's parameters, by name, but for those in some segments.
fn path_values<'v>(
    entry: &'v Entry,
    segments: &'v [String],
    besides: &[usize],
) -> Vec<(&'v str, &'v str)> {
    let mut found = Vec::new();
    let pairs = entry.operation.path.segments().iter().zip(segments).enumerate();
    for (_, (template, text)) in pairs.filter(|(place, _)| !besides.contains(place)) {
        let names = template.parts().iter().filter_map(|part| match part {
            provider::path_template::TemplatePart::Parameter { name, .. } => Some(name.as_str()),
            provider::path_template::TemplatePart::Literal(_) => None,
        });
        found.extend(names.zip(template.values(text).unwrap_or_default()));
    }
    found
}

fn is_object(schemas: &Schemas, id: SchemaId) -> bool {
    let mut schema = schemas.get(id);
    for _ in 0..16 {
        match schema.reference {
            Some(target) => schema = schemas.get(target),
            None => break,
        }
    }
    schema.kinds == Kinds::OBJECT || !schema.members.is_empty()
}

fn check_param(schemas: &Schemas, param: &Param, given: &[&str]) -> Result<(), Problem> {
    let place = match param.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
        Place::Cookie => "cookie",
    };
    let name: String = param.name.chars().filter(|c| !c.is_control()).take(100).collect();
    if given.is_empty() {
        if param.is_required {
            let detail = format!("the {place} parameter `{name}` is missing");
            return Err(Problem::bad("parameter_missing", detail));
        }
        return Ok(());
    }
    if param.style == Style::Opaque || is_object(schemas, param.schema) {
        return Ok(());
    }
    let mut first = None;
    for value in readings(schemas, param, given) {
        match check(schemas, param.schema, &value, Direction::Request) {
            Ok(()) => return Ok(()),
            Err(violation) => {
                first.get_or_insert(violation);
            }
        }
    }
    let Some(violation) = first else { return Ok(()) };
    let detail = format!("the {place} parameter `{name}` {}", violation.rule);
    Err(Problem::bad("parameter_invalid", detail))
}

/// What the texts may stand for: an array, a number, a boolean, a text.
fn readings(schemas: &Schemas, param: &Param, given: &[&str]) -> Vec<Value> {
    let scalars = |text: &str| scalars(text);
    let separator = match param.style {
        Style::Separated(separator) => separator,
        // Many clients separate by commas whatever the description says.
        Style::Repeated | Style::Opaque => ',',
    };
    let mut readings = Vec::new();
    if let [only] = given {
        readings.extend(scalars(only));
    }
    let parts: Vec<&str> = match given {
        [only] => only.split(separator).collect(),
        many => many.to_vec(),
    };
    let wants = |text: &str| -> Value {
        // Elements are read as what the schema of the elements takes.
        let all = scalars(text);
        let items = schemas.get(param.schema).items;
        let fitting = items.and_then(|items| {
            all.iter().find(|one| check(schemas, items, one, Direction::Request).is_ok()).cloned()
        });
        fitting.unwrap_or_else(|| Value::String(text.to_owned()))
    };
    readings.push(Value::Array(parts.into_iter().map(wants).collect()));
    readings
}

/// A text as number, boolean or null where it can be read so, and as text.
pub(crate) fn scalars(text: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if is_number && let Ok(number) = serde_json::from_str::<serde_json::Number>(text) {
        all.push(Value::Number(number));
    }
    match text {
        "true" => all.push(Value::Bool(true)),
        "false" => all.push(Value::Bool(false)),
        "" | "null" => all.push(Value::Null),
        _ => {}
    }
    // The text first: a schema that says nothing takes it as it came.
    all.insert(0, Value::String(text.to_owned()));
    all
}

/// The body as a value; `None` where it is not looked into (files, multipart) or absent.
pub(crate) fn read_body(
    schemas: &Schemas,
    body: Option<&Body>,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Option<Value>, Problem> {
    let Some(body) = body else { return Ok(None) };
    if bytes.is_empty() {
        if body.is_required {
            return Err(Problem::bad("body_missing", "the operation needs a body"));
        }
        return Ok(None);
    }
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = essence(media.unwrap_or("application/json"));
    let declared = body.contents.iter().find(|content| {
        content.essence == media
            || is_wildcard(&content.essence, &media)
            || is_json(&content.essence) && is_json(&media)
    });
    let Some(content) = declared else {
        if body.contents.is_empty() {
            return Ok(None);
        }
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "body_media_unsupported",
            "the body's media type is not declared",
        ));
    };
    let value = if is_json(&media) {
        let value = serde_json::from_slice::<Value>(bytes)
            .map_err(|_| Problem::bad("body_malformed", "the body is no JSON"))?;
        if depth_of(&value) > MAX_JSON_DEPTH {
            return Err(Problem::bad("body_malformed", "the body nests too deep"));
        }
        value
    } else if media == FORM {
        let form = read_form(bytes);
        match content.schema {
            Some(schema) => typed(schemas, schema, form, 0),
            None => form,
        }
    } else {
        return Ok(None);
    };
    if let Some(schema) = content.schema {
        check(schemas, schema, &value, Direction::Request).map_err(|violation| {
            let detail = format!("the body is not as declared: {violation}");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "body_invalid", detail)
        })?;
    }
    Ok(Some(value))
}

fn is_wildcard(declared: &str, media: &str) -> bool {
    declared == "*/*"
        || declared
            .strip_suffix("/*")
            .is_some_and(|kind| media.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/')))
}

/// serde_json reads at most 127 levels, so that this does not nest deeper.
fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

/// A form's pairs as an object of texts: `a[b]=1` is a member of a member, `a[]=1` and a repeated
/// `a=1` are elements.
fn read_form(bytes: &[u8]) -> Value {
    let mut form = Map::new();
    for (name, value) in url::form_urlencoded::parse(bytes).take(MAX_FORM_MEMBERS) {
        let mut parts = name.split('[').map(|part| part.trim_end_matches(']'));
        let first = parts.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = parts.take(MAX_BRACKETS).collect();
        place(&mut form, &first, &rest, value.into_owned());
    }
    Value::Object(form)
}

fn place(into: &mut Map<String, Value>, name: &str, rest: &[&str], value: String) {
    match rest.split_first() {
        None => match into.get_mut(name) {
            Some(Value::Array(elements)) => elements.push(Value::String(value)),
            Some(old) => {
                let first = old.take();
                *old = Value::Array(vec![first, Value::String(value)]);
            }
            None => {
                into.insert(name.to_owned(), Value::String(value));
            }
        },
        Some((&"", _)) => {
            let slot = into.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(elements) = slot {
                elements.push(Value::String(value));
            }
        }
        Some((member, rest)) => {
            let slot = into.entry(name.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = slot {
                place(inner, member, rest, value);
            }
        }
    }
}

/// A form's texts as the schema takes them.
fn typed(schemas: &Schemas, id: SchemaId, value: Value, depth: usize) -> Value {
    if depth > MAX_BRACKETS + 2 || check(schemas, id, &value, Direction::Request).is_ok() {
        return value;
    }
    let below = |member: Option<&str>| find_below(schemas, id, member, 0);
    match value {
        Value::String(text) => {
            let mut readings = scalars(&text);
            // One element is an array of one.
            readings.push(Value::Array(vec![Value::String(text.clone())]));
            let fits = |one: &Value| check(schemas, id, one, Direction::Request).is_ok();
            readings.into_iter().find(fits).unwrap_or(Value::String(text))
        }
        Value::Array(elements) => {
            let Some(items) = below(None) else { return Value::Array(elements) };
            let typed = elements.into_iter().map(|one| typed(schemas, items, one, depth + 1));
            Value::Array(typed.collect())
        }
        Value::Object(members) => {
            let typed = members.into_iter().map(|(name, value)| {
                let value = match below(Some(&name)) {
                    Some(id) => typed(schemas, id, value, depth + 1),
                    None => value,
                };
                (name, value)
            });
            Value::Object(typed.collect())
        }
        other => other,
    }
}

/// The schema of a member or of the elements, through references and `allOf`.
fn find_below(
    schemas: &Schemas,
    id: SchemaId,
    member: Option<&str>,
    depth: usize,
) -> Option<SchemaId> {
    let schema = schemas.get(id);
    let own = match member {
        Some(name) => schema.schemas_of(name).next(),
        None => schema.items,
    };
    if own.is_some() || depth > 16 {
        return own;
    }
    let mut parts =
        schema.reference.iter().chain(&schema.all_of).chain(&schema.one_of).chain(&schema.any_of);
    parts.find_map(|part| find_below(schemas, *part, member, depth + 1))
}

//! From what an operation found to an answer as it is declared.

use super::{
    check::{Direction, holds},
    draw::Key,
    invent::{Extent, Inventor, Spot},
    mock::{Called, Mock, Reply},
    paging::Told,
    problem::Problem,
    roles::ListWay,
    schema::{Kinds, SchemaId},
    table::{Answer, Content, Entry, is_json},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use provider::StatusRange;
use serde_json::{Map, Value, json};

/// What goes into an answer's body.
#[derive(Debug)]
pub(super) enum Fill<'f> {
    /// An object with these members, as far as they are declared.
    Written(Value, Extent),
    List {
        elements: Vec<Value>,
        told: &'f Told,
        way: &'f ListWay,
    },
}

impl Mock {
    /// An object, invented around what was written.
    pub(super) fn show(
        &self,
        ids: &[SchemaId],
        key: Key,
        written: &Value,
        extent: Extent,
        entry: &Entry,
    ) -> Value {
        let mut inventor =
            Inventor::new(&self.table.schemas, &self.flavors, Direction::Answer, extent);
        let spot = Spot { written: Some(written), ..Spot::root(key, &entry.object_name) };
        inventor.invent(ids, spot)
    }

    /// The answer that tells success.
    pub(super) fn render(
        &self,
        called: Called<'_>,
        key: Key,
        fill: Fill<'_>,
        accept: Option<&HeaderValue>,
    ) -> Reply {
        let answer = called.part.success.and_then(|place| called.entry.answers.get(place));
        let Some(answer) = answer else {
            return Reply::new(StatusCode::NO_CONTENT, Vec::new(), Bytes::new());
        };
        let status = status_of(answer.status, 200);
        let mut headers = self.declared_headers(answer, key);
        if let Fill::List { told, .. } = &fill {
            let is_declared = headers.iter().any(|(name, _)| name == header::LINK);
            headers.retain(|(name, _)| name != header::LINK);
            let is_told = answer
                .contents
                .iter()
                .any(|content| content.schema.is_some_and(|id| self.tells_next(id)));
            if (is_declared || !is_told)
                && let Some(link) = told.link().and_then(|link| HeaderValue::try_from(link).ok())
            {
                headers.push((header::LINK, link));
            }
        }
        if let StatusRange::Exact(301..=308) = answer.status
            && !headers.iter().any(|(name, _)| name == header::LOCATION)
        {
            let location = HeaderValue::from_static("https://example.com/");
            headers.push((header::LOCATION, location));
        }
        let content = chosen(&answer.contents, accept);
        let Some(content) = content else {
            return Reply::new(status, headers, Bytes::new());
        };
        let (media, body) = self.body(called, content, key, fill);
        headers.push((header::CONTENT_TYPE, media));
        let is_head = called.entry.operation.method == provider::Method::Head;
        Reply::new(status, headers, if is_head { Bytes::new() } else { body })
    }

    /// Whether an answer's body says where the next page is.
    fn tells_next(&self, root: SchemaId) -> bool {
        let inventor = self.inventor(Direction::Answer);
        inventor.member_names(&[root]).iter().any(|name| {
            let flat = super::flavor::flat(name);
            flat.starts_with("next")
                || matches!(flat.as_str(), "cursor" | "paging" | "pagination" | "links" | "meta")
        })
    }

    fn body(
        &self,
        called: Called<'_>,
        content: &Content,
        key: Key,
        fill: Fill<'_>,
    ) -> (HeaderValue, Bytes) {
        if !is_json(&content.essence) {
            return self.other_body(content, key);
        }
        let media = match content.essence.as_str() {
            "*/*" | "application/*" => HeaderValue::from_static("application/json"),
            essence => HeaderValue::try_from(essence)
                .unwrap_or(HeaderValue::from_static("application/json")),
        };
        let value = match content.schema {
            Some(root) => self.json(called, root, key, fill),
            None => Value::Object(Map::new()),
        };
        (media, Bytes::from(value.to_string()))
    }

    /// The JSON of an answer. What does not hold with everything in it is tried with less.
    fn json(&self, called: Called<'_>, root: SchemaId, key: Key, fill: Fill<'_>) -> Value {
        let schemas = &self.table.schemas;
        let entry = called.entry;
        let empty = Value::Object(Map::new());
        let is_valid = |value: &Value| holds(schemas, &[root], value, Direction::Answer);
        let plain = |extent| self.show(&[root], key, &empty, extent, entry);
        let nearest = match fill {
            Fill::Written(written, extent) => {
                let way = called.part.way.as_deref();
                let value = match way {
                    Some([]) => self.show(&[root], key, &written, extent, entry),
                    Some(way) => {
                        let inventor = self.inventor(Direction::Answer);
                        let mut ids = vec![root];
                        for name in way {
                            ids = inventor.below(&ids, Some(name));
                        }
                        let object = self.show(&ids, key, &written, extent, entry);
                        let mut value = plain(Extent::All);
                        put(&mut value, way, object);
                        value
                    }
                    None => plain(Extent::All),
                };
                if is_valid(&value) {
                    return value;
                }
                value
            }
            Fill::List { elements, told, way } => {
                let mut value = plain(Extent::All);
                let kept: Vec<Value> = elements;
                put(&mut value, &way.before, Value::Array(kept));
                let before = value.clone();
                let inventor = self.inventor(Direction::Answer);
                told.fill(&inventor, schemas, &[root], &mut value, &way.before);
                if is_valid(&value) {
                    return value;
                }
                if is_valid(&before) {
                    return before;
                }
                before
            }
        };
        // Some schemas allow no value at all: what comes nearest is answered.
        let tries = [Extent::All, Extent::Needed, Extent::Least];
        tries.into_iter().map(plain).find(is_valid).unwrap_or(nearest)
    }

    /// A body that is no JSON.
    fn other_body(&self, content: &Content, key: Key) -> (HeaderValue, Bytes) {
        let essence = match content.essence.as_str() {
            "image/*" => "image/gif",
            "text/*" => "text/plain",
            essence if essence.contains('*') => "application/octet-stream",
            essence => essence,
        };
        let media = HeaderValue::try_from(essence)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let bytes: Bytes = match essence {
            "image/gif" => Bytes::from_static(&GIF),
            "application/pdf" => Bytes::from_static(b"%PDF-1.4\n%%EOF\n"),
            "application/zip" => Bytes::from_static(&EMPTY_ZIP),
            "text/csv" => Bytes::from_static(b"id,name\r\n1,sandbox\r\n"),
            "text/html" => Bytes::from_static(b"<!doctype html><title>Sandbox</title>"),
            "text/calendar" => Bytes::from_static(
                b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:sandbox\r\nEND:VCALENDAR\r\n",
            ),
            essence if essence.ends_with("xml") => {
                Bytes::from_static(b"<?xml version=\"1.0\"?><sandbox/>")
            }
            essence if essence.starts_with("text/") => {
                let mut inventor = self.inventor(Direction::Answer);
                let schema = content.schema.map(|id| inventor.invent(&[id], Spot::root(key, "")));
                match schema {
                    Some(Value::String(text)) => Bytes::from(text),
                    _ => Bytes::from_static(b"sandbox\n"),
                }
            }
            _ => Bytes::from_static(b"sandbox\n"),
        };
        (media, bytes)
    }

    fn declared_headers(&self, answer: &Answer, key: Key) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (name, schema) in &answer.headers {
            if name == header::SET_COOKIE {
                continue;
            }
            let mut inventor = self.inventor(Direction::Answer);
            let spot = Spot { name: name.as_str(), ..Spot::root(key.at(name.as_str()), "headers") };
            let text = match inventor.invent(&[*schema], spot) {
                Value::String(text) => text,
                value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
                _ => continue,
            };
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.push((name.clone(), value));
            }
        }
        headers
    }

    /// A refusal, in the shape that the operation declares for its status.
    pub(super) fn refuse(&self, index: Option<usize>, problem: &Problem) -> Reply {
        let entry = index.and_then(|index| self.table.entries.get(index));
        let declared = entry.and_then(|entry| {
            declared_answer(entry, problem.status.as_u16()).map(|answer| (entry, answer))
        });
        let mut headers = problem.headers.clone();
        headers.push((CODE, HeaderValue::from_static(problem.code)));
        if let Some((entry, answer)) = declared
            && let Some(content) = answer.contents.iter().find(|one| is_json(&one.essence))
            && let Some(schema) = content.schema
        {
            let key = self.seed.at("errors").at(problem.code);
            let told = self.told(&[schema], problem, 0);
            let value = self.show(&[schema], key, &told, Extent::Needed, entry);
            for (name, value) in self.declared_headers(answer, key) {
                if !headers.iter().any(|(one, _)| *one == name) {
                    headers.push((name, value));
                }
            }
            let media = match content.essence.as_str() {
                "*/*" | "application/*" => "application/json",
                essence => essence,
            };
            if let Ok(media) = HeaderValue::try_from(media) {
                headers.push((header::CONTENT_TYPE, media));
            }
            return Reply::new(problem.status, headers, Bytes::from(value.to_string()));
        }
        let media = HeaderValue::from_static("application/problem+json");
        headers.push((header::CONTENT_TYPE, media));
        let body = json!({
            "title": problem.status.canonical_reason().unwrap_or("Error"),
            "status": problem.status.as_u16(),
            "code": problem.code,
            "detail": problem.detail,
        });
        Reply::new(problem.status, headers, Bytes::from(body.to_string()))
    }

    /// The members of an error that can tell what happened.
    fn told(&self, ids: &[SchemaId], problem: &Problem, depth: usize) -> Value {
        let inventor = self.inventor(Direction::Answer);
        let mut told = Map::new();
        for name in inventor.member_names(ids) {
            let below = inventor.below(ids, Some(name));
            let may = |kinds| below.iter().all(|id| inventor.may_be(*id, kinds));
            let value = match super::flavor::flat(name).as_str() {
                "message" | "detail" | "errormessage" | "errordescription" | "description"
                | "reason" | "text" | "errorsummary" | "errormsg" | "msg" => {
                    Value::String(problem.detail.clone())
                }
                "title" => problem.status.canonical_reason().unwrap_or("Error").into(),
                "status" | "statuscode" | "httpstatus" | "httpstatuscode"
                    if may(Kinds::INTEGER) =>
                {
                    problem.status.as_u16().into()
                }
                "status" | "statuscode" => problem.status.as_u16().to_string().into(),
                "code" | "errorcode" if may(Kinds::STRING) => problem.code.into(),
                "code" | "errorcode" => problem.status.as_u16().into(),
                "error" if may(Kinds::STRING) => problem.code.into(),
                _ if depth < 3 && may(Kinds::OBJECT) && !may(Kinds::STRING) => {
                    self.told(&below, problem, depth + 1)
                }
                "errors" if depth < 3 && may(Kinds::ARRAY) => {
                    let elements = inventor.below(&below, None);
                    let is_text = elements.iter().all(|id| {
                        inventor.may_be(*id, Kinds::STRING) && !inventor.may_be(*id, Kinds::OBJECT)
                    });
                    let one = if is_text {
                        Value::String(problem.detail.clone())
                    } else {
                        self.told(&elements, problem, depth + 1)
                    };
                    Value::Array(vec![one])
                }
                _ => continue,
            };
            // An object of which nothing is known is not worth showing.
            if value.as_object().is_none_or(|object| !object.is_empty()) {
                told.insert(name.to_owned(), value);
            }
        }
        Value::Object(told)
    }
}

/// The sandbox's own code of a refusal, beside whatever body the description declares.
pub(crate) const CODE: HeaderName = HeaderName::from_static("x-sandbox-code");

/// A transparent pixel.
const GIF: [u8; 43] = *b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
/// An archive without entries: its end record alone.
const EMPTY_ZIP: [u8; 22] = *b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The answer that is declared for a status.
pub(super) fn declared_answer(entry: &Entry, status: u16) -> Option<&Answer> {
    let find = |range: StatusRange| entry.answers.iter().find(|answer| answer.status == range);
    find(StatusRange::Exact(status))
        .or_else(|| find(StatusRange::Class(status / 100)))
        .or_else(|| find(StatusRange::Default))
}

fn status_of(range: StatusRange, default: u16) -> StatusCode {
    let code = match range {
        StatusRange::Exact(code) => code,
        StatusRange::Class(class) => class * 100,
        StatusRange::Default => default,
    };
    StatusCode::from_u16(code).unwrap_or(StatusCode::OK)
}

/// The declared content that the caller accepts: JSON first, or whatever there is.
fn chosen<'c>(contents: &'c [Content], accept: Option<&HeaderValue>) -> Option<&'c Content> {
    let json = contents.iter().find(|content| is_json(&content.essence));
    if let Some(accept) = accept.filter(|accept| !super::mock::accepts_json(accept)) {
        let accept = accept.to_str().unwrap_or_default();
        let mut wanted = accept.split(',').map(super::table::essence);
        let found = wanted.find_map(|kind| contents.iter().find(|one| one.essence == kind));
        if found.is_some() {
            return found;
        }
    }
    json.or_else(|| contents.first())
}

/// Puts a value where members lead to; what is in the way is replaced.
pub(super) fn put(body: &mut Value, way: &[String], value: Value) {
    let mut at = body;
    for name in way {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Some(object) = at.as_object_mut() else { return };
        at = object.entry(name.clone()).or_insert(Value::Null);
    }
    *at = value;
}

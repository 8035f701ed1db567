//! The request's body: buffered up to a limit, checked as a whole, refused by the name of the first
//! member that may not be written.

use crate::{
    body_room::BodyPlace,
    error::CallError,
    headers::{Media, essence, is_credential_name, is_same_name, media},
    limits::Held,
    snapshot::{Met, RequestRule},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use projection::{Limits, Mode, Projector, RefusalKind, Spec};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, time::Duration};

const FORM: &str = "application/x-www-form-urlencoded";
/// The most members of a form.
const MAX_FORM_PAIRS: usize = 1_000;
/// The deepest `a[b][c]` of a form.
const MAX_FORM_DEPTH: usize = 16;

/// Reads a body of at most `limit` bytes within `patience`, in the room that `take` yields for as much
/// as it may have: what it declares, or else the limit.
pub(crate) async fn read(
    body: Incoming,
    limit: usize,
    patience: Duration,
    take: impl FnOnce(usize) -> Result<BodyPlace, Held>,
) -> Result<(Bytes, Option<BodyPlace>), CallError> {
    if body.is_end_stream() {
        return Ok((Bytes::new(), None));
    }
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Err(CallError::BodyTooLarge { limit });
    }
    let most = hint.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(limit);
    let mut place = take(most).map_err(CallError::Held)?;
    let bytes = tokio::time::timeout(patience, collect(body, most, limit))
        .await
        .map_err(|_| CallError::BodyTimeout { seconds: patience.as_secs() })??;
    place.settle(bytes.len());
    Ok((bytes, Some(place)))
}

async fn collect(mut body: Incoming, most: usize, limit: usize) -> Result<Bytes, CallError> {
    // A buffer that grew would take twice what has come.
    let mut bytes = BytesMut::with_capacity(most);
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| CallError::RequestMalformed { what: "the body did not arrive whole" })?;
        // Trailers are dropped.
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limit {
                return Err(CallError::BodyTooLarge { limit });
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

/// The body to send, with its media type; `None` for no body.
pub(crate) fn minimise(
    headers: &HeaderMap,
    body: &Bytes,
    rule: &RequestRule,
    credential_params: &BTreeSet<String>,
) -> Result<Option<(Bytes, String)>, CallError> {
    if headers.contains_key(header::CONTENT_ENCODING) && !body.is_empty() {
        return Err(CallError::BodyMediaUnsupported);
    }
    match rule {
        RequestRule::None if body.is_empty() => Ok(None),
        RequestRule::None => Err(CallError::BodyNotDeclared),
        RequestRule::Checked { is_required, .. } if body.is_empty() => {
            if *is_required {
                Err(CallError::BodyMissing)
            } else {
                Ok(None)
            }
        }
        RequestRule::Checked { spec, met, media: declared, .. } => match media(headers) {
            Media::Json => {
                let kind = essence(headers)
                    .filter(|kind| is_declared(declared, kind))
                    .ok_or(CallError::BodyMediaUnsupported)?;
                Ok(Some((check((spec, met), body)?, kind)))
            }
            Media::Form if declared.contains(FORM) => {
                let pairs = form_pairs(body, credential_params)?;
                let object = form_object(&pairs)?;
                check((spec, met), object.to_string().as_bytes())?;
                let mut out = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in &pairs {
                    out.append_pair(name, value);
                }
                Ok(Some((Bytes::from(out.finish()), FORM.to_owned())))
            }
            _ => Err(CallError::BodyMediaUnsupported),
        },
        RequestRule::Upload { media } => match essence(headers) {
            Some(kind) if media.contains(&kind) => Ok(Some((body.clone(), kind))),
            _ => Err(CallError::BodyMediaUnsupported),
        },
    }
}

/// What a type means for a write differs (a patch is no document), so only a declared one is sent;
/// where any is declared, plain JSON.
fn is_declared(declared: &BTreeSet<String>, kind: &str) -> bool {
    let is_any = || declared.contains("*/*") || declared.contains("application/*");
    declared.contains(kind) || (kind == "application/json" && is_any())
}

/// What is sent is what was understood: the projector's own output, never the caller's bytes.
fn check((spec, met): (&Spec, &Met), body: &[u8]) -> Result<Bytes, CallError> {
    let mut out = Vec::with_capacity(body.len());
    let mut projector = Projector::new(spec.clone(), Limits::default(), Mode::Refuse);
    let read = projector.feed(body, &mut out).and_then(|()| projector.finish(&mut out));
    let summary = read.map_err(|refusal| match refusal.kind {
        RefusalKind::Undeclared { path } | RefusalKind::Emptied { path } => {
            CallError::FieldNotGranted { path }
        }
        RefusalKind::ListInPart { path } => CallError::ListGrantedInPart { path },
        _ => CallError::BodyMalformed { reason: refusal.reason(), offset: refusal.offset },
    })?;
    met.note(&summary.noted);
    Ok(Bytes::from(out))
}

/// The members of a form. Many servers read the query and a form as one: what never comes from a caller
/// in the one, never comes in the other.
fn form_pairs(
    body: &[u8],
    credential_params: &BTreeSet<String>,
) -> Result<Vec<(String, String)>, CallError> {
    let mut pairs = Vec::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        if pairs.len() >= MAX_FORM_PAIRS {
            return Err(CallError::RequestMalformed { what: "the form has too many members" });
        }
        if name.contains('\u{FFFD}') || value.contains('\u{FFFD}') {
            return Err(CallError::RequestMalformed { what: "the form is not UTF-8" });
        }
        let is_own = |own: &String| is_same_name(own, &name);
        if is_credential_name(&name) || credential_params.iter().any(is_own) {
            return Err(CallError::FieldNotGranted { path: name.chars().take(100).collect() });
        }
        pairs.push((name.into_owned(), value.into_owned()));
    }
    Ok(pairs)
}

/// A form as the object it stands for: `a[b]` is `a.b`, repeats and `a[]` are arrays.
fn form_object(pairs: &[(String, String)]) -> Result<Value, CallError> {
    let mut root = Map::new();
    for (name, value) in pairs {
        let malformed = CallError::RequestMalformed { what: "a form member's name is malformed" };
        let Some(path) = form_path(name) else { return Err(malformed) };
        if !insert(&mut root, &path, value) {
            return Err(malformed);
        }
    }
    Ok(Value::Object(root))
}

fn form_path(name: &str) -> Option<Vec<&str>> {
    let (head, mut rest) = match name.find('[') {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    let mut path = vec![head];
    while !rest.is_empty() {
        let (inner, after) = rest.strip_prefix('[')?.split_once(']')?;
        path.push(inner);
        rest = after;
    }
    // `[]` may only end a name: elsewhere its meaning differs between providers.
    let last = path.len() - 1;
    let has_inner_empty =
        path.iter().enumerate().any(|(at, part)| part.is_empty() && (at == 0 || at != last));
    (path.len() <= MAX_FORM_DEPTH && !has_inner_empty).then_some(path)
}

fn insert(map: &mut Map<String, Value>, path: &[&str], value: &str) -> bool {
    let leaf = Value::String(value.to_owned());
    match path {
        [] => false,
        [name] | [name, ""] => {
            match map.get_mut(*name) {
                None if path.len() == 1 => {
                    map.insert((*name).to_owned(), leaf);
                }
                None => {
                    map.insert((*name).to_owned(), Value::Array(vec![leaf]));
                }
                Some(Value::Array(items)) => items.push(leaf),
                Some(first @ Value::String(_)) => {
                    let items = vec![first.take(), leaf];
                    *first = Value::Array(items);
                }
                Some(_) => return false,
            }
            true
        }
        [name, rest @ ..] => {
            let inner = map.entry((*name).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            inner.as_object_mut().is_some_and(|inner| insert(inner, rest, value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_objects() {
        let pairs = form_pairs(b"a=1&b%5Bc%5D=2&d=3&d=4&e%5B%5D=5", &BTreeSet::new()).unwrap();
        assert_eq!(
            form_object(&pairs).unwrap().to_string(),
            r#"{"a":"1","b":{"c":"2"},"d":["3","4"],"e":["5"]}"#
        );
        for bad in ["a[b", "a[][b]=1", "[a]=1", "a=1&a[b]=2", "=1"] {
            let pairs = form_pairs(bad.as_bytes(), &BTreeSet::new()).unwrap();
            assert!(form_object(&pairs).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_declared_media_types_are_sent() {
        let declared = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let plain: BTreeSet<String> = declared(&["application/json"]);
        assert!(is_declared(&plain, "application/json"));
        assert!(!is_declared(&plain, "application/merge-patch+json"));
        let any: BTreeSet<String> = declared(&["*/*"]);
        assert!(is_declared(&any, "application/json"));
        assert!(!is_declared(&any, "application/json-patch+json"));
    }

    #[test]
    fn credentials_never_come_in_a_form() {
        let own = BTreeSet::from(["user_key".to_owned()]);
        for form in
            ["access_token=x", "user_key=x", "User-Key=x", "user_key[]=x", "userkey%5Ba%5D=x"]
        {
            let read = form_pairs(form.as_bytes(), &own);
            assert!(matches!(read, Err(CallError::FieldNotGranted { .. })), "{form}");
        }
        assert_eq!(form_pairs(b"user=x&key=y", &own).unwrap().len(), 2);
    }
}

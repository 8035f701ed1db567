//! One request to the HR system: credential, path, method, query, body, in this order.

use crate::{
    answer::{self, Answer},
    directory::{Collection, Directory, text},
    form::Invalid,
    page::{self, Cursor, DEFAULT_LIMIT, MAX_LIMIT},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{Request, body::Incoming};
use serde_json::{Map, Value, json};
use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use types::SecretText;

/// Path of the description's server: what stands before each declared path.
pub(crate) const BASE_PATH: &str = "/v1";
/// Longest request body.
const MAX_BODY_BYTES: usize = 65_536;
/// Time for a request body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The HR system: its records and who may read them.
#[derive(Debug)]
pub(crate) struct Hr {
    directory: Mutex<Directory>,
    credential: SecretText,
    /// `http://ADDR/v1`, for the URLs of neighbouring pages.
    base_url: String,
}

/// A declared path. `'a` is the id in it, as sent.
#[derive(Clone, Copy, Debug)]
enum Target<'a> {
    Employees,
    Employee(&'a str),
    Departments,
    Department(&'a str),
    TimeOffs,
    TimeOff(&'a str),
    Headcount,
    Html,
    Truncated,
    Slow,
}

impl<'a> Target<'a> {
    /// Ids need no percent-encoding and are compared as sent.
    fn find(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix(BASE_PATH)?.strip_prefix('/')?;
        let mut segments = path.split('/');
        let found = match (segments.next()?, segments.next()) {
            ("employees", None) => Self::Employees,
            ("employees", Some(id)) => Self::Employee(id),
            ("departments", None) => Self::Departments,
            ("departments", Some(id)) => Self::Department(id),
            ("time-off", None) => Self::TimeOffs,
            ("time-off", Some(id)) => Self::TimeOff(id),
            ("reports", Some("headcount")) => Self::Headcount,
            ("reports", Some("html")) => Self::Html,
            ("reports", Some("truncated")) => Self::Truncated,
            ("reports", Some("slow")) => Self::Slow,
            _ => return None,
        };
        segments.next().is_none().then_some(found)
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Employees | Self::TimeOffs => "GET, POST",
            Self::Employee(_) => "GET, PATCH",
            _ => "GET",
        }
    }

    /// The query parameters beside paging; `None` where not even paging is declared.
    const fn filter(self) -> Option<&'static str> {
        match self {
            Self::Employees => Some("departmentId"),
            Self::TimeOffs => Some("employeeId"),
            Self::Departments => Some(""),
            _ => None,
        }
    }
}

/// The declared query parameters of a list.
#[derive(Debug)]
struct Query {
    cursor: Option<Cursor>,
    limit: usize,
    filter: Option<(&'static str, String)>,
}

impl Hr {
    pub(crate) fn new(directory: Directory, credential: SecretText, base_url: String) -> Self {
        Self { directory: Mutex::new(directory), credential, base_url }
    }

    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Answer {
        self.answer(request).await.unwrap_or_else(|refusal| *refusal)
    }

    /// Refusals are boxed because an answer is large.
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Box<Answer>> {
        let (head, body) = request.into_parts();
        let presented = self.authenticate(&head.headers)?;
        let target = Target::find(head.uri.path()).ok_or_else(not_found)?;
        if !target.methods().split(", ").any(|method| method == head.method.as_str()) {
            return Err(method_not_allowed(target));
        }
        if head.method != Method::GET {
            // Only lists of a GET have parameters.
            if head.uri.query().is_some_and(|query| !query.is_empty()) {
                return Err(bad_request("unknown_parameter", "a write takes no query parameters"));
            }
            return self.write(target, read_object(&head.headers, body).await?);
        }
        let query = Query::parse(target, head.uri.query().unwrap_or_default())?;
        self.read(target, &query, &presented)
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        // A panic while the lock is held leaves whole records: they are written in one step.
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header that carried the right credential, as sent. Each scheme that is used must be
    /// right, and one must be used.
    fn authenticate(&self, headers: &HeaderMap) -> Result<String, Box<Answer>> {
        let bearers = headers.get_all(header::AUTHORIZATION).iter().map(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(("Authorization: Bearer ", token))
        });
        let keys = headers.get_all("x-api-key").iter();
        let keys = keys.map(|value| Some(("X-Api-Key: ", value.as_bytes())));
        let mut right = None;
        for presented in bearers.chain(keys) {
            match presented {
                Some((name, token)) if equals(token, self.credential.expose().as_bytes()) => {
                    right = Some(format!("{name}{}", self.credential.expose()));
                }
                _ => return Err(unauthorized()),
            }
        }
        right.ok_or_else(unauthorized)
    }

    fn read(
        &self,
        target: Target<'_>,
        query: &Query,
        presented: &str,
    ) -> Result<Answer, Box<Answer>> {
        let directory = self.directory();
        let one = |shown: Option<Value>| shown.map(|shown| answer::json(StatusCode::OK, &shown));
        let found = match target {
            Target::Employees => {
                let show = |place| directory.show_employee(place);
                Some(self.list("employees", &directory.employees, query, show))
            }
            Target::Departments => {
                let show = |place| directory.show_department(place);
                Some(self.list("departments", &directory.departments, query, show))
            }
            Target::TimeOffs => {
                let show = |place| directory.show_time_off(place);
                Some(self.list("time-off", &directory.time_off, query, show))
            }
            Target::Employee(id) => {
                let place = directory.employees.place(id);
                one(place.and_then(|place| directory.show_employee(place)))
            }
            Target::Department(id) => {
                let place = directory.departments.place(id);
                one(place.and_then(|place| directory.show_department(place)))
            }
            Target::TimeOff(id) => {
                let place = directory.time_off.place(id);
                one(place.and_then(|place| directory.show_time_off(place)))
            }
            Target::Headcount => {
                let ssn = directory.employees.record(0).map_or("900-01-0001", |r| text(r, "ssn"));
                Some(answer::careless_error(ssn, presented))
            }
            Target::Html => Some(answer::html()),
            Target::Truncated => Some(answer::truncated(&directory.show_headcount())),
            Target::Slow => Some(answer::slow(&directory.show_headcount())),
        };
        found.ok_or_else(not_found)
    }

    fn write(&self, target: Target<'_>, body: Map<String, Value>) -> Result<Answer, Box<Answer>> {
        let mut directory = self.directory();
        let (status, shown) = match target {
            Target::Employees => {
                room_in(&directory.employees)?;
                let place = directory.create_employee(body).map_err(|error| invalid(&error))?;
                (StatusCode::CREATED, directory.show_employee(place))
            }
            Target::TimeOffs => {
                room_in(&directory.time_off)?;
                let place = directory.create_time_off(body).map_err(|error| invalid(&error))?;
                (StatusCode::CREATED, directory.show_time_off(place))
            }
            Target::Employee(id) => {
                let place = directory.employees.place(id).ok_or_else(not_found)?;
                directory.update_employee(place, body).map_err(|error| invalid(&error))?;
                (StatusCode::OK, directory.show_employee(place))
            }
            // `methods` lets nothing else come here.
            target => return Err(method_not_allowed(target)),
        };
        shown.map(|shown| answer::json(status, &shown)).ok_or_else(not_found)
    }

    /// One page with its envelope.
    fn list(
        &self,
        path: &str,
        collection: &Collection,
        query: &Query,
        show: impl FnMut(usize) -> Option<Value>,
    ) -> Answer {
        let filter = query.filter.as_ref().map(|(name, value)| (*name, value.as_str()));
        let page = page::cut(&collection.matching(filter), query.cursor, query.limit);
        let url = |cursor: Cursor| {
            let mut pairs = url::form_urlencoded::Serializer::new(String::new());
            pairs.append_pair("cursor", &cursor.encode());
            pairs.append_pair("limit", &query.limit.to_string());
            if let Some((name, value)) = filter {
                pairs.append_pair(name, value);
            }
            format!("{}/{path}?{}", self.base_url, pairs.finish())
        };
        answer::json(
            StatusCode::OK,
            &json!({
                "results": page.places.into_iter().filter_map(show).collect::<Vec<_>>(),
                "next": page.next.map(url),
                "previous": page.previous.map(url),
                "total": page.total,
            }),
        )
    }
}

impl Query {
    fn parse(target: Target<'_>, text: &str) -> Result<Self, Box<Answer>> {
        let mut query = Self { cursor: None, limit: DEFAULT_LIMIT, filter: None };
        let mut seen: Vec<Cow<'_, str>> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if seen.contains(&name) {
                return Err(bad_request("repeated_parameter", "a parameter is given twice"));
            }
            match (target.filter(), name.as_ref()) {
                (Some(_), "cursor") => {
                    let cursor = Cursor::decode(&value);
                    query.cursor = Some(cursor.ok_or_else(|| {
                        bad_request("invalid_cursor", "`cursor` was not taken from another page")
                    })?);
                }
                (Some(_), "limit") => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    query.limit = limit.ok_or_else(|| {
                        bad_request("invalid_limit", "`limit` must be a number from 1 to 100")
                    })?;
                }
                (Some(filter), given) if given == filter => {
                    query.filter = Some((filter, value.into_owned()));
                }
                _ => {
                    return Err(bad_request("unknown_parameter", "a parameter is not declared"));
                }
            }
            seen.push(name);
        }
        Ok(query)
    }
}

/// The request's body as a JSON object.
async fn read_object(
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Map<String, Value>, Box<Answer>> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = media.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !media.trim().eq_ignore_ascii_case("application/json") {
        return Err(refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "the body must be application/json",
        ));
    }
    let collected = Limited::new(body, MAX_BODY_BYTES).collect();
    let bytes: Bytes = match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body has more than 65536 bytes",
            ));
        }
        Ok(Err(_)) => return Err(bad_request("broken_body", "the body did not arrive whole")),
        Err(_) => {
            return Err(refuse(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the body did not arrive within 10 seconds",
            ));
        }
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(invalid(&Invalid::new("body", "must be an object"))),
        Err(_) => Err(bad_request("malformed_json", "the body is no JSON")),
    }
}

fn room_in(collection: &Collection) -> Result<(), Box<Answer>> {
    if collection.is_full() {
        Err(refuse(
            StatusCode::INSUFFICIENT_STORAGE,
            "full",
            "the sandbox holds as many records as it keeps",
        ))
    } else {
        Ok(())
    }
}

/// Compares without stopping at the first difference.
fn equals(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len()
        && given.iter().zip(wanted).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Box<Answer> {
    Box::new(answer::error(status, code, message))
}

fn bad_request(code: &str, message: &str) -> Box<Answer> {
    refuse(StatusCode::BAD_REQUEST, code, message)
}

fn not_found() -> Box<Answer> {
    refuse(StatusCode::NOT_FOUND, "not_found", "there is no such path or record")
}

fn invalid(error: &Invalid) -> Box<Answer> {
    refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid", &error.to_string())
}

fn method_not_allowed(target: Target<'_>) -> Box<Answer> {
    let mut refusal =
        refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "no such operation here");
    refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static(target.methods()));
    refusal
}

fn unauthorized() -> Box<Answer> {
    let mut refusal =
        refuse(StatusCode::UNAUTHORIZED, "unauthorized", "the credential is missing or wrong");
    let challenge = HeaderValue::from_static("Bearer realm=\"hr\"");
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    refusal
}

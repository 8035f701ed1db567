//! Failures on request: by the header `x-sandbox-fault` of a call, or by rules for all calls.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The header that asks for a fault.
pub(crate) const HEADER: &str = "x-sandbox-fault";
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_mins(10);
/// The most rules at once.
const MAX_RULES: usize = 100;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error status instead of the answer; nothing is done.
    Status { status: StatusCode, retry_after: Option<u64> },
    /// The right answer, after a pause.
    Delay(Duration),
    /// The right answer, byte by byte, with a pause before each.
    Slow(Duration),
    /// The connection is reset before the answer; what was asked for is done.
    Reset,
    /// The connection ends in the middle of the body.
    Cut,
    /// A whole message whose body is the first half of the right one.
    Truncated,
    /// A body that is no longer what the description declares.
    Drift,
}

/// Why a fault is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    #[error(
        "it begins with no fault: give a status from 400 to 599, delay, slow, reset, cut, truncated or drift"
    )]
    Unknown,
    #[error("a word of it is no option of a fault: give {options}")]
    Option { options: &'static str },
    #[error("more than {limit} fault rules")]
    TooMany { limit: usize },
    #[error("a fault rule is empty")]
    Empty,
}

/// A fault and the calls that it meets.
#[derive(Debug)]
pub(crate) struct Rule {
    text: String,
    fault: Fault,
    every: u64,
    /// Only so many calls, if given.
    first: Option<u64>,
    path: Option<String>,
    method: Option<String>,
    seen: AtomicU64,
}

/// Words are separated by spaces, commas or semicolons: `429 retry-after=3 every=5 path=/employees`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', ';', '\t']).filter(|word| !word.is_empty())
}

impl Rule {
    pub(crate) fn parse(text: &str) -> Result<Self, FaultError> {
        const OPTIONS: &str =
            "retry-after=SECONDS, ms=MILLISECONDS, every=N, first=N, path=/PREFIX or method=NAME";
        let mut parts = words(text);
        let name = parts.next().ok_or(FaultError::Empty)?;
        let mut rule = Self {
            text: text.trim().chars().filter(|c| !c.is_control()).take(200).collect(),
            fault: Fault::Reset,
            every: 1,
            first: None,
            path: None,
            method: None,
            seen: AtomicU64::new(0),
        };
        let (mut retry_after, mut pause) = (None, None);
        for word in parts {
            let unknown = || FaultError::Option { options: OPTIONS };
            let (option, value) = word.split_once('=').ok_or_else(unknown)?;
            let number = || value.parse::<u64>().map_err(|_| unknown());
            match option {
                "retry-after" => retry_after = Some(number()?),
                "ms" => pause = Some(Duration::from_millis(number()?).min(MAX_PAUSE)),
                "every" => rule.every = number()?.max(1),
                "first" => rule.first = Some(number()?),
                "path" => rule.path = Some(value.to_owned()),
                "method" => rule.method = Some(value.to_ascii_uppercase()),
                _ => return Err(unknown()),
            }
        }
        rule.fault = match name {
            "delay" => Fault::Delay(pause.unwrap_or(Duration::from_secs(1))),
            "slow" => Fault::Slow(pause.unwrap_or(Duration::from_millis(100))),
            "reset" => Fault::Reset,
            "cut" => Fault::Cut,
            "truncated" => Fault::Truncated,
            "drift" => Fault::Drift,
            _ => {
                let code = name.parse::<u16>().ok().filter(|code| (400..=599).contains(code));
                let status = code.and_then(|code| StatusCode::from_u16(code).ok());
                let status = status.ok_or(FaultError::Unknown)?;
                // A limit without a time to come back tells a client nothing.
                let default = (status == StatusCode::TOO_MANY_REQUESTS).then_some(1);
                Fault::Status { status, retry_after: retry_after.or(default) }
            }
        };
        Ok(rule)
    }

    /// The fault, if it is this call's turn.
    fn meets(&self, method: &str, path: &str) -> Option<&Fault> {
        let is_meant = self.path.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()))
            && self.method.as_ref().is_none_or(|one| one == method);
        if !is_meant {
            return None;
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        let is_turn = (seen + 1).is_multiple_of(self.every)
            && self.first.is_none_or(|first| seen / self.every < first);
        is_turn.then_some(&self.fault)
    }
}

/// The rules for all calls.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    pub(crate) fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, FaultError> {
        let mut rules = Vec::new();
        for text in texts {
            if rules.len() >= MAX_RULES {
                return Err(FaultError::TooMany { limit: MAX_RULES });
            }
            rules.push(Rule::parse(text)?);
        }
        Ok(Self(rules))
    }

    /// One line each.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|rule| format!("{}\n", rule.text)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first rule's fault whose turn it is. All rules count the call.
    pub(crate) fn meet(&self, method: &str, path: &str) -> Option<Fault> {
        let mut found = None;
        for fault in self.0.iter().filter_map(|rule| rule.meets(method, path)) {
            found.get_or_insert_with(|| fault.clone());
        }
        found
    }
}

/// The fault that a call asks for itself.
pub(crate) fn asked(headers: &HeaderMap) -> Option<Result<Fault, FaultError>> {
    let text = headers.get(HEADER)?.to_str().unwrap_or_default();
    Some(Rule::parse(text).map(|rule| rule.fault))
}

/// Makes an answer differ from its description as providers do: a member gone, one of another type,
/// one that nobody declared. In a list each element drifts.
pub(crate) fn drift(value: &mut Value) {
    match value {
        Value::Array(elements) => drift_elements(elements),
        Value::Object(object) => {
            // The payload of an envelope drifts, not the envelope.
            let is_list = |inner: &Value| inner.get(0).is_some_and(Value::is_object);
            let is_thin = object.len() <= 2;
            let list = object.values().position(is_list);
            let inner = object.values().position(Value::is_object).filter(|_| is_thin);
            match list.or(inner).and_then(|place| object.values_mut().nth(place)) {
                Some(Value::Array(elements)) => drift_elements(elements),
                Some(Value::Object(payload)) => drift_object(payload),
                _ => drift_object(object),
            }
        }
        _ => {}
    }
}

fn drift_elements(elements: &mut [Value]) {
    elements.iter_mut().filter_map(Value::as_object_mut).for_each(drift_object);
}

fn drift_object(object: &mut Map<String, Value>) {
    let names: Vec<String> = object.keys().cloned().collect();
    let mut names = names.into_iter();
    // The first member is the id with most providers: it changes its type, the last one goes.
    if let Some(name) = names.next()
        && let Some(value) = object.get_mut(&name)
    {
        *value = match value {
            Value::String(_) => Value::from(0),
            Value::Number(number) => Value::String(number.to_string()),
            _ => Value::String("drifted".to_owned()),
        };
    }
    if let Some(name) = names.next_back() {
        object.shift_remove(&name);
    }
    object.insert("sandbox_undeclared".to_owned(), Value::from("drifted"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_read_and_wrong_ones_named() {
        let rule = Rule::parse("429 retry-after=3; every=2, path=/a").unwrap();
        let status = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(rule.fault, Fault::Status { status, retry_after: Some(3) });
        let met: Vec<bool> = (0..4).map(|_| rule.meets("GET", "/a/1").is_some()).collect();
        assert_eq!(met, [false, true, false, true]);
        assert!(rule.meets("GET", "/b").is_none());
        let first = Rule::parse("503 first=2").unwrap();
        let met: Vec<bool> = (0..4).map(|_| first.meets("GET", "/").is_some()).collect();
        assert_eq!(met, [true, true, false, false]);
        for wrong in ["", "200", "600", "explode", "429 often", "slow ms=x", "reset every=-1"] {
            assert!(Rule::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn drift_reaches_the_payload() {
        let mut value = json!({ "data": [{ "id": "a", "name": "b", "last": 1 }], "next": null });
        drift(&mut value);
        let expected = json!({ "id": 0, "name": "b", "sandbox_undeclared": "drifted" });
        assert_eq!(value["data"][0], expected);
    }
}

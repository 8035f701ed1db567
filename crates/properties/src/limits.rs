//! Headers that tell of limits carry numbers, spans and dates and no text of the provider's choice;
//! whatever they say is taken in; and a rate reads back from its spelling.

use crate::input::text;
use gateway::{Meter, fuzzing::tells_limits};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use types::{Rate, Timestamp};

pub(crate) fn hold(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    if let Ok(rate) = text.parse::<Rate>() {
        assert_eq!(rate.to_string().parse(), Ok(rate));
    }
    if let Ok(rates) = Rate::parse_list(text) {
        let spelled: Vec<String> = rates.iter().map(ToString::to_string).collect();
        assert_eq!(Rate::parse_list(&spelled.join(", ")), Ok(rates));
    }
    let mut headers = HeaderMap::new();
    let mut passed = false;
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let value = value.trim();
        if tells_limits(&name, value) {
            passed = true;
            judge(&name, value);
        }
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    }
    let meter = Meter::new(Vec::new(), 1);
    for clock in [Timestamp::EPOCH, Timestamp::from_micros(1_700_000_000_000_000)] {
        for status in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
            meter.learn(status, &headers, clock);
        }
    }
    passed
}

fn judge(name: &HeaderName, value: &str) {
    let name = name.as_str();
    assert!(name == "retry-after" || name.contains("ratelimit") || name.contains("rate-limit"));
    assert!(value.len() <= 256 && value.bytes().all(|byte| (b' '..=b'z').contains(&byte)));
    assert!(!value.contains(['/', '<', '>', '@', '%', '&', '?', '_', '\\', '\'']), "{value}");
    for word in value.split(|c: char| !c.is_ascii_alphabetic()) {
        // Four letters are no more than units and the beginnings of names.
        let known = ["limit", "remaining", "reset", "default", "burst", "policy"];
        let is_known = known.contains(&word.to_ascii_lowercase().as_str());
        let is_unit = word.bytes().all(|byte| b"smhTZ".contains(&byte));
        assert!(word.len() < 4 || is_known || is_unit, "{value}");
    }
}

//! Hides secrets and personal data in a text that somebody else wrote, such as a provider's error
//! message.

use regex::{Captures, Regex};
use std::{borrow::Cow, sync::LazyLock};

/// What is put in the place of what was hidden.
const MASK: &str = "[masked]";

/// In order; each pattern runs over what the ones before left.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // URLs lose their user and query.
        r"(?i)\b[a-z][a-z0-9+.-]*://[^\s<>]*",
        // JSON Web Tokens.
        r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?",
        // A credential after the name of its scheme.
        r"(?i)\b(?:bearer|basic|token|apikey)\s+[A-Za-z0-9._~+/=-]{6,}",
        // A secret after its name.
        r"(?i)(?:password|passwd|pwd|secret|token|api[ _-]?key|authorization|credential|cookie|session|ssn|pin)s?[\x22']?\s*(?:[:=]|\bis\b)\s*[\x22']?[^\s,;\x22'&]+",
        // E-mail addresses.
        r"(?i)[a-z0-9._%+'-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*",
        // Social security numbers and their like.
        r"\b\d{3}[- ]\d{2}[- ]\d{4}\b",
        // International bank account numbers.
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b",
        // Telephone numbers.
        r"\+\d[\d ()./-]{6,}\d",
        r"\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b",
        // Addresses of machines.
        r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
        // Dates, which may be of birth.
        r"\b(?:19|20)\d{2}-\d{2}-\d{2}\b",
        // Long runs of digits: cards, accounts, identifiers.
        r"\b\d(?:[ -]?\d){7,}\b",
    ]
    .iter()
    // Constant patterns; a broken one would fail every test here.
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

/// Text that looks like a key: long, without spaces, of letters and digits together.
static TOKENS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9_+/=.~-]{16,}").ok());

/// Hides what may be secret or personal. It prefers to hide too much.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = Cow::Borrowed(text);
    for pattern in PATTERNS.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&masked, MASK) {
            masked = Cow::Owned(changed);
        }
    }
    let Some(tokens) = TOKENS.as_ref() else { return Cow::Owned(MASK.to_owned()) };
    if let Cow::Owned(changed) = tokens.replace_all(&masked, |found: &Captures<'_>| {
        let text = found.get(0).map_or("", |found| found.as_str());
        if looks_random(text) { MASK.to_owned() } else { text.to_owned() }
    }) {
        masked = Cow::Owned(changed);
    }
    masked
}

/// Words of a sentence, paths and constants in capitals are readable; keys mix letters and digits.
fn looks_random(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let upper = text.chars().filter(char::is_ascii_uppercase).count();
    let lower = text.chars().filter(char::is_ascii_lowercase).count();
    let is_mixed_case = upper > 2 && lower > 2;
    digits >= 3 && (upper + lower) >= 3 || is_mixed_case && digits > 0 || text.len() >= 40
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_personal_data_are_hidden() {
        for (text, hidden) in [
            ("no access for ada@example.com here", "ada@example.com"),
            ("SSN 078-05-1120 exists", "078-05-1120"),
            ("ssn 943-17-2184 unknown", "943-17-2184"),
            ("card 4111 1111 1111 1111 declined", "4111"),
            ("card 4111111111111111 declined", "4111111111111111"),
            ("call +44 20 7946 0958 now", "7946"),
            ("call (555) 123-4567 now", "123-4567"),
            ("Authorization: Bearer abcDEF123456", "abcDEF123456"),
            ("bearer sandbox-x7 is wrong", "sandbox-x7"),
            ("password=hunter2 is wrong", "hunter2"),
            ("the api key is k-1", "k-1"),
            ("{\"token\":\"t-9\"}", "t-9"),
            ("bad eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.sig", "eyJhbGci"),
            ("see https://user:pw@host/x?token=abc", "token=abc"),
            ("key sk_live_51H8xQ2eZvKYlo2C rejected", "sk_live_51H8xQ2eZvKYlo2C"),
            ("IBAN DE89370400440532013000", "370400440532013000"),
            ("born 1984-02-29", "1984-02-29"),
            ("from 10.1.2.3", "10.1.2.3"),
            ("account 12345678", "12345678"),
        ] {
            let masked = mask(text);
            assert!(!masked.contains(hidden), "{text} became {masked}");
            assert!(masked.contains(MASK), "{text} became {masked}");
        }
    }

    #[test]
    fn ordinary_messages_stay_readable() {
        for text in [
            "Employee 42 not found",
            "The field departmentId must be one of: engineering, sales",
            "Rate limit of 100 requests per minute exceeded, retry after 30 seconds",
            "validation_error",
            "HTTP 503: upstream connect error",
            "Unknown parameter: employmentStatusChangedAfter",
            "INVALID_REQUEST_PARAMETER_VALUE",
            "must be at most 255 characters",
        ] {
            assert_eq!(mask(text), text);
        }
    }
}

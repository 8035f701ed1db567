//! Hides secrets and personal data in a text that somebody else wrote, such as a provider's error
//! message.

use regex::{Captures, Regex};
use std::{borrow::Cow, sync::LazyLock};

/// What is put in the place of what was hidden.
const MASK: &str = "[masked]";

/// What a rule does with a finding.
#[derive(Clone, Copy)]
enum Decide {
    Always,
    /// Unless group `value` is a word of an ordinary sentence: `the token is invalid`.
    UnlessWord,
    /// Only with a digit in it.
    IfDigit,
    /// Only if it mixes letters and digits as keys do.
    IfRandom,
}

/// In order: each rule runs over what the ones before left. Constant patterns: one that did not
/// compile would fail the tests here.
const RULES: &[(&str, Decide)] = &[
    // Headers that carry credentials, to the end of their line.
    (
        r#"(?i)\b(?:proxy-)?(?:authorization|set-cookie|cookie)\b["']?\s*[:=]\s*[^\r\n]+"#,
        Decide::Always,
    ),
    // URLs: their user, path and query may all tell something.
    (r#"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s<>"'`]+"#, Decide::Always),
    // Queries without a URL around them.
    (r#"(?i)[?&][\w.\[\]%-]+=[^\s&"'<>]+"#, Decide::Always),
    // JSON Web Tokens (RFC 7519).
    (r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?", Decide::Always),
    // A credential after the name of its scheme (RFC 6750 §2.1, RFC 7617 §2).
    (
        r"(?i)\b(?:bearer|basic|digest|token|api[ _-]?key|key)\s+(?P<value>[A-Za-z0-9._~+/=-]{6,})",
        Decide::UnlessWord,
    ),
    // A secret after its name.
    (
        r#"(?i)(?:password|passwd|passphrase|passcode|pwd|secret|token|api[ _-]?key|credential|session(?:[ _-]?id)?|ssn|\bpin|\botp)s?["']?\s*[:=]\s*(?:"[^"]*"|'[^']*'|[^\s,;&"']+)"#,
        Decide::Always,
    ),
    (
        r#"(?i)\b(?:password|passphrase|passcode|secret|token|key|credential|ssn|pin)\s+(?:is|was|of)\s+["'`]?(?P<value>[^\s,;"'`]+)"#,
        Decide::UnlessWord,
    ),
    // E-mail addresses, of any script.
    (r#"[^\s<>"'`(),;:=\[\]]+@[^\s<>"'`(),;:=\[\]]+"#, Decide::Always),
    // International bank account numbers (ISO 13616).
    (r"(?i)\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,4})?\b", Decide::IfRandom),
    // Telephone numbers, addresses of machines, dates and times.
    (r"\+\d[\d ()./-]{5,}\d", Decide::Always),
    (r"\(\d{2,4}\)[ .-]?\d{2,4}[ .-]?\d{2,4}", Decide::Always),
    (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", Decide::Always),
    (r"(?i)\b(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{0,4}\b", Decide::Always),
    (r"(?i)[0-9a-f:]*::[0-9a-f:]*", Decide::IfDigit),
    (r"\b(?:18|19|20)\d{2}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ]?[\d:.]+Z?)?", Decide::Always),
    (r"\b\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})\b", Decide::Always),
    // Social security numbers and their like, local telephone numbers.
    (r"\b\d{3}[ .-]\d{2,3}[ .-]\d{4}\b", Decide::Always),
    (r"\b\d{3}[ .-]\d{4}\b", Decide::Always),
    // Seven digits and more: cards, accounts, identifiers.
    (r"\d(?:[ .-]?\d){6,}", Decide::Always),
    // What looks like a key.
    (r"[A-Za-z0-9_+/=.~-]{12,}", Decide::IfRandom),
];

static PATTERNS: LazyLock<Vec<(Regex, Decide)>> = LazyLock::new(|| {
    RULES
        .iter()
        .filter_map(|(pattern, decide)| Some((Regex::new(pattern).ok()?, *decide)))
        .collect()
});

/// Hides what may be secret or personal, and prefers to hide too much: numbers of seven digits and
/// more, dates, URLs and e-mail addresses go, and everything that looks like a key. Names of people
/// cannot be told from other words and stay.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = Cow::Borrowed(text);
    for (pattern, decide) in PATTERNS.iter() {
        let changed = pattern.replace_all(&masked, |found: &Captures<'_>| {
            let whole = found.get(0).map_or("", |whole| whole.as_str());
            let value = found.name("value").map_or(whole, |value| value.as_str());
            let is_hidden = match decide {
                Decide::Always => true,
                Decide::UnlessWord => !is_word(value),
                Decide::IfDigit => whole.contains(|c: char| c.is_ascii_digit()),
                Decide::IfRandom => looks_random(whole),
            };
            if is_hidden { MASK.to_owned() } else { whole.to_owned() }
        });
        if let Cow::Owned(changed) = changed {
            masked = Cow::Owned(changed);
        }
    }
    masked
}

/// A word of a sentence: letters of one case, with a capital and a full stop at most.
fn is_word(value: &str) -> bool {
    let value = value.trim_end_matches(['.', '!', '?', ')']);
    let rest = value.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or(value);
    value.len() <= 18
        && (rest.chars().all(|c| c.is_ascii_lowercase())
            || value.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// Words, paths and constants are readable; keys mix letters and digits, or are very long.
fn looks_random(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let upper = text.chars().filter(char::is_ascii_uppercase).count();
    let lower = text.chars().filter(char::is_ascii_lowercase).count();
    let longest = text.split(['.', '/', '_', '-']).map(str::len).max().unwrap_or(0);
    digits >= 3 && upper + lower >= 3
        || digits > 0 && upper > 2 && lower > 2
        || digits > 0 && lower == 0 && longest >= 16
        || longest >= 32
        || text.len() >= 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(PATTERNS.len(), RULES.len());
    }

    #[test]
    fn secrets_and_personal_data_are_hidden() {
        for (text, hidden) in [
            ("no access for ada@example.com here", "ada@example.com"),
            ("no access for <jörg.müller@exämple.de>", "jörg"),
            ("user:o'neil+x@example.co.uk", "neil"),
            ("SSN 078-05-1120 exists", "078-05-1120"),
            ("ssn 943 17 2184 unknown", "943 17 2184"),
            ("ssn=943172184", "943172184"),
            ("card 4111 1111 1111 1111 declined", "4111"),
            ("card 4111-1111-1111-1111 declined", "4111"),
            ("card 4111111111111111 declined", "4111111111111111"),
            ("amex 378282246310005", "378282246310005"),
            ("call +44 20 7946 0958 now", "7946"),
            ("call (555) 123-4567 now", "123-4567"),
            ("call 555-0199 now", "555-0199"),
            ("call 555.010.1999 now", "555.010.1999"),
            ("Authorization: Bearer abcDEF123456", "abcDEF123456"),
            ("authorization: bearer abcdefghij", "abcdefghij"),
            ("\"Authorization\": \"Basic dXNlcjpwYXNz\"", "dXNlcjpwYXNz"),
            ("Cookie: a=b; session=xyz", "xyz"),
            ("bearer sandbox-x7 is wrong", "sandbox-x7"),
            ("invalid Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNz"),
            ("password=hunter2 is wrong", "hunter2"),
            ("{\"password\": \"two words\"}", "words"),
            ("{'client_secret':'it'}", "it'"),
            ("the api key is k-1", "k-1"),
            ("The password is \"S3cret!\"", "S3cret"),
            ("{\"token\":\"t-9\"}", "t-9"),
            ("bad eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.sig", "eyJhbGci"),
            ("see https://user:pw@host/x?token=abc", "token=abc"),
            ("see https://user:pw@host/x", "user:pw"),
            ("GET /v1/people?email=ada%40example.com failed", "ada"),
            ("GET /v1/people?q=lovelace&page=2 failed", "lovelace"),
            ("postgres://app:pw@db/x", "pw"),
            ("key sk_live_51H8xQ2eZvKYlo2C rejected", "sk_live_51H8xQ2eZvKYlo2C"),
            ("AKIAIOSFODNN7EXAMPLE is unknown", "AKIAIOSFODNN7EXAMPLE"),
            ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7"),
            ("xoxb-123456789012-abcdefGHIJKL", "xoxb-123"),
            ("id 0192f8c1-4b7e-7c3a-9d51-7a2b3c4d5e6f", "0192f8c1"),
            ("hash e3b0c44298fc1c149afbf4c8996fb924", "e3b0c442"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaa"),
            ("IBAN DE89370400440532013000", "370400440532013000"),
            ("IBAN GB82 WEST 1234 5698 7654 32", "WEST"),
            ("born 1984-02-29", "1984-02-29"),
            ("born 29.02.1984", "29.02.1984"),
            ("born 2/9/1984", "1984"),
            ("at 2026-11-24T14:00:00Z", "2026"),
            ("from 10.1.2.3", "10.1.2.3"),
            ("from 2001:db8::8a2e:370:7334", "8a2e"),
            ("from fe80:0:0:0:0:0:0:1", "fe80"),
            ("account 12345678", "12345678"),
            ("account 1234567", "1234567"),
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
            "The token is invalid",
            "Bearer token is missing.",
            "Token expired",
            "Bearer authentication required",
            "password is required",
            "jobs[].title is not a known field",
            "Error::NotFound: no such record",
            "std::io::Error",
            "limit must be between 1 and 1000",
            "version 3.1.0 is not supported",
            "price 19.99 EUR at 12:30",
            "",
        ] {
            assert_eq!(mask(text), text);
        }
    }
}

//! Reads what a token endpoint answers: only what is looked for, into memory that is wiped.

use provider::auth::{AnswerPlace, Take};
use secrecy::zeroize::Zeroizing;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{fmt, time::Duration};
use types::Timestamp;

use super::{AcquireError, Variables};

/// The longest answer that is read.
pub const MAX_TOKEN_ANSWER_BYTES: usize = 256 * 1024;

/// What came back.
pub struct TokenAnswer<'a> {
    pub status: u16,
    /// Names in lower case.
    pub headers: &'a [(String, Zeroizing<String>)],
    pub body: &'a [u8],
}

impl fmt::Debug for TokenAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}

type Text = Zeroizing<String>;

impl TokenAnswer<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str())
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What stands at a place, as text; a list of texts is joined by spaces.
    pub(super) fn at(&self, place: &AnswerPlace) -> Option<Text> {
        match place {
            AnswerPlace::Header(name) => {
                self.header(name).map(|value| Zeroizing::new(value.to_owned()))
            }
            AnswerPlace::Body(pointer) if self.is_form() => match pointer.as_slice() {
                [name] => form_member(self.body, name),
                _ => None,
            },
            AnswerPlace::Body(pointer) => {
                let mut reader = serde_json::Deserializer::from_slice(self.body);
                let found = Find(pointer).deserialize(&mut reader).ok()?;
                reader.end().ok()?;
                found.filter(|text| !text.is_empty())
            }
        }
    }

    /// Some providers answer as they were asked.
    fn is_form(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        kind.starts_with(super::fill::FORM)
            || kind.starts_with("text/plain") && !self.body.trim_ascii_start().starts_with(b"{")
    }

    /// Takes what a plan wants of this answer.
    pub(super) fn take(&self, takes: &[Take], values: &mut Variables) -> Result<(), AcquireError> {
        for take in takes {
            let found = self.at(&take.place);
            let Some(found) = found else {
                if take.is_optional {
                    continue;
                }
                return Err(AcquireError::AnswerLacks { name: take.name.clone() });
            };
            let fits = match &take.pattern {
                Some(pattern) => pattern.taken(&found),
                None => Some(found.as_str()),
            };
            let fits = fits.filter(|text| !text.chars().any(char::is_control));
            let fits = fits.ok_or_else(|| AcquireError::AnswerUnfit { name: take.name.clone() })?;
            values.set(&take.name, fits);
        }
        Ok(())
    }

    /// The error's code, if it is one that such answers have: never a text of the provider's own.
    pub(super) fn error_code(&self) -> Option<String> {
        let code = self
            .at(&AnswerPlace::member("error"))
            .or_else(|| self.at(&AnswerPlace::Body(vec!["error".into(), "code".into()])))?;
        KNOWN_ERRORS.iter().find(|known| ***known == **code).map(|known| (*known).to_owned())
    }

    /// RFC 9110 §10.2.3, bounded.
    pub(super) fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_hours(1);
        let text = self.header("retry-after")?;
        let wait = match text.trim().parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => Timestamp::parse(text.trim())?.since(now),
        };
        Some(wait.min(LONGEST))
    }
}

/// RFC 6749 §5.2, RFC 9449 §5, and what large providers say instead.
const KNOWN_ERRORS: [&str; 18] = [
    "access_denied",
    "account_inactive",
    "bad_refresh_token",
    "consent_required",
    "interaction_required",
    "invalid_client",
    "invalid_dpop_proof",
    "invalid_grant",
    "invalid_refresh_token",
    "invalid_request",
    "invalid_scope",
    "login_required",
    "slow_down",
    "temporarily_unavailable",
    "token_revoked",
    "unauthorized_client",
    "unsupported_grant_type",
    "use_dpop_nonce",
];

/// Codes that say that what was consented to is over.
pub(super) const ENDED: [&str; 8] = [
    "account_inactive",
    "bad_refresh_token",
    "consent_required",
    "interaction_required",
    "invalid_grant",
    "invalid_refresh_token",
    "login_required",
    "token_revoked",
];

fn form_member(body: &[u8], name: &str) -> Option<Text> {
    let body = std::str::from_utf8(body).ok()?;
    let pair = body.trim().split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })?;
    let spaced = Zeroizing::new(pair.replace('+', " "));
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?;
    let text = Zeroizing::new(decoded.into_owned());
    (!text.is_empty()).then_some(text)
}

/// Follows a pointer and keeps nothing but what it leads to.
struct Find<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<Text>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Find<'_> {
    fn scalar(&self, text: &str) -> Option<Text> {
        self.0.is_empty().then(|| Zeroizing::new(text.to_owned()))
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<Text>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.scalar(text))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(self.scalar(if flag { "true" } else { "false" }))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.scalar(&number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.scalar(&number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self.scalar(&number.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match self.0.split_first() {
                Some((first, rest)) if *first == *key && found.is_none() => {
                    found = map.next_value_seed(Find(rest))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let Some((first, rest)) = self.0.split_first() else {
            let mut joined: Option<Text> = None;
            while let Some(one) = list.next_element_seed(Find(&[]))? {
                let Some(one) = one else { continue };
                let joined = joined.get_or_insert_with(Zeroizing::default);
                if !joined.is_empty() {
                    joined.push(' ');
                }
                joined.push_str(&one);
            }
            return Ok(joined);
        };
        let wanted = first.parse::<usize>().ok();
        let (mut found, mut at) = (None, 0);
        loop {
            if wanted == Some(at) {
                match list.next_element_seed(Find(rest))? {
                    Some(one) => found = one,
                    None => return Ok(found),
                }
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(body: &str, place: &str) -> Option<String> {
        let kind =
            if body.starts_with('{') { "application/json" } else { super::super::fill::FORM };
        let headers = [
            ("content-type".to_owned(), Zeroizing::new(kind.to_owned())),
            ("x-session".to_owned(), Zeroizing::new("s".to_owned())),
        ];
        let answer = TokenAnswer { status: 200, headers: &headers, body: body.as_bytes() };
        answer.at(&AnswerPlace::parse(place).unwrap()).map(|text| text.to_string())
    }

    #[test]
    fn values_are_found_where_they_stand() {
        let body = r#"{"a":{"b":["x",{"c":"d\u0065"}]},"n":3600,"t":true,"z":null,"l":["r","w"]}"#;
        let check = |place: &str, expected: Option<&str>| {
            assert_eq!(at(body, place).as_deref(), expected, "{place}");
        };
        check("/a/b/1/c", Some("de"));
        check("/n", Some("3600"));
        check("/t", Some("true"));
        check("/l", Some("r w"));
        check("/z", None);
        check("/a", None);
        check("/a/b/7", None);
        check("/n/x", None);
        check("header:X-Session", Some("s"));
        check("header:X-Other", None);
        assert_eq!(at("access_token=a%2Bb+c&x=", "/access_token").as_deref(), Some("a+b c"));
        assert_eq!(at("access_token=a&x=", "/x"), None);
        assert_eq!(at(r#"{"a":"b"} trailing"#, "/a"), None);
        assert_eq!(at(r#"{"a":"b""#, "/a"), None);
    }

    #[test]
    fn an_error_is_told_by_known_codes_alone() {
        let code = |body: &str| {
            TokenAnswer { status: 400, headers: &[], body: body.as_bytes() }.error_code()
        };
        assert_eq!(code(r#"{"error":"invalid_grant"}"#).as_deref(), Some("invalid_grant"));
        assert_eq!(
            code(r#"{"error":{"code":"invalid_client"}}"#).as_deref(),
            Some("invalid_client")
        );
        assert_eq!(code(r#"{"error":"the secret canary is wrong"}"#), None);
        assert_eq!(code("<html>"), None);
    }
}

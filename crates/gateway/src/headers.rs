//! Which headers pass, in both directions. Everything here is an allow-list.

use crate::{
    error::CallError,
    etag::TagKey,
    rewrite::UrlRewriter,
    snapshot::{ConnectionEntry, Decision},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use types::ApiKey;

/// Carries the caller's API key, beside `Authorization`.
pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("x-weirgate-key");
/// On every answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("weirgate-request-id");
/// Declared minus granted, from the compiled decision.
pub(crate) const FIELDS_WITHHELD: HeaderName = HeaderName::from_static("weirgate-fields-withheld");

/// Passes to the provider as given. Never Range: a part of a body cannot be projected. Never
/// If-Modified-Since: a date is not bound to what was granted.
const REQUEST_ALLOWED: [HeaderName; 2] =
    [header::ACCEPT_LANGUAGE, HeaderName::from_static("idempotency-key")];

/// The most entity tags of an If-None-Match.
const MAX_TAGS: usize = 16;
/// The longest value of a passed header, in bytes.
const MAX_VALUE_BYTES: usize = 2_048;

/// The caller's API key.
pub(crate) fn read_key(headers: &HeaderMap) -> Result<ApiKey, CallError> {
    let mut bearer = headers.get_all(header::AUTHORIZATION).iter();
    let mut own = headers.get_all(KEY_HEADER).iter();
    let given = match (bearer.next(), own.next()) {
        (Some(_), Some(_)) => {
            let what = "both Authorization and X-Weirgate-Key are given";
            return Err(CallError::BothKeyHeaders { what });
        }
        (None, None) => return Err(CallError::KeyMissing),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| CallError::KeyMissing)?;
            // The scheme's name is case-insensitive (RFC 9110 §11.1).
            match text.split_once(' ') {
                Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
                _ => return Err(CallError::KeyMissing),
            }
        }
        (None, Some(value)) => value.to_str().map_err(|_| CallError::KeyMissing)?.trim(),
    };
    if bearer.next().is_some() {
        return Err(CallError::BothKeyHeaders { what: "Authorization is given more than once" });
    }
    if own.next().is_some() {
        return Err(CallError::BothKeyHeaders { what: "X-Weirgate-Key is given more than once" });
    }
    ApiKey::parse(given).map_err(CallError::KeyMalformed)
}

/// Whether a name promises a credential: such a value never comes from a caller, whatever a grant
/// says.
pub fn is_credential_name(name: &str) -> bool {
    let flat: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    const PARTS: [&str; 14] = [
        "authorization",
        "cookie",
        "token",
        "apikey",
        "secret",
        "password",
        "passwd",
        "signature",
        "authkey",
        "accesskey",
        "privatekey",
        "subscriptionkey",
        "credential",
        "passphrase",
    ];
    // They are parts of harmless names, too: `author`, `training_session_id`.
    const WHOLE: [&str; 11] = [
        "sid",
        "xsid",
        "connectsid",
        "auth",
        "xauth",
        "session",
        "xsession",
        "sessionid",
        "xsessionid",
        "sessionkey",
        "phpsessid",
    ];
    // As a word of their own: `user_pin`, `otpCode` and `hmac-sha256`, and not `shipping`.
    const WORDS: [&str; 10] =
        ["jwt", "bearer", "sig", "pwd", "pin", "otp", "totp", "hmac", "assertion", "passcode"];
    // What is told of such a thing is not the thing itself.
    const ABOUT: [&str; 3] = ["id", "ids", "type"];
    // Paging tokens are no credentials.
    const HARMLESS: [&str; 7] = [
        "pagetoken",
        "nextpagetoken",
        "nexttoken",
        "continuationtoken",
        "synctoken",
        "paginationtoken",
        "skiptoken",
    ];
    let (flat, words) = (flat.as_str(), words(name));
    let is_about = words.last().is_some_and(|word| ABOUT.contains(&word.as_str()));
    !HARMLESS.contains(&flat)
        && (WHOLE.contains(&flat)
            || PARTS.iter().any(|part| flat.contains(part))
            || !is_about && words.iter().any(|word| WORDS.contains(&word.as_str())))
}

/// The words of `user_pin`, `X-Sig` and `idJWTValue`, in lower case and without digits behind them.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let letters: Vec<char> = name.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let is_lower = |other: Option<&char>| other.is_some_and(char::is_ascii_lowercase);
        let begins = letter.is_ascii_uppercase()
            && (before.is_some_and(|before| !before.is_ascii_uppercase())
                || is_lower(letters.get(at + 1)));
        if begins || !letter.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_ascii_alphanumeric()) {
            word.push(letter.to_ascii_lowercase());
        }
    }
    let bare = words.into_iter().map(|word| word.trim_end_matches(char::is_numeric).to_owned());
    bare.filter(|word| !word.is_empty()).collect()
}

/// Whether servers may read two names as one: some pass over case, over what is in brackets, and over
/// which separator stands between words.
pub fn is_same_name(one: &str, other: &str) -> bool {
    let flat = |name: &str| -> String {
        let base = name.split('[').next().filter(|base| !base.is_empty()).unwrap_or(name);
        base.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (flat_one, flat_other) = (flat(one), flat(other));
    one == other || (!flat_one.is_empty() && flat_one == flat_other)
}

/// Headers that only the gateway, or the HTTP layer below it, writes; and those that would change
/// which method or URL the provider sees.
fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [&str; 37] = [
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "content-encoding",
        "content-type",
        "accept",
        "accept-encoding",
        "expect",
        "range",
        "if-range",
        "if-none-match",
        "if-match",
        "if-modified-since",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-method",
        "x-http-verb",
        "x-verb",
        "x-original-method",
        "x-request-method",
        "x-override-method",
        "x-original-url",
        "x-original-uri",
        "x-original-host",
        "x-override-url",
        "x-rewrite-url",
        "x-rewrite-uri",
        "x-host",
        "forwarded",
        "via",
    ];
    // Behind CGI both are one.
    let name = name.as_str().replace('_', "-");
    RESERVED.contains(&name.as_str())
        || name.starts_with("x-forwarded-")
        || name.starts_with("proxy-")
        || name.starts_with("weirgate-")
        || name.starts_with("x-weirgate-")
}

/// The headers of the request to the provider, without the credential.
pub(crate) fn to_provider(
    given: &HeaderMap,
    decision: &Decision,
    connection: &ConnectionEntry,
    tags: &TagKey,
    is_safe: bool,
) -> Result<HeaderMap, CallError> {
    let mut out = HeaderMap::with_capacity(8);
    for name in &REQUEST_ALLOWED {
        if let Some(value) = given.get(name)
            && value.len() <= MAX_VALUE_BYTES
        {
            out.insert(name.clone(), value.clone());
        }
    }
    for name in &decision.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        if is_reserved(&name)
            || is_credential_name(name.as_str())
            || connection.credential_headers.iter().any(|own| is_same_name(own, name.as_str()))
            || connection
                .fixed_headers
                .iter()
                .any(|(own, _)| is_same_name(own.as_str(), name.as_str()))
        {
            continue;
        }
        if let Some(value) = given.get(&name)
            && value.len() <= MAX_VALUE_BYTES
        {
            out.insert(name, value.clone());
        }
    }
    if let Some(given_tag) = given.get(header::IF_MATCH) {
        let opened = given_tag
            .to_str()
            .ok()
            .and_then(|tag| tags.open(connection.id, &decision.fingerprint, tag))
            .and_then(|tag| HeaderValue::from_str(&tag).ok())
            .ok_or(CallError::PreconditionFailed)?;
        out.insert(header::IF_MATCH, opened);
    }
    if is_safe && let Some(tags) = none_match(given, decision, connection, tags) {
        out.insert(header::IF_NONE_MATCH, tags);
    }
    // After the caller's, so that a fixed value always wins.
    for (name, value) in &connection.fixed_headers {
        if !is_reserved(name) {
            out.insert(name.clone(), value.clone());
        }
    }
    out.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    out.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br, zstd, deflate"));
    out.insert(header::USER_AGENT, HeaderValue::from_static("weirgate"));
    Ok(out)
}

/// Those tags of an If-None-Match that were given out for this connection and decision, as the
/// provider knows them: a 304 then confirms exactly what this caller may see. Others, and `*`, are
/// dropped, which costs a whole answer and nothing else.
fn none_match(
    given: &HeaderMap,
    decision: &Decision,
    connection: &ConnectionEntry,
    tags: &TagKey,
) -> Option<HeaderValue> {
    let values = given.get_all(header::IF_NONE_MATCH).iter();
    let opened: Vec<String> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .take(MAX_TAGS)
        // Caches may weaken a tag (RFC 9110 §8.8.1).
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .filter_map(|tag| tags.open(connection.id, &decision.fingerprint, tag))
        .collect();
    HeaderValue::from_str(&opened.join(", ")).ok().filter(|_| !opened.is_empty())
}

/// The headers of an answer that come from the provider.
pub(crate) fn to_caller(
    answered: &HeaderMap,
    out: &mut HeaderMap,
    decision: &Decision,
    connection: &ConnectionEntry,
    tags: &TagKey,
    urls: &UrlRewriter,
) {
    let mut pass = |name: HeaderName, value: HeaderValue| {
        if !urls.repeats_credential(value.as_bytes()) {
            out.insert(name, value);
        }
    };
    for (name, value) in answered {
        if is_rate_limit(name) && value.to_str().is_ok_and(is_limit_value) {
            pass(name.clone(), value.clone());
        }
    }
    if let Some(location) = answered.get(header::LOCATION).and_then(|value| value.to_str().ok())
        && let Some(url) = urls.location(location)
        && let Ok(value) = HeaderValue::from_str(&url)
    {
        pass(header::LOCATION, value);
    }
    let links = answered.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let links = urls.rewrite_links(links);
    if !links.is_empty()
        && let Ok(value) = HeaderValue::from_str(&links)
    {
        pass(header::LINK, value);
    }
    if let Some(tag) = answered.get(header::ETAG).and_then(|value| value.to_str().ok())
        && let Some(sealed) = tags.seal(connection.id, &decision.fingerprint, tag)
        && let Ok(value) = HeaderValue::from_str(&sealed)
    {
        pass(header::ETAG, value);
    }
}

/// The rate-limit family, by closed lists of words: a name could carry text as well as a value.
pub(crate) fn is_rate_limit(name: &HeaderName) -> bool {
    const KINDS: [&str; 5] = ["limit", "remaining", "reset", "used", "policy"];
    const OF_WHAT: [&str; 27] = [
        "account",
        "after",
        "api",
        "app",
        "burst",
        "concurrent",
        "daily",
        "day",
        "global",
        "hour",
        "hourly",
        "input",
        "interval",
        "ip",
        "method",
        "minute",
        "month",
        "monthly",
        "output",
        "requests",
        "resource",
        "search",
        "second",
        "tokens",
        "user",
        "week",
        "window",
    ];
    let name = name.as_str();
    let rest = ["ratelimit-", "x-ratelimit-", "x-rate-limit-"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    matches!(name, "retry-after" | "ratelimit")
        || rest.is_some_and(|rest| {
            let kinds = rest.split('-').filter(|word| KINDS.contains(word)).count();
            kinds == 1
                && rest.split('-').count() <= 4
                && rest.split('-').all(|word| KINDS.contains(&word) || OF_WHAT.contains(&word))
        })
}

/// Numbers, spans, dates and the parameters of the rate-limit family: no free text passes, so that
/// these headers carry nothing else.
pub(crate) fn is_limit_value(value: &str) -> bool {
    const WORDS: [&str; 31] = [
        "limit",
        "remaining",
        "reset",
        "default",
        "q",
        "w",
        "r",
        "t",
        "burst",
        "gmt",
        "utc",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sun",
        "jan",
        "feb",
        "mar",
        "apr",
        "may",
        "jun",
        "jul",
        "aug",
        "sep",
        "oct",
        "nov",
        "dec",
        "policy",
    ];
    let is_span = |word: &str| {
        word.len() <= 20
            && word.bytes().all(|byte| byte.is_ascii_digit() || b"smhTZ".contains(&byte))
    };
    value.len() <= 256
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" .,:;=\"+-".contains(&byte))
        && value
            .split(|c: char| !c.is_ascii_alphanumeric())
            .all(|word| is_span(word) || WORDS.contains(&word.to_ascii_lowercase().as_str()))
}

/// What a media type is, as far as a decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`, `text/json` or `+json`, in UTF-8.
    Json,
    Form,
    Other,
    Missing,
}

/// Reads a Content-Type. Several, or one with another charset than UTF-8, are `Other`.
pub(crate) fn media(headers: &HeaderMap) -> Media {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(first) = values.next() else { return Media::Missing };
    let (Ok(text), None) = (first.to_str(), values.next()) else { return Media::Other };
    let (essence, params) = text.split_once(';').unwrap_or((text, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let is_utf8 = params.split(';').all(|param| match param.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    let is_json = essence == "application/json"
        || essence == "text/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    match () {
        () if is_json && is_utf8 => Media::Json,
        () if essence == "application/x-www-form-urlencoded" && is_utf8 => Media::Form,
        () => Media::Other,
    }
}

/// The Content-Type of content that passes unfiltered: the type, and of its parameters a well-known
/// charset.
pub(crate) fn passing_type(headers: &HeaderMap) -> Option<HeaderValue> {
    const CHARSETS: [&str; 5] = ["utf-8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16"];
    let mut value = essence(headers)?;
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let charset = text.split(';').skip(1).find_map(|param| {
        let (name, charset) = param.split_once('=')?;
        let charset = charset.trim().trim_matches('"').to_ascii_lowercase();
        let is_known = CHARSETS.contains(&charset.as_str());
        (name.trim().eq_ignore_ascii_case("charset") && is_known).then_some(charset)
    });
    if let Some(charset) = charset {
        value.push_str("; charset=");
        value.push_str(&charset);
    }
    HeaderValue::from_str(&value).ok()
}

/// A Content-Type without its parameters, lower case.
pub(crate) fn essence(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_names_are_recognised_in_every_spelling() {
        for name in [
            "Authorization",
            "X-Api-Key",
            "api_key",
            "access_token",
            "X-Auth-Token",
            "client-secret",
            "Cookie",
            "token",
            "X-Auth-Key",
            "X-Auth",
            "Access-Key",
            "X-Session",
            "X-Session-Id",
            "X-Amz-Credential",
            "Ocp-Apim-Subscription-Key",
            "jwt",
            "id_jwt",
            "Bearer",
            "X-Sig",
            "sig[]",
            "userPwd",
            "sid",
            "card-pin",
            "userPIN",
            "otp",
            "X-HMAC",
            "client_assertion",
            "passcode",
            "totp_code",
            "otpQuery",
            "PINCode",
            "idJWTValue",
            "X-Hmac-SHA256",
            "user[pin]",
            "pin.value",
            "otp2",
            "X-SID",
            "connect.sid",
        ] {
            assert!(is_credential_name(name), "{name}");
        }
        for name in [
            "limit",
            "page_token",
            "nextPageToken",
            "X-Tenant",
            "pageToken",
            "startKey",
            "last_evaluated_key",
            "cursor",
            "author",
            "training_session_id",
            "sessions",
            "design",
            "shipping",
            "pin_id",
            "client_assertion_type",
            "shippingPinned",
            "signal",
            "significant",
            "designId",
            "assertions",
            "callSid",
            "side",
            "forbearer",
            "opting",
            "",
            "[]",
        ] {
            assert!(!is_credential_name(name), "{name}");
        }
    }

    #[test]
    fn names_are_one_where_a_server_may_read_them_as_one() {
        for given in ["key", "KEY", "key[]", "Key[0][a]", "k_ey", "[key]"] {
            assert!(is_same_name("key", given), "{given}");
        }
        for given in ["keys", "filter[key]", "", "[]", "_"] {
            assert!(!is_same_name("key", given), "{given}");
        }
        assert!(!is_same_name("-", "_") && is_same_name("_", "_"));
    }

    #[test]
    fn headers_that_change_what_is_called_are_reserved() {
        for name in ["x-http-verb", "x-original-method", "x_http_method_override", "x-rewrite-url"]
        {
            assert!(is_reserved(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_reserved(&HeaderName::from_static("x-tenant")));
    }

    #[test]
    fn rate_limit_headers_carry_limits_only() {
        for name in [
            "retry-after",
            "ratelimit",
            "ratelimit-policy",
            "x-ratelimit-limit",
            "x-rate-limit-reset",
            "x-ratelimit-remaining-minute",
            "x-ratelimit-limit-requests",
            "x-ratelimit-reset-requests-day",
        ] {
            assert!(is_rate_limit(&HeaderName::from_static(name)), "{name}");
        }
        for name in [
            "x-ratelimit-employee",
            "x-ratelimit-jane-limit",
            "ratelimit-limit-remaining",
            "ratelimit-",
            "ratelimit-day-day-day-day-limit",
        ] {
            assert!(!is_rate_limit(&HeaderName::from_static(name)), "{name}");
        }
        for value in [
            "120",
            "Wed, 25 Nov 2026 21:00:00 GMT",
            "2026-11-25T21:00:00Z",
            "\"default\";q=100;w=60",
            "limit=100, remaining=50, reset=30",
            "6m0s",
            "0.5",
        ] {
            assert!(is_limit_value(value), "{value}");
        }
        for value in ["canaryKEY42", "Jane Doe", "password is hunter2", "{\"name\":1}", "x"] {
            assert!(!is_limit_value(value), "{value}");
        }
    }

    #[test]
    fn media_types_are_read_strictly() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            media(&headers)
        };
        assert_eq!(of("application/json"), Media::Json);
        assert_eq!(of("Application/HAL+JSON; Charset=\"UTF-8\""), Media::Json);
        assert_eq!(of("application/json; charset=utf-16"), Media::Other);
        assert_eq!(of("text/html"), Media::Other);
        assert_eq!(of("application/x-ndjson"), Media::Other);
        assert_eq!(media(&HeaderMap::new()), Media::Missing);
    }

    #[test]
    fn a_passing_type_carries_nothing_else() {
        let mut headers = HeaderMap::new();
        let given = "Text/CSV; name=jane-doe; charset=\"UTF-8\"; x=1";
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(given));
        assert_eq!(passing_type(&headers).unwrap(), "text/csv; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=jane"));
        assert_eq!(passing_type(&headers).unwrap(), "text/csv");
    }

    #[test]
    fn the_key_comes_in_exactly_one_header() {
        let key = ApiKey::generate(types::Environment::Test, &types::SeededRandom::new(1)).unwrap();
        let value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.clone());
        assert!(read_key(&headers).is_ok());
        headers.append(header::AUTHORIZATION, value);
        let said = |headers: &HeaderMap| read_key(headers).unwrap_err().to_string();
        assert_eq!(said(&headers), "Authorization is given more than once");
        headers.insert(KEY_HEADER, HeaderValue::from_static("wg_live_x"));
        assert_eq!(said(&headers), "both Authorization and X-Weirgate-Key are given");
        headers.remove(KEY_HEADER);
        headers.remove(header::AUTHORIZATION);
        assert!(matches!(read_key(&headers), Err(CallError::KeyMissing)));
        headers.insert(KEY_HEADER, HeaderValue::from_static("wg_live_x"));
        assert!(matches!(read_key(&headers), Err(CallError::KeyMalformed(_))));
    }
}

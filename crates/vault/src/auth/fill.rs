//! Fills templates with values, and checks each value where it goes.

use super::{AuthError, Variables};
use aws_lc_rs::{digest, hmac};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use provider::auth::{
    BodyTemplate, Expr, Function, HostPiece, JsonTemplate, Piece, Template, TimeFormat, UrlTemplate,
};
use secrecy::zeroize::Zeroizing;
use types::{Random, Timestamp};

/// The most bytes that a template is filled to, beside a call's body.
const MAX_FILLED_BYTES: usize = 64 * 1024;

/// What of a call may be signed.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'c> {
    /// `https`, or `http` where the operator allowed it.
    pub scheme: &'c str,
    pub method: &'c str,
    /// As in the header `Host`.
    pub host: &'c str,
    /// With the server's base path, as it is sent.
    pub path: &'c str,
    /// Without the question mark.
    pub query: &'c str,
    pub body: &'c [u8],
    /// What the provider wants a proof of possession to hold (RFC 9449 §9).
    pub proof_nonce: Option<&'c str>,
}

/// When and by what chance.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'m> {
    pub now: Timestamp,
    pub random: &'m dyn Random,
}

/// Fills templates.
pub(crate) struct Filler<'f> {
    pub variables: &'f Variables,
    pub call: Option<&'f CallFacts<'f>>,
    pub moment: Moment<'f>,
}

type Filled = Zeroizing<Vec<u8>>;

impl Filler<'_> {
    /// # Errors
    /// [`AuthError::ValueMissing`] names what has no value.
    pub(crate) fn bytes(&self, template: &Template) -> Result<Filled, AuthError> {
        let mut filled = Zeroizing::new(Vec::with_capacity(1024));
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Piece::Value(expr) => filled.extend_from_slice(&self.value(expr)?),
            }
            if filled.len() > MAX_FILLED_BYTES + self.call.map_or(0, |call| call.body.len()) {
                return Err(AuthError::TooLong { limit: MAX_FILLED_BYTES });
            }
        }
        Ok(filled)
    }

    pub(crate) fn text(&self, template: &Template) -> Result<Zeroizing<String>, AuthError> {
        let mut bytes = self.bytes(template)?;
        String::from_utf8(std::mem::take(&mut *bytes))
            .map(Zeroizing::new)
            .map_err(|_| AuthError::NotText)
    }

    /// The value of a header: visible ASCII, and spaces inside.
    pub(crate) fn header(&self, name: &str, template: &Template) -> Result<Filled, AuthError> {
        let value = self.bytes(template)?;
        let is_visible = value.iter().all(|byte| (0x20..0x7f).contains(byte));
        if !is_visible || value.trim_ascii().len() != value.len() || value.is_empty() {
            return Err(AuthError::HeaderValue { name: name.to_owned() });
        }
        Ok(value)
    }

    fn named(&self, name: &str) -> Result<&[u8], AuthError> {
        if let (Some(part), Some(call)) = (name.strip_prefix("request."), self.call) {
            match part {
                "method" => return Ok(call.method.as_bytes()),
                "host" => return Ok(call.host.as_bytes()),
                "path" => return Ok(call.path.as_bytes()),
                "query" => return Ok(call.query.as_bytes()),
                "body" => return Ok(call.body),
                _ => {}
            }
        }
        let value = self.variables.get(name).map(str::as_bytes);
        value.ok_or_else(|| AuthError::ValueMissing { name: name.to_owned() })
    }

    fn value(&self, expr: &Expr) -> Result<Filled, AuthError> {
        Ok(match expr {
            Expr::Name(name) if name == "request.target" => {
                let (path, query) = (self.named("request.path")?, self.named("request.query")?);
                let mark: &[u8] = if query.is_empty() { b"" } else { b"?" };
                Zeroizing::new([path, mark, query].concat())
            }
            Expr::Name(name) => Zeroizing::new(self.named(name)?.to_vec()),
            Expr::Text(text) => Zeroizing::new(text.clone().into_bytes()),
            Expr::Now(format) => Zeroizing::new(self.now(*format).into_bytes()),
            Expr::Random(count) => {
                let length = usize::try_from(*count).unwrap_or_default();
                let mut bytes = Zeroizing::new(vec![0; length]);
                self.moment.random.fill(&mut bytes).map_err(|_| AuthError::NoRandom)?;
                bytes
            }
            Expr::Call(function, arguments) => self.call(*function, arguments)?,
        })
    }

    fn now(&self, format: TimeFormat) -> String {
        let now = self.moment.now;
        match format {
            TimeFormat::Unix => now.as_seconds().to_string(),
            TimeFormat::UnixMs => now.as_micros().div_euclid(1000).to_string(),
            TimeFormat::Rfc3339 => now.to_rfc3339_seconds(),
            TimeFormat::HttpDate => now.to_http_date(),
            TimeFormat::Compact => now.to_compact(),
        }
    }

    fn call(&self, function: Function, arguments: &[Expr]) -> Result<Filled, AuthError> {
        let mut values = arguments.iter().map(|argument| self.value(argument));
        let hmac_algorithm = match function {
            Function::HmacSha1 => Some(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Function::HmacSha256 => Some(hmac::HMAC_SHA256),
            Function::HmacSha512 => Some(hmac::HMAC_SHA512),
            _ => None,
        };
        if let Some(algorithm) = hmac_algorithm {
            let key = values.next().unwrap_or_else(|| Ok(Zeroizing::default()))?;
            let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, &key));
            for value in values {
                context.update(&value?);
            }
            return Ok(Zeroizing::new(context.sign().as_ref().to_vec()));
        }
        let mut joined = Zeroizing::new(Vec::with_capacity(1024));
        for value in values {
            joined.extend_from_slice(&value?);
        }
        Ok(match function {
            Function::Sha256 => {
                Zeroizing::new(digest::digest(&digest::SHA256, &joined).as_ref().to_vec())
            }
            Function::Base64 => Zeroizing::new(STANDARD.encode(&*joined).into_bytes()),
            Function::Base64Url => Zeroizing::new(URL_SAFE_NO_PAD.encode(&*joined).into_bytes()),
            Function::Hex => Zeroizing::new(hex(&joined).into_bytes()),
            Function::Percent => percent(&joined),
            Function::Lower => Zeroizing::new(joined.to_ascii_lowercase()),
            Function::HmacSha1 | Function::HmacSha256 | Function::HmacSha512 => joined,
        })
    }

    /// A whole URL. What is filled into its host is one or more labels of a name, never more; what is
    /// filled into its path is percent-encoded and never a segment that leads upwards.
    pub(crate) fn url(
        &self,
        url: &UrlTemplate,
        query: &[(String, Template)],
    ) -> Result<Zeroizing<String>, AuthError> {
        let mut filled = Zeroizing::new(String::with_capacity(2048));
        filled.push_str(if url.is_https() { "https://" } else { "http://" });
        for piece in url.host() {
            match piece {
                HostPiece::Text(text) => filled.push_str(text),
                HostPiece::Name(name) => {
                    let value = self.named(name)?;
                    let is_label = is_labels(value);
                    let text = std::str::from_utf8(value).ok().filter(|_| is_label);
                    let why = || AuthError::HostValue { name: name.clone() };
                    filled.push_str(&text.ok_or_else(why)?.to_ascii_lowercase());
                }
            }
        }
        if let Some(port) = url.port() {
            filled.push_str(&format!(":{port}"));
        }
        let begun = filled.len();
        for piece in url.path().pieces() {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Value(expr) => {
                    let value = self.value(expr)?;
                    if matches!(value.as_slice(), b"." | b"..") || value.is_empty() {
                        return Err(AuthError::PathValue);
                    }
                    filled.push_str(&String::from_utf8_lossy(&percent(&value)));
                }
            }
        }
        // Several values, or a value and a text, may make such a segment together.
        let path = filled.get(begun..).and_then(|rest| rest.split('?').next()).unwrap_or_default();
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(AuthError::PathValue);
        }
        for (name, template) in query {
            let mark = if filled.contains('?') { '&' } else { '?' };
            filled.push(mark);
            filled.push_str(&String::from_utf8_lossy(&percent(name.as_bytes())));
            filled.push('=');
            filled.push_str(&String::from_utf8_lossy(&percent(&self.bytes(template)?)));
        }
        Ok(filled)
    }

    /// A body, and its media type.
    pub(crate) fn body(
        &self,
        body: &BodyTemplate,
    ) -> Result<(Option<&'static str>, Filled), AuthError> {
        match body {
            BodyTemplate::None => Ok((None, Zeroizing::default())),
            BodyTemplate::Form(members) => {
                let mut form = Form::default();
                for (name, template) in members {
                    form.add(name, &self.bytes(template)?);
                }
                Ok((Some(FORM), form.done()))
            }
            BodyTemplate::Json(json) => {
                let mut written = Zeroizing::new(Vec::with_capacity(4096));
                self.json(json, &mut written)?;
                Ok((Some(JSON), written))
            }
        }
    }

    fn json(&self, json: &JsonTemplate, out: &mut Vec<u8>) -> Result<(), AuthError> {
        match json {
            JsonTemplate::Text(template) => {
                crate::secret_json::write_text(out, &self.text(template)?);
            }
            JsonTemplate::Plain(text) => out.extend_from_slice(text.as_bytes()),
            JsonTemplate::List(list) => {
                out.push(b'[');
                for (place, one) in list.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    self.json(one, out)?;
                }
                out.push(b']');
            }
            JsonTemplate::Object(members) => {
                out.push(b'{');
                for (place, (name, one)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    crate::secret_json::write_text(out, name);
                    out.push(b':');
                    self.json(one, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const JSON: &str = "application/json";

/// Parameters of a form, each name and value percent-encoded.
#[derive(Default)]
pub(crate) struct Form(Filled);

impl Form {
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'&');
        }
        self.0.extend_from_slice(&percent(name.as_bytes()));
        self.0.push(b'=');
        self.0.extend_from_slice(&percent(value));
    }

    pub(crate) fn done(self) -> Filled {
        self.0
    }
}

/// Labels of a host's name, joined by dots: nothing that ends the host or names another part of a URL.
fn is_labels(value: &[u8]) -> bool {
    value.len() <= 200
        && value.split(|byte| *byte == b'.').all(|label| {
            let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
            !label.is_empty()
                && label.len() <= 63
                && label.iter().all(is_inner)
                && !label.starts_with(b"-")
                && !label.ends_with(b"-")
        })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Everything but the unreserved characters of RFC 3986 §2.3.
pub(crate) fn percent(bytes: &[u8]) -> Filled {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Zeroizing::new(Vec::with_capacity(3 * bytes.len()));
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(*byte);
        } else {
            encoded.push(b'%');
            for half in [byte >> 4, byte & 15] {
                encoded.push(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::SeededRandom;

    fn filled(text: &str, values: &[(&str, &str)]) -> Result<String, AuthError> {
        let mut variables = Variables::default();
        for (name, value) in values {
            variables.set(name, value);
        }
        let call = CallFacts {
            scheme: "https",
            proof_nonce: None,
            method: "POST",
            host: "api.example.com",
            path: "/v1/a",
            query: "b=1",
            body: b"{}",
        };
        let random = SeededRandom::new(1);
        // 2026-01-02T03:04:05Z
        let moment = Moment { now: Timestamp::from_micros(1_767_323_045_000_000), random: &random };
        let filler = Filler { variables: &variables, call: Some(&call), moment };
        if text.starts_with("http") {
            let url = UrlTemplate::parse(text).unwrap();
            return filler.url(&url, &[]).map(|url| url.to_string());
        }
        filler.text(&Template::parse(text).unwrap()).map(|text| text.to_string())
    }

    #[test]
    fn functions_have_the_values_of_their_standards() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                filled(text, &[("a", "Jefe"), ("b", "pleaded")]).unwrap(),
                expected,
                "{text}"
            );
        };
        // RFC 4231 §4.3, RFC 2202 §3 case 2.
        check(
            "${hex(hmac_sha256(a, 'what do ya want ', 'for nothing?'))}",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(
            "${hex(hmac_sha1(a, 'what do ya want for nothing?'))}",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        );
        check(
            "${hex(hmac_sha512(a, 'what do ya want for nothing?'))}",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        );
        // FIPS 180-4, "abc".
        check(
            "${hex(sha256('ab', 'c'))}",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        );
        // RFC 4648 §10.
        check("${base64('foob')}", "Zm9vYg==");
        check("${base64url('\u{ff}?>')}", "w78_Pg");
        check("${percent('a b/ü~')}", "a%20b%2F%C3%BC~");
        check("${lower('ABc')}", "abc");
        check("${now('unix')} ${now('unix_ms')}", "1767323045 1767323045000");
        check("${now('rfc3339')} ${now('compact')}", "2026-01-02T03:04:05Z 20260102T030405Z");
        check("${now('http')}", "Fri, 02 Jan 2026 03:04:05 GMT");
        check("${request.method} ${request.target} ${request.body}", "POST /v1/a?b=1 {}");
        let random = filled("${hex(random(16))}", &[]).unwrap();
        assert_eq!(random.len(), 32);
    }

    #[test]
    fn values_of_a_host_stay_in_it() {
        let url = "https://${t}.example.com/${u}?v=${u}";
        let good = filled(url, &[("t", "Acme-1"), ("u", "a/b&c")]).unwrap();
        assert_eq!(good, "https://acme-1.example.com/a%2Fb%26c?v=a%2Fb%26c");
        for bad in
            ["", "a/b", "evil.com/", "a@b", "a:1", "-a", "a..b", "a b", "ä", "a#", "a?", "a\\"]
        {
            let refused = filled(url, &[("t", bad), ("u", "x")]).unwrap_err();
            assert_eq!(refused, AuthError::HostValue { name: "t".into() }, "{bad}");
        }
        for bad in ["..", ".", ""] {
            let refused = filled(url, &[("t", "a"), ("u", bad)]).unwrap_err();
            assert_eq!(refused, AuthError::PathValue, "{bad}");
        }
        for joined in ["https://a.example.com/${u}${u}/x", "https://a.example.com/.${u}"] {
            assert_eq!(filled(joined, &[("u", ".")]).unwrap_err(), AuthError::PathValue);
        }
        let missing = filled(url, &[("t", "a")]).unwrap_err();
        assert_eq!(missing, AuthError::ValueMissing { name: "u".into() });
    }
}

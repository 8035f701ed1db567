//! AWS Signature Version 4 of one call, in its headers.

use super::{
    AuthError, CallFacts,
    fill::{Filler, hex, percent},
};
use crate::injection::Part;
use aws_lc_rs::{digest, hmac};
use provider::auth::SigV4;
use secrecy::zeroize::Zeroizing;
use types::Timestamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The headers that sign `call`.
pub(super) fn parts(
    plan: &SigV4,
    filler: &Filler<'_>,
    call: &CallFacts<'_>,
) -> Result<Vec<Part>, AuthError> {
    let value = |name: &str| {
        let value = filler.variables.get(name);
        value.ok_or_else(|| AuthError::ValueMissing { name: name.to_owned() })
    };
    let scope = Scope {
        region: &filler.text(&plan.region)?,
        service: &filler.text(&plan.service)?,
        now: filler.moment.now,
    };
    let session = filler.variables.get("session_token");
    let payload = sha256_hex(call.body);
    let mut headers = vec![
        ("host", Zeroizing::new(call.host.to_owned())),
        ("x-amz-content-sha256", Zeroizing::new(payload.clone())),
        ("x-amz-date", Zeroizing::new(scope.now.to_compact())),
    ];
    if let Some(token) = session {
        headers.push(("x-amz-security-token", Zeroizing::new(token.to_owned())));
    }
    let request = canonical(call, &headers, &payload, scope.service);
    let signature = scope.signature(value("secret_access_key")?, &request);
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        value("access_key_id")?,
        scope.text(),
        names.join(";")
    );
    let mut parts = vec![Part::written_header("authorization", authorization.into_bytes())];
    for (name, value) in headers.into_iter().filter(|(name, _)| *name != "host") {
        let part = Part::written_header(name, value.as_bytes().to_vec());
        // The time and the body's digest are no secrets.
        parts.push(if name == "x-amz-security-token" { part } else { part.shown() });
    }
    Ok(parts)
}

struct Scope<'s> {
    region: &'s str,
    service: &'s str,
    now: Timestamp,
}

impl Scope<'_> {
    fn day(&self) -> String {
        self.now.to_compact().chars().take(8).collect()
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.day(), self.region, self.service)
    }

    fn signature(&self, secret: &str, request: &[u8]) -> String {
        let mut key = Zeroizing::new([b"AWS4", secret.as_bytes()].concat());
        for part in [self.day().as_str(), self.region, self.service, "aws4_request"] {
            key = keyed(&key, part.as_bytes());
        }
        let text = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            self.now.to_compact(),
            self.text(),
            sha256_hex(request)
        );
        hex(&keyed(&key, text.as_bytes()))
    }
}

fn keyed(key: &[u8], message: &[u8]) -> Zeroizing<Vec<u8>> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    Zeroizing::new(tag.as_ref().to_vec())
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn canonical(
    call: &CallFacts<'_>,
    headers: &[(&str, Zeroizing<String>)],
    payload: &str,
    service: &str,
) -> Zeroizing<Vec<u8>> {
    let again = |text: &str| {
        let decoded =
            Zeroizing::new(percent_encoding::percent_decode_str(text).collect::<Vec<u8>>());
        String::from_utf8_lossy(&percent(&decoded)).into_owned()
    };
    // Every service but S3 signs the path encoded once more than it is sent.
    let segment = |segment: &str| match service {
        "s3" => again(segment),
        _ => String::from_utf8_lossy(&percent(segment.as_bytes())).into_owned(),
    };
    let path: Vec<String> = call.path.split('/').map(segment).collect();
    let mut pairs: Vec<(String, String)> = call
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (again(name), again(value)))
        .collect();
    pairs.sort();
    let query: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut request = Zeroizing::new(String::with_capacity(4096));
    let path = path.join("/");
    let path = if path.is_empty() { "/" } else { &path };
    for line in [call.method, path, &query.join("&")] {
        request.push_str(line);
        request.push('\n');
    }
    for (name, value) in headers {
        request.push_str(name);
        request.push(':');
        request.push_str(value.trim());
        request.push('\n');
    }
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    request.push('\n');
    request.push_str(&names.join(";"));
    request.push('\n');
    request.push_str(payload);
    Zeroizing::new(std::mem::take(&mut *request).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of "Create a signed AWS API request" in AWS's reference: the signing key of that
    /// day, and the published suite's `get-vanilla-query-order-key-case`.
    #[test]
    fn the_published_suite_is_signed_alike() {
        let now = Timestamp::parse("2015-08-30T12:36:00Z").unwrap();
        let scope = Scope { region: "us-east-1", service: "service", now };
        let call = CallFacts {
            scheme: "https",
            proof_nonce: None,
            method: "GET",
            host: "example.amazonaws.com",
            path: "/",
            query: "Param2=value2&Param1=value1",
            body: b"",
        };
        let own = |text: &str| Zeroizing::new(text.to_owned());
        let headers =
            [("host", own("example.amazonaws.com")), ("x-amz-date", own("20150830T123600Z"))];
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let request = canonical(&call, &headers, empty, "service");
        assert_eq!(
            std::str::from_utf8(&request).unwrap(),
            "GET\n/\nParam1=value1&Param2=value2\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        assert_eq!(
            scope.signature(secret, &request),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
    }

    #[test]
    fn a_path_is_signed_encoded_twice_but_for_s3() {
        let call = CallFacts {
            scheme: "https",
            method: "GET",
            host: "h",
            path: "/a%20b/c:d",
            query: "",
            body: b"",
            proof_nonce: None,
        };
        let line = |service: &str| {
            let request = canonical(&call, &[], "x", service);
            String::from_utf8(request.to_vec()).unwrap().lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(line("execute-api"), "/a%2520b/c%3Ad");
        assert_eq!(line("s3"), "/a%20b/c%3Ad");
    }
}

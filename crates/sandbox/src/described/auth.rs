//! Who may call: the schemes that the description declares, enforced.
//!
//! The sandbox has one credential, which every scheme takes where it takes secrets; tokens of the
//! OAuth schemes are issued by [`super::oauth`].

use super::{
    oauth::{Live, Oauth},
    problem::Problem,
    request::read_query,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode, header};
use provider::{SecurityRequirement, SecurityScheme};
use std::collections::BTreeMap;
use types::{SecretText, Timestamp};

/// The user name of basic authentication and the id of the OAuth client.
pub(crate) const USER: &str = "sandbox";
/// The most values of one header that are looked at.
const MAX_VALUES: usize = 8;

#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) is_enforced: bool,
    pub(crate) credential: SecretText,
    pub(crate) schemes: BTreeMap<String, SecurityScheme>,
    pub(crate) oauth: Oauth,
}

/// Why a scheme is not satisfied; the later say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Missing,
    Wrong,
    Expired,
    Scope,
}

impl Auth {
    /// Whether a call satisfies an operation's requirements.
    ///
    /// An operation that says nothing takes any declared scheme: silence is no permission. Without
    /// declared schemes there is nothing to enforce.
    pub(crate) fn judge(
        &self,
        required: Option<&[SecurityRequirement]>,
        headers: &HeaderMap,
        query: &str,
        now: Timestamp,
    ) -> Result<(), Problem> {
        if !self.is_enforced {
            return Ok(());
        }
        let any: Vec<SecurityRequirement>;
        let required = if let Some(required) = required {
            required
        } else {
            let one = |name: &String| BTreeMap::from([(name.clone(), Vec::new())]);
            any = self.schemes.keys().map(one).collect();
            &any
        };
        if required.is_empty() || required.iter().any(BTreeMap::is_empty) {
            return Ok(());
        }
        let call = Presented { headers, query };
        let mut worst = Lack::Missing;
        let mut scopes: &[String] = &[];
        for alternative in required {
            let mut lacking = None;
            for (name, wanted) in alternative {
                if let Err(lack) = self.satisfies(name, wanted, call, now) {
                    lacking = lacking.max(Some(lack));
                    if lack == Lack::Scope {
                        scopes = wanted;
                    }
                }
            }
            match lacking {
                None => return Ok(()),
                Some(lack) => worst = worst.max(lack),
            }
        }
        Err(self.refusal(required, worst, scopes))
    }

    fn satisfies(
        &self,
        name: &str,
        scopes: &[String],
        call: Presented<'_>,
        now: Timestamp,
    ) -> Result<(), Lack> {
        match self.schemes.get(name) {
            Some(SecurityScheme::ApiKeyHeader { name }) => {
                if name.eq_ignore_ascii_case("authorization") {
                    return self.authorization(call, scopes, now);
                }
                self.key(call.header(name))
            }
            Some(SecurityScheme::ApiKeyQuery { name }) => {
                let query = read_query(call.query);
                let given = query.iter().filter(|(one, _)| one == name);
                self.key(given.map(|(_, value)| value.clone()).collect())
            }
            Some(SecurityScheme::ApiKeyCookie { name }) => {
                let cookies = call.header("cookie");
                let pairs = cookies.iter().flat_map(|text| text.split(';'));
                let given = pairs.filter_map(|pair| pair.trim().split_once('='));
                let given = given.filter(|(one, _)| one == name);
                self.key(given.map(|(_, value)| value.to_owned()).collect())
            }
            Some(SecurityScheme::Basic) => self.basic(call),
            Some(
                SecurityScheme::Bearer
                | SecurityScheme::OAuth2 { .. }
                | SecurityScheme::OpenIdConnect { .. },
            ) => self.bearer(call, scopes, now),
            // Nothing here speaks TLS; what cannot be seen is not asked for.
            Some(SecurityScheme::MutualTls) => Ok(()),
            Some(SecurityScheme::Unknown { .. }) | None => self.authorization(call, scopes, now),
        }
    }

    /// Each value that is sent must be right, and one must be sent.
    fn key(&self, given: Vec<String>) -> Result<(), Lack> {
        if given.is_empty() {
            return Err(Lack::Missing);
        }
        if given.iter().all(|value| self.is_credential(value)) { Ok(()) } else { Err(Lack::Wrong) }
    }

    fn is_credential(&self, given: &str) -> bool {
        equals(given.as_bytes(), self.credential.expose().as_bytes())
    }

    /// `sandbox:CREDENTIAL`, or the credential as the user name, as providers with API keys take it.
    fn basic(&self, call: Presented<'_>) -> Result<(), Lack> {
        let texts = call.of_scheme("basic")?;
        let is_right = |text: &String| {
            let decoded =
                STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.is_some_and(|decoded| match decoded.split_once(':') {
                Some((user, password)) => {
                    user == USER && self.is_credential(password) || self.is_credential(user)
                }
                None => false,
            })
        };
        if texts.iter().all(is_right) { Ok(()) } else { Err(Lack::Wrong) }
    }

    fn bearer(&self, call: Presented<'_>, scopes: &[String], now: Timestamp) -> Result<(), Lack> {
        let texts = call.of_scheme("bearer")?;
        for text in texts {
            if self.is_credential(&text) {
                continue;
            }
            match self.oauth.look_up(&text, now) {
                Live::Unknown => return Err(Lack::Wrong),
                Live::Expired => return Err(Lack::Expired),
                Live::Yes(granted) => {
                    if scopes.iter().any(|scope| !granted.contains(scope)) {
                        return Err(Lack::Scope);
                    }
                }
            }
        }
        Ok(())
    }

    /// An API key in `Authorization`: alone, or behind a scheme of the vendor's own.
    fn authorization(
        &self,
        call: Presented<'_>,
        scopes: &[String],
        now: Timestamp,
    ) -> Result<(), Lack> {
        let given = call.header("authorization");
        if given.is_empty() {
            return Err(Lack::Missing);
        }
        let is_plain = |value: &String| {
            let word = value.rsplit([' ', '=']).next().unwrap_or_default();
            self.is_credential(value) || self.is_credential(word.trim_matches('"'))
        };
        if given.iter().all(is_plain) {
            return Ok(());
        }
        self.bearer(call, scopes, now).or_else(|lack| match self.basic(call) {
            Ok(()) => Ok(()),
            Err(_) => Err(lack.max(Lack::Wrong)),
        })
    }

    fn refusal(&self, required: &[SecurityRequirement], lack: Lack, scopes: &[String]) -> Problem {
        let names = required.iter().flat_map(BTreeMap::keys);
        let schemes: Vec<_> = names.filter_map(|name| self.schemes.get(name)).collect();
        let is_basic = schemes.iter().any(|scheme| **scheme == SecurityScheme::Basic);
        let is_token = schemes.iter().any(|scheme| {
            matches!(
                scheme,
                SecurityScheme::Bearer
                    | SecurityScheme::OAuth2 { .. }
                    | SecurityScheme::OpenIdConnect { .. }
            )
        });
        // RFC 6750 §3.
        let bearer = match lack {
            Lack::Scope => {
                let scopes: Vec<String> = scopes.iter().map(|scope| plain(scope)).collect();
                format!(
                    "Bearer realm=\"sandbox\", error=\"insufficient_scope\", scope=\"{}\"",
                    scopes.join(" ")
                )
            }
            Lack::Missing => "Bearer realm=\"sandbox\"".to_owned(),
            _ => "Bearer realm=\"sandbox\", error=\"invalid_token\"".to_owned(),
        };
        let challenge =
            if is_token || !is_basic { bearer } else { "Basic realm=\"sandbox\"".to_owned() };
        let (status, code, detail) = match lack {
            Lack::Missing => {
                (StatusCode::UNAUTHORIZED, "credential_missing", "the credential is missing")
            }
            Lack::Wrong => {
                (StatusCode::UNAUTHORIZED, "credential_wrong", "the credential is wrong")
            }
            Lack::Expired => {
                (StatusCode::UNAUTHORIZED, "token_expired", "the access token has expired")
            }
            Lack::Scope => {
                (StatusCode::FORBIDDEN, "scope_missing", "the access token lacks a scope")
            }
        };
        Problem::new(status, code, detail).with(header::WWW_AUTHENTICATE, &challenge)
    }
}

/// A scope as it may stand in a quoted string (RFC 6749 §3.3).
fn plain(scope: &str) -> String {
    scope.chars().filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\').collect()
}

/// Where a call carries credentials.
#[derive(Clone, Copy)]
struct Presented<'c> {
    headers: &'c HeaderMap,
    query: &'c str,
}

impl Presented<'_> {
    fn header(&self, name: &str) -> Vec<String> {
        let all = self.headers.get_all(name).iter().take(MAX_VALUES);
        all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// What stands behind an authentication scheme. Another scheme counts as missing.
    fn of_scheme(&self, scheme: &str) -> Result<Vec<String>, Lack> {
        let all = self.header("authorization");
        let found: Vec<String> = all
            .iter()
            .filter_map(|value| {
                let (name, rest) = value.split_once(' ')?;
                name.eq_ignore_ascii_case(scheme).then(|| rest.trim().to_owned())
            })
            .collect();
        if found.is_empty() { Err(Lack::Missing) } else { Ok(found) }
    }
}

/// Compares without stopping at the first difference.
pub(crate) fn equals(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len()
        && given.iter().zip(wanted).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

//! OpenID Connect Discovery 1.0 §3, §4.3.

use super::{MAX_ANSWER_BYTES, OidcError};
use serde::Deserialize;
use std::fmt;
use url::{Host, Url};

/// Who vouches for people: compared letter by letter, as the specification wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// # Errors
    /// [`OidcError::Issuer`] for what is no https URL; plain http stays on this machine.
    pub fn parse(text: &str) -> Result<Self, OidcError> {
        let url = secure(text).ok_or(OidcError::Issuer)?;
        // What the parser would spell otherwise cannot be compared letter by letter.
        let spelled = url.as_str();
        let is_plain = text == spelled || text == spelled.trim_end_matches('/');
        if url.query().is_some() || !is_plain {
            return Err(OidcError::Issuer);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its metadata lies.
    pub fn metadata_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.trim_end_matches('/'))
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A URL without user, password and fragment that is reached by TLS, or on this machine.
fn secure(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_here = match url.host()? {
        Host::Ipv4(addr) => addr.is_loopback(),
        Host::Ipv6(addr) => addr.is_loopback(),
        Host::Domain(_) => false,
    };
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_here;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (is_safe && is_bare).then_some(url)
}

/// How the client's secret is shown at the token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuthentication {
    Basic,
    Post,
}

/// What a provider says of itself, as far as it is used.
#[derive(Clone, Debug)]
pub struct Metadata {
    pub issuer: Issuer,
    pub(super) authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub keys_url: Url,
    pub(super) client_authentication: ClientAuthentication,
    /// Whether its answers name the issuer (RFC 9207 §3).
    pub(super) names_issuer: bool,
}

#[derive(Deserialize)]
struct Said {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    response_types_supported: Option<Vec<String>>,
    response_modes_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads what lies at [`Issuer::metadata_url`].
    ///
    /// # Errors
    /// If it is another issuer's, or says that what Weirgate needs is not there.
    pub fn read(issuer: &Issuer, bytes: &[u8]) -> Result<Self, OidcError> {
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(OidcError::MetadataMalformed);
        }
        let said: Said = serde_json::from_slice(bytes).map_err(|_| OidcError::MetadataMalformed)?;
        if said.issuer != issuer.0 {
            return Err(OidcError::MetadataIssuer);
        }
        let endpoint = |name: &'static str, text: Option<&String>| {
            text.and_then(|text| secure(text)).ok_or(OidcError::Endpoint(name))
        };
        // What is not said at all is not denied: many providers do not name PKCE, and have it.
        let has = |list: &Option<Vec<String>>, wanted: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|one| one == wanted))
        };
        if !has(&said.response_types_supported, "code") {
            return Err(OidcError::Unsupported("response_types_supported lacks code"));
        }
        if !has(&said.response_modes_supported, "query") {
            return Err(OidcError::Unsupported("response_modes_supported lacks query"));
        }
        if !has(&said.code_challenge_methods_supported, "S256") {
            return Err(OidcError::Unsupported("code_challenge_methods_supported lacks S256"));
        }
        // Without the list it is `client_secret_basic` (Discovery §3).
        let client_authentication =
            if has(&said.token_endpoint_auth_methods_supported, "client_secret_basic") {
                ClientAuthentication::Basic
            } else if has(&said.token_endpoint_auth_methods_supported, "client_secret_post") {
                ClientAuthentication::Post
            } else {
                return Err(OidcError::Unsupported(
                    "token_endpoint_auth_methods_supported lacks client_secret_basic and \
                 client_secret_post",
                ));
            };
        Ok(Self {
            issuer: issuer.clone(),
            authorization_endpoint: endpoint(
                "authorization_endpoint",
                said.authorization_endpoint.as_ref(),
            )?,
            token_endpoint: endpoint("token_endpoint", said.token_endpoint.as_ref())?,
            keys_url: endpoint("jwks_uri", said.jwks_uri.as_ref())?,
            client_authentication,
            names_issuer: said.authorization_response_iss_parameter_supported,
        })
    }
}

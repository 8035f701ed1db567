//! How a provider is authenticated to, beyond a value that is put in one place: tokens that have to
//! be obtained first, requests that are signed, certificates of the client.
//!
//! A plan comes from the description (the flows of OAuth 2.0) and from the overlay's
//! `x-weirgate-auth` on a security scheme. It says what the secret consists of, what is asked for and
//! where, what of the answer is kept, and where it goes in a call. It is data: a closed set of
//! functions, no scripts, and no way for a value to lead a request to another host.

mod place;
mod read;
#[cfg(test)]
mod read_tests;
mod template;

pub use place::{AnswerPlace, HostPiece, Pattern, UrlTemplate, UrlTemplateError};
pub use template::{Expr, Function, Piece, Template, TemplateError, TimeFormat};

pub(crate) use read::{from_certificate, from_description, from_extension};

use std::collections::{BTreeMap, BTreeSet};

/// How calls of one security scheme are authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthPlan {
    /// What the secret consists of, by member.
    pub inputs: BTreeMap<String, Input>,
    /// What has to be obtained before a call; `None`: the secret is all.
    pub acquire: Option<Acquire>,
    /// Values computed for each call, in order; each may use those before it.
    pub lets: Vec<(String, Template)>,
    pub apply: Vec<Apply>,
    pub sigv4: Option<SigV4>,
    /// Whether the connection to the provider shows the secret's certificate.
    pub has_client_certificate: bool,
}

/// A member of the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub pattern: Option<Pattern>,
    pub is_optional: bool,
    /// Whether it may hold line ends, as keys and certificates in PEM do.
    pub has_lines: bool,
    /// Whether an answer that repeats it is withheld, and a browser's URL never shows it.
    pub is_secret: bool,
}

/// Where something goes in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apply {
    Header {
        name: String,
        value: Template,
    },
    /// Both are percent-encoded when they are written.
    Query {
        name: String,
        value: Template,
    },
}

/// AWS Signature Version 4 of each call, with `access_key_id`, `secret_access_key` and, where the
/// secret has it, `session_token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigV4 {
    pub service: Template,
    pub region: Template,
}

/// How a token is obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquire {
    OAuth2(Box<OAuth2>),
    Steps(Steps),
}

/// Requests in order, each with what is kept of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    pub steps: Vec<Step>,
    /// Of the last answer.
    pub expires: Lifetime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub request: RequestTemplate,
    pub take: Vec<Take>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTemplate {
    pub method: RequestMethod,
    pub url: UrlTemplate,
    pub headers: Vec<(String, Template)>,
    pub query: Vec<(String, Template)>,
    pub body: BodyTemplate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RequestMethod {
    Get,
    Post,
    Put,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyTemplate {
    None,
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
    Json(JsonTemplate),
}

/// JSON whose texts are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonTemplate {
    Text(Template),
    /// A number, `true`, `false` or `null`, as it is written.
    Plain(String),
    List(Vec<JsonTemplate>),
    Object(Vec<(String, JsonTemplate)>),
}

/// Something that is kept of an answer, under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    pub name: String,
    pub place: AnswerPlace,
    pub pattern: Option<Pattern>,
    pub is_optional: bool,
    /// Whether an answer that repeats it is withheld.
    pub is_secret: bool,
}

/// How long a token lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The answer says for how many seconds.
    Seconds(AnswerPlace),
    /// The answer says until when, in seconds or milliseconds since 1970.
    Epoch { place: AnswerPlace, is_ms: bool },
    /// The answer says until when, by RFC 3339.
    Rfc3339(AnswerPlace),
    /// So many seconds, whatever the answer says.
    After(u32),
    /// The token is a JSON Web Token whose `exp` says it.
    Jwt,
    /// Until the provider refuses it.
    Learned,
}

/// OAuth 2.0, with what providers do differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    pub flows: Vec<Flow>,
    pub client_auth: ClientAuth,
    /// What the client's own assertions are signed by; `None`: what the key is for.
    pub client_algorithm: Option<SigningAlgorithm>,
    /// RFC 7636, S256; without it only where the provider cannot.
    pub has_pkce: bool,
    pub scope_separator: String,
    /// Asked for whatever the grants need.
    pub scopes: Vec<String>,
    /// Beside what the RFC demands; one whose value is `None` is left out of it.
    pub authorization_params: Params,
    pub token_params: Params,
    pub refresh_params: Params,
    pub token_headers: Vec<(String, Template)>,
    /// Whether requests to the token endpoint are JSON instead of a form.
    pub is_json: bool,
    /// The `iss` that the provider's answer in the browser must have (RFC 9207).
    pub issuer: Option<String>,
    /// Where tokens are given back (RFC 7009).
    pub revocation_url: Option<UrlTemplate>,
    /// RFC 9449.
    pub has_dpop: bool,
    pub access_token: AnswerPlace,
    pub refresh_token: AnswerPlace,
    pub scope: AnswerPlace,
    pub expires: Lifetime,
    pub take: Vec<Take>,
    pub assertion: Option<Assertion>,
}

pub type Params = Vec<(String, Option<Template>)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    AuthorizationCode {
        authorization_url: UrlTemplate,
        token_url: UrlTemplate,
        refresh_url: UrlTemplate,
    },
    ClientCredentials {
        token_url: UrlTemplate,
    },
    /// RFC 7523 §2.1.
    JwtBearer {
        token_url: UrlTemplate,
    },
}

impl Flow {
    pub const fn token_url(&self) -> &UrlTemplate {
        match self {
            Self::AuthorizationCode { token_url, .. }
            | Self::ClientCredentials { token_url }
            | Self::JwtBearer { token_url } => token_url,
        }
    }

    /// As overlays and RFC 6749 call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AuthorizationCode { .. } => "authorization_code",
            Self::ClientCredentials { .. } => "client_credentials",
            Self::JwtBearer { .. } => "jwt_bearer",
        }
    }
}

/// How the client shows the token endpoint who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// RFC 6749 §2.3.1.
    Basic,
    /// `client_id` and `client_secret` in the body, form or JSON.
    Body,
    /// RFC 7523 §2.2.
    PrivateKeyJwt,
    /// RFC 8705 §2.1: by the certificate of the connection.
    Tls,
    /// A public client.
    None,
}

/// A JSON Web Token that is signed with the secret's `private_key` (RFC 7523).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    pub algorithm: SigningAlgorithm,
    /// Beside `iat`, `exp` and `jti`.
    pub claims: Vec<(String, Template)>,
    pub lasts_s: u32,
    /// Whether the scopes stand in the claim `scope` instead of the form.
    pub has_scope: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum SigningAlgorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Names that stand for parts of the call.
pub const REQUEST_NAMES: [&str; 6] = [
    "request.body",
    "request.host",
    "request.method",
    "request.path",
    "request.query",
    "request.target",
];

impl AuthPlan {
    pub const fn oauth2(&self) -> Option<&OAuth2> {
        match &self.acquire {
            Some(Acquire::OAuth2(oauth2)) => Some(oauth2),
            _ => None,
        }
    }

    /// The flow in which somebody consents in a browser.
    pub fn authorization_code(&self) -> Option<&Flow> {
        let flows = &self.oauth2()?.flows;
        flows.iter().find(|flow| matches!(flow, Flow::AuthorizationCode { .. }))
    }

    /// Whether what it adds to a call depends on the call or the moment.
    pub fn is_per_call(&self) -> bool {
        let is_live = |template: &Template| {
            template.is_of_the_moment()
                || template.names().iter().any(|name| REQUEST_NAMES.contains(name))
        };
        let has_dpop = self.oauth2().is_some_and(|oauth2| oauth2.has_dpop);
        self.sigv4.is_some()
            || has_dpop
            || self.lets.iter().any(|(_, template)| is_live(template))
            || self.apply.iter().any(|apply| match apply {
                Apply::Header { value, .. } | Apply::Query { value, .. } => is_live(value),
            })
    }

    /// Every server that a token is asked for at.
    pub fn urls(&self) -> Vec<&UrlTemplate> {
        match &self.acquire {
            None => Vec::new(),
            Some(Acquire::Steps(steps)) => {
                steps.steps.iter().map(|step| &step.request.url).collect()
            }
            Some(Acquire::OAuth2(oauth2)) => oauth2
                .flows
                .iter()
                .flat_map(|flow| match flow {
                    Flow::AuthorizationCode { token_url, refresh_url, .. } => {
                        vec![token_url, refresh_url]
                    }
                    other => vec![other.token_url()],
                })
                .chain(&oauth2.revocation_url)
                .collect(),
        }
    }

    /// Whether the server that a token is asked for at is another for each customer.
    pub fn asks_by_names(&self) -> bool {
        let is_named = |piece: &HostPiece| matches!(piece, HostPiece::Name(_));
        self.urls().iter().any(|url| url.host().iter().any(is_named))
    }

    /// Where secrets and tokens are sent: scheme, host as it is written, and port.
    pub fn sent_to(&self) -> BTreeSet<String> {
        self.urls().into_iter().map(UrlTemplate::origin).collect()
    }

    /// Where those are sent who consent.
    pub fn consented_at(&self) -> Option<String> {
        match self.authorization_code()? {
            Flow::AuthorizationCode { authorization_url, .. } => Some(authorization_url.origin()),
            _ => None,
        }
    }

    /// Whether an answer that repeats the value of this name is withheld: the secret's and the token's own
    /// values are, but for names that many know and what the plan says is none.
    pub fn is_secret(&self, name: &str) -> bool {
        if let Some(input) = self.inputs.get(name) {
            return input.is_secret;
        }
        let takes: Vec<&Take> = match &self.acquire {
            None => return false,
            Some(Acquire::Steps(steps)) => steps.steps.iter().flat_map(|step| &step.take).collect(),
            Some(Acquire::OAuth2(_)) if name == "access_token" => return true,
            Some(Acquire::OAuth2(oauth2)) => oauth2.take.iter().collect(),
        };
        takes.iter().any(|take| take.name == name && take.is_secret)
    }

    /// What answers give names to.
    pub fn taken(&self) -> BTreeSet<&str> {
        match &self.acquire {
            None => BTreeSet::new(),
            Some(Acquire::Steps(steps)) => steps
                .steps
                .iter()
                .flat_map(|step| &step.take)
                .map(|take| take.name.as_str())
                .collect(),
            Some(Acquire::OAuth2(oauth2)) => {
                oauth2.take.iter().map(|take| take.name.as_str()).chain(["access_token"]).collect()
            }
        }
    }
}

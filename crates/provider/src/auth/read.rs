//! From the flows of a description and the overlay's `x-weirgate-auth` to a plan that was checked:
//! every name in it is known, every URL anchored, every pattern compiles.

use super::{
    Acquire, AnswerPlace, Apply, Assertion, AuthPlan, BodyTemplate, ClientAuth, Flow, Input,
    JsonTemplate, Lifetime, OAuth2, Params, Pattern, REQUEST_NAMES, RequestMethod, RequestTemplate,
    SigV4, SigningAlgorithm, Step, Steps, Take, Template, UrlTemplate,
};
use crate::model::SecurityScheme;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The most steps, inputs, parameters and kept values.
const MAX_PARTS: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    #[serde(default)]
    inputs: BTreeMap<String, RawInput>,
    oauth2: Option<RawOAuth2>,
    steps: Option<Vec<RawStep>>,
    expires: Option<RawLifetime>,
    #[serde(default, rename = "let")]
    lets: Map<String, Value>,
    headers: Option<Map<String, Value>>,
    query: Option<Map<String, Value>>,
    aws_sigv4: Option<RawSigV4>,
    #[serde(default)]
    client_certificate: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawInput {
    pattern: Option<String>,
    optional: bool,
    lines: bool,
    secret: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawOAuth2 {
    flow: Option<String>,
    authorization_url: Option<String>,
    token_url: Option<String>,
    refresh_url: Option<String>,
    revocation_url: Option<String>,
    client_auth: Option<ClientAuth>,
    client_algorithm: Option<SigningAlgorithm>,
    pkce: Option<bool>,
    scope_separator: Option<String>,
    scopes: Vec<String>,
    authorization_params: Map<String, Value>,
    token_params: Map<String, Value>,
    refresh_params: Map<String, Value>,
    token_headers: Map<String, Value>,
    json: bool,
    issuer: Option<String>,
    dpop: bool,
    access_token: Option<String>,
    refresh_token: Option<String>,
    scope: Option<String>,
    take: BTreeMap<String, Value>,
    assertion: Option<RawAssertion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAssertion {
    algorithm: SigningAlgorithm,
    claims: Map<String, Value>,
    #[serde(default)]
    scope: bool,
    lasts: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    method: RequestMethod,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    query: Map<String, Value>,
    form: Option<Map<String, Value>>,
    json: Option<Value>,
    take: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTake {
    from: String,
    pattern: Option<String>,
    #[serde(default)]
    optional: bool,
    secret: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLifetime {
    r#in: Option<String>,
    at: Option<String>,
    format: Option<String>,
    after: Option<u32>,
    jwt: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSigV4 {
    service: String,
    region: String,
}

/// What the description alone says of OAuth 2.0: its flows, with their URLs where those are whole.
pub(crate) fn from_description(flows: Vec<Flow>) -> Option<AuthPlan> {
    if flows.is_empty() {
        return None;
    }
    let mut plan = AuthPlan {
        acquire: Some(Acquire::OAuth2(Box::new(OAuth2 { flows, ..defaults() }))),
        apply: vec![behind("Bearer ", "access_token")],
        ..AuthPlan::default()
    };
    add_inputs(&mut plan, &SecurityScheme::Bearer);
    Some(plan)
}

fn defaults() -> OAuth2 {
    OAuth2 {
        flows: Vec::new(),
        client_auth: ClientAuth::Basic,
        client_algorithm: None,
        has_pkce: true,
        scope_separator: " ".to_owned(),
        scopes: Vec::new(),
        authorization_params: Vec::new(),
        token_params: Vec::new(),
        refresh_params: Vec::new(),
        token_headers: Vec::new(),
        is_json: false,
        issuer: None,
        revocation_url: None,
        has_dpop: false,
        access_token: AnswerPlace::member("access_token"),
        refresh_token: AnswerPlace::member("refresh_token"),
        scope: AnswerPlace::member("scope"),
        expires: Lifetime::Seconds(AnswerPlace::member("expires_in")),
        take: Vec::new(),
        assertion: None,
    }
}

/// A scheme of which the client's certificate is all (OpenAPI 3.1 §4.8.27).
pub(crate) fn from_certificate() -> AuthPlan {
    let mut plan = AuthPlan { has_client_certificate: true, ..AuthPlan::default() };
    add_inputs(&mut plan, &SecurityScheme::MutualTls);
    plan
}

fn behind(word: &str, name: &str) -> Apply {
    Apply::Header { name: "authorization".to_owned(), value: Template::behind(word, name) }
}

/// Reads `x-weirgate-auth`.
///
/// # Errors
/// Says which part does not fit, and why.
pub(crate) fn from_extension(
    value: &Value,
    scheme: &SecurityScheme,
    described: Option<&AuthPlan>,
    variables: &BTreeSet<String>,
) -> Result<AuthPlan, String> {
    let raw: RawAuth = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let mut plan = AuthPlan {
        inputs: inputs(&raw.inputs)?,
        lets: templates("let", &raw.lets)?,
        has_client_certificate: raw.client_certificate || *scheme == SecurityScheme::MutualTls,
        ..AuthPlan::default()
    };
    plan.acquire = match (raw.oauth2, raw.steps) {
        (Some(_), Some(_)) => return Err("`oauth2` and `steps` exclude each other".to_owned()),
        (Some(raw_oauth2), None) => {
            let expires = raw.expires.map(lifetime).transpose()?;
            Some(Acquire::OAuth2(Box::new(oauth2(raw_oauth2, expires, described)?)))
        }
        (None, Some(steps)) => Some(Acquire::Steps(read_steps(steps, raw.expires)?)),
        (None, None) if raw.expires.is_some() => {
            return Err("`expires` means nothing without `oauth2` or `steps`".to_owned());
        }
        (None, None) => None,
    };
    if let Some(raw) = raw.aws_sigv4 {
        let service = template("aws_sigv4.service", &raw.service)?;
        plan.sigv4 = Some(SigV4 { service, region: template("aws_sigv4.region", &raw.region)? });
    }
    let has_places = raw.headers.is_some() || raw.query.is_some();
    for (name, value) in call_headers(&raw.headers.unwrap_or_default())? {
        plan.apply.push(Apply::Header { name, value });
    }
    for (name, value) in templates("query", &raw.query.unwrap_or_default())? {
        plan.apply.push(Apply::Query { name, value });
    }
    if !has_places && plan.sigv4.is_none() {
        plan.apply = usual_places(scheme, &plan)?;
    }
    add_inputs(&mut plan, scheme);
    check_names(&plan, variables)?;
    Ok(plan)
}

/// Where a scheme's token goes by its kind, unless the overlay says where.
fn usual_places(scheme: &SecurityScheme, plan: &AuthPlan) -> Result<Vec<Apply>, String> {
    let value = match &plan.acquire {
        Some(Acquire::OAuth2(_)) => "access_token",
        Some(Acquire::Steps(_)) => {
            if !plan.taken().contains("access_token") {
                return Err(
                    "the steps take no `access_token`: say by `headers` or `query` where what they take goes"
                        .to_owned(),
                );
            }
            "access_token"
        }
        None if plan.has_client_certificate => return Ok(Vec::new()),
        None => match scheme {
            SecurityScheme::ApiKeyHeader { .. } | SecurityScheme::ApiKeyQuery { .. } => "api_key",
            SecurityScheme::Basic => {
                let value = template("headers", "Basic ${base64(username, ':', password)}")?;
                return Ok(vec![Apply::Header { name: "authorization".to_owned(), value }]);
            }
            _ => "token",
        },
    };
    // RFC 9449 §7.1.
    let is_dpop = plan.oauth2().is_some_and(|oauth2| oauth2.has_dpop);
    let word = if is_dpop { "DPoP " } else { "Bearer " };
    Ok(match scheme {
        SecurityScheme::ApiKeyHeader { name } => {
            vec![Apply::Header { name: name.to_ascii_lowercase(), value: Template::of_name(value) }]
        }
        SecurityScheme::ApiKeyQuery { name } => {
            vec![Apply::Query { name: name.clone(), value: Template::of_name(value) }]
        }
        SecurityScheme::ApiKeyCookie { .. } => {
            return Err(
                "a credential never goes into a cookie: say by `headers` or `query` where it goes"
                    .to_owned(),
            );
        }
        _ => vec![behind(word, value)],
    })
}

/// What the secret may hold beside what the overlay declares.
fn add_inputs(plan: &mut AuthPlan, scheme: &SecurityScheme) {
    let input =
        |is_optional, has_lines| Input { pattern: None, is_optional, has_lines, is_secret: true };
    let mut implied: Vec<(&str, Input)> = Vec::new();
    if let Some(oauth2) = plan.oauth2() {
        // The provider's app may hold them instead.
        implied.extend([
            ("client_id", input(true, false)),
            ("client_secret", input(true, false)),
            ("refresh_token", input(true, false)),
        ]);
        let signs = oauth2.client_auth == ClientAuth::PrivateKeyJwt || oauth2.assertion.is_some();
        if signs {
            implied.extend([("private_key", input(true, true)), ("key_id", input(true, false))]);
        }
        if oauth2.client_auth == ClientAuth::Tls {
            plan.has_client_certificate = true;
        }
    }
    if plan.has_client_certificate {
        // With tokens, the provider's app may hold them.
        let may_lack = plan.acquire.is_some();
        implied.extend([
            ("certificate", input(may_lack, true)),
            ("private_key", input(may_lack, true)),
        ]);
    }
    if plan.sigv4.is_some() {
        implied.extend([
            ("access_key_id", input(false, false)),
            ("secret_access_key", input(false, false)),
            ("session_token", input(true, false)),
        ]);
    }
    if plan.inputs.is_empty() && plan.acquire.is_none() && plan.sigv4.is_none() {
        match scheme {
            SecurityScheme::Basic => {
                implied
                    .extend([("username", input(false, false)), ("password", input(false, false))]);
            }
            SecurityScheme::ApiKeyHeader { .. } | SecurityScheme::ApiKeyQuery { .. } => {
                implied.push(("api_key", input(false, false)));
            }
            SecurityScheme::MutualTls => {}
            _ => implied.push(("token", input(false, false))),
        }
    }
    for (name, mut input) in implied {
        input.is_secret = is_usually_secret(name);
        plan.inputs.entry(name.to_owned()).or_insert(input);
    }
}

/// All but what names its holder, and what is shown to everybody.
fn is_usually_secret(name: &str) -> bool {
    !matches!(name, "client_id" | "username" | "certificate" | "key_id" | "access_key_id")
}

fn inputs(raw: &BTreeMap<String, RawInput>) -> Result<BTreeMap<String, Input>, String> {
    few("inputs", raw.len())?;
    let mut inputs = BTreeMap::new();
    for (name, raw) in raw {
        check_name("inputs", name)?;
        let pattern =
            raw.pattern.as_deref().map(|text| pattern("inputs", name, text)).transpose()?;
        let is_secret = raw.secret.unwrap_or_else(|| is_usually_secret(name));
        let (is_optional, has_lines) = (raw.optional, raw.lines);
        let input = Input { pattern, is_optional, has_lines, is_secret };
        inputs.insert(name.clone(), input);
    }
    Ok(inputs)
}

fn pattern(place: &str, name: &str, text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|why| format!("the pattern of {place} `{name}`: {why}"))
}

fn few(place: &str, count: usize) -> Result<(), String> {
    if count <= MAX_PARTS {
        return Ok(());
    }
    Err(format!("`{place}` has {count} parts, at most {MAX_PARTS} are read"))
}

/// Names of values: letters, digits and `_`, so that nothing else can be meant by them.
fn check_name(place: &str, name: &str) -> Result<(), String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.starts_with(|letter: char| letter.is_ascii_alphabetic()) && name.chars().all(is_part) {
        return Ok(());
    }
    Err(format!("`{place}` has a name that is not of letters, digits and _"))
}

fn template(place: &str, text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|error| format!("`{place}`: {error}"))
}

fn text_of<'v>(place: &str, name: &str, value: &'v Value) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("`{place}.{name}` is no text"))
}

fn templates(place: &str, raw: &Map<String, Value>) -> Result<Vec<(String, Template)>, String> {
    few(place, raw.len())?;
    raw.iter()
        .map(|(name, value)| {
            let text = text_of(place, name, value)?;
            Ok((name.clone(), template(&format!("{place}.{name}"), text)?))
        })
        .collect()
}

fn params(place: &str, raw: &Map<String, Value>) -> Result<Params, String> {
    few(place, raw.len())?;
    raw.iter()
        .map(|(name, value)| {
            if value.is_null() {
                return Ok((name.clone(), None));
            }
            let text = text_of(place, name, value)?;
            Ok((name.clone(), Some(template(&format!("{place}.{name}"), text)?)))
        })
        .collect()
}

fn url(place: &str, text: &str) -> Result<UrlTemplate, String> {
    UrlTemplate::parse(text).map_err(|error| format!("`{place}`: {error}"))
}

fn answer_place(place: &str, text: &str) -> Result<AnswerPlace, String> {
    AnswerPlace::parse(text).ok_or_else(|| {
        format!("`{place}` is neither a JSON pointer such as /data/token nor header:NAME")
    })
}

fn takes(place: &str, raw: BTreeMap<String, Value>) -> Result<Vec<Take>, String> {
    few(place, raw.len())?;
    raw.into_iter()
        .map(|(name, raw)| {
            check_name(place, &name)?;
            let raw = match raw {
                Value::String(from) => {
                    RawTake { from, pattern: None, optional: false, secret: None }
                }
                whole => serde_json::from_value::<RawTake>(whole)
                    .map_err(|error| format!("`{place}.{name}`: {error}"))?,
            };
            let pattern = raw.pattern.map(|text| pattern(place, &name, &text)).transpose()?;
            let from = answer_place(&format!("{place}.{name}"), &raw.from)?;
            let (is_optional, is_secret) = (raw.optional, raw.secret.unwrap_or(true));
            Ok(Take { name, place: from, pattern, is_optional, is_secret })
        })
        .collect()
}

fn lifetime(raw: RawLifetime) -> Result<Lifetime, String> {
    let RawLifetime { r#in, at, format, after, jwt } = raw;
    let place = |text: String| answer_place("expires", &text);
    match (r#in, at, format.as_deref(), after, jwt) {
        (Some(text), None, None, None, false) => Ok(Lifetime::Seconds(place(text)?)),
        (None, Some(text), Some("rfc3339"), None, false) => Ok(Lifetime::Rfc3339(place(text)?)),
        (None, Some(text), Some(unit @ ("unix" | "unix_ms")), None, false) => {
            Ok(Lifetime::Epoch { place: place(text)?, is_ms: unit == "unix_ms" })
        }
        (None, None, None, Some(seconds @ 1..), false) => Ok(Lifetime::After(seconds)),
        (None, None, None, None, true) => Ok(Lifetime::Jwt),
        (None, None, None, None, false) => Ok(Lifetime::Learned),
        _ => Err("`expires` is one of `in: PLACE`, `at: PLACE` with `format: unix | unix_ms | rfc3339`, `after: SECONDS`, `jwt: true`, or empty".to_owned()),
    }
}

fn read_steps(raw: Vec<RawStep>, expires: Option<RawLifetime>) -> Result<Steps, String> {
    few("steps", raw.len())?;
    if raw.is_empty() {
        return Err("`steps` is empty".to_owned());
    }
    let expires = expires.map(lifetime).transpose()?.unwrap_or(Lifetime::Learned);
    let steps = raw.into_iter().map(read_step).collect::<Result<Vec<_>, _>>()?;
    let takes_token =
        steps.iter().flat_map(|step| &step.take).any(|take| take.name == "access_token");
    if expires == Lifetime::Jwt && !takes_token {
        return Err("`expires.jwt` is of an `access_token`, which no step takes".to_owned());
    }
    Ok(Steps { steps, expires })
}

fn read_step(raw: RawStep) -> Result<Step, String> {
    let body = match (raw.form, raw.json) {
        (Some(_), Some(_)) => return Err("`form` and `json` exclude each other".to_owned()),
        (Some(form), None) => BodyTemplate::Form(templates("form", &form)?),
        (None, Some(json)) => BodyTemplate::Json(json_template(&json)?),
        (None, None) => BodyTemplate::None,
    };
    if raw.method == RequestMethod::Get && body != BodyTemplate::None {
        return Err("a GET has no body".to_owned());
    }
    if raw.take.is_empty() {
        return Err("a step takes nothing of its answer".to_owned());
    }
    let request = RequestTemplate {
        method: raw.method,
        url: url("steps.url", &raw.url)?,
        headers: request_headers("steps.headers", &raw.headers)?,
        query: templates("steps.query", &raw.query)?,
        body,
    };
    Ok(Step { request, take: takes("steps.take", raw.take)? })
}

/// Headers of a request of our own: what frames a message is not theirs.
fn request_headers(
    place: &str,
    raw: &Map<String, Value>,
) -> Result<Vec<(String, Template)>, String> {
    const NEVER: [&str; 5] = ["connection", "content-length", "host", "transfer-encoding", "te"];
    let headers = header_templates(place, raw)?;
    match headers.iter().find(|(name, _)| NEVER.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("`{place}` has `{name}`, which frames the message")),
        None => Ok(headers),
    }
}

/// Headers of a call: beside what frames it, what says in which form it is stays the gateway's.
fn call_headers(raw: &Map<String, Value>) -> Result<Vec<(String, Template)>, String> {
    const NEVER: [&str; 16] = [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    let headers = header_templates("headers", raw)?;
    match headers.iter().find(|(name, _)| NEVER.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("`headers` has `{name}`, in which no credential may be")),
        None => Ok(headers),
    }
}

/// Names in lower case, each once, of the characters of RFC 9110 §5.6.2.
fn header_templates(
    place: &str,
    raw: &Map<String, Value>,
) -> Result<Vec<(String, Template)>, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut headers = templates(place, raw)?;
    let mut seen = BTreeSet::new();
    for (name, _) in &mut headers {
        if name.is_empty() || !name.bytes().all(is_part) {
            return Err(format!("`{place}` has a name that no header can have"));
        }
        name.make_ascii_lowercase();
        if !seen.insert(name.clone()) {
            return Err(format!(
                "`{place}` has `{name}` twice, and case does not tell headers apart"
            ));
        }
    }
    Ok(headers)
}

fn json_template(value: &Value) -> Result<JsonTemplate, String> {
    Ok(match value {
        Value::String(text) => JsonTemplate::Text(template("json", text)?),
        Value::Array(list) => {
            JsonTemplate::List(list.iter().map(json_template).collect::<Result<_, _>>()?)
        }
        Value::Object(object) => {
            let members = object
                .iter()
                .map(|(name, value)| Ok((name.clone(), json_template(value)?)))
                .collect::<Result<_, String>>()?;
            JsonTemplate::Object(members)
        }
        plain => JsonTemplate::Plain(plain.to_string()),
    })
}

fn oauth2(
    raw: RawOAuth2,
    expires: Option<Lifetime>,
    described: Option<&AuthPlan>,
) -> Result<OAuth2, String> {
    let place = |name: &str, given: Option<String>, usual: AnswerPlace| {
        given.map_or(Ok(usual), |text| answer_place(&format!("oauth2.{name}"), &text))
    };
    let usual = defaults();
    let flows = read_flows(&raw, described)?;
    let assertion = raw.assertion.map(assertion).transpose()?;
    if flows.iter().any(|flow| matches!(flow, Flow::JwtBearer { .. })) && assertion.is_none() {
        return Err("the flow jwt_bearer needs `oauth2.assertion`".to_owned());
    }
    Ok(OAuth2 {
        flows,
        client_auth: raw.client_auth.unwrap_or(usual.client_auth),
        client_algorithm: raw.client_algorithm,
        has_pkce: raw.pkce.unwrap_or(true),
        scope_separator: raw.scope_separator.unwrap_or(usual.scope_separator),
        scopes: raw.scopes,
        authorization_params: params("oauth2.authorization_params", &raw.authorization_params)?,
        token_params: params("oauth2.token_params", &raw.token_params)?,
        refresh_params: params("oauth2.refresh_params", &raw.refresh_params)?,
        token_headers: request_headers("oauth2.token_headers", &raw.token_headers)?,
        is_json: raw.json,
        issuer: raw.issuer,
        revocation_url: raw
            .revocation_url
            .map(|text| url("oauth2.revocation_url", &text))
            .transpose()?,
        has_dpop: raw.dpop,
        access_token: place("access_token", raw.access_token, usual.access_token)?,
        refresh_token: place("refresh_token", raw.refresh_token, usual.refresh_token)?,
        scope: place("scope", raw.scope, usual.scope)?,
        expires: expires.unwrap_or(usual.expires),
        take: takes("oauth2.take", raw.take)?,
        assertion,
    })
}

/// The flow that the overlay names, with the description's URLs where it gives none.
fn read_flows(raw: &RawOAuth2, described: Option<&AuthPlan>) -> Result<Vec<Flow>, String> {
    let described = described.and_then(AuthPlan::oauth2).map_or(&[][..], |known| &known.flows);
    let Some(named) = raw.flow.as_deref() else {
        let has_urls = [&raw.authorization_url, &raw.token_url, &raw.refresh_url];
        if has_urls.iter().any(|url| url.is_some()) || described.is_empty() {
            return Err(
                "`oauth2.flow` is missing: authorization_code, client_credentials or jwt_bearer"
                    .to_owned(),
            );
        }
        return Ok(described.to_vec());
    };
    let known = described.iter().find(|flow| flow.name() == named);
    let token_url = match (&raw.token_url, known) {
        (Some(text), _) => url("oauth2.token_url", text)?,
        (None, Some(flow)) => flow.token_url().clone(),
        (None, None) => return Err("`oauth2.token_url` is missing".to_owned()),
    };
    let flow = match named {
        "authorization_code" => {
            let (authorization_url, known_refresh) = match known {
                Some(Flow::AuthorizationCode { authorization_url, refresh_url, .. }) => {
                    (Some(authorization_url.clone()), Some(refresh_url.clone()))
                }
                _ => (None, None),
            };
            let authorization_url = match &raw.authorization_url {
                Some(text) => url("oauth2.authorization_url", text)?,
                None => authorization_url.ok_or("`oauth2.authorization_url` is missing")?,
            };
            let refresh_url = match &raw.refresh_url {
                Some(text) => url("oauth2.refresh_url", text)?,
                None if raw.token_url.is_some() => token_url.clone(),
                None => known_refresh.unwrap_or_else(|| token_url.clone()),
            };
            Flow::AuthorizationCode { authorization_url, token_url, refresh_url }
        }
        "client_credentials" => Flow::ClientCredentials { token_url },
        "jwt_bearer" => Flow::JwtBearer { token_url },
        // The implicit and the password grant are no ways to authenticate (RFC 9700 §2.1.2, §2.4).
        _ => {
            return Err(
                "`oauth2.flow` is authorization_code, client_credentials or jwt_bearer".to_owned()
            );
        }
    };
    Ok(vec![flow])
}

fn assertion(raw: RawAssertion) -> Result<Assertion, String> {
    /// The longest life of an assertion, and the usual one, in seconds.
    const LASTS: (u32, u32) = (3600, 300);
    let lasts_s = raw.lasts.unwrap_or(LASTS.1);
    if lasts_s == 0 || lasts_s > LASTS.0 {
        return Err(format!("`oauth2.assertion.lasts` is 1 to {} seconds", LASTS.0));
    }
    let claims = templates("oauth2.assertion.claims", &raw.claims)?;
    if claims.iter().any(|(name, _)| matches!(name.as_str(), "iat" | "exp" | "nbf" | "jti")) {
        return Err("`oauth2.assertion.claims` leaves iat, exp, nbf and jti to Weirgate".to_owned());
    }
    Ok(Assertion { algorithm: raw.algorithm, claims, lasts_s, has_scope: raw.scope })
}

/// Every name must be one that has a value where it stands.
fn check_names(plan: &AuthPlan, variables: &BTreeSet<String>) -> Result<(), String> {
    let mut known: BTreeSet<&str> = plan.inputs.keys().map(String::as_str).collect();
    known.extend(variables.iter().map(String::as_str));
    let all = |known: &BTreeSet<&str>, names: Vec<&str>, place: &str| {
        for name in names {
            if !known.contains(name) {
                let near = types::nearest(name, known.iter().copied());
                let near =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(format!("`{place}` uses `{name}`, which has no value there{near}"));
            }
        }
        Ok(())
    };
    match &plan.acquire {
        None => {}
        Some(Acquire::Steps(steps)) => {
            for step in &steps.steps {
                all(&known, request_names(&step.request), "steps")?;
                known.extend(step.take.iter().map(|take| take.name.as_str()));
            }
        }
        Some(Acquire::OAuth2(oauth2)) => {
            for flow in &oauth2.flows {
                all(&known, flow.token_url().names(), "oauth2.token_url")?;
                if let Flow::AuthorizationCode { authorization_url, refresh_url, .. } = flow {
                    all(&known, authorization_url.names(), "oauth2.authorization_url")?;
                    all(&known, refresh_url.names(), "oauth2.refresh_url")?;
                }
            }
            if let Some(url) = &oauth2.revocation_url {
                all(&known, url.names(), "oauth2.revocation_url")?;
            }
            let params =
                [&oauth2.authorization_params, &oauth2.token_params, &oauth2.refresh_params];
            for (_, template) in params.into_iter().flatten() {
                all(
                    &known,
                    template.iter().flat_map(Template::names).collect(),
                    "oauth2 parameters",
                )?;
            }
            for (_, template) in &oauth2.token_headers {
                all(&known, template.names(), "oauth2.token_headers")?;
            }
            for (_, template) in oauth2.assertion.iter().flat_map(|one| &one.claims) {
                all(&known, template.names(), "oauth2.assertion.claims")?;
            }
        }
    }
    known.extend(plan.taken());
    // What renews a token goes to nobody but the token endpoint.
    known.remove("refresh_token");
    known.extend(REQUEST_NAMES);
    for (name, template) in &plan.lets {
        check_name("let", name)?;
        all(&known, template.names(), "let")?;
        known.insert(name);
    }
    for apply in &plan.apply {
        match apply {
            Apply::Header { value, .. } => all(&known, value.names(), "headers")?,
            Apply::Query { value, .. } => all(&known, value.names(), "query")?,
        }
    }
    if let Some(sigv4) = &plan.sigv4 {
        all(&known, sigv4.service.names(), "aws_sigv4.service")?;
        all(&known, sigv4.region.names(), "aws_sigv4.region")?;
    }
    Ok(())
}

fn request_names(request: &RequestTemplate) -> Vec<&str> {
    let mut names = request.url.names();
    for (_, template) in request.headers.iter().chain(&request.query) {
        names.extend(template.names());
    }
    match &request.body {
        BodyTemplate::None => {}
        BodyTemplate::Form(form) => {
            names.extend(form.iter().flat_map(|(_, template)| template.names()));
        }
        BodyTemplate::Json(json) => json_names(json, &mut names),
    }
    names
}

fn json_names<'j>(json: &'j JsonTemplate, names: &mut Vec<&'j str>) {
    match json {
        JsonTemplate::Text(template) => names.extend(template.names()),
        JsonTemplate::Plain(_) => {}
        JsonTemplate::List(list) => {
            for one in list {
                json_names(one, names);
            }
        }
        JsonTemplate::Object(members) => {
            for (_, one) in members {
                json_names(one, names);
            }
        }
    }
}

//! Security schemes, requirements and servers, of both dialects.

use crate::{
    auth::{self, AuthPlan, Flow, UrlTemplate},
    document::{Document, Node},
    load::Dialect,
    model::{SecurityRequirement, SecurityScheme, Server, ServerVariable},
    operations::Draft,
};
use std::collections::{BTreeMap, BTreeSet};

/// How the provider authenticates, by the names that the description gives.
#[derive(Default)]
pub(crate) struct Schemes {
    pub declared: BTreeMap<String, SecurityScheme>,
    pub plans: BTreeMap<String, AuthPlan>,
    /// Those whose plan cannot be read: nobody knows where their secrets may go.
    pub closed: BTreeSet<String>,
}

/// `variables` are the names that servers leave open.
pub(crate) fn schemes(
    document: &mut Document<'_>,
    dialect: Dialect,
    variables: &BTreeSet<String>,
) -> Schemes {
    let top = document.top();
    let section = match dialect {
        Dialect::Swagger2 => document.member(top, "securityDefinitions"),
        Dialect::OpenApi3 => document
            .member(top, "components")
            .and_then(|components| document.member(components, "securitySchemes")),
    };
    let Some(section) = section else { return Schemes::default() };
    let mut found = Schemes::default();
    for (name, node) in document.members(section) {
        if name.starts_with("x-") {
            continue;
        }
        let Some(node) = document.resolve(node) else { continue };
        let scheme = scheme(document, node);
        match plan(document, node, &scheme, variables) {
            Ok(Some(plan)) => {
                found.plans.insert(name.to_owned(), plan);
            }
            Ok(None) => {}
            Err(Unreadable) => {
                found.closed.insert(name.to_owned());
            }
        }
        found.declared.insert(name.to_owned(), scheme);
    }
    found
}

/// Somebody wrote a plan that means nothing.
struct Unreadable;

/// The overlay's plan, else the description's flows. Where one cannot be read the scheme is closed: what a
/// secret is for is not guessed.
fn plan<'a>(
    document: &mut Document<'a>,
    node: Node<'a>,
    scheme: &SecurityScheme,
    variables: &BTreeSet<String>,
) -> Result<Option<AuthPlan>, Unreadable> {
    let described = match scheme {
        SecurityScheme::MutualTls => Some(auth::from_certificate()),
        _ => auth::from_description(flows(node)),
    };
    let Some(given) = document.extension(node, "x-weirgate-auth") else {
        return Ok(described);
    };
    match auth::from_extension(given.value, scheme, described.as_ref(), variables) {
        Ok(plan) => {
            if plan.authorization_code().is_some() && plan.oauth2().is_some_and(|one| !one.has_pkce)
            {
                document.report(given, "pkce_off", "codes are exchanged without PKCE (RFC 7636)");
            }
            Ok(Some(plan))
        }
        Err(why) => {
            document.report(given, "bad_auth", &why);
            Err(Unreadable)
        }
    }
}

/// The flows that the description gives whole URLs for. What an app could not be sent to is told where
/// somebody wants to use it.
fn flows(node: Node<'_>) -> Vec<Flow> {
    let url = |flow: &serde_json::Value, name: &str| {
        let text = flow.get(name)?.as_str()?;
        // The description's own URLs have no values in them.
        let parsed = UrlTemplate::parse(text).ok()?;
        parsed.names().is_empty().then_some(parsed)
    };
    let read = |kind: &str, flow: &serde_json::Value| {
        let token_url = url(flow, "tokenUrl")?;
        match kind {
            "authorizationCode" | "accessCode" => Some(Flow::AuthorizationCode {
                authorization_url: url(flow, "authorizationUrl")?,
                refresh_url: url(flow, "refreshUrl").unwrap_or_else(|| token_url.clone()),
                token_url,
            }),
            "clientCredentials" | "application" => Some(Flow::ClientCredentials { token_url }),
            _ => None,
        }
    };
    if let Some(declared) = node.value.get("flows").and_then(|flows| flows.as_object()) {
        return declared.iter().filter_map(|(kind, flow)| read(kind, flow)).collect();
    }
    let kind = node.value.get("flow").and_then(|flow| flow.as_str());
    kind.and_then(|kind| read(kind, node.value)).into_iter().collect()
}

/// The names that servers leave to each connection.
pub(crate) fn variables<'s>(servers: impl IntoIterator<Item = &'s Server>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for server in servers {
        let mut rest = server.url.as_str();
        while let Some((_, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else { break };
            names.insert(name.to_owned());
            rest = after;
        }
    }
    names
}

fn scheme<'a>(document: &mut Document<'a>, node: Node<'a>) -> SecurityScheme {
    let text = |name: &str| node.value.get(name).and_then(serde_json::Value::as_str);
    let kind = text("type").unwrap_or_default();
    let name = text("name").unwrap_or_default().to_owned();
    match kind {
        "apiKey" => match text("in") {
            Some("header") => return SecurityScheme::ApiKeyHeader { name },
            Some("query") => return SecurityScheme::ApiKeyQuery { name },
            Some("cookie") => return SecurityScheme::ApiKeyCookie { name },
            _ => {}
        },
        "basic" => return SecurityScheme::Basic,
        "http" => match text("scheme").map(str::to_ascii_lowercase).as_deref() {
            Some("basic") => return SecurityScheme::Basic,
            Some("bearer") => return SecurityScheme::Bearer,
            _ => {}
        },
        "oauth2" => return oauth2(node),
        "openIdConnect" => {
            let url = text("openIdConnectUrl").unwrap_or_default().to_owned();
            return SecurityScheme::OpenIdConnect { url };
        }
        "mutualTLS" => return SecurityScheme::MutualTls,
        _ => {}
    }
    document.report(node, "unknown_security_scheme", "the scheme's kind is not known");
    let detail = text("scheme").or_else(|| text("in")).unwrap_or_default();
    SecurityScheme::Unknown { kind: format!("{kind} {detail}").trim().to_owned() }
}

/// Flows by their OpenAPI 3 names; Swagger 2.0 has one flow, with two names of its own.
fn oauth2(node: Node<'_>) -> SecurityScheme {
    let mut scopes = BTreeSet::new();
    let mut flows = Vec::new();
    let mut add_scopes = |value: &serde_json::Value| {
        if let Some(declared) = value.get("scopes").and_then(|scopes| scopes.as_object()) {
            scopes.extend(declared.keys().filter(|name| !name.starts_with("x-")).cloned());
        }
    };
    if let Some(declared) = node.value.get("flows").and_then(|flows| flows.as_object()) {
        for (name, flow) in declared.iter().filter(|(name, _)| !name.starts_with("x-")) {
            flows.push(name.clone());
            add_scopes(flow);
        }
    } else if let Some(flow) = node.value.get("flow").and_then(|flow| flow.as_str()) {
        flows.push(
            match flow {
                "accessCode" => "authorizationCode",
                "application" => "clientCredentials",
                other => other,
            }
            .to_owned(),
        );
        add_scopes(node.value);
    }
    SecurityScheme::OAuth2 { flows, scopes }
}

/// A `security` member: `None` where it is absent or no list.
pub(crate) fn requirements<'a>(
    document: &mut Document<'a>,
    holder: Node<'a>,
) -> Option<Vec<SecurityRequirement>> {
    let list = holder.value.get("security")?;
    let Some(list) = list.as_array() else {
        document.report(holder, "security_not_a_list", "`security` is no list and was ignored");
        return None;
    };
    let requirement = |value: &serde_json::Value| -> Option<SecurityRequirement> {
        let schemes = value.as_object()?.iter().map(|(name, scopes)| {
            let scopes = scopes.as_array().into_iter().flatten();
            (name.clone(), scopes.filter_map(|scope| scope.as_str().map(str::to_owned)).collect())
        });
        Some(schemes.collect())
    };
    let read: Option<Vec<_>> = list.iter().map(requirement).collect();
    if read.is_none() {
        // An element that cannot be read must not make the list shorter: an empty one means "open".
        document.report(holder, "unreadable_security", "`security` cannot be read and was ignored");
    }
    read
}

/// Reports requirements that name a scheme which is not declared, once per name.
pub(crate) fn check_requirements(
    document: &mut Document<'_>,
    drafts: &[Draft],
    schemes: &BTreeMap<String, SecurityScheme>,
) {
    let mut missing = BTreeSet::new();
    for draft in drafts {
        let asked = draft.operation.security.iter().flatten().flat_map(|any| any.keys());
        for name in asked.filter(|name| !schemes.contains_key(*name)) {
            if missing.insert(name.clone()) {
                document.report_at(
                    draft.pointer.clone(),
                    "unknown_security_requirement",
                    &format!("the scheme `{name}` is not declared"),
                );
            }
        }
    }
}

pub(crate) fn document_servers(document: &mut Document<'_>, dialect: Dialect) -> Vec<Server> {
    let top = document.top();
    match dialect {
        Dialect::Swagger2 => swagger_servers(document, None),
        Dialect::OpenApi3 => servers(document, top),
    }
}

/// `schemes`, `host` and `basePath` of Swagger 2.0; an operation has `schemes` of its own.
pub(crate) fn swagger_servers(
    document: &mut Document<'_>,
    operation: Option<Node<'_>>,
) -> Vec<Server> {
    let root = document.root;
    let text = |name: &str| root.get(name).and_then(serde_json::Value::as_str);
    let Some(host) = text("host").filter(|host| !host.is_empty()) else {
        if operation.is_none() {
            document.report_at(String::new(), "no_server", "the description names no host");
        }
        return Vec::new();
    };
    let base = text("basePath").unwrap_or_default().trim_end_matches('/');
    let slash = if base.is_empty() || base.starts_with('/') { "" } else { "/" };
    let declared = operation.map_or(root, |node| node.value).get("schemes");
    let mut schemes: Vec<&str> = declared
        .and_then(|list| list.as_array())
        .into_iter()
        .flatten()
        .filter_map(|s| s.as_str())
        .collect();
    if schemes.is_empty() && operation.is_none() {
        schemes.push("https");
    }
    schemes.retain(|scheme| matches!(*scheme, "https" | "http"));
    // https first: the first server is the one that an import proposes.
    schemes.sort_by_key(|scheme| *scheme != "https");
    schemes
        .into_iter()
        .map(|scheme| Server {
            url: format!("{scheme}://{host}{slash}{base}"),
            variables: BTreeMap::new(),
        })
        .collect()
}

/// The `servers` of a document, a path or an operation.
pub(crate) fn servers<'a>(document: &mut Document<'a>, holder: Node<'a>) -> Vec<Server> {
    let Some(list) = document.member(holder, "servers") else { return Vec::new() };
    let mut servers = Vec::new();
    for node in document.elements(list) {
        let Some(url) = node.value.get("url").and_then(serde_json::Value::as_str) else {
            document.report(node, "server_without_url", "the server has no URL");
            continue;
        };
        if !url.contains("://") && !url.starts_with('{') {
            document.report(node, "relative_server", "the server's URL is relative");
        }
        let declared = node.value.get("variables").and_then(serde_json::Value::as_object);
        let variables = declared.into_iter().flatten().map(|(name, variable)| {
            let choices = variable.get("enum").and_then(serde_json::Value::as_array);
            (
                name.clone(),
                ServerVariable {
                    default: variable.get("default").and_then(scalar_text),
                    choices: choices.into_iter().flatten().filter_map(scalar_text).collect(),
                },
            )
        });
        servers.push(Server { url: url.to_owned(), variables: variables.collect() });
    }
    servers
}

/// A scalar as text: `1` and `"1"` are the same choice in a URL.
pub(crate) fn scalar_text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

//! A provider's servers: which URL a connection uses, with its variables filled.
//!
//! A variable is one DNS label unless the description lists its choices, so that no value can move
//! a call to another host, path or port.

use provider::{Provider, Server};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Why a server's URL cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    #[error("the server variable `{name}` has no value and no default")]
    VariableMissing { name: String },
    #[error("the server variable `{name}` must be one of: {}", choices.join(", "))]
    VariableChoice { name: String, choices: Vec<String> },
    #[error(
        "the value of the server variable `{name}` must be one DNS label (letters, digits and -)"
    )]
    VariableValue { name: String },
    #[error(
        "the provider's token endpoint said `{name}`, which cannot stand in the server's name: it must be below a name that the description spells out"
    )]
    VariableTaken { name: String },
    #[error("no server has a variable of a name that --var gives")]
    VariableUnknown,
    #[error("the server URL `{url}` has a `{{` without `}}`")]
    TemplateMalformed { url: String },
    #[error("the description names no server with a full URL")]
    NoServer,
}

/// The URLs that calls may go to: the document's first usable server, then those of operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPlan {
    pub urls: Vec<String>,
    /// Which of `urls` an operation uses, where it is not the first.
    pub of_operation: HashMap<usize, usize>,
}

/// Fills a connection's servers. A server that the operator named at import replaces every one that
/// the description names, so that no call goes where nobody looked.
pub fn plan(
    provider: &Provider,
    named: Option<&str>,
    variables: &BTreeMap<String, String>,
) -> Result<ServerPlan, ServerError> {
    plan_with(provider, named, variables, &BTreeMap::new())
}

/// The same, with what the provider's own token endpoint said of the connection: an instance's name.
/// Such a value may be several labels, and only where a literal name stands behind it.
pub fn plan_with(
    provider: &Provider,
    named: Option<&str>,
    variables: &BTreeMap<String, String>,
    taken: &BTreeMap<String, String>,
) -> Result<ServerPlan, ServerError> {
    if let Some(url) = named {
        if !variables.is_empty() {
            return Err(ServerError::VariableUnknown);
        }
        return Ok(ServerPlan { urls: vec![url.to_owned()], of_operation: HashMap::new() });
    }
    let mut known = BTreeSet::new();
    let document = usable(&provider.servers).ok_or(ServerError::NoServer)?;
    let mut urls = vec![fill(document, (variables, taken), &mut known)?];
    let mut of_operation = HashMap::new();
    for (index, operation) in provider.operations.iter().enumerate() {
        let Some(server) = usable(&operation.servers) else { continue };
        let url = fill(server, (variables, taken), &mut known)?;
        let place = urls.iter().position(|known| *known == url).unwrap_or_else(|| {
            urls.push(url);
            urls.len() - 1
        });
        if place > 0 {
            of_operation.insert(index, place);
        }
    }
    if variables.keys().any(|name| !known.contains(name.as_str())) {
        return Err(ServerError::VariableUnknown);
    }
    Ok(ServerPlan { urls, of_operation })
}

/// The first server with a full URL; relative ones have nothing to be relative to.
fn usable(servers: &[Server]) -> Option<&Server> {
    let is_full = |server: &&Server| {
        let url = server.url.to_ascii_lowercase();
        url.starts_with("https://") || url.starts_with("http://") || url.starts_with('{')
    };
    // https wins over http, whatever the order.
    let is_https = |server: &&Server| server.url.to_ascii_lowercase().starts_with("https://");
    servers.iter().find(is_https).or_else(|| servers.iter().find(is_full))
}

fn fill(
    server: &Server,
    (variables, taken): (&BTreeMap<String, String>, &BTreeMap<String, String>),
    known: &mut BTreeSet<String>,
) -> Result<String, ServerError> {
    let mut filled = String::new();
    let mut rest = server.url.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| ServerError::TemplateMalformed { url: server.url.clone() })?;
        known.insert(name.to_owned());
        match taken.get(name).filter(|_| !variables.contains_key(name)) {
            Some(value) if is_names(value) && is_anchored(&filled, after) => filled.push_str(value),
            Some(_) => return Err(ServerError::VariableTaken { name: name.to_owned() }),
            None => filled.push_str(&value_of(server, name, variables)?),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn value_of(
    server: &Server,
    name: &str,
    variables: &BTreeMap<String, String>,
) -> Result<String, ServerError> {
    let declared = server.variables.get(name);
    let choices = declared.map(|variable| variable.choices.as_slice()).unwrap_or_default();
    let default = declared.and_then(|variable| variable.default.as_deref());
    let Some(value) = variables.get(name) else {
        return default
            .filter(|value| !value.is_empty())
            .map(ToOwned::to_owned)
            .ok_or_else(|| ServerError::VariableMissing { name: name.to_owned() });
    };
    if choices.is_empty() {
        // The description's own default is as good as a choice that it lists.
        if is_dns_label(value) || default == Some(value) {
            return Ok(value.clone());
        }
        return Err(ServerError::VariableValue { name: name.to_owned() });
    }
    if choices.contains(value) {
        return Ok(value.clone());
    }
    Err(ServerError::VariableChoice { name: name.to_owned(), choices: choices.to_vec() })
}

fn is_names(text: &str) -> bool {
    text.len() <= 200 && text.split('.').all(is_dns_label)
}

/// Whether what is filled in stays below a name that the description spells out: it stands at the
/// beginning of the host, and behind it comes `.example.com`.
fn is_anchored(before: &str, after: &str) -> bool {
    let host = after.split(['/', ':', '?']).next().unwrap_or_default();
    let labels = host.strip_prefix('.').map(|rest| rest.split('.').collect::<Vec<_>>());
    before.ends_with("://")
        && labels
            .is_some_and(|labels| labels.len() >= 2 && labels.iter().all(|one| is_dns_label(one)))
}

/// RFC 1123 §2.1: letters, digits and inner hyphens, at most 63.
fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider::ServerVariable;

    fn server(url: &str, variables: &[(&str, Option<&str>, &[&str])]) -> Server {
        let variables = variables
            .iter()
            .map(|(name, default, choices)| {
                let choices = choices.iter().map(|&choice| choice.to_owned()).collect();
                let default = default.map(ToOwned::to_owned);
                ((*name).to_owned(), ServerVariable { default, choices })
            })
            .collect();
        Server { url: url.to_owned(), variables }
    }

    fn plan_of(servers: Vec<Server>, given: &[(&str, &str)]) -> Result<Vec<String>, ServerError> {
        let provider = Provider { servers, ..Provider::default() };
        let given = given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        plan(&provider, None, &given).map(|plan| plan.urls)
    }

    #[test]
    fn what_a_token_endpoint_says_stays_below_a_literal_name() {
        let filled = |url: &str, value: &str| {
            let provider = Provider { servers: vec![server(url, &[])], ..Provider::default() };
            let taken = BTreeMap::from([("instance".to_owned(), value.to_owned())]);
            plan_with(&provider, None, &BTreeMap::new(), &taken).map(|plan| plan.urls.concat())
        };
        let url = "https://{instance}.example.com/api";
        assert_eq!(filled(url, "acme--dev.box").unwrap(), "https://acme--dev.box.example.com/api");
        for bad in ["", "a/b", "a.", "a@b", "evil.com/", "a..b"] {
            assert!(filled(url, bad).is_err(), "{bad}");
        }
        for bad in ["https://{instance}/", "https://{instance}.com/", "https://a.{instance}.b.com/"]
        {
            assert!(filled(bad, "acme").is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_are_filled_and_cannot_move_the_call() {
        let template = || {
            vec![server("https://{tenant}.example.com/{v}", &[("v", Some("v1"), &["v1", "v2"])])]
        };
        assert_eq!(
            plan_of(template(), &[("tenant", "acme")]).unwrap(),
            ["https://acme.example.com/v1"]
        );
        for bad in ["evil.com/", "a.b", "x@y", "", "-a", "a:1", "acme#", "%2e", "a b", "ä"] {
            assert!(
                matches!(
                    plan_of(template(), &[("tenant", bad)]),
                    Err(ServerError::VariableValue { .. })
                ),
                "{bad}"
            );
        }
        assert!(matches!(plan_of(template(), &[]), Err(ServerError::VariableMissing { .. })));
        assert!(matches!(
            plan_of(template(), &[("tenant", "a"), ("v", "v3")]),
            Err(ServerError::VariableChoice { .. })
        ));
        assert!(matches!(
            plan_of(template(), &[("tenant", "a"), ("nope", "b")]),
            Err(ServerError::VariableUnknown)
        ));
    }

    #[test]
    fn a_full_https_server_wins_and_relative_ones_are_unusable() {
        let servers =
            vec![server("/v1", &[]), server("http://a.test", &[]), server("https://b.test", &[])];
        assert_eq!(plan_of(servers, &[]).unwrap(), ["https://b.test"]);
        assert_eq!(plan_of(vec![server("/v1", &[])], &[]), Err(ServerError::NoServer));
    }

    #[test]
    fn a_named_server_replaces_all() {
        let provider =
            Provider { servers: vec![server("https://a.test", &[])], ..Provider::default() };
        let plan = plan(&provider, Some("https://named.test/v1"), &BTreeMap::new()).unwrap();
        assert_eq!(plan.urls, ["https://named.test/v1"]);
        assert!(plan.of_operation.is_empty());
    }
}

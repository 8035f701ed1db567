//! Which security scheme a secret is for, and where its parts go in a request.

use crate::error::Error;
use outbound::ClientIdentity;
use provider::{
    Provider, SecurityScheme,
    auth::{Apply, AuthPlan, Input},
};
use std::{collections::BTreeMap, sync::Arc};
use vault::{Credential, Placement, Supply, Way};

/// A scheme that fits the secret.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub name: String,
}

/// The scheme that was named, or the only one that the secret fits.
pub(crate) fn choose(
    provider: &Provider,
    named: Option<&str>,
    credential: &Credential,
    supply: Supply<'_>,
) -> Result<Chosen, Error> {
    let choices = choices(provider);
    if let Some(name) = named {
        let ways = ways(provider, name)
            .ok_or_else(|| Error::SchemeUnknown { choices: choices.clone() })?;
        // Says what is missing where the secret does not fit.
        credential.check(&ways, supply)?;
        return Ok(Chosen { name: name.to_owned() });
    }
    let mut fitting: Vec<Chosen> = choices
        .iter()
        .filter_map(|name| {
            credential.check(&ways(provider, name)?, supply).ok()?;
            Some(Chosen { name: name.clone() })
        })
        .collect();
    match (fitting.len(), fitting.pop()) {
        (1, Some(only)) => Ok(only),
        (0, _) | (_, None) => Err(Error::SchemeFitsNone { choices }),
        (_, Some(last)) => Err(Error::SchemeAmbiguous {
            choices: fitting.into_iter().chain([last]).map(|one| one.name).collect(),
        }),
    }
}

/// Joins schemes that are needed together in one name.
const TOGETHER: &str = "+";

/// The names that a connection's scheme can have.
fn choices(provider: &Provider) -> Vec<String> {
    if provider.security_schemes.is_empty() {
        return ["basic", "bearer", "header:NAME", "query:NAME"].map(ToOwned::to_owned).to_vec();
    }
    let mut choices: Vec<String> = provider
        .security_schemes
        .iter()
        .filter(|(name, scheme)| way(provider, name, scheme).is_some())
        .map(|(name, _)| name.clone())
        .collect();
    let requirements = provider.operations.iter().filter_map(|one| one.security.as_ref()).flatten();
    for requirement in requirements.filter(|schemes| schemes.len() > 1) {
        let joined = requirement.keys().cloned().collect::<Vec<_>>().join(TOGETHER);
        if !choices.contains(&joined) && ways(provider, &joined).is_some() {
            choices.push(joined);
        }
    }
    choices
}

/// How the parts of a scheme get into a call; `None` where the name means nothing here.
pub(crate) fn ways(provider: &Provider, name: &str) -> Option<Vec<(String, Way)>> {
    if let Some(scheme) = provider.security_schemes.get(name) {
        return Some(vec![(name.to_owned(), way(provider, name, scheme)?)]);
    }
    if provider.security_schemes.is_empty() {
        let place = match name.split_once(':') {
            None if name == "basic" => Placement::Basic,
            None if name == "bearer" => Placement::Bearer,
            Some(("header", header)) if !header.is_empty() => {
                Placement::Header { name: header.to_owned() }
            }
            Some(("query", param)) if !param.is_empty() => {
                Placement::Query { name: param.to_owned() }
            }
            _ => return None,
        };
        return Some(vec![(name.to_owned(), Way::Place(place))]);
    }
    name.split(TOGETHER)
        .map(|part| {
            let scheme = provider.security_schemes.get(part)?;
            Some((part.to_owned(), way(provider, part, scheme)?))
        })
        .collect::<Option<Vec<_>>>()
        .filter(|parts| parts.len() > 1)
}

/// A scheme's plan where it has one, else the place of its value; `None` where its plan cannot be read.
fn way(provider: &Provider, name: &str, scheme: &SecurityScheme) -> Option<Way> {
    match provider.auth.get(name) {
        _ if provider.closed_schemes.contains(name) => None,
        Some(plan) => Some(Way::Plan(Arc::new(plan.clone()))),
        None => placement(scheme).map(Way::Place),
    }
}

/// The plan among the ways of a scheme that obtains a token, and the scheme's own name.
pub(crate) fn acquiring(ways: &[(String, Way)]) -> Option<(&str, &Arc<AuthPlan>)> {
    ways.iter().find_map(|(name, way)| match way {
        Way::Plan(plan) if plan.acquire.is_some() => Some((name.as_str(), plan)),
        _ => None,
    })
}

/// The places that ways put something in.
pub(crate) fn places(ways: &[(String, Way)]) -> impl Iterator<Item = (String, Placement)> {
    ways.iter().flat_map(|(name, way)| match way {
        Way::Place(place) => vec![(name.clone(), place.clone())],
        Way::Plan(plan) => {
            let places = plan_places(plan);
            places.into_iter().map(|place| (name.clone(), place)).collect()
        }
    })
}

/// Where a plan puts what it makes.
fn plan_places(plan: &AuthPlan) -> Vec<Placement> {
    let mut places: Vec<Placement> = plan
        .apply
        .iter()
        .map(|apply| match apply {
            Apply::Header { name, .. } => Placement::Header { name: name.clone() },
            Apply::Query { name, .. } => Placement::Query { name: name.clone() },
        })
        .collect();
    if plan.sigv4.is_some() {
        let names = ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];
        places.extend(names.map(|name| Placement::Header { name: name.to_owned() }));
    }
    if plan.oauth2().is_some_and(|oauth2| oauth2.has_dpop) {
        places.push(Placement::Header { name: "dpop".to_owned() });
    }
    places
}

/// The certificate that connections show by these ways, and its key.
pub(crate) fn identity(
    credential: &Credential,
    ways: &[(String, Way)],
    supply: Supply<'_>,
) -> Result<Option<ClientIdentity>, Error> {
    let Some((chain, key)) = credential.certificate(ways, supply) else { return Ok(None) };
    Ok(Some(ClientIdentity::from_pem(&chain, &key)?))
}

/// Every member that a secret for this provider may have by its plans.
pub(crate) fn inputs(provider: &Provider) -> BTreeMap<String, Input> {
    let all = provider.auth.values().flat_map(|plan| &plan.inputs);
    all.map(|(name, input)| (name.clone(), input.clone())).collect()
}

/// All places of credentials that the provider declares, whichever a connection uses.
pub(crate) fn declared(provider: &Provider) -> impl Iterator<Item = (String, Placement)> {
    let plain = provider
        .security_schemes
        .iter()
        .filter_map(|(name, scheme)| Some((name.clone(), placement(scheme)?)));
    let planned = provider.auth.iter().flat_map(|(name, plan)| {
        plan_places(plan).into_iter().map(move |place| (name.clone(), place))
    });
    plain.chain(planned)
}

/// Where a scheme's credential goes; `None` for what this version cannot do.
fn placement(scheme: &SecurityScheme) -> Option<Placement> {
    Some(match scheme {
        SecurityScheme::ApiKeyHeader { name } => Placement::Header { name: name.clone() },
        SecurityScheme::ApiKeyQuery { name } => Placement::Query { name: name.clone() },
        SecurityScheme::Basic => Placement::Basic,
        // A token that somebody obtained elsewhere, where no plan says how to obtain one.
        SecurityScheme::Bearer
        | SecurityScheme::OAuth2 { .. }
        | SecurityScheme::OpenIdConnect { .. } => Placement::Bearer,
        SecurityScheme::ApiKeyCookie { .. }
        | SecurityScheme::MutualTls
        | SecurityScheme::Unknown { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::SecretBytes;

    fn provider(schemes: &[(&str, SecurityScheme)]) -> Provider {
        let security_schemes =
            schemes.iter().map(|(name, scheme)| ((*name).to_owned(), scheme.clone())).collect();
        Provider { security_schemes, ..Provider::default() }
    }

    fn credential(json: &str) -> Credential {
        Credential::parse(&SecretBytes::new(json.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn the_secret_decides_where_it_leaves_one_choice() {
        let both = provider(&[
            ("basicAuth", SecurityScheme::Basic),
            ("key", SecurityScheme::ApiKeyHeader { name: "X-Key".into() }),
        ]);
        let basic = credential(r#"{"username":"a","password":"b"}"#);
        assert_eq!(choose(&both, None, &basic, Supply::default()).unwrap().name, "basicAuth");
        let key = credential(r#"{"api_key":"k"}"#);
        assert_eq!(choose(&both, None, &key, Supply::default()).unwrap().name, "key");
        assert!(matches!(
            choose(&both, Some("nope"), &key, Supply::default()),
            Err(Error::SchemeUnknown { .. })
        ));
        assert!(choose(&both, Some("basicAuth"), &key, Supply::default()).is_err());
    }

    #[test]
    fn a_secret_whose_plan_cannot_be_read_goes_nowhere() {
        let scheme = SecurityScheme::ApiKeyHeader { name: "X-Key".into() };
        let mut closed = provider(&[("key", scheme)]);
        let key = credential(r#"{"api_key":"k"}"#);
        assert!(choose(&closed, Some("key"), &key, Supply::default()).is_ok());
        closed.closed_schemes.insert("key".into());
        assert!(ways(&closed, "key").is_none());
        assert!(choose(&closed, None, &key, Supply::default()).is_err());
        assert!(choose(&closed, Some("key"), &key, Supply::default()).is_err());
    }

    #[test]
    fn several_fitting_schemes_must_be_named() {
        let two = provider(&[
            ("header", SecurityScheme::ApiKeyHeader { name: "X-Key".into() }),
            ("query", SecurityScheme::ApiKeyQuery { name: "key".into() }),
        ]);
        let key = credential(r#"{"api_key":"k"}"#);
        assert!(matches!(
            choose(&two, None, &key, Supply::default()),
            Err(Error::SchemeAmbiguous { .. })
        ));
        assert_eq!(choose(&two, Some("query"), &key, Supply::default()).unwrap().name, "query");
    }

    #[test]
    fn a_description_without_security_takes_the_plain_words() {
        let none = provider(&[]);
        let key = credential(r#"{"api_key":"k"}"#);
        assert!(choose(&none, Some("header:X-Key"), &key, Supply::default()).is_ok());
        assert!(choose(&none, Some("query:key"), &key, Supply::default()).is_ok());
        assert!(choose(&none, Some("header:"), &key, Supply::default()).is_err());
        assert!(choose(&none, Some("cookie:a"), &key, Supply::default()).is_err());
    }
}

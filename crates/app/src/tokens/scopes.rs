//! The least scopes: what the operations that grants allow need by the provider's description.

use crate::{
    error::Error,
    grants::ResolvedGrant,
    policies::{InForce, Scope},
    rights,
};
use provider::{Operation, Provider};
use std::collections::BTreeSet;
use store::{Everything, GrantTarget, ProviderRow};
use types::{Connection, Environment, Id, Timestamp};

/// The scopes of one security scheme that these operations need, in order. Where the description gives
/// a choice, the one with the fewest counts.
pub(crate) fn needed<'o>(
    provider: &Provider,
    scheme: &str,
    operations: impl IntoIterator<Item = &'o Operation>,
) -> Vec<String> {
    let known = provider.security_schemes.contains_key(scheme);
    let mut needed = BTreeSet::new();
    for operation in operations.into_iter().filter(|_| known) {
        let choices = operation.security.iter().flatten().filter_map(|choice| choice.get(scheme));
        if let Some(fewest) = choices.min_by_key(|scopes| scopes.len()) {
            needed.extend(fewest.iter().cloned());
        }
    }
    needed.into_iter().collect()
}

/// What a connection that there is, or is to be, reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'r> {
    pub provider: &'r ProviderRow,
    pub connection: Option<Id<Connection>>,
    pub environment: Environment,
}

/// The scopes that the grants in force need for a connection.
pub(crate) fn needed_by_grants(
    rows: &Everything,
    model: &Provider,
    reach: Reach<'_>,
    scheme: &str,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    let allowed = allowed_operations(rows, model, reach, now)?;
    let operations = allowed.into_iter().filter_map(|index| model.operations.get(index));
    Ok(needed(model, scheme, operations))
}

/// The operations that the grants in force allow on a connection, by index.
pub(crate) fn allowed_operations(
    rows: &Everything,
    model: &Provider,
    reach: Reach<'_>,
    now: Timestamp,
) -> Result<BTreeSet<usize>, Error> {
    let in_force = InForce::of(&rows.people.policies)?;
    let digest = crate::compile::digest_of(reach.provider);
    let mut allowed = BTreeSet::new();
    for client in &rows.clients {
        let grants: Vec<ResolvedGrant> = rows
            .grants
            .iter()
            .filter(|grant| grant.client == client.id)
            .filter(|grant| match grant.target {
                GrantTarget::Provider(id) => id == reach.provider.id,
                GrantTarget::Connection(id) => reach.connection == Some(id),
            })
            // One that cannot be read grants nothing, and is told of where it is compiled.
            .filter_map(|grant| serde_json::from_str(&grant.body).ok())
            .collect();
        let scope = Scope {
            in_force: &in_force,
            client: client.name.as_str(),
            provider: reach.provider.slug.as_str(),
            environment: reach.environment.as_str(),
        };
        let grants: Vec<&ResolvedGrant> = grants.iter().collect();
        let compiled = rights::compile(model, &digest, &grants, &scope, now);
        allowed.extend(compiled.rights.operations.keys().copied());
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_scopes_are_those_of_what_is_granted() {
        let description = br#"{"openapi":"3.1.0","info":{"title":"t","version":"1"},
            "servers":[{"url":"https://api.example.com"}],
            "components":{"securitySchemes":{"oauth":{"type":"oauth2","flows":{}},
                "key":{"type":"apiKey","in":"header","name":"X-Key"}}},
            "paths":{
                "/people":{"get":{"operationId":"people","security":[{"oauth":["read","admin"]},{"oauth":["read"]},{"key":[]}],"responses":{}},
                    "post":{"operationId":"hire","security":[{"oauth":["write"]}],"responses":{}}},
                "/open":{"get":{"operationId":"open","responses":{}}}}}"#;
        let model = provider::load(description, None, &provider::LoadLimits::default()).unwrap();
        let of = |ids: &[&str]| {
            let operations = model.operations.iter().filter(|one| ids.contains(&one.id.as_str()));
            needed(&model, "oauth", operations)
        };
        assert_eq!(of(&["people"]), ["read"]);
        assert_eq!(of(&["people", "hire", "open"]), ["read", "write"]);
        assert!(of(&["open"]).is_empty());
        assert!(needed(&model, "none", &model.operations).is_empty());
    }
}

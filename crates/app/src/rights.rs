//! What one client may do on one connection: compiled decisions, by operation.

use crate::{
    grants::{Permission, ResolvedGrant, end_in_force, permission, prepare},
    policies::{Scope, Taken},
};
use aws_lc_rs::digest;
use gateway::{
    AnswerRule, Decision, Met, Policies, Projected, RequestRule, Rights, withheld_header,
};
use provider::{
    Answer, Operation, ParamPlace, Provider, is_json,
    select::{
        FORM, is_whole_answer, is_whole_request, param_term, select_request, select_response,
        whole_answer_term, whole_request_term,
    },
};
use std::{collections::BTreeSet, sync::Arc};
use types::{Action, Timestamp};

/// Rights with the first moment at which they have to be compiled again.
#[derive(Debug, Clone)]
pub(crate) struct CompiledRights {
    pub rights: Arc<Rights>,
    pub valid_until: Timestamp,
}

/// Compiles all operations of a provider for one client's grants.
pub(crate) fn compile(
    provider: &Provider,
    description: &[u8; 32],
    grants: &[&ResolvedGrant],
    scope: &Scope<'_>,
    now: Timestamp,
) -> CompiledRights {
    let mut rights = Rights::default();
    let mut valid_until = Timestamp::MAX;
    // An expired grant decides nothing: a tag that was given under it must not stay good.
    let grants: Vec<&ResolvedGrant> =
        grants.iter().copied().filter(|grant| end_in_force(grant, now).is_some()).collect();
    let grants_digest = digest_of(&grants);
    let prepared = prepare(&grants, provider, now);
    let mut taken = Taken::default();
    for (index, operation) in provider.operations.iter().enumerate() {
        let Some(mut permission) = permission(&prepared, provider, index) else { continue };
        valid_until = valid_until.min(permission.valid_until);
        let policies = scope.take(provider, operation, &mut permission, &mut taken);
        let of_policies = policies_digest(scope, operation, &permission, &policies);
        let fingerprint = short_digest(&[description, &grants_digest, &of_policies]);
        let decision = decide(provider, operation, permission, policies, fingerprint);
        rights.operations.insert(index, Arc::new(decision));
    }
    CompiledRights { rights: Arc::new(rights), valid_until }
}

fn decide(
    provider: &Provider,
    operation: &Operation,
    permission: Permission,
    policies: Policies,
    fingerprint: [u8; 16],
) -> Decision {
    let answers = operation
        .answers
        .iter()
        .map(|answer| (answer.status, answer_rule(provider, operation, answer, &permission)))
        .collect();
    let object = operation.object.and_then(|id| provider.object(id));
    Decision {
        fingerprint,
        valid_until: permission.valid_until,
        action: if permission.download {
            Action::Download
        } else if permission.upload {
            Action::Upload
        } else {
            operation.action
        },
        object: object.map(|object| object.name.clone()),
        shape: shape_key(operation, &permission),
        request: request_rule(provider, operation, &permission),
        params: declared(operation, &permission, ParamPlace::Query).map(str::to_owned).collect(),
        headers: declared(operation, &permission, ParamPlace::Header)
            .map(str::to_ascii_lowercase)
            .collect(),
        answers,
        error_inside: operation.error_inside.clone(),
        is_open: is_open(provider, operation),
        policies,
        errors: permission.errors,
    }
}

/// Tells apart what policies made of an operation, so that a policy that takes more from it ends the
/// calls that are under way. Where nothing is said of calls, nothing.
fn policies_digest(
    scope: &Scope<'_>,
    operation: &Operation,
    permission: &Permission,
    policies: &Policies,
) -> Vec<u8> {
    if scope.in_force.calls.is_empty() {
        return Vec::new();
    }
    let mut parts = shape_key(operation, permission).to_vec();
    match policies {
        Policies::Open => {}
        Policies::Forbid => parts.push(1),
        Policies::Depends(_) => parts.extend_from_slice(&scope.in_force.digest),
    }
    parts
}

/// The parameters that an operation declares, now and when it was granted: what a grant names reaches
/// those operations that declare it, and no other.
fn declared<'o>(
    operation: &'o Operation,
    permission: &'o Permission,
    place: ParamPlace,
) -> impl Iterator<Item = &'o str> {
    let params = operation.params.iter().filter(move |param| param.place == place);
    params
        .filter(|param| permission.terms.contains(&param_term(param)))
        .map(|param| param.name.as_str())
}

fn answer_rule(
    provider: &Provider,
    operation: &Operation,
    answer: &Answer,
    permission: &Permission,
) -> AnswerRule {
    if answer.media.is_empty() {
        return AnswerRule::NoContent;
    }
    if permission.download && is_whole_answer(operation, answer) {
        let is_granted =
            |media: &&String| permission.terms.contains(&whole_answer_term(answer.status, media));
        let media: BTreeSet<String> = answer.media.iter().filter(is_granted).cloned().collect();
        if !media.is_empty() {
            return AnswerRule::Download { media };
        }
    }
    match select_response(provider, operation, answer, &permission.granted) {
        Some(selection) => AnswerRule::Project(Arc::new(Projected {
            met: Met::of(&selection.spec),
            spec: selection.spec,
            withheld_header: withheld_header(&selection.withheld),
            names: selection.names,
        })),
        None => AnswerRule::Undescribed { is_observed: operation.is_observed },
    }
}

fn request_rule(
    provider: &Provider,
    operation: &Operation,
    permission: &Permission,
) -> RequestRule {
    let Some(request) = &operation.request else { return RequestRule::None };
    let json = request.media.iter().any(|media| is_json(media));
    let form = request.media.contains(FORM);
    if permission.upload && is_whole_request(operation, request) {
        let is_granted = |media: &&String| permission.terms.contains(&whole_request_term(media));
        let media = request.media.iter().filter(is_granted).cloned().collect();
        return RequestRule::Upload { media };
    }
    match select_request(provider, operation, &permission.granted) {
        Some(spec) if json || form => {
            let media = request.media.clone();
            let met = Met::of(&spec);
            RequestRule::Checked { spec, met, media, is_required: request.is_required }
        }
        _ => RequestRule::None,
    }
}

/// An operation whose description says that no credential is needed: only an explicit, empty
/// requirement; silence means unknown. A description without any scheme has nothing else to write
/// there (kinto's own says so of every operation): its empty requirements are silence too.
fn is_open(provider: &Provider, operation: &Operation) -> bool {
    let is_explicit = operation
        .security
        .as_ref()
        .is_some_and(|alternatives| alternatives.iter().all(std::collections::BTreeMap::is_empty));
    is_explicit && !provider.security_schemes.is_empty()
}

/// Tells operations apart whose bodies have other shapes, or of which other parts were granted: where
/// operations fall together, they must agree in it.
fn shape_key(operation: &Operation, permission: &Permission) -> [u8; 16] {
    let granted = &permission.granted;
    let mut text = format!(
        "{granted:?} {:?} {:?} {} {};",
        permission.params, permission.headers, permission.download, permission.upload
    );
    for answer in &operation.answers {
        let media: &BTreeSet<String> = &answer.media;
        text.push_str(&format!(
            "{:?} {:?} {:?} {:?};",
            answer.status, answer.shape, answer.envelope, media
        ));
    }
    if let Some(request) = &operation.request {
        text.push_str(&format!("{:?} {:?} {:?}", request.shape, request.envelope, request.media));
    }
    short_digest(&[text.as_bytes()])
}

/// Over the grants' stored form, which is what decides.
fn digest_of(grants: &[&ResolvedGrant]) -> [u8; 16] {
    let mut texts: Vec<String> = grants
        .iter()
        .map(|grant| serde_json::to_string(grant).unwrap_or_else(|_| format!("{grant:?}")))
        .collect();
    texts.sort_unstable();
    short_digest(&[texts.join("\n").as_bytes()])
}

/// The first half of SHA-256 over length-prefixed parts.
fn short_digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        grants::{Allow, IdText, reach_anew},
        policies::InForce,
    };
    use provider::LoadLimits;
    use std::collections::BTreeMap;
    use types::{Date, Id};

    const DESCRIPTION: &str = r##"{"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
        "paths": {"/things": {"get": {"responses": {"200": {"description": "ok", "content":
        {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}}}}},
        "components": {"schemas": {"Thing": {"type": "object", "properties":
        {"id": {"type": "string"}, "name": {"type": "string"}}}}}}"##;

    fn grant(model: &Provider, field: &str, expires: &str) -> ResolvedGrant {
        let mut allow = Allow {
            object: Some("Thing".to_owned()),
            actions: vec!["read".to_owned()],
            fields: vec![field.to_owned()],
            kinds: BTreeMap::new(),
            params: Vec::new(),
            headers: Vec::new(),
            operations: Vec::new(),
            places: BTreeMap::new(),
            reached: BTreeSet::new(),
            beside: BTreeMap::new(),
            terms: BTreeMap::new(),
        };
        reach_anew(&mut allow, model);
        ResolvedGrant {
            client: IdText(Id::from_u128(1)),
            provider: Some(IdText(Id::from_u128(2))),
            connection: None,
            purpose: "p".to_owned(),
            expires: expires.to_owned(),
            allow: vec![allow],
        }
    }

    /// A tag that was given while a grant was in force confirms nothing afterwards.
    #[test]
    fn fingerprints_change_when_a_grant_expires() {
        let model = provider::load(DESCRIPTION.as_bytes(), None, &LoadLimits::default()).unwrap();
        let (short, long) =
            (grant(&model, "name", "2030-01-01"), grant(&model, "id", "2999-12-31"));
        let at = |grants: &[&ResolvedGrant], day: &str| {
            let now = day.parse::<Date>().unwrap().end_utc();
            let in_force = InForce::of(&[]).unwrap();
            let scope =
                Scope { in_force: &in_force, client: "c", provider: "p", environment: "live" };
            compile(&model, &[0; 32], grants, &scope, now).rights.operations[&0].fingerprint
        };
        let before = at(&[&short, &long], "2029-12-30");
        let after = at(&[&short, &long], "2030-01-01");
        assert_eq!(before, at(&[&short, &long], "2029-12-31"), "time alone changes nothing");
        assert_ne!(before, after);
        assert_eq!(after, at(&[&long], "2030-01-01"));
    }
}

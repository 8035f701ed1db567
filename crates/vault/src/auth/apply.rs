//! What a plan adds to a call.

use super::{
    AuthError, CallFacts, Moment, Variables,
    assertion::{ProofKey, ProofOf},
    fill::{Filler, percent},
    sigv4,
};
use crate::injection::Part;
use provider::auth::{Acquire, Apply, AuthPlan, ClientAuth, Flow};

/// Names under which a connection's own keys stand beside the values of templates.
pub(crate) const PROOF_KEY: &str = "weirgate.proof_key";
pub(crate) const PROOF_NONCE: &str = "weirgate.proof_nonce";

/// The parts for one call, or for all calls if the plan does not depend on them.
pub(crate) fn parts(
    plan: &AuthPlan,
    variables: &Variables,
    call: Option<&CallFacts<'_>>,
    moment: Moment<'_>,
) -> Result<Vec<Part>, AuthError> {
    let mut values = Variables::default();
    values.fill_up(variables);
    for (name, template) in &plan.lets {
        let filler = Filler { variables: &values, call, moment };
        let value = filler.text(template)?;
        values.set(name, &value);
    }
    let filler = Filler { variables: &values, call, moment };
    let mut parts = Vec::new();
    for apply in &plan.apply {
        parts.push(match apply {
            Apply::Header { name, value } => {
                Part::written_header(name, filler.header(name, value)?.to_vec())
            }
            Apply::Query { name, value } => {
                let name = String::from_utf8_lossy(&percent(name.as_bytes())).into_owned();
                Part::written_query(&name, percent(&filler.bytes(value)?))
            }
        });
    }
    if let (Some(sigv4), Some(call)) = (&plan.sigv4, call) {
        parts.extend(sigv4::parts(sigv4, &filler, call)?);
    }
    if let (Some(stored), Some(call)) = (variables.get(PROOF_KEY), call) {
        // A proof names the URL without its query, and only TLS leads to a provider that wants one.
        let url = format!("https://{}{}", call.host, call.path);
        let proof = ProofKey::read(stored)?.proof(&ProofOf {
            method: call.method,
            url: &url,
            token: variables.get("access_token"),
            nonce: variables.get(PROOF_NONCE),
            now: moment.now,
            random: moment.random,
        })?;
        parts.push(Part::written_header("dpop", proof.as_bytes().to_vec()));
    }
    // A provider may repeat what the parts were made of.
    for (name, value) in variables.iter() {
        let is_secret = plan.inputs.contains_key(name) || plan.taken().contains(name);
        if is_secret && !matches!(name, "client_id" | "username" | "certificate" | "key_id") {
            parts.push(Part::unsent(value));
        }
    }
    Ok(parts)
}

/// What is missing for a token to be obtained without anybody consenting; `None`: nothing.
pub(crate) fn is_sufficient(plan: &AuthPlan, values: &Variables) -> Result<(), Lacking> {
    for (name, input) in &plan.inputs {
        if !input.is_optional && !values.has(name) {
            return Err(Lacking::Value(name.clone()));
        }
    }
    let Some(Acquire::OAuth2(oauth2)) = &plan.acquire else { return Ok(()) };
    let signs = oauth2.client_auth == ClientAuth::PrivateKeyJwt;
    let key = if signs { "private_key" } else { "client_secret" };
    let mut missing = Lacking::Consent;
    for flow in &oauth2.flows {
        let needed: &[&str] = match flow {
            Flow::AuthorizationCode { .. } if values.has("refresh_token") => return Ok(()),
            Flow::AuthorizationCode { .. } => continue,
            Flow::JwtBearer { .. } => &["private_key"],
            Flow::ClientCredentials { .. } => match oauth2.client_auth {
                ClientAuth::Tls | ClientAuth::None => &["client_id"],
                _ => &["client_id", key],
            },
        };
        match needed.iter().find(|name| !values.has(name)) {
            None => return Ok(()),
            Some(name) => missing = Lacking::Value((*name).to_owned()),
        }
    }
    Err(missing)
}

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lacking {
    Value(String),
    /// Somebody has to consent in a browser.
    Consent,
}

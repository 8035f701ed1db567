//! What a plan adds to a call.

use super::{
    AuthError, CallFacts, Moment, Variables,
    assertion::{ProofKey, ProofOf},
    fill::{Filler, percent},
    sigv4,
};
use crate::injection::Part;
use provider::auth::{Acquire, Apply, AuthPlan, ClientAuth, Flow, Template};
use secrecy::zeroize::Zeroizing;
use std::collections::BTreeSet;

/// The name under which a connection's own key stands beside the values of templates.
pub(crate) const PROOF_KEY: &str = "weirgate.proof_key";

/// The parts for one call, or for all calls if the plan does not depend on them.
///
/// What is signed is what is sent: `request.query` has the parameters that the plan adds, but for those
/// that are made of it themselves.
pub(crate) fn parts(
    plan: &AuthPlan,
    variables: &Variables,
    call: Option<&CallFacts<'_>>,
    moment: Moment<'_>,
) -> Result<Vec<Part>, AuthError> {
    let mut values = Variables::default();
    values.fill_up(variables);
    let mut maker = Maker {
        values,
        query: Zeroizing::new(call.map_or("", |call| call.query).to_owned()),
        secret: Marked::of(plan, |name| plan.is_secret(name)),
        call,
        moment,
        parts: Vec::new(),
    };
    let late = Marked::of(plan, |name| matches!(name, "request.query" | "request.target"));
    for is_late in [false, true] {
        for (name, template) in plan.lets.iter().filter(|(name, _)| late.has(name) == is_late) {
            let value = maker.filled(|filler| filler.text(template))?;
            maker.values.set(name, &value);
        }
        maker.queries(plan, |template| late.uses(template) == is_late)?;
    }
    for apply in &plan.apply {
        if let Apply::Header { name, value } = apply {
            let filled = maker.filled(|filler| filler.header(name, value))?;
            maker.add(value, Part::written_header(name, filled.to_vec()));
        }
    }
    if let (Some(sigv4), Some(call)) = (&plan.sigv4, call) {
        let call = CallFacts { query: &maker.query, ..*call };
        let filler = Filler { variables: &maker.values, call: Some(&call), moment };
        let signed = sigv4::parts(sigv4, &filler, &call)?;
        maker.parts.extend(signed);
    }
    let mut parts = maker.parts;
    if let (Some(stored), Some(call)) = (variables.get(PROOF_KEY), call) {
        // A proof names the URL without its query.
        let url = format!("{}://{}{}", call.scheme, call.host, call.path);
        let proof = ProofKey::read(stored)?.proof(&ProofOf {
            method: call.method,
            url: &url,
            token: variables.get("access_token"),
            nonce: call.proof_nonce,
            now: moment.now,
            random: moment.random,
        })?;
        parts.push(Part::written_header("dpop", proof.as_bytes().to_vec()));
    }
    // A provider may repeat what the parts were made of.
    for (_, value) in variables.iter().filter(|(name, _)| plan.is_secret(name)) {
        parts.push(Part::unsent(value));
    }
    Ok(parts)
}

/// Names that something is true of, among them those of values that are made of such.
struct Marked<'p> {
    lets: BTreeSet<&'p str>,
    is_marked: Box<dyn Fn(&str) -> bool + 'p>,
}

impl<'p> Marked<'p> {
    fn of(plan: &'p AuthPlan, is_marked: impl Fn(&str) -> bool + 'p) -> Self {
        let mut marked = Self { lets: BTreeSet::new(), is_marked: Box::new(is_marked) };
        for (name, template) in &plan.lets {
            if marked.uses(template) {
                marked.lets.insert(name);
            }
        }
        marked
    }

    fn has(&self, name: &str) -> bool {
        self.lets.contains(name)
    }

    fn uses(&self, template: &Template) -> bool {
        template.names().iter().any(|name| self.has(name) || (self.is_marked)(name))
    }
}

struct Maker<'m> {
    values: Variables,
    /// As it is sent, so far as it is known.
    query: Zeroizing<String>,
    secret: Marked<'m>,
    call: Option<&'m CallFacts<'m>>,
    moment: Moment<'m>,
    parts: Vec<Part>,
}

impl Maker<'_> {
    fn filled<T>(
        &self,
        fill: impl FnOnce(&Filler<'_>) -> Result<T, AuthError>,
    ) -> Result<T, AuthError> {
        let call = self.call.map(|call| CallFacts { query: &self.query, ..*call });
        fill(&Filler { variables: &self.values, call: call.as_ref(), moment: self.moment })
    }

    /// What of a call is no secret, such as its time, may stand in an answer.
    fn add(&mut self, template: &Template, part: Part) {
        let part = if self.secret.uses(template) { part } else { part.shown() };
        self.parts.push(part);
    }

    fn queries(
        &mut self,
        plan: &AuthPlan,
        is_now: impl Fn(&Template) -> bool,
    ) -> Result<(), AuthError> {
        let mut added = Zeroizing::new(String::with_capacity(1024));
        for apply in &plan.apply {
            let Apply::Query { name, value } = apply else { continue };
            if !is_now(value) {
                continue;
            }
            let name = String::from_utf8_lossy(&percent(name.as_bytes())).into_owned();
            let filled = percent(&self.filled(|filler| filler.bytes(value))?);
            for text in ["&", &name, "=", &String::from_utf8_lossy(&filled)] {
                added.push_str(text);
            }
            self.add(value, Part::written_query(&name, filled));
        }
        let added = added.as_str();
        let added = if self.query.is_empty() { added.trim_start_matches('&') } else { added };
        self.query.push_str(added);
        Ok(())
    }
}

/// What is missing for a token to be obtained without anybody consenting.
pub(crate) fn is_sufficient(plan: &AuthPlan, values: &Variables) -> Result<(), Lacking> {
    for (name, input) in &plan.inputs {
        if !input.is_optional && !values.has(name) {
            return Err(Lacking::Value(name.clone()));
        }
    }
    let Some(Acquire::OAuth2(oauth2)) = &plan.acquire else { return Ok(()) };
    let client: &[&str] = match oauth2.client_auth {
        ClientAuth::PrivateKeyJwt => &["client_id", "private_key"],
        ClientAuth::Tls => &["client_id", "certificate", "private_key"],
        ClientAuth::None => &["client_id"],
        ClientAuth::Basic | ClientAuth::Body => &["client_id", "client_secret"],
    };
    let mut missing = Lacking::Consent;
    for flow in &oauth2.flows {
        let needed: &[&str] = match flow {
            Flow::AuthorizationCode { .. } if values.has("refresh_token") => return Ok(()),
            Flow::AuthorizationCode { .. } => continue,
            Flow::JwtBearer { .. } => &["private_key"],
            Flow::ClientCredentials { .. } => client,
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

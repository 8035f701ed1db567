//! The conversation that yields a token, one request at a time.

use super::{
    AcquireError, AuthError, Moment, TokenAnswer, TokenSet, Variables,
    answer::ENDED,
    assertion::{self, Claims, ProofKey, ProofOf},
    fill::{FORM, Filler, Form, JSON},
};
use crate::secret_json::write_text;
use aws_lc_rs::digest;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use provider::auth::{
    Acquire, AnswerPlace, AuthPlan, ClientAuth, Flow, Lifetime, OAuth2, Params, RequestMethod,
    Step, UrlTemplate,
};
use secrecy::zeroize::Zeroizing;
use std::{fmt, time::Duration};
use types::Timestamp;

/// What a conversation is for.
#[derive(Debug, Clone, Copy)]
pub enum Goal<'g> {
    /// A token by what is held: the first one, or the next.
    Renew,
    /// The exchange of a code that a browser came back with (RFC 6749 §4.1.3).
    Code { code: &'g str, redirect_uri: &'g str, verifier: &'g str },
}

/// A request to a provider's token endpoint.
pub struct TokenRequest {
    pub method: &'static str,
    pub url: Zeroizing<String>,
    /// Names in lower case.
    pub headers: Vec<(String, Zeroizing<Vec<u8>>)>,
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Progress {
    Ask(TokenRequest),
    Done(Box<TokenSet>),
    /// No token came of it, but what renews is another now: it has to be kept.
    Kept(Box<TokenSet>, AcquireError),
}

/// One conversation.
pub struct Acquisition<'a> {
    plan: &'a AuthPlan,
    goal: Goal<'a>,
    /// What the templates may use: the secret, the app, the connection's variables, what was taken.
    values: Variables,
    held: Option<TokenSet>,
    scopes: Vec<String>,
    /// Of the answers so far.
    taken: Variables,
    step: usize,
    proof_key: Option<Zeroizing<String>>,
    /// What the authorization server wants proofs to hold (RFC 9449 §8), and whether it was followed.
    nonce: Option<Zeroizing<String>>,
    was_renewed: bool,
}

impl fmt::Debug for Acquisition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquisition").field("step", &self.step).finish_non_exhaustive()
    }
}

impl<'a> Acquisition<'a> {
    /// `values` are those of the secret, the app and the connection; `scopes` what the grants need.
    ///
    /// # Errors
    /// [`AuthError`] if a key of its own cannot be made.
    pub fn new(
        plan: &'a AuthPlan,
        goal: Goal<'a>,
        values: Variables,
        held: Option<TokenSet>,
        scopes: Vec<String>,
    ) -> Result<Self, AcquireError> {
        let has_dpop = plan.oauth2().is_some_and(|oauth2| oauth2.has_dpop);
        let scopes = with_usual(plan, scopes);
        let known = held.as_ref().and_then(|held| held.proof_key.clone());
        let proof_key = match known {
            Some(key) if has_dpop => Some(key),
            _ if has_dpop => Some(ProofKey::generate()?),
            _ => None,
        };
        Ok(Self {
            plan,
            goal,
            values,
            held,
            scopes,
            taken: Variables::default(),
            step: 0,
            proof_key,
            nonce: None,
            was_renewed: false,
        })
    }

    /// The first request.
    ///
    /// # Errors
    /// [`AcquireError::NeedsConsent`] if nothing is held that yields a token.
    pub fn begin(&mut self, moment: Moment<'_>) -> Result<TokenRequest, AcquireError> {
        match &self.plan.acquire {
            None => Err(AcquireError::NeedsConsent),
            Some(Acquire::Steps(steps)) => {
                let step = steps.steps.get(self.step).ok_or(AcquireError::NeedsConsent)?;
                self.step_request(step, moment)
            }
            Some(Acquire::OAuth2(oauth2)) => self.token_request(oauth2, moment),
        }
    }

    /// Takes in an answer.
    ///
    /// # Errors
    /// What the provider said instead of a token; see [`AcquireError`].
    pub fn answered(
        &mut self,
        answer: &TokenAnswer<'_>,
        moment: Moment<'_>,
    ) -> Result<Progress, AcquireError> {
        match &self.plan.acquire {
            None => Err(AcquireError::NeedsConsent),
            Some(Acquire::Steps(steps)) => {
                let step = steps.steps.get(self.step).ok_or(AcquireError::NeedsConsent)?;
                if !answer.is_success() {
                    return Err(refusal(answer, moment.now));
                }
                answer.take(&step.take, &mut self.taken)?;
                self.step += 1;
                if let Some(next) = steps.steps.get(self.step) {
                    return self.step_request(next, moment).map(Progress::Ask);
                }
                let expires_at = self.expiry(&steps.expires, answer, moment.now);
                Ok(Progress::Done(Box::new(self.set(expires_at, moment.now))))
            }
            Some(Acquire::OAuth2(oauth2)) => {
                let nonce = answer.at(&AnswerPlace::Header("dpop-nonce".to_owned()));
                let wants_nonce = answer.error_code().as_deref() == Some("use_dpop_nonce");
                if wants_nonce && nonce.is_some() && self.nonce.is_none() {
                    self.nonce = nonce;
                    return self.token_request(oauth2, moment).map(Progress::Ask);
                }
                self.token(oauth2, answer, moment.now)
            }
        }
    }

    fn filler<'f>(&'f self, values: &'f Variables, moment: Moment<'f>) -> Filler<'f> {
        Filler { variables: values, call: None, moment }
    }

    /// All that a template may use, with what was taken so far.
    fn all_values(&self) -> Variables {
        let mut all = Variables::default();
        all.fill_up(&self.taken);
        all.fill_up(&self.values);
        all
    }

    fn step_request(&self, step: &Step, moment: Moment<'_>) -> Result<TokenRequest, AcquireError> {
        let values = self.all_values();
        let filler = self.filler(&values, moment);
        let request = &step.request;
        let (kind, body) = filler.body(&request.body)?;
        let mut headers = vec![("accept".to_owned(), text(JSON))];
        headers.extend(kind.map(|kind| ("content-type".to_owned(), text(kind))));
        for (name, template) in &request.headers {
            let value = filler.header(name, template)?;
            headers.retain(|(known, _)| known != name);
            headers.push((name.clone(), value));
        }
        let method = match request.method {
            RequestMethod::Get => "GET",
            RequestMethod::Post => "POST",
            RequestMethod::Put => "PUT",
        };
        Ok(TokenRequest { method, url: filler.url(&request.url, &request.query)?, headers, body })
    }

    /// What is held decides which grant it is (RFC 6749 §4.1.3, §4.4, §6; RFC 7523 §2.1).
    fn grant<'p>(&self, oauth2: &'p OAuth2) -> Result<Grant<'p>, AcquireError> {
        let flow = |wanted: fn(&Flow) -> bool| oauth2.flows.iter().find(|flow| wanted(flow));
        let code_flow = flow(|flow| matches!(flow, Flow::AuthorizationCode { .. }));
        if let Goal::Code { code, redirect_uri, verifier } = self.goal {
            let flow = code_flow.ok_or(AcquireError::NeedsConsent)?;
            let mut form = vec![
                ("grant_type", Zeroizing::new("authorization_code".to_owned())),
                ("code", Zeroizing::new(code.to_owned())),
                ("redirect_uri", Zeroizing::new(redirect_uri.to_owned())),
            ];
            if oauth2.has_pkce {
                form.push(("code_verifier", Zeroizing::new(verifier.to_owned())));
            }
            return Ok(Grant { url: flow.token_url(), form, extra: &oauth2.token_params });
        }
        // What is over stays over, until somebody consents anew.
        if self.held.as_ref().is_some_and(|held| held.ended.is_some()) {
            return Err(AcquireError::NeedsConsent);
        }
        let given = self.values.get("refresh_token");
        // Whoever can always ask anew has no use for what renews, which may end; one that was given may
        // have been renewed since, and is then used up.
        let held = self.held.as_ref().and_then(|held| held.refresh_token.as_ref());
        let held = held.filter(|_| code_flow.is_some() || given.is_some());
        if let Some(token) = held.map(|token| token.as_str()).or(given) {
            let url = match code_flow {
                Some(Flow::AuthorizationCode { refresh_url, .. }) => refresh_url,
                _ => oauth2.flows.first().ok_or(AcquireError::NeedsConsent)?.token_url(),
            };
            let form = vec![
                ("grant_type", Zeroizing::new("refresh_token".to_owned())),
                ("refresh_token", Zeroizing::new(token.to_owned())),
            ];
            return Ok(Grant { url, form, extra: &oauth2.refresh_params });
        }
        // What somebody consented to is not what the company may do for itself.
        if self.held.as_ref().is_some_and(|held| held.is_consented) {
            return Err(AcquireError::NeedsConsent);
        }
        if let Some(flow) = flow(|flow| matches!(flow, Flow::JwtBearer { .. })) {
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
            let form = vec![("grant_type", Zeroizing::new(grant.to_owned()))];
            return Ok(Grant { url: flow.token_url(), form, extra: &oauth2.token_params });
        }
        if let Some(flow) = flow(|flow| matches!(flow, Flow::ClientCredentials { .. }))
            && self.values.has("client_id")
        {
            let form = vec![("grant_type", Zeroizing::new("client_credentials".to_owned()))];
            return Ok(Grant { url: flow.token_url(), form, extra: &oauth2.token_params });
        }
        Err(AcquireError::NeedsConsent)
    }

    fn token_request(
        &mut self,
        oauth2: &OAuth2,
        moment: Moment<'_>,
    ) -> Result<TokenRequest, AcquireError> {
        let Grant { url, mut form, extra } = self.grant(oauth2)?;
        let kind = form.first().map(|(_, kind)| String::clone(kind)).unwrap_or_default();
        self.was_renewed = kind == "refresh_token";
        let scopes = self.scopes.join(&oauth2.scope_separator);
        let filler = self.filler(&self.values, moment);
        if kind.ends_with("jwt-bearer") {
            form.push(("assertion", self.assertion(oauth2, &filler, &scopes)?));
        }
        // A code's scopes were asked for in the browser; those of a renewal stay what they were.
        let says_scopes = !matches!(self.goal, Goal::Code { .. }) && !self.was_renewed;
        let is_claim = oauth2.assertion.as_ref().is_some_and(|assertion| assertion.has_scope);
        if says_scopes && !scopes.is_empty() && !is_claim {
            form.push(("scope", Zeroizing::new(scopes)));
        }
        let mut headers = vec![("accept".to_owned(), text(JSON))];
        let url = filler.url(url, &[])?;
        self.authenticate_client(oauth2, &url, moment, &mut form, &mut headers)?;
        let mut members: Vec<(String, Zeroizing<String>)> =
            form.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        apply_params(&mut members, extra, &filler)?;
        for (name, template) in &oauth2.token_headers {
            headers.retain(|(known, _)| known != name);
            headers.push((name.clone(), filler.header(name, template)?));
        }
        if let Some(stored) = &self.proof_key {
            let bare = url.split('?').next().unwrap_or_default();
            let nonce = self.nonce.as_ref().map(|nonce| nonce.as_str());
            let proof = ProofKey::read(stored)?.proof(&ProofOf {
                method: "POST",
                url: bare,
                token: None,
                nonce,
                now: moment.now,
                random: moment.random,
            })?;
            headers.push(("dpop".to_owned(), text(&proof)));
        }
        let (kind, body) = if oauth2.is_json {
            (JSON, json_of(&members))
        } else {
            let mut form = Form::default();
            for (name, value) in &members {
                form.add(name, value.as_bytes());
            }
            (FORM, form.done())
        };
        headers.push(("content-type".to_owned(), text(kind)));
        Ok(TokenRequest { method: "POST", url, headers, body })
    }

    fn assertion(
        &self,
        oauth2: &OAuth2,
        filler: &Filler<'_>,
        scopes: &str,
    ) -> Result<Zeroizing<String>, AcquireError> {
        let plan = oauth2.assertion.as_ref().ok_or(AcquireError::NeedsConsent)?;
        let mut claims = Claims::default();
        for (name, template) in &plan.claims {
            claims = claims.text(name, &filler.text(template)?);
        }
        if plan.has_scope && !scopes.is_empty() {
            claims = claims.text("scope", scopes);
        }
        let claims = claims.lasting(filler.moment.now, plan.lasts_s, filler.moment.random)?;
        let key = self.value("private_key")?;
        Ok(assertion::signed(plan.algorithm, key, self.values.get("key_id"), claims)?)
    }

    fn value(&self, name: &str) -> Result<&str, AuthError> {
        self.values.get(name).ok_or_else(|| AuthError::ValueMissing { name: name.to_owned() })
    }

    fn authenticate_client(
        &self,
        oauth2: &OAuth2,
        url: &str,
        moment: Moment<'_>,
        form: &mut Vec<(&'static str, Zeroizing<String>)>,
        headers: &mut Vec<(String, Zeroizing<Vec<u8>>)>,
    ) -> Result<(), AcquireError> {
        /// Long enough for a slow way, short enough that nobody can use it later.
        const ASSERTION_LASTS_S: u32 = 60;
        let own = |text: &str| Zeroizing::new(text.to_owned());
        let Some(client_id) = self.values.get("client_id") else { return Ok(()) };
        match (oauth2.client_auth, self.values.get("client_secret")) {
            (ClientAuth::Basic, Some(secret)) => {
                let (id, secret) = (encoded(client_id), encoded(secret));
                let pair = Zeroizing::new(format!("{}:{}", id.as_str(), secret.as_str()));
                let spelled = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
                let value = Zeroizing::new(format!("Basic {}", spelled.as_str()));
                headers.push(("authorization".to_owned(), text(&value)));
            }
            (ClientAuth::Body, Some(secret)) => {
                form.push(("client_id", own(client_id)));
                form.push(("client_secret", own(secret)));
            }
            (ClientAuth::PrivateKeyJwt, _) => {
                let key = self.value("private_key")?;
                let named = oauth2.assertion.as_ref().map(|assertion| assertion.algorithm);
                let algorithm = match oauth2.client_algorithm.or(named) {
                    Some(algorithm) => algorithm,
                    None => assertion::fitting(key)?,
                };
                // The issuer where it is known: an assertion for one server is none for another.
                let audience = oauth2.issuer.as_deref().unwrap_or(url);
                let claims = Claims::default()
                    .text("iss", client_id)
                    .text("sub", client_id)
                    .text("aud", audience)
                    .lasting(moment.now, ASSERTION_LASTS_S, moment.random)?;
                let signed = assertion::signed(algorithm, key, self.values.get("key_id"), claims)?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_id", own(client_id)));
                form.push(("client_assertion_type", own(kind)));
                form.push(("client_assertion", signed));
            }
            // Without a secret it is a public client, and with a certificate the connection says who asks.
            (ClientAuth::None | ClientAuth::Tls | ClientAuth::Basic | ClientAuth::Body, _) => {
                form.push(("client_id", own(client_id)));
            }
        }
        Ok(())
    }

    fn token(
        &mut self,
        oauth2: &OAuth2,
        answer: &TokenAnswer<'_>,
        now: Timestamp,
    ) -> Result<Progress, AcquireError> {
        let token = if answer.is_success() { answer.at(&oauth2.access_token) } else { None };
        let Some(token) = token else {
            let code = answer.error_code();
            // Only what was consented to can be over; a client that is refused is another matter.
            if self.was_renewed || matches!(self.goal, Goal::Code { .. }) {
                let is_answer = answer.status < 500 && answer.status != 429;
                let ended = code.filter(|code| is_answer && ENDED.contains(&code.as_str()));
                if let Some(code) = ended {
                    return Err(AcquireError::Ended { code });
                }
            }
            if answer.is_success() && answer.error_code().is_none() {
                return self.unfit(
                    oauth2,
                    answer,
                    AcquireError::AnswerLacks { name: "access_token".to_owned() },
                    now,
                );
            }
            return Err(refusal(answer, now));
        };
        match self.fit(oauth2, answer, &token, now) {
            Ok(set) => Ok(Progress::Done(Box::new(set))),
            Err(error) => self.unfit(oauth2, answer, error, now),
        }
    }

    /// An answer that is no use, but for what renews: that was given once.
    fn unfit(
        &mut self,
        oauth2: &OAuth2,
        answer: &TokenAnswer<'_>,
        error: AcquireError,
        now: Timestamp,
    ) -> Result<Progress, AcquireError> {
        let renewed = answer.at(&oauth2.refresh_token).filter(|_| self.was_renewed);
        let Some(renewed) = renewed else { return Err(error) };
        let mut kept = self.held.take().unwrap_or_else(|| TokenSet::empty(now));
        kept.refresh_token = Some(renewed);
        Ok(Progress::Kept(Box::new(kept), error))
    }

    /// The tokens of an answer that has one.
    fn fit(
        &mut self,
        oauth2: &OAuth2,
        answer: &TokenAnswer<'_>,
        token: &str,
        now: Timestamp,
    ) -> Result<TokenSet, AcquireError> {
        let kind = answer.at(&AnswerPlace::member("token_type"));
        let is_bound = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("dpop"));
        if oauth2.has_dpop && !is_bound {
            return Err(AcquireError::NotBound);
        }
        if token.chars().any(|letter| letter.is_control() || !letter.is_ascii()) {
            return Err(AcquireError::AnswerUnfit { name: "access_token".to_owned() });
        }
        self.taken.set("access_token", token);
        for take in &oauth2.take {
            let held = self.held.as_ref().is_some_and(|held| held.values.has(&take.name));
            match answer.take(std::slice::from_ref(take), &mut self.taken) {
                // A renewal need not say again what stays.
                Err(AcquireError::AnswerLacks { .. }) if held => {}
                taken => taken?,
            }
        }
        let expires_at = self.expiry(&oauth2.expires, answer, now);
        let mut set = self.set(expires_at, now);
        let words = |text: Zeroizing<String>| -> Vec<String> {
            let separators = [' ', ',', '+'];
            let separators: &[char] = match oauth2.scope_separator.as_str() {
                " " => &[' '],
                _ => &separators,
            };
            text.split(separators).filter(|word| !word.is_empty()).map(Into::into).collect()
        };
        let renewed = answer.at(&oauth2.refresh_token);
        if let Some(held) = self.held.take() {
            set.refresh_token = held.refresh_token;
            set.is_consented = held.is_consented;
            if self.was_renewed {
                set.asked = held.asked;
                set.granted = held.granted;
            }
            set.values.fill_up(&held.values);
        }
        if set.refresh_token.is_none() && self.was_renewed {
            set.refresh_token =
                self.values.get("refresh_token").map(|token| Zeroizing::new(token.to_owned()));
        }
        let is_consented = oauth2.flows.iter().any(|flow| flow.name() == "authorization_code");
        if renewed.is_some() && (is_consented || self.was_renewed) {
            set.refresh_token = renewed;
        }
        if let Some(granted) = answer.at(&oauth2.scope) {
            set.granted = Some(words(granted));
        }
        set.is_consented |= matches!(self.goal, Goal::Code { .. });
        Ok(set)
    }

    fn set(&mut self, expires_at: Option<Timestamp>, now: Timestamp) -> TokenSet {
        let seen_to_last = self.held.as_ref().and_then(|held| held.seen_to_last);
        TokenSet {
            values: std::mem::take(&mut self.taken),
            proof_key: self.proof_key.take(),
            asked: self.scopes.clone(),
            expires_at,
            seen_to_last,
            ..TokenSet::empty(now)
        }
    }

    fn expiry(
        &self,
        lifetime: &Lifetime,
        answer: &TokenAnswer<'_>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        /// A token that is said to last longer is not believed to.
        const LONGEST_S: f64 = 400.0 * 86_400.0;
        let number = |place: &AnswerPlace| {
            let number = answer.at(place)?.trim().parse::<f64>().ok()?;
            (number.is_finite() && number > 0.0).then_some(number)
        };
        let epoch = |seconds: f64| {
            let micros = (seconds.min(253_000_000_000.0) * 1_000_000.0).round();
            #[expect(clippy::cast_possible_truncation, reason = "bounded above and below")]
            Timestamp::from_micros(micros as i64)
        };
        let at = match lifetime {
            Lifetime::Seconds(place) => {
                now + Duration::from_secs_f64(number(place)?.min(LONGEST_S))
            }
            Lifetime::Epoch { place, is_ms } => {
                let number = number(place)?;
                epoch(if *is_ms { number / 1000.0 } else { number })
            }
            Lifetime::Rfc3339(place) => Timestamp::parse(&answer.at(place)?)?,
            Lifetime::After(seconds) => now + Duration::from_secs(u64::from(*seconds)),
            Lifetime::Jwt => epoch(jwt_expiry(self.taken.get("access_token")?)?),
            Lifetime::Learned => return None,
        };
        // One that is over as soon as it comes says nothing of how long it lasts: a clock is wrong.
        (at > now).then(|| at.min(now + Duration::from_secs_f64(LONGEST_S)))
    }
}

struct Grant<'p> {
    url: &'p UrlTemplate,
    form: Vec<(&'static str, Zeroizing<String>)>,
    extra: &'p Params,
}

fn text(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.as_bytes().to_vec())
}

/// As RFC 6749 §2.3.1 has it: the form's encoding, inside of Basic.
fn encoded(text: &str) -> Zeroizing<String> {
    let bytes = super::fill::percent(text.as_bytes());
    Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
}

fn apply_params(
    members: &mut Vec<(String, Zeroizing<String>)>,
    params: &Params,
    filler: &Filler<'_>,
) -> Result<(), AuthError> {
    for (name, template) in params {
        members.retain(|(known, _)| known != name);
        if let Some(template) = template {
            members.push((name.clone(), filler.text(template)?));
        }
    }
    Ok(())
}

fn json_of(members: &[(String, Zeroizing<String>)]) -> Zeroizing<Vec<u8>> {
    let bytes = members.iter().map(|(name, value)| 8 + 6 * (name.len() + value.len())).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(bytes));
    for (name, value) in members {
        let before = if out.is_empty() { b'{' } else { b',' };
        out.push(before);
        write_text(&mut out, name);
        out.push(b':');
        write_text(&mut out, value);
    }
    out.push(b'}');
    out
}

/// `exp` of a JSON Web Token. It is not verified: it only says when to ask again.
fn jwt_expiry(token: &str) -> Option<f64> {
    let claims = token.split('.').nth(1)?;
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let answer = TokenAnswer { status: 200, headers: &[], body: &claims };
    answer.at(&AnswerPlace::member("exp"))?.parse().ok()
}

fn refusal(answer: &TokenAnswer<'_>, now: Timestamp) -> AcquireError {
    let status = answer.status;
    let code = answer.error_code();
    let is_busy = matches!(code.as_deref(), Some("slow_down" | "temporarily_unavailable"));
    if status >= 500 || matches!(status, 408 | 425 | 429) || is_busy {
        return AcquireError::Later { status, retry_after: answer.retry_after(now) };
    }
    AcquireError::Refused { status, code }
}

/// The request by which a provider is told that tokens are not wanted any more (RFC 7009 §2.1): of the
/// one that renews, where there is one, because the others fall with it. `None`: the plan knows no place
/// for it.
///
/// # Errors
/// [`AcquireError::Auth`] if the request cannot be made.
pub fn revocation(
    plan: &AuthPlan,
    values: Variables,
    tokens: &TokenSet,
    moment: Moment<'_>,
) -> Result<Option<TokenRequest>, AcquireError> {
    let Some(oauth2) = plan.oauth2() else { return Ok(None) };
    let Some(url) = &oauth2.revocation_url else { return Ok(None) };
    let (token, hint) = match (&tokens.refresh_token, tokens.values.get("access_token")) {
        (Some(token), _) => (token.as_str(), "refresh_token"),
        (None, Some(token)) => (token, "access_token"),
        (None, None) => return Ok(None),
    };
    let own = |text: &str| Zeroizing::new(text.to_owned());
    let mut form = vec![("token", own(token)), ("token_type_hint", own(hint))];
    let acquisition = Acquisition::new(plan, Goal::Renew, values, None, Vec::new())?;
    let url = acquisition.filler(&acquisition.values, moment).url(url, &[])?;
    let mut headers = vec![("accept".to_owned(), text(JSON))];
    acquisition.authenticate_client(oauth2, &url, moment, &mut form, &mut headers)?;
    let mut body = Form::default();
    for (name, value) in &form {
        body.add(name, value.as_bytes());
    }
    headers.push(("content-type".to_owned(), text(FORM)));
    Ok(Some(TokenRequest { method: "POST", url, headers, body: body.done() }))
}

/// Where somebody is sent to consent (RFC 6749 §4.1.1).
#[derive(Debug)]
pub struct AuthorizationUrl<'u> {
    pub client_id: &'u str,
    pub redirect_uri: &'u str,
    pub scopes: &'u [String],
    pub state: &'u str,
    /// RFC 7636 §4.1.
    pub verifier: &'u str,
}

impl AuthorizationUrl<'_> {
    /// # Errors
    /// [`AcquireError::NeedsConsent`] if the plan has no flow with a browser.
    pub fn of(
        &self,
        plan: &AuthPlan,
        values: &Variables,
        moment: Moment<'_>,
    ) -> Result<String, AcquireError> {
        let Some(Flow::AuthorizationCode { authorization_url, .. }) = plan.authorization_code()
        else {
            return Err(AcquireError::NeedsConsent);
        };
        let oauth2 = plan.oauth2().ok_or(AcquireError::NeedsConsent)?;
        let own = |text: &str| Zeroizing::new(text.to_owned());
        let mut members = vec![
            ("response_type".to_owned(), own("code")),
            ("client_id".to_owned(), own(self.client_id)),
            ("redirect_uri".to_owned(), own(self.redirect_uri)),
            ("state".to_owned(), own(self.state)),
        ];
        let scopes = with_usual(plan, self.scopes.to_vec());
        if !scopes.is_empty() {
            let scopes = scopes.join(&oauth2.scope_separator);
            members.push(("scope".to_owned(), own(&scopes)));
        }
        if oauth2.has_pkce {
            let challenge = digest::digest(&digest::SHA256, self.verifier.as_bytes());
            let challenge = URL_SAFE_NO_PAD.encode(challenge);
            members.push(("code_challenge".to_owned(), own(&challenge)));
            members.push(("code_challenge_method".to_owned(), own("S256")));
        }
        // What goes through a browser is no place for what is secret.
        let mut shown = Variables::default();
        for (name, value) in values.iter().filter(|(name, _)| !plan.is_secret(name)) {
            shown.set(name, value);
        }
        let filler = Filler { variables: &shown, call: None, moment };
        apply_params(&mut members, &oauth2.authorization_params, &filler)?;
        let url = filler.url(authorization_url, &[])?;
        let mut form = Form::default();
        for (name, value) in &members {
            form.add(name, value.as_bytes());
        }
        let mark = if url.contains('?') { '&' } else { '?' };
        Ok(format!("{}{mark}{}", url.as_str(), String::from_utf8_lossy(&form.done())))
    }
}

/// Scopes, and behind them those that the plan asks for whatever is needed.
fn with_usual(plan: &AuthPlan, mut scopes: Vec<String>) -> Vec<String> {
    for scope in plan.oauth2().into_iter().flat_map(|oauth2| &oauth2.scopes) {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    scopes
}

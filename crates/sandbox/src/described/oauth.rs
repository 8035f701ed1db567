//! A small authorization server (RFC 6749) in front of the mock: client credentials, authorization
//! code with PKCE (RFC 7636), password, refresh with rotation and reuse detection (RFC 9700 §4.14.2),
//! revocation (RFC 7009). Users are not asked: every authorization is granted.
//!
//! Tokens are as repeatable as everything else here, and therefore guessable.

use super::{
    auth::{USER, equals},
    draw::Key,
};
use aws_lc_rs::digest;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, StatusCode, header};
use provider::SecurityScheme;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use types::{SecretText, Timestamp};

/// Tokens and codes of each kind that are kept; beyond that the oldest go.
const MAX_KEPT: usize = 10_000;
/// How long an authorization code lives (RFC 6749 §4.1.2: at most ten minutes).
const CODE_LIFETIME: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Oauth {
    seed: Key,
    lifetime: Duration,
    scopes: BTreeSet<String>,
    /// Flows that the description declares; empty: all.
    flows: BTreeSet<String>,
    state: Mutex<State>,
}

/// What one authorization led to: all of its tokens fall together.
type Family = u64;

#[derive(Debug, Default)]
struct State {
    issued: u64,
    access: BTreeMap<u64, Access>,
    refresh: BTreeMap<u64, Refresh>,
    codes: BTreeMap<u64, Code>,
    by_text: HashMap<String, u64>,
    revoked: HashSet<Family>,
}

#[derive(Debug)]
struct Access {
    text: String,
    family: Family,
    scopes: BTreeSet<String>,
    expires_at: Timestamp,
}

#[derive(Debug)]
struct Refresh {
    text: String,
    family: Family,
    scopes: BTreeSet<String>,
    is_used: bool,
}

#[derive(Debug)]
struct Code {
    text: String,
    family: Family,
    scopes: BTreeSet<String>,
    redirect_uri: String,
    challenge: Option<(String, bool)>,
    expires_at: Timestamp,
    is_used: bool,
}

/// What an access token is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Live {
    Yes(BTreeSet<String>),
    Expired,
    Unknown,
}

/// An error of RFC 6749 §5.2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) description: &'static str,
}

const fn refused(error: &'static str, description: &'static str) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, error, description }
}

type Form = BTreeMap<String, String>;

impl Oauth {
    pub(crate) fn new(
        seed: Key,
        lifetime: Duration,
        schemes: &BTreeMap<String, SecurityScheme>,
    ) -> Self {
        let (mut scopes, mut flows) = (BTreeSet::new(), BTreeSet::new());
        let mut is_any = false;
        for scheme in schemes.values() {
            match scheme {
                SecurityScheme::OAuth2 { flows: declared, scopes: known } => {
                    flows.extend(declared.iter().cloned());
                    scopes.extend(known.iter().cloned());
                }
                SecurityScheme::OpenIdConnect { .. } => is_any = true,
                _ => {}
            }
        }
        if is_any {
            flows.clear();
        }
        Self { seed, lifetime, scopes, flows, state: Mutex::new(State::default()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one step that leaves the tables whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn look_up(&self, text: &str, now: Timestamp) -> Live {
        let state = self.state();
        let access = state.by_text.get(text).and_then(|number| state.access.get(number));
        match access {
            Some(access) if state.revoked.contains(&access.family) => Live::Unknown,
            Some(access) if access.expires_at <= now => Live::Expired,
            Some(access) => Live::Yes(access.scopes.clone()),
            None => Live::Unknown,
        }
    }

    /// The token endpoint.
    pub(crate) fn token(
        &self,
        form: &Form,
        headers: &HeaderMap,
        credential: &SecretText,
        now: Timestamp,
    ) -> Result<Value, Refused> {
        let text = |name: &str| form.get(name).map(String::as_str);
        let grant =
            text("grant_type").ok_or(refused("invalid_request", "grant_type is missing"))?;
        let is_proven = client_is_proven(form, headers, credential)?;
        self.check_grant(grant)?;
        if !is_proven && grant != "authorization_code" && grant != "refresh_token" {
            return Err(wrong_client());
        }
        match grant {
            "client_credentials" => {
                let scopes = self.wanted(text("scope"))?;
                // RFC 6749 §4.4.3: no refresh token.
                let mut state = self.state();
                let family = state.next();
                Ok(self.issue(&mut state, family, scopes, false, now))
            }
            "password" => {
                let is_user = text("username") == Some(USER)
                    && text("password").is_some_and(|given| {
                        equals(given.as_bytes(), credential.expose().as_bytes())
                    });
                if !is_user {
                    return Err(refused("invalid_grant", "the user name or password is wrong"));
                }
                let scopes = self.wanted(text("scope"))?;
                let mut state = self.state();
                let family = state.next();
                Ok(self.issue(&mut state, family, scopes, true, now))
            }
            "authorization_code" => self.redeem(form, is_proven, now),
            _ => self.refresh(form, now),
        }
    }

    fn check_grant(&self, grant: &str) -> Result<(), Refused> {
        let flow = match grant {
            "client_credentials" => "clientCredentials",
            "password" => "password",
            "authorization_code" => "authorizationCode",
            "refresh_token" => return Ok(()),
            _ => return Err(refused("unsupported_grant_type", "the grant type is not known")),
        };
        if !self.flows.is_empty() && !self.flows.contains(flow) {
            return Err(refused(
                "unauthorized_client",
                "the description declares no flow with this grant type",
            ));
        }
        Ok(())
    }

    /// The scopes that are asked for; all that are declared, if none are named.
    fn wanted(&self, given: Option<&str>) -> Result<BTreeSet<String>, Refused> {
        let Some(given) = given.filter(|given| !given.trim().is_empty()) else {
            return Ok(self.scopes.clone());
        };
        let wanted: BTreeSet<String> = given.split_ascii_whitespace().map(str::to_owned).collect();
        if !self.scopes.is_empty() && !wanted.is_subset(&self.scopes) {
            return Err(refused("invalid_scope", "a scope is not declared"));
        }
        Ok(wanted)
    }

    /// The authorization endpoint: where to send the caller's browser.
    pub(crate) fn authorize(&self, query: &Form, now: Timestamp) -> Result<String, Refused> {
        let text = |name: &str| query.get(name).map(String::as_str);
        let redirect_uri =
            text("redirect_uri").ok_or(refused("invalid_request", "redirect_uri is missing"))?;
        let mut target = url::Url::parse(redirect_uri)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.fragment().is_none())
            .ok_or(refused("invalid_request", "redirect_uri is no http URL without a fragment"))?;
        if text("client_id") != Some(USER) {
            return Err(refused("invalid_client", "the client is not known"));
        }
        let outcome = self.new_code(query, redirect_uri, now);
        let mut pairs = target.query_pairs_mut();
        match outcome {
            Ok(code) => pairs.append_pair("code", &code),
            Err(Refused { error, description, .. }) => {
                pairs.append_pair("error", error).append_pair("error_description", description)
            }
        };
        if let Some(state) = text("state") {
            pairs.append_pair("state", state);
        }
        drop(pairs);
        Ok(target.into())
    }

    fn new_code(
        &self,
        query: &Form,
        redirect_uri: &str,
        now: Timestamp,
    ) -> Result<String, Refused> {
        let text = |name: &str| query.get(name).map(String::as_str);
        if text("response_type") != Some("code") {
            return Err(refused("unsupported_response_type", "only `code` is known"));
        }
        self.check_grant("authorization_code")?;
        let scopes = self.wanted(text("scope"))?;
        let challenge = match (text("code_challenge"), text("code_challenge_method")) {
            (None, _) => None,
            (Some(challenge), Some("S256")) => Some((challenge.to_owned(), true)),
            (Some(challenge), None | Some("plain")) => Some((challenge.to_owned(), false)),
            (Some(_), Some(_)) => {
                return Err(refused("invalid_request", "the code_challenge_method is not known"));
            }
        };
        let mut state = self.state();
        let number = state.next();
        let text = self.text("code", number);
        let code = Code {
            text: text.clone(),
            family: number,
            scopes,
            redirect_uri: redirect_uri.to_owned(),
            challenge,
            expires_at: after(now, CODE_LIFETIME),
            is_used: false,
        };
        state.by_text.insert(text.clone(), number);
        state.codes.insert(number, code);
        state.make_room();
        Ok(text)
    }

    /// A code for tokens, once: a second time takes back what the first gave (RFC 6749 §4.1.2).
    fn redeem(&self, form: &Form, is_proven: bool, now: Timestamp) -> Result<Value, Refused> {
        let text = |name: &str| form.get(name).map(String::as_str);
        let given = text("code").ok_or(refused("invalid_request", "code is missing"))?;
        let mut state = self.state();
        let number = state.by_text.get(given).copied();
        let wrong = refused("invalid_grant", "the code is unknown, expired or was used before");
        let Some(code) = number.and_then(|number| state.codes.get_mut(&number)) else {
            return Err(wrong);
        };
        let family = code.family;
        if code.is_used {
            state.revoked.insert(family);
            return Err(wrong);
        }
        if code.expires_at <= now {
            return Err(wrong);
        }
        if text("redirect_uri") != Some(code.redirect_uri.as_str()) {
            return Err(refused("invalid_grant", "redirect_uri is not that of the authorization"));
        }
        match (&code.challenge, text("code_verifier")) {
            // A client that proves nothing else has to prove this.
            (None, _) if is_proven => {}
            (Some((challenge, is_hashed)), Some(verifier)) => {
                let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
                let hashed = URL_SAFE_NO_PAD.encode(hash.as_ref());
                let proof = if *is_hashed { hashed.as_str() } else { verifier };
                if !equals(proof.as_bytes(), challenge.as_bytes()) {
                    return Err(refused("invalid_grant", "the code_verifier is wrong"));
                }
            }
            _ => return Err(refused("invalid_grant", "the code_verifier is missing")),
        }
        code.is_used = true;
        let scopes = code.scopes.clone();
        Ok(self.issue(&mut state, family, scopes, true, now))
    }

    /// A refresh token for new tokens, once: a second use takes back the whole family.
    fn refresh(&self, form: &Form, now: Timestamp) -> Result<Value, Refused> {
        let text = |name: &str| form.get(name).map(String::as_str);
        let given =
            text("refresh_token").ok_or(refused("invalid_request", "refresh_token is missing"))?;
        let mut state = self.state();
        let number = state.by_text.get(given).copied();
        let wrong = refused("invalid_grant", "the refresh token is unknown, revoked or was used");
        let Some(refresh) = number.and_then(|number| state.refresh.get_mut(&number)) else {
            return Err(wrong);
        };
        let family = refresh.family;
        let scopes = match text("scope").filter(|scope| !scope.trim().is_empty()) {
            None => refresh.scopes.clone(),
            Some(scope) => {
                let wanted: BTreeSet<String> =
                    scope.split_ascii_whitespace().map(str::to_owned).collect();
                if !wanted.is_subset(&refresh.scopes) {
                    return Err(refused("invalid_scope", "a scope was not granted before"));
                }
                wanted
            }
        };
        let is_reused = std::mem::replace(&mut refresh.is_used, true);
        if is_reused {
            state.revoked.insert(family);
        }
        if state.revoked.contains(&family) {
            return Err(wrong);
        }
        Ok(self.issue(&mut state, family, scopes, true, now))
    }

    fn issue(
        &self,
        state: &mut State,
        family: Family,
        scopes: BTreeSet<String>,
        with_refresh: bool,
        now: Timestamp,
    ) -> Value {
        let number = state.next();
        let text = self.text("access", number);
        let access = Access {
            text: text.clone(),
            family,
            scopes: scopes.clone(),
            expires_at: after(now, self.lifetime),
        };
        state.by_text.insert(text.clone(), number);
        state.access.insert(number, access);
        let scope = scopes.iter().cloned().collect::<Vec<_>>().join(" ");
        let mut answer = json!({
            "access_token": text,
            "token_type": "Bearer",
            "expires_in": self.lifetime.as_secs(),
            "scope": scope,
        });
        if with_refresh {
            let number = state.next();
            let text = self.text("refresh", number);
            let refresh = Refresh { text: text.clone(), family, scopes, is_used: false };
            state.by_text.insert(text.clone(), number);
            state.refresh.insert(number, refresh);
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("refresh_token".to_owned(), text.into());
            }
        }
        state.make_room();
        answer
    }

    /// RFC 7009: an unknown token is no error; a refresh token takes its access tokens with it.
    pub(crate) fn revoke(
        &self,
        form: &Form,
        headers: &HeaderMap,
        credential: &SecretText,
    ) -> Result<(), Refused> {
        if !client_is_proven(form, headers, credential)? {
            return Err(wrong_client());
        }
        let given = form.get("token").ok_or(refused("invalid_request", "token is missing"))?;
        let mut state = self.state();
        let Some(number) = state.by_text.get(given).copied() else { return Ok(()) };
        if let Some(refresh) = state.refresh.get(&number) {
            let family = refresh.family;
            state.revoked.insert(family);
        } else if state.access.remove(&number).is_some() {
            state.by_text.remove(given);
        }
        Ok(())
    }

    pub(crate) fn reset(&self) {
        *self.state() = State::default();
    }

    fn text(&self, kind: &str, number: u64) -> String {
        format!("sandbox-{kind}-{:016x}", self.seed.at(kind).index(number).number())
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.issued += 1;
        self.issued
    }

    fn make_room(&mut self) {
        while self.access.len() > MAX_KEPT {
            if let Some((_, old)) = self.access.pop_first() {
                self.by_text.remove(&old.text);
            }
        }
        while self.refresh.len() > MAX_KEPT {
            if let Some((_, old)) = self.refresh.pop_first() {
                self.by_text.remove(&old.text);
            }
        }
        while self.codes.len() > MAX_KEPT {
            if let Some((_, old)) = self.codes.pop_first() {
                self.by_text.remove(&old.text);
            }
        }
        if self.revoked.len() > MAX_KEPT {
            let families = self.access.values().map(|one| one.family);
            let families = families.chain(self.refresh.values().map(|one| one.family));
            let families: HashSet<Family> =
                families.chain(self.codes.values().map(|one| one.family)).collect();
            self.revoked.retain(|family| families.contains(family));
        }
    }
}

fn after(now: Timestamp, span: Duration) -> Timestamp {
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(micros))
}

const fn wrong_client() -> Refused {
    Refused {
        status: StatusCode::UNAUTHORIZED,
        error: "invalid_client",
        description: "the client's id or secret is missing or wrong",
    }
}

/// Whether the client proved itself; an error, if it tried and failed.
fn client_is_proven(
    form: &Form,
    headers: &HeaderMap,
    credential: &SecretText,
) -> Result<bool, Refused> {
    let is_right = |id: &str, secret: &str| {
        id == USER && equals(secret.as_bytes(), credential.expose().as_bytes())
    };
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        let basic = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        let decoded = basic
            .and_then(|(_, rest)| STANDARD.decode(rest.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let proven = decoded.as_deref().and_then(|decoded| decoded.split_once(':'));
        let proven = proven.is_some_and(|(id, secret)| is_right(id, secret));
        return if proven { Ok(true) } else { Err(wrong_client()) };
    }
    match (form.get("client_id"), form.get("client_secret")) {
        (Some(id), Some(secret)) if is_right(id, secret) => Ok(true),
        (Some(id), None) if id == USER => Ok(false),
        _ => Err(wrong_client()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn form(pairs: &[(&str, &str)]) -> Form {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn secret() -> SecretText {
        SecretText::new("s3".to_owned())
    }

    fn server() -> Oauth {
        let scopes = BTreeSet::from(["read".to_owned(), "write".to_owned()]);
        let flows = ["clientCredentials", "authorizationCode", "password"].map(str::to_owned);
        let scheme = SecurityScheme::OAuth2 { flows: flows.into(), scopes };
        let schemes = BTreeMap::from([("o".to_owned(), scheme)]);
        Oauth::new(Key::new(1), Duration::from_mins(1), &schemes)
    }

    fn ask(server: &Oauth, pairs: &[(&str, &str)], now: Timestamp) -> Result<Value, Refused> {
        let mut form = form(pairs);
        form.entry("client_id".to_owned()).or_insert_with(|| USER.to_owned());
        form.entry("client_secret".to_owned()).or_insert_with(|| "s3".to_owned());
        server.token(&form, &HeaderMap::new(), &secret(), now)
    }

    fn error(result: Result<Value, Refused>) -> &'static str {
        result.unwrap_err().error
    }

    #[test]
    fn an_access_token_lives_its_time_with_its_scopes() {
        let server = server();
        let answer =
            ask(&server, &[("grant_type", "client_credentials"), ("scope", "read")], NOW).unwrap();
        let token = answer["access_token"].as_str().unwrap();
        assert!(answer.get("refresh_token").is_none());
        assert_eq!(server.look_up(token, NOW), Live::Yes(BTreeSet::from(["read".to_owned()])));
        let later = after(NOW, Duration::from_mins(1));
        assert_eq!(server.look_up(token, later), Live::Expired);
        assert_eq!(server.look_up("sandbox-access-0", NOW), Live::Unknown);
    }

    #[test]
    fn clients_grants_and_scopes_are_checked() {
        let server = server();
        let wrong = [("grant_type", "client_credentials"), ("client_secret", "x")];
        assert_eq!(error(ask(&server, &wrong, NOW)), "invalid_client");
        assert_eq!(error(ask(&server, &[("grant_type", "magic")], NOW)), "unsupported_grant_type");
        assert_eq!(error(ask(&server, &[], NOW)), "invalid_request");
        let scope = [("grant_type", "client_credentials"), ("scope", "admin")];
        assert_eq!(error(ask(&server, &scope, NOW)), "invalid_scope");
        let password = [("grant_type", "password"), ("username", USER), ("password", "x")];
        assert_eq!(error(ask(&server, &password, NOW)), "invalid_grant");
    }

    #[test]
    fn a_used_refresh_token_takes_its_family_down() {
        let server = server();
        let first = [("grant_type", "password"), ("username", USER), ("password", "s3")];
        let first = ask(&server, &first, NOW).unwrap();
        let old = first["refresh_token"].as_str().unwrap();
        let refresh = |token: &str| {
            ask(&server, &[("grant_type", "refresh_token"), ("refresh_token", token)], NOW)
        };
        let second = refresh(old).unwrap();
        let access = second["access_token"].as_str().unwrap();
        assert!(matches!(server.look_up(access, NOW), Live::Yes(_)));
        assert_eq!(error(refresh(old)), "invalid_grant");
        assert_eq!(server.look_up(access, NOW), Live::Unknown, "reuse revokes what it led to");
        assert_eq!(error(refresh(second["refresh_token"].as_str().unwrap())), "invalid_grant");
    }

    #[test]
    fn a_code_is_bound_to_its_redirect_and_proof_and_is_used_once() {
        let server = server();
        let verifier = "a-verifier-of-more-than-forty-three-characters-x";
        let challenge =
            URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref());
        let query = form(&[
            ("response_type", "code"),
            ("client_id", USER),
            ("redirect_uri", "http://127.0.0.1:9/cb"),
            ("state", "x y"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let code = || {
            let target = url::Url::parse(&server.authorize(&query, NOW).unwrap()).unwrap();
            let pairs: Form = target.query_pairs().into_owned().collect();
            assert_eq!(pairs["state"], "x y");
            pairs["code"].clone()
        };
        let redeem = |code: &str, verifier: &str, uri: &str, now| {
            let form = form(&[
                ("grant_type", "authorization_code"),
                ("client_id", USER),
                ("code", code),
                ("redirect_uri", uri),
                ("code_verifier", verifier),
            ]);
            server.token(&form, &HeaderMap::new(), &secret(), now)
        };
        let uri = "http://127.0.0.1:9/cb";
        assert_eq!(error(redeem(&code(), "wrong", uri, NOW)), "invalid_grant");
        assert_eq!(error(redeem(&code(), verifier, "http://127.0.0.1:9/", NOW)), "invalid_grant");
        assert_eq!(
            error(redeem(&code(), verifier, uri, after(NOW, CODE_LIFETIME))),
            "invalid_grant"
        );
        let once = code();
        let tokens = redeem(&once, verifier, uri, NOW).unwrap();
        assert_eq!(error(redeem(&once, verifier, uri, NOW)), "invalid_grant");
        let access = tokens["access_token"].as_str().unwrap();
        assert_eq!(server.look_up(access, NOW), Live::Unknown, "a code used twice revokes");
    }

    #[test]
    fn revocation_ends_tokens() {
        let server = server();
        let password = [("grant_type", "password"), ("username", USER), ("password", "s3")];
        let tokens = ask(&server, &password, NOW).unwrap();
        let revoke = |token: &Value| {
            let form = form(&[
                ("token", token.as_str().unwrap()),
                ("client_id", USER),
                ("client_secret", "s3"),
            ]);
            server.revoke(&form, &HeaderMap::new(), &secret()).unwrap();
        };
        let other = ask(&server, &password, NOW).unwrap();
        revoke(&tokens["refresh_token"]);
        assert_eq!(server.look_up(tokens["access_token"].as_str().unwrap(), NOW), Live::Unknown);
        let access = other["access_token"].as_str().unwrap();
        assert!(matches!(server.look_up(access, NOW), Live::Yes(_)));
        revoke(&other["access_token"]);
        assert_eq!(server.look_up(access, NOW), Live::Unknown);
    }

    #[test]
    fn tokens_are_bounded() {
        let server = server();
        for _ in 0..MAX_KEPT + 50 {
            ask(&server, &[("grant_type", "client_credentials")], NOW).unwrap();
        }
        let state = server.state();
        assert_eq!((state.access.len(), state.by_text.len()), (MAX_KEPT, MAX_KEPT));
    }
}

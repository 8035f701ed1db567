//! An OpenID Connect provider that goes by a test's clock, and errs when it is told to.

use crate::{Answer, FaultyProvider, Received, lock};
use aws_lc_rs::{
    digest,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    sync::{Arc, Mutex},
};

/// The client that it knows.
pub const CLIENT_ID: &str = "weirgate";
pub const CLIENT_SECRET: &str = "canary-identity-client-secret-77d0";

/// The places below the issuer.
pub const METADATA: &str = "/.well-known/openid-configuration";
pub const KEYS: &str = "/keys";
pub const TOKEN: &str = "/token";

/// See the module.
pub struct IdentityProvider {
    server: FaultyProvider,
    desk: Arc<Desk>,
}

struct Desk {
    issuer: String,
    key: Ed25519KeyPair,
    state: Mutex<State>,
}

struct State {
    now_secs: i64,
    /// What stands in the next tokens, beside what a sign-in brings.
    claims: Value,
    takes_codes_again: bool,
    /// What a code was given for.
    codes: HashMap<String, BTreeMap<String, String>>,
    given: usize,
}

impl fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityProvider")
            .field("issuer", &self.desk.issuer)
            .finish_non_exhaustive()
    }
}

impl IdentityProvider {
    /// On this machine, by plain http, at this time.
    ///
    /// # Errors
    /// Where there is no free port, or no randomness.
    pub fn start(now_secs: i64) -> io::Result<Self> {
        Self::at(FaultyProvider::start()?, now_secs)
    }

    /// In front of a server that listens already.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub fn at(server: FaultyProvider, now_secs: i64) -> io::Result<Self> {
        let key = Ed25519KeyPair::generate().map_err(io::Error::other)?;
        let claims = json!({"sub": "u-1", "amr": ["pwd", "mfa"], "groups": ["staff"]});
        let state =
            State { now_secs, claims, takes_codes_again: false, codes: HashMap::new(), given: 0 };
        let desk = Desk { issuer: server.url().to_owned(), key, state: Mutex::new(state) };
        let desk = Arc::new(desk);
        server.on(METADATA, Answer::json(200, &desk.metadata()));
        server.on(KEYS, Answer::json(200, &desk.keys()));
        let asked = Arc::clone(&desk);
        server.on_each(TOKEN, move |request| asked.tokens(request));
        Ok(Self { server, desk })
    }

    pub fn issuer(&self) -> &str {
        &self.desk.issuer
    }

    /// To answer otherwise at a place, and to see what was asked.
    pub const fn server(&self) -> &FaultyProvider {
        &self.server
    }

    /// What it says of itself, to be changed.
    pub fn metadata(&self) -> Value {
        self.desk.metadata()
    }

    /// Its keys, as they are published.
    pub fn keys(&self) -> Value {
        self.desk.keys()
    }

    /// Sets its clock.
    pub fn set_time(&self, now_secs: i64) {
        lock(&self.desk.state).now_secs = now_secs;
    }

    /// Adds claims to the tokens to come, or exchanges them.
    pub fn say(&self, claims: &Value) {
        let mut state = lock(&self.desk.state);
        if let (Some(all), Some(new)) = (state.claims.as_object_mut(), claims.as_object()) {
            all.extend(new.clone());
        }
    }

    /// Gives tokens for a code as often as it is asked, against RFC 6749 §4.1.2.
    pub fn take_codes_again(&self) {
        lock(&self.desk.state).takes_codes_again = true;
    }

    /// Lets a person in who was sent to this URL; where the browser is sent back to.
    pub fn pass(&self, url: &str) -> String {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let asked = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        let asked: BTreeMap<String, String> = asked.collect();
        let part = |name: &str| asked.get(name).cloned().unwrap_or_default();
        let (back, state) = (part("redirect_uri"), part("state"));
        let mut desk = lock(&self.desk.state);
        desk.given += 1;
        let code = format!("code-{}-{}", self.server.addr().port(), desk.given);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("code", &code)
            .append_pair("state", &state)
            .append_pair("iss", &self.desk.issuer);
        desk.codes.insert(code, asked);
        format!("{back}?{}", query.finish())
    }

    /// How often tokens were asked for.
    pub fn exchanges(&self) -> usize {
        self.server.requests().iter().filter(|request| request.path == TOKEN).count()
    }
}

impl Desk {
    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at(TOKEN),
            "jwks_uri": at(KEYS),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        })
    }

    fn keys(&self) -> Value {
        let public = URL_SAFE_NO_PAD.encode(self.key.public_key());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": public}]})
    }

    fn tokens(&self, request: &Received) -> Answer {
        let refused = |code: &str| Answer::json(400, &json!({"error": code}));
        let pair = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
        if request.header("authorization") != Some(&format!("Basic {pair}")) {
            return refused("invalid_client");
        }
        let form: BTreeMap<String, String> =
            url::form_urlencoded::parse(&request.body).into_owned().collect();
        let part = |name: &str| form.get(name).map_or("", String::as_str);
        let mut state = lock(&self.state);
        let code = part("code");
        let asked = if state.takes_codes_again {
            state.codes.get(code).cloned()
        } else {
            state.codes.remove(code)
        };
        let Some(asked) = asked else { return refused("invalid_grant") };
        let given = |name: &str| asked.get(name).map_or("", String::as_str);
        let challenge = digest::digest(&digest::SHA256, part("code_verifier").as_bytes());
        let is_its = URL_SAFE_NO_PAD.encode(challenge) == given("code_challenge")
            && part("redirect_uri") == given("redirect_uri")
            && part("grant_type") == "authorization_code";
        if !is_its {
            return refused("invalid_grant");
        }
        let mut claims = json!({
            "iss": self.issuer, "aud": given("client_id"), "nonce": given("nonce"),
            "iat": state.now_secs, "exp": state.now_secs + 300, "auth_time": state.now_secs,
        });
        if let (Some(all), Some(said)) = (claims.as_object_mut(), state.claims.as_object()) {
            all.extend(said.clone());
        }
        Answer::json(200, &json!({"token_type": "Bearer", "id_token": self.signed(&claims)}))
    }

    fn signed(&self, claims: &Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "EdDSA", "kid": "ed"}).to_string());
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

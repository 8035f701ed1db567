//! Ways to a provider and back: what is believed, what is not, and that nothing is left of the latter.
//!
//! Named for the rows O1 to O8 and O13 of docs/standards.md, with Weirgate as the client.

use super::*;
use crate::{apps, asking::Asker, seals_tests::Home, tokens::MAX_TOKEN_ANSWER_BYTES};
use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use outbound::{FixedResolver, TlsConfig};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Mutex};
use testkit::{Answer as Said, FaultyProvider, Received};
use types::{Actor, Clock as _, SystemClock, SystemRandom};

const BASE: &str = "https://gate.example.com";
const ACCESS: &str = "canary-access-token-81f0";
const REFRESH: &str = "canary-refresh-token-3c9d";

/// An installation with a provider that somebody consents at.
struct Hall {
    instance: Instance,
    asker: Asker,
    provider: FaultyProvider,
    _home: Home,
    now: Mutex<Timestamp>,
}

fn query_of(url: &str) -> HashMap<String, String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Gives tokens for codes that carry the challenge that they were given for: `code.CHALLENGE`.
fn tokens(request: &Received, given: &Value) -> Said {
    let form: HashMap<String, String> =
        url::form_urlencoded::parse(&request.body).into_owned().collect();
    let part = |name: &str| form.get(name).map_or("", String::as_str);
    let proof = digest::digest(&digest::SHA256, part("code_verifier").as_bytes());
    let is_its = part("grant_type") == "authorization_code"
        && part("code") == format!("code.{}", URL_SAFE_NO_PAD.encode(proof));
    if !is_its {
        return Said::json(
            400,
            &json!({"error": "invalid_grant", "error_description": "<b>no</b>"}),
        );
    }
    Said::json(200, given)
}

fn given() -> Value {
    json!({"access_token": ACCESS, "refresh_token": REFRESH, "token_type": "Bearer",
        "expires_in": 3600, "scope": "read"})
}

impl Hall {
    async fn open() -> Self {
        Self::with(json!({"scopes": ["read"]})).await
    }

    /// With this said of `oauth2` beside its URLs.
    async fn with(oauth2: Value) -> Self {
        let home = Home::new();
        let instance = home.init().await;
        let provider = FaultyProvider::start().unwrap();
        provider.on_each("/token", |request| tokens(request, &given()));
        provider.on("/revoke", Said::status(200));
        let tls = Arc::new(TlsConfig::new(None).unwrap());
        let asker =
            Asker::start(Arc::new(FixedResolver::default()), tls, MAX_TOKEN_ANSWER_BYTES).unwrap();
        let hall =
            Self { instance, asker, provider, _home: home, now: Mutex::new(SystemClock.now()) };
        for name in ["hr", "other"] {
            hall.import(name, oauth2.clone()).await;
        }
        hall
    }

    async fn import(&self, name: &str, mut oauth2: Value) {
        let at = |path: &str| format!("{}{path}", self.provider.url());
        let urls = json!({"flow": "authorization_code", "authorization_url": at("/authorize"),
            "token_url": at("/token"), "revocation_url": at("/revoke")});
        oauth2.as_object_mut().unwrap().extend(urls.as_object().unwrap().clone());
        let description = json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
            "servers": [{"url": self.provider.url()}],
            "components": {"securitySchemes": {"oauth": {"type": "oauth2", "flows": {}}}},
            "paths": {"/people": {"get": {"operationId": "people", "security": [{"oauth": ["read"]}],
                "responses": {}}}}});
        let overlay = json!({"overlay": "1.0.0", "info": {"title": "t", "version": "1"}, "actions": [
            {"target": "$.components.securitySchemes.oauth",
                "update": {"x-weirgate-auth": {"oauth2": oauth2}}}]});
        let import = providers::Import {
            slug: name.parse().unwrap(),
            description: description.to_string().into_bytes(),
            overlay: Some(overlay.to_string().into_bytes()),
            is_without_overlay: false,
            expects: None,
            server: None,
            is_server_described: false,
            allow_private: vec![self.provider.host_port().to_owned()],
            accepts_servers: true,
        };
        providers::import(&self.instance, &self.ctx("local"), import).await.unwrap();
        let app =
            SecretBytes::new(br#"{"client_id":"weirgate","client_secret":"s3cret"}"#.to_vec());
        apps::set(&self.instance, &self.ctx("local"), &name.parse().unwrap(), &app).await.unwrap();
    }

    fn ctx(&self, who: &str) -> OpContext {
        let now = *self.now.lock().unwrap();
        let actor = match who {
            "local" => Actor::Local { uid: 0 },
            _ => Actor::Local { uid: 7 },
        };
        OpContext { actor, request: Id::generate(now, &SystemRandom).unwrap(), now }
    }

    fn later(&self, by: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = *now + by;
    }

    fn fresh(provider: &str, customer: &str) -> Target {
        Target::New(Box::new(New {
            provider: provider.parse().unwrap(),
            customer: customer.to_owned(),
            scheme: None,
            secret: None,
            environment: Environment::Live,
            variables: BTreeMap::new(),
            headers: BTreeMap::new(),
        }))
    }

    async fn begins(&self, target: Target) -> Result<Begun, Error> {
        let asked = Begin { target, base: BASE, idempotency_key: None };
        begin(&self.instance, &self.ctx("local"), asked).await
    }

    /// On the way to the provider.
    async fn goes(&self, provider: &str, customer: &str) -> Opened {
        let begun = self.begins(Self::fresh(provider, customer)).await.unwrap();
        open(&self.instance, &self.ctx("local"), Opening::Own(begun.id)).await.unwrap()
    }

    /// What the provider would send the browser back with.
    fn let_in(opened: &Opened) -> String {
        let asked = query_of(&opened.url);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("code", &format!("code.{}", asked["code_challenge"]))
            .append_pair("state", &asked["state"]);
        query.finish()
    }

    async fn comes(
        &self,
        provider: &str,
        trip: &str,
        query: &str,
    ) -> Result<Id<ConnectSession>, Error> {
        let provider = provider.parse().unwrap();
        let back = Answer { base: BASE, provider: &provider, trip, query };
        answer(&self.instance, &self.ctx("local"), &self.asker, back).await
    }

    async fn connected(&self, customer: &str) -> Id<Connection> {
        let opened = self.goes("hr", customer).await;
        let id = self.comes("hr", opened.trip.expose(), &Self::let_in(&opened)).await.unwrap();
        self.confirms(id).await.unwrap().connection
    }

    async fn confirms(&self, id: Id<ConnectSession>) -> Result<Confirmed, Error> {
        let shown = show(&self.instance, &self.ctx("local"), id).await?;
        let text = shown.consented.map(|one| one.digest).unwrap_or_default();
        confirm(&self.instance, &self.ctx("local"), id, &text).await
    }

    async fn rows(&self) -> Everything {
        seals::load_whole(&self.instance).await.unwrap()
    }

    fn exchanges(&self) -> usize {
        self.provider.requests().iter().filter(|request| request.path == "/token").count()
    }

    /// Nothing was connected, and nothing is held of what the provider gave.
    async fn nothing_is_left(&self) {
        let rows = self.rows().await;
        assert!(rows.connections.is_empty() && rows.connects.consents.is_empty());
        assert!(rows.sealed.iter().all(|row| row.table != TABLE || row.column != TOKEN));
    }

    /// Of what is no answer to what was begun, nobody is asked anything.
    async fn is_strange(&self, came: Result<Id<ConnectSession>, Error>) {
        let error = came.unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::State)), "{error}");
        assert_eq!(self.exchanges(), 0);
        self.nothing_is_left().await;
    }
}

#[tokio::test]
async fn somebody_consents_confirms_and_is_connected() {
    let hall = Hall::open().await;
    let opened = hall.goes("hr", "Acme").await;
    let asked = query_of(&opened.url);
    assert_eq!(asked["scope"], "read");
    assert_eq!(asked["redirect_uri"], "https://gate.example.com/connect/hr/callback");
    let id = hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await.unwrap();
    hall.nothing_connected_yet(id).await;
    let done = hall.confirms(id).await.unwrap();
    assert_eq!(done.version, 1);
    let shown = connections::show(&hall.instance, done.connection).await.unwrap();
    assert_eq!((shown.customer.as_str(), shown.version), ("Acme", 1));
    assert_eq!(shown.state, connections::State::Active);
    let consents = consents(&hall.instance, Some(done.connection)).await.unwrap();
    assert_eq!(consents.len(), 1);
    assert!(
        consents[0].text.contains("Customer: Acme\nProvider: hr (live)\nScopes asked for: read")
    );
    assert_eq!(consents[0].digest, hex(&seals::sha256(consents[0].text.as_bytes())));
    // What the session held is gone, and it leads nowhere any more.
    let rows = hall.rows().await;
    assert!(rows.sealed.iter().all(|row| row.table != TABLE));
    assert!(hall.confirms(id).await.is_err());
}

impl Hall {
    /// CVE class 13: a callback alone connects nothing.
    async fn nothing_connected_yet(&self, id: Id<ConnectSession>) {
        let rows = self.rows().await;
        assert!(rows.connections.is_empty() && rows.connects.consents.is_empty());
        assert_eq!(self.exchanges(), 1);
        // Nobody else confirms, and no other text.
        let text = show(&self.instance, &self.ctx("local"), id).await.unwrap().consented.unwrap();
        let other = confirm(&self.instance, &self.ctx("other"), id, &text.digest).await;
        assert!(matches!(other, Err(Error::Connect(ConnectError::Unknown))), "{other:?}");
        assert!(show(&self.instance, &self.ctx("other"), id).await.is_err());
        let other = confirm(&self.instance, &self.ctx("local"), id, "another").await;
        assert!(matches!(other, Err(Error::PlanStale)), "{other:?}");
        assert!(self.rows().await.connections.is_empty());
    }
}

/// O1: exactly where it was sent to, letter by letter.
#[tokio::test]
async fn o1_an_answer_comes_to_one_address_of_one_provider() {
    let hall = Hall::open().await;
    let opened = hall.goes("hr", "Acme").await;
    let query = Hall::let_in(&opened);
    for base in [
        "https://gate.example.com:443",
        "https://gate.example.com:8443",
        "https://GATE.example.com",
        "https://www.gate.example.com",
        "https://user@gate.example.com",
        "http://gate.example.com",
        "https://gate.example.com/.",
        "https://gate.example.com/%2e",
        "https://gate.example.com//",
        "https://gate.example.com?x=/",
    ] {
        let provider = "hr".parse().unwrap();
        let base = if base.ends_with("//") { "https://gate.example.com/x" } else { base };
        let back = Answer { base, provider: &provider, trip: opened.trip.expose(), query: &query };
        let came = answer(&hall.instance, &hall.ctx("local"), &hall.asker, back).await;
        hall.is_strange(came).await;
    }
    // The other provider's address is another, with the same app behind it.
    hall.is_strange(hall.comes("other", opened.trip.expose(), &query).await).await;
    assert!(hall.comes("hr", opened.trip.expose(), &query).await.is_ok());
}

/// O2: a challenge of 256 bits by S256 in every way, and its verifier in every exchange.
#[tokio::test]
async fn o2_every_way_has_a_challenge_of_its_own() {
    let hall = Hall::open().await;
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let opened = hall.goes("hr", "Acme").await;
        let asked = query_of(&opened.url);
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(URL_SAFE_NO_PAD.decode(&asked["code_challenge"]).unwrap().len(), 32);
        assert!(seen.insert(asked["code_challenge"].clone()));
        assert!(seen.insert(asked["state"].clone()) && asked["state"].len() >= 43);
        // Nothing in the URL is what the browser keeps, or the verifier.
        assert!(!opened.url.contains(opened.trip.expose()));
        assert!(!opened.url.contains("s3cret"));
        hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await.unwrap();
        let last = hall.provider.last_request().unwrap();
        let form = query_of(&format!("?{}", String::from_utf8(last.body.clone()).unwrap()));
        assert!(form["code_verifier"].len() >= 43 && form["code_verifier"] != asked["state"]);
        assert_eq!(form["redirect_uri"], asked["redirect_uri"]);
    }
}

/// O2: the code of another's way (an injected code) is refused by the challenge.
#[tokio::test]
async fn o2_a_code_of_another_way_is_of_no_use() {
    let hall = Hall::open().await;
    let (mine, theirs) = (hall.goes("hr", "Acme").await, hall.goes("hr", "Mallory").await);
    let (own, strange) = (query_of(&mine.url), query_of(&theirs.url));
    let query = format!("code=code.{}&state={}", strange["code_challenge"], own["state"]);
    let came = hall.comes("hr", mine.trip.expose(), &query).await.unwrap_err();
    assert!(matches!(came, Error::TokenNotObtained { code: "consent_ended", .. }), "{came:?}");
    // CVE class 12: nothing that the provider wrote is repeated.
    assert!(!came.to_string().contains("<b>"));
    hall.nothing_is_left().await;
}

/// O2: without PKCE only where the plan says so, and then it is told.
#[tokio::test]
async fn o2_without_a_challenge_only_where_the_plan_says_so() {
    let hall = Hall::with(json!({"pkce": false})).await;
    let begun = hall.begins(Hall::fresh("hr", "Acme")).await.unwrap();
    let shown = show(&hall.instance, &hall.ctx("local"), begun.id).await.unwrap();
    assert!(shown.is_without_pkce);
    let opened = open(&hall.instance, &hall.ctx("local"), Opening::Own(begun.id)).await.unwrap();
    assert!(!opened.url.contains("code_challenge"));
}

/// O3: missing, doubled, altered and foreign states.
#[tokio::test]
async fn o3_an_answer_with_another_state_is_refused() {
    let hall = Hall::open().await;
    let (mine, theirs) = (hall.goes("hr", "Acme").await, hall.goes("hr", "Globex").await);
    let asked = query_of(&mine.url);
    let (state, code) = (&asked["state"], format!("code.{}", asked["code_challenge"]));
    let foreign = &query_of(&theirs.url)["state"];
    for query in [
        String::new(),
        format!("code={code}"),
        format!("code={code}&state="),
        format!("code={code}&state={state}&state={state}"),
        format!("code={code}&state={state}x"),
        format!("code={code}&state=+{state}"),
        format!("code={code}&state={}", state.to_uppercase()),
        format!("code={code}&state={}", &state[..32]),
        format!("code={code}&STATE={state}"),
        format!("code={code}&state={foreign}"),
        format!("code={code}#state={state}"),
        format!("error=access_denied&state={foreign}"),
    ] {
        hall.is_strange(hall.comes("hr", mine.trip.expose(), &query).await).await;
    }
    // Another browser: with another's cookie, a made one, or none.
    let query = Hall::let_in(&mine);
    let longer = format!("{}x", mine.trip.expose());
    for trip in [theirs.trip.expose(), "", "x", &longer, state] {
        hall.is_strange(hall.comes("hr", trip, &query).await).await;
    }
    // None of that used the way up.
    assert!(hall.comes("hr", mine.trip.expose(), &query).await.is_ok());
}

/// O3: an answer counts once, whatever became of it.
#[tokio::test]
async fn o3_an_answer_counts_once() {
    let hall = Hall::open().await;
    let opened = hall.goes("hr", "Acme").await;
    let query = Hall::let_in(&opened);
    let id = hall.comes("hr", opened.trip.expose(), &query).await.unwrap();
    for _ in 0..2 {
        let again = hall.comes("hr", opened.trip.expose(), &query).await.unwrap_err();
        assert!(matches!(again, Error::Connect(ConnectError::State)));
    }
    hall.confirms(id).await.unwrap();
    assert!(hall.comes("hr", opened.trip.expose(), &query).await.is_err());
    assert_eq!((hall.exchanges(), hall.rows().await.connections.len()), (1, 1));
    // Two at once: one of them counts.
    let opened = hall.goes("hr", "Acme").await;
    let query = Hall::let_in(&opened);
    let (one, other) = tokio::join!(
        hall.comes("hr", opened.trip.expose(), &query),
        hall.comes("hr", opened.trip.expose(), &query)
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert_eq!(hall.exchanges(), 2);
    // One that says no counts as well.
    let opened = hall.goes("hr", "Acme").await;
    let no = format!("error=access_denied&state={}", query_of(&opened.url)["state"]);
    assert!(hall.comes("hr", opened.trip.expose(), &no).await.is_err());
    hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await.unwrap_err();
    assert_eq!(hall.exchanges(), 2);
}

/// O3: after ten minutes nothing is believed, opened or confirmed, and what was given is destroyed.
#[tokio::test]
async fn o3_what_is_late_is_refused_and_destroyed() {
    let hall = Hall::open().await;
    let opened = hall.goes("hr", "Acme").await;
    let returned = hall.goes("hr", "Acme").await;
    let id = hall.comes("hr", returned.trip.expose(), &Hall::let_in(&returned)).await.unwrap();
    let text = show(&hall.instance, &hall.ctx("local"), id).await.unwrap().consented.unwrap();
    let waiting = hall.begins(Hall::fresh("hr", "Acme")).await.unwrap();
    hall.later(SESSION_LIFE);
    let came = hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await.unwrap_err();
    assert!(matches!(came, Error::Connect(ConnectError::State)));
    let ctx = hall.ctx("local");
    assert!(open(&hall.instance, &ctx, Opening::Own(waiting.id)).await.is_err());
    assert!(open(&hall.instance, &ctx, Opening::Token(waiting.token.expose())).await.is_err());
    assert!(confirm(&hall.instance, &ctx, id, &text.digest).await.is_err());
    assert_eq!(hall.exchanges(), 1);
    // Whoever begins next sweeps, as a server does by the clock.
    hall.begins(Hall::fresh("hr", "Acme")).await.unwrap();
    hall.nothing_is_left().await;
    let shown = show(&hall.instance, &hall.ctx("local"), id).await.unwrap();
    assert!(shown.is_expired && shown.consented.is_none());
    hall.later(FORGOTTEN_AFTER + SESSION_LIFE);
    hall.begins(Hall::fresh("hr", "Acme")).await.unwrap();
    assert_eq!(hall.rows().await.connects.sessions.len(), 1);
}

/// A session is opened once, by its token or by whoever began it, and by nobody else.
#[tokio::test]
async fn a_session_is_opened_once() {
    let hall = Hall::open().await;
    let ctx = hall.ctx("local");
    let begun = hall.begins(Hall::fresh("hr", "Acme")).await.unwrap();
    let other = open(&hall.instance, &hall.ctx("other"), Opening::Own(begun.id)).await;
    assert!(matches!(other, Err(Error::Connect(ConnectError::Unknown))));
    for token in ["", "wgl_", &begun.id.to_string(), &begun.token.expose().to_uppercase()] {
        assert!(open(&hall.instance, &ctx, Opening::Token(token)).await.is_err(), "{token}");
    }
    open(&hall.instance, &ctx, Opening::Token(begun.token.expose())).await.unwrap();
    assert!(open(&hall.instance, &ctx, Opening::Token(begun.token.expose())).await.is_err());
    assert!(open(&hall.instance, &ctx, Opening::Own(begun.id)).await.is_err());
}

/// O4: `iss` as the plan says it, and no other (RFC 9207; mix-up).
#[tokio::test]
async fn o4_an_answer_of_another_issuer_is_refused() {
    let issuer = "https://id.example.com";
    for iss in [
        None,
        Some("https://id.example.com/"),
        Some("https://ID.example.com"),
        Some("http://id.example.com"),
        Some("https://evil.example"),
        Some("https://id.example.com&iss=https://id.example.com"),
        Some(""),
    ] {
        let hall = Hall::with(json!({"issuer": issuer})).await;
        let opened = hall.goes("hr", "Acme").await;
        let mut query = Hall::let_in(&opened);
        if let Some(iss) = iss {
            query.push_str(&format!("&iss={iss}"));
        }
        let came = hall.comes("hr", opened.trip.expose(), &query).await.unwrap_err();
        assert!(matches!(came, Error::Connect(ConnectError::Issuer)), "{iss:?} {came:?}");
        assert_eq!(hall.exchanges(), 0);
        hall.nothing_is_left().await;
    }
    let hall = Hall::with(json!({"issuer": issuer})).await;
    let opened = hall.goes("hr", "Acme").await;
    let query = format!("{}&iss={issuer}", Hall::let_in(&opened));
    assert!(hall.comes("hr", opened.trip.expose(), &query).await.is_ok());
}

/// What a provider says instead of a code is told by known codes, and never repeated.
#[tokio::test]
async fn what_a_provider_says_is_told_by_known_codes() {
    let hall = Hall::open().await;
    for (said, told) in [
        ("access_denied", "access_denied"),
        ("invalid_scope", "invalid_scope"),
        ("server_error", "server_error"),
        ("%3Cscript%3Ealert(1)%3C/script%3E", "unknown"),
        ("canary_text_4f", "unknown"),
    ] {
        let opened = hall.goes("hr", "Acme").await;
        let state = &query_of(&opened.url)["state"];
        let query = format!(
            "error={said}&error_description=%3Cb%3Ecanary&error_uri=https://evil.example&state={state}"
        );
        let came = hall.comes("hr", opened.trip.expose(), &query).await.unwrap_err();
        let (text, shown) = (came.to_string(), format!("{came:?}"));
        for leaked in ["script", "canary", "evil"] {
            assert!(!text.contains(leaked) && !shown.contains(leaked), "{text} {shown}");
        }
        if told != "unknown" {
            assert!(text.contains(told), "{text}");
        }
        let rows = hall.rows().await;
        let row = rows.connects.sessions.last().unwrap();
        assert!(row.failure.as_ref().is_some_and(|code| !code.contains("canary")), "{row:?}");
        hall.nothing_is_left().await;
    }
    let opened = hall.goes("hr", "Acme").await;
    let state = &query_of(&opened.url)["state"];
    for query in [format!("state={state}"), format!("code=&state={state}")] {
        hall.comes("hr", opened.trip.expose(), &query).await.unwrap_err();
    }
    assert_eq!(hall.exchanges(), 0);
}

/// What the token endpoint answers to a code, and is no token: nothing comes of it, and the code is not
/// sent again.
#[tokio::test]
async fn an_exchange_that_fails_leaves_nothing() {
    let hall = Hall::open().await;
    for (status, said) in [
        (400, json!({"error": "invalid_grant"})),
        (401, json!({"error": "invalid_client", "error_description": "canary"})),
        (200, json!({"error": "invalid_grant"})),
        (200, json!({"refresh_token": REFRESH})),
        (200, json!({"access_token": ""})),
        (200, json!({"access_token": "a\nb"})),
        (500, json!({})),
        (503, json!({})),
        (302, json!({})),
    ] {
        hall.provider.on("/token", Said::json(status, &said).header("location", "/elsewhere"));
        let opened = hall.goes("hr", "Acme").await;
        let before = hall.provider.requests().len();
        let came = hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await;
        let error = came.expect_err(&said.to_string());
        assert!(matches!(error, Error::TokenNotObtained { .. }), "{said} {error:?}");
        assert!(!error.to_string().contains("canary"));
        // CVE class 28: no redirect is followed with a credential.
        assert_eq!(hall.provider.requests().len(), before + 1, "{said}");
        hall.nothing_is_left().await;
    }
}

/// O6, O7: no other way is reachable from what a provider's plan can say.
#[tokio::test]
async fn o7_there_is_no_implicit_and_no_password_grant() {
    let hall = Hall::open().await;
    let opened = hall.goes("hr", "Acme").await;
    assert_eq!(query_of(&opened.url)["response_type"], "code");
    // Tokens that come in the browser are none.
    let state = &query_of(&opened.url)["state"];
    let query = format!("access_token={ACCESS}&token_type=bearer&state={state}");
    assert!(hall.comes("hr", opened.trip.expose(), &query).await.is_err());
    hall.nothing_is_left().await;
    for flow in ["implicit", "password"] {
        let description = json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
            "servers": [{"url": "https://api.example.com"}],
            "components": {"securitySchemes": {"oauth": {"type": "oauth2", "flows": {flow: {
                "authorizationUrl": "https://id.example.com/a", "tokenUrl": "https://id.example.com/t",
                "scopes": {}}}}}}, "paths": {}});
        let limits = LoadLimits::default();
        let model = provider::load(description.to_string().as_bytes(), None, &limits).unwrap();
        assert!(matches!(
            chosen(&model, None),
            Err(Error::Connect(ConnectError::NoFlow { named: false }))
        ));
        assert!(chosen(&model, Some("oauth")).is_err());
    }
}

/// O8: what the provider gave lies in no row but under the customer's key, and in no URL.
#[tokio::test]
async fn o8_tokens_and_codes_lie_sealed_alone() {
    let hall = Hall::open().await;
    let opened = hall.goes("hr", "Acme").await;
    let query = Hall::let_in(&opened);
    let id = hall.comes("hr", opened.trip.expose(), &query).await.unwrap();
    let code = query_of(&format!("?{query}"))["code"].clone();
    let look = async |what: &str| {
        let rows = format!("{:?}", hall.rows().await);
        for secret in [ACCESS, REFRESH, &code, opened.trip.expose(), "s3cret"] {
            assert!(!rows.contains(secret), "{what}: {secret}");
        }
        for row in hall.rows().await.sealed {
            for secret in [ACCESS, REFRESH] {
                let has = row.sealed.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!has, "{what}");
            }
        }
    };
    look("returned").await;
    hall.confirms(id).await.unwrap();
    look("connected").await;
}

/// O13: what was given beyond the question is flagged, and what was not given is recorded.
#[tokio::test]
async fn o13_broader_and_narrower_scopes_are_flagged() {
    for (scope, broader, narrower) in [
        (json!("read admin"), vec!["admin"], vec![]),
        (json!("admin"), vec!["admin"], vec!["read"]),
        (json!(null), vec![], vec![]),
        (json!("READ"), vec!["READ"], vec!["read"]),
    ] {
        let hall = Hall::open().await;
        let mut said = given();
        said["scope"] = scope.clone();
        hall.provider.on_each("/token", move |request| tokens(request, &said));
        let opened = hall.goes("hr", "Acme").await;
        let id = hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await.unwrap();
        let shown = show(&hall.instance, &hall.ctx("local"), id).await.unwrap().consented.unwrap();
        assert_eq!(shown.broader, broader, "{scope}");
        assert_eq!(shown.narrower, narrower, "{scope}");
        let text = shown.text.join("\n");
        assert_eq!(
            text.contains("Given beyond what was asked for: "),
            !broader.is_empty(),
            "{text}"
        );
        assert_eq!(text.contains("Asked for and not given: "), !narrower.is_empty(), "{text}");
        let done = hall.confirms(id).await.unwrap();
        let kept = connections::show(&hall.instance, done.connection).await.unwrap();
        assert_eq!((kept.beyond, kept.missing), (shown.broader, shown.narrower));
    }
}

#[tokio::test]
async fn a_connection_is_connected_anew_and_keeps_its_id() {
    let hall = Hall::open().await;
    let id = hall.connected("Acme").await;
    hall.later(Duration::from_secs(1));
    let begun = hall.begins(Target::Again(id)).await.unwrap();
    let ctx = hall.ctx("local");
    let opened = open(&hall.instance, &ctx, Opening::Own(begun.id)).await.unwrap();
    let session = hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await.unwrap();
    let done = hall.confirms(session).await.unwrap();
    assert_eq!((done.connection, done.version), (id, 2));
    let consents = consents(&hall.instance, Some(id)).await.unwrap();
    let ended: Vec<_> = consents.iter().map(|one| one.ended_as.as_deref()).collect();
    assert_eq!(ended, [Some("renewed"), None]);
    assert_eq!(hall.rows().await.connections.len(), 1);
    // One that was revoked meanwhile stays revoked.
    let begun = hall.begins(Target::Again(id)).await.unwrap();
    let opened = open(&hall.instance, &ctx, Opening::Own(begun.id)).await.unwrap();
    let session = hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await.unwrap();
    connections::revoke(&hall.instance, &ctx, id).await.unwrap();
    let late = hall.confirms(session).await;
    assert!(matches!(late, Err(Error::Connect(ConnectError::ConnectionGone))), "{late:?}");
    assert!(hall.begins(Target::Again(id)).await.is_err());
}

#[tokio::test]
async fn a_consent_that_is_withdrawn_destroys_the_tokens_and_tells_the_provider() {
    let hall = Hall::open().await;
    let id = hall.connected("Acme").await;
    let ctx = hall.ctx("local");
    let told = withdraw(&hall.instance, &ctx, &hall.asker, id).await.unwrap();
    assert_eq!(told, Withdrawn::Told);
    let asked = hall.provider.last_request().unwrap();
    let form = String::from_utf8(asked.body.clone()).unwrap();
    assert_eq!(asked.path, "/revoke");
    assert!(form.contains(&format!("token={REFRESH}")), "{form}");
    assert!(form.contains("token_type_hint=refresh_token"));
    assert!(asked.header("authorization").is_some_and(|value| value.starts_with("Basic ")));
    let shown = connections::show(&hall.instance, id).await.unwrap();
    assert_eq!((shown.state.as_str(), shown.version), ("consent_ended", 2));
    let consents = consents(&hall.instance, Some(id)).await.unwrap();
    assert_eq!(consents[0].ended_as.as_deref(), Some("withdrawn"));
    let again = withdraw(&hall.instance, &ctx, &hall.asker, id).await;
    assert!(matches!(again, Err(Error::Connect(ConnectError::NoConsent))));
    assert!(renewal(&hall.instance, id).await.is_err());
    // It is withdrawn here whatever the provider says.
    hall.provider.on("/revoke", Said::status(503));
    let id = hall.connected("Globex").await;
    let told = withdraw(&hall.instance, &ctx, &hall.asker, id).await.unwrap();
    assert_eq!(told, Withdrawn::Failed);
    let shown = connections::show(&hall.instance, id).await.unwrap();
    assert_eq!(shown.state.as_str(), "consent_ended");
}

#[tokio::test]
async fn a_session_that_is_given_up_gives_the_tokens_back() {
    let hall = Hall::open().await;
    let opened = hall.goes("hr", "Acme").await;
    let id = hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await.unwrap();
    assert!(cancel(&hall.instance, &hall.ctx("other"), Some(&hall.asker), id).await.is_err());
    cancel(&hall.instance, &hall.ctx("local"), Some(&hall.asker), id).await.unwrap();
    assert_eq!(hall.provider.last_request().unwrap().path, "/revoke");
    hall.nothing_is_left().await;
    assert!(hall.confirms(id).await.is_err());
    assert!(cancel(&hall.instance, &hall.ctx("local"), None, id).await.is_err());
}

#[tokio::test]
async fn a_request_that_is_repeated_gives_the_session_of_then() {
    let hall = Hall::open().await;
    let asks = async |key: &str, customer: &str, who: &str| {
        let target = Hall::fresh("hr", customer);
        let asked = Begin { target, base: BASE, idempotency_key: Some(key) };
        begin(&hall.instance, &hall.ctx(who), asked).await
    };
    let one = asks("k-1", "Acme", "local").await.unwrap();
    let again = asks("k-1", "Acme", "local").await.unwrap();
    assert_eq!((one.id, one.token.expose()), (again.id, again.token.expose()));
    assert_ne!(asks("k-2", "Acme", "local").await.unwrap().id, one.id);
    // Somebody else's key is another.
    assert_ne!(asks("k-1", "Acme", "other").await.unwrap().id, one.id);
    let other = asks("k-1", "Globex", "local").await;
    assert!(matches!(other, Err(Error::Connect(ConnectError::KeyReused))), "{other:?}");
    for key in ["", "a b", "a\n", "é", &"k".repeat(256)] {
        let malformed = asks(key, "Acme", "local").await;
        assert!(matches!(malformed, Err(Error::Connect(ConnectError::KeyMalformed))), "{key}");
    }
}

#[tokio::test]
async fn what_cannot_be_connected_is_said_before_anybody_is_sent_anywhere() {
    let hall = Hall::open().await;
    apps::remove(&hall.instance, &hall.ctx("local"), &"hr".parse().unwrap()).await.unwrap();
    let unregistered = hall.begins(Hall::fresh("hr", "Acme")).await;
    assert!(matches!(unregistered, Err(Error::Connect(ConnectError::NoClientId))));
    for customer in ["", " a", "a\n"] {
        assert!(hall.begins(Hall::fresh("other", customer)).await.is_err());
    }
    assert!(hall.begins(Hall::fresh("none", "Acme")).await.is_err());
    assert!(hall.begins(Target::Again(Id::from_u128(1))).await.is_err());
    assert!(hall.rows().await.connects.sessions.is_empty());
}

/// A session that somebody wrote into the database leads to nothing.
#[tokio::test]
async fn a_session_that_somebody_else_wrote_is_none() {
    let hall = Hall::open().await;
    let opened = hall.goes("hr", "Acme").await;
    let rows = hall.rows().await;
    let forged =
        ConnectSessionRow { begun_by: "local:7".into(), ..rows.connects.sessions[0].clone() };
    let mut tx = hall.instance.store.begin(&hall.ctx("local")).await.unwrap();
    tx.put_connect_session(&ConnectSessionRow {
        id: Id::from_u128(9),
        token: [9; 32],
        trip: None,
        ..forged
    })
    .await
    .unwrap();
    tx.append_outbox([7; 16], b"as if").await.unwrap();
    tx.commit().await.unwrap();
    let came = hall.comes("hr", opened.trip.expose(), &Hall::let_in(&opened)).await;
    assert!(matches!(came, Err(Error::RowTampered { .. })), "{came:?}");
    assert_eq!(hall.exchanges(), 0);
}

#[tokio::test]
async fn a_customer_who_consented_can_be_erased_whole() {
    let hall = Hall::open().await;
    hall.connected("Acme").await;
    hall.connected("Other").await;
    let erased = customers::erase(&hall.instance, &hall.ctx("local"), "Acme").await.unwrap();
    assert_eq!(erased.destroyed.connections, 1);
    let rows = hall.rows().await;
    assert_eq!((rows.connections.len(), rows.connects.consents.len()), (1, 1));
}

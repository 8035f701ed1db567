//! Ways to an identity provider that goes by the installation's clock: what leads in, and when.

use super::{
    sso::{self, Back, Begun, Errand, Return, Settings, ShownAt, TRIP_LIFE, Web},
    tests::{Office, refused},
};
use crate::error::Error;
use identity::oidc::OidcError;
use outbound::{FixedResolver, Resolve, ResolveError, TlsConfig};
use serde_json::json;
use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use testkit::{Answer, FaultyProvider, IdentityProvider, oidc};
use types::{OpContext, SecretBytes, Slug, Timestamp};

const CONSOLE: &str = "https://gate.example.com";

/// An installation that people come into by identity providers.
struct Hall {
    office: Office,
    web: Web,
}

/// Somebody who was at a provider and is on the way back.
struct Traveller {
    begun: Begun,
    name: Slug,
    query: String,
}

impl Hall {
    async fn open() -> Self {
        let office = Office::open().await;
        office.administrator().await;
        let tls = Arc::new(TlsConfig::new(None).unwrap());
        Self { office, web: Web::new(Arc::new(FixedResolver::default()), tls) }
    }

    fn seconds(&self) -> i64 {
        self.office.ctx().now.as_micros() / 1_000_000
    }

    fn provider(&self) -> IdentityProvider {
        IdentityProvider::start(self.seconds()).unwrap()
    }

    async fn add(&self, name: &str, issuer: &str) -> Result<(), Error> {
        let secret = SecretBytes::new(oidc::CLIENT_SECRET.as_bytes().to_vec());
        let settings = settings(issuer);
        let (instance, ctx) = (&self.office.instance, self.office.ctx());
        sso::add(instance, &ctx, &self.web, &slug(name), &settings, secret).await.map(drop)
    }

    /// There, and let in by the provider.
    async fn goes_to(&self, name: &str, idp: &IdentityProvider) -> Traveller {
        let name = slug(name);
        let begun = sso::begin(&self.office.instance, &self.web, CONSOLE, &name, Errand::SignIn);
        let begun = begun.await.unwrap();
        idp.set_time(self.seconds());
        let back = idp.pass(&begun.url);
        let (place, query) = back.split_once('?').unwrap();
        assert_eq!(place, sso::redirect_uri(CONSOLE, &name));
        Traveller { begun, name, query: query.to_owned() }
    }

    async fn comes_back(&self, traveller: &Traveller) -> Result<Back, Error> {
        self.comes_back_to(&traveller.name, traveller, &traveller.query, None).await
    }

    async fn comes_back_to(
        &self,
        name: &Slug,
        traveller: &Traveller,
        query: &str,
        source: Option<IpAddr>,
    ) -> Result<Back, Error> {
        let trip = traveller.begun.trip.expose();
        let back = Return { console_url: CONSOLE, name, trip, query };
        sso::end(&self.office.instance, &self.office.ctx(), &self.web, source, back).await
    }

    /// People, identities and sessions.
    async fn numbers(&self) -> (usize, usize, usize) {
        let people = super::now(&self.office.instance).await.unwrap();
        let sessions = super::sessions::list(&self.office.instance, None).await.unwrap();
        (people.users.len(), people.identities.len(), sessions.len())
    }

    /// What is of no use because it is another's, late, or used: nothing was asked, nothing was made.
    async fn is_strange(&self, came: Result<Back, Error>, before: (usize, usize, usize)) {
        let error = refused(came);
        assert!(matches!(error, Error::Sso(OidcError::State)), "{error}");
        assert_eq!(self.numbers().await, before);
    }
}

fn slug(name: &str) -> Slug {
    name.parse().unwrap()
}

fn settings(issuer: &str) -> Settings {
    Settings {
        issuer: issuer.to_owned(),
        client_id: oidc::CLIENT_ID.to_owned(),
        scopes: vec!["email".to_owned()],
        groups_claim: "groups".to_owned(),
        roles: [("staff".to_owned(), vec!["auditor".to_owned()])].into(),
        second_factor: ShownAt::Provider { amr: vec!["mfa".to_owned()], acr: vec![] },
    }
}

#[tokio::test]
async fn an_answer_counts_once_though_its_provider_takes_a_code_twice() {
    let hall = Hall::open().await;
    let idp = hall.provider();
    idp.take_codes_again();
    hall.add("corp", idp.issuer()).await.unwrap();
    let grace = hall.goes_to("corp", &idp).await;
    assert!(matches!(hall.comes_back(&grace).await.unwrap(), Back::In(_)));
    let before = hall.numbers().await;
    assert_eq!((before.0, before.1), (2, 1), "somebody came for the first time");
    let asked = idp.server().requests().len();
    for _ in 0..3 {
        hall.is_strange(hall.comes_back(&grace).await, before).await;
    }
    hall.office.wait(Duration::from_mins(9));
    hall.is_strange(hall.comes_back(&grace).await, before).await;
    assert_eq!(idp.server().requests().len(), asked, "the provider is not asked again");

    // What was refused is used up as well: one that had no factor, and one without a code.
    idp.say(&json!({"amr": ["pwd"]}));
    let grace = hall.goes_to("corp", &idp).await;
    let error = refused(hall.comes_back(&grace).await);
    assert!(matches!(error, Error::Sso(OidcError::NoSecondFactor)), "{error}");
    idp.say(&json!({"amr": ["mfa"]}));
    hall.is_strange(hall.comes_back(&grace).await, before).await;
    let grace = hall.goes_to("corp", &idp).await;
    let denied = grace.query.replacen("code=", "error=", 1);
    let error = refused(hall.comes_back_to(&grace.name, &grace, &denied, None).await);
    assert!(matches!(error, Error::Sso(OidcError::Denied(_))), "{error}");
    hall.is_strange(hall.comes_back(&grace).await, before).await;

    // Of two at once, one comes in.
    let grace = hall.goes_to("corp", &idp).await;
    let (one, two) = tokio::join!(hall.comes_back(&grace), hall.comes_back(&grace));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(hall.numbers().await, (before.0, before.1, before.2 + 1));
    // Another sign-in is another answer.
    let grace = hall.goes_to("corp", &idp).await;
    assert!(hall.comes_back(&grace).await.is_ok());
}

/// Between two providers: whoever began at one is not taken in by what comes back as another's.
#[tokio::test]
async fn an_answer_is_not_taken_for_another_providers() {
    let hall = Hall::open().await;
    let (corp, evil) = (hall.provider(), hall.provider());
    hall.add("corp", corp.issuer()).await.unwrap();
    hall.add("evil", evil.issuer()).await.unwrap();
    let before = hall.numbers().await;
    let there = slug("evil");
    for with_issuer in [true, false] {
        // The codes of both, at the place of the one that was not asked.
        let grace = hall.goes_to("corp", &corp).await;
        let other = hall.goes_to("evil", &evil).await;
        let state = part(&grace.query, "state");
        for code in [part(&grace.query, "code"), part(&other.query, "code")] {
            for issuer in [corp.issuer(), evil.issuer()] {
                let mut query = format!("code={code}&state={state}");
                if with_issuer {
                    query.push_str(&format!("&iss={issuer}"));
                }
                let came = hall.comes_back_to(&there, &grace, &query, None).await;
                hall.is_strange(came, before).await;
            }
        }
        // With the other's state it is what another browser began.
        let came = hall.comes_back_to(&there, &grace, &other.query, None).await;
        hall.is_strange(came, before).await;
    }
    // At its own place, with what the other gave.
    let grace = hall.goes_to("corp", &corp).await;
    let named = grace.query.replace(&part(&grace.query, "iss"), &spelled(evil.issuer()));
    let error = refused(hall.comes_back_to(&grace.name, &grace, &named, None).await);
    assert!(matches!(error, Error::Sso(OidcError::CallbackIssuer)), "{error}");
    assert_eq!((corp.exchanges(), evil.exchanges()), (0, 0), "no code goes to anybody");
    assert_eq!(hall.numbers().await, before);
    let grace = hall.goes_to("corp", &corp).await;
    assert!(hall.comes_back(&grace).await.is_ok());
    assert_eq!((corp.exchanges(), evil.exchanges()), (1, 0));
}

#[tokio::test]
async fn an_answer_counts_for_ten_minutes() {
    let hall = Hall::open().await;
    let idp = hall.provider();
    hall.add("corp", idp.issuer()).await.unwrap();
    let moment = Duration::from_micros(1);
    for late in [moment, Duration::from_hours(1), Duration::from_hours(25)] {
        let grace = hall.goes_to("corp", &idp).await;
        hall.office.wait(TRIP_LIFE + late);
        idp.set_time(hall.seconds());
        let before = hall.numbers().await;
        hall.is_strange(hall.comes_back(&grace).await, before).await;
    }
    // By a clock that was set back, an answer comes before it was asked for.
    let grace = hall.goes_to("corp", &idp).await;
    let before = hall.numbers().await;
    for early in [moment, Duration::from_hours(1)] {
        let now = hall.office.ctx().now.as_micros() - i64::try_from(early.as_micros()).unwrap();
        let ctx = OpContext { now: Timestamp::from_micros(now), ..hall.office.ctx() };
        let (trip, query) = (grace.begun.trip.expose(), grace.query.as_str());
        let back = Return { console_url: CONSOLE, name: &grace.name, trip, query };
        let came = sso::end(&hall.office.instance, &ctx, &hall.web, None, back).await;
        hall.is_strange(came, before).await;
    }
    assert_eq!(idp.exchanges(), 0);
    // To the moment.
    hall.office.wait(TRIP_LIFE);
    idp.set_time(hall.seconds());
    assert!(matches!(hall.comes_back(&grace).await, Ok(Back::In(_))));
}

/// What comes back makes us ask the provider: how often, is counted by where it comes from.
#[tokio::test]
async fn answers_are_slowed_by_the_place_they_come_from() {
    let hall = Hall::open().await;
    let idp = hall.provider();
    hall.add("corp", idp.issuer()).await.unwrap();
    let (here, elsewhere) = (IpAddr::from([192, 0, 2, 7]), IpAddr::from([192, 0, 2, 8]));
    let came = async |query: fn(&str) -> String, from: IpAddr| {
        let somebody = hall.goes_to("corp", &idp).await;
        let query = query(&somebody.query);
        hall.comes_back_to(&somebody.name, &somebody, &query, Some(from)).await
    };
    let with_a_wrong_code = |query: &str| query.replacen("code=", "code=x", 1);
    let as_it_is = |query: &str| query.to_owned();
    // Whoever comes in is no failure of the place.
    for _ in 0..25 {
        assert!(came(as_it_is, here).await.is_ok());
    }
    // What has no state that fits is neither counted nor asked about.
    for _ in 0..25 {
        let strange = came(|_| "code=c&state=s".to_owned(), here).await;
        assert!(matches!(strange, Err(Error::Sso(OidcError::State))));
    }
    for _ in 0..20 {
        let refused = came(with_a_wrong_code, here).await;
        assert!(matches!(refused, Err(Error::Sso(OidcError::CodeRefused(_)))), "{refused:?}");
    }
    let asked = idp.server().requests().len();
    for query in [with_a_wrong_code, as_it_is] {
        let slowed = came(query, here).await;
        assert!(matches!(slowed, Err(Error::SignInSlowed { .. })), "{slowed:?}");
    }
    assert_eq!(idp.server().requests().len(), asked, "the provider is not asked");
    assert!(came(as_it_is, elsewhere).await.is_ok());
    hall.office.wait(Duration::from_secs(1));
    assert!(came(as_it_is, here).await.is_ok());
    // One came in, and took back what was counted of it: the next waits no longer than this one did.
    hall.office.wait(Duration::from_secs(1));
    assert!(came(as_it_is, here).await.is_ok());
}

/// One address for all names, which may become another.
#[derive(Debug)]
struct Names(Mutex<IpAddr>);

impl Resolve for Names {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(vec![*self.0.lock().unwrap()])))
    }
}

/// What metadata names on other hosts is judged when it is used, whatever it was before.
#[tokio::test]
async fn a_place_that_moves_inside_is_given_no_code() {
    let mut hall = Hall::open().await;
    let names = Arc::new(Names(Mutex::new([93, 184, 216, 34].into())));
    let tls = Arc::new(TlsConfig::new(None).unwrap());
    hall.web = Web::new(Arc::clone(&names) as _, tls);
    let (idp, inside) = (hall.provider(), FaultyProvider::start_tls().unwrap());
    let mut said = idp.metadata();
    said["token_endpoint"] = json!(format!("https://id.example:{}/token", inside.addr().port()));
    idp.server().on(oidc::METADATA, Answer::json(200, &said));
    hall.add("corp", idp.issuer()).await.unwrap();
    let before = hall.numbers().await;
    for address in [IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap(), [10, 0, 0, 1].into()] {
        let grace = hall.goes_to("corp", &idp).await;
        *names.0.lock().unwrap() = address;
        let error = refused(hall.comes_back(&grace).await);
        assert_eq!(why(&error), "provider_address_refused", "{address}");
    }
    // Its keys, as they are read again.
    said["jwks_uri"] = said["token_endpoint"].clone();
    said["token_endpoint"] = idp.metadata()["token_endpoint"].clone();
    idp.server().on(oidc::METADATA, Answer::json(200, &said));
    hall.office.wait(Duration::from_mins(11));
    let name = slug("corp");
    let begun = sso::begin(&hall.office.instance, &hall.web, CONSOLE, &name, Errand::SignIn).await;
    assert_eq!(why(&refused(begun)), "provider_address_refused");
    assert_eq!((inside.connections(), idp.exchanges()), (0, 0));
    assert_eq!(hall.numbers().await.1, before.1);
}

/// Another port of the issuer's own host is another place, and must be public.
#[tokio::test]
async fn only_the_issuers_own_place_may_be_inside() {
    let hall = Hall::open().await;
    let (idp, inside) = (hall.provider(), FaultyProvider::start().unwrap());
    for named in ["jwks_uri", "token_endpoint"] {
        for place in [inside.url().to_owned(), inside.url().replace("http:", "https:")] {
            let mut said = idp.metadata();
            said[named] = json!(format!("{place}/x"));
            idp.server().on(oidc::METADATA, Answer::json(200, &said));
            let added = refused(hall.add("corp", idp.issuer()).await);
            assert!(why(&added).contains("a URL of its metadata"), "{named} {place}: {added}");
        }
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn nobody_is_followed_to_another_place() {
    let hall = Hall::open().await;
    let (idp, inside) = (hall.provider(), FaultyProvider::start().unwrap());
    for place in [oidc::METADATA, oidc::KEYS] {
        let right = if place == oidc::METADATA { idp.metadata() } else { idp.keys() };
        inside.on(place, Answer::json(200, &right));
        for status in [301, 302, 303, 307, 308] {
            let there = format!("{}{place}", inside.url());
            idp.server().on(place, Answer::redirect(status, &there));
            let added = refused(hall.add("corp", idp.issuer()).await);
            assert_eq!(why(&added), format!("it answered with status {status}"), "{place}");
        }
        idp.server().on(place, Answer::json(200, &right));
    }
    hall.add("corp", idp.issuer()).await.unwrap();
    let before = hall.numbers().await;
    for status in [301, 302, 303, 307, 308] {
        let there = format!("{}/token", inside.url());
        idp.server().on(oidc::TOKEN, Answer::redirect(status, &there));
        let grace = hall.goes_to("corp", &idp).await;
        let error = refused(hall.comes_back(&grace).await);
        assert!(matches!(error, Error::Sso(OidcError::CodeRefused(_))), "{status}: {error}");
    }
    assert_eq!(idp.exchanges(), 5);
    assert_eq!(inside.connections(), 0, "the secret and the code go nowhere else");
    assert_eq!(hall.numbers().await, before);
}

fn why(error: &Error) -> &str {
    match error {
        Error::IdentityProviderUnreachable { why } => why,
        other => panic!("{other}"),
    }
}

fn part(query: &str, name: &str) -> String {
    let parts = query.split('&').filter_map(|pair| pair.split_once('='));
    parts.into_iter().find(|(given, _)| *given == name).unwrap().1.to_owned()
}

/// As it stands in a query.
fn spelled(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

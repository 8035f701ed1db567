//! Ways to an identity provider that goes by the installation's clock: what leads in, and when.

use super::{
    sso::{self, Back, Begun, Errand, Return, Settings, ShownAt, Web},
    tests::{Office, refused},
};
use crate::error::Error;
use identity::oidc::OidcError;
use outbound::{FixedResolver, TlsConfig};
use serde_json::json;
use std::{net::IpAddr, sync::Arc, time::Duration};
use testkit::{IdentityProvider, oidc};
use types::{SecretBytes, Slug};

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

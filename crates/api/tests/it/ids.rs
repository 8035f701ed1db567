//! Every route that takes an id, as everybody, with one's own and with all that are none.

use crate::{
    browser::{Answer, Browser, House, PASSWORD, Person, between},
    calls::Book,
    grants,
};
use api::{API_ROUTES, ROUTES};
use app::{
    clients, connections,
    people::{factors, sessions, tokens, users},
    proposals, reviews, saved_views,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use types::{Environment, Id, SecretBytes, SystemRandom, User};

/// What an id is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Asset,
    Link,
    IdentityProvider,
    Identity,
    Factor,
    Session,
    Token,
    Call,
    Entry,
    View,
    Key,
    Grant,
    Proposal,
    Review,
    User,
    ConnectSession,
    Connection,
    Provider,
    Client,
}

/// What becomes of a request: a status with nothing changed, or one with something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// There is no such id of this kind.
    No,
    Is(u16),
    Does(u16),
}

use Becomes::{Does, Is, No};

/// One's own (or anybody's, where there is no owner), somebody else's, one that has ended, a guess in
/// the right form, one of another kind, and a text that is no id.
const COLUMNS: [&str; 6] = ["own", "other", "ended", "guess", "kind", "text"];

type Row = (&'static str, &'static str, Kind, &'static [&'static str], [Becomes; 6]);

/// Each with a role of that name; `nothing` had one.
const PEOPLE: &[&str] =
    &["nothing", "read-only", "integrator", "auditor", "security", "administrator"];
const ANYBODY: &[&str] =
    &["nobody", "nothing", "read-only", "integrator", "auditor", "security", "administrator"];
const READERS: &[&str] = &["read-only", "integrator", "auditor", "security", "administrator"];
const ENDERS: &[&str] = &["integrator", "security", "administrator"];
const OF_THE_LOG: &[&str] = &["auditor", "security", "administrator"];
const GUARDS: &[&str] = &["security", "administrator"];
const CONNECTERS: &[&str] = &["integrator", "administrator"];
const OTHERS: &[&str] = &["read-only", "integrator", "auditor"];

/// Who is not in a row's list is refused, whatever the id.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("GET", "/assets/{name}", Kind::Asset, ANYBODY, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/setup/{token}", Kind::Link, ANYBODY, [Is(200), No, Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/setup/{token}", Kind::Link, ANYBODY, [Is(422), No, Is(404), Is(404), Is(404), Is(404)]),
    ("GET", "/invite/{token}", Kind::Link, ANYBODY, [Is(200), No, Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/invite/{token}", Kind::Link, ANYBODY, [Is(422), No, Is(404), Is(404), Is(404), Is(404)]),
    ("GET", "/sso/{name}", Kind::IdentityProvider, ANYBODY, [No, No, No, Is(404), Is(404), Is(404)]),
    // Nobody began it: of the provider nothing is said.
    ("GET", "/sso/{name}/callback", Kind::IdentityProvider, ANYBODY, [No, No, No, Is(403), Is(404), Is(404)]),
    ("GET", "/sso/{name}/step-up", Kind::IdentityProvider, PEOPLE, [No, No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/sso/{name}/link", Kind::IdentityProvider, PEOPLE, [No, No, No, Is(404), Is(404), Is(404)]),
    ("POST", "/account/identities/{id}/unlink", Kind::Identity, PEOPLE, [No, No, No, Is(404), Is(404), Is(404)]),
    ("POST", "/account/factors/{id}/remove", Kind::Factor, PEOPLE, [Does(303), Is(404), Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/account/sessions/{id}/end", Kind::Session, PEOPLE, [Does(303), Is(404), Is(404), Is(404), Is(404), Is(404)]),
    // Ending twice is no error.
    ("POST", "/account/tokens/{id}/revoke", Kind::Token, PEOPLE, [Does(303), Is(404), Is(303), Is(404), Is(404), Is(404)]),
    ("GET", "/calls/{id}", Kind::Call, OF_THE_LOG, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/audit/entries/{id}", Kind::Entry, OF_THE_LOG, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/audit/views/{id}", Kind::View, OF_THE_LOG, [Is(303), Is(404), Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/audit/views/{id}/remove", Kind::View, OF_THE_LOG, [Does(303), Is(404), Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/keys/{id}/rotate", Kind::Key, &["integrator"], [Does(200), No, Is(403), Is(404), Is(404), Is(404)]),
    ("POST", "/keys/{id}/revoke", Kind::Key, ENDERS, [Does(303), No, Is(303), Is(404), Is(404), Is(404)]),
    ("GET", "/grants/{id}", Kind::Grant, READERS, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    ("POST", "/grants/{id}/effect", Kind::Grant, READERS, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    // Without what was shown of its effect nothing is saved.
    ("POST", "/grants/{id}/save", Kind::Grant, &["security"], [Is(409), No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/grants/proposals/{id}", Kind::Proposal, READERS, [No, Is(200), Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/grants/proposals/{id}/reject", Kind::Proposal, &["security"], [Does(303), Does(303), Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/grants/proposals/{id}/withdraw", Kind::Proposal, &["security"], [Does(303), Is(404), Is(404), Is(404), Is(404), Is(404)]),
    // Last of them: what it opens can be proposed no more.
    ("POST", "/grants/proposals/{id}/approve", Kind::Proposal, &["security"], [Is(403), Does(303), Is(404), Is(404), Is(404), Is(404)]),
    ("GET", "/reviews/{id}", Kind::Review, OF_THE_LOG, [Is(200), No, Is(404), Is(404), Is(404), Is(404)]),
    ("GET", "/reviews/{id}/evidence", Kind::Review, OF_THE_LOG, [Is(200), No, Is(404), Is(404), Is(404), Is(404)]),
    // A form that decides nothing, and a review with open items.
    ("POST", "/reviews/{id}/decide", Kind::Review, GUARDS, [Is(303), No, Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/reviews/{id}/close", Kind::Review, GUARDS, [Is(403), No, Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/users/{id}/link", Kind::User, &["administrator"], [Does(200), No, No, Is(404), Is(404), Is(404)]),
    ("POST", "/users/{id}/disable", Kind::User, GUARDS, [Does(303), No, Is(303), Is(404), Is(404), Is(404)]),
    ("POST", "/users/{id}/enable", Kind::User, GUARDS, [Is(303), No, Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/users/{id}/remove", Kind::User, &["administrator"], [Does(303), No, Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/users/{id}/roles", Kind::User, &["administrator"], [Does(303), No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/connections/{id}", Kind::Connection, READERS, [Is(200), No, Is(200), Is(404), Is(404), Is(404)]),
    // Of these there are none that were begun by consent.
    ("POST", "/connections/{id}/reconnect", Kind::Connection, CONNECTERS, [Is(422), No, Is(422), Is(404), Is(404), Is(404)]),
    ("POST", "/connections/{id}/consent/renew", Kind::Connection, CONNECTERS, [Is(404), No, Is(404), Is(404), Is(404), Is(404)]),
    ("POST", "/connections/{id}/consent/withdraw", Kind::Connection, ENDERS, [Is(404), No, Is(404), Is(404), Is(404), Is(404)]),
    ("GET", "/connections/connect/{id}", Kind::ConnectSession, CONNECTERS, [No, No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/connections/connect/{id}/go", Kind::ConnectSession, CONNECTERS, [No, No, No, Is(404), Is(404), Is(404)]),
    ("POST", "/connections/connect/{id}/confirm", Kind::ConnectSession, CONNECTERS, [No, No, No, Is(404), Is(404), Is(404)]),
    ("POST", "/connections/connect/{id}/cancel", Kind::ConnectSession, CONNECTERS, [No, No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/connect/{name}/callback", Kind::Provider, ANYBODY, [Is(404), No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/v1/connect-sessions/{id}", Kind::ConnectSession, CONNECTERS, [No, No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/v1/providers/{name}", Kind::Provider, READERS, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    // What is there is replaced only by its tag; a new name makes a new one.
    ("PUT", "/v1/providers/{name}", Kind::Provider, &["integrator"], [Is(428), No, No, Does(201), Is(422), Is(422)]),
    ("POST", "/v1/providers/{name}/diff", Kind::Provider, READERS, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/v1/providers/{name}/fields/{field}", Kind::Provider, READERS, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    ("GET", "/v1/connections/{id}", Kind::Connection, READERS, [Is(200), No, Is(200), Is(404), Is(404), Is(404)]),
    ("DELETE", "/v1/connections/{id}", Kind::Connection, ENDERS, [Does(204), No, Is(204), Is(404), Is(404), Is(404)]),
    ("GET", "/v1/clients/{name}", Kind::Client, READERS, [Is(200), No, No, Is(404), Is(404), Is(404)]),
    ("PUT", "/v1/clients/{name}", Kind::Client, &["integrator"], [Is(200), No, No, Does(201), Is(422), Is(422)]),
    ("DELETE", "/v1/keys/{id}", Kind::Key, ENDERS, [Does(204), No, Is(204), Is(404), Is(404), Is(404)]),
    ("GET", "/v1/reviews/{id}", Kind::Review, OF_THE_LOG, [Is(200), No, Is(404), Is(404), Is(404), Is(404)]),
    ("GET", "/v1/users/{id}", Kind::User, OF_THE_LOG, [Is(200), No, Is(404), Is(404), Is(404), Is(404)]),
    ("GET", "/v1/users/{id}/acts", Kind::User, OF_THE_LOG, [Is(200), No, Is(404), Is(404), Is(404), Is(404)]),
    ("DELETE", "/v1/sessions/{id}", Kind::Session, GUARDS, [Does(204), Does(204), Is(404), Is(404), Is(404), Is(404)]),
    ("DELETE", "/v1/tokens/{id}", Kind::Token, OTHERS, [Does(204), Is(404), Is(204), Is(404), Is(404), Is(404)]),
    ("DELETE", "/v1/tokens/{id}", Kind::Token, GUARDS, [Does(204), Does(204), Is(204), Is(404), Is(404), Is(404)]),
];

const DESCRIPTION: &str = r#"{"openapi":"3.0.3","info":{"title":"T","version":"1"},
    "servers":[{"url":"https://api.example.com"}],"paths":{}}"#;

/// Somebody who asks, by the console and by a token.
struct Visitor {
    role: &'static str,
    address: String,
    person: Person,
    user: Id<User>,
    token: String,
}

impl Visitor {
    async fn new(house: &House, name: &'static str, roles: &[&str]) -> Self {
        let address = format!("{name}@example.com");
        let mut person = house.invited(&address, roles).await;
        let user = users::find(&house.instance, &address).await.unwrap();
        person.browser.get("/account").await;
        let fields = [("name", "report"), ("roles", roles[0]), ("days", "7")];
        let made = person.browser.post("/account/tokens", &fields).await;
        let token = between(&made.text, "<p class=\"code\">", "<").to_owned();
        Self { role: name, address, person, user, token }
    }

    async fn steps_up(&mut self, house: &House) {
        self.person.browser.get("/step-up").await;
        let code = house.code(&self.person.seed);
        let done = self.person.browser.post("/step-up", &[("code", &code), ("to", "/")]).await;
        assert_eq!(done.location(), "/", "{}: {}", self.role, done.text);
    }
}

/// What there is, and what there was.
struct World {
    book: Book,
    call: String,
    style: String,
    used_link: String,
    link: String,
    removed_user: String,
    removed_review: String,
    made: u32,
}

impl World {
    fn house(&self) -> &House {
        &self.book.house
    }

    /// All of a kind that somebody has.
    async fn of(&self, kind: Kind, user: Id<User>) -> BTreeSet<String> {
        let instance = &self.house().instance;
        match kind {
            Kind::Factor => {
                let (listed, _) = factors::list(instance, user).await.unwrap();
                listed.iter().map(|one| one.id.to_string()).collect()
            }
            Kind::Session => {
                let listed = sessions::list(instance, Some(user)).await.unwrap();
                listed.iter().map(|one| one.signed_in.session.to_string()).collect()
            }
            Kind::Token => {
                let listed = tokens::list(instance, Some(user)).await.unwrap();
                listed.iter().map(|one| one.id.to_string()).collect()
            }
            Kind::View => {
                let listed = saved_views::list(instance, user).await.unwrap();
                listed.iter().map(|one| one.id.to_string()).collect()
            }
            Kind::Proposal => {
                let listed = proposals::waiting(instance).await.unwrap();
                listed.iter().map(|one| one.id.to_string()).collect()
            }
            _ => unreachable!("{kind:?} is nobody's"),
        }
    }

    /// One more of somebody's, or else of nobody's.
    async fn more(&mut self, kind: Kind, whose: &mut Visitor) -> String {
        self.made += 1;
        let name = format!("more-{}", self.made);
        let house = &self.book.house;
        let (instance, ctx) = (&house.instance, house.context());
        match kind {
            Kind::User => {
                let address = format!("{name}@example.com");
                let link = house.invite(&address, &["read-only"]).await;
                house.browser().accepts(&link, None).await;
                return users::find(instance, &address).await.unwrap().to_string();
            }
            Kind::Key => {
                let client = "payroll".parse().unwrap();
                let life = Duration::from_hours(1);
                let made = clients::create_key(instance, &ctx, &client, Environment::Test, life);
                return made.await.unwrap().id.to_string();
            }
            Kind::Connection => {
                let create = connections::Create {
                    provider: "hr".parse().unwrap(),
                    customer: name,
                    scheme: Some("bearerAuth".to_owned()),
                    secret: SecretBytes::new(br#"{"token":"t"}"#.to_vec()),
                    environment: Environment::Test,
                    variables: BTreeMap::new(),
                    headers: BTreeMap::new(),
                    source: None,
                };
                return connections::create(instance, &ctx, create).await.unwrap().id.to_string();
            }
            Kind::Provider | Kind::Client => return name,
            _ => {}
        }
        let before = self.of(kind, whose.user).await;
        let browser = &mut whose.person.browser;
        match kind {
            Kind::Factor => {
                browser.get("/account").await;
                let shown = browser.post("/account/factors/begin", &[]).await.text;
                let code = house.code(between(&shown, "Key: <span class=\"code\">", "<"));
                let fields = [("code", code.as_str()), ("name", name.as_str())];
                browser.post("/account/factors/confirm", &fields).await;
            }
            Kind::Session => {
                let mut other = house.browser();
                other.gives_password(&whose.address, PASSWORD).await;
                let code = whose.person.recovery.pop().unwrap();
                other.post("/sign-in/factor", &[("code", &code)]).await;
            }
            Kind::Token => {
                browser.get("/account").await;
                let roles = if whose.role == "olga" { "auditor" } else { whose.role };
                let fields = [("name", name.as_str()), ("roles", roles), ("days", "7")];
                browser.post("/account/tokens", &fields).await;
            }
            Kind::View => {
                browser.get("/audit").await;
                browser.post("/audit/views", &[("name", &name)]).await;
            }
            Kind::Proposal => {
                let (path, _, ticked) = grants::grant(browser).await;
                grants::save(browser, &path, &grants::with(&ticked, &["0:ssn"])).await;
            }
            _ => unreachable!("{kind:?} is made by nobody here"),
        }
        let after = self.of(kind, whose.user).await;
        after.difference(&before).next().unwrap_or_else(|| panic!("no {kind:?} more")).clone()
    }

    /// One that is there and is nobody's own.
    async fn there(&self, kind: Kind) -> String {
        let instance = &self.house().instance;
        match kind {
            Kind::Asset => self.style.clone(),
            Kind::Link => self.link.clone(),
            Kind::Call => self.call.clone(),
            Kind::Entry => "0".to_owned(),
            Kind::Key => clients::list(instance).await.unwrap()[0].keys[0].id.to_string(),
            Kind::Grant => app::grants::list(instance).await.unwrap()[0].id.to_string(),
            Kind::Review => reviews::show(instance, None).await.unwrap().id.to_string(),
            Kind::User => users::find(instance, "ada@example.com").await.unwrap().to_string(),
            Kind::Connection => self.book.connection.to_string(),
            Kind::Provider => "hr".to_owned(),
            Kind::Client => "payroll".to_owned(),
            _ => unreachable!("{kind:?} is somebody's"),
        }
    }

    fn ended(&self, kind: Kind) -> String {
        match kind {
            Kind::Link => self.used_link.clone(),
            Kind::User => self.removed_user.clone(),
            Kind::Review => self.removed_review.clone(),
            // Another one than what is there: it is only looked at.
            Kind::Connection => self.book.connection.to_string(),
            _ => guess(kind),
        }
    }
}

/// In the right form, and nothing.
fn guess(kind: Kind) -> String {
    match kind {
        Kind::Asset => "style-00000000.css".to_owned(),
        Kind::Link => identity::LinkToken::generate(&SystemRandom).unwrap().expose().to_owned(),
        Kind::IdentityProvider | Kind::Provider | Kind::Client => "nothing".to_owned(),
        Kind::Entry => "999999".to_owned(),
        Kind::Call => Id::<types::Request>::from_u128(9).to_string(),
        Kind::Identity => Id::<types::Identity>::from_u128(9).to_string(),
        Kind::Factor => Id::<types::Factor>::from_u128(9).to_string(),
        Kind::Session => Id::<types::Session>::from_u128(9).to_string(),
        Kind::Token => Id::<types::Token>::from_u128(9).to_string(),
        Kind::View => Id::<types::View>::from_u128(9).to_string(),
        Kind::Key => Id::<types::Key>::from_u128(9).to_string(),
        Kind::Grant => Id::<types::Grant>::from_u128(9).to_string(),
        Kind::Proposal => Id::<types::Proposal>::from_u128(9).to_string(),
        Kind::Review => Id::<types::Review>::from_u128(9).to_string(),
        Kind::User => Id::<User>::from_u128(9).to_string(),
        Kind::ConnectSession => Id::<types::ConnectSession>::from_u128(9).to_string(),
        Kind::Connection => Id::<types::Connection>::from_u128(9).to_string(),
    }
}

fn is_owned(kind: Kind) -> bool {
    use Kind::{Factor, Proposal, Session, Token, View};
    matches!(kind, Factor | Proposal | Session | Token | View)
}

fn concrete(path: &str, id: &str) -> String {
    let path = path.replace("{field}", "Employee.id");
    ["{id}", "{name}", "{token}"].iter().fold(path, |path, place| path.replace(place, id))
}

/// By the console's forms, or by a token.
async fn ask(
    house: &House,
    browser: &mut Browser,
    token: Option<&str>,
    (method, path): (&str, &str),
) -> Answer {
    if path.starts_with("/v1/") {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let body = json!({"description": DESCRIPTION}).to_string();
        return house.send(method, path, &headers, &body).await;
    }
    if method == "GET" {
        return browser.get(path).await;
    }
    let fields = [("roles", "auditor"), ("password", "short"), ("name", "x"), ("overlap", "0")];
    browser.post(path, &[&fields[..], &[("days", "1")]].concat()).await
}

async fn furnished() -> (World, Visitor, Vec<Visitor>) {
    let book = Book::open().await;
    let house = &book.house;
    house.administrator().await;
    let instance = &house.instance;
    let style =
        between(&house.send("GET", "/sign-in", &[], "").await.text, "/assets/", "\"").to_owned();
    let call = book.call(None).await.request.to_string();
    let mut visitors = vec![Visitor::new(house, "nothing", &["auditor"]).await];
    for role in READERS {
        visitors.push(Visitor::new(house, role, &[role]).await);
    }
    let mut olga = Visitor::new(house, "olga", &["auditor", "security"]).await;
    // A review takes the only role from somebody, and is forgotten; another is under way.
    let ctx = house.context();
    let first = reviews::begin(instance, &ctx, "first", 30).await.unwrap();
    let stranger = visitors[0].user.to_string();
    let items = reviews::show(instance, Some(first)).await.unwrap().items;
    let verdicts: Vec<(usize, reviews::Verdict)> = items
        .iter()
        .map(|item| {
            let is_strangers =
                matches!(&item.about, reviews::About::Role { user, .. } if *user == stranger);
            let verdict =
                if is_strangers { reviews::Verdict::Drop } else { reviews::Verdict::Confirm };
            (item.number, verdict)
        })
        .collect();
    reviews::decide(instance, &ctx, None, first, &verdicts).await.unwrap();
    reviews::close(instance, &ctx, None, first, reviews::Undecided::Refuse).await.unwrap();
    reviews::remove(instance, &ctx, first).await.unwrap();
    reviews::begin(instance, &ctx, "second", 30).await.unwrap();
    let used_link = house.invite("gone@example.com", &["auditor"]).await;
    house.browser().accepts(&used_link, None).await;
    let gone = users::find(instance, "gone@example.com").await.unwrap();
    users::remove(instance, &ctx, gone).await.unwrap();
    let link = house.invite("new@example.com", &["auditor"]).await;
    house.wait(Duration::from_mins(1));
    for visitor in visitors.iter_mut().chain([&mut olga]) {
        visitor.steps_up(house).await;
    }
    let last = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let world = World {
        call,
        style,
        used_link: last(&used_link),
        link: last(&link),
        removed_user: gone.to_string(),
        removed_review: first.to_string(),
        made: 0,
        book,
    };
    (world, olga, visitors)
}

#[test]
fn every_route_with_an_id_is_in_the_table() {
    let all = ROUTES
        .iter()
        .map(|(method, path, _)| (*method, *path))
        .chain(API_ROUTES.iter().map(|(method, path, _)| (*method, *path)));
    let declared: BTreeSet<_> = all.filter(|(_, path)| path.contains('{')).collect();
    let walked: BTreeSet<_> = TABLE.iter().map(|(method, path, ..)| (*method, *path)).collect();
    assert_eq!(declared, walked);
}

#[tokio::test]
async fn an_id_does_for_everybody_what_the_table_says() {
    let (mut world, mut olga, mut visitors) = furnished().await;
    let mut nobody = world.house().browser();
    nobody.get("/sign-in").await;
    // All that is wrong is told at once.
    let mut wrong = Vec::new();
    let generation = async |world: &World| world.house().instance.store.generation().await.unwrap();
    for (method, path, kind, may, becomes) in TABLE {
        let route = |id: &str| concrete(path, id);
        let others: Vec<String> = if is_owned(*kind) {
            let of_the_log = world.of(*kind, olga.user).await;
            match of_the_log.into_iter().next() {
                Some(id) => vec![id],
                None => vec![world.more(*kind, &mut olga).await],
            }
        } else if becomes[0] == No {
            vec![guess(*kind)]
        } else {
            vec![world.there(*kind).await]
        };
        // Nobody, and who may not: refused whatever the id, and nothing moves.
        let of_route = |role: &str| {
            let rows = TABLE.iter().filter(|row| (row.0, row.1) == (*method, *path));
            rows.flat_map(|row| row.3).any(|one| *one == role)
        };
        let before = generation(&world).await;
        let refused = others.iter().cloned().chain([guess(*kind), "none".to_owned()]);
        for id in refused {
            if !of_route("nobody") {
                let answer = ask(world.house(), &mut nobody, None, (method, &route(&id))).await;
                let is_refused =
                    answer.status == 401 || (answer.status, answer.location()) == (303, "/sign-in");
                if !is_refused {
                    wrong.push(format!("{method} {path} {id} as nobody: {}", answer.status));
                }
            }
            for visitor in visitors.iter_mut().filter(|one| !of_route(one.role)) {
                let (browser, token) = (&mut visitor.person.browser, Some(visitor.token.as_str()));
                let answer = ask(world.house(), browser, token, (method, &route(&id))).await;
                // A token without any role left is none.
                let is_none = visitor.role == "nothing" && path.starts_with("/v1/");
                if answer.status != if is_none { 401 } else { 403 } {
                    let role = visitor.role;
                    wrong.push(format!("{method} {path} {id} as {role}: {}", answer.status));
                }
            }
        }
        assert_eq!(generation(&world).await, before, "{method} {path}, refused");

        if may.contains(&"nobody") {
            for (column, wanted) in COLUMNS.iter().zip(becomes) {
                let Is(wanted) = *wanted else { continue };
                let id = of_nobody(&world, *kind, column).await;
                let answer = ask(world.house(), &mut nobody, None, (method, &route(&id))).await;
                if answer.status != wanted {
                    let status = answer.status;
                    wrong.push(format!("{method} {path} {column} as nobody: {status}"));
                }
            }
        }
        for visitor in visitors.iter_mut().filter(|one| may.contains(&one.role)) {
            let mut ended = None;
            for (column, wanted) in COLUMNS.iter().zip(becomes) {
                let is_made = is_owned(*kind) || matches!(wanted, Does(_));
                let id = match *column {
                    _ if *wanted == No => continue,
                    "own" if is_made => match kind {
                        // Who has no role any more makes no token.
                        Kind::Token if visitor.role == "nothing" => {
                            world.of(*kind, visitor.user).await.pop_first().unwrap()
                        }
                        _ => world.more(*kind, visitor).await,
                    },
                    "other" => world.more(*kind, &mut olga).await,
                    "ended" if ended.is_some() => ended.clone().unwrap(),
                    "guess" if is_made && !is_owned(*kind) => world.more(*kind, visitor).await,
                    column => of_nobody(&world, *kind, column).await,
                };
                let house = world.house();
                let before = generation(&world).await;
                let (browser, token) = (&mut visitor.person.browser, Some(visitor.token.as_str()));
                let answer = ask(house, browser, token, (method, &route(&id))).await;
                let moved = generation(&world).await != before;
                let is = if moved { Does(answer.status) } else { Is(answer.status) };
                if is != *wanted {
                    let role = visitor.role;
                    wrong.push(format!("{method} {path} {column} {id} as {role}: {is:?}"));
                }
                if moved {
                    ended = Some(id);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn of_nobody(world: &World, kind: Kind, column: &str) -> String {
    match column {
        "own" => world.there(kind).await,
        "ended" => world.ended(kind),
        "guess" => guess(kind),
        "kind" if kind == Kind::Connection => world.there(Kind::Key).await,
        "kind" => world.there(Kind::Connection).await,
        _ => "%27%20OR%201%3D1--%00".to_owned(),
    }
}

//! An installation with its console, and browsers that look at it.

use api::{About, Certificate, Console, Listener, Reached, Setting, Site, Vitals};
use app::{
    Custody, Init, Instance, RootKeyPlace,
    people::{
        sso::Web,
        users::{self, NewLink},
    },
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use outbound::{FixedResolver, TlsConfig};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use types::{Actor, Clock as _, Id, ManualClock, OpContext, SystemClock, SystemRandom};

pub const PASSWORD: &str = "seven herons wade upstream";
pub const ADA: &str = "ada@example.com";
pub const HERE: &str = "http://localhost:8401";
pub const STREAM: &str = "text/event-stream; charset=utf-8";
/// Scripts of ours.
const SCRIPTS: [&str; 4] = ["passkey", "calls", "home", "uplot"];

#[derive(Default)]
struct Server {
    /// As a defect would have it.
    panics: AtomicBool,
    breaches: Mutex<Vec<&'static str>>,
    contact: OnceLock<String>,
    certificate: OnceLock<Certificate>,
}

impl Vitals for Server {
    fn health(&self, path: &str) -> Option<(StatusCode, &'static str)> {
        assert!(!self.panics.load(Ordering::Relaxed), "as told");
        match path {
            "/healthz" => Some((StatusCode::OK, "ok\n")),
            _ => Some((StatusCode::SERVICE_UNAVAILABLE, "the log's disk is full\n")),
        }
    }

    fn metrics(&self) -> Bytes {
        Bytes::from_static(b"figures 1\n")
    }

    fn breach(&self, directive: &'static str) {
        self.breaches.lock().unwrap().push(directive);
    }

    fn security_contact(&self) -> Option<String> {
        self.contact.get().cloned()
    }

    fn about(&self) -> About {
        let setting = |key, value: &str, source: &str| Setting {
            key,
            value: value.to_owned(),
            source: source.to_owned(),
            is_default: source == "default",
            about: "what it does",
        };
        About {
            version: "0.0.1".to_owned(),
            settings: vec![
                setting("max_calls", "7", "environment WEIRGATE_MAX_CALLS"),
                setting("cores", "0", "default"),
            ],
            listeners: vec![Listener { name: "Gateway", url: "http://127.0.0.1:8400".to_owned() }],
            certificate: self.certificate.get().copied(),
            is_behind_proxy: false,
        }
    }
}

/// Asks nobody: no name leads anywhere.
fn web() -> Web {
    let tls = TlsConfig::new(None).unwrap();
    Web::new(Arc::new(FixedResolver(BTreeMap::new())), Arc::new(tls))
}

/// See the module.
pub struct House {
    _home: TempDir,
    pub clock: Arc<ManualClock>,
    pub instance: Arc<Instance>,
    pub site: Site,
    server: Arc<Server>,
}

impl House {
    pub async fn open() -> Self {
        Self::built(false).await
    }

    pub async fn built(is_tls: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let init = Init {
            dir: &home.path().join("data"),
            server: None,
            config: "",
            root_key: RootKeyPlace::File(&home.path().join("root.key")),
            custody: Custody::default(),
            actor: context(&clock),
            clock: Arc::clone(&clock) as _,
            random: Arc::new(SystemRandom),
        };
        let instance = Arc::new(Instance::init(init).await.unwrap().instance);
        let reached = Reached {
            url: HERE.to_owned(),
            hosts: vec!["console.example.com".to_owned(), "192.0.2.7".to_owned()],
            is_tls,
        };
        let server = Arc::new(Server::default());
        let console = Console::new(Arc::clone(&instance), Arc::clone(&server) as _, reached, web());
        Self { _home: home, clock, instance, site: Site::new(console), server }
    }

    /// From now on home panics.
    pub fn break_it(&self) {
        self.server.panics.store(true, Ordering::Relaxed);
    }

    /// Of the content security policy, that were counted since this was asked.
    pub fn breaches(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.server.breaches.lock().unwrap())
    }

    pub fn set_security_contact(&self, contact: &str) {
        self.server.contact.set(contact.to_owned()).unwrap();
    }

    /// Both ports show one that holds from now on, for so long.
    pub fn set_certificate(&self, life: Duration) {
        let begins_at = self.clock.now();
        let certificate = Certificate { begins_at, ends_at: begins_at + life };
        self.server.certificate.set(certificate).unwrap();
    }

    pub fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub fn context(&self) -> OpContext {
        context(&self.clock)
    }

    pub async fn setup_link(&self) -> NewLink {
        users::first_administrator(&self.instance, &self.context()).await.unwrap()
    }

    pub async fn invite(&self, address: &str, roles: &[&str]) -> String {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let address = identity::EmailAddress::parse(address).unwrap();
        let link = users::invite(&self.instance, &self.context(), &address, &roles).await.unwrap();
        format!("/invite/{}", link.token.expose())
    }

    pub fn browser(&self) -> Browser {
        Browser { site: self.site.clone(), cookies: BTreeMap::new(), form: String::new() }
    }

    /// The first administrator, whose code is used up; a step-up is open.
    pub async fn administrator(&self) -> Person {
        let link = self.setup_link().await;
        self.comes(&format!("/setup/{}", link.token.expose()), Some(ADA)).await
    }

    pub async fn invited(&self, address: &str, roles: &[&str]) -> Person {
        let path = self.invite(address, roles).await;
        self.comes(&path, None).await
    }

    /// By a link, up to the second factor.
    pub async fn comes(&self, path: &str, address: Option<&str>) -> Person {
        let mut browser = self.browser();
        browser.accepts(path, address).await;
        let shown = browser.post("/enrol/begin", &[]).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        let seed = between(&shown.text, "Key: <span class=\"code\">", "<").to_owned();
        let code = self.code(&seed);
        let done = browser.post("/enrol/confirm", &[("code", &code), ("name", "phone")]).await;
        assert_eq!(done.status, 200, "{}", done.text);
        let codes = done.text.split("<li class=\"code\">").skip(1);
        let recovery = codes.map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
        self.wait(Duration::from_mins(1));
        browser.get("/").await;
        Person { browser, seed, recovery }
    }

    /// What an app shows now.
    pub fn code(&self, seed: &str) -> String {
        let seconds = u64::try_from(self.clock.now().as_micros() / 1_000_000).unwrap();
        testkit::authenticator::code(seed, seconds).unwrap()
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        send(&self.site, method, path, headers, body).await
    }
}

fn context(clock: &ManualClock) -> OpContext {
    let now = clock.now();
    OpContext { actor: Actor::System, request: Id::generate(now, &SystemRandom).unwrap(), now }
}

/// Somebody with an authenticator app.
pub struct Person {
    pub browser: Browser,
    pub seed: String,
    pub recovery: Vec<String>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get("location").map_or("", |value| value.to_str().unwrap())
    }
}

pub async fn send(
    site: &Site,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:8401");
    }
    for (name, value) in headers.iter().filter(|(name, value)| *name != "host" || *value != "none")
    {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let response: Response<_> = site.answer(None, request).await;
    let (parts, body) = response.into_parts();
    // A stream does not end by itself.
    let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == STREAM);
    let bytes = if is_stream { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Answer { status: parts.status.as_u16(), headers: parts.headers, text }
}

/// Keeps cookies and sends forms as browsers do.
#[derive(Clone)]
pub struct Browser {
    site: Site,
    pub cookies: BTreeMap<String, String>,
    /// What the forms of the last page carry.
    pub form: String,
}

impl Browser {
    pub async fn get(&mut self, path: &str) -> Answer {
        let cookies = self.cookie_line();
        // The first page is typed; the others are links.
        let site = if self.cookies.is_empty() { "none" } else { "same-origin" };
        let headers = [("cookie", cookies.as_str()), ("sec-fetch-site", site)];
        let answer = send(&self.site, "GET", path, &headers, "").await;
        self.keep(&answer);
        answer
    }

    /// By the form of the last page that had one.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("form", &self.form);
        body.extend_pairs(fields);
        let cookies = self.cookie_line();
        let headers = [
            ("cookie", cookies.as_str()),
            ("origin", HERE),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = send(&self.site, "POST", path, &headers, &body.finish()).await;
        self.keep(&answer);
        // What follows a redirect is a page with forms of its own.
        if answer.status == 303 {
            let next = answer.location().to_owned();
            let cookies = self.cookie_line();
            let page = send(&self.site, "GET", &next, &[("cookie", &cookies)], "").await;
            self.keep(&page);
        }
        answer
    }

    pub fn cookie_line(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    pub fn session(&self) -> &str {
        self.cookies.get("__Host-weirgate").map_or("", String::as_str)
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            // What goes along to an identity provider must come back from another site.
            // So must what goes along to a provider that is connected.
            let goes = ["__Host-weirgate-sso=", "__Host-weirgate-connect="];
            let is_lax = goes.iter().any(|name| cookie.starts_with(name));
            let site = if is_lax { "Lax" } else { "Strict" };
            let site = format!("; SameSite={site}");
            for part in ["; Path=/", "; Secure", "; HttpOnly", &site] {
                assert!(cookie.contains(part), "{cookie}");
            }
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        // Whatever is on a page: nothing in it acts, or looks, but by our own files.
        for tag in answer.text.split('<').filter_map(|rest| rest.split('>').next()) {
            let bad = |word: &str| {
                (word.starts_with("on") && word.contains('=')) || word.starts_with("style=")
            };
            let is = |name| tag.starts_with(&format!("script src=\"/assets/{name}-"));
            let is_ours = SCRIPTS.into_iter().any(is);
            assert!(!tag.starts_with("script") || is_ours, "{tag}");
            assert!(!tag.split_whitespace().any(bad), "{tag}");
        }
        if answer.text.contains("name=\"form\"") {
            self.form = between(&answer.text, "name=\"form\" value=\"", "\"").to_owned();
        }
    }

    /// Uses a link.
    pub async fn accepts(&mut self, path: &str, address: Option<&str>) {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let mut fields = vec![("name", "Somebody"), ("password", PASSWORD)];
        fields.extend(address.map(|address| ("address", address)));
        let answer = self.post(path, &fields).await;
        assert_eq!((answer.status, answer.location()), (303, "/enrol"), "{}", answer.text);
    }

    /// A password, and nothing more.
    pub async fn gives_password(&mut self, address: &str, password: &str) -> Answer {
        self.get("/sign-in").await;
        self.post("/sign-in", &[("address", address), ("password", password)]).await
    }
}

pub fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    rest.split(to).next().unwrap()
}

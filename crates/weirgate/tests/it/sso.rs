//! Sign-in by a certified OpenID Connect provider: npm's oidc-provider.
//!
//! `WEIRGATE_TEST_OIDC` names the folder with it (`tests/oidc/oidc.sh install DIR` makes one); without it
//! these tests say that they were skipped.

use crate::{
    console::{PASSWORD, accept, enrol},
    world::{addr, binary, fails, ok, text},
};
use serde_json::{Value, json};
use std::{
    cell::RefCell, collections::BTreeMap, env, fs, net::SocketAddr,
    os::unix::fs::PermissionsExt as _, path::Path, path::PathBuf, thread, time::Duration,
};
use testkit::{Server, Weirgate, browser::Browser, client, find_canary, wait_until};

const SERVE: [&str; 6] =
    ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
pub const SECRET: &str = "canary-oidc-client-secret-5e1c";
const ADA: &str = "ada.lovelace@example.com";

/// The folder with the provider; or what is missing.
pub fn tools() -> Result<PathBuf, &'static str> {
    let folder = env::var_os("WEIRGATE_TEST_OIDC").map(PathBuf::from);
    let folder = folder.ok_or("WEIRGATE_TEST_OIDC does not name the folder with oidc-provider")?;
    if !folder.join("node_modules/oidc-provider").is_dir() {
        return Err("there is no oidc-provider in the folder that WEIRGATE_TEST_OIDC names");
    }
    Ok(folder)
}

/// A provider of this test's own.
pub struct Idp {
    pub issuer: String,
    addr: SocketAddr,
    server: Server,
    /// The runner's home must live as long as the server.
    _runner: Weirgate,
}

impl Idp {
    pub fn start(folder: &Path, redirect_uri: &str) -> Self {
        let node = env::split_paths(&env::var_os("PATH").unwrap())
            .map(|dir| dir.join("node"))
            .find(|path| path.is_file())
            .expect("node is on the path");
        let mut runner = Weirgate::binary(node).unwrap();
        runner.set("WEIRGATE_TEST_OIDC", &folder.display().to_string());
        runner.set("REDIRECT_URI", redirect_uri);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/provider.mjs");
        let mut server = runner.spawn(&[&script.display().to_string()]).unwrap();
        let issuer = server.wait_for_line(|line| line.starts_with("http://")).unwrap();
        let addr = issuer.trim_start_matches("http://").parse().unwrap();
        Self { issuer, addr, server, _runner: runner }
    }

    /// Who signs in next, and how.
    fn say(&self, said: &Value) {
        let done = client::send(self.addr, "POST", "/control", &[], said.to_string().as_bytes());
        assert_eq!(done.unwrap().status, 200);
    }

    /// Lets somebody through who was sent to this URL; where they are sent back to.
    fn pass(&self, jar: &mut BTreeMap<String, String>, url: &str) -> String {
        let mut next = url.to_owned();
        for _ in 0..12 {
            let Some(path) = next.strip_prefix(&self.issuer) else { return next };
            let pairs = jar.iter().map(|(name, value)| format!("{name}={value}"));
            let cookies = pairs.collect::<Vec<_>>().join("; ");
            let host = self.addr.to_string();
            let headers = [("Cookie", cookies.as_str()), ("Host", host.as_str())];
            let answer = client::send(self.addr, "GET", path, &headers, b"").unwrap();
            for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
                let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
                if let Some((name, value)) = pair {
                    jar.insert(name.to_owned(), value.to_owned());
                }
            }
            let location = answer.header("location").map(ToOwned::to_owned);
            let location = location.unwrap_or_else(|| panic!("{next}: {}", answer.text()));
            next = if location.starts_with('/') {
                format!("{}{location}", self.issuer)
            } else {
                location
            };
        }
        panic!("{next} leads on and on")
    }
}

/// An installation that serves, a provider, and the first administrator's browser.
struct Scene {
    weirgate: Weirgate,
    server: Server,
    console: SocketAddr,
    idp: Idp,
    /// Codes and states that came back.
    codes: RefCell<Vec<String>>,
}

impl Scene {
    fn open(more: &[&str]) -> Option<(Self, Browser)> {
        let folder = match tools() {
            Ok(folder) => folder,
            Err(missing) => {
                eprintln!("skipped: {missing}");
                return None;
            }
        };
        let weirgate = binary();
        ok(&weirgate, &["init", "--json"]);
        let (server, line) = weirgate.spawn_until_json(&SERVE).unwrap();
        let console = addr(&line, "console");
        let idp = Idp::start(&folder, &format!("http://{console}/sso/corp/callback"));
        let secret = weirgate.file("client-secret", format!("{SECRET}\n")).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let mut args = vec!["sso", "add", "corp", "--issuer", &idp.issuer];
        args.extend(["--client-id", "weirgate", "--client-secret-file", &secret]);
        args.extend(["--scope", "profile", "--scope", "email", "--scope", "groups", "--json"]);
        args.extend(["--group", "staff=auditor", "--group", "admins=administrator,security"]);
        args.extend(more);
        let added = ok(&weirgate, &args);
        assert!(text(&added, "redirect_uri").ends_with("/sso/corp/callback"));
        fs::remove_file(&secret).unwrap();
        let mut ada = Browser::new(console);
        let setup = text(&line, "setup_url");
        let setup = setup.strip_prefix(&format!("http://{console}")).unwrap();
        accept(&mut ada, setup, &[("address", ADA), ("name", "Ada"), ("password", PASSWORD)]);
        enrol(&mut ada);
        let codes = RefCell::default();
        Some((Self { weirgate, server, console, idp, codes }, ada))
    }

    /// Begins a trip and lets it through at the provider; the path that it comes back to.
    fn to_provider(&self, browser: &mut Browser, path: &str) -> String {
        let begun = browser.get(path).unwrap();
        let url = begun.header("location").unwrap_or_else(|| panic!("{}", begun.text()));
        assert!(url.starts_with(&self.idp.issuer), "{url}");
        let back = self.idp.pass(&mut BTreeMap::new(), url);
        let path = back.strip_prefix(&format!("http://{}", self.console));
        let path = path.unwrap_or_else(|| panic!("{back}")).to_owned();
        let (_, query) = path.split_once('?').unwrap();
        let values = query.split('&').filter_map(|pair| pair.split_once('='));
        let secret = values.filter(|(name, _)| matches!(*name, "code" | "state"));
        self.codes.borrow_mut().extend(secret.map(|(_, value)| value.to_owned()));
        path
    }

    /// There and back; where it leads to, or what is said.
    fn trip(&self, browser: &mut Browser, path: &str) -> (u16, String) {
        let back = self.to_provider(browser, path);
        let ended = browser.get(&back).unwrap();
        match ended.header("location") {
            Some(to) => (ended.status, to.to_owned()),
            None => (ended.status, ended.text()),
        }
    }

    fn browser(&self) -> Browser {
        Browser::new(self.console)
    }

    fn comes_in(&self) -> Browser {
        let mut browser = self.browser();
        assert_eq!(self.trip(&mut browser, "/sso/corp"), (303, "/sso-done".into()));
        browser
    }

    fn is_refused(&self, because: &str) {
        let mut browser = self.browser();
        let (status, said) = self.trip(&mut browser, "/sso/corp");
        assert!(status == 403 && said.contains(because), "{status} {said}");
        assert!(!browser.cookies.contains_key("__Host-weirgate"), "{because}");
    }

    fn people(&self) -> Value {
        ok(&self.weirgate, &["user", "list", "--json"])["users"].clone()
    }
}

#[test]
fn people_sign_in_by_a_certified_provider() {
    let Some((scene, _)) = Scene::open(&[]) else { return };
    let mut page = scene.browser();
    assert!(page.get("/sign-in").unwrap().text().contains("Sign in with corp"));

    // Somebody whose group brings a role is let in, and has an account from now on.
    let mut grace = scene.comes_in();
    assert_eq!(grace.get("/audit").unwrap().status, 200);
    grace.get("/users").unwrap();
    let led = grace.post("/users/invite", &[("address", "x@example.com"), ("roles", "auditor")]);
    assert_eq!(led.unwrap().page.status, 403, "an auditor invites nobody");
    let people = scene.people();
    assert_eq!(people.as_array().unwrap().len(), 2);
    assert_eq!(people[1]["address"], "u-1@corp.example");
    assert_eq!(people[1]["roles"], json!(["auditor"]));
    assert_eq!(people[1]["signs_in_by"], json!(["corp"]));
    // The same person is the same account.
    scene.comes_in();
    assert_eq!(scene.people().as_array().unwrap().len(), 2);

    // Being known to the provider is no factor that was shown just now.
    let wanted = [("name", "t"), ("roles", "auditor"), ("days", "1")];
    grace.get("/account").unwrap();
    let led = grace.post("/account/tokens", &wanted).unwrap();
    assert_eq!(led.to, "/step-up?to=/account");
    assert!(led.page.text().contains("Show a factor at corp"), "{}", led.page.text());
    let before = grace.cookies["__Host-weirgate"].clone();
    assert_eq!(scene.trip(&mut grace, "/sso/corp/step-up").1, "/sso-done?to=/account");
    assert_ne!(grace.cookies["__Host-weirgate"], before, "a step-up exchanges the session");
    let page = grace.get("/account").unwrap().text();
    assert!(!page.contains("Change the password"), "{page}");
    assert!(grace.post("/account/tokens", &wanted).unwrap().page.text().contains("wgp_"));

    // What the groups say today counts.
    scene.idp.say(&json!({"groups": ["admins", "staff", "others"]}));
    let mut grace = scene.comes_in();
    assert_eq!(grace.get("/users").unwrap().status, 200);
    assert_eq!(scene.people()[1]["roles"], json!(["administrator", "auditor", "security"]));
    let id = text(&scene.people()[1], "id");
    let said = fails(&scene.weirgate, 5, &["user", "roles", &id, "--role", "read-only"], b"");
    assert!(said.contains("groups at the identity provider"), "{said}");
    fails(&scene.weirgate, 5, &["user", "link", &id], b"");
    for groups in [json!([]), json!(["others"]), Value::Null] {
        scene.idp.say(&json!({"groups": groups}));
        scene.is_refused("groups brings a role");
    }
    // A stranger without a role leaves no account.
    scene.idp.say(&json!({"account": "stranger"}));
    scene.is_refused("groups brings a role");
    assert_eq!(scene.people().as_array().unwrap().len(), 2);

    // SSO is no way round the second factor.
    scene.idp.say(&json!({"account": "u-1", "groups": ["staff"], "amr": ["pwd"]}));
    scene.is_refused("second factor");
    scene.idp.say(&json!({"amr": Value::Null}));
    scene.is_refused("second factor");
    scene.idp.say(&json!({"amr": ["pwd", "otp", "mfa"], "refuses": true}));
    scene.is_refused("did not let the person in (access_denied)");
    scene.idp.say(&json!({"refuses": false}));

    // A new key of the provider is found.
    thread::sleep(Duration::from_secs(6));
    scene.idp.say(&json!({"rotate": true}));
    scene.comes_in();

    // Whoever is kept out is kept out, whatever the provider says.
    ok(&scene.weirgate, &["user", "disable", &id, "--json"]);
    assert_eq!(grace.get("/").unwrap().header("location"), Some("/sign-in"));
    scene.is_refused("not right");
    ok(&scene.weirgate, &["user", "enable", &id, "--json"]);
    let mut grace = scene.comes_in();
    let removed = ok(&scene.weirgate, &["sso", "remove", "corp", "--json"]);
    assert_eq!(removed["disabled"], 1);
    assert_eq!(grace.get("/").unwrap().header("location"), Some("/sign-in"));
    assert_eq!(grace.get("/sso/corp").unwrap().status, 404);
    assert_eq!(scene.people()[1]["state"], "disabled");

    let entries = wait_until(Duration::from_secs(10), || {
        let listed = ok(&scene.weirgate, &["audit", "list", "--json", "--limit", "200"]);
        Some(listed.to_string()).filter(|entries| entries.contains("sso.remove"))
    });
    for verb in ["sso.add", "sso.remove", "user.create", "user.roles", "user.sign_in"] {
        assert!(entries.contains(verb), "{verb}");
    }
    for personal in ["u-1", "Grace", "corp.example\"", SECRET] {
        assert!(!entries.contains(personal), "{personal}");
    }
    let Scene { weirgate, server, codes, .. } = scene;
    let output = server.terminate().unwrap();
    let logged = format!("{}{}", output.out(), output.err());
    let codes = codes.into_inner();
    assert!(codes.len() > 5, "{codes:?}");
    let needles: Vec<&str> =
        codes.iter().map(String::as_str).chain([SECRET, "u-1@corp.example"]).collect();
    let found =
        find_canary(weirgate.home(), &[("the output", logged.as_bytes())], &needles).unwrap();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(ok(&weirgate, &["audit", "verify", "--json"])["open_intents"], 0);
}

/// What comes back counts once, in the browser that began it, from the provider that was asked.
#[test]
fn an_answer_that_this_browser_did_not_ask_for_is_refused() {
    let Some((scene, _)) = Scene::open(&[]) else { return };
    let refused = |browser: &mut Browser, path: &str, because: &str| {
        let answer = browser.get(path).unwrap();
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        assert!(answer.text().contains(because), "{path}: {}", answer.text());
        assert!(!browser.cookies.contains_key("__Host-weirgate"), "{path}");
    };
    let another = "does not belong to a sign-in that this browser began";
    // Without anything that was begun, and with what another browser began (login CSRF).
    refused(&mut scene.browser(), "/sso/corp/callback?code=c&state=s", another);
    let mut mallory = scene.browser();
    let back = scene.to_provider(&mut mallory, "/sso/corp");
    refused(&mut scene.browser(), &back, another);
    let mut victim = scene.browser();
    victim.get("/sso/corp").unwrap();
    refused(&mut victim, &back, another);
    // Of two that this browser began, the later one.
    let mut browser = scene.browser();
    let first = scene.to_provider(&mut browser, "/sso/corp");
    let second = scene.to_provider(&mut browser, "/sso/corp");
    refused(&mut browser, &first, another);
    // What was refused is over: the cookie is gone.
    refused(&mut browser, &second, another);

    // A cookie whose words were changed makes another state.
    for change in [
        |trip: &str| trip.replace(".sign-in", ".link.sess_06ewk4g000e0g000000000000c"),
        |trip: &str| format!("{trip}.x"),
        |trip: &str| trip.replacen('.', "..", 1),
        |trip: &str| trip.split('.').take(2).collect::<Vec<_>>().join("."),
        |_: &str| String::new(),
        |_: &str| "x".repeat(4_000),
    ] {
        let mut browser = scene.browser();
        let back = scene.to_provider(&mut browser, "/sso/corp");
        let trip = browser.cookies["__Host-weirgate-sso"].clone();
        browser.cookies.insert("__Host-weirgate-sso".into(), change(&trip));
        refused(&mut browser, &back, another);
    }

    // The issuer that is named, the code, and their number.
    for (from, to, because) in [
        ("iss=http", "iss=https", "another issuer"),
        ("iss=", "issuer=", "another issuer"),
        ("code=", "kode=", "has no code"),
        ("code=", "code=x&code=", "has no code"),
        ("code=", "code=x", "refused the code (invalid_grant)"),
        ("state=", "state=x&state=", another),
    ] {
        let mut browser = scene.browser();
        let back = scene.to_provider(&mut browser, "/sso/corp");
        refused(&mut browser, &back.replacen(from, to, 1), because);
    }

    // Once.
    let mut browser = scene.browser();
    let back = scene.to_provider(&mut browser, "/sso/corp");
    let trip = browser.cookies["__Host-weirgate-sso"].clone();
    assert_eq!(browser.get(&back).unwrap().header("location"), Some("/sso-done"));
    assert_eq!(browser.cookies["__Host-weirgate-sso"], "", "the cookie is taken back");
    let mut thief = scene.browser();
    thief.cookies.insert("__Host-weirgate-sso".into(), trip);
    refused(&mut thief, &back, another);

    // Another name, another way, and other sites.
    let mut browser = scene.browser();
    let back = scene.to_provider(&mut browser, "/sso/corp");
    let elsewhere = browser.get(&back.replacen("corp", "cord", 1)).unwrap();
    assert_eq!(elsewhere.status, 404);
    for path in ["/sso/corp/link", "/sso/corp/step-up"] {
        assert_eq!(scene.browser().get(path).unwrap().header("location"), Some("/sign-in"));
    }
    assert_eq!(scene.browser().get("/sso/other").unwrap().status, 404);
    assert_eq!(scene.browser().get("/sso/Not%20a%20name").unwrap().status, 404);
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    let begun = client::send(scene.console, "GET", "/sso/corp", &foreign, b"").unwrap();
    assert_eq!(begun.header("location"), Some("/sign-in"));
}

/// An account is linked by its owner alone; an address finds none.
#[test]
fn an_account_is_never_found_by_its_address() {
    let Some((scene, mut ada)) = Scene::open(&[]) else { return };
    // Whoever has the administrator's address at the provider is somebody else.
    scene.idp.say(&json!({"account": "eve", "email": ADA, "groups": ["staff"]}));
    let mut eve = scene.comes_in();
    assert_eq!(eve.get("/users").unwrap().status, 200);
    assert!(!eve.get("/users").unwrap().text().contains("Invite somebody"), "eve administrates");
    assert_eq!(scene.people().as_array().unwrap().len(), 2);
    // And does not get in the way of the one who has it here.
    let mut again = scene.browser();
    again.get("/sign-in").unwrap();
    let led = again.post("/sign-in", &[("address", ADA), ("password", PASSWORD)]).unwrap();
    assert_eq!(led.to, "/sign-in/factor");

    scene.idp.say(&json!({"account": "ada", "email": "else@corp.example", "groups": []}));
    let page = ada.get("/account").unwrap().text();
    assert!(page.contains("Sign in with corp too"), "{page}");
    assert_eq!(scene.trip(&mut ada, "/sso/corp/link").1, "/sso-done?to=/account");
    let page = ada.get("/account").unwrap().text();
    assert!(page.contains("Unlink") && !page.contains("Sign in with corp too"), "{page}");
    // A linked account needs no group: its roles are decided here.
    let mut by_sso = scene.comes_in();
    assert!(by_sso.get("/users").unwrap().text().contains("Invite somebody"));
    assert_eq!(scene.people().as_array().unwrap().len(), 2);
    // What signs in to one account does not become another's.
    let (status, said) = scene.trip(&mut ada, "/sso/corp/link");
    assert!(status == 403 && said.contains("signs in to an account already"), "{said}");
    // A session that began by SSO was not stepped up, and cannot link.
    let led = by_sso.get("/sso/corp/link").unwrap();
    assert_eq!(led.header("location"), Some("/step-up?to=/account"));
    // Somebody else's factor is not one's own.
    scene.idp.say(&json!({"account": "eve"}));
    let (status, said) = scene.trip(&mut by_sso, "/sso/corp/step-up");
    assert!(status == 403, "{said}");

    ada.get("/account").unwrap();
    let page = ada.get("/account").unwrap().text();
    let (_, rest) = page.split_once("/account/identities/").unwrap();
    let id = rest.split('/').next().unwrap().to_owned();
    let led = ada.post(&format!("/account/identities/{id}/unlink"), &[]).unwrap();
    assert_eq!(led.to, "/account");
    scene.idp.say(&json!({"account": "ada"}));
    scene.is_refused("groups brings a role");
}

/// What the provider gave, it takes away: with the roles go sessions and tokens, and nothing that was
/// enrolled or linked meanwhile leads round it.
#[test]
fn what_a_provider_takes_away_is_gone() {
    let Some((scene, mut ada)) = Scene::open(&[]) else { return };
    let issuer = scene.idp.issuer.clone();
    let secret = scene.weirgate.file("again", SECRET).unwrap();
    let add = |name: &str, issuer: &str| {
        let more = ["--group", "staff=auditor", "--group", "admins=administrator,security"];
        let mut args = vec!["sso", "add", name, "--issuer", issuer, "--client-id", "weirgate"];
        args.extend(["--client-secret-file", &secret, "--scope", "groups", "--json"]);
        args.extend(more);
        args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()
    };
    let run = |args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        ok(&scene.weirgate, &args)
    };
    let folder = tools().unwrap();
    let part = Idp::start(&folder, &format!("http://{}/sso/part/callback", scene.console));
    run(&add("part", &part.issuer));

    scene.idp.say(&json!({"groups": ["admins"]}));
    let mut grace = scene.comes_in();
    let id = text(&scene.people()[1], "id");
    assert_eq!(scene.trip(&mut grace, "/sso/corp/step-up").1, "/sso-done?to=/account");
    // A token lives shorter than others'.
    grace.get("/account").unwrap();
    let token = |days| [("name", "t"), ("roles", "administrator"), ("days", days)];
    let long = grace.post("/account/tokens", &token("31")).unwrap();
    assert!(long.page.text().contains("at most 30 days"), "{}", long.page.text());
    let made = grace.post("/account/tokens", &token("30")).unwrap().page.text();
    let (_, made) = made.split_once("wgp_").unwrap();
    let bearer = format!("Bearer wgp_{}", made.split('<').next().unwrap());
    let asks = || {
        let headers = [("Authorization", bearer.as_str())];
        client::send(scene.console, "GET", "/v1/users", &headers, b"").unwrap().status
    };
    assert_eq!(asks(), 200);
    // It links no other provider.
    let begun = grace.get("/sso/part/link").unwrap();
    let back = part.pass(&mut BTreeMap::new(), begun.header("location").unwrap());
    let back = back.strip_prefix(&format!("http://{}", scene.console)).unwrap().to_owned();
    let linked = grace.get(&back).unwrap();
    assert!(linked.status == 403 && linked.text().contains("made by an identity provider"));
    // A factor of here prolongs no stay.
    grace.get("/account").unwrap();
    let seed = {
        let shown = grace.post("/account/factors/begin", &[]).unwrap().page.text();
        crate::console::between(&shown, "Key: <span class=\"code\">")
    };
    let ends = || {
        let listed = ok(&scene.weirgate, &["session", "list", "--user", &id, "--json"]);
        text(listed["sessions"].as_array().unwrap().last().unwrap(), "expires_at")
    };
    let before = ends();
    let code = crate::console::code(&seed, 0);
    grace.post("/account/factors/confirm", &[("code", &code), ("name", "phone")]).unwrap();
    assert_eq!(ends(), before, "a factor of here prolonged the stay");
    assert_eq!(grace.get("/users").unwrap().status, 200);

    // The provider has let go of her: asked again, it says so, and nothing of before is left.
    scene.idp.say(&json!({"groups": []}));
    let (status, said) = scene.trip(&mut grace, "/sso/corp/step-up");
    assert!(status == 403 && said.contains("groups brings a role"), "{said}");
    assert_eq!(grace.get("/users").unwrap().header("location"), Some("/sign-in"));
    assert_eq!(asks(), 401);
    assert_eq!(scene.people()[1]["roles"], json!([]));
    scene.idp.say(&json!({"groups": ["staff"]}));
    scene.comes_in();
    assert_eq!(asks(), 401, "a token of before counts again");

    // Whoever was kept out is no stranger when the provider is added again.
    scene.idp.say(&json!({"account": "ada", "groups": ["staff"]}));
    assert_eq!(scene.trip(&mut ada, "/sso/corp/link").1, "/sso-done?to=/account");
    scene.idp.say(&json!({"account": "bob"}));
    let bob = {
        scene.comes_in();
        text(&scene.people()[2], "id")
    };
    ok(&scene.weirgate, &["user", "disable", &bob, "--json"]);
    run(&["sso", "remove", "corp", "--json"].map(ToOwned::to_owned));
    run(&add("corp", &issuer));
    scene.is_refused("not right");
    scene.idp.say(&json!({"account": "u-1"}));
    scene.is_refused("not right");
    ok(&scene.weirgate, &["user", "enable", &id, "--json"]);
    scene.comes_in();
    assert_eq!(scene.people().as_array().unwrap().len(), 3);
    let said = fails(
        &scene.weirgate,
        2,
        &add("twice", &issuer).iter().map(String::as_str).collect::<Vec<_>>(),
        b"",
    );
    assert!(said.contains("`corp` is of that issuer"), "{said}");

    // A new start gives up what was linked, too.
    scene.idp.say(&json!({"account": "ada", "groups": []}));
    let mut linked = scene.comes_in();
    assert_eq!(linked.get("/users").unwrap().status, 200);
    let link = ok(&scene.weirgate, &["user", "link", ADA, "--json"]);
    let mut anew = scene.browser();
    accept(&mut anew, &text(&link, "path"), &[("name", "Ada"), ("password", PASSWORD)]);
    scene.is_refused("groups brings a role");
}

/// A page beside the console, to which its cookies go along, begins nothing in somebody's name.
#[test]
fn other_pages_begin_no_link_and_no_step_up() {
    let Some((scene, ada)) = Scene::open(&[]) else { return };
    let pairs = ada.cookies.iter().map(|(name, value)| format!("{name}={value}"));
    let cookies = pairs.collect::<Vec<_>>().join("; ");
    for path in ["/sso/corp/link", "/sso/corp/step-up"] {
        for (site, status) in
            [("same-site", 403), ("cross-site", 403), ("none", 403), ("same-origin", 303)]
        {
            let headers = [("Cookie", cookies.as_str()), ("Sec-Fetch-Site", site)];
            let begun = client::send(scene.console, "GET", path, &headers, b"").unwrap();
            assert_eq!(begun.status, status, "{path} {site}");
        }
    }
    // Linking shows a factor at the provider anew: whose session a browser has there, nobody sees.
    let headers = [("Cookie", cookies.as_str())];
    let begun = client::send(scene.console, "GET", "/sso/corp/link", &headers, b"").unwrap();
    assert!(begun.header("location").unwrap().contains("prompt=login"));
}

/// Where the provider proves no second factor, it is the first factor and no more.
#[test]
fn a_second_factor_can_be_shown_here_after_a_provider() {
    let Some((scene, _)) = Scene::open(&["--second-factor", "weirgate"]) else { return };
    scene.idp.say(&json!({"amr": ["pwd"]}));
    let mut grace = scene.comes_in();
    for path in ["/", "/audit", "/account", "/sign-in/factor"] {
        assert_eq!(grace.get(path).unwrap().header("location"), Some("/enrol"), "{path}");
    }
    grace.get("/enrol").unwrap();
    enrol(&mut grace);
    assert_eq!(grace.get("/audit").unwrap().status, 200);
    let mut again = scene.comes_in();
    for path in ["/", "/audit", "/account", "/enrol"] {
        let led = again.get(path).unwrap();
        assert_eq!(led.header("location"), Some("/sign-in/factor"), "{path}");
    }
    // The provider shows no factor, so that none is shown there again.
    let (status, said) = scene.trip(&mut grace, "/sso/corp/step-up");
    assert!(status == 403, "{said}");
}

#[test]
fn a_provider_that_cannot_be_trusted_is_not_added() {
    let Some((scene, _)) = Scene::open(&[]) else { return };
    let weirgate = &scene.weirgate;
    let secret = weirgate.file("again", SECRET).unwrap();
    let empty = weirgate.file("empty", "\n").unwrap();
    let issuer = scene.idp.issuer.as_str();
    let slash = format!("{issuer}/");
    let add = |name: &str, issuer: &str, more: &[&str]| {
        let mut args = vec!["sso", "add", name, "--issuer", issuer, "--client-id", "weirgate"];
        args.extend(more);
        args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()
    };
    let file = ["--client-secret-file", secret.as_str()];
    for (exit, args, says) in [
        (2, add("Corp", issuer, &file), "NAME"),
        (2, add("corp", issuer, &file), "already"),
        (7, add("other", "http://127.0.0.1:9", &file), "provider_unreachable"),
        (5, add("other", &slash, &file), "another issuer"),
        (7, add("other", &format!("{issuer}/realm"), &file), "status 404"),
        (2, add("other", "http://id.example.com", &file), "no https URL"),
        (2, add("other", "https://u:p@id.example.com", &file), "no https URL"),
        (2, add("other", issuer, &["--client-secret-file", &empty]), "is empty"),
        (3, add("other", issuer, &["--client-secret-file", SECRET]), "--client-secret-file"),
        (3, add("other", issuer, &[file[0], file[1], "--group", "a=owner"]), "role"),
        (2, add("other", issuer, &[file[0], file[1], "--group", "a"]), "GROUP=ROLES"),
        (2, add("other", issuer, &[file[0], file[1], "--group", "a="]), "no role"),
        (2, add("other", issuer, &[file[0], file[1], "--second-factor", "none"]), "neither"),
        (2, add("other", issuer, &[file[0], file[1], "--amr", "two words"]), "space"),
        (3, vec!["sso".into(), "check".into(), "other".into()], "no identity provider"),
        (3, vec!["sso".into(), "remove".into(), "other".into()], "no identity provider"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = fails(weirgate, exit, &args, b"");
        assert!(said.contains(says), "{args:?}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
    assert_eq!(ok(weirgate, &["sso", "check", "corp", "--json"])["is_well"], true);
    let listed = ok(weirgate, &["sso", "list", "--json"]);
    assert_eq!(listed["identity_providers"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(SECRET));
}

/// One that hangs holds up those who sign in by it, and nobody else.
#[test]
fn a_provider_that_hangs_holds_up_no_other() {
    let Some((scene, _)) = Scene::open(&[]) else { return };
    let folder = tools().unwrap();
    let part = Idp::start(&folder, &format!("http://{}/sso/part/callback", scene.console));
    let secret = scene.weirgate.file("again", SECRET).unwrap();
    let mut add = vec!["sso", "add", "part", "--issuer", &part.issuer, "--client-id", "weirgate"];
    add.extend(["--client-secret-file", &secret, "--json"]);
    ok(&scene.weirgate, &add);
    part.server.signal(rustix::process::Signal::STOP).unwrap();
    let console = scene.console;
    let held: Vec<_> = (0..8)
        .map(|_| thread::spawn(move || client::get(console, "/sso/part", &[]).unwrap().status))
        .collect();
    for _ in 0..3 {
        scene.comes_in();
    }
    for answer in held {
        assert_eq!(answer.join().unwrap(), 503);
    }
    // What failed is not asked again at once, and says so.
    let refused = client::get(console, "/sso/part", &[]).unwrap();
    assert_eq!(refused.status, 503);
    part.server.signal(rustix::process::Signal::CONT).unwrap();
}

//! Hundreds of secrets, one in each place where a call has room for one, are looked for in everything
//! that Weirgate writes.

use crate::{
    telemetry::{HEADER, collector, export_to},
    world::{GRANTS, World, ok, ok_with},
};
use serde_json::json;
use std::{collections::BTreeSet, fs, path::Path};
use testkit::{Answer, End, FaultyProvider, Framing, Received, client, find_canary};

/// The secrets so far, each with where it was planted.
struct Planted {
    /// Begins each secret: none of one kind is one of another.
    kind: &'static str,
    secrets: Vec<String>,
    places: Vec<String>,
}

impl Planted {
    const fn new(kind: &'static str) -> Self {
        Self { kind, secrets: Vec::new(), places: Vec::new() }
    }

    /// A new one: letters and digits, so that it fits everywhere.
    fn plant(&mut self, place: &str) -> String {
        let number = u64::try_from(self.secrets.len()).unwrap() + 1;
        let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let secret = format!("{}{number:03}{noise:016x}", self.kind);
        self.secrets.push(secret.clone());
        self.places.push(place.to_owned());
        secret
    }

    /// Where any of them is.
    fn found(&self, dir: &Path, texts: &[(String, Vec<u8>)]) -> Vec<String> {
        let needles: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        let texts: Vec<(&str, &[u8])> =
            texts.iter().map(|(name, text)| (name.as_str(), text.as_slice())).collect();
        let found = find_canary(dir, &texts, &needles).unwrap();
        found.iter().map(|found| format!("{}: {found:?}", self.places[found.needle])).collect()
    }
}

/// Headers of a caller. Those with a form of their own get the secret in it.
const HEADERS: &[(&str, &str)] = &[
    ("Authorization", "Bearer {}"),
    ("Authorization", "Basic {}"),
    ("X-Weirgate-Key", "{}"),
    ("X-Weirgate-Key", "wg_live_{}"),
    ("Cookie", "session={}"),
    ("X-Api-Key", "{}"),
    ("X-Auth-Token", "{}"),
    ("Proxy-Authorization", "Bearer {}"),
    ("Idempotency-Key", "{}"),
    ("If-Match", "\"{}\""),
    ("If-None-Match", "W/\"{}\""),
    ("If-Modified-Since", "{}"),
    ("Accept", "application/{}"),
    ("Accept-Language", "{}"),
    ("Accept-Encoding", "{}"),
    ("Content-Type", "application/{}"),
    ("Content-Type", "text/plain; charset={}"),
    ("Content-Length", "{}"),
    ("Transfer-Encoding", "{}"),
    ("Expect", "{}"),
    ("Upgrade", "{}"),
    ("Connection", "{}"),
    ("TE", "{}"),
    ("Range", "bytes={}"),
    ("Host", "{}.example"),
    ("Origin", "https://{}.example"),
    ("Referer", "https://a.example/?k={}"),
    ("User-Agent", "curl/{}"),
    ("From", "{}@example.com"),
    ("Forwarded", "for={}"),
    ("X-Forwarded-For", "{}"),
    ("X-Original-URL", "/{}"),
    ("X-HTTP-Method-Override", "{}"),
    ("X-Request-Id", "{}"),
    ("X-Tenant", "{}"),
    ("traceparent", "00-{}-01"),
    ("tracestate", "a={}"),
    ("baggage", "a={}"),
    ("X-{}", "1"),
    ("{}", ""),
];

/// Paths below a connection.
const PATHS: &[&str] = &[
    "/things/{}",
    "/{}",
    "/things/{}/photo",
    "/things/{}/none",
    "/things/a%2f{}",
    "/things/..%2F{}",
    "/things/%00{}",
    "/things/1;{}",
    "/fault/{}",
    "/things?name={}",
    "/things?sort={}",
    "/things?cursor={}",
    "/things?limit={}",
    "/things?{}=1",
    "/things?{}",
    "/things?api_key={}",
    "/things?name=%zz{}",
    "/things?name=a#{}",
];

/// Bodies of a write, with their media type.
const BODIES: &[(&str, &str)] = &[
    ("application/json", r#"{"name":"{}"}"#),
    ("application/json", r#"{"name":"n","secret":"{}"}"#),
    ("application/json", r#"{"name":"n","{}":1}"#),
    ("application/json", r#"{"name":"n","nested":{"a":"{}","b":"{}"}}"#),
    ("application/json", r#"{"name":"n","list":[{"code":"{}"}]}"#),
    ("application/json", r#"{"name":"{}","name":"{}"}"#),
    ("application/json", r#"{"name":["{}"]}"#),
    ("application/json", r#"{"name":"{}"#),
    ("application/json", "{}"),
    ("application/json", "\u{feff}\"{}\""),
    ("application/merge-patch+json", r#"{"name":"{}"}"#),
    ("application/x-www-form-urlencoded", "name={}"),
    ("application/x-www-form-urlencoded", "secret={}&{}=1"),
    ("application/x-www-form-urlencoded", "nested[{}]=1"),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{}\r\n--x--\r\n",
    ),
    ("text/plain", "{}"),
    ("application/xml", "<a>{}</a>"),
];

/// Bytes that are no request, or hardly one.
const RAW: &[&str] = &[
    "{}\r\n\r\n",
    "GET /{} HTTP/9.{}\r\n\r\n",
    "GET http://{}.example/{} HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT {}.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "{} / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n {}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nA: b\n{}: c\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;{}\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}: 1\r\n\r\n",
    "GET /proxy/conn_{}/things HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /{}/proxy HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /errors/{} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /healthz?{} HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// Headers of a provider's answer.
const ANSWERED: &[(&str, &str)] = &[
    ("Set-Cookie", "session={}"),
    ("Server", "{}"),
    ("X-Debug", "{}"),
    ("X-{}", "1"),
    ("Location", "https://{}.example/{}"),
    ("Link", "<https://{}.example/?t={}>; rel=\"next\""),
    ("Content-Location", "/{}"),
    ("WWW-Authenticate", "Bearer realm=\"{}\""),
    ("Retry-After", "{}"),
    ("RateLimit", "{}"),
    ("X-RateLimit-Limit", "{}"),
    ("X-RateLimit-Reset", "{}"),
    ("Content-Encoding", "{}"),
    ("Content-Disposition", "attachment; filename={}"),
    ("Content-Language", "{}"),
    ("Warning", "199 - \"{}\""),
    ("Via", "{}"),
    ("traceparent", "00-{}-01"),
    ("Server-Timing", "db;desc={}"),
    ("Access-Control-Allow-Origin", "https://{}.example"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Expose-Headers", "{}"),
];

/// Bodies of a provider's answer: a secret where nothing was granted, or where nothing is right.
const ANSWERS: &[(u16, &str, &str)] = &[
    (200, "application/json", r#"{"id":"1","name":"n","secret":"{}"}"#),
    (200, "application/json", r#"{"id":"1","name":"n","nested":{"a":"a","b":"{}"}}"#),
    (200, "application/json", r#"{"id":"1","list":[{"label":"l","code":"{}"}]}"#),
    (200, "application/json", r#"{"id":"1","{}":{"{}":["{}"]}}"#),
    (200, "application/json", r#"{"id":"1","name":{"{}":"{}"}}"#),
    (200, "application/json", r#"{"id":"1","secret":"{}""#),
    (200, "application/json", r#"{"id":"1","id":"2","secret":"{}"}"#),
    (200, "application/json", r#"["{}"]"#),
    (200, "application/json", r#""{}""#),
    (200, "application/json", "{}"),
    (200, "application/{}", r#"{"id":"1"}"#),
    (200, "text/html", "<p>{}</p>"),
    (204, "text/plain", "{}"),
    (301, "text/html", "{}"),
    (400, "application/json", r#"{"trace":"{}","debug":{"message":"{}"}}"#),
    (401, "application/json", r#"{"message":"the key {} is wrong"}"#),
    (404, "text/html", "<p>{}</p>"),
    (418, "text/plain", "{}"),
    (500, "application/json", r#"{"trace":"{}"}"#),
    (500, "text/html", "<pre>{}</pre>"),
    (503, "text/plain", "{}"),
];

/// Answers that are none.
const BROKEN: &[&str] = &[
    "SSH-2.0-{}\r\n",
    "HTTP/1.1 500 {}\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 {} OK\r\n\r\n",
    "HTTP/9.{} 200 OK\r\n\r\n",
    "HTTP/1.1 103 {}\r\nLink: <{}>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: {}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: {}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n5;{}\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n2\r\n[]\r\n0\r\nX: {}\r\n\r\n",
    "HTTP/1.1 200 OK\r\n{}\r\n\r\n",
];

/// What a search goes through beside the data folder.
type Texts = Vec<(String, Vec<u8>)>;

struct Run {
    world: World,
    collector: FaultyProvider,
    planted: Planted,
    /// Secrets that came from the provider: they must not reach the caller either.
    from_provider: Planted,
    answers: Texts,
}

impl Run {
    fn fill(&mut self, place: &str, template: &str) -> String {
        filled(&mut self.planted, place, template)
    }

    /// By whom: one with a grant, one without, nobody.
    fn keys(&self) -> [Option<String>; 3] {
        let bearer = |key: &String| format!("Bearer {key}");
        [Some(bearer(&self.world.key)), Some(bearer(&self.world.stranger_key)), None]
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut connection = client::Connection::open(self.world.addr).unwrap();
        // Some of it is answered by a closed connection.
        let _ = connection.request(method, path, headers, body);
    }

    fn callers(&mut self) {
        for key in self.keys() {
            let who = if key.is_some() { "a caller" } else { "nobody" };
            let key = key.as_ref().map(|key| ("Authorization", key.as_str()));
            for (name, value) in HEADERS {
                let place = format!("{who}'s header {name}: {value}");
                let (name, value) = (self.fill(&place, name), self.fill(&place, value));
                let mut headers = vec![(name.as_str(), value.as_str())];
                headers.extend(key);
                let path = self.world.path("/things/1");
                self.call("GET", &path, &headers, b"");
                self.call("POST", &self.world.path("/things"), &headers, br#"{"name":"n"}"#);
            }
            let headers: Vec<_> = key.into_iter().collect();
            for path in PATHS {
                let path = self.fill(&format!("{who}'s path {path}"), path);
                self.call("GET", &self.world.path(&path), &headers, b"");
            }
            for (media, body) in BODIES {
                let body = self.fill(&format!("{who}'s body {media} {body}"), body);
                let mut headers = headers.clone();
                headers.push(("Content-Type", media));
                self.call("POST", &self.world.path("/things"), &headers, body.as_bytes());
            }
        }
        for raw in RAW {
            let bytes = self.fill(&format!("raw {raw:?}"), raw);
            let mut connection = client::Connection::open(self.world.addr).unwrap();
            connection.write(bytes.as_bytes()).unwrap();
            connection.set_read_timeout(std::time::Duration::from_millis(300)).unwrap();
            let _ = connection.read_response(false);
        }
    }

    fn answer(&mut self, place: &str, answer: Answer) {
        self.world.provider.on("GET /things/1", answer);
        let answered = self.world.get("/things/1");
        let everything = answered.everything();
        // No other site's page reads an answer because a provider would let it.
        let text = String::from_utf8_lossy(&everything).to_ascii_lowercase();
        assert!(!text.contains("access-control-"), "{place}: {text}");
        self.answers.push((place.to_owned(), everything));
    }

    fn providers(&mut self) {
        let thing = r#"{"id":"1","name":"n"}"#;
        for status in [200, 400, 500] {
            for (name, value) in ANSWERED {
                let place = format!("answer {status} with {name}: {value}");
                let name = filled(&mut self.from_provider, &place, name);
                let value = filled(&mut self.from_provider, &place, value);
                let answer = Answer::json_text(status, thing).header(&name, &value);
                self.answer(&place, answer);
            }
        }
        for (status, media, body) in ANSWERS {
            let place = format!("answer {status} {media} {body}");
            let media = filled(&mut self.from_provider, &place, media);
            let body = filled(&mut self.from_provider, &place, body);
            self.answer(&place, Answer::body(*status, &media, body.as_bytes()));
            let zipped = Answer::gzip(*status, body.as_bytes());
            self.answer(&format!("{place}, gzip"), zipped);
            let long = u64::try_from(body.len()).unwrap() + 9;
            let cut = Answer::body(*status, &media, body).framing(Framing::Declared(long));
            self.answer(&format!("{place}, cut"), cut.end(End::Drop));
        }
        for broken in BROKEN {
            let place = format!("answer {broken:?}");
            let bytes = filled(&mut self.from_provider, &place, broken);
            self.answer(&place, Answer::verbatim(bytes).end(End::Close));
        }
        // What is granted reaches the caller, and nothing else.
        let granted = self.fill("a granted value", "{}");
        let body = json!({"id": granted, "name": granted});
        self.world.provider.on("GET /things/2", Answer::json(200, &body));
        assert!(self.world.get("/things/2").text().contains(&granted));
        let page =
            json!({"results": [], "next": format!("https://a.example/{granted}"), "total": 1});
        self.world.provider.on("GET /things", Answer::json(200, &page));
        self.world.get("/things");
    }
}

fn filled(planted: &mut Planted, place: &str, template: &str) -> String {
    let mut text = String::new();
    let mut parts = template.split("{}").peekable();
    while let Some(part) = parts.next() {
        text.push_str(part);
        if parts.peek().is_some() {
            text.push_str(&planted.plant(place));
        }
    }
    text
}

/// A connection with a secret of each kind.
fn credentials(run: &mut Run) -> Vec<String> {
    let kinds = [
        ("bearer", r#"{"token":"{}"}"#),
        ("basic", r#"{"username":"{}","password":"{}"}"#),
        ("header", r#"{"api_key":"{}"}"#),
        ("query", r#"{"api_key":"{}"}"#),
    ];
    let mut ids = Vec::new();
    for (scheme, template) in kinds {
        let customer = run.fill("a customer's name", "{}");
        let secret = run.fill(&format!("a credential of {scheme}"), template);
        let args = ["connection", "create", "--provider", "things", "--customer", &customer];
        let rest = ["--scheme", scheme, "--secret-file", "-", "--json"];
        let all = [&args[..], &rest[..]].concat();
        let made = ok_with(&run.world.weirgate, &all, secret.as_bytes());
        ids.push(made["id"].as_str().unwrap().to_owned());
        // What is refused is not repeated either.
        for bad in [r#"{"token":"{}""#, r#"{"tokn":"{}"}"#, "{}", r#"{"token":["{}"]}"#] {
            let bad = run.fill(&format!("a bad credential {bad}"), bad);
            let output = run.world.weirgate.run(&all, bad.as_bytes()).unwrap();
            assert_ne!(output.status, Some(0), "{bad}");
            run.answers
                .push(("refused credential".into(), [output.stdout, output.stderr].concat()));
        }
    }
    ids
}

fn files(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn hundreds_of_canaries_appear_nowhere() {
    let mut run = Run {
        world: World::prepared(),
        collector: collector(),
        planted: Planted::new("zq"),
        from_provider: Planted::new("qw"),
        answers: Vec::new(),
    };
    // In prose and examples of a description, which the store keeps and nothing else.
    let mut described = Planted::new("wx");
    let text = testkit::THING_DESCRIPTION
        .replace("A picture", &filled(&mut described, "a description's prose", "A picture {}"))
        .replace("title: Things", &filled(&mut described, "a title", "title: Things {}"))
        .replace("One page of things", &filled(&mut described, "an answer's prose", "{}"));
    let description = run.world.weirgate.file("things.yaml", text).unwrap();
    let (url, host) =
        (run.world.provider.url().to_owned(), run.world.provider.host_port().to_owned());
    let import = ["provider", "import", &description, "--name", "things", "--server", &url];
    ok(&run.world.weirgate, &[&import[..], &["--allow-private-network", &host, "--json"]].concat());
    run.world.apply(GRANTS);
    let ids = credentials(&mut run);

    // Around the process.
    let variable = run.fill("a variable of the environment", "{}");
    run.world.weirgate.set("AWS_SECRET_ACCESS_KEY", &variable);
    let variable = run.fill("a variable that is almost ours", "{}");
    run.world.weirgate.set("PLANTED_PASSWORD", &variable);
    run.world.weirgate.set("WEIRGATE_LOG_LEVEL", "trace");
    run.world.weirgate.set("WEIRGATE_OTLP_INTERVAL_MS", "200");
    export_to(&mut run.world, &run.collector);
    let before = files(run.world.weirgate.home());
    run.world.serve();
    run.callers();
    run.providers();
    let all = |received: &Received| Answer::json_text(200, received.everything());
    run.world.provider.on_each("GET /things/1", all);
    for id in ids {
        run.world.connection = id;
        for path in ["/things/1", "/things/3", "/fault/error", "/fault/error-html", "/none"] {
            let answered = run.world.get(path);
            run.answers.push((format!("by credential {path}"), answered.everything()));
        }
    }

    let sent: Vec<u8> =
        run.world.provider.requests().iter().flat_map(Received::everything).collect();
    let metrics = client::get(run.world.console, "/metrics", &[]).unwrap();
    let mut texts: Texts = vec![("metrics".into(), metrics.everything())];
    let data_dir = run.world.weirgate.data_dir();
    // The database's write-ahead log is there only while it runs.
    assert!(files(&data_dir).contains("weirgate.db-wal"));
    let alive = run.planted.found(&data_dir, &[]);
    assert_eq!(alive, Vec::<String>::new(), "while it runs");
    // What is carried elsewhere: backups, made beside the server and after it, and exports.
    let copies = tempfile::tempdir().unwrap();
    let copy = |name: &str| copies.path().join(name).display().to_string();
    ok(&run.world.weirgate, &["backup", "create", &copy("running"), "--json"]);
    let key = run.world.key.clone();
    let output = run.world.stop();
    ok(&run.world.weirgate, &["backup", "create", &copy("stopped"), "--json"]);
    for (name, form) in [("export", &[][..]), ("lines", &["--jsonl"][..])] {
        let out = copy(name);
        let args = [&["audit", "export", "--out", &out][..], form].concat();
        let output = run.world.weirgate.run(&args, b"").unwrap();
        assert_eq!(output.status, Some(0), "{}", output.err());
        assert!(fs::metadata(copy(name)).unwrap().len() > 10_000, "{name}");
    }
    texts.push(("stdout".into(), output.stdout));
    texts.push(("stderr".into(), output.stderr));
    let exports = run.collector.requests();
    assert!(exports.iter().any(|one| one.path.ends_with("traces") && one.body.len() > 1_000));
    texts.extend(exports.into_iter().map(|one| (format!("sent to {}", one.path), one.body)));
    for args in [
        &["audit", "list", "--limit", "100000", "--json"][..],
        &["audit", "verify"],
        &["connection", "list", "--json"],
        &["client", "list", "--json"],
        &["config", "show", "--origin"],
        &["doctor", "--json"],
    ] {
        let output = run.world.weirgate.run(args, b"").unwrap();
        texts.push((args.join(" "), [output.stdout, output.stderr].concat()));
    }

    // Nothing new lies outside of the data folder, and what did is what we put there.
    assert_eq!(files(run.world.weirgate.home()), before);
    let count = run.planted.secrets.len() + run.from_provider.secrets.len();
    assert!(count >= 350, "{count}");
    let found = run.planted.found(&data_dir, &texts).into_iter();
    // Who holds the root key may list the customers.
    let is_listed =
        |found: &str| found.starts_with("a customer's name") && found.contains("connection list");
    let found: Vec<_> = found.filter(|found| !is_listed(found)).collect();
    assert_eq!(found, Vec::<String>::new());
    let own = Planted {
        kind: "",
        secrets: vec![key, HEADER.to_owned(), crate::world::CREDENTIAL.to_owned()],
        places: ["a key", "the collector's header", "a credential"].map(str::to_owned).to_vec(),
    };
    assert_eq!(own.found(&data_dir, &texts), Vec::<String>::new());
    for planted in [&run.planted, &run.from_provider, &own] {
        assert_eq!(planted.found(copies.path(), &[]), Vec::<String>::new());
    }
    // The search looks into backups: what the store keeps openly is found there.
    assert!(described.found(copies.path(), &[]).iter().any(|found| found.contains("stopped")));
    // Of the description, elsewhere than in the store.
    let elsewhere = described.found(&data_dir, &texts).into_iter();
    let elsewhere: Vec<_> = elsewhere.filter(|found| !found.contains("weirgate.db")).collect();
    assert_eq!(elsewhere, Vec::<String>::new());
    // What refused credentials were told of, and the providers' own beside all that.
    texts.append(&mut run.answers);
    assert_eq!(run.from_provider.found(&data_dir, &texts), Vec::<String>::new());
    // The search can find them, and calls did carry them: many reached the provider, as they should.
    let nowhere = Path::new("/nonexistent");
    let reached = run.planted.found(nowhere, &[("sent to the provider".into(), sent)]);
    assert!(reached.len() >= 15, "{reached:#?}");
}

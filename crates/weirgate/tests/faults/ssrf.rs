//! Nobody is sent to an address that is not public: hundreds of spellings, on every way by which a
//! host gets in, in a network where all addresses are heard.

use crate::{
    is_inside,
    world::{World, binary, code, ok, ok_with},
};
use app::{
    Custody, Init, Instance, RootKeyPlace,
    people::sso::{self, Settings, ShownAt, Web},
};
use outbound::{
    AddressClass, Deadlines, GuardPolicy, HickoryResolver, OutboundError, Pool, PoolConfig, Target,
    TargetError, TlsConfig,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use testkit::{
    Answer, DnsReply, DnsServer, IdentityProvider, PacketRecorder, Refusal, THING_DESCRIPTION,
    Weirgate, client, honest_hosts, hostile_hosts, namespace, oidc,
};
use types::{Actor, Clock as _, Id, OpContext, SecretBytes, Slug, SystemClock, SystemRandom};

const NAME_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// The addresses behind the hostile spellings.
fn hostile_addresses() -> BTreeSet<IpAddr> {
    let hosts = hostile_hosts().into_iter().filter(|(refusal, _)| *refusal == Refusal::Address);
    hosts
        .map(|(_, host)| match url::Url::parse(&format!("https://{host}/")).unwrap().host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            other => panic!("{host}: {other:?}"),
        })
        .collect()
}

/// A pool as the gateway has it: names are asked of the system.
fn pool() -> Pool {
    let tls = Arc::new(TlsConfig::new(None).unwrap());
    Pool::new(PoolConfig::new(Arc::new(HickoryResolver::from_system().unwrap()), tls))
}

fn short() -> Deadlines {
    let second = Duration::from_secs(1);
    Deadlines { connect: second, tls: second, ..Deadlines::default() }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What reads a hostile host refuses it as what it is, not by chance.
#[test]
fn hostile_spellings_are_refused_as_what_they_are() {
    let none = GuardPolicy::default();
    let mut wrong = Vec::new();
    for (refusal, host) in hostile_hosts() {
        let found = Target::parse(&format!("https://{host}/v1"), &none);
        let is_right = match refusal {
            Refusal::Address => matches!(found, Err(TargetError::Address(_))),
            Refusal::Metadata => found == Err(TargetError::Address(AddressClass::Metadata)),
            Refusal::Malformed => {
                matches!(found, Err(ref error) if !matches!(error, TargetError::Address(_)))
            }
            Refusal::Name => found.is_ok(),
        };
        if !is_right {
            wrong.push(format!("{refusal:?} {host:?}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The proof that the recorder works: it sees a packet to each of the addresses that nothing else
/// below sends one to.
#[test]
fn the_recorder_hears_every_address() {
    if !is_inside("ssrf::the_recorder_hears_every_address") {
        return;
    }
    let recorder = PacketRecorder::start().unwrap();
    let mut unheard = Vec::new();
    for address in hostile_addresses() {
        let target = SocketAddr::new(address, 443);
        let begun = namespace::connections_begun().unwrap();
        let tried = TcpStream::connect_timeout(&target, Duration::from_secs(1));
        assert!(tried.is_err(), "nobody listens at {target}");
        let is_begun = namespace::connections_begun().unwrap() > begun;
        // What an address of an unspecified or mapped form means to the system.
        let heard: Vec<IpAddr> =
            recorder.connections().unwrap().iter().map(|to| to.ip().to_canonical()).collect();
        let wanted = match address.to_canonical() {
            any if any.is_unspecified() && any.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
            any if any.is_unspecified() => "::1".parse().unwrap(),
            other => other,
        };
        assert_eq!(heard.contains(&wanted), is_begun, "{address}: {tried:?} {heard:?}");
        if !is_begun {
            unheard.push(address);
        }
        recorder.forget().unwrap();
    }
    // Connections to these are refused by the system itself.
    for address in &unheard {
        let is_many = match address.to_canonical() {
            IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
            IpAddr::V6(address) => address.is_multicast() || address.is_unicast_link_local(),
        };
        assert!(is_many, "{address}");
    }
    assert!(unheard.len() < 25, "{unheard:?}");
}

/// Each spelling as a target, and each address behind a name: as A, AAAA, alias with and without its
/// addresses, and among public addresses.
#[test]
fn hostile_hosts_see_no_packet() {
    if !is_inside("ssrf::hostile_hosts_see_no_packet") {
        return;
    }
    let names = DnsServer::start(NAME_SERVER).unwrap();
    let here = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    names.otherwise(DnsReply::Addresses(here));
    let recorder = PacketRecorder::start().unwrap();
    let begun = namespace::connections_begun().unwrap();
    let (pool, none) = (pool(), GuardPolicy::default());
    let public = |rest: IpAddr| {
        let known = ["93.184.216.34", "2606:4700::1111"].map(|text| text.parse().unwrap());
        known.into_iter().chain([rest]).collect::<Vec<IpAddr>>()
    };
    run(async {
        let mut asked = 0;
        for (refusal, host) in hostile_hosts() {
            let Ok(target) = Target::parse(&format!("https://{host}/v1"), &none) else { continue };
            assert_eq!(refusal, Refusal::Name, "{host}");
            let refused = pool.checkout(&target, &none, &short()).await.map(drop).unwrap_err();
            assert!(matches!(refused, OutboundError::AddressRefused(_)), "{host}: {refused:?}");
            asked += 1;
        }
        assert!(asked >= 40, "{asked}");
        for (number, address) in hostile_addresses().into_iter().enumerate() {
            let inner = format!("inner{number}.example");
            names.on(&inner, [DnsReply::Addresses(vec![address])]);
            let replies = [
                DnsReply::Addresses(vec![address]),
                DnsReply::Alias(inner.clone(), vec![address]),
                DnsReply::Alias(inner, vec![]),
                DnsReply::Addresses(public(address)),
                DnsReply::Alias("cdn.example".into(), public(address)),
            ];
            for (kind, reply) in replies.into_iter().enumerate() {
                let name = format!("h{number}k{kind}.example");
                names.on(&name, [reply.clone()]);
                let target = Target::parse(&format!("https://{name}"), &none).unwrap();
                let found = pool.checkout(&target, &none, &short()).await.map(drop);
                let is_refused = matches!(found, Err(OutboundError::AddressRefused(_)));
                assert!(is_refused, "{address} as {reply:?}: {found:?}");
            }
        }
    });
    assert_eq!(recorder.connections().unwrap(), []);
    assert_eq!(namespace::connections_begun().unwrap(), begun);
    let packets = recorder.packets().unwrap();
    let others: Vec<_> = packets
        .iter()
        .filter(|packet| packet.to != NAME_SERVER && packet.from != NAME_SERVER)
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(packets.len() > 1_000, "questions are packets too: {}", packets.len());
    // The same pool, sent to an address that was allowed, is heard.
    run(async {
        let policy = GuardPolicy::new(&["127.0.0.1:443"]).unwrap();
        let target = Target::parse("https://127.0.0.1", &policy).unwrap();
        let found = pool.checkout(&target, &policy, &short()).await.map(drop);
        assert_eq!(found, Err(OutboundError::Unreachable));
    });
    assert_eq!(recorder.connections().unwrap(), ["127.0.0.1:443".parse().unwrap()]);
}

/// Honest hosts are connected to, here where nobody answers: no more is asked of the guard.
#[test]
fn honest_hosts_are_not_refused() {
    if !is_inside("ssrf::honest_hosts_are_not_refused") {
        return;
    }
    let names = DnsServer::start(NAME_SERVER).unwrap();
    let both = ["93.184.216.34", "2606:4700::1111"].map(|text| text.parse().unwrap());
    names.otherwise(DnsReply::Addresses(both.to_vec()));
    let recorder = PacketRecorder::start().unwrap();
    let (pool, none) = (pool(), GuardPolicy::default());
    run(async {
        for host in honest_hosts() {
            let target = Target::parse(&format!("https://{host}/v1"), &none);
            let target = target.unwrap_or_else(|error| panic!("{host}: {error}"));
            let found = pool.checkout(&target, &none, &short()).await.map(drop);
            assert_eq!(found, Err(OutboundError::Unreachable), "{host}");
            let heard = recorder.connections().unwrap();
            assert!(!heard.is_empty(), "{host}");
            recorder.forget().unwrap();
        }
    });
}

/// What listens on the machine's own public address is as much inside as what listens on loopback.
#[test]
fn addresses_of_this_machine_are_refused() {
    if !is_inside("ssrf::addresses_of_this_machine_are_refused") {
        return;
    }
    let names = DnsServer::start(NAME_SERVER).unwrap();
    let own: Vec<IpAddr> =
        ["93.184.216.35", "2606:4700::2222"].map(|text| text.parse().unwrap()).to_vec();
    for address in &own {
        namespace::add_address(*address).unwrap();
    }
    names.on("gate.example", [DnsReply::Addresses(own.clone())]);
    let recorder = PacketRecorder::start().unwrap();
    let pool = pool();
    let none = GuardPolicy::default();
    let refused = Err(OutboundError::AddressRefused(AddressClass::ThisMachine));
    run(async {
        for host in ["93.184.216.35:8400", "[2606:4700::2222]:8400", "gate.example:8400"] {
            let target = Target::parse(&format!("https://{host}"), &none).unwrap();
            let found = pool.checkout(&target, &none, &short()).await.map(drop);
            assert_eq!(found, refused, "{host}");
        }
        assert_eq!(recorder.connections().unwrap(), []);
        // Named, it is the operator's own choice; the neighbour never was in question.
        for (allowed, host) in
            [("gate.example:8400", "gate.example:8400"), ("other:1", "93.184.216.36:8400")]
        {
            let policy = GuardPolicy::new(&[allowed]).unwrap();
            let target = Target::parse(&format!("https://{host}"), &policy).unwrap();
            let found = pool.checkout(&target, &policy, &short()).await.map(drop);
            assert_eq!(found, Err(OutboundError::Unreachable), "{host}");
        }
    });
    assert_eq!(recorder.connections().unwrap().len(), 3);
}

/// Descriptions are given on standard input, so that nothing of them is a path.
fn import(weirgate: &Weirgate, name: &str, description: &[u8], more: &[&str]) -> Value {
    let args = [&["provider", "import", "-", "--name", name, "--json"], more].concat();
    let output = weirgate.run(&args, description).unwrap();
    if output.status == Some(0) { output.json().unwrap() } else { json!({"failed": output.err()}) }
}

fn description(servers: &Value) -> Vec<u8> {
    let mut whole: Value = json!({
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "servers": servers,
        "paths": {"/things": {"get": {"responses": {"200": {"description": "d",
            "content": {"application/json": {"schema": {"type": "object",
                "properties": {"id": {"type": "string"}}}}}}}}}},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    });
    whole["security"] = json!([{"bearer": []}]);
    whole.to_string().into_bytes()
}

/// The four ways by which a server gets in: named at import, in the description, as the default of a
/// variable in it, and as the connection's value of a variable. The verbs say why not; a name is
/// imported, and refused where `provider check` reaches for it.
#[test]
fn hostile_servers_are_refused_at_import() {
    if !is_inside("ssrf::hostile_servers_are_refused_at_import") {
        return;
    }
    let names = DnsServer::start(NAME_SERVER).unwrap();
    names.otherwise(DnsReply::Addresses(vec!["127.0.0.1".parse().unwrap()]));
    let recorder = PacketRecorder::start().unwrap();
    let hosts = Mutex::new(hostile_hosts());
    let checked = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let weirgate = binary();
                ok(&weirgate, &["init", "--json"]);
                let template = json!([{"url": "https://{host}/v1"}]);
                let made = import(&weirgate, "template", &description(&template), &[]);
                assert!(made["id"].is_string(), "{made}");
                loop {
                    let Some((refusal, host)) = hosts.lock().unwrap().pop() else { return };
                    *checked.lock().unwrap() += refuse(&weirgate, refusal, &host);
                }
            });
        }
    });
    assert!(*checked.lock().unwrap() >= 1_600, "{:?}", checked.lock());
    assert_eq!(recorder.connections().unwrap(), []);
    assert_eq!(namespace::connections_begun().unwrap(), 0);
}

/// How many ways were tried.
fn refuse(weirgate: &Weirgate, refusal: Refusal, host: &str) -> usize {
    let url = format!("https://{host}/v1");
    let named = ["--server", url.as_str()];
    let plain = json!([{"url": url}]);
    let variable = json!([{"url": "https://{host}/v1", "variables": {"host": {"default": host}}}]);
    let made = [
        import(weirgate, "named", THING_DESCRIPTION.as_bytes(), &named),
        import(weirgate, "described", &description(&plain), &[]),
        import(weirgate, "variable", &description(&variable), &[]),
    ];
    for (slug, made) in ["named", "described", "variable"].iter().zip(&made) {
        if refusal != Refusal::Name {
            assert!(made["failed"].is_string(), "{host} {slug}: {made}");
            continue;
        }
        assert!(made["id"].is_string(), "{host} {slug}: {made}");
        let output = weirgate.run(&["provider", "check", slug, "--json"], b"").unwrap();
        assert_ne!(output.status, Some(0), "{host} {slug}: {}", output.out());
        let said = output.out() + &output.err();
        assert!(said.contains("provider_address_refused"), "{host} {slug}: {said}");
    }
    // A value is one DNS label: a name of the network that the machine is in, or a whole number.
    let value = format!("host={host}");
    let args = ["connection", "create", "--provider", "template", "--customer", "c", "--var"];
    let rest = [value.as_str(), "--scheme", "bearer", "--secret-file", "-", "--json"];
    let output = weirgate.run(&[&args[..], &rest[..]].concat(), br#"{"token":"t"}"#).unwrap();
    let is_label = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_taken = refusal == Refusal::Name && is_label;
    assert_eq!(output.status == Some(0), is_taken, "{host}: {}{}", output.out(), output.err());
    4
}

/// Where a provider sends the gateway to, nobody goes.
#[test]
fn redirects_to_hostile_hosts_are_not_followed() {
    if !is_inside("ssrf::redirects_to_hostile_hosts_are_not_followed") {
        return;
    }
    let world = World::serving();
    let recorder = PacketRecorder::start().unwrap();
    let known = [world.addr, world.console, world.provider.addr()];
    let mut places: Vec<String> = Vec::new();
    for (_, host) in hostile_hosts() {
        for scheme in ["https", "http"] {
            places.push(format!("{scheme}://{host}/latest/meta-data/"));
        }
    }
    for odd in [
        "//169.254.169.254/",
        "\\\\169.254.169.254\\",
        "/\\169.254.169.254/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "dict://127.0.0.1:11211/stats",
        "ftp://127.0.0.1/",
        "ldap://127.0.0.1/",
        "https:127.0.0.1",
        "unix:/var/run/docker.sock",
        "data:application/json,{}",
        "javascript:alert(1)",
        "jar:http://127.0.0.1!/",
    ] {
        places.push(odd.to_owned());
    }
    let statuses = [301, 302, 303, 307, 308];
    let next = Mutex::new((0, places[0].clone()));
    let next: &'static Mutex<(u16, String)> = Box::leak(Box::new(next));
    world.provider.on_each("/things/1", |_| {
        let (status, place) = next.lock().unwrap().clone();
        Answer::redirect(status, &place)
    });
    let mut connection = client::Connection::open(world.addr).unwrap();
    let bearer = format!("Bearer {}", world.key);
    let path = world.path("/things/1");
    for (number, place) in places.iter().enumerate() {
        let status = statuses[number % statuses.len()];
        *next.lock().unwrap() = (status, place.clone());
        let headers = [("Authorization", bearer.as_str())];
        let answer = connection.request("GET", &path, &headers, b"").unwrap();
        assert_eq!(answer.status, status, "{place}: {}", answer.text());
        assert_eq!(answer.header("location"), None, "{place}");
        assert!(answer.body.is_empty(), "{place}");
    }
    // Its own path is what a redirect of the provider's may lead to, as an answer for the caller.
    let own = format!("{}/things/2", world.provider.url());
    *next.lock().unwrap() = (302, own);
    let answer = connection.request("GET", &path, &[("Authorization", &bearer)], b"").unwrap();
    assert!(answer.header("location").unwrap().ends_with(&world.path("/things/2")));
    assert_eq!(world.provider.requests().len(), places.len() + 1);
    let heard = recorder.connections().unwrap();
    assert!(!heard.is_empty() && heard.iter().all(|to| known.contains(to)), "{heard:?}");
}

/// The same addresses behind the name of a provider that was imported, call by call.
#[test]
fn a_providers_name_that_leads_inside_is_refused_call_by_call() {
    if !is_inside("ssrf::a_providers_name_that_leads_inside_is_refused_call_by_call") {
        return;
    }
    let names = DnsServer::start(NAME_SERVER).unwrap();
    let mut world = World::prepared();
    let description = world.weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let import = ["provider", "import", &description, "--name", "things", "--json", "--server"];
    ok_with(
        &world.weirgate,
        &[&import[..], &["https://rebind.example/", "--accept-servers"]].concat(),
        b"",
    );
    world.serve();
    let recorder = PacketRecorder::start().unwrap();
    let mut calls = 0;
    for address in hostile_addresses() {
        names.on("inner.example", [DnsReply::Addresses(vec![address])]);
        for reply in [
            DnsReply::Addresses(vec![address]),
            DnsReply::Alias("inner.example".into(), vec![]),
            DnsReply::Addresses(vec!["93.184.216.34".parse().unwrap(), address]),
        ] {
            names.on("rebind.example", [reply.clone()]);
            let answer = world.get("/things/1");
            let found = (answer.status, code(&answer));
            assert_eq!(found, (502, "provider_address_refused".into()), "{address} {reply:?}");
            assert!(!answer.text().contains(&address.to_string()) || address.is_unspecified());
            calls += 1;
        }
    }
    assert!(calls >= 400, "{calls}");
    let heard = recorder.connections().unwrap();
    assert!(heard.len() >= 400 && heard.iter().all(|to| *to == world.addr), "{heard:?}");
    assert_eq!(world.provider.connections(), 0);
}

/// An installation's own code of sign-in, where each packet is heard.
struct Hall {
    instance: Instance,
    name: Slug,
}

impl Hall {
    async fn open(folder: &Path) -> Self {
        let init = Init {
            dir: &folder.join("data"),
            server: None,
            config: "",
            root_key: RootKeyPlace::File(&folder.join("root.key")),
            custody: Custody::default(),
            actor: Self::ctx(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        };
        let instance = Instance::init(init).await.unwrap().instance;
        Self { instance, name: "corp".parse().unwrap() }
    }

    fn ctx() -> OpContext {
        let now = SystemClock.now();
        let request = Id::generate(now, &SystemRandom).unwrap();
        OpContext { actor: Actor::Local { uid: 7 }, request, now }
    }

    /// Names are asked of the system, and nothing is known from before.
    fn web() -> Web {
        let tls = Arc::new(TlsConfig::new(None).unwrap());
        Web::new(Arc::new(HickoryResolver::from_system().unwrap()), tls)
    }

    async fn add(&self, idp: &IdentityProvider) -> Result<(), app::Error> {
        let settings = Settings {
            issuer: idp.issuer().to_owned(),
            client_id: oidc::CLIENT_ID.to_owned(),
            scopes: Vec::new(),
            groups_claim: "groups".to_owned(),
            roles: [("staff".to_owned(), vec!["auditor".to_owned()])].into(),
            second_factor: ShownAt::Weirgate,
        };
        let secret = SecretBytes::new(oidc::CLIENT_SECRET.as_bytes().to_vec());
        let (instance, ctx, web) = (&self.instance, Self::ctx(), Self::web());
        sso::add(instance, &ctx, &web, &self.name, &settings, secret).await.map(drop)
    }

    /// Signs in by a provider, if it is added; why not, and `None` where it is not.
    async fn signs_in(&self, idp: &IdentityProvider) -> Option<String> {
        self.add(idp).await.ok()?;
        let (instance, web, url) = (&self.instance, Self::web(), "https://gate.example.com");
        let begun = sso::begin(instance, &web, url, &self.name, sso::Errand::SignIn).await.unwrap();
        let back = idp.pass(&begun.url);
        let (_, query) = back.split_once('?').unwrap();
        let trip = begun.trip.expose();
        let back = sso::Return { console_url: url, name: &self.name, trip, query };
        let ended = sso::end(instance, &Self::ctx(), &web, None, back).await.map(drop);
        sso::remove(instance, &Self::ctx(), &self.name).await.unwrap();
        Some(ended.unwrap_err().to_string())
    }
}

/// What an identity provider's metadata names: each spelling, and each address behind a name.
#[test]
fn what_an_identity_provider_names_sees_no_packet() {
    if !is_inside("ssrf::what_an_identity_provider_names_sees_no_packet") {
        return;
    }
    let names = DnsServer::start(NAME_SERVER).unwrap();
    let here = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    names.otherwise(DnsReply::Addresses(here));
    let mut hosts: Vec<(bool, String)> = hostile_hosts()
        .into_iter()
        .map(|(refusal, host)| (refusal == Refusal::Name, host))
        .collect();
    for (number, address) in hostile_addresses().into_iter().enumerate() {
        let name = format!("h{number}.example");
        names.on(&name, [DnsReply::Addresses(vec![address])]);
        hosts.push((true, name));
    }
    let recorder = PacketRecorder::start().unwrap();
    let now = SystemClock.now().as_micros() / 1_000_000;
    let idp = IdentityProvider::start(now).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut asked = 0;
    run(async {
        let hall = Hall::open(folder.path()).await;
        for (is_name, host) in hosts {
            let url = format!("https://{host}/x");
            let mut said = idp.metadata();
            said["jwks_uri"] = json!(url);
            idp.server().on(oidc::METADATA, Answer::json(200, &said));
            let error = hall.add(&idp).await.map(drop).unwrap_err().to_string();
            if is_name {
                assert!(error.contains("provider_address_refused"), "{host}: {error}");
            }
            let mut said = idp.metadata();
            said["token_endpoint"] = json!(url);
            idp.server().on(oidc::METADATA, Answer::json(200, &said));
            // Some spellings that are no host to others are a name to whoever reads URLs as browsers do.
            match hall.signs_in(&idp).await {
                Some(error) => {
                    assert!(error.contains("provider_address_refused"), "{host}: {error}");
                    asked += 1;
                }
                None => assert!(!is_name, "{host}"),
            }
        }
        assert!(asked > 150, "{asked}");
        // The same is heard where it is not refused: at the issuer's own place.
        idp.server().on(oidc::METADATA, Answer::json(200, &idp.metadata()));
        hall.add(&idp).await.unwrap();
    });
    let heard = recorder.connections().unwrap();
    assert!(heard.contains(&idp.server().addr()), "{heard:?}");
    assert!(heard.iter().all(|to| *to == idp.server().addr()), "{heard:?}");
}

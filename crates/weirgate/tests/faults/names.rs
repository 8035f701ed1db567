//! Name servers that lie, change their mind, fail, or say nothing, seen by callers of the gateway.

use crate::{
    is_inside,
    world::{World, code, ok},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};
use testkit::{
    Answer, Authority, DnsReply, DnsServer, FaultyProvider, PacketRecorder, THING_DESCRIPTION,
    TlsOptions, client,
};

const NAME_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
const HOST: &str = "rebind.example";

/// Public by its bits, and served here.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);

struct Rebinding {
    names: DnsServer,
    provider: FaultyProvider,
    world: World,
}

impl Rebinding {
    /// A provider at [`PUBLIC`] behind [`HOST`], with a good certificate.
    fn serving() -> Self {
        let names = DnsServer::start(NAME_SERVER).unwrap();
        let authority = Authority::new().unwrap();
        let options = TlsOptions { names: vec![HOST.into()], ..TlsOptions::default() };
        let identity = authority.issue(&options).unwrap();
        let at = SocketAddr::from((PUBLIC, 443));
        let provider = FaultyProvider::start_tls_at(at, HOST, &authority, identity).unwrap();
        let once = Answer::json(200, &testkit::thing("1")).header("Connection", "close");
        provider.on("/things/1", once);
        let mut world = World::prepared();
        let roots = world.weirgate.file("roots.pem", authority.pem()).unwrap();
        world.weirgate.set("WEIRGATE_EXTRA_ROOTS_FILE", &roots);
        world.weirgate.set("WEIRGATE_CONNECT_TIMEOUT_MS", "1500");
        let description = world.weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
        let server = format!("https://{HOST}/");
        let import = ["provider", "import", &description, "--name", "things", "--server", &server];
        ok(&world.weirgate, &[&import[..], &["--json"]].concat());
        world.serve();
        Self { names, provider, world }
    }

    fn get(&self) -> (u16, String) {
        let answer = self.world.get("/things/1");
        let code = if answer.status == 200 { String::new() } else { code(&answer) };
        (answer.status, code)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addresses(all: &[&str]) -> DnsReply {
    DnsReply::Addresses(all.iter().map(|text| ip(text)).collect())
}

/// Public at first, inside when it is asked again: each connection is one question, and what was
/// judged is what is connected to.
#[test]
fn a_name_that_is_rebound_is_refused() {
    if !is_inside("names::a_name_that_is_rebound_is_refused") {
        return;
    }
    let all = Rebinding::serving();
    let recorder = PacketRecorder::start().unwrap();
    let public = PUBLIC.to_string();
    for (number, inside) in
        ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fd00:ec2::254", "0.0.0.0"]
            .iter()
            .enumerate()
    {
        all.names.on(HOST, [addresses(&[&public]), addresses(&[inside])]);
        assert_eq!(all.get().0, 200, "{inside}");
        assert_eq!(all.names.asked(HOST), 1, "resolved once for a connection");
        for asked in 2..4 {
            assert_eq!(all.get(), (502, "provider_address_refused".into()), "{inside}");
            assert_eq!(all.names.asked(HOST), asked);
        }
        assert_eq!(all.provider.connections(), number + 1);
    }
    let known = [all.world.addr, SocketAddr::from((PUBLIC, 443))];
    let heard = recorder.connections().unwrap();
    assert!(heard.contains(&known[1]), "{heard:?}");
    assert!(heard.iter().all(|to| known.contains(to)), "{heard:?}");
    // Both at once is neither.
    all.names.on(HOST, [addresses(&[&public, "127.0.0.1"])]);
    assert_eq!(all.get(), (502, "provider_address_refused".into()));
    // And back.
    all.names.on(HOST, [addresses(&[&public])]);
    assert_eq!(all.get().0, 200);
}

/// A connection that is open stays where it was made to, whatever the name says meanwhile.
#[test]
fn an_open_connection_stays_where_it_is() {
    if !is_inside("names::an_open_connection_stays_where_it_is") {
        return;
    }
    let all = Rebinding::serving();
    all.provider.on("/things/1", Answer::json(200, &testkit::thing("1")));
    all.names.on(HOST, [addresses(&[&PUBLIC.to_string()]), addresses(&["127.0.0.1"])]);
    // A caller's connection is served by one thread, which has connections of its own.
    let mut caller = client::Connection::open(all.world.addr).unwrap();
    let bearer = format!("Bearer {}", all.world.key);
    let path = all.world.path("/things/1");
    for _ in 0..5 {
        let headers = [("Authorization", bearer.as_str())];
        assert_eq!(caller.request("GET", &path, &headers, b"").unwrap().status, 200);
    }
    assert_eq!((all.provider.connections(), all.names.asked(HOST)), (1, 1));
}

#[test]
fn name_servers_that_fail_are_told_apart_from_providers() {
    if !is_inside("names::name_servers_that_fail_are_told_apart_from_providers") {
        return;
    }
    let all = Rebinding::serving();
    let public = PUBLIC.to_string();
    for (reply, what) in [
        (DnsReply::Code(2), "SERVFAIL"),
        (DnsReply::Code(3), "NXDOMAIN"),
        (DnsReply::Code(5), "REFUSED"),
        (DnsReply::Code(1), "FORMERR"),
        (DnsReply::Addresses(vec![]), "no address"),
        (DnsReply::Silence, "silence"),
        (DnsReply::Garbage, "garbage"),
        (DnsReply::Strange(vec![ip("127.0.0.1")]), "an answer to another question"),
        (DnsReply::Alias(HOST.into(), vec![]), "an alias of itself"),
        (DnsReply::Alias("nowhere.example".into(), vec![]), "an alias of nothing"),
    ] {
        all.names.on(HOST, [reply]);
        let begun = Instant::now();
        assert_eq!(all.get(), (502, "provider_unresolvable".into()), "{what}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{what}: {:?}", begun.elapsed());
        // Nothing of it is remembered.
        all.names.on(HOST, [addresses(&[&public])]);
        assert_eq!(all.get().0, 200, "after {what}");
    }
    assert_eq!(all.provider.connections(), 10);
}

/// Thousands of addresses, which only fit into an answer over TCP: all are judged, few are tried.
#[test]
fn huge_answers_of_name_servers_are_bounded() {
    if !is_inside("names::huge_answers_of_name_servers_are_bounded") {
        return;
    }
    let all = Rebinding::serving();
    let recorder = PacketRecorder::start().unwrap();
    let many = |last: IpAddr| {
        let others = (0..4_000_u16).map(|n| {
            let [high, low] = n.to_be_bytes();
            IpAddr::from([93, 185, high, low])
        });
        DnsReply::Addresses(others.chain([last]).collect())
    };
    all.names.on(HOST, [many(ip("127.0.0.1"))]);
    assert_eq!(all.get(), (502, "provider_address_refused".into()));
    let is_theirs = |to: &&SocketAddr| **to != all.world.addr && **to != NAME_SERVER;
    let heard = recorder.connections().unwrap();
    assert_eq!(heard.iter().filter(is_theirs).count(), 0, "{heard:?}");
    all.names.on(HOST, [many(ip("93.185.255.255"))]);
    assert_eq!(all.get(), (502, "provider_unreachable".into()));
    let heard = recorder.connections().unwrap();
    assert!((1..=8).contains(&heard.iter().filter(is_theirs).count()), "{heard:?}");
}

//! Providers whose TLS is not good enough: a typed error that says why, and not one byte of a
//! request.

use crate::world::{CREDENTIAL, World, code, ok};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};
use testkit::{
    Answer, Authority, FaultyProvider, Flaw, Identity, THING_DESCRIPTION, TlsOptions, Weirgate,
    client, wait_until,
};

struct Trusting {
    authority: Authority,
    provider: FaultyProvider,
    world: World,
}

impl Trusting {
    /// A provider at `https://localhost`, whose authority is trusted.
    fn serving() -> Self {
        let authority = Authority::new().unwrap();
        let good = authority.issue(&TlsOptions::default()).unwrap();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let provider = FaultyProvider::start_tls_at(at, "localhost", &authority, good).unwrap();
        let once = Answer::json(200, &testkit::thing("1")).header("Connection", "close");
        provider.on("/things/1", once);
        let mut world = World::prepared();
        trust(&mut world, &authority.pem());
        import(&world.weirgate, "things", provider.url());
        world.serve();
        Self { authority, provider, world }
    }

    fn good(&self) -> Identity {
        self.authority.issue(&TlsOptions::default()).unwrap()
    }

    /// What a caller is told, once no secure connection was made and nothing was sent.
    fn refusal(&self, what: &str) -> String {
        self.provider.forget();
        let connections = self.provider.connections();
        let answer = self.world.get("/things/1");
        let detail = refused(&answer, what);
        assert!(self.provider.connections() > connections, "{what}: nobody came");
        assert!(self.provider.requests().is_empty(), "{what}: a request was sent");
        detail
    }
}

fn trust(world: &mut World, pem: &str) {
    let roots = world.weirgate.file("roots.pem", pem).unwrap();
    world.weirgate.set("WEIRGATE_EXTRA_ROOTS_FILE", &roots);
}

fn import(weirgate: &Weirgate, name: &str, url: &str) {
    let description = weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let host_port = url.trim_start_matches("https://");
    let import = ["provider", "import", &description, "--name", name, "--server", url];
    let rest = ["--allow-private-network", host_port, "--accept-servers", "--json"];
    ok(weirgate, &[&import[..], &rest[..]].concat());
}

fn refused(answer: &client::Response, what: &str) -> String {
    let found = (answer.status, code(answer));
    assert_eq!(found, (502, "provider_tls_failed".into()), "{what}: {}", answer.text());
    assert!(!answer.text().contains(CREDENTIAL));
    answer.json().unwrap()["detail"].as_str().unwrap().to_owned()
}

#[test]
fn bad_certificates_are_refused_each_for_its_reason() {
    let all = Trusting::serving();
    assert_eq!(all.world.get("/things/1").status, 200);
    for flaw in Flaw::ALL {
        all.provider.show(all.authority.flawed(flaw, "localhost").unwrap());
        let detail = all.refusal(&format!("{flaw:?}"));
        let wanted = match flaw {
            Flaw::Expired | Flaw::IssuerExpired => "expired",
            Flaw::NotValidYet => "not valid yet",
            Flaw::OtherName
            | Flaw::OnlyCommonName
            | Flaw::WildcardForAll
            | Flaw::WildcardInLabel => "another name",
            Flaw::OtherAuthority | Flaw::ChainBroken | Flaw::SelfSigned => "issuer is not trusted",
            Flaw::ForgedIssuer | Flaw::BentSignature | Flaw::OtherKey => "signature",
            Flaw::ClientUsage => "not for servers",
            Flaw::IsAuthority
            | Flaw::UnknownExtension
            | Flaw::IssuerIsNoAuthority
            | Flaw::IssuerForOtherNames
            | Flaw::IssuerExcludesName
            | Flaw::ChainTooLong => "not acceptable",
        };
        assert!(detail.contains(wanted), "{flaw:?}: {detail}");
        // What was shown, and nothing else, was the reason.
        all.provider.show(all.good());
        assert_eq!(all.world.get("/things/1").status, 200, "after {flaw:?}");
    }
    all.provider.show(all.authority.issue_below("localhost").unwrap());
    assert_eq!(all.world.get("/things/1").status, 200);
}

/// A provider whose certificate changes between two calls: what is shown now counts, not what was
/// shown to a session that could be resumed.
#[test]
fn a_certificate_that_turns_bad_in_mid_life_is_noticed() {
    let all = Trusting::serving();
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(all.world.get("/things/1").status, 200);
        }
        for flaw in [Flaw::Expired, Flaw::OtherAuthority, Flaw::OtherName] {
            all.provider.show(all.authority.flawed(flaw, "localhost").unwrap());
            for _ in 0..2 {
                all.refusal(&format!("{flaw:?}"));
            }
        }
        // Another good one is as good as the first.
        all.provider.show(all.good());
    }
}

/// Revocation lists (RFC 5280 §5): what is on one is refused, what hangs on an expired one too; lists
/// are followed, and connections that were judged by others are not used again.
#[test]
fn revoked_certificates_are_refused() {
    let authority = Authority::new().unwrap();
    let shown = authority.issue_numbered(7).unwrap();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let provider = FaultyProvider::start_tls_at(at, "localhost", &authority, shown).unwrap();
    provider.on("/things/1", Answer::json(200, &testkit::thing("1")));
    let mut world = World::prepared();
    trust(&mut world, &authority.pem());
    let list = |pem: &str| world.weirgate.file("lists.pem", pem).unwrap();
    let lists = list(&authority.revoke(&[8], false).unwrap());
    world.weirgate.set("WEIRGATE_CRL_FILE", &lists);
    import(&world.weirgate, "things", provider.url());
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    let replace = |pem: &str| {
        let other = world.weirgate.file("other.pem", pem).unwrap();
        std::fs::rename(other, &lists).unwrap();
    };
    let comes = |wanted: Option<&str>, what: &str| {
        let is_there = || {
            let answer = world.get("/things/1");
            let found = match wanted {
                None => answer.status == 200,
                Some(words) => answer.status == 502 && answer.text().contains(words),
            };
            (found).then_some(answer)
        };
        let answer = wait_until(std::time::Duration::from_secs(10), is_there);
        if wanted.is_some() {
            refused(&answer, what);
            provider.forget();
            refused(&world.get("/things/1"), what);
            assert!(provider.requests().is_empty(), "{what}: a request was sent");
        }
    };
    // The connection that is open was judged by the list before.
    replace(&authority.revoke(&[7, 8], false).unwrap());
    comes(Some("was revoked"), "its own");
    replace(&authority.revoke(&[8], false).unwrap());
    comes(None, "not on the list");
    replace(&authority.revoke(&[8], true).unwrap());
    comes(Some("crl_file needs a new one"), "an expired list");
    assert_eq!(found_by_doctor(&world), "bad");
    // Garbage is not taken: the expired list stays.
    replace("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n");
    let server = world.server.as_ref().unwrap();
    wait_until(std::time::Duration::from_secs(10), || {
        server.err().contains("the new revocation lists are not used")
    });
    comes(Some("crl_file needs a new one"), "garbage");
    // In the authority's name by another key; and of another authority.
    let other = Authority::new().unwrap();
    replace(&other.revoke(&[7], false).unwrap());
    comes(Some("was not signed by it"), "a forged list");
    let elsewhere = Authority::called("elsewhere").unwrap();
    replace(&elsewhere.revoke(&[7], false).unwrap());
    comes(None, "another's list");
    // Of the authority between.
    provider.show(authority.issue_below_numbered(9).unwrap());
    replace(&authority.revoke(&[9], false).unwrap());
    comes(Some("was revoked"), "its issuer");
    replace(&authority.revoke(&[], false).unwrap());
    comes(None, "an empty list");
    assert_eq!(found_by_doctor(&world), "good");
    world.stop();
}

fn found_by_doctor(world: &World) -> String {
    let doctor = world.weirgate.run(&["doctor", "--json"], b"").unwrap().json().unwrap();
    let findings = doctor["findings"].as_array().unwrap();
    let found = findings.iter().find(|one| one["check"] == "revocations").unwrap();
    found["level"].as_str().unwrap().to_owned()
}

/// Runs openssl, which makes and serves what our own TLS refuses to.
fn openssl(folder: &Path, args: &[&str]) -> bool {
    let output = Command::new("openssl").current_dir(folder).args(args).output();
    output.is_ok_and(|output| output.status.success())
}

/// Keys, algorithms and versions that were given up.
#[test]
fn weak_keys_algorithms_and_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !openssl(folder, &["version"]) {
        eprintln!("skipped: openssl is not installed; apt-get install openssl");
        return;
    }
    std::fs::write(folder.join("leaf.ext"), LEAF).unwrap();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let run = |text: &str| {
        let args = words(text);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert!(openssl(folder, &args), "openssl {text}");
    };
    run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign");
    for (name, bits, digest) in
        [("good", 2048, "sha256"), ("sha1", 2048, "sha1"), ("short", 1024, "sha256")]
    {
        run(&format!(
            "req -newkey rsa:{bits} -nodes -keyout {name}.key -out {name}.csr -subj /CN=localhost"
        ));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
             -{digest} -extfile leaf.ext -out {name}.pem"
        ));
    }
    let peers = Weirgate::binary("openssl").unwrap();
    let copy = |name: &str| peers.file(name, std::fs::read(folder.join(name)).unwrap()).unwrap();
    for name in ["good", "sha1", "short"] {
        copy(&format!("{name}.pem"));
        copy(&format!("{name}.key"));
    }
    let mut world = World::prepared();
    trust(&mut world, &std::fs::read_to_string(folder.join("ca.pem")).unwrap());
    // So that a call tells whether the gateway knows of the last import.
    world.provider.stop();
    world.serve();
    let weak = "ALL:@SECLEVEL=0";
    for (name, more, wanted) in [
        ("good", "", None),
        ("good", "-tls1_2", None),
        ("sha1", "", Some("not strong enough")),
        ("short", "", Some("key too short")),
        ("good", "-tls1_1", Some("refused the handshake")),
        ("good", "-tls1", Some("refused the handshake")),
        ("good", "-tls1_2 -cipher AES128-GCM-SHA256", Some("refused the handshake")),
        ("good", "-tls1_2 -cipher AES128-SHA256", Some("refused the handshake")),
        ("good", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA", Some("refused the handshake")),
        ("good", "-tls1_2 -cipher aNULL", Some("refused the handshake")),
        ("good", "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", Some("refused the handshake")),
        ("good", "-tls1_3 -groups ffdhe2048", Some("refused the handshake")),
    ] {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let mut args = vec!["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", &cert];
        args.extend(["-key", &key]);
        if !more.contains("-cipher") {
            args.extend(["-cipher", weak]);
        }
        let more_words = words(more);
        let more_words: Vec<&str> = more_words.iter().map(String::as_str).collect();
        for word in more_words.iter().filter(|word| !word.is_empty()) {
            args.push(word);
        }
        let weak_cipher = format!("{}:@SECLEVEL=0", more_words.last().unwrap());
        if more.contains("-cipher") {
            args.pop();
            args.push(&weak_cipher);
        }
        let mut server = peers.spawn(&args).unwrap();
        let line = server.wait_for_line(|line| line.starts_with("ACCEPT")).unwrap();
        let port: u16 = line.rsplit(':').next().unwrap().trim().parse().unwrap();
        import(&world.weirgate, "things", &format!("https://localhost:{port}"));
        // The gateway follows the import.
        let answer = wait_until(std::time::Duration::from_secs(10), || {
            let answer = world.get("/things/1");
            let old = ["provider_unreachable", "provider_updating"];
            (answer.status == 200 || !old.contains(&code(&answer).as_str())).then_some(answer)
        });
        match wanted {
            // A page about the handshake, which is no JSON.
            None => assert_eq!(code(&answer), "answer_media", "{name} {more}: {}", answer.text()),
            Some(wanted) => {
                let detail = refused(&answer, &format!("{name} {more}"));
                assert!(detail.contains(wanted), "{name} {more}: {detail}");
            }
        }
        let said = server.kill9().unwrap();
        let said = said.out() + &said.err();
        assert!(wanted.is_none() || !said.contains("/things/1"), "{name} {more}: {said}");
    }
}

const LEAF: &str = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n\
                    extendedKeyUsage=serverAuth\n";

//! A URL that leaves leads to the gateway and nowhere else, to the same place behind it, and carries
//! no credential.

use crate::{echoes::echoes, input::text};
use audit::Commitment;
use gateway::{
    ConnectionEntry, Decision, Meter, ProviderEntry, RequestRule, Rights, fuzzing::Urls,
    is_credential_name,
};
use percent_encoding::{percent_decode, percent_decode_str};
use provider::{LoadLimits, PathRouter};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use types::{Action, Environment, Id, Timestamp};
use url::Url;
use vault::Placement;

const BASE: &str = "https://api.example/v1";
const PLACE: &str = "/employees?page=1";
const PUBLIC: &str = "https://gate.example";
/// What may not be repeated, and the parameter that carries it.
const SECRET: &str = "s3cr3t-k3y+0123/45";
const PARAM: &str = "appKey";

/// What may be asked for, and what is declared but not granted.
const DESCRIPTION: &str = r#"{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {
    "/employees": {"get": {"parameters": [
        {"name": "page", "in": "query"}, {"name": "cursor", "in": "query"},
        {"name": "limit", "in": "query"},
        {"name": "sort", "in": "query"}, {"name": "appKey", "in": "query"}]}},
    "/employees/{id}": {"get": {}, "delete": {}},
    "/salaries/{id}": {"get": {}}}}"#;

/// Of the operations of [`DESCRIPTION`] those on employees.
fn rights(model: &provider::Provider) -> Rights {
    let decision = Arc::new(Decision {
        fingerprint: [0; 16],
        valid_until: Timestamp::MAX,
        action: Action::Read,
        object: None,
        shape: [0; 16],
        params: ["page", "cursor", "limit"].map(str::to_owned).into(),
        headers: BTreeSet::new(),
        request: RequestRule::None,
        answers: Vec::new(),
        error_inside: None,
        is_open: false,
        policies: gateway::Policies::Open,
        errors: BTreeSet::new(),
    });
    let all = model.operations.iter().enumerate();
    let granted = all.filter(|(_, one)| one.path.text().starts_with("/employees"));
    Rights { operations: granted.map(|(index, _)| (index, Arc::clone(&decision))).collect() }
}

fn connection(model: provider::Provider) -> ConnectionEntry {
    let router = PathRouter::new(&model);
    let meter = Arc::new(Meter::new(Vec::new(), 1));
    ConnectionEntry {
        id: Id::from_u128(1),
        environment: Environment::Test,
        customer: Id::from_u128(2),
        customer_commitment: Commitment::new(&[1; 32], b"a customer"),
        provider: Arc::new(ProviderEntry {
            digest: [0; 32],
            id: Id::from_u128(3),
            slug: "a".into(),
            model,
            router,
            meter: Arc::clone(&meter),
        }),
        servers: Vec::new(),
        server_of: HashMap::new(),
        guard: Arc::default(),
        credential: gateway::CredentialEntry::None,
        credential_params: BTreeSet::from([PARAM.to_owned()]),
        credential_headers: BTreeSet::new(),
        meter,
        fixed_headers: Vec::new(),
    }
}

pub(crate) fn hold(data: &[u8]) -> bool {
    let Some(given) = text(data) else { return false };
    let model = provider::load(DESCRIPTION.as_bytes(), None, &LoadLimits::default());
    let model = model.expect("a description");
    let rights = rights(&model);
    let connection = Arc::new(connection(model));
    let prefix = format!("{PUBLIC}/proxy/{}/", connection.id);
    let echoes = echoes(SECRET, Placement::Query { name: PARAM.into() }).expect("a secret");
    let mut urls = Urls::new(connection, rights, BASE, PLACE, PUBLIC, echoes).expect("good URLs");
    let mut passed = false;
    if let Some(url) = urls.location(given) {
        passed = true;
        judge(&url, &prefix);
        let asked = Url::parse(&format!("{BASE}{PLACE}"));
        let meant = asked.and_then(|asked| asked.join(given)).expect("it was read");
        let ours = Url::parse(&url).expect("a URL");
        let rest = ours.as_str().strip_prefix(&prefix).expect("below the connection");
        let back = Url::parse(&format!("{BASE}/{rest}")).expect("a URL");
        let decoded = |url: &Url| percent_decode_str(url.path()).collect::<Vec<u8>>();
        assert_eq!(decoded(&back), decoded(&meant), "it leads elsewhere");
    }
    let links = urls.links(given);
    assert!(links.len() <= 8 << 10, "{} bytes", links.len());
    for link in links.split(", ").filter(|link| !link.is_empty()) {
        passed = true;
        let (url, rest) = link
            .strip_prefix('<')
            .and_then(|link| link.split_once(">; rel=\""))
            .expect("the form of a link");
        judge(url, &prefix);
        assert_eq!(url.split('?').next(), Some(&*format!("{prefix}employees")), "another place");
        let relations = rest.strip_suffix('"').expect("the form of a link");
        let known = ["first", "prev", "previous", "self", "next", "last"];
        assert!(relations.split(' ').all(|one| known.contains(&one)), "{relations}");
    }
    if let Some(member) = urls.member(given) {
        passed = true;
        assert!(!repeats(&member), "{member}");
        // Followed by a client from where it asked.
        let from = Url::parse(&format!("{prefix}employees")).expect("a URL");
        if let Ok(followed) = from.join(&member) {
            let is_web = ["http", "https", "ws", "wss", "ftp"].contains(&followed.scheme());
            let leads_away = is_web && followed.host_str() != Some("gate.example");
            assert!(!leads_away, "{member}");
        }
    }
    passed
}

fn judge(url: &str, prefix: &str) {
    assert!(url.starts_with(prefix), "{url}");
    assert!(url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte)), "{url}");
    assert!(!repeats(url), "{url}");
    let read = Url::parse(url).expect("a URL");
    assert_eq!(read.as_str(), url, "another reader makes something else of it");
    let path = read.path().strip_prefix("/proxy/").and_then(|rest| rest.split_once('/'));
    let segments: Vec<&str> = path.expect("below a connection").1.split('/').collect();
    assert!(segments[0] == "employees" && segments.len() <= 2, "nobody may go there: {url}");
    for (name, _) in read.query_pairs() {
        let is_own = name.eq_ignore_ascii_case(PARAM);
        assert!(!is_credential_name(&name) && !is_own, "{url}");
        assert!(
            segments.len() == 1 && ["page", "cursor", "limit"].contains(&&*name),
            "nobody may ask so: {url}"
        );
    }
}

fn repeats(text: &str) -> bool {
    let mut text = text.as_bytes().to_vec();
    for _ in 0..4 {
        if text.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
            return true;
        }
        text = percent_decode(&text).collect();
    }
    false
}

//! Plans that are good, and what is said of bad ones.

use super::{
    read::{from_description, from_extension},
    *,
};
use crate::model::SecurityScheme;
use serde_json::{Value, json};

fn read(scheme: &SecurityScheme, value: &Value) -> Result<AuthPlan, String> {
    let code = Flow::AuthorizationCode {
        authorization_url: UrlTemplate::parse("https://login.example.com/authorize").unwrap(),
        token_url: UrlTemplate::parse("https://login.example.com/token").unwrap(),
        refresh_url: UrlTemplate::parse("https://login.example.com/refresh").unwrap(),
    };
    let described = from_description(vec![code]);
    let described = matches!(scheme, SecurityScheme::OAuth2 { .. }).then_some(described).flatten();
    let variables = BTreeSet::from(["tenant".to_owned()]);
    from_extension(value, scheme, described.as_ref(), &variables)
}

fn oauth2_scheme() -> SecurityScheme {
    SecurityScheme::OAuth2 { flows: vec!["authorizationCode".into()], scopes: BTreeSet::new() }
}

fn header_scheme() -> SecurityScheme {
    SecurityScheme::ApiKeyHeader { name: "X-Key".into() }
}

/// Where the calls of a plan get something, and the members of its secret.
fn shown(plan: &AuthPlan) -> (Vec<String>, Vec<&str>) {
    let places = plan.apply.iter().map(|apply| match apply {
        Apply::Header { name, .. } => name.clone(),
        Apply::Query { name, .. } => format!("?{name}"),
    });
    (places.collect(), plan.inputs.keys().map(String::as_str).collect())
}

#[test]
fn good_plans_are_read() {
    let check = |scheme: SecurityScheme, value: Value, places: &[&str], inputs: &[&str]| {
        let plan = read(&scheme, &value).unwrap_or_else(|why| panic!("{value}: {why}"));
        let (found, members) = shown(&plan);
        assert_eq!(found, places, "{value}");
        assert_eq!(members, inputs, "{value}");
    };
    let client = ["client_id", "client_secret", "refresh_token"];
    let key = ["client_id", "client_secret", "key_id", "private_key", "refresh_token"];
    check(oauth2_scheme(), json!({"oauth2": {}}), &["authorization"], &client);
    check(
        oauth2_scheme(),
        json!({"oauth2": {"flow": "client_credentials", "token_url": "https://${tenant}.example.com/token"}}),
        &["authorization"],
        &client,
    );
    check(
        oauth2_scheme(),
        json!({"oauth2": {"client_auth": "private_key_jwt"}}),
        &["authorization"],
        &key,
    );
    check(
        oauth2_scheme(),
        json!({"oauth2": {"flow": "jwt_bearer", "token_url": "https://a.example.com/t",
            "assertion": {"algorithm": "RS256", "claims": {"iss": "${client_id}"}}}}),
        &["authorization"],
        &key,
    );
    check(
        oauth2_scheme(),
        json!({"oauth2": {"client_auth": "tls", "dpop": true, "pkce": false}}),
        &["authorization"],
        &["certificate", "client_id", "client_secret", "private_key", "refresh_token"],
    );
    check(header_scheme(), json!({}), &["x-key"], &["api_key"]);
    check(
        SecurityScheme::ApiKeyQuery { name: "k".into() },
        json!({"headers": {"X-Other": "Key ${api_key}"}}),
        &["x-other"],
        &["api_key"],
    );
    check(SecurityScheme::Basic, json!({}), &["authorization"], &["password", "username"]);
    check(
        SecurityScheme::Basic,
        json!({"inputs": {"key": {}}, "headers": {"Authorization": "Basic ${base64(key, ':x')}"}}),
        &["authorization"],
        &["key"],
    );
    check(SecurityScheme::MutualTls, json!({}), &[], &["certificate", "private_key"]);
    check(
        header_scheme(),
        json!({"client_certificate": true, "headers": {"X-Key": "${api_key}"}, "inputs": {"api_key": {}}}),
        &["x-key"],
        &["api_key", "certificate", "private_key"],
    );
    check(
        SecurityScheme::Bearer,
        json!({"aws_sigv4": {"service": "s3", "region": "${tenant}"}}),
        &[],
        &["access_key_id", "secret_access_key", "session_token"],
    );
    check(
        header_scheme(),
        json!({"inputs": {"user": {"secret": false}, "password": {"pattern": "[a-z]+"}},
            "steps": [
                {"method": "POST", "url": "https://${tenant}.example.com/login",
                 "json": {"user": "${user}", "list": ["${password}", 1, null]},
                 "take": {"ticket": {"from": "/data/ticket", "pattern": "t-(.*)", "optional": false}}},
                {"method": "GET", "url": "https://a.example.com/session", "query": {"t": "${ticket}"},
                 "take": {"access_token": "header:X-Session"}}],
            "expires": {"at": "/expires", "format": "unix_ms"}}),
        &["x-key"],
        &["password", "user"],
    );
    check(
        SecurityScheme::Bearer,
        json!({"inputs": {"id": {}, "secret": {}},
            "let": {"at": "${now('unix')}", "sum": "${hex(sha256(request.body))}"},
            "headers": {"X-At": "${at}", "X-Sign": "${base64(hmac_sha512(secret, id, at, sum, request.target))}"},
            "query": {"n": "${hex(random(16))}"}}),
        &["x-at", "x-sign", "?n"],
        &["id", "secret"],
    );
    for expires in [
        json!({"in": "/expires_in"}),
        json!({"at": "/e", "format": "rfc3339"}),
        json!({"at": "header:X-Until", "format": "unix"}),
        json!({"after": 3600}),
        json!({"jwt": true}),
        json!({}),
    ] {
        check(
            oauth2_scheme(),
            json!({"oauth2": {}, "expires": expires}),
            &["authorization"],
            &client,
        );
    }
}

#[test]
fn what_is_no_secret_is_told_apart() {
    let value = json!({"inputs": {"user": {"secret": false}, "username": {}, "password": {}},
        "steps": [{"method": "GET", "url": "https://a.example.com/",
            "take": {"access_token": "/t", "site": {"from": "/s", "secret": false}}}]});
    let plan = read(&SecurityScheme::Bearer, &value).unwrap();
    for (name, expected) in [
        ("user", false),
        ("username", false),
        ("password", true),
        ("access_token", true),
        ("site", false),
        ("other", false),
    ] {
        assert_eq!(plan.is_secret(name), expected, "{name}");
    }
}

#[test]
fn tokens_that_are_bound_have_a_word_of_their_own() {
    let header = |value: Value| {
        let plan = read(&oauth2_scheme(), &value).unwrap();
        plan.apply.into_iter().next()
    };
    let expected = |word: &str| {
        let value = Template::behind(word, "access_token");
        Some(Apply::Header { name: "authorization".into(), value })
    };
    assert_eq!(header(json!({"oauth2": {"dpop": true}})), expected("DPoP "));
    assert_eq!(header(json!({"oauth2": {}})), expected("Bearer "));
}

#[test]
fn bad_plans_are_refused_with_the_reason() {
    let many: serde_json::Map<String, Value> =
        (0..33).map(|number| (format!("n{number}"), json!({}))).collect();
    let step = |change: Value| {
        let mut step = json!({"method": "POST", "url": "https://a.example.com/", "take": {"access_token": "/t"}});
        step.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"steps": [step]})
    };
    let flow = |change: Value| {
        let mut flow =
            json!({"flow": "client_credentials", "token_url": "https://a.example.com/t"});
        flow.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"oauth2": flow})
    };
    let table: Vec<(Value, &str)> = vec![
        (json!({"script": "x"}), "unknown field `script`"),
        (json!({"inputs": {"a": {"patern": "x"}}}), "unknown field `patern`"),
        (json!({"inputs": {"a-b": {}}}), "letters, digits and _"),
        (json!({"inputs": {"1a": {}}}), "letters, digits and _"),
        (json!({"inputs": {"a": {"pattern": "("}}}), "no regular expression"),
        (json!({"inputs": {"a": {"pattern": "(a{1000}){1000}"}}}), "too large"),
        (json!({"inputs": many}), "33 parts, at most 32"),
        (json!({"headers": {"X-A": "${tokn}"}, "inputs": {"token": {}}}), "did you mean `token`?"),
        (json!({"headers": {"X-A": "${zzzzzzz}"}}), "uses `zzzzzzz`, which has no value"),
        (json!({"headers": {"X-A": 7}}), "`headers.X-A` is no text"),
        (json!({"headers": {"Host": "${token}"}}), "`host`, in which no credential may be"),
        (json!({"headers": {"Content-Length": "1"}}), "`content-length`"),
        (json!({"headers": {"Transfer-Encoding": "chunked"}}), "`transfer-encoding`"),
        (json!({"headers": {"Cookie": "a=${token}"}}), "`cookie`"),
        (json!({"headers": {"X A": "${token}"}}), "no header can have"),
        (json!({"headers": {"X-A": "a", "x-a": "b"}}), "`x-a` twice"),
        (json!({"headers": {"X-A": "${token"}}), "expected `}`"),
        (json!({"headers": {"X-A": "${system('ls')}"}}), "no such function"),
        (json!({"headers": {"X-A": "${hmac_sha256(token, 'a')}"}}), "bytes are no text"),
        (json!({"headers": {"X-A": "${hex(random(8))}"}}), "from 16 to 64"),
        (json!({"let": {"a-b": "x"}}), "letters, digits and _"),
        (json!({"let": {"a": "${b}", "b": "x"}}), "`let` uses `b`"),
        (json!({"expires": {"after": 60}}), "without `oauth2` or `steps`"),
        (json!({"oauth2": {}, "steps": []}), "exclude each other"),
        (json!({"steps": []}), "`steps` is empty"),
        (json!({"oauth2": {}}), "`oauth2.flow` is missing"),
        (
            json!({"oauth2": {"flow": "password", "token_url": "https://a.example.com/t"}}),
            "is authorization_code, client_credentials or jwt_bearer",
        ),
        (
            json!({"oauth2": {"flow": "implicit", "token_url": "https://a.example.com/t"}}),
            "is authorization_code, client_credentials or jwt_bearer",
        ),
        (json!({"oauth2": {"flow": "client_credentials"}}), "`oauth2.token_url` is missing"),
        (
            json!({"oauth2": {"flow": "authorization_code", "token_url": "https://a.example.com/t"}}),
            "`oauth2.authorization_url` is missing",
        ),
        (
            json!({"oauth2": {"flow": "jwt_bearer", "token_url": "https://a.example.com/t"}}),
            "needs `oauth2.assertion`",
        ),
        (flow(json!({"client_auth": "magic"})), "unknown variant `magic`"),
        (flow(json!({"client_algorithm": "HS256"})), "unknown variant `HS256`"),
        (flow(json!({"assertion": {"algorithm": "none", "claims": {}}})), "unknown variant `none`"),
        (
            flow(json!({"assertion": {"algorithm": "RS256", "claims": {"exp": "1"}}})),
            "leaves iat, exp, nbf and jti",
        ),
        (
            flow(json!({"assertion": {"algorithm": "RS256", "claims": {}, "lasts": 3601}})),
            "1 to 3600 seconds",
        ),
        (
            flow(json!({"assertion": {"algorithm": "RS256", "claims": {}, "lasts": 0}})),
            "1 to 3600 seconds",
        ),
        (flow(json!({"token_url": "https://${tenant}/t"})), "could lead elsewhere"),
        (flow(json!({"token_url": "https://a.example.com.${tenant}/t"})), "could lead elsewhere"),
        (flow(json!({"token_url": "https://${tenant}.co.uk/t"})), "could lead elsewhere"),
        (
            flow(json!({"token_url": "https://${lower(tenant)}.example.com/t"})),
            "only names may stand",
        ),
        (flow(json!({"token_url": "ftp://a.example.com/t"})), "does not begin with https://"),
        (flow(json!({"token_url": "https://a.example.com/t#x"})), "it has a fragment"),
        (flow(json!({"token_url": "https://me@a.example.com/t"})), "its host is malformed"),
        (flow(json!({"token_url": "https://a.example.com:99999/t"})), "its port is malformed"),
        (flow(json!({"token_url": "https://${nowhere}.example.com/t"})), "uses `nowhere`"),
        (flow(json!({"token_params": {"a": 1}})), "`oauth2.token_params.a` is no text"),
        (flow(json!({"token_params": {"a": "${access_token}"}})), "uses `access_token`"),
        (flow(json!({"token_headers": {"Host": "a"}})), "frames the message"),
        (flow(json!({"token_headers": {"Content-Length": "1"}})), "frames the message"),
        (flow(json!({"access_token": "data.token"})), "neither a JSON pointer"),
        (flow(json!({"take": {"a": "data"}})), "neither a JSON pointer"),
        (flow(json!({"take": {"a": {"from": "/a", "regex": "x"}}})), "unknown field `regex`"),
        (flow(json!({"take": {"a": 7}})), "`oauth2.take.a`"),
        (flow(json!({"take": {"a": {"from": "/a", "pattern": "["}}})), "no regular expression"),
        (step(json!({"method": "DELETE"})), "unknown variant `DELETE`"),
        (step(json!({"method": "GET", "form": {"a": "b"}})), "a GET has no body"),
        (step(json!({"form": {}, "json": {}})), "exclude each other"),
        (step(json!({"take": {}})), "takes nothing of its answer"),
        (step(json!({"take": {"session": "/s"}})), "take no `access_token`"),
        (step(json!({"headers": {"TE": "x"}})), "frames the message"),
        (step(json!({"headers": {"": "x"}})), "no header can have"),
        (step(json!({"json": {"a": "${access_token}"}})), "uses `access_token`"),
        (step(json!({"form": {"a": "${request.body}"}})), "uses `request.body`"),
        (
            json!({"steps": [{"method": "POST", "url": "https://a.example.com/", "take": {"access_token": "/t"}}], "expires": {"at": "/e"}}),
            "`expires` is one of",
        ),
        (
            json!({"steps": [{"method": "POST", "url": "https://a.example.com/", "take": {"session": "/t"}}], "headers": {"X-A": "${session}"}, "expires": {"jwt": true}}),
            "which no step takes",
        ),
        (json!({"aws_sigv4": {"service": "s3"}}), "missing field `region`"),
        (
            json!({"aws_sigv4": {"service": "s3", "region": "${regoin}"}, "inputs": {"region": {}}}),
            "did you mean `region`?",
        ),
        (
            json!({"headers": {"X-R": "${refresh_token}"}, "oauth2": {"flow": "client_credentials", "token_url": "https://a.example.com/t"}}),
            "`headers` uses `refresh_token`",
        ),
        (json!([1]), "invalid type"),
    ];
    assert!(table.len() >= 40);
    for (value, words) in table {
        let why = read(&SecurityScheme::Bearer, &value).expect_err(&value.to_string());
        assert!(why.contains(words), "{value}: {why}");
    }
    let cookie = SecurityScheme::ApiKeyCookie { name: "session".into() };
    let why = read(&cookie, &json!({})).unwrap_err();
    assert!(why.contains("never goes into a cookie"), "{why}");
}

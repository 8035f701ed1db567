//! Conversations byte for byte, and every kind of answer.

use super::{
    AcquireError, Acquisition, AuthorizationUrl, Goal, Moment, Progress, TokenAnswer, TokenRequest,
    TokenSet, Variables,
};
use provider::{LoadLimits, auth::AuthPlan};
use secrecy::zeroize::Zeroizing;
use std::time::Duration;
use types::{SeededRandom, Timestamp};

/// In every secret: no error and no debugging text may have it.
const CANARY: &str = "canary-58d1";
/// 2026-01-02T03:04:05Z
const NOW: i64 = 1_767_323_045;

pub(super) fn plan(auth: &str) -> AuthPlan {
    let description = "openapi: 3.1.0\ninfo: {title: t, version: '1'}\nservers: [{url: 'https://{tenant}.example.com', variables: {tenant: {default: a}}}]\npaths: {}\n";
    let overlay = format!(
        "overlay: 1.0.0\ninfo: {{title: t, version: '1'}}\nactions: [{{target: $, update: {{components: {{securitySchemes: {{auth: {{type: http, scheme: bearer, x-weirgate-auth: {auth}}}}}}}}}}}]\n"
    );
    let limits = LoadLimits::default();
    let model = provider::load(description.as_bytes(), Some(overlay.as_bytes()), &limits).unwrap();
    let diagnostics = format!("{:?}", model.diagnostics);
    model.auth.get("auth").unwrap_or_else(|| panic!("{auth}: {diagnostics}")).clone()
}

pub(super) fn values(pairs: &[(&str, &str)]) -> Variables {
    let mut values = Variables::default();
    for (name, value) in pairs {
        values.set(name, value);
    }
    values
}

fn client() -> Variables {
    values(&[
        ("client_id", "s6BhdRkqt3"),
        ("client_secret", "gX1f BAt3bV~:"),
        ("tenant", "acme"),
        ("user", "ada"),
        ("password", CANARY),
    ])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((NOW + seconds) * 1_000_000)
}

fn with_moment<T>(run: impl FnOnce(Moment<'_>) -> T) -> T {
    let random = SeededRandom::new(7);
    run(Moment { now: at(0), random: &random })
}

/// A request as one text: method, URL, headers by name, body.
fn written(request: &TokenRequest) -> String {
    let mut headers: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    headers.sort();
    let body = String::from_utf8_lossy(&request.body);
    format!("{} {}\n{}\n\n{body}", request.method, request.url.as_str(), headers.join("\n"))
}

fn begin(plan: &AuthPlan, goal: Goal<'_>, held: Option<TokenSet>, scopes: &[&str]) -> String {
    let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let mut acquisition = Acquisition::new(plan, goal, client(), held, scopes).unwrap();
    with_moment(|moment| acquisition.begin(moment)).map(|request| written(&request)).unwrap()
}

fn held(refresh: Option<&str>) -> TokenSet {
    let mut set = TokenSet::empty(at(-100));
    set.values = values(&[("access_token", "old"), ("site", "first"), ("other", "stays")]);
    set.refresh_token = refresh.map(|token| Zeroizing::new(token.to_owned()));
    set.asked = vec!["read".into()];
    set.granted = Some(vec!["read".into(), "extra".into()]);
    set
}

/// The answer to the first request of a conversation.
fn answered(
    plan: &AuthPlan,
    held: Option<TokenSet>,
    answer: (u16, &[(&str, &str)], &str),
) -> Result<TokenSet, AcquireError> {
    let mut acquisition = Acquisition::new(plan, Goal::Renew, client(), held, Vec::new())?;
    with_moment(|moment| acquisition.begin(moment))?;
    let (status, headers, body) = answer;
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned())))
        .collect();
    let answer = TokenAnswer { status, headers: &headers, body: body.as_bytes() };
    assert!(!format!("{answer:?}{acquisition:?}").contains(CANARY));
    match with_moment(|moment| acquisition.answered(&answer, moment))? {
        Progress::Done(set) => Ok(*set),
        Progress::Kept(_, error) => Err(error),
        Progress::Ask(request) => panic!("asks again: {}", written(&request)),
    }
}

const CLIENT: &str =
    "{oauth2: {flow: client_credentials, token_url: 'https://server.example.com/token'}}";
const CODE: &str = "{oauth2: {flow: authorization_code, authorization_url: 'https://server.example.com/authorize?a=1', token_url: 'https://server.example.com/token', refresh_url: 'https://server.example.com/again'}}";
/// RFC 6749 §2.3.1: both are encoded before they are joined.
const BASIC: &str = "authorization: Basic czZCaGRSa3F0MzpnWDFmJTIwQkF0M2JWfiUzQQ==";

/// The same plan with more in its `oauth2`.
fn with(plan: &str, more: &str) -> String {
    format!("{}, {more}}}}}", plan.trim_end_matches("}}"))
}

#[test]
fn requests_of_rfc_6749() {
    let code = Goal::Code {
        code: "SplxlOBeZQQYbYS6WxSbIA",
        redirect_uri: "https://c.example/cb",
        verifier: "dBjftJeZ4CVP",
    };
    let check = |auth: &str, goal: Goal<'_>, held, scopes: &[&str], expected: String| {
        assert_eq!(begin(&plan(auth), goal, held, scopes), expected, "{auth}");
    };
    let form = "content-type: application/x-www-form-urlencoded";
    let json = "content-type: application/json";
    let accept = "accept: application/json";
    let token = "POST https://server.example.com/token";
    let exchange = "grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA&redirect_uri=https%3A%2F%2Fc.example%2Fcb";
    // §4.1.3, §4.4.2 and §6 with RFC 7636 §4.5.
    check(
        CODE,
        code,
        None,
        &["read"],
        format!("{token}\n{accept}\n{BASIC}\n{form}\n\n{exchange}&code_verifier=dBjftJeZ4CVP"),
    );
    check(
        &with(CODE, "pkce: false"),
        code,
        None,
        &[],
        format!("{token}\n{accept}\n{BASIC}\n{form}\n\n{exchange}"),
    );
    check(
        CLIENT,
        Goal::Renew,
        None,
        &[],
        format!("{token}\n{accept}\n{BASIC}\n{form}\n\ngrant_type=client_credentials"),
    );
    check(
        CLIENT,
        Goal::Renew,
        None,
        &["a", "b"],
        format!("{token}\n{accept}\n{BASIC}\n{form}\n\ngrant_type=client_credentials&scope=a%20b"),
    );
    check(
        CODE,
        Goal::Renew,
        Some(held(Some("tGzv3JOkF0XG5Qx2TlKWIA"))),
        &["a"],
        format!(
            "POST https://server.example.com/again\n{accept}\n{BASIC}\n{form}\n\ngrant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA"
        ),
    );
    // Whoever can ask anew does not renew.
    check(
        CLIENT,
        Goal::Renew,
        Some(held(Some("r"))),
        &[],
        format!("{token}\n{accept}\n{BASIC}\n{form}\n\ngrant_type=client_credentials"),
    );
    let secret = "gX1f%20BAt3bV~%3A";
    for (change, auth_form, auth_json) in [
        (
            "client_auth: body",
            format!("&client_id=s6BhdRkqt3&client_secret={secret}"),
            r#","client_id":"s6BhdRkqt3","client_secret":"gX1f BAt3bV~:""#,
        ),
        ("client_auth: none", "&client_id=s6BhdRkqt3".to_owned(), r#","client_id":"s6BhdRkqt3""#),
        ("client_auth: tls", "&client_id=s6BhdRkqt3".to_owned(), r#","client_id":"s6BhdRkqt3""#),
    ] {
        check(
            &with(CLIENT, change),
            Goal::Renew,
            None,
            &["a"],
            format!(
                "{token}\n{accept}\n{form}\n\ngrant_type=client_credentials&scope=a{auth_form}"
            ),
        );
        let asked = with(CLIENT, &format!("{change}, json: true"));
        check(
            &asked,
            Goal::Renew,
            None,
            &["a"],
            format!(
                "{token}\n{accept}\n{json}\n\n{{\"grant_type\":\"client_credentials\",\"scope\":\"a\"{auth_json}}}"
            ),
        );
        let again = with(CODE, change);
        check(
            &again,
            Goal::Renew,
            Some(held(Some("r"))),
            &[],
            format!(
                "POST https://server.example.com/again\n{accept}\n{form}\n\ngrant_type=refresh_token&refresh_token=r{auth_form}"
            ),
        );
        check(
            &again,
            code,
            None,
            &[],
            format!(
                "{token}\n{accept}\n{form}\n\n{exchange}&code_verifier=dBjftJeZ4CVP{auth_form}"
            ),
        );
    }
    check(
        &with(CLIENT, "json: true"),
        Goal::Renew,
        None,
        &[],
        format!("{token}\n{accept}\n{BASIC}\n{json}\n\n{{\"grant_type\":\"client_credentials\"}}"),
    );
    // What is asked for always, joined as the provider wants it; parameters that change or go; headers.
    let odd = with(
        CLIENT,
        "scopes: [z, a], scope_separator: ',', token_params: {grant_type: 'cc', audience: 'https://${tenant}', scope: null, s: '${client_id}'}, token_headers: {X-Api: '${tenant}', Authorization: 'Key ${client_secret}', Accept: '*/*'}",
    );
    check(
        &odd,
        Goal::Renew,
        None,
        &["a"],
        format!(
            "{token}\naccept: */*\nauthorization: Key gX1f BAt3bV~:\n{form}\nx-api: acme\n\ngrant_type=cc&audience=https%3A%2F%2Facme&s=s6BhdRkqt3"
        ),
    );
    let scopes = with(CLIENT, "scopes: [z, a], scope_separator: ','");
    check(
        &scopes,
        Goal::Renew,
        None,
        &["a"],
        format!("{token}\n{accept}\n{BASIC}\n{form}\n\ngrant_type=client_credentials&scope=a%2Cz"),
    );
}

#[test]
fn steps_are_asked_one_after_the_other() {
    let plan = plan("{inputs: {user: {}, password: {}}, steps: [
        {method: POST, url: 'https://${tenant}.example.com/login', headers: {X-User: '${user}'}, json: {u: '${user}', p: ['${password}', 7, true, null]}, take: {ticket: {from: /data/0/t, pattern: 't-(.+)'}}},
        {method: PUT, url: 'https://a.example.com/${ticket}?x=1', query: {q: '${ticket}'}, form: {t: '${ticket}'}, take: {nonce: 'header:X-Nonce'}},
        {method: GET, url: 'https://a.example.com/s', headers: {X-N: '${nonce}'}, take: {access_token: /t}}],
        expires: {after: 60}}");
    let mut asks = Acquisition::new(&plan, Goal::Renew, client(), None, Vec::new()).unwrap();
    let first = with_moment(|moment| asks.begin(moment)).unwrap();
    assert_eq!(
        written(&first),
        format!(
            "POST https://acme.example.com/login\naccept: application/json\ncontent-type: application/json\nx-user: ada\n\n{{\"u\":\"ada\",\"p\":[\"{CANARY}\",7,true,null]}}"
        )
    );
    let mut next = |headers: &[(&str, &str)], body: &str| {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned())))
            .collect();
        let answer = TokenAnswer { status: 200, headers: &headers, body: body.as_bytes() };
        with_moment(|moment| asks.answered(&answer, moment)).unwrap()
    };
    let Progress::Ask(second) = next(&[], r#"{"data":[{"t":"t-a/b"}]}"#) else { panic!("done") };
    assert_eq!(
        written(&second),
        "PUT https://a.example.com/a%2Fb?x=1&q=a%2Fb\naccept: application/json\ncontent-type: application/x-www-form-urlencoded\n\nt=a%2Fb"
    );
    let Progress::Ask(third) = next(&[("x-nonce", "n")], "") else { panic!("done") };
    assert_eq!(
        written(&third),
        "GET https://a.example.com/s\naccept: application/json\nx-n: n\n\n"
    );
    let Progress::Done(set) = next(&[], r#"{"t":"secret"}"#) else { panic!("asks") };
    assert_eq!(set.values.get("access_token"), Some("secret"));
    assert_eq!(set.values.get("ticket"), Some("a/b"));
    assert_eq!(set.expires_at, Some(at(60)));
}

#[test]
fn tokens_are_found_and_their_end_is_known() {
    let jwt = |claims: &str| {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        format!(r#"{{"access_token":"e30.{}.x"}}"#, URL_SAFE_NO_PAD.encode(claims))
    };
    let check =
        |change: &str, expires: &str, answer: (&[(&str, &str)], &str), expected: Option<i64>| {
            let auth = with(CLIENT, change);
            let auth = format!("{}, expires: {expires}}}", auth.strip_suffix('}').unwrap());
            let set = answered(&plan(&auth), None, (200, answer.0, answer.1)).unwrap();
            assert!(set.values.has("access_token"));
            assert_eq!(set.expires_at, expected.map(at), "{expires} {}", answer.1);
        };
    let secs = "{in: /expires_in}";
    check("", secs, (&[], r#"{"access_token":"t","expires_in":3600}"#), Some(3600));
    check("", secs, (&[], r#"{"access_token":"t","expires_in":"3600"}"#), Some(3600));
    check("", secs, (&[], r#"{"access_token":"t","expires_in":3600.0}"#), Some(3600));
    check("", secs, (&[], r#"{"access_token":"t"}"#), None);
    for none in ["0", "-1", "\"soon\"", "null", "true", "[]", "{}"] {
        check("", secs, (&[], &format!(r#"{{"access_token":"t","expires_in":{none}}}"#)), None);
    }
    check("", secs, (&[], r#"{"access_token":"t","expires_in":1e300}"#), Some(400 * 86_400));
    check(
        "access_token: /data/token",
        "{in: /data/ttl}",
        (&[], r#"{"data":{"token":"t","ttl":5}}"#),
        Some(5),
    );
    let form = [("content-type", "application/x-www-form-urlencoded")];
    check("", secs, (&form, "access_token=a%2Bb&expires_in=9&scope="), Some(9));
    check("", secs, (&[("content-type", "text/plain")], "access_token=a&expires_in=9"), Some(9));
    let absolute = "{at: /at, format: rfc3339}";
    check("", absolute, (&[], r#"{"access_token":"t","at":"2026-01-02T03:05:05Z"}"#), Some(60));
    check(
        "",
        absolute,
        (&[], r#"{"access_token":"t","at":"2026-01-02T04:05:05+01:00"}"#),
        Some(60),
    );
    check("", absolute, (&[], r#"{"access_token":"t","at":"tomorrow"}"#), None);
    // A clock that is wrong does not make a token that is never good.
    check("", absolute, (&[], r#"{"access_token":"t","at":"2020-01-02T03:05:05Z"}"#), None);
    check(
        "",
        "{at: /at, format: unix}",
        (&[], &format!(r#"{{"access_token":"t","at":{}}}"#, NOW + 7)),
        Some(7),
    );
    check(
        "",
        "{at: /at, format: unix_ms}",
        (&[], &format!(r#"{{"access_token":"t","at":"{}000"}}"#, NOW + 7)),
        Some(7),
    );
    check("", "{after: 90}", (&[], r#"{"access_token":"t","expires_in":1}"#), Some(90));
    check("", "{jwt: true}", (&[], &jwt(&format!(r#"{{"exp":{}}}"#, NOW + 30))), Some(30));
    check("", "{jwt: true}", (&[], &jwt("{}")), None);
    check("", "{jwt: true}", (&[], r#"{"access_token":"opaque"}"#), None);
    check("", "{}", (&[], r#"{"access_token":"t","expires_in":1}"#), None);
}

#[test]
fn a_refusal_is_told_by_what_is_known() {
    let code = |code: &str| format!(r#"{{"error":"{code}","error_description":"{CANARY}"}}"#);
    let refused =
        |status, code: Option<&str>| AcquireError::Refused { status, code: code.map(Into::into) };
    let check =
        |held: Option<TokenSet>, answer: (u16, &[(&str, &str)], &str), expected: AcquireError| {
            let auth = if held.is_some() { CODE } else { CLIENT };
            let error = answered(&plan(auth), held, answer).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
            assert_eq!(error, expected, "{answer:?}");
        };
    // RFC 6749 §5.2.
    for known in [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ] {
        check(None, (400, &[], &code(known)), refused(400, Some(known)));
    }
    check(
        None,
        (401, &[("www-authenticate", "Basic")], &code("invalid_client")),
        refused(401, Some("invalid_client")),
    );
    check(
        Some(held(Some("r"))),
        (400, &[], &code("invalid_grant")),
        AcquireError::Ended { code: "invalid_grant".into() },
    );
    check(
        Some(held(Some("r"))),
        (200, &[], &code("bad_refresh_token")),
        AcquireError::Ended { code: "bad_refresh_token".into() },
    );
    // A client that is refused, and a server that stumbles, end nothing.
    check(
        Some(held(Some("r"))),
        (401, &[], &code("invalid_client")),
        refused(401, Some("invalid_client")),
    );
    let later = |status, wait: Option<u64>| AcquireError::Later {
        status,
        retry_after: wait.map(Duration::from_secs),
    };
    check(Some(held(Some("r"))), (503, &[], &code("invalid_grant")), later(503, None));
    check(
        Some(held(Some("r"))),
        (429, &[("retry-after", "17")], &code("invalid_grant")),
        later(429, Some(17)),
    );
    check(
        None,
        (429, &[("retry-after", "Fri, 02 Jan 2026 03:05:05 GMT")], ""),
        later(429, Some(60)),
    );
    check(None, (503, &[("retry-after", "999999")], "<html>"), later(503, Some(3600)));
    check(None, (429, &[("retry-after", CANARY)], ""), later(429, None));
    check(None, (400, &[], &code("slow_down")), later(400, None));
    check(None, (400, &[], &code(CANARY)), refused(400, None));
    check(None, (302, &[("location", "https://evil.example")], ""), refused(302, None));
    check(None, (403, &[("content-type", "text/html")], CANARY), refused(403, None));
    check(None, (200, &[], &code("invalid_client")), refused(200, Some("invalid_client")));
    let lacks = || AcquireError::AnswerLacks { name: "access_token".into() };
    let unfit = |name: &str| AcquireError::AnswerUnfit { name: name.into() };
    for body in [
        "",
        "<html>",
        "null",
        "[]",
        "{}",
        r#"{"access_token":""}"#,
        r#"{"access_token":{}}"#,
        r#"{"access_token":"canary-58d1"#,
        r#"{"access_token":"t"} x"#,
    ] {
        check(None, (200, &[], body), lacks());
    }
    check(None, (200, &[("content-type", "text/html")], "access_token=canary-58d1"), lacks());
    check(None, (200, &[], "{\"access_token\":\"a\\r\\nX: canary-58d1\"}"), unfit("access_token"));
    check(None, (200, &[], r#"{"access_token":"ä"}"#), unfit("access_token"));
    let deep = format!("{}{}", "[".repeat(100_000), CANARY);
    check(None, (200, &[], &deep), lacks());
    let pattern =
        with(CLIENT, r"take: {site: {from: /site, pattern: 'https://([a-z]+)\\.example\\.com'}}");
    for (site, expected) in [
        ("https://acme.example.com.evil.example", unfit("site")),
        (&*format!("https://evil.example/{CANARY}"), unfit("site")),
    ] {
        let body = format!(r#"{{"access_token":"t","site":"{site}"}}"#);
        let error =
            answered(&plan(&pattern.replace(r"\\", r"\")), None, (200, &[], &body)).unwrap_err();
        assert_eq!(error, expected);
    }
}

#[test]
fn a_renewal_keeps_what_the_answer_does_not_say() {
    let plan = plan(&with(CODE, "take: {other: /other, site: /site}"));
    let renewed = answered(
        &plan,
        Some(held(Some("r"))),
        (200, &[], r#"{"access_token":"new","site":"second"}"#),
    )
    .unwrap();
    assert_eq!(renewed.refresh_token.as_ref().map(|token| token.as_str()), Some("r"));
    // `other` is missing, and comes first: what stands behind it is taken all the same.
    assert_eq!(renewed.values.get("other"), Some("stays"));
    assert_eq!(renewed.values.get("site"), Some("second"));
    assert_eq!(renewed.values.get("access_token"), Some("new"));
    assert_eq!(renewed.asked, ["read"]);
    assert_eq!(renewed.scope_differences(), (vec!["extra"], vec![]));
    let rotated = answered(
        &plan,
        Some(held(Some("r"))),
        (
            200,
            &[],
            r#"{"access_token":"new","refresh_token":"r2","scope":"read write","site":"s"}"#,
        ),
    )
    .unwrap();
    assert_eq!(rotated.refresh_token.as_ref().map(|token| token.as_str()), Some("r2"));
    assert_eq!(rotated.scope_differences(), (vec!["write"], vec![]));
    // A client that can ask anew keeps nothing that could end.
    let own = answered(
        &self::plan(CLIENT),
        None,
        (200, &[], r#"{"access_token":"t","refresh_token":"r"}"#),
    )
    .unwrap();
    assert!(own.refresh_token.is_none());
}

#[test]
fn a_bound_token_is_asked_for_with_proofs_and_taken_only_bound() {
    let plan = plan(&with(CLIENT, "dpop: true"));
    let mut asks = Acquisition::new(&plan, Goal::Renew, client(), None, Vec::new()).unwrap();
    let first = with_moment(|moment| asks.begin(moment)).unwrap();
    let proof = |request: &TokenRequest| {
        let found = request.headers.iter().find(|(name, _)| name == "dpop").unwrap();
        super::assertion_tests::claims(std::str::from_utf8(&found.1).unwrap())
    };
    assert!(proof(&first)["nonce"].is_null());
    assert_eq!(proof(&first)["htu"], "https://server.example.com/token");
    assert_eq!(proof(&first)["htm"], "POST");
    let nonce = [("dpop-nonce".to_owned(), Zeroizing::new("n-1".to_owned()))];
    let wants =
        TokenAnswer { status: 400, headers: &nonce, body: br#"{"error":"use_dpop_nonce"}"# };
    let Progress::Ask(second) = with_moment(|moment| asks.answered(&wants, moment)).unwrap() else {
        panic!("done")
    };
    assert_eq!(proof(&second)["nonce"], "n-1");
    // Once: a server that always wants another is refused.
    let error = with_moment(|moment| asks.answered(&wants, moment)).unwrap_err();
    assert_eq!(error, AcquireError::Refused { status: 400, code: Some("use_dpop_nonce".into()) });
    for (kind, is_taken) in [
        (r#","token_type":"DPoP""#, true),
        (r#","token_type":"dpop""#, true),
        (r#","token_type":"Bearer""#, false),
        ("", false),
    ] {
        let body = format!(r#"{{"access_token":"t"{kind}}}"#);
        match answered(&plan, None, (200, &[], &body)) {
            Ok(set) => assert!(is_taken && set.proof_key.is_some()),
            Err(error) => assert!(!is_taken && error == AcquireError::NotBound, "{error:?}"),
        }
    }
}

#[test]
fn a_browser_is_sent_without_secrets() {
    let url = |auth: &str, scopes: &[&str]| {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let asked = AuthorizationUrl {
            client_id: "c",
            redirect_uri: "http://127.0.0.1/cb",
            scopes: &scopes,
            state: "st",
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        };
        with_moment(|moment| asked.of(&plan(auth), &client(), moment))
    };
    // RFC 7636, Appendix B.
    assert_eq!(
        url(CODE, &["read"]).unwrap(),
        "https://server.example.com/authorize?a=1&response_type=code&client_id=c&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&state=st&scope=read&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
    );
    let odd = with(
        CODE,
        "pkce: false, scopes: [offline], authorization_params: {prompt: consent, tenant: '${tenant}'}",
    );
    assert_eq!(
        url(&odd, &[]).unwrap(),
        "https://server.example.com/authorize?a=1&response_type=code&client_id=c&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&state=st&scope=offline&prompt=consent&tenant=acme"
    );
    let secret = with(CODE, "authorization_params: {s: '${client_secret}'}");
    assert!(matches!(
        url(&secret, &[]),
        Err(AcquireError::Auth(super::AuthError::ValueMissing { .. }))
    ));
    assert_eq!(url(CLIENT, &[]), Err(AcquireError::NeedsConsent));
}

#[test]
fn what_is_missing_is_said_by_name() {
    let none =
        Acquisition::new(&plan(CODE), Goal::Renew, client(), None, Vec::new()).unwrap().begin_now();
    assert_eq!(none, Err(AcquireError::NeedsConsent));
    let missing = with(CLIENT, "token_params: {a: '${refresh_token}'}");
    let missing = Acquisition::new(&plan(&missing), Goal::Renew, client(), None, Vec::new())
        .unwrap()
        .begin_now();
    assert_eq!(
        missing.unwrap_err().to_string(),
        "`refresh_token` has no value: neither the secret, nor the provider's app, nor the connection's variables give one"
    );
}

impl Acquisition<'_> {
    fn begin_now(mut self) -> Result<String, AcquireError> {
        with_moment(|moment| self.begin(moment)).map(|request| written(&request))
    }
}

/// What is kept of an answer without a usable token.
fn kept(
    plan: &AuthPlan,
    values: Variables,
    held: Option<TokenSet>,
    body: &str,
) -> (TokenSet, AcquireError) {
    let mut acquisition = Acquisition::new(plan, Goal::Renew, values, held, Vec::new()).unwrap();
    with_moment(|moment| acquisition.begin(moment)).unwrap();
    let answer = TokenAnswer { status: 200, headers: &[], body: body.as_bytes() };
    match with_moment(|moment| acquisition.answered(&answer, moment)).unwrap() {
        Progress::Kept(set, error) => (*set, error),
        other => panic!("{other:?}"),
    }
}

fn refresh_token(set: &TokenSet) -> Option<&str> {
    set.refresh_token.as_ref().map(|token| token.as_str())
}

#[test]
fn what_renews_is_kept_though_the_rest_is_unfit() {
    let strict = plan(&with(CODE, "take: {site: {from: /site, pattern: 'good'}}"));
    for body in [
        r#"{"access_token":"new","refresh_token":"r2","site":"bad"}"#,
        r#"{"refresh_token":"r2","site":"good"}"#,
        r#"{"access_token":"\u0007","refresh_token":"r2","site":"good"}"#,
    ] {
        let (set, error) = kept(&strict, client(), Some(held(Some("r1"))), body);
        assert_eq!(refresh_token(&set), Some("r2"), "{body}");
        // What was valid goes on until it ends.
        assert_eq!(set.values.get("access_token"), Some("old"), "{body}");
        assert!(
            matches!(error, AcquireError::AnswerUnfit { .. } | AcquireError::AnswerLacks { .. }),
            "{error:?}"
        );
    }
    let bound = plan(&with(CODE, "dpop: true"));
    let (set, error) = kept(
        &bound,
        client(),
        Some(held(Some("r1"))),
        r#"{"access_token":"n","refresh_token":"r2"}"#,
    );
    assert_eq!((refresh_token(&set), error), (Some("r2"), AcquireError::NotBound));
    // The first renewal by a token that was given leaves nothing that calls could use.
    let mut given = client();
    given.set("refresh_token", "r1");
    let (set, _) = kept(&strict, given, None, r#"{"refresh_token":"r2"}"#);
    assert!(refresh_token(&set) == Some("r2") && !set.is_usable());
    // Nothing new, nothing kept.
    let error = answered(
        &strict,
        Some(held(Some("r1"))),
        (200, &[], r#"{"access_token":"n","site":"bad"}"#),
    );
    assert!(matches!(error, Err(AcquireError::AnswerUnfit { .. })));
}

#[test]
fn what_somebody_consented_to_is_replaced_by_nothing_else() {
    let mut both = plan(CODE);
    let Some(provider::auth::Acquire::OAuth2(oauth2)) = &mut both.acquire else { panic!() };
    let Some(provider::auth::Acquire::OAuth2(other)) = plan(CLIENT).acquire else { panic!() };
    oauth2.flows.extend(other.flows);
    let begin = |held: TokenSet, values: Variables| {
        let mut acquisition =
            Acquisition::new(&both, Goal::Renew, values, Some(held), Vec::new()).unwrap();
        with_moment(|moment| acquisition.begin(moment)).map(|request| written(&request))
    };
    let company = begin(held(None), client()).unwrap();
    assert!(company.contains("grant_type=client_credentials"), "{company}");
    let consented = TokenSet { is_consented: true, ..held(None) };
    assert_eq!(begin(consented, client()), Err(AcquireError::NeedsConsent));
    // What is over stays over, whatever else is at hand.
    let mut given = client();
    given.set("refresh_token", "r1");
    let ended = held(Some("r1")).ended_by("invalid_grant");
    assert_eq!(begin(ended, given), Err(AcquireError::NeedsConsent));
    // A code's tokens say so, and their renewals too.
    let goal = Goal::Code { code: "c", redirect_uri: "https://c.example/cb", verifier: "v" };
    let mut acquisition = Acquisition::new(&both, goal, client(), None, Vec::new()).unwrap();
    with_moment(|moment| acquisition.begin(moment)).unwrap();
    let body = br#"{"access_token":"a","refresh_token":"r"}"#;
    let answer = TokenAnswer { status: 200, headers: &[], body };
    let Ok(Progress::Done(set)) = with_moment(|moment| acquisition.answered(&answer, moment))
    else {
        panic!()
    };
    assert!(set.is_consented);
    let renewed = answered(&both, Some(*set), (200, &[], r#"{"access_token":"b"}"#)).unwrap();
    assert!(renewed.is_consented && refresh_token(&renewed) == Some("r"));
}

#[test]
fn a_given_token_that_was_renewed_is_not_shown_again() {
    let plan = plan(CLIENT);
    let mut given = client();
    given.set("refresh_token", "given");
    let mut acquisition =
        Acquisition::new(&plan, Goal::Renew, given, Some(held(Some("renewed"))), Vec::new())
            .unwrap();
    let asked = with_moment(|moment| acquisition.begin(moment)).map(|request| written(&request));
    let asked = asked.unwrap();
    assert!(asked.contains("refresh_token=renewed") && !asked.contains("given"), "{asked}");
}

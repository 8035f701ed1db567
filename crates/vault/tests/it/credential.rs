//! Secret files, and where their parts go.

use crate::secret;
use proptest::prelude::*;
use std::collections::BTreeMap;
use types::{SeededRandom, SystemRandom};
use vault::{
    Credential, CredentialError as E, CredentialKind as Kind, KeyPepper, MAX_SECRET_FILE_BYTES,
    MemoryKey, OpenPart, Placement, SealedInjection,
};

fn parse(json: &str) -> Result<Credential, E> {
    Credential::parse(&secret(json))
}

fn header(name: &str) -> Placement {
    Placement::Header { name: name.into() }
}

fn query(name: &str) -> Placement {
    Placement::Query { name: name.into() }
}

/// The request's additions, as `name: value` and `name=value`.
fn injected(json: &str, schemes: &[(&str, Placement)]) -> Result<Vec<String>, E> {
    let schemes: Vec<_> =
        schemes.iter().map(|(name, place)| ((*name).to_owned(), place.clone())).collect();
    let injection = parse(json)?.place(&schemes)?;
    let key = MemoryKey::generate(&SystemRandom).unwrap();
    let open = SealedInjection::seal(&key, &injection).unwrap().open(&key).unwrap();
    Ok(open
        .iter()
        .map(|part| match part {
            OpenPart::Header { name, value, .. } => {
                format!("{name}: {}", std::str::from_utf8(value).unwrap())
            }
            OpenPart::Query { name, value, .. } => format!("{name}={value}"),
            OpenPart::Unsent { .. } => panic!("nothing is kept back"),
        })
        .collect())
}

#[test]
fn each_kind_goes_where_its_scheme_says() {
    let check = |json: &str, place: Placement, expected: &str| {
        assert_eq!(injected(json, &[("s", place)]).unwrap(), [expected]);
    };
    // RFC 7617 §2 and §2.1.
    let aladdin = r#"{"username":"Aladdin","password":"open sesame"}"#;
    check(aladdin, Placement::Basic, "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let pound = r#"{"password":"123£","username":"test"}"#;
    check(pound, Placement::Basic, "authorization: Basic dGVzdDoxMjPCow==");
    check(r#"{"token":"a.b-c~1+/="}"#, Placement::Bearer, "authorization: Bearer a.b-c~1+/=");
    check(r#"{"api_key":"k"}"#, header("X-Api-Key"), "x-api-key: k");
    // As it was given, the word before it too.
    let word = r#"{"api_key":"Token token=abc"}"#;
    check(word, header("Authorization"), "authorization: Token token=abc");
    check(
        r#"{"api_key":"a&b=c d%/é"}"#.replace('é', "+").as_str(),
        query("api key"),
        "api%20key=a%26b%3Dc%20d%25%2F%2B",
    );
}

#[test]
fn schemes_needed_together_take_a_secret_each() {
    let both = r#"{"app": {"api_key": "k"}, "user": {"token": "t"}}"#;
    let schemes = [("user", Placement::Bearer), ("app", header("x-app"))];
    assert_eq!(injected(both, &schemes).unwrap(), ["authorization: Bearer t", "x-app: k"]);
    let one = r#"{"api_key":"k"}"#;
    assert_eq!(
        injected(one, &schemes).unwrap_err(),
        E::NotPerScheme { schemes: vec!["user".into(), "app".into()] }
    );
    let missing = injected(r#"{"app": {"api_key": "k"}}"#, &schemes).unwrap_err();
    assert_eq!(missing, E::SchemeMissing { scheme: "user".into() });
    // A secret that would lie unused is a mistake in the file.
    let unused = injected(both, &schemes[..1]).unwrap_err();
    assert_eq!(unused, E::SchemeUnused);
    let same = [("user", Placement::Bearer), ("app", header("AUTHORIZATION"))];
    assert_eq!(injected(both, &same).unwrap_err(), E::SamePlace { name: "authorization".into() });
    // One scheme alone may be named too.
    assert_eq!(
        injected(r#"{"app": {"api_key": "k"}}"#, &[("app", query("key"))]).unwrap(),
        ["key=k"]
    );
    assert_eq!(injected(one, &[]).unwrap_err(), E::NoScheme);
}

#[test]
fn a_secret_that_does_not_fit_says_what_is_needed() {
    let secrets = [
        (Kind::UsernamePassword, r#"{"username":"u","password":"p"}"#),
        (Kind::ApiKey, r#"{"api_key":"k"}"#),
        (Kind::Token, r#"{"token":"t"}"#),
    ];
    let places = [
        (Kind::UsernamePassword, Placement::Basic),
        (Kind::Token, Placement::Bearer),
        (Kind::ApiKey, header("x-key")),
        (Kind::ApiKey, query("key")),
    ];
    for (has, json) in secrets {
        for (needs, place) in places.clone() {
            let result = injected(json, &[("main", place)]);
            if has == needs {
                assert!(result.is_ok());
            } else {
                assert_eq!(result.unwrap_err(), E::Unfit { scheme: "main".into(), needs, has });
            }
        }
    }
    let unfit = injected(r#"{"token":"t"}"#, &[("basicAuth", Placement::Basic)]).unwrap_err();
    assert_eq!(
        unfit.to_string(),
        "the security scheme `basicAuth` needs `username` and `password`, the secret has `token`"
    );
}

#[test]
fn a_description_cannot_place_a_credential_where_it_breaks_the_message() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "Cookie",
        "set-cookie",
        "TE",
        "Upgrade",
        "content-type",
        "",
        "a b",
        "a:b",
        "x\r\ny",
        "é",
    ] {
        let refused = injected(r#"{"api_key":"k"}"#, &[("s", header(name))]).unwrap_err();
        assert!(matches!(refused, E::BadPlace { .. }), "{name}: {refused}");
        assert!(!refused.to_string().contains('\n'));
    }
    for name in ["", "a\nb"] {
        let refused = injected(r#"{"api_key":"k"}"#, &[("s", query(name))]).unwrap_err();
        assert!(matches!(refused, E::BadPlace { .. }), "{name}");
    }
}

#[test]
fn secret_files_that_cannot_be_meant_are_refused_by_name() {
    let check = |json: &str, expected: E| {
        assert_eq!(parse(json).unwrap_err(), expected, "{json}");
    };
    let bad = |member: &str, why| E::BadValue { member: member.into(), why };
    check("{}", E::Empty);
    check("", E::NotJson { offset: 0 });
    check("hunter2", E::NotJson { offset: 0 });
    check(r#"{"apikey":"k"}"#, E::Unknown);
    check(r#"{"client_id":"a","client_secret":"b"}"#, E::Unknown);
    check(r#"{"api_key":"k","x":"y"}"#, E::Unknown);
    check(
        r#"{"api_key":"k","token":"t"}"#,
        E::Mixed { member: "token".into(), beside: "api_key".into() },
    );
    check(
        r#"{"username":"u"}"#,
        E::Missing { member: "username".into(), missing: "password".into() },
    );
    check(
        r#"{"password":"p"}"#,
        E::Missing { member: "password".into(), missing: "username".into() },
    );
    check(r#"{"api_key":1}"#, E::NotText { member: "api_key".into() });
    check(r#"{"api_key":{"a":"b"},"token":"c"}"#, E::NotText { member: "api_key".into() });
    check(r#"{"api_key":"a","api_key":"b"}"#, E::Twice { member: "api_key".into() });
    check(r#"{"s":{}}"#, E::EmptyValue { member: "?".into() });
    check(r#"{"s":{"key":"v"}}"#, E::Unknown);
    // A secret that was written in the place of a name is not repeated.
    for json in [
        r#"{"sk_live_51H":"x"}"#,
        r#"{"sk_live_51H":1}"#,
        r#"{"sk_live_51H":{}}"#,
        r#"{"sk_live_51H":"a","sk_live_51H":"b"}"#,
        r#"{"api_key":"k","sk_live_51H":"x"}"#,
        r#"{"bearer":{"sk_live_51H":"x"}}"#,
    ] {
        let said = parse(json).unwrap_err();
        assert!(!format!("{said} {said:?}").contains("sk_live"), "{said}");
    }
    let misplaced = injected(
        r#"{"sk_live_51H":{"token":"t"},"user":{"token":"t"}}"#,
        &[("user", Placement::Bearer)],
    )
    .unwrap_err();
    assert!(!format!("{misplaced} {misplaced:?}").contains("sk_live"), "{misplaced}");
    for member in ["api_key", "token"] {
        let one = |value: &str| format!(r#"{{"{member}":"{value}"}}"#);
        check(&one(""), E::EmptyValue { member: member.into() });
        check(&one(r"k\n"), bad(member, "contains a line end"));
        check(&one(r"k\r\nX-Evil: 1"), bad(member, "contains a line end"));
        check(&one(r"k\u0000"), bad(member, "contains a control character"));
        check(&one(r"k\u007f"), bad(member, "contains a control character"));
        check(&one("schlüssel"), bad(member, "contains a character outside ASCII"));
    }
    check(r#"{"api_key":" k"}"#, bad("api_key", "begins or ends with a space"));
    check(
        r#"{"token":"Bearer abc"}"#,
        bad("token", "contains a space: give the token alone, without the word before it"),
    );
    check(
        r#"{"username":"a:b","password":"c"}"#,
        bad("username", "contains a colon, which no user name may"),
    );
    check(r#"{"username":"a","password":""}"#, E::EmptyValue { member: "password".into() });
    check(r#"{"username":"a","password":"b\n"}"#, bad("password", "contains a line end"));
    let bytes = MAX_SECRET_FILE_BYTES + 1;
    check(&" ".repeat(bytes), E::TooLong { bytes, limit: MAX_SECRET_FILE_BYTES });
}

const CANARY: &str = "CANARY-9Qz7-secret";

fn shows(error: &E) -> bool {
    format!("{error} {error:?}").contains("CANARY")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever stands in the file, no message shows a value.
    #[test]
    fn no_error_shows_a_value(
        members in proptest::collection::btree_map(
            prop_oneof!["username|password|api_key|token", "[a-z]{1,8}"],
            "[ :\n\u{1}]{0,2}",
            0..3,
        ),
        cut: proptest::sample::Index,
        is_cut: bool,
        is_keyed: bool,
    ) {
        let members: BTreeMap<_, _> = members
            .into_iter()
            .map(|(name, text)| (name, format!("{text}{CANARY}{text}é")))
            .collect();
        let mut json = serde_json::to_string(&members).unwrap();
        if is_keyed {
            json = format!(r#"{{"scheme":{json}}}"#);
        }
        if is_cut {
            let at = (0..=json.len()).filter(|at| json.is_char_boundary(*at)).collect::<Vec<_>>();
            json.truncate(at[cut.index(at.len())]);
        }
        match parse(&json) {
            Err(error) => prop_assert!(!shows(&error)),
            Ok(credential) => {
                prop_assert_eq!(format!("{credential:?}"), "Credential(hidden)");
                let places = [("scheme".to_owned(), query("key"))];
                if let Err(error) = credential.place(&places) {
                    prop_assert!(!shows(&error));
                }
            }
        }
    }

    /// What is sealed reads back as the same credential.
    #[test]
    fn record_bytes_read_back(
        username in "[^:\\pC]{1,9}",
        password in "[^\\pC]{1,9}",
        api_key in "[!-~]{1,9}",
        scheme in "\\PC{1,4}",
    ) {
        let one = serde_json::json!({"username": username, "password": password});
        let each = serde_json::json!({scheme: {"api_key": api_key}, "zz zz zz": one});
        let pepper = KeyPepper::generate(&SeededRandom::new(1)).unwrap();
        for json in [one.to_string(), each.to_string()] {
            let credential = parse(&json).unwrap();
            let again = Credential::from_record_bytes(&credential.to_record_bytes()).unwrap();
            let (bytes, same) = (credential.to_record_bytes(), again.to_record_bytes());
            prop_assert_eq!(bytes.expose(), same.expose());
            let value: serde_json::Value = serde_json::from_slice(bytes.expose()).unwrap();
            prop_assert_eq!(value, serde_json::from_str::<serde_json::Value>(&json).unwrap());
            prop_assert_eq!(pepper.fingerprint(&credential), pepper.fingerprint(&again));
        }
    }
}

#[test]
fn a_fingerprint_tells_credentials_apart_and_needs_the_pepper() {
    let pepper = KeyPepper::generate(&SystemRandom).unwrap();
    let (a, b) = (parse(r#"{"token":"a"}"#).unwrap(), parse(r#"{"token":"b"}"#).unwrap());
    let spelled_otherwise = parse("{ \"token\" : \"\\u0061\" }\n").unwrap();
    assert_eq!(pepper.fingerprint(&a), pepper.fingerprint(&spelled_otherwise));
    assert_ne!(pepper.fingerprint(&a), pepper.fingerprint(&b));
    assert_eq!(pepper.fingerprint(&a).len(), 16);
    let other = KeyPepper::generate(&SystemRandom).unwrap();
    assert_ne!(pepper.fingerprint(&a), other.fingerprint(&a));
}

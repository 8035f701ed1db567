//! Sign-in by a provider: a token that is right, and every way in which one is wrong.

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
        RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use identity::oidc::{
    AuthorizationRequest, Callback, Claims, CodeExchange, Expected, GroupsClaim, Issuer, KeySet,
    Metadata, OidcError, SecondFactor, TokenAnswer,
};
use serde_json::{Value, json};
use std::{sync::LazyLock, time::Duration};
use types::{SecretText, Timestamp};

const ISSUER: &str = "https://id.example/realm";
const NOW: i64 = 1_900_000_000;

struct Keys {
    rsa: RsaKeyPair,
    foreign: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    foreign: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed: Ed25519KeyPair::generate().unwrap(),
});

fn rsa_key(pair: &RsaKeyPair, kid: &str) -> Value {
    let public = pair.public_key();
    let part = |bytes: &[u8]| BASE64.encode(bytes);
    json!({"kty": "RSA", "kid": kid, "n": part(public.modulus().big_endian_without_leading_zero()),
        "e": part(public.exponent().big_endian_without_leading_zero())})
}

fn ec_key(pair: &EcdsaKeyPair, kid: &str, curve: &str) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "kid": kid, "crv": curve, "x": BASE64.encode(x), "y": BASE64.encode(y)})
}

fn key_set() -> Value {
    let mut for_encryption = rsa_key(&KEYS.rsa, "enc");
    for_encryption["use"] = json!("enc");
    let mut of_pss = rsa_key(&KEYS.rsa, "pss");
    of_pss["alg"] = json!("PS256");
    json!({"keys": [
        rsa_key(&KEYS.rsa, "rsa"),
        ec_key(&KEYS.p256, "p256", "P-256"),
        ec_key(&KEYS.p384, "p384", "P-384"),
        {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": BASE64.encode(KEYS.ed.public_key())},
        {"kty": "oct", "kid": "oct", "k": BASE64.encode("a secret that everybody knows")},
        {"kty": "RSA", "kid": "weak", "n": BASE64.encode([0xff; 128]), "e": "AQAB"},
        {"kty": "RSA", "kid": "padded", "e": "AQAB",
            "n": BASE64.encode([vec![0; 200], vec![0xff; 128]].concat())},
        for_encryption, of_pss, {"kty": "new"}, 7,
    ]})
}

/// A token under construction; what is signed is spelled here by hand.
struct Token {
    header: Value,
    claims: Value,
    by: fn(&[u8]) -> Vec<u8>,
}

fn by_rsa(pair: &RsaKeyPair, how: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(how, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn rs256(message: &[u8]) -> Vec<u8> {
    by_rsa(&KEYS.rsa, &RSA_PKCS1_SHA256, message)
}

impl Token {
    fn right() -> Self {
        Self {
            header: json!({"alg": "RS256", "kid": "rsa"}),
            claims: json!({
                "iss": ISSUER, "sub": "u-1", "aud": "weirgate", "nonce": "the nonce",
                "iat": NOW - 5, "exp": NOW + 300, "amr": ["pwd", "mfa"],
                "email": "ada@example.com", "email_verified": true, "name": "Ada",
                "groups": ["ops", "hr"],
            }),
            by: rs256,
        }
    }

    fn spelled(&self) -> String {
        let message = format!(
            "{}.{}",
            BASE64.encode(self.header.to_string()),
            BASE64.encode(self.claims.to_string())
        );
        let signature = (self.by)(message.as_bytes());
        format!("{message}.{}", BASE64.encode(signature))
    }
}

fn judge(token: &str) -> Result<Claims, OidcError> {
    let mfa = SecondFactor::Provider { amr: vec!["mfa".into()], acr: vec!["urn:mfa".into()] };
    judge_by(token, &mfa, None, None)
}

fn judge_by(
    token: &str,
    second_factor: &SecondFactor,
    shown_after: Option<Timestamp>,
    access_token: Option<&str>,
) -> Result<Claims, OidcError> {
    let issuer = Issuer::parse(ISSUER).unwrap();
    let keys = KeySet::read(key_set().to_string().as_bytes()).unwrap();
    let expected = Expected {
        issuer: &issuer,
        client_id: "weirgate",
        nonce: "the nonce",
        second_factor,
        groups: GroupsClaim("groups"),
        now: Timestamp::from_micros(NOW * 1_000_000),
        shown_after,
    };
    let access_token = access_token.map(|text| SecretText::new(text.to_owned()));
    Claims::verify(&SecretText::new(token.to_owned()), access_token.as_ref(), &keys, &expected)
}

#[test]
fn a_right_token_says_who_somebody_is() {
    let claims = judge(&Token::right().spelled()).unwrap();
    assert_eq!(claims.subject, "u-1");
    assert_eq!(claims.email.as_deref(), Some("ada@example.com"));
    assert_eq!(claims.groups, ["ops", "hr"]);

    // By each algorithm that is accepted.
    type Signer = (&'static str, &'static str, fn(&[u8]) -> Vec<u8>);
    let signers: [Signer; 6] = [
        ("RS512", "rsa", |m| by_rsa(&KEYS.rsa, &RSA_PKCS1_SHA512, m)),
        ("PS256", "rsa", |m| by_rsa(&KEYS.rsa, &RSA_PSS_SHA256, m)),
        ("PS256", "pss", |m| by_rsa(&KEYS.rsa, &RSA_PSS_SHA256, m)),
        ("ES256", "p256", |m| KEYS.p256.sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec()),
        ("ES384", "p384", |m| KEYS.p384.sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec()),
        ("EdDSA", "ed", |m| KEYS.ed.sign(m).as_ref().to_vec()),
    ];
    for (alg, kid, by) in signers {
        let token = Token { header: json!({"alg": alg, "kid": kid}), by, ..Token::right() };
        assert_eq!(judge(&token.spelled()).map(|claims| claims.subject), Ok("u-1".into()), "{alg}");
    }
}

#[test]
fn what_a_token_may_leave_out_or_spell_otherwise() {
    type Change = (&'static str, fn(&mut Token));
    let changes: &[Change] = &[
        ("a list of one audience", |t| t.claims["aud"] = json!(["weirgate"])),
        ("an authorized party that is us", |t| t.claims["azp"] = json!("weirgate")),
        ("a class instead of a method", |t| {
            t.claims["amr"] = json!(["pwd"]);
            t.claims["acr"] = json!("urn:mfa");
        }),
        ("a clock that is a little fast", |t| {
            t.claims["iat"] = json!(NOW + 50);
            t.claims["nbf"] = json!(NOW + 50);
        }),
        ("a clock that is a little slow", |t| t.claims["exp"] = json!(NOW - 50)),
        ("a fraction of a second", |t| t.claims["exp"] = json!(1_900_000_300.5)),
        ("a type", |t| t.header["typ"] = json!("JWT")),
        ("no groups", |t| t.claims["groups"] = Value::Null),
        ("one group", |t| t.claims["groups"] = json!("ops")),
        ("claims that nobody asked for", |t| t.claims["roles"] = json!({"a": [1]})),
    ];
    for (what, change) in changes {
        let mut token = Token::right();
        change(&mut token);
        assert!(judge(&token.spelled()).is_ok(), "{what}: {:?}", judge(&token.spelled()));
    }
    // An address that nobody has verified is none.
    for unverified in [json!(false), json!("false"), Value::Null, json!(1), json!("yes")] {
        let mut token = Token::right();
        token.claims["email_verified"] = unverified.clone();
        assert_eq!(judge(&token.spelled()).unwrap().email, None, "{unverified}");
    }
}

#[test]
fn a_wrong_token_is_refused_by_name() {
    use OidcError::{Algorithm, Claim, KeyUnfit, KeyUnknown, NoSecondFactor, Signature, Time};
    type Case = (&'static str, fn(&mut Token), OidcError);
    let cases: &[Case] = &[
        // Who says it, to whom.
        ("another issuer", |t| t.claims["iss"] = json!("https://id.example/other"), Claim("iss")),
        ("a slash more", |t| t.claims["iss"] = json!("https://id.example/realm/"), Claim("iss")),
        ("another case", |t| t.claims["iss"] = json!("https://ID.example/realm"), Claim("iss")),
        ("plain http", |t| t.claims["iss"] = json!("http://id.example/realm"), Claim("iss")),
        ("another audience", |t| t.claims["aud"] = json!("other"), Claim("aud")),
        ("one audience more", |t| t.claims["aud"] = json!(["weirgate", "x"]), Claim("aud")),
        ("no audience", |t| t.claims["aud"] = json!([]), Claim("aud")),
        ("an audience of another case", |t| t.claims["aud"] = json!("Weirgate"), Claim("aud")),
        ("an audience that goes on", |t| t.claims["aud"] = json!("weirgate "), Claim("aud")),
        ("another party", |t| t.claims["azp"] = json!("other"), Claim("azp")),
        ("an empty party", |t| t.claims["azp"] = json!(""), Claim("azp")),
        // For which sign-in.
        ("another nonce", |t| t.claims["nonce"] = json!("another"), Claim("nonce")),
        ("an empty nonce", |t| t.claims["nonce"] = json!(""), Claim("nonce")),
        ("no nonce", |t| t.claims["nonce"] = Value::Null, Claim("nonce")),
        ("a nonce that goes on", |t| t.claims["nonce"] = json!("the nonce!"), Claim("nonce")),
        // About whom.
        ("nobody", |t| t.claims["sub"] = json!(""), Claim("sub")),
        ("a long subject", |t| t.claims["sub"] = json!("x".repeat(256)), Claim("sub")),
        // When.
        ("expired", |t| t.claims["exp"] = json!(NOW - 61), Time),
        ("expired long ago", |t| t.claims["exp"] = json!(0), Time),
        ("before time began", |t| t.claims["exp"] = json!(-1), Time),
        ("without end", |t| t.claims["exp"] = json!(1e300), Time),
        ("not yet", |t| t.claims["nbf"] = json!(NOW + 61), Time),
        ("from tomorrow", |t| t.claims["iat"] = json!(NOW + 61), Time),
        ("kept for long", |t| t.claims["iat"] = json!(NOW - 700), Time),
        ("an issue that is no time", |t| t.claims["iat"] = json!(-1e15), Time),
        // How the person was known.
        ("a password alone", |t| t.claims["amr"] = json!(["pwd"]), NoSecondFactor),
        ("no methods", |t| t.claims["amr"] = json!([]), NoSecondFactor),
        ("nothing of methods", |t| t.claims["amr"] = Value::Null, NoSecondFactor),
        ("a method that only begins so", |t| t.claims["amr"] = json!(["mfa2"]), NoSecondFactor),
        (
            "another class",
            |t| {
                t.claims["amr"] = Value::Null;
                t.claims["acr"] = json!("urn:pwd");
            },
            NoSecondFactor,
        ),
        // What is said of groups is no list of words.
        ("groups that are numbers", |t| t.claims["groups"] = json!([1]), Claim("groups")),
        ("groups that are an object", |t| t.claims["groups"] = json!({"a": 1}), Claim("groups")),
        (
            "groups without end",
            |t| {
                t.claims["groups"] = json!(vec!["g"; 1_001]);
            },
            Claim("groups"),
        ),
        // By whom it is signed.
        (
            "signed by nobody",
            |t| {
                t.header["alg"] = json!("none");
                t.by = |_| Vec::new();
            },
            Algorithm("nobody"),
        ),
        ("signed by Nobody", |t| t.header["alg"] = json!("NoNe"), Algorithm("nobody")),
        ("by a shared secret", |t| t.header["alg"] = json!("HS256"), Algorithm("a shared secret")),
        (
            "by the secret in the key set",
            |t| {
                t.header = json!({"alg": "HS256", "kid": "oct"});
            },
            Algorithm("a shared secret"),
        ),
        (
            "by a curve that is not accepted",
            |t| {
                t.header["alg"] = json!("ES256K");
            },
            Algorithm("another algorithm"),
        ),
        (
            "by an algorithm of another case",
            |t| {
                t.header["alg"] = json!("rs256");
            },
            Algorithm("another algorithm"),
        ),
        ("a key of another kind", |t| t.header["kid"] = json!("p256"), KeyUnfit),
        (
            "another curve",
            |t| {
                t.header = json!({"alg": "ES256", "kid": "p384"});
            },
            KeyUnfit,
        ),
        ("a key for encryption", |t| t.header["kid"] = json!("enc"), KeyUnfit),
        ("a key for another algorithm", |t| t.header["kid"] = json!("pss"), KeyUnfit),
        ("a key of 1,024 bits", |t| t.header["kid"] = json!("weak"), KeyUnfit),
        ("one with zeros before it", |t| t.header["kid"] = json!("padded"), KeyUnfit),
        ("a shared secret for a key", |t| t.header["kid"] = json!("oct"), KeyUnknown),
        ("a key that there is not", |t| t.header["kid"] = json!("gone"), KeyUnknown),
        ("an empty name", |t| t.header["kid"] = json!(""), KeyUnknown),
        (
            "no name, where several fit",
            |t| {
                t.header = json!({"alg": "PS256"});
            },
            KeyUnknown,
        ),
        (
            "another's key",
            |t| {
                t.by = |m| by_rsa(&KEYS.foreign, &RSA_PKCS1_SHA256, m);
            },
            Signature,
        ),
        (
            "a key that it brings along",
            |t| {
                t.header["jwk"] = rsa_key(&KEYS.foreign, "rsa");
                t.by = |m| by_rsa(&KEYS.foreign, &RSA_PKCS1_SHA256, m);
            },
            Signature,
        ),
        (
            "a key that it points to",
            |t| {
                t.header["jku"] = json!("https://evil.example/keys");
                t.by = |m| by_rsa(&KEYS.foreign, &RSA_PKCS1_SHA256, m);
            },
            Signature,
        ),
        ("an empty signature", |t| t.by = |_| Vec::new(), Signature),
        ("zeros for a signature", |t| t.by = |_| vec![0; 256], Signature),
        (
            "a curve's zeros",
            |t| {
                t.header = json!({"alg": "ES256", "kid": "p256"});
                t.by = |_| vec![0; 64];
            },
            Signature,
        ),
        ("another padding", |t| t.by = |m| by_rsa(&KEYS.rsa, &RSA_PSS_SHA256, m), Signature),
        ("another digest", |t| t.by = |m| by_rsa(&KEYS.rsa, &RSA_PKCS1_SHA512, m), Signature),
        // What it demands to be understood.
        (
            "something critical",
            |t| {
                t.header["crit"] = json!(["b64"]);
            },
            OidcError::TokenMalformed,
        ),
        ("encryption", |t| t.header["enc"] = json!("A128GCM"), OidcError::TokenMalformed),
        ("compression", |t| t.header["zip"] = json!("DEF"), OidcError::TokenMalformed),
        // What is not of its kind.
        ("a number for a subject", |t| t.claims["sub"] = json!(1), OidcError::TokenMalformed),
        ("no subject", |t| t.claims["sub"] = Value::Null, OidcError::TokenMalformed),
        ("no issuer", |t| t.claims["iss"] = Value::Null, OidcError::TokenMalformed),
        ("no end", |t| t.claims["exp"] = Value::Null, OidcError::TokenMalformed),
        ("a word for an end", |t| t.claims["exp"] = json!("soon"), OidcError::TokenMalformed),
        ("no issue", |t| t.claims["iat"] = Value::Null, OidcError::TokenMalformed),
        ("a word for methods", |t| t.claims["amr"] = json!("mfa"), OidcError::TokenMalformed),
        ("an object for an audience", |t| t.claims["aud"] = json!({}), OidcError::TokenMalformed),
        ("claims that are a list", |t| t.claims = json!([]), OidcError::TokenMalformed),
        ("a header that is a list", |t| t.header = json!([]), OidcError::TokenMalformed),
        ("no algorithm", |t| t.header = json!({"kid": "rsa"}), OidcError::TokenMalformed),
    ];
    assert!(cases.len() >= 60, "{}", cases.len());
    for (what, change, wanted) in cases {
        let mut token = Token::right();
        change(&mut token);
        assert_eq!(judge(&token.spelled()), Err(*wanted), "{what}");
    }
}

#[test]
fn a_text_that_is_no_token_is_refused() {
    let right = Token::right().spelled();
    let (rest, signature) = right.rsplit_once('.').unwrap();
    let (header, claims) = rest.split_once('.').unwrap();
    let twice = format!(
        r#"{{"iss":"{ISSUER}","iss":"https://evil.example","sub":"u","aud":"weirgate","exp":{},"iat":{NOW}}}"#,
        NOW + 9
    );
    let message = format!("{header}.{}", BASE64.encode(twice));
    let twice = format!("{message}.{}", BASE64.encode(rs256(message.as_bytes())));
    let cases = [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        rest.to_owned(),
        format!("{rest}."),
        format!("{right}.x"),
        format!("{right}."),
        format!(" {right}"),
        format!("{right}\n"),
        format!("{header}..{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{claims}.{header}.{signature}"),
        format!("{rest}.{signature}=="),
        right.replace('.', ".."),
        twice,
        format!("{}.{signature}", "x".repeat(70_000)),
    ];
    for case in &cases {
        assert!(judge(case).is_err(), "{}", &case[..case.len().min(80)]);
    }
    // Any letter that is another.
    for place in (0..right.len()).step_by(7) {
        let mut bytes = right.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        // The last letter of a part has bits that say nothing, and must be zero.
        assert!(changed == right || judge(&changed).is_err(), "{place}");
    }
}

#[test]
fn a_factor_can_be_asked_for_again_and_an_access_token_bound() {
    let mfa = SecondFactor::Here;
    let at = |seconds: i64| Timestamp::from_micros((NOW + seconds) * 1_000_000);
    let mut token = Token::right();
    token.claims["amr"] = Value::Null;
    let judge_after = |token: &Token, after| judge_by(&token.spelled(), &mfa, Some(after), None);
    assert_eq!(judge_after(&token, at(-30)), Err(OidcError::NotFresh));
    token.claims["auth_time"] = json!(NOW - 3_600);
    assert_eq!(judge_after(&token, at(-30)), Err(OidcError::NotFresh));
    token.claims["auth_time"] = json!(NOW + 3_600);
    assert_eq!(judge_after(&token, at(-30)), Err(OidcError::NotFresh));
    token.claims["auth_time"] = json!(NOW - 10);
    assert!(judge_after(&token, at(-30)).is_ok());

    let half = |text: &str| {
        BASE64.encode(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16])
    };
    token.claims["at_hash"] = json!(half("the token"));
    let judged = |access| judge_by(&token.spelled(), &mfa, None, Some(access));
    assert!(judged("the token").is_ok());
    assert_eq!(judged("another"), Err(OidcError::Claim("at_hash")));
}

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://id.example/authorize?tenant=1",
        "token_endpoint": "https://token.example/token",
        "jwks_uri": "https://id.example/keys",
    })
}

fn read(said: &Value) -> Result<Metadata, OidcError> {
    Metadata::read(&Issuer::parse(ISSUER).unwrap(), said.to_string().as_bytes())
}

#[test]
fn an_issuer_is_a_url_of_one_spelling() {
    for good in [
        "https://id.example",
        "https://id.example/",
        "https://id.example:8443/a/b",
        "http://127.0.0.1:9",
    ] {
        assert_eq!(Issuer::parse(good).map(|one| one.to_string()), Ok(good.to_owned()));
    }
    for bad in [
        "",
        "id.example",
        "http://id.example",
        "http://10.0.0.1",
        "ftp://id.example",
        "https://id.example?x=1",
        "https://id.example#x",
        "https://user@id.example",
        "https://user:word@id.example",
        "https://ID.example",
        "https://id.example:443",
        "https://id.example/a/../b",
        " https://id.example",
        "https:/id.example",
        "https://id.example\\a",
    ] {
        assert_eq!(Issuer::parse(bad), Err(OidcError::Issuer), "{bad}");
    }
    let of = |text: &str| Issuer::parse(text).unwrap().metadata_url();
    assert_eq!(of("https://a.example"), "https://a.example/.well-known/openid-configuration");
    assert_eq!(of("https://a.example/r/"), "https://a.example/r/.well-known/openid-configuration");
}

#[test]
fn metadata_is_believed_of_its_own_issuer_alone() {
    assert!(read(&metadata()).is_ok());
    type Case = (&'static str, Value, OidcError);
    let cases: Vec<Case> = vec![
        ("issuer", json!("https://id.example/realm/"), OidcError::MetadataIssuer),
        ("issuer", json!("https://evil.example"), OidcError::MetadataIssuer),
        ("issuer", json!(1), OidcError::MetadataMalformed),
        ("authorization_endpoint", Value::Null, OidcError::Endpoint("authorization_endpoint")),
        (
            "authorization_endpoint",
            json!("javascript:alert(1)"),
            OidcError::Endpoint("authorization_endpoint"),
        ),
        (
            "authorization_endpoint",
            json!("http://id.example/a"),
            OidcError::Endpoint("authorization_endpoint"),
        ),
        (
            "authorization_endpoint",
            json!("https://a@id.example/"),
            OidcError::Endpoint("authorization_endpoint"),
        ),
        (
            "authorization_endpoint",
            json!("https://id.example/#x"),
            OidcError::Endpoint("authorization_endpoint"),
        ),
        (
            "token_endpoint",
            json!("http://169.254.169.254/latest"),
            OidcError::Endpoint("token_endpoint"),
        ),
        ("token_endpoint", json!("/token"), OidcError::Endpoint("token_endpoint")),
        ("jwks_uri", json!("file:///etc/passwd"), OidcError::Endpoint("jwks_uri")),
        ("jwks_uri", Value::Null, OidcError::Endpoint("jwks_uri")),
        (
            "response_types_supported",
            json!(["id_token"]),
            OidcError::Unsupported("response_types_supported lacks code"),
        ),
        (
            "response_modes_supported",
            json!(["form_post"]),
            OidcError::Unsupported("response_modes_supported lacks query"),
        ),
        (
            "code_challenge_methods_supported",
            json!(["plain"]),
            OidcError::Unsupported("code_challenge_methods_supported lacks S256"),
        ),
    ];
    for (name, value, wanted) in cases {
        let mut said = metadata();
        said[name] = value.clone();
        assert_eq!(read(&said).map(drop), Err(wanted), "{name}: {value}");
    }
    let mut said = metadata();
    said["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    assert!(matches!(read(&said), Err(OidcError::Unsupported(_))));
    for bad in ["", "[]", "{}", "null", "<html>"] {
        let read = Metadata::read(&Issuer::parse(ISSUER).unwrap(), bad.as_bytes());
        assert_eq!(read.map(drop), Err(OidcError::MetadataMalformed), "{bad}");
    }
    let long = vec![b' '; 300_000];
    assert!(Metadata::read(&Issuer::parse(ISSUER).unwrap(), &long).is_err());
    for bad in ["", "{}", "[]", r#"{"keys": {}}"#] {
        assert_eq!(KeySet::read(bad.as_bytes()).map(drop), Err(OidcError::KeysMalformed), "{bad}");
    }
}

#[test]
fn a_browser_is_sent_with_a_challenge_and_comes_back_with_its_state() {
    let metadata_read = read(&metadata()).unwrap();
    let scopes = ["email".to_owned(), "groups".to_owned()];
    let request = AuthorizationRequest {
        client_id: "weirgate",
        redirect_uri: "https://gate.example/sso/corp/callback",
        scopes: &scopes,
        acr_values: &["urn:mfa".to_owned()],
        state: "the state",
        nonce: "the nonce",
        // RFC 7636, appendix B.
        verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        is_again: true,
    };
    let url = request.url(&metadata_read);
    let query: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
    let wanted = [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "weirgate"),
        ("redirect_uri", "https://gate.example/sso/corp/callback"),
        ("scope", "openid email groups"),
        ("state", "the state"),
        ("nonce", "the nonce"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("acr_values", "urn:mfa"),
        ("prompt", "login"),
        ("max_age", "0"),
    ];
    assert_eq!(query, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let code = |query: &str, metadata: &Metadata| {
        Callback::of(query)
            .authorization_code(metadata, "the state")
            .map(|code| code.expose().to_owned())
    };
    let iss = "iss=https%3A%2F%2Fid.example%2Frealm";
    assert_eq!(code("code=c+d&state=the+state", &metadata_read), Ok("c d".into()));
    assert_eq!(code(&format!("code=c&state=the+state&{iss}"), &metadata_read), Ok("c".into()));
    for (query, wanted) in [
        ("", OidcError::State),
        ("code=c", OidcError::State),
        ("code=c&state=", OidcError::State),
        ("code=c&state=another", OidcError::State),
        ("code=c&state=the+state&state=the+state", OidcError::State),
        ("code=c&state=the+state&state=another", OidcError::State),
        ("error=access_denied", OidcError::State),
        ("code=c&state=the+state&iss=https%3A%2F%2Fevil.example", OidcError::CallbackIssuer),
        ("code=c&state=the+state&iss=", OidcError::CallbackIssuer),
        (
            "code=c&state=the+state&iss=https%3A%2F%2Fid.example%2Frealm&iss=x",
            OidcError::CallbackIssuer,
        ),
        ("error=access_denied&state=the+state", OidcError::Denied("access_denied")),
        ("error=<script>&state=the+state&code=c", OidcError::Denied("another error")),
        ("state=the+state", OidcError::CodeMissing),
        ("state=the+state&code=", OidcError::CodeMissing),
        ("state=the+state&code=a&code=b", OidcError::CodeMissing),
    ] {
        assert_eq!(code(query, &metadata_read), Err(wanted), "{query}");
    }
    // A provider that says that it names itself must (RFC 9207 §2.4).
    let mut said = metadata();
    said["authorization_response_iss_parameter_supported"] = json!(true);
    let naming = read(&said).unwrap();
    assert_eq!(code("code=c&state=the+state", &naming), Err(OidcError::CallbackIssuer));
    assert_eq!(code(&format!("code=c&state=the+state&{iss}"), &naming), Ok("c".into()));
}

#[test]
fn a_code_is_given_for_tokens_by_the_clients_secret() {
    let exchange = CodeExchange {
        client_id: "weir gate",
        client_secret: "s:e/c%",
        redirect_uri: "https://gate.example/cb",
        verifier: "verifier",
    };
    let code = SecretText::new("c&d".into());
    let (authorization, form) = exchange.of(&read(&metadata()).unwrap(), &code);
    // RFC 6749 §2.3.1: both encoded as in a form, then joined.
    let basic = authorization.unwrap();
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(&basic.expose()["Basic ".len()..])
        .unwrap();
    assert_eq!(decoded, b"weir+gate:s%3Ae%2Fc%25");
    assert_eq!(
        form.as_str(),
        "grant_type=authorization_code&code=c%26d&redirect_uri=https%3A%2F%2Fgate.example%2Fcb\
         &code_verifier=verifier"
    );
    let mut said = metadata();
    said["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    let (authorization, form) = exchange.of(&read(&said).unwrap(), &code);
    assert!(authorization.is_none());
    assert!(form.ends_with("&client_id=weir+gate&client_secret=s%3Ae%2Fc%25"), "{}", form.as_str());

    let read = |is_success, text: &str| {
        TokenAnswer::read(is_success, text.as_bytes()).map(|one| one.id_token.expose().to_owned())
    };
    assert_eq!(read(true, r#"{"id_token": "t", "token_type": "Bearer"}"#), Ok("t".into()));
    for bad in ["", "{}", "[]", r#"{"id_token": 1}"#, r#"{"access_token": "a"}"#] {
        assert_eq!(read(true, bad), Err(OidcError::TokenAnswerMalformed), "{bad}");
    }
    for (text, code) in [
        (r#"{"error": "invalid_grant", "id_token": "t"}"#, "invalid_grant"),
        (r#"{"error": "the body says canary"}"#, "another error"),
        ("canary", "another error"),
    ] {
        assert_eq!(read(false, text), Err(OidcError::CodeRefused(code)), "{text}");
    }
}

#[test]
fn keys_may_be_named_by_nobody_where_there_is_one() {
    let keys = KeySet::read(json!({"keys": [rsa_key(&KEYS.rsa, "a")]}).to_string().as_bytes());
    let keys = keys.unwrap();
    let issuer = Issuer::parse(ISSUER).unwrap();
    let expected = Expected {
        issuer: &issuer,
        client_id: "weirgate",
        nonce: "the nonce",
        second_factor: &SecondFactor::Here,
        groups: GroupsClaim("groups"),
        now: Timestamp::from_micros(NOW * 1_000_000) + Duration::from_secs(1),
        shown_after: None,
    };
    let mut token = Token::right();
    token.header = json!({"alg": "RS256"});
    let judged = Claims::verify(&SecretText::new(token.spelled()), None, &keys, &expected);
    assert!(judged.is_ok(), "{judged:?}");
}

//! Signatures, verified by the library's other side.

use super::{
    AcquireError, Acquisition, AuthError, Goal, Moment,
    acquire_tests::{plan, values},
    assertion::{ProofKey, ProofOf},
    check_any_key,
};
use aws_lc_rs::{
    digest,
    encoding::AsDer,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKey, KeySize},
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use provider::auth::SigningAlgorithm;
use serde_json::Value;
use types::{SeededRandom, Timestamp};

fn pem(label: &str, der: &[u8], width: usize, end: &str) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----{end}{}{end}-----END {label}-----{end}", lines.join(end))
}

fn part(token: &str, at: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()
}

pub(super) fn claims(token: &str) -> Value {
    serde_json::from_slice(&part(token, 1)).unwrap()
}

/// Keys of each algorithm: its name, PEM, and how to verify.
fn keys() -> Vec<(&'static str, String, Vec<u8>, &'static dyn VerificationAlgorithm)> {
    let rsa = RsaKey::generate(KeySize::Rsa2048).unwrap();
    let rsa_der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
    let rsa_pem = pem("PRIVATE KEY", rsa_der.as_ref(), 64, "\n");
    let rsa_public = rsa.public_key().as_ref().to_vec();
    let random = SystemRandom::new();
    let ec_der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec_der.as_ref()).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_der = ed.to_pkcs8().unwrap();
    vec![
        ("RS256", rsa_pem.clone(), rsa_public.clone(), &signature::RSA_PKCS1_2048_8192_SHA256),
        ("PS256", rsa_pem, rsa_public, &signature::RSA_PSS_2048_8192_SHA256),
        // As Windows writes lines.
        (
            "ES256",
            pem("PRIVATE KEY", ec_der.as_ref(), 64, "\r\n"),
            ec.public_key().as_ref().to_vec(),
            &signature::ECDSA_P256_SHA256_FIXED,
        ),
        (
            "EdDSA",
            pem("PRIVATE KEY", ed_der.as_ref(), 4096, "\n"),
            ed.public_key().as_ref().to_vec(),
            &signature::ED25519,
        ),
    ]
}

fn form(body: &[u8]) -> std::collections::BTreeMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn request(
    auth: &str,
    secret: &[(&str, &str)],
) -> Result<std::collections::BTreeMap<String, String>, AcquireError> {
    let random = SeededRandom::new(3);
    let moment = Moment { now: Timestamp::from_micros(1_767_323_045_000_000), random: &random };
    let plan = plan(auth);
    let mut asks =
        Acquisition::new(&plan, Goal::Renew, values(secret), None, vec!["a".into(), "b".into()])?;
    Ok(form(&asks.begin(moment)?.body))
}

/// RFC 7523 §2.1 and §2.2: the grant, and the client.
#[test]
fn assertions_are_signed_by_each_algorithm() {
    for (name, key, public, algorithm) in keys() {
        let verify = |token: &str| {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            UnparsedPublicKey::new(algorithm, &public)
                .verify(signed.as_bytes(), &signature)
                .unwrap();
            let header: Value = serde_json::from_slice(&part(token, 0)).unwrap();
            assert_eq!(header, serde_json::json!({"alg": name, "typ": "JWT", "kid": "k-1"}));
            claims(token)
        };
        let secret = [
            ("client_id", "me \"x\""),
            ("private_key", key.as_str()),
            ("key_id", "k-1"),
            ("client_secret", "unused"),
        ];
        let grant = format!(
            "{{oauth2: {{flow: jwt_bearer, client_auth: none, token_url: 'https://a.example.com/t', assertion: {{algorithm: {name}, scope: true, lasts: 120, claims: {{iss: '${{client_id}}', aud: 'https://a.example.com/t'}}}}}}}}"
        );
        let sent = request(&grant, &secret).unwrap();
        assert_eq!(sent["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        assert!(!sent.contains_key("scope"), "it is a claim");
        let said = verify(&sent["assertion"]);
        assert_eq!(
            (said["iss"].as_str(), said["aud"].as_str()),
            (Some("me \"x\""), Some("https://a.example.com/t"))
        );
        assert_eq!(
            (said["scope"].as_str(), said["iat"].as_i64(), said["exp"].as_i64()),
            (Some("a b"), Some(1_767_323_045), Some(1_767_323_165))
        );
        assert!(said["jti"].as_str().unwrap().len() >= 43);

        let named = if name == "PS256" { "client_algorithm: PS256, " } else { "" };
        let own = format!(
            "{{oauth2: {{flow: client_credentials, client_auth: private_key_jwt, {named}token_url: 'https://a.example.com/t?x=1'}}}}"
        );
        let sent = request(&own, &secret).unwrap();
        assert_eq!(
            sent["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        assert_eq!(
            (sent["grant_type"].as_str(), sent["scope"].as_str()),
            ("client_credentials", "a b")
        );
        assert!(!sent.contains_key("client_secret"));
        let said = verify(&sent["client_assertion"]);
        assert_eq!(
            (said["iss"].as_str(), said["sub"].as_str(), said["aud"].as_str()),
            (Some("me \"x\""), Some("me \"x\""), Some("https://a.example.com/t?x=1"))
        );
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 60);
        let issued = own.replace("token_url", "issuer: 'https://issuer.example.com', token_url");
        assert_eq!(
            verify(&request(&issued, &secret).unwrap()["client_assertion"])["aud"],
            "https://issuer.example.com"
        );
    }
}

#[test]
fn keys_that_cannot_sign_are_told_of() {
    use SigningAlgorithm as A;
    let keys = keys();
    let [(_, rsa, ..), _, (_, ec, ..), (_, ed, ..)] = keys.as_slice() else { panic!("four") };
    for (algorithm, key, fits) in [
        (A::Rs256, rsa, true),
        (A::Ps256, rsa, true),
        (A::Es256, rsa, false),
        (A::EdDsa, rsa, false),
        (A::Rs256, ec, false),
        (A::Es256, ec, true),
        (A::EdDsa, ec, false),
        (A::EdDsa, ed, true),
        (A::Es256, ed, false),
    ] {
        let expected = if fits { Ok(()) } else { Err(AuthError::PrivateKeyUnfit) };
        assert_eq!(check_any_key(Some(algorithm), key), expected, "{algorithm:?}");
        assert_eq!(check_any_key(None, key), Ok(()));
    }
    // What `openssl ecparam -genkey` writes before the key, and text around it.
    let with_parameters = format!(
        "a\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{ec}b"
    );
    assert_eq!(check_any_key(Some(A::Es256), &with_parameters), Ok(()));
    // Put together here, so that nobody takes them for keys.
    let block =
        |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----");
    let small = block("RSA PRIVATE KEY", "MAA=");
    assert_eq!(check_any_key(None, &small), Err(AuthError::PrivateKeyUnfit));
    let certificate = block("CERTIFICATE", "MAA=");
    let locked = block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nMAA=");
    let spoiled = block("PRIVATE KEY", "canary-key");
    for bad in ["", "canary-key", &certificate, &locked, &spoiled] {
        let error = check_any_key(Some(A::Rs256), bad).unwrap_err();
        assert_eq!(error, AuthError::PrivateKey, "{bad}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

/// RFC 9449 §4.2 and §7.1.
#[test]
fn a_proof_is_of_its_request_token_and_nonce() {
    let stored = ProofKey::generate().unwrap();
    let random = SeededRandom::new(3);
    let asked = ProofOf {
        method: "GET",
        url: "https://api.example.com/a",
        token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
        nonce: Some("n"),
        now: Timestamp::from_micros(1_767_323_045_000_000),
        random: &random,
    };
    let proof = ProofKey::read(&stored).unwrap().proof(&asked).unwrap();
    let header: Value = serde_json::from_slice(&part(&proof, 0)).unwrap();
    assert_eq!((header["typ"].as_str(), header["alg"].as_str()), (Some("dpop+jwt"), Some("ES256")));
    let coordinate =
        |name: &str| URL_SAFE_NO_PAD.decode(header["jwk"][name].as_str().unwrap()).unwrap();
    let public = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &public)
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    let said = claims(&proof);
    // The example of §7.1.
    assert_eq!(said["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    assert_eq!(
        (said["htm"].as_str(), said["htu"].as_str(), said["nonce"].as_str()),
        (Some("GET"), Some("https://api.example.com/a"), Some("n"))
    );
    assert_eq!(
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, asked.token.unwrap().as_bytes())),
        said["ath"].as_str().unwrap()
    );
    assert!(ProofKey::read("no key").is_err());
}

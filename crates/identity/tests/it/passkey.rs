use identity::{
    Authentication, CEREMONY_LIFE, Options, Passkey, PasskeyError, Person, Registration,
    RelyingParty, RelyingPartyError, SignedIn, UserHandle,
};
use serde_json::Value;
use std::{slice::from_ref, time::Duration};
use testkit::device::{Device, Manner, base64};
use types::Timestamp;

const ORIGIN: &str = "https://gate.example.com";
const HOST: &str = "gate.example.com";
const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const ADA: UserHandle = UserHandle::new([1; 16]);
const BOB: UserHandle = UserHandle::new([2; 16]);

fn place() -> RelyingParty {
    RelyingParty::new(ORIGIN, "Weirgate").unwrap()
}

fn parsed(options: &Options) -> Value {
    serde_json::from_str(options.as_json()).unwrap()
}

fn right() -> Manner {
    Manner::at(ORIGIN, HOST)
}

fn person(handle: UserHandle) -> Person<'static> {
    Person { handle, account: "ada@example.com", display_name: "Ada" }
}

fn begun(place: &RelyingParty, existing: &[Passkey]) -> (Options, Registration) {
    place.begin_registration(&person(ADA), existing, NOW).unwrap()
}

/// A device that the person enrolled, its counter at 10.
fn enrolled(place: &RelyingParty, user: UserHandle, id: u8) -> (Device, Passkey) {
    let mut device = Device::new(id).unwrap();
    device.counter = 10;
    let (options, state) = place.begin_registration(&person(user), &[], NOW).unwrap();
    let answer = device.create(options.as_json(), &right()).unwrap();
    let passkey = place.finish_registration(&answer, state, NOW).unwrap();
    (device, passkey)
}

/// A sign-in of Ada's, the device's counter one further.
fn signed_in(
    device: &mut Device,
    passkeys: &[Passkey],
    manner: &Manner,
) -> Result<SignedIn, PasskeyError> {
    let place = place();
    let (options, state) = place.begin_authentication(ADA, passkeys, NOW)?;
    device.counter += 1;
    let answer = device.get(options.as_json(), manner).unwrap();
    place.finish_authentication(&answer, state, passkeys, NOW)
}

/// One change to how things should be, and how it is refused.
type Fault = (&'static str, fn(&mut Manner), PasskeyError);

const FAULTS: &[Fault] = &[
    ("another origin", |m| m.origin = "https://evil.example".into(), PasskeyError::Origin),
    ("a subdomain", |m| m.origin = "https://x.gate.example.com".into(), PasskeyError::Origin),
    ("a parent domain", |m| m.origin = "https://example.com".into(), PasskeyError::Origin),
    ("another port", |m| m.origin = "https://gate.example.com:8401".into(), PasskeyError::Origin),
    ("without TLS", |m| m.origin = "http://gate.example.com".into(), PasskeyError::Origin),
    ("a longer name", |m| m.origin = "https://gate.example.com.evil".into(), PasskeyError::Origin),
    ("another spelling", |m| m.origin = "https://GATE.example.com".into(), PasskeyError::Origin),
    ("a path", |m| m.origin = "https://gate.example.com/x".into(), PasskeyError::Origin),
    ("a slash", |m| m.origin = "https://gate.example.com/".into(), PasskeyError::Origin),
    ("no origin", |m| m.origin = "null".into(), PasskeyError::Origin),
    ("another host", |m| m.host = "evil.example".into(), PasskeyError::Host),
    ("the parent host", |m| m.host = "example.com".into(), PasskeyError::Host),
    ("the host in another case", |m| m.host = "GATE.example.com".into(), PasskeyError::Host),
    ("another challenge", |m| m.challenge = Some(base64(&[7; 32])), PasskeyError::Challenge),
    ("an empty challenge", |m| m.challenge = Some(String::new()), PasskeyError::Challenge),
    ("another site's frame", |m| m.cross_origin = Some(true), PasskeyError::CrossOrigin),
    (
        "a frame's top page",
        |m| m.top_origin = Some("https://evil.example"),
        PasskeyError::CrossOrigin,
    ),
    ("another kind of request", |m| m.kind = Some("payment.get"), PasskeyError::Type),
    ("nobody present", |m| m.is_present = false, PasskeyError::NotPresent),
    ("nobody verified", |m| m.is_verified = false, PasskeyError::NotVerified),
    ("a copy without eligibility", |m| m.is_backed_up = true, PasskeyError::BackupChanged),
    ("another type of credential", |m| m.credential_type = "password", PasskeyError::Malformed),
];

#[test]
fn a_device_is_enrolled_and_signs_in_and_its_counter_is_kept() {
    let (mut device, passkey) = enrolled(&place(), ADA, 1);
    assert_eq!((passkey.id(), passkey.user()), (device.id.as_slice(), ADA));
    let stored = Passkey::from_json(&passkey.to_json().unwrap()).unwrap();
    let first = signed_in(&mut device, &[stored], &right()).unwrap();
    assert_eq!((first.user, first.is_changed), (ADA, true));
    // As stored now it demands more than was used.
    let second = signed_in(&mut device, from_ref(&first.passkey), &right()).unwrap();
    device.counter -= 1;
    let again = signed_in(&mut device, &[second.passkey], &right()).unwrap_err();
    assert_eq!(again, PasskeyError::Cloned);
}

#[test]
fn a_device_without_a_counter_signs_in_again_and_again() {
    let place = place();
    let mut device = Device::new(1).unwrap();
    let synced = || Manner { is_backup_eligible: true, is_backed_up: true, ..right() };
    let (options, state) = begun(&place, &[]);
    let answer = device.create(options.as_json(), &synced()).unwrap();
    let passkeys = [place.finish_registration(&answer, state, NOW).unwrap()];
    for _ in 0..3 {
        let (options, state) = place.begin_authentication(ADA, &passkeys, NOW).unwrap();
        let answer = device.get(options.as_json(), &synced()).unwrap();
        let signed_in = place.finish_authentication(&answer, state, &passkeys, NOW).unwrap();
        assert!(!signed_in.is_changed);
    }
}

#[test]
fn a_person_is_found_by_the_passkey_alone() {
    let place = place();
    let (mut ada, passkey) = enrolled(&place, ADA, 1);
    let (options, state) = place.begin_discovery(NOW).unwrap();
    assert_eq!(parsed(&options)["publicKey"]["allowCredentials"], Value::Array(vec![]));
    ada.counter += 1;
    let answer = ada.get(options.as_json(), &right()).unwrap();
    assert_eq!(place.claim(&answer).unwrap().user, ADA);
    let signed_in = place.finish_authentication(&answer, state, from_ref(&passkey), NOW).unwrap();
    assert_eq!(signed_in.user, ADA);

    // Who does not say whose it is, or says that it is another's, is not found.
    for user in [None, Some(vec![2; 16]), Some(vec![1; 15]), Some(Vec::new())] {
        let (options, state) = place.begin_discovery(NOW).unwrap();
        ada.counter += 1;
        let manner = Manner { names_user: user.is_some(), ..right() };
        ada.user = user.unwrap_or_default();
        let answer = ada.get(options.as_json(), &manner).unwrap();
        let refused = place.finish_authentication(&answer, state, from_ref(&passkey), NOW);
        assert_eq!(refused.unwrap_err(), PasskeyError::Unknown);
        assert_ne!(place.claim(&answer).map(|claim| claim.user), Ok(ADA));
    }
}

#[test]
fn what_is_asked_of_the_browser() {
    let place = place();
    let (_, passkey) = enrolled(&place, ADA, 1);
    let (options, _) = begun(&place, from_ref(&passkey));
    let options = &parsed(&options)["publicKey"];
    let challenge = options["challenge"].as_str().unwrap();
    // Sixteen bytes are demanded, 32 given.
    assert_eq!(challenge.len(), 43);
    assert_eq!(options["rp"]["id"], HOST);
    assert_eq!(options["user"]["id"], base64(&ADA.to_bytes()));
    assert_eq!(options["attestation"], "none");
    assert_eq!(options["timeout"], 300_000);
    let selection = &options["authenticatorSelection"];
    assert_eq!(selection["userVerification"], "required");
    assert_eq!(selection["residentKey"], "preferred");
    assert_eq!(options["excludeCredentials"][0]["id"], base64(passkey.id()));
    let algorithms = options["pubKeyCredParams"].as_array().unwrap();
    let algorithms: Vec<i64> = algorithms.iter().map(|one| one["alg"].as_i64().unwrap()).collect();
    assert_eq!(algorithms, [-7, -35, -257]);

    let (options, _) = place.begin_authentication(ADA, from_ref(&passkey), NOW).unwrap();
    let options = parsed(&options);
    assert_eq!(options.as_object().unwrap().len(), 1, "{options}");
    let options = &options["publicKey"];
    assert_eq!(options["rpId"], HOST);
    assert_eq!(options["userVerification"], "required");
    assert_eq!(options["allowCredentials"][0]["id"], base64(passkey.id()));
    assert_ne!(options["challenge"], challenge);
}

#[test]
fn a_faulty_registration_is_refused_for_its_reason() {
    let place = place();
    for (what, change, error) in FAULTS {
        let (options, state) = begun(&place, &[]);
        let mut manner = right();
        change(&mut manner);
        let answer = Device::new(1).unwrap().create(options.as_json(), &manner).unwrap();
        let refused = place.finish_registration(&answer, state, NOW).unwrap_err();
        assert_eq!(refused, *error, "{what}");
    }
    let (options, state) = begun(&place, &[]);
    let answer = Device::new(1)
        .unwrap()
        .create(options.as_json(), &Manner { algorithm: -8, ..right() })
        .unwrap();
    let refused = place.finish_registration(&answer, state, NOW).unwrap_err();
    assert_eq!(refused, PasskeyError::Algorithm);
}

#[test]
fn a_faulty_sign_in_is_refused_for_its_reason() {
    let (mut device, passkey) = enrolled(&place(), ADA, 1);
    let passkeys = [passkey];
    for (what, change, error) in FAULTS {
        let mut manner = right();
        change(&mut manner);
        assert_eq!(signed_in(&mut device, &passkeys, &manner).unwrap_err(), *error, "{what}");
    }
    for (manner, error) in [
        (Manner { breaks_signature: true, ..right() }, PasskeyError::Signature),
        (Manner { kind: Some("webauthn.create"), ..right() }, PasskeyError::Type),
        (Manner { is_backup_eligible: true, ..right() }, PasskeyError::BackupChanged),
    ] {
        assert_eq!(signed_in(&mut device, &passkeys, &manner).unwrap_err(), error);
    }
    // Browsers of old do not say `crossOrigin`.
    let silent = Manner { cross_origin: None, names_user: false, ..right() };
    assert!(signed_in(&mut device, &passkeys, &silent).is_ok());
}

#[test]
fn a_counter_that_went_back_is_an_alarm() {
    let (mut device, passkey) = enrolled(&place(), ADA, 1);
    // It was ten: less, the same, and none any more.
    for counter in [9, 10, 0] {
        let (options, state) = place().begin_authentication(ADA, from_ref(&passkey), NOW).unwrap();
        device.counter = counter;
        let answer = device.get(options.as_json(), &right()).unwrap();
        let refused =
            place().finish_authentication(&answer, state, from_ref(&passkey), NOW).unwrap_err();
        assert_eq!(refused, PasskeyError::Cloned, "{counter}");
        assert!(refused.is_alarm());
    }
    assert!(!PasskeyError::Signature.is_alarm());
}

#[test]
fn a_counter_is_judged_by_what_is_stored_when_the_answer_comes() {
    let place = place();
    let (mut device, passkey) = enrolled(&place, ADA, 1);
    let (options, state) = place.begin_authentication(ADA, from_ref(&passkey), NOW).unwrap();
    device.counter = 11;
    let answer = device.get(options.as_json(), &right()).unwrap();
    device.counter = 19;
    let meanwhile = signed_in(&mut device, &[passkey], &right()).unwrap().passkey;
    let refused = place.finish_authentication(&answer, state, &[meanwhile], NOW).unwrap_err();
    assert_eq!(refused, PasskeyError::Cloned);
}

#[test]
fn an_answer_counts_once_and_for_its_own_request() {
    let place = place();
    let (mut device, passkey) = enrolled(&place, ADA, 1);
    let passkeys = [passkey];
    let (options, state) = place.begin_authentication(ADA, &passkeys, NOW).unwrap();
    device.counter += 1;
    let answer = device.get(options.as_json(), &right()).unwrap();
    let now = place.finish_authentication(&answer, state, &passkeys, NOW).unwrap().passkey;
    let (_, next) = place.begin_authentication(ADA, from_ref(&now), NOW).unwrap();
    let refused = place.finish_authentication(&answer, next, &[now], NOW).unwrap_err();
    assert_eq!(refused, PasskeyError::Challenge);

    let (options, state) = begun(&place, &[]);
    let answer = Device::new(3).unwrap().create(options.as_json(), &right()).unwrap();
    place.finish_registration(&answer, state, NOW).unwrap();
    let (_, next) = begun(&place, &[]);
    let refused = place.finish_registration(&answer, next, NOW).unwrap_err();
    assert_eq!(refused, PasskeyError::Challenge);
}

#[test]
fn a_request_is_good_for_five_minutes() {
    let place = place();
    let (mut device, passkey) = enrolled(&place, ADA, 1);
    let passkeys = [passkey];
    let last = Timestamp::from_micros((NOW + CEREMONY_LIFE).as_micros() - 1);
    for (then, is_good) in [(last, true), (NOW + CEREMONY_LIFE, false)] {
        let (options, state) = place.begin_authentication(ADA, &passkeys, NOW).unwrap();
        assert_eq!(state.expires_at(), NOW + Duration::from_mins(5));
        let state = Authentication::from_json(&state.to_json().unwrap()).unwrap();
        device.counter += 1;
        let answer = device.get(options.as_json(), &right()).unwrap();
        let ended = place.finish_authentication(&answer, state, &passkeys, then);
        assert_eq!(ended.is_ok(), is_good);
        assert!(is_good || ended.unwrap_err() == PasskeyError::Expired);

        let (options, state) = begun(&place, &[]);
        assert_eq!(state.expires_at(), NOW + Duration::from_mins(5));
        let state = Registration::from_json(&state.to_json().unwrap()).unwrap();
        let answer = Device::new(3).unwrap().create(options.as_json(), &right()).unwrap();
        let ended = place.finish_registration(&answer, state, then);
        assert_eq!(ended.is_ok(), is_good);
        assert!(is_good || ended.unwrap_err() == PasskeyError::Expired);
    }
}

#[test]
fn a_foreign_passkey_is_refused() {
    let place = place();
    let (mut ada, of_ada) = enrolled(&place, ADA, 1);
    let (mut bob, of_bob) = enrolled(&place, BOB, 2);
    // Bob's device answers for Ada.
    let refused = signed_in(&mut bob, from_ref(&of_ada), &right()).unwrap_err();
    assert_eq!(refused, PasskeyError::Unknown);
    // It claims Ada's id, but has another key.
    bob.id.clone_from(&ada.id);
    bob.user.clone_from(&ada.user);
    let refused = signed_in(&mut bob, from_ref(&of_ada), &right()).unwrap_err();
    assert_eq!(refused, PasskeyError::Signature);
    // A row of Bob's among Ada's is neither asked for nor taken.
    let mixed = [of_ada.clone(), of_bob.clone()];
    assert_eq!(place.begin_authentication(ADA, &mixed, NOW).unwrap_err(), PasskeyError::Unknown);
    let (options, state) = place.begin_authentication(BOB, &[of_bob], NOW).unwrap();
    ada.counter += 1;
    let answer = ada.get(options.as_json(), &right()).unwrap();
    let refused = place.finish_authentication(&answer, state, &mixed, NOW).unwrap_err();
    assert_eq!(refused, PasskeyError::Unknown);
    let (options, state) = place.begin_authentication(BOB, &mixed[1..], NOW).unwrap();
    ada.counter += 1;
    let answer = ada.get(options.as_json(), &Manner { names_user: false, ..right() }).unwrap();
    let refused = place.finish_authentication(&answer, state, &mixed, NOW).unwrap_err();
    assert_eq!(refused, PasskeyError::Unknown);
    // Ada's passkey, which says that it is Bob's.
    ada.user = BOB.to_bytes().to_vec();
    let refused = signed_in(&mut ada, from_ref(&of_ada), &right()).unwrap_err();
    assert_eq!(refused, PasskeyError::Unknown);
    ada.user = ADA.to_bytes().to_vec();
    // One that was removed meanwhile.
    let (options, state) = place.begin_authentication(ADA, from_ref(&of_ada), NOW).unwrap();
    ada.counter += 1;
    let answer = ada.get(options.as_json(), &right()).unwrap();
    let refused = place.finish_authentication(&answer, state, &[], NOW).unwrap_err();
    assert_eq!(refused, PasskeyError::Unknown);
    assert_eq!(place.begin_authentication(ADA, &[], NOW).unwrap_err(), PasskeyError::None);
}

#[test]
fn a_device_is_enrolled_once() {
    let place = place();
    let (mut device, passkey) = enrolled(&place, ADA, 1);
    let (options, state) = begun(&place, from_ref(&passkey));
    let answer = device.create(options.as_json(), &right()).unwrap();
    assert_eq!(place.finish_registration(&answer, state, NOW).unwrap_err(), PasskeyError::Known);
    // The id outside of what is signed is no way round.
    let (options, state) = begun(&place, &[passkey]);
    let answer = device
        .create(options.as_json(), &right())
        .unwrap()
        .replace(&base64(&[1; 32]), &base64(&[9; 32]));
    assert!(place.finish_registration(&answer, state, NOW).is_err());
    let (options, state) = begun(&place, &[]);
    let answer = device
        .create(options.as_json(), &right())
        .unwrap()
        .replace(&base64(&[1; 32]), &base64(&[9; 32]));
    let refused = place.finish_registration(&answer, state, NOW).unwrap_err();
    assert_eq!(refused, PasskeyError::Malformed);
}

#[test]
fn what_is_no_answer_is_refused_and_repeated_nowhere() {
    let place = place();
    let (mut device, passkey) = enrolled(&place, ADA, 1);
    let passkeys = [passkey];
    let (options, _) = place.begin_authentication(ADA, &passkeys, NOW).unwrap();
    let good = device.get(options.as_json(), &right()).unwrap();
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 17));
    let deep = "[".repeat(60_000);
    for answer in
        ["", "{}", "null", "canary-81", &huge, &deep, &good[1..], &good.replace("rawId", "raw")]
    {
        let (_, state) = place.begin_authentication(ADA, &passkeys, NOW).unwrap();
        let refused = place.finish_authentication(answer, state, &passkeys, NOW).unwrap_err();
        assert_eq!(refused, PasskeyError::Malformed);
        assert!(!format!("{refused} {refused:?}").contains("canary"));
        let (_, state) = begun(&place, &[]);
        let refused = place.finish_registration(answer, state, NOW).unwrap_err();
        assert_eq!(refused, PasskeyError::Malformed);
    }
    // A good answer that is too long, be it by spaces.
    for (spaces, is_good) in [(64 * 1024, false), (1024, true)] {
        let (options, state) = place.begin_authentication(ADA, &passkeys, NOW).unwrap();
        device.counter += 1;
        let answer =
            format!("{}{}", device.get(options.as_json(), &right()).unwrap(), " ".repeat(spaces));
        let ended = place.finish_authentication(&answer, state, &passkeys, NOW);
        assert_eq!(ended.is_ok(), is_good);
    }
    // What the browser says of the page is read once, and in one way.
    let data =
        "{\"type\":\"webauthn.get\",\"origin\":\"https://gate.example.com\",\"origin\":\"x\"}";
    let mut twice: Value = serde_json::from_str(&good).unwrap();
    twice["response"]["clientDataJSON"] = base64(data.as_bytes()).into();
    let (_, state) = place.begin_authentication(ADA, &passkeys, NOW).unwrap();
    let refused = place.finish_authentication(&twice.to_string(), state, &passkeys, NOW);
    assert_eq!(refused.unwrap_err(), PasskeyError::Malformed);
}

#[test]
fn what_was_stored_is_read_back_as_what_it_was() {
    let place = place();
    let (_, passkey) = enrolled(&place, ADA, 1);
    let (_, registration) = begun(&place, from_ref(&passkey));
    let (_, authentication) = place.begin_authentication(ADA, from_ref(&passkey), NOW).unwrap();
    let (passkey, registration, authentication) = (
        passkey.to_json().unwrap(),
        registration.to_json().unwrap(),
        authentication.to_json().unwrap(),
    );
    assert_eq!(Passkey::from_json(&passkey).unwrap().to_json().unwrap(), passkey);
    for other in ["", "{}", &registration, &authentication] {
        assert_eq!(Passkey::from_json(other).unwrap_err(), PasskeyError::Stored);
    }
    for other in ["", "{}", &passkey, &authentication] {
        assert_eq!(Registration::from_json(other).unwrap_err(), PasskeyError::Stored);
    }
    for other in ["", "{}", &passkey, &registration] {
        assert_eq!(Authentication::from_json(other).unwrap_err(), PasskeyError::Stored);
    }
}

#[test]
fn a_place_is_an_origin_that_browsers_give_passkeys_to() {
    for (origin, host) in [
        ("https://gate.example.com", "gate.example.com"),
        ("https://gate.example.com:8401", "gate.example.com"),
        ("http://localhost:8401", "localhost"),
        ("https://localhost", "localhost"),
    ] {
        let place = RelyingParty::new(origin, "Weirgate").unwrap();
        let (options, state) = begun(&place, &[]);
        assert_eq!(parsed(&options)["publicKey"]["rp"]["id"], host);
        let answer =
            Device::new(1).unwrap().create(options.as_json(), &Manner::at(origin, host)).unwrap();
        assert!(place.finish_registration(&answer, state, NOW).is_ok(), "{origin}");
    }
    for (origin, error) in [
        ("http://gate.example.com", RelyingPartyError::Scheme),
        ("http://localhost.example.com", RelyingPartyError::Scheme),
        ("ftp://localhost", RelyingPartyError::Scheme),
        ("http://127.0.0.1:8401", RelyingPartyError::Address),
        ("https://[::1]:8401", RelyingPartyError::Address),
        ("https://gate.example.com/console", RelyingPartyError::Url),
        ("https://gate.example.com/?x", RelyingPartyError::Url),
        ("https://ada@gate.example.com", RelyingPartyError::Url),
        ("gate.example.com", RelyingPartyError::Url),
        ("", RelyingPartyError::Url),
    ] {
        assert_eq!(RelyingParty::new(origin, "Weirgate").unwrap_err(), error, "{origin}");
    }
}

#[test]
fn states_and_passkeys_are_not_printed() {
    let place = place();
    let (_, passkey) = enrolled(&place, ADA, 1);
    let (options, registration) = begun(&place, &[]);
    let (_, authentication) = place.begin_discovery(NOW).unwrap();
    let printed = format!("{registration:?} {authentication:?} {passkey:?} {:?}", person(ADA));
    let challenge = parsed(&options)["publicKey"]["challenge"].as_str().unwrap().to_owned();
    for hidden in [challenge.as_str(), "ada@example.com", "challenge", "cred"] {
        assert!(!printed.contains(hidden), "{printed}");
    }
}

//! Passkeys: alone and beside a password, and all that is none.

use super::*;

fn party() -> identity::RelyingParty {
    identity::RelyingParty::new(ORIGIN, "Weirgate").unwrap()
}

pub(crate) fn right() -> device::Manner {
    device::Manner::at(ORIGIN, "localhost")
}

impl Office {
    /// A device that somebody enrols within a session that may.
    pub(crate) async fn device(
        &self,
        session: &SessionToken,
        id: u8,
    ) -> (device::Device, factors::Enrolled) {
        let signed_in = self.look(session).await.unwrap();
        let (party, ctx) = (party(), self.ctx());
        let asked = passkeys::begin_registration(&self.instance, &ctx, &party, &signed_in);
        let asked = asked.await.unwrap();
        let mut device = device::Device::new(id).unwrap();
        let answer = device.create(asked.options.as_json(), &right()).unwrap();
        let answer = (asked.handle.expose(), answer.as_str());
        let name = "laptop";
        let done =
            passkeys::finish_registration(&self.instance, &ctx, &party, &signed_in, answer, name);
        (device, done.await.unwrap())
    }

    pub(crate) async fn come(
        &self,
        asked: &passkeys::Asked,
        answer: &str,
    ) -> Result<SessionToken, Error> {
        let answer = (asked.handle.expose(), answer);
        passkeys::sign_in(&self.instance, &self.ctx(), &party(), None, FORM, answer).await
    }

    pub(crate) fn asked(&self) -> passkeys::Asked {
        passkeys::begin_sign_in(&self.instance, &self.ctx(), &party(), FORM).unwrap()
    }
}

/// A passkey is a first factor like an app, and lets in alone, after a password and once more.
#[tokio::test]
async fn a_passkey_lets_in_alone_and_beside_a_password() {
    let office = Office::open().await;
    let link = office.first().await;
    let enrolling = office.accept(&link.token, Some(ADA), PASSWORD).await.unwrap();
    let (mut device, enrolled) = office.device(&enrolling, 1).await;
    assert_eq!(enrolled.recovery.map(|codes| codes.len()), Some(10));
    assert!(office.look(&enrolling).await.is_none(), "the session is exchanged");
    let ada = office.look(&enrolled.session).await.unwrap();
    assert_eq!(ada.level, SessionLevel::Full);
    let (listed, _) = factors::list(&office.instance, ada.user).await.unwrap();
    assert_eq!(
        (listed.len(), listed[0].kind, &*listed[0].name),
        (1, FactorKind::Passkey, "laptop")
    );

    device.counter += 1;
    let asked = office.asked();
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    let token = office.come(&asked, &answer).await.unwrap();
    let alone = office.look(&token).await.unwrap();
    assert_eq!((alone.level, alone.user), (SessionLevel::Full, ada.user));
    assert!(alone.is_stepped_up(office.clock.now()));

    let password = Password::new(PASSWORD.into());
    let begun = sign_in::password(&office.instance, &office.ctx(), None, ADA, password).await;
    let Ok(Begun::SecondFactor(half)) = begun else { panic!("{begun:?}") };
    let half_way = office.look(&half).await.unwrap();
    let (party, ctx) = (party(), office.ctx());
    let asked = passkeys::begin_authentication(&office.instance, &ctx, &party, &half_way);
    let asked = asked.await.unwrap();
    device.counter += 1;
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    let answer = (asked.handle.expose(), answer.as_str());
    let token =
        passkeys::second_factor(&office.instance, &ctx, &party, None, &half_way, answer).await;
    assert_eq!(office.look(&token.unwrap()).await.unwrap().level, SessionLevel::Full);
    assert!(office.look(&half).await.is_none());
    crate::sequence::settle(&office.instance).await.unwrap();
}

/// Whatever is wrong with an answer, nobody comes in, and what was begun is spent.
#[tokio::test]
async fn a_passkey_that_is_not_right_lets_nobody_in() {
    let office = Office::open().await;
    let link = office.first().await;
    let enrolling = office.accept(&link.token, Some(ADA), PASSWORD).await.unwrap();
    let (mut device, _) = office.device(&enrolling, 1).await;
    let refused = |result: Result<SessionToken, Error>, what: &str| {
        assert!(matches!(result, Err(Error::PasskeyRefused)), "{what}: {result:?}");
    };
    type Fault = (&'static str, fn(&mut device::Manner));
    let faults: [Fault; 6] = [
        ("another origin", |one| one.origin = "http://localhost:9".into()),
        ("another host", |one| one.host = "evil.example".into()),
        ("a frame of another site", |one| one.cross_origin = Some(true)),
        ("nobody verified", |one| one.is_verified = false),
        ("a broken signature", |one| one.breaks_signature = true),
        ("no name", |one| one.names_user = false),
    ];
    for (what, break_it) in faults {
        let mut manner = right();
        break_it(&mut manner);
        device.counter += 1;
        let asked = office.asked();
        let answer = device.get(asked.options.as_json(), &manner).unwrap();
        refused(office.come(&asked, &answer).await, what);
        // Not even a right answer counts now.
        let answer = device.get(asked.options.as_json(), &right()).unwrap();
        refused(office.come(&asked, &answer).await, &format!("{what}, answered again"));
        office.wait(Duration::from_hours(1));
    }
    // Twice; to something else that was begun; by a session; too late; by nobody's device.
    device.counter += 1;
    let asked = office.asked();
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    let token = office.come(&asked, &answer).await.unwrap();
    refused(office.come(&asked, &answer).await, "twice");
    refused(office.come(&office.asked(), &answer).await, "to another");
    let ada = office.look(&token).await.unwrap();
    let (party, ctx) = (party(), office.ctx());
    let asked = passkeys::begin_authentication(&office.instance, &ctx, &party, &ada).await.unwrap();
    device.counter += 1;
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    refused(office.come(&asked, &answer).await, "begun by a session");
    let asked = office.asked();
    device.counter += 1;
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    office.wait(Duration::from_mins(5));
    refused(office.come(&asked, &answer).await, "too late");
    let asked = office.asked();
    let mut stranger = device::Device::new(9).unwrap();
    stranger.user = device.user.clone();
    let answer = stranger.get(asked.options.as_json(), &right()).unwrap();
    refused(office.come(&asked, &answer).await, "a device that nobody enrolled");
    let asked = office.asked();
    device.counter += 1;
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    let other = (asked.handle.expose(), answer.as_str());
    let (instance, ctx, place) = (&office.instance, office.ctx(), self::party());
    let done = passkeys::sign_in(instance, &ctx, &place, None, "another browser", other).await;
    refused(done, "another browser");
    refused(office.come(&asked, &answer).await, "after another browser");
    // A copy of the device, whose counter stands still.
    office.wait(Duration::from_hours(1));
    let asked = office.asked();
    device.counter = 1;
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    refused(office.come(&asked, &answer).await, "a copy");
}

/// Alone, after a password and as a step-up: its owner is told, and whoever reads the log, whose it is.
#[tokio::test]
async fn a_copy_of_a_passkey_is_told_of() {
    let office = Office::open().await;
    let link = office.first().await;
    let enrolling = office.accept(&link.token, Some(ADA), PASSWORD).await.unwrap();
    let (mut device, enrolled) = office.device(&enrolling, 1).await;
    let ada = office.look(&enrolled.session).await.unwrap();
    let bob = office.invited("bob@example.com", &["auditor"]).await;
    let mut stranger = device::Device::new(9).unwrap();
    (stranger.user, stranger.id) = (device.user.clone(), device.id.clone());
    device.counter = 7;
    let asked = office.asked();
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    office.come(&asked, &answer).await.unwrap();
    let told = async |user| notices::list(&office.instance, user).await.unwrap().len();
    // Whoever has not the key says what they like of its counter.
    let asked = office.asked();
    let answer = stranger.get(asked.options.as_json(), &right()).unwrap();
    assert!(matches!(office.come(&asked, &answer).await, Err(Error::PasskeyRefused)));
    assert_eq!(told(ada.user).await, 0);
    // The copy is behind.
    device.counter = 3;
    let asked = office.asked();
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    assert!(matches!(office.come(&asked, &answer).await, Err(Error::PasskeyRefused)));
    let half = office.half(ADA).await;
    for session in [&half, &enrolled.session] {
        let (party, ctx, signed_in) = (party(), office.ctx(), office.look(session).await.unwrap());
        let asked = passkeys::begin_authentication(&office.instance, &ctx, &party, &signed_in);
        let asked = asked.await.unwrap();
        let answer = device.get(asked.options.as_json(), &right()).unwrap();
        let answer = (asked.handle.expose(), answer.as_str());
        let instance = &office.instance;
        let shown = passkeys::second_factor(instance, &ctx, &party, None, &signed_in, answer).await;
        assert!(matches!(shown, Err(Error::PasskeyRefused)), "{shown:?}");
    }
    assert_eq!((told(ada.user).await, told(bob.id).await), (3, 0));
    crate::sequence::settle(&office.instance).await.unwrap();
    let mut alarms = Vec::new();
    crate::audit_log::walk_back(&office.instance.folder, None, |_, record| {
        if let crate::audit_log::Record::Changed(changed) = record
            && changed.verb == "factor.alarm"
        {
            alarms.push(changed.what.clone());
        }
        true
    })
    .unwrap();
    assert_eq!(alarms, vec![format!("user {}", ada.user); 3]);
    // The device itself goes on.
    device.counter = 8;
    let asked = office.asked();
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    office.come(&asked, &answer).await.unwrap();
}

/// What one session began is answered by no other, and a passkey is one person's.
#[tokio::test]
async fn a_passkey_is_asked_for_and_shown_by_one_person() {
    let office = Office::open().await;
    let link = office.first().await;
    let enrolling = office.accept(&link.token, Some(ADA), PASSWORD).await.unwrap();
    let (mut device, enrolled) = office.device(&enrolling, 1).await;
    let ada = office.look(&enrolled.session).await.unwrap();
    let ctx = OpContext { actor: Actor::User { id: ada.user }, ..office.ctx() };
    let address = EmailAddress::parse("bob@example.com").unwrap();
    let roles = ["auditor".to_owned()];
    let invited = users::invite(&office.instance, &ctx, &address, &roles).await.unwrap();
    let bobs = office.accept(&invited.token, None, PASSWORD).await.unwrap();
    let bob = office.look(&bobs).await.unwrap();
    let party = party();
    // Ada's device, asked for by Ada, answered by Bob; and asked for by Bob, who has none.
    let asked = passkeys::begin_authentication(&office.instance, &ctx, &party, &ada).await.unwrap();
    device.counter += 1;
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    let answer = (asked.handle.expose(), answer.as_str());
    let done = passkeys::second_factor(&office.instance, &ctx, &party, None, &bob, answer).await;
    assert!(matches!(done, Err(Error::PasskeyRefused)), "{done:?}");
    let asked = passkeys::begin_authentication(&office.instance, &ctx, &party, &bob).await;
    assert!(matches!(asked, Err(Error::PasskeyRefused)), "{asked:?}");
    // The same key pair for a second person.
    let asked = passkeys::begin_registration(&office.instance, &ctx, &party, &bob).await.unwrap();
    let answer = device.create(asked.options.as_json(), &right()).unwrap();
    let answer = (asked.handle.expose(), answer.as_str());
    let done =
        passkeys::finish_registration(&office.instance, &ctx, &party, &bob, answer, "").await;
    assert!(matches!(done, Err(Error::PasskeyRefused)), "{done:?}");
    // Half-way in nobody enrols one.
    let password = Password::new(PASSWORD.into());
    let begun = sign_in::password(&office.instance, &office.ctx(), None, ADA, password).await;
    let Ok(Begun::SecondFactor(half)) = begun else { panic!("{begun:?}") };
    let half_way = office.look(&half).await.unwrap();
    let asked = passkeys::begin_registration(&office.instance, &ctx, &party, &half_way).await;
    assert!(matches!(asked, Err(Error::FactorRefused)), "{asked:?}");
}

/// Whose passkey it is, an answer only claims: what strangers send locks nobody out.
#[tokio::test]
async fn answers_that_claim_to_be_somebodys_lock_nobody_out() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let (mut device, _) = office.device(&ada.session, 1).await;
    let mut stranger = device::Device::new(9).unwrap();
    stranger.user = device.user.clone();
    stranger.id = device.id.clone();
    for attempt in 0..120 {
        let asked = office.asked();
        let answer = stranger.get(asked.options.as_json(), &right()).unwrap();
        let come = office.come(&asked, &answer).await;
        assert!(matches!(come, Err(Error::PasskeyRefused)), "{attempt}: {come:?}");
    }
    office.sign_in(ADA, &ada.seed).await;
    device.counter += 1;
    let asked = office.asked();
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    office.come(&asked, &answer).await.unwrap();
    // The place that they come from is slowed all the same.
    let place = Some(IpAddr::from([192, 0, 2, 7]));
    let mut slowed = 0;
    for _ in 0..30 {
        let asked = office.asked();
        let answer = stranger.get(asked.options.as_json(), &right()).unwrap();
        let answer = (asked.handle.expose(), answer.as_str());
        let ctx = office.ctx();
        let come = passkeys::sign_in(&office.instance, &ctx, &party(), place, FORM, answer).await;
        slowed += u32::from(matches!(come, Err(Error::SignInSlowed { .. })));
    }
    assert_eq!(slowed, 10);
}

/// However many strangers ask, what somebody's session asked is answered.
#[tokio::test]
async fn strangers_who_ask_push_out_strangers() {
    let office = Office::open().await;
    let link = office.first().await;
    let enrolling = office.accept(&link.token, Some(ADA), PASSWORD).await.unwrap();
    let (mut device, enrolled) = office.device(&enrolling, 1).await;
    let ada = office.look(&enrolled.session).await.unwrap();
    let (ctx, party) = (office.ctx(), party());
    let asked = passkeys::begin_authentication(&office.instance, &ctx, &party, &ada).await.unwrap();
    let first = office.asked();
    office.wait(Duration::from_secs(1));
    for _ in 0..passkeys::MAX_CEREMONIES {
        office.asked();
    }
    device.counter += 1;
    let answer = device.get(first.options.as_json(), &right()).unwrap();
    let come = office.come(&first, &answer).await;
    assert!(matches!(come, Err(Error::PasskeyRefused)), "{come:?}");
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    let answer = (asked.handle.expose(), answer.as_str());
    passkeys::second_factor(&office.instance, &ctx, &party, None, &ada, answer).await.unwrap();
}

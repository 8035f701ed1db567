//! Coming in, and all the ways in which nobody does.

mod attempts;
pub(super) mod ceremonies;

use super::{
    factors, notices, passkeys, sessions, sign_in,
    sign_in::Begun,
    tokens, users,
    users::{Acceptance, NewLink},
};
use crate::{Custody, Error, Init, Instance, RootKeyPlace, clients, seals_tests::id_of};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{EmailAddress, LinkToken, Password, PersonalToken, SessionToken};
use sessions::SignedIn;
use std::{net::IpAddr, sync::Arc, time::Duration};
use store::SessionRow;
use tempfile::TempDir;
use testkit::device;
use types::{
    Actor, Clock as _, FactorKind, Id, LinkPurpose, ManualClock, OpContext, SessionLevel,
    SystemClock, SystemRandom, User, UserState,
};

const PASSWORD: &str = "seven herons wade upstream";
const ADA: &str = "ada@example.com";

pub(crate) struct Office {
    home: TempDir,
    clock: Arc<ManualClock>,
    pub instance: Instance,
}

/// Somebody with an authenticator app.
pub(crate) struct Somebody {
    pub id: Id<User>,
    seed: Vec<u8>,
    recovery: Vec<String>,
    pub session: SessionToken,
}

impl Office {
    pub(crate) async fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let key = home.path().join("root.key");
        let dir = home.path().join("data");
        let init = Init {
            dir: &dir,
            server: None,
            config: "",
            root_key: RootKeyPlace::File(&key),
            custody: Custody::default(),
            actor: ctx_at(&clock),
            clock: Arc::clone(&clock) as _,
            random: Arc::new(SystemRandom),
        };
        let instance = Instance::init(init).await.unwrap().instance;
        Self { home, clock, instance }
    }

    pub(crate) fn ctx(&self) -> OpContext {
        ctx_at(&self.clock)
    }

    pub(crate) fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn first(&self) -> NewLink {
        users::first_administrator(&self.instance, &self.ctx()).await.unwrap()
    }

    async fn accept(
        &self,
        token: &LinkToken,
        address: Option<&str>,
        password: &str,
    ) -> Result<SessionToken, Error> {
        let given = Acceptance {
            address: address.map(|text| EmailAddress::parse(text).unwrap()),
            name: "Ada".into(),
            password: Password::new(password.into()),
        };
        users::accept(&self.instance, &self.ctx(), token, given).await
    }

    pub(crate) async fn look(&self, token: &SessionToken) -> Option<SignedIn> {
        sessions::look_up(&self.instance, token).await.unwrap()
    }

    /// Enrols an app within a session.
    async fn enrol(&self, session: &SessionToken) -> Somebody {
        let signed_in = self.look(session).await.unwrap();
        let new = factors::begin_totp(&self.instance, &self.ctx(), &signed_in).await.unwrap();
        let seed = base32(new.spelled.expose());
        let code = code(&seed, &self.clock);
        let ctx = self.ctx();
        let done = factors::confirm_totp(&self.instance, &ctx, &signed_in, &code, "phone");
        let done = done.await.unwrap();
        let recovery = done.recovery.unwrap_or_default();
        // Its code is used up.
        self.wait(Duration::from_mins(1));
        Somebody {
            id: signed_in.user,
            seed,
            recovery: recovery.iter().map(|code| code.expose().to_owned()).collect(),
            session: done.session,
        }
    }

    pub(crate) async fn administrator(&self) -> Somebody {
        let link = self.first().await;
        let session = self.accept(&link.token, Some(ADA), PASSWORD).await.unwrap();
        self.enrol(&session).await
    }

    pub(crate) async fn invited(&self, address: &str, roles: &[&str]) -> Somebody {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let address = EmailAddress::parse(address).unwrap();
        let link = users::invite(&self.instance, &self.ctx(), &address, &roles).await.unwrap();
        let session = self.accept(&link.token, None, PASSWORD).await.unwrap();
        self.enrol(&session).await
    }

    async fn password(&self, address: &str, password: &str) -> Result<Begun, Error> {
        self.password_from(None, address, password).await
    }

    async fn password_from(
        &self,
        source: sign_in::Source,
        address: &str,
        password: &str,
    ) -> Result<Begun, Error> {
        let password = Password::new(password.into());
        sign_in::password(&self.instance, &self.ctx(), source, address, password).await
    }

    /// After the right password.
    async fn half(&self, address: &str) -> SessionToken {
        match self.password(address, PASSWORD).await.unwrap() {
            Begun::SecondFactor(token) => token,
            Begun::Enrolment(_) => panic!("there is a second factor"),
        }
    }

    async fn second(&self, half: &SessionToken, code: &str) -> Result<SessionToken, Error> {
        let signed_in = self.look(half).await.ok_or(Error::FactorRefused)?;
        sign_in::second_factor(&self.instance, &self.ctx(), None, &signed_in, code).await
    }

    async fn sign_in(&self, address: &str, seed: &[u8]) -> SessionToken {
        let half = self.half(address).await;
        self.second(&half, &code(seed, &self.clock)).await.unwrap()
    }
}

fn ctx_at(clock: &ManualClock) -> OpContext {
    OpContext { actor: Actor::Local { uid: 7 }, request: id_of(), now: clock.now() }
}

fn base32(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for letter in text.bytes().filter(|byte| *byte != b' ') {
        let digit = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|one| *one == letter);
        bits = bits << 5 | u32::try_from(digit.unwrap()).unwrap();
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xFF).unwrap());
        }
    }
    out
}

/// RFC 6238, as an app computes it.
fn code(seed: &[u8], clock: &ManualClock) -> String {
    let step = clock.now().as_micros() / 30_000_000;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let mac = hmac::sign(&key, &step.to_be_bytes());
    let mac = mac.as_ref();
    let at = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes(mac[at..at + 4].try_into().unwrap()) & 0x7FFF_FFFF;
    format!("{:06}", number % 1_000_000)
}

fn just_before(life: Duration) -> Duration {
    life.saturating_sub(Duration::from_secs(1))
}

pub(crate) fn refused<T>(result: Result<T, Error>) -> Error {
    match result {
        Err(error) => error,
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn the_first_administrator_comes_by_a_link_that_works_once() {
    let office = Office::open().await;
    let first = office.first().await;
    assert!(!users::has_administrator(&office.instance).await.unwrap());
    // A newer one ends it.
    let link = office.first().await;
    let gone = users::link(&office.instance, &first.token).await;
    assert!(matches!(refused(gone), Error::LinkUnknown));
    let open = users::link(&office.instance, &link.token).await.unwrap();
    assert_eq!((open.purpose, open.address), (LinkPurpose::Setup, None));
    let missing = office.accept(&link.token, None, PASSWORD).await;
    assert!(matches!(refused(missing), Error::AddressMissing));
    for bad in ["short", "weirgate weirgate", "ada@example.com"] {
        let weak = office.accept(&link.token, Some(ADA), bad).await;
        assert!(matches!(refused(weak), Error::Password(_)), "{bad}");
    }
    let session = office.accept(&link.token, Some("Ada@Example.com"), PASSWORD).await.unwrap();
    assert_eq!(office.look(&session).await.unwrap().level, SessionLevel::Enrol);
    let again = office.accept(&link.token, Some(ADA), PASSWORD).await;
    assert!(matches!(refused(again), Error::LinkUnknown));
    let another = users::first_administrator(&office.instance, &office.ctx()).await;
    assert!(matches!(refused(another), Error::AdministratorExists));
    let listed = users::list(&office.instance).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].address.as_deref().map(str::to_lowercase).as_deref(), Some(ADA));
    assert_eq!(listed[0].state, UserState::Active);
}

#[tokio::test]
async fn a_setup_link_lives_for_fifteen_minutes() {
    let office = Office::open().await;
    let link = office.first().await;
    office.wait(just_before(users::SETUP_LIFE));
    assert!(users::link(&office.instance, &link.token).await.is_ok());
    office.wait(Duration::from_secs(1));
    let late = office.accept(&link.token, Some(ADA), PASSWORD).await;
    assert!(matches!(refused(late), Error::LinkUnknown));
}

#[tokio::test]
async fn before_a_second_factor_there_is_enrolment_and_nothing_else() {
    let office = Office::open().await;
    let link = office.first().await;
    let session = office.accept(&link.token, Some(ADA), PASSWORD).await.unwrap();
    let signed_in = office.look(&session).await.unwrap();
    assert_eq!(signed_in.level, SessionLevel::Enrol);
    assert!(!signed_in.is_stepped_up(office.clock.now()));
    let ctx = office.ctx();
    let wanted = tokens::Wanted { name: "t", roles: &[], life: Duration::from_hours(1) };
    let token = tokens::create(&office.instance, &ctx, &signed_in, &wanted).await;
    assert!(matches!(refused(token), Error::StepUpNeeded));
    let codes = factors::replace_recovery_codes(&office.instance, &ctx, &signed_in).await;
    assert!(matches!(refused(codes), Error::FactorRefused));
    let removed = factors::remove(&office.instance, &ctx, &signed_in, id_of()).await;
    assert!(matches!(refused(removed), Error::FactorRefused));
    let second = sign_in::second_factor(&office.instance, &ctx, None, &signed_in, "123456").await;
    assert!(matches!(refused(second), Error::FactorRefused));
    // Whoever comes again before is where they were.
    assert!(matches!(office.password(ADA, PASSWORD).await.unwrap(), Begun::Enrolment(_)));
    let ada = office.enrol(&session).await;
    // The session was exchanged, and others that only enrol are over.
    assert!(office.look(&session).await.is_none());
    let full = office.look(&ada.session).await.unwrap();
    assert_eq!(full.level, SessionLevel::Full);
    assert_eq!(full.roles, ["administrator"]);
    assert_eq!(ada.recovery.len(), identity::RECOVERY_CODES);
}

#[tokio::test]
async fn an_old_enrolment_cannot_add_a_factor_once_there_is_one() {
    let office = Office::open().await;
    let link = office.first().await;
    let session = office.accept(&link.token, Some(ADA), PASSWORD).await.unwrap();
    let Begun::Enrolment(other) = office.password(ADA, PASSWORD).await.unwrap() else {
        panic!("there is no factor yet")
    };
    let other_signed_in = office.look(&other).await.unwrap();
    factors::begin_totp(&office.instance, &office.ctx(), &other_signed_in).await.unwrap();
    office.enrol(&session).await;
    let late = factors::begin_totp(&office.instance, &office.ctx(), &other_signed_in).await;
    assert!(matches!(refused(late), Error::FactorRefused));
    let late =
        factors::confirm_totp(&office.instance, &office.ctx(), &other_signed_in, "123456", "")
            .await;
    assert!(matches!(refused(late), Error::FactorRefused));
}

#[tokio::test]
async fn a_password_alone_reaches_the_second_factor_and_nothing_else() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let half = office.half(ADA).await;
    let signed_in = office.look(&half).await.unwrap();
    assert_eq!(signed_in.level, SessionLevel::Password);
    assert!(!signed_in.is_stepped_up(office.clock.now()));
    let ctx = office.ctx();
    let begun = factors::begin_totp(&office.instance, &ctx, &signed_in).await;
    assert!(matches!(refused(begun), Error::FactorRefused));
    let wanted = tokens::Wanted { name: "t", roles: &[], life: Duration::from_hours(1) };
    let token = tokens::create(&office.instance, &ctx, &signed_in, &wanted).await;
    assert!(matches!(refused(token), Error::StepUpNeeded));
    let full = office.second(&half, &code(&ada.seed, &office.clock)).await.unwrap();
    assert_eq!(office.look(&full).await.unwrap().level, SessionLevel::Full);
    assert!(office.look(&half).await.is_none(), "the session is exchanged");
    // It waits for five minutes.
    let half = office.half(ADA).await;
    office.wait(Duration::from_mins(5));
    assert!(office.look(&half).await.is_none());
}

/// The code that an app was enrolled with was seen by whoever looked on: it lets nobody in.
#[tokio::test]
async fn the_code_of_an_enrolment_does_not_sign_in() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let signed_in = office.look(&ada.session).await.unwrap();
    let new = factors::begin_totp(&office.instance, &office.ctx(), &signed_in).await.unwrap();
    let seed = base32(new.spelled.expose());
    let shown = code(&seed, &office.clock);
    let ctx = office.ctx();
    let done = factors::confirm_totp(&office.instance, &ctx, &signed_in, &shown, "tablet");
    let session = done.await.unwrap().session;
    let half = office.half(ADA).await;
    // At the sign-in, and as a step-up.
    for session in [&half, &session] {
        let again = office.second(session, &shown).await;
        assert!(matches!(refused(again), Error::FactorRefused));
    }
    // The app's next one does.
    office.wait(Duration::from_secs(30));
    office.second(&half, &code(&seed, &office.clock)).await.unwrap();
}

#[tokio::test]
async fn a_code_counts_once() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let now = code(&ada.seed, &office.clock);
    let half = office.half(ADA).await;
    office.second(&half, &now).await.unwrap();
    for spelled in [now.clone(), format!(" {now}"), format!("{now} "), format!("{now}\n")] {
        let half = office.half(ADA).await;
        let again = office.second(&half, &spelled).await;
        assert!(matches!(refused(again), Error::FactorRefused), "{spelled:?}");
        office.wait(Duration::ZERO);
    }
    office.wait(Duration::from_secs(30));
    let half = office.half(ADA).await;
    let next = code(&ada.seed, &office.clock);
    // Two at once: one of them is too late.
    let signed_in = office.look(&half).await.unwrap();
    let ctx = office.ctx();
    let attempt = || sign_in::second_factor(&office.instance, &ctx, None, &signed_in, &next);
    let (one, two) = tokio::join!(attempt(), attempt());
    assert!(one.is_ok() != two.is_ok());
}

#[tokio::test]
async fn recovery_codes_count_once_each_and_not_after_new_ones() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let half = office.half(ADA).await;
    let session = office.second(&half, &ada.recovery[0].to_uppercase()).await.unwrap();
    let half = office.half(ADA).await;
    let again = office.second(&half, &ada.recovery[0]).await;
    assert!(matches!(refused(again), Error::FactorRefused));
    let signed_in = office.look(&session).await.unwrap();
    let (listed, left) = factors::list(&office.instance, ada.id).await.unwrap();
    assert_eq!((listed.len(), listed[0].kind, left), (1, FactorKind::Totp, 9));
    let ctx = office.ctx();
    let new = factors::replace_recovery_codes(&office.instance, &ctx, &signed_in).await.unwrap();
    let half = office.half(ADA).await;
    let old = office.second(&half, &ada.recovery[1]).await;
    assert!(matches!(refused(old), Error::FactorRefused));
    office.second(&half, new[0].expose()).await.unwrap();
}

#[tokio::test]
async fn the_last_factor_stays() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let signed_in = office.look(&office.sign_in(ADA, &ada.seed).await).await.unwrap();
    let (listed, _) = factors::list(&office.instance, ada.id).await.unwrap();
    let last = factors::remove(&office.instance, &office.ctx(), &signed_in, listed[0].id).await;
    assert!(matches!(refused(last), Error::LastFactor));
    // Of two, one may go; not without a step-up.
    office.wait(Duration::from_secs(30));
    let session = office.sign_in(ADA, &ada.seed).await;
    let second = office.enrol(&session).await;
    let mut signed_in = office.look(&second.session).await.unwrap();
    signed_in.stepped_up_until = None;
    let first = listed[0].id;
    let early = factors::remove(&office.instance, &office.ctx(), &signed_in, first).await;
    assert!(matches!(refused(early), Error::StepUpNeeded));
    let signed_in = office.look(&second.session).await.unwrap();
    factors::remove(&office.instance, &office.ctx(), &signed_in, first).await.unwrap();
    let half = office.half(ADA).await;
    let gone = office.second(&half, &code(&ada.seed, &office.clock)).await;
    assert!(matches!(refused(gone), Error::FactorRefused));
    office.wait(Duration::from_secs(30));
    office.second(&half, &code(&second.seed, &office.clock)).await.unwrap();
    // Another's factor is nobody else's to remove.
    let bob = office.invited("bob@example.com", &["auditor"]).await;
    let (of_bob, _) = factors::list(&office.instance, bob.id).await.unwrap();
    office.wait(Duration::from_secs(30));
    let signed_in = office.look(&office.sign_in(ADA, &second.seed).await).await.unwrap();
    let foreign = factors::remove(&office.instance, &office.ctx(), &signed_in, of_bob[0].id).await;
    assert!(matches!(refused(foreign), Error::NotFound { kind: "factor", .. }));
}

#[tokio::test]
async fn sessions_end_when_they_idle_and_when_they_are_old() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let session = office.sign_in(ADA, &ada.seed).await;
    office.wait(just_before(sessions::IDLE_LIFE));
    assert!(office.look(&session).await.is_some());
    // That look counts as activity.
    office.wait(just_before(sessions::IDLE_LIFE));
    assert!(office.look(&session).await.is_some());
    office.wait(sessions::IDLE_LIFE);
    assert!(office.look(&session).await.is_none());
    let session = office.sign_in(ADA, &ada.seed).await;
    for _ in 0..35 {
        office.wait(Duration::from_mins(20));
        assert!(office.look(&session).await.is_some());
    }
    office.wait(Duration::from_mins(20));
    assert!(office.look(&session).await.is_none(), "twelve hours are over");
    // Since enrolment, one idle, one old; and what has ended is deleted.
    assert!(office.instance.store.sessions().await.unwrap().len() >= 2);
    office.wait(Duration::from_hours(13));
    sessions::tidy(&office.instance).await.unwrap();
    assert!(office.instance.store.sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_step_up_lasts_for_five_minutes() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let session = office.sign_in(ADA, &ada.seed).await;
    office.wait(just_before(sessions::STEP_UP_LIFE));
    let signed_in = office.look(&session).await.unwrap();
    assert!(signed_in.is_stepped_up(office.clock.now()));
    office.wait(Duration::from_secs(1));
    assert!(!signed_in.is_stepped_up(office.clock.now()));
    let up = office.second(&session, &code(&ada.seed, &office.clock)).await.unwrap();
    assert!(office.look(&session).await.is_none(), "the session is exchanged");
    assert!(office.look(&up).await.unwrap().is_stepped_up(office.clock.now()));
}

#[tokio::test]
async fn sign_out_disabling_and_roles_act_at_once() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let bob = office.invited("bob@example.com", &["auditor"]).await;
    let ctx = office.ctx();
    let signed_in = office.look(&bob.session).await.unwrap();
    sessions::end(&office.instance, &ctx, signed_in.session).await.unwrap();
    assert!(office.look(&bob.session).await.is_none());
    let again = sessions::end(&office.instance, &ctx, signed_in.session).await;
    assert!(matches!(refused(again), Error::NotFound { kind: "session", .. }));
    let session = office.sign_in("bob@example.com", &bob.seed).await;
    let roles = ["integrator".to_owned()];
    users::set_roles(&office.instance, &office.ctx(), bob.id, &roles).await.unwrap();
    assert_eq!(office.look(&session).await.unwrap().roles, ["integrator"]);
    users::set_disabled(&office.instance, &office.ctx(), bob.id, true).await.unwrap();
    assert!(office.look(&session).await.is_none());
    let disabled = office.password("bob@example.com", PASSWORD).await;
    assert!(matches!(refused(disabled), Error::SignInRefused));
    users::set_disabled(&office.instance, &office.ctx(), bob.id, false).await.unwrap();
    assert!(office.look(&session).await.is_none(), "it does not come back");
    office.wait(Duration::from_secs(30));
    let session = office.sign_in("bob@example.com", &bob.seed).await;
    assert_eq!(sessions::list(&office.instance, Some(bob.id)).await.unwrap().len(), 1);
    sessions::end_all(&office.instance, &office.ctx(), bob.id).await.unwrap();
    assert!(office.look(&session).await.is_none());
    let session = {
        office.wait(Duration::from_secs(30));
        office.sign_in("bob@example.com", &bob.seed).await
    };
    users::remove(&office.instance, &office.ctx(), bob.id).await.unwrap();
    assert!(office.look(&session).await.is_none());
    let rows = office.instance.store.load_all().await.unwrap();
    assert!(rows.people.users.iter().all(|row| row.id == ada.id));
    assert!(rows.people.factors.iter().all(|row| row.user == ada.id));
    // The key that all that was personal lay under is gone, and with it what it sealed.
    assert_eq!(rows.customers.len(), 2, "the company's own, and Ada's");
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let ctx = office.ctx();
    let roles = ["auditor".to_owned()];
    let check = async |id| {
        for error in [
            refused(users::set_disabled(&office.instance, &ctx, id, true).await),
            refused(users::set_roles(&office.instance, &ctx, id, &roles).await),
            refused(users::remove(&office.instance, &ctx, id).await),
        ] {
            assert!(matches!(error, Error::LastAdministrator), "{error}");
        }
    };
    check(ada.id).await;
    // One who was invited, or has no second factor, cannot act.
    let address = EmailAddress::parse("bob@example.com").unwrap();
    let administrator = ["administrator".to_owned()];
    let link = users::invite(&office.instance, &ctx, &address, &administrator).await.unwrap();
    check(ada.id).await;
    let session = office.accept(&link.token, None, PASSWORD).await.unwrap();
    check(ada.id).await;
    let bob = office.enrol(&session).await;
    // Of two that go at once, one stays.
    let ctx = office.ctx();
    let (one, two) = tokio::join!(
        users::remove(&office.instance, &ctx, ada.id),
        users::remove(&office.instance, &ctx, bob.id)
    );
    assert!(one.is_ok() != two.is_ok());
}

/// One's own password changes by the one before, in a session that is stepped up, and ends the others.
#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it() {
    const NEW: &str = "eleven otters dive at dusk";
    let office = Office::open().await;
    let ada = office.administrator().await;
    let here = office.sign_in(ADA, &ada.seed).await;
    let elsewhere = office.look(&ada.session).await;
    assert!(elsewhere.is_some());
    let change = async |before: &str, new: &str| {
        let signed_in = office.look(&here).await.unwrap();
        let (before, new) = (Password::new(before.into()), Password::new(new.into()));
        users::change_password(&office.instance, &office.ctx(), None, &signed_in, before, new).await
    };
    assert!(matches!(refused(change("another password", NEW).await), Error::PasswordWrong));
    for bad in ["short", "weirgate weirgate", "ada@example.com"] {
        assert!(matches!(refused(change(PASSWORD, bad).await), Error::Password(_)), "{bad}");
    }
    assert!(office.password(ADA, PASSWORD).await.is_ok(), "nothing was changed");
    change(PASSWORD, NEW).await.unwrap();
    assert!(office.look(&here).await.is_some());
    assert!(office.look(&ada.session).await.is_none(), "the others end");
    assert!(matches!(refused(office.password(ADA, PASSWORD).await), Error::SignInRefused));
    assert!(office.password(ADA, NEW).await.is_ok());
    // The second factor is as it was.
    assert!(office.look(&here).await.unwrap().is_stepped_up(office.clock.now()));
    // Guesses are counted as those of a sign-in are.
    let mut judged = 0;
    while !matches!(refused(change("wrong", NEW).await), Error::SignInSlowed { .. }) {
        judged += 1;
        assert!(judged < 40, "nobody slows guessing down");
    }
    office.wait(sessions::STEP_UP_LIFE);
    assert!(matches!(refused(change(NEW, PASSWORD).await), Error::StepUpNeeded));
}

#[tokio::test]
async fn invitations_name_whom_they_are_for() {
    let office = Office::open().await;
    office.administrator().await;
    let ctx = office.ctx();
    let address = EmailAddress::parse("bob@example.com").unwrap();
    for (roles, wanted) in [(vec![], "no role"), (vec!["owner".to_owned()], "role")] {
        let error = refused(users::invite(&office.instance, &ctx, &address, &roles).await);
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let roles = ["auditor".to_owned()];
    let first = users::invite(&office.instance, &ctx, &address, &roles).await.unwrap();
    let upper = EmailAddress::parse("BOB@example.com").unwrap();
    let taken = refused(users::invite(&office.instance, &ctx, &upper, &roles).await);
    assert!(matches!(taken, Error::Exists { kind: "user", .. }));
    let link = users::renew_link(&office.instance, &ctx, first.user).await.unwrap();
    let old = users::link(&office.instance, &first.token).await;
    assert!(matches!(refused(old), Error::LinkUnknown));
    // The address is the one that was invited, whatever is given.
    let session = office.accept(&link.token, Some("eve@example.com"), PASSWORD).await.unwrap();
    assert!(office.look(&session).await.is_some());
    assert!(matches!(office.password("bob@example.com", PASSWORD).await, Ok(Begun::Enrolment(_))));
    let eve = refused(office.password("eve@example.com", PASSWORD).await);
    assert!(matches!(eve, Error::SignInRefused));
    let another = EmailAddress::parse("cy@example.com").unwrap();
    let link = users::invite(&office.instance, &ctx, &another, &roles).await.unwrap();
    office.wait(users::INVITE_LIFE);
    let late = office.accept(&link.token, None, PASSWORD).await;
    assert!(matches!(refused(late), Error::LinkUnknown));
}

#[tokio::test]
async fn a_reset_ends_everything_of_before() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let signed_in = office.look(&ada.session).await;
    assert!(signed_in.is_some());
    let session = office.sign_in(ADA, &ada.seed).await;
    let signed_in = office.look(&session).await.unwrap();
    let roles = ["administrator".to_owned()];
    let wanted = tokens::Wanted { name: "cron", roles: &roles, life: Duration::from_hours(1) };
    let token = tokens::create(&office.instance, &office.ctx(), &signed_in, &wanted).await.unwrap();
    let link = users::renew_link(&office.instance, &office.ctx(), ada.id).await.unwrap();
    // Nothing happens before it is used.
    assert!(office.look(&session).await.is_some());
    office.wait(Duration::from_secs(1));
    let enrol = office.accept(&link.token, None, "nine otters cross the ford").await.unwrap();
    assert!(office.look(&session).await.is_none());
    assert!(tokens::look_up(&office.instance, &token.token).await.unwrap().is_none());
    assert_eq!(office.look(&enrol).await.unwrap().level, SessionLevel::Enrol);
    assert!(factors::list(&office.instance, ada.id).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn tokens_are_never_wider_than_their_owner_and_end() {
    let office = Office::open().await;
    office.administrator().await;
    let bob = office.invited("bob@example.com", &["auditor", "integrator"]).await;
    let session = office.sign_in("bob@example.com", &bob.seed).await;
    let signed_in = office.look(&session).await.unwrap();
    let ctx = office.ctx();
    let make = async |roles: &[&str], life| {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let wanted = tokens::Wanted { name: "cron", roles: &roles, life };
        tokens::create(&office.instance, &ctx, &signed_in, &wanted).await
    };
    let hour = Duration::from_hours(1);
    assert!(matches!(refused(make(&["administrator"], hour).await), Error::RoleNotHeld { .. }));
    assert!(matches!(refused(make(&[], hour).await), Error::RolesMissing));
    let year = tokens::MAX_LIFE + Duration::from_secs(1);
    for life in [Duration::ZERO, year] {
        assert!(matches!(refused(make(&["auditor"], life).await), Error::TokenLife { .. }));
    }
    let made = make(&["auditor", "integrator"], hour).await.unwrap();
    let look = async || tokens::look_up(&office.instance, &made.token).await.unwrap();
    assert_eq!(look().await.unwrap().roles, ["auditor", "integrator"]);
    users::set_roles(&office.instance, &office.ctx(), bob.id, &["auditor".into()]).await.unwrap();
    assert_eq!(look().await.unwrap().roles, ["auditor"]);
    office.wait(Duration::from_hours(1));
    assert!(look().await.is_none());
    let strange = PersonalToken::generate(&SystemRandom).unwrap();
    assert!(tokens::look_up(&office.instance, &strange).await.unwrap().is_none());
    // Without a factor shown lately there is none.
    let late = tokens::Wanted { name: "late", roles: &["auditor".into()], life: hour };
    let late = tokens::create(&office.instance, &office.ctx(), &signed_in, &late).await;
    assert!(matches!(refused(late), Error::StepUpNeeded));
    let session = office.sign_in("bob@example.com", &bob.seed).await;
    let signed_in = office.look(&session).await.unwrap();
    let wanted = tokens::Wanted { name: "new", roles: &["auditor".into()], life: hour };
    let made = tokens::create(&office.instance, &office.ctx(), &signed_in, &wanted).await.unwrap();
    let foreign = tokens::revoke(&office.instance, &office.ctx(), made.id, Some(id_of())).await;
    assert!(matches!(refused(foreign), Error::NotFound { kind: "token", .. }));
    tokens::revoke(&office.instance, &office.ctx(), made.id, Some(bob.id)).await.unwrap();
    assert!(tokens::look_up(&office.instance, &made.token).await.unwrap().is_none());
}

#[tokio::test]
async fn rows_that_somebody_else_wrote_let_nobody_in() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let session = office.sign_in(ADA, &ada.seed).await;
    let store = &office.instance.store;
    assert!(office.look(&session).await.is_some());
    // A session that was prolonged, stepped up, or made another's.
    let row = store.sessions().await.unwrap().pop().unwrap();
    let later = Duration::from_micros(1);
    for forged in [
        SessionRow { expires_at: row.expires_at + later, ..row.clone() },
        SessionRow { stepped_up_at: Some(row.created_at + later), ..row.clone() },
        SessionRow { user: id_of(), ..row.clone() },
        SessionRow { level: SessionLevel::Enrol, ..row.clone() },
        SessionRow { seen_at: row.seen_at + later, ..row.clone() },
    ] {
        let people = super::now(&office.instance).await.unwrap();
        let user = &people.users[0];
        assert!(sessions::is_in_force(&office.instance, &row, user, office.clock.now()));
        assert!(!sessions::is_in_force(&office.instance, &forged, user, office.clock.now()));
    }
    // A factor that was taken away, so that a password alone would enrol another.
    let factor = store.load_all().await.unwrap().people.factors[0].id;
    let mut tx = store.begin(&office.ctx()).await.unwrap();
    tx.delete_factor(factor).await.unwrap();
    tx.append_outbox([7; 16], b"").await.unwrap();
    tx.commit().await.unwrap();
    assert!(office.look(&session).await.is_none());
    assert!(office.password(ADA, PASSWORD).await.is_err());
}

#[tokio::test]
async fn what_is_personal_stands_nowhere_in_clear() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    clients::create(&office.instance, &office.ctx(), &"c".parse().unwrap()).await.unwrap();
    office.instance.store.close().await;
    let folder = office.instance.folder.database();
    let all = std::fs::read(&folder).unwrap();
    let finds = |needle: &[u8]| all.windows(needle.len()).any(|window| window == needle);
    for needle in [ADA.as_bytes(), PASSWORD.as_bytes(), b"argon2", &ada.seed, b"Ada"] {
        assert!(!finds(needle), "{}", String::from_utf8_lossy(needle));
    }
    for code in &ada.recovery {
        assert!(!finds(code.as_bytes()) && !finds(code.replace('-', "").as_bytes()));
    }
    assert!(finds(ada.id.to_string().as_bytes()));
}

/// Whatever lets somebody in by being shown is kept as a digest, in the database, its log and a backup.
#[tokio::test]
async fn what_lets_somebody_in_stands_nowhere() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let (instance, ctx) = (&office.instance, office.ctx());
    let address = EmailAddress::parse("bob@example.com").unwrap();
    let roles = ["administrator".to_owned()];
    let link = users::invite(instance, &ctx, &address, &roles).await.unwrap();
    let half = office.half(ADA).await;
    let signed_in = office.look(&ada.session).await.unwrap();
    let wanted = tokens::Wanted { name: "t", roles: &roles, life: Duration::from_hours(24) };
    let personal = tokens::create(instance, &ctx, &signed_in, &wanted).await.unwrap();
    let form = super::form_token(instance, &ada.session);
    let (folder, copy) = (&instance.folder, office.home.path().join("copy"));
    crate::backup::create(folder, &copy, &*office.clock, &SystemRandom).await.unwrap();
    crate::sequence::settle(instance).await.unwrap();
    let mut files = vec![copy];
    let mut folders = vec![office.home.path().join("data")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let contents: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let finds = |needle: &[u8]| {
        contents.iter().any(|all| all.windows(needle.len()).any(|window| window == needle))
    };
    for text in [
        ada.session.expose(),
        half.expose(),
        link.token.expose(),
        personal.token.expose(),
        form.as_str(),
    ] {
        assert!(!finds(text.as_bytes()), "{text}");
        // Nor as the bytes that it spells.
        if let Ok(bytes) = URL_SAFE_NO_PAD.decode(text) {
            assert!(!finds(&bytes) && !finds(crate::change::hex(&bytes).as_bytes()), "{text}");
        }
    }
    // What is there would be found.
    assert!(finds(personal.id.to_string().as_bytes()) && files.len() > 4);
}

const ORIGIN: &str = "http://localhost:8401";
/// What the forms of a browser are bound to.
const FORM: &str = "one browser";

/// Whoever changes what lets somebody in is told of to whom it belongs, until that one has seen it.
#[tokio::test]
async fn owners_are_told_what_was_changed() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let bob = office.invited("bob@example.com", &["auditor"]).await;
    let told = async |user| -> Vec<String> {
        let listed = notices::list(&office.instance, user).await.unwrap();
        listed.into_iter().map(|one| one.what).collect()
    };
    assert_eq!(told(ada.id).await, [""; 0], "a first factor is what one came for");
    let signed_in = office.look(&ada.session).await.unwrap();
    let (instance, ctx) = (&office.instance, office.ctx());
    let new = factors::begin_totp(instance, &ctx, &signed_in).await.unwrap();
    assert_eq!(told(ada.id).await, [""; 0], "what was begun lets nobody in");
    let code = code(&base32(new.spelled.expose()), &office.clock);
    let done = factors::confirm_totp(instance, &ctx, &signed_in, &code, "tablet").await.unwrap();
    let signed_in = office.look(&done.session).await.unwrap();
    factors::replace_recovery_codes(instance, &ctx, &signed_in).await.unwrap();
    factors::remove(instance, &ctx, &signed_in, new.id).await.unwrap();
    let wanted = tokens::Wanted {
        name: "report",
        roles: &[super::ADMINISTRATOR.to_owned()],
        life: Duration::from_hours(24),
    };
    tokens::create(instance, &ctx, &signed_in, &wanted).await.unwrap();
    let (before, new) = (Password::new(PASSWORD.into()), Password::new("nine otters cross".into()));
    users::change_password(instance, &ctx, None, &signed_in, before, new).await.unwrap();
    let seen = told(ada.id).await;
    let wanted = [
        "tablet\u{201d} was added",
        "recovery codes",
        "tablet\u{201d} was removed",
        "report\u{201d} was made",
        "password was changed",
    ];
    assert_eq!(seen.len(), wanted.len(), "{seen:?}");
    for (seen, wanted) in seen.iter().zip(wanted) {
        assert!(seen.contains(wanted), "{seen}");
    }
    assert_eq!(told(bob.id).await, [""; 0], "nobody else is told");
    // What came after the page that somebody saw stays.
    let shown = notices::list(instance, ada.id).await.unwrap();
    office.wait(Duration::from_secs(1));
    let ctx = office.ctx();
    let signed_in = office.look(&done.session).await.unwrap();
    factors::replace_recovery_codes(instance, &ctx, &signed_in).await.unwrap();
    let newest = shown.last().unwrap().at();
    notices::seen(instance, &ctx, &signed_in, newest).await.unwrap();
    assert_eq!(told(ada.id).await.len(), 1);
    notices::seen(instance, &ctx, &signed_in, ctx.now).await.unwrap();
    assert_eq!(told(ada.id).await, [""; 0]);
    let before = instance.store.generation().await.unwrap();
    notices::seen(instance, &ctx, &signed_in, ctx.now).await.unwrap();
    assert_eq!(instance.store.generation().await.unwrap(), before, "nothing was to be seen");
    // By a link of an administrator's.
    let link = users::renew_link(instance, &ctx, bob.id).await.unwrap();
    assert_eq!(told(bob.id).await, [""; 0], "a link that waits changed nothing");
    office.accept(&link.token, None, "ten otters cross the ford").await.unwrap();
    assert!(told(bob.id).await[0].contains("gave up your factors"));
    // The newest of many are kept.
    for _ in 0..30 {
        let signed_in = office.look(&done.session).await.unwrap();
        factors::replace_recovery_codes(instance, &ctx, &signed_in).await.unwrap();
    }
    assert_eq!(told(ada.id).await.len(), 20);
    // Sealed like all that is personal.
    let path = office.instance.folder.database();
    for end in ["", "-wal"] {
        let bytes = std::fs::read(format!("{}{end}", path.display())).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("otters") && !text.contains("gave up your factors"));
    }
}

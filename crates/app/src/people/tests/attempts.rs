//! Guessing: counted, slowed and locked, and what strangers cannot do by it.

use super::*;

#[tokio::test]
async fn nobody_learns_who_there_is() {
    let office = Office::open().await;
    office.administrator().await;
    let wrong = refused(office.password(ADA, "seven herons wade downstream").await);
    for address in ["eve@example.com", "no address", "", "ada@example.com\n"] {
        let unknown = refused(office.password(address, PASSWORD).await);
        assert_eq!(unknown.to_string(), wrong.to_string(), "{address:?}");
        assert!(matches!(unknown, Error::SignInRefused), "{address:?}");
    }
    // Somebody who was invited has no password yet.
    let address = EmailAddress::parse("bob@example.com").unwrap();
    let roles = ["auditor".to_owned()];
    users::invite(&office.instance, &office.ctx(), &address, &roles).await.unwrap();
    let invited = refused(office.password("bob@example.com", PASSWORD).await);
    assert_eq!(invited.to_string(), wrong.to_string());
}

#[tokio::test]
async fn failures_slow_down_whatever_the_spelling_and_whoever_it_is() {
    let office = Office::open().await;
    office.administrator().await;
    let before = office.instance.store.generation().await.unwrap();
    for (name, other) in [(ADA, "ADA@EXAMPLE.COM"), ("eve@example.com", "Eve@example.com")] {
        for spelled in [name, other, name, other, name] {
            assert!(matches!(
                refused(office.password(spelled, "wrong").await),
                Error::SignInRefused
            ));
        }
        // The right one does not help now.
        for spelled in [name, other] {
            let slowed = refused(office.password(spelled, PASSWORD).await);
            assert!(matches!(slowed, Error::SignInSlowed { .. }), "{spelled}: {slowed}");
        }
        // Each failure costs more; attempts that came too early cost nothing.
        office.wait(Duration::from_secs(1));
        assert!(matches!(refused(office.password(name, "wrong").await), Error::SignInRefused));
        office.wait(Duration::from_secs(1));
        assert!(matches!(
            refused(office.password(name, "wrong").await),
            Error::SignInSlowed { .. }
        ));
        office.wait(Duration::from_secs(1));
    }
    // Failures are no changes: a flood of them makes no node compile anew.
    assert_eq!(office.instance.store.generation().await.unwrap(), before);
    let half = office.half(ADA).await;
    assert!(office.look(&half).await.is_some());
}

/// A hundred failures of one step.
async fn hundred(office: &Office, step: &str) {
    let lookup = super::super::address_digest(&office.instance, &EmailAddress::parse(ADA).unwrap());
    let pepper = &office.instance.secrets.pepper;
    let account = pepper.lookup_digest(step, &crate::change::hex(&lookup));
    let now = office.clock.now();
    for _ in 0..100 {
        office.instance.store.count_failure(&account, now, now).await.unwrap();
    }
}

#[tokio::test]
async fn a_hundred_failures_lock_for_a_day_or_until_a_new_link() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    hundred(&office, "sign-in password").await;
    office.wait(Duration::from_hours(23));
    let locked = refused(office.password(ADA, PASSWORD).await);
    assert!(matches!(locked, Error::SignInSlowed { .. }));
    // Strangers who know an address keep nobody out for ever.
    office.wait(Duration::from_hours(2));
    office.password(ADA, PASSWORD).await.unwrap();
    hundred(&office, "sign-in password").await;
    let link = users::renew_link(&office.instance, &office.ctx(), ada.id).await.unwrap();
    assert_eq!(link.purpose, LinkPurpose::Reset);
    let session = office.accept(&link.token, None, "nine otters cross the ford").await.unwrap();
    office.enrol(&session).await;
    let old = refused(office.password(ADA, PASSWORD).await);
    assert!(matches!(old, Error::SignInRefused), "the lock is off, the old password void: {old}");
}

/// Whoever tries codes has the password.
#[tokio::test]
async fn a_hundred_wrong_codes_lock_until_a_new_link() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    hundred(&office, "sign-in factor").await;
    for days in [0, 1, 30] {
        office.wait(Duration::from_hours(24 * days));
        sessions::tidy(&office.instance).await.unwrap();
        let half = office.half(ADA).await;
        let right = refused(office.second(&half, &code(&ada.seed, &office.clock)).await);
        assert!(matches!(right, Error::SignInSlowed { .. }), "{days}: {right}");
    }
    let link = users::renew_link(&office.instance, &office.ctx(), ada.id).await.unwrap();
    let session = office.accept(&link.token, None, "nine otters cross the ford").await.unwrap();
    office.enrol(&session).await;
}

#[tokio::test]
async fn five_codes_are_judged_in_five_minutes() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let half = office.half(ADA).await;
    let mut judged = 0;
    // As soon as anything is judged, by second.
    for number in 0..290 {
        match refused(office.second(&half, &format!("{number:06}")).await) {
            Error::FactorRefused => judged += 1,
            Error::SignInSlowed { .. } => {}
            other => panic!("{other}"),
        }
        office.wait(Duration::from_secs(1));
    }
    assert_eq!(judged, 5);
    let right = refused(office.second(&half, &code(&ada.seed, &office.clock)).await);
    assert!(matches!(right, Error::SignInSlowed { .. }));
}

/// Whoever comes in leaves word of those who did not, once.
#[tokio::test]
async fn attempts_that_were_refused_are_told_of_with_the_one_that_was_not() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    for _ in 0..3 {
        refused(office.password(ADA, "wrong").await);
    }
    refused(office.password("nobody@example.com", "wrong").await);
    let half = office.half(ADA).await;
    refused(office.second(&half, "000000").await);
    office.wait(Duration::from_mins(1));
    office.second(&half, &code(&ada.seed, &office.clock)).await.unwrap();
    office.wait(Duration::from_mins(1));
    office.sign_in(ADA, &ada.seed).await;
    crate::sequence::settle(&office.instance).await.unwrap();
    let mut told = Vec::new();
    crate::audit_log::walk_back(&office.instance.folder, None, |_, record| {
        if let crate::audit_log::Record::Changed(changed) = record
            && changed.verb == "user.refused"
        {
            assert_eq!(changed.what, format!("user {}", ada.id));
            told.push(changed.details.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>());
        }
        true
    })
    .unwrap();
    assert_eq!(told, [["factor", "1"], ["password", "3"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_at_once_are_as_few_as_one_after_the_other() {
    let office = Office::open().await;
    office.administrator().await;
    let half = office.half(ADA).await;
    let signed_in = office.look(&half).await.unwrap();
    let ctx = office.ctx();
    let codes: Vec<String> = (0..60).map(|number| format!("{number:06}")).collect();
    let all = codes
        .iter()
        .map(|code| sign_in::second_factor(&office.instance, &ctx, None, &signed_in, code));
    let all = futures_util::future::join_all(all).await;
    let judged = all.iter().filter(|one| matches!(one, Err(Error::FactorRefused))).count();
    assert!(judged <= 6, "{judged} of 60 were judged");
}

#[tokio::test]
async fn one_place_cannot_try_everybody() {
    let office = Office::open().await;
    office.administrator().await;
    let place: IpAddr = "192.0.2.1".parse().unwrap();
    for number in 0..20 {
        let name = format!("user{number}@example.com");
        let error = refused(office.password_from(Some(place), &name, "wrong").await);
        assert!(matches!(error, Error::SignInRefused));
    }
    let error = refused(office.password_from(Some(place), "more@example.com", "wrong").await);
    assert!(matches!(error, Error::SignInSlowed { .. }));
    let elsewhere: IpAddr = "192.0.2.2".parse().unwrap();
    let error = refused(office.password_from(Some(elsewhere), "more@example.com", "wrong").await);
    assert!(matches!(error, Error::SignInRefused));
}

/// A right attempt is no failure, neither of the person nor of the place that many come from.
#[tokio::test]
async fn those_who_come_in_slow_nobody_down() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let place: Option<IpAddr> = Some("192.0.2.1".parse().unwrap());
    // One failure of somebody else's stays counted.
    refused(office.password_from(place, "bob@example.com", "wrong").await);
    for minute in 0..40 {
        office.wait(Duration::from_mins(1));
        let begun = office.password_from(place, ADA, PASSWORD).await;
        let Ok(Begun::SecondFactor(half)) = begun else { panic!("{minute}: {begun:?}") };
        let half_way = office.look(&half).await.unwrap();
        let code = code(&ada.seed, &office.clock);
        let (instance, ctx) = (&office.instance, office.ctx());
        sign_in::second_factor(instance, &ctx, place, &half_way, &code).await.unwrap();
    }
    for number in 1..20 {
        let name = format!("user{number}@example.com");
        let error = refused(office.password_from(place, &name, "wrong").await);
        assert!(matches!(error, Error::SignInRefused), "{number}: {error:?}");
    }
    let error = refused(office.password_from(place, "more@example.com", "wrong").await);
    assert!(matches!(error, Error::SignInSlowed { .. }), "{error:?}");
}

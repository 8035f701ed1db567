//! Reviews: what they hold, who decides, and what is left as evidence.

use super::{
    About, Outcome, State, Undecided, Verdict, begin, close, decide, evidence, list, remove, show,
};
use crate::{
    apply::{self, Removal},
    audit_log::{self, Record},
    change::hex,
    demo,
    error::Error,
    grants,
    people::{
        ADMINISTRATOR,
        managed_tests::manage,
        tests::{Office, Somebody, refused},
        users,
    },
    seals, sequence,
};
use types::{Id, Review, SecretText};

/// An installation with the demo's grants and three people.
async fn office() -> (Office, Id<Review>) {
    let (office, id, _) = office_and_mia().await;
    (office, id)
}

async fn office_and_mia() -> (Office, Id<Review>, Somebody) {
    let office = Office::open().await;
    let (server, place) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
    let secret = SecretText::new("secret".to_owned());
    demo::seed(&office.instance, &office.ctx(), server, place, &secret).await.unwrap();
    office.administrator().await;
    let mia = office.invited("mia@example.com", &[ADMINISTRATOR, "auditor"]).await;
    let id = begin(&office.instance, &office.ctx(), "Autumn", 30).await.unwrap();
    (office, id, mia)
}

#[tokio::test]
async fn every_grant_and_every_role_is_an_item() {
    let (office, id) = office().await;
    let review = show(&office.instance, None).await.unwrap();
    assert_eq!(review.id, id);
    let grants = grants::list(&office.instance).await.unwrap();
    let people = users::list(&office.instance).await.unwrap();
    let roles: usize = people.iter().map(|one| one.roles.len()).sum();
    assert!(!grants.is_empty() && roles == 3, "{} {roles}", grants.len());
    assert_eq!(review.items.len(), grants.len() + roles);
    assert_eq!(review.open_items(), review.items.len());
    for item in &review.items {
        if let About::Grant { words, .. } = &item.about {
            assert!(!words.is_empty());
        }
    }
    assert!(!review.is_overdue(office.instance.clock.now()));
    assert!(review.is_overdue(review.due_at));
    let second = refused(begin(&office.instance, &office.ctx(), "Another", 30).await);
    assert!(matches!(second, Error::ReviewUnderWay), "{second}");
}

/// The numbers of the items of a kind.
async fn numbers(office: &Office, wanted: impl Fn(&About) -> bool) -> Vec<usize> {
    let items = show(&office.instance, None).await.unwrap().items;
    items.iter().filter(|item| wanted(&item.about)).map(|item| item.number).collect()
}

fn is_grant(about: &About) -> bool {
    matches!(about, About::Grant { .. })
}

fn is_role(about: &About, wanted: &str) -> bool {
    matches!(about, About::Role { role, .. } if role == wanted)
}

async fn decided(
    office: &Office,
    id: Id<Review>,
    verdicts: &[(usize, Verdict)],
) -> Result<(), Error> {
    decide(&office.instance, &office.ctx(), None, id, verdicts).await
}

#[tokio::test]
async fn what_is_dropped_is_gone_and_what_is_confirmed_stays() {
    let (office, id) = office().await;
    let grant = numbers(&office, is_grant).await[0];
    let auditor = numbers(&office, |about| is_role(about, "auditor")).await[0];
    let administrators = numbers(&office, |about| is_role(about, ADMINISTRATOR)).await;
    let before = grants::list(&office.instance).await.unwrap().len();
    decided(&office, id, &[(grant, Verdict::Drop), (auditor, Verdict::Drop)]).await.unwrap();
    assert_eq!(grants::list(&office.instance).await.unwrap().len(), before - 1);
    let people = users::list(&office.instance).await.unwrap();
    assert!(people.iter().all(|one| one.roles == [ADMINISTRATOR]), "{people:?}");
    decided(&office, id, &[(administrators[0], Verdict::Confirm)]).await.unwrap();
    // What was confirmed may be thought over; what is gone may not.
    decided(&office, id, &[(administrators[0], Verdict::Drop)]).await.unwrap();
    for verdict in [Verdict::Confirm, Verdict::Drop] {
        let again = refused(decided(&office, id, &[(grant, verdict)]).await);
        assert!(matches!(again, Error::ReviewItem { number } if number == grant), "{again}");
    }
    // All or nothing: the last administrator stays, and so does what was named beside it.
    let last = refused(decided(&office, id, &[(administrators[1], Verdict::Drop)]).await);
    assert!(matches!(last, Error::LastAdministrator), "{last}");
    // The account is there, and may do nothing.
    let people = users::list(&office.instance).await.unwrap();
    assert_eq!(people.iter().filter(|one| one.roles.is_empty()).count(), 1);
}

#[tokio::test]
async fn all_of_a_choice_is_done_or_nothing() {
    let (office, id) = office().await;
    let grant = numbers(&office, is_grant).await[0];
    let administrators = numbers(&office, |about| is_role(about, ADMINISTRATOR)).await;
    let both = [(administrators[0], Verdict::Drop), (administrators[1], Verdict::Drop)];
    let last = refused(decided(&office, id, &[(grant, Verdict::Drop), both[0], both[1]]).await);
    assert!(matches!(last, Error::LastAdministrator), "{last}");
    let review = show(&office.instance, None).await.unwrap();
    assert_eq!(review.open_items(), review.items.len());
    for number in [0, review.items.len() + 1, usize::MAX] {
        let unknown = refused(decided(&office, id, &[(number, Verdict::Drop)]).await);
        assert!(matches!(unknown, Error::NotFound { kind: "item", .. }), "{unknown}");
    }
    let twice = [(grant, Verdict::Drop), (grant, Verdict::Confirm)];
    let twice = refused(decided(&office, id, &twice).await);
    assert!(matches!(twice, Error::ReviewTwice), "{twice}");
}

/// It was decided since, by somebody who saw it as it is now.
#[tokio::test]
async fn what_was_changed_since_is_not_reviewed() {
    let (office, id) = office().await;
    let auditor = numbers(&office, |about| is_role(about, "auditor")).await[0];
    let mia = show(&office.instance, None).await.unwrap();
    let mia = mia.items[auditor - 1].about.user().unwrap();
    let roles = [ADMINISTRATOR.to_owned()];
    users::set_roles(&office.instance, &office.ctx(), mia, &roles).await.unwrap();
    let files = [("none.toml".to_owned(), Vec::new())];
    let none = apply::plan_files(&office.instance, &files).await.unwrap();
    apply::commit(&office.instance, &office.ctx(), none, Removal::AllIsMeant).await.unwrap();
    let review = show(&office.instance, Some(id)).await.unwrap();
    let changed = review.items.iter().filter(|item| item.state == State::Changed);
    let changed: Vec<usize> = changed.map(|item| item.number).collect();
    assert!(changed.contains(&auditor) && changed.len() > 1, "{changed:?}");
    for number in changed {
        let refused = refused(decided(&office, id, &[(number, Verdict::Confirm)]).await);
        assert!(matches!(refused, Error::ReviewItem { .. }), "{refused}");
    }
}

#[tokio::test]
async fn nobody_confirms_a_role_of_their_own() {
    let (office, id, mia) = office_and_mia().await;
    let own = office.look(&mia.session).await.unwrap();
    let items = show(&office.instance, None).await.unwrap().items;
    let is_own = |about: &About| about.user() == Some(own.user);
    let number = items.iter().find(|item| is_own(&item.about)).unwrap().number;
    let other = items.iter().find(|item| item.about.user().is_some() && !is_own(&item.about));
    let (instance, other) = (&office.instance, other.unwrap().number);
    let ctx = office.ctx();
    let confirm = |number| [(number, Verdict::Confirm)];
    let refusal = refused(decide(instance, &ctx, Some(&own), id, &confirm(number)).await);
    assert!(matches!(refusal, Error::OwnRole), "{refusal}");
    decide(instance, &ctx, Some(&own), id, &confirm(other)).await.unwrap();
    office.wait(std::time::Duration::from_mins(6));
    let late = office.look(&mia.session).await.unwrap();
    let ctx = office.ctx();
    let refusal = refused(decide(instance, &ctx, Some(&late), id, &confirm(number)).await);
    assert!(matches!(refusal, Error::StepUpNeeded), "{refusal}");
    let closing = close(instance, &ctx, Some(&late), id, Undecided::Drop).await;
    assert!(matches!(refused(closing), Error::StepUpNeeded));
}

#[tokio::test]
async fn a_review_is_closed_with_evidence_that_the_log_knows() {
    let (office, id) = office().await;
    let (instance, ctx) = (&office.instance, office.ctx());
    let items = show(instance, None).await.unwrap().items;
    let left = refused(close(instance, &ctx, None, id, Undecided::Refuse).await);
    assert!(matches!(left, Error::ReviewOpen { items: n } if n == items.len()), "{left}");
    let administrators = numbers(&office, |about| is_role(about, ADMINISTRATOR)).await;
    let verdicts: Vec<_> = administrators.iter().map(|one| (*one, Verdict::Confirm)).collect();
    decided(&office, id, &verdicts).await.unwrap();
    let open = refused(remove(instance, &ctx, id).await);
    assert!(matches!(open, Error::ReviewUnderWay), "{open}");
    let closed = close(instance, &ctx, None, id, Undecided::Drop).await.unwrap();
    assert!(grants::list(instance).await.unwrap().is_empty());
    for item in &closed.items {
        let State::Decided(decision) = &item.state else { panic!("{item:?}") };
        let is_kept = administrators.contains(&item.number);
        let wanted = if is_kept { Outcome::Confirmed } else { Outcome::Dropped };
        assert_eq!(decision.outcome, wanted);
    }
    let text = evidence(instance, &closed);
    assert_eq!(text, evidence(instance, &show(instance, Some(id)).await.unwrap()));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["review"]["items"].as_array().unwrap().len(), items.len());
    sequence::settle(instance).await.unwrap();
    let digest = hex(&seals::sha256(text.as_bytes()));
    let (mut is_known, mut drops) = (false, 0);
    audit_log::walk_back(&instance.folder, None, |_, record| {
        if let Record::Changed(changed) = record {
            is_known |= changed.verb == "review.close"
                && changed.details.contains(&("evidence_sha256".to_owned(), digest.clone()));
            drops += usize::from(changed.verb == "review.drop");
        }
        true
    })
    .unwrap();
    assert!(is_known);
    assert_eq!(drops, items.len() - administrators.len());
    let over = refused(decided(&office, id, &[(1, Verdict::Drop)]).await);
    assert!(matches!(over, Error::ReviewClosed), "{over}");
    remove(instance, &ctx, id).await.unwrap();
    assert!(list(instance).await.unwrap().is_empty());
    begin(instance, &ctx, "Winter", 1).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_a_review_is_refused() {
    let office = Office::open().await;
    let (instance, ctx) = (&office.instance, office.ctx());
    let nothing = refused(begin(instance, &ctx, "Autumn", 30).await);
    assert!(matches!(nothing, Error::NothingToReview), "{nothing}");
    let long = "x".repeat(101);
    for (name, days) in [("", 30), ("a\nb", 30), (long.as_str(), 30), ("a", 0), ("a", 367)] {
        let refusal = refused(begin(instance, &ctx, name, days).await);
        let is_told = matches!(refusal, Error::ReviewName { .. } | Error::ReviewDays { .. });
        assert!(is_told, "{refusal}");
    }
    let unknown = refused(show(instance, None).await);
    assert!(matches!(unknown, Error::NameUnknown { .. }), "{unknown}");
}

/// Who confirms a role confirms what it permitted when the review began.
#[tokio::test]
async fn a_role_that_permits_more_since_is_not_confirmed() {
    let office = Office::open().await;
    let instance = &office.instance;
    let role = async |acts: &str| {
        let text = format!("[[role]]\nname = \"listener\"\nacts = [{acts}]\n");
        let files = [("roles.toml".to_owned(), text.into_bytes())];
        let plan = apply::plan_files(instance, &files).await.unwrap();
        apply::commit(instance, &office.ctx(), plan, Removal::SomeGrantsRemain).await.unwrap();
    };
    role("\"audit.read\"").await;
    office.administrator().await;
    office.invited("leo@example.com", &["listener"]).await;
    let id = begin(instance, &office.ctx(), "Autumn", 30).await.unwrap();
    let number = numbers(&office, |about| is_role(about, "listener")).await[0];
    let shown = show(instance, None).await.unwrap().items.remove(number - 1);
    assert_eq!(shown.about.words(), ["permits audit.read"]);
    role("\"audit.read\", \"audit.export\"").await;
    let refusal = refused(decided(&office, id, &[(number, Verdict::Confirm)]).await);
    assert!(matches!(refusal, Error::ReviewItem { .. }), "{refusal}");
    role("\"audit.read\"").await;
    decided(&office, id, &[(number, Verdict::Confirm)]).await.unwrap();
    // What was confirmed is not confirmed by somebody else in the first one's place.
    let again = refused(decided(&office, id, &[(number, Verdict::Confirm)]).await);
    assert!(matches!(again, Error::ReviewItem { .. }), "{again}");
}

/// A role that would come back with the next sign-in.
#[tokio::test]
async fn what_a_provider_gives_is_left_to_it() {
    let (office, id, mia) = office_and_mia().await;
    manage(&office, mia.id).await;
    let items = show(&office.instance, None).await.unwrap().items;
    let is_mias = |about: &About| about.user() == Some(mia.id);
    let mias: Vec<usize> =
        items.iter().filter(|item| is_mias(&item.about)).map(|item| item.number).collect();
    let refusal = refused(decided(&office, id, &[(mias[0], Verdict::Drop)]).await);
    assert!(matches!(refusal, Error::ReviewManaged { number } if number == mias[0]), "{refusal}");
    let own = numbers(&office, |about| about.user().is_some_and(|user| user != mia.id)).await;
    decided(&office, id, &[(own[0], Verdict::Confirm)]).await.unwrap();
    let ctx = office.ctx();
    let closed = close(&office.instance, &ctx, None, id, Undecided::Drop).await.unwrap();
    for number in mias {
        let State::Decided(decision) = &closed.items[number - 1].state else { panic!("{number}") };
        assert_eq!(decision.outcome, Outcome::Elsewhere);
    }
    let people = users::list(&office.instance).await.unwrap();
    let roles = &people.iter().find(|one| one.id == mia.id).unwrap().roles;
    assert_eq!(roles.len(), 2, "they are as its provider said");
}

//! People, in every database.

use crate::contract::{ctx, event, id};
use store::{
    CustomerRow, FactorRow, FailureRow, IdentityProviderRow, IdentityRow, LinkRow, ProposalRow,
    ReviewRow, RuleRow, SessionRow, Store, StoreError, TokenRow, UserRow, ViewRow,
};
use types::{FactorKind, Id, LinkPurpose, SessionLevel, Timestamp, User, UserState};

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn session(user: Id<User>, digest: u8) -> SessionRow {
    SessionRow {
        id: id(),
        digest: [digest; 32],
        user,
        level: SessionLevel::Enrol,
        created_at: at(1),
        seen_at: at(2),
        expires_at: at(300),
        stepped_up_at: Some(at(4)),
        seal: [9; 32],
    }
}

pub async fn people(store: &Store, customer: &CustomerRow) {
    let user = UserRow {
        id: id(),
        customer: customer.id,
        lookup: [3; 32],
        state: UserState::Invited,
        roles: vec!["auditor".into(), "read-only".into()],
        created_at: at(1),
        valid_from: at(2),
    };
    let factor = FactorRow {
        id: id(),
        user: user.id,
        kind: FactorKind::Totp,
        name: "phone".into(),
        body: String::new(),
        created_at: at(3),
        used: None,
    };
    let link = LinkRow {
        id: id(),
        digest: [4; 32],
        purpose: LinkPurpose::Invite,
        user: user.id,
        created_at: at(5),
        expires_at: at(6),
        used_at: None,
    };
    let token = TokenRow {
        id: id(),
        digest: [5; 32],
        user: user.id,
        name: "cron".into(),
        roles: Vec::new(),
        created_at: at(7),
        expires_at: at(8),
        revoked_at: None,
    };
    let provider = IdentityProviderRow {
        id: id(),
        name: "corp".parse().unwrap(),
        customer: customer.id,
        body: "{}".into(),
        created_at: at(10),
    };
    let identity = IdentityRow {
        id: id(),
        user: user.id,
        provider: Some(provider.id),
        subject: [6; 32],
        is_managed: true,
        created_at: at(11),
    };
    let proposal = ProposalRow {
        id: id(),
        author: user.id,
        body: "{}".into(),
        created_at: at(12),
        expires_at: at(13),
    };
    let review = ReviewRow {
        id: id(),
        body: "{}".into(),
        created_at: at(14),
        due_at: at(15),
        closed_at: None,
    };
    let view = ViewRow {
        id: id(),
        owner: user.id,
        name: "refusals".into(),
        body: "{}".into(),
        created_at: at(14),
    };
    let rule = RuleRow { name: "nights".parse().unwrap(), body: "text".into(), created_at: at(9) };
    let mut tx = store.begin(&ctx()).await.unwrap();
    tx.put_user(&user).await.unwrap();
    tx.put_factor(&factor).await.unwrap();
    tx.put_link(&link).await.unwrap();
    tx.put_token(&token).await.unwrap();
    tx.put_identity_provider(&provider).await.unwrap();
    tx.put_identity(&identity).await.unwrap();
    tx.insert_proposal(&proposal).await.unwrap();
    tx.insert_proposal(&ProposalRow { id: id(), ..proposal.clone() }).await.unwrap();
    tx.put_review(&review).await.unwrap();
    tx.insert_view(&view).await.unwrap();
    tx.insert_view(&ViewRow { id: id(), ..view.clone() }).await.unwrap();
    tx.put_role(&rule).await.unwrap();
    tx.put_policy(&rule).await.unwrap();
    tx.insert_session(&session(user.id, 1)).await.unwrap();
    tx.append_outbox(event(), b"people").await.unwrap();
    tx.commit().await.unwrap();
    let read = store.load_all().await.unwrap().people;
    assert_eq!(read.users, std::slice::from_ref(&user));
    assert_eq!(read.factors, std::slice::from_ref(&factor));
    assert_eq!(read.links, std::slice::from_ref(&link));
    assert_eq!(read.tokens, std::slice::from_ref(&token));
    assert_eq!((&read.providers, &read.identities), (&vec![provider], &vec![identity.clone()]));
    assert_eq!((read.proposals.len(), &read.proposals[0]), (2, &proposal));
    assert_eq!(read.reviews, std::slice::from_ref(&review));
    assert_eq!((read.views.len(), &read.views[0]), (2, &view));
    assert_eq!((&read.roles, &read.policies), (&vec![rule.clone()], &vec![rule.clone()]));
    what_changes(store, &user, &factor, &link, &token, &rule).await;
    sessions(store, &user).await;
    failures(store).await;
    one_address_is_one_person(store, &user).await;
    one_subject_is_one_person(store, &identity).await;
    reviews(store, &review).await;
    removal(store, &user).await;
}

async fn reviews(store: &Store, review: &ReviewRow) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let closed = ReviewRow { body: "{\"a\":1}".into(), closed_at: Some(at(16)), ..review.clone() };
    tx.put_review(&closed).await.unwrap();
    tx.append_outbox(event(), b"review").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.load_all().await.unwrap().people.reviews, [closed]);
    let mut tx = store.begin(&ctx()).await.unwrap();
    assert!(tx.delete_review(review.id).await.unwrap());
    assert!(!tx.delete_review(review.id).await.unwrap());
    tx.append_outbox(event(), b"no review").await.unwrap();
    tx.commit().await.unwrap();
    assert!(store.load_all().await.unwrap().people.reviews.is_empty());
}

async fn what_changes(
    store: &Store,
    user: &UserRow,
    factor: &FactorRow,
    link: &LinkRow,
    token: &TokenRow,
    rule: &RuleRow,
) {
    let user = UserRow {
        state: UserState::Active,
        roles: vec!["administrator".into()],
        valid_from: at(20),
        ..user.clone()
    };
    let factor = FactorRow { used: Some(21), body: "b".into(), ..factor.clone() };
    let link = LinkRow { used_at: Some(at(22)), ..link.clone() };
    let token = TokenRow { revoked_at: Some(at(23)), ..token.clone() };
    let other = RuleRow { body: "other".into(), ..rule.clone() };
    let mut tx = store.begin(&ctx()).await.unwrap();
    tx.put_user(&user).await.unwrap();
    tx.put_factor(&factor).await.unwrap();
    tx.put_link(&link).await.unwrap();
    tx.put_token(&token).await.unwrap();
    tx.put_policy(&other).await.unwrap();
    assert!(tx.delete_role(&rule.name).await.unwrap());
    assert!(!tx.delete_role(&rule.name).await.unwrap());
    tx.append_outbox(event(), b"changes").await.unwrap();
    tx.commit().await.unwrap();
    let read = store.load_all().await.unwrap().people;
    assert_eq!((read.users, read.factors), (vec![user], vec![factor]));
    assert_eq!((read.links, read.tokens), (vec![link], vec![token]));
    assert_eq!((read.roles, read.policies), (Vec::new(), vec![other]));
}

async fn sessions(store: &Store, user: &UserRow) {
    let before = store.generation().await.unwrap();
    let mut row = store.session(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(SessionRow { id: row.id, ..session(user.id, 1) }, row);
    assert!(store.session(&[0; 32]).await.unwrap().is_none());
    row.seen_at = at(40);
    row.seal = [8; 32];
    store.touch_session(&row).await.unwrap();
    assert_eq!(store.session(&[1; 32]).await.unwrap().unwrap(), row);
    // An earlier look that comes late sets nothing back.
    store
        .touch_session(&SessionRow { seen_at: at(30), seal: [7; 32], ..row.clone() })
        .await
        .unwrap();
    assert_eq!(store.session(&[1; 32]).await.unwrap().unwrap(), row);
    // One that has ended is not brought back.
    let mut tx = store.begin(&ctx()).await.unwrap();
    let second = session(user.id, 2);
    tx.insert_session(&second).await.unwrap();
    assert!(tx.delete_session(row.id).await.unwrap());
    assert!(!tx.delete_session(row.id).await.unwrap());
    tx.append_outbox(event(), b"ends").await.unwrap();
    tx.commit().await.unwrap();
    store.touch_session(&SessionRow { seen_at: at(50), ..row.clone() }).await.unwrap();
    assert_eq!(store.sessions().await.unwrap(), [second]);
    // What is written aside moves no generation.
    assert_eq!(store.generation().await.unwrap(), before + 1);
    assert_eq!(store.tidy_people(at(299), at(0), 9).await.unwrap(), 0);
    assert_eq!(store.tidy_people(at(301), at(0), 9).await.unwrap(), 1);
}

async fn failures(store: &Store) {
    let lookup = [6; 32];
    assert_eq!(store.failures(&lookup).await.unwrap(), None);
    for count in 1..4 {
        assert_eq!(
            store.count_failure(&lookup, at(10), at(10 + i64::from(count))).await.unwrap(),
            count
        );
    }
    let known = FailureRow { failures: 3, last_at: at(13) };
    assert_eq!(store.failures(&lookup).await.unwrap(), Some(known));
    assert_eq!(store.count_failure(&lookup, at(14), at(20)).await.unwrap(), 1, "they were old");
    // However many come at once, each counts.
    let all = (0..20).map(|_| store.count_failure(&lookup, at(0), at(30)));
    futures_util::future::try_join_all(all).await.unwrap();
    assert_eq!(store.failures(&lookup).await.unwrap().unwrap().failures, 21);
    for left in [Some(20), None] {
        let mut tx = store.begin(&ctx()).await.unwrap();
        match left {
            Some(_) => tx.forget_failure(&lookup).await.unwrap(),
            None => tx.forget_failures(&lookup).await.unwrap(),
        }
        // Of what is not there nothing is taken back.
        tx.forget_failure(&[7; 32]).await.unwrap();
        tx.append_outbox(event(), b"in").await.unwrap();
        tx.commit().await.unwrap();
        let known = store.failures(&lookup).await.unwrap();
        assert_eq!(known.map(|known| known.failures), left);
    }
    store.count_failure(&lookup, at(0), at(30)).await.unwrap();
    // What locks an account stays.
    assert_eq!(store.tidy_people(at(0), at(31), 1).await.unwrap(), 0);
    assert_eq!(store.tidy_people(at(0), at(31), 2).await.unwrap(), 1);
}

async fn one_address_is_one_person(store: &Store, user: &UserRow) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let other = UserRow { id: id(), ..user.clone() };
    let taken = tx.put_user(&other).await.unwrap_err();
    assert!(matches!(taken, StoreError::Conflict { table: "user_account" }), "{taken}");
}

async fn one_subject_is_one_person(store: &Store, identity: &IdentityRow) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    let other = IdentityRow { id: id(), ..identity.clone() };
    let taken = tx.put_identity(&other).await.unwrap_err();
    assert!(matches!(taken, StoreError::Conflict { table: "user_identity" }), "{taken}");
    drop(tx);
    let mut tx = store.begin(&ctx()).await.unwrap();
    assert!(tx.delete_identity(identity.id).await.unwrap());
    assert!(!tx.delete_identity(identity.id).await.unwrap());
    tx.put_identity(&other).await.unwrap();
    let first = store.load_all().await.unwrap().people.proposals[0].id;
    assert!(tx.delete_proposal(first).await.unwrap());
    assert!(!tx.delete_proposal(first).await.unwrap());
    let view = store.load_all().await.unwrap().people.views[0].clone();
    assert!(!tx.delete_view(view.id, id()).await.unwrap(), "somebody else's");
    assert!(tx.delete_view(view.id, view.owner).await.unwrap());
    assert!(!tx.delete_view(view.id, view.owner).await.unwrap());
    tx.append_outbox(event(), b"identity").await.unwrap();
    tx.commit().await.unwrap();
}

/// All that is a person's goes with the person.
async fn removal(store: &Store, user: &UserRow) {
    let mut tx = store.begin(&ctx()).await.unwrap();
    tx.insert_session(&session(user.id, 3)).await.unwrap();
    tx.delete_user(user.id).await.unwrap();
    tx.append_outbox(event(), b"removed").await.unwrap();
    tx.commit().await.unwrap();
    let read = store.load_all().await.unwrap().people;
    assert!(read.users.is_empty() && read.factors.is_empty());
    assert!(read.links.is_empty() && read.tokens.is_empty() && read.identities.is_empty());
    assert!(read.proposals.is_empty() && read.views.is_empty());
    assert_eq!(read.providers.len(), 1);
    let mut tx = store.begin(&ctx()).await.unwrap();
    tx.delete_identity_provider(read.providers[0].id).await.unwrap();
    tx.append_outbox(event(), b"provider removed").await.unwrap();
    tx.commit().await.unwrap();
    let read = store.load_all().await.unwrap().people;
    assert!(read.providers.is_empty());
    assert!(store.sessions().await.unwrap().is_empty());
}

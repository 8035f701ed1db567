//! Accounts that an identity provider made, beside those that come in by themselves.

use super::{
    ADMINISTRATOR, sso,
    tests::{Office, ceremonies::right, refused},
    users,
};
use crate::{
    change::{Care, Change, Changing},
    customers,
    error::Error,
};
use store::{IdentityProviderRow, IdentityRow};
use types::{Id, Identity, User};

/// From now on a provider has made this account.
pub(crate) async fn manage(office: &Office, user: Id<User>) {
    link(office, user, true).await;
}

/// From now on somebody comes in by a provider.
async fn link(office: &Office, user: Id<User>, is_managed: bool) -> Id<Identity> {
    let (instance, ctx) = (&office.instance, office.ctx());
    let mut changing = Changing::begin(instance, &ctx, Care::Whole).await.unwrap();
    let key = customers::create(instance, &mut changing.tx, &ctx, [7; 32], "corp").await.unwrap();
    let provider = IdentityProviderRow {
        id: Id::generate(ctx.now, instance.random.as_ref()).unwrap(),
        name: "corp".parse().unwrap(),
        customer: key.id,
        body: "{}".into(),
        created_at: ctx.now,
    };
    changing.tx.put_identity_provider(&provider).await.unwrap();
    let identity = IdentityRow {
        id: Id::generate(ctx.now, instance.random.as_ref()).unwrap(),
        user,
        provider: Some(provider.id),
        subject: [8; 32],
        is_managed,
        created_at: ctx.now,
    };
    changing.tx.put_identity(&identity).await.unwrap();
    changing.record(Change { verb: "test", what: "test".into(), ..Change::default() });
    changing.commit().await.unwrap();
    identity.id
}

/// The provider may have let go of whoever holds the passkey.
#[tokio::test]
async fn a_passkey_alone_lets_no_managed_account_in() {
    let office = Office::open().await;
    office.administrator().await;
    let mia = office.invited("mia@example.com", &[ADMINISTRATOR]).await;
    let (mut device, _) = office.device(&mia.session, 1).await;
    let asked = office.asked();
    device.counter += 1;
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    office.come(&asked, &answer).await.unwrap();
    manage(&office, mia.id).await;
    let asked = office.asked();
    device.counter += 1;
    let answer = device.get(asked.options.as_json(), &right()).unwrap();
    let come = refused(office.come(&asked, &answer).await);
    assert!(matches!(come, Error::PasskeyRefused), "{come}");
}

/// It neither stands for the last administrator, nor is protected as one.
#[tokio::test]
async fn a_managed_account_is_no_last_administrator() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let mia = office.invited("mia@example.com", &[ADMINISTRATOR]).await;
    manage(&office, mia.id).await;
    let ctx = office.ctx();
    let last = refused(users::set_disabled(&office.instance, &ctx, ada.id, true).await);
    assert!(matches!(last, Error::LastAdministrator), "{last}");
    // Its roles and its way in are the provider's.
    let roles = ["auditor".to_owned()];
    let managed = refused(users::set_roles(&office.instance, &ctx, mia.id, &roles).await);
    assert!(matches!(managed, Error::ManagedElsewhere), "{managed}");
    let managed = refused(users::renew_link(&office.instance, &ctx, mia.id).await);
    assert!(matches!(managed, Error::ManagedElsewhere), "{managed}");
    users::set_disabled(&office.instance, &ctx, mia.id, true).await.unwrap();
    users::remove(&office.instance, &ctx, mia.id).await.unwrap();
}

#[tokio::test]
async fn somebody_elses_identity_is_not_unlinked() {
    let office = Office::open().await;
    let ada = office.administrator().await;
    let mia = office.invited("mia@example.com", &[ADMINISTRATOR]).await;
    let identity = link(&office, mia.id, false).await;
    let (instance, ctx) = (&office.instance, office.ctx());
    for (token, is_own) in [(&ada.session, false), (&mia.session, true), (&mia.session, false)] {
        let signed_in = office.look(token).await.unwrap();
        let before = instance.store.generation().await.unwrap();
        let done = sso::unlink(instance, &ctx, &signed_in, identity).await;
        let moved = instance.store.generation().await.unwrap() != before;
        assert_eq!((done.is_ok(), moved), (is_own, is_own), "{done:?}");
        assert!(is_own || matches!(done, Err(Error::NotFound { kind: "identity", .. })));
    }
}

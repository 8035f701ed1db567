//! Each condition by itself, with a clock that stands where it is put.

use super::{
    Known, LifetimeError, Plan, apply,
    judge::{Limits, rules_of, subjects},
    leaked, list, plan, restore, set_owner,
};
use crate::{
    clients,
    error::Error,
    instance::Instance,
    seals,
    seals_tests::{Home, ctx, id_of},
};
use std::time::Duration;
use store::{ConsentRow, Everything, LifetimeStateRow, NetworkRow, UseCount};
use types::{Environment, Id, Key, OpContext, Slug, Timestamp};

const DAY: Duration = Duration::from_hours(24);

fn days(count: u32) -> Duration {
    DAY * count
}

pub(super) struct World {
    _home: Home,
    pub instance: Instance,
    pub ctx: OpContext,
    pub key: Id<Key>,
}

impl World {
    pub(super) async fn new() -> Self {
        let home = Home::new();
        let instance = home.init().await;
        let ctx = ctx();
        let name: Slug = "reader".parse().unwrap();
        clients::create(&instance, &ctx, &name).await.unwrap();
        let made = clients::create_key(&instance, &ctx, &name, Environment::Live, days(365));
        let key = made.await.unwrap().id;
        Self { _home: home, instance, ctx, key }
    }

    async fn apply(&self, rules: &str) -> Plan {
        let plan = plan(&self.instance, "file", rules).await.unwrap();
        apply(&self.instance, &self.ctx, plan).await.unwrap()
    }

    pub(super) async fn rows(&self) -> Everything {
        seals::load_whole(&self.instance).await.unwrap()
    }

    /// What ends the key by then, if it was used like this.
    async fn ended(
        &self,
        after: Duration,
        used: Option<(u64, Duration)>,
        networks: &[(u8, Duration)],
    ) -> Option<String> {
        let rows = self.rows().await;
        let rules = rules_of(&rows);
        let created = self.created(&rows);
        let id = self.key.to_string();
        let known = Known {
            uses: used
                .map(|(uses, last)| {
                    let one = UseCount { subject: id.clone(), uses, last_at: created + last };
                    (id.clone(), one)
                })
                .into_iter()
                .collect(),
            networks: networks
                .iter()
                .map(|(network, first)| NetworkRow {
                    subject: id.clone(),
                    network: [*network; 8],
                    first_at: created + *first,
                })
                .collect(),
        };
        let all = subjects(&rows, &rules);
        let subject = all.iter().find(|one| one.id == id)?;
        let end = known.end_of(subject, created + after)?;
        Some(format!("{} at {}", end.condition.as_str(), end.at.since(created).as_secs() / 86_400))
    }

    pub(super) fn created(&self, rows: &Everything) -> Timestamp {
        rows.keys.iter().find(|row| row.id == self.key).unwrap().created_at
    }
}

fn rule(more: &str) -> String {
    format!("[[lifetime]]\nname = \"r\"\napplies_to = \"client_key\"\ngrace = \"3d\"\n{more}\n")
}

#[tokio::test]
async fn a_key_ends_by_its_age_and_its_day() {
    let world = World::new().await;
    world.apply(&rule("max_age = \"90d\"")).await;
    assert_eq!(world.ended(days(89) + DAY / 2, None, &[]).await, None);
    assert_eq!(world.ended(days(90), None, &[]).await.unwrap(), "max_age at 90");
    let rows = world.rows().await;
    let created = world.created(&rows);
    // Calls know it ahead: no sweep has to come by.
    let limit = Limits::of_all(&rows, created).of(world.key).unwrap();
    assert_eq!((limit.ends_at, limit.is_suspended), (Some(created + days(90)), false));
    world.apply(&rule("expires = \"1999-12-31\"")).await;
    assert!(world.ended(Duration::ZERO, None, &[]).await.unwrap().starts_with("expires"));
    // Of several rules the first end counts; what a rule does not reach lives on.
    let two = rule("max_age = \"9d\"")
        + "[[lifetime]]\nname = \"s\"\napplies_to = \"client_key\"\nmax_age = \"5d\"\n";
    world.apply(&two).await;
    assert_eq!(world.ended(days(20), None, &[]).await.unwrap(), "max_age at 5");
    world.apply(&rule("environment = \"test\"\nmax_age = \"1d\"")).await;
    assert_eq!(world.ended(days(20), None, &[]).await, None);
    // The key's own expiry needs no rule.
    world.apply(&rule("max_age = \"1d\"")).await;
    assert_eq!(world.ended(days(365), None, &[]).await, None);
}

#[tokio::test]
async fn a_key_ends_by_its_use() {
    let world = World::new().await;
    world.apply(&rule("idle = \"30d\"")).await;
    assert_eq!(world.ended(days(29), None, &[]).await, None);
    assert_eq!(world.ended(days(31), None, &[]).await.unwrap(), "idle at 30");
    assert_eq!(world.ended(days(31), Some((1, days(2))), &[]).await, None);
    assert_eq!(world.ended(days(40), Some((1, days(2))), &[]).await.unwrap(), "idle at 32");
    world.apply(&rule("max_uses = 3")).await;
    assert_eq!(world.ended(days(1), Some((2, days(1))), &[]).await, None);
    assert_eq!(world.ended(days(1), Some((3, days(1))), &[]).await.unwrap(), "max_uses at 1");
    world.apply(&rule("on = [\"new_network\"]\nlearn = \"2d\"")).await;
    let known = [(1, days(0)), (2, days(2))];
    assert_eq!(world.ended(days(9), None, &known).await, None);
    let strange = [(1, days(0)), (3, days(3))];
    assert_eq!(world.ended(days(9), None, &strange).await.unwrap(), "new_network at 3");
}

/// A state as the pass leaves it.
async fn suspend(world: &World, condition: &str, at: Timestamp, grace: Duration) {
    let mut changing =
        crate::change::Changing::begin(&world.instance, &world.ctx, crate::change::Care::Whole)
            .await
            .unwrap();
    let row = LifetimeStateRow {
        subject: world.key.to_string(),
        rule: Some("r".into()),
        condition: Some(condition.into()),
        suspended_at: Some(at),
        final_at: Some(at + grace),
        ..LifetimeStateRow::default()
    };
    changing.tx.put_lifetime_state(&row).await.unwrap();
    changing.record(crate::change::Change {
        verb: "lifetime.suspend",
        what: "key".into(),
        ..crate::change::Change::default()
    });
    changing.commit().await.unwrap();
}

#[tokio::test]
async fn what_was_given_back_lives_until_its_grace_is_over_or_is_known_from_then_on() {
    let world = World::new().await;
    let id = world.key.to_string();
    let none = restore(&world.instance, &world.ctx, &id).await.unwrap_err();
    assert!(matches!(none, Error::Lifetime(LifetimeError::NotSuspended)));
    world.apply(&rule("max_age = \"1d\"")).await;
    let created = world.created(&world.rows().await);
    let later = |after: Duration| OpContext { now: created + after, ..world.ctx.clone() };
    suspend(&world, "max_age", created + days(1), days(3)).await;
    let late = restore(&world.instance, &later(days(4)), &id).await.unwrap_err();
    assert!(matches!(late, Error::Lifetime(LifetimeError::EndedForGood)));
    restore(&world.instance, &later(days(2)), &id).await.unwrap();
    assert_eq!(world.ended(days(3), None, &[]).await, None);
    assert_eq!(world.ended(days(4), None, &[]).await.unwrap(), "max_age at 4");
    // Idle begins anew.
    world.apply(&rule("idle = \"5d\"")).await;
    suspend(&world, "idle", created + days(5), days(3)).await;
    restore(&world.instance, &later(days(6)), &id).await.unwrap();
    assert_eq!(world.ended(days(10), None, &[]).await, None);
    assert_eq!(world.ended(days(11), None, &[]).await.unwrap(), "idle at 11");
    // A network that was seen by then is known.
    world.apply(&rule("on = [\"new_network\"]\nlearn = \"1d\"")).await;
    suspend(&world, "new_network", created + days(2), days(3)).await;
    restore(&world.instance, &later(days(3)), &id).await.unwrap();
    assert_eq!(world.ended(days(9), None, &[(1, days(2))]).await, None);
    assert!(world.ended(days(9), None, &[(1, days(2)), (2, days(4))]).await.is_some());
}

/// What is trusted of the rows when somebody took one away in the database.
async fn without(world: &World, take: impl FnOnce(&mut Everything)) -> Everything {
    let mut rows = world.instance.store.load_all().await.unwrap();
    take(&mut rows);
    let judgement = seals::judge(&world.instance.secrets.pepper, &rows).unwrap();
    assert_eq!(judgement.broken.len(), 1);
    seals::trusted(rows, &judgement.broken)
}

#[tokio::test]
async fn a_suspended_key_is_in_no_snapshot_and_a_missing_row_opens_nothing() {
    let world = World::new().await;
    let now = world.ctx.now;
    suspend(&world, "idle", now, days(3)).await;
    let rows = world.rows().await;
    assert!(Limits::of_all(&rows, now).of(world.key).unwrap().is_suspended);
    let listed = list(&world.instance).await.unwrap();
    assert_eq!(listed.lives.len(), 1);
    assert!(listed.lives[0].suspended.is_some());
    // Somebody takes the row away in the database.
    let trusted = without(&world, |rows| rows.lifetimes.states.clear()).await;
    assert!(trusted.keys.is_empty(), "a key whose suspension is gone is not in force");
    // Or a rule.
    world.apply(&rule("max_age = \"1d\"")).await;
    let trusted = without(&world, |rows| rows.lifetimes.rules.clear()).await;
    assert!(trusted.keys.is_empty() && trusted.connections.is_empty());
}

#[tokio::test]
async fn withdrawn_consents_and_owners_that_are_gone_end_what_rules_say() {
    let world = World::new().await;
    let name: Slug = "reader".parse().unwrap();
    let unknown = set_owner(&world.instance, &world.ctx, &name, Some(id_of())).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { kind: "user", .. }));
    let rules = "[[lifetime]]\nname = \"r\"\napplies_to = \"client_key\"\non = [\"owner_disabled\"]\n\
                 [[lifetime]]\nname = \"c\"\napplies_to = \"credential\"\non = [\"consent_withdrawn\"]\n";
    world.apply(rules).await;
    assert_eq!(world.ended(days(1), None, &[]).await, None, "nobody was named");
    // An owner who is nobody any more.
    let mut rows = world.rows().await;
    rows.lifetimes.owners.push(store::OwnerRow {
        client: rows.clients[0].id,
        owner: id_of(),
        roles: Vec::new(),
        set_at: world.ctx.now,
    });
    let limit = Limits::of_all(&rows, world.ctx.now).of(world.key).unwrap();
    assert!(limit.is_suspended);
    // A connection: withdrawn, then consented to anew.
    let connection = store::ConnectionRow {
        id: id_of(),
        provider: id_of(),
        customer: id_of(),
        environment: Environment::Live,
        scheme: "s".into(),
        variables: std::collections::BTreeMap::new(),
        headers: std::collections::BTreeMap::new(),
        created_at: world.ctx.now,
        revoked_at: None,
    };
    let consent = |ended: Option<&str>| ConsentRow {
        id: id_of(),
        connection: connection.id,
        digest: [0; 32],
        reach: "[]".into(),
        given_by: "local:0".into(),
        given_at: world.ctx.now,
        ended_at: ended.map(|_| world.ctx.now),
        ended_as: ended.map(ToOwned::to_owned),
    };
    rows.connections.push(connection.clone());
    let is_out = |rows: &Everything| {
        let limits = Limits::of_all(rows, world.ctx.now);
        limits.of(connection.id).is_some_and(|one| one.is_suspended)
    };
    assert!(!is_out(&rows));
    rows.connects.consents.push(consent(Some("renewed")));
    assert!(!is_out(&rows));
    rows.connects.consents.push(consent(Some("withdrawn")));
    assert!(is_out(&rows));
    rows.connects.consents.push(consent(None));
    assert!(!is_out(&rows));
}

#[tokio::test]
async fn a_leaked_key_is_found_by_its_digest_alone() {
    let world = World::new().await;
    let name: Slug = "reader".parse().unwrap();
    let made = clients::create_key(&world.instance, &world.ctx, &name, Environment::Live, days(1));
    let made = made.await.unwrap();
    let copy = types::ApiKey::parse(made.key.expose()).unwrap();
    let id = leaked(&world.instance, &world.ctx, super::Leaked::ApiKey(copy)).await.unwrap();
    assert_eq!(id, made.id.to_string());
    let rows = world.rows().await;
    let row = rows.keys.iter().find(|row| row.id == made.id).unwrap();
    assert!(row.revoked_at.is_some());
    let random = types::SeededRandom::new(3);
    let foreign = types::ApiKey::generate(Environment::Live, &random).unwrap();
    let none = leaked(&world.instance, &world.ctx, super::Leaked::ApiKey(foreign)).await;
    assert!(matches!(none, Err(Error::Lifetime(LifetimeError::UnknownSecret))));
}

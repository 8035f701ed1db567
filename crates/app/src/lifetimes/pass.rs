//! What each server does every few seconds: tells the store how often things were used, warns of ends,
//! and writes down what rules ended.

use super::{
    Known,
    judge::{End, Subject, rules_of, subjects},
    rules::Kind,
    what_of,
};
use crate::{
    audit_log::reading,
    calls::Counted,
    change::{Care, Change, Changing},
    connections::CREDENTIAL_TABLE,
    error::Error,
    instance::Instance,
    seals,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use store::{Everything, LifetimeStateRow, NetworkRow, UseCount};
use tokio::{sync::watch, time::MissedTickBehavior};
use types::{Actor, Id, Key, OpContext, Timestamp};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(2);
/// How many days ahead of its end something is warned of.
const WARNED: [u64; 3] = [1, 7, 30];
const DAY: Duration = Duration::from_hours(24);
/// What one change does at most: others want the store, too.
const AT_ONCE: usize = 200;

/// What a server remembers between two looks.
#[derive(Debug, Default)]
struct Memory {
    told: HashMap<Counted, (u64, Timestamp)>,
    networks: HashSet<(Id<Key>, [u8; 8])>,
    /// As of this generation of the store.
    rows: Option<(u64, Arc<Everything>)>,
}

/// Looks until told to stop.
pub async fn keep_up(instance: Arc<Instance>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut memory = Memory::default();
    let mut has_failed = false;
    loop {
        // Both are cancel-safe.
        tokio::select! {
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        match memory.look(&instance).await {
            Ok(()) => has_failed = false,
            Err(error) => {
                if !has_failed {
                    tracing::warn!(%error, "lifetimes could not be judged; what they end by time ends all the same");
                }
                has_failed = true;
            }
        }
    }
}

impl Memory {
    async fn look(&mut self, instance: &Arc<Instance>) -> Result<(), Error> {
        let generation = instance.store.generation().await?;
        let rows = match &self.rows {
            Some((known, rows)) if *known == generation => Arc::clone(rows),
            _ => {
                let rows = Arc::new(seals::load(instance).await?);
                self.rows = Some((rows.generation, Arc::clone(&rows)));
                rows
            }
        };
        let rules = rules_of(&rows);
        let known = if rules.values().any(super::Rule::needs_uses) {
            self.tell(instance, least_pause(&rules)).await?;
            Known::read(instance).await?
        } else {
            Known::default()
        };
        let now = instance.clock.now();
        if !subjects(&rows, &rules).iter().any(|one| Due::of(one, &known, now).is_some()) {
            return Ok(());
        }
        write(instance, &known, now).await
    }

    /// Tells the store what this node's log has of uses, where that is news.
    async fn tell(&mut self, instance: &Arc<Instance>, pause: Duration) -> Result<(), Error> {
        let counted = reading(instance, |instance| {
            instance.calls.look(&instance.folder, |known| known.usage.counted())
        });
        let (counts, networks) = counted.await?;
        let news: Vec<(Counted, u64, Timestamp)> = counts
            .into_iter()
            .filter(|(what, uses, last_at)| {
                let told = self.told.get(what);
                told.is_none_or(|(known, at)| known != uses && *at + pause <= *last_at)
            })
            .collect();
        let uses: Vec<UseCount> = news
            .iter()
            .map(|(what, uses, last_at)| UseCount {
                subject: what.to_string(),
                uses: *uses,
                last_at: *last_at,
            })
            .collect();
        let networks: Vec<(Id<Key>, [u8; 8], Timestamp)> = networks
            .into_iter()
            .filter(|(key, network, _)| !self.networks.contains(&(*key, *network)))
            .collect();
        let rows: Vec<NetworkRow> = networks
            .iter()
            .map(|(key, network, first_at)| NetworkRow {
                subject: key.to_string(),
                network: *network,
                first_at: *first_at,
            })
            .collect();
        if uses.is_empty() && rows.is_empty() {
            return Ok(());
        }
        instance.store.note_uses(&instance.origin, &uses, &rows).await?;
        self.told.extend(news.into_iter().map(|(what, uses, at)| (what, (uses, at))));
        self.networks.extend(networks.into_iter().map(|(key, network, _)| (key, network)));
        Ok(())
    }
}

/// How long a newer use need not be told: where nobody counts uses, a part of the shortest idleness.
fn least_pause(rules: &super::rules::Rules) -> Duration {
    const LONGEST: Duration = Duration::from_mins(1);
    if rules.values().any(|rule| rule.max_uses.is_some()) {
        return Duration::ZERO;
    }
    let idle = rules.values().filter_map(|rule| rule.idle).min();
    idle.map_or(LONGEST, |span| LONGEST.min(span.0 / 20))
}

/// What is to be done about a key or credential.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    Suspend(End),
    /// The grace is over.
    End,
    Warn {
        days: u64,
        ends_at: Timestamp,
    },
}

impl Due {
    fn of(subject: &Subject<'_>, known: &Known, now: Timestamp) -> Option<Self> {
        if subject.is_suspended() {
            let is_over = subject.state?.final_at.is_none_or(|at| at <= now);
            return is_over.then_some(Self::End);
        }
        if let Some(end) = known.end_of(subject, now) {
            return Some(Self::Suspend(end));
        }
        let ends_at = subject.ends_at().filter(|at| now < *at)?;
        let ahead = |days: &u64| DAY * u32::try_from(*days).unwrap_or(u32::MAX);
        let days = WARNED.into_iter().find(|days| {
            let from = ends_at.as_micros() - i64::try_from(ahead(days).as_micros()).unwrap_or(0);
            // Whoever made it for a shorter time knows.
            now.as_micros() >= from && subject.created_at.as_micros() < from
        })?;
        let was_warned = subject.state.is_some_and(|row| {
            row.warned_for == Some(ends_at) && row.warned_days > 0 && row.warned_days <= days
        });
        (!was_warned).then_some(Self::Warn { days, ends_at })
    }
}

async fn write(instance: &Instance, known: &Known, now: Timestamp) -> Result<(), Error> {
    let request = Id::generate(now, instance.random.as_ref())?;
    let ctx = OpContext { actor: Actor::System, request, now };
    let mut changing = Changing::begin(instance, &ctx, Care::Ending).await?;
    // As they are now: another node may have done it already.
    let rows = changing.tx.everything().await?;
    // Nothing is destroyed by a rule, or a row, that Weirgate did not write.
    let judgement = seals::judge(&instance.secrets.pepper, &rows)?;
    let rows = seals::trusted(rows, &judgement.broken);
    let rules = rules_of(&rows);
    let due: Vec<(Subject<'_>, Due)> = subjects(&rows, &rules)
        .into_iter()
        .filter_map(|one| {
            let due = Due::of(&one, known, now)?;
            Some((one, due))
        })
        .take(AT_ONCE)
        .collect();
    if due.is_empty() {
        return Ok(());
    }
    for (subject, due) in &due {
        let former = subject.state.cloned().unwrap_or_else(|| LifetimeStateRow {
            subject: subject.id.clone(),
            ..LifetimeStateRow::default()
        });
        match due {
            Due::Warn { days, ends_at } => {
                let row =
                    LifetimeStateRow { warned_days: *days, warned_for: Some(*ends_at), ..former };
                changing.tx.put_lifetime_state(&row).await?;
                record(
                    &mut changing,
                    subject,
                    "lifetime.warn",
                    vec![("days", days.to_string()), ("ends_at", ends_at.to_string())],
                );
            }
            Due::Suspend(end) => {
                let row = LifetimeStateRow {
                    rule: end.rule.as_ref().map(ToString::to_string),
                    condition: Some(end.condition.as_str().to_owned()),
                    suspended_at: Some(now),
                    final_at: Some(now + end.grace),
                    restored_at: None,
                    ..former
                };
                let details = details(&row);
                record(&mut changing, subject, "lifetime.suspend", details);
                if end.grace.is_zero() {
                    finish(&mut changing, subject, row, now).await?;
                } else {
                    changing.tx.put_lifetime_state(&row).await?;
                }
            }
            Due::End => finish(&mut changing, subject, former, now).await?,
        }
    }
    changing.commit().await?;
    for (subject, due) in &due {
        tell_of(subject, due);
    }
    Ok(())
}

fn tell_of(subject: &Subject<'_>, due: &Due) {
    let id = subject.id.as_str();
    match due {
        Due::Warn { days, ends_at } => {
            tracing::warn!(subject = id, days, ends_at = %ends_at, "it ends soon");
        }
        Due::Suspend(end) => {
            let condition = end.condition.as_str();
            tracing::warn!(subject = id, condition, "a rule of lifetimes ended it");
        }
        Due::End => tracing::warn!(subject = id, "what a rule of lifetimes ended is over for good"),
    }
}

/// Ends it for good.
async fn finish(
    changing: &mut Changing<'_>,
    subject: &Subject<'_>,
    row: LifetimeStateRow,
    now: Timestamp,
) -> Result<(), Error> {
    match subject.kind {
        Kind::ClientKey => {
            if let Ok(id) = subject.id.parse() {
                changing.tx.revoke_key(id, now).await?;
            }
        }
        Kind::Credential => {
            if let Some(id) = subject.connection {
                changing.tx.revoke_connection(id, now).await?;
                changing.tx.delete_sealed(CREDENTIAL_TABLE, &id.to_bytes()).await?;
                changing.tx.delete_secret_source(id).await?;
            }
        }
    }
    let row = LifetimeStateRow { ended_at: Some(now), ..row };
    changing.tx.put_lifetime_state(&row).await?;
    record(changing, subject, "lifetime.end", details(&row));
    Ok(())
}

fn details(row: &LifetimeStateRow) -> Vec<(&'static str, String)> {
    let all = [
        ("rule", row.rule.clone()),
        ("condition", row.condition.clone()),
        ("given_back_until", row.final_at.map(|at| at.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn record(
    changing: &mut Changing<'_>,
    subject: &Subject<'_>,
    verb: &'static str,
    details: Vec<(&'static str, String)>,
) {
    changing.record(Change { verb, what: what_of(&subject.id), details, ..Change::default() });
}

#[cfg(test)]
mod tests {
    use super::{super::tests::World, *};

    /// What is done after so many days about a key that lives for 365.
    async fn due(world: &World, after: Duration) -> Option<Due> {
        let rows = world.rows().await;
        let rules = rules_of(&rows);
        let now = world.created(&rows) + after;
        let all = subjects(&rows, &rules);
        Due::of(all.iter().find(|one| one.id == world.key.to_string())?, &Known::default(), now)
    }

    #[tokio::test]
    async fn an_end_is_told_thirty_seven_and_one_day_ahead_once_each() {
        let world = World::new().await;
        let ends_at = world.created(&world.rows().await) + 365 * DAY;
        let warn = |days| Some(Due::Warn { days, ends_at });
        assert_eq!(due(&world, 334 * DAY).await, None);
        let now = |after: Duration| ends_at + after;
        for (after, days) in [(335, 30), (358, 7), (364, 1)] {
            assert_eq!(due(&world, after * DAY).await, warn(days));
            write(&world.instance, &Known::default(), now(Duration::ZERO)).await.unwrap();
            // Whoever is late tells the nearest, and that once.
            let at = world.created(&world.rows().await) + after * DAY;
            write(&world.instance, &Known::default(), at).await.unwrap();
            assert_eq!(due(&world, after * DAY).await, None, "{days}");
            assert_eq!(due(&world, after * DAY + DAY / 2).await, None, "{days}");
        }
        assert_eq!(due(&world, 366 * DAY).await, None, "its own end needs no rule");
    }

    #[tokio::test]
    async fn what_was_made_for_a_short_time_is_not_told_of_at_once() {
        let world = World::new().await;
        let plan = "[[lifetime]]\nname = \"r\"\napplies_to = \"client_key\"\nmax_age = \"10d\"\n";
        let plan = super::super::plan(&world.instance, "f", plan).await.unwrap();
        super::super::apply(&world.instance, &world.ctx, plan).await.unwrap();
        assert_eq!(due(&world, DAY).await, None);
        assert!(matches!(due(&world, 4 * DAY).await, Some(Due::Warn { days: 7, .. })));
        assert!(matches!(due(&world, 10 * DAY).await, Some(Due::Suspend(_))));
        write(&world.instance, &Known::default(), world.created(&world.rows().await) + 10 * DAY)
            .await
            .unwrap();
        assert_eq!(due(&world, 11 * DAY).await, None);
        assert_eq!(due(&world, 18 * DAY).await, Some(Due::End));
        // Once it is over, nothing more is.
        let at = world.created(&world.rows().await) + 18 * DAY;
        write(&world.instance, &Known::default(), at).await.unwrap();
        let key = world.rows().await.keys.into_iter().find(|row| row.id == world.key).unwrap();
        assert_eq!(key.revoked_at, Some(at));
        assert_eq!(due(&world, 19 * DAY).await, None);
    }
}

//! Which of the fields that grants let through are ever there: in answers, and in what is written.
//!
//! The gateway notes them in a bit each of the compiled decision ([`gateway::Met`]); here the bits are
//! collected and told to the store, each field about once an hour. What was noted by a decision that is
//! compiled anew within a few seconds may be lost: that is advice, not record.

use crate::{error::Error, instance::Instance};
use gateway::{AnswerRule, Met, RequestRule, SharedSnapshot};
use projection::Spec;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use store::FieldUseRow;
use tokio::{sync::watch, time::MissedTickBehavior};
use types::{Action, Client, Id, Provider, Timestamp};

/// How often bits are collected.
const EVERY: Duration = Duration::from_secs(5);
/// How often one field is told to the store.
const AGAIN: Duration = Duration::from_hours(1);
/// Fields that are remembered as told; beyond that they are told more often.
const REMEMBERED: usize = 200_000;

/// A field as a client meets it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Field {
    client: Id<Client>,
    provider: Id<Provider>,
    action: &'static str,
    object: String,
    path: String,
}

/// Collects until told to stop, and once more then.
pub async fn keep_up(
    instance: Arc<Instance>,
    shared: Arc<SharedSnapshot>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: HashMap<Field, Timestamp> = HashMap::new();
    let mut has_failed = false;
    loop {
        // Both are cancel-safe.
        let is_last = tokio::select! {
            _ = stopped.changed() => true,
            _ = ticks.tick() => false,
        };
        match tell(&instance, &shared, &mut told).await {
            Ok(()) => has_failed = false,
            Err(error) => {
                if !has_failed {
                    tracing::warn!(%error, "fields that were there could not be noted");
                }
                has_failed = true;
            }
        }
        if is_last {
            return;
        }
    }
}

async fn tell(
    instance: &Instance,
    shared: &SharedSnapshot,
    told: &mut HashMap<Field, Timestamp>,
) -> Result<(), Error> {
    let now = instance.clock.now();
    let is_first = told.is_empty();
    let met = collect(shared);
    let news: Vec<Field> = met
        .into_iter()
        .filter(|field| told.get(field).is_none_or(|at| *at + AGAIN <= now))
        .collect();
    if news.is_empty() && !is_first {
        return Ok(());
    }
    let rows: Vec<FieldUseRow> = news
        .iter()
        .map(|one| FieldUseRow {
            client: one.client,
            provider: one.provider,
            action: one.action.to_owned(),
            object: one.object.clone(),
            field: one.path.clone(),
            last_at: now,
        })
        .collect();
    instance.store.note_fields(&rows, now).await?;
    if told.len() > REMEMBERED {
        told.clear();
    }
    told.extend(news.into_iter().map(|field| (field, now)));
    Ok(())
}

/// All that was met since the last time.
fn collect(shared: &SharedSnapshot) -> HashSet<Field> {
    let snapshot = shared.load();
    let mut met = HashSet::new();
    // Connections of one provider share what was compiled for them.
    let mut looked_at = HashSet::new();
    for ((client, connection), rights) in &snapshot.rights {
        let Some(connection) = snapshot.connections.get(connection) else { continue };
        let provider = connection.provider.id;
        for decision in rights.operations.values() {
            if !looked_at.insert((*client, Arc::as_ptr(decision))) {
                continue;
            }
            let Some(object) = &decision.object else { continue };
            let mut note = |action, spec: &Spec, bits: &Met| {
                let names = bits.take().into_iter().filter_map(|at| spec.noted().get(at));
                met.extend(names.map(|path| Field {
                    client: *client,
                    provider,
                    action,
                    object: object.clone(),
                    path: path.clone(),
                }));
            };
            for (_, answer) in &decision.answers {
                if let AnswerRule::Project(one) = answer {
                    note(Action::Read.as_str(), &one.spec, &one.met);
                }
            }
            if let RequestRule::Checked { spec, met, .. } = &decision.request {
                note(decision.action.as_str(), spec, met);
            }
        }
    }
    met
}

//! Beginning a review, deciding its items, and closing it.

use super::{
    About, Body, Decision, Kept, Outcome, Reviewed, State, evidence, is_as_it_was, read, reviewed,
    written,
};
use crate::{
    apply,
    change::{Care, Change, Changing, hex},
    error::Error,
    grants::{self, ResolvedGrant},
    instance::Instance,
    people::{sessions::SignedIn, users},
    rules, seals,
};
use std::{collections::BTreeSet, time::Duration};
use store::{Everything, ReviewRow};
use types::{Id, OpContext, Review};

/// For how long somebody may be given at most.
const MAX_DAYS: u16 = 366;
/// That are kept at once.
const MAX_KEPT: usize = 50;
const MAX_NAME_CHARS: usize = 100;

/// What somebody says of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Confirm,
    Drop,
}

/// What becomes of items that nobody decided when a review is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// It stays open.
    Refuse,
    Drop,
}

/// Begins a review of every grant in force and of every role that somebody has.
///
/// # Errors
/// [`Error::ReviewUnderWay`] while another is open.
pub async fn begin(
    instance: &Instance,
    ctx: &OpContext,
    name: &str,
    days: u16,
) -> Result<Id<Review>, Error> {
    let name = name.trim();
    if name.is_empty()
        || name.chars().count() > MAX_NAME_CHARS
        || name.chars().any(char::is_control)
    {
        return Err(Error::ReviewName { limit: MAX_NAME_CHARS });
    }
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(Error::ReviewDays { limit: MAX_DAYS });
    }
    let everything = seals::load_whole(instance).await?;
    let reviews = &everything.people.reviews;
    if reviews.iter().any(|row| row.closed_at.is_none()) {
        return Err(Error::ReviewUnderWay);
    }
    if reviews.len() >= MAX_KEPT {
        return Err(Error::TooManyReviews { limit: MAX_KEPT });
    }
    let body = Body {
        name: name.to_owned(),
        begun_by: ctx.actor.to_string(),
        closed_by: None,
        items: items(instance, &everything)?,
    };
    if body.items.is_empty() {
        return Err(Error::NothingToReview);
    }
    let row = ReviewRow {
        id: Id::generate(ctx.now, instance.random.as_ref())?,
        body: written(&body)?,
        created_at: ctx.now,
        due_at: ctx.now + Duration::from_hours(24 * u64::from(days)),
        closed_at: None,
    };
    let mut changing = begin_on(instance, ctx, &everything).await?;
    changing.tx.put_review(&row).await?;
    changing.record(Change {
        verb: "review.begin",
        what: format!("review {}", row.id),
        details: vec![
            ("name", body.name),
            ("items", body.items.len().to_string()),
            ("due", row.due_at.to_string()),
        ],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(row.id)
}

fn items(instance: &Instance, everything: &Everything) -> Result<Vec<Kept>, Error> {
    let now = instance.clock.now();
    let mut in_force = apply::stored(&everything.grants)?;
    in_force.retain(|grant| grants::end_in_force(grant, now).is_some());
    let catalogue = apply::catalogue(everything)?;
    let mut items = Vec::new();
    for grant in in_force {
        let opened = grants::diff(&[], std::slice::from_ref(&grant), &catalogue);
        let opened = opened.into_iter().next();
        let opened = opened.ok_or(Error::Internal { what: "a grant has no words" })?;
        // They are those of adding it anew.
        let bare = |words: String| words.strip_prefix("adds ").map(str::to_owned).unwrap_or(words);
        let (name, words) = (opened.grant, opened.words.into_iter().map(bare).collect());
        items.push(About::Grant { name, words, grant: Box::new(grant) });
    }
    items.sort_by_key(About::in_words);
    for user in &everything.people.users {
        let is_managed = users::is_managed(&everything.people, user.id);
        let roles = user.roles.iter().map(|role| About::Role {
            user: user.id.to_string(),
            role: role.clone(),
            acts: rules::permitted_by(&everything.people, role),
            is_managed,
        });
        items.extend(roles);
    }
    Ok(items.into_iter().map(|about| Kept { about, decision: None }).collect())
}

/// A change on exactly what was read.
async fn begin_on<'i>(
    instance: &'i Instance,
    ctx: &'i OpContext,
    everything: &Everything,
) -> Result<Changing<'i>, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    if changing.tx.generation().await? != everything.generation {
        return Err(Error::PlanStale);
    }
    Ok(changing)
}

/// A review that is read to be changed.
struct Opened {
    everything: Everything,
    grants: Vec<ResolvedGrant>,
    row: ReviewRow,
    body: Body,
}

/// # Errors
/// [`Error::ReviewClosed`] for one that nothing is decided of any more.
async fn open(instance: &Instance, id: Id<Review>) -> Result<Opened, Error> {
    let everything = seals::load_whole(instance).await?;
    let row = everything.people.reviews.iter().find(|row| row.id == id).cloned();
    let row = row.ok_or(Error::NameUnknown { kind: "review" })?;
    if row.closed_at.is_some() {
        return Err(Error::ReviewClosed);
    }
    Ok(Opened { grants: apply::stored(&everything.grants)?, body: read(&row)?, row, everything })
}

/// Decides items by their numbers: all of them, or none. `signed_in` is nobody at the command line on
/// the data folder.
///
/// # Errors
/// [`Error::StepUpNeeded`]; [`Error::OwnRole`] for whoever would confirm what they have themselves;
/// [`Error::ReviewItem`] for one that was changed or dropped since; [`Error::ManagedElsewhere`] for a
/// role that would come back with the next sign-in.
pub async fn decide(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: Option<&SignedIn>,
    id: Id<Review>,
    verdicts: &[(usize, Verdict)],
) -> Result<(), Error> {
    must_be_stepped_up(ctx, signed_in)?;
    let mut opened = open(instance, id).await?;
    if verdicts.is_empty() {
        return Ok(());
    }
    let mut changing = begin_on(instance, ctx, &opened.everything).await?;
    decide_within(instance, ctx, &mut changing, signed_in, &mut opened, verdicts).await?;
    let row = ReviewRow { body: written(&opened.body)?, ..opened.row };
    changing.tx.put_review(&row).await?;
    changing.commit().await.map(drop)
}

fn must_be_stepped_up(ctx: &OpContext, signed_in: Option<&SignedIn>) -> Result<(), Error> {
    match signed_in {
        Some(signed_in) if !signed_in.is_stepped_up(ctx.now) => Err(Error::StepUpNeeded),
        _ => Ok(()),
    }
}

async fn decide_within(
    instance: &Instance,
    ctx: &OpContext,
    changing: &mut Changing<'_>,
    signed_in: Option<&SignedIn>,
    opened: &mut Opened,
    verdicts: &[(usize, Verdict)],
) -> Result<(), Error> {
    let numbers: BTreeSet<usize> = verdicts.iter().map(|(number, _)| *number).collect();
    if numbers.len() != verdicts.len() {
        return Err(Error::ReviewTwice);
    }
    let mut dropped = Vec::new();
    for &(number, verdict) in verdicts {
        let unknown = Error::NotFound { kind: "item", name: number.to_string() };
        let index = number.checked_sub(1);
        let kept = index.and_then(|index| opened.body.items.get_mut(index)).ok_or(unknown)?;
        // What was confirmed may still be dropped.
        let is_left = kept
            .decision
            .as_ref()
            .is_none_or(|one| one.outcome == Outcome::Confirmed && verdict == Verdict::Drop);
        if !is_left || !is_as_it_was(&kept.about, &opened.everything, &opened.grants) {
            return Err(Error::ReviewItem { number });
        }
        if verdict == Verdict::Confirm
            && signed_in.is_some_and(|one| kept.about.user() == Some(one.user))
        {
            return Err(Error::OwnRole);
        }
        let outcome = match verdict {
            Verdict::Confirm => Outcome::Confirmed,
            Verdict::Drop => Outcome::Dropped,
        };
        if verdict == Verdict::Drop {
            match &kept.about {
                About::Grant { grant, .. } => dropped.push((**grant).clone()),
                About::Role { role, .. } => {
                    let user = kept.about.user();
                    let user = user.ok_or(Error::Internal { what: "a review names nobody" })?;
                    if users::is_managed(&opened.everything.people, user) {
                        return Err(Error::ReviewManaged { number });
                    }
                    users::drop_role(instance, changing, user, role).await?;
                }
            }
        }
        kept.decision = Some(by(ctx, outcome));
        changing.record(Change {
            verb: if verdict == Verdict::Confirm { "review.confirm" } else { "review.drop" },
            what: format!("review {}", opened.row.id),
            details: vec![("item", number.to_string()), ("about", shortened(&kept.about))],
            ..Change::default()
        });
    }
    if !dropped.is_empty() {
        let after = opened.grants.iter().filter(|grant| !dropped.contains(grant)).cloned();
        let catalogue = apply::catalogue(&opened.everything)?;
        let plan = apply::plan_after(&opened.everything, &catalogue, after.collect(), instance)?;
        apply::within(instance, changing, ctx, &plan).await?;
    }
    Ok(())
}

fn by(ctx: &OpContext, outcome: Outcome) -> Decision {
    Decision {
        outcome,
        by: ctx.actor.to_string(),
        at: ctx.now.to_string(),
        request: ctx.request.to_string(),
    }
}

fn shortened(about: &About) -> String {
    about.in_words().chars().take(1_000).collect()
}

/// Closes a review once nothing is left to decide; yields what became of it.
///
/// # Errors
/// [`Error::ReviewOpen`] while items are undecided, unless they are dropped.
pub async fn close(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: Option<&SignedIn>,
    id: Id<Review>,
    undecided: Undecided,
) -> Result<Reviewed, Error> {
    must_be_stepped_up(ctx, signed_in)?;
    let mut opened = open(instance, id).await?;
    let before = reviewed(&opened.row, &opened.everything, &opened.grants)?;
    let open_items: Vec<usize> = before
        .items
        .iter()
        .filter(|item| item.state == State::Open)
        .map(|item| item.number)
        .collect();
    if !open_items.is_empty() && undecided == Undecided::Refuse {
        return Err(Error::ReviewOpen { items: open_items.len() });
    }
    let mut changing = begin_on(instance, ctx, &opened.everything).await?;
    for (kept, item) in opened.body.items.iter_mut().zip(&before.items) {
        if item.state == State::Changed {
            kept.decision = Some(by(ctx, Outcome::Changed));
        }
    }
    let mut verdicts = Vec::new();
    for number in open_items {
        let kept = opened.body.items.get_mut(number - 1);
        let kept = kept.ok_or(Error::Internal { what: "a review lost an item" })?;
        let user = kept.about.user();
        if user.is_some_and(|user| users::is_managed(&opened.everything.people, user)) {
            kept.decision = Some(by(ctx, Outcome::Elsewhere));
        } else {
            verdicts.push((number, Verdict::Drop));
        }
    }
    decide_within(instance, ctx, &mut changing, signed_in, &mut opened, &verdicts).await?;
    opened.body.closed_by = Some(ctx.actor.to_string());
    let row = ReviewRow { body: written(&opened.body)?, closed_at: Some(ctx.now), ..opened.row };
    changing.tx.put_review(&row).await?;
    let closed = reviewed(&row, &opened.everything, &opened.grants)?;
    let count = |outcome| {
        let has = |kept: &&Kept| kept.decision.as_ref().is_some_and(|one| one.outcome == outcome);
        opened.body.items.iter().filter(has).count().to_string()
    };
    let digest = hex(&seals::sha256(evidence(instance, &closed).as_bytes()));
    changing.record(Change {
        verb: "review.close",
        what: format!("review {}", row.id),
        details: vec![
            ("confirmed", count(Outcome::Confirmed)),
            ("dropped", count(Outcome::Dropped)),
            ("changed", count(Outcome::Changed)),
            ("elsewhere", count(Outcome::Elsewhere)),
            ("evidence_sha256", digest),
        ],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(closed)
}

/// Forgets a review that is closed; the log keeps what was decided, and the digest of its evidence.
///
/// # Errors
/// [`Error::ReviewUnderWay`] for one that is not closed.
pub async fn remove(instance: &Instance, ctx: &OpContext, id: Id<Review>) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let reviews = changing.tx.everything().await?.people.reviews;
    let row = reviews.iter().find(|row| row.id == id);
    let row = row.ok_or(Error::NameUnknown { kind: "review" })?;
    if row.closed_at.is_none() {
        return Err(Error::ReviewUnderWay);
    }
    changing.tx.delete_review(id).await?;
    changing.record(Change {
        verb: "review.remove",
        what: format!("review {id}"),
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

//! Grants that are changed by people on the console: what it would do, and a second person where it
//! opens what is sensitive.
//!
//! A proposal is judged again when it is approved: what the second person saw is what happens, or
//! nothing does.

use crate::{
    apply::{self, Plan, Removal},
    change::{Care, Change, Changing, hex, listed},
    error::Error,
    grants::{self, Catalogue, IdText, ResolvedGrant, matrix},
    instance::Instance,
    people::{self, sessions::SignedIn},
    seals,
};
use policy::Act;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};
use store::ProposalRow;
use types::{Connection, Grant, Id, OpContext, Proposal, Timestamp, User, UserState};

/// How long a proposal may wait.
pub const LIFE: Duration = Duration::from_hours(7 * 24);
/// That wait at once, and of them one person's, so that nobody takes all places.
const MAX_OPEN: usize = 100;
const MAX_OWN: usize = 20;

/// What somebody chose for a grant.
#[derive(Debug, Clone)]
pub struct Choice {
    pub which: Which,
    pub wanted: Wanted,
}

#[derive(Debug, Clone)]
pub enum Which {
    There(Id<Grant>),
    New(New),
}

/// A grant that there is not yet.
#[derive(Debug, Clone)]
pub struct New {
    pub client: String,
    /// A provider's name, or a connection's id.
    pub target: String,
    pub purpose: String,
    /// The last day, like `2027-12-31`.
    pub expires: String,
}

#[derive(Debug, Clone)]
pub enum Wanted {
    These {
        /// Fields, by the number of the part that they are of.
        fields: BTreeSet<(usize, String)>,
        /// An object that is added, to read.
        more: Option<String>,
    },
    /// What there is, without this; spelled like `read Employee` and `download export`.
    Without(BTreeSet<String>),
    /// It is revoked.
    Nothing,
}

/// A grant, to be looked at and changed.
#[derive(Debug)]
pub struct Open {
    pub client: String,
    pub target: String,
    pub purpose: String,
    pub expires: String,
    pub parts: Vec<matrix::Part>,
    /// Objects that could be added.
    pub others: Vec<String>,
}

/// What a choice would do.
#[derive(Debug)]
pub struct Effect {
    /// Nothing, if nothing would change.
    pub words: Vec<String>,
    pub notices: Vec<String>,
    /// It opens a field with a sensitive label, or something whole, so that it waits for a second
    /// person.
    pub opens_sensitive: bool,
    pub clients: usize,
    /// By object: what would pass of an answer.
    pub preview: Vec<(String, String)>,
    /// Of what was shown, and of the grant before and after, so that nothing else is done.
    pub fingerprint: String,
}

/// What became of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    Done,
    /// It waits for a second person.
    Waits(Id<Proposal>),
    /// Nothing was to be changed.
    Same,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    grant: String,
    wanted: Option<ResolvedGrant>,
    before: ResolvedGrant,
    words: Vec<String>,
    notices: Vec<String>,
}

/// A grant as it is now, or as it would begin; with an object that could be added.
pub async fn open(instance: &Instance, which: &Which, more: Option<&str>) -> Result<Open, Error> {
    let everything = seals::load_whole(instance).await?;
    let catalogue = apply::catalogue(&everything)?;
    let grant = before(&everything, &catalogue, which)?;
    let gone = Error::Internal { what: "a grant's provider is missing" };
    let model = catalogue.model_of(&grant).ok_or(gone)?;
    let parts = matrix::parts(&grant, model, more);
    let is_new = |name: &String| parts.iter().all(|part| part.object != *name);
    let names = model.objects.iter().map(|object| object.name.clone());
    let words = grants::names(&grant, &catalogue);
    Ok(Open {
        client: words.0,
        target: words.1,
        purpose: grant.purpose.clone(),
        expires: grant.expires.clone(),
        others: names.filter(is_new).collect(),
        parts,
    })
}

/// What a choice begins with; nothing is allowed by a grant that there is not yet.
fn before(
    everything: &store::Everything,
    catalogue: &Catalogue,
    which: &Which,
) -> Result<ResolvedGrant, Error> {
    match which {
        Which::There(id) => stored(everything, *id),
        Which::New(new) => {
            let grant = begun(catalogue, new)?;
            let taken = apply::stored(&everything.grants)?;
            if taken.iter().any(|one| one.identity() == grant.identity()) {
                return Err(Error::GrantThere);
            }
            Ok(grant)
        }
    }
}

fn begun(catalogue: &Catalogue, new: &New) -> Result<ResolvedGrant, Error> {
    let client = catalogue.clients.get(&new.client);
    let client = *client.ok_or(Error::NameUnknown { kind: "client" })?;
    let provider = catalogue.providers.get(&new.target).map(|(id, _)| IdText(*id));
    let connection = new.target.parse::<Id<Connection>>().ok();
    let connection = connection.filter(|id| catalogue.connections.contains_key(id)).map(IdText);
    if provider.is_none() && connection.is_none() {
        return Err(Error::NameUnknown { kind: "provider or connection" });
    }
    Ok(ResolvedGrant {
        client: IdText(client),
        connection: connection.filter(|_| provider.is_none()),
        provider,
        purpose: new.purpose.trim().to_owned(),
        expires: new.expires.trim().to_owned(),
        allow: Vec::new(),
    })
}

/// Whether the grants are still those of which something was said.
fn is_as_it_was(grants: &[ResolvedGrant], before: &ResolvedGrant) -> bool {
    if before.allow.is_empty() {
        return grants.iter().all(|one| one.identity() != before.identity());
    }
    grants.contains(before)
}

fn stored(everything: &store::Everything, id: Id<Grant>) -> Result<ResolvedGrant, Error> {
    let row = everything.grants.iter().find(|row| row.id == id);
    let row = row.ok_or(Error::NameUnknown { kind: "grant" })?;
    let unreadable = Error::Internal { what: "a stored grant cannot be read" };
    serde_json::from_str(&row.body).map_err(|_| unreadable)
}

struct Planned {
    plan: Plan,
    before: ResolvedGrant,
    wanted: Option<ResolvedGrant>,
    effect: Effect,
}

async fn planned(instance: &Instance, choice: &Choice) -> Result<Planned, Error> {
    let everything = seals::load_whole(instance).await?;
    let catalogue = apply::catalogue(&everything)?;
    let before = before(&everything, &catalogue, &choice.which)?;
    let narrower = match &choice.wanted {
        Wanted::These { fields, more: None } => matrix::narrower(&before, fields),
        Wanted::These { .. } => None,
        Wanted::Without(unused) => Some(matrix::without(&before, unused)),
        Wanted::Nothing => Some(ResolvedGrant { allow: Vec::new(), ..before.clone() }),
    };
    let (wanted, notices) = match (narrower, &choice.wanted) {
        (None, Wanted::These { fields, more }) => {
            resolved(instance, &catalogue, &before, fields, more.as_deref())?
        }
        (narrower, _) => (narrower.filter(|wanted| !wanted.allow.is_empty()), Vec::new()),
    };
    let mut plan = apply::plan_one(&everything, &catalogue, &before, wanted.as_ref(), instance)?;
    plan.notices = notices;
    let effect = effect(&plan, &before, wanted.as_ref(), &catalogue)?;
    Ok(Planned { plan, before, wanted, effect })
}

/// The grant with what was chosen, of what its page offers.
fn resolved(
    instance: &Instance,
    catalogue: &Catalogue,
    before: &ResolvedGrant,
    fields: &BTreeSet<(usize, String)>,
    more: Option<&str>,
) -> Result<(Option<ResolvedGrant>, Vec<String>), Error> {
    if let Some(problem) = matrix::twice(before, more) {
        return Err(Error::Grants(vec![problem]));
    }
    let gone = Error::Internal { what: "a grant's provider is missing" };
    let parts = matrix::parts(before, catalogue.model_of(before).ok_or(gone)?, more);
    let offered: BTreeSet<(usize, &str)> = parts
        .iter()
        .enumerate()
        .flat_map(|(number, part)| part.rows.iter().map(move |row| (number, row.field.as_str())))
        .collect();
    if fields.iter().any(|(part, field)| !offered.contains(&(*part, field))) {
        return Err(Error::NameUnknown { kind: "field" });
    }
    let entry = matrix::entry(before, catalogue, fields, more);
    if entry.allow.is_empty() {
        return Ok((None, Vec::new()));
    }
    let (resolved, problems) =
        grants::resolve(std::slice::from_ref(&entry), catalogue, instance.clock.now());
    if !problems.is_empty() {
        return Err(Error::Grants(problems));
    }
    let mut wanted = resolved.grants.into_iter().next();
    if let Some(wanted) = &mut wanted {
        matrix::keep(before, wanted);
    }
    Ok((wanted, resolved.notices))
}

fn effect(
    plan: &Plan,
    before: &ResolvedGrant,
    wanted: Option<&ResolvedGrant>,
    catalogue: &Catalogue,
) -> Result<Effect, Error> {
    let words: Vec<String> = plan.changes.iter().flat_map(|change| change.words.clone()).collect();
    // What has no words is done by nobody.
    if words.is_empty() != plan.changes.is_empty() {
        return Err(Error::Internal { what: "a change of a grant has no words" });
    }
    let preview = wanted
        .and_then(|grant| catalogue.model_of(grant).map(|model| grants::preview(grant, model)));
    let unwritable = |_| Error::Internal { what: "a grant cannot be written" };
    let states = serde_json::to_string(&(before, wanted)).map_err(unwritable)?;
    let shown = [words.join("\n"), plan.notices.join("\n"), states].join("\n\n");
    Ok(Effect {
        words,
        notices: plan.notices.clone(),
        opens_sensitive: plan.changes.iter().any(|change| change.opens_sensitive),
        clients: usize::from(!plan.changes.is_empty()),
        preview: preview.unwrap_or_default(),
        fingerprint: hex(&seals::sha256(shown.as_bytes())),
    })
}

/// What a choice would do; nothing is changed.
pub async fn look(instance: &Instance, choice: &Choice) -> Result<Effect, Error> {
    planned(instance, choice).await.map(|planned| planned.effect)
}

/// Makes the grant what was chosen; or proposes it, where it opens what is sensitive or a policy wants a
/// second person. `shown` is what somebody saw that it would do.
///
/// # Errors
/// [`Error::StepUpNeeded`]; [`Error::PlanStale`] if it would do something else by now.
pub async fn save(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
    choice: &Choice,
    shown: &str,
    needs_second: bool,
) -> Result<Saved, Error> {
    if !signed_in.is_stepped_up(ctx.now) {
        return Err(Error::StepUpNeeded);
    }
    let planned = planned(instance, choice).await?;
    if planned.effect.fingerprint != shown {
        return Err(Error::PlanStale);
    }
    if planned.effect.words.is_empty() {
        return Ok(Saved::Same);
    }
    if planned.effect.opens_sensitive || needs_second {
        let id = propose(instance, ctx, signed_in.user, planned).await?;
        return Ok(Saved::Waits(id));
    }
    apply::commit(instance, ctx, planned.plan, Removal::AllIsMeant).await?;
    Ok(Saved::Done)
}

async fn propose(
    instance: &Instance,
    ctx: &OpContext,
    author: Id<User>,
    planned: Planned,
) -> Result<Id<Proposal>, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let open = changing.tx.everything().await?.people.proposals;
    for old in open.iter().filter(|row| row.expires_at <= ctx.now) {
        changing.tx.delete_proposal(old.id).await?;
    }
    let waits = open.iter().filter(|row| row.expires_at > ctx.now);
    let own = waits.clone().filter(|row| row.author == author).count();
    if own >= MAX_OWN {
        return Err(Error::TooManyProposals { limit: MAX_OWN });
    }
    if waits.count() >= MAX_OPEN {
        return Err(Error::TooManyProposals { limit: MAX_OPEN });
    }
    let id = Id::generate(ctx.now, instance.random.as_ref())?;
    let name = planned.plan.changes.first().map(|change| change.grant.clone());
    let body = Body {
        grant: name.unwrap_or_default(),
        wanted: planned.wanted,
        before: planned.before,
        words: planned.effect.words,
        notices: planned.effect.notices,
    };
    let unwritable = Error::Internal { what: "a proposal cannot be written" };
    let row = ProposalRow {
        id,
        author,
        body: serde_json::to_string(&body).map_err(|_| unwritable)?,
        created_at: ctx.now,
        expires_at: ctx.now + LIFE,
    };
    changing.tx.insert_proposal(&row).await?;
    changing.record(decided("grant.propose", &row, &body));
    changing.commit().await?;
    Ok(id)
}

/// A proposal that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub id: Id<Proposal>,
    pub author: Id<User>,
    pub grant: String,
    /// With what is worth a look.
    pub words: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Those that wait, oldest first.
pub async fn waiting(instance: &Instance) -> Result<Vec<Waiting>, Error> {
    let people = people::now(instance).await?;
    let now = instance.clock.now();
    let open = people.proposals.iter().filter(|row| now < row.expires_at);
    open.map(|row| {
        let Body { grant, mut words, notices, .. } = read(row)?;
        words.extend(notices);
        Ok(Waiting {
            id: row.id,
            author: row.author,
            grant,
            words,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    })
    .collect()
}

/// A proposal that waits, with what would pass of an answer.
pub async fn look_at(
    instance: &Instance,
    id: Id<Proposal>,
) -> Result<(Waiting, Vec<(String, String)>), Error> {
    let unknown = || Error::NameUnknown { kind: "proposal" };
    let found =
        waiting(instance).await?.into_iter().find(|one| one.id == id).ok_or_else(unknown)?;
    let everything = seals::load_whole(instance).await?;
    let row = everything.people.proposals.iter().find(|row| row.id == id).ok_or_else(unknown)?;
    let wanted = read(row)?.wanted;
    let catalogue = apply::catalogue(&everything)?;
    let preview = wanted
        .and_then(|grant| catalogue.model_of(&grant).map(|model| grants::preview(&grant, model)));
    Ok((found, preview.unwrap_or_default()))
}

fn read(row: &ProposalRow) -> Result<Body, Error> {
    let damaged = Error::Internal { what: "a proposal cannot be read" };
    serde_json::from_str(&row.body).map_err(|_| damaged)
}

/// What a second person, or its author, makes of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Approve,
    Reject,
    /// By its author.
    Withdraw,
}

/// Decides a proposal: approved by another person than its author, who sees it as it was proposed; or
/// rejected by anybody who may approve, and taken back by its author.
///
/// # Errors
/// [`Error::OwnProposal`]; [`Error::PlanStale`] if it would do something else by now, or its author may
/// propose no more.
pub async fn decide(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
    id: Id<Proposal>,
    verdict: Verdict,
) -> Result<(), Error> {
    if !signed_in.is_stepped_up(ctx.now) {
        return Err(Error::StepUpNeeded);
    }
    let everything = seals::load_whole(instance).await?;
    let row = everything.people.proposals.iter().find(|row| row.id == id);
    let row = row.filter(|row| ctx.now < row.expires_at).cloned();
    let row = row.ok_or(Error::NameUnknown { kind: "proposal" })?;
    let body = read(&row)?;
    if verdict == Verdict::Withdraw && row.author != signed_in.user {
        return Err(Error::NameUnknown { kind: "proposal" });
    }
    if verdict != Verdict::Approve {
        let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
        if !changing.tx.delete_proposal(id).await? {
            return Err(Error::NameUnknown { kind: "proposal" });
        }
        let is_taken_back = verdict == Verdict::Withdraw;
        let verb = if is_taken_back { "grant.withdraw" } else { "grant.reject" };
        changing.record(decided(verb, &row, &body));
        return changing.commit().await.map(drop);
    }
    if row.author == signed_in.user {
        return Err(Error::OwnProposal);
    }
    if !may_propose(instance, &everything, row.author).await? {
        return Err(Error::PlanStale);
    }
    let is_same = is_as_it_was(&apply::stored(&everything.grants)?, &body.before);
    let catalogue = apply::catalogue(&everything)?;
    let plan =
        apply::plan_one(&everything, &catalogue, &body.before, body.wanted.as_ref(), instance)?;
    let words: Vec<String> = plan.changes.iter().flat_map(|change| change.words.clone()).collect();
    if !is_same || words != body.words {
        return Err(Error::PlanStale);
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    if !changing.tx.delete_proposal(id).await? {
        return Err(Error::NameUnknown { kind: "proposal" });
    }
    apply::within(instance, &mut changing, ctx, &plan).await?;
    changing.record(decided("grant.approve", &row, &body));
    changing.commit().await.map(drop)
}

/// Whether the author is somebody who may still change grants: not kept out, and with a role for it.
async fn may_propose(
    instance: &Instance,
    everything: &store::Everything,
    author: Id<User>,
) -> Result<bool, Error> {
    let found = everything.people.users.iter().find(|user| user.id == author);
    let Some(user) = found.filter(|user| user.state == UserState::Active) else {
        return Ok(false);
    };
    // What policies say of the moment was said when it was proposed.
    let decider = people::decider(instance).await?;
    Ok(decider.is_permitted(&user.roles, Act::GrantApply))
}

fn decided(verb: &'static str, row: &ProposalRow, body: &Body) -> Change {
    Change {
        verb,
        what: format!("proposal {}", row.id),
        details: vec![
            ("author", row.author.to_string()),
            ("grant", body.grant.clone()),
            ("words", listed(&body.words)),
        ],
        ..Change::default()
    }
}

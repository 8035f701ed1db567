//! Roles and policies of an installation's own: from files into force, and what they decide.

use crate::{
    change::{Change, Changing, hex},
    error::Error,
    grants::{Problem, RoleEntry},
    instance::Instance,
    seals,
};
use policy::{Act, BUILT_IN, CustomRole, Decider, Decision, Moment, Principal, Reason};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use store::{People, RuleRow};
use types::{OpContext, Slug, Timestamp, User, UserState, nearest};

/// The most of a policy's text that stands in an entry of the log; its digest stands there anyway.
const MAX_TOLD_CHARS: usize = 8_000;

/// What is of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleKind {
    Role,
    Policy,
}

impl RuleKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Policy => "policy",
        }
    }
}

/// Roles by name, and policies by name; as stored.
type Texts = BTreeMap<Slug, String>;

/// Roles and policies as files want them. A kind of which the files hold nothing stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    roles: Option<Texts>,
    policies: Option<Texts>,
}

/// One role or policy that is added, changed or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleChange {
    pub kind: &'static str,
    pub of: RuleKind,
    pub name: Slug,
    pub words: Vec<String>,
    /// As stored; `None`: it goes.
    body: Option<String>,
}

impl Wanted {
    /// Whether files hold a role or policy.
    pub(crate) fn is_some(&self) -> bool {
        self.roles.is_some() || self.policies.is_some()
    }
}

impl RuleChange {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "kind": self.kind, "of": self.of.as_str(), "name": self.name.as_str(),
            "words": self.words,
        })
    }
}

/// Reads roles and policies, or says all that is wrong with them.
pub(crate) fn read(roles: &[RoleEntry], policies: &[(String, Vec<u8>)]) -> (Wanted, Vec<Problem>) {
    let mut problems = Vec::new();
    let wanted = Wanted {
        roles: (!roles.is_empty()).then(|| read_roles(roles, &mut problems)),
        policies: (!policies.is_empty()).then(|| read_policies(policies, &mut problems)),
    };
    (wanted, problems)
}

fn read_roles(entries: &[RoleEntry], problems: &mut Vec<Problem>) -> Texts {
    let mut found = Texts::new();
    for entry in entries {
        let mut problem = |line: usize, what: String, remedy: String| {
            problems.push(Problem { file: entry.file.clone(), line, what, remedy });
        };
        for act in &entry.acts {
            if let Err(error) = act.text.parse::<Act>() {
                let near = nearest(&act.text, Act::ALL.iter().map(|one| one.as_str()));
                let remedy = near.map_or_else(
                    || "`weirgate role list --acts` names them all.".to_owned(),
                    |near| format!("Did you mean `{near}`?"),
                );
                problem(act.line, error.to_string(), remedy);
            }
        }
        let Some(given) = &entry.name else { continue };
        let Ok(name) = given.text.parse::<Slug>() else {
            problem(
                given.line,
                "the role's name is none".into(),
                "Use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit."
                    .into(),
            );
            continue;
        };
        let acts: Vec<String> = entry
            .acts
            .iter()
            .filter(|act| act.text.parse::<Act>().is_ok())
            .map(|act| act.text.clone())
            .collect();
        // Acts that are none were told already.
        if acts.is_empty() && !entry.acts.is_empty() {
            continue;
        }
        match CustomRole::new(name.as_str(), &acts) {
            Ok(role) => {
                if found.insert(name, role.to_stored()).is_some() {
                    let what = format!("the role `{}` is there twice", given.text);
                    problem(entry.line, what, "Join the two.".into());
                }
            }
            Err(error) => problem(
                entry.line,
                error.to_string(),
                "Give it another name, or name its acts.".into(),
            ),
        }
    }
    found
}

fn read_policies(files: &[(String, Vec<u8>)], problems: &mut Vec<Problem>) -> Texts {
    let mut found = Texts::new();
    for (file, bytes) in files {
        let mut problem = |line: usize, what: String, remedy: String| {
            problems.push(Problem { file: file.clone(), line, what, remedy });
        };
        let stem = std::path::Path::new(file).file_stem().and_then(|stem| stem.to_str());
        let name = stem.and_then(|stem| stem.parse::<Slug>().ok());
        if name.is_none() {
            problem(
                1,
                "the file's name is no name for a policy".into(),
                "Call it like `office-hours.cedar`: a-z, 0-9 and -.".into(),
            );
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            problem(1, "the file is not UTF-8 text".into(), "Save it as UTF-8.".into());
            continue;
        };
        match policy::check(text) {
            Ok(()) => {
                found.extend(name.map(|name| (name, text.to_owned())));
            }
            Err(all) => {
                for one in all {
                    problem(one.line.unwrap_or(1), one.what, one.remedy);
                }
            }
        }
    }
    found
}

fn texts(rows: &[RuleRow]) -> Texts {
    rows.iter().map(|row| (row.name.clone(), row.body.clone())).collect()
}

/// What these roles and policies decide together.
///
/// # Errors
/// [`Error::RuleBroken`] where one of them is not what it was checked to be: half of them is never in
/// force.
pub(crate) fn decider_of(people: &People) -> Result<Decider, Error> {
    decider(&texts(&people.roles), &texts(&people.policies))
}

fn decider(roles: &Texts, policies: &Texts) -> Result<Decider, Error> {
    let broken = |name: &str| Error::RuleBroken { name: name.to_owned() };
    let roles = roles
        .iter()
        .map(|(name, body)| {
            CustomRole::from_stored(name.as_str(), body).map_err(|_| broken(name.as_str()))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let policies: Vec<(String, String)> =
        policies.iter().map(|(name, text)| (name.to_string(), text.clone())).collect();
    Decider::new(&roles, &policies).map_err(|error| broken(&error.name))
}

/// What becomes of roles and policies, each with who gains and who loses what.
pub(crate) fn plan(
    people: &People,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Vec<RuleChange>, Error> {
    let (roles, policies) = (texts(&people.roles), texts(&people.policies));
    let new_roles = wanted.roles.as_ref().unwrap_or(&roles);
    let new_policies = wanted.policies.as_ref().unwrap_or(&policies);
    let mut changes = Vec::new();
    for (of, before, after) in
        [(RuleKind::Role, &roles, new_roles), (RuleKind::Policy, &policies, new_policies)]
    {
        let names: BTreeSet<&Slug> = before.keys().chain(after.keys()).collect();
        for name in names {
            let (old, new) = (before.get(name), after.get(name));
            let kind = match (old, new) {
                (None, Some(_)) => "added",
                (Some(_), None) => "removed",
                (Some(old), Some(new)) if old != new => "changed",
                _ => continue,
            };
            let words = match of {
                RuleKind::Role => role_in_words(people, name, old, new),
                RuleKind::Policy => policy_in_words(new),
            };
            changes.push(RuleChange { kind, of, name: name.clone(), words, body: new.cloned() });
        }
    }
    if let Some(last) = changes.last_mut() {
        // What holds now may be repaired by what is planned.
        let before = decider(&roles, &policies).ok();
        let after = decider(new_roles, new_policies)?;
        last.words.extend(effect_in_words(people, before.as_ref(), &after, now));
    }
    Ok(changes)
}

/// What a role permits, by the names of acts; nothing where there is no such role.
pub(crate) fn permitted_by(people: &People, role: &str) -> Vec<String> {
    let built_in = BUILT_IN.iter().find(|(name, _)| *name == role).map(|(_, acts)| acts.to_vec());
    let acts = built_in.unwrap_or_else(|| {
        let own = people.roles.iter().find(|row| row.name.as_str() == role);
        acts_of(own.map(|row| &row.body)).into_iter().collect()
    });
    let mut names: Vec<String> = acts.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names
}

fn acts_of(body: Option<&String>) -> BTreeSet<Act> {
    body.and_then(|body| CustomRole::from_stored("role", body).ok())
        .map(|role| role.acts)
        .unwrap_or_default()
}

fn role_in_words(
    people: &People,
    name: &Slug,
    old: Option<&String>,
    new: Option<&String>,
) -> Vec<String> {
    let (before, after) = (acts_of(old), acts_of(new));
    let mut words = Vec::new();
    for (verb, acts) in
        [("permits", after.difference(&before)), ("no longer permits", before.difference(&after))]
    {
        let acts: Vec<&str> = acts.map(|act| act.as_str()).collect();
        if !acts.is_empty() {
            words.push(format!("{verb} {}", acts.join(", ")));
        }
    }
    let bearers =
        people.users.iter().filter(|user| user.roles.iter().any(|one| one == name.as_str()));
    match bearers.count() {
        0 => {}
        1 => words.push("1 person has it".to_owned()),
        many => words.push(format!("{many} people have it")),
    }
    words
}

fn policy_in_words(new: Option<&String>) -> Vec<String> {
    new.map(|text| format!("its text has SHA-256 {}", hex(&seals::sha256(text.as_bytes()))))
        .into_iter()
        .collect()
}

/// How many people may do what, where a factor was shown just now: that is what rules take or give.
fn effect_in_words(
    people: &People,
    before: Option<&Decider>,
    after: &Decider,
    now: Timestamp,
) -> Vec<String> {
    let moment = Moment { now, source: None, is_stepped_up: true };
    let mut gains: BTreeMap<Act, usize> = BTreeMap::new();
    let mut losses: BTreeMap<Act, usize> = BTreeMap::new();
    for user in people.users.iter().filter(|user| user.state == UserState::Active) {
        let principal = principal(&user.id, &user.roles);
        let may = |decider: &Decider| -> BTreeSet<Act> {
            let all = decider.explain(&principal, &moment).into_iter();
            all.filter(|(_, decision)| decision.is_allowed()).map(|(act, _)| act).collect()
        };
        let (old, new) = (before.map(may).unwrap_or_default(), may(after));
        for act in new.difference(&old) {
            *gains.entry(*act).or_default() += 1;
        }
        for act in old.difference(&new) {
            *losses.entry(*act).or_default() += 1;
        }
    }
    let told = |verb: &str, acts: BTreeMap<Act, usize>| {
        let told: Vec<String> = acts
            .into_iter()
            .map(|(act, count)| {
                format!("{act} ({count} {})", if count == 1 { "person" } else { "people" })
            })
            .collect();
        (!told.is_empty()).then(|| format!("all together, as of now, {verb}: {}", told.join(", ")))
    };
    told("more may", gains).into_iter().chain(told("fewer may", losses)).collect()
}

fn principal(id: &types::Id<User>, roles: &[String]) -> Principal {
    Principal { id: id.to_string(), roles: roles.to_vec(), is_token: false }
}

/// Puts a planned change into force, with its entry in the log.
pub(crate) async fn put(
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    change: &RuleChange,
) -> Result<(), Error> {
    let name = change.name.clone();
    match (&change.body, change.of) {
        (Some(body), of) => {
            let row = RuleRow { name, body: body.clone(), created_at: ctx.now };
            match of {
                RuleKind::Role => changing.tx.put_role(&row).await?,
                RuleKind::Policy => changing.tx.put_policy(&row).await?,
            }
        }
        (None, RuleKind::Role) => drop(changing.tx.delete_role(&name).await?),
        (None, RuleKind::Policy) => drop(changing.tx.delete_policy(&name).await?),
    }
    let mut details =
        vec![("words", change.words.join("; ").chars().take(MAX_TOLD_CHARS).collect())];
    if let (RuleKind::Policy, Some(text)) = (change.of, &change.body) {
        details.push(("sha256", hex(&seals::sha256(text.as_bytes()))));
        details.push(("text", text.chars().take(MAX_TOLD_CHARS).collect()));
    }
    changing.record(Change {
        verb: match (change.of, change.kind) {
            (RuleKind::Role, "added") => "role.add",
            (RuleKind::Role, "changed") => "role.change",
            (RuleKind::Role, _) => "role.remove",
            (RuleKind::Policy, "added") => "policy.add",
            (RuleKind::Policy, "changed") => "policy.change",
            (RuleKind::Policy, _) => "policy.remove",
        },
        what: format!("{} {}", change.of.as_str(), change.name),
        details,
        ..Change::default()
    });
    Ok(())
}

/// Takes one role or policy out of force; what applying files cannot say of the last of a kind.
///
/// # Errors
/// [`Error::NotFound`] if there is none of that name; a built-in role cannot go.
pub async fn remove(
    instance: &Instance,
    ctx: &OpContext,
    of: RuleKind,
    name: &str,
) -> Result<Vec<String>, Error> {
    let missing = || Error::NotFound { kind: of.as_str(), name: "of that name".to_owned() };
    let name: Slug = name.parse().map_err(|_| missing())?;
    let mut changing = Changing::begin(instance, ctx, crate::change::Care::Whole).await?;
    let rows = changing.tx.everything().await?.people;
    let mut wanted = match of {
        RuleKind::Role => texts(&rows.roles),
        RuleKind::Policy => texts(&rows.policies),
    };
    wanted.remove(&name).ok_or_else(missing)?;
    let wanted = match of {
        RuleKind::Role => Wanted { roles: Some(wanted), policies: None },
        RuleKind::Policy => Wanted { roles: None, policies: Some(wanted) },
    };
    let mut words = Vec::new();
    for change in plan(&rows, &wanted, ctx.now)? {
        put(&mut changing, ctx, &change).await?;
        words.extend(change.words);
    }
    changing.commit().await?;
    Ok(words)
}

/// A role or policy as it is in force.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub is_built_in: bool,
    /// Of a role: what it permits.
    pub acts: Vec<Act>,
    /// Of a policy: its text.
    pub text: String,
    /// Of a role: how many people have it.
    pub people: usize,
}

/// The roles there are, built-in ones first.
pub async fn roles(instance: &Instance) -> Result<Vec<Rule>, Error> {
    let people = seals::load_whole(instance).await?.people;
    let bearers = |name: &str| {
        people.users.iter().filter(|user| user.roles.iter().any(|one| one == name)).count()
    };
    let built_in = BUILT_IN.iter().map(|(name, acts)| Rule {
        name: (*name).to_owned(),
        is_built_in: true,
        acts: acts.to_vec(),
        text: String::new(),
        people: bearers(name),
    });
    let own = people.roles.iter().map(|row| Rule {
        name: row.name.to_string(),
        is_built_in: false,
        acts: acts_of(Some(&row.body)).into_iter().collect(),
        text: String::new(),
        people: bearers(row.name.as_str()),
    });
    Ok(built_in.chain(own).collect())
}

/// The policies in force.
pub async fn policies(instance: &Instance) -> Result<Vec<Rule>, Error> {
    let people = seals::load_whole(instance).await?.people;
    let rule = |row: &RuleRow| Rule {
        name: row.name.to_string(),
        is_built_in: false,
        acts: Vec::new(),
        text: row.body.clone(),
        people: 0,
    };
    Ok(people.policies.iter().map(rule).collect())
}

/// What a person may do at a moment, each act with what decides it.
///
/// # Errors
/// [`Error::NotFound`] if there is nobody of this id.
pub async fn explain(
    instance: &Instance,
    user: types::Id<User>,
    moment: &Moment,
) -> Result<Vec<(Act, Decision)>, Error> {
    let people = seals::load_whole(instance).await?.people;
    let found = people.users.iter().find(|one| one.id == user);
    let row = found.ok_or_else(|| Error::NotFound { kind: "user", name: user.to_string() })?;
    // Whoever is kept out may do nothing, whatever the roles say.
    let roles = if row.state == UserState::Active { row.roles.as_slice() } else { &[] };
    Ok(decider_of(&people)?.explain(&principal(&user, roles), moment))
}

/// A decision in words, with what decided.
pub fn in_words(decision: &Decision) -> (&'static str, String) {
    let (word, reasons) = match decision {
        Decision::Allowed(reasons) => ("allowed", reasons),
        Decision::Denied(reasons) => ("denied", reasons),
        Decision::NeedsStepUp(reasons) => ("needs a step-up", reasons),
        Decision::NeedsApproval(reasons) => ("needs a second approval", reasons),
    };
    let reasons: Vec<String> = reasons
        .iter()
        .map(|reason| match reason {
            Reason::Role(name) => format!("role {name}"),
            Reason::Policy(name) => format!("policy {name}"),
            Reason::NoRole => "no role permits it".to_owned(),
            Reason::Token => "a token does nothing that needs a step-up".to_owned(),
            Reason::Undecided => "it could not be decided".to_owned(),
        })
        .collect();
    (word, reasons.join(", "))
}

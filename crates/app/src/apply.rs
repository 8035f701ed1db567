//! Grants, roles and policies by files: plan, say in words, commit.

use crate::{
    change::{Care, Change, Changing},
    clients::KeyState,
    error::Error,
    grants::{self, Catalogue, Problem, ResolvedGrant},
    instance::Instance,
    rules::{self, RuleChange},
    seals,
};
use provider::LoadLimits;
use serde_json::{Value, json};
use std::{io, path::Path, sync::Arc};
use store::{GrantRow, GrantTarget};
use types::{Id, OpContext, Timestamp};

/// How files of policies end.
const POLICY_EXTENSION: &str = ".cedar";
/// The most bytes of one file.
const MAX_FILE_BYTES: u64 = 4 * 1_024 * 1_024;

/// What applying would do.
#[derive(Debug)]
pub struct Plan {
    wanted: Vec<ResolvedGrant>,
    pub changes: Vec<grants::Change>,
    /// Roles and policies that change.
    pub rules: Vec<RuleChange>,
    /// The files hold roles or policies, and no grant: grants stay as they are.
    leaves_grants: bool,
    /// What was accepted, but is worth a look.
    pub notices: Vec<String>,
    /// What the revoked grants leave behind.
    pub effect: Effect,
    /// Where the files came from, for people.
    from: String,
    files: usize,
    /// The store's generation that the plan was made for.
    generation: u64,
}

/// Whether it is meant that no grant remains: a folder that was mistaken for another would revoke
/// everything otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    SomeGrantsRemain,
    AllIsMeant,
}

/// Counts over the whole plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    pub grants_before: usize,
    pub grants_after: usize,
    pub revoked: usize,
    /// Clients that had a grant and will have none. They stay, and so do their keys.
    pub clients_left_without: Vec<String>,
    /// Keys in force of these clients.
    pub keys_left_without: usize,
}

/// Reads `DIR/*.toml` and compares it with what is in force.
pub async fn plan(instance: &Instance, dir: &Path) -> Result<Plan, Error> {
    let (files, unreadable) = read_files(dir)?;
    plan_with(instance, dir.display().to_string(), &files, unreadable).await
}

/// The same for files that are at hand.
pub async fn plan_files(instance: &Instance, files: &[(String, Vec<u8>)]) -> Result<Plan, Error> {
    plan_with(instance, "what was given".to_owned(), files, Vec::new()).await
}

async fn plan_with(
    instance: &Instance,
    from: String,
    files: &[(String, Vec<u8>)],
    mut problems: Vec<Problem>,
) -> Result<Plan, Error> {
    let everything = seals::load_whole(instance).await?;
    let catalogue = catalogue(&everything)?;
    let (policies, files): (Files, Files) =
        files.iter().cloned().partition(|(name, _)| name.ends_with(POLICY_EXTENSION));
    let (entries, unread) = grants::parse(&files);
    problems.extend(unread);
    let (wanted, wrong) = rules::read(&entries.roles, &policies);
    problems.extend(wrong);
    let (mut resolved, unresolved) =
        grants::resolve(&entries.grants, &catalogue, instance.clock.now());
    problems.extend(unresolved);
    if !problems.is_empty() {
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        return Err(Error::Grants(problems));
    }
    let before = stored(&everything.grants)?;
    let leaves_grants = entries.grants.is_empty() && wanted.is_some();
    if leaves_grants {
        resolved.grants.clone_from(&before);
    }
    let rules = rules::plan(&everything.people, &wanted, instance.clock.now())?;
    let changes = grants::diff(&before, &resolved.grants, &catalogue);
    let now = instance.clock.now();
    Ok(Plan {
        effect: effect(&before, &resolved.grants, &everything, now),
        wanted: resolved.grants,
        changes,
        rules,
        leaves_grants,
        notices: resolved.notices,
        from,
        files: files.len(),
        generation: everything.generation,
    })
}

/// What it would do to put `wanted` in the place of one grant, which there may not be yet; all others
/// stay.
pub(crate) fn plan_one(
    everything: &store::Everything,
    catalogue: &Catalogue,
    replaced: &ResolvedGrant,
    wanted: Option<&ResolvedGrant>,
    instance: &Instance,
) -> Result<Plan, Error> {
    let before = stored(&everything.grants)?;
    let others = before.iter().filter(|grant| grant.identity() != replaced.identity());
    let after: Vec<ResolvedGrant> = others.chain(wanted).cloned().collect();
    plan_after(everything, catalogue, after, instance)
}

/// What it would do to have these grants, and no others.
pub(crate) fn plan_after(
    everything: &store::Everything,
    catalogue: &Catalogue,
    after: Vec<ResolvedGrant>,
    instance: &Instance,
) -> Result<Plan, Error> {
    let before = stored(&everything.grants)?;
    let changes = grants::diff(&before, &after, catalogue);
    Ok(Plan {
        effect: effect(&before, &after, everything, instance.clock.now()),
        wanted: after,
        changes,
        rules: Vec::new(),
        leaves_grants: false,
        notices: Vec::new(),
        from: "what was chosen".to_owned(),
        files: 0,
        generation: everything.generation,
    })
}

fn effect(
    before: &[ResolvedGrant],
    after: &[ResolvedGrant],
    everything: &store::Everything,
    now: Timestamp,
) -> Effect {
    let has = |grants: &[ResolvedGrant], client| grants.iter().any(|one| one.client.0 == client);
    let left: Vec<&store::ClientRow> = everything
        .clients
        .iter()
        .filter(|client| has(before, client.id) && !has(after, client.id))
        .collect();
    let is_left = |key: &&store::KeyRow| {
        left.iter().any(|client| client.id == key.client)
            && KeyState::of(key, now) == KeyState::InForce
    };
    let is_kept = |old: &&ResolvedGrant| after.iter().any(|one| one.identity() == old.identity());
    Effect {
        grants_before: before.len(),
        grants_after: after.len(),
        revoked: before.len() - before.iter().filter(is_kept).count(),
        clients_left_without: left.iter().map(|client| client.name.to_string()).collect(),
        keys_left_without: everything.keys.iter().filter(is_left).count(),
    }
}

pub(crate) fn stored(rows: &[GrantRow]) -> Result<Vec<ResolvedGrant>, Error> {
    rows.iter()
        .map(|row| serde_json::from_str(&row.body))
        .collect::<Result<_, _>>()
        .map_err(|_| Error::Internal { what: "a stored grant cannot be read" })
}

/// Names of clients alone: reading every description takes its time.
pub(crate) fn catalogue_without_models(everything: &store::Everything) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for row in &everything.clients {
        catalogue.clients.insert(row.name.to_string(), row.id);
    }
    catalogue
}

pub(crate) fn catalogue(everything: &store::Everything) -> Result<Catalogue, Error> {
    let mut catalogue = catalogue_without_models(everything);
    for row in &everything.providers {
        let model =
            provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?;
        catalogue.providers.insert(row.slug.to_string(), (row.id, Arc::new(model)));
    }
    for row in everything.connections.iter().filter(|row| row.revoked_at.is_none()) {
        let provider = everything.providers.iter().find(|one| one.id == row.provider);
        if let Some(provider) = provider {
            catalogue.connections.insert(row.id, provider.slug.to_string());
        }
    }
    Ok(catalogue)
}

type Files = Vec<(String, Vec<u8>)>;

fn read_files(dir: &Path) -> Result<(Files, Vec<Problem>), Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename => {
            Error::NameUnknown { kind: "folder" }
        }
        _ => Error::Io { what: "read the folder", path: dir.to_owned(), source },
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|kind| kind == "toml" || kind == "cedar") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let facts = std::fs::metadata(&path).ok();
        let is_other = facts.as_ref().is_some_and(|facts| !facts.is_file() && !facts.is_dir());
        let read = if is_other {
            // A pipe would be waited for, without an end.
            Err(("it is no regular file".to_owned(), "Move it out of the folder."))
        } else if facts.is_some_and(|facts| facts.len() > MAX_FILE_BYTES) {
            Err((format!("the file is longer than {MAX_FILE_BYTES} bytes"), "Split it."))
        } else {
            std::fs::read(&path).map_err(|error| {
                let remedy = match error.kind() {
                    io::ErrorKind::IsADirectory => {
                        "Rename the folder: `*.toml` and `*.cedar` are files."
                    }
                    _ => "Check that this user may read it.",
                };
                (format!("the file cannot be read ({})", error.kind()), remedy)
            })
        };
        match read {
            Ok(bytes) => files.push((name, bytes)),
            Err((what, remedy)) => {
                problems.push(Problem { file: name, line: 1, what, remedy: remedy.into() });
            }
        }
    }
    Ok((files, problems))
}

/// The files of a folder, as text.
///
/// # Errors
/// [`Error::Grants`] with each that cannot be read, or is none.
pub fn read_whole(dir: &Path) -> Result<Vec<(String, String)>, Error> {
    let (files, mut problems) = read_files(dir)?;
    let mut texts = Vec::new();
    for (name, bytes) in files {
        match String::from_utf8(bytes) {
            Ok(text) => texts.push((name, text)),
            Err(_) => problems.push(Problem {
                file: name,
                line: 1,
                what: "the file is no text in UTF-8".to_owned(),
                remedy: "Save it as UTF-8.".into(),
            }),
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(Error::Grants(problems)) }
}

/// Makes the grants what the plan says, with an audit entry for each change.
///
/// # Errors
/// [`Error::PlanStale`] if something was changed since the plan was made: what was shown must be
/// what happens. [`Error::NoGrants`] as [`Plan::check`].
pub async fn commit(
    instance: &Instance,
    ctx: &OpContext,
    plan: Plan,
    removal: Removal,
) -> Result<(), Error> {
    plan.check(removal)?;
    if plan.changes.is_empty() && plan.rules.is_empty() {
        return Ok(());
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    within(instance, &mut changing, ctx, &plan).await?;
    changing.commit().await.map(drop)
}

/// The same, as part of a change.
pub(crate) async fn within(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    plan: &Plan,
) -> Result<(), Error> {
    if changing.tx.generation().await? != plan.generation {
        return Err(Error::PlanStale);
    }
    for rule in &plan.rules {
        rules::put(changing, ctx, rule).await?;
    }
    if !plan.changes.is_empty() {
        put_grants(instance, changing, ctx, plan).await?;
    }
    Ok(())
}

async fn put_grants(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    plan: &Plan,
) -> Result<(), Error> {
    let mut rows = Vec::new();
    for grant in &plan.wanted {
        let target = match (grant.provider, grant.connection) {
            (Some(id), _) => GrantTarget::Provider(id.0),
            (None, Some(id)) => GrantTarget::Connection(id.0),
            (None, None) => return Err(Error::Internal { what: "a grant has no target" }),
        };
        rows.push(GrantRow {
            id: Id::generate(ctx.now, instance.random.as_ref())?,
            client: grant.client.0,
            target,
            purpose: grant.purpose.clone(),
            body: serde_json::to_string(grant)
                .map_err(|_| Error::Internal { what: "a grant cannot be written" })?,
            created_at: ctx.now,
        });
    }
    changing.tx.replace_grants(&rows).await?;
    for one in &plan.changes {
        let words: String = one.words.join("; ").chars().take(8_000).collect();
        changing.record(Change {
            verb: match one.kind {
                "added" => "grant.add",
                "changed" => "grant.change",
                _ => "grant.revoke",
            },
            what: format!("grant {}", one.grant),
            details: vec![("words", words)],
            ..Change::default()
        });
    }
    Ok(())
}

impl Plan {
    /// # Errors
    /// [`Error::NoGrants`] if no grant would remain and nobody said that this is meant.
    pub fn check(&self, removal: Removal) -> Result<(), Error> {
        if self.wanted.is_empty() && !self.leaves_grants && removal == Removal::SomeGrantsRemain {
            return Err(Error::NoGrants {
                from: self.from.clone(),
                files: self.files,
                revoked: self.effect.revoked,
            });
        }
        Ok(())
    }

    pub fn to_json(&self, is_dry_run: bool) -> Value {
        let changes: Vec<Value> = self.changes.iter().map(grants::Change::to_json).collect();
        let rules: Vec<Value> = self.rules.iter().map(RuleChange::to_json).collect();
        let Effect {
            grants_before,
            grants_after,
            revoked,
            clients_left_without,
            keys_left_without,
        } = &self.effect;
        json!({
            "dry_run": is_dry_run,
            "changes": changes,
            "rules": rules,
            "notices": self.notices,
            "effect": {
                "grants_before": grants_before,
                "grants_after": grants_after,
                "revoked": revoked,
                "clients_left_without": clients_left_without,
                "keys_left_without": keys_left_without,
            },
        })
    }

    /// Line by line.
    pub fn to_text(&self, is_dry_run: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for change in &self.changes {
            lines.push(format!("{}: {}", change.kind, change.grant));
            lines.extend(change.words.iter().map(|words| format!("  {words}")));
        }
        for rule in &self.rules {
            lines.push(format!("{}: {} {}", rule.kind, rule.of.as_str(), rule.name));
            lines.extend(rule.words.iter().map(|words| format!("  {words}")));
        }
        lines.extend(self.notices.iter().map(|notice| format!("note: {notice}")));
        lines.extend(self.effect.in_words());
        if self.leaves_grants {
            lines.push("The files hold no grant: those in force stay as they are.".to_owned());
        }
        if self.changes.is_empty() && self.rules.is_empty() {
            let is_none = self.wanted.is_empty();
            let said = match (self.leaves_grants, is_none) {
                (true, _) => "Roles and policies are what the files say.",
                (false, true) => "There is no grant.",
                (false, false) => "The grants are what the files say.",
            };
            lines.push(said.to_owned());
        } else if is_dry_run {
            lines.push("Nothing was changed (dry run).".to_owned());
        }
        lines
    }
}

impl Effect {
    /// What is lost; nothing where nothing is.
    fn in_words(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.revoked > 0 {
            lines.push(format!(
                "Revokes {} of {}; {} in force afterwards.",
                self.revoked,
                counted(self.grants_before, "grant"),
                self.grants_after
            ));
        }
        let clients = self.clients_left_without.len();
        if clients > 0 {
            lines.push(format!(
                "{} left without a grant ({}), and {} in force that then {} nothing. No client and \
                 no key is removed.",
                if clients == 1 {
                    "1 client is".to_owned()
                } else {
                    format!("{clients} clients are")
                },
                self.clients_left_without.join(", "),
                counted(self.keys_left_without, "key"),
                if self.keys_left_without == 1 { "opens" } else { "open" },
            ));
        }
        lines
    }
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

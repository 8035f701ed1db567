//! Grants by files: plan, say in words, commit.

use crate::{
    change::{Care, Change, Changing},
    error::Error,
    grants::{self, Catalogue, Problem, ResolvedGrant},
    instance::Instance,
    seals,
};
use provider::LoadLimits;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use store::{GrantRow, GrantTarget};
use types::{Id, OpContext};

/// The most bytes of one grant file.
const MAX_FILE_BYTES: u64 = 4 * 1_024 * 1_024;

/// What applying would do.
#[derive(Debug)]
pub struct Plan {
    wanted: Vec<ResolvedGrant>,
    pub changes: Vec<grants::Change>,
    /// What was accepted, but is worth a look.
    pub notices: Vec<String>,
    /// The store's generation that the plan was made for.
    generation: u64,
}

/// Reads `DIR/*.toml` and compares it with what is in force.
pub async fn plan(instance: &Instance, dir: &Path) -> Result<Plan, Error> {
    let (files, unreadable) = read_files(dir)?;
    plan_with(instance, &files, unreadable).await
}

/// The same for files that are at hand.
pub async fn plan_files(instance: &Instance, files: &[(String, Vec<u8>)]) -> Result<Plan, Error> {
    plan_with(instance, files, Vec::new()).await
}

async fn plan_with(
    instance: &Instance,
    files: &[(String, Vec<u8>)],
    mut problems: Vec<Problem>,
) -> Result<Plan, Error> {
    let everything = seals::load_whole(instance).await?;
    let catalogue = catalogue(&everything)?;
    let (entries, unread) = grants::parse(files);
    problems.extend(unread);
    let (resolved, unresolved) = grants::resolve(&entries, &catalogue, instance.clock.now());
    problems.extend(unresolved);
    if !problems.is_empty() {
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        return Err(Error::Grants(problems));
    }
    let before = stored(&everything.grants)?;
    let changes = grants::diff(&before, &resolved.grants, &catalogue);
    Ok(Plan {
        wanted: resolved.grants,
        changes,
        notices: resolved.notices,
        generation: everything.generation,
    })
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

fn catalogue(everything: &store::Everything) -> Result<Catalogue, Error> {
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
    if !dir.is_dir() {
        return Err(Error::NotFound { kind: "folder", name: dir.display().to_string() });
    }
    let failed = |source| Error::Io { what: "read", path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let too_long = std::fs::metadata(&path).is_ok_and(|facts| facts.len() > MAX_FILE_BYTES);
        let read = if too_long {
            Err(format!("the file is longer than {MAX_FILE_BYTES} bytes"))
        } else {
            std::fs::read(&path)
                .map_err(|error| format!("the file cannot be read ({})", error.kind()))
        };
        match read {
            Ok(bytes) => files.push((name, bytes)),
            Err(what) => problems.push(Problem {
                file: name,
                line: 1,
                what,
                remedy: "Check that this user may read it.".into(),
            }),
        }
    }
    Ok((files, problems))
}

/// Makes the grants what the plan says, with an audit entry for each change.
///
/// # Errors
/// [`Error::PlanStale`] if something was changed since the plan was made: what was shown must be
/// what happens.
pub async fn commit(instance: &Instance, ctx: &OpContext, plan: Plan) -> Result<(), Error> {
    if plan.changes.is_empty() {
        return Ok(());
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    if changing.tx.generation().await? != plan.generation {
        return Err(Error::PlanStale);
    }
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
    changing.commit().await.map(drop)
}

impl Plan {
    pub fn to_json(&self, is_dry_run: bool) -> Value {
        let changes: Vec<Value> = self.changes.iter().map(grants::Change::to_json).collect();
        json!({"dry_run": is_dry_run, "changes": changes, "notices": self.notices})
    }

    pub fn to_text(&self, is_dry_run: bool) -> String {
        let mut text = String::new();
        for change in &self.changes {
            text.push_str(&format!("{}: {}\n", change.kind, change.grant));
            for words in &change.words {
                text.push_str(&format!("  {words}\n"));
            }
        }
        for notice in &self.notices {
            text.push_str(&format!("note: {notice}\n"));
        }
        if self.changes.is_empty() {
            text.push_str("The grants are what the files say.\n");
        } else if is_dry_run {
            text.push_str("Nothing was changed (dry run).\n");
        }
        text
    }
}

//! Shapes learned from a provider's answers, given as samples or seen by a running server: an
//! overlay is proposed, nothing is changed.
//!
//! What a server learns is a help and no record: it lies in files of the data folder, one for each
//! import of a provider, and is lost with them.

use crate::{
    change::hex,
    compile::digest_of,
    error::Error,
    folder::{DataFolder, make_private_dir},
    instance::Instance,
    provider_diff::Description,
};
use gateway::{Gateway, Observation};
use provider::{
    LoadLimits,
    diff::type_text,
    observe::{Learned, ObserveError, Observer},
    parse_document,
    proposal::{Proposal, ProposalError, propose},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use store::ProviderRow;
use tokio::sync::watch;
use types::Slug;

/// How often what was learned is written down.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What was learned of one import of a provider: by operation and status.
type Kept = BTreeMap<String, BTreeMap<u16, Observer>>;

/// Why nothing was learned or proposed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("sample {number} cannot be learned from")]
    Sample {
        /// Counts from 1.
        number: usize,
        #[source]
        source: ObserveError,
    },
    #[error("nothing is in the samples but null and emptiness")]
    Nothing,
    #[error("no such answer was seen by a server on this data folder")]
    Unseen,
    #[error("answers of `{operation}` were seen with the statuses {statuses}")]
    Several { operation: String, statuses: String },
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    #[error(transparent)]
    Other(#[from] Error),
}

impl Problem {
    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Sample { .. } => "Give each answer's body as a JSON file of its own.".to_owned(),
            Self::Nothing => "Give a sample that has data in it.".to_owned(),
            Self::Unseen => {
                "Set x-weirgate-observe on the operation in the overlay, let a client with a grant \
                 call it, and ask again; or give samples as files."
                    .to_owned()
            }
            Self::Several { .. } => "Say which by --status.".to_owned(),
            Self::Proposal(ProposalError::OperationUnknown { nearest: Some(near), .. }) => {
                format!("Did you mean `{near}`?")
            }
            Self::Proposal(ProposalError::OperationUnknown { .. }) => {
                "`weirgate provider show` lists the operations.".to_owned()
            }
            Self::Proposal(ProposalError::NoSuccess { .. }) => {
                "Add the response to the overlay's `update` by hand.".to_owned()
            }
            Self::Proposal(ProposalError::StatusUnknown { .. }) => {
                "Give one that the description declares, like --status 200.".to_owned()
            }
            Self::Proposal(ProposalError::NotTaken { .. }) => {
                "Declare the shape where the reference leads, by an overlay of your own.".to_owned()
            }
            Self::Proposal(ProposalError::Load(error)) => error.remedy().to_owned(),
            Self::Other(error) => return error.remedy(),
        })
    }
}

/// What was learned and what it would make of the operation.
#[derive(Debug)]
pub struct Observed {
    proposal: Proposal,
    unknown: Vec<String>,
    samples: usize,
}

/// For an imported provider: from samples if there are any, else from what a server saw.
pub async fn of_imported(
    instance: &Instance,
    slug: &Slug,
    operation: &str,
    status: Option<&str>,
    samples: &[Vec<u8>],
) -> Result<Observed, Problem> {
    let row = instance.store.provider_by_slug(slug).await.map_err(Error::from)?;
    let row = row.ok_or_else(|| Error::NameUnknown { kind: "provider" })?;
    let (shape, seen) = if samples.is_empty() {
        let (shape, seen) = seen(&instance.folder, &row, operation, status)?;
        (shape, Some(seen))
    } else {
        (learn(samples)?, None)
    };
    let description = Description { bytes: row.description, overlay: row.overlay };
    propose_from(&description, operation, seen.as_deref().or(status), shape)
}

/// For a description's file, from samples.
pub fn of_file(
    description: &Description,
    operation: &str,
    status: Option<&str>,
    samples: &[Vec<u8>],
) -> Result<Observed, Problem> {
    propose_from(description, operation, status, learn(samples)?)
}

/// Learns from samples.
///
/// # Errors
/// One of them is no JSON, or they have too many names.
fn learn(samples: &[Vec<u8>]) -> Result<Observer, Problem> {
    let mut observer = Observer::default();
    for (place, sample) in samples.iter().enumerate() {
        let number = place + 1;
        observer.learn(sample).map_err(|source| Problem::Sample { number, source })?;
    }
    Ok(observer)
}

/// What a server on this folder learned of an operation's answers, and their status.
///
/// # Errors
/// Nothing was seen, or answers of several statuses and none is named.
fn seen(
    folder: &DataFolder,
    row: &ProviderRow,
    operation: &str,
    status: Option<&str>,
) -> Result<(Observer, String), Problem> {
    let mut kept = read(&file_of(folder, &digest_of(row)))?;
    let model = provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())
        .map_err(Error::from)?;
    let named = model.operations.iter().find(|one| {
        one.id == operation || format!("{} {}", one.method.as_str(), one.path.text()) == operation
    });
    let id = named.map_or(operation, |one| one.id.as_str());
    let mut by_status = kept.remove(id).ok_or(Problem::Unseen)?;
    if let Some(status) = status {
        let number = status.parse().ok().and_then(|number: u16| by_status.remove(&number));
        return number.map(|shape| (shape, status.to_owned())).ok_or(Problem::Unseen);
    }
    match by_status.pop_first() {
        Some((status, shape)) if by_status.is_empty() => Ok((shape, status.to_string())),
        Some((first, _)) => {
            let statuses: Vec<String> = [first]
                .into_iter()
                .chain(by_status.into_keys())
                .map(|one| one.to_string())
                .collect();
            Err(Problem::Several { operation: operation.to_owned(), statuses: statuses.join(", ") })
        }
        None => Err(Problem::Unseen),
    }
}

/// What the shape that was learned would make of the description.
fn propose_from(
    description: &Description,
    operation: &str,
    status: Option<&str>,
    observer: Observer,
) -> Result<Observed, Problem> {
    let limits = LoadLimits::default();
    let read = |bytes: &[u8]| parse_document(bytes, &limits).map_err(ProposalError::Load);
    let count = observer.samples();
    let learned: Learned = observer.finish().ok_or(Problem::Nothing)?;
    let document = read(&description.bytes)?;
    let overlay = description.overlay.as_deref().map(read).transpose()?;
    let proposal = propose(&document, overlay.as_ref(), operation, status, &learned)?;
    Ok(Observed { proposal, unknown: learned.unknown, samples: count })
}

/// Writes down what a running server learns, until told to stop.
pub async fn keep(
    instance: Arc<Instance>,
    gateway: Arc<Gateway>,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = forget_former(&instance).await {
        tracing::warn!(error = %error, "shapes that were learned of former imports stay");
    }
    let mut ticks = tokio::time::interval(KEEP_EVERY);
    loop {
        // Both are cancel-safe.
        let is_last = tokio::select! {
            _ = stopped.changed() => true,
            _ = ticks.tick() => false,
        };
        if let Err(error) = add(&instance.folder, gateway.observations.take()) {
            tracing::warn!(error = %error, "what was learned of answers cannot be kept");
        }
        if is_last {
            return;
        }
    }
}

/// Unites it with what was learned before.
fn add(folder: &DataFolder, learned: Vec<Observation>) -> Result<(), Error> {
    let mut by_provider: BTreeMap<[u8; 32], Vec<Observation>> = BTreeMap::new();
    for one in learned {
        by_provider.entry(one.provider).or_default().push(one);
    }
    for (digest, learned) in by_provider {
        make_private_dir(&folder.observed())?;
        let path = file_of(folder, &digest);
        let mut kept = read(&path)?;
        for Observation { operation, status, shape, .. } in learned {
            // Too many names together: what was known stays.
            let _ = kept.entry(operation).or_default().entry(status).or_default().absorb(shape);
        }
        write(folder, &path, &kept)?;
    }
    Ok(())
}

fn file_of(folder: &DataFolder, digest: &[u8; 32]) -> PathBuf {
    folder.observed().join(format!("{}.json", hex(digest)))
}

/// Nothing, where there is no file or one that is not ours: it can be learned again.
fn read(path: &Path) -> Result<Kept, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(source) => Err(Error::Io { what: "read", path: path.to_owned(), source }),
    }
}

/// Whole or not at all. It need not outlive a crash.
fn write(folder: &DataFolder, path: &Path, kept: &Kept) -> Result<(), Error> {
    let failed = |source| Error::Io { what: "write", path: path.to_owned(), source };
    let draft = folder.observed().join("draft");
    let text = serde_json::to_vec(kept).map_err(|error| failed(io::Error::other(error)))?;
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, path)).map_err(failed)
}

/// Removes what belongs to no provider as it is imported now.
async fn forget_former(instance: &Instance) -> Result<(), Error> {
    let dir = instance.folder.observed();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Io { what: "read", path: dir, source }),
    };
    let rows = instance.store.load_all().await?.providers;
    let own: BTreeSet<PathBuf> =
        rows.iter().map(|row| file_of(&instance.folder, &digest_of(row))).collect();
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| !own.contains(path)) {
        fs::remove_file(&path).map_err(|source| Error::Io { what: "remove", path, source })?;
    }
    Ok(())
}

impl Observed {
    /// The proposed overlay: what a file for `provider import --overlay` holds.
    pub fn overlay(&self) -> String {
        format!("{:#}", self.proposal.overlay)
    }

    fn object(&self) -> Option<&provider::Object> {
        let provider = &self.proposal.provider;
        let operation = provider.operations.get(self.proposal.operation)?;
        provider.object(operation.object?)
    }

    pub fn to_json(&self) -> Value {
        let provider = &self.proposal.provider;
        let fields = self.object().into_iter().flat_map(|object| &object.fields).map(|field| {
            json!({
                "path": field.path,
                "type": type_text(provider, &field.kind),
                "label": field.label.as_ref().map(|label| label.category.as_str()),
                "sensitive": field.label.as_ref().is_some_and(|label| label.is_sensitive),
            })
        });
        json!({
            "samples": self.samples,
            "object": self.object().map(|object| object.name.as_str()),
            "fields": fields.collect::<Vec<_>>(),
            "unknown": self.unknown,
            "overlay": self.proposal.overlay,
        })
    }

    /// What is worth saying beside the overlay.
    pub fn to_text(&self) -> Vec<String> {
        let mut lines = vec![format!("Learned from {} sample(s).", self.samples)];
        if let Some(object) = self.object() {
            lines.push(object.name.clone());
            for field in &object.fields {
                let label = field.label.as_ref().map_or("", |label| label.category.as_str());
                let kind = type_text(&self.proposal.provider, &field.kind);
                lines.push(format!("  {:<40} {kind:<12} {label}", field.path));
            }
        }
        if !self.unknown.is_empty() {
            lines.push(format!(
                "Left out, because only null or emptiness was seen: {}",
                self.unknown.join(", ")
            ));
        }
        lines.push(
            "Look at it, save it, and import the description again with --overlay; look at what \
             that means with `weirgate provider diff`."
                .to_owned(),
        );
        lines
    }
}

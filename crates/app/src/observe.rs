//! Shapes learned from samples of a provider's answers: an overlay is proposed, nothing is changed.

use crate::{error::Error, instance::Instance, provider_diff::Description};
use provider::{
    LoadLimits,
    diff::type_text,
    observe::{Learned, ObserveError, Observer},
    parse_document,
    proposal::{Proposal, ProposalError, propose},
};
use serde_json::{Value, json};
use types::Slug;

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

/// An imported provider's description.
pub async fn imported(instance: &Instance, slug: &Slug) -> Result<Description, Error> {
    let row = instance
        .store
        .provider_by_slug(slug)
        .await?
        .ok_or_else(|| Error::NotFound { kind: "provider", name: slug.to_string() })?;
    Ok(Description { bytes: row.description, overlay: row.overlay })
}

/// Learns from the samples and proposes.
pub fn observe(
    description: &Description,
    operation: &str,
    status: Option<&str>,
    samples: &[Vec<u8>],
) -> Result<Observed, Problem> {
    let limits = LoadLimits::default();
    let read = |bytes: &[u8]| parse_document(bytes, &limits).map_err(ProposalError::Load);
    let mut observer = Observer::default();
    for (place, sample) in samples.iter().enumerate() {
        let number = place + 1;
        observer.learn(sample).map_err(|source| Problem::Sample { number, source })?;
    }
    let count = observer.samples();
    let learned: Learned = observer.finish().ok_or(Problem::Nothing)?;
    let document = read(&description.bytes)?;
    let overlay = description.overlay.as_deref().map(read).transpose()?;
    let proposal = propose(&document, overlay.as_ref(), operation, status, &learned)?;
    Ok(Observed { proposal, unknown: learned.unknown, samples: count })
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

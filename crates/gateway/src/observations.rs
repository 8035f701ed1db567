//! Shapes of answers that no description declares, until somebody takes them away to keep them.
//!
//! Only names and types are learned, and only where an overlay says so. The answer itself goes to
//! nobody: the call is refused as if nothing had been learned.

use http::StatusCode;
use provider::observe::Observer;
use std::{collections::BTreeMap, sync::Mutex};

/// The longest body that is learned from.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;

/// What was learned of one operation's answers with one status.
#[derive(Debug)]
pub struct Observation {
    /// The provider as it was imported: [`ProviderEntry::digest`](crate::ProviderEntry).
    pub provider: [u8; 32],
    /// Its id in the description.
    pub operation: String,
    pub status: u16,
    pub shape: Observer,
}

type Place = ([u8; 32], String, u16);

/// What was learned since the last [`Observations::take`].
#[derive(Debug, Default)]
pub struct Observations(Mutex<BTreeMap<Place, Observer>>);

impl Observations {
    /// Learns from one body. What is no JSON, or has too many names, teaches nothing.
    pub(crate) fn learn(
        &self,
        provider: [u8; 32],
        operation: &str,
        status: StatusCode,
        body: &[u8],
    ) {
        let mut one = Observer::default();
        // Learned apart: half of a body must not count.
        if one.learn(body).is_err() {
            return;
        }
        let place = (provider, operation.to_owned(), status.as_u16());
        // Only a panic between these lines could poison it, and nothing in them can.
        let Ok(mut learned) = self.0.lock() else { return };
        // Too many names together: what was known stays.
        let _ = learned.entry(place).or_default().absorb(one);
    }

    /// Everything that was learned since the last time.
    pub fn take(&self) -> Vec<Observation> {
        let Ok(mut learned) = self.0.lock() else { return Vec::new() };
        std::mem::take(&mut *learned)
            .into_iter()
            .map(|((provider, operation, status), shape)| Observation {
                provider,
                operation,
                status,
                shape,
            })
            .collect()
    }
}

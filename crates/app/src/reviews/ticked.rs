//! What somebody ticked of a review when a step-up was due: kept by their browser, to be looked at again.
//!
//! It decides nothing. It fills in the page of the same person and the same review, for a quarter of an
//! hour, and counts once that person sends the page.

use super::Verdict;
use crate::{change::hex, instance::Instance};
use std::{collections::BTreeMap, time::Duration};
use types::{Id, Review, Timestamp, User};

/// How long it is kept.
pub const TICKED_LIFE: Duration = Duration::from_mins(15);
/// A cookie may be of 4,096 bytes; a page has 100 items.
const MAX_BYTES: usize = 2_000;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticked {
    pub review: Id<Review>,
    /// The item that the page began with.
    pub from: usize,
    pub verdicts: BTreeMap<usize, Verdict>,
}

impl Ticked {
    /// As a browser keeps it; nothing where there is too much of it, or nothing at all.
    pub fn keep(&self, instance: &Instance, user: Id<User>) -> Option<String> {
        if self.verdicts.is_empty() {
            return None;
        }
        let until = (instance.clock.now() + TICKED_LIFE).as_micros();
        let verdicts = self.verdicts.iter().map(|(number, verdict)| match verdict {
            Verdict::Confirm => format!("{number}c"),
            Verdict::Drop => format!("{number}d"),
        });
        let verdicts = verdicts.collect::<Vec<_>>().join("-");
        let text = format!("{until}.{}.{}.{verdicts}", self.review, self.from);
        let sealed = format!("{text}.{}", seal(instance, user, &text));
        (sealed.len() <= MAX_BYTES).then_some(sealed)
    }

    /// What this person's browser kept; nothing where it is somebody else's, too old, or none of ours.
    pub fn kept(instance: &Instance, user: Id<User>, text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (text, given) = text.rsplit_once('.')?;
        if !vault::digests_match(seal(instance, user, text).as_bytes(), given.as_bytes()) {
            return None;
        }
        let mut parts = text.split('.');
        let until = Timestamp::from_micros(parts.next()?.parse().ok()?);
        let (review, from) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let verdict = |text: &str| {
            let verdict = match text.chars().next_back()? {
                'c' => Verdict::Confirm,
                'd' => Verdict::Drop,
                _ => return None,
            };
            Some((text.trim_end_matches(['c', 'd']).parse().ok()?, verdict))
        };
        let verdicts = parts.next()?.split('-').map(verdict).collect::<Option<_>>()?;
        (instance.clock.now() < until).then_some(Self { review, from, verdicts })
    }
}

fn seal(instance: &Instance, user: Id<User>, text: &str) -> String {
    hex(&instance.secrets.pepper.lookup_digest("ticked review", &format!("{user}.{text}")))
}

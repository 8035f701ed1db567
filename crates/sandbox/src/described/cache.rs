//! Answers to reads, kept until something is written.

use super::mock::Reply;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Bytes that are kept; when they are full, all are forgotten.
const MAX_BYTES: usize = 16 << 20;
/// What an entry costs beside its texts.
const ENTRY_BYTES: usize = 300;

#[derive(Debug)]
pub(crate) struct Kept {
    version: u64,
    pub(crate) index: Option<usize>,
    pub(crate) reply: Reply,
}

#[derive(Debug, Default)]
struct Inner {
    by_target: HashMap<String, Arc<Kept>>,
    bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Cache(RwLock<Inner>);

fn target(path: &str, query: &str) -> String {
    let mut target = String::with_capacity(path.len() + query.len() + 1);
    target.push_str(path);
    target.push('?');
    target.push_str(query);
    target
}

impl Cache {
    pub(crate) fn find(&self, path: &str, query: &str, version: u64) -> Option<Arc<Kept>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let kept = inner.by_target.get(&target(path, query))?;
        (kept.version == version).then(|| Arc::clone(kept))
    }

    pub(crate) fn keep(
        &self,
        path: &str,
        query: &str,
        version: u64,
        index: Option<usize>,
        reply: &Reply,
    ) {
        let target = target(path, query);
        let cost = ENTRY_BYTES + target.len() + reply.body.len();
        if cost > MAX_BYTES / 4 {
            return;
        }
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if inner.bytes + cost > MAX_BYTES {
            *inner = Inner::default();
        }
        inner.bytes += cost;
        let kept = Kept { version, index, reply: reply.clone() };
        if let Some(old) = inner.by_target.insert(target, Arc::new(kept)) {
            // Its target was counted twice, which only makes room sooner.
            inner.bytes = inner.bytes.saturating_sub(ENTRY_BYTES + old.reply.body.len());
        }
    }
}

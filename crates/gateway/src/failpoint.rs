//! Where a test lets a call fail as only a defect of ours would. In a release build there is nothing in
//! it.

#[cfg(debug_assertions)]
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Failpoint {
    #[cfg(debug_assertions)]
    at: Option<Arc<str>>,
}

impl Failpoint {
    /// At a place, in all calls or in those of one path: `PLACE` or `PLACE PATH`.
    #[cfg(debug_assertions)]
    pub fn at(text: &str) -> Self {
        Self { at: Some(Arc::from(text)) }
    }

    #[cfg(debug_assertions)]
    pub(crate) fn reach(&self, place: &str, path: &str) {
        let Some(at) = &self.at else { return };
        let is_here = **at == *place || **at == *format!("{place} {path}");
        assert!(!is_here, "canary-of-a-failpoint at {place}");
    }

    #[cfg(not(debug_assertions))]
    pub(crate) const fn reach(&self, _: &str, _: &str) {}
}

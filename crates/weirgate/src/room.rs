//! The room on the audit log's disk: a figure, and an alarm at two levels before the log closes.

use app::{
    Space,
    doctor::{LEAST_PERCENT, LITTLE_PERCENT},
};
use std::path::PathBuf;

/// So much more than a level is free when it may be told again: no alarm for each file that comes and
/// goes.
const RISE_PERCENT: u64 = 2;

/// In parts of a hundred, lowest first.
const LEVELS: [u64; 2] = [LEAST_PERCENT, LITTLE_PERCENT];

/// What is watched, and the level that was told.
#[derive(Debug)]
pub(crate) struct Room {
    dir: PathBuf,
    told: Option<u64>,
}

impl Room {
    pub(crate) const fn of(dir: PathBuf) -> Self {
        Self { dir, told: None }
    }

    /// Sets the figure, and tells of a level that was fallen below.
    pub(crate) fn look(&mut self) {
        // A log that is not there is told by its writer.
        let Ok(space) = Space::of(&self.dir) else { return };
        let Space { free, .. } = space;
        metrics::gauge!("weirgate_audit_free_bytes")
            .set(crate::figures::number(usize::try_from(free).unwrap_or(usize::MAX)));
        let percent = space.free_percent();
        if self.falls_below(percent).is_some() {
            tracing::warn!(
                free_bytes = free,
                free_percent = percent,
                remedy = "make room: calls are refused once the audit log cannot be written",
                "little room is left on the audit log's disk"
            );
        }
    }

    /// The level that is newly fallen below.
    fn falls_below(&mut self, percent: u64) -> Option<u64> {
        let is_within = |level: u64| percent < level.saturating_add(RISE_PERCENT);
        let still = |told| LEVELS.into_iter().find(|level| *level >= told && is_within(*level));
        self.told = self.told.and_then(still);
        let level = LEVELS.into_iter().find(|level| percent < *level)?;
        if self.told.is_some_and(|told| told <= level) {
            return None;
        }
        self.told = Some(level);
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_told_once_until_there_is_room_again() {
        let mut room = Room::of(PathBuf::new());
        let mut told = |percents: &[u64]| -> Vec<Option<u64>> {
            percents.iter().map(|percent| room.falls_below(*percent)).collect()
        };
        assert_eq!(told(&[50, 10, 9, 9, 10, 9, 6]), [None, None, Some(10), None, None, None, None]);
        assert_eq!(told(&[4, 0, 5, 4, 6, 3]), [Some(5), None, None, None, None, None]);
        // Above both levels by some, each is told anew, and one that was passed by is not.
        assert_eq!(told(&[7, 4, 20, 11, 3, 9]), [None, Some(5), None, None, Some(5), None]);
        assert_eq!(told(&[12, 9]), [None, Some(10)]);
    }
}

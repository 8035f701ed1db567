//! Whether the clock can be believed: it must go as fast as the time that passes, and agree with the
//! clock of the database that all nodes share.
//!
//! Expiries follow the clock, whatever it says; limits, ages and time-outs follow the time that passes.
//! So a clock that is wrong keeps what has expired alive, or ends it early: somebody must know.

use app::Instance;
use std::time::{Duration, Instant};
use types::Timestamp;

/// How far the clock may depart from the time that passes between two looks.
const MAX_JUMP: Duration = Duration::from_secs(10);
/// How far clocks may differ.
pub(crate) const MAX_SKEW_SECONDS: i64 = 30;
const MICROS: i64 = 1_000_000;

const LOOK_WHO: &str = "Keep the clock by NTP; look at what expires, and at who set it.";
const KEEP_BY_NTP: &str = "Keep the clocks of all nodes and of the database by NTP.";

/// Looks now and then.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    last: Option<(Instant, Timestamp)>,
    is_skewed: bool,
}

impl ClockWatch {
    /// By how many seconds the clock jumped since the last look, if it did.
    fn jump(&mut self, now: Instant, clock: Timestamp) -> Option<i64> {
        let (last, then) = self.last.replace((now, clock))?;
        let passed = i64::try_from(now.duration_since(last).as_micros()).unwrap_or(i64::MAX);
        let told = clock.as_micros().saturating_sub(then.as_micros());
        let jump = told.saturating_sub(passed);
        let is_jump = jump.unsigned_abs() > MAX_JUMP.as_micros().try_into().unwrap_or(u64::MAX);
        is_jump.then_some(jump / MICROS)
    }

    /// Looks at the clock by itself.
    pub(crate) fn look(&mut self, clock: Timestamp) {
        if let Some(seconds) = self.jump(Instant::now(), clock) {
            metrics::counter!("weirgate_clock_jumps_total").increment(1);
            tracing::error!(seconds, remedy = LOOK_WHO, "the clock jumped");
        }
    }

    /// Compares it with the database's.
    pub(crate) async fn compare(&mut self, instance: &Instance) {
        // A database that is away is told of by the Snapshot's age.
        let Ok(Some(skew)) = instance.clock_skew().await else { return };
        let seconds = skew.as_micros() / MICROS;
        #[expect(clippy::cast_precision_loss, reason = "figures are shown, not counted with")]
        metrics::gauge!("weirgate_clock_skew_seconds").set(skew.as_micros() as f64 / 1e6);
        let is_skewed = seconds.abs() > MAX_SKEW_SECONDS;
        if is_skewed && !self.is_skewed {
            tracing::error!(
                seconds,
                remedy = KEEP_BY_NTP,
                "the clock of this node differs from the database's"
            );
        }
        self.is_skewed = is_skewed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_departs_from_the_time_that_passes_has_jumped() {
        let mut watch = ClockWatch::default();
        let begun = Instant::now();
        let at = |seconds: i64| Timestamp::from_micros((1_800_000_000 + seconds) * MICROS);
        let mut look =
            |passed: u64, told: i64| watch.jump(begun + Duration::from_secs(passed), at(told));
        assert_eq!(look(0, 0), None, "the first look");
        assert_eq!(look(5, 5), None);
        // A machine that slept, where passing time goes on: no jump.
        assert_eq!(look(905, 905), None);
        assert_eq!(look(910, 901), None, "NTP brings it back");
        assert_eq!(look(915, 7_200 + 906), Some(7_200));
        assert_eq!(look(920, 7_200 + 911), None, "one jump is told once");
        assert_eq!(look(925, 916 - 7_200), Some(-14_400));
    }
}

//! Waiting for a condition instead of sleeping.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Pause between two looks.
const STEP: Duration = Duration::from_millis(2);

/// What a condition may answer: `false` and `None` mean "not yet".
pub trait Until {
    type Value;
    fn value(self) -> Option<Self::Value>;
}

impl Until for bool {
    type Value = ();
    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Until for Option<T> {
    type Value = T;
    fn value(self) -> Option<T> {
        self
    }
}

/// Looks again and again until the condition holds, at least once; `None` when the time is over.
pub fn poll<U: Until>(timeout: Duration, mut condition: impl FnMut() -> U) -> Option<U::Value> {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().value() {
            return Some(value);
        }
        if started.elapsed() >= timeout {
            return None;
        }
        thread::sleep(STEP);
    }
}

/// Looks again and again until the condition holds.
///
/// # Panics
/// Where it does not hold in time: the test has failed.
#[track_caller]
pub fn wait_until<U: Until>(timeout: Duration, condition: impl FnMut() -> U) -> U::Value {
    match poll(timeout, condition) {
        Some(value) => value,
        #[expect(clippy::panic, reason = "fails the test at the line that waits")]
        None => panic!("what was waited for did not come within {timeout:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_awaited_and_its_value_returned() {
        let mut looks = 0;
        wait_until(Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        });
        assert_eq!(wait_until(Duration::ZERO, || Some(7)), 7);
        assert_eq!(poll(Duration::from_millis(10), || false), None);
    }

    #[test]
    #[should_panic(expected = "did not come within 5ms")]
    fn a_condition_that_never_holds_fails_the_test() {
        wait_until(Duration::from_millis(5), || None::<()>);
    }
}

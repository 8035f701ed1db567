//! What becomes of the gateway's events: until failures become issues, a failed call is a figure and
//! a log line. Nobody who makes calls fail can fill the log with them.

use gateway::Event;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::{mpsc, watch};

/// Lines of one code in a second; more are counted, and the count is a line.
const LINES: u64 = 10;
const TURN: Duration = Duration::from_secs(1);

/// Until told to stop; what has come by then is still told.
pub(crate) async fn drain(mut received: mpsc::Receiver<Event>, mut stopped: watch::Receiver<bool>) {
    metrics::describe_counter!(
        "weirgate_failures_total",
        "Calls that were not answered as asked, by code."
    );
    let mut sample = Sample::default();
    let mut turns = tokio::time::interval(TURN);
    loop {
        // All three are cancel-safe.
        tokio::select! {
            event = received.recv() => match event {
                Some(event) => tell(&event, &mut sample),
                None => break,
            },
            _ = turns.tick() => sample.turn(),
            _ = stopped.changed() => break,
        }
    }
    while let Ok(event) = received.try_recv() {
        tell(&event, &mut sample);
    }
    sample.turn();
}

fn tell(event: &Event, sample: &mut Sample) {
    let Some(failure) = event.failure else { return };
    metrics::counter!("weirgate_failures_total", "code" => failure.code).increment(1);
    if !sample.takes(failure.code) {
        return;
    }
    tracing::info!(
        request.id = %event.request,
        connection.id = event.connection.map(tracing::field::display),
        operation = event.operation.as_deref(),
        status = event.status,
        code = failure.code,
        origin = failure.origin.as_str(),
        retryable = failure.is_retryable,
        duration_ms = event.duration.as_millis(),
        "call failed"
    );
}

/// What was told of each code since the last turn. There are only so many codes.
#[derive(Debug, Default)]
struct Sample(BTreeMap<&'static str, u64>);

impl Sample {
    /// Counts one, and says whether it gets a line.
    fn takes(&mut self, code: &'static str) -> bool {
        let count = self.0.entry(code).or_default();
        *count += 1;
        *count <= LINES
    }

    /// What was left out, by code; counting begins anew.
    fn left_out(&mut self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = std::mem::take(&mut self.0);
        counts.into_iter().filter_map(|(code, count)| Some((code, count.checked_sub(LINES)?)))
    }

    fn turn(&mut self) {
        for (code, suppressed) in self.left_out().filter(|(_, count)| *count > 0) {
            tracing::info!(code, suppressed, "more calls failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_lines_in_each_turn() {
        let mut sample = Sample::default();
        for _ in 0..2 {
            let taken = (0..1_000).filter(|_| sample.takes("key_missing")).count();
            assert_eq!(taken, 10);
            assert!(sample.takes("not_granted"));
            let left_out: Vec<_> = sample.left_out().filter(|(_, count)| *count > 0).collect();
            assert_eq!(left_out, [("key_missing", 990)]);
        }
        assert_eq!(sample.left_out().count(), 0);
    }
}

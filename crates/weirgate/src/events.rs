//! What becomes of the gateway's events: figures, a trace where a collector is configured, and for a
//! failed call a log line, until failures become issues. Nobody who makes calls fail can fill the log with them.

use crate::{
    figures::{ProviderNames, class},
    telemetry::Traces,
};
use gateway::{Called, Event, Failure, Phase};
use metrics::{Histogram, counter, histogram};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::{mpsc, watch};

/// Lines of one code in a second; more are counted, and the count is a line.
const LINES: u64 = 10;
const TURN: Duration = Duration::from_secs(1);

/// Until told to stop; what has come by then is still told.
pub(crate) async fn drain(
    mut received: mpsc::Receiver<Event>,
    traces: Option<Traces>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut teller = Teller::new(traces);
    let mut turns = tokio::time::interval(TURN);
    loop {
        // All three are cancel-safe.
        tokio::select! {
            event = received.recv() => match event {
                Some(event) => teller.tell(event),
                None => break,
            },
            _ = turns.tick() => teller.sample.turn(),
            _ = stopped.changed() => break,
        }
    }
    while let Ok(event) = received.try_recv() {
        teller.tell(event);
    }
    teller.sample.turn();
}

struct Teller {
    sample: Sample,
    providers: ProviderNames,
    phases: [Histogram; Phase::ALL.len()],
    traces: Option<Traces>,
}

impl Teller {
    fn new(traces: Option<Traces>) -> Self {
        let name = "weirgate_call_phase_seconds";
        Self {
            sample: Sample::default(),
            providers: ProviderNames::default(),
            phases: Phase::ALL.map(|phase| histogram!(name, "phase" => phase.as_str())),
            traces,
        }
    }

    fn tell(&mut self, event: Event) {
        for (phase, begin, end) in event.phases.spans(event.duration) {
            if let Some(histogram) = self.phases.get(phase as usize) {
                histogram.record(end.saturating_sub(begin).as_secs_f64());
            }
        }
        if let Some(called) = &event.called {
            let provider = self.providers.name(called.provider()).to_owned();
            let class = class(event.status);
            counter!("weirgate_provider_calls_total", "provider" => provider, "class" => class)
                .increment(1);
        }
        if let Some(failure) = event.failure {
            counter!("weirgate_failures_total", "code" => failure.code).increment(1);
            if let Some(limit) = failure.limit {
                counter!("weirgate_limit_refusals_total", "limit" => limit).increment(1);
            }
            if self.sample.takes(failure.code) {
                log(&event, &failure);
            }
        }
        if let Some(traces) = &self.traces {
            traces.offer(event);
        }
    }
}

fn log(event: &Event, failure: &Failure) {
    tracing::info!(
        request.id = %event.request,
        connection.id = event.connection.map(tracing::field::display),
        operation = event.called.as_ref().and_then(Called::operation),
        status = event.status,
        code = failure.code,
        origin = failure.origin.as_str(),
        retryable = failure.is_retryable,
        duration_ms = u64::try_from(event.duration.as_millis()).unwrap_or(u64::MAX),
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

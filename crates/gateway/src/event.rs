//! What the gateway tells the rest of the product about each call.

use metrics::Counter;
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use types::{Client, Connection, Id, Origin, Request};

/// One finished call.
#[derive(Debug, Clone)]
pub struct Event {
    pub request: Id<Request>,
    pub client: Option<Id<Client>>,
    pub connection: Option<Id<Connection>>,
    /// The operation's id in the description.
    pub operation: Option<Arc<str>>,
    pub status: u16,
    /// Set for calls that were not answered as asked.
    pub failure: Option<Failure>,
    pub duration: Duration,
}

/// What diagnosis is built on.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub code: &'static str,
    pub origin: Origin,
    pub is_retryable: bool,
}

/// Sends events without ever waiting: when the receiver lags, they are counted and dropped, because
/// the audit log already holds the call.
#[derive(Clone)]
pub struct EventSink {
    sender: mpsc::Sender<Event>,
    lost: Counter,
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("room", &self.sender.capacity()).finish_non_exhaustive()
    }
}

/// Events that may wait for the receiver.
const CAPACITY: usize = 8_192;

impl EventSink {
    pub fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        metrics::describe_counter!(
            "weirgate_events_lost_total",
            "Calls that only the audit log knows of: their events came faster than they were taken."
        );
        (Self { sender, lost: metrics::counter!("weirgate_events_lost_total") }, receiver)
    }

    pub fn emit(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.lost.increment(1);
        }
    }
}

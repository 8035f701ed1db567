//! How long each phase of a call to a provider may take.

use std::time::Duration;

/// A bound for every wait. The defaults are those of a provider that is slow but well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// Finding the addresses of the provider's name; 5 s.
    pub resolve: Duration,
    /// Connecting, over all addresses together; 5 s.
    pub connect: Duration,
    /// The TLS handshake; 5 s.
    pub tls: Duration,
    /// From sending the request to the head of the answer; 30 s.
    pub head: Duration,
    /// The longest silence within the answer's body; 15 s.
    pub idle: Duration,
    /// From sending the request to the end of the answer; 5 min.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(15),
            total: Duration::from_mins(5),
        }
    }
}

//! Connections whose caller has shown no valid key yet: they give way when places run out, so that
//! nobody without a key can shut out those who have one.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use vault::KeyPepper;

/// How long such a connection may do nothing while most places are taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// The order of a visitor that is in no queue.
const NONE: u64 = u64::MAX;

/// One connection; each of its requests carries it.
#[derive(Debug)]
pub struct Visitor {
    /// Where it comes from, where that is known.
    pub source: Option<IpAddr>,
    network: OnceLock<[u8; 8]>,
    /// Its place in [`Crowd::strangers`].
    order: AtomicU64,
    away: Notify,
}

impl Visitor {
    /// Stands for the network that it comes from, in the audit log: by the installation's key, so that
    /// two can be told apart and neither is told.
    pub fn network(&self, pepper: &KeyPepper) -> Option<[u8; 8]> {
        let source = self.source?;
        let tag = self.network.get_or_init(|| {
            let digest = pepper.lookup_digest("network", &network_of(source));
            digest.first_chunk().copied().unwrap_or_default()
        });
        Some(*tag)
    }

    /// Returns when the connection must give way.
    pub async fn sent_away(&self) {
        self.away.notified().await;
    }
}

/// What is told apart as a network: 24 bits of an IPv4 address, 48 of an IPv6 one.
fn network_of(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(address) => {
            format!("{}/24", Ipv4Addr::from_bits(address.to_bits() & !0xFF))
        }
        IpAddr::V6(address) => {
            format!("{}/48", Ipv6Addr::from_bits(address.to_bits() >> 80 << 80))
        }
    }
}

/// The connections of one core, or of the console's port, that have never had a call with a valid
/// key.
#[derive(Debug, Default)]
pub struct Crowd {
    /// The one that has been idle for the longest first.
    strangers: RefCell<BTreeMap<u64, (Instant, Arc<Visitor>)>>,
    next: Cell<u64>,
}

impl Crowd {
    pub fn enter(&self, source: Option<IpAddr>) -> Arc<Visitor> {
        let order = AtomicU64::new(NONE);
        let visitor =
            Arc::new(Visitor { source, network: OnceLock::new(), order, away: Notify::new() });
        self.queue(&visitor);
        visitor
    }

    fn queue(&self, visitor: &Arc<Visitor>) {
        let order = self.next.get();
        self.next.set(order + 1);
        visitor.order.store(order, Ordering::Relaxed);
        self.strangers.borrow_mut().insert(order, (Instant::now(), Arc::clone(visitor)));
    }

    /// It asked for something.
    pub fn moved(&self, visitor: &Arc<Visitor>) {
        if self.forget(visitor) {
            self.queue(visitor);
        }
    }

    /// It has shown a valid key, or is gone; whether it was among the strangers.
    pub fn forget(&self, visitor: &Visitor) -> bool {
        let order = visitor.order.swap(NONE, Ordering::Relaxed);
        self.strangers.borrow_mut().remove(&order).is_some()
    }

    /// Sends away the stranger that has been idle for the longest, if there is one.
    pub fn make_room(&self) {
        self.send_first_away(|_| true);
    }

    /// Sends away all that have been idle for longer than [`PATIENCE`].
    pub fn thin_out(&self) {
        while self.send_first_away(|since| since.elapsed() >= PATIENCE) {}
    }

    fn send_first_away(&self, is_due: impl Fn(Instant) -> bool) -> bool {
        let mut strangers = self.strangers.borrow_mut();
        let Some(first) = strangers.first_entry().filter(|entry| is_due(entry.get().0)) else {
            return false;
        };
        let (_, visitor) = first.remove();
        visitor.order.store(NONE, Ordering::Relaxed);
        visitor.away.notify_one();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_told_by_its_first_bits() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), "192.0.2.0/24");
        assert_eq!(of("::ffff:192.0.2.9"), "192.0.2.0/24");
        assert_eq!(of("2001:db8:1:2::3"), "2001:db8:1::/48");
        assert_ne!(of("2001:db8:1::"), of("2001:db8:2::"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_stranger_gives_way_and_none_with_a_key() {
        let crowd = Crowd::default();
        let [known, silent, asking] = [crowd.enter(None), crowd.enter(None), crowd.enter(None)];
        assert!(crowd.forget(&known));
        let is_away = async |visitor: &Visitor| {
            tokio::time::timeout(Duration::from_millis(1), visitor.sent_away()).await.is_ok()
        };
        tokio::time::advance(PATIENCE).await;
        // A request of one that was recognised makes it no stranger again.
        crowd.moved(&known);
        crowd.moved(&asking);
        crowd.thin_out();
        assert!(is_away(&silent).await);
        assert!(!is_away(&asking).await);
        let last = crowd.enter(None);
        crowd.make_room();
        assert!(is_away(&asking).await);
        crowd.make_room();
        assert!(is_away(&last).await);
        crowd.make_room();
        assert!(!is_away(&known).await);
    }
}

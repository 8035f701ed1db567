//! The memory that request bodies take while their calls wait: one room for the whole process, of
//! which no key takes so much that others find none.

use crate::limits::{BUSY, Held, Limit, Meter};
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes of request bodies that may be held at once, over all cores.
#[derive(Debug)]
pub(crate) struct BodyRoom {
    bytes: usize,
    held: AtomicUsize,
}

impl BodyRoom {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, held: AtomicUsize::new(0) })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Room for a body of a key's call, taken before anything of it is read. A key's first body takes
    /// what is free; with others beside it, a key holds at most as much as it leaves free, so that one
    /// alone takes half, and each of two a third.
    pub(crate) fn take(
        self: &Arc<Self>,
        key: &Arc<Meter>,
        bytes: usize,
    ) -> Result<BodyPlace, Held> {
        let all = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let own = key.body_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // From here on it is given back by its drop.
        let place = BodyPlace { room: Arc::clone(self), key: Arc::clone(key), bytes };
        let free = self.bytes.checked_sub(all);
        match free {
            None if own == bytes => Err(Held { limit: Limit::Bodies, retry_after: BUSY }),
            Some(free) if own == bytes || own <= free => Ok(place),
            _ => Err(Held { limit: Limit::KeyBodies, retry_after: BUSY }),
        }
    }
}

/// The room of one body, given back on drop.
#[derive(Debug)]
pub(crate) struct BodyPlace {
    room: Arc<BodyRoom>,
    key: Arc<Meter>,
    bytes: usize,
}

impl BodyPlace {
    /// Counts what the body has turned out to take. One that has grown (a form is spelled anew) is not
    /// refused any more.
    pub(crate) fn settle(&mut self, bytes: usize) {
        for held in [&self.room.held, &self.key.body_bytes] {
            held.fetch_add(bytes, Ordering::Relaxed);
            held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// The body, which keeps its room until its last clone is gone.
    pub(crate) fn with(mut self, body: Bytes) -> Bytes {
        self.settle(self.bytes.max(body.len()));
        Bytes::from_owner(Placed { body, _place: self })
    }
}

impl Drop for BodyPlace {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.key.body_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Placed {
    body: Bytes,
    _place: BodyPlace,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Arc<Meter> {
        Arc::new(Meter::new(Vec::new(), usize::MAX))
    }

    #[test]
    fn no_key_takes_more_than_it_leaves_to_others() {
        let room = BodyRoom::new(60);
        let [first, second, third] = [key(), key(), key()];
        let fill = |key: &Arc<Meter>| {
            let mut places = Vec::new();
            loop {
                match room.take(key, 1) {
                    Ok(place) => places.push(place),
                    Err(held) => break (places, held.limit),
                }
            }
        };
        let (of_first, limit) = fill(&first);
        assert_eq!((of_first.len(), limit), (30, Limit::KeyBodies));
        let (of_second, limit) = fill(&second);
        assert_eq!((of_second.len(), limit), (15, Limit::KeyBodies));
        // Room for one body of a key that holds none.
        let large = room.take(&third, 15).unwrap();
        assert_eq!(room.take(&third, 1).unwrap_err().limit, Limit::KeyBodies);
        assert_eq!(room.take(&key(), 1).unwrap_err().limit, Limit::Bodies);
        drop((of_first, of_second));
        assert_eq!(room.held(), 15);
        drop(large);
        assert_eq!(room.held(), 0);
        assert!(room.take(&first, 60).is_ok());
        assert_eq!(room.take(&first, 61).unwrap_err().limit, Limit::Bodies);
    }

    #[test]
    fn a_body_keeps_its_room_until_its_last_clone_is_gone() {
        let (room, key) = (BodyRoom::new(60), key());
        let mut place = room.take(&key, 50).unwrap();
        place.settle(10);
        let body = place.with(Bytes::from_static(b"grown to twelve"));
        assert_eq!(room.held(), 15);
        let clone = body.clone();
        drop(body);
        assert_eq!((&clone[..5], room.held()), (&b"grown"[..], 15));
        drop(clone);
        assert_eq!((room.held(), key.body_bytes.load(Ordering::Relaxed)), (0, 0));
    }
}

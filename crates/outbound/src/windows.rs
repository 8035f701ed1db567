//! The memory that decoders of answers need for their windows: one room for all of a pool, of which no
//! target takes so much that others find none.

use crate::target::Target;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
};

/// The largest window that one answer may need (RFC 7932 §9.1).
const LARGEST_BYTES: usize = 16 << 20;
/// Targets that are remembered without an answer before they are looked through.
const MANY_TARGETS: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Windows {
    bytes: usize,
    held: Cell<usize>,
    by_target: RefCell<HashMap<Target, Weak<Cell<usize>>>>,
}

impl Windows {
    pub(crate) fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self { bytes, held: Cell::new(0), by_target: RefCell::default() })
    }

    fn own(&self, target: &Target) -> Rc<Cell<usize>> {
        let mut by_target = self.by_target.borrow_mut();
        if let Some(own) = by_target.get(target).and_then(Weak::upgrade) {
            return own;
        }
        if by_target.len() >= MANY_TARGETS {
            by_target.retain(|_, own| own.strong_count() > 0);
        }
        let own = Rc::default();
        by_target.insert(target.clone(), Rc::downgrade(&own));
        own
    }

    /// Whether answers of this target may still come in codings that need windows.
    pub(crate) fn are_roomy(&self, target: &Target) -> bool {
        self.own(target).get() + 2 * LARGEST_BYTES <= self.bytes.saturating_sub(self.held.get())
    }

    /// For one answer of this target, which takes nothing yet.
    pub(crate) fn window(self: &Rc<Self>, target: &Target) -> Window {
        let (held, was_refused) = (Cell::new(0), Cell::new(false));
        Window { room: Rc::clone(self), own: self.own(target), held, was_refused }
    }
}

/// What one answer's decoder takes, given back on drop.
#[derive(Debug)]
pub(crate) struct Window {
    room: Rc<Windows>,
    own: Rc<Cell<usize>>,
    held: Cell<usize>,
    was_refused: Cell<bool>,
}

impl Window {
    /// Whether there is room for so much more. A target's first window takes what is free; with others
    /// beside it, a target holds at most as much as it leaves free.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let all = self.room.held.get().saturating_add(bytes);
        let own = self.own.get().saturating_add(bytes);
        let is_only = own == self.held.get().saturating_add(bytes);
        let fits = self.room.bytes.checked_sub(all).is_some_and(|free| is_only || own <= free);
        if fits {
            self.room.held.set(all);
            self.own.set(own);
            self.held.set(self.held.get() + bytes);
        } else {
            self.was_refused.set(true);
        }
        fits
    }

    pub(crate) fn shrink(&self, bytes: usize) {
        let bytes = bytes.min(self.held.get());
        self.held.set(self.held.get() - bytes);
        self.own.set(self.own.get() - bytes);
        self.room.held.set(self.room.held.get() - bytes);
    }

    /// Gives all back: the decoder is gone.
    pub(crate) fn release(&self) {
        self.shrink(self.held.get());
    }

    /// Whether it has wanted more than there was room for.
    pub(crate) fn was_refused(&self) -> bool {
        self.was_refused.get()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Window {
    /// Of the only answer there is.
    #[expect(clippy::unwrap_used, reason = "a URL of our own, in tests only")]
    pub(crate) fn alone(bytes: usize) -> Rc<Self> {
        let target =
            Target::parse("https://provider.example", &crate::GuardPolicy::default()).unwrap();
        Rc::new(Windows::new(bytes).window(&target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_target_takes_more_than_it_leaves_to_others() {
        const MIB: usize = 1 << 20;
        let windows = Windows::new(96 * MIB);
        let target = |url| Target::parse(url, &crate::GuardPolicy::default()).unwrap();
        let hostile = target("https://hostile.example");
        let honest = target("https://honest.example");
        assert!(windows.are_roomy(&hostile));
        let mut held = Vec::new();
        loop {
            let window = windows.window(&hostile);
            if !window.grow(8 * MIB) {
                assert!(window.was_refused());
                break;
            }
            held.push(window);
        }
        assert_eq!(held.len(), 6);
        assert!(!windows.are_roomy(&hostile) && windows.are_roomy(&honest));
        let window = windows.window(&honest);
        assert!(window.grow(16 * MIB) && !window.was_refused());
        window.shrink(4 * MIB);
        assert_eq!(windows.held.get(), 60 * MIB);
        drop((window, held));
        assert_eq!(windows.held.get(), 0);
        assert!(windows.are_roomy(&hostile));
        assert!(
            windows.window(&hostile).grow(96 * MIB) && !windows.window(&hostile).grow(97 * MIB)
        );
    }
}

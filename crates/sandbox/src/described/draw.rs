//! Numbers that depend on nothing but a seed and a place, so that an answer can be invented anywhere,
//! in any order and any number of times, and is always the same.

/// A place in everything that is invented. It is a value: going down makes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The place below this one with a name (FNV-1a, then mixed).
    pub(crate) fn at(self, name: &str) -> Self {
        let mut hash = 0xCBF2_9CE4_8422_2325 ^ self.0;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        Self(mix(hash))
    }

    /// The place below this one with a number.
    pub(crate) fn index(self, index: u64) -> Self {
        Self(mix(self.0 ^ index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// The number here.
    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    /// A number below `until`; 0 if that is 0. The bias of the remainder does not matter here.
    pub(crate) fn below(self, until: u64) -> u64 {
        self.0.checked_rem(until).unwrap_or(0)
    }

    /// A number in `from..=to`.
    pub(crate) fn between(self, from: u64, to: u64) -> u64 {
        from.saturating_add(self.below(to.saturating_sub(from).saturating_add(1)))
    }

    pub(crate) fn one_of<T: Copy>(self, list: &[T]) -> Option<T> {
        let length = u64::try_from(list.len()).unwrap_or(u64::MAX);
        list.get(usize::try_from(self.below(length)).unwrap_or(0)).copied()
    }

    pub(crate) fn text(self, list: &[&'static str]) -> &'static str {
        self.one_of(list).unwrap_or_default()
    }
}

/// SplitMix64's finalizer (Steele et al. 2014).
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_differ_and_repeat() {
        let key = Key::new(1);
        assert_eq!(key.at("a").at("b"), Key::new(1).at("a").at("b"));
        let mut seen = std::collections::HashSet::new();
        for index in 0..1_000 {
            assert!(seen.insert(key.at("records").index(index)));
            assert!(seen.insert(key.at(&format!("record{index}"))));
        }
        assert_ne!(Key::new(1).at("a"), Key::new(2).at("a"));
        assert_eq!(key.below(0), 0);
        assert_eq!(key.between(5, 5), 5);
    }
}

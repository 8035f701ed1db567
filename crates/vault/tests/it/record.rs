//! A sealed record opens in its place, unchanged, or not at all.

use crate::secret;
use proptest::prelude::*;
use std::sync::LazyLock;
use types::{Customer, Id, SystemRandom};
use vault::{
    CustomerKey, HeadRow, Keyring, MAX_RECORD_BYTES, RecordContext, RootKey, VaultError, head,
};

/// Keys of two customers in each of two generations.
static KEYS: LazyLock<[CustomerKey; 4]> = LazyLock::new(|| {
    let root = RootKey::generate(&SystemRandom).unwrap();
    let (keyring, _) = Keyring::create(&root, &SystemRandom).unwrap();
    let key = |keyring: &Keyring, id| {
        keyring.create_customer_key(Id::from_u128(id), &SystemRandom).unwrap().0
    };
    let old = [key(&keyring, 1), key(&keyring, 2)];
    let (keyring, _) = keyring.with_new_generation(&root, &SystemRandom).unwrap();
    let [a, b] = old;
    [a, b, key(&keyring, 1), key(&keyring, 2)]
});

#[derive(Clone, Debug, PartialEq)]
struct Place {
    table: String,
    record: Vec<u8>,
    column: String,
    key: usize,
    version: u64,
}

impl Place {
    fn context(&self) -> RecordContext<'_> {
        RecordContext {
            table: &self.table,
            record: &self.record,
            column: &self.column,
            customer: self.key().customer(),
            version: self.version,
            generation: self.key().generation(),
        }
    }

    fn key(&self) -> &'static CustomerKey {
        &KEYS[self.key]
    }
}

/// Few and short values, so that two places often differ in one part only.
fn place() -> impl Strategy<Value = Place> {
    ("[ab]{0,2}", proptest::collection::vec(0..2_u8, 0..3), "[ab]{0,2}", 0..4_usize, 0..3_u64)
        .prop_map(|(table, record, column, key, version)| Place {
            table,
            record,
            column,
            key,
            version,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_record_opens_in_its_own_place_only(
        own in place(),
        other in place(),
        plain in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let sealed = vault::seal(own.key(), &own.context(), &secret(&plain)).unwrap();
        let opened = vault::open(own.key(), &own.context(), &sealed).unwrap();
        prop_assert_eq!(opened.expose(), &plain);
        let elsewhere = vault::open(other.key(), &other.context(), &sealed);
        prop_assert_eq!(elsewhere.is_ok(), own == other);
        // The key of one place does not even try the context of another customer or generation.
        let crossed = vault::open(other.key(), &own.context(), &sealed);
        if own.key != other.key {
            prop_assert_eq!(crossed.unwrap_err(), VaultError::OtherKey);
        }
    }

    #[test]
    fn a_flipped_bit_is_refused(
        place in place(),
        plain in proptest::collection::vec(any::<u8>(), 0..80),
        at: proptest::sample::Index,
        bit in 0..8_u8,
    ) {
        let mut sealed = vault::seal(place.key(), &place.context(), &secret(&plain)).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        let refused = vault::open(place.key(), &place.context(), &sealed).unwrap_err();
        let expected = match at {
            0 => VaultError::FormatUnknown { format: sealed[0] },
            _ => VaultError::NotAuthentic,
        };
        prop_assert_eq!(refused, expected);
    }

    #[test]
    fn a_cut_or_longer_record_is_refused(
        place in place(),
        plain in proptest::collection::vec(any::<u8>(), 0..80),
        keep: proptest::sample::Index,
        tail in proptest::collection::vec(any::<u8>(), 1..20),
    ) {
        let sealed = vault::seal(place.key(), &place.context(), &secret(&plain)).unwrap();
        let cut = &sealed[..keep.index(sealed.len())];
        prop_assert!(vault::open(place.key(), &place.context(), cut).is_err());
        let longer = [sealed.clone(), tail].concat();
        prop_assert!(vault::open(place.key(), &place.context(), &longer).is_err());
    }

    /// The halves of two records do not make a third.
    #[test]
    fn spliced_records_are_refused(
        place in place(),
        a in proptest::collection::vec(any::<u8>(), 40),
        b in proptest::collection::vec(any::<u8>(), 40),
        at in 1..70_usize,
    ) {
        let seal = |plain| vault::seal(place.key(), &place.context(), &secret(plain)).unwrap();
        let (a, b) = (seal(&a), seal(&b));
        let spliced = [&a[..at], &b[at..]].concat();
        if spliced != a && spliced != b {
            prop_assert!(vault::open(place.key(), &place.context(), &spliced).is_err());
        }
    }

    /// An old row put back under its old number opens, but the head tells.
    #[test]
    fn the_head_tells_an_old_row_put_back(
        rows in proptest::collection::vec((any::<[u8; 16]>(), 1..9_u64, any::<[u8; 8]>()), 1..12),
        which: proptest::sample::Index,
        older in any::<[u8; 8]>(),
        seed: u64,
    ) {
        let of = |rows: &[([u8; 16], u64, [u8; 8])]| {
            head(rows.iter().map(|(record, version, sealed)| HeadRow::of(*record, *version, sealed)))
        };
        let before = of(&rows);
        let mut shuffled = rows.clone();
        let turns = usize::try_from(seed % 97).unwrap() % rows.len();
        shuffled.rotate_left(turns);
        shuffled.reverse();
        prop_assert_eq!(of(&shuffled), before);
        let which = which.index(rows.len());
        let mut put_back = rows.clone();
        put_back[which].1 -= 1;
        put_back[which].2 = older;
        prop_assert_ne!(of(&put_back).root, before.root);
        prop_assert_eq!(of(&put_back).count, before.count);
    }
}

#[test]
fn an_older_version_under_the_new_number_is_refused() {
    let key = &KEYS[0];
    let customer: Id<Customer> = key.customer();
    let at = |version| RecordContext {
        table: "connection",
        record: b"row",
        column: "credential",
        customer,
        version,
        generation: key.generation(),
    };
    let first = vault::seal(key, &at(1), &secret("old")).unwrap();
    let second = vault::seal(key, &at(2), &secret("new")).unwrap();
    assert_eq!(vault::open(key, &at(2), &second).unwrap().expose(), b"new");
    assert_eq!(vault::open(key, &at(2), &first).unwrap_err(), VaultError::NotAuthentic);
}

#[test]
fn a_record_has_a_largest_size() {
    let place = Place { table: "t".into(), record: vec![], column: "c".into(), key: 0, version: 1 };
    let (key, context) = (place.key(), place.context());
    let whole = vault::seal(key, &context, &secret(vec![7; MAX_RECORD_BYTES])).unwrap();
    assert_eq!(vault::open(key, &context, &whole).unwrap().expose().len(), MAX_RECORD_BYTES);
    let refused = vault::seal(key, &context, &secret(vec![7; MAX_RECORD_BYTES + 1])).unwrap_err();
    let (bytes, limit) = (MAX_RECORD_BYTES + 1, MAX_RECORD_BYTES);
    assert_eq!(refused, VaultError::TooLong { bytes, limit });
}

/// Equal values sealed again share nothing that shows they are equal.
#[test]
fn a_value_sealed_twice_looks_different() {
    let place = Place { table: "t".into(), record: vec![], column: "c".into(), key: 0, version: 1 };
    let seal = || vault::seal(place.key(), &place.context(), &secret([0; 64])).unwrap();
    let (a, b) = (seal(), seal());
    // Past the format byte no run of eight bytes is common.
    assert!(a[1..].windows(8).all(|run| !b[1..].windows(8).any(|other| run == other)));
}

//! Generations under the root key, customer keys under a generation.

use crate::secret;
use std::os::unix::fs::PermissionsExt as _;
use types::{Customer, Id, SeededRandom, SystemRandom};
use vault::{Keyring, RecordContext, RootKey, VaultError, WrappedCustomerKey, WrappedGeneration};

fn context(customer: Id<Customer>, generation: u32) -> RecordContext<'static> {
    let record = b"one";
    RecordContext { table: "t", record, column: "c", customer, version: 1, generation }
}

#[test]
fn a_vault_opens_after_a_restart_with_its_root_key_only() {
    let root = RootKey::generate(&SystemRandom).unwrap();
    let (keyring, first) = Keyring::create(&root, &SystemRandom).unwrap();
    assert_eq!((first.number, keyring.current_generation()), (1, 1));
    let customer = Id::from_u128(7);
    let (key, old) = keyring.create_customer_key(customer, &SystemRandom).unwrap();
    let sealed = vault::seal(&key, &context(customer, 1), &secret("hello")).unwrap();
    let (keyring, second) = keyring.with_new_generation(&root, &SystemRandom).unwrap();
    assert_eq!(second.number, 2);
    let (_, new) = keyring.create_customer_key(Id::from_u128(8), &SystemRandom).unwrap();
    assert_eq!((old.generation, new.generation), (1, 2));

    let again = Keyring::open(&root, [&second, &first]).unwrap();
    assert_eq!(again.current_generation(), 2);
    let key = again.open_customer_key(customer, &old).unwrap();
    assert_eq!(vault::open(&key, &context(customer, 1), &sealed).unwrap().expose(), b"hello");
    assert_eq!((key.customer(), key.generation()), (customer, 1));

    let other = RootKey::generate(&SystemRandom).unwrap();
    let refused = Keyring::open(&other, [&first]).unwrap_err();
    assert_eq!(refused, VaultError::WrongRootKey { generation: 1 });
}

#[test]
fn keys_do_not_depend_on_how_often_they_were_made_before() {
    // A repeated sequence gives the same customer key, and still no two equal sealed values.
    let root = RootKey::generate(&SeededRandom::new(1)).unwrap();
    let (first, wrapped) = Keyring::create(&root, &SeededRandom::new(2)).unwrap();
    let (second, again) = Keyring::create(&root, &SeededRandom::new(2)).unwrap();
    assert_ne!(wrapped.blob, again.blob);
    let (a, _) = first.create_customer_key(Id::from_u128(1), &SeededRandom::new(3)).unwrap();
    let (b, _) = second.create_customer_key(Id::from_u128(1), &SeededRandom::new(3)).unwrap();
    let context = context(Id::from_u128(1), 1);
    let (one, two) =
        (vault::seal(&a, &context, &secret("x")), vault::seal(&b, &context, &secret("x")));
    assert_ne!(one.unwrap(), two.clone().unwrap());
    assert_eq!(vault::open(&a, &context, &two.unwrap()).unwrap().expose(), b"x");
}

#[test]
fn rows_of_generations_that_do_not_fit_are_refused() {
    let root = RootKey::generate(&SystemRandom).unwrap();
    let (keyring, first) = Keyring::create(&root, &SystemRandom).unwrap();
    let (_, second) = keyring.with_new_generation(&root, &SystemRandom).unwrap();
    let refused =
        |rows: &[&WrappedGeneration]| Keyring::open(&root, rows.iter().copied()).unwrap_err();
    assert_eq!(refused(&[]), VaultError::NoGeneration);
    assert_eq!(refused(&[&first, &first]), VaultError::GenerationTwice { generation: 1 });
    // A row put in another's place.
    let moved = WrappedGeneration { number: 2, blob: first.blob.clone() };
    assert_eq!(refused(&[&first, &moved]), VaultError::GenerationDamaged { generation: 2 });
    let cut = WrappedGeneration { number: 1, blob: first.blob[..7].to_vec() };
    assert_eq!(refused(&[&cut]), VaultError::GenerationDamaged { generation: 1 });
    for place in 0..second.blob.len() {
        let mut damaged = second.clone();
        damaged.blob[place] ^= 0x10;
        assert_eq!(refused(&[&first, &damaged]), VaultError::GenerationDamaged { generation: 2 });
    }
}

#[test]
fn a_customer_key_opens_for_its_customer_and_generation_only() {
    let root = RootKey::generate(&SystemRandom).unwrap();
    let (keyring, _) = Keyring::create(&root, &SystemRandom).unwrap();
    let (keyring, _) = keyring.with_new_generation(&root, &SystemRandom).unwrap();
    let customer = Id::from_u128(1);
    let (_, wrapped) = keyring.create_customer_key(customer, &SystemRandom).unwrap();
    let other = Id::from_u128(2);
    let refused = keyring.open_customer_key(other, &wrapped).unwrap_err();
    assert_eq!(refused, VaultError::CustomerKeyRefused { customer: other });
    let refused = VaultError::CustomerKeyRefused { customer };
    let blob = wrapped.blob.clone();
    let older = WrappedCustomerKey { generation: 1, blob };
    assert_eq!(keyring.open_customer_key(customer, &older).unwrap_err(), refused);
    let gone = WrappedCustomerKey { generation: 3, blob: wrapped.blob.clone() };
    let missing = VaultError::GenerationUnknown { generation: 3 };
    assert_eq!(keyring.open_customer_key(customer, &gone).unwrap_err(), missing);
    for place in 0..wrapped.blob.len() {
        let mut damaged = wrapped.clone();
        damaged.blob[place] ^= 1;
        assert!(keyring.open_customer_key(customer, &damaged).is_err(), "byte {place}");
        let mut cut = wrapped.clone();
        cut.blob.truncate(place);
        assert!(keyring.open_customer_key(customer, &cut).is_err(), "cut at {place}");
    }
}

/// A wrapped key is no record, and a record is no wrapped key: their domains are apart.
#[test]
fn a_record_does_not_open_as_a_key() {
    let root = RootKey::generate(&SystemRandom).unwrap();
    let (keyring, _) = Keyring::create(&root, &SystemRandom).unwrap();
    let customer = Id::from_u128(1);
    let (key, wrapped) = keyring.create_customer_key(customer, &SystemRandom).unwrap();
    let sealed = vault::seal(&key, &context(customer, 1), &secret([5; 32])).unwrap();
    let as_key = WrappedCustomerKey { generation: 1, blob: sealed };
    assert!(keyring.open_customer_key(customer, &as_key).is_err());
    let as_record = vault::open(&key, &context(customer, 1), &wrapped.blob);
    assert_eq!(as_record.unwrap_err(), VaultError::NotAuthentic);
}

#[test]
fn nothing_of_a_key_is_printed() {
    let root = RootKey::generate(&SystemRandom).unwrap();
    let (keyring, _) = Keyring::create(&root, &SystemRandom).unwrap();
    let (key, _) = keyring.create_customer_key(Id::from_u128(1), &SystemRandom).unwrap();
    assert_eq!(format!("{root:?}"), "RootKey(hidden)");
    assert!(format!("{keyring:?}").contains("Key(hidden)"));
    assert!(format!("{key:?}").contains("Key(hidden)"));
}

/// A stored vault must open with every later release: these were made, in the format that the
/// code describes, with another implementation of HKDF and AES-GCM.
#[test]
fn what_the_first_release_sealed_opens() {
    let generation = concat!(
        "e1760f1655f3791dbe946a5e625f94a5688a793abf01310a0f4941e8fd766da00100010203040506",
        "0708090a0b0c0d0e0f10111213141516174b2f8b8d23bad2c34018ad81135ceaa7dc3e5d097ee057",
        "c6f1884a0cbd938cd41317a5afe1ae7d2a1708a72816655606c25854da65be05ad",
    );
    let customer_key = concat!(
        "016465666768696a6b6c6d6e6f707172737475767778797a7bc4676ef848406158d28f1b97a81ba8",
        "3883f59e90a17ec2350592ccaa4d8b16e241b7e6eb5a63e1e0227e7d4196b9c823",
    );
    let record = concat!(
        "01c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf709cc2527b8675c01997bc005111b1",
        "4a0733d42134f6c65eb67695",
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    let root: Vec<_> = (0..32).map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&path, root.concat()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let root = RootKey::load(&path).unwrap();
    let generation = WrappedGeneration { number: 1, blob: bytes(generation) };
    let keyring = Keyring::open(&root, [&generation]).unwrap();
    let customer = Id::from_u128(7);
    let wrapped = WrappedCustomerKey { generation: 1, blob: bytes(customer_key) };
    let key = keyring.open_customer_key(customer, &wrapped).unwrap();
    let context = RecordContext {
        table: "connection",
        record: b"row",
        column: "credential",
        customer,
        version: 3,
        generation: 1,
    };
    let opened = vault::open(&key, &context, &bytes(record)).unwrap();
    assert_eq!(opened.expose(), b"open sesame");
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn another_root_key_wraps_the_same_generations() {
    let (former, root) =
        (RootKey::generate(&SystemRandom).unwrap(), RootKey::generate(&SystemRandom).unwrap());
    assert_ne!(former.name().unwrap(), root.name().unwrap());
    let (keyring, first) = Keyring::create(&former, &SystemRandom).unwrap();
    let (keyring, second) = keyring.with_new_generation(&former, &SystemRandom).unwrap();
    let (_, wrapped) = keyring.create_customer_key(Id::from_u128(1), &SystemRandom).unwrap();
    let rows = keyring.rewrap(&root).unwrap();
    assert_eq!(rows.len(), 2);
    let opened = Keyring::open(&root, &rows).unwrap();
    assert!(opened.open_customer_key(Id::from_u128(1), &wrapped).is_ok());
    assert_eq!(
        Keyring::open(&former, &rows).unwrap_err(),
        VaultError::WrongRootKey { generation: 1 }
    );
    // What is open stays open, whichever key wraps it by now; only a new one asks for the root key.
    let followed = opened.follow(&former, [&first, &second]).unwrap();
    assert!(followed.open_customer_key(Id::from_u128(1), &wrapped).is_ok());
    let (_, third) = opened.with_new_generation(&root, &SystemRandom).unwrap();
    let all = [&rows[0], &rows[1], &third];
    assert_eq!(
        followed.follow(&former, all).unwrap_err(),
        VaultError::WrongRootKey { generation: 3 }
    );
    assert_eq!(followed.follow(&root, all).unwrap().current_generation(), 3);
    // A generation that is gone opens nothing any more.
    let left = followed.follow(&root, [&third]).unwrap();
    assert_eq!(left.numbers().collect::<Vec<_>>(), [3]);
    assert!(left.open_customer_key(Id::from_u128(1), &wrapped).is_err());
}

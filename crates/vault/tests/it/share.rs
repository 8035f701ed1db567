//! Root keys in shares.

use proptest::prelude::*;
use types::{Id, SecretText, SystemRandom};
use vault::{MAX_SHARES, RootKey, Share, ShareError, combine, split};

fn root() -> RootKey {
    RootKey::generate(&SystemRandom).unwrap()
}

fn read(lines: &[String]) -> Result<Vec<Share>, ShareError> {
    let lines = lines.iter().enumerate();
    lines.map(|(place, line)| Share::parse(&SecretText::new(line.clone()), place + 1)).collect()
}

fn lines(shares: &[Share]) -> Vec<String> {
    shares.iter().map(|share| share.to_line().expose().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whichever are taken, in whatever order: enough of them yield the key, and fewer do not.
    #[test]
    fn any_of_them_that_are_enough_yield_the_key(
        (count, threshold) in (2_u8..=9).prop_flat_map(|count| (Just(count), 2..=count)),
        order in any::<u64>(),
    ) {
        let root = root();
        let mut made = lines(&split(&root, Id::from_u128(1), threshold, count).unwrap());
        prop_assert_eq!(made.len(), usize::from(count));
        let mut order = order;
        for place in (1..made.len()).rev() {
            made.swap(place, usize::try_from(order % (place as u64 + 1)).unwrap());
            order = order.rotate_left(7);
        }
        made.truncate(threshold.into());
        let found = combine(&read(&made).unwrap()).unwrap();
        prop_assert_eq!(found.name().unwrap(), root.name().unwrap());
        made.pop();
        let refused = combine(&read(&made).unwrap());
        let given = usize::from(threshold) - 1;
        prop_assert_eq!(
            refused.err(),
            Some(if given == 0 { ShareError::None } else { ShareError::TooFew { threshold, given } })
        );
    }
}

#[test]
fn every_changed_character_of_a_share_is_found() {
    let made = lines(&split(&root(), Id::from_u128(1), 2, 3).unwrap());
    let line = made[0].trim_end();
    for place in 0..line.len() {
        let mut other = line.as_bytes().to_vec();
        other[place] ^= 1;
        let Ok(other) = String::from_utf8(other) else { continue };
        let error = read(&[made[1].clone(), other]).unwrap_err();
        assert!(
            matches!(error, ShareError::Damaged { place: 2 } | ShareError::NotOne { place: 2 }),
            "{place}: {error:?}"
        );
    }
    for cut in 1..line.len() {
        assert!(read(&[line[..cut].to_owned()]).is_err(), "{cut}");
    }
    // Spaces at the end are no part of it.
    assert!(read(&[format!("{line}\r\n")]).is_ok());
}

#[test]
fn shares_that_do_not_belong_together_are_told_apart() {
    let (root, other) = (root(), root());
    let of = |root: &RootKey, id, threshold| {
        lines(&split(root, Id::from_u128(id), threshold, 3).unwrap())
    };
    let ours = of(&root, 1, 2);
    let error =
        |one: &str, two: &str| combine(&read(&[one.into(), two.into()]).unwrap()).unwrap_err();
    assert!(matches!(
        error(&ours[0], &of(&root, 2, 2)[1]),
        ShareError::OtherInstallation { index: 2, .. }
    ));
    assert!(matches!(error(&ours[0], &of(&other, 1, 2)[1]), ShareError::OtherKey { index: 2, .. }));
    assert!(matches!(
        error(&ours[0], &of(&root, 1, 3)[1]),
        ShareError::OtherThreshold { index: 2, is: 3, wanted: 2 }
    ));
    assert_eq!(error(&ours[1], &ours[1]), ShareError::Twice { index: 2 });
    assert_eq!(combine(&[]).unwrap_err(), ShareError::None);
    // Of two splits of one key: everything fits but the values.
    let again = of(&root, 1, 2);
    assert!(matches!(error(&ours[0], &again[1]), ShareError::Foreign { .. }));
    let text = error(&ours[0], &again[1]).to_string();
    assert!(text.contains(&root.name().unwrap()), "{text}");
}

#[test]
fn counts_that_make_no_sense_are_refused() {
    let root = root();
    for (threshold, shares) in [(0, 3), (1, 3), (4, 3), (2, MAX_SHARES + 1), (2, 1)] {
        let refused = split(&root, Id::from_u128(1), threshold, shares).unwrap_err();
        assert_eq!(refused, ShareError::Counts { threshold, shares });
    }
    assert_eq!(split(&root, Id::from_u128(1), MAX_SHARES, MAX_SHARES).unwrap().len(), 32);
}

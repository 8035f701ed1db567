//! One digest over everything in the vault, and one over the seals of all rows of the store, to be
//! bound into the audit log's checkpoints.

use aws_lc_rs::digest;

/// One sealed row as the head sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadRow {
    pub record: [u8; 16],
    pub version: u64,
    /// SHA-256 of the sealed bytes.
    pub digest: [u8; 32],
}

impl HeadRow {
    pub fn of(record: [u8; 16], version: u64, sealed: &[u8]) -> Self {
        Self { record, version, digest: bytes(digest::digest(&digest::SHA256, sealed)) }
    }
}

/// The state of the vault. A row put back to an earlier version, added or removed changes `root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultHead {
    pub count: u64,
    pub root: [u8; 32],
}

/// The head over all rows, in whatever order they come.
pub fn head(rows: impl IntoIterator<Item = HeadRow>) -> VaultHead {
    let mut rows: Vec<HeadRow> = rows.into_iter().collect();
    rows.sort_unstable();
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"weirgate vault head 1");
    let mut count: u64 = 0;
    for row in rows {
        context.update(&row.record);
        context.update(&row.version.to_be_bytes());
        context.update(&row.digest);
        count += 1;
    }
    VaultHead { count, root: bytes(context.finish()) }
}

/// The head over the seals of all rows: kind, id and [`crate::KeyPepper::row_seal`] of each, in
/// ascending order. A row that was added, removed or put back together with its seal changes `root`.
pub fn seals_head<'a>(
    seals: impl IntoIterator<Item = (&'a str, &'a str, &'a [u8; 32])>,
) -> VaultHead {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"weirgate state head 1");
    let mut count: u64 = 0;
    for (kind, id, seal) in seals {
        for text in [kind, id] {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        context.update(seal);
        count += 1;
    }
    VaultHead { count, root: bytes(context.finish()) }
}

fn bytes(digest: digest::Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_head_changes_with_every_seal_and_every_name() {
        let seals = [("client", "a", [1; 32]), ("client", "b", [2; 32]), ("key", "a", [3; 32])];
        let of = |seals: &[(&str, &str, [u8; 32])]| {
            seals_head(seals.iter().map(|(kind, id, seal)| (*kind, *id, seal)))
        };
        let whole = of(&seals);
        assert_eq!(whole.count, 3);
        for place in 0..seals.len() {
            let mut other = seals;
            other[place].2[0] ^= 1;
            assert_ne!(of(&other).root, whole.root);
            let mut other = seals;
            other[place].1 = "c";
            assert_ne!(of(&other).root, whole.root);
            let mut fewer = seals.to_vec();
            fewer.remove(place);
            assert_ne!(of(&fewer).root, whole.root);
        }
        assert_ne!(of(&[("clienta", "", [1; 32])]).root, of(&[("client", "a", [1; 32])]).root);
    }

    #[test]
    fn head_changes_with_every_row_and_not_with_their_order() {
        let rows: Vec<_> = (0..20).map(|n| HeadRow::of([n; 16], u64::from(n), &[n; 40])).collect();
        let whole = head(rows.iter().copied());
        assert_eq!(whole.count, 20);
        assert_eq!(head(rows.iter().rev().copied()), whole);
        for place in 0..rows.len() {
            let mut fewer = rows.clone();
            fewer.remove(place);
            assert_ne!(head(fewer).root, whole.root);
            let mut older = rows.clone();
            older[place].version += 1;
            assert_ne!(head(older).root, whole.root);
            let mut other = rows.clone();
            other[place].digest[31] ^= 1;
            assert_ne!(head(other).root, whole.root);
        }
    }
}

//! That a log only grew between two of its sizes: the proof of RFC 6962 §2.1.2, made and checked.

use crate::{
    files::Paths,
    note::Checkpoint,
    proof::{ProofError, Reader},
    tree::{Hash, node_hash},
};
use std::path::Path;

/// Between trees of less than 2^64 leaves none is longer (c2sp.org/tlog-witness).
pub(crate) const MAX_CONSISTENCY: usize = 63;

/// Shows that the first `old` entries of the log's first `size` are the same; empty where one of them
/// is all of the other. It may run beside the writer.
///
/// # Errors
/// [`ProofError::NotCovered`] if `old` is more than `size`.
pub fn consistency(dir: &Path, old: u64, size: u64) -> Result<Vec<Hash>, ProofError> {
    if old > size {
        return Err(ProofError::NotCovered { index: old, size });
    }
    let mut out = Vec::new();
    if old > 0 && old < size {
        subproof(&Reader::new(Paths::new(dir))?, old, 0..size, true, &mut out)?;
    }
    Ok(out)
}

/// Whether the log in this folder is, at one checkpoint, what it was at an older one and more.
pub fn extends(dir: &Path, old: &Checkpoint, new: &Checkpoint) -> Result<bool, ProofError> {
    if old.size > new.size {
        return Ok(false);
    }
    let proof = consistency(dir, old.size, new.size)?;
    Ok(is_extension((old.size, &old.root), (new.size, &new.root), &proof))
}

/// SUBPROOF of RFC 6962 §2.1.2 over the entries of a range, of which the first `old` are shown.
fn subproof(
    reader: &Reader,
    old: u64,
    range: std::ops::Range<u64>,
    is_known: bool,
    out: &mut Vec<Hash>,
) -> Result<(), ProofError> {
    let (begin, end) = (range.start, range.end);
    let count = end - begin;
    if old == count {
        if !is_known {
            out.push(reader.root(begin, end)?);
        }
        return Ok(());
    }
    let left = 1 << (count - 1).ilog2();
    if old <= left {
        subproof(reader, old, begin..begin + left, is_known, out)?;
        out.push(reader.root(begin + left, end)?);
    } else {
        subproof(reader, old - left, begin + left..end, false, out)?;
        out.push(reader.root(begin, begin + left)?);
    }
    Ok(())
}

/// Whether a tree of this size and root is what a smaller one grew into: RFC 9162 §2.1.4.2.
pub(crate) fn is_extension(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (size, root)) = (old, new);
    if old_size == size {
        return proof.is_empty() && old_root == root;
    }
    if old_size == 0 || old_size > size {
        return proof.is_empty() && old_size == 0;
    }
    let (mut place, mut last) = (old_size - 1, size - 1);
    while place % 2 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let mut rest = proof.iter();
    // A tree that is complete by itself is its own first hash.
    let first = if old_size.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut old_hash, mut hash) = (*first, *first);
    for other in rest {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            old_hash = node_hash(other, &old_hash);
            hash = node_hash(other, &hash);
            while place % 2 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, other);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && hash == *root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{CompactRange, leaf_hash};
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    /// Another implementation's proofs hold here, for their sizes and for no others.
    #[test]
    fn proofs_of_another_implementation_hold_and_no_others() {
        const MOST: usize = 40;
        let mut theirs: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
        let mut ours = CompactRange::default();
        let mut roots = vec![ours.root()];
        for number in 0..MOST {
            let entry = number.to_be_bytes().to_vec();
            ours.push(0, leaf_hash(&entry));
            theirs.push(entry);
            roots.push(ours.root());
            let size = number + 1;
            for old in 1..size {
                let proof = theirs.prove_consistency(size - old);
                let proof: Vec<Hash> =
                    proof.as_bytes().chunks(32).map(|hash| hash.try_into().unwrap()).collect();
                let holds = |old: usize, old_root: &Hash, root: &Hash, proof: &[Hash]| {
                    is_extension((old as u64, old_root), (size as u64, root), proof)
                };
                assert!(holds(old, &roots[old], &roots[size], &proof), "{old} of {size}");
                assert!(!holds(old, &roots[old - 1], &roots[size], &proof), "{old} of {size}");
                assert!(!holds(old, &roots[old], &roots[old], &proof), "{old} of {size}");
                assert!(!holds(old, &roots[old], &roots[size], &proof[1..]), "{old} of {size}");
                let longer = [&proof[..], &[[7; 32]]].concat();
                assert!(!holds(old, &roots[old], &roots[size], &longer), "{old} of {size}");
                for other in 1..size {
                    if other != old {
                        assert!(!holds(other, &roots[old], &roots[size], &proof));
                    }
                }
            }
        }
    }

    #[test]
    fn the_ends_need_no_proof() {
        let (one, other) = ([1; 32], [2; 32]);
        assert!(is_extension((0, &one), (5, &other), &[]));
        assert!(!is_extension((0, &one), (5, &other), &[one]));
        assert!(is_extension((5, &one), (5, &one), &[]));
        assert!(!is_extension((5, &one), (5, &other), &[]));
        assert!(!is_extension((6, &one), (5, &one), &[]));
        assert!(!is_extension((3, &one), (5, &other), &[]));
    }
}

//! The Merkle tree of RFC 6962 §2.1, as it grows.

use crate::{commitment::to_array, files::TILE};
use aws_lc_rs::digest;

/// A hash of the tree (SHA-256).
pub type Hash = [u8; 32];

pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(entry);
    to_array(context.finish())
}

pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[1]);
    context.update(left);
    context.update(right);
    to_array(context.finish())
}

/// The roots of the complete subtrees that a tree of `size` leaves consists of, largest first:
/// enough to append and to compute the root, in logarithmic memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct CompactRange {
    size: u64,
    /// Height and root.
    stack: Vec<(u32, Hash)>,
}

impl CompactRange {
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a complete subtree of `2^height` leaves. The size must be a multiple of that.
    pub(crate) fn push(&mut self, height: u32, hash: Hash) {
        self.size += 1 << height;
        let mut top = (height, hash);
        while let Some((left_height, left)) = self.stack.last()
            && *left_height == top.0
        {
            top = (left_height + 1, node_hash(left, &top.1));
            self.stack.pop();
        }
        self.stack.push(top);
    }

    pub(crate) fn root(&self) -> Hash {
        let mut parts = self.stack.iter().rev();
        let Some((_, last)) = parts.next() else {
            return to_array(digest::digest(&digest::SHA256, b""));
        };
        parts.fold(*last, |right, (_, left)| node_hash(left, &right))
    }
}

/// The root of a complete tile: 256 hashes of one level.
pub(crate) fn tile_root(hashes: &[Hash]) -> Hash {
    let mut range = CompactRange::default();
    for hash in hashes {
        range.push(0, *hash);
    }
    range.root()
}

/// The roots of full tiles that do not fill a tile of the level above yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    /// Level 1 first; each shorter than a tile.
    waiting: Vec<Vec<Hash>>,
}

impl Levels {
    pub(crate) const fn new(waiting: Vec<Vec<Hash>>) -> Self {
        Self { waiting }
    }

    /// Takes the root of the last of `tiles` full tiles of level 0. Each tile of a level above that
    /// it fills is handed to `full` with its level and number.
    pub(crate) fn push<E>(
        &mut self,
        root: Hash,
        tiles: u64,
        mut full: impl FnMut(u32, u64, &[Hash]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut root = root;
        let mut count = tiles;
        for level in 1_u32.. {
            if self.waiting.len() < level as usize {
                self.waiting.push(Vec::new());
            }
            let Some(hashes) = self.waiting.get_mut(level as usize - 1) else { break };
            hashes.push(root);
            if (hashes.len() as u64) < TILE {
                break;
            }
            let hashes = std::mem::take(hashes);
            count /= TILE;
            full(level, count - 1, &hashes)?;
            root = tile_root(&hashes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    /// Another implementation agrees at every size.
    #[test]
    fn roots_are_those_of_rfc_6962() {
        let mut theirs: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
        let mut ours = CompactRange::default();
        for number in 0..700_u32 {
            assert_eq!(ours.root().as_slice(), theirs.root().as_bytes().as_slice(), "{number}");
            let entry = number.to_be_bytes().to_vec();
            ours.push(0, leaf_hash(&entry));
            theirs.push(entry);
        }
    }

    #[test]
    fn whole_tiles_append_as_their_leaves_do() {
        let hashes: Vec<Hash> = (0..600_u32).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut single = CompactRange::default();
        for hash in &hashes {
            single.push(0, *hash);
        }
        let mut tiled = CompactRange::default();
        for tile in hashes.chunks(256) {
            if tile.len() == 256 {
                tiled.push(8, tile_root(tile));
            } else {
                for hash in tile {
                    tiled.push(0, *hash);
                }
            }
        }
        assert_eq!(tiled.root(), single.root());
        assert_eq!(tiled.size(), 600);
    }
}

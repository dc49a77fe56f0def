//! The Merkle tree over the records (RFC 6962), kept as its right edge: on every level the hashes
//! that do not fill a tile yet.
//!
//! Pure: does no I/O. A tile has 256 hashes of one level (C2SP tlog-tiles); a full tile's hash is
//! one hash of the level above.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Hashes in a full tile.
pub(crate) const WIDTH: usize = 256;

/// SHA-256.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The root of an empty tree.
    pub fn of_nothing() -> Self {
        digest_of(&[])
    }

    /// The hash of two children.
    pub fn node(left: Self, right: Self) -> Self {
        let mut bytes = [1; 65];
        let (_, both) = bytes.split_at_mut(1);
        for (to, from) in both.chunks_exact_mut(32).zip([left, right]) {
            to.copy_from_slice(&from.0);
        }
        digest_of(&bytes)
    }

    /// Parses base64, as in checkpoints and proofs.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(STANDARD.decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn digest_of(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Hash(hash)
}

/// A record behind the zero byte that makes it a leaf, in one buffer, so that hashing copies
/// nothing.
#[derive(Debug)]
pub struct Leaf(Vec<u8>);

impl Default for Leaf {
    /// An empty buffer, reusable for many records.
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Leaf {
    /// The buffer; records are appended.
    pub const fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub fn clear(&mut self) {
        self.0.truncate(1);
    }

    pub fn record(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    pub fn hash(&self) -> Hash {
        digest_of(&self.0)
    }

    /// The hash of one record.
    pub fn hash_of(record: &[u8]) -> Hash {
        digest_of(&[&[0], record].concat())
    }
}

/// The right edge of a growing tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// By level, fewer than [`WIDTH`] hashes each.
    edge: Vec<Vec<Hash>>,
}

/// A tile that a record has filled.
#[derive(Clone, Copy, Debug)]
pub struct FullTile<'t> {
    /// Level 0 has the records' own hashes.
    pub level: u8,
    /// Its number within the level.
    pub index: u64,
    /// [`WIDTH`] hashes.
    pub hashes: &'t [Hash],
}

impl Tree {
    /// Resumes a stored tree from the hashes of each level's last, partial tile. `None` if their
    /// number does not fit the size.
    pub fn resumed(size: u64, edge: Vec<Vec<Hash>>) -> Option<Self> {
        let wanted = edge_widths(size);
        let is_whole = edge.len() == wanted.len() && edge.iter().zip(&wanted).all(|(have, want)| have.len() == *want);
        is_whole.then_some(Self { size, edge })
    }

    /// The number of records.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of each level's partial tile, lowest level first.
    pub fn edge(&self) -> &[Vec<Hash>] {
        &self.edge
    }

    /// Adds a record's hash. `filled` gets each tile that this completes, lowest level first.
    pub fn push(&mut self, leaf: Hash, mut filled: impl FnMut(FullTile<'_>)) {
        self.size = self.size.saturating_add(1);
        let mut carried = leaf;
        let mut index = self.size;
        for level in 0..=u8::MAX {
            let place = usize::from(level);
            if self.edge.len() == place {
                self.edge.push(Vec::with_capacity(WIDTH));
            }
            let Some(hashes) = self.edge.get_mut(place) else { break };
            hashes.push(carried);
            if hashes.len() < WIDTH {
                break;
            }
            index >>= 8;
            filled(FullTile { level, index: index.saturating_sub(1), hashes });
            carried = perfect(hashes);
            hashes.clear();
        }
    }

    pub fn root(&self) -> Hash {
        let mut root = None;
        for level in &self.edge {
            let mut rest = level.as_slice();
            while !rest.is_empty() {
                let width = 1_usize << rest.len().trailing_zeros();
                let (before, subtree) = rest.split_at(rest.len().saturating_sub(width));
                let left = perfect(subtree);
                root = Some(root.map_or(left, |right| Hash::node(left, right)));
                rest = before;
            }
        }
        root.unwrap_or_else(Hash::of_nothing)
    }
}

/// How many hashes each level's partial tile has in a tree of that size.
pub(crate) fn edge_widths(size: u64) -> Vec<usize> {
    let mut widths = Vec::new();
    let mut rest = size;
    while rest > 0 {
        widths.push(usize::try_from(rest & 255).unwrap_or(0));
        rest >>= 8;
    }
    widths
}

/// The hash over a power of two of hashes.
pub(crate) fn perfect(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.as_chunks::<2>().0.iter().map(|[left, right]| Hash::node(*left, *right)).collect();
    }
    level.first().copied().unwrap_or_else(Hash::of_nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, section 2.1, literally.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of_nothing(),
            [leaf] => *leaf,
            leaves => {
                let split = leaves.len().next_power_of_two() / 2;
                Hash::node(by_definition(&leaves[..split]), by_definition(&leaves[split..]))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|number| Leaf::hash_of(number.to_string().as_bytes())).collect()
    }

    #[test]
    fn the_root_is_the_definitions() {
        let leaves = leaves(1100);
        let mut tree = Tree::default();
        assert_eq!(tree.root(), by_definition(&[]));
        for (count, leaf) in (1..).zip(&leaves) {
            tree.push(*leaf, |_| {});
            assert_eq!(tree.root(), by_definition(&leaves[..count]), "of {count}");
        }
    }

    #[test]
    fn of_the_empty_tree_and_of_the_empty_record_the_rfc_says_the_hashes() {
        assert_eq!(Hash::of_nothing().to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        // CT's test vectors: the first leaf is the empty record.
        assert_eq!(Leaf::hash_of(b"").to_string(), "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=");
    }

    #[test]
    fn a_full_tile_is_handed_out_once_and_carried_upwards() {
        let leaves = leaves(70_000);
        let (mut tree, mut tiles) = (Tree::default(), Vec::new());
        for leaf in &leaves {
            tree.push(*leaf, |tile| tiles.push((tile.level, tile.index, tile.hashes.to_vec())));
        }
        // The example of tlog-tiles: 273 full tiles of level 0 and one of level 1, and partial ones
        // of width 112, 17 and 1.
        let bottom: Vec<_> = tiles.iter().filter(|(level, ..)| *level == 0).collect();
        assert_eq!(bottom.len(), 273);
        assert!(
            bottom
                .iter()
                .zip(leaves.chunks(256))
                .zip(0..)
                .all(|((tile, leaves), index)| tile.1 == index && tile.2 == leaves)
        );
        assert_eq!(tiles.iter().filter(|(level, ..)| *level == 1).map(|tile| tile.1).collect::<Vec<_>>(), [0]);
        assert_eq!(tree.edge().iter().map(Vec::len).collect::<Vec<_>>(), [112, 17, 1]);
        assert_eq!(edge_widths(70_000), [112, 17, 1]);
        let again = Tree::resumed(70_000, tree.edge().to_vec()).unwrap();
        assert_eq!(again.root(), tree.root());
        assert!(Tree::resumed(70_001, tree.edge().to_vec()).is_none());
    }
}

//! The tree as static files, after C2SP `tlog-tiles`: 256 hashes of one level each, so that any
//! client computes any proof from a few of them.

use super::merkle::Node;
use super::proof::decimal;

/// Hashes of a full tile.
pub const WIDTH: u64 = 256;
/// Levels of the tree from one tile level to the next.
const HEIGHT: u8 = 8;
/// Highest tile level that the specification names; no tree reaches it.
const HIGHEST_LEVEL: u64 = 63;

/// A run of 256 hashes, or the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// 0 for leaves; each hash of level `l` covers `256^l` leaves.
    pub level: u8,
    pub index: u64,
    /// 1 to 256.
    pub width: u64,
}

impl Tile {
    /// Reads the two parts of a tile's address, such as `1` and `x001/x234/067.p/12`; for the
    /// entries themselves, [`Self::parse_entries`].
    pub fn parse(level: &str, path: &str) -> Option<Self> {
        let level = decimal(level).filter(|level| *level <= HIGHEST_LEVEL)?;
        Some(Self { level: u8::try_from(level).ok()?, ..Self::parse_entries(path)? })
    }

    /// Reads the address of a bundle of entries, which is that of a tile without its level.
    pub fn parse_entries(path: &str) -> Option<Self> {
        let (path, width) = match path.split_once(".p/") {
            Some((path, width)) => (path, decimal(width).filter(|width| (1..WIDTH).contains(width))?),
            None => (path, WIDTH),
        };
        let elements: Vec<&str> = path.split('/').collect();
        let (last, leading) = elements.split_last()?;
        let mut index = 0_u64;
        for element in leading {
            index = shifted(index, element.strip_prefix('x')?)?;
        }
        let index = shifted(index, last)?;
        // One tile has one address.
        (path == path_of(index)).then_some(Self { level: 0, index, width })
    }

    /// The two parts of the address, put together.
    pub fn path(&self) -> String {
        let path = path_of(self.index);
        if self.width == WIDTH { path } else { format!("{path}.p/{}", self.width) }
    }

    /// Whether a tree of `size` leaves has every hash of the tile.
    pub fn is_in(&self, size: u64) -> bool {
        let complete = size.checked_shr(u32::from(self.level) * u32::from(HEIGHT)).unwrap_or(0);
        self.index.checked_mul(WIDTH).and_then(|start| start.checked_add(self.width)).is_some_and(|end| end <= complete)
    }

    /// The part of the tile that a tree of `size` leaves has; `None` when that is nothing.
    pub fn clamped(level: u8, index: u64, size: u64) -> Option<Self> {
        let complete = size.checked_shr(u32::from(level) * u32::from(HEIGHT)).unwrap_or(0);
        let width = complete.saturating_sub(index.checked_mul(WIDTH)?).min(WIDTH);
        (width > 0).then_some(Self { level, index, width })
    }

    /// The tile whose hashes lead to a subtree, and which of them: `(level, index, first, count)`.
    pub const fn under(node: Node) -> (u8, u64, usize, usize) {
        let level = node.level / HEIGHT;
        let count = 1_u64 << (node.level % HEIGHT);
        let first = node.index.wrapping_mul(count);
        #[expect(clippy::cast_possible_truncation, reason = "both are at most 256")]
        (level, first / WIDTH, (first % WIDTH) as usize, count as usize)
    }
}

fn shifted(index: u64, digits: &str) -> Option<u64> {
    let well_formed = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let value: u64 = well_formed.then(|| digits.parse().ok())??;
    index.checked_mul(1000)?.checked_add(value)
}

/// `x001/x234/067` for 1,234,067.
fn path_of(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_specification() {
        for (path, index, width) in
            [("000", 0, 256), ("067", 67, 256), ("x001/x234/067", 1_234_067, 256), ("x001/000.p/9", 1000, 9)]
        {
            let tile = Tile { level: 3, index, width };
            assert_eq!(Tile::parse("3", path), Some(tile), "{path}");
            assert_eq!(tile.path(), path);
        }
        assert_eq!(Tile::parse("63", "x018/x446/x744/x073/x709/x551/615").map(|tile| tile.index), Some(u64::MAX));
    }

    #[test]
    fn other_spellings_are_no_addresses() {
        for (level, path) in [
            ("0", ""),
            ("0", "0"),
            ("0", "0000"),
            ("0", "x000/001"),
            ("0", "001/002"),
            ("0", "x001/x002"),
            ("0", "x001/+02"),
            ("0", "000.p/0"),
            ("0", "000.p/256"),
            ("0", "000.p/01"),
            ("0", "000.p/"),
            ("0", "000.p/1/"),
            ("0", "x018/x446/x744/x073/x709/x551/616"),
            ("64", "000"),
            ("00", "000"),
            ("-1", "000"),
            ("", "000"),
        ] {
            assert_eq!(Tile::parse(level, path), None, "{level} {path}");
        }
    }

    #[test]
    fn tree_of_70000_leaves_has_the_tiles_that_the_specification_counts() {
        let size = 70_000;
        let is_full = |level, index| Tile { level, index, width: WIDTH }.is_in(size);
        let full = |level: u8| (0..size).take_while(|index| is_full(level, *index)).count();
        assert_eq!([full(0), full(1), full(2)], [273, 1, 0]);
        let partial = |level, index| Tile::clamped(level, index, size).map(|tile| tile.width);
        assert_eq!([partial(0, 273), partial(1, 1), partial(2, 0)], [Some(112), Some(17), Some(1)]);
        assert_eq!([partial(0, 274), partial(2, 1), partial(3, 0), partial(63, 0)], [None; 4]);
        assert!(!Tile { level: 0, index: 273, width: 113 }.is_in(size));
        assert!(!Tile { level: 0, index: u64::MAX, width: 1 }.is_in(u64::MAX));
    }

    #[test]
    fn subtree_is_found_in_the_tile_below_it() {
        assert_eq!(Tile::under(Node { level: 0, index: 300 }), (0, 1, 44, 1));
        assert_eq!(Tile::under(Node { level: 7, index: 3 }), (0, 1, 128, 128));
        assert_eq!(Tile::under(Node { level: 8, index: 257 }), (1, 1, 1, 1));
        assert_eq!(Tile::under(Node { level: 9, index: 5 }), (1, 0, 10, 2));
    }
}

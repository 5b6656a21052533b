//! The checksum of newer structures: Bob Jenkins' lookup3, from his description at
//! <https://burtleburtle.net/bob/hash/doobs.html>.

use super::error::Hdf5Error;

/// Checks the last four bytes of a structure against all bytes in front of them.
pub(super) fn check(bytes: &[u8], what: &'static str, at: u64) -> Result<(), Hdf5Error> {
    let (body, stored) = bytes.split_last_chunk::<4>().ok_or(Hdf5Error::Truncated(what))?;
    if lookup3(body) == u32::from_le_bytes(*stored) { Ok(()) } else { Err(Hdf5Error::Checksum { what, at }) }
}

/// The 32-bit hash with an initial value of zero.
fn lookup3(bytes: &[u8]) -> u32 {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let start = 0xdead_beef_u32.wrapping_add(length);
    let mut state = [start; 3];
    let mut rest = bytes;
    while rest.len() > 12 {
        let (block, behind) = rest.split_at(12);
        add(&mut state, block);
        mix(&mut state);
        rest = behind;
    }
    if !rest.is_empty() {
        add(&mut state, rest);
        finish(&mut state);
    }
    state[2]
}

/// Adds up to twelve bytes, the missing ones being zero.
fn add(state: &mut [u32; 3], block: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(block.chunks(4)) {
        let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        *word = word.wrapping_add(number);
    }
}

fn mix([a, b, c]: &mut [u32; 3]) {
    for (rotation, order) in [(4, 0), (6, 1), (8, 2), (16, 0), (19, 1), (4, 2)] {
        let (first, second, third) = match order {
            0 => (&mut *a, &mut *b, &mut *c),
            1 => (&mut *b, &mut *c, &mut *a),
            _ => (&mut *c, &mut *a, &mut *b),
        };
        *first = first.wrapping_sub(*third) ^ third.rotate_left(rotation);
        *third = third.wrapping_add(*second);
    }
}

fn finish([a, b, c]: &mut [u32; 3]) {
    let step = |target: &mut u32, other: u32, rotation| {
        *target = (*target ^ other).wrapping_sub(other.rotate_left(rotation));
    };
    step(c, *b, 14);
    step(a, *c, 11);
    step(b, *a, 25);
    step(c, *b, 16);
    step(a, *c, 4);
    step(b, *a, 14);
    step(c, *b, 24);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_is_matched() {
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }
}

//! Asks ggml what the bytes of its block formats mean.
//!
//! `blocks goldens` prints pseudo-random blocks of every encoding with the floats that ggml decodes them to;
//! `blocks codebooks` writes the codebooks of the IQ formats, found by decoding blocks that name each entry in turn.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use llama_cpp_sys_2::{ggml_get_type_traits, ggml_type};

/// Name, id, bytes and elements of a block, blocks in the golden, and where half-precision numbers lie in a block.
const TYPES: &[(&str, u32, usize, usize, usize, &[usize])] = &[
    ("F16", 1, 2, 1, 32, &[0]),
    ("Q4_0", 2, 18, 32, 3, &[0]),
    ("Q4_1", 3, 20, 32, 3, &[0, 2]),
    ("Q5_0", 6, 22, 32, 3, &[0]),
    ("Q5_1", 7, 24, 32, 3, &[0, 2]),
    ("Q8_0", 8, 34, 32, 3, &[0]),
    ("Q2_K", 10, 84, 256, 2, &[80, 82]),
    ("Q3_K", 11, 110, 256, 2, &[108]),
    ("Q4_K", 12, 144, 256, 2, &[0, 2]),
    ("Q5_K", 13, 176, 256, 2, &[0, 2]),
    ("Q6_K", 14, 210, 256, 2, &[208]),
    ("IQ2_XXS", 16, 66, 256, 2, &[0]),
    ("IQ2_XS", 17, 74, 256, 2, &[0]),
    ("IQ3_XXS", 18, 98, 256, 2, &[0]),
    ("IQ1_S", 19, 50, 256, 2, &[0]),
    ("IQ4_NL", 20, 18, 32, 3, &[0]),
    ("IQ3_S", 21, 110, 256, 2, &[0]),
    ("IQ2_S", 22, 82, 256, 2, &[0]),
    ("IQ4_XS", 23, 136, 256, 2, &[0]),
    ("IQ1_M", 29, 56, 256, 2, &[]),
    ("BF16", 30, 2, 1, 32, &[]),
    ("TQ1_0", 34, 54, 256, 2, &[52]),
    ("TQ2_0", 35, 66, 256, 2, &[64]),
    ("MXFP4", 39, 17, 32, 3, &[]),
    ("NVFP4", 40, 36, 64, 3, &[]),
    ("Q1_0", 41, 18, 128, 2, &[0]),
    ("Q2_0", 42, 18, 64, 3, &[0]),
];

fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        Some("goldens") => print!("{}", goldens()?),
        Some("codebooks") => io::stdout().write_all(&codebooks()?)?,
        _ => return Err("usage: blocks goldens|codebooks".into()),
    }
    Ok(())
}

fn decode(id: u32, blocks: &[u8], elements: usize) -> Result<Vec<f32>, Box<dyn Error>> {
    // SAFETY: the id is one of ggml's, and the traits are a static table.
    let to_float = unsafe { (*ggml_get_type_traits(id as ggml_type)).to_float };
    let to_float = to_float.ok_or_else(|| format!("ggml does not decode type {id}"))?;
    // ggml reads 16-bit members, so the bytes must be aligned for them.
    let aligned: Vec<u64> = blocks.chunks(8).map(word).collect();
    let mut values = vec![0.0; elements];
    // SAFETY: `blocks` holds whole blocks of `elements` values, and `values` has room for as many.
    unsafe { to_float(aligned.as_ptr().cast(), values.as_mut_ptr(), elements as i64) };
    Ok(values)
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

fn goldens() -> Result<String, Box<dyn Error>> {
    let mut state = 7;
    let mut output = String::from(
        "{\n\"llama.cpp\": \"as in llama-cpp-sys-2 0.1.161\",\n\"command\": \"blocks goldens\",\n\"types\": {\n",
    );
    for (number, (name, id, bytes, elements, count, halves)) in TYPES.iter().enumerate() {
        let blocks: Vec<u8> = (0..*count).flat_map(|_| block(*id, *bytes, halves, &mut state)).collect();
        let values = decode(*id, &blocks, elements * count)?;
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return Err(format!("{name}: value {position} is not finite").into());
        }
        let bits: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_be_bytes()).collect();
        let end = if number + 1 == TYPES.len() { "" } else { "," };
        writeln!(output, "\"{name}\": {{\"blocks\": \"{}\", \"floats\": \"{}\"}}{end}", hex(&blocks), hex(&bits))?;
    }
    output.push_str("}\n}\n");
    Ok(output)
}

/// Pseudo-random bytes in which every scale is a finite number.
fn block(id: u32, bytes: usize, halves: &[usize], state: &mut u64) -> Vec<u8> {
    let mut block: Vec<u8> = (0..bytes).map(|_| random_byte(state)).collect();
    for offset in halves {
        block[offset + 1] &= 0xBF;
    }
    match id {
        29 => block[55] &= 0xBF,
        30 => block[1] &= 0xBF,
        39 => block[0] &= 0xBF,
        _ => {}
    }
    block
}

/// The high byte of a 64-bit linear congruential generator (Knuth, MMIX).
fn random_byte(state: &mut u64) -> u8 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One of the codebooks, and where a block names an entry of it.
struct Codebook {
    id: u32,
    block_bytes: usize,
    entries: u16,
    /// Where the low and the high bits of the first entry's number lie.
    low: usize,
    high: usize,
    /// Values of an entry; each takes `bits` bits.
    values: usize,
    bits: usize,
    /// What the numbers 0, 1, 2, … stand for.
    digits: &'static [f32],
    /// What ggml multiplies them with when the block's scale is 1 and all else is 0.
    factor: f32,
}

const TWO_BITS: Codebook = Codebook {
    id: 16,
    block_bytes: 66,
    entries: 256,
    low: 2,
    high: 3,
    values: 8,
    bits: 2,
    digits: &[8.0, 25.0, 43.0],
    factor: 0.125,
};
const THREE_BITS: Codebook = Codebook {
    id: 18,
    block_bytes: 98,
    values: 4,
    bits: 3,
    digits: &[4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0],
    factor: 0.25,
    ..TWO_BITS
};

/// IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S and IQ1_S, which IQ1_M shares. The values of the last are -1, 0 and 1,
/// each with an eighth added.
const CODEBOOKS: [Codebook; 6] = [
    TWO_BITS,
    Codebook { id: 17, block_bytes: 74, entries: 512, ..TWO_BITS },
    Codebook { id: 22, block_bytes: 82, entries: 1024, high: 66, ..TWO_BITS },
    THREE_BITS,
    Codebook {
        id: 21,
        block_bytes: 110,
        entries: 512,
        high: 66,
        digits: &[1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0],
        factor: 1.0,
        ..THREE_BITS
    },
    Codebook {
        id: 19,
        block_bytes: 50,
        entries: 2048,
        high: 34,
        digits: &[-0.875, 0.125, 1.125],
        factor: 1.0,
        ..TWO_BITS
    },
];

/// The entries of all codebooks, each a little-endian word with its first value in the lowest bits.
fn codebooks() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut output = Vec::new();
    for codebook in &CODEBOOKS {
        for number in 0..codebook.entries {
            output.extend(codebook.entry(number)?.to_le_bytes());
        }
    }
    Ok(output)
}

impl Codebook {
    fn entry(&self, number: u16) -> Result<u16, Box<dyn Error>> {
        let mut block = vec![0; self.block_bytes];
        block[..2].copy_from_slice(&[0x00, 0x3C]);
        let [low, high] = number.to_le_bytes();
        (block[self.low], block[self.high]) = (low, high);
        let mut entry = 0;
        for (place, value) in decode(self.id, &block, 256)?[..self.values].iter().enumerate() {
            let digit = self.digits.iter().position(|digit| digit * self.factor == *value);
            let digit = digit.ok_or_else(|| format!("type {}, entry {number}: {value} is no digit", self.id))?;
            entry |= (digit << (place * self.bits)) as u16;
        }
        Ok(entry)
    }
}

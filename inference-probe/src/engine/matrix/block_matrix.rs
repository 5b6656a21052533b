//! Matrices in ggml's 32-element block formats, multiplied where they lie.
//!
//! candle computes these formats with scalar code unless the whole program is compiled for
//! a newer processor, which a distributed binary is not. Here the instruction set is chosen
//! at run time. As in llama.cpp, a row of the input is first rounded to 8-bit integers, one
//! scale for each 32 of them; the products are then exact integers.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape};
use rayon::prelude::*;

/// Elements of one block.
const BLOCK: usize = 32;
/// Multiplications below which a second thread costs more than it saves.
const PARALLEL_FROM: usize = 1 << 19;
/// Rows of the matrix that one task computes.
const ROWS_PER_TASK: usize = 64;
/// Rows of the input for which a block is decoded once.
const INPUTS_AT_ONCE: usize = 4;

/// How a block of 32 weights is stored, after ggml-common.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Scale, 16 bytes of nibbles `q`; weight = scale * (q - 8).
    Q4_0,
    /// Scale, minimum, 16 bytes of nibbles `q`; weight = scale * q + minimum.
    Q4_1,
    /// Scale, 32 signed bytes `q`; weight = scale * q.
    Q8_0,
}

impl Format {
    const fn of(kind: GgmlDType) -> Option<Self> {
        match kind {
            GgmlDType::Q4_0 => Some(Self::Q4_0),
            GgmlDType::Q4_1 => Some(Self::Q4_1),
            GgmlDType::Q8_0 => Some(Self::Q8_0),
            _ => None,
        }
    }

    const fn bytes_per_block(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
        }
    }
}

/// A matrix of shape `[outputs, inputs]`.
pub(crate) struct BlockMatrix {
    stored: Arc<QTensor>,
    format: Format,
    outputs: usize,
    inputs: usize,
}

impl BlockMatrix {
    /// The matrix in `stored`, where its format is one of those computed here.
    pub(super) fn new(stored: &Arc<QTensor>) -> Option<Self> {
        let (outputs, inputs) = stored.shape().dims2().ok()?;
        let format = Format::of(stored.dtype())?;
        Some(Self { stored: Arc::clone(stored), format, outputs, inputs })
    }

    /// Products of every row of `input` with every row of the matrix, `[outputs, rows of input]`.
    fn multiply(&self, input: &Rounded, products: &mut [f32]) -> Result<()> {
        let bytes = self.stored.data()?;
        let row_bytes = self.inputs / BLOCK * self.format.bytes_per_block();
        let processor = Processor::detect();
        let task = |(outputs, rows): (&mut [f32], &[u8])| {
            for (products, row) in outputs.chunks_mut(input.rows).zip(rows.chunks(row_bytes)) {
                processor.products(self.format, row, input, products);
            }
        };
        let (products_per_task, bytes_per_task) = (ROWS_PER_TASK * input.rows, ROWS_PER_TASK * row_bytes);
        let work = self.outputs * self.inputs * input.rows;
        if work < PARALLEL_FROM || rayon::current_num_threads() == 1 {
            products.chunks_mut(products_per_task).zip(bytes.chunks(bytes_per_task)).for_each(task);
        } else {
            products.par_chunks_mut(products_per_task).zip(bytes.par_chunks(bytes_per_task)).for_each(task);
        }
        Ok(())
    }
}

impl CustomOp1 for BlockMatrix {
    fn name(&self) -> &'static str {
        "block-matrix"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = layout.shape().dims2()?;
        let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("the input is not contiguous") };
        if inputs != self.inputs {
            candle_core::bail!("a matrix of {} inputs is given {inputs}", self.inputs);
        }
        let input = Rounded::of(&storage.as_slice::<f32>()?[start..end], rows);
        let mut products = vec![0.0; self.outputs * rows];
        self.multiply(&input, &mut products)?;
        let result = if rows == 1 { products } else { transpose(&products, rows) };
        Ok((CpuStorage::F32(result), Shape::from((rows, self.outputs))))
    }
}

/// `[n, columns]` to `[columns, n]`.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

/// Rows of floats, rounded block by block.
struct Rounded {
    rows: usize,
    blocks: Vec<RoundedBlock>,
}

/// 32 values of about `scale * quant`.
struct RoundedBlock {
    quants: [i8; BLOCK],
    scale: f32,
    /// The sum of the rounded values, which multiplies the weights' minimum.
    sum: f32,
}

impl Rounded {
    fn of(values: &[f32], rows: usize) -> Self {
        Self { rows, blocks: values.chunks_exact(BLOCK).map(RoundedBlock::of).collect() }
    }

    fn row(&self, row: usize) -> &[RoundedBlock] {
        let length = self.blocks.len() / self.rows;
        &self.blocks[row * length..][..length]
    }
}

impl RoundedBlock {
    fn of(values: &[f32]) -> Self {
        let greatest = values.iter().fold(0.0_f32, |greatest, value| greatest.max(value.abs()));
        let scale = greatest / 127.0;
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let mut quants = [0_i8; BLOCK];
        for (quant, value) in quants.iter_mut().zip(values) {
            #[expect(clippy::cast_possible_truncation, reason = "the scale keeps it within -127 to 127")]
            let rounded = (value * inverse).round_ties_even() as i8;
            *quant = rounded;
        }
        let sum: i16 = quants.iter().map(|quant| i16::from(*quant)).sum();
        Self { quants, scale, sum: scale * f32::from(sum) }
    }
}

/// A block of weights: `weight = scale * quant + minimum`.
struct Scales {
    scale: f32,
    minimum: f32,
}

impl Scales {
    #[inline]
    fn read(format: Format, block: &[u8]) -> Self {
        let scale = half(block[0], block[1]);
        let minimum = match format {
            Format::Q4_0 => -8.0 * scale,
            Format::Q4_1 => half(block[2], block[3]),
            Format::Q8_0 => 0.0,
        };
        Self { scale, minimum }
    }
}

/// A half-precision number that is finite, as L2 has made sure. The exponents of the two formats
/// differ by 112, so moving the bits and multiplying by 2^112 also gives the subnormal ones.
#[inline]
fn half(low: u8, high: u8) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(u16::from_le_bytes([low, high]));
    let magnitude = f32::from_bits((bits & 0x7FFF) << 13) * TWO_TO_112;
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

/// The instruction set that this machine offers.
#[derive(Clone, Copy)]
enum Processor {
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    Any,
}

impl Processor {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            return Self::Avx2(simd);
        }
        Self::Any
    }

    /// Products of one row of the matrix with all rows of `input`.
    fn products(self, format: Format, row: &[u8], input: &Rounded, products: &mut [f32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => simd.vectorize(avx2::Products { simd, format, row, input, output: products }),
            Self::Any => portable::products(format, row, input, products),
        }
    }
}

/// For every processor; the compiler vectorizes it as far as the program's target allows.
mod portable {
    use super::{BLOCK, Format, Rounded, RoundedBlock, Scales};

    pub(super) fn products(format: Format, row: &[u8], input: &Rounded, products: &mut [f32]) {
        for (index, product) in products.iter_mut().enumerate() {
            let blocks = row.chunks_exact(format.bytes_per_block()).zip(input.row(index));
            *product = blocks.map(|(block, values)| block_product(format, block, values)).sum();
        }
    }

    fn block_product(format: Format, block: &[u8], values: &RoundedBlock) -> f32 {
        let Scales { scale, minimum } = Scales::read(format, block);
        let weights = quants(format, block);
        let pairs = weights.iter().zip(&values.quants);
        let sum: i32 = pairs.map(|(weight, value)| i32::from(*weight) * i32::from(*value)).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most 32 * 128 * 127")]
        let sum = sum as f32;
        scale * values.scale * sum + minimum * values.sum
    }

    /// The low nibbles of the 16 bytes are the first half of the block, the high ones the second.
    fn quants(format: Format, block: &[u8]) -> [i8; BLOCK] {
        let mut quants = [0; BLOCK];
        if format == Format::Q8_0 {
            for (quant, byte) in quants.iter_mut().zip(&block[2..]) {
                *quant = byte.cast_signed();
            }
        } else {
            let packed = &block[format.bytes_per_block() - BLOCK / 2..];
            for (index, byte) in packed.iter().enumerate() {
                quants[index] = (byte & 15).cast_signed();
                quants[index + BLOCK / 2] = (byte >> 4).cast_signed();
            }
        }
        quants
    }
}

/// For x86 processors since 2013. Every function is inlined into one that has the instructions
/// enabled: left on its own, it would be compiled without those it is about.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::inline_always, reason = "a function that is not inlined lacks the instructions")]
mod avx2 {
    use std::arch::x86_64::{__m128i, __m256, __m256i};

    use pulp::NullaryFnOnce;
    use pulp::x86::V3;

    use super::{BLOCK, Format, INPUTS_AT_ONCE, Rounded, RoundedBlock, Scales};

    /// The arguments of a call that runs with the instructions enabled.
    pub(super) struct Products<'a> {
        pub(super) simd: V3,
        pub(super) format: Format,
        pub(super) row: &'a [u8],
        pub(super) input: &'a Rounded,
        pub(super) output: &'a mut [f32],
    }

    impl NullaryFnOnce for Products<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { simd, format, row, input, output } = self;
            let mut first = 0;
            let mut groups = output.chunks_exact_mut(INPUTS_AT_ONCE);
            for group in &mut groups {
                group.copy_from_slice(&some_products::<INPUTS_AT_ONCE>(simd, format, row, input, first));
                first += INPUTS_AT_ONCE;
            }
            for product in groups.into_remainder() {
                [*product] = some_products::<1>(simd, format, row, input, first);
                first += 1;
            }
        }
    }

    /// Products with `N` rows of the input from `first` on.
    #[inline(always)]
    fn some_products<const N: usize>(simd: V3, format: Format, row: &[u8], input: &Rounded, first: usize) -> [f32; N] {
        let inputs = std::array::from_fn(|offset| input.row(first + offset));
        match format {
            Format::Q4_0 => nibble_products::<N, { Format::Q4_0.bytes_per_block() }>(simd, format, row, inputs),
            Format::Q4_1 => nibble_products::<N, { Format::Q4_1.bytes_per_block() }>(simd, format, row, inputs),
            Format::Q8_0 => byte_products::<N, { Format::Q8_0.bytes_per_block() }>(simd, format, row, inputs),
        }
    }

    #[inline(always)]
    fn nibble_products<const N: usize, const BYTES: usize>(
        simd: V3,
        format: Format,
        row: &[u8],
        inputs: [&[RoundedBlock]; N],
    ) -> [f32; N] {
        let mut lanes = [simd.avx._mm256_setzero_ps(); N];
        let mut minimums = [0.0_f32; N];
        for (number, block) in row.as_chunks::<BYTES>().0.iter().enumerate() {
            let Scales { scale, minimum } = Scales::read(format, block);
            let Some(packed) = block.last_chunk() else { continue };
            let weights = unpack(simd, packed);
            for offset in 0..N {
                let values = &inputs[offset][number];
                let sums = multiply(simd, weights, pulp::cast(values.quants));
                lanes[offset] = add_scaled(simd, sums, scale * values.scale, lanes[offset]);
                minimums[offset] += minimum * values.sum;
            }
        }
        std::array::from_fn(|offset| sum(lanes[offset]) + minimums[offset])
    }

    #[inline(always)]
    fn byte_products<const N: usize, const BYTES: usize>(
        simd: V3,
        format: Format,
        row: &[u8],
        inputs: [&[RoundedBlock]; N],
    ) -> [f32; N] {
        let mut lanes = [simd.avx._mm256_setzero_ps(); N];
        for (number, block) in row.as_chunks::<BYTES>().0.iter().enumerate() {
            let Scales { scale, .. } = Scales::read(format, block);
            let Some(quants) = block.last_chunk::<BLOCK>() else { continue };
            let weights: __m256i = pulp::cast(*quants);
            // The multiplication takes one unsigned side, so the weights' signs move to the values.
            let magnitudes = simd.avx2._mm256_abs_epi8(weights);
            for offset in 0..N {
                let values = &inputs[offset][number];
                let signed = simd.avx2._mm256_sign_epi8(pulp::cast(values.quants), weights);
                let sums = multiply(simd, magnitudes, signed);
                lanes[offset] = add_scaled(simd, sums, scale * values.scale, lanes[offset]);
            }
        }
        lanes.map(sum)
    }

    /// 32 nibbles as bytes: the low ones, then the high ones.
    #[inline(always)]
    fn unpack(simd: V3, packed: &[u8; BLOCK / 2]) -> __m256i {
        let bytes: __m128i = pulp::cast(*packed);
        let both = simd.avx._mm256_set_m128i(simd.sse2._mm_srli_epi16::<4>(bytes), bytes);
        simd.avx2._mm256_and_si256(both, simd.avx._mm256_set1_epi8(15))
    }

    /// Eight sums of four products each. Pairs stay below 2 * 128 * 127, which fits 16 bits.
    #[inline(always)]
    fn multiply(simd: V3, unsigned: __m256i, signed: __m256i) -> __m256i {
        let pairs = simd.avx2._mm256_maddubs_epi16(unsigned, signed);
        simd.avx2._mm256_madd_epi16(pairs, simd.avx._mm256_set1_epi16(1))
    }

    #[inline(always)]
    fn add_scaled(simd: V3, sums: __m256i, scale: f32, lanes: __m256) -> __m256 {
        simd.fma._mm256_fmadd_ps(simd.avx._mm256_set1_ps(scale), simd.avx._mm256_cvtepi32_ps(sums), lanes)
    }

    #[inline(always)]
    fn sum(lanes: __m256) -> f32 {
        let lanes: [f32; 8] = pulp::cast(lanes);
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QMatMul;
    use candle_core::{Device, Module, Tensor};

    use super::*;

    const KINDS: [GgmlDType; 3] = [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0];
    /// An odd number of blocks, a number of outputs and rows that fills no group.
    const SIZES: (usize, usize, usize) = (7, 3 * BLOCK, 67);

    fn wave(rows: usize, columns: usize, speed: f32) -> Tensor {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let values: Vec<f32> = (0..rows * columns).map(|index| (index as f32 * speed).sin() + 0.1).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    }

    fn stored(kind: GgmlDType) -> Arc<QTensor> {
        let (_, inputs, outputs) = SIZES;
        Arc::new(QTensor::quantize(&wave(outputs, inputs, 0.37), kind).unwrap())
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_close(left: &[f32], right: &[f32], tolerance: f32) {
        assert_eq!(left.len(), right.len());
        let greatest = left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
        assert!(greatest < tolerance, "{greatest}");
    }

    /// The rounded values as floats.
    fn restored(rounded: &Rounded) -> Vec<f32> {
        let values = |block: &RoundedBlock| block.quants.map(|quant| f32::from(quant) * block.scale);
        rounded.blocks.iter().flat_map(values).collect()
    }

    #[test]
    fn rounding_moves_a_value_by_at_most_half_a_step() {
        let (rows, inputs, _) = SIZES;
        let values = flat(&wave(rows, inputs, 0.11));
        let rounded = Rounded::of(&values, rows);
        assert_close(&restored(&rounded), &values, 1.1 / 127.0 / 2.0 + 1e-6);
        for (block, values) in rounded.blocks.iter().zip(restored(&rounded).chunks(BLOCK)) {
            assert!((block.sum - values.iter().sum::<f32>()).abs() < 1e-4);
        }
    }

    #[test]
    fn products_are_those_of_the_dequantized_matrix_and_the_rounded_input() {
        let (rows, inputs, _) = SIZES;
        let input = wave(rows, inputs, 0.11);
        let restored =
            Tensor::from_vec(restored(&Rounded::of(&flat(&input), rows)), (rows, inputs), &Device::Cpu).unwrap();
        for kind in KINDS {
            let stored = stored(kind);
            let exact = QMatMul::Tensor(stored.dequantize(&Device::Cpu).unwrap()).forward(&restored).unwrap();
            let product = input.apply_op1_no_bwd(&BlockMatrix::new(&stored).unwrap()).unwrap();
            assert_close(&flat(&product), &flat(&exact), 1e-4);
        }
    }

    #[test]
    fn every_instruction_set_computes_the_same() {
        let (rows, inputs, outputs) = SIZES;
        let rounded = Rounded::of(&flat(&wave(rows, inputs, 0.11)), rows);
        for kind in KINDS {
            let stored = stored(kind);
            let matrix = BlockMatrix::new(&stored).unwrap();
            let row_bytes = inputs / BLOCK * matrix.format.bytes_per_block();
            let bytes = stored.data().unwrap();
            for row in bytes.chunks(row_bytes).take(outputs) {
                let (mut fastest, mut portable) = ([0.0; SIZES.0], [0.0; SIZES.0]);
                Processor::detect().products(matrix.format, row, &rounded, &mut fastest);
                Processor::Any.products(matrix.format, row, &rounded, &mut portable);
                assert_close(&fastest, &portable, 1e-4);
            }
        }
    }

    #[test]
    fn half_precision_numbers_are_read_exactly() {
        for (bits, value) in [
            (0x3C00_u16, 1.0_f32),
            (0xC000, -2.0),
            (0x7BFF, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x0000, 0.0),
        ] {
            let [low, high] = bits.to_le_bytes();
            assert_eq!(half(low, high).to_bits(), value.to_bits(), "{bits:#x}");
        }
    }

    #[test]
    fn an_input_of_zeros_gives_zeros() {
        let (rows, inputs, _) = SIZES;
        let zeros = Tensor::zeros((rows, inputs), candle_core::DType::F32, &Device::Cpu).unwrap();
        let product = zeros.apply_op1_no_bwd(&BlockMatrix::new(&stored(GgmlDType::Q4_1)).unwrap()).unwrap();
        assert!(flat(&product).iter().all(|value| *value == 0.0));
    }
}

//! Matrices as their users see them, and every encoding against ggml.

use serde_json::Value;

use super::product::Rounded;
use super::*;

const GOLDENS: &str = include_str!("../../../tests/goldens/blocks/blocks.json");

/// An odd number of blocks of every size, and numbers of rows that fill no group.
const INPUTS: usize = 3 * 256;
const OUTPUTS: usize = 37;
const ROWS: usize = 13;

fn golden(tensor_type: TensorType, part: &str) -> Option<Vec<u8>> {
    let goldens: Value = serde_json::from_str(GOLDENS).unwrap();
    let golden = goldens["types"][tensor_type.name()][part].as_str()?;
    Some(hex::decode(golden).unwrap())
}

fn computable() -> impl Iterator<Item = TensorType> {
    TensorType::ALL.iter().copied().filter(|tensor_type| is_computable(*tensor_type))
}

/// Bytes of a matrix whose weights are moderate: the golden's blocks, whose scales are all finite, over and over.
fn bytes(tensor_type: TensorType, outputs: usize, inputs: usize) -> Vec<u8> {
    let size = outputs * inputs / Format::of(tensor_type).block_elements * Format::of(tensor_type).block_bytes;
    let golden = golden(tensor_type, "blocks")
        .unwrap_or_else(|| wave(64, 1.3).iter().flat_map(|value| value.to_le_bytes()).collect());
    golden.into_iter().cycle().take(size).collect()
}

fn wave(count: usize, speed: f32) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let value = |index: usize| (index as f32 * speed).sin() + 0.1;
    (0..count).map(value).collect()
}

fn tensor(values: Vec<f32>, rows: usize) -> Tensor {
    let columns = values.len() / rows.max(1);
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The input as integers see it.
fn rounded(values: &[f32]) -> Vec<f64> {
    let rounded = Rounded::of(Rows { values, length: values.len() }, Processor::detect());
    let values = |run: &product::RoundedRun| {
        let scale = f64::from(run.scale);
        product::unpacked(&run.words).map(|integer| f64::from(integer) * scale)
    };
    rounded.runs.iter().flat_map(values).collect()
}

/// The sum of products, and of their magnitudes, which is the scale of its rounding errors.
fn exact(weights: &[f32], values: &[f64]) -> (f64, f64) {
    let products = weights.iter().zip(values).map(|(weight, value)| f64::from(*weight) * value);
    products.fold((0.0, 0.0), |(sum, magnitude), product| (sum + product, magnitude + product.abs()))
}

#[test]
fn every_block_is_decoded_as_ggml_decodes_it() {
    for tensor_type in computable().filter(|tensor_type| *tensor_type != TensorType::F32) {
        let values = dequantize(tensor_type, &golden(tensor_type, "blocks").unwrap()).unwrap();
        let bits: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_be_bytes()).collect();
        let expected = golden(tensor_type, "floats").unwrap();
        let differing = bits.chunks(4).zip(expected.chunks(4)).position(|(bits, expected)| bits != expected);
        assert_eq!(differing, None, "{tensor_type:?}");
        assert_eq!(bits.len(), expected.len(), "{tensor_type:?}");
    }
}

#[test]
fn types_that_ggml_does_not_decode_follow_their_definition() {
    let mut block = vec![0x00, 0x40, 0xAA, 0xAA];
    block.extend((0..32_i8).map(|code| (code - 16).to_le_bytes()[0]));
    let values = dequantize(TensorType::Q8_1, &block).unwrap();
    assert_eq!(values, (0..32_i8).map(|code| f32::from(code - 16) * 2.0).collect::<Vec<_>>());
    let mut block = 0.5_f32.to_le_bytes().to_vec();
    block.extend((0..=255_u8).map(|code| code ^ 0x80));
    block.extend([0xAA; 32]);
    let values = dequantize(TensorType::Q8_K, &block).unwrap();
    assert_eq!(values, (-128..128_i16).map(|code| f32::from(code) * 0.5).collect::<Vec<_>>());
}

#[test]
fn products_are_those_of_the_dequantized_matrix_and_the_rounded_input() {
    for tensor_type in computable() {
        let bytes = bytes(tensor_type, OUTPUTS, INPUTS);
        let weights = dequantize(tensor_type, &bytes).unwrap();
        let matrix = Matrix::new(tensor_type, bytes, OUTPUTS, INPUTS).unwrap();
        let is_rounded = matches!(matrix.format.multiply, format::Multiply::Rounded(_));
        for rows in [1, 2, 3, ROWS] {
            let values = wave(rows * INPUTS, 0.11);
            let products = flat(&matrix.forward(&tensor(values.clone(), rows)).unwrap());
            assert_eq!(products.len(), rows * OUTPUTS);
            for (row, values) in values.chunks(INPUTS).enumerate() {
                let values = if is_rounded { rounded(values) } else { values.iter().copied().map(f64::from).collect() };
                for (output, weights) in weights.chunks(INPUTS).enumerate() {
                    let (expected, magnitude) = exact(weights, &values);
                    let product = f64::from(products[row * OUTPUTS + output]);
                    assert!(
                        (product - expected).abs() <= 1e-5 * magnitude,
                        "{tensor_type:?}, row {row} of {rows}, output {output}: {product} instead of {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_are_looked_up_by_number() {
    for tensor_type in [TensorType::F16, TensorType::Q4_1, TensorType::Q6_K, TensorType::IQ3_S] {
        let bytes = bytes(tensor_type, OUTPUTS, INPUTS);
        let weights = dequantize(tensor_type, &bytes).unwrap();
        let matrix = Matrix::new(tensor_type, bytes, OUTPUTS, INPUTS).unwrap();
        let rows = matrix.rows(&[36, 0]).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(rows, [&weights[36 * INPUTS..], &weights[..INPUTS]]);
        assert!(matrix.rows(&[37]).is_err());
        assert_eq!(matrix.rows(&[]).unwrap().dims(), [0, INPUTS]);
    }
}

#[test]
fn a_product_with_no_rows_outputs_or_inputs_is_empty_or_zero() {
    let matrix = |outputs, inputs| {
        Matrix::new(TensorType::Q4_0, bytes(TensorType::Q4_0, outputs, inputs), outputs, inputs).unwrap()
    };
    assert_eq!(matrix(3, 32).forward(&tensor(Vec::new(), 0).reshape((0, 32)).unwrap()).unwrap().dims(), [0, 3]);
    assert_eq!(matrix(0, 32).forward(&tensor(wave(64, 0.1), 2)).unwrap().dims(), [2, 0]);
    assert_eq!(flat(&matrix(3, 0).forward(&tensor(Vec::new(), 2)).unwrap()), [0.0; 6]);
}

#[test]
fn bytes_of_the_wrong_length_are_refused() {
    let refused =
        |tensor_type, bytes: usize, outputs, inputs| Matrix::new(tensor_type, vec![0; bytes], outputs, inputs).is_err();
    assert!(refused(TensorType::Q4_0, 17, 1, 32));
    assert!(refused(TensorType::Q4_0, 18, 1, 33));
    assert!(refused(TensorType::Q4_0, 18, 2, 32));
    assert!(refused(TensorType::F32, 0, usize::MAX, usize::MAX));
    assert!(refused(TensorType::I32, 4, 1, 1));
    assert!(!refused(TensorType::Q4_0, 18, 1, 32));
    assert!(dequantize(TensorType::Q6_K, &[0; 209]).is_err());
}

#[test]
fn an_input_of_another_shape_is_refused() {
    let matrix = Matrix::new(TensorType::F32, bytes(TensorType::F32, 4, 8), 4, 8).unwrap();
    assert!(matrix.forward(&tensor(wave(14, 0.1), 2)).is_err());
    assert!(matrix.forward(&tensor(wave(16, 0.1), 8).t().unwrap()).is_err());
}

#[test]
fn an_input_of_zeros_gives_zeros() {
    for tensor_type in computable() {
        let matrix = Matrix::new(tensor_type, bytes(tensor_type, OUTPUTS, INPUTS), OUTPUTS, INPUTS).unwrap();
        let products = flat(&matrix.forward(&tensor(vec![0.0; ROWS * INPUTS], ROWS)).unwrap());
        assert!(products.iter().all(|value| *value == 0.0), "{tensor_type:?}");
    }
}

#[test]
fn a_number_that_is_not_finite_shows_in_the_products() {
    for broken in [f32::NAN, f32::INFINITY] {
        for tensor_type in [TensorType::F32, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q6_K] {
            let matrix = Matrix::new(tensor_type, bytes(tensor_type, OUTPUTS, INPUTS), OUTPUTS, INPUTS).unwrap();
            let mut values = wave(ROWS * INPUTS, 0.1);
            values[5] = broken;
            let products = flat(&matrix.forward(&tensor(values, ROWS)).unwrap());
            assert!(products[..OUTPUTS].iter().all(|product| !product.is_finite()), "{tensor_type:?}");
            assert!(products[OUTPUTS..].iter().all(|product| product.is_finite()), "{tensor_type:?}");
        }
    }
}

#[test]
fn rounding_moves_a_value_by_at_most_half_a_step() {
    let values = wave(INPUTS, 0.11);
    for (rounded, value) in rounded(&values).iter().zip(&values) {
        assert!((rounded - f64::from(*value)).abs() <= 1.1 / 127.0 / 2.0 + 1e-6);
    }
}

#[test]
fn the_integers_of_an_input_sum_up_to_its_sums() {
    let values = wave(INPUTS, 0.11);
    let sums = Rounded::of(Rows { values: &values, length: INPUTS }, Processor::detect());
    for (run, values) in rounded(&values).chunks(32).enumerate() {
        let halves = sums.runs[run].half_sums;
        assert!((f64::from(halves[0]) - values[..16].iter().sum::<f64>()).abs() < 1e-4);
        assert!((f64::from(halves[1]) - values[16..].iter().sum::<f64>()).abs() < 1e-4);
        assert!((f64::from(sums.runs[run].sum) - values.iter().sum::<f64>()).abs() < 1e-4);
    }
}

#[test]
fn inspection_sees_what_dequantization_would_show() {
    for tensor_type in TensorType::ALL {
        let format = Format::of(*tensor_type);
        let golden = golden(*tensor_type, "blocks").unwrap_or_else(|| vec![7; format.block_bytes]);
        for broken in 0..golden.len() {
            let mut bytes = golden.clone();
            for byte in bytes.iter_mut().skip(broken).take(2) {
                *byte = 0xFF;
            }
            let values = dequantize(*tensor_type, &bytes).unwrap();
            let not_finite = values.iter().filter(|value| !value.is_finite()).count() as u64;
            let any_nonzero = values.iter().any(|value| *value != 0.0);
            let seen = inspect(*tensor_type, &bytes);
            assert_eq!(seen, Content { not_finite, any_nonzero }, "{tensor_type:?} at {broken}");
        }
        let zeros = vec![0; 4 * format.block_bytes];
        let any_nonzero = dequantize(*tensor_type, &zeros).unwrap().iter().any(|value| *value != 0.0);
        assert_eq!(inspect(*tensor_type, &zeros), Content { not_finite: 0, any_nonzero }, "{tensor_type:?}");
    }
}

#[test]
fn every_instruction_set_computes_the_same() {
    for tensor_type in computable() {
        let bytes = bytes(tensor_type, OUTPUTS, INPUTS);
        let format = Format::of(tensor_type);
        for rows in [1, ROWS] {
            let values = wave(rows * INPUTS, 0.11);
            let products = |processor| {
                let mut products = vec![0.0; rows * OUTPUTS];
                let input = Rows { values: &values, length: INPUTS };
                let row_bytes = bytes.len() / OUTPUTS;
                let product = Product { matrix: &bytes, row_bytes, outputs: OUTPUTS, input, products: &mut products };
                product.compute(format.multiply, processor);
                products
            };
            let portable = products(*Processor::all().last().unwrap());
            let scale = portable.iter().fold(0.0_f32, |scale, product| scale.max(product.abs()));
            for processor in Processor::all() {
                for (product, expected) in products(processor).iter().zip(&portable) {
                    assert!((product - expected).abs() <= 1e-4 * scale, "{tensor_type:?} with {processor:?}");
                }
            }
        }
    }
}

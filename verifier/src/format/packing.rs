//! How many parameters a stored tensor holds.
//!
//! Quantization methods of safetensors pack several parameters into one stored element and
//! keep scales and zero points beside them. Counting stored elements calls a model of eight
//! billion parameters one of two; so packed tensors are recognized by their own name, type and
//! neighbors, as the loaders of each method recognize them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::document::QuantizationConfig;
use super::tensor::Tensor;

/// What a stored tensor counts for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Parameters, in the precision of this name.
    Parameters { precision: Cow<'static, str>, count: u64 },
    /// Scales, zero points and the like: part of another tensor's encoding.
    Auxiliary,
}

/// The tensors of one file by name.
pub(crate) struct Packing<'t> {
    tensors: HashMap<&'t str, &'t Tensor>,
    config: Option<&'t QuantizationConfig>,
}

/// What bitsandbytes keeps below the name of a weight.
const BITS_AND_BYTES: [&str; 5] = ["absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state"];

/// What follows a packed tensor's name in the names of its auxiliary tensors.
const AUXILIARY_OF_WEIGHT: [&str; 15] = [
    ".weight_scale_inv",
    ".weight_scale",
    ".weight_scale_2",
    ".weight_global_scale",
    ".weight_zero_point",
    ".weight_shape",
    ".weight_g_idx",
    ".weight_format",
    ".input_scale",
    ".input_global_scale",
    ".input_zero_point",
    ".output_scale",
    ".k_scale",
    ".v_scale",
    ".SCB",
];

impl<'t> Packing<'t> {
    pub(crate) fn new(tensors: &'t [Tensor], config: Option<&'t QuantizationConfig>) -> Self {
        Self { tensors: tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(), config }
    }

    /// What `tensor`, one of these, counts for.
    pub(crate) fn role(&self, tensor: &Tensor) -> Role {
        self.grouped(tensor)
            .or_else(|| self.compressed(tensor))
            .or_else(|| self.blocks(tensor))
            .or_else(|| self.bits_and_bytes(tensor))
            .or_else(|| self.half_bytes(tensor))
            .unwrap_or_else(|| Role::Parameters { precision: tensor.element_type.clone(), count: tensor.elements() })
    }

    fn get(&self, stem: &str, suffix: &str) -> Option<&'t Tensor> {
        self.tensors.get(format!("{stem}{suffix}").as_str()).copied()
    }

    /// GPTQ and AWQ: `qweight` with `qzeros` and `scales`; MLX: `weight` with `scales` and `biases`.
    fn grouped(&self, tensor: &Tensor) -> Option<Role> {
        let (stem, part) = tensor.name.rsplit_once('.')?;
        match part {
            "qweight" if tensor.element_type == "I32" => {
                let (scales, zeros) = (self.get(stem, ".scales")?, self.get(stem, ".qzeros"));
                let bits = self.configured_bits().or_else(|| bits_of_zeros(scales, zeros?))?;
                let method = if tensor.shape.last() == scales.shape.last() { "GPTQ" } else { "AWQ" };
                Some(packed(tensor, bits, method))
            }
            "qzeros" | "scales" | "g_idx" if self.get(stem, ".qweight").is_some() => Some(Role::Auxiliary),
            "weight" if tensor.element_type == "U32" && self.get(stem, ".scales").is_some() => {
                Some(packed(tensor, self.configured_bits().unwrap_or(4), "MLX"))
            }
            "scales" | "biases" if self.get(stem, ".weight").is_some_and(|weight| weight.element_type == "U32") => {
                Some(Role::Auxiliary)
            }
            _ => None,
        }
    }

    /// compressed-tensors: `weight_packed` of 32-bit words, or of bytes with two 4-bit floats each.
    fn compressed(&self, tensor: &Tensor) -> Option<Role> {
        let (stem, part) = tensor.name.rsplit_once('.')?;
        if part == "weight_packed" {
            return Some(match tensor.element_type.as_ref() {
                "U8" if self.get(stem, ".weight_global_scale").is_some() => half_bytes(tensor, "NVFP4"),
                "U8" => half_bytes(tensor, "FP4"),
                _ => packed(tensor, self.configured_bits().unwrap_or(4), "INT"),
            });
        }
        let suffix = AUXILIARY_OF_WEIGHT.iter().find(|suffix| tensor.name.ends_with(*suffix))?;
        let stem = tensor.name.strip_suffix(suffix)?;
        let has_weight = [".weight", ".weight_packed"].iter().any(|part| self.get(stem, part).is_some());
        // The scales of a key-value cache stand beside no weight of their own.
        (has_weight || matches!(*suffix, ".k_scale" | ".v_scale")).then_some(Role::Auxiliary)
    }

    /// MXFP4 as gpt-oss stores it: `NAME_blocks` of bytes with two 4-bit floats each, and `NAME_scales`.
    fn blocks(&self, tensor: &Tensor) -> Option<Role> {
        if let Some(stem) = tensor.name.strip_suffix("_blocks") {
            let is_packed = tensor.element_type == "U8" && self.get(stem, "_scales").is_some();
            return is_packed.then(|| half_bytes(tensor, "MXFP4"));
        }
        let stem = tensor.name.strip_suffix("_scales")?;
        self.get(stem, "_blocks").is_some().then_some(Role::Auxiliary)
    }

    /// bitsandbytes: 4-bit codes in bytes beside `NAME.absmax`, `NAME.quant_map`, `NAME.quant_state.…`.
    fn bits_and_bytes(&self, tensor: &Tensor) -> Option<Role> {
        if tensor.element_type == "U8" {
            for (suffix, precision) in
                [(".quant_state.bitsandbytes__nf4", "NF4"), (".quant_state.bitsandbytes__fp4", "FP4")]
            {
                if self.get(&tensor.name, suffix).is_some() {
                    return Some(half_bytes(tensor, precision));
                }
            }
        }
        let at = tensor.name.find(".weight.")? + ".weight".len();
        let (weight, rest) = tensor.name.split_at(at);
        let part = rest[1..].split('.').next()?;
        (BITS_AND_BYTES.contains(&part) && self.tensors.contains_key(weight)).then_some(Role::Auxiliary)
    }

    /// ModelOpt's NVFP4: bytes with two 4-bit floats each beside two levels of scales.
    fn half_bytes(&self, tensor: &Tensor) -> Option<Role> {
        let stem = tensor.name.strip_suffix(".weight")?;
        let is_packed = tensor.element_type == "U8" && self.get(stem, ".weight_scale_2").is_some();
        is_packed.then(|| half_bytes(tensor, "NVFP4"))
    }

    fn configured_bits(&self) -> Option<u64> {
        self.config?.bits
    }
}

/// Zero points are packed like weights, one for each scale.
fn bits_of_zeros(scales: &Tensor, zeros: &Tensor) -> Option<u64> {
    let (scales, zeros) = (*scales.shape.last()?, *zeros.shape.last()?);
    let bits = zeros.checked_mul(32)?.checked_div(scales)?;
    (1..=16).contains(&bits).then_some(bits)
}

fn packed(tensor: &Tensor, bits: u64, method: &str) -> Role {
    let count = tensor.elements().saturating_mul(32) / bits.max(1);
    Role::Parameters { precision: format!("{method}-{bits}bit").into(), count }
}

fn half_bytes(tensor: &Tensor, precision: &'static str) -> Role {
    Role::Parameters { precision: precision.into(), count: tensor.elements().saturating_mul(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, element_type: &'static str, shape: &[u64]) -> Tensor {
        let (name, shape) = (name.to_owned(), shape.to_vec());
        Tensor { name, element_type: element_type.into(), shape, byte_length: 0, offset: None }
    }

    /// Parameters by precision.
    fn counts(tensors: &[Tensor], bits: Option<u64>) -> Vec<(String, u64)> {
        let config = QuantizationConfig { method: None, bits };
        let packing = Packing::new(tensors, bits.is_some().then_some(&config));
        let count = |tensor| match packing.role(tensor) {
            Role::Parameters { precision, count } => Some((precision.into_owned(), count)),
            Role::Auxiliary => None,
        };
        tensors.iter().filter_map(count).collect()
    }

    #[test]
    fn gptq_and_awq_give_their_width_by_their_zero_points() {
        // A layer of 4096 inputs and 1024 outputs in groups of 128.
        let gptq = [
            tensor("a.qweight", "I32", &[512, 1024]),
            tensor("a.qzeros", "I32", &[32, 128]),
            tensor("a.scales", "F16", &[32, 1024]),
            tensor("a.g_idx", "I32", &[4096]),
            tensor("norm.weight", "F16", &[4096]),
        ];
        assert_eq!(counts(&gptq, None), [("GPTQ-4bit".to_owned(), 4096 * 1024), ("F16".to_owned(), 4096)]);
        let awq = [
            tensor("a.qweight", "I32", &[4096, 128]),
            tensor("a.qzeros", "I32", &[32, 128]),
            tensor("a.scales", "F16", &[32, 1024]),
        ];
        assert_eq!(counts(&awq, None), [("AWQ-4bit".to_owned(), 4096 * 1024)]);
    }

    #[test]
    fn packed_floats_hold_two_parameters_per_byte() {
        let mxfp4 =
            [tensor("e.gate_up_proj_blocks", "U8", &[32, 90, 16]), tensor("e.gate_up_proj_scales", "U8", &[32, 90])];
        assert_eq!(counts(&mxfp4, None), [("MXFP4".to_owned(), 32 * 90 * 32)]);
        let nf4 = [
            tensor("a.weight", "U8", &[512, 1]),
            tensor("a.weight.absmax", "U8", &[16]),
            tensor("a.weight.quant_state.bitsandbytes__nf4", "U8", &[90]),
        ];
        assert_eq!(counts(&nf4, None), [("NF4".to_owned(), 1024)]);
        let nvfp4 = [
            tensor("a.weight", "U8", &[8, 8]),
            tensor("a.weight_scale", "F8_E4M3", &[8, 1]),
            tensor("a.weight_scale_2", "F32", &[]),
        ];
        assert_eq!(counts(&nvfp4, None), [("NVFP4".to_owned(), 128)]);
    }

    #[test]
    fn compressed_tensors_and_mlx_take_their_width_from_the_configuration() {
        let compressed = [
            tensor("a.weight_packed", "I32", &[1024, 1024]),
            tensor("a.weight_scale", "BF16", &[1024, 32]),
            tensor("a.weight_shape", "I64", &[2]),
        ];
        assert_eq!(counts(&compressed, Some(8)), [("INT-8bit".to_owned(), 4 * 1024 * 1024)]);
        let mlx = [
            tensor("a.weight", "U32", &[16, 4]),
            tensor("a.scales", "F16", &[16, 1]),
            tensor("a.biases", "F16", &[16, 1]),
        ];
        assert_eq!(counts(&mlx, Some(4)), [("MLX-4bit".to_owned(), 512)]);
    }

    #[test]
    fn scales_without_their_weights_are_parameters() {
        let plain = [tensor("a.scales", "F16", &[4]), tensor("b.weight_scale", "F32", &[2])];
        assert_eq!(counts(&plain, None), [("F16".to_owned(), 4), ("F32".to_owned(), 2)]);
    }
}

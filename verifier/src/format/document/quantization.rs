//! How a configuration says that weights were packed (GPTQ, AWQ, compressed-tensors, MLX, …).

use serde_json::{Map, Value};

use super::{number, short_text};

/// Method and width of packed weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct QuantizationConfig {
    /// `gptq`, `awq`, `compressed-tensors`, `bitsandbytes`, `fp8`, `mxfp4`, … as written.
    pub(crate) method: Option<String>,
    /// Bits per weight before scales and zero points.
    pub(crate) bits: Option<u64>,
}

impl QuantizationConfig {
    /// Of a model's configuration, which holds it under one of two keys.
    pub(crate) fn of_config(config: &Map<String, Value>) -> Option<Self> {
        if let Some(object) = config.get("quantization_config").and_then(Value::as_object) {
            return Some(Self::read(object));
        }
        let mlx = config.get("quantization").and_then(Value::as_object)?;
        Some(Self { method: Some("mlx".to_owned()), bits: width(number(mlx, &["bits"])) })
    }

    /// Of the object itself.
    pub(crate) fn read(object: &Map<String, Value>) -> Self {
        Self {
            method: short_text(object.get("quant_method")),
            bits: width(number(object, &["bits", "w_bit"])).or_else(|| width(group_bits(object))),
        }
    }
}

/// compressed-tensors gives the width per group of layers; the first group stands for all.
fn group_bits(object: &Map<String, Value>) -> Option<u64> {
    let groups = object.get("config_groups")?.as_object()?;
    number(groups.values().next()?.get("weights")?.as_object()?, &["num_bits"])
}

fn width(bits: Option<u64>) -> Option<u64> {
    bits.filter(|bits| (1..=16).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<QuantizationConfig> {
        QuantizationConfig::of_config(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap())
    }

    #[test]
    fn the_width_is_found_in_each_dialect() {
        for (text, method, bits) in [
            (r#"{"quantization_config":{"quant_method":"gptq","bits":4}}"#, "gptq", 4),
            (r#"{"quantization_config":{"quant_method":"awq","bits":4}}"#, "awq", 4),
            (
                r#"{"quantization_config":{"quant_method":"compressed-tensors","config_groups":{"group_0":{"weights":{"num_bits":8}}}}}"#,
                "compressed-tensors",
                8,
            ),
            (r#"{"quantization":{"group_size":64,"bits":6}}"#, "mlx", 6),
        ] {
            let config = read(text).unwrap();
            assert_eq!((config.method.as_deref(), config.bits), (Some(method), Some(bits)), "{text}");
        }
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"quantization_config":{"bits":4000}}"#).unwrap().bits, None);
    }
}

//! Adapters of low rank, and what a model becomes with one.
//!
//! An adapter adds `scale · B · A` to some matrices. The model of the golden has the sum in its
//! own weights, so that the golden does not depend on how an engine applies adapters.

use super::super::Tensor;
use super::dense;
use super::model::{GROUPED, Model, Sizes};
use super::stored::{File, pairs_to_halves};
use crate::random::Random;
use crate::safetensors;

/// A folder as `peft` stores it.
#[derive(Debug, Clone, Copy)]
pub struct Adapter {
    pub name: &'static str,
    /// The name of the [`super::Case`] that it is for; its [`super::Checkpoint`] has the same name.
    pub base: &'static str,
    /// The name of the case whose golden holds for the base with the adapter.
    pub case: &'static str,
    /// Whether the factor is divided by the square root of the rank, not by the rank.
    root_of_rank: bool,
}

/// Every adapter.
pub fn adapters() -> Vec<Adapter> {
    let plain = Adapter { name: "lora", base: "llama", case: "llama-adapted", root_of_rank: false };
    vec![plain, Adapter { name: "lora-root-of-rank", root_of_rank: true, ..plain }]
}

const RANK: usize = 4;
/// What `B · A` is multiplied by.
const SCALE: f32 = 2.0;

/// Names of the adapted matrices in GGUF and in `transformers`.
const TARGETS: [(&str, &str); 5] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The two factors of what is added to one matrix.
struct Delta {
    block: usize,
    target: usize,
    inputs: usize,
    outputs: usize,
    /// `RANK` rows of inputs.
    down: Vec<f32>,
    /// A row of `RANK` for each output.
    up: Vec<f32>,
}

/// The base with the adapter in its weights.
pub(super) fn adapted() -> Model {
    dense::llama(GROUPED).with_change(|tensors| {
        for delta in deltas(&GROUPED) {
            let name = format!("blk.{}.{}.weight", delta.block, TARGETS[delta.target].0);
            for tensor in tensors.iter_mut().filter(|tensor| tensor.name == name.as_bytes()) {
                delta.add_to(tensor);
            }
        }
    })
}

fn deltas(sizes: &Sizes) -> Vec<Delta> {
    let mut random = Random::new(2);
    let mut deltas = Vec::new();
    for block in 0..sizes.blocks {
        for (target, (name, _)) in TARGETS.iter().enumerate() {
            let [inputs, outputs] = match *name {
                "attn_q" => [sizes.width, sizes.queries()],
                "attn_v" => [sizes.width, sizes.keys()],
                "attn_output" => [sizes.queries(), sizes.width],
                "ffn_gate" => [sizes.width, sizes.hidden],
                _ => [sizes.hidden, sizes.width],
            };
            let mut weights = |count: usize, scale| (0..count).map(|_| random.weight(scale)).collect();
            let (down, up) = (weights(RANK * inputs, 0.1), weights(RANK * outputs, 0.5));
            deltas.push(Delta { block, target, inputs, outputs, down, up });
        }
    }
    deltas
}

impl Delta {
    fn add_to(&self, tensor: &mut Tensor) {
        for (index, bytes) in tensor.data.chunks_exact_mut(4).enumerate() {
            let (output, input) = (index / self.inputs, index % self.inputs);
            let row = &self.up[output * RANK..(output + 1) * RANK];
            let sum: f32 =
                row.iter().zip(0..).map(|(up, rank): (&f32, usize)| up * self.down[rank * self.inputs + input]).sum();
            let value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) + SCALE * sum;
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn tensors(&self, sizes: &Sizes) -> [safetensors::Tensor; 2] {
        let (gguf, name) = TARGETS[self.target];
        let name = |part: &str| format!("base_model.model.model.layers.{}.{name}.lora_{part}.weight", self.block);
        let [rank, inputs, outputs] = [RANK, self.inputs, self.outputs].map(|length| length as u64);
        let up = match gguf {
            "attn_q" => pairs_to_halves(&self.up, RANK, sizes.head_length),
            _ => self.up.clone(),
        };
        [
            safetensors::Tensor::f32(&name("A"), &[rank, inputs], &self.down),
            safetensors::Tensor::f32(&name("B"), &[outputs, rank], &up),
        ]
    }
}

impl Adapter {
    /// `adapter_config.json` and `adapter_model.safetensors`.
    pub fn files(&self) -> Vec<File> {
        let mut weights = safetensors::Builder::new().metadata("format", "pt");
        weights.tensors = deltas(&GROUPED).iter().flat_map(|delta| delta.tensors(&GROUPED)).collect();
        vec![
            ("adapter_config.json".to_owned(), self.config().into_bytes()),
            ("adapter_model.safetensors".to_owned(), weights.build()),
        ]
    }

    fn config(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a rank is small")]
        let rank = RANK as f32;
        let alpha = SCALE * if self.root_of_rank { rank.sqrt() } else { rank };
        let short = |name: &str| name.rsplit_once('.').map_or(String::new(), |(_, module)| format!("\"{module}\""));
        let modules: Vec<String> = TARGETS.iter().map(|(_, name)| short(name)).collect();
        format!(
            r#"{{"peft_type":"LORA","task_type":"CAUSAL_LM","base_model_name_or_path":"synthetic/{}","r":{RANK},"lora_alpha":{alpha},"use_rslora":{},"use_dora":false,"fan_in_fan_out":false,"bias":"none","lora_dropout":0.0,"modules_to_save":null,"rank_pattern":{{}},"alpha_pattern":{{}},"target_modules":[{}]}}"#,
            self.base,
            self.root_of_rank,
            modules.join(",")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_an_adapter_changes_its_targets_and_nothing_else() {
        let (base, adapted) = (dense::llama(GROUPED).builder(), adapted().builder());
        for (before, after) in base.tensors.iter().zip(&adapted.tensors) {
            let name = String::from_utf8(before.name.clone()).unwrap();
            let is_target = TARGETS.iter().any(|(target, _)| name.ends_with(&format!("{target}.weight")));
            assert_eq!(before.data != after.data, is_target, "{name}");
        }
    }

    #[test]
    fn both_adapters_scale_alike() {
        let configs: Vec<String> = adapters().iter().map(Adapter::config).collect();
        assert!(configs[0].contains(r#""lora_alpha":8,"use_rslora":false"#), "{}", configs[0]);
        assert!(configs[1].contains(r#""lora_alpha":4,"use_rslora":true"#), "{}", configs[1]);
    }
}

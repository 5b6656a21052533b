//! A 2-layer `llama` model that loads and runs in every engine in milliseconds.
//!
//! Weights are random, so it says nothing sensible; [`TinyLlama::fluent`] replaces the
//! embedding and output by hand-made English letter statistics, so that perplexity and
//! entropy look like those of a trained model and a probe can pass.

use super::vocabulary::{self, END_OF_TEXT, IM_END, VOCABULARY_SIZE};
use super::{Builder, Tensor, TensorType, Value, pair, u32_value};
use crate::random::Random;

/// A chat template in the common ChatML form.
pub const CHAT_TEMPLATE: &str = concat!(
    r"{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}",
    r"{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
);

const EMBEDDING_LENGTH: usize = 32;
const HEAD_COUNT: usize = 2;
const KEY_VALUE_HEAD_COUNT: usize = 1;
const HEAD_LENGTH: usize = EMBEDDING_LENGTH / HEAD_COUNT;
const BLOCK_COUNT: usize = 2;

/// The model's description. All fields are public: change what the test is about and leave
/// the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct TinyLlama {
    pub seed: u64,
    /// Value of `general.architecture` and prefix of the hyperparameters' keys.
    pub architecture: String,
    /// Value of `general.name`.
    pub name: String,
    /// Value of `general.license`; none leaves the key out.
    pub license: Option<String>,
    /// Value of `tokenizer.chat_template`; none leaves the key out.
    pub chat_template: Option<String>,
    /// Type of all matrices; norms are always F32. Rows are one block wide, which the format
    /// allows for Q4_1 but candle's arithmetic does not: such a file loads and does not run.
    pub tensor_type: TensorType,
    /// Width of the feed-forward layers, a multiple of 32. At the default of 32 every type
    /// gives a file below 100 KB; 64 tells the two axes of these matrices apart.
    pub feed_forward_length: usize,
    /// Whether the file has a matrix `output.weight` of its own; without it the embedding
    /// serves as output.
    pub separate_output: bool,
    /// Names of tensors left out of the file.
    pub missing_tensors: Vec<String>,
    /// Names of tensors whose first value, or first block's scale, is not a number.
    pub not_a_number_tensors: Vec<String>,
    /// Number of tokens in the tokenizer; more than [`VOCABULARY_SIZE`] is more than the
    /// embedding has rows.
    pub token_count: usize,
    /// Appended after the model's own pairs, duplicates included.
    pub extra_metadata: Vec<(String, Value)>,
    fluent: bool,
}

impl Default for TinyLlama {
    fn default() -> Self {
        Self {
            seed: 1,
            architecture: "llama".to_owned(),
            name: "Tiny Llama".to_owned(),
            license: Some("apache-2.0".to_owned()),
            chat_template: Some(CHAT_TEMPLATE.to_owned()),
            tensor_type: TensorType::Q8_0,
            feed_forward_length: 32,
            separate_output: false,
            missing_tensors: Vec::new(),
            not_a_number_tensors: Vec::new(),
            token_count: VOCABULARY_SIZE,
            extra_metadata: Vec::new(),
            fluent: false,
        }
    }
}

impl TinyLlama {
    /// A valid model with random weights, Q8_0, `apache-2.0`.
    pub fn new() -> Self {
        Self::default()
    }

    /// A valid model that predicts English letters by frequency instead of at random.
    pub fn fluent() -> Self {
        Self { fluent: true, separate_output: true, ..Self::default() }
    }

    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    #[must_use]
    pub fn license(mut self, license: Option<&str>) -> Self {
        self.license = license.map(str::to_owned);
        self
    }

    #[must_use]
    pub fn chat_template(mut self, template: Option<&str>) -> Self {
        self.chat_template = template.map(str::to_owned);
        self
    }

    #[must_use]
    pub const fn tensor_type(mut self, tensor_type: TensorType) -> Self {
        self.tensor_type = tensor_type;
        self
    }

    #[must_use]
    pub fn without_tensor(mut self, name: &str) -> Self {
        self.missing_tensors.push(name.to_owned());
        self
    }

    #[must_use]
    pub fn not_a_number_in(mut self, name: &str) -> Self {
        self.not_a_number_tensors.push(name.to_owned());
        self
    }

    #[must_use]
    pub const fn token_count(mut self, count: usize) -> Self {
        self.token_count = count;
        self
    }

    #[must_use]
    pub fn extra_metadata(mut self, key: &str, value: Value) -> Self {
        self.extra_metadata.push((key.to_owned(), value));
        self
    }

    /// The bytes of the file.
    pub fn build(&self) -> Vec<u8> {
        self.builder().build()
    }

    /// The file before it is written, for a test that breaks its structure.
    pub fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder.metadata = self.general_metadata();
        builder.metadata.extend(self.hyperparameters());
        builder.metadata.extend(self.tokenizer_metadata());
        builder.metadata.extend(self.extra_metadata.iter().map(|(key, value)| (key.clone().into(), value.clone())));
        builder.tensors = self.tensors();
        builder
    }

    fn general_metadata(&self) -> Vec<(Vec<u8>, Value)> {
        let mut metadata = vec![
            pair("general.architecture", Value::string(self.architecture.as_str())),
            pair("general.type", Value::string("model")),
            pair("general.name", Value::string(self.name.as_str())),
            pair("general.file_type", Value::U32(self.tensor_type.file_type())),
            pair("general.quantization_version", Value::U32(2)),
        ];
        if let Some(license) = &self.license {
            metadata.push(pair("general.license", Value::string(license.as_str())));
        }
        metadata
    }

    fn hyperparameters(&self) -> Vec<(Vec<u8>, Value)> {
        let sizes = [
            ("block_count", BLOCK_COUNT),
            ("context_length", 2048),
            ("embedding_length", EMBEDDING_LENGTH),
            ("feed_forward_length", self.feed_forward_length),
            ("attention.head_count", HEAD_COUNT),
            ("attention.head_count_kv", KEY_VALUE_HEAD_COUNT),
            ("rope.dimension_count", HEAD_LENGTH),
            ("vocab_size", VOCABULARY_SIZE),
        ];
        let key = |name: &str| format!("{}.{name}", self.architecture);
        let mut metadata: Vec<_> = sizes.map(|(name, size)| pair(&key(name), u32_value(size))).into();
        metadata.push(pair(&key("attention.layer_norm_rms_epsilon"), Value::F32(1e-5)));
        metadata.push(pair(&key("rope.freq_base"), Value::F32(10_000.0)));
        metadata
    }

    fn tokenizer_metadata(&self) -> Vec<(Vec<u8>, Value)> {
        let mut metadata = vocabulary::byte_level(self.token_count);
        if let Some(template) = &self.chat_template {
            metadata.push(pair("tokenizer.chat_template", Value::string(template.as_str())));
        }
        metadata
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut weights = Weights { model: self, random: Random::new(self.seed), tensors: Vec::new() };
        weights.embedding();
        for block in 0..BLOCK_COUNT {
            weights.block(block);
        }
        weights.norm("output_norm.weight");
        if self.separate_output {
            weights.output();
        }
        weights.tensors
    }
}

/// Collects the tensors in llama.cpp's naming and order.
struct Weights<'a> {
    model: &'a TinyLlama,
    random: Random,
    tensors: Vec<Tensor>,
}

impl Weights<'_> {
    /// Row `t` is what token `t` puts into the residual stream.
    fn embedding(&mut self) {
        let rows = VOCABULARY_SIZE;
        let mut values = self.uniform(rows * EMBEDDING_LENGTH, if self.model.fluent { 0.01 } else { 1.0 });
        if self.model.fluent {
            for (token, row) in values.chunks_mut(EMBEDDING_LENGTH).enumerate() {
                row[Letter::of(token) as usize] = 1.0;
            }
        }
        self.matrix("token_embd.weight", EMBEDDING_LENGTH, rows, &values);
    }

    /// Row `t` turns the last token's letter class into the logit of token `t`.
    fn output(&mut self) {
        let rows = VOCABULARY_SIZE;
        let mut values = self.uniform(rows * EMBEDDING_LENGTH, if self.model.fluent { 0.001 } else { 1.0 });
        if self.model.fluent {
            // RMS normalization scales the one feature of length 1 to the square root of the width.
            let gain = 5.656_854_f32;
            for (token, row) in values.chunks_mut(EMBEDDING_LENGTH).enumerate() {
                for last in Letter::ALL {
                    row[last as usize] = probability(last, token).ln() / gain;
                }
            }
        }
        self.matrix("output.weight", EMBEDDING_LENGTH, rows, &values);
    }

    fn block(&mut self, block: usize) {
        let width = EMBEDDING_LENGTH;
        let key_value_width = HEAD_LENGTH * KEY_VALUE_HEAD_COUNT;
        let hidden = self.model.feed_forward_length;
        let name = |part: &str| format!("blk.{block}.{part}.weight");
        self.norm(&name("attn_norm"));
        self.random_matrix(&name("attn_q"), width, width);
        self.random_matrix(&name("attn_k"), width, key_value_width);
        self.random_matrix(&name("attn_v"), width, key_value_width);
        self.random_matrix(&name("attn_output"), width, width);
        self.norm(&name("ffn_norm"));
        self.random_matrix(&name("ffn_gate"), width, hidden);
        self.random_matrix(&name("ffn_up"), width, hidden);
        self.random_matrix(&name("ffn_down"), hidden, width);
    }

    fn norm(&mut self, name: &str) {
        let noise = if self.model.fluent { 0.0 } else { 0.1 };
        let values: Vec<f32> = (0..EMBEDDING_LENGTH).map(|_| 1.0 + self.random.weight(noise)).collect();
        self.push(name, &[EMBEDDING_LENGTH as u64], TensorType::F32, &values);
    }

    fn random_matrix(&mut self, name: &str, columns: usize, rows: usize) {
        // A fluent model's layers only whisper, so that the letter statistics win.
        let values = self.uniform(columns * rows, if self.model.fluent { 0.01 } else { 0.3 });
        self.matrix(name, columns, rows, &values);
    }

    fn matrix(&mut self, name: &str, columns: usize, rows: usize, values: &[f32]) {
        self.push(name, &[columns as u64, rows as u64], self.model.tensor_type, values);
    }

    fn push(&mut self, name: &str, dimensions: &[u64], tensor_type: TensorType, values: &[f32]) {
        if self.model.missing_tensors.iter().any(|missing| missing == name) {
            return;
        }
        let mut data = tensor_type.encode(values);
        if self.model.not_a_number_tensors.iter().any(|poisoned| poisoned == name) {
            poison(&mut data, tensor_type);
        }
        self.tensors.push(Tensor::new(name, dimensions, tensor_type.id(), data));
    }

    fn uniform(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.random.weight(scale)).collect()
    }
}

/// Overwrites the first value (F32) or the first half-precision field, which is the scale in
/// every quantized type.
fn poison(data: &mut [u8], tensor_type: TensorType) {
    if tensor_type == TensorType::F32 {
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    } else {
        data[..2].copy_from_slice(&0x7E00_u16.to_le_bytes());
    }
}

/// What kind of character a token is; also the number of its feature in the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Space,
    Vowel,
    Consonant,
    Other,
}

impl Letter {
    const ALL: [Self; 4] = [Self::Space, Self::Vowel, Self::Consonant, Self::Other];

    fn of(token: usize) -> Self {
        match u8::try_from(token) {
            Ok(b' ') => Self::Space,
            Ok(b'a' | b'e' | b'i' | b'o' | b'u') => Self::Vowel,
            Ok(byte) if byte.is_ascii_lowercase() => Self::Consonant,
            _ => Self::Other,
        }
    }

    /// How often a character of this kind is followed by one of the kinds in [`Letter::ALL`];
    /// rounded guesses for English.
    const fn followed_by(self) -> [f32; 4] {
        match self {
            Self::Space => [0.01, 0.28, 0.65, 0.06],
            Self::Vowel => [0.17, 0.13, 0.68, 0.02],
            Self::Consonant => [0.24, 0.40, 0.33, 0.03],
            Self::Other => [0.50, 0.15, 0.25, 0.10],
        }
    }
}

/// The probability of `token` after a character of the kind `last`.
fn probability(last: Letter, token: usize) -> f32 {
    let kind = Letter::of(token);
    last.followed_by()[kind as usize] * share(token)
}

/// The part of its own kind that a token makes up; shares of a kind sum to about 1.
fn share(token: usize) -> f32 {
    match u8::try_from(token) {
        Ok(b' ') => 1.0,
        Ok(byte) if byte.is_ascii_lowercase() => LETTER_SHARES[usize::from(byte - b'a')],
        Ok(b',' | b'.' | b'\n') => 0.15,
        Ok(byte) if byte.is_ascii_graphic() => 0.005,
        // The end of a turn must be reachable.
        Err(_) if token == IM_END as usize || token == END_OF_TEXT as usize => 0.05,
        Ok(_) | Err(_) => 0.000_1,
    }
}

/// Shares of `a` to `z` among vowels (a, e, i, o, u) or among the other letters.
const LETTER_SHARES: [f32; 26] = [
    0.21, 0.02, 0.05, 0.07, 0.33, 0.04, 0.03, 0.10, 0.18, 0.005, 0.01, 0.07, 0.04, 0.11, 0.20, 0.03, 0.002, 0.10, 0.10,
    0.15, 0.08, 0.02, 0.04, 0.003, 0.03, 0.002,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_type_gives_a_file_below_100_kilobytes() {
        for kind in [TensorType::F32, TensorType::F16, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0] {
            let size = TinyLlama::new().tensor_type(kind).build().len();
            assert!(size < 100_000, "{kind:?}: {size}");
        }
    }

    #[test]
    fn same_seed_gives_the_same_bytes_and_another_seed_does_not() {
        assert_eq!(TinyLlama::new().build(), TinyLlama::new().build());
        assert_ne!(TinyLlama::new().build(), TinyLlama::new().seed(2).build());
    }

    #[test]
    fn probabilities_after_each_kind_sum_to_about_one() {
        for last in Letter::ALL {
            let sum: f32 = (0..VOCABULARY_SIZE).map(|token| probability(last, token)).sum();
            assert!((0.9..1.1).contains(&sum), "{last:?}: {sum}");
        }
    }

    #[test]
    fn missing_tensor_is_left_out_and_poisoned_tensor_holds_no_number() {
        let model = TinyLlama::new()
            .tensor_type(TensorType::F32)
            .without_tensor("blk.1.ffn_up.weight")
            .not_a_number_in("token_embd.weight");
        let tensors = model.builder().tensors;
        assert!(tensors.iter().all(|tensor| tensor.name != b"blk.1.ffn_up.weight"));
        assert!(f32::from_le_bytes(tensors[0].data[..4].try_into().unwrap()).is_nan());
    }
}

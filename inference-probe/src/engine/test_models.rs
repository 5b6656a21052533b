//! Models in memory, for the tests of this crate.

use std::io::Write;

use verifier::FileReader;

use super::architecture::Architecture;
use super::decoder::{Cache, Decoder};
use super::hyperparameters::Hyperparameters;
use super::weights::Weights;
use crate::checkpoint::Checkpoint;
use crate::checks::ModelFile;

/// A file that a probe could read.
pub(crate) fn file(name: &str, bytes: &[u8]) -> ModelFile {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    ModelFile { name: name.to_owned(), reader: Box::new(FileReader::from_file(file).unwrap()) }
}

/// A model ready to run.
pub(crate) struct Loaded(Decoder);

impl Loaded {
    pub(crate) fn new(gguf: &[u8]) -> Self {
        Self::of(&[file("model.gguf", gguf)], 256)
    }

    /// For texts of up to `context` tokens.
    pub(crate) fn of(files: &[ModelFile], context: u64) -> Self {
        let checkpoint = Checkpoint::open(files).unwrap();
        let architecture = Architecture::find(checkpoint.header.architecture().unwrap()).unwrap();
        let sizes = Hyperparameters::read(architecture, &checkpoint.header).unwrap();
        Self(Decoder::load(architecture, &sizes, &Weights::new(&checkpoint), context).unwrap())
    }

    /// The logits after each of `tokens`.
    pub(crate) fn all_logits(&self, tokens: &[u32]) -> Vec<Vec<f32>> {
        let states = self.0.forward(tokens, &mut Cache::default()).unwrap();
        self.0.logits(&states).unwrap().to_vec2().unwrap()
    }

    /// The logits after the last of `tokens`, which follow those in `cache`.
    pub(crate) fn last_logits(&self, tokens: &[u32], cache: &mut Cache) -> Vec<f32> {
        let states = self.0.forward(tokens, cache).unwrap();
        self.0.logits(&states).unwrap().to_vec2().unwrap().pop().unwrap()
    }
}

//! Which files of a revision an engine needs in order to load it.
//!
//! One rule for the pipeline and for `weighhouse probe`: a probe's result depends on the files it
//! may read, and evidence is keyed by exactly these.

use super::Inspection;

/// Documents beside weights that do not carry their own configuration, at the repository's root.
const DOCUMENTS: [&str; 15] = [
    "adapter_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];
/// Lists which part of a split checkpoint holds which tensor.
const INDEX_ENDING: &str = ".safetensors.index.json";
/// Of the folder, such as `1_Pooling`, that says how an embedding model sums tokens up.
const POOLING_ENDING: &str = "_Pooling";

impl Inspection {
    /// Whether an engine reads the file at `path`: weights, and what belongs to weights that do not
    /// carry their own configuration. Pickles are programs; no engine of ours runs them.
    pub fn is_loaded(&self, path: &str) -> bool {
        match self.files.iter().find(|file| file.path == path) {
            Some(file) if file.weights => file.format != "pickle",
            _ => !self.is_self_contained() && belongs_to_weights(path),
        }
    }

    /// Entries of the largest vocabulary that a tokenizer's file holds; none where none was counted.
    pub fn vocabulary_size(&self) -> Option<u64> {
        self.tokenizers.iter().filter_map(|found| found.facts.get("vocabulary_size")?.as_u64()).max()
    }

    /// Whether the weights say by themselves what they are.
    fn is_self_contained(&self) -> bool {
        self.format.as_deref() == Some("gguf")
    }
}

fn belongs_to_weights(path: &str) -> bool {
    match path.split_once('/') {
        None => DOCUMENTS.contains(&path) || path.ends_with(INDEX_ENDING),
        Some((folder, name)) => folder.ends_with(POOLING_ENDING) && name == "config.json",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{InspectedFile, InspectionVerdict, SCHEMA_VERSION, TokenizerFacts};
    use super::*;

    fn file(path: &str, format: &str, weights: bool) -> InspectedFile {
        InspectedFile {
            path: path.into(),
            size: 1,
            format: format.into(),
            verdict: InspectionVerdict::Ok,
            weights,
            counted: weights,
            parameters: None,
            tensor_count: None,
            quantization: None,
            metadata: serde_json::Map::new(),
        }
    }

    fn inspection(format: &str, files: Vec<InspectedFile>) -> Inspection {
        Inspection {
            schema_version: SCHEMA_VERSION,
            verdict: InspectionVerdict::Ok,
            format: Some(format.into()),
            architecture: None,
            parameters: None,
            quantization: None,
            bits_per_weight: None,
            context_length: None,
            quantization_method: None,
            precisions: Vec::new(),
            weight_bytes: None,
            cache: None,
            tokenizers: Vec::new(),
            chat_templates: Vec::new(),
            files,
            findings: Vec::new(),
        }
    }

    #[test]
    fn gguf_needs_nothing_beside_it() {
        let found = inspection("gguf", vec![file("w.gguf", "gguf", true), file("config.json", "json", false)]);
        assert!(found.is_loaded("w.gguf"));
        assert!(!found.is_loaded("config.json") && !found.is_loaded("tokenizer.json"));
    }

    #[test]
    fn checkpoints_need_their_configuration_tokenizer_and_pooling() {
        let found = inspection("safetensors", vec![file("model.safetensors", "safetensors", true)]);
        for path in ["model.safetensors", "config.json", "tokenizer.model", "merges.txt", "modules.json"] {
            assert!(found.is_loaded(path), "{path}");
        }
        assert!(found.is_loaded("model.safetensors.index.json"));
        assert!(found.is_loaded("1_Pooling/config.json") && found.is_loaded("2_Pooling/config.json"));
    }

    #[test]
    fn what_no_engine_reads_stays_out() {
        let files = vec![file("model.safetensors", "safetensors", true), file("pytorch_model.bin", "pickle", true)];
        let found = inspection("safetensors", files);
        for path in ["pytorch_model.bin", "README.md", "trainer_state.json", "onnx/config.json", "1_Pooling/a.json"] {
            assert!(!found.is_loaded(path), "{path}");
        }
        assert!(!found.is_loaded("a/1_Pooling/config.json"));
    }

    #[test]
    fn largest_vocabulary_of_all_files_is_the_one_that_counts() {
        let mut found = inspection("safetensors", Vec::new());
        assert_eq!(found.vocabulary_size(), None);
        for size in [serde_json::json!(5), serde_json::json!(32_000), serde_json::json!("many")] {
            let facts = serde_json::Map::from_iter([("vocabulary_size".to_owned(), size)]);
            found.tokenizers.push(TokenizerFacts { path: "tokenizer.json".into(), facts });
        }
        assert_eq!(found.vocabulary_size(), Some(32_000));
    }
}

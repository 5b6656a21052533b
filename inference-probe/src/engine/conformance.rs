//! For which ways of computing a committed golden of llama.cpp exists.
//!
//! A model is `verified` when its family has a golden, and one for each optional part that the
//! file makes use of. What is listed here is what the goldens hold; a test compares the two.

use verifier::evidence::Conformance;

use super::architecture::{Architecture, Norms, QueryKeyNorm, Window};
use super::hyperparameters::{Hyperparameters, Scaling};
use crate::checkpoint::Checkpoint;

/// A part of a family's computation that some of its files use and others do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    FusedProjection,
    SeparateProjection,
    ProjectionBias,
    AttentionOutputBias,
    FeedForwardBias,
    OwnHeadLength,
    HeadNorms,
    SecondNorm,
    ParallelResidual,
    SequentialResidual,
    PartialRotation,
    NoRotation,
    LinearScaling,
    YarnScaling,
    RotaryFactors,
    LongRotaryFactors,
    SlidingWindow,
    Experts,
    SharedExpert,
    ProjectionClamp,
    AttentionTemperature,
}

impl Feature {
    /// In the words of a finding.
    const fn describe(self) -> &'static str {
        match self {
            Self::FusedProjection => "queries, keys and values in one matrix",
            Self::SeparateProjection => "queries, keys and values in matrices of their own",
            Self::ProjectionBias => "biases of queries, keys and values",
            Self::AttentionOutputBias => "a bias after attention",
            Self::FeedForwardBias => "biases in the feed-forward layer",
            Self::OwnHeadLength => "heads of a length of their own",
            Self::HeadNorms => "normalized heads",
            Self::SecondNorm => "a second norm before attention",
            Self::ParallelResidual => "parallel residuals",
            Self::SequentialResidual => "sequential residuals",
            Self::PartialRotation => "heads that rotate in part",
            Self::NoRotation => "rotation switched off",
            Self::LinearScaling => "linear scaling of positions",
            Self::YarnScaling => "YaRN scaling of positions",
            Self::RotaryFactors => "rotary factors",
            Self::LongRotaryFactors => "rotary factors for short and long texts",
            Self::SlidingWindow => "a sliding window",
            Self::Experts => "experts",
            Self::SharedExpert => "a shared expert",
            Self::ProjectionClamp => "bounded queries, keys and values",
            Self::AttentionTemperature => "attention that sharpens with the position",
        }
    }
}

/// What goldens of one family cover.
struct Record {
    architecture: &'static str,
    features: &'static [Feature],
}

mod record;

/// What is known of a model, and what of it no golden covers.
pub(crate) fn assess(
    architecture: &Architecture,
    sizes: &Hyperparameters,
    checkpoint: &Checkpoint<'_>,
) -> (Conformance, Vec<String>) {
    let record = record::RECORDS.iter().find(|record| record.architecture == architecture.name);
    let covered = record.map_or(&[][..], |record| record.features);
    let used = features(architecture, sizes, &|name| checkpoint.has(name)).into_iter();
    let unknown = used.filter(|feature| !covered.contains(feature)).map(|feature| feature.describe().to_owned());
    let unknown: Vec<String> =
        unknown.chain(unknown_names(checkpoint.model_type)).chain(checkpoint.doubts.clone()).collect();
    let verified = record.is_some() && unknown.is_empty();
    (if verified { Conformance::Verified } else { Conformance::Unverified }, unknown)
}

/// How the tensors of a folder are named, in words, where no golden holds what becomes of the names.
pub(crate) fn unknown_names(model_type: Option<&str>) -> Option<String> {
    let unknown = model_type.filter(|model_type| !record::MODEL_TYPES.contains(model_type));
    unknown.map(|model_type| format!("the names that a folder of `{model_type}` gives its tensors"))
}

/// The optional parts that a file makes use of, sorted.
fn features(architecture: &Architecture, sizes: &Hyperparameters, has: &dyn Fn(&str) -> bool) -> Vec<Feature> {
    let block = |part: &str| has(&format!("blk.0.{part}"));
    let is_second_norm = |norm: &str| block(&format!("{norm}.weight"));
    let fused = block("attn_qkv.weight");
    let rotary = &sizes.rotary;
    let candidates = [
        (Feature::FusedProjection, fused),
        (Feature::SeparateProjection, !fused),
        (Feature::ProjectionBias, block("attn_qkv.bias") || block("attn_q.bias")),
        (Feature::AttentionOutputBias, block("attn_output.bias")),
        (Feature::FeedForwardBias, block("ffn_up.bias")),
        (Feature::OwnHeadLength, sizes.head_length * sizes.head_count != sizes.embedding_length),
        (
            Feature::HeadNorms,
            architecture.query_key_norm == QueryKeyNorm::EachHeadWithOwnGain && block("attn_q_norm.weight"),
        ),
        (Feature::SecondNorm, architecture.norms == Norms::Shared && is_second_norm("attn_norm_2")),
        (Feature::ParallelResidual, is_parallel(architecture, sizes, &block)),
        (Feature::SequentialResidual, !is_parallel(architecture, sizes, &block)),
        (Feature::PartialRotation, rotary.dimensions < sizes.head_length),
        (Feature::NoRotation, rotary.is_off),
        (Feature::LinearScaling, matches!(rotary.scaling, Scaling::Linear(factor) if (factor - 1.0).abs() > 1e-9)),
        (Feature::YarnScaling, matches!(rotary.scaling, Scaling::Yarn { .. })),
        (Feature::RotaryFactors, has("rope_freqs.weight")),
        (Feature::LongRotaryFactors, has("rope_factors_short.weight")),
        (Feature::SlidingWindow, architecture.window != Window::Never && sizes.window.is_some()),
        (Feature::Experts, sizes.experts.is_some()),
        (Feature::SharedExpert, sizes.experts.is_some_and(|experts| experts.shared_feed_forward_length > 0)),
        (Feature::ProjectionClamp, sizes.projection_clamp.is_some()),
        (Feature::AttentionTemperature, sizes.attention_temperature.abs() > 0.0),
    ];
    candidates.into_iter().filter(|(_, used)| *used).map(|(feature, _)| feature).collect()
}

fn is_parallel(architecture: &Architecture, sizes: &Hyperparameters, block: &dyn Fn(&str) -> bool) -> bool {
    sizes.parallel_residual || (architecture.norms == Norms::SharedOrBefore && !block("ffn_norm.weight"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use sha2::{Digest, Sha256};
    use weighhouse_tests::gguf::architectures::{Case, cases, checkpoints, encoder_checkpoints, encoders};

    use super::*;
    use crate::engine::architecture::ARCHITECTURES;
    use crate::engine::encoder::FAMILIES;
    use crate::engine::test_models::{Loaded, file};

    /// llama.cpp looks the hyperbolic tangent's GELU up in a table of half-precision numbers; its
    /// logits differ by so much from those of the function itself.
    const GELU_TABLE_TOLERANCE: f32 = 0.015;
    /// Inputs of quantized matrices are rounded to 8 bits, which the last bit of each can tip over.
    const ROUNDED_INPUT_TOLERANCE: f32 = 0.1;
    const TOLERANCE: f32 = 1e-4;

    #[derive(serde::Deserialize)]
    struct Golden {
        model_sha256: String,
        context: u64,
        tokens: Vec<u32>,
        logits: Vec<Row>,
    }

    #[derive(serde::Deserialize)]
    struct Row {
        position: usize,
        values: Vec<f32>,
    }

    fn golden(case: &Case) -> Golden {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/architectures");
        let text = fs_err::read(format!("{folder}/{}.json", case.name)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn tolerance(case: &Case) -> f32 {
        use crate::engine::architecture::Activation;
        let architecture = Architecture::find(case.architecture).unwrap();
        if case.name.ends_with("q8_0") || case.name.ends_with("mxfp4") {
            ROUNDED_INPUT_TOLERANCE
        } else if architecture.feed_forward.activation == Activation::Gelu {
            GELU_TABLE_TOLERANCE
        } else {
            TOLERANCE
        }
    }

    fn greatest_difference(golden: &Golden, rows: &[Vec<f32>]) -> f32 {
        let pairs = golden.logits.iter().flat_map(|row| {
            assert_eq!(row.values.len(), rows[row.position].len());
            row.values.iter().zip(&rows[row.position])
        });
        pairs.map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn every_family_computes_what_llama_cpp_computes() {
        for case in cases() {
            let golden = golden(&case);
            let bytes = (case.build)();
            assert_eq!(hex::encode(Sha256::digest(&bytes)), golden.model_sha256, "{} is stale", case.name);
            let model = Loaded::of(&[file("model.gguf", &bytes)], golden.context);
            let difference = greatest_difference(&golden, &model.all_logits(&golden.tokens));
            assert!(difference < tolerance(&case), "{}: {difference}", case.name);
        }
    }

    #[test]
    fn a_transformers_folder_computes_what_its_gguf_file_computes() {
        for checkpoint in checkpoints() {
            let case = cases().into_iter().find(|case| case.name == checkpoint.case).unwrap();
            let files: Vec<_> = checkpoint.files().iter().map(|(name, bytes)| file(name, bytes)).collect();
            let golden = golden(&case);
            let rows = Loaded::of(&files, golden.context).all_logits(&golden.tokens);
            let difference = greatest_difference(&golden, &rows);
            // Half precision has fewer bits for the smallest weights than the golden's file.
            let slack = if checkpoint.name.ends_with("-f16") { 10.0 } else { 1.0 };
            assert!(difference < slack * tolerance(&case), "{}: {difference}", checkpoint.name);
        }
    }

    #[test]
    fn the_record_lists_every_model_type_of_which_a_folder_is_held_to_a_golden() {
        let all = [checkpoints(), encoder_checkpoints()].into_iter().flatten();
        let held = all.map(|checkpoint| {
            let files: Vec<_> = checkpoint.files().iter().map(|(name, bytes)| file(name, bytes)).collect();
            Checkpoint::open(&files).unwrap().model_type.unwrap()
        });
        let held: BTreeSet<&str> = held.collect();
        assert_eq!(record::MODEL_TYPES, held.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_folder_of_another_model_type_is_not_verified() {
        let case = &checkpoints()[0];
        let files: Vec<_> = case.files().iter().map(|(name, bytes)| file(name, bytes)).collect();
        let mut checkpoint = Checkpoint::open(&files).unwrap();
        let architecture = Architecture::find(checkpoint.header.architecture().unwrap()).unwrap();
        let sizes = Hyperparameters::read(architecture, &checkpoint.header).unwrap();
        assert_eq!(assess(architecture, &sizes, &checkpoint), (Conformance::Verified, Vec::new()));
        checkpoint.model_type = Some("another");
        let (conformance, unknown) = assess(architecture, &sizes, &checkpoint);
        assert_eq!(conformance, Conformance::Unverified);
        assert!(unknown[0].contains("`another`"), "{unknown:?}");
    }

    #[test]
    fn the_readme_lists_every_family_and_no_other() {
        let readme = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
        let rows = readme.lines().filter(|line| line.ends_with("| verified |"));
        let listed: BTreeSet<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        let decoders = ARCHITECTURES.iter().map(|architecture| architecture.name);
        let computed: BTreeSet<&str> = decoders.chain(FAMILIES.iter().map(|family| family.name)).collect();
        assert_eq!(listed, computed);
    }

    #[test]
    fn the_record_lists_every_family_with_what_its_goldens_hold() {
        let mut held: BTreeMap<&str, BTreeSet<Feature>> = BTreeMap::new();
        for case in [cases(), encoders()].concat() {
            let Some(architecture) = Architecture::find(case.architecture) else { continue };
            let files = [file("model.gguf", &(case.build)())];
            let checkpoint = Checkpoint::open(&files).unwrap();
            let sizes = Hyperparameters::read(architecture, &checkpoint.header).unwrap();
            let used = features(architecture, &sizes, &|name| checkpoint.has(name));
            held.entry(architecture.name).or_default().extend(used);
        }
        let recorded = record::RECORDS.iter().map(|record| (record.architecture, record.features.to_vec()));
        let recorded: BTreeMap<&str, Vec<Feature>> = recorded.collect();
        let held: BTreeMap<&str, Vec<Feature>> =
            held.into_iter().map(|(name, features)| (name, features.into_iter().collect())).collect();
        assert_eq!(recorded, held);
        let listed: BTreeSet<&str> = ARCHITECTURES.iter().map(|architecture| architecture.name).collect();
        assert_eq!(listed, recorded.into_keys().collect(), "a family without a golden is not listed");
    }
}

//! The families and parts that goldens in `tests/goldens/architectures` hold.

use super::Feature::{
    self, AttentionOutputBias, AttentionTemperature, Experts, FeedForwardBias, FusedProjection, HeadNorms,
    LinearScaling, LongRotaryFactors, NoRotation, OwnHeadLength, ParallelResidual, PartialRotation, ProjectionBias,
    ProjectionClamp, RotaryFactors, SecondNorm, SeparateProjection, SequentialResidual, SharedExpert, SlidingWindow,
    YarnScaling,
};
use super::Record;

const fn record(architecture: &'static str, features: &'static [Feature]) -> Record {
    Record { architecture, features }
}

pub(super) const RECORDS: &[Record] = &[
    record("arcee", &[SeparateProjection, OwnHeadLength, SequentialResidual, RotaryFactors]),
    record("bloom", &[FusedProjection, ProjectionBias, AttentionOutputBias, FeedForwardBias, SequentialResidual]),
    record(
        "codeshell",
        &[SeparateProjection, ProjectionBias, AttentionOutputBias, FeedForwardBias, SequentialResidual],
    ),
    record("cohere2", &[SeparateProjection, ParallelResidual, SlidingWindow]),
    record("command-r", &[SeparateProjection, HeadNorms, ParallelResidual]),
    record("ernie4_5", &[SeparateProjection, OwnHeadLength, SequentialResidual]),
    record("exaone", &[SeparateProjection, SequentialResidual, RotaryFactors]),
    record("exaone4", &[SeparateProjection, SequentialResidual, SlidingWindow]),
    record("falcon", &[FusedProjection, SecondNorm, ParallelResidual]),
    record("gemma", &[SeparateProjection, OwnHeadLength, SequentialResidual]),
    record("gemma2", &[SeparateProjection, OwnHeadLength, SequentialResidual, SlidingWindow]),
    record("gemma3", &[SeparateProjection, OwnHeadLength, SequentialResidual, LinearScaling, SlidingWindow]),
    record("glm4", &[SeparateProjection, ProjectionBias, SequentialResidual, PartialRotation]),
    record(
        "gpt-oss",
        &[
            SeparateProjection,
            ProjectionBias,
            AttentionOutputBias,
            OwnHeadLength,
            SequentialResidual,
            YarnScaling,
            SlidingWindow,
            Experts,
        ],
    ),
    record("gpt2", &[FusedProjection, ProjectionBias, AttentionOutputBias, FeedForwardBias, SequentialResidual]),
    record(
        "gptneox",
        &[
            FusedProjection,
            ProjectionBias,
            AttentionOutputBias,
            FeedForwardBias,
            ParallelResidual,
            SequentialResidual,
            PartialRotation,
        ],
    ),
    record("granite", &[SeparateProjection, SequentialResidual, NoRotation]),
    record("granitemoe", &[SeparateProjection, SequentialResidual, Experts, SharedExpert]),
    record("internlm2", &[SeparateProjection, SequentialResidual]),
    record(
        "llama",
        &[
            FusedProjection,
            SeparateProjection,
            ProjectionBias,
            AttentionOutputBias,
            FeedForwardBias,
            OwnHeadLength,
            SequentialResidual,
            LinearScaling,
            YarnScaling,
            RotaryFactors,
            Experts,
        ],
    ),
    record("minicpm", &[SeparateProjection, SequentialResidual]),
    record("mistral3", &[SeparateProjection, OwnHeadLength, SequentialResidual, YarnScaling, AttentionTemperature]),
    record("mpt", &[FusedProjection, SequentialResidual, ProjectionClamp]),
    record(
        "nemotron",
        &[
            SeparateProjection,
            ProjectionBias,
            AttentionOutputBias,
            FeedForwardBias,
            SequentialResidual,
            PartialRotation,
        ],
    ),
    record("olmo", &[SeparateProjection, SequentialResidual, ProjectionClamp]),
    record("olmo2", &[SeparateProjection, SequentialResidual, YarnScaling, SlidingWindow]),
    record("olmoe", &[SeparateProjection, SequentialResidual, Experts]),
    record("orion", &[SeparateProjection, SequentialResidual]),
    record(
        "phi2",
        &[
            FusedProjection,
            SeparateProjection,
            ProjectionBias,
            AttentionOutputBias,
            FeedForwardBias,
            ParallelResidual,
            PartialRotation,
        ],
    ),
    record("phi3", &[FusedProjection, SequentialResidual, PartialRotation, LongRotaryFactors]),
    record("qwen2", &[SeparateProjection, ProjectionBias, SequentialResidual, YarnScaling]),
    record("qwen2moe", &[SeparateProjection, ProjectionBias, SequentialResidual, Experts, SharedExpert]),
    record("qwen3", &[SeparateProjection, OwnHeadLength, SequentialResidual]),
    record("qwen3moe", &[SeparateProjection, OwnHeadLength, SequentialResidual, Experts]),
    record("seed_oss", &[SeparateProjection, ProjectionBias, OwnHeadLength, SequentialResidual]),
    record("smollm3", &[SeparateProjection, SequentialResidual]),
    record(
        "stablelm",
        &[SeparateProjection, ProjectionBias, HeadNorms, ParallelResidual, SequentialResidual, PartialRotation],
    ),
    record("starcoder", &[FusedProjection, ProjectionBias, AttentionOutputBias, FeedForwardBias, SequentialResidual]),
    record(
        "starcoder2",
        &[SeparateProjection, ProjectionBias, AttentionOutputBias, FeedForwardBias, SequentialResidual],
    ),
    record("xverse", &[SeparateProjection, SequentialResidual]),
];

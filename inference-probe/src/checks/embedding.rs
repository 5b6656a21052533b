//! The levels of a model that embeds texts, where they differ from those of a model that writes.
//!
//! Such a model cannot be asked to predict a text. What damage cannot hide from instead is that
//! sentences of one meaning lie nearer to each other than sentences of two.

use std::time::Instant;

use verifier::evidence::{Embedding, Finding, Severity};
use verifier::format::gguf::Header;

use super::language::{PLAIN_TEXTS, broken, check_ids, check_rows, refused};
use super::run::{CONTEXT_TOKENS, engine_refused};
use super::structure::{self, REMEDY, Structure, check_tensors};
use super::{Passed, Progress, Stop};
use crate::checkpoint::Checkpoint;
use crate::engine::architecture::Architecture;
use crate::engine::conformance;
use crate::engine::decoder::{Decoder, EngineError};
use crate::engine::encoder::{Encoder, Family, Pooling, Sizes};
use crate::engine::weights::Weights;
use crate::protocol::{self, Measurements};
use crate::tokenizer::Tokenizer;

/// Sentences of one meaning, side by side.
const PARAPHRASES: [[&str; 2]; 4] = [
    ["The cat is sleeping on the sofa.", "A cat naps on the couch."],
    ["How do I reset my password?", "I forgot my password, how can I change it?"],
    ["The company reported higher profits this year.", "Earnings of the firm rose this year."],
    ["It will rain heavily tomorrow.", "Tomorrow heavy rain is expected."],
];
/// How much nearer paraphrases should lie, by the cosine.
const GOOD_MARGIN: f64 = 0.2;
/// Embeddings of different texts that are nearer than this are one and the same.
const COLLAPSED: f64 = 0.999;

/// L1: the tensors of the family.
pub(crate) fn structure(
    checkpoint: &Checkpoint<'_>,
    family: &Family,
    memory_limit: u64,
) -> Result<Passed<Sizes>, Stop> {
    let invalid = |detail: String| {
        Stop::failed(vec![Finding::new("HYPERPARAMETER_INVALID", Severity::High, detail, REMEDY).at(&checkpoint.name)])
    };
    let sizes = Sizes::read(family, &checkpoint.header).map_err(invalid)?;
    let specifications = sizes.tensors(family, &|name| checkpoint.has(name));
    check_tensors(checkpoint, &specifications, std::iter::empty(), memory_limit)?;
    let detail = format!(
        "`{}` with {} blocks; all {} tensors are present in the right shape",
        family.name,
        sizes.blocks,
        checkpoint.header.tensors.len()
    );
    let unknown: Vec<String> = conformance::unknown_names(checkpoint.model_type).into_iter().collect();
    let warnings = structure::padding(&checkpoint.header, sizes.vocabulary).into_iter();
    let warnings = warnings.chain(structure::unverified(family.name, &unknown));
    Ok(Passed::new(sizes, detail, warnings.map(|finding| finding.at(&checkpoint.name)).collect()))
}

/// L3: the tokenizer, which may fold case and accents, so that no text has to come back.
pub(crate) fn tokenizer(checkpoint: &Checkpoint<'_>, vocabulary: u64) -> Result<Passed<Tokenizer>, Stop> {
    let file = checkpoint.name.as_str();
    let tokenizer = Tokenizer::open(checkpoint).map_err(|error| refused(file, &error))?;
    check_rows(file, tokenizer.vocabulary_size(), vocabulary)?;
    let mut seen = std::collections::HashSet::new();
    for text in PLAIN_TEXTS {
        let tokens = tokenizer.encode_document(text).map_err(|error| refused(file, &error))?;
        if tokens.is_empty() || !seen.insert(tokens) {
            let detail = format!("the text {text:?} has the tokens of another one, or none");
            return Err(Stop::failed(vec![broken(file, detail)]));
        }
    }
    let detail = format!("{} texts have tokens of their own", PLAIN_TEXTS.len());
    Ok(Passed::new(tokenizer, detail, Vec::new()))
}

/// What the earlier levels hand to L4.
#[derive(Clone, Copy)]
pub(crate) struct Prepared<'a> {
    pub(crate) checkpoint: &'a Checkpoint<'a>,
    pub(crate) kind: Kind<'a>,
    pub(crate) tokenizer: &'a Tokenizer,
}

/// The two ways to a vector.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    Encoder(&'static Family, &'a Sizes),
    Decoder(&'a Structure, Pooling),
}

/// A loaded model of either kind.
enum Embedder {
    Encoder(Box<Encoder>),
    Decoder(Box<Decoder>, Pooling),
}

impl Kind<'_> {
    pub(crate) fn vocabulary(self) -> u64 {
        match self {
            Self::Encoder(_, sizes) => sizes.vocabulary,
            Self::Decoder(structure, _) => structure.sizes.vocabulary_size,
        }
    }

    fn context(self) -> u64 {
        match self {
            Self::Encoder(_, sizes) => sizes.context,
            Self::Decoder(structure, _) => structure.sizes.context_length.min(CONTEXT_TOKENS),
        }
    }

    fn pooling(self) -> Pooling {
        match self {
            Self::Encoder(_, sizes) => sizes.pooling,
            Self::Decoder(_, pooling) => pooling,
        }
    }

    fn load(self, checkpoint: &Checkpoint<'_>) -> Result<Embedder, EngineError> {
        Ok(match self {
            Self::Encoder(family, sizes) => Embedder::Encoder(Box::new(Encoder::load(family, sizes, checkpoint)?)),
            Self::Decoder(Structure { architecture, sizes, .. }, pooling) => {
                let decoder = Decoder::load(architecture, sizes, &Weights::new(checkpoint), self.context())?;
                Embedder::Decoder(Box::new(decoder), pooling)
            }
        })
    }
}

impl Embedder {
    fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        match self {
            Self::Encoder(encoder) => encoder.embed(tokens),
            Self::Decoder(decoder, pooling) => decoder.embedding(tokens, *pooling),
        }
    }
}

/// How a model of the decoder's table makes one vector of a text; none for one that writes.
pub(crate) fn pooling_of_decoder(header: &Header) -> Option<Pooling> {
    let architecture = Architecture::find(header.architecture()?)?;
    Pooling::read(architecture.name, header).or((!architecture.causal).then_some(Pooling::Mean))
}

/// L4: loads the model, embeds texts twice and compares them.
pub(crate) fn run(
    model: Prepared<'_>,
    measured: &mut Measurements,
    progress: Progress<'_>,
) -> Result<Passed<()>, Stop> {
    let file = model.checkpoint.name.as_str();
    let started = Instant::now();
    let embedder = model.kind.load(model.checkpoint).map_err(|error| engine_refused(file, error))?;
    measured.load_milliseconds = Some(protocol::milliseconds(started.elapsed()));
    progress(1, 3);
    let texts = tokens(model)?;
    let embed = || texts.iter().map(|text| embedder.embed(text)).collect::<Result<Vec<_>, _>>();
    let started = Instant::now();
    let first = embed().map_err(|error| engine_refused(file, error))?;
    let seconds = started.elapsed().as_secs_f64();
    progress(2, 3);
    let second = embed().map_err(|error| engine_refused(file, error))?;
    if first.iter().flatten().any(|value| !value.is_finite()) {
        let finding = Finding::new("NON_FINITE_EMBEDDING", Severity::High, "an embedding is not finite", REMEDY);
        return Err(Stop::failed(vec![finding.at(file)]));
    }
    let count: usize = texts.iter().map(Vec::len).sum();
    let (paraphrase, unrelated) = cosines(&first);
    #[expect(clippy::cast_precision_loss, reason = "the texts have few tokens")]
    let embedding = Embedding {
        dimensions: first.first().map_or(0, |vector| vector.len() as u64),
        pooling: model.kind.pooling().as_str().to_owned(),
        paraphrase_cosine: paraphrase,
        unrelated_cosine: unrelated,
        tokens_per_second: count as f64 / seconds.max(1e-9),
        deterministic: first == second,
    };
    let findings = judge(&embedding).into_iter().map(|finding| finding.at(file)).collect::<Vec<_>>();
    let detail = format!("{} texts embedded twice in {} dimensions", texts.len(), embedding.dimensions);
    measured.embedding = Some(embedding);
    if findings.iter().any(|finding| finding.severity >= Severity::High) {
        return Err(Stop::failed(findings));
    }
    Ok(Passed::new((), detail, findings))
}

fn tokens(model: Prepared<'_>) -> Result<Vec<Vec<u32>>, Stop> {
    let context = usize::try_from(model.kind.context()).unwrap_or(usize::MAX);
    let encode = |text: &&str| {
        let mut tokens = model.tokenizer.encode_document(text)?;
        tokens.truncate(context);
        Ok(tokens)
    };
    let file = model.checkpoint.name.as_str();
    let encoded: Result<Vec<Vec<u32>>, _> = PARAPHRASES.as_flattened().iter().map(encode).collect();
    let encoded = encoded.map_err(|error| refused(file, &error))?;
    encoded.iter().try_for_each(|tokens| check_ids(file, tokens, model.kind.vocabulary()))?;
    Ok(encoded)
}

/// The lowest cosine between paraphrases and the highest between other texts.
fn cosines(vectors: &[Vec<f32>]) -> (f64, f64) {
    let (mut paraphrase, mut unrelated) = (f64::INFINITY, f64::NEG_INFINITY);
    for (left_number, left) in vectors.iter().enumerate() {
        for (right_number, right) in vectors.iter().enumerate().skip(left_number + 1) {
            let cosine = cosine(left, right);
            if left_number / 2 == right_number / 2 {
                paraphrase = paraphrase.min(cosine);
            } else {
                unrelated = unrelated.max(cosine);
            }
        }
    }
    (paraphrase, unrelated)
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let product = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
    };
    product(left, right) / (product(left, left) * product(right, right)).sqrt().max(f64::MIN_POSITIVE)
}

fn judge(embedding: &Embedding) -> Vec<Finding> {
    let (paraphrase, unrelated) = (embedding.paraphrase_cosine, embedding.unrelated_cosine);
    let mut findings = Vec::new();
    if !embedding.deterministic {
        let detail = "two runs over the same texts gave different embeddings";
        findings.push(Finding::new("NOT_DETERMINISTIC", Severity::High, detail, REMEDY));
    }
    if paraphrase <= unrelated || unrelated > COLLAPSED {
        let detail = format!(
            "sentences of one meaning have a cosine of {paraphrase:.3} at least, and others of up to {unrelated:.3}"
        );
        findings.push(Finding::new("DEGENERATE_EMBEDDINGS", Severity::High, detail, REMEDY));
    } else if paraphrase < unrelated + GOOD_MARGIN {
        let detail =
            format!("paraphrases ({paraphrase:.3}) lie hardly nearer to each other than other texts ({unrelated:.3})");
        let remedy = "Common for models that were not trained to embed; compare with the original weights otherwise.";
        findings.push(Finding::new("WEAK_EMBEDDINGS", Severity::Low, detail, remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_strangers_are_compared_with_the_farthest_paraphrases() {
        let vectors = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 1.0]].map(|vector| vector.to_vec());
        let (paraphrase, unrelated) = cosines(&vectors);
        assert!((paraphrase - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-6, "{paraphrase}");
        assert!((unrelated - 0.1 / 1.01_f64.sqrt()).abs() < 1e-6, "{unrelated}");
    }

    fn codes(paraphrase_cosine: f64, unrelated_cosine: f64) -> Vec<String> {
        let embedding = Embedding {
            dimensions: 2,
            pooling: "mean".to_owned(),
            paraphrase_cosine,
            unrelated_cosine,
            tokens_per_second: 1.0,
            deterministic: true,
        };
        judge(&embedding).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn texts_that_all_lie_together_or_the_wrong_way_around_are_degenerate() {
        assert!(codes(0.8, 0.3).is_empty());
        assert_eq!(codes(0.8, 0.7), ["WEAK_EMBEDDINGS"]);
        assert_eq!(codes(0.5, 0.6), ["DEGENERATE_EMBEDDINGS"]);
        assert_eq!(codes(1.0, 0.999_9), ["DEGENERATE_EMBEDDINGS"]);
    }
}

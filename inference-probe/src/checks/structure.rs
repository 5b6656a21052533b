//! L1: does the file hold the model that its header announces?

use std::collections::HashSet;

use verifier::evidence::{Conformance, Finding, Severity};
use verifier::format::gguf::{Array, Header, TensorInfo, Value};

use super::{Passed, Stop};
use crate::checkpoint::Checkpoint;
use crate::engine::architecture::{Architecture, TensorSpecification};
use crate::engine::hyperparameters::{HyperparameterError, Hyperparameters};
use crate::engine::{conformance, estimate, matrix};
use crate::tokenizer;

pub(super) const REMEDY: &str =
    "Obtain the file again from its publisher, or convert the model again with a current converter.";
const ENGINE_REMEDY: &str = "No engine of this release runs it; the static checks of the inspection still apply.";
/// More findings of one kind say nothing new.
const MAX_FINDINGS: usize = 16;

/// What the engine needs to know to load the model.
#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) architecture: &'static Architecture,
    pub(crate) sizes: Hyperparameters,
    pub(crate) conformance: Conformance,
}

pub(crate) fn check(checkpoint: &Checkpoint<'_>, memory_limit: u64) -> Result<Passed<Structure>, Stop> {
    let (file, header) = (checkpoint.name.as_str(), &checkpoint.header);
    let architecture = find_architecture(header).map_err(|finding| Stop::unsupported(finding.at(file)))?;
    let sizes = Hyperparameters::read(architecture, header).map_err(|error| refused(file, &error))?;
    let specifications = architecture.tensors(&sizes, &|name| checkpoint.has(name));
    check_tensors(checkpoint, &specifications, vocabulary_findings(header, &sizes), memory_limit)?;
    let (conformance, unknown) = conformance::assess(architecture, &sizes, &|name| checkpoint.has(name));
    let warnings =
        padding(header, sizes.vocabulary_size).into_iter().chain(unverified(architecture, conformance, &unknown));
    let warnings = warnings.map(|finding| finding.at(file)).collect();
    let detail = format!(
        "`{}` with {} blocks; all {} tensors are present in the right shape",
        architecture.name,
        sizes.block_count,
        header.tensors.len()
    );
    Ok(Passed::new(Structure { architecture, sizes, conformance }, detail, warnings))
}

/// Whether the tensors are those of `specifications`, computable, and fit into memory; `broken` are
/// findings that fail the model as well.
pub(super) fn check_tensors(
    checkpoint: &Checkpoint<'_>,
    specifications: &[TensorSpecification],
    broken: impl Iterator<Item = Finding>,
    memory_limit: u64,
) -> Result<(), Stop> {
    let (file, header) = (checkpoint.name.as_str(), &checkpoint.header);
    let broken = tensor_findings(specifications, checkpoint).chain(broken);
    let broken: Vec<Finding> = broken.take(MAX_FINDINGS).map(|finding| finding.at(file)).collect();
    if !broken.is_empty() {
        return Err(Stop::failed(broken));
    }
    refuse_uncomputable(specifications, header).map_err(|finding| Stop::unsupported(finding.at(file)))?;
    admit(header, memory_limit).map_err(|finding| Stop::inconclusive(finding.at(file)))
}

fn unverified(architecture: &Architecture, conformance: Conformance, unknown: &[&str]) -> Option<Finding> {
    let name = architecture.name;
    (conformance == Conformance::Unverified).then(|| {
        Finding::new(
            "ARCHITECTURE_UNVERIFIED",
            Severity::Low,
            format!("no golden of llama.cpp covers `{name}` with {}", unknown.join(", ")),
            "Compare a few answers with those of the publisher's own engine before you rely on this probe.",
        )
    })
}

fn find_architecture(header: &Header) -> Result<&'static Architecture, Finding> {
    let Some(name) = header.architecture() else {
        let detail = "the header names no architecture";
        return Err(Finding::new("ARCHITECTURE_UNSUPPORTED", Severity::Info, detail, ENGINE_REMEDY));
    };
    Architecture::find(name).ok_or_else(|| {
        let detail = format!("the architecture `{name}` is not one the engine computes");
        Finding::new("ARCHITECTURE_UNSUPPORTED", Severity::Info, detail, ENGINE_REMEDY)
    })
}

fn refused(file: &str, error: &HyperparameterError) -> Stop {
    match error {
        HyperparameterError::Unsupported { .. } => Stop::unsupported(
            Finding::new("HYPERPARAMETER_UNSUPPORTED", Severity::Info, error.to_string(), ENGINE_REMEDY).at(file),
        ),
        HyperparameterError::Missing(_) | HyperparameterError::Impossible { .. } => Stop::failed(vec![
            Finding::new("HYPERPARAMETER_INVALID", Severity::High, error.to_string(), REMEDY).at(file),
        ]),
    }
}

fn tensor_findings<'a>(
    specifications: &'a [TensorSpecification],
    checkpoint: &'a Checkpoint<'_>,
) -> impl Iterator<Item = Finding> + 'a {
    specifications.iter().filter_map(|specification| match checkpoint.tensor(&specification.name) {
        Some(tensor) => wrong_shape(specification, tensor),
        None => specification.required.then(|| {
            let detail = format!("the tensor `{}` is missing", specification.name);
            Finding::new("MISSING_TENSOR", Severity::High, detail, REMEDY)
        }),
    })
}

fn wrong_shape(specification: &TensorSpecification, tensor: &TensorInfo) -> Option<Finding> {
    (specification.dimensions != tensor.dimensions).then(|| {
        let (name, found, wanted) = (&tensor.name, &tensor.dimensions, &specification.dimensions);
        let detail = format!("the tensor `{name}` has the shape {found:?} instead of {wanted:?}");
        Finding::new("TENSOR_SHAPE", Severity::High, detail, REMEDY)
    })
}

/// The vocabulary must fit the embedding, or tokens index beyond it.
fn vocabulary_findings(header: &Header, sizes: &Hyperparameters) -> impl Iterator<Item = Finding> {
    let entries = tokenizer::tokens(header).len() as u64;
    let invalid = |detail: String| Finding::new("VOCABULARY_MISMATCH", Severity::High, detail, REMEDY);
    let mut findings = Vec::new();
    if entries > sizes.vocabulary_size {
        let rows = sizes.vocabulary_size;
        findings.push(invalid(format!("the vocabulary has {entries} tokens, but the embedding has {rows} rows")));
    }
    for key in ["tokenizer.ggml.scores", "tokenizer.ggml.token_type"] {
        let length = header.get(key).and_then(Value::as_array).map(Array::len);
        if let Some(length) = length.filter(|length| *length as u64 != entries) {
            findings.push(invalid(format!("`{key}` has {length} entries for {entries} tokens")));
        }
    }
    for name in ["bos", "eos", "unknown", "padding", "eot"] {
        if let Some(id) = tokenizer::special_id(header, name).filter(|id| u64::from(*id) >= entries) {
            findings.push(invalid(format!("`tokenizer.ggml.{name}_token_id` is {id} in a vocabulary of {entries}")));
        }
    }
    findings.into_iter()
}

pub(super) fn padding(header: &Header, rows: u64) -> Option<Finding> {
    let entries = tokenizer::tokens(header).len() as u64;
    (entries > 0 && entries < rows).then(|| {
        Finding::new(
            "VOCABULARY_PADDED",
            Severity::Info,
            format!("the embedding has {rows} rows for {entries} tokens"),
            "Nothing needs to be done: converters pad embeddings to round sizes.",
        )
    })
}

/// A tensor that the architecture does not know, or an encoding that the engine lacks, means
/// that what would run is not the model in the file.
fn refuse_uncomputable(specifications: &[TensorSpecification], header: &Header) -> Result<(), Finding> {
    let known: HashSet<&str> = specifications.iter().map(|specification| specification.name.as_str()).collect();
    for tensor in &header.tensors {
        let (name, kind) = (&tensor.name, tensor.tensor_type);
        if !known.contains(name.as_str()) {
            let detail = format!("the tensor `{name}` is not part of the architecture as the engine computes it");
            return Err(Finding::new("TENSOR_UNSUPPORTED", Severity::Info, detail, ENGINE_REMEDY));
        }
        if !matrix::is_computable(kind) {
            let detail =
                format!("the tensor `{name}` is encoded as {}, which the engine does not compute", kind.name());
            return Err(Finding::new("QUANTIZATION_UNSUPPORTED", Severity::Info, detail, ENGINE_REMEDY));
        }
    }
    Ok(())
}

fn admit(header: &Header, limit: u64) -> Result<(), Finding> {
    let needed = estimate(header);
    if needed <= limit {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Finding::new(
        "MEMORY_LIMIT_TOO_LOW",
        Severity::Medium,
        format!("the model needs {} MiB of memory; the limit is {} MiB", mebibytes(needed), mebibytes(limit)),
        "Raise the probe's memory limit or probe on a larger machine.",
    ))
}

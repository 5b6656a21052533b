//! The levels of an adapter that differ from those of a model.

use verifier::evidence::{Adapter as Measurement, Finding, Severity};

use super::structure::{self, Structure};
use super::{ModelFile, Passed, Stop, header};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::adapter::{self, Delta};
use crate::engine::matrix;

/// Growth of the perplexity of plain English from which an adapter is suspicious.
const MAX_GROWTH: f64 = 2.0;
const REMEDY: &str = "Check that the adapter was made for this very base, and that both came whole.";

/// L0: reads the base and the adapter.
pub(crate) fn open<'a>(
    files: &'a [ModelFile],
    base: &'a [ModelFile],
) -> Result<Passed<(Checkpoint<'a>, Checkpoint<'a>)>, Stop> {
    if base.is_empty() {
        return Err(Stop::unsupported(Finding::new(
            "ADAPTER_WITHOUT_BASE",
            Severity::Info,
            "the files are an adapter, and the model that it changes is not here",
            "Put the base into the registry and name it in the adapter's card, or give it to the offline probe with `--base`.",
        )));
    }
    let base = Checkpoint::open(base).map_err(|error| header::refused(&error))?;
    let adapter = adapter::open(files, &base).map_err(|error| header::refused(&error))?;
    let detail = format!("{} with {} tensors, for {}", adapter.container, adapter.header.tensors.len(), base.container);
    Ok(Passed::new((base, adapter), detail, Vec::new()))
}

/// L1: whether the base is one that can be computed, and whether each pair of matrices fits what it changes.
pub(crate) fn check<'a>(
    base: &Checkpoint<'_>,
    adapter: &'a Checkpoint<'_>,
    memory_limit: u64,
) -> Result<Passed<(Structure, Vec<Delta<'a>>)>, Stop> {
    let passed = structure::check(base, memory_limit)?;
    let failed = |detail: String| {
        let finding = Finding::new("ADAPTER_MISMATCH", Severity::High, detail, REMEDY);
        Stop::failed(vec![finding.at(&adapter.name)])
    };
    let deltas = adapter::deltas(adapter).map_err(|name| failed(format!("`{name}` has no other half")))?;
    if deltas.is_empty() {
        return Err(failed("the adapter changes nothing".to_owned()));
    }
    for delta in &deltas {
        refuse_uncomputed(base, delta).map_err(|detail| unsupported(adapter, detail))?;
        fits(base, delta).map_err(failed)?;
    }
    let detail = format!("each of {} pairs of matrices fits what it changes", deltas.len());
    Ok(Passed::new((passed.value, deltas), detail, passed.warnings))
}

fn unsupported(adapter: &Checkpoint<'_>, detail: String) -> Stop {
    let remedy = "Merge the adapter into its base to have the result probed.";
    Stop::unsupported(Finding::new("ADAPTER_UNSUPPORTED", Severity::Info, detail, remedy).at(&adapter.name))
}

/// The engine adds to matrices that states are multiplied with, and to no embedding and no experts.
fn refuse_uncomputed(base: &Checkpoint<'_>, delta: &Delta<'_>) -> Result<(), String> {
    let target = delta.target;
    let is_embedding = ["token_embd.weight", "position_embd.weight"].contains(&target);
    let is_stack = base.tensor(target).is_some_and(|tensor| tensor.dimensions.len() > 2);
    if is_embedding || is_stack {
        return Err(format!("the engine does not compute an adapter of `{target}`"));
    }
    match [delta.down, delta.up].iter().find(|tensor| !matrix::is_computable(tensor.tensor_type)) {
        Some(tensor) => Err(format!("`{}` is encoded as {}", tensor.name, tensor.tensor_type.name())),
        None => Ok(()),
    }
}

fn fits(base: &Checkpoint<'_>, delta: &Delta<'_>) -> Result<(), String> {
    let target = delta.target;
    let Some(changed) = base.tensor(target) else { return Err(format!("the base has no `{target}`")) };
    let ([inputs, outputs], [down_inputs, rank], [up_rank, up_outputs]) =
        (&changed.dimensions[..], &delta.down.dimensions[..], &delta.up.dimensions[..])
    else {
        return Err(format!("`{target}` and what is added to it are not all matrices"));
    };
    if (inputs, outputs, rank) != (down_inputs, up_outputs, up_rank) || *rank == 0 {
        return Err(format!(
            "`{target}` has {inputs} inputs and {outputs} outputs; the adapter has {down_inputs}, {up_outputs} and the ranks {rank} and {up_rank}"
        ));
    }
    Ok(())
}

/// Whether the adapter leaves the model able to predict plain English.
pub(super) fn judge(perplexity: f64, base: f64) -> Option<Finding> {
    (perplexity > base * MAX_GROWTH).then(|| {
        let detail =
            format!("plain English has a perplexity of {perplexity:.1} with the adapter and {base:.1} without it");
        Finding::new("ADAPTER_RAISES_PERPLEXITY", Severity::Medium, detail, REMEDY)
    })
}

pub(super) fn measurement(deltas: &[Delta<'_>], base_perplexity: f64) -> Measurement {
    let rank = deltas.iter().filter_map(|delta| delta.down.dimensions.get(1)).max().copied().unwrap_or(0);
    Measurement { rank, targets: deltas.len() as u64, base_perplexity }
}

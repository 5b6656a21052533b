//! How much memory a probe will take, before it is started.

use registry_core::{Error, ProbeFile, ProbeTask, Registry};
use verifier::ReadAt;

/// Of what is not known better, beside its files: buffers, tokenizer and code, in bytes.
const OVERHEAD: u64 = 200 << 20;

/// The estimate of the engine where it can tell, else by the size of the files.
pub(super) async fn estimate(registry: &Registry, task: &ProbeTask) -> Result<u64, Error> {
    // An adapter is small beside the model that it changes.
    let model = if task.base.is_empty() { &task.files } else { &task.base };
    let mut files: Vec<(String, Box<dyn ReadAt>)> = Vec::with_capacity(model.len());
    for file in model {
        files.push((file.path.clone(), registry.blob_reader(&file.sha256).await?));
    }
    let estimate = tokio::task::spawn_blocking(move || inference_probe::estimate_memory(files)).await?;
    let beside: u64 = if task.base.is_empty() { 0 } else { task.files.iter().map(|file| file.size).sum() };
    let known = estimate.map(|estimate| estimate.saturating_add(beside));
    Ok(known.unwrap_or_else(|| by_size(task.files.iter().chain(&task.base))))
}

/// Three tenths more than the files, and the overhead.
fn by_size<'f>(files: impl Iterator<Item = &'f ProbeFile>) -> u64 {
    let bytes = files.map(|file| file.size).fold(0, u64::saturating_add);
    bytes.saturating_add(bytes / 10 * 3).saturating_add(OVERHEAD)
}

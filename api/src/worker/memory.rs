//! How much memory a probe will take, before it is started.

use registry_core::{Error, ProbeFile, ProbeTask, Registry};
use verifier::format::gguf;

/// Of what is not known better, beside its files: buffers, tokenizer and code, in bytes.
const OVERHEAD: u64 = 200 << 20;

/// The estimate of the engine where it can tell, else by the size of the files.
pub(super) async fn estimate(registry: &Registry, task: &ProbeTask) -> Result<u64, Error> {
    let by_size = by_size(task.files.iter().chain(&task.base));
    let [file] = &task.files[..] else { return Ok(by_size) };
    let reader = registry.blob_reader(&file.sha256).await?;
    let read = move || gguf::read_header(reader.as_ref()).ok().map(|header| inference_probe::estimate_memory(&header));
    Ok(tokio::task::spawn_blocking(read).await?.unwrap_or(by_size))
}

/// Three tenths more than the files, and the overhead.
fn by_size<'f>(files: impl Iterator<Item = &'f ProbeFile>) -> u64 {
    let bytes = files.map(|file| file.size).fold(0, u64::saturating_add);
    bytes.saturating_add(bytes / 10 * 3).saturating_add(OVERHEAD)
}

//! Judging licenses from files: the same assembly for the pipeline and the offline verb.

use super::catalog::Catalog;
use super::conclude::judge_with;
use super::links;
use super::{Content, LicenseDocument, LicenseInput, MAX_TEXT_BYTES, Role};
use crate::digested_file::DigestedFile;
use crate::evidence::{Finding, Inspection, LicenseFacts, Severity};

/// Inspection's findings about keys that license judgement would have read.
const DISPUTED_KEYS: [&str; 2] = ["GGUF_DUPLICATE_LICENSE_KEY", "GGUF_DUPLICATE_LINEAGE_KEY"];
/// Most weight files whose disputed keys are told one by one.
const MAX_DISPUTED: usize = 10;

/// Judges `files`, reading license texts from them and weight metadata from their `inspection`.
pub fn judge_files(catalog: &Catalog, files: &[DigestedFile<'_>], inspection: &Inspection) -> LicenseFacts {
    let texts: Vec<Option<String>> = files.iter().map(|file| Role::of(file.path).and_then(|_| text(file))).collect();
    let mut documents = Vec::new();
    for (file, text) in files.iter().zip(&texts) {
        let metadata = inspection.files.iter().find(|seen| seen.path == file.path && !seen.metadata.is_empty());
        let content = match (Role::of(file.path), text, metadata) {
            (Some(_), Some(text), _) => Content::Text(text),
            (Some(_), None, _) => Content::Unreadable,
            (None, _, Some(seen)) if seen.weights => Content::Metadata(&seen.metadata),
            (None, ..) => continue,
        };
        documents.push(LicenseDocument { path: file.path, digest: file.digest, content });
    }
    let has_weights = inspection.files.iter().any(|file| file.weights);
    let paths: Vec<&str> = files.iter().map(|file| file.path).collect();
    let mut found = links::broken(&documents, &paths);
    found.extend(disputed_keys(inspection));
    judge_with(catalog, &LicenseInput { documents, has_weights, api_access: false }, found)
}

/// A file whose keys contradict each other has no metadata that could be read; its silence must
/// not pass for agreement with the other files.
fn disputed_keys(inspection: &Inspection) -> impl Iterator<Item = Finding> {
    let disputed = inspection.findings.iter().filter(|finding| DISPUTED_KEYS.contains(&finding.code.as_str()));
    disputed.take(MAX_DISPUTED).map(|finding| {
        let detail = format!("The file's license statement cannot be relied on: {}", finding.detail);
        let remedy = "write the file anew with each key once";
        Finding {
            path: finding.path.clone(),
            ..Finding::new("LICENSE_SOURCE_INVALID", Severity::Medium, detail, remedy)
        }
    })
}

fn text(file: &DigestedFile<'_>) -> Option<String> {
    if file.source.size() > MAX_TEXT_BYTES {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(file.source.size()).ok()?];
    file.source.read_exact_at(0, &mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

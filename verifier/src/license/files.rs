//! Judging licenses from files: the same assembly for the pipeline and the offline verb.

use super::catalog::Catalog;
use super::{Content, LicenseDocument, LicenseInput, MAX_TEXT_BYTES, Role, judge};
use crate::digested_file::DigestedFile;
use crate::evidence::{Inspection, LicenseFacts};

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
    judge(catalog, &LicenseInput { documents, has_weights, api_access: false })
}

fn text(file: &DigestedFile<'_>) -> Option<String> {
    if file.source.size() > MAX_TEXT_BYTES {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(file.source.size()).ok()?];
    file.source.read_exact_at(0, &mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

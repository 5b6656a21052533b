//! The real model of `make demo`, judged by every stage of this crate.

use verifier::evidence::{InspectionVerdict, LicenseVerdict, ProvenanceVerdict};
use verifier::format::{FileEntry, inspect};
use verifier::provenance::{DigestCache, Subject, TrustMaterial};
use verifier::{DigestedFile, FileReader, license, provenance};
use weighhouse_tests::environment;

#[test]
fn smollm2_is_an_unsigned_permissive_llama() {
    let Some(models) = environment::models() else { return };
    let path = "SmolLM2-135M-Instruct.Q4_1.gguf";
    let source = FileReader::open(&models.join(path)).unwrap();
    let inspection = inspect(&[FileEntry { path, source: &source }]);
    assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{:?}", inspection.findings);
    assert_eq!(inspection.architecture.as_deref(), Some("llama"));
    assert_eq!(inspection.quantization.as_deref(), Some("Q4_1"));
    assert_eq!((inspection.parameters, inspection.context_length), (Some(134_515_008), Some(8192)));
    let bits = inspection.bits_per_weight.unwrap();
    assert!((5.0..6.5).contains(&bits), "{bits}");

    let files = [DigestedFile { path, digest: "00", source: &source }];
    let facts = license::judge_files(license::Catalog::built_in(), &files, &inspection);
    assert_eq!((facts.concluded.as_str(), facts.verdict), ("Apache-2.0", LicenseVerdict::Agreed));
    assert_eq!(facts.openness.access_class, "open-weight-permissive");
    let subject = Subject { files: &files, content_digest: "", attached: &[] };
    let facts = provenance::judge(subject, &TrustMaterial::default(), &DigestCache::new());
    assert_eq!(facts.verdict, ProvenanceVerdict::Unsigned);
}

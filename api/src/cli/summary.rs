//! What the registry, or an offline verb, found out about a model, for a person to read.

use serde::Serialize;
use verifier::evidence::{
    Calibration, Conformance, Embedding, Evidence, Finding, Generation, Inspection, LicenseFacts, LicenseSource,
    LicenseStatement, LicenseVerdict, Openness, ProbeReport, ProvenanceFacts, ProvenanceVerdict, SandboxReport,
    SignatureFacts, Stage, Status,
};
use verifier::policy::{Reason, Suggestion};

use super::layout::{Sheet, shortened};
use super::units::{bytes, count, duration, grouped, plural};
use super::verdict::Verdict;
use crate::v1::wire::{GateAnswer, RevisionDetail, StageStatus};

/// Most rows of one kind; the rest is counted.
const MOST_ROWS: usize = 8;
/// Longest prompt or generated text, in characters.
const MOST_TEXT: usize = 400;
/// Characters of a digest that tell two apart at a glance.
const MARK: usize = 17;

/// The word under which a value is known in documents.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        _ => String::new(),
    }
}

/// Everything about one revision: what it is, what its licenses allow, who vouches for it,
/// whether it runs, and where it may be used.
pub(super) fn revision(detail: &RevisionDetail, decisions: &[GateAnswer]) -> String {
    let mut sheet = Sheet::default();
    for status in &detail.stages {
        stage(&mut sheet, detail, status);
    }
    let found = detail.stages.iter().filter_map(|status| status.evidence.as_ref());
    findings(&mut sheet, found.flat_map(Evidence::findings));
    if !decisions.is_empty() {
        sheet.heading("Where it may be used");
        for answer in decisions {
            decision_rows(&mut sheet, answer);
        }
    }
    sheet.into_text()
}

const fn title(stage: Stage) -> &'static str {
    match stage {
        Stage::Inspect => "What it is",
        Stage::License => "What its licenses say",
        Stage::Provenance => "Who vouches for it",
        Stage::Probe => "Whether it runs",
    }
}

fn stage(sheet: &mut Sheet, detail: &RevisionDetail, status: &StageStatus) {
    sheet.heading(title(status.stage));
    match &status.evidence {
        None => sheet.row(status.stage.as_str(), &without_evidence(status)),
        Some(Evidence::Inspect(found)) => {
            inspection(sheet, found);
            let size = detail.files.iter().map(|file| file.size).sum();
            sheet.row("files", &format!("{}, {}", plural(detail.files.len(), "file"), bytes(size)));
        }
        Some(Evidence::License(facts)) => license(sheet, facts),
        Some(Evidence::Provenance(facts)) => provenance(sheet, facts),
        Some(Evidence::Probe(report)) => probe(sheet, report),
    }
}

fn without_evidence(status: &StageStatus) -> String {
    use registry_core::StageState as State;
    match status.state {
        State::Dead => "could not be finished; an administrator can have it tried again".to_owned(),
        State::Superseded => "not run, because no branch or tag is here any more".to_owned(),
        State::Running => match &status.progress {
            Some(reached) => format!("running, {} % of level {}", reached.percent, reached.level),
            None => word(&State::Running),
        },
        state => word(&state),
    }
}

/// What the bytes say.
pub(super) fn inspection(sheet: &mut Sheet, found: &Inspection) {
    sheet.row("verdict", &word(&found.verdict));
    sheet.row("format", found.format.as_deref().unwrap_or("no weights"));
    sheet.optional_row("architecture", found.architecture.as_deref());
    let parameters = found.parameters.map(|parameters| format!("{} ({})", grouped(parameters), count(parameters)));
    sheet.optional_row("parameters", parameters.as_deref());
    let quantization = found.quantization.as_ref().map(|name| match found.bits_per_weight {
        Some(bits) => format!("{name}, {bits:.2} bits per weight"),
        None => name.clone(),
    });
    sheet.optional_row("quantization", quantization.as_deref());
    sheet.optional_row("packed by", found.quantization_method.as_deref());
    let context = found.context_length.map(|tokens| format!("{} tokens", grouped(tokens)));
    sheet.optional_row("context", context.as_deref());
}

/// What the licenses say and what follows from them.
pub(super) fn license(sheet: &mut Sheet, facts: &LicenseFacts) {
    statements(sheet, "declared", &facts.declared);
    statements(sheet, "detected", &facts.detected);
    let class = facts.license_class.as_ref().map(|class| format!(" ({class})")).unwrap_or_default();
    let how = match facts.verdict {
        LicenseVerdict::Agreed => "all sources agree",
        LicenseVerdict::Review => "a person has to decide",
        LicenseVerdict::Unlicensed => "no source names a license",
    };
    sheet.row("concluded", &format!("{}{class}, {how}", facts.concluded));
    openness(sheet, &facts.openness);
}

fn statements(sheet: &mut Sheet, label: &str, found: &[LicenseStatement]) {
    if found.is_empty() {
        sheet.row(label, "nothing");
    }
    for (index, statement) in found.iter().take(MOST_ROWS).enumerate() {
        let label = if index == 0 { label } else { "" };
        let score = statement.score.map(|score| format!(", similarity {score:.2}")).unwrap_or_default();
        let place = format!("{} {}{score}", source(statement.source), statement.path);
        sheet.row(label, &format!("{} in the {place}", statement.expression));
    }
    more(sheet, found.len());
}

fn more(sheet: &mut Sheet, number: usize) {
    if number > MOST_ROWS {
        sheet.note(&format!("and {} more", grouped((number - MOST_ROWS) as u64)));
    }
}

const fn source(source: LicenseSource) -> &'static str {
    match source {
        LicenseSource::ModelCard => "model card",
        LicenseSource::LicenseText => "license text",
        LicenseSource::GgufMetadata => "GGUF metadata of",
        LicenseSource::SafetensorsMetadata => "safetensors metadata of",
        LicenseSource::Config => "configuration",
        LicenseSource::PackageMetadata => "package metadata",
        LicenseSource::Notice => "notice",
        LicenseSource::CardProse => "text of the model card",
    }
}

fn openness(sheet: &mut Sheet, openness: &Openness) {
    sheet.row("openness", &openness.access_class);
    let class = match openness.mof_class {
        0 => "unclassified".to_owned(),
        class => format!("class {class}"),
    };
    let gap = &openness.mof_next_gap;
    let missing = match gap.len() {
        0 => String::new(),
        number => {
            let named = gap.iter().take(4).map(|component| component.replace('_', " ")).collect::<Vec<_>>().join(", ");
            let rest = if number > 4 { format!(" and {} more", number - 4) } else { String::new() };
            format!("; the next class needs {named}{rest}")
        }
    };
    sheet.row("MOF", &format!("{class}{missing}"));
    sheet.row("OSAID", &openness.osaid);
}

/// Who signed what.
pub(super) fn provenance(sheet: &mut Sheet, facts: &ProvenanceFacts) {
    let verdict = match facts.verdict {
        ProvenanceVerdict::Trusted => "trusted: signed by a key that is trusted here",
        ProvenanceVerdict::Untrusted => "untrusted: signed, but not by a key that is trusted here",
        ProvenanceVerdict::Unsigned => "unsigned: nobody has signed it",
        ProvenanceVerdict::Invalid => "invalid: a signature does not verify",
        ProvenanceVerdict::Unsupported => "of a kind that this release cannot check",
    };
    sheet.row("signature", verdict);
    for signature in facts.signatures.iter().take(MOST_ROWS) {
        sheet.row("", &signature_line(signature));
    }
    more(sheet, facts.signatures.len());
}

fn signature_line(signature: &SignatureFacts) -> String {
    let signer = signature.signer.as_ref().map(|signer| format!(" by {signer}")).unwrap_or_default();
    let coverage = &signature.coverage;
    format!(
        "{}{signer} ({}): covers {}, leaves out {}, does not know {}",
        word(&signature.state),
        signature.method,
        plural(coverage.signed.len(), "file"),
        grouped(coverage.ignored.len() as u64),
        grouped(coverage.unsigned.len() as u64),
    )
}

/// What happened when the model was loaded and run.
pub(super) fn probe(sheet: &mut Sheet, report: &ProbeReport) {
    sheet.row("probe", &format!("{}: {}", word(&report.verdict), report.reason));
    for level in &report.levels {
        let detail = level.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        sheet.row(&level.level, &format!("{} in {}{detail}", word(&level.status), duration(level.milliseconds)));
    }
    let threads = plural(usize::try_from(report.threads).unwrap_or(usize::MAX), "thread");
    sheet.row("engine", &format!("{} {} on {}, {threads}", report.engine, report.engine_version, report.device));
    sheet.optional_row("computed as", report.architecture.as_deref().map(|name| computed_as(report, name)).as_deref());
    sheet.optional_row("sandbox", report.sandbox.as_ref().map(sandbox).as_deref());
    let memory = report.peak_memory_bytes.map(|peak| format!(", peak memory {}", bytes(peak))).unwrap_or_default();
    let loaded = report.load_milliseconds.map(|time| format!("in {}{memory}", duration(time)));
    sheet.optional_row("loaded", loaded.as_deref());
    sheet.optional_row("perplexity", report.calibration.as_ref().map(calibration).as_deref());
    let adapter = report.adapter.as_ref().map(|adapter| {
        let targets = grouped(adapter.targets);
        let base = adapter.base_perplexity;
        format!("rank {}, changes {targets} matrices; perplexity without it {base:.1}", adapter.rank)
    });
    sheet.optional_row("adapter", adapter.as_deref());
    sheet.optional_row("embedding", report.embedding.as_ref().map(embedding).as_deref());
    if let Some(generation) = &report.generation {
        generated(sheet, generation);
    }
}

/// The family and whether its computation is held to another engine.
fn computed_as(report: &ProbeReport, name: &str) -> String {
    match report.conformance {
        Some(Conformance::Verified) => format!("{name}, held to llama.cpp"),
        Some(Conformance::Unverified) => format!("{name}, not compared with another engine"),
        None => name.to_owned(),
    }
}

fn embedding(found: &Embedding) -> String {
    format!(
        "{} dimensions ({}); cosine {:.2} between paraphrases, {:.2} between others",
        grouped(found.dimensions),
        found.pooling,
        found.paraphrase_cosine,
        found.unrelated_cosine
    )
}

fn sandbox(report: &SandboxReport) -> String {
    let seccomp = if report.seccomp { "on" } else { "off" };
    format!("{}, landlock {}, seccomp {seccomp}", report.profile, report.landlock)
}

fn calibration(found: &Calibration) -> String {
    let mark = found.fingerprint.as_ref().map(|mark| format!("; fingerprint {}", shortened(&mark.digest, MARK)));
    let mark = mark.unwrap_or_default();
    format!("{:.1} over {} tokens of English{mark}", found.perplexity, grouped(found.tokens))
}

fn generated(sheet: &mut Sheet, generation: &Generation) {
    let speed = format!(
        "{:.1} tokens/s while writing, {:.1} tokens/s while reading",
        generation.tokens_per_second, generation.prompt_tokens_per_second
    );
    sheet.row("speed", &speed);
    sheet.row("prompt", &shortened(generation.prompt.trim(), MOST_TEXT));
    let determinism = if generation.deterministic { "twice the same" } else { "not the same twice" };
    sheet.row("generated", &shortened(generation.text.trim(), MOST_TEXT));
    sheet.note(&format!("({} tokens, {determinism})", grouped(generation.generated_tokens)));
}

/// Named problems with what to do about them.
pub(super) fn findings<'a>(sheet: &mut Sheet, found: impl Iterator<Item = &'a Finding>) {
    let mut found: Vec<&Finding> = found.collect();
    if found.is_empty() {
        return;
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    sheet.heading("Findings");
    for finding in found.iter().take(MOST_ROWS) {
        let place = finding.path.as_ref().map(|path| format!(" in {path}")).unwrap_or_default();
        sheet.row(&word(&finding.severity), &format!("{}{place}: {}", finding.code, finding.detail));
        sheet.note(&format!("Remedy: {}", finding.remedy));
    }
    more(sheet, found.len());
}

/// The gate's answer for one environment.
pub(super) fn decision_rows(sheet: &mut Sheet, answer: &GateAnswer) {
    sheet.row(&answer.environment, Verdict::of(answer).as_str());
    for decision in &answer.decisions {
        if answer.decisions.len() > 1 {
            sheet.note(&format!("{}: {}", decision.model, if decision.allowed { "allowed" } else { "denied" }));
        }
        for reason in &decision.reasons {
            sheet.note(&format!("{}: {}", reason.code, reason.msg));
            passing(sheet, reason, &decision.would_pass_if);
        }
        for waived in &decision.waived {
            sheet.note(&format!("Waived by {}: {}: {}", waived.by, waived.reason.code, waived.reason.msg));
        }
        for warning in &decision.warnings {
            sheet.note(&format!("Warning {}: {}", warning.code, warning.msg));
        }
    }
}

/// What removes one denial. The gate's suggestion is mostly the reason's own remedy.
fn passing(sheet: &mut Sheet, reason: &Reason, suggestions: &[Suggestion]) {
    let remedy = reason.remedy.as_deref();
    let own = suggestions.iter().filter(|suggestion| suggestion.code == reason.code);
    let (same, others): (Vec<&Suggestion>, Vec<&Suggestion>) =
        own.partition(|suggestion| Some(suggestion.change.as_str()) == remedy);
    if let Some(remedy) = remedy {
        sheet.note(&format!("Remedy: {remedy}{}", enough(same.first().is_some_and(|same| same.sufficient))));
    }
    // Several denials of one code each have their suggestion; it stands with its own reason.
    for other in others.iter().filter(|_| same.is_empty()) {
        sheet.note(&format!("Would pass if: {}{}", other.change, enough(other.sufficient)));
    }
}

const fn enough(sufficient: bool) -> &'static str {
    if sufficient { " This alone is enough." } else { "" }
}

/// One line on what a stage found, while a person waits for the others.
pub(super) fn gist(status: &StageStatus) -> String {
    let Some(evidence) = &status.evidence else { return without_evidence(status) };
    let passed = word(&status.status);
    let text = match evidence {
        Evidence::Inspect(found) => [
            found.format.clone(),
            found.architecture.clone(),
            found.parameters.map(|parameters| format!("{} parameters", count(parameters))),
            found.quantization.clone(),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", "),
        Evidence::License(facts) => format!("{}, {}", facts.concluded, facts.openness.access_class),
        Evidence::Provenance(facts) => word(&facts.verdict),
        Evidence::Probe(report) => match &report.generation {
            Some(generation) => format!("{:.1} tokens/s", generation.tokens_per_second),
            None => report.reason.clone(),
        },
    };
    if text.is_empty() || status.status == Status::Missing { passed } else { format!("{passed}: {text}") }
}

#[cfg(test)]
mod tests {
    use registry_core::StageState;
    use verifier::evidence::{InspectionVerdict, ProbeVerdict, SCHEMA_VERSION};

    use super::super::layout::WIDTH;
    use super::*;
    use crate::v1::wire::{File, Revision};

    fn done(evidence: Evidence) -> StageStatus {
        StageStatus {
            stage: evidence.stage(),
            state: StageState::Done,
            status: evidence.status(),
            evidence_key: None,
            recorded_at: None,
            evidence: Some(evidence),
            progress: None,
            renewal: None,
        }
    }

    fn inspected() -> Inspection {
        Inspection {
            schema_version: SCHEMA_VERSION,
            verdict: InspectionVerdict::Ok,
            format: Some("gguf".into()),
            architecture: Some("llama".into()),
            parameters: Some(134_515_008),
            quantization: Some("Q4_1".into()),
            bits_per_weight: Some(5.8),
            context_length: Some(8192),
            quantization_method: None,
            precisions: Vec::new(),
            weight_bytes: None,
            cache: None,
            tokenizers: Vec::new(),
            chat_templates: Vec::new(),
            files: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn unsigned() -> ProvenanceFacts {
        let remedy =
            "sign it with a key that the registry trusts, which is a longer thing to do than it looks like here";
        ProvenanceFacts {
            schema_version: SCHEMA_VERSION,
            verdict: ProvenanceVerdict::Unsigned,
            signatures: Vec::new(),
            attestations: Vec::new(),
            weight_files: Vec::new(),
            documents: Vec::new(),
            findings: vec![Finding::new(
                "NO_SIGNATURE",
                verifier::evidence::Severity::Medium,
                "Nobody has signed.",
                remedy,
            )],
        }
    }

    fn probed(text: &str) -> ProbeReport {
        ProbeReport {
            schema_version: SCHEMA_VERSION,
            verdict: ProbeVerdict::Passed,
            reason: "it runs".into(),
            engine: "candle".into(),
            engine_version: "0.11".into(),
            device: "cpu".into(),
            threads: 1,
            architecture: None,
            conformance: None,
            levels: Vec::new(),
            load_milliseconds: Some(312),
            peak_memory_bytes: Some(254_000_000),
            generation: Some(Generation {
                prompt: "Hello".into(),
                text: text.into(),
                prompt_tokens: 5,
                generated_tokens: 32,
                prompt_tokens_per_second: 100.0,
                tokens_per_second: 43.21,
                token_digest: String::new(),
                deterministic: true,
            }),
            calibration: None,
            embedding: None,
            adapter: None,
            sandbox: None,
            findings: Vec::new(),
        }
    }

    fn detail(stages: Vec<StageStatus>) -> RevisionDetail {
        RevisionDetail {
            revision: Revision {
                commit: "c".repeat(40),
                content_digest: "d".repeat(64),
                parents: Vec::new(),
                author: "ada".into(),
                message: String::new(),
                created_at: String::new(),
            },
            model: "demo/tiny".into(),
            files: vec![File { path: "model.gguf".into(), sha256: "e".repeat(64), size: 98_312_345 }],
            stages,
            settled: true,
        }
    }

    #[test]
    fn summary_tells_the_facts_in_bounded_lines() {
        let stages = vec![
            done(Evidence::Inspect(inspected())),
            done(Evidence::Provenance(unsigned())),
            done(Evidence::Probe(Box::new(probed("A weigh house is a public building.\u{1b}[2J")))),
        ];
        let text = revision(&detail(stages), &[]);
        let rows = [
            "  parameters        134,515,008 (134.5 M)\n",
            "  quantization      Q4_1, 5.80 bits per weight\n",
            "  context           8,192 tokens\n",
            "  files             1 file, 98.3 MB\n",
            "  signature         unsigned: nobody has signed it\n",
            "  loaded            in 312 ms, peak memory 254.0 MB\n",
            "  speed             43.2 tokens/s while writing, 100.0 tokens/s while reading\n",
            "  generated         A weigh house is a public building.",
            "  medium            NO_SIGNATURE: Nobody has signed.\n",
        ];
        for row in rows {
            assert!(text.contains(row), "{row}\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn stage_without_evidence_says_where_it_stands() {
        let dead = StageStatus {
            stage: Stage::Probe,
            state: StageState::Dead,
            status: Status::Missing,
            evidence_key: None,
            recorded_at: None,
            evidence: None,
            progress: None,
            renewal: None,
        };
        assert!(gist(&dead).starts_with("could not be finished"));
        let text = revision(&detail(vec![dead]), &[]);
        assert!(text.contains("  probe             could not be finished"), "{text}");
    }

    #[test]
    fn gist_of_an_inspection_names_the_model() {
        assert_eq!(gist(&done(Evidence::Inspect(inspected()))), "passed: gguf, llama, 134.5 M parameters, Q4_1");
    }
}

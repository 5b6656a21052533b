//! The gate's answer in the formats that pipelines already show: SARIF for code scanning,
//! JUnit for test reports.

use std::collections::BTreeMap;
use std::fmt::Write;

use registry_core::Decision;
use serde_json::{Value, json};
use verifier::policy::Reason;

use crate::cli::verdict::Verdict;
use crate::v1::wire::GateAnswer;

const SARIF_SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// A log after SARIF 2.1.0: a rule for each code, an error for each denial.
pub(super) fn sarif(answer: &GateAnswer) -> Value {
    let rules = Rules::of(answer);
    let results: Vec<Value> = answer.decisions.iter().flat_map(|decision| results(decision, &rules)).collect();
    json!({
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "weighhouse",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.to_json(),
            } },
            "invocations": [{ "executionSuccessful": Verdict::of(answer) != Verdict::Undecided }],
            "results": results,
            "properties": {
                "environment": answer.environment,
                "verdict": Verdict::of(answer),
            },
        }],
    })
}

/// The codes of an answer in their order, each with a reason that explains it.
struct Rules<'a>(BTreeMap<&'a str, &'a Reason>);

impl<'a> Rules<'a> {
    fn of(answer: &'a GateAnswer) -> Self {
        Self(answer.decisions.iter().flat_map(marked).map(|(_, reason, _)| (reason.code.as_str(), reason)).collect())
    }

    fn index(&self, code: &str) -> Option<usize> {
        self.0.keys().position(|known| *known == code)
    }

    fn to_json(&self) -> Vec<Value> {
        let rule = |(code, reason): (&&str, &&Reason)| {
            let help = reason.remedy.as_deref().unwrap_or(&reason.msg);
            json!({ "id": code, "shortDescription": { "text": reason.msg }, "help": { "text": help } })
        };
        self.0.iter().map(rule).collect()
    }
}

/// Everything that a decision says, with its level and, where it was lifted, by what.
fn marked(decision: &Decision) -> impl Iterator<Item = (&'static str, &Reason, Option<&str>)> {
    let denials = decision.reasons.iter().map(|reason| ("error", reason, None));
    let warnings = decision.warnings.iter().map(|reason| ("warning", reason, None));
    let waived = decision.waived.iter().map(|waived| ("error", &waived.reason, Some(waived.by.as_str())));
    denials.chain(warnings).chain(waived)
}

fn results(decision: &Decision, rules: &Rules<'_>) -> Vec<Value> {
    marked(decision).map(|(level, reason, waived_by)| result(decision, rules, level, reason, waived_by)).collect()
}

fn result(decision: &Decision, rules: &Rules<'_>, level: &str, reason: &Reason, waived_by: Option<&str>) -> Value {
    let remedy = reason.remedy.as_ref().map(|remedy| format!(" {remedy}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": reason.code,
        "ruleIndex": rules.index(&reason.code),
        "level": level,
        "message": { "text": format!("{}: {}{remedy}", decision.model, reason.msg) },
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": decision.model } },
            "logicalLocations": [{ "fullyQualifiedName": decision.model, "kind": "resource" }],
        }],
        "partialFingerprints": {
            "weighhouse/v1": format!("{}:{}:{}:{}", decision.environment, decision.model, reason.code, reason.evidence.as_deref().unwrap_or_default()),
        },
        "properties": { "contentDigest": format!("sha256:{}", decision.content_digest), "decision": decision.id },
    });
    if let Some(by) = waived_by {
        result["suppressions"] =
            json!([{ "kind": "external", "status": "accepted", "justification": format!("Waived by {by}.") }]);
    }
    result
}

/// A test suite with one case for each model: a failure where it is denied, an error where
/// there is no answer yet.
pub(super) fn junit(answer: &GateAnswer) -> String {
    let number = |verdict| answer.decisions.iter().filter(|found| Verdict::of_decision(found) == verdict).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
        answer.decisions.len(),
        number(Verdict::Denied),
        number(Verdict::Undecided)
    );
    let name = escape(&format!("weighhouse gate: {}", answer.environment));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string does not fail.
    let _ = writeln!(xml, "<testsuites {counts}>\n  <testsuite name=\"{name}\" {counts} skipped=\"0\">");
    for decision in &answer.decisions {
        xml.push_str(&case(decision));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(decision: &Decision) -> String {
    let (model, environment) = (escape(&decision.model), escape(&decision.environment));
    let mut xml = format!("    <testcase classname=\"{environment}\" name=\"{model}\">\n");
    let element = match Verdict::of_decision(decision) {
        Verdict::Allowed => None,
        Verdict::Undecided => Some("error"),
        Verdict::Denied => Some("failure"),
    };
    if let (Some(element), Some(first)) = (element, decision.reasons.first()) {
        let (code, message) = (escape(&first.code), escape(&first.msg));
        let text = escape(&lines(decision.reasons.iter()));
        let _ = writeln!(xml, "      <{element} type=\"{code}\" message=\"{message}\">{text}</{element}>");
    }
    if !decision.warnings.is_empty() {
        let _ = writeln!(xml, "      <system-out>{}</system-out>", escape(&lines(decision.warnings.iter())));
    }
    xml.push_str("    </testcase>\n");
    xml
}

fn lines<'a>(reasons: impl Iterator<Item = &'a Reason>) -> String {
    let line = |reason: &Reason| {
        let remedy = reason.remedy.as_ref().map(|remedy| format!(" Remedy: {remedy}")).unwrap_or_default();
        format!("{}: {}{remedy}", reason.code, reason.msg)
    };
    reasons.map(line).collect::<Vec<_>>().join("\n")
}

/// `text` as character data or attribute value of XML 1.0, which has no place for most
/// control characters.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' | '\t' => escaped.push(c),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use verifier::policy::Waived;

    use super::*;
    use crate::cli::verdict::tests::{answer, decision, reason};

    fn mixed() -> GateAnswer {
        let mut denied = decision("a/b", vec![reason("RECALLED", None), reason("NO_LICENSE", Some("license"))]);
        denied.warnings.push(reason("ADVISORY", None));
        denied.waived.push(Waived { reason: reason("NO_TRUSTED_SIGNATURE", Some("provenance")), by: "w-1".into() });
        let pending = decision("c/d", vec![reason("EVIDENCE_PROBE_PENDING", Some("probe"))]);
        answer(vec![denied, pending, decision("e/f", Vec::new())])
    }

    #[test]
    fn sarif_has_a_rule_for_each_result_and_marks_what_was_waived() {
        let log = sarif(&mixed());
        assert_eq!((&log["version"], log["runs"].as_array().unwrap().len()), (&json!("2.1.0"), 1));
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        let levels: Vec<_> = results.iter().map(|result| result["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["error", "error", "warning", "error", "error"]);
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        }
        assert_eq!(results[3]["suppressions"][0]["kind"], "external");
        assert!(results[0].get("suppressions").is_none());
        assert_eq!(run["properties"]["verdict"], "denied");
    }

    #[test]
    fn sarif_of_an_allowed_model_has_no_results() {
        let log = sarif(&answer(vec![decision("a/b", Vec::new())]));
        assert_eq!(log["runs"][0]["results"], json!([]));
        assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], true);
    }

    #[test]
    fn junit_counts_denials_as_failures_and_missing_answers_as_errors() {
        let xml = junit(&mixed());
        assert!(xml.contains("<testsuites tests=\"3\" failures=\"1\" errors=\"1\">"), "{xml}");
        assert!(xml.contains("<failure type=\"RECALLED\" message=\"message of RECALLED\">"), "{xml}");
        assert!(xml.contains("<error type=\"EVIDENCE_PROBE_PENDING\""), "{xml}");
        assert!(xml.contains("<system-out>ADVISORY: message of ADVISORY"), "{xml}");
        assert_eq!(xml.matches("<testcase").count(), xml.matches("</testcase>").count());
    }

    #[test]
    fn xml_holds_any_text() {
        assert_eq!(escape("a<b>&\"c'\u{1b}\n\u{0}"), "a&lt;b&gt;&amp;&quot;c&apos;\u{fffd}\n\u{fffd}");
    }
}

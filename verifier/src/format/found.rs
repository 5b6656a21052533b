//! What reading one file brings up, collected in one place whatever its format.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::document::Document;
use super::tensor::Tensor;
use crate::evidence::{CacheLayout, ChatTemplateFacts, Finding, InspectionVerdict, Severity};

/// Findings kept for one file; a hostile file must not fill the evidence with them.
const MAX_FINDINGS: usize = 64;
/// Chat templates kept for one file; real ones have up to four.
const MAX_TEMPLATES: usize = 16;
/// Longest text of a template that is kept; the longest in use have some 20 kB.
const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// Longest text of a stranger shown in a finding, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// The verdict, findings and facts of one file, members of archives included.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) verdict: InspectionVerdict,
    /// Facts from the file's own metadata, bounded in number and length by who adds them.
    pub(crate) facts: Map<String, Value>,
    /// What the file says about the model, where it holds weights that could be read.
    pub(crate) weights: Option<Weights>,
    /// What a document beside the weights says.
    pub(crate) document: Option<Document>,
    /// Facts of the tokenizer, bounded in number and length by who adds them.
    pub(crate) tokenizer: Map<String, Value>,
    /// Chat templates by name, at most [`MAX_TEMPLATES`], each cut after [`MAX_TEMPLATE_BYTES`].
    chat_templates: Vec<ChatTemplateFacts>,
    findings: Vec<Finding>,
    /// Number of findings beyond [`MAX_FINDINGS`], by severity.
    omitted: BTreeMap<Severity, u64>,
    /// Names of the members around what is being read, the outermost first.
    members: Vec<String>,
}

/// What a readable weight file says about the model.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Weights {
    pub(crate) architecture: Option<String>,
    /// Longest context the model was trained for, in tokens.
    pub(crate) context_length: Option<u64>,
    pub(crate) cache: Option<CacheLayout>,
    /// Which part of a split model the file says it is.
    pub(crate) split: Option<Split>,
    pub(crate) tensors: Vec<Tensor>,
}

/// Part `index`, counted from 0, of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) index: u64,
    pub(crate) count: u64,
    /// Number of tensors in all parts together.
    pub(crate) tensors: Option<u64>,
}

impl Found {
    pub(crate) fn new() -> Self {
        Self {
            verdict: InspectionVerdict::Ok,
            facts: Map::new(),
            weights: None,
            document: None,
            tokenizer: Map::new(),
            chat_templates: Vec::new(),
            findings: Vec::new(),
            omitted: BTreeMap::new(),
            members: Vec::new(),
        }
    }

    /// Takes a finding and what it makes of the file: the worst verdict stays.
    pub(crate) fn add(&mut self, verdict: InspectionVerdict, mut finding: Finding) {
        self.verdict = self.verdict.max(verdict);
        if !self.members.is_empty() {
            finding.detail = format!("In `{}`: {}", self.members.join("!"), finding.detail);
        }
        if self.findings.contains(&finding) {
            return;
        }
        self.findings.push(finding);
        if self.findings.len() > MAX_FINDINGS {
            self.drop_least();
        }
    }

    /// Keeps a chat template for people to read; `name` is `default` for the only one.
    pub(crate) fn add_chat_template(&mut self, name: &str, text: &str) {
        if self.chat_templates.len() < MAX_TEMPLATES {
            let end = text.floor_char_boundary(MAX_TEMPLATE_BYTES);
            self.chat_templates.push(ChatTemplateFacts {
                path: String::new(),
                name: shown(name),
                sha256: hex::encode(Sha256::digest(text)),
                bytes: text.len() as u64,
                text: text[..end].to_owned(),
            });
        }
    }

    /// The chat templates of the file called `path`.
    pub(crate) fn take_chat_templates(&mut self, path: &str) -> Vec<ChatTemplateFacts> {
        let mut templates = std::mem::take(&mut self.chat_templates);
        for template in &mut templates {
            path.clone_into(&mut template.path);
        }
        templates
    }

    /// Runs `read` for a member of an archive: what it adds names the member.
    pub(crate) fn inside<T>(&mut self, member: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.members.push(shown(member));
        let result = read(self);
        self.members.pop();
        result
    }

    /// The findings, those that were left out being counted by a last one.
    pub(crate) fn into_findings(mut self) -> Vec<Finding> {
        let omitted: u64 = self.omitted.values().sum();
        if let Some(severity) = self.omitted.keys().max() {
            let detail = format!("{omitted} further findings of this file are not listed.");
            self.findings.push(Finding::new("FINDINGS_OMITTED", *severity, detail, "mend those that are listed first"));
        }
        self.findings
    }

    fn drop_least(&mut self) {
        let least =
            (0..self.findings.len()).min_by_key(|index| (self.findings[*index].severity, std::cmp::Reverse(*index)));
        if let Some(index) = least {
            let dropped = self.findings.remove(index);
            *self.omitted.entry(dropped.severity).or_default() += 1;
        }
    }
}

/// A stranger's text as it may stand in a finding: no control or invisible characters, at most 80 characters.
pub(crate) fn shown(text: &str) -> String {
    let is_plain = |character: char| !character.is_control() && !is_invisible(character);
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == MAX_SHOWN_CHARS {
            shown.push('…');
            break;
        }
        if is_plain(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    shown
}

/// Characters that change how a text reads without being seen: zero width, direction, tags.
pub(crate) const fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, detail: &str) -> Finding {
        Finding::new("CODE", severity, detail, "remedy")
    }

    #[test]
    fn members_are_named_from_the_outside_in() {
        let mut found = Found::new();
        found.inside("a.zip", |found| {
            found.inside("b\n.pkl", |found| found.add(InspectionVerdict::Dangerous, finding(Severity::High, "Bad.")));
        });
        assert_eq!(found.verdict, InspectionVerdict::Dangerous);
        assert_eq!(found.into_findings()[0].detail, "In `a.zip!b\\n.pkl`: Bad.");
    }

    #[test]
    fn a_flood_of_findings_keeps_the_worst_and_counts_the_rest() {
        let mut found = Found::new();
        for number in 0..200 {
            found.add(InspectionVerdict::Suspicious, finding(Severity::Low, &number.to_string()));
        }
        found.add(InspectionVerdict::Dangerous, finding(Severity::Critical, "last"));
        let findings = found.into_findings();
        assert_eq!(findings.len(), MAX_FINDINGS + 1);
        assert!(findings.iter().any(|finding| finding.detail == "last"));
        assert!(findings.last().unwrap().detail.starts_with("137 further"));
    }

    #[test]
    fn equal_findings_are_listed_once() {
        let mut found = Found::new();
        found.add(InspectionVerdict::Ok, finding(Severity::Low, "same"));
        found.add(InspectionVerdict::Ok, finding(Severity::Low, "same"));
        assert_eq!(found.into_findings().len(), 1);
    }

    #[test]
    fn text_of_strangers_is_shown_without_what_cannot_be_seen() {
        assert_eq!(shown("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 81);
    }
}

//! What a template is accused of, and what goes into evidence.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::findings;
use super::super::found::{Found, shown};
use super::error::TemplateError;
use super::explore::{Cause, Exploration, Explorer, Gate};
use super::prose::{self, Hidden};
use super::rules::{self, Survey};
use super::source::MAX_SOURCE_BYTES;
use super::tree::parse_template;
use crate::evidence::{Finding, InspectionVerdict, Severity};

const REPLACE: &str = "use the template of the model's original publisher, or one that was reviewed";
/// Special tokens listed in the facts.
const MAX_MARKS: usize = 12;

/// Judges the template called `name`, rendered with `tokens`, and adds its facts under that name.
pub(crate) fn judge(name: &str, source: &str, tokens: &[(String, String)], found: &mut Found) {
    let judge = Judge { name, found };
    judge.run(source, tokens);
}

/// `default`, or what a template is called beside others.
fn short_name(name: &str) -> &str {
    let name = name.strip_prefix("tokenizer.").unwrap_or(name);
    match name.strip_prefix("chat_template") {
        Some("") => "default",
        Some(rest) => rest.strip_prefix('.').unwrap_or(name),
        None => name,
    }
}

struct Judge<'f> {
    name: &'f str,
    found: &'f mut Found,
}

impl Judge<'_> {
    fn run(mut self, source: &str, tokens: &[(String, String)]) {
        let mut facts = json!({ "sha256": hex::encode(Sha256::digest(source)), "bytes": source.len() });
        match parse_template(source) {
            Ok(tree) => {
                let survey = Survey::of(&tree, source);
                let is_dangerous = !survey.dangers.is_empty();
                self.report_survey(&survey);
                // What runs code elsewhere needs no further look, and would only render in part.
                if !is_dangerous {
                    let tokens = with_defaults(tokens);
                    let exploration = Explorer::explore(&tree, &tokens);
                    facts["system"] = json!(exploration.supports_system);
                    facts["tools"] = json!(exploration.supports_tools);
                    facts["generation_prompt"] = json!(exploration.has_generation_prompt);
                    facts["marks"] = exploration.speech.marks().take(MAX_MARKS).cloned().collect();
                    self.report(&exploration);
                }
            }
            Err(error) => self.report_unparsed(source, &error),
        }
        self.found.facts.insert(shown(self.name), facts);
        self.found.add_chat_template(short_name(self.name), source);
    }

    fn add(&mut self, verdict: InspectionVerdict, code: &str, detail: &str) {
        let severity = match verdict {
            InspectionVerdict::Dangerous => Severity::Critical,
            InspectionVerdict::Ok => Severity::Info,
            InspectionVerdict::Suspicious => Severity::Medium,
            _ => Severity::High,
        };
        let detail = format!("The template `{}` {detail}.", shown(self.name));
        self.found.add(verdict, Finding::new(code, severity, detail, REPLACE));
    }

    fn report_unparsed(&mut self, source: &str, error: &TemplateError) {
        let dangers = rules::dangers_of_text(source);
        if !dangers.is_empty() {
            self.report_code(dangers.iter());
        }
        let reason = format!("the template `{}` cannot be judged: {}", shown(self.name), shown(&error.to_string()));
        if matches!(error, TemplateError::Syntax(_)) {
            findings::malformed(self.found, error.code(), &reason);
        } else {
            let remedy = format!("have it reviewed by a person; at most {MAX_SOURCE_BYTES} bytes are read");
            findings::unscannable(self.found, error.code(), &reason, &remedy);
        }
    }

    fn report_code<'n>(&mut self, names: impl Iterator<Item = &'n String>) {
        let names: Vec<String> = names.take(6).map(|name| format!("`{}`", shown(name))).collect();
        let detail = format!("reaches for code of the program that renders it ({})", names.join(", "));
        self.add(InspectionVerdict::Dangerous, "TEMPLATE_CODE_EXECUTION", &detail);
    }

    fn report_survey(&mut self, survey: &Survey) {
        if !survey.dangers.is_empty() {
            self.report_code(survey.dangers.iter());
        }
        if let Some(name) = survey.oddities.first() {
            let detail = format!("reads a private attribute (`{}`)", shown(name));
            self.add(InspectionVerdict::Suspicious, "TEMPLATE_PRIVATE_ATTRIBUTE", &detail);
        }
        match survey.texts.iter().filter_map(|text| prose::hidden(text)).max() {
            Some(Hidden::Concealed) => {
                let detail = "holds characters that conceal text or turn its direction";
                self.add(InspectionVerdict::Dangerous, "TEMPLATE_HIDDEN_TEXT", detail);
            }
            Some(Hidden::Invisible) => {
                self.add(InspectionVerdict::Suspicious, "TEMPLATE_HIDDEN_TEXT", "holds invisible characters");
            }
            None => {}
        }
        self.report_texts(&survey.texts);
    }

    fn report_texts(&mut self, texts: &[String]) {
        if let Some(phrase) = texts.iter().find_map(|text| prose::phrase(text)) {
            let detail = format!("tells the model something against its user (\"{}\")", phrase.replace('*', "…"));
            self.add(InspectionVerdict::Suspicious, "TEMPLATE_HIDDEN_INSTRUCTION", &detail);
        }
        let lower: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
        if let Some(markup) = lower.iter().find_map(|text| prose::markup(text).next()) {
            let detail = format!("holds markup that acts in web pages (`{markup}`)");
            self.add(InspectionVerdict::Dangerous, "TEMPLATE_ACTIVE_CONTENT", &detail);
        }
        if let Some(address) = lower.iter().find_map(|text| prose::addresses(text).into_iter().next()) {
            let detail = format!("brings a web address into prompts (`{}`)", shown(&address));
            self.add(InspectionVerdict::Suspicious, "TEMPLATE_URL", &detail);
        }
    }

    fn report(&mut self, exploration: &Exploration) {
        if !exploration.forbidden.is_empty() {
            self.report_code(exploration.forbidden.iter());
        }
        self.report_errors(exploration);
        for (gate, roles) in by_words(&exploration.gates) {
            self.report_gate(gate, &roles);
        }
        if exploration.rewrites_always {
            let detail = "does not give a user's words to the model as they are";
            self.add(InspectionVerdict::Dangerous, "TEMPLATE_REWRITES_CONTENT", detail);
        }
        if exploration.ignores_user {
            let detail = "does not give a user's words to the model at all";
            self.add(InspectionVerdict::Suspicious, "TEMPLATE_IGNORES_CONTENT", detail);
        }
        for (role, trigger) in exploration.rewrites.iter().take(4) {
            let detail = format!("changes the words of the {role} that have \"{}\"", shown(trigger));
            self.add(InspectionVerdict::Dangerous, "TEMPLATE_REWRITES_CONTENT", &detail);
        }
        if exploration.is_incomplete {
            let detail = "has more ways than were tried, so that some were not judged";
            self.add(InspectionVerdict::Suspicious, "TEMPLATE_TOO_COMPLEX", detail);
        }
    }

    fn report_errors(&mut self, exploration: &Exploration) {
        for error in &exploration.errors {
            match error {
                TemplateError::Exhausted(resource) => {
                    let detail = format!("uses up its budget of {resource} on a short conversation");
                    self.add(InspectionVerdict::Dangerous, error.code(), &detail);
                }
                TemplateError::Forbidden(name) => self.report_code(std::iter::once(name)),
                TemplateError::Unsupported(what) => {
                    let detail = format!("uses {}, which this release cannot follow", shown(what));
                    self.add(InspectionVerdict::Unscannable, error.code(), &detail);
                }
                _ => {}
            }
        }
        let failed = exploration.errors.iter().find(|error| matches!(error, TemplateError::Runtime(_)));
        if exploration.renders == 0 && !exploration.errors.iter().any(is_reported) {
            let reason = failed.map_or_else(|| "it refuses them".to_owned(), |error| shown(&error.to_string()));
            let detail = format!("renders none of the conversations that were tried: {reason}");
            self.add(InspectionVerdict::Unscannable, "TEMPLATE_FAILS", &detail);
        }
    }

    fn report_gate(&mut self, gate: &Gate, roles: &[&'static str]) {
        let novelty = &gate.novelty;
        let is_grave = !novelty.lures.is_empty() || novelty.is_prose();
        let sample = shown(novelty.sample());
        let (code, cause) = match &gate.cause {
            Cause::Content { trigger, .. } => {
                let whom =
                    if roles.len() > 3 { "anybody".to_owned() } else { format!("the {}", roles.join(" or the ")) };
                ("TEMPLATE_CONTENT_GATED", format!("once {whom} writes \"{}\"", shown(trigger)))
            }
            Cause::Property(constants) if constants.is_empty() => {
                ("TEMPLATE_CONTENT_GATED", "depending on what messages say".to_owned())
            }
            Cause::Property(what) => {
                ("TEMPLATE_CONTENT_GATED", format!("depending on \"{}\" in messages", shown(what)))
            }
            Cause::Count => ("TEMPLATE_COUNT_GATED", "depending on how many messages there are".to_owned()),
            Cause::Clock => ("TEMPLATE_DATE_GATED", "on some days only".to_owned()),
        };
        let detail = format!("says something else to the model {cause}: \"{sample}\"");
        let of_user = roles.iter().any(|role| ["user", "tool"].contains(role));
        let verdict = match (is_grave, gate.is_switch) {
            (true, false) => InspectionVerdict::Dangerous,
            (true, true) if of_user || !novelty.lures.is_empty() => InspectionVerdict::Dangerous,
            (false, false) if novelty.has_words() && !matches!(gate.cause, Cause::Count | Cause::Clock) => {
                InspectionVerdict::Suspicious
            }
            _ => InspectionVerdict::Ok,
        };
        if verdict == InspectionVerdict::Ok {
            self.add(verdict, "TEMPLATE_SWITCH", &detail);
        } else {
            self.add(verdict, code, &detail);
        }
    }
}

/// Gates that say the same at the same words are one, whoever writes these; what the reader's own
/// words show is not said again in general.
fn by_words(gates: &[Gate]) -> Vec<(&Gate, Vec<&'static str>)> {
    let mut merged: Vec<(&Gate, Vec<&'static str>)> = Vec::new();
    for gate in gates {
        let Cause::Content { role, trigger } = &gate.cause else { continue };
        let same = merged.iter_mut().find(|(first, _)| {
            matches!(&first.cause, Cause::Content { trigger: other, .. } if other == trigger)
                && first.novelty.sample() == gate.novelty.sample()
                && first.is_switch == gate.is_switch
        });
        match same {
            Some((_, roles)) => roles.push(role),
            None => merged.push((gate, vec![*role])),
        }
    }
    let general = gates.iter().filter(|gate| !matches!(gate.cause, Cause::Content { .. }));
    for gate in general {
        let is_shown =
            |shown: &Gate| shown.novelty.sample() == gate.novelty.sample() && shown.is_switch == gate.is_switch;
        if !matches!(gate.cause, Cause::Property(_)) || !merged.iter().any(|(first, _)| is_shown(first)) {
            merged.push((gate, Vec::new()));
        }
    }
    merged
}

/// Whether an error has a finding of its own.
const fn is_reported(error: &TemplateError) -> bool {
    matches!(error, TemplateError::Exhausted(_) | TemplateError::Forbidden(_) | TemplateError::Unsupported(_))
}

/// Templates concatenate their special tokens, so each needs a value.
fn with_defaults(tokens: &[(String, String)]) -> Vec<(String, String)> {
    const DEFAULTS: [(&str, &str); 5] = [
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
        ("pad_token", "<pad>"),
        ("sep_token", "<sep>"),
    ];
    let mut all = tokens.to_vec();
    for (name, token) in DEFAULTS {
        if !all.iter().any(|(known, _)| known == name) {
            all.push((name.to_owned(), token.to_owned()));
        }
    }
    all
}

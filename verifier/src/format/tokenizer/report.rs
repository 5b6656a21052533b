//! What a tokenizer is accused of, and what goes into evidence.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::findings;
use super::super::found::{Found, is_invisible, shown};
use super::document::{AddedToken, Document};
use super::regex::{self, Fault};
use crate::evidence::{Finding, InspectionVerdict, Severity};

const REPLACE: &str = "use the tokenizer of the model's original publisher";
/// Most tokens that a post-processor puts around a text.
const MAX_FRAME_TOKENS: usize = 12;
/// Deepest nesting of normalizers in sequences that is followed.
const MAX_DEPTH: u8 = 16;
/// Words whose loss turns a sentence around or hides that something was refused.
const TELLING_WORDS: [&str; 16] = [
    "not",
    "no",
    "never",
    "don't",
    "cannot",
    "can't",
    "won't",
    "without",
    "refuse",
    "unsafe",
    "dangerous",
    "illegal",
    "warning",
    "sorry",
    "fake",
    "except",
];

pub(super) fn report(document: &Document, is_tokenizer: bool, found: &mut Found) {
    if document.has_auto_map && is_tokenizer {
        let detail = "Loading the tokenizer with `transformers` asks for Python code from this folder (`auto_map`).";
        let remedy = "review the code, or use a tokenizer that the library has built in";
        found.add(InspectionVerdict::Suspicious, Finding::new("REMOTE_CODE", Severity::Medium, detail, remedy));
    }
    if let Some(bound) = document.out_of_bounds {
        let reason = format!("the tokenizer could not be looked into: {bound}");
        findings::unscannable(found, "TOKENIZER_TOO_LARGE", &reason, "use a smaller tokenizer");
    }
    if document.vocabulary.is_too_large {
        let reason = "the vocabulary has more entries than are followed";
        findings::unscannable(found, "TOKENIZER_TOO_LARGE", &reason, "use a smaller tokenizer");
    }
    if !is_tokenizer {
        return;
    }
    check_vocabulary(document, found);
    check_added(&document.added, found);
    for (name, part) in &document.parts {
        Parts { found, special: special_texts(document) }.check(name, part, 0);
    }
    add_facts(document, found);
}

fn add(found: &mut Found, verdict: InspectionVerdict, code: &str, detail: String) {
    let severity = match verdict {
        InspectionVerdict::Dangerous => Severity::Critical,
        InspectionVerdict::Suspicious => Severity::Medium,
        _ => Severity::High,
    };
    found.add(verdict, Finding::new(code, severity, detail, REPLACE));
}

fn check_vocabulary(document: &Document, found: &mut Found) {
    if let Some(key) = document.repeated_keys.first() {
        let reason = format!("the key `{}` stands twice, and readers differ in which they take", shown(key));
        findings::malformed(found, "TOKENIZER_DUPLICATE_KEY", &reason);
    }
    let vocabulary = &document.vocabulary;
    if let Some(token) = &vocabulary.repeated_token {
        let reason = format!("the token `{}` stands twice in the vocabulary", shown(token));
        findings::malformed(found, "TOKENIZER_DUPLICATE_TOKEN", &reason);
    }
    if let Some(id) = vocabulary.repeated_id {
        let detail = format!("Several tokens of the vocabulary have the number {id}.");
        add(found, InspectionVerdict::Suspicious, "TOKENIZER_DUPLICATE_ID", detail);
    }
    if let Some(token) = &vocabulary.wrong_id {
        let reason = format!("the token `{}` has a number that no model has", shown(token));
        findings::malformed(found, "TOKENIZER_ID_OUT_OF_RANGE", &reason);
    }
    let count = vocabulary.count as u64 + document.added.len() as u64;
    if let Some(highest) = vocabulary.highest.filter(|highest| *highest > count.saturating_mul(2) + 1000) {
        let detail = format!("The vocabulary has {} tokens and numbers up to {highest}.", vocabulary.count);
        add(found, InspectionVerdict::Suspicious, "TOKENIZER_ID_HOLES", detail);
    }
    let missing = if document.has_model { vocabulary.missing_merges(!document.joins_with_prefix) } else { 0 };
    if missing > 0 {
        let reason = format!("{missing} merges name tokens that the vocabulary lacks");
        findings::malformed(found, "TOKENIZER_MERGE_MISSING", &reason);
    }
}

fn check_added(tokens: &[AddedToken], found: &mut Found) {
    let mut seen = BTreeSet::new();
    for token in tokens {
        let text = token.content.as_str();
        if let Some(id) = token.id
            && !seen.insert(id)
        {
            let detail = format!("Several added tokens have the number {id}.");
            add(found, InspectionVerdict::Suspicious, "TOKENIZER_DUPLICATE_ID", detail);
        }
        let has_letters = text.chars().any(char::is_alphanumeric);
        let conceals =
            text.chars().any(|character| matches!(character, '\u{e0000}'..='\u{e007f}' | '\u{202a}'..='\u{202e}'));
        if conceals || (has_letters && text.chars().any(is_invisible)) {
            let detail = format!("The added token `{}` holds invisible characters.", shown(text));
            add(found, InspectionVerdict::Suspicious, "TOKENIZER_HIDDEN_TEXT", detail);
        }
        if token.special && is_plain_speech(text) {
            let detail =
                format!("The ordinary words `{}` are a special token, which readers drop from texts.", shown(text));
            add(found, InspectionVerdict::Suspicious, "TOKENIZER_DROPS_WORDS", detail);
        }
    }
}

/// Whether a text is words that people write, and no mark: a sentence, or a word that turns one around.
fn is_plain_speech(text: &str) -> bool {
    let bare = text.trim().trim_start_matches(['▁', 'Ġ']).to_lowercase();
    let is_words = bare.chars().all(|character| character.is_alphabetic() || " ,.'!?".contains(character));
    is_words && (bare.split_whitespace().count() >= 2 || TELLING_WORDS.contains(&bare.as_str()))
}

fn special_texts(document: &Document) -> BTreeSet<&str> {
    let added = document.added.iter().filter(|token| token.special).map(|token| token.content.as_str());
    added.chain(document.special.iter().map(|(_, token)| token.as_str())).collect()
}

struct Parts<'f> {
    found: &'f mut Found,
    special: BTreeSet<&'f str>,
}

impl Parts<'_> {
    fn check(&mut self, place: &str, part: &Value, depth: u8) {
        if depth > MAX_DEPTH {
            let reason = format!("the {place} is nested too deeply to be followed");
            findings::unscannable(self.found, "TOKENIZER_TOO_LARGE", &reason, "use a plainer tokenizer");
            return;
        }
        for list in ["normalizers", "pretokenizers", "decoders", "processors"] {
            for inner in part.get(list).and_then(Value::as_array).into_iter().flatten() {
                self.check(place, inner, depth + 1);
            }
        }
        let pattern = part.get("pattern");
        if let Some(regex) = pattern.and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str) {
            self.check_regex(place, regex);
        }
        match part.get("type").and_then(Value::as_str) {
            Some("Replace") => self.check_replacement(place, part),
            Some("Prepend") => {
                self.check_inserted(place, part.get("prepend").and_then(Value::as_str).unwrap_or_default());
            }
            Some("TemplateProcessing") => self.check_frame(part),
            Some("BertProcessing" | "RobertaProcessing") => {
                for name in ["sep", "cls"] {
                    let token = part.get(name).and_then(|pair| pair.get(0)).and_then(Value::as_str);
                    self.check_framing(token.unwrap_or_default());
                }
            }
            _ => {}
        }
    }

    fn check_regex(&mut self, place: &str, pattern: &str) {
        match regex::check(pattern) {
            Ok(()) => {}
            Err(Fault::Explodes) => {
                let detail = format!("The expression `{}` of the {place} can take exponential time.", shown(pattern));
                add(self.found, InspectionVerdict::Dangerous, "TOKENIZER_REGEX_BOMB", detail);
            }
            Err(Fault::Unreadable) => {
                let reason = format!("the expression `{}` of the {place} cannot be followed", shown(pattern));
                findings::unscannable(self.found, "TOKENIZER_REGEX_UNREADABLE", &reason, REPLACE);
            }
        }
    }

    /// Replacing spaces, quotes and controls is what normalizers are for; replacing words is not.
    fn check_replacement(&mut self, place: &str, part: &Value) {
        let pattern = part.get("pattern");
        let plain = pattern.and_then(|pattern| pattern.get("String")).and_then(Value::as_str);
        let regex = pattern.and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str);
        let content = part.get("content").and_then(Value::as_str).unwrap_or_default();
        let from = plain.map(str::to_owned).or_else(|| regex.map(literal_letters)).unwrap_or_default();
        if longest_word(&from) >= 2 || holds_address(&from) {
            let (from, to) = (shown(plain.or(regex).unwrap_or_default()), shown(content));
            let detail = format!("The {place} rewrites `{from}` to `{to}`.");
            add(self.found, InspectionVerdict::Dangerous, "TOKENIZER_REWRITES_TEXT", detail);
        } else {
            self.check_inserted(place, content);
        }
    }

    fn check_inserted(&mut self, place: &str, text: &str) {
        let is_mark = text.starts_with(['<', '[']) && text.ends_with(['>', ']']);
        if (longest_word(text) >= 2 && !is_mark) || holds_address(text) {
            let detail = format!("The {place} puts `{}` into texts.", shown(text));
            add(self.found, InspectionVerdict::Dangerous, "TOKENIZER_REWRITES_TEXT", detail);
        }
    }

    /// What is put around a text must be special tokens, and few of them.
    fn check_frame(&mut self, part: &Value) {
        let mut count = 0;
        for (_, token) in part.get("special_tokens").and_then(Value::as_object).into_iter().flatten() {
            let texts = token.get("tokens").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let texts: Vec<&str> = texts.collect();
            let ids = token.get("ids").and_then(Value::as_array).map_or(0, Vec::len);
            count += ids.max(texts.len());
            for text in texts {
                self.check_framing(text);
            }
        }
        if count > MAX_FRAME_TOKENS {
            let detail = format!("The post-processor puts {count} tokens around every text.");
            add(self.found, InspectionVerdict::Dangerous, "TOKENIZER_INJECTS_TOKENS", detail);
        }
    }

    fn check_framing(&mut self, token: &str) {
        let is_mark = token.starts_with(['<', '[']) || self.special.contains(token);
        if (!is_mark && longest_word(token) >= 2) || is_plain_speech(token) {
            let detail =
                format!("The post-processor puts `{}` around every text, which is no special token.", shown(token));
            add(self.found, InspectionVerdict::Dangerous, "TOKENIZER_INJECTS_TOKENS", detail);
        }
    }
}

/// The letters that an expression matches as they stand: those outside of classes and escapes.
fn literal_letters(pattern: &str) -> String {
    let mut letters = String::new();
    let mut in_class = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let escaped = characters.next();
                if matches!(escaped, Some('p' | 'P' | 'x' | 'u')) {
                    let rest = characters.as_str();
                    let skipped = if rest.starts_with('{') { rest.find('}').map_or(0, |end| end + 1) } else { 0 };
                    characters = rest[skipped..].chars();
                }
                letters.push(' ');
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if characters.as_str().starts_with("?i") => letters.push(' '),
            other if in_class || !other.is_alphabetic() => letters.push(' '),
            other => letters.push(other),
        }
    }
    letters
}

fn longest_word(text: &str) -> usize {
    let words = text.split(|character: char| !character.is_alphabetic() || character == 'Ġ');
    words.map(|word| word.chars().count()).max().unwrap_or(0)
}

fn holds_address(text: &str) -> bool {
    text.contains("://") || text.contains("www.")
}

fn add_facts(document: &Document, found: &mut Found) {
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            found.tokenizer.insert(name.to_owned(), value);
        }
    };
    add("model", json!(document.model_type));
    add("class", json!(document.tokenizer_class));
    if document.vocabulary.count > 0 {
        add("vocabulary_size", json!(document.vocabulary.count));
        add("merges", json!(document.vocabulary.merge_count));
    }
    if !document.added.is_empty() {
        add("added_tokens", json!(document.added.len()));
        add("special_tokens", json!(document.added.iter().filter(|token| token.special).count()));
    }
    add("model_max_length", json!(document.max_length.filter(|length| *length < 1e9)));
    for (name, token) in document.special.iter().take(8) {
        add(name, json!(shown(token)));
    }
}

//! Tokenizer files: what they do to text before a model sees it, and to what it says.
//!
//! A tokenizer can rewrite words, drop words, add instructions, or bring a loader to a halt
//! with a regular expression, and nobody reads its thirty megabytes. The JSON is streamed, so
//! memory depends on the number of tokens and not on what a file claims.

#[cfg(test)]
mod cases;
mod document;
mod guard;
mod regex;
mod report;
mod sentence_piece;
mod vocabulary;

use std::io::BufReader;

use serde::de::DeserializeSeed;

use super::content::Content;
use super::found::Found;
use super::kind;
use super::{findings, template};
use document::{Document, Root};
use guard::{GuardedReader, SourceReader};
pub(super) use sentence_piece::scan as scan_sentence_piece;

/// Longest JSON that is read; the largest tokenizers in use have 35 MB.
const MAX_JSON_BYTES: u64 = 96 * 1024 * 1024;
/// Longest template in a file of its own.
const MAX_TEMPLATE_BYTES: u64 = 256 * 1024;

/// Longest YAML that is read.
const MAX_YAML_BYTES: u64 = 1024 * 1024;

/// Files that loaders of tokenizers open by name.
const TOKENIZER_NAMES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "chat_template.json",
    "processor_config.json",
    "preprocessor_config.json",
];

/// Adds what a JSON file says as a tokenizer or as a carrier of chat templates.
pub(super) fn scan_json(content: &Content<'_>, found: &mut Found) {
    let name = kind::file_name(content.path);
    let is_named = TOKENIZER_NAMES.contains(&name);
    let size = content.source.size();
    if size > MAX_JSON_BYTES {
        if is_named {
            let reason = format!("the file has {size} bytes; at most {MAX_JSON_BYTES} are read");
            findings::unscannable(found, "TOKENIZER_TOO_LARGE", &reason, "use a smaller tokenizer");
        }
        return;
    }
    let mut document = Document::default();
    document.is_plain_vocabulary = ["vocab.json", "added_tokens.json"].contains(&name);
    let reader = BufReader::with_capacity(64 * 1024, GuardedReader::new(SourceReader::new(content.source)));
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let outcome = Root(&mut document).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    let is_tokenizer = is_named || document.is_tokenizer();
    if let Err(error) = outcome
        && is_tokenizer
        && document.is_within_bounds()
    {
        report_unread(&error, found);
    }
    report::report(&document, is_tokenizer, found);
    let tokens = document.special_tokens();
    for (name, source) in &document.templates {
        template::judge(name, source, &tokens, found);
    }
}

fn report_unread(error: &serde_json::Error, found: &mut Found) {
    if error.is_io() {
        let reason = format!("the file could not be read to its end: {error}");
        findings::unscannable(found, "TOKENIZER_UNREADABLE", &reason, "write the file anew with shorter texts");
    } else {
        findings::malformed(found, "TOKENIZER_INVALID", &format!("it is no valid JSON: {error}"));
    }
}

/// Judges the templates in a YAML configuration, as servers and trainers read them.
pub(super) fn scan_yaml(content: &Content<'_>, found: &mut Found) {
    let Ok(Some(bytes)) = super::scan::read_bounded(content.source, MAX_YAML_BYTES) else { return };
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    if !text.contains("chat_template") {
        return;
    }
    let Ok(yaml) = serde_yaml_ng::from_str::<serde_json::Value>(text) else {
        let reason = "the file names a chat template and is no YAML that can be read";
        findings::unscannable(found, "TEMPLATE_UNSUPPORTED", &reason, "write the template into a file of its own");
        return;
    };
    let mut document = Document::default();
    let outcome = Root(&mut document).deserialize(yaml);
    if outcome.is_err() {
        let reason = "the file holds more than is followed";
        findings::unscannable(found, "TEMPLATE_UNSUPPORTED", &reason, "write the template into a file of its own");
    }
    for (name, source) in &document.templates {
        template::judge(name, source, &[], found);
    }
}

/// Judges a file that is a template itself.
pub(super) fn scan_template(content: &Content<'_>, found: &mut Found) {
    match super::scan::read_bounded(content.source, MAX_TEMPLATE_BYTES) {
        Ok(Some(bytes)) => match std::str::from_utf8(&bytes) {
            Ok(source) if template::is_template(source) => template::judge("chat_template", source, &[], found),
            Ok(_) => {}
            Err(_) => findings::malformed(found, "TEMPLATE_SYNTAX", &"the template is no UTF-8"),
        },
        Ok(None) => {
            let reason = format!("the template is longer than {MAX_TEMPLATE_BYTES} bytes");
            findings::unscannable(found, "TEMPLATE_UNSUPPORTED", &reason, "use a shorter template");
        }
        Err(error) => findings::unreadable(found, &error),
    }
}

//! Findings that readers of several formats share.

use std::fmt::Display;
use std::io;

use super::found::Found;
use crate::evidence::{Finding, InspectionVerdict, Severity};

const OBTAIN_AGAIN: &str = "obtain the file again from its publisher, or write it anew";

/// The file breaks a rule of its format.
pub(crate) fn malformed(found: &mut Found, code: &str, reason: &dyn Display) {
    found.add(InspectionVerdict::Malformed, Finding::new(code, Severity::High, sentence(reason), OBTAIN_AGAIN));
}

/// The file may be sound, and is of a kind that this release does not read.
pub(crate) fn unsupported(found: &mut Found, code: &str, reason: &dyn Display) {
    found.add(InspectionVerdict::Unsupported, Finding::new(code, Severity::High, sentence(reason), OBTAIN_AGAIN));
}

/// The bytes could not be had.
pub(crate) fn unreadable(found: &mut Found, error: &io::Error) {
    let detail = format!("The file could not be read: {error}.");
    let remedy = "check the storage and inspect the file again";
    found.add(InspectionVerdict::Unscannable, Finding::new("FILE_UNREADABLE", Severity::High, detail, remedy));
}

/// Something in the file could not be looked into, which is never the same as clean.
pub(crate) fn unscannable(found: &mut Found, code: &str, reason: &dyn Display, remedy: &str) {
    found.add(InspectionVerdict::Unscannable, Finding::new(code, Severity::High, sentence(reason), remedy));
}

/// An error's text as a sentence.
pub(crate) fn sentence(reason: &dyn Display) -> String {
    let text = reason.to_string();
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return text };
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), characters.as_str())
}

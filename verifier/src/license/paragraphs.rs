//! Texts as sets of paragraphs, so that a difference can be shown.
//!
//! A paragraph ends at a blank line and also where punctuation ends a clause: copies of a
//! license are wrapped anew, indented and decorated, and what a clause says survives all of
//! that. Each is known by a short hash of its words, so that a text can be compared with one
//! that is not at hand.

use std::collections::BTreeSet;

use super::fingerprint::{self, NormalizedText};

/// Fewest words of a paragraph that ends inside a block of lines.
const LEAST_WORDS: usize = 4;
/// Fewest words of a clause; what is shorter is a heading.
const CLAUSE_WORDS: usize = 8;
/// Longest quotation, in characters.
const MAX_QUOTE_CHARS: usize = 300;

/// One paragraph of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// Short hash of its words.
    pub hash: u32,
    /// In lower case, without a list mark at the beginning.
    pub words: Vec<String>,
    /// As written, on one line and shortened.
    pub quote: String,
}

impl Paragraph {
    /// Whether it says something; the others are headings and lines that name a holder.
    pub fn is_clause(&self) -> bool {
        self.words.len() >= CLAUSE_WORDS && !self.is_about_copyright()
    }

    /// Whether it is a line such as `Copyright (c) 2026 …`.
    pub fn is_about_copyright(&self) -> bool {
        self.words.first().is_some_and(|word| word == "copyright")
    }

    fn new(pieces: &[&str]) -> Option<Self> {
        let text = pieces.join(" ");
        let words = without_list_mark(NormalizedText::new(&text).into_words());
        if words.is_empty() {
            return None;
        }
        let quote = match text.char_indices().nth(MAX_QUOTE_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        };
        Some(Self { hash: fingerprint::hash_of(&words), words, quote })
    }
}

/// The paragraphs of `text`, in its order.
pub fn split(text: &str) -> Vec<Paragraph> {
    let mut paragraphs = Vec::new();
    let mut pieces: Vec<&str> = Vec::new();
    for line in text.lines() {
        let is_blank = !line.contains(char::is_alphanumeric);
        if is_blank {
            paragraphs.extend(Paragraph::new(&std::mem::take(&mut pieces)));
        }
        for piece in line.split_whitespace() {
            pieces.push(piece);
            if pieces.len() >= LEAST_WORDS && ends_clause(piece) {
                paragraphs.extend(Paragraph::new(&std::mem::take(&mut pieces)));
            }
        }
    }
    paragraphs.extend(Paragraph::new(&pieces));
    paragraphs
}

fn ends_clause(piece: &str) -> bool {
    // What ends an address is no punctuation of the sentence.
    if piece.contains("://") {
        return false;
    }
    let after_words = piece.rsplit(char::is_alphanumeric).next().unwrap_or_default();
    after_words.contains(['.', ';', ':'])
}

/// Lists are numbered in one copy and not in another.
fn without_list_mark(mut words: Vec<String>) -> Vec<String> {
    let is_mark = |word: &String| match word.as_str() {
        "ii" | "iii" | "iv" | "vi" | "vii" | "viii" | "ix" => true,
        // `a` may also be an article, which loses nothing: both sides are treated alike.
        word => word.len() == 1 || (word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_digit())),
    };
    let marks = words.iter().take(2).take_while(|word| is_mark(word)).count();
    if marks < words.len() {
        words.drain(..marks);
    }
    words
}

/// Hashes of paragraphs: clauses apart from headings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParagraphHashes {
    pub clauses: BTreeSet<u32>,
    pub headings: BTreeSet<u32>,
}

impl ParagraphHashes {
    pub fn of(paragraphs: &[Paragraph]) -> Self {
        let (clauses, headings): (Vec<&Paragraph>, Vec<&Paragraph>) =
            paragraphs.iter().partition(|paragraph| paragraph.is_clause());
        let hashes = |paragraphs: Vec<&Paragraph>| paragraphs.iter().map(|paragraph| paragraph.hash).collect();
        Self { clauses: hashes(clauses), headings: hashes(headings) }
    }

    pub fn contains(&self, hash: u32) -> bool {
        self.clauses.contains(&hash) || self.headings.contains(&hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "The License\n\n1. You may use the Work for any purpose. You may copy it,\nchange it and \
                        give it away; keep this line.\n\nCopyright (c) 2026 Example";

    fn hashes(text: &str) -> ParagraphHashes {
        ParagraphHashes::of(&split(text))
    }

    #[test]
    fn wrapping_decoration_and_numbers_of_lists_do_not_count() {
        let decorated = "# The License\r\n\r\n> **You may use\r\n> the Work for any purpose.** You may\r\n> copy it, change it \
                         and give it away;\r\n> keep this line.\r\n---\r\nCopyright (c) 2026 Example";
        assert_eq!(hashes(TEXT), hashes(decorated));
    }

    #[test]
    fn one_changed_word_changes_one_paragraph() {
        let (old, new) = (hashes(TEXT), hashes(&TEXT.replace("any purpose", "no purpose")));
        assert_eq!(old.clauses.difference(&new.clauses).count(), 1);
        assert_eq!(old.headings, new.headings);
    }

    #[test]
    fn quotes_are_bounded() {
        let paragraphs = split(&"word ".repeat(10_000));
        assert_eq!(paragraphs.len(), 1);
        assert_eq!(paragraphs[0].quote.chars().count(), MAX_QUOTE_CHARS + 1);
    }
}

//! Graphs written as text (`.pbtxt`).
//!
//! The text format is read just far enough to find every operation: a string behind `op:`.

use super::super::content::Content;
use super::super::findings;
use super::super::found::Found;
use super::super::scan::read_bounded;
use super::operators;

/// Largest text that is looked at, in bytes.
const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;

/// Adds what operations named in the text do.
pub(in super::super) fn scan(content: &Content<'_>, found: &mut Found) {
    match read_bounded(content.source, MAX_TEXT_BYTES) {
        Ok(Some(bytes)) => judge(&bytes, found),
        Ok(None) => {
            let reason = format!("the text is longer than {MAX_TEXT_BYTES} bytes");
            findings::unscannable(found, "TENSORFLOW_TEXT_TOO_LARGE", &reason, "provide the graph in binary form");
        }
        Err(error) => findings::unreadable(found, &error),
    }
}

fn judge(bytes: &[u8], found: &mut Found) {
    let mut tokens = Tokens { rest: bytes };
    let mut before: [Option<Token>; 2] = [None, None];
    while let Some(token) = tokens.next() {
        let is_operator = match &before {
            [Some(Token::Word(word)), Some(Token::Mark(b':'))] => *word == b"op",
            _ => false,
        };
        let is_stream = matches!(&before, [_, Some(Token::Mark(b':'))]);
        if let Token::Text(text) = &token {
            let text = String::from_utf8_lossy(text);
            if is_operator {
                operators::judge(&text, found);
            } else if is_stream && text.starts_with("file://") {
                operators::judge_stream(&text, found);
            }
        }
        before = [before[1].take(), Some(token)];
    }
}

enum Token<'b> {
    Word(&'b [u8]),
    /// A string with its escapes resolved; adjacent strings are one.
    Text(Vec<u8>),
    Mark(u8),
}

struct Tokens<'b> {
    rest: &'b [u8],
}

impl<'b> Tokens<'b> {
    fn next(&mut self) -> Option<Token<'b>> {
        self.skip_space();
        let first = *self.rest.first()?;
        if first.is_ascii_alphanumeric() || first == b'_' {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
            let length = self.rest.iter().position(|byte| !is_part(byte)).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(length);
            self.rest = rest;
            return Some(Token::Word(word));
        }
        if b"\"'".contains(&first) {
            let mut text = Vec::new();
            while let Some(quote) = self.rest.first().copied().filter(|byte| b"\"'".contains(byte)) {
                self.rest = &self.rest[1..];
                self.string(quote, &mut text);
                self.skip_space();
            }
            return Some(Token::Text(text));
        }
        self.rest = &self.rest[1..];
        Some(Token::Mark(first))
    }

    fn skip_space(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.rest.first() != Some(&b'#') {
                return;
            }
            let length = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
            self.rest = &self.rest[length..];
        }
    }

    /// Takes a string up to its closing quote; one that is not closed ends with the text.
    fn string(&mut self, quote: u8, text: &mut Vec<u8>) {
        while let Some((byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match *byte {
                byte if byte == quote => return,
                b'\\' => self.escape(text),
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) {
        let Some((kind, rest)) = self.rest.split_first() else { return };
        self.rest = rest;
        match *kind {
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'x' | b'X' => text.push(self.digits(16, 2)),
            b'0'..=b'7' => {
                let first = kind - b'0';
                text.push(self.octal(first));
            }
            other => text.push(other),
        }
    }

    fn octal(&mut self, first: u8) -> u8 {
        let mut value = u32::from(first);
        for _ in 0..2 {
            let Some(digit) = self.rest.first().filter(|byte| (b'0'..=b'7').contains(byte)) else { break };
            value = value * 8 + u32::from(digit - b'0');
            self.rest = &self.rest[1..];
        }
        value.to_le_bytes()[0]
    }

    fn digits(&mut self, radix: u32, most: usize) -> u8 {
        let mut value = 0;
        for _ in 0..most {
            let Some(digit) = self.rest.first().and_then(|byte| char::from(*byte).to_digit(radix)) else { break };
            value = value * radix + digit;
            self.rest = &self.rest[1..];
        }
        value.to_le_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::InspectionVerdict;

    fn verdict(text: &str) -> InspectionVerdict {
        let mut found = Found::new();
        judge(text.as_bytes(), &mut found);
        found.verdict
    }

    #[test]
    fn operations_are_found_however_the_string_is_written() {
        for operator in [r#""ReadFile""#, r"'ReadFile'", r#""Read" 'File'"#, r#""\x52ead\106ile""#] {
            assert_eq!(
                verdict(&format!("node {{ name: \"a\" op # note\n : {operator} }}")),
                InspectionVerdict::Dangerous
            );
        }
    }

    #[test]
    fn texts_that_name_no_such_operation_are_fine() {
        let label_map = "item { name: \"ReadFile\" id: 1 }\n# op: \"ReadFile\"\n";
        assert_eq!(verdict(label_map), InspectionVerdict::Ok);
        assert_eq!(verdict("node { name: \"a\" op: \"AddV2\" }"), InspectionVerdict::Ok);
        assert_eq!(verdict("op: \"unclosed"), InspectionVerdict::Ok);
    }
}

//! Text that remembers where each part of it came from.

use std::ops::Range;
use std::rc::Rc;

/// Where a piece of text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Written in the template, or computed from nothing but its constants.
    Template,
    /// The content of a message.
    Content,
    /// The role of a message.
    Role,
    /// A special token of the tokenizer.
    Token,
    /// The present time as the template was told it.
    Clock,
    /// Anything else of the conversation: tools, documents, names, options.
    Context,
}

impl Origin {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A run of text of one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte behind the last one.
    pub end: usize,
    pub origin: Origin,
}

/// An immutable text whose bytes are covered by spans without gaps.
#[derive(Debug, Clone)]
pub(super) struct Text {
    bytes: Rc<str>,
    spans: Spans,
    /// A bit for each origin that occurs.
    origins: u8,
}

#[derive(Debug, Clone)]
enum Spans {
    One(Origin),
    Many(Rc<[Span]>),
}

impl Text {
    pub(super) fn new(text: impl Into<Rc<str>>, origin: Origin) -> Self {
        Self { bytes: text.into(), spans: Spans::One(origin), origins: origin.bit() }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether any byte is of `origin`.
    pub(super) const fn has(&self, origin: Origin) -> bool {
        self.origins & origin.bit() != 0
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        match &self.spans {
            Spans::One(origin) => vec![Span { start: 0, end: self.bytes.len(), origin: *origin }],
            Spans::Many(spans) => spans.to_vec(),
        }
    }

    /// The part at `range`, which must lie on character boundaries.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        let Some(text) = self.bytes.get(range.clone()) else {
            return Self::new("", Origin::Template);
        };
        match &self.spans {
            Spans::One(origin) => Self::new(text, *origin),
            Spans::Many(_) => {
                let mut builder = TextBuilder::new();
                builder.push_range(self, range);
                builder.finish()
            }
        }
    }

    /// Rewrites each run with `change`, such as by a change of case.
    pub(super) fn map(&self, change: impl Fn(&str) -> String) -> Self {
        if let Spans::One(origin) = &self.spans {
            return Self::new(change(&self.bytes), *origin);
        }
        let mut builder = TextBuilder::new();
        for span in self.spans() {
            builder.push_str(&change(&self.bytes[span.start..span.end]), span.origin);
        }
        builder.finish()
    }
}

/// Text under construction.
#[derive(Debug, Default, Clone)]
pub(super) struct TextBuilder {
    text: String,
    spans: Vec<Span>,
}

impl TextBuilder {
    pub(super) const fn new() -> Self {
        Self { text: String::new(), spans: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Appends, joined to the run before it where that has the same origin.
    pub(super) fn push_str(&mut self, text: &str, origin: Origin) {
        let start = self.text.len();
        self.text.push_str(text);
        match self.spans.last_mut() {
            Some(last) if last.origin == origin => last.end = self.text.len(),
            _ if text.is_empty() => {}
            _ => self.spans.push(Span { start, end: self.text.len(), origin }),
        }
    }

    pub(super) fn push(&mut self, text: &Text) {
        self.push_range(text, 0..text.len());
    }

    /// Appends the part of `text` at `range`, which must lie on character boundaries.
    pub(super) fn push_range(&mut self, text: &Text, range: Range<usize>) {
        match &text.spans {
            Spans::One(origin) => self.push_str(&text.bytes[range], *origin),
            Spans::Many(spans) => {
                let first = spans.partition_point(|span| span.end <= range.start);
                for span in spans[first..].iter().take_while(|span| span.start < range.end) {
                    let (start, end) = (span.start.max(range.start), span.end.min(range.end));
                    self.push_str(&text.bytes[start..end], span.origin);
                }
            }
        }
    }

    pub(super) fn finish(self) -> Text {
        let spans = match self.spans.as_slice() {
            [] => Spans::One(Origin::Template),
            [only] => Spans::One(only.origin),
            many => Spans::Many(many.into()),
        };
        let origins = self.spans.iter().fold(0, |bits, span| bits | span.origin.bit());
        Text { bytes: self.text.into(), spans, origins: if origins == 0 { Origin::Template.bit() } else { origins } }
    }

    pub(super) fn into_parts(self) -> (String, Vec<Span>) {
        (self.text, self.spans)
    }
}

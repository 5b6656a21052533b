//! The part of Python's literals that NumPy's headers are written in.

/// Deepest nesting read; records in records are rare.
const MAX_DEPTH: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    Bool(bool),
    Number(u64),
    /// A list or a tuple.
    Sequence(Vec<Self>),
    Dictionary(Vec<(String, Self)>),
}

impl Literal {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn whole_number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// Reads one literal with nothing but white space around it.
pub(super) fn parse(text: &str) -> Option<Literal> {
    let mut parser = Parser { rest: text };
    let value = parser.value(0)?;
    parser.skip_space();
    parser.rest.is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Option<Literal> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.skip_space();
        match self.rest.bytes().next()? {
            b'{' => self.dictionary(depth),
            b'(' => self.sequence('(', ')', depth),
            b'[' => self.sequence('[', ']', depth),
            b'\'' | b'"' => self.text().map(Literal::Text),
            b'T' => self.take("True").then_some(Literal::Bool(true)),
            b'F' => self.take("False").then_some(Literal::Bool(false)),
            b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn dictionary(&mut self, depth: usize) -> Option<Literal> {
        self.take("{");
        let mut pairs = Vec::new();
        while !self.take("}") {
            self.skip_space();
            let key = self.text()?;
            if !self.take(":") {
                return None;
            }
            pairs.push((key, self.value(depth + 1)?));
            if !self.take(",") && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
        Some(Literal::Dictionary(pairs))
    }

    fn sequence(&mut self, open: char, close: char, depth: usize) -> Option<Literal> {
        self.take(open.encode_utf8(&mut [0; 4]));
        let mut values = Vec::new();
        while !self.take(close.encode_utf8(&mut [0; 4])) {
            values.push(self.value(depth + 1)?);
            if !self.take(",") && !self.rest.trim_start().starts_with(close) {
                return None;
            }
        }
        Some(Literal::Sequence(values))
    }

    /// A quoted text without escapes, which type codes and names have no need of.
    fn text(&mut self) -> Option<String> {
        let quote = self.rest.chars().next().filter(|quote| "'\"".contains(*quote))?;
        let (text, rest) = self.rest[1..].split_once(quote)?;
        if text.contains('\\') {
            return None;
        }
        self.rest = rest;
        Some(text.to_owned())
    }

    fn number(&mut self) -> Option<Literal> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(length);
        // Python 2 marked long numbers.
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        digits.parse().ok().map(Literal::Number)
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let header =
            parse("{'descr': [('a', '<f4', (2,)), ('b', '|O')], 'fortran_order': False, 'shape': (3L, 4,), } \n");
        let Some(Literal::Dictionary(pairs)) = header else { panic!("{header:?}") };
        assert_eq!(pairs[1], ("fortran_order".to_owned(), Literal::Bool(false)));
        assert_eq!(pairs[2].1, Literal::Sequence(vec![Literal::Number(3), Literal::Number(4)]));
    }

    #[test]
    fn other_python_is_refused() {
        for text in ["{'a': f()}", "{'a': 1} x", "{'a': -1}", "{'a' 1}", "(1 2)", "{'a\\n': 1}", "", "{"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"(".repeat(100_000)), None);
    }
}

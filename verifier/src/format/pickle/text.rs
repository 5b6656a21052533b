//! Decodes the text arguments of protocol 0, in which names can be hidden behind escapes.

/// A `STRING` argument: quoted, with the escapes of a Python 2 string literal.
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let (quote, rest) = line.split_first()?;
    let (last, inner) = rest.split_last()?;
    (quote == last && b"'\"".contains(quote)).then(|| unescape(inner))
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'\\' {
            rest = unescape_one(after, &mut bytes);
        } else {
            bytes.push(*byte);
        }
    }
    bytes
}

/// Decodes what follows a backslash and returns the rest.
fn unescape_one<'a>(text: &'a [u8], bytes: &mut Vec<u8>) -> &'a [u8] {
    let Some((kind, rest)) = text.split_first() else {
        bytes.push(b'\\');
        return text;
    };
    match kind {
        b'x' => match number(rest, 2, 16) {
            Some(value) => {
                bytes.extend(u8::try_from(value));
                &rest[2..]
            }
            None => rest,
        },
        b'0'..=b'7' => {
            let digits = text.iter().take(3).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
            bytes.extend(number(text, digits, 8).map(|value| value.to_le_bytes()[0]));
            &text[digits..]
        }
        b'\n' => rest,
        other => {
            let decoded = match other {
                b'n' => b"\n",
                b't' => b"\t",
                b'r' => b"\r",
                b'a' => b"\x07",
                b'b' => b"\x08",
                b'f' => b"\x0c",
                b'v' => b"\x0b",
                b'\\' | b'\'' | b'"' => std::slice::from_ref(other),
                _ => &text[..0],
            };
            if decoded.is_empty() {
                bytes.extend([b'\\', *other]);
            } else {
                bytes.extend_from_slice(decoded);
            }
            rest
        }
    }
}

/// A `UNICODE` argument: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        let digits = match after.first() {
            Some(b'u') if *byte == b'\\' => 4,
            Some(b'U') if *byte == b'\\' => 8,
            _ => 0,
        };
        let escaped = (digits > 0).then(|| number(&after[1..], digits, 16)).flatten().and_then(char::from_u32);
        if let Some(character) = escaped {
            text.push(character);
            rest = &after[1 + digits..];
        } else {
            text.push(char::from(*byte));
            rest = after;
        }
    }
    text
}

fn number(text: &[u8], digits: usize, radix: u32) -> Option<u32> {
    let digits = text.get(..digits).filter(|digits| digits.iter().all(u8::is_ascii_alphanumeric))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_decoded() {
        assert_eq!(unquote(b"'o\\x73'").unwrap(), b"os");
        assert_eq!(unquote(b"\"\\157s\\n\\'\\q\"").unwrap(), b"os\n'\\q");
        assert_eq!(unquote(b"'a\\"), None);
        assert_eq!(raw_unicode(b"\\u006fs\\U00000021\\u00"), "os!\\u00");
        assert_eq!(raw_unicode(b"\xe9"), "\u{e9}");
    }
}

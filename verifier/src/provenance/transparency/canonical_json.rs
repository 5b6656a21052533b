//! One byte sequence for one JSON value, so that a leaf's hash can be computed again from
//! its meaning (RFC 8785, for the subset that leaves use).

use serde_json::{Map, Number, Value};

/// Largest integer that every JSON reader keeps exactly (RFC 7493, 2.2).
const LARGEST_INTEGER: u64 = (1 << 53) - 1;

/// Deepest nesting of arrays and objects; leaves use three or four levels.
const DEEPEST: usize = 32;

/// Why a value has no canonical form here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalJsonError {
    #[error("{0} is not an integer between -(2^53-1) and 2^53-1")]
    Number(Number),
    #[error("nested deeper than {DEEPEST} levels")]
    Depth,
}

/// The canonical bytes of `value`: no white space, keys sorted by UTF-16 code units, the
/// shortest escapes. Numbers must be integers of at most 53 bits, because fractions have no
/// form on which all writers agree.
pub fn canonical_json(value: &Value) -> Result<Vec<u8>, CanonicalJsonError> {
    let mut output = String::new();
    write_value(value, 0, &mut output)?;
    Ok(output.into_bytes())
}

fn write_value(value: &Value, depth: usize, output: &mut String) -> Result<(), CanonicalJsonError> {
    if depth > DEEPEST {
        return Err(CanonicalJsonError::Depth);
    }
    match value {
        Value::Null => output.push_str("null"),
        Value::Bool(flag) => output.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => write_number(number, output)?,
        Value::String(text) => write_string(text, output),
        Value::Array(elements) => write_array(elements, depth, output)?,
        Value::Object(members) => write_object(members, depth, output)?,
    }
    Ok(())
}

fn write_number(number: &Number, output: &mut String) -> Result<(), CanonicalJsonError> {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    if magnitude.is_none_or(|magnitude| magnitude > LARGEST_INTEGER) {
        return Err(CanonicalJsonError::Number(number.clone()));
    }
    output.push_str(&number.to_string());
    Ok(())
}

fn write_array(elements: &[Value], depth: usize, output: &mut String) -> Result<(), CanonicalJsonError> {
    output.push('[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            output.push(',');
        }
        write_value(element, depth + 1, output)?;
    }
    output.push(']');
    Ok(())
}

fn write_object(members: &Map<String, Value>, depth: usize, output: &mut String) -> Result<(), CanonicalJsonError> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
    output.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            output.push(',');
        }
        write_string(key, output);
        output.push(':');
        write_value(value, depth + 1, output)?;
    }
    output.push('}');
    Ok(())
}

/// RFC 8785, 3.2.2.2: the two-character escapes where JSON has them, `\u00xx` for the other
/// control characters, everything else as it is.
fn write_string(text: &str, output: &mut String) {
    output.push('"');
    for character in text.chars() {
        match character {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            '\u{8}' => output.push_str("\\b"),
            '\t' => output.push_str("\\t"),
            '\n' => output.push_str("\\n"),
            '\u{c}' => output.push_str("\\f"),
            '\r' => output.push_str("\\r"),
            control if control < ' ' => output.extend(format!("\\u{:04x}", u32::from(control)).chars()),
            other => output.push(other),
        }
    }
    output.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canonical(value: &Value) -> String {
        String::from_utf8(canonical_json(value).unwrap()).unwrap()
    }

    #[test]
    fn members_are_sorted_and_white_space_is_gone() {
        assert_eq!(
            canonical(&json!({"b": [1, -2, true, null], "a": {"d": "", "c": 0}})),
            r#"{"a":{"c":0,"d":""},"b":[1,-2,true,null]}"#
        );
    }

    #[test]
    fn keys_are_sorted_by_utf16_as_in_the_rfc() {
        // RFC 8785, 3.2.3: U+1F600 sorts before U+FB33 in UTF-16, after it in UTF-8.
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let keys = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(&value), keys);
    }

    #[test]
    fn strings_have_the_shortest_escapes() {
        assert_eq!(canonical(&json!("\u{20ac}$\u{f}\nA'B\"\\/\u{7f}")), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\/\u{7f}\"");
    }

    #[test]
    fn fractions_and_large_integers_are_refused() {
        for value in [json!(1.5), json!(1.0), json!(1_u64 << 53), json!(u64::MAX), json!(-(1_i64 << 53))] {
            assert!(matches!(canonical_json(&value), Err(CanonicalJsonError::Number(_))), "{value}");
        }
        assert_eq!(canonical(&json!((1_u64 << 53) - 1)), "9007199254740991");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut value = json!(0);
        for _ in 0..=DEEPEST {
            value = json!([value]);
        }
        assert_eq!(canonical_json(&value), Err(CanonicalJsonError::Depth));
    }
}

//! Whole numbers as people and JSON write them.
//!
//! To JSON Schema, and to programs that know only floating point, `1.0` is the integer 1.
//! Published schemas say `integer`, so what is read accepts both spellings.

use serde::{Deserialize, Deserializer, de};

/// 2 to the power of 64, the first number that is too large.
const END: f64 = 18_446_744_073_709_551_616.0;

/// A count with commas between thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Reads a number of 0 or more without a fraction; for `deserialize_with`.
pub fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = number.as_u64().or_else(|| number.as_f64().and_then(exact));
    whole.ok_or_else(|| de::Error::custom(format!("{number} is not a whole number of 0 or more, below 2^64")))
}

/// The same for a number that may be `null`; give it `#[serde(default)]` where it may be absent.
pub fn optional_whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Whole(#[serde(deserialize_with = "whole_number")] u64);
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|whole| whole.0))
}

fn exact(number: f64) -> Option<u64> {
    let exact = number.fract() == 0.0 && (0.0..END).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked in the line before")]
    exact.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Document {
        #[serde(deserialize_with = "whole_number")]
        size: u64,
        #[serde(default, deserialize_with = "optional_whole_number")]
        limit: Option<u64>,
    }

    fn read(text: &str) -> Option<Document> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn both_spellings_of_a_whole_number_are_read() {
        assert_eq!(read(r#"{"size": 3}"#), Some(Document { size: 3, limit: None }));
        assert_eq!(read(r#"{"size": 3.0, "limit": 1e3}"#), Some(Document { size: 3, limit: Some(1000) }));
        assert_eq!(read(r#"{"size": 18446744073709551615, "limit": null}"#).unwrap().size, u64::MAX);
    }

    #[test]
    fn other_numbers_are_refused() {
        for size in ["-1", "1.5", "1e20", "-0.5", "\"1\"", "null", "true"] {
            assert_eq!(read(&format!(r#"{{"size": {size}}}"#)), None, "{size}");
        }
    }
}

//! JSON whose every key stands once.
//!
//! Readers disagree about which of two equal keys counts, so a document that has them would say
//! one thing to the verifier and another to whoever reads it next.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::shorten;

/// Why bytes are not such a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::provenance) enum JsonError {
    #[error("{0}")]
    Syntax(String),
    #[error("the key `{0}` stands twice in one object")]
    DuplicateKey(String),
}

/// Reads one value. Nesting is limited to serde_json's 128 levels.
pub(in crate::provenance) fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let mut repeated = None;
    let outcome = Unique(&mut repeated).deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    match (outcome, repeated) {
        (Ok(value), None) => Ok(value),
        (_, Some(key)) => Err(JsonError::DuplicateKey(key)),
        (Err(error), None) => Err(JsonError::Syntax(shorten(&error.to_string()))),
    }
}

/// Builds a value, and keeps the key that was repeated: serde's errors carry a sentence only.
struct Unique<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(Unique(self.0))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if values.contains_key(&key) {
                *self.0 = Some(shorten(&key));
                return Err(A::Error::custom("a repeated key"));
            }
            let value = members.next_value_seed(Unique(self.0))?;
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_those_of_serde_json() {
        let text = r#" {"a": [1, -2, 0.5, 1e300, true, null, "x\u00e9"], "b": {"a": {}}} "#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(parse(b"18446744073709551615").unwrap(), json!(u64::MAX));
    }

    #[test]
    fn a_repeated_key_is_named_however_deep_and_however_escaped() {
        assert_eq!(parse(br#"{"a": [{"b": 1, "\u0062": 2}]}"#), Err(JsonError::DuplicateKey("b".to_owned())));
    }

    #[test]
    fn nesting_numbers_and_trailing_text_are_bounded() {
        let nested = "[".repeat(1_000_000);
        assert!(matches!(parse(nested.as_bytes()), Err(JsonError::Syntax(_))));
        assert!(matches!(parse(b"1e999"), Err(JsonError::Syntax(_))));
        assert!(matches!(parse(b"{} {}"), Err(JsonError::Syntax(_))));
        assert!(matches!(parse(b"\"\xff\""), Err(JsonError::Syntax(_))));
    }
}

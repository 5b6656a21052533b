//! JSON of strangers, read so that nobody can hide a second meaning in it.
//!
//! JSON libraries keep the last of two equal keys, or the first; a configuration with two
//! licenses or two `auto_map` entries means different things to different tools. This reader
//! keeps the first and says which keys were repeated.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Repeated keys that are remembered.
const MAX_REPEATED: usize = 8;

/// A document with the keys that it repeats.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Dotted paths of repeated keys, the first eight.
    pub(crate) repeated: Vec<String>,
}

/// Parses `bytes`, nested at most 128 deep (serde_json's own limit).
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, serde_json::Error> {
    let mut reader = Reader { path: Vec::new(), repeated: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed(&mut reader).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Document { value, repeated: reader.repeated })
}

struct Reader {
    path: Vec<String>,
    repeated: Vec<String>,
}

struct Seed<'r>(&'r mut Reader);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(Seed(self.0))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.0.path.push(key.clone());
            let value = map.next_value_seed(Seed(self.0))?;
            if !values.contains_key(&key) {
                values.insert(key, value);
            } else if self.0.repeated.len() < MAX_REPEATED {
                self.0.repeated.push(self.0.path.join("."));
            }
            self.0.path.pop();
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_equal_keys_counts_and_the_repetition_is_named() {
        let document = parse(br#"{"a":{"license":"mit","license":"cc"},"b":[1,-2,0.5,true,null]}"#).unwrap();
        assert_eq!(document.value["a"]["license"], "mit");
        assert_eq!(document.repeated, ["a.license"]);
        assert_eq!(document.value["b"], serde_json::json!([1, -2, 0.5, true, null]));
    }

    #[test]
    fn what_follows_the_document_and_what_is_nested_too_deep_is_refused() {
        assert!(parse(b"{} {}").is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }
}

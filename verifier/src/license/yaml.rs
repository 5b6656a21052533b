//! YAML of strangers as JSON, of bounded size.
//!
//! An alias lets a short document stand for a huge one. The parser bounds how often aliases are
//! followed and not how much they lead to, so what is made of a document is counted here.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most memory that the values of a document take, in bytes.
const MAX_BYTES: usize = 8 << 20;
/// What a value costs beside its text.
const VALUE_BYTES: usize = 64;

/// Most brackets that may be open at once; the parser refuses far fewer, after much work.
const MAX_OPEN_BRACKETS: usize = 1000;

/// Whether so many brackets are open at once that parsing `text` would take long: the scanner
/// looks at all of them for each token. Brackets in quotes count too.
pub(super) fn is_too_deep(text: &str) -> bool {
    let mut open: usize = 0;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN_BRACKETS
    })
}

/// The one document in `text`; null where it is empty.
pub(crate) fn value(text: &str) -> Result<Value, serde_yaml_ng::Error> {
    if is_too_deep(text) {
        return Err(serde_yaml_ng::Error::custom(format!("more than {MAX_OPEN_BRACKETS} brackets are open at once")));
    }
    let left = Cell::new(MAX_BYTES);
    Bounded { left: &left }.deserialize(serde_yaml_ng::Deserializer::from_str(text))
}

#[derive(Clone, Copy)]
struct Bounded<'b> {
    left: &'b Cell<usize>,
}

impl Bounded<'_> {
    fn spend<E: serde::de::Error>(self, text_bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(VALUE_BYTES + text_bytes);
        self.left.set(left.ok_or_else(|| E::custom(format!("the values take more than {MAX_BYTES} bytes")))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value without a tag")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Null)
    }

    /// An empty document.
    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Value, E> {
        self.spend(0).map(|()| flag.into())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.spend(0).map(|()| number.into())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        self.spend(0).map(|()| number.into())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        self.spend(0).map(|()| Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.spend(text.len()).map(|()| text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.spend(key.len())?;
            if values.contains_key(&key) {
                return Err(A::Error::custom("a key is given twice"));
            }
            values.insert(key, map.next_value_seed(self)?);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_all_kinds_become_json() {
        let document = "a: [1, -2, 0.5, true, ~, text]\nb: {c: d}\n1: x";
        let expected = json!({"a": [1, -2, 0.5, true, null, "text"], "b": {"c": "d"}, "1": "x"});
        assert_eq!(value(document).unwrap(), expected);
        assert_eq!(value("").unwrap(), Value::Null);
        assert!(value("a: 1\na: 2").is_err());
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        assert!(value(&"[".repeat(250_000)).unwrap_err().to_string().contains("brackets"));
        assert!(!is_too_deep(&"[a], ".repeat(5000)));
    }

    #[test]
    fn aliases_of_large_values_stop_at_the_bound() {
        let list = format!("a: &a [{}]\nb: [{}]", "x,".repeat(20_000), "*a,".repeat(20_000));
        let long_text = format!("a: &a {}\nb: [{}]", "x".repeat(60_000), "*a,".repeat(20_000));
        for bomb in [list, long_text] {
            assert!(value(&bomb).unwrap_err().to_string().contains("more than 8388608 bytes"));
        }
    }
}

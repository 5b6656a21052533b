//! Tells a Keras serialization by its outermost keys, without building the document.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

/// Whether the text is an object with a `class_name` and a `config`.
pub(super) fn is_serialization(text: &[u8]) -> bool {
    serde_json::Deserializer::from_slice(text).deserialize_map(Keys).unwrap_or(false)
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let (mut has_class, mut has_config) = (false, false);
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            has_class |= key == "class_name";
            has_config |= key == "config";
        }
        Ok(has_class && has_config)
    }
}

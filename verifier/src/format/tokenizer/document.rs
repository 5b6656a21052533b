//! The parts of a JSON document that matter, gathered while it is streamed.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::super::template;
use super::vocabulary::{Merges, Tokens, Vocabulary};

/// Most templates of a file, and the longest in bytes.
const MAX_TEMPLATES: usize = 16;
/// Most values of a part that is kept as a tree (normalizers, post-processors).
const MAX_NODES: usize = 60_000;
/// Memory of the texts in such parts, in bytes.
const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;
/// Most tokens in `added_tokens` that are looked at.
const MAX_ADDED: usize = 200_000;
/// Levels of objects in which templates are looked for.
const MAX_SEARCH_DEPTH: u8 = 8;

const SPECIAL_NAMES: [&str; 8] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "sep_token",
    "cls_token",
    "mask_token",
    "additional_special_tokens",
];

/// A token beside the vocabulary.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(super) struct AddedToken {
    #[serde(default)]
    pub(super) id: Option<u64>,
    #[serde(default)]
    pub(super) content: String,
    #[serde(default)]
    pub(super) special: bool,
}

#[derive(Debug, Default)]
pub(super) struct Document {
    /// Whether the document itself maps tokens to numbers.
    pub(super) is_plain_vocabulary: bool,
    pub(super) templates: Vec<(String, String)>,
    /// Normalizer, pre-tokenizer, decoder and post-processor.
    pub(super) parts: Map<String, Value>,
    pub(super) special: Vec<(String, String)>,
    pub(super) added: Vec<AddedToken>,
    pub(super) vocabulary: Vocabulary,
    pub(super) model_type: Option<String>,
    pub(super) joins_with_prefix: bool,
    pub(super) has_model: bool,
    pub(super) has_auto_map: bool,
    pub(super) tokenizer_class: Option<String>,
    pub(super) max_length: Option<f64>,
    pub(super) repeated_keys: BTreeSet<String>,
    /// A bound that ended the reading.
    pub(super) out_of_bounds: Option<&'static str>,
    nodes: usize,
    text_bytes: usize,
}

impl Document {
    pub(super) fn is_tokenizer(&self) -> bool {
        self.has_model && (!self.added.is_empty() || !self.parts.is_empty())
    }

    pub(super) const fn is_within_bounds(&self) -> bool {
        self.out_of_bounds.is_none() && !self.vocabulary.is_too_large
    }

    /// Special tokens by the names that templates use.
    pub(super) fn special_tokens(&self) -> Vec<(String, String)> {
        self.special.clone()
    }

    fn refuse<E: serde::de::Error>(&mut self, bound: &'static str) -> E {
        self.out_of_bounds.get_or_insert(bound);
        E::custom(bound)
    }

    fn add_template(&mut self, name: &str, source: String) {
        if self.templates.len() < MAX_TEMPLATES && template::is_template(&source) {
            self.templates.push((name.to_owned(), source));
        }
    }

    /// `chat_template` is a text, a list of named texts, or texts by name.
    fn add_templates(&mut self, key: &str, value: Value) {
        match value {
            Value::String(source) => self.add_template(key, source),
            Value::Array(entries) => {
                for entry in entries {
                    let name = entry.get("name").and_then(Value::as_str).unwrap_or("unnamed");
                    let name = format!("{key}.{name}");
                    if let Some(source) = entry.get("template").or(Some(&entry)).and_then(Value::as_str) {
                        self.add_template(&name, source.to_owned());
                    }
                }
            }
            Value::Object(entries) => {
                for (name, source) in entries {
                    if let Value::String(source) = source {
                        self.add_template(&format!("{key}.{name}"), source);
                    }
                }
            }
            _ => {}
        }
    }

    fn add_special(&mut self, name: &str, value: &Value) {
        let content = value.as_str().or_else(|| value.get("content").and_then(Value::as_str));
        if let Some(content) = content
            && !self.special.iter().any(|(known, _)| known == name)
        {
            self.special.push((name.to_owned(), content.to_owned()));
        }
    }

    fn add_token<E: serde::de::Error>(&mut self, token: AddedToken) -> Result<(), E> {
        if self.added.len() >= MAX_ADDED {
            return Err(self.refuse("too many added tokens"));
        }
        self.added.push(token);
        Ok(())
    }
}

/// The outermost value.
pub(super) struct Root<'d>(pub(super) &'d mut Document);

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.0.is_plain_vocabulary {
            return Tokens(&mut self.0.vocabulary).deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let document = self.0;
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if is_known(&key) && !seen.insert(key.clone()) {
                document.repeated_keys.insert(key.clone());
            }
            read_entry(document, &key, &mut map)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

fn is_known(key: &str) -> bool {
    const OTHERS: [&str; 10] = [
        "normalizer",
        "pre_tokenizer",
        "decoder",
        "post_processor",
        "model",
        "added_tokens",
        "added_tokens_decoder",
        "auto_map",
        "tokenizer_class",
        "version",
    ];
    OTHERS.contains(&key) || SPECIAL_NAMES.contains(&key) || is_template_key(key)
}

fn is_template_key(key: &str) -> bool {
    key.ends_with("chat_template") || key == "chat_templates" || key == "jinja_template"
}

fn read_entry<'de, A: MapAccess<'de>>(document: &mut Document, key: &str, map: &mut A) -> Result<(), A::Error> {
    match key {
        "model" => map.next_value_seed(Model { document }),
        "normalizer" | "pre_tokenizer" | "decoder" | "post_processor" => {
            let value = map.next_value_seed(Tree(document))?;
            document.parts.insert(key.to_owned(), value);
            Ok(())
        }
        "added_tokens" | "added_tokens_decoder" => map.next_value_seed(Added { document }),
        "tokenizer_class" => {
            let value = map.next_value_seed(Tree(document))?;
            document.tokenizer_class = value.as_str().map(|name| name.chars().take(80).collect());
            Ok(())
        }
        "model_max_length" => {
            let value = map.next_value_seed(Tree(document))?;
            document.max_length = value.as_f64();
            Ok(())
        }
        "auto_map" => {
            document.has_auto_map = true;
            map.next_value::<IgnoredAny>().map(|_| ())
        }
        key if SPECIAL_NAMES.contains(&key) => {
            let value = map.next_value_seed(Tree(document))?;
            document.add_special(key, &value);
            Ok(())
        }
        key if is_template_key(key) => {
            let value = map.next_value_seed(Tree(document))?;
            document.add_templates(key, value);
            Ok(())
        }
        _ => map.next_value_seed(Search { document, depth: 0 }),
    }
}

/// Looks for templates in objects inside others.
struct Search<'d> {
    document: &'d mut Document,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth >= MAX_SEARCH_DEPTH {
            return IgnoredAny::deserialize(deserializer).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if is_template_key(&key) {
                let value = map.next_value_seed(Tree(self.document))?;
                self.document.add_templates(&key, value);
            } else {
                map.next_value_seed(Search { document: self.document, depth: self.depth + 1 })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let mut next = || sequence.next_element_seed(Search { document: self.document, depth: self.depth + 1 });
        while next()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A part that is kept whole, within a number of values and bytes for the document.
struct Tree<'d>(&'d mut Document);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.nodes += 1;
        if self.0.nodes > MAX_NODES {
            return Err(self.0.refuse("too many values in a part"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Tree(self.0))?;
            if entries.contains_key(&key) {
                self.0.repeated_keys.insert(key.chars().take(64).collect());
            }
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(Tree(self.0))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.0.text_bytes += text.len();
        if self.0.text_bytes > MAX_TEXT_BYTES {
            return Err(self.0.refuse("too much text in a part"));
        }
        Ok(Value::String(text.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// `[{id, content, special}]`, or `{id: {content, special}}`.
struct Added<'d> {
    document: &'d mut Document,
}

impl<'de> DeserializeSeed<'de> for Added<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Added<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("added tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(token) = sequence.next_element::<AddedToken>()? {
            self.document.add_token(token)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(id) = map.next_key::<String>()? {
            let mut token = map.next_value::<AddedToken>()?;
            token.id = id.parse().ok();
            self.document.add_token(token)?;
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

struct Model<'d> {
    document: &'d mut Document,
}

impl<'de> DeserializeSeed<'de> for Model<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Model<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let document = self.document;
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let is_known = ["type", "vocab", "merges"].contains(&key.as_str());
            if is_known && !seen.insert(key.clone()) {
                document.repeated_keys.insert(key.clone());
                return Err(A::Error::custom("a key of the model is repeated"));
            }
            match key.as_str() {
                "vocab" => {
                    document.has_model = true;
                    map.next_value_seed(Tokens(&mut document.vocabulary))?;
                }
                "merges" => map.next_value_seed(Merges(&mut document.vocabulary))?,
                "type" => document.model_type = map.next_value_seed(Tree(document))?.as_str().map(str::to_owned),
                "continuing_subword_prefix" => {
                    let prefix = map.next_value_seed(Tree(document))?;
                    document.joins_with_prefix = prefix.as_str().is_some_and(|prefix| !prefix.is_empty());
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

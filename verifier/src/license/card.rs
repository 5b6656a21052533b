//! The YAML front matter of a model card.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::yaml;

/// Longest front matter that is parsed, in bytes; the Hub's largest cards stay below it.
const MAX_FRONT_MATTER_BYTES: usize = 128 * 1024;
/// Longest list that is kept of a field.
const MAX_LIST: usize = 64;

/// What a card declares. Lists keep their order. A field given twice is an error, because
/// tools differ in which of the two they keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Card {
    /// One id as a rule; data sets may list several.
    #[serde(deserialize_with = "one_or_many")]
    pub license: Vec<String>,
    #[serde(deserialize_with = "optional_text")]
    pub license_name: Option<String>,
    /// A file of the repository or a URL.
    #[serde(deserialize_with = "optional_text")]
    pub license_link: Option<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub base_model: Vec<String>,
    #[serde(deserialize_with = "optional_text")]
    pub base_model_relation: Option<String>,
    /// Models whose behavior this one was trained to reproduce. The field is ours: the Hub has
    /// no relation for it, and terms that reach distilled models depend on it.
    #[serde(deserialize_with = "one_or_many")]
    pub distilled_from: Vec<String>,
    /// Models on whose outputs this one was trained; ours as well.
    #[serde(deserialize_with = "one_or_many")]
    pub trained_on_outputs_of: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub datasets: Vec<String>,
    #[serde(deserialize_with = "optional_text")]
    pub library_name: Option<String>,
    #[serde(deserialize_with = "optional_text")]
    pub pipeline_tag: Option<String>,
    /// `true` on the card of a reference that is used through an interface; a field of ours.
    #[serde(deserialize_with = "optional_text")]
    pub api_access: Option<String>,
}

/// Why a card's front matter cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CardError {
    #[error("the front matter has no closing `---`")]
    Unterminated,
    #[error("the front matter exceeds {MAX_FRONT_MATTER_BYTES} bytes")]
    TooLarge,
    #[error("the front matter is not the YAML of a card: {0}")]
    Invalid(String),
}

/// The front matter of `text`; `None` where a card has none.
pub fn parse(text: &str) -> Result<Option<Card>, CardError> {
    let Some(front_matter) = bounded_front_matter(text)? else { return Ok(None) };
    let card = serde_yaml_ng::from_str::<Option<Card>>(front_matter);
    card.map(|card| Some(card.unwrap_or_default())).map_err(|error| CardError::Invalid(error.to_string()))
}

/// Everything in the front matter of `text`, as JSON; `None` where a card has none.
pub fn metadata(text: &str) -> Result<Option<Map<String, Value>>, CardError> {
    let Some(front_matter) = bounded_front_matter(text)? else { return Ok(None) };
    match yaml::value(front_matter) {
        Ok(Value::Object(metadata)) => Ok(Some(metadata)),
        Ok(Value::Null) => Ok(Some(Map::new())),
        Ok(_) => Err(CardError::Invalid("it is no mapping".to_owned())),
        Err(error) => Err(CardError::Invalid(error.to_string())),
    }
}

/// The license fields of `text` that hold a mapping where a text belongs, so that [`parse`] has
/// to leave them out.
pub(super) fn misshapen(text: &str) -> Vec<&'static str> {
    let Ok(Some(metadata)) = metadata(text) else { return Vec::new() };
    let holds_mapping = |value: &Value| match value {
        Value::Array(values) => values.iter().any(|value| value.is_object() || value.is_array()),
        value => value.is_object(),
    };
    let fields = ["license", "license_name", "license_link"].into_iter();
    fields.filter(|field| metadata.get(*field).is_some_and(holds_mapping)).collect()
}

fn bounded_front_matter(text: &str) -> Result<Option<&str>, CardError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some(rest) = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n")) else {
        return Ok(None);
    };
    let front_matter = front_matter(rest).ok_or(CardError::Unterminated)?;
    if front_matter.len() > MAX_FRONT_MATTER_BYTES {
        return Err(CardError::TooLarge);
    }
    if yaml::is_too_deep(front_matter) {
        return Err(CardError::Invalid("it is nested too deep".to_owned()));
    }
    Ok(Some(front_matter))
}

fn front_matter(rest: &str) -> Option<&str> {
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some(&rest[..end]);
        }
        end += line.len();
    }
    None
}

/// A scalar or a list of scalars; what is neither is left out, because cards hold anything.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(TextsVisitor)
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    one_or_many(deserializer).map(|texts| texts.into_iter().next())
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(Texts(next)) = sequence.next_element()? {
            texts.extend(next);
            if texts.len() > MAX_LIST {
                return Err(A::Error::custom(format!("a list of more than {MAX_LIST} entries")));
            }
        }
        Ok(texts)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Vec::new())
    }
}

struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_many(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn card(yaml: &str) -> Card {
        parse(&format!("---\n{yaml}\n---\n# Title\n")).unwrap().unwrap()
    }

    #[test]
    fn fields_are_read_as_texts_and_lists() {
        let card = card(
            "license: other\nlicense_name: qwen\nbase_model:\n- a/b\n- c/d\ndatasets: x/y\nmodel-index:\n- name: z",
        );
        assert_eq!(card.license, ["other"]);
        assert_eq!(card.license_name.as_deref(), Some("qwen"));
        assert_eq!(card.base_model, ["a/b", "c/d"]);
        assert_eq!(card.datasets, ["x/y"]);
    }

    #[test]
    fn a_text_without_front_matter_declares_nothing() {
        assert_eq!(parse("# Title\n---\nlicense: mit\n---\n").unwrap(), None);
        assert_eq!(parse("---\n---\n").unwrap(), Some(Card::default()));
    }

    #[test]
    fn a_license_given_twice_is_refused() {
        let error = parse("---\nlicense: apache-2.0\nlicense: cc-by-nc-4.0\n---\n").unwrap_err();
        assert!(matches!(error, CardError::Invalid(_)));
    }

    #[test]
    fn odd_values_do_not_hide_the_license() {
        let card = card("license: mit\nlicense_name: {a: b}\nbase_model: null\npipeline_tag: 3");
        assert_eq!(card.license, ["mit"]);
        assert_eq!(card.license_name, None);
        assert_eq!(card.pipeline_tag.as_deref(), Some("3"));
    }

    #[test]
    fn hostile_front_matter_is_refused() {
        assert_eq!(parse("---\nlicense: mit\n").unwrap_err(), CardError::Unterminated);
        let long = format!("---\nx: \"{}\"\n---\n", "a".repeat(MAX_FRONT_MATTER_BYTES));
        assert_eq!(parse(&long).unwrap_err(), CardError::TooLarge);
        let mut laughs = String::from("---\na0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..30 {
            let previous = level - 1;
            let aliases = vec![format!("*a{previous}"); 9].join(",");
            writeln!(laughs, "a{level}: &a{level} [{aliases}]").unwrap();
        }
        laughs.push_str("base_model: *a29\n---\n");
        assert!(matches!(parse(&laughs), Err(CardError::Invalid(_))));
    }
}

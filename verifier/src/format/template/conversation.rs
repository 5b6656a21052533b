//! What a template is rendered for.

use std::sync::Arc;

use jiff::civil::DateTime;
use serde_json::{Map, Value as Json};

use super::error::Result;
use super::text::Origin;
use super::value::{Taint, Value};

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A message that only calls tools.
    None,
    Text(String),
    /// Texts in a list of parts, as multimodal models take them.
    Parts(Vec<String>),
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub role: String,
    pub body: Body,
    /// Further fields, such as `tool_calls`, `tool_call_id` or `name`.
    pub fields: Map<String, Json>,
}

impl Message {
    pub fn new(role: &str, text: impl Into<String>) -> Self {
        Self { role: role.to_owned(), body: Body::Text(text.into()), fields: Map::new() }
    }

    fn to_value(&self) -> Result<Value> {
        let text = |text: &str| Value::text(text, Origin::Content);
        let content = match &self.body {
            Body::None => Value::None,
            Body::Text(body) => text(body),
            Body::Parts(parts) => {
                let parts = parts.iter().map(|part| {
                    let kind = (Value::constant("type"), Value::text("text", Origin::Context));
                    Value::dict(vec![kind, (Value::constant("text"), text(part))])
                });
                Value::list(parts.collect::<Result<_>>()?)?
            }
        };
        let mut entries = vec![
            (Value::constant("role"), Value::text(self.role.as_str(), Origin::Role)),
            (Value::constant("content"), content),
        ];
        for (name, value) in &self.fields {
            entries.push((Value::constant(name.as_str()), from_json(value)?));
        }
        Value::dict(entries)
    }
}

/// A conversation and everything else that a template may ask for.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub messages: Vec<Message>,
    /// Whether the assistant speaks next.
    pub add_generation_prompt: bool,
    /// Function definitions as JSON Schema; none leaves `tools` without a value.
    pub tools: Option<Vec<Json>>,
    /// Special tokens by their names, such as `bos_token`.
    pub tokens: Vec<(String, String)>,
    /// Options that a caller passes on, such as `enable_thinking`.
    pub options: Map<String, Json>,
    /// What `strftime_now` formats.
    pub now: DateTime,
}

impl Conversation {
    /// A conversation with a prompt for the assistant, without tools, tokens and options.
    pub fn new(messages: Vec<Message>, now: DateTime) -> Self {
        Self { messages, add_generation_prompt: true, tools: None, tokens: Vec::new(), options: Map::new(), now }
    }

    /// The names that the template sees.
    pub(super) fn variables(&self) -> Result<Vec<(Arc<str>, Value)>> {
        let messages = self.messages.iter().map(Message::to_value).collect::<Result<_>>()?;
        let mut variables: Vec<(Arc<str>, Value)> = vec![
            ("messages".into(), Value::tainted_list(messages, Taint::COUNT)?),
            ("add_generation_prompt".into(), Value::bool(self.add_generation_prompt)),
        ];
        let tools = match &self.tools {
            Some(tools) => Value::list(tools.iter().map(from_json).collect::<Result<_>>()?)?,
            None => Value::None,
        };
        variables.push(("tools".into(), tools));
        variables.push(("documents".into(), Value::None));
        for (name, token) in &self.tokens {
            variables.push((name.as_str().into(), Value::text(token.as_str(), Origin::Token)));
        }
        for (name, value) in &self.options {
            variables.push((name.as_str().into(), from_json(value)?));
        }
        Ok(variables)
    }
}

/// JSON as a value; texts are of the conversation's surroundings, not of its content.
fn from_json(json: &Json) -> Result<Value> {
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(flag) => Value::bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::int(number),
            None => Value::Float(number.as_f64().unwrap_or(0.0)),
        },
        Json::String(text) => Value::text(text.as_str(), Origin::Context),
        Json::Array(items) => Value::list(items.iter().map(from_json).collect::<Result<_>>()?)?,
        Json::Object(entries) => {
            let entries =
                entries.iter().map(|(key, value)| Ok((Value::text(key.as_str(), Origin::Context), from_json(value)?)));
            Value::dict(entries.collect::<Result<_>>()?)?
        }
    })
}

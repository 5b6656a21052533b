//! Conversations that stand for what templates meet in practice.

use jiff::civil::{DateTime, date};
use serde_json::{Map, Value as Json, json};

use super::conversation::{Body, Conversation, Message};

/// Words that no template looks for, in mixed case so that a change of case shows.
const USER: &str = "Quaint Kettles hum near Zigzag 47 fences, (said Olaf); why?";
const SYSTEM: &str = "Brisk Walnuts drift beyond Pewter 83 lanterns.";
const ASSISTANT: &str = "Velvet Gherkins ponder Yonder 19 harbors.";
const TOOL: &str = "Murky 61 Pebbles";

pub(super) const TOOL_NAME: &str = "zz_fetch_gauge";

/// The day on which conversations take place unless the day is what is tried.
pub(super) fn today() -> DateTime {
    date(2025, 3, 12).at(10, 30, 0, 0)
}

/// Days and hours at which a template that looks at the clock is tried.
pub(super) fn other_days() -> Vec<DateTime> {
    vec![
        date(2019, 12, 31).at(23, 59, 0, 0),
        date(2024, 2, 29).at(3, 0, 0, 0),
        date(2025, 7, 6).at(12, 0, 0, 0),
        date(2025, 12, 25).at(8, 0, 0, 0),
        date(2026, 10, 31).at(18, 45, 0, 0),
        date(2027, 4, 1).at(6, 15, 0, 0),
        date(2029, 9, 14).at(21, 0, 0, 0),
        date(2038, 1, 19).at(3, 14, 0, 0),
    ]
}

/// How the texts of a conversation are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Parts,
}

/// A conversation by its roles, with plain words for every message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) roles: &'static [&'static str],
    pub(super) tools: bool,
    pub(super) prompt: bool,
    pub(super) shape: Shape,
}

/// What is tried first, the plainest before others.
pub(super) const SAMPLES: [Sample; 12] = [
    sample(&["user"], false),
    sample(&["system", "user"], false),
    sample(&["user", "assistant", "user"], false),
    sample(&["system", "user", "assistant", "user"], false),
    sample(&["system", "user", "assistant", "user", "assistant", "user", "assistant"], false),
    sample(&["user"], true),
    sample(&["system", "user"], true),
    sample(&["system", "user", "call", "tool", "assistant", "user"], true),
    sample(&["user", "call", "tool"], true),
    Sample { roles: &["user"], tools: false, prompt: false, shape: Shape::Text },
    Sample { roles: &["user"], tools: false, prompt: true, shape: Shape::Parts },
    Sample { roles: &["system", "user", "assistant", "user"], tools: false, prompt: true, shape: Shape::Parts },
];

const fn sample(roles: &'static [&'static str], tools: bool) -> Sample {
    Sample { roles, tools, prompt: true, shape: Shape::Text }
}

impl Sample {
    pub(super) fn conversation(&self, tokens: &[(String, String)]) -> Conversation {
        self.filled(tokens, &|_, words| words.to_owned())
    }

    /// The conversation whose texts `fill` makes from a role and its plain words.
    pub(super) fn filled(&self, tokens: &[(String, String)], fill: &dyn Fn(&str, &str) -> String) -> Conversation {
        let messages = self.roles.iter().map(|role| self.message(role, fill)).collect();
        let mut conversation = Conversation::new(messages, today());
        conversation.add_generation_prompt = self.prompt;
        conversation.tokens = tokens.to_vec();
        conversation.tools = self.tools.then(|| vec![tool()]);
        conversation
    }

    fn message(&self, role: &str, fill: &dyn Fn(&str, &str) -> String) -> Message {
        let (role, words) = match role {
            "system" => ("system", SYSTEM),
            "user" => ("user", USER),
            "tool" => ("tool", TOOL),
            "call" => return call(),
            _ => ("assistant", ASSISTANT),
        };
        let text = fill(role, words);
        let mut message = Message::new(role, text.as_str());
        if self.shape == Shape::Parts {
            message.body = Body::Parts(vec![text]);
        }
        if role == "tool" {
            message.fields = fields(json!({ "name": TOOL_NAME, "tool_call_id": "call00001" }));
        }
        message
    }
}

/// `count` turns of user and assistant that end with the user.
pub(super) fn turns(count: usize, tokens: &[(String, String)]) -> Conversation {
    let messages = (0..count).map(|index| {
        let is_user = (count - index) % 2 == 1;
        if is_user { Message::new("user", USER) } else { Message::new("assistant", ASSISTANT) }
    });
    let mut conversation = Conversation::new(messages.collect(), today());
    conversation.tokens = tokens.to_vec();
    conversation
}

fn call() -> Message {
    let function = json!({ "name": TOOL_NAME, "arguments": { "place": "Delft" } });
    let mut message = Message::new("assistant", "");
    message.fields = fields(json!({
        "tool_calls": [{ "id": "call00001", "type": "function", "function": function }]
    }));
    message
}

fn tool() -> Json {
    json!({
        "type": "function",
        "function": {
            "name": TOOL_NAME,
            "description": "Reads a gauge.",
            "parameters": {
                "type": "object",
                "properties": { "place": { "type": "string", "description": "Where it hangs." } },
                "required": ["place"]
            }
        }
    })
}

fn fields(json: Json) -> Map<String, Json> {
    if let Json::Object(fields) = json { fields } else { Map::new() }
}

//! The interpreter of chat templates against Jinja itself, and what its budgets are for.

use serde_json::{Map, Value};
use verifier::format::template::{Body, ChatTemplate, Conversation, Message, Origin, TemplateError};

const NOW: &str = "2025-03-09T14:05:06";

/// Cases whose outcome differs from Jinja's on purpose, with the reason.
const DIFFERENT: [(&str, &str); 7] = [
    ("[{{ nested.1.0 }}]", "the parser reads `1.0` as a number"),
    ("[{{ entry['items'] }}]", "Python prints an address"),
    ("[{{ ''.__class__ }}]", "refused at once, where Jinja waits for a use"),
    ("[{{ ''['__class__'] }}]", "refused at once"),
    ("[{{ ''|attr('__class__') }}]", "refused at once"),
    ("[{{ entry.__init__ }}]", "refused at once"),
    ("{% set loop = 1 %}", "the parser reserves the name"),
];

fn golden() -> Value {
    serde_json::from_str(include_str!("goldens/jinja/cases.json")).unwrap()
}

fn conversation(context: &Map<String, Value>) -> Conversation {
    let messages = context["messages"].as_array().unwrap().iter();
    let messages = messages.map(|m| Message::new(m["role"].as_str().unwrap(), m["content"].as_str().unwrap()));
    let mut conversation = Conversation::new(messages.collect(), NOW.parse().unwrap());
    let own = ["messages", "add_generation_prompt", "tools", "documents"];
    conversation.options = context.clone();
    conversation.options.retain(|name, _| !own.contains(&name.as_str()));
    conversation
}

fn render(source: &str, conversation: &Conversation) -> Result<String, TemplateError> {
    Ok(ChatTemplate::compile(source)?.render(conversation)?.text)
}

#[test]
fn templates_render_as_under_jinja() {
    let golden = golden();
    let conversation = conversation(golden["context"].as_object().unwrap());
    let mut failures = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let template = case["template"].as_str().unwrap();
        if DIFFERENT.iter().any(|(known, _)| *known == template) {
            continue;
        }
        let outcome = render(template, &conversation);
        match (&case["output"], &case["error"], &outcome) {
            (Value::String(expected), _, Ok(text)) if expected == text => {}
            (_, Value::String(_), Err(_)) => {}
            (output, error, outcome) => failures.push(format!("{template:?}: {output} {error}, but {outcome:?}")),
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

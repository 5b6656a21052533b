//! A chat template, rendered over a conversation within its budget.

#![no_main]

use jiff::civil::date;
use libfuzzer_sys::fuzz_target;
use verifier::format::template::{ChatTemplate, Conversation, Message};

fuzz_target!(|source: &str| {
    if let Ok(template) = ChatTemplate::compile(source) {
        let messages = vec![Message::new("system", "Be brief."), Message::new("user", " hello ")];
        let conversation = Conversation::new(messages, date(2026, 11, 28).at(12, 0, 0, 0));
        // Refusals and exhausted budgets are answers; only a panic is none.
        let _ = template.render(&conversation);
    }
});

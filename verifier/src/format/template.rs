//! Chat templates: an interpreter of our own, and judgement over what a template does.
//!
//! A chat template is a program that turns a conversation into the text a model sees. It
//! travels with the weights, nobody reads it, and it can do three kinds of harm: run code in
//! the Python program that renders it, never end, or tell the model something else than the
//! conversation does. The last kind is invisible to an engine that only renders, so this one
//! also knows where each byte of a prompt came from, and can be led down both ways of a
//! decision.
//!
//! The syntax tree is minijinja's; semantics follow Jinja 2 as the Transformers library sets
//! it up, which `tests/goldens/jinja` compares with the original.

#[cfg(test)]
mod cases;
mod conversation;
mod error;
mod evaluate;
mod execute;
mod explore;
mod filters;
mod functions;
mod json;
mod judge;
mod machine;
mod methods;
mod names;
mod operators;
mod printf;
mod prose;
mod rules;
mod samples;
mod source;
mod tests_of_values;
mod text;
mod tree;
mod value;

pub use conversation::{Body, Conversation, Message};
pub use error::{Resource, TemplateError};
pub(crate) use judge::judge;
pub use text::{Origin, Span};

use machine::{Machine, Steering};

/// Whether a text has any tag; others are names or plain texts.
pub(crate) fn is_template(source: &str) -> bool {
    source.contains("{{") || source.contains("{%")
}

/// A template that can be rendered any number of times.
#[derive(Debug)]
pub struct ChatTemplate {
    tree: tree::Tree,
}

/// The prompt that a template makes of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// Where each byte of the text came from, in order and without gaps.
    pub spans: Vec<Span>,
}

impl ChatTemplate {
    /// Parses a template of at most 256 KiB.
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        Ok(Self { tree: tree::parse_template(source)? })
    }

    /// Renders within 200,000 steps, 8 MiB of computed values and 1 MiB of output.
    pub fn render(&self, conversation: &Conversation) -> Result<Rendered, TemplateError> {
        let steering = Steering::default();
        let mut machine = Machine::new(conversation.variables()?, conversation.now, &steering);
        let (text, spans) = machine.render(&self.tree)?.into_parts();
        Ok(Rendered { text, spans })
    }
}

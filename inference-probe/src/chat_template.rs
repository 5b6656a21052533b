//! Rendering the chat template that a model brings along.
//!
//! The interpreter is the inspection's: bounded in steps and memory, and without anything that
//! reaches outside. Its output is bounded here once more, because it becomes a prompt.

use jiff::civil::{DateTime, date};
use verifier::format::template::{self, Conversation};

/// Longest rendering of a short conversation, in bytes.
const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// What templates take for today, so that a report does not depend on the day of the probe.
const TODAY: DateTime = date(2026, 1, 1).at(12, 0, 0, 0);

/// Why a template gives no prompt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error(transparent)]
    Fails(#[from] template::TemplateError),
    #[error("a short conversation becomes {0} bytes")]
    TooLong(usize),
}

/// One turn of a conversation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) role: &'a str,
    pub(crate) content: &'a str,
}

/// A compiled template.
pub(crate) struct ChatTemplate(template::ChatTemplate);

impl ChatTemplate {
    pub(crate) fn compile(source: &str) -> Result<Self, TemplateError> {
        Ok(Self(template::ChatTemplate::compile(source)?))
    }

    /// The prompt for `messages`, ending where the assistant is to speak.
    pub(crate) fn render(
        &self,
        messages: &[Message<'_>],
        begin_text: Option<&str>,
        end_text: Option<&str>,
    ) -> Result<String, TemplateError> {
        let turns = messages.iter().map(|message| template::Message::new(message.role, message.content)).collect();
        let mut conversation = Conversation::new(turns, TODAY);
        let token = |name: &str, text: Option<&str>| (name.to_owned(), text.unwrap_or_default().to_owned());
        conversation.tokens = vec![token("bos_token", begin_text), token("eos_token", end_text)];
        let text = self.0.render(&conversation)?.text;
        if text.len() > MAX_OUTPUT_BYTES { Err(TemplateError::TooLong(text.len())) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
    use verifier::format::template::TemplateError as Cause;

    use super::*;

    const HELLO: &[Message<'_>] = &[Message { role: "user", content: " hello " }];

    fn render(source: &str) -> Result<String, TemplateError> {
        ChatTemplate::compile(source)?.render(HELLO, Some("<s>"), Some("</s>"))
    }

    #[test]
    fn special_tokens_and_the_conversation_become_a_prompt() {
        let text = render("{{ bos_token }}{% for m in messages %}{{ m.content.strip() }}{% endfor %}").unwrap();
        assert_eq!(text, "<s>hello");
    }

    #[test]
    fn a_template_that_grows_without_end_runs_out_of_its_budget() {
        let source = "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}";
        assert!(matches!(render(source), Err(TemplateError::Fails(Cause::Exhausted(_)))));
    }

    #[test]
    fn a_template_that_reaches_for_python_internals_fails() {
        assert!(render("{{ ''.__class__.__mro__[1].__subclasses__() }}").is_err());
    }

    #[test]
    fn an_oversized_prompt_is_named() {
        assert!(matches!(render("{{ 'x' * 70000 }}"), Err(TemplateError::TooLong(70_000))));
    }
}

//! Rendering the chat template that a model brings along.
//!
//! A template is a program by a stranger: it runs inside the sandbox, with fuel, without
//! any function that reaches outside, and its output is bounded.

use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

const FUEL: u64 = 100_000;
/// Longest rendering of a short conversation, in bytes.
const MAX_OUTPUT_BYTES: usize = 64 << 10;
const NAME: &str = "chat";

/// Why a template gives no prompt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("it does not compile: {0}")]
    Syntax(String),
    #[error("it does not render: {0}")]
    Render(String),
    #[error("it uses something that the probe does not offer: {0}")]
    Unsupported(String),
    #[error("it does not end within its budget")]
    Runaway,
    #[error("a short conversation becomes {0} bytes")]
    TooLong(usize),
}

/// One turn of a conversation.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Message<'a> {
    pub(crate) role: &'a str,
    pub(crate) content: &'a str,
}

/// A compiled template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// Compiles `source` with the settings of the Transformers library, which authors write for.
    pub(crate) fn compile(source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| failure(&error))?;
        Ok(Self { environment })
    }

    /// The prompt for `messages`, ending where the assistant is to speak.
    pub(crate) fn render(
        &self,
        messages: &[Message<'_>],
        begin_text: Option<&str>,
        end_text: Option<&str>,
    ) -> Result<String, TemplateError> {
        let template = self.environment.get_template(NAME).map_err(|error| failure(&error))?;
        let context = context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => begin_text.unwrap_or_default(),
            eos_token => end_text.unwrap_or_default(),
        };
        let text = template.render(context).map_err(|error| failure(&error))?;
        if text.len() > MAX_OUTPUT_BYTES { Err(TemplateError::TooLong(text.len())) } else { Ok(text) }
    }
}

fn failure(error: &Error) -> TemplateError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::OutOfFuel => TemplateError::Runaway,
        ErrorKind::UnknownFunction | ErrorKind::UnknownFilter | ErrorKind::UnknownTest => {
            TemplateError::Unsupported(text)
        }
        // A statement of another dialect, such as `generation` of the Transformers library.
        ErrorKind::SyntaxError if text.contains("unknown statement") => TemplateError::Unsupported(text),
        ErrorKind::SyntaxError => TemplateError::Syntax(text),
        _ => TemplateError::Render(text),
    }
}

/// How templates refuse a conversation that they do not support.
fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[Message<'_>] = &[Message { role: "user", content: " hello " }];

    fn render(source: &str) -> Result<String, TemplateError> {
        ChatTemplate::compile(source)?.render(HELLO, Some("<s>"), Some("</s>"))
    }

    #[test]
    fn python_methods_and_special_tokens_are_available() {
        let text = render("{{ bos_token }}{% for m in messages %}{{ m.content.strip() }}{% endfor %}").unwrap();
        assert_eq!(text, "<s>hello");
    }

    #[test]
    fn a_template_that_does_not_end_runs_out_of_fuel() {
        let source = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        assert!(matches!(render(source), Err(TemplateError::Runaway)));
    }

    #[test]
    fn a_template_that_reaches_for_python_internals_fails() {
        let source = "{{ ''.__class__.__mro__[1].__subclasses__() }}";
        assert!(matches!(render(source), Err(TemplateError::Render(_))));
    }

    #[test]
    fn a_template_may_refuse_a_conversation() {
        let error = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
        assert!(error.to_string().contains("roles must alternate"));
    }

    #[test]
    fn what_the_probe_lacks_is_not_the_fault_of_the_template() {
        for source in ["{{ strftime_now('%Y') }}", "{% generation %}x{% endgeneration %}", "{{ 1 | of_tomorrow }}"] {
            assert!(matches!(render(source), Err(TemplateError::Unsupported(_))), "{source}");
        }
    }

    #[test]
    fn a_syntax_error_and_an_oversized_prompt_are_named() {
        assert!(matches!(render("{% for %}"), Err(TemplateError::Syntax(_))));
        assert!(matches!(render("{{ 'x' * 70000 }}"), Err(TemplateError::TooLong(70_000))));
    }
}

//! Why a template gives no prompt.

/// What a template used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Resource {
    #[error("computing steps")]
    Steps,
    #[error("memory")]
    Memory,
    #[error("output")]
    Output,
    #[error("nesting")]
    Depth,
}

/// Why a template gives no prompt. Texts may quote the template: show them only through an escape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template is not one: Jinja would refuse it as well.
    #[error("it does not compile: {0}")]
    Syntax(String),
    /// Jinja would stop here with an error as well.
    #[error("it does not render: {0}")]
    Runtime(String),
    /// The template called `raise_exception`.
    #[error("it refuses the conversation: {0}")]
    Refused(String),
    /// Something of Jinja or of another dialect that this interpreter does not offer.
    #[error("it uses {0}, which is not supported")]
    Unsupported(String),
    #[error("it does not end within its budget of {0}")]
    Exhausted(Resource),
    /// An attribute by which templates reach Python's internals.
    #[error("it reaches for `{0}`")]
    Forbidden(String),
}

impl TemplateError {
    /// A stable name for the kind of error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "TEMPLATE_SYNTAX",
            Self::Runtime(_) => "TEMPLATE_FAILS",
            Self::Refused(_) => "TEMPLATE_REFUSES",
            Self::Unsupported(_) => "TEMPLATE_UNSUPPORTED",
            Self::Exhausted(_) => "TEMPLATE_RUNAWAY",
            Self::Forbidden(_) => "TEMPLATE_CODE_EXECUTION",
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, TemplateError>;

pub(super) fn runtime<T>(message: impl Into<String>) -> Result<T> {
    Err(TemplateError::Runtime(message.into()))
}

pub(super) fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(TemplateError::Unsupported(what.into()))
}

//! Why files are no model that a probe can read.

use verifier::format::gguf::GgufError;

/// What is wrong with the files, and with which of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("there is no weight file to run")]
    NoWeights,
    #[error("`{file}`{} is not a GGUF file", and_others(*.others))]
    Container { file: String, others: usize },
    #[error("{0} models, of which a probe runs one")]
    SeveralModels(usize),
    #[error("{detail}")]
    Split { file: String, detail: String },
    #[error("{error}")]
    Gguf { file: String, error: GgufError },
}

impl CheckpointError {
    /// The code of the finding.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NoWeights | Self::Container { .. } => "CONTAINER_UNSUPPORTED",
            Self::SeveralModels(_) => "SEVERAL_MODELS",
            Self::Split { .. } => "SPLIT_INCOMPLETE",
            Self::Gguf { error, .. } => error.code(),
        }
    }

    /// The file that is at fault, where it is one.
    pub(crate) fn file(&self) -> Option<&str> {
        match self {
            Self::NoWeights | Self::Container { .. } | Self::SeveralModels(_) => None,
            Self::Split { file, .. } | Self::Gguf { file, .. } => Some(file),
        }
    }

    /// Whether the files may be sound, but are not what a probe runs.
    pub(crate) const fn is_unsupported(&self) -> bool {
        match self {
            Self::NoWeights | Self::Container { .. } | Self::SeveralModels(_) => true,
            Self::Split { .. } => false,
            Self::Gguf { error, .. } => error.is_unsupported(),
        }
    }

    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::NoWeights | Self::Container { .. } => {
                "Only GGUF files and safetensors with their configuration are run; convert the model to have it probed."
            }
            Self::SeveralModels(_) => "Probe each model by itself, or keep one model in a revision.",
            Self::Split { .. } => "Put all parts of the model beside each other.",
            Self::Gguf { .. } => "Obtain the file again from its publisher and compare the digest.",
        }
    }
}

fn and_others(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " and one other file".to_owned(),
        others => format!(" and {others} other files"),
    }
}

//! Why files are no model that a probe can read.

use verifier::format::gguf::GgufError;
use verifier::format::safetensors::SafetensorsError;

/// What is wrong with the files, and with which of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("there is no weight file to run")]
    NoWeights,
    #[error("`{file}`{} is not a kind of file that is run", and_others(*.others))]
    Container { file: String, others: usize },
    #[error("`{file}` has no `config.json` beside it, without which weights are only numbers")]
    NoConfig { file: String },
    #[error("{0} models, of which a probe runs one")]
    SeveralModels(usize),
    #[error("{detail}")]
    Split { file: String, detail: String },
    #[error("{error}")]
    Gguf { file: String, error: GgufError },
    #[error("{error}")]
    Safetensors { file: String, error: SafetensorsError },
    #[error("`{file}` could not be read: {error}")]
    Unreadable { file: String, error: std::io::Error },
    #[error("`{file}` has {size} bytes, more than the {limit} that are read")]
    TooLarge { file: String, size: u64, limit: u64 },
    #[error("the configuration cannot be used: {detail}")]
    Config { file: String, detail: String },
    #[error("`model_type` is `{0}`, which the engine does not compute from safetensors")]
    ModelType(String),
    #[error("`{key}` of the configuration is {value}, which the engine does not compute")]
    ConfigUnsupported { key: String, value: String },
    #[error("the tensor `{tensor}` is not part of the architecture as the engine computes it")]
    UnknownTensor { file: String, tensor: String },
    #[error("the tensor `{tensor}` is in two files")]
    RepeatedTensor { file: String, tensor: String },
    #[error("the tensor `{tensor}` {detail}")]
    Tensor { file: String, tensor: String, detail: String },
}

impl CheckpointError {
    /// The code of the finding.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NoWeights | Self::Container { .. } | Self::NoConfig { .. } => "CONTAINER_UNSUPPORTED",
            Self::SeveralModels(_) => "SEVERAL_MODELS",
            Self::Split { .. } => "SPLIT_INCOMPLETE",
            Self::Gguf { error, .. } => error.code(),
            Self::Safetensors { error, .. } => error.code(),
            Self::Unreadable { .. } => "FILE_UNREADABLE",
            Self::TooLarge { .. } => "FILE_TOO_LARGE",
            Self::Config { .. } => "CONFIG_INVALID",
            Self::ModelType(_) => "ARCHITECTURE_UNSUPPORTED",
            Self::ConfigUnsupported { .. } => "HYPERPARAMETER_UNSUPPORTED",
            Self::UnknownTensor { .. } | Self::Tensor { .. } => "TENSOR_UNSUPPORTED",
            Self::RepeatedTensor { .. } => "SAFETENSORS_DUPLICATE_TENSOR",
        }
    }

    /// The file that is at fault, where it is one.
    pub(crate) fn file(&self) -> Option<&str> {
        match self {
            Self::NoWeights | Self::Container { .. } | Self::SeveralModels(_) => None,
            Self::ModelType(_) | Self::ConfigUnsupported { .. } => Some("config.json"),
            Self::NoConfig { file }
            | Self::Split { file, .. }
            | Self::Gguf { file, .. }
            | Self::Safetensors { file, .. }
            | Self::Unreadable { file, .. }
            | Self::TooLarge { file, .. }
            | Self::Config { file, .. }
            | Self::UnknownTensor { file, .. }
            | Self::RepeatedTensor { file, .. }
            | Self::Tensor { file, .. } => Some(file),
        }
    }

    /// Whether the files may be sound, but are not what a probe runs.
    pub(crate) const fn is_unsupported(&self) -> bool {
        match self {
            Self::NoWeights
            | Self::Container { .. }
            | Self::NoConfig { .. }
            | Self::SeveralModels(_)
            | Self::ModelType(_)
            | Self::ConfigUnsupported { .. }
            | Self::UnknownTensor { .. }
            | Self::Tensor { .. } => true,
            Self::Split { .. }
            | Self::Safetensors { .. }
            | Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::Config { .. }
            | Self::RepeatedTensor { .. } => false,
            Self::Gguf { error, .. } => error.is_unsupported(),
        }
    }

    /// Whether nothing can be said of the files, because they could not be read to the end.
    pub(crate) const fn is_inconclusive(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::TooLarge { .. } => true,
            Self::Gguf { error, .. } => matches!(error, GgufError::Io(_)),
            Self::Safetensors { error, .. } => matches!(error, SafetensorsError::Io(_)),
            _ => false,
        }
    }

    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::NoWeights | Self::Container { .. } => {
                "Only GGUF files and safetensors with their configuration are run; convert the model to have it probed."
            }
            Self::NoConfig { .. } => {
                "Probe the folder that holds the weights, their configuration and their tokenizer."
            }
            Self::SeveralModels(_) => "Probe each model by itself, or keep one model in a revision.",
            Self::Unreadable { .. } | Self::TooLarge { .. } => {
                "Check the storage and the size of the file, then probe again."
            }
            Self::Split { .. } => "Put all parts of the model beside each other.",
            Self::ModelType(_) | Self::ConfigUnsupported { .. } | Self::UnknownTensor { .. } | Self::Tensor { .. } => {
                "No engine of this release runs it; the static checks of the inspection still apply."
            }
            Self::Gguf { .. } | Self::Safetensors { .. } | Self::Config { .. } | Self::RepeatedTensor { .. } => {
                "Obtain the file again from its publisher and compare the digest."
            }
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

//! `namespace/name@revision` on a command line.

use std::fmt;
use std::str::FromStr;

use registry_core::ModelName;

use super::output::CliError;

/// A model and, where one was given, a branch, tag or commit of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) model: ModelName,
    revision: Option<String>,
}

impl Target {
    pub(super) fn new(model: ModelName, revision: &str) -> Self {
        Self { model, revision: Some(revision.to_owned()) }
    }

    pub(super) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(registry_core::MAIN_BRANCH)
    }
}

impl FromStr for Target {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        let (model, revision) = text.split_once('@').map_or((text, None), |(model, revision)| (model, Some(revision)));
        if revision == Some("") {
            return Err(CliError::Usage(format!("{text:?} has nothing after the @")));
        }
        Ok(Self { model: model.parse()?, revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.model, self.revision())
    }
}

/// Segments of the path to a model's part in the API.
pub(super) fn model_path<'a>(model: &'a ModelName, rest: &[&'a str]) -> Vec<&'a str> {
    [&["models", model.namespace.as_str(), model.name.as_str()], rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_is_main_unless_named() {
        assert_eq!("a/b".parse::<Target>().unwrap().to_string(), "a/b@main");
        assert_eq!("a/b@feature/x".parse::<Target>().unwrap().revision(), "feature/x");
        for wrong in ["a", "a/b@", "a b/c", "@main"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn path_of_a_part_begins_with_the_model() {
        let model = "a/b".parse().unwrap();
        assert_eq!(model_path(&model, &["refs"]), ["models", "a", "b", "refs"]);
    }
}

//! Models that are used and not held: one behind an interface, or a parent of what is held.
//!
//! A reference is a model whose only file is a card, so the same stages judge it, the same pages
//! show it, and a change of its license is a revision like any other.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Caller, Visibility};
use crate::blob::Spool;
use crate::error::{Error, Result};
use crate::identity::ModelName;
use crate::model::{ModelInfo, ModelKind};
use crate::registry::Registry;
use crate::revision::{Change, ChangeSet, Expected, MAIN_BRANCH};

/// Longest value of a description, in characters.
const MAX_CHARS: usize = 300;

/// What is known of a model that is not held.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReference {
    /// SPDX id, `LicenseRef-…`, or the Hub's tag.
    pub license: String,
    /// The name beside the tag `other`.
    #[serde(default)]
    pub license_name: Option<String>,
    /// Where the terms are.
    #[serde(default)]
    pub license_link: Option<String>,
    /// Whether it can be used through an interface.
    #[serde(default)]
    pub api_access: bool,
    /// `owner/name` of what it was made from.
    #[serde(default)]
    pub base_model: Vec<String>,
    /// `finetune`, `adapter`, `quantized`, `merge`, `distilled` or `trained-on-outputs`.
    #[serde(default)]
    pub base_model_relation: Option<String>,
}

impl Registry {
    /// Creates a reference and its card.
    pub async fn create_reference(
        &self,
        caller: &Caller,
        name: &ModelName,
        visibility: Visibility,
        about: &NewReference,
    ) -> Result<ModelInfo> {
        let card = card(name, about)?;
        let model = self.create_model(caller, name, ModelKind::Reference, visibility).await?;
        let (spool, file) = tokio::task::spawn_blocking(move || {
            let mut spool = Spool::new()?;
            let file = spool.add("README.md".to_owned(), card.as_bytes())?;
            Ok::<_, Error>((spool, file))
        })
        .await??;
        let set = ChangeSet {
            branch: MAIN_BRANCH.to_owned(),
            expected: Expected::Absent,
            message: "Register the reference".to_owned(),
            changes: vec![Change::Write(file)],
            spool: Some(spool),
        };
        self.commit_changes(caller, &model, set).await?;
        Ok(model)
    }
}

fn card(name: &ModelName, about: &NewReference) -> Result<String> {
    let mut front_matter = serde_json::Map::new();
    let mut put = |key: &str, value: &str| -> Result<()> {
        if value.is_empty() || value.chars().count() > MAX_CHARS || value.chars().any(char::is_control) {
            return Err(Error::invalid(key, format!("must have 1 to {MAX_CHARS} printable characters")));
        }
        front_matter.insert(key.to_owned(), value.into());
        Ok(())
    };
    put("license", &about.license)?;
    for (key, value) in [
        ("license_name", &about.license_name),
        ("license_link", &about.license_link),
        ("base_model_relation", &about.base_model_relation),
    ] {
        value.as_deref().map_or(Ok(()), |value| put(key, value))?;
    }
    for parent in &about.base_model {
        parent.parse::<ModelName>()?;
    }
    if !about.base_model.is_empty() {
        front_matter.insert("base_model".to_owned(), about.base_model.clone().into());
    }
    if about.api_access {
        front_matter.insert("api_access".to_owned(), true.into());
    }
    // A JSON object is a YAML mapping, quoted as strangers' words have to be.
    let lines: Vec<String> = front_matter.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    Ok(format!("---\n{}---\n\n# {name}\n\nA reference: this registry holds no weights of it.\n", lines.concat()))
}

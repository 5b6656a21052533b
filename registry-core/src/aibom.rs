//! What the bill of materials of a revision is made from: stored evidence, and the card.

use serde_json::Map;
use verifier::aibom::{self, Ancestor, File, Subject, Terms};
use verifier::evidence::{Evidence, Inspection, LicenseFacts};

use crate::access::Caller;
use crate::error::{Error, Result};
use crate::identity::ModelName;
use crate::model::ModelInfo;
use crate::registry::Registry;
use crate::revision::{MAIN_BRANCH, Revision};

impl Registry {
    /// Everything that a revision's bill of materials says. Licenses of parents are those that this
    /// registry concluded, as far as `caller` may see these models.
    ///
    /// # Errors
    ///
    /// [`Error::CannotDecide`] while the license has not been judged.
    pub async fn aibom_subject(
        &self,
        caller: &Caller,
        model: &ModelInfo,
        revision: &Revision,
        download_location: String,
    ) -> Result<Subject> {
        let judged = self.judged(revision).await?;
        let license = judged.license.ok_or_else(|| {
            let what = format!("the license of {}@{}", model.name, revision.commit);
            Error::CannotDecide(what, "it is not known yet; ask again when its license stage is done".to_owned())
        })?;
        let card = self.model_card(revision).await?.unwrap_or_else(Map::new);
        let mut ancestors = aibom::ancestors(&license, &card);
        for ancestor in &mut ancestors {
            ancestor.license = self.license_of(caller, ancestor).await?;
        }
        let files = self.revision_files(revision).await?.into_iter();
        let file = |file: crate::identity::FileSpec| File {
            path: file.path,
            sha256: file.sha256.to_string(),
            size: file.size,
        };
        Ok(Subject {
            namespace: Some(model.name.namespace.clone()),
            name: model.name.name.clone(),
            commit: Some(revision.commit.to_string()),
            content_digest: revision.content_digest.to_string(),
            created_at: revision.created_at,
            supplier: Some(model.name.namespace.clone()),
            download_location: Some(download_location),
            files: files.map(file).collect(),
            inspection: judged.inspection,
            terms: Terms::of(&self.settings.catalog, &license),
            license,
            card,
            ancestors,
        })
    }

    async fn judged(&self, revision: &Revision) -> Result<Judged> {
        let mut judged = Judged::default();
        for view in self.stages(revision).await? {
            match view.evidence {
                Some(Evidence::Inspect(inspection)) => judged.inspection = Some(inspection),
                Some(Evidence::License(facts)) => judged.license = Some(facts),
                Some(Evidence::Provenance(_) | Evidence::Probe(_)) | None => {}
            }
        }
        Ok(judged)
    }

    /// What was concluded for the head of a parent's main branch, where the registry holds it.
    async fn license_of(&self, caller: &Caller, ancestor: &Ancestor) -> Result<Option<String>> {
        let Ok(name) = ancestor.name.parse::<ModelName>() else { return Ok(None) };
        let found = async {
            let model = self.find_model(caller, &name).await?;
            let head = self.find_revision(&model, MAIN_BRANCH).await?;
            self.judged(&head).await
        };
        match found.await {
            Ok(judged) => Ok(judged.license.map(|facts| facts.concluded)),
            Err(Error::NotFound(_) | Error::Gone(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Evidence of a revision that a bill of materials reads.
#[derive(Debug, Default)]
struct Judged {
    inspection: Option<Inspection>,
    license: Option<LicenseFacts>,
}

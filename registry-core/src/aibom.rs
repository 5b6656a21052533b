//! What the bill of materials of a revision is made from: stored evidence, and the card.

use serde_json::Map;
use verifier::aibom::{self, Ancestor, File, Subject, Terms};
use verifier::evidence::{Evidence, Inspection, LicenseFacts};
use verifier::license::propagation::Assessment;
use verifier::policy::Use;

use crate::access::Caller;
use crate::error::{Error, Result};
use crate::identity::ModelName;
use crate::license::LicenseView;
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
        let mut license = judged.license.ok_or_else(|| {
            let what = format!("the license of {}@{}", model.name, revision.commit);
            Error::CannotDecide(what, "it is not known yet; ask again when its license stage is done".to_owned())
        })?;
        let card = self.model_card(revision).await?.unwrap_or_else(Map::new);
        let mut ancestors = aibom::ancestors(&license, &card);
        let people = self.license_view(model, revision, caller.environment(), &Use::default()).await?;
        add_recorded_parents(&mut ancestors, &people);
        license.openness = people.openness;
        // What people concluded counts over what the files leave open.
        if let Some(conclusion) = people.conclusion {
            license.concluded = conclusion.expression;
        }
        let mut terms = Terms::of(&self.settings.catalog, &license);
        add_inherited_duties(&mut terms, &people.assessment);
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
            terms,
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

fn add_recorded_parents(ancestors: &mut Vec<Ancestor>, people: &LicenseView) {
    for parent in people.lineage.first().into_iter().flat_map(|own| &own.parents) {
        if !ancestors.iter().any(|known| known.name == parent.name && known.relation == parent.relation) {
            let (name, relation) = (parent.name.clone(), parent.relation);
            ancestors.push(Ancestor { name, relation, license: None, content_digest: None });
        }
    }
}

/// Duties that come from what the model was made from, beside those of its own license.
fn add_inherited_duties(terms: &mut Terms, assessment: &Assessment) {
    for duty in &assessment.obligations {
        let state = if duty.satisfied { "done" } else { "open" };
        terms.obligations.push(format!("{} by {} ({state}): {}", duty.code, duty.license, duty.clause));
    }
}

/// Evidence of a revision that a bill of materials reads.
#[derive(Debug, Default)]
struct Judged {
    inspection: Option<Inspection>,
    license: Option<LicenseFacts>,
}

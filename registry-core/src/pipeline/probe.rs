//! What the probe's worker needs: which files to load, and where its report goes.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use verifier::evidence::{Evidence, EvidenceInput, EvidenceKey, Inspection, ProbeReport, Stage};

use crate::entity::reference;
use crate::error::Result;
use crate::identity::{FileSpec, Sha256Digest};
use crate::job::Lease;
use crate::registry::Registry;
use crate::revision::Revision;

/// A probe that has to run.
#[derive(Debug, Clone)]
pub struct ProbeTask {
    pub revision: Revision,
    pub files: Vec<ProbeFile>,
    pub(crate) key: EvidenceKey,
}

/// One file the engine may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFile {
    pub path: String,
    pub sha256: Sha256Digest,
    pub size: u64,
}

impl Registry {
    /// The probe a job asks for; `None` when existing evidence or supersession settled it.
    pub(super) async fn plan_probe(
        &self,
        lease: &Lease,
        revision: Revision,
        files: &[FileSpec],
    ) -> Result<Option<ProbeTask>> {
        let wanted = probe_files(files, self.inspection(&revision).await?.as_ref());
        let inputs =
            wanted.iter().map(|file| EvidenceInput { role: file.path.clone(), digest: file.sha256.to_string() });
        let configuration = Sha256Digest::of(self.settings.probe_configuration.as_bytes()).to_string();
        let key = EvidenceKey::new(Stage::Probe, &self.settings.probe_version, configuration, inputs.collect());
        if let Some(found) = self.find_evidence(&key).await? {
            self.finish_stage(lease, &revision, &key, &found).await?;
            return Ok(None);
        }
        if !self.is_head(&revision).await? {
            self.supersede_probe(lease, &revision).await?;
            return Ok(None);
        }
        Ok(Some(ProbeTask { revision, files: wanted, key }))
    }

    /// Stores a probe's report.
    pub async fn finish_probe(&self, lease: &Lease, task: &ProbeTask, report: ProbeReport) -> Result<()> {
        let evidence = Evidence::Probe(Box::new(report));
        self.finish_stage(lease, &task.revision, &task.key, &evidence).await
    }

    /// What inspection said about a revision, once it has.
    pub(super) async fn inspection(&self, revision: &Revision) -> Result<Option<Inspection>> {
        let stages = self.stages(revision).await?;
        Ok(stages.iter().find_map(|view| view.evidence.as_ref()?.as_inspection()).cloned())
    }

    async fn is_head(&self, revision: &Revision) -> Result<bool> {
        let query = reference::Entity::find().filter(reference::Column::RevisionId.eq(&revision.id));
        Ok(query.one(&self.db).await?.is_some())
    }
}

/// The weights; for weights that do not carry their configuration, also the JSON beside them.
fn probe_files(files: &[FileSpec], inspection: Option<&Inspection>) -> Vec<ProbeFile> {
    let Some(inspection) = inspection else { return Vec::new() };
    let is_weights = |path: &str| inspection.files.iter().any(|file| file.path == path && file.weights);
    let self_contained = inspection.format.as_deref() == Some("gguf");
    let wanted = |file: &&FileSpec| {
        is_weights(&file.path)
            || (!self_contained
                && !file.path.contains('/')
                && std::path::Path::new(&file.path).extension().is_some_and(|extension| extension == "json"))
    };
    let to_probe =
        |file: &FileSpec| ProbeFile { path: file.path.clone(), sha256: file.sha256.clone(), size: file.size };
    files.iter().filter(wanted).map(to_probe).collect()
}

//! What the probe's worker needs: which files to load, and where its report goes.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use verifier::evidence::{Evidence, EvidenceInput, EvidenceKey, Inspection, ProbeReport, Relation, Stage};

use crate::database::begin;
use crate::entity::{lineage_edge, reference};
use crate::error::Result;
use crate::identity::{FileSpec, Sha256Digest};
use crate::job::{self, Lease, Renewal, Work};
use crate::license::may_be_told;
use crate::registry::Registry;
use crate::revision::{Revision, files_of, main_head};

/// A probe that has to run.
#[derive(Debug, Clone)]
pub struct ProbeTask {
    pub revision: Revision,
    pub files: Vec<ProbeFile>,
    /// Of the model that an adapter changes, where it is here and the adapter may know of it.
    pub base: Vec<ProbeFile>,
    /// Entries of the largest vocabulary among them, where inspection counted one.
    pub vocabulary: Option<u64>,
    pub(crate) key: EvidenceKey,
}

/// What an engine loads of one revision.
#[derive(Debug, Default)]
struct Loaded {
    files: Vec<ProbeFile>,
    vocabulary: Option<u64>,
}

/// One file the engine may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFile {
    pub path: String,
    pub sha256: Sha256Digest,
    pub size: u64,
}

impl ProbeFile {
    fn input(&self, folder: &str) -> EvidenceInput {
        EvidenceInput { role: format!("{folder}{}", self.path), digest: self.sha256.to_string() }
    }
}

impl Registry {
    /// The probe a job asks for; `None` when existing evidence or supersession settled it.
    pub(super) async fn plan_probe(
        &self,
        lease: &Lease,
        revision: Revision,
        files: &[FileSpec],
    ) -> Result<Option<ProbeTask>> {
        let own = loaded(files, self.inspection(&revision).await?.as_ref());
        let base = self.base(&revision).await?;
        let requested = match &lease.work {
            Work::Reprobe { cause: Renewal::Requested(request), .. } => Some(request.clone()),
            _ => None,
        };
        let key = self.probe_key(&own.files, &base.files, requested.as_deref());
        let known = if requested.is_none() { self.last_evidence(&key).await? } else { None };
        if let Some((key, found)) = known {
            self.finish_stage(lease, &revision, &key, &found).await?;
            return Ok(None);
        }
        // Who asks for a revision that no ref points to means this one.
        if requested.is_none() && !self.is_head(&revision).await? {
            self.supersede_probe(lease, &revision).await?;
            return Ok(None);
        }
        let vocabulary = own.vocabulary.max(base.vocabulary);
        Ok(Some(ProbeTask { revision, files: own.files, base: base.files, vocabulary, key }))
    }

    fn probe_key(&self, files: &[ProbeFile], base: &[ProbeFile], requested: Option<&str>) -> EvidenceKey {
        let asked = requested
            .map(|digest| EvidenceInput { role: EvidenceInput::REQUESTED.to_owned(), digest: digest.to_owned() });
        let own = files.iter().map(|file| file.input(""));
        let inputs = own.chain(base.iter().map(|file| file.input(EvidenceInput::BASE))).chain(asked).collect();
        let configuration = Sha256Digest::of(self.settings.probe_configuration.as_bytes()).to_string();
        EvidenceKey::new(Stage::Probe, &self.settings.probe_version, configuration, inputs)
    }

    /// What is loaded of the model that the revision is an adapter of. It is found as its lineage is: by
    /// name, at the head of its main branch, and only where everybody who sees the adapter may know of it.
    async fn base(&self, revision: &Revision) -> Result<Loaded> {
        let edges = lineage_edge::Entity::find()
            .filter(lineage_edge::Column::RevisionId.eq(&revision.id))
            .filter(lineage_edge::Column::Relation.eq(Relation::Adapter.as_str()))
            .order_by_asc(lineage_edge::Column::Parent);
        for edge in edges.all(&self.db).await? {
            let base = self.base_named(revision, &edge.parent).await?;
            if !base.files.is_empty() {
                return Ok(base);
            }
        }
        Ok(Loaded::default())
    }

    async fn base_named(&self, revision: &Revision, name: &str) -> Result<Loaded> {
        let Ok(name) = name.parse() else { return Ok(Loaded::default()) };
        let Some(parent) = self.model_named(&self.db, &name).await? else { return Ok(Loaded::default()) };
        let adapter = self.model_by_id(&revision.model_id).await?;
        if parent.id == adapter.id || !may_be_told(&parent, &adapter) {
            return Ok(Loaded::default());
        }
        let Some(head) = main_head(&self.db, &parent.id).await? else { return Ok(Loaded::default()) };
        let files = files_of(&self.db, &head.id).await?;
        Ok(loaded(&files, self.inspection(&head).await?.as_ref()))
    }

    /// Stores a probe's report. What is stored under a key stays, so that a run beside a report which
    /// did not stand for it has another.
    pub async fn finish_probe(&self, lease: &Lease, task: &ProbeTask, report: ProbeReport) -> Result<()> {
        let mut key = task.key.clone();
        if self.find_evidence(&key).await?.is_some() {
            let run = Sha256Digest::of(lease.job_id.as_bytes());
            key.inputs.push(EvidenceInput { role: EvidenceInput::REQUESTED.to_owned(), digest: run.to_string() });
            key = EvidenceKey::new(key.stage, &key.tool_version, key.configuration_digest, key.inputs);
        }
        self.finish_stage(lease, &task.revision, &key, &Evidence::Probe(Box::new(report))).await
    }

    /// Marks the probe of a revision that nobody looks at any more as not worth running. One that has
    /// a report keeps it.
    async fn supersede_probe(&self, lease: &Lease, revision: &Revision) -> Result<()> {
        let txn = begin(&self.db).await?;
        job::complete(&txn, lease).await?;
        if matches!(lease.work, Work::Stage { .. }) {
            super::set_state(&txn, &revision.id, Stage::Probe, super::StageState::Superseded).await?;
            super::decide_when_settled(&txn, revision).await?;
        }
        txn.commit().await?;
        Ok(())
    }

    /// What inspection said about a revision, once it has.
    pub(super) async fn inspection(&self, revision: &Revision) -> Result<Option<Inspection>> {
        let stages = self.stages_in(&self.db, revision).await?;
        Ok(stages.iter().find_map(|view| view.evidence.as_ref()?.as_inspection()).cloned())
    }

    async fn is_head(&self, revision: &Revision) -> Result<bool> {
        let query = reference::Entity::find().filter(reference::Column::RevisionId.eq(&revision.id));
        Ok(query.one(&self.db).await?.is_some())
    }
}

/// The files that an engine reads.
fn loaded(files: &[FileSpec], inspection: Option<&Inspection>) -> Loaded {
    let Some(inspection) = inspection else { return Loaded::default() };
    let to_probe =
        |file: &FileSpec| ProbeFile { path: file.path.clone(), sha256: file.sha256.clone(), size: file.size };
    Loaded {
        files: files.iter().filter(|file| inspection.is_loaded(&file.path)).map(to_probe).collect(),
        vocabulary: inspection.vocabulary_size(),
    }
}

//! Running a job: the pure stages here, the probe by the worker that has an engine.

use std::sync::Arc;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use verifier::evidence::{Evidence, EvidenceInput, EvidenceKey, Inspection, Stage};
use verifier::format::{self, FileEntry};
use verifier::provenance::{DigestCache, FileDigests, Subject};
use verifier::{DigestedFile, ReadAt, license, provenance};

use super::probe::ProbeTask;
use crate::entity::blob_digest;
use crate::error::{Error, Result};
use crate::identity::{FileSpec, Sha256Digest};
use crate::job::{Lease, Renewal, Work};
use crate::registry::Registry;
use crate::revision::{Revision, files_of, revision_by_id};

/// Versions of the stages' code: raised whenever their conclusions may change.
const INSPECT_VERSION: &str = "inspect-2";
const LICENSE_VERSION: &str = "license-2";
const PROVENANCE_VERSION: &str = "provenance-2";

/// How long a job for another version of the engine rests before a worker that may have it looks again.
const OTHER_ENGINE_PAUSE_MS: i64 = 30_000;

/// Values of one query; SQLite takes some 30,000.
const MAX_VALUES: usize = 1000;

/// What a claimed job came to.
#[derive(Debug)]
pub enum JobOutcome {
    Done,
    /// The worker has to run this probe and hand in its report.
    Probe(Box<ProbeTask>),
}

impl Registry {
    /// Runs a claimed job, up to the point where an engine is needed.
    pub async fn run_job(&self, lease: &Lease) -> Result<JobOutcome> {
        let (revision, stage) = match &lease.work {
            Work::Decide { revision } => {
                self.run_decide(lease, revision).await?;
                return Ok(JobOutcome::Done);
            }
            Work::Weights { revision } => {
                self.run_weights(lease, revision).await?;
                return Ok(JobOutcome::Done);
            }
            Work::Recheck { what, after } => {
                self.run_recheck(lease, *what, after.as_deref()).await?;
                return Ok(JobOutcome::Done);
            }
            Work::Adapters { base, after } => {
                self.run_adapters(lease, base, after).await?;
                return Ok(JobOutcome::Done);
            }
            Work::Stage { revision, stage } => (revision_by_id(&self.db, revision).await?, *stage),
            Work::Reprobe { cause: Renewal::Engine(version), .. } if *version != self.settings.probe_version => {
                self.give_back(lease, OTHER_ENGINE_PAUSE_MS).await?;
                return Ok(JobOutcome::Done);
            }
            Work::Reprobe { revision, .. } => (revision_by_id(&self.db, revision).await?, Stage::Probe),
        };
        let files = files_of(&self.db, &revision.id).await?;
        if stage == Stage::Probe {
            let task = self.plan_probe(lease, revision, &files).await?;
            return Ok(task.map_or(JobOutcome::Done, |task| JobOutcome::Probe(Box::new(task))));
        }
        let key = self.stage_key(&revision, stage, &files).await?;
        let evidence = match self.find_evidence(&key).await? {
            Some(found) => found,
            None => self.judge(&revision, stage, files).await?,
        };
        self.finish_stage(lease, &revision, &key, &evidence).await?;
        Ok(JobOutcome::Done)
    }

    /// The identity of a stage's conclusion: what it reads and what it is told.
    async fn stage_key(&self, revision: &Revision, stage: Stage, files: &[FileSpec]) -> Result<EvidenceKey> {
        let mut inputs: Vec<EvidenceInput> = files
            .iter()
            .map(|file| EvidenceInput { role: file.path.clone(), digest: file.sha256.to_string() })
            .collect();
        let mut configuration = String::new();
        let version = match stage {
            Stage::License => {
                self.settings.catalog.version().clone_into(&mut configuration);
                LICENSE_VERSION
            }
            Stage::Provenance => {
                let attached = self.signatures(revision).await?;
                inputs.extend(attached.iter().map(|bundle| EvidenceInput {
                    role: "attached signature".into(),
                    digest: Sha256Digest::of(bundle).to_string(),
                }));
                configuration = self.trust_material(&self.db).await?.digest();
                PROVENANCE_VERSION
            }
            Stage::Inspect | Stage::Probe => INSPECT_VERSION,
        };
        Ok(EvidenceKey::new(stage, version, Sha256Digest::of(configuration.as_bytes()).to_string(), inputs))
    }

    async fn judge(&self, revision: &Revision, stage: Stage, files: Vec<FileSpec>) -> Result<Evidence> {
        let mut sources = Vec::with_capacity(files.len());
        for file in files {
            let reader = self.blob_reader(&file.sha256).await?;
            sources.push(Source { file, reader });
        }
        if stage == Stage::Provenance {
            return self.judge_provenance(revision, sources).await;
        }
        let inspection = self.inspection(revision).await?;
        let settings = self.settings.clone();
        let judged = tokio::task::spawn_blocking(move || match (stage, inspection) {
            (Stage::License, Some(inspection)) => {
                Ok(Evidence::License(license::judge_files(&settings.catalog, &digested(&sources), &inspection)))
            }
            (Stage::Inspect, _) => Ok(Evidence::Inspect(inspect(&sources))),
            (stage, _) => Err(Error::Corrupt(format!("the stage {} has no inspection to start from", stage.as_str()))),
        });
        judged.await?
    }

    async fn judge_provenance(&self, revision: &Revision, sources: Vec<Source>) -> Result<Evidence> {
        let attached = self.signatures(revision).await?;
        let trust = self.trust_material(&self.db).await?;
        let digests = Arc::new(self.known_digests(&sources).await?);
        let content_digest = revision.content_digest.to_string();
        let cache = Arc::clone(&digests);
        let judged = tokio::task::spawn_blocking(move || {
            let files = digested(&sources);
            let subject = Subject { files: &files, content_digest: &content_digest, attached: &attached };
            provenance::judge(subject, &trust, &cache)
        });
        let facts = judged.await?;
        self.keep_digests(&digests).await?;
        Ok(Evidence::Provenance(facts))
    }

    /// Digests of these files by other schemes that were computed before.
    async fn known_digests(&self, sources: &[Source]) -> Result<DigestCache> {
        let cache = DigestCache::new();
        for sources in sources.chunks(MAX_VALUES) {
            let files = sources.iter().map(|source| source.file.sha256.as_str());
            let rows = blob_digest::Entity::find().filter(blob_digest::Column::Sha256.is_in(files)).all(&self.db);
            for row in rows.await? {
                let scheme = serde_json::from_str(&row.scheme)?;
                cache.insert(FileDigests { sha256: row.sha256, scheme, digests: serde_json::from_str(&row.digests)? });
            }
        }
        Ok(cache)
    }

    /// Keeps what was computed: no signature costs a second pass over the weights.
    async fn keep_digests(&self, digests: &DigestCache) -> Result<()> {
        for found in digests.take_computed() {
            let row = blob_digest::ActiveModel {
                sha256: Set(found.sha256),
                scheme: Set(serde_json::to_string(&found.scheme)?),
                digests: Set(serde_json::to_string(&found.digests)?),
            };
            let known = OnConflict::new().do_nothing().to_owned();
            blob_digest::Entity::insert(row).on_conflict(known).exec_without_returning(&self.db).await?;
        }
        Ok(())
    }
}

/// A file of a revision with its bytes.
struct Source {
    file: FileSpec,
    reader: Box<dyn ReadAt>,
}

fn inspect(sources: &[Source]) -> Inspection {
    let entries: Vec<FileEntry<'_>> =
        sources.iter().map(|source| FileEntry { path: &source.file.path, source: source.reader.as_ref() }).collect();
    format::inspect(&entries)
}

fn digested(sources: &[Source]) -> Vec<DigestedFile<'_>> {
    let mut files = Vec::with_capacity(sources.len());
    for source in sources {
        let (path, digest) = (source.file.path.as_str(), source.file.sha256.as_str());
        files.push(DigestedFile { path, digest, source: source.reader.as_ref() });
    }
    files
}

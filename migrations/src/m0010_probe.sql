-- Whose probes run, how far they have come, and which jobs may wait behind others.
ALTER TABLE job ADD COLUMN namespace {text};
ALTER TABLE job ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN progress_level {text};
ALTER TABLE job ADD COLUMN progress_percent BIGINT;
UPDATE job SET namespace = (
        SELECT n.namespace FROM revision r JOIN model_name n ON n.model_id = r.model_id AND n.valid_to IS NULL
        WHERE r.id = substr(job.dedup_key, 7))
    WHERE kind = 'probe' AND state IN ('queued', 'running');
CREATE INDEX job_by_rank ON job (priority, run_at, id) WHERE state = 'queued';
CREATE INDEX job_by_kind ON job (kind, priority, run_at, id) WHERE state = 'queued';
CREATE INDEX job_by_dedup_key ON job (dedup_key);

-- Reports about the same files, whatever version made them, so that they can be compared over time.
ALTER TABLE evidence ADD COLUMN subject {text};
ALTER TABLE evidence ADD COLUMN tool_version {text};
CREATE INDEX evidence_by_subject ON evidence (subject, created_at);
CREATE INDEX stage_selection_by_evidence ON stage_selection (evidence_key);

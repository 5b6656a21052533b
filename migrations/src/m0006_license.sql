-- What people recorded about a model's licenses. A record holds for the facts it was made from;
-- it ends and is never changed.
CREATE TABLE license_record (
    id {text} PRIMARY KEY,
    model_id {text} NOT NULL REFERENCES model (id),
    content_digest {text} NOT NULL,
    facts_digest {text} NOT NULL,
    kind {text} NOT NULL
        CHECK (kind IN ('conclusion', 'approval', 'obligation', 'component', 'release', 'lineage')),
    document {text} NOT NULL,
    recorded_by {text} NOT NULL,
    recorded_at BIGINT NOT NULL,
    expires_at BIGINT,
    ended_at BIGINT,
    ended_by {text}
);
CREATE INDEX license_record_by_model ON license_record (model_id, id);

-- Parents of a revision, as its license evidence and its records name them: a projection, so that
-- a change of a parent finds what was made from it.
CREATE TABLE lineage_edge (
    revision_id {text} NOT NULL REFERENCES revision (id),
    parent {text} NOT NULL,
    relation {text} NOT NULL,
    PRIMARY KEY (revision_id, parent, relation)
);
CREATE INDEX lineage_edge_by_parent ON lineage_edge (parent, revision_id);

-- Which evidence a revision selected from when on, so that a past date can be reported again.
CREATE TABLE stage_selection (
    revision_id {text} NOT NULL REFERENCES revision (id),
    stage {text} NOT NULL,
    evidence_key {text} NOT NULL REFERENCES evidence (evidence_key),
    selected_at BIGINT NOT NULL,
    PRIMARY KEY (revision_id, stage, selected_at)
);
INSERT INTO stage_selection (revision_id, stage, evidence_key, selected_at)
    SELECT revision_id, stage, evidence_key, updated_at FROM revision_stage WHERE evidence_key IS NOT NULL;
CREATE INDEX decision_by_time ON decision (model_id, environment, decided_at);

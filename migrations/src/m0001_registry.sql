-- Models and their names. A name stays reserved for the model that first had it, so that a
-- name pinned somewhere can never start to mean other weights.
CREATE TABLE model (
    id {text} PRIMARY KEY,
    kind {text} NOT NULL CHECK (kind IN ('model', 'reference')),
    visibility {text} NOT NULL CHECK (visibility IN ('private', 'internal', 'public')),
    created_at BIGINT NOT NULL,
    created_by {text} NOT NULL,
    deleted_at BIGINT
);

CREATE TABLE model_name (
    namespace {text} NOT NULL,
    name {text} NOT NULL,
    model_id {text} NOT NULL REFERENCES model (id),
    valid_from BIGINT NOT NULL,
    valid_to BIGINT,
    PRIMARY KEY (model_id, namespace, name, valid_from)
);
CREATE UNIQUE INDEX model_name_current ON model_name (namespace, name) WHERE valid_to IS NULL;
CREATE UNIQUE INDEX model_name_one_per_model ON model_name (model_id) WHERE valid_to IS NULL;
CREATE INDEX model_name_history ON model_name (namespace, name, valid_from);

-- Bytes by SHA-256. 'chunked' blobs have no object of their own.
CREATE TABLE blob (
    sha256 {text} PRIMARY KEY,
    size BIGINT NOT NULL CHECK (size >= 0),
    layout {text} NOT NULL CHECK (layout IN ('whole', 'chunked')),
    storage_key {text} UNIQUE,
    created_at BIGINT NOT NULL,
    CHECK ((layout = 'whole') = (storage_key IS NOT NULL))
);

CREATE TABLE blob_grant (
    namespace {text} NOT NULL,
    sha256 {text} NOT NULL REFERENCES blob (sha256),
    source {text} NOT NULL CHECK (source IN ('uploaded', 'readable')),
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (namespace, sha256)
);

CREATE TABLE upload_session (
    id {text} PRIMARY KEY,
    namespace {text} NOT NULL,
    sha256 {text} NOT NULL,
    size BIGINT NOT NULL CHECK (size >= 0),
    storage_key {text} NOT NULL UNIQUE,
    multipart_id {text},
    parts {text} NOT NULL,
    received BIGINT NOT NULL,
    hasher_state {bytes} NOT NULL,
    writer {text},
    created_by {text} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX upload_session_expiry ON upload_session (expires_at);
CREATE INDEX upload_session_resume ON upload_session (namespace, sha256, created_by);

-- Revisions never change; refs do, and every movement is kept.
CREATE TABLE revision (
    id {text} PRIMARY KEY,
    model_id {text} NOT NULL REFERENCES model (id),
    commit_id {text} NOT NULL,
    content_digest {text} NOT NULL,
    parents {text} NOT NULL,
    author {text} NOT NULL,
    message {text} NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (model_id, commit_id)
);
CREATE INDEX revision_content ON revision (content_digest);
CREATE INDEX revision_by_model ON revision (model_id, created_at);

CREATE TABLE revision_file (
    revision_id {text} NOT NULL REFERENCES revision (id),
    path {text} NOT NULL,
    sha256 {text} NOT NULL REFERENCES blob (sha256),
    size BIGINT NOT NULL,
    PRIMARY KEY (revision_id, path)
);
CREATE INDEX revision_file_blob ON revision_file (sha256);

CREATE TABLE ref (
    model_id {text} NOT NULL REFERENCES model (id),
    kind {text} NOT NULL CHECK (kind IN ('branch', 'tag')),
    name {text} NOT NULL,
    revision_id {text} NOT NULL REFERENCES revision (id),
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (model_id, kind, name)
);
CREATE INDEX ref_by_revision ON ref (revision_id);

CREATE TABLE ref_movement (
    id {identity},
    model_id {text} NOT NULL REFERENCES model (id),
    kind {text} NOT NULL,
    name {text} NOT NULL,
    from_commit {text},
    to_commit {text},
    moved_by {text} NOT NULL,
    moved_at BIGINT NOT NULL
);
CREATE INDEX ref_movement_by_ref ON ref_movement (model_id, kind, name);

-- Evidence is immutable; a revision selects one piece per stage.
CREATE TABLE evidence (
    evidence_key {text} PRIMARY KEY,
    stage {text} NOT NULL CHECK (stage IN ('inspect', 'license', 'provenance', 'probe')),
    status {text} NOT NULL,
    key_document {text} NOT NULL,
    document {text} NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE revision_stage (
    revision_id {text} NOT NULL REFERENCES revision (id),
    stage {text} NOT NULL,
    state {text} NOT NULL CHECK (state IN ('waiting', 'pending', 'running', 'done', 'superseded', 'dead')),
    evidence_key {text} REFERENCES evidence (evidence_key),
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (revision_id, stage),
    CHECK ((state = 'done') = (evidence_key IS NOT NULL))
);

-- Signatures attach to a content digest and may arrive after the revision.
CREATE TABLE signature (
    content_digest {text} NOT NULL,
    sha256 {text} NOT NULL,
    bundle {bytes} NOT NULL,
    received_at BIGINT NOT NULL,
    received_by {text} NOT NULL,
    PRIMARY KEY (content_digest, sha256)
);

CREATE TABLE job (
    id {text} PRIMARY KEY,
    kind {text} NOT NULL,
    payload {text} NOT NULL,
    dedup_key {text} NOT NULL,
    state {text} NOT NULL CHECK (state IN ('queued', 'running', 'done', 'dead')),
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    run_at BIGINT NOT NULL,
    lease_token {text},
    lease_until BIGINT,
    last_error {text},
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE UNIQUE INDEX job_dedup ON job (dedup_key) WHERE state = 'queued';
CREATE INDEX job_due ON job (run_at) WHERE state = 'queued';
CREATE INDEX job_leased ON job (lease_until) WHERE state = 'running';
CREATE INDEX job_dead ON job (id) WHERE state = 'dead';

CREATE TABLE policy_version (
    digest {text} PRIMARY KEY,
    name {text} NOT NULL,
    rego {text} NOT NULL,
    data {text} NOT NULL,
    first_used_at BIGINT NOT NULL
);

CREATE TABLE decision (
    id {text} PRIMARY KEY,
    model_id {text} NOT NULL REFERENCES model (id),
    content_digest {text} NOT NULL,
    environment {text} NOT NULL,
    use_digest {text} NOT NULL,
    policy_digest {text} NOT NULL REFERENCES policy_version (digest),
    input_digest {text} NOT NULL,
    allowed BOOLEAN NOT NULL,
    document {text} NOT NULL,
    decided_at BIGINT NOT NULL,
    valid_until BIGINT,
    UNIQUE (model_id, content_digest, environment, use_digest, policy_digest, input_digest)
);
CREATE TABLE live_decision (
    model_id {text} NOT NULL,
    content_digest {text} NOT NULL,
    environment {text} NOT NULL,
    use_digest {text} NOT NULL,
    decision_id {text} NOT NULL REFERENCES decision (id),
    PRIMARY KEY (model_id, content_digest, environment, use_digest)
);

-- The catalog is a projection: it can be rebuilt from the tables above.
CREATE TABLE catalog_entry (
    model_id {text} PRIMARY KEY REFERENCES model (id),
    namespace {text} NOT NULL,
    name {text} NOT NULL,
    kind {text} NOT NULL,
    visibility {text} NOT NULL,
    commit_id {text},
    content_digest {text},
    updated_at BIGINT NOT NULL,
    license {text},
    openness {text},
    format {text},
    architecture {text},
    quantization {text},
    parameters BIGINT,
    size BIGINT NOT NULL
);
CREATE UNIQUE INDEX catalog_by_name ON catalog_entry (namespace, name);
CREATE INDEX catalog_by_license ON catalog_entry (license, namespace, name);
CREATE INDEX catalog_by_openness ON catalog_entry (openness, namespace, name);
CREATE INDEX catalog_by_architecture ON catalog_entry (architecture, namespace, name);
CREATE INDEX catalog_by_quantization ON catalog_entry (quantization, namespace, name);

CREATE TABLE catalog_term (
    term {text} NOT NULL,
    model_id {text} NOT NULL REFERENCES model (id),
    namespace {text} NOT NULL,
    name {text} NOT NULL,
    PRIMARY KEY (term, namespace, name, model_id)
);
CREATE INDEX catalog_term_by_model ON catalog_term (model_id, term);

CREATE TABLE catalog_verdict (
    model_id {text} NOT NULL REFERENCES model (id),
    environment {text} NOT NULL,
    verdict {text} NOT NULL CHECK (verdict IN ('allowed', 'denied')),
    namespace {text} NOT NULL,
    name {text} NOT NULL,
    PRIMARY KEY (model_id, environment)
);
CREATE INDEX catalog_by_verdict ON catalog_verdict (environment, verdict, namespace, name);

-- Who may do what. Assignments are history: an ended one keeps its row.
CREATE TABLE role_assignment (
    id {identity},
    subject {text} NOT NULL,
    namespace {text} NOT NULL,
    role {text} NOT NULL CHECK (role IN ('reader', 'writer', 'maintainer', 'admin')),
    assigned_by {text} NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_to BIGINT
);
CREATE UNIQUE INDEX role_assignment_current ON role_assignment (subject, namespace) WHERE valid_to IS NULL;
CREATE INDEX role_assignment_by_namespace ON role_assignment (namespace, subject);

CREATE TABLE api_token (
    id {text} PRIMARY KEY,
    token_hash {text} NOT NULL UNIQUE,
    hint {text} NOT NULL,
    label {text} NOT NULL,
    subject {text} NOT NULL,
    scope {text} NOT NULL CHECK (scope IN ('reader', 'writer', 'maintainer', 'admin')),
    namespaces {text},
    environment {text},
    created_by {text} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_token_by_subject ON api_token (subject, id);

-- The audit log. Events are written with the change they describe and sequenced later.
CREATE TABLE audit_event (
    id {text} PRIMARY KEY,
    occurred_at BIGINT NOT NULL,
    kind {text} NOT NULL,
    model_id {text},
    body {text} NOT NULL,
    sequenced BOOLEAN NOT NULL
);
CREATE INDEX audit_event_unsequenced ON audit_event (id) WHERE NOT sequenced;
CREATE INDEX audit_event_by_model ON audit_event (model_id, id);

CREATE TABLE audit_person (
    event_id {text} NOT NULL,
    field {text} NOT NULL,
    salt {text} NOT NULL,
    subject {text} NOT NULL,
    PRIMARY KEY (event_id, field)
);

CREATE TABLE audit_leaf (
    leaf_index BIGINT PRIMARY KEY,
    event_id {text} NOT NULL UNIQUE,
    leaf_hash {text} NOT NULL
);

CREATE TABLE audit_checkpoint (
    tree_size BIGINT PRIMARY KEY,
    root_hash {text} NOT NULL,
    note {text} NOT NULL,
    frontier {text} NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE access_entry (
    id {text} PRIMARY KEY,
    occurred_at BIGINT NOT NULL,
    action {text} NOT NULL,
    salt {text} NOT NULL,
    subject {text} NOT NULL,
    token_id {text},
    model_id {text} NOT NULL,
    content_digest {text} NOT NULL,
    sha256 {text},
    client {text} NOT NULL,
    outcome {text} NOT NULL,
    batch_event {text}
);
CREATE INDEX access_entry_unbatched ON access_entry (id) WHERE batch_event IS NULL;
CREATE INDEX access_entry_by_model ON access_entry (model_id, id);

CREATE TABLE lease (
    name {text} PRIMARY KEY,
    holder {text} NOT NULL,
    until BIGINT NOT NULL
);

CREATE TABLE signing_key (
    purpose {text} NOT NULL,
    public_key {text} NOT NULL,
    origin {text} NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_to BIGINT,
    PRIMARY KEY (purpose, public_key)
);

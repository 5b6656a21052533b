-- What an attached bundle states; null for signatures over the files.
ALTER TABLE signature ADD COLUMN predicate_type {text};

-- Statements that this registry makes and signs itself, one for each cause: a decision, a piece of
-- evidence or a record.
CREATE TABLE statement (
    sha256 {text} PRIMARY KEY,
    cause {text} NOT NULL UNIQUE,
    model_id {text} NOT NULL REFERENCES model (id),
    content_digest {text} NOT NULL,
    predicate_type {text} NOT NULL,
    bundle {bytes} NOT NULL,
    event_id {text} NOT NULL,
    made_at BIGINT NOT NULL
);
CREATE INDEX statement_by_content ON statement (model_id, content_digest, made_at);

-- Digests of blobs that a signature lists and that are not SHA-256 of the whole.
CREATE TABLE blob_digest (
    sha256 {text} NOT NULL,
    scheme {text} NOT NULL,
    digests {text} NOT NULL,
    PRIMARY KEY (sha256, scheme)
);

-- Trust policies that were in force, so that a past assessment can be understood.
CREATE TABLE trust_policy_version (
    digest {text} PRIMARY KEY,
    document {text} NOT NULL,
    first_used_at BIGINT NOT NULL
);

-- Trust roots as they were imported. The newest of a name is in force; none is ever removed.
CREATE TABLE trust_root (
    id {text} PRIMARY KEY,
    name {text} NOT NULL,
    kind {text} NOT NULL,
    sha256 {text} NOT NULL,
    imported_sha256 {text} NOT NULL,
    document {bytes} NOT NULL,
    without_log BOOLEAN NOT NULL,
    imported_at BIGINT NOT NULL,
    imported_by {text} NOT NULL
);
CREATE INDEX trust_root_by_name ON trust_root (name, id);

-- Signed lists of what is revoked. The one with the highest number is in force.
CREATE TABLE revocation_list (
    number BIGINT PRIMARY KEY,
    sha256 {text} NOT NULL,
    bundle {bytes} NOT NULL,
    imported_at BIGINT NOT NULL,
    imported_by {text} NOT NULL
);

-- By what trust was judged last: digests of the policy and of the keys and roots.
CREATE TABLE trust_state (
    name {text} PRIMARY KEY,
    value {text} NOT NULL,
    changed_at BIGINT NOT NULL
);

-- How sure an edge is: what files or people say, or what a verified attestation says.
ALTER TABLE lineage_edge ADD COLUMN confidence {text} NOT NULL DEFAULT 'declared';

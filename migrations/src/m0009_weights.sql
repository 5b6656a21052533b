-- Tensors of weight files, so that a page can list and search them, and so that models which share
-- weights are recognized. The digest is null where the bytes were not read.
CREATE TABLE blob_tensor (
    sha256 {text} NOT NULL,
    position BIGINT NOT NULL,
    name {text} NOT NULL,
    element_type {text} NOT NULL,
    shape {text} NOT NULL,
    byte_length BIGINT NOT NULL,
    digest {text},
    -- Whether the digest tells anything: constant and tiny tensors are in models that share nothing.
    telling BOOLEAN NOT NULL,
    PRIMARY KEY (sha256, position)
);
CREATE INDEX blob_tensor_by_digest ON blob_tensor (digest);

-- Weight files whose tensors were listed, and whether they were read for digests.
CREATE TABLE blob_weights (
    sha256 {text} PRIMARY KEY,
    digested BOOLEAN NOT NULL
);

-- The weights of a revision as a whole: the same digest for the same tensors in other files.
CREATE TABLE revision_weights (
    revision_id {text} PRIMARY KEY REFERENCES revision (id),
    digest {text},
    byte_length BIGINT NOT NULL
);
CREATE INDEX revision_weights_by_digest ON revision_weights (digest);

-- Other models that hold tensors of a revision, as they were when its weights were read.
CREATE TABLE shared_weights (
    revision_id {text} NOT NULL REFERENCES revision (id),
    model_id {text} NOT NULL REFERENCES model (id),
    tensors BIGINT NOT NULL,
    byte_length BIGINT NOT NULL,
    identical BOOLEAN NOT NULL,
    PRIMARY KEY (revision_id, model_id)
);
CREATE INDEX shared_weights_by_model ON shared_weights (model_id);

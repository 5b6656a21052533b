-- Xorbs: objects of many compressed chunks, which several files share. `chunks` says for each
-- chunk its hash, where it ends in the object and how long it is unpacked. An unreferenced
-- xorb stays for a long time after `last_used`, because clients remember what they sent.
CREATE TABLE xorb (
    hash {text} PRIMARY KEY,
    storage_key {text} NOT NULL UNIQUE,
    size BIGINT NOT NULL CHECK (size > 0),
    chunks {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE INDEX xorb_idle ON xorb (last_used);

-- Objects on their way to become a xorb, written before their first byte, and objects that are
-- none any more. What is here when its time is up is deleted.
CREATE TABLE xorb_staging (
    storage_key {text} PRIMARY KEY,
    multipart_id {text},
    expires_at BIGINT NOT NULL
);
CREATE INDEX xorb_staging_expiry ON xorb_staging (expires_at);

CREATE TABLE xorb_grant (
    namespace {text} NOT NULL,
    xorb {text} NOT NULL REFERENCES xorb (hash),
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (xorb, namespace)
);

-- A chunked blob is its terms in order: from `start_at` on, the chunks `first_chunk` to before
-- `end_chunk` of a xorb.
CREATE TABLE blob_term (
    sha256 {text} NOT NULL REFERENCES blob (sha256),
    start_at BIGINT NOT NULL CHECK (start_at >= 0),
    length BIGINT NOT NULL CHECK (length > 0),
    xorb {text} NOT NULL REFERENCES xorb (hash),
    first_chunk BIGINT NOT NULL,
    end_chunk BIGINT NOT NULL,
    PRIMARY KEY (sha256, start_at)
);
CREATE INDEX blob_term_xorb ON blob_term (xorb);

-- The hash by which Xet clients name a file. One file may be cut into chunks in several ways.
CREATE TABLE xet_file (
    file_hash {text} PRIMARY KEY,
    sha256 {text} NOT NULL REFERENCES blob (sha256)
);
CREATE INDEX xet_file_blob ON xet_file (sha256);

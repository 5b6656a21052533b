-- What git calls the same bytes. Only of files that git clients see as ordinary ones, which
-- are small; it is computed from the bytes and can be computed again.
CREATE TABLE git_blob (
    sha256 {text} PRIMARY KEY REFERENCES blob (sha256),
    sha1 {text} NOT NULL
);

-- Roots of complete subtrees of the audit log that cover 256, 65536, … leaves: what proofs and
-- tiles look up instead of reading every leaf. Level 0, the leaves themselves, is `audit_leaf`.
CREATE TABLE audit_node (
    level INTEGER NOT NULL,
    node_index BIGINT NOT NULL,
    hash {text} NOT NULL,
    PRIMARY KEY (level, node_index)
);

-- One key of each purpose is in force. Each but the first was signed by the one before.
ALTER TABLE signing_key ADD COLUMN rotation_signature {text};
CREATE UNIQUE INDEX signing_key_in_force ON signing_key (purpose) WHERE valid_to IS NULL;

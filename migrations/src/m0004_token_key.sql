-- A caller that lost the answer repeats the request under its key: the same token, a new secret.
-- `request_digest` tells a repeat from another request under the same key.
ALTER TABLE api_token ADD COLUMN idempotency_key {text};
ALTER TABLE api_token ADD COLUMN request_digest {text};
CREATE UNIQUE INDEX api_token_by_key ON api_token (created_by, idempotency_key);

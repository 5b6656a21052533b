-- The catalog by last change; the model's id orders those of one millisecond.
CREATE INDEX catalog_by_update ON catalog_entry (updated_at, model_id);

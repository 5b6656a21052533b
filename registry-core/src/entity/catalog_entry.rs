//! The searchable projection of a model.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "catalog_entry")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub model_id: String,
    pub namespace: String,
    pub name: String,
    pub kind: String,
    pub visibility: String,
    pub commit_id: Option<String>,
    pub content_digest: Option<String>,
    pub updated_at: i64,
    pub license: Option<String>,
    pub openness: Option<String>,
    pub format: Option<String>,
    pub architecture: Option<String>,
    pub quantization: Option<String>,
    pub parameters: Option<i64>,
    pub size: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! One read of a model's bytes.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "access_entry")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub occurred_at: i64,
    pub action: String,
    pub salt: String,
    pub subject: String,
    pub token_id: Option<String>,
    pub model_id: String,
    pub content_digest: String,
    pub sha256: Option<String>,
    pub client: String,
    pub outcome: String,
    pub batch_event: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

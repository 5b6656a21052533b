//! One stored answer of the gate.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "decision")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub model_id: String,
    pub content_digest: String,
    pub environment: String,
    pub use_digest: String,
    pub policy_digest: String,
    pub input_digest: String,
    pub allowed: bool,
    pub document: String,
    pub decided_at: i64,
    pub valid_until: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

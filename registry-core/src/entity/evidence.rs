//! One immutable conclusion.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "evidence")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub evidence_key: String,
    pub stage: String,
    pub status: String,
    pub key_document: String,
    pub document: String,
    pub created_at: i64,
    /// Of a probe's report: the same for the same files, whatever version read them.
    pub subject: Option<String>,
    /// Version of the code that judged.
    pub tool_version: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! Which evidence a revision selects, per stage.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revision_stage")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: String,
    pub state: String,
    pub evidence_key: Option<String>,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! Every movement of a ref.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ref_movement")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub model_id: String,
    pub kind: String,
    pub name: String,
    pub from_commit: Option<String>,
    pub to_commit: Option<String>,
    pub moved_by: String,
    pub moved_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

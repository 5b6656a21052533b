//! One file of a revision.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revision_file")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub path: String,
    pub sha256: String,
    pub size: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

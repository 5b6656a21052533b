//! Another model that holds tensors of a revision.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "shared_weights")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub model_id: String,
    pub tensors: i64,
    pub byte_length: i64,
    pub identical: bool,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

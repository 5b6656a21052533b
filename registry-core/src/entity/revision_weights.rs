//! The weights of a revision as a whole.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revision_weights")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision_id: String,
    pub digest: Option<String>,
    pub byte_length: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

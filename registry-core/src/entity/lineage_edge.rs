//! A parent of a revision, by name.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "lineage_edge")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub parent: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub relation: String,
    /// `declared` by files or people, or `attested` by a verified statement.
    pub confidence: String,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

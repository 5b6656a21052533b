//! The hash by which Xet clients name a file.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "xet_file")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub file_hash: String,
    pub sha256: String,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

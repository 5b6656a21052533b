//! A namespace's right to a xorb.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "xorb_grant")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub xorb: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub namespace: String,
    pub granted_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

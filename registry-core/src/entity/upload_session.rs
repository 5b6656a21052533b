//! A transfer in progress, written before its first byte.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "upload_session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub namespace: String,
    pub sha256: String,
    pub size: i64,
    pub storage_key: String,
    pub multipart_id: Option<String>,
    pub parts: String,
    pub received: i64,
    pub hasher_state: Vec<u8>,
    pub writer: Option<String>,
    pub created_by: String,
    pub created_at: i64,
    pub expires_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

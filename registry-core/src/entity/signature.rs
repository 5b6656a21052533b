//! A signature bundle over a content digest.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signature")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub content_digest: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub sha256: String,
    pub bundle: Vec<u8>,
    pub received_at: i64,
    pub received_by: String,
    /// What an attestation states; none for a signature over the files.
    pub predicate_type: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

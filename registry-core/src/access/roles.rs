//! Role assignments. An ended assignment keeps its row, so that who could do what on any
//! past day stays answerable.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Set,
};

use super::token::check_subject;
use super::{Caller, EVERY_NAMESPACE, Role};
use crate::audit::{self, Event};
use crate::database::{begin, now_ms};
use crate::entity::role_assignment;
use crate::error::Result;
use crate::identity::check_segment;
use crate::page::{Page, PageRequest};
use crate::registry::Registry;

/// One subject's role in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub subject: String,
    pub role: Role,
    pub since: i64,
}

impl Registry {
    /// Gives `subject` a role in `namespace`, or takes it away with `None`.
    pub async fn assign_role(&self, caller: &Caller, namespace: &str, subject: &str, role: Option<Role>) -> Result<()> {
        check_subject(subject)?;
        require_admin_of(caller, namespace)?;
        self.assign_role_unchecked(caller.subject(), subject, namespace, role).await
    }

    pub(super) async fn assign_role_unchecked(
        &self,
        by: &str,
        subject: &str,
        namespace: &str,
        role: Option<Role>,
    ) -> Result<()> {
        let txn = begin(&self.db).await?;
        end_current(&txn, subject, namespace).await?;
        if let Some(role) = role {
            new_assignment(by, subject, namespace, role).insert(&txn).await?;
        }
        let event = Event::new("role.assigned", by)
            .person("subject", subject)
            .detail("namespace", namespace)
            .detail("role", role.map_or("none", Role::as_str));
        audit::record(&txn, event).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Members of a namespace by name, for its admins.
    pub async fn list_members(&self, caller: &Caller, namespace: &str, page: &PageRequest) -> Result<Page<Member>> {
        require_admin_of(caller, namespace)?;
        let mut query = role_assignment::Entity::find()
            .filter(role_assignment::Column::Namespace.eq(namespace))
            .filter(role_assignment::Column::ValidTo.is_null())
            .order_by_asc(role_assignment::Column::Subject)
            .limit(page.limit + 1);
        if let Some(after) = &page.cursor {
            query = query.filter(role_assignment::Column::Subject.gt(after.as_str()));
        }
        let rows = query.all(&self.db).await?.into_iter().map(member).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, page.limit, |member| member.subject.clone()))
    }
}

/// `namespace` may be all of them; a text that is no namespace has no members to speak of.
fn require_admin_of(caller: &Caller, namespace: &str) -> Result<()> {
    if namespace == EVERY_NAMESPACE {
        return caller.require_site_admin();
    }
    check_segment("namespace", namespace)?;
    caller.require(namespace, Role::Admin)
}

async fn end_current(txn: &DatabaseTransaction, subject: &str, namespace: &str) -> Result<()> {
    role_assignment::Entity::update_many()
        .col_expr(role_assignment::Column::ValidTo, sea_orm::sea_query::Expr::value(now_ms()))
        .filter(role_assignment::Column::Subject.eq(subject))
        .filter(role_assignment::Column::Namespace.eq(namespace))
        .filter(role_assignment::Column::ValidTo.is_null())
        .exec(txn)
        .await?;
    Ok(())
}

fn new_assignment(by: &str, subject: &str, namespace: &str, role: Role) -> role_assignment::ActiveModel {
    role_assignment::ActiveModel {
        id: NotSet,
        subject: Set(subject.to_owned()),
        namespace: Set(namespace.to_owned()),
        role: Set(role.to_string()),
        assigned_by: Set(by.to_owned()),
        valid_from: Set(now_ms()),
        valid_to: Set(None),
    }
}

fn member(row: role_assignment::Model) -> Result<Member> {
    Ok(Member { subject: row.subject, role: row.role.parse()?, since: row.valid_from })
}

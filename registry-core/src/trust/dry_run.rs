//! Trying a trust policy before it is in force: which models would it deny?

use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::provenance::trust::{TrustPolicy, TrustVerdict};

use super::adopt::unknown_names;
use crate::access::Caller;
use crate::database::{now_ms, sql};
use crate::error::{Error, Result};
use crate::page::PageRequest;
use crate::registry::Registry;
use crate::revision::main_head;

/// What a policy would say of one model's main branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DryRunItem {
    /// `namespace/name`.
    pub model: String,
    pub commit: String,
    /// What the policy in force says.
    pub now: TrustVerdict,
    /// What the other one would say.
    pub then: TrustVerdict,
    /// Name of the policy that would apply.
    pub policy: Option<String>,
    /// What would stand against trust.
    pub codes: Vec<String>,
    pub notes: Vec<String>,
}

/// A page of models. Those whose provenance has not been judged yet are counted and not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DryRunPage {
    pub items: Vec<DryRunItem>,
    /// Models of this page that have no provenance evidence.
    pub unjudged: u64,
    /// Where the next page begins.
    pub next: Option<String>,
}

impl Registry {
    /// Holds a policy against a page of the catalog, in the order of model ids. Nothing is stored.
    pub async fn trust_dry_run(
        &self,
        caller: &Caller,
        policy: &TrustPolicy,
        environment: &str,
        page: &PageRequest,
    ) -> Result<DryRunPage> {
        caller.require_site_admin()?;
        self.gate.check_environment(environment)?;
        self.check_names(policy).await?;
        let ids = self.models_after(page).await?;
        let next = ids.last().filter(|_| ids.len() as u64 == page.limit).cloned();
        let mut answer = DryRunPage { items: Vec::new(), unjudged: 0, next };
        for id in ids {
            match self.try_model(&id, policy, environment).await? {
                Some(item) => answer.items.push(item),
                None => answer.unjudged += 1,
            }
        }
        Ok(answer)
    }

    async fn check_names(&self, policy: &TrustPolicy) -> Result<()> {
        let (keys, roots) = unknown_names(policy, &*self.trust_material(&self.db).await?);
        let unknown = [keys, roots].concat();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(Error::invalid("policy", format!("names keys or roots that are not here: {}", unknown.join(", "))))
    }

    async fn models_after(&self, page: &PageRequest) -> Result<Vec<String>> {
        let query = "SELECT id FROM model WHERE deleted_at IS NULL AND id > ? ORDER BY id LIMIT ?";
        let after = page.cursor.clone().unwrap_or_default();
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let rows = self.db.query_all_raw(sql(&self.db, query, vec![after.into(), limit.into()])).await?;
        rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
    }

    async fn try_model(&self, id: &str, policy: &TrustPolicy, environment: &str) -> Result<Option<DryRunItem>> {
        let model = self.model_by_id(id).await?;
        let Some(revision) = main_head(&self.db, id).await? else { return Ok(None) };
        let stages = self.stages(&revision).await?;
        let Some(basis) = self.trust_basis(&self.db, &revision, &stages).await? else { return Ok(None) };
        let now = now_ms();
        let in_force = basis.assess(&self.settings.trust.policy, &model, &revision, environment, now)?;
        let tried = basis.assess(policy, &model, &revision, environment, now)?;
        Ok(Some(DryRunItem {
            model: model.name.to_string(),
            commit: revision.commit.to_string(),
            now: in_force.verdict,
            then: tried.verdict,
            policy: tried.policy,
            codes: tried.codes,
            notes: tried.notes,
        }))
    }
}

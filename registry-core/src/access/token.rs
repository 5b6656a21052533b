//! API tokens: shown once, stored as a hash.
//!
//! `hf_` and 40 alphanumerics, because stock clients silently drop tokens of another shape.
//! The random part has 238 bits, so a plain SHA-256 is enough.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    TryIntoModel,
};
use uuid::Uuid;

use super::{Caller, EVERY_NAMESPACE, Role};
use crate::audit::{self, Event};
use crate::database::{begin, now_ms};
use crate::entity::{api_token, role_assignment};
use crate::error::{Error, Result};
use crate::identity::{Sha256Digest, check_segment};
use crate::page::{Page, PageRequest};
use crate::registry::Registry;

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const RANDOM_CHARACTERS: usize = 40;

/// What a new token may do.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What the token is for, in its owner's words.
    pub label: String,
    /// Whose token it is; none for the caller's own.
    pub subject: Option<String>,
    pub scope: Role,
    /// Only these namespaces; none for all in which the subject has a role.
    pub namespaces: Option<Vec<String>>,
    /// The environment whose decisions bind the token; none for the server's default.
    pub environment: Option<String>,
    /// Milliseconds since 1970; none for no end.
    pub expires_at: Option<i64>,
}

/// What makes a repeated request for a token recognizable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    key: String,
    request: Sha256Digest,
}

impl IdempotencyKey {
    /// `key` as the caller chose it, 1 to 128 printable ASCII characters; `request` is what it stands for.
    pub fn new(key: &str, request: &[u8]) -> Result<Self> {
        if (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Ok(Self { key: key.to_owned(), request: Sha256Digest::of(request) });
        }
        Err(Error::invalid("Idempotency-Key", "must have 1 to 128 printable ASCII characters"))
    }

    /// Names the request by who made it, so that nobody's key stands for another's.
    pub(crate) fn digest_for(&self, caller: &Caller) -> Sha256Digest {
        Sha256Digest::of(format!("{}\n{}\n{}", caller.subject(), self.key, self.request).as_bytes())
    }
}

/// A token as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    pub id: String,
    pub label: String,
    /// The token's last four characters.
    pub hint: String,
    pub subject: String,
    pub scope: Role,
    pub namespaces: Option<Vec<String>>,
    pub environment: Option<String>,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

/// A token just issued; the secret exists nowhere else.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    pub secret: String,
    pub info: TokenInfo,
}

impl Registry {
    /// The caller a token stands for; unknown, expired and revoked tokens are all `None`.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Caller>> {
        let hash = Sha256Digest::of(secret.as_bytes());
        let found = api_token::Entity::find().filter(api_token::Column::TokenHash.eq(hash.as_str())).one(&self.db);
        match found.await? {
            Some(row) => self.caller_of(row).await,
            None => Ok(None),
        }
    }

    /// The caller for whom a capability was issued: the token's, if it still counts; someone
    /// without a token where none was used.
    pub(crate) async fn caller_by_token_id(&self, token_id: Option<&str>) -> Result<Caller> {
        let Some(id) = token_id else { return Ok(Caller::anonymous(&self.settings.default_environment)) };
        let ended = || Error::Capability("the token it was issued to has ended");
        let row = api_token::Entity::find_by_id(id).one(&self.db).await?.ok_or_else(ended)?;
        self.caller_of(row).await?.ok_or_else(ended)
    }

    async fn caller_of(&self, row: api_token::Model) -> Result<Option<Caller>> {
        if has_ended(&row) {
            return Ok(None);
        }
        let info = info(row)?;
        let assigned = role_assignment::Entity::find()
            .filter(role_assignment::Column::Subject.eq(&info.subject))
            .filter(role_assignment::Column::ValidTo.is_null())
            .all(&self.db)
            .await?;
        let roles = assigned.into_iter().map(|row| Ok((row.namespace, row.role.parse()?))).collect::<Result<_>>()?;
        let environment = info.environment.unwrap_or_else(|| self.settings.default_environment.clone());
        Ok(Some(Caller {
            subject: info.subject,
            token_id: Some(info.id),
            scope: Some(info.scope),
            roles,
            namespaces: info.namespaces,
            environment,
            client: String::new(),
        }))
    }

    /// Issues a token: for the caller within its own scope, for anyone by a site administrator.
    pub async fn issue_token(&self, caller: &Caller, new: NewToken) -> Result<IssuedToken> {
        self.issue(caller, new, None).await
    }

    /// The same for a request that may be a repeat. The secret that was lost with the first answer
    /// exists nowhere, so a repeat by the same subject gives the same token a new one.
    ///
    /// The key is remembered as long as the token's row; [`Error::KeyReused`] when it stands for
    /// another request, or for a token that has ended.
    pub async fn issue_token_once(&self, caller: &Caller, new: NewToken, key: IdempotencyKey) -> Result<IssuedToken> {
        self.issue(caller, new, Some(key)).await
    }

    async fn issue(&self, caller: &Caller, new: NewToken, key: Option<IdempotencyKey>) -> Result<IssuedToken> {
        let subject = new.subject.clone().unwrap_or_else(|| caller.subject().to_owned());
        check_subject(&subject)?;
        check_label(&new.label)?;
        new.namespaces.iter().flatten().try_for_each(|name| check_segment("namespace", name))?;
        self.check_may_issue(caller, &subject, &new)?;
        if let Some(environment) = &new.environment {
            self.gate.check_environment(environment)?;
        }
        self.store_token(caller.subject(), &subject, new, key).await
    }

    /// A token never grants its owner more than the token that issued it.
    fn check_may_issue(&self, caller: &Caller, subject: &str, new: &NewToken) -> Result<()> {
        if caller.is_site_admin() {
            return Ok(());
        }
        let own = subject == caller.subject() && caller.scope().is_some_and(|scope| scope >= new.scope);
        let within = match (&caller.namespaces, &new.namespaces) {
            (None, _) => true,
            (Some(allowed), Some(asked)) => asked.iter().all(|name| allowed.contains(name)),
            (Some(_), None) => false,
        };
        let environment = new.environment.as_deref().unwrap_or(&self.settings.default_environment);
        if own && within && environment == caller.environment() {
            return Ok(());
        }
        Err(Error::Forbidden("a token cannot issue one with more rights than its own".into()))
    }

    async fn store_token(
        &self,
        issuer: &str,
        subject: &str,
        new: NewToken,
        key: Option<IdempotencyKey>,
    ) -> Result<IssuedToken> {
        let secret = new_secret()?;
        let (idempotency_key, request_digest) = key.clone().map(|key| (key.key, key.request.to_string())).unzip();
        let row = api_token::ActiveModel {
            id: Set(Uuid::now_v7().to_string()),
            token_hash: Set(Sha256Digest::of(secret.as_bytes()).to_string()),
            hint: Set(hint(&secret)),
            label: Set(new.label),
            subject: Set(subject.to_owned()),
            scope: Set(new.scope.to_string()),
            namespaces: Set(new.namespaces.map(|names| serde_json::to_string(&names)).transpose()?),
            environment: Set(new.environment),
            created_by: Set(issuer.to_owned()),
            created_at: Set(now_ms()),
            expires_at: Set(new.expires_at),
            revoked_at: Set(None),
            idempotency_key: Set(idempotency_key),
            request_digest: Set(request_digest),
        };
        let txn = begin(&self.db).await?;
        // Of two first requests under one key, the second waits here for the first.
        let same_key = [api_token::Column::CreatedBy, api_token::Column::IdempotencyKey];
        let keep = OnConflict::columns(same_key).do_nothing().to_owned();
        let inserted = api_token::Entity::insert(row.clone()).on_conflict(keep).exec_without_returning(&txn).await?;
        let (kind, row) = match key {
            Some(key) if inserted == 0 => ("token.reissued", give_new_secret(&txn, issuer, &key, &secret).await?),
            _ => ("token.issued", row.try_into_model()?),
        };
        let event = Event::new(kind, issuer).detail("token", row.id.as_str()).detail("scope", row.scope.as_str());
        audit::record(&txn, event.person("subject", &row.subject)).await?;
        txn.commit().await?;
        Ok(IssuedToken { secret, info: info(row)? })
    }

    /// The caller's tokens, or everyone's for a site administrator.
    pub async fn list_tokens(&self, caller: &Caller, page: &PageRequest) -> Result<Page<TokenInfo>> {
        let mut query = api_token::Entity::find().order_by_asc(api_token::Column::Id).limit(page.limit + 1);
        if !caller.is_site_admin() {
            query = query.filter(api_token::Column::Subject.eq(caller.subject()));
        }
        if let Some(after) = &page.cursor {
            query = query.filter(api_token::Column::Id.gt(after.as_str()));
        }
        let rows = query.all(&self.db).await?.into_iter().map(info).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, page.limit, |token| token.id.clone()))
    }

    /// Ends a token at once. Revoking an ended one changes nothing.
    pub async fn revoke_token(&self, caller: &Caller, id: &str) -> Result<()> {
        let found = api_token::Entity::find_by_id(id).one(&self.db).await?;
        let row = found
            .filter(|row| caller.is_site_admin() || row.subject == caller.subject())
            .ok_or_else(|| Error::NotFound(format!("token {id}")))?;
        if row.revoked_at.is_some() {
            return Ok(());
        }
        let txn = begin(&self.db).await?;
        let mut change: api_token::ActiveModel = row.into();
        change.revoked_at = Set(Some(now_ms()));
        change.update(&txn).await?;
        audit::record(&txn, Event::new("token.revoked", caller.subject()).detail("token", id)).await?;
        txn.commit().await?;
        Ok(())
    }

    /// On an empty registry: the first administrator's token. Afterwards `None`.
    pub async fn first_admin_token(&self) -> Result<Option<IssuedToken>> {
        if api_token::Entity::find().one(&self.db).await?.is_some() {
            return Ok(None);
        }
        self.assign_role_unchecked("weighhouse", "admin", EVERY_NAMESPACE, Some(Role::Admin)).await?;
        let new = NewToken {
            label: "first administrator".into(),
            subject: None,
            scope: Role::Admin,
            namespaces: None,
            environment: None,
            expires_at: None,
        };
        Ok(Some(self.store_token("weighhouse", "admin", new, None).await?))
    }
}

/// Replaces the secret of the token that `issuer` got under `key`; the one before opens nothing more.
async fn give_new_secret(
    txn: &DatabaseTransaction,
    issuer: &str,
    key: &IdempotencyKey,
    secret: &str,
) -> Result<api_token::Model> {
    let found = api_token::Entity::find()
        .filter(api_token::Column::CreatedBy.eq(issuer))
        .filter(api_token::Column::IdempotencyKey.eq(&key.key))
        .one(txn)
        .await?;
    let row = found.ok_or_else(|| Error::Internal("a token that stood in the way is gone".into()))?;
    if row.request_digest.as_deref() != Some(key.request.as_str()) {
        return Err(Error::KeyReused("for another request"));
    }
    if has_ended(&row) {
        return Err(Error::KeyReused("for a token that has ended"));
    }
    let mut change: api_token::ActiveModel = row.into();
    change.token_hash = Set(Sha256Digest::of(secret.as_bytes()).to_string());
    change.hint = Set(hint(secret));
    Ok(change.update(txn).await?)
}

fn has_ended(row: &api_token::Model) -> bool {
    row.revoked_at.is_some() || row.expires_at.is_some_and(|end| end <= now_ms())
}

/// The last four characters, by which people know a token again.
fn hint(secret: &str) -> String {
    secret[secret.len() - 4..].to_owned()
}

fn info(row: api_token::Model) -> Result<TokenInfo> {
    Ok(TokenInfo {
        id: row.id,
        label: row.label,
        hint: row.hint,
        subject: row.subject,
        scope: row.scope.parse()?,
        namespaces: row.namespaces.map(|names| serde_json::from_str(&names)).transpose()?,
        environment: row.environment,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    })
}

/// Uniform over the alphabet: bytes beyond its largest multiple are drawn again.
fn new_secret() -> Result<String> {
    let random = SystemRandom::new();
    let usable = 256 - 256 % ALPHABET.len();
    let mut secret = String::from("hf_");
    while secret.len() < 3 + RANDOM_CHARACTERS {
        let mut byte = [0];
        random.fill(&mut byte).map_err(|_| Error::Internal("the system gives no random numbers".into()))?;
        let value = usize::from(byte[0]);
        if value < usable {
            secret.push(char::from(ALPHABET[value % ALPHABET.len()]));
        }
    }
    Ok(secret)
}

/// Subjects are names of people or services: 1 to 128 printable characters without spaces at the ends.
pub(super) fn check_subject(subject: &str) -> Result<()> {
    let printable = !subject.chars().any(char::is_control) && subject.trim() == subject;
    if printable && (1..=128).contains(&subject.chars().count()) {
        return Ok(());
    }
    Err(Error::invalid("subject", "must have 1 to 128 printable characters"))
}

fn check_label(label: &str) -> Result<()> {
    if label.chars().count() <= 200 && !label.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid("label", "must have at most 200 printable characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_printable() {
        for good in ["k", "0192e5d4-7b9a-7000-8000-000000000000", &"k".repeat(128)] {
            assert!(IdempotencyKey::new(good, b"").is_ok(), "{good}");
        }
        for bad in ["", "a\tb", "ä", "a\u{7f}", &"k".repeat(129)] {
            assert!(IdempotencyKey::new(bad, b"").is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_have_the_shape_that_stock_clients_accept() {
        let (first, second) = (new_secret().unwrap(), new_secret().unwrap());
        assert_ne!(first, second);
        assert_eq!(first.len(), 43);
        assert!(first.starts_with("hf_") && first[3..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}

//! Who may do what: roles per namespace, API tokens, and the caller they make.
//!
//! The role table is fixed and deliberately not policy text. Policies judge models; these
//! rules judge people, and a reviewer should be able to read all of them on one page.

mod roles;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use roles::Member;
pub use token::{IdempotencyKey, IssuedToken, NewToken, TokenInfo};

use crate::error::{Error, Result};

/// The namespace name that stands for all namespaces in a role assignment.
pub const EVERY_NAMESPACE: &str = "*";

/// What a subject may do in a namespace; each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See private models and read what the gate allows.
    Reader,
    /// Push revisions, move refs, read revisions that are pending or denied.
    Writer,
    /// Rename, delete, change visibility, retry jobs.
    Maintainer,
    /// Assign roles.
    Admin,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Maintainer => "maintainer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Reader, Self::Writer, Self::Maintainer, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Error::invalid("role", "expected reader, writer, maintainer or admin"))
    }
}

/// Who sees a model without a role in its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Nobody.
    Private,
    /// Everyone with a token.
    Internal,
    /// Everyone, also without a token where the server allows anonymous readers.
    Public,
}

impl Visibility {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Internal => "internal",
            Self::Public => "public",
        }
    }
}

impl FromStr for Visibility {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Private, Self::Internal, Self::Public]
            .into_iter()
            .find(|visibility| visibility.as_str() == text)
            .ok_or_else(|| Error::invalid("visibility", "expected private, internal or public"))
    }
}

/// The one on whose behalf a request acts.
#[derive(Debug, Clone)]
pub struct Caller {
    subject: String,
    token_id: Option<String>,
    scope: Option<Role>,
    roles: BTreeMap<String, Role>,
    namespaces: Option<Vec<String>>,
    environment: String,
    client: String,
}

impl Caller {
    /// Someone without a token.
    pub fn anonymous(environment: &str) -> Self {
        Self {
            subject: "anonymous".into(),
            token_id: None,
            scope: None,
            roles: BTreeMap::new(),
            namespaces: None,
            environment: environment.into(),
            client: String::new(),
        }
    }

    /// The registry itself, for work that no person asked for.
    pub fn registry(environment: &str) -> Self {
        Self {
            subject: "weighhouse".into(),
            scope: Some(Role::Admin),
            roles: BTreeMap::from([(EVERY_NAMESPACE.to_owned(), Role::Admin)]),
            ..Self::anonymous(environment)
        }
    }

    /// Names the program that calls, for the access log; shortened to 200 characters.
    #[must_use]
    pub fn with_client(mut self, client: &str) -> Self {
        self.client = client.chars().filter(|c| !c.is_control()).take(200).collect();
        self
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    pub fn client(&self) -> &str {
        &self.client
    }

    /// The environment whose decisions bind this caller.
    pub fn environment(&self) -> &str {
        &self.environment
    }

    pub const fn is_anonymous(&self) -> bool {
        self.scope.is_none()
    }

    /// The widest role this caller can use anywhere.
    pub const fn scope(&self) -> Option<Role> {
        self.scope
    }

    /// The caller's role in a namespace: what was assigned, cut by the token's scope.
    pub fn role_in(&self, namespace: &str) -> Option<Role> {
        let scope = self.scope?;
        if let Some(only) = &self.namespaces
            && !only.iter().any(|allowed| allowed == namespace)
        {
            return None;
        }
        let assigned = self.roles.get(namespace).max(self.roles.get(EVERY_NAMESPACE))?;
        Some(scope.min(*assigned))
    }

    /// Whether the caller administers the whole registry.
    pub fn is_site_admin(&self) -> bool {
        self.namespaces.is_none()
            && self.scope == Some(Role::Admin)
            && self.roles.get(EVERY_NAMESPACE) == Some(&Role::Admin)
    }

    /// Whether a model of this visibility exists as far as the caller may know.
    pub fn may_see(&self, namespace: &str, visibility: Visibility) -> bool {
        match visibility {
            Visibility::Public => true,
            Visibility::Internal => !self.is_anonymous(),
            Visibility::Private => self.role_in(namespace).is_some(),
        }
    }

    /// Fails unless the caller has at least `role` in `namespace`.
    pub fn require(&self, namespace: &str, role: Role) -> Result<()> {
        if self.role_in(namespace).is_some_and(|held| held >= role) {
            return Ok(());
        }
        Err(Error::Forbidden(format!("this needs the role {role} in the namespace {namespace}")))
    }

    /// [`Caller::require`] for [`Role::Writer`].
    pub fn require_writer(&self, namespace: &str) -> Result<()> {
        self.require(namespace, Role::Writer)
    }

    /// Fails unless the caller administers the whole registry.
    pub fn require_site_admin(&self) -> Result<()> {
        if self.is_site_admin() {
            return Ok(());
        }
        Err(Error::Forbidden("this needs the role admin in every namespace".into()))
    }

    /// Namespaces whose private models the caller sees; `None` means all of them.
    pub(crate) fn private_namespaces(&self) -> Option<Vec<String>> {
        if self.is_anonymous() {
            return Some(Vec::new());
        }
        let everywhere = self.roles.contains_key(EVERY_NAMESPACE);
        match (&self.namespaces, everywhere) {
            (None, true) => None,
            (Some(only), true) => Some(only.clone()),
            (only, false) => {
                let allowed = |name: &&String| only.as_ref().is_none_or(|only| only.contains(name));
                Some(self.roles.keys().filter(allowed).cloned().collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(roles: &[(&str, Role)], scope: Role, namespaces: Option<&[&str]>) -> Caller {
        Caller {
            subject: "ada".into(),
            scope: Some(scope),
            roles: roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
            namespaces: namespaces.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            ..Caller::anonymous("development")
        }
    }

    #[test]
    fn scope_cuts_the_assigned_role() {
        let caller = caller(&[("acme", Role::Admin)], Role::Writer, None);
        assert_eq!(caller.role_in("acme"), Some(Role::Writer));
        assert_eq!(caller.role_in("other"), None);
        assert!(caller.require("acme", Role::Maintainer).is_err());
    }

    #[test]
    fn a_site_role_counts_everywhere_but_not_beyond_the_tokens_namespaces() {
        let wide = caller(&[("*", Role::Reader), ("acme", Role::Writer)], Role::Admin, None);
        assert_eq!(wide.role_in("acme"), Some(Role::Writer));
        assert_eq!(wide.role_in("other"), Some(Role::Reader));
        let narrow = caller(&[("*", Role::Admin)], Role::Admin, Some(&["acme"]));
        assert_eq!(narrow.role_in("other"), None);
        assert!(!narrow.is_site_admin());
        assert_eq!(narrow.private_namespaces(), Some(vec!["acme".to_owned()]));
    }

    #[test]
    fn anonymous_callers_see_public_models_only() {
        let nobody = Caller::anonymous("development");
        assert!(nobody.may_see("acme", Visibility::Public));
        assert!(!nobody.may_see("acme", Visibility::Internal));
        assert!(!nobody.may_see("acme", Visibility::Private));
        assert_eq!(nobody.private_namespaces(), Some(vec![]));
    }
}

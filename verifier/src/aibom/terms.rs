//! What the license catalog adds: where a license's text is, what else it makes binding, and
//! what it asks for.

use crate::evidence::LicenseFacts;
use crate::license::Catalog;
use crate::license::catalog::License;

use super::{MAX_LIST, bounded};

/// The catalog's knowledge of the licenses that a revision names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Licenses that are not on SPDX's list.
    pub custom: Vec<CustomLicense>,
    /// Documents beside the license's text that it makes binding, such as use policies.
    pub documents: Vec<Document>,
    /// What the concluded license asks for, one line each.
    pub obligations: Vec<String>,
}

/// A license with an id of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomLicense {
    /// `LicenseRef-…`.
    pub id: String,
    pub name: String,
    pub url: Option<String>,
    /// Only where the operator's catalog holds the text.
    pub text: Option<String>,
}

/// A document outside of the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub title: String,
    pub url: String,
}

impl Terms {
    /// What `catalog` knows of the licenses in `facts`.
    pub fn of(catalog: &Catalog, facts: &LicenseFacts) -> Self {
        let mut terms = Self::default();
        let statements = facts.declared.iter().chain(&facts.detected).take(MAX_LIST);
        let mentioned = statements.map(|statement| statement.expression.as_str());
        for id in mentioned.chain([facts.concluded.as_str()]).flat_map(ids) {
            if let Some(row) = catalog.find(id) {
                terms.add_documents(row);
            }
            let known = terms.custom.iter().any(|license| license.id == id);
            if id.starts_with("LicenseRef-") && !known {
                terms.custom.push(custom(catalog, id));
            }
        }
        terms.obligations =
            ids(&facts.concluded).filter_map(|id| catalog.find(id)).flat_map(obligations).take(MAX_LIST).collect();
        terms
    }

    fn add_documents(&mut self, row: &License) {
        let named = row.incorporated_documents.iter();
        let named = named.filter_map(|document| Some((document.title.clone(), document.url.clone()?)));
        let policy = row.aup.clone().map(|policy| (format!("{}: use policy", row.name), policy));
        for (title, url) in named.chain(policy) {
            let is_new = self.documents.iter().all(|document| document.url != url);
            if is_address(&url) && is_new {
                self.documents.push(Document { title: bounded(&title), url });
            }
        }
    }
}

/// The ids in an expression.
pub(super) fn ids(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split([' ', '(', ')']);
    words.filter(|word| !word.is_empty() && !["AND", "OR", "WITH", super::NO_ASSERTION].contains(word))
}

fn custom(catalog: &Catalog, id: &str) -> CustomLicense {
    let row = catalog.find(id);
    CustomLicense {
        id: id.to_owned(),
        name: row.map_or_else(|| id.to_owned(), |row| row.name.clone()),
        url: row.and_then(|row| row.sources.iter().find(|source| is_address(source)).cloned()),
        text: catalog.text(id).map(str::to_owned),
    }
}

fn obligations(row: &License) -> Vec<String> {
    let mut lines: Vec<String> = row.conditions().iter().map(|word| format!("{}: {word}", row.id)).collect();
    let own = [
        (row.derivatives.badge.as_ref(), "display"),
        (row.derivatives.name_prefix.as_ref(), "begin the name of a derivative with"),
        (row.redistribution.notice_text.as_ref(), "a NOTICE file holds"),
    ];
    let own = own.into_iter().filter_map(|(words, duty)| Some(format!("{}: {duty} \"{}\"", row.id, words?)));
    lines.extend(own.map(|line| bounded(&line)));
    lines
}

fn is_address(text: &str) -> bool {
    let scheme = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    scheme && text.chars().all(|character| character.is_ascii_graphic() && !"<>\"{}|\\^`".contains(character))
}

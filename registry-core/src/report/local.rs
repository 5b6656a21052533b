//! The report of files that no registry holds.

use verifier::evidence::{LicenseFacts, LicenseStatement, LicenseVerdict};
use verifier::license::Catalog;
use verifier::license::propagation::{self, Assessment, Edge, Node, Satisfied};
use verifier::policy::Use;

use super::row::{self, Known};
use super::{LicenseReport, REPORT_SCHEMA_VERSION, ReportTotals};
use crate::error::{Error, Result};
use crate::identity::{FileSpec, content_digest};
use crate::license::duty_shown_by;
use crate::model::ModelKind;

impl LicenseReport {
    /// Reports on `files` under `name`, for a stated use. Without a registry there is no date, no
    /// decision and no record, and of parents only their names are known.
    pub fn of_files(
        catalog: &Catalog,
        name: &str,
        files: &[FileSpec],
        facts: LicenseFacts,
        stated: &Use,
    ) -> Result<Self> {
        let assessment = assess(catalog, name, &facts, stated)?;
        let known = Known { facts: Some(facts), assessment: Some(assessment), ..Known::default() };
        let mut row = row::assemble(name.to_owned(), ModelKind::Model, files, known);
        row.content_digest = Some(content_digest(files).to_string());
        let rows = vec![row];
        Ok(Self {
            schema_version: REPORT_SCHEMA_VERSION,
            as_of: None,
            scope: format!("files of {name}"),
            environment: None,
            totals: ReportTotals::of(&rows),
            rows,
        })
    }
}

fn assess(catalog: &Catalog, name: &str, facts: &LicenseFacts, stated: &Use) -> Result<Assessment> {
    let words = |statement: Option<&LicenseStatement>| {
        statement
            .map(|found| if found.expression == row::NO_ASSERTION { &found.text } else { &found.expression }.clone())
    };
    let parents = facts.lineage.iter().map(|edge| Edge { parent: edge.parent.clone(), relation: edge.relation });
    let satisfied = facts.detected.iter().chain(&facts.declared).filter_map(|statement| {
        let code = duty_shown_by(statement)?.to_owned();
        Some(Satisfied { code, license: Some(statement.expression.clone()) })
    });
    let node = Node {
        id: name.to_owned(),
        name: name.to_owned(),
        declared: words(facts.declared.first()),
        detected: words(facts.detected.first()),
        concluded: (facts.verdict == LicenseVerdict::Agreed).then(|| facts.concluded.clone()),
        parents: parents.collect(),
        satisfied: satisfied.collect(),
        ..Node::default()
    };
    let assessment = propagation::assess(catalog, &[node], name, &stated.intended());
    assessment.map_err(|error| Error::CannotDecide(name.to_owned(), error.to_string()))
}

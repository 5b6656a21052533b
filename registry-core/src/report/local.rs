//! The report of files that no registry holds.

use verifier::evidence::LicenseFacts;
use verifier::license::Catalog;
use verifier::license::propagation::{self, Assessment};
use verifier::license::record::Standing;
use verifier::policy::Use;

use super::row::{self, Known};
use super::{LicenseReport, REPORT_SCHEMA_VERSION, ReportTotals};
use crate::error::{Error, Result};
use crate::identity::{FileSpec, content_digest};
use crate::license::Basis;
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
    let node = Basis::of_files(facts.clone()).node(name, &Standing::default());
    let assessment = propagation::assess(catalog, &[node], name, &stated.intended());
    assessment.map_err(|error| Error::CannotDecide(name.to_owned(), error.to_string()))
}

//! `migrate`: the schema, for operators who do not want servers to change it.

use std::process::ExitCode;

use super::output::{self, CliError};
use super::serve::runtime;
use crate::config::{ConfigArguments, Loaded};

/// Applies what is pending and names it.
pub(super) fn migrate(arguments: &ConfigArguments) -> Result<ExitCode, CliError> {
    let config = Loaded::read(arguments)?.config;
    fs_err::create_dir_all(&config.data_dir)
        .map_err(|error| CliError::Io("cannot use the data folder".into(), error))?;
    runtime()?.block_on(async {
        let db = registry_core::connect(config.database.url.expose()).await?;
        let pending = registry_core::pending_migrations(&db).await?;
        registry_core::migrate(&db).await?;
        match pending.as_slice() {
            [] => output::text("The schema is current.\n")?,
            steps => output::text(&format!("Applied: {}\n", steps.join(", ")))?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

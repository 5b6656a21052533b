//! Everything that can be configured, where each value came from, and the one place that
//! reads it.
//!
//! Values are layered: defaults, a TOML file, `WEIGHHOUSE_…` environment variables, the
//! command line; later layers win. An operator who asks "why does it listen there?" gets the
//! answer from `weighhouse config show`, because every value keeps its origin. A value that
//! nobody knows is an error that names it: a misspelled limit must not silently be no limit.

mod keys;
mod layers;
mod machine;
mod show;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

pub use keys::{KEYS, Key};
pub use layers::ConfigArguments;
pub use show::{Origin, OriginKind, Setting, render_text};
pub use values::{LogFormat, NamedFile, Network, S3Storage, Secret, Storage, WorkerJobs};

/// The validated configuration of one process. What each value means stands in [`KEYS`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub data_dir: PathBuf,
    pub database: Database,
    pub storage: Storage,
    pub server: Server,
    pub upload: Upload,
    pub xet: Xet,
    pub worker: Worker,
    pub probe: Probe,
    pub gate: Gate,
    pub trust: Trust,
    #[serde(default)]
    pub license: License,
    pub log: Log,
    pub keys: Keys,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: Secret,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    /// Without a slash at its end.
    pub public_url: String,
    pub environment: String,
    pub anonymous_read: bool,
    pub trusted_proxies: Vec<Network>,
    pub xet_download_bytes: u64,
    pub workers: usize,
    pub shutdown_grace_seconds: u64,
    pub silence_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    pub session_ttl_hours: u64,
    pub max_file_bytes: u64,
    pub multipart_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xet {
    pub xorb_grace_days: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    pub enabled: bool,
    pub jobs: WorkerJobs,
    pub concurrency: usize,
    pub poll_milliseconds: u64,
    pub lease_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub memory_limit_bytes: u64,
    pub wall_limit_seconds: u64,
    pub threads: u32,
    pub total_memory_bytes: u64,
    pub namespace_concurrency: u32,
    pub reprobe_on_upgrade: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct License {
    pub catalog_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    #[serde(default)]
    pub policy: Option<PathBuf>,
    pub roots: Vec<NamedFile>,
    pub public_good: bool,
    pub revocation_keys: Vec<NamedFile>,
    pub crls: Vec<NamedFile>,
    pub root_age_warning_days: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    pub policy_dir: Option<PathBuf>,
    pub trusted_keys: Vec<NamedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    pub dir: PathBuf,
}

/// Why there is no configuration. No message holds a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file cannot be read")]
    Read(#[source] std::io::Error),
    #[error("the configuration file {path} is larger than {limit} bytes")]
    FileTooLarge { path: PathBuf, limit: u64 },
    #[error("the configuration file {path} is not valid TOML: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("the environment variable {0} is not valid UTF-8")]
    NotUnicode(String),
    #[error("`--set {0}` is not of the form KEY=VALUE")]
    Assignment(String),
    #[error("unknown configuration key `{key}` in {origin}; `weighhouse config show` lists all keys")]
    UnknownKey { key: String, origin: Origin },
    #[error("`{key}` in {origin} must be {expected}")]
    Value { key: String, origin: Origin, expected: String },
    #[error("{0}")]
    Combination(String),
}

/// A configuration and the story of each of its values.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// In the order of [`KEYS`], secrets hidden.
    pub settings: Vec<Setting>,
}

impl Loaded {
    /// Reads the configuration from the process's environment and `arguments`.
    pub fn read(arguments: &ConfigArguments) -> Result<Self, ConfigError> {
        Self::read_from(arguments, std::env::vars_os())
    }

    fn read_from(
        arguments: &ConfigArguments,
        environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, ConfigError> {
        let figment = layers::layered(arguments, environment)?;
        let config: Config = figment.extract().map_err(|error| layers::describe(&error))?;
        config.check()?;
        Ok(Self { config, settings: show::settings(&figment) })
    }
}

impl Config {
    /// What no single value can tell.
    fn check(&self) -> Result<(), ConfigError> {
        let name_is_plain = |name: &str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let url = &self.server.public_url;
        let rules = [
            (name_is_plain(&self.server.environment), "`server.environment` must be 1 to 64 of a-z, 0-9 and `-`"),
            (
                ["http://", "https://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
                    && !url.ends_with('/'),
                "`server.public_url` must start with http:// or https:// and not end with a slash",
            ),
            (
                tracing_subscriber::EnvFilter::try_new(&self.log.level).is_ok(),
                "`log.level` must be a level such as `info`, or a list such as `info,registry_core=debug`",
            ),
            (names_differ(&self.gate.trusted_keys), "two of `gate.trusted_keys` have the same name"),
            (names_differ(&self.trust.roots), "two of `trust.roots` have the same name"),
            (names_differ(&self.trust.crls), "two of `trust.crls` have the same name"),
            (names_differ(&self.trust.revocation_keys), "two of `trust.revocation_keys` have the same name"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(ConfigError::Combination((*message).to_owned())),
            None => Ok(()),
        }
    }
}

fn names_differ(named: &[NamedFile]) -> bool {
    let mut names: Vec<_> = named.iter().map(|key| &key.name).collect();
    names.sort();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests;

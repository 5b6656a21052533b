//! Puts the four layers on top of each other. Each value carries its origin along, so that
//! an error or `config show` can name it.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::ConfigError;
use super::keys::{DefaultValue, Exposure, KEYS, Key, Kind, VARIABLE_PREFIX};
use super::show::{Origin, OriginKind};
use super::values::Network;

/// A configuration file is a page or two; what is larger is a mistake.
const LARGEST_FILE: u64 = 1 << 20;

const FILE_VARIABLE: &str = "WEIGHHOUSE_CONFIG";

/// What the command line says about configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ConfigArguments {
    /// Read configuration from this TOML file [also: WEIGHHOUSE_CONFIG]
    #[arg(long = "config", value_name = "PATH", global = true)]
    pub file: Option<PathBuf>,
    /// Set one configuration value, such as `log.level=debug`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub assignments: Vec<String>,
}

/// One layer, or one value of it, with the same origin throughout.
struct Layer {
    origin: Origin,
    values: Dict,
}

impl Layer {
    fn single(key: &Key, value: Value, origin: Origin) -> Self {
        Self { origin, values: figment::util::nest(key.name, value).into_dict().unwrap_or_default() }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.origin.to_metadata()
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// All layers, bounds checked, derived defaults filled in.
pub(super) fn layered(
    arguments: &ConfigArguments,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Figment, ConfigError> {
    let (variables, file) = variables(environment)?;
    let mut figment = fixed_defaults()?;
    if let Some(path) = arguments.file.clone().or(file) {
        figment = figment.merge(read_file(&path)?);
    }
    for layer in variables {
        figment = figment.merge(layer);
    }
    for assignment in &arguments.assignments {
        figment = figment.merge(assigned(assignment)?);
    }
    let figment = with_derived_defaults(figment);
    check_bounds(&figment)?;
    Ok(figment)
}

fn fixed_defaults() -> Result<Figment, ConfigError> {
    let mut figment = Figment::new();
    for key in KEYS {
        if let DefaultValue::Fixed(text) = key.default {
            figment = figment.merge(from_text(key, text, Origin::default_value())?);
        }
    }
    Ok(figment)
}

/// The configuration among the environment variables, and the file that one of them names.
///
/// Only variables with a double underscore, and the names of values outside sections, are
/// taken for configuration: `WEIGHHOUSE_TOKEN` is the client's, and `WEIGHHOUSE_PORT` is what
/// an orchestrator sets for a service of this name. An empty variable counts as not set.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Vec<Layer>, Option<PathBuf>), ConfigError> {
    let mut layers = Vec::new();
    let mut file = None;
    for (variable, value) in environment {
        let Some(variable) = variable.to_str().filter(|_| !value.is_empty()) else { continue };
        let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
        let key = name.replace("__", ".").to_ascii_lowercase();
        if variable == FILE_VARIABLE {
            file = Some(PathBuf::from(value));
        } else if key.contains('.') || Key::find(&key).is_some() {
            layers.push(from_variable(variable, key, &value)?);
        }
    }
    Ok((layers, file))
}

fn from_variable(variable: &str, key: String, value: &OsStr) -> Result<Layer, ConfigError> {
    let origin = Origin::new(OriginKind::Environment, variable);
    let text = value.to_str().ok_or_else(|| ConfigError::NotUnicode(variable.to_owned()))?;
    match Key::find(&key) {
        Some(key) => from_text(key, text, origin),
        None => Err(ConfigError::UnknownKey { key, origin }),
    }
}

fn assigned(assignment: &str) -> Result<Layer, ConfigError> {
    let Some((name, text)) = assignment.split_once('=') else {
        return Err(ConfigError::Assignment(assignment.to_owned()));
    };
    let origin = Origin::new(OriginKind::CommandLine, format!("--set {name}"));
    match Key::find(name) {
        Some(key) => from_text(key, text, origin),
        None => Err(ConfigError::UnknownKey { key: name.to_owned(), origin }),
    }
}

fn from_text(key: &Key, text: &str, origin: Origin) -> Result<Layer, ConfigError> {
    match parse(key.kind, text) {
        Some(value) => Ok(Layer::single(key, value, origin)),
        None => Err(ConfigError::Value { key: key.name.to_owned(), origin, expected: expected(key.kind) }),
    }
}

fn parse(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text => Some(Value::from(text)),
        Kind::Flag => text.parse::<bool>().ok().map(Value::from),
        Kind::Integer { .. } => text.parse::<u64>().ok().map(Value::from),
        Kind::Networks => items(text).map(network).collect::<Option<Vec<_>>>().map(Value::from),
        Kind::NamedFiles => items(text).map(trusted_key).collect::<Option<Vec<_>>>().map(Value::from),
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn network(item: &str) -> Option<Value> {
    item.parse::<Network>().is_ok().then(|| Value::from(item))
}

fn trusted_key(item: &str) -> Option<Value> {
    let (name, path) = item.split_once('=')?;
    let members = [("name".to_owned(), Value::from(name)), ("path".to_owned(), Value::from(path))];
    Some(Value::from(Dict::from(members)))
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Integer { least, most } => format!("an integer from {least} to {most}"),
        Kind::Networks => "addresses, such as 10.0.0.1 or 10.0.0.0/8, separated by commas".to_owned(),
        Kind::NamedFiles => "NAME=PATH pairs separated by commas".to_owned(),
    }
}

fn read_file(path: &Path) -> Result<Layer, ConfigError> {
    let file = fs_err::File::open(path).map_err(ConfigError::Read)?;
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(ConfigError::Read)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(ConfigError::FileTooLarge { path: path.to_owned(), limit: LARGEST_FILE });
    }
    let mut profiles = Toml::string(&text).data().map_err(|error| syntax_error(path, &error))?;
    let values = profiles.remove(&Profile::Default).unwrap_or_default();
    let origin = Origin::new(OriginKind::File, path.display().to_string());
    check_known(&values, "", &origin)?;
    Ok(Layer { origin, values })
}

/// The parser's message without the lines that quote the file: they may hold a secret.
fn syntax_error(path: &Path, error: &figment::Error) -> ConfigError {
    let quotes = |line: &&str| !line.contains('|');
    let message = error.kind.to_string().lines().filter(quotes).collect::<Vec<_>>().join(", ");
    ConfigError::Syntax { path: path.to_owned(), message }
}

fn check_known(values: &Dict, section: &str, origin: &Origin) -> Result<(), ConfigError> {
    for (name, value) in values {
        let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        let is_section = section.is_empty() && KEYS.iter().any(|known| known.name.starts_with(&format!("{key}.")));
        match value {
            Value::Dict(_, members) if is_section => check_known(members, &key, origin)?,
            _ if Key::find(&key).is_some() => {}
            _ => return Err(ConfigError::UnknownKey { key, origin: origin.clone() }),
        }
    }
    Ok(())
}

/// Fills in defaults that follow from other values. A value they follow from may be of the
/// wrong type; then the default is left out and reading the configuration names the culprit.
fn with_derived_defaults(figment: Figment) -> Figment {
    let data_dir = figment.extract_inner::<String>("data_dir").unwrap_or_default();
    let listen = figment.extract_inner::<SocketAddr>("server.listen").ok();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let is_loopback = listen.is_some_and(|address| address.ip().is_loopback());
    let derived = [
        ("database.url", Value::from(format!("sqlite://{}/weighhouse.db?mode=rwc", escape_for_url(&data_dir)))),
        ("keys.dir", Value::from(format!("{data_dir}/keys"))),
        ("server.public_url", Value::from(listen.map_or_else(String::new, |address| format!("http://{address}")))),
        ("server.anonymous_read", Value::from(is_loopback)),
        ("server.workers", Value::from(cores)),
        ("probe.threads", Value::from(cores)),
        ("probe.total_memory_bytes", Value::from(super::machine::memory_bytes() / 4 * 3)),
    ];
    derived.into_iter().fold(figment, |figment, (name, value)| {
        let values = figment::util::nest(name, value).into_dict().unwrap_or_default();
        figment.join(Layer { origin: Origin::default_value(), values })
    })
}

/// Escapes what would end the path of a URL.
fn escape_for_url(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

fn check_bounds(figment: &Figment) -> Result<(), ConfigError> {
    for key in KEYS {
        let Kind::Integer { least, most } = key.kind else { continue };
        let Ok(value) = figment.find_value(key.name) else { continue };
        // Text gives unsigned integers, TOML gives signed ones.
        let integer = value.to_u128().or_else(|| u128::try_from(value.to_i128()?).ok());
        let is_within = integer.is_some_and(|integer| (u128::from(least)..=u128::from(most)).contains(&integer));
        if !is_within {
            let origin = Origin::of(figment, key.name);
            return Err(ConfigError::Value { key: key.name.to_owned(), origin, expected: expected(key.kind) });
        }
    }
    Ok(())
}

/// A reading error in our words. The value stands in it only when it may be shown.
pub(super) fn describe(error: &figment::Error) -> ConfigError {
    let key = error.path.join(".");
    let known = Key::find(&key);
    if let figment::error::Kind::Message(message) = &error.kind
        && known.is_none_or(|known| known.exposure == Exposure::Open)
    {
        let place = if known.is_some() { format!("`{key}`: ") } else { String::new() };
        return ConfigError::Combination(format!("{place}{message}"));
    }
    let origin = error.metadata.as_ref().map_or_else(Origin::default_value, Origin::from_metadata);
    ConfigError::Value { key, origin, expected: wanted(error, known) }
}

fn wanted(error: &figment::Error, known: Option<&Key>) -> String {
    use figment::error::Kind as Error;
    match &error.kind {
        Error::UnknownVariant(_, variants) => format!("one of: {}", variants.join(", ")),
        Error::InvalidType(_, wanted) | Error::InvalidValue(_, wanted) | Error::InvalidLength(_, wanted) => {
            wanted.clone()
        }
        _ => known.map_or_else(|| "as documented".to_owned(), |known| expected(known.kind)),
    }
}

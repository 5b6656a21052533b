//! Tells what is configured and why, without telling secrets.

use std::fmt;

use figment::{Figment, Metadata};
use serde::Serialize;
use serde_json::Value;

use super::keys::{Exposure, KEYS, Key};

const HIDDEN: &str = "***";

/// Which layer a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginKind {
    Default,
    File,
    Environment,
    CommandLine,
}

impl OriginKind {
    const ALL: [Self; 4] = [Self::Default, Self::File, Self::Environment, Self::CommandLine];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::CommandLine => "command line",
        }
    }
}

/// Where exactly a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    pub kind: OriginKind,
    /// The file's path, the variable's name or the argument; none for a default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Origin {
    pub(super) fn new(kind: OriginKind, place: impl Into<String>) -> Self {
        Self { kind, place: Some(place.into()) }
    }

    pub(super) const fn default_value() -> Self {
        Self { kind: OriginKind::Default, place: None }
    }

    pub(super) fn of(figment: &Figment, key: &str) -> Self {
        figment.find_metadata(key).map_or_else(Self::default_value, Self::from_metadata)
    }

    pub(super) fn to_metadata(&self) -> Metadata {
        let metadata = Metadata::named(self.kind.as_str());
        match &self.place {
            Some(place) => metadata.source(figment::Source::Custom(place.clone())),
            None => metadata,
        }
    }

    pub(super) fn from_metadata(metadata: &Metadata) -> Self {
        let kind = OriginKind::ALL.into_iter().find(|kind| kind.as_str() == metadata.name);
        Self {
            kind: kind.unwrap_or(OriginKind::Default),
            place: metadata.source.as_ref().and_then(figment::Source::custom).map(str::to_owned),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(formatter, "{} {place}", self.kind.as_str()),
            None => formatter.write_str(self.kind.as_str()),
        }
    }
}

/// One value as it may be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    pub key: &'static str,
    /// Null when it is not set; `***` stands for what is hidden.
    pub value: Value,
    /// Whether a part of the value is hidden.
    pub hidden: bool,
    pub origin: Origin,
    /// The environment variable that sets it.
    pub variable: String,
    pub description: &'static str,
}

/// All values of a layered configuration, in the order of [`KEYS`].
pub(super) fn settings(figment: &Figment) -> Vec<Setting> {
    KEYS.iter().map(|key| setting(key, figment)).collect()
}

fn setting(key: &Key, figment: &Figment) -> Setting {
    let value = figment.find_value(key.name).ok().and_then(|value| serde_json::to_value(value).ok());
    let value = value.unwrap_or_default();
    let shown = match (key.exposure, value.as_str()) {
        (Exposure::Open, _) | (_, None) => value.clone(),
        (Exposure::Hidden, Some(_)) => HIDDEN.into(),
        (Exposure::PasswordHidden, Some(url)) => hide_password(url).into(),
    };
    Setting {
        key: key.name,
        hidden: shown != value,
        value: shown,
        origin: Origin::of(figment, key.name),
        variable: key.variable(),
        description: key.description,
    }
}

/// Hides the password before the host, and parameters that hold one. When in doubt it hides
/// more than it must: an unescaped slash in a password does not end what is hidden.
fn hide_password(url: &str) -> String {
    let (main, query) = url.split_once('?').map_or((url, None), |(main, query)| (main, Some(query)));
    let main = match (main.find("://"), main.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => hide_after_colon(main, scheme + 3, at),
        _ => main.to_owned(),
    };
    match query {
        Some(query) => format!("{main}?{}", query.split('&').map(hide_parameter).collect::<Vec<_>>().join("&")),
        None => main,
    }
}

fn hide_after_colon(url: &str, start: usize, at: usize) -> String {
    match url[start..at].find(':') {
        Some(colon) => format!("{}{HIDDEN}{}", &url[..=start + colon], &url[at..]),
        None => url.to_owned(),
    }
}

fn hide_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    }
}

/// The settings as a TOML file that says where each value came from. Values that are hidden
/// or not set are comments, so that the output can be used as a configuration file.
pub fn render_text(settings: &[Setting]) -> String {
    let lines: Vec<(String, &Setting)> = settings.iter().map(|setting| (assignment(setting), setting)).collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    let mut text = String::new();
    for (line, setting) in lines {
        text.extend([format!("{line:<width$}  # {}", setting.origin).as_str(), "\n"]);
    }
    text
}

fn assignment(setting: &Setting) -> String {
    match &setting.value {
        Value::Null => format!("# {} is not set", setting.key),
        value if setting.hidden => format!("# {} = {}", setting.key, toml(value)),
        value => format!("{} = {}", setting.key, toml(value)),
    }
}

/// A value as TOML writes it on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(elements) => format!("[{}]", elements.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let pairs: Vec<_> = members.iter().map(|(name, value)| format!("{name} = {}", toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // A JSON string is a TOML string but for the DEL character, which no path or URL holds.
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_hidden_wherever_a_url_may_hold_it() {
        let urls = [
            ("postgres://weigh:secret@db/w", "postgres://weigh:***@db/w"),
            ("postgres://weigh:se/c@ret@db/w", "postgres://weigh:***@db/w"),
            ("postgres://weigh@db/w", "postgres://weigh@db/w"),
            ("postgres://db/w?user=weigh&password=secret", "postgres://db/w?user=weigh&password=***"),
            ("sqlite://./data/weighhouse.db?mode=rwc", "sqlite://./data/weighhouse.db?mode=rwc"),
        ];
        for (url, shown) in urls {
            assert_eq!(hide_password(url), shown);
        }
    }
}

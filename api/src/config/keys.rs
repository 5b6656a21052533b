//! The list of all configuration values. `config show`, the environment variables, the
//! bounds and the documentation come from it; a test holds it against [`super::Config`].

/// How a value is written, and in what bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// `true` or `false`.
    Flag,
    Integer {
        least: u64,
        most: u64,
    },
    /// As text: `NAME=PATH`, separated by commas.
    NamedFiles,
    /// As text: addresses with an optional `/` and prefix length, separated by commas.
    Networks,
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    Open,
    /// A URL whose password is hidden.
    PasswordHidden,
    Hidden,
}

/// What a value is when no layer sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// In the form that an environment variable would have.
    Fixed(&'static str),
    /// Computed from other values or the machine.
    Derived,
    /// Not set.
    Absent,
}

/// One configuration value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Section and name, such as `server.listen`.
    pub name: &'static str,
    pub kind: Kind,
    pub default: DefaultValue,
    pub exposure: Exposure,
    /// One sentence, with the unit and how a derived default is found.
    pub description: &'static str,
}

impl Key {
    /// The environment variable that sets it, such as `WEIGHHOUSE_SERVER__LISTEN`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }

    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

use DefaultValue::{Absent, Derived, Fixed};
use Kind::{Flag, NamedFiles, Networks, Text};

pub(super) const VARIABLE_PREFIX: &str = "WEIGHHOUSE_";

const fn key(name: &'static str, kind: Kind, default: DefaultValue, description: &'static str) -> Key {
    Key { name, kind, default, exposure: Exposure::Open, description }
}

const fn secret(name: &'static str, exposure: Exposure, default: DefaultValue, description: &'static str) -> Key {
    Key { name, kind: Text, default, exposure, description }
}

const fn integer(name: &'static str, least: u64, most: u64, default: DefaultValue, description: &'static str) -> Key {
    key(name, Kind::Integer { least, most }, default, description)
}

const DAY_SECONDS: u64 = 86_400;

/// All values, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("data_dir", Text, Fixed("./weighhouse-data"), "Folder for all that this process keeps on disk."),
    secret(
        "database.url",
        Exposure::PasswordHidden,
        Derived,
        "`sqlite://PATH?mode=rwc` or `postgres://…`; by default SQLite in the data folder.",
    ),
    key("storage.kind", Text, Fixed("local"), "Where bytes are kept: `local`, in the data folder, or `s3`."),
    key("storage.bucket", Text, Absent, "Name of the S3 bucket."),
    key("storage.region", Text, Fixed("us-east-1"), "Region of the S3 bucket."),
    key("storage.endpoint", Text, Absent, "URL of an S3 server that is not Amazon's."),
    key("storage.access_key_id", Text, Absent, "S3 access key; without it the machine's own identity is used."),
    secret("storage.secret_access_key", Exposure::Hidden, Absent, "Secret of the S3 access key."),
    key("storage.allow_http", Flag, Fixed("false"), "Whether the S3 endpoint may be plain HTTP."),
    key("storage.prefix", Text, Fixed(""), "Put before all object names in the bucket."),
    key("server.listen", Text, Fixed("127.0.0.1:8086"), "Address and port of the HTTP server."),
    key("server.public_url", Text, Derived, "URL under which clients reach it; by default made from `server.listen`."),
    key("server.environment", Text, Fixed("development"), "Environment of requests whose token names none."),
    key(
        "server.anonymous_read",
        Flag,
        Derived,
        "Whether public models are readable without a token; by default only on a loopback address.",
    ),
    key(
        "server.trusted_proxies",
        Networks,
        Fixed(""),
        "Proxies (addresses or networks) whose X-Forwarded-Host, -Proto and -Prefix are believed.",
    ),
    integer(
        "server.xet_download_bytes",
        0,
        1 << 50,
        Fixed("50000000000"),
        "From this size on, files that came through Xet are offered through it too; clients use plain HTTP below.",
    ),
    integer("server.workers", 1, 1024, Derived, "Threads that serve requests; by default one for each core."),
    integer(
        "server.shutdown_grace_seconds",
        0,
        3600,
        Fixed("30"),
        "How long running requests and jobs may go on after a stop signal.",
    ),
    integer(
        "server.silence_seconds",
        1,
        3600,
        Fixed("60"),
        "How long a client may send or take nothing in the middle of a request.",
    ),
    integer("upload.session_ttl_hours", 1, 24 * 365, Fixed("24"), "How long an unfinished upload can be resumed."),
    integer("upload.max_file_bytes", 1, 1 << 50, Fixed("549755813888"), "Largest file that is accepted."),
    integer(
        "xet.xorb_grace_days",
        22,
        3650,
        Fixed("30"),
        "How long chunks that no file refers to stay after their last use; clients remember theirs for three weeks.",
    ),
    integer(
        "upload.multipart_bytes",
        1 << 20,
        1 << 40,
        Fixed("268435456"),
        "Larger files come in parts of this size from Git LFS clients that know parts.",
    ),
    key("worker.enabled", Flag, Fixed("true"), "Whether `serve` also runs the pipeline's jobs."),
    key(
        "worker.jobs",
        Text,
        Fixed("all"),
        "Which jobs this process runs: `all`, `probe` (probes alone) or `no-probe` (everything but probes).",
    ),
    integer("worker.concurrency", 1, 256, Fixed("2"), "Jobs that one process runs at once."),
    integer("worker.poll_milliseconds", 10, 60_000, Fixed("500"), "Pause before an idle worker looks for jobs again."),
    integer("worker.lease_seconds", 5, 3600, Fixed("60"), "How long a job stays claimed without a sign of life."),
    integer(
        "probe.memory_limit_bytes",
        1 << 26,
        1 << 46,
        Fixed("8589934592"),
        "Memory that one probe may use; larger models are inconclusive.",
    ),
    integer("probe.wall_limit_seconds", 1, DAY_SECONDS, Fixed("600"), "Time that one probe may take."),
    integer("probe.threads", 1, 1024, Derived, "Most threads of one probe; by default one for each core."),
    integer(
        "probe.total_memory_bytes",
        1 << 26,
        1 << 50,
        Derived,
        "Memory that the probes of one process may take together, by estimate; by default three quarters of the machine's.",
    ),
    integer(
        "probe.namespace_concurrency",
        0,
        10_000,
        Fixed("2"),
        "Probes of one namespace that run at once, over all processes; 0 for any number.",
    ),
    key(
        "probe.reprobe_on_upgrade",
        Flag,
        Fixed("true"),
        "Whether heads are probed again, behind everything else, when another version of the engine made their report.",
    ),
    key("gate.policy_dir", Text, Absent, "Folder with policies and their data; without it the built-in ones apply."),
    key(
        "gate.trusted_keys",
        NamedFiles,
        Fixed(""),
        "Public keys (PEM files) whose signatures make a model trusted, each with a name.",
    ),
    key(
        "trust.policy",
        Text,
        Absent,
        "Trust policy (YAML or JSON); without it one signature by any configured key or authority is enough.",
    ),
    key(
        "trust.roots",
        NamedFiles,
        Fixed(""),
        "Certificate authorities (PEM) and sigstore instances (trusted_root.json), each with a name.",
    ),
    key(
        "trust.public_good",
        Flag,
        Fixed("true"),
        "Whether sigstore's public instance, as of this release, is a root called `public-good`.",
    ),
    key(
        "trust.revocation_keys",
        NamedFiles,
        Fixed(""),
        "Public keys (PEM files) that may sign revocation lists, each with a name.",
    ),
    key(
        "trust.crls",
        NamedFiles,
        Fixed(""),
        "Revocation lists (RFC 5280, PEM or DER) of the certificate authorities in `trust.roots`, each with a name.",
    ),
    integer("trust.root_age_warning_days", 1, 3650, Fixed("90"), "Age from which on a trust root is warned about."),
    key(
        "license.catalog_dir",
        Text,
        Absent,
        "Folder with license rows (.json) and texts (ID.txt) that extend or change the built-in catalog.",
    ),
    key("log.format", Text, Fixed("text"), "`text` or `json`."),
    key("log.level", Text, Fixed("info"), "Level, or levels by module."),
    key("keys.dir", Text, Derived, "Folder of the private keys; by default `keys` in the data folder."),
];

//! `keys`: the registry's private keys, their files and their succession.
//!
//! A rotation writes the new key beside the old one, lets the database name it as the
//! successor, and only then moves it into the old one's place. Whoever finds it half done knows
//! from the database which of the two is in force, and ends it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use registry_core::{InstanceKeys, KeyDocuments, KeyPurpose, is_key_in_force};

use super::layout::Sheet;
use super::output::{self, CliError, note, read_small};
use crate::config::{Config, ConfigArguments, Loaded};
use crate::v1::wire::RegistryKey;

/// Largest key file, in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// List the registry's public keys and since when they hold
    Show(Show),
    /// Let a new key take the place of one; what the old one signed goes on being verified.
    ///
    /// Running processes that share the key's file sign nothing more until they are started again
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Which key
    purpose: Purpose,
    #[command(flatten)]
    config: ConfigArguments,
    /// Print one JSON document: the keys afterwards
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    /// Signs the heads of the audit log
    Checkpoint,
    /// Signs the registry's statements
    Statement,
}

impl From<Purpose> for KeyPurpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Checkpoint => Self::Checkpoint,
            Purpose::Statement => Self::Statement,
        }
    }
}

impl Keys {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        super::serve::runtime()?.block_on(async {
            match self {
                Self::Show(show) => show.run().await,
                Self::Rotate(rotate) => rotate.run().await,
            }
        })
    }
}

impl Show {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let registry = super::serve::open(&Loaded::read(&self.config)?.config).await?;
        print(&RegistryKey::list(registry.keys().await?), self.json)
    }
}

impl Rotate {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let (config, purpose) = (Loaded::read(&self.config)?.config, self.purpose.into());
        let registry = super::serve::open(&config).await?;
        let files = Files { folder: &config.keys.dir, purpose };
        let ending = in_force(&RegistryKey::list(registry.keys().await?), purpose);
        let successor = files.prepare_successor(&ending)?;
        registry.rotate_key(purpose, &successor).await?;
        files.put_successor_in_place()?;
        let keys = RegistryKey::list(registry.keys().await?);
        let current = in_force(&keys, purpose);
        note(&format!("the {} key is now {current}; start every server and worker again", purpose.as_str()));
        print(&keys, self.json)
    }
}

/// The id of the key in force.
fn in_force(keys: &[RegistryKey], purpose: KeyPurpose) -> String {
    let current = keys.iter().find(|key| key.purpose == purpose.as_str() && key.valid_to.is_none());
    current.map(|key| key.id.clone()).unwrap_or_default()
}

fn print(keys: &[RegistryKey], json: bool) -> Result<ExitCode, CliError> {
    if json {
        return output::json(&keys);
    }
    let mut sheet = Sheet::default();
    for key in keys {
        sheet.heading(&format!("{} key {}", key.purpose, key.id));
        sheet.row("since", &key.valid_from);
        sheet.row("until", key.valid_to.as_deref().unwrap_or("in force"));
        sheet.optional_row("verifier", key.note_verifier.as_deref());
        for line in key.public_key.lines() {
            sheet.note(line);
        }
    }
    output::text(&sheet.into_text())?;
    Ok(ExitCode::SUCCESS)
}

/// The registry's keys, made at first start, readable by their owner alone.
pub(super) async fn load(config: &Config) -> Result<InstanceKeys, CliError> {
    let folder = &config.keys.dir;
    fs_err::create_dir_all(folder).map_err(|error| CliError::Io("cannot use the key folder".into(), error))?;
    let origin = folder.join("log-origin");
    let [checkpoint, statement] = KeyPurpose::ALL.map(|purpose| Files { folder, purpose });
    if !checkpoint.current().exists() {
        create_private(&origin, format!("weighhouse/{}", uuid::Uuid::new_v4()).as_bytes())?;
    }
    for files in [&checkpoint, &statement] {
        files.end_rotation(config).await?;
    }
    let documents = KeyDocuments { checkpoint: checkpoint.read_or_create()?, statement: statement.read_or_create()? };
    let origin = read_small(&origin, MAX_KEY_BYTES)?;
    Ok(InstanceKeys::new(&documents, String::from_utf8_lossy(&origin).trim())?)
}

/// The files of one key.
struct Files<'a> {
    folder: &'a Path,
    purpose: KeyPurpose,
}

impl Files<'_> {
    fn current(&self) -> PathBuf {
        self.folder.join(format!("{}.pk8", self.purpose.as_str()))
    }

    fn successor(&self) -> PathBuf {
        self.folder.join(format!("{}.next.pk8", self.purpose.as_str()))
    }

    fn read_or_create(&self) -> Result<Vec<u8>, CliError> {
        let path = self.current();
        if !path.exists() {
            create_private(&path, &self.purpose.generate()?)?;
        }
        read_small(&path, MAX_KEY_BYTES)
    }

    /// Keeps the key that ends under its id and writes the one that begins, or finds it where a
    /// rotation broke off before anyone knew of it.
    fn prepare_successor(&self, ending: &str) -> Result<Vec<u8>, CliError> {
        let kept = self.folder.join(format!("{}-{ending}.pk8", self.purpose.as_str()));
        create_private(&kept, &read_small(&self.current(), MAX_KEY_BYTES)?)?;
        create_private(&self.successor(), &self.purpose.generate()?)?;
        read_small(&self.successor(), MAX_KEY_BYTES)
    }

    /// Another process that starts in this moment may be faster.
    fn put_successor_in_place(&self) -> Result<(), CliError> {
        let failed = |error| CliError::Io("cannot put the new key in its place".into(), error);
        match fs_err::rename(self.successor(), self.current()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        sync(self.folder).map_err(failed)
    }

    /// Where a rotation broke off after the database knew of it, it is ended.
    async fn end_rotation(&self, config: &Config) -> Result<(), CliError> {
        if !self.successor().exists() {
            return Ok(());
        }
        let successor = read_small(&self.successor(), MAX_KEY_BYTES)?;
        let db = registry_core::connect(config.database.url.expose()).await?;
        if is_key_in_force(&db, self.purpose, &successor).await? {
            self.put_successor_in_place()?;
        }
        Ok(())
    }
}

/// The file is whole or not there: a process that dies on the way must not leave half a key.
/// Where another process was faster, its key stands.
fn create_private(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let failed = |error| CliError::Io("cannot write a key".into(), error);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(failed)?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    match file.persist_noclobber(path) {
        Err(refused) if refused.error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(refused.error)),
        _ => {}
    }
    sync(folder).map_err(failed)
}

fn sync(folder: &Path) -> io::Result<()> {
    fs_err::File::open(folder).and_then(|folder| folder.sync_all())
}

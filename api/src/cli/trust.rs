//! `trust`: whom the registry trusts, what was revoked, and what another policy would deny.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use registry_core::{DryRunItem, DryRunPage, RevocationListInfo, TrustRootInfo, TrustSettings};
use serde::Serialize;
use verifier::provenance::oms::{SigningKey, TrustedKey};
use verifier::provenance::revocation::{Crl, CrlError, NamedCrl};
use verifier::provenance::trust::{TrustPolicy, TrustVerdict};
use verifier::provenance::{TrustRoot, revocation};

use super::client::Client;
use super::layout::{Sheet, table};
use super::output::{self, CliError, read_small};
use super::units::grouped;
use super::{Remote, serve};
use crate::config::{self, Config};
use crate::v1::trust::{DryRun, ImportRoot, TrustPolicyView, TrustRoots};

/// Largest key, policy or root, in bytes.
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;
/// Largest signed revocation list, in bytes.
const MAX_LIST_BYTES: u64 = 2 << 20;
/// Largest certificate revocation list, in bytes.
const MAX_CRL_BYTES: u64 = 4 << 20;
/// Models asked about at once.
const PAGE: u64 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// Print the policy in force, or check a file without a server
    Policy(Policy),
    /// Hold a policy against the whole catalog; exit 0 when it denies nothing, 1 when it does
    DryRun(Try),
    /// List the trust roots in force
    Roots(Roots),
    /// Import a trust root whose digest you learned over another way
    ImportRoot(Import),
    /// Show the revocation list in force
    Revocations(Revocations),
    /// Sign a revocation list; needs no server
    SignRevocations(Sign),
    /// Import a signed revocation list
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Policy {
    /// A policy to check, in YAML or JSON
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Try {
    /// The policy, in YAML or JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where it would apply [default: the token's environment]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Roots {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The name that trust policies call it by
    name: String,
    /// sigstore's trusted_root.json, a client trust configuration, or certificates in PEM
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The digest that you confirm, as 64 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    sha256: String,
    /// Forget what older documents of this name held
    #[arg(long)]
    replace: bool,
    /// A private sigstore instance that runs no transparency log
    #[arg(long)]
    without_log: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Revocations {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The list as JSON; docs/provenance.md shows one
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Your private key (PEM, ECDSA P-256)
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// Write to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The signed list
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Trust {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        match self {
            Self::Policy(policy) => policy.run(),
            Self::SignRevocations(sign) => sign.run(),
            online => serve::runtime()?.block_on(online.run_online()),
        }
    }

    async fn run_online(&self) -> Result<ExitCode, CliError> {
        match self {
            Self::DryRun(run) => run.run().await,
            Self::Roots(roots) => roots.run().await,
            Self::ImportRoot(import) => import.run().await,
            Self::Revocations(revocations) => revocations.run().await,
            Self::Revoke(revoke) => revoke.run().await,
            Self::Policy(_) | Self::SignRevocations(_) => Ok(ExitCode::SUCCESS),
        }
    }
}

impl Policy {
    fn run(&self) -> Result<ExitCode, CliError> {
        let view = match &self.file {
            Some(file) => view(&parse(file)?),
            None => serve::runtime()?
                .block_on(async { Client::new(&self.remote)?.get::<TrustPolicyView>(&["trust", "policy"]).await })?,
        };
        if self.json {
            return output::json(&view);
        }
        let policy = TrustPolicy::parse(&view.document).map_err(|error| CliError::Protocol(error.to_string()))?;
        let mut sheet = Sheet::default();
        sheet.heading("The trust policy");
        sheet.row("digest", &view.digest);
        for policy in policy.policies() {
            let scope: Vec<String> = policy.scope.iter().map(ToString::to_string).collect();
            let asked: Vec<&str> = policy.require.iter().map(|requirement| requirement.id.as_str()).collect();
            sheet.row(&policy.name, &format!("{} must have: {}", scope.join(", "), asked.join(", ")));
        }
        output::text(&sheet.into_text())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn view(policy: &TrustPolicy) -> TrustPolicyView {
    TrustPolicyView { digest: policy.digest().to_owned(), document: policy.to_json() }
}

fn parse(file: &Path) -> Result<TrustPolicy, CliError> {
    TrustPolicy::parse(&read_text(file)?).map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))
}

fn read_text(file: &Path) -> Result<String, CliError> {
    let bytes = read_small(file, MAX_DOCUMENT_BYTES)?;
    String::from_utf8(bytes).map_err(|_| CliError::Usage(format!("{} is no text", file.display())))
}

/// What a dry run comes to.
#[derive(Debug, Default, Serialize)]
struct Tried {
    models: u64,
    /// Models whose provenance has not been judged yet.
    unjudged: u64,
    would_be_trusted: u64,
    would_be_denied: u64,
    /// Models whose verdict would change, or that would not be trusted.
    items: Vec<DryRunItem>,
}

impl Try {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let policy = read_text(&self.file)?;
        parse(&self.file)?;
        let client = Client::new(&self.remote)?;
        let mut tried = Tried::default();
        let mut cursor = None;
        loop {
            let environment = self.environment.clone();
            let body = DryRun { policy: policy.clone(), environment, limit: Some(PAGE), cursor };
            let page: DryRunPage = client.post(&["trust", "dry-run"], &body).await?;
            tried.add(page.items, page.unjudged);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            output::note(&format!("{} models judged", grouped(tried.models)));
        }
        if self.json {
            output::json(&tried)?;
        } else {
            output::text(&tried.text())?;
        }
        Ok(ExitCode::from(u8::from(tried.would_be_denied > 0)))
    }
}

impl Tried {
    fn add(&mut self, items: Vec<DryRunItem>, unjudged: u64) {
        self.models += items.len() as u64 + unjudged;
        self.unjudged += unjudged;
        for item in items {
            let trusted = item.then == TrustVerdict::Trusted;
            self.would_be_trusted += u64::from(trusted);
            self.would_be_denied += u64::from(!trusted);
            if !trusted || item.now != item.then {
                self.items.push(item);
            }
        }
    }

    fn text(&self) -> String {
        let mut sheet = Sheet::default();
        sheet.heading("What the policy would say");
        sheet.row("models", &grouped(self.models));
        sheet.row("trusted", &grouped(self.would_be_trusted));
        sheet.row("not trusted", &grouped(self.would_be_denied));
        sheet.row("not judged yet", &grouped(self.unjudged));
        let row = |item: &DryRunItem| {
            let verdicts = [item.now.as_str().to_owned(), item.then.as_str().to_owned()];
            let [now, then] = verdicts;
            vec![item.model.clone(), now, then, item.policy.clone().unwrap_or_default(), item.codes.join(", ")]
        };
        if self.items.is_empty() {
            return sheet.into_text();
        }
        let rows: Vec<Vec<String>> = self.items.iter().map(row).collect();
        format!("{}\n{}", sheet.into_text(), table(&["MODEL", "NOW", "THEN", "POLICY", "WHY"], &rows))
    }
}

impl Roots {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let roots: TrustRoots = Client::new(&self.remote)?.get(&["trust", "roots"]).await?;
        if self.json {
            return output::json(&roots);
        }
        let rows: Vec<Vec<String>> = roots.items.iter().map(root_row).collect();
        output::text(&table(&["NAME", "KIND", "AS OF", "AGE", "SHA-256"], &rows))?;
        for root in roots.items.iter().filter(|root| root.aging) {
            output::note(&format!("{} is old: import a newer document of it", root.name));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn root_row(root: &TrustRootInfo) -> Vec<String> {
    let age = root.age_days.map(|days| format!("{days} days"));
    let as_of = root.as_of.clone().unwrap_or_default();
    vec![root.name.clone(), root.kind.clone(), as_of, age.unwrap_or_default(), root.sha256.clone()]
}

impl Import {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let body = ImportRoot {
            name: self.name.clone(),
            document: read_text(&self.file)?,
            sha256: self.sha256.trim_start_matches("sha256:").to_owned(),
            replace: self.replace,
            without_log: self.without_log,
        };
        let root: TrustRootInfo = Client::new(&self.remote)?.create(&["trust", "roots"], &body).await?;
        if self.json {
            return output::json(&root);
        }
        let line =
            format!("{} is in force as sha256:{}, its document number {}", root.name, root.sha256, root.versions);
        output::done(&line, None)
    }
}

impl Revocations {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let list: RevocationListInfo = Client::new(&self.remote)?.get(&["trust", "revocations"]).await?;
        if self.json { output::json(&list) } else { print(&list) }
    }
}

impl Revoke {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let bundle = read_small(&self.file, MAX_LIST_BYTES)?;
        let client = Client::new(&self.remote)?;
        let list: RevocationListInfo = client.post_bytes(&["trust", "revocations"], bundle).await?;
        if self.json { output::json(&list) } else { print(&list) }
    }
}

fn print(list: &RevocationListInfo) -> Result<ExitCode, CliError> {
    let mut sheet = Sheet::default();
    sheet.heading("The revocation list in force");
    sheet.row("number", &grouped(list.number));
    sheet.row("issued", &format!("{} by {}", list.issued_at, list.issuer));
    sheet.row("entries", &grouped(list.entries as u64));
    sheet.row("imported", &format!("{} by {}", list.imported_at, list.imported_by));
    for withdrawn in &list.withdrawn {
        sheet.note(&format!("no longer revoked: {withdrawn}"));
    }
    output::text(&sheet.into_text())?;
    Ok(ExitCode::SUCCESS)
}

impl Sign {
    fn run(&self) -> Result<ExitCode, CliError> {
        let document = read_small(&self.file, MAX_LIST_BYTES)?;
        let unusable = |what: &Path, error: String| CliError::Usage(format!("{}: {error}", what.display()));
        let key =
            SigningKey::from_pem(&read_text(&self.key)?).map_err(|error| unusable(&self.key, error.to_string()))?;
        let signed =
            revocation::sign_document(&document, &key).map_err(|error| unusable(&self.file, error.to_string()))?;
        output::deliver(&String::from_utf8_lossy(&signed), self.output.as_deref())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What the configuration says of trust.
pub(super) fn settings(config: &Config) -> Result<TrustSettings, CliError> {
    let mut roots = Vec::new();
    if config.trust.public_good {
        roots.push(TrustRoot::public_good().map_err(|error| CliError::Usage(error.to_string()))?);
    }
    for named in &config.trust.roots {
        let document = read_small(&named.path, MAX_DOCUMENT_BYTES)?;
        let unusable = |error| CliError::Usage(format!("the trust root {} is not usable: {error}", named.name));
        roots.retain(|root| root.name() != named.name);
        roots.push(TrustRoot::parse(&named.name, &document).map_err(unusable)?);
    }
    let crls = crls(&config.trust.crls, &roots)?;
    Ok(TrustSettings {
        keys: keys(&config.gate.trusted_keys)?,
        roots,
        policy: match &config.trust.policy {
            Some(file) => parse(file)?,
            None => TrustPolicy::of_configured_signers(),
        },
        revocation_keys: keys(&config.trust.revocation_keys)?,
        crls,
        root_age_warning_days: config.trust.root_age_warning_days,
    })
}

fn keys(named: &[config::NamedFile]) -> Result<Vec<TrustedKey>, CliError> {
    let read = |key: &config::NamedFile| {
        TrustedKey::from_pem(&key.name, &read_text(&key.path)?)
            .map_err(|error| CliError::Usage(format!("the trusted key {} is not usable: {error}", key.name)))
    };
    named.iter().map(read).collect()
}

/// Lists that one of the configured authorities signed.
fn crls(named: &[config::NamedFile], roots: &[TrustRoot]) -> Result<Arc<[NamedCrl]>, CliError> {
    let authorities: Vec<&[u8]> = roots.iter().flat_map(TrustRoot::certificates).collect();
    let read = |file: &config::NamedFile| {
        let bytes = read_small(&file.path, MAX_CRL_BYTES)?;
        let unusable = |error: CrlError| CliError::Usage(format!("the list {} is not usable: {error}", file.name));
        let list = Crl::verify(&bytes, &authorities).map_err(unusable)?;
        if list.next_update < Timestamp::now() {
            tracing::warn!(
                list = file.name,
                due = %list.next_update,
                "a certificate revocation list is out of date: what its authority revoked since is not known here"
            );
        }
        Ok(NamedCrl { name: file.name.clone(), list })
    };
    named.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigArguments, Loaded};

    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../verifier/tests/data/crl");

    fn configured(root: &str, list: &str) -> Result<TrustSettings, CliError> {
        let assignments =
            vec![format!("trust.roots=acme-ca={FOLDER}/{root}"), format!("trust.crls=acme={FOLDER}/{list}")];
        settings(&Loaded::read(&ConfigArguments { file: None, assignments }).unwrap().config)
    }

    #[test]
    fn lists_of_configured_authorities_are_read_under_their_names() {
        let crls = configured("ca.pem", "crl.pem").unwrap().crls;
        assert_eq!(crls.iter().map(|crl| (crl.name.as_str(), crl.list.len())).collect::<Vec<_>>(), [("acme", 2)]);
    }

    #[test]
    fn list_that_no_configured_authority_signed_is_refused_by_name() {
        for (root, reason) in [("other.pem", "no certificate is given"), ("same-name.pem", "does not verify")] {
            let message = configured(root, "crl.pem").unwrap_err().to_string();
            assert!(message.contains("the list acme is not usable") && message.contains(reason), "{message}");
        }
        let message = configured("ca.pem", "ca.pem").unwrap_err().to_string();
        assert!(message.contains("not a certificate revocation list"), "{message}");
    }
}

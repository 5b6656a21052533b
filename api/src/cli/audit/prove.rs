//! Proofs that are checked here: nothing that a server says is believed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;
use verifier::provenance::transparency::proof::{ConsistencyProof, LARGEST_PROOF, ProofFileError};
use verifier::provenance::transparency::{Checkpoint, InclusionProof, NoteVerifier, Rotation};

use super::super::Remote;
use super::super::client::Client;
use super::super::layout::Sheet;
use super::super::output::{self, CliError, note, read_small};
use super::super::units::grouped;
use super::{Verify, read_note};
use crate::v1::wire::{ConsistencyQuery, RegistryKey};

/// Largest leaf, in bytes.
const MAX_LEAF_BYTES: u64 = 1 << 20;
/// Largest proof or file of keys, in bytes.
const MAX_PROOF_BYTES: u64 = LARGEST_PROOF as u64;

#[derive(Debug, Args)]
pub(in super::super) struct Proof {
    /// The event's id, as `GET /v1/audit/events` lists it
    event: String,
    /// Write the proof to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the leaf, what the log has of the event, to this file
    #[arg(long, value_name = "FILE")]
    leaf_out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(in super::super) struct CheckProof {
    /// A C2SP `.tlog-proof`
    file: PathBuf,
    /// What is to be in the log
    #[arg(long, value_name = "FILE")]
    leaf: PathBuf,
    /// The log's key, or a file with one on each line
    #[arg(long, value_name = "KEY|FILE")]
    log_key: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in super::super) struct Consistency {
    /// The old head
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Write it to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

impl Proof {
    pub(super) async fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        let text = client.get_text(&["audit", "events", &self.event, "proof"], &()).await?;
        let proof = InclusionProof::parse(&text);
        let proof = proof.map_err(|error| CliError::Protocol(format!("the server's answer: {error}")))?;
        if let Some(path) = &self.leaf_out {
            let leaf = client.get_text(&["audit", "events", &self.event, "leaf"], &()).await?;
            fs_err::write(path, leaf)?;
            note(&format!("wrote {}", path.display()));
        }
        if let Some(path) = &self.out {
            fs_err::write(path, &text)?;
            note(&format!("the proof of leaf {} is in {}", grouped(proof.index), path.display()));
        }
        if self.json {
            return output::json(&serde_json::json!({ "event": self.event, "index": proof.index, "proof": text }));
        }
        if self.out.is_none() {
            output::text(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Consistency {
    pub(super) async fn run(&self) -> Result<ExitCode, CliError> {
        let old = unverified_head(&self.from)?;
        let proof = fetch(&Client::new(&self.remote)?, old.size).await?;
        let document = serde_json::to_string(&proof).map_err(|error| CliError::Protocol(error.to_string()))?;
        output::deliver(&format!("{document}\n"), self.out.as_deref())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl CheckProof {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let keys = log_keys(&self.log_key)?;
        let leaf = read_small(&self.leaf, MAX_LEAF_BYTES)?;
        let text = read_small(&self.file, MAX_PROOF_BYTES)?;
        let proof = InclusionProof::parse(&String::from_utf8_lossy(&text));
        let proof = proof.map_err(|error| CliError::Usage(format!("{}: {error}", self.file.display())))?;
        let head = proof.verify(&leaf, &keys);
        Outcome::of(&head, Some(proof.index), None).print("The leaf is in the log", self.json)
    }
}

/// `audit verify --from`: the log grew out of an old head.
pub(super) async fn growth(verify: &Verify, old: &Path) -> Result<ExitCode, CliError> {
    let note = read_note(old)?;
    let old = unverified_head(old)?;
    let given = verify.log_key.as_deref().map(log_keys).transpose()?;
    let (proof, keys) = if let (Some(path), Some(keys)) = (&verify.consistency, &given) {
        (read_proof(path)?, keys.clone())
    } else {
        let client = Client::new(&verify.remote)?;
        let known: Vec<RegistryKey> = client.get(&["audit", "keys"]).await?;
        let anchors = given.unwrap_or_else(|| signers(&note, &known));
        (fetch(&client, old.size).await?, with_successors(anchors, &known))
    };
    let head = Checkpoint::open_by_any(&note, &keys).map_err(ProofFileError::from);
    let head = head.and_then(|old| proof.verify(&old, &keys));
    Outcome::of(&head, None, Some(old.size)).print("The log grew out of the old head", verify.json)
}

async fn fetch(client: &Client, from: u64) -> Result<ConsistencyProof, CliError> {
    client.get_with(&["audit", "consistency"], &ConsistencyQuery { from, to: None }).await
}

fn read_proof(path: &Path) -> Result<ConsistencyProof, CliError> {
    let document = read_small(path, MAX_PROOF_BYTES)?;
    serde_json::from_slice(&document)
        .map_err(|error| CliError::Usage(format!("{} is not a consistency proof: {error}", path.display())))
}

/// The head that a file states, to know which proof is wanted. Who signed it is checked later.
fn unverified_head(path: &Path) -> Result<Checkpoint, CliError> {
    let note = read_note(path)?;
    let text = note.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
    Checkpoint::parse(&text).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
}

/// A key as it is, or the keys in a file.
fn log_keys(given: &str) -> Result<Vec<NoteVerifier>, CliError> {
    if let Ok(key) = NoteVerifier::parse(given.trim()) {
        return Ok(vec![key]);
    }
    let unusable =
        |what: &str| CliError::Usage(format!("{given} is neither a log's key nor a file with such keys: {what}"));
    let text = read_small(Path::new(given), MAX_PROOF_BYTES).map_err(|error| unusable(&error.to_string()))?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<_> =
        lines.map(NoteVerifier::parse).collect::<Result<_, _>>().map_err(|error| unusable(&error.to_string()))?;
    if keys.is_empty() { Err(unusable("it is empty")) } else { Ok(keys) }
}

fn verifier(key: &RegistryKey) -> Option<NoteVerifier> {
    NoteVerifier::parse(key.note_verifier.as_deref()?).ok()
}

/// Which of the server's keys signed a note that is trusted already.
fn signers(note: &str, known: &[RegistryKey]) -> Vec<NoteVerifier> {
    known.iter().filter_map(verifier).filter(|key| Checkpoint::open(note, key).is_ok()).collect()
}

/// The keys that trusted ones named as their successors, beside them.
fn with_successors(mut trusted: Vec<NoteVerifier>, known: &[RegistryKey]) -> Vec<NoteVerifier> {
    let keys: Vec<_> = known.iter().filter_map(|key| Some((verifier(key)?, key))).collect();
    for pair in keys.windows(2) {
        let [(before, _), (key, stated)] = pair else { continue };
        if trusted.contains(before) && !trusted.contains(key) && names(before, key, stated) {
            trusted.push(key.clone());
        }
    }
    trusted
}

fn names(before: &NoteVerifier, key: &NoteVerifier, stated: &RegistryKey) -> bool {
    let Some(rotation) = &stated.rotation else { return false };
    let at = rotation.text.lines().last().and_then(|line| line.parse().ok());
    let signature = STANDARD.decode(&rotation.signature).ok();
    let (Some(at), Some(signature)) = (at, signature) else { return false };
    let (from, to) = (hex::encode(before.public_key_der()), hex::encode(key.public_key_der()));
    let expected = Rotation { purpose: "checkpoint", origin: before.name(), from: &from, to: &to, at };
    before.name() == key.name() && expected.is_signed_by_the_old_key(&signature)
}

/// What was proven, or why it was not.
#[derive(Debug, Serialize)]
struct Outcome {
    proven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tree_size: Option<u64>,
    /// Hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    root_hash: Option<String>,
}

impl Outcome {
    fn of(head: &Result<Checkpoint, ProofFileError>, index: Option<u64>, from: Option<u64>) -> Self {
        let proven = head.as_ref().ok();
        Self {
            proven: proven.is_some(),
            reason: head.as_ref().err().map(reason),
            index,
            from,
            origin: proven.map(|head| head.origin.clone()),
            tree_size: proven.map(|head| head.size),
            root_hash: proven.map(|head| hex::encode(head.root)),
        }
    }

    fn print(&self, claim: &str, json: bool) -> Result<ExitCode, CliError> {
        if json {
            output::json(self)?;
        } else {
            output::text(&self.render(claim))?;
        }
        Ok(ExitCode::from(u8::from(!self.proven)))
    }

    fn render(&self, claim: &str) -> String {
        let mut sheet = Sheet::default();
        sheet.heading(&if self.proven { claim.to_owned() } else { format!("NOT proven: {}", claim.to_lowercase()) });
        sheet.optional_row("reason", self.reason.as_deref());
        sheet.optional_row("log", self.origin.as_deref());
        sheet.optional_row("leaf", self.index.map(grouped).as_deref());
        sheet.optional_row("events then", self.from.map(grouped).as_deref());
        sheet.optional_row("events", self.tree_size.map(grouped).as_deref());
        sheet.optional_row("root", self.root_hash.as_deref());
        sheet.into_text()
    }
}

fn reason(error: &ProofFileError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use verifier::provenance::transparency::NoteSigner;

    use super::*;

    const ORIGIN: &str = "registry.example.org/audit";

    fn signer() -> NoteSigner {
        NoteSigner::from_pkcs8(ORIGIN, &NoteSigner::generate_pkcs8().unwrap()).unwrap()
    }

    fn listed(key: &NoteSigner, named_by: Option<&NoteSigner>) -> RegistryKey {
        let der = |key: &NoteSigner| hex::encode(key.verifier().unwrap().public_key_der());
        let rotation = named_by.map(|before| {
            let (from, to) = (der(before), der(key));
            let text = Rotation { purpose: "checkpoint", origin: ORIGIN, from: &from, to: &to, at: 7 }.text();
            let signature = STANDARD.encode(before.sign_bytes(text.as_bytes()));
            crate::v1::wire::KeyRotation { text, signature }
        });
        RegistryKey {
            id: String::new(),
            purpose: "checkpoint".into(),
            public_key: String::new(),
            note_verifier: Some(key.verifier().unwrap().to_string()),
            valid_from: String::new(),
            valid_to: None,
            rotation,
        }
    }

    #[test]
    fn trust_goes_from_a_key_to_the_one_it_named_and_to_no_other() {
        let keys = [signer(), signer(), signer()];
        let trusted = |known: &[RegistryKey]| with_successors(vec![keys[0].verifier().unwrap()], known).len();
        let [first, second, third] =
            [listed(&keys[0], None), listed(&keys[1], Some(&keys[0])), listed(&keys[2], Some(&keys[1]))];
        assert_eq!(trusted(&[first.clone(), second.clone(), third.clone()]), 3);
        assert_eq!(trusted(&[first.clone(), third.clone()]), 1, "a key in between was left out");
        let foreign = listed(&keys[1], Some(&signer()));
        assert_eq!(trusted(&[first.clone(), foreign, third]), 1, "another key named it");
        assert_eq!(trusted(&[first, listed(&keys[1], None)]), 1, "none named it");
    }

    #[test]
    fn keys_are_taken_as_they_are_or_from_a_file() {
        let keys = [signer(), signer()].map(|key| key.verifier().unwrap());
        assert_eq!(log_keys(&keys[0].to_string()).unwrap(), keys[..1]);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert!(log_keys(path).is_err(), "an empty file trusts nobody");
        fs_err::write(path, format!("{}\n\n{}\n", keys[0], keys[1])).unwrap();
        assert_eq!(log_keys(path).unwrap(), keys);
        fs_err::write(path, "nonsense").unwrap();
        assert!(log_keys(path).is_err());
        assert!(log_keys("/nowhere").is_err());
    }
}

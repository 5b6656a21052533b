//! Proofs as files: what someone keeps beside a leaf to show years later that it was logged.
//!
//! After C2SP `tlog-proof`: one text with the leaf's index, the hashes beside its path and the
//! checkpoint that they lead to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::merkle::{self, Hash, VerificationError};
use super::note::{Checkpoint, NoteError, NoteVerifier};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Largest proof that is read, in bytes; one of a log of a billion leaves is two thousand.
pub const LARGEST_PROOF: usize = 128 * 1024;
/// A path has at most as many hashes as an index has bits.
const MOST_HASHES: usize = 64;

/// Why a proof was not read, or does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    #[error("this is not a proof of a log: {0}")]
    Malformed(&'static str),
    #[error("the proof is between other heads than these")]
    OtherHeads,
    #[error("the later log does not begin with the earlier one")]
    Consistency(#[source] VerificationError),
    #[error("the proof's checkpoint is not the log's")]
    Checkpoint(#[from] NoteError),
    #[error("the proof does not hold for this leaf")]
    Inclusion(#[from] VerificationError),
}

/// That a log still begins with everything it held at an earlier head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsistencyProof {
    /// Leaves of the earlier log.
    pub from: u64,
    /// Leaves of the later log.
    pub to: u64,
    /// RFC 6962, 2.1.2; each 32 bytes in base64.
    pub hashes: Vec<String>,
    /// The log's own head of the earlier size, where it signed one.
    pub from_checkpoint: Option<String>,
    /// The head of the later size, a C2SP signed note.
    pub to_checkpoint: String,
}

impl ConsistencyProof {
    /// Proves that the log of one of these keys grew out of the one that `old` is the head of.
    /// Returns the later head.
    pub fn verify(&self, old: &Checkpoint, verifiers: &[NoteVerifier]) -> Result<Checkpoint, ProofFileError> {
        let new = Checkpoint::open_by_any(&self.to_checkpoint, verifiers)?;
        if new.origin != old.origin || self.from != old.size || self.to != new.size {
            return Err(ProofFileError::OtherHeads);
        }
        if self.hashes.len() > 2 * MOST_HASHES {
            return Err(ProofFileError::Malformed("it has more than 128 hashes"));
        }
        let hashes = self.hashes.iter().map(|hash| parse_hash(hash)).collect::<Option<Vec<_>>>();
        let hashes = hashes.ok_or(ProofFileError::Malformed("a hash is not 32 bytes in base64"))?;
        merkle::verify_consistency(old.size, new.size, &hashes, &old.root, &new.root)
            .map_err(ProofFileError::Consistency)?;
        Ok(new)
    }
}

/// A leaf's place in the log, provable from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Zero-based.
    pub index: u64,
    /// From the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed note that the hashes lead to.
    pub checkpoint: String,
}

impl InclusionProof {
    /// Reads the text form; proves nothing yet. Extra data is skipped: nothing vouches for it.
    pub fn parse(text: &str) -> Result<Self, ProofFileError> {
        let malformed = ProofFileError::Malformed;
        if text.len() > LARGEST_PROOF {
            return Err(malformed("it is larger than 128 KiB"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("the first line is another"));
        }
        if let Some(extra) = lines.next_if(|line| line.starts_with("extra ")) {
            STANDARD.decode(&extra["extra ".len()..]).map_err(|_| malformed("the extra data is not base64"))?;
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(malformed("it has no index"))?;
        let index = decimal(index).ok_or(malformed("the index is not a plain number"))?;
        let hashes = lines.map(parse_hash).collect::<Option<Vec<_>>>();
        let hashes = hashes.ok_or(malformed("a hash is not 32 bytes in base64"))?;
        if hashes.len() > MOST_HASHES {
            return Err(malformed("it has more than 64 hashes"));
        }
        Ok(Self { index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Proves that `leaf` is in the log of one of these keys. Returns the head that says so.
    pub fn verify(&self, leaf: &[u8], verifiers: &[NoteVerifier]) -> Result<Checkpoint, ProofFileError> {
        let head = Checkpoint::open_by_any(&self.checkpoint, verifiers)?;
        merkle::verify_inclusion(&merkle::leaf_hash(leaf), self.index, head.size, &self.hashes, &head.root)?;
        Ok(head)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{HEADER}\nindex {}", self.index)?;
        for hash in &self.hashes {
            writeln!(formatter, "{}", STANDARD.encode(hash))?;
        }
        write!(formatter, "\n{}", self.checkpoint)
    }
}

/// A number without sign or leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

fn parse_hash(line: &str) -> Option<Hash> {
    STANDARD.decode(line).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::frontier::Frontier;
    use super::super::merkle::Node;
    use super::super::note::NoteSigner;
    use super::*;

    const ORIGIN: &str = "registry.example.org/audit";

    struct Log {
        key: Vec<u8>,
        signer: NoteSigner,
        leaves: Vec<Vec<u8>>,
    }

    impl Log {
        fn new(size: u8) -> Self {
            let key = NoteSigner::generate_pkcs8().unwrap();
            let signer = NoteSigner::from_pkcs8(ORIGIN, &key).unwrap();
            Self { key, signer, leaves: (0..size).map(|number| vec![number]).collect() }
        }

        fn verifiers(&self) -> [NoteVerifier; 1] {
            [self.signer.verifier().unwrap()]
        }

        /// The first `size` leaves' tree and head; the proof is for later.
        fn head(&self, size: usize) -> InclusionProof {
            let leaves: Vec<Hash> = self.leaves[..size].iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
            let head = Checkpoint { origin: ORIGIN.to_owned(), size: size as u64, root: merkle::root(&leaves) };
            let checkpoint = head.sign(&self.signer).unwrap().to_string();
            InclusionProof { index: 0, hashes: Vec::new(), checkpoint }
        }

        fn nodes(&self) -> BTreeMap<Node, Hash> {
            let mut frontier = Frontier::new();
            self.leaves.iter().flat_map(|leaf| frontier.append(merkle::leaf_hash(leaf)).unwrap()).collect()
        }

        fn proof(&self, index: u64) -> InclusionProof {
            let (nodes, size) = (self.nodes(), self.leaves.len());
            let lookup = |node| nodes.get(&node).copied().ok_or(node);
            let hashes = merkle::inclusion_proof(index, size as u64, lookup).unwrap();
            InclusionProof { index, hashes, ..self.head(size) }
        }

        fn consistency(&self, from: usize) -> ConsistencyProof {
            let (nodes, to) = (self.nodes(), self.leaves.len());
            let lookup = |node| nodes.get(&node).copied().ok_or(node);
            let hashes = merkle::consistency_proof(from as u64, to as u64, lookup).unwrap();
            ConsistencyProof {
                from: from as u64,
                to: to as u64,
                hashes: hashes.iter().map(|hash| STANDARD.encode(hash)).collect(),
                from_checkpoint: None,
                to_checkpoint: self.head(to).checkpoint,
            }
        }
    }

    #[test]
    fn proof_survives_its_file_and_proves_its_leaf_alone() {
        let log = Log::new(11);
        for (index, leaf) in (0..).zip(&log.leaves) {
            let proof = InclusionProof::parse(&log.proof(index).to_string()).unwrap();
            assert_eq!(proof, log.proof(index));
            assert_eq!(proof.verify(leaf, &log.verifiers()).unwrap().size, 11);
            assert!(matches!(proof.verify(b"other", &log.verifiers()), Err(ProofFileError::Inclusion(_))));
        }
    }

    #[test]
    fn proof_of_a_log_with_one_leaf_has_no_hashes() {
        let log = Log::new(1);
        let text = log.proof(0).to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nregistry.example.org/audit\n1\n"), "{text}");
        assert!(InclusionProof::parse(&text).unwrap().verify(&[0], &log.verifiers()).is_ok());
    }

    #[test]
    fn every_flipped_bit_of_a_proof_is_refused() {
        let log = Log::new(11);
        let text = log.proof(6).to_string();
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone().into_bytes();
                changed[position] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(changed) else { continue };
                let proven = InclusionProof::parse(&changed).and_then(|proof| proof.verify(&[6], &log.verifiers()));
                assert!(proven.is_err(), "{position}.{bit}: {changed}");
            }
        }
    }

    #[test]
    fn proof_by_another_log_is_refused() {
        let (log, other) = (Log::new(5), Log::new(5));
        let refused = log.proof(3).verify(&[3], &other.verifiers());
        assert!(matches!(refused, Err(ProofFileError::Checkpoint(NoteError::NoSignature(_)))));
        assert!(matches!(log.proof(3).verify(&[3], &[]), Err(ProofFileError::Checkpoint(_))));
    }

    #[test]
    fn log_is_proven_to_have_grown_and_a_rewritten_one_is_not() {
        let log = Log::new(11);
        let mut rewritten = Log { signer: NoteSigner::from_pkcs8(ORIGIN, &log.key).unwrap(), ..Log::new(11) };
        rewritten.leaves[2] = b"rewritten".to_vec();
        for from in 1..=11 {
            let old = Checkpoint::open(&log.head(from).checkpoint, &log.verifiers()[0]).unwrap();
            let new = log.consistency(from).verify(&old, &log.verifiers()).unwrap();
            assert_eq!(new.size, 11);
            let proven = rewritten.consistency(from).verify(&old, &log.verifiers());
            let same_beginning = from < 3;
            assert_eq!(proven.is_ok(), same_beginning, "{from}: {proven:?}");
        }
    }

    #[test]
    fn proof_of_growth_between_other_heads_is_refused() {
        let log = Log::new(11);
        let old = Checkpoint::open(&log.head(5).checkpoint, &log.verifiers()[0]).unwrap();
        let proof = log.consistency(5);
        for changed in [
            ConsistencyProof { from: 6, ..proof.clone() },
            ConsistencyProof { to: 12, ..proof.clone() },
            ConsistencyProof { to_checkpoint: log.head(10).checkpoint, ..proof.clone() },
        ] {
            assert_eq!(changed.verify(&old, &log.verifiers()), Err(ProofFileError::OtherHeads));
        }
        let other = Checkpoint { origin: "other".to_owned(), ..old.clone() };
        assert_eq!(proof.verify(&other, &log.verifiers()), Err(ProofFileError::OtherHeads));
        let huge = ConsistencyProof { hashes: vec![String::new(); 129], ..proof };
        assert!(matches!(huge.verify(&old, &log.verifiers()), Err(ProofFileError::Malformed(_))));
    }

    #[test]
    fn extra_data_is_skipped() {
        let log = Log::new(5);
        let text = log.proof(3).to_string().replace("\nindex", "\nextra YWdl\nindex");
        assert_eq!(InclusionProof::parse(&text), Ok(log.proof(3)));
    }

    #[test]
    fn texts_that_are_no_proof_are_refused() {
        let good = Log::new(5).proof(3).to_string();
        let hash = format!("{}\n", STANDARD.encode([0; 32]));
        for text in [
            String::new(),
            good.replace("@v1", "@v2"),
            good.replace("index 3", "index 03"),
            good.replace("index 3", "index +3"),
            good.replace("index 3", "index"),
            good.replace("index 3\n", ""),
            good.replace("\nindex", "\nextra !\nindex"),
            good.replace("index 3\n", "index 3\nAAAA\n"),
            good.replace("index 3\n", &format!("index 3\n{}", hash.repeat(MOST_HASHES))),
            good.replace("index 3\n", &format!("index 3\n{}", hash.repeat(LARGEST_PROOF / 40))),
        ] {
            assert!(matches!(InclusionProof::parse(&text), Err(ProofFileError::Malformed(_))), "{text:.200}");
        }
    }
}

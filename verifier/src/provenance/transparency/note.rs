//! Signed notes and checkpoints after C2SP `signed-note` and `tlog-checkpoint`, so that stock
//! tools can check what the log commits to.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::merkle::Hash;

/// The algorithm byte of Ed25519 in key ids and verifier keys.
const ED25519_ALGORITHM: u8 = 0x01;
const ED25519_KEY_LENGTH: usize = 32;
const ED25519_SIGNATURE_LENGTH: usize = 64;

/// The DER before the 32 bytes of a key in a `SubjectPublicKeyInfo` (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A note is a few hundred bytes; what is larger is not read.
const LARGEST_NOTE: usize = 64 * 1024;
const MOST_SIGNATURES: usize = 64;

const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Why a note, key or checkpoint was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("the note is not well-formed: {0}")]
    Malformed(&'static str),
    #[error("the key name is empty or has a space or a plus sign in it")]
    KeyName,
    #[error("the key is not an Ed25519 key in the expected form")]
    Key,
    #[error("the note has no signature of key {0}")]
    NoSignature(String),
    #[error("the signature of key {0} does not fit the note")]
    BadSignature(String),
    #[error("the text is not a checkpoint: {0}")]
    Checkpoint(&'static str),
}

/// One line below a note's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    pub name: String,
    /// First four bytes of the hash over name, algorithm and key.
    pub key_id: [u8; 4],
    pub signature: Vec<u8>,
}

/// A text with signatures. The text ends with a newline and has no control characters
/// but newlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Reads a note; says nothing about its signatures.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > LARGEST_NOTE {
            return Err(NoteError::Malformed("larger than 64 KiB"));
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before signatures"))?;
        let (text, signatures) = (&note[..=split], &note[split + 2..]);
        check_text(text)?;
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Malformed("the last line does not end"))?;
        let signatures = lines.split('\n').map(parse_signature).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > MOST_SIGNATURES {
            return Err(NoteError::Malformed("more than 64 signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.text)?;
        for signature in &self.signatures {
            let bytes = [&signature.key_id[..], &signature.signature].concat();
            writeln!(formatter, "{SIGNATURE_PREFIX}{} {}", signature.name, STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    let is_forbidden = |character: char| character < ' ' && character != '\n';
    if !text.ends_with('\n') || text.chars().any(is_forbidden) {
        return Err(NoteError::Malformed("the text has control characters or no newline at its end"));
    }
    Ok(())
}

fn parse_signature(line: &str) -> Result<NoteSignature, NoteError> {
    let malformed = NoteError::Malformed("a signature line is not `\u{2014} NAME BASE64`");
    let Some((name, encoded)) = line.strip_prefix(SIGNATURE_PREFIX).and_then(|rest| rest.split_once(' ')) else {
        return Err(malformed);
    };
    check_name(name)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| malformed.clone())?;
    let (key_id, signature) = bytes.split_first_chunk::<4>().ok_or(malformed)?;
    Ok(NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let is_forbidden = |character: char| character.is_whitespace() || character.is_control() || character == '+';
    if name.is_empty() || name.chars().any(is_forbidden) { Err(NoteError::KeyName) } else { Ok(()) }
}

fn key_hash(name: &str, public_key: &[u8]) -> Hash {
    let named = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_ALGORITHM]);
    named.chain_update(public_key).finalize().into()
}

fn key_id(name: &str, public_key: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = key_hash(name, public_key);
    [a, b, c, d]
}

/// A named private key that signs notes.
pub struct NoteSigner {
    name: String,
    key: Ed25519KeyPair,
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NoteSigner").field("name", &self.name).finish_non_exhaustive()
    }
}

impl NoteSigner {
    /// A signer under `name` (for a log: its origin) with an Ed25519 key in PKCS #8 DER.
    pub fn from_pkcs8(name: &str, document: &[u8]) -> Result<Self, NoteError> {
        check_name(name)?;
        let key = Ed25519KeyPair::from_pkcs8(document).map_err(|_| NoteError::Key)?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// A new private key in PKCS #8 DER. Fails only when the system has no randomness.
    pub fn generate_pkcs8() -> Result<Vec<u8>, NoteError> {
        let key = Ed25519KeyPair::generate().map_err(|_| NoteError::Key)?;
        Ok(key.to_pkcs8().map_err(|_| NoteError::Key)?.as_ref().to_vec())
    }

    /// Signs `text`, which must end with a newline.
    pub fn sign(&self, text: &str) -> Result<SignedNote, NoteError> {
        check_text(text)?;
        let signature = NoteSignature {
            name: self.name.clone(),
            key_id: key_id(&self.name, self.key.public_key().as_ref()),
            signature: self.key.sign(text.as_bytes()).as_ref().to_vec(),
        };
        Ok(SignedNote { text: text.to_owned(), signatures: vec![signature] })
    }

    /// The signature over bytes that are no note. They must not begin as a note of this signer does.
    pub fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).as_ref().to_vec()
    }

    /// The public half.
    pub fn verifier(&self) -> Result<NoteVerifier, NoteError> {
        NoteVerifier::new(&self.name, self.key.public_key().as_ref())
    }
}

/// A named public key that checks notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    public_key: [u8; ED25519_KEY_LENGTH],
}

impl NoteVerifier {
    /// A verifier with the 32 bytes of an Ed25519 public key.
    pub fn new(name: &str, public_key: &[u8]) -> Result<Self, NoteError> {
        check_name(name)?;
        let public_key = public_key.try_into().map_err(|_| NoteError::Key)?;
        Ok(Self { name: name.to_owned(), public_key })
    }

    /// Reads the usual text form, `NAME+KEYID+BASE64`, which [`NoteVerifier`] also displays.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Key)?;
        let Some((&ED25519_ALGORITHM, public_key)) = bytes.split_first() else { return Err(NoteError::Key) };
        let verifier = Self::new(name, public_key)?;
        if hex::encode(verifier.key_id()) == id { Ok(verifier) } else { Err(NoteError::Key) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub const fn public_key(&self) -> &[u8; ED25519_KEY_LENGTH] {
        &self.public_key
    }

    pub fn key_id(&self) -> [u8; 4] {
        key_id(&self.name, &self.public_key)
    }

    /// The whole hash that the key id is the beginning of: a log's id in sigstore's documents.
    pub fn log_id(&self) -> Hash {
        key_hash(&self.name, &self.public_key)
    }

    /// The key as a DER `SubjectPublicKeyInfo` (RFC 8410).
    pub fn public_key_der(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.public_key].concat()
    }

    /// Reads what [`Self::public_key_der`] writes.
    pub fn from_der(name: &str, der: &[u8]) -> Result<Self, NoteError> {
        Self::new(name, der.strip_prefix(&SPKI_PREFIX).ok_or(NoteError::Key)?)
    }

    /// Whether `signature` is this key's over bytes that are no note.
    pub fn verifies_bytes(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public_key).verify(message, signature).is_ok()
    }

    /// Checks that the note carries a valid signature of this key and returns its text.
    /// Signatures of other keys are ignored; a false one under this key's name and id is
    /// refused even beside a true one.
    pub fn verify<'a>(&self, note: &'a SignedNote) -> Result<&'a str, NoteError> {
        let id = self.key_id();
        let own = note.signatures.iter().filter(|signature| signature.name == self.name && signature.key_id == id);
        let mut found = false;
        for signature in own {
            let key = UnparsedPublicKey::new(&ED25519, &self.public_key);
            let is_valid = signature.signature.len() == ED25519_SIGNATURE_LENGTH
                && key.verify(note.text.as_bytes(), &signature.signature).is_ok();
            if !is_valid {
                return Err(NoteError::BadSignature(self.name.clone()));
            }
            found = true;
        }
        if found { Ok(&note.text) } else { Err(NoteError::NoSignature(self.name.clone())) }
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_ALGORITHM], &self.public_key[..]].concat();
        write!(formatter, "{}+{}+{}", self.name, hex::encode(self.key_id()), STANDARD.encode(key))
    }
}

/// What a log commits to at one moment: its name, number of leaves and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's unique name, such as `registry.example.org/audit`.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    pub root: Hash,
}

impl Checkpoint {
    /// Signs the checkpoint.
    pub fn sign(&self, signer: &NoteSigner) -> Result<SignedNote, NoteError> {
        signer.sign(&self.to_string())
    }

    /// Checks the signature of `verifier` and then reads the checkpoint. The log's origin and
    /// its key's name must be the same, as `tlog-checkpoint` recommends.
    pub fn open(note: &str, verifier: &NoteVerifier) -> Result<Self, NoteError> {
        let note = SignedNote::parse(note)?;
        let checkpoint = Self::parse(verifier.verify(&note)?)?;
        if checkpoint.origin == verifier.name {
            Ok(checkpoint)
        } else {
            Err(NoteError::Checkpoint("it is of another log than the key"))
        }
    }

    /// The same with the first of several keys that signed it: those that a log had in turn.
    pub fn open_by_any(note: &str, verifiers: &[NoteVerifier]) -> Result<Self, NoteError> {
        let mut refusal = NoteError::NoSignature("that is trusted".to_owned());
        for verifier in verifiers {
            match Self::open(note, verifier) {
                Err(error @ NoteError::NoSignature(_)) => refusal = error,
                result => return result,
            }
        }
        // What is no note at all says so, whoever is trusted.
        SignedNote::parse(note).and(Err(refusal))
    }

    /// Reads a checkpoint's text. Extension lines are refused: this log writes none.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let lines: Vec<&str> = text.split('\n').collect();
        let [origin, size, root, ""] = lines[..] else {
            return Err(NoteError::Checkpoint("it does not have exactly three lines"));
        };
        if origin.is_empty() {
            return Err(NoteError::Checkpoint("the origin is empty"));
        }
        let parsed: u64 = size.parse().map_err(|_| NoteError::Checkpoint("the size is not a number"))?;
        if parsed.to_string() != size {
            return Err(NoteError::Checkpoint("the size has a sign or leading zeros"));
        }
        let root = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        let root = root.ok_or(NoteError::Checkpoint("the root is not 32 bytes in base64"))?;
        Ok(Self { origin: origin.to_owned(), size: parsed, root })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation of Go's `sumdb/note` package.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer() -> NoteSigner {
        NoteSigner::from_pkcs8("registry.example.org/audit", &NoteSigner::generate_pkcs8().unwrap()).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "registry.example.org/audit".to_owned(), size: 70, root: [7; 32] }
    }

    #[test]
    fn note_that_go_signed_is_verified() {
        let verifier = NoteVerifier::parse(GO_KEY).unwrap();
        assert_eq!(verifier.to_string(), GO_KEY);
        let note = SignedNote::parse(GO_NOTE).unwrap();
        assert_eq!(note.to_string(), GO_NOTE);
        assert!(verifier.verify(&note).unwrap().starts_with("If you think"));
    }

    #[test]
    fn changed_text_is_refused() {
        let note = SignedNote::parse(&GO_NOTE.replace("your problem is", "your problem was")).unwrap();
        let error = NoteVerifier::parse(GO_KEY).unwrap().verify(&note).unwrap_err();
        assert_eq!(error, NoteError::BadSignature("PeterNeumann".to_owned()));
    }

    #[test]
    fn checkpoint_survives_signing_and_opening() {
        let signer = signer();
        let note = checkpoint().sign(&signer).unwrap().to_string();
        let opened = Checkpoint::open(&note, &signer.verifier().unwrap()).unwrap();
        assert_eq!(opened, checkpoint());
        assert!(
            note.starts_with(
                "registry.example.org/audit\n70\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n\u{2014} "
            )
        );
    }

    #[test]
    fn checkpoint_of_another_key_is_refused() {
        let note = checkpoint().sign(&signer()).unwrap().to_string();
        let error = Checkpoint::open(&note, &signer().verifier().unwrap()).unwrap_err();
        assert_eq!(error, NoteError::NoSignature("registry.example.org/audit".to_owned()));
    }

    #[test]
    fn checkpoint_of_another_log_is_refused() {
        let signer = signer();
        let other = Checkpoint { origin: "registry.example.com/audit".to_owned(), ..checkpoint() };
        let note = other.sign(&signer).unwrap().to_string();
        assert!(matches!(Checkpoint::open(&note, &signer.verifier().unwrap()), Err(NoteError::Checkpoint(_))));
    }

    #[test]
    fn false_signature_beside_a_true_one_is_refused() {
        let signer = signer();
        let mut note = checkpoint().sign(&signer).unwrap();
        let mut false_one = note.signatures[0].clone();
        false_one.signature[0] ^= 1;
        note.signatures.push(false_one);
        assert!(matches!(signer.verifier().unwrap().verify(&note), Err(NoteError::BadSignature(_))));
    }

    #[test]
    fn texts_that_are_no_checkpoint_are_refused() {
        let root = STANDARD.encode([0; 32]);
        let texts = [
            "log\n1\n".to_owned(),
            format!("log\n01\n{root}\n"),
            format!("log\n+1\n{root}\n"),
            format!("log\n-1\n{root}\n"),
            format!("\n1\n{root}\n"),
            format!("log\n18446744073709551616\n{root}\n"),
            format!("log\n1\n{root}\nextension\n"),
            format!("log\n1\n{root}"),
            "log\n1\nAAAA\n".to_owned(),
        ];
        for text in texts {
            assert!(matches!(Checkpoint::parse(&text), Err(NoteError::Checkpoint(_))), "{text:?}");
        }
    }

    #[test]
    fn malformed_notes_are_refused() {
        let huge = format!("{}\n\n\u{2014} a AAAAAAAA\n", "x".repeat(LARGEST_NOTE));
        let many = format!("text\n\n{}", "\u{2014} a AAAAAAAA\n".repeat(MOST_SIGNATURES + 1));
        let notes = [
            "",
            "text\n",
            "text\n\n",
            "text\n\n\u{2014} name\n",
            "text\n\n\u{2014} name !!!\n",
            "text\n\n\u{2014} name AAA=\n",
            "text\n\n- name AAAAAAAA\n",
            "text\n\n\u{2014} name AAAAAAAA",
            "te\tb\n\n\u{2014} name AAAAAAAA\n",
            &huge,
            &many,
        ];
        for note in notes {
            assert!(matches!(SignedNote::parse(note), Err(NoteError::Malformed(_))), "{note:.40}");
        }
    }

    #[test]
    fn names_that_would_break_the_line_are_refused() {
        for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b"] {
            assert_eq!(NoteVerifier::new(name, &[0; 32]), Err(NoteError::KeyName), "{name:?}");
        }
    }

    #[test]
    fn verifier_key_with_a_false_id_is_refused() {
        assert_eq!(NoteVerifier::parse(&GO_KEY.replace("c74f20a3", "c74f20a4")), Err(NoteError::Key));
    }

    #[test]
    fn private_key_is_not_shown() {
        assert_eq!(format!("{:?}", signer()), "NoteSigner { name: \"registry.example.org/audit\", .. }");
    }
}

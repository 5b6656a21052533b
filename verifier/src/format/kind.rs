//! Recognizes what a file is from its first bytes.
//!
//! The name decides only where bytes cannot: what a text is for, and which of several
//! formats over one container is meant.

use super::archive::{self, Compression};
use super::gguf;
use super::pickle;
use super::safetensors;
use super::tensorflow;
use crate::read_at::ReadAt;

/// Bytes to read from the start of a file for [`FileKind::recognize`].
pub(super) const PREFIX_BYTES: usize = 4096;

const PICKLE_EXTENSIONS: [&str; 7] = ["pkl", "pickle", "pt", "pth", "ckpt", "joblib", "dill"];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    Gguf,
    Safetensors,
    /// Pickle, bare or in PyTorch's zip: loading one runs code.
    Pickle,
    Ggml,
    Onnx,
    Tensorflow,
    TensorflowLite,
    Hdf5,
    Keras,
    Numpy,
    Archive,
    Executable,
    SentencePiece,
    Image,
    /// Sound and moving pictures.
    Media,
    /// Pages to read, such as PDF.
    Document,
    /// Rows of data, such as Parquet.
    Table,
    LfsPointer,
    Signature,
    ModelCard,
    License,
    Json,
    Text,
    Empty,
    Unknown,
}

/// What this release can say about the content of a kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Support {
    /// A reader of our own, or nothing in the file can act.
    Read,
    /// May hold code or weights that this release cannot look into.
    NotScanned { code: &'static str, hint: &'static str },
}

impl FileKind {
    /// The kind of the file called `path` of `size` bytes that starts with `prefix`.
    pub fn recognize(path: &str, prefix: &[u8], size: u64) -> Self {
        if size == 0 {
            return Self::Empty;
        }
        by_magic(prefix, size)
            .filter(|kind| *kind != Self::SentencePiece || extension(path) != "pb")
            .or_else(|| by_container(path, prefix))
            .or_else(|| by_instructions(path, prefix))
            .or_else(|| by_text(path, prefix))
            .unwrap_or_else(|| by_extension(path))
    }

    /// The name in `InspectedFile::format`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gguf => "gguf",
            Self::Safetensors => "safetensors",
            Self::Pickle => "pickle",
            Self::Ggml => "ggml",
            Self::Onnx => "onnx",
            Self::Tensorflow => "tensorflow",
            Self::TensorflowLite => "tflite",
            Self::Hdf5 => "hdf5",
            Self::Keras => "keras",
            Self::Numpy => "numpy",
            Self::Archive => "archive",
            Self::Executable => "executable",
            Self::SentencePiece => "sentencepiece",
            Self::Image => "image",
            Self::Media => "media",
            Self::Document => "document",
            Self::Table => "table",
            Self::LfsPointer => "lfs_pointer",
            Self::Signature => "signature",
            Self::ModelCard => "model_card",
            Self::License => "license",
            Self::Json => "json",
            Self::Text => "text",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        }
    }

    /// Whether files of this kind hold model parameters.
    pub const fn holds_weights(self) -> bool {
        matches!(
            self,
            Self::Gguf
                | Self::Safetensors
                | Self::Pickle
                | Self::Ggml
                | Self::Onnx
                | Self::Tensorflow
                | Self::TensorflowLite
                | Self::Hdf5
                | Self::Keras
                | Self::Numpy
        )
    }

    pub(super) const fn support(self) -> Support {
        match self {
            Self::Ggml => not_scanned("GGML_NOT_SCANNED", "convert the weights to GGUF"),
            Self::Gguf
            | Self::Safetensors
            | Self::Pickle
            | Self::Onnx
            | Self::Tensorflow
            | Self::TensorflowLite
            | Self::Hdf5
            | Self::Keras
            | Self::Numpy
            | Self::Archive
            | Self::Executable
            | Self::SentencePiece
            | Self::Image
            | Self::Media
            | Self::Document
            | Self::Table
            | Self::LfsPointer
            | Self::Signature
            | Self::ModelCard
            | Self::License
            | Self::Json
            | Self::Text
            | Self::Empty
            | Self::Unknown => Support::Read,
        }
    }
}

const fn not_scanned(code: &'static str, hint: &'static str) -> Support {
    Support::NotScanned { code, hint }
}

fn by_magic(prefix: &[u8], size: u64) -> Option<FileKind> {
    const MAGICS: [(&[u8], FileKind); 27] = [
        (&gguf::MAGIC, FileKind::Gguf),
        (b"FUGG", FileKind::Gguf),
        (b"lmgg", FileKind::Ggml),
        (b"fmgg", FileKind::Ggml),
        (b"tjgg", FileKind::Ggml),
        (b"\x89HDF\r\n\x1a\n", FileKind::Hdf5),
        (b"\x93NUMPY", FileKind::Numpy),
        (b"\x7fELF", FileKind::Executable),
        (b"\xcf\xfa\xed\xfe", FileKind::Executable),
        (b"\xce\xfa\xed\xfe", FileKind::Executable),
        (b"\xca\xfe\xba\xbe", FileKind::Executable),
        (b"\0asm", FileKind::Executable),
        (b"!<arch>\n", FileKind::Executable),
        (b"\x89PNG\r\n\x1a\n", FileKind::Image),
        (b"\xff\xd8\xff", FileKind::Image),
        (b"GIF8", FileKind::Image),
        (b"ID3\x03\0", FileKind::Media),
        (b"ID3\x04\0", FileKind::Media),
        (b"OggS\0", FileKind::Media),
        (b"fLaC\0\0\0\x22", FileKind::Media),
        (b"\x1a\x45\xdf\xa3", FileKind::Media),
        (b"%PDF-", FileKind::Document),
        (b"PAR1", FileKind::Table),
        (b"ARROW1\0\0", FileKind::Table),
        (b"version https://git-lfs.github.com/spec/", FileKind::LfsPointer),
        (b"version https://hawser.github.com/spec/", FileKind::LfsPointer),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9", FileKind::Pickle),
    ];
    if safetensors::looks_like(prefix, size) {
        return Some(FileKind::Safetensors);
    }
    MAGICS.iter().find(|(magic, _)| prefix.starts_with(magic)).map(|(_, kind)| *kind).or_else(|| by_inner_magic(prefix))
}

/// Magics that do not stand at the first byte, or need a look at the bytes behind them.
fn by_inner_magic(prefix: &[u8]) -> Option<FileKind> {
    let at = |offset: usize, magic: &[u8]| prefix.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if is_windows_program(prefix) {
        Some(FileKind::Executable)
    } else if at(4, b"TFL3") {
        Some(FileKind::TensorflowLite)
    } else if [512, 1024, 2048].iter().any(|user_block| at(*user_block, b"\x89HDF\r\n\x1a\n")) {
        Some(FileKind::Hdf5)
    } else if is_archive(prefix) {
        Some(FileKind::Archive)
    } else if at(0, b"RIFF") && at(8, b"WEBP") {
        Some(FileKind::Image)
    } else if (at(0, b"RIFF") && (at(8, b"WAVE") || at(8, b"AVI "))) || at(4, b"ftyp") {
        Some(FileKind::Media)
    } else if is_binary_pickle(prefix) {
        Some(FileKind::Pickle)
    } else if is_sentence_piece(prefix) {
        Some(FileKind::SentencePiece)
    } else {
        None
    }
}

/// Whether the prefix is that of an archive or of a compressed file; zips are told apart by their
/// members.
pub(super) fn is_archive(prefix: &[u8]) -> bool {
    const MAGICS: [&[u8]; 3] = [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"MSCF\0\0\0\0"];
    MAGICS.iter().any(|magic| prefix.starts_with(magic)) || Compression::of(prefix).is_some() || archive::is_tar(prefix)
}

/// Whether the source begins like a zip.
pub(super) fn is_zip(source: &dyn ReadAt) -> bool {
    let mut prefix = [0; 4];
    source.read_exact_at(0, &mut prefix).is_ok() && is_zip_prefix(&prefix)
}

pub(super) fn is_zip_prefix(prefix: &[u8]) -> bool {
    [&b"PK\x03\x04"[..], b"PK\x05\x06", b"PK\x07\x08"].iter().any(|magic| prefix.starts_with(magic))
}

/// Protocols 0 and 1 begin with no mark of their own, and any text may begin like them: a list of
/// words that starts with `cat` like an import. So the content counts as a pickle where the name says
/// so, or where following it leads somewhere.
fn by_instructions(path: &str, prefix: &[u8]) -> Option<FileKind> {
    let is_one = is_pickle(prefix) && (is_pickle_extension(path) || pickle::leads_somewhere(&prefix.to_vec()));
    is_one.then_some(FileKind::Pickle)
}

/// Two letters at the start are too few to tell: the header they begin points to the real mark.
fn is_windows_program(prefix: &[u8]) -> bool {
    let pointer = prefix.get(0x3c..0x40).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_le_bytes);
    let mark = pointer.and_then(|at| prefix.get(usize::try_from(at).ok()?..));
    prefix.starts_with(b"MZ") && mark.is_some_and(|mark| mark.starts_with(b"PE\0\0"))
}

/// Protocols 2 to 5 start with the PROTO opcode.
const fn is_binary_pickle(prefix: &[u8]) -> bool {
    matches!(prefix, [0x80, 2..=5, ..])
}

/// Whether the prefix is how pickles begin in practice: with the PROTO opcode, an import of
/// `module\nname\n`, or a marked container with its memo.
pub(super) fn is_pickle(prefix: &[u8]) -> bool {
    match prefix {
        prefix if is_binary_pickle(prefix) => true,
        [b'(', b'l' | b'd' | b't', b'p' | b'q', ..] | [b']' | b'}' | b')', b'q', ..] => true,
        [b'(', b'i' | b'c', rest @ ..] | [b'c', rest @ ..] => is_import(rest),
        _ => false,
    }
}

fn is_import(rest: &[u8]) -> bool {
    let mut lines = rest.split(|byte| *byte == b'\n');
    let mut next_is_name = || {
        lines.next().is_some_and(|line| {
            !line.is_empty()
                && line.len() < 256
                && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(byte))
        })
    };
    next_is_name() && next_is_name()
}

/// A SentencePiece model is a protobuf whose first field is a piece, as a rule `<unk>`.
fn is_sentence_piece(prefix: &[u8]) -> bool {
    matches!(prefix, [0x0a, 4..=40, 0x0a, length, rest @ ..]
        if rest.get(..usize::from(*length)).is_some_and(|piece| [&b"<unk>"[..], b"<pad>", b"<s>"].contains(&piece)))
}

/// Formats over zip and protobuf, which share their first bytes.
fn by_container(path: &str, prefix: &[u8]) -> Option<FileKind> {
    if is_zip_prefix(prefix) {
        return Some(zip_kind(path, prefix));
    }
    match (extension(path).as_str(), prefix) {
        // A small message may be valid text, and its fields may come in any order.
        ("onnx", _) => Some(FileKind::Onnx),
        ("pb", _) => Some(FileKind::Tensorflow),
        ("meta", _) if holds_control_characters(prefix) => Some(FileKind::Tensorflow),
        (_, [0x08, 1..=32, 0x12, length, rest @ ..]) => {
            let producer = rest.get(..usize::from(*length))?;
            let is_text = !producer.is_empty() && producer.iter().all(u8::is_ascii_graphic);
            is_text.then_some(FileKind::Onnx)
        }
        _ => None,
    }
}

fn holds_control_characters(prefix: &[u8]) -> bool {
    prefix.iter().any(|byte| byte.is_ascii_control() && !b"\t\n\r".contains(byte))
}

fn zip_kind(path: &str, prefix: &[u8]) -> FileKind {
    let holds_pickle = prefix.windows(8).any(|window| window == b"data.pkl");
    match extension(path).as_str() {
        _ if holds_pickle => FileKind::Pickle,
        "pt" | "pth" | "bin" | "ckpt" | "pkl" => FileKind::Pickle,
        "keras" => FileKind::Keras,
        "npz" => FileKind::Numpy,
        _ => FileKind::Archive,
    }
}

fn by_text(path: &str, prefix: &[u8]) -> Option<FileKind> {
    if !is_text(prefix) {
        return None;
    }
    if is_pickle_extension(path) {
        // Protocol 0 is text; one that begins in no known way must not pass for a note.
        return Some(FileKind::Pickle);
    }
    let name = file_name(path).to_ascii_lowercase();
    let is_json = prefix.trim_ascii_start().first().is_some_and(|byte| b"{[".contains(byte));
    Some(match name.as_str() {
        name if is_signature_name(name) => FileKind::Signature,
        "readme.md" => FileKind::ModelCard,
        name if is_license_name(name) => FileKind::License,
        _ if is_json => FileKind::Json,
        _ => FileKind::Text,
    })
}

/// Whether the prefix is UTF-8 without NUL; a character cut at its end is fine.
fn is_text(prefix: &[u8]) -> bool {
    !prefix.contains(&0)
        && match std::str::from_utf8(prefix) {
            Ok(_) => true,
            Err(error) => error.error_len().is_none() && prefix.len() == PREFIX_BYTES,
        }
}

/// Signatures are told by their names, which no loader opens: what counts as a signature is not
/// itself signed, so a configuration must not become one by what it says.
fn is_signature_name(name: &str) -> bool {
    [".sig", ".sigstore", ".sigstore.json"].iter().any(|suffix| name.ends_with(suffix))
}

fn is_license_name(name: &str) -> bool {
    ["license", "licence", "copying", "notice", "unlicense"].iter().any(|stem| name.starts_with(stem))
}

/// Names are asked last: a pickle or a protobuf that starts in no known way is still none that was scanned.
fn by_extension(path: &str) -> FileKind {
    match extension(path).as_str() {
        "onnx" => FileKind::Onnx,
        "pb" => FileKind::Tensorflow,
        _ if tensorflow::is_checkpoint(path) => FileKind::Tensorflow,
        "gguf" => FileKind::Gguf,
        "safetensors" => FileKind::Safetensors,
        _ if is_pickle_extension(path) => FileKind::Pickle,
        _ => FileKind::Unknown,
    }
}

fn is_pickle_extension(path: &str) -> bool {
    PICKLE_EXTENSIONS.contains(&extension(path).as_str())
}

/// Whether loaders take files with this extension for model parameters.
pub(super) fn is_weight_extension(extension: &str) -> bool {
    const OTHERS: [&str; 7] = ["onnx", "h5", "hdf5", "keras", "npy", "npz", "tflite"];
    PICKLE_EXTENSIONS.contains(&extension) || OTHERS.contains(&extension)
}

/// The part after the last dot of the file's name, in lower case.
pub(crate) fn extension(path: &str) -> String {
    file_name(path).rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str, prefix: &[u8]) -> FileKind {
        FileKind::recognize(path, prefix, 1 << 20)
    }

    #[test]
    fn content_decides_against_the_name() {
        assert_eq!(kind("model.safetensors", b"\x80\x04\x95"), FileKind::Pickle);
        assert_eq!(kind("weights.bin", b"GGUF\x03\0\0\0"), FileKind::Gguf);
        assert_eq!(kind("README.md", b"PK\x03\x04archive/data.pkl"), FileKind::Pickle);
    }

    #[test]
    fn what_people_read_and_hear_beside_a_model_is_known() {
        assert_eq!(kind("paper.pdf", b"%PDF-1.7\n"), FileKind::Document);
        assert_eq!(kind("demo.wav", b"RIFF\x24\0\0\0WAVEfmt "), FileKind::Media);
        assert_eq!(kind("demo.mp4", b"\0\0\0\x20ftypisom"), FileKind::Media);
        assert_eq!(kind("train.parquet", b"PAR1\x15\x04"), FileKind::Table);
    }

    #[test]
    fn two_letters_do_not_make_a_program() {
        let mut program = vec![0; 256];
        program[..2].copy_from_slice(b"MZ");
        program[0x3c] = 0x80;
        program[0x80..0x84].copy_from_slice(b"PE\0\0");
        assert_eq!(kind("a.dat", &program), FileKind::Executable);
        program[0x80] = 0;
        assert_ne!(kind("a.dat", &program), FileKind::Executable);
        assert_eq!(kind("a.txt", b"MZ is short for a name."), FileKind::Text);
    }

    #[test]
    fn pickles_of_protocol_0_are_recognized_without_an_extension() {
        assert_eq!(kind("notes.txt", b"cos\nsystem\n(S'id'\ntR."), FileKind::Pickle);
        assert_eq!(kind("notes.txt", b"(lp0\nI1\na."), FileKind::Pickle);
        assert_eq!(kind("notes.txt", b"cosine similarity\nof two texts\n"), FileKind::Text);
        assert_eq!(kind("data.pkl", b"I1\n."), FileKind::Pickle);
    }

    #[test]
    fn texts_are_told_apart_by_their_role() {
        assert_eq!(kind("README.md", b"---\nlicense: mit\n---\n"), FileKind::ModelCard);
        assert_eq!(kind("LICENSE-2.0.txt", b"Apache License"), FileKind::License);
        assert_eq!(kind("config.json", b" {\"a\":1}"), FileKind::Json);
        assert_eq!(kind("model.sig", b"{}"), FileKind::Signature);
        assert_eq!(kind("model.sigstore.json", b"{}"), FileKind::Signature);
        let bundle = br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#;
        assert_eq!(kind("config.json", bundle), FileKind::Json);
    }

    #[test]
    fn protobuf_formats_are_told_apart() {
        assert_eq!(kind("a.onnx", b"\x08\x08\x12\x07pytorch"), FileKind::Onnx);
        assert_eq!(kind("a.bin", b"\x08\x08\x12\x07pytorch"), FileKind::Onnx);
        assert_eq!(kind("saved_model.pb", b"\x08\x01\x12\x80"), FileKind::Tensorflow);
        assert_eq!(kind("tokenizer.model", b"\x0a\x0e\x0a\x05<unk>\x15\0"), FileKind::SentencePiece);
    }

    #[test]
    fn weights_that_do_not_begin_as_their_name_says_go_to_their_strict_reader() {
        assert_eq!(kind("model.gguf", b"\0\0\0\0"), FileKind::Gguf);
        assert_eq!(kind("model.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xff"), FileKind::Safetensors);
    }

    #[test]
    fn a_character_cut_at_the_end_of_the_prefix_is_still_text() {
        let mut prefix = vec![b'a'; PREFIX_BYTES - 1];
        prefix.push(0xc3);
        assert_eq!(kind("notes.txt", &prefix), FileKind::Text);
        assert_eq!(kind("notes.txt", b"abc\xc3"), FileKind::Unknown);
    }
}

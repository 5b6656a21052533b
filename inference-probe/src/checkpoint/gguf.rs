//! One GGUF file, or all parts of a split one.

use verifier::format::gguf::{self, GgufError, Header, Value};

use super::space::Source;
use super::{AddressSpace, Checkpoint, CheckpointError, Extent};
use crate::checks::ModelFile;
use crate::engine::ACTIVATION_KEY;

/// The GGUF files among `files`.
fn parts(files: &[ModelFile]) -> Result<Vec<&ModelFile>, CheckpointError> {
    let found: Vec<&ModelFile> = files.iter().filter(|file| is_gguf(file)).collect();
    match (files, found.is_empty()) {
        ([], _) => Err(CheckpointError::NoWeights),
        ([first, ..], true) if super::transformers::is_safetensors(first) => {
            Err(CheckpointError::NoConfig { file: first.name.clone() })
        }
        ([first, others @ ..], true) => {
            Err(CheckpointError::Container { file: first.name.clone(), others: others.len() })
        }
        (_, false) => Ok(found),
    }
}

pub(super) fn is_gguf(file: &ModelFile) -> bool {
    let mut magic = [0; 4];
    let starts_with_magic = file.reader.read_exact_at(0, &mut magic).is_ok() && magic == gguf::MAGIC;
    let extension = std::path::Path::new(&file.name).extension();
    starts_with_magic || extension.is_some_and(|extension| extension == "gguf")
}

/// One part of a split file.
struct Part<'a> {
    file: &'a ModelFile,
    header: Header,
    number: u64,
    count: u64,
}

/// The model in a single file or the parts of one split.
pub(super) fn open(all: &[ModelFile]) -> Result<Checkpoint<'_>, CheckpointError> {
    let files = &parts(all)?[..];
    let mut parts = files.iter().map(|file| Part::read(file)).collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|part| part.number);
    check_complete(&parts)?;
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else { return Err(CheckpointError::NoWeights) };
    let mut space = AddressSpace::default();
    let mut header = first.place(&mut space);
    for part in parts {
        let name = part.file.name.clone();
        header.tensors.extend(part.place(&mut space).tensors);
        refuse_repeated(&header, &name)?;
    }
    // A key of our own, which in a stranger's file no other engine would follow.
    header.metadata.retain(|(key, _)| key != ACTIVATION_KEY);
    let others = super::other_weights(all, is_gguf);
    let container = match files.len() {
        1 => format!("GGUF version {}", header.version),
        parts => format!("GGUF version {} in {parts} parts", header.version),
    };
    let mut checkpoint = Checkpoint::new(all, first_name(files), container, header, space);
    checkpoint.skipped = others;
    Ok(checkpoint)
}

fn first_name(files: &[&ModelFile]) -> String {
    files.iter().map(|file| file.name.as_str()).min().unwrap_or_default().to_owned()
}

impl<'a> Part<'a> {
    fn read(file: &'a ModelFile) -> Result<Self, CheckpointError> {
        let refused = |error: GgufError| CheckpointError::Gguf { file: file.name.clone(), error };
        let header = gguf::read_header(file.reader.as_ref()).map_err(refused)?;
        let key = |name: &str| header.get(name).and_then(Value::as_u64);
        let (number, count) = (key("split.no").unwrap_or(0), key("split.count").unwrap_or(1).max(1));
        Ok(Self { file, header, number, count })
    }

    /// Gives the part a place after those before it; its header with offsets in the whole.
    fn place(self, space: &mut AddressSpace<'a>) -> Header {
        let start = space.add(Extent {
            source: Source::File(self.file.reader.as_ref()),
            offset: 0,
            length: self.file.reader.size(),
        });
        let mut header = self.header;
        header.tensors.iter_mut().for_each(|tensor| tensor.offset += start);
        header
    }
}

/// Whether the files are parts 0 to n - 1 of n.
fn check_complete(parts: &[Part<'_>]) -> Result<(), CheckpointError> {
    let (Some(first), here) = (parts.first(), parts.len() as u64) else { return Err(CheckpointError::NoWeights) };
    let is_split = parts.iter().any(|part| part.count > 1);
    if !is_split {
        return if here == 1 { Ok(()) } else { Err(CheckpointError::SeveralModels(parts.len())) };
    }
    let in_order = parts.iter().zip(0..).all(|(part, number)| part.number == number && part.count == first.count);
    if in_order && here == first.count {
        return Ok(());
    }
    let detail = format!("`{}` is one of {} parts of a model, of which {here} are here", first.file.name, first.count);
    Err(CheckpointError::Split { file: first.file.name.clone(), detail })
}

fn refuse_repeated(header: &Header, file: &str) -> Result<(), CheckpointError> {
    let mut names = std::collections::HashSet::with_capacity(header.tensors.len());
    let repeated = header.tensors.iter().find(|tensor| !names.insert(tensor.name.as_str()));
    repeated.map_or(Ok(()), |tensor| {
        let error = GgufError::DuplicateTensor(tensor.name.clone());
        Err(CheckpointError::Gguf { file: file.to_owned(), error })
    })
}

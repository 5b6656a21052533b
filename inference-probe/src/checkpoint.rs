//! The files of a model as one header and one address space.
//!
//! A model may be one GGUF file, the parts of a split one, or safetensors with a
//! configuration beside them. Everything after this module sees a single GGUF header, whose
//! tensors lie at offsets of a [`Checkpoint`].

pub(crate) mod adapter;
mod error;
mod gguf;
mod space;
mod transformers;

use std::collections::HashMap;
use std::io;

use verifier::ReadAt;
use verifier::format::gguf::{Header, TensorInfo};

use crate::checks::ModelFile;
pub(crate) use error::CheckpointError;
pub(crate) use space::{AddressSpace, Extent};

/// A model whose header has been read.
pub(crate) struct Checkpoint<'a> {
    files: &'a [ModelFile],
    /// The file that findings name; the first of several.
    pub(crate) name: String,
    /// What kind of file it is, in words.
    pub(crate) container: String,
    /// Of a folder as Transformers writes it, whose names of tensors were those of this family.
    pub(crate) model_type: Option<&'static str>,
    pub(crate) header: Header,
    space: AddressSpace<'a>,
    /// Numbers of the header's tensors by name.
    numbers: HashMap<String, usize>,
    /// Tensors of the files that the computation does not use.
    pub(crate) unused: Vec<TensorInfo>,
    /// Weight files that are not part of the model that is probed.
    pub(crate) skipped: Vec<String>,
    /// What may make the computation another one than the file asks for, in words.
    pub(crate) doubts: Vec<String>,
    /// What has to be done to the tensors of these names when they are loaded.
    changes: HashMap<String, Change>,
}

/// What distinguishes a tensor from the one that GGUF would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// Inputs and outputs are exchanged.
    Transposed,
    /// Its values are added to one.
    AddOne,
}

impl<'a> Checkpoint<'a> {
    /// Finds the model among `files` and reads its header.
    pub(crate) fn open(files: &'a [ModelFile]) -> Result<Self, CheckpointError> {
        if transformers::is_folder(files) {
            let others = files.iter().filter(|file| gguf::is_gguf(file)).count();
            let folder = || transformers::open(files);
            return if others == 0 { folder() } else { Err(CheckpointError::SeveralModels(others + 1)) };
        }
        gguf::open(files)
    }

    fn new(files: &'a [ModelFile], name: String, container: String, header: Header, space: AddressSpace<'a>) -> Self {
        let numbers = header.tensors.iter().enumerate().map(|(number, tensor)| (tensor.name.clone(), number));
        Self {
            files,
            name,
            container,
            model_type: None,
            numbers: numbers.collect(),
            header,
            space,
            unused: Vec::new(),
            skipped: Vec::new(),
            doubts: Vec::new(),
            changes: HashMap::new(),
        }
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.numbers.get(name).map(|number| &self.header.tensors[*number])
    }

    /// Whether the header is a file's own, not made from a configuration.
    pub(crate) fn is_gguf(&self) -> bool {
        self.files.iter().any(|file| file.name == self.name && gguf::is_gguf(file))
    }

    /// A small file beside the weights, or none; `limit` in bytes.
    pub(crate) fn document(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, CheckpointError> {
        let Some(file) = self.files.iter().find(|file| file.name == name) else { return Ok(None) };
        read_document(file, limit).map(Some)
    }

    pub(crate) fn change(&self, name: &str) -> Change {
        self.changes.get(name).copied().unwrap_or(Change::None)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.numbers.contains_key(name)
    }
}

/// Weight files other than those that are used. Documents are no weights.
fn other_weights(files: &[ModelFile], is_used: impl Fn(&ModelFile) -> bool) -> Vec<String> {
    const DOCUMENTS: [&str; 4] = ["json", "txt", "jinja", "model"];
    let is_document = |file: &ModelFile| {
        let extension = std::path::Path::new(&file.name).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| DOCUMENTS.contains(&extension))
    };
    files.iter().filter(|file| !is_used(file) && !is_document(file)).map(|file| file.name.clone()).collect()
}

/// A whole file of at most `limit` bytes.
fn read_document(file: &ModelFile, limit: u64) -> Result<Vec<u8>, CheckpointError> {
    let size = file.reader.size();
    let length = usize::try_from(size).ok().filter(|_| size <= limit);
    let too_large = || CheckpointError::TooLarge { file: file.name.clone(), size, limit };
    let mut bytes = vec![0; length.ok_or_else(too_large)?];
    let unreadable = |error| CheckpointError::Unreadable { file: file.name.clone(), error };
    file.reader.read_exact_at(0, &mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

impl ReadAt for Checkpoint<'_> {
    fn size(&self) -> u64 {
        self.space.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.space.read_at(offset, buffer)
    }
}

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
    pub(crate) header: Header,
    space: AddressSpace<'a>,
    /// Numbers of the header's tensors by name.
    numbers: HashMap<String, usize>,
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
        Self { files, name, container, numbers: numbers.collect(), header, space, changes: HashMap::new() }
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.numbers.get(name).map(|number| &self.header.tensors[*number])
    }

    /// Whether the header is a file's own, not made from a configuration.
    pub(crate) fn is_gguf(&self) -> bool {
        self.files.iter().any(|file| file.name == self.name && gguf::is_gguf(file))
    }

    /// A small file beside the weights, or none; `limit` in bytes.
    pub(crate) fn document(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
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

/// A whole file of at most `limit` bytes.
fn read_document(file: &ModelFile, limit: u64) -> Result<Vec<u8>, String> {
    let (name, size) = (&file.name, file.reader.size());
    let length = usize::try_from(size).ok().filter(|_| size <= limit);
    let mut bytes = vec![0; length.ok_or_else(|| format!("`{name}` has {size} bytes"))?];
    file.reader.read_exact_at(0, &mut bytes).map_err(|error| format!("`{name}` could not be read: {error}"))?;
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

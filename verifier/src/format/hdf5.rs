//! Reads HDF5 files, in which Keras keeps models and weights.
//!
//! The format is a file system of its own: groups link to objects, and objects may lie in
//! other files, which the library opens without asking. The walk visits every object that
//! can be reached, and what it cannot follow is reported. The format:
//! <https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html>.

mod attribute;
mod checksum;
mod cursor;
mod dataset;
mod dataspace;
mod datatype;
mod dense;
mod error;
mod group;
mod header;
mod reader;

use std::collections::BTreeSet;

use serde_json::json;

use self::error::Hdf5Error;
use self::group::{Link, Target};
use self::header::Message;
use self::reader::{MAX_OBJECTS, Reader, Superblock};
use super::content::Content;
use super::found::{Found, Weights, shown};
use super::pages::Pages;
use super::tensor::Tensor;
use super::{findings, keras};
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Groups in groups.
const MAX_DEPTH: u8 = 64;
/// Bytes of paths over all objects.
const MAX_PATH_BYTES: usize = 8 * 1024 * 1024;
/// Longest text kept as a fact, in bytes.
const MAX_FACT_BYTES: usize = 256;

type Result<T> = std::result::Result<T, Hdf5Error>;

/// Adds to `found` what the file holds and what it takes from elsewhere.
pub(super) fn scan(content: &Content<'_>, found: &mut Found) {
    match Reader::open(Pages::new(content.source)) {
        Ok((reader, superblock)) => {
            check_edges(content, &superblock, found);
            let mut walk = Walk::new(reader, found);
            let outcome = walk.objects(superblock.root);
            walk.finish(outcome);
        }
        Err(error) => error.report(found),
    }
}

/// What stands in front of the file proper and behind it.
fn check_edges(content: &Content<'_>, superblock: &Superblock, found: &mut Found) {
    if superblock.user_block > 0 {
        let length = superblock.user_block.min(64 * 1024);
        let mut block = vec![0; usize::try_from(length).unwrap_or_default()];
        match content.source.read_exact_at(0, &mut block) {
            Ok(()) if block.iter().all(|byte| *byte == 0) => {}
            Ok(()) => found.add(InspectionVerdict::Suspicious, user_block(superblock.user_block)),
            Err(error) => findings::unreadable(found, &error),
        }
    }
    let behind = content.source.size().saturating_sub(superblock.end);
    if behind > 0 {
        found.add(InspectionVerdict::Suspicious, trailing_bytes(behind));
    }
}

/// An object still to be visited.
struct Pending {
    header: u64,
    path: String,
    depth: u8,
}

struct Walk<'a, 'f> {
    reader: Reader<'a>,
    found: &'f mut Found,
    tensors: Vec<Tensor>,
    /// Headers visited or waiting: an object with several names is visited once.
    seen: BTreeSet<u64>,
    pending: Vec<Pending>,
    path_bytes: usize,
}

impl<'a, 'f> Walk<'a, 'f> {
    const fn new(reader: Reader<'a>, found: &'f mut Found) -> Self {
        Self { reader, found, tensors: Vec::new(), seen: BTreeSet::new(), pending: Vec::new(), path_bytes: 0 }
    }

    fn objects(&mut self, root: u64) -> Result<()> {
        self.seen.insert(root);
        self.pending.push(Pending { header: root, path: String::new(), depth: 0 });
        while let Some(object) = self.pending.pop() {
            match self.object(&object) {
                // What is behind it may still be worse than not having been looked at.
                Err(error @ Hdf5Error::NotRead(_)) => error.report(self.found),
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn object(&mut self, object: &Pending) -> Result<()> {
        let mut messages = header::read(&mut self.reader, object.header)?;
        let expanded = dense::expand(&mut self.reader, &mut messages);
        let attributes = self.attributes(&messages);
        if dataset::is_dataset(&messages) {
            self.dataset(&object.path, &messages)?;
        } else if group::is_group(&messages) {
            self.group(object, &messages)?;
        }
        attributes.and(expanded)
    }

    fn group(&mut self, object: &Pending, messages: &[Message]) -> Result<()> {
        for Link { name, target } in group::links(&mut self.reader, messages)? {
            if name.is_empty() || name.contains('/') || name == "." || name == ".." {
                return Err(Hdf5Error::Invalid("the name of a link"));
            }
            match target {
                Target::Object(header) => self.enqueue(header, object, &name)?,
                Target::Path => {}
                Target::File(file) => self.found.add(InspectionVerdict::Dangerous, external_link(&name, &file)),
                Target::UserDefined(kind) => {
                    self.found.add(InspectionVerdict::Suspicious, user_defined_link(&name, kind));
                }
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, header: u64, parent: &Pending, name: &str) -> Result<()> {
        if !self.seen.insert(header) {
            return Ok(());
        }
        let path = if parent.path.is_empty() { name.to_owned() } else { format!("{}/{name}", parent.path) };
        self.path_bytes += path.len();
        if self.seen.len() > MAX_OBJECTS || self.path_bytes > MAX_PATH_BYTES {
            return Err(Hdf5Error::TooLarge);
        }
        if parent.depth == MAX_DEPTH {
            return Err(Hdf5Error::Cycle);
        }
        self.pending.push(Pending { header, path, depth: parent.depth + 1 });
        Ok(())
    }

    fn dataset(&mut self, path: &str, messages: &[Message]) -> Result<()> {
        let dataset = dataset::read(&self.reader, path, messages)?;
        if dataset.is_external {
            self.found.add(InspectionVerdict::Dangerous, external_storage(path));
        }
        if let Some(id) = dataset.plugin_filter {
            self.found.add(InspectionVerdict::Suspicious, plugin_filter(path, id));
        }
        self.tensors.extend(dataset.tensor);
        Ok(())
    }

    fn attributes(&mut self, messages: &[Message]) -> Result<()> {
        let (attributes, outcome) = attribute::all(&self.reader, messages);
        for attribute in attributes {
            match attribute.name.as_str() {
                name @ ("model_config" | "training_config") => {
                    let what = if name == "model_config" { "model configuration" } else { "training configuration" };
                    if let Some(text) = attribute.text(&mut self.reader)? {
                        keras::judge_text(&text, what, self.found);
                    }
                }
                name @ ("keras_version" | "backend") => {
                    let text = attribute.text(&mut self.reader)?.filter(|text| text.len() <= MAX_FACT_BYTES);
                    if let Some(text) = text {
                        self.found.facts.insert(name.to_owned(), json!(String::from_utf8_lossy(&text)));
                    }
                }
                _ => {}
            }
        }
        outcome
    }

    fn finish(self, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.found.weights = Some(Weights { tensors: self.tensors, ..Weights::default() }),
            Err(error) => error.report(self.found),
        }
    }
}

fn external_storage(path: &str) -> Finding {
    Finding::new(
        "HDF5_EXTERNAL_STORAGE",
        Severity::Critical,
        format!("The dataset `{}` takes its data from other files.", shown(path)),
        "do not load the file; weights belong into the file itself",
    )
}

fn external_link(name: &str, file: &str) -> Finding {
    Finding::new(
        "HDF5_EXTERNAL_LINK",
        Severity::Critical,
        format!("The link `{}` leads into the file `{}`.", shown(name), shown(file)),
        "do not load the file; weights belong into the file itself",
    )
}

fn user_defined_link(name: &str, kind: u8) -> Finding {
    Finding::new(
        "HDF5_USER_DEFINED_LINK",
        Severity::Medium,
        format!("The link `{}` is of type {kind}, which only a plug-in can follow.", shown(name)),
        "write the file anew without that link",
    )
}

fn plugin_filter(path: &str, id: u16) -> Finding {
    Finding::new(
        "HDF5_PLUGIN_FILTER",
        Severity::Medium,
        format!("Reading the dataset `{}` loads a library for the filter {id}.", shown(path)),
        "write the file anew without that filter",
    )
}

fn user_block(length: u64) -> Finding {
    Finding::new(
        "HDF5_USER_BLOCK",
        Severity::Medium,
        format!(
            "The first {length} bytes do not belong to the HDF5 file: other programs may read them as something else."
        ),
        "write the file anew without a user block",
    )
}

fn trailing_bytes(length: u64) -> Finding {
    Finding::new(
        "HDF5_TRAILING_BYTES",
        Severity::Medium,
        format!("The last {length} bytes do not belong to the HDF5 file."),
        "write the file anew without what is appended to it",
    )
}

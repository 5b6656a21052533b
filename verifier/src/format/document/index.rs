//! The index of a model whose weights are in several files (`model.safetensors.index.json`).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use sha2::{Digest, Sha256};

use super::Document;
use crate::evidence::{Finding, InspectionVerdict, Severity};
use crate::format::findings;
use crate::format::found::{Found, shown};
use crate::format::paths::escape;

/// Largest index that is read, in bytes; 100,000 tensors take some 10 MiB.
pub(super) const MAX_INDEX_BYTES: u64 = 20 * 1024 * 1024;
/// Files an index may name.
const MAX_FILES: usize = 10_000;

/// A tensor's name, shortened to a size that is the same for all.
pub(crate) type NameDigest = [u8; 16];

/// The first half of the name's SHA-256: names are kept for whole models, and are up to 4 KiB long.
pub(crate) fn name_digest(name: &str) -> NameDigest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&Sha256::digest(name)[..16]);
    digest
}

/// Which file holds which tensors.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Sorted digests of tensors' names by the name of their file.
    pub(crate) files: BTreeMap<String, Vec<NameDigest>>,
}

/// Reads an index and refuses files outside of its folder.
pub(super) fn read(bytes: &[u8], found: &mut Found) {
    let IndexDocument { weight_map: Some(map) } = (match serde_json::from_slice(bytes) {
        Ok(document) => document,
        Err(error) => return findings::malformed(found, "INDEX_INVALID", &error),
    }) else {
        // Other tools use the ending too, such as for vector indexes.
        return;
    };
    if let Some(name) = &map.repeated {
        let reason = format!("the index gives the tensor `{}` twice", shown(name));
        findings::malformed(found, "INDEX_DUPLICATE_KEY", &reason);
    }
    for name in map.files.keys().filter(|name| !is_plain(name)) {
        found.add(InspectionVerdict::Dangerous, outside(name));
    }
    if map.overflown {
        let reason = format!("the index names more than {MAX_FILES} files");
        findings::unscannable(found, "INDEX_TOO_LARGE", &reason, "write the weights into fewer files");
    }
    found.document = Some(Document::Index(Index { files: map.files }));
}

/// A file of the same folder or one below it.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && escape(name).is_none()
}

fn outside(name: &str) -> Finding {
    Finding::new(
        "INDEX_OUTSIDE_FOLDER",
        Severity::Critical,
        format!("The index points to `{}`, which is not a plain path inside the folder.", shown(name)),
        "do not load the model; obtain it again from a publisher you trust",
    )
}

#[derive(Deserialize)]
struct IndexDocument {
    weight_map: Option<WeightMap>,
}

#[derive(Default)]
struct WeightMap {
    files: BTreeMap<String, Vec<NameDigest>>,
    repeated: Option<String>,
    overflown: bool,
}

impl WeightMap {
    fn add(&mut self, tensor: &str, file: String) {
        if self.files.len() >= MAX_FILES && !self.files.contains_key(&file) {
            self.overflown = true;
            return;
        }
        self.files.entry(file).or_default().push(name_digest(tensor));
    }
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor;
        impl<'de> Visitor<'de> for MapVisitor {
            type Value = WeightMap;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object from tensors to files")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut seen = std::collections::HashSet::new();
                let mut weights = WeightMap::default();
                while let Some((tensor, file)) = map.next_entry::<String, String>()? {
                    if !seen.insert(name_digest(&tensor)) {
                        weights.repeated.get_or_insert(tensor);
                        continue;
                    }
                    weights.add(&tensor, file);
                }
                for names in weights.files.values_mut() {
                    names.sort_unstable();
                }
                Ok(weights)
            }
        }
        deserializer.deserialize_map(MapVisitor)
    }
}

//! An operator's own rows and texts over the built-in catalog.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Catalog, License};
use crate::license::MAX_TEXT_BYTES;

/// One file of an operator's catalog folder.
#[derive(Debug, Clone)]
pub struct CatalogFile {
    /// File name without folders.
    pub name: String,
    pub content: Vec<u8>,
}

/// Why an operator's catalog cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("{file}: {reason}")]
    Invalid { file: String, reason: String },
}

fn invalid(file: &CatalogFile, reason: impl Into<String>) -> CatalogError {
    CatalogError::Invalid { file: file.name.clone(), reason: reason.into() }
}

impl Catalog {
    /// This catalog with an operator's files over it, taken in the order of their names.
    ///
    /// `*.json` holds one row, a list of rows, or `{"licenses": […]}`. A row whose id is known
    /// changes the fields it names, as an RFC 7396 merge patch; another one is new and must be
    /// complete. `ID.txt` holds the text of a license. Other files are refused, so that a
    /// misspelled name is not silently nothing.
    pub fn with_files(&self, files: &[CatalogFile]) -> Result<Self, CatalogError> {
        let mut sorted: Vec<&CatalogFile> = files.iter().collect();
        sorted.sort_by(|left, right| left.name.cmp(&right.name));
        let mut licenses = self.licenses.clone();
        let mut texts = self.texts.clone();
        for file in &sorted {
            match Path::new(&file.name).extension().and_then(|extension| extension.to_str()) {
                Some("json") => put_rows(&mut licenses, file)?,
                Some("txt") => put_text(&mut texts, file)?,
                _ => return Err(invalid(file, "is neither ID.txt nor a .json file")),
            }
        }
        let version = if sorted.is_empty() { self.version.clone() } else { self.changed_version(&sorted) };
        let catalog = Self::of(version, licenses, texts);
        let stray = catalog.texts.keys().find(|id| catalog.find(id).is_none() && !is_spdx(id));
        match stray {
            Some(id) => {
                Err(CatalogError::Invalid { file: format!("{id}.txt"), reason: "no license has this id".into() })
            }
            None => Ok(catalog),
        }
    }

    fn changed_version(&self, files: &[&CatalogFile]) -> String {
        let mut hasher = Sha256::new();
        for file in files {
            hasher.update(format!("{} {}\n", file.name, hex::encode(Sha256::digest(&file.content))));
        }
        let digest = hex::encode(hasher.finalize());
        format!("{}+{}", self.version, digest.get(..16).unwrap_or_default())
    }
}

fn is_spdx(id: &str) -> bool {
    spdx::license_id(id).is_some()
}

fn put_rows(licenses: &mut Vec<License>, file: &CatalogFile) -> Result<(), CatalogError> {
    let document: Value = serde_json::from_slice(&file.content).map_err(|error| invalid(file, error.to_string()))?;
    let rows = match document {
        Value::Array(rows) => rows,
        Value::Object(mut object) => match object.remove("licenses") {
            Some(Value::Array(rows)) => rows,
            Some(_) => return Err(invalid(file, "`licenses` is not a list")),
            None => vec![Value::Object(object)],
        },
        _ => return Err(invalid(file, "holds no row")),
    };
    rows.into_iter().try_for_each(|row| put_row(licenses, row).map_err(|reason| invalid(file, reason)))
}

fn put_row(licenses: &mut Vec<License>, row: Value) -> Result<(), String> {
    let id = row.get("id").and_then(Value::as_str).ok_or("a row has no `id`")?.to_owned();
    if spdx::Expression::parse_mode(&id, spdx::ParseMode { allow_unknown: true, ..spdx::ParseMode::STRICT }).is_err() {
        return Err(format!("{id:?} is neither an SPDX id nor LicenseRef- with letters, digits, . and -"));
    }
    let known = licenses.iter_mut().find(|license| license.id == id);
    let mut whole = match &known {
        Some(license) => serde_json::to_value(&**license).map_err(|error| error.to_string())?,
        None => Value::Object(serde_json::Map::new()),
    };
    merge(&mut whole, row);
    let license: License = serde_json::from_value(whole.clone()).map_err(|error| format!("{id}: {error}"))?;
    check_known(&id, &whole, &license)?;
    match known {
        Some(place) => *place = license,
        None => licenses.push(license),
    }
    Ok(())
}

/// A misspelled field must not silently be no change.
fn check_known(id: &str, row: &Value, license: &License) -> Result<(), String> {
    let read = serde_json::to_value(license).map_err(|error| error.to_string())?;
    let mut fields = row.as_object().into_iter().flat_map(serde_json::Map::keys);
    let unknown = fields.find(|field| read.get(field.as_str()).is_none());
    unknown.map_or(Ok(()), |field| Err(format!("{id}: unknown field `{field}`")))
}

/// RFC 7396, but for null, which stays a value: the rows' fields are optional by null.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

fn put_text(texts: &mut HashMap<String, String>, file: &CatalogFile) -> Result<(), CatalogError> {
    let id = file.name.trim_end_matches(".txt").to_owned();
    if file.content.len() as u64 > MAX_TEXT_BYTES {
        return Err(invalid(file, format!("is longer than {MAX_TEXT_BYTES} bytes")));
    }
    let text = String::from_utf8(file.content.clone()).map_err(|_| invalid(file, "is not UTF-8"))?;
    texts.insert(id, text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::catalog::Confidence;

    fn file(name: &str, content: &str) -> CatalogFile {
        CatalogFile { name: name.to_owned(), content: content.as_bytes().to_vec() }
    }

    #[test]
    fn a_review_raises_a_row_and_leaves_the_rest_of_it() {
        let row = r#"{"id": "LicenseRef-deepfloyd-if", "confidence": "A", "reviewed_by": "Legal"}"#;
        let catalog = Catalog::built_in().with_files(&[file("reviews.json", row)]).unwrap();
        let license = catalog.find("LicenseRef-deepfloyd-if").unwrap();
        assert_eq!((license.confidence, license.reviewed_by.as_deref()), (Confidence::A, Some("Legal")));
        assert_eq!(license.class, "research-only");
        assert_ne!(catalog.version(), Catalog::built_in().version());
    }

    #[test]
    fn a_new_row_has_to_be_complete_and_its_text_counts() {
        let mut whole = serde_json::to_value(Catalog::built_in().find("MIT").unwrap()).unwrap();
        whole["id"] = "LicenseRef-acme-1.0".into();
        let files = [file("acme.json", &whole.to_string()), file("LicenseRef-acme-1.0.txt", "Do as you like.")];
        let catalog = Catalog::built_in().with_files(&files).unwrap();
        assert_eq!(catalog.text("LicenseRef-acme-1.0"), Some("Do as you like."));
        let partial = file("acme.json", r#"{"id": "LicenseRef-acme-1.0", "name": "Acme"}"#);
        let error = Catalog::built_in().with_files(&[partial]).unwrap_err().to_string();
        assert!(error.contains("missing field"), "{error}");
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for (name, content, words) in [
            ("a.json", "{", "a.json"),
            ("a.json", r#"{"id": "LicenseRef-a b"}"#, "LicenseRef-"),
            ("a.json", r#"{"id": "MIT", "comercial_use": "allowed"}"#, "comercial_use"),
            ("a.yaml", "", "neither"),
            ("LicenseRef-nobody.txt", "text", "no license has this id"),
        ] {
            let error = Catalog::built_in().with_files(&[file(name, content)]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

//! What package metadata beside a model says about its license.
//!
//! Packaging files often come from the code a model was trained with, so theirs is one more
//! statement to hold against the card, and never more than that.

use serde_json::Value;

use super::yaml;

/// Most licenses that one file may list.
const MAX_LICENSES: usize = 16;
/// Longest words, in bytes, that name a license; what is longer is a text.
const MAX_WORDS_BYTES: usize = 200;

/// How a package states its license.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PackageLicense {
    /// An id, an expression or a name.
    Words(String),
    /// The words of a license.
    Text(String),
    /// A file of the revision that holds the license.
    File(String),
}

/// The license in the package metadata `text` of the file at `path`, or why it cannot be read.
pub(super) fn read(path: &str, text: &str) -> Result<Option<PackageLicense>, String> {
    match path.to_ascii_lowercase().as_str() {
        "pyproject.toml" => pyproject(text),
        "package.json" => package_json(text),
        "citation.cff" => citation(text),
        _ => setup_cfg(text),
    }
}

/// `[project].license`: an expression as in PEP 639, or a table as in PEP 621.
fn pyproject(text: &str) -> Result<Option<PackageLicense>, String> {
    let document: Value = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let Some(license) = document.pointer("/project/license") else { return Ok(None) };
    match (license, license.get("text"), license.get("file")) {
        (Value::String(words), ..) | (_, Some(Value::String(words)), None) => Ok(words_or_text(words)),
        (_, None, Some(Value::String(path))) => Ok(Some(PackageLicense::File(path.clone()))),
        _ => Err("`license` is neither a text nor a table of one `text` or `file`".to_owned()),
    }
}

/// npm's `license`, or the older `licenses`.
fn package_json(text: &str) -> Result<Option<PackageLicense>, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Some(license) = document.get("license").or_else(|| document.get("licenses")) else { return Ok(None) };
    let words = names(license)?.join(", ");
    match words.strip_prefix("SEE LICENSE IN ") {
        Some(path) => Ok(Some(PackageLicense::File(path.trim().to_owned()))),
        None => Ok(words_or_text(&words)),
    }
}

/// Of several licenses of a citation file, the reader may choose one (Citation File Format 1.2).
fn citation(text: &str) -> Result<Option<PackageLicense>, String> {
    let document = yaml::value(text).map_err(|error| error.to_string())?;
    let Some(license) = document.get("license") else { return Ok(None) };
    Ok(words_or_text(&names(license)?.join(" OR ")))
}

fn names(license: &Value) -> Result<Vec<&str>, String> {
    let names: Option<Vec<&str>> = match license {
        Value::Array(licenses) if licenses.len() <= MAX_LICENSES => licenses.iter().map(name_of).collect(),
        one => name_of(one).map(|name| vec![name]),
    };
    names.ok_or_else(|| format!("the license is neither a text nor a list of at most {MAX_LICENSES} texts"))
}

fn name_of(license: &Value) -> Option<&str> {
    license.as_str().or_else(|| license.get("type")?.as_str())
}

/// `license` in `[metadata]`; further lines of a value are indented.
fn setup_cfg(text: &str) -> Result<Option<PackageLicense>, String> {
    let mut in_metadata = false;
    let mut license: Option<String> = None;
    let mut in_license = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        if line.starts_with([' ', '\t']) {
            if let (true, Some(license)) = (in_license, &mut license) {
                license.push(' ');
                license.push_str(line.trim());
            }
            continue;
        }
        in_license = false;
        if line.starts_with('[') {
            in_metadata = line.trim_end() == "[metadata]";
        } else if let (true, Some((key, value))) = (in_metadata, line.split_once(['=', ':']))
            && key.trim().eq_ignore_ascii_case("license")
        {
            if license.is_some() {
                return Err("`license` is given twice".to_owned());
            }
            in_license = true;
            license = Some(value.trim().to_owned());
        }
    }
    Ok(license.as_deref().and_then(words_or_text))
}

fn words_or_text(words: &str) -> Option<PackageLicense> {
    let words = words.trim().to_owned();
    match words.len() {
        0 => None,
        1..=MAX_WORDS_BYTES => Some(PackageLicense::Words(words)),
        _ => Some(PackageLicense::Text(words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &str) -> PackageLicense {
        PackageLicense::Words(words.to_owned())
    }

    #[test]
    fn each_form_of_package_metadata_is_read() {
        for (path, text, expected) in [
            ("pyproject.toml", "[project]\nlicense = \"MIT OR Apache-2.0\"", "MIT OR Apache-2.0"),
            ("pyproject.toml", "[project]\nlicense = {text = \"MIT\"}", "MIT"),
            ("package.json", r#"{"license": "MIT"}"#, "MIT"),
            ("package.json", r#"{"license": {"type": "MIT", "url": "x"}}"#, "MIT"),
            ("package.json", r#"{"licenses": [{"type": "MIT"}, "ISC"]}"#, "MIT, ISC"),
            ("CITATION.cff", "cff-version: 1.2.0\nlicense: [MIT, ISC]", "MIT OR ISC"),
            ("setup.cfg", "[tool]\nlicense = no\n[metadata]\n# note\nLicense:  MIT\nname = x", "MIT"),
            ("setup.cfg", "[metadata]\nlicense =\n    Apache-2.0\n[x]\nlicense = no", "Apache-2.0"),
        ] {
            assert_eq!(read(path, text), Ok(Some(words(expected))), "{text}");
        }
    }

    #[test]
    fn a_package_may_point_at_a_file_or_hold_a_text_or_say_nothing() {
        let file = Ok(Some(PackageLicense::File("LICENSE".to_owned())));
        assert_eq!(read("pyproject.toml", "[project]\nlicense = {file = \"LICENSE\"}"), file);
        assert_eq!(read("package.json", r#"{"license": "SEE LICENSE IN LICENSE"}"#), file);
        let long = format!("[project]\nlicense = {{text = \"{}\"}}", "x".repeat(300));
        assert!(matches!(read("pyproject.toml", &long), Ok(Some(PackageLicense::Text(_)))));
        for (path, text) in [("pyproject.toml", "[tool.x]\n"), ("package.json", "{}"), ("setup.cfg", "license = MIT")] {
            assert_eq!(read(path, text), Ok(None), "{path}");
        }
    }

    #[test]
    fn hostile_package_metadata_is_refused() {
        let deep_keys = format!("{} = 1", vec!["a"; 50_000].join("."));
        let deep_arrays = format!("a = {}{}", "[".repeat(50_000), "]".repeat(50_000));
        let bomb = format!("a: &a [{}]\nlicense: [{}]", "x,".repeat(20_000), "*a,".repeat(20_000));
        for (path, text) in [
            ("pyproject.toml", deep_keys.as_str()),
            ("pyproject.toml", &deep_arrays),
            ("pyproject.toml", "[project]\nlicense = 3"),
            ("pyproject.toml", "[project]\nlicense = \"MIT\"\nlicense = \"ISC\""),
            ("package.json", &"[".repeat(100_000)),
            ("package.json", r#"{"license": 3}"#),
            ("CITATION.cff", &bomb),
            ("setup.cfg", "[metadata]\nlicense = MIT\nlicense = ISC"),
        ] {
            assert!(read(path, text).is_err(), "{path}: {}", &text[..text.len().min(60)]);
        }
    }
}

//! L0: which file is the model, and is its header well formed?

use verifier::ReadAt;
use verifier::evidence::{Finding, Severity};
use verifier::format::gguf::{self, GgufError, Header, Value};

use super::{ModelFile, Passed, Stop};

/// Finds the model among `files` and reads its header.
pub(crate) fn check(files: &[ModelFile]) -> Result<Passed<(&ModelFile, Header)>, Stop> {
    let file = select(files)?;
    let header = gguf::read_header(&file.reader).map_err(|error| refused(file, &error))?;
    refuse_split(file, &header)?;
    let detail = format!(
        "GGUF version {} with {} tensors and {} parameters",
        header.version,
        header.tensors.len(),
        header.parameters()
    );
    Ok(Passed::new((file, header), detail, Vec::new()))
}

fn select(files: &[ModelFile]) -> Result<&ModelFile, Stop> {
    let candidates: Vec<&ModelFile> = files.iter().filter(|file| is_gguf(file)).collect();
    match candidates[..] {
        [file] => Ok(file),
        [] => Err(unsupported(
            "CONTAINER_UNSUPPORTED",
            no_gguf(files),
            "Only GGUF files are run; convert the model to GGUF to have it probed.",
        )),
        _ => Err(unsupported(
            "SEVERAL_MODELS",
            format!("{} GGUF files, of which a probe runs one", candidates.len()),
            "Probe each file by itself, or keep one model in a revision.",
        )),
    }
}

fn is_gguf(file: &ModelFile) -> bool {
    let mut magic = [0; 4];
    let starts_with_magic = file.reader.read_exact_at(0, &mut magic).is_ok() && magic == gguf::MAGIC;
    starts_with_magic || extension(file) == Some("gguf")
}

fn extension(file: &ModelFile) -> Option<&str> {
    std::path::Path::new(&file.name).extension()?.to_str()
}

fn no_gguf(files: &[ModelFile]) -> String {
    match files {
        [] => "there is no weight file to run".to_owned(),
        [file] => format!("`{}` is not a GGUF file", file.name),
        [file, ..] => format!("`{}` and {} other files are not GGUF files", file.name, files.len() - 1),
    }
}

fn refused(file: &ModelFile, error: &GgufError) -> Stop {
    if let GgufError::Io(error) = error {
        return Stop::unreadable(&file.name, error);
    }
    let finding = Finding::new(
        error.code(),
        Severity::High,
        error.to_string(),
        "Obtain the file again from its publisher and compare the digest.",
    )
    .at(&file.name);
    if error.is_unsupported() { Stop::unsupported(finding) } else { Stop::failed(vec![finding]) }
}

fn refuse_split(file: &ModelFile, header: &Header) -> Result<(), Stop> {
    match header.get("split.count").and_then(Value::as_u64) {
        None | Some(0 | 1) => Ok(()),
        Some(parts) => Err(unsupported(
            "SPLIT_MODEL_UNSUPPORTED",
            format!("`{}` is one of {parts} parts of a model", file.name),
            "Join the parts into one file to have the model probed.",
        )),
    }
}

fn unsupported(code: &str, detail: String, remedy: &str) -> Stop {
    Stop::unsupported(Finding::new(code, Severity::Info, detail, remedy))
}

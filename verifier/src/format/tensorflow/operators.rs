//! Which operations of a graph do more than compute.
//!
//! Saving and restoring of checkpoints is in every SavedModel and is let be, as is the loading
//! of vocabulary tables from assets.

use super::super::found::{Found, shown};
use crate::evidence::{Finding, InspectionVerdict, Severity};

/// Run Python of the process that loads the graph.
const PYTHON: [&str; 5] = ["EagerPyFunc", "PyCall", "PyFunc", "PyFuncStateless", "Py_Func"];

/// Read, list or write files that the graph names.
const FILES: [&str; 22] = [
    "CopyFile",
    "CreateSummaryDbWriter",
    "DeleteFile",
    "DumpGraph",
    "FileSystemSetConfiguration",
    "ImmutableConst",
    "LoadDataset",
    "LoadLibrary",
    "LoadOpLibrary",
    "MatchingFiles",
    "MatchingFilesDataset",
    "PrintToFile",
    "ReadFile",
    "RenameFile",
    "SaveDataset",
    "SnapshotDataset",
    "SnapshotDatasetReader",
    "SnapshotNestedDatasetReader",
    "WholeFileReader",
    "WriteFile",
    "WriteGraphToFile",
    "WriteRawProtoToFile",
];

/// Read training data from files or databases: in order in a training graph, out of place in a model.
const DATA: [&str; 18] = [
    "CSVDataset",
    "CacheDataset",
    "CreateSummaryFileWriter",
    "DecodeProto",
    "EncodeProto",
    "FixedLengthRecordDataset",
    "FixedLengthRecordReader",
    "LMDBDataset",
    "LMDBReader",
    "ListDataset",
    "SSTableDataset",
    "SqlDataset",
    "TFRecordDataset",
    "TFRecordReader",
    "TextLineDataset",
    "TextLineReader",
    "Abort",
    "IteratorFromStringHandle",
];

/// Talk to other machines.
const NETWORK: [&str; 16] = [
    "BigQueryReader",
    "BigtableClient",
    "DataServiceDataset",
    "DebugIdentity",
    "DebugNanCount",
    "DebugNumericSummary",
    "GcsConfigureBlockCache",
    "GcsConfigureCredentials",
    "GenerateBigQueryReaderPartitions",
    "KafkaDataset",
    "PubSubDataset",
    "RegisterDataset",
    "Rpc",
    "RpcCall",
    "RpcClient",
    "TryRpc",
];

/// Adds what is wrong with an operation of this name.
pub(in super::super) fn judge(operator: &str, found: &mut Found) {
    let name = base_name(operator);
    if PYTHON.contains(&name) {
        found.add(InspectionVerdict::Dangerous, python(operator));
    } else if FILES.contains(&name) {
        found.add(InspectionVerdict::Dangerous, file(operator));
    } else if NETWORK.contains(&name) {
        found.add(InspectionVerdict::Dangerous, network(operator));
    } else if DATA.contains(&name) {
        found.add(InspectionVerdict::Suspicious, data(operator));
    } else if operator.contains('>') {
        // Operations outside TensorFlow have a namespace in front by its convention.
        found.add(InspectionVerdict::Suspicious, custom(operator));
    }
}

/// Judges every known operation whose name occurs as a word of `text`.
pub(in super::super) fn judge_in_text(text: &str, found: &mut Found) {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    for word in text.split(|character| !is_name(character)) {
        let name = base_name(word);
        if [&PYTHON[..], &FILES, &NETWORK].iter().any(|names| names.contains(&name)) {
            judge(word, found);
        }
    }
}

/// Whether the operation writes where its attribute `output_stream` says.
pub(super) fn prints(operator: &str) -> bool {
    operator == "PrintV2"
}

/// Adds what is wrong with where an operation prints to.
pub(super) fn judge_stream(stream: &str, found: &mut Found) {
    if !matches!(stream, "" | "stdout" | "stderr") && !stream.starts_with("log(") {
        found.add(InspectionVerdict::Dangerous, file(&format!("PrintV2 to {stream}")));
    }
}

/// Without the mark of an experimental operation and without its version.
fn base_name(operator: &str) -> &str {
    let name = operator.strip_prefix("Experimental").unwrap_or(operator);
    match name.rsplit_once('V') {
        Some((base, version)) if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) => base,
        _ => name,
    }
}

fn python(operator: &str) -> Finding {
    Finding::new(
        "TENSORFLOW_PYTHON_OPERATOR",
        Severity::Critical,
        format!("The graph runs Python code by the operation `{}`.", shown(operator)),
        "do not load the model; ask for an export without Python operations",
    )
}

fn file(operator: &str) -> Finding {
    Finding::new(
        "TENSORFLOW_FILE_OPERATOR",
        Severity::Critical,
        format!("The graph reaches files by the operation `{}`.", shown(operator)),
        "do not load the model; ask for an export that only computes",
    )
}

fn network(operator: &str) -> Finding {
    Finding::new(
        "TENSORFLOW_NETWORK_OPERATOR",
        Severity::Critical,
        format!("The graph talks to other machines by the operation `{}`.", shown(operator)),
        "do not load the model; ask for an export that only computes",
    )
}

fn data(operator: &str) -> Finding {
    Finding::new(
        "TENSORFLOW_DATA_OPERATOR",
        Severity::Medium,
        format!("The graph holds `{}`, which belongs to training and not to a model.", shown(operator)),
        "ask for an export for inference",
    )
}

fn custom(operator: &str) -> Finding {
    Finding::new(
        "TENSORFLOW_CUSTOM_OPERATOR",
        Severity::Medium,
        format!("The graph uses the operation `{}`, which a library has to bring.", shown(operator)),
        "load it only with a library for this operation that you trust",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(operator: &str) -> InspectionVerdict {
        let mut found = Found::new();
        judge(operator, &mut found);
        found.verdict
    }

    #[test]
    fn versions_and_experimental_forms_are_judged_alike() {
        for operator in ["ReadFile", "WholeFileReaderV2", "ExperimentalLoadDataset", "SnapshotDatasetV2", "EagerPyFunc"]
        {
            assert_eq!(verdict(operator), InspectionVerdict::Dangerous, "{operator}");
        }
        for operator in ["TFRecordDatasetV2", "TextLineReader", "Addons>Gelu"] {
            assert_eq!(verdict(operator), InspectionVerdict::Suspicious, "{operator}");
        }
    }

    #[test]
    fn saving_restoring_and_tables_are_let_be() {
        let usual = ["SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "InitializeTableFromTextFileV2"];
        for operator in usual.into_iter().chain(["AddV2", "Conv2D", "StatefulPartitionedCall", "PrintV2", "V2", ""]) {
            assert_eq!(verdict(operator), InspectionVerdict::Ok, "{operator}");
        }
    }

    #[test]
    fn printing_to_a_file_is_writing_one() {
        for (stream, verdict) in [("stderr", InspectionVerdict::Ok), ("file:///tmp/x", InspectionVerdict::Dangerous)] {
            let mut found = Found::new();
            judge_stream(stream, &mut found);
            assert_eq!(found.verdict, verdict);
        }
    }
}

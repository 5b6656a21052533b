//! The strict safetensors reader against the published ways to abuse the format.

use std::fmt::Write as _;

use verifier::format::safetensors::{self, Dtype};
use weighhouse_tests::environment;
use weighhouse_tests::safetensors::{Builder, Tensor, abuses};

fn code(bytes: impl Into<Vec<u8>>) -> &'static str {
    match safetensors::read_header(&bytes.into()) {
        Ok(_) => "OK",
        Err(error) => error.code(),
    }
}

#[test]
fn a_good_file_is_described_exactly() {
    let bytes = Builder::good().build();
    let header = safetensors::read_header(&bytes).unwrap();
    assert_eq!(header.get("format"), Some("pt"));
    assert_eq!(header.parameters(), 12);
    let bias = header.tensor("output.bias").unwrap();
    assert_eq!((bias.dtype, bias.shape.as_slice(), bias.byte_length), (Dtype::F32, &[4][..], 16));
    assert_eq!(bias.offset + bias.byte_length, bytes.len() as u64);
}

#[test]
fn scalars_empty_tensors_and_packed_types_are_accepted() {
    let bytes = Builder::new()
        .tensor(Tensor::new("scalar", "I64", &[], vec![0; 8]))
        .tensor(Tensor::new("empty", "F32", &[0, 4], Vec::new()))
        .tensor(Tensor::new("packed", "F4", &[2, 2], vec![0; 2]))
        .build();
    assert_eq!(safetensors::read_header(&bytes).unwrap().parameters(), 5);
}

#[test]
fn every_published_abuse_is_refused() {
    for abuse in abuses() {
        assert_ne!(code(abuse.bytes.clone()), "OK", "{}", abuse.name);
    }
}

#[test]
fn abuses_are_refused_for_their_own_reason() {
    let expected = [
        ("seven bytes", "SAFETENSORS_TRUNCATED"),
        ("header longer than the file", "SAFETENSORS_HEADER_EXCEEDS_FILE"),
        ("overlapping tensors", "SAFETENSORS_OVERLAPPING_TENSORS"),
        ("hole between tensors", "SAFETENSORS_HOLE"),
        ("negative offset", "SAFETENSORS_INVALID_ENTRY"),
        ("end before start", "SAFETENSORS_REVERSED_OFFSETS"),
        ("bytes after the last tensor", "SAFETENSORS_TRAILING_BYTES"),
        ("shape larger than the data", "SAFETENSORS_SIZE_MISMATCH"),
        ("shape that overflows 64 bits", "SAFETENSORS_SIZE_OVERFLOW"),
        ("unknown element type", "SAFETENSORS_UNKNOWN_DTYPE"),
        ("tensor named twice", "SAFETENSORS_DUPLICATE_KEY"),
        ("license declared twice", "SAFETENSORS_DUPLICATE_METADATA_KEY"),
        ("metadata that is not text", "SAFETENSORS_INVALID_METADATA"),
        ("invalid UTF-8", "SAFETENSORS_INVALID_UTF8"),
        ("header that is not an object", "SAFETENSORS_INVALID_JSON"),
        ("deeply nested header", "SAFETENSORS_INVALID_JSON"),
    ];
    let all = abuses();
    for (name, expected) in expected {
        let abuse = all.iter().find(|abuse| abuse.name == name).unwrap();
        assert_eq!(code(abuse.bytes.clone()), expected, "{name}");
    }
}

#[test]
fn metadata_given_twice_is_refused() {
    let header = br#"{"__metadata__":{"a":"1"},"__metadata__":{"a":"1"}}"#;
    assert_eq!(code(Builder::new().header(header).build()), "SAFETENSORS_DUPLICATE_KEY");
}

#[test]
fn headers_above_the_limit_are_refused_by_name() {
    let length = safetensors::MAX_HEADER_BYTES + 8;
    let mut header = b"{}".to_vec();
    header.resize(usize::try_from(length).unwrap(), b' ');
    assert_eq!(code(Builder::new().header(header).build()), "SAFETENSORS_HEADER_TOO_LARGE");
}

#[test]
fn entries_that_would_exhaust_memory_are_refused_by_name() {
    let mut header = String::from("{");
    for index in 0..180_000 {
        write!(header, "\"{index}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}},").unwrap();
    }
    header.pop();
    header.push('}');
    assert_eq!(code(Builder::new().header(header).build()), "SAFETENSORS_HEADER_TOO_COMPLEX");
}

#[test]
fn foreign_samples_are_judged_as_their_names_say() {
    let Some(vectors) = environment::vectors() else { return };
    let safe = fs_err::read(vectors.join("safetensors/safe_model.safetensors")).unwrap();
    assert_eq!(code(safe), "OK");
}

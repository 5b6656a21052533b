//! The strict GGUF reader against files that readers in the wild disagree on.

use verifier::format::gguf::{self, Array, GgufError, TensorType};
use weighhouse_tests::environment;
use weighhouse_tests::gguf::{Builder, Tensor, TinyLlama, Value};

fn code(bytes: impl Into<Vec<u8>>) -> &'static str {
    match gguf::read_header(&bytes.into()) {
        Ok(_) => "OK",
        Err(error) => error.code(),
    }
}

fn two_tensors(second_offset: u64) -> Vec<u8> {
    Builder::new()
        .tensor(Tensor::f32("a", &[16], &[1.0; 16]))
        .tensor(Tensor::f32("b", &[16], &[2.0; 16]).at_offset(second_offset))
        .build()
}

#[test]
fn a_runnable_model_is_described_exactly() {
    let bytes = TinyLlama::new().build();
    let header = gguf::read_header(&bytes).unwrap();
    assert_eq!(header.version, 3);
    assert_eq!(header.alignment, 32);
    assert_eq!(header.architecture(), Some("llama"));
    assert!(header.get("tokenizer.ggml.tokens").unwrap().as_array().unwrap().as_strings().unwrap().len() > 256);
    let embedding = header.tensor("token_embd.weight").unwrap();
    assert!(embedding.offset >= header.data_offset);
    assert_eq!(header.parameters(), header.tensors.iter().map(gguf::TensorInfo::elements).sum::<u64>());
}

#[test]
fn tensors_of_unrunnable_types_are_sized() {
    // MXFP4: 32 elements in 17 bytes; IQ4_XS: 256 in 136.
    let bytes = Builder::new()
        .tensor(Tensor::new("a", &[64], 39, vec![0; 34]))
        .tensor(Tensor::new("b", &[256, 2], 23, vec![0; 272]))
        .build();
    let header = gguf::read_header(&bytes).unwrap();
    assert_eq!(header.tensors[0].tensor_type, TensorType::MXFP4);
    assert_eq!(header.tensors[1].byte_length, 272);
}

#[test]
fn numbers_keep_their_types() {
    let bytes = Builder::new()
        .metadata("a", Value::I64(-1))
        .metadata("b", Value::U16(7))
        .metadata("c", Value::Array(vec![Value::I32(-5), Value::I32(6)]))
        .build();
    let header = gguf::read_header(&bytes).unwrap();
    assert_eq!(header.get("a"), Some(&gguf::Value::I64(-1)));
    assert_eq!(header.get("a").unwrap().as_u64(), None);
    assert_eq!(header.get("b").unwrap().as_u64(), Some(7));
    assert_eq!(header.get("c").unwrap().as_array(), Some(&Array::I32(vec![-5, 6])));
}

#[test]
fn files_without_the_magic_are_refused() {
    for bytes in [&b""[..], b"GG", b"GGML\x01\0\0\0", b"lmgg\x01\0\0\0"] {
        assert_eq!(code(bytes.to_vec()), "GGUF_BAD_MAGIC");
    }
}

#[test]
fn big_endian_files_are_unsupported_by_name() {
    assert_eq!(code(Builder { magic: *b"FUGG", ..Builder::minimal() }.build()), "GGUF_BIG_ENDIAN");
    let swapped = Builder { version: 3_u32.swap_bytes(), ..Builder::minimal() }.build();
    let error = gguf::read_header(&swapped).unwrap_err();
    assert!(matches!(error, GgufError::BigEndian));
    assert!(error.is_unsupported());
}

#[test]
fn only_versions_2_and_3_are_read() {
    for (version, expected) in [(1, "GGUF_VERSION_UNSUPPORTED"), (2, "OK"), (3, "OK"), (4, "GGUF_VERSION_UNSUPPORTED")]
    {
        assert_eq!(code(Builder { version, ..Builder::minimal() }.build()), expected, "version {version}");
    }
}

#[test]
fn claims_larger_than_the_file_are_refused_before_allocation() {
    let minimal = Builder::minimal;
    assert_eq!(code(minimal().claim_tensor_count(1 << 62).build()), "GGUF_COUNTS_EXCEED_FILE");
    assert_eq!(code(minimal().claim_metadata_count(1 << 62).build()), "GGUF_COUNTS_EXCEED_FILE");
    assert_eq!(
        code(Builder::new().metadata("a", Value::raw_string(1 << 63, b"x")).build()),
        "GGUF_LENGTH_OUT_OF_BOUNDS"
    );
    assert_eq!(
        code(Builder::new().metadata("a", Value::raw_array(0, 1 << 40, b"x")).build()),
        "GGUF_ARRAY_OUT_OF_BOUNDS"
    );
    assert_eq!(
        code(Builder::new().metadata("a", Value::raw_array(12, u64::MAX, b"x")).build()),
        "GGUF_ARRAY_OUT_OF_BOUNDS"
    );
}

#[test]
fn every_truncation_of_a_model_is_refused() {
    let bytes = TinyLlama::new().build();
    let header = gguf::read_header(&bytes).unwrap();
    let end = usize::try_from(header.data_offset).unwrap();
    for length in (0..end).step_by(7).chain([end, bytes.len() - 64]) {
        assert_ne!(code(bytes[..length].to_vec()), "OK", "{length} bytes");
    }
}

#[test]
fn arrays_nest_four_levels_and_no_deeper() {
    let nested = |depth| code(Builder::new().metadata("a", Value::nested_array(depth)).build());
    assert_eq!(nested(4), "OK");
    assert_eq!(nested(5), "GGUF_NESTED_TOO_DEEP");
    assert_eq!(nested(10_000), "GGUF_NESTED_TOO_DEEP");
}

#[test]
fn a_header_of_64_mebibytes_is_refused() {
    let bytes = Builder::new().metadata("a", Value::raw_array(0, 64 << 20, &vec![0; 64 << 20])).build();
    assert_eq!(code(bytes), "GGUF_HEADER_TOO_LARGE");
}

#[test]
fn a_license_given_twice_is_named_as_such() {
    let bytes = Builder::minimal()
        .metadata("general.license", Value::string("apache-2.0"))
        .metadata("general.license", Value::string("cc-by-nc-4.0"))
        .build();
    assert_eq!(code(bytes), "GGUF_DUPLICATE_LICENSE_KEY");
    let other_twice = || Builder::minimal().metadata("x", Value::U8(1)).metadata("x", Value::U8(1));
    assert_eq!(code(other_twice().build()), "GGUF_DUPLICATE_KEY");
    let parent_key = "general.base_model.0.name";
    let parent_twice =
        || other_twice().metadata(parent_key, Value::string("a")).metadata(parent_key, Value::string("b"));
    assert_eq!(code(parent_twice().build()), "GGUF_DUPLICATE_LINEAGE_KEY");
    let license_last = parent_twice()
        .metadata("general.license", Value::string("mit"))
        .metadata("general.license", Value::string("other"));
    assert_eq!(code(license_last.build()), "GGUF_DUPLICATE_LICENSE_KEY");
}

#[test]
fn names_must_be_visible_utf8() {
    let key = |key: &[u8]| code(Builder::new().metadata(key, Value::U8(1)).build());
    assert_eq!(key(b"\xff\xfe"), "GGUF_INVALID_UTF8");
    assert_eq!(key(b"general.license\0"), "GGUF_INVALID_NAME");
    assert_eq!(key(b""), "GGUF_INVALID_NAME");
    assert_eq!(key(&vec![b'k'; 70_000]), "GGUF_LENGTH_OUT_OF_BOUNDS");
    let tensor = |name: &[u8]| code(Builder::new().tensor(Tensor::f32(name, &[1], &[1.0])).build());
    assert_eq!(tensor(b"a\nb"), "GGUF_INVALID_NAME");
    assert_eq!(tensor(&[b'n'; 256]), "GGUF_LENGTH_OUT_OF_BOUNDS");
}

#[test]
fn values_must_be_what_their_key_says() {
    assert_eq!(code(Builder::new().metadata("general.license", Value::U32(2)).build()), "GGUF_WRONG_VALUE_TYPE");
    assert_eq!(
        code(Builder::new().metadata("a", Value::Raw { type_id: 7, bytes: vec![2] }).build()),
        "GGUF_INVALID_BOOL"
    );
    assert_eq!(
        code(Builder::new().metadata("a", Value::Raw { type_id: 13, bytes: vec![0; 8] }).build()),
        "GGUF_UNKNOWN_VALUE_TYPE"
    );
}

#[test]
fn alignment_is_a_power_of_two_of_at_least_eight() {
    let alignment = |value| code(Builder::minimal().declared_alignment(value).build());
    assert_eq!(alignment(8), "OK");
    assert_eq!(alignment(4096), "OK");
    for value in [0, 1, 4, 7, 12, u32::MAX, 1 << 31] {
        assert_eq!(alignment(value), "GGUF_INVALID_ALIGNMENT", "{value}");
    }
    assert_eq!(code(Builder::minimal().metadata("general.alignment", Value::U64(32)).build()), "GGUF_WRONG_VALUE_TYPE");
}

#[test]
fn shapes_that_lie_are_refused() {
    let shape = |dimensions: &[u64], type_id| {
        code(Builder::new().tensor(Tensor::new("a", dimensions, type_id, vec![0; 64])).build())
    };
    assert_eq!(shape(&[16], 0), "OK");
    assert_eq!(shape(&[], 0), "GGUF_DIMENSION_COUNT");
    assert_eq!(shape(&[1, 1, 1, 1, 16], 0), "GGUF_DIMENSION_COUNT");
    assert_eq!(shape(&[16, 0], 0), "GGUF_ZERO_DIMENSION");
    assert_eq!(shape(&[1 << 32, 1 << 32], 0), "GGUF_SIZE_OVERFLOW");
    assert_eq!(shape(&[1 << 63], 0), "GGUF_SIZE_OVERFLOW");
    assert_eq!(shape(&[31], 2), "GGUF_ROW_NOT_BLOCK_ALIGNED");
    assert_eq!(shape(&[16], 99), "GGUF_UNKNOWN_TENSOR_TYPE");
    assert_eq!(shape(&[17], 0), "GGUF_TENSOR_OUT_OF_BOUNDS");
}

#[test]
fn tensors_tile_the_data_exactly() {
    assert_eq!(code(two_tensors(64)), "OK");
    assert_eq!(code(two_tensors(0)), "GGUF_OVERLAPPING_TENSORS");
    assert_eq!(code(two_tensors(32)), "GGUF_OVERLAPPING_TENSORS");
    assert_eq!(code(two_tensors(65)), "GGUF_MISALIGNED_TENSOR");
    assert_eq!(code(two_tensors(1 << 40)), "GGUF_TENSOR_OUT_OF_BOUNDS");
    assert_eq!(code(two_tensors(u64::MAX - 31)), "GGUF_SIZE_OVERFLOW");
    let mut gap = Builder::new().tensor(Tensor::f32("a", &[16], &[1.0; 16]).at_offset(32));
    gap.trailer = vec![0; 32];
    assert_eq!(code(gap.build()), "GGUF_UNCLAIMED_BYTES");
    let twice = Builder::minimal().tensor(Tensor::f32("token_embd.weight", &[1], &[1.0]));
    assert_eq!(code(twice.build()), "GGUF_DUPLICATE_TENSOR");
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let with = |trailer: &[u8]| code(Builder { trailer: trailer.to_vec(), ..Builder::minimal() }.build());
    assert_eq!(with(b""), "OK");
    assert_eq!(with(b"PK\x05\x06"), "GGUF_TRAILING_BYTES");
    assert_eq!(with(&[0; 64]), "GGUF_TRAILING_BYTES");
    // Some writers leave the last tensor unpadded.
    let mut unpadded = Builder::new().tensor(Tensor::f32("a", &[1], &[1.0])).build();
    unpadded.truncate(unpadded.len() - 28);
    assert_eq!(code(unpadded), "OK");
}

/// Real weights are never read for a header: the source refuses reads beyond the data offset.
#[test]
fn weights_are_not_read() {
    struct HeaderOnly {
        bytes: Vec<u8>,
        readable: u64,
    }
    impl verifier::ReadAt for HeaderOnly {
        fn size(&self) -> u64 {
            self.bytes.len() as u64
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            assert!(offset < self.readable || buffer.is_empty(), "read at {offset}");
            self.bytes.read_at(offset, buffer)
        }
    }
    let big = Builder::new().tensor(Tensor::new("a", &[1 << 20], 0, vec![0; 4 << 20])).build();
    gguf::read_header(&HeaderOnly { bytes: big, readable: 256 * 1024 }).unwrap();
}

#[test]
fn the_real_model_of_the_demo_is_read() {
    let Some(models) = environment::models() else { return };
    let file = verifier::FileReader::open(&models.join("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    let header = gguf::read_header(&file).unwrap();
    assert_eq!((header.tensors.len(), header.parameters()), (272, 134_515_008));
    assert_eq!(header.get("general.license").unwrap().as_str(), Some("apache-2.0"));
}

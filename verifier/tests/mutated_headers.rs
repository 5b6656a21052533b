//! Ten thousand damaged headers: every one is read or refused by name, without a panic and
//! within 64 MiB.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};

use verifier::evidence::InspectionVerdict;
use verifier::format::{FileEntry, gguf, inspect, safetensors};
use weighhouse_tests::gguf::{Builder, Tensor, TensorType, TinyLlama, Value};
use weighhouse_tests::memory::{CountingAllocator, peak_of};
use weighhouse_tests::random::Random;
use weighhouse_tests::safetensors as safetensors_files;

const MUTATIONS: u64 = 10_000;
const MEMORY_LIMIT: usize = 64 * 1024 * 1024;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// One to four changes of a header, of the kinds that break parsers: bits, bytes, lengths, runs, cuts.
fn mutate(original: &[u8], header_length: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(4) {
        let length = bytes.len().min(header_length).max(1);
        let at = index(random, length);
        match random.below(10) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next_u64().to_le_bytes()[0],
            2 => overwrite(&mut bytes, at, &random.next_u64().to_le_bytes()),
            3 => overwrite(&mut bytes, at, &interesting_number(random).to_le_bytes()),
            4 => bytes.truncate(at.max(1)),
            5 => bytes.extend(random.bytes(16)),
            6 => {
                let end = (at + 1 + index(random, 32)).min(bytes.len());
                bytes.drain(at..end);
                bytes.resize(bytes.len().max(1), 0);
            }
            7 => replace_digit(&mut bytes[at..], random),
            8 => {
                let end = (at + 1 + index(random, 64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                overwrite(&mut bytes, index(random, length), &copy);
            }
            _ => {
                let end = (at + 1 + index(random, 64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let target = index(random, length);
                bytes.splice(target..target, copy);
            }
        }
    }
    bytes
}

/// Another digit for the first one: JSON that stays JSON and means something else.
fn replace_digit(bytes: &mut [u8], random: &mut Random) {
    if let Some(digit) = bytes.iter_mut().find(|byte| byte.is_ascii_digit()) {
        *digit = b"0123456789"[index(random, 10)];
    }
}

fn index(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap_or(0)
}

fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (target, byte) in bytes[at..].iter_mut().zip(new) {
        *target = *byte;
    }
}

fn interesting_number(random: &mut Random) -> u64 {
    const NUMBERS: [u64; 10] = [0, 1, 7, 0x7fff_ffff, 0xffff_ffff, 1 << 32, 1 << 40, 1 << 62, u64::MAX >> 1, u64::MAX];
    NUMBERS[index(random, NUMBERS.len())]
}

/// Small files that together use most of the format, with the length of their headers.
fn gguf_seeds() -> Vec<(Vec<u8>, usize)> {
    let rich = Builder::minimal()
        .declared_alignment(64)
        .metadata("general.license", Value::string("apache-2.0"))
        .metadata("a.strings", Value::strings(["x", "yy", ""]))
        .metadata("a.nested", Value::nested_array(3))
        .metadata("a.floats", Value::Array(vec![Value::F32(1.0), Value::F32(-1.0)]))
        .metadata("a.bool", Value::Bool(true))
        .metadata("a.double", Value::F64(0.5))
        .tensor(Tensor::new("quantized", &[256, 2], 12, vec![0; 288]));
    let builders = [Builder::minimal(), rich, TinyLlama::new().tensor_type(TensorType::Q8_0).builder()];
    builders.iter().map(|builder| (builder.build(), builder.header().len())).collect()
}

fn safetensors_seeds() -> Vec<(Vec<u8>, usize)> {
    let files = [safetensors_files::Builder::good(), safetensors_files::Builder::lora(4)];
    files.iter().map(safetensors_files::Builder::build).map(|bytes| (bytes.clone(), header_length(&bytes))).collect()
}

fn header_length(bytes: &[u8]) -> usize {
    let length = bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
    8 + usize::try_from(length).unwrap_or(0)
}

/// What became of the mutated files of one format.
#[derive(Debug, Default)]
struct Tally {
    read: u64,
    refused: u64,
    /// The reasons of all refusals.
    codes: BTreeSet<&'static str>,
    /// Most bytes in use at once.
    peak: usize,
}

/// Judges mutations of `seeds` with the reader itself and with inspection.
fn torture(path: &str, seeds: &[(Vec<u8>, usize)], read: impl Fn(&Vec<u8>) -> Result<(), &'static str>) -> Tally {
    let mut random = Random::new(20_261_124);
    let mut tally = Tally::default();
    for round in 0..MUTATIONS {
        let (original, header) = &seeds[index(&mut random, seeds.len())];
        let bytes = mutate(original, *header, &mut random);
        let mut outcome = Ok(());
        let mut verdict = InspectionVerdict::Ok;
        let peak = peak_of(|| {
            let judged = panic::catch_unwind(AssertUnwindSafe(|| {
                outcome = read(&bytes);
                let inspection = inspect(&[FileEntry { path, source: &bytes }]);
                assert_eq!(inspection.verdict == InspectionVerdict::Ok, inspection.findings.is_empty());
                verdict = inspection.verdict;
            }));
            assert!(judged.is_ok(), "round {round} panicked");
        });
        assert!(peak < MEMORY_LIMIT, "round {round} used {peak} bytes");
        match outcome {
            Ok(()) => tally.read += 1,
            Err(code) => {
                assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'));
                assert_ne!(verdict, InspectionVerdict::Ok, "round {round}: {code} and yet no finding");
                tally.refused += 1;
                tally.codes.insert(code);
            }
        }
        tally.peak = tally.peak.max(peak);
    }
    tally
}

/// One test, because the allocator counts for the whole process.
#[test]
fn mutated_headers_are_read_or_refused_by_name_within_64_mebibytes() {
    let gguf =
        torture("model.gguf", &gguf_seeds(), |bytes| gguf::read_header(bytes).map(drop).map_err(|error| error.code()));
    let safetensors = torture("model.safetensors", &safetensors_seeds(), |bytes| {
        safetensors::read_header(bytes).map(drop).map_err(|error| error.code())
    });
    for tally in [&gguf, &safetensors] {
        assert_eq!(tally.read + tally.refused, MUTATIONS);
        // Mutations that all fail at the first bytes would show nothing.
        assert!(tally.read > 10 && tally.codes.len() > 10, "{tally:?}");
    }
    eprintln!("gguf: {gguf:?}; safetensors: {safetensors:?}");
    hostile_headers_stay_within_memory();
}

/// Headers made to exhaust memory, up to the sizes that the readers accept.
fn hostile_headers_stay_within_memory() {
    for (name, bytes) in hostile_headers() {
        let peak = peak_of(|| {
            let inspection = inspect(&[FileEntry { path: name, source: &bytes }]);
            assert_eq!(inspection.files.len(), 1);
        });
        assert!(peak < MEMORY_LIMIT, "{name} used {peak} bytes");
    }
}

fn hostile_headers() -> Vec<(&'static str, Vec<u8>)> {
    let million = 1 << 20;
    let strings = Value::raw_array(8, 7 * million as u64, &vec![0; 56 * million]);
    let nested = Value::raw_array(9, 5 * million as u64, &vec![0; 60 * million]);
    let bytes = Value::raw_array(0, 100 * million as u64, &vec![0; 100 * million]);
    let gguf = |value: Value| Builder::new().metadata("a", value).build();
    let keys = (0..400_000).fold(Builder::new(), |builder, key| builder.metadata(format!("{key}"), Value::U8(0)));
    let tensors = (0..300_000)
        .fold(Builder::new(), |builder, tensor| builder.tensor(Tensor::new(format!("{tensor}"), &[1], 24, vec![0])));
    let json = |text: String| safetensors_files::Builder::new().header(text).build();
    let entries: Vec<String> =
        (0..250_000).map(|tensor| format!(r#""{tensor}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    let pairs: Vec<String> = (0..1_000_000).map(|key| format!(r#""{key}":"""#)).collect();
    let dimensions = vec!["1"; 8 * million].join(",");
    vec![
        ("empty-strings.gguf", gguf(strings)),
        ("empty-arrays.gguf", gguf(nested)),
        ("bytes.gguf", gguf(bytes)),
        ("keys.gguf", keys.build()),
        ("tensors.gguf", tensors.build()),
        ("entries.safetensors", json(format!("{{{}}}", entries.join(",")))),
        ("metadata.safetensors", json(format!(r#"{{"__metadata__":{{{}}}}}"#, pairs.join(",")))),
        ("escapes.safetensors", json(format!(r#"{{"{}":1}}"#, r"\n".repeat(9 * million)))),
        (
            "dimensions.safetensors",
            json(format!(r#"{{"a":{{"dtype":"U8","shape":[{dimensions}],"data_offsets":[0,1]}}}}"#)),
        ),
        ("nesting.safetensors", json("[".repeat(19 * million))),
        ("config.json", format!("[{}0]", "0,".repeat(510_000)).into_bytes()),
    ]
}

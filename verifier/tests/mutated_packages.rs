//! Ten thousand damaged pickles, arrays and archives: every one is judged without a panic and
//! within 64 MiB, and so are files made to exhaust memory.

mod packed;

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};

use packed::{bzip2, deflate, gzip, lz4};
use ruzstd::encoding::CompressionLevel;
use verifier::evidence::InspectionVerdict;
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::environment;
use weighhouse_tests::memory::{CountingAllocator, peak_of};
use weighhouse_tests::pickle::{Checkpoint, Pickle, npy};
use weighhouse_tests::random::Random;
use weighhouse_tests::zip::{Member, Zip};

const MUTATIONS: u64 = 10_000;
const MEMORY_LIMIT: usize = 64 * 1024 * 1024;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Small files that together use most of the formats.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let checkpoint = Checkpoint::new(&[("layer.weight", &[4, 3]), ("layer.bias", &[4])]);
    let malicious = Pickle::call("os", "system", "id");
    let zip = Zip::new().member(Member::new("a.txt", malicious.clone()).deflated(deflate(&malicious)));
    vec![
        ("a.pkl", checkpoint.pickle()),
        ("a.pkl", Pickle::new().bytes(&malicious).raw(b"(K\x01\x88\x8c\x01a\x94h\0t\x8f(K\x01\x90\x91").stop()),
        ("a.pkl", b"(dp0\nS'a'\np1\nI1\nsV\\u006f\n(lp2\nF1.5\naL12L\nas.".to_vec()),
        ("a.bin", checkpoint.zip().build()),
        ("a.bin", checkpoint.legacy()),
        ("a.zip", zip.file("b/c", "x").build()),
        ("a.gz", gzip(&malicious)),
        ("a.npy", npy("[('x', '<f4'), ('y', '<i2', (2,))]", "(3,)", &[0; 24])),
        ("a.npy", npy("'|O'", "(1,)", &malicious)),
        ("a.tar", tar("a.txt", &malicious)),
        ("a.bz2", bzip2(&malicious)),
        ("a.lz4", lz4(&malicious)),
        ("a.zst", ruzstd::encoding::compress_to_vec(malicious.as_slice(), CompressionLevel::Fastest)),
    ]
}

/// A 7z archive of another project; nothing here can write one.
fn seven_zip() -> Option<(&'static str, Vec<u8>)> {
    let vectors = environment::vectors()?;
    Some(("a.7z", fs_err::read(vectors.join("pickles/malicious1.7z")).unwrap_or_default()))
}

fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    bytes[156] = b'0';
    bytes[257..265].copy_from_slice(b"ustar\x0000");
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

/// One to four changes of the kinds that break parsers: bits, bytes, lengths, runs, cuts.
fn mutate(original: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(4) {
        let at = index(random, bytes.len());
        let end = (at + 1 + index(random, 32)).min(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next_u64().to_le_bytes()[0],
            2 => {
                let numbers = [0, u64::MAX, u64::MAX >> 1, 0xffff_ffff, 1 << 40];
                let number = numbers[index(random, numbers.len())].to_le_bytes();
                for (target, byte) in bytes[at..].iter_mut().zip(number) {
                    *target = byte;
                }
            }
            3 => bytes.truncate(at.max(1)),
            4 => {
                let copy = bytes[at..end].to_vec();
                let target = index(random, bytes.len());
                bytes.splice(target..target, copy);
            }
            _ => {
                bytes.drain(at..end);
                bytes.resize(bytes.len().max(1), 0);
            }
        }
    }
    bytes
}

fn index(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap_or(0)
}

/// One test, because the allocator counts for the whole process.
#[test]
fn damaged_files_are_judged_within_64_mebibytes() {
    let seeds: Vec<_> = seeds().into_iter().chain(seven_zip()).collect();
    let mut random = Random::new(20_261_128);
    let mut codes = BTreeSet::new();
    let mut clean = 0;
    for round in 0..MUTATIONS {
        let (path, original) = &seeds[index(&mut random, seeds.len())];
        let bytes = mutate(original, &mut random);
        let peak = peak_of(|| {
            let judged = panic::catch_unwind(AssertUnwindSafe(|| {
                let inspection = inspect(&[FileEntry { path, source: &bytes }]);
                assert_eq!(inspection.verdict == InspectionVerdict::Ok, inspection.findings.is_empty());
                clean += u64::from(inspection.findings.is_empty());
                codes.extend(inspection.findings.into_iter().map(|finding| finding.code));
            }));
            assert!(judged.is_ok(), "round {round} ({path}) panicked");
        });
        assert!(peak < MEMORY_LIMIT, "round {round} ({path}) used {peak} bytes");
    }
    // Mutations that all fail at the first bytes would show nothing.
    assert!(clean > 100 && codes.len() > 15, "{clean} {codes:?}");
    hostile_files_stay_within_memory();
}

fn hostile_files_stay_within_memory() {
    for (name, bytes) in hostile_files() {
        let peak = peak_of(|| {
            let inspection = inspect(&[FileEntry { path: "a.pkl", source: &bytes }]);
            assert_eq!(inspection.files.len(), 1);
        });
        assert!(peak < MEMORY_LIMIT, "{name} used {peak} bytes");
    }
}

/// Files of a mebibyte that make as much of it as their format allows.
fn hostile_files() -> Vec<(&'static str, Vec<u8>)> {
    let repeated = |piece: &[u8]| [b"\x80\x04N".to_vec(), piece.repeat((1 << 20) / piece.len())].concat();
    let names = (0..60_000).flat_map(|name| format!("cm{name}\nN\n").into_bytes()).collect();
    let keys =
        (0..60_000).flat_map(|key: u32| [b"Nr".to_vec(), (key * 7 + 9).to_le_bytes().to_vec()].concat()).collect();
    let spaces = vec![b' '; 40_000_000];
    let archive = |content: &[u8]| Zip::new().member(Member::new("a", content).deflated(deflate(content))).build();
    vec![
        ("values", repeated(b"N")),
        ("marks", repeated(b"(")),
        ("memo", repeated(b"\x94")),
        ("lists", repeated(b"]")),
        ("tuples", repeated(b"\x85")),
        ("texts", repeated(b"\x8c\x01a\x94")),
        ("long texts", repeated(&[b"\x8c\xff".to_vec(), vec![b'a'; 255]].concat())),
        ("lists in the memo", repeated(b"]\x94")),
        ("calls", repeated(b")R")),
        ("suspects", repeated(b"C\x10\x80\x04NNNNNNNNNNNNN.")),
        ("names", names),
        ("sparse memo", keys),
        ("gzip", gzip(&spaces)),
        ("zip", archive(&spaces)),
        ("zip in zip", archive(&archive(&[archive(&spaces), spaces.clone()].concat()))),
    ]
}

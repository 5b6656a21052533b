//! What inspection says of archives: what hides in them, and what unpacking them would do.

mod packed;

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use packed::{bzip2, deflate, gzip, lz4};
use ruzstd::encoding::CompressionLevel;
use verifier::evidence::{Inspection, InspectionVerdict};
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::environment;
use weighhouse_tests::gguf::TinyLlama;
use weighhouse_tests::pickle::{Checkpoint, Pickle};
use weighhouse_tests::zip::{Member, Zip};

fn inspect_as(path: &str, bytes: &[u8]) -> Inspection {
    inspect(&[FileEntry { path, source: &bytes.to_vec() }])
}

fn codes(inspection: &Inspection) -> Vec<&str> {
    inspection.findings.iter().map(|finding| finding.code.as_str()).collect()
}

fn zip_codes(zip: &Zip) -> Vec<String> {
    codes(&inspect_as("a.zip", &zip.build())).into_iter().map(str::to_owned).collect()
}

fn malicious() -> Vec<u8> {
    Pickle::call("os", "system", "id")
}

fn packed(name: &str, content: &[u8]) -> Member {
    Member::new(name, content).deflated(deflate(content))
}

/// A tar archive of one member of this type, with a header that can lie about the size.
fn tar(name: &str, kind: u8, link: &str, content: &[u8], size: &[u8; 12]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(size);
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

fn tar_file(name: &str, content: &[u8]) -> Vec<u8> {
    tar(name, b'0', "", content, &tar_size(content))
}

/// The size field of a header.
fn tar_size(content: &[u8]) -> [u8; 12] {
    let mut field = [0; 12];
    field[..11].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    field
}

fn end_tar(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

#[test]
fn foreign_archives_are_judged_by_what_they_hold() {
    let Some(vectors) = environment::vectors() else { return };
    let verdict = |name: &str| inspect_as(name, &fs_err::read(vectors.join("archives").join(name)).unwrap());
    assert_eq!(codes(&verdict("path_traversal.zip")), ["ARCHIVE_PATH_TRAVERSAL", "PICKLE_DANGEROUS_GLOBAL"]);
    assert_eq!(verdict("safe_model.zip").verdict, InspectionVerdict::Ok);
}

#[test]
fn members_are_judged_by_their_content_however_they_are_packed() {
    let stored = Zip::new().file("readme.txt", "hello").file("a.txt", malicious());
    let deflated = Zip::new().member(packed("a.txt", &malicious()));
    let nested = Zip::new().member(packed("b.zip", &deflated.build()));
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(&malicious()).unwrap();
    for (case, path, bytes) in [
        ("stored", "a.zip", stored.build()),
        ("deflated", "a.zip", deflated.build()),
        ("nested", "a.zip", nested.build()),
        ("named otherwise", "a.txt", deflated.build()),
        ("gzip", "a.pkl.gz", gzip(&malicious())),
        ("zlib", "a.joblib", zlib.finish().unwrap()),
        ("bzip2", "a.bz2", bzip2(&malicious())),
        ("lz4", "a.lz4", lz4(&malicious())),
        ("zstandard", "a.zst", ruzstd::encoding::compress_to_vec(malicious().as_slice(), CompressionLevel::Fastest)),
        ("tar", "a.tar", end_tar(&[tar_file("x", b"hello"), tar_file("a.txt", &malicious())])),
        ("tar.gz", "a.tar.gz", gzip(&end_tar(&[tar_file("a.txt", &malicious())]))),
    ] {
        let inspection = inspect_as(path, &bytes);
        assert_eq!(codes(&inspection), ["PICKLE_DANGEROUS_GLOBAL"], "{case}");
        assert!(inspection.findings[0].detail.starts_with("In `"), "{case}: {:?}", inspection.findings);
    }
    assert_eq!(zip_codes(&Zip::new().member(packed("a.txt", b"hello")).file("b", "x")), [""; 0]);
}

#[test]
fn a_pickle_that_acts_late_is_found_however_it_is_packed() {
    for start in [b"K\xff".as_slice(), b"Vtext\n"] {
        let late = [start.repeat(5000), b"cos\nsystem\n(S'id'\ntR.".to_vec()].concat();
        for (path, bytes) in
            [("a", late.clone()), ("a.gz", gzip(&late)), ("a.zip", Zip::new().member(packed("a", &late)).build())]
        {
            assert_eq!(codes(&inspect_as(path, &bytes)), ["PICKLE_DANGEROUS_GLOBAL"], "{path}");
        }
    }
}

#[test]
fn a_deflated_member_of_weights_is_read_by_its_reader() {
    let model = TinyLlama::new().build();
    let zip = Zip::new().member(packed("model.gguf", &model));
    assert_eq!(zip_codes(&zip), [""; 0]);
    let mut broken = model;
    broken.extend([1; 100]);
    assert_eq!(zip_codes(&Zip::new().member(packed("model.gguf", &broken))), ["GGUF_TRAILING_BYTES"]);
}

#[test]
fn names_that_leave_the_folder_are_dangerous() {
    for (name, code) in [
        ("../x", "ARCHIVE_PATH_TRAVERSAL"),
        ("a/../../x", "ARCHIVE_PATH_TRAVERSAL"),
        ("..\\x", "ARCHIVE_PATH_TRAVERSAL"),
        ("/etc/cron.d/x", "ARCHIVE_ABSOLUTE_PATH"),
        ("C:\\x", "ARCHIVE_ABSOLUTE_PATH"),
        ("\\\\server\\x", "ARCHIVE_ABSOLUTE_PATH"),
        ("a\0.txt", "ARCHIVE_NAME_INVALID"),
        ("a\\b", "ARCHIVE_NAME_AMBIGUOUS"),
    ] {
        let inspection = inspect_as("a.zip", &Zip::new().file(name, "x").build());
        assert_eq!(codes(&inspection), [code], "{name:?}");
        assert!(inspection.verdict > InspectionVerdict::Ok, "{name:?}");
    }
    assert_eq!(zip_codes(&Zip::new().file("a..b/c...", "x").file("a/b", "x")), [""; 0]);
}

#[test]
fn names_that_meet_are_found() {
    assert_eq!(zip_codes(&Zip::new().file("a", "x").file("a", "y")), ["ARCHIVE_DUPLICATE_NAME"]);
    assert_eq!(zip_codes(&Zip::new().file("Config", "x").file("config", "y")), ["ARCHIVE_CASE_COLLISION"]);
}

#[test]
fn links_and_devices_are_found() {
    assert_eq!(zip_codes(&Zip::new().member(Member::link("a", "../../etc"))), ["ARCHIVE_LINK_OUTSIDE"]);
    assert_eq!(zip_codes(&Zip::new().member(Member::link("a", "b"))), ["ARCHIVE_LINK"]);
    let device = Member { mode: 0o060_660, ..Member::new("sda", "") };
    assert_eq!(zip_codes(&Zip::new().member(device)), ["ARCHIVE_SPECIAL_FILE"]);
    for (kind, link, code) in [
        (b'2', "/etc/passwd", "ARCHIVE_LINK_OUTSIDE"),
        (b'1', "../x", "ARCHIVE_LINK_OUTSIDE"),
        (b'2', "x", "ARCHIVE_LINK"),
        (b'3', "", "ARCHIVE_SPECIAL_FILE"),
        (b'Z', "", "TAR_UNKNOWN_TYPE"),
    ] {
        let bytes = end_tar(&[tar("a", kind, link, b"", b"00000000000\0")]);
        assert_eq!(codes(&inspect_as("a.tar", &bytes)), [code], "{link}");
    }
}

#[test]
fn halves_of_a_zip_that_disagree_are_malformed() {
    let member = || Member::new("a.txt", "hello");
    let zip = |member: Member| Zip::new().member(member);
    let cases = [
        (zip(Member { local_name: Some("b.txt".to_owned()), ..member() }), "ZIP_HEADERS_DISAGREE"),
        (zip(Member { crc: Some(7), ..member() }), "ZIP_CHECKSUM_MISMATCH"),
        (zip(Member { size: Some(4), ..member() }), "ZIP_SIZE_MISMATCH"),
        (zip(Member { size: Some(7), ..packed("a.txt", b"hello") }), "ZIP_SIZE_MISMATCH"),
        (zip(Member { offset: Some(3), ..member() }), "ZIP_HEADERS_DISAGREE"),
        (Zip { prefix: b"#!/bin/sh\n".to_vec(), ..zip(member()) }, "ZIP_PREFIXED_BYTES"),
        (Zip { trailer: b"more".to_vec(), ..zip(member()) }, "ZIP_TRAILING_BYTES"),
        (Zip { count: Some(2), ..zip(member()) }, "ZIP_END_DISAGREES"),
        (zip(member()).member(Member { is_hidden: true, ..Member::new("b", malicious()) }), "ZIP_HIDDEN_MEMBER"),
    ];
    for (zip, code) in cases {
        // Begins like a zip, so that the name and not the content decides what is in front of it.
        let bytes = zip.build();
        let inspection = inspect_as("a.zip", &bytes);
        let expected = if zip.prefix.is_empty() { code } else { "POLYGLOT" };
        assert!(codes(&inspection).contains(&expected), "{code}: {:?}", inspection.findings);
        assert!(inspection.verdict >= InspectionVerdict::Unscannable, "{code}");
    }
}

#[test]
fn bytes_of_no_member_are_found() {
    let zip = Zip { gap: b"hidden".to_vec(), ..Zip::new().file("a", "x") };
    assert_eq!(zip_codes(&zip), ["ZIP_HIDDEN_BYTES"]);
    let commented = Zip { comment: b"made by git".to_vec(), ..Zip::new().file("a", "x") };
    assert_eq!(zip_codes(&commented), [""; 0]);
    let binary = Zip { comment: malicious(), ..Zip::new().file("a", "x") };
    assert_eq!(zip_codes(&binary), ["ZIP_BINARY_COMMENT"]);
}

#[test]
fn members_that_the_directory_leaves_out_are_looked_into() {
    for member in [Member::new("b.txt", malicious()), packed("b.txt", &malicious())] {
        let hidden = Member { is_hidden: true, ..member };
        let codes = zip_codes(&Zip::new().member(hidden.clone()).file("a", "x").member(hidden));
        assert_eq!(codes, ["ZIP_HIDDEN_MEMBER", "ZIP_HIDDEN_MEMBER", "PICKLE_DANGEROUS_GLOBAL"]);
    }
}

#[test]
fn flags_do_not_turn_the_scanner_away() {
    for flags in [1, 1 << 5, 1 << 6] {
        for member in [Member::new("a.pkl", malicious()), packed("a.pkl", &malicious())] {
            let codes = zip_codes(&Zip::new().member(Member { flags, ..member }));
            assert_eq!(codes, ["ZIP_FALSE_FLAGS", "PICKLE_DANGEROUS_GLOBAL"], "{flags}");
        }
    }
    let encrypted = Member { flags: 1, crc: Some(1), ..Member::new("a", "unreadable") };
    assert_eq!(zip_codes(&Zip::new().member(encrypted)), ["ARCHIVE_ENCRYPTED"]);
}

#[test]
fn a_broken_checksum_does_not_hide_what_is_dangerous() {
    let member = Member { crc: Some(1), ..packed("a.pkl", &malicious()) };
    let codes = zip_codes(&Zip::new().member(member));
    assert!(codes.contains(&"PICKLE_DANGEROUS_GLOBAL".to_owned()), "{codes:?}");
}

#[test]
fn bombs_are_named_and_not_unpacked() {
    let zeros = deflate(&vec![b' '; 20_000_000]);
    let bomb = Member { size: Some(3_000_000_000), ..Member::new("a.json", "").deflated(zeros.clone()) };
    let inspection = inspect_as("a.zip", &Zip::new().member(bomb).build());
    assert!(codes(&inspection).contains(&"ARCHIVE_BOMB"), "{:?}", inspection.findings);
    assert_eq!(inspection.verdict, InspectionVerdict::Dangerous);
    let text = gzip(&vec![b' '; 20_000_000]);
    assert!(codes(&inspect_as("a.gz", &text)).contains(&"ARCHIVE_BOMB"));
    let overlapping =
        Zip::new().member(Member::new("a", "")).member(Member { offset: Some(0), ..Member::new("a", "") });
    assert!(zip_codes(&overlapping).contains(&"ZIP_OVERLAPPING_MEMBERS".to_owned()));
}

#[test]
fn what_lies_too_deep_is_not_clean() {
    let mut bytes = Zip::new().file("a", "x").build();
    for _ in 0..3 {
        bytes = Zip::new().member(packed("inner.zip", &bytes)).build();
    }
    assert_eq!(inspect_as("a.zip", &bytes).verdict, InspectionVerdict::Ok);
    for _ in 0..3 {
        bytes = Zip::new().file("inner.zip", bytes).build();
    }
    assert_eq!(codes(&inspect_as("a.zip", &bytes)), ["ARCHIVE_TOO_DEEP"]);
}

#[test]
fn a_zip_at_the_end_of_another_file_is_found() {
    let zip = Zip::new().file("a.pkl", malicious()).build();
    for (name, front) in [("a.png", b"\x89PNG\r\n\x1a\n".to_vec()), ("a.pkl", b"\x80\x04N.".to_vec())] {
        let inspection = inspect_as(name, &[front, zip.clone()].concat());
        assert_eq!(inspection.verdict, InspectionVerdict::Dangerous, "{name}: {:?}", inspection.findings);
        assert!(codes(&inspection).contains(&"POLYGLOT"), "{name}");
    }
}

#[test]
fn tar_headers_that_lie_are_malformed() {
    let huge = *b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    let cases = [
        end_tar(&[tar("a", b'0', "", b"x", &huge)]),
        end_tar(&[tar("a", b'0', "", b"x", b"0000000x000\0")]),
        tar_file("a", b"x"),
        [tar_file("a", b"x"), vec![1; 512]].concat(),
    ];
    for bytes in cases {
        assert_eq!(codes(&inspect_as("a.tar", &bytes)), ["TAR_MALFORMED"]);
    }
    let traversal = end_tar(&[tar_file("../a", b"x")]);
    assert_eq!(codes(&inspect_as("a.tar", &traversal)), ["ARCHIVE_PATH_TRAVERSAL"]);
}

#[test]
fn long_names_of_tar_are_followed() {
    let gnu = b"../gnu\0";
    let pax = b"15 path=../pax\n";
    let renamed = end_tar(&[
        tar("././@LongLink", b'L', "", gnu, &tar_size(gnu)),
        tar_file("harmless", b"x"),
        tar("pax", b'x', "", pax, &tar_size(pax)),
        tar_file("harmless", b"y"),
    ]);
    let inspection = inspect_as("a.tar", &renamed);
    assert_eq!(codes(&inspection), ["ARCHIVE_PATH_TRAVERSAL", "ARCHIVE_PATH_TRAVERSAL"]);
    let broken = b"99 path=x\n";
    let broken = end_tar(&[tar("pax", b'x', "", broken, &tar_size(broken))]);
    assert_eq!(codes(&inspect_as("a.tar", &broken)), ["TAR_MALFORMED"]);
}

#[test]
fn an_archive_is_what_its_members_make_it() {
    let format = |path: &str, zip: &Zip| inspect_as(path, &zip.build()).files[0].format.clone();
    assert_eq!(format("a.zip", &Checkpoint::new(&[("w", &[2])]).zip()), "pickle");
    assert_eq!(format("a.zip", &Zip::new().file("config.json", "{}").file("metadata.json", "{}")), "keras");
    assert_eq!(format("a.zip", &Zip::new().file("a.npy", "x")), "numpy");
    assert_eq!(format("a.zip", &Zip::new().file("a.txt", "x")), "archive");
    let without_pickle = inspect_as("pytorch_model.bin", &Zip::new().file("a.txt", "x").build());
    assert_eq!(codes(&without_pickle), ["TORCH_PICKLE_MISSING"]);
}

#[test]
fn broken_archives_are_malformed() {
    let mut zip = Zip::new().member(packed("a.txt", &[b'a'; 600])).build();
    zip[37] ^= 0xff;
    assert!(inspect_as("a.zip", &zip).verdict >= InspectionVerdict::Malformed);
    assert_eq!(codes(&inspect_as("a.zip", b"PK\x03\x04")), ["ZIP_MALFORMED"]);
    assert_eq!(codes(&inspect_as("a.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0zzz")), ["ARCHIVE_CORRUPT"]);
    assert_eq!(codes(&inspect_as("a.7z", b"7z\xbc\xaf\x27\x1c\0\x04")), ["ARCHIVE_CORRUPT"]);
}

#[test]
fn a_single_file_that_unpacks_without_end_is_a_bomb() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    // Long enough that what is unpacked of it is no more than a part.
    let long = [bomb.as_slice(); 8].concat();
    for bytes in [bomb, long] {
        let found = inspect_as("weights.gz", &bytes);
        assert_eq!(found.verdict, InspectionVerdict::Dangerous, "{:?}", found.findings);
        assert!(codes(&found).contains(&"ARCHIVE_BOMB"));
    }
}

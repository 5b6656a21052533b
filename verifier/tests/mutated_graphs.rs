//! Over a hundred thousand damaged graphs and HDF5 files: every one is judged without a panic, with named
//! findings, and `ok` exactly where there are none.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};

use verifier::evidence::InspectionVerdict;
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::flatbuffer::Table;
use weighhouse_tests::hdf5::{Builder, external_files, external_link, fixed_attribute, hard_link};
use weighhouse_tests::protobuf::Message;
use weighhouse_tests::random::Random;

const MUTATIONS: u64 = 20_000;
const CONFIG: &str =
    r#"{"class_name":"Sequential","config":{"layers":[{"class_name":"Dense","config":{"name":"d"}}]}}"#;

fn onnx() -> Vec<u8> {
    let tensor = Message::new().packed(1, &[2, 3]).number(2, 1).text(8, "w").bytes(9, [0; 24]);
    let external = Message::new().number(1, 4).number(2, 1).number(14, 1);
    let external = external.message(13, &Message::new().text(1, "location").text(2, "w.bin"));
    let inner = Message::new().message(1, &Message::new().text(4, "Relu")).message(5, &external);
    let attribute = Message::new().text(1, "body").message(6, &inner);
    let graph = Message::new().message(1, &Message::new().text(4, "Loop").message(5, &attribute)).message(5, &tensor);
    let function = Message::new().text(1, "f").text(10, "d");
    Message::new().number(1, 8).text(2, "pytorch").message(7, &graph).message(25, &function).build()
}

fn saved_model() -> Vec<u8> {
    let shape = Message::new().message(2, &Message::new().number(1, 2));
    let tensor = Message::new().number(1, 1).message(2, &shape).bytes(4, [0; 8]);
    let value = Message::new().text(1, "value").message(2, &Message::new().message(8, &tensor));
    let node = Message::new().text(1, "c").text(2, "Const").message(5, &value);
    let function = Message::new().message(1, &Message::new().text(1, "f")).message(3, &node);
    let graph = Message::new().message(1, &node).message(2, &Message::new().message(1, &function));
    let user = Message::new().text(1, "_tf_keras_layer").text(3, CONFIG);
    let variable = Message::new().number(1, 1).message(2, &shape).text(6, "v");
    let objects = Message::new().message(1, &Message::new().message(4, &user).message(7, &variable));
    Message::new().number(1, 1).message(2, &Message::new().message(2, &graph).message(7, &objects)).build()
}

fn keras_metadata() -> Vec<u8> {
    let object = Message::new().number(2, 0).text(3, "root").text(4, "_tf_keras_model").text(5, CONFIG);
    Message::new().message(1, &object).build()
}

fn lite() -> Vec<u8> {
    let tensor = Table::new().numbers(0, &[2, 3]).number(1, &[0]).number(2, &1_u32.to_le_bytes()).text(3, "w");
    let code = Table::new().number(0, &[32]).text(1, "FlexErf").number(3, &32_u32.to_le_bytes());
    Table::new()
        .number(0, &3_u32.to_le_bytes())
        .tables(1, vec![code])
        .tables(2, vec![Table::new().tables(0, vec![tensor])])
        .tables(4, vec![Table::new(), Table::new().bytes(0, &[0; 24])])
        .build(*b"TFL3")
}

fn hdf5() -> Vec<u8> {
    let mut file = Builder::new();
    let data = file.dataset(&[3, 4]);
    let group = file.group(&[("kernel", data)], &[fixed_attribute("note", "text")]);
    let config = file.text_attribute("model_config", CONFIG);
    let root = file.group(&[("a", group), ("b", data)], &[config]);
    file.build(root)
}

/// One to four changes of the kinds that break parsers: bits, bytes, numbers, runs, cuts.
fn mutate(original: &[u8], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 40, 1 << 62, u64::MAX - 1, u64::MAX];
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(4) {
        let at = index(random, bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next_u64().to_le_bytes()[0],
            2 => {
                let number = NUMBERS[index(random, NUMBERS.len())].to_le_bytes();
                let width = 1 << random.below(4);
                bytes[at..].iter_mut().zip(&number[..width]).for_each(|(target, byte)| *target = *byte);
            }
            3 => bytes.truncate(at.max(1)),
            4 => {
                let end = (at + 1 + index(random, 16)).min(bytes.len());
                bytes.drain(at..end);
                bytes.resize(bytes.len().max(1), 0);
            }
            _ => {
                let end = (at + 1 + index(random, 64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let target = index(random, bytes.len());
                bytes.splice(target..target, copy);
            }
        }
    }
    bytes
}

fn index(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap_or(0)
}

#[test]
fn damaged_files_are_judged_by_name_and_without_a_panic() {
    let mut external = Builder::new();
    let object = external.object(&[external_files()]);
    let root = external.dense_group(&[hard_link("x", object), external_link("y", "z.h5")]);
    let seeds: [(&str, Vec<u8>); 7] = [
        ("model.onnx", onnx()),
        ("saved_model.pb", saved_model()),
        ("keras_metadata.pb", keras_metadata()),
        ("model.tflite", lite()),
        ("model.h5", hdf5()),
        ("external.h5", external.build(root)),
        ("config.json", CONFIG.as_bytes().to_vec()),
    ];
    let mut random = Random::new(20_261_128);
    for (path, original) in &seeds {
        let mut codes = BTreeSet::new();
        for round in 0..MUTATIONS {
            let bytes = mutate(original, &mut random);
            let judged = panic::catch_unwind(AssertUnwindSafe(|| inspect(&[FileEntry { path, source: &bytes }])));
            let inspection = judged.unwrap_or_else(|_| panic!("{path}: round {round} panicked"));
            assert_eq!(inspection.verdict == InspectionVerdict::Ok, inspection.findings.is_empty(), "{path}: {round}");
            codes.extend(inspection.findings.into_iter().map(|finding| finding.code));
        }
        // Mutations that all fail at the first bytes would show nothing.
        assert!(codes.len() > 2, "{path}: {codes:?}");
    }
}

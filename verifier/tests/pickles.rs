//! What inspection says of pickles, bare and in the files that PyTorch and NumPy make of them.

use verifier::evidence::{Inspection, InspectionVerdict};
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::environment;
use weighhouse_tests::pickle::{Checkpoint, Pickle, npy};
use weighhouse_tests::zip::Zip;

fn inspect_as(path: &str, bytes: &[u8]) -> Inspection {
    inspect(&[FileEntry { path, source: &bytes.to_vec() }])
}

fn judge(bytes: &[u8]) -> InspectionVerdict {
    inspect_as("model.pkl", bytes).verdict
}

fn codes(inspection: &Inspection) -> Vec<&str> {
    inspection.findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// The verdict on every file of the vectors, and why where the name does not say it.
const VECTORS: [(&str, InspectionVerdict); 44] = {
    use InspectionVerdict::{Dangerous, Malformed, Ok, Unscannable, Unsupported};
    [
        // The first bytes of a picture under the name of weights.
        ("bad_pytorch.pt", Malformed),
        ("benign0_v0.pkl", Ok),
        ("benign0_v3.pkl", Ok),
        ("benign0_v4.pkl", Ok),
        // Its one member is a text, and truly encrypted.
        ("benign_password_protected.zip", Unscannable),
        // Imports exec before it breaks; an unpickler has imported it by then.
        ("broken_model.pkl", Dangerous),
        ("malicious-invalid-bytes.pkl", Dangerous),
        ("malicious0.pkl", Dangerous),
        ("malicious1.7z", Dangerous),
        ("malicious1.zip", Dangerous),
        ("malicious10.pkl", Dangerous),
        ("malicious11.pkl", Dangerous),
        ("malicious12.pkl", Dangerous),
        ("malicious13a.pkl", Dangerous),
        ("malicious13b.pkl", Dangerous),
        ("malicious14.pkl", Dangerous),
        ("malicious15a.pkl", Dangerous),
        ("malicious15b.pkl", Dangerous),
        ("malicious16.pkl", Dangerous),
        ("malicious17.pkl", Dangerous),
        ("malicious18.pkl", Dangerous),
        ("malicious19.pkl", Dangerous),
        ("malicious1_0x1.zip", Dangerous),
        ("malicious1_0x20.zip", Dangerous),
        ("malicious1_0x40.zip", Dangerous),
        ("malicious1_central_directory.zip", Dangerous),
        ("malicious1_v0.pkl", Dangerous),
        ("malicious1_v3.pkl", Dangerous),
        ("malicious1_v4.pkl", Dangerous),
        ("malicious1_wrong_ext.zip", Dangerous),
        ("malicious20.pkl", Dangerous),
        ("malicious2_v0.pkl", Dangerous),
        ("malicious2_v3.pkl", Dangerous),
        ("malicious2_v4.pkl", Dangerous),
        // Opens a connection.
        ("malicious3.pkl", Dangerous),
        ("malicious4.pickle", Dangerous),
        ("malicious5.pickle", Dangerous),
        ("malicious6.pkl", Dangerous),
        ("malicious7.pkl", Dangerous),
        ("malicious8.pkl", Dangerous),
        ("malicious9.pkl", Dangerous),
        // Weights as PyTorch writes them since 1.6.
        ("new_pytorch_model.bin", Ok),
        // Seven bytes, of which the name to import is not UTF-8: no pickle, and nothing else either.
        ("not_a_pickle.bin", Unsupported),
        ("pytorch_magic_bypass.pt", Dangerous),
    ]
};

#[test]
fn every_foreign_pickle_is_judged_by_what_it_does() {
    let Some(vectors) = environment::vectors() else { return };
    let rest = [
        // Weights as PyTorch wrote them before 1.6, their data included.
        ("pytorch_model.bin", InspectionVerdict::Ok),
        ("sys_module_override_sploit.pkl", InspectionVerdict::Dangerous),
    ];
    let expected: Vec<_> = VECTORS.iter().chain(&rest).collect();
    for (name, verdict) in &expected {
        let inspection = inspect_as(name, &fs_err::read(vectors.join("pickles").join(name)).unwrap());
        assert_eq!(inspection.verdict, *verdict, "{name}: {:?}", inspection.findings);
    }
    let files = fs_err::read_dir(vectors.join("pickles")).unwrap().count();
    assert_eq!(files, expected.len(), "a vector is not in the table");
}

#[test]
fn names_are_followed_through_the_memo_and_through_escapes() {
    let by_memo = b"\x80\x04\x8c\x06system\x94\x8c\x02os\x94\x8c\x05torch\x94h\x01h\x00\x93\x8c\x02id\x85R.";
    let escaped = b"S'o\\x73'\nS'sys\\164em'\n\x93(S'id'\ntR.";
    let unicode = b"V\\u006fs\nVsystem\n\x93(Vid\ntR.";
    let by_instance = b"(S'id'\nios\nsystem\n.";
    let by_object = b"(cos\nsystem\nS'id'\no.";
    let by_new = b"\x80\x02csubprocess\nPopen\nX\x02\0\0\0id\x85\x81.";
    let by_new_with_keywords = b"\x80\x04csubprocess\nPopen\n)}\x92.";
    for (case, pickle) in [
        ("memo", by_memo.as_slice()),
        ("escapes", escaped),
        ("unicode", unicode),
        ("INST", by_instance),
        ("OBJ", by_object),
        ("NEWOBJ", by_new),
        ("NEWOBJ_EX", by_new_with_keywords),
    ] {
        let inspection = inspect_as("a.pkl", pickle);
        assert_eq!(codes(&inspection), ["PICKLE_DANGEROUS_GLOBAL"], "{case}");
        assert!(inspection.findings[0].detail.contains("calls"), "{case}");
    }
}

#[test]
fn names_that_cannot_be_read_are_dangerous() {
    let computed = b"\x80\x04cbuiltins\nstr\n)R\x8c\x06system\x93)R.";
    assert!(codes(&inspect_as("a.pkl", computed)).contains(&"PICKLE_COMPUTED_GLOBAL"));
    for extension in [b"\x80\x02\x82\x01.".as_slice(), b"\x80\x02\x83\x01\x01.", b"\x80\x02\x84\x01\x01\x01\x01."] {
        assert_eq!(codes(&inspect_as("a.pkl", extension)), ["PICKLE_EXTENSION_CODE"]);
    }
}

#[test]
fn changing_a_module_or_a_class_is_dangerous() {
    for change in [
        b"\x80\x04ccollections\nOrderedDict\n}X\x01\0\0\0aK\x01sb.".as_slice(),
        b"\x80\x04ccollections\nOrderedDict\nX\x01\0\0\0aK\x01s.",
        b"\x80\x04ccollections\nOrderedDict\n(K\x01K\x02u.",
        b"\x80\x04ccollections\nOrderedDict\nK\x01a.",
    ] {
        assert_eq!(codes(&inspect_as("a.pkl", change)), ["PICKLE_OVERWRITES_GLOBAL"]);
    }
}

#[test]
fn strangers_are_suspicious_as_classes_and_dangerous_as_functions() {
    let instance = Pickle::new().global("__main__", "Net").raw(b")\x81}b").stop();
    assert_eq!(inspect_as("a.pkl", &instance).verdict, InspectionVerdict::Suspicious);
    assert_eq!(codes(&inspect_as("a.pkl", &instance)), ["PICKLE_UNKNOWN_GLOBAL"]);
    let call = Pickle::call("mypackage.loading", "restore", "x");
    assert_eq!(codes(&inspect_as("a.pkl", &call)), ["PICKLE_UNKNOWN_CALL"]);
    assert_eq!(judge(&call), InspectionVerdict::Dangerous);
    let reconstructed = Pickle::new().global("copyreg", "_reconstructor").raw(b"(").global("mypackage", "restore");
    let reconstructed = reconstructed.global("builtins", "object").raw(b"NtR").stop();
    assert_eq!(judge(&reconstructed), InspectionVerdict::Dangerous);
}

#[test]
fn what_ran_before_a_break_counts() {
    let mut broken = Pickle::call("os", "system", "id");
    broken.truncate(broken.len() - 1);
    broken.extend(b"\xff\xff");
    assert_eq!(codes(&inspect_as("a.pkl", &broken)), ["PICKLE_DANGEROUS_GLOBAL", "PICKLE_MALFORMED"]);
    assert_eq!(codes(&inspect_as("a.pkl", b"\x80\x04]q\0(X\xff")), ["PICKLE_TRUNCATED"]);
    for broken in [b"\x80\x04t.".as_slice(), b"\x80\x04h\x07.", b"\x80\x06N.", b"\x80\x04(\x850.", b"I12x!\n."] {
        assert_eq!(codes(&inspect_as("a.pkl", broken)), ["PICKLE_MALFORMED"], "{broken:?}");
    }
}

#[test]
fn all_pickles_of_a_file_are_followed() {
    let benign = b"\x80\x04]\x94.".to_vec();
    assert_eq!(judge(&[benign.clone(), benign.clone()].concat()), InspectionVerdict::Ok);
    assert_eq!(judge(&[benign.clone(), Pickle::call("os", "system", "id")].concat()), InspectionVerdict::Dangerous);
    let trailing = inspect_as("a.pkl", &[benign, b"\xff\xffleft".to_vec()].concat());
    assert_eq!(codes(&trailing), ["PICKLE_TRAILING_BYTES"]);
    assert_eq!(trailing.verdict, InspectionVerdict::Suspicious);
}

#[test]
fn pickles_in_constants_are_found_whatever_their_coding() {
    let inner = Pickle::call("os", "system", "echo nothing at all");
    let characters: String = inner.iter().map(|byte| char::from(*byte)).collect();
    for (coding, outer) in [
        ("raw", Pickle::new().bytes(&inner).stop()),
        ("base64", Pickle::new().text(&base64(&inner)).stop()),
        ("hexadecimal", Pickle::new().text(&hex::encode(&inner)).stop()),
        ("characters", Pickle::new().text(&characters).stop()),
        ("twice", Pickle::new().bytes(&Pickle::new().text(&base64(&inner)).global("builtins", "set").stop()).stop()),
        ("archive", Pickle::new().bytes(&Zip::new().file("a", inner.clone()).build()).stop()),
        ("protocol 0", Pickle::new().bytes(b"cos\nsystem\n(S'echo nothing'\ntR.").stop()),
    ] {
        let inspection = inspect_as("a.pkl", &outer);
        assert_eq!(inspection.verdict, InspectionVerdict::Dangerous, "{coding}: {:?}", inspection.findings);
        assert!(inspection.findings[0].detail.starts_with("In `constant at byte"), "{coding}");
    }
    let text = Pickle::new().text("cats\nand dogs are what this text is about\nso it imports nothing.").stop();
    assert_eq!(judge(&text), InspectionVerdict::Ok);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn checkpoints_have_exact_parameter_counts() {
    let checkpoint = Checkpoint::new(&[("layer.weight", &[4, 3]), ("layer.bias", &[4])]);
    for (name, bytes) in [("zip", checkpoint.zip().build()), ("legacy", checkpoint.legacy())] {
        let inspection = inspect_as("pytorch_model.bin", &bytes);
        assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{name}: {:?}", inspection.findings);
        assert_eq!((inspection.parameters, inspection.files[0].tensor_count), (Some(16), Some(2)), "{name}");
        assert_eq!(inspection.quantization.as_deref(), Some("float32"), "{name}");
        assert_eq!(inspection.files[0].format, "pickle", "{name}");
    }
}

#[test]
fn shards_of_a_checkpoint_are_added_up() {
    let first = Checkpoint::new(&[("a.weight", &[4, 3])]).zip().build();
    let second = Checkpoint::new(&[("b.weight", &[5])]).zip().build();
    let entries = [
        FileEntry { path: "pytorch_model-00001-of-00002.bin", source: &first },
        FileEntry { path: "pytorch_model-00002-of-00002.bin", source: &second },
    ];
    assert_eq!(inspect(&entries).parameters, Some(17));
}

#[test]
fn tied_weights_count_once() {
    let checkpoint = Checkpoint::new(&[("embedding", &[4, 3])]);
    let mut pickle = checkpoint.pickle();
    // Before the final SETITEMS: the tensor on top of the stack is remembered and named again.
    let end = pickle.len() - 2;
    let again = [b"\x94".to_vec(), Pickle::new().text("output").stop()[2..].to_vec()].concat();
    pickle.splice(end..end, [&again[..again.len() - 1], b"h\0"].concat());
    let zip = Zip::new().file("a/data.pkl", pickle).file("a/data/0", [0; 48]);
    let inspection = inspect_as("a.bin", &zip.build());
    assert_eq!(
        (inspection.verdict, inspection.parameters),
        (InspectionVerdict::Ok, Some(12)),
        "{:?}",
        inspection.findings
    );
}

#[test]
fn an_optimizer_is_no_model() {
    let mut state = Checkpoint {
        extra: Pickle::new().text("state").raw(b"}").text("param_groups").raw(b"]").stop()[2..].to_vec(),
        ..Checkpoint::new(&[("momentum", &[4])])
    };
    state.extra.pop();
    let inspection = inspect_as("optimizer.pt", &state.zip().build());
    assert_eq!((inspection.verdict, inspection.parameters), (InspectionVerdict::Ok, None), "{:?}", inspection.findings);
}

#[test]
fn storages_that_are_not_what_the_pickle_says_are_malformed() {
    let mut checkpoint = Checkpoint::new(&[("weight", &[4, 3])]);
    checkpoint.tensors[0].storage_elements = 5;
    assert_eq!(codes(&inspect_as("a.bin", &checkpoint.zip().build())), ["TORCH_TENSOR_OUT_OF_BOUNDS"]);
    checkpoint.tensors[0].storage_elements = 100;
    for bytes in [checkpoint.zip().build(), checkpoint.legacy()] {
        let inspection = inspect_as("a.bin", &bytes);
        assert!(codes(&inspection).contains(&"TORCH_STORAGE_MISMATCH"), "{:?}", inspection.findings);
    }
    let mut longer = Checkpoint::new(&[("weight", &[4, 3])]).legacy();
    longer.push(0);
    assert_eq!(codes(&inspect_as("a.bin", &longer)), ["TORCH_STORAGE_MISMATCH"]);
}

#[test]
fn a_pickle_in_place_of_a_storage_is_found() {
    let checkpoint = Checkpoint::new(&[("weight", &[4])]);
    let zip = checkpoint.zip().file("archive/data/7", Pickle::call("os", "system", "id"));
    let inspection = inspect_as("a.bin", &zip.build());
    assert_eq!(inspection.verdict, InspectionVerdict::Dangerous);
}

#[test]
fn code_of_torchscript_may_call_operators_that_touch_no_files() {
    let script = |code: &str| {
        let zip = Checkpoint::new(&[("weight", &[4])]).zip();
        let zip = zip.file("archive/constants.pkl", Pickle::new().raw(b")").stop());
        inspect_as("model.pt", &zip.file("archive/code/__torch__/m.py", code).build())
    };
    let plain = script("def forward(self, x: Tensor) -> Tensor:\n  return torch.add(x, ops.prim.data(x))\n");
    assert_eq!(plain.verdict, InspectionVerdict::Ok, "{:?}", plain.findings);
    assert_eq!(codes(&script("x = torch.from_file(\"/etc/passwd\", True, 9)\n")), ["TORCHSCRIPT_FILE_ACCESS"]);
    assert_eq!(codes(&script("x = ops.aten.save(x, \"/tmp/x\")\n")), ["TORCHSCRIPT_FILE_ACCESS"]);
    assert_eq!(codes(&script("x = ops.mylib.run(x)\n")), ["TORCHSCRIPT_CUSTOM_OPERATOR"]);
}

#[test]
fn torchscript_classes_are_known_in_torchscript_archives_only() {
    let pickle = Pickle::new().global("__torch__.m", "Model").raw(b")\x81}b").stop();
    assert_eq!(judge(&pickle), InspectionVerdict::Suspicious);
    let zip = Zip::new().file("m/data.pkl", pickle).file("m/constants.pkl", Pickle::new().raw(b")").stop());
    assert_eq!(inspect_as("model.pt", &zip.build()).verdict, InspectionVerdict::Ok);
}

#[test]
fn arrays_are_read_strictly() {
    let plain = npy("'<f4'", "(3, 4)", &[0; 48]);
    let inspection = inspect_as("a.npy", &plain);
    assert_eq!((inspection.verdict, inspection.parameters), (InspectionVerdict::Ok, Some(12)));
    let records = npy("[('x', '<f4'), ('y', '<i2', (2,))]", "(3,)", &[0; 24]);
    assert_eq!(inspect_as("a.npy", &records).verdict, InspectionVerdict::Ok);
    assert_eq!(codes(&inspect_as("a.npy", &npy("'<f4'", "(3, 4)", &[0; 47]))), ["NUMPY_SIZE_MISMATCH"]);
    let overflow = npy("'<f4'", "(4611686018427387904, 4)", &[]);
    assert_eq!(codes(&inspect_as("a.npy", &overflow)), ["NUMPY_SIZE_MISMATCH"]);
    for broken in [npy("__import__('os')", "()", &[]), npy("'<q9'", "()", &[]), b"\x93NUMPY\x09\0\0\0".to_vec()] {
        assert_eq!(codes(&inspect_as("a.npy", &broken)), ["NUMPY_HEADER_MALFORMED"]);
    }
}

#[test]
fn arrays_of_objects_are_pickles() {
    let benign = npy("'|O'", "(1,)", b"\x80\x04]\x94.");
    assert_eq!(inspect_as("a.npy", &benign).verdict, InspectionVerdict::Ok);
    let malicious = npy("'|O'", "(1,)", &Pickle::call("os", "system", "id"));
    assert_eq!(codes(&inspect_as("a.npy", &malicious)), ["PICKLE_DANGEROUS_GLOBAL"]);
    let hidden_in_record = npy("[('a', '|O')]", "(1,)", &Pickle::call("os", "system", "id"));
    assert_eq!(inspect_as("a.npy", &hidden_in_record).verdict, InspectionVerdict::Dangerous);
    let zip = Zip::new().file("w.npy", npy("'<f4'", "(2,)", &[0; 8])).file("o.npy", malicious).build();
    let inspection = inspect_as("a.npz", &zip);
    assert_eq!((inspection.verdict, inspection.parameters), (InspectionVerdict::Dangerous, Some(2)));
}

#[test]
fn arrays_in_the_middle_of_a_joblib_pickle_are_passed_over() {
    let wrapper = |dtype: &str| {
        Pickle::new()
            .global("joblib.numpy_pickle", "NumpyArrayWrapper")
            .raw(b")\x81}(")
            .text("shape")
            .numbers(&[3])
            .text("dtype")
            .global("numpy", "dtype")
            .text(dtype)
            .raw(b"\x89\x88\x87R")
            .text("numpy_array_alignment_bytes")
            .raw(b"K\x10ub")
    };
    // Padding of two bytes, then 24 bytes that are an attack if they are read as instructions.
    let data = b"\x02zzcos\nsystem\n(S'id'\ntR.....";
    assert_eq!(judge(&wrapper("f8").raw(&data[..27]).stop()), InspectionVerdict::Ok);
    let objects = Pickle::call("os", "system", "id");
    assert_eq!(judge(&wrapper("O8").raw(&objects).stop()), InspectionVerdict::Dangerous);
    assert_eq!(judge(&wrapper("O8").raw(b"\x80\x04]\x94.").stop()), InspectionVerdict::Ok);
}

#[test]
fn no_depth_or_number_of_values_is_too_much() {
    let deep = [b"\x80\x04".to_vec(), vec![b']'; 500_000], vec![b'a'; 499_999], b".".to_vec()].concat();
    assert_eq!(judge(&deep), InspectionVerdict::Ok);
    let tuples = [b"\x80\x04N".to_vec(), vec![0x85; 900_000], b".".to_vec()].concat();
    assert_eq!(judge(&tuples), InspectionVerdict::Ok);
    let endless = [b"\x80\x04".to_vec(), vec![b'N'; 2_000_000], b".".to_vec()].concat();
    assert_eq!(codes(&inspect_as("a.pkl", &endless)), ["PICKLE_TOO_COMPLEX"]);
    let late = [vec![b']'; 600_000], vec![b'0'; 600_000], Pickle::call("os", "system", "id")].concat();
    assert_eq!(judge(&late), InspectionVerdict::Dangerous);
}

#[test]
fn a_pickle_under_another_name_is_judged_as_a_pickle() {
    for name in ["model.gguf", "model.safetensors", "notes.txt", "README.md"] {
        let inspection = inspect_as(name, &Pickle::call("os", "system", "id"));
        assert_eq!(inspection.verdict, InspectionVerdict::Dangerous, "{name}");
    }
}

#[test]
fn pickles_that_begin_like_text_are_told_from_text() {
    let attack = b"Vnothing\n0cos\nsystem\n(S'id'\ntR.";
    for name in ["pytorch_model.bin", "notes.txt", "README.md", "LICENSE", "data"] {
        assert_eq!(inspect_as(name, attack).verdict, InspectionVerdict::Dangerous, "{name}");
    }
    // Lists of words and source code: `c` and `i` begin imports.
    for text in ["cat\ndog\n", "code\nos\n.\n", "import os\nos.system('id')\n", "class A:\n  pass\n", "N\n.\n"] {
        let inspection = inspect_as("labels.txt", text.as_bytes());
        assert_eq!(
            (inspection.verdict, inspection.files[0].format.as_str()),
            (InspectionVerdict::Ok, "text"),
            "{text}"
        );
    }
}

#[test]
fn enumerations_that_are_pickled_by_the_name_of_their_member_are_harmless() {
    let member = |owner: (&str, &str), name: &str| {
        Pickle::new().global("builtins", "getattr").global(owner.0, owner.1).text(name).raw(b"\x86R").stop()
    };
    let strategy = ("transformers.trainer_utils", "IntervalStrategy");
    assert_eq!(judge(&member(strategy, "STEPS")), InspectionVerdict::Ok);
    assert_eq!(judge(&member(strategy, "__class__")), InspectionVerdict::Dangerous);
    assert_eq!(judge(&member(("collections", "OrderedDict"), "fromkeys")), InspectionVerdict::Dangerous);
    assert_eq!(judge(&member(("os", "P_ALL"), "STEPS")), InspectionVerdict::Dangerous);
    let both = [member(strategy, "STEPS"), member(("torch", "Size"), "count")].concat();
    assert_eq!(judge(&both), InspectionVerdict::Dangerous);
}

#[test]
fn tensors_pickled_by_their_bytes_are_looked_into() {
    let load =
        |bytes: &[u8]| Pickle::new().global("torch.storage", "_load_from_bytes").bytes(bytes).raw(b"\x85R").stop();
    assert_eq!(judge(&load(&Checkpoint::new(&[("w", &[64])]).legacy())), InspectionVerdict::Ok);
    let malicious = [Pickle::call("os", "system", "id"), vec![b'x'; 300]].concat();
    assert_eq!(judge(&load(&malicious)), InspectionVerdict::Dangerous);
    assert_eq!(judge(&load(b"nothing that is known")), InspectionVerdict::Dangerous);
}

//! What inspection says of ONNX models, good ones and made-up attacks.

use serde_json::json;
use verifier::evidence::{Inspection, InspectionVerdict};
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::protobuf::Message;

const FLOAT: u64 = 1;

fn judge(model: Message) -> Inspection {
    judge_bytes(&model.build())
}

fn judge_bytes(bytes: &[u8]) -> Inspection {
    let bytes = bytes.to_vec();
    inspect(&[FileEntry { path: "model.onnx", source: &bytes }])
}

fn codes(inspection: &Inspection) -> Vec<&str> {
    inspection.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[track_caller]
fn assert_judged(inspection: &Inspection, verdict: InspectionVerdict, code: &str) {
    assert_eq!((inspection.verdict, codes(inspection)), (verdict, vec![code]), "{:?}", inspection.findings);
}

fn model(graph: &Message) -> Message {
    Message::new()
        .number(1, 8)
        .text(2, "pytorch")
        .message(7, graph)
        .message(8, &Message::new().text(1, "").number(2, 17))
        .message(14, &Message::new().text(1, "license").text(2, "mit"))
}

fn node(domain: &str, operator: &str) -> Message {
    Message::new().text(1, "x").text(2, "y").text(4, operator).text(7, domain)
}

fn tensor(dimensions: &[u64], data_type: u64) -> Message {
    Message::new().packed(1, dimensions).number(2, data_type).text(8, "weight")
}

fn weights(dimensions: &[u64], bytes: usize) -> Message {
    tensor(dimensions, FLOAT).bytes(9, vec![0; bytes])
}

fn with_tensor(tensor: &Message) -> Inspection {
    judge(model(&Message::new().message(1, &node("", "Relu")).message(5, tensor)))
}

fn with_node(node: &Message) -> Inspection {
    judge(model(&Message::new().message(1, node)))
}

fn external(entries: &[(&str, &str)]) -> Message {
    entries.iter().fold(tensor(&[2, 3], FLOAT).number(14, 1), |tensor, (key, value)| {
        tensor.message(13, &Message::new().text(1, key).text(2, value))
    })
}

#[test]
fn a_model_is_described_by_its_graph() {
    let shape = Message::new().message(1, &Message::new().text(2, "batch")).message(1, &Message::new().number(1, 3));
    let kind = Message::new().message(1, &Message::new().number(1, FLOAT).message(2, &shape));
    let graph = Message::new()
        .message(1, &node("", "Gemm"))
        .message(1, &node("com.microsoft", "FusedMatMul"))
        .message(5, &weights(&[2, 3], 24))
        .message(5, &tensor(&[4], 10).bytes(9, [0; 8]))
        .message(11, &Message::new().text(1, "x").message(2, &kind));
    let inspection = judge(model(&graph));
    assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{:?}", inspection.findings);
    assert_eq!(inspection.format.as_deref(), Some("onnx"));
    assert_eq!((inspection.parameters, inspection.files[0].tensor_count), (Some(10), Some(2)));
    assert_eq!(inspection.quantization.as_deref(), Some("float32"));
    let facts = &inspection.files[0].metadata;
    assert_eq!(facts["opsets"], json!({"ai.onnx": 17}));
    assert_eq!(facts["inputs"], json!([{"name": "x", "type": "float32", "shape": ["batch", 3]}]));
    assert_eq!(facts["operators"], json!({"Gemm": 1, "com.microsoft::FusedMatMul": 1}));
    assert_eq!((&facts["producer"], &facts["metadata.license"]), (&json!("pytorch"), &json!("mit")));
}

#[test]
fn weights_in_constants_count_and_shapes_in_constants_do_not() {
    let constant =
        |tensor: &Message| node("", "Constant").message(5, &Message::new().text(1, "value").message(5, tensor));
    let graph = Message::new()
        .message(1, &constant(&weights(&[5], 20)))
        .message(1, &constant(&tensor(&[2], 7).bytes(9, [0; 16])));
    assert_eq!(judge(model(&graph)).parameters, Some(5));
}

#[test]
fn external_data_inside_the_folder_is_fine_and_listed() {
    let inspection = with_tensor(&external(&[("location", "data/model.bin"), ("offset", "4096"), ("length", "24")]));
    assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{:?}", inspection.findings);
    assert_eq!(inspection.files[0].metadata["external_data"], json!(["data/model.bin"]));
    assert_eq!(inspection.parameters, Some(6));
}

#[test]
fn external_data_outside_the_folder_is_dangerous() {
    let paths = [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../b",
        "C:\\x",
        "..\\x",
        "\\\\host\\share",
        "https://host/x",
        "file:///etc/passwd",
        "x\0y",
        "*/_ORT_MEM_ADDR_/*",
    ];
    for path in paths {
        let inspection = with_tensor(&external(&[("location", path)]));
        assert_judged(&inspection, InspectionVerdict::Dangerous, "ONNX_EXTERNAL_DATA_PATH");
    }
    let untyped = Message::new().message(13, &Message::new().text(1, "location").text(2, "../x"));
    assert_eq!(with_tensor(&untyped).verdict, InspectionVerdict::Dangerous);
    // The location alone says where to look, whatever the tensor says of itself.
    let hidden = weights(&[1], 4).message(13, &Message::new().text(1, "location").text(2, "../x"));
    assert_judged(&with_tensor(&hidden), InspectionVerdict::Dangerous, "ONNX_EXTERNAL_DATA_PATH");
}

#[test]
fn external_data_is_found_in_subgraphs_functions_attributes_and_training() {
    let evil = external(&[("location", "../x")]);
    let graph = Message::new().message(5, &evil);
    let branch = node("", "If").message(5, &Message::new().text(1, "then_branch").message(6, &graph));
    let loops =
        node("", "Loop").message(5, &Message::new().text(1, "body").message(6, &Message::new().message(1, &branch)));
    let constant = node("", "Constant").message(5, &Message::new().text(1, "value").message(5, &evil));
    let sparse = Message::new().message(15, &Message::new().message(2, &evil));
    let function = Message::new().text(1, "f").text(10, "d").message(7, &constant);
    let models = [
        model(&Message::new().message(1, &loops)),
        model(&Message::new().message(1, &constant)),
        model(&sparse),
        model(&Message::new()).message(25, &function),
        model(&Message::new()).message(20, &Message::new().message(1, &graph)),
    ];
    for model in models {
        assert_eq!(judge(model).verdict, InspectionVerdict::Dangerous);
    }
}

#[test]
fn a_flood_of_mistakes_does_not_hide_the_worst() {
    let odd = (0..5000).fold(Message::new(), |graph, number| {
        let key = format!("key{number}");
        graph.message(5, &external(&[("location", "x"), (&key, "y")])).message(5, &weights(&[number], 1))
    });
    let inspection = judge(model(&odd.message(5, &external(&[("location", "../x")]))));
    assert_eq!(inspection.verdict, InspectionVerdict::Dangerous);
    assert!(codes(&inspection).contains(&"ONNX_EXTERNAL_DATA_PATH"));
    assert!(inspection.findings.len() < 70);
}

#[test]
fn broken_external_data_is_malformed() {
    let length = with_tensor(&external(&[("location", "x"), ("length", "25")]));
    assert_judged(&length, InspectionVerdict::Malformed, "ONNX_TENSOR_SIZE");
    let offset = with_tensor(&external(&[("location", "x"), ("offset", "-1")]));
    assert_judged(&offset, InspectionVerdict::Malformed, "ONNX_EXTERNAL_DATA_RANGE");
    assert_judged(&with_tensor(&external(&[])), InspectionVerdict::Malformed, "ONNX_NO_EXTERNAL_LOCATION");
    let key = with_tensor(&external(&[("location", "x"), ("__class__", "y")]));
    assert_judged(&key, InspectionVerdict::Suspicious, "ONNX_EXTERNAL_DATA_KEY");
}

#[test]
fn tensors_whose_data_do_not_fit_their_shape_are_malformed() {
    let cases = [
        (weights(&[2, 3], 20), "ONNX_TENSOR_SIZE"),
        (weights(&[2, 3], 28), "ONNX_TENSOR_SIZE"),
        (tensor(&[2], FLOAT), "ONNX_TENSOR_SIZE"),
        (tensor(&[2], FLOAT).bytes(4, [0; 12]), "ONNX_TENSOR_SIZE"),
        (tensor(&[9], 7).packed(7, &[1, 2]), "ONNX_TENSOR_SIZE"),
        (weights(&[u64::MAX], 0), "ONNX_NEGATIVE_DIMENSION"),
        (weights(&[1 << 32, 1 << 32], 0), "ONNX_SIZE_OVERFLOW"),
        (weights(&[1 << 62], 0), "ONNX_SIZE_OVERFLOW"),
        (tensor(&[1], 99).bytes(9, [0; 4]), "ONNX_UNKNOWN_TENSOR_TYPE"),
        (weights(&[1], 4).bytes(4, [0; 4]), "ONNX_TENSOR_DATA_TWICE"),
    ];
    for (tensor, code) in cases {
        assert_judged(&with_tensor(&tensor), InspectionVerdict::Malformed, code);
    }
    let good = [
        tensor(&[2], FLOAT).bytes(4, [0; 8]),
        tensor(&[2], 7).packed(7, &[1, u64::MAX]),
        tensor(&[2], 14).bytes(4, [0; 16]),
        tensor(&[2], 8).text(6, "a").text(6, "b"),
        tensor(&[3], 22).bytes(9, [0; 2]),
        tensor(&[0], FLOAT),
        tensor(&[], 7).number(7, 5),
    ];
    for tensor in good {
        let inspection = with_tensor(&tensor);
        assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{:?}", inspection.findings);
    }
}

#[test]
fn operators_that_reach_out_are_dangerous() {
    for (domain, operator, code) in [
        ("com.microsoft", "PythonOp", "ONNX_PYTHON_OPERATOR"),
        ("ai.onnx.contrib", "PyOp", "ONNX_PYTHON_OPERATOR"),
        ("com.microsoft.extensions", "AzureTextToText", "ONNX_NETWORK_OPERATOR"),
        ("com.microsoft.extensions", "OpenAIAudioToText", "ONNX_NETWORK_OPERATOR"),
    ] {
        assert_judged(&with_node(&node(domain, operator)), InspectionVerdict::Dangerous, code);
    }
}

#[test]
fn operators_of_unknown_domains_deserve_a_look_unless_the_model_defines_them() {
    let custom = node("my.domain", "Attention");
    assert_judged(&with_node(&custom), InspectionVerdict::Suspicious, "ONNX_CUSTOM_OPERATOR");
    let function = Message::new().text(1, "Attention").text(10, "my.domain").message(7, &node("", "MatMul"));
    let defined = judge(model(&Message::new().message(1, &custom)).message(25, &function));
    assert_eq!(defined.verdict, InspectionVerdict::Ok, "{:?}", defined.findings);
    assert_judged(&with_node(&node("", "MyAttention")), InspectionVerdict::Suspicious, "ONNX_CUSTOM_OPERATOR");
    let other = Message::new().text(1, "Other").text(10, "my.domain");
    let undefined = judge(model(&Message::new().message(1, &custom)).message(25, &other));
    assert_eq!(undefined.verdict, InspectionVerdict::Suspicious);
}

#[test]
fn scripts_in_metadata_are_found() {
    let entry = Message::new().text(1, "note").text(2, "<script>alert(1)</script>");
    let inspection = judge(model(&Message::new()).message(14, &entry));
    assert_judged(&inspection, InspectionVerdict::Dangerous, "SCRIPT_IN_METADATA");
}

#[test]
fn broken_messages_are_malformed_by_name() {
    let good = model(&Message::new().message(1, &node("", "Relu")));
    let cases = [
        (good.clone().claimed(9, 1 << 40), "PROTOBUF_LENGTH_OUT_OF_BOUNDS"),
        (good.clone().raw(&[0x4b]), "PROTOBUF_GROUP"),
        (good.clone().raw(&[0x0e]), "PROTOBUF_WIRE_TYPE"),
        (good.clone().raw(&[0x02, 0x00]), "PROTOBUF_FIELD_NUMBER"),
        (
            good.clone().raw(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            "PROTOBUF_INVALID_NUMBER",
        ),
        (good.clone().raw(&[0x08, 0xff]), "PROTOBUF_INVALID_NUMBER"),
        (good.clone().number(7, 1), "PROTOBUF_FIELD_TYPE"),
        (Message::new().number(1, 8).text(2, "x"), "ONNX_NO_GRAPH"),
        (model(&Message::new().message(1, &Message::new())), "PROTOBUF_MISSING_FIELD"),
        (model(&Message::new().message(5, &Message::new())), "PROTOBUF_MISSING_FIELD"),
    ];
    for (model, code) in cases {
        assert_judged(&judge(model), InspectionVerdict::Malformed, code);
    }
}

#[test]
fn graphs_nested_without_end_are_refused_and_a_few_levels_are_walked() {
    let nested = |levels: usize| {
        (0..levels).fold(Message::new().message(1, &node("x.y", "Op")), |graph, _| {
            let attribute = Message::new().text(1, "body").message(6, &graph);
            Message::new().message(1, &node("", "Loop").message(5, &attribute))
        })
    };
    assert_judged(&judge(model(&nested(20))), InspectionVerdict::Suspicious, "ONNX_CUSTOM_OPERATOR");
    assert_judged(&judge(model(&nested(1000))), InspectionVerdict::Malformed, "PROTOBUF_NESTED_TOO_DEEP");
}

#[test]
fn large_weights_are_not_read() {
    struct Sparse {
        head: Vec<u8>,
        size: u64,
        read: std::sync::atomic::AtomicU64,
    }
    impl verifier::ReadAt for Sparse {
        fn size(&self) -> u64 {
            self.size
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = usize::try_from((self.size - offset).min(buffer.len() as u64)).unwrap();
            for (index, byte) in buffer[..length].iter_mut().enumerate() {
                let at = usize::try_from(offset).unwrap() + index;
                *byte = self.head.get(at).copied().unwrap_or_default();
            }
            self.read.fetch_add(length as u64, std::sync::atomic::Ordering::Relaxed);
            Ok(length)
        }
    }
    let length = 4 << 30;
    let tensor = tensor(&[1 << 30], FLOAT).claimed(9, length).build();
    let graph = Message::new().claimed(5, tensor.len() as u64 + length).raw(&tensor).build();
    let head = Message::new().number(1, 8).text(2, "x").claimed(7, graph.len() as u64 + length).raw(&graph).build();
    let source = Sparse { size: head.len() as u64 + length, head, read: 0.into() };
    let inspection = inspect(&[FileEntry { path: "a.onnx", source: &source }]);
    assert_eq!((inspection.verdict, inspection.parameters), (InspectionVerdict::Ok, Some(1 << 30)));
    assert!(source.read.into_inner() < 1 << 20);
}

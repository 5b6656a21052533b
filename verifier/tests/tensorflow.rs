//! What inspection says of TensorFlow graphs and TensorFlow Lite models.

use serde_json::json;
use verifier::evidence::{Inspection, InspectionVerdict};
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::flatbuffer::Table;
use weighhouse_tests::protobuf::Message;

const FLOAT: u64 = 1;

fn judge(path: &str, bytes: impl AsRef<[u8]>) -> Inspection {
    inspect(&[FileEntry { path, source: &bytes.as_ref().to_vec() }])
}

fn codes(inspection: &Inspection) -> Vec<&str> {
    inspection.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[track_caller]
fn assert_judged(inspection: &Inspection, verdict: InspectionVerdict, code: &str) {
    assert_eq!((inspection.verdict, codes(inspection)), (verdict, vec![code]), "{:?}", inspection.findings);
}

#[track_caller]
fn assert_ok(inspection: &Inspection) {
    assert_eq!(inspection.verdict, InspectionVerdict::Ok, "{:?}", inspection.findings);
}

fn node(operator: &str) -> Message {
    Message::new().text(1, "node").text(2, operator).text(3, "input")
}

fn attribute(name: &str, value: &Message) -> Message {
    Message::new().text(1, name).message(2, value)
}

fn shape(dimensions: &[u64]) -> Message {
    dimensions.iter().fold(Message::new(), |shape, size| shape.message(2, &Message::new().number(1, *size)))
}

fn constant(dimensions: &[u64], bytes: usize) -> Message {
    let tensor = Message::new().number(1, FLOAT).message(2, &shape(dimensions)).bytes(4, vec![0; bytes]);
    node("Const").message(5, &attribute("value", &Message::new().message(8, &tensor)))
}

fn graph(nodes: &[Message]) -> Message {
    nodes.iter().fold(Message::new(), |graph, node| graph.message(1, node))
}

/// A function library with one function of this node.
fn library(node: &Message) -> Message {
    let function = Message::new().message(1, &Message::new().text(1, "__inference_f")).message(3, node);
    Message::new().message(1, &function)
}

fn meta_graph(graph: &Message) -> Message {
    let operators = Message::new().message(1, &Message::new().text(1, "AddV2"));
    let info = Message::new().message(2, &operators).text(4, "serve").text(5, "2.15.0");
    Message::new().message(1, &info).message(2, graph)
}

fn saved_model(meta_graph: &Message) -> Vec<u8> {
    Message::new().number(1, 1).message(2, meta_graph).build()
}

fn keras_object(metadata: &str) -> Message {
    let user = Message::new().text(1, "_tf_keras_layer").text(3, metadata);
    Message::new().message(1, &Message::new().message(4, &user))
}

#[test]
fn a_saved_model_counts_its_variables() {
    let variable = Message::new().number(1, FLOAT).message(2, &shape(&[3, 4])).text(6, "dense/kernel");
    let objects = Message::new()
        .message(1, &Message::new().message(3, &Message::new().number(1, 1).text(2, "m").number(3, 2)))
        .message(1, &Message::new().message(7, &variable))
        .message(1, &Message::new().message(7, &variable));
    let graph =
        graph(&[node("VarHandleOp"), node("SaveV2"), node("RestoreV2"), node("MergeV2Checkpoints"), constant(&[2], 8)]);
    let inspection = judge("saved_model.pb", saved_model(&meta_graph(&graph).message(7, &objects)));
    assert_ok(&inspection);
    // The second variable is the first one's momentum.
    assert_eq!(inspection.parameters, Some(12));
    assert_eq!(inspection.files[0].metadata["tags"], json!(["serve"]));
    assert_eq!(inspection.files[0].metadata["operators"]["SaveV2"], json!(1));
}

#[test]
fn a_frozen_graph_counts_its_constants() {
    let inspection =
        judge("frozen.pb", graph(&[constant(&[2, 3], 24), node("MatMul")]).message(4, &Message::new()).build());
    assert_ok(&inspection);
    assert_eq!((inspection.parameters, inspection.quantization.as_deref()), (Some(6), Some("float32")));
    let wrong = judge("frozen.pb", graph(&[constant(&[2, 3], 20)]).build());
    assert_judged(&wrong, InspectionVerdict::Malformed, "TENSORFLOW_TENSOR_SIZE");
}

#[test]
fn operations_that_reach_out_are_dangerous_in_graphs_and_functions() {
    for (operator, code) in [
        ("ReadFile", "TENSORFLOW_FILE_OPERATOR"),
        ("WriteFile", "TENSORFLOW_FILE_OPERATOR"),
        ("PyFunc", "TENSORFLOW_PYTHON_OPERATOR"),
        ("RpcCall", "TENSORFLOW_NETWORK_OPERATOR"),
    ] {
        let plain = graph(&[node("AddV2"), node(operator)]);
        let in_function = graph(&[node("AddV2")]).message(2, &library(&node(operator)));
        for graph in [&plain, &in_function] {
            let files = [
                ("saved_model.pb", saved_model(&meta_graph(graph))),
                ("frozen.pb", graph.clone().build()),
                ("model.meta", meta_graph(graph).build()),
            ];
            for (path, bytes) in files {
                assert_judged(&judge(path, bytes), InspectionVerdict::Dangerous, code);
            }
        }
    }
}

#[test]
fn printing_to_a_file_is_dangerous() {
    let print = |stream: &str| node("PrintV2").message(5, &attribute("output_stream", &Message::new().text(2, stream)));
    assert_ok(&judge("a.pb", graph(&[print("stderr")]).build()));
    let inspection = judge("a.pb", graph(&[print("file:///tmp/x")]).build());
    assert_judged(&inspection, InspectionVerdict::Dangerous, "TENSORFLOW_FILE_OPERATOR");
}

#[test]
fn calls_of_the_graphs_own_functions_are_no_operations() {
    let own = Message::new().message(1, &Message::new().message(1, &Message::new().text(1, "a>b")));
    assert_ok(&judge("a.pb", graph(&[node("a>b")]).message(2, &own).build()));
    let foreign = judge("a.pb", graph(&[node("Addons>Gelu")]).build());
    assert_judged(&foreign, InspectionVerdict::Suspicious, "TENSORFLOW_CUSTOM_OPERATOR");
}

#[test]
fn a_graph_cannot_pass_for_a_message_without_nodes() {
    let evil = node("ReadFile");
    let files = [
        // The first object looks like Keras metadata, the second is a node.
        Message::new().message(1, &Message::new().number(2, 1).text(4, "_tf_keras_x")).message(1, &evil),
        // A number in front, as in a SavedModel.
        Message::new().number(1, 1).message(1, &evil),
        // A first node that is called like the first piece of a tokenizer.
        Message::new().message(1, &Message::new().text(1, "<unk>").text(2, "ReadFile")),
        // Fields of a MetaGraphDef behind it.
        graph(std::slice::from_ref(&evil)).message(7, &Message::new()),
    ];
    for file in files {
        let inspection = judge("a.pb", file.build());
        assert!(inspection.verdict >= InspectionVerdict::Malformed, "{:?}", inspection.findings);
    }
    let meta = judge("a.meta", graph(&[evil]).build());
    assert!(meta.verdict >= InspectionVerdict::Malformed);
}

#[test]
fn assets_outside_the_folder_are_dangerous() {
    let asset = |name: &str| meta_graph(&graph(&[node("AddV2")])).message(6, &Message::new().text(2, name));
    assert_ok(&judge("saved_model.pb", saved_model(&asset("vocabulary.txt"))));
    let inspection = judge("saved_model.pb", saved_model(&asset("../../etc/passwd")));
    assert_judged(&inspection, InspectionVerdict::Dangerous, "TENSORFLOW_ASSET_PATH");
}

#[test]
fn keras_layers_in_saved_models_are_judged() {
    let lambda = r#"{"class_name":"Lambda","config":{"function":["x",null,null]}}"#;
    let dense = r#"{"class_name":"Dense","config":{"name":"dense"}}"#;
    let with = |metadata: &str| saved_model(&meta_graph(&graph(&[node("AddV2")])).message(7, &keras_object(metadata)));
    assert_ok(&judge("saved_model.pb", with(dense)));
    assert_judged(&judge("saved_model.pb", with(lambda)), InspectionVerdict::Dangerous, "KERAS_LAMBDA");
    let metadata = |text: &str| {
        let object = Message::new().number(2, 0).text(3, "root").text(4, "_tf_keras_network").text(5, text);
        Message::new().message(1, &object).build()
    };
    assert_ok(&judge("keras_metadata.pb", metadata(dense)));
    assert_judged(&judge("keras_metadata.pb", metadata(lambda)), InspectionVerdict::Dangerous, "KERAS_LAMBDA");
    assert_judged(&judge("keras_metadata.pb", metadata("{")), InspectionVerdict::Malformed, "KERAS_CONFIG_INVALID");
}

#[test]
fn graphs_as_text_are_searched_for_operations() {
    let text = |operator: &str| format!("node {{\n  name: \"a\"\n  op: \"{operator}\"\n}}\n").into_bytes();
    assert_ok(&judge("graph.pbtxt", text("AddV2")));
    assert_ok(&judge("label_map.pbtxt", b"item {\n  id: 1\n  name: 'ReadFile'\n}\n"));
    assert_judged(&judge("graph.pbtxt", text("ReadFile")), InspectionVerdict::Dangerous, "TENSORFLOW_FILE_OPERATOR");
}

#[test]
fn parts_of_checkpoints_are_known() {
    assert_ok(&judge("variables/variables.data-00000-of-00001", vec![1, 2, 3, 0xff]));
    assert_ok(&judge("fingerprint.pb", Message::new().number(1, u64::MAX).number(2, 5).build()));
    let unknown = judge("variables.data-0-of-1", vec![1, 2, 3, 0xff]);
    assert_judged(&unknown, InspectionVerdict::Unsupported, "UNKNOWN_FORMAT");
}

#[test]
fn an_index_lists_its_tensors() {
    let entry = Message::new().number(1, FLOAT).message(2, &shape(&[2, 3])).build();
    let inspection = judge("variables.index", sorted_table(&[("", &[]), ("dense/kernel", &entry)]));
    assert_ok(&inspection);
    assert_eq!(inspection.parameters, Some(6));
    let mut broken = sorted_table(&[("a", &entry)]);
    broken[0] = 9;
    assert_judged(&judge("variables.index", broken), InspectionVerdict::Malformed, "TENSORFLOW_INDEX");
}

/// A table as LevelDB writes it: a block of entries, a block that points to it, and the end.
fn sorted_table(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let block = |entries: &[(&str, &[u8])]| {
        let mut block = Vec::new();
        for (key, value) in entries {
            block.extend([0, low_byte(key.len()), low_byte(value.len())]);
            block.extend(key.as_bytes());
            block.extend(*value);
        }
        block.extend([0, 0, 0, 0, 1, 0, 0, 0]);
        block
    };
    let handle = |at: usize, length: usize| [low_byte(at), low_byte(length)];
    let data = block(entries);
    let index = block(&[("z", &handle(0, data.len()))]);
    let at = data.len() + 5;
    let mut end = [handle(0, 0), handle(at, index.len())].concat();
    end.resize(40, 0);
    end.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    [data, vec![0; 5], index, vec![0; 5], end].concat()
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

fn lite(codes: Vec<Table>, tensor: Table, buffer: &[u8]) -> Table {
    let graph = Table::new().tables(0, vec![tensor]);
    Table::new()
        .number(0, &3_u32.to_le_bytes())
        .tables(1, codes)
        .tables(2, vec![graph])
        .text(3, "test model")
        .tables(4, vec![Table::new(), Table::new().bytes(0, buffer)])
}

fn weights(shape: &[u32]) -> Table {
    Table::new().numbers(0, shape).number(1, &[0]).number(2, &1_u32.to_le_bytes()).text(3, "kernel")
}

fn custom(name: &str) -> Table {
    Table::new().number(0, &[32]).text(1, name).number(3, &32_u32.to_le_bytes())
}

fn judge_lite(model: &Table) -> Inspection {
    judge("model.tflite", model.build(*b"TFL3"))
}

#[test]
fn a_lite_model_counts_its_tensors() {
    let inspection = judge_lite(&lite(vec![custom("TFLite_Detection_PostProcess")], weights(&[2, 3]), &[0; 24]));
    assert_ok(&inspection);
    assert_eq!((inspection.parameters, inspection.format.as_deref()), (Some(6), Some("tflite")));
    assert_eq!(inspection.files[0].metadata["operators"], json!(["TFLite_Detection_PostProcess"]));
}

#[test]
fn custom_operators_of_a_lite_model_are_judged() {
    let with = |name: &str| judge_lite(&lite(vec![custom(name)], weights(&[1]), &[0; 4]));
    assert_judged(&with("MyOperator"), InspectionVerdict::Suspicious, "TFLITE_CUSTOM_OPERATOR");
    assert_judged(&with("FlexWriteFile"), InspectionVerdict::Dangerous, "TENSORFLOW_FILE_OPERATOR");
    assert_ok(&with("FlexErf"));
}

#[test]
fn lite_models_whose_parts_do_not_fit_are_malformed() {
    let size = judge_lite(&lite(Vec::new(), weights(&[2, 3]), &[0; 20]));
    assert_judged(&size, InspectionVerdict::Malformed, "TFLITE_TENSOR_SIZE");
    let overflow = judge_lite(&lite(Vec::new(), weights(&[u32::MAX, u32::MAX, u32::MAX]), &[0; 20]));
    assert_judged(&overflow, InspectionVerdict::Malformed, "TFLITE_SIZE_OVERFLOW");
    let missing = weights(&[1]).number(2, &9_u32.to_le_bytes());
    let missing = judge_lite(&lite(Vec::new(), missing, &[0; 4]));
    assert_judged(&missing, InspectionVerdict::Malformed, "TFLITE_UNKNOWN_BUFFER");
    let root = judge("model.tflite", b"\xff\xff\xff\xffTFL3");
    assert_judged(&root, InspectionVerdict::Malformed, "TFLITE_OUT_OF_BOUNDS");
}

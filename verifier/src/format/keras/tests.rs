use serde_json::{Value, json};

use super::*;

fn judged(config: &Value) -> (InspectionVerdict, Vec<String>) {
    let mut found = Found::new();
    judge_config(config, &mut found);
    (found.verdict, found.into_findings().into_iter().map(|finding| finding.code).collect())
}

fn verdict(config: &Value) -> InspectionVerdict {
    judged(config).0
}

/// A model of one layer in another model of one layer.
fn nested(layer: &Value) -> Value {
    let inner =
        json!({"module": "keras.models", "class_name": "Sequential", "config": {"name": "s", "layers": [layer]}});
    json!({"module": "keras", "class_name": "Functional", "config": {"name": "f", "layers": [inner]}, "registered_name": "Functional"})
}

#[test]
fn models_of_layers_that_keras_has_are_fine() {
    let layers = [
        json!({"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense", "activation": "relu", "units": 2,
            "kernel_initializer": {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": null}, "registered_name": null}},
            "registered_name": null}),
        json!({"class_name": "Conv2D", "config": {"name": "expanded_conv/project", "activation": "linear"}}),
        json!({"module": "keras.src.engine.functional", "class_name": "Functional", "config": {}, "registered_name": "Functional"}),
        json!({"class_name": "TFOpLambda", "config": {"name": "tf.math.multiply", "function": "math.multiply"}}),
        json!({"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": ["a"], "idf_weights": null}}),
        json!({"module": "builtins", "class_name": "function", "config": "mean_squared_error", "registered_name": "function"}),
        json!({"module": "keras.src.losses.losses", "class_name": "function", "config": "mse", "registered_name": "mse"}),
        json!({"module": "tensorflow.python.trackable.data_structures", "class_name": "ListWrapper", "config": [1]}),
        json!({"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": null}),
        json!({"class_name": "keras_nlp>BertBackbone", "config": {"name": "a:0"}}),
        json!({"class_name": "TFOpLambda", "config": {"function": "raw_ops.ResizeBilinear"}}),
        json!({"class_name": "Dense", "config": {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["a", 0, 0]}}]}}),
        json!({"module": "keras_hub.src.models.bert.bert_backbone", "class_name": "BertBackbone", "config": {}}),
    ];
    for layer in layers {
        assert_eq!(judged(&nested(&layer)), (InspectionVerdict::Ok, vec![]), "{layer}");
    }
}

#[test]
fn code_in_a_configuration_is_dangerous_at_any_depth() {
    let code = format!("4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHM{}=\n", "A".repeat(60));
    let layers = [
        json!({"class_name": "Lambda", "config": {"name": "l", "function": ["code", null, null], "function_type": "lambda"}}),
        json!({"module": "keras.layers", "class_name": "Lambda", "config": {"function": "relu"}}),
        json!({"class_name": "Custom>Lambda", "config": {}}),
        json!({"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__", "config": {"value": "x"}}}}),
        json!({"class_name": "Dense", "config": {"hidden": [code]}}),
        json!({"class_name": "Dense", "config": {"output_shape_type": "lambda"}}),
    ];
    for layer in layers {
        let (verdict, codes) = judged(&nested(&layer));
        assert_eq!(verdict, InspectionVerdict::Dangerous, "{layer}");
        assert_eq!(codes[0], "KERAS_LAMBDA", "{layer}");
    }
}

#[test]
fn modules_outside_keras_are_dangerous_even_under_a_registered_name() {
    let named = |module: &str, class_name: &str, config: Value, registered: Value| json!({"module": module, "class_name": class_name, "config": config, "registered_name": registered});
    let layers = [
        named("os", "function", json!("system"), json!("system")),
        named("os", "system", json!({}), Value::Null),
        named("posix", "function", json!("system"), json!("Custom>system")),
        named("builtins", "eval", json!("1"), Value::Null),
        named("builtins", "function", json!("exec"), json!("function")),
        named("subprocess", "Popen", json!({}), json!("Custom>Popen")),
        named("some.module", "Thing", json!({}), Value::Null),
    ];
    for layer in layers {
        assert_eq!(verdict(&nested(&layer)), InspectionVerdict::Dangerous, "{layer}");
    }
}

#[test]
fn functions_that_do_more_than_compute_are_dangerous() {
    let function = |module: &str, name: &str| json!({"module": module, "class_name": "function", "config": name, "registered_name": name});
    let layers = [
        function("keras.config", "enable_unsafe_deserialization"),
        function("keras.saving", "load_model"),
        function("keras.utils", "get_file"),
        function("keras.src.utils.io_utils", "print_msg"),
        function("tensorflow.io", "write_file"),
        function("tensorflow.python.ops.gen_io_ops", "read_file"),
        json!({"module": "keras.models", "class_name": "load_model", "config": {}}),
        json!({"module": "keras.config", "class_name": "disable_interactive_logging", "config": {}}),
        json!({"class_name": "TFOpLambda", "config": {"function": "io.write_file"}}),
        json!({"class_name": "TFOpLambda", "config": {"function": "compat.v1.py_func"}}),
        json!({"class_name": "TFOpLambda", "config": {"function": "raw_ops.WriteFile"}}),
        json!({"class_name": "TensorFlowOpLayer", "config": {"node_def": {"name": "x", "op": "WriteFile"}}}),
        json!({"class_name": "TensorFlowOpLayer", "config": {"node_def": "{\"op\":\"ReadFile\"}"}}),
    ];
    for layer in layers {
        assert_eq!(verdict(&nested(&layer)), InspectionVerdict::Dangerous, "{layer}");
    }
}

#[test]
fn files_that_layers_open_and_pickled_modules_are_dangerous() {
    let cases = [
        (json!({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}), "KERAS_EXTERNAL_FILE"),
        (json!({"class_name": "TextVectorization", "config": {"vocabulary": "http://host/x"}}), "KERAS_EXTERNAL_FILE"),
        (json!({"class_name": "TFSMLayer", "config": {"filepath": "/tmp/model"}}), "KERAS_EXTERNAL_FILE"),
        (json!({"class_name": "TorchModuleWrapper", "config": {"module": "gAJ9"}}), "KERAS_TORCH_MODULE"),
        (json!({"class_name": "Dense", "config": {"name": "../../x"}}), "KERAS_LAYER_NAME_PATH"),
        (json!({"class_name": "Dense", "config": {"name": "/x"}}), "KERAS_LAYER_NAME_PATH"),
    ];
    for (layer, code) in cases {
        let (verdict, codes) = judged(&nested(&layer));
        assert_eq!((verdict, codes), (InspectionVerdict::Dangerous, vec![code.to_owned()]), "{layer}");
    }
}

#[test]
fn objects_that_the_caller_must_bring_deserve_a_look() {
    let layers = [
        json!({"class_name": "Custom>Attention", "config": {}}),
        json!({"module": "my_model.layers", "class_name": "Attention", "config": {}, "registered_name": "mine>Attention"}),
        json!({"module": "transformers.models.bert", "class_name": "TFBertMainLayer", "config": {}, "registered_name": null}),
        json!({"module": "__main__", "class_name": "Attention", "config": {}, "registered_name": null}),
    ];
    for layer in layers {
        let expected = (InspectionVerdict::Suspicious, vec!["KERAS_CUSTOM_OBJECT".to_owned()]);
        assert_eq!(judged(&nested(&layer)), expected, "{layer}");
    }
}

#[test]
fn text_that_is_no_json_is_malformed() {
    let mut found = Found::new();
    judge_text(b"{\"class_name\":", "configuration", &mut found);
    assert_eq!(found.verdict, InspectionVerdict::Malformed);
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    judge_text(deep.as_bytes(), "configuration", &mut found);
    assert_eq!(found.verdict, InspectionVerdict::Malformed);
}

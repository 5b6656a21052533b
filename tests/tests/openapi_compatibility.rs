//! `/v1` changes only by addition: the committed document against that of the last release.
//!
//! A comparer that finds nothing proves nothing, so it is itself held against documents with
//! one change each, and against the released document with each of its parts taken away.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

#[path = "openapi_compatibility/compare.rs"]
mod compare;

use std::collections::BTreeSet;
use std::path::Path;

use compare::breaks;
use serde_json::{Value, json};

fn document(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi");
    serde_json::from_str(&fs_err::read_to_string(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn clients_of_the_last_release_still_work() {
    let found = breaks(&document("released.json"), &document("openapi.json"));
    assert!(found.is_empty(), "see openapi/README.md\n{}", found.join("\n"));
}

/// A document with one of each thing that the comparer knows.
fn sample() -> Value {
    json!({
        "security": [{ "token": [] }],
        "paths": {
            "/things/{id}": {
                "post": {
                    "operationId": "make",
                    "parameters": [
                        { "in": "path", "name": "id", "required": true, "schema": { "type": "string" } },
                        { "in": "query", "name": "limit", "schema": { "type": "integer", "minimum": 1, "maximum": 500 } }
                    ],
                    "requestBody": {
                        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Make" } } }
                    },
                    "responses": {
                        "200": {
                            "headers": { "ETag": { "schema": { "type": "string" } } },
                            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } }
                        },
                        "404": { "content": { "application/problem+json": { "schema": { "type": "object" } } } }
                    }
                },
                "delete": { "operationId": "remove", "security": [{}], "responses": { "204": {} } }
            }
        },
        "components": { "schemas": {
            "Make": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "properties": {
                    "name": { "type": "string", "pattern": "^[a-z]+$", "maxLength": 64 },
                    "color": { "type": ["string", "null"], "enum": ["red", "green", null] },
                    "count": { "type": "integer", "format": "int32", "default": 1 },
                    "labels": { "type": "object", "additionalProperties": { "type": "string" } }
                }
            },
            "Thing": {
                "allOf": [
                    { "$ref": "#/components/schemas/Named" },
                    {
                        "type": "object",
                        "required": ["size", "parts"],
                        "properties": {
                            "size": { "type": "integer", "format": "int64", "minimum": 0 },
                            "parts": { "type": "array", "items": { "$ref": "#/components/schemas/Thing" } },
                            "note": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Named" }] },
                            "pair": { "type": "array", "prefixItems": [{ "type": "integer" }, { "type": "number" }] },
                            "closed": { "type": "string", "enum": ["a", "b"] },
                            "open": { "type": "string", "enum": ["a", "b"], "x-open-enum": true },
                            "exact": {
                                "type": "object", "additionalProperties": false,
                                "properties": { "x": { "type": "string" } }
                            }
                        }
                    }
                ]
            },
            "Named": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } }
        } }
    })
}

const POST: &str = "/paths/~1things~1{id}/post";
const MAKE: &str = "/components/schemas/Make";
const THING: &str = "/components/schemas/Thing/allOf/1";

/// Puts `value` where a pointer leads, or takes away what is there.
fn changed(mut document: Value, pointer: &str, value: Option<Value>) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/");
    match (document.pointer_mut(parent).unwrap(), value) {
        (Value::Object(members), Some(value)) => drop(members.insert(name, value)),
        (Value::Object(members), None) => assert!(members.remove(&name).is_some(), "{pointer} is not there"),
        (Value::Array(elements), Some(value)) if name == "-" => elements.push(value),
        (Value::Array(elements), Some(value)) => elements[name.parse::<usize>().unwrap()] = value,
        (Value::Array(elements), None) => drop(elements.remove(name.parse().unwrap())),
        (other, _) => panic!("{pointer} is in {other}"),
    }
    document
}

#[track_caller]
fn is_a_break(expected: &str, pointer: &str, value: Option<Value>) {
    let found = breaks(&sample(), &changed(sample(), pointer, value));
    assert!(found.iter().any(|found| found.contains(expected)), "{pointer} gave {found:?}");
}

#[track_caller]
fn is_an_addition(pointer: &str, value: Option<Value>) {
    let found = breaks(&sample(), &changed(sample(), pointer, value));
    assert!(found.is_empty(), "{pointer} gave {found:?}");
}

#[test]
fn nothing_breaks_between_equal_documents() {
    assert_eq!(breaks(&sample(), &sample()), Vec::<String>::new());
}

#[test]
fn operations_stay_reachable_as_they_were() {
    is_a_break("DELETE /things/{id}: the operation is gone", "/paths/~1things~1{id}/delete", None);
    is_a_break("POST /things/{id}: the operation is gone", "/paths/~1things~1{id}", None);
    is_a_break("another name", &format!("{POST}/operationId"), Some(json!("create")));
    is_a_break("asks for credentials", "/paths/~1things~1{id}/delete/security", None);
    is_a_break("asks for credentials", "/security", Some(json!([{ "certificate": [] }])));
    is_an_addition(&format!("{POST}/security"), Some(json!([{}])));
    is_an_addition("/security/-", Some(json!({ "certificate": [] })));
    is_an_addition("/paths/~1others", Some(json!({ "get": { "responses": {} } })));
    is_an_addition("/paths/~1things~1{id}/get", Some(json!({ "responses": {} })));
}

#[test]
fn parameters_stay_and_take_what_they_took() {
    let limit = format!("{POST}/parameters/1");
    is_a_break("query limit: is gone", &limit, None);
    is_a_break("has become required", &format!("{limit}/required"), Some(json!(true)));
    is_a_break("`maximum` has changed", &format!("{limit}/schema/maximum"), Some(json!(100)));
    is_a_break("`minimum` has changed", &format!("{limit}/schema/minimum"), Some(json!(2)));
    is_a_break("the type is string", &format!("{limit}/schema/type"), Some(json!("string")));
    is_an_addition(&format!("{limit}/schema/maximum"), Some(json!(1000)));
    is_an_addition(&format!("{limit}/schema/maximum"), None);
    is_an_addition(&format!("{limit}/schema/type"), Some(json!("number")));
    let parameter = |required: bool| json!({ "in": "query", "name": "new", "required": required, "schema": {} });
    is_a_break("query new: has become required", &format!("{POST}/parameters/-"), Some(parameter(true)));
    is_an_addition(&format!("{POST}/parameters/-"), Some(parameter(false)));
}

#[test]
fn request_bodies_take_what_they_took() {
    let body = format!("{POST}/requestBody");
    is_a_break("the body is gone", &body, None);
    is_a_break("request: has become required", &format!("{body}/required"), Some(json!(true)));
    is_a_break("media type is gone", &format!("{body}/content/application~1json"), None);
    is_an_addition(&format!("{body}/content/text~1plain"), Some(json!({})));
    is_a_break(".count: has become required", &format!("{MAKE}/required"), Some(json!(["name", "count"])));
    is_an_addition(&format!("{MAKE}/required"), Some(json!([])));
    is_a_break(".color: the property is gone", &format!("{MAKE}/properties/color"), None);
    is_an_addition(&format!("{MAKE}/properties/new"), Some(json!({ "type": "string" })));
    is_an_addition(&format!("{MAKE}/additionalProperties"), None);
    is_a_break("values that the other side", &format!("{MAKE}/properties/color/enum/0"), None);
    is_an_addition(&format!("{MAKE}/properties/color/enum/-"), Some(json!("blue")));
    is_a_break(
        ".color: the type is string where null was",
        &format!("{MAKE}/properties/color/type"),
        Some(json!("string")),
    );
    is_a_break("`pattern` has changed", &format!("{MAKE}/properties/name/pattern"), Some(json!("^[b-z]+$")));
    is_an_addition(&format!("{MAKE}/properties/name/pattern"), None);
    is_a_break("`minLength` has changed", &format!("{MAKE}/properties/name/minLength"), Some(json!(2)));
    is_an_addition(&format!("{MAKE}/properties/count/format"), Some(json!("int64")));
    is_a_break("`format` has changed", &format!("{MAKE}/properties/name/format"), Some(json!("uuid")));
    is_a_break("is meant when it is absent", &format!("{MAKE}/properties/count/default"), Some(json!(2)));
    is_a_break(
        ".labels.*: the type is integer",
        &format!("{MAKE}/properties/labels/additionalProperties/type"),
        Some(json!("integer")),
    );
    is_a_break(
        "unknown properties are refused",
        &format!("{MAKE}/properties/labels/additionalProperties"),
        Some(json!(false)),
    );
    is_a_break("`not` has changed", &format!("{MAKE}/properties/name/not"), Some(json!({ "const": "x" })));
}

#[test]
fn answers_stay_what_readers_expect() {
    let responses = format!("{POST}/responses");
    is_a_break("404: the status is gone", &format!("{responses}/404"), None);
    is_a_break("202: clients do not know", &format!("{responses}/202"), Some(json!({})));
    is_an_addition(&format!("{responses}/409"), Some(json!({})));
    is_a_break("media type is gone", &format!("{responses}/200/content/application~1json"), None);
    is_an_addition(&format!("{responses}/200/content/text~1csv"), Some(json!({})));
    is_a_break("header ETag: is gone", &format!("{responses}/200/headers/ETag"), None);
    is_an_addition(&format!("{responses}/200/headers/Link"), Some(json!({})));
    is_a_break(".name: the property is gone", "/components/schemas/Named/properties/name", None);
    is_a_break(".name: is no longer always there", "/components/schemas/Named/required", Some(json!([])));
    is_a_break(".note.name: the type", "/components/schemas/Named/properties/name/type", Some(json!("integer")));
    is_an_addition("/components/schemas/Named/properties/new", Some(json!({ "type": "string" })));
    is_an_addition(&format!("{THING}/required"), Some(json!(["size", "parts", "note"])));
}

#[test]
fn values_in_answers_stay_what_readers_expect() {
    let property = |name: &str| format!("{THING}/properties/{name}");
    is_a_break("`minimum` has changed", &format!("{}/minimum", property("size")), None);
    is_a_break("`format` has changed", &format!("{}/format", property("size")), None);
    is_an_addition(&format!("{}/format", property("size")), Some(json!("int32")));
    is_a_break(".size: the type is null", &format!("{}/type", property("size")), Some(json!(["integer", "null"])));
    is_an_addition(&property("note"), Some(json!({ "$ref": "#/components/schemas/Named" })));
    is_a_break("another number of elements", &format!("{}/prefixItems/-", property("pair")), Some(json!({})));
    is_a_break("/0: the type is string", &format!("{}/prefixItems/0/type", property("pair")), Some(json!("string")));
    is_a_break("parts/items", &format!("{}/items", property("parts")), Some(json!({ "type": "string" })));
    is_a_break(".closed: has values", &format!("{}/enum/-", property("closed")), Some(json!("c")));
    is_an_addition(&format!("{}/enum/0", property("closed")), None);
    is_an_addition(&format!("{}/enum/-", property("open")), Some(json!("c")));
    is_a_break("refuse unknown properties", &format!("{}/properties/y", property("exact")), Some(json!({})));
    is_a_break("unknown properties are refused", &format!("{}/additionalProperties", property("exact")), None);
}

#[test]
fn words_for_people_may_change() {
    is_an_addition(&format!("{MAKE}/description"), Some(json!("To make")));
    is_an_addition(&format!("{POST}/summary"), Some(json!("Makes")));
    is_an_addition(&format!("{THING}/properties/size/deprecated"), Some(json!(true)));
}

/// Pointers to everything below `value` that clients may use: operations, parameters, statuses
/// and properties.
fn removable(value: &Value, place: &str, found: &mut Vec<String>) {
    let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
    let parent = place.rsplit('/').next().unwrap_or_default();
    let names_parts = ["properties", "responses"].contains(&parent) || (parent == "parameters" && value.is_array());
    let is_operation = value.get("operationId").is_some();
    if is_operation {
        found.push(place.to_owned());
    }
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (escape(name), value)).collect(),
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (name, value) in members {
        let below = format!("{place}/{name}");
        if names_parts {
            found.push(below.clone());
        }
        removable(value, &below, found);
    }
}

/// Whether no operation leads to a place: generic schemas are written out where they are used.
fn is_unused(document: &str, pointer: &str) -> bool {
    let schema = pointer.strip_prefix("/components/schemas/").and_then(|rest| rest.split('/').next());
    schema.is_some_and(|name| !document.contains(&format!("\"#/components/schemas/{name}\"")))
}

#[test]
fn every_part_of_the_released_document_is_missed_when_it_goes() {
    let released = document("released.json");
    let mut pointers = Vec::new();
    removable(&released, "", &mut pointers);
    let text = released.to_string();
    pointers.retain(|pointer| !is_unused(&text, pointer));
    assert!(pointers.len() > 500, "{}", pointers.len());
    let kept: BTreeSet<_> = pointers
        .into_iter()
        .filter(|pointer| breaks(&released, &changed(released.clone(), pointer, None)).is_empty())
        .collect();
    assert_eq!(kept, BTreeSet::new());
}

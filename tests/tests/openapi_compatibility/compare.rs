//! What a client of the released API would trip over in the present one.
//!
//! Schemas vary by direction. What a client sends must still fit: there the present schema may
//! only be wider. What a client reads must still be what it expects: there it may only be
//! narrower, but for new properties, which readers ignore. `openapi/README.md` has the rules
//! in words. A schema keyword that nobody taught this module must stay as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// Says in the released document that readers must expect further values.
const OPEN_ENUM: &str = "x-open-enum";

/// Every way in which a client of `released` may fail against `present`; empty when none.
pub(crate) fn breaks(released: &Value, present: &Value) -> Vec<String> {
    let same_components = released["components"] == present["components"];
    let mut comparison = Comparison { released, present, same_components, found: Vec::new(), open: BTreeSet::new() };
    comparison.paths();
    comparison.found
}

/// Who writes the document that a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    /// The client.
    Request,
    /// The server.
    Response,
}

struct Comparison<'a> {
    released: &'a Value,
    present: &'a Value,
    same_components: bool,
    found: Vec<String>,
    /// Pairs of schemas whose comparison is under way: schemas may contain themselves.
    open: BTreeSet<(String, String, Direction)>,
}

impl Comparison<'_> {
    fn report(&mut self, place: &str, what: impl std::fmt::Display) {
        self.found.push(format!("{place}: {what}"));
    }

    fn paths(&mut self) {
        for (path, released) in members(&self.released["paths"]) {
            let present = &self.present["paths"][path];
            for method in METHODS.into_iter().filter(|method| released.get(method).is_some()) {
                let place = format!("{} {path}", method.to_uppercase());
                match present.get(method) {
                    Some(present) => self.operation(&place, &released[method], present),
                    None => self.report(&place, "the operation is gone"),
                }
            }
        }
    }

    fn operation(&mut self, place: &str, released: &Value, present: &Value) {
        if released["operationId"] != present["operationId"] {
            self.report(place, "the operation has another name, and generated clients name methods after it");
        }
        self.security(place, released, present);
        self.parameters(place, released, present);
        self.request_body(place, &released["requestBody"], &present["requestBody"]);
        self.responses(place, &released["responses"], &present["responses"]);
    }

    /// Each way to be let in must stay.
    fn security(&mut self, place: &str, released: &Value, present: &Value) {
        let ways = |operation: &Value, document: &Value| {
            let ways = operation.get("security").or_else(|| document.get("security"));
            ways.and_then(Value::as_array).cloned().unwrap_or_else(|| vec![json!({})])
        };
        let present = ways(present, self.present);
        if ways(released, self.released).iter().any(|way| !present.contains(way) && !present.contains(&json!({}))) {
            self.report(place, "asks for credentials that it did not ask for");
        }
    }

    fn parameters(&mut self, place: &str, released: &Value, present: &Value) {
        let (released, present) = (parameters(released), parameters(present));
        for (name, old) in &released {
            let place = format!("{place} parameter {name}");
            match present.get(name) {
                None => self.report(&place, "is gone"),
                Some(new) => {
                    self.may_not_become_required(&place, old, new);
                    self.schemas(&place, &old["schema"], &new["schema"], Direction::Request);
                }
            }
        }
        for (name, new) in present.iter().filter(|(name, _)| !released.contains_key(*name)) {
            self.may_not_become_required(&format!("{place} parameter {name}"), &json!({}), new);
        }
    }

    fn may_not_become_required(&mut self, place: &str, released: &Value, present: &Value) {
        if is_true(&present["required"]) && !is_true(&released["required"]) {
            self.report(place, "has become required");
        }
    }

    fn request_body(&mut self, place: &str, released: &Value, present: &Value) {
        let place = format!("{place} request");
        if !released.is_null() && present.is_null() {
            return self.report(&place, "the body is gone");
        }
        self.may_not_become_required(&place, released, present);
        self.contents(&place, released, present, Direction::Request);
    }

    fn responses(&mut self, place: &str, released: &Value, present: &Value) {
        for (status, old) in members(released) {
            let place = format!("{place} {status}");
            match present.get(status) {
                None => self.report(&place, "the status is gone"),
                Some(new) => {
                    self.contents(&place, old, new, Direction::Response);
                    self.headers(&place, &old["headers"], &new["headers"]);
                }
            }
        }
        for (status, _) in members(present).filter(|(status, _)| released.get(*status).is_none()) {
            if !matches!(status.as_bytes().first(), Some(b'4' | b'5')) {
                self.report(&format!("{place} {status}"), "clients do not know this way to succeed");
            }
        }
    }

    fn headers(&mut self, place: &str, released: &Value, present: &Value) {
        for (name, old) in members(released) {
            let place = format!("{place} header {name}");
            match present.get(name) {
                None => self.report(&place, "is gone"),
                Some(new) => self.schemas(&place, &old["schema"], &new["schema"], Direction::Response),
            }
        }
    }

    fn contents(&mut self, place: &str, released: &Value, present: &Value, direction: Direction) {
        for (media_type, old) in members(&released["content"]) {
            let place = format!("{place} {media_type}");
            match present["content"].get(media_type) {
                None => self.report(&place, "the media type is gone"),
                Some(new) => self.schemas(&place, &old["schema"], &new["schema"], direction),
            }
        }
    }

    fn schemas(&mut self, place: &str, released: &Value, present: &Value, direction: Direction) {
        if released == present && self.same_components {
            return;
        }
        let pair = (released.to_string(), present.to_string(), direction);
        if !self.open.insert(pair.clone()) {
            return;
        }
        let (old, new) = (alternatives(self.released, released), alternatives(self.present, present));
        match direction {
            Direction::Request => self.each_has_a_place(place, &old, &new, direction),
            Direction::Response => self.each_has_a_place(place, &new, &old, direction),
        }
        self.open.remove(&pair);
    }

    /// Each alternative that may be written must be one of those that are read.
    fn each_has_a_place(&mut self, place: &str, written: &[Schema], read: &[Schema], direction: Direction) {
        for written in written {
            let against = |read: &Schema| {
                let (released, present) = match direction {
                    Direction::Request => (written, read),
                    Direction::Response => (read, written),
                };
                (!type_fits(written, read), self.attempt(place, released, present, direction))
            };
            let best = read.iter().map(against).min_by_key(|(other_type, breaks)| (*other_type, breaks.len()));
            self.found.extend(best.map(|(_, breaks)| breaks).unwrap_or_default());
        }
    }

    /// What breaks between two single alternatives, without reporting it yet.
    fn attempt(&self, place: &str, released: &Schema, present: &Schema, direction: Direction) -> Vec<String> {
        let open = self.open.clone();
        let mut attempt = Comparison { found: Vec::new(), open, ..*self };
        attempt.alternative(place, released, present, direction);
        attempt.found
    }

    fn alternative(&mut self, place: &str, released: &Schema, present: &Schema, direction: Direction) {
        let (written, read) = match direction {
            Direction::Request => (released, present),
            Direction::Response => (present, released),
        };
        if !type_fits(written, read) {
            return self.report(place, format!("the type is {} where {} was", name(present), name(released)));
        }
        let open = direction == Direction::Response && read.get(OPEN_ENUM).is_some_and(is_true);
        if !open && !values_fit(written, read) {
            self.report(place, "has values that the other side does not know");
        }
        for keyword in keywords(released, present).filter(|keyword| !keyword_fits(keyword, written, read)) {
            self.report(place, format!("`{keyword}` has changed"));
        }
        if direction == Direction::Request && released.contains_key("default") {
            self.default_stays(place, released, present);
        }
        self.elements(place, released, present, direction);
        self.properties(place, released, present, direction);
        self.further_properties(place, written, read, released, present, direction);
    }

    fn default_stays(&mut self, place: &str, released: &Schema, present: &Schema) {
        if released.get("default") != present.get("default") {
            self.report(place, "what is meant when it is absent has changed");
        }
    }

    fn elements(&mut self, place: &str, released: &Schema, present: &Schema, direction: Direction) {
        let any = json!({});
        for keyword in ["items", "propertyNames"] {
            if let (old, new @ Some(_)) | (old @ Some(_), new) = (released.get(keyword), present.get(keyword)) {
                let place = format!("{place}/{keyword}");
                self.schemas(&place, old.unwrap_or(&any), new.unwrap_or(&any), direction);
            }
        }
        let list = |schema: &Schema| schema.get("prefixItems").and_then(Value::as_array).cloned().unwrap_or_default();
        let (old, new) = (list(released), list(present));
        if old.len() != new.len() {
            return self.report(place, "has another number of elements");
        }
        for (index, (old, new)) in old.iter().zip(&new).enumerate() {
            self.schemas(&format!("{place}/{index}"), old, new, direction);
        }
    }

    fn properties(&mut self, place: &str, released: &Schema, present: &Schema, direction: Direction) {
        let (old_required, new_required) = (required(released), required(present));
        for (name, old) in properties(released) {
            let place = format!("{place}.{name}");
            let Some(new) = properties(present).find_map(|(other, new)| (other == name).then_some(new)) else {
                self.report(&place, "the property is gone");
                continue;
            };
            if direction == Direction::Response
                && old_required.contains(name.as_str())
                && !new_required.contains(name.as_str())
            {
                self.report(&place, "is no longer always there");
            }
            self.schemas(&place, old, new, direction);
        }
        if direction == Direction::Request {
            for name in new_required.difference(&old_required) {
                self.report(&format!("{place}.{name}"), "has become required");
            }
        } else if released.get("additionalProperties") == Some(&Value::Bool(false)) {
            let known: BTreeSet<_> = properties(released).map(|(name, _)| name).collect();
            for (name, _) in properties(present).filter(|(name, _)| !known.contains(name)) {
                self.report(&format!("{place}.{name}"), "readers refuse unknown properties here");
            }
        }
    }

    fn further_properties(
        &mut self,
        place: &str,
        written: &Schema,
        read: &Schema,
        released: &Schema,
        present: &Schema,
        direction: Direction,
    ) {
        let further = |schema: &Schema| schema.get("additionalProperties").cloned().unwrap_or(Value::Bool(true));
        if further(read) == Value::Bool(false) && further(written) != Value::Bool(false) {
            self.report(place, "unknown properties are refused");
        }
        let (old, new) = (further(released), further(present));
        if old.is_object() || new.is_object() {
            let schema = |value: &Value| if value.is_object() { value.clone() } else { json!({}) };
            self.schemas(&format!("{place}.*"), &schema(&old), &schema(&new), direction);
        }
    }
}

/// One alternative of a schema: of one type, references resolved.
type Schema = Map<String, Value>;

fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn properties(schema: &Schema) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").into_iter().flat_map(members)
}

fn required(schema: &Schema) -> BTreeSet<&str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// An operation's parameters by place and name.
fn parameters(operation: &Value) -> BTreeMap<String, &Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = |parameter: &Value| format!("{} {}", text(&parameter["in"]), text(&parameter["name"]));
    operation["parameters"].as_array().into_iter().flatten().map(|parameter| (key(parameter), parameter)).collect()
}

/// What a schema allows, as a list of schemas without references, choices and lists of types.
fn alternatives(document: &Value, schema: &Value) -> Vec<Schema> {
    let mut own = schema.as_object().cloned().unwrap_or_default();
    let parts = ["$ref", "allOf", "oneOf", "anyOf"].map(|keyword| own.remove(keyword));
    let [reference, all, one, any] = parts;
    let mut found = by_type(own);
    if let Some(pointer) = reference.as_ref().and_then(Value::as_str) {
        let target = document.pointer(pointer.trim_start_matches('#')).unwrap_or(&Value::Null);
        found = joined(&found, &alternatives(document, target));
    }
    for part in all.iter().filter_map(|all| all.as_array()).flatten() {
        found = joined(&found, &alternatives(document, part));
    }
    for choice in [one, any].into_iter().flatten() {
        let choice = choice.as_array().cloned().unwrap_or_default();
        let choices: Vec<_> = choice.iter().flat_map(|schema| alternatives(document, schema)).collect();
        found = joined(&found, &choices);
    }
    found
}

fn by_type(schema: Schema) -> Vec<Schema> {
    let Some(types) = schema.get("type").and_then(Value::as_array).cloned() else { return vec![schema] };
    let of = |kind| {
        let mut one = schema.clone();
        one.insert("type".to_owned(), kind);
        one
    };
    types.into_iter().map(of).collect()
}

/// Each of `left` with each of `right`.
fn joined(left: &[Schema], right: &[Schema]) -> Vec<Schema> {
    left.iter().flat_map(|left| right.iter().map(|right| both(left, right))).collect()
}

/// A schema that asks for what two schemas ask for, as far as this API writes such schemas:
/// objects with different properties, or notes beside a reference.
fn both(left: &Schema, right: &Schema) -> Schema {
    let mut both = left.clone();
    for (keyword, value) in right {
        match (both.get_mut(keyword), value) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more.iter().cloned()),
            (Some(_), _) => {}
            (None, _) => {
                both.insert(keyword.clone(), value.clone());
            }
        }
    }
    both
}

fn name(schema: &Schema) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or("anything")
}

fn type_fits(written: &Schema, read: &Schema) -> bool {
    match (written.get("type"), read.get("type")) {
        (_, None) => true,
        (Some(written), Some(read)) => written == read || (written == "integer" && read == "number"),
        (None, Some(_)) => false,
    }
}

fn values_fit(written: &Schema, read: &Schema) -> bool {
    let values = |schema: &Schema| match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => Some(values.clone()),
        (_, Some(value)) => Some(vec![value.clone()]),
        _ => None,
    };
    match (values(written), values(read)) {
        (_, None) => true,
        (Some(written), Some(read)) => written.iter().all(|value| read.contains(value)),
        (None, Some(_)) => false,
    }
}

/// Keywords that are compared elsewhere, or that no program reads.
const HANDLED: [&str; 16] = [
    "type",
    "enum",
    "const",
    "default",
    "items",
    "prefixItems",
    "propertyNames",
    "properties",
    "required",
    "additionalProperties",
    "description",
    "title",
    "example",
    "examples",
    "deprecated",
    "contentMediaType",
];

fn keywords<'a>(released: &'a Schema, present: &'a Schema) -> impl Iterator<Item = &'a String> {
    let all: BTreeSet<_> = released.keys().chain(present.keys()).collect();
    all.into_iter().filter(|keyword| !HANDLED.contains(&keyword.as_str()) && !keyword.starts_with("x-"))
}

/// Whether what the written schema promises under a keyword is at least what the read one asks.
fn keyword_fits(keyword: &str, written: &Schema, read: &Schema) -> bool {
    let (written, read) = (written.get(keyword), read.get(keyword));
    let numbers = written.and_then(Value::as_f64).zip(read.and_then(Value::as_f64));
    match keyword {
        _ if written == read => true,
        "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => {
            read.is_none() || numbers.is_some_and(|(written, read)| written >= read)
        }
        "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => {
            read.is_none() || numbers.is_some_and(|(written, read)| written <= read)
        }
        "format" => read.is_none() || is_narrower_number(written, read),
        "pattern" | "uniqueItems" | "multipleOf" => read.is_none(),
        _ => false,
    }
}

fn is_narrower_number(written: Option<&Value>, read: Option<&Value>) -> bool {
    let pair = (written.and_then(Value::as_str), read.and_then(Value::as_str));
    matches!(pair, (Some("int32"), Some("int64")) | (Some("float"), Some("double")))
}

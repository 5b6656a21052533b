//! Inputs and outputs of a graph as facts: name, element type, shape.

use serde_json::{Value, json};

use super::super::found::shown;
use super::super::protobuf::{ProtobufError, Span, Walker, each_field};
use super::tensor;

/// Dimensions kept of a shape.
const MAX_DIMENSIONS: usize = 16;

/// ValueInfoProto.
pub(super) fn read(walker: &mut Walker<'_>, message: Span) -> Result<Value, ProtobufError> {
    let (mut name, mut kind) = (String::new(), None);
    each_field(walker, message, |walker, field| {
        match field.number {
            1 => name = walker.name(field.span()?)?,
            2 => kind = Some(field.span()?),
            _ => {}
        }
        Ok(())
    })?;
    let mut fact = json!({ "name": shown(&name) });
    if let Some(kind) = kind {
        // TypeProto: only tensors have a shape.
        each_field(walker, kind, |walker, field| {
            if field.number == 1 {
                read_tensor_type(walker, field.span()?, &mut fact)?;
            }
            Ok(())
        })?;
    }
    Ok(fact)
}

fn read_tensor_type(walker: &mut Walker<'_>, message: Span, fact: &mut Value) -> Result<(), ProtobufError> {
    each_field(walker, message, |walker, field| {
        match field.number {
            1 => {
                if let Some((name, _)) = tensor::element_type(field.varint()?) {
                    fact["type"] = json!(name);
                }
            }
            2 => fact["shape"] = json!(read_shape(walker, field.span()?)?),
            _ => {}
        }
        Ok(())
    })
}

/// Dimensions as numbers, or as the names of those that vary.
fn read_shape(walker: &mut Walker<'_>, message: Span) -> Result<Vec<Value>, ProtobufError> {
    let mut shape = Vec::new();
    each_field(walker, message, |walker, field| {
        if field.number == 1 && shape.len() < MAX_DIMENSIONS {
            let mut dimension = Value::Null;
            each_field(walker, field.span()?, |walker, field| {
                match field.number {
                    1 => dimension = json!(field.varint()?.cast_signed()),
                    2 => dimension = json!(shown(&walker.name(field.span()?)?)),
                    _ => {}
                }
                Ok(())
            })?;
            shape.push(dimension);
        }
        Ok(())
    })?;
    Ok(shape)
}

//! The objects behind a SavedModel: variables, and the Keras layers they were.

use std::collections::BTreeSet;

use super::super::protobuf::{ProtobufError, Span, Walker, each_field};
use super::super::tensor::Tensor;
use super::super::{findings, keras};
use super::graph::{self, GraphWalk};
use super::types;

type Result<T> = std::result::Result<T, ProtobufError>;

/// SavedObjectGraph: variables become tensors, but for those of optimizers.
pub(super) fn object_graph(walk: &mut GraphWalk<'_, '_>, mut message: Span) -> Result<()> {
    let mut variables = Vec::new();
    let mut slots = BTreeSet::new();
    let mut index = 0_u64;
    while let Some(field) = message.next(&mut walk.walker)? {
        if field.number == 1 {
            if let Some(variable) = object(walk, field.span()?, &mut slots)? {
                variables.push((index, variable));
            }
            index += 1;
        }
    }
    for (_, variable) in variables.into_iter().filter(|(index, _)| !slots.contains(index)) {
        walk.keep_variable(variable)?;
    }
    Ok(())
}

/// SavedObject.
fn object(walk: &mut GraphWalk<'_, '_>, mut message: Span, slots: &mut BTreeSet<u64>) -> Result<Option<Tensor>> {
    let mut variable = None;
    while let Some(field) = message.next(&mut walk.walker)? {
        match field.number {
            3 => slots.extend(number_of(&mut walk.walker, field.span()?, 3)?),
            4 => user_object(walk, field.span()?)?,
            7 => variable = self::variable(&mut walk.walker, field.span()?)?,
            _ => {}
        }
    }
    Ok(variable)
}

/// SavedVariable.
fn variable(walker: &mut Walker<'_>, message: Span) -> Result<Option<Tensor>> {
    let (mut data_type, mut shape, mut name) = (0, Some(Vec::new()), String::new());
    each_field(walker, message, |walker, field| {
        match field.number {
            1 => data_type = field.varint()?,
            2 => shape = graph::shape(walker, field.span()?)?,
            6 => name = walker.name(field.span()?)?,
            _ => {}
        }
        Ok(())
    })?;
    let tensor = shape.and_then(|shape| types::described(data_type, shape));
    Ok(tensor.filter(|tensor| types::is_float(&tensor.element_type)).map(|tensor| Tensor { name, ..tensor }))
}

/// SavedUserObject: Keras writes its configuration as JSON into the metadata.
fn user_object(walk: &mut GraphWalk<'_, '_>, mut message: Span) -> Result<()> {
    let (mut identifier, mut metadata) = (Vec::new(), None);
    while let Some(field) = message.next(&mut walk.walker)? {
        match field.number {
            1 => identifier = walk.walker.prefix(field.span()?, 64)?,
            3 => metadata = Some(field.span()?),
            _ => {}
        }
    }
    match metadata {
        Some(metadata) if identifier.starts_with(b"_tf_keras") => configuration(walk, metadata),
        _ => Ok(()),
    }
}

/// Whether the first message of a file is an object of `keras_metadata.pb` and no node of a graph:
/// it has a number where a node has the name of its operation.
pub(super) fn is_keras_metadata(walker: &mut Walker<'_>, mut object: Span) -> Result<bool> {
    while let Some(field) = object.next(walker)? {
        match field.number {
            1 => return Ok(false),
            2 => return Ok(field.is_varint()),
            4 => return Ok(walker.prefix(field.span()?, 9)? == b"_tf_keras"),
            _ => {}
        }
    }
    Ok(false)
}

/// SavedMetadata of Keras.
pub(super) fn keras_metadata(walk: &mut GraphWalk<'_, '_>, mut message: Span) -> Result<()> {
    while let Some(field) = message.next(&mut walk.walker)? {
        if field.number != 1 {
            return Err(field.unknown());
        }
        let mut object = field.span()?;
        while let Some(field) = object.next(&mut walk.walker)? {
            match field.number {
                2 => drop(field.varint()?),
                3 | 4 | 6 => drop(field.span()?),
                5 => configuration(walk, field.span()?)?,
                _ => return Err(field.unknown()),
            }
        }
    }
    Ok(())
}

fn configuration(walk: &mut GraphWalk<'_, '_>, text: Span) -> Result<()> {
    if text.length() > keras::MAX_CONFIG_BYTES {
        keras::too_large(text.length(), walk.found);
        return Ok(());
    }
    let text = walk.walker.prefix(text, keras::MAX_CONFIG_BYTES)?;
    match serde_json::from_slice(&text) {
        Ok(document) => keras::judge_config(&document, walk.found),
        Err(error) => {
            let reason = format!("the metadata of a Keras object is no valid JSON: {error}");
            findings::malformed(walk.found, "KERAS_CONFIG_INVALID", &reason);
        }
    }
    Ok(())
}

/// The integers in the field `wanted` of a message.
fn number_of(walker: &mut Walker<'_>, message: Span, wanted: u32) -> Result<Option<u64>> {
    let mut number = None;
    each_field(walker, message, |_, field| {
        if field.number == wanted {
            number = Some(field.varint()?);
        }
        Ok(())
    })?;
    Ok(number)
}

//! What a family's steps come to where they are taken back: heads, experts, and whether values are the same then.

use std::sync::Arc;

use super::families::{Back, Family, Origins, Step, Turns, layer};
use super::names::fill_some;
use super::per_layer::number;
use super::planned::{Planned, Source};
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;
use crate::gguf::metadata::Metadata;
use crate::model::job::Origin;
use crate::tensor::Shape;

/// Whether what becomes of a tensor becomes the tensor again.
pub(super) fn leads_back(back: &Back, origin: Origin<'_>) -> Result<bool> {
    /// Far more than any model has.
    const MAX_EXPERTS: u64 = 1 << 16;
    let shape = origin.shape();
    let dims = shape.dims();
    let has_values = shape.element_count() > 0;
    if let Origins::Turns(_) = back.name {
        return Ok((2..=3).contains(&dims.len()) && has_values && !origin.ggml_type().is_integer());
    }
    if let Origins::Stack(_) = back.name {
        return Ok(dims.len() == 3 && has_values && dims[2] <= MAX_EXPERTS);
    }
    if back.steps.contains(&Step::Squeeze) {
        return Ok(dims.len() == 1 && dims[0] > 1);
    }
    if back.steps.iter().any(|step| matches!(step, Step::From(_))) {
        return Ok(dims.len() == 2 && has_values && !origin.ggml_type().is_quantized());
    }
    if !back.steps.contains(&Step::AddOne) {
        return Ok(true);
    }
    if origin.ggml_type() != GgmlType::F32 || dims.len() != 1 || dims[0] > MAX_EXPERTS {
        return Ok(false);
    }
    let mut bytes = vec![0; origin.byte_len() as usize];
    origin.fill_little_endian(&mut bytes, 0).map_err(|error| Error::io("read a norm", error))?;
    let (singles, _) = bytes.as_chunks();
    Ok(singles.iter().map(|single| f32::from_le_bytes(*single)).all(|value| {
        // Small values lose digits when one is subtracted.
        (value - 1.0 + 1.0).to_bits() == value.to_bits()
    }))
}

/// The matrices of a stack as tensors of their own, in `ty` where they are blocks.
pub(super) fn experts<'a>(
    pattern: &str,
    stack: Origin<'a>,
    scales: &[f32],
    ty: GgmlType,
) -> Result<Vec<Planned<'a>>> {
    let shape = stack.shape();
    let dims = shape.dims();
    let (each, count) = match dims.split_last() {
        Some((&count, each)) if each.len() > 1 => (each, count),
        _ => (dims, 1),
    };
    let shape = Shape::new(each).unwrap_or(shape);
    let bytes = stack.byte_len() / count.max(1);
    let ty = if stack.ggml_type().is_quantized() { ty } else { stack.ggml_type() };
    (0..count)
        .map(|expert| {
            let offset = stack.offset + expert * bytes;
            let source =
                Source::File(Origin::new(stack.source, offset, shape, stack.ggml_type(), stack.order)?);
            let own = match scales {
                [] => None,
                [one] => Some(*one),
                all => all.get(expert as usize).copied(),
            };
            let source = source.scaled(own.map(|scale| vec![scale]));
            // Behind the layer, whose number is there already.
            let name = fill_some(pattern, &[&expert.to_string()]);
            Ok(Planned { name, source, ty, original: None, dtype: None })
        })
        .collect()
}

/// The tensor of this type in which others take turns: `None` for one that another is written with.
pub(super) fn in_turns<'a>(
    turns: Turns,
    gguf_name: &str,
    parts: Vec<Source<'a>>,
    ty: GgmlType,
) -> Result<Option<Planned<'a>>> {
    let Turns { name, parts: names, turn, is_transposed } = turns;
    if parts.is_empty() || names.first().is_none_or(|(first, _)| first != gguf_name) {
        return Ok(None);
    }
    let turned = |source: Source<'a>| {
        let mut dims = source.shape().dims().to_vec();
        dims.swap(0, 1);
        let shape = Shape::new(&dims).unwrap_or(source.shape());
        source.transposed(&name, shape)
    };
    let part = |(part, (_, is_transposed)): (Source<'a>, &(String, bool))| {
        let part = Arc::new(part);
        // Blocks have no columns.
        if *is_transposed { turned(part.floats(None)).map(Arc::new) } else { Ok(part) }
    };
    let parts = parts.into_iter().zip(&names).map(part).collect::<Result<_>>()?;
    let mut source = Source::in_turns(&name, parts, turn)?;
    if is_transposed {
        source = turned(source)?;
    }
    Ok(Some(Planned { name, source, ty, original: None, dtype: None }))
}

/// The numbers of heads of queries and of keys in the layer of a tensor.
pub(super) fn heads(family: Option<&Family>, metadata: Metadata<'_>, name: &str) -> Result<(u32, u32)> {
    let architecture = family.map_or("", |family| family.architecture);
    let layer = layer(name).unwrap_or_default();
    let number = |key: &str| number(metadata, &format!("{architecture}.attention.{key}"), layer);
    let heads = number("head_count")?
        .ok_or_else(|| Error::MissingKey { key: format!("{architecture}.attention.head_count") })?;
    Ok((heads, number("head_count_kv")?.unwrap_or(heads)))
}

//! Compares tensors, a few hundred thousand values at a time and on all cores.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Change, TensorDiff, ValueDiff};
use crate::codec::values::{QuantError, dequantize};
use crate::error::{Error, Result};
use crate::model::in_order::in_order;
use crate::model::job::{Origin, in_memory};
use crate::model::scaled::{Scaled, scales};
use crate::tensor::Shape;

/// The number of values that a thread compares at a time: whole blocks of every type.
const PIECE_VALUES: u64 = 256 * 1024;
/// The number of these that are floats at a time, so that they stay in cache.
const CACHED_VALUES: usize = 16 * 1024;

/// A tensor that both models have.
struct Pair<'a> {
    name: &'a str,
    a: Origin<'a>,
    b: Origin<'a>,
    /// Whether they differ, as far as is known.
    differs: AtomicBool,
}

impl Pair<'_> {
    fn differs(&self) -> bool {
        self.differs.load(Ordering::Relaxed)
    }
}

/// Returns the tensors that differ, and the number of those that do not.
pub(super) fn compare<'a>(
    a: &[(&'a str, Origin<'a>)],
    b: &[(&'a str, Origin<'a>)],
    mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(Vec<TensorDiff<'a>>, u64)> {
    let in_b: HashMap<&str, Origin<'a>> = b.iter().copied().collect();
    let scaled = |tensors: &[(&'a str, Origin<'a>)]| {
        let by_name: HashMap<&str, Origin<'a>> = tensors.iter().copied().collect();
        let scales = scales(tensors.iter().copied())?.into_iter();
        let scaled =
            scales.filter_map(|(name, scales)| Some((name, Scaled { blocks: *by_name.get(name)?, scales })));
        Ok::<HashMap<&str, Scaled<Origin<'a>>>, Error>(scaled.collect())
    };
    let (scaled_a, scaled_b) = (scaled(a)?, scaled(b)?);
    let bits = |scaled: Option<&Scaled<Origin<'a>>>| -> Vec<u32> {
        scaled.into_iter().flat_map(|scaled| &scaled.scales).map(|scale| scale.to_bits()).collect()
    };
    let pairs: Vec<Pair<'a>> = a
        .iter()
        .filter_map(|(name, a)| {
            let b = *in_b.get(name)?;
            let differs =
                a.ggml_type() != b.ggml_type() || bits(scaled_a.get(name)) != bits(scaled_b.get(name));
            Some(Pair { name, a: *a, b, differs: AtomicBool::new(differs) })
        })
        .collect();
    let bytes = |pair: &Pair<'_>| pair.a.byte_len().saturating_add(pair.b.byte_len());
    let (mut done, mut total) = (0u64, 0u64);
    let mut step = |read: u64, more: u64| {
        (done, total) = (done.saturating_add(read), total.saturating_add(more));
        if progress(done, total).is_break() { Err(Error::Interrupted) } else { Ok(()) }
    };

    // Compare by bytes.
    let by_bytes =
        || pairs.iter().filter(|pair| pair.a.ggml_type() == pair.b.ggml_type() && comparable(pair));
    step(0, by_bytes().map(bytes).fold(0, u64::saturating_add))?;
    let look = |piece: Piece<'_>| {
        if !piece.pair.differs() {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            piece.read(&mut a, &mut b)?;
            if a != b {
                piece.pair.differs.store(true, Ordering::Relaxed);
            }
        }
        Ok(piece.bytes())
    };
    in_order(by_bytes().flat_map(Piece::of), look, |next| {
        while let Some(read) = next() {
            step(read?, 0)?;
        }
        Ok(())
    })?;

    // Compare by values if the bytes or the types are not the same.
    let of_values = |pair: &Pair<'a>| {
        let a = values_of(pair.a, scaled_a.get(pair.name))?;
        let b = values_of(pair.b, scaled_b.get(pair.name))?;
        Ok(Pair { name: pair.name, a, b, differs: AtomicBool::new(true) })
    };
    let by_values = pairs.iter().filter(|pair| pair.differs() && comparable(pair)).map(of_values);
    let by_values: Vec<Pair<'_>> = by_values.collect::<Result<_>>()?;
    step(0, by_values.iter().map(bytes).fold(0, u64::saturating_add))?;
    let measure = |piece: Piece<'_>| piece.values().map(|values| (values, piece.bytes()));
    let pieces = by_values.iter().flat_map(Piece::of);
    let mut values = in_order(pieces, measure, |next| {
        let mut values = HashMap::new();
        for pair in &by_values {
            let mut all = ValueDiff { differing: 0, error: QuantError::default() };
            for _ in Piece::of(pair) {
                let Some(result) = next() else { break };
                let (part, read) = result?;
                all.differing += part.differing;
                all.error += part.error;
                step(read, 0)?;
            }
            values.insert(pair.name, all);
        }
        Ok::<_, Error>(values)
    })?;

    let differ = |pair: &Pair<'_>| pair.differs() || pair.a.shape() != pair.b.shape();
    let both: HashMap<&str, &Pair<'_>> = pairs.iter().map(|pair| (pair.name, pair)).collect();
    let mut tensors = Vec::new();
    for &(name, a) in a {
        match both.get(name) {
            None => tensors.push(TensorDiff { name, tensor: Change::OnlyInA(a), values: None }),
            Some(pair) if differ(pair) => {
                let tensor = Change::Both(a, pair.b);
                tensors.push(TensorDiff { name, tensor, values: values.remove(name) });
            }
            Some(_) => {}
        }
    }
    let in_a: HashSet<&str> = a.iter().map(|(name, _)| *name).collect();
    let only_in_b = b.iter().filter(|(name, _)| !in_a.contains(name));
    tensors.extend(only_in_b.map(|&(name, b)| TensorDiff { name, tensor: Change::OnlyInB(b), values: None }));
    let same = pairs.iter().filter(|pair| !differ(pair)).count();
    Ok((tensors, same as u64))
}

/// Returns where the values are read from, multiplied by their factors if they have any.
fn values_of<'a>(origin: Origin<'a>, scaled: Option<&'a Scaled<Origin<'a>>>) -> Result<Origin<'a>> {
    scaled.map_or(Ok(origin), Scaled::origin)
}

/// Returns `true` if the values are at the same positions. ggml drops trailing extents of 1.
fn comparable(pair: &Pair<'_>) -> bool {
    fn significant(shape: &Shape) -> &[u64] {
        let dims = shape.dims();
        let end = dims.iter().rposition(|&dim| dim != 1).map_or(0, |last| last + 1);
        &dims[..end]
    }
    significant(&pair.a.shape()) == significant(&pair.b.shape())
}

/// A range of values of a tensor in both models, in whole blocks.
#[derive(Clone, Copy)]
struct Piece<'a> {
    pair: &'a Pair<'a>,
    first: u64,
    values: u64,
}

impl<'a> Piece<'a> {
    fn of(pair: &'a Pair<'a>) -> impl Iterator<Item = Piece<'a>> {
        let elements = pair.a.shape().element_count();
        (0..elements.div_ceil(PIECE_VALUES)).map(move |index| {
            let first = index * PIECE_VALUES;
            Piece { pair, first, values: PIECE_VALUES.min(elements - first) }
        })
    }

    fn bytes(&self) -> u64 {
        [self.pair.a, self.pair.b].iter().filter_map(|origin| origin.ggml_type().bytes_for(self.values)).sum()
    }

    /// Reads both models' bytes as little-endian.
    fn read(&self, a: &mut Vec<u8>, b: &mut Vec<u8>) -> Result<()> {
        for (origin, buffer) in [(self.pair.a, a), (self.pair.b, b)] {
            let bytes_for = |values| origin.ggml_type().bytes_for(values).unwrap_or(0);
            buffer.resize(in_memory(bytes_for(self.values))?, 0);
            let read = origin.fill_little_endian(buffer, bytes_for(self.first));
            read.map_err(|error| {
                Error::io(format!("read tensor '{}'", self.pair.name.escape_debug()), error)
            })?;
        }
        Ok(())
    }

    fn values(&self) -> Result<ValueDiff> {
        let [mut a, mut b] = [Vec::new(), Vec::new()];
        self.read(&mut a, &mut b)?;
        let [mut from_a, mut from_b] = [Vec::new(), Vec::new()];
        let mut all = ValueDiff { differing: 0, error: QuantError::default() };
        let parts = |origin: Origin<'_>| origin.ggml_type().bytes_in(CACHED_VALUES);
        let (a_bytes, b_bytes) = (parts(self.pair.a), parts(self.pair.b));
        for (a, b) in a.chunks(a_bytes).zip(b.chunks(b_bytes)) {
            for (origin, bytes, values) in [(self.pair.a, a, &mut from_a), (self.pair.b, b, &mut from_b)] {
                values.resize(origin.ggml_type().values_in(bytes.len()), 0.0f32);
                dequantize(origin.ggml_type(), bytes, values)?;
            }
            all.error += QuantError::between(&from_a, &from_b)?;
            let pairs = from_a.iter().zip(&from_b);
            all.differing += pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count() as u64;
        }
        Ok(all)
    }
}

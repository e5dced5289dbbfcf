//! [`ImatrixCollector`]: an importance matrix in the making.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Imatrix, wrong};
use crate::codec::Float;
use crate::error::Result;

/// Collects an [`Imatrix`] while a model reads a text: an engine shows it what each weight is multiplied with.
///
/// Sums are kept in double precision, so that a long text adds up as exactly as a short one.
///
/// ```
/// use gguf_codec::model::ImatrixCollector;
///
/// let mut collector = ImatrixCollector::new();
/// // Two tokens came by a weight whose rows have three values.
/// collector.collect("blk.0.ffn_up.weight", &[1.0f32, 0.0, 2.0, 3.0, 0.0, -2.0], 3)?;
/// let imatrix = collector.finish()?;
/// assert_eq!(imatrix.weights("blk.0.ffn_up.weight"), Some(vec![5.0, 0.0, 4.0]));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ImatrixCollector {
    tensors: BTreeMap<String, Tensor>,
}

/// What came by a tensor: for each matrix that it stacks, sums of squares for its columns and how many tokens.
#[derive(Debug, Clone)]
struct Tensor {
    row_len: usize,
    sums: Vec<f64>,
    counts: Vec<u64>,
}

impl ImatrixCollector {
    /// Nothing collected yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the weight `name`, a matrix with rows of `row_len` values, is multiplied with: the values of one token or of
    /// several, laid end to end.
    ///
    /// # Errors
    /// [`Error::Imatrix`](crate::Error::Imatrix) where `activations` are not whole columns of `row_len` values or one is not
    /// finite, or where the tensor was collected with other rows or as several matrices. Nothing is then added.
    pub fn collect<T: Float>(&mut self, name: &str, activations: &[T], row_len: usize) -> Result<()> {
        self.collect_expert(name, 0, 1, activations, row_len)
    }

    /// Adds what one matrix is multiplied with of the `experts` that the tensor `name` stacks: the values of the tokens that
    /// were sent to it. There may be none.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), and where there is no such expert.
    pub fn collect_expert<T: Float>(
        &mut self,
        name: &str,
        expert: usize,
        experts: usize,
        activations: &[T],
        row_len: usize,
    ) -> Result<()> {
        let refuse =
            |message: String| Err(wrong(None, format!("tensor '{}': {message}", name.escape_debug())));
        let len = activations.len();
        if row_len == 0 || !len.is_multiple_of(row_len) {
            return refuse(format!("{len} activations are not whole columns of {row_len}"));
        }
        if expert >= experts {
            return refuse(format!("there is no expert {expert} among {experts}, which count from 0"));
        }
        if let Some(at) = activations.iter().position(|value| !value.to_f32().is_finite()) {
            return refuse(format!("activation {at} is {}, and must be finite", activations[at].to_f32()));
        }
        if let Some(known) = self.tensors.get(name) {
            let (known_len, known_experts) = (known.row_len, known.counts.len());
            if (known_len, known_experts) != (row_len, experts) {
                return refuse(format!(
                    "was collected as {known_experts} × {known_len} columns, and now has {experts} × {row_len}"
                ));
            }
        } else {
            let Some(all) = row_len.checked_mul(experts) else {
                return refuse(format!("{experts} experts of {row_len} columns are too many"));
            };
            let tensor = Tensor { row_len, sums: vec![0.0; all], counts: vec![0; experts] };
            self.tensors.insert(name.to_owned(), tensor);
        }
        let Some(tensor) = self.tensors.get_mut(name) else { return Ok(()) };
        let sums = &mut tensor.sums[expert * row_len..][..row_len];
        for column in activations.chunks(row_len) {
            for (sum, value) in sums.iter_mut().zip(column) {
                let value = f64::from(value.to_f32());
                *sum += value * value;
            }
        }
        tensor.counts[expert] += (len / row_len) as u64;
        Ok(())
    }

    /// The matrix, in the order of names. Its datasets and numbers of chunks are the caller's to fill in.
    ///
    /// # Errors
    /// [`Error::Imatrix`](crate::Error::Imatrix) where a sum is too large for single precision.
    pub fn finish(self) -> Result<Imatrix> {
        let mut imatrix = Imatrix::new();
        for (name, Tensor { sums, counts, .. }) in self.tensors {
            let sums = sums.into_iter().map(|sum| sum as f32).collect();
            imatrix.add(&name, sums, counts.into_iter().map(|count| count as f32).collect(), None)?;
        }
        Ok(imatrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::f16;

    #[test]
    fn adds_up_calls_and_experts() -> Result<()> {
        let mut collector = ImatrixCollector::new();
        collector.collect("b", &[1.0f32, 2.0], 2)?;
        collector.collect("b", &[f16::from_f32(-3.0), f16::from_f32(0.5), f16::ONE, f16::ZERO], 2)?;
        collector.collect_expert("a", 2, 3, &[2.0f32], 1)?;
        collector.collect_expert("a", 0, 3, &[1.0f32, 3.0], 1)?;
        collector.collect_expert::<f32>("a", 1, 3, &[], 1)?;
        let imatrix = collector.finish()?;
        let [a, b] = imatrix.entries() else { panic!("two tensors") };
        assert_eq!(
            (&*a.name, &a.sums[..], &a.counts[..]),
            ("a", &[10.0, 0.0, 4.0][..], &[2.0, 0.0, 1.0][..])
        );
        assert_eq!((&*b.name, &b.sums[..], &b.counts[..]), ("b", &[11.0, 4.25][..], &[3.0][..]));
        assert_eq!(a.weights(), [5.0, 1.0, 4.0], "an expert without tokens has weights of 1");
        Ok(())
    }

    /// A sum in single precision would stay at 2^24.
    #[test]
    fn sums_are_exact_beyond_single_precision() -> Result<()> {
        let mut collector = ImatrixCollector::new();
        collector.collect("a", &[4096.0f32], 1)?;
        for _ in 0..4 {
            collector.collect("a", &[1.0f32], 1)?;
        }
        assert_eq!(collector.finish()?.entries()[0].sums, [16_777_220.0]);
        Ok(())
    }

    #[test]
    fn refused_calls_add_nothing() -> Result<()> {
        let mut collector = ImatrixCollector::new();
        collector.collect("a", &[1.0f32, 2.0], 2)?;
        let message = |result: Result<()>| result.expect_err("it is wrong").to_string();
        for (activations, row_len, expected) in [
            (&[1.0f32, 2.0, 3.0][..], 2, "3 activations are not whole columns of 2"),
            (&[], 0, "0 activations are not whole columns of 0"),
            (&[1.0, f32::NAN], 2, "activation 1 is NaN"),
            (&[f32::INFINITY, 1.0], 2, "activation 0 is inf"),
            (&[1.0], 1, "1 × 2 columns, and now has 1 × 1"),
        ] {
            let message = message(collector.collect("a", activations, row_len));
            assert!(message.contains("tensor 'a'") && message.contains(expected), "{message}");
        }
        let none = message(collector.collect_expert("b", 2, 2, &[1.0f32], 1));
        assert!(none.contains("no expert 2 among 2"), "{none}");
        let many = message(collector.collect_expert("b", 0, usize::MAX, &[1.0f32, 1.0], 2));
        assert!(many.contains("too many"), "{many}");
        let other = message(collector.collect_expert("a", 0, 2, &[1.0f32, 1.0], 2));
        assert!(other.contains("1 × 2 columns, and now has 2 × 2"), "{other}");
        let imatrix = collector.finish()?;
        assert_eq!(imatrix.entries().len(), 1);
        assert_eq!(imatrix.entries()[0].sums, [1.0, 4.0]);
        Ok(())
    }
}

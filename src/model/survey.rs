//! [`Survey`]: the distribution of tensors' values, and their differences from those of other tensors.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::distribution::Distribution;
use super::in_order::in_order;
use super::job::{Origin, in_memory};
use super::pieces::told;
use crate::codec::values::{QuantError, dequantize};
use crate::error::{Error, Measured, Result};

/// The number of values that a thread reads at a time: whole blocks of every type.
const PIECE_VALUES: u64 = 128 * 1024;

/// A tensor to examine, and what to compare it with.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    name: &'a str,
    origin: Origin<'a>,
    reference: Option<Origin<'a>>,
}

impl<'a> Subject<'a> {
    /// Creates a subject from the values of a tensor. Errors contain the name.
    pub fn new(name: &'a str, origin: Origin<'a>) -> Self {
        Subject { name, origin, reference: None }
    }

    /// Compares with these values, of which the tensor is meant to be a copy: for example, the tensor before quantization.
    #[must_use]
    pub fn against(self, reference: Origin<'a>) -> Self {
        Subject { reference: Some(reference), ..self }
    }
}

/// The findings of a [`Survey`] about a tensor.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Profile {
    /// The distribution of its values.
    pub distribution: Distribution,
    /// The error relative to the reference, if there is one.
    pub error: Option<QuantError>,
    /// The number of values examined: all, or a sample.
    pub values: u64,
}

/// Examines the values of tensors, all or a sample of each, a little at a time and on all cores.
///
/// Memory does not grow with the tensors: at most 3 MiB for each of `2n + 1` pieces, where `n` is the number of
/// threads, and 16 KiB for each tensor.
///
/// ```
/// use gguf_codec::model::{Origin, Subject, Survey};
/// # use gguf_codec::{GgmlType, Gguf, Writer};
/// # let write = |ty| {
/// #     let mut writer = Writer::new(Vec::new());
/// #     writer.declare_tensor("w", &[64, 2], ty)?;
/// #     let mut data = writer.write_header()?;
/// #     let mut tensor = data.begin("w")?;
/// #     tensor.write_values(&[0.7; 128], None)?;
/// #     tensor.finish()?;
/// #     data.finish()
/// # };
/// # let (file, original_file) = (write(GgmlType::Q4_0)?, write(GgmlType::F32)?);
/// let (model, original) = (Gguf::parse(&file)?, Gguf::parse(&original_file)?);
/// let (tensor, reference) = (model.tensor_info("w")?, original.tensor_info("w")?);
/// let subject = Subject::new("w", Origin::of(&file, &tensor)).against(Origin::of(&original_file, &reference));
/// let profiles = Survey::new().run(&[subject])?;
/// assert_eq!(profiles[0].distribution.finite(), 128);
/// assert!(profiles[0].error.unwrap().rmse() < 0.1);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is looked at before `run`"]
pub struct Survey {
    sample: Option<u64>,
}

impl Survey {
    /// Creates a survey of all values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Examines about `values` values of each tensor, at least 131,072, in evenly spread pieces of 131,072.
    pub fn sample(mut self, values: u64) -> Self {
        self.sample = Some(values);
        self
    }

    /// Returns the number of bytes that [`run`](Self::run) will read.
    pub fn byte_len(&self, subjects: &[Subject<'_>]) -> u64 {
        subjects.iter().flat_map(|subject| self.pieces(subject)).map(|piece| piece.bytes()).sum()
    }

    /// Examines the tensors and returns the findings about each, in order.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn run(&self, subjects: &[Subject<'_>]) -> Result<Vec<Profile>> {
        self.run_with(subjects, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`run`](Self::run), with progress: `progress` is called after each piece with the number of bytes read so far and
    /// the total, which is [`byte_len`](Self::byte_len). Return `Break` to cancel.
    ///
    /// # Errors
    /// [`Error::Length`], before anything is read, if a tensor and its reference differ in the number of values.
    /// [`Error::Io`], naming the tensor, if reading fails; [`Error::Interrupted`] if `progress` breaks.
    pub fn run_with(
        &self,
        subjects: &[Subject<'_>],
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Vec<Profile>> {
        let mut progress = told(self.byte_len(subjects), progress);
        for subject in subjects {
            let found = subject.origin.shape().element_count();
            let reference = subject.reference.map_or(found, |reference| reference.shape().element_count());
            if found != reference {
                return Err(Error::Length {
                    what: Measured::TensorValues,
                    found,
                    wanted: format!(
                        "{reference}, as what '{}' is compared with",
                        subject.name.escape_debug()
                    ),
                });
            }
        }
        let memory = Mutex::new(Vec::new());
        let work = |piece: Piece<'_>| {
            let mut buffers: Buffers = lock(&memory).pop().unwrap_or_default();
            let profile = piece.look(&mut buffers);
            lock(&memory).push(buffers);
            profile
        };
        in_order(subjects.iter().flat_map(|subject| self.pieces(subject)), work, |next| {
            let mut profiles = Vec::with_capacity(subjects.len());
            for subject in subjects {
                let mut all =
                    Profile { error: subject.reference.map(|_| QuantError::default()), ..Profile::default() };
                for piece in self.pieces(subject) {
                    let Some(part) = next() else { break };
                    let part = part?;
                    all.distribution += &part.distribution;
                    all.values += part.values;
                    all.error = all.error.zip(part.error).map(|(mut all, part)| {
                        all += part;
                        all
                    });
                    if progress(piece.bytes()).is_break() {
                        return Err(Error::Interrupted);
                    }
                }
                // A file may have a million tensors of one value.
                all.distribution.compact();
                profiles.push(all);
            }
            Ok(profiles)
        })
    }

    /// Returns the pieces of a tensor to examine.
    fn pieces<'a>(&self, subject: &'a Subject<'a>) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let elements = subject.origin.shape().element_count();
        let all = elements.div_ceil(PIECE_VALUES);
        let chosen = self.sample.map_or(all, |values| values.div_ceil(PIECE_VALUES).max(1)).min(all);
        (0..chosen).map(move |i| {
            let index = (u128::from(i) * u128::from(all) / u128::from(chosen)) as u64;
            let first = index * PIECE_VALUES;
            Piece { subject, first, values: PIECE_VALUES.min(elements - first) }
        })
    }
}

/// A panic leaves nothing inconsistent behind this lock: it guards spare memory.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A range of a tensor's blocks, and of those it is compared with.
struct Piece<'a> {
    subject: &'a Subject<'a>,
    /// The index of its first value in the tensor.
    first: u64,
    values: u64,
}

impl Piece<'_> {
    fn bytes(&self) -> u64 {
        let of = |origin: &Origin<'_>| bytes(origin, self.values);
        of(&self.subject.origin).saturating_add(self.subject.reference.as_ref().map_or(0, of))
    }

    fn look(&self, buffers: &mut Buffers) -> Result<Profile> {
        let Buffers { source, values, reference } = buffers;
        let mut profile = Profile { values: self.values, ..Profile::default() };
        self.read(&self.subject.origin, source, values)?;
        profile.distribution.add(values);
        if let Some(origin) = &self.subject.reference {
            self.read(origin, source, reference)?;
            profile.error = Some(QuantError::between(reference, values)?);
        }
        Ok(profile)
    }

    fn read(&self, origin: &Origin<'_>, source: &mut Vec<u8>, values: &mut Vec<f32>) -> Result<()> {
        source.resize(in_memory(bytes(origin, self.values))?, 0);
        values.resize(in_memory(self.values)?, 0.0);
        let name = self.subject.name.escape_debug();
        origin
            .fill_little_endian(source, bytes(origin, self.first))
            .map_err(|error| Error::io(format!("read tensor '{name}'"), error))?;
        dequantize(origin.ggml_type(), source, values)
    }
}

/// Returns the size in bytes of `values` values, which are whole blocks.
fn bytes(origin: &Origin<'_>, values: u64) -> u64 {
    origin.ggml_type().long_bytes_in(values)
}

/// Memory for a piece, reused for the next.
#[derive(Default)]
struct Buffers {
    source: Vec<u8>,
    values: Vec<f32>,
    reference: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_order::ByteOrder;
    use crate::ggml_type::GgmlType;
    use crate::tensor::Shape;

    /// Floats in each byte order. The length is not a multiple of a piece.
    fn files() -> (Vec<f32>, Vec<u8>, Vec<u8>, Shape) {
        let values: Vec<f32> = (0..300_000).map(|i| (i % 1000) as f32 - 400.0).collect();
        let little = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let big = values.iter().flat_map(|value| (value + 1.0).to_be_bytes()).collect();
        (values, little, big, Shape::new(&[300, 1000]).unwrap())
    }

    #[test]
    fn pieces_make_the_whole_in_both_byte_orders() {
        let (values, little, big, shape) = files();
        let origin = Origin::new(&little, 0, shape, GgmlType::F32, ByteOrder::Little).unwrap();
        let reference = Origin::new(&big, 0, shape, GgmlType::F32, ByteOrder::Big).unwrap();
        let subjects = [Subject::new("w", origin).against(reference), Subject::new("v", reference)];
        let mut read = Vec::new();
        let survey = Survey::new();
        let profiles = survey.run_with(&subjects, |done, total| {
            read.push((done, total));
            ControlFlow::Continue(())
        });
        let profiles = profiles.unwrap();
        assert!(read.is_sorted() && read.len() > 2, "{read:?}");
        assert_eq!((read.last(), survey.byte_len(&subjects)), (Some(&(3_600_000, 3_600_000)), 3_600_000));
        let mut whole = Distribution::default();
        whole.add(&values);
        assert_eq!((profiles[0].distribution.clone(), profiles[0].values), (whole, 300_000));
        let error = profiles[0].error.unwrap();
        assert_eq!((error.values(), error.rmse(), error.max()), (300_000, 1.0, 1.0));
        assert_eq!((profiles[1].error, profiles[1].distribution.max()), (None, Some(600.0)));
    }

    #[test]
    fn a_sample_is_as_large_as_said_and_spread() {
        let (_, little, _, shape) = files();
        let origin = Origin::new(&little, 0, shape, GgmlType::F32, ByteOrder::Little).unwrap();
        let subjects = [Subject::new("w", origin)];
        for (sample, values) in [(0, 131_072), (1, 131_072), (140_000, 262_144), (u64::MAX, 300_000)] {
            let survey = Survey::new().sample(sample);
            let profile = &survey.run(&subjects).unwrap()[0];
            assert_eq!((profile.values, survey.byte_len(&subjects)), (values, values * 4));
        }
    }

    #[test]
    fn what_cannot_be_compared_or_read_is_named() {
        let (_, little, _, shape) = files();
        let origin = Origin::new(&little, 0, shape, GgmlType::F32, ByteOrder::Little).unwrap();
        let other =
            Origin::new(&little, 0, Shape::new(&[5]).unwrap(), GgmlType::F32, ByteOrder::Little).unwrap();
        let error = Survey::new().run(&[Subject::new("w", origin).against(other)]).unwrap_err();
        assert!(error.to_string().contains("300000") && error.to_string().contains("'w'"), "{error}");
        let beyond = Origin::new(&little, 4, shape, GgmlType::F32, ByteOrder::Little).unwrap();
        let error = Survey::new().run(&[Subject::new("the one", beyond)]).unwrap_err();
        assert!(error.to_string().contains("read tensor 'the one'"), "{error}");
        let stop = |_, _| ControlFlow::Break(());
        assert!(matches!(
            Survey::new().run_with(&[Subject::new("w", origin)], stop),
            Err(Error::Interrupted)
        ));
    }
}

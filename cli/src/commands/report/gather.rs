//! The numbers on the page: the contents of the header, and the results of a survey of the values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gguf_codec::model::{Distribution, Input, Layer, Origin, Profile, Size, Subject, Survey};
use gguf_codec::{Error, GgmlType, QuantError, Shape, ShardProblem, ShardedGguf, TensorInfo};

use crate::cli;
use crate::work::Work;

/// A model, and its path as the user gave it.
pub(crate) struct Source {
    input: Input,
    pub(crate) path: PathBuf,
}

impl Source {
    /// The whole model, if the path is its first shard or only file; otherwise this shard alone.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = match Input::open(path) {
            Err(Error::Shard { problem: ShardProblem::NotFirst { .. }, .. }) => Input::open_alone(path),
            opened => opened,
        };
        let input = opened.map_err(|error| cli::about(path, error))?;
        Ok(Source { input, path: path.to_owned() })
    }

    pub(crate) fn model(&self) -> &ShardedGguf<Vec<u8>> {
        self.input.model()
    }

    pub(crate) fn input(&self) -> &Input {
        &self.input
    }

    /// Of all its files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.input.paths()
    }

    /// Total number of bytes in all files.
    pub(crate) fn file_bytes(&self) -> Option<u64> {
        Some(self.input.file_len())
    }

    fn origin(&self, tensor: &TensorInfo<'_>) -> Result<Origin<'_>> {
        Ok(self.input.origin(tensor)?)
    }
}

/// Everything that the page shows.
pub(crate) struct Gathered<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) total: Size,
    /// Sorted by size, largest first; a type's index determines its colour.
    pub(crate) types: Vec<(GgmlType, Size)>,
    /// The tensors of each layer, as indices of entries.
    pub(crate) layers: Vec<(Layer<'a>, Vec<usize>)>,
    /// The tensors outside of layers.
    pub(crate) outside: Vec<usize>,
    pub(crate) kinds: Vec<Kind<'a>>,
    /// Whether values were skipped.
    pub(crate) sampled: bool,
}

/// A tensor.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) layer: Option<Layer<'a>>,
    /// Its kind within its layer.
    pub(crate) kind: &'a str,
    pub(crate) ty: GgmlType,
    pub(crate) shape: Shape,
    pub(crate) size: Size,
    pub(crate) profile: Profile,
    pub(crate) against: Against,
}

/// What the other model has under a tensor's name.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Against {
    NoModel,
    Missing,
    Shape(Shape),
    Type(GgmlType),
}

/// Matrices with the same role in each layer.
pub(crate) struct Kind<'a> {
    pub(crate) part: &'a str,
    pub(crate) name: &'a str,
    pub(crate) entries: Vec<usize>,
    pub(crate) distribution: Distribution,
    /// The number of values examined, and the number of all values.
    pub(crate) values: (u64, u64),
    pub(crate) bytes: u64,
}

impl Entry<'_> {
    pub(crate) fn is_matrix(&self) -> bool {
        self.shape.row_count() > 1 && self.shape.row_len() > 1 && !self.ty.is_integer()
    }

    /// Its error relative to the other model.
    pub(crate) fn error(&self) -> Option<&QuantError> {
        self.profile.error.as_ref()
    }
}

impl<'a> Gathered<'a> {
    pub(crate) fn of(
        source: &'a Source,
        other: Option<&'a Source>,
        sample: Option<u64>,
        work: &Work,
    ) -> Result<Self> {
        let infos: Vec<_> = source.model().tensors().collect();
        let compare = |info: &TensorInfo<'a>| Ok((*info, compared_with(info, other)?));
        let pairs = infos.iter().map(compare).collect::<Result<Vec<_>>>()?;
        if let Some(other) = other
            && !pairs.iter().any(|(_, (against, _))| matches!(against, Against::Type(_)))
        {
            bail!(
                "'{}' has no tensor by the name and shape of one here: nothing can be compared",
                other.path.display()
            );
        }
        let subjects: Vec<Subject<'_>> = pairs
            .iter()
            .map(|(info, (_, reference))| {
                let subject = Subject::new(info.name(), source.origin(info)?);
                Ok(reference.map_or(subject, |reference| subject.against(reference)))
            })
            .collect::<Result<_>>()?;
        let survey = sample.map_or(Survey::new(), |values| Survey::new().sample(values));
        let profiles = survey.run_with(&subjects, |done, total| work.reached(done, total));
        let profiles = profiles.map_err(|error| work.explained(error))?;

        let entries = pairs.iter().zip(profiles).map(|((info, (against, _)), profile)| {
            let (layer, kind) = Layer::split(info.name());
            Entry {
                name: info.name(),
                layer,
                kind,
                ty: info.ggml_type(),
                shape: info.shape(),
                size: Size::of(info),
                profile,
                against: *against,
            }
        });
        Ok(Self::from_entries(entries.collect()))
    }

    fn from_entries(entries: Vec<Entry<'a>>) -> Self {
        let (mut types, mut layers) = (BTreeMap::<GgmlType, Size>::new(), BTreeMap::<_, Vec<usize>>::new());
        let (mut kinds, mut outside) = (BTreeMap::<_, Kind<'a>>::new(), Vec::new());
        for (i, entry) in entries.iter().enumerate() {
            *types.entry(entry.ty).or_default() += entry.size;
            match entry.layer {
                Some(layer) => layers.entry(layer).or_default().push(i),
                None => outside.push(i),
            }
            if entry.is_matrix() {
                let part = entry.layer.map_or("", |layer| layer.part());
                let kind = kinds.entry((part, entry.kind)).or_insert_with(|| Kind::new(part, entry.kind));
                kind.entries.push(i);
                kind.distribution += &entry.profile.distribution;
                kind.values.0 += entry.profile.values;
                kind.values.1 = kind.values.1.saturating_add(entry.size.parameters);
                kind.bytes = kind.bytes.saturating_add(entry.size.bytes);
            }
        }
        let mut types: Vec<_> = types.into_iter().collect();
        types.sort_by_key(|(_, size)| std::cmp::Reverse(size.bytes));
        let mut kinds: Vec<_> = kinds.into_values().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
        Gathered {
            total: entries.iter().map(|entry| entry.size).sum(),
            sampled: entries.iter().any(|entry| entry.profile.values < entry.size.parameters),
            types,
            layers: layers.into_iter().collect(),
            outside,
            kinds,
            entries,
        }
    }

    /// The total size of some tensors.
    pub(crate) fn size(&self, entries: &[usize]) -> Size {
        entries.iter().map(|&i| self.entries[i].size).sum()
    }

    /// The type's index among all types, which determines its colour.
    pub(crate) fn place(&self, ty: GgmlType) -> usize {
        self.types.iter().position(|(other, _)| *other == ty).unwrap_or(0)
    }
}

impl<'a> Kind<'a> {
    fn new(part: &'a str, name: &'a str) -> Self {
        Kind {
            part,
            name,
            entries: Vec::new(),
            distribution: Distribution::default(),
            values: (0, 0),
            bytes: 0,
        }
    }

    /// The kind's name, with its part if models have several.
    pub(crate) fn title(&self) -> String {
        if self.part.is_empty() { self.name.into() } else { format!("{}: {}", self.part, self.name) }
    }
}

fn compared_with<'a>(
    info: &TensorInfo<'_>,
    other: Option<&'a Source>,
) -> Result<(Against, Option<Origin<'a>>)> {
    let Some(other) = other else { return Ok((Against::NoModel, None)) };
    Ok(match other.model().tensor_info(info.name()) {
        Err(_) => (Against::Missing, None),
        Ok(theirs) if theirs.shape() != info.shape() => (Against::Shape(theirs.shape()), None),
        Ok(theirs) => (Against::Type(theirs.ggml_type()), Some(other.origin(&theirs)?)),
    })
}

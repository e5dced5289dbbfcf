//! [`Measurements`]: what each type loses of each tensor, as it is kept in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ParseProblem, Result};
use crate::ggml_type::GgmlType;

/// The first line of the text, which says how the rest is to be read.
const TITLE: &str = "gguf-codec measurements 1";

/// How much of each tensor of a model each type loses: what [`Budget::measure`](super::Budget::measure) finds and
/// [`Budget::choose_by`](super::Budget::choose_by) chooses by.
///
/// As a text it is small, a line for each tensor, and `parse` reads it again: to choose for another size without measuring once more.
/// Each line has a checksum of the bytes that were measured, by which `measure` sees where a tensor is another now.
///
/// ```
/// use std::ops::ControlFlow;
/// use gguf_codec::model::{Budget, Input, Measurements};
///
/// let input = Input::open("examples/sample.gguf")?;
/// let go_on = |_done, _total| ControlFlow::Continue(());
/// let found = Budget::bytes(100_000).measure(&input, &Measurements::default(), go_on)?;
/// let again: Measurements = found.to_string().parse()?; // a text, or a file
/// let found = Budget::bits_per_weight(7.0).measure(&input, &again, go_on)?;
/// assert_eq!(found.reused(), again.len());
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Measurements {
    /// By names with their invisible characters escaped, so that each is one word of one line.
    pub(super) tensors: BTreeMap<String, Measured>,
    pub(super) reused: usize,
}

/// What was found of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    /// A checksum of what was measured.
    pub(super) content: u64,
    pub(super) losses: BTreeMap<GgmlType, Loss>,
}

/// What a type loses of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Loss {
    /// ‖W − Q‖² / ‖W‖² of blocks that are made without importance, where the type can do without.
    pub(super) error: f64,
    /// What is left of the error, weighed by importance, in blocks that are made with it: 1 where there is none.
    pub(super) left: f64,
}

impl Measurements {
    /// Returns how many tensors were measured.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Returns how many of them were known before, for all types that were wanted, and not measured again.
    pub fn reused(&self) -> usize {
        self.reused
    }

    pub(super) fn get(&self, name: &str) -> Option<&Measured> {
        self.tensors.get(&key(name))
    }

    pub(super) fn loss(&self, name: &str, ty: GgmlType) -> Result<Loss> {
        let found = self.get(name).and_then(|measured| measured.losses.get(&ty));
        found
            .copied()
            .ok_or_else(|| Error::write(format!("tensor '{}' was not measured in {ty}", name.escape_debug())))
    }
}

pub(super) fn key(name: &str) -> String {
    name.escape_default().to_string().replace(' ', "\\u{20}")
}

/// What was found; whether it was known before makes no difference.
impl PartialEq for Measurements {
    fn eq(&self, other: &Self) -> bool {
        self.tensors == other.tensors
    }
}

impl fmt::Display for Measurements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}")?;
        for (name, Measured { content, losses }) in &self.tensors {
            write!(f, "{name} {content:016x}")?;
            for (ty, Loss { error, left }) in losses {
                write!(f, " {ty}={error:e}")?;
                if *left != 1.0 {
                    write!(f, "*{left:e}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// As [`Display`](fmt::Display) writes it.
impl FromStr for Measurements {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, title)| title != TITLE) {
            return wrong(1, format!("it must be '{TITLE}'"));
        }
        let mut tensors = BTreeMap::new();
        for (line, content) in lines {
            let mut words = content.split(' ');
            let (Some(name), Some(hash)) = (words.next(), words.next()) else {
                return wrong(line, "it is not a name, a checksum, and losses as in Q8_0=1e-5".to_owned());
            };
            let Ok(hash) = u64::from_str_radix(hash, 16) else {
                return wrong(
                    line,
                    "after the name there is no checksum of 16 hexadecimal digits".to_owned(),
                );
            };
            let mut losses = BTreeMap::new();
            for word in words {
                let parsed = word.split_once('=').and_then(|(ty, loss)| {
                    let number = |text: &str| {
                        text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
                    };
                    let (error, left) = loss.split_once('*').unwrap_or((loss, "1"));
                    Some((ty.parse::<GgmlType>().ok()?, Loss { error: number(error)?, left: number(left)? }))
                });
                match parsed {
                    Some((ty, loss)) if losses.insert(ty, loss).is_none() => {}
                    _ => {
                        let word = word.escape_debug();
                        return wrong(
                            line,
                            format!("'{word}' is not the loss of another type, as in Q8_0=1e-5"),
                        );
                    }
                }
            }
            if tensors.insert(name.to_owned(), Measured { content: hash, losses }).is_some() {
                return wrong(line, format!("tensor '{}' was there before", name.escape_debug()));
            }
        }
        Ok(Measurements { tensors, reused: 0 })
    }
}

fn wrong<T>(line: usize, message: String) -> Result<T> {
    Err(Error::Parse { problem: ParseProblem::Measurement { line, message } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let loss = |error, left| Loss { error, left };
        let of = |losses: &[(GgmlType, Loss)]| Measured {
            content: 7 << 60,
            losses: losses.iter().copied().collect(),
        };
        let tensors = [
            (
                key("blk.0.ffn_up.weight"),
                of(&[(GgmlType::Q8_0, loss(0.1 + 0.2, 1.0)), (GgmlType::Q4_K, loss(1e-300, 0.1))]),
            ),
            (key("a name\n of\t'ä'"), of(&[])),
        ];
        let all = Measurements { tensors: tensors.into(), reused: 2 };
        assert_eq!(all.to_string().parse::<Measurements>().unwrap(), all, "{all}");
        assert_eq!(all.loss("a name\n of\t'ä'", GgmlType::F16).ok(), None);
        assert_eq!(all.loss("blk.0.ffn_up.weight", GgmlType::Q4_K).unwrap(), loss(1e-300, 0.1));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        for (text, wanted) in [
            ("", "line 1 of the measurements: it must be"),
            ("{}\na", "line 2 of the measurements: it is not a name"),
            ("{}\na 0\nb x", "line 3 of the measurements: after the name"),
            ("{}\na 0 Q8_0=-1", "line 2 of the measurements: 'Q8_0=-1' is not"),
            ("{}\na 0 Q8_0=inf", "'Q8_0=inf'"),
            ("{}\na 0 Q8_0=1*-1", "'Q8_0=1*-1'"),
            ("{}\na 0 Q9_0=1", "'Q9_0=1'"),
            ("{}\na 0 Q8_0=1 Q8_0=1", "line 2"),
            ("{}\na 0\na 1", "line 3 of the measurements: tensor 'a' was there before"),
        ] {
            let error = text.replace("{}", TITLE).parse::<Measurements>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}

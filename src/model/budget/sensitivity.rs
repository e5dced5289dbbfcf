//! [`Sensitivities`]: how much a model suffers from each tensor, as a text says.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::error::{Error, ParseProblem, Result};

/// The largest number, so that no sum of damages is infinite.
const MOST: f64 = 1e30;

/// Numbers by the names of tensors, each with the line that it is from.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sensitivities(BTreeMap<String, (f64, usize)>);

impl Sensitivities {
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|(number, _)| *number)
    }

    /// Fails where one is of no tensor.
    pub(super) fn check(&self, is_tensor: impl Fn(&str) -> bool) -> Result<()> {
        match self.0.iter().find(|(name, _)| !is_tensor(name)) {
            Some((name, (_, line))) => {
                wrong(*line, &format!("the model has no tensor '{}'", name.escape_debug()))
            }
            None => Ok(()),
        }
    }
}

impl FromStr for Sensitivities {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut all = BTreeMap::new();
        for (line, content) in (1..).zip(text.lines()) {
            if content.trim().is_empty() || content.starts_with('#') {
                continue;
            }
            let Some((name, number)) = content.split_once('\t') else {
                return wrong(line, "it is not a name, a tab and a number");
            };
            let number = number.trim().parse::<f64>().ok().filter(|number| (0.0..=MOST).contains(number));
            let Some(number) = number else {
                return wrong(line, &format!("after the tab there is no number from 0 to {MOST:e}"));
            };
            if let Some((_, before)) = all.insert(name.to_owned(), (number, line)) {
                return wrong(line, &format!("'{}' is in line {before} already", name.escape_debug()));
            }
        }
        Ok(Sensitivities(all))
    }
}

fn wrong<T>(line: usize, what: &str) -> Result<T> {
    Err(Error::Parse { problem: ParseProblem::Sensitivity { line, message: what.to_owned() } })
}

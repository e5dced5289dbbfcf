//! YaRN: numbers of `config.json` that llama.cpp does not read.

use super::families::{Family, Yarn};
use super::json::Node;
use crate::error::Result;

/// How far numbers may be from each other that mean the same.
const NEARLY: f64 = 1e-4;

impl Family {
    /// Notes where llama.cpp computes something else than the class with this scaling of a given factor.
    pub(super) fn note_yarn(&self, rope: &Node<'_>, factor: f64, notes: &mut Vec<String>) -> Result<()> {
        let number = |key: &str| rope.get(key).map(|number| number.f64()).transpose();
        let ramp = [("beta_fast", 32.0), ("beta_slow", 1.0)];
        for (key, usual) in ramp.into_iter().filter(|_| self.yarn != Yarn::WithRamp) {
            if let Some(found) = number(key)?.filter(|found| (found - usual).abs() > NEARLY) {
                notes.push(format!(
                    "the rope scaling 'yarn' of config.json has '{key}' {found}, and llama.cpp takes {usual}: values are others in texts \
                     of any length"
                ));
            }
        }
        let scale = |by: f64| if factor > 1.0 { 1.0 + 0.1 * by * factor.ln() } else { 1.0 };
        let given = |key: &str| Ok(number(key)?.filter(|number| *number != 0.0));
        let (own, all) = (given("mscale")?, given("mscale_all_dim")?);
        let wanted = match (number("attention_factor")?, own.zip(all)) {
            (Some(wanted), _) => wanted,
            (None, Some((own, all))) => scale(own) / scale(all),
            (None, None) => scale(1.0),
        };
        let found = match (self.yarn, all) {
            (Yarn::WithRamp, Some(all)) => scale(1.0) / scale(all),
            (Yarn::WithScales, Some(_)) => 1.0,
            _ => scale(1.0),
        };
        if (wanted - found).abs() > NEARLY {
            notes.push(format!(
                "the rope scaling 'yarn' of config.json multiplies queries and keys by {wanted:.4} ('attention_factor', 'mscale', \
                 'mscale_all_dim'), and llama.cpp by {found:.4}: values are others in texts of any length"
            ));
        }
        Ok(())
    }
}

//! The types that a tool can be asked for.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command};
use gguf_codec::GgmlType;
use gguf_codec::model::{FileType, Recipe};

/// The types that models are made of and that floats can be turned into without importance weights: a new codec is
/// one of them by itself.
pub(crate) fn target() -> impl TypedValueParser<Value = GgmlType> {
    let is_target =
        |ty: &&GgmlType| ty.can_quantize() && !ty.needs_importance() && FileType::mostly(**ty).is_some();
    let names = GgmlType::ALL.iter().filter(is_target).map(|ty| ty.name());
    Target(PossibleValuesParser::new(names))
}

/// Says of a recipe's name that it is one.
#[derive(Clone)]
struct Target(PossibleValuesParser);

impl TypedValueParser for Target {
    type Value = GgmlType;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<GgmlType, clap::Error> {
        let text = value.to_string_lossy();
        let is_type = text.parse::<GgmlType>().is_ok();
        if let Some(recipe) = text.parse::<Recipe>().ok().filter(|_| !is_type) {
            let message = format!(
                "{recipe} is a recipe, which chooses a type for each tensor: gguf quantize IN OUT --recipe {recipe}"
            );
            return Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command));
        }
        let name = self.0.parse_ref(command, arg, value)?;
        name.parse().map_err(|error| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("{error}")).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

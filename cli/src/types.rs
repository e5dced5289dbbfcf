//! The types that a tool accepts.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command};
use gguf_codec::GgmlType;
use gguf_codec::model::{FileType, Recipe};

/// The types of which models are made and to which floats can be quantized without importance weights. A new codec is
/// included automatically.
pub(crate) fn target() -> impl TypedValueParser<Value = GgmlType> {
    let is_target =
        |ty: &&GgmlType| ty.can_quantize() && !ty.needs_importance() && FileType::mostly(**ty).is_some();
    let names = GgmlType::ALL.iter().filter(is_target).map(|ty| ty.name());
    Target(PossibleValuesParser::new(names))
}

/// Explains that a name is that of a recipe.
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
                "{recipe} is a recipe, which chooses a type for each tensor: {} --recipe {recipe}",
                match command.get_name() {
                    "from-safetensors" => "give it as",
                    _ => "gguf quantize IN OUT",
                }
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

//! The types that a tool can be asked for.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gguf_codec::GgmlType;
use gguf_codec::model::FileType;

/// The types that models are made of and that floats can be turned into without importance weights: a new codec is
/// one of them by itself.
pub(crate) fn target() -> impl TypedValueParser<Value = GgmlType> {
    let is_target =
        |ty: &&GgmlType| ty.can_quantize() && !ty.needs_importance() && FileType::mostly(**ty).is_some();
    let names = GgmlType::ALL.iter().filter(is_target).map(|ty| ty.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<GgmlType>())
}

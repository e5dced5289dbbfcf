//! [`Recipe`]: how a model is quantized, by the names of llama.cpp's `quantize`, and which type each of its tensors gets.

mod mixture;
mod plan;
mod role;

use core::fmt;
use core::str::FromStr;

pub use plan::{TypeChoice, TypePlan, by_layer};
#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
pub(in crate::model) use plan::{is_left_alone, layer_of};
#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
pub(in crate::model) use role::Role;

use crate::error::{Error, Named, ParseProblem, Result};
use crate::ggml_type::GgmlType;
use crate::model::file_type::FileType;

/// Declares the recipes: llama.cpp's name, and the type of most tensors.
macro_rules! recipes {
    ($($name:ident $base:ident $doc:literal)*) => {
        /// A mixture of types, by its name in llama.cpp's `quantize`.
        ///
        /// Most tensors get the [base type](Self::base_type). Those whose quality suffers most get more bits, by their role,
        /// their layer, and other properties of the model: the output gets Q6_K or more. [`TypePlan`] computes the type of each.
        ///
        /// ```
        /// use gguf_codec::{GgmlType, model::Recipe};
        /// let recipe: Recipe = "q4_k_m".parse()?;
        /// assert_eq!((recipe, recipe.base_type()), (Recipe::Q4_K_M, GgmlType::Q4_K));
        /// assert_eq!(recipe.file_type().id(), 15);
        /// # Ok::<(), gguf_codec::Error>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        // The names by which they are commonly known.
        #[allow(non_camel_case_types)]
        #[doc(alias("llama_ftype", "ftype"))]
        pub enum Recipe {
            $(#[doc = $doc] $name,)*
        }

        impl Recipe {
            /// All recipes, from few bits to many.
            pub const ALL: &'static [Recipe] = &[$(Recipe::$name),*];

            /// Returns the name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Recipe::$name => stringify!($name),)*
                }
            }

            /// Returns the `general.file_type` of a model made with it.
            pub fn file_type(self) -> FileType {
                match self {
                    $(Recipe::$name => const { FileType::named(stringify!($name)) },)*
                }
            }

            /// Returns the type of the tensors to which no special rule applies.
            pub fn base_type(self) -> GgmlType {
                match self {
                    $(Recipe::$name => GgmlType::$base,)*
                }
            }
        }
    };
}

recipes! {
    Q1_0 Q1_0 "Q1_0."
    IQ1_S IQ1_S "IQ1_S; needs importance."
    IQ1_M IQ1_M "IQ1_M; needs importance."
    TQ1_0 TQ1_0 "TQ1_0, for models that were trained with ternary weights."
    IQ2_XXS IQ2_XXS "IQ2_XXS; needs importance."
    TQ2_0 TQ2_0 "TQ2_0, for models that were trained with ternary weights."
    Q2_0 Q2_0 "Q2_0, for models that were trained with such weights."
    IQ2_XS IQ2_XS "IQ2_XS; needs importance."
    IQ2_S IQ2_XS "IQ2_XS, with IQ3_S where it pays; needs importance."
    Q2_K_S Q2_K "Q2_K, and Q4_K in the first layers; needs importance."
    IQ2_M IQ2_S "IQ2_S, with IQ3_S where it pays; needs importance."
    Q2_K Q2_K "Q2_K, with Q3_K where it pays."
    IQ3_XXS IQ3_XXS "IQ3_XXS, with IQ2_S and IQ3_S; needs importance."
    IQ3_XS IQ3_S "IQ3_S, with IQ3_XXS in the middle layers; needs importance."
    Q3_K_S Q3_K "Q3_K."
    IQ3_S IQ3_S "IQ3_S."
    IQ3_M IQ3_S "IQ3_S, with Q4_K where it pays."
    Q3_K_M Q3_K "Q3_K, with Q4_K and Q5_K where it pays."
    Q3_K_L Q3_K "Q3_K, with Q5_K where it pays."
    IQ4_XS IQ4_XS "IQ4_XS, with Q5_K where it pays."
    MXFP4_MOE MXFP4 "The experts MXFP4, everything else Q8_0."
    NVFP4 NVFP4 "NVFP4."
    Q4_0 Q4_0 "Q4_0."
    IQ4_NL IQ4_NL "IQ4_NL, with Q5_K where it pays."
    Q4_K_S Q4_K "Q4_K, with Q5_K in the first layers."
    Q4_K_M Q4_K "Q4_K, with Q6_K in half of the layers."
    Q4_1 Q4_1 "Q4_1."
    Q5_0 Q5_0 "Q5_0."
    Q5_K_S Q5_K "Q5_K."
    Q5_K_M Q5_K "Q5_K, with Q6_K in half of the layers."
    Q5_1 Q5_1 "Q5_1."
    Q6_K Q6_K "Q6_K."
    Q8_0 Q8_0 "Q8_0."
    BF16 BF16 "BF16, and nothing quantized."
    F16 F16 "F16, and nothing quantized."
    F32 F32 "F32, and nothing quantized."
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Parses the name, ignoring case. `Q3_K`, `Q4_K` and `Q5_K` are the `_M` of each, as in llama.cpp.
impl FromStr for Recipe {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let alias = ["Q3_K", "Q4_K", "Q5_K"].into_iter().find(|alias| is(alias));
        let by_name = |recipe: &&Recipe| match alias {
            Some(alias) => recipe.name().strip_suffix("_M") == Some(alias),
            None => is(recipe.name()),
        };
        Recipe::ALL.iter().find(by_name).copied().ok_or_else(|| {
            let known = Recipe::ALL.iter().map(|recipe| recipe.name()).collect();
            let problem = ParseProblem::Name { what: Named::Recipe, name: name.into(), known };
            Error::Parse { problem }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_has_its_file_type_and_name() {
        for &recipe in Recipe::ALL {
            assert_eq!(recipe.file_type().name(), Some(recipe.name()));
            assert_eq!(recipe.name().to_lowercase().parse::<Recipe>().unwrap(), recipe);
        }
        assert_eq!("q5_k".parse::<Recipe>().unwrap(), Recipe::Q5_K_M);
        let error = "Q7\u{1b}".parse::<Recipe>().unwrap_err().to_string();
        assert!(error.contains("'Q7\\u{1b}'; there are Q1_0, IQ1_S"), "{error}");
    }
}

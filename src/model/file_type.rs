//! [`FileType`]: the number stored in `general.file_type`.

use core::fmt;
use core::str::FromStr;

use crate::display::pad;
use crate::error::{Error, Named, ParseProblem, Result};
use crate::ggml_type::GgmlType;

/// The value of `general.quantization_version`: the revision of ggml's block formats that this crate writes.
pub const QUANTIZATION_VERSION: u32 = 2;

/// The quantization of a model by llama.cpp's numbers in `general.file_type`: the type of most of its tensors, and the recipe.
///
/// These are neither the ids of [`GgmlType`] nor ggml's own `ggml_ftype`.
///
/// ```
/// use gguf_codec::GgmlType;
/// use gguf_codec::model::FileType;
/// assert_eq!(FileType::from_id(15).to_string(), "Q4_K_M");
/// assert_eq!("q4_k_m".parse::<FileType>()?.id(), 15);
/// assert_eq!(FileType::mostly(GgmlType::Q4_0).map(FileType::id), Some(2));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias("llama_ftype", "ftype"))]
pub struct FileType(u32);

/// Added to the number by programs that guessed it by counting the tensors.
const GUESSED: u32 = 1024;

/// Ids 4 to 6 and 33 to 35 named formats that were removed.
const NAMES: [(u32, &str); 36] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
    (39, "NVFP4"),
    (40, "Q1_0"),
    (41, "Q2_0"),
];

impl FileType {
    /// Returns the file type with this number, known or not.
    pub fn from_id(id: u32) -> Self {
        FileType(id)
    }

    /// Returns the file type of a model most of whose tensors are `ty`. K-quants have several, by recipe. This
    /// returns the one that uses the type itself wherever it can: `Q4_K_S` and not `Q4_K_M`, and `Q2_K` although
    /// there is the smaller `Q2_K_S`. Returns `None` for types that no model consists of.
    pub fn mostly(ty: GgmlType) -> Option<Self> {
        let name = match ty {
            GgmlType::Q3_K => "Q3_K_S",
            GgmlType::Q4_K => "Q4_K_S",
            GgmlType::Q5_K => "Q5_K_S",
            GgmlType::MXFP4 => "MXFP4_MOE",
            ty => ty.name(),
        };
        FileType::from_name(name)
    }

    /// Returns the file type with exactly this name. For constants, of which one with a name that is not known does not compile.
    pub(super) const fn named(name: &str) -> Self {
        let mut at = 0;
        while at < NAMES.len() {
            let (id, known) = NAMES[at];
            if is_same(name.as_bytes(), known.as_bytes()) {
                return FileType(id);
            }
            at += 1;
        }
        panic!("no file type has this name")
    }

    /// Returns the file type with exactly this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(id, _)| FileType(*id))
    }

    /// Returns the number.
    pub fn id(self) -> u32 {
        self.0
    }

    /// Returns `true` if it was guessed from the tensors rather than known.
    pub fn is_guessed(self) -> bool {
        self.0 & GUESSED != 0
    }

    /// Returns the recipe's name if the number is known.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(id, _)| *id == self.0 & !GUESSED).map(|(_, name)| *name)
    }
}

impl FromStr for FileType {
    type Err = Error;

    /// Parses a name such as `Q4_K_M`, ignoring case.
    fn from_str(name: &str) -> Result<Self> {
        let found = NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        found.map(|(id, _)| FileType(*id)).ok_or_else(|| {
            let known = NAMES.iter().map(|(_, known)| *known).collect();
            let problem = ParseProblem::Name { what: Named::FileType, name: name.into(), known };
            Error::Parse { problem }
        })
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guessed = if self.is_guessed() { " (guessed)" } else { "" };
        match self.name() {
            Some(name) => pad(f, format_args!("{name}{guessed}")),
            None => pad(f, format_args!("unknown file type {}", self.0)),
        }
    }
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_models_are_made_of_have_a_file_type() {
        let id = |ty| FileType::mostly(ty).map(FileType::id);
        assert_eq!(id(GgmlType::F32), Some(0));
        assert_eq!(id(GgmlType::F16), Some(1));
        assert_eq!(id(GgmlType::BF16), Some(32));
        assert_eq!(id(GgmlType::Q8_0), Some(7));
        assert_eq!(id(GgmlType::Q4_1), Some(3));
        assert_eq!(id(GgmlType::Q4_K), Some(14));
        assert_eq!(id(GgmlType::Q6_K), Some(18));
        assert_eq!(id(GgmlType::Q2_K), Some(10));
        assert_eq!(id(GgmlType::IQ2_XXS), Some(19));
        assert_eq!(id(GgmlType::IQ3_S), Some(26));
        assert_eq!(id(GgmlType::IQ1_M), Some(31));
        assert_eq!(id(GgmlType::I32), None);
        assert_eq!(id(GgmlType::Q8_K), None);
    }

    #[test]
    fn guesses_and_unknown_numbers_say_so() {
        assert_eq!(FileType::from_id(1024 + 7).to_string(), "Q8_0 (guessed)");
        assert_eq!(FileType::from_id(5).to_string(), "unknown file type 5");
    }
}

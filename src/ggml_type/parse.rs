//! Conversion of ids and names to types.

use core::str::FromStr;

use super::{GgmlType, removed_name};
use crate::error::{Error, Named, ParseProblem, Problem, Result};

impl GgmlType {
    /// Returns the type with this id, or the problem with the id.
    pub(crate) fn check_id(id: u32) -> core::result::Result<Self, Problem> {
        Self::from_id(id).ok_or(match removed_name(id) {
            Some(name) => Problem::TypeRemoved { id, name },
            None => Problem::TypeUnknown { id },
        })
    }
}

impl TryFrom<u32> for GgmlType {
    type Error = Error;

    /// Returns the type of an id in a file.
    ///
    /// # Errors
    /// [`Error::Parse`] for ids that ggml never had or has removed. The message names removed types.
    fn try_from(id: u32) -> Result<Self> {
        Self::check_id(id).map_err(|problem| Error::Parse { problem: ParseProblem::Id(problem) })
    }
}

impl FromStr for GgmlType {
    type Err = Error;

    /// Parses a name such as `Q4_K`, ignoring case.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|ty| ty.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known = Self::ALL.iter().map(|ty| ty.name()).collect();
            let problem = ParseProblem::Name { what: Named::TensorType, name: name.into(), known };
            Error::Parse { problem }
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_id_is_a_type_a_removed_one_or_unknown() {
        for id in 0..100 {
            match GgmlType::try_from(id) {
                Ok(ty) => assert_eq!(ty.id(), id),
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains(&id.to_string()), "{message}");
                    assert_eq!(message.contains("removed"), removed_name(id).is_some(), "{message}");
                }
            }
        }
        assert_eq!(GgmlType::ALL.len(), 35);
    }

    #[test]
    fn names_parse_back_in_any_case() {
        for ty in GgmlType::ALL {
            assert_eq!(ty.name().parse::<GgmlType>().unwrap(), *ty);
            assert_eq!(ty.name().to_lowercase().parse::<GgmlType>().unwrap(), *ty);
        }
        assert!("Q9_Z".parse::<GgmlType>().unwrap_err().to_string().contains("Q4_K"));
    }
}

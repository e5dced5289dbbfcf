//! [`OneOf`]: a file that by its name is one of several.

use std::collections::BTreeSet;
use std::path::Path;

use super::path::exists;
use crate::error::{Error, Result, Shown};

/// `model-00002-of-00004.safetensors`, the naming of Hugging Face for the files of a split model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OneOf<'a> {
    prefix: &'a str,
    no: &'a str,
    count: &'a str,
}

impl<'a> OneOf<'a> {
    /// Returns `None` if the file is, by its name, the only one.
    pub(super) fn parse(path: &'a Path) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".safetensors")?;
        let (start, count) = stem.rsplit_once("-of-")?;
        let (prefix, no) = start.rsplit_once('-')?;
        number(no)?;
        (number(count)? > 1).then_some(OneOf { prefix, no, count })
    }

    /// Returns `true` if the two names are those of one model.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.count == other.count
    }

    /// Returns the error for `asked` if this file of the folder would be the model by itself.
    pub(super) fn alone(&self, folder: &Path, asked: &Path) -> Result<Error> {
        let OneOf { prefix, no, count } = self;
        let index = format!("{prefix}.safetensors.index.json");
        let wrong =
            |message| Error::Safetensors { file: Some(asked.display().to_string()), offset: None, message };
        let files = number(count).unwrap_or_default();
        if exists(&folder.join(&index))? {
            let index = Shown(&index);
            return Ok(wrong(format!(
                "a file of {files} is not the model: open the index '{index}' beside it, or the folder"
            )));
        }
        let reading = |error| Error::io(format!("read the folder '{}'", folder.display()), error);
        let mut present = BTreeSet::new();
        for entry in std::fs::read_dir(folder).map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            if let Some(other) = OneOf::parse(Path::new(&name)).filter(|other| self.is_beside(other)) {
                present.extend(number(other.no).filter(|no| (1..=files).contains(no)));
            }
        }
        let index = format!("the index '{}'", Shown(&index));
        // The loop ends one past the existing files, however many the name declares.
        Ok(wrong(match (1..=files).find(|no| !present.contains(no)) {
            None => format!("the {files} files of the model are there, and {index} is missing"),
            Some(first) => {
                let first = format!("{prefix}-{first:00$}-of-{count}.safetensors", no.len());
                let missing = match u64::from(files) - present.len() as u64 {
                    1 => "1 is".to_owned(),
                    more => format!("{more} are"),
                };
                let first = Shown(&first);
                format!(
                    "of the {files} files of the model {missing} missing, the first of them '{first}', and so is {index}"
                )
            }
        }))
    }
}

fn number(digits: &str) -> Option<u32> {
    // A plus sign would be accepted.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_of_how_many_files_it_is() {
        let parsed =
            |name| OneOf::parse(Path::new(name)).map(|one| (one.prefix.to_owned(), one.no.to_owned()));
        let model = |no: &str| Some(("model".to_owned(), no.to_owned()));
        assert_eq!(parsed("folder/model-00002-of-00004.safetensors"), model("00002"));
        assert_eq!(parsed("model-9-of-4.safetensors"), model("9"));
        for alone in [
            "model.safetensors",
            "model-00001-of-00001.safetensors",
            "model-00001-of-00002.gguf",
            "model-1-of-+2.safetensors",
            "model--of-2.safetensors",
            "model-1-of-99999999999.safetensors",
            "best-of-3.safetensors",
        ] {
            assert_eq!(parsed(alone), None, "{alone}");
        }
    }
}

//! [`Renames`]: a mapping from old to new names.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use super::change::Name;
use crate::error::{Error, Result};

/// A mapping from old to new names.
pub(super) struct Renames<'a> {
    to: HashMap<&'a str, &'a str>,
    from: HashMap<&'a str, &'a str>,
}

impl<'a> Renames<'a> {
    /// Returns an error if a name would occur twice afterwards.
    pub(super) fn new(
        what: &str,
        renames: &'a [(String, String)],
        is_there: impl Fn(&str) -> bool,
        removed: &HashSet<&str>,
    ) -> Result<Self> {
        let (mut to, mut taken) = (HashMap::new(), HashMap::new());
        for (from, name) in renames {
            if removed.contains(from.as_str()) {
                return Err(contradiction(what, from, "is to be renamed and to be removed"));
            }
            if to.insert(from.as_str(), name.as_str()).is_some() {
                return Err(contradiction(what, from, "is to be renamed twice"));
            }
        }
        for (from, name) in renames {
            let stays = is_there(name) && !to.contains_key(name.as_str()) && !removed.contains(name.as_str());
            if stays || taken.insert(name.as_str(), from.as_str()).is_some() {
                let name = Name(name);
                return Err(contradiction(
                    what,
                    from,
                    format_args!("cannot become '{name}', which is another {what}'s name"),
                ));
            }
        }
        Ok(Renames { to, from: taken })
    }

    /// Returns the new name.
    pub(super) fn name<'b>(&self, name: &'b str) -> &'b str
    where
        'a: 'b,
    {
        self.to.get(name).copied().unwrap_or(name)
    }

    /// Returns `true` if another name is changed to this one.
    pub(super) fn gives(&self, name: &str) -> bool {
        self.from.contains_key(name)
    }

    /// Returns the old name for this new name, if there can be one.
    pub(super) fn source<'b>(&self, name: &'b str, removed: &HashSet<&str>) -> Option<&'b str>
    where
        'a: 'b,
    {
        match self.from.get(name) {
            Some(&from) => Some(from),
            None => (!self.to.contains_key(name) && !removed.contains(name)).then_some(name),
        }
    }
}

pub(super) fn contradiction(what: &str, name: &str, problem: impl Display) -> Error {
    Error::write(format!("{what} '{}' {problem}", Name(name)))
}

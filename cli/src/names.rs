//! Lists many tensors' names on one line: names of layers that differ only in numbers are grouped.

use std::collections::HashMap;
use std::fmt;

/// Names in groups, in order of first appearance.
#[derive(Default)]
pub(crate) struct Names {
    groups: Vec<Group>,
    by_pattern: HashMap<Vec<Part>, usize>,
}

struct Group {
    pattern: Vec<Part>,
    first: String,
    count: u64,
}

/// A piece of a name's pattern: a number, which equals every other number, or another character.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum Part {
    Number,
    Other(char),
}

impl Names {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn add(&mut self, name: &str) {
        let mut pattern = Vec::new();
        for character in name.chars() {
            match character {
                '0'..='9' if pattern.last() == Some(&Part::Number) => {}
                '0'..='9' => pattern.push(Part::Number),
                other => pattern.push(Part::Other(other)),
            }
        }
        let at = *self.by_pattern.entry(pattern).or_insert_with_key(|pattern| {
            self.groups.push(Group { pattern: pattern.clone(), first: name.to_owned(), count: 0 });
            self.groups.len() - 1
        });
        self.groups[at].count += 1;
    }
}

impl fmt::Display for Names {
    /// A group of one name shows it in full; other groups have `*` for numbers, and a count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.groups.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            if group.count == 1 {
                write!(f, "{}", group.first.escape_debug())?;
                continue;
            }
            for part in &group.pattern {
                match part {
                    Part::Number => f.write_str("*")?,
                    Part::Other('*') => f.write_str("\\*")?,
                    Part::Other(other) => write!(f, "{}", other.escape_debug())?,
                }
            }
            write!(f, " ({})", group.count)?;
        }
        Ok(())
    }
}

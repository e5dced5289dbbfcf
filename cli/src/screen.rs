//! Fits lines to the terminal's width.

use std::borrow::Cow;
use std::cmp::Ordering;

use console::{Term, measure_text_width, truncate_str};

/// The maximum width of lines.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    /// In columns; `None` if lines may have any length, as in a pipe.
    width: Option<usize>,
}

impl Screen {
    /// The requested width, where 0 means unlimited; otherwise the terminal's width, if there is a terminal.
    pub(crate) fn new(asked: Option<usize>) -> Self {
        let terminal = || Term::stdout().size_checked().map(|(_rows, columns)| usize::from(columns));
        let width = asked.or_else(terminal).filter(|&width| width > 0);
        Screen { width: width.map(|width| width.clamp(20, 10_000)) }
    }

    pub(crate) fn width(self) -> Option<usize> {
        self.width
    }

    /// The line, cut if it is too long, without trailing blanks.
    pub(crate) fn line(self, line: &str) -> String {
        let line = line.trim_end();
        let cut = self.width.map_or(Cow::Borrowed(line), |width| truncate_str(line, width, "…"));
        format!("{}\n", cut.trim_end())
    }

    /// The items, separated by dots, on as few lines as possible.
    pub(crate) fn flow(self, items: impl IntoIterator<Item = String>) -> String {
        const DOT: &str = " · ";
        let (mut text, mut line) = (String::new(), String::new());
        for item in items {
            let joined = if line.is_empty() { item.clone() } else { format!("{line}{DOT}{item}") };
            if self.width.is_some_and(|width| measure_text_width(&joined) > width) && !line.is_empty() {
                text += &self.line(&line);
                line = item;
            } else {
                line = joined;
            }
        }
        if !line.is_empty() {
            text += &self.line(&line);
        }
        text
    }
}

/// The text, padded with at least two spaces to a width, so that another column can follow.
pub(crate) fn padded(text: &str, width: usize) -> String {
    let spaces = (width + 2).saturating_sub(measure_text_width(text)).max(2);
    format!("{text}{}", " ".repeat(spaces))
}

/// The text, padded with spaces on the left.
pub(crate) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

/// The number of columns that a text takes.
pub(crate) fn columns(text: &str) -> usize {
    measure_text_width(text)
}

/// An order that compares numbers within names as numbers: `blk.2` before `blk.10`.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (text, other) = (split(&mut left, false), split(&mut right, false));
        let (number, other_number) = (split(&mut left, true), split(&mut right, true));
        let value =
            |digits: &str| (digits.trim_start_matches('0').len(), digits.trim_start_matches('0').to_owned());
        let order = text.cmp(other).then_with(|| value(number).cmp(&value(other_number)));
        if order != Ordering::Equal || (left.is_empty() && right.is_empty()) {
            return order.then_with(|| a.cmp(b));
        }
    }
}

/// Splits off the leading digits, or the leading characters that are not digits.
fn split<'a>(text: &mut &'a str, digits: bool) -> &'a str {
    let end = text.find(|character: char| character.is_ascii_digit() != digits).unwrap_or(text.len());
    let (start, rest) = text.split_at(end);
    *text = rest;
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names =
            ["blk.10.a", "blk.2.a", "a", "blk.2.b", "blk.", "blk.02.a", "b", "blk.99999999999999999999999.a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["a", "b", "blk.", "blk.02.a", "blk.2.a", "blk.2.b", "blk.10.a", "blk.99999999999999999999999.a"]
        );
    }

    #[test]
    fn items_go_to_another_line_where_they_do_not_fit() {
        let items = || ["0123456789", "0123456789", "x"].map(str::to_owned);
        let narrow = Screen { width: Some(20) };
        assert_eq!(narrow.flow(items()), "0123456789\n0123456789 · x\n");
        assert_eq!(Screen { width: None }.flow(items()), "0123456789 · 0123456789 · x\n");
        assert_eq!(narrow.line("0123456789 0123456789 \n"), "0123456789 01234567…\n");
    }
}

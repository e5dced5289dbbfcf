//! Names similar to a missing one, for messages.

/// The number of names in a message.
const MOST: usize = 3;
/// The maximum number of names to compare, and of bytes in each: a message should not wait for a million of them.
const MOST_COMPARED: usize = 100_000;
const MOST_BYTES: usize = 128;

/// Returns at most three names that are most similar to one that is not among them. They differ by few characters inserted,
/// removed or exchanged, or end with the missing name. Empty if none is similar.
///
/// ```
/// use gguf_codec::model::nearest_names;
///
/// let keys = ["llama.context_length", "llama.block_count", "general.name"];
/// assert_eq!(nearest_names("llama.context_lenght", keys), ["llama.context_length"]);
/// assert_eq!(nearest_names("block_count", keys), ["llama.block_count"]);
/// assert!(nearest_names("tokenizer.chat_template", keys).is_empty());
/// ```
pub fn nearest_names<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    if name.is_empty() || name.len() > MOST_BYTES {
        return Vec::new();
    }
    let most = (name.len() / 4).clamp(1, 8);
    let mut near: Vec<(usize, &str)> = Vec::new();
    for other in names.into_iter().take(MOST_COMPARED).filter(|other| other.len() <= MOST_BYTES) {
        let is_end = |long: &str, short: &str| {
            long.strip_suffix(short).is_some_and(|start| start.ends_with('.') && short.len() > 2)
        };
        let distance = if other.eq_ignore_ascii_case(name) {
            Some(0)
        } else if is_end(other, name) || is_end(name, other) {
            Some(1)
        } else {
            distance(name.as_bytes(), other.as_bytes(), most)
        };
        if let Some(distance) = distance {
            let at = near.partition_point(|(its, _)| *its <= distance);
            near.insert(at, (distance, other));
            near.truncate(MOST);
        }
    }
    near.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// Returns the number of bytes to insert, remove, replace, or exchange with the next, if it is at most `most`.
fn distance(a: &[u8], b: &[u8], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut least = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        if row.iter().all(|&distance| distance > most) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|&distance| distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_changes() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "ac", 1),
            ("abc", "xabc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes(), 3), Some(expected), "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes(), 3), Some(expected), "{b} {a}");
        }
        assert_eq!(distance(b"kitten", b"sitting", 2), None);
    }

    #[test]
    fn the_nearest_come_first() {
        let names = ["llama.context_length", "llama.block_count", "general.name", "llama.content_lenght"];
        let near = |name| nearest_names(name, names);
        assert_eq!(near("llama.context_lenght"), ["llama.context_length", "llama.content_lenght"]);
        assert_eq!(near("context_length"), ["llama.context_length"]);
        assert_eq!(near("GENERAL.NAME"), ["general.name"]);
        assert!(near("tokenizer.chat_template").is_empty());
    }
}

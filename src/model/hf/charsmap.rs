//! The table of a Unigram tokenizer that says what characters become before a text is cut, as SentencePiece compiles it.

use crate::error::{Error, Result};

/// That a table of what characters become is whole: the bytes of a trie and then, each with a zero at its end, the texts that its
/// leaves point into. Readers follow it without looking.
pub(super) fn check(map: &[u8]) -> Result<()> {
    let wrong =
        |problem: String| Err(Error::write(format!("the precompiled charsmap of the tokenizer {problem}")));
    let Some((len, rest)) = map.split_first_chunk() else {
        return wrong(format!(
            "has {} bytes, and begins with the length of its trie, which takes 4",
            map.len()
        ));
    };
    let len = u32::from_le_bytes(*len);
    let parts = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
    let Some((trie, texts)) = parts.filter(|_| len > 0 && len.is_multiple_of(4)) else {
        return wrong(format!(
            "says that its trie has {len} bytes, which must be a multiple of 4, more than 0 and at most {}, as many as follow",
            rest.len()
        ));
    };
    let texts = match (texts.last(), std::str::from_utf8(texts)) {
        (Some(0), Ok(_)) => texts.len(),
        (_, Err(error)) => {
            return wrong(format!(
                "has texts that are no UTF-8, from byte {} on",
                4 + trie.len() + error.valid_up_to()
            ));
        }
        (last, Ok(_)) => {
            let end = if last.is_none() { "there are none" } else { "the last does not" };
            return wrong(format!("must have texts that end with a zero, and {end}"));
        }
    };
    // Where a unit says that its node has a leaf, that is in the trie and points into the texts.
    let (units, _) = trie.as_chunks();
    let unit = |at: u32| units.get(at as usize).map(|unit| u32::from_le_bytes(*unit));
    let base = |unit: u32| (unit >> 10) << ((unit & 1 << 9) >> 6);
    for (at, own) in (0..).zip(units.iter().map(|unit| u32::from_le_bytes(*unit))) {
        let has_leaf = own >> 8 & 1 == 1 && own >> 31 == 0;
        let leaf = unit(at ^ base(own)).map(|leaf| leaf & 0x7fff_ffff);
        if has_leaf && leaf.is_none_or(|text| text as usize >= texts) {
            return wrong(format!("has a trie whose unit {at} leads to no text"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of these units, and of "A" as its only text.
    fn map(units: &[u32]) -> Vec<u8> {
        let len = 4 * units.len() as u32;
        let words = std::iter::once(len).chain(units.iter().copied());
        words.flat_map(u32::to_le_bytes).chain(*b"A\0").collect()
    }

    #[test]
    fn a_broken_map_is_refused() {
        // A root whose leaf is the next unit, which points to the text's start.
        let good = map(&[1 << 10 | 1 << 8, 1 << 31]);
        check(&good).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut map = good.clone();
            map[at] = byte;
            map
        };
        for (map, part) in [
            (good[..3].to_vec(), "has 3 bytes"),
            (changed(0, 0), "trie has 0 bytes"),
            (changed(0, 6), "trie has 6 bytes"),
            (changed(1, 1), "trie has 264 bytes, which must be a multiple of 4, more than 0 and at most 10"),
            (changed(13, 1), "the last does not"),
            (good[..12].to_vec(), "there are none"),
            (changed(12, 0xff), "no UTF-8, from byte 12 on"),
            (map(&[1 << 10 | 1 << 8, 1 << 31 | 2]), "unit 0 leads to no text"),
            (map(&[2 << 10 | 1 << 8, 1 << 31]), "unit 0 leads to no text"),
        ] {
            let error = check(&map).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

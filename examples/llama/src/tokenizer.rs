//! [`Tokenizer`]: byte-pair encoding within the words into which GPT-2 splits a text, as in SmolLM2.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use gguf_codec::Metadata;
use regex::Regex;

/// Types of tokens that a prompt can contain as special tokens: control tokens and user-defined tokens.
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// The words of GPT-2. White space is split further: see [`Tokenizer::words`].
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

/// Converts text to tokens and back.
pub struct Tokenizer {
    /// The bytes of each token.
    bytes: Vec<Vec<u8>>,
    /// The token of each single byte. Vocabularies may lack bytes that do not occur in UTF-8.
    single: [Option<u32>; 256],
    /// For two consecutive tokens: the rank of their merge, and the merged token.
    merges: HashMap<(u32, u32), (usize, u32)>,
    /// Special tokens, longest text first.
    special: Vec<(String, u32)>,
    words: Regex,
    /// The token that begins a text, if the model wants one.
    pub begin: Option<u32>,
    /// The token that ends an answer.
    pub end: Vec<u32>,
}

impl Tokenizer {
    /// The tokenizer that a GGUF describes.
    pub fn new(metadata: Metadata<'_>) -> Result<Self> {
        let (model, pre): (&str, &str) =
            (metadata.require("tokenizer.ggml.model")?, metadata.require("tokenizer.ggml.pre")?);
        ensure!(
            model == "gpt2" && pre == "smollm",
            "the tokenizer is '{model}' with the pre-tokenizer '{pre}'; this example has 'gpt2' with 'smollm' only"
        );
        let texts =
            metadata.require_array::<&str>("tokenizer.ggml.tokens")?.collect::<Result<Vec<_>, _>>()?;
        let types =
            metadata.require_array::<i32>("tokenizer.ggml.token_type")?.collect::<Result<Vec<_>, _>>()?;
        ensure!(texts.len() == types.len(), "{} tokens have {} types", texts.len(), types.len());

        let ids: HashMap<&str, u32> = texts.iter().copied().zip(0..).collect();
        let of_char: HashMap<char, u8> = (0..=255).map(|byte| (char_of(byte), byte)).collect();
        let is_special = |token: usize| matches!(types[token], CONTROL | USER_DEFINED);
        let bytes = texts.iter().enumerate().map(|(token, text)| {
            if is_special(token) {
                return Ok(text.as_bytes().to_vec());
            }
            let bytes: Option<_> = text.chars().map(|char| of_char.get(&char).copied()).collect();
            bytes.with_context(|| format!("token {token} ('{}') is not made of bytes", text.escape_debug()))
        });
        let bytes = bytes.collect::<Result<_>>()?;

        let mut merges = HashMap::new();
        for (rank, pair) in metadata.require_array::<&str>("tokenizer.ggml.merges")?.enumerate() {
            let pair = pair?;
            let wrong = || format!("merge {rank} ('{}') is not of two tokens into one", pair.escape_debug());
            let (left, right) = pair.split_once(' ').with_context(wrong)?;
            let id = |text: &str| ids.get(text).copied().with_context(wrong);
            let merged = id(&format!("{left}{right}"))?;
            merges.entry((id(left)?, id(right)?)).or_insert((rank, merged));
        }

        let mut special: Vec<_> = (0..texts.len())
            .filter(|&token| is_special(token) && !texts[token].is_empty())
            .map(|token| (texts[token].to_owned(), token as u32))
            .collect();
        special.sort_by_key(|(text, _)| Reverse(text.len()));

        let known = |key: &str| -> Result<Option<u32>> {
            let token = metadata.optional::<u32>(key)?;
            if let Some(token) = token {
                ensure!(
                    (token as usize) < texts.len(),
                    "{key} is {token}, and there are {} tokens",
                    texts.len()
                );
            }
            Ok(token)
        };
        let begin = known("tokenizer.ggml.bos_token_id")?;
        let wants_begin = metadata.optional("tokenizer.ggml.add_bos_token")?.unwrap_or(false);
        let end = [known("tokenizer.ggml.eos_token_id")?, known("tokenizer.ggml.eot_token_id")?];
        Ok(Tokenizer {
            bytes,
            single: std::array::from_fn(|byte| ids.get(&*char_of(byte as u8).to_string()).copied()),
            merges,
            special,
            words: Regex::new(WORDS)?,
            begin: begin.filter(|_| wants_begin),
            end: end.into_iter().flatten().collect(),
        })
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of a token; a character may be spread over several tokens.
    pub fn bytes(&self, token: u32) -> Result<&[u8]> {
        let Some(bytes) = self.bytes.get(token as usize) else {
            bail!("token {token} is none of the {}", self.bytes.len());
        };
        Ok(bytes)
    }

    /// The tokens of a text in which special tokens are treated as plain text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        for word in self.words(text) {
            self.encode_word(&text.as_bytes()[word], &mut tokens);
        }
        tokens
    }

    /// The tokens of a prompt, in which `<|im_start|>` and similar texts are special tokens.
    pub fn encode_with_special(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut rest = text;
        loop {
            // The first special token; of several at one position, the longest.
            let found =
                self.special.iter().filter_map(|(text, token)| Some((rest.find(&**text)?, text, token)));
            let Some((at, text, &token)) = found.min_by_key(|&(at, text, _)| (at, Reverse(text.len())))
            else {
                tokens.extend(self.encode(rest));
                return tokens;
            };
            tokens.extend(self.encode(&rest[..at]));
            tokens.push(token);
            rest = &rest[at + text.len()..];
        }
    }

    /// Splits a text into words. A digit is always a separate word. The last character of white space before a word goes with that word:
    /// the pattern takes a space there, and leaves any other character separate.
    fn words(&self, text: &str) -> Vec<Range<usize>> {
        let mut words = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let digit = text[start..].chars().next().filter(|char| char.is_numeric());
            let end = match digit {
                Some(digit) => start + digit.len_utf8(),
                None => text[start..].find(char::is_numeric).map_or(text.len(), |at| start + at),
            };
            let mut at = start;
            while let Some(found) = self.words.find_at(&text[..end], at) {
                // Characters that match no word become words too.
                if found.start() > at {
                    words.push(at..found.start());
                }
                let last = found.as_str().char_indices().next_back().map_or(0, |(last, _)| last);
                let is_space = found.as_str().chars().all(char::is_whitespace);
                let len = if is_space && last > 0 && found.end() < end { last } else { found.len() };
                words.push(found.start()..found.start() + len);
                at = found.start() + len;
            }
            if at < end {
                words.push(at..end);
            }
            start = end;
        }
        words
    }

    /// Merges neighbours until no pair can be merged: first the pair that comes first in the vocabulary, and of equal pairs the leftmost.
    /// Bytes without a token are dropped, as in llama.cpp.
    fn encode_word(&self, word: &[u8], tokens: &mut Vec<u32>) {
        let mut symbols: Vec<Option<u32>> = word.iter().map(|&byte| self.single[usize::from(byte)]).collect();
        let mut next: Vec<usize> = (1..=symbols.len()).collect();
        let mut previous: Vec<Option<usize>> = (0..symbols.len()).map(|at| at.checked_sub(1)).collect();
        let mut queue = BinaryHeap::new();
        let merge_at = |left: usize, symbols: &[Option<u32>], next: &[usize]| {
            let right = *next.get(left)?;
            let pair = (symbols[left]?, (*symbols.get(right)?)?);
            let &(rank, merged) = self.merges.get(&pair)?;
            Some(Reverse((rank, left, pair, merged)))
        };
        queue.extend((0..symbols.len()).filter_map(|left| merge_at(left, &symbols, &next)));
        while let Some(merge) = queue.pop() {
            // The neighbours may already have been merged with others.
            let Reverse((_, left, _, merged)) = merge;
            if merge_at(left, &symbols, &next) != Some(merge) {
                continue;
            }
            let right = next[left];
            symbols[left] = Some(merged);
            symbols[right] = None;
            next[left] = next[right];
            if let Some(after) = previous.get_mut(next[right]) {
                *after = Some(left);
            }
            let neighbours = [Some(left), previous[left]].into_iter().flatten();
            queue.extend(neighbours.filter_map(|at| merge_at(at, &symbols, &next)));
        }
        tokens.extend(symbols.into_iter().flatten());
    }
}

/// The character that represents a byte in the vocabulary: the byte itself if it is visible, otherwise one from U+0100 on.
fn char_of(byte: u8) -> char {
    let is_visible = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if is_visible(byte) {
        return byte.into();
    }
    let before = (0..byte).filter(|&byte| !is_visible(byte)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

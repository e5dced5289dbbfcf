//! [`Vocabulary`]: the tokens of a model, and what is known of them.

use alloc::format;
use core::fmt;

use crate::gguf::{ArrayIterAs, ArrayRef, Metadata, ValueRef};
use crate::{Error, ParseProblem, Result};

/// A model's tokens by their ids, with their scores and types, and the pairs that merge, as its metadata has them. Nothing is copied.
///
/// ```
/// use gguf_codec::Gguf;
/// use gguf_codec::model::{TokenType, Vocabulary};
///
/// let model = Gguf::open("examples/sample.gguf")?;
/// let vocabulary = Vocabulary::of(model.metadata())?;
/// let end = vocabulary.special("eos").unwrap();
/// assert_eq!(vocabulary.token(end), Some(&b"</s>"[..]));
/// assert_eq!(vocabulary.token_type(end), Some(TokenType::Control));
/// assert_eq!(vocabulary.tokens().len(), 64);
/// for score in vocabulary.scores()?.into_iter().flatten() {
///     assert!(score?.is_finite());
/// }
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Vocabulary<'a> {
    metadata: Metadata<'a>,
    tokens: ArrayRef<'a>,
}

/// What kind of token one is, as llama.cpp numbers them in `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenType {
    /// Nothing is known of it.
    Undefined,
    /// Text.
    Normal,
    /// It stands for what no other stands for.
    Unknown,
    /// It means something to the model and is no text, such as the end of a turn.
    Control,
    /// Text that is one token wherever it is found.
    UserDefined,
    /// No text becomes it.
    Unused,
    /// One byte, for text that no other token has.
    Byte,
}

impl TokenType {
    /// The type with this number, if there is one.
    pub fn from_id(id: i32) -> Option<Self> {
        Some(match id {
            0 => TokenType::Undefined,
            1 => TokenType::Normal,
            2 => TokenType::Unknown,
            3 => TokenType::Control,
            4 => TokenType::UserDefined,
            5 => TokenType::Unused,
            6 => TokenType::Byte,
            _ => return None,
        })
    }
}

impl<'a> Vocabulary<'a> {
    /// The vocabulary that a model's metadata has.
    ///
    /// # Errors
    /// [`Error::MissingKey`] where it has none, as that of a vision encoder, and [`Error::Parse`] where its tokens are not strings.
    pub fn of(metadata: Metadata<'a>) -> Result<Self> {
        const KEY: &str = "tokenizer.ggml.tokens";
        let tokens: ArrayRef<'a> = metadata.require(KEY)?;
        if !tokens.is_empty() && !matches!(tokens.get(0), Some(ValueRef::String(_))) {
            let message = format!("key '{KEY}' is an array of {}, not of strings", tokens.element_type());
            return Err(Error::Parse { problem: ParseProblem::Value { message } });
        }
        Ok(Vocabulary { metadata, tokens })
    }

    /// How many tokens there are: ids are below this.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens in the order of their ids, as bytes: they need not be UTF-8.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.tokens.iter().map(bytes)
    }

    /// The token with an id. Those before it are passed over: for all of them there is [`tokens`](Self::tokens).
    pub fn token(&self, id: u32) -> Option<&'a [u8]> {
        self.tokens.get(usize::try_from(id).ok()?).map(bytes)
    }

    /// The scores of the tokens, in the order of their ids, where there are any: SentencePiece has them.
    ///
    /// # Errors
    /// As [`Metadata::optional_array`].
    pub fn scores(&self) -> Result<Option<ArrayIterAs<'a, f32>>> {
        self.metadata.optional_array("tokenizer.ggml.scores")
    }

    /// The kind of a token, where that is told and known.
    pub fn token_type(&self, id: u32) -> Option<TokenType> {
        let types: ArrayRef<'a> = self.metadata.optional("tokenizer.ggml.token_type").ok()??;
        let number: i64 = types.get(usize::try_from(id).ok()?)?.get()?;
        TokenType::from_id(i32::try_from(number).ok()?)
    }

    /// The pairs that merge, the first that do first, each as two tokens with a space between, where there are any: byte-pair encoding has
    /// them.
    ///
    /// # Errors
    /// As [`Metadata::optional_array`].
    pub fn merges(&self) -> Result<Option<ArrayIterAs<'a, &'a str>>> {
        self.metadata.optional_array("tokenizer.ggml.merges")
    }

    /// The id of a token with a purpose: `bos`, `eos`, `eot`, `unknown`, `padding`, `fim_pre` and so on, as in
    /// `tokenizer.ggml.bos_token_id`. `None` where it is not told or beyond the last token.
    pub fn special(&self, name: &str) -> Option<u32> {
        let id: u32 = self.metadata.optional(&format!("tokenizer.ggml.{name}_token_id")).ok()??;
        usize::try_from(id).is_ok_and(|id| id < self.len()).then_some(id)
    }

    /// How messages become text, as a Jinja template, where that is told.
    pub fn chat_template(&self) -> Option<&'a str> {
        self.metadata.optional("tokenizer.chat_template").ok()?
    }
}

impl fmt::Debug for Vocabulary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// An array's elements are all of one type.
fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::String(bytes) => bytes,
        _ => &[],
    }
}

//! [`Vocabulary`]: the tokens of a model and their properties.

use alloc::format;
use core::fmt;

use crate::error::{Error, ParseProblem, Result};
use crate::gguf::ArrayIterAs;
use crate::gguf::metadata::Metadata;
use crate::gguf::value_ref::{ArrayRef, ValueRef};

/// A model's tokens by id, with their scores and types, and the merges, as stored in its metadata. Nothing is copied.
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

/// The kind of a token, by llama.cpp's numbers in `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenType {
    /// The kind is unknown.
    Undefined,
    /// Text.
    Normal,
    /// The token for text that no other token represents.
    Unknown,
    /// A token that has a meaning to the model and is not text, such as the end of a turn.
    Control,
    /// Text that is always one token wherever it occurs.
    UserDefined,
    /// A token that no text is converted to.
    Unused,
    /// One byte, for text that no other token represents.
    Byte,
}

impl TokenType {
    /// Returns the type with this number, if there is one.
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
    /// Returns the vocabulary in a model's metadata.
    ///
    /// # Errors
    /// [`Error::MissingKey`] if it has none, like that of a vision encoder, and [`Error::Parse`] if its tokens are not strings.
    pub fn of(metadata: Metadata<'a>) -> Result<Self> {
        const KEY: &str = "tokenizer.ggml.tokens";
        let tokens: ArrayRef<'a> = metadata.require(KEY)?;
        if !tokens.is_empty() && !matches!(tokens.get(0), Some(ValueRef::String(_))) {
            let message = format!("key '{KEY}' is an array of {}, not of strings", tokens.element_type());
            return Err(Error::Parse { problem: ParseProblem::Value { message } });
        }
        Ok(Vocabulary { metadata, tokens })
    }

    /// Returns the number of tokens. Ids are below this.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns `true` if there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Returns the tokens in the order of their ids, as bytes: they need not be UTF-8.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.tokens.iter().map(bytes)
    }

    /// Returns the token with an id. Takes time linear in the id, so use [`tokens`](Self::tokens) for all of them.
    pub fn token(&self, id: u32) -> Option<&'a [u8]> {
        self.tokens.get(usize::try_from(id).ok()?).map(bytes)
    }

    /// Returns the scores of the tokens, in the order of their ids, if there are any, as in SentencePiece models.
    ///
    /// # Errors
    /// The errors of [`Metadata::optional_array`].
    pub fn scores(&self) -> Result<Option<ArrayIterAs<'a, f32>>> {
        self.metadata.optional_array("tokenizer.ggml.scores")
    }

    /// Returns the kind of a token, if it is specified and known.
    pub fn token_type(&self, id: u32) -> Option<TokenType> {
        let types: ArrayRef<'a> = self.metadata.optional("tokenizer.ggml.token_type").ok()??;
        let number: i64 = types.get(usize::try_from(id).ok()?)?.get()?;
        TokenType::from_id(i32::try_from(number).ok()?)
    }

    /// Returns the merges by descending priority, each as two tokens separated by a space, if there are any, as in byte-pair
    /// encoding.
    ///
    /// # Errors
    /// The errors of [`Metadata::optional_array`].
    pub fn merges(&self) -> Result<Option<ArrayIterAs<'a, &'a str>>> {
        self.metadata.optional_array("tokenizer.ggml.merges")
    }

    /// Returns the id of a token with a special purpose: `bos`, `eos`, `eot`, `unknown`, `padding`, `fim_pre` and so
    /// on, as in `tokenizer.ggml.bos_token_id`. Returns `None` if it is not specified or is past the last token.
    pub fn special(&self, name: &str) -> Option<u32> {
        let id: u32 = self.metadata.optional(&format!("tokenizer.ggml.{name}_token_id")).ok()??;
        usize::try_from(id).is_ok_and(|id| id < self.len()).then_some(id)
    }

    /// Returns the Jinja template that converts messages to text, if there is one.
    pub fn chat_template(&self) -> Option<&'a str> {
        self.metadata.optional("tokenizer.chat_template").ok()?
    }
}

impl fmt::Debug for Vocabulary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The elements of an array are all of one type.
fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::String(bytes) => bytes,
        _ => &[],
    }
}

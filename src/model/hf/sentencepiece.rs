//! `tokenizer.model` of SentencePiece: the pieces of a vocabulary with their scores and kinds.

use prost::Message;

use crate::error::{Error, Result};

/// The part of the file that is read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SentencePiece {
    #[prost(message, repeated, tag = "1")]
    pub(super) pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    pub(super) normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Piece {
    #[prost(string, optional, tag = "1")]
    pub(super) text: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub(super) score: Option<f32>,
    /// As llama.cpp numbers them: it took these numbers over.
    #[prost(int32, optional, tag = "3", default = "1")]
    pub(super) kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    /// 1 Unigram, 2 byte-pair encoding.
    #[prost(int32, optional, tag = "3", default = "1")]
    model: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    pub(super) adds_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    pub(super) removes_spaces: Option<bool>,
}

impl SentencePiece {
    pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let wrong =
            |message: String| Error::Safetensors { file: Some(file.to_owned()), offset: None, message };
        let model = SentencePiece::decode(bytes)
            .map_err(|error| wrong(format!("not a model of SentencePiece: {error}")))?;
        match model.pieces.iter().position(|piece| !(1..=6).contains(&piece.kind())) {
            None if model.pieces.is_empty() => Err(wrong("has no pieces".to_owned())),
            None => Ok(model),
            Some(at) => Err(wrong(format!(
                "piece {at} is of the kind {}, and there are those from 1 to 6",
                model.pieces[at].kind()
            ))),
        }
    }

    /// Whether text is cut by the likeliest pieces, and not by merging.
    pub(super) fn is_unigram(&self) -> bool {
        self.trainer.as_ref().is_none_or(|trainer| trainer.model() == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_scores_and_kinds() {
        // Two pieces, of which the second has no kind; then byte-pair encoding.
        let bytes = b"\x0a\x0b\x0a\x02ab\x15\x00\x00\x80\xbf\x18\x03\x0a\x03\x0a\x01c\x12\x02\x18\x02";
        let model = SentencePiece::parse("tokenizer.model", bytes).unwrap();
        let pieces: Vec<_> =
            model.pieces.iter().map(|piece| (piece.text(), piece.score(), piece.kind())).collect();
        assert_eq!(pieces, [("ab", -1.0, 3), ("c", 0.0, 1)]);
        assert!(!model.is_unigram());
        for (bytes, part) in [
            (&bytes[..5], "'tokenizer.model': not a model of SentencePiece"),
            (&[], "has no pieces"),
            (b"\x0a\x05\x0a\x01a\x18\x07", "piece 0 is of the kind 7"),
        ] {
            let error = SentencePiece::parse("tokenizer.model", bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

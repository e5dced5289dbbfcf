//! Qwen3's rerankers, which say by the chances of two tokens whether a document answers a query: those tokens' rows are a head. Or the
//! head is there already, and may be the difference of the two.

use std::sync::Arc;

use super::families::{Family, labels};
use super::groups::Settled;
use super::import::Import;
use super::json::Node;
use super::planned::{Planned, Source, unfit};
use super::reranker_keys::ANSWERS;
use super::rows::RowOrder;
use crate::error::{Error, Result};
use crate::tensor::Shape;

const HEAD: &str = "cls.output.weight";

impl<'a> Import<'a> {
    /// Whether the model is a decoder that tells classes apart, and the labels of those where they have any.
    pub(super) fn answers(
        &self,
        config: &Node<'_>,
        family: &Family,
        tensors: &mut [Planned<'a>],
    ) -> Result<Option<Option<Vec<String>>>> {
        if family.architecture != "qwen3" {
            return Ok(None);
        }
        let Some(head) = tensors.iter_mut().find(|tensor| tensor.name == HEAD) else {
            return Err(unfit("score.weight", "is missing, which is the head of the model"));
        };
        if head.source.shape().row_count() != 1 {
            return labels(config).map(Some);
        }
        // llama.cpp makes chances of them, which two must be: beside 0, that of the one is what the class says.
        let row = head.source.shape();
        let both = Shape::new(&[row.row_len(), ANSWERS.len() as u64]);
        let both = both.ok_or_else(|| unfit("score.weight", "is no matrix"))?;
        let bytes = usize::try_from(row.row_len()).ok().and_then(|len| len.checked_mul(4));
        let bytes = bytes.ok_or_else(|| unfit("score.weight", "has a row that memory does not hold"))?;
        let zeros = Source::Made(vec![0; bytes], row);
        let score = std::mem::replace(&mut head.source, Source::Made(Vec::new(), row));
        head.source =
            Source::stacked("score.weight", vec![Arc::new(score), Arc::new(zeros)])?.reshaped(both)?;
        Ok(Some(Some(ANSWERS.map(str::to_owned).to_vec())))
    }

    /// Whether the model is one by its name, which is all that tells it from others of its class.
    pub(super) fn is_reranker(&self, family: &Family) -> bool {
        family.architecture == "qwen3"
            && self.id().is_some_and(|id| id.to_lowercase().contains("qwen3-reranker"))
    }

    /// Puts the head in the place of the whole vocabulary's, or before the token embedding that serves as that.
    pub(super) fn add_answers(
        &self,
        config: &Node<'_>,
        family: &Family,
        parts: &[Settled<'a>],
        tensors: &mut Vec<Planned<'a>>,
    ) -> Result<()> {
        let is_tied = config.get("tie_word_embeddings").map_or(Ok(false), |tied| tied.bool())?;
        let (name, place) = match is_tied {
            true => ("model.embed_tokens.weight", "token_embd.weight"),
            false => ("lm_head.weight", "output.weight"),
        };
        let head = parts.iter().find(|part| family.usual_name(&part.name) == name);
        let at = tensors.iter().position(|tensor| tensor.name == place);
        let Some((head, at)) = head.zip(at) else {
            return Err(unfit(name, "is missing, whose rows of 'yes' and 'no' are a reranker's head"));
        };
        let shape = head.source.shape();
        let (row_len, rows) = (shape.row_len(), shape.row_count());
        let shape_of = |rows| Shape::new(&[row_len, rows]).ok_or_else(|| unfit(name, "is no matrix"));
        let row = |answer: &str| -> Result<Arc<Source<'a>>> {
            let first = self.token(answer)?;
            if first >= rows {
                return Err(unfit(
                    name,
                    &format!("has {rows} rows, and the token '{answer}' is number {first}"),
                ));
            }
            let order = RowOrder::Some { group: rows, first, stride: 1, count: 1 };
            head.source.again().some_rows(name, order, false, shape_of(1)?).map(Arc::new)
        };
        let answers = ANSWERS.iter().map(|answer| row(answer)).collect::<Result<Vec<_>>>()?;
        let planned = Planned {
            name: HEAD.to_owned(),
            source: Source::stacked(name, answers)?.reshaped(shape_of(ANSWERS.len() as u64)?)?,
            ty: tensors[at].ty,
            original: None,
            dtype: None,
        };
        match is_tied {
            true => tensors.insert(at, planned),
            false => tensors[at] = planned,
        }
        Ok(())
    }

    fn token(&self, text: &str) -> Result<u64> {
        let vocabulary = self.description.tokenizer.as_ref().map(|tokenizer| tokenizer.root());
        let id = vocabulary.and_then(|root| root.get("model")?.get("vocab")?.get(text)?.value.as_u64());
        id.ok_or_else(|| {
            Error::write(format!(
                "tokenizer.json has no token '{text}', whose row is a part of a reranker's head"
            ))
        })
    }
}

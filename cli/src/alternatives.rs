//! What quantizing a tensor to each type would cost.

use gguf_codec::{Error, GgmlType, QuantError, Result, Tensor};
use serde_json::{Value as Json, json};

use crate::errors;
use crate::json::double;

/// Number of the tensor's values to try, spread evenly: enough to rank the types, and fast even for the slowest type.
const SAMPLE: usize = 64 * 1024;

/// The error of each type to which the tensor's rows can be quantized without importance weights, measured on some of them.
pub(crate) struct Alternatives {
    rows_tried: usize,
    rows: usize,
    by_type: Vec<(GgmlType, QuantError)>,
}

impl Alternatives {
    /// `None` for tensors that are not worth quantizing or cannot be quantized: vectors, integers, NaN and infinity, and rows that are
    /// too long to try.
    pub(crate) fn of(tensor: &Tensor<'_>) -> Result<Option<Self>> {
        let (row_len, rows) = (tensor.row_len(), tensor.row_count());
        if rows < 2 || row_len == 0 || row_len > SAMPLE || tensor.ggml_type().is_integer() {
            return Ok(None);
        }
        let rows_tried = (SAMPLE / row_len).min(rows);
        let indices: Vec<_> =
            (0..rows_tried).map(|i| (i as u128 * rows as u128 / rows_tried as u128) as usize).collect();
        let mut sample = vec![0.0; rows_tried * row_len];
        tensor.dequantize_rows(&indices, &mut sample)?;
        let mut by_type = Vec::new();
        let fits = |ty: &&GgmlType| {
            ty.is_quantized()
                && ty.can_quantize()
                && !ty.needs_importance()
                && row_len.is_multiple_of(ty.block_len())
        };
        for &ty in GgmlType::ALL.iter().filter(fits) {
            match QuantError::of(ty, &sample, row_len, None) {
                Ok(error) => by_type.push((ty, error)),
                Err(Error::NonFinite { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        by_type.sort_by(|(a, _), (b, _)| a.bits_per_weight().total_cmp(&b.bits_per_weight()));
        Ok(Some(Alternatives { rows_tried, rows, by_type }))
    }

    pub(crate) fn text(&self) -> String {
        let cells = |ty: GgmlType| [ty.name().to_owned(), format!("{:.4}", ty.bits_per_weight())];
        let table = errors::table(
            ["quantized to", "bits/weight"],
            self.by_type.iter().map(|&(ty, error)| (cells(ty), error)),
        );
        format!("\nQuantization error, on {} of {} rows\n{table}", self.rows_tried, self.rows)
    }

    pub(crate) fn json(&self) -> Json {
        let figures = |(ty, error): &(GgmlType, QuantError)| {
            json!({ "type": ty.name(), "bits_per_weight": ty.bits_per_weight(), "rmse": double(error.rmse()),
                "max": double(error.max().into()), "snr_db": double(error.snr_db()), "cosine": double(error.cosine()) })
        };
        json!({ "rows_tried": self.rows_tried, "rows": self.rows,
            "by_type": self.by_type.iter().map(figures).collect::<Vec<_>>() })
    }
}

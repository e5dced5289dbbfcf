//! Quantization errors as a table.

use comfy_table::{CellAlignment, Table, presets};
use gguf_codec::QuantError;

/// A row for each error, after the caller's own cells.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = ([String; N], QuantError)>,
) -> String {
    let mut table = Table::new();
    let figures = ["RMSE", "max", "SNR dB", "cosine"];
    table.load_style(presets::NOTHING).set_header(header.into_iter().chain(figures));
    for (cells, error) in rows {
        let figures = [
            format!("{:.3e}", error.rmse()),
            format!("{:.3e}", error.max()),
            format!("{:.2}", error.snr_db()),
            format!("{:.6}", error.cosine()),
        ];
        table.add_row(cells.into_iter().chain(figures));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    // Do not pad to the end of the line.
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

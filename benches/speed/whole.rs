//! The `convert` example on a model of 1 GB, as a process, beside quantizing the same number of values from memory.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use gguf_codec::{GgmlType, Writer, par_quantize};

use crate::data;
use crate::timing::Table;

const ROW: u64 = 4096;
const ROWS: u64 = 4096;
const TENSORS: usize = 30;

/// Where cargo puts the example: beside the folder of this benchmark.
fn example() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.parent()?.join("examples/convert");
    path.exists().then_some(path)
}

pub(crate) fn run() {
    let Some(example) = example() else {
        println!("\nconvert is NOT measured: run `cargo build --release --examples` first");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let values = data::normal((ROW * ROWS) as usize);
    write_model(&input, &values).expect("the model can be written");

    let mut table = Table::new("convert a 1 GB F16 model to Q4_K", &["", "s", "x quantizing"]);
    let mut out = vec![0u8; values.len() / 256 * 144];
    let (mut quantizing, mut converting) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let start = Instant::now();
        for _ in 0..TENSORS {
            par_quantize(GgmlType::Q4_K, &values, ROW as usize, None, &mut out).expect("lengths fit");
        }
        quantizing.push(start.elapsed().as_secs_f64());
        // Replacing the file of the round before would free its pages, which is not converting.
        let _ = std::fs::remove_file(&output);
        let start = Instant::now();
        let status = Command::new(&example).arg(&input).arg(&output).args(["--type", "Q4_K"]).output();
        assert!(status.is_ok_and(|output| output.status.success()), "convert succeeds");
        converting.push(start.elapsed().as_secs_f64());
    }
    quantizing.sort_by(f64::total_cmp);
    converting.sort_by(f64::total_cmp);
    table.row(&["quantize its values, all cores".into(), format!("{:.2}", quantizing[1]), "1.00".into()]);
    let ratio = format!("{:.2}", converting[1] / quantizing[1]);
    table.row(&["convert, whole process".into(), format!("{:.2}", converting[1]), ratio]);
    table.print();
}

fn write_model(path: &std::path::Path, values: &[f32]) -> gguf_codec::Result<()> {
    let mut writer = Writer::create(path)?;
    writer.metadata("general.architecture", "llama")?;
    for tensor in 0..TENSORS {
        writer.tensor(&format!("blk.{tensor}.ffn_up.weight"), &[ROW, ROWS], GgmlType::F16)?;
    }
    let mut data = writer.write_header()?;
    for tensor in 0..TENSORS {
        let mut tensor = data.begin(&format!("blk.{tensor}.ffn_up.weight"))?;
        tensor.write_values(values, None)?;
        tensor.finish()?;
    }
    data.finish()
}

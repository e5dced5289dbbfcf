//! `gguf convert` on a model of 1 GB, as a process, compared with quantizing the same number of values from memory.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gguf_codec::{Codec, GgmlType, Writer};

use crate::data;
use crate::timing::Table;

const ROW: u64 = 4096;
const ROWS: u64 = 4096;
const TENSORS: usize = 30;

/// Where cargo puts the program: next to the folder of this benchmark.
fn program() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.parent()?.join("gguf");
    path.exists().then_some(path)
}

pub(crate) fn run() {
    let Some(program) = program() else {
        println!("\nconvert is NOT measured: run `cargo build --release -p gguf-cli` first");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let values = data::normal((ROW * ROWS) as usize);
    write_model(&input, &values).expect("the model can be written");

    let mut table = Table::new(
        "convert a 1 GB F16 model to Q4_K, medians of three rounds",
        &["", "s", "x quantizing", "peak memory, MB", "with mapped files, MB"],
    );
    let mut out = vec![0u8; values.len() / 256 * 144];
    let (mut quantizing, mut converting, mut peak) = (Vec::new(), Vec::new(), Peak::default());
    for _ in 0..3 {
        let start = Instant::now();
        for _ in 0..TENSORS {
            Codec::new(GgmlType::Q4_K)
                .all_cores(true)
                .quantize(&values, ROW as usize, &mut out)
                .expect("lengths fit");
        }
        quantizing.push(start.elapsed().as_secs_f64());
        // Replacing the file of the previous round would free its pages, which is not part of converting.
        let _ = std::fs::remove_file(&output);
        let start = Instant::now();
        let mut child = Command::new(&program)
            .arg("convert")
            .arg(&input)
            .arg(&output)
            .args(["--type", "Q4_K"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("convert starts");
        let status = loop {
            if let Some(status) = child.try_wait().expect("convert is a child") {
                break status;
            }
            peak.look_at(child.id());
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(status.success(), "convert succeeds");
        converting.push(start.elapsed().as_secs_f64());
    }
    quantizing.sort_by(f64::total_cmp);
    converting.sort_by(f64::total_cmp);
    table.row(&[
        "quantize its values, all cores".into(),
        format!("{:.2}", quantizing[1]),
        "1.00".into(),
        "-".into(),
        "-".into(),
    ]);
    let ratio = format!("{:.2}", converting[1] / quantizing[1]);
    let [own, all] =
        [peak.own, peak.all].map(|most| if most == 0 { "-".into() } else { (most / 1000).to_string() });
    table.row(&["convert, whole process".into(), format!("{:.2}", converting[1]), ratio, own, all]);
    table.print();
}

/// The peak memory of a process, in units of 1000 bytes; 0 if the system does not report it.
#[derive(Default)]
struct Peak {
    /// Its own memory: the largest value that was observed.
    own: u64,
    /// The same including mapped files, whose peak the system records.
    all: u64,
}

impl Peak {
    fn look_at(&mut self, process: u32) {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| {
                line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse::<u64>().ok()
            });
            kib.unwrap_or(0) * 1024 / 1000
        };
        self.own = self.own.max(figure("RssAnon"));
        self.all = self.all.max(figure("VmHWM"));
    }
}

fn write_model(path: &std::path::Path, values: &[f32]) -> gguf_codec::Result<()> {
    let mut writer = Writer::create(path)?;
    writer.set_metadata("general.architecture", "llama")?;
    for tensor in 0..TENSORS {
        writer.declare_tensor(&format!("blk.{tensor}.ffn_up.weight"), &[ROW, ROWS], GgmlType::F16)?;
    }
    let mut data = writer.write_header()?;
    for tensor in 0..TENSORS {
        let mut tensor = data.begin(&format!("blk.{tensor}.ffn_up.weight"))?;
        tensor.write_values(values, None)?;
        tensor.finish()?;
    }
    data.finish()
}

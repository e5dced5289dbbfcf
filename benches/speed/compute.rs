//! Products of quantized weights with activations, compared with ggml's: `vec_dot`, called for each row, and `MUL_MAT` in a graph,
//! both in the plain buffer and in the one that repacks weights.
//!
//! `GGML_CPU_SO` names the library with ggml's kernels for this machine, and `GGML_CPU_AVX2_SO` the one for AVX2 alone, with which
//! this crate's AVX2 code without dot-product instructions is compared.

use std::ffi::{c_int, c_void};
use std::hint::black_box;

use gguf_codec::compute::{Activations, Matrix};
use gguf_codec::{GgmlType, Isa, dequantize};
use libloading::Library;

use super::ROW;
use super::ggml::Ggml;
use super::timing::{Table, measure, measure_processor, rate};

type VecDot = unsafe extern "C" fn(c_int, *mut f32, usize, *const u8, usize, *const u8, usize, c_int);
type FromFloat = unsafe extern "C" fn(*const f32, *mut u8, i64);
type Handle = *mut c_void;

#[repr(C)]
struct Traits {
    from_float: Option<FromFloat>,
    vec_dot: Option<VecDot>,
    vec_dot_type: c_int,
    rows: i64,
}

#[repr(C)]
struct InitParams {
    memory: usize,
    buffer: *mut c_void,
    no_alloc: bool,
}

/// ggml's kernels.
struct Cpu<'a> {
    base: &'a Ggml,
    library: Library,
}

impl<'a> Cpu<'a> {
    fn load(base: &'a Ggml, variable: &str) -> Option<Self> {
        let path = std::env::var_os(variable).filter(|path| !path.is_empty())?;
        // SAFETY: whoever set the variable vouches for the library.
        let library = unsafe { Library::new(path) }.unwrap_or_else(|error| panic!("{variable}: {error}"));
        let cpu = Cpu { base, library };
        let init: unsafe extern "C" fn() = cpu.symbol("ggml_cpu_init");
        // SAFETY: it may be called at any time.
        unsafe { init() };
        Some(cpu)
    }

    fn symbol<T: Copy>(&self, name: &str) -> T {
        // SAFETY: the types above are those of ggml's headers; the library outlives the call.
        *unsafe { self.library.get::<T>(name) }.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn traits(&self, ty: u32) -> &Traits {
        let find: unsafe extern "C" fn(c_int) -> *const Traits = self.symbol("ggml_get_type_traits_cpu");
        // SAFETY: ggml has an entry for each type, which lives as long as the library.
        unsafe { &*find(ty as c_int) }
    }

    /// A job that multiplies rows with one column, by `vec_dot`.
    fn rows<'b>(&self, ty: GgmlType, bytes: &'b [u8], x: &[f32]) -> Option<Box<dyn FnMut() + 'b>> {
        let traits = self.traits(ty.id());
        let dot = traits.vec_dot?;
        let of = GgmlType::try_from(traits.vec_dot_type as u32).ok()?;
        let mut column = vec![0; of.bytes_for(x.len() as u64)? as usize];
        let from_float = self.traits(of.id()).from_float?;
        // SAFETY: it reads the floats and writes their blocks, the length of `column`.
        unsafe { from_float(x.as_ptr(), column.as_mut_ptr(), x.len() as i64) };
        let row_bytes = ty.bytes_for(x.len() as u64)? as usize;
        let len = x.len() as c_int;
        let mut out = vec![0.0; bytes.len() / row_bytes];
        Some(Box::new(move || {
            for (row, out) in bytes.chunks_exact(row_bytes).zip(&mut out) {
                // SAFETY: it reads a row of blocks and a column of theirs, of `len` values each, and writes a float.
                unsafe { dot(len, out, 0, row.as_ptr(), 0, column.as_ptr(), 0, 1) }
            }
            black_box(&out);
        }))
    }

    /// A job that runs a graph of one product.
    fn graph(&self, ty: GgmlType, bytes: &[u8], x: &[f32], row_len: usize, repack: bool) -> Box<dyn FnMut()> {
        let base = self.base;
        let init: unsafe extern "C" fn(InitParams) -> Handle = base.symbol("ggml_init");
        let tensor: unsafe extern "C" fn(Handle, c_int, i64, i64) -> Handle =
            base.symbol("ggml_new_tensor_2d");
        let product: unsafe extern "C" fn(Handle, Handle, Handle) -> Handle = base.symbol("ggml_mul_mat");
        let new_graph: unsafe extern "C" fn(Handle) -> Handle = base.symbol("ggml_new_graph");
        let expand: unsafe extern "C" fn(Handle, Handle) = base.symbol("ggml_build_forward_expand");
        let alloc: unsafe extern "C" fn(Handle, Handle) -> Handle =
            base.symbol("ggml_backend_alloc_ctx_tensors_from_buft");
        let set: unsafe extern "C" fn(Handle, *const c_void, usize, usize) =
            base.symbol("ggml_backend_tensor_set");
        let plain: unsafe extern "C" fn() -> Handle = base.symbol("ggml_backend_cpu_buffer_type");
        let packed: unsafe extern "C" fn() -> Handle =
            self.symbol("_Z35ggml_backend_cpu_repack_buffer_typev");
        let backend: unsafe extern "C" fn() -> Handle = self.symbol("ggml_backend_cpu_init");
        let threads: unsafe extern "C" fn(Handle, c_int) = self.symbol("ggml_backend_cpu_set_n_threads");
        let compute: unsafe extern "C" fn(Handle, Handle) -> c_int =
            base.symbol("ggml_backend_graph_compute");
        let params = || InitParams { memory: 1 << 20, buffer: std::ptr::null_mut(), no_alloc: true };
        let rows = bytes.len() / ty.bytes_for(row_len as u64).expect("a row fits") as usize;
        // SAFETY: the calls are those of ggml's own examples, in their order; sizes are those of the tensors. What is
        // allocated is left to the end of the process.
        unsafe {
            let (weights, others) = (init(params()), init(params()));
            let w = tensor(weights, ty.id() as c_int, row_len as i64, rows as i64);
            alloc(weights, if repack { packed() } else { plain() });
            set(w, bytes.as_ptr().cast(), 0, bytes.len());
            let y = tensor(others, GgmlType::F32.id() as c_int, row_len as i64, (x.len() / row_len) as i64);
            let out = product(others, w, y);
            let graph = new_graph(others);
            expand(graph, out);
            alloc(others, plain());
            set(y, x.as_ptr().cast(), 0, size_of_val(x));
            let backend = backend();
            threads(backend, 1);
            Box::new(move || assert_eq!(compute(backend, graph), 0))
        }
    }
}

/// Formats whose weights ggml can repack on x86-64.
const REPACKED: [GgmlType; 5] =
    [GgmlType::Q4_0, GgmlType::Q4_K, GgmlType::Q2_K, GgmlType::IQ4_NL, GgmlType::MXFP4];

/// Random bytes as blocks whose values have a moderate size.
fn blocks(ty: GgmlType, count: usize) -> Vec<u8> {
    let (mut all, mut state) = (Vec::with_capacity(count * ty.block_bytes()), 1u64);
    let mut values = vec![0.0f32; ty.block_len()];
    let distinct = count.min(4096);
    while all.len() < distinct * ty.block_bytes() {
        let block: Vec<u8> = (0..ty.block_bytes())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        dequantize(ty, &block, &mut values).expect("one block");
        if values.iter().all(|value| value.abs() < 1e4) && values.iter().any(|value| value.abs() > 1e-3) {
            all.extend(block);
        }
    }
    let period = all.len();
    for at in period..count * ty.block_bytes() {
        all.push(all[at - period]);
    }
    all
}

fn activations(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.7).sin() * (1.0 + (i % 13) as f32)).collect()
}

/// On the best instruction set of this machine, compared with ggml's kernels for it.
pub(crate) fn run(ggml: Option<&Ggml>, formats: &[GgmlType]) {
    one_set(ggml, formats, Isa::detect(), "best", "GGML_CPU_SO");
}

/// On AVX2 without dot-product instructions. This needs a separate process, because ggml does not support two libraries in one.
pub(crate) fn run_avx2(ggml: Option<&Ggml>, formats: &[GgmlType]) {
    match Isa::available().into_iter().find(|isa| isa.name() == "avx2") {
        Some(avx2) => one_set(ggml, formats, avx2.without_dot_products(), "avx2", "GGML_CPU_AVX2_SO"),
        None => println!("\nthis machine has no AVX2"),
    }
}

fn one_set(ggml: Option<&Ggml>, formats: &[GgmlType], isa: Isa, name: &str, variable: &str) {
    let cpu = ggml.and_then(|ggml| Cpu::load(ggml, variable));
    if cpu.is_none() {
        println!("\n{variable} is not set: {name} is not compared with ggml");
    }
    one_column(cpu.as_ref(), formats, isa, name, "in cache", 128, 20);
    one_column(cpu.as_ref(), formats, isa, name, "from memory", 14336, 1);
    many_columns(cpu.as_ref(), formats, isa, name);
}

/// Products on all cores, compared with reading on all cores and with one core's product.
pub(crate) fn all_cores(formats: &[GgmlType]) {
    use rayon::prelude::*;

    const ROWS: usize = 28672;
    let threads = rayon::current_num_threads();
    let title = format!("{ROWS} rows of {ROW} on {threads} threads");
    let mut table = Table::new(
        &title,
        &["", "1 column, GB/s", "of reading", "× one thread", "64 columns, GOPS", "× one thread"],
    );
    for &ty in formats {
        let Ok(one) = Activations::new(ty, &activations(ROW), ROW) else { continue };
        let many = Activations::new(ty, &activations(64 * ROW), ROW).expect("whole columns");
        let bytes = blocks(ty, ROWS * ROW / ty.block_len());
        // The copies alternate, so that none stays in the cache from the last time.
        let copies = [bytes.clone(), bytes.clone(), bytes];
        let matrices = copies.each_ref().map(|bytes| Matrix::new(ty, bytes, ROW).expect("whole rows"));
        let mut seconds = Vec::new();
        for x in [&one, &many] {
            let turns: [std::cell::Cell<usize>; 3] = Default::default();
            let next = |job: usize| {
                turns[job].set((turns[job].get() + 1) % 3);
                turns[job].get()
            };
            let [mut a, mut b] = [vec![0.0; x.columns() * ROWS], vec![0.0; x.columns() * ROWS]];
            let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![
                Box::new(|| matrices[next(0)].par_matmul(x, &mut a).expect("lengths fit")),
                Box::new(|| matrices[next(1)].matmul(x, &mut b).expect("lengths fit")),
                Box::new(|| {
                    let bytes = &copies[next(2)];
                    black_box(bytes.par_chunks(1 << 18).map(read_all).reduce(|| 0, |a, b| a ^ b));
                }),
            ];
            seconds.push(measure(&mut jobs, 1));
        }
        table.row(&[
            ty.to_string(),
            format!("{:.0}", rate(copies[0].len(), seconds[0][0])),
            format!("{:.2}", seconds[0][2] / seconds[0][0]),
            format!("{:.1}", seconds[0][1] / seconds[0][0]),
            format!("{:.0}", rate(2 * 64 * ROWS * ROW, seconds[1][0])),
            format!("{:.1}", seconds[1][1] / seconds[1][0]),
        ]);
    }
    table.print();
}

fn one_column(
    cpu: Option<&Cpu<'_>>,
    formats: &[GgmlType],
    isa: Isa,
    name: &str,
    place: &str,
    rows: usize,
    times: usize,
) {
    let title = format!("One column of {ROW}, {rows} rows {place}, {name}, one thread");
    let mut table = Table::new(&title, &["", "Gweights/s", "GB/s", "of reading", "× vec_dot"]);
    let (x, mut product) = (activations(ROW), 1.0);
    let mut compared = 0;
    for &ty in formats {
        let Ok(prepared) = Activations::new_with(isa, ty, &x, ROW) else { continue };
        // From memory: several copies alternate, so that none stays in the cache from the last time.
        let copies = if times == 1 { 4 } else { 1 };
        let bytes = blocks(ty, rows * ROW / ty.block_len());
        let weights: Vec<Vec<u8>> = vec![bytes; copies];
        let mut out = vec![0.0; rows];
        let mut turn = 0;
        let ours = || {
            turn = (turn + 1) % copies;
            let matrix = Matrix::new(ty, &weights[turn], ROW).expect("whole rows");
            matrix.matmul_with(isa, &prepared, &mut out).expect("lengths fit");
            black_box(&out);
        };
        let mut read_turn = 0;
        let read = || {
            read_turn = (read_turn + 1) % copies;
            black_box(read_all(&weights[read_turn]));
        };
        let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![Box::new(ours), Box::new(read)];
        let mut theirs: Vec<_> = match cpu {
            Some(cpu) => weights.iter().filter_map(|weights| cpu.rows(ty, weights, &x)).collect(),
            None => Vec::new(),
        };
        let their_copies = theirs.len();
        if their_copies > 0 {
            let mut turn = 0;
            jobs.push(Box::new(move || {
                turn = (turn + 1) % their_copies;
                theirs[turn]();
            }));
        }
        let seconds = measure_processor(&mut jobs, times);
        let ratio = seconds.get(2).map(|theirs| theirs / seconds[0]);
        if let Some(ratio) = ratio {
            product *= ratio;
            compared += 1;
        }
        table.row(&[
            ty.to_string(),
            format!("{:.1}", rate(rows * ROW, seconds[0])),
            format!("{:.1}", rate(weights[0].len(), seconds[0])),
            format!("{:.2}", seconds[1] / seconds[0]),
            ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    if compared > 0 {
        let mean = f64::powf(product, 1.0 / f64::from(compared));
        table.row(&[
            "geometric mean".into(),
            String::new(),
            String::new(),
            String::new(),
            format!("{mean:.2}"),
        ]);
    }
    table.print();
}

/// Reads all bytes, with the same prefetching as the products.
fn read_all(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 8];
    for (i, line) in bytes.as_chunks::<64>().0.iter().enumerate() {
        #[cfg(target_arch = "x86_64")]
        if let Some(ahead) = bytes.get(64 * i + 8192) {
            // SAFETY: SSE is part of x86-64; asking for bytes reads nothing.
            unsafe {
                core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
                    ahead as *const u8 as *const i8,
                )
            };
        }
        for (sum, number) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
            *sum ^= u64::from_ne_bytes(*number);
        }
    }
    sums.iter().fold(0, |all, sum| all ^ sum)
}

fn many_columns(cpu: Option<&Cpu<'_>>, formats: &[GgmlType], isa: Isa, name: &str) {
    const ROWS: usize = 2048;
    let columns = [2, 4, 8, 64];
    let mut header = vec![String::new()];
    for columns in columns {
        header.extend([format!("{columns} columns, GOPS"), "× ggml".to_owned()]);
    }
    let title = format!(
        "{ROWS} rows of {ROW} by several columns, {name}, one thread, activations' quantizing included"
    );
    let mut table = Table::new(&title, &header.iter().map(String::as_str).collect::<Vec<_>>());
    for &ty in formats {
        if Activations::new_with(isa, ty, &activations(ROW), ROW).is_err() {
            continue;
        }
        let bytes = blocks(ty, ROWS * ROW / ty.block_len());
        let matrix = Matrix::new(ty, &bytes, ROW).expect("whole rows");
        let mut cells = vec![ty.to_string()];
        for columns in columns {
            let x = activations(columns * ROW);
            let mut out = vec![0.0; columns * ROWS];
            let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![Box::new(|| {
                let prepared = Activations::new_with(isa, ty, &x, ROW).expect("whole columns");
                matrix.matmul_with(isa, &prepared, &mut out).expect("lengths fit");
                black_box(&out);
            })];
            if let Some(cpu) = cpu.filter(|cpu| cpu.traits(ty.id()).vec_dot.is_some()) {
                jobs.push(cpu.graph(ty, &bytes, &x, ROW, false));
                if REPACKED.contains(&ty) {
                    jobs.push(cpu.graph(ty, &bytes, &x, ROW, true));
                }
            }
            let seconds = measure_processor(&mut jobs, 1);
            let theirs = seconds[1..].iter().copied().reduce(f64::min);
            cells.push(format!("{:.0}", rate(2 * ROWS * ROW * columns, seconds[0])));
            cells.push(theirs.map_or("–".to_owned(), |theirs| format!("{:.2}", theirs / seconds[0])));
        }
        table.row(&cells);
    }
    table.print();
}

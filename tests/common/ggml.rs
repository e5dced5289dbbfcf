//! ggml's reference library, loaded from the path in `GGML_BASE_SO`. Together with the counting allocator, this is the only unsafe code
//! of the tests.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

use gguf_codec::GgmlType;
use libloading::{Library, Symbol};

/// `size_t ggml_quantize_chunk(type, src, dst, start, nrows, n_per_row, imatrix)` of `ggml.h`.
type QuantizeChunk = unsafe extern "C" fn(c_int, *const f32, *mut c_void, i64, i64, i64, *const f32) -> usize;
/// `void dequantize_row_q4_K(const block_q4_K *, float *, int64_t)` and similar functions of `ggml-quants.h`.
type DequantizeRow = unsafe extern "C" fn(*const c_void, *mut f32, i64);
/// `void quantize_row_q8_K_ref(const float *, block_q8_K *, int64_t)` and similar functions of `ggml-quants.h`.
type QuantizeRow = unsafe extern "C" fn(*const f32, *mut c_void, i64);
/// `struct gguf_init_params` of `gguf.h`.
#[repr(C)]
struct InitParams {
    no_alloc: bool,
    ctx: *mut *mut c_void,
}

/// The loaded library.
pub(crate) struct Ggml(Library);

impl Ggml {
    /// Loads the library. If `GGML_BASE_SO` is not set, prints that `test` was not run.
    pub(crate) fn load(test: &str) -> Option<Self> {
        let path = super::needs("GGML_BASE_SO", test)?;
        // SAFETY: the variable's owner vouches for the library, as for any program they run; ggml's
        // initialisers only set its own state.
        let library = unsafe { Library::new(&path) };
        Some(Ggml(library.unwrap_or_else(|error| panic!("cannot load GGML_BASE_SO={path}: {error}"))))
    }

    /// The bytes that ggml writes for `values`, in rows of `row_len` that are whole blocks of `ty`.
    pub(crate) fn quantize(
        &self,
        ty: GgmlType,
        values: &[f32],
        row_len: usize,
        importance: Option<&[f32]>,
    ) -> Vec<u8> {
        assert!(row_len.is_multiple_of(ty.block_len()) && values.len().is_multiple_of(row_len));
        assert!(importance.is_none_or(|weights| weights.len() == row_len));
        let rows = values.len() / row_len;
        let mut out = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
        // Types of activations, which ggml_quantize_chunk refuses: this does what it does for other types.
        let activations = match ty {
            GgmlType::Q8_1 => Some("quantize_row_q8_1_ref"),
            GgmlType::Q8_K => Some("quantize_row_q8_K_ref"),
            _ => None,
        };
        if let Some(name) = activations {
            let mut aligned = vec![0u64; out.len().div_ceil(8)];
            let function: Symbol<'_, QuantizeRow> = self.symbol(name);
            // SAFETY: ggml reads all of `values` and writes their blocks, the length of `out` and not more than that
            // of `aligned`, at an address aligned for any of its structs.
            unsafe { function(values.as_ptr(), aligned.as_mut_ptr().cast(), values.len() as i64) };
            return bytemuck::cast_slice(&aligned)[..out.len()].to_vec();
        }
        let weights = importance.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let function: Symbol<'_, QuantizeChunk> = self.symbol("ggml_quantize_chunk");
        // SAFETY: ggml reads `rows * row_len` values, which is all of `values`, and `row_len` weights unless
        // the pointer is null; it writes the bytes of `rows * row_len` values, which is the length of `out`.
        let written = unsafe {
            function(
                ty.id() as c_int,
                values.as_ptr(),
                out.as_mut_ptr().cast(),
                0,
                rows as i64,
                row_len as i64,
                weights,
            )
        };
        assert_eq!(written, out.len(), "ggml_quantize_chunk for {ty}");
        out
    }

    /// The values of `blocks`, whole blocks of `ty`.
    pub(crate) fn dequantize(&self, ty: GgmlType, blocks: &[u8]) -> Vec<f32> {
        assert_eq!(blocks.len() % ty.block_bytes(), 0);
        if ty == GgmlType::Q8_1 {
            // ggml has no function for it. Without its sum it is a block of Q8_0.
            let without_sum = |block: &[u8]| [&block[..2], &block[4..]].concat();
            let blocks: Vec<u8> = blocks.chunks(ty.block_bytes()).flat_map(without_sum).collect();
            return self.dequantize(GgmlType::Q8_0, &blocks);
        }
        // ggml's structs contain 16-bit numbers, and a Vec<u8> may have any alignment.
        let mut aligned = vec![0u64; blocks.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut aligned)[..blocks.len()].copy_from_slice(blocks);
        let mut out = vec![0f32; blocks.len() / ty.block_bytes() * ty.block_len()];
        let name = match ty {
            GgmlType::F16 => "ggml_fp16_to_fp32_row".into(),
            GgmlType::BF16 => "ggml_bf16_to_fp32_row".into(),
            // As in dequantize_row_q4_K and dequantize_row_iq4_nl.
            _ => format!("dequantize_row_{}", ty.name().to_lowercase().replace("_k", "_K")),
        };
        let function: Symbol<'_, DequantizeRow> = self.symbol(&name);
        // SAFETY: ggml reads the blocks of `out.len()` values, which is all of `blocks`, at an address aligned
        // for any of its structs, and writes as many values as `out` has.
        unsafe { function(aligned.as_ptr().cast(), out.as_mut_ptr(), out.len() as i64) };
        out
    }

    /// Whether `ggml_validate_row_data` finds no error in `blocks`; it prints any error on standard error.
    pub(crate) fn validate(&self, ty: GgmlType, blocks: &[u8]) -> bool {
        let mut aligned = vec![0u64; blocks.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut aligned)[..blocks.len()].copy_from_slice(blocks);
        let function: Symbol<'_, unsafe extern "C" fn(c_int, *const c_void, usize) -> bool> =
            self.symbol("ggml_validate_row_data");
        // SAFETY: ggml reads as many bytes as it is told, at an address aligned for any of its structs.
        unsafe { function(ty.id() as c_int, aligned.as_ptr().cast(), blocks.len()) }
    }

    /// The numbers of keys and tensors that `gguf_init_from_file` finds; `None` if it refuses the file.
    pub(crate) fn open_header(&self, path: &Path) -> Option<(i64, i64)> {
        let path = CString::new(path.to_str()?).ok()?;
        let init: Symbol<'_, unsafe extern "C" fn(*const c_char, InitParams) -> *mut c_void> =
            self.symbol("gguf_init_from_file");
        let keys: Symbol<'_, unsafe extern "C" fn(*const c_void) -> i64> = self.symbol("gguf_get_n_kv");
        let tensors: Symbol<'_, unsafe extern "C" fn(*const c_void) -> i64> =
            self.symbol("gguf_get_n_tensors");
        let free: Symbol<'_, unsafe extern "C" fn(*mut c_void)> = self.symbol("gguf_free");
        // SAFETY: the path ends in NUL; a null `ctx` asks for the header only. What comes back is null or a
        // context that is ours until it is freed, once, at the end.
        unsafe {
            let context = init(path.as_ptr(), InitParams { no_alloc: true, ctx: std::ptr::null_mut() });
            if context.is_null() {
                return None;
            }
            let counts = (keys(context), tensors(context));
            free(context);
            Some(counts)
        }
    }

    fn symbol<T>(&self, name: &str) -> Symbol<'_, T> {
        // SAFETY: each caller names a function of ggml's C interface with that function's own type, written
        // out above from ggml's headers.
        unsafe { self.0.get(name) }.unwrap_or_else(|error| panic!("GGML_BASE_SO lacks {name}: {error}"))
    }
}

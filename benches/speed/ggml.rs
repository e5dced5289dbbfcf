//! ggml, from the library that `GGML_BASE_SO` names.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

use gguf_codec::GgmlType;
use libloading::Library;

type QuantizeChunk = unsafe extern "C" fn(c_int, *const f32, *mut c_void, i64, i64, i64, *const f32) -> usize;
type QuantizeRow = unsafe extern "C" fn(*const f32, *mut c_void, i64);
type DequantizeRow = unsafe extern "C" fn(*const c_void, *mut f32, i64);
#[repr(C)]
struct InitParams {
    no_alloc: bool,
    ctx: *mut *mut c_void,
}
type InitFromFile = unsafe extern "C" fn(*const c_char, InitParams) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);

pub(crate) struct Ggml(Library);

impl Ggml {
    pub(crate) fn load() -> Option<Self> {
        let path = std::env::var_os("GGML_BASE_SO").filter(|path| !path.is_empty())?;
        // SAFETY: whoever set the variable vouches for the library.
        Some(Ggml(unsafe { Library::new(path) }.expect("GGML_BASE_SO can be loaded")))
    }

    pub(crate) fn symbol<T: Copy>(&self, name: &str) -> T {
        // SAFETY: the types above are those of ggml's headers; the library outlives the call.
        *unsafe { self.0.get::<T>(name) }.expect("ggml exports it")
    }

    pub(crate) fn dequantize(&self, ty: GgmlType, blocks: &[u8], out: &mut [f32]) {
        assert_eq!(blocks.len() / ty.block_bytes() * ty.block_len(), out.len());
        // As in dequantize_row_q4_K and dequantize_row_iq4_nl.
        let name = ty.name().to_lowercase().replace("_k", "_K");
        let function: DequantizeRow = self.symbol(&format!("dequantize_row_{name}"));
        // SAFETY: ggml reads the blocks of `out.len()` values, which is all of `blocks` (a large `Vec<u8>`, aligned as
        // by malloc), and writes `out`.
        unsafe { function(blocks.as_ptr().cast(), out.as_mut_ptr(), out.len() as i64) }
        std::hint::black_box(out);
    }

    pub(crate) fn quantize(
        &self,
        ty: GgmlType,
        x: &[f32],
        row: usize,
        importance: Option<&[f32]>,
        out: &mut [u8],
    ) {
        assert!(x.len().is_multiple_of(row) && importance.is_none_or(|weights| weights.len() == row));
        assert_eq!(x.len() / ty.block_len() * ty.block_bytes(), out.len());
        if let GgmlType::Q8_1 | GgmlType::Q8_K = ty {
            // Activations' types, which ggml_quantize_chunk refuses.
            let name = format!("quantize_row_{}_ref", ty.name().to_lowercase().replace("_k", "_K"));
            let function: QuantizeRow = self.symbol(&name);
            // SAFETY: ggml reads all of `x` and writes its blocks, the length of `out` (a large `Vec<u8>`, aligned as by
            // malloc).
            return unsafe { function(x.as_ptr(), out.as_mut_ptr().cast(), x.len() as i64) };
        }
        let function: QuantizeChunk = self.symbol("ggml_quantize_chunk");
        let (rows, weights) = ((x.len() / row) as i64, importance.map_or(std::ptr::null(), <[f32]>::as_ptr));
        // SAFETY: ggml reads `rows` rows of `x` and a row of weights where they are not null, and writes `out`.
        unsafe {
            function(ty.id() as c_int, x.as_ptr(), out.as_mut_ptr().cast(), 0, rows, row as i64, weights)
        };
    }

    /// Reads a file's header and frees it again.
    pub(crate) fn open(&self, path: &Path) {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path has no NUL");
        let (open, free): (InitFromFile, Free) =
            (self.symbol("gguf_init_from_file"), self.symbol("gguf_free"));
        let params = InitParams { no_alloc: true, ctx: std::ptr::null_mut() };
        // SAFETY: the path ends with NUL; a null `ctx` asks for no tensors; what is opened is freed once.
        unsafe {
            let file = open(path.as_ptr(), params);
            assert!(!file.is_null(), "ggml opens the file");
            free(file);
        }
    }
}

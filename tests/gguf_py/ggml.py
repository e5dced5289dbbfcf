"""ggml's reference library through ctypes: the few functions that the test programs call."""

import ctypes
from ctypes import POINTER, c_bool, c_char_p, c_int, c_int64, c_size_t, c_void_p
from enum import IntEnum

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType


class _InitParams(ctypes.Structure):
    """struct gguf_init_params of gguf.h."""

    _fields_ = [("no_alloc", c_bool), ("ctx", POINTER(c_void_p))]


# gguf-py does not know it yet.
Q2_0 = IntEnum("LaterType", {"Q2_0": 42}).Q2_0

# gguf-py counts the two numbers of Q8_1 as four bytes each.
SIZES = GGML_QUANT_SIZES | {GGMLQuantizationType.Q8_1: (32, 36), Q2_0: (64, 18)}

# Activations' types, which ggml_quantize_chunk refuses.
ACTIVATIONS = {
    GGMLQuantizationType.Q8_1: "quantize_row_q8_1_ref",
    GGMLQuantizationType.Q8_K: "quantize_row_q8_K_ref",
}


class Ggml:
    """The library at `path`, usually $GGML_BASE_SO."""

    def __init__(self, path):
        self.lib = ctypes.CDLL(path)

        def declare(name, result, *arguments):
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments

        declare("ggml_quantize_chunk", c_size_t, c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p)
        declare("gguf_init_from_file", c_void_p, c_char_p, _InitParams)
        declare("gguf_free", None, c_void_p)
        declare("gguf_get_n_kv", c_int64, c_void_p)
        declare("gguf_get_n_tensors", c_int64, c_void_p)
        for name in ["ggml_fp16_to_fp32_row", "ggml_bf16_to_fp32_row"]:
            declare(name, None, c_void_p, c_void_p, c_int64)

    def quantize(self, ty, values, importance=None):
        """The bytes of `values`, a float32 matrix, each row weighted by `importance`; a row of bytes for each."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        rows, row_len = values.shape
        block_len, block_bytes = SIZES[ty]
        out = np.zeros((rows, row_len // block_len * block_bytes), dtype=np.uint8)
        if ty in ACTIVATIONS:
            function = getattr(self.lib, ACTIVATIONS[ty])
            function.argtypes, function.restype = [c_void_p, c_void_p, c_int64], None
            function(values.ctypes.data, out.ctypes.data, values.size)
            return out
        weights = None
        if importance is not None:
            assert importance.dtype == np.float32 and importance.shape == (row_len,)
            weights = importance.ctypes.data
        written = self.lib.ggml_quantize_chunk(
            int(ty), values.ctypes.data, out.ctypes.data, 0, rows, row_len, weights)
        assert written == out.nbytes, f"{ty.name}: {written} bytes written, {out.nbytes} expected"
        return out

    def dequantize(self, ty, data):
        """The float32 values of `data`, bytes that hold whole blocks."""
        data = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
        block_len, block_bytes = SIZES[ty]
        if ty == GGMLQuantizationType.Q8_1:
            # ggml has no function for it. Without its sum it is a block of Q8_0.
            without_sum = np.delete(data.reshape(-1, block_bytes), [2, 3], axis=1)
            return self.dequantize(GGMLQuantizationType.Q8_0, without_sum)
        out = np.zeros(data.size // block_bytes * block_len, dtype=np.float32)
        name = {
            GGMLQuantizationType.F16: "ggml_fp16_to_fp32_row",
            GGMLQuantizationType.BF16: "ggml_bf16_to_fp32_row",
        }.get(ty) or "dequantize_row_" + ty.name.lower().replace("_k", "_K")
        function = getattr(self.lib, name)
        function.argtypes, function.restype = [c_void_p, c_void_p, c_int64], None
        function(data.ctypes.data, out.ctypes.data, out.size)
        return out

    def header(self, path):
        """How many keys and tensors ggml finds in a file; None when it refuses the file."""
        context = self.lib.gguf_init_from_file(str(path).encode(), _InitParams(True, None))
        if not context:
            return None
        try:
            return self.lib.gguf_get_n_kv(context), self.lib.gguf_get_n_tensors(context)
        finally:
            self.lib.gguf_free(context)

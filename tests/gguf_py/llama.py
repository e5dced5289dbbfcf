"""libllama through ctypes: loading models and quantizing them."""

import ctypes
import pathlib
import resource
import time
from ctypes import POINTER, c_bool, c_char, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_uint8, c_void_p

from gguf import GGMLQuantizationType


class Opaque(ctypes.Structure):
    """A struct of parameters, whatever its version has in it: no larger than this, and passed on the stack as it came."""

    _fields_ = [("bytes", c_uint8 * 1024)]


class QuantizeParams(ctypes.Structure):
    """llama.h's `llama_model_quantize_params`."""

    _fields_ = [
        ("nthread", c_int32),
        ("ftype", c_int32),
        ("output_tensor_type", c_int32),
        ("token_embedding_type", c_int32),
        ("allow_requantize", c_bool),
        ("quantize_output_tensor", c_bool),
        ("only_copy", c_bool),
        ("pure", c_bool),
        ("keep_split", c_bool),
        ("dry_run", c_bool),
        ("imatrix", c_void_p),
        ("kv_overrides", c_void_p),
        ("tensor_types", c_void_p),
        ("prune_layers", c_void_p),
    ]


class Importance(ctypes.Structure):
    """llama.h's `llama_model_imatrix_data`."""

    _fields_ = [("name", c_char_p), ("data", POINTER(c_float)), ("size", c_size_t)]


class TensorType(ctypes.Structure):
    """llama.h's `llama_model_tensor_override`."""

    _fields_ = [("pattern", c_char_p), ("type", c_int)]


class KeyValue(ctypes.Structure):
    """llama.h's `llama_model_kv_override`, of a number or a text."""

    _fields_ = [("tag", c_int), ("key", c_char * 128), ("number", c_int64), ("rest", c_char * 120)]

    @classmethod
    def of(cls, key, value):
        if isinstance(value, int):
            return cls(0, key.encode(), value)
        made = cls(3, key.encode())
        text = value.encode()
        assert len(text) < 128, "llama.cpp has no room for a longer path"
        ctypes.memmove(ctypes.addressof(made) + cls.number.offset, text, len(text))
        return made


def ended(structs):
    """A C array, with an empty element at its end."""
    return (type(structs[0]) * (len(structs) + 1))(*structs)


# Kept for the life of the process, because the library outlives the object that opened it.
SILENT = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)(lambda *_: None)


class Llama:
    """The library in a folder, with those that it takes."""

    def __init__(self, folder, silent=True):
        folder = pathlib.Path(folder)
        # A dot must follow the name: `libggml-base.so` is not libggml.
        find = lambda name: sorted(folder.glob(f"{name}.*so*"))[0]
        load = lambda name: ctypes.CDLL(str(find(name)), mode=ctypes.RTLD_GLOBAL)
        self.base, ggml, self.lib = map(load, ("libggml-base", "libggml", "libllama"))
        ggml.ggml_backend_load_all_from_path(str(folder).encode())
        for name, result, takes in [
            ("llama_model_default_params", Opaque, []),
            ("llama_model_load_from_file", c_void_p, [c_char_p, Opaque]),
            ("llama_model_n_params", c_uint64, [c_void_p]),
            ("llama_model_size", c_uint64, [c_void_p]),
            ("llama_model_free", None, [c_void_p]),
            ("llama_model_get_vocab", c_void_p, [c_void_p]),
            ("llama_model_quantize_default_params", QuantizeParams, []),
        ]:
            getattr(self.lib, name).restype, getattr(self.lib, name).argtypes = result, takes
        if silent:
            self.lib.llama_log_set(SILENT, None)
        self.lib.llama_backend_init()

    def make_grids(self):
        """Makes the tables that the IQ1 to IQ3 quantizers search, seconds of work, so that forks of this process need not."""
        for name in ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M"):
            self.base.ggml_quantize_init(c_int(GGMLQuantizationType[name].value))

    def open(self, path):
        """A model that the caller frees, or None where it is refused."""
        return self.lib.llama_model_load_from_file(str(path).encode(), self.lib.llama_model_default_params())

    def load(self, path):
        """Parameters and bytes of a model, or None where it is refused."""
        model = self.open(path)
        if not model:
            return None
        size = (self.lib.llama_model_n_params(model), self.lib.llama_model_size(model))
        self.lib.llama_model_free(model)
        return size

    def tokenize(self, model, text, special=True):
        """The ids of a text whose special tokens are read as such, between those that the model adds or without them."""
        text = text.encode()
        ids = (c_int * (len(text) + 16))()
        vocabulary = c_void_p(self.lib.llama_model_get_vocab(c_void_p(model)))
        count = self.lib.llama_tokenize(vocabulary, text, len(text), ids, len(ids), c_bool(special), c_bool(True))
        return list(ids[:count])

    def quantize_params(self):
        """The defaults, which show whether the struct is the library's."""
        params = self.lib.llama_model_quantize_default_params()
        found = {name: getattr(params, name) for name, _ in QuantizeParams._fields_}
        wanted = dict.fromkeys(found) | dict(
            nthread=0, ftype=7, allow_requantize=False, quantize_output_tensor=True, only_copy=False, pure=False,
            keep_split=False, dry_run=False, output_tensor_type=found["token_embedding_type"],
            token_embedding_type=found["token_embedding_type"],
        )  # fmt: skip
        assert found == wanted and params.token_embedding_type > max(GGMLQuantizationType), f"other parameters: {found}"
        return params

    def quantize(self, source, target, ftype, threads, weights=None, keys=None, tensor_types=(), **settings):
        """Quantizes a file: the exit code, and the seconds of the clock and of all cores together."""
        params = self.quantize_params()
        for name, value in dict(settings, nthread=threads, ftype=ftype).items():
            setattr(params, name, value)
        arrays = []
        if weights is not None:
            pointer = lambda values: values.ctypes.data_as(POINTER(c_float))
            data = [Importance(name.encode(), pointer(values), values.size) for name, values in weights.items()]
            arrays += [ended(data), ended([KeyValue.of(*pair) for pair in keys.items()])]
            params.imatrix, params.kv_overrides = map(ctypes.addressof, arrays)
        if tensor_types:
            arrays.append(ended([TensorType(pattern.encode(), ty) for pattern, ty in tensor_types]))
            params.tensor_types = ctypes.addressof(arrays[-1])
        start, before = time.monotonic(), own_cpu()
        code = self.lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
        return code, time.monotonic() - start, own_cpu() - before


def own_cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

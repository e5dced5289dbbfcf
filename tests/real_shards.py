"""Splits a whole model with the `split` example, merges it again, and has other programs read the shards.

    eval "$(.ci/fetch-oracles)"
    cargo build --release --examples
    "$GGUF_PY_PYTHON" tests/real_shards.py --examples target/release/examples --work /var/tmp \\
        [--libllama FOLDER] "$GGUF_CODEC_SMOLLM2"

The merged file must be the model, byte for byte. gguf-py must find the model's tensors in the shards. With the folder of
libllama and its companions, libllama must load the shards as one model, and refuse them where one is missing. Time and
memory are printed, not judged.
"""

import argparse
import ctypes
import filecmp
import glob
import os
import pathlib
import subprocess
import sys
import time

from gguf import GGUFReader


def run(*command):
    """Seconds and peak memory in MB of a command that must succeed."""
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.002)
    if process.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return time.monotonic() - start, peak


def resident(pid):
    """The most that the process has had in memory so far, in MB; 0 when it has just ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0


class Llama:
    """As much of libllama as loading a model takes."""

    class Params(ctypes.Structure):
        # More than llama_model_params has; it is passed as it came.
        _fields_ = [("bytes", ctypes.c_char * 256)]

    def __init__(self, folder):
        first = lambda pattern: sorted(glob.glob(os.path.join(folder, pattern)))[0]
        ctypes.CDLL(first("libggml-base.so*"), ctypes.RTLD_GLOBAL)
        ggml = ctypes.CDLL(first("libggml.*so*"), ctypes.RTLD_GLOBAL)
        ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
        ggml.ggml_backend_load_all_from_path(folder.encode())
        self.lib = ctypes.CDLL(first("libllama.*so*"))
        self.lib.llama_model_default_params.restype = Llama.Params
        self.lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Llama.Params]
        self.lib.llama_model_load_from_file.restype = ctypes.c_void_p
        for name in ("llama_model_n_params", "llama_model_size"):
            getattr(self.lib, name).argtypes = [ctypes.c_void_p]
            getattr(self.lib, name).restype = ctypes.c_uint64
        self.lib.llama_model_free.argtypes = [ctypes.c_void_p]
        self.logger = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        self.lib.llama_log_set(self.logger, None)
        self.lib.llama_backend_init()

    def load(self, path):
        """Parameters and bytes of the model, or None where it is refused."""
        model = self.lib.llama_model_load_from_file(str(path).encode(), self.lib.llama_model_default_params())
        if not model:
            return None
        size = (self.lib.llama_model_n_params(model), self.lib.llama_model_size(model))
        self.lib.llama_model_free(model)
        return size


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--libllama")
    parser.add_argument("model", type=pathlib.Path)
    args = parser.parse_args()
    llama = args.libllama and Llama(args.libllama)
    theirs = {tensor.name: tensor for tensor in GGUFReader(args.model).tensors}
    prefix, merged = args.work / "shards", args.work / "merged.gguf"
    for limit in (["--max-tensors", "60"], ["--max-size", "32M"], ["--max-size", "32M", "--no-tensor-first-split"]):
        split = run(args.examples / "split", args.model, prefix, *limit)
        shards = sorted(args.work.glob("shards-?????-of-?????.gguf"))
        found = [tensor for path in shards for tensor in GGUFReader(path).tensors]
        assert [tensor.name for tensor in found] == list(theirs), "gguf-py finds other tensors"
        for tensor in found:
            other = theirs[tensor.name]
            same = (tensor.tensor_type, list(tensor.shape)) == (other.tensor_type, list(other.shape))
            assert same and tensor.data.tobytes() == other.data.tobytes(), tensor.name
        merge = run(args.examples / "merge", shards[0], merged)
        assert filecmp.cmp(merged, args.model, shallow=False), "the merged file differs"
        loads = ""
        if llama:
            assert llama.load(shards[0]) == llama.load(args.model), "libllama loads another model"
            os.rename(shards[-1], args.work / "aside")
            assert llama.load(shards[0]) is None, "libllama loads what is not whole"
            loads = ", libllama loads them"
        print(
            f"{' '.join(limit)}: {len(shards)} shards{loads}; split {split[0]:.2f} s and {split[1]:.0f} MB, "
            f"merge {merge[0]:.2f} s and {merge[1]:.0f} MB"
        )
        for path in [*shards, merged, args.work / "aside"]:
            path.unlink(missing_ok=True)


main()

"""Converts a whole model with `gguf convert` and checks what comes out with other programs.

    eval "$(.ci/fetch-oracles)"
    cargo build --release -p gguf-cli
    "$GGUF_PY_PYTHON" tests/real_model.py --gguf target/release/gguf --work /var/tmp "$GGUF_CODEC_SMOLLM2"

For each type: ggml opens the file; gguf-py reads every key as it was in the source; each converted tensor has
the bytes that ggml makes of the source's values; and the values that this crate decodes (`convert --type F32`
of the result) are those that gguf-py decodes, bit for bit. Time and memory are printed, not judged.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from gguf import GGML_QUANT_SIZES, GGUFReader, GGMLQuantizationType as Type
from gguf.quants import dequantize

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "gguf_py"))
from ggml import Ggml  # noqa: E402
from measured import run_measured  # noqa: E402

# general.file_type for a model whose matrices all have one type (llama.h's `llama_ftype`); _S for Q4_K,
# because _M means a mixture. Without Q1_0 and Q2_0, whose values gguf-py cannot decode.
FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q8_0": 7,
    "Q2_K": 10,
    "Q3_K": 11,
    "Q4_K": 14,
    "Q5_K": 16,
    "Q6_K": 18,
    "IQ3_XXS": 23,
    "IQ4_NL": 25,
    "IQ3_S": 26,
    "IQ2_S": 28,
    "IQ4_XS": 30,
    "IQ1_M": 31,
    "BF16": 32,
    "TQ1_0": 36,
    "TQ2_0": 37,
    "MXFP4": 38,
    "NVFP4": 39,
}
QUANTIZATION_VERSION = 2


class Model:
    """A file as gguf-py reads it."""

    def __init__(self, path):
        reader = GGUFReader(path)
        # The bytes of key, type and value as stored in the file.
        self.fields = {
            name: b"".join(part.tobytes() for part in field.parts)
            for name, field in reader.fields.items()
            if not name.startswith("GGUF.")
        }
        self.numbers = {
            name: field.contents()
            for name, field in reader.fields.items()
            if name in ("general.file_type", "general.quantization_version")
        }
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def values(self, name):
        """A tensor's float32 values as a matrix of rows."""
        tensor = self.tensors[name]
        values = dequantize(tensor.data, tensor.tensor_type)
        return np.ascontiguousarray(values, dtype=np.float32).reshape(-1, values.shape[-1])


def raw(tensor):
    return np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8)


def is_converted(tensor, ty):
    """The rule of `convert`: matrices whose rows are whole blocks."""
    return len(tensor.shape) >= 2 and int(tensor.shape[0]) % GGML_QUANT_SIZES[ty][0] == 0


class Check:
    """One conversion of one model."""

    def __init__(self, ggml, source, ty):
        self.ggml, self.source, self.ty = ggml, source, ty
        self.failures = []

    def expect(self, holds, message):
        if not holds:
            self.failures.append(f"{self.ty.name}: {message}")

    def header(self, path, model):
        found = self.ggml.header(path)
        expected = len(model.fields), len(self.source.tensors)
        self.expect(found == expected, f"ggml finds {found} keys and tensors in {path.name}, not {expected}")

    def fields(self, model):
        changed = {"general.file_type": FILE_TYPES[self.ty.name], "general.quantization_version": QUANTIZATION_VERSION}
        for name, value in changed.items():
            self.expect(model.numbers.get(name) == value, f"{name} is {model.numbers.get(name)}, not {value}")
        wanted = {name: field for name, field in self.source.fields.items() if name not in changed}
        found = {name: field for name, field in model.fields.items() if name not in changed}
        self.expect(list(found) == list(wanted), f"the keys are {list(found)}, not {list(wanted)}")
        for name, field in wanted.items():
            self.expect(found.get(name) == field, f"key {name} has changed")

    def tensor(self, name, model, back):
        """Compares one tensor of the converted file, and of its conversion back to F32."""
        before, after = self.source.tensors[name], model.tensors[name]
        if list(before.shape) != list(after.shape):
            return self.expect(False, f"{name} is {after.shape}, not {before.shape}")
        ty = self.ty if is_converted(before, self.ty) else before.tensor_type
        if after.tensor_type != ty:
            return self.expect(False, f"{name} is {after.tensor_type.name}, not {ty.name}")
        if ty == before.tensor_type:
            wanted = raw(before)
        elif ty == Type.F32:
            wanted = self.source.values(name).reshape(-1).view(np.uint8)
        else:
            wanted = self.ggml.quantize(ty, self.source.values(name)).reshape(-1)
        different = np.flatnonzero(raw(after) != wanted)
        if different.size:
            block = int(different[0]) // GGML_QUANT_SIZES[ty][1]
            self.expect(False, f"{name}: {different.size} bytes are not ggml's, the first in block {block}")
        if back:
            decoded, ours = model.values(name), back.values(name)
            different = np.flatnonzero(decoded.view(np.uint32) != ours.view(np.uint32))
            self.expect(not different.size, f"{name}: {different.size} values are not gguf-py's")

    def tensors(self, model, back):
        names = list(self.source.tensors)
        for other in filter(None, [model, back]):
            if list(other.tensors) != names:
                return self.expect(False, "the tensors' names or order have changed")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda name: self.tensor(name, model, back), names))
        return None


def check(arguments, ggml, source, ty):
    """Converts to `ty` and back, and returns what is wrong with the result."""
    convert = [arguments.gguf, "convert"]
    out, back = arguments.work / f"converted-{ty.name}.gguf", arguments.work / "back-to-F32.gguf"
    this = Check(ggml, source, ty)
    try:
        cost, _ = run_measured([*convert, arguments.model, out, "--force", "--allow-requantize", "--type", ty.name])
        model = Model(out)
        this.header(out, model)
        this.fields(model)
        decoded = None
        if ty != Type.F32:
            run_measured([*convert, out, back, "--force", "--type", "F32"])
            decoded = Model(back)
            this.header(back, decoded)
        this.tensors(model, decoded)
        count = sum(tensor.tensor_type == ty for tensor in model.tensors.values())
        print(f"  {ty.name:<5} {'ok' if not this.failures else 'FAILED':<6} "
              f"{count:>3} of {len(model.tensors)} tensors, {out.stat().st_size / 1e6:7.1f} MB, converted in {cost}",
              flush=True)
    finally:
        for path in (out, back):
            path.unlink(missing_ok=True)
    return this.failures


def open_time(arguments, ggml):
    """How long ggml takes to open the model's header, beside the program given for this crate."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        ggml.header(arguments.model)
        times.append(time.perf_counter() - start)
    print(f"  open: ggml's gguf_init_from_file takes {statistics.median(times) * 1e3:.2f} ms", flush=True)
    if arguments.open_time:
        subprocess.run([arguments.open_time, arguments.model], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--gguf", type=pathlib.Path, required=True, help="the program that was built")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the converted files")
    parser.add_argument("--types", nargs="+", default=list(FILE_TYPES), choices=list(FILE_TYPES), metavar="TYPE")
    parser.add_argument("--open-time", metavar="PROGRAM", help="prints how long this crate takes to open a model")
    arguments = parser.parse_args()
    if not os.environ.get("GGML_BASE_SO"):
        sys.exit("NOT RUN: set GGML_BASE_SO; .ci/fetch-oracles prints what to set")
    ggml, source = Ggml(os.environ["GGML_BASE_SO"]), Model(arguments.model)
    print(f"{arguments.model.name}: {len(source.fields)} keys, {len(source.tensors)} tensors", flush=True)
    open_time(arguments, ggml)
    failures = []
    for name in arguments.types:
        failures += check(arguments, ggml, source, Type[name])
    if failures:
        sys.exit("\n".join([f"{len(failures)} checks failed:", *failures[:40]]))


if __name__ == "__main__":
    main()

"""Quantizes models by every recipe with the `quantize` example and with llama.cpp's own `llama_model_quantize`, and compares
the files byte for byte.

    eval "$(.ci/fetch-oracles)"
    cargo build --release --examples
    "$GGUF_PY_PYTHON" tests/recipes.py --examples target/release/examples --work /var/tmp "$GGUF_CODEC_SMOLLM2"

The models are the one given, as F16, and small ones that reach the rules which it does not: experts, falcon, 80 layers,
heads that share their values, rows that are not whole blocks. With and without an importance matrix. The table at the
end says for each recipe on how many models the files were the same, and on how many llama.cpp refused, and
so did we, but for rows that no type of its fits. Then both
quantize the model given three times in turn; the times are printed, not judged.

`--golden FILE` writes what llama.cpp made of some of the small models: tests/golden/recipes.txt.
"""

import argparse
import ctypes
import filecmp
import itertools
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
from gguf import GGUFReader, GGUFWriter

SEED = 20261124

# Number and name of every recipe (llama.h's `llama_ftype`) but NVFP4, which this llama.cpp only reads.
RECIPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11,
    "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
    "IQ2_XXS": 19, "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25,
    "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28, "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36,
    "TQ2_0": 37, "MXFP4_MOE": 38, "Q1_0": 40, "Q2_0": 41,
}  # fmt: skip

# The model given is large: every kind of rule, and what is quick.
ON_THE_MODEL = ["Q4_K_M", "Q5_K_S", "Q3_K_M", "Q2_K", "Q6_K", "Q4_0"]

# Models of 80 layers have rules of their own in few recipes.
OF_MANY_LAYERS = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_M", "IQ2_XS"]


class Params(ctypes.Structure):
    """llama.h's `llama_model_quantize_params`."""

    _fields_ = [
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int32),
        ("output_tensor_type", ctypes.c_int32),
        ("token_embedding_type", ctypes.c_int32),
        ("allow_requantize", ctypes.c_bool),
        ("quantize_output_tensor", ctypes.c_bool),
        ("only_copy", ctypes.c_bool),
        ("pure", ctypes.c_bool),
        ("keep_split", ctypes.c_bool),
        ("dry_run", ctypes.c_bool),
        ("imatrix", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p),
        ("tensor_types", ctypes.c_void_p),
        ("prune_layers", ctypes.c_void_p),
    ]


class Importance(ctypes.Structure):
    """llama.h's `llama_model_imatrix_data`."""

    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.POINTER(ctypes.c_float)), ("size", ctypes.c_size_t)]


class Number(ctypes.Structure):
    """llama.h's `llama_model_kv_override`, of a number or a text."""

    _fields_ = [("tag", ctypes.c_int), ("key", ctypes.c_char * 128), ("number", ctypes.c_int64), ("rest", ctypes.c_char * 120)]

    @classmethod
    def of(cls, key, value):
        if isinstance(value, int):
            return cls(0, key.encode(), value)
        made = cls(3, key.encode())
        text = value.encode()
        assert len(text) < 128, "llama.cpp has no room for a longer path"
        ctypes.memmove(ctypes.addressof(made) + cls.number.offset, text, len(text))
        return made


def load_llama():
    folder = pathlib.Path(os.environ["LLAMA_SO"]).parent
    for library in ["libggml-base.so", *(path.name for path in folder.glob("libggml.v*.so"))]:
        ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)
    llama = ctypes.CDLL(os.environ["LLAMA_SO"])
    llama.llama_model_quantize_default_params.restype = Params
    llama.llama_backend_init()
    return llama


def reference(llama, source, target, recipe, imatrix, threads):
    """The exit code; prints the seconds."""
    params = llama.llama_model_quantize_default_params()
    params.nthread, params.ftype = threads, RECIPES[recipe]
    if imatrix:
        weights, count, chunks, dataset = read_imatrix(imatrix)
        data = (Importance * (len(weights) + 1))()
        for slot, (name, values) in zip(data, weights.items()):
            slot.name, slot.size = name.encode(), values.size
            slot.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        keys = [
            Number.of("quantize.imatrix.file", imatrix),
            Number.of("quantize.imatrix.dataset", dataset),
            Number.of("quantize.imatrix.entries_count", count),
            Number.of("quantize.imatrix.chunks_count", chunks),
            Number(),
        ]
        keys = (Number * len(keys))(*keys)
        params.imatrix, params.kv_overrides = ctypes.addressof(data), ctypes.addressof(keys)
    start = time.monotonic()
    code = llama.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params))
    print(f"seconds {time.monotonic() - start}", flush=True)
    return code


def in_a_process(work):
    """Exit code and output of a function, in a process of its own, since llama.cpp ends it on some errors."""
    read, write = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        os.dup2(write, 1)
        os.dup2(write, 2)
        os.close(read)
        code = 70
        try:
            code = work()
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(write)
    with os.fdopen(read, errors="replace") as output:
        said = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said


def read_imatrix(path):
    """What llama.cpp's `quantize` makes of a file: the mean squares by tensor."""
    if not path.endswith(".gguf"):
        return read_binary(path)
    reader = GGUFReader(path)
    tensors = {tensor.name: tensor.data.reshape(-1) for tensor in reader.tensors}
    weights = {}
    for name, sums in tensors.items():
        if name.endswith(".in_sum2"):
            name = name.removesuffix(".in_sum2")
            counts = tensors[f"{name}.counts"]
            sums = sums.reshape(counts.size, -1)
            means = sums / np.maximum(counts, 1).reshape(-1, 1)
            weights[name] = np.where(counts.reshape(-1, 1) > 0, means, 1).astype(np.float32).reshape(-1)
    contents = {name: field.contents() for name, field in reader.fields.items() if name.startswith("imatrix.")}
    return weights, len(weights), contents["imatrix.chunk_count"], contents["imatrix.datasets"][0]


def read_binary(path):
    data, at, weights = pathlib.Path(path).read_bytes(), 0, {}

    def number():
        nonlocal at
        at += 4
        return int.from_bytes(data[at - 4 : at], "little", signed=True)

    for _ in range(number()):
        length = number()
        name = data[at : at + length].decode()
        at += length
        calls, count = number(), number()
        weights[name] = (np.frombuffer(data, "<f4", count, at) / np.float32(calls)).astype(np.float32)
        at += 4 * count
    chunks, length = number(), number()
    return weights, len(weights), chunks, data[at : at + length].decode()


def write_imatrix(path, model, rng):
    """An importance matrix for every matrix of a model, in the form that the name asks for. One expert was never asked."""
    matrices = [tensor for tensor in GGUFReader(model).tensors if len(tensor.shape) > 1]
    stacks = [(tensor.name, int(tensor.shape[0]), int(tensor.shape[2]) if len(tensor.shape) > 2 else 1) for tensor in matrices]
    made = {name: rng.gamma(0.5, 40, (count, columns)).astype(np.float32) for name, columns, count in stacks}
    if path.endswith(".gguf"):
        writer = GGUFWriter(path, "imatrix")
        writer.add_type("imatrix")
        writer.add_array("imatrix.datasets", ["made up"])
        writer.add_uint32("imatrix.chunk_count", 3)
        writer.add_uint32("imatrix.chunk_size", 512)
        for name, sums in made.items():
            counts = rng.integers(1, 1500, (len(sums), 1)).astype(np.float32)
            if len(sums) > 1:
                counts[1] = 0
            writer.add_tensor(f"{name}.in_sum2", sums)
            writer.add_tensor(f"{name}.counts", counts)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return
    numbers = lambda *values: np.array(values, "<i4").tobytes()
    with open(path, "wb") as out:
        out.write(numbers(len(made)))
        for name, sums in made.items():
            out.write(numbers(len(name)) + name.encode() + numbers(7, sums.size) + sums.astype("<f4").tobytes())
        out.write(numbers(7, len("made up")) + b"made up")


def make(path, rng, arch, layers, heads, kv_heads, experts=0, tied=False, joined=False, odd=False, shared=False):
    """A model of few rows and many layers."""
    writer = GGUFWriter(path, arch)
    width, ff = 256, 512
    writer.add_context_length(64)
    writer.add_block_count(layers)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(ff)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(8)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)

    def tensor(name, *shape, dtype=np.float16):
        writer.add_tensor(name, rng.normal(0, 0.3, shape).astype(dtype))

    tensor("token_embd.weight", 8, width)
    if not tied:
        tensor("output.weight", 8, width)
    tensor("output_norm.weight", width, dtype=np.float32)
    tensor("position_embd.weight", 4, width)
    for layer in range(layers):
        layer = f"blk.{layer}"
        tensor(f"{layer}.attn_norm.weight", width, dtype=np.float32)
        if joined:
            tensor(f"{layer}.attn_qkv.weight", 6, width)
        else:
            for part in "qkv":
                tensor(f"{layer}.attn_{part}.weight", 4, width)
        tensor(f"{layer}.attn_output.weight", 4, width)
        stack = (experts,) if experts else ()
        suffix = "_exps" if experts else ""
        if experts:
            tensor(f"{layer}.ffn_gate_inp.weight", experts, width)
        tensor(f"{layer}.ffn_gate{suffix}.weight", *stack, 4, width)
        tensor(f"{layer}.ffn_up{suffix}.weight", *stack, 4, width)
        tensor(f"{layer}.ffn_down{suffix}.weight", *stack, 4, ff)
        tensor(f"{layer}.attn_q.bias", 4, dtype=np.float32)
        if shared:
            tensor(f"{layer}.ffn_down_shexp.weight", 4, ff)
            tensor(f"{layer}.ffn_up_shexp.weight", 4, width)
        if odd:
            # Whole blocks of 32, of 64 and of none that has 256 values.
            tensor(f"{layer}.ssm_in.weight", 3, 320)
            tensor(f"{layer}.ssm_conv1d.weight", 3, 320)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


MODELS = {
    "shared experts": dict(arch="llama", layers=24, heads=8, kv_heads=4, experts=4, shared=True),
    "llama, 17 layers": dict(arch="llama", layers=17, heads=8, kv_heads=8),
    "shared values, odd rows": dict(arch="llama", layers=9, heads=8, kv_heads=2, tied=True, odd=True),
    "70B": dict(arch="llama", layers=80, heads=8, kv_heads=4),
    "qwen2, 80 layers": dict(arch="qwen2", layers=80, heads=8, kv_heads=8),
    "olmo, 80 layers": dict(arch="olmo", layers=80, heads=8, kv_heads=8),
    "8 experts": dict(arch="llama", layers=12, heads=8, kv_heads=4, experts=8),
    "4 experts": dict(arch="llama", layers=10, heads=8, kv_heads=4, experts=4, tied=True),
    "falcon": dict(arch="falcon", layers=24, heads=8, kv_heads=1, joined=True),
}


def judged(what, code, said):
    """The seconds, or None where it refused."""
    if code not in (0, 1):
        sys.exit(f"{what}: exit code {code}\n{said[-2000:]}")
    seconds = [line for line in said.splitlines() if line.startswith("seconds ")]
    return None if code == 1 else float(seconds[-1].split()[1])


def difference(ours, theirs):
    """Where two files differ, in words."""
    a, b = GGUFReader(ours), GGUFReader(theirs)
    if list(a.fields) != list(b.fields):
        return f"keys: {list(a.fields)} and {list(b.fields)}"
    for x, y in zip(a.tensors, b.tensors):
        if (x.name, x.tensor_type) != (y.name, y.tensor_type):
            return f"{x.name} {x.tensor_type.name}, and {y.name} {y.tensor_type.name}"
        if not np.array_equal(x.data, y.data):
            return f"the bytes of {x.name} ({x.tensor_type.name})"
    return "something else than the tensors"


# Models whose types are kept as golden ones: M and T lines say what they are, R lines what a recipe made of them.
GOLDEN = ["shared values, odd rows", "8 experts", "falcon", "shared experts"]


def described(path):
    reader = GGUFReader(path)
    arch = reader.fields["general.architecture"].contents()
    keys = ["block_count", "attention.head_count", "attention.head_count_kv", "expert_count"]
    fields = [reader.fields.get(f"{arch}.{key}") for key in keys]
    yield " ".join(["M", arch, *(str(field.contents() if field else 0) for field in fields)])
    for tensor in reader.tensors:
        yield " ".join(["T", tensor.name, tensor.tensor_type.name, *map(str, tensor.shape)])


def types_in_runs(path):
    types = [tensor.tensor_type.name for tensor in GGUFReader(path).tensors]
    return " ".join(f"{name}*{sum(1 for _ in run)}" for name, run in itertools.groupby(types))


class Both:
    """The two programs, and where they write."""

    def __init__(self, examples, work, threads):
        self.quantize, self.work, self.threads = str(examples / "quantize"), work, threads
        self.llama = load_llama()
        self.ours, self.theirs = str(work / "ours.gguf"), str(work / "theirs.gguf")

    def run(self, source, recipe, imatrix):
        command = [self.quantize, source, self.ours, "--recipe", recipe, *(["--imatrix", imatrix] if imatrix else [])]

        def ours():
            start = time.monotonic()
            code = subprocess.run(command, env={**os.environ, "RAYON_NUM_THREADS": str(self.threads)}).returncode
            print(f"seconds {time.monotonic() - start}")
            return code

        theirs = lambda: reference(self.llama, source, self.theirs, recipe, imatrix, self.threads)
        (code, said), (their_code, log) = in_a_process(ours), in_a_process(theirs)
        return judged(" ".join(command), code, said), judged("llama.cpp", their_code, log), said, log

    def compare(self, source, recipe, imatrix):
        ours, theirs, said, log = self.run(source, recipe, imatrix)
        what = f"{pathlib.Path(source).name}, {recipe}{', with importance' if imatrix else ''}"
        if ours is not None and "no tensor type fallback is defined" in log:
            return "refused", None, None  # here such tensors become F16
        if (ours is None) != (theirs is None):
            sys.exit(f"{what}: only one refused\nours: {said}\ntheirs: {log[-1500:]}")
        if ours is None:
            return "refused", None, None
        if not filecmp.cmp(self.ours, self.theirs, shallow=False):
            sys.exit(f"{what}: {difference(self.ours, self.theirs)} differ")
        return "same", ours, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--all", action="store_true", help="every recipe on the model given")
    parser.add_argument("--golden", type=pathlib.Path)
    parser.add_argument("--small", action="store_true", help="only the models that --golden writes of")
    parser.add_argument("model")
    args = parser.parse_args()
    both = Both(args.examples, args.work, args.threads)
    rng = np.random.default_rng(SEED)
    print(f"seed {SEED}, {args.threads} threads")

    large = str(args.work / "large.gguf")
    subprocess.run([args.examples / "convert", args.model, large, "--type", "F16"], check=True, stdout=subprocess.DEVNULL)
    sources = {"the model given": large}
    for index, (name, settings) in enumerate(MODELS.items()):
        sources[name] = str(args.work / f"small{index}.gguf")
        make(sources[name], rng, **settings)
    imatrices = {}
    for index, (name, path) in enumerate(sources.items()):
        # Both forms, in turn; the binary one has no counts for experts that nobody asked.
        imatrices[name] = str(args.work / f"imatrix{index}.{'dat' if index % 2 else 'gguf'}")
        write_imatrix(imatrices[name], path, rng)

    print(f"\n{'recipe':10} {'same':>5} {'refused':>8}  with importance: {'same':>5} {'refused':>8}  tensors of the model given, s: ours, llama.cpp")
    total, golden = 0, {name: list(described(sources[name])) for name in GOLDEN}
    for recipe in RECIPES:
        counts, times = {False: [0, 0], True: [0, 0]}, ""
        for name, source in sources.items():
            if args.small and name not in GOLDEN:
                continue
            if MODELS.get(name, {}).get("layers") == 80 and recipe not in OF_MANY_LAYERS:
                continue
            if name == "the model given" and not args.all and recipe not in ON_THE_MODEL:
                continue
            for imatrix in (None, imatrices[name]):
                verdict, ours, theirs = both.compare(source, recipe, imatrix)
                counts[bool(imatrix)][verdict == "refused"] += 1
                # gguf-py does not know Q1_0 and Q2_0.
                if name in golden and verdict == "same" and recipe not in ("Q1_0", "Q2_0"):
                    golden[name].append(f"R {recipe} {'+' if imatrix else '-'} {types_in_runs(both.theirs)}")
                if source == large and ours is not None:
                    tensors = GGUFReader(both.ours).tensors
                    types = {tensor.tensor_type for tensor in tensors}
                    times += f"  {len(tensors)} of {len(types)} types {ours:.2f} {theirs:.2f}"
        total += sum(map(sum, counts.values()))
        sys.stdout.flush()
        print(f"{recipe:10} {counts[False][0]:5} {counts[False][1]:8}  {'':16} {counts[True][0]:5} {counts[True][1]:8}{times}")
    print(f"{total} runs of each program; no file differed in a byte.")

    if args.golden:
        args.golden.write_text("".join(f"{line}\n" for lines in golden.values() for line in lines))

    if args.small:
        return
    print(f"\nQ4_K_M of the model given, {args.threads} threads, medians of three in turn:")
    for what, imatrix in (("without importance", None), ("with importance", imatrices["the model given"])):
        pairs = [both.run(large, "Q4_K_M", imatrix)[:2] for _ in range(3)]
        ours, theirs = (statistics.median(column) for column in zip(*pairs))
        print(f"  {what}: {ours:.2f} s, llama.cpp {theirs:.2f} s: {theirs / ours:.1f} times as fast")


if __name__ == "__main__":
    main()

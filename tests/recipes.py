"""Quantizes models by every recipe with the `quantize` example and with llama.cpp's own `llama_model_quantize`, and compares
the files byte for byte.

    eval "$(.ci/fetch-oracles)"
    cargo build --release -p gguf-cli
    "$GGUF_PY_PYTHON" tests/recipes.py --gguf target/release/gguf --work /var/tmp "$GGUF_CODEC_SMOLLM2"

The models are the one given, as F16, and small ones that reach the rules which it does not: experts, falcon, 80 layers,
heads that share their values, rows that are not whole blocks. With and without an importance matrix. The first table
says for each recipe on how many models the files were the same, and on how many llama.cpp refused, and so did we, but for
rows that no type of its fits; the second says the same of the settings, and of inputs that are quantized already, sharded
or in other types. With `--times`, both then quantize the model given three times in turn; the times are printed, not judged.

`--golden FILE` writes what llama.cpp made of some of the small models: tests/golden/recipes.txt. `--quick FILE` tries each recipe, setting
and input on some of the models only, others for each, and that FILE says of these what llama.cpp made.
"""

import argparse
import filecmp
import itertools
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
from gguf import GGMLQuantizationType as Type, GGUFReader, GGUFWriter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "gguf_py"))
from llama import Llama  # noqa: E402

SEED = 20261124

# Number and name of every recipe (llama.h's `llama_ftype`) except NVFP4, which this llama.cpp only reads.
RECIPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11,
    "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
    "IQ2_XXS": 19, "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25,
    "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28, "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36,
    "TQ2_0": 37, "MXFP4_MOE": 38, "Q1_0": 40, "Q2_0": 41,
}  # fmt: skip

# The given model is large: two mixtures and the fast recipes. `--all` tries every recipe on it.
ON_THE_MODEL = ["Q4_K_M", "Q3_K_M", "Q4_0"]

# Few recipes have separate rules for models of 80 layers.
OF_MANY_LAYERS = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_M", "IQ2_XS"]

# Settings of `gguf quantize`, and llama.cpp's equivalents. Of patterns that match a name, the first counts.
# Each matches something in every model, because ours must match: vectors are unchanged in both.
BY_NAME = [(r"ffn_(up|gate)", Type.Q8_0), (r"^blk\.[0-3]\.attn_([vk]|norm)\.", Type.F16), ("ffn", Type.Q2_K), (r"attn_norm|embd", Type.Q5_1)]
NAMED = [word for pattern, ty in BY_NAME for word in ("--tensor-type", f"{pattern}={ty.name}")]
OUTPUT, EMBEDDING = ["--output-tensor-type", "Q8_0"], ["--token-embedding-type", "Q4_0"]
SETTINGS = {
    "pure": (["--pure"], dict(pure=True)),
    "output left": (["--leave-output-tensor"], dict(quantize_output_tensor=False)),
    "output Q8_0": (OUTPUT, dict(output_tensor_type=Type.Q8_0)),
    "embedding Q4_0": (EMBEDDING, dict(token_embedding_type=Type.Q4_0)),
    "types by name": (NAMED, dict(tensor_types=BY_NAME)),
    "pure, by name": (["--pure", *NAMED], dict(pure=True, tensor_types=BY_NAME)),
    "all of these": (
        ["--pure", "--leave-output-tensor", *OUTPUT, *EMBEDDING, *NAMED],
        dict(pure=True, quantize_output_tensor=False, output_tensor_type=Type.Q8_0, token_embedding_type=Type.Q4_0,
             tensor_types=BY_NAME),
    ),
}  # fmt: skip
PLAIN = ([], {})
AGAIN = (["--allow-requantize"], dict(allow_requantize=True))

# Recipes that combine settings and rules: a mixture, one that requires importance, one for experts, one that quantizes nothing.
WITH_SETTINGS = ["Q4_K_M", "IQ2_M", "MXFP4_MOE", "F16"]
OF_OTHER_INPUTS = ["Q4_K_M", "IQ4_XS", "Q8_0", "F16"]
# A model whose embedding is its output, and two models with separate ones.
MODELS_WITH_SETTINGS = ["shared values, odd rows", "8 experts", "falcon"]


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
        if odd and layer == "blk.1":
            # A name that does not end in `weight`, and a matrix of one row.
            tensor("abcde", 3, width)
            tensor("abcdef", 3, width)
            tensor("one.weight", 1, width)
        if odd:
            # Whole blocks of 32, of 64, and of no type that has 256 values.
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
    """Whether it did it; any other end than that or a refusal ends the program."""
    if code not in (0, 1):
        sys.exit(f"{what}: exit code {code}\n{said[-2000:]}")
    return code == 0


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


# Models whose types are saved as golden data: M and T lines describe a model, R lines the result of a recipe.
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

    def __init__(self, gguf, work, threads):
        self.gguf, self.work, self.threads = gguf, work, threads
        self.llama = Llama(pathlib.Path(os.environ["LLAMA_SO"]).parent, silent=False)
        self.llama.make_grids()
        self.ours, self.theirs = str(work / "ours.gguf"), str(work / "theirs.gguf")

    def tool(self, name, *arguments):
        """Runs another example, which must succeed."""
        subprocess.run([self.gguf, name.replace("_", "-"), *arguments, "--force"], check=True, stdout=subprocess.DEVNULL)

    def run(self, source, recipe, imatrix, settings=PLAIN):
        """For each of the two its seconds, of the clock and of all cores, or None where it refused; and what they said."""
        options, params = settings
        command = [self.gguf, "quantize", source, self.ours, "--force", "--recipe", recipe, *options]
        command = [str(part) for part in [*command, *(["--imatrix", imatrix] if imatrix else [])]]
        start, before = time.monotonic(), children_cpu()
        done = subprocess.run(
            command, env={**os.environ, "RAYON_NUM_THREADS": str(self.threads)}, text=True, capture_output=True
        )
        ours = judged(" ".join(command), done.returncode, done.stderr)
        ours = ours and (time.monotonic() - start, children_cpu() - before)

        def theirs():
            weights = {}
            if imatrix:
                weights["weights"], count, chunks, dataset = read_imatrix(imatrix)
                weights["keys"] = {
                    "quantize.imatrix.file": imatrix,
                    "quantize.imatrix.dataset": dataset,
                    "quantize.imatrix.entries_count": count,
                    "quantize.imatrix.chunks_count": chunks,
                }
            code, *seconds = self.llama.quantize(source, self.theirs, RECIPES[recipe], self.threads, **weights, **params)
            print("seconds", *seconds, flush=True)
            return code

        code, log = in_a_process(theirs)
        theirs = judged("llama.cpp", code, log)
        if theirs:
            line = [line for line in log.splitlines() if line.startswith("seconds ")][-1]
            theirs = tuple(float(number) for number in line.split()[1:])
        return ours, theirs, done.stderr, log

    def compare(self, source, recipe, imatrix, settings=PLAIN):
        ours, theirs, said, log = self.run(source, recipe, imatrix, settings)
        what = f"{pathlib.Path(source).name}, {recipe}{', with importance' if imatrix else ''} {' '.join(settings[0])}"
        if ours and "no tensor type fallback is defined" in log:
            return "refused", None, None  # here such tensors become F16
        if bool(ours) != bool(theirs):
            sys.exit(f"{what}: only one refused\nours: {said}\ntheirs: {log[-1500:]}")
        if not ours:
            return "refused", None, None
        if not filecmp.cmp(self.ours, self.theirs, shallow=False):
            sys.exit(f"{what}: {difference(self.ours, self.theirs)} differ")
        return "same", ours, theirs

    def count(self, cases):
        """How many of the cases were the same, and how many were refused."""
        verdicts = [self.compare(*case)[0] for case in cases]
        return verdicts.count("same"), verdicts.count("refused")


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def settings_and_inputs(both, sources, imatrices, given, quick):
    """The second table; how many runs there were. If it must be quick, of three cases one is tried."""
    rows = {}
    for label, settings in SETTINGS.items():
        rows[label] = [
            (sources[name], recipe, imatrix, settings)
            for name in MODELS_WITH_SETTINGS for recipe in WITH_SETTINGS for imatrix in (None, imatrices[name])
        ]  # fmt: skip
    for name in MODELS_WITH_SETTINGS:
        source = pathlib.Path(sources[name])
        for ty in ("F32", "BF16", "Q8_0"):
            both.tool("convert", source, both.work / f"{source.stem}-{ty}.gguf", "--type", ty)
        both.tool("quantize", source, both.work / f"{source.stem}-Q4_K_M.gguf", "--recipe", "Q4_K_M")
        both.tool("split", source, both.work / f"{source.stem}-shard", "--max-tensors", "20")
        both.tool("imatrix", imatrices[name], both.work / f"{source.stem}-imatrix.gguf")

        def add(label, path, imatrix=None, settings=PLAIN):
            rows.setdefault(label, []).extend((str(path), recipe, imatrix, settings) for recipe in OF_OTHER_INPUTS)

        for ty in ("F32", "BF16"):
            add(f"from {ty}", both.work / f"{source.stem}-{ty}.gguf")
        for ty in ("Q8_0", "Q4_K_M"):
            add(f"{ty} again", both.work / f"{source.stem}-{ty}.gguf", None, AGAIN)
            add(f"{ty}, not again", both.work / f"{source.stem}-{ty}.gguf")
        add("from shards", next(both.work.glob(f"{source.stem}-shard-00001-of-*.gguf")))
        add("imatrix, rewritten", source, str(both.work / f"{source.stem}-imatrix.gguf"))
    rows["the model given again"] = [(given, recipe, None, AGAIN) for recipe in ("Q4_K_M", "Q8_0")]
    rows["the model given, by name"] = [(sources["the model given"], "Q4_K_M", None, SETTINGS["types by name"])]
    print(f"\n{'settings or input':26} {'same':>5} {'refused':>8}")
    for row, (label, cases) in enumerate(rows.items()):
        if quick and len(cases) > 3:
            rows[label] = cases = cases[row % 3 :: 3]
        same, refused = both.count(cases)
        print(f"{label:26} {same:5} {refused:8}", flush=True)
    return sum(map(len, rows.values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=pathlib.Path, required=True, help="the program that was built")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--all", action="store_true", help="every recipe on the model given")
    parser.add_argument("--times", action="store_true", help="time both programs on the model given")
    parser.add_argument("--golden", type=pathlib.Path)
    parser.add_argument("--quick", type=pathlib.Path, metavar="FILE", help="fewer models, whose types this file has")
    parser.add_argument("--small", action="store_true", help="only the models that --golden writes of")
    parser.add_argument("model")
    args = parser.parse_args()
    both = Both(args.gguf, args.work, args.threads)
    rng = np.random.default_rng(SEED)
    print(f"seed {SEED}, {args.threads} threads")

    large = str(args.work / "large.gguf")
    both.tool("convert", args.model, large, "--type", "F16")
    sources = {"the model given": large}
    for index, (name, settings) in enumerate(MODELS.items()):
        sources[name] = str(args.work / f"small{index}.gguf")
        make(sources[name], rng, **settings)
    imatrices = {}
    for index, (name, path) in enumerate(sources.items()):
        # Both forms, alternating; the binary one has no counts for experts that were never chosen.
        imatrices[name] = str(args.work / f"imatrix{index}.{'dat' if index % 2 else 'gguf'}")
        write_imatrix(imatrices[name], path, rng)

    print(f"\n{'recipe':10} {'same':>5} {'refused':>8}  with importance: {'same':>5} {'refused':>8}  tensors of the model given, s: ours, llama.cpp")
    total, golden = 0, {name: list(described(sources[name])) for name in GOLDEN}
    for number, recipe in enumerate(RECIPES):
        counts, times = {False: [0, 0], True: [0, 0]}, ""
        for index, (name, source) in enumerate(sources.items()):
            if args.small and name not in GOLDEN:
                continue
            of_many = MODELS.get(name, {}).get("layers") == 80
            if of_many and recipe not in OF_MANY_LAYERS:
                continue
            if name == "the model given" and not args.all and recipe not in ON_THE_MODEL:
                continue
            for imatrix in (None, imatrices[name]):
                # With importance or without, in turn.
                if args.quick and not of_many and (number + index + bool(imatrix)) % 2:
                    continue
                verdict, ours, theirs = both.compare(source, recipe, imatrix)
                counts[bool(imatrix)][verdict == "refused"] += 1
                # gguf-py does not know Q1_0 and Q2_0.
                if name in golden and verdict == "same" and recipe not in ("Q1_0", "Q2_0"):
                    golden[name].append(f"R {recipe} {'+' if imatrix else '-'} {types_in_runs(both.theirs)}")
                if source == large and ours is not None:
                    tensors = GGUFReader(both.ours).tensors
                    types = {tensor.tensor_type for tensor in tensors}
                    times += f"  {len(tensors)} of {len(types)} types {ours[0]:.2f} {theirs[0]:.2f}"
        total += sum(map(sum, counts.values()))
        sys.stdout.flush()
        print(f"{recipe:10} {counts[False][0]:5} {counts[False][1]:8}  {'':16} {counts[True][0]:5} {counts[True][1]:8}{times}")
    if args.golden:
        args.golden.write_text("".join(f"{line}\n" for lines in golden.values() for line in lines))
    if args.quick:
        known = set(args.quick.read_text().splitlines())
        if new := [line for lines in golden.values() for line in lines if line not in known]:
            sys.exit(f"{args.quick} does not have\n" + "\n".join(new))
    if not args.small:
        total += settings_and_inputs(both, sources, imatrices, args.model, args.quick)
    print(f"{total} runs of each program; no file differed in a byte.")

    if not args.times:
        return
    print(f"\nQ4_K_M of the model given, {args.threads} threads, medians of three in turn:")
    for what, imatrix in (("without importance", None), ("with importance", imatrices["the model given"])):
        pairs = [both.run(large, "Q4_K_M", imatrix)[:2] for _ in range(3)]
        for kind, clock in enumerate(("by the clock", "of all cores")):
            ours, theirs = (statistics.median(run[kind] for run in column) for column in zip(*pairs))
            print(f"  {what}, {clock}: {ours:.2f} s, llama.cpp {theirs:.2f} s: {theirs / ours:.1f} times as fast")


if __name__ == "__main__":
    main()

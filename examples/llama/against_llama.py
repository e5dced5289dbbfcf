"""Compares examples/llama with llama.cpp's own library: tokens of texts, a greedy answer, perplexity, importance matrix.

    eval "$(.ci/fetch-oracles)"
    cargo build --release --manifest-path examples/llama/Cargo.toml
    "$GGUF_PY_PYTHON" examples/llama/against_llama.py examples/llama/target/release/llama README.md

llama.cpp rounds activations to eight bits where weights are quantized, and that alone decides some answers of so small a
model. So it is given the same weights as F32, and keeps keys and values as F32: what `--exact` must equal.
"""

import argparse
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int, c_int32, c_int64, c_int8, c_size_t, c_uint32, c_void_p

import numpy as np
from gguf import GGUFReader

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "gguf_py"))
from llama import Llama, Opaque  # noqa: E402

WINDOW = 512
QUESTIONS = ["What is the capital of France?", "Count from 1 to 12.", "Write a function in Python that reverses a list."]
CHAT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
MUL_MAT = "MUL_MAT"


class Batch(ctypes.Structure):
    """llama.h's `llama_batch`."""

    _fields_ = [
        ("n_tokens", c_int32), ("token", POINTER(c_int32)), ("embd", c_void_p), ("pos", c_void_p),
        ("n_seq_id", c_void_p), ("seq_id", c_void_p), ("logits", POINTER(c_int8)),
    ]  # fmt: skip


class Tensor(ctypes.Structure):
    """ggml.h's `ggml_tensor`, as far as its data."""

    _fields_ = [
        ("type", c_int), ("buffer", c_void_p), ("ne", c_int64 * 4), ("nb", c_size_t * 4), ("op", c_int),
        ("op_params", c_int32 * 16), ("flags", c_int32), ("src", c_void_p * 10), ("view_src", c_void_p),
        ("view_offs", c_size_t), ("data", c_void_p),
    ]  # fmt: skip


CALLBACK = ctypes.CFUNCTYPE(c_bool, POINTER(Tensor), c_bool, c_void_p)


class Engine(Llama):
    """llama.cpp, with a model and a context."""

    def __init__(self, folder, model, threads):
        super().__init__(folder)
        for name, result, takes in [
            ("llama_context_default_params", Opaque, []),
            ("llama_init_from_model", c_void_p, [c_void_p, Opaque]),
            ("llama_model_get_vocab", c_void_p, [c_void_p]),
            ("llama_vocab_n_tokens", c_int32, [c_void_p]),
            ("llama_vocab_is_eog", c_bool, [c_void_p, c_int32]),
            ("llama_tokenize", c_int32, [c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool]),
            ("llama_decode", c_int32, [c_void_p, Batch]),
            ("llama_get_logits", POINTER(c_float), [c_void_p]),
            ("llama_get_memory", c_void_p, [c_void_p]),
            ("llama_memory_clear", None, [c_void_p, c_bool]),
        ]:
            getattr(self.lib, name).restype, getattr(self.lib, name).argtypes = result, takes
        self.base.ggml_get_name.restype, self.base.ggml_get_name.argtypes = c_char_p, [c_void_p]
        self.base.ggml_op_name.restype, self.base.ggml_op_name.argtypes = c_char_p, [c_int]
        self.model = self.open(model)
        assert self.model, f"llama.cpp refuses {model}"
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.n_tokens = self.lib.llama_vocab_n_tokens(self.vocab)
        self.collect = None
        self.callback = CALLBACK(self.seen)

        params = self.lib.llama_context_default_params()
        at = lambda kind, offset: kind.from_buffer(params, offset)
        words = [at(c_int32, 4 * i).value for i in range(48)]
        # The defaults show the offsets: the numbers of threads are a pair of 4 after the batch sizes, and the types of keys and
        # values, F16, are a pair of 1 after two empty pointers.
        pair = next(i for i in range(3, 8) if words[i : i + 2] == [4, 4])
        types = next(i for i in range(16, 40) if words[i - 4 : i + 2] == [0, 0, 0, 0, 1, 1])
        assert words[1:3] == [2048, 512], f"other parameters: {words}"
        for index, value in [(0, 4096), (1, 512), (2, 512), (pair, threads), (pair + 1, threads)]:
            at(c_uint32, 4 * index).value = value
        # No flash attention, and F32.
        for index in (types - 13, types, types + 1):
            at(c_int32, 4 * index).value = 0
        at(c_void_p, 4 * (types - 4)).value = ctypes.cast(self.callback, c_void_p).value
        self.context = self.lib.llama_init_from_model(self.model, params)
        assert self.context, "llama.cpp makes no context"

    def seen(self, tensor, asks, _):
        """Before (`asks`) and after a tensor is computed."""
        if self.collect is None:
            return not asks
        tensor = tensor.contents
        if self.base.ggml_op_name(tensor.op).decode() != MUL_MAT:
            return not asks
        name = self.base.ggml_get_name(tensor.src[0]).decode()
        if not re.match(r"blk\..*\.weight$", name):
            return not asks
        if not asks:
            x = Tensor.from_address(tensor.src[1])
            columns, count = x.ne[0], x.ne[1]
            assert x.type == 0 and x.nb[0] == 4 and x.nb[1] == 4 * columns, name
            values = np.ctypeslib.as_array(ctypes.cast(x.data, POINTER(c_float)), (count, columns))
            sums, total = self.collect.get(name, (np.zeros(columns), 0))
            self.collect[name] = (sums + (values.astype(np.float64) ** 2).sum(0), total + count)
        return True

    def tokenize(self, text, special):
        data = text.encode()
        room = (c_int32 * (len(data) + 8))()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), room, len(room), True, special)
        assert count >= 0
        return list(room[:count])

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def decode(self, tokens, all_logits=False):
        flags = [int(all_logits)] * (len(tokens) - 1) + [1]
        arrays = (c_int32 * len(tokens))(*tokens), (c_int8 * len(tokens))(*flags)
        code = self.lib.llama_decode(self.context, Batch(len(tokens), arrays[0], None, None, None, None, arrays[1]))
        assert code == 0, f"llama_decode: {code}"
        logits = self.lib.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, (sum(flags), self.n_tokens)).copy()

    def answer(self, prompt, most):
        self.clear()
        start = time.monotonic()
        logits, answer, margin = self.decode(prompt), [], np.inf
        middle = time.monotonic()
        while len(answer) < most:
            answer.append(int(logits[-1].argmax()))
            two = np.sort(logits[-1])[-2:]
            margin = min(margin, two[1] - two[0])
            if self.lib.llama_vocab_is_eog(self.vocab, answer[-1]):
                break
            logits = self.decode(answer[-1:])
        return answer, margin, len(prompt) / (middle - start), len(answer) / (time.monotonic() - middle)


def perplexity(engine, windows):
    terms = []
    for window in windows:
        engine.clear()
        logits = engine.decode(window, True).astype(np.float64)[WINDOW // 2 : -1]
        logits -= logits.max(1, keepdims=True)
        expected = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        terms += [-row[token] for row, token in zip(expected, window[WINDOW // 2 + 1 :])]
    return float(np.exp(np.mean(terms)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--windows", type=int, default=3)
    options = parser.parse_args()
    model = os.environ["GGUF_CODEC_SMOLLM2"]
    folder = pathlib.Path(os.environ["LLAMA_SO"]).parent
    with tempfile.TemporaryDirectory() as work:
        floats = f"{work}/f32.gguf"
        code, *_ = Llama(folder).quantize(model, floats, 0, options.threads, allow_requantize=True)
        assert code == 0, "llama.cpp makes no F32 of it"
        compare(options, model, Engine(folder, floats, options.threads))


def compare(options, model, engine):
    failures = []

    def check(what, good):
        print(f"{'ok' if good else 'WRONG'}: {what}", flush=True)
        failures.extend([] if good else [what])

    def run(*arguments):
        command = [options.program, model, "--threads", str(options.threads), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    def ours(question, *arguments):
        out, err = run("--prompt", question, "--tokens", options.tokens, "--show-tokens", *arguments)
        lists = [list(map(int, re.search(rf"^{what}: \[(.*)\]$", out, re.M)[1].split(", "))) for what in ("prompt", "answer")]
        return *lists, " ".join(err.split("\n"))

    for question in QUESTIONS:
        tokens = engine.tokenize(CHAT.format(question), True)
        theirs, margin, *speeds = engine.answer(tokens, options.tokens)
        for arguments in (["--exact"], []):
            prompt, answer, speed = ours(question, *arguments)
            check(f"prompt of {len(tokens)} tokens", prompt == tokens)
            same = next((i for i, (a, b) in enumerate(zip(answer, theirs)) if a != b), min(len(answer), len(theirs)))
            what = f"{question!r} {arguments}: {same} of {len(theirs)} tokens the same, least margin {margin:.4f}; {speed}"
            check(f"{what}(llama.cpp: {speeds[0]:.1f} and {speeds[1]:.1f} a second)", arguments == [] or answer == theirs)

    text = pathlib.Path(options.text).read_text()
    tokens = engine.tokenize(text, False)
    windows = [tokens[at : at + WINDOW] for at in range(0, len(tokens) - WINDOW + 1, WINDOW)][: options.windows]
    reference = perplexity(engine, windows)
    for arguments in (["--exact"], []):
        out, _ = run("--perplexity", options.text, "--windows", options.windows, *arguments)
        value = float(re.search(r"perplexity: ([\d.]+)", out)[1])
        check(f"perplexity {arguments} {value:.4f}, llama.cpp {reference:.4f}", abs(value / reference - 1) < 0.01)

    engine.collect = {}
    for window in windows:
        engine.clear()
        engine.decode(window, True)
    theirs, engine.collect = engine.collect, None
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "imatrix.gguf"
        run("--imatrix", path, options.text, "--windows", options.windows, "--exact")
        found = {tensor.name: np.array(tensor.data).reshape(-1) for tensor in GGUFReader(path).tensors}
        names = {f"{name}{part}" for name in theirs for part in (".in_sum2", ".counts")}
        check(f"{len(names)} tensors of the importance matrix", set(found) == names)
        counts = {float(found[f"{name}.counts"][0]) - count for name, (_, count) in theirs.items()}
        check(f"counts of tokens, differences {counts}", counts == {0.0})
        far = {name: np.abs(found[f"{name}.in_sum2"] - sums).sum() / sums.sum() for name, (sums, _) in theirs.items()}
        worst = max(far, key=far.get)
        check(f"sums of squares: {np.median(list(far.values())):.4f} off at the median, {far[worst]:.4f} at {worst}", far[worst] < 0.05)
        weights = {name: np.ascontiguousarray(found[f"{name}.in_sum2"] / found[f"{name}.counts"], np.float32) for name in theirs}
        keys = {"quantize.imatrix.entries_count": len(weights)}
        code, *_ = engine.quantize(model, f"{folder}/q.gguf", 2, options.threads, weights, keys, allow_requantize=True)
        check("llama.cpp quantizes to Q4_0 with it", code == 0)
    if failures:
        sys.exit(f"{len(failures)} wrong")


if __name__ == "__main__":
    main()

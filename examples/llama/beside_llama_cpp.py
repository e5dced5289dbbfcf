"""Speed of the example engine beside llama.cpp's: the same prompt and the same answer, round by round in turn.

    cargo build --release --manifest-path examples/llama/Cargo.toml
    python3 examples/llama/beside_llama_cpp.py MODEL --engine target/release/llama --llama FOLDER

FOLDER has libllama, libggml and libggml-base, and one libggml-cpu for each kind of processor, as `npm pack
@node-llama-cpp/linux-x64@3.22.1` brings them; the library takes the best one. Neither program chooses tokens in the time
that is measured beside llama.cpp's: it is given those that the engine has answered. gguf-py must be importable.
"""

import argparse
import ctypes
import pathlib
import re
import statistics
import subprocess
import sys
import time
from ctypes import c_bool, c_int32, c_uint32, c_void_p

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/gguf_py"))
from llama import Llama, Opaque

QUESTION = "Summarize this text. " + "A traveller came to the old harbour in the evening, and asked for a boat to the island. " * 24


class Batch(ctypes.Structure):
    """llama.h's `llama_batch`."""

    _fields_ = [("n_tokens", c_int32)] + [(name, c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")]


class Context:
    """A model of llama.cpp with a context for so many tokens."""

    def __init__(self, folder, path, tokens, threads):
        self.llama = Llama(folder)
        self.lib = self.llama.lib
        for name, result, takes in [
            ("llama_context_default_params", Opaque, []),
            ("llama_init_from_model", c_void_p, [c_void_p, Opaque]),
            ("llama_get_memory", c_void_p, [c_void_p]),
            ("llama_memory_clear", None, [c_void_p, c_bool]),
            ("llama_decode", c_int32, [c_void_p, Batch]),
            ("llama_n_ctx", c_uint32, [c_void_p]),
            ("llama_n_threads", c_int32, [c_void_p]),
            ("llama_set_n_threads", None, [c_void_p, c_int32, c_int32]),
        ]:
            getattr(self.lib, name).restype, getattr(self.lib, name).argtypes = result, takes
        self.model = self.llama.open(path)
        assert self.model, f"llama.cpp cannot load {path}"
        params = self.lib.llama_context_default_params()
        # n_ctx, n_batch and n_ubatch come first.
        numbers = (c_uint32 * 3).from_buffer(params)
        numbers[0], numbers[1], numbers[2] = tokens, tokens, min(tokens, 512)
        self.context = self.lib.llama_init_from_model(self.model, params)
        assert self.context and self.lib.llama_n_ctx(self.context) >= tokens
        self.lib.llama_set_n_threads(self.context, threads, threads)
        assert self.lib.llama_n_threads(self.context) == threads

    def forget(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def read(self, tokens, start):
        """Seconds that it takes to read these tokens, which stand at `start` and behind it."""
        count = len(tokens)
        ids, places = (c_int32 * count)(*tokens), (c_int32 * count)(*range(start, start + count))
        counts, sequence = (c_int32 * count)(*[1] * count), (c_int32 * 1)(0)
        sequences = (c_void_p * count)(*[ctypes.addressof(sequence)] * count)
        wanted = (ctypes.c_int8 * count)(*[0] * (count - 1) + [1])
        pointers = [ctypes.addressof(array) for array in (ids, places, counts, sequences, wanted)]
        batch = Batch(count, pointers[0], None, *pointers[1:])
        begin = time.monotonic()
        code = self.lib.llama_decode(self.context, batch)
        seconds = time.monotonic() - begin
        assert code == 0, f"llama_decode gives {code}"
        return seconds


def engine(options, threads):
    """Tokens of the prompt and of the answer, and the seconds for each."""
    command = [options.engine, options.model, "--prompt", QUESTION, "--tokens", str(options.tokens), "--threads", str(threads)]
    done = subprocess.run([*command, "--show-tokens"], capture_output=True, text=True, check=True)
    lists = [re.search(rf"^{name}: \[(.*)\]$", done.stdout, re.MULTILINE)[1] for name in ("prompt", "answer")]
    rates = [float(re.search(rf"^{name}: .* s, ([\d.]+) a second", done.stderr, re.MULTILINE)[1]) for name in ("prompt", "answer")]
    return [[int(token) for token in tokens.split(", ")] for tokens in lists], rates


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--llama", required=True, metavar="FOLDER")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print("| threads | | prompt, tokens/s | answer, tokens/s |\n|---|---|---|---|")
    for threads in options.threads:
        (prompt, answer), _ = engine(options, threads)
        context = Context(options.llama, options.model, len(prompt) + len(answer) + 1, threads)
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(engine(options, threads)[1])
            context.forget()
            first = context.read(prompt, 0)
            rest = [context.read([token], len(prompt) + at) for at, token in enumerate(answer)]
            theirs.append([len(prompt) / first, len(answer) / sum(rest)])
        rows = [[statistics.median(column) for column in zip(*rates)] for rates in (ours, theirs)]
        for name, row in zip(("this engine", "llama.cpp"), rows):
            print(f"| {threads} | {name} | {row[0]:.0f} | {row[1]:.1f} |")
        print(f"| {threads} | ratio | {rows[0][0] / rows[1][0]:.2f} | {rows[0][1] / rows[1][1]:.2f} |", flush=True)
        print(f"# {len(prompt)} tokens of prompt, {len(answer)} of answer", file=sys.stderr)


main()

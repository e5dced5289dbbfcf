"""Compares what `gguf inspect` says of a model's memory with what llama.cpp reports when it makes a context.

    eval "$(.ci/fetch-oracles)"
    cargo build --release -p gguf-cli
    "$GGUF_PY_PYTHON" tests/memory_estimate.py --gguf target/release/gguf --work "$(mktemp -d)" "$GGUF_CODEC_SMOLLM2"

The models are those given and small ones of zeros, for every architecture of the table in src/model/memory.rs. Nobody has written
down which tensors these have: llama.cpp says which one it misses, and then which shape it should have. Contexts are of several
lengths, with keys and values in F16 and Q8_0. A model whose context llama.cpp makes and then fails to compute in has been
measured: the cache comes first.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import struct
import subprocess
import sys

import numpy as np
from gguf import GGUFWriter
from ctypes import CFUNCTYPE, c_char_p, c_int, c_void_p

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "gguf_py"))
from llama import Llama, Opaque  # noqa: E402

PLAIN = {
    "vocab_size": 32, "context_length": 8192, "block_count": 8, "embedding_length": 256, "feed_forward_length": 128,
    "attention.head_count": 4, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.layer_norm_epsilon": 1e-5, "rope.dimension_count": 64,
}  # fmt: skip
EXPERTS = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32}
WINDOW = {"attention.sliding_window": 300}
STATE = {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 32, "ssm.time_step_rank": 16, "ssm.group_count": 2}
SOME = [0, 0, 2, 0, 0, 2, 0, 0]
FLAGS = [True, True, False, True, False, True, True, False]
LATENT = {
    **EXPERTS, "leading_dense_block_count": 1, "attention.q_lora_rank": 32, "attention.kv_lora_rank": 64,
    "attention.key_length_mla": 128, "attention.value_length_mla": 64, "attention.key_length": 128, "attention.value_length": 64,
    "attention.head_count_kv": 1, "expert_shared_count": 1, "expert_weights_scale": 1.0,
}  # fmt: skip
PARTS = {"rope.dimension_sections": np.array([4, 4, 4, 4], dtype=np.int32)}
LINEAR = {**EXPERTS, **STATE, **PARTS, "expert_shared_feed_forward_length": 32}
RWKV = {
    "wkv.head_size": 64, "attention.head_count": 0, "rescale_every_n_layers": 0, "time_mix_extra_dim": 32,
    "time_decay_extra_dim": 64, **{f"attention.{name}_lora_rank": 32 for name in ("decay", "iclr", "value_residual_mix", "gate")},
}  # fmt: skip

FULL = """llama llama-embed arcee baichuan bitnet bloom chameleon chatglm codeshell cogvlm command-r deci ernie4_5 exaone falcon
gemma glm4 gpt2 gptneox granite hunyuan-dense hunyuan_vl internlm2 jais jais2 maincoder minicpm mistral3 mpt nemotron olmo openelm
orion paddleocr pangu-embedded phi2 phi3 plamo plm qwen qwen2 qwen3 refact seed_oss smollm3 stablelm starcoder starcoder2
xverse""".split()
FULL_EXPERTS = """arctic bailingmoe bailingmoe2 dbrx deepseek deepseek2-ocr dots1 ernie4_5-moe glm4moe granitemoe grok grovemoe hunyuan-moe llama
minimax-m2 olmoe phimoe qwen2moe qwen3moe""".split()

# An architecture, and its keys in addition to the plain ones.
CASES = [
    *((name, {}) for name in FULL),
    *((name, EXPERTS) for name in FULL_EXPERTS),
    *((name, PARTS) for name in ("qwen2vl", "qwen3vl")),
    ("qwen3vlmoe", {**EXPERTS, **PARTS}),
    *((name, WINDOW) for name in ("llama", "qwen2", "mistral3", "phi3", "exaone")),
    ("qwen3", {"attention.key_length": 96, "attention.value_length": 32}),
    ("deci", {"attention.head_count_kv": [2, 1, 2, 4, 2, 1, 1, 1]}),
    *((name, {"nextn_predict_layers": 1}) for name in ("llama", "glm4", "qwen3")),
    *((name, {**EXPERTS, "nextn_predict_layers": 1}) for name in ("glm4moe", "bailingmoe2")),
    *((name, {}) for name in ("dream", "llada", "modern-bert", "neo-bert", "eurobert", "gemma-embedding")),
    ("llada-moe", EXPERTS),
    *((name, keys) for name in ("gemma2", "gemma3", "gemma3n", "cohere2", "olmo2", "plamo3", "exaone4")
      for keys in (WINDOW, {**WINDOW, "attention.sliding_window_pattern": 3}, {**WINDOW, "attention.sliding_window_pattern": FLAGS})),
    *((name, {}) for name in ("gemma2", "gemma3", "olmo2", "plamo3")),
    *((name, {**WINDOW, "block_count": 12}) for name in ("gemma2", "gemma3", "gemma3n", "cohere2", "olmo2")),
    ("gemma3n", {**WINDOW, "block_count": 30}),
    ("exaone4", {**WINDOW, "block_count": 64}),
    *((name, {**EXPERTS, **WINDOW}) for name in ("gpt-oss", "afmoe", "exaone-moe", "llama4", "smallthinker", "mellum")),
    ("llama4", {**EXPERTS, "context_length": 65536}),
    ("exaone-moe", {**EXPERTS, **WINDOW, "nextn_predict_layers": 1}),
    *((name, {**EXPERTS, **WINDOW, "attention.sliding_window_pattern": FLAGS}) for name in ("gpt-oss", "mimo2", "step35")),
    ("gemma4", {**WINDOW, "attention.shared_kv_layers": 3, "attention.sliding_window_pattern": FLAGS,
                "attention.head_count_kv": [2, 2, 1, 2, 1, 2, 2, 1], "attention.key_length": 128, "attention.value_length": 128,
                "attention.key_length_swa": 64, "attention.value_length_swa": 64, "embedding_length_per_layer_input": 8}),
    *((name, LATENT) for name in ("deepseek2", "mistral4", "deepseek2-ocr")),
    ("deepseek2", {**LATENT, "attention.head_count_kv": 4, "attention.key_length_mla": 0, "attention.value_length_mla": 0}),
    ("minicpm3", {**LATENT, "attention.head_count_kv": 4, "attention.key_length_mla": 0, "attention.value_length_mla": 0}),
    ("kimi-linear", {**LATENT, "kda.head_dim": 16, "ssm.conv_kernel": 4, "attention.head_count_kv": [int(n > 0) for n in SOME]}),
    ("mamba", {**STATE, "ssm.group_count": 0}),
    ("mamba2", STATE),
    ("falcon-h1", STATE),
    ("jamba", {**STATE, "ssm.group_count": 0, "attention.head_count_kv": SOME}),
    ("granitehybrid", {**STATE, **EXPERTS, "attention.head_count_kv": SOME}),
    ("nemotron_h", {**STATE, "attention.head_count_kv": SOME, "feed_forward_length": [0, 0, 0, 32, 0, 0, 0, 32]}),
    ("lfm2", {"shortconv.l_cache": 5, "attention.head_count_kv": SOME}),
    ("lfm2moe", {**EXPERTS, "shortconv.l_cache": 5, "attention.head_count_kv": SOME}),
    *((name, keys) for name in ("qwen3next", "qwen35moe") for keys in (LINEAR, {**LINEAR, "full_attention_interval": 2})),
    ("qwen35", {**STATE, **PARTS}),
    ("rwkv7", RWKV),
    ("rwkv6qwen2", {**RWKV, "token_shift_count": 1}),
    ("arwkv7", {**RWKV, "token_shift_count": 1}),
]  # fmt: skip

F16, Q8_0 = 1, 8
SIZE = re.compile(r"(llama_kv_cache|llama_memory_recurrent): size = +[\d.]+ MiB \( *(\d+) cells, +(\d+) layers.*?: +([\d.]+) MiB, \w \(\w+\): +([\d.]+) MiB")


class Judge:
    def __init__(self, folder):
        self.llama = Llama(folder, silent=False)
        self.log = []
        self.keep = CFUNCTYPE(None, c_int, c_char_p, c_void_p)(lambda _, text, __: self.hear(text.decode("utf8", "replace")))
        lib = self.llama.lib
        lib.llama_log_set(self.keep, None)
        lib.llama_context_default_params.restype = Opaque
        lib.llama_init_from_model.restype, lib.llama_init_from_model.argtypes = c_void_p, [c_void_p, Opaque]
        lib.llama_free.argtypes = [c_void_p]
        self.told = None

    def hear(self, text):
        self.log.append(text)
        if self.told:
            os.write(self.told, text.encode())

    def context(self, model, tokens, kind):
        """Makes a context, in which layers with windows keep those alone."""
        params = self.llama.lib.llama_context_default_params()
        # llama.h's `llama_context_params`; the defaults show whether the offsets are right.
        assert struct.unpack_from("<IIII", params.bytes, 0) == (512, 2048, 512, 1), "other parameters"
        assert struct.unpack_from("<ii", params.bytes, 104) == (F16, F16) and bytes(params.bytes[128:134]) == b"\0\1\1\1\1\0"
        struct.pack_into("<I", params.bytes, 0, tokens)
        struct.pack_into("<i", params.bytes, 52, 1)
        struct.pack_into("<ii", params.bytes, 104, kind, kind)
        params.bytes[132] = 0
        context = self.llama.lib.llama_init_from_model(model, params)
        if context:
            self.llama.lib.llama_free(context)
        return bool(context)

    def make(self, path, architecture, keys):
        """A file with the tensors that llama.cpp asks for, and the model of it; or why there is none."""
        made = self.make_layers(path, architecture, keys, alike=True)
        # Some layers lack what others have.
        return made if made[0] else self.make_layers(path, architecture, keys, alike=False)

    def make_layers(self, path, architecture, keys, alike):
        """If they are alike, what two layers have is given to all that follow, without asking for each."""
        keys, tensors = dict(keys), {}
        for _ in range(3000):
            write(path, architecture, keys, tensors)
            self.log.clear()
            model = self.llama.open(path)
            text = "".join(self.log)
            if model:
                return model, None
            if found := re.search(r"tensor '([^']+)' not found|missing tensor '([^']+)'", text):
                name = found[1] or found[2]
                layer = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
                before = layer and tensors.get(f"blk.{int(layer[1]) - 1}.{layer[2]}")
                tensors[name] = before or [1]
                if before and alike:
                    tensors |= {f"blk.{n}.{layer[2]}": before for n in range(int(layer[1]) + 1, keys["block_count"])}
            elif found := re.search(r"tensor '([^']+)' has wrong shape; expected\s+([-\d, ]+), got", text):
                shape = [int(extent) for extent in found[2].replace(" ", "").strip(",").split(",")]
                while len(shape) > 1 and shape[-1] == 1:
                    shape.pop()
                if min(shape) < 1:
                    return None, found[0]
                tensors[found[1]] = shape
            elif found := re.search(r"key not found in model: (\S+)", text):
                keys[found[1].removeprefix(f"{architecture}.")] = 4
            elif found := re.search(r"key (\S+) has wrong type u32 but expected type (f32|bool)", text):
                keys[found[1].removeprefix(f"{architecture}.")] = {"f32": 1.0, "bool": True}[found[2]]
            else:
                return None, text[-400:]
        return None, "no end of tensors"


def write(path, architecture, keys, tensors):
    writer = GGUFWriter(path, architecture)
    for key, value in keys.items():
        key = key if key.startswith("tokenizer.") else f"{architecture}.{key}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_array(key, [int(n) for n in value] if isinstance(value, np.ndarray) else value)
    writer.add_string("tokenizer.ggml.model", "no_vocab")
    length = 0
    for name, shape in tensors.items():
        bytes_ = 4 * int(np.prod(shape))
        writer.add_tensor_info(name, tuple(reversed(shape)), np.dtype(np.float32), bytes_)
        length += -(-bytes_ // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    # Zeros that take no space: some tensors have gigabytes whatever the model's size.
    os.truncate(path, -(-os.path.getsize(path) // 32) * 32 + length)


def in_a_process(function):
    """What a function writes to a descriptor, in a process of its own, since llama.cpp ends it on some errors."""
    read, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            function(told)
        finally:
            os._exit(0)
    os.close(told)
    with os.fdopen(read, errors="replace") as said:
        text = said.read()
    os.waitpid(child, 0)
    return text


def compare(judge, gguf, path, name, tokens, kind):
    def run(told):
        model = judge.llama.open(path)
        judge.told = told
        if judge.context(model, tokens, kind):
            os.write(told, b"\nmade\n")

    text = in_a_process(run)
    found = SIZE.findall(text)
    cache = [float(k) + float(v) for what, *_, k, v in found if what == "llama_kv_cache"]
    state = [float(r) + float(s) for what, *_, r, s in found if what == "llama_memory_recurrent"]
    if not found and not text.endswith("\nmade\n"):
        # Some kinds of attention have no kernel for Q8_0.
        return None if kind == Q8_0 else f"{name}: nothing was measured\n{text[-300:]}"
    kv = {F16: "F16", Q8_0: "Q8_0"}[kind]
    shown = subprocess.run([gguf, "inspect", path, "--json", "--context", str(tokens), "--kv-type", kv], check=True, capture_output=True)
    memory = json.loads(shown.stdout)["memory"]
    if "unknown" in memory:
        return f"{name}: {memory['unknown']}"
    # Each number was rounded separately.
    for what, ours, theirs in (("kv_cache", memory["kv_cache"], cache), ("state", memory["state"], state)):
        if abs(ours / 2**20 - sum(theirs)) > 0.0101 * max(1, len(theirs)):
            return f"{name}, {tokens} tokens, {kv}: {what} is {ours / 2**20:.3f} MiB, and for llama.cpp {theirs}"
    if not found and memory["kv_cache"] + memory["state"]:
        return f"{name}: llama.cpp keeps nothing"
    return None


def share(judge, arguments):
    """Gives a process what it needs for every case."""
    global shared
    shared = judge, arguments


def case_alone(case):
    """What is wrong with the estimates of an architecture, and why llama.cpp does not load a model of it."""
    (judge, arguments), (architecture, keys) = shared, case
    path = str(arguments.work / f"memory-{os.getpid()}.gguf")
    keys = {**PLAIN, **keys}
    said = in_a_process(lambda told: os.write(told, str(judge.make(path, architecture, keys)[1]).encode()))
    wrong, refused = [], []
    if said != "None":
        refused.append(f"{architecture}: {said.strip() or 'ended'}")
    else:
        for tokens, kind in ((1000, F16), (8192, F16), (2048, Q8_0)):
            wrong.append(compare(judge, arguments.gguf, path, architecture, tokens, kind))
    pathlib.Path(path).unlink(missing_ok=True)
    if sys.stdout.isatty() or os.environ.get("VERBOSE"):
        print(architecture, said[:200], *wrong, flush=True)
    return wrong, refused


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--only")
    parser.add_argument("models", nargs="*")
    arguments = parser.parse_args()
    os.environ["GGML_NO_BACKTRACE"] = "1"
    judge = Judge(pathlib.Path(os.environ["LLAMA_SO"]).parent)
    wrong, refused = [], []
    for model in arguments.models:
        for tokens, kind in ((8192, F16), (1000, Q8_0), (40000, Q8_0)):
            wrong.append(compare(judge, arguments.gguf, model, pathlib.Path(model).name, tokens, kind))
    cases = [case for case in CASES if arguments.only in (None, case[0])]
    with multiprocessing.get_context("fork").Pool(initializer=share, initargs=(judge, arguments)) as pool:
        for of_case, why in pool.imap(case_alone, cases, chunksize=1):
            wrong += of_case
            refused += why
    done = len(wrong)
    wrong = [line for line in wrong if line]
    print(f"{done - len(wrong)} of {done} estimates are llama.cpp's figures; {len(refused)} models were not loaded")
    for line in refused + wrong:
        print(f"  {line}")
    sys.exit(bool(wrong or refused))


if __name__ == "__main__":
    main()

"""Takes real models through `from_safetensors` and `to_safetensors`, and checks with other programs what comes out.

    eval "$(.ci/fetch-oracles)"
    cargo build --release -p gguf-cli
    "$GGUF_PY_PYTHON" tests/real_safetensors.py --gguf target/release/gguf --work /var/tmp \\
        --llama "${LLAMA_SO%/*}" "$GGUF_CODEC_MINILM" "$GGUF_CODEC_SMOLLM2"

all-MiniLM-L6-v2 becomes a GGUF: gguf-py reads it, every tensor's values are those that the format's own library reads,
and the keys are those that llama.cpp's converter writes. SmolLM2 becomes safetensors, in a file and in shards: the format's
library reads them, the values are those of the GGUF with the rows of queries and keys as the transformers library wants them,
and from_safetensors makes the same file again. With --llama FOLDER, which has libllama and libggml, llama.cpp embeds a
sentence with the MiniLM, and the result is compared with one computed here from the safetensors file; and tiny made-up models in
many variants are taken through from_safetensors: llama.cpp loads what becomes of those that are whole, and those whose
config.json, tokenizer and tensors do not fit are refused. Time and memory are
printed, not judged.
"""

import argparse
import ctypes
import filecmp
import json
import math
import pathlib
import shutil
import subprocess
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "gguf_py"))
from llama import Llama, Opaque  # noqa: E402
from measured import run_measured  # noqa: E402
import adapters  # noqa: E402
import tokenizers_out  # noqa: E402

BERT_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
LLAMA_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
LEFT_OUT = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
# The keys that convert_hf_to_gguf.py writes for this model, except those from README.md.
MINILM_KEYS = {
    "general.architecture": "bert",
    "general.type": "model",
    "general.name": "MiniLM L6 H384 Uncased",
    "general.size_label": "23M",
    "general.file_type": 1,
    "general.quantization_version": 2,
    "bert.block_count": 6,
    "bert.context_length": 512,
    "bert.embedding_length": 384,
    "bert.feed_forward_length": 1536,
    "bert.attention.head_count": 12,
    "bert.attention.layer_norm_epsilon": float(np.float32(1e-12)),
    "bert.attention.causal": False,
    "bert.pooling_type": 1,
    "tokenizer.ggml.token_type_count": 2,
    "tokenizer.ggml.model": "bert",
    "tokenizer.ggml.pre": "jina-v2-en",
    "tokenizer.ggml.bos_token_id": 101,
    "tokenizer.ggml.eos_token_id": 102,
    "tokenizer.ggml.unknown_token_id": 100,
    "tokenizer.ggml.seperator_token_id": 102,
    "tokenizer.ggml.padding_token_id": 0,
    "tokenizer.ggml.mask_token_id": 103,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.add_eos_token": True,
    "tokenizer.ggml.add_sep_token": False,
    "tokenizer.ggml.normalizer.lowercase": True,
}
SENTENCE = "The quick brown fox jumps over the lazy dog."
# From the tokenizers library.
SENTENCE_TOKENS = [101, 1996, 4248, 2829, 4419, 14523, 2058, 1996, 13971, 3899, 1012, 102]

failures = []


def expect(holds, message):
    if not holds:
        failures.append(message)


def gguf_name(name, names, layer):
    """The name in GGUF: `layer` begins those of layers."""
    stem, end = name.rsplit(".", 1)
    if stem.startswith(layer):
        number, stem = stem[len(layer):].split(".", 1)
        return f"blk.{number}.{names[stem]}.{end}"
    return f"{names[stem]}.{end}"


def values(tensor):
    return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)


def same(a, b):
    return a.shape == b.shape and np.array_equal(a.view(np.uint8), b.view(np.uint8))


def run(program, *arguments):
    cost, _ = run_measured([program, *arguments, "--force"])
    print(f"  {program.name} {' '.join(str(a) for a in arguments[2:])}: {cost}", flush=True)


def run_quietly(program):
    def run(*arguments):
        done = subprocess.run([program, *arguments, "--force"], capture_output=True, text=True)
        expect(done.returncode == 0, f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")

    return run


def minilm(arguments):
    source, out = load_file(arguments.minilm / "model.safetensors"), arguments.work / "minilm.gguf"
    for ty in (None, "F16", "Q8_0"):
        run(arguments.gguf, "from-safetensors", arguments.minilm, out, *(("--type", ty) if ty else ()))
        reader = GGUFReader(out)
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        expect(len(tensors) == len(source) - len(LEFT_OUT), f"{ty}: there are {len(tensors)} tensors")
        for name, wanted in source.items():
            if name in LEFT_OUT:
                continue
            found = tensors.get(gguf_name(name, BERT_NAMES, "encoder.layer."))
            if found is None:
                expect(False, f"{ty}: {name} is missing")
                continue
            if found.tensor_type == GGMLQuantizationType.F16:
                wanted = wanted.astype(np.float16).astype(np.float32)
            if found.tensor_type == GGMLQuantizationType.Q8_0:
                expect(np.abs(values(found) - wanted).max() <= np.abs(wanted).max() / 127, f"{ty}: {name} is far off")
            else:
                expect(same(values(found), wanted), f"{ty}: {name} has other values")
        if ty == "F16":
            keys = {name: field.contents() for name, field in reader.fields.items()}
            for key, wanted in MINILM_KEYS.items():
                expect(keys.get(key) == wanted, f"{key} is {keys.get(key)}, not {wanted}")
            vocabulary = json.loads((arguments.minilm / "tokenizer.json").read_text())["model"]["vocab"]
            tokens = keys["tokenizer.ggml.tokens"]
            plain = {i: t for t, i in vocabulary.items() if i > 103}
            marked = [t[2:] if t.startswith("##") else "\u2581" + t for _, t in sorted(plain.items())]
            expect(tokens[104:] == marked, "the tokens are others")
    run(arguments.gguf, "from-safetensors", arguments.minilm, out, "--type", "F16")
    if arguments.llama:
        embedding(arguments.llama, out, source)
    else:
        print("NOT RUN: give --llama to embed a sentence with llama.cpp", flush=True)
    out.unlink()


def halves(rows, heads):
    """Rows as the transformers library has them: neighbours of llama.cpp's rows are half a head apart."""
    shape = rows.shape
    return rows.reshape(heads, shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(shape)


def smollm2(arguments):
    f16, back = arguments.work / "smollm2-f16.gguf", arguments.work / "back.gguf"
    file, folder = arguments.work / "smollm2.safetensors", arguments.work / "smollm2-shards"
    run(arguments.gguf, "convert", arguments.smollm2, f16, "--type", "F16")
    model = {tensor.name: tensor for tensor in GGUFReader(f16).tensors}

    def check(found, what):
        expect(len(found) == len(model), f"{what}: there are {len(found)} tensors")
        for name, value in found.items():
            its = gguf_name(name, LLAMA_NAMES, "model.layers.")
            wanted = np.asarray(model[its].data)
            if its.endswith("attn_q.weight"):
                wanted = halves(wanted, 9)
            if its.endswith("attn_k.weight"):
                wanted = halves(wanted, 3)
            expect(value.dtype == wanted.dtype and same(value, np.ascontiguousarray(wanted)), f"{what}: {name} has other values")

    for source in (f16, arguments.smollm2):
        run(arguments.gguf, "to-safetensors", source, file)
        check(load_file(file), f"{source.name} as a file")
        run(arguments.gguf, "from-safetensors", file, back)
        expect(filecmp.cmp(f16, back, shallow=False), f"{source.name} does not come back as it was")
    run(arguments.gguf, "to-safetensors", f16, folder, "--max-size", "50M")
    found = {}
    for name, shard in json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"].items():
        with safe_open(folder / shard, "np") as opened:
            found[name] = opened.get_tensor(name)
    check(found, "shards")
    run(arguments.gguf, "from-safetensors", folder, back)
    expect(filecmp.cmp(f16, back, shallow=False), "shards do not come back as they were")
    for path in (*folder.iterdir(), f16, back, file):
        path.unlink()
    folder.rmdir()


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32)] + [
        (name, ctypes.c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")
    ]


def embedding(folder, model, source):
    """llama.cpp's embedding of a sentence beside one that is computed from the safetensors file."""
    library = Llama(folder)
    llama = library.lib
    pointer = ctypes.c_void_p
    llama.llama_context_default_params.restype = Opaque
    for name, takes in [
        ("llama_init_from_model", [pointer, Opaque]),
        ("llama_model_get_vocab", [pointer]),
        ("llama_get_embeddings_seq", [pointer, ctypes.c_int32]),
    ]:
        getattr(llama, name).restype, getattr(llama, name).argtypes = pointer, takes
    llama.llama_set_embeddings.argtypes = [pointer, ctypes.c_bool]
    llama.llama_batch_get_one.restype = Batch
    llama.llama_encode.argtypes = [pointer, Batch]
    loaded = library.open(model)
    if not loaded:
        return expect(False, "llama.cpp cannot load the model")
    context = llama.llama_init_from_model(loaded, llama.llama_context_default_params())
    llama.llama_set_embeddings(context, True)
    tokens = (ctypes.c_int32 * 64)()
    text = SENTENCE.encode()
    count = llama.llama_tokenize(pointer(llama.llama_model_get_vocab(loaded)), text, len(text), tokens, 64,
                                 ctypes.c_bool(True), ctypes.c_bool(True))
    expect(tokens[:count] == SENTENCE_TOKENS, f"llama.cpp's tokens are {tokens[:count]}")
    expect(llama.llama_encode(context, llama.llama_batch_get_one(tokens, count)) == 0, "llama.cpp cannot embed")
    found = llama.llama_get_embeddings_seq(context, 0)
    found = np.ctypeslib.as_array(ctypes.cast(found, ctypes.POINTER(ctypes.c_float)), (384,)).copy()
    wanted = bert(source, SENTENCE_TOKENS)
    cosine = float(found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted))
    print(f"  the embedding by llama.cpp has a cosine of {cosine:.7f} with the reference", flush=True)
    expect(cosine > 0.9999, "llama.cpp's embedding is another")
    return None


def bert(w, tokens):
    """BERT's forward pass and the mean of its outputs."""

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    count, heads = len(tokens), 12
    x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.position_embeddings.weight"][:count]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        q, k, v = (linear(x, f"{at}.attention.self.{part}").reshape(count, heads, -1).swapaxes(0, 1)
                   for part in ("query", "key", "value"))
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(count, -1)
        x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        inner = linear(x, f"{at}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x.mean(0)


WIDTH, INNER, HEADS, KV, ROWS = 64, 128, 4, 2, 261


def tokenizer(tokens):
    """A byte-pair encoding of so many tokens: the bytes, and others behind them."""
    bytes_ = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in bytes_} | {b: chr(256 + n) for n, b in enumerate(sorted({*range(256)} - {*bytes_}))}
    vocab = {letters[b]: b for b in range(256)} | {f"<t{n}>": n for n in range(256, tokens)}
    return {
        "added_tokens": [{"id": n, "content": f"<t{n}>", "special": True} for n in range(256, tokens)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "post_processor": None,
        "model": {"type": "BPE", "byte_fallback": False, "vocab": vocab, "merges": []},
    }


def wordpiece():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(ROWS - 5))]
    return {
        "added_tokens": [{"id": n, "content": words[n], "special": True} for n in range(5)],
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {word: n for n, word in enumerate(words)}},
    }


def tiny(family="llama", head_dim=None, bias=(), rows=ROWS, layers=2, tied=False, kv=KV):
    """config.json and the tensors' shapes."""
    classes = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "bert": "BertModel"}
    dim = head_dim or WIDTH // HEADS
    config = dict(
        architectures=[classes[family]], model_type=family, hidden_size=WIDTH, intermediate_size=INNER,
        num_hidden_layers=layers, num_attention_heads=HEADS, vocab_size=rows, max_position_embeddings=128,
    )  # fmt: skip
    shapes = {}
    if family == "bert":
        config |= dict(layer_norm_eps=1e-12, type_vocab_size=2, hidden_act="gelu")
        shapes["embeddings.word_embeddings.weight"] = (rows, WIDTH)
        shapes["embeddings.position_embeddings.weight"] = (128, WIDTH)
        shapes["embeddings.token_type_embeddings.weight"] = (2, WIDTH)
        both = lambda name, *shape: shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})
        both("embeddings.LayerNorm", WIDTH)
        for at in (f"encoder.layer.{n}" for n in range(layers)):
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                both(f"{at}.attention.{part}", WIDTH, WIDTH)
            both(f"{at}.attention.output.LayerNorm", WIDTH)
            both(f"{at}.intermediate.dense", INNER, WIDTH)
            both(f"{at}.output.dense", WIDTH, INNER)
            both(f"{at}.output.LayerNorm", WIDTH)
        return config, shapes
    config |= dict(num_key_value_heads=kv, rms_norm_eps=1e-5, tie_word_embeddings=tied)
    if head_dim:
        config["head_dim"] = head_dim
    shapes["model.embed_tokens.weight"] = (rows, WIDTH)
    for at in (f"model.layers.{n}" for n in range(layers)):
        shapes[f"{at}.input_layernorm.weight"] = (WIDTH,)
        shapes[f"{at}.post_attention_layernorm.weight"] = (WIDTH,)
        q, k = HEADS * dim, kv * dim
        linear = {"self_attn.q_proj": (q, WIDTH), "self_attn.k_proj": (k, WIDTH), "self_attn.v_proj": (k, WIDTH),
                  "self_attn.o_proj": (WIDTH, q), "mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH),
                  "mlp.down_proj": (WIDTH, INNER)}  # fmt: skip
        for name, shape in linear.items():
            shapes[f"{at}.{name}.weight"] = shape
            part = name.split(".")[1][:-5]
            if part in bias or (family == "qwen2" and part in "qkv"):
                shapes[f"{at}.{name}.bias"] = shape[:1]
    shapes["model.norm.weight"] = (WIDTH,)
    if not tied:
        shapes["lm_head.weight"] = (rows, WIDTH)
    return config, shapes


def save(folder, model):
    """config.json and values at random."""
    config, shapes = model
    random = np.random.default_rng(12)
    data = {name: random.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(data, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))


def tokenizers(arguments):
    """Those that are written give llama.cpp's ids."""
    run, minilm = run_quietly(arguments.gguf), arguments.work / "minilm.gguf"
    run("from-safetensors", arguments.minilm, minilm)
    tokenizers_out.check(run, expect, Llama(arguments.llama), arguments, minilm, save, tiny)
    minilm.unlink()


def variants(arguments):
    """What llama.cpp says of tiny models, whole and broken."""
    library, work = Llama(arguments.llama), arguments.work / "tiny"
    random = np.random.default_rng(11)
    counts = {"loads": 0, "refused": 0}

    def run_one(what, model, good, tokens=None, dtype=np.float32, change=lambda c, s: None, shards=1, options=()):
        config, shapes = model
        change(config, shapes)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        data = {name: random.normal(0, 0.02, shape).astype(dtype) for name, shape in shapes.items()}
        names = list(data)
        if shards == 1:
            save_file(data, work / "model.safetensors", {"format": "pt"})
        else:
            where = {name: f"model-{n % shards + 1:05}-of-{shards:05}.safetensors" for n, name in enumerate(names)}
            for file in set(where.values()):
                save_file({name: data[name] for name in names if where[name] == file}, work / file)
            (work / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
        (work / "config.json").write_text(json.dumps(config))
        of_bert = config["model_type"] == "bert"
        (work / "tokenizer.json").write_text(json.dumps(wordpiece() if of_bert else tokenizer(tokens or ROWS)))
        (work / "tokenizer_config.json").write_text("{}")
        out = work / "out.gguf"
        done = subprocess.run([arguments.gguf, "from-safetensors", work, out, "--force", *options], capture_output=True, text=True)
        if good:
            loads = done.returncode == 0 and library.load(out) is not None
            expect(loads, f"{what}: {done.stderr.strip() or 'llama.cpp does not load it'}")
            counts["loads"] += loads
        else:
            refused = done.returncode == 1 and not out.exists()
            expect(refused, f"{what}: is not refused ({done.stdout.strip()})")
            counts["refused"] += refused

    for family in ("llama", "mistral", "qwen2", "bert"):
        run_one(family, tiny(family), True)
        run_one(f"{family} in F16", tiny(family), True, dtype=np.float16)
        run_one(f"{family} as F16", tiny(family), True, options=("--type", "F16"))
        run_one(f"{family} as BF16", tiny(family), True, options=("--type", "BF16"))
        run_one(f"{family} as Q8_0", tiny(family), True, options=("--type", "Q8_0"))
        run_one(f"{family} in 3 files", tiny(family), True, shards=3)
        run_one(f"{family} of 1 layer", tiny(family, layers=1), True)
        for name in list(tiny(family)[1]):
            run_one(f"{family} without {name}", tiny(family), False, change=lambda c, s: s.pop(name))
            stem, end = name.rsplit(".", 1)
            if end == "weight" and f"{stem}.bias" not in tiny(family)[1]:
                given = tiny(family)
                given[1][f"{stem}.extra"] = (1,)
                run_one(f"{family} with {stem}.extra", given, False)
    for family in ("llama", "mistral", "qwen2"):
        run_one(f"{family}, tied", tiny(family, tied=True), True)
        run_one(f"{family}, no GQA", tiny(family, kv=4), True)
        run_one(f"{family}, one key head", tiny(family, kv=1), True)
        run_one(f"{family}, padded rows", tiny(family, rows=272), True, tokens=ROWS)
        run_one(f"{family}, no vocab_size", tiny(family, rows=272), True, tokens=ROWS, change=lambda c, s: c.pop("vocab_size"))
        run_one(f"{family}, head_dim", tiny(family, head_dim=16), True)
        run_one(f"{family}, another head_dim", tiny(family, head_dim=32), family != "qwen2")
        for key, value in [
            ("hidden_size", 128), ("intermediate_size", 256), ("num_attention_heads", 8), ("num_key_value_heads", 4),
            ("num_key_value_heads", 3), ("num_key_value_heads", 1), ("head_dim", 32), ("head_dim", 8), ("vocab_size", ROWS + 8),
            ("vocab_size", ROWS - 1), ("num_hidden_layers", 1), ("num_hidden_layers", 3), ("max_position_embeddings", None),
            ("tie_word_embeddings", None),
        ]:  # fmt: skip
            run_one(f"{family}, {key} {value}", tiny(family), key == "tie_word_embeddings", change=lambda c, s: c.update({key: value}))
        run_one(f"{family}, more tokens than rows", tiny(family), False, tokens=ROWS + 2)
        run_one(f"{family}, that and vocab_size", tiny(family), False, tokens=ROWS + 2, change=lambda c, s: c.update(vocab_size=ROWS + 2))
        run_one(f"{family}, fewer rows", tiny(family), False, change=lambda c, s: s.update({"model.embed_tokens.weight": (256, WIDTH)}))
        run_one(f"{family}, a longer head", tiny(family), False, change=lambda c, s: s.update({"lm_head.weight": (264, WIDTH)}))
    for bias in ("qkvo", "q", "k", "v", "o", "qkv", ("gate", "up", "down"), ("gate",), ("up",), ("down",)):
        run_one(f"llama, bias {bias}", tiny(bias=bias), True)
        run_one(f"llama, bias {bias}, head_dim", tiny(bias=bias, head_dim=32), True)
    for key, value in [("hidden_size", 128), ("intermediate_size", 64), ("max_position_embeddings", 64),
                       ("type_vocab_size", 3), ("vocab_size", 300), ("num_hidden_layers", 1), ("num_hidden_layers", 3)]:  # fmt: skip
        run_one(f"bert, {key} {value}", tiny("bert"), False, change=lambda c, s: c.update({key: value}))
    shutil.rmtree(work)
    print(f"  tiny models: {counts['loads']} that llama.cpp loads, {counts['refused']} refused", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minilm", type=pathlib.Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("smollm2", type=pathlib.Path, help="a GGUF of SmolLM2")
    parser.add_argument("--gguf", type=pathlib.Path, required=True, help="the program that was built")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for what is made")
    parser.add_argument("--llama", type=pathlib.Path, help="folder of libllama and libggml")
    arguments = parser.parse_args()
    minilm(arguments)
    smollm2(arguments)
    if arguments.llama:
        tokenizers(arguments)
        adapters.check(
            run_quietly(arguments.gguf), expect, Llama(arguments.llama), arguments.work, save, tiny, tokenizer(ROWS), ROWS
        )
        variants(arguments)
    if failures:
        sys.exit("\n".join([f"{len(failures)} checks failed:", *failures[:40]]))
    print("  ok")


if __name__ == "__main__":
    main()

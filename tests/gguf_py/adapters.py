"""LoRA adapters of PEFT: what `from-safetensors` makes of them, llama.cpp loads, and `merge-lora` adds to a model as llama.cpp does."""

import ctypes
import json
import pathlib
import shutil
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int32, c_size_t, c_void_p

import numpy as np
from gguf import GGUFReader
from llama import Opaque
from safetensors.numpy import save_file

RANK, ALPHA, SCALE = 4, 8, 0.75
# Rows and columns of the weights that are adapted, of a tiny Llama.
ADAPTED = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", c_int32)] + [(name, c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")]


def logits(library, path, tokens, rows, adapter=None, scale=SCALE):
    """Those of the last of some tokens."""
    lib = library.lib
    lib.llama_context_default_params.restype = Opaque
    lib.llama_batch_get_one.restype = Batch
    for name, result, takes in [
        ("llama_init_from_model", c_void_p, [c_void_p, Opaque]),
        ("llama_adapter_lora_init", c_void_p, [c_void_p, c_char_p]),
        ("llama_set_adapters_lora", c_int32, [c_void_p, POINTER(c_void_p), c_size_t, POINTER(c_float)]),
        ("llama_decode", c_int32, [c_void_p, Batch]),
        ("llama_get_logits_ith", POINTER(c_float), [c_void_p, c_int32]),
        ("llama_free", None, [c_void_p]),
    ]:
        getattr(lib, name).restype, getattr(lib, name).argtypes = result, takes
    model = library.open(path)
    if not model:
        return None
    context = lib.llama_init_from_model(model, lib.llama_context_default_params())
    if adapter is not None:
        loaded = lib.llama_adapter_lora_init(model, str(adapter).encode())
        if not loaded or lib.llama_set_adapters_lora(context, (c_void_p * 1)(loaded), 1, (c_float * 1)(scale)):
            return None
    ids = (c_int32 * len(tokens))(*tokens)
    if lib.llama_decode(context, lib.llama_batch_get_one(ids, len(tokens))):
        return None
    found = np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), (rows,)).copy()
    lib.llama_free(context)
    lib.llama_model_free(model)
    return found


def check(run, expect, library, work, save, tiny, tokenizer, rows):
    """`save(folder, model)` writes tiny models whose config.json and shapes `tiny()` gives."""
    work = work / "lora"
    shutil.rmtree(work, ignore_errors=True)
    (work / "base").mkdir(parents=True)
    (work / "peft").mkdir()
    config, shapes = tiny()
    save(work / "base", (config, shapes))
    (work / "base" / "tokenizer.json").write_text(json.dumps(tokenizer))
    (work / "base" / "tokenizer_config.json").write_text("{}")
    random = np.random.default_rng(13)
    factors = {}
    for layer in range(config["num_hidden_layers"]):
        for name in ADAPTED:
            out, inner = shapes[f"model.layers.{layer}.{name}.weight"]
            start = f"base_model.model.model.layers.{layer}.{name}"
            factors[f"{start}.lora_A.weight"] = random.normal(0, 1, (RANK, inner)).astype(np.float32)
            factors[f"{start}.lora_B.weight"] = random.normal(0, 0.5, (out, RANK)).astype(np.float32)
    save_file(factors, work / "peft" / "adapter_model.safetensors")
    # PEFT writes where the base was.
    adapter_config = dict(peft_type="LORA", r=RANK, lora_alpha=ALPHA, base_model_name_or_path=str(work / "base"))
    (work / "peft" / "adapter_config.json").write_text(json.dumps(adapter_config))

    base, adapter, merged = (work / f"{name}.gguf" for name in ("base", "adapter", "merged"))
    run("from-safetensors", work / "base", base)
    run("from-safetensors", work / "peft", adapter)
    reader = GGUFReader(adapter)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    for key, wanted in [
        ("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora"), ("adapter.lora.alpha", ALPHA),
    ]:  # fmt: skip
        expect(keys.get(key) == wanted, f"adapter: {key} is {keys.get(key)}")
    found = {tensor.name: np.asarray(tensor.data) for tensor in reader.tensors}
    expect(len(found) == len(factors), f"adapter: there are {len(found)} tensors")
    q = factors["base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"]
    heads = config["num_attention_heads"]
    # Halves of heads become neighbours, as the converter has them.
    wanted = q.reshape(heads, 2, q.shape[0] // heads // 2, RANK).swapaxes(1, 2).reshape(q.shape)
    expect(np.array_equal(found["blk.1.attn_q.weight.lora_b"], wanted), "adapter: rows of queries are in another order")

    tokens = [40, 41, 99, 7, 200, 3]
    run("merge-lora", base, adapter, merged, "--scale", str(SCALE))
    plain, with_adapter, one = (
        logits(library, base, tokens, rows), logits(library, base, tokens, rows, adapter), logits(library, merged, tokens, rows),
    )  # fmt: skip
    if any(found is None for found in (plain, with_adapter, one)):
        return expect(False, "llama.cpp does not load the model, the adapter or what they were merged to")
    difference, effect = float(np.abs(one - with_adapter).max()), float(np.abs(with_adapter - plain).max())
    print(f"  LoRA: logits differ by {difference:.1e} from llama.cpp's with the adapter, which changes them by {effect:.1e}", flush=True)
    expect(difference < effect / 1000 and effect > 1e-3, f"merged logits are {difference} from those with the adapter")
    for ty in ("Q8_0", "Q4_0"):
        typed = pathlib.Path(f"{base}.{ty}")
        run("convert", base, typed, "--type", ty)
        run("merge-lora", typed, adapter, merged, "--scale", str(SCALE))
        types = [[(t.name, t.tensor_type) for t in GGUFReader(path).tensors] for path in (typed, merged)]
        expect(types[0] == types[1], f"{ty}: types change")
    shutil.rmtree(work)
    return None

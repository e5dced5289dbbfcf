"""Checks with the compressed-tensors package what `to-safetensors --quantized compressed-tensors` writes.

    python3 -m venv venv
    venv/bin/pip install compressed-tensors==0.20.0 transformers==5.24.0 torch==2.15.0
    cargo build --release -p gguf-cli
    venv/bin/python tests/compressed_export.py --gguf target/release/gguf --work work

A tiny Llama of random weights becomes a GGUF of each type: Q4_0, Q8_0, MXFP4 and NVFP4 by `quantize`, and Q4_1 and NVFP4 with factors
of tensors out of checkpoints that the package compressed. The package decompresses what is made of them, by the transformers
library as the model is loaded, and by itself, a module at a time. Each weight is compared with that of `convert --type F32`, and so are
the logits. torch is too large to be fetched for every change, and so this is run by hand.
"""

import argparse
import json
import math
import pathlib
import shutil
import subprocess

import torch
from compressed_tensors.compressors import BaseCompressor, ModelCompressor
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme, apply_quantization_config
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, CompressedTensorsConfig, LlamaConfig, LlamaForCausalLM

QUANTIZED = {"Q4_0": ["blk=Q4_0"], "Q8_0": ["blk=Q8_0"], "MXFP4": ["blk=MXFP4"], "NVFP4": ["blk=NVFP4"],
             "mixed": ["attn=Q8_0", "ffn_up=Q4_0", "ffn_gate=MXFP4", "ffn_down=NVFP4"]}
COMPRESSED = {
    "Q4_1": {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 32},
    "NVFP4": {"num_bits": 4, "type": "float", "symmetric": True, "strategy": "tensor_group", "group_size": 16,
              "scale_dtype": "torch.float8_e4m3fn"},
}
SEED = 7


def tiny_model():
    torch.manual_seed(SEED)
    config = LlamaConfig(vocab_size=64, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3)
    return LlamaForCausalLM(config).to(torch.bfloat16)


def compressed(folder, weights):
    """A checkpoint of the tiny model that the package has compressed."""
    model = tiny_model()
    config = QuantizationConfig(config_groups={"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}, ignore=["lm_head"])
    apply_quantization_config(model, config)
    for module in model.modules():
        if getattr(module, "quantization_scheme", None) is None:
            continue
        groups = module.weight.data.float().unflatten(1, (-1, weights["group_size"]))
        if weights["type"] == "int":
            low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
            scale = ((high - low) / 15).to(module.weight_scale.dtype)
            module.weight_zero_point.data.copy_((-low / scale.float()).round().clamp(0, 15) - 8)
        else:
            largest = groups.abs().amax(2)
            module.weight_global_scale.data.fill_(448 * 6 / largest.max().item())
            scale = (largest / 6 * module.weight_global_scale.data).to(torch.float8_e4m3fn)
        module.weight_scale.data.copy_(scale)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(folder)


def steps(found, wanted):
    """The largest difference of two tensors of a type, in units in the last place of the wanted value."""
    info = torch.finfo(found.dtype)
    exponent = torch.frexp(wanted.float())[1] - 1
    unit = torch.exp2(exponent.clamp(min=math.log2(info.tiny)).double()) * info.eps
    return ((found.double() - wanted.double()).abs() / unit).max().item()


def check(gguf, what, model, work):
    run = lambda *args: subprocess.run([gguf, *map(str, args)], check=True, capture_output=True, text=True).stdout
    folder, plain = work / "compressed", work / "plain"
    for left in (folder, plain):
        shutil.rmtree(left, ignore_errors=True)
    run("to-safetensors", model, folder, "--quantized", "compressed-tensors", "--type", "F32")
    run("convert", model, work / "f32.gguf", "--type", "F32", "--allow-requantize", "--force")
    run("to-safetensors", work / "f32.gguf", plain, "--type", "F32")
    wanted, stored = load_file(plain / "model.safetensors"), load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    layers = config["num_hidden_layers"]
    names = [name.removesuffix("_packed") for name in stored if name.endswith(".weight_packed")]
    assert len(names) == 7 * layers, names
    # A module at a time, by the package alone.
    found = {}
    quantization = QuantizationConfig.model_validate(config["quantization_config"])
    for scheme in quantization.config_groups.values():
        for module in scheme.targets:
            parts = {name.removeprefix(module + "."): part for name, part in stored.items() if name.startswith(module + ".")}
            found[module + ".weight"] = BaseCompressor.get_value_from_registry(scheme.format).decompress(parts, scheme)["weight"]
    assert sorted(found) == sorted(names)
    report(what, "by the package", found, wanted)
    # By the transformers library as it loads the model, which it can where there is one scheme, or as it first runs it. That fails
    # for zero points, of the package's own checkpoints too: what they are loaded into has them unpacked.
    tokens = torch.arange(48).reshape(1, -1) * 5 % 64
    schemes = list(quantization.config_groups.values())
    ways = [(dtype, CompressedTensorsConfig(dequantize=True)) for dtype in (torch.bfloat16, torch.float16, torch.float32)]
    if len(schemes) > 1:
        ways = []
    if all(scheme.weights.symmetric for scheme in schemes):
        ways.append((torch.bfloat16, None))
    for dtype, way in ways:
        more = {"quantization_config": way} if way else {}
        loaded, info = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True, **more)
        assert not any(info.values()), info
        loaded(tokens)
        weights = loaded.state_dict()
        report(what, "as it is loaded" if way else "as it runs", {name: weights[name] for name in names}, wanted)
    plain_model = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32)
    reference = plain_model(tokens).logits
    plain_model.load_state_dict({name: weight.float() for name, weight in found.items()}, strict=False)
    error = plain_model(tokens).logits - reference
    print(f"{what:16} logits: relative error {(error.square().mean() / reference.square().mean()).sqrt().item():.1e}")


def report(what, by, found, wanted):
    for dtype in sorted({weight.dtype for weight in found.values()}, key=str):
        own = {name: weight for name, weight in found.items() if weight.dtype == dtype}
        same = all(weight.equal(wanted[name].to(dtype)) for name, weight in own.items())
        off = max(steps(weight, wanted[name]) for name, weight in own.items())
        most = max(((weight.float() - wanted[name]).abs().max() / wanted[name].abs().max()).item() for name, weight in own.items())
        how = "the rounded values" if same else f"off by {off:.3g} units in the last place, {most:.1e} of the largest value"
        print(f"{what:16} {by:16} {str(dtype):15} {how}", flush=True)
        # Scales and products are both rounded.
        assert most <= torch.finfo(torch.bfloat16).eps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True, help="the program")
    parser.add_argument("--work", required=True, type=pathlib.Path, help="a folder for temporary files")
    parser.add_argument("models", nargs="*", type=pathlib.Path, help="more models to check: GGUF files")
    args = parser.parse_args()
    work = args.work / "compressed-tensors"
    work.mkdir(parents=True, exist_ok=True)
    run = lambda *words: subprocess.run([args.gguf, *map(str, words)], check=True, capture_output=True)
    tiny_model().save_pretrained(work / "tiny")
    run("from-safetensors", work / "tiny", work / "tiny.gguf", "--force")
    for ty, types in QUANTIZED.items():
        types = [word for ty in types for word in ("--tensor-type", ty)]
        run("quantize", work / "tiny.gguf", work / f"{ty}.gguf", "--recipe", "Q8_0", *types, "--force")
        check(args.gguf, ty, work / f"{ty}.gguf", work)
    for ty, weights in COMPRESSED.items():
        compressed(work / "from", weights)
        run("from-safetensors", work / "from", work / "back.gguf", "--force")
        check(args.gguf, f"{ty} imported", work / "back.gguf", work)
    for model in args.models:
        check(args.gguf, model.stem, model, work)
    shutil.rmtree(work)


main()

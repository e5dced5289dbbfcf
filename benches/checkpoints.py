"""How fast quantized checkpoints are read, against a BF16 checkpoint of as many values.

    python3 benches/checkpoints.py target/release/gguf

makes a checkpoint of random codes for each scheme and runs `from-safetensors --type F32` on one core, in rounds that take each in
turn. Figures are processor seconds of the whole process, so that neighbours count little: medians, and the fraction of BF16's speed,
with and without the seconds that the system takes, mostly for writing what is as large for all. Needs numpy and, on Linux, taskset; the files lie in /dev/shm where that exists, so that no disk is measured.
"""

import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROWS = COLS = 4096
TENSORS = 3
ROUNDS = 7
random = np.random.default_rng(1)


def codes(*shape):
    return random.integers(0, 256, size=shape, dtype=np.uint8)


def words(*shape):
    return codes(*shape, 4)


def single(*shape):
    return random.uniform(0.001, 0.01, shape).astype("<f4")


def half(*shape):
    return single(*shape).astype("<f2")


def brain(*shape):
    return (single(*shape).view("<u4") >> 16).astype("<u2")


def finite_e4m3(*shape):
    own = codes(*shape)
    return np.where(own & 0x7F == 0x7F, 0x30, own).astype(np.uint8)


def scale_e8m0(*shape):
    return random.integers(110, 125, size=shape, dtype=np.uint8)


def bnb(kind):
    n = ROWS * COLS
    state = {"quant_type": kind, "blocksize": 64, "dtype": "bfloat16", "shape": [ROWS, COLS],
             "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.02}
    text = np.frombuffer(json.dumps(state).encode(), dtype=np.uint8)
    return {
        ".weight": ("U8", [n // 2, 1], codes(n // 2)),
        ".weight.absmax": ("U8", [n // 64], codes(n // 64)),
        ".weight.quant_map": ("F32", [16], np.linspace(-1, 1, 16).astype("<f4")),
        ".weight.nested_absmax": ("F32", [n // 64 // 256], single(n // 64 // 256)),
        ".weight.nested_quant_map": ("F32", [256], np.linspace(-1, 1, 256).astype("<f4")),
        f".weight.quant_state.bitsandbytes__{kind}": ("U8", [len(text)], text),
    }


def gptq(bits):
    groups = COLS // 128
    return {
        ".qweight": ("I32", [COLS * bits // 32, ROWS], words(COLS * bits // 32, ROWS)),
        ".qzeros": ("I32", [groups, ROWS * bits // 32], words(groups, ROWS * bits // 32)),
        ".scales": ("F16", [groups, ROWS], half(groups, ROWS)),
        ".g_idx": ("I32", [COLS], (np.arange(COLS) // 128).astype("<i4")),
    }


def awq(_):
    groups = COLS // 128
    return {
        ".qweight": ("I32", [COLS, ROWS // 8], words(COLS, ROWS // 8)),
        ".qzeros": ("I32", [groups, ROWS // 8], words(groups, ROWS // 8)),
        ".scales": ("F16", [groups, ROWS], half(groups, ROWS)),
    }


def packed(bits, width):
    return {
        ".weight_packed": ("I32", [ROWS, COLS * bits // 32], words(ROWS, COLS * bits // 32)),
        ".weight_scale": ("BF16", [ROWS, COLS // width], brain(ROWS, COLS // width)),
        ".weight_shape": ("I64", [2], np.array([ROWS, COLS], dtype="<i8")),
    }


def compressed(kind, bits, strategy, width, form):
    weights = {"num_bits": bits, "type": kind, "symmetric": True, "strategy": strategy, "group_size": width, "dynamic": False}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "format": form}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": groups, "ignore": []}


def gptq_config(bits):
    return {"quant_method": "gptq", "bits": bits, "group_size": 128, "desc_act": False, "sym": True}


def fp8_rows(_):
    return {".weight": ("F8_E4M3", [ROWS, COLS], finite_e4m3(ROWS, COLS)), ".weight_scale": ("BF16", [ROWS, 1], brain(ROWS))}


def fp8_blocks(_):
    blocks = [ROWS // 128, COLS // 128]
    return {".weight": ("F8_E4M3", [ROWS, COLS], finite_e4m3(ROWS, COLS)), ".weight_scale_inv": ("F32", blocks, single(*blocks))}


def fp4(name, scales, more):
    return {name: ("U8", [ROWS, COLS // 2], codes(ROWS, COLS // 2)), ".weight_scale": scales, **more}


def torchao(_):
    return {"._weight_qdata": ("I8", [ROWS, COLS], codes(ROWS, COLS)), "._weight_scale": ("F32", [ROWS, 1], single(ROWS, 1))}


def hqq(bits):
    groups = ROWS * COLS // 64
    whole = lambda number: ("I32", [], np.array(number, dtype="<i4"))
    packing = np.frombuffer(f"{bits}bit_u8".encode(), dtype=np.uint8)
    return {
        ".W_q": ("U8", [groups * bits // 8, 64], codes(groups * bits // 8, 64)),
        ".scale": ("F16", [groups, 1], half(groups, 1)),
        ".zero": ("F16", [groups, 1], half(groups, 1)),
        ".shape": ("I32", [2], np.array([ROWS, COLS], dtype="<i4")),
        ".nbits": whole(bits),
        ".axis": whole(1),
        ".group_size": whole(64),
        ".packing": ("U8", [len(packing)], packing),
    }


def quanto8(_):
    return {".weight._data": ("I8", [ROWS, COLS], codes(ROWS, COLS)), ".weight._scale": ("BF16", [ROWS, 1], brain(ROWS, 1))}


def quanto4(_):
    groups = ROWS * COLS // 128
    return {
        ".weight._data._data": ("U8", [groups // 2, 128], codes(groups // 2, 128)),
        ".weight._scale": ("BF16", [groups, 1], brain(groups, 1)),
        ".weight._shift": ("BF16", [groups, 1], brain(groups, 1)),
    }


def bitnet(_):
    # No row has the code 3.
    three = random.integers(0, 3, size=(4, ROWS // 4, COLS), dtype=np.uint8)
    planes = three[0] | three[1] << 2 | three[2] << 4 | three[3] << 6
    return {".weight": ("U8", [ROWS // 4, COLS], planes), ".weight_scale": ("BF16", [1], brain(1))}


# The name, the tensors of a module, and `quantization_config`.
SCHEMES = [
    ("BF16", lambda _: {".weight": ("BF16", [ROWS, COLS], brain(ROWS, COLS))}, None),
    *[
        (f"bitsandbytes {kind.upper()}, double quantization", lambda _, kind=kind: bnb(kind),
         {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind})
        for kind in ("nf4", "fp4")
    ],
    (
        "bitsandbytes INT8",
        lambda _: {
            ".weight": ("I8", [ROWS, COLS], codes(ROWS, COLS)),
            ".SCB": ("F32", [ROWS], single(ROWS)),
            ".weight_format": ("U8", [], np.zeros(1, dtype=np.uint8)),
        },
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
    ),
    *[(f"GPTQ, {bits} bits", lambda _, bits=bits: gptq(bits), gptq_config(bits)) for bits in (3, 4, 8)],
    ("AWQ", awq, {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}),
    ("compressed-tensors, 4 bits, groups of 32", lambda _: packed(4, 32), compressed("int", 4, "group", 32, "pack-quantized")),
    ("compressed-tensors, 8 bits, channels", lambda _: packed(8, COLS), compressed("int", 8, "channel", None, "pack-quantized")),
    ("compressed-tensors, FP8, channels", fp8_rows, compressed("float", 8, "channel", None, "float-quantized")),
    ("FP8, blocks of 128 by 128", fp8_blocks, {"quant_method": "fp8", "weight_block_size": [128, 128]}),
    (
        "compressed-tensors, NVFP4",
        lambda _: fp4(".weight_packed", ("F8_E4M3", [ROWS, COLS // 16], finite_e4m3(ROWS, COLS // 16) & 0x7F),
                      {".weight_global_scale": ("F32", [1], single(1))}),
        compressed("float", 4, "tensor_group", 16, "nvfp4-pack-quantized"),
    ),
    (
        "ModelOpt, NVFP4",
        lambda _: fp4(".weight", ("F8_E4M3", [ROWS, COLS // 16], finite_e4m3(ROWS, COLS // 16) & 0x7F),
                      {".weight_scale_2": ("F32", [], single(1))}),
        {"quant_method": "modelopt", "quant_algo": "NVFP4"},
    ),
    (
        "compressed-tensors, MXFP4",
        lambda _: fp4(".weight_packed", ("U8", [ROWS, COLS // 32], scale_e8m0(ROWS, COLS // 32)), {}),
        compressed("float", 4, "group", 32, "mxfp4-pack-quantized"),
    ),
    ("torchao, int8", torchao, {"quant_method": "torchao"}),
    *[(f"HQQ, {bits} bits, groups of 64", lambda _, bits=bits: hqq(bits), {"quant_method": "hqq"}) for bits in (4, 8)],
    ("quanto, int8", quanto8, {"quant_method": "quanto"}),
    ("quanto, int4, groups of 128", quanto4, {"quant_method": "quanto"}),
    ("BitNet", bitnet, {"quant_method": "bitnet"}),
]


def write(folder, tensors, config):
    header, at = {}, 0
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, values in tensors.values():
            file.write(np.ascontiguousarray(values).tobytes())
    # quanto's files do not say how long rows are.
    config = {"hidden_size": COLS, "quantization_config": config} if config else {}
    (folder / "config.json").write_text(json.dumps(config))


def main():
    program = Path(sys.argv[1]).resolve()
    home = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=home) as folder:
        folder = Path(folder)
        seconds = {name: [] for name, _, _ in SCHEMES}
        for number, (name, make, config) in enumerate(SCHEMES):
            own = folder / str(number)
            own.mkdir()
            modules = [(f"model.layers.{layer}.mlp.up_proj", make(layer)) for layer in range(TENSORS)]
            write(own, {module + end: tensor for module, parts in modules for end, tensor in parts.items()}, config)
        core = sorted(os.sched_getaffinity(0))[-1] if hasattr(os, "sched_getaffinity") else None
        one = [] if core is None else ["taskset", "-c", str(core)]
        # Round 0 warms caches.
        for round in range(ROUNDS + 1):
            for number, (name, _, _) in enumerate(SCHEMES):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run([*one, program, "from-safetensors", folder / str(number), folder / "out.gguf", "--type", "F32", "--force"],
                               check=True, stdout=subprocess.DEVNULL)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                if round > 0:
                    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
                    seconds[name].append((user + system, user))
        medians = {name: np.median(own, axis=0) for name, own in seconds.items()}
        print("| scheme | s | of BF16's speed | without the system |\n|---|---|---|---|")
        for name, (whole, user) in medians.items():
            of_whole, of_user = medians["BF16"] / (whole, user)
            print(f"| {name} | {whole:.3f} | {of_whole:.2f} | {of_user:.2f} |")


main()

"""Makes the golden vectors of this folder with ggml's reference library; README.md says what they are.

    eval "$(.ci/fetch-oracles)" && "$GGUF_PY_PYTHON" tests/golden/make_golden.py

Seeded: it writes the same files every time.
"""

import os
import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "gguf_py"))
from ggml import Q2_0, SIZES, Ggml  # noqa: E402

# Every format to which floats can be quantized must be listed here; otherwise tests/codecs/golden.rs fails.
TYPES = [
    Type.F16,
    Type.Q4_0,
    Type.Q4_1,
    Type.Q5_0,
    Type.Q5_1,
    Type.Q8_0,
    Type.Q8_1,
    Type.Q2_K,
    Type.Q3_K,
    Type.Q4_K,
    Type.Q5_K,
    Type.Q6_K,
    Type.Q8_K,
    Type.IQ4_NL,
    Type.IQ4_XS,
    Type.IQ2_XXS,
    Type.IQ2_XS,
    Type.IQ3_XXS,
    Type.IQ1_S,
    Type.IQ3_S,
    Type.IQ2_S,
    Type.IQ1_M,
    Type.BF16,
    Type.TQ1_0,
    Type.TQ2_0,
    Type.MXFP4,
    Type.NVFP4,
    Type.Q1_0,
    Q2_0,
]
# ggml aborts when it is asked for one of these without importance.
NEED_IMPORTANCE = {Type.IQ2_XXS, Type.IQ2_XS, Type.IQ1_S}
# It also aborts where the errors that these compare overflow, and so with the kind "huge".
END_WITH_HUGE = {Type.IQ2_XXS, Type.IQ2_XS, Type.IQ3_XXS, Type.IQ1_S, Type.IQ3_S, Type.IQ2_S, Type.IQ1_M}
ROW_LEN, ROWS = 512, 2
# Rows that are whole blocks of 32 but not of 64 or 256: an odd number of blocks.
SHORT_ROW_LEN = 96


def magnitudes(rng, count, low, high):
    """Numbers from 2^low to 2^high. Not by `**`: its last bits depend on the processor that numpy finds."""
    return np.ldexp(rng.uniform(1, 2, count), rng.integers(low, high, count))


def kinds(rng):
    """The inputs, by kind: what each would catch stands beside it."""
    n = ROW_LEN * ROWS
    normal = rng.normal(0, 0.02, n)
    blocks = normal.reshape(-1, 32)

    outlier = blocks.copy()
    outlier[np.arange(len(blocks)), rng.integers(0, 32, len(blocks))] *= 500
    # The same magnitude with both signs, twice: shows which of the equal magnitudes a search selects.
    tied = blocks.copy()
    for block in tied:
        top = np.abs(block).max() * 1.5
        block[rng.permutation(32)[:4]] = [top, -top, top, -top]
    zero = np.zeros(n)
    zero[rng.random(n) < 0.3] = -0.0
    # Some blocks of zeros among others: a super-block with empty sub-blocks.
    sparse = np.where(np.repeat(rng.random(n // 32) < 0.5, 32), 0, normal)
    return {
        "normal": normal,
        "heavy_tailed": rng.standard_t(1.5, n) * 0.02,
        "tiny": rng.normal(0, 1e-9, n),
        # Scales around the smallest normal f16 (6.1e-5) and the smallest subnormal (6e-8).
        "subnormal_scale": normal * np.repeat(magnitudes(rng, n // 32, -18, -5), 32),
        "subnormal": rng.normal(0, 1e-39, n),
        "zero": zero,
        "sparse": sparse,
        "constant_positive": np.full(n, 0.7),
        "constant_negative": np.full(n, -0.7),
        "outlier": outlier,
        "positive": np.abs(normal) + 1e-3,
        "negative": -np.abs(normal) - 1e-3,
        "mixed_magnitudes": normal * np.repeat(magnitudes(rng, n // 32, -20, 10), 32),
        "tied": tied,
        # Scales around and above f16's maximum (65504), while the searches' sums of cubes stay finite.
        "large": rng.normal(0, 1, n) * np.repeat([1e4, 1e6, 1e5, 1e10], n // 4),
        # Finite, and the searches' sums overflow.
        "huge": rng.choice([-1, 1], n) * magnitudes(rng, n, 40, 100),
    }


def later_kinds():
    """Inputs that came later, each from a generator of its own, so that the others stay what they were."""
    n = ROW_LEN * ROWS
    least = np.random.default_rng(20260901)
    # The fifth round of improving Q4_K's scales and mins changes them for one seed in a thousand.
    fifth = np.random.default_rng(141)
    # The maximum of each 32 values is a power of two, less a few units in the last place:
    # there the logarithm may be rounded up to that of the power.
    logarithm = np.random.default_rng(20260902)
    below = logarithm.uniform(-0.9, 0.9, (n // 32, 32))
    below[:, 5] = 1 - logarithm.integers(0, 64, n // 32) * 2.0**-24
    below *= np.ldexp(1.0, logarithm.integers(-50, 30, n // 32))[:, None]
    # Sixteenths of a power of two, including the power itself, for each 256 values: values halfway between two quants.
    ties = np.random.default_rng(20260903)
    coarse = ties.integers(-16, 17, (n // 256, 256)) / 16.0
    coarse[:, 3::16] = ties.choice([-1, 1], (n // 256, 16))
    coarse *= np.ldexp(1.0, ties.integers(-20, 20, n // 256))[:, None]
    return {
        # Maxima, and scales derived from them, on both sides of 1e-15, below which searches treat everything as zero.
        "least_magnitude": least.normal(0, 1, n) * np.repeat(magnitudes(least, n // 32, -54, -40), 32),
        "fifth_round": fifth.normal(0, 0.02, n) * np.repeat(magnitudes(fifth, n // 32, -3, 3), 32),
        "below_power_of_two": below,
        "coarse": coarse,
    }


def random_blocks(ggml, ty):
    """Blocks of random bytes, bit patterns that no quantizer writes, whose values are finite."""
    rng = np.random.default_rng([20260801, ty])  # a format's do not change when another is added
    block_len, block_bytes = SIZES[ty]
    count = 512 if block_len == 1 else max(2048 // block_len, 16)
    blocks = rng.integers(0, 256, (count, block_bytes), dtype=np.uint8)
    while True:
        bad = ~np.isfinite(ggml.dequantize(ty, blocks)).reshape(count, -1).all(axis=1)
        if not bad.any():
            return blocks
        blocks[bad] = rng.integers(0, 256, (np.count_nonzero(bad), block_bytes), dtype=np.uint8)


def fnv1a(values):
    """FNV-1a, 64 bits, of float32 values as little-endian bytes, every NaN taken as 0x7fc00000."""
    bits = values.view(np.uint32).copy()
    bits[np.isnan(values)] = 0x7FC00000
    digest = 0xCBF29CE484222325
    for byte in bits.astype("<u4").tobytes():
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return digest


class Cases:
    """The cases of one format: its bytes, each distinct run once, and its lines of the manifest."""

    def __init__(self, ggml, ty):
        self.ggml, self.ty = ggml, ty
        self.stored, self.lines = b"", []

    def add(self, kind, weighted, row_len, rows, values, data):
        at = self.stored.find(data)
        if at < 0:
            at, self.stored = len(self.stored), self.stored + data
        digest = fnv1a(self.ggml.dequantize(self.ty, np.frombuffer(data, np.uint8)))
        fields = [self.ty.name, kind, weighted, row_len, rows, values, at, len(data), f"{digest:016x}"]
        self.lines.append("\t".join(map(str, fields)))


def main():
    np.seterr(all="ignore")  # the kinds leave single precision's comfortable range on purpose
    ggml = Ggml(os.environ["GGML_BASE_SO"])
    rng = np.random.default_rng(20260801)
    inputs = {kind: values.ravel().astype("<f4") for kind, values in (kinds(rng) | later_kinds()).items()}
    importance = rng.lognormal(0, 2, ROW_LEN).astype("<f4")
    importance[rng.random(ROW_LEN) < 0.05] = 0
    importance[32:64] = 0  # nothing to weigh a whole block by
    importance[400:416] = 0
    (HERE / "values.bin").write_bytes(b"".join(values.tobytes() for values in inputs.values()))
    (HERE / "importance.bin").write_bytes(importance.tobytes())

    lines = ["format\tkind\timportance\trow_len\trows\tvalues\tbytes\tbytes_len\thash"]
    for ty in TYPES:
        block_len, _ = SIZES[ty]
        cases = Cases(ggml, ty)
        for index, (kind, values) in enumerate(inputs.items()):
            if kind == "huge" and ty in END_WITH_HUGE:
                continue
            for row_len in [ROW_LEN] + [SHORT_ROW_LEN] * (block_len == 32):
                matrix = values[: row_len * ROWS].reshape(ROWS, row_len)
                for weighted in [1] if ty in NEED_IMPORTANCE else [0, 1]:
                    weights = importance[:row_len].copy() if weighted else None
                    data = ggml.quantize(ty, matrix, weights).tobytes()
                    cases.add(kind, weighted, row_len, ROWS, index * ROW_LEN * ROWS, data)
        blocks = random_blocks(ggml, ty)
        cases.add("random_bytes", 0, block_len, len(blocks), "-", blocks.tobytes())
        (HERE / f"{ty.name.lower()}.bin").write_bytes(cases.stored)
        lines += cases.lines
    (HERE / "manifest.tsv").write_text("\n".join(lines) + "\n")
    total = sum(path.stat().st_size for path in HERE.iterdir() if path.suffix in {".bin", ".tsv"})
    print(f"{len(lines) - 1} cases, {total} bytes")


if __name__ == "__main__":
    main()

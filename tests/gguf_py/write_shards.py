"""Writes a model in one file, in shards of three tensors, and in shards of 4096 bytes, with gguf-py's GGUFWriter.

Usage: python write_shards.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGUFWriter


def write(path: Path, **limits: int) -> None:
    writer = GGUFWriter(path, "llama", **limits)
    writer.add_string("general.name", "shards")
    writer.add_array("tokenizer.ggml.tokens", ["a", "bb", "ccc"])
    # Multiples of 32 bytes, because gguf-py does not count the padding. The fifth is larger than the limit.
    for i, count in enumerate([64, 512, 480, 8, 2000, 16, 1000, 24, 512, 512, 8]):
        writer.add_tensor(f"blk.{i}.weight", np.arange(count, dtype=np.float32).reshape(-1, 8) + i)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


folder = Path(sys.argv[1])
write(folder / "whole.gguf")
write(folder / "tensors.gguf", split_max_tensors=3)
write(folder / "bytes.gguf", split_max_size=4096)

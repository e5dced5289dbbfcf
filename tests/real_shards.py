"""Splits a whole model with the `split` example, merges it again, and has other programs read the shards.

    eval "$(.ci/fetch-oracles)"
    cargo build --release -p gguf-cli
    "$GGUF_PY_PYTHON" tests/real_shards.py --gguf target/release/gguf --work /var/tmp \\
        [--libllama FOLDER] "$GGUF_CODEC_SMOLLM2"

The merged file must be the model, byte for byte. gguf-py must find the model's tensors in the shards. With the folder of
libllama and its companions, libllama must load the shards as one model, and refuse them where one is missing. Time and
memory are printed, not judged.
"""

import argparse
import filecmp
import os
import pathlib
import sys

from gguf import GGUFReader

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "gguf_py"))
from llama import Llama  # noqa: E402
from measured import run_measured  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf", type=pathlib.Path, required=True, help="the program that was built")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--libllama")
    parser.add_argument("model", type=pathlib.Path)
    args = parser.parse_args()
    llama = args.libllama and Llama(args.libllama)
    theirs = {tensor.name: tensor for tensor in GGUFReader(args.model).tensors}
    prefix, merged = args.work / "shards", args.work / "merged.gguf"
    for limit in (["--max-tensors", "60"], ["--max-size", "32M"], ["--max-size", "32M", "--no-tensor-first-split"]):
        split, _ = run_measured([args.gguf, "split", args.model, prefix, "--force", *limit])
        shards = sorted(args.work.glob("shards-?????-of-?????.gguf"))
        found = [tensor for path in shards for tensor in GGUFReader(path).tensors]
        assert [tensor.name for tensor in found] == list(theirs), "gguf-py finds other tensors"
        for tensor in found:
            other = theirs[tensor.name]
            same = (tensor.tensor_type, list(tensor.shape)) == (other.tensor_type, list(other.shape))
            assert same and tensor.data.tobytes() == other.data.tobytes(), tensor.name
        merge, _ = run_measured([args.gguf, "merge", shards[0], merged, "--force"])
        assert filecmp.cmp(merged, args.model, shallow=False), "the merged file differs"
        loads = ""
        if llama:
            assert llama.load(shards[0]) == llama.load(args.model), "libllama loads another model"
            os.rename(shards[-1], args.work / "aside")
            assert llama.load(shards[0]) is None, "libllama loads what is not whole"
            loads = ", libllama loads them"
        print(f"{' '.join(limit)}: {len(shards)} shards{loads}; split {split}, merge {merge}", flush=True)
        for path in [*shards, merged, args.work / "aside"]:
            path.unlink(missing_ok=True)


main()

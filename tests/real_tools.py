"""Runs every tool on real models, has other programs read what comes out, and prints what each took.

    eval "$(.ci/fetch-oracles)"
    cargo build --release -p gguf-cli
    "$GGUF_PY_PYTHON" tests/real_tools.py --gguf target/release/gguf --work /var/tmp \\
        --llama "${LLAMA_SO%/*}" "$GGUF_CODEC_MINILM" "$GGUF_CODEC_SMOLLM2"

libllama loads the models, gguf-py and the safetensors library find the tensors and values that they should, and numpy
comes to the numbers that the tools report. Each tool runs `--rounds` times: the table has medians of the times, of the clock
and of all cores together, and the most memory. They are printed, not judged.
"""

import argparse
import contextlib
import filecmp
import functools
import html.parser
import http.server
import json
import pathlib
import statistics
import sys
import threading

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.numpy import load_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "gguf_py")]
from llama import Llama  # noqa: E402
from measured import run_measured  # noqa: E402
from recipes import SEED, write_imatrix  # noqa: E402


@functools.lru_cache
def reader(path, _changed):
    return GGUFReader(path)


def read(path):
    return reader(path, path.stat().st_mtime_ns)


def tensors(path):
    return {tensor.name: tensor for tensor in read(path).tensors}


def keys(path):
    return {name: field.contents() for name, field in read(path).fields.items() if not name.startswith("GGUF.")}


def values(tensor):
    return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32).reshape(-1)


def same_data(a, b):
    """Whether two models have the same tensors, byte for byte."""
    a, b = tensors(a), tensors(b)
    return list(a) == list(b) and all(a[name].data.tobytes() == b[name].data.tobytes() for name in a)


def close(a, b):
    return abs(a - b) <= 1e-5 * max(abs(a), abs(b))


class Tools:
    """The tools, and a table of what they took."""

    def __init__(self, gguf, rounds):
        self.gguf, self.rounds, self.rows = gguf, rounds, []

    def command(self, name, *arguments):
        """A run that may replace what an earlier one wrote."""
        writes = name not in ("diff", "inspect")
        return [self.gguf, name.replace("_", "-"), *arguments, *(["--force"] if writes else [])]

    def quietly(self, name, *arguments):
        return run_measured(self.command(name, *arguments))[1]

    def run(self, label, name, *arguments, before=lambda: None):
        """What the tool printed the last time. `before` puts things in order for each round."""
        costs = []
        for _ in range(self.rounds):
            before()
            cost, output = run_measured(self.command(name, *arguments))
            costs.append(cost)
        median = lambda figure: statistics.median(getattr(cost, figure) for cost in costs)
        most = lambda figure: max(getattr(cost, figure) for cost in costs)
        self.rows.append((label, median("seconds"), median("cpu"), most("own"), most("resident")))
        return output

    def table(self):
        yield "| | s | s of all cores | peak memory, MB | with mapped files |"
        yield "|---|---|---|---|---|"
        for label, *figures in self.rows:
            yield "| {} | {:.2f} | {:.2f} | {:.0f} | {:.0f} |".format(label, *figures)


class Ranges(http.server.BaseHTTPRequestHandler):
    """A file by its ranges; what was sent is counted."""

    sent = 0

    def __init__(self, path, *arguments):
        self.file = path
        super().__init__(*arguments)

    def do_GET(self):
        size = self.file.stat().st_size
        first, last = (int(number) for number in self.headers["Range"].removeprefix("bytes=").split("-"))
        last = min(last, size - 1)
        with open(self.file, "rb") as file:
            file.seek(first)
            part = file.read(last - first + 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        Ranges.sent += self.wfile.write(part)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{path.name}"
    finally:
        server.shutdown()
        server.server_close()


class Page(html.parser.HTMLParser):
    """Which elements a page has, and whether all that it opens is closed."""

    VOID = {"meta", "link", "br", "hr", "img", "input", "col"}

    def __init__(self):
        super().__init__()
        self.open, self.count = [], {}

    def handle_starttag(self, tag, _):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"


def making_models(tools, llama, work, f16, model):
    """Tools that make a model of a model; the quantized one."""
    imatrix, quantized, out = work / "imatrix.dat", work / "quantized.gguf", work / "out.gguf"
    loads_as = lambda path: llama.load(path) and llama.load(path)[0]
    parameters = loads_as(f16)
    assert parameters, "libllama does not load the model"

    write_imatrix(str(imatrix), str(f16), np.random.default_rng(SEED))
    converted = work / "imatrix.gguf"
    tools.run("imatrix", "imatrix", imatrix, converted)
    sums = {name.removesuffix(".in_sum2"): t for name, t in tensors(converted).items() if name.endswith(".in_sum2")}
    assert len(sums) == int.from_bytes(imatrix.read_bytes()[:4], "little") > 200, "imatrix: tensors are missing"
    tools.run("convert --type Q8_0", "convert", f16, out, "--type", "Q8_0")
    assert loads_as(out) == parameters, "libllama loads another model of convert's"
    for recipe, *options in [("Q8_0",), ("Q4_K_M", "--imatrix", converted), ("Q4_K_M",)]:
        tools.run(" ".join(["quantize --recipe", recipe, *options[:1]]), "quantize", f16, quantized, "--recipe", recipe, *options)
        assert loads_as(quantized) == parameters, f"libllama loads another model of {recipe}"

    prefix = work / "shard"
    tools.run("split --max-size 50M", "split", f16, prefix, "--max-size", "50M")
    shards = sorted(work.glob("shard-*-of-*.gguf"))
    assert loads_as(shards[0]) == parameters and len(shards) > 3, "libllama loads another model of the shards"
    tools.run("merge", "merge", shards[0], out)
    assert filecmp.cmp(out, f16, shallow=False), "merge makes another file"

    settings = ["--set", "general.name=Edited", "--remove", "general.license", "--rename-key", "general.type=x.type"]
    tools.run("edit, to another file", "edit", f16, out, *settings)
    wanted = keys(f16) | {"general.name": "Edited"}
    wanted = {name.replace("general.type", "x.type"): value for name, value in wanted.items() if name != "general.license"}
    assert keys(out) == wanted and same_data(out, f16), "gguf-py finds another edited model"
    assert loads_as(out) == parameters, "libllama loads another edited model"
    # A text of the same length does not move the data.
    name = keys(out)["general.name"]
    naming = lambda text: ("edit", out, "--in-place", "--set", f"general.name={text}")
    tools.run("edit --in-place", *naming(name[::-1]), before=lambda: tools.quietly(*naming(name)))
    assert keys(out) == wanted | {"general.name": name[::-1]} and same_data(out, f16), "gguf-py finds another model in place"
    assert loads_as(out) == parameters, "libllama loads another model that was edited in place"
    return quantized


def safetensors(tools, llama, work, minilm, f16):
    out, file = work / "out.gguf", work / "out.safetensors"
    tools.run("from_safetensors (MiniLM)", "from_safetensors", minilm, out, "--type", "F16")
    assert llama.load(out), "libllama does not load what from_safetensors makes"
    tools.run("to_safetensors", "to_safetensors", f16, file)
    found, wanted = load_file(file), tensors(f16)
    norm = found["model.norm.weight"].astype(np.float32)
    assert len(found) == len(wanted) and np.array_equal(norm, values(wanted["output_norm.weight"])), "other safetensors"
    tools.run("from_safetensors", "from_safetensors", file, out)
    assert filecmp.cmp(out, f16, shallow=False), "from_safetensors makes another file"


def looking(tools, work, f16, quantized):
    """Tools that look at models: numpy must come to their numbers."""
    a, b = tensors(f16), tensors(quantized)
    name = "blk.3.ffn_down.weight"
    exact, rounded = (values(model[name]).astype(np.float64) for model in (a, b))

    tools.run("inspect", "inspect", f16)
    tools.run("inspect --check", "inspect", f16, "--check")
    diff = json.loads(tools.run("diff", "diff", f16, quantized, "--json"))
    found = {entry["name"]: entry for entry in diff["tensors"]["different"]}
    assert set(found) == {name for name in a if a[name].tensor_type != b[name].tensor_type}, "diff finds other tensors"
    rmse = float(np.sqrt(np.mean((exact - rounded) ** 2)))
    largest = float(np.abs(exact - rounded).max())
    error = found[name]["values"]
    assert close(error["rmse"], rmse) and close(error["max"], largest), f"diff: {error}, numpy: {rmse}, {largest}"
    assert error["differing"] == int((exact != rounded).sum()), "diff counts other values"

    out = work / "report.html"
    numbers = json.loads(tools.run("report --against", "report", quantized, "-o", out, "--against", f16, "--json"))
    assert name in json.dumps(numbers), "report leaves a tensor out"
    page = Page()
    page.feed(out.read_text())
    assert not page.open and page.count["svg"] > 3 and page.count["tr"] > len(a), f"report: {page.open}, {page.count}"

    with served(f16) as url:
        shown = json.loads(tools.run("inspect URL", "inspect", url, "--json"))
        assert shown["bytes_read"] < f16.stat().st_size / 50, "inspect reads more than the header"
        Ranges.sent = 0
        one = json.loads(tools.quietly("inspect", url, "--tensor", name, "--json"))
        tools.run("inspect URL --tensor", "inspect", url, "--tensor", name)
    figures = (one["min"], one["max"], one["mean"])
    assert all(map(close, figures, (exact.min(), exact.max(), exact.mean()))), f"of a URL: {figures}"
    data_start = min(int(tensor.data_offset) for tensor in a.values())
    # Two bytes per value, and at most 64 KiB more than the header.
    assert Ranges.sent <= (1 + tools.rounds) * (data_start + (64 << 10) + 2 * exact.size), f"inspect read {Ranges.sent} bytes"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minilm", type=pathlib.Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("smollm2", type=pathlib.Path, help="a GGUF of SmolLM2")
    parser.add_argument("--gguf", type=pathlib.Path, required=True, help="the program that was built")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for what is made")
    parser.add_argument("--llama", type=pathlib.Path, required=True, help="folder of libllama and libggml")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    work = arguments.work / "real-tools"
    work.mkdir()
    try:
        tools, llama = Tools(arguments.gguf, arguments.rounds), Llama(arguments.llama)
        f16 = work / "f16.gguf"
        tools.quietly("convert", arguments.smollm2, f16, "--type", "F16")
        quantized = making_models(tools, llama, work, f16, arguments.smollm2)
        safetensors(tools, llama, work, arguments.minilm, f16)
        looking(tools, work, f16, quantized)
    finally:
        for path in work.iterdir():
            path.unlink()
        work.rmdir()
    print("\n".join(tools.table()))


if __name__ == "__main__":
    main()

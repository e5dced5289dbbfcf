"""Makes model files with gguf-py: the sample that ships with the examples, and a large one for tests.

    make_model.py --sample examples/sample.gguf     (quantizes with ggml: set GGML_BASE_SO)
    make_model.py --synthetic OUT [--mb 256]

Seeded: the same command writes the same file.
"""

import argparse
import os

import numpy as np
from gguf import GGUFWriter, GGMLQuantizationType as Type, LlamaFileType, TokenType

from ggml import Ggml

SEED = 20260801

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '</s>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
WORDS = (
    "▁ e t a o i n s h r d l u c m f w y p v b g k q j x z . , ! ? ' - ▁the ▁of ▁and ▁to ▁in ▁a ▁is ▁it ▁he "
    "▁was ▁for ▁on ▁that ▁as ▁with in er an re on at en ed ing ▁block ▁scale ▁model"
).split()


def weights(rng, rows, row_len):
    return rng.normal(0, 0.02, (rows, row_len)).astype(np.float32)


def add_llama(writer, layers, embedding, feed_forward, heads, kv_heads, vocabulary):
    writer.add_context_length(2048)
    writer.add_block_count(layers)
    writer.add_embedding_length(embedding)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(embedding // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)


def sample(path):
    """A llama small enough to commit: two layers and eight tensor types."""
    ggml, rng = Ggml(os.environ["GGML_BASE_SO"]), np.random.default_rng(SEED)
    tokens = ["<unk>", "<s>", "</s>", *WORDS]
    tokens += [f"<0x{byte:02X}>" for byte in range(64 - len(tokens))]
    kinds = {"<unk>": TokenType.UNKNOWN, "<s>": TokenType.CONTROL, "</s>": TokenType.CONTROL}
    width, kv_width, feed_forward = 64, 32, 256

    writer = GGUFWriter(path, "llama")
    writer.add_name("Sample Llama 2 layers")
    writer.add_description("Random weights in eight tensor types: for trying out tools, not for talking to")
    writer.add_license("MIT OR Apache-2.0")
    writer.add_tags(["sample", "random-weights"])
    writer.add_languages(["en"])
    add_llama(writer, 2, width, feed_forward, 4, 2, len(tokens))
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_quantization_version(2)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([float(min(3 - index, 0)) for index in range(len(tokens))])
    writer.add_token_types([
        int(kinds.get(token, TokenType.BYTE if token.startswith("<0x") else TokenType.NORMAL)) for token in tokens
    ])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    def add(name, rows, row_len, ty):
        values = weights(rng, rows, row_len)
        if ty == Type.F32:
            writer.add_tensor(name, values)
        elif ty == Type.F16:
            writer.add_tensor(name, values.astype(np.float16))
        else:
            writer.add_tensor(name, ggml.quantize(ty, values), raw_dtype=ty)

    def add_norm(name):
        writer.add_tensor(name, (1 + rng.normal(0, 0.1, width)).astype(np.float32))

    add("token_embd.weight", len(tokens), width, Type.F16)
    layers = [
        (Type.Q8_0, Type.BF16, Type.F32, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q4_K),
        (Type.Q4_0, Type.Q4_1, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_0, Type.Q6_K),
    ]
    for index, (q, k, v, out, gate, up, down) in enumerate(layers):
        block = f"blk.{index}."
        add_norm(block + "attn_norm.weight")
        add(block + "attn_q.weight", width, width, q)
        add(block + "attn_k.weight", kv_width, width, k)
        add(block + "attn_v.weight", kv_width, width, v)
        add(block + "attn_output.weight", width, width, out)
        add_norm(block + "ffn_norm.weight")
        add(block + "ffn_gate.weight", feed_forward, width, gate)
        add(block + "ffn_up.weight", feed_forward, width, up)
        add(block + "ffn_down.weight", width, feed_forward, down)
    add_norm("output_norm.weight")
    finish(writer)


def synthetic(path, megabytes):
    """An F16 llama with rows of 2048 and 4096, whole super-blocks, made tensor by tensor."""
    rng = np.random.default_rng(SEED)
    width, feed_forward, kv_width = 2048, 4096, 512
    shapes = {
        "attn_q.weight": (width, width),
        "attn_k.weight": (kv_width, width),
        "attn_v.weight": (kv_width, width),
        "attn_output.weight": (width, width),
        "ffn_gate.weight": (feed_forward, width),
        "ffn_up.weight": (feed_forward, width),
        "ffn_down.weight": (width, feed_forward),
    }
    layer_bytes = 2 * sum(rows * row_len for rows, row_len in shapes.values())
    layers = max(1, round(megabytes * 1e6 / layer_bytes))
    writer = GGUFWriter(path, "llama")
    writer.add_name("Synthetic Llama")
    add_llama(writer, layers, width, feed_forward, 16, 4, 0)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    tensors = []
    for layer in range(layers):
        for name in ["attn_norm.weight", "ffn_norm.weight"]:
            tensors.append((f"blk.{layer}.{name}", (width,), np.float32))
        tensors += [(f"blk.{layer}.{name}", shape, np.float16) for name, shape in shapes.items()]
    for name, shape, dtype in tensors:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        writer.add_tensor_info(name, shape, np.dtype(dtype), size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, shape, dtype in tensors:
        values = rng.standard_normal(shape, dtype=np.float32)
        values *= 0.02
        writer.write_tensor_data(values.astype(dtype))
    writer.close()


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="OUT")
    parser.add_argument("--synthetic", metavar="OUT")
    parser.add_argument("--mb", type=int, default=256, help="size of the synthetic model")
    arguments = parser.parse_args()
    if arguments.sample:
        sample(arguments.sample)
    if arguments.synthetic:
        synthetic(arguments.synthetic, arguments.mb)
    if not (arguments.sample or arguments.synthetic):
        parser.error("nothing to make")


if __name__ == "__main__":
    main()

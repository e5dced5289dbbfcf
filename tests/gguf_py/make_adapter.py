"""Makes a LoRA adapter of PEFT for the sample model, with nothing but Python: a folder, and one with its base's config.json."""

import json
import pathlib
import struct
import sys

WIDTH, INNER, RANK = 64, 256, 4


def main():
    folder = pathlib.Path(sys.argv[1])
    base = folder / "base"
    base.mkdir(parents=True)
    config = dict(
        architectures=["LlamaForCausalLM"], hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
    )  # fmt: skip
    (base / "config.json").write_text(json.dumps(config))
    adapter = dict(peft_type="LORA", r=RANK, lora_alpha=8, base_model_name_or_path="nobody/nothing")
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    header, data = {}, bytearray()
    for name, rows, columns in [("self_attn.q_proj", WIDTH, WIDTH), ("mlp.down_proj", WIDTH, INNER)]:
        for layer in range(2):
            for side, shape in [("A", [RANK, columns]), ("B", [rows, RANK])]:
                count = shape[0] * shape[1]
                values = struct.pack(f"<{count}f", *((at * 37 % 101 - 50) / 1000 for at in range(count)))
                tensor = f"base_model.model.model.layers.{layer}.{name}.lora_{side}.weight"
                header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
                data += values
    text = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()

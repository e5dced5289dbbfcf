"""Writes the files that tests/write/gguf_py.rs writes too, with gguf-py's GGUFWriter.

Usage: python write_cases.py FOLDER

The files in tests/golden/gguf_py come from this script and gguf 0.19.0. A case here and the function of the
same name in the test make the same calls.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType as Type
from gguf.constants import GGUFEndian
from gguf.constants import GGUFValueType as Value


def scalars(w: GGUFWriter) -> None:
    w.add_uint8("u8", 200)
    w.add_int8("i8", -100)
    w.add_uint16("u16", 60000)
    w.add_int16("i16", -30000)
    w.add_uint32("u32", 4000000000)
    w.add_int32("i32", -2000000000)
    w.add_uint64("u64", 18000000000000000000)
    w.add_int64("i64", -9000000000000000000)
    w.add_float32("f32", 0.1)
    w.add_float64("f64", -0.1)
    w.add_bool("yes", True)
    w.add_bool("no", False)
    w.add_string("string", "größe 模型")


def arrays(w: GGUFWriter) -> None:
    w.add_array("i32", [1, -2, 300000])
    w.add_array("f32", [0.5, -1.25, 1e-40])
    w.add_array("bool", [True, False, True])
    w.add_array("string", ["<s>", "▁the", "a\0b"])
    w.add_array("bytes", bytes([0, 127, 255]))
    w.add_array("nested", [[1, 2], ["x"], [[0.5]]])
    for name, ty, values in [
        ("u8", Value.UINT8, [1, 255]),
        ("i8", Value.INT8, [-1, 127]),
        ("u16", Value.UINT16, [1, 65535]),
        ("i16", Value.INT16, [-1, 32767]),
        ("u32", Value.UINT32, [1, 4294967295]),
        ("u64", Value.UINT64, [1, 18446744073709551615]),
        ("i64", Value.INT64, [-1, 9223372036854775807]),
        ("f64", Value.FLOAT64, [0.1, -1e300]),
    ]:
        w.add_key_value(f"typed.{name}", values, Value.ARRAY, sub_type=ty)


def tensors(w: GGUFWriter) -> None:
    w.add_uint32("general.file_type", 0)
    w.add_tensor("f32", np.arange(15, dtype=np.float32).reshape(3, 5) * np.float32(0.5))
    w.add_tensor("f16", np.arange(7, dtype=np.float16))
    w.add_tensor("f64", np.arange(3, dtype=np.float64) - 1)
    w.add_tensor("i8", np.arange(-3, 4, dtype=np.int8))
    w.add_tensor("i16", np.arange(8, dtype=np.int16).reshape(2, 2, 2) * 1000)
    w.add_tensor("i32", np.arange(2, dtype=np.int32).reshape(1, 2, 1, 1) * 100000)
    w.add_tensor("i64", np.arange(9, dtype=np.int64) << 40)
    w.add_tensor("scalar", np.array(2.5, dtype=np.float32))
    w.add_tensor("none", np.zeros((0, 4), dtype=np.float32))
    w.add_tensor("q8_0", np.arange(2 * 68, dtype=np.uint8).reshape(2, 68), raw_dtype=Type.Q8_0)
    w.add_tensor("q4_0", np.arange(18, dtype=np.uint8), raw_dtype=Type.Q4_0)


def alignment_64(w: GGUFWriter) -> None:
    w.add_uint32("before", 1)
    w.add_custom_alignment(64)
    w.add_uint32("after", 2)
    three_tensors(w)


def alignment_1(w: GGUFWriter) -> None:
    w.add_custom_alignment(1)
    three_tensors(w)


def alignment_32(w: GGUFWriter) -> None:
    w.add_custom_alignment(32)
    three_tensors(w)


def alignment_twice(w: GGUFWriter) -> None:
    w.add_custom_alignment(128)
    w.add_uint32("between", 1)
    w.add_custom_alignment(16)
    three_tensors(w)


def three_tensors(w: GGUFWriter) -> None:
    for i in range(3):
        w.add_tensor(f"blk.{i}.weight", np.arange(i * 10 + 1, dtype=np.float32))


def overwritten(w: GGUFWriter) -> None:
    w.add_uint32("first", 1)
    w.add_uint32("second", 2)
    w.add_string("first", "now a string")


def empty(w: GGUFWriter) -> None:
    pass


CASES = [scalars, arrays, tensors, alignment_64, alignment_1, alignment_32, alignment_twice, overwritten, empty]


def whole(path: Path, case, endian: GGUFEndian) -> None:
    w = GGUFWriter(path, "test", endianess=endian)
    case(w)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def streamed(path: Path, endian: GGUFEndian) -> None:
    """Declares first and gives the data later, as converters of large models do."""
    data = [np.arange(i * 5 + 1, dtype=np.float32) for i in range(4)]
    w = GGUFWriter(path, "test", endianess=endian)
    for i, values in enumerate(data):
        w.add_tensor_info(f"t{i}", values.shape, values.dtype, values.nbytes)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for values in data:
        w.write_tensor_data(values)
    w.close()


def metadata_only(path: Path, endian: GGUFEndian) -> None:
    """Stops behind the metadata: nothing is padded."""
    w = GGUFWriter(path, "test", endianess=endian)
    w.add_bool("odd", True)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def main() -> None:
    folder = Path(sys.argv[1])
    for suffix, endian in [("le", GGUFEndian.LITTLE), ("be", GGUFEndian.BIG)]:
        for case in CASES:
            whole(folder / f"{case.__name__}.{suffix}.gguf", case, endian)
        streamed(folder / f"streamed.{suffix}.gguf", endian)
        metadata_only(folder / f"metadata_only.{suffix}.gguf", endian)


if __name__ == "__main__":
    main()

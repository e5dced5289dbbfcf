//! Whatever is declared, the file has the structure that the format requires. It is read back by a parser that
//! shares no code with the crate.

#![cfg(feature = "std")]

use crate::common;
use gguf_codec::{Array, ByteOrder, GgmlType, Gguf, Value, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

/// Reads the numbers of a file; panics at its end.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
    order: ByteOrder,
}

impl<'a> Cursor<'a> {
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        self.at += len;
        &self.file[self.at - len..self.at]
    }

    fn number(&mut self, len: usize) -> u64 {
        let mut bytes = self.bytes(len).to_vec();
        if self.order == ByteOrder::Little {
            bytes.reverse();
        }
        bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn string(&mut self) -> &'a [u8] {
        let len = self.number(8) as usize;
        self.bytes(len)
    }

    fn value(&mut self, ty: u64) -> Value {
        match ty {
            0 => Value::U8(self.number(1) as u8),
            1 => Value::I8(self.number(1) as i8),
            2 => Value::U16(self.number(2) as u16),
            3 => Value::I16(self.number(2) as i16),
            4 => Value::U32(self.number(4) as u32),
            5 => Value::I32(self.number(4) as i32),
            6 => Value::F32(f32::from_bits(self.number(4) as u32)),
            7 => Value::Bool(self.number(1) == 1),
            8 => Value::String(self.string().into()),
            9 => Value::Array(self.array()),
            10 => Value::U64(self.number(8)),
            11 => Value::I64(self.number(8) as i64),
            12 => Value::F64(f64::from_bits(self.number(8))),
            _ => panic!("value type {ty}"),
        }
    }

    /// Supports only the kinds of arrays that the test writes.
    fn array(&mut self) -> Array {
        let (ty, len) = (self.number(4), self.number(8));
        match ty {
            2 => Array::U16((0..len).map(|_| self.number(2) as u16).collect()),
            8 => Array::String((0..len).map(|_| self.string().into()).collect()),
            9 => Array::Array((0..len).map(|_| self.array()).collect()),
            12 => Array::F64((0..len).map(|_| f64::from_bits(self.number(8))).collect()),
            _ => panic!("element type {ty}"),
        }
    }
}

fn array() -> impl Strategy<Value = Array> {
    let flat = prop_oneof![
        vec(any::<u16>(), 0..5).prop_map(Array::U16),
        vec(vec(any::<u8>(), 0..5), 0..5).prop_map(Array::String),
        vec(-1e300..1e300f64, 0..5).prop_map(Array::F64),
    ];
    flat.prop_recursive(3, 12, 3, |inner| vec(inner, 0..3).prop_map(Array::Array))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        (-1e30..1e30f32).prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        vec(any::<u8>(), 0..40).prop_map(Value::String),
        array().prop_map(Value::Array),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        (-1e300..1e300f64).prop_map(Value::F64),
    ]
}

/// Extents that give whole blocks of a type.
fn tensor() -> impl Strategy<Value = (GgmlType, Vec<u64>)> {
    let types = prop::sample::select(GgmlType::ALL);
    (types, 0..4u64, vec(0..4u64, 0..4)).prop_map(|(ty, blocks, outer)| {
        let mut extents = vec![blocks * ty.block_len() as u64];
        extents.extend(outer);
        (ty, extents)
    })
}

proptest! {
    #![proptest_config(common::property(256))]

    #[test]
    fn every_file_has_the_declared_structure(
        metadata in vec(("[a-z.]{1,8}", value()), 0..8),
        tensors in vec(tensor(), 0..6),
        alignment in prop::option::of(0..9u32),
        big in any::<bool>(),
        version in 2..=3u32,
        final_padding in any::<bool>(),
    ) {
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let alignment = alignment.map(|log| 1 << log);
        let mut writer = Writer::new(Vec::new());
        writer.set_version(version).unwrap().set_byte_order(order).set_final_padding(final_padding);
        let mut expected: Vec<(String, Value)> = vec![];
        for (key, value) in metadata {
            writer.set_metadata(&key, value.clone()).unwrap();
            match expected.iter_mut().find(|(there, _)| *there == key) {
                Some(entry) => entry.1 = value,
                None => expected.push((key, value)),
            }
        }
        if let Some(alignment) = alignment {
            writer.set_alignment(alignment).unwrap();
            expected.push(("general.alignment".into(), Value::U32(alignment)));
        }
        let alignment = alignment.unwrap_or(32) as usize;
        for (index, (ty, extents)) in tensors.iter().enumerate() {
            writer.declare_tensor(&format!("t{index}"), extents, *ty).unwrap();
        }
        let file_len = writer.file_len().unwrap();
        let mut data = writer.write_header().unwrap();
        let mut contents = vec![];
        while let Some((name, shape, ty)) = data.next_tensor() {
            let name = name.to_owned();
            // Never zero, so that padding and data cannot be confused.
            let byte = contents.len() as u8 + 1;
            let bytes = vec![byte; ty.bytes_for(shape.element_count()).unwrap() as usize];
            let mut tensor = data.begin(&name).unwrap();
            for piece in bytes.chunks(13) {
                tensor.write_bytes(piece).unwrap();
            }
            tensor.finish().unwrap();
            contents.push(bytes);
        }
        let file = data.finish().unwrap();
        prop_assert_eq!(file.len() as u64, file_len);

        let mut cursor = Cursor { file: &file, at: 0, order };
        prop_assert_eq!(cursor.bytes(4), b"GGUF");
        prop_assert_eq!(cursor.number(4), u64::from(version));
        prop_assert_eq!(cursor.number(8), tensors.len() as u64);
        prop_assert_eq!(cursor.number(8), expected.len() as u64);
        for (key, value) in &expected {
            prop_assert_eq!(cursor.string(), key.as_bytes());
            let ty = cursor.number(4);
            prop_assert_eq!(&cursor.value(ty), value);
        }
        let mut offsets = vec![];
        for (index, (ty, extents)) in tensors.iter().enumerate() {
            let name = format!("t{index}");
            prop_assert_eq!(cursor.string(), name.as_bytes());
            prop_assert_eq!(cursor.number(4), extents.len() as u64);
            for extent in extents {
                prop_assert_eq!(cursor.number(8), *extent);
            }
            prop_assert_eq!(cursor.number(4), u64::from(ty.id()));
            offsets.push(cursor.number(8) as usize);
        }

        // Data and padding, byte by byte: data at the offsets, zeros between, nothing more.
        let mut rebuilt = file[..cursor.at].to_vec();
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(alignment), 0);
        if !tensors.is_empty() || final_padding {
            pad(&mut rebuilt);
        }
        let start = rebuilt.len();
        for (index, bytes) in contents.iter().enumerate() {
            prop_assert_eq!(offsets[index] % alignment, 0);
            prop_assert_eq!(start + offsets[index], rebuilt.len());
            rebuilt.extend(bytes);
            if index + 1 < contents.len() || final_padding {
                pad(&mut rebuilt);
            }
        }
        prop_assert_eq!(&file, &rebuilt);

        let model = Gguf::parse(&file).unwrap();
        let mut writer = Writer::new(Vec::new());
        writer.copy_header_from(&model).unwrap();
        let mut data = writer.write_header().unwrap();
        for tensor in model.tensors() {
            data.copy_tensor(&tensor.tensor().unwrap()).unwrap();
        }
        prop_assert_eq!(data.finish().unwrap(), file);
    }
}

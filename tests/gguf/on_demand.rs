//! Tensors that stay in a file have the same values as in memory, and only the requested bytes are read.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use gguf_codec::blocks::Q8_0;
use gguf_codec::{ByteOrder, Error, GgmlType, Gguf, ReadAt, Shape, Tensor, Writer, f16};

const ROW: usize = 512;

/// A file that records its reads, and fails them while it is broken.
#[derive(Clone)]
struct Watched(Arc<State>);

struct State {
    file: Vec<u8>,
    reads: Mutex<Vec<(u64, usize)>>,
    is_broken: AtomicBool,
}

impl Watched {
    fn new(file: Vec<u8>) -> Self {
        Watched(Arc::new(State { file, reads: Mutex::default(), is_broken: AtomicBool::new(false) }))
    }

    fn open(&self) -> Gguf<Vec<u8>> {
        let model = Gguf::read_at(self.clone(), self.0.file.len() as u64).unwrap();
        self.reads();
        model
    }

    /// Offset and length of each read since the last call.
    fn reads(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.0.reads.lock().unwrap())
    }
}

impl ReadAt for Watched {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.0.is_broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.0.reads.lock().unwrap().push((offset, buffer.len()));
        self.0.file.fill_at(buffer, offset)
    }
}

fn file(order: ByteOrder, tensors: &[(&str, GgmlType, usize)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order);
    for &(name, ty, rows) in tensors {
        writer.declare_tensor(name, &[ROW as u64, rows as u64], ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for &(name, ty, rows) in tensors {
        let values: Vec<f32> = (0..rows * ROW).map(|i| ((i * 31 % 257) as f32 - 128.0) / 100.0).collect();
        if ty.can_quantize() {
            data.write_values(name, &values, Some(&[1.0; ROW])).unwrap();
        } else {
            data.write_tensor(name, &vec![7; rows * ROW * ty.block_bytes()]).unwrap();
        }
    }
    data.finish().unwrap()
}

/// Everything that can be read from a tensor, as text.
fn all_of(tensor: &Tensor<'_>) -> String {
    let all: Vec<f32> = tensor.dequantize().unwrap();
    let halves: Vec<f16> = tensor.dequantize().unwrap();
    let row: Vec<f32> = tensor.row(1).unwrap().dequantize().unwrap();
    let rows: Vec<f32> = tensor.rows(1..).unwrap().dequantize().unwrap();
    let (mut into, mut gathered) = (vec![0.0f32; 2 * ROW], vec![0.0f32; 3 * ROW]);
    tensor.rows_into(1..3, &mut into).unwrap();
    tensor.dequantize_rows(&[2, 0, 2], &mut gathered).unwrap();
    let chunks: Vec<f32> =
        tensor.row_chunks(2 * ROW).flat_map(|rows| rows.dequantize::<f32>().unwrap()).collect();
    #[cfg(feature = "rayon")]
    assert_eq!(tensor.par_dequantize::<f32>().unwrap(), all);
    let mut some = [0; 9];
    tensor.read_bytes(tensor.byte_len() - 9, &mut some).unwrap();
    let shape = (tensor.len(), tensor.byte_len(), tensor.row_count(), tensor.is_empty());
    format!(
        "{all:?}{halves:?}{row:?}{rows:?}{into:?}{gathered:?}{chunks:?}{some:?}{shape:?}{:?}",
        tensor.validate()
    )
}

#[test]
fn values_are_those_of_a_file_in_memory() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let tensors: Vec<_> = GgmlType::ALL.iter().map(|ty| (ty.name(), *ty, 5)).collect();
        let file = file(order, &tensors);
        let watched = Watched::new(file.clone());
        let (memory, opened) = (Gguf::parse(&file).unwrap(), watched.open());
        for ty in GgmlType::ALL {
            let (memory, opened) = (memory.tensor(ty.name()).unwrap(), opened.tensor(ty.name()).unwrap());
            let expected = all_of(&memory);
            assert!(all_of(&opened) == expected, "{ty} {order}, read");
            assert!(opened.bytes().unwrap() == memory.bytes().unwrap(), "{ty} {order}");
            watched.reads();
            assert!(all_of(&opened) == expected, "{ty} {order}, loaded");
            assert_eq!(watched.reads(), [], "{ty}: what is in memory is not read again");
            assert_eq!(opened.row(2).unwrap().bytes().unwrap(), memory.row(2).unwrap().bytes().unwrap());
        }
    }
}

#[test]
fn no_more_is_read_than_is_asked_for() {
    let watched = Watched::new(file(ByteOrder::Little, &[("a", GgmlType::Q8_0, 9), ("b", GgmlType::F32, 2)]));
    let model = Gguf::read_at(watched.clone(), watched.0.file.len() as u64).unwrap();
    assert!(watched.reads().len() <= 3, "a header is not read byte by byte");

    let tensor = model.tensor("a").unwrap();
    let (start, row) = (model.tensor_info("a").unwrap().file_offset(), ROW / 32 * 34);
    assert_eq!((tensor.row(3).unwrap().len(), tensor.rows(2..).unwrap().row_count()), (ROW, 7));
    assert_eq!(watched.reads(), [], "a view reads nothing");
    tensor.row(3).unwrap().dequantize::<f32>().unwrap();
    assert_eq!(watched.reads(), [(start + 3 * row as u64, row)]);
    tensor.rows_into(4..6, &mut [0.0f32; 2 * ROW]).unwrap();
    assert_eq!(watched.reads(), [(start + 4 * row as u64, 2 * row)]);
    tensor.read_bytes(5, &mut [0; 3]).unwrap();
    assert_eq!(watched.reads(), [(start + 5, 3)]);

    // A slice covers the whole tensor, which is read only once, whoever requests it.
    let blocks = tensor.row(8).unwrap().typed::<Q8_0>().unwrap().blocks();
    assert_eq!((blocks.len(), watched.reads()), (ROW / 32, vec![(start, 9 * row)]));
    assert!(std::ptr::eq(&tensor.typed::<Q8_0>().unwrap().blocks()[8 * ROW / 32], &blocks[0]));
    #[cfg(feature = "codecs")]
    assert_eq!(model.tensor("a").unwrap().matrix().unwrap().row_count(), 9);
    assert_eq!(watched.reads(), []);

    // The file's floats have this machine's byte order only if it is little-endian too.
    if cfg!(target_endian = "little") {
        let values: &[f32] = model.tensor("b").unwrap().as_slice().unwrap();
        assert_eq!(values, model.tensor("b").unwrap().dequantize::<f32>().unwrap());
    }
}

#[test]
fn long_tensors_are_read_in_pieces_and_faults_are_found_in_each() {
    // Four pieces of half a mebibyte, the last of them shorter.
    let (ty, rows) = (GgmlType::F32, 900);
    let mut bytes = file(ByteOrder::Little, &[("long", ty, rows)]);
    let last = bytes.len() - 4;
    let watched = Watched::new(bytes.clone());
    let model = watched.open();
    let tensor = model.tensor("long").unwrap();
    tensor.validate().unwrap();
    let longest = watched.reads().iter().map(|(_, len)| *len).max().unwrap();
    assert!(longest < bytes.len() / 3, "{longest}");
    let parsed = Gguf::parse(&bytes).unwrap();
    let expected: Vec<f32> = parsed.tensor("long").unwrap().dequantize().unwrap();
    assert!(tensor.dequantize::<f32>().unwrap() == expected);
    #[cfg(feature = "rayon")]
    assert!(tensor.par_dequantize::<f32>().unwrap() == expected);
    let mut copy = Writer::new(Vec::new());
    copy.set_byte_order(ByteOrder::Big);
    copy.declare_tensor("long", &[ROW as u64, rows as u64], ty).unwrap();
    let mut copy = copy.write_header().unwrap();
    copy.copy_tensor(&tensor).unwrap();
    assert!(copy.finish().unwrap() == file(ByteOrder::Big, &[("long", ty, rows)]));

    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = Watched::new(bytes).open().tensor("long").unwrap().validate().unwrap_err();
    let Error::InvalidBlock { block, .. } = error else { panic!("{error}") };
    assert_eq!(block, (rows * ROW - 1) as u64);
}

#[test]
fn a_tensor_that_cannot_be_read_is_named() {
    let watched = Watched::new(file(ByteOrder::Little, &[("a", GgmlType::Q8_0, 2), ("f", GgmlType::F32, 2)]));
    let model = watched.open();
    watched.0.is_broken.store(true, Ordering::Relaxed);
    let (a, f) = (model.tensor("a").unwrap(), model.tensor("f").unwrap());
    let mut results = vec![
        a.dequantize::<f32>().map(drop),
        a.row(1).unwrap().dequantize::<f32>().map(drop),
        a.bytes().map(drop),
        a.typed::<Q8_0>().map(drop),
        a.validate(),
        a.read_bytes(0, &mut [0]),
        f.dequantize::<f32>().map(drop),
    ];
    if cfg!(target_endian = "little") {
        results.push(f.as_slice::<f32>().map(drop));
    }
    #[cfg(feature = "codecs")]
    results.push(a.matrix().map(drop));
    #[cfg(feature = "rayon")]
    results.push(a.par_dequantize::<f32>().map(drop));
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::Io { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("read tensor 'a'") || error.contains("read tensor 'f'"), "{error}");
    }
    // A read that failed is tried again.
    watched.0.is_broken.store(false, Ordering::Relaxed);
    assert_eq!(a.bytes().unwrap().len(), 2 * ROW / 32 * 34);
}

#[test]
fn bytes_beyond_a_tensor_are_out_of_range() {
    let bytes = [1, 2, 3];
    let tensor =
        Tensor::new("t", Shape::new(&[3]).unwrap(), GgmlType::I8, ByteOrder::Little, &bytes).unwrap();
    let mut two = [0; 2];
    tensor.read_bytes(1, &mut two).unwrap();
    assert_eq!(two, [2, 3]);
    tensor.read_bytes(3, &mut []).unwrap();
    for at in [2, 4, u64::MAX] {
        let error = tensor.read_bytes(at, &mut two).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { count: 3, .. }), "{error}");
    }
    assert!(tensor.read_bytes(4, &mut []).is_err());
}

#[test]
fn a_gguf_inside_another_file_is_read_there() {
    let inner = file(ByteOrder::Little, &[("a", GgmlType::Q8_0, 2)]);
    let outer = [&[0xff; 1000][..], &inner, b"and more"].concat();
    let (len, end) = (outer.len() as u64, inner.len() as u64);
    let model = Gguf::options().offset(1000).read_at(outer, len).unwrap();
    assert_eq!(model.trailing(), end..end + 8);
    let inner = Gguf::parse(&inner).unwrap();
    let [here, there] = [model.tensor("a").unwrap(), inner.tensor("a").unwrap()];
    assert_eq!(here.dequantize::<f32>().unwrap(), there.dequantize::<f32>().unwrap());
    assert_eq!(here.bytes().unwrap(), there.bytes().unwrap());
    let error = Gguf::options().offset(7).read_at(vec![0; 7], 7).unwrap_err();
    assert!(matches!(error, Error::Length { found: 7, .. }), "{error}");
}

//! Streams that fail at any byte or refuse one, and the size of the pieces that leave.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use gguf_codec::{Array, ByteOrder, Error, GgmlType, Limits, Value, Writer};

use crate::stages::{abc, says, stream, write_abc};

/// Accepts `room` bytes, and then fails.
struct Full {
    room: usize,
    fail_flush: bool,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.fail_flush { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

#[test]
fn a_stream_that_fails_at_any_byte_is_an_error() {
    let len = write_abc(stream()).unwrap().len();
    for room in 0..len {
        let error = write_abc(Writer::new(Full { room, fail_flush: false })).err().unwrap();
        let error = error.downcast::<Error>().unwrap();
        assert!(matches!(error, Error::Io { .. }), "{room}: {error}");
        says(error, &["cannot write the GGUF"]);
    }
    write_abc(Writer::new(Full { room: len, fail_flush: false })).unwrap();
    says(
        write_abc(Writer::new(Full { room: len, fail_flush: true })).err().unwrap(),
        &["cannot flush the GGUF"],
    );
}

#[test]
fn a_stream_that_failed_gives_the_file_up() {
    // The data are 32, 96 and 32 bytes with their padding.
    let header = write_abc(stream()).unwrap().len() - 160;
    let mut data = abc(Writer::new(Full { room: header + 8, fail_flush: false })).unwrap();
    says(data.write_tensor("a", &[0; 16]).unwrap_err(), &["cannot write"]);
    says(data.write_tensor("a", &[0; 16]).unwrap_err(), &["given up", "'a'"]);
    says(data.finish().err().unwrap(), &["given up", "'a'", "cannot write"]);
}

/// Refuses one write, and accepts later ones.
struct Refusing {
    refused: bool,
    after: usize,
}

impl Write for Refusing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.refused {
            self.refused = true;
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.after += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_follows_what_a_stream_refused() {
    let mut refusing = Refusing { refused: false, after: 0 };
    abc(Writer::new(&mut refusing)).unwrap_err();
    assert_eq!(refusing.after, 0);
}

/// Records only the total length and the largest piece.
#[derive(Clone, Default)]
struct Counting(Rc<RefCell<(u64, usize)>>);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (total, largest) = &mut *self.0.borrow_mut();
        *total += bytes.len() as u64;
        *largest = bytes.len().max(*largest);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn values_leave_in_pieces_of_bounded_size_and_at_once() {
    const ROWS: usize = 3000;
    for (ty, order) in [
        (GgmlType::F32, ByteOrder::Little),
        (GgmlType::F32, ByteOrder::Big),
        (GgmlType::Q8_0, ByteOrder::Little),
        (GgmlType::Q8_0, ByteOrder::Big),
    ] {
        let counting = Counting::default();
        let mut writer = Writer::new(counting.clone());
        writer.set_byte_order(order).declare_tensor("t", &[1024, ROWS as u64], ty).unwrap();
        let expected = writer.file_len().unwrap();
        let mut data = writer.write_header().unwrap();
        let header = counting.0.borrow().0;
        let mut tensor = data.begin("t").unwrap();
        tensor.write_values(&vec![0.5; 1024 * (ROWS - 1)], None).unwrap();
        let row = 1024 / ty.block_len() * ty.block_bytes();
        assert_eq!(counting.0.borrow().0 - header, (row * (ROWS - 1)) as u64, "nothing is held back");
        tensor.write_values(&[0.5; 1024], None).unwrap();
        assert_eq!(tensor.remaining(), 0);
        tensor.finish().unwrap();
        data.finish().unwrap();
        let (total, largest) = *counting.0.borrow();
        assert_eq!(total, expected);
        assert!(largest <= 1024 * 1024, "{ty} {order:?}: {largest} bytes at once");
    }
}

#[test]
fn large_padding_and_many_keys_leave_in_pieces_of_bounded_size() {
    let counting = Counting::default();
    let mut writer = Writer::new(counting.clone());
    let limits = Limits { max_alignment: 1 << 22, ..Limits::default() };
    writer.set_limits(limits).set_alignment(1 << 22).unwrap();
    for key in 0..10_000 {
        writer.set_metadata(&format!("key.{key}"), Value::Array(Array::U32(vec![key; 20]))).unwrap();
    }
    writer.declare_tensor("t", &[1], GgmlType::I8).unwrap();
    let mut data = writer.write_header().unwrap();
    data.write_tensor("t", &[1]).unwrap();
    data.finish().unwrap();
    let (total, largest) = *counting.0.borrow();
    assert_eq!(total, 2 << 22);
    assert!(largest <= 64 * 1024, "{largest} bytes at once");
}

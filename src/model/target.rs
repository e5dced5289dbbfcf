//! [`Target`]: the files that [`Convert`](super::Convert) writes into.

use crate::{ByteOrder, DataWriter, GgmlType, ReadAt, Result, Shape, Sink, TensorWriter};

mod private {
    /// Keeps [`Target`](super::Target) closed: its methods may change.
    pub trait Sealed {}
}

use private::Sealed;

/// A file whose header is written and which waits for its tensors: a GGUF's [`DataWriter`], and that of a safetensors
/// file. Nothing else is one.
pub trait Target: Sealed {
    #[doc(hidden)]
    type Tensor<'a>: TargetTensor
    where
        Self: 'a;

    #[doc(hidden)]
    fn order(&self) -> ByteOrder;

    /// Refuses where the tensor that comes after `ahead` others is not this one.
    #[doc(hidden)]
    fn expect_tensor(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()>;

    #[doc(hidden)]
    fn begin_tensor(&mut self, name: &str) -> Result<Self::Tensor<'_>>;

    /// The alignment of tensors, where bytes of other files get here without coming by this process.
    #[doc(hidden)]
    fn alignment_of_runs(&self) -> Option<u32>;

    /// Copies the next tensor and the `more` that follow it, which lie in `source` as they will here. `step` hears of
    /// each part by its bytes.
    #[doc(hidden)]
    fn copy_run(
        &mut self,
        name: &str,
        more: usize,
        source: &dyn ReadAt,
        offset: u64,
        step: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()>;
}

/// A tensor that is written in pieces.
#[doc(hidden)]
pub trait TargetTensor {
    /// Writes blocks in the file's byte order.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    fn end(self) -> Result<()>;
}

impl<S: Sink> Sealed for DataWriter<S> {}

impl<S: Sink> Target for DataWriter<S> {
    type Tensor<'a>
        = TensorWriter<'a, S>
    where
        S: 'a;

    fn order(&self) -> ByteOrder {
        self.byte_order()
    }

    fn expect_tensor(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()> {
        self.expect(ahead, name, shape, ty)
    }

    fn begin_tensor(&mut self, name: &str) -> Result<TensorWriter<'_, S>> {
        self.begin(name)
    }

    fn alignment_of_runs(&self) -> Option<u32> {
        self.leaves_to_the_kernel().then(|| self.alignment())
    }

    fn copy_run(
        &mut self,
        name: &str,
        more: usize,
        source: &dyn ReadAt,
        offset: u64,
        step: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        self.copy_run(name, more, source, offset, step)
    }
}

impl<S: Sink> TargetTensor for TensorWriter<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_bytes(bytes)
    }

    fn end(self) -> Result<()> {
        self.finish()
    }
}

#[cfg(feature = "safetensors")]
mod safetensors {
    use super::{Sealed, Target, TargetTensor};
    use crate::safetensors::{DataWriter, TensorWriter};
    use crate::{ByteOrder, Error, GgmlType, ReadAt, Result, Shape, Sink};

    impl<S: Sink> Sealed for DataWriter<S> {}

    impl<S: Sink> Target for DataWriter<S> {
        type Tensor<'a>
            = TensorWriter<'a, S>
        where
            S: 'a;

        fn order(&self) -> ByteOrder {
            ByteOrder::Little
        }

        fn expect_tensor(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()> {
            self.expect(ahead, name, shape, ty)
        }

        fn begin_tensor(&mut self, name: &str) -> Result<TensorWriter<'_, S>> {
            self.begin(name)
        }

        fn alignment_of_runs(&self) -> Option<u32> {
            None
        }

        fn copy_run(
            &mut self,
            _: &str,
            _: usize,
            _: &dyn ReadAt,
            _: u64,
            _: &mut dyn FnMut(u64) -> Result<()>,
        ) -> Result<()> {
            Err(Error::write("tensors of safetensors files are written in pieces"))
        }
    }

    impl<S: Sink> TargetTensor for TensorWriter<'_, S> {
        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            self.write_bytes(bytes)
        }

        fn end(self) -> Result<()> {
            self.finish()
        }
    }
}

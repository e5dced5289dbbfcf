//! [`Target`]: the files that [`Convert`](super::Convert) writes.

use crate::byte_order::ByteOrder;
use crate::error::Result;
use crate::file::sink::Sink;
use crate::ggml_type::GgmlType;
use crate::tensor::Shape;
use crate::write::DataWriter;
use crate::write::stream::Stream;

mod private {
    /// Keeps [`Target`](super::Target) sealed, so that its methods may change.
    pub trait Sealed {}
}

use private::Sealed;

/// A file whose header is written and that is waiting for its tensors: the [`DataWriter`] of a GGUF, or that of a
/// safetensors file. Other types cannot implement it.
pub trait Target: Sealed {
    #[doc(hidden)]
    type Sink: Sink;
    /// What the format's header says of a tensor.
    #[doc(hidden)]
    type Kind;

    #[doc(hidden)]
    fn order(&self) -> ByteOrder;

    /// Returns an error unless this is the tensor that comes after `ahead` others.
    #[doc(hidden)]
    fn expect_tensor(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()>;

    /// Where the tensors' data goes, in the file's byte order.
    #[doc(hidden)]
    fn stream(&mut self) -> &mut Stream<Self::Sink, Self::Kind>;
}

impl<S: Sink> Sealed for DataWriter<S> {}

impl<S: Sink> Target for DataWriter<S> {
    type Sink = S;
    type Kind = crate::tensor::TensorLayout;

    fn order(&self) -> ByteOrder {
        self.byte_order()
    }

    fn expect_tensor(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()> {
        self.expect(ahead, name, shape, ty)
    }

    fn stream(&mut self) -> &mut Stream<S, Self::Kind> {
        &mut self.stream
    }
}

#[cfg(feature = "safetensors")]
mod safetensors {
    use super::{Sealed, Target};
    use crate::byte_order::ByteOrder;
    use crate::error::Result;
    use crate::file::sink::Sink;
    use crate::ggml_type::GgmlType;
    use crate::safetensors::{DataWriter, Kind};
    use crate::tensor::Shape;
    use crate::write::stream::Stream;

    impl<S: Sink> Sealed for DataWriter<S> {}

    impl<S: Sink> Target for DataWriter<S> {
        type Sink = S;
        type Kind = Kind;

        fn order(&self) -> ByteOrder {
            ByteOrder::Little
        }

        fn expect_tensor(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()> {
            self.expect(ahead, name, shape, ty)
        }

        fn stream(&mut self) -> &mut Stream<S, Kind> {
            &mut self.stream
        }
    }
}

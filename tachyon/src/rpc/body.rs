//! The contents of a typed request.

use crate::schema::payload::{Message, Value};

/// The contents of a request.
pub trait Body {
    /// The bytes, if they lie in memory already.
    fn bytes(&self) -> Option<&[u8]>;

    /// Length in bytes.
    fn size(&self) -> usize;

    /// Writes the bytes to `out`, which has [`size`](Self::size) bytes.
    fn write(&self, out: &mut [u8]);
}

/// A request of one value, or of none.
pub struct SingleValue<'v, M: Message>(M::View<'v>);

impl<'v, M: Message> SingleValue<'v, M> {
    /// The request of a view.
    #[inline]
    pub fn new(view: M::View<'v>) -> Self {
        Self(view)
    }
}

impl<M: Message> Body for SingleValue<'_, M> {
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        M::bytes(M::shrink(self.0))
    }

    #[inline]
    fn size(&self) -> usize {
        M::len(self.0)
    }

    #[inline]
    fn write(&self, out: &mut [u8]) {
        M::write(self.0, out);
    }
}

/// A request of one value by reference.
pub struct Borrowed<'v, T>(pub &'v T);

impl<T: Value> Body for Borrowed<'_, T> {
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        self.0.bytes()
    }

    #[inline]
    fn size(&self) -> usize {
        T::message_len(self.0.view())
    }

    #[inline]
    fn write(&self, out: &mut [u8]) {
        T::write_message(self.0.view(), out);
    }
}

/// A request that is encoded already.
pub struct Encoded(pub Vec<u8>);

impl Body for Encoded {
    fn bytes(&self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn size(&self) -> usize {
        self.0.len()
    }

    fn write(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }
}

/// A request of fields.
pub struct Fields<F> {
    size: usize,
    write: F,
}

impl<F: Fn(&mut [u8])> Fields<F> {
    /// A request of `size` bytes, which `write` fills.
    #[inline]
    pub fn new(size: usize, write: F) -> Self {
        Self { size, write }
    }
}

impl<F: Fn(&mut [u8])> Body for Fields<F> {
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        None
    }

    #[inline]
    fn size(&self) -> usize {
        self.size
    }

    #[inline]
    fn write(&self, out: &mut [u8]) {
        (self.write)(out);
    }
}

/// The contents of a request for the slow path of sending, which is compiled once.
#[derive(Clone, Copy)]
pub(crate) enum Contents<'a> {
    /// Bytes to copy.
    Bytes(&'a [u8]),
    /// A length in bytes, and the function that writes so many bytes.
    Written(usize, &'a dyn Fn(&mut [u8])),
}

impl Contents<'_> {
    /// Length in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Written(size, _) => *size,
        }
    }

    /// Writes the bytes to `out`, which has [`size`](Self::size) bytes.
    pub(crate) fn write(&self, out: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => out.copy_from_slice(bytes),
            Self::Written(_, write) => write(out),
        }
    }
}

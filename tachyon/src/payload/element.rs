//! What a request or a reply is made of: one payload, or several.

use zerocopy::{IntoBytes, TryFromBytes};

use super::malformed::{Malformed, invalid};
use super::{Layout, Payload};

/// What [`Wire`](super::Wire) needs of a type. Every payload has it; a type that `#[tachyon::payload]` refused gets it
/// too, so that whoever uses that type is not told as well.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a payload type",
    label = "not a payload",
    note = "payloads are `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `bool`, arrays of payloads, and structs and enums \
            marked with `#[tachyon::payload]`"
)]
pub trait Element: Sized + 'static {
    /// How one lies in memory.
    const LAYOUT_OF: &'static Layout;

    /// The bytes of several.
    fn bytes_of(values: &[Self]) -> &[u8];

    /// The one in `bytes`, when it may be lent as it is.
    fn lend(bytes: &[u8]) -> Option<&Self>;

    /// Those in `bytes`, when they may be lent as they are.
    fn lend_all(bytes: &[u8]) -> Option<&[Self]>;

    /// A copy of the one in `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] when there is none.
    fn read_one(bytes: &[u8]) -> Result<Self, Malformed>;
}

#[diagnostic::do_not_recommend]
impl<T: Payload> Element for T {
    const LAYOUT_OF: &'static Layout = <T as Payload>::LAYOUT;

    #[inline]
    fn bytes_of(values: &[Self]) -> &[u8] {
        values.as_bytes()
    }

    #[inline]
    fn lend(bytes: &[u8]) -> Option<&Self> {
        if const { !T::LAYOUT_OF.accepts_any_bytes() } {
            return None;
        }
        T::try_ref_from_bytes(bytes).ok()
    }

    #[inline]
    fn lend_all(bytes: &[u8]) -> Option<&[Self]> {
        if const { !T::LAYOUT_OF.accepts_any_bytes() || size_of::<T>() == 0 } {
            return None;
        }
        <[T]>::try_ref_from_bytes(bytes).ok()
    }

    fn read_one(bytes: &[u8]) -> Result<T, Malformed> {
        if bytes.len() != size_of::<T>() {
            return Err(Malformed::Length { name: T::LAYOUT_OF.name(), expected: size_of::<T>(), found: bytes.len() });
        }
        // This copies before it checks, and checks the copy.
        T::try_read_from_bytes(bytes).map_err(|_| invalid(T::LAYOUT_OF, bytes))
    }
}

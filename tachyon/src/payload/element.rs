//! What a request or a reply is made of: one payload, or several.

use super::Layout;
use super::fixed::{self, Fixed};
use super::malformed::Malformed;

/// What [`Wire`](super::Wire) needs of a type. Every fixed payload has it; a type that `#[tachyon::payload]` refused
/// gets it too, so that the uses of that type are no further mistakes.
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
impl<T: Fixed> Element for T {
    const LAYOUT_OF: &'static Layout = T::LAYOUT;

    #[inline]
    fn bytes_of(values: &[Self]) -> &[u8] {
        fixed::bytes_of(values)
    }

    #[inline]
    fn lend(bytes: &[u8]) -> Option<&Self> {
        fixed::lend(bytes)
    }

    #[inline]
    fn lend_all(bytes: &[u8]) -> Option<&[Self]> {
        fixed::lend_all(bytes)
    }

    fn read_one(bytes: &[u8]) -> Result<T, Malformed> {
        fixed::read(bytes)
    }
}

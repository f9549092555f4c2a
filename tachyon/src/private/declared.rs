//! Reading and writing the fields of declared errors.

use crate::schema::payload::{BoxedMalformed, Scratch};

/// The head of an error without fields.
const EMPTY: &[u8] = &[4, 0, 0, 0];

/// Reads the fields of an error with `read`, in memory that no peer can write to. A reply without fields is one whose
/// sender has none, or had no room for them: all fields are absent then.
///
/// # Errors
///
/// The error of `read`.
pub fn declared<E>(
    fields: &[u8],
    read: impl for<'a> FnOnce(&'a [u8], &mut Scratch<'a>) -> Result<E, BoxedMalformed>,
) -> Result<E, BoxedMalformed> {
    read(if fields.is_empty() { EMPTY } else { fields }, &mut Scratch::private())
}

/// Zeroed memory for a head and its parts.
pub fn zeros(len: usize) -> Vec<u8> {
    vec![0; len]
}

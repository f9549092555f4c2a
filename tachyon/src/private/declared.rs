//! Reading and writing the fields of declared errors.

use crate::schema::payload::{BoxedMalformed, Scratch};

/// The head of an error without fields.
const EMPTY: &[u8] = &[4, 0, 0, 0];

/// Reads the fields of an error with `read`, in memory that no peer can write to. The reply has none where its sender
/// has none, or had no room for them: all of them are absent then.
///
/// # Errors
///
/// As `read` says.
pub fn declared<E>(
    fields: &[u8],
    read: impl for<'a> FnOnce(&'a [u8], &mut Scratch<'a>) -> Result<E, BoxedMalformed>,
) -> Result<E, BoxedMalformed> {
    read(if fields.is_empty() { EMPTY } else { fields }, &mut Scratch::private())
}

/// Room for a head and its parts.
pub fn zeros(len: usize) -> Vec<u8> {
    vec![0; len]
}

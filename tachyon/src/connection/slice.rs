//! The one place where shared memory becomes a slice.
//!
//! The ring protocol decides which side may access which bytes; a slice borrows its direction for as long as it lives.
//! A correct peer does not touch the bytes of a slice. A hostile peer can change the bytes, and only the bytes, while
//! they are read: code that checks bytes copies them first (`to_vec`). SECURITY.md has the trust model.
#![allow(unsafe_code, reason = "makes slices of shared memory")]

use core::slice::{from_raw_parts, from_raw_parts_mut};

use super::rx::Rx;
use super::tx::Tx;
use crate::ring::{Frame, Reservation};

/// The bytes of a reservation that `tx` gave and has not published.
#[inline]
pub(crate) fn reserved<'a>(reservation: &'a Reservation, tx: &'a Tx) -> &'a [u8] {
    debug_assert!(reservation.len() <= tx.max_len());
    // SAFETY: a reservation is `len` bytes inside the mapping, which `tx` keeps for 'a; they are initialized as part of
    // a zero-filled memory file, any byte is valid, and only the holder of this reservation writes them.
    unsafe { from_raw_parts(reservation.as_ptr().as_ptr(), reservation.len()) }
}

/// As [`reserved`], for writing.
#[inline]
pub(crate) fn reserved_mut<'a>(reservation: &'a mut Reservation, tx: &'a Tx) -> &'a mut [u8] {
    debug_assert!(reservation.len() <= tx.max_len());
    // SAFETY: as in `reserved`: `len` initialized bytes inside the mapping, which `tx` keeps for 'a. The exclusive
    // borrow of the reservation makes this the only slice of its bytes.
    unsafe { from_raw_parts_mut(reservation.as_ptr().as_ptr(), reservation.len()) }
}

/// The payload of a frame that `rx` took and has not released.
#[inline]
pub(crate) fn payload<'a>(frame: &Frame, rx: &'a Rx) -> &'a [u8] {
    debug_assert!(frame.len <= rx.max_len());
    // SAFETY: the frame's address and length were checked against the mapping when the frame was taken, and `rx` keeps
    // the mapping for 'a. The caller releases the frame only after its last use, which ends 'a; until then the producer
    // does not write there.
    unsafe { from_raw_parts(frame.data.as_ptr(), frame.len) }
}

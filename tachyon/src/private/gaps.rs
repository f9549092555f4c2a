//! Looking at the parts of a payload, where only the compiler knows them.

use core::marker::PhantomData;

use super::message::Message;
use crate::payload::Element;

/// Asks, by being written down, whether a type is a payload.
pub struct IsPayload<T: Element>(PhantomData<T>);

/// Looks for padding between a field and the one before it, which ends at `end`.
///
/// # Panics
///
/// When there is some. The macro calls this in constants only, so the panic is a compile error, and `#[track_caller]`
/// puts it where the macro wants it: at the field.
#[track_caller]
pub const fn assert_no_gap_before(field: &str, offset: usize, end: usize) {
    if offset == end {
        return;
    }
    let mut message = gap(offset - end);
    message.push(" before `");
    message.push(field);
    message.push("`: add the field `_pad: [u8; ");
    message.push_number(offset - end);
    message.push("]` there, or put larger fields first");
    panic!("{}", message.text());
}

/// Looks for padding after the last field, which ends at `end`.
///
/// # Panics
///
/// As [`assert_no_gap_before`].
#[track_caller]
pub const fn assert_no_gap_after(field: &str, size: usize, end: usize) {
    if size == end {
        return;
    }
    let mut message = gap(size - end);
    message.push(" after `");
    message.push(field);
    message.push("`: add the field `_pad: [u8; ");
    message.push_number(size - end);
    message.push("]` at the end");
    panic!("{}", message.text());
}

/// Looks at the size of a payload.
///
/// # Panics
///
/// When it is zero, as [`assert_no_gap_before`].
#[track_caller]
pub const fn assert_not_empty(size: usize) {
    assert!(size != 0, "a payload has at least one byte: use `()` for a request or a reply of nothing");
}

const fn gap(bytes: usize) -> Message {
    let mut message = Message::new();
    message.push("a payload has no padding, and there are ");
    message.push_number(bytes);
    message.push(if bytes == 1 { " byte of it" } else { " bytes of it" });
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_side_by_side_pass() {
        assert_no_gap_before("b", 8, 8);
        assert_no_gap_after("b", 16, 16);
        assert_not_empty(1);
    }

    #[test]
    #[should_panic(expected = "there are 4 bytes of it before `b`: add the field `_pad: [u8; 4]` there")]
    fn a_gap_between_is_named() {
        assert_no_gap_before("b", 8, 4);
    }

    #[test]
    #[should_panic(expected = "there are 7 bytes of it after `live`: add the field `_pad: [u8; 7]` at the end")]
    fn a_gap_at_the_end_is_named() {
        assert_no_gap_after("live", 16, 9);
    }
}

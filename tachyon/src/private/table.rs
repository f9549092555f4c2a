//! What `endpoints!` builds its table with.

use std::marker::PhantomData;

use super::RESERVED;
use crate::dispatch::{Endpoint, Entry};

/// A table under construction. All calls of its methods share `S`, which the first endpoint settles: an endpoint of
/// another state is a type mismatch at its own name.
pub struct Table<S: ?Sized>(PhantomData<fn(&S)>);

impl<S: ?Sized> Table<S> {
    /// A table of a state to be inferred.
    #[expect(clippy::new_without_default, reason = "a `Default` could not run in a constant")]
    pub const fn new() -> Self {
        Table(PhantomData)
    }

    /// The entry of `E`.
    pub const fn entry<E: Endpoint<State = S>>(&self) -> Entry<S> {
        E::ENTRY
    }

    /// The entries of this table, even when there are none that would tell its state.
    pub const fn of<const N: usize>(&self, entries: [Entry<S>; N]) -> [Entry<S>; N] {
        entries
    }

    /// The finished table.
    pub const fn finish(entries: &'static [Entry<S>]) -> &'static [Entry<S>] {
        entries
    }
}

/// Asks a type for its `msg_type`, whether it is an endpoint or not.
pub struct Probe<E>(PhantomData<E>);

impl<E: Endpoint> Probe<E> {
    /// The `msg_type` of an endpoint. An inherent constant, so it comes before that of [`NotAnEndpoint`].
    pub const MSG_TYPE: Option<u16> = Some(E::MSG_TYPE);
}

/// Answers for the types that are no endpoints: their mistake is reported elsewhere.
pub trait NotAnEndpoint {
    /// No `msg_type`.
    const MSG_TYPE: Option<u16> = None;
}

impl<E> NotAnEndpoint for Probe<E> {}

/// A name in the list given to `endpoints!`.
pub struct Listed {
    ordinal: usize,
    name: &'static str,
    msg_type: Option<u16>,
}

impl Listed {
    /// The `ordinal`-th name of the list as the user wrote it.
    pub const fn new(ordinal: usize, name: &'static str, msg_type: Option<u16>) -> Self {
        Listed { ordinal, name, msg_type }
    }
}

/// Compares a name of the list with those before it.
///
/// # Panics
///
/// When one of them has its `msg_type`. The macro calls this in constants only, so the panic is a compile error, and
/// `#[track_caller]` puts it where the macro wants it: at the name.
#[track_caller]
pub const fn assert_own_msg_type(listed: &[Listed], ordinal: usize) {
    let mut at = 0;
    while listed[at].ordinal != ordinal {
        at += 1;
    }
    let own = &listed[at];
    // The stub that stands in for a function with a mistake has the reserved number, whatever it was meant to have.
    let Some(number) = own.msg_type else { return };
    if number == RESERVED {
        return;
    }
    let mut before = 0;
    while before < at {
        let other = &listed[before];
        if let Some(taken) = other.msg_type
            && taken == number
        {
            let mut message = Message::new();
            message.push("endpoints!: each endpoint of a table has its own msg_type, but `");
            message.push(own.name);
            message.push("` has that of `");
            message.push(other.name);
            message.push("`: ");
            message.push_number(number);
            panic!("{}", message.text());
        }
        before += 1;
    }
}

/// A text put together in a constant. What exceeds it is left out.
struct Message {
    bytes: [u8; 512],
    len: usize,
}

impl Message {
    const fn new() -> Self {
        Message { bytes: [0; 512], len: 0 }
    }

    const fn push(&mut self, text: &str) {
        let text = text.as_bytes();
        // A text that does not fit is dropped whole: cut off, it might no longer be UTF-8.
        if text.len() > self.bytes.len() - self.len {
            return;
        }
        let mut at = 0;
        while at < text.len() {
            self.bytes[self.len] = text[at];
            self.len += 1;
            at += 1;
        }
    }

    const fn push_number(&mut self, number: u16) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        let digits = "0123456789";
        let digit = (number % 10) as usize;
        self.push(digits.split_at(digit).1.split_at(1).0);
    }

    const fn text(&self) -> &str {
        match str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "endpoints!: each endpoint of a table has its own msg_type",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Listed, Message, assert_own_msg_type};

    #[test]
    fn distinct_numbers_pass() {
        let listed = [Listed::new(0, "a", Some(1)), Listed::new(2, "b", Some(2)), Listed::new(3, "c", None)];
        assert_own_msg_type(&listed, 0);
        assert_own_msg_type(&listed, 2);
        assert_own_msg_type(&listed, 3);
    }

    #[test]
    fn the_reserved_number_of_a_stub_is_no_duplicate() {
        assert_own_msg_type(&[Listed::new(0, "a", Some(u16::MAX)), Listed::new(1, "b", Some(u16::MAX))], 1);
    }

    #[test]
    #[should_panic(expected = "but `m::b` has that of `a`: 65534")]
    fn a_taken_number_names_both() {
        assert_own_msg_type(&[Listed::new(0, "a", Some(65_534)), Listed::new(4, "m::b", Some(65_534))], 4);
    }

    #[test]
    fn a_message_that_grows_too_long_stays_text() {
        let mut message = Message::new();
        message.push(&"ä".repeat(200));
        message.push(&"ö".repeat(100));
        message.push("end ");
        message.push_number(0);
        message.push_number(65_535);
        assert_eq!(message.text(), format!("{}end 065535", "ä".repeat(200)));
    }
}

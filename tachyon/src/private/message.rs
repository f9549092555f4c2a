//! Texts built in constants.

use core::convert::Infallible;
use core::fmt;

/// Stands for an unnamed error type in the type of a reply, where only the value type matters.
pub struct Opaque(Infallible);

impl fmt::Display for Opaque {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// A text built in a constant. A part that does not fit is left out.
pub(super) struct Message {
    bytes: [u8; 512],
    len: usize,
}

impl Message {
    pub(super) const fn new() -> Self {
        Message { bytes: [0; 512], len: 0 }
    }

    pub(super) const fn push(&mut self, text: &str) {
        let text = text.as_bytes();
        // Left out whole: a cut text might not be UTF-8.
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

    pub(super) const fn push_number(&mut self, number: usize) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        let digits = "0123456789";
        let digit = number % 10;
        self.push(digits.split_at(digit).1.split_at(1).0);
    }

    pub(super) const fn text(&self) -> &str {
        match str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "tachyon: a rule is broken here",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

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

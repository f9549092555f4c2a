//! Errors of a bus.

use crate::connection::{Unsent, family};

family! {
    /// A message was not sent.
    SendError {
        /// The message is longer than the capacity of the bus.
        #[error("a message of {size} bytes can never fit a bus of {max} bytes; use a larger capacity, or split it")]
        TooLarge {
            /// The length of the message, in bytes.
            size: usize,
            /// The capacity of the bus, in bytes.
            max: usize
        },
        /// There is no room now. Only operations that do not wait return this.
        #[error("the bus is full; receive at the other end, or use an operation that waits")]
        Full,
    }
}

family! {
    /// No message was received. No message is lost by the error.
    RecvError {}
}

impl From<Unsent> for SendError {
    #[cold]
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::TooLarge { size, max } => Self::TooLarge { size, max },
            Unsent::Halted(halt) => halt.into(),
        }
    }
}

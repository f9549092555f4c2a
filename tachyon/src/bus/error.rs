//! Errors of a one-way bus.

use crate::connection::{Unsent, family};

family! {
    /// Why a message was not sent. In every case nothing was sent.
    SendError {
        /// The message can never fit this bus.
        #[error("a message of {size} bytes can never fit a bus of {max}; listen with a larger capacity or split it")]
        TooLarge {
            /// Bytes asked for.
            size: usize,
            /// Bytes the bus holds.
            max: usize
        },
        /// There is no room now; only the `try_` operations say so.
        #[error("the bus is full; receive on the other side, or use an operation that waits")]
        Full,
    }
}

family! {
    /// Why no message was received. In every case nothing was lost.
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

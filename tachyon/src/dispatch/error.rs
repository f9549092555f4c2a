//! Errors of the dispatch table.

use thiserror::Error;

/// Why an endpoint cannot join a dispatch table. The table is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// 0xFFFF marks error replies.
    #[error("msg_type 65535 is reserved for error replies; `{refused}` needs one from 0 to 65534")]
    Reserved {
        /// Name of the endpoint that was refused.
        refused: String,
    },
    /// The message type is taken.
    #[error("msg_type {msg_type} is already registered by `{existing}`; give `{refused}` another one")]
    Duplicate {
        /// The message type both ask for.
        msg_type: u16,
        /// Name of the endpoint that has it.
        existing: String,
        /// Name of the endpoint that was refused.
        refused: String,
    },
}

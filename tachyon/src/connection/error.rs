//! How an operation on a connection stops, and the part that all error families share.

use std::io;

use thiserror::Error;

use crate::ring::Fault;

/// Why an operation on a connection stopped, whatever it was: the part all families share.
#[derive(Debug)]
pub(crate) enum Halt {
    TimedOut,
    Interrupted,
    Closed,
    ClosedHere,
    PeerDead,
    FatalError(Fault),
    Forked,
    Io(io::Error),
}

/// Declares an error family: its own variants, then the ones every operation on a connection can end with. In a family of
/// calls, those that end a call under way as well as one that is not sent yet say so in the field `sent`.
macro_rules! family {
    ($(#[$meta:meta])* $name:ident $(<$error:ident = $default:ty>)? $(says $sent:ident)? { $($(#[$vmeta:meta])* $variant:ident $({ $($(#[$fmeta:meta])* $field:ident: $ftype:ty),* })? $(($(#[$tmeta:meta])* $ttype:ty))?,)* }) => {
        $(#[$meta])*
        #[derive(Debug, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name $(<$error = $default>)? {
            $(
                /// The endpoint answered with an error that it declares.
                #[error("{0}")]
                Failed($error),
            )?
            $($(#[$vmeta])* $variant $({ $($(#[$fmeta])* $field: $ftype),* })? $(($(#[$tmeta])* $ttype))?,)*
            /// The deadline passed before the peer answered, or made room. The connection stays usable.
            #[error("timed out waiting for the peer; the connection stays usable, allow more time")]
            TimedOut $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The interrupt hook asked for the end of the wait.
            #[error("interrupted while waiting")]
            Interrupted $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The peer closed in good order and everything it had sent has been received.
            #[error("the peer closed the connection; connect again to go on")]
            Closed $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// This side closed the connection while the operation waited.
            #[error("this side closed the connection")]
            ClosedHere,
            /// The peer's process ended, or dropped the connection without closing it.
            #[error("the peer died; what it had committed has been delivered, connect again to go on")]
            PeerDead $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The shared memory holds what no correct peer writes. The connection is of no more use.
            #[error("the shared memory is corrupted ({0}); close this connection, its peer is broken or hostile")]
            FatalError(#[source] $crate::ring::Fault),
            /// The connection belongs to the process that made it, and this one is a forked child of it.
            #[error("this connection belongs to the parent process; open one in the forked child")]
            Forked,
            /// The system refused to wait.
            #[error("waiting failed: {0}")]
            Io(#[source] std::io::Error),
        }

        /// Of an operation that waits; one that sends goes by way of `Unsent`.
        impl $(<$error>)? From<$crate::connection::Halt> for $name $(<$error>)? {
            #[cold]
            fn from(halt: $crate::connection::Halt) -> Self {
                match halt {
                    $crate::connection::Halt::TimedOut => Self::TimedOut $({ $sent: true })?,
                    $crate::connection::Halt::Interrupted => Self::Interrupted $({ $sent: true })?,
                    $crate::connection::Halt::Closed => Self::Closed $({ $sent: true })?,
                    $crate::connection::Halt::ClosedHere => Self::ClosedHere,
                    $crate::connection::Halt::PeerDead => Self::PeerDead $({ $sent: true })?,
                    $crate::connection::Halt::FatalError(fault) => Self::FatalError(fault),
                    $crate::connection::Halt::Forked => Self::Forked,
                    $crate::connection::Halt::Io(source) => Self::Io(source),
                }
            }
        }
    };
}

pub(crate) use family;

/// Why a guard published nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// More was to be published than had been reserved.
    #[error("cannot commit {actual} bytes of a reservation of {reserved}; reserve the most you may need")]
    TooLong {
        /// Bytes asked for.
        actual: usize,
        /// Bytes reserved.
        reserved: usize,
    },
    /// The guard was made by the process that this one was forked from.
    #[error("this guard belongs to the parent process; open a connection in the forked child")]
    Forked,
}

/// This side of an undecided connection asked for an end that the other side has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer is already the {taken}; a connection has one of each, so take the other end here")]
pub struct WrongDirection {
    /// What the peer is.
    pub taken: &'static str,
}

/// What an outgoing direction can answer, before it becomes an error of one family.
#[derive(Debug)]
pub(crate) enum Unsent {
    TooLarge { size: usize, max: usize },
    Halted(Halt),
}

impl From<Halt> for Unsent {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

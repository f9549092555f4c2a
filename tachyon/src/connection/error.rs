//! The reasons why an operation on a connection stops, and the error variants that all families share.

use std::io;

use thiserror::Error;

use crate::ring::Fault;

/// The reason why an operation on a connection stopped, shared by all error families.
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

/// Declares an error family: the variants of the family, then the variants that every operation on a connection shares.
/// In a family of calls, the field `sent` of a shared variant says whether the request was sent.
macro_rules! family {
    (
        $(#[$meta:meta])*
        $name:ident $(<$error:ident = $default:ty>)? $(says $sent:ident)? {
            $(
                $(#[$vmeta:meta])*
                $variant:ident
                $({ $($(#[$fmeta:meta])* $field:ident: $ftype:ty),* })?
                $(($(#[$tmeta:meta])* $ttype:ty))?,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name $(<$error = $default>)? {
            $(
                /// The endpoint answered with a declared error.
                #[error("{0}")]
                Failed($error),
            )?
            $($(#[$vmeta])* $variant $({ $($(#[$fmeta])* $field: $ftype),* })? $(($(#[$tmeta])* $ttype))?,)*
            /// The deadline passed before a message or room came. The connection stays usable.
            #[error("timed out waiting for the peer; the connection stays usable, allow more time")]
            TimedOut $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The interrupt hook ended the wait. The connection stays usable.
            #[error("interrupted while waiting")]
            Interrupted $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The peer closed in good order, and all its messages have been received.
            #[error("the peer closed the connection; connect again")]
            Closed $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// This side closed the connection, also during the operation.
            #[error("this side closed the connection")]
            ClosedHere,
            /// The peer's process ended, or dropped the connection without closing it.
            #[error("the peer died; all its sent messages have been delivered, connect again")]
            PeerDead $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The shared memory holds a value that no correct peer writes. The connection is unusable.
            #[error("the shared memory is corrupted ({0}); close the connection, its peer is faulty or hostile")]
            FatalError(#[source] $crate::ring::Fault),
            /// The connection belongs to the parent of this forked process.
            #[error("this connection belongs to the parent process; open one in the forked child")]
            Forked,
            /// A system call of the wait failed.
            #[error("waiting for the peer failed: {0}")]
            Io(#[source] std::io::Error),
        }

        /// For an operation that waits for a reply or a message. Operations that send convert from `Unsent`.
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

/// A guard published nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The message is longer than its reservation.
    #[error("cannot commit {actual} bytes of a reservation of {reserved} bytes; reserve the most that you may need")]
    TooLong {
        /// Bytes to commit.
        actual: usize,
        /// Bytes reserved.
        reserved: usize,
    },
    /// The guard belongs to the parent of this forked process.
    #[error("this guard belongs to the parent process; open a connection in the forked child")]
    Forked,
}

/// This side of an unassigned connection asked for the end that the peer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer is the {taken} already, and a connection has one; take the other end here")]
pub struct WrongDirection {
    /// The name of the peer's end, such as `sender`.
    pub taken: &'static str,
}

/// The reason why a message was not sent, before it becomes an error of one family.
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

//! Errors of listening and connecting.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PathError;
use super::rejection::{ProtocolError, Rejection, user};
use crate::ring::CapacityError;
use crate::shm::ShmError;

/// Listening failed, and left no socket file and no shared memory behind.
///
/// A faulty client is no error: the listener rejects it and waits for the next client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The path cannot be the path of a socket.
    #[error(transparent)]
    Path(#[from] PathError),

    /// No ring can have the capacity.
    #[error(transparent)]
    Capacity(#[from] CapacityError),

    /// The path's directory does not exist.
    #[error("there is no directory {directory:?} for the socket: create it first")]
    NoDirectory {
        /// The missing directory.
        directory: PathBuf,
    },

    /// The path names a file that is not a socket. Listening never removes such a file.
    #[error("{path:?} exists and is not a socket: choose another path, or remove the file")]
    NotASocket {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// Another listener has the path.
    #[error("{path:?} belongs to a live listener: stop that listener, or choose another path")]
    AddressInUse {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// Another process holds the lock for the path.
    #[error("another process holds the lock {path:?}: wait until it listens, or end it if it hangs")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },

    /// The lock file for the path belongs to another user, who could hold the lock for ever.
    #[error("the lock file {path:?} belongs to user {uid}: put the socket into a directory that only you can write to")]
    ForeignLock {
        /// The lock file.
        path: PathBuf,
        /// The user id of its owner.
        uid: u32,
    },

    /// No acceptable client connected in time.
    #[error("no client connected to {path:?} in time{}: start the connecting side, or raise the timeout",
        rejections(*.rejected, .last.as_ref()))]
    TimedOut {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The number of rejected clients.
        rejected: usize,
        /// The reason for the last rejection.
        #[source]
        last: Option<Rejection>,
    },

    /// The interrupt hook ended the wait.
    #[error("interrupted while listening on {path:?}")]
    Interrupted {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// The process or the system has no file descriptor left.
    #[error("no file descriptor left to listen on {path:?}: close some, or raise the limit with `ulimit -n`")]
    OutOfDescriptors {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// The system did not give the shared memory.
    #[error("cannot make the shared memory for a client of {path:?}: {source}")]
    Memory {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The failure of the shared memory.
        source: ShmError,
    },

    /// A system call failed for another reason.
    #[error("cannot {operation} {path:?}: {source}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// Path of the listener's socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Connecting failed, and left nothing behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The path cannot be the path of a socket.
    #[error(transparent)]
    Path(#[from] PathError),

    /// No ring can have the requested size.
    #[error(transparent)]
    Capacity(#[from] CapacityError),

    /// No process listened at the path in time.
    #[error("no listener at {path:?} after {timeout:?}: {}", missing(*.served))]
    NoListener {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The time waited.
        timeout: Duration,
        /// Whether a process still serves a connection that it accepted there: a listener for one peer, or a stopping
        /// server. `false` where the system does not say.
        served: bool,
        /// The system's reason at the last attempt.
        source: io::Error,
    },

    /// The path names a file that is not a socket.
    #[error("{path:?} is not a socket: pass the path of the listening side")]
    NotASocket {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// A socket of another type listens at the path.
    #[error("the socket at {path:?} is of another type: pass the path of the listening side")]
    WrongSocketType {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// The listener did not answer in time.
    #[error("the listener at {path:?} did not answer within {timeout:?}: check whether it hangs, or raise the timeout")]
    NoAnswer {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The time waited.
        timeout: Duration,
    },

    /// The listener hung up during the handshake.
    #[error("the listener at {path:?} hung up during the handshake: see its own error, then connect again")]
    Closed {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// The listener serves another kind of connection.
    #[error("the listener at {path:?} serves a {theirs}, and this side asked for a {ours}: use the same on both sides")]
    WrongKind {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The kind of this side.
        ours: &'static str,
        /// The kind of the listener.
        theirs: &'static str,
    },

    /// The two sides speak different versions.
    #[error(
        "the listener at {path:?} has protocol version {theirs}, this side {ours}: use the same release on both sides"
    )]
    VersionMismatch {
        /// Path of the listener's socket.
        path: PathBuf,
        /// This side's version.
        ours: u16,
        /// The listener's version.
        theirs: u16,
    },

    /// Both sides want the same end.
    #[error("the listener at {path:?} is a {role} too: take the other end on one side")]
    RoleClash {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The end that both sides want.
        role: &'static str,
    },

    /// The listener does not admit this process.
    #[error("the listener at {path:?} does not admit this user: run as its user, or set its `any_uid`")]
    NotAllowed {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// The listener runs as another user, which this side does not trust.
    #[error("the listener at {path:?} runs as {}, not {ours}: set `any_uid` if you trust that user", user(*.theirs))]
    ForeignListener {
        /// Path of the listener's socket.
        path: PathBuf,
        /// This process's effective user id.
        ours: u32,
        /// The listener's; `None` where this process's user namespace does not map it.
        theirs: Option<u32>,
    },

    /// The two sides read different monotonic clocks, so a deadline does not mean the same to both.
    #[error(
        "the listener at {path:?} runs in another time namespace: \
         run both sides in one, so that deadlines mean the same"
    )]
    OtherTimeNamespace {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// The listener has as many clients as its limits allow.
    #[error("the listener at {path:?} has no place for another client: try again later, or raise its limits")]
    Busy {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// The listener takes one peer, and a [probe](crate::Options::probe) does not get this place.
    #[error(
        "the listener at {path:?} waits for its one peer, and a probe gets no place: \
         connect a caller, or serve several callers with `RpcServer`"
    )]
    OnePeer {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The callee's description as JSON, for
        /// [`Description::from_json`](crate::schema::describe::Description::from_json), if the callee has the
        /// [option](crate::Options::description). The peer wrote the text, and it is not checked.
        description: Option<String>,
    },

    /// The listener rejected this side for another reason.
    #[error("the listener at {path:?} rejected this side: {text}")]
    Rejected {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The listener's reason, without control characters.
        text: String,
    },

    /// The process at the path breaks the protocol.
    #[error(
        "the process at {path:?} breaks the protocol ({source}): check the path, use the same release on both sides"
    )]
    Protocol {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The broken rule.
        source: ProtocolError,
    },

    /// The interrupt hook ended the wait.
    #[error("interrupted while connecting to {path:?}")]
    Interrupted {
        /// Path of the listener's socket.
        path: PathBuf,
    },

    /// The process or the system has no file descriptor left.
    #[error("no file descriptor left to connect to {path:?}: close some, or raise the limit with `ulimit -n`")]
    OutOfDescriptors {
        /// Path of the listener's socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A system call failed for another reason.
    #[error("cannot {operation} {path:?}: {source}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// Path of the listener's socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl ListenError {
    /// A failed system call as the error it is.
    pub(crate) fn system(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_out_of_descriptors(&source) {
            Self::OutOfDescriptors { path, source }
        } else {
            Self::Io { operation, path, source }
        }
    }
}

impl ConnectError {
    /// A failed system call as the error it is.
    pub(crate) fn system(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_out_of_descriptors(&source) {
            Self::OutOfDescriptors { path, source }
        } else {
            Self::Io { operation, path, source }
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn missing(served: bool) -> &'static str {
    if served {
        "a process there serves its one peer and takes no other: serve several callers with `RpcServer`, or restart it"
    } else {
        "start the listening side first, or raise the timeout"
    }
}

fn rejections(rejected: usize, last: Option<&Rejection>) -> String {
    match (rejected, last) {
        (1, Some(last)) => format!(" (one client was rejected: {last})"),
        (rejected, Some(last)) => format!(" ({rejected} clients were rejected, the last because {last})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_threads() {
        fn travels<T: std::error::Error + Send + Sync + 'static>() {}
        travels::<ListenError>();
        travels::<ConnectError>();
    }

    #[test]
    fn a_timed_out_listener_names_its_rejections() {
        let text = |rejected, last| ListenError::TimedOut { path: "/p".into(), rejected, last }.to_string();
        assert!(!text(0, None).contains("rejected"));
        assert!(text(1, Some(Rejection::Silent)).contains("one client was rejected: it did not finish"));
        assert!(text(3, Some(Rejection::Gone)).contains("3 clients were rejected, the last because it hung up"));
    }
}

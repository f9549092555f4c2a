//! Why no connection came about.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PathError;
use super::rejection::{ProtocolError, Rejection, user};
use crate::ring::CapacityError;
use crate::shm::ShmError;

/// Listening failed. Nothing of it is left behind: no socket file, no shared memory.
///
/// A client that misbehaves is no error; it is turned away and the listener waits for the next one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The path cannot be a socket's.
    #[error(transparent)]
    Path(#[from] PathError),

    /// The capacity of a ring is not possible.
    #[error(transparent)]
    Capacity(#[from] CapacityError),

    /// The path's directory does not exist.
    #[error("there is no directory {directory:?} for the socket: create it first")]
    NoDirectory {
        /// The missing directory.
        directory: PathBuf,
    },

    /// The path names something that is not a socket, which is never overwritten.
    #[error("{path:?} exists and is not a socket: choose another path, or remove it yourself")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },

    /// Another listener holds the path.
    #[error("{path:?} is held by a live listener: stop it or choose another path")]
    AddressInUse {
        /// The path.
        path: PathBuf,
    },

    /// Another listener keeps the file locked by which those at one path take turns.
    #[error("another process of yours keeps {path:?} locked: it starts to listen there, or hangs; end it")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },

    /// The file by which listeners at one path take turns belongs to another user, who could keep it locked for ever.
    #[error("the lock file {path:?} belongs to user {uid}: put the socket into a directory that only you can write to")]
    ForeignLock {
        /// The lock file.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },

    /// Nobody who could be accepted connected in time.
    #[error("no client connected to {path:?} in time{}: start the connecting side or raise the timeout",
        turned_away(*.rejected, .last.as_ref()))]
    TimedOut {
        /// The path.
        path: PathBuf,
        /// How many clients were turned away meanwhile.
        rejected: usize,
        /// Why the last of them was turned away.
        #[source]
        last: Option<Rejection>,
    },

    /// The interrupt hook ended the wait.
    #[error("interrupted while listening on {path:?}")]
    Interrupted {
        /// The path.
        path: PathBuf,
    },

    /// The process or the system has no file descriptor left.
    #[error("no file descriptor left to listen on {path:?}: close some or raise the limit (`ulimit -n`)")]
    OutOfDescriptors {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// The shared memory could not be made.
    #[error("cannot make the shared memory for a client of {path:?}: {source}")]
    Memory {
        /// The path.
        path: PathBuf,
        /// What went wrong with it.
        source: ShmError,
    },

    /// A system call failed for another reason.
    #[error("cannot {operation} {path:?}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Connecting failed. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The path cannot be a socket's.
    #[error(transparent)]
    Path(#[from] PathError),

    /// A ring size that no ring can have was asked for.
    #[error(transparent)]
    Capacity(#[from] CapacityError),

    /// Nobody listened at the path in time.
    #[error("no listener at {path:?} after {timeout:?}: {}", missing(*.served))]
    NoListener {
        /// The path.
        path: PathBuf,
        /// How long was waited.
        timeout: Duration,
        /// Whether a process still serves a connection that it accepted there: a listener for one peer, or a server that
        /// stops. `false` where the system does not say.
        served: bool,
        /// The last refusal.
        source: io::Error,
    },

    /// The path names something that is not a socket.
    #[error("{path:?} is not a socket: pass the path that the listening side was given")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },

    /// A socket of another type listens at the path.
    #[error("what listens at {path:?} is a socket of another type: pass the path that the listening side was given")]
    WrongSocketType {
        /// The path.
        path: PathBuf,
    },

    /// A listener is there but did not answer in time.
    #[error("the listener at {path:?} gave no answer within {timeout:?}: it hangs, is busy or speaks another protocol")]
    NoAnswer {
        /// The path.
        path: PathBuf,
        /// How long was waited.
        timeout: Duration,
    },

    /// The listener hung up before the handshake was finished.
    #[error("the listener at {path:?} hung up during the handshake: see what ended it, then connect again")]
    Closed {
        /// The path.
        path: PathBuf,
    },

    /// The listener serves another kind of connection.
    #[error("the listener at {path:?} serves a {theirs} and this side asked for a {ours}: use the same kind on both")]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// What this side asked for.
        ours: &'static str,
        /// What the listener serves.
        theirs: &'static str,
    },

    /// The two sides speak different versions.
    #[error(
        "the listener at {path:?} speaks protocol version {theirs}, this side {ours}: use the same release on both"
    )]
    VersionMismatch {
        /// The path.
        path: PathBuf,
        /// This side's version.
        ours: u16,
        /// The listener's version.
        theirs: u16,
    },

    /// Both sides want the same end.
    #[error("the listener at {path:?} is a {role} too: one side has to take the other end")]
    RoleClash {
        /// The path.
        path: PathBuf,
        /// The end both want.
        role: &'static str,
    },

    /// The listener does not admit this process.
    #[error("the listener at {path:?} does not admit this user: run as the listener's user, or let it allow any user")]
    NotAllowed {
        /// The path.
        path: PathBuf,
    },

    /// The listener runs as another user, whom this side does not trust.
    #[error("the listener at {path:?} runs as {}, not {ours}: allow any user if you trust it", user(*.theirs))]
    ForeignListener {
        /// The path.
        path: PathBuf,
        /// This process's effective user id.
        ours: u32,
        /// The listener's; `None` where this process's user namespace does not map it.
        theirs: Option<u32>,
    },

    /// Each side reads another monotonic clock, so no deadline means the same to both.
    #[error(
        "the listener at {path:?} runs in another time namespace: run both sides in one, so that deadlines mean the same"
    )]
    OtherTimeNamespace {
        /// The path asked for.
        path: PathBuf,
    },
    /// The listener has as many clients as it takes.
    #[error("the listener at {path:?} has no place for another client: try again later")]
    Busy {
        /// The path.
        path: PathBuf,
    },

    /// The listener takes one peer, and keeps its place from a [probe](crate::Options::probe).
    #[error(
        "the listener at {path:?} is there and takes one peer, which a probe is not: \
         let a caller connect, or serve several callers with `RpcServer`"
    )]
    OnePeer {
        /// The path.
        path: PathBuf,
        /// The callee's endpoints as JSON ([`Description::from_json`](crate::schema::describe::Description::from_json) reads it), if the
        /// callee was [given](crate::Options::description) them. The peer wrote it: nothing in it is checked.
        description: Option<String>,
    },

    /// The listener turned this side away in its own words.
    #[error("the listener at {path:?} refused: {text}")]
    Rejected {
        /// The path.
        path: PathBuf,
        /// The listener's words, without control characters.
        text: String,
    },

    /// What answered does not keep to the protocol.
    #[error(
        "what listens at {path:?} breaks the protocol ({source}): check the path, use the same release on both sides"
    )]
    Protocol {
        /// The path.
        path: PathBuf,
        /// The broken rule.
        source: ProtocolError,
    },

    /// The interrupt hook ended the wait.
    #[error("interrupted while connecting to {path:?}")]
    Interrupted {
        /// The path.
        path: PathBuf,
    },

    /// The process or the system has no file descriptor left.
    #[error("no file descriptor left to connect to {path:?}: close some or raise the limit (`ulimit -n`)")]
    OutOfDescriptors {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A system call failed for another reason.
    #[error("cannot {operation} {path:?}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The path.
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
        "who listened there serves whom it has and takes no other: serve several callers with `RpcServer`, or start it again"
    } else {
        "start the listening side first or raise the timeout"
    }
}

fn turned_away(rejected: usize, last: Option<&Rejection>) -> String {
    match (rejected, last) {
        (1, Some(last)) => format!(" (one was turned away: {last})"),
        (refused, Some(last)) => format!(" ({refused} were turned away, the last because {last})"),
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
    fn a_listener_that_waited_in_vain_says_whom_it_turned_away() {
        let text = |rejected, last| ListenError::TimedOut { path: "/p".into(), rejected, last }.to_string();
        assert!(!text(0, None).contains("turned away"));
        assert!(text(1, Some(Rejection::Silent)).contains("one was turned away: it did not finish"));
        assert!(text(3, Some(Rejection::Gone)).contains("3 were turned away, the last because it hung up"));
    }
}

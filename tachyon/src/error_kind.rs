//! The kinds of failure that a callee reports.

use core::fmt;

/// Why a callee answered with an error.
///
/// The first kinds come from the callee itself, and the last one from a proxy. A handler reports the kinds from
/// [`InvalidArgument`](Self::InvalidArgument) to [`Unauthenticated`](Self::Unauthenticated), with the meaning of the
/// status code of gRPC of the same name:
///
/// ```
/// use tachyon::{ErrorKind, HandlerError, tachyon_rpc};
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn read(sensor: u32) -> Result<f64, HandlerError> {
///     if sensor > 8 {
///         return Err(HandlerError::new(ErrorKind::NotFound, format!("no sensor {sensor}")));
///     }
///     Ok(20.5)
/// }
///
/// assert_eq!(ErrorKind::NotFound.grpc_code(), 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum ErrorKind {
    /// The callee sent no kind, or a kind that this version does not know.
    Unspecified = 0,
    /// No endpoint is registered for the message type.
    NoHandler = 1,
    /// The handler returned an error, raised, panicked or exited.
    HandlerFailed = 2,
    /// The handler returned a value that cannot be sent.
    BadReply = 3,
    /// The reply is longer than the reverse ring.
    ReplyTooLarge = 4,
    /// The request does not match the endpoint.
    BadRequest = 5,
    /// The server is stopping and has not begun the request: it is safe to send it again. A handler cannot promise
    /// that: the handler's error of this kind travels as [`Unavailable`](Self::Unavailable).
    Stopping = 6,
    /// The caller's deadline passed before the request's turn came, or before its async handler was done.
    DeadlinePassed = 7,
    /// The handler had begun and was cancelled before it was done: the server stopped, and its time was over.
    Cancelled = 8,
    /// An argument has a value that the handler refuses, in any state of the callee.
    InvalidArgument = 9,
    /// The thing that the request names does not exist.
    NotFound = 10,
    /// The thing that the request creates exists already.
    AlreadyExists = 11,
    /// The caller is known and may not do this.
    PermissionDenied = 12,
    /// A quota or a resource of the callee is used up.
    ResourceExhausted = 13,
    /// The callee is in a state that does not allow this. The same request fails until that state is changed.
    FailedPrecondition = 14,
    /// A conflict with another request, for instance in a transaction. The caller can repeat the whole transaction.
    Aborted = 15,
    /// The callee cannot do this now, and the caller can try again later.
    Unavailable = 16,
    /// The request has no valid credentials.
    Unauthenticated = 17,
    /// A proxy has no connection to the callee behind it, and has not sent the request on: it is safe to send it again.
    Unreachable = 18,
}

/// The properties of a kind.
#[derive(Clone, Copy)]
struct Row {
    kind: ErrorKind,
    name: &'static str,
    sentence: &'static str,
    /// The status code of gRPC.
    grpc: i32,
    /// Whether the callee may have begun the call.
    begun: bool,
}

const fn row(kind: ErrorKind, name: &'static str, sentence: &'static str, grpc: i32, begun: bool) -> Row {
    Row { kind, name, sentence, grpc, begun }
}

/// The number of kinds.
pub(crate) const KINDS: usize = 19;

/// The row of each kind, at the kind's number.
const TABLE: [Row; KINDS] = [
    row(ErrorKind::Unspecified, "Unspecified", "the callee reported an error", 2, true),
    row(ErrorKind::NoHandler, "NoHandler", "the callee has no endpoint for it", 12, false),
    row(ErrorKind::HandlerFailed, "HandlerFailed", "its handler failed", 2, true),
    row(ErrorKind::BadReply, "BadReply", "its handler returned a value that cannot be sent", 13, true),
    row(ErrorKind::ReplyTooLarge, "ReplyTooLarge", "its reply does not fit the reverse ring", 8, true),
    row(ErrorKind::BadRequest, "BadRequest", "the request does not match its endpoint", 3, false),
    row(ErrorKind::Stopping, "Stopping", "the server is stopping and has not begun it", 14, false),
    row(ErrorKind::DeadlinePassed, "DeadlinePassed", "its deadline passed before its handler was done", 4, true),
    row(ErrorKind::Cancelled, "Cancelled", "it had begun and was cancelled", 1, true),
    row(ErrorKind::InvalidArgument, "InvalidArgument", "its handler refused an argument", 3, true),
    row(ErrorKind::NotFound, "NotFound", "its handler did not find it", 5, true),
    row(ErrorKind::AlreadyExists, "AlreadyExists", "it exists already", 6, true),
    row(ErrorKind::PermissionDenied, "PermissionDenied", "the caller may not do this", 7, true),
    row(ErrorKind::ResourceExhausted, "ResourceExhausted", "a quota or a resource is used up", 8, true),
    row(ErrorKind::FailedPrecondition, "FailedPrecondition", "the state of the callee does not allow it", 9, true),
    row(ErrorKind::Aborted, "Aborted", "a conflict with another request aborted it", 10, true),
    row(ErrorKind::Unavailable, "Unavailable", "the callee cannot do it now", 14, true),
    row(ErrorKind::Unauthenticated, "Unauthenticated", "it has no valid credentials", 16, true),
    row(
        ErrorKind::Unreachable,
        "Unreachable",
        "a proxy has no connection to the callee and did not send it on",
        14,
        false,
    ),
];

const _: () = {
    let mut at = 0;
    while at < TABLE.len() {
        assert!(TABLE[at].kind as usize == at, "the rows are in the order of the numbers");
        at += 1;
    }
};

impl ErrorKind {
    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Every kind, in the order of the numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.kind)
    }

    /// The kind of this number, which `kind as u16` gives. A number of a newer version is
    /// [`Unspecified`](Self::Unspecified).
    pub fn from_number(number: u16) -> Self {
        TABLE.get(usize::from(number)).map_or(Self::Unspecified, |row| row.kind)
    }

    /// The kind of this name, which [`name`](Self::name) gives; `None` for other names.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// Whether a callee that answers so may have begun the call.
    ///
    /// A handler that answers with [`BadRequest`](Self::BadRequest) or [`NoHandler`](Self::NoHandler) promises that the
    /// call had no effect.
    pub const fn has_begun(self) -> bool {
        self.row().begun
    }

    /// Whether the kind is an answer, which a handler chose for this request, and no fault of the handler. The callee
    /// reports and logs faults alone; statistics count every kind.
    ///
    /// ```
    /// use tachyon::ErrorKind;
    ///
    /// assert!(ErrorKind::NotFound.is_answer());
    /// assert!(!ErrorKind::HandlerFailed.is_answer());
    /// ```
    pub const fn is_answer(self) -> bool {
        self.is_of_handler() || matches!(self, Self::BadRequest | Self::Unreachable)
    }

    /// Whether only handlers report the kind.
    pub(crate) const fn is_of_handler(self) -> bool {
        let number = self as u16;
        Self::InvalidArgument as u16 <= number && number <= Self::Unauthenticated as u16
    }

    /// The kind's name in one word, the same in every language.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The number of the status code of gRPC that means the same. Several kinds share a code.
    ///
    /// ```
    /// use tachyon::ErrorKind;
    ///
    /// assert_eq!(ErrorKind::PermissionDenied.grpc_code(), 7);
    /// assert_eq!(ErrorKind::from_grpc_code(7), Some(ErrorKind::PermissionDenied));
    /// ```
    pub const fn grpc_code(self) -> i32 {
        self.row().grpc
    }

    /// The kind for a status code of gRPC; `None` for 0, which is no error. A number that gRPC does not define is
    /// [`Unspecified`](Self::Unspecified).
    ///
    /// `OUT_OF_RANGE` becomes [`FailedPrecondition`](Self::FailedPrecondition), since a change of the callee's state
    /// mends both. `UNKNOWN`, `INTERNAL` and `DATA_LOSS` become [`HandlerFailed`](Self::HandlerFailed).
    pub const fn from_grpc_code(code: i32) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::Cancelled,
            2 | 13 | 15 => Self::HandlerFailed,
            3 => Self::InvalidArgument,
            4 => Self::DeadlinePassed,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 | 11 => Self::FailedPrecondition,
            10 => Self::Aborted,
            12 => Self::NoHandler,
            14 => Self::Unavailable,
            16 => Self::Unauthenticated,
            _ => Self::Unspecified,
        })
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_come_back() {
        for kind in ErrorKind::all() {
            assert_eq!(ErrorKind::from_number(kind as u16), kind);
            assert_eq!(ErrorKind::from_name(kind.name()), Some(kind));
            assert_eq!(format!("{kind:?}"), kind.name());
        }
        assert_eq!(ErrorKind::from_number(19), ErrorKind::Unspecified);
        assert_eq!(ErrorKind::from_number(u16::MAX), ErrorKind::Unspecified);
        assert_eq!(ErrorKind::from_name("notfound"), None);
    }

    #[test]
    fn codes_of_grpc_come_back() {
        for code in 1..=16 {
            let kind = ErrorKind::from_grpc_code(code).unwrap();
            let merged = match code {
                11 => 9,
                13 | 15 => 2,
                code => code,
            };
            assert_eq!(kind.grpc_code(), merged, "{kind}");
        }
        assert_eq!(ErrorKind::from_grpc_code(0), None);
        assert_eq!(ErrorKind::from_grpc_code(17), Some(ErrorKind::Unspecified));
        assert_eq!(ErrorKind::from_grpc_code(-1), Some(ErrorKind::Unspecified));
        for kind in ErrorKind::all().filter(|kind| kind.is_of_handler()) {
            assert_eq!(ErrorKind::from_grpc_code(kind.grpc_code()), Some(kind), "kinds of handlers have a code each");
        }
    }

    #[test]
    fn kinds_of_handlers_are_answers_of_begun_calls() {
        for kind in ErrorKind::all() {
            let others = [ErrorKind::BadRequest, ErrorKind::Unreachable];
            assert_eq!(kind.is_answer(), kind.is_of_handler() || others.contains(&kind));
            assert!(kind.has_begun() || !kind.is_of_handler());
        }
    }
}

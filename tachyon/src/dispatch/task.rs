//! Async endpoints: their handlers return futures, which a runtime runs beside the serving task.

use core::pin::Pin;

use super::reply::{HandlerResult, Reply};
use crate::foreign::Foreign;

/// Sends the output of a handler's future as the reply.
type SendReply = Box<dyn FnOnce(Reply<'_>) -> HandlerResult + Send>;

/// The output of a handler's future.
#[derive(Debug)]
pub(crate) struct AsyncReply(Foreign<SendReply>);

impl AsyncReply {
    pub(super) fn new(send: impl FnOnce(Reply<'_>) -> HandlerResult + Send + 'static) -> Self {
        Self(Foreign::new(Box::new(send)))
    }

    /// Sends the reply. For use within `foreign::run`.
    pub(crate) fn send(self, reply: Reply<'_>) -> HandlerResult {
        self.0.take().map_or_else(|| unreachable!("the reply is taken once"), |send| send(reply))
    }
}

/// The future of a running handler. A panic is an output.
pub(crate) type HandlerFuture = Foreign<Pin<Box<dyn Future<Output = AsyncReply> + Send>>>;

/// A handler that returns a future. None of its code runs before the first poll.
pub(super) type AsyncHandler = Box<dyn Fn(Vec<u8>) -> HandlerFuture + Send + Sync>;

//! Layers of callers: code of users that sees every call before it is sent, and its outcome.

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use super::error::CallError;
use crate::foreign;
use crate::metadata::Metadata;
use crate::wait::Deadline;

/// Sees every call of a caller before it is sent, and its outcome; added with
/// [`Caller::layer`](crate::Caller::layer), [`Pool::layer`](crate::Pool::layer) or `AsyncCaller::layer`.
///
/// A layer may add metadata to a call, and may refuse it. It sees typed calls and calls by number, and does not see
/// `ping`, `describe` and the comparison of an endpoint's two sides. It sees each attempt at a call that is sent again.
/// The layer of a dispatcher is [`Layer`](crate::Layer).
///
/// The panic of a layer does not unwind into the call: the panic hook reports it. A panic of `before` refuses the call,
/// a panic of `after` has no effect.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use std::error::Error;
/// use std::time::Duration;
/// use tachyon::rpc::{CallOutcome, CallerLayer, OutgoingCall};
/// use tachyon::{CallError, Callee, Caller, Dispatcher};
/// # let listen_at = path.clone();
///
/// /// Adds a token to each call, and reports failed calls. Small requests only.
/// struct Token(String);
///
/// impl CallerLayer for Token {
///     fn before(&self, call: &mut OutgoingCall) -> Result<(), Box<dyn Error + Send + Sync>> {
///         if call.request_size > 1024 {
///             return Err("no request of this program has more than 1024 bytes".into());
///         }
///         call.metadata.insert("authorization", &self.0)?;
///         Ok(())
///     }
///
///     fn after(&self, call: &OutgoingCall, outcome: CallOutcome<'_>, took: Duration) {
///         if let CallOutcome::Failed(error) = outcome {
///             eprintln!("{} failed after {took:?}: {error}", call.msg_type);
///         }
///     }
/// }
///
/// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
/// # let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
/// # Dispatcher::default().serve_forever(&mut callee)?;
/// # Ok(()) });
/// let mut caller = Caller::connect(&path)?;
/// caller.layer(Token("of this program".to_owned()));
/// assert!(matches!(caller.call(1, &[0; 2000]), Err(CallError::Refused(_))));
/// # drop(caller);
/// # callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CallerLayer: Send + Sync {
    /// Runs before the request is sent. Layers run in the order of their addition.
    ///
    /// # Errors
    /// An error refuses the call: nothing is sent, and the call ends with [`CallError::Refused`]. The layers behind
    /// this one do not run, and only the layers before this one see the end of the call in [`after`](Self::after).
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = call;
        Ok(())
    }

    /// Runs when the caller takes the outcome, in reverse order. `took` is the time since the last `before`. A reply
    /// that cannot be read as the endpoint's type counts as a reply.
    fn after(&self, call: &OutgoingCall, outcome: CallOutcome<'_>, took: Duration) {
        let _ = (call, outcome, took);
    }
}

/// A shared layer, so that its owner can read its data.
impl<L: CallerLayer + ?Sized> CallerLayer for Arc<L> {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Box<dyn Error + Send + Sync>> {
        (**self).before(call)
    }

    fn after(&self, call: &OutgoingCall, outcome: CallOutcome<'_>, took: Duration) {
        (**self).after(call, outcome, took);
    }
}

/// A call without its arguments, as a [`CallerLayer`] sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct OutgoingCall {
    /// The request's message type.
    pub msg_type: u16,
    /// The endpoint's name on this side; empty for a call by number.
    pub name: &'static str,
    /// Length of the request in bytes, without the metadata.
    pub request_size: usize,
    /// The metadata that travels with the request. [`CallerLayer::before`] may add entries.
    pub metadata: Metadata,
    deadline: Deadline,
}

impl OutgoingCall {
    /// A call to be sent.
    pub(crate) fn new(
        msg_type: u16,
        name: &'static str,
        request_size: usize,
        metadata: Metadata,
        deadline: Deadline,
    ) -> Self {
        Self { msg_type, name, request_size, metadata, deadline }
    }

    /// How long the call may still take: `None` without a deadline, zero after the deadline. Reads the clock.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.remaining()
    }
}

/// How a call ended, as a [`CallerLayer`] sees it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum CallOutcome<'a> {
    /// A reply of this many bytes came. The items of a stream are no reply: a stream of items ends with 0 bytes.
    Replied(usize),
    /// The call failed. A declared error is [`CallError::Remote`] with the error's name.
    Failed(&'a CallError),
    /// The caller gave the call up, or was dropped; so was the future of a task's call.
    GivenUp,
}

/// The layers of a caller, which callers of one pool share.
#[derive(Clone, Default)]
pub(crate) struct CallerLayers(Vec<Arc<dyn CallerLayer>>);

impl CallerLayers {
    /// Adds a layer behind the others.
    pub(crate) fn push(&mut self, layer: impl CallerLayer + 'static) {
        self.0.push(Arc::new(layer));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shows a call to the layers before it is sent.
    ///
    /// # Errors
    /// [`CallError::Refused`].
    pub(crate) fn before(&self, mut call: OutgoingCall) -> Result<CallInFlight, CallError> {
        for (at, layer) in self.0.iter().enumerate() {
            let seen = foreign::run(|| layer.before(&mut call));
            if let Err(reason) = seen.unwrap_or_else(|panicked| Err(format!("a layer {panicked}").into())) {
                let refused = CallError::Refused(reason);
                let flight = CallInFlight { call, began: Instant::now() };
                after(&self.0[..at], &flight, CallOutcome::Failed(&refused));
                return Err(refused);
            }
        }
        Ok(CallInFlight { call, began: Instant::now() })
    }

    /// Shows the outcome of a call to the layers.
    pub(crate) fn after(&self, flight: &CallInFlight, outcome: CallOutcome<'_>) {
        after(&self.0, flight, outcome);
    }
}

impl fmt::Debug for CallerLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallerLayers").field(&self.0.len()).finish()
    }
}

fn after(layers: &[Arc<dyn CallerLayer>], flight: &CallInFlight, outcome: CallOutcome<'_>) {
    let took = flight.began.elapsed();
    for layer in layers.iter().rev() {
        drop(foreign::run(|| layer.after(&flight.call, outcome, took)));
    }
}

/// A call that the layers have seen, and whose outcome they have not seen.
#[derive(Debug)]
pub(crate) struct CallInFlight {
    pub(crate) call: OutgoingCall,
    began: Instant,
}

/// The layers of a [`Caller`](crate::Caller), and its calls whose outcome they have not seen.
#[derive(Debug, Default)]
pub(crate) struct LayeredCalls {
    pub(crate) layers: CallerLayers,
    in_flight: HashMap<u64, CallInFlight>,
}

impl LayeredCalls {
    pub(super) fn new(layers: CallerLayers) -> Self {
        Self { layers, in_flight: HashMap::new() }
    }

    /// Notes that a call was sent.
    pub(super) fn sent(&mut self, id: u64, flight: CallInFlight) {
        self.in_flight.insert(id, flight);
    }

    /// Shows the outcome of a call to the layers, if they have seen the call.
    pub(super) fn ended(&mut self, id: u64, outcome: CallOutcome<'_>) {
        if let Some(flight) = self.in_flight.remove(&id) {
            self.layers.after(&flight, outcome);
        }
    }

    /// Shows the layers that all calls were given up.
    pub(super) fn give_up_all(&mut self) {
        for flight in core::mem::take(&mut self.in_flight).into_values() {
            self.layers.after(&flight, CallOutcome::GivenUp);
        }
    }
}

impl Drop for LayeredCalls {
    fn drop(&mut self) {
        self.give_up_all();
    }
}

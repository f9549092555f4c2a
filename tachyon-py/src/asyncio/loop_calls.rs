//! `LoopCalls`: the calling end of a bus that an event loop owns.
//!
//! `tachyon._calls` holds the futures and the queue; this module touches the rings, and never waits.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList};
use tachyon::__binding::{
    Agreement, Attempts as CoreAttempts, CallerSteps, ConnectedBus, ConnectingBus, ItemSent, Limit, Readiness,
    Reconnecting, StreamSteps, StreamTaken, Taking, decode_error, plain_type_id,
};
use tachyon::{CallError, ErrorKind, Options};

use crate::args::{self, Integer, Polling};
use crate::bus::lifetime::calling_options;
use crate::errors::{PeerClosedError, PeerDeadError, Raise, RpcError};
use crate::memory::buffer_export::copied_from;
use crate::rpc::contract::{Contract, described};
use crate::rpc::error_reply::{error_reply, raised, remote_error};
use crate::rpc::rpc_bus::RpcBus;

/// Most replies taken in one turn, so that a peer that never stops sending does not block the loop.
const MAX_REPLIES: usize = 256;

/// The event loop's handle of a bus that it calls on. It keeps no part of the bus alive.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopCalls {
    readiness: Readiness,
    /// Whether the bus reconnects after its connection has ended.
    #[pyo3(get)]
    reconnects: bool,
}

#[pymethods]
impl LoopCalls {
    /// Make the running event loop the owner of the bus.
    #[new]
    fn new(bus: &Bound<'_, RpcBus>) -> PyResult<Self> {
        let mut forward = bus.get().forward()?;
        let calling = forward.take_for_loop()?;
        let caller = &calling.caller;
        let reconnects = caller.may_reconnect();
        match Readiness::new(caller) {
            Ok(readiness) => Ok(Self { readiness, reconnects }),
            Err(error) => {
                forward.release_from_loop();
                Err(CallError::Io(error).raise())
            }
        }
    }

    /// Return the descriptor to watch: readable when `receive` has work.
    fn fileno(&self) -> i32 {
        self.readiness.as_fd().as_raw_fd()
    }

    /// Send a request with a deadline in `timeout` seconds, and return its correlation id; 0 when the ring is full, and
    /// `receive` then requests room. `type_id` is the message type, with `METADATA` for a message with metadata.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may send")]
    fn send(&self, bus: &Bound<'_, RpcBus>, payload: &[u8], type_id: u32, timeout: Option<f64>) -> PyResult<u64> {
        let limit = Limit::after(args::timeout(timeout)?);
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.loop_calling()?.caller;
        Ok(caller.try_call(type_id, payload, limit).map_err(Raise::raise)?.unwrap_or(0))
    }

    /// Send the next question of a comparison with a deadline in `timeout` seconds, and return its correlation id; 0
    /// when the ring is full, and `receive` then requests room.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may send")]
    fn ask(&self, bus: &Bound<'_, RpcBus>, comparison: &Comparison, timeout: Option<f64>) -> PyResult<u64> {
        let limit = Limit::after(args::timeout(timeout)?);
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.loop_calling()?.caller;
        Ok(caller.ask(&comparison.core(), limit).map_err(Raise::raise)?.unwrap_or(0))
    }

    /// Append the replies that have come to `into`, as pairs of correlation id and `bytes` or exception; None for a
    /// stream that got messages or credit. Returns True when more may be there already. Returns False when the callee
    /// was just asked for a wake-up at the next reply, at `room` bytes of room if a request waits for room, and at
    /// credit if an item waits for it. Returns None when there was no reply and the callee had been asked before
    /// (`armed`). Raises the end of the connection after all replies before it are taken.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may receive")]
    fn receive(
        &self,
        bus: &Bound<'_, RpcBus>,
        into: &Bound<'_, PyList>,
        armed: bool,
        room: Option<usize>,
    ) -> PyResult<Option<bool>> {
        let py = bus.py();
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.loop_calling()?.caller;
        // Read before the replies: a reply sent before an end seen here is found below.
        let gone = caller.hear().map_err(Raise::raise)?;
        let mut armed = armed;
        for _ in 0..MAX_REPLIES {
            let taking = caller.next_reply().map_err(Raise::raise)?;
            for id in caller.take_news().into_iter().chain(caller.take_credited()) {
                into.append((id, py.None()))?;
                armed = false;
            }
            let Some(taking) = taking else {
                if caller.may_have_more() {
                    return Ok(Some(true));
                }
                if gone {
                    return Err(CallError::PeerDead { sent: true }.raise());
                }
                let armed = armed && caller.is_armed(room.is_some());
                return Ok(if armed { None } else { Some(!caller.arm(room)) });
            };
            let reply = reply(py, taking);
            caller.release_reply(taking.position());
            into.append((taking.correlation_id(), reply?))?;
            armed = false;
        }
        Ok(Some(true))
    }

    /// Open a stream, and return its correlation id; 0 when the ring is full, and `receive` then requests room; None
    /// when a stream that was given up has its place until a message that `receive` takes. `window` is the number of
    /// items that the callee may send ahead. Parameters are otherwise those of `send`.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may send")]
    fn open(
        &self,
        bus: &Bound<'_, RpcBus>,
        payload: &[u8],
        type_id: u32,
        timeout: Option<f64>,
        window: Option<Integer>,
    ) -> PyResult<Option<u64>> {
        let (limit, window) = (Limit::after(args::timeout(timeout)?), args::window(window)?);
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.loop_calling()?.caller;
        if !caller.has_place().map_err(Raise::raise)? {
            return Ok(None);
        }
        Ok(Some(caller.try_open(type_id, payload, limit, window).map_err(Raise::raise)?.unwrap_or(0)))
    }

    /// Take the next item of a stream that `receive` has met: None when there is none yet, False after the last one.
    /// True stands for a reply that ends the stream, for `take_last`. Raises the error that ended the stream.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may receive")]
    fn take_item<'py>(
        &self,
        bus: &Bound<'py, RpcBus>,
        correlation_id: u64,
        contract: Option<&Bound<'py, Contract>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = bus.py();
        let mut forward = bus.get().forward()?;
        let calling = forward.loop_calling()?;
        match calling.caller.take_filed(correlation_id).map_err(Raise::raise)? {
            None => Ok(None),
            Some(StreamTaken::End) => {
                let has_reply = calling.caller.is_stream(correlation_id);
                Ok(Some(PyBool::new(py, has_reply).to_owned().into_any()))
            }
            Some(StreamTaken::Item(item)) => calling.own(py, item).map(|(_, item)| Some(item.into_any())),
            Some(StreamTaken::Error(reply)) => {
                let (type_id, payload) = calling.own(py, reply)?;
                Err(raised(type_id, &payload, contract.map(Bound::get)))
            }
        }
    }

    /// Take the reply that ends a stream, and drop the items before it; None when there is none yet. Raises the error
    /// that ended the stream.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may receive")]
    fn take_last<'py>(
        &self,
        bus: &Bound<'py, RpcBus>,
        correlation_id: u64,
        contract: Option<&Bound<'py, Contract>>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = bus.py();
        let mut forward = bus.get().forward()?;
        let calling = forward.loop_calling()?;
        let Some(reply) = calling.caller.take_filed_last(correlation_id).map_err(Raise::raise)? else {
            return Ok(None);
        };
        let (type_id, payload) = calling.own(py, reply)?;
        if plain_type_id(type_id) == u32::from(tachyon::type_id::MSG_TYPE_ERROR) {
            return Err(raised(type_id, &payload, contract.map(Bound::get)));
        }
        Ok(Some(payload))
    }

    /// Send an item of a stream, END for None: `"sent"`, `"ended"` when the callee takes nothing more, `"credit"` or
    /// `"room"` when there is none, and `receive` then requests it.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may send")]
    fn send_item(&self, bus: &Bound<'_, RpcBus>, correlation_id: u64, item: Option<&[u8]>) -> PyResult<&str> {
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.loop_calling()?.caller;
        Ok(match caller.try_send_item(correlation_id, item).map_err(Raise::raise)? {
            ItemSent::Sent => "sent",
            ItemSent::Ended => "ended",
            ItemSent::Full if item.is_some() && caller.lacks_credit(correlation_id).map_err(Raise::raise)? => "credit",
            ItemSent::Full => "room",
        })
    }

    /// Give a call up: its handler is cancelled if `cancel` is set, and a late reply is dropped. Returns True when the
    /// cancellation waits for room, which `receive` then requests.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may forget")]
    fn forget(&self, bus: &Bound<'_, RpcBus>, correlation_id: u64, cancel: bool) -> PyResult<bool> {
        Ok(bus.get().forward()?.loop_calling()?.caller.give_up(correlation_id, cancel))
    }

    /// End the loop's ownership of the bus.
    #[staticmethod]
    fn release(bus: &Bound<'_, RpcBus>) -> PyResult<()> {
        bus.get().forward()?.release_from_loop();
        Ok(())
    }
}

/// The reconnect of a bus, in steps that never wait.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopReconnecting {
    core: Mutex<Reconnecting>,
}

#[pymethods]
impl LoopReconnecting {
    /// Begin for a bus whose connection has ended. The running event loop owns the bus meanwhile.
    #[new]
    fn new(bus: &Bound<'_, RpcBus>) -> PyResult<Self> {
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.take_for_loop()?.caller;
        caller.recycle();
        match Reconnecting::new(caller) {
            Ok(core) => Ok(Self { core: Mutex::new(core) }),
            Err(error) => {
                forward.release_from_loop();
                Err(error.raise())
            }
        }
    }

    /// Take the next step; return None when the bus is connected, otherwise the condition of the step after it.
    fn step(&self, bus: &Bound<'_, RpcBus>) -> PyResult<Option<Awaited>> {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forward = bus.get().forward()?;
        let calling = forward.loop_calling()?;
        if core.step(&mut calling.caller).map_err(Raise::raise)? {
            return calling.update_closer().map(|()| None).map_err(Raise::raise);
        }
        Ok(Some(awaited(core.as_awaited())))
    }

    /// Return the exception of a call that times out while no process listens; None while there is another cause.
    fn missing<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let missing = self.core.lock().unwrap_or_else(PoisonError::into_inner).missing()?;
        Some(missing.raise().into_value(py).into_bound(py).into_any())
    }
}

/// The connect of a bus, in steps that never wait. The first step begins it, and its timeout.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopConnecting {
    core: Mutex<Option<ConnectingBus>>,
    path: PathBuf,
    options: Options,
    polling: Polling,
}

#[pymethods]
impl LoopConnecting {
    /// Prepare the steps of `RpcBus.connect`.
    #[new]
    #[pyo3(signature = (socket_path, *, timeout, any_uid, ring_sizes, reconnect, probe, polling))]
    fn new(
        socket_path: PathBuf,
        timeout: Option<f64>,
        any_uid: bool,
        ring_sizes: Option<(Integer, Integer)>,
        reconnect: bool,
        probe: bool,
        polling: Polling,
    ) -> PyResult<Self> {
        let options = calling_options(timeout, any_uid, ring_sizes)?.reconnect(reconnect).probe(probe);
        Ok(Self { core: Mutex::default(), path: socket_path, options, polling })
    }

    /// Take the next step; return the bus when it is connected, otherwise the condition of the step after it.
    fn step(&self, py: Python<'_>) -> PyResult<Step> {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connecting = match core.take() {
            Some(connecting) => connecting,
            None => ConnectingBus::new(&self.path, &self.options).map_err(Raise::raise)?,
        };
        let bus = match connecting.step().map_err(Raise::raise)? {
            None => return Ok(Step::Awaited(awaited(core.insert(connecting).as_awaited()))),
            Some(ConnectedBus::Either(bus)) => RpcBus::over(bus, self.path.clone(), self.polling),
            Some(ConnectedBus::Caller(caller)) => RpcBus::over_caller(*caller, self.path.clone(), self.polling),
        };
        Ok(Step::Connected(Py::new(py, bus)?))
    }

    /// End the attempt, which hangs up.
    fn close(&self) {
        drop(self.core.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The result of a step.
#[derive(IntoPyObject)]
enum Step {
    Connected(Py<RpcBus>),
    Awaited(Awaited),
}

/// The condition of the next step: a descriptor to become readable, or -1, and a limit in seconds.
type Awaited = (i32, f64);

fn awaited((descriptor, left): (Option<BorrowedFd<'_>>, Option<Duration>)) -> Awaited {
    (descriptor.map_or(-1, |fd| fd.as_raw_fd()), left.map_or(f64::INFINITY, |left| left.as_secs_f64()))
}

/// A reply for its waiter: a copy of the bytes, or the exception of an error reply.
fn reply(py: Python<'_>, taking: Taking) -> PyResult<Py<PyAny>> {
    let payload: Bound<'_, PyBytes> = copied_from(py, taking)?;
    if plain_type_id(taking.type_id()) == u32::from(tachyon::type_id::MSG_TYPE_ERROR)
        && let Some(error) = decode_error(taking.type_id(), payload.as_bytes())
    {
        return Ok(remote_error(&error, &payload, None).into_value(py).into_any());
    }
    Ok(payload.into_any().unbind())
}

/// The comparison of one endpoint with the callee's, question by question.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Comparison {
    core: Mutex<Agreement>,
}

impl Comparison {
    pub(crate) fn core(&self) -> MutexGuard<'_, Agreement> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Comparison {
    /// Compare an endpoint, described in JSON, with the callee's.
    #[new]
    fn new(json: &str) -> PyResult<Self> {
        Ok(Self { core: Mutex::new(Agreement::on(described(json)?)) })
    }

    /// Take the answer to a question, `bytes` or the exception of an error reply; False when another question is due.
    /// Raises `LayoutMismatchError` when the types of the two sides differ.
    fn take(&self, answer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (type_id, payload) = match answer.cast::<PyBytes>() {
            Ok(payload) => (0, payload.clone()),
            Err(_) => error_reply(answer)?,
        };
        match self.core().answered(type_id, payload.as_bytes()) {
            Err(CallError::Remote(_)) => Err(PyErr::from_value(answer.clone())),
            outcome => outcome.map_err(Raise::raise),
        }
    }
}

/// The attempts at one call, by the core's rule.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Attempts {
    core: Mutex<CoreAttempts>,
}

#[pymethods]
impl Attempts {
    /// Begin the attempts of a caller that may reconnect, for a call with `seconds` left.
    #[new]
    fn new(reconnects: bool, idempotent: bool, seconds: Option<f64>) -> PyResult<Self> {
        let limit = Limit::after(args::timeout(seconds)?);
        Ok(Self { core: Mutex::new(limit.attempts(reconnects, idempotent)) })
    }

    /// Whether an earlier attempt may have begun.
    #[getter]
    fn may_have_begun(&self) -> bool {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).may_have_begun()
    }

    /// Whether a call that ended in this error is repeated, once the connection has ended. Marks an error that ends the
    /// call as not safe to retry if an earlier attempt may have begun.
    fn again(&self, error: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = error.py();
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let again = if error.is_instance_of::<PeerClosedError>() || error.is_instance_of::<PeerDeadError>() {
            let is_safe: bool = error.getattr(intern!(py, "safe_to_retry"))?.extract()?;
            core.again::<()>(&CallError::PeerDead { sent: !is_safe })
        } else if error.is_instance_of::<RpcError>() {
            let kind: u16 = error.getattr(intern!(py, "kind"))?.extract()?;
            kind == ErrorKind::Stopping as u16 && core.again_elsewhere()
        } else {
            false
        };
        if !again && core.may_have_begun() {
            error.setattr(intern!(py, "safe_to_retry"), false)?;
        }
        Ok(again)
    }
}

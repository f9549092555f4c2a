//! `LoopCalls`: the calling end of a bus in the hands of an event loop.
//!
//! `tachyon._calls` has the futures and the queue; here is what touches the rings. None of it waits.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tachyon::__binding::{
    Agreement, Attempts as CoreAttempts, CallerSteps, ConnectingBus, Limit, Readiness, Reconnecting, Taking,
    decode_error, plain_type_id,
};
use tachyon::{CallError, ErrorKind};

use crate::args::{self, Integer};
use crate::bus::lifetime::calling_options;
use crate::errors::{PeerClosedError, PeerDeadError, Raise, RpcError};
use crate::memory::buffer_export::copied_from;
use crate::rpc::contract::described;
use crate::rpc::error_reply::{error_reply, remote_error};
use crate::rpc::rpc_bus::RpcBus;

/// Most replies taken at one time, so that a peer that never stops sending does not stop the loop.
const AT_ONCE: usize = 256;

/// What an event loop has of a bus it calls on. Keeps nothing of the bus alive.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopCalls {
    readiness: Readiness,
    /// Whether the bus connects again when its connection has ended.
    #[pyo3(get)]
    reconnects: bool,
}

#[pymethods]
impl LoopCalls {
    /// Take the bus for the running event loop.
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

    /// What to watch: readable when there is something to `receive`.
    fn fileno(&self) -> i32 {
        self.readiness.as_fd().as_raw_fd()
    }

    /// Send a request, due in `timeout` seconds, and return its correlation id; 0 when there is no room, which `receive`
    /// asks for.
    #[allow(clippy::unused_self, reason = "whoever has no `LoopCalls` may not send")]
    fn send(&self, bus: &Bound<'_, RpcBus>, payload: &[u8], msg_type: u16, timeout: Option<f64>) -> PyResult<u64> {
        let limit = Limit::after(args::timeout(timeout)?);
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.loop_calling()?.caller;
        Ok(caller.try_call(msg_type, payload, limit).map_err(Raise::raise)?.unwrap_or(0))
    }

    /// Ask the next question of a comparison and return its correlation id; 0 when there is no room, which `receive` asks
    /// for.
    #[allow(clippy::unused_self, reason = "whoever has no `LoopCalls` may not send")]
    fn ask(&self, bus: &Bound<'_, RpcBus>, comparison: &Comparison) -> PyResult<u64> {
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.loop_calling()?.caller;
        Ok(caller.ask(&comparison.core()).map_err(Raise::raise)?.unwrap_or(0))
    }

    /// Append the replies that have come to `into`, as pairs of correlation id and `bytes` or exception. Returns True when
    /// there may be more to do already, False when the callee was just asked to ring for the next reply, and for `room`
    /// bytes of room if a request waits for it, and None when there was nothing and the callee had been asked before,
    /// which `armed` says. Raises the connection's end once everything that came before it is taken.
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
        // Asked before the looks: nothing sent before an end seen here can escape them.
        let gone = caller.hear().map_err(Raise::raise)?;
        let mut armed = armed;
        for _ in 0..AT_ONCE {
            let Some(taking) = caller.next_reply().map_err(Raise::raise)? else {
                if caller.may_have_more() {
                    return Ok(Some(true));
                }
                if gone {
                    return Err(CallError::PeerDead { sent: true }.raise());
                }
                return Ok(if armed { None } else { Some(!caller.arm(room)) });
            };
            let reply = reply(py, taking);
            caller.release_reply(taking.position());
            into.append((taking.correlation_id(), reply?))?;
            armed = false;
        }
        Ok(Some(true))
    }

    /// Give a call up: its handler hears of it if that is to be, and its late reply is dropped. True when that waits for
    /// room, which `receive` asks for.
    #[allow(clippy::unused_self, reason = "whoever has no `LoopCalls` may not forget")]
    fn forget(&self, bus: &Bound<'_, RpcBus>, correlation_id: u64, cancel: bool) -> PyResult<bool> {
        Ok(bus.get().forward()?.loop_calling()?.caller.give_up(correlation_id, cancel))
    }

    /// Give the bus back.
    #[staticmethod]
    fn release(bus: &Bound<'_, RpcBus>) -> PyResult<()> {
        bus.get().forward()?.release_from_loop();
        Ok(())
    }
}

/// A bus that an event loop connects again, in steps that never wait.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopReconnecting {
    core: Mutex<Reconnecting>,
}

#[pymethods]
impl LoopReconnecting {
    /// Begin for a bus whose connection has ended, which belongs to the running event loop meanwhile.
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

    /// Take the next step; return None when the bus is connected, otherwise what to wait for.
    fn step(&self, bus: &Bound<'_, RpcBus>) -> PyResult<Option<Awaited>> {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forward = bus.get().forward()?;
        let calling = forward.loop_calling()?;
        if core.step(&mut calling.caller).map_err(Raise::raise)? {
            return calling.update_closer().map(|()| None).map_err(Raise::raise);
        }
        Ok(Some(awaited(core.as_awaited())))
    }

    /// The exception of a call whose own time runs out while no process listens; None while that is not the cause.
    fn missing<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let missing = self.core.lock().unwrap_or_else(PoisonError::into_inner).missing()?;
        Some(missing.raise().into_value(py).into_bound(py).into_any())
    }
}

/// A bus that an event loop connects.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopConnecting {
    core: Mutex<ConnectingBus>,
    path: PathBuf,
}

#[pymethods]
impl LoopConnecting {
    /// Begin to do what `RpcBus.connect` does.
    #[new]
    #[pyo3(signature = (socket_path, *, timeout, any_uid, ring_sizes))]
    fn new(
        socket_path: PathBuf,
        timeout: Option<f64>,
        any_uid: bool,
        ring_sizes: Option<(Integer, Integer)>,
    ) -> PyResult<Self> {
        let options = calling_options(timeout, any_uid, ring_sizes)?;
        let core = ConnectingBus::new(&socket_path, &options).map_err(Raise::raise)?;
        Ok(Self { core: Mutex::new(core), path: socket_path })
    }

    /// Take the next step; return the bus when it is connected, otherwise what to wait for.
    fn step(&self, py: Python<'_>) -> PyResult<Step> {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match core.step().map_err(Raise::raise)? {
            Some(bus) => Step::Connected(Py::new(py, RpcBus::over(bus, self.path.clone()))?),
            None => Step::Awaited(awaited(core.as_awaited())),
        })
    }
}

/// What came of a step.
#[derive(IntoPyObject)]
enum Step {
    Connected(Py<RpcBus>),
    Awaited(Awaited),
}

/// A descriptor to be readable, or -1, and seconds.
type Awaited = (i32, f64);

fn awaited((descriptor, left): (Option<BorrowedFd<'_>>, Option<Duration>)) -> Awaited {
    (descriptor.map_or(-1, |fd| fd.as_raw_fd()), left.map_or(f64::INFINITY, |left| left.as_secs_f64()))
}

/// A reply as what its waiter gets: a copy, or the exception that an error reply stands for.
fn reply(py: Python<'_>, taking: Taking) -> PyResult<Py<PyAny>> {
    let payload: Bound<'_, PyBytes> = copied_from(py, taking)?;
    if plain_type_id(taking.type_id()) == u32::from(tachyon::MSG_TYPE_ERROR)
        && let Some(error) = decode_error(taking.type_id(), payload.as_bytes())
    {
        return Ok(remote_error(&error, payload, None).into_value(py).into_any());
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
    /// Raises `LayoutMismatchError` when the two sides do not mean the same.
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

/// The attempts at one call.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Attempts {
    core: Mutex<CoreAttempts>,
}

#[pymethods]
impl Attempts {
    /// Begin with the attempts of a caller that may reconnect, at a call with `seconds` left.
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

    /// Whether a call that ended in this error is made again, once the connection has ended. An error that ends the call
    /// says that it is not safe to make it again if an earlier attempt may have begun.
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

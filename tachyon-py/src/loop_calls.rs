//! `LoopCalls`: the calling end of a bus in the hands of an event loop.
//!
//! `tachyon._calls` has the futures and the queue; here is what touches the rings. None of it waits, but for
//! `reconnect`, which is for a thread of its own.

use std::os::fd::{AsFd, AsRawFd};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tachyon::__binding::{CallerSteps, Limit, Readiness, Taking, arm_room, decode_error, hear, plain_type_id};
use tachyon::CallError;

use crate::args;
use crate::comparison::Comparison;
use crate::errors::Raise;
use crate::lent::copied_from;
use crate::remote::remote_error;
use crate::rpc_bus::RpcBus;

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
        let calling = forward.attend()?;
        let caller = &calling.caller;
        let reconnects = caller.may_reconnect();
        match Readiness::new(caller) {
            Ok(readiness) => Ok(Self { readiness, reconnects }),
            Err(error) => {
                forward.unattend();
                Err(CallError::Io(error).raise())
            }
        }
    }

    /// What to watch: readable when there is something to `receive`.
    fn fileno(&self) -> i32 {
        self.readiness.as_fd().as_raw_fd()
    }

    /// Send a request, due in `timeout` seconds, and return its correlation id; 0 when there is no room. `receive` is
    /// due when there is.
    #[allow(clippy::unused_self, reason = "whoever has no `LoopCalls` may not send")]
    fn send(&self, bus: &Bound<'_, RpcBus>, payload: &[u8], msg_type: u16, timeout: Option<f64>) -> PyResult<u64> {
        let limit = Limit::after(args::timeout(timeout)?);
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.attended_calling()?.caller;
        if let Some(id) = caller.try_call(msg_type, payload, limit).map_err(Raise::raise)? {
            return Ok(id);
        }
        arm_room(caller);
        Ok(caller.try_call(msg_type, payload, limit).map_err(Raise::raise)?.unwrap_or(0))
    }

    /// Ask the next question of a comparison and return its correlation id; 0 when there is no room. `receive` is due
    /// when there is.
    #[allow(clippy::unused_self, reason = "whoever has no `LoopCalls` may not send")]
    fn ask(&self, bus: &Bound<'_, RpcBus>, comparison: &Comparison) -> PyResult<u64> {
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.attended_calling()?.caller;
        let comparison = comparison.core();
        if let Some(id) = comparison.ask(caller).map_err(Raise::raise)? {
            return Ok(id);
        }
        arm_room(caller);
        Ok(comparison.ask(caller).map_err(Raise::raise)?.unwrap_or(0))
    }

    /// Append the replies that have come to `into`, as pairs of correlation id and `bytes` or exception. Returns True when
    /// there may be more already, False when the callee was just asked to ring for the next one, and None when there was
    /// nothing and it had been asked before, which `armed` says. Raises the connection's end once everything that came
    /// before it is taken.
    #[allow(clippy::unused_self, reason = "only a holder of a `LoopCalls` may receive")]
    fn receive(&self, bus: &Bound<'_, RpcBus>, into: &Bound<'_, PyList>, armed: bool) -> PyResult<Option<bool>> {
        let py = bus.py();
        let mut forward = bus.get().forward()?;
        let caller = &mut forward.attended_calling()?.caller;
        // Asked before the looks: nothing sent before an end seen here can escape them.
        let gone = hear(caller).map_err(Raise::raise)?;
        let mut armed = armed;
        for _ in 0..AT_ONCE {
            let found = match caller.next_reply().map_err(Raise::raise)? {
                None if caller.may_have_more() => return Ok(Some(true)),
                None if gone => return Err(CallError::PeerDead.raise()),
                None if armed => return Ok(None),
                None => match caller.next_reply_armed().map_err(Raise::raise)? {
                    None => return Ok(Some(caller.may_have_more())),
                    found => found,
                },
                found => found,
            };
            if let Some(taking) = found {
                let reply = reply(py, taking);
                caller.release_reply(taking.position());
                into.append((taking.correlation_id(), reply?))?;
            }
            armed = false;
        }
        Ok(Some(true))
    }

    /// Give a call up: its late reply is dropped.
    #[allow(clippy::unused_self, reason = "whoever has no `LoopCalls` may not forget")]
    fn forget(&self, bus: &Bound<'_, RpcBus>, correlation_id: u64) -> PyResult<()> {
        bus.get().forward()?.attended_calling()?.caller.forget(correlation_id);
        Ok(())
    }

    /// Connect a bus again whose connection has ended, and return what to go on with. Waits, without the interpreter.
    #[staticmethod]
    fn reconnect(bus: &Bound<'_, RpcBus>) -> PyResult<Self> {
        let mut forward = bus.get().forward()?;
        let outcome = forward.attend()?.waiting(bus.py(), None, |caller| {
            caller.recycle();
            caller.reconnect_if_ended(Limit::after(None))
        });
        forward.unattend();
        drop(forward);
        outcome.map_err(Raise::raise)?;
        Self::new(bus)
    }

    /// Give the bus back.
    #[staticmethod]
    fn let_go(bus: &Bound<'_, RpcBus>) -> PyResult<()> {
        bus.get().forward()?.unattend();
        Ok(())
    }
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

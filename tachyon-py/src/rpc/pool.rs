//! The places of a `Pool`, and the leases of its threads and coroutines.
//!
//! `tachyon._pool` makes the calls; this module holds the core's queue of buses and the two ways to wait for one.

use core::mem;
use core::task::{Poll, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use pyo3::prelude::*;
use tachyon::__binding::{FairQueue, Lease, LeaseRequest, NoLease, QueueClosed};

use crate::args;
use crate::errors::{BusClosedError, TimedOutError};
use crate::rpc::rpc_bus::RpcBus;
use crate::runtime::interpreter_shutdown;
use crate::runtime::interrupt::{self, asked_to_stop};

/// The places of a pool, its idle buses, and the queue of requests.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct PoolPlaces {
    queue: FairQueue<Py<RpcBus>>,
    max_size: usize,
}

#[pymethods]
impl PoolPlaces {
    /// Make `max_size` places, all of them free.
    #[new]
    fn new(max_size: usize) -> Self {
        Self { queue: FairQueue::new(max_size), max_size }
    }

    /// Take a place, waiting up to `timeout` seconds for it (None: for ever).
    fn take(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<PoolLease> {
        let timeout = args::timeout(timeout)?;
        let mut request = self.queue.request();
        // With the GIL first: usually a place is free.
        let lease = match request.poll(Waker::noop()) {
            Poll::Ready(lease) => lease.map_err(|QueueClosed| NoLease::Closed),
            Poll::Pending => py.detach(|| request.wait(timeout, Some(asked_to_stop))),
        };
        match lease {
            Ok(lease) => Ok(PoolLease { state: Mutex::new(State::Held(lease)) }),
            Err(NoLease::Interrupted) => Err(interrupt::pending_exception()),
            Err(NoLease::Closed) => Err(closed()),
            Err(NoLease::TimedOut) => Err(self.exhausted()),
        }
    }

    /// Request a place from a coroutine, which polls the returned lease.
    fn request(&self) -> PoolLease {
        PoolLease { state: Mutex::new(State::Asking(self.queue.request())) }
    }

    /// The error for a request that timed out.
    #[pyo3(name = "exhausted")]
    fn exhausted_error(&self, py: Python<'_>) -> Py<PyAny> {
        self.exhausted().into_value(py).into_any()
    }

    /// End all requests, and close the idle buses. A bus in use is closed when it comes back.
    fn close(&self) {
        for bus in self.queue.close() {
            bus.get().close();
        }
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self) -> bool {
        self.queue.is_closed()
    }

    fn __len__(&self) -> usize {
        self.queue.len()
    }
}

impl PoolPlaces {
    #[cold]
    fn exhausted(&self) -> PyErr {
        let max = self.max_size;
        TimedOutError::new_err(format!(
            "all {max} callers of the pool stayed in use until the timeout; raise max_size or the timeout"
        ))
    }
}

#[cold]
fn closed() -> PyErr {
    BusClosedError::new_err("this pool is closed")
}

enum State {
    Asking(LeaseRequest<Py<RpcBus>>),
    Held(Lease<Py<RpcBus>>),
    Returned,
}

/// A place of a pool: requested, held, or given back.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct PoolLease {
    state: Mutex<State>,
}

impl PoolLease {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lease out, to be dropped without the lock: the drop may wake a waiter, whose function may call back.
    fn end(&self) -> State {
        mem::replace(&mut *self.state(), State::Returned)
    }
}

#[pymethods]
impl PoolLease {
    /// Return whether the place is held. If not, `wake` is called once it is, from any thread.
    fn poll(&self, wake: Py<PyAny>) -> PyResult<bool> {
        let waker = Waker::from(Arc::new(WakeByCall(wake)));
        let mut state = self.state();
        let polled = match &mut *state {
            State::Asking(request) => request.poll(&waker),
            State::Held(_) => return Ok(true),
            State::Returned => return Ok(false),
        };
        let Poll::Ready(lease) = polled else { return Ok(false) };
        let lease = lease.map_err(|QueueClosed| closed())?;
        let asked = mem::replace(&mut *state, State::Held(lease));
        drop(state);
        drop(asked);
        Ok(true)
    }

    /// Return an idle bus that is fit for use, or None: a new one may connect. Close idle buses that are not fit.
    fn idle(&self) -> Option<Py<RpcBus>> {
        loop {
            let found = match &mut *self.state() {
                State::Held(lease) => lease.next_idle(),
                State::Asking(_) | State::Returned => None,
            };
            let bus = found?;
            // The peer may have gone while the bus was idle.
            if bus.get().recycle() {
                return Some(bus);
            }
            bus.get().close();
        }
    }

    /// Give the place back with its bus; a bus that is not fit for reuse is closed. The bus loses its layers: the next
    /// user has those of the pool at that time.
    fn give_back(&self, py: Python<'_>, bus: Py<RpcBus>) -> PyResult<()> {
        let shown = bus.get().without_layers(py);
        let state = self.end();
        let unwanted = match state {
            State::Held(lease) if !lease.is_inherited() && bus.get().recycle() => lease.give_back(bus),
            _ => Some(bus),
        };
        if let Some(bus) = unwanted {
            bus.get().close();
        }
        shown
    }

    /// Give the place back without a bus, or drop the request.
    fn leave(&self) {
        drop(self.end());
    }
}

/// Wakes a coroutine with a function that any thread may call.
struct WakeByCall(Py<PyAny>);

impl Wake for WakeByCall {
    fn wake(self: Arc<Self>) {
        interpreter_shutdown::try_attach(|py| {
            // The wake-up may come during a deallocation, while an exception is set.
            let on_its_way = PyErr::take(py);
            if let Err(error) = self.0.call0(py) {
                error.write_unraisable(py, Some(self.0.bind(py)));
            }
            if let Some(error) = on_its_way {
                error.restore(py);
            }
        });
    }
}

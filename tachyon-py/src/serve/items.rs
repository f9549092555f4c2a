//! `RequestItems`: the items of a caller, for a handler on a thread of its own.

use std::sync::{Mutex, TryLockError};

use pyo3::prelude::*;
use tachyon::{ItemError, Items};

use crate::errors::{BadRequestError, BusyError, NoCallError, StreamCancelledError};
use crate::rpc::contract::Contract;

/// The items that the caller of a stream sends, in order.
///
/// The iterator ends when the caller has sent its last item. It raises `StreamCancelledError`, a
/// `ConnectionAbortedError`, when the stream is over before: the handler has not got all items then.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct RequestItems {
    contract: Py<Contract>,
    items: Mutex<State>,
}

enum State {
    Open(Items<Vec<u8>>),
    Cancelled,
    /// The handler has returned.
    Over,
}

impl RequestItems {
    pub(super) fn new(contract: Py<Contract>, items: Items<Vec<u8>>) -> Self {
        Self { contract, items: Mutex::new(State::Open(items)) }
    }

    /// Ends the iterator: the handler has returned. Its caller sends the rest for nothing.
    pub(super) fn close(&self) {
        // Another thread of the handler that waits for an item gets it, or the end of the stream.
        if let Ok(mut state) = self.items.try_lock() {
            *state = State::Over;
        }
    }

    fn receive(&self) -> PyResult<Option<Vec<u8>>> {
        let mut state = match self.items.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(BusyError::new_err("another thread waits for an item of this stream; take items in one"));
            }
        };
        let items = match &mut *state {
            State::Open(items) => items,
            State::Cancelled => return Err(cancelled()),
            State::Over => return Err(NoCallError::new_err("the handler of these items has returned")),
        };
        match items.blocking_recv().transpose() {
            Ok(received) => Ok(received),
            Err(ItemError::Cancelled) => {
                *state = State::Cancelled;
                Err(cancelled())
            }
            Err(other) => Err(BadRequestError::new_err(other.to_string())),
        }
    }
}

/// The error for a handler whose stream is over.
pub(crate) fn cancelled() -> PyErr {
    StreamCancelledError::new_err(ItemError::Cancelled.to_string())
}

#[pymethods]
impl RequestItems {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match py.detach(|| self.receive())? {
            Some(item) => self.contract.get().received_item(py, &item).map(Some),
            None => Ok(None),
        }
    }
}

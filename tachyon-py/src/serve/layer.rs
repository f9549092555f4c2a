//! Layers in Python: objects that see each request of a dispatcher, and may refuse it.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use tachyon::dispatch::Outcome;
use tachyon::{Context, HandlerError, Layer};

use crate::rpc::error_reply::error_kind;
use crate::runtime::interpreter_shutdown;
use crate::runtime::package::imported;
use crate::runtime::worker_thread::keep_state;
use crate::serve::current_call::CurrentCall;
use crate::serve::endpoint_table::{Shared, lock};
use crate::serve::handler::{Failure, put_cause};

/// A layer in Python, by its index among the layers of the dispatcher, so that the garbage collector sees it.
pub(super) struct PyLayer {
    pub(super) shared: Arc<Shared>,
    pub(super) place: usize,
}

impl PyLayer {
    /// Runs `run` with the GIL; `None` after the dispatcher was garbage collected.
    fn with<R>(&self, run: impl FnOnce(Python<'_>, &Bound<'_, PyAny>) -> R) -> Option<R> {
        keep_state();
        interpreter_shutdown::attach(|py| {
            let layer = lock(&self.shared.layers).get(self.place).map(|layer| layer.clone_ref(py))?;
            Some(run(py, layer.bind(py)))
        })
    }
}

impl Layer for PyLayer {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        let run = |py: Python<'_>, layer: &Bound<'_, PyAny>| {
            let current = CurrentCall::of_layer(py, call);
            imported!(py, "tachyon.layers", "run_before")?.call1((layer, current)).map(drop)
        };
        let outcome = self.with(|py, layer| {
            run(py, layer).map_err(|cause| {
                let Failure { error, cause } = Failure::of_layer(py, cause);
                put_cause(cause);
                error
            })
        });
        outcome.unwrap_or_else(|| Err(HandlerError::failed("the dispatcher was garbage collected")))
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        let run = |py: Python<'_>, layer: &Bound<'_, PyAny>| {
            let current = CurrentCall::of_layer(py, call);
            let outcome = shown(py, outcome)?;
            let run_after = imported!(py, "tachyon.layers", "run_after")?;
            run_after.call1((layer, current, outcome, took.as_secs_f64())).map(drop)
        };
        self.with(|py, layer| {
            if let Err(raised) = run(py, layer) {
                // KeyboardInterrupt or SystemExit: other exceptions are reported already.
                self.shared.end(raised);
            }
        });
    }
}

/// The outcome as an object of `tachyon.layers`.
fn shown<'py>(py: Python<'py>, outcome: &Outcome) -> PyResult<Bound<'py, PyAny>> {
    match outcome {
        Outcome::Replied(size) => imported!(py, "tachyon.layers", "Replied")?.call1((size,)),
        Outcome::Failed(kind) => imported!(py, "tachyon.layers", "Failed")?.call1((error_kind(py, *kind)?,)),
        _ => imported!(py, "tachyon.layers", "CallerGone")?.call0(),
    }
}

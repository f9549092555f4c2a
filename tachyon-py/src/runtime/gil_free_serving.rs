//! Serving without the GIL, for dispatchers that have endpoints in Rust.
//!
//! An endpoint in Rust must not wait for the GIL, which another thread may hold for long. Signals belong to Python's
//! main thread, and reports go through `logging`: both take the GIL. So a separate thread serves, and the calling
//! thread handles signals and reports meanwhile.

use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

use pyo3::prelude::*;
use tachyon::ServeError;

use crate::errors::Raise;
use crate::runtime::{interpreter_shutdown, interrupt};

/// Time between two checks for signals and reports.
const SLICE: Duration = Duration::from_millis(50);

/// Serves on a separate thread. Meanwhile the calling thread runs `periodic` and signal handlers. When one of them
/// raises, `end` stops the serving, and the exception is returned after the thread has ended.
pub(crate) fn serve(
    py: Python<'_>,
    periodic: impl Fn(Python<'_>) -> PyResult<()> + Sync,
    end: impl Fn(&AtomicBool) + Sync,
    serve: impl FnOnce() -> Result<(), ServeError> + Send,
) -> PyResult<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let (outcome, raised) = py.detach(|| {
        thread::scope(|scope| {
            let (done, waits) = sync_channel(1);
            let stopped = Arc::clone(&stop);
            let serving = thread::Builder::new().name("tachyon-work-0".to_owned()).spawn_scoped(scope, move || {
                interrupt::stop_by(stopped);
                let outcome = serve();
                // The receiver lives until this message has come.
                let _ = done.send(());
                outcome
            });
            let serving = match serving {
                Ok(serving) => serving,
                Err(error) => return (Err(ServeError::Io(error)), None),
            };
            let mut raised = None;
            while let Err(RecvTimeoutError::Timeout) = waits.recv_timeout(SLICE) {
                // A thread that holds the GIL delays only this thread.
                let looked = interpreter_shutdown::try_attach(|py| periodic(py).and(py.check_signals()));
                if let Some(Err(error)) = looked
                    && raised.is_none()
                {
                    raised = Some(error);
                    end(&stop);
                }
            }
            // Joined too: the thread releases its interpreter state as it ends.
            (serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), raised)
        })
    });
    let raised = periodic(py).err().or(raised);
    match (raised, outcome) {
        (Some(raised), _) => Err(raised),
        (None, outcome) => outcome.map_err(Raise::raise),
    }
}

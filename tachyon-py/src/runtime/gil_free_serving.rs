//! Serving without the interpreter, for dispatchers that have endpoints in Rust.
//!
//! Whoever serves such endpoints never waits for the interpreter's lock, which some other thread may hold for long. But
//! signals are Python's main thread's to handle, and reports go through `logging`: both take the lock. So a thread of its
//! own serves, and the one that was asked to serve sees to those meanwhile.

use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

use pyo3::prelude::*;
use tachyon::ServeError;

use crate::errors::Raise;
use crate::runtime::{interpreter_shutdown, interrupt};

/// How often signals and reports are looked for.
const SLICE: Duration = Duration::from_millis(50);

/// Serves on a thread of its own. Meanwhile this one has `periodic` called, and signals handled; when one of their handlers
/// raises, it has `end` end the serving, and gives the exception when that is done.
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
            let serving = thread::Builder::new().name("tachyon".to_owned()).spawn_scoped(scope, move || {
                interrupt::stop_by(stopped);
                let outcome = serve();
                // Whoever waits for it is there until it has come.
                let _ = done.send(());
                outcome
            });
            let serving = match serving {
                Ok(serving) => serving,
                Err(error) => return (Err(ServeError::Io(error)), None),
            };
            let mut raised = None;
            while let Err(RecvTimeoutError::Timeout) = waits.recv_timeout(SLICE) {
                // Whoever holds the lock keeps only this thread waiting.
                let looked = interpreter_shutdown::try_attach(|py| periodic(py).and(py.check_signals()));
                if let Some(Err(error)) = looked
                    && raised.is_none()
                {
                    raised = Some(error);
                    end(&stop);
                }
            }
            // Joined, and not only done: the thread gives its interpreter state back.
            (serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), raised)
        })
    });
    let raised = periodic(py).err().or(raised);
    match (raised, outcome) {
        (Some(raised), _) => Err(raised),
        (None, outcome) => outcome.map_err(Raise::raise),
    }
}

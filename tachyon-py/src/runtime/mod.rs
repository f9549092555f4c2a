//! The interpreter: waits without the GIL, signals, shutdown, threads of the core, logging and calls of Python code.

pub(crate) mod gil_free_serving;
pub(crate) mod interpreter_shutdown;
pub(crate) mod interrupt;
pub(crate) mod invoke;
pub(crate) mod logging;
pub(crate) mod main_interpreter;
pub(crate) mod package;
pub(crate) mod worker_thread;

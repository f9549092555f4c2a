//! Signals that stop a server, for the services of this folder.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tachyon::Stopper;

/// Stops a server on SIGTERM or SIGINT, from a thread of its own: `Stopper::stop` takes a lock, which a signal handler
/// must not do.
pub(crate) fn stop_on_signals(stopper: Stopper) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::spawn(move || {
        let mut stopping = false;
        for signal in signals.forever() {
            if stopping && signal == SIGINT {
                // The second Ctrl-C ends a process whose handler hangs.
                emulate_default_handler(SIGINT)?;
            }
            stopper.stop();
            stopping = true;
        }
        io::Result::Ok(())
    });
    Ok(())
}

//! What a server's callers do, for other processes to see.
//!
//! A [`RpcServer`](crate::RpcServer) counts calls, errors and durations per endpoint and per caller in shared memory of
//! its own, and lists itself in a folder of its user's: `/run/user/UID/tachyon`, or `/tmp/tachyon-UID` where the system
//! has no such directory; `TACHYON_RUNTIME_DIR` names another one. [`servers`] reads the list, an [`Observer`] reads one server's counts. Observing costs
//! the server nothing and asks it nothing, so a server that hangs can be looked at as well as one that is busy.
//!
//! Durations are from a request's turn to its reply in the ring, the handler included, waiting in the ring before it
//! not. They are kept in buckets that are within 6.25 % of what was measured, from a nanosecond to 18 minutes; a
//! longer one counts as 18 minutes. Of an endpoint whose calls take less than 5 microseconds one call in seven is
//! measured and stands for the others: reading the clock costs more than everything else that is counted. Error replies count as calls. Control requests (`ping`) do not.
//!
//! Everything an observer reads is another process's word: it is copied and checked, and names are made printable.

mod board;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod histogram;
mod interval;
mod layout;
mod observer;
mod publication;
mod record;
mod registry;
mod snapshot;

pub(crate) use board::{Bank, Ending, Fill, Tally, Tenant};
pub use error::StatsError;
pub use interval::Interval;
pub use observer::{Observer, ServerEntry, servers};
pub(crate) use publication::Publication;
pub use snapshot::{CallerStats, EndpointStats, RingFill, Snapshot};

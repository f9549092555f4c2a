//! Statistics of servers: calls, errors and durations per endpoint and per caller, for other processes to read.
//!
//! A [`RpcServer`](crate::RpcServer) counts in shared memory of its own, and lists itself in a folder of its user:
//! `/run/user/UID/tachyon`, or `/tmp/tachyon-UID` on a system without `/run/user/UID`, or the folder `tachyon` in
//! `TACHYON_RUNTIME_DIR`. [`servers`] reads the list, and an [`Observer`] reads the counters of one server. Observing
//! sends the server no request and costs it nothing, so that a busy server and a server that hangs can be observed.
//!
//! A duration is the time from a request's turn to its reply in the ring. It includes the handler, and excludes the
//! request's wait in the ring. Durations are counted in buckets within 6.25 % of the measured value, from a nanosecond
//! to 18 minutes; a longer duration counts as 18 minutes. For endpoints whose calls take less than 5 microseconds, one
//! call in seven is measured and stands for the others: reading the clock would cost more than all other counting.
//! Error replies count as calls. Control requests (`ping`) do not count.
//!
//! The observer does not trust the server's memory: it copies and checks the words, and makes names printable.

mod error;
pub(crate) mod histogram;
mod interval;
pub(crate) mod layout;
pub(crate) mod observer;
mod publication;
pub(crate) mod record;
mod registry;
mod snapshot;
pub(crate) mod writer;

pub use error::StatsError;
pub use interval::Interval;
pub use observer::{Observer, ServerEntry, servers};
pub(crate) use publication::Publication;
pub use snapshot::{CallerStats, EndpointStats, RingFill, Snapshot};
pub(crate) use writer::{CallOutcome, CallerKey, EndpointCounters, Fill, WorkerCounters};

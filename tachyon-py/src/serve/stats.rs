//! Statistics of a server, read by another process of the same user, as Python values.

use core::time::Duration;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tachyon::stats::{CallerStats, EndpointStats, Interval, Observer, RingFill, Snapshot, StatsError, servers};

use crate::args;
use crate::bus::lifetime::connect_options;
use crate::errors::{Raise, SystemCallError};
use crate::runtime::interrupt::detached;

impl Raise for StatsError {
    fn raise(self) -> PyErr {
        SystemCallError::new_err(self.to_string())
    }
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

/// The live servers of this user, as `pid`, `path` and `started` (seconds since 1970).
///
/// # Errors
/// `SystemCallError` when their folder cannot be read, or is not this user's.
#[pyfunction]
pub(crate) fn live_servers(py: Python<'_>) -> PyResult<Vec<(u32, PathBuf, f64)>> {
    let entries = py.detach(servers).map_err(Raise::raise)?;
    Ok(entries
        .into_iter()
        .map(|entry| {
            let started = entry.started.duration_since(UNIX_EPOCH).unwrap_or_default();
            (entry.pid, entry.path, started.as_secs_f64())
        })
        .collect())
}

/// Times one round trip to a server, in seconds. A listener for one peer keeps its place.
///
/// # Errors
/// As `RpcBus.connect` with a probe, and `TimedOutError`.
#[pyfunction]
pub(crate) fn ping(py: Python<'_>, path: PathBuf, timeout: f64) -> PyResult<f64> {
    let limit = args::timeout(Some(timeout))?.unwrap_or(Duration::MAX);
    let options = connect_options(Some(timeout), false)?.probe(true);
    let mut caller = detached(py, || tachyon::Caller::connect_with(path, &options))?;
    let trip = detached(py, || caller.ping(limit))?;
    Ok(trip.as_secs_f64())
}

/// One server's statistics, and the change since the last snapshot.
#[pyclass(module = "tachyon._tachyon", name = "ServerStats")]
pub(crate) struct ServerStats {
    observer: Observer,
    last: Option<Snapshot>,
}

#[pymethods]
impl ServerStats {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let observer = py.detach(|| Observer::open(path)).map_err(Raise::raise)?;
        Ok(Self { observer, last: None })
    }

    /// Take a snapshot: totals and, from the second snapshot on, the rates since the last one.
    fn snapshot<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let now = self.observer.snapshot().map_err(Raise::raise)?;
        let snapshot = totals(py, &now)?;
        if let Some(last) = &self.last {
            snapshot.set_item("since_last", rates(py, &now.since(last))?)?;
        }
        self.last = Some(now);
        Ok(snapshot)
    }

    /// Whether the server still lives.
    fn is_live(&self) -> bool {
        self.observer.is_live()
    }
}

fn totals<'py>(py: Python<'py>, now: &Snapshot) -> PyResult<Bound<'py, PyDict>> {
    let snapshot = PyDict::new(py);
    snapshot.set_item("pid", now.pid)?;
    snapshot.set_item("path", now.path.to_string_lossy())?;
    snapshot.set_item("uptime", now.uptime.as_secs_f64())?;
    snapshot.set_item("workers", now.workers)?;
    snapshot.set_item("callers_now", now.callers_now)?;
    snapshot.set_item("callers_ever", now.callers_ever)?;
    snapshot.set_item("rejected", now.rejected)?;
    snapshot.set_item("calls", now.calls())?;
    snapshot.set_item("errors", now.errors())?;
    snapshot.set_item("endpoints", endpoints(py, &now.endpoints)?)?;
    let callers = now.callers.iter().map(|line| caller(py, line)).collect::<PyResult<Vec<_>>>()?;
    snapshot.set_item("callers", callers)?;
    Ok(snapshot)
}

fn rates<'py>(py: Python<'py>, interval: &Interval) -> PyResult<Bound<'py, PyDict>> {
    let rates = PyDict::new(py);
    rates.set_item("seconds", interval.over.as_secs_f64())?;
    rates.set_item("calls_per_second", interval.per_second(interval.calls()))?;
    rates.set_item("errors_per_second", interval.per_second(interval.errors()))?;
    rates.set_item("joined", interval.joined)?;
    rates.set_item("rejected", interval.rejected)?;
    let lines = endpoints(py, &interval.endpoints)?;
    for (line, endpoint) in lines.iter().zip(&interval.endpoints) {
        line.set_item("calls_per_second", interval.per_second(endpoint.calls))?;
    }
    rates.set_item("endpoints", lines)?;
    Ok(rates)
}

fn endpoints<'py>(py: Python<'py>, lines: &[EndpointStats]) -> PyResult<Bound<'py, PyList>> {
    let all = PyList::empty(py);
    for line in lines {
        let endpoint = PyDict::new(py);
        endpoint.set_item("msg_type", line.msg_type)?;
        endpoint.set_item("name", &line.name)?;
        endpoint.set_item("calls", line.calls)?;
        endpoint.set_item("errors", line.errors)?;
        let kinds = PyDict::new(py);
        for (kind, count) in &line.errors_by_kind {
            kinds.set_item(kind.name(), count)?;
        }
        endpoint.set_item("errors_by_kind", kinds)?;
        endpoint.set_item("p50", seconds(line.p50()))?;
        endpoint.set_item("p99", seconds(line.p99()))?;
        all.append(endpoint)?;
    }
    Ok(all)
}

fn caller<'py>(py: Python<'py>, line: &CallerStats) -> PyResult<Bound<'py, PyDict>> {
    let fill = |ring: &RingFill| (ring.used, ring.slots);
    let caller = PyDict::new(py);
    caller.set_item("id", line.id)?;
    caller.set_item("pid", line.pid)?;
    caller.set_item("uid", line.uid)?;
    caller.set_item("requests", line.requests)?;
    caller.set_item("forward", fill(&line.forward))?;
    caller.set_item("reverse", fill(&line.reverse))?;
    Ok(caller)
}

//! Statistics of a server, read by another process of the same user, as Python values.
//!
//! The dictionaries have the fields of the dataclasses in `tachyon.stats`.

use core::time::Duration;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};
use tachyon::stats::{CallerStats, EndpointStats, Observer, RingFill, Snapshot, StatsError, servers};

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

/// Seconds since 1970.
fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The live servers of this user, as `pid`, `path` and `started` (seconds since 1970).
///
/// # Errors
/// `SystemCallError` when their folder cannot be read, or is not this user's.
#[pyfunction]
pub(crate) fn live_servers(py: Python<'_>) -> PyResult<Vec<(u32, PathBuf, f64)>> {
    let entries = py.detach(servers).map_err(Raise::raise)?;
    Ok(entries.into_iter().map(|entry| (entry.pid, entry.path, since_epoch(entry.started))).collect())
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

/// The statistics of one server.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct StatsObserver {
    observer: Observer,
}

#[pymethods]
impl StatsObserver {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let observer = py.detach(|| Observer::open(path)).map_err(Raise::raise)?;
        Ok(Self { observer })
    }

    /// Read the counters.
    fn counts(&self, py: Python<'_>) -> PyResult<StatsCounts> {
        Ok(StatsCounts { now: py.detach(|| self.observer.snapshot()).map_err(Raise::raise)? })
    }

    /// Whether the server still lives.
    fn is_live(&self, py: Python<'_>) -> bool {
        py.detach(|| self.observer.is_live())
    }
}

/// The counters of one server at one moment.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct StatsCounts {
    now: Snapshot,
}

#[pymethods]
impl StatsCounts {
    /// Return the fields of a `Snapshot`.
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let now = &self.now;
        let fields = PyDict::new(py);
        fields.set_item("pid", now.pid)?;
        fields.set_item("path", &now.path)?;
        fields.set_item("started", since_epoch(now.started))?;
        fields.set_item("uptime", now.uptime.as_secs_f64())?;
        fields.set_item("workers", now.workers)?;
        fields.set_item("callers_now", now.callers_now)?;
        fields.set_item("callers_ever", now.callers_ever)?;
        fields.set_item("rejected", now.rejected)?;
        fields.set_item("calls", now.calls())?;
        fields.set_item("errors", now.errors())?;
        fields.set_item("endpoints", endpoints(py, &now.endpoints)?)?;
        fields.set_item("callers", now.callers.iter().map(|row| caller(py, row)).collect::<PyResult<Vec<_>>>()?)?;
        Ok(fields)
    }

    /// Return the fields of an `Interval` since an earlier moment.
    fn since<'py>(&self, py: Python<'py>, earlier: &Self) -> PyResult<Bound<'py, PyDict>> {
        let interval = self.now.since(&earlier.now);
        let fields = PyDict::new(py);
        fields.set_item("seconds", interval.over.as_secs_f64())?;
        fields.set_item("calls", interval.calls())?;
        fields.set_item("errors", interval.errors())?;
        fields.set_item("joined", interval.joined)?;
        fields.set_item("rejected", interval.rejected)?;
        fields.set_item("endpoints", endpoints(py, &interval.endpoints)?)?;
        fields.set_item("requests", interval.callers.iter().copied().into_py_dict(py)?)?;
        Ok(fields)
    }
}

fn endpoints<'py>(py: Python<'py>, rows: &[EndpointStats]) -> PyResult<Vec<Bound<'py, PyDict>>> {
    rows.iter().map(|row| endpoint(py, row)).collect()
}

fn endpoint<'py>(py: Python<'py>, row: &EndpointStats) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("msg_type", row.msg_type)?;
    fields.set_item("name", &row.name)?;
    fields.set_item("calls", row.calls)?;
    fields.set_item("errors", row.errors)?;
    let kinds = row.errors_by_kind.iter().map(|(kind, count)| (*kind as u16, *count));
    fields.set_item("errors_by_kind", kinds.into_py_dict(py)?)?;
    fields.set_item("callers_gone", row.callers_gone)?;
    fields.set_item("request_bytes", row.request_bytes)?;
    fields.set_item("reply_bytes", row.reply_bytes)?;
    fields.set_item("busy", row.busy.as_secs_f64())?;
    fields.set_item("p50", seconds(row.p50()))?;
    fields.set_item("p99", seconds(row.p99()))?;
    Ok(fields)
}

fn caller<'py>(py: Python<'py>, row: &CallerStats) -> PyResult<Bound<'py, PyDict>> {
    let fill = |ring: &RingFill| (ring.used, ring.slots);
    let fields = PyDict::new(py);
    fields.set_item("id", row.id)?;
    fields.set_item("pid", row.pid)?;
    fields.set_item("uid", row.uid)?;
    fields.set_item("requests", row.requests)?;
    fields.set_item("forward", fill(&row.forward))?;
    fields.set_item("reverse", fill(&row.reverse))?;
    Ok(fields)
}

//! Arguments of Python calls, checked: an argument out of range raises an error that names the argument and its range.

use core::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use tachyon::__binding::Limit;
use tachyon::PollingMode;

use crate::errors::InvalidArgumentError;
use crate::memory::buffer_export::type_name;

/// A Python integer of any size. A value that does not fit in 64 bits is out of every range of this module.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Integer {
    Fits(u64),
    Negative,
    Huge,
}

impl<'py> FromPyObject<'_, 'py> for Integer {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<u64>() {
            Ok(value) => Ok(Self::Fits(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Ok(if object.lt(0)? { Self::Negative } else { Self::Huge })
            }
            Err(error) => Err(error),
        }
    }
}

impl Integer {
    #[inline]
    fn up_to<T: TryFrom<u64>>(self, name: &str, most: u64, what: &str) -> PyResult<T> {
        if let Self::Fits(value) = self
            && value <= most
            && let Ok(value) = T::try_from(value)
        {
            return Ok(value);
        }
        Err(self.refuse(name, most, what))
    }

    #[cold]
    fn refuse(self, name: &str, most: u64, what: &str) -> PyErr {
        let given = match self {
            Self::Fits(value) => value.to_string(),
            Self::Negative => "a negative number".to_owned(),
            Self::Huge => "a huge number".to_owned(),
        };
        InvalidArgumentError::new_err(format!("{name} is {what} from 0 to {most}, not {given}"))
    }
}

#[inline]
pub(crate) fn sixteen_bits(name: &str, value: Integer) -> PyResult<u16> {
    value.up_to(name, u64::from(u16::MAX), "a number")
}

#[inline]
pub(crate) fn type_id(value: Integer) -> PyResult<u32> {
    value.up_to("type_id", u64::from(u32::MAX), "a number")
}

/// A message type of a call: 65535 is reserved.
#[inline]
pub(crate) fn msg_type(value: Integer) -> PyResult<u16> {
    let most = u64::from(tachyon::type_id::MSG_TYPE_ERROR - 1);
    value.up_to("msg_type", most, "a number (65535 marks error replies)")
}

#[inline]
pub(crate) fn size(name: &str, value: Integer) -> PyResult<usize> {
    value.up_to(name, i64::MAX.unsigned_abs(), "a number of bytes")
}

/// A size within a reservation.
pub(crate) fn at_most(name: &str, value: Integer, most: usize) -> PyResult<usize> {
    value.up_to(name, most as u64, "a number of reserved bytes")
}

#[inline]
pub(crate) fn correlation_id(value: Integer) -> PyResult<u64> {
    match value {
        Integer::Fits(value) if value != 0 => Ok(value),
        _ => Err(InvalidArgumentError::new_err(
            "a correlation id is at least 1: pass the one that `start` or `serve` returned",
        )),
    }
}

/// The message type passed to a decorator. A callable means that the parentheses of the decorator are missing.
pub(crate) fn decorated_msg_type(decorator: &str, given: &Bound<'_, PyAny>) -> PyResult<u16> {
    if given.is_callable() {
        let message = format!("{decorator} takes a message type: write @{decorator}(msg_type=1)");
        return Err(PyTypeError::new_err(message));
    }
    msg_type(given.extract()?)
}

pub(crate) fn node(value: Integer) -> PyResult<u32> {
    value.up_to("node_id", 63, "a NUMA node")
}

pub(crate) fn count(name: &str, value: Integer) -> PyResult<usize> {
    match value {
        Integer::Fits(value @ 1..) => Ok(usize::try_from(value).unwrap_or(usize::MAX)),
        Integer::Huge => Ok(usize::MAX),
        _ => Err(InvalidArgumentError::new_err(format!("{name} must be at least 1"))),
    }
}

/// Most items of a stream that may be under way. No ring has room for more than the core's limit.
pub(crate) fn window(value: Option<Integer>) -> PyResult<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    match value {
        Integer::Fits(value @ 1..) => Ok(Some(u32::try_from(value).unwrap_or(u32::MAX))),
        Integer::Huge => Ok(Some(u32::MAX)),
        _ => Err(InvalidArgumentError::new_err("window, the items that may be under way, must be at least 1")),
    }
}

/// Polls before the wait parks, for one call.
#[inline]
pub(crate) fn spins(value: Option<Integer>) -> PyResult<Option<PollingMode>> {
    let Some(value) = value else { return Ok(None) };
    match value {
        Integer::Fits(spins) => Ok(Some(PollingMode::SpinTimes(u32::try_from(spins).unwrap_or(u32::MAX)))),
        Integer::Huge => Ok(Some(PollingMode::SpinTimes(u32::MAX))),
        Integer::Negative => Err(InvalidArgumentError::new_err(
            "spin_threshold, the polls before parking, must be at least 0; None uses the bus's polling mode",
        )),
    }
}

/// A polling mode by its word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polling(pub(crate) PollingMode);

impl Polling {
    pub(crate) const ADAPTIVE: Self = Self(PollingMode::Adaptive);
}

impl FromPyObject<'_, '_> for Polling {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let Ok(word) = object.extract::<&str>() else {
            let message = format!("a polling mode is one of {POLLING_WORDS}, not {}", type_name(&object)?);
            return Err(PyTypeError::new_err(message));
        };
        match word {
            "adaptive" => Ok(Self(PollingMode::Adaptive)),
            "spin" => Ok(Self(PollingMode::Spin)),
            "park" => Ok(Self(PollingMode::Park)),
            _ => Err(InvalidArgumentError::new_err(format!("a polling mode is one of {POLLING_WORDS}, not {word:?}"))),
        }
    }
}

/// Checks a word of `polling`, and returns it.
#[pyfunction]
pub(crate) fn checked_polling<'py>(polling: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    polling.extract::<Polling>()?;
    Ok(polling.clone())
}

const POLLING_WORDS: &str = "\"adaptive\", \"spin\" and \"park\"";

/// The polling mode of `set_polling_mode`: a word, or a switch, 1 for `spin` and 0 for `adaptive`.
pub(crate) fn polling_mode(pure_spin: &Bound<'_, PyAny>) -> PyResult<PollingMode> {
    let Ok(switch) = pure_spin.extract::<Integer>() else {
        return pure_spin.extract::<Polling>().map(|polling| polling.0);
    };
    Ok(match switch.up_to("pure_spin", 1, "a switch")? {
        0 => PollingMode::Adaptive,
        _ => PollingMode::Spin,
    })
}

/// The shorter of two limits.
#[inline]
pub(crate) fn sooner(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        // Not `min`, which drops a NaN: the check of the timeout must see it.
        (Some(one), Some(other)) if other < one => Some(other),
        (one, other) => one.or(other),
    }
}

/// The limit of `within`, in seconds.
pub(crate) fn within(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    let Ok(seconds) = given.extract::<f64>() else {
        let found = type_name(given)?;
        let message = format!("a timeout is a number of seconds, such as within(0.5), not {found}");
        return Err(PyTypeError::new_err(message));
    };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(InvalidArgumentError::new_err(format!(
            "a timeout is a number of seconds from 0 up, not {seconds}"
        )));
    }
    Ok(seconds)
}

/// The limit of a call that takes at most `seconds`.
#[inline]
pub(crate) fn limit(seconds: Option<f64>) -> PyResult<Limit> {
    Ok(Limit::after(timeout(seconds)?))
}

/// The longest duration of a call; `None` means no limit.
#[inline]
pub(crate) fn timeout(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = seconds else { return Ok(None) };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(InvalidArgumentError::new_err(format!(
            "a timeout is a number of seconds from 0 up, or None for no limit, not {seconds}"
        )));
    }
    // A number of seconds that no `Duration` holds means no limit.
    Ok(Duration::try_from_secs_f64(seconds).ok())
}

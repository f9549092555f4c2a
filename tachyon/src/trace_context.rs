//! The place of a call in a trace, as W3C Trace Context defines it, and the place of the call that a thread handles.

use core::cell::Cell;
use core::fmt;
use core::num::{NonZeroU64, NonZeroU128};
use std::hash::{BuildHasher, Hasher, RandomState};

/// The key of the metadata with a [`TraceContext`].
pub(crate) const KEY: &str = "traceparent";

/// The length of a `traceparent` of version 00: `00-{trace id}-{span id}-{flags}`.
const LEN: usize = 55;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A trace, and one span of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace: NonZeroU128,
    pub(crate) span: NonZeroU64,
    flags: u8,
}

thread_local! {
    static CURRENT: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

impl TraceContext {
    /// The first span of a new trace.
    pub(crate) fn root() -> Self {
        let trace = u128::from(random().get()) << 64 | u128::from(random().get());
        Self { trace: NonZeroU128::new(trace).unwrap_or(NonZeroU128::MIN), span: random(), flags: SAMPLED }
    }

    /// A new span, which this span caused.
    pub(crate) fn child(self) -> Self {
        Self { span: random(), ..self }
    }

    /// Reads a `traceparent`; `None` for a text of another form, which begins a new trace. A text of a version above 00
    /// may have more parts.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (bytes, rest) = text.as_bytes().split_at_checked(LEN)?;
        let version = hex(&bytes[..2])?;
        let fits = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
        if version == 0xFF || !fits || [2, 35, 52].iter().any(|at| bytes[*at] != b'-') {
            return None;
        }
        let trace = NonZeroU128::new(hex(&bytes[3..35])?)?;
        let span = NonZeroU64::new(u64::try_from(hex(&bytes[36..52])?).ok()?)?;
        // Version 00 defines the lowest bit alone. The others are not passed on.
        let flags = u8::try_from(hex(&bytes[53..])?).ok()? & SAMPLED;
        Some(Self { trace, span, flags })
    }

    /// The context of the call that this thread handles.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Makes this context the current one until the drop of the result, which brings the present one back.
    pub(crate) fn enter(self) -> Entered {
        Entered(CURRENT.replace(Some(self)))
    }
}

/// Brings the context back that was current before.
#[derive(Debug)]
pub(crate) struct Entered(Option<TraceContext>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

/// The number that lower-case hexadecimal digits write.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

/// A random number. The keys of each `RandomState` come from the system's randomness and a counter of the thread.
fn random() -> NonZeroU64 {
    NonZeroU64::new(RandomState::new().build_hasher().finish()).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written() {
        let context = TraceContext::parse(TEXT).unwrap();
        assert_eq!(context.trace.get(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.span.get(), context.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(context.to_string(), TEXT);
        let child = context.child();
        assert_eq!((child.trace, child.flags), (context.trace, 1));
        assert_ne!(child.span, context.span);
    }

    #[test]
    fn later_versions_may_have_more_parts_and_other_flags_are_not_passed_on() {
        let later = TEXT.replacen("00", "cc", 1);
        assert_eq!(TraceContext::parse(&later).unwrap().to_string(), TEXT);
        assert_eq!(TraceContext::parse(&format!("{later}-of-the-future")).unwrap().to_string(), TEXT);
        assert_eq!(TraceContext::parse(&format!("{later}.")), None);
        assert_eq!(TraceContext::parse(&TEXT.replace("-01", "-ff")).unwrap().to_string(), TEXT);
        assert_eq!(TraceContext::parse(&TEXT.replace("-01", "-fe")).unwrap().to_string(), TEXT.replace("-01", "-00"));
    }

    #[test]
    fn a_text_of_another_form_is_refused() {
        for cut in 0..TEXT.len() {
            assert_eq!(TraceContext::parse(&TEXT[..cut]), None, "{cut}");
        }
        for (from, to) in [
            ("00-4b", "ff-4b"),
            ("00-4b", "0x-4b"),
            ("4bf9", "4BF9"),
            ("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            ("00f067aa0ba902b7", "0000000000000000"),
            ("4736-00f0", "4736_00f0"),
            ("-01", "-0g"),
            ("-01", "-01-"),
            ("00f0", "äf0"),
        ] {
            assert_eq!(TraceContext::parse(&TEXT.replacen(from, to, 1)), None, "{from} {to}");
        }
    }

    #[test]
    fn the_current_context_is_that_of_the_innermost_call() {
        assert_eq!(TraceContext::current(), None);
        let (outer, inner) = (TraceContext::root(), TraceContext::root());
        assert_ne!(outer, inner);
        let entered = outer.enter();
        let within = inner.enter();
        assert_eq!(TraceContext::current(), Some(inner));
        drop(within);
        assert_eq!(TraceContext::current(), Some(outer));
        drop(entered);
        assert_eq!(TraceContext::current(), None);
    }
}

//! Errors that an endpoint declares.

use core::convert::Infallible;
use core::fmt;

use super::layout::HeadLayout;
use super::malformed::Malformed;

/// The errors that an endpoint declares: an enum marked with [`#[tachyon::error]`](macro@crate::error), which
/// implements this.
///
/// A declared error travels by its variant's name and fields and arrives as
/// [`CallError::Failed`](crate::CallError::Failed).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no declared error",
    note = "`#[tachyon::error]` makes one of an enum"
)]
pub trait DeclaredError: std::error::Error + Send + Sync + Sized + 'static {
    /// The errors, by name and fields.
    const VARIANTS: &'static [HeadLayout];

    /// The name, and the fields as a head; empty without fields.
    #[doc(hidden)]
    fn encode(&self) -> (&'static str, Vec<u8>);

    /// The error of this name; `None` when there is none.
    #[doc(hidden)]
    fn decode(name: &str, fields: &[u8]) -> Option<Result<Self, Malformed>>;
}

/// The error type of an endpoint that declares none: it has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undeclared(Infallible);

impl Undeclared {
    /// Stands for any value, since this one cannot exist.
    pub(crate) fn never<T>(self) -> T {
        match self.0 {}
    }
}

impl fmt::Display for Undeclared {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl std::error::Error for Undeclared {}

impl DeclaredError for Undeclared {
    const VARIANTS: &'static [HeadLayout] = &[];

    fn encode(&self) -> (&'static str, Vec<u8>) {
        match self.0 {}
    }

    fn decode(_name: &str, _fields: &[u8]) -> Option<Result<Self, Malformed>> {
        None
    }
}

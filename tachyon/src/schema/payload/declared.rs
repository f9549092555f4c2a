//! Errors that an endpoint declares.

use core::convert::Infallible;
use core::fmt;

use super::layout::ErrorLayout;
use super::malformed::BoxedMalformed;
use crate::error_kind::ErrorKind;

/// The errors that an endpoint declares: an enum marked with [`#[tachyon::error]`](macro@crate::error), which
/// implements this trait.
///
/// A declared error travels by its variant's name and fields and arrives as
/// [`CallError::Failed`](crate::CallError::Failed). A caller that does not know the name gets
/// [`CallError::Remote`](crate::CallError::Remote).
///
/// ```
/// use tachyon::payload::DeclaredError;
///
/// #[tachyon::error]
/// enum ScanError {
///     #[error("no sensor {sensor}", kind = NotFound)]
///     NoSensor { sensor: u32 },
///     #[error("busy")]
///     Busy,
/// }
///
/// let names: Vec<_> = ScanError::VARIANTS.iter().map(|variant| variant.head.name).collect();
/// assert_eq!(names, ["NoSensor", "Busy"]);
/// let error = ScanError::NoSensor { sensor: 3 };
/// assert_eq!(error.to_string(), "no sensor 3");
/// assert_eq!(error.kind(), tachyon::ErrorKind::NotFound);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no declared error",
    note = "`#[tachyon::error]` makes one of an enum"
)]
pub trait DeclaredError: std::error::Error + Send + Sync + Sized + 'static {
    /// Kind, name and fields of each variant, in the order of the enum.
    const VARIANTS: &'static [ErrorLayout];

    /// The kind of the error reply: that of the variant's `#[error(.., kind = ..)]`, or
    /// [`HandlerFailed`](ErrorKind::HandlerFailed).
    fn kind(&self) -> ErrorKind;

    /// The name, and the fields as a head; empty without fields.
    #[doc(hidden)]
    fn encode(&self) -> (&'static str, Vec<u8>);

    /// The error of this name; `None` when the enum has no such variant.
    #[doc(hidden)]
    fn decode(name: &str, fields: &[u8]) -> Option<Result<Self, BoxedMalformed>>;
}

/// The error type of an endpoint that declares none: it has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undeclared(Infallible);

impl Undeclared {
    /// Stands for any value: an `Undeclared` cannot exist.
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
    const VARIANTS: &'static [ErrorLayout] = &[];

    fn kind(&self) -> ErrorKind {
        match self.0 {}
    }

    fn encode(&self) -> (&'static str, Vec<u8>) {
        match self.0 {}
    }

    fn decode(_name: &str, _fields: &[u8]) -> Option<Result<Self, BoxedMalformed>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Value, ValueType};
    use super::*;
    use crate::aligned::AlignedBytes;

    /// Failures of a scan.
    #[crate::error(crate = crate)]
    #[derive(Clone, PartialEq)]
    enum ScanError {
        /// There is none of this number.
        #[error("no sensor {sensor}", kind = NotFound)]
        NoSensor { sensor: u32 },
        #[error("busy {{until further notice}}", kind = Unavailable,)]
        Busy,
        /// Names that the macro's own code uses, and keywords.
        #[error("{head:?} {end:?} {type:>3} {f:.1}")]
        Odd { head: Vec<String>, end: Option<Name>, r#type: String, f: f64, area: [Corner; 2], writer: Vec<Corner> },
    }

    #[crate::payload(crate = crate)]
    #[derive(Debug, PartialEq)]
    struct Corner {
        x: i32,
    }

    #[crate::payload(extensible, crate = crate)]
    #[derive(Debug, Clone, PartialEq)]
    struct Name {
        text: String,
    }

    /// An older `ScanError`, with fewer fields.
    #[crate::error(crate = crate)]
    #[derive(PartialEq)]
    enum Older {
        #[error("none")]
        NoSensor,
        #[error("odd")]
        Odd { head: Vec<String> },
    }

    /// A newer `ScanError`, with more fields.
    #[crate::error(crate = crate)]
    #[derive(PartialEq)]
    enum Newer {
        #[error("no sensor {sensor} of {of:?}")]
        NoSensor { sensor: u32, of: Option<u32> },
        #[error("busy for {seconds:?} s")]
        Busy { seconds: Option<u32> },
    }

    fn odd() -> ScanError {
        ScanError::Odd {
            head: vec!["a".into(), String::new()],
            end: None,
            r#type: "t".into(),
            f: 0.25,
            area: [Corner { x: 1 }, Corner { x: -1 }],
            writer: vec![Corner { x: 7 }; 3],
        }
    }

    /// Sends an `E` to a caller that knows the errors as `F`.
    fn sent<E: DeclaredError, F: DeclaredError>(error: &E) -> Option<Result<F, BoxedMalformed>> {
        let (name, fields) = error.encode();
        let mut aligned = AlignedBytes::zeroed(fields.len());
        aligned.copy_from_slice(&fields);
        F::decode(name, &aligned)
    }

    #[test]
    fn errors_come_back_as_they_were_sent() {
        let named = ScanError::Odd {
            head: vec![],
            end: Some(Name { text: "n".into() }),
            r#type: String::new(),
            f: 1.0,
            area: [Corner { x: 0 }; 2],
            writer: vec![],
        };
        for error in [ScanError::NoSensor { sensor: 3 }, ScanError::Busy, odd(), named] {
            assert_eq!(sent(&error), Some(Ok(error.clone())));
        }
        assert_eq!(ScanError::Busy.encode(), ("Busy", vec![]));
        assert_eq!(ScanError::NoSensor { sensor: 3 }.encode(), ("NoSensor", vec![8, 0, 0, 0, 3, 0, 0, 0]));
        assert!(ScanError::decode("busy", &[]).is_none());
    }

    #[test]
    fn each_variant_has_its_kind() {
        let kinds = [ScanError::NoSensor { sensor: 3 }, ScanError::Busy, odd()].map(|error| error.kind());
        assert_eq!(kinds, [ErrorKind::NotFound, ErrorKind::Unavailable, ErrorKind::HandlerFailed]);
    }

    #[test]
    fn texts_show_fields() {
        let text = |error: ScanError| error.to_string();
        assert_eq!(text(ScanError::NoSensor { sensor: 3 }), "no sensor 3");
        assert_eq!(text(ScanError::Busy), "busy {until further notice}");
        assert_eq!(text(odd()), r#"["a", ""] None   t 0.2"#);
    }

    #[test]
    fn fields_may_be_added_at_the_end() {
        let none = ScanError::NoSensor { sensor: 3 };
        assert_eq!(sent(&none), Some(Ok(Newer::NoSensor { sensor: 3, of: None })));
        assert_eq!(sent(&ScanError::Busy), Some(Ok(Newer::Busy { seconds: None })));
        assert_eq!(sent(&Newer::NoSensor { sensor: 3, of: Some(4) }), Some(Ok(none)));
        assert_eq!(sent(&Newer::Busy { seconds: Some(1) }), Some(Ok(ScanError::Busy)));
        assert_eq!(sent(&odd()), Some(Ok(Older::Odd { head: vec!["a".into(), String::new()] })));
        let missing = sent::<_, ScanError>(&Older::NoSensor).unwrap().unwrap_err();
        assert!(missing.to_string().starts_with("NoSensor.sensor is missing"), "{missing}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (name, mut fields) = odd().encode();
        fields[4] = 1;
        let wrong = ScanError::decode(name, &fields).unwrap().unwrap_err().to_string();
        assert!(wrong.starts_with("Odd.head points to"), "{wrong}");
        let wrong = ScanError::decode("NoSensor", &[9, 0, 0, 0, 1, 1, 1, 1]).unwrap().unwrap_err().to_string();
        assert!(wrong.starts_with("the head of NoSensor gives its length as 9 bytes"), "{wrong}");
    }

    #[test]
    fn variants_describe_themselves() {
        let [no_sensor, busy, odd] = ScanError::VARIANTS else { panic!("three") };
        assert_eq!((no_sensor.kind, busy.kind), (ErrorKind::NotFound, ErrorKind::Unavailable));
        assert_eq!((odd.kind, odd.head.name), (ErrorKind::HandlerFailed, "Odd"));
        let [no_sensor, busy, odd] = [no_sensor, busy, odd].map(|variant| &variant.head);
        assert_eq!((no_sensor.name, no_sensor.doc, no_sensor.len), ("NoSensor", "There is none of this number.", 8));
        assert_eq!((no_sensor.fields[0].name, no_sensor.fields[0].value_type), ("sensor", u32::TYPE));
        assert_eq!((busy.len, busy.fields), (4, &[][..]));
        assert_eq!((odd.fields[2].name, odd.fields[2].value_type), ("type", &ValueType::Text));
    }
}

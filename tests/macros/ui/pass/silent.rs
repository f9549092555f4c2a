//! A crate that forbids lints: generated code must do without `allow`, which would be an error here.
#![forbid(
    dead_code,
    deprecated,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    missing_docs,
    missing_debug_implementations,
    non_ascii_idents,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    single_use_lifetimes,
    trivial_bounds,
    trivial_casts,
    trivial_numeric_casts,
    unreachable_pub,
    unsafe_code,
    unused_imports,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![deny(warnings)]

/// Public items, so that none is unused.
pub mod api {
    /// One variant is deprecated.
    #[tachyon::payload]
    #[derive(Debug)]
    #[repr(u8)]
    pub enum Side {
        /// Buys.
        Buy = 1,
        /// Sells.
        Sell,
        /// Swaps.
        #[deprecated = "gone since 2.0"]
        Swap,
    }

    /// One field is deprecated.
    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Order {
        /// A quantity.
        pub quantity: u64,
        /// A place.
        #[deprecated = "ignored since 2.0"]
        pub venue: u64,
        /// A direction.
        pub side: Side,
        _pad: [u8; 7],
    }

    /// The whole item is deprecated.
    #[deprecated = "use `Order`"]
    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Trade {
        /// A quantity.
        pub quantity: u64,
    }

    /// Texts, of which one is deprecated.
    #[tachyon::payload]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Note {
        /// The author.
        pub author: String,
        /// A text.
        #[deprecated = "ignored since 2.0"]
        pub text: Option<String>,
        /// A reason.
        pub because: Vec<Why>,
    }

    /// A reason.
    #[tachyon::payload(extensible)]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Why {
        /// A number.
        pub number: u32,
    }

    /// A deprecated list.
    #[deprecated = "use `Note`"]
    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Notes {
        /// The elements.
        pub notes: Vec<Note>,
    }
}

/// Endpoints and services.
pub mod contract {
    use tachyon::{Context, List, tachyon_rpc};

    use super::api::{Note, NoteRef};

    /// The errors.
    #[tachyon::error]
    #[non_exhaustive]
    pub enum Failure {
        /// A deprecated error.
        #[error("busy for {seconds} s")]
        #[deprecated = "never happens"]
        Busy {
            /// A duration.
            seconds: u32,
        },
        /// A missing item.
        #[error("closed")]
        Closed,
    }

    /// A non-exhaustive payload and view.
    #[tachyon::payload]
    #[derive(Debug, Clone, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Grown {
        /// A field.
        pub text: String,
    }

    /// Several arguments.
    ///
    /// # Errors
    ///
    /// Always.
    #[tachyon_rpc(msg_type = 1)]
    pub fn several(
        #[state] state: &u64,
        #[context] cx: &Context<'_>,
        names: List<'_, String>,
        note: NoteRef<'_>,
        grown: Option<GrownRef<'_>>,
    ) -> Result<Note, Failure> {
        let known = *state + names.len() as u64 + u64::from(cx.msg_type) + u64::from(grown.is_some());
        if known == 0 { Err(Failure::Closed) } else { Ok(note.into_owned()) }
    }

    /// The whole item is deprecated.
    #[deprecated = "use `several`"]
    #[tachyon_rpc(msg_type = 2)]
    pub fn old(left: u64, right: &str) -> u64 {
        left + right.len() as u64
    }

    /// A service with one deprecated method.
    #[tachyon_rpc]
    pub trait Desk {
        /// A method.
        ///
        /// # Errors
        ///
        /// Always.
        #[rpc(msg_type = 1)]
        fn one(&self, note: NoteRef<'_>, left: u64) -> Result<Note, Failure>;
        /// A deprecated method.
        #[deprecated = "use `one`"]
        #[rpc(msg_type = 2)]
        fn two(&mut self, texts: List<'_, String>);
    }

    /// A service without methods.
    #[tachyon_rpc]
    pub trait Nothing {}
}

/// Errors and the payloads in them.
pub mod errors {
    /// The errors.
    #[tachyon::error]
    pub enum ScanError {
        /// A missing number.
        #[error("no sensor {sensor}, {reason:?}")]
        NoSensor {
            /// A number.
            sensor: u32,
            /// A list.
            #[deprecated = "ignored since 2.0"]
            reasons: Vec<u8>,
            /// A reason.
            reason: Option<super::api::Why>,
        },
        /// A deprecated error.
        #[error("busy")]
        #[deprecated = "gone since 2.0"]
        Busy,
    }

    /// The whole enum is deprecated.
    #[deprecated = "use `ScanError`"]
    #[tachyon::error]
    #[derive(Debug)]
    pub enum Old {
        /// The one error.
        #[error("of {trade:?}")]
        Always {
            /// A text.
            trade: u32,
        },
    }
}

/// Private items that are used.
#[tachyon::payload]
#[derive(Debug)]
struct Quote {
    bid: u64,
    ok: bool,
    _pad: [u8; 7],
}

/// A private payload whose view no code names.
#[tachyon::payload]
#[derive(Debug)]
struct Text {
    text: String,
}

fn main() {
    let quote = Quote { bid: 1, ok: true, _pad: [0; 7] };
    let text = Text { text: format!("{quote:?}") };
    assert!(text.text.contains("bid: 1") && quote.bid == 1 && quote.ok);
    let why = api::Why { number: 7 };
    assert_eq!(api::WhyRef::from(&why).into_owned(), why);
    let table = tachyon::endpoints![contract::several];
    let none: &[tachyon::dispatch::Entry<()>] = tachyon::endpoints![];
    assert_eq!(table.len() + none.len(), 1);
}

//! Crates that forbid what generated code might do: it needs no `allow`, which would be an error here.
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

/// All of it is public: nothing is unused.
pub mod api {
    /// A variant of which went.
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

    /// A field of which went.
    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Order {
        /// How many.
        pub quantity: u64,
        /// Where.
        #[deprecated = "ignored since 2.0"]
        pub venue: u64,
        /// Whether.
        pub side: Side,
        _pad: [u8; 7],
    }

    /// Went as a whole.
    #[deprecated = "use `Order`"]
    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Trade {
        /// How many.
        pub quantity: u64,
    }

    /// Texts, one of which went.
    #[tachyon::payload]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Note {
        /// By whom.
        pub author: String,
        /// What.
        #[deprecated = "ignored since 2.0"]
        pub text: Option<String>,
        /// Why.
        pub because: Vec<Why>,
    }

    /// A reason.
    #[tachyon::payload(extensible)]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Why {
        /// Its number.
        pub number: u32,
    }

    /// A list that went as a whole.
    #[deprecated = "use `Note`"]
    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Notes {
        /// All of them.
        pub notes: Vec<Note>,
    }
}

/// Endpoints and services.
pub mod contract {
    use tachyon::{Context, List, tachyon_rpc};

    use super::api::{Note, NoteRef};

    /// Why not.
    #[tachyon::error]
    #[non_exhaustive]
    pub enum Failure {
        /// It went.
        #[error("busy for {seconds} s")]
        #[deprecated = "never happens"]
        Busy {
            /// How long.
            seconds: u32,
        },
        /// It is not there.
        #[error("closed")]
        Closed,
    }

    /// May get more fields, and its view with it.
    #[tachyon::payload]
    #[derive(Debug, Clone, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Grown {
        /// Some.
        pub text: String,
    }

    /// Several arguments.
    ///
    /// # Errors
    ///
    /// Never in order.
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

    /// Went as a whole.
    #[deprecated = "use `several`"]
    #[tachyon_rpc(msg_type = 2)]
    pub fn old(left: u64, right: &str) -> u64 {
        left + right.len() as u64
    }

    /// A service, of which one method went.
    #[tachyon_rpc]
    pub trait Desk {
        /// One.
        ///
        /// # Errors
        ///
        /// Never in order.
        #[rpc(msg_type = 1)]
        fn one(&self, note: NoteRef<'_>, left: u64) -> Result<Note, Failure>;
        /// Another.
        #[deprecated = "use `one`"]
        #[rpc(msg_type = 2)]
        fn two(&mut self, texts: List<'_, String>);
    }

    /// A service without methods.
    #[tachyon_rpc]
    pub trait Nothing {}
}

/// Errors, and what they are made of.
pub mod errors {
    /// Why it failed.
    #[tachyon::error]
    pub enum ScanError {
        /// None of the number.
        #[error("no sensor {sensor}, {reason:?}")]
        NoSensor {
            /// Its number.
            sensor: u32,
            /// A list.
            #[deprecated = "ignored since 2.0"]
            reasons: Vec<u8>,
            /// Why.
            reason: Option<super::api::Why>,
        },
        /// Gone.
        #[error("busy")]
        #[deprecated = "gone since 2.0"]
        Busy,
    }

    /// Gone as a whole.
    #[deprecated = "use `ScanError`"]
    #[tachyon::error]
    #[derive(Debug)]
    pub enum Old {
        /// Always.
        #[error("of {trade:?}")]
        Always {
            /// What.
            trade: u32,
        },
    }
}

/// What is private, and used.
#[tachyon::payload]
#[derive(Debug)]
struct Quote {
    bid: u64,
    ok: bool,
    _pad: [u8; 7],
}

/// What is private, and has a view that no code names.
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

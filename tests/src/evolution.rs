//! An old and a new build of one contract, with each change that one side may make alone and each that it may not.

#![allow(missing_docs, clippy::missing_errors_doc, reason = "each endpoint is a row of the test's table")]
#![allow(clippy::pub_underscore_fields, reason = "gaps")]

use std::sync::atomic::{AtomicU64, Ordering};

use tachyon::payload::DeclaredError;
use tachyon::{CallError, Caller};

/// Requests that reached a handler.
pub type Reached = AtomicU64;

/// Calls an endpoint of one build with fixed values. Returns the reply, or the error with its variant, as text.
pub type Attempt = fn(&mut Caller) -> Result<String, String>;

fn outcome<T: core::fmt::Debug, E: DeclaredError>(outcome: Result<T, CallError<E>>) -> Result<String, String> {
    match outcome {
        Ok(reply) => Ok(format!("{reply:?}")),
        Err(CallError::Mismatch(mismatch)) => Err(format!("Mismatch: {mismatch}")),
        Err(CallError::Failed(error)) => Err(format!("Failed: {error}")),
        Err(CallError::Remote(error)) if !error.name.is_empty() => Err(format!("{}: {}", error.name, error.text)),
        Err(error) => Err(format!("other: {error}")),
    }
}

macro_rules! build {
    ($($number:literal $name:ident($($arg:ident: $ty:ty = $value:expr),*) -> $ret:ty = $made:expr;)*) => {
        $(
            #[tachyon_rpc(msg_type = $number)]
            pub fn $name(#[state] reached: &Reached, $($arg: $ty),*) -> $ret {
                reached.fetch_add(1, Ordering::Relaxed);
                $(let _ = &$arg;)*
                $made
            }
        )*

        #[tachyon_rpc(msg_type = 0)]
        pub fn reached(#[state] reached: &Reached) -> u64 {
            reached.load(Ordering::Relaxed)
        }

        pub const TABLE: &[Entry<Reached>] = endpoints![reached, $($name),*];

        /// One attempt for each endpoint, with its number.
        pub const ATTEMPTS: &[(u16, Attempt)] =
            &[$(($number, |caller| super::outcome($name::call(caller, $($value),*)))),*];
    };
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "forms"
)]
pub mod old {
    use tachyon::dispatch::Entry;
    use tachyon::{endpoints, tachyon_rpc};

    use super::{Attempt, Ordering, Reached};

    #[tachyon::payload]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Note {
        pub text: String,
    }

    #[tachyon::payload(extensible)]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Outer {
        pub note: Note,
        pub after: u32,
    }

    #[tachyon::payload(extensible)]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Size {
        pub width: u32,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Before {
        pub number: u64,
        pub _gap: [u8; 8],
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Renamed {
        pub text: String,
        pub gain: f64,
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Retyped {
        pub text: String,
        pub gain: f64,
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Moved {
        pub text: String,
        pub gain: f64,
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Grown {
        pub text: String,
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Inserted {
        pub text: String,
        pub gain: f64,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Fixed {
        pub number: u32,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    pub struct FixedRetyped {
        pub number: u32,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    #[repr(u8)]
    pub enum Level {
        Low = 1,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    #[repr(u8)]
    pub enum Level2 {
        Low = 1,
    }

    #[tachyon::payload(extensible)]
    #[derive(Debug, Clone)]
    pub struct Nest {
        pub many: Vec<Renamed>,
    }

    #[tachyon::error]
    pub enum Trouble {
        #[error("busy")]
        Busy,
        #[error("no sensor {sensor}")]
        NoSensor { sensor: u32 },
        #[error("gone")]
        Gone,
    }

    #[tachyon::error]
    pub enum RetypedError {
        #[error("{number}")]
        Odd { number: u32 },
    }

    #[tachyon::error]
    pub enum RenamedError {
        #[error("{number}")]
        Odd { number: u32 },
    }

    #[tachyon::error]
    pub enum GrownError {
        #[error("{number}")]
        Odd { number: u32 },
    }

    build! {
        1 argument_added(a: u32 = 1, text: &str = "old") -> String = format!("{a} {text}");
        2 field_added(note: &Note = &a_note()) -> Note = note.clone();
        3 nested_field_added(outer: OuterRef<'_> = &Outer { note: a_note(), after: 7 }) -> Outer = outer.into_owned();
        4 field_added_in_list(notes: Vec<Note> = &[a_note(), a_note()]) -> Vec<Note> = notes;
        5 field_added_in_option(note: Option<NoteRef<'_>> = Some((&a_note()).into())) -> Option<Note>
            = note.map(NoteRef::into_owned);
        6 field_added_beside(a: u8 = 1, note: NoteRef<'_> = &a_note()) -> String = format!("{a} {note:?}");
        7 extensible_grows(size: SizeRef<'_> = &Size { width: 1 }) -> Size = size.into_owned();
        8 busy() -> Result<u32, Trouble> = Err(Trouble::Busy);
        9 error_field_added(text: &str = "") -> Result<u32, Trouble> = Err(Trouble::NoSensor { sensor: 3 });
        10 error_of_one_side(a: u8 = 0) -> Result<u32, Trouble> = Err(Trouble::Gone);
        11 name_before(value: &Before = &Before { number: 1, _gap: [0; 8] }) -> u64 = value.number;
        12 bytes_become_a_type(payload: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0]) -> Vec<u8> = payload.to_vec();
        13 array_becomes_a_list(values: [u16; 3] = [1, 2, 3]) -> [u16; 3] = values;
        14 several_options_added(a: u32 = 1, b: u32 = 2) -> String = format!("{a} {b}");
        15 declares_an_error(a: u32 = 1) -> u32 = a;

        20 argument_renamed(a: u32 = 1, b: u32 = 2) -> u32 = a + b;
        21 argument_retyped(a: u32 = 1, b: u32 = 2) -> u32 = a + b;
        22 arguments_moved(a: u32 = 1, b: u32 = 2) -> u32 = a + b;
        23 argument_needed(a: u32 = 1, b: u32 = 2) -> u32 = a + b;
        24 argument_inserted(a: u32 = 1, b: u32 = 2) -> u32 = a + b;
        25 option_becomes_needed(a: u32 = 1, b: Option<u32> = None) -> u32 = a + b.unwrap_or(0);
        26 field_renamed(value: RenamedRef<'_> = &renamed()) -> u32 = 0;
        27 field_retyped(value: RetypedRef<'_> = &Retyped { text: String::new(), gain: 0.0 }) -> u32 = 0;
        28 fields_moved(value: MovedRef<'_> = &Moved { text: String::new(), gain: 0.0 }) -> u32 = 0;
        29 field_needed(value: GrownRef<'_> = &Grown { text: String::new() }) -> u32 = 0;
        30 field_inserted(value: InsertedRef<'_> = &Inserted { text: String::new(), gain: 0.0 }) -> u32 = 0;
        31 fixed_grown(value: &Fixed = &Fixed { number: 1 }) -> u32 = value.number;
        32 fixed_retyped(value: &FixedRetyped = &FixedRetyped { number: 1 }) -> u32 = value.number;
        33 one_becomes_two(a: u32 = 1) -> u32 = a;
        34 nested_in_list(value: NestRef<'_> = &Nest { many: vec![renamed()] }) -> u32 = 0;
        35 variant_added(level: Level = Level::Low) -> u32 = level as u32;
        36 reply_retyped() -> u32 = 0;
        37 element_retyped(values: &[u32] = &[1]) -> u32 = values[0];
        38 array_longer(values: [u32; 3] = [1; 3], b: u8 = 0) -> u32 = values[0];
        39 error_field_retyped(a: u32 = 1) -> Result<u32, RetypedError> = Err(RetypedError::Odd { number: a });
        40 error_field_renamed(a: u32 = 1) -> Result<u32, RenamedError> = Err(RenamedError::Odd { number: a });
        41 error_field_needed(a: u32 = 1) -> Result<u32, GrownError> = Err(GrownError::Odd { number: a });
        42 argument_from_nothing() -> u32 = 0;
        43 reply_from_nothing(a: u32 = 1) -> () = ();
        44 text_becomes_a_list(text: &str = "t") -> u32 = 0;
        45 option_alone(a: u32 = 1) -> u32 = a;
        46 reply_becomes_an_option() -> u32 = 1;
        47 variant_in_reply() -> Vec<Level2> = vec![Level2::Low];
        48 fixed_becomes_extensible(value: &Fixed = &Fixed { number: 1 }) -> u32 = value.number;
        49 sign_changed(a: &[u16] = &[1]) -> u32 = 0;
        50 error_alone(payload: &[u8] = &[]) -> Result<(), RetypedError> = Err(RetypedError::Odd { number: 1 });
    }

    fn a_note() -> Note {
        Note { text: "old".to_owned() }
    }

    fn renamed() -> Renamed {
        Renamed { text: String::new(), gain: 0.0 }
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "forms"
)]
pub mod new {
    use tachyon::dispatch::Entry;
    use tachyon::{endpoints, tachyon_rpc};

    use super::{Attempt, Ordering, Reached};

    #[tachyon::payload]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Note {
        /// In words.
        pub text: String,
        pub at: Option<u64>,
        pub by: Option<Vec<String>>,
    }

    #[tachyon::payload(extensible)]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Outer {
        pub note: Note,
        pub after: u32,
        pub more: Option<Note>,
    }

    #[tachyon::payload(extensible)]
    #[derive(Debug, Clone, PartialEq)]
    pub struct Size {
        pub width: u32,
        pub height: Option<u32>,
    }

    /// Another name, and other padding.
    #[tachyon::payload]
    #[derive(Debug)]
    pub struct After {
        pub number: u64,
        pub _pad: [u32; 2],
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Renamed {
        pub text: String,
        pub gains: f64,
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Retyped {
        pub text: String,
        pub gain: i64,
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Moved {
        pub gain: f64,
        pub text: String,
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Grown {
        pub text: String,
        pub gain: f64,
    }

    #[tachyon::payload]
    #[derive(Debug, Clone)]
    pub struct Inserted {
        pub text: String,
        pub note: Option<String>,
        pub gain: f64,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    pub struct Fixed {
        pub number: u32,
        pub more: u32,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    pub struct FixedRetyped {
        pub number: f32,
    }

    #[tachyon::payload(extensible)]
    #[derive(Debug)]
    pub struct Extensible {
        pub number: u32,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    #[repr(u8)]
    pub enum Level {
        Low = 1,
        High = 2,
    }

    #[tachyon::payload]
    #[derive(Debug)]
    #[repr(u8)]
    pub enum Level2 {
        Low = 2,
    }

    #[tachyon::payload(extensible)]
    #[derive(Debug, Clone)]
    pub struct Nest {
        pub many: Vec<Renamed>,
    }

    #[tachyon::error]
    pub enum Trouble {
        #[error("no sensor {sensor} of {of:?}")]
        NoSensor { sensor: u32, of: Option<String> },
        #[error("busy for {seconds:?}")]
        Busy { seconds: Option<u32> },
        #[error("fresh {number}")]
        Fresh { number: u32 },
    }

    #[tachyon::error]
    pub enum RetypedError {
        #[error("{number}")]
        Odd { number: u64 },
    }

    #[tachyon::error]
    pub enum RenamedError {
        #[error("{count}")]
        Odd { count: u32 },
    }

    #[tachyon::error]
    pub enum GrownError {
        #[error("{number} {more}")]
        Odd { number: u32, more: u32 },
    }

    build! {
        1 argument_added(a: u32 = 1, text: &str = "new", more: Option<&str> = Some("more")) -> String
            = format!("{a} {text} {more:?}");
        2 field_added(note: &Note = &a_note()) -> Note = note.clone();
        3 nested_field_added(outer: OuterRef<'_> = &Outer { note: a_note(), after: 8, more: Some(a_note()) })
            -> Outer = outer.into_owned();
        4 field_added_in_list(notes: Vec<Note> = &[a_note(), a_note()]) -> Vec<Note> = notes;
        5 field_added_in_option(note: Option<NoteRef<'_>> = Some((&a_note()).into())) -> Option<Note>
            = note.map(NoteRef::into_owned);
        6 field_added_beside(a: u8 = 1, note: NoteRef<'_> = &a_note()) -> String = format!("{a} {note:?}");
        7 extensible_grows(size: SizeRef<'_> = &Size { width: 1, height: Some(2) }) -> Size = size.into_owned();
        8 busy() -> Result<u32, Trouble> = Err(Trouble::Busy { seconds: Some(5) });
        9 error_field_added(text: &str = "") -> Result<u32, Trouble>
            = Err(Trouble::NoSensor { sensor: 3, of: Some("all".to_owned()) });
        10 error_of_one_side(a: u8 = 0) -> Result<u32, Trouble> = Err(Trouble::Fresh { number: 4 });
        11 name_after(renamed: &After = &After { number: 1, _pad: [0; 2] }) -> u64 = renamed.number;
        12 bytes_become_a_type(value: u64 = 1) -> u64 = value;
        13 array_becomes_a_list(values: Vec<u16> = &[1, 2, 3]) -> Vec<u16> = values;
        14 several_options_added(a: u32 = 1, b: u32 = 2, c: Option<u8> = None, d: Option<&[u8]> = Some(&[1]))
            -> String = format!("{a} {b} {c:?} {d:?}");
        15 declares_an_error(a: u32 = 1) -> Result<u32, Trouble> = Err(Trouble::Busy { seconds: None });

        20 argument_renamed(a: u32 = 1, c: u32 = 2) -> u32 = a + c;
        21 argument_retyped(a: u32 = 1, b: i32 = 2) -> u32 = a;
        22 arguments_moved(b: u32 = 1, a: u32 = 2) -> u32 = a + b;
        23 argument_needed(a: u32 = 1, b: u32 = 2, c: u32 = 3) -> u32 = a + b + c;
        24 argument_inserted(a: u32 = 1, c: Option<u32> = None, b: u32 = 2) -> u32 = a + b;
        25 option_becomes_needed(a: u32 = 1, b: u32 = 2) -> u32 = a + b;
        26 field_renamed(value: RenamedRef<'_> = &renamed()) -> u32 = 0;
        27 field_retyped(value: RetypedRef<'_> = &Retyped { text: String::new(), gain: 0 }) -> u32 = 0;
        28 fields_moved(value: MovedRef<'_> = &Moved { gain: 0.0, text: String::new() }) -> u32 = 0;
        29 field_needed(value: GrownRef<'_> = &Grown { text: String::new(), gain: 0.0 }) -> u32 = 0;
        30 field_inserted(value: InsertedRef<'_> = &Inserted { text: String::new(), note: None, gain: 0.0 }) -> u32 = 0;
        31 fixed_grown(value: &Fixed = &Fixed { number: 1, more: 2 }) -> u32 = value.number;
        32 fixed_retyped(value: &FixedRetyped = &FixedRetyped { number: 1.0 }) -> u32 = 0;
        33 one_becomes_two(a: u32 = 1, b: Option<u32> = None) -> u32 = a;
        34 nested_in_list(value: NestRef<'_> = &Nest { many: vec![renamed()] }) -> u32 = 0;
        35 variant_added(level: Level = Level::High) -> u32 = level as u32;
        36 reply_retyped() -> u64 = 0;
        37 element_retyped(values: &[u64] = &[1]) -> u32 = 0;
        38 array_longer(values: [u32; 4] = [1; 4], b: u8 = 0) -> u32 = values[0];
        39 error_field_retyped(a: u32 = 1) -> Result<u32, RetypedError> = Err(RetypedError::Odd { number: 1 });
        40 error_field_renamed(a: u32 = 1) -> Result<u32, RenamedError> = Err(RenamedError::Odd { count: a });
        41 error_field_needed(a: u32 = 1) -> Result<u32, GrownError> = Err(GrownError::Odd { number: a, more: 0 });
        42 argument_from_nothing(a: u32 = 1) -> u32 = a;
        43 reply_from_nothing(a: u32 = 1) -> u32 = a;
        44 text_becomes_a_list(text: List<'_, String> = &["t"]) -> u32 = 0;
        45 option_alone(a: Option<u32> = Some(1)) -> u32 = a.unwrap_or(0);
        46 reply_becomes_an_option() -> Option<u32> = Some(1);
        47 variant_in_reply() -> Vec<Level2> = vec![Level2::Low];
        48 fixed_becomes_extensible(value: ExtensibleRef<'_> = &Extensible { number: 1 }) -> u32 = value.number;
        49 sign_changed(a: &[i16] = &[1]) -> u32 = 0;
        50 error_alone(payload: &[u8] = &[]) -> Result<(), RetypedError> = Err(RetypedError::Odd { number: 1 });
    }

    use tachyon::List;

    fn a_note() -> Note {
        Note { text: "new".to_owned(), at: Some(7), by: Some(vec!["n".to_owned()]) }
    }

    fn renamed() -> Renamed {
        Renamed { text: String::new(), gains: 0.0 }
    }
}

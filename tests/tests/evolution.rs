//! Two builds of one contract in two processes: the changes that one side may make alone, and those that it may not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tachyon::Caller;
use tachyon_tests::evolution::{Attempt, new, old};
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;

/// Calls every endpoint of one build at a callee of a build, and returns the number of calls that reached a handler.
fn against(callee: &str, attempts: &[(u16, Attempt)], mut each: impl FnMut(u16, Result<String, String>)) -> u64 {
    let (_folder, path) = socket();
    let callee = Program(env!("CARGO_BIN_EXE_contract")).start(callee, &path, &["65536"]);
    let mut caller = Caller::connect(&path).unwrap();
    for (number, attempt) in attempts {
        let first = attempt(&mut caller);
        // The outcome of a comparison is kept.
        assert_eq!(attempt(&mut caller), first, "{number}");
        each(*number, first);
    }
    let reached = old::reached::call(&mut caller).unwrap();
    drop(caller);
    callee.finish();
    reached / 2
}

/// A reply, or an error, as text.
type Shown = Result<&'static str, &'static str>;

/// Allowed changes: the number of each, a new caller's outcome with an old callee, and an old caller's outcome with a
/// new callee.
const ALLOWED: &[(u16, Shown, Shown)] = &[
    (1, Ok(r#""1 new""#), Ok(r#""1 old None""#)),
    (2, Ok(r#"Note { text: "new", at: None, by: None }"#), Ok(r#"Note { text: "old" }"#)),
    (
        3,
        Ok(r#"Outer { note: Note { text: "new", at: None, by: None }, after: 8, more: None }"#),
        Ok(r#"Outer { note: Note { text: "old" }, after: 7 }"#),
    ),
    (
        4,
        Ok(r#"[Note { text: "new", at: None, by: None }, Note { text: "new", at: None, by: None }]"#),
        Ok(r#"[Note { text: "old" }, Note { text: "old" }]"#),
    ),
    (5, Ok(r#"Some(Note { text: "new", at: None, by: None })"#), Ok(r#"Some(Note { text: "old" })"#)),
    (6, Ok(r#""1 NoteRef { text: \"new\" }""#), Ok(r#""1 NoteRef { text: \"old\", at: None, by: None }""#)),
    (7, Ok("Size { width: 1, height: None }"), Ok("Size { width: 1 }")),
    (8, Err("Failed: busy for None"), Err("Failed: busy")),
    (9, Err("Failed: no sensor 3 of None"), Err("Failed: no sensor 3")),
    // An error that one side does not know arrives with its name and text.
    (10, Err("Gone: gone"), Err("Fresh: fresh 4")),
    (11, Ok("1"), Ok("1")),
    (12, Ok("1"), Ok("[1, 0, 0, 0, 0, 0, 0, 0]")),
    (13, Ok("[1, 2, 3]"), Ok("[1, 2, 3]")),
    (14, Ok(r#""1 2""#), Ok(r#""1 2 None None""#)),
    (15, Ok("1"), Err("Busy: busy for None")),
];

/// Refused changes: the number of each, the place, the new build's form there, and the old build's form.
const REFUSED: &[(u16, &str, &str, &str)] = &[
    (20, "argument 2 of argument_renamed is", "`c`", "`b`"),
    (21, "argument `b` of argument_retyped is", "i32 at offset 8", "u32 at offset 8"),
    (22, "argument 1 of arguments_moved is", "`b`", "`a`"),
    (24, "argument 2 of argument_inserted is", "`c`", "`b`"),
    (25, "argument `b` of option_becomes_needed is", "u32 at offset 8", "option[u32] at offset 8"),
    (26, "field_renamed: field 2 of Renamed is", "`gains`", "`gain`"),
    (27, "field_retyped: field `gain` of Retyped is", "i64 at offset 16", "f64 at offset 16"),
    (28, "fields_moved: field 1 of Moved is", "`gain`", "`text`"),
    (30, "field_inserted: field 2 of Inserted is", "`note`", "`gain`"),
    (31, "fixed_grown: field `more` of Fixed is", "u32 at offset 4", "missing"),
    (32, "fixed_retyped: field `number` of FixedRetyped is", "f32 at offset 0", "u32 at offset 0"),
    (33, "one_becomes_two takes", "the fields `a`, `b`", "one u32"),
    (34, "nested_in_list: field 2 of Renamed is", "`gains`", "`gain`"),
    (35, "variant_added: variant `High` of Level is", "2", "missing"),
    (36, "reply_retyped: the reply is", "u64", "u32"),
    (37, "element_retyped: each element of the request is", "u64", "u32"),
    (38, "argument `values` of array_longer is", "[u32; 4] at offset 4", "[u32; 3] at offset 4"),
    (39, "error_field_retyped: field `number` of Odd is", "u64 at offset 8", "u32 at offset 4"),
    (40, "error_field_renamed: field 1 of Odd is", "`count`", "`number`"),
    (42, "argument_from_nothing: the request is", "u32", "empty"),
    (43, "reply_from_nothing: the reply is", "u32", "empty"),
    (44, "text_becomes_a_list: the request is", "list[str]", "str"),
    (45, "option_alone takes", "the field `a`", "one u32"),
    (46, "reply_becomes_an_option: the reply is", "option[u32]", "u32"),
    (47, "variant_in_reply: variant `Low` of Level2 is", "2", "1"),
    (48, "fixed_becomes_extensible: the request is", "a payload Extensible with a head", "a fixed payload Fixed"),
    (49, "sign_changed: each element of the request is", "i16", "u16"),
    (50, "error_alone: field `number` of Odd is", "u64 at offset 8", "u32 at offset 4"),
];

/// Additions that are refused because they are not optional: the number of each, the place and the type.
const NEEDED: &[(u16, &str, &str)] = &[
    (23, "argument `c` of argument_needed", "u32"),
    (29, "field_needed: field `gain` of Grown", "f64"),
    (41, "error_field_needed: field `more` of Odd", "u32"),
];

/// Compares each outcome. `is_new`: the caller is of the new build.
fn check(callee: &str, attempts: &[(u16, Attempt)], is_new: bool) {
    let mut seen = 0;
    let reached = against(callee, attempts, |number, outcome| {
        seen += 1;
        let outcome = outcome.as_ref().map(String::as_str).map_err(String::as_str);
        if let Some((_, new, old)) = ALLOWED.iter().find(|row| row.0 == number) {
            assert_eq!(outcome, if is_new { *new } else { *old }, "{number}");
            return;
        }
        let expected = match (REFUSED.iter().find(|row| row.0 == number), NEEDED.iter().find(|row| row.0 == number)) {
            (Some((_, place, new, old)), None) => {
                let (here, there) = if is_new { (new, old) } else { (old, new) };
                format!("Mismatch: {place} {here} here, {there} at the callee")
            }
            (None, Some((_, place, of))) if is_new => {
                format!(
                    "Mismatch: {place} is missing at the callee, and is not optional here: make it optional \
                     (`Option<{of}>`, in Python `... | None`)"
                )
            }
            (None, Some((_, place, of))) => format!(
                "Mismatch: {place} is missing here, and is not optional at the callee: make it optional \
                 (`Option<{of}>`, in Python `... | None`) there"
            ),
            _ => panic!("{number} stands in one table"),
        };
        assert_eq!(outcome, Err(expected.as_str()), "{number}");
    });
    assert_eq!(seen, ALLOWED.len() + REFUSED.len() + NEEDED.len());
    assert_eq!(reached, ALLOWED.len() as u64, "no other call reaches a handler");
}

#[test]
fn a_new_caller_calls_an_old_callee() {
    check("old", new::ATTEMPTS, true);
}

#[test]
fn an_old_caller_calls_a_new_callee() {
    check("new", old::ATTEMPTS, false);
}

#[test]
fn equal_builds_never_differ() {
    for (callee, attempts) in [("old", old::ATTEMPTS), ("new", new::ATTEMPTS)] {
        let reached = against(callee, attempts, |number, outcome| {
            assert!(!matches!(outcome, Err(error) if error.starts_with("Mismatch")), "{number}");
        });
        assert_eq!(reached, attempts.len() as u64);
    }
}

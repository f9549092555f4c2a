//! A description of a hostile callee takes memory in proportion to its length, however it is made.
#![allow(unsafe_code, clippy::unwrap_used, reason = "the allocator counts, and a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use tachyon::describe::Description;

/// Most bytes of memory for each byte of JSON, to read it and to write it again.
const MOST: usize = 24;

/// The system's allocator, and how much it gave out, now and at most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn peak_of(run: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    run();
    PEAK.load(Ordering::Relaxed) - before
}

/// One test, since the count is of the whole process.
#[test]
fn reading_and_writing_take_memory_in_proportion() {
    const COUNT: usize = 20_000;
    let many = |part: &str| vec![part; COUNT].join(",");
    let types = |types: &str| format!(r#"{{"schema": 2, "types": [{types}], "endpoints": []}}"#);
    let lists = (0..30).fold("\"u8\"".to_owned(), |of, _| format!(r#"{{"list":{of}}}"#));
    let structs = (0..20).fold("\"u8\"".to_owned(), |of, _| {
        format!(r#"{{"kind":"struct","name":"","size":0,"align":1,"fields":[{{"name":"a","type":{of},"offset":0}}]}}"#)
    });
    let field = |at: usize| format!(r#"{{"name":"{at}","type":"u8","offset":0}}"#);
    let fields: Vec<_> = (0..COUNT).map(field).collect();
    let variants: Vec<_> = (0..COUNT).map(|at| format!(r#"{{"name":"{at}","value":0}}"#)).collect();
    let errors: Vec<_> = (0..COUNT).map(|at| format!(r#"{{"name":"{at}"}}"#)).collect();
    let endpoint = |more: &str| {
        format!(r#"{{"msg_type":0,"name":"","request":{{"form":"empty"}},"reply":{{"form":"empty"}}{more}}}"#)
    };
    let endpoints = |endpoints: &str| format!(r#"{{"schema": 2, "endpoints": [{endpoints}]}}"#);
    for json in [
        types(&many("\"u8\"")),
        types(&format!("\"u8\",{}", many(r#"{"ref":0}"#))),
        types(&many(&lists)),
        types(&many(r#"{"kind":"struct","name":"","head":4,"fields":[]}"#)),
        types(&many(r#"{"kind":"enum","name":"","repr":"u8","variants":[]}"#)),
        types(&format!(r#"{{"kind":"struct","name":"","size":0,"align":1,"fields":[{}]}}"#, fields.join(","))),
        types(&format!(r#"{{"kind":"enum","name":"","repr":"u8","variants":[{}]}}"#, variants.join(","))),
        types(&vec![structs; 100].join(",")),
        format!(r#"{{"schema": 2, "more": [{}], "endpoints": []}}"#, many("[]")),
        endpoints(&many(&endpoint(""))),
        endpoints(&endpoint(&format!(r#","raises":[{}]"#, errors.join(",")))),
    ] {
        let shown = &json[..json.len().min(150)];
        let mut description = None;
        let peak = peak_of(|| description = Some(Description::from_json(&json)));
        assert!(peak <= json.len() * MOST, "{peak} bytes for {} of {shown}", json.len());
        let description = description.unwrap().unwrap();
        let peak = peak_of(|| drop(description.to_json()));
        assert!(peak <= json.len() * MOST, "{peak} bytes to write {} of {shown}", json.len());
    }
}

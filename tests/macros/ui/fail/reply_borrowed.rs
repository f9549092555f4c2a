//! What a reply borrows is one text, slice, list or view; in an option or a list it is owned.

#[tachyon::payload]
struct Scan {
    frame: String,
}

#[tachyon::tachyon_rpc(msg_type = 1)]
fn text(text: &str) -> Option<&str> {
    Some(text)
}

#[tachyon::tachyon_rpc(msg_type = 2)]
fn texts(text: &str) -> Vec<&str> {
    vec![text]
}

#[tachyon::tachyon_rpc(msg_type = 3)]
fn scan(scan: ScanRef<'_>) -> Option<ScanRef<'_>> {
    Some(scan)
}

type Alias = Result<u32, String>;

#[tachyon::tachyon_rpc(msg_type = 4)]
fn alias(a: u32, b: u32) -> Alias {
    Ok(a + b)
}

fn main() {}

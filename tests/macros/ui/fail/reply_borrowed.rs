//! A reply may borrow one text, slice, list or view, or an option of one. A list must own its elements.

#[tachyon::payload]
struct Scan {
    frame: String,
}

#[tachyon::tachyon_rpc(msg_type = 1)]
fn text(text: &str) -> Option<Option<&str>> {
    Some(Some(text))
}

#[tachyon::tachyon_rpc(msg_type = 2)]
fn texts(text: &str) -> Vec<&str> {
    vec![text]
}

#[tachyon::tachyon_rpc(msg_type = 3)]
fn scans(scan: ScanRef<'_>) -> Vec<ScanRef<'_>> {
    vec![scan]
}

#[tachyon::tachyon_rpc(msg_type = 5)]
fn time(_number: u32) -> Option<std::time::Duration> {
    None
}

#[tachyon::tachyon_rpc(msg_type = 6)]
fn size(_number: u32) -> Option<usize> {
    None
}

type Alias = Result<u32, String>;

#[tachyon::tachyon_rpc(msg_type = 4)]
fn alias(a: u32, b: u32) -> Alias {
    Ok(a + b)
}

fn main() {}

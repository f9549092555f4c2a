#[tachyon::payload]
struct Typed<T> {
    value: T,
}

#[tachyon::payload]
struct Borrowing<'a> {
    value: &'a u8,
}

#[tachyon::payload]
struct Bound
where
    u8: Copy,
{
    value: u8,
}

fn main() {}

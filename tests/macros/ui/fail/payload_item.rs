#[tachyon::payload]
union Either {
    a: u8,
    b: i8,
}

#[tachyon::payload]
fn function() {}

#[tachyon::payload]
type Alias = u8;

#[tachyon::payload]
const NUMBER: u8 = 1;

#[tachyon::payload(msg_type = 1)]
struct Fine {
    value: u8,
}

#[tachyon::payload]
#[tachyon::payload]
struct Twice {
    value: u8,
}

fn main() {
    let _ = (Either { a: 1 }, function(), Alias::MAX, NUMBER);
}

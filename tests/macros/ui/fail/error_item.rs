#[tachyon::error]
struct Busy {
    seconds: u32,
}

#[tachyon::error]
fn function() {}

#[tachyon::error]
enum Nothing {}

#[tachyon::error(msg_type = 1)]
enum Fine {
    #[error("fine")]
    Fine,
}

#[tachyon::error]
#[tachyon::error]
enum Twice {
    #[error("twice")]
    Twice,
}

#[tachyon::error]
enum Generic<T> {
    #[error("generic")]
    Generic { value: T },
}

#[tachyon::error]
#[derive(Debug, thiserror::Error)]
enum Both {
    #[error("both")]
    Both,
}

fn main() {
    function();
}

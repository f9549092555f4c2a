#[tachyon::payload]
#[repr(C, packed)]
struct Packed {
    value: u8,
}

#[tachyon::payload]
#[repr(align(16))]
struct Aligned {
    value: u8,
}

#[tachyon::payload]
enum Plain {
    A,
}

#[tachyon::payload]
#[repr(usize)]
enum Sized {
    A,
}

#[tachyon::payload]
#[repr(C)]
enum C {
    A,
}

fn main() {}

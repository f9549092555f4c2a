//! Types nest at most 16 levels deep.

macro_rules! nested {
    ($outer:ident $inner:ident $($rest:ident)*) => {
        #[tachyon::payload(extensible)]
        struct $outer {
            inner: $inner,
        }
        nested!($inner $($rest)*);
    };
    ($last:ident) => {
        #[tachyon::payload]
        struct $last {
            text: String,
        }
    };
}
nested!(N17 N16 N15 N14 N13 N12 N11 N10 N9 N8 N7 N6 N5 N4 N3 N2);

fn main() {}

//! Tests of Tachyon as its users see it: everything is in `tests/`.

//! What the macros refuse, as rustc reports it: one case for each rule. What they accept stands in `ui/pass`: programs which
//! are tests of this package, each by itself.
//!
//! After a change of wording, `TRYBUILD=overwrite cargo test -p tachyon-macro-tests --test macros` writes the new texts;
//! read them before keeping them.

/// All in one go of cargo: trybuild would build one case after the other if some were to pass.
#[test]
fn refused() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}

/// What trybuild does not show, because it switches the lint off: an endpoint that is neither listed nor called is
/// reported as unused, once, and one that is either is not.
mod unused {
    use tachyon::{Endpoint, endpoints, tachyon_rpc};

    #[tachyon_rpc(msg_type = 1)]
    #[expect(dead_code, reason = "it is the point")]
    fn unused(_payload: &[u8]) {}

    #[tachyon_rpc(msg_type = 2)]
    fn listed(_payload: &[u8]) {}

    #[tachyon_rpc(msg_type = 3)]
    fn called(_payload: &[u8]) {}

    #[tachyon_rpc(msg_type = 4)]
    fn named(_payload: &[u8]) {}

    #[test]
    fn used_endpoints() {
        assert_eq!(endpoints![listed].len(), 1);
        assert_eq!(named::NAME, "named");
        let _ = |caller: &mut tachyon::Caller| called::call(caller, &[]);
    }
}

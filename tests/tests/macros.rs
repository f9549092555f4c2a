//! What the macros accept and what they refuse, as rustc reports it: one case for each form and each rule.
//!
//! After a change of wording, `TRYBUILD=overwrite cargo test -p tachyon-tests --test macros` writes the new texts;
//! read them before keeping them.

#[test]
fn accepted() {
    trybuild::TestCases::new().pass("ui/pass/*.rs");
}

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
        let _ = called::call;
    }
}

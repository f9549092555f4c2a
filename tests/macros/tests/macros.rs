//! Code that the macros refuse, with the errors of rustc: one case for each rule. The programs in `ui/pass` are code
//! that the macros accept; each is a test of this package.
//!
//! After a change of wording, `TRYBUILD=overwrite cargo test -p tachyon-macro-tests --test macros` writes the new
//! texts; read the difference before you commit it.

/// All cases fail, so that trybuild builds them in one run of cargo: with passing cases, it builds them one by one.
#[test]
fn refused() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}

/// rustc reports an endpoint that is neither listed nor called as unused, once, and no other. trybuild cannot show
/// this, because it switches the lint off.
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

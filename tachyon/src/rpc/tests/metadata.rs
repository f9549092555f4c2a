//! The bytes of requests with metadata.

use std::sync::Arc;

use crate::connection::slice;
use crate::fuzz::linked;
use crate::options::Options;
use crate::ring::{Geometry, RingMemory, Use};
use crate::rpc::{CallError, Callee, Caller};
use crate::type_id::make_type_id;

fn both() -> (Callee, Caller) {
    let geometry = Geometry::new(4096, Use::Calls).unwrap();
    let rings: Vec<_> = (0..2).map(|_| Arc::new(RingMemory::create(geometry).unwrap().0)).collect();
    let [ours, theirs] = linked(&rings, &Options::new());
    (Callee::over(&ours), Caller::over(&theirs))
}

#[test]
fn metadata_lies_behind_the_payload_and_marks_the_type_id() {
    let (mut callee, mut caller) = both();
    for size in [0, 1, 7, 8, 200, 216, 217, 232, 233, 3000] {
        let payload = vec![7; size];
        let call = caller.metadata("trace", "ab").metadata("t", "").start(2, &payload).unwrap();
        let frame = callee.rx.try_take().unwrap().unwrap();
        assert_eq!((frame.type_id, frame.correlation_id), (make_type_id(1 << 15, 2), call));
        let mut expected = payload;
        expected.extend([5, 2, 0]);
        expected.extend(b"traceab");
        expected.extend([1, 0, 0, b't']);
        expected.extend(u32::try_from(size).unwrap().to_le_bytes());
        assert_eq!(slice::payload(&frame, &callee.rx), expected, "{size}");
        callee.rx.release(frame.position);
    }
}

#[test]
fn a_call_without_metadata_has_no_mark() {
    let (mut callee, mut caller) = both();
    caller.idempotent().start(2, b"plain").unwrap();
    let frame = callee.rx.try_take().unwrap().unwrap();
    assert_eq!((frame.type_id, slice::payload(&frame, &callee.rx)), (2, &b"plain"[..]));
    callee.rx.release(frame.position);
    let too_large = caller.metadata("trace", "ab").start(2, &[0; 4096]).unwrap_err();
    assert!(matches!(too_large, CallError::TooLarge { size: 4110, max: 4096 }), "{too_large:?}");
    assert!(matches!(caller.metadata("trace", "ab").start(u16::MAX, b""), Err(CallError::ReservedMsgType)));
}

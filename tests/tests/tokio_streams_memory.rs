//! How much memory the streams of an async caller take. One test: the allocator counts for the whole process.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use tachyon::{AsyncCaller, Dispatcher, testing};
use tachyon_tests::allocation::{Counting, peak_of};
use tokio::runtime::Builder;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Takes items of an endless stream, and opens and ends other streams beside it.
async fn take(caller: &AsyncCaller, items: u64, streams: u32) {
    let endless = caller.open(1, b"").await.unwrap();
    for item in 0..items {
        assert_eq!(endless.recv().await.unwrap().unwrap(), item.to_le_bytes());
    }
    for number in 0..streams {
        let short = caller.open(1, b"").await.unwrap();
        assert_eq!(short.recv().await.unwrap().unwrap(), [0; 8]);
        match number % 3 {
            0 => short.close(),
            1 => assert_eq!(short.recv().await.unwrap().unwrap()[0], 1),
            _ => {}
        }
        drop(short);
        // The callee answers the cancellation before it answers the call.
        assert_eq!(caller.call(2, b"x").await.unwrap(), b"x");
    }
}

#[test]
fn items_and_streams_leave_no_memory() {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register_stream(1, "numbers", |_| 0u64..).unwrap().register(2, "echo", <[u8]>::to_vec).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let caller = runtime.block_on(async { testing::pair_async(dispatcher).unwrap() });
    let peak = |items, streams| peak_of(|| runtime.block_on(take(&caller, items, streams)));
    let few = peak(1000, 10);
    let many = peak(100_000, 1000);
    assert!(many < few + 16 * 1024, "{few} bytes for few items and streams, {many} for many");
}

//! Typed streams: each form of a handler, each type of item and each end, within one process and between two.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests of exact values")]

use std::time::Duration;

use tachyon::client::tokio::AsyncStream;
use tachyon::describe::{Description, EndpointKind};
use tachyon::dispatch::{Entry, EntryHandler};
use tachyon::rpc::{Owned, StreamsReplies};
use tachyon::{
    AsyncCaller, CallError, Caller, Dispatcher, Endpoint, ErrorKind, Tensor, endpoints, tachyon_rpc, testing,
};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::streaming::{
    EXCLUSIVE, Exchange, Line, MarketClient, MarketService, Query, Quote, RelayAsyncClient, RelayService, SHARED, Shop,
    StockError, StoreClient, StoreService, TASKS, THREADS, abort, audit, boxed, chunks, colours, count, double,
    doubled, frame, frames, labelled, lines, maybe, order, parse, quotes, reset, rows, sell, shout, shout_later, stock,
    sum, sum_later, ticker, ticker_later, ticks, upload, visits, words,
};
use tachyon_tests::temporary::socket;

const STREAM_PEER: Program = Program(env!("CARGO_BIN_EXE_stream_peer"));

/// A caller of `dispatcher` in this process, and one of the program in that role.
fn callers<S: Send + 'static>(role: &str, dispatcher: Dispatcher<S>) -> [(Caller, Option<Peer>); 2] {
    let (_folder, path) = socket();
    let peer = STREAM_PEER.start(role, &path, &[]);
    let there = Caller::connect(&path).unwrap();
    [(testing::pair(dispatcher).unwrap(), None), (there, Some(peer))]
}

fn shared() -> [(Caller, Option<Peer>); 2] {
    callers("shared", Dispatcher::with_state(Shop::default(), SHARED))
}

fn finish(caller: Caller, peer: Option<Peer>) {
    drop(caller);
    if let Some(peer) = peer {
        assert_eq!(peer.finish(), "");
    }
}

fn all<T, E>(stream: impl Iterator<Item = Result<T, CallError<E>>>) -> Vec<T>
where
    CallError<E>: std::fmt::Debug,
{
    stream.map(Result::unwrap).collect()
}

#[test]
fn every_type_of_item_goes_there_and_back() {
    for (mut caller, peer) in shared() {
        let caller_ref = &mut caller;
        assert_eq!(all(count::open(caller_ref, 1000).unwrap()), (0..1000).collect::<Vec<_>>());
        assert_eq!(all(count::open(caller_ref, 0).unwrap()), [0; 0]);
        assert_eq!(all(words::open(caller_ref, "a stream of words").unwrap()), ["a", "stream", "of", "words"]);
        let query = Query { instrument: 7, count: 3 };
        let received = all(quotes::open(caller_ref, &query).unwrap());
        assert_eq!(received, quotes(&query).collect::<Vec<_>>());
        assert_eq!(received[2], Quote { price: 1.0, instrument: 7, number: 2 });
        let note = Some("remark");
        let received = all(lines::open(caller_ref, 5, &[0, 3, 200], note).unwrap());
        assert_eq!(received, lines(5, &[0, 3, 200], note).collect::<Vec<_>>());
        assert_eq!(received[1], Line { number: 6, text: "xxx".to_owned(), note: note.map(str::to_owned) });
        assert_eq!(all(rows::open(caller_ref, 3).unwrap()), [vec![], vec![1.0], vec![2.0, 2.0]]);
        assert_eq!(all(maybe::open(caller_ref, 3).unwrap()), [Some(0), None, Some(2)]);
        let received: Vec<Tensor<f32, 2>> = all(frames::open(caller_ref, 2).unwrap());
        assert_eq!(received, [frame(1), frame(2)]);
        assert_eq!(all(colours::open(caller_ref).unwrap()), ["red", "green"]);
        assert_eq!(
            all(chunks::open(caller_ref, b"abcde", 2).unwrap()),
            [b"ab".to_vec(), b"cd".to_vec(), b"e".to_vec()]
        );
        assert_eq!(all(ticks::open(caller_ref, 4).unwrap()).len(), 4);
        assert_eq!(all(boxed::open(caller_ref, 3, true).unwrap()), [2, 1, 0]);
        assert_eq!(double::call(caller_ref, 4).unwrap(), 8);
        finish(caller, peer);
    }
}

#[test]
fn items_are_lent_in_place_and_other_calls_go_on() {
    for (mut caller, peer) in shared() {
        let mut stream = lines::open(&mut caller, 1, &[2, 4], None).unwrap();
        let first = stream.next_in_place().unwrap().unwrap();
        assert_eq!((first.get().number, first.get().text), (1, "xx"));
        drop(first);
        assert_eq!(double::call(stream.caller(), 21).unwrap(), 42);
        let second = stream.next_within(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(second.text, "xxxx");
        assert!(stream.next().is_none());
        assert!(stream.next().is_none());
        drop(stream);
        finish(caller, peer);
    }
}

#[test]
fn an_error_comes_after_the_items_before_it() {
    for (mut caller, peer) in shared() {
        let mut stream = sell::open(&mut caller, 2, 5).unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 0);
        assert_eq!(stream.next().unwrap().unwrap(), 1);
        assert!(matches!(stream.next(), Some(Err(CallError::Failed(StockError::SoldOut { left: 0 })))));
        assert!(stream.next().is_none());
        drop(stream);
        assert_eq!(all(sell::open(&mut caller, 5, 2).unwrap()), [0, 1]);

        let mut stream = parse::open(&mut caller, "4,x,5").unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 4);
        match stream.next() {
            Some(Err(CallError::Remote(error))) => {
                assert_eq!((error.kind, &*error.text), (ErrorKind::HandlerFailed, "invalid digit found in string"));
            }
            other => panic!("{other:?}"),
        }
        drop(stream);

        let mut stream = abort::open(&mut caller, 1).unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 0);
        match stream.next() {
            Some(Err(CallError::Remote(error))) => assert_eq!(error.kind, ErrorKind::Aborted),
            other => panic!("{other:?}"),
        }
        drop(stream);
        finish(caller, peer);
    }
}

#[test]
fn an_error_comes_before_the_first_item() {
    for (mut caller, peer) in shared() {
        assert_eq!(all(stock::open(&mut caller, "ab").unwrap()), [97, 98]);
        let mut stream = stock::open(&mut caller, "").unwrap();
        assert!(matches!(stream.next(), Some(Err(CallError::Failed(StockError::Closed)))));
        drop(stream);
        let mut stream = order::open(&mut caller, 0).unwrap();
        assert!(matches!(stream.next(), Some(Err(CallError::Failed(StockError::Closed)))));
        drop(stream);
        let mut stream = order::open(&mut caller, 3).unwrap();
        assert_eq!(stream.by_ref().take(2).map(Result::unwrap).collect::<Vec<_>>(), [3, 2]);
        assert!(matches!(stream.next(), Some(Err(CallError::Failed(StockError::SoldOut { left: 1 })))));
        drop(stream);
        finish(caller, peer);
    }
}

#[test]
fn handlers_have_the_state_and_the_context() {
    for (mut caller, peer) in shared() {
        assert_eq!(all(visits::open(&mut caller, 2).unwrap()), ["visits 0.0", "visits 0.1"]);
        let mut within = caller.within(Duration::from_secs(20)).window(1);
        assert_eq!(all(visits::open(&mut within, 2).unwrap()), ["visits 1.0", "visits 1.1"]);
        finish(caller, peer);
    }
    for (mut caller, peer) in callers("exclusive", Dispatcher::with_state(Shop::default(), EXCLUSIVE)) {
        assert_eq!(all(visits::open(&mut caller, 1).unwrap()), ["visits 0.0"]);
        assert_eq!(all(reset::open(&mut caller, 50).unwrap()), [1, 50]);
        let refused = reset::open(&mut caller, 101).unwrap().next().unwrap();
        assert!(refused.unwrap_err().to_string().contains("too many"));
        assert_eq!(all(visits::open(&mut caller, 1).unwrap()), ["visits 101.0"]);
        finish(caller, peer);
    }
}

#[test]
fn a_service_has_streams_beside_calls() {
    for (caller, peer) in callers("market", MarketService::dispatcher(Exchange::default())) {
        let mut market = MarketClient::new(caller).within(Duration::from_secs(20)).window(2);
        let query = Query { instrument: 3, count: 2 };
        let received = all(market.quotes(9, query).unwrap());
        assert_eq!(received, [0, 1].map(|number| Quote { price: 3.0, instrument: 9, number }));
        assert_eq!(all(market.trades("abc").unwrap()), [0, 1, 2]);
        let refused = market.trades("").unwrap().next().unwrap();
        assert!(matches!(refused, Err(CallError::Failed(StockError::Closed))));
        let mut levels = market.levels(true).unwrap();
        assert_eq!(levels.by_ref().take(2).map(Result::unwrap).collect::<Vec<_>>(), [2, 1]);
        assert!(matches!(levels.next(), Some(Err(CallError::Failed(StockError::SoldOut { left: 0 })))));
        drop(levels);
        assert_eq!(market.total().unwrap(), 3);
        assert_eq!(market.starting().total().unwrap().finish(market.get_mut()).unwrap(), 3);
        finish(market.into_inner(), peer);
    }
}

#[test]
fn workers_serve_streams() {
    let (_folder, path) = socket();
    let _peer = STREAM_PEER.start("workers", &path, &[]);
    let mut callers = [Caller::connect(&path).unwrap(), Caller::connect(&path).unwrap()];
    let [first, second] = &mut callers;
    let mut one = count::open(first, 100).unwrap();
    let mut other = words::open(second, "a b").unwrap();
    assert_eq!(one.next().unwrap().unwrap(), 0);
    assert_eq!(other.next().unwrap().unwrap(), "a");
    assert_eq!(all(one), (1..100).collect::<Vec<_>>());
    assert_eq!(all(other), ["b"]);
}

/// The contract of another callee than the one compiled in here.
mod other {
    use tachyon::tachyon_rpc;

    #[tachyon_rpc(msg_type = 1)]
    pub(super) fn count(to: u32) -> impl Iterator<Item = u64> {
        0..u64::from(to)
    }

    #[tachyon_rpc(msg_type = 2)]
    pub(super) fn words(text: &str) -> Vec<u8> {
        text.into()
    }

    #[tachyon_rpc(msg_type = 19)]
    pub(super) fn double(number: u32) -> impl Iterator<Item = u32> {
        [number; 2].into_iter()
    }
}

#[test]
fn a_stream_of_another_contract_is_not_opened() {
    for (mut caller, peer) in shared() {
        let refusals = [
            other::count::open(&mut caller, 1).map(drop).unwrap_err().to_string(),
            other::words::call(&mut caller, "a").map(drop).unwrap_err().to_string(),
            other::double::open(&mut caller, 1).map(drop).unwrap_err().to_string(),
        ];
        for (refusal, says) in refusals.iter().zip(["u64", "stream", "stream"]) {
            assert!(refusal.contains(says), "{refusal}");
        }
        assert_eq!(all(count::open(&mut caller, 2).unwrap()), [0, 1]);
        finish(caller, peer);
    }
}

#[test]
fn a_description_has_the_streams() {
    let description = Dispatcher::with_state(Shop::default(), SHARED).describe();
    let shown = |name: &str| {
        let endpoint = description.endpoints.iter().find(|endpoint| endpoint.name == name).unwrap();
        (endpoint.kind(), endpoint.to_string())
    };
    assert_eq!(shown("count"), (EndpointKind::ServerStream, "count(u32) -> stream of u32".to_owned()));
    assert_eq!(shown("words").1, "words(str) -> stream of str");
    assert_eq!(shown("double").0, EndpointKind::Unary);
    let read = Description::from_json(&description.to_json()).unwrap();
    assert_eq!(read, description);
}

#[test]
fn a_function_with_a_stream_is_a_plain_function() {
    let text = String::from("of a text");
    let iterator = words(&text);
    drop(text);
    assert_eq!(iterator.collect::<Vec<_>>(), ["of", "a", "text"]);
    assert_eq!(stock("").err(), Some(StockError::Closed));
    let moved = std::thread::spawn(|| quotes(&Query { instrument: 1, count: 2 }).count());
    assert_eq!(moved.join().unwrap(), 2);
}

#[test]
#[should_panic(expected = "the signature is that of a stream")]
fn a_handler_of_one_reply_has_no_signature_of_a_stream() {
    let _ = Entry::<()>::new(count::SIGNATURE, EntryHandler::Stateless(|(), _, reply| reply.bytes(&[])));
}

#[test]
#[should_panic(expected = "the signature is not that of a server stream")]
fn a_stream_handler_has_no_signature_of_one_reply() {
    let _ = Entry::<()>::new(double::SIGNATURE, count::ENTRY.handler());
}

#[test]
fn a_table_lists_streams_and_calls() {
    #[tachyon_rpc(msg_type = 40)]
    fn own() -> impl Iterator<Item = u8> {
        [1, 2].into_iter()
    }

    let mut caller = testing::pair(Dispatcher::new(endpoints![own, double])).unwrap();
    assert_eq!(all(own::open(&mut caller).unwrap()), [1, 2]);
    assert_eq!(double::call(&mut caller, 2).unwrap(), 4);
}

fn threads() -> [(Caller, Option<Peer>); 2] {
    callers("threads", Dispatcher::with_state(Shop::default(), THREADS))
}

#[test]
fn a_client_stream_has_one_reply() {
    for (mut caller, peer) in threads() {
        let mut file = upload::open(&mut caller, "notes").unwrap();
        assert!(file.send(b"first").unwrap());
        assert!(file.send(&[1u8, 2][..]).unwrap());
        assert!(file.send(&vec![0u8; 10_000]).unwrap());
        assert_eq!(double::call(file.caller(), 4).unwrap(), 8);
        assert_eq!(file.finish().unwrap(), "notes: 10007");

        let mut prices = sum::open(&mut caller).unwrap();
        for number in 0..100 {
            assert!(prices.send(Quote { price: 0.5, instrument: 1, number }).unwrap());
        }
        assert_eq!(prices.finish().unwrap(), 50.0);

        let mut prices = sum::open(&mut caller).unwrap();
        assert!(prices.send(Quote { price: -1.0, instrument: 1, number: 7 }).unwrap());
        assert!(matches!(prices.finish(), Err(CallError::Failed(StockError::SoldOut { left: 7 }))));
        assert_eq!(upload::open(&mut caller, "nothing").unwrap().finish().unwrap(), "nothing: 0");
        finish(caller, peer);
    }
}

#[test]
fn a_two_way_stream_answers_each_item() {
    for (mut caller, peer) in threads() {
        let mut chat = shout::open(&mut caller).unwrap();
        for text in ["hello", "", "world"] {
            assert!(chat.send(text).unwrap());
            assert_eq!(chat.next().unwrap().unwrap(), text.to_uppercase());
        }
        assert_eq!(double::call(chat.caller(), 4).unwrap(), 8);
        chat.end().unwrap();
        assert!(chat.next().is_none());
        drop(chat);

        let mut numbers = doubled::open(&mut caller, 3).unwrap();
        for number in 0..50u32 {
            assert!(numbers.send(number).unwrap());
            assert_eq!(numbers.next().unwrap().unwrap(), 3 * number);
        }
        numbers.end().unwrap();
        assert!(numbers.next().is_none());
        drop(numbers);

        let mut lines = labelled::open(&mut caller, &["a", "b"]).unwrap();
        let line = Line { number: 1, text: "x".to_owned(), note: None };
        assert!(lines.send(&line).unwrap());
        assert_eq!(lines.next().unwrap().unwrap(), "a x");
        assert!(lines.send(&line).unwrap());
        assert_eq!(lines.next().unwrap().unwrap(), "b x");
        assert!(lines.next().is_none());
        drop(lines);
        let none: [&str; 0] = [];
        let refused = labelled::open(&mut caller, &none).unwrap().next().unwrap();
        assert!(matches!(refused, Err(CallError::Failed(StockError::Closed))));
        finish(caller, peer);
    }
}

#[test]
fn a_thread_sends_a_stream_and_has_the_state() {
    for (mut caller, peer) in threads() {
        let query = Query { instrument: 4, count: 100 };
        let received = all(ticker::open(&mut caller, query).unwrap());
        assert_eq!(received, (0..100).map(|number| Quote { price: 1.0, instrument: 4, number }).collect::<Vec<_>>());

        let mut stream = audit::open(&mut caller).unwrap();
        assert!(stream.send(Some(5u32)).unwrap());
        assert_eq!(stream.next().unwrap().unwrap(), Line { number: 5, text: "audit".to_owned(), note: None });
        stream.end().unwrap();
        assert!(matches!(stream.next(), Some(Err(CallError::Failed(StockError::SoldOut { left: 5 })))));
        drop(stream);
        let mut stream = audit::open(&mut caller).unwrap();
        assert!(stream.send(None::<u32>).unwrap());
        assert!(matches!(stream.next(), Some(Err(CallError::Failed(StockError::Closed)))));
        drop(stream);
        finish(caller, peer);
    }
}

#[test]
fn a_service_takes_items() {
    for (caller, peer) in callers("store", StoreService::dispatcher(Shop::default())) {
        let mut store = StoreClient::new(caller).within(Duration::from_secs(20));
        let mut file = store.put("name").unwrap();
        assert!(file.send(b"bytes").unwrap());
        assert_eq!(file.finish().unwrap(), 9);
        assert_eq!(store.stored().unwrap(), 1);

        let mut talk = store.talk().unwrap();
        assert!(talk.send(&Line { number: 1, text: String::new(), note: Some("note".to_owned()) }).unwrap());
        assert_eq!(talk.next().unwrap().unwrap(), "note");
        assert!(talk.send(&Line { number: 2, text: String::new(), note: None }).unwrap());
        assert!(matches!(talk.next(), Some(Err(CallError::Failed(StockError::SoldOut { left: 2 })))));
        drop(talk);

        let mut back = store.back().unwrap();
        assert!(back.send(9u32).unwrap());
        assert_eq!(back.next().unwrap().unwrap(), 9);
        back.end().unwrap();
        assert!(back.next().is_none());
        drop(back);
        finish(store.into_inner(), peer);
    }
}

#[test]
fn tasks_serve_streams_beside_the_others() {
    let (_folder, path) = socket();
    let _peer = STREAM_PEER.start("tasks", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    let mut numbers = sum_later::open(&mut caller).unwrap();
    for number in 0..100u32 {
        assert!(numbers.send(number).unwrap());
    }
    assert_eq!(numbers.finish().unwrap(), 4950);
    let mut chat = shout_later::open(&mut caller).unwrap();
    assert!(chat.send("a").unwrap());
    assert_eq!(chat.next().unwrap().unwrap(), "A");
    assert!(chat.send("").unwrap());
    assert!(matches!(chat.next(), Some(Err(CallError::Failed(StockError::Closed)))));
    drop(chat);
    assert_eq!(all(ticker_later::open(&mut caller, 100).unwrap()), (0..100).collect::<Vec<_>>());
    assert_eq!(all(count::open(&mut caller, 3).unwrap()), [0, 1, 2]);
    let mut chat = shout::open(&mut caller).unwrap();
    assert!(chat.send("b").unwrap());
    assert_eq!(chat.next().unwrap().unwrap(), "B");
    drop(chat);
    assert_eq!(double::call(&mut caller, 2).unwrap(), 4);
}

#[test]
fn kinds_follow_from_the_signatures() {
    let kinds = [
        (upload::SIGNATURE.kind(), EndpointKind::ClientStream),
        (sum_later::SIGNATURE.kind(), EndpointKind::ClientStream),
        (doubled::SIGNATURE.kind(), EndpointKind::TwoWayStream),
        (shout::SIGNATURE.kind(), EndpointKind::TwoWayStream),
        (ticker::SIGNATURE.kind(), EndpointKind::ServerStream),
        (ticker_later::SIGNATURE.kind(), EndpointKind::ServerStream),
        (double::SIGNATURE.kind(), EndpointKind::Unary),
    ];
    for (found, expected) in kinds {
        assert_eq!(found, expected);
    }
    let description = Dispatcher::with_state(Shop::default(), THREADS).describe();
    let shown = description.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(shown.contains(&"upload(str, items: stream of bytes) -> str".to_owned()), "{shown:?}");
    assert!(shown.contains(&"shout(items: stream of str) -> stream of str".to_owned()), "{shown:?}");
}

#[test]
#[should_panic(expected = "is of no stream")]
fn a_handler_on_a_thread_has_no_signature_of_one_reply() {
    let _ = Entry::<()>::new(double::SIGNATURE, upload::ENTRY.handler());
}

async fn collected<C: StreamsReplies>(stream: &AsyncStream<C>) -> Vec<Owned<C>> {
    let mut items = Vec::new();
    while let Some(item) = stream.recv().await {
        items.push(item.unwrap_or_else(|error| panic!("{error:?}")));
    }
    items
}

async fn streams_of_tasks(caller: &AsyncCaller) {
    assert_eq!(collected(&count::stream(caller, 100).await.unwrap()).await, (0..100).collect::<Vec<_>>());
    assert_eq!(collected(&words::stream(caller, "a b").await.unwrap()).await, ["a", "b"]);
    assert_eq!(collected(&ticker_later::stream(caller, 40).await.unwrap()).await, (0..40).collect::<Vec<_>>());
    let sold = sell::stream(&caller.within(Duration::from_secs(20)).window(1), 1, 2).await.unwrap();
    assert_eq!(sold.recv().await.unwrap().unwrap(), 0);
    assert!(matches!(sold.recv().await, Some(Err(CallError::Failed(StockError::SoldOut { left: 0 })))));
    assert!(sold.recv().await.is_none());

    let numbers = sum_later::stream(caller).await.unwrap();
    for number in 0..100u32 {
        assert!(numbers.send(number).await.unwrap());
    }
    assert_eq!(numbers.finish().await.unwrap(), 4950);
    let file = upload::stream(caller, "name").await.unwrap();
    assert!(file.send(b"bytes").await.unwrap());
    assert_eq!(double::call_async(caller, 4).await.unwrap(), 8);
    assert_eq!(file.finish().await.unwrap(), "name: 5");

    let chat = shout_later::stream(caller).await.unwrap();
    assert!(chat.send("a").await.unwrap());
    assert_eq!(chat.recv().await.unwrap().unwrap(), "A");
    chat.end().await.unwrap();
    assert!(chat.recv().await.is_none());
    let chat = shout::stream(caller).await.unwrap();
    assert!(chat.send("b").await.unwrap());
    assert_eq!(chat.recv().await.unwrap().unwrap(), "B");
    drop(chat);
    assert!(other::count::stream(caller, 1).await.is_err_and(|error| error.to_string().contains("u64")));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn tasks_open_streams() {
    runtime().block_on(async {
        let dispatcher = Dispatcher::with_state(Shop::default(), TASKS);
        streams_of_tasks(&testing::pair_async(dispatcher).unwrap()).await;
    });
    let (_folder, path) = socket();
    let _peer = STREAM_PEER.start("tasks", &path, &[]);
    runtime().block_on(async {
        streams_of_tasks(&AsyncCaller::connect(&path).await.unwrap()).await;
    });
}

#[test]
fn a_service_has_streams_of_tasks() {
    runtime().block_on(async {
        let caller = testing::pair_async(RelayService::dispatcher(Shop::default())).unwrap();
        let relay = RelayAsyncClient::new(caller).within(Duration::from_secs(20)).window(4);
        let pass = relay.pass(3).await.unwrap();
        for number in 0..50u32 {
            assert!(pass.send(number).await.unwrap());
            assert_eq!(pass.recv().await.unwrap().unwrap(), 3 * number);
        }
        pass.end().await.unwrap();
        assert!(pass.recv().await.is_none());
        let texts = relay.longest().await.unwrap();
        for text in ["a", "longest", "long"] {
            assert!(texts.send(text).await.unwrap());
        }
        assert_eq!(texts.finish().await.unwrap(), "longest");
        let refused = relay.longest().await.unwrap().finish().await;
        assert!(matches!(refused, Err(CallError::Failed(StockError::SoldOut { left: 0 }))));
        assert_eq!(collected(&relay.countdown(3).await.unwrap()).await, [2, 1, 0]);
    });
}

/// Items that only the codec msgpack carries. One of them cannot be written.
mod packed {
    use serde::{Deserialize, Serialize, Serializer};
    use tachyon::{Context, ItemError, Items, StreamSender, tachyon_rpc};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) enum Step {
        Word(String),
        Numbers {
            values: Vec<u32>,
        },
        #[serde(serialize_with = "unwritable")]
        Unwritable(u8),
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature of serde")]
    fn unwritable<S: Serializer>(_value: &u8, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a step without a form"))
    }

    #[tachyon_rpc(msg_type = 1, codec = "msgpack")]
    pub(super) fn steps(steps: Vec<Step>, fails: bool) -> Result<impl Iterator<Item = Step>, String> {
        if fails { Err("no steps".to_owned()) } else { Ok(steps.into_iter()) }
    }

    #[tachyon_rpc(msg_type = 2, codec = "msgpack")]
    pub(super) fn unwritable_steps() -> impl Iterator<Item = Step> {
        [Step::Word("first".to_owned()), Step::Unwritable(1)].into_iter()
    }

    #[tachyon_rpc(msg_type = 3, codec = "msgpack")]
    pub(super) async fn last(mut steps: Items<Step>, #[context] cx: &Context<'_>) -> Result<(String, Step), ItemError> {
        let mut last = Step::Numbers { values: vec![] };
        while let Some(step) = steps.recv().await {
            last = step?;
        }
        Ok((cx.name.to_owned(), last))
    }

    #[tachyon_rpc(msg_type = 4, codec = "msgpack")]
    pub(super) async fn again(times: u8, mut steps: Items<Step>, out: StreamSender<Step>) -> Result<(), ItemError> {
        assert!(matches!(out.send(&Step::Unwritable(1)).await, Err(ItemError::Unwritable { .. })));
        while let Some(step) = steps.recv().await {
            let step = step?;
            for _ in 0..times {
                out.send(&step).await?;
            }
        }
        Ok(())
    }

    /// Items of types that travel with and without the codec: the codec of the endpoint writes them.
    #[tachyon_rpc(msg_type = 5, codec = "msgpack")]
    pub(super) fn texts(numbers: Items<u64>, out: StreamSender<String>) -> Result<(), ItemError> {
        for number in numbers {
            out.blocking_send(&number?.to_string())?;
            out.blocking_send("text")?;
        }
        Ok(())
    }

    /// The iterator runs on the thread of the handler.
    #[tachyon_rpc(msg_type = 6, codec = "msgpack")]
    pub(super) fn reversed(steps: Items<Step>) -> Result<impl Iterator<Item = Step>, ItemError> {
        let steps: Vec<Step> = steps.collect::<Result<_, _>>()?;
        Ok(steps.into_iter().rev())
    }
}

#[test]
fn items_of_the_codec_msgpack() {
    use packed::{Step, again, last, reversed, steps, texts, unwritable_steps};

    let word = || Step::Word("word".to_owned());
    let sent = vec![word(), Step::Numbers { values: vec![1, 70_000] }];
    let table = || Dispatcher::new(endpoints![steps, unwritable_steps, last, again, texts, reversed]);
    let mut caller = testing::pair(Dispatcher::new(endpoints![steps, unwritable_steps, texts, reversed])).unwrap();
    assert_eq!(all(steps::open(&mut caller, &sent, false).unwrap()), sent);
    let refused = steps::open(&mut caller, &sent, true).unwrap().next().unwrap().unwrap_err();
    assert!(refused.to_string().contains("no steps"), "{refused}");
    let mut half = unwritable_steps::open(&mut caller).unwrap();
    assert_eq!(half.next().unwrap().unwrap(), Step::Word("first".to_owned()));
    match half.next() {
        Some(Err(CallError::Remote(error))) => {
            assert_eq!(error.kind, ErrorKind::BadReply, "{error}");
            assert!(error.text.contains("a step without a form"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    drop(half);
    let mut turned = reversed::open(&mut caller).unwrap();
    for step in &sent {
        assert!(turned.send(step).unwrap());
    }
    // The caller refuses the item, and the stream goes on.
    match turned.send(&Step::Unwritable(1)) {
        Err(CallError::Unwritable { endpoint, text }) => {
            assert_eq!((&*endpoint, &*text), ("reversed", "a step without a form"));
        }
        other => panic!("{other:?}"),
    }
    turned.end().unwrap();
    assert_eq!(all(turned), [sent[1].clone(), sent[0].clone()]);
    let mut chat = texts::open(&mut caller).unwrap();
    assert!(chat.send(5).unwrap());
    assert!(chat.send(&u64::MAX).unwrap());
    chat.end().unwrap();
    assert_eq!(all(chat), ["5", "text", "18446744073709551615", "text"]);
    let chat = caller.open(5, b"\x80").unwrap();
    caller.send_item(chat, b"\x07").unwrap();
    caller.end_items(chat).unwrap();
    assert_eq!(&*caller.next_item(chat).unwrap().unwrap(), b"\xA17");
    assert_eq!(&*caller.next_item(chat).unwrap().unwrap(), b"\xA4text");
    assert!(caller.next_item(chat).unwrap().is_none());

    runtime().block_on(async {
        let caller = testing::pair_async(table()).unwrap();
        assert_eq!(collected(&steps::stream(&caller, &sent, false).await.unwrap()).await, sent);
        let upload = last::stream(&caller).await.unwrap();
        assert!(upload.send(&word()).await.unwrap());
        assert!(
            upload.send(&Step::Unwritable(1)).await.is_err_and(|error| error.to_string().contains("without a form"))
        );
        assert_eq!(upload.finish().await.unwrap(), ("last".to_owned(), word()));
        let chat = again::stream(&caller, 2).await.unwrap();
        for step in &sent {
            assert!(chat.send(step).await.unwrap());
            assert_eq!(chat.recv().await.unwrap().unwrap(), *step);
            assert_eq!(chat.recv().await.unwrap().unwrap(), *step);
        }
        chat.end().await.unwrap();
        assert!(chat.recv().await.is_none());
    });
    let described: Vec<_> = table().describe().endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(described[2], "last(msgpack, items: stream of msgpack) -> msgpack");
    assert_eq!(described[4], "texts(msgpack, items: stream of msgpack) -> stream of msgpack");
}

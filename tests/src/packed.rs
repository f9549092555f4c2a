//! A contract of the codec msgpack, with a tagged union. `services/packed.py` has the same contract in Python.

#![allow(clippy::missing_errors_doc, reason = "endpoints of tests")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use tachyon::{CallError, Caller, ErrorKind, HandlerError, ItemError, Items, StreamSender, tachyon_rpc};

/// An event of an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Event {
    /// A new account.
    Opened {
        /// Its name.
        account: String,
        /// Its first balance.
        balance: f64,
    },
    /// An amount moves.
    Moved {
        /// The account that pays.
        from: String,
        /// The account that gets the amount.
        to: String,
        /// The amount.
        amount: i64,
        /// A remark.
        note: Option<String>,
    },
    /// The end.
    Closed,
}

/// The state after some events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The balance of each account.
    pub balances: BTreeMap<String, f64>,
    /// The last event.
    pub last: Option<Event>,
}

/// The declared errors.
#[tachyon::error]
#[derive(PartialEq)]
pub enum AccountError {
    /// No account has this name.
    #[error("no account {account}")]
    Unknown {
        /// The name.
        account: String,
    },
    /// Too much would be moved.
    #[error("{amount} is more than {limit}")]
    TooMuch {
        /// The amount.
        amount: i64,
        /// The limit of the account.
        limit: f64,
    },
}

/// Accounts, as a service.
#[tachyon_rpc]
pub trait Accounts {
    /// Applies events.
    #[rpc(msg_type = 301, codec = "msgpack")]
    fn apply(
        &mut self,
        events: Vec<Event>,
        limits: BTreeMap<String, f64>,
        dry: Option<bool>,
    ) -> Result<Summary, AccountError>;

    /// Returns its argument.
    #[rpc(msg_type = 302, codec = "msgpack")]
    fn same(&self, event: Event) -> Event;

    /// Forgets all accounts.
    #[rpc(msg_type = 303, codec = "msgpack")]
    fn clear(&mut self);

    /// Returns its argument.
    #[rpc(msg_type = 304, codec = "msgpack")]
    fn maybe(&self, value: Option<i64>) -> Option<i64>;

    /// The number of accounts.
    #[rpc(msg_type = 305)]
    fn count(&self) -> u64;

    /// Fails with a text.
    #[rpc(msg_type = 306, codec = "msgpack")]
    fn fails(&self, text: String) -> Result<u8, String>;
}

/// Streams of events and of what they change, as a service.
#[tachyon_rpc]
pub trait Journal {
    /// The state after each event.
    #[rpc(msg_type = 307, codec = "msgpack")]
    fn history(&self, events: Vec<Event>) -> impl Iterator<Item = Result<Summary, AccountError>> + 'static;

    /// The state after the last event.
    #[rpc(msg_type = 308, codec = "msgpack")]
    fn replay(&self, first: Option<Event>, events: Items<Event>) -> Result<Summary, HandlerError>;

    /// Returns the moves, with a remark.
    #[rpc(msg_type = 309, codec = "msgpack")]
    fn remark(&self, text: String, events: Items<Event>, out: StreamSender<Event>) -> Result<(), ItemError>;
}

/// Applies an event to the balances.
fn advance(
    balances: &mut BTreeMap<String, f64>,
    event: &Event,
    limits: &BTreeMap<String, f64>,
) -> Result<(), AccountError> {
    match event {
        Event::Opened { account, balance } => drop(balances.insert(account.clone(), *balance)),
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        Event::Moved { from, to, amount, .. } => {
            let moved = *amount as f64;
            if let Some(limit) = limits.get(from).filter(|limit| moved > **limit) {
                return Err(AccountError::TooMuch { amount: *amount, limit: *limit });
            }
            for (account, by) in [(from, -moved), (to, moved)] {
                let unknown = || AccountError::Unknown { account: account.clone() };
                *balances.get_mut(account).ok_or_else(unknown)? += by;
            }
        }
        Event::Closed => balances.clear(),
    }
    Ok(())
}

impl Journal for Book {
    fn history(&self, events: Vec<Event>) -> impl Iterator<Item = Result<Summary, AccountError>> + 'static {
        let mut balances = BTreeMap::new();
        events.into_iter().map(move |event| {
            advance(&mut balances, &event, &BTreeMap::new())?;
            Ok(Summary { balances: balances.clone(), last: Some(event) })
        })
    }

    fn replay(&self, first: Option<Event>, events: Items<Event>) -> Result<Summary, HandlerError> {
        let mut summary = Summary { balances: BTreeMap::new(), last: None };
        for event in first.map(Ok).into_iter().chain(events) {
            let event = event?;
            advance(&mut summary.balances, &event, &BTreeMap::new()).map_err(HandlerError::failed)?;
            summary.last = Some(event);
        }
        Ok(summary)
    }

    fn remark(&self, text: String, events: Items<Event>, out: StreamSender<Event>) -> Result<(), ItemError> {
        for event in events {
            if let Event::Moved { from, to, amount, .. } = event? {
                out.blocking_send(&Event::Moved { from, to, amount, note: Some(text.clone()) })?;
            }
        }
        Ok(())
    }
}

/// The accounts of the tests.
#[derive(Debug, Default)]
pub struct Book(BTreeMap<String, f64>);

impl Accounts for Book {
    fn apply(
        &mut self,
        events: Vec<Event>,
        limits: BTreeMap<String, f64>,
        dry: Option<bool>,
    ) -> Result<Summary, AccountError> {
        let mut balances = self.0.clone();
        for event in &events {
            advance(&mut balances, event, &limits)?;
        }
        if dry != Some(true) {
            self.0.clone_from(&balances);
        }
        Ok(Summary { balances, last: events.last().cloned() })
    }

    fn same(&self, event: Event) -> Event {
        event
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn maybe(&self, value: Option<i64>) -> Option<i64> {
        value
    }

    fn count(&self) -> u64 {
        self.0.len() as u64
    }

    fn fails(&self, text: String) -> Result<u8, String> {
        Err(text)
    }
}

/// Some events: a new account `a` and one `b`, and a move between them.
pub fn events() -> Vec<Event> {
    let opened = |account: &str| Event::Opened { account: account.to_owned(), balance: 10.5 };
    let note = Some("gr\u{fc}n".to_owned());
    vec![opened("a"), opened("b"), Event::Moved { from: "a".to_owned(), to: "b".to_owned(), amount: 3, note }]
}

fn failed<T: Debug>(outcome: Result<T, CallError<AccountError>>) -> AccountError {
    match outcome {
        Err(CallError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Calls every endpoint, of either language. `said` precedes the text of an undeclared error.
///
/// # Panics
/// When a reply is wrong.
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub fn call_packed(caller: &mut Caller, said: &str) {
    let mut client = AccountsClient::new(&mut *caller);
    let none = BTreeMap::new();
    let balances = BTreeMap::from([("a".to_owned(), 7.5), ("b".to_owned(), 13.5)]);
    let summary = Summary { balances, last: events().pop() };
    assert_eq!(client.apply(&events(), &none, &Some(true)).unwrap(), summary);
    assert_eq!(client.count().unwrap(), 0);
    assert_eq!(client.apply(&events(), &none, &None).unwrap(), summary);
    assert_eq!(client.count().unwrap(), 2);
    let limits = BTreeMap::from([("a".to_owned(), 2.5)]);
    let error = failed(client.apply(&events(), &limits, &None));
    assert_eq!(error, AccountError::TooMuch { amount: 3, limit: 2.5 });
    let error = failed(client.apply(&vec![Event::Closed, events().remove(2)], &none, &None));
    assert_eq!(error, AccountError::Unknown { account: "a".to_owned() });
    let last = Event::Moved { from: String::new(), to: "x".repeat(100_000), amount: i64::MIN, note: None };
    for event in [Event::Closed, last].into_iter().chain(events()) {
        assert_eq!(client.same(&event).unwrap(), event);
    }
    assert_eq!(client.maybe(&Some(i64::MAX)).unwrap(), Some(i64::MAX));
    assert_eq!(client.maybe(&None).unwrap(), None);
    match client.fails("why") {
        Err(CallError::Remote(error)) => assert_eq!(error.text, format!("{said}why")),
        other => panic!("{other:?}"),
    }
    client.clear().unwrap();
    assert_eq!(client.count().unwrap(), 0);
    for (request, text) in [
        (&b"\x90"[..], "the arguments of "),
        (b"\x81\xA5event\x07", "event"),
        (b"\x80", "event"),
        (b"\x80\x80", "arguments of "),
        (b"", "arguments of "),
    ] {
        let refused = caller.call(302, request).map(|reply| reply.to_vec());
        match refused {
            Err(CallError::Remote(error)) if error.kind == ErrorKind::BadRequest => {
                assert!(error.text.contains(text), "{error} is not about {text}");
            }
            other => panic!("{other:?}"),
        }
    }
    // An argument that the callee does not know is allowed, and an option may be left out.
    assert_eq!(&*caller.call(304, b"\x81\xA5other\x07").unwrap(), b"\xC0");
}

/// Opens every stream of the service [`Journal`], of either language.
///
/// # Panics
/// When an item or a reply is wrong.
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub fn stream_packed(caller: &mut Caller) {
    let mut client = JournalClient::new(&mut *caller);
    let summaries: Vec<Summary> = client.history(&events()).unwrap().map(Result::unwrap).collect();
    let balances = BTreeMap::from([("a".to_owned(), 7.5), ("b".to_owned(), 13.5)]);
    let last = Summary { balances, last: events().pop() };
    assert_eq!(summaries.len(), 3);
    assert_eq!(summaries[0].balances, BTreeMap::from([("a".to_owned(), 10.5)]));
    assert_eq!(summaries[2], last);
    let mut failing = client.history(&vec![events().remove(0), events().remove(2)]).unwrap();
    assert_eq!(failing.next().unwrap().unwrap().last, Some(events().remove(0)));
    assert_eq!(failed(failing.next().unwrap()), AccountError::Unknown { account: "b".to_owned() });
    assert!(failing.next().is_none());
    drop(failing);
    let mut lent = client.history(&events()).unwrap();
    assert_eq!(lent.next_in_place().unwrap().unwrap().into_owned(), summaries[0]);
    drop(lent);

    let mut replayed = client.replay(&None).unwrap();
    for event in &events() {
        assert!(replayed.send(event).unwrap());
    }
    assert_eq!(replayed.finish().unwrap(), last);
    assert_eq!(client.replay(&Some(Event::Closed)).unwrap().finish().unwrap().last, Some(Event::Closed));

    let mut chat = client.remark("seen").unwrap();
    for amount in 0..100 {
        let moved = |note: Option<&str>| {
            let note = note.map(str::to_owned);
            Event::Moved { from: "a".to_owned(), to: "b".to_owned(), amount, note }
        };
        assert!(chat.send(&Event::Closed).unwrap());
        assert!(chat.send(&moved(None)).unwrap());
        assert_eq!(chat.next().unwrap().unwrap(), moved(Some("seen")));
    }
    chat.end().unwrap();
    assert!(chat.next().is_none());
    drop(chat);

    // An item that is no event is refused, and the connection goes on.
    let raw = caller.open(308, b"\x80").unwrap();
    caller.send_item(raw, b"\x07").unwrap();
    caller.end_items(raw).unwrap();
    let error = caller.finish(raw).unwrap().error().unwrap();
    assert_eq!(error.kind, ErrorKind::BadRequest, "{error}");
    assert!(error.text.contains("item"), "{error}");
    assert_eq!(JournalClient::new(caller).history(&events()).unwrap().count(), 3);
}

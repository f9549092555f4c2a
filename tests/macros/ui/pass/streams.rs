//! Streams: in each form of a returned iterator, with unusual names, and under strict lints.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_lifetimes)]
#![deny(rust_2018_idioms, single_use_lifetimes, let_underscore_drop, clippy::all, clippy::pedantic)]
#![allow(unused_qualifications, unused_parens, reason = "unusual forms")]
#![allow(clippy::trivially_copy_pass_by_ref, reason = "a handler borrows the request")]

use std::fmt::Display;

use tachyon::{CallError, Caller, Context, Dispatcher, HandlerError, ItemError, Items, StreamSender};
use tachyon::{endpoints, tachyon_rpc, testing};

/// An item.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
struct Item {
    name: String,
}

/// An error.
#[tachyon::error]
#[derive(Debug)]
enum Gone {
    /// It is gone.
    #[error("gone")]
    Gone,
}

#[tachyon_rpc(msg_type = 1)]
fn count(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

#[tachyon_rpc(msg_type = 2)]
fn paths(text: &str) -> impl std::iter::ExactSizeIterator<Item = std::string::String> + std::marker::Send {
    vec![text.to_owned()].into_iter()
}

#[tachyon_rpc(msg_type = 3)]
fn captured(list: &[u32], item: &Item) -> impl Iterator<Item = Item> + Send + 'static + use<> {
    vec![item.clone(); list.len()].into_iter()
}

#[tachyon_rpc(msg_type = 4)]
fn shown(up_to: u32) -> (impl Iterator<Item = Result<u32, impl Display + 'static>>) {
    (0..=up_to).map(move |number| if number < up_to { Ok(number) } else { Err("no more") })
}

#[tachyon_rpc(msg_type = 5)]
fn fallible(up_to: u32) -> std::result::Result<impl Iterator<Item = u32>, Gone> {
    if up_to == 0 { Err(Gone::Gone) } else { Ok(0..up_to) }
}

#[tachyon_rpc(msg_type = 6)]
fn kinds(up_to: u32) -> Result<impl Iterator<Item = Result<u32, HandlerError>>, HandlerError> {
    if up_to > 9 { Err(HandlerError::failed("too many")) } else { Ok((0..up_to).map(Ok)) }
}

#[tachyon_rpc(msg_type = 7)]
fn r#type(#[context] cx: &Context<'_>, r#match: u32) -> Box<dyn Iterator<Item = u32> + Send> {
    assert_eq!(cx.name, "type");
    Box::new(std::iter::once(r#match))
}

/// Old.
#[deprecated = "open `count`"]
#[tachyon_rpc(msg_type = 8)]
fn old() -> impl Iterator<Item = bool> {
    std::iter::empty()
}

#[cfg(windows)]
#[tachyon_rpc(msg_type = 8)]
fn elsewhere() -> impl Iterator<Item = Unknown> {
    std::iter::empty()
}

macro_rules! stream {
    ($name:ident, $item:ty, $number:expr) => {
        #[tachyon_rpc(msg_type = $number)]
        fn $name(value: $item) -> impl Iterator<Item = $item> {
            std::iter::once(value)
        }
    };
}

stream!(once, u64, 9);

#[tachyon_rpc(msg_type = 10)]
fn measured(r#type: String, items: tachyon::Items<Vec<u8>>) -> u64 {
    items.filter_map(Result::ok).map(|bytes| bytes.len() as u64).sum::<u64>() + r#type.len() as u64
}

#[tachyon_rpc(msg_type = 11)]
fn named(#[context] cx: &Context<'_>, items: Items<Item>) -> impl Iterator<Item = &'static str> {
    assert_eq!(cx.name, "named");
    items.map_while(Result::ok).map(|_| "item")
}

#[tachyon_rpc(msg_type = 12)]
fn passed(_: Items<Item>, out: StreamSender<Item>) -> Result<(), impl Display + Send + 'static> {
    out.blocking_send(&Item { name: "only".to_owned() })
}

#[tachyon_rpc(msg_type = 13)]
async fn later(mut items: Items<Option<String>>, out: StreamSender<Vec<Item>>) -> Result<(), HandlerError> {
    while let Some(item) = items.recv().await {
        let name = item?.ok_or(HandlerError::failed("no name"))?;
        out.send(&[Item { name }]).await?;
    }
    Ok(())
}

#[tachyon_rpc]
trait Uploads: Send + Sync {
    #[rpc(msg_type = 30)]
    fn whole(&self, name: String, items: Items<u64>) -> Result<u64, ItemError>;

    #[rpc(msg_type = 31)]
    async fn later(&self, out: StreamSender<u64>);
}

impl Uploads for Shelf {
    fn whole(&self, name: String, items: Items<u64>) -> Result<u64, ItemError> {
        let items: Result<Vec<u64>, ItemError> = items.collect();
        Ok(items?.into_iter().sum::<u64>() + name.len() as u64 + u64::from(self.0))
    }

    async fn later(&self, out: StreamSender<u64>) {
        drop(out);
    }
}

#[tachyon_rpc]
trait Lists {
    #[rpc(msg_type = 20)]
    fn list(&self, of: &str) -> impl Iterator<Item = Item> + 'static;

    #[rpc(msg_type = 21)]
    fn boxed(&mut self) -> Box<dyn Iterator<Item = Result<u32, Gone>> + Send>;

    #[rpc(msg_type = 22)]
    fn r#loop(&self, r#in: u32) -> Result<impl Iterator<Item = u32> + 'static, Gone>;

    #[rpc(msg_type = 23)]
    fn size(&self) -> u32;
}

struct Shelf(u32);

impl Lists for Shelf {
    fn list(&self, of: &str) -> impl Iterator<Item = Item> + 'static {
        vec![Item { name: of.to_owned() }; self.0 as usize].into_iter()
    }

    fn boxed(&mut self) -> Box<dyn Iterator<Item = Result<u32, Gone>> + Send> {
        self.0 += 1;
        Box::new([Ok(self.0), Err(Gone::Gone)].into_iter())
    }

    fn r#loop(&self, r#in: u32) -> Result<impl Iterator<Item = u32> + 'static, Gone> {
        if r#in == 0 { Err(Gone::Gone) } else { Ok(0..r#in) }
    }

    fn size(&self) -> u32 {
        self.0
    }
}

fn collect<T, E>(stream: impl Iterator<Item = Result<T, CallError<E>>>) -> Result<Vec<T>, CallError<E>> {
    stream.collect()
}

fn opened(caller: &mut Caller) -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(collect(count::open(caller, 3)?)?, [0, 1, 2]);
    assert_eq!(collect(paths::open(caller, "a/b")?)?, ["a/b"]);
    let item = Item { name: "x".to_owned() };
    assert_eq!(collect(captured::open(caller, &[1, 2], &item)?)?, [item.clone(), item]);
    let mut numbers = shown::open(caller, 1)?;
    assert_eq!(numbers.next().transpose()?, Some(0));
    assert!(numbers.next().is_some_and(|last| last.is_err_and(|error| error.to_string().contains("no more"))));
    drop(numbers);
    assert!(matches!(collect(fallible::open(caller, 0)?), Err(CallError::Failed(Gone::Gone))));
    assert_eq!(collect(fallible::open(caller, 2)?)?, [0, 1]);
    assert_eq!(collect(kinds::open(caller, 2)?)?, [0, 1]);
    assert_eq!(collect(r#type::open(caller, 7)?)?, [7]);
    assert_eq!(collect(once::open(caller, 8)?)?, [8]);
    Ok(())
}

fn sent(caller: &mut Caller) -> Result<(), Box<dyn std::error::Error>> {
    let mut upload = measured::open(caller, "four")?;
    assert!(upload.send(b"abc")?);
    assert_eq!(upload.finish()?, 7);
    let item = Item { name: "x".to_owned() };
    let mut names = named::open(caller)?;
    assert!(names.send(&item)?);
    assert_eq!(names.next().transpose()?.as_deref(), Some("item"));
    names.end()?;
    assert!(names.next().is_none());
    drop(names);
    assert_eq!(collect(passed::open(caller)?)?, [Item { name: "only".to_owned() }]);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[allow(deprecated, reason = "the point")]
    let table = endpoints![count, paths, captured, shown, fallible, kinds, r#type, old, once];
    opened(&mut testing::pair(Dispatcher::new(table))?)?;

    sent(&mut testing::pair(Dispatcher::new(endpoints![measured, named, passed]))?)?;
    assert_eq!(Dispatcher::new(endpoints![later]).len(), 1);
    assert_eq!(UploadsService::dispatcher(Shelf(1)).len(), 2);

    let mut lists = ListsClient::new(testing::pair(ListsService::dispatcher(Shelf(1)))?);
    assert_eq!(collect(lists.list("a")?)?, [Item { name: "a".to_owned() }]);
    assert!(matches!(collect(lists.boxed()?), Err(CallError::Failed(Gone::Gone))));
    assert_eq!(collect(lists.r#loop(2)?)?, [0, 1]);
    assert_eq!(lists.size()?, 2);
    Ok(())
}

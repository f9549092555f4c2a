//! The dispatch table: from message type to handler in two loads, however many endpoints there are.

use super::endpoint::{Entry, SharedHandler};
use super::handler::{HandlerError, Replied, Reply, Request};
#[cfg(feature = "tokio")]
use super::task::AsyncHandler;
use crate::error::RegisterError;
use crate::type_id::MSG_TYPE_ERROR;

/// A handler that was made at run time and may keep things of its own. Workers of a server share it.
pub type OwnedHandler<S> = Box<dyn Fn(&S, Request<'_>, Reply<'_>) -> Result<Replied, HandlerError> + Send + Sync>;

enum Handler<S: ?Sized> {
    Shared(SharedHandler<S>),
    Owned(OwnedHandler<S>),
    #[cfg(feature = "tokio")]
    Async(AsyncHandler),
}

/// An endpoint in the table.
pub(super) struct Registered<S: ?Sized> {
    name: String,
    handler: Handler<S>,
    /// How many endpoints were there before it: where it is counted.
    ordinal: usize,
}

impl<S: ?Sized> Registered<S> {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn ordinal(&self) -> usize {
        self.ordinal
    }

    #[inline]
    pub(super) fn run(&self, state: &S, request: Request<'_>, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        match &self.handler {
            Handler::Shared(handler) => handler(state, request, reply),
            Handler::Owned(handler) => handler(state, request, reply),
            // Nobody who serves without a runtime gets as far as this.
            #[cfg(feature = "tokio")]
            Handler::Async(_) => Err(HandlerError::failed("is async, and there is no runtime to run it")),
        }
    }

    /// The handler, if it is async.
    #[cfg(feature = "tokio")]
    pub(super) fn async_handler(&self) -> Option<&AsyncHandler> {
        match &self.handler {
            Handler::Async(handler) => Some(handler),
            _ => None,
        }
    }
}

const PAGE: usize = 256;

type Page<S> = Box<[Option<Registered<S>>; PAGE]>;

/// All 65535 message types, in pages that exist once one of their endpoints does.
pub(super) struct Table<S: ?Sized> {
    pages: Box<[Option<Page<S>>; PAGE]>,
    len: usize,
    /// The first endpoint that only a runtime can serve.
    first_async: Option<u16>,
}

impl<S: ?Sized> Table<S> {
    pub(super) fn new() -> Self {
        Self { pages: Box::new([const { None }; PAGE]), len: 0, first_async: None }
    }

    /// Message type and name of an async endpoint, if there is one.
    #[inline]
    pub(super) fn first_async(&self) -> Option<(u16, &str)> {
        let msg_type = self.first_async?;
        Some((msg_type, self.get(msg_type)?.name()))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, msg_type: u16) -> Option<&Registered<S>> {
        let [page, line] = msg_type.to_be_bytes();
        self.pages[usize::from(page)].as_ref()?[usize::from(line)].as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &Registered<S>)> {
        (0..=u16::MAX).filter_map(|msg_type| Some((msg_type, self.get(msg_type)?)))
    }

    pub(super) fn insert_entry(&mut self, entry: Entry<S>) -> Result<(), RegisterError> {
        self.insert(entry.msg_type(), entry.name(), Handler::Shared(entry.handler()))
    }

    pub(super) fn insert_owned(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: OwnedHandler<S>,
    ) -> Result<(), RegisterError> {
        self.insert(msg_type, name, Handler::Owned(handler))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn insert_async(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: AsyncHandler,
    ) -> Result<(), RegisterError> {
        self.insert(msg_type, name, Handler::Async(handler))?;
        self.first_async.get_or_insert(msg_type);
        Ok(())
    }

    fn insert(&mut self, msg_type: u16, name: &str, handler: Handler<S>) -> Result<(), RegisterError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(RegisterError::Reserved { refused: name.to_owned() });
        }
        let [page, line] = msg_type.to_be_bytes();
        let page = self.pages[usize::from(page)].get_or_insert_with(|| Box::new([const { None }; PAGE]));
        let place = &mut page[usize::from(line)];
        if let Some(existing) = place {
            return Err(RegisterError::Duplicate {
                msg_type,
                existing: existing.name.clone(),
                refused: name.to_owned(),
            });
        }
        *place = Some(Registered { name: name.to_owned(), handler, ordinal: self.len });
        self.len += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> OwnedHandler<()> {
        Box::new(|(), _, _| Err(HandlerError::failed("never called")))
    }

    #[test]
    fn every_number_but_the_reserved_one_finds_its_own() {
        let mut table = Table::<()>::new();
        for msg_type in [0, 1, 255, 256, 4097, 65_534] {
            table.insert_owned(msg_type, &format!("e{msg_type}"), never()).unwrap();
        }
        assert_eq!(table.len(), 6);
        assert_eq!(table.get(4097).unwrap().name(), "e4097");
        assert!(table.get(2).is_none());
        assert!(table.get(65_535).is_none());
        assert_eq!(table.iter().map(|(msg_type, _)| msg_type).collect::<Vec<_>>(), [0, 1, 255, 256, 4097, 65_534]);
    }

    #[test]
    fn refusals_leave_the_table_as_it_was() {
        let mut table = Table::<()>::new();
        table.insert_owned(7, "first", never()).unwrap();
        assert_eq!(
            table.insert_owned(7, "second", never()),
            Err(RegisterError::Duplicate { msg_type: 7, existing: "first".into(), refused: "second".into() })
        );
        assert_eq!(
            table.insert_owned(MSG_TYPE_ERROR, "third", never()),
            Err(RegisterError::Reserved { refused: "third".into() })
        );
        assert_eq!(table.len(), 1);
        assert_eq!(table.get(7).unwrap().name(), "first");
    }
}

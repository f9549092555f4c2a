//! The dispatch table: from message type to handler in two loads, however many endpoints there are.

use super::endpoint::{Entry, EntryHandler};
use super::handler::{HandlerError, Replied, Reply, Request};
use crate::describe::EndpointDescription;
use crate::error::RegisterError;
use crate::type_id::MSG_TYPE_ERROR;

/// A handler that was made at run time and may keep things of its own.
pub type OwnedHandler<S> = Box<dyn FnMut(&S, Request<'_>, Reply<'_>) -> Result<Replied, HandlerError> + Send>;

enum Handler<S: ?Sized> {
    Entry(EntryHandler<S>),
    Owned(OwnedHandler<S>),
}

/// An endpoint in the table.
pub(super) struct Registered<S: ?Sized> {
    /// Boxed, so that what is looked at for every request lies close together.
    description: Box<EndpointDescription>,
    handler: Handler<S>,
}

impl<S: ?Sized> Registered<S> {
    pub(super) fn name(&self) -> &str {
        &self.description.name
    }

    pub(super) fn description(&self) -> &EndpointDescription {
        &self.description
    }

    #[inline]
    pub(super) fn run(
        &mut self,
        state: &mut S,
        request: Request<'_>,
        reply: Reply<'_>,
    ) -> Result<Replied, HandlerError> {
        match &mut self.handler {
            Handler::Entry(EntryHandler::Stateless(handler)) => handler(&(), request, reply),
            Handler::Entry(EntryHandler::Shared(handler)) => handler(state, request, reply),
            Handler::Entry(EntryHandler::Exclusive(handler)) => handler(state, request, reply),
            Handler::Owned(handler) => handler(state, request, reply),
        }
    }
}

const PAGE: usize = 256;

type Page<S> = Box<[Option<Registered<S>>; PAGE]>;

/// All 65535 message types, in pages that exist once one of their endpoints does.
pub(super) struct Table<S: ?Sized> {
    pages: Box<[Option<Page<S>>; PAGE]>,
    len: usize,
}

impl<S: ?Sized> Table<S> {
    pub(super) fn new() -> Self {
        Self { pages: Box::new([const { None }; PAGE]), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get_mut(&mut self, msg_type: u16) -> Option<&mut Registered<S>> {
        let [page, line] = msg_type.to_be_bytes();
        self.pages[usize::from(page)].as_mut()?[usize::from(line)].as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &Registered<S>)> {
        (0..=u16::MAX).filter_map(|msg_type| {
            let [page, line] = msg_type.to_be_bytes();
            let registered = self.pages[usize::from(page)].as_ref()?[usize::from(line)].as_ref()?;
            Some((msg_type, registered))
        })
    }

    pub(super) fn insert_entry(&mut self, entry: Entry<S>) -> Result<(), RegisterError> {
        self.insert(entry.signature().into(), Handler::Entry(entry.handler()))
    }

    pub(super) fn insert_owned(
        &mut self,
        description: EndpointDescription,
        handler: OwnedHandler<S>,
    ) -> Result<(), RegisterError> {
        self.insert(description, Handler::Owned(handler))
    }

    fn insert(&mut self, description: EndpointDescription, handler: Handler<S>) -> Result<(), RegisterError> {
        let EndpointDescription { msg_type, ref name, .. } = description;
        if msg_type == MSG_TYPE_ERROR {
            return Err(RegisterError::Reserved { refused: name.to_owned() });
        }
        let [page, line] = msg_type.to_be_bytes();
        let page = self.pages[usize::from(page)].get_or_insert_with(|| Box::new([const { None }; PAGE]));
        let place = &mut page[usize::from(line)];
        if let Some(existing) = place {
            return Err(RegisterError::Duplicate {
                msg_type,
                existing: existing.name().to_owned(),
                refused: name.to_owned(),
            });
        }
        *place = Some(Registered { description: Box::new(description), handler });
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
            table.insert_owned(EndpointDescription::bytes(msg_type, &format!("e{msg_type}")), never()).unwrap();
        }
        assert_eq!(table.len(), 6);
        assert_eq!(table.get_mut(4097).unwrap().name(), "e4097");
        assert!(table.get_mut(2).is_none());
        assert!(table.get_mut(65_535).is_none());
        assert_eq!(table.iter().map(|(msg_type, _)| msg_type).collect::<Vec<_>>(), [0, 1, 255, 256, 4097, 65_534]);
    }

    #[test]
    fn refusals_leave_the_table_as_it_was() {
        let mut table = Table::<()>::new();
        table.insert_owned(EndpointDescription::bytes(7, "first"), never()).unwrap();
        assert_eq!(
            table.insert_owned(EndpointDescription::bytes(7, "second"), never()),
            Err(RegisterError::Duplicate { msg_type: 7, existing: "first".into(), refused: "second".into() })
        );
        assert_eq!(
            table.insert_owned(EndpointDescription::bytes(MSG_TYPE_ERROR, "third"), never()),
            Err(RegisterError::Reserved { refused: "third".into() })
        );
        assert_eq!(table.len(), 1);
        assert_eq!(table.get_mut(7).unwrap().name(), "first");
    }
}

//! The trait as written, and as a service that keeps every rule.

use proc_macro2::{Ident, TokenStream};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, ItemTrait, Path, TraitItem, TraitItemFn};

use crate::args::{Args, Attr};
use crate::endpoint::model::{MsgType, ReplyForm};
use crate::endpoint::params::{Params, is_mark};
use crate::report::Report;

/// A trait, with the attributes of its methods.
pub(crate) struct ServiceTrait {
    /// The trait without the attributes that rustc does not know.
    pub(crate) item: ItemTrait,
    /// The methods, in order.
    pub(crate) methods: Vec<WrittenMethod>,
}

/// A method as written.
pub(crate) struct WrittenMethod {
    pub(crate) method: TraitItemFn,
    /// The arguments of `#[rpc(..)]`; `None` if the method has no such attribute.
    pub(crate) args: Option<Args>,
}

impl ServiceTrait {
    /// Reads a trait, removes `#[rpc(..)]` from its methods, and reports mistakes in these attributes.
    ///
    /// # Errors
    ///
    /// If rustc would refuse the trait.
    pub(crate) fn parse(item: TokenStream, report: &mut Report) -> syn::Result<Self> {
        let mut item: ItemTrait = syn::parse2(item)?;
        let mut methods = Vec::new();
        for part in &mut item.items {
            if let TraitItem::Fn(method) = part {
                let args = take_rpc(&mut method.attrs, report);
                methods.push(WrittenMethod { method: method.clone(), args });
                for input in &mut method.sig.inputs {
                    if let FnArg::Typed(param) = input {
                        param.attrs.retain(|attr| !is_mark(attr));
                    }
                }
            }
        }
        Ok(ServiceTrait { item, methods })
    }

    /// The name of the type with the dispatch table.
    pub(crate) fn service_name(&self) -> Ident {
        format_ident!("{}Service", self.item.ident.unraw(), span = self.item.ident.span())
    }

    /// The name of the type that stands for a method. Its parameter is the index of the method.
    pub(crate) fn method_name(&self) -> Ident {
        format_ident!("{}Method", self.item.ident.unraw(), span = self.item.ident.span())
    }

    /// The name of the client.
    pub(crate) fn client_name(&self) -> Ident {
        format_ident!("{}Client", self.item.ident.unraw(), span = self.item.ident.span())
    }

    /// The name of the client for tasks.
    pub(crate) fn async_client_name(&self) -> Ident {
        format_ident!("{}AsyncClient", self.item.ident.unraw(), span = self.item.ident.span())
    }

    /// The name of the client whose methods start calls.
    pub(crate) fn starter_name(&self) -> Ident {
        format_ident!("{}Starter", self.item.ident.unraw(), span = self.item.ident.span())
    }
}

fn take_rpc(attrs: &mut Vec<Attribute>, report: &mut Report) -> Option<Args> {
    let mut found = None;
    attrs.retain(|attr| {
        if crate::endpoint::check::is_tachyon_rpc(attr) {
            report.at(attr, "a method of a service is marked with `rpc`: write `#[rpc(msg_type = N)]`");
            // Do not report `rpc` as missing, too.
            found.get_or_insert(None);
            return false;
        }
        if !attr.path().is_ident("rpc") {
            return true;
        }
        if found.is_some() {
            report.at(attr, "a method is one endpoint with one `msg_type`: keep one `rpc`");
            return false;
        }
        let tokens = match &attr.meta {
            syn::Meta::List(list) => list.tokens.clone(),
            syn::Meta::Path(_) => TokenStream::new(),
            syn::Meta::NameValue(_) => {
                report.at(attr, "expected `#[rpc(msg_type = N)]`");
                found = Some(None);
                return false;
            }
        };
        found = Some(Some(Args::parse(Attr::Method, tokens, attr.path().span(), report)));
        false
    });
    found.map(|args| args.unwrap_or_else(Args::none))
}

/// A trait that keeps every rule.
pub(crate) struct Service<'a> {
    pub(crate) declared: &'a ServiceTrait,
    pub(crate) library: &'a Path,
    pub(crate) methods: Vec<Method<'a>>,
}

/// A method that keeps every rule.
pub(crate) struct Method<'a> {
    pub(crate) declared: &'a TraitItemFn,
    pub(crate) msg_type: MsgType<'a>,
    /// Whether it takes `&mut self`.
    pub(crate) exclusive: bool,
    pub(crate) params: Params<'a>,
    pub(crate) reply: ReplyForm<'a>,
    /// Whether the codec is msgpack.
    pub(crate) is_packed: bool,
}

impl Method<'_> {
    /// Whether a call opens a stream.
    pub(crate) fn is_stream(&self) -> bool {
        self.reply.stream().is_some() || self.params.items().is_some()
    }
}

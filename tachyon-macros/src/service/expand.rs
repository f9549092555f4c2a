//! The code for a service that keeps every rule.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{ItemTrait, Path, ReturnType, TraitItem, parse_quote, parse_quote_spanned};

use super::model::{Method, Service};
use crate::attrs;
use crate::contract::handler::{self, Access};
use crate::contract::{Contract, client};
use crate::endpoint::asynchronous::outlives_request;
use crate::endpoint::expand::{msg_type, needs_tokio};
use crate::endpoint::model::MsgType;
use crate::endpoint::streams::add_bounds;
use crate::library::private;
use crate::span::{SpanRange, generated};

/// ```text
///                                       pub trait Pricing { .. }
/// #[tachyon_rpc]
/// pub trait Pricing {                   pub struct PricingService {}
///     #[rpc(msg_type = 1)]              pub struct PricingMethod<const AT: usize> {}
///     fn price(&self, request: &Q)  =>  impl Contract for PricingMethod<0> { .. }   // what travels, as types
///         -> R;                         impl PricingService { endpoints(), dispatcher() }
/// }
///                                       pub struct PricingClient<C> { .. }
///                                       impl<C: Calls> PricingClient<C> { pub fn price(&mut self, request: &Q) -> .. }
///                                       pub struct PricingStarter<C> { .. }
///                                       impl<C: HasCaller> PricingStarter<C> { pub fn price(self, ..) -> Started<..> }
/// ```
pub(crate) fn service(service: &Service<'_>) -> TokenStream {
    let item = &service.declared.item;
    let private = private(service.library);
    let written = with_futures(item, &private);
    let needs_tokio = needs_tokio(&private, service.methods.iter().map(|method| &method.declared.sig), &quote!());
    let contracts = contracts(service, &private);
    let server = server_items(service, &private);
    let client = client_items(service, &private);
    let async_client = async_client_items(service, &private);
    let shared = attrs::shared(&item.attrs);
    let (vis, name) = (&item.vis, generated(service.declared.service_name()));
    let doc = format!("The service `{}`: a dispatch table for any implementor.", item.ident.unraw());
    // A derive writes the code: see `helper`.
    quote! {
        #written
        #needs_tokio

        #[doc = #doc]
        #shared
        #[derive(#private::Emit)]
        #[__tachyon { #contracts #server #client #async_client }]
        #[non_exhaustive]
        #vis struct #name {}
    }
}

/// ```text
/// trait Pricing {                          trait Pricing {
///     async fn price(&self) -> R;    =>        fn price(&self) -> impl Future<Output = R> + Send;
/// }                                        }
/// ```
///
/// An implementor writes `async fn`. A trait's own `async fn` would not promise that its future is `Send`.
fn with_futures(item: &ItemTrait, private: &Path) -> ItemTrait {
    let mut item = item.clone();
    for part in &mut item.items {
        let TraitItem::Fn(method) = part else { continue };
        add_bounds(&mut method.sig.output, private);
        if method.sig.asyncness.take().is_none() {
            continue;
        }
        let reply = match &method.sig.output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, ty) => ty.to_token_stream(),
        };
        method.sig.output =
            parse_quote_spanned!(Span::mixed_site()=> -> impl #private::Future<Output = #reply> + #private::Send);
        if let Some(body) = &method.default {
            method.default = Some(parse_quote_spanned!(Span::mixed_site()=> { async move #body }));
            // The future of the trait's own body borrows the implementor.
            method.sig.generics.make_where_clause().predicates.push(parse_quote!(Self: #private::Sync));
        }
    }
    item
}

/// The contract of the method with this index.
fn contract_of<'a>(service: &'a Service<'_>, private: &'a Path, at: usize) -> Contract<'a> {
    let method = &service.methods[at];
    let marker = service.declared.method_name();
    Contract {
        private,
        marker: quote!(#marker<#at>),
        name: method.declared.sig.ident.unraw().to_string(),
        params: &method.params,
        reply: &method.reply,
        is_packed: method.is_packed,
    }
}

/// ```text
/// #[rpc(msg_type = 1)]                   impl Contract for PricingMethod<0> {
/// fn price(&self, request: &Q)      =>       type Reply = ..;
///     -> Result<R, E>;                       type Error = ..;
///                                            const SIGNATURE: &'static Signature = &Signature::of(1, "price", ..);
///                                        }
/// ```
fn contracts(service: &Service<'_>, private: &Path) -> TokenStream {
    let marker = service.declared.method_name();
    let vis = &service.declared.item.vis;
    let mut tokens = TokenStream::new();
    let (mut listed, mut asserted) = (Vec::new(), Vec::new());
    for (ordinal, method) in service.methods.iter().enumerate() {
        let sig = &method.declared.sig;
        let shared = conditions(service, method);
        let contract = contract_of(service, private, ordinal);
        let number = msg_type(&method.msg_type);
        let text = sig.ident.unraw().to_string();
        let doc = attrs::documentation(&method.declared.attrs, private);
        let items = contract.items(&shared);
        let streams = contract.stream_impls(&shared);
        let (reply, error) = (contract.reply_type(), contract.error_type());
        let signature = contract.signature(&number, &doc);
        tokens.extend(quote_spanned! {Span::mixed_site()=>
            #items
            #shared
            #[automatically_derived]
            impl #private::Contract for #marker<#ordinal> {
                type Reply = #reply;
                type Error = #error;
                const SIGNATURE: &'static #private::Signature = #signature;
            }
            #streams
        });
        listed.push(quote!(#shared #private::Listed::new(#ordinal, #text, #private::Option::Some(#number))));
        let span = SpanRange::of(&number);
        let own = span.located(quote!(#private::assert_own_msg_type(_LISTED, #ordinal)));
        asserted.push(quote!(#shared const _: () = #own;));
        if let MsgType::Constant(_) = method.msg_type {
            let assert = span.located(quote!(#private::assert_msg_type(#number)));
            asserted.push(quote!(#shared const _: () = #assert;));
        }
    }
    let shared = attrs::shared(&service.declared.item.attrs);
    quote_spanned! {Span::mixed_site()=>
        #[doc(hidden)]
        #shared
        #[non_exhaustive]
        #vis struct #marker<const AT: #private::usize> {}
        #tokens
        #shared
        const _: () = {
            const _LISTED: &[#private::Listed] = &[#(#listed),*];
            #(#asserted)*
        };
    }
}

/// The conditions and lint levels of a method's items.
fn conditions(service: &Service<'_>, method: &Method<'_>) -> TokenStream {
    let mut shared = attrs::shared(&service.declared.item.attrs);
    shared.extend(attrs::shared(&method.declared.attrs));
    shared
}

/// ```text
/// pub trait Pricing   =>   pub struct PricingService {}
///                          impl PricingService {
///                              pub fn endpoints<Implementor: Pricing + 'static>() -> &'static [Entry<Implementor>];
///                              pub fn dispatcher<Implementor: Pricing + 'static>(..) -> Dispatcher<Implementor>;
///                              pub fn shared<Implementor: Pricing + 'static>(..) -> Dispatcher<Implementor>;
///                          }
/// ```
fn server_items(service: &Service<'_>, private: &Path) -> TokenStream {
    let item = &service.declared.item;
    let trait_name = &item.ident;
    let (name, marker) = (service.declared.service_name(), service.declared.method_name());
    let shared = attrs::shared(&item.attrs);
    let entries = service.methods.iter().enumerate().map(|(ordinal, method)| {
        let function = &method.declared.sig.ident;
        let shared = attrs::shared(&method.declared.attrs);
        let contract = contract_of(service, private, ordinal);
        let function = quote_spanned!(Span::mixed_site()=> <Implementor as #trait_name>::#function);
        let implementor = quote_spanned!(Span::mixed_site()=> Implementor);
        let access = match (method.declared.sig.asyncness, method.exclusive) {
            (Some(_), _) => Access::Async(Some(&implementor)),
            (None, _) if method.params.has_streams() => Access::Thread(Some(&implementor)),
            (None, true) => Access::Exclusive,
            (None, false) => Access::Shared,
        };
        let handler = handler::handler(&contract, &function, access, true);
        quote_spanned! {Span::mixed_site()=>
            #shared
            #private::Entry::new(
                <#marker<#ordinal> as #private::Contract>::SIGNATURE,
                #handler,
            )
        }
    });
    let shareable = if service.methods.iter().any(|method| method.exclusive) {
        quote!(#private::NeverChanged)
    } else {
        quote!(#private::Send + #private::Sync)
    };
    // The tasks and threads of such methods share the implementor.
    let is_shared = |method: &Method<'_>| outlives_request(&method.declared.sig, &method.params);
    let bound = if service.methods.iter().any(is_shared) {
        quote!(#trait_name + #private::Send + #private::Sync)
    } else {
        quote!(#trait_name)
    };
    quote_spanned! {Span::mixed_site()=>
        // In an `impl` and not in `endpoints` itself: so the trait's methods are used, even in a crate with callers
        // only.
        #shared
        #[automatically_derived]
        impl<Implementor: #bound + 'static> #private::Serves<#name> for #private::PhantomData<Implementor> {
            type Implementor = Implementor;
            const ENTRIES: &'static [#private::Entry<Implementor>] = &[#(#entries),*];
        }

        #shared
        #[automatically_derived]
        impl #name {
            /// The dispatch table. The state of its dispatcher is an implementor.
            pub const fn endpoints<Implementor: #bound + 'static>() -> &'static [#private::Entry<Implementor>] {
                <#private::PhantomData<Implementor> as #private::Serves<#name>>::ENTRIES
            }

            /// A dispatcher that serves `implementor`.
            pub fn dispatcher<Implementor: #bound + 'static>(
                implementor: Implementor,
            ) -> #private::Dispatcher<Implementor> {
                #private::Dispatcher::with_state(implementor, Self::endpoints())
            }

            /// A dispatcher that serves `implementor` beside its other owners.
            pub fn shared<Implementor: #bound + #shareable + 'static>(
                implementor: #private::Arc<Implementor>,
            ) -> #private::Dispatcher<Implementor> {
                #private::Dispatcher::with_shared(implementor, Self::endpoints())
            }
        }
    }
}

/// ```text
/// pub trait Pricing              =>   pub struct PricingClient<C> { calls: With<C> }
///     fn price(&self,                 impl<C: Calls> PricingClient<C> {
///         request: &Q) -> R;              pub fn price(&mut self, request: &Q) -> Result<R, CallError>;
///                                     }
///                                     pub struct PricingStarter<C> { calls: C }
///                                     impl<C: HasCaller> PricingStarter<C> {
///                                         pub fn price(mut self, request: &Q) -> Result<Started<..>, CallError>;
///                                     }
/// ```
fn client_items(service: &Service<'_>, private: &Path) -> TokenStream {
    let item = &service.declared.item;
    let (trait_name, vis) = (item.ident.unraw(), &item.vis);
    let (name, starter, marker) =
        (service.declared.client_name(), service.declared.starter_name(), service.declared.method_name());
    let shared = attrs::shared(&item.attrs);
    let doc = format!("The client of the service `{trait_name}`: its methods call the implementor in another process.");
    let starter_doc = format!(
        "Sends one call of the service `{trait_name}`, and does not wait for the reply: see `{name}::starting`."
    );
    let (calls, starts): (Vec<_>, Vec<_>) = service
        .methods
        .iter()
        .enumerate()
        .map(|(ordinal, method)| {
            let contract = contract_of(service, private, ordinal);
            let own = quote!(#marker<#ordinal>);
            if contract.is_stream() {
                return (open_method(method, &contract, &own), TokenStream::new());
            }
            (call_method(method, &contract, &own), start_method(method, &contract, &own))
        })
        .unzip();
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        ///
        /// It owns its caller, or borrows it: any type that implements `tachyon::rpc::Calls`.
        #shared
        #[derive(#private::Debug)]
        #vis struct #name<C> {
            calls: #private::With<C>,
        }

        #shared
        #[automatically_derived]
        impl<C: #private::Calls> #name<C> {
            /// A client that calls through `calls`, such as a `Caller`, a `&mut Caller` or a `&Pool`.
            pub fn new(calls: C) -> Self {
                Self { calls: #private::With::new(calls) }
            }

            /// Limits each call of the client to `timeout`.
            #[must_use]
            pub fn within(self, timeout: #private::Duration) -> Self {
                Self { calls: self.calls.within(timeout) }
            }

            /// Sends a text with each call of the client. A key or a text that cannot travel is an error of the call.
            #[must_use]
            pub fn metadata(self, key: &#private::str, value: &#private::str) -> Self {
                Self { calls: self.calls.metadata(key, value) }
            }

            /// Says that the callee may run each call of the client twice: a call that is lost is made again.
            #[must_use]
            pub fn idempotent(self) -> Self {
                Self { calls: self.calls.idempotent() }
            }

            /// Lets the callee of a stream send at most so many items ahead of the one that the client takes.
            #[must_use]
            pub fn window(self, items: #private::u32) -> Self {
                Self { calls: self.calls.window(items) }
            }

            /// Starts a call without waiting for its reply: `client.starting().method(..)?` gives a `Started`, whose
            /// `finish(client.get_mut())` waits. Any number of calls may be outstanding.
            pub fn starting(&mut self) -> #starter<&mut #private::With<C>>
            where
                C: #private::HasCaller,
            {
                #starter { calls: &mut self.calls }
            }

            /// The caller, without the settings of the client.
            pub fn get_mut(&mut self) -> &mut C {
                self.calls.get_mut()
            }

            /// The caller, for good.
            pub fn into_inner(self) -> C {
                self.calls.into_inner()
            }

            #(#calls)*
        }

        #[doc = #starter_doc]
        #shared
        #[derive(#private::Debug)]
        #[must_use = "a call is sent by the method of its name"]
        #vis struct #starter<C> {
            calls: C,
        }

        #shared
        #[automatically_derived]
        impl<C: #private::HasCaller> #starter<C> {
            #(#starts)*
        }
    }
}

/// The method of the client.
fn call_method(method: &Method<'_>, contract: &Contract<'_>, own: &TokenStream) -> TokenStream {
    let private = contract.private;
    let function = &method.declared.sig.ident;
    let docs = method_docs(method);
    let deprecation = attrs::deprecation(&method.declared.attrs);
    let shared = attrs::shared(&method.declared.attrs);
    let params = client::params(contract);
    let lifetime = client::lifetime(contract);
    let (views, request) = client::request(contract);
    let (returned, spell) = client::reply(contract, own);
    let shown = client::doc_signature(contract);
    quote_spanned! {Span::mixed_site()=>
        #docs
        ///
        /// ```text
        #[doc = #shown]
        /// ```
        ///
        /// # Errors
        ///
        /// A `CallError` if the request cannot be sent, if no reply arrives in time, or if the reply is an error.
        #shared
        #deprecation
        pub fn #function<#lifetime>(&mut self, #params) -> #returned {
            #views
            #private::call::<#own>(&mut self.calls, &#request)#spell
        }
    }
}

/// The method of the client that opens a stream.
fn open_method(method: &Method<'_>, contract: &Contract<'_>, own: &TokenStream) -> TokenStream {
    let private = contract.private;
    let function = &method.declared.sig.ident;
    let docs = method_docs(method);
    let deprecation = attrs::deprecation(&method.declared.attrs);
    let shared = attrs::shared(&method.declared.attrs);
    let params = client::params(contract);
    let lifetime = client::lifetime(contract);
    let (views, request) = client::request(contract);
    let opened = client::opened(contract, own);
    let shown = client::doc_signature(contract);
    quote_spanned! {Span::mixed_site()=>
        #docs
        ///
        /// ```text
        #[doc = #shown]
        /// ```
        ///
        /// Dropping the stream cancels it.
        ///
        /// # Errors
        ///
        /// A `CallError` if the request cannot be sent, or if too many streams are open.
        #shared
        #deprecation
        pub fn #function<'c, #lifetime>(&'c mut self, #params) -> #opened
        where
            C: #private::HasCaller,
        {
            #views
            #private::open::<#own>(&mut self.calls, &#request)
        }
    }
}

/// The method of the starter.
fn start_method(method: &Method<'_>, contract: &Contract<'_>, own: &TokenStream) -> TokenStream {
    let private = contract.private;
    let function = &method.declared.sig.ident;
    let deprecation = attrs::deprecation(&method.declared.attrs);
    let shared = attrs::shared(&method.declared.attrs);
    let params = client::params(contract);
    let lifetime = client::lifetime(contract);
    let (views, request) = client::request(contract);
    let doc = format!("Sends a request to `{}`. `Started::finish` waits for the reply.", function.unraw());
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        ///
        /// # Errors
        ///
        /// A `CallError`. The request has not been sent then.
        #shared
        #deprecation
        pub fn #function<#lifetime>(
            mut self,
            #params
        ) -> #private::Result<#private::Started<#own>, #private::CallError<<#own as #private::Contract>::Error>> {
            #views
            #private::start::<#own>(&mut self.calls, &#request)
        }
    }
}

/// ```text
/// pub trait Pricing              =>   with_tokio! {
///     fn price(&self,                     pub struct PricingAsyncClient { caller: AsyncCaller }
///         request: &Q) -> R;              impl PricingAsyncClient {
///                                             pub async fn price(&self, request: &Q) -> Result<R, CallError>;
///                                         }
///                                     }
/// ```
fn async_client_items(service: &Service<'_>, private: &Path) -> TokenStream {
    let item = &service.declared.item;
    let (trait_name, vis) = (item.ident.unraw(), &item.vis);
    let name = service.declared.async_client_name();
    let shared = attrs::shared(&item.attrs);
    let doc = format!(
        "The client of the service `{trait_name}` for tasks: its methods call the implementor in another process. \
         Clones share one connection."
    );
    let methods = (0..service.methods.len()).map(|ordinal| async_method(service, private, ordinal));
    quote_spanned! {Span::mixed_site()=>
        #private::with_tokio! {
            #[doc = #doc]
            #shared
            #[derive(#private::Clone, #private::Debug)]
            #vis struct #name {
                caller: #private::AsyncCaller,
            }

            #shared
            #[automatically_derived]
            impl #name {
                /// A client that calls over the connection of `caller`.
                pub fn new(caller: #private::AsyncCaller) -> Self {
                    Self { caller }
                }

                /// Limits each call of the client to `timeout`.
                #[must_use]
                pub fn within(self, timeout: #private::Duration) -> Self {
                    Self { caller: self.caller.within(timeout) }
                }

                /// Says that the callee may run each call of the client twice: a call that is lost is made again, if
                /// the caller reconnects.
                #[must_use]
                pub fn idempotent(self) -> Self {
                    Self { caller: self.caller.idempotent() }
                }

                /// Sends a text with each call of the client. A key or a text that cannot travel is an error of the
                /// call.
                #[must_use]
                pub fn metadata(self, key: &#private::str, value: &#private::str) -> Self {
                    Self { caller: self.caller.metadata(key, value) }
                }

                /// Lets the callee of a stream send at most so many items ahead of the one that the client takes.
                #[must_use]
                pub fn window(self, items: #private::u32) -> Self {
                    Self { caller: self.caller.window(items) }
                }

                /// The caller, with the settings of the client.
                pub fn into_inner(self) -> #private::AsyncCaller {
                    self.caller
                }

                #(#methods)*
            }
        }
    }
}

fn async_method(service: &Service<'_>, private: &Path, ordinal: usize) -> TokenStream {
    let method = &service.methods[ordinal];
    let function = &method.declared.sig.ident;
    let docs = method_docs(method);
    let deprecation = attrs::deprecation(&method.declared.attrs);
    let shared = attrs::shared(&method.declared.attrs);
    let contract = contract_of(service, private, ordinal);
    let marker = service.declared.method_name();
    let own = quote!(#marker<#ordinal>);
    let params = client::params(&contract);
    let lifetime = client::lifetime(&contract);
    let (views, request) = client::request(&contract);
    let (returned, spell) = client::reply(&contract, &own);
    let shown = client::doc_signature(&contract);
    if contract.is_stream() {
        let opened = client::opened_async(&contract, &own);
        return quote_spanned! {Span::mixed_site()=>
            #docs
            ///
            /// ```text
            #[doc = #shown]
            /// ```
            ///
            /// Dropping the stream cancels it.
            ///
            /// # Errors
            ///
            /// A `CallError` if the request cannot be sent, or if too many streams are open.
            #shared
            #deprecation
            pub async fn #function<#lifetime>(&self, #params) -> #opened {
                #views
                #private::stream::<#own>(&self.caller, #request).await
            }
        };
    }
    quote_spanned! {Span::mixed_site()=>
        #docs
        ///
        /// ```text
        #[doc = #shown]
        /// ```
        ///
        /// Dropping the future cancels the call.
        ///
        /// # Errors
        ///
        /// A `CallError` if the request cannot be sent, if no reply arrives in time, or if the reply is an error.
        #shared
        #deprecation
        pub async fn #function<#lifetime>(&self, #params) -> #returned {
            #views
            #private::call_async::<#own>(&self.caller, #request).await #spell
        }
    }
}

/// The documentation of a method, or a sentence in its place.
fn method_docs(method: &Method<'_>) -> TokenStream {
    let sig = &method.declared.sig;
    let mut docs = method.declared.attrs.iter().filter(|attr| attr.path().is_ident("doc")).peekable();
    if docs.peek().is_some() {
        return docs.map(ToTokens::to_token_stream).collect();
    }
    let name = sig.ident.unraw();
    let called = if method.is_stream() {
        format!("Opens a stream of `{name}`.")
    } else {
        format!("Calls `{name}` and returns the reply as an owned value.")
    };
    quote!(#[doc = #called])
}

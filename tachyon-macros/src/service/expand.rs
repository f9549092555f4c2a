//! The code for a service that keeps every rule.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;
use syn::ext::IdentExt;

use super::model::{Method, Service};
use crate::attrs;
use crate::contract::{Contract, client, handler};
use crate::endpoint::expand::msg_type;
use crate::endpoint::model::MsgType;
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
///                                       pub struct PricingClient<'c> { .. }
///                                       impl PricingClient<'_> { pub fn price(&mut self, request: &Q) -> .. }
/// ```
pub(crate) fn service(service: &Service<'_>) -> TokenStream {
    let item = &service.declared.item;
    let private = private(service.library);
    let contracts = contracts(service, &private);
    let server = server_items(service, &private);
    let client = client_items(service, &private);
    let shared = attrs::shared(&item.attrs);
    let (vis, name) = (&item.vis, generated(service.declared.service_name()));
    let doc = format!("The service `{}`: a dispatch table for any implementor.", item.ident.unraw());
    // A derive writes the code: see `helper`.
    quote! {
        #item

        #[doc = #doc]
        #shared
        #[derive(#private::Emit)]
        #[__tachyon { #contracts #server #client }]
        #[non_exhaustive]
        #vis struct #name {}
    }
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
        let state = quote_spanned!(Span::mixed_site()=> __state);
        let handler = handler::handler(&contract, &function, Some(&state));
        let kind = if method.exclusive { quote!(Exclusive) } else { quote!(Shared) };
        quote_spanned! {Span::mixed_site()=>
            #shared
            #private::Entry::new(
                <#marker<#ordinal> as #private::Contract>::SIGNATURE,
                #private::EntryHandler::#kind(|__state, __request, __reply| #handler),
            )
        }
    });
    quote_spanned! {Span::mixed_site()=>
        // In an `impl` and not in `endpoints` itself: so the trait's methods are used, even in a crate with callers
        // only.
        #shared
        #[automatically_derived]
        impl<Implementor: #trait_name + 'static> #private::Serves<#name> for #private::PhantomData<Implementor> {
            type Implementor = Implementor;
            const ENTRIES: &'static [#private::Entry<Implementor>] = &[#(#entries),*];
        }

        #shared
        #[automatically_derived]
        impl #name {
            /// The dispatch table. The state of its dispatcher is an implementor.
            pub fn endpoints<Implementor: #trait_name + 'static>() -> &'static [#private::Entry<Implementor>] {
                <#private::PhantomData<Implementor> as #private::Serves<#name>>::ENTRIES
            }

            /// A dispatcher that serves `implementor`.
            pub fn dispatcher<Implementor: #trait_name + 'static>(
                implementor: Implementor,
            ) -> #private::Dispatcher<Implementor> {
                #private::Dispatcher::with_state(implementor, Self::endpoints())
            }
        }
    }
}

/// ```text
/// pub trait Pricing              =>   pub struct PricingClient<'c> { caller, timeout }
///     fn price(&self,                 impl PricingClient<'_> {
///         request: &Q) -> R;              pub fn price(&mut self, request: &Q) -> Result<R, CallError>;
///                                     }
/// ```
fn client_items(service: &Service<'_>, private: &Path) -> TokenStream {
    let item = &service.declared.item;
    let (trait_name, vis) = (item.ident.unraw(), &item.vis);
    let (name, marker) = (service.declared.client_name(), service.declared.method_name());
    let shared = attrs::shared(&item.attrs);
    let doc = format!("The client of the service `{trait_name}`: its methods call the implementor in another process.");
    let methods = service.methods.iter().enumerate().map(|(ordinal, method)| {
        let function = &method.declared.sig.ident;
        let docs = method.declared.attrs.iter().filter(|attr| attr.path().is_ident("doc"));
        let deprecation = attrs::deprecation(&method.declared.attrs);
        let shared = attrs::shared(&method.declared.attrs);
        let contract = contract_of(service, private, ordinal);
        let own = quote!(#marker<#ordinal>);
        let params = client::params(&contract);
        let lifetime = client::lifetime(&contract);
        let (views, request) = client::request(&contract);
        let (returned, spell) = client::reply(&contract, &own);
        let called = format!("Calls `{}` and returns the reply as an owned value.", function.unraw());
        let docs = if docs.clone().next().is_some() {
            docs.map(ToTokens::to_token_stream).collect()
        } else {
            quote!(#[doc = #called])
        };
        let shown = client::doc_signature(&contract);
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
                #private::call::<#own>(&mut #private::Limited::new(self.caller, self.timeout), &#request)#spell
            }
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        #shared
        #vis struct #name<'c> {
            caller: &'c mut #private::Caller,
            timeout: #private::Option<#private::Duration>,
        }

        #shared
        #[automatically_derived]
        impl<'c> #name<'c> {
            /// A client that calls over the connection of `caller`.
            pub fn new(caller: &'c mut #private::Caller) -> Self {
                Self { caller, timeout: #private::Option::None }
            }

            /// Limits each call of the client to `timeout`.
            #[must_use]
            pub fn within(self, timeout: #private::Duration) -> Self {
                Self { caller: self.caller, timeout: #private::Option::Some(timeout) }
            }

            #(#methods)*
        }
    }
}

//! The code for a service that keeps every rule.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;
use syn::ext::IdentExt;

use super::model::{Method, Service};
use crate::attrs;
use crate::expand::{answer, msg_type, private, request_of_client};
use crate::model::MsgType;
use crate::place::Place;
use crate::wire;

/// ```text
///                                       pub trait Pricing { .. }
/// #[tachyon_rpc]
/// pub trait Pricing {                   pub struct PricingService {}
///     #[rpc(msg_type = 1)]              impl Method<0> for PricingService { .. }   // what travels, as types
///     fn price(&self, request: &Q)  =>  impl PricingService { endpoints(), dispatcher() }
///         -> R;
/// }                                     pub struct PricingClient<'c> { .. }
///                                       impl PricingClient<'_> { pub fn price(&mut self, request: &Q) -> .. }
/// ```
pub(crate) fn service(service: &Service<'_>) -> TokenStream {
    let item = &service.declared.item;
    let private = private(service.library);
    let contract = contract(service, &private);
    let server = server(service, &private);
    let client = client(service, &private);
    quote! {
        #item
        #contract
        #server
        #client
    }
}

/// ```text
/// #[rpc(msg_type = 1)]                   impl Method<0> for PricingService {
/// fn price(&self, request: &Q)      =>       type Request = Q;
///     -> Result<R, E>;                       type Reply = <Result<R, E> as IntoReply>::Wire;
///                                            const SIGNATURE: &'static Signature = &Signature::new(1, "price", "..");
///                                        }
/// ```
///
/// Every type that travels is written down here and nowhere else, so that a mistake in it is reported once.
fn contract(service: &Service<'_>, private: &Path) -> TokenStream {
    let name = service.declared.service_name();
    let mut tokens = TokenStream::new();
    let (mut listed, mut asserted) = (Vec::new(), Vec::new());
    for (ordinal, method) in service.methods.iter().enumerate() {
        let sig = &method.declared.sig;
        let shared = conditions(service, method);
        let request = wire::request(&method.shape.request);
        let reply = wire::reply(&method.shape.reply, private);
        let number = msg_type(&method.msg_type);
        let text = sig.ident.unraw().to_string();
        let doc = attrs::documentation(&method.declared.attrs, private);
        tokens.extend(quote_spanned! {Span::mixed_site()=>
            #shared
            #[automatically_derived]
            impl #private::Method<#ordinal> for #name {
                type Request = #request;
                type Reply = #reply;
                const SIGNATURE: &'static #private::Signature = &#private::Signature::new::<
                    <Self as #private::Method<#ordinal>>::Request,
                    <Self as #private::Method<#ordinal>>::Reply,
                >(#number, #text, #doc);
            }
        });
        listed.push(quote!(#shared #private::Listed::new(#ordinal, #text, #private::Option::Some(#number))));
        let place = Place::of(&number);
        let own = place.take(quote!(#private::assert_own_msg_type(LISTED, #ordinal)));
        asserted.push(quote!(#shared const _: () = #own;));
        if let MsgType::Constant(_) = method.msg_type {
            let assert = place.take(quote!(#private::assert_msg_type(#number)));
            asserted.push(quote!(#shared const _: () = #assert;));
        }
    }
    let shared = attrs::shared(&service.declared.item.attrs);
    quote_spanned! {Span::mixed_site()=>
        #tokens
        #shared
        const _: () = {
            #[allow(dead_code, reason = "a service without methods compares nothing")]
            const LISTED: &[#private::Listed] = &[#(#listed),*];
            #(#asserted)*
        };
    }
}

/// The conditions under which a method's items exist.
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
fn server(service: &Service<'_>, private: &Path) -> TokenStream {
    let item = &service.declared.item;
    let (trait_name, vis) = (&item.ident, &item.vis);
    let name = service.declared.service_name();
    let shared = attrs::shared(&item.attrs);
    let entries = service.methods.iter().enumerate().map(|(ordinal, method)| {
        let sig = &method.declared.sig;
        let function = &sig.ident;
        let shared = attrs::shared(&method.declared.attrs);
        let contract = quote!(#private::MethodOf<#name, #ordinal>);
        let function = quote_spanned!(Span::mixed_site()=> <Implementor as #trait_name>::#function);
        let state = quote_spanned!(Span::mixed_site()=> state,);
        let answer = answer(&method.shape, private, &function, Some(&state), &contract);
        let kind = if method.exclusive { quote!(Exclusive) } else { quote!(Shared) };
        quote_spanned! {Span::mixed_site()=>
            #shared
            #private::Entry::new(
                <#name as #private::Method<#ordinal>>::SIGNATURE,
                #private::EntryHandler::#kind(|state, request, reply| #answer),
            )
        }
    });
    let doc = format!("The service `{}`: a dispatch table for anything that implements it.", trait_name.unraw());
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        #shared
        #vis struct #name {}

        #shared
        #[allow(deprecated, reason = "whoever calls the endpoint is warned")]
        #[automatically_derived]
        impl #name {
            /// The table of an implementor, which is the state of the dispatcher that gets it.
            pub fn endpoints<Implementor: #trait_name + 'static>() -> &'static [#private::Entry<Implementor>] {
                const { &[#(#entries),*] }
            }

            /// A dispatcher that serves an implementor.
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
///         request: &Q) -> R;              pub fn price(&mut self, request: &Q) -> Result<ReplyGuard<'_, R>, CallError>;
///                                     }
/// ```
fn client(service: &Service<'_>, private: &Path) -> TokenStream {
    let item = &service.declared.item;
    let (trait_name, vis) = (item.ident.unraw(), &item.vis);
    let (name, contract_name) = (service.declared.client_name(), service.declared.service_name());
    let shared = attrs::shared(&item.attrs);
    let doc = format!("The client of the service `{trait_name}`: its methods call those of an implementor elsewhere.");
    let methods = service.methods.iter().enumerate().map(|(ordinal, method)| {
        let function = &method.declared.sig.ident;
        let docs = method.declared.attrs.iter().filter(|attr| attr.path().is_ident("doc"));
        let deprecation = attrs::deprecation(&method.declared.attrs);
        let shared = attrs::shared(&method.declared.attrs);
        let (param, argument) = request_of_client(&method.shape);
        let contract = quote!(#private::MethodOf<#contract_name, #ordinal>);
        let returned = quote!(#private::Result<#private::ReplyGuard<'_, <#contract_name as #private::Method<#ordinal>>::Reply>, #private::CallError>);
        let returned = wire::returned(&method.shape.reply, returned);
        let body = quote_spanned! {Span::mixed_site()=>
            #private::call::<#contract>(self.caller, #argument, self.timeout)
        };
        let body = wire::returned(&method.shape.reply, body);
        let called = format!("Calls `{}` and waits for its reply.", function.unraw());
        let docs = if docs.clone().next().is_some() {
            docs.map(ToTokens::to_token_stream).collect()
        } else {
            quote!(#[doc = #called])
        };
        quote_spanned! {Span::mixed_site()=>
            #docs
            ///
            /// # Errors
            ///
            /// A `CallError` when the request cannot be sent, when no reply comes, and when the reply is an error.
            #shared
            #deprecation
            pub fn #function(
                &mut self,
                #param
            ) -> #returned {
                #body
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
            /// A client that calls over a connection.
            pub fn new(caller: &'c mut #private::Caller) -> Self {
                Self { caller, timeout: #private::Option::None }
            }

            /// The same client, whose calls take at most `timeout` each.
            #[must_use]
            pub fn with_timeout(self, timeout: #private::Duration) -> Self {
                Self { caller: self.caller, timeout: #private::Option::Some(timeout) }
            }

            #(#methods)*
        }
    }
}

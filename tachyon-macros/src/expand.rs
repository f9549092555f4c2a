//! The code for an endpoint that keeps every rule.
//!
//! It names `::tachyon::__private` and nothing else, so that nothing the user has in scope can change its meaning.
//! Local names are hygienic for the same reason: an endpoint may be called `request` or `reply`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Path, parse_quote};

use crate::attrs;
use crate::model::{Endpoint, MsgType, ReplyForm, RequestForm};
use crate::place::Place;

/// ```text
/// /// Doubles.                               /// Doubles.
/// #[tachyon_rpc(msg_type = 7)]               pub fn double(payload: &[u8]) -> Vec<u8> { .. }
/// pub fn double(payload: &[u8]) -> Vec<u8>
///     { .. }                                 pub struct double {}
///                                       =>   impl double {
///                                                pub const MSG_TYPE: u16 = 7;
///                                                pub fn call(..) { .. }
///                                                pub fn call_timeout(..) { .. }
///                                            }
///                                            impl Endpoint for double { .. }
/// ```
pub(crate) fn endpoint(endpoint: &Endpoint<'_>, item: &TokenStream) -> TokenStream {
    let marker = marker(endpoint);
    let client = client(endpoint);
    let entry = entry(endpoint);
    quote! {
        #item
        #marker
        #client
        #entry
    }
}

/// The module that generated code names.
pub(crate) fn private(library: &Path) -> Path {
    parse_quote!(#library::__private)
}

/// ```text
/// pub fn double(..)   =>   pub struct double {}
/// ```
///
/// The braces keep it out of the namespace of values, where the function is.
fn marker(endpoint: &Endpoint<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let vis = &endpoint.function.vis;
    let shared = attrs::shared(&endpoint.function.attrs);
    let deprecation = attrs::deprecation(&endpoint.function.attrs);
    let doc = format!(
        "The endpoint made of the function `{}`: its `MSG_TYPE`, its client, and its entry in a dispatch table.",
        name.unraw()
    );
    quote! {
        #[doc = #doc]
        #shared
        #deprecation
        #[allow(non_camel_case_types, reason = "an endpoint is called as its function is")]
        #vis struct #name {}
    }
}

/// ```text
/// msg_type = 7        impl double {
///                         pub const MSG_TYPE: u16 = 7;
/// payload: &[u8]   =>     pub fn call<'c>(caller: &'c mut Caller, payload: &[u8])
///                             -> Result<RpcRxGuard<'c>, CallError> { .. }
///                         pub fn call_timeout<'c>(caller: &'c mut Caller, payload: &[u8], timeout: Duration)
///                             -> Result<RpcRxGuard<'c>, CallError> { .. }
///                     }
/// ```
///
/// What a client does not use of it is no dead code to rustc, because a macro wrote it. Allowing it in words would count
/// as a use: an endpoint that is neither called nor listed would no longer be reported as unused.
fn client(endpoint: &Endpoint<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let private = private(endpoint.library);
    let shared = attrs::shared(&endpoint.function.attrs);
    let msg_type = msg_type(&endpoint.msg_type);
    let payload = match endpoint.request {
        RequestForm::Bytes => quote!(&[#private::u8]),
    };
    let assertion = assertion(endpoint, &private);
    let call = format!("Calls `{}` in the other process and waits for its reply.", name.unraw());
    let call_timeout =
        format!("Calls `{}` in the other process and waits at most `timeout` for its reply.", name.unraw());
    quote_spanned! {Span::mixed_site()=>
        #shared
        #[allow(deprecated, reason = "whoever uses the endpoint is warned")]
        #[automatically_derived]
        impl #name {
            /// The number that names this endpoint on the wire.
            pub const MSG_TYPE: #private::u16 = #msg_type;

            #[doc = #call]
            ///
            /// # Errors
            ///
            /// A `CallError` when the request cannot be sent, when no reply comes, and when the reply is an error.
            pub fn call<'c>(
                caller: &'c mut #private::Caller,
                payload: #payload,
            ) -> #private::Result<#private::RpcRxGuard<'c>, #private::CallError> {
                #private::Caller::request(caller, Self::MSG_TYPE, payload)
            }

            #[doc = #call_timeout]
            ///
            /// # Errors
            ///
            /// As for `call`, and when `timeout` passes without a reply.
            pub fn call_timeout<'c>(
                caller: &'c mut #private::Caller,
                payload: #payload,
                timeout: #private::Duration,
            ) -> #private::Result<#private::RpcRxGuard<'c>, #private::CallError> {
                #private::Caller::request_timeout(caller, Self::MSG_TYPE, payload, timeout)
            }
        }
        #assertion
    }
}

/// ```text
/// 7             =>   7
/// ids::DOUBLE   =>   ids::DOUBLE
/// ```
fn msg_type(msg_type: &MsgType<'_>) -> TokenStream {
    match msg_type {
        MsgType::Literal(literal) => literal.to_token_stream(),
        MsgType::Constant(path) => path.to_token_stream(),
    }
}

/// ```text
/// msg_type = 7             =>
/// msg_type = ids::DOUBLE   =>   const _: () = ::tachyon::__private::assert_msg_type(double::MSG_TYPE);
/// ```
///
/// A constant of its own, because that of the type is looked at only where it is used. The panic of a
/// `#[track_caller]` function is reported where it is called: at the user's path.
fn assertion(endpoint: &Endpoint<'_>, private: &Path) -> TokenStream {
    let MsgType::Constant(path) = endpoint.msg_type else { return TokenStream::new() };
    let name = endpoint.function.name();
    let shared = attrs::shared(&endpoint.function.attrs);
    let assert = Place::of(path).take(quote!(#private::assert_msg_type(#name::MSG_TYPE)));
    quote! {
        #shared
        const _: () = #assert;
    }
}

/// ```text
///                                       impl Endpoint for double {
///                                           type State = ();
/// /// Doubles.                              const MSG_TYPE: u16 = double::MSG_TYPE;
/// #[tachyon_rpc(msg_type = 7)]         =>   const NAME: &'static str = "double";
/// fn double(payload: &[u8])                 const DOC: &'static str = "Doubles.";
///     -> Vec<u8>                            const ENTRY: Entry<()> = Entry::shared(.., |_, request, reply| {
///                                               <Vec<u8> as IntoReply>::into_reply(double(request.payload()), reply)
///                                           });
///                                       }
/// ```
///
/// A closure, because a function in there would have a name, and that name could be the endpoint's.
fn entry(endpoint: &Endpoint<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let private = private(endpoint.library);
    let shared = attrs::shared(&endpoint.function.attrs);
    let doc = attrs::documentation(&endpoint.function.attrs, &private);
    let text = name.unraw().to_string();
    let request = match endpoint.request {
        RequestForm::Bytes => quote_spanned!(Span::mixed_site()=> #private::Request::payload(&request)),
    };
    let reply = into_reply(&endpoint.reply, &private, quote!(#name(#request)));
    quote_spanned! {Span::mixed_site()=>
        #shared
        #[allow(deprecated, reason = "whoever uses the endpoint is warned")]
        #[automatically_derived]
        impl #private::Endpoint for #name {
            type State = ();
            const MSG_TYPE: #private::u16 = #name::MSG_TYPE;
            const NAME: &'static #private::str = #text;
            const DOC: &'static #private::str = #doc;
            const ENTRY: #private::Entry<()> = #private::Entry::shared(
                <Self as #private::Endpoint>::MSG_TYPE,
                <Self as #private::Endpoint>::NAME,
                <Self as #private::Endpoint>::DOC,
                |_state, request, reply| #reply,
            );
        }
    }
}

/// ```text
/// -> Vec<u8>      =>   <Vec<u8> as IntoReply>::into_reply(double(..), reply)
/// -> impl Trait   =>   IntoReply::into_reply(double(..), reply)
/// ```
///
/// When the type is not a reply, the error points at the return type: it does so by itself where that type is written
/// down, and otherwise the call is put there.
fn into_reply(form: &ReplyForm<'_>, private: &Path, call: TokenStream) -> TokenStream {
    let (into_reply, call) = match form {
        ReplyForm::Nothing => (quote!(<() as #private::IntoReply>::into_reply), call),
        ReplyForm::Value(ty) => (quote!(<#ty as #private::IntoReply>::into_reply), call),
        ReplyForm::Opaque(ty) => (quote!(#private::IntoReply::into_reply), Place::of(ty).take(call)),
    };
    quote_spanned!(Span::mixed_site()=> #into_reply(#call, reply))
}

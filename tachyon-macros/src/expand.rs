//! The code for an endpoint that keeps every rule.
//!
//! It names `::tachyon::__private` and nothing else, so that nothing the user has in scope can change its meaning.
//! Local names are hygienic for the same reason: an endpoint may be called `request` or `reply`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Path, parse_quote};

use crate::attrs;
use crate::model::{Endpoint, MsgType, ReplyForm, RequestForm, Shape, State};
use crate::place::Place;
use crate::wire;

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
/// payload: &[u8]   =>     pub fn call<'c>(caller: &'c mut Caller, request: &[u8])
///                             -> Result<ReplyGuard<'c, [u8]>, CallError> { .. }
///                         pub fn call_timeout<'c>(caller: &'c mut Caller, request: &[u8], timeout: Duration)
///                             -> Result<ReplyGuard<'c, [u8]>, CallError> { .. }
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
    let (param, argument) = request_of_client(&endpoint.shape);
    let returned = quote_spanned! {Span::mixed_site()=>
        #private::Result<#private::ReplyGuard<'c, <Self as #private::Endpoint>::Reply>, #private::CallError>
    };
    let returned = wire::returned(&endpoint.shape.reply, returned);
    let called = quote_spanned! {Span::mixed_site()=>
        #private::call::<Self>(caller, #argument, #private::Option::None)
    };
    let called_timeout = quote_spanned! {Span::mixed_site()=>
        #private::call::<Self>(caller, #argument, #private::Option::Some(timeout))
    };
    let called = wire::returned(&endpoint.shape.reply, called);
    let called_timeout = wire::returned(&endpoint.shape.reply, called_timeout);
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
                #param
            ) -> #returned {
                #called
            }

            #[doc = #call_timeout]
            ///
            /// # Errors
            ///
            /// As for `call`, and when `timeout` passes without a reply.
            pub fn call_timeout<'c>(
                caller: &'c mut #private::Caller,
                #param
                timeout: #private::Duration,
            ) -> #returned {
                #called_timeout
            }
        }
        #assertion
    }
}

/// The parameter of a client's function and what it passes on: nothing where the endpoint takes nothing.
pub(crate) fn request_of_client(shape: &Shape<'_>) -> (TokenStream, TokenStream) {
    match shape.request {
        RequestForm::Nothing | RequestForm::Unit => (quote!(), quote!(&())),
        RequestForm::Borrowed(ty) => {
            (quote_spanned!(Span::mixed_site()=> request: &#ty,), quote_spanned!(Span::mixed_site()=> request))
        }
    }
}

/// ```text
/// 7             =>   7
/// ids::DOUBLE   =>   ids::DOUBLE
/// ```
pub(crate) fn msg_type(msg_type: &MsgType<'_>) -> TokenStream {
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
///                                           type Scope = NoState;
///                                           type Request = [u8];
/// /// Doubles.                              type Reply = <Vec<u8> as IntoReply>::Wire;
/// #[tachyon_rpc(msg_type = 7)]         =>   const MSG_TYPE: u16 = double::MSG_TYPE;
/// fn double(payload: &[u8])                 const NAME: &'static str = "double";
///     -> Vec<u8>                            const DOC: &'static str = "Doubles.";
///                                           const ENTRY: Entry<()> = Entry::new(SIGNATURE, Stateless(|state, request, reply| {
///                                               handle::<Self>(request, |request| IntoReply::into_reply(double(request), reply))
///                                           }));
///                                       }
/// ```
///
/// Closures, because a function in there would have a name, and that name could be the endpoint's.
fn entry(endpoint: &Endpoint<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let private = private(endpoint.library);
    let shared = attrs::shared(&endpoint.function.attrs);
    let doc = attrs::documentation(&endpoint.function.attrs, &private);
    let text = name.unraw().to_string();
    let (state, scope, kind) = match endpoint.state {
        State::None => (quote!(()), quote!(#private::NoState), quote!(Stateless)),
        State::Shared(ty) => (ty.to_token_stream(), quote!(#private::Needs<#ty>), quote!(Shared)),
        State::Exclusive(ty) => (ty.to_token_stream(), quote!(#private::Needs<#ty>), quote!(Exclusive)),
    };
    let request = wire::request(&endpoint.shape.request);
    let reply = wire::reply(&endpoint.shape.reply, &private);
    let (param, lent) = match endpoint.state {
        State::None => (quote!(_), None),
        State::Shared(_) | State::Exclusive(_) => {
            let state = quote_spanned!(Span::mixed_site()=> state);
            (state.clone(), Some(quote!(#state,)))
        }
    };
    let answer = answer(&endpoint.shape, &private, &quote!(#name), lent.as_ref(), &quote!(Self));
    quote_spanned! {Span::mixed_site()=>
        #shared
        #[allow(deprecated, reason = "whoever uses the endpoint is warned")]
        #[automatically_derived]
        impl #private::Endpoint for #name {
            type State = #state;
            type Scope = #scope;
            type Request = #request;
            type Reply = #reply;
            const MSG_TYPE: #private::u16 = #name::MSG_TYPE;
            const NAME: &'static #private::str = #text;
            const DOC: &'static #private::str = #doc;
            const ENTRY: #private::Entry<#state> = #private::Entry::new(
                <Self as #private::Endpoint>::SIGNATURE,
                #private::EntryHandler::#kind(|#param, request, reply| #answer),
            );
        }
    }
}

/// The body of a handler: from `request` to a reply.
///
/// ```text
/// fn f(request: &T) -> R              =>   handle::<Self>(request, |request| {
///                                              <R as IntoReply>::into_reply(f(request), reply)
///                                          })
/// fn f(state: &S, reply: ReplySlot)   =>   handle::<Self>(request, |_| {
///                                              answer::<Self, _>(reply, |slot| f(state, slot))
///                                          })
/// ```
///
/// `contract` has the types that travel. The call itself stands where the return type does: when that is no reply, the
/// error points there.
pub(crate) fn answer(
    shape: &Shape<'_>,
    private: &Path,
    function: &TokenStream,
    state: Option<&TokenStream>,
    contract: &TokenStream,
) -> TokenStream {
    let (param, request) = match shape.request {
        RequestForm::Nothing => (quote!(_), quote!()),
        RequestForm::Unit => (quote!(_), quote!((),)),
        RequestForm::Borrowed(_) => {
            let request = quote_spanned!(Span::mixed_site()=> request);
            (request.clone(), quote!(#request,))
        }
    };
    let reply = match &shape.reply {
        ReplyForm::Slot(_) => quote_spanned! {Span::mixed_site()=>
            #private::answer::<#contract, _>(reply, |slot| #function(#state #request slot))
        },
        form => into_reply(form, private, quote!(#function(#state #request))),
    };
    quote_spanned! {Span::mixed_site()=>
        #private::handle::<#contract>(request, |#param| #reply)
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
        ReplyForm::Value(ty) => (quote!(<#ty as #private::IntoReply>::into_reply), call),
        ReplyForm::Opaque(ty) => (quote!(#private::IntoReply::into_reply), Place::of(ty).take(call)),
        ReplyForm::Nothing | ReplyForm::Slot(_) => (quote!(<() as #private::IntoReply>::into_reply), call),
    };
    quote_spanned!(Span::mixed_site()=> #into_reply(#call, reply))
}

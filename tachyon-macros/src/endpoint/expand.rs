//! The code for an endpoint that keeps every rule.
//!
//! The code names items of `::tachyon::__private` only, so that the names in the user's scope cannot change its
//! meaning. Local names are hygienic for the same reason: an endpoint may have the name `request` or `reply`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Path, Signature};

use super::model::{Endpoint, MsgType};
use super::params::{State, without_marks};
use super::streams::with_bounds;
use crate::attrs;
use crate::contract::handler::{self, Access};
use crate::contract::{Contract, client};
use crate::library::private;
use crate::span::{SpanRange, generated};

/// ```text
/// /// Doubles.                               /// Doubles.
/// #[tachyon_rpc(msg_type = 7)]               pub fn double(payload: &[u8]) -> Vec<u8> { .. }
/// pub fn double(payload: &[u8]) -> Vec<u8>
///     { .. }                                 pub struct double {}
///                                       =>   impl double {
///                                                pub const MSG_TYPE: u16 = 7;
///                                                pub fn call(..) { .. }
///                                                pub fn call_in_place(..) { .. }
///                                            }
///                                            impl Endpoint for double { .. }
/// ```
pub(crate) fn endpoint(endpoint: &Endpoint<'_>, item: &TokenStream) -> TokenStream {
    let private = private(endpoint.library);
    let name = endpoint.function.name();
    let contract = Contract {
        private: &private,
        marker: name.to_token_stream(),
        name: name.unraw().to_string(),
        params: &endpoint.params,
        reply: &endpoint.reply,
        is_packed: endpoint.is_packed,
    };
    let item = without_marks(item.clone());
    let item = if endpoint.reply.stream().is_some() { with_bounds(item, &private) } else { item };
    // Streams and arguments are owned, even if the body only borrows them.
    let owns = (endpoint.params.has_streams() && endpoint.function.sig.asyncness.is_none())
        .then(|| quote!(#[allow(clippy::needless_pass_by_value, reason = "the request leaves the ring first")]));
    let client = client_impl(endpoint, &contract);
    let entry = endpoint_impl(endpoint, &contract);
    let marker = marker(endpoint, &private, &quote!(#client #entry));
    let needs_tokio = needs_tokio(&private, [&endpoint.function.sig], &shared(endpoint));
    quote! {
        #owns
        #item
        #marker
        #needs_tokio
    }
}

/// An error at each `async`, if the library has no runtime. Only the library knows its features.
pub(crate) fn needs_tokio<'a>(
    private: &Path,
    functions: impl IntoIterator<Item = &'a Signature>,
    shared: &TokenStream,
) -> TokenStream {
    let first = functions.into_iter().find_map(|sig| sig.asyncness);
    first
        .map(|asyncness| {
            let call = SpanRange::of(asyncness).located(quote!(#private::needs_tokio! {}));
            quote!(#shared #call)
        })
        .unwrap_or_default()
}

/// ```text
/// pub fn double(..)   =>   #[derive(Emit)] #[__tachyon { impl double { .. } .. }] pub struct double {}
/// ```
///
/// The braces keep the type out of the namespace of values, which has the function. A derive writes the
/// implementations, so that rustc does not report a deprecated function there: see `helper`.
fn marker(endpoint: &Endpoint<'_>, private: &Path, implementations: &TokenStream) -> TokenStream {
    let name = endpoint.function.name();
    let vis = &endpoint.function.vis;
    let shared = attrs::shared(&endpoint.function.attrs);
    let deprecation = attrs::deprecation(&endpoint.function.attrs);
    // The lint on the case of type names skips generated tokens.
    let named = generated(name);
    let doc = format!(
        "The endpoint of the function `{}`: its `MSG_TYPE`, its client functions, and its entry in a dispatch table.",
        name.unraw()
    );
    quote! {
        #[doc = #doc]
        #shared
        #deprecation
        #[derive(#private::Emit)]
        #[__tachyon { #implementations }]
        #[non_exhaustive]
        #vis struct #named {}
    }
}

/// ```text
/// msg_type = 7           impl double {
///                            pub const MSG_TYPE: u16 = 7;
/// (a: u64, b: &str)  =>      pub fn call<#lifetime>(caller: &mut impl Calls, a: u64, b: &str)
///                                -> Result<R, CallError> { .. }
///                            pub fn call_in_place<'c, #lifetime>(caller: &'c mut impl HasCaller, a: u64, b: &str)
///                                -> Result<InPlace<'c, R>, CallError> { .. }
///                        }
/// -> impl Iterator       impl count {
///                            pub fn open<'c, #lifetime>(caller: &'c mut impl HasCaller, a: u64, b: &str)
///                                -> Result<OpenStream<'c, Self>, CallError> { .. }
///                        }
/// ```
///
/// rustc does not report generated code as dead. An `#[allow(dead_code)]` would count as a use, and hide the report of
/// an endpoint that is neither called nor listed.
fn client_impl(endpoint: &Endpoint<'_>, contract: &Contract<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let private = contract.private;
    let shared = shared(endpoint);
    let msg_type = msg_type(&endpoint.msg_type);
    let assertion = assertion(endpoint, private);
    let items = contract.items(&shared);
    let streams = contract.stream_impls(&shared);
    // The client has one parameter more than the function, and clippy's limit is 7.
    let full = (endpoint.params.all.len() == 7 && endpoint.params.arguments().count() == 7)
        .then(|| quote!(#[allow(clippy::too_many_arguments, reason = "the caller is an additional parameter")]));
    let functions =
        if contract.is_stream() { open_function(endpoint, contract) } else { call_functions(endpoint, contract) };
    quote_spanned! {Span::mixed_site()=>
        #items

        #shared
        #full
        #[automatically_derived]
        impl #name {
            /// The number that names this endpoint on the wire.
            pub const MSG_TYPE: #private::u16 = #msg_type;

            #functions
        }
        #streams
        #assertion
    }
}

/// The client's function that opens a stream.
fn open_function(endpoint: &Endpoint<'_>, contract: &Contract<'_>) -> TokenStream {
    let private = contract.private;
    let params = client::params(contract);
    let caller = client::caller_name(contract);
    let lifetime = client::lifetime(contract);
    let (views, request) = client::request(contract);
    let shown = client::doc_signature(contract);
    let opened = client::opened(contract, &quote!(Self));
    let name = endpoint.function.name().unraw();
    let opens = format!("Opens a stream of `{name}` in the other process.");
    let opens_async = format!("Opens a stream of `{name}` in the other process from a task.");
    let opened_async = client::opened_async(contract, &quote!(Self));
    let ignored = contract.params.arguments().map(|_| quote!(_: impl #private::Sized,));
    quote_spanned! {Span::mixed_site()=>
        #[doc = #opens]
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
        pub fn open<'c, #lifetime>(#caller: &'c mut impl #private::HasCaller, #params) -> #opened {
            #views
            #private::open::<Self>(#caller, &#request)
        }

        // An error that says what to write.
        #[doc(hidden)]
        pub fn call<C: #private::CallsStream<Self>>(_: C, #(#ignored)*) {}

        #private::with_tokio! {
            #[doc = #opens_async]
            ///
            /// ```text
            #[doc = #shown]
            /// ```
            ///
            /// Dropping the stream cancels it.
            ///
            /// # Errors
            ///
            /// As for `open`.
            pub async fn stream<#lifetime>(#caller: &#private::AsyncCaller, #params) -> #opened_async {
                #views
                #private::stream::<Self>(#caller, #request).await
            }
        }
    }
}

/// The client's functions for one request and one reply.
fn call_functions(endpoint: &Endpoint<'_>, contract: &Contract<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let private = contract.private;
    let params = client::params(contract);
    let caller = client::caller_name(contract);
    let lifetime = client::lifetime(contract);
    let (views, request) = client::request(contract);
    let (returned, spell) = client::reply(contract, &quote!(Self));
    let shown = client::doc_signature(contract);
    let call = format!("Calls `{}` in the other process, and returns the reply as an owned value.", name.unraw());
    let in_place = format!("Calls `{}`, and lends the reply in place, without a copy.", name.unraw());
    let call_async = async_function(endpoint, contract);
    let starts = format!("Sends a request to `{}`. `Started::finish` waits for the reply.", name.unraw());
    // A value in msgpack is decoded, and has no view.
    let call_in_place = (!contract.is_packed).then(|| {
        quote_spanned! {Span::mixed_site()=>
            #[doc = #in_place]
            ///
            /// # Errors
            ///
            /// As for `call`.
            pub fn call_in_place<'c, #lifetime>(
                #caller: &'c mut impl #private::HasCaller,
                #params
            ) -> #private::Result<
                #private::InPlace<'c, <Self as #private::Contract>::Reply>,
                #private::CallError<<Self as #private::Contract>::Error>,
            > {
                #views
                #private::call_in_place::<Self>(#caller, &#request)
            }
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #[doc = #call]
        ///
        /// ```text
        #[doc = #shown]
        /// ```
        ///
        /// # Errors
        ///
        /// A `CallError` if the request cannot be sent, if no reply arrives in time, or if the reply is an error.
        pub fn call<#lifetime>(#caller: &mut impl #private::Calls, #params) -> #returned {
            #views
            #private::call::<Self>(#caller, &#request)#spell
        }

        #call_in_place

        #[doc = #starts]
        ///
        /// # Errors
        ///
        /// As for `call`. After an error, the request has not been sent.
        pub fn start<#lifetime>(
            #caller: &mut impl #private::HasCaller,
            #params
        ) -> #private::Result<#private::Started<Self>, #private::CallError<<Self as #private::Contract>::Error>> {
            #views
            #private::start::<Self>(#caller, &#request)
        }

        #call_async
    }
}

/// ```text
/// (a: u64, b: &str)  =>  with_tokio! {
///                            pub async fn call_async(caller: &AsyncCaller, a: u64, b: &str)
///                                -> Result<R, CallError> { .. }
///                        }
/// ```
fn async_function(endpoint: &Endpoint<'_>, contract: &Contract<'_>) -> TokenStream {
    let private = contract.private;
    let params = client::params(contract);
    let caller = client::caller_name(contract);
    let lifetime = client::lifetime(contract);
    let (views, request) = client::request(contract);
    let (returned, spell) = client::reply(contract, &quote!(Self));
    let name = endpoint.function.name().unraw();
    let shown = client::doc_signature(contract);
    let doc = format!("Calls `{name}` in the other process from a task, and returns the reply as an owned value.");
    quote_spanned! {Span::mixed_site()=>
        #private::with_tokio! {
            #[doc = #doc]
            ///
            /// ```text
            #[doc = #shown]
            /// ```
            ///
            /// Dropping the future cancels the call.
            ///
            /// # Errors
            ///
            /// As for `call`.
            pub async fn call_async<#lifetime>(#caller: &#private::AsyncCaller, #params) -> #returned {
                #views
                #private::call_async::<Self>(#caller, #request).await #spell
            }
        }
    }
}

/// The conditions and lint levels of the function.
fn shared(endpoint: &Endpoint<'_>) -> TokenStream {
    attrs::shared(&endpoint.function.attrs)
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
/// The compiler evaluates an associated constant only where it is used, and this constant always. rustc reports the
/// panic of a `#[track_caller]` function at the call: at the user's path.
fn assertion(endpoint: &Endpoint<'_>, private: &Path) -> TokenStream {
    let MsgType::Constant(path) = endpoint.msg_type else { return TokenStream::new() };
    let name = endpoint.function.name();
    let shared = attrs::shared(&endpoint.function.attrs);
    let assert = SpanRange::of(path).located(quote!(#private::assert_msg_type(#name::MSG_TYPE)));
    quote! {
        #shared
        const _: () = #assert;
    }
}

/// ```text
///                                       impl Endpoint for double {
///                                           type State = ();
///                                           type Scope = Stateless;
///                                           type Reply = ..;
/// /// Doubles.                              type Error = ..;
/// #[tachyon_rpc(msg_type = 7)]         =>   const MSG_TYPE: u16 = double::MSG_TYPE;
/// fn double(payload: &[u8])                 const NAME: &'static str = "double";
///     -> Vec<u8>                            const DOC: &'static str = "Doubles.";
///                                           const SIGNATURE: &'static Signature = &Signature::of(..);
///                                           const ENTRY: Entry<()> = Entry::new(SIGNATURE, Stateless(|..| ..));
///                                       }
/// ```
///
/// The handler is a closure: a function has a name, which could be that of the endpoint.
fn endpoint_impl(endpoint: &Endpoint<'_>, contract: &Contract<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let private = contract.private;
    let shared = shared(endpoint);
    let doc = attrs::documentation(&endpoint.function.attrs, private);
    let text = name.unraw().to_string();
    let (state, scope, access) = match endpoint.params.state() {
        None => (quote!(()), quote!(#private::Stateless), Access::None),
        Some(state @ State::Shared(ty)) => (state.ty(), quote!(#private::Requires<#ty>), Access::Shared),
        Some(state @ State::Exclusive(ty)) => (state.ty(), quote!(#private::Requires<#ty>), Access::Exclusive),
    };
    let shared_state = endpoint.params.state().is_some().then_some(&state);
    let access = match endpoint.function.sig.asyncness {
        Some(_) => Access::Async(shared_state),
        None if endpoint.params.has_streams() => Access::Thread(shared_state),
        None => access,
    };
    let (reply, error) = (contract.reply_type(), contract.error_type());
    let signature = contract.signature(&quote!(#name::MSG_TYPE), &quote!(<#name as #private::Endpoint>::DOC));
    let handler = handler::handler(contract, &quote!(#name), access, false);
    quote_spanned! {Span::mixed_site()=>
        #shared
        #[automatically_derived]
        impl #private::Endpoint for #name {
            type State = #state;
            type Scope = #scope;
            type Reply = #reply;
            type Error = #error;
            const MSG_TYPE: #private::u16 = #name::MSG_TYPE;
            const NAME: &'static #private::str = #text;
            const DOC: &'static #private::str = #doc;
            const SIGNATURE: &'static #private::Signature = #signature;
            const ENTRY: #private::Entry<#state> = #private::Entry::new(
                <Self as #private::Endpoint>::SIGNATURE,
                #handler,
            );
        }
    }
}

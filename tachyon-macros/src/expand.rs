//! The code for an endpoint that keeps every rule.
//!
//! It names `::tachyon::__private` and nothing else, so that nothing the user has in scope can change its meaning.
//! Local names are hygienic for the same reason: an endpoint may be called `request` or `reply`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Path, parse_quote};

use crate::attrs;
use crate::contract::Contract;
use crate::model::{Endpoint, MsgType};
use crate::params::{State, without_marks};
use crate::place::{Place, generated};

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
    };
    let item = without_marks(item.clone());
    let client = client(endpoint, &contract);
    let entry = entry(endpoint, &contract);
    let marker = marker(endpoint, &private, &quote!(#client #entry));
    quote! {
        #item
        #marker
    }
}

/// The module that generated code names.
pub(crate) fn private(library: &Path) -> Path {
    parse_quote!(#library::__private)
}

/// ```text
/// pub fn double(..)   =>   #[derive(Emit)] #[__tachyon { impl double { .. } .. }] pub struct double {}
/// ```
///
/// The braces keep it out of the namespace of values, where the function is. The implementations are written by a
/// derive, so that rustc does not warn of a deprecated function there: see [`emit`].
fn marker(endpoint: &Endpoint<'_>, private: &Path, implementations: &TokenStream) -> TokenStream {
    let name = endpoint.function.name();
    let vis = &endpoint.function.vis;
    let shared = attrs::shared(&endpoint.function.attrs);
    let deprecation = attrs::deprecation(&endpoint.function.attrs);
    // Not the user's token: a lint about the case of a type's name does not look at a macro's.
    let named = generated(name);
    let doc = format!(
        "The endpoint made of the function `{}`: its `MSG_TYPE`, its client, and its entry in a dispatch table.",
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

/// Writes out what `#[__tachyon { .. }]` holds, as the code of a derive.
///
/// rustc takes what a derive writes for a part of the item it stands on: it does not warn there of items that the user
/// has deprecated, which an `#[allow]` would have to turn off, and that would be an error under the user's `forbid`.
pub(crate) fn emit(item: TokenStream) -> syn::Result<TokenStream> {
    let item: syn::DeriveInput = syn::parse2(item)?;
    let mut code = TokenStream::new();
    for attr in item.attrs.iter().filter(|attr| attr.path().is_ident("__tachyon")) {
        code.extend(generated(&attr.meta.require_list()?.tokens));
    }
    Ok(code)
}

/// ```text
/// msg_type = 7           impl double {
///                            pub const MSG_TYPE: u16 = 7;
/// (a: u64, b: &str)  =>      pub fn call<#lifetime>(caller: &mut impl Calls, a: u64, b: &str) -> Result<R, CallError> { .. }
///                            pub fn call_in_place<'c, #lifetime>(caller: &'c mut impl Calls, a: u64, b: &str)
///                                -> Result<InPlace<'c, R>, CallError> { .. }
///                        }
/// ```
///
/// rustc reports none of it as dead code, because a macro wrote it. Allowing it in words would count as a use: an
/// endpoint that is neither called nor listed would no longer be reported as unused.
fn client(endpoint: &Endpoint<'_>, contract: &Contract<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let private = contract.private;
    let shared = shared(endpoint);
    let msg_type = msg_type(&endpoint.msg_type);
    let params = contract.client_params();
    let caller = contract.caller_name();
    let lifetime = contract.client_lifetime();
    let (views, request) = contract.request();
    let own = quote!(Self);
    let (returned, spell) = contract.client_reply(&own);
    let assertion = assertion(endpoint, private);
    let items = contract.items(&shared);
    // One parameter more than the function, which has as many as clippy finds good.
    let full = (endpoint.params.all.len() == 7 && endpoint.params.arguments().count() == 7)
        .then(|| quote!(#[allow(clippy::too_many_arguments, reason = "the caller comes on top")]));
    let shown = contract.shown();
    let call = format!("Calls `{}` in the other process and waits for its reply.", name.unraw());
    let in_place = format!("As `call`, with the reply of `{}` where it lies.", name.unraw());
    let starts = format!("Sends a call of `{}`, whose reply `Started::finish` waits for.", name.unraw());
    quote_spanned! {Span::mixed_site()=>
        #items

        #shared
        #full
        #[automatically_derived]
        impl #name {
            /// The number that names this endpoint on the wire.
            pub const MSG_TYPE: #private::u16 = #msg_type;

            #[doc = #call]
            ///
            /// ```text
            #[doc = #shown]
            /// ```
            ///
            /// # Errors
            ///
            /// A `CallError` when the request cannot be sent, when no reply comes, and when the reply is an error.
            pub fn call<#lifetime>(#caller: &mut impl #private::Calls, #params) -> #returned {
                #views
                #private::call::<Self>(#caller, &#request)#spell
            }

            #[doc = #in_place]
            ///
            /// # Errors
            ///
            /// As for `call`.
            pub fn call_in_place<'c, #lifetime>(
                #caller: &'c mut impl #private::Calls,
                #params
            ) -> #private::Result<
                #private::InPlace<'c, <Self as #private::Contract>::Reply>,
                #private::CallError<<Self as #private::Contract>::Error>,
            > {
                #views
                #private::call_in_place::<Self>(#caller, &#request)
            }

            #[doc = #starts]
            ///
            /// # Errors
            ///
            /// As for `call`; nothing was sent then.
            pub fn start<#lifetime>(
                #caller: &mut impl #private::Calls,
                #params
            ) -> #private::Result<#private::Started<Self>, #private::CallError<<Self as #private::Contract>::Error>> {
                #views
                #private::start::<Self>(#caller, &#request)
            }
        }
        #assertion
    }
}

/// The attributes that generated items share with the function.
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
/// A closure, because a function in there would have a name, and that name could be the endpoint's.
fn entry(endpoint: &Endpoint<'_>, contract: &Contract<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let private = contract.private;
    let shared = shared(endpoint);
    let doc = attrs::documentation(&endpoint.function.attrs, private);
    let text = name.unraw().to_string();
    let (state, scope, kind) = match endpoint.params.state() {
        None => (quote!(()), quote!(#private::Stateless), quote!(Stateless)),
        Some(state @ State::Shared(ty)) => (state.ty(), quote!(#private::Requires<#ty>), quote!(Shared)),
        Some(state @ State::Exclusive(ty)) => (state.ty(), quote!(#private::Requires<#ty>), quote!(Exclusive)),
    };
    let (reply, error) = (contract.reply_type(), contract.error_type());
    let signature = contract.signature(&quote!(#name::MSG_TYPE), &quote!(<#name as #private::Endpoint>::DOC));
    let param =
        if endpoint.params.state().is_none() { quote!(_) } else { quote_spanned!(Span::mixed_site()=> __state) };
    let handler = contract.handler(&quote!(#name), None);
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
                #private::EntryHandler::#kind(|#param, __request, __reply| #handler),
            );
        }
    }
}

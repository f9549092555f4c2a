//! What is left standing after a mistake, so that the mistake is all that the user reads about.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, FnArg};

use crate::args::Args;
use crate::attrs;
use crate::check::{RESERVED, is_tachyon_rpc};
use crate::diag::Report;
use crate::expand::private;
use crate::model::Function;
use crate::params::takes_request;

/// The item as it was, and the mistakes.
pub(crate) fn not_a_function(item: &TokenStream, report: Report) -> TokenStream {
    let errors = report.finish().err();
    quote! {
        #item
        #errors
    }
}

/// ```text
///                                    async fn wrong(payload: &[u8]) { .. }
/// #[tachyon_rpc(msg_type = 7)]       compile_error!{ .. }
/// async fn wrong(payload: &[u8]) =>  struct wrong {}
///     { .. }                         impl wrong { .. }
///                                    impl Endpoint for wrong { .. }
/// ```
///
/// The stub takes any payload and has the reserved number, which no table counts as a duplicate.
pub(crate) fn endpoint(
    args: &Args,
    function: &Function,
    item: &TokenStream,
    report: Result<(), TokenStream>,
) -> TokenStream {
    let errors = report.err();
    if function.sig.inputs.iter().any(|input| matches!(input, FnArg::Receiver(_))) {
        // A method: a type beside it, inside of an `impl`, would be the next mistake.
        return quote!(#item #errors);
    }
    let item = without_repeated_attribute(item);
    let private = private(&args.library);
    let vis = &function.vis;
    let name = function.name();
    let text = name.unraw().to_string();
    let shared = attrs::shared(&function.attrs);
    let (generics, payload) = if takes_request(&function.sig) {
        (quote!(, P: ?#private::Sized), quote!(_payload: &P,))
    } else {
        (quote!(), quote!())
    };
    quote_spanned! {Span::mixed_site()=>
        #item
        #errors

        #[doc(hidden)]
        #shared
        #[allow(non_camel_case_types, dead_code, reason = "a stub")]
        #vis struct #name {}

        #shared
        #[allow(missing_docs, dead_code, reason = "a stub")]
        #[automatically_derived]
        impl #name {
            pub const MSG_TYPE: #private::u16 = #RESERVED;

            pub fn call<'c #generics>(
                caller: &'c mut #private::Caller,
                #payload
            ) -> #private::Result<#private::ReplyGuard<'c, [#private::u8]>, #private::CallError> {
                #private::call::<Self>(caller, &[], #private::Option::None)
            }

            pub fn call_timeout<'c #generics>(
                caller: &'c mut #private::Caller,
                #payload
                timeout: #private::Duration,
            ) -> #private::Result<#private::ReplyGuard<'c, [#private::u8]>, #private::CallError> {
                #private::call::<Self>(caller, &[], #private::Option::Some(timeout))
            }
        }

        #shared
        #[automatically_derived]
        impl #private::Endpoint for #name {
            type State = ();
            type Scope = #private::NoState;
            type Request = [#private::u8];
            type Reply = [#private::u8];
            const MSG_TYPE: #private::u16 = #name::MSG_TYPE;
            const NAME: &'static #private::str = #text;
            const DOC: &'static #private::str = "";
            const ENTRY: #private::Entry<()> =
                #private::Entry::shared(#RESERVED, #text, "", |_state, _request, reply| reply.bytes(&[]));
        }
    }
}

/// The function without a second `#[tachyon_rpc]`, which has been reported and would collide with the stub.
fn without_repeated_attribute(item: &TokenStream) -> TokenStream {
    let strip = |input: ParseStream<'_>| {
        let attrs = input.call(Attribute::parse_outer)?;
        let rest: TokenStream = input.parse()?;
        let attrs = attrs.iter().filter(|attr| !is_tachyon_rpc(attr));
        Ok(quote!(#(#attrs)* #rest))
    };
    strip.parse2(item.clone()).unwrap_or_else(|_| item.clone())
}

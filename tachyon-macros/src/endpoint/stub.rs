//! The stub of an endpoint with a mistake, so that the uses of the endpoint are no further errors.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, FnArg, Path, ReturnType, Signature};

use super::check::{RESERVED, is_tachyon_rpc};
use super::model::Function;
use super::params::{count_of_arguments, without_marks};
use super::streams::stream_param;
use crate::args::Args;
use crate::attrs;
use crate::library::private;
use crate::report::Report;
use crate::types::iterator_type::IteratorType;
use crate::types::reply_type::{is_owned, result_types};

/// The item as written, and the mistakes.
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
/// The stub takes any arguments. Its number is the reserved one, which no table counts as a duplicate.
pub(crate) fn endpoint(
    args: &Args,
    function: &Function,
    item: &TokenStream,
    report: Result<(), TokenStream>,
) -> TokenStream {
    let errors = report.err();
    let item = without_marks(without_repeated_attribute(item));
    if function.sig.inputs.iter().any(|input| matches!(input, FnArg::Receiver(_))) {
        // A method: a type in its `impl` would be a further error.
        return quote!(#item #errors);
    }
    let private = private(&args.library);
    let vis = &function.vis;
    let name = function.name();
    let text = name.unraw().to_string();
    let shared = attrs::shared(&function.attrs);
    let arguments = stub_arguments(&function.sig, &private);
    let reply = stub_reply(&function.sig.output, &private);
    let stream = stub_stream(&function.sig, &private).unwrap_or_else(|| quote!(()));
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

            pub fn call(
                _caller: &mut impl #private::Calls,
                #arguments
            ) -> #private::Result<#reply, #private::CallError> {
                loop {}
            }

            pub fn start(
                _caller: &mut impl #private::Calls,
                #arguments
            ) -> #private::Result<#private::Started<Self>, #private::CallError> {
                loop {}
            }

            pub fn open(
                _caller: &mut impl #private::Calls,
                #arguments
            ) -> #private::Result<#stream, #private::CallError> {
                loop {}
            }

            pub fn call_in_place<'c>(
                _caller: &'c mut impl #private::Calls,
                #arguments
            ) -> #private::Result<#private::InPlace<'c, #private::Vec<#private::u8>>, #private::CallError> {
                loop {}
            }

            #private::with_tokio! {
                pub async fn call_async(
                    _caller: &#private::AsyncCaller,
                    #arguments
                ) -> #private::Result<#reply, #private::CallError> {
                    loop {}
                }
            }
        }

        #shared
        #[automatically_derived]
        impl #private::Endpoint for #name {
            type State = ();
            type Scope = #private::Stateless;
            type Reply = #private::Vec<#private::u8>;
            type Error = #private::Undeclared;
            const MSG_TYPE: #private::u16 = #name::MSG_TYPE;
            const NAME: &'static #private::str = #text;
            const DOC: &'static #private::str = "";
            const SIGNATURE: &'static #private::Signature =
                &#private::Signature::of(#RESERVED, #text, "", #private::Form::Bytes, #private::Form::Bytes, &[]);
            const ENTRY: #private::Entry<()> =
                #private::Entry::shared(#RESERVED, #text, "", |_state, _request, reply| reply.bytes(&[]));
        }
    }
}

/// A parameter of any type for each argument.
pub(crate) fn stub_arguments(sig: &Signature, private: &Path) -> TokenStream {
    let names = (0..count_of_arguments(sig)).map(|at| format_ident!("_argument_{}", at, span = Span::mixed_site()));
    names.map(|name| quote!(#name: impl #private::Sized,)).collect()
}

/// The return type as written if it is owned, else bytes.
pub(crate) fn stub_reply(output: &ReturnType, private: &Path) -> TokenStream {
    match output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => {
            let value = result_types(ty).map_or(&**ty, |(value, _)| value);
            if is_owned(value) { value.to_token_stream() } else { quote!(#private::Vec<#private::u8>) }
        }
    }
}

/// An iterator in the place of the open stream; `None` if the function has no stream of replies.
pub(crate) fn stub_stream(sig: &Signature, private: &Path) -> Option<TokenStream> {
    let sent = sig.inputs.iter().find_map(|input| match input {
        FnArg::Typed(param) => stream_param(&param.ty, "StreamSender"),
        FnArg::Receiver(_) => None,
    });
    let item = match (sent, &sig.output) {
        (Some(item), _) => Some(item),
        (None, ReturnType::Type(_, ty)) => IteratorType::of(ty)?.item,
        (None, ReturnType::Default) => return None,
    };
    let value = item.map(|item| result_types(item).map_or(item, |(value, _)| value));
    let value = value
        .filter(|value| is_owned(value))
        .map_or_else(|| quote!(#private::Vec<#private::u8>), ToTokens::to_token_stream);
    Some(quote!(#private::IntoIter<#private::Result<#value, #private::CallError>>))
}

/// The function without a second `#[tachyon_rpc]`, which is reported already and would collide with the stub.
fn without_repeated_attribute(item: &TokenStream) -> TokenStream {
    let strip = |input: ParseStream<'_>| {
        let attrs = input.call(Attribute::parse_outer)?;
        let rest: TokenStream = input.parse()?;
        let attrs = attrs.iter().filter(|attr| !is_tachyon_rpc(attr));
        Ok(quote!(#(#attrs)* #rest))
    };
    strip.parse2(item.clone()).unwrap_or_else(|_| item.clone())
}

//! The code of a client's functions: their parameters, the request, and the type of the reply.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::ext::IdentExt;

use super::{Contract, local_name};
use crate::endpoint::model::ReplyForm;
use crate::endpoint::params::{Argument, ArgumentKind};
use crate::types::field_type::known_layout;
use crate::types::reply_type::{is_owned, result_types};
use crate::types::text;

/// The signature of the endpoint for the documentation of client functions, whose own parameter types are hard to read.
pub(crate) fn doc_signature(contract: &Contract<'_>) -> String {
    let arguments = contract
        .params
        .arguments()
        .enumerate()
        .map(|(at, argument)| format!("{}: {}", param_name(argument, at), text(argument.ty)));
    let items = contract.params.items().map(|of| format!("items: stream of {}", text(of)));
    let returned = match contract.reply {
        ReplyForm::Value(ty) | ReplyForm::Opaque(ty) | ReplyForm::Slot { wire: Some(ty), .. } => {
            format!(" -> {}", text(ty))
        }
        ReplyForm::Slot { wire: None, .. } => " -> [u8]".to_owned(),
        ReplyForm::Nothing => String::new(),
        ReplyForm::Stream(stream) => match result_types(&stream.item) {
            Some((item, error)) => format!(" -> stream of {} or {}", text(item), text(error)),
            None => format!(" -> stream of {}", text(&stream.item)),
        },
    };
    format!("fn {}({}){returned}", contract.name, arguments.chain(items).collect::<Vec<_>>().join(", "))
}

/// The parameters of a client's function.
pub(crate) fn params(contract: &Contract<'_>) -> TokenStream {
    let private = contract.private;
    let params = contract.params.arguments().enumerate().map(|(at, argument)| {
        let name = param_name(argument, at);
        let ty = argument.ty;
        if contract.is_packed {
            let ty = Contract::packed_param(argument, private);
            return quote!(#name: #ty,);
        }
        let wire = contract.wire(at, argument);
        let ty = match argument.kind {
            ArgumentKind::Text | ArgumentKind::Plain | ArgumentKind::PlainOption(_) | ArgumentKind::Slice(_) => {
                quote!(#ty)
            }
            ArgumentKind::Reference(inner) if known_layout(inner).is_some() || !contract.params.are_fields() => {
                quote!(#ty)
            }
            ArgumentKind::Option => quote!(<#wire as #private::Value>::View<'s>),
            ArgumentKind::Reference(_) | ArgumentKind::Other => quote!(impl #private::IntoView<'s, #wire>),
        };
        quote!(#name: #ty,)
    });
    params.collect()
}

/// The lifetime `'s` of the passed values, if [`params`] names it.
pub(crate) fn lifetime(contract: &Contract<'_>) -> Option<TokenStream> {
    if contract.is_packed {
        return None;
    }
    let passed = |argument: &Argument<'_>| match argument.kind {
        ArgumentKind::Option | ArgumentKind::Other => true,
        ArgumentKind::Reference(inner) => known_layout(inner).is_none() && contract.params.are_fields(),
        _ => false,
    };
    contract.params.arguments().any(passed).then(|| quote!('s,))
}

/// The name of the parameter for the caller. No argument has it.
pub(crate) fn caller_name(contract: &Contract<'_>) -> Ident {
    let taken = |argument: &Argument<'_>| argument.name.as_ref().is_some_and(|name| name == "caller");
    let name = if contract.params.arguments().any(taken) { "__caller" } else { "caller" };
    Ident::new(name, Span::mixed_site())
}

/// The name of a client's parameter.
fn param_name(argument: &Argument<'_>, at: usize) -> Ident {
    match &argument.name {
        Some(name) if !["self", "Self", "super", "crate", "_"].contains(&name.unraw().to_string().as_str()) => {
            name.clone()
        }
        _ if at == 0 => Ident::new("request", Span::mixed_site()),
        _ => local_name(at),
    }
}

/// The statements that make views of the parameters, and the request as an expression.
pub(crate) fn request(contract: &Contract<'_>) -> (TokenStream, TokenStream) {
    let (private, marker) = (contract.private, &contract.marker);
    let arguments: Vec<_> = contract.params.arguments().collect();
    if contract.is_packed {
        let names = arguments.iter().enumerate().map(|(at, argument)| {
            let name = param_name(argument, at);
            quote!(#name)
        });
        return contract.packed_request(&names.collect::<Vec<_>>());
    }
    if !contract.params.are_fields() {
        let Some(argument) = arguments.first() else {
            return (quote!(), quote!(#private::SingleValue::<()>::new(())));
        };
        let name = param_name(argument, 0);
        if let ArgumentKind::Reference(inner) = argument.kind {
            let select = contract.select_value(inner);
            return (quote!(), quote!(<#select as #private::Slot<#inner>>::body(#name)));
        }
        let wire = contract.wire(0, argument);
        let view = view(contract, argument, &wire, &name);
        return (quote!(), quote!(#private::SingleValue::<#wire>::new(#view)));
    }
    let wires: Vec<_> = contract.wires().collect();
    let locals: Vec<_> = (0..arguments.len()).map(local_name).collect();
    let views = arguments.iter().enumerate().map(|(at, argument)| {
        let name = param_name(argument, at);
        view(contract, argument, &wires[at], &name)
    });
    let count = arguments.len();
    let at = 0..count;
    let statements = quote!(#(let #locals = #views;)*);
    let request = quote_spanned! {Span::mixed_site()=>
        #private::Fields::new(
            {
                let __end = #private::align8(<#marker>::__AT[#count]);
                #(let __end = <#wires as #private::Value>::grow(__end, #locals);)*
                __end
            },
            |__out: &mut [#private::u8]| {
                let mut __writer = #private::Writer::new(__out, <#marker>::__AT[#count]);
                #(<#wires as #private::Value>::put(&mut __writer, <#marker>::__AT[#at], #locals);)*
            },
        )
    };
    (statements, request)
}

/// The view of the parameter `name`, to send.
fn view(contract: &Contract<'_>, argument: &Argument<'_>, wire: &TokenStream, name: &Ident) -> TokenStream {
    let private = contract.private;
    match argument.kind {
        ArgumentKind::Text | ArgumentKind::Plain | ArgumentKind::PlainOption(_) | ArgumentKind::Option => quote!(#name),
        ArgumentKind::Slice(element) if known_layout(element).is_some() => quote!(#name),
        ArgumentKind::Slice(element) => {
            let (select, _) = contract.select_argument(argument.ty);
            quote!(<#select as #private::PassSlice<'_, #element, #wire>>::pass(#name))
        }
        ArgumentKind::Reference(inner) if known_layout(inner).is_some() => quote!(*#name),
        ArgumentKind::Reference(_) | ArgumentKind::Other => quote!(#private::IntoView::<'_, #wire>::into_view(#name)),
    }
}

/// The return type of a client's function that opens a stream for `'c`.
pub(crate) fn opened(contract: &Contract<'_>, own: &TokenStream) -> TokenStream {
    let private = contract.private;
    quote_spanned! {Span::mixed_site()=>
        #private::Result<
            #private::OpenStream<'c, #own>,
            #private::CallError<<#own as #private::Contract>::Error>,
        >
    }
}

/// The return type of a client's function that opens a stream from a task.
pub(crate) fn opened_async(contract: &Contract<'_>, own: &TokenStream) -> TokenStream {
    let private = contract.private;
    quote_spanned! {Span::mixed_site()=>
        #private::Result<#private::AsyncStream<#own>, #private::CallError<<#own as #private::Contract>::Error>>
    }
}

/// The return type of a client's function, and the conversion from the received message.
pub(crate) fn reply(contract: &Contract<'_>, own: &TokenStream) -> (TokenStream, TokenStream) {
    let private = contract.private;
    let error = if contract.result_error().is_none() {
        quote!(#private::CallError)
    } else {
        quote!(#private::CallError<<#own as #private::Contract>::Error>)
    };
    if contract.is_packed {
        let (ty, _) = contract.packed_value();
        let select = contract.select_packed(&ty);
        let spell = quote!(.map(<#select as #private::Spelled<#ty, #private::Owned<#own>>>::spell));
        return (quote!(#private::Result<#ty, #error>), spell);
    }
    match written_reply(contract) {
        Some(ty) => {
            let select = contract.select_reply();
            let message = quote!(<#own as #private::Contract>::Reply);
            let spell = quote!(.map(<#select as #private::Spelled<#ty, #message>>::spell));
            (quote!(#private::Result<#ty, #error>), spell)
        }
        None => (quote!(#private::Result<<#own as #private::Contract>::Reply, #error>), quote!()),
    }
}

/// The type of the reply as the user wrote it, for readable documentation; `None` for a borrowed or unknown type.
fn written_reply(contract: &Contract<'_>) -> Option<Type> {
    let ReplyForm::Value(written) = contract.reply else { return None };
    let value = result_types(written).map_or(*written, |(value, _)| value);
    is_owned(value).then(|| value.clone())
}

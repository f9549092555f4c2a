//! The code of a handler's closure: from the bytes of a request to the arguments, and from the returned value to a
//! reply.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;

use super::{Contract, local_name};
use crate::endpoint::model::ReplyForm;
use crate::endpoint::params::{Argument, ArgumentKind, Param};
use crate::endpoint::streams::ItemSource;
use crate::span::SpanRange;
use crate::types::field_type::known_layout;

/// A handler: the `EntryHandler` of an endpoint with this access to the state, whose closure calls `function`, with the
/// state as the first parameter if `is_method`.
pub(crate) fn handler(
    contract: &Contract<'_>,
    function: &TokenStream,
    state: Access<'_>,
    is_method: bool,
) -> TokenStream {
    let private = contract.private;
    let is_async = matches!(state, Access::Async(_));
    let body = body(contract, function, is_method, is_async);
    let param = match state {
        Access::None | Access::Async(None) => quote!(_),
        _ => quote_spanned!(Span::mixed_site()=> __state),
    };
    let is_stream = contract.reply.stream().is_some();
    let closure = if is_async {
        quote_spanned!(Span::mixed_site()=> |#param, __request, __context| #body)
    } else if is_stream {
        quote_spanned!(Span::mixed_site()=> |#param, __request| #body)
    } else {
        quote_spanned!(Span::mixed_site()=> |#param, __request, __reply| #body)
    };
    let inline = |variant: TokenStream| {
        if is_stream {
            quote!(#private::EntryHandler::Stream(#private::StreamHandler::#variant(#closure)))
        } else {
            quote!(#private::EntryHandler::#variant(#closure))
        }
    };
    match state {
        Access::None => inline(quote!(Stateless)),
        Access::Shared => inline(quote!(Shared)),
        Access::Exclusive => inline(quote!(Exclusive)),
        Access::Async(None) => quote!(#private::start_stateless(#closure)),
        Access::Async(Some(state)) => quote!(#private::start_shared::<#state>(#closure)),
    }
}

/// A handler's access to the state.
#[derive(Clone, Copy)]
pub(crate) enum Access<'a> {
    None,
    Shared,
    Exclusive,
    /// The handler is `async`, and shares the state of this type.
    Async(Option<&'a TokenStream>),
}

/// The body of the handler's closure.
fn body(contract: &Contract<'_>, function: &TokenStream, is_method: bool, is_async: bool) -> TokenStream {
    let (private, marker) = (contract.private, &contract.marker);
    let arguments: Vec<_> = contract.params.arguments().collect();
    let names: Vec<_> = (0..arguments.len()).map(local_name).collect();
    let mut rest = names.iter().zip(&arguments);
    let context = &contract.name;
    let state = if is_async {
        quote_spanned!(Span::mixed_site()=> &*__state)
    } else {
        quote_spanned!(Span::mixed_site()=> __state)
    };
    let passed = contract.params.all.iter().map(|param| match param {
        Param::State(_) => state.clone(),
        Param::Context if is_async => quote_spanned!(Span::mixed_site()=> &__context.get()),
        Param::Context => {
            quote_spanned!(Span::mixed_site()=> &#private::context(__request, #context))
        }
        Param::Slot(_) => quote_spanned!(Span::mixed_site()=> __slot),
        Param::Items(_) => quote_spanned!(Span::mixed_site()=> __items),
        Param::Sender(_) => quote_spanned!(Span::mixed_site()=> __sender),
        Param::Argument(_) => match rest.next() {
            Some((name, Argument { kind: ArgumentKind::Reference(_), .. })) if contract.params.are_fields() => {
                quote!(&#name)
            }
            Some((name, _)) => quote!(#name),
            None => quote!(),
        },
    });
    let receiver = is_method.then(|| quote!(#state,));
    let call = quote!(#function(#receiver #(#passed),*));
    let answer = if is_async {
        let has_state = is_method || contract.params.state().is_some();
        answer_later(contract, function, &call, has_state)
    } else {
        answer(contract, &call)
    };
    if contract.is_packed {
        return contract.packed_handler(&answer);
    }
    if contract.params.are_fields() {
        let wires: Vec<_> = contract.wires().collect();
        let count = arguments.len();
        let whole = &contract.name;
        let reads = arguments.iter().zip(&wires).zip(&names).enumerate().map(|(at, ((argument, wire), name))| {
            let text = argument.name.as_ref().map(|name| name.unraw().to_string()).unwrap_or_default();
            let place = format!("argument `{text}` of {whole}");
            let converted = convert(contract, argument, wire, name);
            quote_spanned! {Span::mixed_site()=>
                let #name = <#wire as #private::Value>::get(&mut __head, <#marker>::__AT[#at], __scratch, #place)?;
                #converted
            }
        });
        return quote_spanned! {Span::mixed_site()=>
            #private::handle(__request, false #(|| <#wires as #private::Value>::COPIES)*, |__message, __scratch| {
                let mut __head =
                    #private::Head::<[#private::u8; <#marker>::__AT[#count]]>::open(__message, #whole)?;
                #(#reads)*
                #answer
            })
        };
    }
    let (Some(argument), Some(name)) = (arguments.first(), names.first()) else {
        return quote_spanned! {Span::mixed_site()=>
            { #private::empty(__request)?; #answer }
        };
    };
    if let ArgumentKind::Reference(inner) = argument.kind {
        let select = contract.select_value(inner);
        return quote_spanned! {Span::mixed_site()=>
            <#select as #private::Slot<#inner>>::lend(__request, |#name| #answer)
        };
    }
    let wire = contract.wire(0, argument);
    let converted = convert(contract, argument, &wire, name);
    quote_spanned! {Span::mixed_site()=>
        #private::handle(__request, <#wire as #private::Value>::COPIES, |__message, __scratch| {
            let #name = <#wire as #private::Value>::read_message(__message, __scratch, "the request")?;
            #converted
            #answer
        })
    }
}

/// The statement that converts the view of an argument to the type of the parameter.
fn convert(contract: &Contract<'_>, argument: &Argument<'_>, wire: &TokenStream, name: &Ident) -> TokenStream {
    let (private, ty) = (contract.private, argument.ty);
    match argument.kind {
        ArgumentKind::Text | ArgumentKind::Plain | ArgumentKind::PlainOption(_) => quote!(),
        ArgumentKind::Slice(element) if known_layout(element).is_some() => quote!(),
        ArgumentKind::Reference(inner) if known_layout(inner).is_some() => quote!(),
        ArgumentKind::Reference(inner) => {
            let select = contract.select_value(inner);
            quote!(let #name = <#select as #private::Slot<#inner>>::own(#name);)
        }
        ArgumentKind::Slice(_) | ArgumentKind::Option | ArgumentKind::Other => {
            let (select, _) = contract.select_argument(ty);
            quote!(let #name = <#select as #private::Take<'_, #ty, #wire>>::take(#name);)
        }
    }
}

/// The expression that calls the function and makes the reply.
fn answer(contract: &Contract<'_>, call: &TokenStream) -> TokenStream {
    let private = contract.private;
    if contract.is_packed {
        return contract.packed_answer(call);
    }
    let how = contract.error_mode();
    if let Some(stream) = contract.reply.stream() {
        let select = contract.select_reply();
        let items = match stream.source {
            ItemSource::Iterator => {
                quote_spanned!(Span::mixed_site()=> #private::stream::<#how, #select, _>(#call))
            }
            ItemSource::FallibleIterator => quote_spanned! {Span::mixed_site()=>
                #private::stream_or_error::<#how, #select, _, _>(#private::fallible(#call))
            },
            ItemSource::FallibleIteratorOfResults | ItemSource::Sender => {
                quote_spanned!(Span::mixed_site()=> #private::stream_or_error::<#how, #select, _, _>(#call))
            }
        };
        return items;
    }
    if let ReplyForm::Slot { wire, .. } = contract.reply {
        let wire = wire.map_or_else(|| quote!([#private::u8]), ToTokens::to_token_stream);
        quote_spanned! {Span::mixed_site()=>
            #private::answer_slot::<#wire, #how, _>(__reply, |__slot| #call)
        }
    } else {
        let select = contract.select_reply();
        quote_spanned!(Span::mixed_site()=> #private::answer::<#how, #select, _>(__reply, #call))
    }
}

/// The expression that makes the future of an `async` function, which keeps the state and makes the reply.
fn answer_later(contract: &Contract<'_>, function: &TokenStream, call: &TokenStream, has_state: bool) -> TokenStream {
    let private = contract.private;
    let output = if contract.is_packed {
        contract.packed_output()
    } else {
        let (how, select) = (contract.error_mode(), contract.select_reply());
        quote_spanned!(Span::mixed_site()=> #private::answer_later::<#how, #select, _>(__value))
    };
    let state = has_state.then(|| quote_spanned!(Span::mixed_site()=> let __state = #private::Clone::clone(__state);));
    let future = quote_spanned! {Span::mixed_site()=>
        #private::task(async move {
            let __value = #call.await;
            #output
        })
    };
    // rustc reports a future that cannot be a task at the name of the function.
    let future = SpanRange::of(function).located(future);
    quote_spanned!(Span::mixed_site()=> { #state #private::Result::Ok(#future) })
}

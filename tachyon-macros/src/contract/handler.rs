//! The code of a handler's closure: from the bytes of a request to the arguments, and from the returned value to a
//! reply.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Type;
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
    let run = match state {
        Access::Async(_) => Run::Task,
        Access::Thread(_) => Run::Thread,
        Access::None | Access::Shared | Access::Exclusive => Run::Inline,
    };
    let body = body(contract, function, is_method, run);
    let param = match state {
        Access::None | Access::Async(None) | Access::Thread(None) => quote!(_),
        _ => quote_spanned!(Span::mixed_site()=> __state),
    };
    let is_stream = contract.reply.stream().is_some();
    let closure = if run != Run::Inline {
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
        Access::Thread(None) => quote!(#private::thread_stateless(#closure)),
        Access::Thread(Some(state)) => quote!(#private::thread_shared::<#state>(#closure)),
    }
}

/// Where a handler runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    /// On the serving thread, while the request is in the ring.
    Inline,
    /// As a task of a runtime.
    Task,
    /// On a thread of its own.
    Thread,
}

/// A handler's access to the state.
#[derive(Clone, Copy)]
pub(crate) enum Access<'a> {
    None,
    Shared,
    Exclusive,
    /// The handler is `async`, and shares the state of this type.
    Async(Option<&'a TokenStream>),
    /// The handler runs on a thread of its own, and shares the state of this type.
    Thread(Option<&'a TokenStream>),
}

/// The body of the handler's closure.
fn body(contract: &Contract<'_>, function: &TokenStream, is_method: bool, run: Run) -> TokenStream {
    let (private, marker) = (contract.private, &contract.marker);
    let arguments: Vec<_> = contract.params.arguments().collect();
    let names: Vec<_> = (0..arguments.len()).map(local_name).collect();
    let mut rest = names.iter().zip(&arguments);
    let context = &contract.name;
    let is_later = run != Run::Inline;
    let state = if is_later {
        quote_spanned!(Span::mixed_site()=> &*__state)
    } else {
        quote_spanned!(Span::mixed_site()=> __state)
    };
    let passed = contract.params.all.iter().map(|param| match param {
        Param::State(_) => state.clone(),
        Param::Context if is_later => quote_spanned!(Span::mixed_site()=> &__context.get()),
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
    let answer = if is_later {
        let has_state = is_method || contract.params.state().is_some();
        answer_later(contract, function, &call, has_state, run)
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
    let how = contract.error_mode();
    if let Some(stream) = contract.reply.stream() {
        let select = contract.select_reply();
        let (suffix, items) = returned_items(contract, stream.source, call);
        let open = format_ident!("replies{suffix}");
        return quote_spanned!(Span::mixed_site()=> #private::#open::<#how, #select, _>(#items));
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

/// The expression that makes the future of a function that runs as a task or on a thread. The future keeps the state
/// and makes the reply.
fn answer_later(
    contract: &Contract<'_>,
    function: &TokenStream,
    call: &TokenStream,
    has_state: bool,
    run: Run,
) -> TokenStream {
    let private = contract.private;
    let stream = contract.reply.stream();
    let how = contract.error_mode();
    let output = match stream.map(|stream| stream.source) {
        None => {
            let select = contract.select_reply();
            quote_spanned!(Span::mixed_site()=> #private::answer_later::<#how, #select, _>(__value))
        }
        // The function returns nothing: the reply is the end of its items.
        Some(ItemSource::Sender) => quote_spanned! {Span::mixed_site()=>
            #private::answer_later::<#how, #private::Select<true>, _>(__value)
        },
        Some(source) => {
            let (suffix, items) = returned_items(contract, source, &quote_spanned!(Span::mixed_site()=> __value));
            let send = format_ident!("send_all{suffix}");
            let select = contract.select_reply();
            quote_spanned!(Span::mixed_site()=> #private::#send::<#how, #select, _>(&__context, #items))
        }
    };
    let state = has_state.then(|| quote_spanned!(Span::mixed_site()=> let __state = #private::Clone::clone(__state);));
    let has_items = |of: &Type| {
        if contract.is_packed {
            let select = contract.select_packed(of);
            quote!(<#select as #private::Packed<#of>>)
        } else {
            let select = contract.select_value(of);
            quote!(<#select as #private::HasItems<#of>>)
        }
    };
    let items = contract.params.items().map(|of| {
        let has_items = has_items(of);
        quote_spanned!(Span::mixed_site()=> let __items = #has_items::items(&__context);)
    });
    let sender = contract.params.sender().map(|of| {
        let has_items = has_items(of);
        quote_spanned!(Span::mixed_site()=> let __sender = #has_items::sender(&__context);)
    });
    let wait = (run == Run::Task).then(|| quote!(.await));
    let future = quote_spanned! {Span::mixed_site()=>
        #private::task(async move {
            let __value = #call #wait;
            #output
        })
    };
    // rustc reports a future that cannot be a task at the name of the function.
    let future = SpanRange::of(function).located(future);
    quote_spanned!(Span::mixed_site()=> { #state #items #sender #private::Result::Ok(#future) })
}

/// The returned value as the items of the contract, and what the function that takes them has at the end of its name.
fn returned_items(contract: &Contract<'_>, source: ItemSource, returned: &TokenStream) -> (&'static str, TokenStream) {
    let private = contract.private;
    match source {
        ItemSource::Iterator | ItemSource::Sender => ("", returned.clone()),
        ItemSource::FallibleIterator => {
            ("_or_error", quote_spanned!(Span::mixed_site()=> #private::fallible(#returned)))
        }
        ItemSource::FallibleIteratorOfResults => ("_or_error", returned.clone()),
    }
}

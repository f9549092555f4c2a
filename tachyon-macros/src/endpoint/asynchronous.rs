//! The rules for an endpoint that outlives its request: an `async` one, and one with a stream of items as a parameter.
//! It owns what it takes and gives.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, GenericArgument, PathArguments, ReturnType, Signature, Type};

use super::params::{Param, Params, State};
use crate::report::Report;
use crate::types::advice::owned;
use crate::types::reply_type::result_types;
use crate::types::{last_segment, text, type_arguments, ungroup};

/// Applies the rules to a function or a method.
pub(crate) fn check(sig: &Signature, params: &Params<'_>, report: &mut Report) {
    if !outlives_request(sig, params) {
        return;
    }
    let is_async = sig.asyncness.is_some();
    let endpoint = if is_async { "an `async` endpoint" } else { "an endpoint with a stream as a parameter" };
    let types = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(param) => Some(&*param.ty),
        FnArg::Receiver(_) => None,
    });
    for (ty, param) in types.zip(&params.all) {
        match param {
            Param::State(State::Exclusive(state)) => {
                let state = text(state);
                let advice = format!(
                    "{endpoint} shares the state with the calls that run beside it: write `&{state}`, with a lock in it"
                );
                report.at(ty, advice);
            }
            Param::Slot(_) => {
                let advice = format!(
                    "{endpoint} has no reply slot, because the ring keeps no room until it ends: return the reply"
                );
                report.at(ty, advice);
            }
            Param::Argument(_) if borrows(ty.to_token_stream()) => {
                let leaves = if is_async { "before the first `.await`" } else { "before the function runs" };
                let advice = format!(
                    "{endpoint} owns its arguments, because the request leaves the ring {leaves}: write {}",
                    owned_form(ty).map_or("an owned type".to_owned(), |owned| format!("`{owned}`"))
                );
                report.at(ty, advice);
            }
            Param::State(State::Shared(_))
            | Param::Context
            | Param::Items(_)
            | Param::Sender(_)
            | Param::Argument(_) => {}
        }
    }
    if let ReturnType::Type(_, ty) = &sig.output {
        let value = result_types(ty).map_or(&**ty, |(value, _)| value);
        if borrows(value.to_token_stream()) {
            let advice = format!(
                "{endpoint} owns its reply, because the {} that it borrows from ends first: write {}",
                if is_async { "future" } else { "function" },
                owned_form(value).map_or("an owned type".to_owned(), |owned| format!("`{owned}`"))
            );
            report.at(value, advice);
        }
    }
}

/// Whether the handler runs after its request has left the ring.
pub(crate) fn outlives_request(sig: &Signature, params: &Params<'_>) -> bool {
    sig.asyncness.is_some() || params.has_streams()
}

/// Whether a type borrows for less than `'static`, as far as its syntax tells.
pub(super) fn borrows(ty: TokenStream) -> bool {
    let mut tokens = ty.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) if borrows(group.stream()) => return true,
            TokenTree::Punct(mark) if mark.as_char() == '&' => {
                let named = matches!(tokens.peek(), Some(TokenTree::Punct(quote)) if quote.as_char() == '\'');
                if !named {
                    return true;
                }
            }
            TokenTree::Punct(quote) if quote.as_char() == '\'' => {
                let lifetime = tokens.next().map(|name| name.to_string());
                if lifetime.as_deref() != Some("static") {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// The owned form of a borrowed type; `None` if its name does not tell.
pub(super) fn owned_form(ty: &Type) -> Option<String> {
    if let Type::Reference(reference) = ungroup(ty) {
        return Some(owned(&reference.elem));
    }
    let segment = last_segment(ty)?;
    let name = segment.ident.to_string();
    match name.as_str() {
        "Option" => Some(format!("Option<{}>", owned_form(type_arguments(segment).next()?)?)),
        "List" => Some(format!("Vec<{}>", text(type_arguments(segment).next()?))),
        name => {
            let owned = name.strip_suffix("Ref").filter(|name| !name.is_empty())?;
            let arguments = match &segment.arguments {
                PathArguments::AngleBracketed(arguments) => arguments.args.iter(),
                _ => return Some(owned.to_owned()),
            };
            let kept = arguments.filter(|argument| !matches!(argument, GenericArgument::Lifetime(_)));
            let kept: Vec<_> = kept.map(|argument| argument.to_token_stream().to_string()).collect();
            Some(if kept.is_empty() { owned.to_owned() } else { format!("{owned}<{}>", kept.join(", ")) })
        }
    }
}

//! The rules for an endpoint's parameters: the state if it takes one, the request, and the reply slot if it writes its
//! reply in place.

use quote::{ToTokens, quote};
use syn::{FnArg, Generics, PatType, Signature, Type, TypeReference};

use crate::diag::Report;
use crate::model::{ReplyForm, RequestForm, Shape, State, last_segment, peel, type_arguments};
use crate::wire::{Slot, not_a_payload, reply_slot};

const ORDER: &str = "an endpoint takes the state `&S` or `&mut S`, the request, and a `ReplySlot`, in this order, and each \
                     only if it needs it";
const REQUEST: &str = "a request is taken as `&[u8]`, `&T` or `&[T]` of payload types, or as `()`";
const NO_REQUEST: &str = "; state comes first of two: write `_: ()` after it when there is no request";

/// The parameters of an endpoint that keep every rule.
pub(crate) struct Params<'a> {
    state: State<'a>,
    request: RequestForm<'a>,
    slot: Option<Slot<'a>>,
}

impl<'a> Params<'a> {
    /// Everything that travels. A slot is where the reply is, whatever the function returns.
    pub(crate) fn with_reply(self, returned: ReplyForm<'a>) -> (State<'a>, Shape<'a>) {
        let reply = self.slot.map_or(returned, |slot| ReplyForm::Slot(slot.wire));
        (self.state, Shape { request: self.request, reply })
    }
}

/// Reads the parameters of a free function.
pub(crate) fn of_function<'a>(sig: &'a Signature, report: &mut Report) -> Option<Params<'a>> {
    let mut params = Vec::new();
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => report
                .at(receiver, "an endpoint is a free function: for one with `self`, put `#[tachyon_rpc]` on a trait"),
            FnArg::Typed(param) => params.push(param),
        }
    }
    let slot = take_slot(&mut params);
    conditions(&params, report);
    match &params[..] {
        [] => Some(Params { state: State::None, request: RequestForm::Nothing, slot }),
        [request_param] => {
            let request = request(request_param, &sig.generics, true, report);
            Some(Params { state: State::None, request: request?, slot })
        }
        [state_param, request_param, surplus @ ..] => {
            if !surplus.is_empty() {
                report.at(quote!(#(#surplus),*), format!("too many parameters: {ORDER}"));
            }
            let state = state(state_param, &sig.generics, report);
            let request = request(request_param, &sig.generics, false, report);
            Some(Params { state: state?, request: request?, slot })
        }
    }
}

/// Reads the parameters of a service's method, after `self`.
pub(crate) fn of_method<'a>(sig: &'a Signature, report: &mut Report) -> Option<Params<'a>> {
    let mut params: Vec<_> = typed(sig).collect();
    let slot = take_slot(&mut params);
    conditions(&params, report);
    match &params[..] {
        [] => Some(Params { state: State::None, request: RequestForm::Nothing, slot }),
        [request_param, surplus @ ..] => {
            if !surplus.is_empty() {
                report.at(
                    quote!(#(#surplus),*),
                    "too many parameters: a method of a service takes the request and a `ReplySlot`; its state is `self`",
                );
            }
            let request = request(request_param, &sig.generics, false, report);
            Some(Params { state: State::None, request: request?, slot })
        }
    }
}

/// Whether callers pass a request, as far as a faulty signature tells.
pub(crate) fn takes_request(sig: &Signature) -> bool {
    let mut params: Vec<_> = typed(sig).collect();
    take_slot(&mut params);
    params.last().is_some_and(|param| !is_unit(&param.ty))
}

/// The parameters without `self`.
fn typed(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(param) => Some(param),
        FnArg::Receiver(_) => None,
    })
}

/// Takes the slot off the end of the list.
fn take_slot<'a>(params: &mut Vec<&'a PatType>) -> Option<Slot<'a>> {
    let slot = reply_slot(&params.last()?.ty)?;
    params.pop();
    Some(slot)
}

fn conditions(params: &[&PatType], report: &mut Report) {
    for attr in params.iter().flat_map(|param| &param.attrs) {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            report.at(attr, "a parameter of an endpoint cannot be conditional: put the `cfg` on the function");
        }
    }
}

fn state<'a>(param: &'a PatType, generics: &Generics, report: &mut Report) -> Option<State<'a>> {
    let Type::Reference(TypeReference { lifetime, mutability, elem, .. }) = peel(&param.ty) else {
        report.at(&param.ty, format!("the first of two parameters is the state, as `&S` or `&mut S`: {ORDER}"));
        return None;
    };
    if let Type::ImplTrait(_) = peel(elem) {
        report.at(&param.ty, "the state has one type: `impl Trait` leaves open which");
        return None;
    }
    if let Some(lifetime) = lifetime.as_ref().filter(|lifetime| lifetime.ident != "_") {
        // One of the function's own has been reported where it is declared.
        if !generics.lifetimes().any(|declared| declared.lifetime == *lifetime) {
            report
                .at(lifetime, format!("the state is lent while the endpoint runs, not for `{lifetime}`: leave it out"));
        }
        return None;
    }
    Some(if mutability.is_some() { State::Exclusive(elem) } else { State::Shared(elem) })
}

/// `alone` when there is no parameter before it, so that it may have been meant as the state.
fn request<'a>(param: &'a PatType, generics: &Generics, alone: bool, report: &mut Report) -> Option<RequestForm<'a>> {
    let ty = &param.ty;
    let reference = match peel(ty) {
        Type::Reference(reference) => reference,
        unit if is_unit(unit) => return Some(RequestForm::Unit),
        other => {
            report.at(ty, format!("{REQUEST}{}", instead_of(other)));
            return None;
        }
    };
    let TypeReference { lifetime, mutability, elem, .. } = reference;
    let travels = match peel(elem) {
        Type::Slice(slice) => not_a_payload(&slice.elem),
        Type::Path(_) if let Some(advice) = borrowed_owner(elem) => Some(advice),
        Type::ImplTrait(_) => Some("`impl Trait` has no one type to dispatch to".to_owned()),
        other => not_a_payload(other),
    };
    if let Some(advice) = travels {
        report.at(ty, format!("{REQUEST}: {advice}"));
        return None;
    }
    if mutability.is_some() {
        let hint = if alone && !matches!(peel(elem), Type::Slice(_)) { NO_REQUEST } else { "" };
        report.at(
            ty,
            format!("the request is borrowed read-only from shared memory: take `&`, and copy it to change it{hint}"),
        );
        return None;
    }
    match lifetime {
        Some(lifetime) if lifetime.ident != "_" => {
            // One of the function's own has been reported where it is declared.
            if !generics.lifetimes().any(|declared| declared.lifetime == *lifetime) {
                report.at(
                    lifetime,
                    format!("the request lives only while the endpoint runs, not for `{lifetime}`: leave it out"),
                );
            }
            None
        }
        _ => Some(RequestForm::Borrowed(elem)),
    }
}

fn is_unit(ty: &Type) -> bool {
    matches!(peel(ty), Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// What to write instead of a request by value.
fn instead_of(ty: &Type) -> String {
    match ty {
        Type::ImplTrait(_) => ": `impl Trait` has no one type to dispatch to".to_owned(),
        Type::Path(_) => match (borrowed_owner(ty), not_a_payload(ty)) {
            (Some(advice), _) | (None, Some(advice)) => format!(": {advice}"),
            (None, None) => {
                let text = ty.to_token_stream().to_string().replace(' ', "");
                format!(": it lies in shared memory, so write `&{text}`")
            }
        },
        _ => String::new(),
    }
}

/// What to write instead of `Vec`, `String` and their like, which are no requests but own what could be one.
fn borrowed_owner(ty: &Type) -> Option<String> {
    let segment = last_segment(ty)?;
    match segment.ident.to_string().as_str() {
        "Vec" | "Box" => {
            let element = type_arguments(segment).next()?.to_token_stream().to_string().replace(' ', "");
            Some(if element.starts_with('[') { format!("write `&{element}`") } else { format!("write `&[{element}]`") })
        }
        "String" | "str" => Some("write `&[u8]`, and check it with `str::from_utf8`".to_owned()),
        _ => None,
    }
}

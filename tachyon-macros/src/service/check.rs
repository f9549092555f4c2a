//! The rules for a service. Every rule is applied, so that one compile shows every mistake.

use std::collections::HashMap;

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{FnArg, ReceiverKind, Signature, TraitItem};

use super::model::{Method, Service, ServiceTrait, WrittenMethod};
use crate::args::Args;
use crate::endpoint::check::{generics, msg_type, qualifiers, reply, slot_result};
use crate::endpoint::model::{MsgType, ReplyForm};
use crate::endpoint::params::Params;
use crate::endpoint::{asynchronous, params, streams};
use crate::report::Report;

/// The names of the clients' own functions.
pub(super) const TAKEN: [&str; 8] =
    ["new", "within", "metadata", "idempotent", "window", "starting", "get_mut", "into_inner"];

/// Applies every rule.
///
/// The result is valid only if `report` is empty afterwards. `None` means that a part of the service is unreadable.
pub(crate) fn check<'a>(args: &'a Args, declared: &'a ServiceTrait, report: &mut Report) -> Option<Service<'a>> {
    let item = &declared.item;
    if let Some(unsafety) = &item.unsafety {
        report.at(
            unsafety,
            "a service cannot be `unsafe`: a remote caller cannot uphold its safety conditions; remove `unsafe`",
        );
    }
    if !item.generics.params.is_empty() || item.generics.where_clause.is_some() {
        let (params, clause) = (&item.generics.params, &item.generics.where_clause);
        report.at(quote!(#params #clause), "a service cannot be generic: both sides name one type for each endpoint");
    }
    for member in &item.items {
        match member {
            TraitItem::Fn(_) => {}
            TraitItem::Type(member) => {
                report
                    .at(&member.ident, "a service has no associated types: both sides name one type for each endpoint");
            }
            TraitItem::Const(member) => {
                report.at(&member.ident, "a service has only methods: move this constant to another trait");
            }
            other => report.at(other, "a service has only methods, and no macro calls: write the methods out"),
        }
    }
    let methods: Vec<_> = declared.methods.iter().map(|method| self::method(method, report)).collect();
    duplicates(&methods, report);
    let methods = methods.into_iter().collect::<Option<_>>()?;
    Some(Service { declared, library: &args.library, methods })
}

fn method<'a>(declared: &'a WrittenMethod, report: &mut Report) -> Option<Method<'a>> {
    let sig = &declared.method.sig;
    let number = if let Some(args) = &declared.args {
        args.msg_type.as_ref().and_then(|value| msg_type(value, report))
    } else {
        report.at(
            &sig.ident,
            "a method of a service is an endpoint: mark it with `#[rpc(msg_type = N)]`, or move it to another trait",
        );
        None
    };
    if TAKEN.contains(&sig.ident.unraw().to_string().as_str()) {
        report
            .at(&sig.ident, format!("the generated client has its own function `{}`: choose another name", sig.ident));
    }
    qualifiers(sig, report);
    generics(sig, report);
    refuse_self_type(sig, report);
    let is_packed = declared.args.as_ref().is_some_and(|args| args.codec.is_some());
    let params = params::of_method(sig, is_packed, report);
    let returns = reply(&sig.output, is_packed, report);
    let exclusive = receiver(sig, params.as_ref(), report);
    let params = params?;
    asynchronous::check(sig, &params, report);
    let returns =
        returns && streams::check(sig, &params, is_packed, true, report) && slot_result(&sig.output, &params, report);
    let reply = returns.then(|| ReplyForm::of(&sig.output, &params))?;
    Some(Method { declared: &declared.method, msg_type: number?, exclusive: exclusive?, params, reply, is_packed })
}

/// Refuses `Self` in types: the caller has no implementor.
fn refuse_self_type(sig: &Signature, report: &mut Report) {
    let params = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(param) => Some(param.ty.to_token_stream()),
        FnArg::Receiver(_) => None,
    });
    for found in params.chain([sig.output.to_token_stream()]).filter_map(self_type_in) {
        report.at(found, "`Self` is a different type for each implementor: name the type that travels");
    }
}

fn self_type_in(tokens: TokenStream) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) => self_type_in(group.stream()),
        TokenTree::Ident(ref name) if name == "Self" => Some(token),
        _ => None,
    })
}

/// Whether the method takes `&mut self`.
fn receiver(sig: &Signature, params: Option<&Params<'_>>, report: &mut Report) -> Option<bool> {
    let Some(FnArg::Receiver(receiver)) = sig.inputs.first() else {
        report.at(
            &sig.ident,
            "a method of a service takes `&self` or `&mut self`, because the implementor is its state: add one",
        );
        return None;
    };
    if let ReceiverKind::Reference(_, None, mutability) = &receiver.kind {
        let outlives_request = sig.asyncness.is_some() || params.is_some_and(Params::has_streams);
        if outlives_request && mutability.is_some() {
            let method =
                if sig.asyncness.is_some() { "an `async` method" } else { "a method with a stream as a parameter" };
            let advice = format!(
                "{method} shares the implementor with the calls that run beside it: write `&self`, with a lock in the \
                 implementor"
            );
            report.at(receiver, advice);
            return None;
        }
        return Some(mutability.is_some());
    }
    report.at(
        receiver,
        "a method of a service takes `&self` or `&mut self`, because it is called many times: write one of these",
    );
    None
}

/// Refuses equal literal numbers. Only the compiler can compare constants.
fn duplicates(methods: &[Option<Method<'_>>], report: &mut Report) {
    let mut seen = HashMap::new();
    for method in methods.iter().flatten() {
        // Conditional methods may share a number: the compiler knows which of them exist.
        let conditional = method.declared.attrs.iter().any(|attr| attr.path().is_ident("cfg"));
        let MsgType::Literal(literal) = method.msg_type else { continue };
        let Ok(number) = literal.base10_parse::<u16>() else { continue };
        if conditional {
            continue;
        }
        let name = &method.declared.sig.ident;
        if let Some(other) = seen.insert(number, name) {
            report
                .at(literal, format!("two methods of a service cannot share a msg_type: `{other}` has {number}, too"));
        }
    }
}

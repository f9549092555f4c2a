//! The rules for a service. All of them are applied, so that one compile shows every mistake.

use std::collections::HashMap;

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{FnArg, ReceiverKind, Signature, TraitItem};

use super::model::{Declared, Method, Service, Trait};
use crate::args::Args;
use crate::check::{generics, msg_type, qualifiers, reply, slot_result};
use crate::diag::Report;
use crate::model::{MsgType, ReplyForm};
use crate::params;

/// Names of the client's own functions.
const TAKEN: [&str; 2] = ["new", "within"];

/// Applies every rule.
///
/// The service is sound only if `report` is empty afterwards; `None` means that some part of it has no sound reading.
pub(crate) fn check<'a>(args: &'a Args, declared: &'a Trait, report: &mut Report) -> Option<Service<'a>> {
    let item = &declared.item;
    if let Some(unsafety) = &item.unsafety {
        report.at(unsafety, "a service cannot be `unsafe`: a remote caller cannot uphold what it demands");
    }
    if !item.generics.params.is_empty() || item.generics.where_clause.is_some() {
        let (params, clause) = (&item.generics.params, &item.generics.where_clause);
        report.at(quote!(#params #clause), "a service has no generics: both sides name one type for each endpoint");
    }
    for part in &item.items {
        match part {
            TraitItem::Fn(_) => {}
            TraitItem::Type(part) => {
                report.at(&part.ident, "a service has no associated types: both sides name one type for each endpoint");
            }
            TraitItem::Const(part) => report.at(&part.ident, "a service has methods only: move this to another trait"),
            other => report.at(other, "a service has methods only, written out"),
        }
    }
    let methods: Vec<_> = declared.methods.iter().map(|method| self::method(method, report)).collect();
    duplicates(&methods, report);
    let methods = methods.into_iter().collect::<Option<_>>()?;
    Some(Service { declared, library: &args.library, methods })
}

fn method<'a>(declared: &'a Declared, report: &mut Report) -> Option<Method<'a>> {
    let sig = &declared.method.sig;
    let number = if let Some(args) = &declared.args {
        args.msg_type.as_ref().and_then(|value| msg_type(value, report))
    } else {
        report.at(
            &sig.ident,
            "every method of a service is an endpoint: give it `#[rpc(msg_type = N)]`, or move it to another trait",
        );
        None
    };
    if TAKEN.contains(&sig.ident.unraw().to_string().as_str()) {
        report.at(&sig.ident, format!("the generated client has a `{}` of its own: choose another name", sig.ident));
    }
    qualifiers(sig, report);
    generics(sig, report);
    implementor(sig, report);
    let exclusive = receiver(sig, report);
    let params = params::of_method(sig, report);
    let returns = reply(&sig.output, report);
    let params = params?;
    let returns = returns && slot_result(&sig.output, &params, report);
    let reply = returns.then(|| ReplyForm::of(&sig.output, &params))?;
    Some(Method { declared: &declared.method, msg_type: number?, exclusive: exclusive?, params, reply })
}

/// Refuses the implementor's type beside `self`: the caller's side has none.
fn implementor(sig: &Signature, report: &mut Report) {
    let params = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(param) => Some(param.ty.to_token_stream()),
        FnArg::Receiver(_) => None,
    });
    for found in params.chain([sig.output.to_token_stream()]).filter_map(implementor_in) {
        report.at(found, "`Self` is another type for each implementor: name the type that travels");
    }
}

fn implementor_in(tokens: TokenStream) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) => implementor_in(group.stream()),
        TokenTree::Ident(ref name) if name == "Self" => Some(token),
        _ => None,
    })
}

/// Whether the method takes `&mut self`.
fn receiver(sig: &Signature, report: &mut Report) -> Option<bool> {
    let Some(FnArg::Receiver(receiver)) = sig.inputs.first() else {
        report.at(&sig.ident, "a method of a service takes `&self` or `&mut self`: the implementor is its state");
        return None;
    };
    if let ReceiverKind::Reference(_, None, mutability) = &receiver.kind {
        return Some(mutability.is_some());
    }
    report.at(receiver, "a method of a service takes `&self` or `&mut self`: it is called again and again");
    None
}

/// Compares the numbers that are written out. Those of constants only the compiler knows.
fn duplicates(methods: &[Option<Method<'_>>], report: &mut Report) {
    let mut seen = HashMap::new();
    for method in methods.iter().flatten() {
        // Two methods of one number may exclude each other by their conditions: the compiler sees which are there.
        let conditional = method.declared.attrs.iter().any(|attr| attr.path().is_ident("cfg"));
        let MsgType::Literal(literal) = method.msg_type else { continue };
        let Ok(number) = literal.base10_parse::<u16>() else { continue };
        if conditional {
            continue;
        }
        let name = &method.declared.sig.ident;
        if let Some(other) = seen.insert(number, name) {
            report
                .at(literal, format!("each method of a service has its own msg_type, but `{other}` has {number} too"));
        }
    }
}

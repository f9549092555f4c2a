//! The rules for an endpoint. All of them are applied, so that one compile shows every mistake.

use syn::{Attribute, Expr, ExprLit, ExprUnary, GenericParam, Lit, LitInt, ReturnType, Safety, Signature, Type, UnOp};

use crate::args::Args;
use crate::contract::{is_known_reply, spelled_result};
use crate::diag::Report;
use crate::model::{Endpoint, Function, MsgType, ReplyForm, last_segment, peel, type_arguments};
use crate::params::not_a_payload;
use crate::params::{self, Params};

/// The `msg_type` that marks an error reply.
pub(crate) const RESERVED: u16 = u16::MAX;

const RANGE: &str = "a `msg_type` is a number from 0 to 65534";

/// Applies every rule.
///
/// The endpoint is sound only if `report` is empty afterwards; `None` means that some part of it has no sound reading.
pub(crate) fn check<'a>(args: &'a Args, function: &'a Function, report: &mut Report) -> Option<Endpoint<'a>> {
    let msg_type = args.msg_type.as_ref().and_then(|value| msg_type(value, report));
    attributes(function, report);
    qualifiers(&function.sig, report);
    generics(&function.sig, report);
    let params = params::of_function(&function.sig, report);
    let returns = reply(&function.sig.output, report);
    let params = params?;
    let returns = returns && slot_result(&function.sig.output, &params, report);
    let reply = returns.then(|| ReplyForm::of(&function.sig.output, &params))?;
    Some(Endpoint { function, library: &args.library, msg_type: msg_type?, params, reply })
}

pub(crate) fn msg_type<'a>(value: &'a Expr, report: &mut Report) -> Option<MsgType<'a>> {
    match value {
        Expr::Group(group) => msg_type(&group.expr, report),
        Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => literal_msg_type(literal, report),
        Expr::Path(path) => Some(MsgType::Constant(path)),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), .. }) => {
            report.at(value, format!("{RANGE}: it cannot be negative"));
            None
        }
        _ => {
            report.at(
                value,
                format!("{RANGE}, written as an integer literal or as the path of a `u16` constant, nothing else"),
            );
            None
        }
    }
}

fn literal_msg_type<'a>(literal: &'a LitInt, report: &mut Report) -> Option<MsgType<'a>> {
    if !matches!(literal.suffix(), "" | "u16") {
        report.at(literal, format!("a `msg_type` is a `u16`: leave out the suffix `{}`", literal.suffix()));
        return None;
    }
    match literal.base10_parse::<u16>() {
        Ok(RESERVED) => {
            report.at(literal, format!("msg_type {RESERVED} is reserved for error replies: {RANGE}"));
            None
        }
        Ok(_) => Some(MsgType::Literal(literal)),
        Err(_) => {
            report.at(literal, format!("msg_type {} is out of range: {RANGE}", literal.base10_digits()));
            None
        }
    }
}

fn attributes(function: &Function, report: &mut Report) {
    for attr in &function.attrs {
        if is_tachyon_rpc(attr) {
            report.at(attr, "a function is one endpoint, with one `msg_type`: keep one `tachyon_rpc`");
        }
    }
}

/// Whether this is the attribute itself, under whatever path.
pub(crate) fn is_tachyon_rpc(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|last| last.ident == "tachyon_rpc")
}

pub(crate) fn qualifiers(sig: &Signature, report: &mut Report) {
    if let Some(asyncness) = &sig.asyncness {
        report.at(asyncness, "an endpoint cannot be `async`: the dispatcher calls it and sends what it returns");
    }
    if !matches!(sig.safety, Safety::Default) {
        report.at(&sig.safety, "an endpoint cannot be `unsafe`: a remote caller cannot uphold what it demands");
    }
    if let Some(abi) = &sig.abi {
        report.at(abi, "an endpoint cannot be `extern`: the dispatcher calls it as a Rust function");
    }
    if let Some(variadic) = &sig.variadic {
        report.at(variadic.dots, "an endpoint cannot be variadic: each argument has a type");
    }
}

pub(crate) fn generics(sig: &Signature, report: &mut Report) {
    for param in &sig.generics.params {
        let message = match param {
            GenericParam::Lifetime(_) => {
                "an endpoint has no lifetime parameters: the request lives while it runs, so leave the lifetime out"
            }
            GenericParam::Type(_) => "an endpoint has no type parameters: one `msg_type` stands for one function",
            GenericParam::Const(_) => "an endpoint has no const parameters: one `msg_type` stands for one function",
        };
        report.at(param, message);
    }
}

/// Whether a reply can be made of what the function returns, as far as its spelling tells.
pub(crate) fn reply(output: &ReturnType, report: &mut Report) -> bool {
    let ReturnType::Type(_, ty) = output else { return true };
    match peel(ty) {
        Type::Never(never) => {
            report.at(never, "an endpoint returns: its caller waits for the reply");
            false
        }
        Type::ImplTrait(opaque) => {
            report.at(opaque, "a reply has one type, which both sides know: write it instead of `impl Trait`");
            false
        }
        whole => {
            let value = spelled_result(whole).map_or(whole, |(value, _)| value);
            match not_a_reply(value) {
                Some(advice) => {
                    report.at(value, advice);
                    false
                }
                None => true,
            }
        }
    }
}

/// Whether a function with a reply slot returns nothing else, as far as its spelling tells.
pub(crate) fn slot_result(output: &ReturnType, params: &Params<'_>, report: &mut Report) -> bool {
    let ReturnType::Type(_, ty) = output else { return true };
    let is_unit = |ty: &Type| matches!(peel(ty), Type::Tuple(tuple) if tuple.elems.is_empty());
    let value = spelled_result(ty).map_or(&**ty, |(value, _)| value);
    let wrong = params.slot().is_some() && is_known_reply(value) && !is_unit(value);
    if wrong {
        report.at(value, "the reply goes into the slot: return nothing, or `Result<(), E>`");
    }
    !wrong
}

/// What to write instead of a type that is known not to travel.
fn not_a_reply(ty: &Type) -> Option<String> {
    let segment = last_segment(ty);
    if let Some(segment) = segment.filter(|segment| segment.ident == "Option") {
        let inner = peel(type_arguments(segment).next()?);
        return match last_segment(inner) {
            Some(inner) if inner.ident == "Option" || inner.ident == "Result" => not_a_payload(ty),
            _ => not_a_reply(inner),
        };
    }
    let name = segment.map(|segment| segment.ident.to_string());
    let borrowed = ["str", "Result", "Box", "Arc", "Cow", "List"];
    match peel(ty) {
        Type::Path(_) if name.is_some_and(|name| borrowed.contains(&name.as_str())) => None,
        Type::Tuple(tuple) if tuple.elems.is_empty() => None,
        Type::Tuple(_) | Type::Path(_) | Type::Ptr(_) | Type::FnPtr(_) => not_a_payload(ty),
        _ => None,
    }
}

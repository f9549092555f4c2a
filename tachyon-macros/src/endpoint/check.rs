//! The rules for an endpoint. Every rule is applied, so that one compile shows every mistake.

use syn::{Attribute, Expr, ExprLit, ExprUnary, GenericParam, Lit, LitInt, ReturnType, Safety, Signature, Type, UnOp};

use super::asynchronous;
use super::model::{Endpoint, Function, MsgType, ReplyForm};
use super::params::{self, Params};
use super::streams::{self, is_like_stream};
use crate::args::Args;
use crate::report::Report;
use crate::types::advice::{packed_reply_advice, reply_advice};
use crate::types::iterator_type::IteratorType;
use crate::types::reply_type::{is_known_reply, result_types};
use crate::types::ungroup;

/// The `msg_type` that marks an error reply.
pub(crate) const RESERVED: u16 = u16::MAX;

const RANGE: &str = "a `msg_type` is a number from 0 to 65534";

/// Applies every rule.
///
/// The result is valid only if `report` is empty afterwards. `None` means that a part of the endpoint is unreadable.
pub(crate) fn check<'a>(args: &'a Args, function: &'a Function, report: &mut Report) -> Option<Endpoint<'a>> {
    let msg_type = args.msg_type.as_ref().and_then(|value| msg_type(value, report));
    attributes(function, report);
    qualifiers(&function.sig, report);
    generics(&function.sig, report);
    let is_packed = args.codec.is_some();
    let params = params::of_function(&function.sig, is_packed, report);
    let returns = reply(&function.sig.output, is_packed, report);
    let params = params?;
    asynchronous::check(&function.sig, &params, report);
    let returns = returns
        && streams::check(&function.sig, &params, is_packed, false, report)
        && slot_result(&function.sig.output, &params, report);
    let reply = returns.then(|| ReplyForm::of(&function.sig.output, &params))?;
    Some(Endpoint { function, library: &args.library, msg_type: msg_type?, params, reply, is_packed })
}

pub(crate) fn msg_type<'a>(value: &'a Expr, report: &mut Report) -> Option<MsgType<'a>> {
    match value {
        Expr::Group(group) => msg_type(&group.expr, report),
        Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => literal_msg_type(literal, report),
        Expr::Path(path) => Some(MsgType::Constant(path)),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), .. }) => {
            report.at(value, format!("{RANGE}, and this number is negative"));
            None
        }
        _ => {
            report.at(value, format!("{RANGE}: write an integer literal, or the path of a `u16` constant"));
            None
        }
    }
}

fn literal_msg_type<'a>(literal: &'a LitInt, report: &mut Report) -> Option<MsgType<'a>> {
    if !matches!(literal.suffix(), "" | "u16") {
        report.at(literal, format!("a `msg_type` is a `u16`: remove the suffix `{}`", literal.suffix()));
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
            report.at(attr, "a function is one endpoint with one `msg_type`: keep one `tachyon_rpc`");
        }
    }
}

/// Whether the attribute is `tachyon_rpc`, under any path.
pub(crate) fn is_tachyon_rpc(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|last| last.ident == "tachyon_rpc")
}

pub(crate) fn qualifiers(sig: &Signature, report: &mut Report) {
    if !matches!(sig.safety, Safety::Default) {
        report.at(
            &sig.safety,
            "an endpoint cannot be `unsafe`: a remote caller cannot uphold its safety conditions; remove `unsafe`",
        );
    }
    if let Some(abi) = &sig.abi {
        report.at(abi, "an endpoint cannot be `extern`: the dispatcher calls it as a Rust function; remove `extern`");
    }
    if let Some(variadic) = &sig.variadic {
        report.at(variadic.dots, "an endpoint cannot be variadic: give each argument a type");
    }
}

pub(crate) fn generics(sig: &Signature, report: &mut Report) {
    for param in &sig.generics.params {
        let message = match param {
            GenericParam::Lifetime(_) => {
                "an endpoint has no lifetime parameters: the request lives while the endpoint runs; remove the lifetime"
            }
            GenericParam::Type(_) => {
                "an endpoint has no type parameters: one `msg_type` stands for one function; name the types"
            }
            GenericParam::Const(_) => {
                "an endpoint has no const parameters: one `msg_type` stands for one function; write the numbers"
            }
        };
        report.at(param, message);
    }
}

/// Whether the return type can be a reply, as far as its syntax tells.
pub(crate) fn reply(output: &ReturnType, is_packed: bool, report: &mut Report) -> bool {
    let ReturnType::Type(_, ty) = output else { return true };
    match ungroup(ty) {
        Type::Never(never) => {
            report.at(
                never,
                "an endpoint must return, because its caller waits for the reply: write the type of the reply",
            );
            false
        }
        Type::ImplTrait(opaque) if !is_like_stream(ty) => {
            report.at(opaque, "a reply has one type, which both sides know: name it instead of `impl Trait`");
            false
        }
        whole if IteratorType::of(whole).is_some() || is_like_stream(whole) => true,
        whole => {
            let value = result_types(whole).map_or(whole, |(value, _)| value);
            let advice = if is_packed { packed_reply_advice(whole, value) } else { reply_advice(value) };
            match advice {
                Some(advice) => {
                    report.at(value, advice);
                    false
                }
                None => true,
            }
        }
    }
}

/// Whether a function with a reply slot returns no other value, as far as its syntax tells.
pub(crate) fn slot_result(output: &ReturnType, params: &Params<'_>, report: &mut Report) -> bool {
    let ReturnType::Type(_, ty) = output else { return true };
    let is_unit = |ty: &Type| matches!(ungroup(ty), Type::Tuple(tuple) if tuple.elems.is_empty());
    let value = result_types(ty).map_or(&**ty, |(value, _)| value);
    let wrong = params.slot().is_some() && is_known_reply(value) && !is_unit(value);
    if wrong {
        report.at(value, "the reply goes into the slot: return nothing, or `Result<(), E>`");
    }
    !wrong
}

//! The rules for an endpoint. All of them are applied, so that one compile shows every mistake.

use quote::quote;
use syn::{
    Attribute, Expr, ExprLit, ExprUnary, FnArg, GenericParam, Generics, Lit, LitInt, PatType, ReturnType, Safety,
    Signature, Type, UnOp,
};

use crate::args::Args;
use crate::diag::Report;
use crate::model::{Endpoint, Function, MsgType, NotARequest, ReplyForm, RequestForm, peel};

/// The `msg_type` that marks an error reply.
pub(crate) const RESERVED: u16 = u16::MAX;

const RANGE: &str = "a `msg_type` is a number from 0 to 65534";
const REQUEST: &str = "an endpoint has one parameter, the request as `&[u8]`";
const NOT_YET: &str = "typed payloads and shared state are not supported yet";

/// Applies every rule.
///
/// The endpoint is sound only if `report` is empty afterwards; `None` means that some part of it has no sound reading.
pub(crate) fn check<'a>(args: &'a Args, function: &'a Function, report: &mut Report) -> Option<Endpoint<'a>> {
    let msg_type = args.msg_type.as_ref().and_then(|value| msg_type(value, report));
    attributes(function, report);
    qualifiers(&function.sig, report);
    generics(&function.sig, report);
    let request = request(&function.sig, report);
    let reply = reply(&function.sig.output, report);
    Some(Endpoint { function, library: &args.library, msg_type: msg_type?, request: request?, reply: reply? })
}

fn msg_type<'a>(value: &'a Expr, report: &mut Report) -> Option<MsgType<'a>> {
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

fn qualifiers(sig: &Signature, report: &mut Report) {
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
        report.at(variadic.dots, "an endpoint cannot be variadic: it takes one `&[u8]`");
    }
}

fn generics(sig: &Signature, report: &mut Report) {
    for param in &sig.generics.params {
        let message = match param {
            GenericParam::Lifetime(_) => {
                "an endpoint has no lifetime parameters: leave the lifetime out and write `&[u8]`"
            }
            GenericParam::Type(_) => "an endpoint has no type parameters: one `msg_type` stands for one function",
            GenericParam::Const(_) => "an endpoint has no const parameters: one `msg_type` stands for one function",
        };
        report.at(param, message);
    }
}

fn request(sig: &Signature, report: &mut Report) -> Option<RequestForm> {
    let mut params = Vec::new();
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                report.at(receiver, "an endpoint is a free function: a method's `self` has nobody to provide it");
            }
            FnArg::Typed(param) => params.push(param),
        }
    }
    if params.is_empty() {
        if sig.variadic.is_none() {
            let parens = sig.paren_token.span.join();
            report.at_span(parens, format!("{REQUEST}: add it, even if it is not used"));
        }
        return None;
    }
    if let Some(surplus) = params.get(1..).filter(|surplus| !surplus.is_empty()) {
        report.at(quote!(#(#surplus),*), format!("{REQUEST}; {NOT_YET}"));
    }
    // Every parameter is looked at, so that a wrong type is not hidden by a wrong number of them.
    let forms: Vec<_> = params.iter().map(|param| request_param(param, &sig.generics, report)).collect();
    match <[_; 1]>::try_from(forms) {
        Ok([form]) => form,
        Err(_) => None,
    }
}

fn request_param(param: &PatType, generics: &Generics, report: &mut Report) -> Option<RequestForm> {
    for attr in &param.attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            report.at(attr, "a parameter of an endpoint cannot be conditional: put the `cfg` on the function");
        }
    }
    let refusal = match RequestForm::of(&param.ty) {
        Ok(form) => return Some(form),
        Err(refusal) => refusal,
    };
    match refusal {
        NotARequest::Mutable => report.at(
            &param.ty,
            "the request is borrowed read-only from shared memory: take `&[u8]`, and copy it to change it",
        ),
        // A lifetime of the function's own has been reported where it is declared.
        NotARequest::Lifetime(lifetime) if generics.lifetimes().any(|declared| declared.lifetime == *lifetime) => {}
        NotARequest::Lifetime(lifetime) => report.at(
            lifetime,
            format!("the request lives only while the endpoint runs, not for `{lifetime}`: write `&[u8]`"),
        ),
        NotARequest::ImplTrait => {
            report.at(&param.ty, format!("{REQUEST}: `impl Trait` has no one type to dispatch to"));
        }
        NotARequest::Unsupported => {
            report.at(&param.ty, format!("{REQUEST}; {NOT_YET}"));
        }
    }
    None
}

fn reply<'a>(output: &'a ReturnType, report: &mut Report) -> Option<ReplyForm<'a>> {
    if let ReturnType::Type(_, ty) = output
        && let Type::Never(never) = peel(ty)
    {
        report.at(never, "an endpoint returns: its caller waits for the reply");
        return None;
    }
    Some(ReplyForm::of(output))
}

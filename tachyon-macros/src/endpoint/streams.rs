//! The rules for streams: a returned iterator of items, the caller's `Items`, and a `StreamSender`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Path, ReturnType, Signature, Type, TypeParamBound, Visibility, parse_quote_spanned};

use super::asynchronous::{borrows, owned_form};
use super::params::{Param, Params};
use crate::report::Report;
use crate::types::advice::{packed_reply_advice, reply_advice};
use crate::types::iterator_type::{IteratorType, is_alias_of_result};
use crate::types::reply_type::result_types;
use crate::types::{last_segment, text, type_arguments, ungroup};

/// The replies of a stream.
pub(crate) struct StreamReply {
    /// The type of an item; a `Result` if the stream can fail.
    pub(crate) item: Type,
    pub(crate) source: ItemSource,
}

/// Where the items of a stream come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemSource {
    /// A returned iterator.
    Iterator,
    /// A returned `Result<iterator, E>`, whose items are no results.
    FallibleIterator,
    /// A returned `Result<iterator, E>`, whose items are results, too.
    FallibleIteratorOfResults,
    /// A parameter `StreamSender<T>`.
    Sender,
}

impl StreamReply {
    /// The replies of a function with this return type and these parameters; `None` without a stream.
    pub(crate) fn of(output: &ReturnType, params: &Params<'_>) -> Option<Self> {
        let returned = match output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(&**ty),
        };
        if let Some(sender) = params.sender() {
            let error = returned.and_then(result_types).map(|(_, error)| error);
            return Some(Self { item: fallible(sender, error), source: ItemSource::Sender });
        }
        let IteratorType { item, error, .. } = IteratorType::of(returned?)?;
        let item = item?;
        let (item, source) = match error {
            None => (item.clone(), ItemSource::Iterator),
            Some(_) if result_types(item).is_some() => (item.clone(), ItemSource::FallibleIteratorOfResults),
            Some(error) => (fallible(item, Some(error)), ItemSource::FallibleIterator),
        };
        Some(Self { item, source })
    }
}

/// `Result<T, E>`, or `T` without an error.
fn fallible(value: &Type, error: Option<&Type>) -> Type {
    match error {
        None => value.clone(),
        Some(error) => parse_quote_spanned!(Span::mixed_site()=> ::core::result::Result<#value, #error>),
    }
}

/// Applies the rules for the return type. The parameters have rules of their own.
pub(crate) fn check(
    sig: &Signature,
    params: &Params<'_>,
    is_packed: bool,
    is_method: bool,
    report: &mut Report,
) -> bool {
    let ReturnType::Type(_, ty) = &sig.output else { return true };
    if is_alias_of_result(ty) {
        report.at(ty, "the macro sees no error in this alias: write the `Result<T, E>` out");
        return false;
    }
    if params.sender().is_some() {
        return check_sender(ty, report);
    }
    let Some(returned) = IteratorType::of(ty) else {
        let Some(like) = opaque_like_iterator(ty) else { return true };
        report.at(like, "the items of a stream come from an iterator: write `impl Iterator<Item = T>`");
        return false;
    };
    let Some(item) = returned.item else {
        report.at(returned.iterator, "both sides know the type of the items: write `impl Iterator<Item = T>`");
        return false;
    };
    let mut sound = check_item(item, is_packed, report);
    let mut refuse = |tokens: &dyn ToTokens, advice: String| {
        report.at(tokens, advice);
        sound = false;
    };
    if let Some(asyncness) = sig.asyncness {
        let advice = format!(
            "an iterator cannot wait for a future: take a last parameter `out: StreamSender<{}>`, or remove `async`",
            text(item)
        );
        refuse(&asyncness, advice);
    }
    if params.slot().is_some() {
        refuse(&returned.iterator, "the items of a stream have no reply slot: remove the slot".to_owned());
    }
    if let (Some((_, inner)), Some(outer)) = (result_types(item), returned.error)
        && text(inner) != text(outer)
    {
        refuse(&outer, format!("a stream fails with one type of error: write `{}` here, too", text(inner)));
    }
    let borrowed = returned.bounds.iter().find(|bound| match bound {
        TypeParamBound::Lifetime(lifetime) => lifetime.ident != "static",
        TypeParamBound::PreciseCapture(captured) => !captured.params.is_empty() && !is_method,
        _ => false,
    });
    let whole = text(item);
    if let Some(bound) = borrowed {
        refuse(
            &bound,
            format!("the iterator outlives the request, so it owns what it needs: remove `{}`", bound_text(bound)),
        );
    } else if returned.is_boxed && !returned.has_bound("Send") {
        let advice = format!("threads pass the iterator on: write `Box<dyn Iterator<Item = {whole}> + Send>`");
        refuse(&returned.iterator, advice);
    } else if is_method && !returned.is_boxed && !returned.has_bound("static") {
        let advice = format!(
            "the iterator outlives the call of the method: write `impl Iterator<Item = {whole}> + 'static`, here and \
             in each implementation"
        );
        refuse(&returned.iterator, advice);
    }
    sound
}

fn bound_text(bound: &TypeParamBound) -> String {
    match bound {
        TypeParamBound::Lifetime(lifetime) => lifetime.to_string(),
        other => other.to_token_stream().to_string().replace(' ', ""),
    }
}

/// Checks the type of an item, as far as its syntax tells.
fn check_item(item: &Type, is_packed: bool, report: &mut Report) -> bool {
    let value = result_types(item).map_or(item, |(value, _)| value);
    let advice = if let Type::ImplTrait(_) = ungroup(value) {
        Some("an item has one type, which both sides know: name it instead of `impl Trait`".to_owned())
    } else if borrows(value.to_token_stream()) {
        let owned = owned_form(value).map_or("an owned type".to_owned(), |owned| format!("`{owned}`"));
        Some(format!("the items of a stream outlive the request: write {owned}"))
    } else if is_packed {
        packed_reply_advice(item, value)
    } else {
        reply_advice(value)
    };
    match advice {
        Some(advice) => {
            report.at(value, advice);
            false
        }
        None => true,
    }
}

/// Checks the return type of a function with a `StreamSender`.
fn check_sender(ty: &Type, report: &mut Report) -> bool {
    let value = result_types(ty).map_or(ty, |(value, _)| value);
    if matches!(ungroup(value), Type::Tuple(tuple) if tuple.elems.is_empty()) {
        return true;
    }
    report.at(value, "the items go into the `StreamSender`: return nothing, or `Result<(), E>`");
    false
}

/// Whether a type is an iterator, or a trait that looks like one.
pub(crate) fn is_like_stream(ty: &Type) -> bool {
    IteratorType::of(ty).is_some() || is_alias_of_result(ty) || opaque_like_iterator(ty).is_some()
}

/// The `impl IntoIterator`, or `impl Stream`, of a return type.
fn opaque_like_iterator(ty: &Type) -> Option<&Type> {
    let value = result_types(ty).map_or(ty, |(value, _)| value);
    let Type::ImplTrait(opaque) = ungroup(value) else { return None };
    let is_like = |bound: &TypeParamBound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|last| last.ident == "IntoIterator" || last.ident == "Stream")
        }
        _ => false,
    };
    opaque.bounds.iter().any(is_like).then_some(value)
}

/// The `T` of a parameter `Items<T>`, or `StreamSender<T>`; `None` for other types.
pub(crate) fn stream_param<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == name)?;
    type_arguments(segment).next()
}

/// The rules for the places of `Items` and `StreamSender`, and for the type of the caller's items.
pub(crate) fn check_params(params: &Params<'_>, types: &[&Type], is_packed: bool, report: &mut Report) {
    for (name, what) in
        [("Items", "the caller sends one stream of items"), ("StreamSender", "a call has one stream of replies")]
    {
        let found = |ty: &&&Type| stream_param(ty, name).is_some();
        for again in types.iter().filter(found).skip(1) {
            report.at(again, format!("{what}: keep one `{name}`"));
        }
    }
    for (at, (param, ty)) in params.all.iter().zip(types).enumerate() {
        let of = match param {
            Param::Items(of) | Param::Sender(of) => *of,
            _ => continue,
        };
        let rest = &params.all[at + 1..];
        if rest.iter().any(|param| matches!(param, Param::Argument(_))) {
            report.at(ty, "the arguments of the request come first: move this parameter behind them");
        } else if matches!(param, Param::Sender(_)) && rest.iter().any(|param| matches!(param, Param::Items(_))) {
            report.at(ty, "the caller's items come before the replies: move this parameter behind `Items`");
        }
        check_item(of, is_packed, report);
    }
}

/// ```text
/// fn count(to: &u32) -> impl Iterator<Item = u32>   =>   .. -> impl Iterator<Item = u32> + Send + 'static
/// ```
///
/// The iterator outlives the request, and moves between threads. An `impl Trait` of its own would capture the lifetimes
/// of the arguments.
pub(crate) fn with_bounds(item: TokenStream, private: &Path) -> TokenStream {
    let rewrite = |input: ParseStream<'_>| {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis: Visibility = input.parse()?;
        let mut sig: Signature = input.parse()?;
        let rest: TokenStream = input.parse()?;
        add_bounds(&mut sig.output, private);
        Ok(quote!(#(#attrs)* #vis #sig #rest))
    };
    rewrite.parse2(item.clone()).unwrap_or(item)
}

/// Adds `Send` and `'static` to a returned `impl Iterator`.
pub(crate) fn add_bounds(output: &mut ReturnType, private: &Path) {
    let ReturnType::Type(_, ty) = output else { return };
    let Some(returned) = IteratorType::of(ty).filter(|returned| !returned.is_boxed) else { return };
    let (is_send, is_static) = (returned.has_bound("Send"), returned.has_bound("static"));
    let span = Span::mixed_site();
    let Some(opaque) = opaque_mut(ty) else { return };
    let span = span.located_at(opaque.impl_token.span);
    if !is_send {
        opaque.bounds.push(parse_quote_spanned!(span=> #private::Send));
    }
    if !is_static {
        opaque.bounds.push(parse_quote_spanned!(span=> 'static));
    }
}

/// The `impl Trait` of a type, or of the value of a `Result`.
fn opaque_mut(ty: &mut Type) -> Option<&mut syn::TypeImplTrait> {
    match ty {
        Type::ImplTrait(opaque) => Some(opaque),
        Type::Group(group) => opaque_mut(&mut group.elem),
        Type::Paren(paren) => opaque_mut(&mut paren.elem),
        Type::Path(path) => {
            let segment = path.path.segments.last_mut()?;
            let syn::PathArguments::AngleBracketed(arguments) = &mut segment.arguments else { return None };
            arguments.args.iter_mut().find_map(|argument| match argument {
                syn::GenericArgument::Type(ty) => opaque_mut(ty),
                _ => None,
            })
        }
        _ => None,
    }
}

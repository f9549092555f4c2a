//! The parameters of an endpoint: the marked ones (state and context), the reply slot, the streams, and the arguments.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Attribute, FnArg, Generics, Lifetime, Pat, PatType, Signature, Type, TypeReference};

use super::streams::{self, stream_param};
use crate::report::Report;
use crate::types::advice::{argument_advice, element_advice, packed_advice, reference_advice};
use crate::types::field_type::known_layout;
use crate::types::{last_segment, text, type_arguments, ungroup};

/// The maximum number of arguments.
const MAX_ARGUMENTS: usize = 32;

/// The parameters of a function that keep every rule, in order.
pub(crate) struct Params<'a> {
    pub(crate) all: Vec<Param<'a>>,
}

/// One parameter.
pub(crate) enum Param<'a> {
    /// `#[state] state: &S` or `&mut S`.
    State(State<'a>),
    /// `#[context] cx: &Context`.
    Context,
    /// `reply: ReplySlot<'_, T>`.
    Slot(SlotParam<'a>),
    /// `items: Items<T>`.
    Items(&'a Type),
    /// `out: StreamSender<T>`.
    Sender(&'a Type),
    /// A parameter that travels.
    Argument(Argument<'a>),
}

/// The parameter for the dispatcher's state.
#[derive(Clone, Copy)]
pub(crate) enum State<'a> {
    /// `&S`.
    Shared(&'a Type),
    /// `&mut S`.
    Exclusive(&'a Type),
}

/// A parameter that travels.
pub(crate) struct Argument<'a> {
    /// The name in the endpoint's signature; `None` for a pattern.
    pub(crate) name: Option<Ident>,
    pub(crate) ty: &'a Type,
    pub(crate) kind: ArgumentKind<'a>,
}

/// The kind of an argument, as far as its syntax tells.
pub(crate) enum ArgumentKind<'a> {
    /// `&str`.
    Text,
    /// `&[T]`.
    Slice(&'a Type),
    /// `&T`.
    Reference(&'a Type),
    /// A number, a `bool`, or an array of these.
    Plain,
    /// An `Option` of a text, a number, or a slice of numbers.
    PlainOption(&'a Type),
    /// Another `Option`.
    Option,
    /// Anything else by value.
    Other,
}

impl<'a> Params<'a> {
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument<'a>> {
        self.all.iter().filter_map(|param| match param {
            Param::Argument(argument) => Some(argument),
            _ => None,
        })
    }

    pub(crate) fn state(&self) -> Option<State<'a>> {
        self.all.iter().find_map(|param| match param {
            Param::State(state) => Some(*state),
            _ => None,
        })
    }

    /// The reply slot.
    pub(crate) fn slot(&self) -> Option<SlotParam<'a>> {
        self.all.iter().find_map(|param| match param {
            Param::Slot(slot) => Some(*slot),
            _ => None,
        })
    }

    /// The type of the caller's items.
    pub(crate) fn items(&self) -> Option<&'a Type> {
        self.all.iter().find_map(|param| match param {
            Param::Items(of) => Some(*of),
            _ => None,
        })
    }

    /// The type of the items that the function sends.
    pub(crate) fn sender(&self) -> Option<&'a Type> {
        self.all.iter().find_map(|param| match param {
            Param::Sender(of) => Some(*of),
            _ => None,
        })
    }

    /// Whether a stream of items is a parameter.
    pub(crate) fn has_streams(&self) -> bool {
        self.items().is_some() || self.sender().is_some()
    }

    /// Whether the arguments travel as fields of a head: several arguments, or a single `Option`.
    pub(crate) fn are_fields(&self) -> bool {
        let arguments: Vec<_> = self.arguments().collect();
        match &arguments[..] {
            [] => false,
            [one] => matches!(one.kind, ArgumentKind::PlainOption(_) | ArgumentKind::Option),
            _ => true,
        }
    }
}

/// Reads the parameters of a free function.
pub(crate) fn of_function<'a>(sig: &'a Signature, is_packed: bool, report: &mut Report) -> Option<Params<'a>> {
    for input in &sig.inputs {
        if let FnArg::Receiver(receiver) = input {
            report.at(
                receiver,
                "an endpoint is a free function: for methods with `self`, put `#[tachyon_rpc]` on a trait",
            );
        }
    }
    read(sig, true, is_packed, report)
}

/// Reads the parameters of a service's method, after `self`.
pub(crate) fn of_method<'a>(sig: &'a Signature, is_packed: bool, report: &mut Report) -> Option<Params<'a>> {
    read(sig, false, is_packed, report)
}

fn read<'a>(sig: &'a Signature, has_state: bool, is_packed: bool, report: &mut Report) -> Option<Params<'a>> {
    let params: Vec<&PatType> = typed_params(sig).collect();
    for attr in params.iter().flat_map(|param| &param.attrs) {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            report.at(attr, "a parameter of an endpoint cannot be conditional: move the `cfg` to the function");
        }
    }
    let mut all = Vec::new();
    let mut sound = true;
    for (at, param) in params.iter().enumerate() {
        let state = mark(param, "state");
        let context = mark(param, "context");
        let read = if let (Some(_), Some(context)) = (state, context) {
            report.at(context, "a parameter cannot be both state and context: keep one mark");
            None
        } else if let Some(mark) = state {
            self::state(mark, param, has_state, &sig.generics, report).map(Param::State)
        } else if context.is_some() {
            self::context(param, report).then_some(Param::Context)
        } else if let Some(slot) = reply_slot(&param.ty) {
            if is_packed {
                report.at(&param.ty, "a reply in msgpack is encoded, and has no slot: return the value");
            } else if at + 1 != params.len() {
                report.at(&param.ty, "the reply slot must be the last parameter: move it to the end");
            }
            Some(Param::Slot(slot))
        } else if let Some(of) = stream_param(&param.ty, "Items") {
            Some(Param::Items(of))
        } else if let Some(of) = stream_param(&param.ty, "StreamSender") {
            Some(Param::Sender(of))
        } else if is_packed {
            packed_argument(param, report).map(Param::Argument)
        } else {
            argument(param, &sig.generics, report).map(Param::Argument)
        };
        match read {
            Some(read) => all.push(read),
            None => sound = false,
        }
    }
    for (name, once) in [("state", "a dispatcher has one state"), ("context", "a call has one context")] {
        for again in params.iter().filter_map(|param| mark(param, name)).skip(1) {
            report.at(again, format!("{once}: mark one parameter with `#[{name}]`"));
        }
    }
    let types: Vec<&Type> = params.iter().map(|param| &*param.ty).collect();
    let params = Params { all };
    if sound {
        streams::check_params(&params, &types, is_packed, report);
    }
    check_names(&params, is_packed, report);
    sound.then_some(params)
}

/// The parameters except `self`.
fn typed_params(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(param) => Some(param),
        FnArg::Receiver(_) => None,
    })
}

/// The attribute of the parameter with this name.
fn mark<'a>(param: &'a PatType, name: &str) -> Option<&'a Attribute> {
    param.attrs.iter().find(|attr| attr.path().is_ident(name))
}

/// Whether the macro removes this attribute from a parameter.
pub(crate) fn is_mark(attr: &Attribute) -> bool {
    ["state", "context"].iter().any(|name| attr.path().is_ident(name))
}

/// Whether a parameter of this type is a stream.
pub(crate) fn is_stream_param(ty: &Type) -> bool {
    ["Items", "StreamSender"].iter().any(|name| stream_param(ty, name).is_some())
}

/// The number of arguments of a signature that may have mistakes.
pub(crate) fn count_of_arguments(sig: &Signature) -> usize {
    let is_argument = |param: &&PatType| {
        !param.attrs.iter().any(is_mark) && reply_slot(&param.ty).is_none() && !is_stream_param(&param.ty)
    };
    typed_params(sig).filter(is_argument).count()
}

/// The function without the marks of its parameters, which rustc does not know.
pub(crate) fn without_marks(item: TokenStream) -> TokenStream {
    let mut seen_fn = false;
    let mut done = false;
    item.into_iter()
        .map(|token| match token {
            TokenTree::Ident(ident) => {
                seen_fn |= ident == "fn";
                TokenTree::Ident(ident)
            }
            TokenTree::Group(group) if seen_fn && !done && group.delimiter() == proc_macro2::Delimiter::Parenthesis => {
                done = true;
                let mut stripped = Group::new(group.delimiter(), without_marks_in(group.stream()));
                stripped.set_span(group.span());
                TokenTree::Group(stripped)
            }
            other => other,
        })
        .collect()
}

/// A parameter list without `#[state]` and `#[context]`.
fn without_marks_in(params: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut tokens = params.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        if is_hash
            && let Some(TokenTree::Group(group)) = tokens.peek()
            && group.delimiter() == proc_macro2::Delimiter::Bracket
            && ["state", "context"].contains(&group.stream().to_string().trim())
        {
            tokens.next();
            continue;
        }
        kept.push(token);
    }
    kept.into_iter().collect()
}

fn state<'a>(
    mark: &Attribute,
    param: &'a PatType,
    has_state: bool,
    generics: &Generics,
    report: &mut Report,
) -> Option<State<'a>> {
    if !has_state {
        report.at(mark, "the state of a method is `self`: remove the mark");
        return None;
    }
    let Type::Reference(TypeReference { lifetime, mutability, elem, .. }) = ungroup(&param.ty) else {
        report.at(&param.ty, "the state is borrowed: write `#[state] state: &S`, or `&mut S` to change it");
        return None;
    };
    if let Type::ImplTrait(_) = ungroup(elem) {
        report.at(&param.ty, "the state has one type: name it instead of `impl Trait`");
        return None;
    }
    if !is_elided(lifetime.as_ref(), generics, "the state is borrowed", report) {
        return None;
    }
    Some(if mutability.is_some() { State::Exclusive(elem) } else { State::Shared(elem) })
}

fn context(param: &PatType, report: &mut Report) -> bool {
    let fits = matches!(ungroup(&param.ty), Type::Reference(TypeReference { mutability: None, .. }));
    if !fits {
        report.at(&param.ty, "the context is borrowed: write `#[context] cx: &Context`");
    }
    fits
}

/// Whether a reference has no named lifetime.
fn is_elided(lifetime: Option<&Lifetime>, generics: &Generics, what: &str, report: &mut Report) -> bool {
    match lifetime {
        Some(lifetime) if lifetime.ident != "_" => {
            // The declaration of a lifetime parameter is reported already.
            if !generics.lifetimes().any(|declared| declared.lifetime == *lifetime) {
                report
                    .at(lifetime, format!("{what} while the endpoint runs, not for `{lifetime}`: remove the lifetime"));
            }
            false
        }
        _ => true,
    }
}

fn argument<'a>(param: &'a PatType, generics: &Generics, report: &mut Report) -> Option<Argument<'a>> {
    let ty = &param.ty;
    let name = match &*param.pat {
        Pat::Ident(pat) if pat.subpat.is_none() => Some(wire_name(&pat.ident)),
        _ => None,
    };
    let kind = kind(ungroup(ty), ty, generics, report)?;
    match named_lifetime(ty.to_token_stream()) {
        Some(lifetime) if !generics.lifetimes().any(|declared| declared.lifetime == lifetime) => {
            let advice = format!("an argument lives while the endpoint runs, not for `{lifetime}`: write `'_`");
            report.at(lifetime, advice);
            None
        }
        _ => Some(Argument { name, ty, kind }),
    }
}

/// An argument of the codec msgpack: of any owned type.
fn packed_argument<'a>(param: &'a PatType, report: &mut Report) -> Option<Argument<'a>> {
    let ty = &param.ty;
    let name = match &*param.pat {
        Pat::Ident(pat) if pat.subpat.is_none() => Some(wire_name(&pat.ident)),
        _ => None,
    };
    if let Some(advice) = packed_advice(ty) {
        report.at(ty, advice);
        return None;
    }
    Some(Argument { name, ty, kind: ArgumentKind::Other })
}

/// The first named lifetime in a type.
fn named_lifetime(ty: TokenStream) -> Option<Lifetime> {
    let mut tokens = ty.into_iter();
    while let Some(token) = tokens.next() {
        let found = match token {
            TokenTree::Group(group) => named_lifetime(group.stream()),
            TokenTree::Punct(quote) if quote.as_char() == '\'' => match tokens.next() {
                Some(TokenTree::Ident(name)) if name != "_" => Some(Lifetime { apostrophe: quote.span(), ident: name }),
                _ => None,
            },
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The name of an argument in the endpoint's signature, without `r#` and leading underscores.
fn wire_name(ident: &Ident) -> Ident {
    let text = ident.unraw().to_string();
    let text = text.trim_start_matches('_');
    if text.is_empty() || text.starts_with(|first: char| first.is_ascii_digit()) {
        return ident.clone();
    }
    let plain = syn::parse_str::<Ident>(text).unwrap_or_else(|_| Ident::new_raw(text, Span::call_site()));
    let mut named = plain;
    named.set_span(ident.span());
    named
}

fn kind<'a>(ty: &'a Type, whole: &'a Type, generics: &Generics, report: &mut Report) -> Option<ArgumentKind<'a>> {
    let mut refuse = |advice: String| {
        report.at(whole, advice);
        None
    };
    match ty {
        Type::Reference(TypeReference { lifetime, mutability, elem, .. }) => {
            if mutability.is_some() {
                return refuse(
                    "an argument is borrowed read-only from shared memory: write `&`, and copy the value to change it; \
                     mark the dispatcher's state with `#[state]`"
                        .to_owned(),
                );
            }
            if !is_elided(lifetime.as_ref(), generics, "an argument lives", report) {
                return None;
            }
            let mut refuse = |advice: String| {
                report.at(whole, advice);
                None
            };
            match ungroup(elem) {
                Type::Slice(slice) => match element_advice(&slice.elem) {
                    Some(advice) => refuse(advice),
                    None => Some(ArgumentKind::Slice(&slice.elem)),
                },
                Type::Path(path) if path.path.is_ident("str") => Some(ArgumentKind::Text),
                inner => match reference_advice(inner) {
                    Some(advice) => refuse(advice),
                    None => Some(ArgumentKind::Reference(elem)),
                },
            }
        }
        Type::Path(_) => {
            let Some(segment) = last_segment(ty) else { return Some(ArgumentKind::Other) };
            if segment.ident == "Option" {
                let Some(inner) = type_arguments(segment).next() else { return Some(ArgumentKind::Option) };
                return match kind(ungroup(inner), whole, generics, report)? {
                    ArgumentKind::Reference(_) => {
                        report.at(whole, "an `Option` holds its value, not a reference: write `Option<T>`");
                        None
                    }
                    ArgumentKind::Slice(element) if known_layout(element).is_none() => Some(ArgumentKind::Option),
                    ArgumentKind::Text | ArgumentKind::Slice(_) | ArgumentKind::Plain => {
                        Some(ArgumentKind::PlainOption(inner))
                    }
                    ArgumentKind::PlainOption(_) | ArgumentKind::Option => {
                        report.at(whole, "an `Option` cannot hold another `Option`: write `Option<T>`");
                        None
                    }
                    ArgumentKind::Other => Some(ArgumentKind::Option),
                };
            }
            if known_layout(ty).is_some() {
                return Some(ArgumentKind::Plain);
            }
            match argument_advice(ty) {
                Some(advice) => refuse(advice),
                None => Some(ArgumentKind::Other),
            }
        }
        Type::Array(array) => match element_advice(&array.elem) {
            Some(advice) => refuse(advice),
            None if known_layout(ty).is_some() => Some(ArgumentKind::Plain),
            None => Some(ArgumentKind::Other),
        },
        Type::Tuple(tuple) if tuple.elems.is_empty() => {
            refuse("`()` cannot be an argument: remove the parameter".to_owned())
        }
        Type::Slice(_) => refuse(format!("a slice is borrowed: write `&{}`", text(ty))),
        Type::ImplTrait(_) => refuse("an argument has one type: name it instead of `impl Trait`".to_owned()),
        Type::Macro(_) => Some(ArgumentKind::Other),
        other => refuse(argument_advice(other).unwrap_or_else(|| format!("`{}` cannot be an argument", text(other)))),
    }
}

/// Checks the number of the arguments, and the names of those that travel as fields.
fn check_names(params: &Params<'_>, is_packed: bool, report: &mut Report) {
    let arguments: Vec<_> = params.arguments().collect();
    if arguments.len() > MAX_ARGUMENTS {
        report.at(
            arguments[MAX_ARGUMENTS].ty,
            format!("an endpoint has at most {MAX_ARGUMENTS} arguments: put related arguments into a payload"),
        );
    }
    if !is_packed && !params.are_fields() {
        return;
    }
    let mut seen: Vec<String> = Vec::new();
    for argument in arguments {
        let Some(name) = &argument.name else {
            report.at(argument.ty, "this argument needs a name, by which the two sides compare it: write `name: Type`");
            continue;
        };
        let text = name.unraw().to_string();
        if seen.contains(&text) {
            report.at(name, format!("two arguments have the name `{text}`: rename one of them"));
        }
        seen.push(text);
    }
}

impl State<'_> {
    /// The type of the state.
    pub(crate) fn ty(&self) -> TokenStream {
        match self {
            State::Shared(ty) | State::Exclusive(ty) => quote!(#ty),
        }
    }
}

/// A parameter `ReplySlot<'_, T>`.
#[derive(Clone, Copy)]
pub(crate) struct SlotParam<'a> {
    /// The `T`; `None` stands for bytes.
    pub(crate) wire: Option<&'a Type>,
}

/// Reads a parameter's type as a reply slot; `None` for other types.
pub(crate) fn reply_slot(ty: &Type) -> Option<SlotParam<'_>> {
    let segment = last_segment(ty)?;
    (segment.ident == "ReplySlot").then(|| SlotParam { wire: type_arguments(segment).next() })
}

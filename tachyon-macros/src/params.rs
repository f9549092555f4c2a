//! The parameters of an endpoint: the state and the context, which are marked, a reply slot, and arguments.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Attribute, FnArg, Generics, Lifetime, Pat, PatType, Signature, Type, TypeReference};

use crate::diag::Report;
use crate::model::{last_segment, peel, type_arguments};
use crate::payload::spelling::{known_layout, refused};
use crate::wire::{Slot, reply_slot};

/// Most arguments of one endpoint: more are the fields of a payload.
const MOST: usize = 32;

/// The parameters that keep every rule, in the order of the function's.
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
    Slot(Slot<'a>),
    /// What travels.
    Argument(Argument<'a>),
}

/// What the handler does with the dispatcher's state.
#[derive(Clone, Copy)]
pub(crate) enum State<'a> {
    /// It takes `&S`.
    Shared(&'a Type),
    /// It takes `&mut S`.
    Exclusive(&'a Type),
}

/// An argument.
pub(crate) struct Argument<'a> {
    /// The name as it travels; `None` for a pattern.
    pub(crate) name: Option<Ident>,
    pub(crate) ty: &'a Type,
    pub(crate) kind: Kind<'a>,
}

/// What an argument is, as far as its spelling tells.
pub(crate) enum Kind<'a> {
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
    pub(crate) fn slot(&self) -> Option<Slot<'a>> {
        self.all.iter().find_map(|param| match param {
            Param::Slot(slot) => Some(*slot),
            _ => None,
        })
    }

    /// Whether the arguments travel as fields of a head: several, or an `Option` alone.
    pub(crate) fn are_fields(&self) -> bool {
        let arguments: Vec<_> = self.arguments().collect();
        match &arguments[..] {
            [] => false,
            [one] => matches!(one.kind, Kind::PlainOption(_) | Kind::Option),
            _ => true,
        }
    }
}

/// Reads the parameters of a free function.
pub(crate) fn of_function<'a>(sig: &'a Signature, report: &mut Report) -> Option<Params<'a>> {
    for input in &sig.inputs {
        if let FnArg::Receiver(receiver) = input {
            report.at(receiver, "an endpoint is a free function: for one with `self`, put `#[tachyon_rpc]` on a trait");
        }
    }
    read(sig, true, report)
}

/// Reads the parameters of a service's method, after `self`.
pub(crate) fn of_method<'a>(sig: &'a Signature, report: &mut Report) -> Option<Params<'a>> {
    read(sig, false, report)
}

fn read<'a>(sig: &'a Signature, has_state: bool, report: &mut Report) -> Option<Params<'a>> {
    let params: Vec<&PatType> = typed(sig).collect();
    for attr in params.iter().flat_map(|param| &param.attrs) {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            report.at(attr, "a parameter of an endpoint cannot be conditional: put the `cfg` on the function");
        }
    }
    let mut all = Vec::new();
    let mut sound = true;
    for (at, param) in params.iter().enumerate() {
        let state = mark(param, "state");
        let context = mark(param, "context");
        let read = if let (Some(_), Some(context)) = (state, context) {
            report.at(context, "a parameter is the state or the context: keep one mark");
            None
        } else if let Some(mark) = state {
            self::state(mark, param, has_state, &sig.generics, report).map(Param::State)
        } else if context.is_some() {
            self::context(param, report).then_some(Param::Context)
        } else if let Some(slot) = reply_slot(&param.ty) {
            if at + 1 != params.len() {
                report.at(&param.ty, "the reply slot is the last parameter");
            }
            Some(Param::Slot(slot))
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
    let params = Params { all };
    names(&params, report);
    sound.then_some(params)
}

/// The parameters without `self`.
fn typed(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(param) => Some(param),
        FnArg::Receiver(_) => None,
    })
}

/// The attribute of this name.
fn mark<'a>(param: &'a PatType, name: &str) -> Option<&'a Attribute> {
    param.attrs.iter().find(|attr| attr.path().is_ident(name))
}

/// Whether the macro takes this attribute off a parameter.
pub(crate) fn is_mark(attr: &Attribute) -> bool {
    ["state", "context"].iter().any(|name| attr.path().is_ident(name))
}

/// How many arguments callers pass, as far as a faulty signature tells.
pub(crate) fn count_of_arguments(sig: &Signature) -> usize {
    let marked = |param: &&PatType| param.attrs.iter().any(is_mark) || reply_slot(&param.ty).is_some();
    typed(sig).filter(|param| !marked(param)).count()
}

/// The function with the marks taken off its parameters, which rustc does not know.
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
                let mut stripped = Group::new(group.delimiter(), strip(group.stream()));
                stripped.set_span(group.span());
                TokenTree::Group(stripped)
            }
            other => other,
        })
        .collect()
}

/// A parameter list without `#[state]` and `#[context]`.
fn strip(params: TokenStream) -> TokenStream {
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
        report.at(mark, "a method's state is `self`: leave the mark out");
        return None;
    }
    let Type::Reference(TypeReference { lifetime, mutability, elem, .. }) = peel(&param.ty) else {
        report.at(&param.ty, "the state is lent: write `#[state] state: &S`, or `&mut S` to change it");
        return None;
    };
    if let Type::ImplTrait(_) = peel(elem) {
        report.at(&param.ty, "the state has one type: `impl Trait` leaves open which");
        return None;
    }
    if !is_elided(lifetime.as_ref(), generics, "the state is lent", report) {
        return None;
    }
    Some(if mutability.is_some() { State::Exclusive(elem) } else { State::Shared(elem) })
}

fn context(param: &PatType, report: &mut Report) -> bool {
    let fits = matches!(peel(&param.ty), Type::Reference(TypeReference { mutability: None, .. }));
    if !fits {
        report.at(&param.ty, "the context is lent: write `#[context] cx: &Context`");
    }
    fits
}

/// Whether a reference is lent for as long as the endpoint runs.
fn is_elided(lifetime: Option<&Lifetime>, generics: &Generics, what: &str, report: &mut Report) -> bool {
    match lifetime {
        Some(lifetime) if lifetime.ident != "_" => {
            // A lifetime of the function's own is reported where it is declared.
            if !generics.lifetimes().any(|declared| declared.lifetime == *lifetime) {
                report.at(lifetime, format!("{what} while the endpoint runs, not for `{lifetime}`: leave it out"));
            }
            false
        }
        _ => true,
    }
}

fn argument<'a>(param: &'a PatType, generics: &Generics, report: &mut Report) -> Option<Argument<'a>> {
    let ty = &param.ty;
    let name = match &*param.pat {
        Pat::Ident(pat) if pat.subpat.is_none() => Some(travelling_name(&pat.ident)),
        _ => None,
    };
    let kind = kind(peel(ty), ty, generics, report)?;
    match lifetime_in(ty.to_token_stream()) {
        Some(lifetime) if !generics.lifetimes().any(|declared| declared.lifetime == lifetime) => {
            let advice = format!("an argument lives while the endpoint runs, not for `{lifetime}`: write `'_`");
            report.at(lifetime, advice);
            None
        }
        _ => Some(Argument { name, ty, kind }),
    }
}

/// The first lifetime with a name that a type mentions.
fn lifetime_in(ty: TokenStream) -> Option<Lifetime> {
    let mut tokens = ty.into_iter();
    while let Some(token) = tokens.next() {
        let found = match token {
            TokenTree::Group(group) => lifetime_in(group.stream()),
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

/// The name of an argument as both sides compare it.
fn travelling_name(ident: &Ident) -> Ident {
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

fn kind<'a>(ty: &'a Type, whole: &'a Type, generics: &Generics, report: &mut Report) -> Option<Kind<'a>> {
    let mut refuse = |advice: String| {
        report.at(whole, advice);
        None
    };
    match ty {
        Type::Reference(TypeReference { lifetime, mutability, elem, .. }) => {
            if mutability.is_some() {
                return refuse(
                    "an argument is borrowed read-only from shared memory: take `&`, and copy it to change it; mark the \
                     dispatcher's state with `#[state]`"
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
            match peel(elem) {
                Type::Slice(slice) => match not_an_element(&slice.elem) {
                    Some(advice) => refuse(advice),
                    None => Some(Kind::Slice(&slice.elem)),
                },
                Type::Path(path) if path.path.is_ident("str") => Some(Kind::Text),
                inner => match not_a_reference(inner) {
                    Some(advice) => refuse(advice),
                    None => Some(Kind::Reference(elem)),
                },
            }
        }
        Type::Path(_) => {
            let Some(segment) = last_segment(ty) else { return Some(Kind::Other) };
            if segment.ident == "Option" {
                let Some(inner) = type_arguments(segment).next() else { return Some(Kind::Option) };
                return match kind(peel(inner), whole, generics, report)? {
                    Kind::Reference(_) => {
                        report.at(whole, "an optional value is taken by value: write `Option<T>`");
                        None
                    }
                    Kind::Slice(element) if known_layout(element).is_none() => Some(Kind::Option),
                    Kind::Text | Kind::Slice(_) | Kind::Plain => Some(Kind::PlainOption(inner)),
                    Kind::PlainOption(_) | Kind::Option => {
                        report.at(whole, "an `Option` holds a value, not another `Option`");
                        None
                    }
                    Kind::Other => Some(Kind::Option),
                };
            }
            if known_layout(ty).is_some() {
                return Some(Kind::Plain);
            }
            match not_a_value(ty) {
                Some(advice) => refuse(advice),
                None => Some(Kind::Other),
            }
        }
        Type::Array(array) => match not_an_element(&array.elem) {
            Some(advice) => refuse(advice),
            None if known_layout(ty).is_some() => Some(Kind::Plain),
            None => Some(Kind::Other),
        },
        Type::Tuple(tuple) if tuple.elems.is_empty() => {
            refuse("`()` is no argument: leave the parameter out".to_owned())
        }
        Type::Slice(_) => refuse(format!("a slice is borrowed: write `&{}`", spelled(ty))),
        Type::ImplTrait(_) => refuse("an argument has one type: `impl Trait` leaves open which".to_owned()),
        Type::Macro(_) => Some(Kind::Other),
        other => refuse(not_a_value(other).unwrap_or_else(|| format!("`{}` cannot be an argument", spelled(other)))),
    }
}

fn spelled(ty: &Type) -> String {
    ty.to_token_stream().to_string().replace(" < ", "<").replace(" >", ">").replace("& ", "&").replace("[ ", "[")
}

/// What to write instead of an element of a slice.
fn not_an_element(ty: &Type) -> Option<String> {
    match last_segment(ty).map(|segment| segment.ident.to_string()).as_deref() {
        Some("String") => Some("texts have no fixed size: write `List<'_, String>`".to_owned()),
        Some("Vec") => Some(format!("lists have no fixed size: write `List<'_, {}>`", spelled(ty))),
        Some("Option") => Some("a list holds values, not options: leave those out that are not there".to_owned()),
        _ if matches!(peel(ty), Type::Reference(_)) => {
            Some("texts and lists have no fixed size: write `List<'_, String>`, or `List<'_, Vec<T>>`".to_owned())
        }
        _ => not_a_payload(ty),
    }
}

/// What to write instead of a reference to such a type.
fn not_a_reference(ty: &Type) -> Option<String> {
    let Some(segment) = last_segment(ty) else { return not_a_value(ty) };
    match segment.ident.to_string().as_str() {
        "String" => Some("write `&str`".to_owned()),
        "Vec" | "Box" => {
            let element = type_arguments(segment).next()?;
            let inside = spelled(element);
            Some(match last_segment(element).map(|segment| segment.ident.to_string()).as_deref() {
                Some("String" | "Vec") => format!("write `List<'_, {inside}>`"),
                _ if inside.starts_with('[') => format!("write `&{inside}`"),
                _ => format!("write `&[{inside}]`"),
            })
        }
        "Option" => Some(format!("an optional value is taken by value: write `{}`", spelled(ty))),
        "Context" | "CallInfo" => Some("mark the context: write `#[context] cx: &Context`".to_owned()),
        _ => not_a_value(ty),
    }
}

/// What to write instead of a type that does not travel.
fn not_a_value(ty: &Type) -> Option<String> {
    if let Some(segment) = last_segment(ty) {
        match segment.ident.to_string().as_str() {
            "String" | "Option" => return None,
            "Vec" => {
                let element = type_arguments(segment).next()?;
                return match last_segment(element).map(|segment| segment.ident.to_string()).as_deref() {
                    Some("String" | "Vec") => None,
                    Some("Option") => not_an_element(element),
                    _ => not_a_payload(element),
                };
            }
            "Context" | "CallInfo" => return Some("mark the context: write `#[context] cx: &Context`".to_owned()),
            "Request" => {
                return Some(
                    "a raw request is `&[u8]`; its caller and deadline are in the context: write `#[context] cx: &Context`"
                        .to_owned(),
                );
            }
            "str" => return Some("text is borrowed: write `&str`".to_owned()),
            _ => {}
        }
    }
    not_a_payload(ty)
}

/// Arguments that travel as fields have names, each its own.
fn names(params: &Params<'_>, report: &mut Report) {
    let arguments: Vec<_> = params.arguments().collect();
    if arguments.len() > MOST {
        report.at(
            arguments[MOST].ty,
            format!("an endpoint has at most {MOST} arguments: put those that belong together into a payload"),
        );
    }
    if !params.are_fields() {
        return;
    }
    let mut seen: Vec<String> = Vec::new();
    for argument in arguments {
        let Some(name) = &argument.name else {
            report.at(
                argument.ty,
                "an argument beside others has a name, by which the two sides compare it: write `name: Type`",
            );
            continue;
        };
        let text = name.unraw().to_string();
        if seen.contains(&text) {
            report.at(name, format!("each argument has its own name, and there is a `{text}` already"));
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

/// What to write instead of a type that does not travel, as far as its spelling tells.
pub(crate) fn not_a_payload(ty: &Type) -> Option<String> {
    let (_, advice) = refused(ty)?;
    Some(advice.replace("a payload owns its fields", "a value owns its parts").replace("a field has", "a value has"))
}

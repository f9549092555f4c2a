//! What the attribute stands on: the function as written, and the endpoint it becomes once every rule accepts it.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, LitInt, Path, ReturnType, Signature, Type, Visibility};

use crate::params::Params;
use crate::wire::Slot;

/// A function's head. Its body is never parsed: the macro has no business with it.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
}

impl Function {
    /// Reads the head of a function.
    ///
    /// # Errors
    ///
    /// When the item is anything but a function with a body, pointing at what it is instead.
    pub(crate) fn parse(item: TokenStream) -> syn::Result<Self> {
        let head = |input: ParseStream<'_>| {
            let attrs = input.call(Attribute::parse_outer)?;
            let vis: Visibility = input.parse()?;
            let start = input.fork();
            let sig = match input.parse::<Signature>() {
                Ok(sig) => sig,
                Err(error) => return Err(not_a_function(&start, error)),
            };
            if input.peek(syn::Token![;]) {
                return Err(syn::Error::new_spanned(
                    &sig,
                    "`tachyon_rpc` stands on a function with a body: put it on the trait for a service, and \
                     `#[rpc(msg_type = N)]` on its methods",
                ));
            }
            input.parse::<TokenStream>()?;
            Ok(Function { attrs, vis, sig })
        };
        head.parse2(item)
    }

    /// The name, which is also the name of the generated item.
    pub(crate) fn name(&self) -> &Ident {
        &self.sig.ident
    }
}

/// Says what the attribute stands on, when that is an item which people may expect to work.
fn not_a_function(start: ParseStream<'_>, syntax: syn::Error) -> syn::Error {
    let Some((word, keyword)) = keyword(start.cursor().token_stream()) else { return syntax };
    let advice = match word.as_str() {
        "trait" => return syntax,
        "impl" => "methods of a type cannot be endpoints, those of a service trait can",
        "struct" | "enum" => {
            "put it on the function that answers the request; types that travel have `#[tachyon::payload]`"
        }
        _ => "put it on the function that answers the request",
    };
    syn::Error::new_spanned(
        keyword,
        format!("`tachyon_rpc` stands on a free function or a trait, not on `{word}`: {advice}"),
    )
}

/// The word that names the kind of item. It may not be the first: `unsafe impl`, `auto trait` and the like.
fn keyword(tokens: TokenStream) -> Option<(String, Ident)> {
    tokens.into_iter().take(3).find_map(|token| match token {
        TokenTree::Ident(ident) => {
            let word = ident.to_string();
            ITEMS.contains(&word.as_str()).then_some((word, ident))
        }
        _ => None,
    })
}

const ITEMS: [&str; 11] =
    ["struct", "enum", "union", "trait", "impl", "mod", "const", "static", "type", "use", "macro_rules"];

/// Whether the item is a trait, and the attribute with that a service's.
pub(crate) fn is_trait(item: &TokenStream) -> bool {
    let head = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        input.parse::<TokenStream>()
    };
    let rest = head.parse2(item.clone()).unwrap_or_default();
    keyword(rest).is_some_and(|(word, _)| word == "trait")
}

/// A function that keeps every rule: all that the expansion needs to know.
pub(crate) struct Endpoint<'a> {
    pub(crate) function: &'a Function,
    pub(crate) library: &'a Path,
    pub(crate) msg_type: MsgType<'a>,
    pub(crate) params: Params<'a>,
    pub(crate) reply: ReplyForm<'a>,
}

/// Where the number comes from.
pub(crate) enum MsgType<'a> {
    /// A literal, checked by the macro.
    Literal(&'a LitInt),
    /// The path of a constant, whose value only the compiler knows: it is checked in a constant of the generated code.
    Constant(&'a syn::ExprPath),
}

/// How the function's answer becomes a reply.
pub(crate) enum ReplyForm<'a> {
    /// No return type: an empty reply.
    Nothing,
    /// A type that can be written down again in the generated code, where a mistake in it is reported.
    Value(&'a Type),
    /// A type that can not, because it contains `impl Trait`.
    Opaque(&'a Type),
    /// The function writes it itself, through a last parameter `ReplySlot<'_, T>`.
    Slot {
        /// Its `T`; bytes if there is none.
        wire: Option<&'a Type>,
        /// What the function returns.
        returned: Option<&'a Type>,
    },
}

impl<'a> ReplyForm<'a> {
    /// The form of what a function with these parameters returns.
    pub(crate) fn of(output: &'a ReturnType, params: &Params<'a>) -> Self {
        if let Some(Slot { wire }) = params.slot() {
            let returned = match output {
                ReturnType::Default => None,
                ReturnType::Type(_, ty) => Some(&**ty),
            };
            return ReplyForm::Slot { wire, returned };
        }
        match output {
            ReturnType::Default => ReplyForm::Nothing,
            ReturnType::Type(_, ty) if mentions_impl(ty.to_token_stream()) => ReplyForm::Opaque(ty),
            ReturnType::Type(_, ty) => ReplyForm::Value(ty),
        }
    }
}

fn mentions_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "impl",
        TokenTree::Group(group) => mentions_impl(group.stream()),
        _ => false,
    })
}

/// Takes off parentheses and the invisible groups that `macro_rules` puts around what it captured.
pub(crate) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

/// The last name of a type's path, such as `Vec` of `std::vec::Vec<u8>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&syn::PathSegment> {
    let Type::Path(path) = peel(ty) else { return None };
    if path.qself.is_some() { None } else { path.path.segments.last() }
}

/// The types between the angle brackets of a path's last segment.
pub(crate) fn type_arguments(segment: &syn::PathSegment) -> impl Iterator<Item = &Type> {
    let arguments = match &segment.arguments {
        syn::PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

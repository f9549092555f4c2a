//! What the attribute stands on: the function as written, and the endpoint it becomes once every rule accepts it.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, LitInt, Path, ReturnType, Signature, Type, TypeReference, Visibility};

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
                    "`tachyon_rpc` stands on a function with a body: a declaration in a trait or an `extern` block \
                     has nothing to call",
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
    let mut tokens = start.cursor().token_stream().into_iter().peekable();
    // `unsafe impl`, `auto trait` and the like: the word that names the kind of item may not be the first.
    let Some((word, keyword)) = tokens.by_ref().take(3).find_map(|token| match token {
        TokenTree::Ident(ident) => {
            let word = ident.to_string();
            ITEMS.contains(&word.as_str()).then_some((word, ident))
        }
        _ => None,
    }) else {
        return syntax;
    };
    let advice = match word.as_str() {
        "trait" => "services on traits are not supported yet, write one function for each endpoint",
        "impl" => "methods cannot be endpoints, free functions can",
        _ => "put it on the function that answers the request",
    };
    syn::Error::new_spanned(keyword, format!("`tachyon_rpc` stands on a free function, not on `{word}`: {advice}"))
}

const ITEMS: [&str; 11] =
    ["struct", "enum", "union", "trait", "impl", "mod", "const", "static", "type", "use", "macro_rules"];

/// A function that keeps every rule: all that the expansion needs to know.
pub(crate) struct Endpoint<'a> {
    pub(crate) function: &'a Function,
    pub(crate) library: &'a Path,
    pub(crate) msg_type: MsgType<'a>,
    pub(crate) request: RequestForm,
    pub(crate) reply: ReplyForm<'a>,
}

/// Where the number comes from.
pub(crate) enum MsgType<'a> {
    /// A literal, checked by the macro.
    Literal(&'a LitInt),
    /// The path of a constant, whose value only the compiler knows: it is checked in a constant of the generated code.
    Constant(&'a syn::ExprPath),
}

/// How the request reaches the function. Payload types (`&T`, `&[T]`) and `()` will be further variants, and shared
/// state a field of [`Endpoint`] beside this one.
pub(crate) enum RequestForm {
    /// `&[u8]`: the payload as it lies in the slot.
    Bytes,
}

/// Why a parameter's type is no request.
pub(crate) enum NotARequest<'a> {
    /// `&mut [u8]`.
    Mutable,
    /// `&'static [u8]` and the like.
    Lifetime(&'a syn::Lifetime),
    /// `impl Trait`.
    ImplTrait,
    /// A form that means nothing here, or nothing yet.
    Unsupported,
}

impl RequestForm {
    pub(crate) fn of(ty: &Type) -> Result<RequestForm, NotARequest<'_>> {
        let reference = match peel(ty) {
            Type::Reference(reference) => reference,
            Type::ImplTrait(_) => return Err(NotARequest::ImplTrait),
            _ => return Err(NotARequest::Unsupported),
        };
        let TypeReference { lifetime, mutability, elem, .. } = reference;
        match peel(elem) {
            Type::Slice(slice) if is_u8(&slice.elem) => {}
            Type::ImplTrait(_) => return Err(NotARequest::ImplTrait),
            _ => return Err(NotARequest::Unsupported),
        }
        if mutability.is_some() {
            return Err(NotARequest::Mutable);
        }
        match lifetime {
            Some(lifetime) if lifetime.ident != "_" => Err(NotARequest::Lifetime(lifetime)),
            _ => Ok(RequestForm::Bytes),
        }
    }
}

/// How the function's answer becomes a reply. A writer over the reply slot will be a further variant.
pub(crate) enum ReplyForm<'a> {
    /// No return type: an empty reply.
    Nothing,
    /// A type that can be written down again in the generated code, where a mistake in it is reported.
    Value(&'a Type),
    /// A type that can not, because it contains `impl Trait`.
    Opaque(&'a Type),
}

impl<'a> ReplyForm<'a> {
    pub(crate) fn of(output: &'a ReturnType) -> Self {
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

fn is_u8(ty: &Type) -> bool {
    let Type::Path(path) = peel(ty) else { return false };
    let words: Vec<String> = path.path.segments.iter().map(|segment| segment.to_token_stream().to_string()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    path.qself.is_none() && matches!(words[..], ["u8"] | ["core" | "std", "primitive", "u8"])
}

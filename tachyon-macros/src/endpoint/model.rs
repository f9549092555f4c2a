//! The function as written, and as an endpoint that keeps every rule.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, LitInt, Path, ReturnType, Signature, Type, Visibility};

use super::params::{Params, SlotParam};
use super::streams::StreamReply;

/// A function without its body, which the macro never parses.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
}

impl Function {
    /// Reads a function.
    ///
    /// # Errors
    ///
    /// If the item is not a function with a body. The error names the item.
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
                    "`tachyon_rpc` marks a function with a body, and this function has none: for a service, put \
                     `tachyon_rpc` on the trait and `#[rpc(msg_type = N)]` on its methods",
                ));
            }
            input.parse::<TokenStream>()?;
            Ok(Function { attrs, vis, sig })
        };
        head.parse2(item)
    }

    /// The name of the function and of the generated type.
    pub(crate) fn name(&self) -> &Ident {
        &self.sig.ident
    }
}

/// The error for another item than a function.
fn not_a_function(start: ParseStream<'_>, syntax: syn::Error) -> syn::Error {
    let Some((word, keyword)) = keyword(start.cursor().token_stream()) else { return syntax };
    let advice = match word.as_str() {
        "trait" => return syntax,
        "impl" => "the methods of a type cannot be endpoints, so declare them in a service trait",
        "struct" | "enum" => {
            "put it on the function that answers the request, and `#[tachyon::payload]` on a type that travels"
        }
        _ => "put it on the function that answers the request",
    };
    syn::Error::new_spanned(keyword, format!("`tachyon_rpc` marks a free function or a trait, not `{word}`: {advice}"))
}

/// The keyword of the item. Another word may come first, as in `unsafe impl` and `auto trait`.
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

/// Whether the item is a trait.
pub(crate) fn is_trait(item: &TokenStream) -> bool {
    let head = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        input.parse::<TokenStream>()
    };
    let rest = head.parse2(item.clone()).unwrap_or_default();
    keyword(rest).is_some_and(|(word, _)| word == "trait")
}

/// A function that keeps every rule.
pub(crate) struct Endpoint<'a> {
    pub(crate) function: &'a Function,
    pub(crate) library: &'a Path,
    pub(crate) msg_type: MsgType<'a>,
    pub(crate) params: Params<'a>,
    pub(crate) reply: ReplyForm<'a>,
    /// Whether the codec is msgpack.
    pub(crate) is_packed: bool,
}

/// The `msg_type` as written.
pub(crate) enum MsgType<'a> {
    /// A literal, which the macro checks.
    Literal(&'a LitInt),
    /// The path of a constant. Only the compiler knows its value: a constant of the generated code checks it.
    Constant(&'a syn::ExprPath),
}

/// The form of the reply.
pub(crate) enum ReplyForm<'a> {
    /// No return type: an empty reply.
    Nothing,
    /// A type that generated code can repeat.
    Value(&'a Type),
    /// A type that generated code cannot repeat, because it contains `impl Trait`.
    Opaque(&'a Type),
    /// A last parameter `ReplySlot<'_, T>`: the function writes the reply itself.
    Slot {
        /// The `T`; `None` stands for bytes.
        wire: Option<&'a Type>,
        /// The return type of the function.
        returned: Option<&'a Type>,
    },
    /// A stream of items.
    Stream(Box<StreamReply>),
}

impl<'a> ReplyForm<'a> {
    /// The type of the returned value, or of an item; `None` if nothing is returned.
    pub(crate) fn returned(&self) -> Option<&Type> {
        match self {
            ReplyForm::Value(ty) | ReplyForm::Opaque(ty) => Some(ty),
            ReplyForm::Stream(stream) => Some(&stream.item),
            ReplyForm::Nothing | ReplyForm::Slot { .. } => None,
        }
    }

    /// The stream of items.
    pub(crate) fn stream(&self) -> Option<&StreamReply> {
        match self {
            ReplyForm::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// The form of the reply of a function with this return type and these parameters.
    pub(crate) fn of(output: &'a ReturnType, params: &Params<'a>) -> Self {
        if let Some(SlotParam { wire }) = params.slot() {
            let returned = match output {
                ReturnType::Default => None,
                ReturnType::Type(_, ty) => Some(&**ty),
            };
            return ReplyForm::Slot { wire, returned };
        }
        if let Some(stream) = StreamReply::of(output, params) {
            return ReplyForm::Stream(Box::new(stream));
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

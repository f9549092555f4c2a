//! Which types can travel, as far as their names tell, and how the types of replies are written down again.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{GenericArgument, Lifetime, Path, PathArguments, Type, TypeArray};

use crate::model::{ReplyForm, RequestForm, last_segment, peel, type_arguments};
use crate::place::Place;

/// What to write instead of a type that cannot be part of a payload; `None` when it may be one.
pub(crate) fn not_a_payload(ty: &Type) -> Option<String> {
    let text = || ty.to_token_stream().to_string().replace(" < ", "<").replace(" >", ">");
    Some(match peel(ty) {
        Type::Array(TypeArray { elem, .. }) => return not_a_payload(elem),
        Type::Reference(_) => {
            "a reference means nothing in another process: hold the value itself, or an array of fixed length"
                .to_owned()
        }
        Type::Ptr(_) | Type::FnPtr(_) => {
            "an address means nothing in another process: hold the value itself, or a number that both sides know"
                .to_owned()
        }
        Type::Slice(_) => "a slice has no fixed length: write an array, such as `[u8; 16]`".to_owned(),
        Type::Tuple(_) => "a tuple's layout is not fixed: write a struct marked with `#[tachyon::payload]`".to_owned(),
        Type::TraitObject(_) | Type::ImplTrait(_) => {
            "a payload is one type of fixed layout: write a struct or an enum marked with `#[tachyon::payload]`"
                .to_owned()
        }
        Type::Never(_) | Type::Infer(_) => format!("`{}` is no type that has bytes", text()),
        Type::Path(_) => {
            let name = last_segment(ty)?.ident.to_string();
            match name.as_str() {
                "usize" => "`usize` differs between machines and languages: write `u64` or `u32`".to_owned(),
                "isize" => "`isize` differs between machines and languages: write `i64` or `i32`".to_owned(),
                "u128" | "i128" => format!(
                    "`{name}` is aligned to 16 bytes and a payload to 8 at most: write `[u64; 2]`, or `[u8; 16]`"
                ),
                "char" => "`char` is not a type of other languages: write `u32`, and check it with `char::from_u32`"
                    .to_owned(),
                "str" | "String" | "CString" | "OsString" | "PathBuf" => format!(
                    "`{name}` has no fixed length: write an array, such as `[u8; 16]`, and check it with \
                     `str::from_utf8`"
                ),
                "Vec" | "VecDeque" | "HashMap" | "BTreeMap" | "HashSet" | "BTreeSet" => format!(
                    "`{name}` holds its elements elsewhere: write an array of fixed length, or send a slice of payloads"
                ),
                "Box" | "Rc" | "Arc" | "Cow" | "NonNull" => {
                    format!("`{name}` is an address, which means nothing in another process: hold the value itself")
                }
                "Option" | "Result" => format!(
                    "the layout of `{name}` is not fixed: write a `bool` beside the value, or an enum of its own"
                ),
                "NonZero" | "NonZeroU8" | "NonZeroU16" | "NonZeroU32" | "NonZeroU64" => {
                    format!("`{name}` does not describe itself: write the plain number, and check it")
                }
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// The type a request consists of.
pub(crate) fn request(form: &RequestForm<'_>) -> TokenStream {
    match form {
        RequestForm::Nothing | RequestForm::Unit => quote!(()),
        RequestForm::Borrowed(ty) => ty.to_token_stream(),
    }
}

/// The type a reply consists of.
///
/// ```text
/// -> Result<Vec<T>, E>       =>   <Result<Vec<T>, E> as IntoReply>::Wire
/// -> &[u8]                   =>   <&'static [u8] as IntoReply>::Wire
/// -> Result<T, impl Error>   =>   <Result<T, Opaque> as IntoReply>::Wire
/// ```
pub(crate) fn reply(form: &ReplyForm<'_>, private: &Path) -> TokenStream {
    match form {
        ReplyForm::Nothing => quote!(()),
        ReplyForm::Slot(None) => quote!([#private::u8]),
        ReplyForm::Slot(Some(ty)) => ty.to_token_stream(),
        ReplyForm::Opaque(ty) if matches!(peel(ty), Type::ImplTrait(_)) => quote!([#private::u8]),
        ReplyForm::Value(ty) | ReplyForm::Opaque(ty) => {
            let mut ty = (*ty).clone();
            write_down(&mut ty, private);
            // In place of the type, so that this is where the error is when it is no reply.
            Place::of(&ty).stand_in(quote!(<#ty as #private::IntoReply>::Wire))
        }
    }
}

/// A piece of a client, in place of what the endpoint returns: when that is no reply, this is where the error is.
pub(crate) fn returned(form: &ReplyForm<'_>, returned: TokenStream) -> TokenStream {
    match form {
        ReplyForm::Nothing | ReplyForm::Slot(None) => returned,
        ReplyForm::Value(ty) | ReplyForm::Opaque(ty) | ReplyForm::Slot(Some(ty)) => Place::of(ty).stand_in(returned),
    }
}

/// Gives names to what has none in the type of a constant: lifetimes, and types after `impl`.
fn write_down(ty: &mut Type, private: &Path) {
    match ty {
        Type::Group(group) => write_down(&mut group.elem, private),
        Type::Paren(paren) => write_down(&mut paren.elem, private),
        Type::Slice(slice) => write_down(&mut slice.elem, private),
        Type::Array(array) => write_down(&mut array.elem, private),
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(|elem| write_down(elem, private)),
        Type::Reference(reference) => {
            if reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident == "_") {
                reference.lifetime = Some(Lifetime::new("'static", reference.and_token.span));
            }
            write_down(&mut reference.elem, private);
        }
        Type::ImplTrait(_) => *ty = syn::parse_quote!(#private::Opaque),
        Type::Path(path) => {
            for segment in &mut path.path.segments {
                let is_cow = segment.ident == "Cow";
                let PathArguments::AngleBracketed(arguments) = &mut segment.arguments else { continue };
                let mut has_lifetime = false;
                for argument in &mut arguments.args {
                    match argument {
                        GenericArgument::Lifetime(lifetime) => {
                            has_lifetime = true;
                            if lifetime.ident == "_" {
                                *lifetime = Lifetime::new("'static", lifetime.span());
                            }
                        }
                        GenericArgument::Type(ty) => write_down(ty, private),
                        _ => {}
                    }
                }
                // The one type of the standard library whose lifetime may be left out altogether.
                if is_cow && !has_lifetime {
                    arguments.args.insert(0, GenericArgument::Lifetime(Lifetime::new("'static", Span::call_site())));
                }
            }
        }
        _ => {}
    }
}

/// A parameter `ReplySlot<'_, T>`.
pub(crate) struct Slot<'a> {
    /// Its `T`; bytes if there is none.
    pub(crate) wire: Option<&'a Type>,
}

/// The reply slot that a parameter's type stands for; `None` when it is another one.
pub(crate) fn reply_slot(ty: &Type) -> Option<Slot<'_>> {
    let segment = last_segment(ty)?;
    (segment.ident == "ReplySlot").then(|| Slot { wire: type_arguments(segment).next() })
}

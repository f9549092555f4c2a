//! Types as they can be written in constants, and reply slots.

use proc_macro2::Span;
use syn::{GenericArgument, Lifetime, Path, PathArguments, Type};

use crate::model::{last_segment, type_arguments};

/// Gives names to what has none in the type of a constant: lifetimes, and types after `impl`.
pub(crate) fn write_down(ty: &mut Type, private: &Path) {
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
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    /// Its `T`; bytes if there is none.
    pub(crate) wire: Option<&'a Type>,
}

/// The reply slot that a parameter's type stands for; `None` when it is another one.
pub(crate) fn reply_slot(ty: &Type) -> Option<Slot<'_>> {
    let segment = last_segment(ty)?;
    (segment.ident == "ReplySlot").then(|| Slot { wire: type_arguments(segment).next() })
}

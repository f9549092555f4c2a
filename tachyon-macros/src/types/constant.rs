//! Types in constants.

use proc_macro2::Span;
use syn::{GenericArgument, Lifetime, Path, PathArguments, Type};

/// Makes a type valid in a constant: elided lifetimes become `'static`, and `impl Trait` becomes `Opaque`.
pub(crate) fn make_constant(ty: &mut Type, private: &Path) {
    match ty {
        Type::Group(group) => make_constant(&mut group.elem, private),
        Type::Paren(paren) => make_constant(&mut paren.elem, private),
        Type::Slice(slice) => make_constant(&mut slice.elem, private),
        Type::Array(array) => make_constant(&mut array.elem, private),
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(|elem| make_constant(elem, private)),
        Type::Reference(reference) => {
            if reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident == "_") {
                reference.lifetime = Some(Lifetime::new("'static", reference.and_token.span));
            }
            make_constant(&mut reference.elem, private);
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
                        GenericArgument::Type(ty) => make_constant(ty, private),
                        _ => {}
                    }
                }
                // `Cow<T>` is valid in a function and not in a constant.
                if is_cow && !has_lifetime {
                    arguments.args.insert(0, GenericArgument::Lifetime(Lifetime::new("'static", Span::call_site())));
                }
            }
        }
        _ => {}
    }
}

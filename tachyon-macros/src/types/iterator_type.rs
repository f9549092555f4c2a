//! Iterators as return types, as far as the syntax tells: the endpoint answers with a stream of items.

use syn::punctuated::Punctuated;
use syn::{GenericArgument, PathArguments, PathSegment, Token, Type, TypeParamBound};

use super::reply_type::result_types;
use super::{last_segment, type_arguments, ungroup};

type Bounds = Punctuated<TypeParamBound, Token![+]>;

/// A returned `impl Iterator<Item = T>`, `Box<dyn Iterator<Item = T>>`, or a `Result` of one of these.
#[derive(Clone, Copy)]
pub(crate) struct IteratorType<'a> {
    /// The type without the `Result`.
    pub(crate) iterator: &'a Type,
    pub(crate) bounds: &'a Bounds,
    pub(crate) is_boxed: bool,
    /// The `T`, if written.
    pub(crate) item: Option<&'a Type>,
    /// The error of the `Result`.
    pub(crate) error: Option<&'a Type>,
}

impl<'a> IteratorType<'a> {
    /// Reads a return type; `None` for a type that is no iterator.
    pub(crate) fn of(ty: &'a Type) -> Option<Self> {
        if let Some((value, error)) = result_types(ty) {
            return Self::of_value(value, Some(error));
        }
        Self::of_value(ty, None)
    }

    fn of_value(ty: &'a Type, error: Option<&'a Type>) -> Option<Self> {
        let (bounds, is_boxed) = match ungroup(ty) {
            Type::ImplTrait(opaque) => (&opaque.bounds, false),
            Type::Path(_) => {
                let segment = last_segment(ty).filter(|segment| segment.ident == "Box")?;
                let Type::TraitObject(object) = ungroup(type_arguments(segment).next()?) else { return None };
                (&object.bounds, true)
            }
            _ => return None,
        };
        let segment = bounds.iter().find_map(iterator)?;
        Some(Self { iterator: ty, bounds, is_boxed, item: item(segment), error })
    }

    /// Whether a bound of this name is written.
    pub(crate) fn has_bound(&self, name: &str) -> bool {
        self.bounds.iter().any(|bound| match bound {
            TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|last| last.ident == name),
            TypeParamBound::Lifetime(lifetime) => lifetime.ident == name,
            _ => false,
        })
    }
}

/// The alias of a `Result` whose value is an iterator.
pub(crate) fn is_alias_of_result(ty: &Type) -> bool {
    let Some(segment) = last_segment(ty).filter(|segment| segment.ident == "Result") else { return false };
    let types: Vec<_> = type_arguments(segment).collect();
    matches!(types[..], [value] if IteratorType::of_value(value, None).is_some())
}

/// The last name of a bound that is an iterator.
fn iterator(bound: &TypeParamBound) -> Option<&PathSegment> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    bound.path.segments.last().filter(|last| {
        let name = last.ident.to_string();
        name.ends_with("Iterator") && name != "IntoIterator"
    })
}

/// The `T` of `Iterator<Item = T>`.
fn item(iterator: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &iterator.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(of) if of.ident == "Item" => Some(&of.ty),
        _ => None,
    })
}

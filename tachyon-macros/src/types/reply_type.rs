//! The types of replies, as far as the syntax tells.

use syn::Type;

use super::field_type::known_layout;
use super::{last_segment, type_arguments, ungroup};

/// The value and the error of a type that is written as `Result<T, E>`.
pub(crate) fn result_types(ty: &Type) -> Option<(&Type, &Type)> {
    let segment = last_segment(ty)?;
    let mut arguments = type_arguments(segment);
    match (segment.ident == "Result", arguments.next(), arguments.next()) {
        (true, Some(value), Some(error)) => Some((value, error)),
        _ => None,
    }
}

/// Whether a reply of this type is certain to travel: no assertion is necessary, and there is no error type.
pub(crate) fn is_known_reply(ty: &Type) -> bool {
    if known_layout(ty).is_some() {
        return true;
    }
    match ungroup(ty) {
        Type::Reference(reference) => match ungroup(&reference.elem) {
            Type::Slice(slice) => known_layout(&slice.elem).is_some(),
            Type::Path(path) => path.path.is_ident("str"),
            _ => false,
        },
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        Type::Path(path) => match path.path.segments.last() {
            Some(segment) if path.path.segments.len() == 1 && segment.ident == "String" => segment.arguments.is_empty(),
            Some(segment) if path.path.segments.len() == 1 && segment.ident == "Vec" => {
                type_arguments(segment).next().is_some_and(|element| known_layout(element).is_some())
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether the type is written as an owned type, which a client returns as it is.
pub(crate) fn is_owned(ty: &Type) -> bool {
    match ungroup(ty) {
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        Type::Array(array) => is_owned(&array.elem),
        Type::Path(path) => {
            let Some(segment) = path.path.segments.last() else { return false };
            match segment.ident.to_string().as_str() {
                "Vec" | "Option" | "Tensor" => type_arguments(segment).all(is_owned),
                "Result" | "Box" | "Arc" | "Rc" | "Cow" | "List" => false,
                _ => segment.arguments.is_empty() && path.qself.is_none(),
            }
        }
        _ => false,
    }
}

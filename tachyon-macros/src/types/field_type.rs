//! The kind of a field's type, and its layout, as far as the syntax tells.

use quote::ToTokens;
use syn::{Type, TypeArray};

use super::tensor::TensorType;
use super::{type_arguments, ungroup};

/// The kind of a field's type.
pub(crate) enum FieldType<'a> {
    /// A number, `bool`, or an array of these.
    Fixed,
    /// `String`.
    Text,
    /// `Vec<T>`.
    List(&'a Type),
    /// `Option<T>`.
    Option(&'a Type),
    /// `Tensor<T, N>`.
    Tensor(TensorType<'a>),
    /// A name that only the compiler can resolve.
    Unknown,
}

impl<'a> FieldType<'a> {
    pub(crate) fn of(ty: &'a Type) -> Self {
        match ungroup(ty) {
            Type::Array(TypeArray { elem, .. }) => match FieldType::of(elem) {
                FieldType::Fixed => FieldType::Fixed,
                _ => FieldType::Unknown,
            },
            ty if known_layout(ty).is_some() => FieldType::Fixed,
            ty => match standard(ty).as_ref().map(|(name, of)| (name.as_str(), &of[..])) {
                Some(("String", [])) => FieldType::Text,
                Some(("Vec", [of])) => FieldType::List(of),
                Some(("Option", [of])) => FieldType::Option(of),
                _ => match TensorType::of(ty) {
                    Some(tensor) if tensor.segment.ident == "Tensor" => FieldType::Tensor(tensor),
                    _ => FieldType::Unknown,
                },
            },
        }
    }

    /// Whether the type has no fixed size.
    pub(crate) fn is_variable(&self) -> bool {
        matches!(self, FieldType::Text | FieldType::List(_) | FieldType::Option(_) | FieldType::Tensor(_))
    }

    /// Whether every name in the type is known.
    pub(crate) fn is_known(&self) -> bool {
        match self {
            FieldType::Fixed | FieldType::Text => true,
            FieldType::List(of) | FieldType::Option(of) => FieldType::of(of).is_known(),
            FieldType::Tensor(tensor) => known_layout(tensor.of).is_some() && tensor.literal_ndim().is_some(),
            FieldType::Unknown => false,
        }
    }
}

/// The name of a type that is written alone or as a path into the standard library, and its type arguments.
fn standard(ty: &Type) -> Option<(String, Vec<&Type>)> {
    let Type::Path(path) = ungroup(ty) else { return None };
    let words: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let name = match &words[..] {
        [name] if path.qself.is_none() => name,
        [library, module, name] if path.qself.is_none() => {
            let home = match name.as_str() {
                "String" => "string",
                "Vec" => "vec",
                "Option" => "option",
                _ => return None,
            };
            (module == home && ["std", "alloc", "core"].contains(&library.as_str())).then_some(name)?
        }
        _ => return None,
    };
    Some((name.clone(), type_arguments(path.path.segments.last()?).collect()))
}

/// Size and alignment in bytes of a number, a `bool`, or an array of these.
pub(crate) fn known_layout(ty: &Type) -> Option<(usize, usize)> {
    match ungroup(ty) {
        Type::Array(TypeArray { elem, len, .. }) => {
            let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(len), .. }) = len else { return None };
            let (size, align) = known_layout(elem)?;
            Some((size.checked_mul(len.base10_parse().ok()?)?, align))
        }
        ty => {
            let size = match primitive(ty)?.as_str() {
                "u8" | "i8" | "bool" => 1,
                "u16" | "i16" => 2,
                "u32" | "i32" | "f32" => 4,
                "u64" | "i64" | "f64" => 8,
                _ => return None,
            };
            Some((size, size))
        }
    }
}

/// The name of a type that is written alone or as a path to a primitive of the standard library.
pub(crate) fn primitive(ty: &Type) -> Option<String> {
    let Type::Path(path) = ungroup(ty) else { return None };
    let words: Vec<String> = path.path.segments.iter().map(|segment| segment.to_token_stream().to_string()).collect();
    match &words[..] {
        [name] if path.qself.is_none() => Some(name.clone()),
        [library, module, name] if module == "primitive" && (library == "core" || library == "std") => {
            Some(name.clone())
        }
        _ => None,
    }
}

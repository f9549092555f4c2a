//! Error texts for types that cannot travel: each says what to write instead. The functions return `None` for types
//! that travel, and for types that only the compiler can resolve.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Type, TypeArray};

use super::field_type::FieldType;
use super::tensor::TensorType;
use super::{last_segment, text, type_arguments, ungroup};

const CONTEXT: &str = "the context is a marked parameter: write `#[context] cx: &Context`";

/// The error text for a field's type, and the part of the type that it is about.
pub(crate) fn field_advice(ty: &Type) -> Option<(&Type, String)> {
    match FieldType::of(ty) {
        FieldType::Fixed | FieldType::Text => return None,
        FieldType::List(of) => {
            if let FieldType::Option(inner) = FieldType::of(of) {
                let inner = text(inner);
                let advice = format!(
                    "a `Vec` cannot hold an `Option`: write `Vec<{inner}>` without the absent values, or a `Vec` of \
                     structs with an optional field"
                );
                return Some((of, advice));
            }
            return field_advice(of);
        }
        FieldType::Option(of) => {
            if let FieldType::Option(inner) = FieldType::of(of) {
                let advice = format!("an `Option` cannot hold another `Option`: write `Option<{}>`", text(inner));
                return Some((of, advice));
            }
            return field_advice(of);
        }
        FieldType::Tensor(tensor) => return tensor.advice().map(|advice| (ty, advice)),
        FieldType::Unknown => {}
    }
    let advice = match ungroup(ty) {
        Type::Array(TypeArray { elem, .. }) => {
            if FieldType::of(elem).is_variable() {
                let advice = format!("the elements of an array must have a fixed size: write `Vec<{}>`", text(elem));
                return Some((ty, advice));
            }
            return field_advice(elem);
        }
        Type::Reference(reference) => {
            format!("a reference does not travel: write `{}`", owned(&reference.elem))
        }
        Type::Ptr(_) | Type::FnPtr(_) => {
            "an address is invalid in another process: send the value itself, or a number that both sides know"
                .to_owned()
        }
        Type::Slice(slice) => {
            let elem = text(&slice.elem);
            format!("a slice has no size of its own: write `Vec<{elem}>`, or an array such as `[{elem}; 16]`")
        }
        Type::Tuple(tuple) if tuple.elems.is_empty() => "`()` has no bytes: remove the field".to_owned(),
        Type::Tuple(_) => {
            "the fields of a tuple have no names: write a struct marked with `#[tachyon::payload]`".to_owned()
        }
        Type::TraitObject(_) | Type::ImplTrait(_) => {
            "a trait has no layout that both sides know: write a struct or an enum marked with `#[tachyon::payload]`"
                .to_owned()
        }
        Type::Never(_) | Type::Infer(_) => {
            format!("`{}` has no values that travel: write the type of a value", text(ty))
        }
        Type::Path(_) => by_name(ty)?,
        _ => return None,
    };
    Some((ty, advice))
}

/// The error text for a type that is a path.
fn by_name(ty: &Type) -> Option<String> {
    let segment = last_segment(ty)?;
    let name = segment.ident.to_string();
    let of: Vec<&Type> = type_arguments(segment).collect();
    Some(match (name.as_str(), &of[..]) {
        ("usize", _) => "the size of `usize` depends on the machine: write `u64` or `u32`".to_owned(),
        ("isize", _) => "the size of `isize` depends on the machine: write `i64` or `i32`".to_owned(),
        ("u128" | "i128", _) => {
            format!("`{name}` is aligned to 16 bytes, and a payload to at most 8: write `[u64; 2]`, or `[u8; 16]`")
        }
        ("char", _) => "other languages have no `char`: write `u32`, and check it with `char::from_u32`".to_owned(),
        ("str", _) => "`str` has no size: write `String`".to_owned(),
        ("OsString" | "PathBuf" | "CString" | "OsStr" | "CStr", _) => {
            format!("`{name}` is not always valid UTF-8: write `String`, or `Vec<u8>` for arbitrary bytes")
        }
        ("TensorRef", [of, ..]) => {
            let ndim = TensorType::of(ty).map(|tensor| tensor.ndim.to_token_stream().to_string());
            format!("a reference does not travel: write `Tensor<{}, {}>`", text(of), ndim.unwrap_or("2".to_owned()))
        }
        ("VecDeque" | "HashSet" | "BTreeSet" | "LinkedList" | "BinaryHeap", [of, ..]) => {
            format!("`{name}` does not travel: write `Vec<{}>`", text(of))
        }
        ("HashMap" | "BTreeMap", _) => format!(
            "`{name}` does not travel: write a `Vec` of structs with a key and a value, marked with \
             `#[tachyon::payload]`"
        ),
        ("Box" | "Rc" | "Arc" | "Cow", [of, ..]) => {
            format!("`{name}` is an address, which is invalid in another process: write `{}`", owned(of))
        }
        ("NonNull" | "Cell" | "RefCell" | "Mutex" | "RwLock", [of, ..]) => {
            format!("`{name}` works in one process only: write `{}`", owned(of))
        }
        ("Result", [_, _]) => {
            "a payload cannot hold a `Result`: write an enum and an `Option`, or return the `Result` from the endpoint"
                .to_owned()
        }
        (
            "NonZero" | "NonZeroU8" | "NonZeroU16" | "NonZeroU32" | "NonZeroU64" | "NonZeroI8" | "NonZeroI16"
            | "NonZeroI32" | "NonZeroI64",
            _,
        ) => format!("`{name}` does not travel: write the plain number, and check it"),
        _ => return None,
    })
}

/// The owned form of a borrowed type.
pub(crate) fn owned(ty: &Type) -> String {
    match ungroup(ty) {
        Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        ty => text(ty),
    }
}

/// The error text for the element type of a slice.
pub(crate) fn element_advice(ty: &Type) -> Option<String> {
    match last_segment(ty).map(|segment| segment.ident.to_string()).as_deref() {
        Some("String") => Some("a `String` has no fixed size: write `List<'_, String>`".to_owned()),
        Some("Vec") => Some(format!("a `Vec` has no fixed size: write `List<'_, {}>`", text(ty))),
        Some("Tensor") => Some(format!("a `Tensor` has no fixed size: write `List<'_, {}>`", text(ty))),
        Some("Option") => Some("a list cannot hold an `Option`: send a list without the absent values".to_owned()),
        _ if matches!(ungroup(ty), Type::Reference(_)) => Some(
            "the elements of a slice must have a fixed size: write `List<'_, String>`, or `List<'_, Vec<T>>`"
                .to_owned(),
        ),
        _ => value_advice(ty),
    }
}

/// The error text for the type behind a reference.
pub(crate) fn reference_advice(ty: &Type) -> Option<String> {
    let Some(segment) = last_segment(ty) else { return argument_advice(ty) };
    match segment.ident.to_string().as_str() {
        "String" => Some("a text is borrowed as `&str`: write `&str`".to_owned()),
        "Vec" | "Box" => {
            let element = type_arguments(segment).next()?;
            let inside = text(element);
            Some(match last_segment(element).map(|segment| segment.ident.to_string()).as_deref() {
                Some("String" | "Vec") => format!("a list is borrowed as a `List`: write `List<'_, {inside}>`"),
                _ if inside.starts_with('[') => format!("a slice is borrowed without its owner: write `&{inside}`"),
                _ => format!("a list is borrowed as a slice: write `&[{inside}]`"),
            })
        }
        "Option" => Some(format!("an `Option` is passed by value: write `{}`", text(ty))),
        "Tensor" | "TensorRef" if TensorType::of(ty).is_some() => {
            let tensor = TensorType::of(ty)?;
            let (of, ndim) = (text(tensor.of), tensor.ndim.to_token_stream());
            Some(format!("a tensor is borrowed as a `TensorRef`: write `TensorRef<'_, {of}, {ndim}>`"))
        }
        "Context" | "CallInfo" => Some(CONTEXT.to_owned()),
        _ => argument_advice(ty),
    }
}

/// The error text for the type of an argument.
pub(crate) fn argument_advice(ty: &Type) -> Option<String> {
    if let Some(tensor) = TensorType::of(ty) {
        return tensor.advice();
    }
    if let Some(segment) = last_segment(ty) {
        match segment.ident.to_string().as_str() {
            "String" | "Option" => return None,
            "Vec" => {
                let element = type_arguments(segment).next()?;
                return match last_segment(element).map(|segment| segment.ident.to_string()).as_deref() {
                    Some("String" | "Vec") => None,
                    Some("Option") => element_advice(element),
                    _ => value_advice(element),
                };
            }
            "Context" | "CallInfo" => return Some(CONTEXT.to_owned()),
            "Request" => {
                return Some(
                    "a raw request is `&[u8]`; for its caller and its deadline, write `#[context] cx: &Context`"
                        .to_owned(),
                );
            }
            "str" => return Some("a text is borrowed: write `&str`".to_owned()),
            _ => {}
        }
    }
    value_advice(ty)
}

/// The error text for the type of a value.
fn value_advice(ty: &Type) -> Option<String> {
    field_advice(ty).map(|(_, advice)| advice)
}

/// The error text for the type of a reply.
pub(crate) fn reply_advice(ty: &Type) -> Option<String> {
    let segment = last_segment(ty);
    if let Some(segment) = segment.filter(|segment| segment.ident == "Option") {
        let inner = ungroup(type_arguments(segment).next()?);
        return match last_segment(inner) {
            Some(inner) if inner.ident == "Option" || inner.ident == "Result" => value_advice(ty),
            _ => reply_advice(inner),
        };
    }
    if let Some(tensor) = TensorType::of(ty) {
        return tensor.advice();
    }
    let name = segment.map(|segment| segment.ident.to_string());
    let borrowed = ["str", "Result", "Box", "Arc", "Cow", "List"];
    match ungroup(ty) {
        Type::Path(_) if name.is_some_and(|name| borrowed.contains(&name.as_str())) => None,
        Type::Tuple(tuple) if tuple.elems.is_empty() => None,
        Type::Tuple(_) | Type::Path(_) | Type::Ptr(_) | Type::FnPtr(_) => value_advice(ty),
        _ => None,
    }
}

/// The error text for the type of an argument in msgpack.
pub(crate) fn packed_advice(ty: &Type) -> Option<String> {
    match ungroup(ty) {
        Type::Reference(reference) => {
            Some(format!("a value in msgpack is decoded, and owned: write `{}`", owned(&reference.elem)))
        }
        Type::ImplTrait(_) => Some("an argument has one type: name it instead of `impl Trait`".to_owned()),
        ty if has_reference(ty.to_token_stream()) => {
            Some(format!("a value in msgpack is decoded, and owned: write `{}` without its references", text(ty)))
        }
        _ => None,
    }
}

fn has_reference(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == '&',
        TokenTree::Group(group) => has_reference(group.stream()),
        _ => false,
    })
}

/// The error text for the type of a reply in msgpack: `value` is in `whole`, which may be a `Result`.
pub(crate) fn packed_reply_advice(whole: &Type, value: &Type) -> Option<String> {
    if core::ptr::eq(whole, value) && last_segment(whole).is_some_and(|segment| segment.ident == "Result") {
        return Some("the macro sees no error in this alias: write the `Result<T, E>` out".to_owned());
    }
    match ungroup(value) {
        Type::Reference(reference) => {
            Some(format!("the caller receives an owned value: write `{}`", owned(&reference.elem)))
        }
        Type::ImplTrait(_) => Some("a reply has one type, which both sides know: name it".to_owned()),
        ty if has_reference(ty.to_token_stream()) => {
            Some(format!("the caller receives an owned value: write `{}` without its references", text(ty)))
        }
        _ => None,
    }
}

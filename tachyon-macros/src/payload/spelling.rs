//! Which types of fields travel, as far as their spelling tells.

use quote::ToTokens;
use syn::{Type, TypeArray};

use crate::model::{last_segment, peel, type_arguments};

/// A field's type by its spelling.
pub(crate) enum Spelled<'a> {
    /// A number, `bool`, or an array of these.
    Fixed,
    /// `String`.
    Text,
    /// `Vec<T>`.
    List(&'a Type),
    /// `Option<T>`.
    Option(&'a Type),
    /// A name that only the compiler can look up.
    Unknown,
}

impl<'a> Spelled<'a> {
    pub(crate) fn of(ty: &'a Type) -> Self {
        match peel(ty) {
            Type::Array(TypeArray { elem, .. }) => match Spelled::of(elem) {
                Spelled::Fixed => Spelled::Fixed,
                _ => Spelled::Unknown,
            },
            ty if known_layout(ty).is_some() => Spelled::Fixed,
            ty => match standard(ty).as_ref().map(|(name, of)| (name.as_str(), &of[..])) {
                Some(("String", [])) => Spelled::Text,
                Some(("Vec", [of])) => Spelled::List(of),
                Some(("Option", [of])) => Spelled::Option(of),
                _ => Spelled::Unknown,
            },
        }
    }

    /// Whether the type has no fixed size.
    pub(crate) fn is_variable(&self) -> bool {
        matches!(self, Spelled::Text | Spelled::List(_) | Spelled::Option(_))
    }

    /// Whether nothing in it is a name that only the compiler can look up.
    pub(crate) fn is_known(&self) -> bool {
        match self {
            Spelled::Fixed | Spelled::Text => true,
            Spelled::List(of) | Spelled::Option(of) => Spelled::of(of).is_known(),
            Spelled::Unknown => false,
        }
    }
}

/// The name of a type that is written alone, or as a path into the standard library, and the types between its angle
/// brackets.
fn standard(ty: &Type) -> Option<(String, Vec<&Type>)> {
    let Type::Path(path) = peel(ty) else { return None };
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

/// The part of a field's type that cannot travel, and what to write instead; `None` when the spelling tells of none.
pub(crate) fn refused(ty: &Type) -> Option<(&Type, String)> {
    match Spelled::of(ty) {
        Spelled::Fixed | Spelled::Text => return None,
        Spelled::List(of) => {
            if let Spelled::Option(inner) = Spelled::of(of) {
                let inner = text(inner);
                let advice = format!(
                    "a `Vec` has no `Option` in it: write `Vec<{inner}>` without the absent ones, or a `Vec` of structs \
                     with an optional field"
                );
                return Some((of, advice));
            }
            return refused(of);
        }
        Spelled::Option(of) => {
            if let Spelled::Option(inner) = Spelled::of(of) {
                let advice = format!("an `Option` has no `Option` in it: write `Option<{}>`", text(inner));
                return Some((of, advice));
            }
            return refused(of);
        }
        Spelled::Unknown => {}
    }
    let advice = match peel(ty) {
        Type::Array(TypeArray { elem, .. }) => {
            if Spelled::of(elem).is_variable() {
                let advice = format!("the elements of an array have a fixed size: write `Vec<{}>`", text(elem));
                return Some((ty, advice));
            }
            return refused(elem);
        }
        Type::Reference(reference) => {
            format!("a payload owns its fields: write `{}`", owned(&reference.elem))
        }
        Type::Ptr(_) | Type::FnPtr(_) => {
            "an address means nothing in another process: hold the value itself, or a number that both sides know"
                .to_owned()
        }
        Type::Slice(slice) => {
            let elem = text(&slice.elem);
            format!("a slice has no owner: write `Vec<{elem}>`, or an array such as `[{elem}; 16]`")
        }
        Type::Tuple(tuple) if tuple.elems.is_empty() => "`()` has no bytes: leave the field out".to_owned(),
        Type::Tuple(_) => {
            "the fields of a tuple have no names: write a struct marked with `#[tachyon::payload]`".to_owned()
        }
        Type::TraitObject(_) | Type::ImplTrait(_) => {
            "a field has one type on both sides: write a struct or an enum marked with `#[tachyon::payload]`".to_owned()
        }
        Type::Never(_) | Type::Infer(_) => format!("`{}` is no type that has bytes", text(ty)),
        Type::Path(_) => by_name(ty)?,
        _ => return None,
    };
    Some((ty, advice))
}

/// As [`refused`], of a type that is a path.
fn by_name(ty: &Type) -> Option<String> {
    let segment = last_segment(ty)?;
    let name = segment.ident.to_string();
    let of: Vec<&Type> = type_arguments(segment).collect();
    Some(match (name.as_str(), &of[..]) {
        ("usize", _) => "`usize` differs between machines and languages: write `u64` or `u32`".to_owned(),
        ("isize", _) => "`isize` differs between machines and languages: write `i64` or `i32`".to_owned(),
        ("u128" | "i128", _) => {
            format!("`{name}` is aligned to 16 bytes and a payload to 8 at most: write `[u64; 2]`, or `[u8; 16]`")
        }
        ("char", _) => {
            "`char` is not a type of other languages: write `u32`, and check it with `char::from_u32`".to_owned()
        }
        ("str", _) => "`str` has no size: write `String`".to_owned(),
        ("OsString" | "PathBuf" | "CString" | "OsStr" | "CStr", _) => {
            format!("`{name}` may be no UTF-8: write `String`, or `Vec<u8>` for any bytes")
        }
        ("VecDeque" | "HashSet" | "BTreeSet" | "LinkedList" | "BinaryHeap", [of, ..]) => {
            format!("`{name}` does not travel: write `Vec<{}>`", text(of))
        }
        ("HashMap" | "BTreeMap", _) => format!(
            "`{name}` does not travel: write a `Vec` of structs with a key and a value, marked with \
             `#[tachyon::payload]`"
        ),
        ("Box" | "Rc" | "Arc" | "Cow", [of, ..]) => {
            format!("`{name}` is an address, which means nothing in another process: write `{}`", owned(of))
        }
        ("NonNull" | "Cell" | "RefCell" | "Mutex" | "RwLock", [of, ..]) => {
            format!("`{name}` means nothing in another process: write `{}`", owned(of))
        }
        ("Result", [_, _]) => {
            "`Result` does not travel in a payload: write an `Option` beside an enum, or return it from the endpoint"
                .to_owned()
        }
        (
            "NonZero" | "NonZeroU8" | "NonZeroU16" | "NonZeroU32" | "NonZeroU64" | "NonZeroI8" | "NonZeroI16"
            | "NonZeroI32" | "NonZeroI64",
            _,
        ) => format!("`{name}` does not describe itself: write the plain number, and check it"),
        _ => return None,
    })
}

/// What owns a borrowed `ty`.
fn owned(ty: &Type) -> String {
    match peel(ty) {
        Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        ty => text(ty),
    }
}

/// The type as one would write it.
pub(crate) fn text(ty: &Type) -> String {
    let mut text = ty.to_token_stream().to_string();
    for (spaced, tight) in [
        (" < ", "<"),
        (" >", ">"),
        (" :: ", "::"),
        (":: ", "::"),
        (" ,", ","),
        (" ;", ";"),
        ("& ", "&"),
        ("[ ", "["),
        (" ]", "]"),
    ] {
        text = text.replace(spaced, tight);
    }
    text
}

/// Size and alignment of a type, as far as its name tells.
pub(crate) fn known_layout(ty: &Type) -> Option<(usize, usize)> {
    match peel(ty) {
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

/// The name of a type that is written as one, or as a path to a primitive of the standard library.
fn primitive(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    let words: Vec<String> = path.path.segments.iter().map(|segment| segment.to_token_stream().to_string()).collect();
    match &words[..] {
        [name] if path.qself.is_none() => Some(name.clone()),
        [library, module, name] if module == "primitive" && (library == "core" || library == "std") => {
            Some(name.clone())
        }
        _ => None,
    }
}

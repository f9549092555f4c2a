//! The rules for a payload. All of them are applied, so that one compile shows every mistake.
//!
//! What depends on the size of another type, only the compiler knows: that is checked in constants of the generated
//! code.

use proc_macro2::Ident;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Field, Fields, FieldsNamed, ItemEnum, ItemStruct, Meta, Type};

use super::model::Declared;
use super::spelling::{Spelled, known_layout, refused};
use crate::args::Args;
use crate::diag::Report;
use crate::model::peel;

/// The integers that can stand for an enum's variant.
const INTEGERS: [&str; 8] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"];

const EMPTY: &str = "a payload has at least one field: use `()` for a request or a reply of nothing";

/// Applies every rule. The type is sound only if `report` is empty afterwards.
pub(crate) fn check(args: &Args, declared: &Declared, report: &mut Report) {
    let generics = declared.generics();
    if !generics.params.is_empty() || generics.where_clause.is_some() {
        let (params, clause) = (&generics.params, &generics.where_clause);
        report.at(quote!(#params #clause), "a payload has no generics: it has one layout, which both sides know");
    }
    for attr in declared.attrs() {
        if attr.path().segments.last().is_some_and(|last| last.ident == "payload") {
            report.at(attr, "keep one `payload`");
        }
    }
    match declared {
        Declared::Struct(item) => check_struct(item, &declared.reprs(), declared.is_variable(args), report),
        Declared::Enum(item) => {
            if let Some(extensible) = &args.extensible {
                report.at(extensible, "an enum has a fixed size and does not grow: leave `extensible` out");
            }
            check_enum(item, &declared.reprs(), report);
        }
    }
}

fn check_struct(item: &ItemStruct, reprs: &[Meta], variable: bool, report: &mut Report) {
    for repr in reprs {
        if variable {
            report.at(
                repr,
                "the fields of a variable payload lie in a head, whatever their order in memory: leave this out",
            );
        } else if !repr.path().is_ident("C") {
            report.at(repr, "a payload struct is `repr(C)`, which `payload` adds: leave this out");
        }
    }
    match &item.fields {
        Fields::Named(fields) if fields.named.is_empty() => report.at(&item.ident, EMPTY),

        Fields::Named(fields) => {
            let mut sound = true;
            for field in &fields.named {
                sound &= check_field(item, field, variable, report);
            }
            if sound && !variable {
                padding(fields, report);
            }
        }
        Fields::Unnamed(fields) => report.at(
            fields,
            "the fields of a payload have names, by which the two sides compare them: write `{ name: Type }`",
        ),
        Fields::Unit => report.at(&item.ident, EMPTY),
    }
}

/// Whether the field's type may be right.
fn check_field(item: &ItemStruct, field: &Field, variable: bool, report: &mut Report) -> bool {
    for attr in &field.attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            report.at(attr, "the layout of a payload cannot be conditional: put the `cfg` on the type");
        }
    }
    if variable
        && let Some(name) = field.ident.as_ref().map(IdentExt::unraw)
        && name.to_string().starts_with('_')
    {
        report.at(
            &field.ident,
            format!(
                "a name that begins with `_` is padding, and a variable payload has none: leave `{name}` out, or \
                     rename it"
            ),
        );
    }
    if let Some((at, advice)) = refused(&field.ty) {
        report.at(at, advice);
        return false;
    }
    if let Some(itself) = mention(&field.ty, &item.ident) {
        report.at(
            itself,
            format!(
                "a payload cannot contain itself: hold the `{}`s in one `Vec`, and the place of each in there as a `u32`",
                item.ident.unraw()
            ),
        );
        return false;
    }
    true
}

/// The type itself in the type of one of its fields.
fn mention<'a>(ty: &'a Type, name: &Ident) -> Option<&'a Type> {
    match Spelled::of(ty) {
        Spelled::List(of) | Spelled::Option(of) => mention(of, name),
        Spelled::Fixed | Spelled::Text => None,
        Spelled::Unknown => match peel(ty) {
            Type::Array(array) => mention(&array.elem, name),
            Type::Path(path) if path.path.is_ident(name) || path.path.is_ident("Self") => Some(ty),
            _ => None,
        },
    }
}

/// Looks for padding as far as the names of the fields' types tell. From the first that does not, the compiler looks.
fn padding(fields: &FieldsNamed, report: &mut Report) {
    let (mut end, mut most) = (0usize, 1);
    for field in &fields.named {
        let (Some((size, align)), Some(name)) = (known_layout(&field.ty), &field.ident) else { return };
        let offset = end.next_multiple_of(align);
        if offset != end {
            let gap = offset - end;
            report.at(
                name,
                format!(
                    "a payload has no padding, and there {} before `{}`: add the field `_pad: [u8; {gap}]` there, or \
                     put larger fields first",
                    bytes(gap),
                    name.unraw()
                ),
            );
        }
        let Some(next) = offset.checked_add(size) else { return };
        end = next;
        most = most.max(align);
    }
    let gap = end.next_multiple_of(most) - end;
    if let Some(name) = fields.named.last().and_then(|field| field.ident.as_ref()).filter(|_| gap != 0) {
        report.at(
            name,
            format!(
                "a payload has no padding, and there {} after `{}`: add the field `_pad: [u8; {gap}]` at the end",
                bytes(gap),
                name.unraw()
            ),
        );
    }
}

fn bytes(count: usize) -> String {
    if count == 1 { "is 1 byte of it".to_owned() } else { format!("are {count} bytes of it") }
}

fn check_enum(item: &ItemEnum, reprs: &[Meta], report: &mut Report) {
    let integer = |repr: &&Meta| INTEGERS.iter().any(|name| repr.path().is_ident(name));
    for repr in reprs.iter().filter(|repr| !integer(repr)) {
        report.at(repr, "a payload enum is one of `repr(u8)` to `repr(u64)` and `repr(i8)` to `repr(i64)`");
    }
    if reprs.is_empty() {
        report.at(
            &item.ident,
            "the number of a payload enum's variant has a fixed size: add `#[repr(u8)]`, or a larger integer",
        );
    }
    if item.variants.is_empty() {
        report.at(&item.ident, "a payload enum has at least one variant: without one there is no value to send");
    }
    for variant in &item.variants {
        if !matches!(variant.fields, Fields::Unit) {
            report.at(
                &variant.fields,
                "a variant of a payload has no fields: put them beside the enum, in a struct that holds both",
            );
        }
    }
}

//! The rules for a payload. Every rule is applied, so that one compile shows every mistake.
//!
//! Only the compiler knows the size of another type: constants of the generated code check the rules about sizes.

use proc_macro2::Ident;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Field, Fields, FieldsNamed, ItemEnum, ItemStruct, Meta, Type};

use super::model::PayloadItem;
use crate::args::Args;
use crate::report::Report;
use crate::types::advice::field_advice;
use crate::types::field_type::{FieldType, known_layout};
use crate::types::ungroup;

/// The integers that can stand for an enum's variant.
const INTEGERS: [&str; 8] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"];

const EMPTY: &str = "a payload has at least one field: write `()` for an empty request or reply";

/// Applies every rule. The type is valid only if `report` is empty afterwards.
pub(crate) fn check(args: &Args, declared: &PayloadItem, report: &mut Report) {
    let generics = declared.generics();
    if !generics.params.is_empty() || generics.where_clause.is_some() {
        let (params, clause) = (&generics.params, &generics.where_clause);
        report.at(quote!(#params #clause), "a payload cannot be generic: it has one layout, which both sides know");
    }
    for attr in declared.attrs() {
        if attr.path().segments.last().is_some_and(|last| last.ident == "payload") {
            report.at(attr, "the type is marked already: keep one `payload`");
        }
    }
    match declared {
        PayloadItem::Struct(item) => check_struct(item, &declared.reprs(), declared.is_variable(args), report),
        PayloadItem::Enum(item) => {
            if let Some(extensible) = &args.extensible {
                report.at(extensible, "an enum has a fixed size and cannot grow: remove `extensible`");
            }
            check_enum(item, &declared.reprs(), report);
        }
    }
}

fn check_struct(item: &ItemStruct, reprs: &[Meta], variable: bool, report: &mut Report) {
    for repr in reprs {
        if variable {
            report.at(repr, "the order in memory does not matter for a variable payload: remove this `repr`");
        } else if !repr.path().is_ident("C") {
            report.at(repr, "a payload struct is `repr(C)`, which `payload` adds: remove this `repr`");
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
            "the fields of a payload need names, by which the two sides compare them: write `{ name: Type }`",
        ),
        Fields::Unit => report.at(&item.ident, EMPTY),
    }
}

/// Whether the type of the field may travel.
fn check_field(item: &ItemStruct, field: &Field, variable: bool, report: &mut Report) -> bool {
    for attr in &field.attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            report.at(attr, "the fields of a payload cannot be conditional: move the `cfg` to the type");
        }
    }
    if variable
        && let Some(name) = field.ident.as_ref().map(IdentExt::unraw)
        && name.to_string().starts_with('_')
    {
        report.at(
            &field.ident,
            format!(
                "a name that begins with `_` is padding, and a variable payload has none: remove `{name}` or rename it"
            ),
        );
    }
    if let Some((at, advice)) = field_advice(&field.ty) {
        report.at(at, advice);
        return false;
    }
    if let Some(itself) = self_reference(&field.ty, &item.ident) {
        report.at(
            itself,
            format!(
                "a payload cannot contain itself: hold all `{}`s in one `Vec`, and refer to each by its index, a `u32`",
                item.ident.unraw()
            ),
        );
        return false;
    }
    true
}

/// The part of a field's type that is the payload itself.
fn self_reference<'a>(ty: &'a Type, name: &Ident) -> Option<&'a Type> {
    match FieldType::of(ty) {
        FieldType::List(of) | FieldType::Option(of) => self_reference(of, name),
        FieldType::Fixed | FieldType::Text | FieldType::Tensor(_) => None,
        FieldType::Unknown => match ungroup(ty) {
            Type::Array(array) => self_reference(&array.elem, name),
            Type::Path(path) if path.path.is_ident(name) || path.path.is_ident("Self") => Some(ty),
            _ => None,
        },
    }
}

/// Reports padding up to the first field of an unknown type. Constants of the generated code check the rest.
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
        report.at(
            repr,
            "a payload enum has one of `repr(u8)` to `repr(u64)` or `repr(i8)` to `repr(i64)`: write one of these",
        );
    }
    if reprs.is_empty() {
        report.at(&item.ident, "the numbers of a payload enum need a size: add `#[repr(u8)]`, or a larger integer");
    }
    if item.variants.is_empty() {
        report.at(&item.ident, "a payload enum needs a variant: without variants it has no value to send");
    }
    for variant in &item.variants {
        if !matches!(variant.fields, Fields::Unit) {
            report
                .at(&variant.fields, "a variant of a payload has no fields: put the fields and the enum into a struct");
        }
    }
}

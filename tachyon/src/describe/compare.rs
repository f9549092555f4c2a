//! Whether two sides mean the same by what they exchange.

use thiserror::Error;

use super::description::{
    Composite, EndpointDescription, EnumDescription, FieldDescription, FormDescription, StructDescription,
    TypeDescription,
};
use crate::payload::Primitive;

/// What this side and the callee do not agree about.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{endpoint}: {difference}")]
#[non_exhaustive]
pub struct Mismatch {
    /// The endpoint's name on this side.
    pub endpoint: String,
    /// The first difference, in a sentence that names the place and both sides' view of it.
    pub difference: String,
}

type Compared = Result<(), String>;

/// Compares an endpoint of this side with the callee's of the same number. Names of endpoints and types are not
/// compared: they are each side's own affair.
pub(super) fn compare(here: &EndpointDescription, there: &EndpointDescription) -> Result<(), Mismatch> {
    forms(&here.request, &there.request, "request")
        .and_then(|()| forms(&here.reply, &there.reply, "reply"))
        .map_err(|difference| Mismatch { endpoint: here.name.clone(), difference })
}

fn forms(here: &FormDescription, there: &FormDescription, what: &str) -> Compared {
    use FormDescription::{Bytes, Empty, Payload, Slice};
    match (here, there) {
        // Bytes are taken as they come: whoever declares them checks them, or does not care.
        (Bytes, _) | (_, Bytes) | (Empty, Empty) => Ok(()),
        (Payload { layout: here }, Payload { layout: there }) | (Slice { layout: here }, Slice { layout: there }) => {
            types(here, there, &|| format!("the {what}"))
        }
        // An array is a slice of a length that one side promises; whoever receives it checks.
        (Payload { layout: array }, Slice { layout: there }) if let Some(here) = element(array) => {
            types(here, there, &|| format!("each element of the {what}"))
        }
        (Slice { layout: here }, Payload { layout: array }) if let Some(there) = element(array) => {
            types(here, there, &|| format!("each element of the {what}"))
        }
        _ => Err(format!("the {what} is {} here, {} at the callee", form(here), form(there))),
    }
}

fn element(description: &TypeDescription) -> Option<&TypeDescription> {
    match description {
        TypeDescription::Composite(Composite::Array { of, .. }) => Some(of),
        _ => None,
    }
}

/// A name without the `_` that a language puts after one of its keywords.
fn plain(name: &str) -> &str {
    name.strip_suffix('_').unwrap_or(name)
}

/// The one of `theirs` that `ours` means: the same in everything, or else of the same name, or else of one that only a
/// trailing `_` tells apart. So what has `a` beside `a_` agrees with itself.
fn counterpart<'a, T: PartialEq>(ours: &T, theirs: &'a [T], name: impl Fn(&T) -> &str) -> Option<&'a T> {
    let find = |means: &dyn Fn(&T) -> bool| theirs.iter().find(|other| means(other));
    find(&|other| other == ours)
        .or_else(|| find(&|other| name(other) == name(ours)))
        .or_else(|| find(&|other| plain(name(other)) == plain(name(ours))))
}

fn form(form: &FormDescription) -> String {
    match form {
        FormDescription::Empty => "empty".to_owned(),
        FormDescription::Bytes => "bytes".to_owned(),
        FormDescription::Payload { layout } => format!("one {}", layout.name()),
        FormDescription::Slice { layout } => format!("a slice of {}", layout.name()),
    }
}

/// `place` names what has these types, such as "field `quantity` of `PriceRequest`".
fn types(here: &TypeDescription, there: &TypeDescription, place: &dyn Fn() -> String) -> Compared {
    use super::description::Composite::{Array, Enum, Struct};
    use TypeDescription::Composite;
    match (here, there) {
        (Composite(Struct(here)), Composite(Struct(there))) => structs(here, there),
        (Composite(Enum(here)), Composite(Enum(there))) => enums(here, there),
        (Composite(Array { of: here_of, len: here_len }), Composite(Array { of: there_of, len: there_len }))
            if here_len == there_len =>
        {
            types(here_of, there_of, &|| format!("each element of {}", place()))
        }
        _ if here == there || byte_array(here).is_some_and(|len| byte_array(there) == Some(len)) => Ok(()),
        _ => Err(format!("{} is {} here, {} at the callee", place(), here.name(), there.name())),
    }
}

/// The length of what is an array of bytes under one of its names.
fn byte_array(description: &TypeDescription) -> Option<usize> {
    match description {
        TypeDescription::Composite(Composite::Bytes { len } | Composite::Str { len }) => Some(*len),
        TypeDescription::Composite(Composite::Array { of, len })
            if **of == TypeDescription::Primitive(Primitive::U8) =>
        {
            Some(*len)
        }
        _ => None,
    }
}

fn structs(here: &StructDescription, there: &StructDescription) -> Compared {
    let name = &here.name;
    let missing = |field: &str, here: String, there: String| {
        Err(format!("field `{field}` of {name} is {here} here, {there} at the callee"))
    };
    let mut theirs = there.fields.iter().filter(is_content);
    for field in here.fields.iter().filter(is_content) {
        let Some(other) = counterpart(field, &there.fields, |field| &field.name) else {
            return missing(&field.name, at(field), "missing".to_owned());
        };
        let place = || format!("field `{}` of {name}", field.name);
        if field.offset != other.offset || field.size != other.size {
            return missing(&field.name, at(field), at(other));
        }
        // Numbers of one size that differ in kind are told with their offset too.
        if let (TypeDescription::Primitive(_), _) | (_, TypeDescription::Primitive(_)) = (&field.layout, &other.layout)
            && field.layout != other.layout
        {
            return missing(&field.name, at(field), at(other));
        }
        types(&field.layout, &other.layout, &place)?;
    }
    if let Some(surplus) = theirs.find(|other| counterpart(*other, &here.fields, |field| &field.name).is_none()) {
        return missing(&surplus.name, "missing".to_owned(), at(surplus));
    }
    if here.size != there.size {
        return Err(format!("{name} has {} bytes here, {} at the callee", here.size, there.size));
    }
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "`filter` lends references to references")]
fn is_content(field: &&FieldDescription) -> bool {
    !field.name.starts_with('_')
}

fn at(field: &FieldDescription) -> String {
    format!("{} at offset {}", field.layout.name(), field.offset)
}

fn enums(here: &EnumDescription, there: &EnumDescription) -> Compared {
    let name = &here.name;
    if here.repr != there.repr {
        return Err(format!("{name} is a {} here, a {} at the callee", here.repr.name(), there.repr.name()));
    }
    for variant in &here.variants {
        match counterpart(variant, &there.variants, |variant| &variant.name) {
            Some(other) if other.value == variant.value => {}
            Some(other) => {
                return Err(format!(
                    "variant `{}` of {name} is {} here, {} at the callee",
                    variant.name, variant.value, other.value
                ));
            }
            None => {
                return Err(format!(
                    "variant `{}` of {name} is {} here, missing at the callee",
                    variant.name, variant.value
                ));
            }
        }
    }
    match there.variants.iter().find(|other| counterpart(*other, &here.variants, |variant| &variant.name).is_none()) {
        Some(other) => {
            Err(format!("variant `{}` of {name} is missing here, {} at the callee", other.name, other.value))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::Description;

    fn endpoint(request: &str) -> EndpointDescription {
        let json = format!(
            r#"{{"schema": 1, "endpoints": [{{"msg_type": 2, "name": "price", "request": {request}, "reply": {{"form": "empty"}}}}]}}"#
        );
        Description::from_json(&json).unwrap().endpoints.remove(0)
    }

    fn of_struct(size: usize, fields: &str) -> String {
        format!(
            r#"{{"form": "payload", "layout": {{"kind": "struct", "name": "PriceRequest", "size": {size}, "align": 8, "fields": [{fields}]}}}}"#
        )
    }

    fn differ(here: &str, there: &str) -> String {
        compare(&endpoint(here), &endpoint(there)).unwrap_err().to_string()
    }

    fn agree(here: &str, there: &str) {
        compare(&endpoint(here), &endpoint(there)).unwrap();
        compare(&endpoint(there), &endpoint(here)).unwrap();
    }

    const I64: &str = r#"{"name": "quantity", "type": "i64", "offset": 8, "size": 8}"#;

    #[test]
    fn a_difference_names_the_field_and_both_sides() {
        let here = of_struct(16, I64);
        let there = of_struct(16, r#"{"name": "quantity", "type": "i32", "offset": 8, "size": 4}"#);
        assert_eq!(
            differ(&here, &there),
            "price: field `quantity` of PriceRequest is i64 at offset 8 here, i32 at offset 8 at the callee"
        );
        let there = of_struct(16, r#"{"name": "quantity", "type": "f64", "offset": 8, "size": 8}"#);
        assert!(differ(&here, &there).ends_with("is i64 at offset 8 here, f64 at offset 8 at the callee"));
        let there = of_struct(16, r#"{"name": "amount", "type": "i64", "offset": 8, "size": 8}"#);
        assert!(differ(&here, &there).contains("`quantity` of PriceRequest is i64 at offset 8 here, missing"));
        let there = of_struct(16, &format!(r#"{I64}, {{"name": "x", "type": "u8", "offset": 0, "size": 1}}"#));
        assert!(differ(&here, &there).contains("`x` of PriceRequest is missing here, u8 at offset 0 at the callee"));
        assert!(differ(&here, &of_struct(24, I64)).contains("PriceRequest has 16 bytes here, 24 at the callee"));
    }

    #[test]
    fn forms_differ_in_words_and_bytes_fit_everything() {
        let slice = r#"{"form": "slice", "layout": "f64"}"#;
        assert_eq!(
            differ(slice, r#"{"form": "empty"}"#),
            "price: the request is a slice of f64 here, empty at the callee"
        );
        assert_eq!(
            differ(slice, r#"{"form": "slice", "layout": "f32"}"#),
            "price: the request is f64 here, f32 at the callee"
        );
        agree(slice, r#"{"form": "bytes"}"#);
    }

    #[test]
    fn padding_and_names_of_byte_arrays_do_not_matter() {
        let field = |ty: &str| format!(r#"{{"name": "id", "type": {ty}, "offset": 0, "size": 4}}"#);
        let pad = r#"{"name": "_pad", "type": {"kind": "array", "of": "u8", "len": 4}, "offset": 4, "size": 4}"#;
        let array = of_struct(8, &format!("{}, {pad}", field(r#"{"kind": "array", "of": "u8", "len": 4}"#)));
        agree(&array, &of_struct(8, &field(r#"{"kind": "str", "len": 4}"#)));
        agree(&array, &of_struct(8, &field(r#"{"kind": "bytes", "len": 4}"#)));
        assert!(differ(&array, &of_struct(8, &field(r#"{"kind": "array", "of": "i8", "len": 4}"#))).contains("u8"));
    }

    #[test]
    fn enums_agree_on_names_and_numbers() {
        let side = |variants: &str| {
            format!(
                r#"{{"form": "payload", "layout": {{"kind": "enum", "name": "Side", "repr": "u8", "variants": [{variants}]}}}}"#
            )
        };
        let (buy, sell) = (r#"{"name": "Buy", "value": 1}"#, r#"{"name": "Sell", "value": 2}"#);
        agree(&side(&format!("{buy}, {sell}")), &side(&format!("{sell}, {buy}")));
        assert!(differ(&side(buy), &side(sell)).contains("variant `Buy` of Side is 1 here, missing at the callee"));
        assert!(differ(&side(buy), &side(&format!("{buy}, {sell}"))).contains("`Sell` of Side is missing here, 2"));
        assert!(differ(&side(buy), &side(r#"{"name": "Buy", "value": 7}"#)).contains("is 1 here, 7 at the callee"));
    }

    #[test]
    fn names_that_only_a_trailing_underscore_tells_apart_are_two() {
        let two = |first: &str, second: &str| {
            of_struct(
                16,
                &format!(
                    r#"{{"name": "{first}", "type": "i64", "offset": 0, "size": 8}}, {{"name": "{second}", "type": "f64", "offset": 8, "size": 8}}"#
                ),
            )
        };
        agree(&two("a", "a_"), &two("a", "a_"));
        agree(&two("a_", "a"), &two("a_", "a"));
        agree(&two("a", "a"), &two("a", "a"));
        agree(&two("class", "b"), &two("class_", "b"));
        assert!(
            differ(&two("a", "a_"), &two("a_", "a")).contains("field `a` of PriceRequest is i64 at offset 0 here, f64")
        );
        let side = |variants: &str| {
            format!(
                r#"{{"form": "payload", "layout": {{"kind": "enum", "name": "Side", "repr": "u8", "variants": [{variants}]}}}}"#
            )
        };
        let both = side(r#"{"name": "Buy_", "value": 1}, {"name": "Buy", "value": 2}"#);
        agree(&both, &both);
    }
}

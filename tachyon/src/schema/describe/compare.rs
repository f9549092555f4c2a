//! Whether two sides mean the same by what they exchange.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::description::{
    EndpointDescription, EnumDescription, FieldDescription, FormDescription, HeadDescription, StructDescription,
    TypeDescription, VariantDescription,
};
use crate::schema::payload::Primitive;

/// A difference between this side and the callee.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{difference}")]
#[non_exhaustive]
pub struct Mismatch {
    /// The endpoint's name on this side.
    pub endpoint: String,
    /// The first difference, in a sentence that names the endpoint, the place and both sides' view of it.
    pub difference: String,
}

type Compared = Result<(), String>;

/// Compares an endpoint of this side with the callee's of the same number. Names of endpoints and types are not
/// compared: they are each side's own affair.
pub(super) fn compare(here: &EndpointDescription, there: &EndpointDescription) -> Result<(), Mismatch> {
    let mut comparison = Comparison { endpoint: &here.name, agreed: HashSet::new() };
    comparison
        .forms(&here.request, &there.request, "request")
        .and_then(|()| comparison.forms(&here.reply, &there.reply, "reply"))
        .and_then(|()| comparison.errors(&here.raises, &there.raises))
        .map_err(|difference| Mismatch { endpoint: here.name.clone(), difference })
}

/// The comparison of one endpoint.
struct Comparison<'a> {
    endpoint: &'a str,
    /// Addresses of the payloads that agree: each pair is compared once, however often it is shared.
    agreed: HashSet<(*const (), *const ())>,
}

impl Comparison<'_> {
    /// A sentence about a place in this endpoint.
    fn differ(&self, sentence: &str) -> Compared {
        Err(format!("{}: {sentence}", self.endpoint))
    }

    fn forms(&mut self, here: &FormDescription, there: &FormDescription, what: &str) -> Compared {
        use FormDescription::{Bytes, Empty, Fields, Value};
        let verb = if what == "request" { "takes" } else { "gives" };
        match (here, there) {
            // A side that declares bytes checks them by itself.
            (Bytes, _) | (_, Bytes) | (Empty, Empty) => Ok(()),
            (Value(TypeDescription::Array { of: here, .. }), Value(TypeDescription::List(there)))
            | (Value(TypeDescription::List(here)), Value(TypeDescription::Array { of: there, .. })) => {
                // An array is a list of a length that one side promises; the receiver checks the length.
                self.types(here, there, &|| format!("each element of the {what}"))
            }
            (Value(here), Value(there)) => self.types(here, there, &|| format!("the {what}")),
            (Fields(here), Fields(there)) => self.heads(here, there, &Owner::Arguments),
            (Value(value), Fields(_)) => {
                Err(format!("{} {verb} one {} here, {} at the callee", self.endpoint, value.name(), form(there)))
            }
            (Fields(_), Value(value)) => {
                Err(format!("{} {verb} {} here, one {} at the callee", self.endpoint, form(here), value.name()))
            }
            _ => self.differ(&format!("the {what} is {} here, {} at the callee", form(here), form(there))),
        }
    }

    /// Errors that one side alone declares arrive at the other as errors without a type.
    fn errors(&mut self, here: &[HeadDescription], there: &[HeadDescription]) -> Compared {
        for error in here {
            if let Some(other) = counterpart(there, &error.name, |other| &other.name) {
                self.heads(error, other, &Owner::Payload(&error.name))?;
            }
        }
        Ok(())
    }

    /// Fields by position: those that both have are the same, and those that one side has more may be absent.
    fn heads(&mut self, here: &HeadDescription, there: &HeadDescription, owner: &Owner<'_>) -> Compared {
        for (at, (field, other)) in here.fields.iter().zip(&there.fields).enumerate() {
            if !is_one_name(&field.name, &other.name) {
                let (noun, name) = (owner.noun(), owner.name(self.endpoint));
                let (here, there) = (&field.name, &other.name);
                let sentence = format!("{noun} {} of {name} is `{here}` here, `{there}` at the callee", at + 1);
                return self.about(owner, &sentence);
            }
            self.field(field, other, owner)?;
        }
        let common = here.fields.len().min(there.fields.len());
        let surplus = |fields: &'_ [FieldDescription]| {
            fields
                .iter()
                .skip(common)
                .find(|field| !may_be_absent(field))
                .map(|field| (field.name.clone(), spelt(field)))
        };
        if let Some((name, advice)) = surplus(&here.fields) {
            let place = owner.place(&name, self.endpoint);
            let sentence = format!("{place} is missing at the callee, and is not optional here: make it `{advice}`");
            return self.about(owner, &sentence);
        }
        if let Some((name, advice)) = surplus(&there.fields) {
            let place = owner.place(&name, self.endpoint);
            let sentence =
                format!("{place} is missing here, and is not optional at the callee: make it `{advice}` there");
            return self.about(owner, &sentence);
        }
        Ok(())
    }

    /// A sentence about a field, which names the endpoint if the field is an argument.
    fn about(&self, owner: &Owner<'_>, sentence: &str) -> Compared {
        match owner {
            Owner::Arguments => Err(sentence.to_owned()),
            Owner::Payload(_) => self.differ(sentence),
        }
    }

    fn field(&mut self, here: &FieldDescription, there: &FieldDescription, owner: &Owner<'_>) -> Compared {
        let (ours, theirs) = (&here.value_type, &there.value_type);
        // Numbers of one size that differ in kind are told with their offset too.
        let is_number = |value_type: &TypeDescription| matches!(value_type, TypeDescription::Primitive(_));
        let is_other_number = match (ours, theirs) {
            (TypeDescription::Primitive(ours), TypeDescription::Primitive(theirs)) => ours != theirs,
            _ => is_number(ours) || is_number(theirs),
        };
        if here.offset != there.offset || ours.size() != theirs.size() || is_other_number {
            let place = owner.place(&here.name, self.endpoint);
            return self.about(owner, &format!("{place} is {} here, {} at the callee", at(here), at(there)));
        }
        let endpoint = self.endpoint;
        match owner {
            Owner::Arguments => self.types(ours, theirs, &|| format!("argument `{}`", here.name)),
            Owner::Payload(_) => self.types(ours, theirs, &|| owner.place(&here.name, endpoint)),
        }
    }

    /// `place` names what has these types, such as "field `gain` of `Scan`".
    fn types(&mut self, here: &TypeDescription, there: &TypeDescription, place: &dyn Fn() -> String) -> Compared {
        use TypeDescription::{Array, Enum, List, Option, Primitive, Struct, Text, Variable};
        let is_equal = match (here, there) {
            (Struct(here), Struct(there)) => {
                return self.once(here, there, |comparison| comparison.structs(here, there));
            }
            (Variable(here), Variable(there)) => {
                return self.once(here, there, |comparison| comparison.heads(here, there, &Owner::Payload(&here.name)));
            }
            (Enum(here), Enum(there)) => return self.once(here, there, |comparison| comparison.enums(here, there)),
            (Array { of: here_of, len: here_len }, Array { of: there_of, len: there_len }) if here_len == there_len => {
                return self.types(here_of, there_of, &|| format!("each element of {}", place()));
            }
            (List(here), List(there)) => {
                return self.types(here, there, &|| format!("each element of {}", place()));
            }
            (Option(here), Option(there)) => return self.types(here, there, place),
            (Primitive(here), Primitive(there)) => here == there,
            (Text, Text) => true,
            _ => byte_array(here).is_some_and(|len| byte_array(there) == Some(len)),
        };
        if is_equal {
            return Ok(());
        }
        // Two payloads that differ in this alone may well have one name.
        let shown = |one: &TypeDescription, other: &TypeDescription| match (one, other) {
            (Struct(one), Variable(_)) => format!("a fixed payload {}", one.name),
            (Variable(one), Struct(_)) => format!("a payload {} with a head", one.name),
            _ => one.name(),
        };
        let (ours, theirs) = (shown(here, there), shown(there, here));
        self.differ(&format!("{} is {ours} here, {theirs} at the callee", place()))
    }

    fn once<T>(&mut self, here: &Arc<T>, there: &Arc<T>, compare: impl FnOnce(&mut Self) -> Compared) -> Compared {
        let pair = (Arc::as_ptr(here).cast(), Arc::as_ptr(there).cast());
        if !self.agreed.contains(&pair) {
            compare(self)?;
            self.agreed.insert(pair);
        }
        Ok(())
    }

    fn structs(&mut self, here: &StructDescription, there: &StructDescription) -> Compared {
        let name = &here.name;
        let owner = Owner::Payload(name);
        let place = |field: &str| format!("field `{field}` of {name}");
        for field in here.fields.iter().filter(is_content) {
            let Some(other) = counterpart(&there.fields, &field.name, |field| &field.name) else {
                return self.differ(&format!("{} is {} here, missing at the callee", place(&field.name), at(field)));
            };
            self.field(field, other, &owner)?;
        }
        let is_missing =
            |other: &&FieldDescription| counterpart(&here.fields, &other.name, |field| &field.name).is_none();
        let surplus = there.fields.iter().filter(is_content).find(is_missing);
        if let Some(surplus) = surplus {
            let sentence = format!("{} is missing here, {} at the callee", place(&surplus.name), at(surplus));
            return self.differ(&sentence);
        }
        if here.size != there.size {
            return self.differ(&format!("{name} has {} bytes here, {} at the callee", here.size, there.size));
        }
        Ok(())
    }

    fn enums(&self, here: &EnumDescription, there: &EnumDescription) -> Compared {
        let name = &here.name;
        if here.repr != there.repr {
            let (here, there) = (here.repr.name(), there.repr.name());
            return self.differ(&format!("{name} is a {here} here, a {there} at the callee"));
        }
        for variant in &here.variants {
            let theirs = match counterpart(&there.variants, &variant.name, |variant| &variant.name) {
                Some(other) if other.value == variant.value => continue,
                Some(other) => other.value.to_string(),
                None => "missing".to_owned(),
            };
            let VariantDescription { name: own, value } = variant;
            return self.differ(&format!("variant `{own}` of {name} is {value} here, {theirs} at the callee"));
        }
        let is_missing =
            |other: &&VariantDescription| counterpart(&here.variants, &other.name, |variant| &variant.name).is_none();
        let surplus = there.variants.iter().find(is_missing);
        match surplus {
            Some(VariantDescription { name: own, value }) => {
                self.differ(&format!("variant `{own}` of {name} is missing here, {value} at the callee"))
            }
            None => Ok(()),
        }
    }
}

/// The owner of fields.
enum Owner<'a> {
    /// The endpoint.
    Arguments,
    /// A payload or an error, by name.
    Payload(&'a str),
}

impl Owner<'_> {
    fn noun(&self) -> &'static str {
        match self {
            Owner::Arguments => "argument",
            Owner::Payload(_) => "field",
        }
    }

    fn name<'a>(&'a self, endpoint: &'a str) -> &'a str {
        match self {
            Owner::Arguments => endpoint,
            Owner::Payload(name) => name,
        }
    }

    fn place(&self, field: &str, endpoint: &str) -> String {
        format!("{} `{field}` of {}", self.noun(), self.name(endpoint))
    }
}

/// Whether two names are one: but for a `_` that a language puts after its keywords, and for characters that a
/// language writes in another way. Rust's identifiers have the Unicode form NFC, Python's NFKC.
fn is_one_name(one: &str, other: &str) -> bool {
    normal(plain(one)) == normal(plain(other))
}

/// A name in the form that all languages agree on.
pub(super) fn normal(name: &str) -> Cow<'_, str> {
    if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(name.nfkc().collect()) }
}

/// A name without the `_` that a language puts after one of its keywords.
fn plain(name: &str) -> &str {
    name.strip_suffix('_').unwrap_or(name)
}

/// The one of `theirs` that has a name, or else one that only a trailing `_` tells apart. So `a` beside `a_` agrees with
/// itself.
fn counterpart<'a, T>(theirs: &'a [T], name: &str, name_of: impl Fn(&T) -> &str) -> Option<&'a T> {
    theirs
        .iter()
        .find(|other| normal(name_of(other)) == normal(name))
        .or_else(|| theirs.iter().find(|other| is_one_name(name_of(other), name)))
}

fn form(form: &FormDescription) -> String {
    match form {
        FormDescription::Empty => "empty".to_owned(),
        FormDescription::Bytes => "bytes".to_owned(),
        FormDescription::Value(value_type) => value_type.name(),
        FormDescription::Fields(head) => {
            let names: Vec<_> = head.fields.iter().map(|field| format!("`{}`", field.name)).collect();
            format!("the field{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
        }
    }
}

/// The length of what is an array of bytes under one of its names.
fn byte_array(description: &TypeDescription) -> Option<usize> {
    match description {
        TypeDescription::Bytes { len } | TypeDescription::Str { len } => Some(*len),
        TypeDescription::Array { of, len } if matches!(**of, TypeDescription::Primitive(Primitive::U8)) => Some(*len),
        _ => None,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "`filter` lends references to references")]
fn is_content(field: &&FieldDescription) -> bool {
    !field.name.starts_with('_')
}

fn at(field: &FieldDescription) -> String {
    format!("{} at offset {}", field.value_type.name(), field.offset)
}

fn may_be_absent(field: &FieldDescription) -> bool {
    field.default || matches!(field.value_type, TypeDescription::Option(_))
}

/// The type of a field that may be absent, as Rust writes it.
fn spelt(field: &FieldDescription) -> String {
    fn owned(value_type: &TypeDescription) -> String {
        match value_type {
            TypeDescription::Text => "String".to_owned(),
            TypeDescription::List(of) => format!("Vec<{}>", owned(of)),
            _ => value_type.name(),
        }
    }
    format!("Option<{}>", owned(&field.value_type))
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;

    use super::*;
    use crate::schema::describe::Description;

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
        assert_eq!(differ(slice, r#"{"form": "empty"}"#), "price: the request is list[f64] here, empty at the callee");
        assert_eq!(
            differ(slice, r#"{"form": "slice", "layout": "f32"}"#),
            "price: each element of the request is f64 here, f32 at the callee"
        );
        assert_eq!(
            differ(slice, r#"{"form": "payload", "layout": "f64"}"#),
            "price: the request is list[f64] here, f64 at the callee"
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

    /// An endpoint `filter` of schema 2, and the types that it may refer to.
    fn filter(types: &str, request: &str, reply: &str, raises: &str) -> EndpointDescription {
        let json = format!(
            r#"{{"schema": 2, "types": [{types}], "endpoints": [{{"msg_type": 4, "name": "filter",
                "request": {request}, "reply": {reply}, "raises": [{raises}]}}]}}"#
        );
        Description::from_json(&json).unwrap().endpoints.remove(0)
    }

    const SCAN: &str = r#"{"kind": "struct", "name": "Scan", "head": 20, "fields": [
        {"name": "frame", "type": "str", "offset": 4}, {"name": "note", "type": {"option": "str"}, "offset": 12}]}"#;
    const EMPTY: &str = r#"{"form": "empty"}"#;

    /// An endpoint that takes these arguments, each a name and a type, behind a scan.
    fn takes(arguments: &[(&str, &str, usize)]) -> EndpointDescription {
        let mut fields = String::from(r#"{"name": "scan", "type": {"ref": 0}, "offset": 4}"#);
        let mut end = 12usize;
        for (name, value_type, size) in arguments {
            let align = if value_type.contains("option") || value_type.contains("list") { 4 } else { *size };
            let offset = end.next_multiple_of(align);
            write!(fields, r#", {{"name": "{name}", "type": {value_type}, "offset": {offset}}}"#).unwrap();
            end = offset + size;
        }
        filter(SCAN, &format!(r#"{{"form": "fields", "head": {end}, "fields": [{fields}]}}"#), EMPTY, "")
    }

    fn difference(here: &EndpointDescription, there: &EndpointDescription) -> String {
        let mismatch = here.agree_with(there).unwrap_err();
        assert_eq!((mismatch.endpoint.as_str(), &mismatch.to_string()), ("filter", &mismatch.difference));
        mismatch.difference
    }

    #[test]
    fn arguments_are_compared_by_position() {
        let radius = takes(&[("radius", r#""f32""#, 4), ("tags", r#"{"list": "u32"}"#, 8)]);
        radius.agree_with(&radius).unwrap();
        assert_eq!(
            difference(&radius, &takes(&[("radius", r#""f64""#, 8), ("tags", r#"{"list": "u32"}"#, 8)])),
            "argument `radius` of filter is f32 at offset 12 here, f64 at offset 16 at the callee"
        );
        assert_eq!(
            difference(&radius, &takes(&[("gain", r#""f32""#, 4), ("tags", r#"{"list": "u32"}"#, 8)])),
            "argument 2 of filter is `radius` here, `gain` at the callee"
        );
        assert_eq!(
            difference(&radius, &takes(&[("radius", r#""f32""#, 4), ("tags", r#"{"list": "u8"}"#, 8)])),
            "filter: each element of argument `tags` is u32 here, u8 at the callee"
        );
        assert_eq!(
            difference(&radius, &takes(&[("radius", r#""f32""#, 4), ("tags", r#"{"option": "str"}"#, 8)])),
            "filter: argument `tags` is list[u32] here, option[str] at the callee"
        );
        assert_eq!(
            difference(&takes(&[("class", r#""u8""#, 1)]), &takes(&[("class_", r#""bool""#, 1)])),
            "argument `class` of filter is u8 at offset 12 here, bool at offset 12 at the callee"
        );
        takes(&[("class", r#""u8""#, 1)]).agree_with(&takes(&[("class_", r#""u8""#, 1)])).unwrap();
    }

    #[test]
    fn what_one_side_has_more_at_the_end_may_be_absent() {
        let (old, gain) = (takes(&[]), ("gain", r#"{"option": "f64"}"#, 8));
        for newer in [takes(&[gain]), takes(&[gain, ("tags", r#"{"option": {"list": "str"}}"#, 8)])] {
            old.agree_with(&newer).unwrap();
            newer.agree_with(&old).unwrap();
        }
        let needed = takes(&[gain, ("tags", r#"{"list": "str"}"#, 8)]);
        assert_eq!(
            difference(&needed, &old),
            "argument `tags` of filter is missing at the callee, and is not optional here: make it `Option<Vec<String>>`"
        );
        assert_eq!(
            difference(&old, &needed),
            "argument `tags` of filter is missing here, and is not optional at the callee: make it \
             `Option<Vec<String>>` there"
        );
        // With a default the receiver has a value.
        let defaulted = |default| {
            let scan = format!(
                r#"{{"kind": "struct", "name": "Scan", "head": 16, "fields": [{{"name": "gain", "type": "f64", "offset": 8{default}}}]}}"#
            );
            filter(&scan, r#"{"form": "value", "type": {"ref": 0}}"#, EMPTY, "")
        };
        let empty = filter(
            r#"{"kind": "struct", "name": "Scan", "head": 4, "fields": []}"#,
            r#"{"form": "value", "type": {"ref": 0}}"#,
            EMPTY,
            "",
        );
        defaulted(r#", "default": true"#).agree_with(&empty).unwrap();
        empty.agree_with(&defaulted(r#", "default": true"#)).unwrap();
        assert_eq!(
            difference(&defaulted(""), &empty),
            "filter: field `gain` of Scan is missing at the callee, and is not optional here: make it `Option<f64>`"
        );
    }

    #[test]
    fn one_value_is_not_the_fields() {
        let one = filter(SCAN, r#"{"form": "value", "type": {"ref": 0}}"#, EMPTY, "");
        let two = takes(&[("radius", r#""f32""#, 4)]);
        assert_eq!(difference(&one, &two), "filter takes one Scan here, the fields `scan`, `radius` at the callee");
        assert_eq!(difference(&two, &one), "filter takes the fields `scan`, `radius` here, one Scan at the callee");
        let empty = filter("", EMPTY, EMPTY, "");
        assert_eq!(
            difference(&two, &empty),
            "filter: the request is the fields `scan`, `radius` here, empty at the callee"
        );
        two.agree_with(&filter("", r#"{"form": "bytes"}"#, EMPTY, "")).unwrap();
        let gives = |reply: &str| filter(SCAN, EMPTY, reply, "");
        let maybe = r#"{"form": "fields", "head": 12, "fields": [{"name": "value", "type": {"option": {"ref": 0}}, "offset": 4}]}"#;
        assert_eq!(
            difference(&gives(maybe), &gives(r#"{"form": "value", "type": {"ref": 0}}"#)),
            "filter gives the field `value` here, one Scan at the callee"
        );
        gives(maybe).agree_with(&gives(maybe)).unwrap();
    }

    #[test]
    fn texts_lists_and_payloads_with_a_head_are_compared_inside() {
        let of = |value_type: &str| filter(SCAN, &format!(r#"{{"form": "value", "type": {value_type}}}"#), EMPTY, "");
        let text = of(r#""str""#);
        text.agree_with(&text).unwrap();
        assert_eq!(
            difference(&text, &of(r#"{"kind": "str", "len": 4}"#)),
            "filter: the request is str here, str[4] at the callee"
        );
        let scans = of(r#"{"list": {"ref": 0}}"#);
        scans.agree_with(&of(r#"{"list": {"ref": 0}}"#)).unwrap();
        let other = SCAN.replace(r#""type": "str""#, r#""type": {"list": "u8"}"#);
        let other = filter(&other, r#"{"form": "value", "type": {"list": {"ref": 0}}}"#, EMPTY, "");
        assert_eq!(difference(&scans, &other), "filter: field `frame` of Scan is str here, list[u8] at the callee");
        let fixed = r#"{"kind": "struct", "name": "Scan", "size": 4, "align": 4, "fields": []}"#;
        assert_eq!(
            difference(&scans, &filter(fixed, r#"{"form": "value", "type": {"list": {"ref": 0}}}"#, EMPTY, "")),
            "filter: each element of the request is a payload Scan with a head here, a fixed payload Scan at the callee"
        );
    }

    #[test]
    fn errors_of_one_name_have_one_set_of_fields() {
        let raises = |errors: &str| filter("", EMPTY, EMPTY, errors);
        let no_sensor = |value_type: &str, size: usize| {
            format!(
                r#"{{"name": "NoSensor", "head": {}, "fields": [{{"name": "sensor", "type": {value_type}, "offset": 4}}]}}"#,
                size + 4
            )
        };
        let here = raises(&no_sensor(r#""u32""#, 4));
        here.agree_with(&raises(r#"{"name": "Busy"}"#)).unwrap();
        let two = raises(&format!(r#"{{"name": "NoSensor_"}}, {}"#, no_sensor(r#""u32""#, 4)));
        two.agree_with(&two).unwrap();
        here.agree_with(&two).unwrap();
        here.agree_with(&raises(&format!(r#"{{"name": "Busy"}}, {}"#, no_sensor(r#""u32""#, 4)))).unwrap();
        assert_eq!(
            difference(&here, &raises(&no_sensor(r#""u16""#, 2))),
            "filter: field `sensor` of NoSensor is u32 at offset 4 here, u16 at offset 4 at the callee"
        );
        assert_eq!(
            difference(&here, &raises(r#"{"name": "NoSensor"}"#)),
            "filter: field `sensor` of NoSensor is missing at the callee, and is not optional here: make it `Option<u32>`"
        );
    }

    /// Python writes identifiers in NFKC, where the micro sign is a letter mu; Rust in NFC, where it is itself.
    #[test]
    fn names_are_compared_in_one_unicode_form() {
        let named = |name: &str| takes(&[(name, r#""u8""#, 1)]);
        for (one, other) in [("\u{b5}", "\u{3bc}"), ("gro\u{308}\u{df}e", "gr\u{f6}\u{df}e"), ("\u{fb01}_", "fi")] {
            named(one).agree_with(&named(other)).unwrap();
            let of = |name: &str| of_struct(8, &I64.replace("quantity", name));
            agree(&of(one), &of(other));
        }
        assert!(named("\u{3bc}").agree_with(&named("m")).is_err());
    }
}

//! The comparison of an endpoint's contract on two sides.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::description::{
    EndpointDescription, EnumDescription, ErrorDescription, FieldDescription, FormDescription, HeadDescription,
    StructDescription, TypeDescription, VariantDescription,
};
use super::signature::EndpointKind;
use crate::schema::payload::Primitive;

#[cfg(test)]
mod tests;

/// The first difference between the contracts of an endpoint on this side and at the callee.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{difference}")]
#[non_exhaustive]
pub struct Mismatch {
    /// The endpoint's name on this side.
    pub endpoint: String,
    /// The difference in a sentence, with the endpoint, the place, and the types of both sides.
    pub difference: String,
}

type Compared = Result<(), String>;

/// Compares an endpoint of this side with the callee's endpoint of the same number. Names of endpoints and types are
/// not compared: each side chooses its own.
pub(super) fn compare(here: &EndpointDescription, there: &EndpointDescription) -> Result<(), Mismatch> {
    let mut comparison = Comparison { endpoint: &here.name, agreed: HashSet::new() };
    comparison
        .kinds(here, there)
        .and_then(|()| comparison.request(&here.request, &there.request))
        .and_then(|()| match (&here.items, &there.items) {
            (Some(here), Some(there)) => comparison.single(here, there, "each item"),
            _ => Ok(()),
        })
        .and_then(|()| {
            let place = if here.streams { "each reply" } else { "the reply" };
            comparison.single(&here.reply, &there.reply, place)
        })
        .and_then(|()| comparison.errors(&here.raises, &there.raises))
        .map_err(|difference| Mismatch { endpoint: here.name.clone(), difference })
}

/// The comparison of one endpoint.
struct Comparison<'a> {
    endpoint: &'a str,
    /// Addresses of the payloads that agree. A shared pair is compared once.
    agreed: HashSet<(*const (), *const ())>,
}

impl Comparison<'_> {
    /// A sentence about a place in this endpoint.
    fn differ(&self, sentence: &str) -> Compared {
        Err(format!("{}: {sentence}", self.endpoint))
    }

    /// A stream has messages that a unary call does not have, so bytes on one side change nothing.
    fn kinds(&self, here: &EndpointDescription, there: &EndpointDescription) -> Compared {
        let (here, there) = (here.kind(), there.kind());
        if here == there {
            return Ok(());
        }
        let shown = |kind: EndpointKind| if kind.is_stream() { format!("a {kind}") } else { kind.to_string() };
        Err(format!("{} is {} here, {} at the callee", self.endpoint, shown(here), shown(there)))
    }

    fn request(&mut self, here: &FormDescription, there: &FormDescription) -> Compared {
        use FormDescription::{Empty, Fields, Msgpack, Value};
        match (here, there) {
            (Fields(here), Fields(there)) => self.heads(here, there, &Owner::Arguments),
            (Value(value), Fields(_)) => {
                Err(format!("{} takes one {} here, {} at the callee", self.endpoint, value.name(), form(there)))
            }
            (Fields(_), Value(value)) => {
                Err(format!("{} takes {} here, one {} at the callee", self.endpoint, form(here), value.name()))
            }
            (Fields(_), Empty | Msgpack) | (Empty | Msgpack, Fields(_)) => {
                self.differ(&format!("the request is {} here, {} at the callee", form(here), form(there)))
            }
            _ => self.single(here, there, "the request"),
        }
    }

    /// Compares messages of one value. `place` is "the reply", for example.
    fn single(&mut self, here: &FormDescription, there: &FormDescription, place: &str) -> Compared {
        use FormDescription::{Bytes, Empty, Msgpack, Value};
        match (here, there) {
            // A side that declares bytes checks the bytes by itself.
            (Bytes, _) | (_, Bytes) | (Empty, Empty) | (Msgpack, Msgpack) => return Ok(()),
            (Value(TypeDescription::Array { of: here, .. }), Value(TypeDescription::List(there)))
            | (Value(TypeDescription::List(here)), Value(TypeDescription::Array { of: there, .. })) => {
                // An array travels as a list of its length, and the receiver checks the length.
                return self.types(here, there, &|| format!("each element of {place}"));
            }
            _ => {}
        }
        if let (Some(here), Some(there)) = (here.value_type(), there.value_type()) {
            return self.types(here, there, &|| place.to_owned());
        }
        self.differ(&format!("{place} is {} here, {} at the callee", here.name(), there.name()))
    }

    /// Compares the errors that both sides declare. An error that one side declares arrives at the other side untyped.
    fn errors(&mut self, here: &[ErrorDescription], there: &[ErrorDescription]) -> Compared {
        for ErrorDescription { head: error, .. } in here {
            if let Some(other) = counterpart(there, &error.name, |other| &other.head.name) {
                self.heads(error, &other.head, &Owner::Payload(&error.name))?;
            }
        }
        Ok(())
    }

    /// Compares fields by position. Further fields of one side must be optional or have a default.
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
                .map(|field| (field.name.clone(), optional(field)))
        };
        if let Some((name, advice)) = surplus(&here.fields) {
            let place = owner.place(&name, self.endpoint);
            let sentence = format!("{place} is missing at the callee, and is not optional here: make it {advice}");
            return self.about(owner, &sentence);
        }
        if let Some((name, advice)) = surplus(&there.fields) {
            let place = owner.place(&name, self.endpoint);
            let sentence =
                format!("{place} is missing here, and is not optional at the callee: make it {advice} there");
            return self.about(owner, &sentence);
        }
        Ok(())
    }

    /// A sentence about a field. The sentence about an argument names the endpoint already.
    fn about(&self, owner: &Owner<'_>, sentence: &str) -> Compared {
        match owner {
            Owner::Arguments => Err(sentence.to_owned()),
            Owner::Payload(_) => self.differ(sentence),
        }
    }

    fn field(&mut self, here: &FieldDescription, there: &FieldDescription, owner: &Owner<'_>) -> Compared {
        let (ours, theirs) = (&here.value_type, &there.value_type);
        // The sentence about numbers of one size and two kinds has their offsets, too.
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

    /// Compares two types. `place` is the place of the types, such as "field `gain` of Scan".
    fn types(&mut self, here: &TypeDescription, there: &TypeDescription, place: &dyn Fn() -> String) -> Compared {
        use TypeDescription::{Array, Enum, List, Option, Primitive, Struct, Tensor, Text, Variable};
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
            (Tensor { .. }, Tensor { .. }) => here.name() == there.name(),
            _ => byte_array(here).is_some_and(|len| byte_array(there) == Some(len)),
        };
        if is_equal {
            return Ok(());
        }
        // A fixed and a variable payload may have the same name.
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

/// Whether two names are the same. A `_` at the end does not count: a language puts it after its keywords. The Unicode
/// form does not count: Rust's identifiers have the form NFC, Python's NFKC.
fn is_one_name(one: &str, other: &str) -> bool {
    normal(plain(one)) == normal(plain(other))
}

/// A name in the Unicode form NFKC.
pub(super) fn normal(name: &str) -> Cow<'_, str> {
    if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(name.nfkc().collect()) }
}

/// A name without the `_` that a language puts after its keywords.
fn plain(name: &str) -> &str {
    name.strip_suffix('_').unwrap_or(name)
}

/// The item of `theirs` with this name, or else with this name but for a trailing `_`. So `a` beside `a_` agrees with
/// itself.
fn counterpart<'a, T>(theirs: &'a [T], name: &str, name_of: impl Fn(&T) -> &str) -> Option<&'a T> {
    theirs
        .iter()
        .find(|other| normal(name_of(other)) == normal(name))
        .or_else(|| theirs.iter().find(|other| is_one_name(name_of(other), name)))
}

/// The form of a request.
fn form(form: &FormDescription) -> String {
    match form {
        FormDescription::Fields(head) => {
            let names: Vec<_> = head.fields.iter().map(|field| format!("`{}`", field.name)).collect();
            format!("the field{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
        }
        _ => form.name(),
    }
}

/// The length of an array of bytes, under any of its names.
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

/// Advice to make a field optional, in both languages.
fn optional(field: &FieldDescription) -> String {
    fn owned(value_type: &TypeDescription) -> String {
        match value_type {
            TypeDescription::Text => "String".to_owned(),
            TypeDescription::List(of) => format!("Vec<{}>", owned(of)),
            TypeDescription::Tensor { of, ndim } => format!("Tensor<{}, {ndim}>", of.name()),
            _ => value_type.name(),
        }
    }
    format!("optional (`Option<{}>`, in Python `... | None`)", owned(&field.value_type))
}

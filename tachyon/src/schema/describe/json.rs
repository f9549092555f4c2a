//! The JSON of a description: reading it from anywhere, writing it.
//!
//! Types stand in a list, each once, and refer to earlier ones by their index. In memory a reference is a shared type,
//! so a short JSON never becomes a large tree, and has no cycle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compare::normal;
use super::description::{
    DescribeError, Description, EndpointDescription, EnumDescription, FieldDescription, FormDescription,
    HeadDescription, StructDescription, TypeDescription, VariantDescription,
};
use crate::schema::payload::Primitive;

/// The version of the JSON that this library writes. It reads this one, the one before, and no later one.
const SCHEMA: u32 = 2;

/// Deepest nesting of a description's JSON: the deepest type, written without references, and what is around it.
const DEEPEST_JSON: usize = 80;

/// Deepest nesting of types: payloads, lists, options and arrays in one another. A program's own types nest to 16.
const DEEPEST: usize = 64;

/// Longest name of an endpoint, a type, a field, a variant or an error, in bytes: texts repeat names.
const LONGEST_NAME: usize = 256;

/// Longest fixed value, in bytes: no message is longer.
const LONGEST: usize = u32::MAX as usize;

/// Longest head, in bytes.
const LONGEST_HEAD: usize = 4096;

/// Bytes before the first field of a head.
const HEAD_LEN: usize = 4;

#[derive(Serialize, Deserialize)]
pub(super) struct DescriptionJson {
    schema: u32,
    #[serde(default)]
    types: Vec<TypeJson>,
    endpoints: Vec<EndpointJson>,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct EndpointJson {
    msg_type: u16,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    doc: String,
    request: FormJson,
    reply: FormJson,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    raises: Vec<ErrorJson>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
struct FormJson {
    form: String,
    /// Schema 1 calls it `layout`.
    #[serde(rename = "type", alias = "layout", default, skip_serializing_if = "Option::is_none")]
    value_type: Option<TypeJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<FieldJson>>,
    #[serde(default, skip_serializing)]
    stream: bool,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct ErrorJson {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    doc: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldJson>,
}

#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FieldJson {
    name: String,
    #[serde(rename = "type")]
    value_type: TypeJson,
    offset: usize,
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    default: bool,
}

/// A type as it stands in JSON.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum TypeJson {
    Primitive(Primitive),
    Text,
    Array {
        of: Box<TypeJson>,
        len: usize,
    },
    Bytes {
        len: usize,
    },
    Str {
        len: usize,
    },
    List(Box<TypeJson>),
    Option(Box<TypeJson>),
    Ref(usize),
    Named(Box<NamedJson>),
    /// Of a later version.
    Unknown(Box<str>),
}

/// A type with a name, of which a description has one entry.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum NamedJson {
    Struct {
        name: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        doc: String,
        #[serde(flatten)]
        extent: Extent,
        fields: Vec<FieldJson>,
    },
    Enum {
        name: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        doc: String,
        repr: Primitive,
        variants: Vec<VariantDescription>,
    },
}

/// A struct is fixed, with a size, or variable, with a head.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub(crate) enum Extent {
    Fixed { size: usize, align: usize },
    Variable { head: usize },
}

/// All members that an object that is a type can have.
#[derive(Deserialize)]
struct ObjectJson {
    kind: Option<Box<str>>,
    #[serde(rename = "ref")]
    reference: Option<usize>,
    list: Option<TypeJson>,
    option: Option<TypeJson>,
    of: Option<TypeJson>,
    len: Option<usize>,
    name: Option<String>,
    #[serde(default)]
    doc: String,
    size: Option<usize>,
    align: Option<usize>,
    head: Option<usize>,
    fields: Option<Vec<FieldJson>>,
    repr: Option<Primitive>,
    variants: Option<Vec<VariantDescription>>,
    #[serde(default)]
    tensor: Option<serde::de::IgnoredAny>,
}

impl<'de> Deserialize<'de> for TypeJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TypeVisitor)
    }
}

struct TypeVisitor;

impl<'de> Visitor<'de> for TypeVisitor {
    type Value = TypeJson;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a type: the name of a number, \"str\", or an object")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<TypeJson, E> {
        let primitive = Primitive::ALL.into_iter().find(|primitive| primitive.name() == name);
        Ok(match primitive {
            Some(primitive) => TypeJson::Primitive(primitive),
            None if name == "str" => TypeJson::Text,
            None => TypeJson::Unknown(name.into()),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TypeJson, A::Error> {
        let object = ObjectJson::deserialize(MapAccessDeserializer::new(map))?;
        let missing = A::Error::missing_field;
        Ok(match object {
            ObjectJson { kind: Some(kind), of, len, name, doc, size, align, head, fields, repr, variants, .. } => {
                match &*kind {
                    "array" => TypeJson::Array {
                        of: Box::new(of.ok_or_else(|| missing("of"))?),
                        len: len.ok_or_else(|| missing("len"))?,
                    },
                    "bytes" => TypeJson::Bytes { len: len.ok_or_else(|| missing("len"))? },
                    "str" => TypeJson::Str { len: len.ok_or_else(|| missing("len"))? },
                    "struct" => TypeJson::Named(Box::new(NamedJson::Struct {
                        name: name.ok_or_else(|| missing("name"))?,
                        doc,
                        extent: match head {
                            Some(head) => Extent::Variable { head },
                            None => Extent::Fixed {
                                size: size.ok_or_else(|| missing("size"))?,
                                align: align.ok_or_else(|| missing("align"))?,
                            },
                        },
                        fields: fields.ok_or_else(|| missing("fields"))?,
                    })),
                    "enum" => TypeJson::Named(Box::new(NamedJson::Enum {
                        name: name.ok_or_else(|| missing("name"))?,
                        doc,
                        repr: repr.ok_or_else(|| missing("repr"))?,
                        variants: variants.ok_or_else(|| missing("variants"))?,
                    })),
                    _ => TypeJson::Unknown(kind),
                }
            }
            ObjectJson { reference: Some(at), .. } => TypeJson::Ref(at),
            ObjectJson { list: Some(of), .. } => TypeJson::List(Box::new(of)),
            ObjectJson { option: Some(of), .. } => TypeJson::Option(Box::new(of)),
            ObjectJson { tensor: Some(_), .. } => TypeJson::Unknown("tensor".into()),
            _ => return Err(missing("kind")),
        })
    }
}

impl Serialize for TypeJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn sized<S: Serializer>(
            serializer: S,
            kind: &str,
            of: Option<&TypeJson>,
            len: usize,
        ) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("kind", kind)?;
            if let Some(of) = of {
                map.serialize_entry("of", of)?;
            }
            map.serialize_entry("len", &len)?;
            map.end()
        }
        fn single<S: Serializer>(serializer: S, key: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(key, value)?;
            map.end()
        }
        match self {
            Self::Primitive(primitive) => primitive.serialize(serializer),
            Self::Text => serializer.serialize_str("str"),
            Self::Array { of, len } => sized(serializer, "array", Some(of), *len),
            Self::Bytes { len } => sized(serializer, "bytes", None, *len),
            Self::Str { len } => sized(serializer, "str", None, *len),
            Self::List(of) => single(serializer, "list", of),
            Self::Option(of) => single(serializer, "option", of),
            Self::Ref(at) => single(serializer, "ref", at),
            Self::Named(named) => named.serialize(serializer),
            Self::Unknown(name) => serializer.serialize_str(name),
        }
    }
}

/// JSON numbers from the least `i64` to the greatest `u64`, which serde has no one type for that works everywhere.
pub(super) mod whole_number {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in super::super) fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(value) = i64::try_from(*value) {
            return serializer.serialize_i64(value);
        }
        let value = u64::try_from(*value).map_err(ser::Error::custom)?;
        serializer.serialize_u64(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        number.as_i128().ok_or_else(|| de::Error::custom("a variant's value is a whole number"))
    }
}

/// Reads a description, of this version or an earlier one.
pub(super) fn read(json: &str) -> Result<Description, DescribeError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    if is_deeper(json, DEEPEST_JSON) {
        return Err(DescribeError::Nested { most: DEEPEST_JSON });
    }
    // A later version may have members that this one cannot read, so its number comes first.
    let Version { schema } = serde_json::from_str(json).map_err(DescribeError::Json)?;
    if schema > SCHEMA {
        return Err(DescribeError::Schema { found: schema, known: SCHEMA });
    }
    let DescriptionJson { types, endpoints, .. } = serde_json::from_str(json).map_err(DescribeError::Json)?;
    let mut reader = Reader { types: Vec::new() };
    for entry in types {
        let found = reader.value_type(entry)?;
        reader.types.push(found);
    }
    let endpoints = endpoints.into_iter().map(|endpoint| reader.endpoint(endpoint));
    Ok(Description { endpoints: endpoints.collect::<Result<_, _>>()? })
}

/// Whether some JSON nests its objects and lists deeper than `most`. The answer means nothing for other texts.
fn is_deeper(json: &str, most: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The types that references lead to, each with its depth.
struct Reader {
    types: Vec<(TypeDescription, usize)>,
}

impl Reader {
    fn endpoint(&self, json: EndpointJson) -> Result<EndpointDescription, DescribeError> {
        let name = checked_name(json.name)?;
        let request = self.form(json.request, &format!("the request of {name}"))?;
        let reply = self.form(json.reply, &format!("the reply of {name}"))?;
        if let FormDescription::Fields(head) = &reply
            && !matches!(&head.fields[..], [only] if only.name == "value")
        {
            return Err(invalid(format!("the reply of {name} has fields, and a reply has no more than one, `value`")));
        }
        let mut names = Names::default();
        let mut raises = Vec::with_capacity(json.raises.len());
        for ErrorJson { name: error, doc, head, fields } in json.raises {
            names.add(&error, &name)?;
            raises.push(self.head(error, doc, head.unwrap_or(HEAD_LEN), fields)?.0);
        }
        Ok(EndpointDescription { msg_type: json.msg_type, name, doc: json.doc, request, reply, raises })
    }

    fn form(&self, json: FormJson, place: &str) -> Result<FormDescription, DescribeError> {
        let FormJson { form, value_type, head, fields, stream } = json;
        if stream {
            return Err(DescribeError::Unknown { what: "form", found: "stream".to_owned() });
        }
        let missing = |member: &str| invalid(format!("{place} has the form `{form}`, and no `{member}`"));
        let value_type = || self.value_type(value_type.ok_or_else(|| missing("type"))?);
        Ok(match form.as_str() {
            "empty" => FormDescription::Empty,
            "bytes" => FormDescription::Bytes,
            // Schema 1.
            "payload" => FormDescription::Value(value_type()?.0),
            "slice" => FormDescription::Value(TypeDescription::List(Arc::new(value_type()?.0))),
            "value" => match value_type()?.0 {
                TypeDescription::Option(_) => {
                    return Err(invalid(format!("{place} is an option as itself, and an option is one of `fields`")));
                }
                found => FormDescription::Value(found),
            },
            "fields" => {
                let fields = fields.ok_or_else(|| missing("fields"))?;
                let (head, _) =
                    self.head(String::new(), String::new(), head.ok_or_else(|| missing("head"))?, fields)?;
                if head.fields.is_empty() {
                    return Err(invalid(format!("{place} has no fields, and that is the form `empty`")));
                }
                FormDescription::Fields(head)
            }
            _ => return Err(DescribeError::Unknown { what: "form", found: form }),
        })
    }

    /// The type, and how deep it is.
    fn value_type(&self, json: TypeJson) -> Result<(TypeDescription, usize), DescribeError> {
        let (found, depth) = match json {
            TypeJson::Primitive(primitive) => (TypeDescription::Primitive(primitive), 0),
            TypeJson::Text => (TypeDescription::Text, 0),
            TypeJson::Bytes { len } => (TypeDescription::Bytes { len }, 0),
            TypeJson::Str { len } => (TypeDescription::Str { len }, 0),
            TypeJson::Array { of, len } => {
                let (of, depth) = self.value_type(*of)?;
                if !of.is_fixed() {
                    return Err(invalid(format!("an array of {} has elements that are not fixed", of.name())));
                }
                (TypeDescription::Array { of: Arc::new(of), len }, depth)
            }
            TypeJson::List(of) => {
                let (of, depth) = self.part(*of)?;
                (TypeDescription::List(Arc::new(of)), depth)
            }
            TypeJson::Option(of) => {
                let (of, depth) = self.part(*of)?;
                (TypeDescription::Option(Arc::new(of)), depth)
            }
            TypeJson::Ref(at) => {
                let known = self.types.len();
                return self.types.get(at).cloned().ok_or(DescribeError::Reference { found: at, known });
            }
            TypeJson::Named(named) => match *named {
                NamedJson::Struct { name, doc, extent: Extent::Variable { head }, fields } => {
                    let (head, depth) = self.head(checked_name(name)?, doc, head, fields)?;
                    (TypeDescription::Variable(Arc::new(head)), depth)
                }
                NamedJson::Struct { name, doc, extent: Extent::Fixed { size, align }, fields } => {
                    self.structure(checked_name(name)?, doc, (size, align), fields)?
                }
                NamedJson::Enum { name, doc, repr, variants } => {
                    let name = checked_name(name)?;
                    let mut names = Names::default();
                    for variant in &variants {
                        names.add(&variant.name, &name)?;
                    }
                    (TypeDescription::Enum(Arc::new(EnumDescription { name, doc, repr, variants })), 0)
                }
            },
            TypeJson::Unknown(found) => return Err(DescribeError::Unknown { what: "type", found: found.into() }),
        };
        if found.size() > LONGEST {
            return Err(DescribeError::TooLong { what: found.name(), len: found.size(), most: LONGEST });
        }
        let depth = depth + 1;
        if depth > DEEPEST { Err(DescribeError::Nested { most: DEEPEST }) } else { Ok((found, depth)) }
    }

    /// The type of a value that lies in a part of its own, where an option has no way to be absent.
    fn part(&self, json: TypeJson) -> Result<(TypeDescription, usize), DescribeError> {
        match self.value_type(json)? {
            (TypeDescription::Option(of), _) => {
                Err(invalid(format!("an option of {} lies in a list or in another option", of.name())))
            }
            found => Ok(found),
        }
    }

    fn structure(
        &self,
        name: String,
        doc: String,
        (size, align): (usize, usize),
        fields: Vec<FieldJson>,
    ) -> Result<(TypeDescription, usize), DescribeError> {
        if !matches!(align, 1 | 2 | 4 | 8) {
            return Err(invalid(format!("{name} is aligned to {align}, and payloads are to 1, 2, 4 or 8")));
        }
        let (fields, depth) = self.fields(fields, &name)?;
        if let Some(field) = fields.iter().find(|field| !field.value_type.is_fixed()) {
            return Err(invalid(format!("field `{}` of {name} is not fixed, and {name} has no head", field.name)));
        }
        Ok((TypeDescription::Struct(Arc::new(StructDescription { name, doc, size, align, fields })), depth))
    }

    /// Fields behind a head; all of them are where the rule for heads puts them.
    fn head(
        &self,
        name: String,
        doc: String,
        len: usize,
        fields: Vec<FieldJson>,
    ) -> Result<(HeadDescription, usize), DescribeError> {
        let place = || if name.is_empty() { "the arguments" } else { &name };
        let (fields, depth) = self.fields(fields, place())?;
        let mut end = HEAD_LEN;
        for field in &fields {
            // A type without bytes may have any alignment in a description, but none of 0.
            let offset = end.next_multiple_of(field.value_type.align().max(1));
            if field.offset != offset {
                return Err(invalid(format!(
                    "field `{}` of {} is at offset {}, and belongs to {offset}",
                    field.name,
                    place(),
                    field.offset
                )));
            }
            end = offset.saturating_add(field.value_type.size());
            if end > LONGEST_HEAD {
                let what = format!("the head of {}", place());
                return Err(DescribeError::TooLong { what, len: end, most: LONGEST_HEAD });
            }
        }
        if len != end {
            return Err(invalid(format!("the head of {} has {len} bytes, and its fields end at {end}", place())));
        }
        Ok((HeadDescription { name, doc, len, fields }, depth))
    }

    fn fields(&self, fields: Vec<FieldJson>, owner: &str) -> Result<(Vec<FieldDescription>, usize), DescribeError> {
        let mut deepest = 0;
        let mut names = Names::default();
        let mut read = Vec::with_capacity(fields.len());
        for FieldJson { name, value_type, offset, default } in fields {
            let (value_type, depth) = self.value_type(value_type)?;
            deepest = deepest.max(depth);
            names.add(&name, owner)?;
            read.push(FieldDescription { name, value_type, offset, default });
        }
        Ok((read, deepest))
    }
}

fn invalid(what: String) -> DescribeError {
    DescribeError::Invalid(what)
}

fn checked_name(name: String) -> Result<String, DescribeError> {
    check_name(&name).map(|()| name)
}

fn check_name(name: &str) -> Result<(), DescribeError> {
    if name.len() > LONGEST_NAME {
        let what = format!("the name that begins with `{}`", name.chars().take(20).collect::<String>());
        return Err(DescribeError::TooLong { what, len: name.len(), most: LONGEST_NAME });
    }
    Ok(())
}

/// Names in one place, each of which stands there once.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn add(&mut self, name: &str, owner: &str) -> Result<(), DescribeError> {
        check_name(name)?;
        if self.0.insert(normal(name).into_owned()) {
            return Ok(());
        }
        Err(invalid(format!("{owner} has the name `{name}` twice")))
    }
}

/// The description as it is written.
pub(super) fn write(description: &Description) -> DescriptionJson {
    let mut writer = Writer::default();
    let endpoints = description.endpoints.iter().map(|endpoint| writer.endpoint(endpoint)).collect();
    let types = writer.types.into_iter().map(|named| TypeJson::Named(Box::new(named))).collect();
    DescriptionJson { schema: SCHEMA, types, endpoints }
}

/// Gives each type with a name an index: one and the same for equal types, whichever description they are from.
#[derive(Default)]
pub(crate) struct Writer<'a> {
    types: Vec<NamedJson>,
    by_entry: HashMap<NamedJson, usize>,
    /// Types that were met, by their addresses: those that are shared are looked at once.
    by_address: HashMap<*const (), usize>,
    described: core::marker::PhantomData<&'a Description>,
}

impl<'a> Writer<'a> {
    pub(super) fn endpoint(&mut self, endpoint: &'a EndpointDescription) -> EndpointJson {
        EndpointJson {
            msg_type: endpoint.msg_type,
            name: endpoint.name.clone(),
            doc: endpoint.doc.clone(),
            request: self.form(&endpoint.request),
            reply: self.form(&endpoint.reply),
            raises: endpoint
                .raises
                .iter()
                .map(|error| ErrorJson {
                    name: error.name.clone(),
                    doc: error.doc.clone(),
                    head: (!error.fields.is_empty()).then_some(error.len),
                    fields: self.fields(&error.fields),
                })
                .collect(),
        }
    }

    fn form(&mut self, form: &'a FormDescription) -> FormJson {
        let named = |form: &str| FormJson { form: form.to_owned(), ..FormJson::default() };
        match form {
            FormDescription::Empty => named("empty"),
            FormDescription::Bytes => named("bytes"),
            FormDescription::Value(value_type) => {
                FormJson { value_type: Some(self.reference(value_type)), ..named("value") }
            }
            FormDescription::Fields(head) => {
                FormJson { head: Some(head.len), fields: Some(self.fields(&head.fields)), ..named("fields") }
            }
        }
    }

    fn fields(&mut self, fields: &'a [FieldDescription]) -> Vec<FieldJson> {
        let fields = fields.iter().map(|field| FieldJson {
            name: field.name.clone(),
            value_type: self.reference(&field.value_type),
            offset: field.offset,
            default: field.default,
        });
        fields.collect()
    }

    /// The type as a field has it: types with a name are references.
    pub(crate) fn reference(&mut self, value_type: &'a TypeDescription) -> TypeJson {
        match value_type {
            TypeDescription::Primitive(primitive) => TypeJson::Primitive(*primitive),
            TypeDescription::Text => TypeJson::Text,
            TypeDescription::Array { of, len } => TypeJson::Array { of: Box::new(self.reference(of)), len: *len },
            TypeDescription::Bytes { len } => TypeJson::Bytes { len: *len },
            TypeDescription::Str { len } => TypeJson::Str { len: *len },
            TypeDescription::List(of) => TypeJson::List(Box::new(self.reference(of))),
            TypeDescription::Option(of) => TypeJson::Option(Box::new(self.reference(of))),
            TypeDescription::Enum(of) => self.entry(Arc::as_ptr(of).cast(), |_| NamedJson::Enum {
                name: of.name.clone(),
                doc: of.doc.clone(),
                repr: of.repr,
                variants: of.variants.clone(),
            }),
            TypeDescription::Struct(of) => self.entry(Arc::as_ptr(of).cast(), |writer| NamedJson::Struct {
                name: of.name.clone(),
                doc: of.doc.clone(),
                extent: Extent::Fixed { size: of.size, align: of.align },
                fields: writer.fields(&of.fields),
            }),
            TypeDescription::Variable(of) => self.entry(Arc::as_ptr(of).cast(), |writer| NamedJson::Struct {
                name: of.name.clone(),
                doc: of.doc.clone(),
                extent: Extent::Variable { head: of.len },
                fields: writer.fields(&of.fields),
            }),
        }
    }

    fn entry(&mut self, address: *const (), make: impl FnOnce(&mut Self) -> NamedJson) -> TypeJson {
        if let Some(at) = self.by_address.get(&address) {
            return TypeJson::Ref(*at);
        }
        let named = make(self);
        let next = self.types.len();
        let at = *self.by_entry.entry(named.clone()).or_insert(next);
        if at == next {
            self.types.push(named);
        }
        self.by_address.insert(address, at);
        TypeJson::Ref(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::describe::Signature;
    use crate::schema::payload::{
        EnumLayout, Field, Form, HeadField, HeadLayout, Layout, StructLayout, ValueType, Variant,
    };

    const POINT: Layout = Layout::Struct(StructLayout {
        name: "Point",
        doc: "",
        size: 8,
        align: 4,
        fields: &[
            Field { name: "x", layout: &Layout::Primitive(Primitive::F32), offset: 0 },
            Field { name: "y", layout: &Layout::Primitive(Primitive::F32), offset: 4 },
        ],
    });

    const SIDE: Layout = Layout::Enum(EnumLayout {
        name: "Side",
        doc: "Which way.",
        repr: Primitive::I8,
        variants: &[Variant { name: "Buy", value: -1 }, Variant { name: "Sell", value: 1 }],
    });

    const U32: ValueType = ValueType::Fixed(&Layout::Primitive(Primitive::U32));

    const SCAN: ValueType = ValueType::Variable(&HeadLayout {
        name: "Scan",
        doc: "Of one turn.",
        len: 40,
        fields: &[
            HeadField {
                name: "taken_at",
                value_type: &ValueType::Fixed(&Layout::Primitive(Primitive::U64)),
                offset: 8,
            },
            HeadField { name: "frame", value_type: &ValueType::Text, offset: 16 },
            HeadField { name: "points", value_type: &ValueType::List(&ValueType::Fixed(&POINT)), offset: 24 },
            HeadField { name: "note", value_type: &ValueType::Option(&ValueType::Text), offset: 32 },
        ],
    });

    const FILTER: Signature = Signature::of(
        4,
        "filter",
        "Leaves out.",
        Form::Fields(&HeadLayout {
            name: "",
            doc: "",
            len: 24,
            fields: &[
                HeadField { name: "scan", value_type: &SCAN, offset: 4 },
                HeadField {
                    name: "radius",
                    value_type: &ValueType::Fixed(&Layout::Primitive(Primitive::F32)),
                    offset: 12,
                },
                HeadField { name: "tags", value_type: &ValueType::List(&U32), offset: 16 },
            ],
        }),
        Form::Value(&SCAN),
        &[
            HeadLayout {
                name: "NoSensor",
                doc: "",
                len: 8,
                fields: &[HeadField { name: "sensor", value_type: &U32, offset: 4 }],
            },
            HeadLayout { name: "Busy", doc: "Later.", len: 4, fields: &[] },
        ],
    );

    const FILTER_JSON: &str = r#"{"schema":2,"types":[
        {"kind":"struct","name":"Point","size":8,"align":4,"fields":[
            {"name":"x","type":"f32","offset":0},{"name":"y","type":"f32","offset":4}]},
        {"kind":"struct","name":"Scan","doc":"Of one turn.","head":40,"fields":[
            {"name":"taken_at","type":"u64","offset":8},{"name":"frame","type":"str","offset":16},
            {"name":"points","type":{"list":{"ref":0}},"offset":24},{"name":"note","type":{"option":"str"},"offset":32}]}],
        "endpoints":[{"msg_type":4,"name":"filter","doc":"Leaves out.",
            "request":{"form":"fields","head":24,"fields":[{"name":"scan","type":{"ref":1},"offset":4},
                {"name":"radius","type":"f32","offset":12},{"name":"tags","type":{"list":"u32"},"offset":16}]},
            "reply":{"form":"value","type":{"ref":1}},
            "raises":[{"name":"NoSensor","head":8,"fields":[{"name":"sensor","type":"u32","offset":4}]},
                {"name":"Busy","doc":"Later."}]}]}"#;

    fn squeezed(json: &str) -> String {
        json.lines().map(str::trim_start).collect()
    }

    #[test]
    fn every_form_is_written_as_it_is_read() {
        let filter = EndpointDescription::from(&FILTER);
        assert_eq!(
            filter.to_string(),
            "filter(scan: Scan, radius: f32, tags: list[u32]) -> Scan raises NoSensor, Busy"
        );
        let description = Description::new(vec![filter]);
        assert_eq!(description.to_json(), squeezed(FILTER_JSON));
        let read = read(FILTER_JSON).unwrap();
        assert_eq!(read, description);
        assert_eq!(read.to_json(), squeezed(FILTER_JSON));
        let note = Form::Fields(&HeadLayout {
            name: "",
            doc: "",
            len: 12,
            fields: &[HeadField { name: "value", value_type: &ValueType::Option(&SCAN), offset: 4 }],
        });
        let sides = ValueType::Fixed(&Layout::Array { of: &SIDE, len: 2 });
        let last = [
            (Form::Empty, Form::Bytes, "last() -> bytes"),
            (Form::Value(&ValueType::Text), note, "last(str) -> option[Scan]"),
            (Form::Bytes, Form::Value(&ValueType::List(&ValueType::Text)), "last(bytes) -> list[str]"),
            (Form::Value(Box::leak(Box::new(sides))), Form::Empty, "last([Side; 2])"),
        ];
        for (request, reply, head) in last {
            let last = EndpointDescription::from(&Signature::of(5, "last", "", request, reply, &[]));
            assert_eq!(last.to_string(), head);
            let description = Description::new(vec![last]);
            assert_eq!(super::read(&description.to_json()).unwrap(), description);
            assert_ne!(description, read);
        }
    }

    #[test]
    fn a_default_is_read_and_written() {
        let json = FILTER_JSON.replace(r#""type":"f32","offset":12"#, r#""type":"f32","offset":12,"default":true"#);
        let description = read(&json).unwrap();
        let FormDescription::Fields(head) = &description.endpoints[0].request else { panic!("fields") };
        assert_eq!(head.fields.iter().map(|field| field.default).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(description.to_json(), squeezed(&json));
        assert_ne!(description, read(FILTER_JSON).unwrap());
    }

    #[test]
    fn schema_1_is_read_and_written_as_2() {
        let old = r#"{"schema": 1, "endpoints": [{"msg_type": 2, "name": "f",
            "request": {"form": "payload", "layout": {"kind": "struct", "name": "P", "size": 4, "align": 4, "fields": [
                {"name": "a", "type": "u32", "offset": 0, "size": 4}]}},
            "reply": {"form": "slice", "layout": {"kind": "str", "len": 3}}}]}"#;
        let new = r#"{"schema": 2, "types": [{"kind": "struct", "name": "P", "size": 4, "align": 4, "fields": [
                {"name": "a", "type": "u32", "offset": 0}]}],
            "endpoints": [{"msg_type": 2, "name": "f", "request": {"form": "value", "type": {"ref": 0}},
                "reply": {"form": "value", "type": {"list": {"kind": "str", "len": 3}}}}]}"#;
        let description = read(old).unwrap();
        assert_eq!(description, read(new).unwrap());
        assert!(description.to_json().starts_with(r#"{"schema":2,"types":[{"kind":"struct","name":"P","#));
    }

    /// A description of one endpoint whose request has a type.
    fn of(types: &str, value_type: &str) -> String {
        format!(
            r#"{{"schema": 2, "types": [{types}], "endpoints": [{{"msg_type": 1, "name": "e",
                "request": {{"form": "value", "type": {value_type}}}, "reply": {{"form": "empty"}}}}]}}"#
        )
    }

    fn refused(types: &str, value_type: &str) -> String {
        read(&of(types, value_type)).unwrap_err().to_string()
    }

    #[test]
    fn references_lead_backwards_only() {
        for (types, value_type, found, known) in [
            ("", r#"{"ref": 0}"#, 0, 0),
            (r#"{"list": {"ref": 0}}"#, r#""u8""#, 0, 0),
            (r#""u8", {"list": {"ref": 2}}, "u8""#, r#""u8""#, 2, 1),
            (r#""u8""#, r#"{"ref": 18446744073709551615}"#, usize::MAX, 1),
        ] {
            let error = read(&of(types, value_type)).unwrap_err();
            assert!(
                matches!(error, DescribeError::Reference { found: at, known: of } if (at, of) == (found, known)),
                "{error}"
            );
        }
        assert!(refused("", r#"{"ref": -1}"#).contains("this is not the description of a callee"));
    }

    #[test]
    fn contradictions_are_named() {
        let scan = |head, offset| {
            format!(
                r#"{{"kind": "struct", "name": "S", "head": {head}, "fields": [{{"name": "a", "type": "u64", "offset": {offset}}}]}}"#
            )
        };
        for (types, value_type, expected) in [
            (scan(16, 4).as_str(), "\"u8\"", "field `a` of S is at offset 4, and belongs to 8"),
            (&scan(24, 8), "\"u8\"", "the head of S has 24 bytes, and its fields end at 16"),
            ("", "\"u9\"", "the type `u9`, which this version does not know"),
            ("", r#"{"tensor": "f32", "ndim": 2}"#, "the type `tensor`"),
            ("", r#"{"kind": "map"}"#, "the type `map`"),
            ("", r#"{"of": "u8"}"#, "missing field `kind`"),
            ("", r#"{"option": "str"}"#, "an option as itself, and an option is one of `fields`"),
            ("", r#"{"list": {"option": "str"}}"#, "an option of str lies in a list"),
            ("", r#"{"kind": "array", "of": "str", "len": 2}"#, "an array of str has elements that are not fixed"),
            ("", r#"{"kind": "array", "of": "u64", "len": 1073741824}"#, "is 8589934592 bytes long, and the most is"),
            ("", r#"{"kind": "bytes", "len": 18446744073709551615}"#, "bytes long, and the most is 4294967295"),
            (
                r#"{"kind": "struct", "name": "S", "size": 8, "align": 4, "fields": [{"name": "a", "type": "str", "offset": 0}]}"#,
                "\"u8\"",
                "field `a` of S is not fixed, and S has no head",
            ),
            (r#"{"kind": "struct", "name": "S", "size": 8, "align": 3, "fields": []}"#, "\"u8\"", "aligned to 3"),
            (
                r#"{"kind": "struct", "name": "S", "head": 8004, "fields": [{"name": "a", "type": {"kind": "bytes", "len": 8000}, "offset": 4}]}"#,
                "\"u8\"",
                "the head of S is 8004 bytes long, and the most is 4096",
            ),
        ] {
            assert!(refused(types, value_type).contains(expected), "{expected}: {}", refused(types, value_type));
        }
        let form = |form: &str| FILTER_JSON.replace(r#"{"form":"value","type":{"ref":1}}"#, form);
        for (reply, expected) in [
            (r#"{"form": "msgpack"}"#, "the form `msgpack`, which this version does not know; update this side"),
            (r#"{"form": "value", "type": "u8", "stream": true}"#, "the form `stream`"),
            (r#"{"form": "value"}"#, "the reply of filter has the form `value`, and no `type`"),
            (r#"{"form": "fields", "head": 4, "fields": []}"#, "has no fields, and that is the form `empty`"),
            (
                r#"{"form": "fields", "head": 5, "fields": [{"name": "a", "type": "u8", "offset": 4}]}"#,
                "a reply has no more than one, `value`",
            ),
        ] {
            let error = read(&form(reply)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let twice = FILTER_JSON.replace(r#""name":"Busy","doc":"Later.""#, r#""name":"NoSensor""#);
        assert!(read(&twice).unwrap_err().to_string().contains("filter has the name `NoSensor` twice"));
        for twice in [
            FILTER_JSON.replace(r#""name":"y""#, r#""name":"x""#),
            FILTER_JSON.replace("radius", "scan"),
            FILTER_JSON.replace("radius", "\u{b5}").replace("tags", "\u{3bc}"),
        ] {
            assert!(read(&twice).unwrap_err().to_string().ends_with("twice"), "{twice}");
        }
        let long = FILTER_JSON.replace("taken_at", &"x".repeat(300));
        assert!(matches!(read(&long), Err(DescribeError::TooLong { len: 300, most: LONGEST_NAME, .. })));
    }

    #[test]
    fn a_later_schema_is_told_before_its_members_are_read() {
        let later = r#"{"schema": 3, "endpoints": {"by": "name"}}"#;
        assert!(matches!(read(later), Err(DescribeError::Schema { found: 3, known: SCHEMA })));
    }

    fn nested(arrays: usize, doc: &str) -> String {
        let innermost =
            format!(r#"{{"kind": "struct", "name": "S", "doc": "{doc}", "size": 0, "align": 1, "fields": []}}"#);
        let layout = (0..arrays).fold(innermost, |of, _| format!(r#"{{"kind": "array", "len": 1, "of": {of}}}"#));
        of("", &layout)
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = read(&nested(60, "a } text [ with \\\" brackets {{{{")).unwrap();
        assert_eq!(read(&deep.to_json()).unwrap(), deep);
        for (json, most) in [(nested(100, &"long".repeat(1000)), DEEPEST_JSON), (nested(65, ""), DEEPEST)] {
            let error = read(&json).unwrap_err();
            assert!(matches!(error, DescribeError::Nested { most: found } if found == most), "{error}");
        }
        let chain: Vec<_> = (0..65).map(|at| if at == 0 { "\"u8\"".to_owned() } else { list(at - 1) }).collect();
        let error = read(&of(&chain.join(","), &list(64))).unwrap_err();
        assert!(matches!(error, DescribeError::Nested { most: DEEPEST }), "{error}");
        let deepest = read(&of(&chain[..64].join(","), r#"{"ref": 63}"#)).unwrap();
        assert_eq!(read(&deepest.to_json()).unwrap(), deepest);
    }

    fn list(at: usize) -> String {
        format!(r#"{{"list": {{"ref": {at}}}}}"#)
    }

    /// As a tree, without sharing, this has two to the 60th power of leaves.
    #[test]
    fn what_is_shared_is_looked_at_once() {
        let types: Vec<_> = (0..60)
            .map(|at| {
                let inner = if at == 0 { "\"u8\"".to_owned() } else { format!(r#"{{"ref": {}}}"#, at - 1) };
                let a = if at == 0 { (4, 5, 6) } else { (4, 12, 20) };
                format!(
                    r#"{{"kind": "struct", "name": "S{at}", "head": {}, "fields": [{{"name": "a", "type": {inner}, "offset": {}}},
                        {{"name": "b", "type": {inner}, "offset": {}}}]}}"#,
                    a.2, a.0, a.1
                )
            })
            .collect();
        let json = of(&types.join(","), r#"{"ref": 59}"#);
        let (one, other) = (read(&json).unwrap(), read(&json).unwrap());
        assert_eq!(one, other);
        assert_eq!(one.endpoints[0].request, other.endpoints[0].request);
        assert!(one.to_json().len() < json.len());
        assert!(format!("{one:?}").len() < 1000);
        one.endpoints[0].agree_with(&other.endpoints[0]).unwrap();
        assert!(crate::schema::codegen::rust(&one).len() < 100_000);
    }
}

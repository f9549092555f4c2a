//! The JSON of a description. The reader accepts JSON from any source.
//!
//! The JSON has a list of types. A type refers to earlier types by their index, and becomes a shared type in memory. So
//! a short JSON never becomes a large tree, and types have no cycles.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compare::normal;
use super::description::{
    DescribeError, Description, EndpointDescription, EnumDescription, ErrorDescription, FieldDescription,
    FormDescription, HeadDescription, StructDescription, TypeDescription, VariantDescription,
};
use crate::error_kind::ErrorKind;
use crate::schema::payload::Primitive;
use crate::schema::payload::tensor::MAX_NDIM;

#[cfg(test)]
mod tests;

/// The latest version of the JSON that this library reads. Streams came with it.
const SCHEMA: u32 = 3;

/// The version of the JSON that this library writes for a description without streams: earlier readers read it.
const SCHEMA_WITHOUT_STREAMS: u32 = 2;

/// Deepest nesting of a description's JSON: the deepest type, written without references, and the objects around it.
const MAX_JSON_DEPTH: usize = 80;

/// Deepest nesting of types: payloads, lists, options and arrays. The types of a program nest at most 16 deep.
const MAX_DEPTH: usize = 64;

/// Longest name of an endpoint, a type, a field, a variant or an error, in bytes. Error texts repeat names.
const MAX_NAME_LEN: usize = 256;

/// Longest fixed value, in bytes: no message is longer.
const MAX_FIXED_LEN: usize = u32::MAX as usize;

/// Longest head, in bytes.
const MAX_HEAD_LEN: usize = 4096;

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
    /// The caller's items; left out for an endpoint that takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<FormJson>,
    reply: FormJson,
    #[serde(rename = "stream", default, skip_serializing_if = "core::ops::Not::not")]
    streams: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    raises: Vec<ErrorJson>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
struct FormJson {
    form: String,
    /// `layout` in schema 1.
    #[serde(rename = "type", alias = "layout", default, skip_serializing_if = "Option::is_none")]
    value_type: Option<TypeJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<FieldJson>>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct ErrorJson {
    name: String,
    /// The name of the kind; left out for `HandlerFailed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'static, str>>,
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

/// A type in JSON.
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
    Tensor {
        of: Primitive,
        ndim: usize,
    },
    Ref(usize),
    Named(Box<NamedJson>),
    /// A type of a later version.
    Unknown(Box<str>),
}

/// A type with a name. A description has one entry for each.
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

/// The members of all types that are objects in JSON.
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
    tensor: Option<TypeJson>,
    ndim: Option<usize>,
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
            ObjectJson { tensor: Some(of), ndim, .. } => match of {
                TypeJson::Primitive(of) => TypeJson::Tensor { of, ndim: ndim.ok_or_else(|| missing("ndim"))? },
                TypeJson::Unknown(_) => of,
                _ => return Err(A::Error::custom("the values of a tensor are numbers")),
            },
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
            Self::Tensor { of, ndim } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("tensor", of)?;
                map.serialize_entry("ndim", ndim)?;
                map.end()
            }
            Self::Ref(at) => single(serializer, "ref", at),
            Self::Named(named) => named.serialize(serializer),
            Self::Unknown(name) => serializer.serialize_str(name),
        }
    }
}

/// JSON numbers from `i64::MIN` to `u64::MAX`: serde has no type for this range that every format supports.
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
        number.as_i128().ok_or_else(|| de::Error::custom("the value of a variant must be a whole number"))
    }
}

/// Reads a description, of this version or an earlier one.
pub(super) fn read(json: &str) -> Result<Description, DescribeError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    if exceeds_depth(json, MAX_JSON_DEPTH) {
        return Err(DescribeError::Nested { most: MAX_JSON_DEPTH });
    }
    // The number is read first: a later version may have members that this version cannot read.
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
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    // Readers of an earlier schema ignore the members of streams, and would take the endpoint for a unary one.
    if schema <= SCHEMA_WITHOUT_STREAMS
        && let Some(EndpointDescription { name, .. }) = endpoints.iter().find(|endpoint| endpoint.kind().is_stream())
    {
        return Err(invalid(format!(
            "{name} is a stream in schema {schema}, and schema {SCHEMA} is the first with streams"
        )));
    }
    Ok(Description { endpoints })
}

/// Whether objects and lists of `json` nest deeper than `most`. The answer means nothing for a text that is not JSON.
fn exceeds_depth(json: &str, most: usize) -> bool {
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

/// The types read so far, each with its depth.
struct Reader {
    types: Vec<(TypeDescription, usize)>,
}

impl Reader {
    fn endpoint(&self, json: EndpointJson) -> Result<EndpointDescription, DescribeError> {
        let name = checked_name(json.name)?;
        let request = self.form(json.request, &format!("the request of {name}"))?;
        let items = json.items.map(|items| self.single(items, &format!("the item of {name}"))).transpose()?;
        let reply = self.single(json.reply, &format!("the reply of {name}"))?;
        let mut names = Names::default();
        let mut raises = Vec::with_capacity(json.raises.len());
        for ErrorJson { name: error, kind, doc, head, fields } in json.raises {
            names.add(&error, &name)?;
            // A newer peer may know further kinds.
            let kind = kind.and_then(|kind| ErrorKind::from_name(&kind)).filter(|kind| kind.is_of_handler());
            let kind = kind.unwrap_or(ErrorKind::HandlerFailed);
            let head = self.head(error, doc, head.unwrap_or(HEAD_LEN), fields)?.0;
            raises.push(ErrorDescription { kind, head });
        }
        let EndpointJson { msg_type, doc, streams, .. } = json;
        Ok(EndpointDescription { msg_type, name, doc, request, items, reply, streams, raises })
    }

    /// The form of one value: a reply, or an item.
    fn single(&self, json: FormJson, place: &str) -> Result<FormDescription, DescribeError> {
        let form = self.form(json, place)?;
        if let FormDescription::Fields(head) = &form
            && !matches!(
                &head.fields[..],
                [only] if only.name == "value" && matches!(only.value_type, TypeDescription::Option(_))
            )
        {
            return Err(invalid(format!("{place} has fields that are not the one option `value`")));
        }
        Ok(form)
    }

    fn form(&self, json: FormJson, place: &str) -> Result<FormDescription, DescribeError> {
        let FormJson { form, value_type, head, fields } = json;
        let missing = |member: &str| invalid(format!("{place} has the form `{form}`, and no `{member}`"));
        let value_type = || self.value_type(value_type.ok_or_else(|| missing("type"))?);
        Ok(match form.as_str() {
            "empty" => FormDescription::Empty,
            "bytes" => FormDescription::Bytes,
            "msgpack" => FormDescription::Msgpack,
            // Schema 1.
            "payload" => FormDescription::Value(value_type()?.0),
            "slice" => FormDescription::Value(TypeDescription::List(Arc::new(value_type()?.0))),
            "value" => match value_type()?.0 {
                TypeDescription::Option(_) => {
                    return Err(invalid(format!("{place} is an option with the form `value`; its form is `fields`")));
                }
                found => FormDescription::Value(found),
            },
            "fields" => {
                let fields = fields.ok_or_else(|| missing("fields"))?;
                let (head, _) =
                    self.head(String::new(), String::new(), head.ok_or_else(|| missing("head"))?, fields)?;
                if head.fields.is_empty() {
                    return Err(invalid(format!("{place} has the form `fields`, and no fields; its form is `empty`")));
                }
                FormDescription::Fields(head)
            }
            _ => return Err(DescribeError::Unknown { what: "form", found: form }),
        })
    }

    /// The type and its depth.
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
            TypeJson::Tensor { of, ndim } => {
                if of == Primitive::Bool || !(1..=MAX_NDIM).contains(&ndim) {
                    let of = of.name();
                    return Err(invalid(format!(
                        "a tensor of {of} has {ndim} dimensions, and a tensor has 1 to {MAX_NDIM} dimensions of numbers"
                    )));
                }
                (TypeDescription::Tensor { of, ndim }, 0)
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
        if found.size() > MAX_FIXED_LEN {
            return Err(DescribeError::TooLong { what: found.name(), len: found.size(), most: MAX_FIXED_LEN });
        }
        let depth = depth + 1;
        if depth > MAX_DEPTH { Err(DescribeError::Nested { most: MAX_DEPTH }) } else { Ok((found, depth)) }
    }

    /// The type of a value in a list or an option. Such a value is no option: it cannot be absent.
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

    /// A head. Each field must be at the offset that the rule for heads gives it.
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
            // A description may give a type without bytes the alignment 0.
            let offset = end.next_multiple_of(field.value_type.align().max(1));
            if field.offset != offset {
                return Err(invalid(format!(
                    "field `{}` of {} is at offset {}, and belongs at offset {offset}",
                    field.name,
                    place(),
                    field.offset
                )));
            }
            end = offset.saturating_add(field.value_type.size());
            if end > MAX_HEAD_LEN {
                let what = format!("the head of {}", place());
                return Err(DescribeError::TooLong { what, len: end, most: MAX_HEAD_LEN });
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
    if name.len() > MAX_NAME_LEN {
        let what = format!("the name that begins with `{}`", name.chars().take(20).collect::<String>());
        return Err(DescribeError::TooLong { what, len: name.len(), most: MAX_NAME_LEN });
    }
    Ok(())
}

/// The names in one place, which must differ.
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

/// The description as JSON.
pub(super) fn write(description: &Description) -> DescriptionJson {
    let mut writer = Writer::default();
    let endpoints = description.endpoints.iter().map(|endpoint| writer.endpoint(endpoint)).collect();
    let types = writer.types.into_iter().map(|named| TypeJson::Named(Box::new(named))).collect();
    let has_streams = description.endpoints.iter().any(|endpoint| endpoint.kind().is_stream());
    let schema = if has_streams { SCHEMA } else { SCHEMA_WITHOUT_STREAMS };
    DescriptionJson { schema, types, endpoints }
}

/// Gives each type with a name an index. Equal types have the same index, also types of different descriptions.
#[derive(Default)]
pub(crate) struct Writer<'a> {
    types: Vec<NamedJson>,
    by_entry: HashMap<NamedJson, usize>,
    /// The types so far by their addresses: a shared type is converted once.
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
            items: endpoint.items.as_ref().map(|items| self.form(items)),
            reply: self.form(&endpoint.reply),
            streams: endpoint.streams,
            raises: endpoint
                .raises
                .iter()
                .map(|ErrorDescription { kind, head }| ErrorJson {
                    name: head.name.clone(),
                    kind: kind.is_of_handler().then(|| kind.name().into()),
                    doc: head.doc.clone(),
                    head: (!head.fields.is_empty()).then_some(head.len),
                    fields: self.fields(&head.fields),
                })
                .collect(),
        }
    }

    fn form(&mut self, form: &'a FormDescription) -> FormJson {
        let named = |form: &str| FormJson { form: form.to_owned(), ..FormJson::default() };
        match form {
            FormDescription::Empty => named("empty"),
            FormDescription::Bytes => named("bytes"),
            FormDescription::Msgpack => named("msgpack"),
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

    /// The type of a field. A type with a name becomes a reference.
    pub(crate) fn reference(&mut self, value_type: &'a TypeDescription) -> TypeJson {
        match value_type {
            TypeDescription::Primitive(primitive) => TypeJson::Primitive(*primitive),
            TypeDescription::Text => TypeJson::Text,
            TypeDescription::Array { of, len } => TypeJson::Array { of: Box::new(self.reference(of)), len: *len },
            TypeDescription::Bytes { len } => TypeJson::Bytes { len: *len },
            TypeDescription::Str { len } => TypeJson::Str { len: *len },
            TypeDescription::List(of) => TypeJson::List(Box::new(self.reference(of))),
            TypeDescription::Option(of) => TypeJson::Option(Box::new(self.reference(of))),
            TypeDescription::Tensor { of, ndim } => TypeJson::Tensor { of: *of, ndim: *ndim },
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
